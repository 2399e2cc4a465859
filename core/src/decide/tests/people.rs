//! Who is told, when, and what follows when nobody reacts.

use ao_slots::fact::Priority;
use jiff::{SignedDuration, Timestamp, civil::time};

use super::{
    fallback::{channel, with_channels},
    *,
};
use crate::{
    config::policy::{Day, DigestEvery, EscalateTo, EscalationStep, Hours, Person, QuietHours},
    decide::people::called,
    event::Held,
    state::{Matchers, Progress},
};

const PHONES: [(&str, ChannelKind); 5] = [
    ("desktop", ChannelKind::Desktop),
    ("team", ChannelKind::Chat),
    ("ana-phone", ChannelKind::Phone),
    ("ben-phone", ChannelKind::Phone),
    ("hook", ChannelKind::Webhook),
];

fn person(channels: &[&str]) -> Person {
    Person { channels: channels.iter().map(|name| channel(name)).collect(), ..Person::default() }
}

/// Ana and Ben with a phone each; the desktop is Ana's, the team's chat everybody's.
fn team(change: impl Fn(&mut Policy)) -> World {
    team_of(&PHONES, change)
}

fn team_of(kinds: &[(&str, ChannelKind)], change: impl Fn(&mut Policy)) -> World {
    let (mut policy, channels) = with_channels(kinds);
    policy.people = [
        ("ana".to_owned(), person(&["desktop", "ana-phone"])),
        ("ben".to_owned(), person(&["ben-phone"])),
    ]
    .into();
    change(&mut policy);
    let mut w = World::with_team(kinds);
    w.holds_channels = false;
    w.configure(policy, channels);
    w
}

/// A single user with a phone and no people.
fn single(change: impl Fn(&mut Policy)) -> World {
    let kinds = [("desktop", ChannelKind::Desktop), ("phone", ChannelKind::Phone)];
    team_of(&kinds, |policy| {
        policy.people.clear();
        change(policy);
    })
}

fn asks(w: &mut World) {
    w.tell(1, [asked("k1", question("A?"))]);
    w.pass(2 * SECOND);
}

/// Something a human decides: the disk.
fn decides(w: &mut World) {
    w.give(Input::Disk { free: 1, failing: false }).unwrap();
    w.pass(15 * SECOND);
}

/// What was sent since `from`: minutes after `start`, where, and as an emergency.
fn sent(w: &World, from: usize, start: Timestamp) -> Vec<String> {
    let sent = w.events[from..].iter().filter_map(|event| match &event.kind {
        Kind::EffectIntended(e) => match &e.effect {
            Effect::SendNotification { notification, channel, .. } => {
                let loud = match w.state.notifications[notification].call.emergency {
                    true => " emergency",
                    false => "",
                };
                let min = event.at.duration_since(start).as_mins();
                Some(format!("{min} {channel}{loud}"))
            }
            _ => None,
        },
        _ => None,
    });
    sent.collect()
}

fn quiet_night(urgent: bool) -> Hours {
    let (from, to) = (time(15, 0, 0, 0), time(23, 0, 0, 0));
    let quiet = Some(QuietHours { from, to, days: Day::all(), urgent });
    Hours { timezone: Some("UTC".into()), quiet, escalation: Some(vec![]), budget: None }
}

#[test]
fn who_spawned_it_is_told_first_then_the_order_then_by_name() {
    // The test's sessions are spawned by ana.
    let mut w = team(|_| ());
    asks(&mut w);
    assert_eq!(w.goes_to(), "ana-phone desktop hook team");
    let told = w.state.notifications.values().last().unwrap();
    assert_eq!(told.call.people, ["ana"]);

    let mut w = team(|policy| {
        policy.people.remove("ana");
        policy.people.insert("cleo".into(), person(&["desktop"]));
    });
    asks(&mut w);
    assert_eq!(w.goes_to(), "ana-phone ben-phone hook team", "by name, and what is nobody's");

    let mut w = team(|policy| {
        policy.people.remove("ana");
        policy.people.insert("cleo".into(), person(&["desktop"]));
        policy.push.order = vec!["cleo".into(), "ben".into()];
    });
    asks(&mut w);
    assert_eq!(w.goes_to(), "ana-phone desktop hook team");
}

