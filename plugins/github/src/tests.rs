use std::time::Duration;

use ao_fakes::github::{GitHub, Mood, TOKEN};
use ao_slots::{Call, ErrorKind, plugin::BuildContext};
use serde_json::json;

use super::*;

fn context(env: &[(&str, &str)]) -> BuildContext {
    BuildContext {
        data_dir: "/nowhere".into(),
        run_dir: "/nowhere".into(),
        instance: "01JD0000000000000000000000".parse().unwrap(),
        ao: "/nowhere/ao".into(),
        home: "/nowhere".into(),
        env: env.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
    }
}

fn github(url: &str) -> Arc<Github> {
    let access = Access { token: Some(Secret::new(TOKEN)), url: Some(url.to_owned()), app: None };
    Github::build(&access, &context(&[])).unwrap()
}

fn errand() -> Errand {
    Errand::urgent(&Call::new("k", Duration::from_secs(30)))
}

#[test]
fn an_address_is_taken_apart() {
    for (given, rest, graphql, host) in [
        (None, "", "/graphql", "github.com"),
        (Some("https://ghe.example/api/v3"), "/api/v3", "/api/graphql", "ghe.example"),
        (Some("https://ghe.example/api/v3/"), "/api/v3", "/api/graphql", "ghe.example"),
        (Some("https://api.acme.ghe.com"), "", "/graphql", "acme.ghe.com"),
        (Some("http://127.0.0.1:80/api/v3"), "/api/v3", "/api/graphql", "127.0.0.1"),
    ] {
        let access = Access { token: None, url: given.map(str::to_owned), app: None };
        let place = access.place().unwrap();
        assert_eq!((&*place.rest, &*place.graphql, &*place.host), (rest, graphql, host));
    }
    // A token would travel in the open, or in the address.
    for given in ["http://ghe.example/api/v3", "ftp://ghe.example", "https://a:b@ghe.example", "no"]
    {
        let access = Access { token: None, url: Some(given.to_owned()), app: None };
        assert!(access.check("github").is_err(), "{given}");
    }
    let access = Access { token: Some(Secret::new("two\nlines")), ..Access::default() };
    assert!(access.check("github").is_err());
    assert!(Access::default().check("github").is_ok());
}

#[test]
fn a_repository_is_read_as_people_write_it() {
    let of = |text: &str| repo_of(text).map(|repo| (repo.host.unwrap_or_default(), repo.name));
    let known = |host: &str, name: &str| Some((host.to_owned(), name.to_owned()));
    assert_eq!(of("acme/app"), known("", "acme/app"));
    assert_eq!(of("https://github.com/acme/app.git"), known("github.com", "acme/app"));
    assert_eq!(of("git@github.com:acme/app.git"), known("github.com", "acme/app"));
    assert_eq!(of("ssh://git@ghe.example:22/acme/my.app/"), known("ghe.example", "acme/my.app"));
    for none in ["", "acme", "/src/app", "acme/../app", "acme/app/pulls", "a b/c"] {
        assert_eq!(of(none), None, "{none}");
    }
}

#[tokio::test]
async fn those_of_one_token_and_place_are_one() {
    let hub = GitHub::start().unwrap();
    let one = github(&hub.url());
    assert!(Arc::ptr_eq(&one, &github(&hub.url())));
    assert!(!Arc::ptr_eq(&one, &github(&hub.enterprise_url())));
}

#[test]
fn a_token_of_github_com_is_shown_to_no_other_host() {
    let env = context(&[("GH_TOKEN", "one"), ("GH_ENTERPRISE_TOKEN", "two")]);
    let name = |host: &str| Source::new(&Access::default(), host, &env).name();
    assert_eq!(name("github.com"), ao_sdk::digest("one", 16));
    assert_eq!(name("ghe.example"), ao_sdk::digest("two", 16));
    let env = context(&[("GITHUB_TOKEN", "one")]);
    assert_eq!(Source::new(&Access::default(), "ghe.example", &env).name(), "gh");
}

#[tokio::test]
async fn the_token_of_gh_is_asked_for_once() {
    use std::os::unix::fs::PermissionsExt as _;
    let hub = GitHub::start().unwrap();
    hub.repository("acme/app");
    let dir = tempfile::tempdir().unwrap();
    let (gh, log) = (dir.path().join("gh"), dir.path().join("log"));
    let script = format!("#!/bin/sh\necho \"$@\" >> {}\necho {TOKEN}\n", log.display());
    std::fs::write(&gh, script).unwrap();
    std::fs::set_permissions(&gh, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", dir.path().display());
    let access = Access { token: None, url: Some(hub.url()), app: None };
    let github = Github::build(&access, &context(&[("PATH", &path)])).unwrap();
    for _ in 0..3 {
        github.rest(errand(), Method::GET, "/repos/acme/app", None).await.unwrap();
    }
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "auth token --hostname 127.0.0.1\n");
}

#[tokio::test]
async fn a_token_that_is_refused_says_what_to_do_and_is_not_told() {
    let hub = GitHub::start().unwrap();
    let secret = "ghp_ANOTHER000000000000000000000000000000";
    let access = Access { token: Some(Secret::new(secret)), url: Some(hub.url()), app: None };
    let github = Github::build(&access, &context(&[])).unwrap();
    let error = github.rest(errand(), Method::GET, "/user", None).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Permanent);
    assert!(error.remedy.is_some());
    assert!(!format!("{error:?} {github:?} {access:?}").contains(secret));
}

