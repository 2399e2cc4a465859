//! What is judged by time.

use super::*;
use crate::config::policy::PluginChoice;

#[test]
fn a_turn_in_which_nothing_moves_is_stuck_after_ten_minutes() {
    let mut w = World::working("41");
    w.after(10 * MINUTE - 1, &[]);
    w.after(1, &["opens agent-stuck", "is stuck"]);
    w.after(2 * SECOND, &["push: app-1 is stuck: no progress for 10 min"]);
    w.hears(1, [Told::Alive], &["clears i-1 by itself", "is working"]);
    w.after(2 * SECOND, &["resolves i-1 by itself", "settles n-1"]);
    w.after(9 * MINUTE, &[]);
}

#[test]
fn a_running_command_has_half_an_hour_and_is_named() {
    let mut w = World::working("41");
    let command = Some(Text::short("npm test"));
    w.tell(1, [Told::ToolStarted { tool: "Bash".into(), command }]);
    w.after(30 * MINUTE - SECOND, &[]);
    w.pass(5 * MINUTE);
    assert_eq!(w.pushes(), ["app-1 is stuck: \"npm test\" runs for 30 min"]);
}

#[test]
fn what_moves_asks_or_has_ended_its_turn_is_never_stuck() {
    let mut w = World::working("41");
    for minute in 0..25 {
        w.look(1, work(minute, 0));
        w.pass(MINUTE);
    }
    assert_eq!(w.pushes(), [""; 0]);
    let mut w = World::idle("41");
    w.look(1, work(0, 1));
    w.pass(14 * MINUTE);
    assert_eq!(w.pushes(), [""; 0]);
    let mut w = World::working("41");
    w.tell(1, [asked("k1", question("A?"))]);
    w.pass(10 * 60 * MINUTE);
    assert_eq!(w.pushes(), ["app-1 asks: A?"]);
}

#[test]
fn the_first_look_into_a_workspace_is_no_movement() {
    let mut w = World::working("41");
    w.pass(9 * MINUTE);
    w.look(1, work(0, 0));
    w.after(MINUTE, &["opens agent-stuck", "is stuck"]);
}

fn moves(w: &World) -> usize {
    w.events.iter().filter(|event| matches!(event.kind, Kind::ProgressObserved(_))).count()
}

#[test]
fn an_agent_that_tells_nothing_and_writes_is_not_stuck_and_costs_few_events() {
    let mut w = World::quiet("41");
    for _ in 0..60 * 12 {
        w.pass(5 * SECOND);
        w.wrote(1, w.now.wall - jiff::SignedDuration::from_millis(300));
    }
    assert_eq!(w.session(1).status, crate::state::Status::Working);
    assert_eq!(moves(&w), 24, "four a limit, in an hour");
}

#[test]
fn what_an_agent_wrote_last_is_what_its_limit_counts_from() {
    let mut w = World::quiet("41");
    w.pass(MINUTE);
    let last = w.now.wall;
    // Seen by a sweep now and then, also by one after a restart of the server.
    for sweep in 0..22 {
        w.wrote(1, last);
        w.pass(30 * SECOND);
        assert_eq!(moves(&w), usize::from(sweep >= 3), "{sweep}");
        assert_eq!(w.session(1).status == crate::state::Status::Stuck, sweep >= 19, "{sweep}");
    }
    assert_eq!(w.session(1).progress.at, last);
    assert_eq!(w.pushes(), ["app-1 is stuck: no progress for 10 min"]);
    let from = w.events.len();
    w.wrote(1, w.now.wall);
    w.concluded(from, &["clears i-1 by itself", "is working"]);
}

#[test]
fn output_before_a_sleep_raises_no_alarm_after_it() {
    let mut w = World::quiet("41");
    w.pass(2 * MINUTE);
    let last = w.now.wall;
    w.now.wall += jiff::SignedDuration::from_hours(8);
    w.pass(MINUTE);
    w.wrote(1, last);
    w.after(9 * MINUTE, &[]);
}

#[test]
fn output_of_an_agent_that_signals_counts_only_while_its_tool_runs() {
    let mut w = World::working("41");
    for _ in 0..11 {
        w.pass(MINUTE);
        w.wrote(1, w.now.wall);
    }
    assert_eq!(w.pushes(), ["app-1 is stuck: no progress for 10 min"]);
    assert_eq!(moves(&w), 0);
    let mut w = World::working("41");
    w.look(1, work(1, 0));
    w.tell(1, [Told::ToolStarted { tool: "Bash".into(), command: None }]);
    for _ in 0..90 {
        w.pass(MINUTE);
        w.wrote(1, w.now.wall);
    }
    assert_eq!(w.pushes(), [""; 0]);
}

#[test]
fn a_stuck_agent_is_started_again_on_request() {
    let mut w = World::working("41");
    w.pass(11 * MINUTE);
    w.check(restore(1), &["is spawning", "do end 1", "edits n-1"]);
    w.brings(1, Ok(Outcome::Done), &["do resume 2"]);
}