#[test]
fn a_person_without_a_channel_of_the_class_is_told_by_what_he_has() {
    let mut w =
        team_of(&[("ana-phone", ChannelKind::Phone), ("desktop", ChannelKind::Desktop)], |p| {
            p.people.insert("ana".into(), person(&["ana-phone"]));
            p.people.insert("ben".into(), person(&["desktop"]));
        });
    w.give(Input::Presence { sessions: [app(1)].into(), page: false }).unwrap();
    decides(&mut w);
    assert_eq!(
        w.goes_to(),
        "ana-phone",
        "no session: by name; the class alone goes to the desktop"
    );
}

#[test]
fn a_message_calls_the_person_by_the_account_that_the_channel_knows() {
    let mut w = team(|policy| {
        let ana = policy.people.get_mut("ana").unwrap();
        ana.identities = [(channel("team"), "U012AB3CD".to_owned())].into();
    });
    asks(&mut w);
    let told = w.state.notifications.values().last().unwrap();
    assert_eq!(called(&w.state, told, &channel("team")), Some("U012AB3CD"));
    assert_eq!(called(&w.state, told, &channel("desktop")), None);
}

#[test]
fn f12_nobody_reacts_the_phone_again_as_an_emergency_then_the_next_person() {
    let mut w = team(|policy| policy.push.repeat_ms = vec![]);
    let (from, start) = (w.events.len(), w.now.wall);
    asks(&mut w);
    w.pass(9 * MINUTE + 57 * SECOND);
    assert_eq!(sent(&w, from, start).len(), 4);
    // Ten minutes after the message, not after the question.
    w.pass(4 * SECOND);
    w.pass(90 * MINUTE);
    let later: Vec<_> = sent(&w, from, start)[4..].to_vec();
    let rounds = [
        "10 ana-phone emergency",
        "20 ben-phone",
        "30 ben-phone emergency",
        "40 ana-phone",
        "40 desktop",
        "50 ana-phone emergency",
        "60 ben-phone",
        "70 ben-phone emergency",
        "80 ana-phone",
        "80 desktop",
        "90 ana-phone emergency",
    ];
    assert_eq!(later[..11], rounds, "{later:?}");
    w.pass(24 * 60 * MINUTE);
    let all: Vec<_> = sent(&w, from, start)[4..].to_vec();
    assert_eq!(all.len(), 12, "five rounds, then silence: {all:?}");
}

#[test]
fn a_second_call_on_a_channel_takes_the_place_of_the_first_there_alone() {
    let mut w = team(|policy| policy.push.repeat_ms = vec![]);
    asks(&mut w);
    w.pass(10 * MINUTE);
    let [first, second] =
        [1, 2].map(|n| w.state.notifications[&ao_slots::NotificationId(n)].clone());
    assert_eq!(
        second.deliveries.keys().map(ToString::to_string).collect::<Vec<_>>(),
        ["ana-phone"]
    );
    assert_eq!(first.deliveries[&channel("ana-phone")].superseded, Some(second.id));
    assert_eq!(first.deliveries[&channel("ana-phone")].handle, None, "closed");
    let shown = w.message(&first, &channel("ana-phone"));
    assert!(shown.buttons.is_empty() && format!("{:?}", shown.body).contains("A newer message"));
    assert!(!w.message(&first, &channel("team")).buttons.is_empty());
    // Both are edited when it ends.
    w.give(answer(1, "1")).unwrap();
    w.tell(1, [Told::ToolEnded { request: Some("k1".into()) }]);
    w.pass(MINUTE);
    assert!(w.state.notifications.values().all(|told| told.settled));
    let shown = |n: u64, name: &str| {
        let told = &w.state.notifications[&ao_slots::NotificationId(n)];
        told.deliveries[&channel(name)].shown == told.revision
    };
    assert!(shown(1, "team") && shown(1, "desktop") && shown(2, "ana-phone"));
    assert_eq!(w.session(1).asked, 1, "one call, however often it was repeated");
}

