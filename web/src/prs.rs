//! Pull requests for whoever asks: read from the scm as they are now; what a session owns is changed through the loop,
//! everything else at the scm itself.

use std::{fmt, future::Future, str::FromStr, sync::Arc, time::Duration};

use ao_core::{
    config::{
        policy::{ProjectPolicy, ReactionAction},
        trigger::Trigger,
    },
    decide::{self, Input},
    event::{Effect, Event, Kind, Outcome, Subject},
    server::Handle,
    slots::{
        Call, IncidentId, PluginError, PrNumber, ProjectId, Seq, SessionId,
        fact::{Mergeable, PrFacts, PrState, Review},
        scm::{GiveReview, MergeMethod, PrRef, PrView, Quota, Scm, Verdict},
        text::{count, one_line, short_commit},
    },
    state::{Attempt, Fact, Session, State as Known},
    why,
};
use axum::{
    Extension, Json, Router,
    extract::{Path, Query, State},
    http::HeaderMap,
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use tokio::{sync::broadcast, task::JoinSet};

use crate::{
    Api, Code, Problem,
    caller::{self, Caller},
    events,
    routes::{Human, Reply, keyed, own},
    view,
};

/// How long an act is waited for: shorter than a request may take.
const WAIT: Duration = Duration::from_secs(45);
/// How long a session may be busy with something else before it is refused.
const REST: Duration = Duration::from_secs(10);
/// Events read at once.
const PAGE: usize = 512;

pub(crate) fn routes() -> Router<Arc<Api>> {
    Router::new()
        .route("/api/prs", get(list))
        .route("/api/prs/{pr}", get(show))
        .route("/api/prs/{pr}/diff", get(diff))
        .route("/api/prs/{pr}/log", get(log))
        .route("/api/prs/{pr}/rerun", post(rerun))
        .route("/api/prs/{pr}/close", post(close))
        .route("/api/prs/{pr}/reopen", post(reopen))
        .route("/api/prs/{pr}/review", post(review))
        .route("/api/prs/{pr}/merge", post(merge))
        .route("/api/sessions/{id}/pr", post(create))
        .route("/api/sessions/{id}/claim-pr", post(claim))
        .route("/api/incidents/{id}/release", get(held).post(release))
        .route("/api/incidents/{id}/retry", post(retry))
        .route("/api/review-check", post(check))
        .route("/api/quota", get(quota))
}

/// How somebody names a pull request: `my-app#57`, `57`, or the session that owns it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PrName {
    /// The one of a session.
    Session(SessionId),
    /// The one with this number, in this project or in the only one that it can be.
    Number(Option<ProjectId>, PrNumber),
}

impl PrName {
    /// As a part of a path.
    pub fn segment(&self) -> String {
        self.to_string().replace('#', "%23")
    }
}

impl FromStr for PrName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(session) = text.parse() {
            return Ok(Self::Session(session));
        }
        let bad = || {
            let shown = ao_core::slots::text::cut(&one_line(text), 60);
            format!("`{shown}` is no pull request, e.g. my-app#57, 57, or the session app-3")
        };
        let (project, number) = text.split_once('#').unwrap_or(("", text));
        let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        let number = number.parse().ok().filter(|number| digits && *number > 0).ok_or_else(bad)?;
        let project = match project {
            "" => None,
            name => Some(name.parse().map_err(|_| bad())?),
        };
        Ok(Self::Number(project, PrNumber(number)))
    }
}

impl fmt::Display for PrName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session(id) => id.fmt(f),
            Self::Number(Some(project), number) => write!(f, "{project}{number}"),
            Self::Number(None, number) => number.fmt(f),
        }
    }
}

/// One pull request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PrItem {
    /// Its project.
    pub project: ProjectId,
    /// The session that owns it.
    pub session: Option<SessionId>,
    /// What the scm says of it.
    #[serde(flatten)]
    pub view: PrView,
}

/// One pull request, as a document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PrDoc {
    /// `ao.pr/1`.
    pub schema: String,
    /// The pull request.
    #[serde(flatten)]
    pub pr: PrItem,
}

/// A list of pull requests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PrList {
    /// `ao.prs/1`.
    pub schema: String,
    /// By project, the newest first.
    pub prs: Vec<PrItem>,
    /// Projects whose scm did not answer, and why.
    pub unknown: Vec<Unknown>,
}

/// Something whose scm did not answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Unknown {
    /// The project.
    pub project: ProjectId,
    /// Why.
    pub why: String,
}

/// What a pull request changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DiffDoc {
    /// `ao.diff/1`.
    pub schema: String,
    /// As `git diff` writes it; untrusted.
    pub diff: String,
}

/// A pull request was opened, changed or claimed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChangedDoc {
    /// `ao.pr-changed/1`.
    pub schema: String,
    /// Its project.
    pub project: ProjectId,
    /// The session that owns it.
    pub session: Option<SessionId>,
    /// The pull request.
    pub pr: PrRef,
    /// Its page.
    pub url: Option<String>,
    /// The resulting commit, where it was merged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
}

