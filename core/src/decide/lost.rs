//! A runtime's server died, or the machine was restarted: many sessions, one cause.
//!
//! Its sessions are brought back by the agents' own resume, a few at a time. A human hears of it only when
//! that does not work, in one message that names those that did not come back.

use ao_slots::SessionId;

use super::{Decider, incident::Cause};
use crate::{
    config::{policy::ReactionAction, trigger::Trigger},
    event::{RestoreDecided, Settled, Subject},
    state::{Due, Incident, Session, State, Want},
};

/// Detail of the incident once a human is to hear of it.
const NOT_RESTORED: &str = "not-restored";

/// Nobody has begun to bring it back.
fn is_lost(session: &Session) -> bool {
    session.has_ended() && session.intent == Want::Run && session.restore.is_none()
}

/// From when on a session may be brought back without a human, in awake milliseconds; none = never.
fn restorable_at(state: &State, session: &Session) -> Option<u64> {
    let again_after = state.policy.lifecycle.restore_again_after_ms;
    let last = session.restores.last().map(|when| when.awake.saturating_add(again_after));
    let failed = session.failure.as_ref().is_some_and(|(step, _)| step == "restore");
    let reaction = state.policy.reaction(Some(&session.project), Trigger::RuntimeLost);
    let auto = reaction.auto && reaction.action == ReactionAction::Restore;
    let may = auto && session.resumable && session.native_id.is_some() && !failed;
    may.then_some(last.unwrap_or(0))
}

/// How many more may be brought back beside these.
fn free(state: &State, coming: usize) -> usize {
    (state.policy.lifecycle.restores_at_once.max(1) as usize).saturating_sub(coming)
}

pub(super) fn open_incident<'s>(state: &'s State, name: &str) -> Option<&'s Incident> {
    state.open_incident(&Subject::Runtime(name.to_owned()), Trigger::RuntimeLost, None)
}

/// When the last session came back, or the incident began: the next is due `escalate-after` later.
fn patience_ends(state: &State, name: &str) -> Option<u64> {
    let incident = open_incident(state, name)?;
    let reaction = state.policy.reaction(None, Trigger::RuntimeLost);
    let wait = reaction.escalate_after_ms.unwrap_or(60_000);
    let back = state.last_back(name).unwrap_or(0);
    Some(back.max(incident.opened.awake).saturating_add(wait))
}

pub(super) fn dues(state: &State, name: &str) -> Vec<Due> {
    let waits = open_incident(state, name)
        .is_some_and(|incident| incident.is_open() && incident.detail.is_none());
    let judges = state.unswept_since.is_none();
    let patience = if waits && judges { patience_ends(state, name) } else { None };
    // Who was brought back lately is, again, once that is long enough ago: when there is room for it.
    let coming = state.lost(name).filter(|session| session.restore.is_some()).count();
    let room = free(state, coming) > 0;
    let lost = state.lost(name).filter(|s| room && is_lost(s) && s.busy.is_none());
    let again = lost.filter_map(|session| restorable_at(state, session)).min();
    patience.into_iter().chain(again).map(Due::Awake).collect()
}

impl Decider<'_> {
    pub(super) fn runtime_lost(&mut self, name: &str) {
        let open = open_incident(self.state, name);
        let mut lost: Vec<&Session> =
            self.state.lost(name).filter(|session| is_lost(session)).collect();
        lost.sort_by_key(|session| (session.id.prefix(), session.id.number()));
        if open.is_none() && lost.is_empty() {
            return;
        }
        let coming = self.state.lost(name).filter(|session| session.restore.is_some());
        let mut missing: Vec<&Session> = lost.iter().copied().chain(coming).collect();
        let coming = missing.len() - lost.len();
        missing.sort_by_key(|session| (session.id.prefix(), session.id.number()));
        let sessions: Vec<SessionId> = missing.iter().map(|session| session.id.clone()).collect();
        let hopeful: Vec<&Session> = lost
            .iter()
            .copied()
            .filter(|s| restorable_at(self.state, s).is_some_and(|at| self.now.awake >= at))
            .collect();

        // A human hears of it when nothing is left to try, or too long none came back; from then on the
        // message keeps naming who is still missing.
        let told = open.is_some_and(|incident| incident.is_open() && incident.detail.is_some());
        let nothing_left = hopeful.is_empty() && coming == 0;
        // Lost again so soon: what took them may do it once more.
        let reaction = self.state.policy.reaction(None, Trigger::RuntimeLost);
        let soon = reaction.threshold_ms.unwrap_or(600_000);
        let again = lost
            .iter()
            .filter_map(|session| session.restores.last())
            .any(|when| self.now.awake < when.awake.saturating_add(soon));
        let patience = patience_ends(self.state, name).filter(|_| self.judges());
        let failed =
            told || nothing_left || again || patience.is_some_and(|ends| self.now.awake >= ends);
        let mut causes = vec![];
        if !sessions.is_empty() {
            causes.push(Cause {
                trigger: Trigger::RuntimeLost,
                request: None,
                detail: failed.then_some(NOT_RESTORED),
                sessions,
                because: missing.iter().map(|s| s.runtime_state.since.seq).take(16).collect(),
                rule: "runtime-lost",
            });
        }
        let subject = Subject::Runtime(name.to_owned());
        self.compare(&subject, None, causes, |_| Settled::Handled);

        let free = free(self.state, coming);
        for session in hopeful.into_iter().filter(|session| session.busy.is_none()).take(free) {
            let because = [session.runtime_state.since.seq];
            self.about(&session.id, RestoreDecided { cause: Trigger::RuntimeLost })
                .rule("restore-lost-session")
                .because(&because);
        }
    }
}