#[test]
fn f8_who_takes_it_puts_it_off_or_ends_it_ends_the_calls() {
    type End = (&'static str, fn(&mut World));
    let ends: [End; 4] = [
        ("ack", |w| {
            w.give(Input::Acknowledge { incident: "i-1".parse().unwrap(), by: ana() }).unwrap();
        }),
        ("answer", |w| {
            w.give(answer(1, "1")).unwrap();
            w.tell(1, [Told::ToolEnded { request: Some("k1".into()) }]);
        }),
        ("silence", |w| {
            let until = w.now.wall + SignedDuration::from_hours(48);
            let (matchers, comment) = (Matchers::session(&app(1)), String::new());
            w.give(Input::SilenceAdd { matchers, until, comment, by: ana() }).unwrap();
        }),
        ("kill", |w| {
            w.give(kill(1)).unwrap();
        }),
    ];
    for (name, end) in ends {
        let mut w = team(|_| ());
        asks(&mut w);
        w.pass(5 * MINUTE);
        end(&mut w);
        let (from, start) = (w.events.len(), w.now.wall);
        w.pass(24 * 60 * MINUTE);
        let sent = sent(&w, from, start);
        // What a session does after its answer is another matter.
        let about = sent.iter().filter(|_| name != "answer");
        assert_eq!(about.count(), 0, "{name}: {sent:?}");
    }
    // Put off: quiet until then, and the calls begin anew.
    let mut w = team(|_| ());
    asks(&mut w);
    let until = w.now.wall + SignedDuration::from_hours(1);
    w.give(Input::Snooze { incident: "i-1".parse().unwrap(), until, by: ana() }).unwrap();
    let from = w.events.len();
    w.pass(60 * MINUTE + 10 * MINUTE);
    let sent = sent(&w, from, until);
    assert_eq!(
        sent[..],
        ["0 ana-phone", "0 desktop", "0 hook", "0 team", "10 ana-phone emergency"]
    );
}

#[test]
fn what_a_silence_delayed_is_called_at_its_end() {
    let mut w = team(|policy| policy.push.repeat_ms = vec![]);
    asks(&mut w);
    let (from, start) = (w.events.len(), w.now.wall);
    let until = w.now.wall + SignedDuration::from_mins(25);
    let (matchers, comment) = (Matchers::session(&app(1)), String::new());
    w.give(Input::SilenceAdd { matchers, until, comment, by: ana() }).unwrap();
    w.pass(24 * MINUTE);
    assert_eq!(sent(&w, from, start), [""; 0]);
    w.pass(MINUTE);
    let sent = sent(&w, from, start);
    assert_eq!(sent, ["25 ana-phone emergency"]);
}

#[test]
fn a_restart_between_steps_fires_each_once_and_on_time() {
    for at in [1, 5, 9, 10, 11, 15, 19, 20, 21, 29] {
        let mut w = team(|policy| policy.push.repeat_ms = vec![]);
        asks(&mut w);
        let start = w.now.wall;
        w.pass(at * MINUTE);
        let json = serde_json::to_string(&w.state).unwrap();
        w.state = serde_json::from_str(&json).unwrap();
        w.state.reindex();
        w.start("boot-1");
        w.give(Input::Swept { sessions: 1 }).unwrap();
        w.pass((35 - at) * MINUTE);
        let steps = w.events.iter().filter(|e| e.kind.name() == "notification.escalated");
        let steps: Vec<_> = steps.map(|e| e.at.duration_since(start).as_mins()).collect();
        assert_eq!(steps, [10, 20, 30], "a restart after {at} min");
    }
}

#[test]
fn what_came_due_in_an_absence_is_not_made_up_for_all_at_once() {
    let mut w = team(|policy| policy.push.repeat_ms = vec![]);
    asks(&mut w);
    w.now.wall += SignedDuration::from_hours(3);
    let (from, start) = (w.events.len(), w.now.wall);
    w.start_after("boot-2", None);
    w.give(Input::Swept { sessions: 1 }).unwrap();
    w.pass(21 * MINUTE);
    let steps = sent(&w, from, start);
    let steps: Vec<_> = steps.iter().filter(|line| line.contains("phone")).collect();
    assert_eq!(steps[..3], ["0 ana-phone emergency", "10 ben-phone", "20 ben-phone emergency"]);
}

#[test]
fn f13_what_stays_open_is_recalled_three_times_ever_more_seldom_then_never() {
    let mut w = single(|policy| policy.push.hours.escalation = Some(vec![]));
    asks(&mut w);
    let (from, start) = (w.events.len(), w.now.wall);
    w.pass(7 * 24 * 60 * MINUTE);
    let minutes = [30, 30 + 120, 30 + 120 + 480];
    let expected: Vec<String> =
        minutes.iter().flat_map(|min| [format!("{min} desktop"), format!("{min} phone")]).collect();
    let found = sent(&w, from, start);
    let found: Vec<_> = found.into_iter().filter(|line| !line.ends_with("emergency")).collect();
    assert_eq!(found, expected);
    assert_eq!(w.session(1).asked, 1);
    // One on each screen.
    let open = w.state.notifications.values().filter(|told| !told.settled).count();
    assert_eq!(open, 1);
}

#[test]
fn without_people_and_phone_nothing_is_escalated() {
    let mut w = World::working("41");
    asks(&mut w);
    w.pass(3 * 60 * MINUTE);
    assert!(w.events.iter().all(|e| e.kind.name() != "notification.escalated"));
}

#[test]
fn a_step_may_name_channels() {
    let mut w = single(|policy| {
        let to = EscalateTo::Channels(vec![channel("phone")]);
        policy.push.hours.escalation = Some(vec![EscalationStep { after_ms: 60_000, to }]);
        policy.push.repeat_ms = vec![];
    });
    asks(&mut w);
    let (from, start) = (w.events.len(), w.now.wall);
    w.pass(60 * MINUTE);
    let sent = sent(&w, from, start);
    assert_eq!(sent, ["1 phone", "2 phone", "3 phone", "4 phone", "5 phone"]);
}

#[test]
fn f10_nothing_buzzes_in_quiet_hours_and_what_stands_is_told_in_one_message_at_their_end() {
    let mut w = single(|policy| {
        policy.push.hours = quiet_night(false);
        policy.push.repeat_ms = vec![];
    });
    w.add_working("42");
    w.add_working("43");
    let start: Timestamp = "2026-11-21T15:00:00Z".parse().unwrap();
    let before = start.duration_since(w.now.wall) + SignedDuration::from_mins(5);
    w.pass(u64::try_from(before.as_millis()).unwrap());
    let from = w.events.len();
    for n in [1, 2, 3] {
        w.tell(n, [turn_started("t9"), asked(&format!("k{n}"), question("A?"))]);
        w.pass(MINUTE);
    }
    // The third is settled before the night is over.
    w.give(answer(3, "1")).unwrap();
    w.tell(3, [Told::ToolEnded { request: Some("k3".into()) }]);
    w.give(kill(3)).unwrap();
    w.pass(60 * MINUTE);
    assert_eq!(sent(&w, from, start), [""; 0], "0 inside the window");
    let held = w.events[from..].iter().filter_map(|e| match &e.kind {
        Kind::DeliveryHeld(e) => Some((e.why.clone(), e.until)),
        _ => None,
    });
    let end: Timestamp = "2026-11-21T23:00:00Z".parse().unwrap();
    assert!(held.clone().all(|held| held == (Held::Quiet, Some(end))));
    assert_eq!(held.count(), 6, "each message on each channel once");
    w.pass(8 * 60 * MINUTE);
    let told: Vec<_> =
        sent(&w, from, end).into_iter().filter(|line| line.starts_with("0 ")).collect();
    assert_eq!(told, ["0 desktop", "0 phone"], "one message on each channel");
    let told = w.state.notifications.values().find(|told| told.call.held).unwrap();
    assert_eq!(told.title, "2 need you: app-1 asks: A?");
    let shown = format!("{:?}", w.message(told, &channel("phone")).body);
    assert!(shown.contains("Quiet hours held them back."), "{shown}");
    // Every delivery has come to its end.
    let waits = |progress| matches!(progress, Progress::Queued | Progress::Again);
    let left = w.state.notifications.values().flat_map(|n| n.deliveries.values());
    assert_eq!(left.filter(|d| waits(d.progress)).count(), 0);
}

#[test]
fn urgent_comes_through_quiet_hours_where_that_is_wanted() {
    let mut w = single(|policy| policy.push.hours = quiet_night(true));
    w.pass(2 * 60 * MINUTE);
    let (from, start) = (w.events.len(), w.now.wall);
    asks(&mut w);
    assert_eq!(sent(&w, from, start), ["0 desktop", "0 phone"]);
    let from = w.events.len();
    decides(&mut w);
    assert_eq!(sent(&w, from, start), [""; 0]);
}

#[test]
fn other_hours_are_asked_at_once() {
    let mut w = single(|policy| policy.push.hours = quiet_night(false));
    w.pass(2 * 60 * MINUTE);
    let (from, start) = (w.events.len(), w.now.wall);
    asks(&mut w);
    let mut policy = w.state.policy.as_ref().clone();
    policy.push.hours.quiet = None;
    w.configure(policy, BTreeMap::new());
    assert_eq!(sent(&w, from, start), ["0 desktop", "0 phone"]);
}

#[test]
fn a_retry_does_not_slip_into_the_quiet_hours() {
    let mut w = single(|policy| policy.push.hours = quiet_night(false));
    w.holds_channels = true;
    w.pass(59 * MINUTE);
    asks(&mut w);
    for name in ["desktop", "phone"] {
        w.channel_fails(name, ErrorKind::Transient);
    }
    w.pass(SECOND);
    while w.now.wall < "2026-11-21T15:00:00Z".parse().unwrap() {
        for name in ["desktop", "phone"] {
            if w.busy(name).is_some() {
                w.channel_fails(name, ErrorKind::Transient);
            }
        }
        w.pass(SECOND);
    }
    for name in ["desktop", "phone"] {
        if w.busy(name).is_some() {
            w.channel_fails(name, ErrorKind::Transient);
        }
    }
    let from = w.events.len();
    w.pass(7 * 60 * MINUTE);
    assert_eq!(sent(&w, from, w.now.wall), [""; 0]);
    w.pass(2 * 60 * MINUTE);
    assert!(!sent(&w, from, w.now.wall).is_empty());
}

#[test]
fn f34_who_types_in_a_session_needs_no_desktop_message_until_he_is_gone() {
    let mut w = single(|_| ());
    let here = |sessions: &[u32], page| Input::Presence {
        sessions: sessions.iter().map(|n| app(*n)).collect(),
        page,
    };
    w.give(here(&[1], false)).unwrap();
    w.give(here(&[1], false)).unwrap();
    let news = w.events.iter().filter(|e| e.kind.name() == "presence.observed").count();
    assert_eq!(news, 1, "who is there is news once");
    let (from, start) = (w.events.len(), w.now.wall);
    asks(&mut w);
    assert_eq!(sent(&w, from, start), ["0 phone"]);
    w.pass(3 * MINUTE);
    w.give(here(&[], false)).unwrap();
    assert_eq!(sent(&w, from, start), ["0 phone", "3 desktop"]);
    // A page shows all of them.
    w.give(here(&[], true)).unwrap();
    let from = w.events.len();
    w.add_working("42");
    w.tell(2, [asked("k2", question("B?"))]);
    w.pass(2 * SECOND);
    assert_eq!(sent(&w, from, w.now.wall), ["0 phone"]);
}

#[test]
fn a_decision_goes_to_the_phone_of_who_is_away() {
    let mut w = single(|_| ());
    decides(&mut w);
    assert_eq!(w.goes_to(), "desktop phone");
    let mut w = single(|_| ());
    w.give(Input::Presence { sessions: [app(1)].into(), page: false }).unwrap();
    decides(&mut w);
    assert_eq!(w.goes_to(), "desktop");
}

#[test]
fn f36_a_day_has_so_many_messages_and_urgent_ones_always_come() {
    let mut w = single(|policy| {
        policy.push.hours.budget = Some(2);
        policy.push.hours.escalation = Some(vec![]);
        policy.push.repeat_ms = vec![];
    });
    let ask = |w: &mut World, n: u32| {
        let from = w.events.len();
        w.tell(n, [asked(&format!("k{n}"), question("A?"))]);
        w.pass(2 * SECOND);
        sent(w, from, w.now.wall).len()
    };
    for issue in ["42", "43"] {
        w.add_working(issue);
    }
    assert_eq!([ask(&mut w, 1), ask(&mut w, 2)], [2, 2], "on two channels it is one message");
    let from = w.events.len();
    decides(&mut w);
    assert_eq!(sent(&w, from, w.now.wall), [""; 0]);
    let told = w.state.notifications.values().last().unwrap();
    assert!(told.deliveries.values().all(|d| d.progress == Progress::Dropped), "a terminal state");
    assert_eq!(ask(&mut w, 3), 2, "urgent is never dropped");
    // Another day.
    w.give(Input::Disk { free: u64::MAX, failing: false }).unwrap();
    w.pass(24 * 60 * MINUTE);
    let from = w.events.len();
    decides(&mut w);
    assert_eq!(sent(&w, from, w.now.wall).len(), 2);
    assert_eq!(w.state.notifications.values().last().unwrap().priority, Priority::Action);
}

#[test]
fn f36_a_budget_holds_nothing_back_that_no_digest_would_tell() {
    let over = |every| {
        let mut w = single(|policy| {
            policy.push.hours.budget = Some(0);
            policy.push.hours.escalation = Some(vec![]);
            policy.push.repeat_ms = vec![];
            policy.push.digest.every = every;
        });
        let from = w.events.len();
        decides(&mut w);
        sent(&w, from, w.now.wall).len()
    };
    assert_eq!(over(DigestEvery::Off), 2, "else it would reach nobody, ever");
    assert_eq!([over(DigestEvery::Hourly), over(DigestEvery::Daily)], [0, 0]);
    // Another's digest is none of hers.
    let kinds = [("ana-phone", ChannelKind::Phone), ("ben-mail", ChannelKind::Mail)];
    let mut w = team_of(&kinds, |policy| {
        policy.push.hours.budget = Some(0);
        policy.push.hours.escalation = Some(vec![]);
        policy.push.repeat_ms = vec![];
        policy.people.insert("ana".into(), person(&["ana-phone"]));
        policy.people.insert("ben".into(), person(&["ben-mail"]));
    });
    let from = w.events.len();
    decides(&mut w);
    assert_eq!(sent(&w, from, w.now.wall).len(), 1);
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config { cases: 24, ..Default::default() })]

    /// Whatever comes in whatever order: each urgent message goes out, and of the others no more than the budget.
    #[test]
    fn f36_a_budget_never_keeps_back_what_is_urgent(
        budget in 0..4_u32,
        urgent in proptest::collection::vec(proptest::prelude::any::<bool>(), 1..8),
    ) {
        let mut w = single(|policy| {
            policy.push.hours.budget = Some(budget);
            policy.push.hours.escalation = Some(vec![]);
            policy.push.repeat_ms = vec![];
        });
        let (mut loud, mut other) = (0, 0);
        for (n, urgent) in urgent.iter().enumerate() {
            let from = w.events.len();
            if *urgent {
                let n = w.add_working(&format!("1{n}"));
                w.tell(n, [asked("k", question("A?"))]);
                w.pass(2 * SECOND);
                loud += 1;
                proptest::prop_assert_eq!(sent(&w, from, w.now.wall).len(), 2);
            } else {
                decides(&mut w);
                other += u32::from(!sent(&w, from, w.now.wall).is_empty());
                w.give(Input::Disk { free: u64::MAX, failing: false }).unwrap();
                w.pass(20 * SECOND);
            }
        }
        proptest::prop_assert!(other <= budget, "{other} of {budget}, {loud} urgent");
    }
}

