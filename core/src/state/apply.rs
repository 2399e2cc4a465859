//! The fold: how each kind of event changes the state. Never decides, never looks at a clock.

mod access;
mod incident;
mod session;

use std::sync::Arc;

use ao_slots::{
    SessionId,
    fact::{Activity, RuntimeState, Source},
};
use jiff::{SignedDuration, Timestamp};

use super::{
    Act, Fact, Focus, Intent, Lane, Moment, Progress, Round, Session, State, Status, Step, Want,
};
use crate::config::trigger::Trigger;
use crate::event::{
    Effect, EffectFailed, EffectIntended, Event, Kind, Outcome, SessionRequested, Subject,
};

/// Acts that are remembered: a client repeats its own within seconds.
const KEEP_ACTS: usize = 512;

impl State {
    /// Applies the next event.
    pub fn apply(&mut self, event: &Event) {
        for focus in self.fold_next(event) {
            self.refresh_due(&focus);
        }
    }

    /// Applies the next of the events that `ahead` has applied to its end, and takes over the deadlines derived there.
    pub(crate) fn follow(&mut self, event: &Event, ahead: &Self) {
        for focus in self.fold_next(event) {
            self.dues.take_over(&focus, &ahead.dues);
        }
    }

    /// Applies the next of many stored events, leaving the indices of deadlines for [`State::reindex`] at the end.
    pub fn replay(&mut self, event: &Event) {
        self.fold_next(event);
    }

    fn fold_next(&mut self, event: &Event) -> Vec<Focus> {
        let when = Moment { at: event.at, awake: event.awake, seq: event.seq };
        let set_back = match &event.kind {
            Kind::ServerStarted(_) => self.last_at.duration_since(event.at),
            Kind::ClockJumped(e) => SignedDuration::from_millis(e.ahead_ms.saturating_neg()),
            _ => SignedDuration::ZERO,
        };
        if set_back.is_positive() {
            self.set_back(set_back, event.at);
        }
        self.last_seq = event.seq;
        self.last_at = event.at;
        self.awake = self.awake.max(event.awake);
        self.remember(event);
        let marks = self.marks(event.session.as_ref());
        let accounted = self.account(event, when);
        let mut foci = self.fold(event, when);
        foci.extend(accounted.then_some(Focus::Server));
        if let Some(id) = &event.session {
            if let Some(session) = self.sessions.get_mut(id) {
                session.settle_attempts();
            }
            // Whether a human is wanted may hang on what became of the session.
            let subject = Subject::Session(id.clone());
            let about = self.incidents_of(&subject);
            foci.extend(about.map(|incident| Focus::Incident(incident.id)));
            self.mark(id, &marks);
        }
        foci
    }

    fn remember(&mut self, event: &Event) {
        let Some(key) = event.act.clone() else { return };
        let (message, request) = match &event.kind {
            Kind::MessageRequested(e) => (Some(e.message), None),
            Kind::RequestDecided(e) => (None, Some(e.request)),
            _ => (None, None),
        };
        let silence = match &event.kind {
            Kind::SilenceAdded(e) => Some(e.silence),
            _ => None,
        };
        let session = event.session.clone();
        self.acts.push(Act { key, seq: event.seq, session, message, request, silence });
        trim_front(&mut self.acts, KEEP_ACTS);
    }

