//! One follower's stream. It holds a place and no queue: what it has not read yet lies in the hub and in the journal
//! alone, so that a follower which reads slowly, or never, costs what lies in its socket.

use std::{convert::Infallible, sync::Arc, time::Duration};

use ao_core::{server::Handle, slots::Seq};
use axum::{
    body::{Body, Bytes},
    http::{HeaderName, header},
    response::{IntoResponse, Response},
};
use tokio::sync::watch;

use super::hub::{Filter, Hub};

/// How long a follower hears nothing at most.
const ALIVE: Duration = Duration::from_secs(15);
/// Events that are read from the journal at once.
const PAGE: usize = 128;

/// Where a follower begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Begin {
    /// With what happens from now on.
    Now,
    /// Behind this event.
    After(Seq),
    /// It named a place that there is not.
    Nowhere,
}

/// What a follower asks for.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    pub(crate) begin: Begin,
    pub(crate) filter: Filter,
    /// How many events behind the newest it may begin. What may begin anywhere gets all that the journal holds, however
    /// slowly it reads.
    pub(crate) reach: u64,
}

/// A follower.
pub(crate) struct Follower<G> {
    hub: Arc<Hub>,
    handle: Handle,
    filter: Filter,
    /// Whether it may still follow; asked before anything is told.
    guard: G,
    tip: watch::Receiver<Seq>,
    closing: watch::Receiver<bool>,
    /// What it hears first.
    first: Option<Bytes>,
    /// All up to here was told, or is not for it.
    last: Seq,
    /// How far back the journal is read for it.
    patience: u64,
    /// The same once it has caught up: then it has to keep up with the hub.
    later: u64,
}

impl<G: Fn() -> bool + Send + 'static> Follower<G> {
    pub(crate) fn new(
        hub: Arc<Hub>,
        handle: Handle,
        closing: watch::Receiver<bool>,
        wish: Wish,
        guard: G,
    ) -> Self {
        let tip = hub.tip();
        let (shown, newest) = (*tip.borrow(), handle.state().last_seq);
        let begin = match wish.begin {
            Begin::Now => Some(shown),
            Begin::After(seq) if seq <= newest => Some(seq),
            Begin::After(_) | Begin::Nowhere => None,
        };
        let mut follower = Self {
            last: begin.unwrap_or(shown),
            first: None,
            filter: wish.filter,
            hub,
            handle,
            guard,
            tip,
            closing,
            patience: wish.reach,
            later: if wish.reach == u64::MAX { u64::MAX } else { 0 },
        };
        let hello = match wish.begin {
            // It knows its place.
            Begin::After(seq) if begin.is_some() => format!("event: alive\ndata: {seq}\n\n").into(),
            Begin::Now => follower.alive(),
            Begin::After(_) | Begin::Nowhere => follower.anew(),
        };
        follower.first = Some([b"retry: 1000\n".as_slice(), &hello].concat().into());
        follower
    }

    pub(crate) fn into_response(self) -> Response {
        let pieces = futures_util::stream::unfold(self, |mut follower| async move {
            let piece = follower.next().await?;
            Some((Ok::<_, Infallible>(piece), follower))
        });
        let headers = [
            (header::CONTENT_TYPE, "text/event-stream"),
            // Neither kept nor gathered on the way.
            (header::CACHE_CONTROL, "no-cache, no-transform"),
            (HeaderName::from_static("x-accel-buffering"), "no"),
        ];
        (headers, Body::from_stream(pieces)).into_response()
    }

    /// The next piece; none where it is over.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        loop {
            let tip = *self.tip.borrow_and_update();
            if *self.closing.borrow() || !(self.guard)() {
                return None;
            }
            while self.last < tip {
                let piece = match self.hub.after(self.last, tip, &self.filter) {
                    Some((piece, last)) => {
                        self.patience = self.later;
                        self.last = last;
                        piece
                    }
                    None => self.stored(tip).await?,
                };
                if !piece.is_empty() {
                    return Some(piece.into());
                }
            }
            tokio::select! {
                changed = self.tip.changed() => changed.ok()?,
                closing = self.closing.changed() => closing.ok()?,
                () = tokio::time::sleep(ALIVE) => return (self.guard)().then(|| self.alive()),
            }
        }
    }

    /// The next events as the journal holds them; where that has a hole, or it is too far back, the follower is told to
    /// begin anew. None: one that is to miss nothing asks again from where it is.
    async fn stored(&mut self, tip: Seq) -> Option<Vec<u8>> {
        if tip.0 - self.last.0 > self.patience {
            return Some(self.anew().into());
        }
        let is_replayed = self.later > 0;
        let page = match self.handle.events(self.last, PAGE).await {
            Ok(page) => page,
            Err(refusal) => {
                tracing::warn!(%refusal, "events could not be read for a follower");
                return (!is_replayed).then(|| self.anew().into());
            }
        };
        let whole = page.first().is_some_and(|event| event.seq.0 == self.last.0 + 1);
        let Some(newest) = page.last().filter(|_| whole || is_replayed) else {
            return (!is_replayed).then(|| self.anew().into());
        };
        self.last = newest.seq;
        let wanted = page.iter().filter(|event| self.filter.takes(event));
        Some(wanted.flat_map(|event| self.filter.message(event)).collect())
    }

    /// Says that the stream lives. Its id moves along with what is not for this follower, so that this need not be
    /// looked through again.
    pub(super) fn alive(&self) -> Bytes {
        format!("event: alive\nid: {0}\ndata: {0}\n\n", self.last).into()
    }

    /// Says that something may have been missed: from here on, nothing is.
    fn anew(&mut self) -> Bytes {
        self.last = *self.tip.borrow();
        format!("event: resync\nid: {0}\ndata: {0}\n\n", self.last).into()
    }
}
