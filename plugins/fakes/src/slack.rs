//! Slack: the methods of the Web API that `ao` uses, Socket Mode, an incoming webhook, and somebody who looks and
//! presses.
//!
//! The workspace is acme. [`ANA`] and [`BEN`] are in [`CHANNEL`] (`#agents`) and [`OPS`], where `ao` is too; [`EVE`] belongs to
//! another workspace that shares it. Tokens, scopes, arguments and blocks are checked, and what Slack would refuse is
//! refused by Slack's own codes.

mod blocks;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State as Shared,
    http::{HeaderMap, Method, Response, Uri},
};
use futures_util::{SinkExt as _, StreamExt as _};
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use sha2::Sha256;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Notify, mpsc, oneshot},
    task::{JoinHandle, JoinSet},
};
use tokio_tungstenite::tungstenite::Message as Frame;
use url::form_urlencoded;

/// The bot's token.
pub const BOT_TOKEN: &str = "xoxb-1-acme-hush";
/// The app-level token.
pub const APP_TOKEN: &str = "xapp-1-acme-hush";
/// Signs requests to the app.
pub const SIGNING_SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";
/// The workspace.
pub const TEAM: &str = "T0ACME001";
/// `ao` as a user.
pub const BOT: &str = "U0AOBOT01";
/// `#agents`.
pub const CHANNEL: &str = "C0AGENTS1";
/// `#ops`, where `ao` is too.
pub const OPS: &str = "C0OPS0001";
/// `#elsewhere`, where `ao` is not.
pub const ELSEWHERE: &str = "C0ELSEWHR";
/// `#old`, archived.
pub const OLD: &str = "C0OLD0001";
/// Of the workspace; her display name is `ana`.
pub const ANA: &str = "U0ANA0001";
/// Of the workspace; he has no display name, only a real one.
pub const BEN: &str = "U0BEN0001";
/// Of another workspace.
pub const EVE: &str = "U0EVE0001";

/// How long Slack waits for an acknowledgement before it shows an error.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long a trigger opens a dialog.
const TRIGGER: Duration = Duration::from_secs(3);
/// The path of the incoming webhook.
const WEBHOOK: &str = "/services/T0ACME001/B0AO00001/hush";

/// How it behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mood {
    /// As it should.
    Well,
    /// Takes what comes and never answers.
    Silent,
    /// Cannot be reached.
    Away,
    /// Answers 429 with this many seconds in `Retry-After`.
    Busy(u32),
    /// Answers 429 with this in `Retry-After`, and this body, which is called JSON whatever it is.
    Limited(String, &'static str),
    /// Refuses messages with this code.
    Refusing(&'static str),
    /// Answers with this status and a page of HTML, as something in between does.
    Broken(u16),
}

/// A message as it stands now.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Where.
    pub channel: String,
    /// Its time, which is its id.
    pub ts: String,
    /// Under which message.
    pub thread: Option<String>,
    /// By whom.
    pub user: String,
    /// The header.
    pub title: String,
    /// What a notification shows.
    pub fallback: String,
    /// Everything under the header, as lines; a quote begins with `▏`, code with `┊`.
    pub lines: Vec<String>,
    /// What in it calls somebody or leads somewhere.
    pub active: Vec<String>,
    /// As they came.
    pub blocks: Value,
    /// As they came.
    pub metadata: Value,
    /// How often it was changed.
    pub edits: usize,
    /// When it was posted.
    pub at: Instant,
}

/// What only one person sees.
#[derive(Debug, Clone, PartialEq)]
pub struct Ephemeral {
    /// Who.
    pub user: String,
    /// Where.
    pub channel: String,
    /// Under which message.
    pub thread: Option<String>,
    /// Its time.
    pub ts: String,
    /// As lines.
    pub lines: Vec<String>,
    blocks: Value,
    url: u64,
}

/// A dialog that is open.
#[derive(Debug, Clone, PartialEq)]
pub struct Modal {
    /// Before whom.
    pub user: String,
    /// As it came.
    pub view: Value,
    id: String,
}

/// What one sees after a press.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The app has it.
    Taken,
    /// Slack shows an error: the app did not answer.
    Error,
}

/// What one sees after a dialog was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Submitted {
    /// It closed.
    Closed,
    /// It stays open, with a word at an input each.
    Corrected(BTreeMap<String, String>),
    /// Slack shows an error: the app did not answer.
    Error,
}

/// A workspace at an address of its own. It is gone with this.
#[derive(Debug)]
pub struct Slack {
    inner: Arc<Inner>,
    web: SocketAddr,
    servers: Mutex<Option<Servers>>,
}

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    changed: Notify,
    socket: SocketAddr,
    web: SocketAddr,
}

#[derive(Debug)]
struct Servers {
    stop: oneshot::Sender<()>,
    web: JoinHandle<()>,
    sockets: JoinHandle<()>,
}

impl Drop for Slack {
    fn drop(&mut self) {
        let servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(servers) = servers {
            servers.web.abort();
            servers.sockets.abort();
        }
    }
}

#[derive(Debug)]
struct State {
    mood: Mood,
    scopes: BTreeSet<&'static str>,
    calls: Vec<(String, Map<String, Value>)>,
    messages: Vec<Message>,
    ephemerals: Vec<Ephemeral>,
    modals: Vec<Modal>,
    triggers: HashMap<String, (String, Instant)>,
    tickets: HashSet<String>,
    sockets: Vec<Socket>,
    waiting: HashMap<String, oneshot::Sender<Value>>,
    /// Each envelope is sent twice.
    doubled: bool,
    /// How many envelopes there were, and which connection was given the last.
    envelopes: usize,
    given: u64,
    buzzes: usize,
    number: u64,
    resting: Option<Instant>,
    early: usize,
}

