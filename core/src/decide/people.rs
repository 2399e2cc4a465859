//! Who is told of what, and by which channels. Without people in the settings there is one user, who has them all.

use ao_slots::{
    ChannelName, ProjectId,
    fact::Priority,
    notifier::{ChannelKind, NotifierCapabilities},
};
use jiff::tz::TimeZone;

use super::{Decider, digest::is_at_once};
use crate::{
    config::{
        policy::{Hours, zone},
        trigger::Trigger,
    },
    event::Subject,
    state::{Incident, Notification, State},
};

pub(super) fn can<'s>(state: &'s State, channel: &ChannelName) -> Option<&'s NotifierCapabilities> {
    state.channels.get(channel)?.capabilities.as_ref()
}

pub(super) fn kind_of(state: &State, channel: &ChannelName) -> Option<ChannelKind> {
    can(state, channel).map(|can| can.kind)
}

/// Whoever is told of an incident first, and who comes next: who spawned the session, then the configured order, else
/// all by name.
pub(super) fn in_order(state: &State, incident: &Incident) -> Vec<String> {
    let policy = &state.policy;
    let session = match &incident.subject {
        Subject::Session(id) => Some(id),
        _ => incident.sessions.first(),
    };
    let spawner = session.and_then(|id| state.sessions.get(id)).map(|session| &session.by.name);
    let mut order: Vec<String> = vec![];
    let rest: Vec<&String> = match policy.push.order.is_empty() {
        true => policy.people.keys().collect(),
        false => policy.push.order.iter().collect(),
    };
    for name in spawner.into_iter().chain(rest) {
        if policy.people.contains_key(name) && !order.contains(name) {
            order.push(name.clone());
        }
    }
    order
}

/// The channel is a person's own.
pub(super) fn owns(state: &State, person: &str, channel: &ChannelName) -> bool {
    state.policy.people.get(person).is_some_and(|person| person.channels.contains(channel))
}

/// A message on it comes to this person: it is his own, or everybody's.
pub(super) fn reaches(state: &State, person: &str, channel: &ChannelName) -> bool {
    owns(state, person, channel)
        || !state.policy.people.values().any(|person| person.channels.contains(channel))
}

/// Whose message it is on a channel: of those that it calls the first whose channel it is; none where it is
/// everybody's.
pub(super) fn listener<'n>(
    state: &State,
    notification: &'n Notification,
    channel: &ChannelName,
) -> Option<&'n str> {
    let people = &notification.call.people;
    let has_all = |name: &&String| {
        state.policy.people.get(*name).is_some_and(|person| person.channels.is_empty())
    };
    let own = people.iter().find(|name| owns(state, name, channel));
    own.or_else(|| people.iter().find(has_all)).map(String::as_str)
}

/// When a human wants to hear of a message on a channel.
pub(super) fn hours_of(state: &State, notification: &Notification, channel: &ChannelName) -> Hours {
    state.policy.hours(listener(state, notification, channel))
}

/// The account that a message calls by name on a channel, as the provider knows it; none = nobody by name.
pub fn called<'s>(
    state: &'s State,
    notification: &Notification,
    channel: &ChannelName,
) -> Option<&'s str> {
    let identity = |name: &String| state.policy.people.get(name)?.identities.get(channel);
    notification.call.people.iter().find_map(identity).map(String::as_str)
}

/// The time zone of these hours; where they name none that of the machine, as it was when the server started.
pub(super) fn zone_of(state: &State, hours: &Hours) -> TimeZone {
    let machine = Hours { timezone: state.zone.clone(), ..Hours::default() };
    zone(hours, &zone(&machine, &TimeZone::UTC))
}

impl Decider<'_> {
    /// The channels that a class goes to, whoever is called.
    pub(super) fn route(
        &self,
        project: Option<&ProjectId>,
        priority: Priority,
        trigger: Trigger,
    ) -> Vec<ChannelName> {
        let rules = self.state.policy.rules(project);
        // A summary goes at once to the channels of action, quietly.
        let class = if trigger == Trigger::AllComplete { Priority::Action } else { priority };
        // Some take only what matters.
        let kind = |name: &ChannelName| {
            can(self.state, name).filter(|can| can.least <= class).map(|can| can.kind)
        };
        let mut channels = rules.route(class, kind).0;
        // Who is away from the machine has a phone.
        let away = self.state.present.is_empty() && rules.named(class).is_none();
        if away && class == Priority::Action && trigger != Trigger::AllComplete {
            let phones =
                rules.channels.iter().filter(|name| kind(name) == Some(ChannelKind::Phone));
            let new: Vec<_> = phones.filter(|name| !channels.contains(name)).cloned().collect();
            channels.extend(new);
        }
        channels
    }

    /// Where an incident is told, and to whom: the channels of its class that come to the first who is told of it.
    pub(super) fn routed(&self, incident: &Incident) -> (Vec<ChannelName>, Option<String>) {
        let state = self.state;
        let mut all = self.route(incident.project.as_ref(), incident.priority, incident.trigger);
        if incident.priority == Priority::Info {
            // The others get a digest.
            all.retain(|name| is_at_once(state, name));
            return (all, None);
        }
        let Some(first) = in_order(state, incident).into_iter().next() else { return (all, None) };
        let human = |name: &ChannelName| kind_of(state, name) != Some(ChannelKind::Webhook);
        let mut mine = all.clone();
        mine.retain(|name| reaches(state, &first, name));
        if !mine.iter().any(human) {
            let own = state.channels.keys().filter(|name| owns(state, &first, name));
            mine.extend(own.filter(|name| kind_of(state, name).is_some()).cloned());
        }
        // Never nowhere.
        match mine.iter().any(human) {
            true => (mine, Some(first)),
            false => (all, Some(first)),
        }
    }
}