/// A round that was made at once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReviewCheckDoc {
    /// `ao.review-check/1`.
    pub schema: String,
    /// Nothing was done.
    pub dry_run: bool,
    /// Sessions whose project has an scm, and that are not over.
    pub sessions: Vec<Looked>,
}

/// What a look at one session's pull request brought.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Looked {
    /// The session.
    pub session: SessionId,
    /// Its project.
    pub project: ProjectId,
    /// What was seen; none = it has no pull request, or see `unknown`.
    pub facts: Option<PrFacts>,
    /// Why nothing is known.
    pub unknown: Option<String>,
    /// What is wrong with it.
    pub troubles: Vec<Trouble>,
    /// What `ao` did in this round, in words.
    pub done: Vec<String>,
}

/// What is wrong with a pull request, and what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Trouble {
    /// Which.
    pub trigger: Trigger,
    /// In words.
    pub words: String,
    /// What becomes of it.
    pub goes: Goes,
    /// The incident about it.
    pub incident: Option<IncidentId>,
}

/// What becomes of a trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Goes {
    /// The agent was told of it as it stands.
    Told,
    /// The agent is told as soon as it can take it.
    ToAgent,
    /// A human releases it first: words of somebody who may not write are in it.
    Held,
    /// A human is told, not the agent.
    ToHuman,
    /// Nobody is told: the configuration says so.
    ToNobody,
}

/// What may still be spent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QuotaDoc {
    /// `ao.quota/1`.
    pub schema: String,
    /// By account and name.
    pub quotas: Vec<QuotaView>,
}

/// One quota, and the projects that share it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QuotaView {
    /// Who shares it.
    pub projects: Vec<ProjectId>,
    /// The quota.
    #[serde(flatten)]
    pub quota: Quota,
}

/// A pull request where it lies.
#[derive(Clone)]
struct Found {
    project: ProjectId,
    /// The session that owns it, while that is not over.
    session: Option<SessionId>,
    scm: Arc<dyn Scm>,
    pr: PrRef,
    limit: Duration,
}

impl Found {
    /// A call of its own: what is asked for a second time is meant a second time.
    fn call(&self, verb: &str) -> Call {
        let now = jiff::Timestamp::now().as_nanosecond();
        Call::new(format!("{verb}-{}{}-{now}", self.project, self.pr.number), self.limit)
    }

    async fn show(&self) -> Result<PrView, Problem> {
        self.ask(self.scm.show(&self.call("show"), &self.pr)).await
    }

    async fn ask<T>(
        &self,
        ask: impl Future<Output = Result<T, PluginError>>,
    ) -> Result<T, Problem> {
        within(self.limit, ask).await.map_err(|error| self.named(error.into()))
    }

    /// A plugin knows no projects: of several, a bare number in its remedy could mean another's.
    fn named(&self, problem: Problem) -> Problem {
        let remedy = problem.remedy.map(|said| with_project(said, &self.project, self.pr.number));
        Problem { remedy, ..problem }
    }

    fn changed(&self) -> ChangedDoc {
        ChangedDoc {
            schema: "ao.pr-changed/1".into(),
            project: self.project.clone(),
            session: self.session.clone(),
            pr: self.pr.clone(),
            url: None,
            commit: None,
        }
    }

    /// Facts follow at once: of the session that owns it, and of all where the base moved.
    fn look(&self, handle: &Handle) {
        if let Some(session) = &self.session {
            handle.look_at_pr(session);
        }
    }
}

/// A remedy with `<project>#<number>` where it has this number alone.
pub(crate) fn with_project(remedy: String, project: &ProjectId, number: PrNumber) -> String {
    let verbs = ["close", "diff", "merge", "reopen"];
    verbs.iter().fold(remedy, |remedy, verb| {
        let whole = format!("ao pr {verb} {project}{number}");
        remedy.replace(&format!("ao pr {verb} {}", number.0), &whole)
    })
}

/// A plugin that keeps its limit answers in time; another is not waited for.
async fn within<T>(
    limit: Duration,
    ask: impl Future<Output = Result<T, PluginError>>,
) -> Result<T, PluginError> {
    let late = |_| {
        let what = format!("the scm did not answer within {} s", limit.as_secs());
        PluginError::transient(what, "")
    };
    tokio::time::timeout(limit + Duration::from_secs(1), ask).await.map_err(late)?
}

fn limit(handle: &Handle) -> Duration {
    Duration::from_millis(handle.state().policy.lifecycle.limits.scm_ms)
}

fn no_scm(project: &ProjectId) -> Problem {
    Problem::new(Code::NotFound, format!("{project} has no scm: no pull requests are followed"))
        .with_remedy("set `scm: local` in agent-orchestrator.yaml")
}

fn scm_of(handle: &Handle, project: &ProjectId) -> Result<(Arc<dyn Scm>, String), Problem> {
    if !handle.state().policy.projects.contains_key(project) {
        let what = format!("there is no project {project}");
        return Err(Problem::new(Code::NotFound, what).with_remedy("ao config ls"));
    }
    handle.scm(project).ok_or_else(|| no_scm(project))
}

