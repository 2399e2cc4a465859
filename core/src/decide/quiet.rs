//! What keeps a message from going out now: quiet hours, a human who sees it anyway, a day's budget.

use std::collections::BTreeMap;

use ao_slots::{ChannelName, IncidentId, fact::Priority, notifier::ChannelKind};
use jiff::Timestamp;

use super::{
    Decider,
    deliver::{is_taken, silenced_until},
    digest,
    hours::{day_of, quiet_until},
    people::{hours_of, kind_of, listener, zone_of},
};
use crate::{
    event::{Call, DeliveryHeld, Held, NotificationOpened, Subject},
    state::{Delivery, Incident, Notification, Progress, State},
    words,
};

/// A human sees what it is about: he types in that session, or a page is open before him.
fn is_seen(state: &State, notification: &Notification) -> bool {
    let about = |id: &IncidentId| match &state.incidents.get(id)?.subject {
        Subject::Session(id) => Some(id),
        _ => None,
    };
    let here = |id: &IncidentId| about(id).is_some_and(|id| state.present.types_in(id));
    let covers = &notification.covers;
    !covers.is_empty() && (state.present.page.is_some() || covers.iter().all(here))
}

/// It waited for quiet hours that are over.
fn is_over(delivery: &Delivery, now: Timestamp) -> bool {
    delivery.progress == Progress::Queued
        && delivery.held.as_ref().is_some_and(|hold| {
            hold.why == Held::Quiet && hold.until.is_some_and(|until| until <= now)
        })
}

impl Decider<'_> {
    /// Why a message may not buzz on a channel now, and until when; none = it may.
    fn keeps(
        &self,
        name: &ChannelName,
        notification: &Notification,
    ) -> Option<(Held, Option<Timestamp>)> {
        let (state, urgent) = (self.state, notification.priority == Priority::Urgent);
        let kind = kind_of(state, name)?;
        if kind == ChannelKind::Webhook {
            return None;
        }
        if kind == ChannelKind::Desktop && is_seen(state, notification) {
            return Some((Held::Present, None));
        }
        let hours = hours_of(state, notification, name);
        let zone = zone_of(state, &hours);
        if let Some(quiet) = hours.quiet.as_ref().filter(|quiet| !(urgent && quiet.urgent))
            && let Some(until) = quiet_until(quiet, &zone, self.now.wall)
        {
            return Some((Held::Quiet, Some(until)));
        }
        let limited = !urgent && notification.priority > Priority::Info;
        if let Some(budget) = hours.budget.filter(|_| limited) {
            let today = day_of(&zone, self.now.wall);
            let whose = listener(state, notification, name);
            let mine = |name: &ChannelName, other: &Notification| {
                kind_of(state, name) != Some(ChannelKind::Webhook)
                    && listener(state, other, name) == whose
            };
            let counts = |other: &&Notification| {
                let sent = |(name, d): (&ChannelName, &Delivery)| {
                    d.sent.is_some_and(|when| day_of(&zone, when.at) == today) && mine(name, other)
                };
                other.priority > Priority::Info && other.deliveries.iter().any(sent)
            };
            // On a second channel of the same human it is the same message.
            let known = counts(&notification);
            let spent = state.notifications.values().filter(counts).count();
            // What no digest tells of later would never be told.
            let over = !known && spent >= usize::try_from(budget).unwrap_or(usize::MAX);
            if over && digest::comes_to(state, whose) {
                return Some((Held::Budget, None));
            }
        }
        None
    }

    /// Keeps a message from a channel where it may not buzz now, and says so.
    pub(super) fn keep_back(&mut self, name: &ChannelName, notification: &Notification) -> bool {
        let Some((why, until)) = self.keeps(name, notification) else { return false };
        let (channel, because) = (name.clone(), [notification.opened.seq]);
        let rule = match why {
            Held::Quiet => "quiet-hours",
            Held::Present => "present",
            Held::Budget => "budget",
            Held::Silence { .. } | Held::Digest => "digest",
        };
        let event = DeliveryHeld { notification: notification.id, channel, why, until };
        let draft = self.push(event).rule(rule).because(&because);
        draft.project.clone_from(&notification.project);
        true
    }

    /// What quiet hours held back is told in one message when they are over, the most urgent first.
    pub(super) fn after_quiet(&mut self, name: &ChannelName) -> bool {
        let state = self.state;
        let Some(channel) = state.channels.get(name) else { return false };
        let mine = |notification: &Notification| notification.call.people.first().cloned();
        let waiting = channel.waiting.iter().filter_map(|id| state.notifications.get(id));
        let over: Vec<&Notification> = waiting
            .filter(|n| !n.settled && !state.is_held(n) && !n.covers.is_empty())
            .filter(|n| n.deliveries.get(name).is_some_and(|d| is_over(d, self.now.wall)))
            .filter(|n| !is_taken(state, n))
            .filter(|n| silenced_until(state, name, n).is_none_or(|end| end <= self.now.wall))
            .collect();
        let Some(whose) = over.first().map(|first| mine(first)) else { return false };
        let over: Vec<&Notification> = over.into_iter().filter(|n| mine(n) == whose).collect();
        let open = |notification: &Notification, id: &IncidentId| {
            let incident = state.incidents.get(id)?;
            (incident.is_open() && !incident.is_off(notification)).then_some(incident)
        };
        let mut parts: BTreeMap<ChannelName, Vec<IncidentId>> = BTreeMap::new();
        let mut together: Vec<Incident> = vec![];
        for notification in &over {
            for (name, delivery) in &notification.deliveries {
                if !is_over(delivery, self.now.wall) {
                    continue;
                }
                let covers = notification.covers_on(name).iter();
                for incident in covers.filter_map(|id| open(notification, id)) {
                    let part = parts.entry(name.clone()).or_default();
                    if !part.contains(&incident.id) {
                        part.push(incident.id);
                    }
                    if !together.iter().any(|known| known.id == incident.id) {
                        together.push(incident.clone());
                    }
                }
            }
        }
        if over.len() < 2 || together.len() < 2 {
            return false;
        }
        together.sort_by_key(|i| (std::cmp::Reverse(i.priority), i.stands.seq, i.id));
        let covers: Vec<IncidentId> = together.iter().map(|incident| incident.id).collect();
        let channels: Vec<ChannelName> = parts.keys().cloned().collect();
        for part in parts.values_mut() {
            part.sort_by_key(|id| covers.iter().position(|known| known == id));
        }
        parts.retain(|_, part| *part != covers);
        let because: Vec<_> = together.iter().map(|i| i.stands.seq).take(16).collect();
        let first = together[0].clone();
        let title = words::title_of_all(state, &together);
        let call = Call {
            people: whose.into_iter().collect(),
            beside: true,
            held: true,
            ..Call::default()
        };
        let shared = together.iter().all(|i| i.project == first.project);
        let event = NotificationOpened {
            notification: self.next_notification(),
            incident: Some(first.id),
            covers,
            channels,
            parts,
            title,
            summary: None,
            call,
        };
        let draft = self.tag(&first, event).rule("quiet-hours-over").because(&because);
        draft.project.take_if(|_| !shared);
        true
    }
}
