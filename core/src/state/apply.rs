//! The fold: how each kind of event changes the state. Never decides, never looks at a clock.

use std::sync::Arc;

use ao_slots::{
    RequestId, SessionId,
    fact::{Activity, RuntimeState, Source},
};

use super::{
    ChannelState, Decided, Delivery, Fact, Fate, Focus, Incident, IncidentKey, Intent, Lane,
    Moment, Notification, Progress, QueuedMessage, Request, Restore, Round, RunningTool, Session,
    State, Status, Step, Want,
};
use crate::config::trigger::Trigger;
use crate::decide::schedule::retry_wait;
use crate::event::{
    Effect, EffectIntended, Event, Failure, Kind, Outcome, Over, SessionRequested, Subject,
};

/// Ended requests and messages that a session keeps, for `ao why` and clean refusals.
const KEEP_ENDED: usize = 8;
/// Resolved incidents and settled notifications that the state keeps, for late clicks and for the log.
const KEEP_RESOLVED: usize = 2_000;

impl State {
    /// Applies the next event.
    pub fn apply(&mut self, event: &Event) {
        for focus in self.fold_next(event) {
            self.refresh_due(&focus);
        }
    }

    /// Applies the next of many stored events, leaving the indices of deadlines for [`State::reindex`] at the end.
    pub fn replay(&mut self, event: &Event) {
        self.fold_next(event);
    }

    fn fold_next(&mut self, event: &Event) -> Vec<Focus> {
        let when = Moment { at: event.at, awake: event.awake, seq: event.seq };
        self.last_seq = event.seq;
        self.last_at = event.at;
        self.awake = self.awake.max(event.awake);
        self.fold(event, when)
    }

