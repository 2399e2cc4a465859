//! Slack's requests to the server's own address, where clicks do not come by Socket Mode
//! (<https://docs.slack.dev/authentication/verifying-requests-from-slack>).

use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

use ao_sdk::Secret;
use ao_slots::notifier::{HttpAnswer, HttpRequest};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use url::form_urlencoded;

use crate::{App, incoming::ANSWER};

/// How far a request's time may be from ours, in seconds.
const AGE: i64 = 300;
/// How long finding out who we are may take.
const LOOK: Duration = Duration::from_secs(2);

impl App {
    /// A request with this signature came already.
    fn was_signed(&self, signature: &str) -> bool {
        let mut signed = self.signed.lock().unwrap_or_else(PoisonError::into_inner);
        signed.put(signature.to_owned(), ()).is_some()
    }

    /// Takes a request whose signature holds, once.
    pub(crate) async fn request(
        self: &Arc<Self>,
        secret: &Secret,
        request: &HttpRequest,
    ) -> HttpAnswer {
        let due = tokio::time::Instant::now() + ANSWER;
        let Some(signature) = genuine(secret, request) else { return answer(401, None) };
        if self.was_signed(signature) {
            return answer(401, None);
        }
        let form = header(request, "content-type")
            .is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
        let payload: Option<Value> = if form {
            let mut fields = form_urlencoded::parse(&request.body);
            fields
                .find(|(key, _)| key == "payload")
                .and_then(|(_, it)| serde_json::from_str(&it).ok())
        } else {
            serde_json::from_slice(&request.body).ok()
        };
        let Some(payload) = payload else { return answer(400, None) };
        if payload["type"] == "url_verification" {
            return answer(200, Some(json!({"challenge": payload["challenge"]})));
        }
        // Slack shows its own error, and sends an event again.
        let Ok(me) = self.me(LOOK).await else { return answer(503, None) };
        let taken = if form { self.interaction(me, payload) } else { self.event(me, payload) };
        let Ok(reply) = taken else { return answer(503, None) };
        match reply.answer(due).await {
            Ok(body) => answer(200, body),
            Err(_) => answer(503, None),
        }
    }
}

fn answer(status: u16, body: Option<Value>) -> HttpAnswer {
    HttpAnswer { status, body: body.map(|body| body.to_string()) }
}

/// The one value of a header; none where there are several.
fn header<'a>(request: &'a HttpRequest, name: &str) -> Option<&'a str> {
    let mut values = request.headers.iter().filter(|(key, _)| key == name);
    let value = values.next()?;
    if values.next().is_some() { None } else { std::str::from_utf8(&value.1).ok() }
}

/// The signature of a request that is Slack's own and recent: HMAC-SHA256 over `v0:<time>:<raw body>`.
fn genuine<'a>(secret: &Secret, request: &'a HttpRequest) -> Option<&'a str> {
    let time = header(request, "x-slack-request-timestamp")?;
    let at: i64 = time.parse().ok()?;
    if request.at.as_second().checked_sub(at)?.checked_abs()? > AGE {
        return None;
    }
    let signature = header(request, "x-slack-signature")?;
    let bytes = hex(signature.strip_prefix("v0=")?)?;
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.reveal().as_bytes()).ok()?;
    mac.update(format!("v0:{time}:").as_bytes());
    mac.update(&request.body);
    mac.verify_slice(&bytes).ok()?;
    Some(signature)
}

/// 32 bytes in lower-case hexadecimal: one spelling, so that a request sent again is known by it.
fn hex(text: &str) -> Option<Vec<u8>> {
    let digit = |c: u8| match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    };
    if text.len() != 64 {
        return None;
    }
    text.as_bytes().chunks(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}
