//! The fold of one session's events.

use ao_slots::{
    fact::{Activity, Checks, PrFacts, RuntimeState, Source},
    scm::{MergeMethod, PrRef},
};

use super::trim_front;
use crate::{
    decide::review::KEEP_HEADS,
    event::{Actor, Effect, Event, Failure, Kind, Outcome, Over},
    state::{
        Asked, Decided, Fact, Fate, Merge, Moment, PrHead, QueuedMessage, Request, Restore,
        RunningTool, Session, Step, Tried, Want,
    },
};

/// Ended requests and messages that a session keeps, for `ao why` and clean refusals.
const KEEP_ENDED: usize = 8;

/// What an agent does that has asked this.
fn waits_for(ask: &ao_slots::agent::Ask) -> Activity {
    match ask {
        ao_slots::agent::Ask::Question { .. } => Activity::WaitingInput,
        ao_slots::agent::Ask::Permission { .. } => Activity::Blocked,
    }
}

impl Session {
    /// An outcome that comes after the end does not bring a session back to life.
    fn go(&mut self, step: Step, when: Moment) {
        if self.over.is_none() {
            self.step = step;
            self.step_since = when;
        }
    }

    fn set_activity(&mut self, value: Activity, source: Source, when: Moment) {
        // A provider that names another time to wait for still refuses since the first time.
        let since = match (&self.activity.value, &value) {
            (Activity::RateLimited { .. }, Activity::RateLimited { .. }) => self.activity.since,
            (before, now) if before == now => self.activity.since,
            _ => when,
        };
        self.busy_since = match value {
            Activity::Active => self.busy_since.or(Some(when)),
            _ => None,
        };
        self.activity = Fact { value, source, since };
    }

    /// Its pull request is this one: what was seen of another says nothing of it.
    fn link_pr(&mut self, pr: &PrRef) {
        if self.follow.link(pr) {
            self.pr = None;
            self.heads.clear();
        }
    }

    /// What the scm says of its pull request, and which heads that had.
    fn see_pr(&mut self, pr: &PrFacts, when: Moment) {
        if self.heads.last().is_none_or(|last| last.head != pr.head) {
            self.heads.push(PrHead { head: pr.head.clone(), since: when, red: None });
            trim_front(&mut self.heads, KEEP_HEADS);
        }
        if pr.details.head_approved {
            self.follow.looked = Some(pr.head.clone());
        }
        // One head that was seen to fail twice has failed once.
        let known = self.heads.iter().position(|head| head.head == pr.head && head.red.is_some());
        self.follow.see(pr, known.is_some(), when);
        if pr.checks == Checks::Failing {
            let at = known.unwrap_or(self.heads.len().saturating_sub(1));
            if let Some(head) = self.heads.get_mut(at) {
                let since = head.red.as_ref().map_or(when, |(_, since)| *since);
                head.red = Some((pr.failing.clone(), since));
            }
        }
        self.pr = Some(Fact { value: pr.clone(), source: Source::Scm, since: when });
    }

    fn moved(&mut self, when: Moment) {
        self.progress = when;
    }

    /// Its last output is movement as of then; one before a sleep, of which awake time knows nothing, as of now.
    fn wrote(&mut self, e: &crate::event::ProgressObserved, when: Moment) {
        let at = e.output.unwrap_or(when.at).min(when.at);
        let ago = u64::try_from(when.at.duration_since(at).as_millis()).unwrap_or(0);
        let awake = when.awake.checked_sub(ago).filter(|awake| *awake >= self.progress.awake);
        self.moved(Moment { at, awake: awake.unwrap_or(when.awake), ..when });
    }

    /// A turn has begun in this launch.
    fn turn_began(&self) -> bool {
        self.turn.is_some() || self.turn_ended.is_some() || self.activity.value == Activity::Active
    }

