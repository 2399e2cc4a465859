//! A runtime's server died, or the machine was restarted: many sessions, one cause.
//!
//! Its sessions are brought back by the agents' own resume, a few at a time. A human hears of it only when
//! that does not work, in one message that names those that did not come back.

use ao_slots::{SessionId, fact::RuntimeState};

use super::{Decider, incident::Cause};
use crate::{
    config::{policy::ReactionAction, trigger::Trigger},
    event::{RestoreDecided, Settled, Subject},
    state::{Due, Session, State, Want},
};

fn is_lost(session: &Session) -> bool {
    let ended =
        matches!(session.runtime_state.value, RuntimeState::Exited { .. } | RuntimeState::Missing);
    ended
        && session.server_lost
        && !session.is_over()
        && session.intent == Want::Run
        && session.restore.is_none()
}

/// Brought back by `ao` itself, and not there yet.
fn is_coming_back(session: &Session) -> bool {
    session.restore.as_ref().is_some_and(|restore| restore.by.is_none())
}

/// Whether a session can still be brought back without a human.
fn may_restore(state: &State, session: &Session, now_awake: u64) -> bool {
    let again_after = state.policy.lifecycle.restore_again_after_ms;
    let lately = session.restores.last().is_some_and(|when| when.awake + again_after > now_awake);
    let failed = session.failure.as_ref().is_some_and(|(step, _)| step == "restore");
    let reaction = state.policy.reaction(Some(&session.project), Trigger::RuntimeLost);
    let auto = reaction.auto && reaction.action == ReactionAction::Restore;
    auto && session.resumable && !lately && !failed
}

/// When the last session came back, or the incident began: the next is due `escalate-after` later.
fn patience_ends(state: &State, name: &str) -> Option<u64> {
    let incident =
        state.open_incident(&Subject::Runtime(name.to_owned()), Trigger::RuntimeLost, None)?;
    let wait =
        state.policy.reaction(None, Trigger::RuntimeLost).escalate_after_ms.unwrap_or(60_000);
    let back = state
        .sessions
        .values()
        .filter(|s| s.runtime == name && s.restore.is_none() && !is_lost(s))
        .filter_map(|s| s.restored.map(|when| when.awake))
        .max()
        .unwrap_or(0);
    Some(back.max(incident.opened.awake) + wait)
}

pub(super) fn dues(state: &State, name: &str) -> Vec<Due> {
    let open = state.open_incident(&Subject::Runtime(name.to_owned()), Trigger::RuntimeLost, None);
    let waits = open.is_some_and(|incident| incident.is_open() && incident.detail.is_none());
    if waits { patience_ends(state, name).map(Due::Awake).into_iter().collect() } else { vec![] }
}

impl Decider<'_> {
    pub(super) fn runtime_lost(&mut self, name: &str) {
        let subject = Subject::Runtime(name.to_owned());
        let open = self.state.open_incident(&subject, Trigger::RuntimeLost, None);
        let mine = || self.state.sessions.values().filter(|session| session.runtime == name);
        let lost: Vec<&Session> = mine().filter(|session| is_lost(session)).collect();
        if open.is_none() && lost.is_empty() {
            return;
        }
        let coming: Vec<&Session> = mine().filter(|session| is_coming_back(session)).collect();
        let (hopeful, hopeless): (Vec<&Session>, Vec<&Session>) = lost
            .iter()
            .copied()
            .partition(|session| may_restore(self.state, session, self.now.awake));
        let impatient = patience_ends(self.state, name).is_some_and(|at| self.now.awake >= at);

        // Once a human has been told, the message keeps naming who is still missing.
        let told = open.is_some_and(|incident| incident.detail.is_some());
        let missing =
            hopeless.len() + if impatient || told { hopeful.len() + coming.len() } else { 0 };
        let failed = (!hopeless.is_empty() && hopeful.is_empty() && coming.is_empty())
            || impatient
            || told && missing > 0;
        let named = |sessions: &mut dyn Iterator<Item = &&Session>| -> Vec<SessionId> {
            let mut ids: Vec<_> = sessions.map(|session| session.id.clone()).collect();
            ids.sort_by_key(|id| (id.prefix().to_owned(), id.number()));
            ids
        };
        let because: Vec<_> =
            lost.iter().map(|session| session.runtime_state.since.seq).take(16).collect();
        let mut causes = vec![];
        if !lost.is_empty() || !coming.is_empty() {
            let sessions = if failed && !impatient {
                named(&mut hopeless.iter())
            } else {
                named(&mut lost.iter().chain(coming.iter()))
            };
            causes.push(Cause {
                trigger: Trigger::RuntimeLost,
                request: None,
                detail: failed.then_some("not-restored"),
                sessions,
                because,
                rule: "runtime-lost",
            });
        }
        self.compare(&subject, None, causes, |_| Settled::Handled);

        let free =
            (self.state.policy.lifecycle.restores_at_once as usize).saturating_sub(coming.len());
        for session in hopeful.into_iter().filter(|session| session.busy.is_none()).take(free) {
            let because = [session.runtime_state.since.seq];
            self.about(&session.id, RestoreDecided { cause: Trigger::RuntimeLost })
                .rule("restore-lost-session")
                .because(&because);
        }
    }
}
