//! Socket Mode: Slack's requests over WebSockets that `ao` opens, so that no public address is needed
//! (<https://docs.slack.dev/apis/events-api/using-socket-mode>).
//!
//! Two connections stay open. Slack ends each every few hours and says so before; the next is opened while the old one
//! is still read. What is not acknowledged within 3 s, or whose connection ends before, comes again on another.
//! slack-morphism's own listener is not used: it keeps a request's id to itself, waits without limit for a connection,
//! and writes the address with its one-time ticket into the log.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use ao_slots::{ErrorKind, PluginError};
use futures_util::{SinkExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{net::TcpStream, task::JoinSet};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async_with_config,
    tungstenite::{Message, protocol::WebSocketConfig},
};
use url::Url;

use crate::{
    App,
    api::Me,
    incoming::{ANSWER, Reply},
    settings::is_loopback,
};

/// Connections that are kept open, so that one goes on while the other is replaced.
const CONNECTIONS: usize = 2;
/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);
/// How often a connection is tried for life, and after how long without any sign it is dead.
const PING: Duration = Duration::from_secs(15);
const DEAD: Duration = Duration::from_secs(45);
/// How long a connection that Slack will end is read on.
const OLD: Duration = Duration::from_secs(60);
/// The pauses between attempts that fail, and after connections that end before they were good for anything.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));
/// The pause where no repetition helps before somebody has changed something.
const HOPELESS: Duration = Duration::from_secs(60);
/// Largest frame that is read, in bytes.
const FRAME: usize = 1 << 20;

type Stream = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A connection, and the acknowledgements that wait until what came is recorded. With it they end: Slack sends again
/// what it got none for.
#[derive(Debug)]
struct Line {
    stream: Stream,
    due: FuturesUnordered<BoxFuture<'static, Option<Message>>>,
}

/// Why a connection is not read any more.
#[derive(Debug)]
enum End {
    /// Slack will end it: the next one is due.
    Replace(Box<Line>),
    /// It is gone.
    Gone,
    /// Slack has too many of ours, or Socket Mode is off.
    Unwanted(String),
}

/// Starts the connections; they end with the set.
pub(crate) fn start(app: &Arc<App>) -> JoinSet<()> {
    let mut set = JoinSet::new();
    for _ in 0..CONNECTIONS {
        set.spawn(keep(app.clone()));
    }
    set
}

/// How long the next attempt waits.
#[derive(Debug)]
pub(crate) struct Pause(Duration);

impl Pause {
    pub(crate) fn new() -> Self {
        Self(PAUSES.0)
    }

    /// This time's, the next is twice as long.
    pub(crate) fn next(&mut self) -> Duration {
        let longer = (self.0 * 2).min(PAUSES.1);
        std::mem::replace(&mut self.0, longer)
    }
}

/// Keeps one connection open.
async fn keep(app: Arc<App>) {
    let mut old = JoinSet::new();
    let mut pause = Pause::new();
    loop {
        while old.try_join_next().is_some() {}
        let failure = match connect(&app).await {
            Ok((me, line)) => {
                let (end, proved) = read(&app, &me, line).await;
                // A handshake alone proves nothing: Slack may end the connection right after.
                if proved {
                    pause = Pause::new();
                    app.unreachable.store(false, Ordering::Relaxed);
                }
                match end {
                    End::Replace(line) => {
                        let app = app.clone();
                        old.spawn(async move {
                            let _ = tokio::time::timeout(OLD, read_on(&app, &me, *line)).await;
                        });
                        if proved {
                            continue;
                        }
                        None
                    }
                    End::Gone => None,
                    End::Unwanted(reason) => {
                        Some(PluginError::transient("Slack ended Socket Mode", reason).with_remedy(
                            "turn Socket Mode on in the app's settings, and run one server an app",
                        ))
                    }
                }
            }
            Err(error) => Some(error),
        };
        let wait = match &failure {
            Some(failure) if !failure.is_transient() && failure.kind != ErrorKind::InDoubt => {
                HOPELESS
            }
            Some(PluginError { retry_after_ms: Some(wait), .. }) => Duration::from_millis(*wait),
            _ => pause.next(),
        };
        // Once an outage, and only where nothing is heard at all.
        if let Some(failure) = failure
            && app.open.load(Ordering::Relaxed) == 0
            && !app.unreachable.swap(true, Ordering::Relaxed)
        {
            let _ = app.out.try_send(Err(failure));
        }
        tokio::time::sleep(wait).await;
    }
}