/// The session that follows a pull request, and is not over.
fn owner(state: &Known, project: &ProjectId, number: PrNumber) -> Option<SessionId> {
    let follows = |session: &&Session| {
        let pr = session.follow.pr.as_ref();
        session.project == *project
            && !session.is_over()
            && pr.is_some_and(|pr| pr.number == number)
    };
    state.sessions.values().find(follows).map(|session| session.id.clone())
}

/// The project that a bare number can only mean.
fn only_project(
    state: &Known,
    number: PrNumber,
    own: Option<&SessionId>,
) -> Result<ProjectId, Problem> {
    if let Some(session) = own.and_then(|id| state.sessions.get(id)) {
        return Ok(session.project.clone());
    }
    let with_scm = || {
        state.policy.projects.iter().filter(|(_, project)| project.scm.is_some()).map(|(id, _)| id)
    };
    let follows = |id: &&ProjectId| owner(state, id, number).is_some();
    let followed: Vec<_> = with_scm().filter(follows).collect();
    let all: Vec<_> = with_scm().collect();
    match (followed.as_slice(), all.as_slice()) {
        ([one], _) | ([], [one]) => Ok((*one).clone()),
        (_, []) => Err(Problem::new(
            Code::NotFound,
            "no project has an scm: no pull requests are followed",
        )
        .with_remedy("set `scm: local` in agent-orchestrator.yaml")),
        (_, [first, ..]) => {
            let names: Vec<_> = all.iter().map(ToString::to_string).collect();
            let what = format!("{number} of which project? ({})", names.join(", "));
            Err(Problem::new(Code::Invalid, what)
                .with_remedy(format!("name it, e.g. {first}{number}")))
        }
    }
}

fn find(handle: &Handle, caller: &Caller, name: &str) -> Result<Found, Problem> {
    let name: PrName = name.parse().map_err(|why: String| Problem::new(Code::Invalid, why))?;
    let own = own(caller)?;
    let (project, number, known) = {
        let state = handle.state();
        match &name {
            PrName::Session(id) => {
                if !caller.may_see(id) {
                    return Err(not_its_own(&name));
                }
                let session = decide::session(&state, id)?;
                let none = || {
                    let restore = match session.is_over() {
                        true => format!("ao session restore {id}, then "),
                        false => String::new(),
                    };
                    Problem::new(Code::NotFound, format!("{id} has no pull request"))
                        .with_remedy(format!("{restore}ao pr create {id}"))
                };
                let pr = session.follow.pr.clone().ok_or_else(none)?;
                (session.project.clone(), pr.number, Some(pr))
            }
            PrName::Number(project, number) => {
                let project = match project {
                    Some(project) => project.clone(),
                    None => only_project(&state, *number, own)?,
                };
                (project, *number, None)
            }
        }
    };
    let (scm, repo) = scm_of(handle, &project)?;
    let state = handle.state();
    let session = owner(&state, &project, number);
    let agents = own.is_some_and(|own| session.as_ref() != Some(own));
    if agents && !matches!(name, PrName::Session(_)) {
        return Err(not_its_own(&name));
    }
    let followed = session.as_ref().and_then(|id| state.sessions.get(id)?.follow.pr.clone());
    let bare = PrRef { repo, number, node: None };
    Ok(Found {
        project,
        session,
        scm,
        pr: known.or(followed).unwrap_or(bare),
        limit: Duration::from_millis(state.policy.lifecycle.limits.scm_ms),
    })
}

fn not_its_own(name: &PrName) -> Problem {
    Problem::new(
        Code::Forbidden,
        format!("an agent may look at its own pull request only, not at {name}"),
    )
}

#[derive(Deserialize)]
struct ListQuery {
    project: Option<ProjectId>,
    #[serde(default, deserialize_with = "events::flag")]
    all: bool,
}

async fn list(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Query(query): Query<ListQuery>,
) -> Reply<PrList> {
    let (handle, own) = (&api.handle, own(&caller)?.cloned());
    let wanted: Vec<ProjectId> = match (&query.project, &own) {
        (_, Some(own)) => vec![decide::session(&handle.state(), own)?.project.clone()],
        (Some(project), None) => vec![project.clone()],
        (None, None) => {
            let state = handle.state();
            let with = state.policy.projects.iter().filter(|(_, project)| project.scm.is_some());
            with.map(|(id, _)| id.clone()).collect()
        }
    };
    let one = wanted.len() == 1;
    let mut asked = JoinSet::new();
    for project in wanted {
        let (scm, repo) = scm_of(handle, &project)?;
        let (limit, all) = (limit(handle), query.all);
        asked.spawn(async move {
            let call = Call::new(format!("list-{project}"), limit);
            (project, within(limit, scm.list(&call, &repo, all)).await)
        });
    }
    let (mut prs, mut unknown) = (vec![], vec![]);
    while let Some(answer) = asked.join_next().await {
        let Ok((project, answer)) = answer else { continue };
        match answer {
            Err(error) if one => return Err(error.into()),
            Err(error) => unknown.push(Unknown { project, why: one_line(&error.to_string()) }),
            Ok(views) => {
                let state = handle.state();
                prs.extend(views.into_iter().map(|view| PrItem {
                    session: owner(&state, &project, view.pr.number),
                    project: project.clone(),
                    view,
                }));
            }
        }
    }
    prs.retain(|pr| own.is_none() || pr.session == own);
    prs.sort_by(|a, b| (&a.project, b.view.pr.number).cmp(&(&b.project, a.view.pr.number)));
    unknown.sort_by(|a, b| a.project.cmp(&b.project));
    Ok(Json(PrList { schema: "ao.prs/1".into(), prs, unknown }))
}

