//! The fold of what concerns incidents, and the messages that tell of them.

use std::collections::BTreeSet;

use ao_slots::{ChannelName, IncidentId, RequestId, SessionId, SilenceId, fact::Checks};
use jiff::{SignedDuration, Timestamp};

use super::focus_of_subject;
use crate::{
    config::trigger::Trigger,
    decide,
    event::{Event, Failure, Held, Kind, NotificationJoined, NotificationOpened, Subject},
    state::{
        ChannelState, Delivery, Focus, Hold, Incident, Moment, Notification, Progress, Silence,
        State, Token,
    },
};

/// How long a token is remembered that has run out.
const FORGET_TOKEN: SignedDuration = SignedDuration::from_hours(24);

/// Resolved incidents and settled notifications that the state keeps, for late clicks and for the log.
const KEEP_RESOLVED: usize = 2_000;

/// How long a silence that has ended is kept.
const KEEP_SILENCE: SignedDuration = SignedDuration::from_hours(7 * 24);

impl State {
    pub(super) fn fold_incident(&mut self, event: &Event, when: Moment) -> Vec<Focus> {
        match &event.kind {
            Kind::IncidentOpened(e) => {
                self.prune();
                self.given.incident = self.given.incident.max(e.incident.0);
                let incident = Incident {
                    id: e.incident,
                    subject: e.subject.clone(),
                    project: event.project.clone(),
                    trigger: e.trigger,
                    detail: e.detail.clone(),
                    priority: e.priority,
                    raised: None,
                    request: e.request,
                    sessions: e.sessions.clone(),
                    common: e.common.clone(),
                    opened: when,
                    stands: when,
                    cleared: None,
                    changed: None,
                    resolved: None,
                    acknowledged: None,
                    snoozed: None,
                    again: None,
                    notification: None,
                    also: vec![],
                    held: None,
                    because: event.because.clone(),
                };
                self.open.insert(incident.key(), e.incident);
                if let Some(cause) = incident.cause() {
                    self.alike.entry(cause).or_default().insert(e.incident);
                }
                let mut foci = vec![Focus::Incident(e.incident)];
                foci.extend(focus_of_subject(&e.subject));
                foci.extend(decide::cause::children(self, &incident));
                self.incidents.insert(e.incident, incident);
                foci
            }
            Kind::NotificationOpened(e) => {
                self.given.notification = self.given.notification.max(e.notification.0);
                let covered = e.covers.iter().filter_map(|id| self.incidents.get(id));
                let priority = covered.map(|incident| incident.priority).max();
                let priority = priority.unwrap_or(ao_slots::fact::Priority::Info);
                let notification = Notification {
                    id: e.notification,
                    incident: e.incident,
                    covers: e.covers.clone(),
                    parts: e.parts.clone(),
                    title: e.title.clone(),
                    priority,
                    summary: e.summary.clone(),
                    call: e.call.clone(),
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
                let mut foci = self.supersede(e);
                for id in &e.covers {
                    if let Some(incident) = self.incidents.get_mut(id) {
                        incident.held = None;
                        if e.call.beside && incident.notification.is_some() {
                            incident.also.push(e.notification);
                            continue;
                        }
                        incident.notification = Some(e.notification);
                        incident.also.clear();
                        (incident.snoozed, incident.again) = (None, None);
                        if e.call.reminder > 0 {
                            continue;
                        }
                        if let Subject::Session(session) = &incident.subject
                            && let Some(session) = self.sessions.get_mut(session)
                        {
                            session.asked += 1;
                        }
                    }
                }
                self.prune();
                self.notifications.insert(e.notification, notification);
                self.update_waiting(e.notification);
                foci.extend(e.channels.iter().cloned().map(Focus::Channel));
                foci.extend(e.covers.iter().copied().map(Focus::Incident));
                foci
            }
            Kind::NotificationChanged(e) => {
                let Some(notification) = self.notifications.get_mut(&e.notification) else {
                    return vec![];
                };
                notification.revision = e.revision;
                notification.revised = when;
                notification.settled |= e.settled;
                for delivery in notification.deliveries.values_mut() {
                    delivery.refused = None;
                }
                let channels = notification.deliveries.keys().cloned().map(Focus::Channel);
                let foci = channels
                    .chain(notification.covers.iter().copied().map(Focus::Incident))
                    .collect();
                self.update_waiting(e.notification);
                foci
            }
            Kind::NotificationJoined(e) => self.join(e, when),
            Kind::ChannelTried(e) => {
                let channel = self.channels.entry(e.channel.clone()).or_default();
                channel.tried(e.failure.as_ref(), when);
                channel.requested = Some(when.at);
                if let Some(asked) = e.failure.as_ref().and_then(|failure| failure.retry_after_ms) {
                    let rest = SignedDuration::from_millis(asked.min(decide::DAY_MS).cast_signed());
                    let until = when.at.saturating_add(rest).unwrap_or(when.at);
                    channel.not_before = channel.not_before.max(Some(until));
                }
                vec![Focus::Channel(e.channel.clone())]
            }
            Kind::ButtonsOffered(e) => {
                // What was shown before may be pressed while the edit is on its way; what is older is gone. One that
                // has run out, or was used, is kept for a day, so that a late press hears why nothing is done.
                let gone = when.at.saturating_sub(FORGET_TOKEN).unwrap_or(when.at);
                self.tokens.retain(|_, token| {
                    let same = token.notification.is_some()
                        && token.notification == e.notification
                        && token.channel == e.channel;
                    // One that is bound to words stands in a message of its own, which no edit changes.
                    let edited = token.text.is_none() && token.revision + 1 < e.revision;
                    let stale = same && token.spent.is_none() && edited;
                    token.until > gone && !stale
                });
                for offer in &e.offers {
                    let token = Token {
                        notification: e.notification,
                        channel: e.channel.clone(),
                        revision: e.revision,
                        button: offer.button.clone(),
                        text: offer.text.clone(),
                        linked: offer.linked,
                        until: offer.until,
                        spent: None,
                    };
                    self.tokens.insert(offer.token.clone(), token);
                }
                vec![]
            }
            Kind::TokenSpent(e) => {
                if let Some(token) = self.tokens.get_mut(&e.token) {
                    token.spent = Some((e.by.clone(), when));
                }
                vec![]
            }
            Kind::PressRefused(e) => {
                let edits = self.channels.get(&e.channel).is_some_and(ChannelState::edits);
                let delivery = self
                    .notifications
                    .get_mut(&e.notification)
                    .filter(|notification| edits && !notification.settled)
                    .and_then(|notification| notification.deliveries.get_mut(&e.channel));
                if let Some(delivery) = delivery.filter(|delivery| delivery.handle.is_some()) {
                    // Where it was pressed it may be gone from the screen.
                    (delivery.shown, delivery.refused) = (0, Some((e.failure.clone(), when)));
                }
                self.update_waiting(e.notification);
                vec![Focus::Channel(e.channel.clone())]
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
                self.channels_of(e.notification)
            }
            Kind::DeliveryHeld(e) => {
                let Some(notification) = self.notifications.get_mut(&e.notification) else {
                    return vec![];
                };
                if let Some(delivery) = notification.deliveries.get_mut(&e.channel) {
                    let (why, until) = (e.why.clone(), e.until);
                    if why == Held::Budget {
                        delivery.progress = Progress::Dropped;
                    }
                    delivery.held = Some(Hold { why, until, since: when });
                }
                self.update_waiting(e.notification);
                self.channels_of(e.notification)
            }
            Kind::NotificationEscalated(e) => {
                let Some(notification) = self.notifications.get_mut(&e.notification) else {
                    return vec![];
                };
                notification.call.raised = e.step;
                notification.call.stepped = Some(when.at);
                notification.call.people.retain(|name| !e.people.contains(name));
                notification.call.people.extend(e.people.iter().cloned());
                self.told_by(e.notification)
            }
            Kind::PresenceObserved(e) => {
                let since = e.here.then_some(when);
                match (&event.session, since) {
                    (None, since) => self.present.page = since,
                    (Some(id), Some(when)) => {
                        self.present.sessions.insert(id.clone(), when);
                    }
                    (Some(id), None) => {
                        self.present.sessions.remove(id);
                    }
                }
                if !e.here {
                    self.forget_holds(|why| *why == Held::Present);
                }
                self.channels.keys().cloned().map(Focus::Channel).collect()
            }
            Kind::DeliveryAdded(e) => {
                let Some(notification) = self.notifications.get_mut(&e.notification) else {
                    return vec![];
                };
                if let Some(part) = notification.parts.get(&e.instead_of).cloned() {
                    notification.parts.insert(e.channel.clone(), part);
                }
                let instead = Some((e.instead_of.clone(), when));
                let delivery = Delivery { instead, ..Delivery::default() };
                notification.deliveries.entry(e.channel.clone()).or_insert(delivery);
                self.update_waiting(e.notification);
                self.channels_of(e.notification)
            }
            Kind::IncidentChanged(e) => self.change_incident(e.incident, |incident| {
                if e.priority > incident.priority {
                    incident.raised = Some(when);
                }
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
                incident.held = None;
                incident.changed = Some(when);
            }),
            Kind::IncidentResolved(e) => {
                let foci = self.change_incident(e.incident, |incident| {
                    incident.resolved = Some((e.how.clone(), when));
                });
                if let Some(incident) = self.incidents.get(&e.incident) {
                    self.open.remove(&incident.key());
                    if let Some(cause) = incident.cause()
                        && let Some(known) = self.alike.get_mut(&cause)
                    {
                        known.remove(&e.incident);
                        if known.is_empty() {
                            self.alike.remove(&cause);
                        }
                    }
                    if incident.trigger == Trigger::CiFailed
                        && incident.detail.is_none()
                        && let Subject::Session(id) = &incident.subject
                        && let Some(session) = self.sessions.get_mut(id)
                        // A pull request that was closed has not passed.
                        && session.pr().is_some_and(|pr| pr.checks != Checks::Failing)
                    {
                        session.heads.iter_mut().for_each(|head| head.red = None);
                        session.follow.checks_are_over();
                    }
                    if incident.subject == Subject::Server {
                        match incident.trigger {
                            Trigger::Tampered => self.server.tampered = None,
                            Trigger::ServerWasAway => {
                                // An absence after it is another.
                                let started = self.server.started.map(|when| when.seq);
                                if started < Some(incident.opened.seq) {
                                    self.server.away_ms = None;
                                }
                                self.server.gaps_new = 0;
                                self.server.quarantined_new = 0;
                            }
                            _ => {}
                        }
                    }
                }
                foci
            }
            Kind::IncidentAcknowledged(e) => self.change_incident(e.incident, |incident| {
                incident.acknowledged = Some((e.by.clone(), when));
                incident.changed = Some(when);
            }),
            Kind::IncidentSnoozed(e) => {
                self.change_incident(e.incident, |incident| incident.snoozed = Some(e.until))
            }
            Kind::NotificationHeld(e) => {
                if let Held::Silence { silence } = &e.why
                    && let Some(silence) = self.silences.get_mut(silence)
                {
                    silence.held = silence.held.saturating_add(1);
                }
                self.change_incident(e.incident, |incident| {
                    incident.held = Some((e.why.clone(), when));
                    // What is left to the digest is put off no longer.
                    incident.snoozed.take_if(|_| e.why == Held::Digest);
                })
            }
            Kind::SilenceAdded(e) => {
                self.given.silence = self.given.silence.max(e.silence.0);
                // One that ended stays for a while, for whoever asks what became of it.
                let old = |until: Timestamp| when.at.duration_since(until) > KEEP_SILENCE;
                self.silences.retain(|_, silence| !old(silence.until));
                let silence = Silence {
                    id: e.silence,
                    matchers: e.matchers.clone(),
                    until: e.until,
                    by: e.by.clone(),
                    comment: e.comment.clone(),
                    since: when,
                    ended: None,
                    held: 0,
                };
                self.silences.insert(e.silence, silence);
                self.silenced_by(e.silence)
            }
            Kind::SilenceEnded(e) => {
                if let Some(silence) = self.silences.get_mut(&e.silence) {
                    silence.ended = Some((e.by.clone(), when));
                }
                self.silenced_by(e.silence)
            }
            _ => vec![],
        }
    }

    /// What a silence changes: the open incidents that it is about, and the channels of what tells of them.
    pub(crate) fn silenced_by(&self, silence: SilenceId) -> Vec<Focus> {
        let Some(silence) = self.silences.get(&silence) else { return vec![] };
        let open = self.open.values().filter_map(|id| self.incidents.get(id));
        let meant = open.filter(|incident| silence.matchers.match_incident(incident));
        let foci = meant.flat_map(|incident| {
            let channels = incident.messages().flat_map(|id| self.channels_of(id));
            channels.chain([Focus::Incident(incident.id)])
        });
        foci.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Where a message goes that stands beside earlier ones, it takes their place: what was not sent yet never is,
    /// what was sent is closed.
    fn supersede(&mut self, e: &NotificationOpened) -> Vec<Focus> {
        if !e.call.beside {
            return vec![];
        }
        let covered = e.covers.iter().filter_map(|id| self.incidents.get(id));
        let earlier: BTreeSet<_> = covered.flat_map(Incident::messages).collect();
        for id in &earlier {
            let Some(message) = self.notifications.get_mut(id).filter(|m| !m.settled) else {
                continue;
            };
            for name in &e.channels {
                let told = e.parts.get(name).unwrap_or(&e.covers);
                let waits =
                    message.deliveries.get(name).is_some_and(|d| d.progress != Progress::Sent);
                // What somebody took or put off needs no message; where one shows it, it stays.
                let calls = |i: &Incident| i.is_open() && !(waits && i.is_off(message));
                let all = message
                    .covers_on(name)
                    .iter()
                    .all(|id| told.contains(id) || !self.incidents.get(id).is_some_and(calls));
                let Some(delivery) = message.deliveries.get_mut(name).filter(|_| all) else {
                    continue;
                };
                delivery.superseded = Some(e.notification);
                if delivery.progress != Progress::Sent {
                    delivery.progress = Progress::Dropped;
                }
            }
            self.update_waiting(*id);
        }
        earlier.into_iter().flat_map(|id| self.channels_of(id)).collect()
    }

    /// What was held back is asked about anew.
    pub(super) fn forget_holds(&mut self, which: impl Fn(&Held) -> bool) {
        for notification in self.notifications.values_mut() {
            for delivery in notification.deliveries.values_mut() {
                delivery
                    .held
                    .take_if(|hold| delivery.progress != Progress::Dropped && which(&hold.why));
            }
        }
    }

    /// The incidents that a message tells of.
    pub(super) fn told_by(&self, id: ao_slots::NotificationId) -> Vec<Focus> {
        let covers = self.notifications.get(&id).into_iter().flat_map(|told| &told.covers);
        covers.copied().map(Focus::Incident).collect()
    }

    pub(super) fn change_incident(
        &mut self,
        id: IncidentId,
        change: impl FnOnce(&mut Incident),
    ) -> Vec<Focus> {
        let Some(incident) = self.incidents.get_mut(&id) else { return vec![] };
        change(incident);
        let incident = &self.incidents[&id];
        let mut foci = vec![Focus::Incident(id)];
        foci.extend(focus_of_subject(&incident.subject));
        foci.extend(decide::cause::children(self, incident));
        for told in incident.messages().filter_map(|id| self.notifications.get(&id)) {
            foci.extend(told.deliveries.keys().cloned().map(Focus::Channel));
            // Which of them speaks for all may be another now.
            foci.extend(told.covers.iter().copied().map(Focus::Incident));
        }
        foci
    }

    /// The channels that a message goes to.
    pub(super) fn channels_of(&self, id: ao_slots::NotificationId) -> Vec<Focus> {
        let told = self.notifications.get(&id).into_iter();
        told.flat_map(|told| told.deliveries.keys().cloned().map(Focus::Channel)).collect()
    }

    /// One more incident in a message that has gone out, or is about to.
    fn join(&mut self, e: &NotificationJoined, when: Moment) -> Vec<Focus> {
        let (Some(notification), Some(incident)) =
            (self.notifications.get_mut(&e.notification), self.incidents.get_mut(&e.incident))
        else {
            return vec![];
        };
        let before = notification.covers.clone();
        notification.covers.push(e.incident);
        for (name, delivery) in &notification.deliveries {
            // Where it goes in place of another channel it goes as a whole.
            let carries = e.channels.contains(name) || delivery.instead.is_some();
            match (notification.parts.get_mut(name), carries) {
                (Some(part), true) => part.push(e.incident),
                (None, false) => {
                    notification.parts.insert(name.clone(), before.clone());
                }
                _ => {}
            }
        }
        // Where the others are not told of it is a message of its own.
        for name in &e.channels {
            if !notification.deliveries.contains_key(name) {
                notification.deliveries.insert(name.clone(), Delivery::default());
                notification.parts.insert(name.clone(), vec![e.incident]);
            }
        }
        notification.revision = e.revision;
        notification.revised = when;
        notification.priority = notification.priority.max(incident.priority);
        incident.notification = Some(e.notification);
        let covered = notification.covers.iter().copied().map(Focus::Incident);
        let covered: Vec<Focus> = covered.collect();
        self.update_waiting(e.notification);
        self.channels_of(e.notification).into_iter().chain(covered).collect()
    }

    /// The open incident of a request.
    pub(super) fn asked_by(&self, session: &SessionId, request: RequestId) -> Option<IncidentId> {
        let subject = Subject::Session(session.clone());
        let open = self.open_incident(&subject, Trigger::AgentNeedsInput, Some(request));
        open.map(|incident| incident.id)
    }

    /// What became of a request changes what a human sees of its incident.
    pub(super) fn touch_request(
        &mut self,
        session: &SessionId,
        request: RequestId,
        when: Moment,
    ) -> Vec<Focus> {
        let Some(id) = self.asked_by(session, request) else { return vec![] };
        self.change_incident(id, |incident| incident.changed = Some(when))
    }

    /// A restore changes what a human sees of everything about the session, its pull request what it sees of that.
    pub(super) fn touch_incidents(
        &mut self,
        session: &SessionId,
        when: Moment,
        touched: impl Fn(Trigger) -> bool,
    ) -> Vec<Focus> {
        let subject = Subject::Session(session.clone());
        let about = self.incidents_of(&subject).filter(|incident| touched(incident.trigger));
        let ids: Vec<_> = about.map(|incident| incident.id).collect();
        let touched =
            ids.into_iter().map(|id| self.change_incident(id, |i| i.changed = Some(when)));
        touched.flatten().collect()
    }

    /// The connection through which these channels sent is gone: what a volatile one of them shows of open
    /// incidents is dead.
    pub(super) fn lose_connection(&mut self, lost: impl Fn(&ChannelName) -> bool) {
        let volatile = |channel: &ChannelState| {
            channel.edits() && channel.capabilities.as_ref().is_some_and(|can| can.volatile)
        };
        let dead: Vec<ChannelName> = self
            .channels
            .iter()
            .filter(|(name, channel)| volatile(channel) && lost(name))
            .map(|(name, _)| name.clone())
            .collect();
        let about = self.incidents.values().filter(|incident| incident.resolved.is_none());
        let open: Vec<_> = about.flat_map(Incident::messages).collect();
        for id in open {
            let Some(told) = self.notifications.get_mut(&id).filter(|told| !told.settled) else {
                continue;
            };
            for (name, delivery) in &mut told.deliveries {
                if dead.contains(name) && delivery.handle.is_some() {
                    delivery.shown = 0;
                }
            }
            self.update_waiting(id);
        }
    }

    /// Keeps each channel's list of deliveries that have something to do.
    pub(super) fn update_waiting(&mut self, id: ao_slots::NotificationId) {
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

    /// Forgets the oldest settled messages and resolved incidents beyond what late clicks may need: when another
    /// comes up, since an end and the edit that tells of it are two events.
    fn prune(&mut self) {
        while self.notifications.len() >= KEEP_RESOLVED {
            let Some(id) = self.notifications.values().find(|n| self.is_idle(n)).map(|n| n.id)
            else {
                break;
            };
            self.notifications.remove(&id);
        }
        while self.incidents.len() >= KEEP_RESOLVED {
            // Its message cannot be written without it.
            let idle = |i: &Incident| {
                let mut told = i.messages().filter_map(|id| self.notifications.get(&id));
                told.all(|message| self.is_idle(message))
            };
            let old = |i: &&Incident| i.resolved.is_some() && idle(i);
            let Some(id) = self.incidents.values().find(old).map(|i| i.id) else { break };
            self.incidents.remove(&id);
        }
    }

    /// All that it tells of is over, and on every channel it has been sent or given up.
    fn is_idle(&self, notification: &Notification) -> bool {
        let mut covered = notification.covers.iter().filter_map(|id| self.incidents.get(id));
        let over = notification.settled || covered.all(|incident| incident.resolved.is_some());
        over && notification.deliveries.values().all(|d| !d.waits(notification.revision))
    }

    /// The wall clock was set back by so much, to `now`. What `ao` waits for by itself is tried at once, and every
    /// time ahead was measured by the clock before: what began then began before now, and what humans put off ends
    /// after as long as was left of it. With a clock that stood years ahead either would wait for years.
    pub(super) fn set_back(&mut self, by: SignedDuration, now: Timestamp) {
        self.forget_holds(|why| *why == Held::Quiet);
        for channel in self.channels.values_mut() {
            (channel.not_before, channel.requested) = (None, None);
        }
        let move_back = |at: &mut Timestamp| {
            if *at > now {
                *at = at.checked_sub(by).unwrap_or(now);
            }
        };
        for notification in self.notifications.values_mut() {
            let call = &mut notification.call;
            move_back(&mut notification.opened.at);
            move_back(&mut notification.revised.at);
            call.since.iter_mut().chain(&mut call.stepped).for_each(move_back);
            for delivery in notification.deliveries.values_mut() {
                delivery.not_before = None;
                delivery.sent.iter_mut().for_each(|when| move_back(&mut when.at));
            }
        }
        let incidents = self.incidents.values_mut();
        incidents.flat_map(|incident| &mut incident.snoozed).for_each(move_back);
        for silence in self.silences.values_mut() {
            move_back(&mut silence.until);
            move_back(&mut silence.since.at);
            silence.ended.iter_mut().for_each(|(_, when)| move_back(&mut when.at));
        }
        for access in self.access.values_mut() {
            access.until.iter_mut().for_each(move_back);
        }
        for account in [&mut self.digests.hourly, &mut self.digests.daily] {
            account.since.iter_mut().for_each(|when| move_back(&mut when.at));
            account.last.iter_mut().for_each(move_back);
        }
        self.tokens.values_mut().for_each(|token| move_back(&mut token.until));
        self.policy_since.iter_mut().for_each(|when| move_back(&mut when.at));
        if let Some((since, until)) = &mut self.looked {
            move_back(&mut since.at);
            move_back(&mut until.at);
        }
        for session in self.sessions.values_mut() {
            session.over.iter_mut().for_each(|(_, when)| move_back(&mut when.at));
        }
        self.mark_all();
    }
}

impl Delivery {
    /// There is something to send, or to change in what was sent.
    fn waits(&self, revision: u32) -> bool {
        match self.progress {
            Progress::Queued | Progress::Again => true,
            Progress::Sent => {
                self.handle.is_some() && (self.shown < revision || self.superseded.is_some())
            }
            Progress::Dropped => false,
        }
    }
}

impl ChannelState {
    /// What became of a message on it.
    pub(super) fn tried(&mut self, failure: Option<&Failure>, when: Moment) {
        let worked = self.error.is_none();
        if worked != failure.is_none() || self.since.is_none() {
            self.since = Some(when);
        }
        self.failures = failure.map_or(0, |_| self.failures.saturating_add(1));
        self.error = failure.cloned();
    }

    /// What it showed can be changed there.
    fn edits(&self) -> bool {
        self.capabilities.as_ref().is_some_and(|can| can.edits)
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
            doubts: 0,
            not_before: None,
            sent: None,
            error: None,
            failed: None,
            refused: None,
            instead: None,
            held: None,
            superseded: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use ao_slots::{
        NotificationId, Seq,
        fact::Priority,
        notifier::{ChannelHandle, Reached},
    };

    use super::*;
    use crate::event::{
        ButtonsOffered, DeliveryDropped, Effect, EffectIntended, EffectSucceeded, IncidentOpened,
        IncidentResolved, NotificationChanged, NotificationOpened, Offer, Outcome, Settled, Text,
    };

    fn apply(state: &mut State, kind: impl Into<Kind>) {
        let seq = Seq(state.last_seq.0 + 1);
        state.apply(&Event {
            seq,
            at: jiff::Timestamp::UNIX_EPOCH,
            awake: 0,
            session: None,
            project: None,
            hook: None,
            act: None,
            because: vec![],
            rule: None,
            kind: kind.into(),
        });
    }

    fn open(state: &mut State, id: u64) {
        let opened = IncidentOpened {
            incident: IncidentId(id),
            subject: Subject::Channel("desktop".parse().unwrap()),
            trigger: Trigger::ChannelFailing,
            priority: Priority::Warning,
            request: None,
            detail: None,
            sessions: vec![],
            common: None,
        };
        apply(state, opened);
    }

    fn resolve(state: &mut State, id: u64) {
        apply(state, IncidentResolved { incident: IncidentId(id), how: Settled::ByItself });
    }

    #[test]
    fn a_button_that_is_bound_to_words_outlives_edits_of_the_message_beside_it() {
        let mut state = State::default();
        let offered = |revision, token: &str, text: Option<&str>| ButtonsOffered {
            notification: Some(NotificationId(1)),
            channel: "desktop".parse().unwrap(),
            revision,
            offers: vec![Offer {
                token: token.into(),
                button: "send".into(),
                text: text.map(Text::short),
                linked: false,
                until: "1970-01-02T00:00:00Z".parse().unwrap(),
            }],
        };
        apply(&mut state, offered(1, "plain", None));
        apply(&mut state, offered(1, "bound", Some("Go on")));
        for revision in 2..5 {
            apply(&mut state, offered(revision, &format!("t{revision}"), None));
        }
        let left: Vec<&str> = state.tokens.keys().map(String::as_str).collect();
        assert_eq!(left, ["bound", "t3", "t4"]);
    }

    #[test]
    fn an_incident_is_kept_until_its_last_edit_has_gone_out() {
        let (mut state, notification) = (State::default(), NotificationId(1));
        let channel: ChannelName = "desktop".parse().unwrap();
        open(&mut state, 1);
        let opened = NotificationOpened {
            notification,
            incident: Some(IncidentId(1)),
            covers: vec![IncidentId(1)],
            channels: vec![channel.clone()],
            parts: BTreeMap::new(),
            title: String::new(),
            summary: None,
            call: Default::default(),
        };
        apply(&mut state, opened);
        let effect = Effect::SendNotification {
            notification,
            channel: channel.clone(),
            revision: 1,
            again: false,
        };
        apply(&mut state, EffectIntended { effect });
        let outcome =
            Outcome::Sent { handle: Some(ChannelHandle("1".into())), reached: Reached::Seen };
        let intent = state.last_seq;
        apply(&mut state, EffectSucceeded { intent, outcome });
        for id in 2..KEEP_RESOLVED as u64 + 10 {
            open(&mut state, id);
            resolve(&mut state, id);
        }
        // Its end, and the edit that tells of it, are two events.
        resolve(&mut state, 1);
        assert!(state.incidents.contains_key(&IncidentId(1)));
        apply(&mut state, NotificationChanged { notification, revision: 2, settled: true });
        open(&mut state, 10_000);
        resolve(&mut state, 10_000);
        assert!(state.incidents.contains_key(&IncidentId(1)), "the edit waits");
        assert_eq!(state.incidents.len(), KEEP_RESOLVED);
        apply(&mut state, DeliveryDropped { notification, channel, reason: String::new() });
        open(&mut state, 10_001);
        assert!(!state.incidents.contains_key(&IncidentId(1)));
    }
}
