//! When everything is done.

use super::*;

fn finish(w: &mut World, n: u32) {
    w.tell(n, [Told::Completed { text: None }, turn_ended("t1")]);
    w.look(n, work(2, 0));
    while w.effect(n).is_some() {
        w.succeed(n);
    }
}

#[test]
fn a_round_ends_once_and_the_next_spawn_begins_another() {
    let mut w = World::new();
    for issue in ["41", "42", "43"] {
        w.add_working(issue);
    }
    finish(&mut w, 1);
    finish(&mut w, 2);
    w.give(kill(3)).unwrap();
    assert_eq!(w.pushes(), [""; 0]);
    while w.effect(3).is_some() {
        w.succeed(3);
    }
    assert_eq!(w.pushes(), ["All done: 2 done, 1 killed"]);
    w.give(Input::Cleanup { session: app(3), force: false, by: ana() }).unwrap();
    w.pass(60 * MINUTE);
    assert_eq!(w.pushes().len(), 1);
    w.add_working("44");
    finish(&mut w, 4);
    assert_eq!(w.pushes(), ["All done: 2 done, 1 killed", "All done: 1 done"]);
}

#[test]
fn a_round_waits_for_removals_and_for_each_session_of_its_project() {
    let mut w = World::new();
    w.add_working("41");
    w.add_working("42");
    finish(&mut w, 1);
    w.pass(60 * MINUTE);
    assert!(w.pushes().iter().all(|title| !title.starts_with("All done")));
    w.tell(2, [Told::Completed { text: None }, turn_ended("t1")]);
    w.look(2, work(1, 0));
    w.brings(2, Ok(Outcome::Done), &["over Done", "is cleanup", "do remove IfSafe"]);
    // Refused: the workspace stays, and the round is over all the same.
    w.brings(
        2,
        Err(failure(ErrorKind::Refused)),
        &["is done", "round of 2", "push: All done: 2 done"],
    );
}

#[test]
fn only_failed_spawns_are_no_round_and_their_failure_counts_in_the_next() {
    let mut w = World::new();
    w.spawn("41");
    w.fail(1, ErrorKind::Permanent);
    w.pass(60 * MINUTE);
    assert_eq!(w.pushes(), [""; 0]);
    w.add_working("42");
    finish(&mut w, 2);
    assert_eq!(w.pushes(), ["All done: 1 done, 1 failed"]);
}

#[test]
fn a_session_that_only_waits_for_a_merge_does_not_hold_up_the_round() {
    let mut w = World::working("41");
    let pr = ao_slots::fact::PrFacts {
        number: ao_slots::PrNumber(57),
        title: "Dark mode".into(),
        head: "3f9c2d1".into(),
        state: ao_slots::fact::PrState::Open,
        checks: ao_slots::fact::Checks::Passing,
        failing: vec![],
        pending: 0,
        review: ao_slots::fact::Review::None,
        human_threads: 0,
        remarks: 0,
        remark_ids: vec![],
        bot_threads: 0,
        mergeable: ao_slots::fact::Mergeable::Yes,
        discussion: String::new(),
        details: Default::default(),
    };
    w.tell(1, [turn_ended("t1")]);
    w.check(
        Input::Pr { session: app(1), pr },
        &[
            "is mergeable",
            "opens approved-and-green (3f9c2d1)",
            "round of 1",
            "push: All done: 1 waits",
        ],
    );
    let summary = w.state.notifications.values().next_back().unwrap().summary.clone().unwrap();
    // He is asked in a moment: it does not say that he never is.
    assert_eq!(summary.lines, ["#41 PR #57 waits for you · 0 s", "Sum 0 s"]);
    // The merge itself is asked for by a message of its own.
    w.after(24 * 60 * MINUTE, &["push: PR #57 is ready to merge: Dark mode"]);
}

#[test]
fn a_summary_is_quiet_and_goes_to_the_channels_of_action() {
    let mut w = World::working("41");
    finish(&mut w, 1);
    let summary = w.state.notifications.values().next().unwrap();
    assert_eq!(summary.priority, ao_slots::fact::Priority::Info);
    assert_eq!(summary.deliveries.keys().collect::<Vec<_>>(), [&desk()]);
}

#[test]
fn a_round_that_goes_on_for_ever_forgets_whom_the_state_forgets() {
    let mut policy = Policy::with_projects(&["my-app"]);
    policy.retention.age_ms = 60 * MINUTE;
    let mut w = World::with(policy);
    w.spawn("41");
    w.fail(1, ErrorKind::Permanent);
    w.add_working("42");
    w.pass(2 * 60 * MINUTE);
    w.add_working("43");
    assert!(!w.state.sessions.contains_key(&app(1)), "it is long over");
    let round = w.state.rounds.values().next().unwrap();
    assert_eq!(round.sessions, [app(2), app(3)].into());
}