    /// What an event touches, so that rules look at it again.
    fn fold(&mut self, event: &Event, when: Moment) -> Vec<Focus> {
        match &event.kind {
            Kind::ServerStarted(e) => {
                self.instance = Some(e.instance.clone());
                self.boot.clone_from(&e.boot);
                self.offset_ms = e.offset_ms;
                self.unswept_since = Some(when);
                self.stopped_clean = false;
                self.server.started = Some(when);
                self.server.away_ms = e.away_ms;
                for (seq, intent) in &mut self.intents {
                    let reason = || format!("the server ended while {seq} was under way");
                    intent.doubt.get_or_insert_with(reason);
                }
                self.all_foci()
            }
            Kind::ServerStopped(_) => {
                self.stopped_clean = true;
                vec![]
            }
            Kind::ClockJumped(e) => {
                self.unswept_since = Some(when);
                if e.ahead_ms < 0 {
                    self.forget_wall_waits();
                }
                self.all_foci()
            }
            Kind::SweepCompleted(_) => {
                self.unswept_since = None;
                self.all_foci()
            }
            Kind::ConfigApplied(e) => {
                self.policy = Arc::new((*e.policy).clone());
                self.policy_hash.clone_from(&e.hash);
                for (name, capabilities) in &e.channels {
                    self.channels.entry(name.clone()).or_default().capabilities =
                        Some(capabilities.clone());
                }
                self.all_foci()
            }
            Kind::ConfigRefused(e) => {
                self.server.refused.insert(e.file.clone(), (e.reason.clone(), when));
                vec![Focus::Server]
            }
            Kind::ConfigAccepted(e) => {
                self.server.refused.remove(&e.file);
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
            Kind::SessionRequested(e) => self.fold_requested(event, e, when),
            Kind::EffectIntended(e) => self.fold_intended(event, e, when),
            Kind::EffectSucceeded(e) => {
                let Some(intent) = self.end_intent(e.intent) else { return vec![] };
                self.fold_outcome(&intent, &e.outcome, when)
            }
            Kind::EffectFailed(e) => {
                let Some(intent) = self.end_intent(e.intent) else { return vec![] };
                self.fold_failure(&intent, &e.failure, when)
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
            | Kind::DeliveryDropped(_) => self.fold_incident(event, when),
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
                let mut foci = vec![Focus::Session(id.clone())];
                match &event.kind {
                    Kind::RequestDecided(e) => {
                        foci.extend(self.touch_request(id, e.request, when));
                    }
                    Kind::RestoreRequested(_) | Kind::RestoreSettled(_) => {
                        foci.extend(self.touch_incidents(id, when));
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

    fn fold_requested(&mut self, event: &Event, e: &SessionRequested, when: Moment) -> Vec<Focus> {
        let (Some(id), Some(project)) = (&event.session, &event.project) else { return vec![] };
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
            branch_wish: e.branch.clone(),
            post_created: false,
            native_id: None,
            transcript: None,
            transcript_offset: 0,
            signals: false,
            signalled: false,
            agent_version: None,
            runtime_state: unknown(RuntimeState::Starting),
            activity: Fact { value: Activity::Starting, source: Source::Server, since: when },
            activity_text: None,
            tail: None,
            server_lost: false,
            pr: None,
            work: None,
            work_looked: None,
            usage: Default::default(),
            resumable: false,
            restored: None,
            restored_by: None,
            progress: when,
            tool: None,
            turn: None,
            turn_ended: None,
            last_words: None,
            busy_since: None,
            suspected: None,
            claimed: None,
            issue_closed: false,
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
                self.channels.entry(name.clone()).or_default().intent = Some(event.seq)
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
        self.intents
            .insert(event.seq, Intent { effect: e.effect.clone(), lane, since: when, doubt: None });
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
                session.fold_outcome(&intent.effect, outcome, when);
                let mut foci =
                    vec![Focus::Session(id.clone()), Focus::Runtime(session.runtime.clone())];
                if let Effect::DecideRequest { request } = &intent.effect {
                    foci.extend(self.touch_request(id, *request, when));
                }
                foci
            }
            Lane::Channel(name) => {
                let channel = self.channels.entry(name.clone()).or_default();
                channel.failures = 0;
                channel.error = None;
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
                    delivery.error = None;
                    if let Outcome::Sent { handle, reached } = outcome {
                        if handle.is_some() {
                            delivery.handle.clone_from(handle);
                        }
                        delivery.reached = Some(*reached);
                        delivery.sent.get_or_insert(when);
                        delivery.progress = Progress::Sent;
                    }
                }
                self.update_waiting(id);
                vec![Focus::Channel(name.clone())]
            }
        }
    }

    fn fold_failure(&mut self, intent: &Intent, failure: &Failure, when: Moment) -> Vec<Focus> {
        match &intent.lane {
            Lane::Session(id) => {
                let Some(session) = self.sessions.get_mut(id) else { return vec![] };
                session.fold_failure(&intent.effect, failure, when);
                let mut foci =
                    vec![Focus::Session(id.clone()), Focus::Runtime(session.runtime.clone())];
                if let Effect::DecideRequest { request } = &intent.effect {
                    foci.extend(self.touch_request(id, *request, when));
                }
                foci
            }
            Lane::Channel(name) => {
                let (id, again) = match &intent.effect {
                    Effect::SendNotification { notification, .. } => {
                        (*notification, failure.kind == ao_slots::ErrorKind::InDoubt)
                    }
                    Effect::UpdateNotification { notification, .. }
                    | Effect::ResolveNotification { notification, .. } => (*notification, false),
                    _ => return vec![],
                };
                let tries = match self
                    .notifications
                    .get_mut(&id)
                    .and_then(|n| n.deliveries.get_mut(name))
                {
                    Some(delivery) => {
                        delivery.tries = delivery.tries.saturating_add(1);
                        delivery.error = Some(failure.clone());
                        if again {
                            delivery.progress = Progress::Again;
                        }
                        delivery.tries
                    }
                    None => 1,
                };
                let later = |tries| {
                    let wait = retry_wait(tries, failure.retry_after_ms, id.0);
                    Some(when.at.saturating_add(wait).unwrap_or(when.at))
                };
                let channel = self.channels.entry(name.clone()).or_default();
                channel.failures = channel.failures.saturating_add(1);
                channel.error = Some(failure.clone());
                // A channel that is down rests as a whole, but never so long that an urgent message would
                // have to wait for minutes; a message that alone is refused does not hold up the others.
                if failure.kind == ao_slots::ErrorKind::Transient
                    || failure.retry_after_ms.is_some()
                {
                    channel.not_before = later(channel.failures.min(5));
                }
                if let Some(delivery) =
                    self.notifications.get_mut(&id).and_then(|n| n.deliveries.get_mut(name))
                {
                    delivery.not_before = later(tries);
                }
                vec![Focus::Channel(name.clone())]
            }
        }
    }

    fn fold_incident(&mut self, event: &Event, when: Moment) -> Vec<Focus> {
        match &event.kind {
            Kind::IncidentOpened(e) => {
                self.given.incident = self.given.incident.max(e.incident.0);
                let incident = Incident {
                    id: e.incident,
                    subject: e.subject.clone(),
                    project: event.project.clone(),
                    trigger: e.trigger,
                    detail: e.detail.clone(),
                    priority: e.priority,
                    request: e.request,
                    sessions: e.sessions.clone(),
                    opened: when,
                    stands: when,
                    cleared: None,
                    changed: None,
                    resolved: None,
                    acknowledged: None,
                    snoozed: None,
                    notification: None,
                    because: event.because.clone(),
                };
                self.open.insert(incident.key(), e.incident);
                self.incidents.insert(e.incident, incident);
                let mut foci = vec![Focus::Incident(e.incident)];
                foci.extend(focus_of_subject(&e.subject));
                foci
            }
            Kind::NotificationOpened(e) => {
                self.given.notification = self.given.notification.max(e.notification.0);
                let priority = e
                    .incident
                    .and_then(|id| self.incidents.get(&id))
                    .map_or(ao_slots::fact::Priority::Info, |incident| incident.priority);
                let notification = Notification {
                    id: e.notification,
                    incident: e.incident,
                    covers: e.covers.clone(),
                    title: e.title.clone(),
                    priority,
                    summary: e.summary.clone(),
                    project: event.project.clone(),
                    opened: when,
                    revision: 1,
                    revised: when,
                    settled: false,
                    deliveries: e
                        .channels
                        .iter()
                        .map(|name| (name.clone(), Delivery::default()))
                        .collect(),
                };
                for id in &e.covers {
                    if let Some(incident) = self.incidents.get_mut(id) {
                        incident.notification = Some(e.notification);
                        incident.snoozed = None;
                    }
                }
                for session in event.session.iter() {
                    if let Some(session) = self.sessions.get_mut(session) {
                        session.asked += 1;
                    }
                }
                self.notifications.insert(e.notification, notification);
                self.update_waiting(e.notification);
                self.prune();
                let mut foci: Vec<_> = e.channels.iter().cloned().map(Focus::Channel).collect();
                foci.extend(e.incident.map(Focus::Incident));
                foci
            }
            Kind::NotificationChanged(e) => {
                let Some(notification) = self.notifications.get_mut(&e.notification) else {
                    return vec![];
                };
                notification.revision = e.revision;
                notification.revised = when;
                notification.settled |= e.settled;
                let foci = notification.deliveries.keys().cloned().map(Focus::Channel).collect();
                self.update_waiting(e.notification);
                foci
            }
            Kind::DeliveryDropped(e) => {
                let Some(notification) = self.notifications.get_mut(&e.notification) else {
                    return vec![];
                };
                if let Some(delivery) = notification.deliveries.get_mut(&e.channel) {
                    // What was sent stays sent; it is not changed any more.
                    match delivery.progress {
                        Progress::Sent => delivery.handle = None,
                        _ => delivery.progress = Progress::Dropped,
                    }
                }
                self.update_waiting(e.notification);
                vec![Focus::Channel(e.channel.clone())]
            }
            Kind::IncidentChanged(e) => self.change_incident(e.incident, |incident| {
                incident.priority = e.priority;
                incident.sessions.clone_from(&e.sessions);
                incident.detail.clone_from(&e.detail);
                incident.changed = Some(when);
            }),
            Kind::IncidentCleared(e) => self.change_incident(e.incident, |incident| {
                incident.cleared = Some((e.how.clone(), when))
            }),
            Kind::IncidentReopened(e) => self.change_incident(e.incident, |incident| {
                incident.cleared = None;
                incident.stands = when;
                incident.changed = Some(when);
            }),
            Kind::IncidentResolved(e) => {
                let foci = self.change_incident(e.incident, |incident| {
                    incident.resolved = Some((e.how.clone(), when));
                });
                if let Some(incident) = self.incidents.get(&e.incident) {
                    self.open.remove(&incident.key());
                    if incident.subject == Subject::Server {
                        match incident.trigger {
                            Trigger::Tampered => self.server.tampered = None,
                            Trigger::ServerWasAway => {
                                self.server.away_ms = None;
                                self.server.gaps_new = 0;
                                self.server.quarantined_new = 0;
                            }
                            _ => {}
                        }
                    }
                }
                self.prune();
                foci
            }
            Kind::IncidentAcknowledged(e) => self.change_incident(e.incident, |incident| {
                incident.acknowledged = Some((e.by.clone(), when));
                incident.changed = Some(when);
            }),
            Kind::IncidentSnoozed(e) => {
                self.change_incident(e.incident, |incident| incident.snoozed = Some(e.until))
            }
            _ => vec![],
        }
    }

    fn change_incident(
        &mut self,
        id: ao_slots::IncidentId,
        change: impl FnOnce(&mut Incident),
    ) -> Vec<Focus> {
        let Some(incident) = self.incidents.get_mut(&id) else { return vec![] };
        change(incident);
        let mut foci = vec![Focus::Incident(id)];
        foci.extend(focus_of_subject(&incident.subject));
        let told = incident.notification.and_then(|id| self.notifications.get(&id));
        let channels = told.into_iter().flat_map(|told| told.deliveries.keys());
        foci.extend(channels.cloned().map(Focus::Channel));
        foci
    }

    /// What became of a request changes what a human sees of its incident.
    fn touch_request(
        &mut self,
        session: &SessionId,
        request: RequestId,
        when: Moment,
    ) -> Vec<Focus> {
        let key = IncidentKey {
            subject: Subject::Session(session.clone()),
            trigger: Trigger::AgentNeedsInput,
            request: Some(request),
        };
        let Some(id) = self.open.get(&key).copied() else { return vec![] };
        self.change_incident(id, |incident| incident.changed = Some(when))
    }

    /// A restore changes what a human sees of everything about the session.
    fn touch_incidents(&mut self, session: &SessionId, when: Moment) -> Vec<Focus> {
        let subject = Subject::Session(session.clone());
        let about = self.incidents_of(&subject);
        let ids: Vec<_> = about.map(|incident| incident.id).collect();
        let touched =
            ids.into_iter().map(|id| self.change_incident(id, |i| i.changed = Some(when)));
        touched.flatten().collect()
    }

    /// Keeps each channel's list of deliveries that have something to do.
    fn update_waiting(&mut self, id: ao_slots::NotificationId) {
        let Some(notification) = self.notifications.get(&id) else { return };
        for (name, delivery) in &notification.deliveries {
            let channel: &mut ChannelState = self.channels.entry(name.clone()).or_default();
            let waits = delivery.waits(notification.revision);
            if waits {
                channel.waiting.insert(id);
            } else {
                channel.waiting.remove(&id);
            }
        }
    }

    /// Forgets the oldest settled messages and resolved incidents beyond what late clicks may need.
    fn prune(&mut self) {
        while self.notifications.len() > KEEP_RESOLVED {
            let over = |n: &Notification| {
                n.settled
                    || n.incident
                        .and_then(|id| self.incidents.get(&id))
                        .is_none_or(|incident| incident.resolved.is_some())
            };
            let idle =
                |n: &Notification| over(n) && n.deliveries.values().all(|d| !d.waits(n.revision));
            let Some(id) = self.notifications.values().find(|n| idle(n)).map(|n| n.id) else {
                break;
            };
            self.notifications.remove(&id);
        }
        while self.incidents.len() > KEEP_RESOLVED {
            let old = self.incidents.values().find(|i| i.resolved.is_some()).map(|i| i.id);
            let Some(id) = old else { break };
            self.incidents.remove(&id);
        }
    }

    /// A wall clock that was set back makes every wait that was measured by it void: one from a clock that
    /// stood years ahead would silence a channel for years.
    fn forget_wall_waits(&mut self) {
        for channel in self.channels.values_mut() {
            channel.not_before = None;
        }
        for notification in self.notifications.values_mut() {
            for delivery in notification.deliveries.values_mut() {
                delivery.not_before = None;
            }
        }
    }
}

impl Delivery {
    /// There is something to send, or to change in what was sent.
    fn waits(&self, revision: u32) -> bool {
        match self.progress {
            Progress::Queued | Progress::Again => true,
            Progress::Sent => self.handle.is_some() && self.shown < revision,
            Progress::Dropped => false,
        }
    }
}

impl Default for Delivery {
    fn default() -> Self {
        Self {
            progress: Progress::Queued,
            shown: 0,
            handle: None,
            reached: None,
            tries: 0,
            not_before: None,
            sent: None,
            error: None,
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
        Subject::Project(_) => None,
    }
}

/// What an agent does that has asked this.
fn waits_for(ask: &ao_slots::agent::Ask) -> Activity {
    match ask {
        ao_slots::agent::Ask::Question { .. } => Activity::WaitingInput,
        ao_slots::agent::Ask::Permission { .. } => Activity::Blocked,
    }
}

fn trim_front<T>(list: &mut Vec<T>, most: usize) {
    let excess = list.len().saturating_sub(most);
    list.drain(..excess);
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

    fn moved(&mut self, when: Moment) {
        self.progress = when;
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

    fn fold(&mut self, event: &Event, when: Moment) {
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
                self.tool = None;
                // A claim speaks for the turn in which it was made.
                self.claimed = None;
                self.activity_text = None;
                self.set_activity(Activity::Active, Source::Hook, when);
                self.moved(when);
                if let Some(message) = e.confirms.and_then(|id| self.messages.get_mut(&id)) {
                    message.fate = Fate::Confirmed { evidence: "hook".into(), when };
                }
                self.trim_messages();
            }
            Kind::TurnEnded(e) => {
                self.signalled = true;
                self.end_requests("turn-ended", when, |_| true);
                self.tool = None;
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
                self.tool = None;
                self.moved(when);
            }
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
                if moved {
                    self.work = Some(Fact {
                        value: e.work.clone(),
                        source: Source::Workspace,
                        since: when,
                    });
                    self.moved(when);
                } else if let Some(work) = &mut self.work {
                    work.value = e.work.clone();
                }
            }
            Kind::PrObserved(e) => {
                self.pr = Some(Fact { value: e.pr.clone(), source: Source::Scm, since: when })
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
                        decided: None,
                        ended: None,
                    },
                );
                self.set_activity(waits, Source::Hook, when);
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
                self.add_message(e.message, &e.text, &e.digest, Some(e.by.clone()), false, when);
            }
            Kind::MessageQueued(e) => {
                self.add_message(e.message, &e.text, &e.digest, None, e.first, when);
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
            Kind::DoneMarked(e) => self.intent = Want::Done(e.by.clone()),
            Kind::RestoreRequested(e) => self.begin_restore(Some(e.by.clone()), e.fresh, when),
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
                self.end_requests("over", when, |_| true);
                for message in self.messages.values_mut().filter(|m| m.fate == Fate::Waiting) {
                    message.fate = Fate::Withdrawn { reason: "the session is over".into() };
                }
                if self.workspace.is_some() && !self.workspace_gone && e.how != Over::Failed {
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
            queued: when,
            tried: None,
            failed: None,
            tries: 0,
            fate: Fate::Waiting,
        };
        self.messages.insert(id, message);
    }

    fn trim_messages(&mut self) {
        let settled =
            |m: &&QueuedMessage| matches!(m.fate, Fate::Confirmed { .. } | Fate::Withdrawn { .. });
        while self.messages.values().filter(settled).count() > KEEP_ENDED {
            let Some(id) = self.messages.values().find(settled).map(|m| m.id) else { return };
            self.messages.remove(&id);
        }
    }

    fn fold_intended(&mut self, effect: &Effect, when: Moment) {
        match effect {
            Effect::CreateRuntime { launch, .. } => {
                self.launch = *launch;
                self.launched = Some(when);
                self.handle = None;
                self.signalled = false;
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
            Effect::TypeMessage { message } => {
                if let Some(message) = self.messages.get_mut(message) {
                    message.tried.get_or_insert(when);
                    message.tries += 1;
                }
            }
            _ => {}
        }
    }

    fn fold_outcome(&mut self, effect: &Effect, outcome: &Outcome, when: Moment) {
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
                },
            ) => {
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
            (Effect::TypeMessage { message }, _) => {
                if let Some(message) = self.messages.get_mut(message)
                    && message.fate == Fate::Waiting
                {
                    message.fate = Fate::Confirmed { evidence: "typed".into(), when };
                }
                self.trim_messages();
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

    fn fold_failure(&mut self, effect: &Effect, failure: &Failure, when: Moment) {
        match effect {
            Effect::DecideRequest { request } => {
                if let Some(decided) =
                    self.requests.get_mut(request).and_then(|r| r.decided.as_mut())
                {
                    decided.handed = Some(Err(failure.clone()));
                }
            }
            Effect::TypeMessage { message } => {
                if let Some(message) = self.messages.get_mut(message)
                    && message.fate == Fate::Waiting
                {
                    message.failed = Some(when);
                    if !matches!(failure.kind, ao_slots::ErrorKind::Transient) {
                        message.fate = Fate::Undelivered { failure: failure.clone() };
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
        Effect::TypeMessage { .. } => "prompt",
        Effect::DecideRequest { .. } => "answer",
        Effect::DestroyRuntime { .. } => "kill",
        Effect::DestroyWorkspace { .. } => "cleanup",
        Effect::SendNotification { .. }
        | Effect::UpdateNotification { .. }
        | Effect::ResolveNotification { .. } => "push",
    }
}
