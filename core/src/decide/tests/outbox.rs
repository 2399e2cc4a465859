//! Messages on their way: one at a time on a channel, tried again in time, never twice.

use ao_slots::fact::Priority;
use jiff::SignedDuration;

use super::*;
use crate::state::Progress;

/// A session that asks, and a channel that the test speaks for.
fn asking(capabilities: NotifierCapabilities) -> World {
    let mut w = World::working("41");
    w.configure(w.state.policy.as_ref().clone(), [(desk(), capabilities)].into());
    w.holds_channels = true;
    w.tell(1, [asked("k1", question("A?"))]);
    w.pass(2 * SECOND);
    w
}

fn sending(w: &World) -> Option<&'static str> {
    w.channel_effect().map(|(_, effect)| match effect {
        Effect::SendNotification { again: false, .. } => "send",
        Effect::SendNotification { again: true, .. } => "send again",
        Effect::UpdateNotification { .. } => "update",
        Effect::ResolveNotification { .. } => "resolve",
        _ => "something else",
    })
}

#[track_caller]
fn answers(w: &mut World, result: Result<Outcome, Failure>) {
    let (intent, _) = w.channel_effect().expect("the channel is busy");
    w.give(Input::Effect { intent, result }).unwrap();
}

fn takes(w: &mut World) {
    let (_, effect) = w.channel_effect().expect("the channel is busy");
    answers(w, Ok(usual(&effect)));
}

fn refuses(w: &mut World, kind: ErrorKind) {
    answers(w, Err(failure(kind)));
}

/// Seconds until the channel acts again.
#[track_caller]
fn rest(w: &mut World) -> u64 {
    let before = w.now.awake;
    while sending(w).is_none() {
        w.pass(500);
        assert!(w.now.awake - before < 100 * 60 * MINUTE, "it never acts again");
    }
    (w.now.awake - before).div_ceil(SECOND)
}

#[test]
fn one_message_a_need_then_edits_then_its_end() {
    let mut w = asking(desktop());
    assert_eq!(sending(&w), Some("send"));
    takes(&mut w);
    assert_eq!(sending(&w), None);
    w.give(Input::Acknowledge { incident: "i-1".parse().unwrap(), by: ana() }).unwrap();
    assert_eq!(sending(&w), Some("update"));
    takes(&mut w);
    w.tell(1, [Told::RequestEnded { key: "k1".into() }]);
    w.pass(2 * SECOND);
    assert_eq!(sending(&w), Some("resolve"));
    takes(&mut w);
    w.pass(9 * MINUTE);
    assert_eq!(sending(&w), None);
    let delivery = w.state.notifications.values().next().unwrap().deliveries[&desk()].clone();
    assert_eq!((delivery.shown, delivery.reached), (3, Some(Reached::Delivered)));
}

#[test]
fn what_somebody_took_or_put_off_is_not_sent_any_more() {
    let acknowledge = || Input::Acknowledge { incident: "i-1".parse().unwrap(), by: ana() };
    let until = "2026-11-21T15:00:00Z".parse().unwrap();
    let snooze = || Input::Snooze { incident: "i-1".parse().unwrap(), until, by: ana() };
    for act in [acknowledge(), snooze()] {
        let mut w = asking(desktop());
        refuses(&mut w, ErrorKind::Transient);
        w.give(act).unwrap();
        w.pass(10 * MINUTE);
        assert_eq!(sending(&w), None);
        let told = w.state.notifications.values().next().unwrap();
        assert_eq!(told.deliveries[&desk()].progress, Progress::Dropped);
    }
    // One in doubt is not sent again.
    let mut w = asking(desktop());
    w.give(acknowledge()).unwrap();
    refuses(&mut w, ErrorKind::InDoubt);
    refuses(&mut w, ErrorKind::InDoubt);
    w.pass(MINUTE);
    assert_eq!(sending(&w), None);
    // The end of a snooze is told by a message of its own.
    let mut w = asking(desktop());
    refuses(&mut w, ErrorKind::Transient);
    w.give(snooze()).unwrap();
    w.pass(61 * MINUTE);
    assert_eq!((sending(&w), w.pushes().len()), (Some("send"), 2));
}

#[test]
fn what_changed_while_it_was_sent_is_edited_after() {
    let mut w = asking(desktop());
    w.give(Input::Acknowledge { incident: "i-1".parse().unwrap(), by: ana() }).unwrap();
    assert_eq!(sending(&w), Some("send"), "one effect at a time");
    takes(&mut w);
    assert_eq!(sending(&w), Some("update"));
}

