//! The server: what is asked of it, and what its answers mean.

use std::{
    fmt,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    time::Duration,
};

use ao_sdk::http;
use ao_slots::{Call, PluginError, text::one_line};
use jiff::Timestamp;
use reqwest::{
    Client, Method, RequestBuilder, Response,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

use crate::{
    settings::Target,
    text::{Publish, QUIET},
};

/// How long a visitor rests who asks too often: until one request is allowed anew (`visitor-request-limit-replenish`).
const REQUEST_REST: Duration = Duration::from_secs(5);
/// How long a visitor rests who has used up the messages of a day; the server says no more than that they are
/// counted anew at midnight UTC.
const QUOTA_REST: Duration = Duration::from_secs(3600);
/// How long one rests who has failed to sign in too often.
const AUTH_REST: Duration = Duration::from_secs(600);

/// A server and what is known of it.
pub(crate) struct Server {
    pub(crate) target: Target,
    client: Client,
    updates: AtomicU8,
    /// The server and its topics were looked at, and are as they should be.
    looked: AtomicBool,
    /// Until when it wants nothing to be published.
    rest: Mutex<Option<Instant>>,
}

/// What was found out about sequence ids.
const UNKNOWN: u8 = 0;
const OLD: u8 = 1;
const NEW: u8 = 2;

/// Neither topic nor token is shown.
impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("host", &self.target.host).finish_non_exhaustive()
    }
}

/// What a publication is answered with, and a line of a subscription. Fields that are not needed are ignored.
#[derive(Debug, Deserialize)]
pub(crate) struct Event {
    pub(crate) id: String,
    /// When the server took it, in seconds since 1970.
    #[serde(default)]
    pub(crate) time: u64,
    /// None on older servers, and where it is the same as `id`.
    #[serde(default)]
    pub(crate) sequence_id: Option<String>,
    pub(crate) event: String,
    #[serde(default)]
    pub(crate) message: String,
}

/// A refusal in ntfy's own words.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Refused {
    code: u32,
    error: String,
}

impl Server {
    pub(crate) fn new(target: Target) -> Result<Self, PluginError> {
        let client = http::client(target.allow_private)?;
        Ok(Self {
            target,
            client,
            updates: AtomicU8::new(UNKNOWN),
            looked: AtomicBool::new(false),
            rest: Mutex::default(),
        })
    }

