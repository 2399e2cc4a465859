//! What came in, as observations: only what is news.

use std::collections::BTreeSet;

use ao_slots::{
    ErrorKind, MessageId, SessionId,
    fact::{Activity, RuntimeState, Source},
};
use jiff::Timestamp;

use super::reaction::{is_followed, owner, wanted_brief};
use super::{
    Answered, Decider, Input, Refusal, RuntimeSeen, Told, review::is_overtaken,
    schedule::stuck_after,
};
use crate::{
    event::{
        ActivityObserved, AgentStarted, BriefPrepared, ButtonsOffered, ChannelTried, ClockJumped,
        CompletionClaimed, ConfigAccepted, ConfigApplied, ConfigRefused, DiskObserved, Effect,
        EffectDoubted, EffectFailed, EffectSucceeded, FileTampered, InputQuarantined,
        IssueObserved, JournalGap, MessageConfirmed, PrLinked, PrObserved, PresenceObserved,
        ProgressObserved, QuestionSuspected, RecordWritten, RequestEnded, RequestOpened,
        RuntimeObserved, ScmObserved, ServerStarted, ServerStopped, SweepCompleted, ToolEnded,
        ToolStarted, TurnEnded, TurnStarted, UsageObserved, WorkObserved,
    },
    state::{Fate, Moment, QueuedMessage, RunningTool, Session},
};

/// Movement is journalled at most that often a session, in milliseconds: enough for limits of minutes.
const PROGRESS_EVERY_MS: u64 = 60_000;

