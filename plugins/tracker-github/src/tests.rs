//! Over the strict fake.

use std::{sync::Arc, time::Duration};

use ao_conformance::{context, tracker::Bench};
use ao_fakes::github::{By, GitHub, Mood, TOKEN};
use ao_slots::{
    Call, ErrorKind,
    plugin::BuildContext,
    tracker::{IssueChange, IssueFilter, Tracker},
};
use async_trait::async_trait;
use serde_json::{Value, json};

use super::registration;

const REPO: &str = "acme/app";

#[derive(Debug)]
struct House {
    hub: GitHub,
    plugin: Arc<dyn Tracker>,
}

fn context(env: &[(&str, &str)]) -> BuildContext {
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    BuildContext { env, ..context::nowhere() }
}

fn plugin(settings: &Value, env: &[(&str, &str)]) -> Arc<dyn Tracker> {
    (registration().build)(settings, &context(env)).unwrap()
}

impl House {
    fn new() -> Self {
        let hub = GitHub::start().unwrap();
        hub.repository(REPO);
        hub.without_secondary_limits();
        let settings = json!({"repo": REPO, "token": TOKEN, "url": hub.enterprise_url()});
        let plugin = plugin(&settings, &[]);
        Self { hub, plugin }
    }

    /// The requests since the last look that changed something.
    fn writes(&self) -> usize {
        self.hub.requests().iter().filter(|request| request.method != "GET").count()
    }
}

fn call(key: &str) -> Call {
    Call::new(key, Duration::from_secs(60))
}

#[async_trait]
impl Bench for House {
    fn plugin(&self) -> &dyn Tracker {
        &*self.plugin
    }
    async fn break_tracker(&self, broken: bool) {
        match broken {
            true => self.hub.away(),
            false => self.hub.back().unwrap(),
        }
    }
    async fn hold(&self, held: bool) {
        self.hub.behave(if held { Mood::Silent } else { Mood::Well });
    }
    async fn revision(&self, id: &str) -> String {
        let issue = self.hub.issue_at(REPO, id.parse().unwrap()).unwrap();
        format!("{} {}", issue.updated, self.writes())
    }
    async fn comments(&self, id: &str) -> Option<usize> {
        Some(self.hub.comments(REPO, id.parse().ok()?).len())
    }
    fn somebody(&self) -> Option<&'static str> {
        Some("ben")
    }
}

#[tokio::test]
async fn it_conforms() {
    ao_conformance::tracker::all(&House::new()).await;
}

#[tokio::test]
async fn what_others_wrote_is_read() {
    let house = House::new();
    let first = house.hub.issue(REPO, "First", "");
    let part = house.hub.issue(REPO, "Part", "");
    let other = house.hub.issue(REPO, "Other", "");
    let number = house.hub.issue(REPO, "Third \u{1b}[31m", &format!("Text\r\nblocked by #{first}"));
    house.hub.change(REPO, number, |issue| {
        issue.labels = vec!["a, b".into(), "bug".into()];
        issue.parts = vec![part];
        issue.blocked_by = vec![other, first];
    });
    let id = number.to_string();
    let issue = house.plugin.get(&call("get"), &id).await.unwrap();
    assert_eq!((issue.title.as_str(), issue.body.as_str()), ("Third", "Text\nblocked by #1"));
    assert_eq!(issue.labels, ["a, b", "bug"]);
    assert_eq!(issue.blocked_by, [first, other, part].map(|number| number.to_string()));
    assert!(issue.url.unwrap().ends_with("/acme/app/issues/4"));
    assert_eq!(house.plugin.url(&id).as_deref(), Some("https://127.0.0.1/acme/app/issues/4"));
    let filter =
        IssueFilter { labels: vec!["a, b".into(), "BUG".into()], ..IssueFilter::default() };
    let ids = |listed: Vec<ao_slots::tracker::Issue>| {
        listed.into_iter().map(|issue| issue.id).collect::<Vec<_>>()
    };
    assert_eq!(ids(house.plugin.list(&call("list"), &filter).await.unwrap()), [id]);
    let all = house.plugin.list(&call("list"), &IssueFilter::default()).await.unwrap();
    assert_eq!(ids(all), ["4", "3", "2", "1"], "the newest first");
}