async fn show(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
) -> Reply<PrDoc> {
    let found = find(&api.handle, &caller, &name)?;
    let view = found.show().await?;
    let Found { project, session, .. } = found;
    Ok(Json(PrDoc { schema: "ao.pr/1".into(), pr: PrItem { project, session, view } }))
}

async fn diff(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
) -> Reply<DiffDoc> {
    let found = find(&api.handle, &caller, &name)?;
    let diff = found.ask(found.scm.diff(&found.call("diff"), &found.pr)).await?;
    Ok(Json(DiffDoc { schema: "ao.diff/1".into(), diff }))
}

#[derive(Deserialize)]
struct LogQuery {
    check: String,
}

async fn log(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    Query(query): Query<LogQuery>,
) -> Reply<view::Lines> {
    let found = find(&api.handle, &caller, &name)?;
    let call = found.call("log");
    let log = found.scm.failing_check_log(&call, &found.pr, &query.check);
    let log = found.ask(log).await?;
    let lines = ao_core::slots::text::plain(&log).lines().map(str::to_owned).collect();
    Ok(Json(view::Lines { schema: "ao.lines/1".into(), lines, omitted: 0 }))
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct RerunBody {
    check: Option<String>,
}

async fn rerun(
    State(api): State<Arc<Api>>,
    _: Human,
    Path(name): Path<String>,
    Json(body): Json<RerunBody>,
) -> Reply<ChangedDoc> {
    let found = find(&api.handle, &Caller::Human, &name)?;
    let call = found.call("rerun");
    let asked = found.scm.rerun(&call, &found.pr, body.check.as_deref());
    found.ask(asked).await?;
    found.look(&api.handle);
    Ok(Json(found.changed()))
}

async fn close(
    State(api): State<Arc<Api>>,
    _: Human,
    Path(name): Path<String>,
) -> Reply<ChangedDoc> {
    let found = find(&api.handle, &Caller::Human, &name)?;
    found.ask(found.scm.close(&found.call("close"), &found.pr)).await?;
    found.look(&api.handle);
    Ok(Json(found.changed()))
}

async fn reopen(
    State(api): State<Arc<Api>>,
    _: Human,
    Path(name): Path<String>,
) -> Reply<ChangedDoc> {
    let found = find(&api.handle, &Caller::Human, &name)?;
    found.ask(found.scm.reopen(&found.call("reopen"), &found.pr)).await?;
    found.look(&api.handle);
    Ok(Json(found.changed()))
}

/// A review.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReviewBody {
    /// The head that was looked at.
    pub head: String,
    /// The decision.
    pub verdict: Verdict,
    /// The words; may be empty with an approval.
    #[serde(default)]
    pub text: String,
    /// The file and the line, from 1.
    #[serde(default)]
    pub at: Option<(String, u32)>,
}

async fn review(
    State(api): State<Arc<Api>>,
    Human { by, .. }: Human,
    Path(name): Path<String>,
    Json(body): Json<ReviewBody>,
) -> Reply<ChangedDoc> {
    let found = find(&api.handle, &Caller::Human, &name)?;
    let ReviewBody { head, verdict, text, at } = body;
    if text.trim().is_empty() && (verdict != Verdict::Approve || at.is_some()) {
        return Err(Problem::new(Code::Invalid, "a review that is no approval needs words")
            .with_remedy("say them with -m"));
    }
    let given = GiveReview { head: Some(head), verdict, text, at, by: by.name };
    found.ask(found.scm.review(&found.call("review"), &found.pr, &given)).await?;
    found.look(&api.handle);
    Ok(Json(found.changed()))
}

/// A merge.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MergeBody {
    /// The head that was shown; another is refused.
    pub head: String,
    /// How; none = as the project says, else as the repository allows.
    #[serde(default)]
    pub method: Option<MergeMethod>,
}

