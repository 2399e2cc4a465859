//! Pull requests for whoever asks: read from the scm as they are now; what a session owns is changed through the loop,
//! everything else at the scm itself.

mod act;
mod find;
mod watch;

use std::{fmt, str::FromStr, sync::Arc, time::Duration};

use ao_core::{
    config::trigger::Trigger,
    decide,
    slots::{
        Call, IncidentId, PrNumber, ProjectId, SessionId,
        fact::PrFacts,
        scm::{PrRef, PrView, Quota},
        text::one_line,
    },
};
use axum::{
    Extension, Json, Router,
    extract::{Path, Query, State},
    routing::get,
};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

#[cfg(test)]
pub(crate) use self::find::with_project;
use self::find::{Found, find, limit, owner, scm_of, within};
pub use self::{
    act::{CreateBody, MergeBody, ReviewBody},
    watch::{CheckBody, HeldDoc, ReleaseBody},
};
use crate::{
    Api,
    api::Reply,
    caller::{Caller, Looks, own},
    events, view,
};

/// How long an act is waited for: shorter than a request may take.
const WAIT: Duration = Duration::from_secs(45);

pub(crate) fn routes() -> Router<Arc<Api>> {
    Router::new()
        .route("/api/prs", get(list))
        .route("/api/prs/{pr}", get(show))
        .route("/api/prs/{pr}/diff", get(diff))
        .route("/api/prs/{pr}/log", get(log))
        .route("/api/quota", get(quota))
        .merge(act::routes())
        .merge(watch::routes())
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
    let found = find(&api.handle, own(&caller)?, &name)?;
    let view = found.show().await?;
    let Found { project, session, .. } = found;
    Ok(Json(PrDoc { schema: "ao.pr/1".into(), pr: PrItem { project, session, view } }))
}

async fn diff(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
) -> Reply<DiffDoc> {
    let found = find(&api.handle, own(&caller)?, &name)?;
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
    let found = find(&api.handle, own(&caller)?, &name)?;
    let call = found.call("log");
    let log = found.scm.failing_check_log(&call, &found.pr, &query.check);
    let log = found.ask(log).await?;
    let lines = ao_core::slots::text::plain(&log).lines().map(str::to_owned).collect();
    Ok(Json(view::Lines { schema: "ao.lines/1".into(), lines, omitted: 0 }))
}

async fn quota(State(api): State<Arc<Api>>, _: Looks) -> Json<QuotaDoc> {
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
