//! Posts each notification as signed JSON to one HTTP address.
//!
//! A request follows Standard Webhooks: `webhook-id` is the same for every repetition of one act, so a
//! receiver that remembers ids shows nothing twice; `webhook-timestamp` is in seconds since 1970;
//! `webhook-signature` is `v1,` and the base64 of HMAC-SHA256 over `<id>.<timestamp>.<body>`. The body is a
//! [`Payload`]. Any 2xx answer means that it was taken.
//!
//! Whatever an address comes from, it leads to public machines only, unless `allowPrivate` is set: see
//! `guard.rs`. Proxies are not used and redirects are not followed, since both would lead past that.

mod guard;
mod payload;
mod settings;

#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc, time::Duration};

use ao_slots::{
    Call, PluginError,
    call::Answer,
    notifier::{
        ChannelHandle, ChannelKind, IncomingAction, Message, Notifier, NotifierCapabilities,
        Reached, Receipt,
    },
    plugin::{self, Registration},
    text::{cut, one_line},
};
use async_trait::async_trait;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use reqwest::{
    Client, Response, StatusCode,
    header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER, USER_AGENT},
};
use sha2::Sha256;

use crate::{
    guard::PublicOnly,
    settings::{Key, Target},
};
pub use crate::{
    payload::{Content, Label, Payload, VERSION},
    settings::{Secret, Settings},
};

/// The plugin's name in the config.
pub const NAME: &str = "webhook";

/// How long a connection may take, so that a machine that is away is told from one that is slow.
const CONNECT: Duration = Duration::from_secs(3);
/// How much of a refusal's text is read.
const ANSWER_LIMIT: usize = 16 * 1024;

/// This plugin, for the list of plugins.
pub fn registration() -> Registration<dyn Notifier> {
    Registration {
        name: NAME,
        about: "signed JSON to an HTTP address (Standard Webhooks)",
        schema: || schemars::schema_for!(Settings),
        check: |value| plugin::settings::<Settings>(NAME, value)?.target().map(drop),
        build: |value, context| {
            let target = plugin::settings::<Settings>(NAME, value)?.target()?;
            Ok(Arc::new(Webhook::new(target, context.instance.to_string())?))
        },
    }
}

/// One receiver.
pub struct Webhook {
    target: Target,
    instance: String,
    client: Client,
}

/// Neither the address nor a header is shown: either may hold a secret.
impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").field("host", &self.target.host).finish_non_exhaustive()
    }
}

impl Webhook {
    fn new(target: Target, instance: String) -> Result<Self, PluginError> {
        // A program has one provider; whoever comes first installs it.
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let mut builder = Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT);
        if !target.allow_private {
            builder = builder.dns_resolver(Arc::new(PublicOnly));
        }
        let client = builder.build().map_err(|error| {
            PluginError::new(
                ao_slots::ErrorKind::Missing,
                "cannot make an HTTPS client",
                chain(&error),
            )
            .with_remedy("install the system's root certificates, e.g. the package ca-certificates")
        })?;
        Ok(Self { target, instance, client })
    }

    /// Posts one payload within the call's limit. The call's key is the request's id.
    async fn post_payload(&self, call: &Call, payload: &Payload<'_>) -> Result<(), PluginError> {
        let what = || format!("the webhook at {} took no message", self.target.host);
        let body = serde_json::to_vec(payload).map_err(|e| PluginError::permanent(what(), e))?;
        let timestamp = payload.at.as_second();
        let mut request = self
            .client
            .post(self.target.url.clone())
            .headers(self.target.headers.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, concat!("ao/", env!("CARGO_PKG_VERSION")))
            .header("webhook-id", &call.key)
            .header("webhook-timestamp", timestamp);
        if let Some(key) = &self.target.key {
            request = request.header("webhook-signature", sign(key, &call.key, timestamp, &body));
        }
        let exchange = async {
            let response = request.body(body).send().await.map_err(|e| self.not_sent(&e))?;
            if response.status().is_success() { Ok(()) } else { Err(self.refusal(response).await) }
        };
        match tokio::time::timeout(call.limit(), exchange).await {
            Ok(answer) => answer,
            Err(_) => {
                let cause = format!("no answer in {} ms", call.limit_ms);
                Err(PluginError::in_doubt(format!("the webhook at {}", self.target.host), cause))
            }
        }
    }

    fn not_sent(&self, error: &reqwest::Error) -> PluginError {
        let what = format!("cannot reach the webhook at {}", self.target.host);
        if let Some(blocked) = guard::blocked(error) {
            return PluginError::permanent(what, blocked).with_remedy(guard::REMEDY);
        }
        let cause = chain(error);
        if error.is_connect() {
            PluginError::transient(what, cause)
        } else if error.is_builder() {
            PluginError::permanent(what, cause)
                .with_remedy("correct the `url` and the `headers` of the webhook")
        } else {
            PluginError::in_doubt(
                format!("the webhook at {} gave no answer", self.target.host),
                cause,
            )
        }
    }

    async fn refusal(&self, response: Response) -> PluginError {
        let status = response.status();
        let wait = retry_after(response.headers(), Timestamp::now());
        let host = &self.target.host;
        let target = response.headers().get("location").and_then(|l| l.to_str().ok());
        let remedy = remedy(status, target.map(one_line).as_deref());
        let cause = format!("{status} {}", beginning(response).await);
        let what = format!("the webhook at {host} refused the message");
        match remedy {
            Some(remedy) => PluginError::permanent(what, cause.trim()).with_remedy(remedy),
            None => {
                let error = PluginError::transient(what, cause.trim());
                wait.map_or(error.clone(), |wait| error.with_retry_after(wait))
            }
        }
    }

    fn payload<'a>(&'a self, kind: &'a str) -> Payload<'a> {
        Payload::new(kind, &self.instance, Timestamp::now())
    }

    async fn tell(
        &self,
        call: &Call,
        kind: &str,
        message: &Message,
    ) -> Result<Receipt, PluginError> {
        self.post_payload(call, &self.payload(kind).about(message)).await?;
        let handle = Some(ChannelHandle(message.id.to_string()));
        Ok(Receipt { handle, reached: Reached::Accepted })
    }
}