async fn merge(
    State(api): State<Arc<Api>>,
    Human { by, handle }: Human,
    Path(name): Path<String>,
    Json(body): Json<MergeBody>,
) -> Reply<ChangedDoc> {
    let MergeBody { head, method } = body;
    let found = find(&api.handle, &Caller::Human, &name)?;
    let commit = match &found.session {
        Some(session) => {
            let seen = || {
                let state = api.handle.state();
                let pr = state.sessions.get(session).and_then(Session::pr);
                pr.is_some_and(|pr| pr.head == head)
            };
            // What the caller was shown may be newer than the last look.
            if !seen() {
                let _ = tokio::time::timeout(REST, api.handle.look_at_prs(Some(session))).await;
            }
            let mut live = api.handle.subscribe();
            let (session, wanted) = (session.clone(), Some(head.clone()));
            let input = Input::Merge { session: session.clone(), head: wanted, method, by };
            handle.submit(input).await?;
            let merged = merged(&api, &mut live, &session, &head).await;
            merged.map_err(|problem| found.named(problem))?
        }
        None => {
            let limit = api.handle.state().policy.lifecycle.limits.merge_ms;
            let found = Found { limit: Duration::from_millis(limit).min(WAIT), ..found.clone() };
            let project = || api.handle.state().policy.projects.get(&found.project)?.merge_method;
            let method = method.or_else(project);
            let call = found.call("merge");
            let commit = found.ask(found.scm.merge(&call, &found.pr, &head, method)).await?;
            // The base of others has moved.
            let handle = api.handle.clone();
            tokio::spawn(async move { handle.look_at_prs(None).await });
            commit
        }
    };
    Ok(Json(ChangedDoc { commit: Some(commit), ..found.changed() }))
}

/// The commit that a wanted merge brought, or why it brought none.
async fn merged(
    api: &Api,
    live: &mut broadcast::Receiver<Arc<Event>>,
    session: &SessionId,
    head: &str,
) -> Result<String, Problem> {
    let outcome = || {
        let state = api.handle.state();
        let merge = state.sessions.get(session).and_then(|session| session.follow.merge.as_ref());
        match merge.filter(|merge| merge.head == head) {
            None => Some(Err(odd())),
            Some(merge) => match (&merge.commit, &merge.failure) {
                (Some(commit), _) => Some(Ok(commit.clone())),
                (None, Some(failure)) => Some(Err(failure.clone().into())),
                (None, None) => None,
            },
        }
    };
    let search = async {
        loop {
            if let Some(outcome) = outcome() {
                return outcome;
            }
            if matches!(live.recv().await, Err(broadcast::error::RecvError::Closed)) {
                return Err(Problem::new(Code::Unavailable, "the server is stopping"));
            }
        }
    };
    in_time(api, session, search).await
}

fn odd() -> Problem {
    Problem::new(Code::Failed, "the scm brought something else than was asked for")
        .with_remedy("ao doctor --report")
}

/// A pull request to open.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct CreateBody {
    /// One line; none = from the task.
    pub title: Option<String>,
    /// Its text.
    pub body: Option<String>,
    /// Not ready for review.
    pub draft: bool,
    /// What it goes into; none = the project's default branch.
    pub base: Option<String>,
}

async fn create(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Path(session): Path<SessionId>,
    headers: HeaderMap,
    Json(body): Json<CreateBody>,
) -> Reply<ChangedDoc> {
    own(&caller)?;
    if !caller.may_see(&session) {
        let what =
            format!("an agent may open a pull request of its own session only, not {session}'s");
        return Err(Problem::new(Code::Forbidden, what));
    }
    let handle = keyed(&api, &headers)?;
    let project = decide::session(&api.handle.state(), &session)?.project.clone();
    let (scm, _) = scm_of(&api.handle, &project)?;
    let (mut live, after) = (api.handle.subscribe(), api.handle.state().last_seq);
    at_rest(&api, &mut live, &session).await;
    let text = |text: Option<String>| {
        text.filter(|text| !text.trim().is_empty()).map(|text| api.handle.put_verbatim(&text))
    };
    let CreateBody { title, body, draft, base } = body;
    let input = Input::OpenPr {
        session: session.clone(),
        title: text(title),
        body: text(body),
        draft,
        base: base.filter(|base| !base.is_empty()),
    };
    let after = handle.submit(input).await?.after.unwrap_or(after);
    let opens = |effect: &Effect| matches!(effect, Effect::OpenPr { .. });
    let outcome = until(&api, &mut live, after, &session, opens).await?;
    let Outcome::PrOpened(pr) = outcome else { return Err(odd()) };
    let found = Found { project, session: Some(session), scm, pr, limit: limit(&api.handle) };
    // It is open, whatever the scm says next.
    let url = found.show().await.ok().and_then(|view| view.facts.details.url.clone());
    Ok(Json(ChangedDoc { url, ..found.changed() }))
}

/// Waits a while until a session does nothing else.
async fn at_rest(api: &Api, live: &mut broadcast::Receiver<Arc<Event>>, session: &SessionId) {
    let busy = || {
        let state = api.handle.state();
        state.sessions.get(session).is_some_and(|session| session.busy.is_some())
    };
    let rests = async {
        while busy() && !matches!(live.recv().await, Err(broadcast::error::RecvError::Closed)) {}
    };
    let _ = tokio::time::timeout(REST, rests).await;
}

