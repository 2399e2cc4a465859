//! The Web API: one request a call, within a time, and what its failure means.
//!
//! Answers are read into the few fields that are needed, so that a field or a block of somebody else's message that is
//! not known here fails nothing. Each request has a connection of its own: one that is kept may be dead, and the
//! messages of minutes would be in doubt.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use ao_sdk::{Secret, http};
use ao_slots::{
    ErrorKind, PluginError,
    text::{cut, one_line, redact},
};
use jiff::Timestamp;
use reqwest::{Client, RequestBuilder, StatusCode, header::CONTENT_TYPE};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use url::Url;

use crate::card::Ask;

/// Largest answer that is read, in bytes: a page of history with all its blocks stays far below.
const ANSWER: usize = 16 << 20;

/// Whether a call may be repeated when it is not known what came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    /// Once more makes a second message.
    Adds,
    /// Once more changes nothing.
    Repeatable,
}

/// The Web API with one bot's token.
pub(crate) struct Api {
    client: Client,
    bot: Secret,
    app: Option<Secret>,
    /// Where the Web API is.
    url: Url,
    /// The channel as it was set, for remedies.
    channel: String,
    /// Methods that asked to be left alone, until then.
    resting: Mutex<HashMap<&'static str, Instant>>,
}

/// A page of a channel's messages.
#[derive(Debug, Deserialize)]
pub(crate) struct History {
    #[serde(default)]
    pub(crate) messages: Vec<Found>,
    #[serde(default)]
    pub(crate) has_more: bool,
    #[serde(default)]
    pub(crate) response_metadata: Option<Page>,
}

/// Where the next page begins.
#[derive(Debug, Deserialize)]
pub(crate) struct Page {
    #[serde(default)]
    pub(crate) next_cursor: String,
}

/// A message in a channel.
#[derive(Debug, Deserialize)]
pub(crate) struct Found {
    #[serde(default)]
    pub(crate) ts: String,
    /// Of our type alone; anybody may attach what he likes.
    #[serde(default, deserialize_with = "ours")]
    pub(crate) metadata: Option<Metadata>,
    #[serde(default)]
    pub(crate) user: String,
}

fn ours<'de, D: serde::Deserializer<'de>>(source: D) -> Result<Option<Metadata>, D::Error> {
    let value = Value::deserialize(source)?;
    Ok(serde_json::from_value(value).ok().filter(|found: &Metadata| found.event_type == EVENT_TYPE))
}

/// Who the bot token is.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Me {
    pub(crate) team: String,
    pub(crate) team_id: String,
    pub(crate) user: String,
    pub(crate) user_id: String,
}

impl Api {
    pub(crate) fn new(
        api: &Url,
        bot: &Secret,
        app: Option<&Secret>,
        channel: &str,
    ) -> Result<Self, PluginError> {
        Ok(Self {
            client: http::client(true)?,
            url: api.clone(),
            bot: bot.clone(),
            app: app.cloned(),
            channel: channel.to_owned(),
            resting: Mutex::default(),
        })
    }

    /// Calls `method` with a JSON body and the bot's token.
    pub(crate) async fn post<R: DeserializeOwned>(
        &self,
        method: &'static str,
        body: &Value,
        limit: Duration,
        act: Act,
    ) -> Result<R, PluginError> {
        let request = json(self.client.post(self.at(method)), body);
        self.ask(method, request.bearer_auth(self.bot.reveal()), limit, act).await
    }

    /// Calls `method`, which reads, with these parameters and the bot's token.
    pub(crate) async fn get<R: DeserializeOwned>(
        &self,
        method: &'static str,
        parameters: &[(&str, &str)],
        limit: Duration,
    ) -> Result<R, PluginError> {
        let request = self.client.get(self.at(method)).query(parameters);
        self.ask(method, request.bearer_auth(self.bot.reveal()), limit, Act::Repeatable).await
    }

    /// Opens a connection of Socket Mode: an address that holds for one connection.
    pub(crate) async fn open_socket(&self, limit: Duration) -> Result<Secret, PluginError> {
        #[derive(Deserialize)]
        struct Opened {
            url: String,
        }
        let Some(app) = &self.app else {
            return Err(PluginError::unsupported("this channel has no app-level token"));
        };
        let method = "apps.connections.open";
        let request = json(self.client.post(self.at(method)), &json!({}));
        let request = request.bearer_auth(app.reveal());
        let opened: Opened = self.ask(method, request, limit, Act::Repeatable).await?;
        Ok(Secret::new(opened.url))
    }

