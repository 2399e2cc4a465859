//! Sessions: reading them, starting them, and what a human tells one.

use std::sync::Arc;

use ao_core::{
    decide::{self, Input},
    server::SpawnCall,
    slots::{RequestId, SessionId, agent::Decision},
};
use axum::{
    Extension, Json, Router,
    extract::{Path, Query, State},
    routing::{get, post},
};
use serde::{Deserialize, Serialize};

use super::{Api, ListQuery, Reply, taken};
use crate::{
    caller::{Caller, Human, own, visible},
    view,
};

pub(super) fn routes() -> Router<Arc<Api>> {
    Router::new()
        .route("/api/status", get(status))
        .route("/api/sessions", get(sessions).post(spawn))
        .route("/api/sessions/{id}", get(session))
        .route("/api/sessions/{id}/send", post(send))
        .route("/api/sessions/{id}/answer", post(answer))
        .route("/api/sessions/{id}/approve", post(approve))
        .route("/api/sessions/{id}/deny", post(deny))
        .route("/api/sessions/{id}/kill", post(kill))
        .route("/api/sessions/{id}/look", post(look))
        .route("/api/sessions/{id}/done", post(done))
        .route("/api/sessions/{id}/restore", post(restore))
        .route("/api/sessions/{id}/cleanup", post(cleanup))
}

async fn status(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Query(query): Query<ListQuery>,
) -> Reply<view::StatusDoc> {
    let only = own(&caller)?;
    let now = api.handle.now();
    let unable = api.handle.unable_channels();
    Ok(Json(view::status(
        &api.handle.state(),
        now,
        api.handle.zone(),
        api.version,
        only,
        query.all,
        &unable,
    )))
}

async fn sessions(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Query(query): Query<ListQuery>,
) -> Reply<view::SessionList> {
    let only = own(&caller)?;
    let now = api.handle.now();
    let state = api.handle.state();
    let doc = view::status(
        &state,
        now,
        api.handle.zone(),
        api.version,
        only,
        query.all,
        &Default::default(),
    );
    Ok(Json(view::SessionList { schema: "ao.sessions/1".into(), sessions: doc.sessions }))
}

async fn session(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<SessionId>,
) -> Reply<view::SessionDoc> {
    visible(&caller, &id)?;
    let state = api.handle.state();
    let session = decide::session(&state, &id)?;
    Ok(Json(view::session(&state, session, api.handle.zone(), &|blob| api.handle.text(blob))))
}

async fn spawn(
    State(api): State<Arc<Api>>,
    Human { by, handle }: Human,
    Json(call): Json<SpawnCall>,
) -> Reply<view::Taken> {
    let after = api.last();
    taken(handle.spawn(call, by).await, after)
}

/// Text for an agent.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct TextBody {
    text: String,
}

async fn send(
    State(api): State<Arc<Api>>,
    Human { by, handle }: Human,
    Path(id): Path<SessionId>,
    Json(body): Json<TextBody>,
) -> Reply<view::Taken> {
    let after = api.last();
    taken(handle.send(id, &body.text, by).await, after)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AnswerBody {
    /// Own words, or the number of a choice.
    text: String,
    /// Which request; none = the one that is open.
    #[serde(default)]
    request: Option<RequestId>,
}

async fn answer(
    State(api): State<Arc<Api>>,
    Human { by, handle }: Human,
    Path(id): Path<SessionId>,
    Json(body): Json<AnswerBody>,
) -> Reply<view::Taken> {
    let after = api.last();
    let text = choice(&api, &id, body.request, &body.text);
    taken(handle.decide(id, body.request, Decision::Answer { text }, by).await, after)
}

/// The words of the choice with this number; else the words as they are.
fn choice(api: &Api, id: &SessionId, request: Option<RequestId>, text: &str) -> String {
    use ao_core::slots::agent::Ask;
    let state = api.handle.state();
    let number = text.trim().parse::<usize>().ok().and_then(|number| number.checked_sub(1));
    let open = state.sessions.get(id).and_then(|session| {
        session.open_requests().find(|open| {
            request.is_none_or(|id| open.id == id) && matches!(open.ask, Ask::Question { .. })
        })
    });
    let option = number.zip(open).and_then(|(number, open)| match &open.ask {
        Ask::Question { options, .. } => options.get(number).cloned(),
        Ask::Permission { .. } => None,
    });
    option.unwrap_or_else(|| text.to_owned())
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct DecideBody {
    reason: Option<String>,
    request: Option<RequestId>,
}

async fn approve(
    State(api): State<Arc<Api>>,
    Human { by, handle }: Human,
    Path(id): Path<SessionId>,
    Json(body): Json<DecideBody>,
) -> Reply<view::Taken> {
    let after = api.last();
    taken(handle.decide(id, body.request, Decision::Approve, by).await, after)
}

async fn deny(
    State(api): State<Arc<Api>>,
    Human { by, handle }: Human,
    Path(id): Path<SessionId>,
    Json(body): Json<DecideBody>,
) -> Reply<view::Taken> {
    let after = api.last();
    taken(handle.decide(id, body.request, Decision::Deny { reason: body.reason }, by).await, after)
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct ForceBody {
    force: bool,
}

async fn kill(
    State(api): State<Arc<Api>>,
    Human { by, handle }: Human,
    Path(session): Path<SessionId>,
    Json(body): Json<ForceBody>,
) -> Reply<view::Taken> {
    api.submit(&handle, Input::Kill { session, force: body.force, by }).await
}

async fn done(
    State(api): State<Arc<Api>>,
    Human { by, handle }: Human,
    Path(session): Path<SessionId>,
) -> Reply<view::Taken> {
    handle.look(&session).await;
    api.submit(&handle, Input::Done { session, by }).await
}

/// The session, with what lies in its workspace now: a read alone starts no process.
async fn look(
    api: State<Arc<Api>>,
    Human { handle, .. }: Human,
    caller: Extension<Caller>,
    Path(id): Path<SessionId>,
) -> Reply<view::SessionDoc> {
    handle.look(&id).await;
    session(api, caller, Path(id)).await
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct RestoreBody {
    fresh: bool,
    env: std::collections::BTreeMap<String, String>,
}

async fn restore(
    State(api): State<Arc<Api>>,
    Human { by, handle }: Human,
    Path(session): Path<SessionId>,
    Json(body): Json<RestoreBody>,
) -> Reply<view::Taken> {
    let after = api.last();
    taken(handle.restore(session, body.fresh, &body.env, by).await, after)
}

async fn cleanup(
    State(api): State<Arc<Api>>,
    Human { by, handle }: Human,
    Path(session): Path<SessionId>,
    Json(body): Json<ForceBody>,
) -> Reply<view::Taken> {
    api.submit(&handle, Input::Cleanup { session, force: body.force, by }).await
}
