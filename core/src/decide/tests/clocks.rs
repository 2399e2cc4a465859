//! R10: clocks that jump, machines that sleep, servers that come back.

use jiff::SignedDuration;

use super::*;

fn jump(w: &mut World, by: SignedDuration) {
    w.now.wall += by;
    let ahead_ms = i64::try_from(by.as_millis()).unwrap();
    w.give(Input::ClockJumped { ahead_ms }).unwrap();
    w.tick();
}

#[test]
fn r10_limits_on_agents_do_not_care_for_the_wall_clock() {
    for hours in [1, -1, 24 * 3_650, -24 * 3_650, 8] {
        let mut w = World::working("41");
        w.pass(9 * MINUTE);
        jump(&mut w, SignedDuration::from_hours(hours));
        w.give(Input::Swept { sessions: 1 }).unwrap();
        assert_eq!(w.pushes(), [""; 0], "{hours} h");
        w.pass(55 * SECOND);
        assert_eq!(w.pushes(), [""; 0], "{hours} h");
        w.pass(7 * SECOND);
        assert_eq!(w.pushes(), ["app-1 is stuck: no progress for 10 min"], "{hours} h");
    }
}

#[test]
fn r10_nothing_is_judged_before_everything_was_looked_at() {
    let mut w = World::working("41");
    jump(&mut w, SignedDuration::from_hours(8));
    w.after(12 * MINUTE, &[]);
    assert_eq!(w.state.next_due(), (None, None), "nothing to wake up for");
    w.tell(1, [Told::Alive]);
    w.check(Input::Swept { sessions: 1 }, &[]);
    w.after(10 * MINUTE, &["opens agent-stuck", "is stuck"]);
    // What is open stays open over the next sleep, and is told after the look.
    jump(&mut w, SignedDuration::from_hours(8));
    w.after(MINUTE, &[]);
    w.check(Input::Swept { sessions: 1 }, &["push: app-1 is stuck: no progress for 10 min"]);
}

/// Five agents, one of them at work in another project, that ask while nobody may judge.
fn five_ask_in_the_night() -> World {
    let mut w = World::new();
    for issue in 1..=5 {
        w.add_working(&issue.to_string());
        w.tell(issue, [asked("k1", question("A?"))]);
    }
    w.pass(SECOND);
    jump(&mut w, SignedDuration::from_hours(8));
    w.pass(10 * SECOND);
    assert_eq!(w.pushes(), [""; 0]);
    w
}

#[test]
fn r10_after_a_night_one_message_a_channel_names_all_that_waited() {
    let mut w = five_ask_in_the_night();
    w.check(Input::Swept { sessions: 5 }, &["push: 5 need you: app-1 asks: A?"]);
    w.after(5 * MINUTE, &[]);
    let told = w.state.notifications.values().next().unwrap();
    assert_eq!(told.covers.len(), 5);
    assert_eq!(told.priority, ao_slots::fact::Priority::Urgent);
    assert!((1..=5).all(|n| w.session(n).asked == 1), "each is a call of a human");

    // One message until the last of them is settled.
    w.tell(1, [Told::RequestEnded { key: "k1".into() }]);
    w.after(2 * SECOND, &["resolves i-1 by itself", "edits n-1"]);
    for n in 2..=5 {
        w.tell(n, [Told::RequestEnded { key: "k1".into() }]);
    }
    let from = w.events.len();
    w.pass(2 * SECOND);
    let settled = |e: &&Event| matches!(&e.kind, Kind::NotificationChanged(c) if c.settled);
    assert_eq!(w.events[from..].iter().filter(settled).count(), 1);
    assert_eq!(w.state.incidents.values().filter(|i| i.resolved.is_none()).count(), 0);
    // What comes up later is told on its own again.
    w.tell(1, [asked("k2", question("B?"))]);
    w.tell(2, [asked("k2", question("C?"))]);
    w.pass(2 * SECOND);
    assert_eq!(w.pushes()[1..], ["app-1 asks: B?", "app-2 asks: C?"]);
}