#[derive(Debug, Clone)]
struct Socket {
    number: u64,
    send: mpsc::UnboundedSender<Frame>,
    cut: Arc<Notify>,
}

impl Slack {
    /// A workspace in which nothing was said yet.
    pub async fn start() -> Self {
        let (web, socket) = (listener(None).await, listener(None).await);
        let inner = Arc::new(Inner {
            state: Mutex::new(State::new()),
            changed: Notify::new(),
            socket: address(&socket),
            web: address(&web),
        });
        let at = address(&web);
        let servers = Servers::start(&inner, web, socket);
        Self { inner, web: at, servers: Mutex::new(Some(servers)) }
    }

    /// Where its Web API is.
    pub fn api_url(&self) -> String {
        format!("http://{}/api", self.web)
    }

    /// The address of an incoming webhook for [`CHANNEL`].
    pub fn webhook_url(&self) -> String {
        format!("http://{}{WEBHOOK}", self.web)
    }

    /// Behaves like this from now on.
    pub async fn behave(&self, mood: Mood) {
        let away = mood == Mood::Away;
        self.state().mood = mood;
        let running = self.servers.lock().unwrap_or_else(PoisonError::into_inner).take();
        let servers = match running {
            Some(servers) if away => {
                servers.sockets.abort();
                let _ = servers.sockets.await;
                self.state().sockets.clear();
                // Ends the connections that are kept open as well.
                let _ = servers.stop.send(());
                let mut web = servers.web;
                if tokio::time::timeout(Duration::from_secs(5), &mut web).await.is_err() {
                    web.abort();
                }
                None
            }
            None if !away => {
                let web = listener(Some(self.inner.web)).await;
                let socket = listener(Some(self.inner.socket)).await;
                Some(Servers::start(&self.inner, web, socket))
            }
            running => running,
        };
        *self.servers.lock().unwrap_or_else(PoisonError::into_inner) = servers;
    }

    /// Gives the app these scopes from now on.
    pub fn grant(&self, scopes: &[&'static str]) {
        self.state().scopes = scopes.iter().copied().collect();
    }

    /// Sends each envelope of Socket Mode twice from now on.
    pub fn double(&self) {
        self.state().doubled = true;
    }

    /// Every message, threads included, oldest first.
    pub fn messages(&self) -> Vec<Message> {
        self.state().messages.clone()
    }

    /// What people see alone, oldest first.
    pub fn ephemerals(&self) -> Vec<Ephemeral> {
        self.state().ephemerals.clone()
    }

    /// The dialogs that are open.
    pub fn modals(&self) -> Vec<Modal> {
        self.state().modals.clone()
    }

    /// How often a method was called, whatever came of it; `webhook` is one.
    pub fn calls(&self, method: &str) -> usize {
        self.state().calls.iter().filter(|(called, _)| called == method).count()
    }

    /// How often anything was called; a `response_url` counts.
    pub fn all_calls(&self) -> usize {
        self.state().calls.len()
    }

    /// The arguments of the last call of a method.
    pub fn last(&self, method: &str) -> Option<Value> {
        let state = self.state();
        let last = state.calls.iter().rev().find(|(called, _)| called == method);
        last.map(|(_, arguments)| Value::Object(arguments.clone()))
    }

    /// How many calls came while it had asked to be left alone.
    pub fn early(&self) -> usize {
        self.state().early
    }

    /// How often somebody's device made a sound: a message that calls one by name.
    pub fn buzzes(&self) -> usize {
        self.state().buzzes
    }

    /// How many connections of Socket Mode are open.
    pub fn sockets(&self) -> usize {
        self.state().open().count()
    }

    /// Waits until this many are.
    pub async fn connected(&self, count: usize) {
        self.until(|slack| slack.sockets() >= count).await;
    }

    /// Waits until this holds.
    ///
    /// # Panics
    /// If it does not for half a minute.
    pub async fn until(&self, holds: impl Fn(&Self) -> bool) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
        loop {
            let changed = self.inner.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if holds(self) {
                return;
            }
            if tokio::time::timeout_at(deadline, changed).await.is_err() {
                let last: Vec<_> = self.state().calls.iter().rev().take(3).cloned().collect();
                panic!(
                    "what was waited for did not happen; {} sockets, last {last:?}",
                    self.sockets()
                );
            }
        }
    }

    /// Cuts one connection of Socket Mode, without a word: the one that was given something last, where it is open
    /// still. False where none is open.
    pub fn cut(&self) -> bool {
        let state = self.state();
        let given = state.open().find(|socket| socket.number == state.given);
        let Some(socket) = given.or_else(|| state.open().next()) else { return false };
        socket.cut.notify_one();
        true
    }

    /// Tells one connection that it will be ended, for this reason.
    pub fn end(&self, reason: &str) -> bool {
        let state = self.state();
        let Some(socket) = state.open().next() else { return false };
        let debug = json!({"host": "applink-1"});
        let said = json!({"type": "disconnect", "reason": reason, "debug_info": debug});
        socket.send.send(Frame::text(said.to_string())).is_ok()
    }

    /// What Slack sends when `user` presses the button or the menu's entry with this label, under the message or
    /// ephemeral message `ts`; a dialog that asks first is said yes to.
    pub fn press_payload(&self, user: &str, ts: &str, label: &str) -> Option<Value> {
        self.state().press(self.inner.web, user, ts, label)
    }

    /// Presses it, with the app in Socket Mode.
    ///
    /// # Panics
    /// If there is no such button: a test's mistake.
    pub async fn press(&self, user: &str, ts: &str, label: &str) -> Outcome {
        let payload = self.press_payload(user, ts, label);
        let Some(payload) = payload else { panic!("no button {label:?} under {ts}") };
        self.interact(payload).await
    }

