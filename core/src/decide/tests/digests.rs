//! The digest: what is not urgent in one message, and counts that match the log.

use jiff::{Timestamp, civil::time};

use super::{fallback::with_channels, *};
use crate::config::policy::{Digest, DigestEvery, Hours, Policy};

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// A desktop and a mailbox; by default what is not urgent goes to the mailbox at 08:00.
fn office(change: impl Fn(&mut Policy)) -> World {
    let kinds = [("desktop", ChannelKind::Desktop), ("mail", ChannelKind::Mail)];
    let (mut policy, channels) = with_channels(&kinds);
    policy.push.hours = Hours { timezone: Some("UTC".into()), ..Hours::default() };
    policy.push.repeat_ms = vec![];
    change(&mut policy);
    let mut w = World::with(policy.clone());
    w.configure(policy, channels);
    w
}

fn passes(w: &mut World, until: &str) {
    let wait = at(until).duration_since(w.now.wall).as_millis();
    w.pass(u64::try_from(wait).unwrap());
}

/// Title, channels and time of each digest.
fn digests(w: &World) -> Vec<(String, String, Timestamp)> {
    let digests = w.events.iter().filter_map(|event| match &event.kind {
        Kind::NotificationOpened(e) if e.summary.as_ref().is_some_and(|s| s.kind == "digest") => {
            let channels: Vec<_> = e.channels.iter().map(ToString::to_string).collect();
            Some((e.title.clone(), channels.join(" "), event.at))
        }
        _ => None,
    });
    digests.collect()
}

fn body(w: &World) -> Vec<String> {
    let told = w.state.notifications.values().rev().find_map(|told| told.summary.clone());
    let summary = told.unwrap();
    let parts = summary.parts.into_iter().flat_map(|part| [vec![part.title], part.lines].concat());
    parts.chain(summary.lines).collect()
}

/// Something to know: `ao` was away.
fn absence(w: &mut World) {
    w.now.wall += jiff::SignedDuration::from_mins(5);
    w.start("boot-2");
    let sessions = u32::try_from(w.state.sessions.len()).unwrap();
    w.give(Input::Swept { sessions }).unwrap();
    w.pass(3 * SECOND);
}

#[test]
fn f11_what_is_not_urgent_waits_for_the_morning_and_comes_in_one_message() {
    let mut w = office(|_| ());
    w.add_working("41");
    for _ in 0..3 {
        absence(&mut w);
    }
    assert_eq!(w.pushes(), [""; 0]);
    assert!(w.state.incidents.values().all(|i| i.resolved.is_some()), "told is enough");
    passes(&mut w, "2026-11-22T07:59:59Z");
    assert_eq!(digests(&w), []);
    w.pass(SECOND);
    let [(title, channels, when)] = &digests(&w)[..] else { panic!("{:?}", digests(&w)) };
    assert_eq!((channels.as_str(), *when), ("mail", at("2026-11-22T08:00:00Z")));
    assert!(title.contains("3 to know"), "{title}");
    let body = body(&w);
    assert_eq!(body.last().unwrap(), "Next digest Mon 08:00");
    // Nothing more came up but what is open: no other digest.
    let before = digests(&w).len();
    passes(&mut w, "2026-11-24T09:00:00Z");
    assert_eq!(digests(&w).len(), before);
}

#[test]
fn five_hundred_things_to_know_are_one_digest_whose_counts_match_the_log() {
    let mut w = office(|_| ());
    w.add_working("41");
    w.give(kill(1)).unwrap();
    while w.effect(1).is_some() {
        w.succeed(1);
    }
    // Each absence of more than a minute is news.
    for _ in 0..500 {
        w.now.wall += jiff::SignedDuration::from_secs(65);
        w.start("boot-2");
        w.give(Input::Swept { sessions: 0 }).unwrap();
        w.pass(2 * SECOND);
    }
    let logged = w.events.iter().filter(|e| e.kind.name() == "notification.held").count();
    assert_eq!(logged, 500);
    passes(&mut w, "2026-11-22T08:00:01Z");
    let [(title, ..)] = &digests(&w)[..] else { panic!("{:?}", digests(&w)) };
    assert!(title.starts_with("1 finished, ") && title.contains("500 to know"), "{title}");
    let body = body(&w);
    assert!(body.contains(&"To know (500)".to_owned()), "{body:?}");
    assert!(body.contains(&"and 475 more".to_owned()), "{body:?}");
}