    fn at(&self, method: &str) -> String {
        format!("{}/{method}", self.url.as_str().trim_end_matches('/'))
    }

    /// Asks once, unless the method wants to be left alone: a call before is refused in any case.
    async fn ask<R: DeserializeOwned>(
        &self,
        method: &'static str,
        request: RequestBuilder,
        limit: Duration,
        act: Act,
    ) -> Result<R, PluginError> {
        let until = self.resting().get(method).copied();
        let left = until.and_then(|until| until.checked_duration_since(Instant::now()));
        if let Some(left) = left.filter(|left| !left.is_zero()) {
            return Err(busy(method).with_retry_after(left));
        }
        let asked = async {
            let answer = exchange(method, request, limit, act).await?;
            answer.read(method, act, &self.channel)
        };
        let asked = asked.await;
        let wait = asked.as_ref().err().and_then(|error| error.retry_after_ms);
        let until = wait.and_then(|wait| Instant::now().checked_add(Duration::from_millis(wait)));
        if let Some(until) = until {
            self.resting().insert(method, until);
        }
        asked
    }

    fn resting(&self) -> MutexGuard<'_, HashMap<&'static str, Instant>> {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whose token it is.
    pub(crate) async fn me(&self, limit: Duration) -> Result<Me, PluginError> {
        self.post("auth.test", &json!({}), limit, Act::Repeatable).await
    }

    /// Calls `method` on `ao`'s own account, beside what the server asked for: what comes of it changes nothing.
    pub(crate) async fn aside(&self, method: &'static str, body: &Value, limit: Duration) {
        if let Err(error) = self.post::<Value>(method, body, limit, Act::Adds).await {
            tracing::debug!(method, %error, "Slack did not take an addition");
        }
    }

    /// Messages of a channel, newest first, with what `ao` attached to them
    /// (<https://docs.slack.dev/reference/methods/conversations.history>).
    pub(crate) async fn history(
        &self,
        channel: &str,
        oldest: &str,
        latest: Option<&str>,
        most: u16,
        cursor: Option<&str>,
        limit: Duration,
    ) -> Result<History, PluginError> {
        let most = most.to_string();
        let mut parameters = vec![
            ("channel", channel),
            ("oldest", oldest),
            ("inclusive", "true"),
            ("include_all_metadata", "true"),
            ("limit", most.as_str()),
        ];
        parameters.extend(latest.map(|latest| ("latest", latest)));
        parameters.extend(cursor.map(|cursor| ("cursor", cursor)));
        self.get("conversations.history", &parameters, limit).await
    }

    /// Takes away a message that one person alone sees, by the address that came with the press. Best effort.
    pub(crate) async fn take_away(&self, url: &str, limit: Duration) {
        let Ok(url) = Url::parse(url) else { return };
        let slacks = url.scheme() == "https" && url.host_str() == Some("hooks.slack.com");
        if !slacks && url.origin() != self.url.origin() {
            return;
        }
        let request = json(self.client.post(url), &json!({"delete_original": true}));
        if let Err(error) = exchange("a response_url", request, limit, Act::Repeatable).await {
            tracing::debug!(%error, "Slack did not take a message away");
        }
    }
}

/// An incoming webhook.
pub(crate) struct Webhook {
    client: Client,
    url: Url,
}

impl Webhook {
    pub(crate) fn new(url: Url, allow_private: bool) -> Result<Self, PluginError> {
        Ok(Self { client: http::client(allow_private)?, url })
    }

