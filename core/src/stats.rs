//! What messages cost and brought: counted from the journal alone.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use ao_slots::{
    ChannelName, IncidentId, NotificationId, RequestId, Seq, SessionId,
    fact::{Priority, RuntimeState},
};
use jiff::{Timestamp, civil::Date, tz::TimeZone};
use serde::{Deserialize, Serialize};

use crate::{
    config::trigger::Trigger,
    event::{Effect, EffectIntended, Event, Kind, Outcome, Settled},
};

/// A message that no channel took within this time was missed, unless its need was over by then, a human came to it by
/// himself, or nobody wanted to hear of it.
const MISSED_AFTER_MS: i64 = 15_000;

/// What was sent in a stretch of time, and how it fared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stats {
    /// From here on.
    pub since: Timestamp,
    /// To here.
    pub until: Timestamp,
    /// Messages that went out; a message is one however many channels carry it and however often it is edited.
    pub pushes: u32,
    /// What they were about.
    pub needs: u32,
    /// Messages about no need: summaries and digests. They are no pushes.
    #[serde(default)]
    pub summaries: u32,
    /// Needs that went away by themselves, seen by nobody and acted on by nobody. What ended with its agent is none.
    pub false_alarms: u32,
    /// Messages about what a human decides that no channel took in time.
    pub misses: u32,
    /// What went away or was handled without a message.
    pub handled: u32,
    /// Messages of each day, all days between the first and the last among them.
    pub days: Vec<Day>,
    /// From the need to a human's first act on it.
    pub to_human: Option<Spread>,
    /// From the need to a channel's word that it took the message, settle time included.
    pub channels: BTreeMap<ChannelName, Spread>,
    /// By what it was about, the loudest first.
    pub triggers: Vec<Loud>,
}

/// Messages of one day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Day {
    /// Which, in the reader's zone.
    pub day: Date,
    /// How many.
    pub pushes: u32,
}

/// How long something took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spread {
    /// How often.
    pub count: u32,
    /// Half were faster, in milliseconds.
    pub median_ms: u64,
    /// 90 of 100 were faster.
    pub p90_ms: u64,
    /// 99 of 100 were faster.
    pub p99_ms: u64,
}

impl Spread {
    /// None without a sample.
    fn of(mut samples: Vec<u64>) -> Option<Self> {
        samples.sort_unstable();
        // The smallest sample that at least `percent` of all are no longer than.
        let at = |percent: usize| {
            let rank = (samples.len() * percent).div_ceil(100);
            samples.get(rank.max(1) - 1).copied()
        };
        let count = u32::try_from(samples.len()).unwrap_or(u32::MAX);
        Some(Self { count, median_ms: at(50)?, p90_ms: at(90)?, p99_ms: at(99)? })
    }
}

/// What one trigger cost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Loud {
    /// Which.
    pub trigger: Trigger,
    /// Messages.
    pub pushes: u32,
    /// Of them about what went away by itself.
    pub false_alarms: u32,
}

/// Counts events. All of a journal, in order: what is asked for begins where it likes.
#[derive(Debug, Default)]
pub struct Counter {
    needs: HashMap<IncidentId, Need>,
    messages: HashMap<NotificationId, Message>,
    sends: HashMap<Seq, (NotificationId, ChannelName)>,
    /// Which incident a request of an agent is.
    requests: HashMap<RequestId, IncidentId>,
    /// Whose agent has ended, and was not started again.
    ended: HashSet<SessionId>,
    last: Option<Timestamp>,
}

#[derive(Debug)]
struct Need {
    trigger: Trigger,
    priority: Priority,
    opened: Timestamp,
    /// A human's first act on it.
    human: Option<Timestamp>,
    ended: Option<(Timestamp, Settled)>,
    /// It went away because its agent ended.
    cut_short: bool,
    told: bool,
}