#[tokio::test]
async fn s25_who_may_not_write_to_the_repository_is_not_trusted() {
    let house = House::new();
    for (login, association, permission, trusted) in [
        ("ben", "MEMBER", Some("WRITE"), true),
        ("cem", "MEMBER", Some("READ"), false),
        ("mallory", "NONE", None, false),
    ] {
        let id = house.hub.issue(REPO, "Title", "");
        house.hub.change(REPO, id, |issue| issue.by = By::person(login));
        house.hub.associate(login, association);
        if let Some(permission) = permission {
            house.hub.permit(login, permission);
        }
        let issue = house.plugin.get(&call("get"), &id.to_string()).await.unwrap();
        assert_eq!(issue.author.as_deref(), Some(login));
        assert_eq!(
            house.plugin.is_trusted(&call("ask"), &issue).await.unwrap(),
            trusted,
            "{login}"
        );
    }
    let issue = house.plugin.get(&call("get"), "1").await.unwrap();
    house.hub.away();
    let asked = house.plugin.is_trusted(&call("away"), &issue).await;
    assert!(asked.unwrap_err().is_transient(), "no answer is not a no");
    let nobody = ao_slots::tracker::Issue { author: None, ..issue };
    assert!(!house.plugin.is_trusted(&call("nobody"), &nobody).await.unwrap());
}

#[tokio::test]
async fn a_pull_request_is_no_issue_and_a_list_has_pages() {
    let house = House::new();
    house.hub.push(REPO, "feat");
    let pull = house.hub.open(REPO, "feat");
    for number in 0..230 {
        house.hub.issue(REPO, &format!("Number {number}"), "");
    }
    let listed = house.plugin.list(&call("list"), &IssueFilter::default()).await.unwrap();
    assert_eq!(listed.len(), 230);
    let error = house.plugin.get(&call("get"), &pull.to_string()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound, "{error}");
}

#[tokio::test]
async fn a_hidden_line_stays_and_nobody_sees_it() {
    let house = House::new();
    let made = house.plugin.create(&call("k"), "Title", "Text", &[]).await.unwrap();
    let number: u64 = made.id.parse().unwrap();
    let body = || house.hub.issue_at(REPO, number).unwrap().body;
    assert!(
        body().starts_with("Text\n\n<!-- ao:")
            && !body().contains('k'.to_string().repeat(2).as_str())
    );
    let change = IssueChange { body: Some("Other".into()), ..IssueChange::default() };
    let changed = house.plugin.update(&call("u"), &made.id, &change).await.unwrap();
    assert_eq!(changed.body, "Other");
    assert!(body().starts_with("Other\n\n<!-- ao:"));
    let again = house.plugin.create(&call("k"), "Title", "Text", &[]).await.unwrap();
    assert_eq!((again.id, house.hub.issues(REPO).len()), (made.id, 1));
}

#[tokio::test]
async fn a_create_without_an_answer_is_in_doubt_and_found() {
    let house = House::new();
    // The look for an earlier one is answered, what follows is done without an answer.
    house.hub.behave_next(1, Mood::Well);
    house.hub.behave_next(1, Mood::Cut);
    let error = house.plugin.create(&call("cut"), "Title", "", &[]).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::InDoubt, "{error}");
    let again = house.plugin.create(&call("cut"), "Title", "", &[]).await.unwrap();
    assert_eq!((again.id.as_str(), house.hub.issues(REPO).len()), ("1", 1));
}

