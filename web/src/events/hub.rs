//! What all followers share: the newest events, each encoded once, whoever follows.

use std::{
    collections::VecDeque,
    sync::{Arc, OnceLock, PoisonError, RwLock},
    time::Duration,
};

use ao_core::{
    event::Event,
    server::Handle,
    slots::{ProjectId, Seq, SessionId},
};
use axum::body::Bytes;
use serde::Serialize;
use tokio::sync::{
    broadcast::{Receiver, error::RecvError},
    watch,
};

use super::Brief;
use crate::view::EventView;

/// Events that are kept at hand; of what is older the journal tells.
pub(super) const KEPT: usize = 4_096;
/// Followers are woken at most this often: what happens in between, each gets in one piece.
const TOGETHER: Duration = Duration::from_millis(20);
/// A piece for a follower ends with the event that reaches this many bytes.
const PIECE: usize = 64 * 1024;

/// Which events a follower wants, and how much of them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    pub(super) session: Option<SessionId>,
    pub(super) project: Option<ProjectId>,
    /// What moved and where, without the event's own data.
    pub(super) brief: bool,
}

impl Filter {
    pub(super) fn takes(&self, event: &Event) -> bool {
        self.session.as_ref().is_none_or(|id| event.session.as_ref() == Some(id))
            && self.project.as_ref().is_none_or(|id| event.project.as_ref() == Some(id))
    }

    /// An event as a message of the stream; its id is its place.
    pub(super) fn message(&self, event: &Event) -> Bytes {
        let view = EventView::of(event);
        if self.brief { written(event.seq, &Brief::of(view)) } else { written(event.seq, &view) }
    }
}

/// JSON has no line breaks of its own, so one line of data holds it.
fn written(seq: Seq, view: &impl Serialize) -> Bytes {
    let data = serde_json::to_string(view).unwrap_or_default();
    format!("id: {seq}\ndata: {data}\n\n").into()
}

/// The newest events, for all followers.
#[derive(Debug)]
pub(crate) struct Hub {
    ring: RwLock<Ring>,
    /// The newest event that followers may see.
    tip: watch::Sender<Seq>,
}

/// Events without a hole between them.
#[derive(Debug)]
struct Ring {
    first: Seq,
    frames: VecDeque<Frame>,
}

#[derive(Debug)]
struct Frame {
    event: Arc<Event>,
    full: OnceLock<Bytes>,
    brief: OnceLock<Bytes>,
}

impl Hub {
    /// Gathers what happens from now on, until the server closes or whoever owns the other end of `closing` is gone.
    pub(crate) fn start(handle: &Handle, mut closing: watch::Receiver<bool>) -> Arc<Self> {
        let live = handle.subscribe();
        let last = handle.state().last_seq;
        let ring = Ring { first: Seq(last.0 + 1), frames: VecDeque::new() };
        let hub = Arc::new(Self { ring: RwLock::new(ring), tip: watch::Sender::new(last) });
        let gathering = hub.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = gathering.gather(live) => {}
                _ = closing.wait_for(|closing| *closing) => {}
            }
        });
        hub
    }

    async fn gather(&self, mut live: Receiver<Arc<Event>>) {
        loop {
            let mut news = match live.recv().await {
                Ok(event) => vec![event],
                // What passed by leaves a hole, which the next event shows.
                Err(RecvError::Lagged(_)) => continue,
                Err(RecvError::Closed) => return,
            };
            while let Ok(event) = live.try_recv() {
                news.push(event);
            }
            self.show(news);
            tokio::time::sleep(TOGETHER).await;
        }
    }

    pub(super) fn show(&self, news: Vec<Arc<Event>>) {
        let mut ring = self.ring.write().unwrap_or_else(PoisonError::into_inner);
        news.into_iter().for_each(|event| ring.push(event));
        let tip = ring.first.0 + ring.frames.len() as u64 - 1;
        drop(ring);
        self.tip.send_replace(Seq(tip));
    }

    /// The newest event that followers may see, and word of each change.
    pub(super) fn tip(&self) -> watch::Receiver<Seq> {
        self.tip.subscribe()
    }

    /// What `filter` takes of the events behind `after` up to `tip`, and the last event that was looked at; none where
    /// that begins before what is kept here.
    pub(super) fn after(&self, after: Seq, tip: Seq, filter: &Filter) -> Option<(Vec<u8>, Seq)> {
        let ring = self.ring.read().unwrap_or_else(PoisonError::into_inner);
        let skipped = usize::try_from((after.0 + 1).checked_sub(ring.first.0)?).ok()?;
        let (mut piece, mut last) = (vec![], after);
        for frame in ring.frames.iter().skip(skipped).take_while(|frame| frame.event.seq <= tip) {
            if piece.len() >= PIECE {
                break;
            }
            last = frame.event.seq;
            if filter.takes(&frame.event) {
                let form = if filter.brief { &frame.brief } else { &frame.full };
                piece.extend_from_slice(form.get_or_init(|| filter.message(&frame.event)));
            }
        }
        Some((piece, last))
    }
}

impl Ring {
    fn push(&mut self, event: Arc<Event>) {
        let next = self.first.0 + self.frames.len() as u64;
        if event.seq.0 < next {
            return;
        }
        if event.seq.0 > next {
            self.frames.clear();
            self.first = event.seq;
        }
        self.frames.push_back(Frame { event, full: OnceLock::new(), brief: OnceLock::new() });
        if self.frames.len() > KEPT {
            self.frames.pop_front();
            self.first.0 += 1;
        }
    }
}
