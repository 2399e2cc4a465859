//! A session from being asked for to being cleaned up: one effect a step, the next chosen from what stands.

use ao_slots::{
    Launch, MessageId, SessionId,
    call::back_off,
    fact::{Activity, Source},
    text::slug,
};
use jiff::Timestamp;

use super::{
    Decider,
    ending::{evidence_of_done, grace_ends},
    reaction::{is_of_a_head, waits_for_push},
    review::required_approvals,
};
use crate::{
    config::{policy::ReactionAction, trigger::Trigger},
    event::{
        ActivityObserved, Effect, Failure, MessageQueued, MessageWithdrawn, RestoreSettled,
        SessionReady, SpawnFailed, StatusChanged, Text,
    },
    state::{Fate, Moment, QueuedMessage, Session, State, Step, Want},
};

impl Decider<'_> {
    /// Everything that follows for one session.
    pub(super) fn session(&mut self, id: &SessionId) {
        let Some(session) = self.state.sessions.get(id) else { return };
        let required = required_approvals(self.state, session);
        let status = session.derive_status(self.state.is_stuck(session), required);
        if status != session.status {
            let because = [session.activity.since.seq, session.runtime_state.since.seq];
            self.about(id, StatusChanged { from: session.status, to: status })
                .rule("status-table")
                .because(&because);
            return;
        }
        // One conclusion at a time: what follows from it is looked at once it stands.
        let rules: [fn(&mut Self, &Session); 6] = [
            Self::give_up_messages,
            // Before anything is typed.
            Self::withdraw_passed,
            Self::advance,
            Self::session_incidents,
            Self::react,
            Self::round,
        ];
        for rule in rules {
            rule(self, session);
            if !self.drafts.is_empty() {
                return;
            }
        }
    }

    /// A message that could not be handed over waits for a human. It has nothing to wait for any more once
    /// the agent has begun a turn without it, was started anew, or a human sent the same again.
    fn give_up_messages(&mut self, session: &Session) {
        let turn = match session.activity.value {
            Activity::Active => Some(session.activity.since),
            _ => session.turn_ended,
        };
        let later = |when: Option<Moment>, failed: Moment| when.is_some_and(|w| w.seq > failed.seq);
        for message in session.messages.values() {
            let (Fate::Undelivered { .. }, Some(failed)) = (&message.fate, message.failed) else {
                continue;
            };
            let again = session
                .messages
                .values()
                .any(|m| m.digest == message.digest && later(Some(m.queued), failed));
            let reason = match (later(session.launched, failed), later(turn, failed), again) {
                (true, ..) => "the agent was started anew",
                (false, true, _) => "the agent went on without it",
                (false, false, true) => "it was sent again",
                (false, false, false) => continue,
            };
            let event = MessageWithdrawn { message: message.id, reason: reason.into() };
            self.about(&session.id, event).rule("message-overtaken").because(&[failed.seq]);
        }
    }

    fn advance(&mut self, session: &Session) {
        if session.is_over() {
            return self.clean_up(session);
        }
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
        let waits = grace_ends(self.state, session).is_some_and(|at| self.now.awake < at);
        if evidence_of_done(self.state, session) && !waits || session.was_ended_by_us() {
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
        let because = [session.step_since.seq];
        match workspace_effect(self.state, session) {
            Some(effect) => self.intend(&session.id, effect, "spawn-step", &because),
            None => {
                let message = format!("the project {} is no longer configured", session.project);
                let event =
                    SpawnFailed { step: "workspace".into(), failure: Failure::permanent(message) };
                self.about(&session.id, event).rule("spawn-failed").because(&because);
            }
        }
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
        // What still runs, stuck or unable to go on, is ended before it is started again.
        let runs = session.handle.is_some() && !session.has_ended();
        if runs {
            let effect = Effect::DestroyRuntime { launch: session.launch };
            return self.intend(&session.id, effect, "restore-step", &[session.step_since.seq]);
        }
        let fresh = session.restore.as_ref().is_none_or(|restore| restore.fresh);
        let resume = !fresh && session.resumable && session.native_id.is_some();
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
                about: None,
            };
            self.about(&session.id, event).rule("first-prompt").because(&[session.created.seq]);
            return;
        }
        let effect = Effect::CreateRuntime { launch: Launch(session.launch.0 + 1), resume };
        self.intend(&session.id, effect, "spawn-step", &[session.step_since.seq]);
    }

    fn launch_and_prompt(&mut self, session: &Session) {
        if session.has_ended() {
            return self
                .restore_failed(session, "the agent ended again while it was being restored");
        }
        if session.activity.value == Activity::NoSignal {
            return self.restore_failed(session, "the agent runs again, but gives no sign");
        }
        if self.hand_over_decision(session) || session.signals && !session.signalled {
            return;
        }
        if session.messages.values().any(|m| m.first && m.fate == Fate::Waiting) {
            return self.type_message(session);
        }
        let because = [session.activity.since.seq];
        if let Some(restore) = &session.restore {
            self.about(&session.id, RestoreSettled { ok: true, failure: None })
                .rule("restored")
                .because(&because);
            let has_task = |m: &QueuedMessage| {
                m.first
                    && matches!(m.fate, Fate::Confirmed { when, .. } if when.seq > restore.since.seq)
            };
            let anew = session.messages.values().any(has_task);
            // An agent that signals shows an empty prompt now; any other does what its resume command says.
            let prompts = session.signals && restore.was_active;
            if prompts && !anew && session.next_message().is_none() {
                let text = "You were interrupted. Go on where you stopped.";
                self.queue(session, text, "go-on-after-restore");
            }
        }
        self.about(&session.id, SessionReady {}).rule("set-up-finished").because(&because);
    }

    /// Ends a restore that did not come to its end; nothing where none is under way.
    fn restore_failed(&mut self, session: &Session, message: &str) {
        if session.restore.is_some() {
            let because = [session.runtime_state.since.seq, session.activity.since.seq];
            let event = RestoreSettled { ok: false, failure: Some(Failure::permanent(message)) };
            self.about(&session.id, event).rule("restore-failed").because(&because);
        }
    }

    /// A session that is set up: decisions and messages that wait are handed over.
    fn serve(&mut self, session: &Session) {
        if let Some(at) = quota_back_at(self.state, session)
            && at <= self.now.wall
        {
            return self.resume_after_quota(session);
        }
        if !self.hand_over_decision(session) {
            self.type_message(session);
        }
    }

    /// The time that the provider named has come: the agent, which stands at its prompt, is told to go on. An
    /// agent that goes on by itself has begun a turn by then, or shows no empty prompt.
    fn resume_after_quota(&mut self, session: &Session) {
        let because = [session.activity.since.seq];
        let event = ActivityObserved {
            launch: session.launch,
            activity: Activity::Idle,
            source: Source::Server,
            text: None,
        };
        self.about(&session.id, event).rule("quota-back").because(&because);
        if session.next_message().is_none() {
            self.queue(session, "Your quota is back. Go on where you stopped.", "quota-back");
        }
    }

    /// A message of `ao`'s own.
    fn queue(&mut self, session: &Session, text: &str, rule: &'static str) {
        let event = MessageQueued {
            message: self.next_message(),
            text: Text::short(text),
            digest: crate::event::digest(text),
            first: false,
            incident: None,
            about: None,
        };
        self.about(&session.id, event).rule(rule).because(&[session.activity.since.seq]);
    }

    /// Each decision is handed over once; what comes of it is told, not tried again.
    fn hand_over_decision(&mut self, session: &Session) -> bool {
        let decided = session
            .open_requests()
            .filter_map(|r| r.decided.as_ref().map(|decided| (r.id, decided)))
            .find(|(_, decided)| decided.handed.is_none());
        let Some((request, decided)) = decided.filter(|_| can_be_reached(self.state, session))
        else {
            return false;
        };
        let effect = Effect::DecideRequest { request };
        self.intend(&session.id, effect, "hand-over-decision", &[decided.when.seq]);
        true
    }

    /// Text is handed over only when the turn has ended and nothing is asked (the executor proves the rest on
    /// the screen). A failed try waits before the next.
    fn type_message(&mut self, session: &Session) {
        let Some(message) = next_to_type(self.state, session) else { return };
        let not_before = retry_at(message).max(waits_for_push(session, message));
        if not_before.is_some_and(|at| self.now.awake < at) {
            return;
        }
        let because = [message.queued.seq, session.activity.since.seq];
        let effect = Effect::TypeMessage { message: message.id };
        self.intend(&session.id, effect, "hand-over-message", &because);
    }

    /// The hook that tells of a turn's end waits for its answer: the next message is that answer, and the turn
    /// goes on with it. A hook that asks again was not answered, and gets the same.
    pub(super) fn hand_over_message(
        &mut self,
        session: &Session,
        turn: Option<&str>,
        hook: Option<u64>,
    ) -> Option<MessageId> {
        if let Some(message) = self.handed_to(session, hook) {
            return Some(message);
        }
        let message = next_to_hand_over(self.state, session, turn)?;
        let because = [message.queued.seq, session.activity.since.seq];
        let effect = Effect::HandOverMessage { message: message.id, hook };
        self.intend(&session.id, effect, "hand-over-at-stop", &because);
        Some(message.id)
    }

    /// The message that this very hook was given, while nobody knows whether the agent has it.
    pub(super) fn handed_to(&self, session: &Session, hook: Option<u64>) -> Option<MessageId> {
        let doing = &self.state.intents.get(&session.busy?)?.effect;
        let waits =
            |id: &MessageId| session.messages.get(id).is_some_and(|m| m.fate == Fate::Waiting);
        match doing {
            Effect::HandOverMessage { message, hook: to } if hook.is_some() && hook == *to => {
                Some(*message).filter(waits)
            }
            _ => None,
        }
    }
}