#[tokio::test]
async fn who_has_no_access_is_not_passed_over() {
    let house = House::new();
    let id = house.hub.issue(REPO, "Title", "").to_string();
    let people = Some(vec!["ben".into(), "eve".into()]);
    let change = IssueChange { assignees: people, open: Some(false), ..IssueChange::default() };
    let error = house.plugin.update(&call("a"), &id, &change).await.unwrap_err();
    assert!(error.kind == ErrorKind::Permanent && error.what.contains("eve"), "{error}");
    assert!(house.hub.issue_at(REPO, 1).unwrap().open, "whole or not at all");
}

#[tokio::test]
async fn what_may_not_be_set_is_not_passed_over() {
    let house = House::new();
    let id = house.hub.issue(REPO, "Title", "").to_string();
    house.hub.permit("ana", "READ");
    let error = house.plugin.create(&call("c"), "New", "", &["bug".into()]).await.unwrap_err();
    assert!(error.kind == ErrorKind::Permanent && error.remedy.is_some(), "{error}");
    let again = house.plugin.create(&call("c"), "New", "", &["bug".into()]).await.unwrap_err();
    assert_eq!((again.kind, house.hub.issues(REPO).len()), (ErrorKind::Permanent, 2), "{again}");
    let labels = IssueChange { labels: Some(vec!["bug".into()]), ..IssueChange::default() };
    let people = IssueChange { assignees: Some(vec!["ben".into()]), ..IssueChange::default() };
    for (change, what) in [(&labels, "labels"), (&people, "assignees")] {
        let error = house.plugin.update(&call(what), &id, change).await.unwrap_err();
        assert!(error.kind == ErrorKind::Permanent && error.what.contains(what), "{error}");
    }
    // Who may triage may, and GitHub knows a label however it is spelled.
    house.hub.permit("ana", "TRIAGE");
    house.plugin.update(&call("l"), &id, &labels).await.unwrap();
    house.hub.change(REPO, 1, |issue| issue.labels = vec!["Bug".into()]);
    house.plugin.update(&call("p"), &id, &people).await.unwrap();
    assert_eq!(house.plugin.get(&call("g"), &id).await.unwrap().assignees, ["ben"]);
}

#[tokio::test]
async fn an_issue_that_was_moved_is_not_here_under_any_number() {
    let house = House::new();
    house.hub.repository("acme/tasks");
    let id = house.hub.issue(REPO, "Title", "").to_string();
    assert_eq!(house.hub.transfer(REPO, 1, "acme/tasks"), 1, "the same number there");
    let error = house.plugin.get(&call("get"), &id).await.unwrap_err();
    assert!(error.kind == ErrorKind::NotFound && error.cause.contains("acme/tasks"), "{error}");
    let change = IssueChange { open: Some(false), ..IssueChange::default() };
    let error = house.plugin.update(&call("close"), &id, &change).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound);
    assert!(house.hub.issue_at("acme/tasks", 1).unwrap().open);
}

#[tokio::test]
async fn what_many_issues_wait_for_is_asked_at_once() {
    let house = House::new();
    for _ in 0..16 {
        let number = house.hub.issue(REPO, "Title", "");
        house.hub.change(REPO, number, |issue| issue.blocked_by = vec![1]);
    }
    house.hub.behave(Mood::Slow(Duration::from_millis(300)));
    let filter = IssueFilter { labels: vec!["none".into()], ..IssueFilter::default() };
    house.plugin.list(&call("none"), &filter).await.unwrap();
    assert_eq!(house.hub.requests().len(), 1, "nothing is asked of what is not wanted");
    // One after another they take five seconds.
    let short = Call::new("list", Duration::from_millis(3_500));
    let listed = house.plugin.list(&short, &IssueFilter::default()).await.unwrap();
    assert!(listed.len() == 16 && listed.iter().all(|issue| issue.blocked_by == ["1"]));
}

