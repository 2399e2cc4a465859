//! An ntfy server with a phone that listens to it.
//!
//! After the server of ntfy at 2.26 and, where [`Options::updates`] is off, at 2.13: its routes, the order of its checks, its
//! error codes (`server/server.go`, `server/errors.go`, `model/model.go`, `server/actions.go` there) and what its
//! documentation says of its apps. Stricter in one: an unknown field of a message is refused, where ntfy ignores it.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    http::{HeaderMap, Method, Response},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::{StreamExt as _, wrappers::UnboundedReceiverStream};

use crate::host::Host;

/// What kind of server it is.
#[derive(Debug, Clone)]
pub struct Options {
    /// Knows sequence ids (2.16 and newer).
    pub updates: bool,
    /// Keeps messages for those who were away (`cache-duration`).
    pub caches: bool,
    /// Who has this token may read and write all; nobody else may do anything, but for `open`.
    pub token: Option<String>,
    /// Topics that anybody may write to.
    pub open: BTreeSet<String>,
    /// A topic that nobody may publish to by a request; what is written to it comes by other ways.
    pub read_only: Option<String>,
    /// How often a subscriber hears that it is still there.
    pub keepalive: Duration,
}

impl Default for Options {
    fn default() -> Self {
        let keepalive = Duration::from_secs(45);
        let open = BTreeSet::new();
        Self { updates: true, caches: true, token: None, open, read_only: None, keepalive }
    }
}

/// How it behaves to whoever publishes and subscribes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mood {
    /// As it should.
    Well,
    /// Takes what comes and never answers.
    Silent,
    /// Takes what comes, and breaks off in the middle of its answer.
    Half,
    /// Ends each subscription as soon as it began.
    Hasty,
    /// Refuses with this error code of ntfy, e.g. 42901, 40301, 50001, and perhaps says when to come again.
    Refusing(u32, Option<String>),
    /// Something else answers in its place, with this status: a page.
    Page(u16),
}

/// A message as its owner sees it on the phone.
#[derive(Debug, Clone, PartialEq)]
pub struct Note {
    /// The title.
    pub title: String,
    /// The text.
    pub body: String,
    /// 1 to 5; 3 and more call for attention.
    pub priority: u8,
    /// Where a tap leads.
    pub click: Option<String>,
    /// The labels of its buttons.
    pub buttons: Vec<String>,
}

/// The server. Gone when it is dropped.
#[derive(Debug)]
pub struct Server {
    host: Host,
    far: Arc<Mutex<Far>>,
}

#[derive(Debug)]
struct Far {
    options: Options,
    mood: Mood,
    /// Every event of a topic, in order.
    events: Vec<Event>,
    /// Cleared by a press of a button that says so, by sequence, up to that many events.
    pressed: BTreeMap<String, usize>,
    listeners: Vec<(String, mpsc::UnboundedSender<String>)>,
    /// How many messages were tried to publish as JSON.
    tries: usize,
    /// How many subscriptions there were.
    subscriptions: usize,
}

/// A message of ntfy, and what was done to one.
#[derive(Debug, Clone, Serialize)]
struct Event {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence_id: Option<String>,
    time: u64,
    expires: u64,
    event: &'static str,
    topic: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    title: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    message: String,
    #[serde(skip_serializing_if = "is_default")]
    priority: u8,
    #[serde(skip_serializing_if = "String::is_empty")]
    click: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    actions: Vec<Action>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_default(priority: &u8) -> bool {
    *priority == 0
}

/// `publishMessage` of ntfy, as far as it may be used.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Publish {
    topic: String,
    title: String,
    message: String,
    priority: i64,
    tags: Vec<String>,
    click: String,
    actions: Vec<Action>,
    attach: String,
    markdown: bool,
    sequence_id: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Action {
    action: String,
    label: String,
    #[serde(default)]
    url: String,
    #[serde(default = "post")]
    method: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: String,
    #[serde(default)]
    clear: bool,
}

fn post() -> String {
    "POST".to_owned()
}

/// A refusal: ntfy's code, whose first three digits are the status, and its words.
#[derive(Debug)]
struct Refused(u32, String);

impl Refused {
    fn new(code: u32, error: &str) -> Self {
        Self(code, error.to_owned())
    }
}

impl Server {
    /// Starts one.
    pub fn start(options: Options) -> io::Result<Self> {
        let far = Arc::new(Mutex::new(Far {
            options,
            mood: Mood::Well,
            events: Vec::new(),
            pressed: BTreeMap::new(),
            listeners: Vec::new(),
            tries: 0,
            subscriptions: 0,
        }));
        let router = Router::new().fallback(serve).with_state(far.clone());
        Ok(Self { host: Host::start(router)?, far })
    }