#[test]
fn r10_what_the_look_brings_up_is_told_together_when_it_has_settled() {
    let mut w = World::working("41");
    w.add_working("42");
    w.start("boot-1");
    w.tell(1, [asked("k1", question("A?"))]);
    w.pass(SECOND);
    w.tell(2, [asked("k1", question("B?"))]);
    // Gone again before it has settled.
    w.add_working("43");
    w.tell(3, [asked("k1", question("C?"))]);
    let refused =
        Input::ConfigRefused { file: "a.yaml".into(), reason: Text::short("x"), untrusted: false };
    w.give(refused).unwrap();
    w.check(Input::Swept { sessions: 3 }, &[]);
    w.tell(3, [Told::RequestEnded { key: "k1".into() }]);
    w.pass(1_999);
    assert_eq!(w.pushes(), [""; 0]);
    w.pass(1);
    assert_eq!(w.pushes(), ["2 need you: app-1 asks: A?"]);
    // A warning waits for its own time.
    w.pass(MINUTE);
    assert_eq!(w.pushes()[1..], ["a.yaml was changed and is not used"]);
}

#[test]
fn r10_a_channel_carries_only_what_is_routed_to_it() {
    let (team, hook): (ChannelName, ChannelName) =
        ("team".parse().unwrap(), "hook".parse().unwrap());
    let mut policy = Policy::with_projects(&["my-app"]);
    let urgent = |channels: &[&ChannelName]| {
        let channels = channels.iter().map(|name| (*name).clone()).collect();
        Some([(ao_slots::fact::Priority::Urgent, channels)].into())
    };
    policy.rules.routing = urgent(&[&team, &hook]);
    let rules = &mut policy.projects.values_mut().next().unwrap().rules;
    rules.routing = urgent(&[&desk(), &hook]);
    let channels = [desk(), team.clone(), hook.clone()].map(|name| (name, desktop()));
    let mut w = World::with(policy.clone());
    w.configure(policy, channels.into());
    w.add_working("41");
    w.tell(1, [asked("k1", question("A?"))]);
    w.give(Input::Tampered { path: "/data/run/ao".into(), kept: None }).unwrap();
    jump(&mut w, SignedDuration::from_hours(8));
    w.pass(10 * SECOND);
    w.give(Input::Swept { sessions: 1 }).unwrap();
    let told: Vec<_> = w.state.notifications.values().collect();
    assert_eq!(told.len(), 1);
    let [asks, tampered] = told[0].covers[..] else { panic!("{told:?}") };
    assert_eq!(told[0].covers_on(&desk()), [asks]);
    assert_eq!(told[0].covers_on(&team), [tampered]);
    assert_eq!(told[0].covers_on(&hook), [asks, tampered]);
    let title = |channel: &ChannelName| w.message(told[0], channel).title;
    assert_eq!(title(&desk()), "app-1 asks: A?");
    assert_eq!(title(&team), "ao's own file ao was changed by another program");
    assert_eq!(title(&hook), "2 need you: app-1 asks: A?");
}

#[test]
fn r10_a_clock_that_stood_years_ahead_does_not_silence_a_channel() {
    let mut w = World::working("41");
    w.holds_channels = true;
    jump(&mut w, SignedDuration::from_hours(24 * 3_650));
    w.give(Input::Swept { sessions: 1 }).unwrap();
    w.tell(1, [asked("k1", question("A?"))]);
    w.pass(2 * SECOND);
    let (intent, _) = w.channel_effect().unwrap();
    let result = Err(failure(ErrorKind::Transient));
    w.give(Input::Effect { intent, result }).unwrap();
    jump(&mut w, SignedDuration::from_hours(-24 * 3_650));
    assert!(w.channel_effect().is_some(), "tried at once");
}

