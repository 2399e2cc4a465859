//! What concerns `ao` itself.

use super::*;

fn disk(free_mib: u64, failing: bool) -> Input {
    Input::Disk { free: free_mib << 20, failing }
}

#[test]
fn a_full_disk_refuses_new_sessions_and_is_told_once() {
    let mut w = World::working("41");
    w.check(disk(2_000, false), &[]);
    w.check(disk(310, false), &["opens disk-low"]);
    w.refused(spawn_of("42"), "the disk is nearly full: 310 MiB free");
    w.after(15 * SECOND, &["push: The disk is nearly full: 310 MiB free"]);
    for free in [300, 320, 1_023, 1_030, 900] {
        w.check(disk(free, false), &[]);
        w.pass(5 * SECOND);
    }
    w.check(disk(2_000, false), &["clears i-1 by itself"]);
    w.after(15 * SECOND, &["resolves i-1 by itself", "settles n-1"]);
    assert!(w.give(spawn_of("42")).is_ok());
}

#[test]
fn a_disk_on_which_nothing_can_be_recorded_is_urgent_and_told_again_as_that() {
    let mut w = World::new();
    w.give(disk(310, false)).unwrap();
    w.pass(MINUTE);
    w.check(disk(0, true), &["changes i-1", "settles n-1", "push: The disk is full: 0 B free"]);
    let told = w.state.notifications.values().next_back().unwrap();
    assert_eq!(told.priority, ao_slots::fact::Priority::Urgent);
    w.after(60 * MINUTE, &[]);
}

#[test]
fn a_configuration_that_is_not_used_is_told_and_its_repair_settles_it() {
    let file = "/repo/my-app/agent-orchestrator.yaml".to_owned();
    let refused = |reason: &str| Input::ConfigRefused {
        file: file.clone(),
        reason: Text::short(reason),
        untrusted: false,
    };
    let mut w = World::new();
    w.check(refused("Line 12: notifer is not a setting"), &["opens config-refused"]);
    w.check(refused("Line 12: notifer is not a setting"), &[]);
    w.after(MINUTE, &["push: agent-orchestrator.yaml was changed and is not used"]);
    w.check(Input::ConfigAccepted { file: file.clone() }, &["clears i-1 by itself"]);
    w.after(15 * SECOND, &["resolves i-1 by itself", "settles n-1"]);
    w.check(Input::ConfigAccepted { file }, &[]);
}

#[test]
fn a_tampered_file_is_told_until_somebody_has_seen_it() {
    let mut w = World::new();
    let tampered = Input::Tampered { path: "/data/run/ao".into(), kept: Some("kept-1".into()) };
    w.check(tampered, &["opens tampered"]);
    w.after(2 * SECOND, &["push: ao's own file ao was changed by another program"]);
    w.after(60 * MINUTE, &[]);
    let ack = Input::Acknowledge { incident: "i-1".parse().unwrap(), by: ana() };
    w.check(ack, &["resolves i-1 by ana", "settles n-1"]);
}

#[test]
fn an_absence_is_told_once_after_everything_was_looked_at() {
    let mut w = World::working("41");
    let gone = jiff::SignedDuration::from_mins(12);
    w.now.wall += gone;
    let from = w.events.len();
    w.start("boot-1");
    w.concluded(from, &["opens server-was-away"]);
    w.after(5 * SECOND, &[]);
    w.check(Input::Swept { sessions: 1 }, &[]);
    w.after(
        2 * SECOND,
        &["push: ao was away for 12 min and is back; nothing was lost", "resolves i-1 by itself"],
    );
    let told = w.state.notifications.values().next().unwrap();
    assert!(told.deliveries.values().all(|d| d.sent.is_some()), "told, though it is resolved");
    w.tell(1, [turn_ended("t1")]);
    w.after(10 * MINUTE, &[]);
}

#[test]
fn an_absence_goes_with_the_urgent_that_it_made_late() {
    use ao_slots::fact::Priority;
    let mut w = World::working("41");
    w.holds_channels = true;
    w.now.wall += jiff::SignedDuration::from_mins(12);
    w.start("boot-1");
    w.tell(1, [asked("k1", question("A?"))]);
    w.give(Input::Swept { sessions: 1 }).unwrap();
    w.after(2 * SECOND, &["changes i-1", "push: app-1 asks: A?"]);
    let told = w.state.notifications.values().next().unwrap();
    let absence = w.state.incidents.values().find(|i| i.trigger == Trigger::ServerWasAway).unwrap();
    assert_eq!((told.covers.len(), absence.priority), (2, Priority::Action));
    let message = w.message(told, &desk());
    assert!(!message.buttons.is_empty(), "the one question is answered as ever");
    let body = format!("{:?}", message.body);
    let away = "ao was away for 12 min and is back; 1 message is late.";
    assert!(body.contains(away), "{body}");
    // Told is enough for the absence; the question stays.
    w.holds_channels = false;
    w.check(Input::Tick, &["resolves i-1 by itself"]);
    w.after(MINUTE, &[]);
    w.tell(1, [Told::RequestEnded { key: "k1".into() }]);
    w.after(2 * SECOND, &["resolves i-2 by itself", "settles n-1"]);

    // What is gone before it could be told leaves the absence alone, and that is no call for a decision.
    let mut w = World::working("41");
    w.now.wall += jiff::SignedDuration::from_mins(12);
    w.start("boot-1");
    w.tell(1, [asked("k1", question("A?"))]);
    w.give(Input::Swept { sessions: 1 }).unwrap();
    w.tell(1, [Told::RequestEnded { key: "k1".into() }]);
    w.pass(MINUTE);
    assert_eq!(w.pushes(), ["ao was away for 12 min and is back; nothing was lost"]);
    assert_eq!(w.state.notifications.values().next().unwrap().priority, Priority::Info);
}