    /// Ends requests of this launch that are still open.
    fn end_requests(&mut self, how: &str, when: Moment, which: impl Fn(&Request) -> bool) {
        for request in self.requests.values_mut().filter(|r| r.ended.is_none()) {
            if which(request) {
                request.ended = Some((how.to_owned(), when));
            }
        }
        while self.requests.values().filter(|r| r.ended.is_some()).count() > KEEP_ENDED {
            let Some(id) = self.requests.values().find(|r| r.ended.is_some()).map(|r| r.id) else {
                return;
            };
            self.requests.remove(&id);
        }
    }

    /// A request has ended: what the agent does follows from what is still asked, or a turn runs.
    fn after_requests(&mut self, source: Source, when: Moment) {
        if !matches!(self.activity.value, Activity::WaitingInput | Activity::Blocked) {
            return;
        }
        match self.open_requests().last().map(|request| waits_for(&request.ask)) {
            Some(value) => self.set_activity(value, source, when),
            None => {
                self.set_activity(Activity::Active, source, when);
                self.activity_text = None;
                self.moved(when);
            }
        }
    }

    pub(super) fn fold(&mut self, event: &Event, when: Moment) {
        // What an older hook tells of one thing may be news, and of another be overtaken.
        let overtaken = |newest: u64| event.hook.is_some_and(|hook| hook < newest);
        let (does, runs) = (overtaken(self.heard.activity), overtaken(self.heard.tool));
        if let Some(hook) = event.hook {
            self.heard.note(&event.kind, hook);
        }
        match &event.kind {
            Kind::RuntimeObserved(e) => self.fold_runtime(e, when),
            Kind::ActivityObserved(e) => {
                self.signalled |= matches!(e.source, Source::Hook | Source::Transcript);
                self.set_activity(e.activity.clone(), e.source, when);
                self.activity_text.clone_from(&e.text);
                match e.activity {
                    Activity::Active => {
                        self.turn_ended = None;
                        self.moved(when);
                    }
                    Activity::Idle => {
                        self.turn_ended.get_or_insert(when);
                        self.tool = None;
                    }
                    _ => {}
                }
            }
            Kind::AgentStarted(e) => {
                self.signalled = true;
                if e.native_id.is_some() {
                    self.native_id.clone_from(&e.native_id);
                }
                if e.transcript.is_some() && e.transcript != self.transcript {
                    self.transcript.clone_from(&e.transcript);
                    self.transcript_offset = 0;
                }
                if e.version.is_some() {
                    self.agent_version.clone_from(&e.version);
                }
                // It can be talked to: a dialog that no request tells of has been answered.
                let dialog = self.activity.value == Activity::Blocked
                    && self.open_requests().next().is_none();
                if dialog || matches!(self.activity.value, Activity::Starting | Activity::NoSignal)
                {
                    self.set_activity(Activity::Idle, Source::Hook, when);
                    self.activity_text = None;
                }
                if self.step == Step::Launching {
                    self.go(Step::Prompting, when);
                }
                self.moved(when);
            }
            Kind::TurnStarted(e) => {
                self.signalled = true;
                self.end_requests("new-turn", when, |r| r.turn.is_none() || r.turn != e.turn);
                self.turn.clone_from(&e.turn);
                self.turn_ended = None;
                self.suspected = None;
                if !runs {
                    self.tool = None;
                }
                // A claim speaks for the turn in which it was made.
                self.claimed = None;
                if !does {
                    self.activity_text = None;
                    self.set_activity(Activity::Active, Source::Hook, when);
                }
                self.moved(when);
                if let Some(message) = e.confirms.and_then(|id| self.messages.get_mut(&id)) {
                    message.fate = Fate::Confirmed { evidence: "hook".into(), when };
                }
                self.trim_messages();
            }
            Kind::TurnEnded(e) => {
                self.signalled = true;
                self.end_requests("turn-ended", when, |_| true);
                if !runs {
                    self.tool = None;
                }
                self.suspected = None;
                if e.last_words.is_some() {
                    self.last_words.clone_from(&e.last_words);
                }
                self.activity_text = None;
                self.moved(when);
                if e.background {
                    self.set_activity(Activity::Active, Source::Hook, when);
                } else {
                    self.turn_ended = Some(when);
                    self.set_activity(Activity::Idle, Source::Hook, when);
                }
            }
            Kind::ToolStarted(e) => {
                self.signalled = true;
                self.tool = Some(RunningTool {
                    tool: e.tool.clone(),
                    command: e.command.clone(),
                    since: when,
                });
                self.moved(when);
            }
            Kind::ToolEnded(_) => {
                if !runs && let Some(tool) = self.tool.take() {
                    self.ended_tool = Some((tool, when));
                }
                self.moved(when);
            }
            Kind::ProgressObserved(e) if e.output.is_some() => self.wrote(e, when),
            Kind::ProgressObserved(_) => {
                self.moved(when);
                // What looked like a question is behind it, unless both were seen in one look.
                self.suspected.take_if(|(_, seen)| seen.awake < when.awake);
                if matches!(self.activity.value, Activity::NoSignal) {
                    self.set_activity(Activity::Active, Source::Transcript, when);
                }
            }
            Kind::QuestionSuspected(e) => self.suspected = Some((e.text.clone(), when)),
            Kind::CompletionClaimed(e) => {
                self.claimed = Some(when);
                if e.text.is_some() {
                    self.last_words.clone_from(&e.text);
                }
            }
            Kind::WorkObserved(e) => {
                let moved = self
                    .work
                    .as_ref()
                    .is_none_or(|fact| fact.value.fingerprint != e.work.fingerprint);
                self.work_looked = Some(when);
                // The first look finds what it finds: that is no movement.
                let first = self.work.is_none();
                if moved {
                    self.work = Some(Fact {
                        value: e.work.clone(),
                        source: Source::Workspace,
                        since: when,
                    });
                    if !first {
                        self.moved(when);
                    }
                } else if let Some(work) = &mut self.work {
                    work.value = e.work.clone();
                }
            }
            Kind::PrObserved(e) => self.see_pr(&e.pr, when),
            Kind::PrLinked(e) => self.link_pr(&e.pr),
            Kind::BriefPrepared(e) => self.follow.prepare(e, when),
            Kind::BriefReleased(e) => {
                if let Some(brief) = self.follow.briefs.get_mut(&e.trigger)
                    && brief.key == e.key
                {
                    brief.released = Some(e.by.clone());
                }
            }
            Kind::RetryRequested(e) => self.tell_again(e.trigger),
            Kind::PrActRequested(e) => {
                let (act, by) = (e.act.clone(), e.by.clone());
                self.follow.asked = Some(Asked { act, by, when, failure: None });
            }
            Kind::AttemptFailed(e) => {
                let mut attempts = self.follow.attempts.iter_mut();
                if let Some(attempt) = attempts.find(|attempt| attempt.message == e.message) {
                    (attempt.failed, attempt.idle) = (Some(when), true);
                }
            }
            Kind::MergeRequested(e) => {
                self.follow.stepped_in();
                self.follow.looked = Some(e.head.clone());
                self.want_merge(&e.head, e.method, Some(e.by.clone()), when);
            }
            Kind::MergeDecided(e) => {
                self.want_merge(&e.head, None, None, when);
            }
            Kind::UsageObserved(e) => {
                let add = |sum: Option<u64>, more: Option<u64>| match (sum, more) {
                    (Some(sum), Some(more)) => Some(sum.saturating_add(more)),
                    (sum, more) => sum.or(more),
                };
                let (usage, more) = (&mut self.usage, &e.usage);
                usage.input_tokens = add(usage.input_tokens, more.input_tokens);
                usage.output_tokens = add(usage.output_tokens, more.output_tokens);
                usage.cost_micros = more.cost_micros.or(usage.cost_micros);
                usage.summary = more.summary.clone().or(usage.summary.take());
                usage.native_id = more.native_id.clone().or(usage.native_id.take());
                if more.native_id.is_some() {
                    self.native_id.clone_from(&more.native_id);
                }
                self.transcript_offset = e.offset;
            }
            Kind::IssueObserved(e) => self.issue_closed = e.completed,
            Kind::RequestOpened(e) => {
                self.signalled = true;
                self.suspected = None;
                let waits = waits_for(&e.ask);
                self.requests.insert(
                    e.request,
                    Request {
                        id: e.request,
                        launch: e.launch,
                        key: e.key.clone(),
                        turn: e.turn.clone(),
                        tool: e.tool.clone(),
                        ask: e.ask.clone(),
                        full: e.full.clone(),
                        answerable: e.answerable,
                        opened: when,
                        hook: event.hook,
                        decided: None,
                        ended: None,
                    },
                );
                if !does {
                    self.set_activity(waits, Source::Hook, when);
                }
            }
            Kind::RequestEnded(e) => {
                self.end_requests(&e.how, when, |r| r.id == e.request);
                self.after_requests(Source::Hook, when);
            }
            Kind::RequestDecided(e) => {
                if let Some(request) = self.requests.get_mut(&e.request) {
                    request.decided = Some(Decided {
                        decision: e.decision.clone(),
                        full: e.full.clone(),
                        by: e.by.clone(),
                        when,
                        handed: None,
                    });
                }
            }
            Kind::MessageRequested(e) => {
                self.human_told(e.message);
                self.add_message(e.message, &e.text, &e.digest, Some(e.by.clone()), false, when);
            }
            Kind::MessageQueued(e) => {
                self.add_message(e.message, &e.text, &e.digest, None, e.first, when);
                let pr = self.pr.as_ref().map(|fact| &fact.value);
                self.follow.told(e, pr, when);
                if let Some(message) = self.messages.get_mut(&e.message) {
                    message.about.clone_from(&e.about);
                }
            }
            Kind::MessageConfirmed(e) => {
                if let Some(message) = self.messages.get_mut(&e.message) {
                    message.fate = Fate::Confirmed { evidence: e.evidence.clone(), when };
                }
                self.trim_messages();
            }
            Kind::MessageWithdrawn(e) => {
                if let Some(message) = self.messages.get_mut(&e.message) {
                    message.fate = Fate::Withdrawn { reason: e.reason.clone() };
                }
                self.trim_messages();
            }
            Kind::KillRequested(e) => {
                self.intent = Want::Kill(e.by.clone());
                self.forced |= e.force;
            }
            Kind::KillDecided(_) => self.intent = Want::Kill(Actor::ao()),
            Kind::DoneMarked(e) => self.intent = Want::Done(e.by.clone()),
            Kind::RestoreRequested(e) => {
                if let Some(names) = &e.env_names {
                    self.env_names.clone_from(names);
                }
                self.begin_restore(Some(e.by.clone()), e.fresh, when);
            }
            Kind::RestoreDecided(_) => {
                self.restores.push(when);
                trim_front(&mut self.restores, 8);
                self.begin_restore(None, false, when);
            }
            Kind::RestoreSettled(e) => {
                let by = self.restore.take().and_then(|restore| restore.by);
                if e.ok {
                    self.restored = Some(when);
                    self.restored_by = by;
                    self.server_lost = false;
                } else if self.runtime_state.value == RuntimeState::Starting {
                    self.runtime_state =
                        Fact { value: RuntimeState::Missing, source: Source::Server, since: when };
                }
                if let Some(failure) = &e.failure {
                    self.failure = Some(("restore".into(), failure.clone()));
                }
                if self.step < Step::Ready {
                    self.go(Step::Ready, when);
                }
            }
            Kind::CleanupRequested(e) => {
                self.cleanup = Some(e.force);
                self.forced |= e.force;
                self.workspace_kept = None;
            }
            Kind::StatusChanged(e) => {
                self.status = e.to;
                self.status_since = when;
            }
            Kind::SessionEnded(e) => {
                self.over = Some((e.how, when));
                self.step = Step::Over;
                self.restore = None;
                self.closes_issue = e.closes;
                self.end_requests("over", when, |_| true);
                for message in self.messages.values_mut().filter(|m| m.fate == Fate::Waiting) {
                    message.fate = Fate::Withdrawn { reason: "the session is over".into() };
                }
                let there = self.workspace.is_some() && !self.workspace_gone;
                if there && e.how != Over::Failed && !e.keep {
                    self.cleanup = Some(self.forced);
                }
            }
            Kind::SpawnFailed(e) => {
                self.failure = Some((e.step.clone(), e.failure.clone()));
                self.go(Step::Undoing, when);
            }
            Kind::SessionReady(_) => {
                self.restore = None;
                self.go(Step::Ready, when);
            }
            _ => {}
        }
    }

