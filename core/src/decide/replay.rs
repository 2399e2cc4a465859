//! What another configuration would have made of a journal: the same observations, decided anew.
//!
//! Only what came in and what became of effects is taken from the journal; every conclusion is drawn again. What humans
//! did is taken as it was, though another message, or none, might have had them act otherwise. Channels are taken to
//! work: how often a human is called is compared, not how a provider fared. Nothing of it depends on when or where it
//! runs.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    mem::discriminant,
};

use ao_slots::{
    ChannelName, IncidentId, MessageId, NotificationId, Seq, SessionId,
    fact::Priority,
    notifier::{ChannelHandle, NotifierCapabilities, Reached},
};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Draft, Input, add, settle, step};
use crate::{
    config::policy::{Policy, ProjectPolicy},
    event::{
        Class, ConfigApplied, Effect, EffectIntended, Event, Kind, NotificationOpened, Outcome,
    },
    state::{IncidentKey, Lane, Now, State},
};

/// A human was called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Call {
    /// When the message first went out.
    pub at: Timestamp,
    /// What it was about: a trigger, or the kind of a summary.
    pub kind: String,
    /// How urgent; that of its incident when it was opened.
    pub priority: Priority,
    /// What was said.
    pub title: String,
    /// Where it went.
    pub channels: Vec<ChannelName>,
    /// Whom it was about, e.g. `app-3`; tells calls of one kind apart.
    pub subject: String,
}

/// What came of a journal, and what would have.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Compared {
    /// Events that were read.
    pub events: u64,
    /// The calls that the journal tells of.
    pub old: Vec<Call>,
    /// The calls under the other configuration.
    pub new: Vec<Call>,
}

/// A journal being decided anew.
#[derive(Debug)]
pub struct Replay {
    policy: Policy,
    channels: BTreeMap<ChannelName, NotifierCapabilities>,
    state: State,
    /// Since when the configuration rules; none = not yet.
    configured: bool,
    events: u64,
    old: Calls,
    new: Calls,
    /// The effects that the journal tells of, until their outcome.
    intents: HashMap<Seq, (Option<SessionId>, Effect)>,
    /// The incidents that the journal tells of, by what they are here.
    incidents: HashMap<IncidentId, IncidentKey>,
    /// The messages to agents that the rules made themselves, as the journal numbers them.
    messages: HashMap<MessageId, (SessionId, String)>,
}

/// The calls of one telling.
#[derive(Debug, Default)]
struct Calls {
    all: Vec<Call>,
    /// Where a message stands in `all`, or what it says while it has not gone out.
    opened: HashMap<NotificationId, Opened>,
    about: HashMap<IncidentId, (String, Priority, String)>,
}

#[derive(Debug)]
enum Opened {
    Waiting(Box<NotificationOpened>),
    Sent(usize),
}

impl Calls {
    /// Takes what an event says of calls.
    fn see(&mut self, event: &Event) {
        match &event.kind {
            Kind::IncidentOpened(e) => {
                let about = (e.trigger.to_string(), e.priority, e.subject.to_string());
                self.about.insert(e.incident, about);
            }
            Kind::NotificationOpened(e) => {
                self.opened.insert(e.notification, Opened::Waiting(Box::new(e.clone())));
            }
            Kind::EffectIntended(EffectIntended {
                effect: Effect::SendNotification { notification, channel, .. },
            }) => self.sent(*notification, channel, event.at),
            _ => {}
        }
    }

    fn sent(&mut self, id: NotificationId, channel: &ChannelName, at: Timestamp) {
        match self.opened.get(&id) {
            Some(Opened::Sent(place)) => {
                let call = &mut self.all[*place];
                if !call.channels.contains(channel) {
                    call.channels.push(channel.clone());
                }
            }
            Some(Opened::Waiting(opened)) => {
                let about = opened.incident.and_then(|id| self.about.get(&id)).cloned();
                let (kind, priority, subject) = about.unwrap_or_else(|| {
                    let kind = opened.summary.as_ref().map(|summary| summary.kind.clone());
                    (kind.unwrap_or_default(), Priority::Info, "ao".to_owned())
                });
                let title = opened.title.clone();
                let channels = vec![channel.clone()];
                self.all.push(Call { at, kind, priority, title, channels, subject });
                self.opened.insert(id, Opened::Sent(self.all.len() - 1));
            }
            None => {}
        }
    }
}

