//! What incidents have to do with each other, in two tables: what comes of one cause is told in one message
//! ([`common`], [`Fold`]), and what follows from another is not told while that stands ([`muted_by`]).

use ao_slots::fact::{Activity, AgentErrorKind};

use super::{incident::Cause, schedule::NO_SIGNAL};
use crate::{
    config::trigger::Trigger,
    event::{Subject, digest},
    state::{Focus, Incident, Session, State},
};

/// When incidents of one cause become one message.
pub(crate) struct Fold {
    /// So many of them.
    pub(crate) least: usize,
    /// Each began at most that long after the one before it, in awake milliseconds; none = however late.
    pub(crate) window_ms: Option<u64>,
}

impl Fold {
    pub(crate) fn of(trigger: Trigger) -> Self {
        match trigger {
            // One account, one forge: there is but one thing to know.
            Trigger::RateLimited | Trigger::ScmUnavailable => Self { least: 2, window_ms: None },
            _ => Self { least: 3, window_ms: Some(30_000) },
        }
    }

    /// The incidents that began together with this one, by the time since which each stands, in that order. Empty
    /// when there are too few of them.
    pub(crate) fn around<'s>(
        &self,
        one: &Incident,
        mut alike: Vec<&'s Incident>,
    ) -> Vec<&'s Incident> {
        alike.sort_by_key(|incident| (incident.stands.awake, incident.id));
        let Some(window) = self.window_ms else {
            return if alike.len() >= self.least { alike } else { vec![] };
        };
        let near = |pair: &[&Incident]| pair[1].stands.awake - pair[0].stands.awake <= window;
        let Some(at) = alike.iter().position(|incident| incident.id == one.id) else {
            return vec![];
        };
        let from = (0..at).rev().take_while(|i| near(&alike[*i..=i + 1])).last().unwrap_or(at);
        let to =
            (at + 1..alike.len()).take_while(|i| near(&alike[i - 1..=*i])).last().unwrap_or(at);
        let chain = &alike[from..=to];
        let crowd =
            |some: &[&Incident]| some[some.len() - 1].stands.awake - some[0].stands.awake <= window;
        match chain.windows(self.least).any(crowd) {
            true => chain.to_vec(),
            false => vec![],
        }
    }
}

/// What an incident has in common with others of its trigger that come of the same cause, as a short text: a host,
/// an account, jobs. None for what stands alone: a request of an agent waits for an answer of its own, and so does
/// whatever a human decides.
pub(super) fn common(state: &State, subject: &Subject, cause: &Cause<'_>) -> Option<String> {
    if cause.request.is_some() {
        return None;
    }
    if let (Trigger::ScmUnavailable, Subject::Project(id)) = (cause.trigger, subject) {
        let scm = state.policy.projects.get(id)?.scm.as_ref();
        return Some(scm.map_or_else(|| "scm".into(), |scm| scm.plugin.clone()));
    }
    let Subject::Session(id) = subject else { return None };
    let session = state.sessions.get(id)?;
    let agent = || session.agent.clone();
    Some(match (cause.trigger, cause.detail) {
        (Trigger::AgentNeedsInput, Some("setup")) => agent(),
        (Trigger::AgentStuck, Some(NO_SIGNAL)) => format!("{} on {}", agent(), host(session)),
        (Trigger::AgentExited | Trigger::AgentStuck | Trigger::PromptUndelivered, _) => {
            host(session)
        }
        (Trigger::AgentErrored, _) => match &session.activity.value {
            Activity::Errored { kind: AgentErrorKind::Reported } => {
                let words = session.activity_text.as_ref()?;
                format!("{} {}", agent(), digest(words.excerpt.lines().next().unwrap_or_default()))
            }
            Activity::Errored { kind } => format!("{} {kind:?}", agent()),
            _ => return None,
        },
        (Trigger::RateLimited, _) => agent(),
        (Trigger::CiFailed | Trigger::MergeConflicts, Some(detail)) => {
            format!("{} {detail}", session.project)
        }
        (Trigger::CiFailed, None) => {
            let jobs = session.pr()?.failing.join(", ");
            if jobs.is_empty() {
                return None;
            }
            format!("{}: {jobs}", session.project)
        }
        (Trigger::MergeConflicts, None) => session.project.to_string(),
        _ => return None,
    })
}

