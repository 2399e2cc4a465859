//! What an agent asks, what a human answers, and what is said to an agent.

use ao_slots::fact::AgentErrorKind;

use super::*;
use crate::state::Fate;

const SHIPPING: &str = "Should a coupon also apply to shipping?";

fn asking() -> World {
    let mut w = World::working("41");
    w.tell(1, [asked("k1", question(SHIPPING))]);
    w
}

#[test]
fn a_question_calls_a_human_after_the_settle_time_and_an_answer_settles_it() {
    let mut w = World::working("41");
    w.hears(
        1,
        [asked("k1", question(SHIPPING))],
        &["is needs_input", "opens agent-needs-input (question)"],
    );
    w.after(1_999, &[]);
    w.after(1, &["push: app-1 asks: Should a coupon also apply to shipping?"]);
    w.after(60 * MINUTE, &[]);
    w.check(answer(1, "Items only"), &["do decide r-1", "edits n-1"]);
    w.brings(1, Ok(Outcome::Done), &[]);
    let ended = Told::ToolEnded { request: Some("k1".into()) };
    w.hears(1, [ended], &["is working", "clears i-1 by ana", "resolves i-1 by ana", "settles n-1"]);
    assert_eq!(w.session(1).asked, 1);
}

#[test]
fn what_is_answered_within_the_settle_time_calls_nobody() {
    let mut w = asking();
    w.pass(1_500);
    w.tell(1, [Told::RequestEnded { key: "k1".into() }]);
    w.pass(60 * SECOND);
    assert_eq!(w.pushes(), [""; 0]);
}

#[test]
fn a_cause_that_comes_and_goes_calls_nobody_and_one_that_stays_calls_once() {
    let mut w = World::working("41");
    let idle = Told::Observed { activity: Activity::Idle };
    let waits = Told::Observed { activity: Activity::WaitingInput };
    for _ in 0..20 {
        w.tell(1, [waits.clone()]);
        w.pass(900);
        w.tell(1, [idle.clone()]);
        w.pass(900);
    }
    assert_eq!(w.pushes(), [""; 0]);
    w.tell(1, [waits]);
    w.pass(60 * MINUTE);
    assert_eq!(w.pushes(), ["app-1 asks something in its terminal"]);
    let opened = w.events.iter().filter(|e| matches!(e.kind, Kind::IncidentOpened(_))).count();
    assert_eq!(opened, 1, "one episode");
}

#[test]
fn a_request_told_a_thousand_times_is_one_question() {
    let mut w = World::working("41");
    for _ in 0..1_000 {
        let answered = w.tell(1, [asked("k1", question(SHIPPING))]);
        assert_eq!(answered.request.map(|id| id.0), Some(1));
    }
    w.pass(60 * SECOND);
    assert_eq!(w.pushes().len(), 1);
}

#[test]
fn a_request_that_is_told_of_and_ended_in_one_breath_is_over() {
    let mut w = World::working("41");
    w.tell(1, [asked("k1", question("A?")), Told::RequestEnded { key: "k1".into() }]);
    w.tell(1, [turn_started("t2"), turn_ended("t2")]);
    assert!(w.session(1).open_requests().next().is_none());
    assert_eq!(w.session(1).status, crate::state::Status::Idle);
    w.pass(60 * SECOND);
    assert_eq!(w.pushes(), [""; 0]);
}

#[test]
fn each_of_two_requests_has_its_own_message() {
    let mut w = World::working("41");
    w.tell(1, [asked("k1", permission("npm publish")), asked("k2", question("Which?"))]);
    w.pass(2 * SECOND);
    assert_eq!(w.pushes(), ["app-1 wants to run: npm publish", "app-1 asks: Which?"]);
    w.hears(1, [Told::RequestEnded { key: "k2".into() }], &["is blocked", "clears i-2 by itself"]);
    w.check(decision(1, Decision::Approve), &["do decide r-1", "edits n-1"]);
}