#[test]
fn r10_promises_to_people_go_by_the_wall() {
    let mut w = World::working("41");
    w.tell(1, [asked("k1", question("A?"))]);
    w.pass(2 * SECOND);
    let until = w.now.wall + SignedDuration::from_hours(6);
    w.give(Input::Snooze { incident: "i-1".parse().unwrap(), until, by: ana() }).unwrap();
    jump(&mut w, SignedDuration::from_hours(7));
    assert_eq!(w.pushes().len(), 1);
    w.give(Input::Swept { sessions: 1 }).unwrap();
    assert_eq!(w.pushes().len(), 2, "the machine slept through it");
}

#[test]
fn r10_a_clock_that_runs_slow_or_fast_changes_no_limit() {
    for percent in [90, 110] {
        let mut w = World::working("41");
        for _ in 0..599 {
            w.now.awake += SECOND;
            w.now.wall += SignedDuration::from_millis(10 * percent);
            w.tick();
        }
        assert!(w.state.incidents.is_empty());
        w.pass(3 * SECOND);
        assert_eq!(w.pushes().len(), 1);
    }
}

#[test]
fn r10_awake_time_that_goes_back_is_not_believed() {
    let mut w = World::working("41");
    w.pass(5 * MINUTE);
    w.tell(1, [Told::Alive]);
    w.now.awake -= 4 * MINUTE;
    w.tell(1, [asked("k1", question("A?"))]);
    let asked = w.session(1).requests.values().next().unwrap().opened;
    assert_eq!(asked.awake, w.state.awake);
    w.give(answer(1, "1")).unwrap();
    w.succeed(1);
    w.tell(1, [Told::ToolEnded { request: Some("k1".into()) }]);
    assert!(w.state.incidents.values().all(|incident| incident.resolved.is_some()));
}

#[test]
fn r10_awake_time_goes_on_over_restarts_of_the_server_and_of_the_machine() {
    let offset = |w: &World| w.state.offset_ms;
    let mut w = World::working("41");
    let first = offset(&w);
    w.start("boot-1");
    assert_eq!(offset(&w), first, "the kernel's clock went on");
    w.pass(MINUTE);
    w.tell(1, [Told::Alive]);
    w.start("boot-2");
    // The new boot's clock stands at 5 s; awake time goes on where the last event left it.
    assert_eq!(5_000 + offset(&w), i64::try_from(w.state.awake).unwrap());
}

#[test]
fn effects_of_a_server_that_died_are_in_doubt_and_hold_their_lanes() {
    let mut w = World::working("41");
    w.spawn("42");
    w.start("boot-1");
    assert!(w.state.intents.values().all(|intent| intent.doubt.is_some()));
    w.after(60 * MINUTE, &[]);
    assert!(matches!(w.effect(2), Some(Effect::FetchIssue)), "nothing else until it is settled");
    w.check(kill(2), &["is cleanup", "over Killed", "is killed"]);
}

#[test]
fn nothing_is_due_in_the_past_whatever_is_waited_for() {
    // A message that waits for its next try while a suspicion comes up; a snooze; a kill that failed; a
    // delivery that rests: `pass` asserts after each tick that the loop may sleep.
    let mut w = World::idle("41");
    w.give(send(1, "Go on")).unwrap();
    w.fail(1, ErrorKind::Transient);
    w.tell(1, [Told::Suspected { text: Text::short("Overwrite?") }]);
    w.pass(10 * MINUTE);
    w.tell(1, [turn_started("t2"), turn_ended("t2")]);
    w.fail(1, ErrorKind::Transient);
    w.tell(1, [Told::RateLimited { until: None }]);
    w.pass(10 * MINUTE);
    w.see(1, RuntimeState::Unknown);
    w.pass(60 * MINUTE);
    w.see(1, RuntimeState::Exited { code: Some(0) });
    w.pass(60 * MINUTE);
    w.give(kill(1)).unwrap();
    while w.effect(1).is_some() {
        w.succeed(1);
    }
    w.pass(60 * MINUTE);
    assert_eq!(w.state.next_due(), (None, None));
}

