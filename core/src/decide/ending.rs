//! How a session comes to its end: done by evidence, killed, undone; and what is cleaned up after it.

use ao_slots::{
    ErrorKind, Seq, SessionId,
    fact::{Activity, PrState, RuntimeState},
    workspace::Removal,
};

use super::Decider;
use crate::{
    config::policy::ProjectPolicy,
    event::{Actor, Effect, Failure, Over, SessionEnded},
    state::{Session, State, Status, Step, Tried, Want},
};

impl Decider<'_> {
    pub(super) fn done(&mut self, session: &Session, by: Option<Actor>) {
        if session.launch.0 > 0 && !session.has_ended() {
            return self.end_runtime(session, "done-by-evidence", &evidence(session));
        }
        let merged = session.pr().is_some_and(|pr| pr.state == PrState::Merged);
        let how = if merged { Over::Merged } else { Over::Done };
        let keep = merged && by.is_none() && !self.state.policy.lifecycle.auto_cleanup_on_merge;
        let closes = merged && closes_issue(self.state, session);
        self.about(&session.id, SessionEnded { how, by, keep, closes })
            .rule("done-by-evidence")
            .because(&evidence(session));
    }

    pub(super) fn end(&mut self, session: &Session, by: Actor) {
        let running =
            session.busy.and_then(|seq| self.state.intents.get(&seq)).map(|intent| &intent.effect);
        // Anything else is interrupted: whatever was being made is looked for by what follows.
        if let Some(Effect::DestroyRuntime { .. } | Effect::DestroyWorkspace { .. }) = running {
            return;
        }
        if session.launch.0 > 0 && !session.has_ended() {
            return self.end_runtime(session, "kill", &[session.status_since.seq]);
        }
        self.about(
            &session.id,
            SessionEnded { how: Over::Killed, by: Some(by), keep: false, closes: false },
        )
        .rule("killed")
        .because(&[session.runtime_state.since.seq]);
    }

    /// A failed kill is tried again, never believed.
    fn end_runtime(&mut self, session: &Session, rule: &'static str, because: &[Seq]) {
        if end_again_at(self.state, session).is_none_or(|at| self.now.awake >= at) {
            let effect = Effect::DestroyRuntime { launch: session.launch };
            self.intend(&session.id, effect, rule, because);
        }
    }

    /// Before the first launch the workspace is ours and is removed; after it, it is a human's. A first launch
    /// that surely did not happen was none.
    pub(super) fn undo(&mut self, session: &Session) {
        let surely = |(_, failure): &(String, Failure)| failure.kind != ErrorKind::InDoubt;
        let never_ran = session.launch.0 == 1
            && session.handle.is_none()
            && session.failure.as_ref().is_some_and(surely);
        let ours = session.workspace.is_some()
            && !session.workspace_gone
            && (session.launch.0 == 0 || never_ran);
        if ours && session.workspace_kept.is_none() {
            let effect = Effect::DestroyWorkspace { removal: Removal::Undo };
            return self.intend(&session.id, effect, "undo-spawn", &[session.step_since.seq]);
        }
        self.about(
            &session.id,
            SessionEnded { how: Over::Failed, by: None, keep: false, closes: false },
        )
        .rule("spawn-failed")
        .because(&[session.step_since.seq]);
    }

    /// What is to be done once a session is over.
    pub(super) fn clean_up(&mut self, session: &Session) {
        if closes_at(session).is_some_and(|at| self.now.awake >= at) {
            let tried = session.issue_unclosed.as_ref().map(|tried| tried.when.seq);
            let because: Vec<_> =
                tried.or(session.over.map(|(_, when)| when.seq)).into_iter().collect();
            return self.intend(&session.id, Effect::CloseIssue, "issue-merged", &because);
        }
        let Some(force) = session.cleanup else { return };
        let running = session.busy.and_then(|seq| self.state.intents.get(&seq));
        // Set-up commands may take long; the workspace that they run in is not wanted any more.
        if session.busy.is_some() && !running.is_some_and(|i| i.effect == Effect::PostCreate) {
            return;
        }
        let removal = match (force, session.launch.0) {
            (_, 0) => Removal::Undo,
            (true, _) => Removal::Forced,
            (false, _) => Removal::IfSafe,
        };
        let because: Vec<_> = session.over.iter().map(|(_, when)| when.seq).collect();
        self.intend(&session.id, Effect::DestroyWorkspace { removal }, "clean-up", &because);
    }

    /// A project's round ends when each of its sessions is over or only waits for a human's merge.
    pub(super) fn round(&mut self, session: &Session) {
        let Some(round) = self.state.rounds.get(&session.project) else { return };
        let settled = |id: &SessionId| {
            self.state.sessions.get(id).is_none_or(|s| {
                s.is_over() && s.cleanup.is_none() && !s.closes_issue && s.busy.is_none()
                    || !s.is_over() && s.status == Status::Mergeable
            })
        };
        // Spawns that all failed are told of by the commands that asked for them.
        let started = |id: &SessionId| {
            let session = self.state.sessions.get(id);
            session.is_some_and(|s| {
                s.launch.0 > 0 && s.over.is_none_or(|(how, _)| how != Over::Failed)
            })
        };
        // Nothing ends with a session that goes on, however many there are.
        let over = settled(&session.id) && round.sessions.iter().all(settled);
        if over && round.sessions.iter().any(started) {
            self.complete_round(&session.project, round);
        }
    }
}

