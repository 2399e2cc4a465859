//! What GitHub posts: «Validating webhook deliveries», «Webhook events and payloads».

use ao_slots::{ErrorKind, PluginError, PrNumber, scm::ScmHint};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::Value;
use sha2::Sha256;

/// The only value of a header; two of one name are none.
fn header<'h>(headers: &'h [(String, String)], name: &str) -> Option<&'h str> {
    let mut named = headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
    let (_, value) = named.next()?;
    named.next().is_none().then_some(value.as_str())
}

/// Checks the signature by SHA-256. That by SHA-1, which comes beside it, is not one.
pub(crate) fn verify(
    secret: Option<&str>,
    headers: &[(String, String)],
    body: &[u8],
) -> Result<(), PluginError> {
    let refused =
        |cause| PluginError::new(ErrorKind::Refused, "the webhook is not believed", cause);
    let Some(secret) = secret else {
        return Err(refused("there is no secret to check it with")
            .with_remedy("set `webhookSecret:` of the project's `scm:`"));
    };
    let given = header(headers, "x-hub-signature-256");
    let given = given.and_then(|value| value.strip_prefix("sha256="));
    let given = given.ok_or_else(|| refused("it has no signature by SHA-256"))?;
    let given = unhex(given).ok_or_else(|| refused("its signature does not read"))?;
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes())
        .map_err(|_| refused("the secret is no key"))?;
    mac.update(body);
    // Takes as long for any wrong one.
    mac.verify_slice(&given).map_err(|_| refused("its signature is another's"))
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !text.is_ascii() || !digits.len().is_multiple_of(2) {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    digits.chunks(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

/// What a delivery says has changed; none for one that concerns no pull request.
pub(crate) fn parse(
    headers: &[(String, String)],
    body: &[u8],
) -> Result<Option<ScmHint>, PluginError> {
    let wrong = |cause: String| PluginError::permanent("the webhook does not read", cause);
    let named =
        |name: &str| header(headers, name).ok_or_else(|| wrong(format!("it has no header {name}")));
    let (event, delivery) = (named("x-github-event")?, named("x-github-delivery")?);
    let place = match event {
        "pull_request" => "/number",
        "pull_request_review" | "pull_request_review_comment" | "pull_request_review_thread" => {
            "/pull_request/number"
        }
        "issue_comment" => "/issue/number",
        "check_run" => "/check_run/pull_requests",
        "check_suite" => "/check_suite/pull_requests",
        "workflow_run" => "/workflow_run/pull_requests",
        // They name a commit, a branch: the repository is looked at.
        "status" | "push" => "",
        _ => return Ok(None),
    };
    let body: Value = serde_json::from_slice(body).map_err(|error| {
        wrong(error.to_string()).with_remedy("choose the content type application/json for it")
    })?;
    if event == "issue_comment" && body["issue"]["pull_request"].is_null() {
        return Ok(None);
    }
    let number = match body.pointer(place) {
        Some(Value::Number(number)) => number.as_u64(),
        // A check of several concerns the repository.
        Some(Value::Array(prs)) if prs.len() == 1 => prs[0]["number"].as_u64(),
        _ => None,
    };
    let repo = body["repository"]["full_name"].as_str();
    let repo = repo.ok_or_else(|| wrong("it names no repository".to_owned()))?;
    Ok(Some(ScmHint {
        repo: repo.to_owned(),
        pr: number.map(PrNumber),
        delivery: delivery.to_owned(),
    }))
}