/// Where and from what a session's workspace is made.
fn workspace_effect(state: &State, session: &Session) -> Option<Effect> {
    let project = state.policy.projects.get(&session.project)?;
    let named = session.branch.as_ref().or(session.branch_wish.as_ref());
    let branch = named.cloned().unwrap_or_else(|| {
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
        existing: session.branch.is_some(),
    })
}

/// Its lane is free, its agent runs, and nothing ends it.
fn can_be_reached(state: &State, session: &Session) -> bool {
    session.busy.is_none()
        && session.intent == Want::Run
        && session.handle.is_some()
        && !session.has_ended()
        && !evidence_of_done(state, session)
}

/// The message that may be handed over now, but for the wait after a failed try. The first prompt that went in
/// with the launch is confirmed by the first turn, and never given twice.
pub(super) fn next_to_type<'s>(state: &State, session: &'s Session) -> Option<&'s QueuedMessage> {
    let message = match session.step {
        Step::Ready => session.next_message(),
        Step::Launching | Step::Prompting => {
            session.messages.values().find(|m| m.first && m.fate == Fate::Waiting)
        }
        _ => None,
    }?;
    let heard = session.signalled || !session.signals;
    let idle = session.activity.value == Activity::Idle;
    let starts = !session.signals && session.activity.value == Activity::Active && message.first;
    // A turn that failed has ended too. Only a human knows whether going on is of use by now.
    let failed =
        matches!(session.activity.value, Activity::Errored { .. } | Activity::RateLimited { .. });
    let stands = idle || starts || failed && message.by.is_some();
    let asks = session.suspected.is_some() || session.open_requests().next().is_some();
    let in_launch = message.is_in_launch();
    let may = can_be_reached(state, session) && heard && stands && !asks && !in_launch;
    may.then_some(message)
}

