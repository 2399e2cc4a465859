//! Incidents, and what keeps them quiet.

use std::sync::Arc;

use ao_core::{
    decide::{self, Input},
    slots::{IncidentId, SilenceId},
};
use axum::{
    Json, Router,
    extract::{Path, Query, State},
    routing::{get, post},
};
use jiff::Timestamp;
use serde::Deserialize;

use super::{Api, ListQuery, Reply};
use crate::{
    caller::{Human, Looks},
    view,
};

pub(super) fn routes() -> Router<Arc<Api>> {
    Router::new()
        .route("/api/incidents", get(incidents))
        .route("/api/incidents/{id}", get(incident))
        .route("/api/incidents/{id}/ack", post(ack))
        .route("/api/incidents/{id}/snooze", post(snooze))
        .route("/api/silences", get(silences).post(silence))
        .route("/api/silences/{id}/end", post(silence_end))
        .route("/api/digest", post(digest))
}

async fn incidents(
    State(api): State<Arc<Api>>,
    _: Looks,
    Query(query): Query<ListQuery>,
) -> Json<view::IncidentList> {
    let state = api.handle.state();
    let shown =
        state.incidents.values().filter(|incident| query.all || incident.resolved.is_none());
    let incidents = shown.map(|incident| view::incident(&state, incident)).collect();
    Json(view::IncidentList { schema: "ao.incidents/1".into(), incidents })
}

async fn incident(
    State(api): State<Arc<Api>>,
    _: Looks,
    Path(id): Path<IncidentId>,
) -> Reply<view::IncidentView> {
    let state = api.handle.state();
    Ok(Json(view::incident(&state, decide::incident(&state, id)?)))
}

async fn ack(
    State(api): State<Arc<Api>>,
    Human { by, handle }: Human,
    Path(incident): Path<IncidentId>,
) -> Reply<view::Taken> {
    api.submit(&handle, Input::Acknowledge { incident, by }).await
}

#[derive(Deserialize)]
struct SnoozeBody {
    until: Timestamp,
}

async fn snooze(
    State(api): State<Arc<Api>>,
    Human { by, handle }: Human,
    Path(incident): Path<IncidentId>,
    Json(body): Json<SnoozeBody>,
) -> Reply<view::Taken> {
    api.submit(&handle, Input::Snooze { incident, until: body.until, by }).await
}

async fn silences(
    State(api): State<Arc<Api>>,
    _: Looks,
    Query(query): Query<ListQuery>,
) -> Json<view::SilenceList> {
    let now = api.handle.now();
    Json(view::silences(&api.handle.state(), now, query.all))
}

async fn silence(
    State(api): State<Arc<Api>>,
    Human { by, handle }: Human,
    Json(body): Json<view::SilenceBody>,
) -> Reply<view::Taken> {
    let view::SilenceBody { matchers, until, comment } = body;
    api.submit(&handle, Input::SilenceAdd { matchers, until, comment, by }).await
}

async fn silence_end(
    State(api): State<Arc<Api>>,
    Human { by, handle }: Human,
    Path(silence): Path<SilenceId>,
) -> Reply<view::Taken> {
    api.submit(&handle, Input::SilenceEnd { silence, by }).await
}

async fn digest(State(api): State<Arc<Api>>, Human { by, handle }: Human) -> Reply<view::Taken> {
    api.submit(&handle, Input::DigestNow { by }).await
}