#[test]
fn each_person_has_a_budget_of_his_own() {
    let mut w = team(|policy| {
        policy.push.hours.budget = Some(1);
        policy.push.hours.escalation = Some(vec![]);
        policy.push.repeat_ms = vec![];
        policy.push.order = vec!["ben".into()];
    });
    // Ana's session has used up hers; what is about no session is Ben's.
    asks(&mut w);
    let from = w.events.len();
    decides(&mut w);
    let sent = sent(&w, from, w.now.wall);
    assert!(sent.contains(&"0 ben-phone".to_owned()), "{sent:?}");
}

#[test]
fn what_no_channel_could_carry_is_told_to_nobody_and_leaves_nothing_due() {
    let mut policy = Policy::with_projects(&["my-app"]);
    policy.channels.clear();
    policy.rules.channels.clear();
    policy.rules.fallback.clear();
    let mut w = World::with(policy.clone());
    w.state.channels.clear();
    w.configure(policy, BTreeMap::new());
    w.add_working("41");
    w.now.wall += SignedDuration::from_mins(5);
    w.start("boot-2");
    w.give(Input::Swept { sessions: 1 }).unwrap();
    // Each tick on the way leaves nothing due: the loop would spin.
    w.pass(MINUTE);
    assert_eq!(w.goes_to(), "");
}

