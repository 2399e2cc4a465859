//! The digest: what is not urgent, what was held back, and what came to its end, in one message.

use ao_slots::{ChannelName, fact::Priority, notifier::ChannelKind};
use jiff::Timestamp;

use super::{
    Answered, Decider, Refusal, RefusalKind,
    hours::next_digest,
    people::{can, kind_of, reaches, zone_of},
};
use crate::{
    config::policy::{DigestEvery, Rules},
    event::{Actor, Call, DigestCompleted, DigestRequested, Held, NotificationOpened},
    state::{Incident, State},
    words,
};

const RHYTHMS: [DigestEvery; 2] = [DigestEvery::Hourly, DigestEvery::Daily];

/// The channel gets what is not urgent at once: it has no digest, or no human reads it.
pub(super) fn is_at_once(state: &State, channel: &ChannelName) -> bool {
    kind_of(state, channel) == Some(ChannelKind::Webhook)
        || state.policy.push.digest_of(channel) == DigestEvery::Off
}

/// The channels that get a digest in this rhythm: those that the settings name for what is not urgent, else mail, else
/// the ones that get whatever nothing else is for.
pub(super) fn channels(state: &State, every: DigestEvery) -> Vec<ChannelName> {
    let push = &state.policy.push;
    let mail = |name: &&ChannelName| kind_of(state, name) == Some(ChannelKind::Mail);
    let of = |rules: &Rules| -> Vec<ChannelName> {
        let mails: Vec<ChannelName> = rules.channels.iter().filter(mail).cloned().collect();
        match rules.named(Priority::Info) {
            Some(named) => named.to_vec(),
            None if mails.is_empty() => rules.fallback.clone(),
            None => mails,
        }
    };
    let rules = state.policy.projects.values().map(|project| &project.rules);
    let mut found: Vec<ChannelName> = vec![];
    let explicit = push.channel_digests.keys().cloned();
    for name in rules.chain([&state.policy.rules]).flat_map(of).chain(explicit) {
        let takes = can(state, &name)
            .is_some_and(|can| can.kind != ChannelKind::Webhook && can.least == Priority::Info);
        if takes && push.digest_of(&name) == every && !found.contains(&name) {
            found.push(name);
        }
    }
    found
}

/// A channel gets a digest, in whatever rhythm, that comes to this person; none = to anybody.
pub(super) fn comes_to(state: &State, person: Option<&str>) -> bool {
    let hears = |name: &ChannelName| person.is_none_or(|person| reaches(state, person, name));
    RHYTHMS.iter().any(|every| channels(state, *every).iter().any(hears))
}

/// When the next digest of a rhythm is due by wall time; none where nothing is to be told, or nobody would be.
fn due(state: &State, every: DigestEvery) -> Option<Timestamp> {
    let account = state.digests.of(every)?;
    if channels(state, every).is_empty() {
        return None;
    }
    if account.asked {
        return Some(state.last_at);
    }
    let push = &state.policy.push;
    let empty = || {
        let ruled = state.policy_since.map(|when| when.at);
        account.last.or(ruled).filter(|_| push.digest.empty)
    };
    let since = account.since.map(|when| when.at).or_else(empty)?;
    next_digest(every, push.digest.at, &zone_of(state, &push.hours), since)
}

/// The deadlines of all digests.
pub(super) fn dues(state: &State) -> Vec<crate::state::Due> {
    if state.unswept_since.is_some() {
        return vec![];
    }
    RHYTHMS.iter().filter_map(|every| due(state, *every)).map(crate::state::Due::Wall).collect()
}

impl Decider<'_> {
    /// A human wants the digest now.
    pub(super) fn digest_now(&mut self, by: &Actor) -> Result<Answered, Refusal> {
        if !comes_to(self.state, None) {
            let why = "no channel gets a digest: each gets everything at once";
            return Err(Refusal::new(RefusalKind::Conflict, why).with_remedy("ao notify channels"));
        }
        self.push(DigestRequested { by: by.clone() });
        Ok(Answered::default())
    }

    /// The digests that are due.
    pub(super) fn digests(&mut self) {
        if !self.judges() {
            return;
        }
        for every in RHYTHMS {
            let due = due(self.state, every).is_some_and(|at| self.now.wall >= at);
            let account = self.state.digests.of(every).filter(|_| due);
            let Some(account) = account else { continue };
            let push = &self.state.policy.push;
            let zone = zone_of(self.state, &push.hours);
            let next = next_digest(every, push.digest.at, &zone, self.now.wall);
            let (title, summary) = words::digest(self.state, account, &zone, next);
            let because: Vec<_> = account.since.iter().map(|when| when.seq).collect();
            self.push(DigestCompleted { every }).rule("digest").because(&because);
            let event = NotificationOpened {
                notification: self.next_notification(),
                incident: None,
                covers: vec![],
                channels: channels(self.state, every),
                parts: std::collections::BTreeMap::new(),
                title,
                summary: Some(summary),
                call: Call::default(),
            };
            self.push(event).rule("digest").because(&because);
        }
    }

    /// Leaves what is not urgent to the digest, and says whether a channel wants it at once all the same.
    pub(super) fn leave_to_digest(&mut self, incident: &Incident) -> bool {
        let goes = comes_to(self.state, None);
        let left = matches!(incident.held, Some((Held::Digest, _)));
        if goes && (!left || incident.snoozed.is_some()) {
            self.hold(incident, Held::Digest, "digest", &[incident.stands.seq]);
        }
        // With no channel at all it is told to nobody, and says so.
        !goes || !self.routed(incident).0.is_empty()
    }
}
