//! What follows when nobody reacts: further calls, to further people, and reminders. Promises to people, so by wall
//! time from the first call on; how many were made is in the message, so a restart keeps them.

use ao_slots::{ChannelName, fact::Priority, notifier::ChannelKind};
use jiff::{SignedDuration, Timestamp};

use super::{
    Decider,
    cause::muted_by,
    people::{in_order, kind_of, owns, reaches},
    silence::silent_to,
};
use crate::{
    config::policy::{ESCALATION_LOOPS, EscalateTo, ReactionAction},
    event::{Call, NotificationEscalated, NotificationOpened},
    state::{Incident, Notification, State},
    words,
};

/// The next call about a message that nobody has reacted to.
enum Next {
    /// The step of the escalation with this number, counted through all rounds.
    Step { step: u32, channels: Vec<ChannelName>, people: Vec<String>, emergency: bool },
    /// All that is open of it once more.
    Reminder,
}

/// It still calls for a human: open, and nobody has taken it or put it off.
fn calls(incident: &Incident) -> bool {
    incident.is_open() && incident.acknowledged.is_none() && incident.snoozed.is_none()
}

/// The incidents of a message that still call for a human, the most urgent first.
fn calling<'s>(
    state: &'s State,
    notification: &'s Notification,
) -> impl Iterator<Item = &'s Incident> {
    let covered = notification.covers.iter().filter_map(|id| state.incidents.get(id));
    covered.filter(|i| i.notification == Some(notification.id) && calls(i))
}

/// When the message of an incident is followed by another call, in wall time; none where it is not, and where another
/// incident of the same message speaks for it.
pub(super) fn follows_at(state: &State, incident: &Incident) -> Option<Timestamp> {
    Some(next(state, incident)?.0)
}

fn next(state: &State, incident: &Incident) -> Option<(Timestamp, Next)> {
    let notification = state.notifications.get(&incident.notification?)?;
    let reaction = state.policy.reaction(incident.project.as_ref(), incident.trigger);
    if notification.settled
        || reaction.action == ReactionAction::Nothing
        || calling(state, notification).next()?.id != incident.id
        || muted_by(state, incident).is_some()
    {
        return None;
    }
    let step = step(state, notification, incident);
    let reminder = reminder(state, notification, incident);
    let (at, next) = step.into_iter().chain(reminder).min_by_key(|(at, _)| *at)?;
    // While it is silenced nobody is called; what was due then is due at its end.
    let until = silent_to(state, incident);
    Some((until.map_or(at, |until| at.max(until)), next))
}

fn after(at: Timestamp, ms: u64) -> Timestamp {
    let wait = SignedDuration::from_millis(i64::try_from(ms).unwrap_or(i64::MAX));
    at.saturating_add(wait).unwrap_or(Timestamp::MAX)
}

fn step(
    state: &State,
    notification: &Notification,
    incident: &Incident,
) -> Option<(Timestamp, Next)> {
    if notification.priority < Priority::Urgent {
        return None;
    }
    let call = &notification.call;
    let hours = state.policy.hours(call.people.first().map(String::as_str));
    let steps = hours.steps();
    let (each, period) = (u32::try_from(steps.len()).ok()?, steps.last()?.after_ms);
    let since = call.since.unwrap_or(notification.opened.at);
    (call.raised..each.saturating_mul(ESCALATION_LOOPS)).find_map(|number| {
        let wanted = &steps[(number % each) as usize];
        let (channels, people) = whom(state, notification, incident, &wanted.to)?;
        let planned = after(since, period.saturating_mul(u64::from(number / each)));
        // What came due while nobody was called is not made up for all at once.
        let before = match number % each {
            0 => 0,
            other => steps[(other - 1) as usize].after_ms,
        };
        let gap = wanted.after_ms.saturating_sub(before);
        let soonest = call.stepped.map_or(Timestamp::MIN, |last| after(last, gap));
        let emergency = wanted.to == EscalateTo::Phone;
        let next = Next::Step { step: number + 1, channels, people, emergency };
        Some((after(planned, wanted.after_ms).max(soonest), next))
    })
}