#[derive(Debug)]
struct Message {
    opened: Timestamp,
    covers: Vec<IncidentId>,
    /// It is a roll-up, which calls nobody.
    summary: bool,
    /// When which channel first took it.
    taken: BTreeMap<ChannelName, Timestamp>,
    /// It was kept from a channel on purpose: nobody wanted to hear of it then.
    kept: bool,
    over: Option<Timestamp>,
}

impl Counter {
    /// Takes the next event.
    pub fn event(&mut self, event: &Event) {
        let at = event.at;
        self.last = Some(at);
        match &event.kind {
            Kind::IncidentOpened(e) => {
                self.requests.extend(e.request.map(|request| (request, e.incident)));
                let (trigger, priority) = (e.trigger, e.priority);
                let need = Need {
                    trigger,
                    priority,
                    opened: at,
                    human: None,
                    ended: None,
                    cut_short: false,
                    told: false,
                };
                self.needs.insert(e.incident, need);
            }
            Kind::RuntimeObserved(e) => {
                if let Some(session) = &event.session {
                    match e.state {
                        RuntimeState::Exited { .. } | RuntimeState::Missing => {
                            self.ended.insert(session.clone())
                        }
                        _ => self.ended.remove(session),
                    };
                }
            }
            Kind::IncidentCleared(e) => {
                if let Some(need) = self.needs.get_mut(&e.incident) {
                    let ended = event.session.as_ref().is_some_and(|id| self.ended.contains(id));
                    need.cut_short = ended && !need.trigger.is_of_a_pr();
                }
            }
            Kind::IncidentAcknowledged(e) => self.acted(e.incident, at),
            Kind::IncidentSnoozed(e) => self.acted(e.incident, at),
            Kind::RequestDecided(e) => {
                if let Some(incident) = self.requests.get(&e.request) {
                    self.acted(*incident, at);
                }
            }
            Kind::IncidentResolved(e) => {
                if matches!(e.how, Settled::By(_)) {
                    self.acted(e.incident, at);
                }
                if let Some(need) = self.needs.get_mut(&e.incident) {
                    need.ended = Some((at, e.how.clone()));
                }
            }
            Kind::NotificationOpened(e) => {
                let covers = if e.covers.is_empty() {
                    e.incident.into_iter().collect()
                } else {
                    e.covers.clone()
                };
                let (taken, summary) = (BTreeMap::new(), e.summary.is_some());
                let message =
                    Message { opened: at, covers, summary, taken, kept: false, over: None };
                self.messages.insert(e.notification, message);
            }
            Kind::NotificationJoined(e) => {
                if let Some(message) = self.messages.get_mut(&e.notification) {
                    message.covers.push(e.incident);
                    if let Some(need) = self.needs.get_mut(&e.incident) {
                        need.told |= !message.taken.is_empty();
                    }
                }
            }
            Kind::DeliveryHeld(e) => {
                if let Some(message) = self.messages.get_mut(&e.notification) {
                    message.kept = true;
                }
            }
            Kind::NotificationChanged(e) if e.settled => {
                if let Some(message) = self.messages.get_mut(&e.notification) {
                    message.over.get_or_insert(at);
                }
            }
            Kind::EffectIntended(EffectIntended {
                effect: Effect::SendNotification { notification, channel, .. },
            }) => {
                self.sends.insert(event.seq, (*notification, channel.clone()));
            }
            Kind::EffectSucceeded(e) => {
                if let (Outcome::Runtime { .. }, Some(session)) = (&e.outcome, &event.session) {
                    self.ended.remove(session);
                }
                if let Some((notification, channel)) = self.sends.remove(&e.intent)
                    && let Some(message) = self.messages.get_mut(&notification)
                {
                    message.taken.entry(channel).or_insert(at);
                    for incident in &message.covers {
                        if let Some(need) = self.needs.get_mut(incident) {
                            need.told = true;
                        }
                    }
                }
            }
            Kind::EffectFailed(e) => {
                self.sends.remove(&e.intent);
            }
            _ => {}
        }
    }

