//! A runtime's server dies, and takes many sessions with it.

use super::*;

/// `n` working sessions, all lost at once.
fn lost(n: u32) -> World {
    let mut w = World::new();
    for issue in 1..=n {
        w.add_working(&issue.to_string());
    }
    w.lose(1..=n);
    w
}

fn restoring(w: &World) -> Vec<u32> {
    let coming = w.state.sessions.values().filter(|session| session.restore.is_some());
    coming.map(|session| session.id.number()).collect()
}

#[test]
fn sessions_come_back_two_at_a_time_and_nobody_is_called() {
    let mut w = lost(5);
    assert_eq!(restoring(&w), [1, 2]);
    for (n, then) in [(1, vec![2, 3]), (2, vec![3, 4]), (3, vec![4, 5]), (4, vec![5]), (5, vec![])]
    {
        // One comes back every 50 s: slow, but it goes on.
        w.pass(50 * SECOND);
        w.comes_back(n);
        assert_eq!(restoring(&w), then);
    }
    w.pass(10 * SECOND);
    assert_eq!(w.pushes(), [""; 0]);
    assert!(w.state.incidents.values().all(|incident| incident.resolved.is_some()));
}

#[test]
fn one_message_names_all_that_did_not_come_back() {
    let mut w = lost(20);
    for n in 1..=16 {
        w.comes_back(n);
    }
    for n in 17..=20 {
        w.fail(n, ErrorKind::Permanent);
    }
    w.pass(10 * MINUTE);
    assert_eq!(w.pushes(), ["4 of 20 agents did not come back: the tmux server died"]);
    let incident = w.state.incidents.values().find(|i| i.trigger == Trigger::RuntimeLost).unwrap();
    let names: Vec<u32> = incident.sessions.iter().map(SessionId::number).collect();
    assert_eq!(names, [17, 18, 19, 20]);
    assert_eq!(w.state.incidents.len(), 1, "no message of their own");

    // A human brings them back, one fails again: edits, no second call.
    for n in 17..=20 {
        w.give(restore(n)).unwrap();
    }
    for n in 17..=19 {
        w.comes_back(n);
    }
    w.fail(20, ErrorKind::Permanent);
    w.pass(10 * MINUTE);
    assert_eq!(w.pushes().len(), 1);
    let incident = w.state.incidents.values().next().unwrap();
    assert_eq!(incident.sessions, [app(20)]);
    assert!(incident.is_open());

    w.give(kill(20)).unwrap();
    w.pass(MINUTE);
    assert!(w.state.incidents.values().next().unwrap().resolved.is_some());
}

#[test]
fn patience_ends_when_none_came_back_for_a_minute() {
    let mut w = lost(3);
    w.after(59 * SECOND, &[]);
    w.pass(SECOND);
    assert_eq!(w.pushes(), ["3 agents did not come back: the tmux server died"]);
    w.pass(5 * MINUTE);
    w.comes_back(1);
    w.comes_back(2);
    w.comes_back(3);
    w.after(2 * SECOND, &["resolves i-1 by ao", "settles n-1"]);
}

#[test]
fn an_agent_that_ends_again_while_it_comes_back_is_part_of_the_same_loss() {
    let mut w = lost(1);
    w.succeed(1);
    w.see(1, RuntimeState::Exited { code: Some(127) });
    w.pass(MINUTE);
    assert_eq!(w.pushes(), ["app-1 did not come back: the tmux server died"]);
    assert_eq!(w.state.incidents.len(), 1);
}

#[test]
fn lost_again_soon_after_is_told_and_not_tried_again() {
    let mut w = lost(1);
    w.comes_back(1);
    w.pass(5 * MINUTE);
    w.lose([1]);
    assert_eq!(restoring(&w), [0; 0]);
    w.pass(2 * SECOND);
    assert_eq!(w.pushes(), ["app-1 did not come back: the tmux server died"]);
}

#[test]
fn a_second_loss_counts_only_whom_it_took() {
    let mut policy = Policy::with_projects(&["my-app"]);
    policy.lifecycle.settle.urgent_ms = 10 * SECOND;
    let mut w = World::with(policy);
    w.add_working("41");
    w.add_working("42");
    w.lose([1, 2]);
    w.comes_back(1);
    w.comes_back(2);
    // The loss is over, and has not been for so long that another is another incident.
    w.pass(SECOND);
    w.lose([1]);
    w.pass(2 * MINUTE);
    assert_eq!(w.state.incidents.len(), 1);
    assert_eq!(w.pushes(), ["app-1 did not come back: the tmux server died"]);
}