#[test]
fn a_decision_is_handed_over_once_whatever_comes_of_it() {
    for kind in [ErrorKind::Transient, ErrorKind::Permanent, ErrorKind::InDoubt] {
        let mut w = asking();
        w.pass(2 * SECOND);
        w.check(answer(1, "Items only"), &["do decide r-1", "edits n-1"]);
        w.fail(1, kind);
        if kind == ErrorKind::InDoubt {
            w.fail(1, kind);
        }
        assert_eq!(w.effect(1), None);
        w.after(60 * MINUTE, &[]);
        // A human may decide anew, and it is handed over once more.
        w.check(answer(1, "2"), &["do decide r-1", "edits n-1"]);
    }
}

#[test]
fn answers_that_come_too_late_or_do_not_fit_are_refused_in_words() {
    let mut w = World::working("41");
    w.refused(answer(1, "Items only"), "app-1 asks nothing now");
    w.tell(1, [asked("k1", question(SHIPPING))]);
    w.refused(decision(1, Decision::Approve), "app-1 does not wait for that");
    w.refused(answer(7, "x"), "there is no session app-7 (did you mean app-1?)");
    w.give(answer(1, "Items only")).unwrap();
    w.refused(
        answer(1, "Items and shipping"),
        "app-1 is already answered, by ana; nothing was done twice",
    );
    w.tell(1, [Told::ToolEnded { request: Some("k1".into()) }]);
    w.refused(answer(1, "2"), "app-1 asks nothing now; ana answered it");
    let late = w.give(answer(1, "2")).unwrap_err();
    let decided = w.session(1).requests.values().next().unwrap().decided.clone().unwrap();
    assert_eq!(late.at, Some(decided.when.at), "who has a zone says when");

    let mut w = asking();
    w.tell(1, [Told::RequestEnded { key: "k1".into() }]);
    w.refused(answer(1, "2"), "app-1 asks nothing now; it was answered in its terminal");
    w.see(1, RuntimeState::Exited { code: Some(1) });
    w.refused(answer(1, "2"), "app-1 asks nothing now; it was answered in its terminal");
}

#[test]
fn a_typed_answer_is_confirmed_by_what_a_quiet_agent_writes_or_tells_next() {
    let answered = || {
        let mut w = World::quiet("41");
        w.tell(1, [asked("k1", question(SHIPPING))]);
        w.pass(2 * SECOND);
        w.wrote(1, w.now.wall);
        w.give(answer(1, "Items only")).unwrap();
        w.wrote(1, w.now.wall);
        w.pass(SECOND);
        w.succeed(1);
        w
    };
    let settled = ["is working", "clears i-1 by ana", "resolves i-1 by ana", "settles n-1"];
    let mut w = answered();
    // Written before the answer was typed: says nothing about it.
    w.wrote(1, w.now.wall - jiff::SignedDuration::from_millis(500));
    assert!(w.session(1).open_requests().next().is_some());
    w.pass(5 * SECOND);
    let from = w.events.len();
    w.wrote(1, w.now.wall);
    w.concluded(from, &settled);
    let mut w = answered();
    w.hears(1, [Told::TurnStarted { turn: None, digest: None }], &settled);
    // The same words again are another question.
    let mut w = answered();
    let again = w.tell(1, [asked("k1", question(SHIPPING))]);
    assert_eq!(again.request.map(|id| id.0), Some(2));
    assert_eq!(w.session(1).open_requests().count(), 1);
    // An agent that signals confirms by its own signal only.
    let mut w = asking();
    w.give(answer(1, "Items only")).unwrap();
    w.succeed(1);
    w.pass(5 * SECOND);
    w.wrote(1, w.now.wall);
    w.tell(1, [Told::Alive]);
    assert!(w.session(1).open_requests().next().is_some());
}

#[test]
fn a_decision_that_is_not_confirmed_for_a_minute_is_told_in_place_and_may_be_given_again() {
    let mut w = asking();
    w.pass(2 * SECOND);
    w.give(answer(1, "Items only")).unwrap();
    w.succeed(1);
    let (row, next) = crate::words::one_line(&w.state, w.session(1), &jiff::tz::TimeZone::UTC);
    assert!(row.starts_with("answered at ") && row.ends_with(", not confirmed"), "{row}");
    assert_eq!(next, "ao session attach app-1");
    w.after(MINUTE - SECOND, &[]);
    w.refused(answer(1, "Items only"), "app-1 is already answered, by ana; nothing was done twice");
    w.after(SECOND, &["edits n-1"]);
    w.after(60 * MINUTE, &[]);
    w.check(answer(1, "Items only"), &["do decide r-1", "edits n-1"]);
}