    /// Its address, e.g. `http://127.0.0.1:2586`.
    pub fn url(&self) -> String {
        format!("http://{}", self.host.address())
    }

    /// Behaves like this from now on.
    pub fn behave(&self, mood: Mood) {
        self.far().mood = mood;
    }

    /// Cuts every connection; nobody listens there any more.
    pub fn away(&self) {
        self.host.away();
        self.far().listeners.clear();
    }

    /// Is there again, with what it has kept.
    pub fn back(&self) -> io::Result<()> {
        self.host.back()
    }

    /// What a phone that listens to a topic shows, oldest first.
    pub fn phone(&self, topic: &str) -> Vec<Note> {
        let far = self.far();
        let mut shown: Vec<(&str, &Event)> = Vec::new();
        for (at, event) in far.events.iter().enumerate().filter(|(_, e)| e.topic == topic) {
            let key = event.sequence_id.as_deref().unwrap_or(&event.id);
            let place = shown.iter().position(|(known, _)| *known == key);
            let cleared = far.pressed.get(key).is_some_and(|until| at < *until);
            match (event.event, place) {
                ("message", _) if cleared => {}
                ("message", Some(place)) => shown[place].1 = event,
                ("message", None) => shown.push((key, event)),
                (_, Some(place)) => drop(shown.remove(place)),
                _ => {}
            }
        }
        shown.into_iter().map(|(_, event)| note(event)).collect()
    }

    /// How often it called for attention: an update is a message of its own to a phone.
    pub fn buzzes(&self, topic: &str) -> usize {
        let far = self.far();
        let messages = far.events.iter().filter(|e| e.event == "message" && e.topic == topic);
        messages.filter(|event| matches!(event.priority, 0 | 3..)).count()
    }

    /// How many messages were tried to publish as JSON, whatever came of it.
    pub fn tries(&self) -> usize {
        self.far().tries
    }

    /// How many subscriptions there were so far.
    pub fn subscriptions(&self) -> usize {
        self.far().subscriptions
    }

    /// Presses a button of the newest message on a phone that has it; the status that the phone is answered.
    pub fn press(&self, topic: &str, label: &str) -> Option<u16> {
        let mut far = self.far();
        let newest = far.events.iter().rev().find(|e| {
            e.topic == topic && e.event == "message" && e.actions.iter().any(|a| a.label == label)
        })?;
        let key = newest.sequence_id.clone().unwrap_or_else(|| newest.id.clone());
        let action = newest.actions.iter().find(|action| action.label == label)?.clone();
        let path = action.url.strip_prefix(&self.url())?.to_owned();
        let method = Method::from_bytes(action.method.as_bytes()).ok()?;
        let mut headers = HeaderMap::new();
        for (name, value) in &action.headers {
            let name = axum::http::HeaderName::from_bytes(name.as_bytes()).ok()?;
            headers.insert(name, value.parse().ok()?);
        }
        let body = Bytes::from(action.body.clone());
        let answer = far.publish_raw(&method, &path, &headers, &body);
        if answer.is_ok() && action.clear {
            let until = far.events.len();
            far.pressed.insert(key, until);
        }
        Some(answer.map_or_else(|Refused(code, _)| status(code), |_| 200))
    }

    /// Somebody else writes to a topic.
    pub fn write(&self, topic: &str, message: &str) {
        self.far().add(topic, "message", None, |event| event.message = message.to_owned());
    }

    /// Somebody else wrote to a topic some time ago.
    pub fn wrote(&self, topic: &str, message: &str, ago: Duration) {
        self.far().add(topic, "message", None, |event| {
            event.message = message.to_owned();
            event.time -= ago.as_secs();
        });
    }

    /// The raw texts of a topic, oldest first.
    pub fn texts(&self, topic: &str) -> Vec<String> {
        let far = self.far();
        far.events.iter().filter(|e| e.topic == topic).map(|e| e.message.clone()).collect()
    }