    pub(crate) async fn post(&self, body: &Value, limit: Duration) -> Result<(), PluginError> {
        let (what, act) = ("the webhook", Act::Adds);
        let request = json(self.client.post(self.url.clone()), body);
        // What it took it answers with a plain `ok`.
        match exchange(what, request, limit, act).await? {
            answer if answer.status.is_success() => Ok(()),
            answer => Err(answer.failure(what, act, "its channel")),
        }
    }
}

fn json(request: RequestBuilder, body: &Value) -> RequestBuilder {
    request.header(CONTENT_TYPE, "application/json; charset=utf-8").body(body.to_string())
}

/// What came back.
struct Answer {
    status: StatusCode,
    /// How long it wants to be left alone.
    wait: Option<Duration>,
    body: Vec<u8>,
}

/// Sends a request, and takes its answer within the time.
async fn exchange(
    method: &str,
    request: RequestBuilder,
    limit: Duration,
    act: Act,
) -> Result<Answer, PluginError> {
    let unanswered = |error: reqwest::Error| {
        if let Some(blocked) = http::blocked(&error) {
            return PluginError::permanent("Slack cannot be reached", blocked)
                .with_remedy(http::REMEDY);
        }
        let cause = shown(&http::chain(&error));
        match error.is_connect() {
            true => PluginError::transient("Slack cannot be reached", cause),
            false => unknown(act, format!("Slack gave no answer to {method}"), cause),
        }
    };
    let answered = async {
        let mut response = request.send().await.map_err(unanswered)?;
        let wait = http::retry_after(response.headers(), Timestamp::now());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unanswered)? {
            body.extend_from_slice(&chunk);
            if body.len() > ANSWER {
                let what = format!("Slack's answer to {method} cannot be read");
                return Err(unknown(act, what, "it is too long"));
            }
        }
        Ok(Answer { status: response.status(), wait, body })
    };
    let answered = tokio::time::timeout(limit, answered).await;
    answered.unwrap_or_else(|_| Err(silent(method, limit)))
}

/// It is not known what came of a call.
fn unknown(act: Act, what: String, cause: impl fmt::Display) -> PluginError {
    match act {
        Act::Adds => PluginError::in_doubt(what, cause),
        Act::Repeatable => PluginError::transient(what, cause),
    }
}

impl Answer {
    /// What a method answered.
    fn read<R: DeserializeOwned>(
        &self,
        method: &str,
        act: Act,
        channel: &str,
    ) -> Result<R, PluginError> {
        #[derive(Deserialize)]
        struct Verdict {
            ok: bool,
            #[serde(default)]
            error: String,
        }
        if !self.status.is_success() {
            return Err(self.failure(method, act, channel));
        }
        let garbled = |error: serde_json::Error| {
            let what = format!("Slack's answer to {method} cannot be read");
            unknown(act, what, one_line(&error.to_string()))
        };
        let verdict: Verdict = serde_json::from_slice(&self.body).map_err(garbled)?;
        match verdict.ok {
            true => serde_json::from_slice(&self.body).map_err(garbled),
            false => Err(self.waiting(refusal(method, &verdict.error, &self.body, act, channel))),
        }
    }

    /// What a status other than success means. Of the answer it tells only what is no secret.
    fn failure(&self, method: &str, act: Act, channel: &str) -> PluginError {
        let beginning = shown(&String::from_utf8_lossy(&self.body));
        let what = format!("Slack did not take {method}");
        let cause = format!("{} {beginning}", self.status).trim().to_owned();
        self.waiting(match self.status.as_u16() {
            429 => busy(method),
            // An incoming webhook answers with a status and the code as text.
            _ if !beginning.is_empty()
                && beginning.chars().all(|c| c.is_ascii_lowercase() || c == '_') =>
            {
                refusal(method, &beginning, &[], act, channel)
            }
            408 | 503 => PluginError::transient(what, cause),
            500.. => unknown(act, what, cause),
            _ => PluginError::permanent(what, cause)
                .with_remedy("check `apiUrl` and `webhook`, then: ao notify test"),
        })
    }

    fn waiting(&self, error: PluginError) -> PluginError {
        match self.wait.filter(|_| error.is_transient()) {
            Some(wait) => error.with_retry_after(wait),
            None => error,
        }
    }
}

fn silent(method: &str, limit: Duration) -> PluginError {
    PluginError::in_doubt(
        format!("Slack gave no answer to {method}"),
        format!("nothing in {} ms", limit.as_millis()),
    )
}

fn busy(method: &str) -> PluginError {
    PluginError::transient(format!("Slack takes no {method} now"), "ratelimited")
}

