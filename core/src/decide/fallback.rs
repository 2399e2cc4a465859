//! Where an urgent message goes when a channel does not take it.
//!
//! Who has not been reached after [`WAIT_MS`] is called by the next channel too, and by the one after that where
//! that one does not take it either. A channel that reaches further than those that took it is what counts: a
//! desktop that shows a message reaches nobody on a train.

use ao_slots::{ChannelName, fact::Priority, notifier::ChannelKind};

use super::{
    Decider,
    deliver::{is_failing, is_refused, is_taken},
    people::reaches,
};
use crate::{
    event::DeliveryAdded,
    state::{Delivery, Notification, Progress, State},
};

/// How long a channel may take to take an urgent message, in awake milliseconds.
pub(super) const WAIT_MS: u64 = 10_000;

/// How far a kind of channel reaches a human, the farthest greatest; none = it reaches none.
fn reach(kind: ChannelKind) -> Option<u8> {
    match kind {
        ChannelKind::Webhook => None,
        ChannelKind::Desktop => Some(1),
        ChannelKind::Mail => Some(2),
        ChannelKind::Chat => Some(3),
        ChannelKind::Phone => Some(4),
    }
}

fn reach_of(state: &State, channel: &ChannelName) -> Option<u8> {
    reach(state.channels.get(channel)?.capabilities.as_ref()?.kind)
}

/// The farthest that the message has reached; 0 = nobody.
fn reached(state: &State, notification: &Notification) -> u8 {
    let taken = notification.deliveries.iter().filter(|(_, d)| d.progress == Progress::Sent);
    taken.filter_map(|(name, _)| reach_of(state, name)).max().unwrap_or(0)
}

/// A channel of the message that would reach further than those that took it, and has not taken it.
fn lacking<'n>(state: &State, notification: &'n Notification) -> Option<&'n ChannelName> {
    let reached = reached(state, notification);
    let lacks = notification.deliveries.iter().filter(|(name, delivery)| {
        // What is held back waits for somebody, not for the channel.
        delivery.progress != Progress::Sent
            && delivery.held.is_none()
            && delivery.superseded.is_none()
            && reach_of(state, name) > Some(reached)
    });
    lacks.max_by_key(|(name, _)| reach_of(state, name)).map(|(name, _)| name)
}

/// The next channel that may carry it: one that works, the one that reaches farthest, in the order of the settings.
fn next(state: &State, notification: &Notification) -> Option<ChannelName> {
    let reached = reached(state, notification);
    let rules = state.policy.rules(notification.project.as_ref());
    let mut seen = vec![];
    for name in rules.channels.iter().chain(&rules.fallback) {
        let people = &notification.call.people;
        let theirs = people.is_empty() || people.iter().any(|who| reaches(state, who, name));
        if theirs && !seen.contains(&name) && !notification.deliveries.contains_key(name) {
            seen.push(name);
        }
    }
    let candidates = seen.into_iter().filter(|name| reach_of(state, name) > Some(reached));
    let works = |name: &ChannelName| !state.channels.get(name).is_some_and(is_failing);
    // Of equals the last is taken, so the order of the settings is turned round.
    let candidates: Vec<_> = candidates.collect();
    candidates.into_iter().rev().max_by_key(|name| (works(name), reach_of(state, name))).cloned()
}

/// From when on the next channel is asked as well, in awake milliseconds; none = no need, or nobody is left.
pub(super) fn falls_back_at(state: &State, notification: &Notification) -> Option<u64> {
    if notification.priority < Priority::Urgent
        || notification.settled
        || state.is_held(notification)
        || is_taken(state, notification)
    {
        return None;
    }
    lacking(state, notification)?;
    next(state, notification)?;
    let waits = |delivery: &Delivery| {
        matches!(delivery.progress, Progress::Queued | Progress::Again)
            && delivery.held.is_none()
            && !is_refused(delivery)
    };
    if !notification.deliveries.values().any(waits) {
        // Whatever is left will not be taken: there is nothing to wait for.
        return Some(notification.opened.awake);
    }
    let added = notification.deliveries.values().filter_map(|d| d.instead.as_ref());
    let last = added.map(|(_, when)| when.awake).max().unwrap_or(notification.opened.awake);
    Some(last.saturating_add(WAIT_MS))
}

impl Decider<'_> {
    /// Sends an urgent message on by the next channel, where the ones that it went to do not take it.
    pub(super) fn fall_back(&mut self, notification: &Notification) {
        let due = falls_back_at(self.state, notification).is_some_and(|at| self.now.awake >= at);
        if !due {
            return;
        }
        let instead_of = lacking(self.state, notification).cloned();
        let (Some(instead_of), Some(channel)) = (instead_of, next(self.state, notification)) else {
            return;
        };
        let because = [notification.opened.seq];
        let event = DeliveryAdded { notification: notification.id, channel, instead_of };
        let draft = self.push(event).rule("fallback").because(&because);
        draft.project.clone_from(&notification.project);
    }
}