/// The message that the end of `turn` may be answered with. Work that goes on in the background does not keep
/// the agent from reading it.
fn next_to_hand_over<'s>(
    state: &State,
    session: &'s Session,
    turn: Option<&str>,
) -> Option<&'s QueuedMessage> {
    let present = session.turn.is_none() || session.turn.as_deref() == turn;
    let stands = match session.activity.value {
        Activity::Idle => true,
        Activity::Active => turn.is_some() && present,
        _ => false,
    };
    let asks = session.suspected.is_some() || session.open_requests().next().is_some();
    let may = session.step == Step::Ready && can_be_reached(state, session) && stands && !asks;
    // Whether the turn has brought another head is seen once it has ended.
    let late = |message: &QueuedMessage| session.work.is_some() && is_of_a_head(message);
    session.next_message().filter(|message| may && !message.is_in_launch() && !late(message))
}

/// When a message that could not be handed over is tried again, in awake milliseconds: 2, 4, 8 … at most 60 s
/// after the last try.
pub(super) fn retry_at(message: &QueuedMessage) -> Option<u64> {
    let failed = message.failed?;
    Some(failed.awake.saturating_add(back_off(2_000, message.tries, 60_000)))
}

/// When an agent that waits for quota is told to go on, by wall: the provider's own promise.
pub(super) fn quota_back_at(state: &State, session: &Session) -> Option<Timestamp> {
    let reaction = state.policy.reaction(Some(&session.project), Trigger::RateLimited);
    let resumes = reaction.auto && reaction.action == ReactionAction::Pause;
    let stands = session.step == Step::Ready && can_be_reached(state, session);
    match session.activity.value {
        Activity::RateLimited { until } => until.filter(|_| resumes && stands),
        _ => None,
    }
}