/// What became of the first effect of a session after `after` that is wanted.
async fn until(
    api: &Api,
    live: &mut broadcast::Receiver<Arc<Event>>,
    after: Seq,
    session: &SessionId,
    wanted: impl Fn(&Effect) -> bool,
) -> Result<Outcome, Problem> {
    let search = async {
        let (mut last, mut intent) = (after, None);
        loop {
            let page = api.handle.events(last, PAGE).await?;
            let more = page.len() == PAGE;
            for event in page {
                last = event.seq;
                match event.kind {
                    Kind::EffectIntended(e)
                        if event.session.as_ref() == Some(session) && wanted(&e.effect) =>
                    {
                        intent = Some(event.seq);
                    }
                    Kind::EffectSucceeded(e) if Some(e.intent) == intent => return Ok(e.outcome),
                    Kind::EffectFailed(e) if Some(e.intent) == intent => {
                        return Err(e.failure.into());
                    }
                    _ => {}
                }
            }
            if !more && matches!(live.recv().await, Err(broadcast::error::RecvError::Closed)) {
                return Err(Problem::new(Code::Unavailable, "the server is stopping"));
            }
        }
    };
    in_time(api, session, search).await
}

/// What comes of a wait; whoever waits too long is told where to look.
async fn in_time<T>(
    api: &Api,
    session: &SessionId,
    search: impl Future<Output = Result<T, Problem>>,
) -> Result<T, Problem> {
    let late = |_| {
        Problem::new(Code::InDoubt, format!("{session}: it is not done yet, and may still be"))
            .with_remedy(format!("ao why {session}"))
    };
    tokio::select! {
        found = tokio::time::timeout(WAIT, search) => found.map_err(late)?,
        () = api.closing() => Err(Problem::new(Code::Unavailable, "the server is stopping")),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClaimBody {
    number: PrNumber,
}

/// A human gives a session any pull request. An agent takes for its own session the one that its commit is in: opened by
/// another tool, or under another branch than `ao` looks for.
async fn claim(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Path(session): Path<SessionId>,
    headers: HeaderMap,
    Json(body): Json<ClaimBody>,
) -> Reply<ChangedDoc> {
    let by_agent = own(&caller)?.is_some();
    if !caller.may_see(&session) {
        let what =
            format!("an agent may claim a pull request for its own session only, not {session}'s");
        return Err(Problem::new(Code::Forbidden, what));
    }
    let handle = keyed(&api, &headers)?;
    let project = decide::session(&api.handle.state(), &session)?.project.clone();
    let (scm, repo) = scm_of(&api.handle, &project)?;
    let pr = PrRef { repo, number: body.number, node: None };
    let mut found =
        Found { project, session: Some(session.clone()), scm, pr, limit: limit(&api.handle) };
    // As its scm names it, and only if it is there.
    let seen = found.show().await?;
    found.pr = seen.pr;
    if by_agent {
        api.handle.look(&session).await;
        claimable(&api.handle.state(), &session, &seen.facts)?;
    }
    let by = (!by_agent).then(caller::actor);
    handle.submit(Input::Link { session: session.clone(), pr: found.pr.clone(), by }).await?;
    if by_agent {
        // What an agent says takes the place of nothing.
        let number = found.pr.number;
        let has =
            decide::session(&api.handle.state(), &session)?.follow.pr.as_ref().map(|pr| pr.number);
        match has {
            Some(has) if has == number => {}
            Some(has) => return Err(conflict(format!("{session} has pull request {has} already"))),
            None => return Err(conflict(format!("pull request {number} is another session's"))),
        }
    }
    found.look(&api.handle);
    Ok(Json(ChangedDoc { url: seen.facts.details.url.clone(), ..found.changed() }))
}

/// Whether an agent may take it for its session: it is open, at the commit that its workspace is at.
fn claimable(state: &Known, id: &SessionId, facts: &PrFacts) -> Result<(), Problem> {
    let number = facts.number;
    if !matches!(facts.state, PrState::Open | PrState::Draft) {
        return Err(conflict(format!("pull request {number} is not open")));
    }
    let head = decide::session(state, id)?.work().map(|work| work.head.as_str());
    if head != Some(&*facts.head) {
        let is = short_commit(&facts.head);
        let what = format!("pull request {number} is at {is}, which is not {id}'s commit");
        return Err(conflict(what).with_remedy("push the branch first; a human may claim any"));
    }
    Ok(())
}

fn conflict(what: String) -> Problem {
    Problem::new(Code::Conflict, what)
}

/// What waits for a human before an agent gets it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeldDoc {
    /// `ao.held/1`.
    pub schema: String,
    /// The session whose agent would get it.
    pub session: SessionId,
    /// Whose words are in it who may not write to the repository.
    pub by: Vec<String>,
    /// The message, as the agent would get it.
    pub text: String,
    /// Its digest: what releases it, and nothing else.
    pub digest: String,
}

async fn held(
    State(api): State<Arc<Api>>,
    _: Human,
    Path(incident): Path<IncidentId>,
) -> Reply<HeldDoc> {
    let state = api.handle.state();
    let (session, _, brief) = decide::held(&state, incident)?;
    // The beginning alone is not what would be passed on.
    let text = match &brief.text.blob {
        Some(blob) => api.handle.text(blob).ok_or_else(|| {
            Problem::new(Code::Failed, "what was written can no longer be read")
                .with_remedy(format!("ao why {incident}"))
        })?,
        None => brief.text.excerpt.clone(),
    };
    Ok(Json(HeldDoc {
        schema: "ao.held/1".into(),
        session: session.clone(),
        by: brief.held.clone(),
        text,
        digest: brief.digest.clone(),
    }))
}

/// What a human has read, and lets go.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReleaseBody {
    /// The digest of it.
    pub digest: String,
}

