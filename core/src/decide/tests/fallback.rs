//! What is urgent reaches a human by another channel where the first does not take it.

use ao_slots::fact::Priority;

use super::*;
use crate::{decide::deliver::is_failing, state::Progress};

pub(super) fn channel(name: &str) -> ChannelName {
    name.parse().unwrap()
}

/// A policy whose incidents may go to these channels, in this order, and what they can do.
pub(super) fn with_channels(
    kinds: &[(&str, ChannelKind)],
) -> (Policy, BTreeMap<ChannelName, NotifierCapabilities>) {
    let mut policy = Policy::with_projects(&["my-app", "api"]);
    let names: Vec<ChannelName> = kinds.iter().map(|(name, _)| channel(name)).collect();
    for rules in policy.projects.values_mut().map(|project| &mut project.rules) {
        rules.channels.clone_from(&names);
    }
    policy.rules.channels = names;
    let can = |kind| NotifierCapabilities { kind, volatile: false, ..desktop() };
    (policy, kinds.iter().map(|(name, kind)| (channel(name), can(*kind))).collect())
}

impl World {
    /// A session whose first turn runs, and channels that the test speaks for.
    pub(super) fn with_team(kinds: &[(&str, ChannelKind)]) -> Self {
        let (policy, channels) = with_channels(kinds);
        let mut w = Self::with(policy.clone());
        w.configure(policy, channels);
        w.add_working("41");
        w.holds_channels = true;
        w
    }

    /// What a channel is busy with.
    pub(super) fn busy(&self, name: &str) -> Option<(Seq, Effect)> {
        let found = self.state.intent_on(&Lane::Channel(channel(name)));
        found.map(|(seq, intent)| (seq, intent.effect.clone()))
    }

    #[track_caller]
    pub(super) fn channel_takes(&mut self, name: &str) {
        let (intent, effect) = self.busy(name).expect("the channel is busy");
        self.give(Input::Effect { intent, result: Ok(usual(&effect)) }).unwrap();
    }

    #[track_caller]
    pub(super) fn channel_fails(&mut self, name: &str, kind: ErrorKind) {
        let (intent, _) = self.busy(name).expect("the channel is busy");
        self.give(Input::Effect { intent, result: Err(failure(kind)) }).unwrap();
    }

    /// Where the last message goes, in the order of the names.
    pub(super) fn goes_to(&self) -> String {
        let told = self.state.notifications.values().last();
        let names: Vec<_> =
            told.into_iter().flat_map(|n| n.deliveries.keys()).map(ToString::to_string).collect();
        names.join(" ")
    }
}

const OFFICE: [(&str, ChannelKind); 4] = [
    ("desktop", ChannelKind::Desktop),
    ("team", ChannelKind::Chat),
    ("mail", ChannelKind::Mail),
    ("hook", ChannelKind::Webhook),
];

/// Urgent, routed to the team's chat alone.
fn asks_the_team() -> World {
    let (mut policy, channels) = with_channels(&OFFICE);
    let routing = [(Priority::Urgent, vec![channel("team")])];
    policy.projects.values_mut().for_each(|p| p.rules.routing = Some(routing.clone().into()));
    let mut w = World::with_team(&OFFICE);
    w.configure(policy, channels);
    w.tell(1, [asked("k1", question("A?"))]);
    w.pass(2 * SECOND);
    assert_eq!(w.goes_to(), "team");
    w
}

#[test]
fn f17_an_urgent_message_goes_on_after_ten_seconds_in_flight_or_at_rest() {
    for fails in [false, true] {
        let mut w = asks_the_team();
        if fails {
            w.channel_fails("team", ErrorKind::Transient);
        }
        w.pass(9_999);
        assert_eq!(w.goes_to(), "team");
        w.pass(1);
        assert_eq!(w.goes_to(), "mail team", "what reaches farthest of what is left");
        assert!(w.busy("mail").is_some());
        let added = w.events.iter().find(|e| e.kind.name() == "delivery.added").unwrap();
        assert_eq!(added.rule.as_deref(), Some("fallback"));
        // It is not taken there either: the desk is the last one, and after it nobody is left.
        w.pass(10 * SECOND);
        assert_eq!(w.goes_to(), "desktop mail team");
        w.pass(10 * MINUTE);
        assert_eq!(w.goes_to(), "desktop mail team");
        assert!(w.busy("hook").is_none(), "a webhook is no human");
    }
}