    /// Sends a payload of interactivity, with the app in Socket Mode.
    pub async fn interact(&self, payload: Value) -> Outcome {
        match self.deliver("interactive", payload, false).await {
            Some(_) => Outcome::Taken,
            None => Outcome::Error,
        }
    }

    /// Fills the newest dialog before `user` and sends it, with the app in Socket Mode.
    ///
    /// # Panics
    /// If there is none, or an input that must be filled is not: a test's mistake.
    pub async fn submit(&self, user: &str, choice: Option<usize>, words: &str) -> Submitted {
        let Some((id, payload)) = self.submission(user, choice, words) else {
            panic!("no dialog before {user} that could be sent like this")
        };
        let Some(answer) = self.deliver("interactive", payload, true).await else {
            return Submitted::Error;
        };
        if answer["response_action"] == "errors" {
            let errors = answer["errors"].as_object().cloned().unwrap_or_default();
            let text = |value: Value| value.as_str().unwrap_or_default().to_owned();
            return Submitted::Corrected(
                errors.into_iter().map(|(at, why)| (at, text(why))).collect(),
            );
        }
        self.state().modals.retain(|modal| modal.id != id);
        self.inner.changed.notify_waiters();
        Submitted::Closed
    }

    /// The dialog's id and what Slack sends for it.
    pub fn submission(
        &self,
        user: &str,
        choice: Option<usize>,
        words: &str,
    ) -> Option<(String, Value)> {
        self.state().submission(user, choice, words)
    }

    /// Answers under `root`, with the app in Socket Mode. `more` is laid over the event.
    pub async fn reply(&self, user: &str, root: &str, text: &str, more: Value) -> Outcome {
        let payload = self.reply_payload(user, root, text, more);
        match self.deliver("events_api", payload, false).await {
            Some(_) => Outcome::Taken,
            None => Outcome::Error,
        }
    }

    /// What Slack sends for an answer under `root`.
    pub fn reply_payload(&self, user: &str, root: &str, text: &str, more: Value) -> Value {
        self.state().reply(user, root, text, more)
    }

    /// The headers of a request whose body is this, sent at this time.
    pub fn signed(body: &[u8], at: Timestamp) -> Vec<(String, Vec<u8>)> {
        let time = at.as_second().to_string();
        let signature = sign(SIGNING_SECRET, &time, body);
        let kind: &[u8] = match body.starts_with(b"{") {
            true => b"application/json",
            false => b"application/x-www-form-urlencoded",
        };
        vec![
            ("content-type".to_owned(), kind.to_vec()),
            ("x-slack-request-timestamp".to_owned(), time.into_bytes()),
            ("x-slack-signature".to_owned(), signature.into_bytes()),
        ]
    }

    /// A payload of interactivity as the body of a request.
    pub fn form(payload: &Value) -> Vec<u8> {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("payload", &payload.to_string()).finish().into_bytes()
    }

    /// Sends an envelope until one connection acknowledges it: again on another where one ends before. None = nobody
    /// did in time.
    async fn deliver(&self, kind: &str, payload: Value, accepts: bool) -> Option<Value> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let (id, turn) = {
            let mut state = self.state();
            state.envelopes += 1;
            (format!("envelope-{}", state.next()), state.envelopes)
        };
        for attempt in 0..4 {
            let next = self.open_socket(turn + attempt);
            let socket = tokio::time::timeout_at(deadline, next).await.ok()?;
            let (send, answered) = oneshot::channel();
            let envelope = json!({
                "type": kind, "envelope_id": id, "payload": payload, "accepts_response_payload": accepts,
                "retry_attempt": attempt, "retry_reason": if attempt == 0 { "" } else { "timeout" },
            });
            let others = {
                let mut state = self.state();
                state.waiting.insert(id.clone(), send);
                state.given = socket.number;
                let others: Vec<_> =
                    state.open().filter(|other| other.number != socket.number).cloned().collect();
                if state.doubled { others } else { Vec::new() }
            };
            for each in std::iter::once(&socket).chain(&others) {
                let _ = each.send.send(Frame::text(envelope.to_string()));
            }
            tokio::select! {
                answer = answered => if let Ok(answer) = answer {
                    return Some(answer);
                },
                () = socket.send.closed() => {}
                () = tokio::time::sleep_until(deadline) => return None,
            }
        }
        None
    }

    /// One of the open connections, each turn another one: the app's, whichever of its listeners opened it.
    async fn open_socket(&self, turn: usize) -> Socket {
        loop {
            let changed = self.inner.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let open: Vec<_> = self.state().open().cloned().collect();
            if let Some(socket) = open.get(turn % open.len().max(1)) {
                return socket.clone();
            }
            changed.await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state()
    }
}

/// What Slack would have against a message's blocks.
pub fn problems(blocks: &Value) -> Vec<String> {
    blocks::message(blocks)
}

/// What Slack would have against a message's metadata
/// (<https://docs.slack.dev/messaging/message-metadata>).
pub fn metadata_problem(metadata: &Value) -> Option<&'static str> {
    let payload = metadata["event_payload"].as_object();
    let flat = payload.is_some_and(|map| map.values().all(Value::is_string));
    let shaped = metadata.as_object().is_some_and(|map| map.len() == 2);
    if !flat || !shaped || metadata["event_type"].as_str().is_none_or(str::is_empty) {
        return Some("invalid_metadata_format");
    }
    (metadata.to_string().len() > 16_000).then_some("metadata_too_large")
}

/// A message's blocks as text: the title, then what stands under it. A quote begins with `▏`, code with `┊`; `[[ ]]`
/// is a primary button, `[! ]` one that destroys, `?` one that asks first, `(⋯ )` the menu.
pub fn drawing(blocks: &Value) -> String {
    let drawn = blocks::draw(blocks);
    std::iter::once(drawn.title).chain(drawn.lines).collect::<Vec<_>>().join("\n")
}