    /// All of a topic as subscribers get it, oldest first.
    pub fn events(&self, topic: &str) -> Vec<Value> {
        let far = self.far();
        far.events.iter().filter(|e| e.topic == topic).map(|e| json!(e)).collect()
    }

    /// The last message of a topic as subscribers get it.
    pub fn last(&self, topic: &str) -> Value {
        let far = self.far();
        far.events.iter().rev().find(|e| e.topic == topic).map_or(Value::Null, |e| json!(e))
    }

    fn far(&self) -> MutexGuard<'_, Far> {
        lock(&self.far)
    }
}

fn lock(far: &Mutex<Far>) -> MutexGuard<'_, Far> {
    far.lock().unwrap_or_else(PoisonError::into_inner)
}

fn note(event: &Event) -> Note {
    Note {
        title: event.title.clone(),
        body: event.message.clone(),
        priority: if event.priority == 0 { 3 } else { event.priority },
        click: Some(event.click.clone()).filter(|click| !click.is_empty()),
        buttons: event.actions.iter().map(|action| action.label.clone()).collect(),
    }
}

fn status(code: u32) -> u16 {
    u16::try_from(code / 100).unwrap_or(500)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// `topicRegex` and `sequenceIDRegex`.
fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
}

async fn serve(State(far): State<Arc<Mutex<Far>>>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, 1024 * 1024).await else { return page(400) };
    let path = parts.uri.path().to_owned();
    let is_publish = path == "/" && matches!(parts.method, Method::POST | Method::PUT);
    let mood = {
        let mut far = lock(&far);
        far.tries += usize::from(is_publish);
        far.mood.clone()
    };
    let half = mood == Mood::Half;
    match mood {
        Mood::Well | Mood::Half | Mood::Hasty => {}
        Mood::Silent => std::future::pending().await,
        Mood::Page(status) => return page(status),
        Mood::Refusing(code, wait) => {
            let mut response = refusal(&Refused::new(code, "refused by the fake"));
            if let Some(wait) = wait.and_then(|wait| wait.parse().ok()) {
                response.headers_mut().insert("retry-after", wait);
            }
            return response;
        }
    }
    let answer = if parts.method == Method::GET && path == "/v1/health" {
        Ok(json!({"healthy": true}))
    } else if is_publish {
        lock(&far).publish(&parts.headers, &body)
    } else if parts.method == Method::GET && path.ends_with("/json") {
        let query = parts.uri.query().unwrap_or_default().to_owned();
        match subscribe(&far, &path, &query, &parts.headers) {
            Ok(stream) => return stream,
            Err(refused) => Err(refused),
        }
    } else {
        lock(&far).publish_raw(&parts.method, &path, &parts.headers, &body)
    };
    answer.map_or_else(
        |refused| refusal(&refused),
        |value| match value.to_string() {
            text if half => reply(200, "application/json", broken_off(&text)),
            text => reply(200, "application/json", text),
        },
    )
}

/// The first half of a body; then the connection is gone.
pub(crate) fn broken_off(body: &str) -> Body {
    let half = body.as_bytes()[..body.len() / 2].to_vec();
    let end = Err(io::Error::other("the fake breaks off"));
    Body::from_stream(tokio_stream::iter([Ok(half), end]))
}

fn reply(status: u16, kind: &'static str, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() =
        axum::http::StatusCode::from_u16(status).unwrap_or(axum::http::StatusCode::BAD_GATEWAY);
    response.headers_mut().insert("content-type", axum::http::HeaderValue::from_static(kind));
    response
}

fn refusal(Refused(code, error): &Refused) -> Response<Body> {
    let body = json!({"code": code, "http": status(*code), "error": error});
    reply(status(*code), "application/json", body.to_string())
}

fn page(status: u16) -> Response<Body> {
    reply(status, "text/html", "<html><body><h1>Welcome to the hotel</h1></body></html>")
}

