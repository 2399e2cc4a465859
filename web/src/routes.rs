//! Which path does what.

use std::{sync::Arc, time::Duration};

use ao_core::{
    decide::{self, Answered, Input, Refusal},
    event::Actor,
    registry::PluginInfo,
    server::{Handle, SpawnCall},
    slots::{
        Call, ChannelName, IncidentId, NotificationId, ProjectId, RequestId, Seq, SessionId,
        SilenceId,
        agent::Decision,
        fact::Priority,
        terminal::{OpenRequest, Opened},
        tracker::{Issue, IssueFilter, Tracker},
    },
    state::Session,
    why::{self, About},
};
use axum::{
    Extension, Json, Router,
    body::Body,
    extract::{DefaultBodyLimit, Path, Query, State},
    http::{HeaderMap, StatusCode, header},
    middleware,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tower_http::{catch_panic::CatchPanicLayer, timeout::TimeoutLayer};

use crate::{
    Code, Configs, Problem,
    caller::{self, Caller},
    configs::{CheckBody, ConfigFile, ConfigReport, FileBody, TrustBody},
    error::PROBLEM,
    events, hooks, prs, view,
};

/// Most bytes of a request's body.
pub const MOST_BODY: usize = 1 << 20;
/// Most bytes of a hook's payload, and of a report.
pub const MOST_HOOK: usize = 64 * 1024;
/// How long a request may take. Waiting hooks and followers are no such requests.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) type Reply<T> = Result<Json<T>, Problem>;

/// What the handlers share.
#[derive(Debug)]
pub struct Api {
    /// The server.
    pub handle: Handle,
    /// The configuration files.
    pub configs: Arc<dyn Configs>,
    /// The plugins that can be chosen.
    pub plugins: Vec<PluginInfo>,
    /// The program's version.
    pub version: &'static str,
    closing: watch::Sender<bool>,
}

impl Api {
    /// What the router needs.
    pub fn new(
        handle: Handle,
        configs: Arc<dyn Configs>,
        plugins: Vec<PluginInfo>,
        version: &'static str,
    ) -> Arc<Self> {
        Arc::new(Self { handle, configs, plugins, version, closing: watch::channel(false).0 })
    }

    /// Tells waiting hooks and followers that the server goes away.
    pub fn close(&self) {
        self.closing.send_replace(true);
    }

    /// Completes once [`Api::close`] was called.
    pub(crate) async fn closing(&self) {
        let mut closing = self.closing.subscribe();
        // The sender lives as long as `self`.
        let _ = closing.wait_for(|closing| *closing).await;
    }

    fn last(&self) -> Seq {
        self.handle.state().last_seq
    }

    pub(crate) async fn submit(&self, handle: &Handle, input: Input) -> Reply<view::Taken> {
        let after = self.last();
        taken(handle.submit(input).await, after)
    }
}

fn taken(answer: Result<Answered, Refusal>, after: Seq) -> Reply<view::Taken> {
    Ok(Json(view::Taken::new(answer?, after)))
}

/// The API over `api`. Each request carries its peer as `ConnectInfo<caller::Peer>`.
pub fn api_router(api: Arc<Api>) -> Router {
    let verbs = Router::new()
        .route("/api/health", get(health))
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
        .route("/api/sessions/{id}/screen", get(screen))
        .route("/api/sessions/{id}/attach", get(attach))
        .route("/api/sessions/{id}/logs", get(logs))
        .route("/api/open", post(open))
        .route("/api/projects", get(projects))
        .route("/api/projects/{id}/issues", get(issues))
        .route("/api/projects/{id}/issues/{issue}", get(issue))
        .route("/api/incidents", get(incidents))
        .route("/api/incidents/{id}", get(incident))
        .route("/api/incidents/{id}/ack", post(ack))
        .route("/api/incidents/{id}/snooze", post(snooze))
        .route("/api/silences", get(silences).post(silence))
        .route("/api/silences/{id}/end", post(silence_end))
        .route("/api/digest", post(digest))
        .route("/api/notifications", get(notifications))
        .route("/api/notifications/test", post(test))
        .route("/api/notifications/test/{token}", get(test_pressed))
        .route("/api/channels", get(channels))
        .route("/api/why/{subject}", get(explain))
        .route("/api/plugins", get(plugins))
        .route("/api/config", get(config))
        .route("/api/config/check", post(config_check))
        .route("/api/config/register", post(config_register))
        .route("/api/config/trust", post(config_trust))
        .route("/api/config/forget", post(config_forget))
        .route("/api/config/reload", post(config_reload))
        .route("/api/server/stop", post(stop))
        .merge(prs::routes())
        .layer(DefaultBodyLimit::max(MOST_BODY))
        .layer(TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, PATIENCE));
    let long = Router::new()
        .route("/api/events", get(events::list))
        .route("/api/hooks/{agent}/{event}", post(hooks::hook))
        .route("/api/hooks/{agent}/{event}/wait/{request}", post(hooks::wait))
        .route("/api/report", post(hooks::report))
        .layer(DefaultBodyLimit::max(MOST_HOOK));
    verbs
        .merge(long)
        .fallback(|| async { Problem::new(Code::NotFound, "there is no such path") })
        .layer(middleware::from_fn_with_state(api.clone(), caller::admit))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::map_response(worded))
        .with_state(api)
}

