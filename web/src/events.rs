//! Events for readers: a page of them, or the stream as it grows.

use std::{convert::Infallible, sync::Arc, time::Duration};

use ao_core::{
    event::Event,
    server::Handle,
    slots::{ProjectId, Seq, SessionId},
    why,
};
use axum::{
    Extension, Json,
    extract::{Query, State},
    http::HeaderMap,
    response::{
        IntoResponse, Response,
        sse::{self, KeepAlive, Sse},
    },
};
use serde::Deserialize;
use tokio::sync::{broadcast::error::RecvError, mpsc};
use tokio_stream::wrappers::ReceiverStream;

use crate::{
    Api, Problem,
    caller::Caller,
    view::{EventPage, EventView},
};

/// Events read at once.
const PAGE: usize = 512;
/// Events that may wait for a slow reader before the journal is read for it instead.
const BUFFER: usize = 64;

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct EventQuery {
    /// Only events after this one.
    after: Option<Seq>,
    /// At most so many.
    limit: Option<usize>,
    session: Option<SessionId>,
    project: Option<ProjectId>,
    /// Go on as they come.
    #[serde(default, deserialize_with = "flag")]
    follow: bool,
}

/// `1` and `true` are yes.
pub(crate) fn flag<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    let text = String::deserialize(deserializer)?;
    Ok(matches!(text.as_str(), "1" | "true" | "yes" | ""))
}

impl EventQuery {
    fn takes(&self, event: &Event) -> bool {
        self.session.as_ref().is_none_or(|id| event.session.as_ref() == Some(id))
            && self.project.as_ref().is_none_or(|id| event.project.as_ref() == Some(id))
    }
}

pub(crate) async fn list(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Query(mut query): Query<EventQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    caller.must_be_human("read the events")?;
    if let Some(last) = headers.get("last-event-id").and_then(|id| id.to_str().ok()) {
        query.after = Some(last.parse().map_err(|error: ao_core::slots::IdError| {
            Problem::new(crate::Code::Invalid, error.to_string())
        })?);
    }
    if query.follow {
        return Ok(follow(&api, query).into_response());
    }
    let limit = query.limit.unwrap_or(200).min(10_000);
    let last = api.handle.state().last_seq;
    // Without a place to begin at: the newest.
    let newest = query.after.is_none();
    let events = if newest {
        newest_of(&api.handle, &query, limit, last).await?
    } else {
        oldest_of(&api.handle, &query, limit).await?
    };
    Ok(Json(EventPage::new(events.iter().map(EventView::of).collect(), last)).into_response())
}

async fn oldest_of(
    handle: &Handle,
    query: &EventQuery,
    limit: usize,
) -> Result<Vec<Event>, Problem> {
    let mut found = vec![];
    let mut after = query.after.unwrap_or(Seq(0));
    while found.len() < limit {
        let page = handle.events(after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = last.seq;
        found.extend(page.into_iter().filter(|event| query.takes(event)));
    }
    found.truncate(limit);
    Ok(found)
}

async fn newest_of(
    handle: &Handle,
    query: &EventQuery,
    limit: usize,
    last: Seq,
) -> Result<Vec<Event>, Problem> {
    let mut found = vec![];
    let mut before = last.0;
    while found.len() < limit && before > 0 {
        let from = before.saturating_sub(PAGE as u64);
        let page = handle.events(Seq(from), usize::try_from(before - from).unwrap_or(PAGE)).await?;
        let mut page: Vec<_> =
            page.into_iter().filter(|event| event.seq.0 <= before && query.takes(event)).collect();
        page.append(&mut found);
        found = page;
        before = from;
    }
    let extra = found.len().saturating_sub(limit);
    found.drain(..extra);
    Ok(found)
}

/// The stream: from the journal what is stored, then live, and from the journal again whenever the reader or
/// the bus fell behind; so there is no gap and no repetition. The id of each is its place.
fn follow(api: &Arc<Api>, query: EventQuery) -> impl IntoResponse + use<> {
    let (sender, receiver) = mpsc::channel::<Result<sse::Event, Infallible>>(BUFFER);
    let api = api.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = feed(&api.handle, &query, &sender) => {}
            () = api.closing() => {}
            () = sender.closed() => {}
        }
    });
    Sse::new(ReceiverStream::new(receiver))
        .keep_alive(KeepAlive::new().interval(Duration::from_secs(15)))
}

async fn feed(
    handle: &Handle,
    query: &EventQuery,
    sender: &mpsc::Sender<Result<sse::Event, Infallible>>,
) {
    let mut live = handle.subscribe();
    let mut last = query.after.unwrap_or_else(|| handle.state().last_seq);
    loop {
        // What is stored and not sent.
        loop {
            let page = match handle.events(last, PAGE).await {
                Ok(page) => page,
                Err(refusal) => {
                    tracing::warn!(%refusal, "events could not be read for a follower");
                    let _ = sender
                        .send(Ok(sse::Event::default().event("resync").data(last.to_string())))
                        .await;
                    return;
                }
            };
            let Some(newest) = page.last().map(|event| event.seq) else { break };
            for event in page.iter().filter(|event| query.takes(event)) {
                if sender.send(Ok(message(event))).await.is_err() {
                    return;
                }
            }
            last = newest;
        }
        // What comes; anything but the next place means that something was missed.
        loop {
            match live.recv().await {
                Ok(event) if event.seq <= last => {}
                Ok(event) if event.seq.0 == last.0 + 1 => {
                    last = event.seq;
                    if query.takes(&event) && sender.send(Ok(message(&event))).await.is_err() {
                        return;
                    }
                }
                Ok(_) | Err(RecvError::Lagged(_)) => break,
                Err(RecvError::Closed) => return,
            }
        }
    }
}

fn message(event: &Event) -> sse::Event {
    let data = serde_json::to_string(&EventView::of(event)).unwrap_or_default();
    sse::Event::default().id(event.seq.to_string()).data(data)
}

impl EventView {
    /// An event with its words.
    pub fn of(event: &Event) -> Self {
        let data = event
            .encode()
            .ok()
            .and_then(|json| serde_json::from_slice::<serde_json::Value>(&json).ok());
        Self {
            schema: "ao.event/1".into(),
            seq: event.seq,
            at: event.at,
            class: event.kind.class(),
            kind: event.kind.name().to_owned(),
            session: event.session.clone(),
            project: event.project.clone(),
            because: event.because.clone(),
            rule: event.rule.as_deref().map(str::to_owned),
            told: why::describe(event),
            data: data
                .and_then(|mut json| json.get_mut("data").map(serde_json::Value::take))
                .unwrap_or_default(),
        }
    }
}