#[test]
fn what_was_settled_before_it_was_sent_is_not_sent() {
    let mut w = asking(desktop());
    refuses(&mut w, ErrorKind::Transient);
    w.tell(1, [Told::RequestEnded { key: "k1".into() }]);
    w.pass(9 * MINUTE);
    assert_eq!(sending(&w), None);
    let settled = w.state.notifications.values().next().unwrap();
    assert_eq!(settled.deliveries[&desk()].progress, crate::state::Progress::Dropped);
}

#[test]
fn a_failing_channel_is_tried_ever_more_seldom_until_it_takes_the_message() {
    let mut w = asking(desktop());
    let mut rests = vec![];
    for _ in 0..10 {
        refuses(&mut w, ErrorKind::Transient);
        rests.push(rest(&mut w));
    }
    // Up to a tenth more, by the message's number.
    let doubled = [1, 2, 4, 8, 16, 32, 64, 128, 256, 300];
    for (found, wanted) in rests.iter().zip(doubled) {
        assert!((wanted..=wanted + wanted / 10 + 1).contains(found), "{rests:?}");
    }
    takes(&mut w);
    assert_eq!(w.state.channels[&desk()].failures, 0);
    assert_eq!(
        w.events.iter().filter(|e| matches!(e.kind, Kind::NotificationOpened(_))).count(),
        1
    );
}

#[test]
fn a_channel_is_untried_or_works_or_fails_since_the_first_message_of_its_kind() {
    let mut w = World::working("41");
    let since = |w: &World| w.state.channels[&desk()].since.map(|when| when.at);
    let tried = |failure| Input::Tried { channel: desk(), failure };
    assert_eq!(since(&w), None, "built, and never tried");
    let mut marks = vec![];
    for failed in [false, false, true, true, false] {
        w.pass(MINUTE);
        w.give(tried(failed.then(|| failure(ErrorKind::Transient)))).unwrap();
        let channel = &w.state.channels[&desk()];
        assert_eq!((channel.error.is_some(), channel.failures > 0), (failed, failed));
        marks.push(since(&w).unwrap());
    }
    assert!(marks[0] == marks[1] && marks[1] < marks[2] && marks[2] == marks[3], "{marks:?}");
    assert_eq!(marks[4], w.now.wall);
    // A message tells as much as a test.
    let mut w = asking(desktop());
    assert_eq!(since(&w), None);
    refuses(&mut w, ErrorKind::Transient);
    assert_eq!(since(&w), Some(w.now.wall));
}

#[test]
fn retry_after_is_kept_to_the_second() {
    let mut w = asking(desktop());
    let asks_for = |ms| Failure { retry_after_ms: Some(ms), ..failure(ErrorKind::Transient) };
    answers(&mut w, Err(asks_for(30_000)));
    w.pass(29_999);
    assert_eq!(sending(&w), None);
    w.pass(1);
    assert_eq!(sending(&w), Some("send"));
    // A time beyond all sense is cut to a day.
    answers(&mut w, Err(asks_for(u64::MAX)));
    assert!(w.state.channels[&desk()].not_before.is_some());
}

#[test]
fn how_long_a_channel_rests_stands_in_the_event_and_is_not_computed_anew() {
    let mut w = asking(desktop());
    let before = w.state.clone();
    refuses(&mut w, ErrorKind::Transient);
    let mut event = w.events.iter().rfind(|e| e.kind.name() == "effect.failed").unwrap().clone();
    let Kind::EffectFailed(failed) = &mut event.kind else { unreachable!() };
    assert!(failed.not_before.is_some() && failed.channel_not_before.is_some());
    let fold = |event: &Event| {
        let mut state = before.clone();
        state.apply(&Event::decode(&event.encode().unwrap()).unwrap());
        let delivery = &state.notifications.values().next().unwrap().deliveries[&desk()];
        (delivery.not_before, state.channels[&desk()].not_before)
    };
    // What other rules would have concluded.
    let years = w.now.wall + SignedDuration::from_hours(50_000);
    (failed.not_before, failed.channel_not_before) = (Some(years), Some(years));
    assert_eq!(fold(&event), (Some(years), Some(years)));
    // Events of the first version do not say it.
    let Kind::EffectFailed(failed) = &mut event.kind else { unreachable!() };
    (failed.not_before, failed.channel_not_before) = (None, None);
    assert!(!String::from_utf8(event.encode().unwrap()).unwrap().contains("not_before"));
    assert_eq!(fold(&event), (None, None));
}

