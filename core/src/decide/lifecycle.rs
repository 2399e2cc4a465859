//! A session from being asked for to being cleaned up: one effect a step, the next chosen from what stands.

use ao_slots::{
    ErrorKind, Launch, SessionId,
    fact::{Activity, PrState, RuntimeState},
    text::slug,
    workspace::Removal,
};

use super::Decider;
use crate::{
    event::{
        Effect, MessageQueued, Over, RestoreSettled, SessionEnded, SessionReady, SpawnFailed,
        StatusChanged, Text,
    },
    state::{Fate, Session, State, Step, Want},
};

impl Decider<'_> {
    /// Everything that follows for one session.
    pub(super) fn session(&mut self, id: &SessionId) {
        let Some(session) = self.state.sessions.get(id) else { return };
        let status = session.derive_status(self.state.is_stuck(session));
        if status != session.status {
            let because = [session.activity.since.seq, session.runtime_state.since.seq];
            self.about(id, StatusChanged { from: session.status, to: status })
                .rule("status-table")
                .because(&because);
            return;
        }
        if session.is_over() {
            self.clean_up(session);
        } else {
            self.advance(session);
        }
        self.session_incidents(session);
        self.round(session);
    }

    fn advance(&mut self, session: &Session) {
        // A kill pre-empts whatever runs, except what is itself part of ending the session.
        if let Want::Kill(by) = &session.intent {
            return self.end(session, by.clone());
        }
        if session.busy.is_some() {
            return;
        }
        if let Want::Done(by) = &session.intent {
            return self.done(session, Some(by.clone()));
        }
        if self.evidence_of_done(session) {
            return self.done(session, None);
        }
        match session.step {
            Step::Fetching => match self.failed_step(session) {
                true => {}
                false => self.intend(
                    &session.id,
                    Effect::FetchIssue,
                    "spawn-step",
                    &[session.step_since.seq],
                ),
            },
            Step::MakingWorkspace => self.make_workspace(session),
            Step::PostCreate => self.post_create(session),
            Step::CreatingRuntime => self.create_runtime(session),
            Step::Launching | Step::Prompting => self.launch_and_prompt(session),
            Step::Ready => self.serve(session),
            Step::Undoing => self.undo(session),
            Step::Over => {}
        }
    }

    /// Whether the step's effect failed; then the set-up ends, or the restore does.
    fn failed_step(&mut self, session: &Session) -> bool {
        let Some((step, failure)) = &session.failure else { return false };
        let because = [session.step_since.seq];
        if session.restore.is_some() {
            let event = RestoreSettled { ok: false, failure: Some(failure.clone()) };
            self.about(&session.id, event).rule("restore-failed").because(&because);
        } else {
            let event = SpawnFailed { step: step.clone(), failure: failure.clone() };
            self.about(&session.id, event).rule("spawn-failed").because(&because);
        }
        true
    }

    fn make_workspace(&mut self, session: &Session) {
        if self.failed_step(session) {
            return;
        }
        let Some(effect) = workspace_effect(self.state, session) else { return };
        self.intend(&session.id, effect, "spawn-step", &[session.step_since.seq]);
    }

    fn post_create(&mut self, session: &Session) {
        if self.failed_step(session) {
            return;
        }
        self.intend(&session.id, Effect::PostCreate, "spawn-step", &[session.step_since.seq]);
    }

    fn create_runtime(&mut self, session: &Session) {
        if self.failed_step(session) {
            return;
        }
        if session.workspace_gone && session.workspace.is_some() {
            return self.intend(
                &session.id,
                Effect::RestoreWorkspace,
                "restore-step",
                &[session.step_since.seq],
            );
        }
        let fresh = session.restore.as_ref().is_some_and(|restore| restore.fresh);
        let resume = session.restore.is_some() && !fresh;
        // The first prompt is a message like any other: it is confirmed, or a human hears that it was not.
        let prompted = session.messages.values().any(|m| m.first && m.fate == Fate::Waiting);
        if !resume && !prompted && !session.prompt.is_empty() {
            let message = self.next_message();
            let event = MessageQueued {
                message,
                text: session.prompt.clone(),
                digest: session.prompt_digest.clone(),
                first: true,
                incident: None,
            };
            self.about(&session.id, event).rule("first-prompt").because(&[session.created.seq]);
            return;
        }
        let effect = Effect::CreateRuntime { launch: Launch(session.launch.0 + 1), resume };
        self.intend(&session.id, effect, "spawn-step", &[session.step_since.seq]);
    }

    fn launch_and_prompt(&mut self, session: &Session) {
        if session.signals && !session.signalled {
            return;
        }
        if matches!(
            session.runtime_state.value,
            RuntimeState::Exited { .. } | RuntimeState::Missing
        ) {
            if session.restore.is_some() {
                let failure = crate::event::Failure {
                    kind: ErrorKind::Permanent,
                    message: "the agent ended again while it was being restored".into(),
                    remedy: None,
                    retry_after_ms: None,
                };
                let because = [session.runtime_state.since.seq];
                self.about(&session.id, RestoreSettled { ok: false, failure: Some(failure) })
                    .rule("restore-failed")
                    .because(&because);
            }
            return;
        }
        if let Some(message) =
            session.messages.values().find(|m| m.first && m.fate == Fate::Waiting)
        {
            // Part of the launch: its confirmation is awaited, not repeated.
            let in_launch = message.tried.is_some() && message.tries > 0 && session.signals;
            if !in_launch
                || session.activity.value == Activity::Idle && session.turn_ended.is_some()
            {
                self.type_message(session);
            }
            return;
        }
        let because = [session.activity.since.seq];
        if session.restore.is_some() {
            self.about(&session.id, RestoreSettled { ok: true, failure: None })
                .rule("restored")
                .because(&because);
            let went_on = session.restore.as_ref().is_some_and(|r| r.was_active && !r.fresh);
            if went_on && session.next_message().is_none() {
                let text = "You were interrupted. Go on where you stopped.";
                let message = self.next_message();
                let event = MessageQueued {
                    message,
                    text: Text::short(text),
                    digest: crate::event::digest(text),
                    first: false,
                    incident: None,
                };
                self.about(&session.id, event).rule("go-on-after-restore").because(&because);
            }
        }
        self.about(&session.id, SessionReady {}).rule("set-up-finished").because(&because);
    }

    /// A session that is set up: decisions and messages that wait are handed over.
    fn serve(&mut self, session: &Session) {
        let gone = matches!(
            session.runtime_state.value,
            RuntimeState::Exited { .. } | RuntimeState::Missing
        );
        if gone || session.handle.is_none() {
            return;
        }
        let decided = session
            .open_requests()
            .find(|r| r.decided.as_ref().is_some_and(|d| d.handed.is_none()));
        if let Some(request) = decided {
            let because: Vec<_> = request.decided.iter().map(|d| d.when.seq).collect();
            self.intend(
                &session.id,
                Effect::DecideRequest { request: request.id },
                "hand-over-decision",
                &because,
            );
            return;
        }
        self.type_message(session);
    }

    /// Text is handed over only when the turn has ended and nothing is asked (the executor proves the rest on
    /// the screen). A failed try waits before the next.
    fn type_message(&mut self, session: &Session) {
        let Some(message) = session.next_message() else { return };
        let quiet =
            session.activity.value == Activity::Idle && session.open_requests().next().is_none();
        let waits_for_start =
            !session.signals && session.activity.value == Activity::Active && message.first;
        if !(quiet || waits_for_start) || session.suspected.is_some() {
            return;
        }
        if let Some(tried) = message.tried
            && message.tries > 0
            && self.now.awake < retry_at(tried.awake, message.tries)
        {
            return;
        }
        let because = [message.queued.seq, session.activity.since.seq];
        self.intend(
            &session.id,
            Effect::TypeMessage { message: message.id },
            "hand-over-message",
            &because,
        );
    }

    fn evidence_of_done(&self, session: &Session) -> bool {
        if session.step != Step::Ready || session.restore.is_some() {
            return false;
        }
        if session.pr().is_some_and(|pr| pr.state == PrState::Merged) {
            return true;
        }
        let ended = session.activity.value == Activity::Idle
            || session.runtime_state.value == (RuntimeState::Exited { code: Some(0) });
        let claim = session.claimed.is_some() || session.issue_closed;
        ended
            && claim
            && session.work().is_some_and(|work| work.is_clean() && work.commits > 0)
            && work_is_fresh(session)
    }

    fn done(&mut self, session: &Session, by: Option<crate::event::Actor>) {
        let running = session.handle.is_some()
            && !matches!(
                session.runtime_state.value,
                RuntimeState::Exited { .. } | RuntimeState::Missing
            );
        if running {
            let effect = Effect::DestroyRuntime { launch: session.launch };
            return self.intend(&session.id, effect, "done-by-evidence", &evidence(session));
        }
        let merged = session.pr().is_some_and(|pr| pr.state == PrState::Merged);
        let how = if merged { Over::Merged } else { Over::Done };
        self.about(&session.id, SessionEnded { how, by })
            .rule("done-by-evidence")
            .because(&evidence(session));
    }

    fn end(&mut self, session: &Session, by: crate::event::Actor) {
        let running =
            session.busy.and_then(|seq| self.state.intents.get(&seq)).map(|intent| &intent.effect);
        match running {
            Some(Effect::DestroyRuntime { .. } | Effect::DestroyWorkspace { .. }) => return,
            // Interrupted: whatever was being made is looked for by what follows.
            Some(_) | None => {}
        }
        let gone = matches!(
            session.runtime_state.value,
            RuntimeState::Exited { .. } | RuntimeState::Missing
        );
        let may_run = session.launch.0 > 0 && !gone;
        let failed_kill = session.failure.as_ref().is_some_and(|(step, _)| step == "kill");
        if may_run {
            // A failed kill is tried again at the next sweep, never believed.
            if !failed_kill || self.now.awake >= session.step_since.awake + 5_000 {
                let effect = Effect::DestroyRuntime { launch: session.launch };
                self.intend(&session.id, effect, "kill", &[session.status_since.seq]);
            }
            return;
        }
        self.about(&session.id, SessionEnded { how: Over::Killed, by: Some(by) })
            .rule("killed")
            .because(&[session.runtime_state.since.seq]);
    }

    /// Before the first launch the workspace is ours and is removed; after it, it is a human's.
    fn undo(&mut self, session: &Session) {
        let ours = session.workspace.is_some() && !session.workspace_gone && session.launch.0 == 0;
        if ours && session.workspace_kept.is_none() {
            let effect = Effect::DestroyWorkspace { removal: Removal::Undo };
            return self.intend(&session.id, effect, "undo-spawn", &[session.step_since.seq]);
        }
        self.about(&session.id, SessionEnded { how: Over::Failed, by: None })
            .rule("spawn-failed")
            .because(&[session.step_since.seq]);
    }

    fn clean_up(&mut self, session: &Session) {
        let Some(force) = session.cleanup else { return };
        if session.busy.is_some() {
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
    fn round(&mut self, session: &Session) {
        let Some(round) = self.state.rounds.get(&session.project) else { return };
        let settled = |id: &SessionId| {
            self.state.sessions.get(id).is_none_or(|s| {
                s.is_over() && s.cleanup.is_none() && s.busy.is_none()
                    || !s.is_over() && s.status == crate::state::Status::Mergeable
            })
        };
        let any_started = round
            .sessions
            .iter()
            .any(|id| self.state.sessions.get(id).is_some_and(|s| s.launch.0 > 0));
        if any_started && round.sessions.iter().all(settled) {
            self.complete_round(&session.project, round);
        }
    }
}

/// Where and from what a session's workspace is made.
fn workspace_effect(state: &State, session: &Session) -> Option<Effect> {
    let project = state.policy.projects.get(&session.project)?;
    let branch = session.branch_wish.clone().unwrap_or_else(|| {
        let words = slug(&session.title.excerpt, 40);
        let name = session
            .issue
            .as_deref()
            .map_or_else(|| session.id.to_string(), |issue| slug(issue, 24));
        if words.is_empty() { format!("ao/{name}") } else { format!("ao/{name}-{words}") }
    });
    let path = state.policy.worktree_dir.join(session.project.as_str()).join(session.id.as_str());
    Some(Effect::CreateWorkspace {
        branch,
        path: path.to_string_lossy().into_owned(),
        base: project.default_branch.clone().unwrap_or_else(|| "main".into()),
    })
}

/// The look at the workspace that evidence rests on must be later than the end of the turn.
fn work_is_fresh(session: &Session) -> bool {
    let ended = session.turn_ended.map_or(session.runtime_state.since.seq, |when| when.seq);
    session.work_looked.is_some_and(|when| when.seq > ended)
}

fn evidence(session: &Session) -> Vec<ao_slots::Seq> {
    let work = session.work.as_ref().map(|fact| fact.since.seq);
    let claim = session.claimed.map(|when| when.seq);
    let turn = session.turn_ended.map(|when| when.seq);
    [work, claim, turn].into_iter().flatten().collect()
}

/// When a message that could not be handed over is tried again: 2, 4, 8 … at most 60 s after the first try.
pub(super) fn retry_at(first: u64, tries: u32) -> u64 {
    first + 1_000 * (1_u64 << tries.min(6)).min(60)
}