    fn acted(&mut self, incident: IncidentId, at: Timestamp) {
        if let Some(need) = self.needs.get_mut(&incident) {
            need.human.get_or_insert(at);
        }
    }

    /// What came of it from `since` on; days are those of `zone`. `now` ends it.
    pub fn finish(self, since: Timestamp, now: Timestamp, zone: &TimeZone) -> Stats {
        let Self { needs, messages, .. } = self;
        let mut days: BTreeMap<Date, u32> = BTreeMap::new();
        let mut channels: BTreeMap<ChannelName, Vec<u64>> = BTreeMap::new();
        let mut loud: BTreeMap<Trigger, Loud> = BTreeMap::new();
        let mut told: BTreeSet<IncidentId> = BTreeSet::new();
        let (mut pushes, mut summaries, mut misses) = (0, 0, 0);
        for message in messages.values().filter(|message| message.opened >= since) {
            let about: Vec<(&IncidentId, &Need)> =
                message.covers.iter().filter_map(|id| Some((id, needs.get(id)?))).collect();
            let began = about.iter().map(|(_, need)| need.opened).min().unwrap_or(message.opened);
            let decides = about.iter().any(|(_, need)| need.priority >= Priority::Action);
            // A channel took it, a human came to it by himself, or its need was over.
            let taken = message.taken.values().copied();
            let came = about.iter().filter_map(|(_, need)| need.human);
            let end = taken.chain(came).chain(message.over).min().unwrap_or(now);
            let waited = end.duration_since(message.opened).as_millis();
            let missed = decides && !message.kept && waited > i128::from(MISSED_AFTER_MS);
            misses += u32::from(missed);
            if message.taken.is_empty() {
                continue;
            }
            if message.summary || about.is_empty() {
                summaries += 1;
                continue;
            }
            pushes += 1;
            *days.entry(message.opened.to_zoned(zone.clone()).date()).or_default() += 1;
            for (channel, at) in &message.taken {
                channels.entry(channel.clone()).or_default().push(millis(*at, began));
            }
            // A list is about what is most urgent in it.
            if let Some((_, first)) = about.first() {
                let of = loud.entry(first.trigger).or_insert(Loud {
                    trigger: first.trigger,
                    pushes: 0,
                    false_alarms: 0,
                });
                of.pushes += 1;
                of.false_alarms += u32::from(about.iter().all(|(_, need)| need.was_false()));
            }
            told.extend(about.iter().map(|(id, _)| **id));
        }
        let told_needs: Vec<&Need> = told.iter().filter_map(|id| needs.get(id)).collect();
        let reaction = |need: &&Need| Some(millis(need.human?, need.opened));
        let handled = needs.values().filter(|need| {
            !need.told
                && need.opened >= since
                && need.ended.as_ref().is_some_and(|(_, how)| alone(how))
        });
        let mut triggers: Vec<Loud> = loud.into_values().collect();
        triggers.sort_by_key(|loud| (std::cmp::Reverse(loud.pushes), loud.trigger));
        Stats {
            since,
            until: now,
            pushes,
            needs: count(told_needs.iter().filter(|need| !need.was_false())),
            summaries,
            false_alarms: count(told_needs.iter().filter(|need| need.was_false())),
            misses,
            handled: count(handled),
            days: filled(&days),
            to_human: Spread::of(told_needs.iter().filter_map(reaction).collect()),
            channels: channels
                .into_iter()
                .filter_map(|(channel, samples)| Some((channel, Spread::of(samples)?)))
                .collect(),
            triggers,
        }
    }
}

impl Need {
    /// It called a human for nothing. A question that ended by itself was answered where no message is: in its terminal.
    fn was_false(&self) -> bool {
        self.trigger != Trigger::AgentNeedsInput
            && self.priority > Priority::Info
            && self.human.is_none()
            && !self.cut_short
            && matches!(self.ended, Some((_, Settled::ByItself)))
    }
}