#[test]
fn a_channel_without_a_digest_gets_each_at_once_and_quietly() {
    let mut w = office(|policy| {
        policy.push.channel_digests.insert("mail".parse().unwrap(), DigestEvery::Off);
        policy.rules.routing =
            Some([(ao_slots::fact::Priority::Info, vec!["mail".parse().unwrap()])].into());
    });
    w.add_working("41");
    absence(&mut w);
    assert_eq!(w.pushes(), ["ao was away for 5 min and is back; nothing was lost"]);
    let told = w.state.notifications.values().last().unwrap();
    assert!(w.message(told, &"mail".parse().unwrap()).quiet);
    assert_eq!(w.goes_to(), "mail");
}

#[test]
fn a_digest_may_be_hourly_and_wanted_empty() {
    let mut w = office(|policy| {
        policy.push.digest =
            Digest { every: DigestEvery::Hourly, at: time(8, 30, 0, 0), empty: true };
    });
    let start = w.now.wall;
    w.pass(3 * 60 * MINUTE);
    let times: Vec<_> =
        digests(&w).iter().map(|(.., when)| when.duration_since(start).as_mins()).collect();
    assert_eq!(times, [30, 90, 150]);
    assert_eq!(digests(&w)[2].0, "Nothing happened since Sat 15:30. ao is well.");
}

#[test]
fn a_human_may_have_it_now() {
    let mut w = office(|_| ());
    w.check(Input::DigestNow { by: ana() }, &["push: Nothing happened. ao is well."]);
    assert_eq!(digests(&w)[0].1, "mail");
    w.pass(60 * MINUTE);
    assert_eq!(digests(&w).len(), 1);
    let mut w = office(|policy| policy.push.digest.every = DigestEvery::Off);
    let why = "no channel gets a digest: each gets everything at once";
    w.refused(Input::DigestNow { by: ana() }, why);
}

#[test]
fn what_a_budget_and_quiet_hours_held_back_is_in_the_digest() {
    let mut w = office(|policy| policy.push.hours.budget = Some(0));
    w.add_working("41");
    w.give(Input::Disk { free: 1, failing: false }).unwrap();
    w.pass(MINUTE);
    passes(&mut w, "2026-11-22T08:00:01Z");
    let [(title, ..)] = &digests(&w)[..] else { panic!("{:?}", digests(&w)) };
    assert!(title.contains("1 over the day's budget"), "{title}");
    let body = body(&w);
    assert!(body.iter().any(|line| line.starts_with("The disk is nearly full")), "{body:?}");
    assert!(body[0].starts_with("Wants you"), "what wants somebody is read first: {body:?}");
}

#[test]
fn a_restart_keeps_what_the_digest_will_tell() {
    let mut w = office(|_| ());
    w.add_working("41");
    absence(&mut w);
    let json = serde_json::to_string(&w.state).unwrap();
    w.state = serde_json::from_str(&json).unwrap();
    w.state.reindex();
    passes(&mut w, "2026-11-22T08:00:01Z");
    assert_eq!(digests(&w).len(), 1);
}

#[test]
fn what_is_put_off_and_not_urgent_is_left_to_the_digest_again() {
    let mut w = office(|policy| {
        for project in policy.projects.values_mut() {
            let reaction = project.rules.reactions.get_mut(&Trigger::AgentNeedsInput).unwrap();
            reaction.priority = ao_slots::fact::Priority::Info;
        }
    });
    w.add_working("41");
    w.tell(1, [asked("k1", question("A?"))]);
    w.pass(2 * MINUTE);
    let until = w.now.wall + jiff::SignedDuration::from_mins(10);
    w.give(Input::Snooze { incident: "i-1".parse().unwrap(), until, by: ana() }).unwrap();
    // Each tick on the way leaves nothing due.
    w.after(20 * MINUTE, &["holds i-1: app-1 asks: A?"]);
    assert_eq!(w.state.incidents.values().next().unwrap().snoozed, None);
    passes(&mut w, "2026-11-22T08:00:01Z");
    assert_eq!(digests(&w).len(), 1);
    assert_eq!(w.pushes().len(), 1);
}