#[test]
fn a_decision_without_a_name_is_taken_only_where_one_request_waits() {
    let mut w = World::working("41");
    w.tell(1, [asked("k1", permission("ls")), asked("k2", permission("rm -rf build"))]);
    w.refused(decision(1, Decision::Approve), "app-1 waits for 2 answers: r-1, r-2");
    let named = |n: u64| Input::Decide {
        session: app(1),
        request: Some(ao_slots::RequestId(n)),
        decision: Decision::Approve,
        full: None,
        by: ana(),
    };
    w.check(named(2), &["do decide r-2"]);
    w.succeed(1);
    w.check(decision(1, Decision::Approve), &["do decide r-1"]);
    let (_, next) = crate::words::one_line(&w.state, w.session(1), &jiff::tz::TimeZone::UTC);
    assert_eq!(next, "ao session attach app-1");
}

#[test]
fn a_request_dies_with_the_agent_that_asked_and_its_button_says_so() {
    let mut w = asking();
    w.pass(2 * SECOND);
    w.see(1, RuntimeState::Exited { code: Some(1) });
    let stale = Input::Decide {
        session: app(1),
        request: Some("r-1".parse().unwrap()),
        decision: Decision::Answer { text: "2".into() },
        full: None,
        by: ana(),
    };
    w.refused(stale, "app-1 asks nothing now; it ended or was restarted since");
}

#[test]
fn a_decision_reaches_an_agent_that_is_still_being_set_up() {
    let mut w = World::new();
    w.spawn("41");
    while w.effect(1).is_some() {
        w.succeed(1);
    }
    w.tell(1, [started(), asked("k1", permission("ls"))]);
    w.check(decision(1, Decision::Approve), &["do decide r-1"]);
}

#[test]
fn a_message_waits_for_the_end_of_the_turn() {
    let mut w = World::working("41");
    w.check(send(1, "Use the helper"), &[]);
    w.after(5 * MINUTE, &[]);
    w.hears(1, [turn_ended("t1")], &["is idle", "do type m-2"]);
    w.brings(1, Ok(Outcome::Done), &[]);
    w.after(60 * SECOND, &[]);
}

/// The agent's hook tells that the turn ends, and waits for its answer.
fn stops(w: &mut World, turn: &str, hook: Option<u64>, expected: &[&str]) -> Option<MessageId> {
    let takes = Told::TakesMessage { turn: Some(turn.into()) };
    let input = Input::Signals {
        session: app(1),
        launch: w.session(1).launch,
        source: Source::Hook,
        started: hook,
        told: vec![turn_ended(turn), takes],
    };
    let before = w.events.len();
    let answered = w.give(input).unwrap();
    let lines: Vec<_> = w.events[before..].iter().filter_map(line).collect();
    assert_eq!(lines, expected);
    answered.message
}

#[test]
fn a_hook_that_waits_at_the_end_of_a_turn_is_given_the_message() {
    let mut w = World::working("41");
    w.check(send(1, "Use the helper"), &[]);
    w.check(send(1, "And the other"), &[]);
    let given = stops(&mut w, "t1", Some(7), &["do hand over m-2"]);
    assert_eq!(given, Some(MessageId(2)));
    assert_eq!(w.session(1).activity.value, Activity::Active, "the turn goes on");
    // The same hook was not answered and asks again; another one is told nothing while that is open.
    assert_eq!(stops(&mut w, "t1", Some(7), &[]), Some(MessageId(2)));
    assert_eq!(stops(&mut w, "t1", Some(8), &["is idle"]), None);
    w.hears(1, [Told::TextSeen { digest: digest("Use the helper") }], &[]);
    assert!(matches!(w.session(1).messages[&MessageId(2)].fate, Fate::Confirmed { .. }));
    w.brings(1, Ok(Outcome::Done), &["do type m-3"]);
    assert_eq!(stops(&mut w, "t1", Some(9), &[]), None, "one delivery at a time");
}

