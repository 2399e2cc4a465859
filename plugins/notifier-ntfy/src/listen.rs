//! Reads the presses from the reply topic.
//!
//! The server keeps them for some hours (12 where it is not told otherwise), so what was pressed while `ao` was away
//! is read when it is back. How far it has read is not kept on this machine: a bookmark on the same topic says it, for
//! as long as the server keeps what it is about. A bookmark comes some seconds after its press was handed on, so that
//! a server that is killed in between reads the press again rather than never; its token does nothing twice.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use ao_slots::{Call, PluginError, call::back_off};
use reqwest::{Method, Response};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, timeout},
};

use crate::server::{Event, Server};

/// Begins a bookmark; a token has no spaces.
const BOOKMARK: &str = "ao read ";
/// How far back a look goes that knows of no message yet; tokens are worth no more than that.
const BACK: &str = "24h";
/// When a bookmark follows its press.
const BOOKMARK_AFTER: Duration = Duration::from_secs(5);
/// A server says every 45 s that it is there (`keepalive-interval`); proxies and other settings get some more.
const SILENCE: Duration = Duration::from_secs(180);
/// A stream that brings nothing and does not stand so long is none.
const STANDS: Duration = Duration::from_secs(30);
/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Most bytes of a line; what is longer is no press.
const LINE: usize = 32 * 1024;
/// Most bytes of what was missed.
const MISSED: usize = 4 * 1024 * 1024;
/// How many messages are known again.
const KNOWN: usize = 2048;
/// Most presses of one minute, and most that were missed: no human does more, and whoever has found the topic shall not
/// drown the others.
const MOST: usize = 60;

/// What keeps presses from coming, for whoever asks.
#[derive(Debug, Default)]
pub(crate) struct Trouble(Mutex<BTreeMap<With, PluginError>>);

/// With what there is trouble, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum With {
    Listening,
    Flood,
    Bookmark,
}

impl Trouble {
    /// The worst there is now.
    pub(crate) fn worst(&self) -> Option<PluginError> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.values().next().cloned()
    }

    /// What came of it the last time; `so` says what follows from the failure.
    fn tell(&self, with: With, so: &str, failure: Option<PluginError>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match failure {
            Some(error) => {
                let what = format!("{so}: {}", error.what);
                all.insert(with, PluginError { what, ..error });
            }
            None => drop(all.remove(&with)),
        }
    }

    fn listening(&self, failure: Option<PluginError>) {
        self.tell(With::Listening, "no button works", failure);
    }
}

/// Listens until nobody wants to hear of it any more. `presses` gets what has the shape of a token.
pub(crate) async fn listen(
    server: Arc<Server>,
    reply: String,
    presses: mpsc::Sender<String>,
    trouble: Arc<Trouble>,
) {
    let (last, bookmarked) = watch::channel(None);
    let reader = Reader {
        server: server.clone(),
        reply: reply.clone(),
        presses,
        trouble: trouble.clone(),
        known: VecDeque::new(),
        minute: (0, 0),
        last,
        caught_up: false,
    };
    // Both end when nobody wants to hear of presses: the reader has the other end of the bookmarks.
    tokio::join!(reader.run(), bookmark(&server, &reply, bookmarked, &trouble));
}

/// Writes a bookmark some seconds after the last press was handed on. Without it, what was read is read again after a
/// restart: its tokens are used by then. Presses come in meanwhile, and during a rest nothing is written.
async fn bookmark(
    server: &Server,
    reply: &str,
    mut last: watch::Receiver<Option<String>>,
    trouble: &Trouble,
) {
    let mut failures = 0;
    while last.changed().await.is_ok() {
        sleep(BOOKMARK_AFTER.max(server.resting())).await;
        let Some(id) = last.borrow_and_update().clone() else { continue };
        let call = Call::new("bookmark", PATIENCE);
        let noted = server.note(&call, reply, format!("{BOOKMARK}{id}")).await;
        failures = if noted.is_ok() { 0 } else { failures + 1 };
        let so = "what was pressed is read again after a restart";
        trouble.tell(With::Bookmark, so, noted.as_ref().err().cloned());
        if let Err(error) = &noted {
            sleep(rest(error, failures)).await;
            if error.is_transient() {
                last.mark_changed();
            }
        }
    }
}

/// How long to rest after that many failures in a row.
fn rest(error: &PluginError, failures: u32) -> Duration {
    let told = error.retry_after_ms.map(Duration::from_millis);
    // What is refused is refused again, and a server counts that.
    let most = if error.is_transient() { 60 } else { 600 };
    let own = Duration::from_secs(back_off(2, failures, most));
    told.unwrap_or_default().max(own)
}