    /// How long it wants nothing to be published.
    pub(crate) fn resting(&self) -> Duration {
        let until = *self.rest.lock().unwrap_or_else(PoisonError::into_inner);
        until.map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()))
    }

    /// Its name in an error.
    pub(crate) fn whom(&self) -> String {
        format!("the ntfy server {}", self.target.host)
    }

    /// Whether it can change what it has sent: as set, until something else was found out.
    pub(crate) fn updates(&self) -> bool {
        self.target.edits && self.updates.load(Ordering::Relaxed) != OLD
    }

    /// Whether it is known to do so: where one is not sure, a repeated send may be a second message.
    pub(crate) fn surely_updates(&self) -> bool {
        self.target.edits && self.updates.load(Ordering::Relaxed) == NEW
    }

    fn learn(&self, updates: bool) {
        self.updates.store(if updates { NEW } else { OLD }, Ordering::Relaxed);
    }

    /// A request with the rights of `ao`.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.target.server));
        match &self.target.authorization {
            Some(authorization) => request.header(AUTHORIZATION, authorization.clone()),
            None => request,
        }
    }

    /// Publishes a message; the handle by which it can be changed, if it can.
    pub(crate) async fn publish(
        &self,
        call: &Call,
        sequence: &str,
        publication: Publish<'_>,
    ) -> Result<Option<String>, PluginError> {
        let sequence_id = self.target.edits.then_some(sequence);
        let publication = Publish { sequence_id, ..publication };
        let request = self.request(Method::POST, "").json(&publication);
        let answer = http::within(call, &self.whom(), self.ask(request)).await?;
        let event: Event = serde_json::from_slice(&answer).map_err(|_| {
            PluginError::permanent(
                format!("{} is none", self.whom()),
                format!("it answered: {}", http::excerpt(&answer)),
            )
            .with_remedy("check `server`: something else answers at this address")
        })?;
        if self.target.edits {
            // An older server ignores the field, and answers without it.
            self.learn(event.sequence_id.as_deref() == Some(sequence));
        }
        Ok(self.updates().then(|| sequence.to_owned()))
    }

    /// Takes a message from the phone's drawer.
    pub(crate) async fn clear(&self, call: &Call, sequence: &str) -> Result<(), PluginError> {
        let path = format!("{}/{sequence}/clear", self.target.topic);
        let request = self.request(Method::PUT, &path);
        http::within(call, &self.whom(), self.ask(request)).await.map(drop)
    }

    /// Whether there is a server that is well, and, as long as that is not sure, whether the topics may be written to;
    /// whether it can change messages is known after that. Publishes nothing.
    pub(crate) async fn look(&self, call: &Call) -> Result<(), PluginError> {
        let look = async {
            let health = self.ask(self.request(Method::GET, "v1/health")).await?;
            if !String::from_utf8_lossy(&health).contains("\"healthy\":true") {
                let cause = http::excerpt(&health);
                return Err(PluginError::transient(format!("{} is not well", self.whom()), cause));
            }
            if !self.looked.load(Ordering::Relaxed) {
                self.look_at_topic().await?;
                self.look_at_reply().await?;
                self.looked.store(true, Ordering::Relaxed);
            }
            Ok(())
        };
        http::within(call, &self.whom(), look).await
    }

    async fn look_at_topic(&self) -> Result<(), PluginError> {
        let refused = self.probe(&self.target.topic, true).await?;
        // The codes of a bad sequence id and of a bad attachment: `server/errors.go`.
        match refused.code {
            40013 => self.learn(false),
            40049 => self.learn(true),
            _ if refused.error.contains("sequence") => self.learn(true),
            _ => {}
        }
        Ok(())
    }

    /// A button is a request of the phone, which knows no token but the one that travels with the message.
    async fn look_at_reply(&self) -> Result<(), PluginError> {
        let protected = self.target.authorization.is_some();
        let Some(reply) = self.target.reply.as_ref().filter(|_| protected) else { return Ok(()) };
        if self.target.reply_authorization.is_some() {
            return Ok(());
        }
        match self.probe(reply, false).await {
            Err(error) if !error.is_transient() => {
                let what = format!("no button works: the phone may not write at {}", self.whom());
                Err(PluginError::permanent(what, error.cause).with_remedy(
                    "let everybody write to the reply topic and nobody read it (`ntfy access everyone TOPIC write-only`), or set `replyToken`",
                ))
            }
            _ => Ok(()),
        }
    }

    /// Asks for a publication that no server makes: its attachment has no address. A server that knows sequence ids
    /// looks at them first and refuses this one; both look first at who may write.
    async fn probe(&self, topic: &str, with_rights: bool) -> Result<Refused, PluginError> {
        let body = json!({"topic": topic, "sequence_id": "!", "attach": "none"});
        let request = if with_rights {
            self.request(Method::POST, "")
        } else {
            self.client.post(self.target.server.clone())
        };
        let mut response = self.response(request.json(&body)).await?;
        let status = response.status();
        let answer = http::beginning(&mut response).await;
        if status.as_u16() != 400 {
            return Err(self.refusal(&response, &answer));
        }
        Ok(serde_json::from_slice(&answer).unwrap_or_default())
    }

    /// The answer to a request, if it is one that the server fulfils.
    pub(crate) async fn ask(&self, request: RequestBuilder) -> Result<Vec<u8>, PluginError> {
        let mut response = self.accepted(request).await?;
        http::whole(&mut response, &self.whom()).await
    }

    /// The unread answer to a request that the server fulfils.
    pub(crate) async fn accepted(&self, request: RequestBuilder) -> Result<Response, PluginError> {
        let mut response = self.response(request).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        let answer = http::beginning(&mut response).await;
        Err(self.refusal(&response, &answer))
    }

    async fn response(&self, request: RequestBuilder) -> Result<Response, PluginError> {
        let settings = "correct `server` and `token` of the ntfy notifier";
        request.send().await.map_err(|error| http::unanswered(&self.whom(), &error, settings))
    }

    /// What a refusal means, by ntfy's codes.
    fn refusal(&self, response: &Response, answer: &[u8]) -> PluginError {
        let status = response.status();
        let refused: Refused = serde_json::from_slice(answer).unwrap_or_default();
        let cause = match refused.error.as_str() {
            "" => format!("{status} {}", http::excerpt(answer)),
            error => format!("{} {}", refused.code, one_line(error)),
        };
        let what = format!("{} refused the request", self.whom());
        if http::passes(status) {
            let told = http::retry_after(response.headers(), Timestamp::now());
            // It tells no time by itself.
            let known = match refused.code {
                42901 => Some(REQUEST_REST),
                42908 => Some(QUOTA_REST),
                42909 => Some(AUTH_REST),
                _ => None,
            };
            let error = PluginError::transient(what, cause.trim());
            return match told.or(known) {
                Some(wait) => {
                    let until = Instant::now().checked_add(wait);
                    *self.rest.lock().unwrap_or_else(PoisonError::into_inner) = until;
                    error.with_retry_after(wait)
                }
                None => error,
            };
        }
        let remedy = match (status.as_u16(), refused.code) {
            (300..=399, _) => "set `server` to where it leads, redirects are not followed",
            (_, 40009 | 40010) => "choose another `topic`: ao notify setup ntfy",
            (401, _) => "check `token`, or `username` and `password`",
            (403, _) => {
                "let this user write to `topic` and read and write `replyTopic` (`ntfy access`), or set `token`"
            }
            (404 | 405, _) => "check `server`: it has no such page",
            (413, _) => "raise `message-size-limit` of the server to 4096 at least",
            _ => "ao doctor --report",
        };
        PluginError::permanent(what, cause.trim()).with_remedy(remedy)
    }

    /// Leaves a note on the reply topic, for the next one that reads it.
    pub(crate) async fn note(
        &self,
        call: &Call,
        reply: &str,
        text: String,
    ) -> Result<(), PluginError> {
        let request = self
            .request(Method::POST, reply)
            .header(CONTENT_TYPE, "text/plain; charset=utf-8")
            .header("X-Priority", u16::from(QUIET))
            .header("X-Firebase", "no")
            .body(text);
        http::within(call, &self.whom(), self.ask(request)).await.map(drop)
    }
}