#[test]
fn an_ended_turn_with_nothing_after_it_is_idle_after_a_quarter_of_an_hour() {
    let mut w = World::idle("41");
    w.look(1, work(3, 2));
    w.after(15 * MINUTE, &["opens agent-idle"]);
    w.after(MINUTE, &["push: app-1 ended its turn 15 min ago; nothing followed"]);
    w.hears(1, [turn_started("t2")], &["is working", "clears i-1 by itself"]);
    w.after(15 * SECOND, &["resolves i-1 by itself", "settles n-1"]);
}

#[test]
fn evidence_without_a_claim_looks_finished_after_five_minutes() {
    let mut w = World::idle("41");
    w.look(1, work(3, 0));
    w.after(5 * MINUTE, &["opens agent-finished"]);
    w.after(15 * SECOND, &["push: app-1 looks finished: 3 commits"]);
    w.after(60 * MINUTE, &[]);
    w.check(done(1), &["do end 1", "clears i-1 by ana", "resolves i-1 by ana", "settles n-1"]);
}

#[test]
fn half_an_hour_of_work_without_a_commit_or_a_pr_is_told() {
    let busy = |w: &mut World, minutes: u64| {
        for _ in 0..minutes {
            w.tell(1, [Told::Alive]);
            w.pass(MINUTE);
        }
    };
    let mut w = World::working("41");
    busy(&mut w, 32);
    assert_eq!(w.pushes(), ["app-1 works for 30 min and has no commit yet"]);
    let mut w = World::working("41");
    w.look(1, work(1, 0));
    busy(&mut w, 40);
    assert_eq!(w.pushes(), [""; 0], "a commit is something to show where there is no scm");

    // Where nobody asked for pull requests, none is missed.
    let scm = |settings| PluginChoice { plugin: "local".into(), settings };
    for (scm, missed) in [
        (PluginChoice::of("github"), &["app-1 works for 30 min and has no PR yet"][..]),
        (scm(serde_json::json!({"autoOpen": false})), &[]),
    ] {
        let mut policy = Policy::with_projects(&["my-app"]);
        policy.projects.values_mut().next().unwrap().scm = Some(scm);
        let mut w = World::with(policy);
        w.add_working("41");
        w.look(1, work(1, 0));
        busy(&mut w, 32);
        assert_eq!(w.pushes(), missed);
    }
}

#[test]
fn an_agent_that_gives_no_sign_is_told_of_once() {
    let mut w = World::working("41");
    w.hears(1, [Told::NoSignal], &["is unknown", "opens agent-stuck (no-signal)"]);
    w.after(2 * SECOND, &["push: app-1 cannot be observed"]);
    w.after(20 * MINUTE, &[]);
    w.hears(1, [Told::Alive], &["is working", "clears i-1 by itself"]);

    let mut w = World::working("41");
    w.see(1, RuntimeState::Unknown);
    w.after(9 * MINUTE, &[]);
    w.pass(2 * MINUTE);
    assert_eq!(w.pushes(), ["app-1 cannot be observed"]);
    w.see(1, RuntimeState::Alive);
    w.tell(1, [Told::Alive]);
    w.pass(2 * SECOND);
    assert!(w.state.incidents.values().all(|incident| incident.resolved.is_some()));
}

#[test]
fn a_quota_that_is_back_soon_is_nobodys_business_and_the_agent_goes_on() {
    let mut w = World::working("41");
    let until = Some(w.now.wall + jiff::SignedDuration::from_mins(20));
    w.hears(1, [Told::RateLimited { until }], &["is rate_limited"]);
    w.after(20 * MINUTE - SECOND, &[]);
    w.after(SECOND, &["queues m-2", "is idle", "do type m-2"]);
    assert_eq!(w.pushes(), [""; 0]);
}

#[test]
fn a_quota_that_lasts_longer_than_configured_is_told_once() {
    let mut w = World::working("41");
    let until = Some(w.now.wall + jiff::SignedDuration::from_hours(3));
    w.hears(1, [Told::RateLimited { until }], &["is rate_limited", "opens rate-limited"]);
    w.after(MINUTE, &["push: app-1 waits for quota"]);
    // Named anew each minute, it is still the same wait.
    for minute in 0..5 {
        let until = until.map(|at| at + jiff::SignedDuration::from_secs(minute));
        w.tell(1, [Told::RateLimited { until }]);
        w.pass(MINUTE);
    }
    assert_eq!(w.pushes().len(), 1);
    w.hears(1, [turn_started("t2")], &["is working", "clears i-1 by itself"]);

    let mut w = World::working("41");
    w.tell(1, [Told::RateLimited { until: None }]);
    w.after(30 * MINUTE, &["opens rate-limited"]);
    w.after(MINUTE, &["push: app-1 waits for quota"]);
}

/// A turn that failed has ended: the agent stands at its prompt, and what a human says makes it try again.
#[test]
fn a_message_of_a_human_reaches_an_agent_that_could_not_go_on() {
    let text = Text::short("529 overloaded");
    let down = Told::Failed { kind: ao_slots::fact::AgentErrorKind::ProviderDown, text };
    for refused in [Told::RateLimited { until: None }, down] {
        let mut w = World::working("41");
        w.tell(1, [refused]);
        w.pass(10 * MINUTE);
        w.check(send(1, "try again"), &["do type m-2"]);
        w.tell(1, [turn_started("t2")]);
        assert_eq!(w.session(1).status, crate::state::Status::Working);
    }
}