#[test]
fn an_absence_is_told_though_a_channel_has_not_taken_the_one_before() {
    let mut w = World::working("41");
    w.holds_channels = true;
    for minutes in [12, 20] {
        w.now.wall += jiff::SignedDuration::from_mins(minutes);
        w.start("boot-1");
        w.give(Input::Swept { sessions: 1 }).unwrap();
        w.pass(2 * SECOND);
    }
    let told = |m| format!("ao was away for {m} min and is back; nothing was lost");
    assert_eq!(w.pushes(), [told(12), told(20)]);
    w.holds_channels = false;
    w.pass(MINUTE);
    assert_eq!(w.pushes().len(), 2);
    assert_eq!(w.state.server.away_ms, None);
    assert!(w.state.incidents.values().all(|incident| incident.resolved.is_some()));
}

#[test]
fn an_idle_hour_before_the_end_is_no_absence() {
    let away = |w: &World| w.state.server.away_ms;
    let mut w = World::working("41");
    w.tell(1, [asked("k1", question("A?"))]);
    w.pass(MINUTE);
    let last = w.state.last_at;
    w.now.wall += jiff::SignedDuration::from_hours(1);
    let alive = w.now.wall - jiff::SignedDuration::from_secs(10);
    let mut said_nothing = w.clone();
    w.start_after("boot-1", Some(alive));
    assert_eq!(away(&w), Some(10_000));
    // What tells less than the journal, or of a time to come, is not believed.
    for (alive, ms) in [(None, 3_660_000), (Some(last), 3_660_000), (Some(alive), 10_000)] {
        let mut w = said_nothing.clone();
        w.start_after("boot-1", alive);
        assert!(away(&w).unwrap().abs_diff(ms) < MINUTE, "{alive:?}: {:?}", away(&w));
    }
    said_nothing.start_after("boot-1", Some(jiff::Timestamp::MAX));
    assert_eq!(away(&said_nothing), Some(0));
}

#[test]
fn a_short_absence_or_one_without_sessions_is_nobodys_business() {
    let mut w = World::working("41");
    w.now.wall += jiff::SignedDuration::from_secs(50);
    w.start("boot-1");
    w.give(Input::Swept { sessions: 1 }).unwrap();
    let mut empty = World::new();
    empty.now.wall += jiff::SignedDuration::from_hours(50);
    empty.start("boot-2");
    empty.give(Input::Swept { sessions: 0 }).unwrap();
    assert_eq!((w.pushes().len(), empty.pushes().len()), (0, 0));
}

#[test]
fn damage_to_the_journal_is_urgent_and_told_once_for_each() {
    let mut w = World::new();
    w.give(Input::Gap { from: 7, to: 8 }).unwrap();
    w.give(Input::Swept { sessions: 0 }).unwrap();
    w.pass(2 * SECOND);
    assert_eq!(w.pushes(), ["ao goes on; 2 events could not be read"]);
    assert!(w.state.incidents.values().all(|i| i.priority == ao_slots::fact::Priority::Urgent));
    // Known damage is not news at the next start.
    w.now.wall += jiff::SignedDuration::from_secs(5);
    w.start("boot-1");
    w.give(Input::Swept { sessions: 0 }).unwrap();
    w.pass(MINUTE);
    assert_eq!(w.pushes().len(), 1);
    assert_eq!(w.state.server.gaps, [(7, 8)]);
}

#[test]
fn an_input_that_broke_a_rule_is_told() {
    let mut w = World::new();
    let file = "01JD.json".to_owned();
    w.give(Input::Quarantined { file, message: Text::short("index out of bounds") }).unwrap();
    w.pass(MINUTE);
    assert_eq!(w.pushes(), ["ao put aside an input that it could not take"]);
}

#[test]
fn a_configuration_that_says_the_same_is_no_event() {
    let mut w = World::new();
    let config = || Input::Config {
        hash: "h".into(),
        policy: Box::new(Policy::with_projects(&["my-app"])),
        channels: BTreeMap::new(),
    };
    w.give(config()).unwrap();
    let before = w.state.last_seq;
    w.give(config()).unwrap();
    assert_eq!(w.state.last_seq, before);
}

#[test]
fn what_is_shown_has_the_deadlines_that_were_derived_once() {
    let mut w = World::working("41");
    let (mut shown, from) = (w.state.clone(), w.events.len());
    w.tell(1, [asked("k1", question("A?"))]);
    w.pass(5 * MINUTE);
    w.give(answer(1, "1")).unwrap();
    for event in &w.events[from..] {
        shown.follow(event, &w.state);
    }
    assert_eq!((shown.next_due(), shown.hash()), (w.state.next_due(), w.state.hash()));
    assert_eq!(shown.dues, w.state.dues);
}