/// The runtime's server that a session runs under.
fn host(session: &Session) -> String {
    match session.handle.as_ref().and_then(|handle| handle.server) {
        Some(server) => format!("{} {}", session.runtime, server.pid),
        None => session.runtime.clone(),
    }
}

/// The incident that explains this one: while it stands, and for its settle time after, nobody is told of this one.
/// What outlives it is told then.
pub(crate) fn muted_by<'s>(state: &'s State, incident: &Incident) -> Option<&'s Incident> {
    let session = || match &incident.subject {
        Subject::Session(id) => state.sessions.get(id),
        _ => None,
    };
    match incident.trigger {
        // What the scm told is old.
        trigger if trigger.is_of_a_pr() => {
            let project = Subject::Project(incident.project.clone()?);
            state.open_incident(&project, Trigger::ScmUnavailable, None)
        }
        // Their end is the runtime's.
        trigger if is_of_an_agent(trigger) => {
            let session = session()?;
            let runtime = Subject::Runtime(session.runtime.clone());
            let lost = state.open_incident(&runtime, Trigger::RuntimeLost, None);
            lost.filter(|lost| lost.sessions.contains(&session.id))
                .or_else(|| no_quota(state, trigger, session))
                .or_else(|| closed(state, trigger, &incident.subject))
        }
        _ => None,
    }
}

fn is_of_an_agent(trigger: Trigger) -> bool {
    matches!(
        trigger,
        Trigger::AgentNeedsInput
            | Trigger::AgentStuck
            | Trigger::AgentExited
            | Trigger::AgentErrored
            | Trigger::AgentIdle
            | Trigger::AgentIdleNoPr
            | Trigger::AgentFinished
            | Trigger::PromptUndelivered
    )
}

/// An agent whose account has no quota does nothing and takes nothing.
fn waits_with_the_account(trigger: Trigger) -> bool {
    matches!(
        trigger,
        Trigger::AgentStuck
            | Trigger::AgentIdle
            | Trigger::AgentIdleNoPr
            | Trigger::PromptUndelivered
    )
}

fn no_quota<'s>(state: &'s State, trigger: Trigger, session: &Session) -> Option<&'s Incident> {
    let account = (Trigger::RateLimited, session.agent.clone());
    let known = state.alike.get(&account).filter(|_| waits_with_the_account(trigger))?;
    known.first().and_then(|id| state.incidents.get(id))
}

/// A pull request that was closed is why nothing follows.
fn closed<'s>(state: &'s State, trigger: Trigger, subject: &Subject) -> Option<&'s Incident> {
    let follows =
        matches!(trigger, Trigger::AgentIdle | Trigger::AgentIdleNoPr | Trigger::AgentFinished);
    state.open_incident(subject, Trigger::PrClosed, None).filter(|_| follows)
}

/// The open incidents that an incident mutes, or muted: they are looked at again when it begins, changes or ends.
pub(crate) fn children(state: &State, parent: &Incident) -> Vec<Focus> {
    let mutes: fn(&Incident, &Incident) -> bool = match parent.trigger {
        Trigger::ScmUnavailable => |p, i| i.trigger.is_of_a_pr() && i.project == p.project,
        Trigger::RuntimeLost => |_, i| is_of_an_agent(i.trigger),
        // The second of an account changes nothing.
        Trigger::RateLimited
            if parent.cause().and_then(|c| state.alike.get(&c)).is_none_or(|all| all.len() < 2) =>
        {
            |_, i| waits_with_the_account(i.trigger)
        }
        Trigger::PrClosed => |p, i| i.subject == p.subject && is_of_an_agent(i.trigger),
        _ => return vec![],
    };
    let open = state.open.values().filter_map(|id| state.incidents.get(id));
    open.filter(|i| mutes(parent, i)).map(|i| Focus::Incident(i.id)).collect()
}