impl Replay {
    /// Decides what follows by `policy`; `channels` tells what those can do that the journal does not know.
    pub fn new(policy: Policy, channels: BTreeMap<ChannelName, NotifierCapabilities>) -> Self {
        Self {
            policy,
            channels,
            state: State::default(),
            configured: false,
            events: 0,
            old: Calls::default(),
            new: Calls::default(),
            intents: HashMap::new(),
            incidents: HashMap::new(),
            messages: HashMap::new(),
        }
    }

    /// Takes the next event of the journal.
    pub fn event(&mut self, event: &Event) {
        self.events += 1;
        self.old.see(event);
        match event.kind.class() {
            Class::Dec | Class::Int => self.remember(event),
            Class::Obs | Class::Out => {
                let now = Now { wall: event.at, awake: event.awake.max(self.state.awake) };
                self.pass(now);
                // Where the beginning is not kept any more, the configuration has to come from somewhere.
                if !self.configured && event.seq > Seq(1) {
                    let config = self.config(&ConfigApplied {
                        hash: String::new(),
                        policy: Box::new(self.policy.clone()),
                        channels: BTreeMap::new(),
                    });
                    self.apply(event, config, now);
                }
                if let Some(kind) = self.translated(event) {
                    self.apply(event, kind, now);
                }
            }
        }
    }

    /// Both tellings, once all events were taken.
    pub fn finish(self) -> Compared {
        Compared { events: self.events, old: self.old.all, new: self.new.all }
    }

    /// Keeps what later events name by numbers that are others here.
    fn remember(&mut self, event: &Event) {
        match &event.kind {
            Kind::EffectIntended(e) if e.effect.notification().is_none() => {
                self.intents.insert(event.seq, (event.session.clone(), e.effect.clone()));
            }
            Kind::IncidentOpened(e) => {
                let (subject, trigger, request) = (e.subject.clone(), e.trigger, e.request);
                self.incidents.insert(e.incident, IncidentKey { subject, trigger, request });
            }
            Kind::MessageQueued(e) => {
                let about = event.session.clone().map(|session| (session, e.digest.clone()));
                self.messages.extend(about.map(|about| (e.message, about)));
            }
            _ => {}
        }
    }

    /// Lets time pass: what falls due on the way is looked at when it is due.
    fn pass(&mut self, to: Now) {
        // A rule that is due again at once would be looked at for ever.
        for _ in 0..10_000 {
            let from = Now { wall: self.state.last_at, awake: self.state.awake };
            let (awake, wall) = self.state.next_due();
            let awake = awake.filter(|at| *at <= to.awake).map(|at| {
                let ahead = i64::try_from(at.saturating_sub(from.awake)).unwrap_or(i64::MAX);
                let wall = from.wall.saturating_add(SignedDuration::from_millis(ahead));
                Now { wall: wall.unwrap_or(to.wall).min(to.wall), awake: at.max(from.awake) }
            });
            let wall = wall.filter(|at| *at <= to.wall).map(|at| {
                let ahead = u64::try_from(at.duration_since(from.wall).as_millis()).unwrap_or(0);
                Now {
                    wall: at.max(from.wall),
                    awake: from.awake.saturating_add(ahead).min(to.awake),
                }
            });
            let Some(now) = awake.into_iter().chain(wall).min_by_key(|now| (now.wall, now.awake))
            else {
                return;
            };
            let before = self.state.last_seq;
            let Ok((events, _)) = step(&mut self.state, &Input::Tick, now) else { return };
            if self.state.last_seq == before {
                return;
            }
            self.follow(events, now);
        }
    }