    fn fold_runtime(&mut self, e: &crate::event::RuntimeObserved, when: Moment) {
        if self.runtime_state.value != e.state {
            self.runtime_state = Fact { value: e.state, source: Source::Runtime, since: when };
        }
        // What its runtime's death ended stays lost until a restore has succeeded, however the restore fails.
        self.server_lost = e.server_lost || self.restore.is_some() && self.server_lost;
        if let (Some(process), Some(handle)) = (e.process, self.handle.as_mut()) {
            handle.process = Some(process);
        }
        if e.tail.is_some() {
            self.tail.clone_from(&e.tail);
        }
        if matches!(e.state, RuntimeState::Exited { .. } | RuntimeState::Missing) {
            self.end_requests("restarted", when, |_| true);
            self.tool = None;
            self.busy_since = None;
        }
    }

    fn begin_restore(&mut self, by: Option<crate::event::Actor>, fresh: bool, when: Moment) {
        let was_active =
            self.turn_ended.is_none() && !matches!(self.activity.value, Activity::Idle);
        self.restore = Some(Restore { by, fresh, was_active, since: when });
        self.failure = None;
        self.intent = Want::Run;
        self.forced = false;
        if self.over.take().is_some() {
            self.cleanup = None;
            self.workspace_kept = None;
        }
        self.end_requests("restarted", when, |_| true);
        self.go(Step::CreatingRuntime, when);
    }