#[test]
fn what_was_taken_in_time_goes_nowhere_else() {
    let mut w = asks_the_team();
    w.pass(9 * SECOND);
    w.channel_takes("team");
    w.pass(8 * MINUTE);
    assert_eq!(w.goes_to(), "team");
}

#[test]
fn what_a_channel_surely_never_takes_goes_on_at_once() {
    let mut w = asks_the_team();
    w.channel_fails("team", ErrorKind::Permanent);
    assert_eq!(w.goes_to(), "mail team");
    w.pass(2 * SECOND);
    let told = w.state.notifications.values().next().unwrap();
    assert_eq!(told.deliveries[&channel("team")].progress, Progress::Dropped);
}

#[test]
fn what_reaches_as_far_elsewhere_needs_no_other_channel() {
    let kinds = [
        ("desktop", ChannelKind::Desktop),
        ("team", ChannelKind::Chat),
        ("phone", ChannelKind::Phone),
        ("mail", ChannelKind::Mail),
    ];
    let ask = || {
        let mut w = World::with_team(&kinds);
        w.tell(1, [asked("k1", question("A?"))]);
        w.pass(2 * SECOND);
        assert_eq!(w.goes_to(), "desktop phone team");
        w.channel_takes("desktop");
        w
    };
    let mut w = ask();
    w.channel_takes("phone");
    w.pass(MINUTE);
    assert_eq!(w.goes_to(), "desktop phone team", "the chat is down, the phone has buzzed");
    let mut w = ask();
    w.pass(MINUTE);
    assert_eq!(w.goes_to(), "desktop mail phone team", "a desk alone reaches nobody on a train");
}

#[test]
fn only_what_is_urgent_and_nobody_has_taken_goes_on() {
    let mut w = asks_the_team();
    w.channel_fails("team", ErrorKind::Transient);
    w.give(Input::Acknowledge { incident: "i-1".parse().unwrap(), by: ana() }).unwrap();
    w.pass(MINUTE);
    assert_eq!(w.goes_to(), "team");

    let mut w = asks_the_team();
    w.channel_fails("team", ErrorKind::Transient);
    w.tell(1, [Told::RequestEnded { key: "k1".into() }]);
    w.pass(MINUTE);
    assert_eq!(w.goes_to(), "team");

    let mut w = World::with_team(&OFFICE);
    w.give(Input::Disk { free: 1, failing: false }).unwrap();
    w.pass(5 * MINUTE);
    assert_eq!(w.goes_to(), "desktop hook team");
}

#[test]
fn a_restart_keeps_the_time_and_adds_no_second_one() {
    let mut w = asks_the_team();
    w.pass(5 * SECOND);
    w.state.reindex();
    w.pass(4_999);
    assert_eq!(w.goes_to(), "team");
    w.pass(1);
    w.start("boot-1");
    w.give(Input::Swept { sessions: 1 }).unwrap();
    let added = w.events.iter().filter(|e| e.kind.name() == "delivery.added").count();
    assert_eq!((w.goes_to().as_str(), added), ("mail team", 1));
}

#[test]
fn a_channel_that_stumbles_is_not_failing_yet() {
    let mut w = World::new();
    let tried = |failure| Input::Tried { channel: desk(), failure };
    let failing = |w: &World| is_failing(&w.state.channels[&desk()]);
    for (times, expected) in [(1, false), (2, false), (3, true)] {
        w.give(tried(Some(failure(ErrorKind::Transient)))).unwrap();
        assert_eq!(failing(&w), expected, "{times} in a row");
    }
    w.give(tried(None)).unwrap();
    assert!(!failing(&w));
    w.give(tried(Some(failure(ErrorKind::Permanent)))).unwrap();
    assert!(failing(&w), "repeating does not change it");
}

