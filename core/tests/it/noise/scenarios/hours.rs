//! Quiet hours, people, presence and budgets.

use std::collections::BTreeSet;

use ao_core::{
    config::{
        policy::{Day, Hours, Person, Policy, QuietHours},
        trigger::Trigger,
    },
    decide::Input,
};
use ao_slots::{SessionId, fact::Priority::*, notifier::ChannelKind};
use jiff::{civil::time, tz::TimeZone};

use super::super::{
    channels::{carried_by, named},
    people::{self, Habit},
    sim::{HOUR, MINUTE, Sim, question, work},
};

/// From ten in the evening to seven in the morning, where Ana lives.
fn sleeps_in(zone: &'static str) -> impl FnOnce(&mut Policy) {
    move |policy| {
        policy.push.hours = Hours {
            timezone: Some(zone.into()),
            quiet: Some(QuietHours {
                from: time(22, 0, 0, 0),
                to: time(7, 0, 0, 0),
                days: Day::all(),
                urgent: true,
            }),
            ..Hours::default()
        };
    }
}

/// Its work is there and nobody says that it is done: a human decides.
fn finishes(s: &mut Sim, app: &SessionId) {
    s.ends_turn(app);
    s.look(app, work(2, 0));
}

/// Two agents finish in the night, one asks: the question wakes somebody, the rest is told in the morning.
pub(super) fn a_night_of_quiet_hours(s: &mut Sim) {
    let (apps, asks) = (s.spawns(2), s.agent());
    s.moves_to("2026-11-17T22:30:00Z", sleeps_in("UTC"));
    s.people.ana().sleeps = Some((time(23, 0, 0, 0), time(6, 0, 0, 0)));
    for app in &apps {
        finishes(s, app);
        s.need_at("2026-11-18T07:00:00Z", app, Trigger::AgentFinished, Action);
        let wait = s.some(HOUR..2 * HOUR);
        s.pass(wait);
    }
    s.asks(&asks, question());
    s.need(&asks, Trigger::AgentNeedsInput, Urgent);
    let morning = s.until("2026-11-18T07:00:00Z");
    s.pass(morning + HOUR);
}

/// One finishes in the night in which the clock is changed: it is told at seven, by the new time.
fn over_a_change(s: &mut Sim, evening: &str, seven: &str) {
    let app = s.spawn();
    s.moves_to(evening, sleeps_in("Europe/Berlin"));
    let wait = s.some(MINUTE..HOUR);
    s.pass(wait);
    finishes(s, &app);
    s.need_at(seven, &app, Trigger::AgentFinished, Action);
    let morning = s.until(seven);
    s.pass(morning + HOUR);
}

pub(super) fn quiet_hours_when_the_clock_goes_forward(s: &mut Sim) {
    over_a_change(s, "2027-03-27T21:30:00Z", "2027-03-28T05:00:00Z");
}

pub(super) fn quiet_hours_when_the_clock_goes_back(s: &mut Sim) {
    over_a_change(s, "2027-10-30T20:30:00Z", "2027-10-31T06:00:00Z");
}

/// Ana does not react: after ten minutes her phone is as loud as it can be, after twenty it is Bo's turn.
pub(super) fn the_next_person_is_called(s: &mut Sim) {
    s.people.ana().habit = Habit::Never;
    let bo = people::Person { habit: Habit::Prompt, zone: TimeZone::UTC, sleeps: None };
    s.people.0.insert("bo", bo);
    s.channels.add("bo-phone", ChannelKind::Phone, &[("bo", "phone")]);
    carried_by(&mut s.policy, &["desktop", "slack", "phone", "bo-phone"]);
    let person = |channels: &[&str]| Person {
        channels: channels.iter().map(|name| named(name)).collect(),
        ..Person::default()
    };
    s.policy.people = [
        ("ana".to_owned(), person(&["desktop", "phone"])),
        ("bo".to_owned(), person(&["bo-phone"])),
    ]
    .into();
    s.configure();
    let app = s.agent();
    s.asks(&app, question());
    s.need(&app, Trigger::AgentNeedsInput, Urgent);
    let same = app.clone();
    s.after(20 * MINUTE, move |s| {
        s.need_of(&[same], Trigger::AgentNeedsInput, Urgent).person = "bo";
    });
    s.pass(2 * HOUR);
}

/// Five messages a day, and more than that to tell: the rest waits for the digest, what is urgent does not.
pub(super) fn budget_is_used_up(s: &mut Sim) {
    s.policy.push.hours.budget = Some(5);
    s.configure();
    let (apps, asks) = (s.spawns(9), s.agent());
    for (n, app) in apps.iter().enumerate() {
        finishes(s, app);
        // Whoever spawned it is told by the digest of the rest.
        if n < 5 {
            s.need_in(5 * MINUTE, app, Trigger::AgentFinished, Action);
        }
        s.pass(3 * MINUTE);
    }
    s.asks(&asks, question());
    s.need(&asks, Trigger::AgentNeedsInput, Urgent);
    s.pass(20 * HOUR);
    assert!(s.judge.shows.iter().any(|show| show.kind == "digest"), "the rest is told");
}

/// Ana types in that very session: her desktop stays quiet.
pub(super) fn present_in_the_terminal(s: &mut Sim) {
    let app = s.agent();
    let sessions = BTreeSet::from([app.clone()]);
    s.give(Input::Presence { sessions, page: false });
    s.asks(&app, question());
    s.need(&app, Trigger::AgentNeedsInput, Urgent);
    s.pass(30 * MINUTE);
    let desktop = named("desktop");
    assert!(s.judge.shows.iter().all(|show| show.channel != desktop), "she sees it there");
}
