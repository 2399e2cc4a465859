//! Messages in a channel of Discord by a webhook: edited in place, with links where there is an address for them. A
//! webhook has no buttons and hears no replies.
//!
//! By Discord's published API (`discord/discord-api-spec`, version 10) and documentation: `execute_webhook` with
//! `wait=true`, which answers with the message's id, and `update_webhook_message`. It knows no key of ours, so a send
//! in doubt can neither be repeated nor looked for: the next one says that it may be a repetition.

mod settings;
mod text;

#[cfg(test)]
mod tests;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ao_sdk::http;
use ao_slots::{
    Call, ErrorKind, PluginError,
    call::Answer,
    notifier::{
        ChannelHandle, ChannelKind, Message, Notifier, NotifierCapabilities, Reached, Receipt,
    },
    plugin::{self, Registration},
    text::one_line,
};
use async_trait::async_trait;
use jiff::Timestamp;
use reqwest::{Client, Method, Response, header::HeaderMap};
use serde::Deserialize;
use tokio::time::Instant;

pub use crate::settings::Settings;
use crate::{settings::Target, text::Post};

/// The plugin's name in the config.
pub const NAME: &str = "discord";

/// A webhook's bucket is known to hold five requests each 2 s. Discord publishes no figure, it answers with what is
/// left: see `Discord::rest`.
const PACE_MS: u32 = 400;
/// The longest that is believed of a rest.
const LONGEST: f64 = 24.0 * 3600.0;

/// This plugin, for the list of plugins.
pub fn registration() -> Registration<dyn Notifier> {
    Registration {
        name: NAME,
        about: "messages in a Discord channel by a webhook, edited in place; no buttons",
        schema: || schemars::schema_for!(Settings),
        check: |value| plugin::settings::<Settings>(NAME, value)?.target().map(drop),
        build: |value, _| {
            let target = plugin::settings::<Settings>(NAME, value)?.target()?;
            Ok(Arc::new(Discord::new(target)?))
        },
    }
}

/// One webhook.
pub struct Discord {
    target: Target,
    client: Client,
    rest: Mutex<Option<Instant>>,
}

/// The address is the secret.
impl fmt::Debug for Discord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Discord").field("account", &self.target.account).finish_non_exhaustive()
    }
}

const WHOM: &str = "Discord";

/// A message as Discord answers with it; the rest of it is not needed.
#[derive(Debug, Deserialize)]
struct Posted {
    id: String,
}

/// A refusal: Discord's `ErrorResponse` and `RatelimitedResponse`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Refused {
    code: u32,
    message: String,
    retry_after: Option<f64>,
}

impl Discord {
    fn new(target: Target) -> Result<Self, PluginError> {
        let client = http::client(target.allow_private)?;
        Ok(Self { target, client, rest: Mutex::default() })
    }

    /// Until when nothing may be asked: the bucket is empty, or Discord said so. A request before is refused in any
    /// case, and too many of those shut out the whole machine (documentation, "Rate Limits").
    fn rest(&self) -> MutexGuard<'_, Option<Instant>> {
        self.rest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_resting(&self) -> Result<(), PluginError> {
        let left = self.rest().and_then(|until| until.checked_duration_since(Instant::now()));
        left.filter(|left| !left.is_zero()).map_or(Ok(()), |left| {
            let error =
                PluginError::transient("Discord takes no message yet", "its limit is reached");
            Err(error.with_retry_after(left))
        })
    }

    /// Asks once, within the call's limit, unless a rest is due.
    async fn ask(
        &self,
        call: &Call,
        method: Method,
        path: &str,
        post: Option<&Post>,
    ) -> Result<Vec<u8>, PluginError> {
        self.is_resting()?;
        let request = self.client.request(method, format!("{}{path}", self.target.url));
        let request = match post {
            Some(post) => request.json(post),
            None => request,
        };
        let exchange = async {
            let settings = "correct the `url` of the discord notifier";
            let sent = request.send().await;
            let mut response = sent.map_err(|error| http::unanswered(WHOM, &error, settings))?;
            let emptied = emptied(response.headers());
            if let Some(wait) = emptied {
                *self.rest() = Some(Instant::now() + wait);
            }
            if response.status().is_success() {
                return http::whole(&mut response, WHOM).await;
            }
            let answer = http::beginning(&mut response).await;
            Err(self.refusal(&response, &answer))
        };
        http::within(call, WHOM, exchange).await
    }

