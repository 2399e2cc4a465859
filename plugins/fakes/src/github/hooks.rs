//! Webhooks as they are delivered: the vendor's examples, about what is here.

use std::sync::LazyLock;

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use super::world::World;

static EXAMPLES: LazyLock<Value> = LazyLock::new(|| {
    let text = include_str!("../../vendor/github/webhooks.json");
    serde_json::from_str(text).unwrap_or_else(|error| panic!("the examples of webhooks: {error}"))
});

/// One delivery.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Its headers.
    pub headers: Vec<(String, String)>,
    /// Its body, which the signature is over.
    pub body: Vec<u8>,
}

/// Makes one.
pub(super) fn delivery(
    world: &mut World,
    event: &str,
    (repo, number): (u64, u64),
    secret: &str,
) -> Delivery {
    let mut body = EXAMPLES[event].clone();
    assert!(body.is_object(), "there is no example of {event}");
    let home = world.repo_at(repo);
    body["repository"]["id"] = json!(home.id);
    body["repository"]["node_id"] = json!(format!("R_{}", home.id));
    body["repository"]["name"] = json!(home.name);
    body["repository"]["full_name"] = json!(home.full_name());
    if let Some(issue) = world.issue(repo, number) {
        if let Some(pull) = &issue.pull {
            let (id, node) = (issue.id, format!("PR_{}", issue.id));
            let head = json!({"ref": pull.head, "sha": pull.sha});
            let brief =
                json!({"id": id, "number": number, "head": head, "base": {"ref": pull.base}});
            if body["pull_request"].is_object() {
                let of = &mut body["pull_request"];
                of["id"] = json!(id);
                of["node_id"] = json!(node);
                of["number"] = json!(number);
                of["title"] = json!(issue.title);
                of["head"]["ref"] = json!(pull.head);
                of["head"]["sha"] = json!(pull.sha);
                of["base"]["ref"] = json!(pull.base);
            }
            for of in ["check_run", "check_suite", "workflow_run"] {
                if body[of].is_object() {
                    body[of]["head_sha"] = json!(pull.sha);
                    // It names none of a fork.
                    let ours = pull.head_repo == Some(repo);
                    body[of]["pull_requests"] = if ours { json!([brief]) } else { json!([]) };
                }
            }
            for (of, sha) in [("sha", json!(pull.sha)), ("after", json!(pull.sha))] {
                if body[of].is_string() {
                    body[of] = sha;
                }
            }
            if body["ref"].is_string() {
                body["ref"] = json!(format!("refs/heads/{}", pull.head));
            }
        }
        if body["issue"].is_object() {
            body["issue"]["number"] = json!(number);
            body["issue"]["title"] = json!(issue.title);
            body["issue"]["pull_request"] = match issue.pull {
                Some(_) => json!({"html_url": "https://github.invalid/"}),
                None => Value::Null,
            };
        }
    }
    if body["number"].is_number() {
        body["number"] = json!(number);
    }
    let body = body.to_string().into_bytes();
    let id = world.number();
    // A key of any length is one.
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes())
        .unwrap_or_else(|error| panic!("the secret is no key: {error}"));
    mac.update(&body);
    let signature: String =
        mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let event = event.split('.').next().unwrap_or(event);
    let headers = [
        ("Content-Type", "application/json".to_owned()),
        ("User-Agent", "GitHub-Hookshot/044aadd".to_owned()),
        ("X-GitHub-Event", event.to_owned()),
        ("X-GitHub-Delivery", format!("72d3162e-cc78-11e3-81ab-{id:012x}")),
        ("X-GitHub-Hook-ID", "292430182".to_owned()),
        ("X-Hub-Signature-256", format!("sha256={signature}")),
    ];
    let headers = headers.map(|(name, value)| (name.to_owned(), value)).to_vec();
    Delivery { headers, body }
}