#[test]
fn who_is_gone_from_the_settings_is_called_no_more_and_the_others_are_still_told() {
    let desks = [("desktop", ChannelKind::Desktop), ("team", ChannelKind::Chat)];
    for (kinds, restarts) in
        [(&PHONES[..], false), (&PHONES[..], true), (&desks[..], false), (&desks[..], true)]
    {
        let mut w = team_of(kinds, |policy| policy.push.repeat_ms = vec![]);
        asks(&mut w);
        let told = w.state.notifications.values().last().unwrap();
        assert_eq!(told.call.people, ["ana"]);
        let (mut policy, channels) = with_channels(kinds);
        policy.push.repeat_ms = vec![];
        let (from, start) = (w.events.len(), w.now.wall);
        if restarts {
            w.start("boot-2");
        }
        w.configure(policy, channels);
        w.give(Input::Swept { sessions: 1 }).unwrap();
        w.pass(15 * MINUTE);
        let expected: &[&str] = match kinds.len() {
            2 => &[],
            _ => &["10 ana-phone emergency", "10 ben-phone emergency"],
        };
        let mut calls = sent(&w, from, start);
        calls.sort();
        assert_eq!(calls, expected);
        let before = w.pushes().len();
        w.add_working("42");
        w.tell(2, [asked("k2", question("B?"))]);
        w.pass(2 * SECOND);
        assert_eq!(w.pushes()[before..], ["app-2 asks: B?"], "{} channels", kinds.len());
    }
}