impl Decider<'_> {
    pub(super) fn observe(&mut self, input: &Input) -> Result<Answered, Refusal> {
        match input {
            Input::Tick => {}
            Input::Started { instance, boot, monotonic_ms, version, pid, alive, zone } => {
                let started = self.started(instance, boot, *monotonic_ms, version, *pid, *alive);
                self.push(ServerStarted { zone: zone.clone(), ..started });
            }
            Input::Presence { sessions, page } => self.presence(sessions, *page),
            Input::Stopping { reason } => {
                self.push(ServerStopped { reason: reason.clone() });
            }
            Input::ClockJumped { ahead_ms } => {
                self.push(ClockJumped { ahead_ms: *ahead_ms });
            }
            Input::Config { hash, policy, channels } => {
                let known = self.state.policy_hash == *hash
                    && channels.iter().all(|(name, can)| {
                        self.state
                            .channels
                            .get(name)
                            .is_some_and(|channel| channel.capabilities.as_ref() == Some(can))
                    });
                if !known {
                    self.push(ConfigApplied {
                        hash: hash.clone(),
                        policy: policy.clone(),
                        channels: channels.clone(),
                    });
                }
            }
            Input::Learned { channel, can } => {
                let known = self.state.channels.get(channel).and_then(|c| c.capabilities.as_ref());
                // A channel that is no longer configured is not asked for anything.
                let is_there = self.state.policy.channels.contains_key(channel);
                if is_there && known != Some(can.as_ref()) {
                    self.push(ConfigApplied {
                        hash: self.state.policy_hash.clone(),
                        policy: Box::new(self.state.policy.as_ref().clone()),
                        channels: [(channel.clone(), can.as_ref().clone())].into(),
                    });
                }
            }
            Input::Offer { notification, channel, revision, offers } => {
                let told = notification.and_then(|id| self.state.notifications.get(&id));
                let because: Vec<_> = told.iter().map(|told| told.revised.seq).collect();
                let project = told.and_then(|told| told.project.clone());
                let draft = self.push(ButtonsOffered {
                    notification: *notification,
                    channel: channel.clone(),
                    revision: *revision,
                    offers: offers.clone(),
                });
                draft.because(&because).project = project;
            }
            Input::Tried { channel, failure } => {
                self.push(ChannelTried { channel: channel.clone(), failure: failure.clone() });
            }
            Input::ConfigRefused { file, reason, untrusted } => {
                if self.state.server.refused.get(file).is_none_or(|(known, _)| known != reason) {
                    let (file, reason) = (file.clone(), reason.clone());
                    self.push(ConfigRefused { file, reason, untrusted: *untrusted });
                }
            }
            Input::ConfigAccepted { file } => {
                if self.state.server.refused.contains_key(file) {
                    self.push(ConfigAccepted { file: file.clone() });
                }
            }
            Input::Disk { free, failing } => self.disk(*free, *failing),
            Input::Tampered { path, kept } => {
                self.push(FileTampered { path: path.clone(), kept: kept.clone() });
            }
            Input::Gap { from, to } => {
                self.push(JournalGap { from: *from, to: *to });
            }
            Input::Quarantined { file, message } => {
                self.push(InputQuarantined { file: file.clone(), message: message.clone() });
            }
            Input::Swept { sessions } => {
                if self.state.unswept_since.is_some() {
                    self.push(SweepCompleted { sessions: *sessions });
                }
            }
            Input::Runtime { seen } => {
                for seen in seen {
                    self.runtime_seen(seen);
                }
            }
            Input::Work { session, work } => {
                // The same as before is news once after the end of a turn: evidence must be later than the claim.
                let known = self.state.sessions.get(session).is_none_or(|s| {
                    let looked = s.work_looked.map(|when| when.seq);
                    let ended =
                        s.turn_ended.map(|when| when.seq).max(Some(s.runtime_state.since.seq));
                    s.is_over() || s.work() == Some(work) && looked > ended
                });
                if !known {
                    self.about(session, WorkObserved { work: work.clone() });
                }
            }
            Input::Pr { session, pr } => {
                let known = self.state.sessions.get(session).is_none_or(|s| {
                    // An answer about the one that it had before.
                    let other = s.follow.pr.as_ref().is_some_and(|own| own.number != pr.number);
                    other || s.pr() == Some(pr) || is_overtaken(s, pr, self.now.awake)
                });
                if !known {
                    self.about(session, PrObserved { pr: pr.clone() });
                }
            }
            Input::Link { session, pr, by: None } => {
                // The one that a human named stays; found again, it is no news.
                let known = self.state.sessions.get(session).is_none_or(|s| {
                    s.is_over() || s.follow.pr.as_ref() == Some(pr) || is_followed(s)
                });
                if !known && owner(self.state, session, pr).is_none() {
                    self.about(session, PrLinked { pr: pr.clone(), by: None });
                }
            }
            Input::Brief { session, about, text, digest, held } => {
                let wanted = self.state.sessions.get(session).is_some_and(|s| {
                    wanted_brief(self.state, s, about.trigger).as_ref() == Some(&about.key)
                });
                if wanted {
                    let event = BriefPrepared {
                        trigger: about.trigger,
                        key: about.key.clone(),
                        text: text.clone(),
                        digest: digest.clone(),
                        held: held.clone(),
                    };
                    self.about(session, event);
                }
            }
            Input::Record { project, plugin, values } => {
                let draft =
                    self.push(RecordWritten { plugin: plugin.clone(), values: values.clone() });
                draft.project = Some(project.clone());
            }
            Input::Scm { project, failure } => {
                let away = self.state.scm_away.contains_key(project);
                if away != failure.is_some() {
                    let draft = self.push(ScmObserved { failure: failure.clone() });
                    draft.project = Some(project.clone());
                }
            }
            Input::Issue { session, completed } => {
                if self.state.sessions.get(session).is_some_and(|s| s.issue_closed != *completed) {
                    self.about(session, IssueObserved { completed: *completed });
                }
            }
            Input::Signals { session, launch, source, started, told } => {
                let Some(known) = self.state.sessions.get(session) else {
                    return Ok(Answered::default());
                };
                // Another start's signal, or one of a session that is over, says nothing about now.
                if known.launch != *launch || known.is_over() {
                    return Ok(Answered::default());
                }
                return Ok(self.signals(known, *source, *started, told));
            }
            Input::Effect { intent, result } => {
                let Some(known) = self.state.intents.get(intent) else {
                    return Ok(Answered::default());
                };
                let because = [*intent];
                let session = match &known.lane {
                    crate::state::Lane::Session(id) => Some(id.clone()),
                    crate::state::Lane::Channel(_) => None,
                };
                let project = session
                    .as_ref()
                    .and_then(|id| self.state.sessions.get(id))
                    .map(|s| s.project.clone());
                let draft = match result {
                    Ok(outcome) => {
                        self.push(EffectSucceeded { intent: *intent, outcome: outcome.clone() })
                    }
                    Err(failure) if failure.kind == ErrorKind::InDoubt && known.doubt.is_none() => {
                        self.push(EffectDoubted {
                            intent: *intent,
                            reason: failure.message.clone(),
                        })
                    }
                    Err(failure) => {
                        let (not_before, channel_not_before) = self.rests(known, failure);
                        self.push(EffectFailed {
                            intent: *intent,
                            failure: failure.clone(),
                            not_before,
                            channel_not_before,
                        })
                    }
                };
                draft.because(&because);
                draft.project = project;
                draft.session = session;
            }
            Input::Once { act, .. } => return self.observe(act),
            Input::Spawn(_)
            | Input::Press { .. }
            | Input::PressCard { .. }
            | Input::PressFailed { .. }
            | Input::TestPressed { .. }
            | Input::Decide { .. }
            | Input::Send { .. }
            | Input::Kill { .. }
            | Input::Link { .. }
            | Input::Release { .. }
            | Input::Retry { .. }
            | Input::ActOnPr { .. }
            | Input::Merge { .. }
            | Input::OpenPr { .. }
            | Input::Done { .. }
            | Input::Restore { .. }
            | Input::Cleanup { .. }
            | Input::Acknowledge { .. }
            | Input::DigestNow { .. }
            | Input::GrantAccess { .. }
            | Input::RevokeAccess { .. }
            | Input::SilenceAdd { .. }
            | Input::SilenceEnd { .. }
            | Input::Snooze { .. } => return self.human(input),
        }
        Ok(Answered::default())
    }

    fn started(
        &mut self,
        instance: &ao_slots::InstanceId,
        boot: &str,
        monotonic_ms: u64,
        version: &str,
        pid: i32,
        alive: Option<Timestamp>,
    ) -> ServerStarted {
        let state = self.state;
        // Awake time goes on where it stood: within one boot by the kernel's clock, after another boot from the last event.
        let monotonic = i64::try_from(monotonic_ms).unwrap_or(i64::MAX);
        let offset_ms = if state.boot == boot && !boot.is_empty() {
            state.offset_ms
        } else {
            i64::try_from(state.awake).unwrap_or(i64::MAX).saturating_sub(monotonic)
        };
        let first = state.instance.is_none();
        // An hour in which nothing happened is no absence.
        let lived = alive.map_or(state.last_at, |alive| alive.max(state.last_at));
        let away = self.now.wall.duration_since(lived).as_millis();
        let away_ms = (!first).then(|| u64::try_from(away).unwrap_or(0));
        ServerStarted {
            instance: instance.clone(),
            boot: boot.to_owned(),
            offset_ms,
            version: version.to_owned(),
            pid,
            away_ms,
            clean: state.stopped_clean,
            zone: None,
        }
    }

    /// Who comes and goes is news, not each key that is pressed.
    fn presence(&mut self, sessions: &BTreeSet<SessionId>, page: bool) {
        let state = self.state;
        let (known, present) = (&state.sessions, &state.present);
        for id in sessions.iter().filter(|id| known.contains_key(*id) && !present.types_in(id)) {
            self.about(id, PresenceObserved { here: true });
        }
        for id in present.sessions.keys().filter(|id| !sessions.contains(*id)) {
            self.about(id, PresenceObserved { here: false });
        }
        if present.page.is_some() != page {
            self.push(PresenceObserved { here: page });
        }
    }

    fn disk(&mut self, free: u64, failing: bool) {
        let server = &self.state.server;
        let limit = self
            .state
            .policy
            .reaction(None, crate::config::trigger::Trigger::DiskLow)
            .threshold_bytes
            .unwrap_or(1 << 30);
        // A tenth more before it counts as free again, so that it does not flap at the limit.
        let low = if server.disk_low.is_some() {
            free < limit.saturating_add(limit / 10)
        } else {
            free < limit
        };
        let changed = low != server.disk_low.is_some() || failing != server.disk_failing;
        if changed || server.disk_free.is_none() {
            self.push(DiskObserved { free, low, failing });
        }
    }

    fn runtime_seen(&mut self, seen: &RuntimeSeen) {
        let Some(session) = self.state.sessions.get(&seen.session) else { return };
        if session.launch != seen.launch || session.is_over() || session.handle.is_none() {
            return;
        }
        // What runs or ran is not being started.
        if seen.state == RuntimeState::Starting {
            return;
        }
        let process = session.handle.as_ref().and_then(|handle| handle.process);
        let learned = seen.process.is_some() && seen.process != process;
        let ended = matches!(seen.state, RuntimeState::Exited { .. } | RuntimeState::Missing);
        let lost = ended && seen.server_lost && !session.server_lost;
        if session.runtime_state.value != seen.state || learned || lost {
            self.about(
                &seen.session,
                RuntimeObserved {
                    launch: seen.launch,
                    state: seen.state,
                    process: seen.process.or(process),
                    tail: seen.tail.clone(),
                    server_lost: seen.server_lost,
                },
            );
        }
        if let Some(at) = seen.output.filter(|_| !ended) {
            if !session.signals {
                self.confirm_typed(session, |handed| at > handed.at);
            }
            self.wrote(session, at);
        }
    }

    /// An agent that does not signal never says that it took an answer. What it tells or writes after the answer
    /// was typed is all the confirmation there is.
    fn confirm_typed(&mut self, session: &Session, after: impl Fn(Moment) -> bool) {
        let typed = session.open_requests().filter(|r| r.handed().is_some_and(&after));
        for request in typed.map(|request| request.id) {
            self.about(&session.id, RequestEnded { request, how: "confirmed".into() });
        }
    }

    /// Output moves an agent that does not signal, and one whose tool runs. It is journalled with its own time,
    /// and only once the known movement is older than a quarter of the stuck limit: what an agent wrote last
    /// is known long before the limit could pass, and one that never stops writing costs four events a limit.
    fn wrote(&mut self, session: &Session, at: Timestamp) {
        let at = at.min(self.now.wall);
        let counts = !session.signals || session.tool.is_some();
        let known = self.now.awake.saturating_sub(session.progress.awake);
        let matters = known.saturating_mul(4) >= stuck_after(self.state, session);
        // A wall clock that was set back makes what is known look later than anything new.
        let news = at > session.progress.at || session.progress.at > self.now.wall;
        if counts && matters && news {
            let event = ProgressObserved { launch: session.launch, output: Some(at) };
            self.about(&session.id, event);
        }
    }

    fn signals(
        &mut self,
        session: &Session,
        source: Source,
        started: Option<u64>,
        told: &[Told],
    ) -> Answered {
        let mut answered = Answered { session: Some(session.id.clone()), ..Answered::default() };
        for told in told {
            let after_the_end = matches!(
                told,
                Told::Usage { .. } | Told::Completed { .. } | Told::TurnEnded { .. }
            );
            if after_the_end || !session.has_ended() {
                // These name the request that they end.
                let names = matches!(told, Told::ToolEnded { .. } | Told::RequestEnded { .. });
                if !session.signals && source == Source::Hook && !names {
                    self.confirm_typed(session, |_| true);
                }
                self.signal(session, source, started, told, &mut answered);
            }
        }
        answered
    }

    /// The first prompt, where it went in with the launch and is not confirmed: whatever turn is told of in
    /// this launch began with it.
    fn in_launch(&self, session: &Session) -> Option<MessageId> {
        let doing = session.busy.and_then(|seq| self.state.intents.get(&seq));
        let typing = doing.is_some_and(|i| matches!(i.effect, Effect::TypeMessage { .. }));
        let fresh = session.turn.is_none() && session.turn_ended.is_none();
        let mut waiting = session.messages.values().filter(|m| m.is_in_launch());
        waiting.next().filter(|_| !typing && fresh).map(|m| m.id)
    }

    fn signal(
        &mut self,
        session: &Session,
        source: Source,
        started: Option<u64>,
        told: &Told,
        answered: &mut Answered,
    ) {
        let id = &session.id;
        let launch = session.launch;
        if started.is_some_and(|at| overtaken(session, at, told)) {
            // What a turn began with has arrived, whatever came after it.
            if let Told::TurnStarted { digest: Some(digest), .. } = told
                && let Some(message) = waiting_with(session, digest)
            {
                self.about(id, MessageConfirmed { message, evidence: "hook".into() });
            }
            return;
        }
        match told {
            Told::Started { native_id, transcript, version } => {
                // What stood there before it could be talked to is over.
                let dialog = session.activity.value == Activity::Blocked
                    && session.open_requests().next().is_none();
                let begins =
                    matches!(session.activity.value, Activity::Starting | Activity::NoSignal);
                let known = session.signalled
                    && !dialog
                    && !begins
                    && (native_id.is_none() || *native_id == session.native_id)
                    && (transcript.is_none() || *transcript == session.transcript);
                if !known {
                    self.about(
                        id,
                        AgentStarted {
                            launch,
                            native_id: native_id.clone(),
                            transcript: transcript.clone(),
                            version: version.clone(),
                        },
                    );
                }
            }
            Told::TurnStarted { turn, digest } => {
                let told = digest.as_deref().and_then(|digest| waiting_with(session, digest));
                let confirms = told.or_else(|| self.in_launch(session));
                let known = turn.is_some() && *turn == session.turn && session.turn_ended.is_none();
                if !known || confirms.is_some() {
                    self.about(id, TurnStarted { launch, turn: turn.clone(), confirms });
                }
            }
            Told::TextSeen { digest } => {
                if let Some(message) = waiting_with(session, digest) {
                    self.about(id, MessageConfirmed { message, evidence: "transcript".into() });
                }
            }
            Told::ToolStarted { tool, command } => {
                let same = |t: &RunningTool| t.tool == *tool && t.command == *command;
                let news = started.is_some_and(|at| at > session.heard.tool);
                if news || !session.tool.as_ref().is_some_and(same) {
                    self.about(
                        id,
                        ToolStarted { launch, tool: tool.clone(), command: command.clone() },
                    );
                }
            }
            Told::ToolEnded { request } => {
                // The end of an earlier one with the same key may come late.
                let open = request.as_deref().and_then(|key| open_with(session, key));
                let open = open.filter(|r| started.is_none() || r.hook <= started);
                if let Some(known) = open {
                    let how = if known.decided.is_some() { "confirmed" } else { "in-terminal" };
                    self.about(id, RequestEnded { request: known.id, how: how.into() });
                }
                // The hook that tells of the request itself may be late.
                let untold = request.clone().filter(|_| open.is_none() && started.is_some());
                if session.tool.is_some() || untold.is_some() {
                    self.about(id, ToolEnded { launch, request: untold });
                } else {
                    self.alive(session);
                }
            }
            Told::Asked { key, turn, tool, ask, full, answerable } => {
                // Told twice is asked once; an equal one after the first has ended is another.
                let known = open_with(session, key);
                if let Some(known) = known.filter(|r| session.signals || r.handed().is_none()) {
                    answered.request = Some(known.id);
                } else {
                    let request = self.next_request();
                    answered.request = Some(request);
                    self.about(
                        id,
                        RequestOpened {
                            request,
                            launch,
                            key: key.clone(),
                            turn: turn.clone(),
                            tool: tool.clone(),
                            ask: ask.clone(),
                            full: full.clone(),
                            answerable: *answerable,
                        },
                    );
                }
            }
            Told::RequestEnded { key } => {
                if let Some(known) = open_with(session, key) {
                    self.about(id, RequestEnded { request: known.id, how: "in-terminal".into() });
                }
            }
            Told::TurnEnded { turn, last_words, background } => {
                // A late one of an earlier turn says nothing about the present one. Hooks that say when they were
                // started have been put in order by that.
                let late = started.is_none()
                    && turn.is_some()
                    && session.turn.is_some()
                    && *turn != session.turn;
                let idle = session.activity.value == Activity::Idle;
                let same =
                    *turn == session.turn || started.is_none_or(|at| at <= session.heard.turn);
                let known = session.turn_ended.is_some() && !background && idle && same;
                // A hook that tells it again is still to be answered with what prolongs the turn.
                let prolonged = self.handed_to(session, started).is_some();
                if !late && !known && !prolonged {
                    if let Some(message) = self.in_launch(session) {
                        self.about(id, MessageConfirmed { message, evidence: "turn".into() });
                    }
                    let turn = turn.clone();
                    self.about(
                        id,
                        TurnEnded {
                            launch,
                            turn,
                            last_words: last_words.clone(),
                            background: *background,
                        },
                    );
                }
            }
            Told::TakesMessage { turn } => {
                answered.message = self.hand_over_message(session, turn.as_deref(), started);
            }
            Told::RateLimited { until } => {
                self.activity(session, Activity::RateLimited { until: *until }, source, None);
            }
            Told::Failed { kind, text } => {
                let failed = Activity::Errored { kind: *kind };
                self.activity(session, failed, source, Some(text.clone()));
            }
            Told::Setup { text } => {
                self.activity(session, Activity::Blocked, source, Some(text.clone()));
            }
            Told::Exited => self.activity(session, Activity::Exited, source, None),
            Told::NoSignal => {
                // Who waits for a human is silent.
                if session.open_requests().next().is_none() {
                    self.activity(session, Activity::NoSignal, source, None);
                }
            }
            Told::Alive => self.alive(session),
            Told::Suspected { text } => {
                if session.suspected.is_none() && session.open_requests().next().is_none() {
                    self.about(id, QuestionSuspected { launch, text: text.clone() });
                }
            }
            Told::Completed { text } => {
                self.about(id, CompletionClaimed { launch, text: text.clone() });
            }
            Told::Observed { activity: seen } => self.observed(session, source, seen),
            Told::Usage { usage, offset } => {
                if *offset > session.transcript_offset {
                    self.about(id, UsageObserved { usage: usage.clone(), offset: *offset });
                }
            }
        }
    }

    fn activity(
        &mut self,
        session: &Session,
        value: Activity,
        source: Source,
        text: Option<crate::event::Text>,
    ) {
        if session.activity.value != value {
            let launch = session.launch;
            self.about(&session.id, ActivityObserved { launch, activity: value, source, text });
        }
    }

    /// What a status file or the screen says counts only where no hook knows better: an open request is ended
    /// by its own signal, never by a file; an error or an empty quota by the next turn, never by an empty
    /// prompt.
    fn observed(&mut self, session: &Session, source: Source, seen: &Activity) {
        let refused = matches!(
            session.activity.value,
            Activity::Errored { .. } | Activity::RateLimited { .. }
        );
        if session.activity.value == *seen || refused && *seen == Activity::Idle {
            return;
        }
        let asks = session.open_requests().next().is_some();
        let waits = matches!(seen, Activity::WaitingInput | Activity::Blocked);
        if asks {
            if waits || source == Source::Screen {
                return;
            }
            // Busy or idle again: the dialog is gone, so somebody answered it in the terminal.
            let open: Vec<_> =
                session.open_requests().map(|r| (r.id, r.decided.is_some())).collect();
            for (request, decided) in open {
                let how = if decided { "confirmed" } else { "in-terminal" };
                self.about(&session.id, RequestEnded { request, how: how.into() });
            }
        }
        if source == Source::Screen && !matches!(seen, Activity::Idle) {
            return;
        }
        self.activity(session, seen.clone(), source, None);
    }

    fn alive(&mut self, session: &Session) {
        let quiet = matches!(session.activity.value, Activity::NoSignal);
        if quiet || self.now.awake.saturating_sub(session.progress.awake) >= PROGRESS_EVERY_MS {
            self.about(&session.id, ProgressObserved { launch: session.launch, output: None });
        }
    }
}