    /// Applies an observation and what follows from it.
    fn apply(&mut self, event: &Event, kind: Kind, now: Now) {
        let draft = Draft {
            session: event.session.clone(),
            project: event.project.clone(),
            hook: event.hook,
            act: None,
            because: vec![],
            rule: None,
            kind,
        };
        let (mut events, mut foci) = (vec![], BTreeSet::new());
        let cause = add(&mut self.state, vec![draft], now, &mut events, &mut foci);
        settle(&mut self.state, foci, cause, now, &mut events);
        self.follow(events, now);
    }

    /// Counts the calls, and has every channel take what it is given.
    fn follow(&mut self, mut events: Vec<Event>, now: Now) {
        while !events.is_empty() {
            let mut more = vec![];
            for event in &events {
                self.new.see(event);
                let Kind::EffectIntended(EffectIntended { effect }) = &event.kind else { continue };
                let outcome = match effect {
                    Effect::SendNotification { .. } | Effect::UpdateNotification { .. } => {
                        let handle = Some(ChannelHandle(event.seq.to_string()));
                        Outcome::Sent { handle, reached: Reached::Accepted }
                    }
                    Effect::ResolveNotification { .. } => Outcome::Done,
                    _ => continue,
                };
                let input = Input::Effect { intent: event.seq, result: Ok(outcome) };
                if let Ok((events, _)) = step(&mut self.state, &input, now) {
                    more.extend(events);
                }
            }
            events = more;
        }
    }

    /// What an event of the journal says here; none = nothing.
    fn translated(&mut self, event: &Event) -> Option<Kind> {
        if let Kind::ConfigApplied(e) = &event.kind {
            return Some(self.config(e));
        }
        let mut kind = event.kind.clone();
        match &mut kind {
            Kind::IncidentAcknowledged(e) => e.incident = self.incident(e.incident)?,
            Kind::IncidentSnoozed(e) => e.incident = self.incident(e.incident)?,
            // The silence of one incident is that of the same one here.
            Kind::SilenceAdded(e) => {
                e.matchers.incident = match e.matchers.incident {
                    Some(id) => Some(self.incident(id)?),
                    None => None,
                };
            }
            Kind::RetryRequested(e) => e.incident = self.incident(e.incident)?,
            Kind::MessageConfirmed(e) => e.message = self.message(e.message),
            Kind::TurnStarted(e) => e.confirms = e.confirms.map(|id| self.message(id)),
            Kind::EffectSucceeded(e) => e.intent = self.ended(e.intent)?,
            Kind::EffectFailed(e) => e.intent = self.ended(e.intent)?,
            // Its end is yet to come.
            Kind::EffectDoubted(e) => e.intent = self.intent(self.intents.get(&e.intent)?)?,
            // What came back from a message that may not be there, and what is known of channels.
            Kind::PressRefused(_) | Kind::ChannelTried(_) => return None,
            _ => {}
        }
        Some(kind)
    }

    /// The other configuration. Sessions need their projects: one that it does not name is that of then, by the rules
    /// that it has for all.
    fn config(&mut self, ruled: &ConfigApplied) -> Kind {
        self.configured = true;
        let mut policy = self.policy.clone();
        policy.data_dir.clone_from(&ruled.policy.data_dir);
        policy.worktree_dir.clone_from(&ruled.policy.worktree_dir);
        for (id, project) in &ruled.policy.projects {
            let rules = &policy.rules;
            let named = || ProjectPolicy { rules: rules.clone(), ..project.clone() };
            policy.projects.entry(id.clone()).or_insert_with(named);
        }
        let known = |name: &ChannelName| self.channels.get(name).or(ruled.channels.get(name));
        let can = |name: &ChannelName| Some((name.clone(), known(name)?.clone()));
        let channels = policy.channels.keys().filter_map(can).collect();
        ConfigApplied { hash: policy.hash(), policy: Box::new(policy), channels }.into()
    }

    fn incident(&self, id: IncidentId) -> Option<IncidentId> {
        self.state.open.get(self.incidents.get(&id)?).copied()
    }

    fn message(&self, id: MessageId) -> MessageId {
        let here = |(session, digest): &(SessionId, String)| {
            let session = self.state.sessions.get(session)?;
            session.messages.values().rev().find(|message| message.digest == *digest).map(|m| m.id)
        };
        self.messages.get(&id).and_then(here).unwrap_or(id)
    }