/// `v0=` and HMAC-SHA256 over `v0:<time>:<body>`, as <https://docs.slack.dev/authentication/verifying-requests-from-slack>.
pub fn sign(secret: &str, time: &str, body: &[u8]) -> String {
    // HMAC takes keys of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else {
        return String::new();
    };
    mac.update(format!("v0:{time}:").as_bytes());
    mac.update(body);
    let bytes = mac.finalize().into_bytes();
    format!("v0={}", bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

#[expect(clippy::expect_used, reason = "a test without a port cannot go on")]
async fn listener(at: Option<SocketAddr>) -> TcpListener {
    let at = at.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)));
    TcpListener::bind(at).await.expect("a port of this machine")
}

#[expect(clippy::expect_used, reason = "a bound listener has an address")]
fn address(listener: &TcpListener) -> SocketAddr {
    listener.local_addr().expect("an address")
}

impl Servers {
    fn start(inner: &Arc<Inner>, web: TcpListener, socket: TcpListener) -> Self {
        let router = Router::new().fallback(answer).with_state(inner.clone());
        let (stop, stopped) = oneshot::channel::<()>();
        let web = tokio::spawn(async move {
            let server = axum::serve(web, router);
            let _ = server.with_graceful_shutdown(async { drop(stopped.await) }).await;
        });
        let inner = inner.clone();
        let sockets = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = socket.accept().await {
                connections.spawn(serve(inner.clone(), stream));
                while connections.try_join_next().is_some() {}
            }
        });
        Self { stop, web, sockets }
    }
}

/// One connection of Socket Mode.
async fn serve(inner: Arc<Inner>, stream: TcpStream) {
    let mut ticket = String::new();
    #[expect(clippy::result_large_err, reason = "the callback's type is the library's")]
    let upgrade = |request: &tokio_tungstenite::tungstenite::handshake::server::Request,
                   response| {
        let query = request.uri().query().unwrap_or_default();
        ticket = query.strip_prefix("ticket=").unwrap_or_default().to_owned();
        Ok(response)
    };
    let Ok(mut stream) = tokio_tungstenite::accept_hdr_async(stream, upgrade).await else { return };
    // A ticket opens one connection.
    if !inner.state().tickets.remove(&ticket) {
        return;
    }
    let (send, mut sent) = mpsc::unbounded_channel();
    let cut = Arc::new(Notify::new());
    let (number, hello) = {
        let mut state = inner.state();
        let number = state.next();
        let count = state.open().count() + 1;
        let hello = json!({
            "type": "hello", "num_connections": count, "connection_info": {"app_id": "A0AO00001"},
            "debug_info": {"host": "applink-1", "approximate_connection_time": 18_060},
        });
        (number, hello)
    };
    if stream.send(Frame::text(hello.to_string())).await.is_err() {
        return;
    }
    inner.state().sockets.push(Socket { number, send, cut: cut.clone() });
    inner.changed.notify_waiters();
    loop {
        tokio::select! {
            biased;
            () = cut.notified() => break,
            frame = sent.recv() => {
                let Some(frame) = frame else { break };
                if stream.send(frame).await.is_err() {
                    break;
                }
            }
            frame = stream.next() => match frame {
                Some(Ok(Frame::Text(text))) => inner.acknowledge(&text),
                Some(Ok(Frame::Close(_)) | Err(_)) | None => break,
                Some(Ok(_)) => {}
            },
        }
    }
    inner.state().sockets.retain(|socket| socket.number != number);
    drop(sent);
    inner.changed.notify_waiters();
}

/// What came, as method and arguments.
struct Request {
    method: String,
    token: Option<String>,
    arguments: Map<String, Value>,
}

async fn answer(
    Shared(inner): Shared<Arc<Inner>>,
    verb: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let token = headers.get("authorization").and_then(|value| value.to_str().ok());
    let token = token.and_then(|value| value.strip_prefix("Bearer ")).map(str::to_owned);
    let json = headers
        .get("content-type")
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    let arguments = match (verb == Method::GET, json) {
        (true, _) => fields(uri.query().unwrap_or_default().as_bytes()),
        (_, true) => serde_json::from_slice::<Value>(&body)
            .ok()
            .and_then(|value| value.as_object().cloned())
            .unwrap_or_default(),
        _ => fields(&body),
    };
    let path = uri.path();
    if let Some(number) = path.strip_prefix("/response/") {
        let number: u64 = number.parse().unwrap_or_default();
        inner.state().calls.push(("response_url".to_owned(), arguments.clone()));
        if arguments.get("delete_original") == Some(&json!(true)) {
            inner.state().ephemerals.retain(|one| one.url != number);
        }
        inner.changed.notify_waiters();
        return ok(json!({"ok": true}));
    }
    let method = match path.strip_prefix("/api/") {
        Some(method) => method.to_owned(),
        None if path == WEBHOOK => "webhook".to_owned(),
        None => return plain(404, "no_service"),
    };
    let (mood, taken) = {
        let mut state = inner.state();
        state.calls.push((method.clone(), arguments.clone()));
        if state.resting.is_some_and(|until| Instant::now() < until) {
            state.early += 1;
        }
        let mood = state.mood.clone();
        let request = Request { method: method.clone(), token, arguments };
        let taken = match &mood {
            Mood::Well | Mood::Silent | Mood::Away => Some(state.take(inner.socket, &request)),
            Mood::Refusing(_) if !matches!(method.split('.').next(), Some("chat" | "webhook")) => {
                Some(state.take(inner.socket, &request))
            }
            Mood::Busy(seconds) => {
                state.resting = Some(Instant::now() + Duration::from_secs(u64::from(*seconds)));
                None
            }
            Mood::Refusing(_) | Mood::Broken(_) | Mood::Limited(..) => None,
        };
        (mood, taken)
    };
    inner.changed.notify_waiters();
    let hook = method == "webhook";
    match (mood, taken) {
        (Mood::Silent, _) => std::future::pending().await,
        (_, Some(Ok(_))) if hook => plain(200, "ok"),
        (_, Some(Err(refused))) if hook => {
            plain(400, refused["error"].as_str().unwrap_or_default())
        }
        (_, Some(Ok(mut answer))) => {
            answer["ok"] = json!(true);
            ok(answer)
        }
        (_, Some(Err(answer))) => ok(answer),
        (Mood::Busy(seconds), None) => limited(
            &seconds.to_string(),
            match hook {
                true => plain(429, "rate_limited"),
                false => ok(json!({"ok": false, "error": "ratelimited"})),
            },
        ),
        (Mood::Limited(wait, body), None) => {
            let mut response = ok(Value::Null);
            *response.body_mut() = Body::from(body);
            limited(&wait, response)
        }
        (Mood::Broken(status), None) => {
            plain(status, "<html><body>Bad gateway at hush</body></html>")
        }
        (Mood::Refusing(code), None) if hook => plain(403, code),
        (Mood::Refusing(code), None) => ok(json!({"ok": false, "error": code})),
        (Mood::Well | Mood::Away, None) => plain(500, ""),
    }
}