#[async_trait]
impl Notifier for Webhook {
    /// It edits, since a receiver is told which message has changed, and is idempotent by `webhook-id`. There
    /// are no limits: the receiver gets the whole text.
    fn capabilities(&self) -> NotifierCapabilities {
        NotifierCapabilities {
            kind: ChannelKind::Webhook,
            buttons: false,
            replies: false,
            edits: true,
            idempotent: true,
            finds: false,
            volatile: false,
            title_limit: u32::MAX,
            body_limit: u32::MAX,
        }
    }

    async fn send(&self, call: &Call, message: &Message) -> Result<Receipt, PluginError> {
        self.tell(call, "notification.sent", message).await
    }

    async fn update(
        &self,
        call: &Call,
        _: &ChannelHandle,
        message: &Message,
    ) -> Result<Receipt, PluginError> {
        self.tell(call, "notification.updated", message).await
    }

    async fn resolve(
        &self,
        call: &Call,
        _: &ChannelHandle,
        message: &Message,
    ) -> Result<(), PluginError> {
        self.tell(call, "notification.resolved", message).await.map(drop)
    }

    async fn post(&self, call: &Call, text: &str) -> Result<Receipt, PluginError> {
        self.post_payload(call, &self.payload("notification.posted").saying(text)).await?;
        Ok(Receipt { handle: None, reached: Reached::Accepted })
    }

    async fn find(&self, _: &Call, _: &str) -> Result<Answer<ChannelHandle>, PluginError> {
        Ok(Answer::Unknown("a webhook cannot be asked; sending again is harmless".to_owned()))
    }

    async fn receive(&self) -> Result<IncomingAction, PluginError> {
        std::future::pending().await
    }
}

/// The `webhook-signature` of a request.
fn sign(key: &Key, id: &str, timestamp: i64, body: &[u8]) -> String {
    // HMAC takes keys of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&key.0) else { return String::new() };
    mac.update(format!("{id}.{timestamp}.").as_bytes());
    mac.update(body);
    format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()))
}

/// What to do about a refusal that no repetition changes; none where one may.
fn remedy(status: StatusCode, location: Option<&str>) -> Option<String> {
    Some(match status.as_u16() {
        408 | 425 | 429 | 500.. => return None,
        300..=399 => match location {
            Some(location) => {
                format!(
                    "set `url` to where it leads, redirects are not followed: {}",
                    cut(location, 200)
                )
            }
            None => "set `url` to the final address, redirects are not followed".to_owned(),
        },
        401 | 403 => "check the `secret` and the `headers` of the webhook".to_owned(),
        404 | 405 | 410 => "check the `url` of the webhook".to_owned(),
        _ => "look at the receiver's log".to_owned(),
    })
}

/// How long the receiver wants to be left alone: seconds or a date, RFC 9110 §10.2.3.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let at = jiff::fmt::rfc2822::parse(value).ok()?.timestamp();
    Some(Duration::try_from(at.duration_since(now)).unwrap_or_default())
}

/// The first line's worth of a refusal, harmless.
async fn beginning(mut response: Response) -> String {
    let mut bytes = Vec::new();
    while bytes.len() < ANSWER_LIMIT {
        match tokio::time::timeout(Duration::from_secs(1), response.chunk()).await {
            Ok(Ok(Some(chunk))) => bytes.extend_from_slice(&chunk),
            _ => break,
        }
    }
    bytes.truncate(ANSWER_LIMIT);
    cut(&one_line(&String::from_utf8_lossy(&bytes)), 200)
}

/// An error and its causes, without the address, which may hold a secret.
fn chain(error: &reqwest::Error) -> String {
    let mut causes = Vec::new();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        causes.push(cause.to_string());
        next = cause.source();
    }
    causes.dedup();
    if causes.is_empty() { "the request failed".to_owned() } else { causes.join(": ") }
}