    /// What a refusal means, by Discord's codes ("Opcodes and Status Codes").
    fn refusal(&self, response: &Response, answer: &[u8]) -> PluginError {
        let status = response.status();
        let refused: Refused = serde_json::from_slice(answer).unwrap_or_default();
        let cause = match refused.message.as_str() {
            "" => format!("{status} {}", http::excerpt(answer)),
            message => format!("{} {}", refused.code, one_line(message)),
        };
        let (what, cause) = ("Discord refused the message", cause.trim());
        // So many edits of a message older than an hour are too many. That is about this message alone, whatever the
        // status: the channel takes others, and does not rest.
        if refused.code == 30046 {
            let what = "an old message cannot be changed that often";
            return PluginError::new(ErrorKind::Unsupported, what, cause);
        }
        if http::passes(status) {
            let exact = refused.retry_after.and_then(seconds);
            let told = http::retry_after(response.headers(), Timestamp::now());
            let error = PluginError::transient(what, cause);
            return match exact.max(told) {
                Some(wait) => {
                    *self.rest() = Some(Instant::now() + wait);
                    error.with_retry_after(wait)
                }
                None => error,
            };
        }
        if refused.code == 10008 {
            let what = "the message is no longer there";
            return PluginError::new(ErrorKind::NotFound, what, cause);
        }
        let remedy = match (status.as_u16(), refused.code) {
            (404, 10003) => {
                "the thread is gone: set another `thread_id` at the end of `url`, or none"
            }
            (401 | 404, _) => {
                "the webhook is gone: make a new one (the channel's settings, Integrations, Webhooks) and set its `url`"
            }
            (300..=399, _) => "set `url` to where it leads, redirects are not followed",
            (403, _) => {
                "let the webhook write to the channel, or wait if Discord shuts out this address"
            }
            // A channel of threads alone.
            (_, 220_001 | 220_003) => {
                "make the webhook in a text channel, or set `?thread_id=…` of a thread at the end of `url`"
            }
            _ => "ao doctor --report",
        };
        PluginError::permanent(what, cause).with_remedy(remedy)
    }

    /// A message anew, or in place of an earlier one.
    async fn write(
        &self,
        call: &Call,
        earlier: Option<&ChannelHandle>,
        post: &Post,
    ) -> Result<Receipt, PluginError> {
        let thread = self.target.thread.as_ref().map(|id| format!("&thread_id={id}"));
        let thread = thread.unwrap_or_default();
        let (method, path) = match earlier {
            None => (Method::POST, format!("?wait=true{thread}")),
            Some(message) => {
                let query = thread.replacen('&', "?", 1);
                (Method::PATCH, format!("/messages/{}{query}", message.0))
            }
        };
        let answer = self.ask(call, method, &path, Some(post)).await?;
        let posted: Posted = serde_json::from_slice(&answer).map_err(|_| {
            let cause = format!("it answered: {}", http::excerpt(&answer));
            PluginError::permanent("what answers is not Discord", cause)
                .with_remedy("check `url`: something else answers at this address")
        })?;
        Ok(Receipt { handle: Some(ChannelHandle(posted.id)), reached: Reached::Accepted })
    }
}

/// A number of seconds with a fraction, if it can be one.
fn seconds(told: f64) -> Option<Duration> {
    (0.0..=LONGEST).contains(&told).then(|| Duration::from_secs_f64(told))
}

/// How long the webhook's bucket stays empty, if this answer was the last it had.
fn emptied(headers: &HeaderMap) -> Option<Duration> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<f64>().ok();
    let remaining = number("x-ratelimit-remaining")?;
    (remaining < 1.0).then(|| number("x-ratelimit-reset-after").and_then(seconds)).flatten()
}

#[async_trait]
impl Notifier for Discord {
    fn capabilities(&self) -> NotifierCapabilities {
        NotifierCapabilities {
            edits: true,
            pace_ms: PACE_MS,
            account: self.target.account.clone(),
            title_limit: text::TITLE as u32,
            body_limit: text::BODY as u32,
            ..NotifierCapabilities::plain(ChannelKind::Chat)
        }
    }

    async fn send(&self, call: &Call, message: &Message) -> Result<Receipt, PluginError> {
        self.write(call, None, &text::post(message, false)).await
    }

    async fn update(
        &self,
        call: &Call,
        handle: &ChannelHandle,
        message: &Message,
    ) -> Result<Receipt, PluginError> {
        self.write(call, Some(handle), &text::post(message, true)).await
    }

    async fn post(&self, call: &Call, text: &str) -> Result<Receipt, PluginError> {
        self.write(call, None, &text::line(text)).await
    }

    /// Asks whether the webhook is there; no right is needed for that but its address.
    async fn check(&self, call: &Call) -> Result<(), PluginError> {
        self.ask(call, Method::GET, "", None).await.map(drop)
    }

    async fn find(&self, _: &Call, _: &str) -> Result<Answer<ChannelHandle>, PluginError> {
        Ok(Answer::Unknown("a webhook cannot be asked what it has sent".to_owned()))
    }
}