    /// What an event touches, so that rules look at it again.
    fn fold(&mut self, event: &Event, when: Moment) -> Vec<Focus> {
        match &event.kind {
            Kind::ServerStarted(e) => {
                self.instance = Some(e.instance.clone());
                self.server.clean = e.clean;
                self.server.rebooted = self.boot != e.boot && !self.boot.is_empty();
                self.boot.clone_from(&e.boot);
                self.zone = e.zone.clone().or_else(|| self.zone.take());
                self.offset_ms = e.offset_ms;
                self.unswept_since = Some(when);
                self.stopped_clean = false;
                self.server.started = Some(when);
                self.server.away_ms = e.away_ms;
                self.lose_connection(|_| true);
                for (seq, intent) in &mut self.intents {
                    if intent.doubt.is_none() {
                        intent.doubt = Some(format!("the server ended while {seq} was under way"));
                        intent.interrupted = true;
                    }
                }
                self.all_foci()
            }
            Kind::ServerStopped(e) => {
                self.stopped_clean = true;
                self.server.stopped.clone_from(&e.reason);
                vec![]
            }
            Kind::ClockJumped(_) => {
                self.unswept_since = Some(when);
                self.all_foci()
            }
            Kind::SweepCompleted(_) => {
                self.looked = self.unswept_since.take().map(|since| (since, when)).or(self.looked);
                self.all_foci()
            }
            Kind::ConfigApplied(e) => {
                let before = std::mem::replace(&mut self.policy, Arc::new((*e.policy).clone()));
                if self.policy_hash != e.hash {
                    self.policy_since = Some(when);
                }
                self.policy_hash.clone_from(&e.hash);
                for (name, capabilities) in &e.channels {
                    self.channels.entry(name.clone()).or_default().capabilities =
                        Some(capabilities.clone());
                }
                // A channel of other settings is another connection.
                let after = self.policy.clone();
                self.lose_connection(|name| before.channels.get(name) != after.channels.get(name));
                if (&before.push, &before.people) != (&after.push, &after.people) {
                    // Who wants quiet when is asked anew.
                    self.forget_holds(|_| true);
                }
                self.all_foci()
            }
            Kind::ConfigRefused(e) => {
                self.server.refused.insert(e.file.clone(), (e.reason.clone(), when));
                match e.untrusted {
                    true => self.server.untrusted.insert(e.file.clone()),
                    false => self.server.untrusted.remove(&e.file),
                };
                vec![Focus::Server]
            }
            Kind::ConfigAccepted(e) => {
                self.server.refused.remove(&e.file);
                self.server.untrusted.remove(&e.file);
                vec![Focus::Server]
            }
            Kind::DiskObserved(e) => {
                self.server.disk_free = Some(e.free);
                self.server.disk_failing = e.failing;
                self.server.disk_low = match (e.low || e.failing, self.server.disk_low) {
                    (true, None) => Some(when),
                    (true, since) => since,
                    (false, _) => None,
                };
                vec![Focus::Server]
            }
            Kind::FileTampered(e) => {
                self.server.tampered = Some((e.path.clone(), e.kept.clone(), when));
                vec![Focus::Server]
            }
            Kind::JournalGap(e) => {
                self.server.gaps.push((e.from, e.to));
                trim_front(&mut self.server.gaps, 8);
                self.server.gaps_new = self.server.gaps_new.saturating_add(1);
                for intent in self.intents.values_mut() {
                    intent
                        .doubt
                        .get_or_insert_with(|| "a stretch of the journal cannot be read".into());
                }
                self.unswept_since = Some(when);
                self.all_foci()
            }
            Kind::InputQuarantined(e) => {
                self.server.quarantined.push(e.file.clone());
                trim_front(&mut self.server.quarantined, 8);
                self.server.quarantined_new = self.server.quarantined_new.saturating_add(1);
                vec![Focus::Server]
            }
            Kind::ScmObserved(e) => {
                let Some(project) = event.project.clone() else { return vec![] };
                match &e.failure {
                    Some(failure) => {
                        let known = self.scm_away.entry(project.clone());
                        known.or_insert_with(|| (failure.clone(), when)).0 = failure.clone();
                    }
                    None => {
                        self.scm_away.remove(&project);
                    }
                }
                // What waits for its answer goes on with it.
                let sessions = self.sessions.values().filter(|s| s.project == project);
                let mut foci: Vec<_> = sessions.map(|s| Focus::Session(s.id.clone())).collect();
                foci.push(Focus::Project(project));
                foci
            }
            Kind::RecordWritten(e) => {
                let Some(project) = event.project.clone() else { return vec![] };
                let records = self.records.entry(project).or_default();
                let records = records.entry(e.plugin.clone()).or_default();
                for (key, value) in &e.values {
                    match value {
                        Some(value) => records.insert(key.clone(), value.clone()),
                        None => records.remove(key),
                    };
                }
                vec![]
            }
            Kind::SessionRequested(e) => self.fold_requested(event, e, when),
            Kind::EffectIntended(e) => self.fold_intended(event, e, when),
            Kind::EffectSucceeded(e) => {
                let Some(intent) = self.end_intent(e.intent) else { return vec![] };
                self.fold_outcome(&intent, &e.outcome, when)
            }
            Kind::EffectFailed(e) => {
                let Some(intent) = self.end_intent(e.intent) else { return vec![] };
                self.fold_failure(&intent, e, when)
            }
            Kind::EffectDoubted(e) => {
                let Some(intent) = self.intents.get_mut(&e.intent) else { return vec![] };
                intent.doubt = Some(e.reason.clone());
                vec![focus_of(&intent.lane)]
            }
            Kind::IncidentOpened(_)
            | Kind::IncidentChanged(_)
            | Kind::IncidentCleared(_)
            | Kind::IncidentReopened(_)
            | Kind::IncidentResolved(_)
            | Kind::IncidentAcknowledged(_)
            | Kind::IncidentSnoozed(_)
            | Kind::NotificationOpened(_)
            | Kind::NotificationChanged(_)
            | Kind::ButtonsOffered(_)
            | Kind::TokenSpent(_)
            | Kind::NotificationJoined(_)
            | Kind::PressRefused(_)
            | Kind::ChannelTried(_)
            | Kind::DeliveryAdded(_)
            | Kind::SilenceAdded(_)
            | Kind::DigestRequested(_)
            | Kind::DigestCompleted(_)
            | Kind::DeliveryHeld(_)
            | Kind::NotificationEscalated(_)
            | Kind::PresenceObserved(_)
            | Kind::SilenceEnded(_)
            | Kind::NotificationHeld(_)
            | Kind::DeliveryDropped(_) => self.fold_incident(event, when),
            Kind::AccessGranted(_) | Kind::AccessRevoked(_) => {
                self.fold_access(event, when);
                vec![]
            }
            Kind::RoundCompleted(_) => {
                if let Some(project) = &event.project {
                    self.rounds.remove(project);
                }
                vec![]
            }
            Kind::Unknown(_) => vec![],
            Kind::RuntimeObserved(_)
            | Kind::ActivityObserved(_)
            | Kind::AgentStarted(_)
            | Kind::TurnStarted(_)
            | Kind::TurnEnded(_)
            | Kind::ToolStarted(_)
            | Kind::ToolEnded(_)
            | Kind::ProgressObserved(_)
            | Kind::QuestionSuspected(_)
            | Kind::CompletionClaimed(_)
            | Kind::WorkObserved(_)
            | Kind::PrObserved(_)
            | Kind::PrLinked(_)
            | Kind::BriefPrepared(_)
            | Kind::BriefReleased(_)
            | Kind::RetryRequested(_)
            | Kind::PrActRequested(_)
            | Kind::MergeRequested(_)
            | Kind::MergeDecided(_)
            | Kind::AttemptFailed(_)
            | Kind::UsageObserved(_)
            | Kind::IssueObserved(_)
            | Kind::RequestOpened(_)
            | Kind::RequestEnded(_)
            | Kind::RequestDecided(_)
            | Kind::MessageRequested(_)
            | Kind::MessageQueued(_)
            | Kind::MessageConfirmed(_)
            | Kind::MessageWithdrawn(_)
            | Kind::KillRequested(_)
            | Kind::DoneMarked(_)
            | Kind::RestoreRequested(_)
            | Kind::RestoreDecided(_)
            | Kind::KillDecided(_)
            | Kind::RestoreSettled(_)
            | Kind::CleanupRequested(_)
            | Kind::StatusChanged(_)
            | Kind::SessionEnded(_)
            | Kind::SpawnFailed(_)
            | Kind::SessionReady(_) => {
                let Some(id) = &event.session else { return vec![] };
                match &event.kind {
                    Kind::RequestOpened(e) => {
                        self.given.request = self.given.request.max(e.request.0)
                    }
                    Kind::MessageRequested(e) => {
                        self.given.message = self.given.message.max(e.message.0)
                    }
                    Kind::MessageQueued(e) => {
                        self.given.message = self.given.message.max(e.message.0)
                    }
                    _ => {}
                }
                let Some(session) = self.sessions.get_mut(id) else { return vec![] };
                session.fold(event, when);
                if let Kind::PrLinked(e) = &event.kind {
                    self.inherit_taint(id, |other| other.follow.is_of(&e.pr));
                }
                let mut foci = vec![Focus::Session(id.clone())];
                match &event.kind {
                    Kind::RequestDecided(e) => {
                        foci.extend(self.touch_request(id, e.request, when));
                    }
                    Kind::RestoreRequested(_) | Kind::RestoreSettled(_) => {
                        foci.extend(self.touch_incidents(id, when, |_| true));
                    }
                    // Nobody sees what was prepared, unless it waits for him.
                    Kind::BriefPrepared(e) if e.held.is_empty() => {}
                    Kind::PrObserved(_)
                    | Kind::PrLinked(_)
                    | Kind::BriefPrepared(_)
                    | Kind::BriefReleased(_)
                    | Kind::AttemptFailed(_)
                    | Kind::MergeRequested(_)
                    | Kind::MergeDecided(_) => {
                        foci.extend(self.touch_incidents(id, when, Trigger::is_of_a_pr));
                    }
                    Kind::PrActRequested(_) => {
                        foci.extend(self.touch_incidents(id, when, |_| true));
                    }
                    Kind::RetryRequested(e) => {
                        let again = Some((e.by.clone(), when));
                        foci.extend(self.change_incident(e.incident, |incident| {
                            incident.again = again;
                            incident.changed = Some(when);
                        }));
                    }
                    // Tries that failed before count no more.
                    Kind::MessageRequested(_) => {
                        let checks = |trigger| trigger == Trigger::CiFailed;
                        foci.extend(self.touch_incidents(id, when, checks));
                    }
                    _ => {}
                }
                if let Some(session) = self.sessions.get(id) {
                    foci.push(Focus::Runtime(session.runtime.clone()));
                }
                foci
            }
        }
    }

