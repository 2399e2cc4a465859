//! Which pull request is meant, and at which scm.

use std::{future::Future, sync::Arc, time::Duration};

use ao_core::{
    decide,
    server::Handle,
    slots::{
        Call, PluginError, PrNumber, ProjectId, SessionId,
        scm::{PrRef, PrView, Scm},
    },
    state::{Session, State as Known},
};

use super::{ChangedDoc, PrName};
use crate::{Code, Problem};

/// A pull request where it lies.
#[derive(Clone)]
pub(super) struct Found {
    pub(super) project: ProjectId,
    /// The session that owns it, while that is not over.
    pub(super) session: Option<SessionId>,
    pub(super) scm: Arc<dyn Scm>,
    pub(super) pr: PrRef,
    pub(super) limit: Duration,
}

impl Found {
    /// A call of its own: what is asked for a second time is meant a second time.
    pub(super) fn call(&self, verb: &str) -> Call {
        let now = jiff::Timestamp::now().as_nanosecond();
        Call::new(format!("{verb}-{}{}-{now}", self.project, self.pr.number), self.limit)
    }

    pub(super) async fn show(&self) -> Result<PrView, Problem> {
        self.ask(self.scm.show(&self.call("show"), &self.pr)).await
    }

    pub(super) async fn ask<T>(
        &self,
        ask: impl Future<Output = Result<T, PluginError>>,
    ) -> Result<T, Problem> {
        within(self.limit, ask).await.map_err(|error| self.named(error.into()))
    }

    /// A plugin knows no projects: of several, a bare number in its remedy could mean another's.
    pub(super) fn named(&self, problem: Problem) -> Problem {
        let remedy = problem.remedy.map(|said| with_project(said, &self.project, self.pr.number));
        Problem { remedy, ..problem }
    }

    pub(super) fn changed(&self) -> ChangedDoc {
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
    pub(super) fn look(&self, handle: &Handle) {
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
pub(super) async fn within<T>(
    limit: Duration,
    ask: impl Future<Output = Result<T, PluginError>>,
) -> Result<T, PluginError> {
    let late = |_| {
        let what = format!("the scm did not answer within {} s", limit.as_secs());
        PluginError::transient(what, "")
    };
    tokio::time::timeout(limit + Duration::from_secs(1), ask).await.map_err(late)?
}

pub(super) fn limit(handle: &Handle) -> Duration {
    Duration::from_millis(handle.state().policy.lifecycle.limits.scm_ms)
}

pub(super) fn no_scm(project: &ProjectId) -> Problem {
    Problem::new(Code::NotFound, format!("{project} has no scm: no pull requests are followed"))
        .with_remedy("set `scm: local` in agent-orchestrator.yaml")
}

pub(super) fn scm_of(
    handle: &Handle,
    project: &ProjectId,
) -> Result<(Arc<dyn Scm>, String), Problem> {
    if !handle.state().policy.projects.contains_key(project) {
        let what = format!("there is no project {project}");
        return Err(Problem::new(Code::NotFound, what).with_remedy("ao config ls"));
    }
    handle.scm(project).ok_or_else(|| no_scm(project))
}

/// The session that follows a pull request, and is not over.
pub(super) fn owner(state: &Known, project: &ProjectId, number: PrNumber) -> Option<SessionId> {
    let follows = |session: &&Session| {
        let pr = session.follow.pr.as_ref();
        session.project == *project
            && !session.is_over()
            && pr.is_some_and(|pr| pr.number == number)
    };
    state.sessions.values().find(follows).map(|session| session.id.clone())
}

/// The project that a bare number can only mean.
pub(super) fn only_project(
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

/// The pull request of this name; with `own`, for the agent of that session.
pub(super) fn find(handle: &Handle, own: Option<&SessionId>, name: &str) -> Result<Found, Problem> {
    let name: PrName = name.parse().map_err(|why: String| Problem::new(Code::Invalid, why))?;
    let (project, number, known) = {
        let state = handle.state();
        match &name {
            PrName::Session(id) => {
                if own.is_some_and(|own| own != id) {
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

pub(super) fn not_its_own(name: &PrName) -> Problem {
    Problem::new(
        Code::Forbidden,
        format!("an agent may look at its own pull request only, not at {name}"),
    )
}
