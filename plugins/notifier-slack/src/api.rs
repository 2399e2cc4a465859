//! The Web API: one request a call, within a time, and what its failure means.
//!
//! Requests go out by slack-morphism's client without its rate control, which would repeat them. Answers are read
//! into the few fields that are needed, so that a field or a block of somebody else's message that the client does
//! not know fails nothing.

use std::{
    collections::HashMap,
    error::Error,
    fmt,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use ao_sdk::Secret;
use ao_slots::{
    ErrorKind, PluginError,
    text::{cut, one_line, redact},
};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::{self, connect::HttpConnector};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use slack_morphism::{
    SlackApiToken, SlackClient, SlackClientApiCallContext, SlackClientHttpConnector as _,
    errors::SlackClientError,
    hyper_tokio::{SlackClientHyperConnector, SlackHyperClient},
};
use url::Url;

/// How long a connection may take, so that a network that is away is told from a service that is slow.
const CONNECT: Duration = Duration::from_secs(3);

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
    client: SlackHyperClient,
    bot: SlackApiToken,
    app: Option<SlackApiToken>,
    /// Where the Web API is.
    origin: url::Origin,
    /// The channel as it was set, for remedies.
    channel: String,
    /// Methods that asked to be left alone by what `ao` called on its own account, until then.
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
            client: client(Some(api))?,
            origin: api.origin(),
            bot: SlackApiToken::new(bot.reveal().to_owned().into()),
            app: app.map(|token| SlackApiToken::new(token.reveal().to_owned().into())),
            channel: channel.to_owned(),
            resting: Mutex::default(),
        })
    }

    /// Calls `method` with a JSON body and the bot's token.
    pub(crate) async fn post<R: DeserializeOwned + Send>(
        &self,
        method: &'static str,
        body: &Value,
        limit: Duration,
        act: Act,
    ) -> Result<R, PluginError> {
        let session = self.client.open_session(&self.bot);
        let request = session.http_session_api.http_post(method, body, None);
        self.answer(method, tokio::time::timeout(limit, request).await, limit, act)
    }

    /// Calls `method`, which reads, with these parameters and the bot's token.
    pub(crate) async fn get<R: DeserializeOwned + Send>(
        &self,
        method: &'static str,
        parameters: &[(&str, &str)],
        limit: Duration,
    ) -> Result<R, PluginError> {
        let session = self.client.open_session(&self.bot);
        let parameters: Vec<_> =
            parameters.iter().map(|(key, value)| (*key, Some(*value))).collect();
        let request = session.http_session_api.http_get(method, &parameters, None);
        self.answer(method, tokio::time::timeout(limit, request).await, limit, Act::Repeatable)
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
        let session = self.client.open_session(app);
        let body = Value::Object(serde_json::Map::new());
        let request = session.http_session_api.http_post::<_, Opened>(method, &body, None);
        let answer = tokio::time::timeout(limit, request).await;
        self.answer(method, answer, limit, Act::Repeatable).map(|opened| Secret::new(opened.url))
    }

    /// Whose token it is.
    pub(crate) async fn me(&self, limit: Duration) -> Result<Me, PluginError> {
        let body = Value::Object(serde_json::Map::new());
        self.post("auth.test", &body, limit, Act::Repeatable).await
    }

    /// Calls `method` on `ao`'s own account, beside what the server asked for: not at all while it rests, and what
    /// comes of it changes nothing.
    pub(crate) async fn aside(&self, method: &'static str, body: &Value, limit: Duration) {
        let rests = |resting: &HashMap<_, Instant>| {
            resting.get(method).is_some_and(|until| *until > Instant::now())
        };
        if rests(&self.resting.lock().unwrap_or_else(PoisonError::into_inner)) {
            return;
        }
        let Err(error) = self.post::<Value>(method, body, limit, Act::Adds).await else { return };
        if let Some(wait) = error.retry_after_ms {
            let until = Instant::now() + Duration::from_millis(wait);
            self.resting.lock().unwrap_or_else(PoisonError::into_inner).insert(method, until);
        }
        tracing::debug!(method, %error, "Slack did not take an addition");
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
        #[derive(Deserialize)]
        struct Taken {}
        let Ok(url) = Url::parse(url) else { return };
        let slacks = url.scheme() == "https" && url.host_str() == Some("hooks.slack.com");
        if !slacks && url.origin() != self.origin {
            return;
        }
        let span = tracing::Span::none();
        let context = SlackClientApiCallContext {
            rate_control_params: None,
            token: None,
            tracing_span: &span,
            is_sensitive_url: true,
        };
        let body = serde_json::json!({"delete_original": true});
        let connector = &self.client.http_api.connector;
        let request = connector.http_post_uri::<_, Taken>(url, &body, context);
        let _ = tokio::time::timeout(limit, request).await;
    }

    fn answer<R>(
        &self,
        method: &'static str,
        answer: Result<Result<R, SlackClientError>, tokio::time::error::Elapsed>,
        limit: Duration,
        act: Act,
    ) -> Result<R, PluginError> {
        match answer {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(failure(method, error, act, &self.channel)),
            Err(_) => Err(silent(method, limit)),
        }
    }
}

/// An incoming webhook.
pub(crate) struct Webhook {
    client: SlackHyperClient,
    url: Url,
}

impl Webhook {
    pub(crate) fn new(url: Url) -> Result<Self, PluginError> {
        Ok(Self { client: client(None)?, url })
    }