fn silences(w: &mut World, n: u32, minutes: i64) {
    let until = w.now.wall + SignedDuration::from_mins(minutes);
    let (matchers, comment) = (Matchers::session(&app(n)), String::new());
    w.give(Input::SilenceAdd { matchers, until, comment, by: ana() }).unwrap();
}

/// A user in his quiet hours, ten minutes before their end, whom these have asked for something since.
fn after_a_night(sessions: u32) -> (World, usize, Timestamp) {
    let mut w = single(|policy| {
        policy.push.hours = quiet_night(false);
        policy.push.repeat_ms = vec![];
        policy.push.digest.every = DigestEvery::Off;
    });
    for n in 2..=sessions {
        w.add_working(&format!("4{n}"));
    }
    w.pass(2 * 60 * MINUTE);
    let from = w.events.len();
    for n in 1..=sessions {
        w.tell(n, [asked(&format!("k{n}"), question("A?"))]);
        w.pass(MINUTE);
    }
    let end: Timestamp = "2026-11-21T23:00:00Z".parse().unwrap();
    let rest = end.duration_since(w.now.wall) - SignedDuration::from_mins(10);
    // Nothing is stuck meanwhile: it waits for its answer.
    w.pass(u64::try_from(rest.as_millis()).unwrap());
    assert_eq!(sent(&w, from, end), [""; 0]);
    (w, from, end)
}