    /// Words of others that another session was given may be in what this one goes on with.
    fn inherit_taint(&mut self, id: &SessionId, same: impl Fn(&Session) -> bool) {
        let others = self.sessions.values().filter(|other| other.id != *id && same(other));
        let tainted = others.filter_map(|other| other.follow.tainted).next_back();
        if let (Some(tainted), Some(session)) = (tainted, self.sessions.get_mut(id)) {
            session.follow.tainted.get_or_insert(tainted);
        }
    }

    /// Forgets sessions that were over before anything that the journal still keeps, and left nothing behind.
    fn forget_sessions(&mut self, now: Timestamp) {
        let age = i64::try_from(self.policy.retention.age_ms).unwrap_or(i64::MAX);
        let Ok(then) = now.checked_sub(SignedDuration::from_millis(age)) else { return };
        let forgotten = self.over_before(then).filter(|session| {
            let empty = session.workspace.is_none() || session.workspace_gone;
            empty && session.cleanup.is_none() && session.busy.is_none()
        });
        for id in forgotten.map(|session| session.id.clone()).collect::<Vec<_>>() {
            let marks = self.marks(Some(&id));
            self.sessions.remove(&id);
            self.mark(&id, &marks);
            for round in self.rounds.values_mut() {
                round.sessions.remove(&id);
            }
        }
    }