struct Reader {
    server: Arc<Server>,
    reply: String,
    presses: mpsc::Sender<String>,
    trouble: Arc<Trouble>,
    /// The ids of the last messages: a server that has forgotten the last one tells all it has.
    known: VecDeque<String>,
    /// Since when presses are counted, in seconds by the server's clock, and how many there were.
    minute: (u64, usize),
    /// The last press that was handed on.
    last: watch::Sender<Option<String>>,
    caught_up: bool,
}

impl Reader {
    async fn run(mut self) {
        let mut failures = 0;
        while !self.presses.is_closed() {
            let tried = self.connect().await;
            // A connection that stood is begun anew soon; one that cannot be made ever more slowly.
            failures = if tried.is_ok() { 0 } else { failures + 1 };
            let wait = tried.as_ref().err().map_or(Duration::from_secs(1), |e| rest(e, failures));
            self.trouble.listening(tried.err());
            tokio::select! {
                () = sleep(wait) => {}
                () = self.presses.closed() => {}
            }
        }
    }

    /// Listens for as long as the connection stands; fails if none can be made, or none that stands.
    async fn connect(&mut self) -> Result<(), PluginError> {
        if !self.caught_up {
            self.catch_up().await?;
            self.caught_up = true;
        }
        let since = self.known.back().map_or(BACK, String::as_str);
        let path = format!("{}/json?since={since}", self.reply);
        let mut stream = self.open(&path).await?;
        let (began, mut brought) = (Instant::now(), false);
        self.trouble.listening(None);
        let mut lines = Lines::default();
        loop {
            let chunk = tokio::select! {
                // Cancel safe: a piece is either taken and looked at below, or still in the connection.
                chunk = timeout(SILENCE, stream.chunk()) => chunk,
                () = self.presses.closed() => return Ok(()),
            };
            let Ok(Ok(Some(chunk))) = chunk else { break };
            for event in lines.push(&chunk) {
                brought |= event.event == "message";
                self.take(event).await;
            }
        }
        if brought || began.elapsed() >= STANDS {
            return Ok(());
        }
        let what = format!("{} ended the subscription as soon as it began", self.server.whom());
        Err(PluginError::transient(what, "something in between may not let streams through"))
    }

    async fn open(&self, path: &str) -> Result<Response, PluginError> {
        let whom = self.server.whom();
        let opening = self.server.accepted(self.server.request(Method::GET, path));
        let late =
            |_| PluginError::transient(format!("{whom} does not answer"), "no answer in time");
        timeout(PATIENCE, opening).await.map_err(late)?
    }

    /// Reads what was pressed while nobody listened: what lies behind the last bookmark.
    async fn catch_up(&mut self) -> Result<(), PluginError> {
        let missed = read(&self.server, &self.reply, BACK).await?;
        let read = missed.iter().rev().find_map(|e| e.message.strip_prefix(BOOKMARK));
        let read = read.and_then(|id| missed.iter().position(|event| event.id == id));
        let from = read.map_or(0, |at| at + 1);
        let mut presses = vec![];
        for (at, event) in missed.into_iter().enumerate() {
            if at < from {
                self.know(&event.id);
            } else if self.is_press(&event) {
                presses.push(event);
            }
        }
        // A server that is killed again and again writes no bookmark: the first of many were read before.
        for event in presses.split_off(presses.len().saturating_sub(MOST)) {
            self.hand_on(event).await;
        }
        Ok(())
    }

    async fn take(&mut self, event: Event) {
        if self.is_press(&event) {
            self.hand_on(event).await;
        }
    }

    async fn hand_on(&mut self, event: Event) {
        if self.presses.send(event.message).await.is_ok() {
            self.last.send_replace(Some(event.id));
        }
    }

    /// Whether it is a press that is new, and not one of too many. They count in the minute in which they were pressed:
    /// what is read late, or again after a restart, leaves room for those of now.
    fn is_press(&mut self, event: &Event) -> bool {
        if event.event != "message" || !self.know(&event.id) || !is_token(&event.message) {
            return false;
        }
        let (since, count) = &mut self.minute;
        if event.time.abs_diff(*since) >= 60 {
            (*since, *count) = (event.time, 0);
            self.trouble.tell(With::Flood, "", None);
        }
        *count += 1;
        if *count > MOST {
            let cause = format!("more than {MOST} came within a minute");
            let error = PluginError::transient("somebody else writes to the reply topic", cause)
                .with_remedy("make new topics: ao notify setup ntfy");
            self.trouble.tell(With::Flood, "presses were dropped", Some(error));
        }
        *count <= MOST
    }