/// Whether a newer hook than the one started at `at` has told of the same thing. A request is overtaken by its
/// own end alone: what else happens beside it says nothing about its dialog.
fn overtaken(session: &Session, at: u64, told: &Told) -> bool {
    let heard = &session.heard;
    match told {
        Told::Started { .. } => at < heard.started,
        Told::TurnStarted { .. } | Told::Suspected { .. } => at < heard.turn,
        Told::TurnEnded { .. }
        | Told::RateLimited { .. }
        | Told::Failed { .. }
        | Told::Setup { .. }
        | Told::Exited
        | Told::Observed { .. } => at < heard.activity,
        Told::ToolStarted { .. } => at < heard.tool.max(heard.turn),
        Told::Asked { key, .. } => heard.has_ended(key, at),
        Told::TextSeen { .. }
        | Told::ToolEnded { .. }
        | Told::RequestEnded { .. }
        | Told::TakesMessage { .. }
        | Told::Alive
        | Told::NoSignal
        | Told::Completed { .. }
        | Told::Usage { .. } => false,
    }
}

fn waiting_with(session: &Session, digest: &str) -> Option<MessageId> {
    let waits = |m: &&QueuedMessage| matches!(m.fate, Fate::Waiting | Fate::Undelivered { .. });
    session.messages.values().filter(waits).find(|m| m.digest == digest).map(|m| m.id)
}

fn open_with<'s>(session: &'s Session, key: &str) -> Option<&'s crate::state::Request> {
    session.open_requests().find(|request| request.key == key)
}