    fn fold_requested(&mut self, event: &Event, e: &SessionRequested, when: Moment) -> Vec<Focus> {
        let (Some(id), Some(project)) = (&event.session, &event.project) else { return vec![] };
        self.forget_sessions(when.at);
        let number = self.given.sessions.entry(id.prefix().to_owned()).or_default();
        *number = (*number).max(id.number());
        let policy = self.policy.projects.get(project);
        let agent =
            e.agent.clone().or_else(|| policy.map(|p| p.agent.plugin.clone())).unwrap_or_default();
        let runtime = policy.map(|p| p.runtime.plugin.clone()).unwrap_or_default();
        let unknown = |value| Fact { value, source: Source::Server, since: when };
        let session = Session {
            id: id.clone(),
            project: project.clone(),
            issue: e.issue.clone(),
            title: e.title.clone(),
            prompt: e.prompt.clone(),
            prompt_digest: e.digest.clone(),
            agent,
            runtime,
            created: when,
            by: e.by.clone(),
            env_names: e.env_names.clone(),
            intent: Want::Run,
            step: if e.issue.is_some() { Step::Fetching } else { Step::MakingWorkspace },
            step_since: when,
            launch: Default::default(),
            launched: None,
            handle: None,
            workspace: None,
            workspace_gone: false,
            workspace_kept: None,
            branch: e.branch.clone(),
            branch_wish: None,
            post_created: false,
            native_id: None,
            transcript: None,
            transcript_offset: 0,
            signals: false,
            signalled: false,
            heard: Default::default(),
            agent_version: None,
            runtime_state: unknown(RuntimeState::Starting),
            activity: Fact { value: Activity::Starting, source: Source::Server, since: when },
            activity_text: None,
            tail: None,
            server_lost: false,
            pr: None,
            heads: vec![],
            follow: Default::default(),
            work: None,
            work_looked: None,
            usage: Default::default(),
            resumable: false,
            restored: None,
            restored_by: None,
            progress: when,
            tool: None,
            ended_tool: None,
            program: None,
            turn: None,
            turn_ended: None,
            last_words: None,
            busy_since: None,
            suspected: None,
            claimed: None,
            issue_closed: false,
            closes_issue: false,
            issue_unclosed: None,
            requests: Default::default(),
            messages: Default::default(),
            restore: None,
            restores: vec![],
            failure: None,
            over: None,
            cleanup: None,
            forced: false,
            status: Status::Spawning,
            status_since: when,
            asked: 0,
            busy: None,
        };
        self.sessions.insert(id.clone(), session);
        if let Some(branch) = &e.branch {
            let mine = |other: &Session| {
                other.project == *project && other.works_on() == Some(branch.as_str())
            };
            self.inherit_taint(id, mine);
        }
        let round = self
            .rounds
            .entry(project.clone())
            .or_insert_with(|| Round { since: Some(when), ..Round::default() });
        round.sessions.insert(id.clone());
        vec![Focus::Session(id.clone())]
    }