fn subscribe(
    far: &Arc<Mutex<Far>>,
    path: &str,
    query: &str,
    headers: &HeaderMap,
) -> Result<Response<Body>, Refused> {
    let topic = path.trim_start_matches('/').trim_end_matches("/json").to_owned();
    let mut far = lock(far);
    if !is_name(&topic) {
        return Err(Refused::new(40401, "page not found"));
    }
    far.may(headers, &topic, false)?;
    let parameters: BTreeMap<&str, &str> =
        query.split('&').filter_map(|pair| pair.split_once('=')).collect();
    let poll = parameters.get("poll") == Some(&"1");
    let since = parameters.get("since").copied().unwrap_or(if poll { "all" } else { "none" });
    let old = far.since(&topic, since)?;
    let (send, events) = mpsc::unbounded_channel();
    if !poll {
        far.subscriptions += 1;
        let _ = send.send(line(&json!({
            "id": far.new_id(), "time": now(), "event": "open", "topic": &topic,
        })));
    }
    for event in old {
        let _ = send.send(line(&json!(event)));
    }
    if !poll && far.mood != Mood::Hasty {
        let (every, beats) = (far.options.keepalive, send.clone());
        let beat = line(
            &json!({"id": "keepalive0000", "time": now(), "event": "keepalive", "topic": &topic}),
        );
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(every).await;
                if beats.send(beat.clone()).is_err() {
                    return;
                }
            }
        });
        far.listeners.push((topic, send));
    }
    let stream = UnboundedReceiverStream::new(events).map(Ok::<_, io::Error>);
    Ok(reply(200, "application/x-ndjson; charset=utf-8", Body::from_stream(stream)))
}

fn line(event: &Value) -> String {
    format!("{event}\n")
}

impl Far {
    /// `publishMessage`, in the order of ntfy's checks.
    fn publish(&mut self, headers: &HeaderMap, body: &[u8]) -> Result<Value, Refused> {
        if body.len() > 2 * 4096 {
            return Err(Refused::new(41303, "JSON body too large"));
        }
        let message: Publish = serde_json::from_slice(body).map_err(|error| {
            Refused(40017, format!("invalid request: request body must be message JSON: {error}"))
        })?;
        if !is_name(&message.topic) {
            return Err(Refused::new(40009, "invalid request: topic invalid"));
        }
        if ["docs", "static", "file", "app", "account", "settings", "signup", "login", "v1"]
            .contains(&message.topic.as_str())
        {
            return Err(Refused::new(40010, "invalid request: topic name is not allowed"));
        }
        self.may(headers, &message.topic, true)?;
        let updates = self.options.updates;
        if updates && !message.sequence_id.is_empty() && !is_name(&message.sequence_id) {
            return Err(Refused::new(40049, "invalid request: sequence ID invalid"));
        }
        if updates && message.title.len() > 1024 {
            return Err(Refused::new(40057, "invalid request: title too large"));
        }
        if updates && message.tags.iter().map(String::len).sum::<usize>() > 512 {
            return Err(Refused::new(40058, "invalid request: tags too large"));
        }
        if !message.attach.is_empty() && !message.attach.starts_with("http") {
            return Err(Refused::new(40013, "invalid request: attachment URL is invalid"));
        }
        let priority = u8::try_from(message.priority).ok().filter(|priority| *priority <= 5);
        let Some(priority) = priority else {
            return Err(Refused::new(40007, "invalid priority parameter"));
        };
        check(&message.actions)?;
        if message.message.len() > 4096 {
            return Err(Refused::new(40014, "invalid request: attachments not allowed"));
        }
        if message.markdown || !message.tags.is_empty() {
            return Err(Refused::new(40000, "the fake draws neither Markdown nor emoji"));
        }
        let sequence = Some(message.sequence_id).filter(|id| updates && !id.is_empty());
        Ok(self.add(&message.topic, "message", sequence, |event| {
            event.title = message.title;
            event.message = or_triggered(message.message);
            event.priority = priority;
            event.click = message.click;
            event.actions = message.actions;
        }))
    }