/// The clock is set by so much, under a server or between two.
fn set(w: &mut World, by: SignedDuration, restarts: bool) {
    if restarts {
        w.now.wall += by;
        w.start("boot-2");
    } else {
        jump(w, by);
    }
    w.give(Input::Swept { sessions: 1 }).unwrap();
    w.tick();
}

const YEARS: SignedDuration = SignedDuration::from_hours(24 * 3_650);

#[test]
fn r10_what_was_put_off_by_a_clock_that_stood_years_ahead_is_told_in_time() {
    for restarts in [false, true] {
        let mut w = World::working("41");
        w.add_working("42");
        set(&mut w, YEARS, false);
        w.tell(1, [asked("k1", question("A?"))]);
        w.pass(2 * SECOND);
        let until = w.now.wall + SignedDuration::from_hours(1);
        w.give(Input::Snooze { incident: "i-1".parse().unwrap(), until, by: ana() }).unwrap();
        let matchers = crate::state::Matchers::session(&app(2));
        w.give(Input::SilenceAdd { matchers, until, comment: String::new(), by: ana() }).unwrap();
        w.tell(2, [asked("k1", question("B?"))]);
        w.pass(2 * SECOND);
        assert_eq!(w.pushes(), ["app-1 asks: A?"]);
        set(&mut w, -YEARS, restarts);
        w.pass(61 * MINUTE);
        let mut told = w.pushes();
        told.sort_unstable();
        assert_eq!(told, ["app-1 asks: A?", "app-1 asks: A?", "app-2 asks: B?"], "{restarts}");
    }
}

#[test]
fn r10_what_stands_is_recalled_after_a_clock_that_stood_years_ahead() {
    for restarts in [false, true] {
        let mut policy = Policy::with_projects(&["my-app"]);
        policy.push.repeat_ms = vec![30 * MINUTE];
        policy.push.digest.every = DigestEvery::Off;
        let mut w = World::with(policy);
        w.add_working("41");
        set(&mut w, YEARS, false);
        w.tell(1, [asked("k1", question("A?"))]);
        w.pass(2 * SECOND);
        set(&mut w, -YEARS, restarts);
        w.pass(29 * MINUTE);
        let told = |w: &World| w.pushes().iter().filter(|t| t.contains("asks")).count();
        assert_eq!(told(&w), 1, "{restarts}");
        w.pass(2 * MINUTE);
        assert_eq!(told(&w), 2, "{restarts}");
        let opened = w.state.notifications.values().map(|told| told.opened.at);
        assert!(opened.max().unwrap() <= w.now.wall);
    }
}

#[test]
fn r10_a_clock_that_is_put_right_by_seconds_leaves_what_was_put_off_as_it_is() {
    let mut w = World::working("41");
    w.tell(1, [asked("k1", question("A?"))]);
    w.pass(2 * SECOND);
    let until = w.now.wall + SignedDuration::from_hours(6);
    w.give(Input::Snooze { incident: "i-1".parse().unwrap(), until, by: ana() }).unwrap();
    set(&mut w, SignedDuration::from_secs(-20), false);
    w.pass(5 * 60 * MINUTE);
    assert_eq!(w.pushes().len(), 1);
    w.pass(60 * MINUTE + 20 * SECOND);
    assert_eq!(w.pushes().len(), 2);
}

#[test]
fn r10_the_digest_comes_in_the_morning_after_a_clock_that_stood_years_ahead() {
    for restarts in [false, true] {
        let mut policy = Policy::with_projects(&["my-app"]);
        policy.push.repeat_ms = vec![];
        let mut w = World::with(policy);
        w.add_working("41");
        set(&mut w, YEARS, false);
        w.give(kill(1)).unwrap();
        while w.effect(1).is_some() {
            w.succeed(1);
        }
        set(&mut w, -YEARS, restarts);
        w.pass(24 * 60 * MINUTE);
        let digest = |e: &&Event| e.kind.name() == "digest.completed";
        assert_eq!(w.events.iter().filter(digest).count(), 1, "{restarts}");
    }
}