fn fields(text: &[u8]) -> Map<String, Value> {
    form_urlencoded::parse(text)
        .map(|(key, value)| (key.into_owned(), value.into_owned().into()))
        .collect()
}

fn ok(body: Value) -> Response<Body> {
    let mut response = Response::new(Body::from(body.to_string()));
    let kind = axum::http::HeaderValue::from_static("application/json; charset=utf-8");
    response.headers_mut().insert("content-type", kind);
    response
}

fn limited(wait: &str, mut response: Response<Body>) -> Response<Body> {
    *response.status_mut() = axum::http::StatusCode::TOO_MANY_REQUESTS;
    if let Ok(wait) = axum::http::HeaderValue::from_str(wait) {
        response.headers_mut().insert("retry-after", wait);
    }
    response
}

fn plain(status: u16, body: &str) -> Response<Body> {
    let mut response = Response::new(Body::from(body.to_owned()));
    *response.status_mut() = axum::http::StatusCode::from_u16(status).unwrap_or_default();
    let kind = axum::http::HeaderValue::from_static("text/html");
    response.headers_mut().insert("content-type", kind);
    response
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn acknowledge(&self, text: &str) {
        let Ok(said) = serde_json::from_str::<Value>(text) else { return };
        let Some(id) = said["envelope_id"].as_str() else { return };
        let waiting = self.state().waiting.remove(id);
        if let Some(waiting) = waiting {
            let _ = waiting.send(said["payload"].clone());
        }
    }
}

type Answered = Result<Value, Value>;

fn refused(code: &str) -> Answered {
    Err(json!({"ok": false, "error": code}))
}

fn wrong(code: &str, messages: &[String]) -> Answered {
    Err(json!({"ok": false, "error": code, "response_metadata": {"messages": messages}}))
}

/// The arguments of a method, and the scope it needs.
fn known(method: &str) -> Option<(&'static [&'static str], Option<&'static str>)> {
    Some(match method {
        "auth.test" | "apps.connections.open" => (&[], None),
        "chat.postMessage" => (
            &[
                "channel",
                "text",
                "blocks",
                "metadata",
                "thread_ts",
                "reply_broadcast",
                "unfurl_links",
                "unfurl_media",
                "mrkdwn",
                "link_names",
                "parse",
            ],
            Some("chat:write"),
        ),
        "chat.update" => (
            &["channel", "ts", "text", "blocks", "metadata", "link_names", "parse"],
            Some("chat:write"),
        ),
        "chat.postEphemeral" => (
            &["channel", "user", "text", "blocks", "thread_ts", "link_names", "parse"],
            Some("chat:write"),
        ),
        "conversations.history" => (
            &[
                "channel",
                "cursor",
                "include_all_metadata",
                "inclusive",
                "latest",
                "limit",
                "oldest",
            ],
            Some("channels:history"),
        ),
        "conversations.replies" => (
            &[
                "channel",
                "ts",
                "cursor",
                "include_all_metadata",
                "inclusive",
                "latest",
                "limit",
                "oldest",
            ],
            Some("channels:history"),
        ),
        "conversations.list" => {
            (&["types", "exclude_archived", "limit", "cursor"], Some("channels:read"))
        }
        "conversations.info" => (&["channel"], Some("channels:read")),
        "users.info" => (&["user"], Some("users:read")),
        "views.open" => (&["trigger_id", "view"], None),
        "webhook" => (&["text", "blocks", "unfurl_links", "unfurl_media"], None),
        _ => return None,
    })
}

fn channels() -> [(&'static str, &'static str, bool, bool); 4] {
    // Id, name, whether `ao` is in it, whether it is archived.
    [
        (CHANNEL, "agents", true, false),
        (OPS, "ops", true, false),
        (ELSEWHERE, "elsewhere", false, false),
        (OLD, "old", true, true),
    ]
}

impl State {
    fn new() -> Self {
        Self {
            mood: Mood::Well,
            scopes: ["chat:write", "channels:history", "groups:history", "users:read"].into(),
            calls: Vec::new(),
            messages: Vec::new(),
            ephemerals: Vec::new(),
            modals: Vec::new(),
            triggers: HashMap::new(),
            tickets: HashSet::new(),
            sockets: Vec::new(),
            waiting: HashMap::new(),
            doubled: false,
            envelopes: 0,
            given: 0,
            buzzes: 0,
            number: 0,
            resting: None,
            early: 0,
        }
    }