fn panicked(_: Box<dyn std::any::Any + Send>) -> Response<Body> {
    tracing::error!("a request handler panicked");
    Problem::new(Code::Failed, "ao failed at this request")
        .with_remedy("ao doctor --report")
        .into_response()
}

/// What is refused before a handler sees it (a body, a path, a method) or not answered in time, as a problem document.
async fn worded(response: Response<Body>) -> Response<Body> {
    let status = response.status();
    let ours = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == PROBLEM);
    if ours || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let text = axum::body::to_bytes(response.into_body(), 4096).await.unwrap_or_default();
    let (code, title) = match status {
        StatusCode::GATEWAY_TIMEOUT => (Code::InDoubt, "it is not done yet, and may still be"),
        _ => (Code::Invalid, "the request could not be read"),
    };
    let mut problem = Problem::new(code, title).because(String::from_utf8_lossy(&text));
    problem.status = status.as_u16();
    problem.into_response()
}

/// A caller that is a human; anyone else is refused.
pub(crate) struct Human {
    pub(crate) by: Actor,
    /// The server. An act that carries a key (`x-ao-act`) is done once through it, however often it is repeated.
    pub(crate) handle: Handle,
}

impl axum::extract::FromRequestParts<Arc<Api>> for Human {
    type Rejection = Problem;
    async fn from_request_parts(
        parts: &mut axum::http::request::Parts,
        api: &Arc<Api>,
    ) -> Result<Self, Problem> {
        let caller = parts.extensions.get::<Caller>().cloned().unwrap_or(Caller::Agent(None));
        let verb = parts.uri.path().rsplit('/').next().unwrap_or_default().to_owned();
        let verb = match (parts.method.as_str(), verb.as_str()) {
            ("GET", what) => format!("read {what}"),
            (_, "sessions") => "spawn a session".to_owned(),
            (_, what) => what.to_owned(),
        };
        caller.must_be_human(&verb)?;
        Ok(Self { by: caller::actor(), handle: keyed(api, &parts.headers)? })
    }
}

/// The server, for an act that is done once if it carries a key (`x-ao-act`), however often it is repeated.
pub(crate) fn keyed(api: &Api, headers: &HeaderMap) -> Result<Handle, Problem> {
    match headers.get("x-ao-act").map(|key| key.to_str()) {
        None => Ok(api.handle.clone()),
        Some(Ok(key)) if is_key(key) => Ok(api.handle.once(key)),
        Some(_) => Err(Problem::new(Code::Invalid, "`x-ao-act` is no key")),
    }
}