/// Whether nobody had to do anything.
fn alone(how: &Settled) -> bool {
    matches!(how, Settled::ByItself | Settled::Handled)
}

fn millis(later: Timestamp, earlier: Timestamp) -> u64 {
    u64::try_from(later.duration_since(earlier).as_millis()).unwrap_or(0)
}

fn count<T>(items: impl Iterator<Item = T>) -> u32 {
    u32::try_from(items.count()).unwrap_or(u32::MAX)
}

/// Also the days on which nothing was sent.
fn filled(days: &BTreeMap<Date, u32>) -> Vec<Day> {
    let (Some((first, _)), Some((last, _))) = (days.first_key_value(), days.last_key_value())
    else {
        return vec![];
    };
    let all = first.series(jiff::ToSpan::days(1)).take_while(|day| day <= last);
    all.map(|day| Day { day, pushes: days.get(&day).copied().unwrap_or(0) }).collect()
}

#[cfg(test)]
mod tests {
    use ao_slots::ErrorKind;

    use super::*;
    use crate::decide::{Input, tests::*};

    fn counted(world: &World) -> Stats {
        let mut counter = Counter::default();
        world.events.iter().for_each(|event| counter.event(event));
        counter.finish(Timestamp::UNIX_EPOCH, world.now.wall, &TimeZone::UTC)
    }

    #[test]
    fn what_was_sent_is_counted_with_what_came_of_it() {
        let mut w = World::working("41");
        assert_eq!(counted(&w).pushes, 0);
        w.tell(1, [asked("k1", question("Which one?"))]);
        w.pass(4 * MINUTE);
        w.give(answer(1, "Items only")).unwrap();
        let stats = counted(&w);
        assert_eq!((stats.pushes, stats.needs, stats.false_alarms, stats.misses), (1, 1, 0, 0));
        assert_eq!(stats.to_human.unwrap().median_ms, 4 * MINUTE);
        // Two seconds of settling.
        assert!(stats.channels[&desk()].p99_ms >= 2_000, "{stats:?}");
        assert_eq!(stats.triggers[0].trigger, Trigger::AgentNeedsInput);
        assert_eq!(stats.days.iter().map(|day| day.pushes).collect::<Vec<_>>(), [1]);

        // It moves again by itself: nobody was needed.
        let mut w = World::working("41");
        w.pass(11 * MINUTE);
        w.tell(1, [turn_started("t2")]);
        w.pass(5 * MINUTE);
        let stats = counted(&w);
        assert_eq!((stats.pushes, stats.needs, stats.false_alarms), (1, 0, 1), "{stats:?}");
        assert_eq!(stats.triggers[0].false_alarms, 1);
        // Who saw it was called for something.
        let mut w = World::working("41");
        w.pass(11 * MINUTE);
        w.give(Input::Acknowledge { incident: IncidentId(1), by: ana() }).unwrap();
        w.tell(1, [turn_started("t2")]);
        w.pass(5 * MINUTE);
        assert_eq!(counted(&w).false_alarms, 0);
    }

    #[test]
    fn what_ended_with_its_agent_was_no_false_alarm() {
        // It is stuck, and its runtime takes it away.
        let mut w = World::working("41");
        w.pass(11 * MINUTE);
        w.lose([1]);
        w.comes_back(1);
        w.pass(MINUTE);
        assert!(w.state.incidents.values().all(|incident| incident.resolved.is_some()));
        let stats = counted(&w);
        assert_eq!((stats.pushes, stats.needs, stats.false_alarms), (1, 1, 0), "{stats:?}");
        // What it does once it is back counts as ever.
        w.tell(1, [turn_started("t2")]);
        w.pass(11 * MINUTE);
        w.tell(1, [turn_started("t3")]);
        w.pass(5 * MINUTE);
        let stats = counted(&w);
        assert_eq!((stats.pushes, stats.needs, stats.false_alarms), (2, 1, 1), "{stats:?}");
    }