    fn next(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    /// The time of a new message: rising, and near the clock's.
    fn ts(&mut self) -> String {
        let number = self.next();
        format!("{}.{number:06}", Timestamp::now().as_second())
    }

    fn open(&self) -> impl Iterator<Item = &Socket> {
        self.sockets.iter().filter(|socket| !socket.send.is_closed())
    }

    fn take(&mut self, socket: SocketAddr, request: &Request) -> Answered {
        let Some((arguments, scope)) = known(&request.method) else {
            return refused("unknown_method");
        };
        let unknown: Vec<_> =
            request.arguments.keys().filter(|key| !arguments.contains(&key.as_str())).collect();
        if !unknown.is_empty() {
            return wrong("invalid_arguments", &[format!("no such arguments: {unknown:?}")]);
        }
        let expected = match request.method.as_str() {
            "apps.connections.open" => Some(APP_TOKEN),
            "webhook" => None,
            _ => Some(BOT_TOKEN),
        };
        match (&request.token, expected) {
            (Some(given), Some(expected)) if given == expected => {}
            (None, None) => {}
            (None, Some(_)) => return refused("not_authed"),
            (Some(given), Some(_)) if given == BOT_TOKEN || given == APP_TOKEN => {
                return refused("not_allowed_token_type");
            }
            _ => return refused("invalid_auth"),
        }
        if let Some(scope) = scope.filter(|scope| !self.scopes.contains(scope)) {
            let provided = self.scopes.iter().copied().collect::<Vec<_>>().join(",");
            return Err(json!({
                "ok": false, "error": "missing_scope", "needed": scope, "provided": provided,
            }));
        }
        let arguments = &request.arguments;
        let text = |key: &str| arguments.get(key).and_then(Value::as_str).unwrap_or_default();
        match request.method.as_str() {
            "auth.test" => Ok(json!({
                "url": "https://acme.slack.com/", "team": "acme", "user": "ao", "team_id": TEAM, "user_id": BOT,
                "bot_id": "B0AO00001", "is_enterprise_install": false,
            })),
            "apps.connections.open" => {
                let ticket = format!("hush-{}", self.next());
                self.tickets.insert(ticket.clone());
                Ok(json!({"url": format!("ws://{socket}/link?ticket={ticket}")}))
            }
            "chat.postMessage" => self.post(arguments),
            "webhook" => {
                let mut arguments = arguments.clone();
                arguments.insert("channel".to_owned(), CHANNEL.into());
                self.post(&arguments)
            }
            "chat.update" => self.update(arguments),
            "chat.postEphemeral" => self.whisper(arguments),
            "conversations.history" => self.history(arguments, None),
            "conversations.replies" => self.history(arguments, Some(text("ts"))),
            "conversations.list" => {
                let all = channels().into_iter().filter(|(.., archived)| !archived);
                let all: Vec<_> = all
                    .map(|(id, name, member, _)| json!({"id": id, "name": name, "is_member": member}))
                    .collect();
                Ok(json!({"channels": all, "response_metadata": {"next_cursor": ""}}))
            }
            "conversations.info" => {
                match channels().into_iter().find(|(id, ..)| *id == text("channel")) {
                    Some((id, name, member, archived)) => Ok(json!({
                        "channel": {"id": id, "name": name, "is_member": member, "is_archived": archived},
                    })),
                    None => refused("channel_not_found"),
                }
            }
            "users.info" => match person(text("user")) {
                Some((name, display, real, team)) => Ok(json!({"user": {
                    "id": text("user"), "team_id": team, "name": name,
                    "profile": {"display_name": display, "real_name": real},
                }})),
                None => refused("user_not_found"),
            },
            "views.open" => self.open_view(arguments),
            _ => refused("unknown_method"),
        }
    }

    /// The id of a channel that can be posted to.
    fn channel(&self, named: &str, by_name: bool) -> Result<&'static str, Value> {
        let error = |code: &str| json!({"ok": false, "error": code});
        let name = named.trim_start_matches('#');
        let found = channels()
            .into_iter()
            .find(|(id, known, ..)| *id == named || (by_name && *known == name));
        match found {
            None => Err(error("channel_not_found")),
            Some((.., true)) => Err(error("is_archived")),
            Some((_, _, false, _)) => Err(error("not_in_channel")),
            Some((id, ..)) => Ok(id),
        }
    }

    fn sound(arguments: &Map<String, Value>) -> Answered {
        let text = arguments.get("text").and_then(Value::as_str).unwrap_or_default();
        let blocks = arguments.get("blocks").unwrap_or(&Value::Null);
        if text.is_empty() && blocks.is_null() {
            return refused("no_text");
        }
        if blocks::units(text) > 40_000 {
            return refused("msg_too_long");
        }
        let problems = if blocks.is_null() { Vec::new() } else { blocks::message(blocks) };
        if !problems.is_empty() {
            return wrong("invalid_blocks", &problems);
        }
        match arguments.get("metadata") {
            None => Ok(Value::Null),
            Some(metadata) => metadata_problem(metadata).map_or(Ok(Value::Null), refused),
        }
    }

    fn post(&mut self, arguments: &Map<String, Value>) -> Answered {
        let text = |key: &str| arguments.get(key).and_then(Value::as_str).unwrap_or_default();
        let channel = self.channel(text("channel"), true)?;
        Self::sound(arguments)?;
        let thread = (!text("thread_ts").is_empty()).then(|| text("thread_ts").to_owned());
        if thread
            .as_ref()
            .is_some_and(|root| self.messages.iter().all(|message| message.ts != *root))
        {
            return refused("thread_not_found");
        }
        let ts = self.ts();
        let blocks = arguments.get("blocks").cloned().unwrap_or_default();
        let mut message = Message {
            channel: channel.to_owned(),
            ts: ts.clone(),
            thread,
            user: BOT.to_owned(),
            title: String::new(),
            fallback: String::new(),
            lines: Vec::new(),
            active: Vec::new(),
            blocks,
            metadata: arguments.get("metadata").cloned().unwrap_or_default(),
            edits: 0,
            at: Instant::now(),
        };
        message.draw(text("text"));
        self.buzzes += usize::from(message.active.iter().any(|one| one.starts_with('@')));
        self.messages.push(message);
        Ok(json!({"channel": channel, "ts": ts, "message": {"ts": ts, "user": BOT}}))
    }