/// Where a step goes, and whom it calls; none where there is nobody.
fn whom(
    state: &State,
    notification: &Notification,
    incident: &Incident,
    to: &EscalateTo,
) -> Option<(Vec<ChannelName>, Vec<String>)> {
    let rules = state.policy.rules(incident.project.as_ref());
    let mut known: Vec<ChannelName> = vec![];
    for name in rules.channels.iter().chain(&rules.fallback) {
        if kind_of(state, name).is_some() && !known.contains(name) {
            known.push(name.clone());
        }
    }
    let people = &notification.call.people;
    let (channels, people) = match to {
        EscalateTo::Phone => {
            let mine = |name: &ChannelName| {
                people.last().is_none_or(|person| reaches(state, person, name))
            };
            known.retain(|name| kind_of(state, name) == Some(ChannelKind::Phone) && mine(name));
            (known, people.last().cloned())
        }
        EscalateTo::NextPerson => {
            let order = in_order(state, incident);
            let last = people.last()?;
            let at = order.iter().position(|name| name == last).map_or(0, |at| at + 1);
            let next = order.get(at).or(order.first()).filter(|next| *next != last)?.clone();
            known.retain(|name| owns(state, &next, name));
            (known, Some(next))
        }
        EscalateTo::Channels(named) => {
            let known = named.iter().filter(|name| kind_of(state, name).is_some());
            (known.cloned().collect(), people.last().cloned())
        }
    };
    (!channels.is_empty()).then(|| (channels, people.into_iter().collect()))
}

/// Once more, as long as a reminder is left and the message before it has gone out.
fn reminder(
    state: &State,
    notification: &Notification,
    incident: &Incident,
) -> Option<(Timestamp, Next)> {
    if notification.priority < Priority::Action {
        return None;
    }
    let wait = state.policy.push.repeat_ms.get(notification.call.reminder as usize)?;
    let told = incident.messages().filter_map(|id| state.notifications.get(&id));
    let sent = told.flat_map(|told| told.deliveries.values()).filter_map(|d| d.sent);
    Some((after(sent.map(|when| when.at).max()?, *wait), Next::Reminder))
}

impl Decider<'_> {
    /// Adds all of which a reminder is due: who is reminded once is not reminded of each.
    pub(super) fn add_reminders(&self, together: &mut Vec<Incident>) {
        let open = self.state.open.values().filter_map(|id| self.state.incidents.get(id));
        for incident in open {
            let due = match next(self.state, incident) {
                Some((at, Next::Reminder)) => self.now.wall >= at && self.judges(),
                _ => false,
            };
            let told = incident.notification.and_then(|id| self.state.notifications.get(&id));
            let Some(told) = told.filter(|_| due) else { continue };
            for open in calling(self.state, told) {
                if together.iter().all(|known| known.id != open.id) {
                    together.push(open.clone());
                }
            }
        }
        together.sort_by_key(|i| (std::cmp::Reverse(i.priority), i.stands.seq, i.id));
    }

    /// The next call about what nobody has reacted to, when it is time.
    pub(super) fn follow_up(&mut self, incident: &Incident) {
        if !self.judges() {
            return;
        }
        let Some((at, next)) = next(self.state, incident) else { return };
        let told = incident.notification.and_then(|id| self.state.notifications.get(&id));
        let Some(told) = told.filter(|_| self.now.wall >= at) else { return };
        let open: Vec<Incident> = calling(self.state, told).cloned().collect();
        let since = Some(told.call.since.unwrap_or(told.opened.at));
        match next {
            Next::Reminder => {
                let call = Call {
                    people: told.call.people.clone(),
                    reminder: told.call.reminder + 1,
                    raised: told.call.raised,
                    stepped: told.call.stepped,
                    since,
                    ..Call::default()
                };
                let mut together = open;
                self.add_reminders(&mut together);
                // What came due while nobody looked is told in one message.
                if self.state.looked.is_some_and(|(_, until)| at <= until.at) {
                    self.add_waited(&mut together);
                }
                self.tell(&together, call);
            }
            Next::Step { step, channels, people, emergency } => {
                let because = [told.opened.seq];
                let event = NotificationEscalated {
                    notification: told.id,
                    step,
                    people: people.clone(),
                    channels: channels.clone(),
                };
                self.tag(incident, event).rule("nobody-reacted").because(&because);
                let covers: Vec<_> = open.iter().map(|incident| incident.id).collect();
                let notification = self.next_notification();
                let event = NotificationOpened {
                    notification,
                    incident: Some(incident.id),
                    covers,
                    channels,
                    parts: std::collections::BTreeMap::new(),
                    title: words::title_of_all(self.state, &open),
                    summary: None,
                    call: Call { people, beside: true, emergency, since, ..Call::default() },
                };
                let draft = self.tag(incident, event).rule("nobody-reacted").because(&because);
                draft.project.clone_from(&told.project);
            }
        }
    }
}