#[test]
fn what_is_silenced_while_it_waits_for_the_morning_waits_for_the_end_of_the_silence() {
    let (mut w, from, end) = after_a_night(1);
    silences(&mut w, 1, 120);
    w.pass(119 * MINUTE);
    assert_eq!(sent(&w, from, end), [""; 0]);
    w.pass(MINUTE);
    assert_eq!(sent(&w, from, end), ["110 desktop", "110 phone"]);

    // Of two the other is told in the morning, alone.
    let (mut w, from, end) = after_a_night(2);
    silences(&mut w, 1, 120);
    w.pass(20 * MINUTE);
    assert_eq!(sent(&w, from, end), ["0 desktop", "0 phone"]);
    assert!(w.state.notifications.values().all(|told| told.covers.len() == 1));
    w.pass(100 * MINUTE);
    assert_eq!(sent(&w, from, end), ["0 desktop", "0 phone", "110 desktop", "110 phone"]);

    // A human ends it: at once.
    let (mut w, from, end) = after_a_night(1);
    silences(&mut w, 1, 120);
    w.pass(20 * MINUTE);
    let silence = ao_slots::SilenceId(1);
    w.give(Input::SilenceEnd { silence, by: ana() }).unwrap();
    assert_eq!(sent(&w, from, end), ["10 desktop", "10 phone"]);
}