#[test]
fn a_message_that_a_hook_did_not_take_is_typed_and_one_in_doubt_is_told_of() {
    let mut w = World::working("41");
    w.give(send(1, "Use the helper")).unwrap();
    stops(&mut w, "t1", None, &["do hand over m-2"]);
    assert_eq!(stops(&mut w, "t1", None, &["is idle"]), None, "it cannot be told from another");
    w.fail(1, ErrorKind::InDoubt);
    w.fail(1, ErrorKind::Transient);
    w.after(2 * SECOND, &["do type m-2"]);

    let mut w = World::working("41");
    w.give(send(1, "Use the helper")).unwrap();
    stops(&mut w, "t1", Some(7), &["do hand over m-2"]);
    w.fail(1, ErrorKind::InDoubt);
    w.fail(1, ErrorKind::InDoubt);
    w.pass(5 * MINUTE);
    assert!(w.pushes().iter().any(|push| push.contains("message")), "{:?}", w.pushes());
    assert_eq!(w.effect(1), None, "never again by itself");
}

#[test]
fn a_hook_is_given_nothing_that_may_not_be_said_now() {
    let ends = |w: &mut World, expected: &[&str]| stops(w, "t1", Some(7), expected);
    // Nothing waits.
    assert_eq!(ends(&mut World::working("41"), &["is idle"]), None);
    // It is to end.
    let mut w = World::working("41");
    w.give(send(1, "Use the helper")).unwrap();
    w.give(Input::Kill { session: app(1), force: false, by: ana() }).unwrap();
    assert_eq!(ends(&mut w, &[]), None);
    // An earlier turn ended.
    let mut w = World::working("41");
    tells(&mut w, 9, turn_started("t2"));
    w.give(send(1, "Use the helper")).unwrap();
    assert_eq!(ends(&mut w, &[]), None);
    // Work that goes on in the background keeps nobody from reading.
    let mut w = World::working("41");
    w.give(send(1, "Use the helper")).unwrap();
    let told = Told::TurnEnded { turn: Some("t1".into()), last_words: None, background: true };
    w.hears(1, [told, Told::TakesMessage { turn: Some("t1".into()) }], &["do hand over m-2"]);
}

#[test]
fn nothing_is_typed_into_a_question_a_permission_a_dialog_or_a_suspicion() {
    let setup = Told::Setup { text: Text::short("Do you trust this folder?") };
    let suspected = Told::Suspected { text: Text::short("Overwrite? [y/N]") };
    for told in [
        asked("k1", question(SHIPPING)),
        asked("k1", permission("rm -rf build")),
        setup,
        suspected,
        Told::Observed { activity: Activity::Blocked },
    ] {
        let mut w = World::idle("41");
        w.tell(1, [told.clone()]);
        w.give(send(1, "Go on")).unwrap();
        w.pass(10 * MINUTE);
        let typed = w.events.iter().any(|event| {
            matches!(&event.kind, Kind::EffectIntended(e) if matches!(e.effect, Effect::TypeMessage { .. }))
        });
        assert!(!typed, "typed into {told:?}");
        assert_eq!(w.pushes().len(), 1, "{:?}", w.pushes());
    }
}

#[test]
fn a_message_that_was_not_taken_is_tried_again_ever_more_seldom() {
    let mut w = World::idle("41");
    w.check(send(1, "Go on"), &["do type m-2"]);
    let mut waits = vec![];
    for _ in 0..12 {
        w.fail(1, ErrorKind::Transient);
        let before = w.now.awake;
        while w.effect(1).is_none() {
            w.pass(SECOND);
        }
        waits.push((w.now.awake - before) / SECOND);
    }
    assert_eq!(waits, [2, 4, 8, 16, 32, 60, 60, 60, 60, 60, 60, 60]);
    assert_eq!(w.pushes(), ["app-1 has not got your message: 6 tries in 60 s"]);
    w.brings(1, Ok(Outcome::Done), &["clears i-1 by itself"]);
}

#[test]
fn a_message_that_cannot_be_delivered_is_told_at_once_and_ends_with_the_next_turn() {
    let mut w = World::idle("41");
    w.give(send(1, "Go on")).unwrap();
    w.brings(1, Err(failure(ErrorKind::Permanent)), &["opens prompt-undelivered"]);
    w.after(2 * SECOND, &["push: app-1 has not got your message: 1 try in 60 s"]);
    w.after(10 * MINUTE, &[]);
    w.hears(1, [turn_started("t2")], &["is working", "withdraws m-2", "clears i-1 by itself"]);
}

