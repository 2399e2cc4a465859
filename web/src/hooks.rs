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

fn call(key: SessionKey, agent: String, event: String, payload: &Bytes) -> HookCall {
    let SessionKey { session, launch, token } = key;
    HookCall { agent, event, session, launch, token, payload: payload.to_vec() }
}

pub(crate) async fn hook(
    State(api): State<Arc<Api>>,
    Path((agent, event)): Path<(String, String)>,
    headers: HeaderMap,
    payload: Bytes,
) -> Result<Json<HookAnswer>, Problem> {
    Ok(Json(api.handle.hook(call(key(&headers)?, agent, event, &payload)).await?))
}

pub(crate) async fn wait(
    State(api): State<Arc<Api>>,
    Path((agent, event, request)): Path<(String, String, RequestId)>,
    headers: HeaderMap,
    payload: Bytes,
) -> Result<Json<HookAnswer>, Problem> {
    let waiting = api.handle.wait(call(key(&headers)?, agent, event, &payload), request);
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

/// An event that a hook left while the server was away.
#[derive(Debug, Deserialize)]
struct Spooled {
    agent: String,
    event: String,
    session: ao_core::slots::SessionId,
    launch: u32,
    token: String,
    payload: String,
}

/// Takes what hooks left in `spool`, now and every few seconds, until `ended` completes. What cannot be read,
/// or is refused for good, is dropped: the sweep finds the state without it.
pub async fn drain_spool(
    handle: ao_core::server::Handle,
    spool: std::path::PathBuf,
    ended: impl Future<Output = ()> + Send,
) {
    tokio::pin!(ended);
    loop {
        let dir = spool.clone();
        let waiting = tokio::task::spawn_blocking(move || waiting(&dir)).await.unwrap_or_default();
        for (file, bytes) in waiting {
            if take(&handle, &bytes).await {
                let _ = tokio::fs::remove_file(&file).await;
            }
        }
        tokio::select! {
            () = tokio::time::sleep(std::time::Duration::from_secs(2)) => {}
            () = &mut ended => return,
        }
    }
}

/// The events in the spool, oldest first.
fn waiting(dir: &std::path::Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries
        .map(|e| e.path())
        .filter(|path| path.extension().is_some_and(|e| e == "json"))
        .collect();
    files.sort_unstable();
    // At most as many as fit the bound of the spool; the next round takes the rest.
    files.truncate(1_024);
    files.into_iter().filter_map(|path| Some((path.clone(), std::fs::read(&path).ok()?))).collect()
}

/// Whether the event needs not be kept any more.
async fn take(handle: &ao_core::server::Handle, bytes: &[u8]) -> bool {
    let Ok(Spooled { agent, event, session, launch, token, payload }) =
        serde_json::from_slice::<Spooled>(bytes)
    else {
        tracing::warn!("an event in the spool cannot be read and is dropped");
        return true;
    };
    let launch = ao_core::slots::Launch(launch);
    let call = HookCall { agent, event, session, launch, token, payload: payload.into_bytes() };
    match handle.hook(call).await {
        Ok(_) => true,
        Err(refusal) => {
            tracing::info!(%refusal, "an event in the spool was refused");
            refusal.kind != RefusalKind::Unavailable
        }
    }
}
