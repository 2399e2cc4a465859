//! Events for readers: a page of them, or the stream as it grows.

mod hub;
mod stream;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use ao_core::{
    event::Event,
    server::Handle,
    slots::{IncidentId, ProjectId, Seq, SessionId},
    why,
};
use axum::{
    Extension, Json,
    extract::{Query, State},
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(crate) use self::hub::Hub;
use self::{
    hub::Filter,
    stream::{Begin, Follower, Wish},
};
use crate::{
    Api, Code, Problem,
    caller::{Caller, Right},
    view::{EventPage, EventView},
};

/// Events read at once.
const PAGE: usize = 512;
/// How many events behind the newest a follower may begin; who was away longer begins anew.
const MOST_BEHIND: u64 = 50_000;

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct EventQuery {
    /// Only events after this one.
    after: Option<String>,
    /// At most so many.
    limit: Option<usize>,
    session: Option<SessionId>,
    project: Option<ProjectId>,
    /// What moved and where, without the events' own data.
    #[serde(default, deserialize_with = "flag")]
    brief: bool,
    /// Go on as they come; the same as `Accept: text/event-stream`.
    #[serde(default, deserialize_with = "flag")]
    follow: bool,
    /// A follower that does not keep up.
    #[serde(default)]
    lag: Lag,
}

/// What becomes of a follower that does not keep up, or was away for long.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Lag {
    /// It is told to begin anew, and gets what happens from then on.
    #[default]
    Resync,
    /// It gets all that the journal holds.
    Replay,
}

/// `1` and `true` are yes.
pub(crate) fn flag<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    let text = String::deserialize(deserializer)?;
    Ok(matches!(text.as_str(), "1" | "true" | "yes" | ""))
}

/// What moved, and where: all that a page needs to know which of its parts to ask for again.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Brief {
    seq: Seq,
    at: Timestamp,
    kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<SessionId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    project: Option<ProjectId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    incident: Option<IncidentId>,
    label: String,
}

impl Brief {
    fn of(event: EventView) -> Self {
        let incident = event.data.get("incident").and_then(Value::as_str);
        Self {
            incident: incident.and_then(|id| id.parse().ok()),
            seq: event.seq,
            at: event.at,
            kind: event.kind,
            session: event.session,
            project: event.project,
            label: event.told.label,
        }
    }
}

/// Some events, each in short.
#[derive(Serialize)]
struct BriefPage {
    schema: &'static str,
    events: Vec<Brief>,
    last: Seq,
    /// What came after the place that was named is not all kept.
    missed: bool,
}

pub(crate) async fn list(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Query(query): Query<EventQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let access = caller.may(Right::Look, "read the events")?.access;
    let known = headers.get("last-event-id").map(|id| id.to_str().unwrap_or_default().to_owned());
    let after = known.or(query.after).map(|place| place.parse::<Seq>());
    let filter = Filter { session: query.session, project: query.project, brief: query.brief };
    if query.follow || takes_a_stream(&headers) {
        let begin = match after {
            None => Begin::Now,
            Some(Ok(seq)) => Begin::After(seq),
            // A browser never asks again where its stream was refused.
            Some(Err(_)) => Begin::Nowhere,
        };
        let reach = match query.lag {
            Lag::Resync => MOST_BEHIND,
            Lag::Replay => u64::MAX,
        };
        let wish = Wish { begin, filter, reach };
        // The unix socket has nobody to cut off.
        let handle = api.handle.clone();
        let may = move || access.is_none_or(|access| handle.access_holds(access));
        let follower = Follower::new(api.hub.clone(), api.handle.clone(), api.closes(), wish, may);
        return Ok(follower.into_response());
    }
    let after =
        after.transpose().map_err(|error| Problem::new(Code::Invalid, error.to_string()))?;
    let limit = query.limit.unwrap_or(200).min(10_000);
    let last = api.handle.state().last_seq;
    let events = match after {
        Some(after) => oldest_of(&api.handle, &filter, after, limit).await?,
        // Without a place to begin at: the newest.
        None => newest_of(&api.handle, &filter, limit, last).await?,
    };
    let views = events.iter().map(EventView::of);
    if !filter.brief {
        return Ok(Json(EventPage::new(views.collect(), last)).into_response());
    }
    let missed = after.is_some_and(|after| after > last || after.0 + 1 < api.handle.first_kept().0);
    let events = views.map(Brief::of).collect();
    Ok(Json(BriefPage { schema: "ao.events-brief/1", events, last, missed }).into_response())
}

fn takes_a_stream(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/event-stream"))
}

async fn oldest_of(
    handle: &Handle,
    filter: &Filter,
    mut after: Seq,
    limit: usize,
) -> Result<Vec<Event>, Problem> {
    let mut found = vec![];
    while found.len() < limit {
        let page = handle.events(after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = last.seq;
        found.extend(page.into_iter().filter(|event| filter.takes(event)));
    }
    found.truncate(limit);
    Ok(found)
}

async fn newest_of(
    handle: &Handle,
    filter: &Filter,
    limit: usize,
    last: Seq,
) -> Result<Vec<Event>, Problem> {
    let mut found = vec![];
    let mut before = last.0;
    while found.len() < limit && before > 0 {
        let from = before.saturating_sub(PAGE as u64);
        let page = handle.events(Seq(from), usize::try_from(before - from).unwrap_or(PAGE)).await?;
        let mut page: Vec<_> =
            page.into_iter().filter(|event| event.seq.0 <= before && filter.takes(event)).collect();
        page.append(&mut found);
        found = page;
        before = from;
    }
    let extra = found.len().saturating_sub(limit);
    found.drain(..extra);
    Ok(found)
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