    /// An effect that came to its end, as it is numbered here.
    fn ended(&mut self, id: Seq) -> Option<Seq> {
        let ended = self.intents.remove(&id)?;
        self.intent(&ended)
    }

    /// The same effect here; none = it was not intended, and what became of it concerns nobody.
    fn intent(&self, (session, effect): &(Option<SessionId>, Effect)) -> Option<Seq> {
        let lane = Lane::Session(session.clone()?);
        let mut open = self.state.intents.iter().filter(|(_, intent)| intent.lane == lane);
        let same = |intent: &Effect| discriminant(intent) == discriminant(effect);
        open.find(|(_, intent)| same(&intent.effect)).map(|(seq, _)| *seq)
    }
}

#[cfg(test)]
mod tests {
    use ao_slots::{ErrorKind, RequestId};

    use super::*;
    use crate::{config::trigger::Trigger, decide::tests::*, state::Matchers};

    fn replayed(world: &World) -> State {
        replayed_by(world, |_| ())
    }

    fn replayed_by(world: &World, change: impl FnOnce(&mut Policy)) -> State {
        let mut policy = world.state.policy.as_ref().clone();
        change(&mut policy);
        let mut replay = Replay::new(policy, BTreeMap::from([(desk(), desktop())]));
        world.events.iter().for_each(|event| replay.event(event));
        replay.state
    }

    #[test]
    fn what_became_of_an_effect_in_doubt_counts() {
        let mut w = World::new();
        w.spawn("41");
        w.fail(1, ErrorKind::InDoubt);
        let effect = w.effect(1).expect("it is in doubt");
        assert!(w.state.intents.values().any(|intent| intent.doubt.is_some()));
        w.settle(1, Ok(usual(&effect)));
        let state = replayed(&w);
        assert_eq!(state.sessions[&app(1)].step, w.session(1).step);
    }

    #[test]
    fn the_silence_of_one_incident_is_that_of_the_same_one() {
        let mut w = World::idle("41");
        w.add_working("42");
        w.pass(20 * MINUTE);
        w.tell(2, [asked("k1", question("A?"))]);
        w.pass(5 * SECOND);
        let asks = |state: &State| {
            let asks = |i: &&crate::state::Incident| i.request.is_some();
            state.incidents.values().find(asks).unwrap().id
        };
        let (incident, until) = (asks(&w.state), w.now.wall + SignedDuration::from_hours(1));
        let matchers = Matchers { incident: Some(incident), ..Matchers::default() };
        w.give(Input::SilenceAdd { matchers, until, comment: String::new(), by: ana() }).unwrap();
        // Who may be idle for hours opens no incident, so that the question is another by number.
        let state = replayed_by(&w, |policy| {
            for rules in
                policy.projects.values_mut().map(|p| &mut p.rules).chain([&mut policy.rules])
            {
                let idle = rules.reactions.get_mut(&Trigger::AgentIdle).unwrap();
                idle.threshold_ms = Some(24 * 60 * MINUTE);
            }
        });
        assert_ne!(asks(&state), incident);
        let silenced = state.silences.values().next().unwrap().matchers.incident;
        assert_eq!(silenced, Some(asks(&state)));
    }

    #[test]
    fn who_takes_one_of_two_questions_takes_that_one() {
        let mut w = World::working("41");
        w.tell(1, [asked("k1", question("A?"))]);
        w.tell(1, [asked("k2", question("B?"))]);
        w.pass(5 * SECOND);
        let asks = |state: &State, request| {
            let asks = |i: &&crate::state::Incident| i.request == Some(RequestId(request));
            state.incidents.values().find(asks).unwrap().clone()
        };
        let incident = asks(&w.state, 1).id;
        w.give(Input::Acknowledge { incident, by: ana() }).unwrap();
        let state = replayed(&w);
        let taken = |request| asks(&state, request).acknowledged.is_some();
        assert_eq!((taken(1), taken(2)), (true, false));
    }
}