async fn connect(app: &App) -> Result<(Me, Line), PluginError> {
    let me = app.me(CONNECT).await?.clone();
    let address = app.api.open_socket(CONNECT).await?;
    let failed = |cause: String| PluginError::transient("Socket Mode cannot be opened", cause);
    let url =
        Url::parse(address.reveal()).map_err(|_| failed("Slack gave no address".to_owned()))?;
    if url.scheme() != "wss" && !(url.scheme() == "ws" && is_loopback(&url)) {
        return Err(failed("Slack gave an address that others can read".to_owned()));
    }
    let config =
        WebSocketConfig::default().max_message_size(Some(FRAME)).max_frame_size(Some(FRAME));
    let opening = connect_async_with_config(url.as_str(), Some(config), true);
    match tokio::time::timeout(CONNECT, opening).await {
        Ok(Ok((stream, _))) => Ok((me, Line { stream, due: FuturesUnordered::new() })),
        // The error may name the address, which holds a ticket.
        Ok(Err(_)) => Err(failed("the connection was refused".to_owned())),
        Err(_) => Err(failed(format!("nothing in {} s", CONNECT.as_secs()))),
    }
}

/// Reads a connection that Slack will end, to its end.
async fn read_on(app: &Arc<App>, me: &Me, mut line: Line) {
    while let (End::Replace(same), _) = read(app, me, line).await {
        line = *same;
    }
}

#[derive(Deserialize)]
struct Envelope {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    envelope_id: Option<String>,
    #[serde(default)]
    payload: Value,
    #[serde(default)]
    accepts_response_payload: bool,
    #[serde(default)]
    reason: String,
}

/// Counts an open connection.
struct Open<'a>(&'a App);

impl<'a> Open<'a> {
    fn new(app: &'a App) -> Self {
        app.open.fetch_add(1, Ordering::Relaxed);
        Self(app)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Reads a connection: why it ended, and whether it was good for something: it lived, or brought anything.
async fn read(app: &Arc<App>, me: &Me, line: Line) -> (End, bool) {
    let _open = Open::new(app);
    let begun = tokio::time::Instant::now();
    let mut brought = false;
    let end = listen(app, me, line, &mut brought).await;
    (end, brought || begun.elapsed() >= PING)
}

async fn listen(app: &Arc<App>, me: &Me, mut line: Line, brought: &mut bool) -> End {
    let mut ping = tokio::time::interval(PING);
    let mut heard = tokio::time::Instant::now();
    loop {
        let message = tokio::select! {
            message = line.stream.next() => message,
            Some(due) = line.due.next() => {
                let Some(acknowledged) = due else { continue };
                *brought = true;
                if !written(&mut line.stream, acknowledged).await {
                    return End::Gone;
                }
                continue;
            }
            _ = ping.tick() => {
                let ping = Message::Ping(Vec::new().into());
                if heard.elapsed() > DEAD || !written(&mut line.stream, ping).await {
                    return End::Gone;
                }
                continue;
            }
        };
        heard = tokio::time::Instant::now();
        let text = match message {
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(Message::Close(_)) | Err(_)) | None => return End::Gone,
            Some(Ok(_)) => continue,
        };
        let Ok(envelope) = serde_json::from_str::<Envelope>(&text) else { continue };
        let taken = match envelope.kind.as_str() {
            "disconnect" => match envelope.reason.as_str() {
                "too_many_websockets" | "link_disabled" => return End::Unwanted(envelope.reason),
                _ => return End::Replace(Box::new(line)),
            },
            "interactive" => app.interaction(me, envelope.payload),
            "events_api" => app.event(me, envelope.payload),
            // `hello`, and what is not asked for.
            _ => Ok(Reply::default()),
        };
        let (Some(id), Ok(reply)) = (envelope.envelope_id, taken) else { continue };
        let (by, accepts) = (heard + ANSWER, envelope.accepts_response_payload);
        line.due.push(Box::pin(async move {
            let acknowledged = match reply.answer(by).await.ok()?.filter(|_| accepts) {
                Some(payload) => json!({"envelope_id": id, "payload": payload}),
                None => json!({"envelope_id": id}),
            };
            Some(Message::text(acknowledged.to_string()))
        }));
    }
}

async fn written(stream: &mut Stream, message: Message) -> bool {
    matches!(tokio::time::timeout(CONNECT, stream.send(message)).await, Ok(Ok(())))
}