    fn fold_intended(&mut self, event: &Event, e: &EffectIntended, when: Moment) -> Vec<Focus> {
        let lane = match &e.effect {
            Effect::SendNotification { channel, .. }
            | Effect::UpdateNotification { channel, .. }
            | Effect::ResolveNotification { channel, .. } => Lane::Channel(channel.clone()),
            _ => match &event.session {
                Some(id) => Lane::Session(id.clone()),
                None => return vec![],
            },
        };
        match &lane {
            Lane::Channel(name) => {
                let channel = self.channels.entry(name.clone()).or_default();
                (channel.intent, channel.requested) = (Some(event.seq), Some(when.at));
            }
            Lane::Session(id) => {
                let Some(session) = self.sessions.get_mut(id) else { return vec![] };
                // A kill pre-empts: what it interrupts is settled by what the kill finds.
                if let Some(before) = session.busy.replace(event.seq) {
                    self.intents.remove(&before);
                }
                session.fold_intended(&e.effect, when);
            }
        }
        let focus = focus_of(&lane);
        let (effect, doubt) = (e.effect.clone(), None);
        let intent = Intent { effect, lane, since: when, doubt, interrupted: false };
        self.intents.insert(event.seq, intent);
        vec![focus]
    }

    fn end_intent(&mut self, seq: ao_slots::Seq) -> Option<Intent> {
        let intent = self.intents.remove(&seq)?;
        match &intent.lane {
            Lane::Channel(name) => {
                if let Some(channel) =
                    self.channels.get_mut(name).filter(|channel| channel.intent == Some(seq))
                {
                    channel.intent = None;
                }
            }
            Lane::Session(id) => {
                if let Some(session) =
                    self.sessions.get_mut(id).filter(|session| session.busy == Some(seq))
                {
                    session.busy = None;
                }
            }
        }
        Some(intent)
    }