    fn add_message(
        &mut self,
        id: ao_slots::MessageId,
        text: &crate::event::Text,
        digest: &str,
        by: Option<crate::event::Actor>,
        first: bool,
        when: Moment,
    ) {
        let message = QueuedMessage {
            id,
            text: text.clone(),
            digest: digest.to_owned(),
            by,
            first,
            about: None,
            queued: when,
            tried: None,
            failed: None,
            tries: 0,
            fate: Fate::Waiting,
        };
        self.messages.insert(id, message);
    }

    fn want_merge(
        &mut self,
        head: &str,
        method: Option<MergeMethod>,
        by: Option<Actor>,
        when: Moment,
    ) {
        let head = head.to_owned();
        self.follow.merge = Some(Merge { head, method, by, when, failure: None, commit: None });
    }

    fn trim_messages(&mut self) {
        self.settle_attempts();
        let settled =
            |m: &&QueuedMessage| matches!(m.fate, Fate::Confirmed { .. } | Fate::Withdrawn { .. });
        while self.messages.values().filter(settled).count() > KEEP_ENDED {
            let Some(id) = self.messages.values().find(settled).map(|m| m.id) else { return };
            self.messages.remove(&id);
        }
    }

    pub(super) fn fold_intended(&mut self, effect: &Effect, when: Moment) {
        match effect {
            Effect::CreateRuntime { launch, .. } => {
                self.launch = *launch;
                self.launched = Some(when);
                self.handle = None;
                self.signalled = false;
                self.heard = Default::default();
                self.suspected = None;
                self.tool = None;
                self.claimed = None;
                self.turn = None;
                self.turn_ended = None;
                self.busy_since = None;
                for message in self.messages.values_mut().filter(|m| m.fate == Fate::Waiting) {
                    message.tried = None;
                    message.failed = None;
                }
                self.runtime_state =
                    Fact { value: RuntimeState::Starting, source: Source::Server, since: when };
                self.activity =
                    Fact { value: Activity::Starting, source: Source::Server, since: when };
                self.activity_text = None;
                self.moved(when);
                self.go(Step::CreatingRuntime, when);
            }
            Effect::TypeMessage { message } | Effect::HandOverMessage { message, .. } => {
                if let Some(message) = self.messages.get_mut(message) {
                    message.tried.get_or_insert(when);
                    message.tries += 1;
                }
                if let Effect::HandOverMessage { .. } = effect {
                    // The turn goes on with it.
                    self.turn_ended = None;
                    self.set_activity(Activity::Active, Source::Server, when);
                    self.moved(when);
                }
            }
            _ => {}
        }
    }