    fn update(&mut self, arguments: &Map<String, Value>) -> Answered {
        let text = |key: &str| arguments.get(key).and_then(Value::as_str).unwrap_or_default();
        let channel = self.channel(text("channel"), false)?;
        Self::sound(arguments)?;
        let found =
            self.messages.iter_mut().find(|one| one.channel == channel && one.ts == text("ts"));
        let Some(message) = found else { return refused("message_not_found") };
        if message.user != BOT {
            return refused("cant_update_message");
        }
        message.blocks = arguments.get("blocks").cloned().unwrap_or_default();
        // Left out, it stays.
        if let Some(metadata) = arguments.get("metadata") {
            message.metadata = metadata.clone();
        }
        message.edits += 1;
        message.draw(text("text"));
        Ok(json!({"channel": channel, "ts": text("ts"), "text": text("text")}))
    }

    fn whisper(&mut self, arguments: &Map<String, Value>) -> Answered {
        let text = |key: &str| arguments.get(key).and_then(Value::as_str).unwrap_or_default();
        let channel = self.channel(text("channel"), false)?;
        Self::sound(arguments)?;
        if person(text("user")).is_none() {
            return refused("user_not_in_channel");
        }
        let blocks = arguments.get("blocks").cloned().unwrap_or_default();
        let mut drawn = blocks::draw(&blocks);
        if blocks.is_null() {
            let line = drawn.mrkdwn(text("text"));
            drawn.lines.push(line);
        }
        let (ts, url) = (self.ts(), self.next());
        self.ephemerals.push(Ephemeral {
            user: text("user").to_owned(),
            channel: channel.to_owned(),
            thread: arguments.get("thread_ts").and_then(Value::as_str).map(str::to_owned),
            ts: ts.clone(),
            lines: drawn.lines,
            blocks,
            url,
        });
        Ok(json!({"message_ts": ts}))
    }

    fn history(&self, arguments: &Map<String, Value>, root: Option<&str>) -> Answered {
        let text = |key: &str| arguments.get(key).and_then(Value::as_str).unwrap_or_default();
        let channel = match self.channel(text("channel"), false) {
            // What was said stays readable.
            Err(error) if error["error"] == "is_archived" => text("channel"),
            other => other?,
        };
        let number = |key: &str, other: f64| text(key).parse::<f64>().unwrap_or(other);
        let (oldest, latest) = (number("oldest", 0.0), number("latest", f64::MAX));
        let inclusive = text("inclusive") == "true";
        let within = |message: &&Message| {
            let at = message.ts.parse::<f64>().unwrap_or_default();
            message.channel == channel
                && match root {
                    Some(root) => message.ts == root || message.thread.as_deref() == Some(root),
                    None => message.thread.is_none(),
                }
                && (at > oldest && at < latest
                    || inclusive && (at - oldest).min(latest - at) == 0.0)
        };
        let all: Vec<_> = self.messages.iter().rev().filter(within).collect();
        let most = text("limit").parse::<usize>().unwrap_or(100).clamp(1, 999);
        let from = text("cursor").parse::<usize>().unwrap_or_default();
        let with_metadata = text("include_all_metadata") == "true";
        let page: Vec<_> =
            all.iter().skip(from).take(most).map(|message| message.json(with_metadata)).collect();
        let more = all.len() > from + most;
        let next = if more { (from + most).to_string() } else { String::new() };
        Ok(json!({"messages": page, "has_more": more, "response_metadata": {"next_cursor": next}}))
    }

    fn open_view(&mut self, arguments: &Map<String, Value>) -> Answered {
        let trigger = arguments.get("trigger_id").and_then(Value::as_str).unwrap_or_default();
        let view = arguments.get("view").cloned().unwrap_or_default();
        let problems = blocks::modal(&view);
        if !problems.is_empty() {
            return wrong("invalid_arguments", &problems);
        }
        let (user, at) = match self.triggers.remove(trigger) {
            Some(trigger) => trigger,
            None => return refused("invalid_trigger_id"),
        };
        if at.elapsed() > TRIGGER {
            return refused("expired_trigger_id");
        }
        let id = format!("V{:08}", self.next());
        self.modals.push(Modal { user, view, id: id.clone() });
        Ok(json!({"view": {"id": id}}))
    }