#[test]
fn an_urgent_message_waits_for_a_channel_no_longer_than_half_a_minute() {
    let mut w = asking(desktop());
    for _ in 0..10 {
        refuses(&mut w, ErrorKind::Transient);
        rest(&mut w);
    }
    refuses(&mut w, ErrorKind::Transient);
    w.tell(1, [asked("k2", question("B?"))]);
    assert!(rest(&mut w) <= 20);
}

#[test]
fn a_message_that_alone_is_refused_does_not_hold_up_the_others() {
    let mut w = asking(desktop());
    for _ in 0..2 {
        refuses(&mut w, ErrorKind::Transient);
        rest(&mut w);
    }
    refuses(&mut w, ErrorKind::Transient);
    w.tell(1, [asked("k2", question("B?"))]);
    rest(&mut w);
    let Some((_, Effect::SendNotification { notification, .. })) = w.channel_effect() else {
        panic!("nothing is sent");
    };
    assert_eq!(notification.0, 2, "the fresh one goes first");
    takes(&mut w);
    rest(&mut w);
    assert_eq!(sending(&w), Some("send"));
}

#[test]
fn a_message_that_never_will_be_taken_is_dropped_with_the_reason() {
    for kind in
        [ErrorKind::Permanent, ErrorKind::NotFound, ErrorKind::Refused, ErrorKind::Unsupported]
    {
        let mut w = asking(desktop());
        refuses(&mut w, kind);
        w.pass(10 * MINUTE);
        assert_eq!(sending(&w), None);
        let dropped = w.events.iter().find_map(|event| match &event.kind {
            Kind::DeliveryDropped(e) => Some(e.reason.as_str()),
            _ => None,
        });
        assert_eq!(dropped, Some("the channel refused it"), "{kind:?}");
    }
}

#[test]
fn a_send_in_doubt_is_looked_for_then_repeated_and_marked_when_it_matters() {
    let mut w = asking(desktop());
    refuses(&mut w, ErrorKind::InDoubt);
    assert_eq!(sending(&w), Some("send"), "the same effect: it is looked for");
    assert!(w.state.intents.values().any(|intent| intent.doubt.is_some()));
    let mut found = w.clone();
    takes(&mut found);
    found.pass(10 * MINUTE);
    assert_eq!(sending(&found), None, "found: nothing is sent again");

    refuses(&mut w, ErrorKind::InDoubt);
    rest(&mut w);
    assert_eq!(sending(&w), Some("send again"), "urgent, and the channel cannot tell");

    // A warning is not worth a repetition.
    let mut w = World::idle("41");
    w.holds_channels = true;
    w.pass(16 * MINUTE);
    assert_eq!(w.state.notifications.values().next().unwrap().priority, Priority::Warning);
    refuses(&mut w, ErrorKind::InDoubt);
    refuses(&mut w, ErrorKind::InDoubt);
    w.pass(60 * MINUTE);
    assert_eq!(sending(&w), None);
}

#[test]
fn a_slow_receiver_is_not_flooded_by_what_is_in_doubt() {
    for (idempotent, most) in [(false, 2), (true, usize::MAX)] {
        let mut w = asking(NotifierCapabilities { idempotent, ..desktop() });
        let mut sends = 0;
        for _ in 0..8 {
            if sending(&w).is_none() {
                w.pass(10 * MINUTE);
            }
            // A failure that surely sent nothing in between is no repetition.
            for kind in [ErrorKind::InDoubt, ErrorKind::InDoubt, ErrorKind::Transient] {
                if sending(&w).is_none() {
                    w.pass(10 * MINUTE);
                }
                if sending(&w).is_some() {
                    refuses(&mut w, kind);
                    sends += usize::from(kind == ErrorKind::InDoubt);
                }
            }
        }
        // Each send in doubt is refused twice here: once by itself, once when it was looked for.
        assert_eq!(sends / 2, most.min(8), "idempotent: {idempotent}");
    }
}

#[test]
fn a_send_that_kills_interrupt_is_repeated_until_one_is_taken() {
    let mut w = asking(desktop());
    for _ in 0..6 {
        w.start("boot-1");
        assert!(sending(&w).is_some_and(|what| what.starts_with("send")), "it is looked for");
        refuses(&mut w, ErrorKind::InDoubt);
        rest(&mut w);
        assert_eq!(sending(&w), Some("send again"), "no receiver was slow");
    }
    assert_eq!(w.state.channels[&desk()].failures, 0, "nor did the channel fail");
}

