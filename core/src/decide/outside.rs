//! What does not answer: a project's scm, a channel.

use ao_slots::{ChannelName, ProjectId, fact::Priority};

use super::{Decider, deliver::is_failing, incident::Cause};
use crate::{
    config::trigger::Trigger,
    event::{Settled, Subject},
    state::{Incident, State},
};

/// The most urgent of what waits for a channel.
pub(super) fn most_urgent(state: &State, channel: &ChannelName) -> Option<Priority> {
    let channel = state.channels.get(channel)?;
    let waiting = channel.waiting.iter().filter_map(|id| state.notifications.get(id));
    waiting.filter(|told| !told.settled).map(|told| told.priority).max()
}

/// The other channels there are: only they can tell that this one fails.
pub(super) fn others(state: &State, channel: &ChannelName) -> Vec<ChannelName> {
    let rules = state.policy.rules(None);
    let known = |name: &ChannelName| {
        state.channels.get(name).is_some_and(|known| known.capabilities.is_some())
    };
    let mut others: Vec<ChannelName> = vec![];
    for name in rules.channels.iter().chain(&rules.fallback) {
        if name != channel && known(name) && !others.contains(name) {
            others.push(name.clone());
        }
    }
    others
}

impl Decider<'_> {
    /// Where an incident is told, and to whom.
    pub(super) fn told_by(&self, incident: &Incident) -> (Vec<ChannelName>, Option<String>) {
        let (mut channels, person) = self.routed(incident);
        if let Subject::Channel(failing) = &incident.subject {
            channels.retain(|name| name != failing);
            if channels.is_empty() {
                channels = others(self.state, failing);
            }
        }
        (channels, person)
    }

    /// A project's scm.
    pub(super) fn project(&mut self, id: &ProjectId) {
        let away = self.state.scm_away.get(id);
        let cause = |since| Cause {
            trigger: Trigger::ScmUnavailable,
            request: None,
            detail: None,
            sessions: vec![],
            because: vec![since],
            rule: "scm-does-not-answer",
        };
        let causes = away.map(|(_, since)| cause(since.seq)).into_iter().collect();
        let subject = Subject::Project(id.clone());
        self.compare(&subject, Some(id), causes, |_| Settled::ByItself);
    }

    /// Whether a channel takes messages.
    pub(super) fn health(&mut self, name: &ChannelName) {
        let Some(channel) = self.state.channels.get(name) else { return };
        // One that is configured no more carries nothing, and needs nobody.
        let policy = &self.state.policy;
        let used = policy.channels.contains_key(name) || policy.rules.channels.contains(name);
        let mut causes = vec![];
        if used && is_failing(channel) {
            causes.push(Cause {
                trigger: Trigger::ChannelFailing,
                request: None,
                detail: None,
                sessions: vec![],
                because: channel.since.iter().map(|when| when.seq).collect(),
                rule: "channel-fails",
            });
        }
        let subject = Subject::Channel(name.clone());
        self.compare(&subject, None, causes, |_| Settled::ByItself);
    }
}