#[test]
fn what_cannot_resume_is_told_and_what_is_being_killed_is_not_restored() {
    let mut w = World::working("41");
    w.add_working("42");
    let mut no_resume = w.clone();
    // An agent that has no earlier conversation to go on with.
    no_resume.state.sessions.get_mut(&app(1)).unwrap().resumable = false;
    no_resume.lose([1]);
    no_resume.pass(2 * SECOND);
    assert_eq!(no_resume.pushes(), ["app-1 did not come back: the tmux server died"]);

    w.give(kill(1)).unwrap();
    w.lose([1]);
    assert_eq!(restoring(&w), [0; 0]);
}

#[test]
fn without_the_automatic_answer_a_human_is_told_at_once() {
    let mut policy = Policy::with_projects(&["my-app"]);
    let rules = &mut policy.projects.values_mut().next().unwrap().rules;
    rules.reactions.get_mut(&Trigger::RuntimeLost).unwrap().auto = false;
    let mut w = World::with(policy);
    w.add_working("41");
    w.lose([1]);
    assert_eq!(restoring(&w), [0; 0]);
    w.pass(2 * SECOND);
    assert_eq!(w.pushes(), ["app-1 did not come back: the tmux server died"]);
    // A human's restore is being done, then settled.
    w.check(restore(1), &["is spawning", "do resume 2"]);
    w.succeed(1);
    w.tell(1, [started()]);
    w.pass(2 * SECOND);
    assert!(w.state.incidents.values().all(|incident| incident.resolved.is_some()));
}

#[test]
fn an_agents_own_end_is_no_loss_of_its_runtime() {
    let mut w = lost(1);
    w.comes_back(1);
    w.pass(MINUTE);
    w.see(1, RuntimeState::Exited { code: Some(1) });
    w.pass(2 * SECOND);
    assert_eq!(w.pushes(), ["app-1 stopped: exited with code 1"]);
}

#[test]
fn a_loss_that_is_told_late_is_still_a_loss() {
    let mut w = World::working("41");
    w.see(1, RuntimeState::Missing);
    assert_eq!(restoring(&w), [0; 0]);
    w.lose([1]);
    assert_eq!(restoring(&w), [1]);
    w.pass(MINUTE / 2);
    assert_eq!(w.pushes(), [""; 0]);
}

#[test]
fn what_is_lost_again_so_soon_is_told_while_others_still_come_back() {
    for (threshold, pushed) in [(10 * MINUTE, 1), (0, 0)] {
        let mut w = World::new();
        let mut policy = w.state.policy.as_ref().clone();
        for rules in policy.projects.values_mut().map(|p| &mut p.rules).chain([&mut policy.rules]) {
            let reaction = rules.reactions.get_mut(&Trigger::RuntimeLost).unwrap();
            reaction.threshold_ms = Some(threshold);
        }
        w.configure(
            policy,
            w.state
                .channels
                .iter()
                .filter_map(|(n, c)| Some((n.clone(), c.capabilities.clone()?)))
                .collect(),
        );
        for issue in 1..=2 {
            w.add_working(&issue.to_string());
        }
        w.lose([1]);
        w.comes_back(1);
        w.pass(5 * MINUTE);
        // The second is new to it and comes back meanwhile; the first is not tried twice.
        w.lose([1, 2]);
        assert_eq!(restoring(&w), [2]);
        w.pass(10 * SECOND);
        assert_eq!(w.pushes().len(), pushed, "{:?}", w.pushes());
    }
}

#[test]
fn who_was_lost_again_so_soon_is_brought_back_once_that_is_long_enough_ago() {
    let mut w = lost(1);
    w.comes_back(1);
    w.pass(MINUTE);
    w.lose([1]);
    let again = w.state.policy.lifecycle.restore_again_after_ms;
    let last = w.session(1).restores.last().unwrap().awake;
    w.pass(last + again - 1 - w.now.awake);
    assert_eq!(restoring(&w), [0; 0]);
    w.pass(1);
    assert_eq!(restoring(&w), [1]);
}