fn is_key(text: &str) -> bool {
    (8..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

fn visible(caller: &Caller, id: &SessionId) -> Result<(), Problem> {
    if caller.may_see(id) {
        return Ok(());
    }
    Err(Problem::new(
        Code::Forbidden,
        format!("an agent may look at its own session only, not at {id}"),
    ))
}

async fn health(State(api): State<Arc<Api>>) -> Json<view::Health> {
    Json(view::Health::new(api.version))
}

#[derive(Deserialize)]
struct ListQuery {
    #[serde(default, deserialize_with = "events::flag")]
    all: bool,
}

pub(crate) fn own(caller: &Caller) -> Result<Option<&SessionId>, Problem> {
    match caller {
        Caller::Human => Ok(None),
        Caller::Agent(Some(own)) => Ok(Some(own)),
        Caller::Agent(None) => {
            Err(Problem::new(Code::Forbidden, "which session asks is not known"))
        }
    }
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

async fn silences(
    State(api): State<Arc<Api>>,
    _: Human,
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

async fn digest(State(api): State<Arc<Api>>, Human { by, handle }: Human) -> Reply<view::Taken> {
    api.submit(&handle, Input::DigestNow { by }).await
}

async fn silence_end(
    State(api): State<Arc<Api>>,
    Human { by, handle }: Human,
    Path(silence): Path<SilenceId>,
) -> Reply<view::Taken> {
    api.submit(&handle, Input::SilenceEnd { silence, by }).await
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

#[derive(Deserialize)]
struct LinesQuery {
    lines: Option<u32>,
    step: Option<String>,
}

async fn screen(
    State(api): State<Arc<Api>>,
    _: Human,
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
    human: Human,
    Path(id): Path<SessionId>,
    Query(query): Query<LinesQuery>,
) -> Reply<view::Lines> {
    let Some(step) = &query.step else {
        return screen(State(api), human, Path(id), Query(query)).await;
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
    _: Human,
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

async fn projects(State(api): State<Arc<Api>>, _: Human) -> Json<view::ProjectList> {
    Json(view::projects(&api.handle.state()))
}

async fn issues(
    State(api): State<Arc<Api>>,
    _: Human,
    Path(id): Path<ProjectId>,
) -> Reply<Vec<Issue>> {
    let (tracker, call) = tracker(&api, &id)?;
    Ok(Json(tracker.list(&call, &IssueFilter::default()).await?))
}

/// Blockers that are looked at.
const BLOCKERS: usize = 10;

async fn issue(
    State(api): State<Arc<Api>>,
    _: Human,
    Path((id, issue)): Path<(ProjectId, String)>,
) -> Reply<view::IssueDoc> {
    let (tracker, call) = tracker(&api, &id)?;
    let issue = tracker.get(&call, &issue).await?;
    let trusted = tracker.is_trusted(&call, &issue).await.unwrap_or(false);
    let mut waits_for = vec![];
    for other in issue.blocked_by.iter().take(BLOCKERS) {
        // One that cannot be looked at, as where it was removed, keeps nobody.
        if matches!(tracker.is_completed(&call, other).await, Ok(false)) {
            waits_for.push(other.clone());
        }
    }
    Ok(Json(view::IssueDoc { schema: "ao.issue/1".into(), issue, trusted, waits_for }))
}

/// The tracker of a project, and a call to it.
fn tracker(api: &Api, id: &ProjectId) -> Result<(Arc<dyn Tracker>, Call), Problem> {
    let plugins = api.handle.plugins();
    let missing =
        || Problem::new(Code::NotFound, format!("there is no project {id}")).with_remedy("ao init");
    let project = plugins.projects.get(id).ok_or_else(missing)?;
    let tracker = project.tracker.clone();
    let tracker =
        tracker.ok_or_else(|| Problem::new(Code::NotFound, format!("{id} has no tracker")))?;
    Ok((tracker, Call::new(format!("issues-{id}"), Duration::from_secs(10))))
}

async fn incidents(
    State(api): State<Arc<Api>>,
    _: Human,
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
    _: Human,
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

#[derive(Deserialize)]
struct NotificationQuery {
    since: Option<Timestamp>,
}

async fn notifications(
    State(api): State<Arc<Api>>,
    _: Human,
    Query(query): Query<NotificationQuery>,
) -> Json<view::NotificationList> {
    let state = api.handle.state();
    let shown = state
        .notifications
        .values()
        .rev()
        .filter(|n| query.since.is_none_or(|since| n.opened.at >= since));
    let notifications = shown.map(|n| view::notification(&state, n)).collect();
    Json(view::NotificationList { schema: "ao.notifications/1".into(), notifications })
}

#[derive(Deserialize)]
struct TestBody {
    channel: ChannelName,
    text: Option<String>,
    #[serde(default = "action")]
    priority: Priority,
}

fn action() -> Priority {
    Priority::Action
}

async fn test(
    State(api): State<Arc<Api>>,
    _: Human,
    Json(body): Json<TestBody>,
) -> Reply<view::TestDoc> {
    {
        let state = api.handle.state();
        if !state.policy.channels.contains_key(&body.channel) {
            let known: Vec<_> = state.policy.channels.keys().map(ToString::to_string).collect();
            return Err(Problem::new(
                Code::NotFound,
                format!("there is no channel {} (known: {})", body.channel, known.join(", ")),
            )
            .with_remedy("ao notify channels"));
        }
    }
    let text = body
        .text
        .unwrap_or_else(|| "This is a test from ao. Messages like this one reach you here.".into());
    let begun = std::time::Instant::now();
    let (receipt, token) = api.handle.test_channel(&body.channel, &text, body.priority).await?;
    let took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(Json(view::TestDoc {
        schema: "ao.test/1".into(),
        channel: body.channel,
        reached: receipt.reached,
        took_ms,
        token,
    }))
}

/// How long one wait for a press may take: shorter than a request.
const PRESS: Duration = Duration::from_secs(20);

/// Who pressed the button of a test; waits a while for it.
async fn test_pressed(
    State(api): State<Arc<Api>>,
    _: Human,
    Path(token): Path<String>,
) -> Json<view::PressDoc> {
    let by = tokio::select! {
        by = api.handle.until_pressed(&token, PRESS) => by,
        () = api.closing() => None,
    };
    let by = by.map(|by| by.to_string());
    Json(view::PressDoc { schema: "ao.press/1".into(), by })
}

async fn channels(State(api): State<Arc<Api>>, _: Human) -> Json<view::ChannelList> {
    api.handle.look_at_channels().await;
    Json(view::channels(&api.handle.state(), &api.handle.unable_channels()))
}

/// Most events that one explanation looks at.
const MOST_EVIDENCE: usize = 96;

async fn explain(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Path(subject): Path<String>,
) -> Reply<view::WhyDoc> {
    let about: About = subject.parse().map_err(|_| {
        Problem::new(
            Code::Invalid,
            format!(
                "`{}` is no session, incident or notification",
                ao_core::slots::text::cut(&subject, 60)
            ),
        )
    })?;
    match &about {
        About::Session(id) => {
            visible(&caller, id)?;
            decide::session(&api.handle.state(), id)?;
        }
        About::Incident(id) => {
            caller.must_be_human("ask why")?;
            decide::incident(&api.handle.state(), *id)?;
        }
        About::Notification(_) => caller.must_be_human("ask why")?,
    }
    let none =
        || Problem::new(Code::NotFound, format!("there is no {about}")).with_remedy("ao status");
    let roots = why::roots(&api.handle.state(), &about).ok_or_else(none)?;
    let first = first_of(&api, &about);
    // Newest first, so that a long chain loses its oldest part. What lies before the session's own beginning
    // (settings, starts) explains nothing about it.
    let mut wanted: std::collections::BTreeSet<Seq> = roots.into_iter().collect();
    let mut found = std::collections::BTreeMap::new();
    let mut looked = 0;
    while let Some(seq) = wanted.pop_last() {
        if looked >= MOST_EVIDENCE {
            break;
        }
        looked += 1;
        let page = api.handle.events(Seq(seq.0 - 1), 1).await?;
        let Some(event) = page.into_iter().find(|event| event.seq == seq) else { continue };
        wanted.extend(event.because.iter().filter(|cause| cause.0 > 0 && **cause >= first));
        wanted.retain(|seq| !found.contains_key(seq));
        found.insert(seq, event);
    }
    let now = api.handle.now();
    let zone = api.handle.zone().clone();
    let why =
        why::explain(&api.handle.state(), &about, &found, looked, now, &zone).ok_or_else(none)?;
    Ok(Json(view::WhyDoc { schema: "ao.why/1".into(), why }))
}

/// The first event that can have to do with it.
fn first_of(api: &Api, about: &About) -> Seq {
    let state = api.handle.state();
    let session = |id: &SessionId| state.sessions.get(id).map(|session| session.created.seq);
    let incident = |id: &IncidentId| {
        let incident = state.incidents.get(id)?;
        incident.sessions.iter().filter_map(session).min()
    };
    let notification =
        |id: &NotificationId| state.notifications.get(id)?.covers.iter().filter_map(incident).min();
    match about {
        About::Session(id) => session(id),
        About::Incident(id) => incident(id),
        About::Notification(id) => notification(id),
    }
    .unwrap_or(Seq(1))
}

async fn plugins(State(api): State<Arc<Api>>, _: Human) -> Json<Vec<PluginInfo>> {
    Json(api.plugins.clone())
}

async fn config(State(api): State<Arc<Api>>, _: Human) -> Reply<Vec<ConfigFile>> {
    Ok(Json(api.configs.list().await?))
}

async fn config_check(
    State(api): State<Arc<Api>>,
    _: Human,
    Json(body): Json<CheckBody>,
) -> Reply<ConfigReport> {
    Ok(Json(api.configs.check(body.file).await?))
}

async fn config_register(
    State(api): State<Arc<Api>>,
    _: Human,
    Json(body): Json<FileBody>,
) -> Reply<ConfigReport> {
    if !body.file.is_absolute() {
        return Err(Problem::new(
            Code::Invalid,
            "a configuration file is named by its absolute path",
        ));
    }
    Ok(Json(api.configs.register(body.file).await?))
}

async fn config_trust(
    State(api): State<Arc<Api>>,
    _: Human,
    Json(body): Json<TrustBody>,
) -> Reply<ConfigReport> {
    Ok(Json(api.configs.trust(body.file, body.hash).await?))
}

async fn config_forget(
    State(api): State<Arc<Api>>,
    _: Human,
    Json(body): Json<FileBody>,
) -> Reply<ConfigReport> {
    Ok(Json(api.configs.forget(body.file).await?))
}

async fn config_reload(State(api): State<Arc<Api>>, _: Human) -> Reply<ConfigReport> {
    Ok(Json(api.configs.reload().await?))
}

#[derive(Deserialize)]
struct StopBody {
    reason: String,
}

async fn stop(
    State(api): State<Arc<Api>>,
    Human { by, handle }: Human,
    Json(body): Json<StopBody>,
) -> Json<view::Health> {
    let reason = format!("{} by {by}", ao_core::slots::text::slug(&body.reason, 20));
    // The answer goes out first.
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(20)).await;
        handle.stop(&reason).await;
    });
    Json(view::Health::new(api.version))
}