    fn press(&mut self, web: SocketAddr, user: &str, ts: &str, label: &str) -> Option<Value> {
        let ephemeral = self.ephemerals.iter().find(|one| one.ts == ts).cloned();
        let message = self.messages.iter().find(|message| message.ts == ts).cloned();
        let (blocks, channel, thread) = match (&ephemeral, &message) {
            (Some(one), _) => (&one.blocks, &one.channel, &one.thread),
            (None, Some(message)) => (&message.blocks, &message.channel, &message.thread),
            (None, None) => return None,
        };
        let rows = blocks.as_array()?.iter().filter(|block| block["type"] == "actions");
        let elements = rows.flat_map(|row| row["elements"].as_array().into_iter().flatten());
        let action = elements.into_iter().find_map(|element| {
            let mut action = json!({
                "type": element["type"], "action_id": element["action_id"], "block_id": "b",
            });
            if element["text"]["text"] == label {
                action["text"] = element["text"].clone();
                if let Some(value) = element.get("value") {
                    action["value"] = value.clone();
                }
                return Some(action);
            }
            let options = element["options"].as_array()?;
            action["selected_option"] =
                options.iter().find(|option| option["text"]["text"] == label)?.clone();
            Some(action)
        });
        let mut action = action?;
        action["action_ts"] = self.ts().into();
        let trigger = format!("trigger-{}", self.next());
        self.triggers.insert(trigger.clone(), (user.to_owned(), Instant::now()));
        let (name, .., team) = person(user)?;
        let mut payload = json!({
            "type": "block_actions", "api_app_id": "A0AO00001", "token": "deprecated",
            "user": {"id": user, "username": name, "name": name, "team_id": team},
            "team": {"id": TEAM, "domain": "acme"}, "enterprise": null, "is_enterprise_install": false,
            "container": {
                "type": "message", "message_ts": ts, "channel_id": channel, "is_ephemeral": ephemeral.is_some(),
            },
            "channel": {"id": channel, "name": "agents"}, "trigger_id": trigger, "state": {"values": {}},
            "response_url": format!("http://{web}/response/{}", ephemeral.as_ref().map_or(0, |one| one.url)),
            "actions": [action],
        });
        if let Some(thread) = thread {
            payload["container"]["thread_ts"] = thread.as_str().into();
        }
        // An ephemeral message is not sent along, and the payload of metadata is left out.
        if let (None, Some(message)) = (ephemeral, &message) {
            payload["message"] = message.json(false);
            payload["message"]["metadata"] =
                json!({"event_type": message.metadata["event_type"], "event_payload": {}});
        }
        Some(payload)
    }

    fn submission(
        &mut self,
        user: &str,
        choice: Option<usize>,
        words: &str,
    ) -> Option<(String, Value)> {
        let modal = self.modals.iter().rev().find(|modal| modal.user == user)?.clone();
        let mut values = Map::new();
        for block in
            modal.view["blocks"].as_array()?.iter().filter(|block| block["type"] == "input")
        {
            let element = &block["element"];
            let (input, filled) = match element["type"].as_str()? {
                "radio_buttons" => {
                    let chosen = choice.and_then(|at| element["options"].get(at)).cloned();
                    (json!({"type": "radio_buttons", "selected_option": chosen}), chosen.is_some())
                }
                kind => {
                    let value = if words.is_empty() { Value::Null } else { words.into() };
                    (json!({"type": kind, "value": value}), !words.is_empty())
                }
            };
            if !filled && block["optional"] != true {
                return None;
            }
            let action = element["action_id"].as_str()?.to_owned();
            values.insert(block["block_id"].as_str()?.to_owned(), json!({action: input}));
        }
        let mut view = modal.view.clone();
        view["id"] = modal.id.clone().into();
        view["team_id"] = TEAM.into();
        view["hash"] = format!("{}.hash", modal.id).into();
        view["state"] = json!({"values": values});
        let (name, .., team) = person(user)?;
        let payload = json!({
            "type": "view_submission", "api_app_id": "A0AO00001", "token": "deprecated",
            "team": {"id": TEAM, "domain": "acme"}, "trigger_id": "none", "view": view,
            "user": {"id": user, "username": name, "name": name, "team_id": team}, "response_urls": [],
        });
        Some((modal.id, payload))
    }

    fn reply(&mut self, user: &str, root: &str, text: &str, more: Value) -> Value {
        let ts = self.ts();
        let parent = self.messages.iter().find(|message| message.ts == root).cloned();
        let (by, channel) =
            parent.map_or((String::new(), CHANNEL.to_owned()), |one| (one.user, one.channel));
        let mut message = Message {
            channel: channel.clone(),
            ts: ts.clone(),
            thread: Some(root.to_owned()),
            user: user.to_owned(),
            title: String::new(),
            fallback: String::new(),
            lines: Vec::new(),
            active: Vec::new(),
            blocks: Value::Null,
            metadata: Value::Null,
            edits: 0,
            at: Instant::now(),
        };
        message.draw(text);
        self.messages.push(message);
        let team = person(user).map_or(TEAM, |(.., team)| team);
        let mut event = json!({
            "type": "message", "user": user, "ts": ts, "text": text, "team": team, "thread_ts": root,
            "parent_user_id": by, "channel": channel, "event_ts": ts, "channel_type": "channel",
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            event[key] = value.clone();
        }
        json!({
            "type": "event_callback", "team_id": TEAM, "api_app_id": "A0AO00001", "event": event,
            "event_id": format!("Ev{:08}", self.next()), "event_time": Timestamp::now().as_second(),
        })
    }
}

impl Message {
    fn draw(&mut self, text: &str) {
        let mut drawn = blocks::draw(&self.blocks);
        self.fallback = drawn.mrkdwn(text);
        if self.blocks.is_null() {
            drawn.lines.push(self.fallback.clone());
        }
        (self.title, self.lines, self.active) = (drawn.title, drawn.lines, drawn.active);
    }

    fn json(&self, with_metadata: bool) -> Value {
        let mut json = json!({
            "type": "message", "user": self.user, "ts": self.ts, "text": self.fallback, "team": TEAM,
        });
        if self.user == BOT {
            json["bot_id"] = "B0AO00001".into();
        }
        if !self.blocks.is_null() {
            json["blocks"] = self.blocks.clone();
        }
        if let Some(thread) = &self.thread {
            json["thread_ts"] = thread.as_str().into();
        }
        if with_metadata && !self.metadata.is_null() {
            json["metadata"] = self.metadata.clone();
        }
        json
    }
}

/// Name, display name, real name, workspace.
fn person(id: &str) -> Option<(&'static str, &'static str, &'static str, &'static str)> {
    match id {
        ANA => Some(("ana.a", "ana", "Ana Alves", TEAM)),
        BEN => Some(("ben.b", "", "Ben Braun", TEAM)),
        EVE => Some(("eve", "eve", "Eve", "T0OTHER01")),
        _ => None,
    }
}