#[test]
fn evidence_that_comes_late_still_counts() {
    let mut w = World::idle("41");
    w.give(send(1, "Go on")).unwrap();
    w.fail(1, ErrorKind::Permanent);
    w.hears(1, [Told::TextSeen { digest: digest("Go on") }], &["clears i-1 by itself"]);
}

#[test]
fn a_message_to_what_is_over_or_being_killed_is_refused() {
    let mut w = World::idle("41");
    w.refused(send(1, ""), "the message is empty");
    w.give(kill(1)).unwrap();
    w.refused(send(1, "Go on"), "app-1 is over (cleanup)");
    w.succeed(1);
    w.refused(send(1, "Go on"), "app-1 is over (cleanup)");
    w.succeed(1);
    w.refused(send(1, "Go on"), "app-1 is over (killed)");
    w.refused(done(1), "app-1 is over (killed)");
}

#[test]
fn a_suspicion_ends_when_the_agent_moves_on() {
    let mut w = World::working("41");
    let suspected = Told::Suspected { text: Text::short("Overwrite? [y/N]") };
    w.hears(1, [suspected, Told::Alive], &["opens agent-needs-input (suspected)"]);
    w.after(2 * SECOND, &["push: app-1 seems to ask: Overwrite? [y/N]"]);
    w.pass(60 * SECOND);
    w.hears(1, [Told::Alive], &["clears i-1 by itself"]);
}

#[test]
fn a_dialog_ends_when_the_agent_can_be_talked_to() {
    let mut w = World::new();
    w.spawn("41");
    while w.effect(1).is_some() {
        w.succeed(1);
    }
    let setup = Told::Setup { text: Text::short("Do you trust this folder?") };
    w.hears(1, [setup], &["is blocked", "opens agent-needs-input (setup)"]);
    w.after(2 * SECOND, &["push: app-1 waits for a set-up question of claude-code"]);
    w.hears(1, [started()], &["is spawning", "clears i-1 by itself"]);
}

#[test]
fn what_is_snoozed_is_told_again_in_time_and_what_is_seen_is_not() {
    let mut w = asking();
    w.pass(2 * SECOND);
    let incident = "i-1".parse().unwrap();
    w.check(Input::Acknowledge { incident, by: ana() }, &["edits n-1"]);
    w.check(Input::Acknowledge { incident, by: ana() }, &[]);
    let until = w.now.wall + jiff::SignedDuration::from_mins(30);
    w.check(Input::Snooze { incident, until, by: ana() }, &[]);
    w.after(29 * MINUTE, &[]);
    w.after(
        2 * MINUTE,
        &["settles n-1", "push: app-1 asks: Should a coupon also apply to shipping?"],
    );
    w.after(24 * 60 * MINUTE, &[]);
    let now = w.now.wall;
    w.refused(Input::Snooze { incident, until: now, by: ana() }, "that time has passed");
    w.tell(1, [Told::RequestEnded { key: "k1".into() }]);
    w.pass(2 * SECOND);
    w.refused(Input::Acknowledge { incident, by: ana() }, "i-1 is settled: it went away by itself");
}

#[test]
fn snoozed_before_its_first_push_it_waits_without_a_deadline_that_stands_in_the_past() {
    let mut w = asking();
    let until = w.now.wall + jiff::SignedDuration::from_mins(30);
    w.give(Input::Snooze { incident: "i-1".parse().unwrap(), until, by: ana() }).unwrap();
    w.after(29 * MINUTE, &[]);
    w.after(MINUTE, &["push: app-1 asks: Should a coupon also apply to shipping?"]);
}

/// What the present facts are, as far as hooks tell them.
fn facts(w: &World) -> String {
    let session = w.session(1);
    let tool = session.tool.as_ref().map(|tool| tool.tool.as_str());
    let open: Vec<_> = session.open_requests().map(|request| request.key.as_str()).collect();
    let waits = session.messages.values().filter(|m| m.fate == Fate::Waiting).count();
    let (does, talk) = (&session.activity.value, &session.native_id);
    format!("{does:?}, tool {tool:?}, asks {open:?}, {waits} wait, talk {talk:?}")
}

