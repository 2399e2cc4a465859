//! How to look at a running agent: its screen, its logs, a window with it.

use std::{sync::Arc, time::Duration};

use ao_core::{
    decide,
    slots::{
        Call, SessionId,
        terminal::{OpenRequest, Opened},
    },
    state::Session,
};
use axum::{
    Json, Router,
    extract::{Path, Query, State},
    routing::{get, post},
};
use serde::{Deserialize, Serialize};

use super::{Api, Reply};
use crate::{
    Code, Problem,
    caller::{Human, Looks},
    view,
};

pub(super) fn routes() -> Router<Arc<Api>> {
    Router::new()
        .route("/api/sessions/{id}/screen", get(screen))
        .route("/api/sessions/{id}/attach", get(attach))
        .route("/api/sessions/{id}/logs", get(logs))
}

pub(super) fn local() -> Router<Arc<Api>> {
    Router::new().route("/api/open", post(open))
}

#[derive(Deserialize)]
struct LinesQuery {
    lines: Option<u32>,
    step: Option<String>,
}

async fn screen(
    State(api): State<Arc<Api>>,
    _: Looks,
    Path(id): Path<SessionId>,
    Query(query): Query<LinesQuery>,
) -> Reply<view::Lines> {
    decide::session(&api.handle.state(), &id)?;
    let lines = api.handle.screen(&id, query.lines.unwrap_or(50).min(10_000)).await?;
    Ok(Json(view::Lines { schema: "ao.lines/1".into(), lines, omitted: 0 }))
}

/// The log of a set-up step, else the screen.
async fn logs(
    State(api): State<Arc<Api>>,
    looks: Looks,
    Path(id): Path<SessionId>,
    Query(query): Query<LinesQuery>,
) -> Reply<view::Lines> {
    let Some(step) = &query.step else {
        return screen(State(api), looks, Path(id), Query(query)).await;
    };
    decide::session(&api.handle.state(), &id)?;
    if !matches!(step.as_str(), "postCreate" | "post-create") {
        return Err(Problem::new(
            Code::Invalid,
            format!("there is no log of `{step}` (known: postCreate)"),
        ));
    }
    let file =
        api.handle.data_dir().join("agents").join(id.as_str()).join("artifacts/postCreate.log");
    let most = usize::try_from(query.lines.unwrap_or(200)).unwrap_or(200);
    let read = tokio::task::spawn_blocking(move || last_lines(&file, most)).await;
    let (lines, omitted) = read
        .map_err(|error| {
            Problem::new(Code::Failed, "the log could not be read").because(error.to_string())
        })?
        .map_err(|error| {
            Problem::new(Code::NotFound, format!("{id} has no log of its set-up commands"))
                .because(error.to_string())
        })?;
    Ok(Json(view::Lines { schema: "ao.lines/1".into(), lines, omitted }))
}

/// The last lines of a file's last MiB, made harmless.
fn last_lines(file: &std::path::Path, most: usize) -> std::io::Result<(Vec<String>, u64)> {
    use std::io::{Read, Seek, SeekFrom};
    let mut file = std::fs::File::open(file)?;
    let from = file.metadata()?.len().saturating_sub(1 << 20);
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let text = ao_core::slots::text::redact(&ao_core::slots::text::plain(
        &String::from_utf8_lossy(&bytes),
    ));
    let all: Vec<String> = text.lines().map(str::to_owned).collect();
    let omitted = all.len().saturating_sub(most);
    Ok((all.into_iter().skip(omitted).collect(), omitted as u64))
}

/// How a session is looked at.
fn attach_info(api: &Api, id: &SessionId) -> Result<ao_core::slots::runtime::AttachInfo, Problem> {
    let plugins = api.handle.plugins();
    let state = api.handle.state();
    let session = decide::session(&state, id)?;
    let over = || {
        Problem::new(
            Code::Conflict,
            format!("{id} has no running agent ({})", session.status.as_str().replace('_', " ")),
        )
        .with_remedy(format!("ao session restore {id}   or: ao logs {id}"))
    };
    let handle = session.handle.as_ref().ok_or_else(over)?;
    let project = plugins.projects.get(&session.project).ok_or_else(|| unconfigured(session))?;
    Ok(project.runtime.attach_info(handle))
}

fn unconfigured(session: &Session) -> Problem {
    let what = format!("the project {} is not configured any more", session.project);
    Problem::new(Code::NotFound, what).with_remedy("ao config ls")
}

async fn attach(
    State(api): State<Arc<Api>>,
    _: Looks,
    Path(id): Path<SessionId>,
) -> Reply<view::AttachDoc> {
    let info = attach_info(&api, &id)?;
    let command = info.command_line();
    Ok(Json(view::AttachDoc {
        schema: "ao.attach/1".into(),
        argv: info.argv,
        command,
        title: info.title,
    }))
}

/// Which sessions to put in front of a human, and where that human sits.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OpenBody {
    /// The sessions.
    pub sessions: Vec<SessionId>,
    /// What the terminal plugin needs of the client's environment.
    pub env: std::collections::BTreeMap<String, String>,
    /// The client sits at a terminal.
    pub foreground: bool,
}

async fn open(
    State(api): State<Arc<Api>>,
    _: Human,
    Json(body): Json<OpenBody>,
) -> Reply<Vec<Opened>> {
    let mut requests = vec![];
    for session in &body.sessions {
        let attach = attach_info(&api, session)?;
        requests.push(OpenRequest {
            session: session.clone(),
            attach,
            env: body.env.clone(),
            foreground: body.foreground,
        });
    }
    let Some(first) = requests.first() else {
        return Err(Problem::new(Code::NotFound, "there is no session to open"));
    };
    let terminal = {
        let plugins = api.handle.plugins();
        let state = api.handle.state();
        let session = decide::session(&state, &first.session)?;
        let project = plugins.projects.get(&session.project);
        project.map(|project| project.terminal.clone()).ok_or_else(|| unconfigured(session))?
    };
    let call = Call::new(format!("open-{}", first.session), Duration::from_secs(10));
    let opened = match requests.as_slice() {
        [one] => vec![terminal.open(&call, one).await?],
        all => terminal.open_all(&call, all).await?,
    };
    Ok(Json(opened))
}