#[tokio::test]
async fn r12_a_write_without_a_whole_answer_is_in_doubt() {
    let hub = GitHub::start().unwrap();
    hub.repository("acme/app");
    let issue = hub.issue("acme/app", "one", "");
    let github = github(&hub.url());
    let path = format!("/repos/acme/app/issues/{issue}/comments");
    let body = json!({"body": "words"});
    for mood in [Mood::Status(502), Mood::Html(502), Mood::Truncated, Mood::Cut] {
        hub.behave_next(1, mood.clone());
        let wrote = github.rest(errand(), Method::POST, &path, Some(&body)).await.unwrap_err();
        assert_eq!(wrote.kind, ErrorKind::InDoubt, "{mood:?}: {wrote:?}");
        hub.behave_next(1, mood.clone());
        let read = github.rest(errand(), Method::GET, &path, None).await.unwrap_err();
        assert_eq!(read.kind, ErrorKind::Transient, "{mood:?}: {read:?}");
        // Half an answer is kept under no tag.
        let read = github.rest(errand(), Method::GET, &path, None).await.unwrap();
        assert!(read.body.is_array(), "{mood:?}");
    }
    hub.away();
    let wrote = github.rest(errand(), Method::POST, &path, Some(&body)).await.unwrap_err();
    assert_eq!(wrote.kind, ErrorKind::Transient, "it surely did not arrive: {wrote:?}");
    let missing = "/repos/acme/none";
    hub.back().unwrap();
    let error = github.rest(errand(), Method::GET, missing, None).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound);
}

#[tokio::test]
async fn pages_follow_each_other_and_a_renamed_repository_is_followed() {
    let hub = GitHub::start().unwrap();
    hub.repository("acme/app");
    for at in 0..5 {
        hub.issue("acme/app", &format!("issue {at}"), "");
    }
    hub.rename("acme/app", "acme/better");
    for url in [hub.url(), hub.enterprise_url()] {
        let github = github(&url);
        let mut path = Some("/repos/acme/app/issues?per_page=2".to_owned());
        let mut count = 0;
        while let Some(next) = path {
            let answer = github.rest(errand(), Method::GET, &next, None).await.unwrap();
            count += answer.body.as_array().unwrap().len();
            path = answer.next();
        }
        assert_eq!(count, 5);
        let body = json!({"title": "renamed"});
        let path = "/repos/acme/app/issues/1";
        let answer = github.rest(errand(), Method::PATCH, path, Some(&body)).await.unwrap();
        assert_eq!(answer.body["title"], "renamed");
    }
}

#[tokio::test]
async fn a_log_is_found_under_a_former_name_of_its_repository() {
    let hub = GitHub::start().unwrap();
    hub.repository("acme/app");
    let sha = hub.push("acme/app", "feat/x");
    let id = hub.check("acme/app", &sha, "test", Some("FAILURE"));
    hub.change_check(id, |check| check.log = "error: no".to_owned());
    hub.rename("acme/app", "acme/better");
    let github = github(&hub.url());
    let path = format!("/repos/acme/app/actions/jobs/{id}/logs");
    assert_eq!(github.log(errand(), &path).await.unwrap(), "error: no");
}

#[test]
fn waits_grow_where_none_is_named() {
    let mut limits = Limits::default();
    let none = HeaderMap::new();
    let mut now = 1_000;
    let mut waits = Vec::new();
    for _ in 0..7 {
        let error = limits.exhausted("core", "GitHub", &none, now);
        waits.push(error.retry_after_ms.unwrap() / 1000);
        assert!(limits.admit("graphql", false, "GitHub", now).is_err());
        now += waits[waits.len() - 1];
        assert!(limits.admit("graphql", false, "GitHub", now).is_ok());
    }
    assert_eq!(waits, [60, 120, 240, 480, 960, 1_800, 1_800]);
    limits.passed("core", 1);
    assert_eq!(limits.exhausted("core", "GitHub", &none, now).retry_after_ms, Some(60_000));
}

/// An App with a key that opens nothing.
pub(crate) fn app() -> App {
    let key = Secret::new(include_str!("tests/app.pem"));
    App { id: "12345".to_owned(), installation: 77, key }
}

#[tokio::test]
async fn an_app_asks_with_its_installations_token_and_for_a_new_one_in_time() {
    let hub = GitHub::start().unwrap();
    hub.repository("acme/app");
    let app = app();
    let key = app.pair().unwrap().public().as_ref().to_vec();
    let access = Access { token: None, url: Some(hub.enterprise_url()), app: Some(app) };
    let github = Github::build(&access, &context(&[("GH_ENTERPRISE_TOKEN", "other")])).unwrap();
    let read = async || github.rest(errand(), Method::GET, "/repos/acme/app", None).await;
    // Nobody knows it there.
    let error = read().await.unwrap_err();
    assert!(error.kind == ErrorKind::Permanent && error.remedy.is_some(), "{error:?}");
    // A token that is as good as over is not used again.
    hub.app("12345", 77, &key, 240);
    let before = hub.requests().len();
    read().await.unwrap();
    read().await.unwrap();
    hub.app("12345", 77, &key, 3_600);
    for _ in 0..2 {
        read().await.unwrap();
    }
    let methods: Vec<String> =
        hub.requests().into_iter().skip(before).map(|request| request.method).collect();
    assert_eq!(methods, ["POST", "GET", "POST", "GET", "POST", "GET", "GET"]);
    // One that another key has signed is no one's.
    hub.app("12345", 78, &key, 3_600);
    let other = Access { url: Some(hub.url()), ..access };
    let other = Github::build(&other, &context(&[])).unwrap();
    let error = other.rest(errand(), Method::GET, "/repos/acme/app", None).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Permanent, "{error:?}");
}
