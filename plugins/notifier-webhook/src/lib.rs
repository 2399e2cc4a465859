//! Posts each notification as signed JSON to one HTTP address.
//!
//! A request follows Standard Webhooks: `webhook-id` is the same for every repetition of one act, so a
//! receiver that remembers ids shows nothing twice; `webhook-timestamp` is in seconds since 1970;
//! `webhook-signature` is `v1,` and the base64 of HMAC-SHA256 over `<id>.<timestamp>.<body>`. The body is a
//! [`Payload`]. Any 2xx answer means that it was taken.
//!
//! Whatever an address comes from, it leads to public machines only, unless `allowPrivate` is set: see
//! [`ao_sdk::http`]. Proxies are not used and redirects are not followed, since both would lead past that.

mod payload;
mod settings;

#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc};

use ao_sdk::http;
use ao_slots::{
    Call, PluginError,
    call::Answer,
    notifier::{
        ChannelHandle, ChannelKind, Message, Notifier, NotifierCapabilities, Reached, Receipt,
    },
    plugin::{self, Registration},
    text::{cut, one_line},
};
use async_trait::async_trait;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use reqwest::{Client, Response, StatusCode, header::CONTENT_TYPE};
use sha2::Sha256;

use crate::settings::{Key, Target};
pub use crate::{
    payload::{Content, Label, Payload, VERSION},
    settings::Settings,
};

/// The plugin's name in the config.
pub const NAME: &str = "webhook";

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
        let client = http::client(target.allow_private)?;
        Ok(Self { target, instance, client })
    }

    /// Posts one payload within the call's limit. The call's key is the request's id.
    async fn post_payload(&self, call: &Call, payload: &Payload<'_>) -> Result<(), PluginError> {
        let whom = format!("the webhook at {}", self.target.host);
        let took_none = |e| PluginError::permanent(format!("{whom} took no message"), e);
        let body = serde_json::to_vec(payload).map_err(took_none)?;
        let timestamp = payload.at.as_second();
        let mut request = self
            .client
            .post(self.target.url.clone())
            .headers(self.target.headers.clone())
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", &call.key)
            .header("webhook-timestamp", timestamp);
        if let Some(key) = &self.target.key {
            request = request.header("webhook-signature", sign(key, &call.key, timestamp, &body));
        }
        let exchange = async {
            let settings = "correct the `url` and the `headers` of the webhook";
            let sent = request.body(body).send().await;
            let response = sent.map_err(|error| http::unanswered(&whom, &error, settings))?;
            if response.status().is_success() {
                Ok(())
            } else {
                Err(refusal(&whom, response).await)
            }
        };
        http::within(call, &whom, exchange).await
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
            edits: true,
            idempotent: true,
            ..NotifierCapabilities::plain(ChannelKind::Webhook)
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
}

/// The `webhook-signature` of a request.
fn sign(key: &Key, id: &str, timestamp: i64, body: &[u8]) -> String {
    // HMAC takes keys of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&key.0) else { return String::new() };
    mac.update(format!("{id}.{timestamp}.").as_bytes());
    mac.update(body);
    format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()))
}

async fn refusal(whom: &str, mut response: Response) -> PluginError {
    let status = response.status();
    let wait = http::retry_after(response.headers(), Timestamp::now());
    let target = response.headers().get("location").and_then(|l| l.to_str().ok());
    let remedy = remedy(status, target.map(one_line).as_deref());
    let cause = format!("{status} {}", http::excerpt(&http::beginning(&mut response).await));
    let what = format!("{whom} refused the message");
    match remedy {
        Some(remedy) => PluginError::permanent(what, cause.trim()).with_remedy(remedy),
        None => {
            let error = PluginError::transient(what, cause.trim());
            wait.map_or(error.clone(), |wait| error.with_retry_after(wait))
        }
    }
}

/// What to do about a refusal that no repetition changes; none where one may.
fn remedy(status: StatusCode, location: Option<&str>) -> Option<String> {
    if http::passes(status) {
        return None;
    }
    Some(match status.as_u16() {
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