fn tool(name: &str) -> Told {
    Told::ToolStarted { tool: name.into(), command: None }
}

fn tool_ended(key: &str) -> Told {
    Told::ToolEnded { request: Some(key.into()) }
}

#[test]
fn hooks_tell_the_same_in_whatever_order_they_arrive() {
    let in_talk =
        |id: &str| Told::Started { native_id: Some(id.into()), transcript: None, version: None };
    let begun_with = |turn: &str, text: &str| Told::TurnStarted {
        turn: Some(turn.into()),
        digest: Some(digest(text)),
    };
    let failed = || Told::Failed { kind: AgentErrorKind::ProviderDown, text: Text::short("529") };
    let in_turn = |turn: &str| match asked("k1", permission("ls")) {
        Told::Asked { key, tool, ask, full, answerable, .. } => {
            Told::Asked { key, turn: Some(turn.into()), tool, ask, full, answerable }
        }
        other => other,
    };
    // What hooks tell, in the order of their starts, and what is known in the end.
    let stories: Vec<(Vec<Told>, &str)> = vec![
        (
            vec![
                in_talk("c-1"),
                turn_started("t1"),
                tool("Bash"),
                tool_ended("x"),
                turn_ended("t1"),
            ],
            r#"Idle, tool None, asks [], 0 wait, talk Some("c-1")"#,
        ),
        (
            vec![turn_started("t1"), tool("Bash"), in_turn("t1"), tool_ended("k1"), tool("Edit")],
            r#"Active, tool Some("Edit"), asks [], 0 wait, talk Some("c-1")"#,
        ),
        (
            vec![turn_ended("t1"), turn_started("t2"), tool("Bash"), in_turn("t2")],
            r#"Blocked, tool Some("Bash"), asks ["k1"], 0 wait, talk Some("c-1")"#,
        ),
        (
            vec![tool_ended("k1"), in_turn("t1")],
            r#"Blocked, tool None, asks ["k1"], 0 wait, talk Some("c-1")"#,
        ),
        (
            vec![tool("Bash"), tool_ended("x"), tool("Bash")],
            r#"Active, tool Some("Bash"), asks [], 0 wait, talk Some("c-1")"#,
        ),
        (
            vec![in_turn("t1"), turn_ended("t1"), begun_with("t2", "Go on"), turn_ended("t2")],
            r#"Idle, tool None, asks [], 0 wait, talk Some("c-1")"#,
        ),
        (
            vec![turn_ended("t1"), begun_with("t2", "Go on"), tool("Bash"), failed()],
            r#"Errored { kind: ProviderDown }, tool Some("Bash"), asks [], 0 wait, talk Some("c-1")"#,
        ),
        (
            vec![in_talk("c-1"), in_talk("c-2"), turn_started("t2")],
            r#"Active, tool None, asks [], 0 wait, talk Some("c-2")"#,
        ),
    ];
    for (story, known) in stories {
        for order in orders(story.len()) {
            let mut w = World::working("41");
            if story.iter().any(|told| matches!(told, Told::TurnStarted { digest: Some(_), .. })) {
                w.give(send(1, "Go on")).unwrap();
            }
            for at in &order {
                tells(&mut w, *at as u64 + 1, story[*at].clone());
            }
            assert_eq!(facts(&w), known, "{story:#?} in the order {order:?}");
        }
    }
}

/// A hook that was started at `started` tells something.
fn tells(w: &mut World, started: u64, told: Told) {
    let launch = w.session(1).launch;
    let (session, source, started) = (app(1), Source::Hook, Some(started));
    w.give(Input::Signals { session, launch, source, started, told: vec![told] }).unwrap();
}

/// All orders of the numbers below `n`.
fn orders(n: usize) -> Vec<Vec<usize>> {
    let Some(last) = n.checked_sub(1) else { return vec![vec![]] };
    let into = |order: Vec<usize>| {
        (0..=order.len()).map(move |at| {
            let mut order = order.clone();
            order.insert(at, last);
            order
        })
    };
    orders(last).into_iter().flat_map(into).collect()
}