#[test]
fn edits_in_doubt_are_repeated_and_given_up_in_the_end() {
    let mut w = asking(desktop());
    takes(&mut w);
    w.give(Input::Acknowledge { incident: "i-1".parse().unwrap(), by: ana() }).unwrap();
    for _ in 0..9 {
        assert_eq!(sending(&w), Some("update"));
        refuses(&mut w, ErrorKind::Transient);
        if sending(&w).is_none() && !w.state.channels[&desk()].waiting.is_empty() {
            w.pass(6 * MINUTE);
        }
    }
    w.pass(60 * MINUTE);
    assert_eq!(sending(&w), None);
    let delivery = &w.state.notifications.values().next().unwrap().deliveries[&desk()];
    assert_eq!(delivery.progress, crate::state::Progress::Sent, "what was sent stays sent");
}

#[test]
fn an_edit_that_failed_rests_while_its_message_is_snoozed() {
    let mut w = asking(desktop());
    takes(&mut w);
    // What a volatile channel showed is gone with the server that sent it.
    w.start("boot-1");
    w.give(Input::Swept { sessions: 1 }).unwrap();
    assert_eq!(sending(&w), Some("update"));
    refuses(&mut w, ErrorKind::Transient);
    let until = w.now.wall + SignedDuration::from_hours(1);
    w.give(Input::Snooze { incident: "i-1".parse().unwrap(), until, by: ana() }).unwrap();
    // Each tick on the way leaves nothing due: the loop would spin.
    w.pass(59 * MINUTE);
    assert_eq!(sending(&w), None);
    assert_eq!(rest(&mut w), 60);
}

#[test]
fn a_channel_that_cannot_edit_gets_each_need_once() {
    let no_edits = NotifierCapabilities { edits: false, ..desktop() };
    for handle in [None, Some(ChannelHandle("7".into()))] {
        let mut w = asking(no_edits.clone());
        answers(&mut w, Ok(Outcome::Sent { handle, reached: Reached::Accepted }));
        w.give(Input::Acknowledge { incident: "i-1".parse().unwrap(), by: ana() }).unwrap();
        w.give(answer(1, "1")).unwrap();
        w.tell(1, [Told::ToolEnded { request: Some("k1".into()) }]);
        w.pass(9 * MINUTE);
        assert_eq!(sending(&w), None);
        let delivery = &w.state.notifications.values().next().unwrap().deliveries[&desk()];
        assert_eq!(delivery.progress, crate::state::Progress::Sent);
        let given_up =
            w.events.iter().filter(|e| matches!(e.kind, Kind::DeliveryDropped(_))).count();
        assert!(given_up <= 1, "{given_up}");
    }
}

#[test]
fn an_answer_to_an_edit_without_a_handle_keeps_the_old_one() {
    let mut w = asking(desktop());
    takes(&mut w);
    w.give(Input::Acknowledge { incident: "i-1".parse().unwrap(), by: ana() }).unwrap();
    answers(&mut w, Ok(Outcome::Sent { handle: None, reached: Reached::Accepted }));
    w.give(answer(1, "1")).unwrap();
    assert_eq!(sending(&w), Some("update"));
}

#[test]
fn a_message_that_could_not_be_sent_for_a_day_of_trying_is_given_up() {
    let mut w = asking(desktop());
    refuses(&mut w, ErrorKind::Transient);
    // A night in a bag is no trying.
    w.now.wall += SignedDuration::from_hours(72);
    w.tick();
    assert_eq!(sending(&w), Some("send"));
    while w.now.awake < 1_000_000 + 25 * 60 * MINUTE {
        if sending(&w).is_some() {
            refuses(&mut w, ErrorKind::Transient);
        }
        w.pass(5 * MINUTE);
    }
    assert_eq!(sending(&w), None);
}

#[test]
fn the_most_urgent_goes_first() {
    let mut w = World::idle("41");
    w.add_working("42");
    w.holds_channels = true;
    // A warning is being sent when another, a decision and a question come up behind it.
    w.give(Input::ConfigRefused {
        file: "a.yaml".into(),
        reason: Text::short("x"),
        untrusted: false,
    })
    .unwrap();
    w.pass(MINUTE);
    assert!(sending(&w).is_some());
    w.tell(2, [Told::RateLimited { until: Some(w.now.wall + SignedDuration::from_hours(3)) }]);
    w.pass(MINUTE);
    w.give(Input::Disk { free: 1, failing: false }).unwrap();
    w.pass(MINUTE);
    w.tell(2, [asked("k1", question("A?"))]);
    w.pass(2 * SECOND);
    let mut order = vec![];
    while let Some((_, Effect::SendNotification { notification, .. })) = w.channel_effect() {
        order.push(w.state.notifications[&notification].priority);
        takes(&mut w);
    }
    assert_eq!(order, [Priority::Warning, Priority::Urgent, Priority::Action]);
    // The other warning's cause has just gone: it waits to see whether that lasts.
    w.pass(MINUTE);
    assert_eq!(sending(&w), None);
}