    pub(crate) async fn post(&self, body: &Value, limit: Duration) -> Result<(), PluginError> {
        #[derive(Deserialize)]
        struct Taken {}
        let span = tracing::Span::none();
        let context = SlackClientApiCallContext {
            rate_control_params: None,
            token: None,
            tracing_span: &span,
            // The address is the secret.
            is_sensitive_url: true,
        };
        let connector = &self.client.http_api.connector;
        let request = connector.http_post_uri::<_, Taken>(self.url.clone(), body, context);
        match tokio::time::timeout(limit, request).await {
            Ok(Ok(Taken {})) => Ok(()),
            Ok(Err(error)) => Err(failure("the webhook", error, Act::Adds, "its channel")),
            Err(_) => Err(silent("the webhook", limit)),
        }
    }
}

fn client(api: Option<&Url>) -> Result<SlackHyperClient, PluginError> {
    // A program has one provider; whoever comes first installs it.
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    let mut http = HttpConnector::new();
    http.set_connect_timeout(Some(CONNECT));
    http.enforce_http(false);
    http.set_nodelay(true);
    let builder = HttpsConnectorBuilder::new().with_native_roots().map_err(|error| {
        PluginError::new(ErrorKind::Missing, "cannot make an HTTPS client for Slack", error)
            .with_remedy("install the system's root certificates, e.g. the package ca-certificates")
    })?;
    let connector = builder.https_or_http().enable_all_versions().wrap_connector(http);
    let connector = SlackClientHyperConnector::from(connector);
    Ok(SlackClient::new(match api {
        Some(api) => connector.with_slack_api_url(api.as_str().trim_end_matches('/')),
        None => connector,
    }))
}

fn silent(method: &str, limit: Duration) -> PluginError {
    PluginError::in_doubt(
        format!("Slack gave no answer to {method}"),
        format!("nothing in {} ms", limit.as_millis()),
    )
}

/// What a failure means. Nothing of the request gets into it, and of the answer only what is no secret.
fn failure(method: &str, error: SlackClientError, act: Act, channel: &str) -> PluginError {
    let unknown = |what: String, cause: String| match act {
        Act::Adds => PluginError::in_doubt(what, cause),
        Act::Repeatable => PluginError::transient(what, cause),
    };
    match error {
        SlackClientError::RateLimitError(limited) => {
            let error = busy(method);
            limited.retry_after.map_or(error.clone(), |wait| error.with_retry_after(wait))
        }
        SlackClientError::ApiError(refused) => {
            let body = refused.http_response_body.unwrap_or_default();
            refusal(method, &refused.code, &body, act, channel)
        }
        SlackClientError::HttpError(refused) => {
            let (status, body) = (refused.status_code, refused.http_response_body);
            let beginning = shown(&body.unwrap_or_default());
            // An incoming webhook answers with a status and the code as text.
            if !beginning.is_empty()
                && beginning.chars().all(|c| c.is_ascii_lowercase() || c == '_')
            {
                return refusal(method, &beginning, "", act, channel);
            }
            let what = format!("Slack did not take {method}");
            let cause = format!("{status} {beginning}").trim().to_owned();
            match status.as_u16() {
                408 | 503 => PluginError::transient(what, cause),
                500.. => unknown(what, cause),
                _ => PluginError::permanent(what, cause)
                    .with_remedy("check `apiUrl` and `webhook`, then: ao notify test"),
            }
        }
        SlackClientError::HttpProtocolError(broken) => match broken.cause {
            Some(cause) if never_left(&*cause) => {
                PluginError::transient("Slack cannot be reached", chain(&*cause))
            }
            Some(cause) => unknown(format!("Slack gave no answer to {method}"), chain(&*cause)),
            None => unknown(format!("Slack gave no answer to {method}"), String::new()),
        },
        SlackClientError::ProtocolError(garbled) => unknown(
            format!("Slack's answer to {method} cannot be read"),
            one_line(&garbled.json_error.to_string()),
        ),
        SlackClientError::EndOfStream(_)
        | SlackClientError::SystemError(_)
        | SlackClientError::SocketModeProtocolError(_) => {
            unknown(format!("Slack gave no answer to {method}"), "the connection ended".to_owned())
        }
    }
}

fn busy(method: &str) -> PluginError {
    PluginError::transient(format!("Slack takes no {method} now"), "ratelimited")
}

/// What one of Slack's codes means, and what to do. The codes are those of the methods' own pages
/// (<https://docs.slack.dev/reference/methods/chat.postMessage>).
fn refusal(method: &str, code: &str, body: &str, act: Act, channel: &str) -> PluginError {
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
    let answer: Answer = serde_json::from_str(body).unwrap_or_default();
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

/// Whether the request surely was not sent.
fn never_left(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<legacy::Error>().is_some_and(legacy::Error::is_connect)
}

/// An error's causes. None of them holds an address.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut causes = vec![error.to_string()];
    let mut next = error.source();
    while let Some(cause) = next {
        causes.push(cause.to_string());
        next = cause.source();
    }
    causes.dedup();
    shown(&causes.join(": "))
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
    pub(crate) fn new(key: &str, asks: Option<String>) -> Self {
        let event_payload = Payload { id: key.to_owned(), asks };
        Self { event_type: EVENT_TYPE.to_owned(), event_payload }
    }
}