async fn release(
    State(api): State<Arc<Api>>,
    Human { by, handle }: Human,
    Path(incident): Path<IncidentId>,
    Json(ReleaseBody { digest }): Json<ReleaseBody>,
) -> Reply<view::Taken> {
    api.submit(&handle, Input::Release { incident, digest, by }).await
}

async fn retry(
    State(api): State<Arc<Api>>,
    Human { by, handle }: Human,
    Path(incident): Path<IncidentId>,
) -> Reply<view::Taken> {
    api.submit(&handle, Input::Retry { incident, by }).await
}

/// A round to make.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct CheckBody {
    /// Only of this project.
    pub project: Option<ProjectId>,
    /// Only look.
    pub dry_run: bool,
}

async fn check(
    State(api): State<Arc<Api>>,
    _: Human,
    Json(CheckBody { project, dry_run }): Json<CheckBody>,
) -> Reply<ReviewCheckDoc> {
    let handle = &api.handle;
    if let Some(project) = &project {
        scm_of(handle, project)?;
    }
    let before = handle.state().last_seq;
    let mut seen = std::collections::BTreeMap::new();
    match dry_run {
        true => seen = observe(handle, project.as_ref()).await,
        false => {
            let late = |_| {
                Problem::new(Code::InDoubt, "the round goes on; an scm does not answer")
                    .with_remedy("ao status")
            };
            tokio::time::timeout(WAIT, handle.look_at_prs(None)).await.map_err(late)?;
        }
    }
    let mut done = match dry_run {
        true => vec![],
        false => handle.events(before, 10_000).await?,
    };
    done.retain(|event| {
        matches!(
            &event.kind,
            Kind::PrLinked(_) | Kind::MessageQueued(_) | Kind::MergeDecided(_) | Kind::MessageWithdrawn(_)
        ) || matches!(
            &event.kind,
            Kind::EffectIntended(e) if matches!(e.effect, Effect::RerunChecks { .. } | Effect::MergePr { .. })
        )
    });
    let state = handle.state();
    let mut sessions = vec![];
    for session in followed(&state, project.as_ref()) {
        let mut session = session.clone();
        let away = state.scm_away.get(&session.project);
        let mut unknown = away.filter(|_| !dry_run).map(|(failure, _)| failure.message.clone());
        match seen.remove(&session.id) {
            Some(Ok(facts)) => {
                let at = session.pr.as_ref().map_or(session.created, |fact| fact.since);
                let source = ao_core::slots::fact::Source::Scm;
                session.pr = Some(Fact { value: facts, source, since: at });
            }
            Some(Err(why)) => unknown = Some(why),
            None => {}
        }
        let own = done.iter().filter(|event| event.session.as_ref() == Some(&session.id));
        sessions.push(Looked {
            troubles: troubles(&state, &session),
            facts: session.pr().cloned(),
            unknown,
            done: own.map(|event| why::describe(event).line()).collect(),
            project: session.project,
            session: session.id,
        });
    }
    Ok(Json(ReviewCheckDoc { schema: "ao.review-check/1".into(), dry_run, sessions }))
}

/// Sessions that are not over, of projects with an scm.
fn followed<'s>(
    state: &'s Known,
    project: Option<&'s ProjectId>,
) -> impl Iterator<Item = &'s Session> {
    state.sessions.values().filter(move |session| {
        let scm = |project: &ProjectPolicy| project.scm.is_some();
        !session.is_over()
            && project.is_none_or(|project| session.project == *project)
            && state.policy.projects.get(&session.project).is_some_and(scm)
    })
}