#[test]
fn classes_go_by_the_kind_of_channel_and_never_nowhere() {
    let names = ["desktop", "team", "phone", "hook"];
    let kinds = [ChannelKind::Desktop, ChannelKind::Chat, ChannelKind::Phone, ChannelKind::Webhook];
    let all: Vec<ChannelName> = names.iter().map(|name| name.parse().unwrap()).collect();
    let mut policy = Policy::with_projects(&["my-app"]);
    let project = policy.projects.keys().next().unwrap().clone();
    let rules = &mut policy.projects.get_mut(&project).unwrap().rules;
    rules.channels = all.clone();
    let channels: BTreeMap<_, _> = all
        .iter()
        .zip(kinds)
        .map(|(name, kind)| (name.clone(), NotifierCapabilities { kind, ..desktop() }))
        .collect();
    let route = |policy: &Policy, priority| {
        let mut w = World::with(policy.clone());
        w.configure(policy.clone(), channels.clone());
        let decider = Decider::new(&w.state, w.now);
        let named = decider.route(Some(&project), priority, Trigger::AgentStuck);
        named.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(route(&policy, Priority::Urgent), "desktop team phone hook");
    assert_eq!(route(&policy, Priority::Action), "desktop team hook phone", "nobody is there");
    assert_eq!(route(&policy, Priority::Warning), "team hook");
    assert_eq!(route(&policy, Priority::Info), "hook desktop", "a webhook is no human");
    let rules = &mut policy.projects.get_mut(&project).unwrap().rules;
    let gone: ChannelName = "gone".parse().unwrap();
    rules.routing = Some([(Priority::Urgent, vec![all[2].clone(), gone.clone()])].into());
    assert_eq!(route(&policy, Priority::Urgent), "phone");
    let rules = &mut policy.projects.get_mut(&project).unwrap().rules;
    rules.routing = Some([(Priority::Urgent, vec![gone])].into());
    assert_eq!(route(&policy, Priority::Urgent), "desktop");
}

#[test]
fn what_somebody_took_before_it_was_told_calls_nobody_until_it_is_worse() {
    let mut w = World::working("41");
    w.tell(1, [asked("k1", question("A?"))]);
    w.give(Input::Acknowledge { incident: "i-1".parse().unwrap(), by: ana() }).unwrap();
    w.after(5 * MINUTE, &[]);

    let mut w = World::working("41");
    w.give(Input::Disk { free: 1, failing: false }).unwrap();
    w.give(Input::Acknowledge { incident: "i-1".parse().unwrap(), by: ana() }).unwrap();
    w.after(5 * MINUTE, &[]);
    w.give(Input::Disk { free: 0, failing: true }).unwrap();
    w.pass(15 * SECOND);
    assert_eq!(w.pushes().len(), 1, "it has become worse since");

    // An absence that somebody knows of is over, and the next one is told.
    let mut w = World::working("41");
    let absence = |w: &mut World| {
        w.now.wall += SignedDuration::from_mins(5);
        w.start("boot-2");
        w.give(Input::Swept { sessions: 1 }).unwrap();
    };
    absence(&mut w);
    let open = |w: &World| w.state.incidents.values().find(|i| i.resolved.is_none()).map(|i| i.id);
    let incident = open(&w).unwrap();
    w.give(Input::Acknowledge { incident, by: ana() }).unwrap();
    assert_eq!(open(&w), None);
    absence(&mut w);
    w.pass(5 * SECOND);
    assert_eq!(w.pushes().len(), 1);
}

#[test]
fn a_snooze_has_an_end_in_sight() {
    let mut w = World::working("41");
    w.tell(1, [asked("k1", question("A?"))]);
    let until = w.now.wall + SignedDuration::from_hours(24 * 400);
    let snooze = Input::Snooze { incident: "i-1".parse().unwrap(), until, by: ana() };
    w.refused(snooze, "a snooze lasts 366 days at most");
}