/// Done: the work is there, the agent has come to an end, and somebody but us says so. Where there are pull requests work
/// is done when it is merged: one that is open is followed to its end, and an agent that says that it is done and has
/// none is a human's (`agent-finished`).
pub(super) fn evidence_of_done(state: &State, session: &Session) -> bool {
    if session.step != Step::Ready || session.restore.is_some() {
        return false;
    }
    match session.pr().map(|pr| pr.state) {
        Some(PrState::Merged) => return true,
        Some(PrState::Open | PrState::Draft) => return false,
        Some(PrState::None | PrState::Closed) => {}
        // Opened, and not looked at yet.
        None if session.follow.pr.is_some() => return false,
        None => {}
    }
    let exited = session.runtime_state.value == (RuntimeState::Exited { code: Some(0) });
    let ended = match (exited, session.turn_ended) {
        (true, _) => session.runtime_state.since.seq,
        (false, Some(turn)) if session.activity.value == Activity::Idle => turn.seq,
        (false, _) => return false,
    };
    // The look at the workspace that evidence rests on must be later than the end.
    let looked = session.work_looked.is_some_and(|when| when.seq > ended);
    let claimed = session.claimed.is_some() && !has_scm(state, session) || session.issue_closed;
    // What a human still wants to say keeps it from being done; what `ao` would say to one that ended does not.
    let waits = session.next_message().is_some_and(|message| !exited || message.by.is_some());
    looked
        && claimed
        && !waits
        && session.work().is_some_and(|work| work.is_clean() && work.commits > 0)
}

/// Its issue is done with its pull request: merged into the default branch, as forges have it. Issues that lie in the
/// repository are left to its commits: a file that is changed there would keep the next merge from its checkout.
fn closes_issue(state: &State, session: &Session) -> bool {
    let Some(project) = state.policy.projects.get(&session.project) else { return false };
    let Some(tracker) = project.tracker.as_ref().filter(|_| session.issue.is_some()) else {
        return false;
    };
    let path = tracker.settings["path"].as_str().map(std::path::Path::new);
    let inside = path.is_some_and(|path| path.starts_with(&project.path));
    let standard = project.default_branch.as_deref().unwrap_or("main");
    let base = session.pr().and_then(|pr| pr.details.base.as_deref());
    !inside && !session.issue_closed && base.is_none_or(|base| base == standard)
}

/// When the issue of a session that is over is closed, in awake milliseconds. What is not there for a while is waited for,
/// the workspace goes meanwhile.
pub(super) fn closes_at(session: &Session) -> Option<u64> {
    let wanted = session.closes_issue && session.busy.is_none();
    wanted.then(|| session.issue_unclosed.as_ref().and_then(Tried::again_at).unwrap_or(0))
}

/// Its work comes to a pull request.
pub(super) fn has_scm(state: &State, session: &Session) -> bool {
    state.policy.projects.get(&session.project).is_some_and(ProjectPolicy::expects_prs)
}

/// Until when a session whose pull request was merged goes on, in awake milliseconds.
pub(super) fn grace_ends(state: &State, session: &Session) -> Option<u64> {
    let grace = state.policy.lifecycle.merge_grace_ms;
    let fact = session.pr.as_ref().filter(|fact| fact.value.state == PrState::Merged)?;
    (grace > 0 && !session.is_over()).then(|| fact.since.awake.saturating_add(grace))
}

fn evidence(session: &Session) -> Vec<Seq> {
    let work = session.work.as_ref().map(|fact| fact.since.seq);
    let claim = session.claimed.map(|when| when.seq);
    let turn = session.turn_ended.map(|when| when.seq);
    [work, claim, turn].into_iter().flatten().collect()
}

/// When an agent that could not be ended is tried again, in awake milliseconds: after 5 s, and ever more seldom
/// the longer that goes on, at most 5 min.
pub(super) fn end_again_at(state: &State, session: &Session) -> Option<u64> {
    let failed = session.failure.as_ref().is_some_and(|(step, _)| step == "kill");
    let ends = session.intent != Want::Run || evidence_of_done(state, session);
    let tries = failed && ends && session.busy.is_none() && !session.is_over();
    let began = session.status_since.awake;
    let wait = (session.step_since.awake.saturating_sub(began) / 2).clamp(5_000, 300_000);
    tries.then(|| session.step_since.awake.saturating_add(wait))
}
