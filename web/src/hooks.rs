//! What agents tell: their own hook systems, and `ao report`.

use std::sync::Arc;

use ao_core::{
    decide::{Refusal, RefusalKind},
    server::{HookAnswer, HookCall, ReportCall},
    slots::RequestId,
};
use axum::{
    Json,
    body::Bytes,
    extract::{Path, Query, State},
    http::HeaderMap,
};
use serde::{Deserialize, Serialize};

use crate::{
    Api, Code, Problem,
    caller::{SessionKey, session_key},
};

/// An agent's report as the request carries it.
#[derive(Debug, Deserialize)]
pub(crate) struct ReportQuery {
    /// Wait for the answer to the question.
    #[serde(default)]
    wait: bool,
}

/// What became of a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reported {
    /// The request that a question became.
    pub request: Option<RequestId>,
    /// The answer, where it was waited for and given.
    pub answer: Option<String>,
}

fn key(headers: &HeaderMap) -> Result<SessionKey, Problem> {
    session_key(headers)?
        .ok_or_else(|| Problem::new(Code::Forbidden, "a hook needs its session's token"))
}

fn call(
    headers: &HeaderMap,
    agent: String,
    event: String,
    payload: &Bytes,
) -> Result<HookCall, Problem> {
    let SessionKey { session, launch, token } = key(headers)?;
    let started = headers.get("x-ao-started").and_then(|value| value.to_str().ok()?.parse().ok());
    let payload = payload.to_vec();
    Ok(HookCall { agent, event, session, launch, token, payload, started, waits: true })
}

pub(crate) async fn hook(
    State(api): State<Arc<Api>>,
    Path((agent, event)): Path<(String, String)>,
    headers: HeaderMap,
    payload: Bytes,
) -> Result<Json<HookAnswer>, Problem> {
    Ok(Json(api.handle.hook(call(&headers, agent, event, &payload)?).await?))
}

pub(crate) async fn wait(
    State(api): State<Arc<Api>>,
    Path((agent, event, request)): Path<(String, String, RequestId)>,
    headers: HeaderMap,
    payload: Bytes,
) -> Result<Json<HookAnswer>, Problem> {
    let waiting = api.handle.wait(call(&headers, agent, event, &payload)?, request);
    // A server that goes away says so at once: the hook comes again when it is back.
    tokio::select! {
        answer = waiting => Ok(Json(HookAnswer { stdout: answer?, wait: None })),
        () = api.closing() => Err(Refusal::new(RefusalKind::Unavailable, "the server is stopping").into()),
    }
}

pub(crate) async fn report(
    State(api): State<Arc<Api>>,
    Query(query): Query<ReportQuery>,
    headers: HeaderMap,
    Json(report): Json<ReportCall>,
) -> Result<Json<Reported>, Problem> {
    let key = key(&headers)?;
    let answered = api.handle.report(key.session.clone(), key.launch, &key.token, report).await?;
    let answer = match answered.request {
        Some(request) if query.wait => {
            tokio::select! {
                answer = api.handle.wait_answer(key.session, &key.token, request) => answer?,
                () = api.closing() => return Err(Refusal::new(RefusalKind::Unavailable, "the server is stopping").into()),
            }
        }
        _ => None,
    };
    Ok(Json(Reported { request: answered.request, answer }))
}