    pub(super) fn fold_outcome(&mut self, effect: &Effect, outcome: &Outcome, when: Moment) {
        self.follow.asked.take_if(|asked| asked.act.effect() == *effect);
        match (effect, outcome) {
            (Effect::FetchIssue, Outcome::Issue { title, prompt, digest, branch }) => {
                self.prompt_digest.clone_from(digest);
                self.title = title.clone();
                self.prompt = prompt.clone();
                if branch.is_some() {
                    self.branch_wish.clone_from(branch);
                }
                self.go(Step::MakingWorkspace, when);
            }
            (
                Effect::CreateWorkspace { .. } | Effect::RestoreWorkspace,
                Outcome::Workspace(info),
            ) => {
                self.workspace = Some(info.clone());
                self.workspace_gone = false;
                if self.over.is_some() {
                    self.cleanup = Some(self.forced);
                }
                self.go(
                    if self.post_created { Step::CreatingRuntime } else { Step::PostCreate },
                    when,
                );
            }
            (Effect::PostCreate, Outcome::PostCreate { failed: None, .. }) => {
                self.post_created = true;
                self.go(Step::CreatingRuntime, when);
            }
            (Effect::PostCreate, Outcome::PostCreate { failed: Some((command, code)), .. }) => {
                let how = match code {
                    Some(code) => format!("exited with {code}"),
                    None => "was ended by a signal".into(),
                };
                let message = format!("postCreate `{command}` {how}");
                self.fold_failure(effect, &Failure::permanent(message), when);
            }
            (
                Effect::CreateRuntime { .. },
                Outcome::Runtime {
                    handle,
                    native_id,
                    transcript,
                    signals,
                    prompted,
                    resumed,
                    resumable,
                    program,
                },
            ) => {
                self.program.clone_from(program);
                self.handle = Some(handle.clone());
                self.signals = *signals;
                self.resumable = *resumable;
                if native_id.is_some() {
                    self.native_id.clone_from(native_id);
                }
                if transcript.is_some() {
                    self.transcript.clone_from(transcript);
                }
                self.runtime_state =
                    Fact { value: RuntimeState::Alive, source: Source::Runtime, since: when };
                if *prompted && !*resumed {
                    // In the launch: confirmed by the first turn (which may have been told of before the
                    // launch had its outcome), or by the launch where nothing signals.
                    let turned = self.turn_began();
                    let firsts = self.messages.values_mut();
                    for message in firsts.filter(|m| m.first && m.fate == Fate::Waiting) {
                        message.tried = Some(when);
                        message.tries += 1;
                        if turned || !*signals {
                            message.fate = Fate::Confirmed { evidence: "launch".into(), when };
                        }
                    }
                    self.trim_messages();
                }
                if !*signals {
                    self.set_activity(Activity::Active, Source::Server, when);
                }
                let heard = self.signalled || !*signals;
                self.go(if heard { Step::Prompting } else { Step::Launching }, when);
                self.moved(when);
            }
            (Effect::DecideRequest { request }, _) => {
                if let Some(decided) =
                    self.requests.get_mut(request).and_then(|r| r.decided.as_mut())
                {
                    decided.handed = Some(Ok(when));
                }
            }
            (Effect::TypeMessage { message } | Effect::HandOverMessage { message, .. }, _) => {
                if let Some(message) = self.messages.get_mut(message)
                    && message.fate == Fate::Waiting
                {
                    message.fate = Fate::Confirmed { evidence: "typed".into(), when };
                }
                self.trim_messages();
            }
            (Effect::MergePr { head, .. }, Outcome::Merged { commit }) => {
                if let Some(merge) = self.follow.merge_at(head) {
                    merge.commit = Some(commit.clone());
                }
            }
            (Effect::RerunChecks { head }, _) => self.follow.runs_again(head, when),
            (Effect::OpenPr { .. } | Effect::ReopenPr, Outcome::PrOpened(pr)) => self.link_pr(pr),
            (Effect::CloseIssue, _) => {
                (self.closes_issue, self.issue_unclosed) = (false, None);
                self.issue_closed = true;
            }
            (Effect::DestroyRuntime { .. }, _) => {
                self.runtime_state =
                    Fact { value: RuntimeState::Missing, source: Source::Server, since: when };
                self.handle = None;
            }
            (Effect::DestroyWorkspace { .. }, _) => {
                self.workspace_gone = true;
                self.workspace_kept = None;
                self.cleanup = None;
            }
            // An outcome of another effect ends nothing: the step has failed, and is not begun for ever.
            (effect, _) => {
                let message = format!("{} brought something else", step_name(effect));
                self.fold_failure(effect, &Failure::permanent(message), when);
            }
        }
    }