    fn fold_outcome(&mut self, intent: &Intent, outcome: &Outcome, when: Moment) -> Vec<Focus> {
        match &intent.lane {
            Lane::Session(id) => {
                let Some(session) = self.sessions.get_mut(id) else { return vec![] };
                let asked = session.follow.asked.is_some();
                session.fold_outcome(&intent.effect, outcome, when);
                let ended = asked && session.follow.asked.is_none();
                let mut foci =
                    vec![Focus::Session(id.clone()), Focus::Runtime(session.runtime.clone())];
                if ended {
                    foci.extend(self.touch_incidents(id, when, |_| true));
                }
                if let Effect::DecideRequest { request } = &intent.effect {
                    // No change for a human: it is being done until the agent has confirmed it.
                    foci.extend(self.asked_by(id, *request).map(Focus::Incident));
                }
                foci
            }
            Lane::Channel(name) => {
                let channel = self.channels.entry(name.clone()).or_default();
                channel.tried(None, when);
                channel.not_before = None;
                let (id, revision) = match &intent.effect {
                    Effect::SendNotification { notification, revision, .. }
                    | Effect::UpdateNotification { notification, revision, .. }
                    | Effect::ResolveNotification { notification, revision, .. } => {
                        (*notification, *revision)
                    }
                    _ => return vec![],
                };
                if let Some(delivery) =
                    self.notifications.get_mut(&id).and_then(|n| n.deliveries.get_mut(name))
                {
                    delivery.shown = revision;
                    delivery.tries = 0;
                    delivery.not_before = None;
                    (delivery.error, delivery.failed) = (None, None);
                    delivery.held = None;
                    if let Outcome::Sent { handle, reached } = outcome {
                        if handle.is_some() {
                            delivery.handle.clone_from(handle);
                        }
                        delivery.reached = Some(*reached);
                        delivery.sent.get_or_insert(when);
                        delivery.progress = Progress::Sent;
                    }
                    if delivery.superseded.is_some() {
                        // Closed: nothing more is said there.
                        delivery.handle = None;
                    }
                }
                self.update_waiting(id);
                // Reminders count from when it went out.
                let mut foci = self.channels_of(id);
                foci.extend(self.told_by(id));
                foci.extend(self.same_account(name).map(|(name, _)| Focus::Channel(name.clone())));
                foci
            }
        }
    }

    fn fold_failure(&mut self, intent: &Intent, e: &EffectFailed, when: Moment) -> Vec<Focus> {
        let failure = &e.failure;
        match &intent.lane {
            Lane::Session(id) => {
                let Some(session) = self.sessions.get_mut(id) else { return vec![] };
                session.fold_failure(&intent.effect, failure, when);
                let asked = session.follow.asked.as_ref();
                let failed = asked.is_some_and(|asked| asked.act.effect() == intent.effect)
                    || matches!(intent.effect, Effect::MergePr { .. } | Effect::OpenPr { .. });
                let mut foci =
                    vec![Focus::Session(id.clone()), Focus::Runtime(session.runtime.clone())];
                if failed {
                    foci.extend(self.touch_incidents(id, when, |_| true));
                }
                if let Effect::DecideRequest { request } = &intent.effect {
                    foci.extend(self.touch_request(id, *request, when));
                }
                foci
            }
            Lane::Channel(name) => {
                let Some(id) = intent.effect.notification() else { return vec![] };
                let again = failure.kind == ao_slots::ErrorKind::InDoubt
                    && matches!(intent.effect, Effect::SendNotification { .. });
                let delivery =
                    self.notifications.get_mut(&id).and_then(|n| n.deliveries.get_mut(name));
                if let Some(delivery) = delivery {
                    delivery.tries = delivery.tries.saturating_add(1);
                    (delivery.error, delivery.failed) = (Some(failure.clone()), Some(when));
                    delivery.not_before = e.not_before;
                    if again {
                        delivery.progress = Progress::Again;
                        let slow = u32::from(!intent.interrupted);
                        delivery.doubts = delivery.doubts.saturating_add(slow);
                    }
                }
                let channel = self.channels.entry(name.clone()).or_default();
                // What the server's own end interrupted says nothing of the channel.
                if !(intent.interrupted && failure.kind == ao_slots::ErrorKind::InDoubt) {
                    channel.tried(Some(failure), when);
                }
                channel.not_before = e.channel_not_before.or(channel.not_before);
                self.same_account(name).map(|(name, _)| Focus::Channel(name.clone())).collect()
            }
        }
    }
}

fn focus_of(lane: &Lane) -> Focus {
    match lane {
        Lane::Session(id) => Focus::Session(id.clone()),
        Lane::Channel(name) => Focus::Channel(name.clone()),
    }
}

fn focus_of_subject(subject: &Subject) -> Option<Focus> {
    match subject {
        Subject::Session(id) => Some(Focus::Session(id.clone())),
        Subject::Runtime(name) => Some(Focus::Runtime(name.clone())),
        Subject::Channel(name) => Some(Focus::Channel(name.clone())),
        Subject::Server => Some(Focus::Server),
        Subject::Project(id) => Some(Focus::Project(id.clone())),
    }
}

pub(super) fn trim_front<T>(list: &mut Vec<T>, most: usize) {
    let excess = list.len().saturating_sub(most);
    list.drain(..excess);
}