    #[test]
    fn what_no_channel_took_is_missed_and_what_settles_is_handled() {
        let mut w = World::working("41");
        w.holds_channels = true;
        w.tell(1, [asked("k1", question("Which one?"))]);
        w.pass(MINUTE);
        let stats = counted(&w);
        assert_eq!((stats.pushes, stats.misses), (0, 1), "{stats:?}");
        let mut w = World::working("41");
        w.tell(1, [asked("k1", question("Which one?"))]);
        w.tell(1, [crate::decide::Told::RequestEnded { key: "k1".into() }]);
        w.pass(MINUTE);
        let stats = counted(&w);
        assert_eq!((stats.pushes, stats.misses, stats.handled), (0, 0, 1), "{stats:?}");
    }

    #[test]
    fn all_that_one_message_told_of_counts_as_told() {
        let mut w = World::new();
        for issue in 1..=20 {
            w.add_working(&issue.to_string());
        }
        for n in 1..=20 {
            w.see(n, RuntimeState::Exited { code: Some(1) });
            w.pass(1_000);
        }
        w.pass(MINUTE);
        let joined = |e: &&Event| matches!(e.kind, Kind::NotificationJoined(_));
        assert!(w.events.iter().any(|e| joined(&e)), "some join what was sent");
        assert_eq!(counted(&w).needs, 20);
        // What `ao` brings back by itself was told all the same.
        for n in 1..=20 {
            w.give(restore(n)).unwrap();
            w.comes_back(n);
        }
        w.pass(MINUTE);
        let stats = counted(&w);
        assert_eq!((stats.needs, stats.handled), (20, 0), "{stats:?}");
    }

    #[test]
    fn a_miss_is_what_no_channel_took_in_time_though_it_might_have() {
        let asks = || {
            let mut w = World::working("41");
            w.holds_channels = true;
            w.tell(1, [asked("k1", question("Which one?"))]);
            w.pass(2 * SECOND);
            w
        };
        let ends = |w: &mut World, result| {
            let (intent, _) = w.channel_effect().unwrap();
            w.give(Input::Effect { intent, result }).unwrap();
        };
        let takes = |w: &mut World| {
            let (_, effect) = w.channel_effect().unwrap();
            ends(w, Ok(usual(&effect)));
        };
        for (after, missed) in [(14 * SECOND, 0), (16 * SECOND, 1), (10 * MINUTE, 1)] {
            let mut w = asks();
            w.pass(after);
            takes(&mut w);
            w.pass(MINUTE);
            assert_eq!(counted(&w).misses, missed, "taken after {after} ms");
        }
        // Somebody took it before a channel did.
        let mut w = asks();
        ends(&mut w, Err(failure(ErrorKind::Transient)));
        w.give(Input::Acknowledge { incident: IncidentId(1), by: ana() }).unwrap();
        w.pass(MINUTE);
        assert_eq!(counted(&w).misses, 0);
        // It was kept back on purpose.
        let mut w = World::working("41");
        w.give(Input::Presence { sessions: [app(1)].into(), page: false }).unwrap();
        w.tell(1, [asked("k1", question("Which one?"))]);
        w.pass(MINUTE);
        let stats = counted(&w);
        assert_eq!((stats.pushes, stats.misses), (0, 0), "{stats:?}");
    }

    #[test]
    fn spreads_name_samples_that_were_there() {
        assert_eq!(Spread::of(vec![]), None);
        let spread = Spread::of((1..=200).rev().collect()).unwrap();
        assert_eq!(
            (spread.count, spread.median_ms, spread.p90_ms, spread.p99_ms),
            (200, 100, 180, 198)
        );
        let one = Spread::of(vec![7]).unwrap();
        assert_eq!((one.median_ms, one.p99_ms), (7, 7));
    }
}