    pub(super) fn fold_failure(&mut self, effect: &Effect, failure: &Failure, when: Moment) {
        if let Some(asked) = &mut self.follow.asked
            && asked.act.effect() == *effect
        {
            asked.failure = Some(failure.clone());
        }
        match effect {
            Effect::MergePr { head, .. } => {
                if let Some(merge) = self.follow.merge_at(head) {
                    merge.failure = Some(failure.clone());
                }
            }
            // What cannot be run again is told to the agent as it is.
            Effect::RerunChecks { head } => {
                self.follow.runs_again(head, when);
                self.follow.reran = true;
            }
            // Whoever asked for it is told.
            Effect::ReopenPr => {}
            Effect::CloseIssue => {
                let tried = Tried::once_more(self.issue_unclosed.take(), failure, when);
                self.closes_issue = tried.again_at().is_some();
                self.issue_unclosed = Some(tried);
            }
            Effect::OpenPr { .. } => {
                let head = self.work.as_ref().map(|fact| fact.value.head.as_str());
                self.follow.not_opened(head.unwrap_or_default(), failure, when);
            }
            Effect::DecideRequest { request } => {
                if let Some(decided) =
                    self.requests.get_mut(request).and_then(|r| r.decided.as_mut())
                {
                    decided.handed = Some(Err(failure.clone()));
                }
            }
            Effect::TypeMessage { message } | Effect::HandOverMessage { message, .. } => {
                if let Some(message) = self.messages.get_mut(message)
                    && message.fate == Fate::Waiting
                {
                    message.failed = Some(when);
                    if !matches!(failure.kind, ao_slots::ErrorKind::Transient) {
                        message.fate = Fate::Undelivered { failure: failure.clone() };
                    } else if let Effect::HandOverMessage { .. } = effect
                        && self.activity.value == Activity::Active
                    {
                        // The turn ended after all.
                        self.turn_ended = Some(when);
                        self.set_activity(Activity::Idle, Source::Server, when);
                    }
                }
            }
            Effect::DestroyWorkspace { .. } => {
                self.workspace_kept = Some(failure.clone());
                self.cleanup = None;
            }
            _ => {
                self.failure = Some((step_name(effect).into(), failure.clone()));
                self.step_since = when;
            }
        }
    }
}

/// The step's name as `ao spawn` shows it.
fn step_name(effect: &Effect) -> &'static str {
    match effect {
        Effect::FetchIssue => "task",
        Effect::CreateWorkspace { .. } | Effect::RestoreWorkspace => "workspace",
        Effect::PostCreate => "postCreate",
        Effect::CreateRuntime { .. } => "agent",
        Effect::TypeMessage { .. } | Effect::HandOverMessage { .. } => "prompt",
        Effect::DecideRequest { .. } => "answer",
        Effect::DestroyRuntime { .. } => "kill",
        Effect::DestroyWorkspace { .. } => "cleanup",
        Effect::MergePr { .. } => "merge",
        Effect::RerunChecks { .. } => "checks",
        Effect::OpenPr { .. } | Effect::ReopenPr => "pull request",
        Effect::CloseIssue => "issue",
        Effect::SendNotification { .. }
        | Effect::UpdateNotification { .. }
        | Effect::ResolveNotification { .. } => "push",
    }
}