    /// Whether a message is new; from now on it is not.
    fn know(&mut self, id: &str) -> bool {
        if self.known.iter().any(|known| known == id) {
            return false;
        }
        if self.known.len() == KNOWN {
            self.known.pop_front();
        }
        self.known.push_back(id.to_owned());
        true
    }
}

/// What a topic has kept since then, oldest first.
pub(crate) async fn read(
    server: &Server,
    topic: &str,
    since: &str,
) -> Result<Vec<Event>, PluginError> {
    let path = format!("{topic}/json?poll=1&since={since}");
    let reading = async {
        let mut answer = server.accepted(server.request(Method::GET, &path)).await?;
        let (mut lines, mut events, mut bytes) = (Lines::default(), Vec::new(), 0);
        while bytes < MISSED {
            let chunk = answer.chunk().await;
            let Some(chunk) = chunk.map_err(|error| {
                PluginError::transient(
                    format!("{} broke off", server.whom()),
                    ao_sdk::http::chain(&error),
                )
            })?
            else {
                break;
            };
            bytes += chunk.len();
            events.extend(lines.push(&chunk));
        }
        Ok(events)
    };
    let late = |_| {
        PluginError::transient(format!("{} does not answer", server.whom()), "no answer in time")
    };
    timeout(PATIENCE, reading).await.map_err(late)?
}

/// The shape of a button's token; anything else on the topic is not ours.
fn is_token(text: &str) -> bool {
    (1..=40).contains(&text.len())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
}

/// Makes events of pieces. A line that is too long or no event is left out.
#[derive(Debug, Default)]
struct Lines {
    line: Vec<u8>,
    too_long: bool,
}

impl Lines {
    fn push(&mut self, mut chunk: &[u8]) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(end) = chunk.iter().position(|byte| *byte == b'\n') {
            self.add(&chunk[..end]);
            if !std::mem::take(&mut self.too_long) {
                events.extend(serde_json::from_slice(&self.line).ok());
            }
            self.line.clear();
            chunk = &chunk[end + 1..];
        }
        self.add(chunk);
        events
    }

    fn add(&mut self, piece: &[u8]) {
        self.too_long |= self.line.len() + piece.len() > LINE;
        if !self.too_long {
            self.line.extend_from_slice(piece);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_in_any_pieces_and_garbage_is_left_out() {
        let long = format!(r#"{{"id":"x","event":"message","message":"{}"}}"#, "a".repeat(LINE));
        let text = format!(
            "{}\nnot json\n\n[]\n{{\"id\":1}}\n{long}\n{}\n",
            r#"{"id":"a","event":"open","topic":"t","time":1}"#,
            r#"{"id":"b","event":"message","message":"one","more":{"x":1}}"#,
        );
        for size in [1, 7, 1000, text.len()] {
            let mut lines = Lines::default();
            let events: Vec<Event> =
                text.as_bytes().chunks(size).flat_map(|chunk| lines.push(chunk)).collect();
            let ids: Vec<&str> = events.iter().map(|event| event.id.as_str()).collect();
            assert_eq!(ids, ["a", "b"], "{size}");
            assert!(lines.line.capacity() <= 2 * LINE, "{}", lines.line.capacity());
        }
    }

    #[test]
    fn only_what_has_the_shape_of_a_token_is_a_press() {
        for token in ["one", "A-b_9", &"x".repeat(40)] {
            assert!(is_token(token), "{token}");
        }
        for other in ["", "ao read Id01", "triggered!", "a b", "é", "<b>", &"x".repeat(41)] {
            assert!(!is_token(other), "{other}");
        }
    }

    #[test]
    fn a_rest_grows_to_its_cap_and_never_undercuts_what_was_asked_for() {
        let away = PluginError::transient("x", "y");
        let rests: Vec<u64> = [1, 2, 5, 30].map(|n| rest(&away, n).as_secs()).to_vec();
        assert_eq!(rests, [2, 4, 32, 60]);
        let asked = away.with_retry_after(Duration::from_secs(300));
        assert_eq!(rest(&asked, 1).as_secs(), 300);
        assert_eq!(rest(&PluginError::permanent("x", "y"), 30).as_secs(), 600);
    }
}