#[tokio::test]
async fn r12_an_outage_is_not_an_answer() {
    let house = House::new();
    let id = house.hub.issue(REPO, "Title", "").to_string();
    for mood in [Mood::Status(500), Mood::Html(502), Mood::Truncated] {
        house.hub.behave(mood.clone());
        let get = house.plugin.get(&call("get"), &id).await.unwrap_err();
        let list = house.plugin.list(&call("list"), &IssueFilter::default()).await.unwrap_err();
        assert_eq!((get.kind, list.kind), (ErrorKind::Transient, ErrorKind::Transient), "{mood:?}");
    }
    house.hub.behave(Mood::Well);
    house.plugin.get(&call("get"), &id).await.unwrap();
}

#[tokio::test]
async fn r12_it_is_left_alone_as_long_as_it_asks() {
    for (mood, expected) in [
        (Mood::Secondary(Some(30)), 25..=30),
        (Mood::TooMany(7), 2..=7),
        (Mood::Secondary(None), 55..=90),
        (Mood::Well, 95..=101),
    ] {
        let house = House::new();
        let id = house.hub.issue(REPO, "Title", "").to_string();
        house.hub.drain("core", u64::from(mood != Mood::Well), 100);
        house.hub.behave_next(1, mood.clone());
        for _ in 0..2 {
            let error = house.plugin.get(&call("get"), &id).await.unwrap_err();
            let wait = error.retry_after_ms.unwrap_or_default() / 1000;
            assert!(error.is_transient() && expected.contains(&wait), "{mood:?} {error} {wait}");
        }
        assert_eq!(house.hub.requests().len(), 1, "{mood:?}: asked again too early");
    }
}

#[tokio::test]
async fn a_renamed_repository_is_followed() {
    let house = House::new();
    let id = house.hub.issue(REPO, "Title", "").to_string();
    house.hub.rename(REPO, "acme/web");
    assert_eq!(house.plugin.get(&call("get"), &id).await.unwrap().title, "Title");
    let change = IssueChange { open: Some(false), ..IssueChange::default() };
    assert!(!house.plugin.update(&call("close"), &id, &change).await.unwrap().open);
    assert_eq!(house.plugin.create(&call("new"), "Another", "", &[]).await.unwrap().id, "2");
}

#[tokio::test]
async fn what_lacks_is_named() {
    let house = House::new();
    let url = house.hub.enterprise_url();
    let kind = async |settings: Value, env: &[(&str, &str)]| {
        let found = plugin(&settings, env).get(&call("get"), "1").await;
        found.map(|issue| issue.id).map_err(|error| (error.kind, error.remedy))
    };
    house.hub.issue(REPO, "Title", "");
    let with = |token: &str| json!({"repo": REPO, "token": token, "url": url});
    let (wrong, remedy) = kind(with("ghp_wrong"), &[]).await.unwrap_err();
    assert!(wrong == ErrorKind::Permanent && remedy.is_some());
    let (nowhere, remedy) = kind(json!({"token": TOKEN, "url": url}), &[]).await.unwrap_err();
    assert!(nowhere == ErrorKind::Permanent && remedy.unwrap().contains("repo:"));
    // The token of github.com is shown to no other host.
    let (missing, remedy) =
        kind(json!({"repo": REPO, "url": url}), &[("GITHUB_TOKEN", TOKEN)]).await.unwrap_err();
    assert!(missing == ErrorKind::Missing && remedy.is_some());
    let env = [("GH_ENTERPRISE_TOKEN", TOKEN)];
    assert_eq!(kind(json!({"repo": REPO, "url": url}), &env).await, Ok("1".into()));
    let check = |settings: Value| (registration().check)(&settings);
    check(json!({"repo": "acme"})).unwrap_err();
    check(json!({"repo": "acme/../x"})).unwrap_err();
    check(json!({"repo": "acme/app", "url": "ftp://x"})).unwrap_err();
    check(json!({})).unwrap();
}

#[tokio::test]
async fn r13_what_has_not_changed_is_free() {
    let house = House::new();
    let id = house.hub.issue(REPO, "Title", "").to_string();
    for _ in 0..20 {
        house.plugin.is_completed(&call("get"), &id).await.unwrap();
    }
    let spent = house.hub.spent();
    assert_eq!((spent.rest, spent.not_modified), (1, 19));
}