/// Requests to channels since `from`, in milliseconds after `start`.
fn requests(w: &World, from: usize, start: jiff::Timestamp) -> Vec<(i128, String)> {
    let requests = w.events[from..].iter().filter_map(|event| match &event.kind {
        Kind::EffectIntended(e) => match &e.effect {
            Effect::SendNotification { channel, .. }
            | Effect::UpdateNotification { channel, .. } => {
                Some((event.at.duration_since(start).as_millis(), channel.to_string()))
            }
            _ => None,
        },
        _ => None,
    });
    requests.collect()
}

#[test]
fn f16_a_channel_is_asked_no_oftener_than_its_provider_allows() {
    let mut w = World::with_team(&[("team", ChannelKind::Chat)]);
    let paced = NotifierCapabilities {
        pace_ms: 1_200,
        ..w.state.channels[&channel("team")].capabilities.clone().unwrap()
    };
    w.configure(w.state.policy.as_ref().clone(), [(channel("team"), paced)].into());
    w.holds_channels = false;
    for issue in ["42", "43"] {
        w.add_working(issue);
    }
    let (from, start) = (w.events.len(), w.now.wall);
    for n in 1..=3 {
        w.tell(n, [asked("k1", question("A?"))]);
    }
    w.pass(8 * SECOND);
    let times: Vec<_> = requests(&w, from, start).into_iter().map(|(ms, _)| ms).collect();
    assert_eq!(times, [2_000, 3_200, 4_400]);
}

#[test]
fn f16_channels_of_one_account_rest_together() {
    let kinds = [("agents", ChannelKind::Chat), ("team", ChannelKind::Chat)];
    let mut w = World::with_team(&kinds);
    let (policy, mut channels) = with_channels(&kinds);
    channels.values_mut().for_each(|can| can.account = "a1".into());
    w.configure(policy, channels);
    w.tell(1, [asked("k1", question("A?"))]);
    w.pass(2 * SECOND);
    let (intent, _) = w.busy("agents").unwrap();
    w.channel_takes("team");
    let rest = Failure { retry_after_ms: Some(30_000), ..failure(ErrorKind::Transient) };
    w.give(Input::Effect { intent, result: Err(rest) }).unwrap();
    let (from, start) = (w.events.len(), w.now.wall);
    // More comes up meanwhile: it waits, and each message goes out once.
    w.tell(1, [asked("k2", question("B?"))]);
    w.give(Input::Acknowledge { incident: "i-1".parse().unwrap(), by: ana() }).unwrap();
    w.pass(29_999);
    let theirs = |w: &World| {
        let mut requests = requests(w, from, start);
        requests.retain(|(_, name)| name != "desktop");
        requests.sort();
        requests
    };
    assert_eq!(theirs(&w), []);
    w.pass(1);
    let first = theirs(&w);
    assert_eq!(first, [(30_000, "agents".into()), (30_000, "team".into())]);
}

#[test]
fn a_channel_for_what_matters_gets_nothing_less() {
    let kinds = [("desktop", ChannelKind::Desktop), ("team", ChannelKind::Chat)];
    let mut w = World::with_team(&kinds);
    let (policy, mut channels) = with_channels(&kinds);
    channels.get_mut(&channel("team")).unwrap().least = Priority::Action;
    w.configure(policy, channels);
    let refused = |file: &str| Input::ConfigRefused {
        file: file.into(),
        reason: Text::short("x"),
        untrusted: false,
    };
    w.give(refused("a.yaml")).unwrap();
    w.pass(2 * MINUTE);
    assert_eq!(w.goes_to(), "desktop", "a warning, and never nowhere");
    w.give(Input::Disk { free: 1, failing: false }).unwrap();
    w.pass(MINUTE);
    assert_eq!(w.goes_to(), "desktop team");
}