#[test]
fn what_a_silence_kept_for_days_is_not_given_up_at_its_end() {
    let (mut w, from, end) = after_a_night(1);
    silences(&mut w, 1, 48 * 60 + 20);
    w.pass((48 * 60 + 20) * MINUTE);
    let minutes = 48 * 60 + 10;
    assert_eq!(sent(&w, from, end), [format!("{minutes} desktop"), format!("{minutes} phone")]);
}

#[test]
fn what_a_failing_channel_could_not_take_rests_while_it_is_silenced() {
    let mut w = single(|policy| policy.push.repeat_ms = vec![]);
    w.holds_channels = true;
    asks(&mut w);
    for name in ["desktop", "phone"] {
        w.channel_fails(name, ErrorKind::Transient);
    }
    let (from, start) = (w.events.len(), w.now.wall);
    silences(&mut w, 1, 5);
    w.pass(5 * MINUTE - 1);
    assert_eq!(sent(&w, from, start), [""; 0]);
    w.pass(1);
    assert_eq!(sent(&w, from, start), ["5 desktop", "5 phone"]);
}

#[test]
fn what_somebody_took_in_the_night_is_not_told_again_in_the_morning() {
    for (sessions, title) in [(2, "app-2 asks: A?"), (3, "2 need you: app-2 asks: A?")] {
        let (mut w, from, end) = after_a_night(sessions);
        let asks = |w: &World, n| {
            let of = |i: &&crate::state::Incident| i.request.is_some() && i.sessions == [app(n)];
            w.state.incidents.values().find(of).unwrap().id
        };
        let incident = asks(&w, 1);
        w.give(Input::Acknowledge { incident, by: ana() }).unwrap();
        w.pass(9 * 60 * MINUTE);
        let told = sent(&w, from, end);
        let first: Vec<_> = told.iter().filter(|line| line.starts_with("0 ")).collect();
        assert_eq!(first, ["0 desktop", "0 phone"], "{told:?}");
        let told = w.state.notifications.values();
        let told: Vec<_> =
            told.filter(|told| told.deliveries.values().any(|d| d.sent.is_some())).collect();
        let about = |n| told.iter().any(|told| told.covers.contains(&asks(&w, n)));
        assert!(!about(1) && (2..=sessions).all(about), "{told:?}");
        assert!(told.iter().any(|told| told.title == title), "{told:?}");
    }
}

#[test]
fn what_another_incident_explains_calls_nobody_again_while_that_stands() {
    let mut w = team(|policy| policy.push.repeat_ms = vec![]);
    w.add_working("42");
    w.pass(10 * MINUTE + 5 * SECOND);
    let stuck = |w: &World| w.pushes().iter().filter(|title| title.contains("stuck")).count();
    assert_eq!(stuck(&w), 2);
    // The account has no quota: nothing of it can go on.
    let from = w.events.len();
    let until = w.now.wall + SignedDuration::from_hours(5);
    w.tell(2, [Told::RateLimited { until: Some(until) }]);
    w.pass(20 * MINUTE);
    // Everything is looked at once more.
    w.configure(w.state.policy.as_ref().clone(), BTreeMap::new());
    let raised = w.events[from..].iter().filter_map(|event| match &event.kind {
        Kind::NotificationEscalated(e) => w.state.notifications[&e.notification].incident,
        _ => None,
    });
    let mut raised = raised.map(|id| w.state.incidents[&id].trigger);
    assert!(raised.all(|trigger| trigger != Trigger::AgentStuck));
}