/// What one of Slack's codes means, and what to do. The codes are those of the methods' own pages
/// (<https://docs.slack.dev/reference/methods/chat.postMessage>).
fn refusal(method: &str, code: &str, body: &[u8], act: Act, channel: &str) -> PluginError {
    #[derive(Deserialize, Default)]
    struct Answer {
        #[serde(default)]
        needed: String,
        #[serde(default)]
        response_metadata: Details,
    }
    #[derive(Deserialize, Default)]
    struct Details {
        #[serde(default)]
        messages: Vec<String>,
    }
    let answer: Answer = serde_json::from_slice(body).unwrap_or_default();
    let details = answer.response_metadata.messages.join("; ");
    let cause = match details.is_empty() {
        true => code.to_owned(),
        false => format!("{code}: {}", shown(&details)),
    };
    let what = || match method {
        "chat.postMessage" | "chat.update" | "the webhook" => {
            "Slack refused the message".to_owned()
        }
        _ => format!("Slack refused {method}"),
    };
    let permanent = |remedy: String| PluginError::permanent(what(), &cause).with_remedy(remedy);
    match code {
        "ratelimited" | "rate_limited" | "message_limit_exceeded" => busy(method),
        "service_unavailable" | "request_timeout" | "accesslimited" | "team_added_to_org" => {
            PluginError::transient(what(), cause)
        }
        // "Some aspect of the operation may have succeeded."
        "internal_error" | "fatal_error" | "rollup_error" => match act {
            Act::Adds => PluginError::in_doubt(what(), cause),
            Act::Repeatable => PluginError::transient(what(), cause),
        },
        "message_not_found" | "thread_not_found" => {
            PluginError::new(ErrorKind::NotFound, "the message is gone from Slack", cause)
        }
        "channel_not_found" | "not_in_channel" => {
            permanent(format!("/invite @ao in {channel}, then: ao notify test"))
        }
        "is_archived" | "channel_is_archived" => {
            permanent(format!("unarchive {channel} or set another `channel`, then: ao notify test"))
        }
        "missing_scope" | "not_allowed_token_type" => {
            let scope = if answer.needed.is_empty() { "that is missing" } else { &answer.needed };
            permanent(format!(
                "add the scope {} to the app, install it again, then: ao notify setup slack",
                shown(scope)
            ))
        }
        "invalid_auth"
        | "not_authed"
        | "token_revoked"
        | "token_expired"
        | "account_inactive"
        | "no_permission"
        | "two_factor_setup_required"
        | "invalid_token"
        | "no_active_hooks"
        | "no_service"
        | "no_team"
        | "team_disabled" => permanent("ao notify setup slack".to_owned()),
        _ if code.starts_with("restricted_action")
            || matches!(
                code,
                "access_denied"
                    | "action_prohibited"
                    | "ekm_access_denied"
                    | "org_login_required"
                    | "posting_to_general_channel_denied"
                    | "team_access_not_granted"
            ) =>
        {
            permanent(format!("ask an administrator of the workspace to let ao post in {channel}"))
        }
        _ => permanent("ao doctor --report".to_owned()),
    }
}

/// A text of Slack's as it may stand in an error.
fn shown(text: &str) -> String {
    cut(&one_line(&redact(text)), 200)
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api").field("channel", &self.channel).finish_non_exhaustive()
    }
}

/// What comes with a message for `ao`: its key, and what its buttons ask for. Any app of the workspace can read it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Metadata {
    event_type: String,
    pub(crate) event_payload: Payload,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Payload {
    pub(crate) id: String,
    /// JSON in a string: Slack promises nothing of objects within.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) asks: Option<String>,
}

/// The type of [`Metadata`].
const EVENT_TYPE: &str = "ao_notification";

impl Metadata {
    pub(crate) fn new(key: &str, asks: &BTreeMap<String, Ask>) -> Self {
        let asks = (!asks.is_empty()).then(|| serde_json::to_string(asks).unwrap_or_default());
        let event_payload = Payload { id: key.to_owned(), asks };
        Self { event_type: EVENT_TYPE.to_owned(), event_payload }
    }

    /// Its bytes as JSON.
    pub(crate) fn weight(&self) -> usize {
        serde_json::to_string(self).map_or(0, |json| json.len())
    }
}