/// What pull requests are now, without anything that follows from it.
async fn observe(
    handle: &Handle,
    project: Option<&ProjectId>,
) -> std::collections::BTreeMap<SessionId, Result<PrFacts, String>> {
    let mut by_project: std::collections::BTreeMap<ProjectId, Vec<(SessionId, PrRef)>> =
        Default::default();
    for session in followed(&handle.state(), project) {
        if let Some(pr) = session.follow.pr.clone() {
            by_project.entry(session.project.clone()).or_default().push((session.id.clone(), pr));
        }
    }
    let mut asked = JoinSet::new();
    for (project, sessions) in by_project {
        let Some((scm, _)) = handle.scm(&project) else { continue };
        let limit = limit(handle);
        asked.spawn(async move {
            let prs: Vec<PrRef> = sessions.iter().map(|(_, pr)| pr.clone()).collect();
            let call = Call::new(format!("look-{project}"), limit);
            let answers = within(limit, scm.observe(&call, &prs)).await;
            let of = |at: usize| match &answers {
                Ok(answers) => match answers.get(at) {
                    Some(ao_core::slots::call::Answer::Yes(facts)) => Ok(facts.clone()),
                    Some(ao_core::slots::call::Answer::No) => Err("it is not there".to_owned()),
                    Some(ao_core::slots::call::Answer::Unknown(why)) => Err(one_line(why)),
                    None => Err("the scm did not answer".to_owned()),
                },
                Err(error) => Err(one_line(&error.to_string())),
            };
            let each = sessions.iter().enumerate().map(|(at, (id, _))| (id.clone(), of(at)));
            each.collect::<Vec<_>>()
        });
    }
    let mut seen = std::collections::BTreeMap::new();
    while let Some(answers) = asked.join_next().await {
        seen.extend(answers.unwrap_or_default());
    }
    seen
}

/// What is wrong with a session's pull request as it stands, and what becomes of it.
fn troubles(state: &Known, session: &Session) -> Vec<Trouble> {
    let Some(pr) = session.pr() else { return vec![] };
    let told = [
        Trigger::CiFailed,
        Trigger::MergeConflicts,
        Trigger::ChangesRequested,
        Trigger::BugbotComments,
    ];
    let each = told.into_iter().filter_map(|trigger| {
        let key = session.brief_key(trigger)?;
        let reaction = state.policy.reaction(Some(&session.project), trigger);
        let follow = &session.follow;
        let has_it = |a: &Attempt| a.trigger == trigger && a.key == key && a.confirmed.is_some();
        let knows = follow.attempts.iter().any(has_it);
        let brief = follow.briefs.get(&trigger).filter(|brief| brief.key == key);
        let held = brief.is_some_and(|brief| !brief.held.is_empty() && brief.released.is_none());
        let goes = match reaction.action {
            _ if knows => Goes::Told,
            ReactionAction::SendToAgent if reaction.auto && held => Goes::Held,
            ReactionAction::SendToAgent if reaction.auto => Goes::ToAgent,
            ReactionAction::Nothing => Goes::ToNobody,
            _ => Goes::ToHuman,
        };
        let subject = Subject::Session(session.id.clone());
        let incident = state.open_incident(&subject, trigger, None).map(|incident| incident.id);
        Some(Trouble { trigger, words: words(trigger, pr), goes, incident })
    });
    each.collect()
}

fn words(trigger: Trigger, pr: &PrFacts) -> String {
    let listed =
        |names: &[String]| names.iter().map(|name| one_line(name)).collect::<Vec<_>>().join(", ");
    match trigger {
        Trigger::CiFailed if pr.failing.is_empty() => "its checks fail".to_owned(),
        Trigger::CiFailed => format!("{} fails", listed(&pr.failing)),
        Trigger::MergeConflicts if pr.mergeable == Mergeable::Behind => {
            "its branch must be updated".to_owned()
        }
        Trigger::MergeConflicts if pr.details.conflicts.is_empty() => "it conflicts".to_owned(),
        Trigger::MergeConflicts => format!("it conflicts in {}", listed(&pr.details.conflicts)),
        Trigger::ChangesRequested
            if pr.human_threads + pr.remarks == 0 && pr.review == Review::ChangesRequested =>
        {
            "changes are requested".to_owned()
        }
        Trigger::ChangesRequested => {
            let open = pr.human_threads + pr.remarks;
            format!("{} open", count(open.into(), "review comment", "review comments"))
        }
        _ => format!("{} open", count(pr.bot_threads.into(), "bot comment", "bot comments")),
    }
}

async fn quota(State(api): State<Arc<Api>>, _: Human) -> Json<QuotaDoc> {
    let projects: Vec<ProjectId> = api.handle.state().policy.projects.keys().cloned().collect();
    let mut quotas: Vec<QuotaView> = vec![];
    for project in projects {
        let Some((scm, _)) = api.handle.scm(&project) else { continue };
        for quota in scm.quota() {
            let same = |known: &&mut QuotaView| {
                known.quota.account == quota.account && known.quota.name == quota.name
            };
            match quotas.iter_mut().find(same) {
                Some(known) => known.projects.push(project.clone()),
                None => quotas.push(QuotaView { projects: vec![project.clone()], quota }),
            }
        }
    }
    quotas
        .sort_by(|a, b| (&a.quota.account, &a.quota.name).cmp(&(&b.quota.account, &b.quota.name)));
    Json(QuotaDoc { schema: "ao.quota/1".into(), quotas })
}
