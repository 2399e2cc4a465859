//! The fake as a client meets it.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use serde_json::{Value, json};

use super::{By, GitHub, Mood, TOKEN};

/// An answer: status, headers, text.
struct Got(u16, String, String);

impl Got {
    fn json(&self) -> Value {
        serde_json::from_str(&self.2).unwrap_or_else(|_| panic!("{} {}", self.0, self.2))
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.1.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// One request on a connection of its own.
fn ask(hub: &GitHub, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Got {
    let address = hub.url().replace("http://", "");
    let mut stream = TcpStream::connect(&address).unwrap();
    let more: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nUser-Agent: test\r\n\
         Authorization: Bearer {TOKEN}\r\n{more}Content-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Got(status, head.to_owned(), body.to_owned())
}

fn get(hub: &GitHub, path: &str) -> Value {
    let got = ask(hub, "GET", path, &[], "");
    assert!(got.0 < 300, "{path}: {} {}", got.0, got.2);
    got.json()
}

fn send(hub: &GitHub, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let got = ask(hub, method, path, &[], &body.to_string());
    let json = if got.2.is_empty() { Value::Null } else { got.json() };
    (got.0, json)
}

fn graphql(hub: &GitHub, query: &str, variables: &Value) -> Value {
    let body = json!({"query": query, "variables": variables});
    let got = ask(hub, "POST", "/graphql", &[], &body.to_string());
    assert_eq!(got.0, 200, "{}", got.2);
    got.json()
}

/// A repository with one pull request.
fn house() -> (GitHub, u64) {
    let hub = GitHub::start().unwrap();
    hub.repository("acme/app");
    hub.push("acme/app", "feat/x");
    let number = hub.open("acme/app", "feat/x");
    (hub, number)
}

const OBSERVE: &str = "
query($a: Int!) {
  rateLimit { cost remaining resetAt limit }
  p0: repository(owner: \"acme\", name: \"app\") { pullRequest(number: $a) { ...facts } }
}
fragment facts on PullRequest {
  id number title state isDraft mergeable mergeStateStatus reviewDecision headRefOid updatedAt
  reviewThreads(first: 100) { totalCount nodes { id isResolved } pageInfo { hasNextPage endCursor } }
  latestOpinionatedReviews(first: 20) { nodes { state author { login __typename } authorCanPushToRepository } }
  commits(last: 1) { nodes { commit { oid statusCheckRollup { state contexts(first: 50) {
    totalCount
    nodes {
      __typename
      ... on CheckRun { name status conclusion isRequired(pullRequestNumber: $a) checkSuite { app { slug } } }
      ... on StatusContext { context state isRequired(pullRequestNumber: $a) }
    } } } } } }
}";

#[test]
fn a_pull_request_is_observed() {
    let (hub, number) = house();
    let sha = hub.head("acme/app", "feat/x").unwrap();
    hub.require("acme/app", "main", &["test", "ci/legacy"], 1);
    hub.check("acme/app", &sha, "test", Some("FAILURE"));
    hub.check("acme/app", &sha, "lint", None);
    hub.status("acme/app", &sha, "ci/legacy", "SUCCESS", "fine");
    hub.review("acme/app", number, By::person("eve"), "APPROVED", "");
    let thread = hub.thread("acme/app", number, By::bot("coderabbitai"), "src/a.rs", 3, "no");
    let answer = graphql(&hub, OBSERVE, &json!({"a": number}));
    assert_eq!(answer["errors"], Value::Null, "{answer}");
    let facts = &answer["data"]["p0"]["pullRequest"];
    assert_eq!(facts["mergeable"], "UNKNOWN", "at the first look");
    // Somebody who may not write has approved.
    assert_eq!(facts["reviewDecision"], "REVIEW_REQUIRED");
    assert_eq!(facts["reviewThreads"]["nodes"], json!([{"id": thread, "isResolved": false}]));
    let rollup = &facts["commits"]["nodes"][0]["commit"]["statusCheckRollup"];
    assert_eq!(rollup["state"], "FAILURE");
    let contexts = rollup["contexts"]["nodes"].as_array().unwrap();
    let names: Vec<_> = contexts.iter().map(|c| (&c["name"], &c["isRequired"])).collect();
    assert_eq!(names[0], (&json!("test"), &json!(true)));
    assert_eq!(names[1], (&json!("lint"), &json!(false)));
    assert_eq!(
        contexts[2],
        json!({"__typename": "StatusContext", "context": "ci/legacy", "state": "SUCCESS", "isRequired": true})
    );
    let again = graphql(&hub, OBSERVE, &json!({"a": number}));
    assert_eq!(again["data"]["p0"]["pullRequest"]["mergeable"], "MERGEABLE");
    assert_eq!(again["data"]["p0"]["pullRequest"]["mergeStateStatus"], "BLOCKED");
    assert_eq!(again["data"]["rateLimit"]["cost"], 1);
    assert_eq!(again["data"]["rateLimit"]["remaining"], 4998);
    assert_eq!((hub.spent().points, hub.spent().graphql), (2, 2));
}

#[test]
fn what_the_schema_does_not_have_is_refused() {
    let (hub, _) = house();
    for query in [
        "{ repository(owner: \"acme\", name: \"app\") { pullRequestz(number: 1) { id } } }",
        "{ repository(owner: \"acme\") { id } }",
        "{ repository(owner: \"acme\", name: \"app\") { pullRequest(number: \"1\") { id } } }",
        "{ repository(owner: \"acme\", name: \"app\") { pullRequest } }",
        "query($n: Int!) { viewer { login } }",
        "{ repository(owner: \"acme\", name: \"app\") { pullRequests { totalCount } } }",
        "{ repository(owner: \"acme\", name: \"app\") { pullRequests(first: 101) { totalCount } } }",
    ] {
        let answer = graphql(&hub, query, &json!({}));
        assert!(answer["errors"][0]["message"].is_string() && answer["data"].is_null(), "{answer}");
    }
}

#[test]
fn what_is_not_there_leaves_the_rest() {
    let (hub, number) = house();
    let query = "query($id: ID!) {
        gone: repository(owner: \"acme\", name: \"gone\") { id }
        here: repository(owner: \"acme\", name: \"app\") { pullRequest(number: 77) { id } }
        nodes(ids: [$id, \"PR_0\"]) { __typename ... on PullRequest { number } }
    }";
    let answer = graphql(&hub, query, &json!({"id": hub.node("acme/app", number)}));
    assert_eq!(answer["data"]["gone"], Value::Null);
    assert_eq!(answer["data"]["here"]["pullRequest"], Value::Null);
    assert_eq!(
        answer["data"]["nodes"],
        json!([{"__typename": "PullRequest", "number": number}, null])
    );
    let errors = answer["errors"].as_array().unwrap();
    assert!(
        errors.len() == 3 && errors.iter().all(|error| error["type"] == "NOT_FOUND"),
        "{answer}"
    );
    assert!(errors.iter().any(|error| error["path"] == json!(["nodes", 1])), "{answer}");
    assert!(errors.iter().any(|error| error["path"] == json!(["here", "pullRequest"])), "{answer}");
}

/// «Rate limits and query limits for the GraphQL API» prices this at 51 points: 1 + 100 + 5,000 requests of a hundredth.
#[test]
fn points_are_those_of_the_published_example() {
    let (hub, _) = house();
    let query = "query($n: Int = 100) { rateLimit { cost nodeCount } repository(owner: \"acme\", name: \"app\") {
        pullRequests(first: $n) { nodes { reviewThreads(first: 50) { nodes { comments(first: 60) { totalCount } } } } }
    } }";
    let answer = graphql(&hub, query, &json!({}));
    assert_eq!(
        answer["data"]["rateLimit"],
        json!({"cost": 51, "nodeCount": 100 + 5_000 + 300_000})
    );
    let query = query.replace("first: 60", "first: 100");
    let answer = graphql(&hub, &query, &json!({}));
    assert_eq!(answer["errors"][0]["type"], "MAX_NODE_LIMIT_EXCEEDED", "{answer}");
}

#[test]
fn connections_have_pages() {
    let (hub, number) = house();
    for line in 0..130 {
        hub.thread("acme/app", number, By::person("ben"), "a", line, "words");
    }
    let query = "query($n: Int!, $after: String) { repository(owner: \"acme\", name: \"app\") { pullRequest(number: $n) {
        reviewThreads(first: 100, after: $after) { totalCount edges { cursor node { line } } pageInfo { hasNextPage endCursor } }
    } } }";
    let page = |after: &Value| {
        let mut answer = graphql(&hub, query, &json!({"n": number, "after": after}));
        answer["data"]["repository"]["pullRequest"]["reviewThreads"].take()
    };
    let first = page(&Value::Null);
    assert_eq!(
        (first["totalCount"].as_u64(), &first["pageInfo"]["hasNextPage"]),
        (Some(130), &json!(true))
    );
    let second = page(&first["pageInfo"]["endCursor"]);
    assert_eq!(second["edges"].as_array().unwrap().len(), 30);
    assert_eq!(
        (&second["edges"][0]["node"]["line"], &second["pageInfo"]["hasNextPage"]),
        (&json!(100), &json!(false))
    );
}

#[test]
fn every_route_answers_as_the_description_says() {
    let (hub, number) = house();
    let sha = hub.head("acme/app", "feat/x").unwrap();
    let issue = hub.issue("acme/app", "An issue", "blocked by #9");
    hub.require("acme/app", "main", &["test"], 1);
    let check = hub.check("acme/app", &sha, "test", Some("FAILURE"));
    hub.change_check(check, |check| {
        check.log = "the log".into();
        check.steps = vec![("build".into(), "SUCCESS"), ("test".into(), "FAILURE")];
        check.annotations = vec![("src/a.rs".into(), 3, "FAILURE", "broken".into())];
    });
    hub.status("acme/app", &sha, "ci/legacy", "PENDING", "waits");
    hub.comment("acme/app", issue, By::bot("helper"), "words");
    hub.review("acme/app", number, By::person("ben"), "COMMENTED", "words");
    let run = get(&hub, &format!("/repos/acme/app/actions/jobs/{check}"))["run_id"].clone();
    for path in [
        "/rate_limit".to_owned(),
        "/user".to_owned(),
        "/repos/acme/app".to_owned(),
        "/repos/acme/app/pulls?state=all&head=acme:feat/x&per_page=1".to_owned(),
        format!("/repos/acme/app/pulls/{number}"),
        format!("/repos/acme/app/pulls/{number}/files"),
        format!("/repos/acme/app/pulls/{number}/reviews"),
        "/repos/acme/app/branches/feat/x".to_owned(),
        "/repos/acme/app/rules/branches/main".to_owned(),
        "/repos/acme/app/git/ref/heads/feat/x".to_owned(),
        format!("/repos/acme/app/commits/{sha}/check-runs?filter=latest"),
        "/repos/acme/app/commits/feat/x/status".to_owned(),
        format!("/repos/acme/app/check-runs/{check}"),
        format!("/repos/acme/app/check-runs/{check}/annotations"),
        format!("/repos/acme/app/actions/runs/{run}/jobs?filter=latest"),
        "/repos/acme/app/issues?state=all&labels=bug&per_page=100&page=2".to_owned(),
        format!("/repos/acme/app/issues/{issue}"),
        format!("/repos/acme/app/issues/{issue}/comments"),
        format!("/repos/acme/app/issues/{issue}/sub_issues"),
        format!("/repos/acme/app/issues/{issue}/dependencies/blocked_by"),
    ] {
        get(&hub, &path);
    }
    let log = ask(&hub, "GET", &format!("/repos/acme/app/actions/jobs/{check}/logs"), &[], "");
    assert_eq!(log.0, 302);
    let place = log.header("location").unwrap().replace(&hub.url(), "");
    assert_eq!(ask(&hub, "GET", &place, &[], "").0, 403, "a token beside a signature");
    for (method, path, body, expected) in [
        ("POST", format!("actions/jobs/{check}/rerun"), json!({}), 201),
        ("POST", format!("actions/jobs/{check}/rerun"), json!({}), 201),
        (
            "POST",
            format!("pulls/{number}/reviews"),
            json!({"event": "COMMENT", "body": "fine"}),
            200,
        ),
        ("POST", format!("pulls/{number}/reviews"), json!({"event": "APPROVE"}), 422),
        (
            "POST",
            "pulls".to_owned(),
            json!({"title": "Again", "head": "feat/x", "base": "main"}),
            422,
        ),
        ("POST", "issues".to_owned(), json!({"title": "New", "labels": ["bug"]}), 201),
        ("POST", "issues".to_owned(), json!({"title": ""}), 422),
        ("POST", "issues".to_owned(), json!({"name": "New"}), 422),
        ("PATCH", format!("issues/{issue}"), json!({"state": "closed", "labels": ["done"]}), 200),
        ("POST", format!("issues/{issue}/comments"), json!({"body": "words"}), 201),
        ("POST", format!("issues/{issue}/labels"), json!({"labels": ["more"]}), 200),
        ("DELETE", format!("issues/{issue}/labels/more"), json!({}), 422),
        ("POST", format!("issues/{issue}/assignees"), json!({"assignees": ["ben"]}), 201),
        ("DELETE", format!("issues/{issue}/assignees"), json!({"assignees": ["ben"]}), 200),
        ("PATCH", format!("pulls/{number}"), json!({"state": "closed"}), 200),
        ("PUT", format!("pulls/{number}/merge"), json!({"sha": sha}), 405),
        ("GET", "nowhere".to_owned(), json!({}), 501),
    ] {
        let (status, answer) = send(&hub, method, &format!("/repos/acme/app/{path}"), &body);
        assert_eq!(status, expected, "{method} {path}: {answer}");
    }
    assert_eq!(ask(&hub, "GET", "/repos/acme/app/assignees/ben", &[], "").0, 204);
    assert_eq!(ask(&hub, "GET", "/repos/acme/app/assignees/eve", &[], "").0, 404);
    assert_eq!(ask(&hub, "DELETE", "/repos/acme/app/git/refs/heads/feat/x", &[], "").0, 204);
    assert_eq!(hub.head("acme/app", "feat/x"), None);
}

#[test]
fn merging_is_refused_in_the_vendors_words() {
    let (hub, number) = house();
    let sha = hub.head("acme/app", "feat/x").unwrap();
    hub.require("acme/app", "main", &["test"], 1);
    let merge = |sha: &str| {
        let path = format!("/repos/acme/app/pulls/{number}/merge");
        let (status, answer) =
            send(&hub, "PUT", &path, &json!({"sha": sha, "merge_method": "squash"}));
        (status, answer["message"].as_str().unwrap_or_default().to_owned())
    };
    let refused = |status, part: &str| {
        let (got, words) = merge(&sha);
        assert!(got == status && words.contains(part), "{got} {words}");
    };
    refused(405, "At least 1 approving review is required");
    hub.review("acme/app", number, By::person("ben"), "APPROVED", "");
    refused(405, "\"test\" is expected");
    hub.check("acme/app", &sha, "test", Some("SUCCESS"));
    hub.change_pull("acme/app", number, |pull| pull.draft = true);
    refused(405, "still a draft");
    hub.change_pull("acme/app", number, |pull| pull.draft = false);
    assert_eq!(merge("0000000").0, 409);
    assert_eq!(merge(&sha).0, 200);
    refused(405, "not mergeable");
    let facts = graphql(&hub, OBSERVE, &json!({"a": number}));
    assert_eq!(facts["data"]["p0"]["pullRequest"]["state"], "MERGED");
}

#[test]
fn it_merges_by_itself_once_it_may() {
    let (hub, number) = house();
    let sha = hub.head("acme/app", "feat/x").unwrap();
    hub.require("acme/app", "main", &["test"], 0);
    // Somebody has told it to.
    hub.change_pull("acme/app", number, |pull| pull.auto_merge = Some("SQUASH"));
    assert!(hub.issue_at("acme/app", number).unwrap().open);
    hub.check("acme/app", &sha, "test", Some("SUCCESS"));
    assert!(!hub.issue_at("acme/app", number).unwrap().open);
}

#[test]
fn what_has_not_changed_is_free() {
    let (hub, number) = house();
    hub.unknown_mergeable("acme/app", number, 0);
    let path = format!("/repos/acme/app/pulls/{number}");
    let first = ask(&hub, "GET", &path, &[], "");
    let tag = first.header("etag").unwrap();
    let again = ask(&hub, "GET", &path, &[("If-None-Match", tag)], "");
    assert_eq!((again.0, again.2.as_str()), (304, ""));
    assert_eq!(again.header("x-ratelimit-remaining"), Some("4999"));
    let since = first.header("last-modified").unwrap();
    assert_eq!(ask(&hub, "GET", &path, &[("If-Modified-Since", since)], "").0, 304);
    assert_eq!((hub.spent().rest, hub.spent().not_modified), (1, 2));
    hub.change("acme/app", number, |issue| issue.title = "Another".into());
    assert_eq!(ask(&hub, "GET", &path, &[("If-None-Match", tag)], "").0, 200);
    assert_eq!(ask(&hub, "GET", &path, &[("If-Modified-Since", since)], "").0, 200);
    assert_eq!(hub.spent().rest, 3);
}

#[test]
fn a_renamed_repository_is_found() {
    let (hub, number) = house();
    let node = hub.node("acme/app", number);
    hub.rename("acme/app", "acme/web");
    let moved = ask(&hub, "GET", &format!("/api/v3/repos/acme/app/pulls/{number}"), &[], "");
    assert_eq!(moved.0, 301);
    let to = moved.header("location").unwrap().replace(&hub.url(), "");
    assert_eq!(get(&hub, &to)["base"]["repo"]["full_name"], "acme/web");
    let facts = graphql(&hub, OBSERVE, &json!({"a": number}));
    assert_eq!(facts["data"]["p0"]["pullRequest"]["id"], json!(node));
}

#[test]
fn limits_are_those_of_the_documentation() {
    let (hub, _) = house();
    hub.drain("core", 1, 100);
    get(&hub, "/repos/acme/app");
    let empty = ask(&hub, "GET", "/repos/acme/app", &[], "");
    assert_eq!((empty.0, empty.header("x-ratelimit-remaining")), (403, Some("0")));
    assert_eq!(get(&hub, "/rate_limit")["resources"]["core"]["remaining"], 0);
    hub.drain("graphql", 0, 100);
    let answer = graphql(&hub, "{ viewer { login } }", &json!({}));
    assert_eq!(answer["errors"][0]["type"], "RATE_LIMITED");
    hub.drain("core", 5000, 100);
    let many = (0..200)
        .map(|_| send(&hub, "POST", "/repos/acme/app/issues", &json!({"title": "One of many"})).0);
    assert_eq!(
        many.take_while(|status| *status == 201).count(),
        80,
        "what may be made in a minute"
    );
}

#[test]
fn it_can_be_wrong_in_every_way() {
    let (hub, number) = house();
    let path = format!("/repos/acme/app/pulls/{number}");
    let status = |mood| {
        hub.behave_next(1, mood);
        ask(&hub, "GET", &path, &[], "")
    };
    assert_eq!(status(Mood::Status(500)).0, 500);
    assert!(status(Mood::Html(502)).2.starts_with("<!DOCTYPE"));
    let cut = status(Mood::Truncated);
    assert!(serde_json::from_str::<Value>(&cut.2).is_err() && cut.0 == 200);
    let limited = status(Mood::Secondary(Some(30)));
    assert_eq!((limited.0, limited.header("retry-after")), (403, Some("30")));
    assert_eq!(status(Mood::TooMany(5)).0, 429);
    hub.behave_next(1, Mood::Partial("p0".into()));
    let partial = graphql(&hub, OBSERVE, &json!({"a": number}));
    assert!(partial["data"]["p0"].is_null() && partial["data"]["rateLimit"].is_object());
    assert_eq!(partial["errors"][0]["path"], json!(["p0"]));
    assert_eq!(ask(&hub, "GET", &path, &[], "").0, 200);
}

#[test]
fn deliveries_are_signed_and_about_what_is_here() {
    let (hub, number) = house();
    let examples: Value =
        serde_json::from_str(include_str!("../../vendor/github/webhooks.json")).unwrap();
    for event in examples.as_object().unwrap().keys().filter(|name| *name != "of") {
        let delivery = hub.delivery(event, "acme/app", number, "secret");
        let body: Value = serde_json::from_slice(&delivery.body).unwrap();
        assert_eq!(body["repository"]["full_name"], "acme/app", "{event}");
        if body["pull_request"].is_object() {
            assert_eq!(body["pull_request"]["number"], number, "{event}");
        }
        let header = |name: &str| delivery.headers.iter().find(|(known, _)| known == name).unwrap();
        assert_eq!(header("X-Hub-Signature-256").1.len(), 7 + 64);
        assert_eq!(header("X-GitHub-Event").1, event.split('.').next().unwrap());
    }
    let one = hub.delivery("push", "acme/app", number, "secret");
    assert_ne!(one.headers, hub.delivery("push", "acme/app", number, "secret").headers);
}