    /// The routes with a topic in their path: publish a text, and clear and delete by sequence id.
    fn publish_raw(
        &mut self,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<Value, Refused> {
        let not_found = || Refused::new(40401, "page not found");
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let writes = matches!(*method, Method::POST | Method::PUT);
        let (topic, sequence, what) = match parts[..] {
            [topic] if writes => (topic, None, "message"),
            [topic, sequence] if writes && self.options.updates => {
                (topic, Some(sequence), "message")
            }
            [topic, sequence] if *method == Method::DELETE => {
                (topic, Some(sequence), "message_delete")
            }
            [topic, sequence, "clear" | "read"] if matches!(*method, Method::PUT | Method::GET) => {
                (topic, Some(sequence), "message_clear")
            }
            _ => return Err(not_found()),
        };
        if !is_name(topic) || sequence.is_some_and(|id| !is_name(id) || !self.options.updates) {
            return Err(not_found());
        }
        self.may(headers, topic, true)?;
        let text = std::str::from_utf8(body)
            .map_err(|_| Refused::new(40011, "invalid message: message must be UTF-8 encoded"))?;
        if text.len() > 4096 {
            return Err(Refused::new(40014, "invalid request: attachments not allowed"));
        }
        let text = if what == "message" { or_triggered(text.to_owned()) } else { String::new() };
        Ok(self.add(topic, what, sequence.map(str::to_owned), |event| event.message = text))
    }

    fn add(
        &mut self,
        topic: &str,
        what: &'static str,
        sequence_id: Option<String>,
        fill: impl FnOnce(&mut Event),
    ) -> Value {
        let time = now();
        let kept = if self.options.caches { 12 * 3600 } else { 0 };
        let mut event = Event {
            id: self.new_id(),
            sequence_id,
            time,
            expires: time + kept,
            event: what,
            topic: topic.to_owned(),
            title: String::new(),
            message: String::new(),
            priority: 0,
            click: String::new(),
            actions: Vec::new(),
        };
        fill(&mut event);
        let told = json!(event);
        self.listeners.retain(|(listens, send)| {
            listens != topic && !send.is_closed()
                || listens == topic && send.send(line(&told)).is_ok()
        });
        self.events.push(event);
        told
    }

    /// Twelve characters, as ntfy's, in the order of time.
    fn new_id(&self) -> String {
        format!("Id{:010}", self.events.len())
    }

    /// The kept messages of a topic behind a marker: `all`, `none`, a message's id, a time, a duration.
    fn since(&self, topic: &str, since: &str) -> Result<Vec<Event>, Refused> {
        let from = if !self.options.caches || since == "none" {
            self.events.len()
        } else if let Some(at) = self.events.iter().position(|event| event.id == since) {
            at + 1
        } else if since == "all" || since.len() == 12 {
            0
        } else {
            let (number, unit) = since.split_at(since.len().saturating_sub(1));
            let invalid = || Refused::new(40008, "invalid since parameter");
            let seconds = match unit {
                "h" => number.parse::<u64>().map(|n| n * 3600),
                "m" => number.parse::<u64>().map(|n| n * 60),
                "s" => number.parse::<u64>(),
                _ => since.parse::<u64>().map(|at| now().saturating_sub(at)),
            };
            let from = now().saturating_sub(seconds.map_err(|_| invalid())?);
            self.events.iter().position(|e| e.time >= from).unwrap_or(self.events.len())
        };
        Ok(self.events[from..].iter().filter(|event| event.topic == topic).cloned().collect())
    }

    fn may(&self, headers: &HeaderMap, topic: &str, writes: bool) -> Result<(), Refused> {
        if writes && self.options.read_only.as_deref() == Some(topic) {
            return Err(Refused::new(40301, "forbidden"));
        }
        let Some(token) = &self.options.token else { return Ok(()) };
        let given = headers.get("authorization").and_then(|value| value.to_str().ok());
        match given {
            Some(given) if given == format!("Bearer {token}") => Ok(()),
            Some(_) => Err(Refused::new(40101, "unauthorized")),
            None if writes && self.options.open.contains(topic) => Ok(()),
            None => Err(Refused::new(40301, "forbidden")),
        }
    }
}

fn or_triggered(text: String) -> String {
    if text.is_empty() { "triggered".to_owned() } else { text }
}

/// `parseActions`.
fn check(actions: &[Action]) -> Result<(), Refused> {
    let invalid = |why: &str| Refused(40018, format!("invalid request: actions invalid, {why}"));
    if actions.len() > 3 {
        return Err(invalid("only 3 actions allowed"));
    }
    for action in actions {
        if !matches!(action.action.as_str(), "view" | "http" | "broadcast") {
            return Err(invalid("parameter 'action' unknown"));
        }
        if action.label.is_empty() {
            return Err(invalid("parameter 'label' is required"));
        }
        if action.url.is_empty() && action.action != "broadcast" {
            return Err(invalid("parameter 'url' is required"));
        }
        if matches!(action.method.as_str(), "GET" | "HEAD") && !action.body.is_empty() {
            return Err(invalid("parameter 'body' cannot be set if method is GET"));
        }
    }
    Ok(())
}
