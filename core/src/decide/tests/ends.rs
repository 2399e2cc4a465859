//! How sessions come to their end, and back.

use ao_slots::fact::{PrFacts, PrState};

use super::{review::green, *};
use crate::config::policy::PluginChoice;

#[test]
fn an_agent_that_crashes_calls_a_human_and_comes_back_on_request() {
    let mut w = World::working("41");
    w.check(
        seen(&w.clone(), 1, RuntimeState::Exited { code: Some(1) }, false),
        &["is errored", "opens agent-exited"],
    );
    w.after(2 * SECOND, &["push: app-1 stopped: exited with code 1"]);
    w.after(60 * MINUTE, &[]);
    w.check(restore(1), &["is spawning", "do resume 2", "edits n-1"]);
    w.succeed(1);
    // The incident stands until the agent is really back.
    w.hears(
        1,
        [started()],
        &[
            "restored",
            "queues m-2",
            "ready",
            "is idle",
            "do type m-2",
            "clears i-1 by ana",
            "resolves i-1 by ana",
            "settles n-1",
        ],
    );
    let go_on = w.session(1).messages.values().next_back().unwrap();
    assert_eq!(go_on.text.excerpt, "You were interrupted. Go on where you stopped.");
}

#[test]
fn what_was_over_before_the_journals_memory_is_forgotten_unless_it_left_work() {
    const DAY: u64 = 24 * 60 * MINUTE;
    let mut w = World::working("41");
    for issue in ["42", "43"] {
        w.add_working(issue);
    }
    w.give(kill(1)).unwrap();
    w.succeed(1);
    w.succeed(1);
    // Its workspace holds work, and stays.
    w.give(kill(2)).unwrap();
    w.succeed(2);
    w.fail(2, ErrorKind::Refused);
    let over = |w: &World| {
        let over = w.state.sessions.values().filter(|session| session.is_over());
        over.map(|session| session.id.number()).collect::<Vec<_>>()
    };
    w.pass(89 * DAY);
    w.spawn("44");
    assert_eq!(over(&w), [1, 2]);
    w.pass(2 * DAY);
    assert_eq!(w.spawn("45"), app(5), "a number is given once");
    assert_eq!(over(&w), [2]);
    assert!(w.state.sessions.contains_key(&app(3)), "it goes on");
    w.indices_are_true();
}

#[test]
fn an_agent_that_stood_at_its_prompt_is_not_told_to_go_on() {
    let mut w = World::idle("41");
    w.see(1, RuntimeState::Exited { code: Some(1) });
    w.give(restore(1)).unwrap();
    w.succeed(1);
    w.hears(
        1,
        [started()],
        &["restored", "ready", "is idle", "clears i-1 by ana", "resolves i-1 by ana"],
    );
}

#[test]
fn what_somebody_brings_back_before_it_was_told_is_told_only_when_that_fails() {
    for works in [true, false] {
        let mut w = World::working("41");
        w.see(1, RuntimeState::Exited { code: Some(1) });
        w.pass(SECOND);
        w.give(restore(1)).unwrap();
        w.pass(20 * SECOND);
        assert_eq!(w.pushes().len(), 0, "it is being started");
        if works {
            w.succeed(1);
            w.tell(1, [started()]);
        } else {
            w.fail(1, ErrorKind::Permanent);
        }
        w.pass(10 * SECOND);
        assert_eq!(w.pushes().len(), usize::from(!works), "works: {works}");
    }
}

#[test]
fn a_restore_that_fails_brings_the_need_back_with_its_reason() {
    // The launch fails; the agent ends at once; it gives no sign.
    for case in 0..3 {
        let mut w = World::working("41");
        w.see(1, RuntimeState::Exited { code: Some(1) });
        w.pass(2 * SECOND);
        w.give(restore(1)).unwrap();
        match case {
            0 => w.fail(1, ErrorKind::Permanent),
            1 => {
                w.succeed(1);
                w.see(1, RuntimeState::Exited { code: Some(127) });
            }
            _ => {
                w.succeed(1);
                w.tell(1, [Told::NoSignal]);
            }
        }
        let session = w.session(1);
        assert!(session.restore.is_none(), "case {case}");
        w.pass(10 * MINUTE);
        let open: Vec<_> = w.state.incidents_of(&Subject::Session(app(1))).collect();
        assert_eq!(open.len(), 1, "case {case}: {open:?}");
        assert!(open[0].is_open(), "case {case}");
        let expected = match case {
            2 => vec!["app-1 stopped: exited with code 1", "app-1 cannot be observed"],
            _ => vec!["app-1 stopped: exited with code 1"],
        };
        assert_eq!(w.pushes(), expected, "case {case}: an edit does not buzz");
        assert!(w.give(restore(1)).is_ok(), "case {case}: it can be tried again");
    }
}

#[test]
fn an_agent_that_cannot_go_on_is_ended_before_it_is_started_again() {
    let mut w = World::working("41");
    let text = Text::short("OAuth token has expired");
    let failed = Told::Failed { kind: ao_slots::fact::AgentErrorKind::Login, text };
    w.hears(1, [failed], &["is errored", "opens agent-errored"]);
    w.after(2 * SECOND, &["push: app-1 cannot go on: login to the model provider expired"]);
    // An empty prompt does not mean that the login is back.
    w.hears(1, [Told::Observed { activity: Activity::Idle }], &[]);
    w.check(restore(1), &["is spawning", "do end 1", "edits n-1"]);
    w.brings(1, Ok(Outcome::Done), &["do resume 2"]);
    w.succeed(1);
    w.hears(
        1,
        [started()],
        &[
            "restored",
            "queues m-2",
            "ready",
            "is idle",
            "do type m-2",
            "clears i-1 by ana",
            "resolves i-1 by ana",
            "settles n-1",
        ],
    );
}

#[test]
fn what_runs_well_or_never_ran_or_is_merged_is_not_restored() {
    let mut w = World::working("41");
    w.refused(restore(1), "app-1 runs; restoring would end what it does");
    w.give(spawn_of("42")).unwrap();
    w.refused(restore(2), "app-2 was never started");
    w.fail(2, ErrorKind::Permanent);
    w.refused(restore(2), "app-2 was never started");
    let merged = ao_slots::fact::PrFacts {
        number: ao_slots::PrNumber(57),
        title: "Dark mode".into(),
        head: "3f9c2d1".into(),
        state: ao_slots::fact::PrState::Merged,
        checks: Default::default(),
        failing: vec![],
        pending: 0,
        review: Default::default(),
        human_threads: 0,
        remarks: 0,
        remark_ids: vec![],
        bot_threads: 0,
        mergeable: Default::default(),
        discussion: String::new(),
        details: Default::default(),
    };
    w.check(Input::Pr { session: app(1), pr: merged }, &["is merged", "do end 1"]);
    w.brings(1, Ok(Outcome::Done), &["over Merged", "is cleanup", "do remove IfSafe"]);
    w.succeed(1);
    w.refused(restore(1), "app-1 is merged");
}

#[test]
fn a_merge_into_the_default_branch_closes_the_issue_unless_that_is_a_file_of_the_repository() {
    let project = "my-app".parse().unwrap();
    let repository = World::new().state.policy.projects[&project].path.clone();
    let folder = |path: std::path::PathBuf| ("plain", serde_json::json!({ "path": path }));
    for (tracker, base, closes) in [
        (Some(("github", serde_json::json!({}))), Some("main"), true),
        (Some(("github", serde_json::json!({}))), None, true),
        (Some(("github", serde_json::json!({}))), Some("release"), false),
        (Some(folder(repository.with_file_name("issues"))), Some("main"), true),
        (Some(folder(repository.join("issues"))), Some("main"), false),
        (None, Some("main"), false),
    ] {
        for result in [Ok(Outcome::Done), Err(failure(ErrorKind::Refused))] {
            let mut w = World::working("41");
            let choice =
                |(plugin, settings): (&str, _)| PluginChoice { plugin: plugin.into(), settings };
            std::sync::Arc::make_mut(&mut w.state.policy)
                .projects
                .get_mut(&project)
                .unwrap()
                .tracker = tracker.clone().map(choice);
            let mut pr = PrFacts { state: PrState::Merged, ..green("a") };
            pr.details.base = base.map(str::to_owned);
            w.check(Input::Pr { session: app(1), pr }, &["is merged", "do end 1"]);
            let (over, clean) = (["over Merged", "is cleanup"], "do remove IfSafe");
            if !closes {
                w.brings(1, Ok(Outcome::Done), &[over[0], over[1], clean]);
                continue;
            }
            w.brings(1, Ok(Outcome::Done), &[over[0], over[1], "do close-issue"]);
            let open = result.is_err();
            w.brings(1, result, &[clean]);
            assert_eq!(w.session(1).issue_unclosed.is_some(), open);
            // What is refused is refused again: the round ends, and says so.
            let all = ["is merged", "round of 1", "push: All done: 1 merged"];
            w.brings(1, Ok(Outcome::Done), &all);
            assert_eq!(said_open(&w), open);
        }
    }
}

/// What a round's summary says of a first session's issue.
fn said_open(w: &World) -> bool {
    let (_, summary) = crate::words::all_complete(&w.state, &[app(1)]);
    summary.lines[0].contains("#41 merged as a, its issue is still open")
}

#[test]
fn an_issue_that_could_not_be_closed_is_tried_again_a_few_times_and_the_summary_waits_for_it() {
    for tries in [1, 3, 7] {
        let mut w = World::working("41");
        let project = "my-app".parse().unwrap();
        let policy = std::sync::Arc::make_mut(&mut w.state.policy);
        let tracker = PluginChoice { plugin: "github".into(), settings: serde_json::json!({}) };
        policy.projects.get_mut(&project).unwrap().tracker = Some(tracker);
        // Its workspace is a human's to remove: nothing else is left to be done.
        policy.lifecycle.auto_cleanup_on_merge = false;
        w.check(
            Input::Pr { session: app(1), pr: PrFacts { state: PrState::Merged, ..green("a") } },
            &["is merged", "do end 1"],
        );
        w.brings(1, Ok(Outcome::Done), &["over Merged", "do close-issue"]);
        let mut wait = 10_000;
        for n in 1..=tries {
            let last = n == tries;
            let end: &[&str] = match n {
                7 => &["round of 1", "push: All done: 1 merged"],
                _ => &[],
            };
            w.brings(1, Err(failure(ErrorKind::Transient)), end);
            if n == 7 {
                w.after(24 * 60 * MINUTE, &[]);
                assert!(said_open(&w));
                continue;
            }
            w.after(wait - 1, &[]);
            if last {
                // A server that begins then knows of it.
                w.start("boot-2");
            }
            w.after(1, &["do close-issue"]);
            wait *= 2;
        }
        if tries < 7 {
            w.brings(1, Ok(Outcome::Done), &["round of 1", "push: All done: 1 merged"]);
            assert!(!said_open(&w));
        }
    }
}

#[test]
fn a_killed_session_comes_back_only_when_a_human_asks() {
    let mut w = World::working("41");
    w.give(Input::Kill { session: app(1), force: true, by: ana() }).unwrap();
    while w.effect(1).is_some() {
        w.succeed(1);
    }
    w.tell(1, [turn_started("t2"), Told::NoSignal]);
    w.see(1, RuntimeState::Exited { code: Some(1) });
    w.after(24 * 60 * MINUTE, &[]);
    w.check(restore(1), &["is spawning", "do restore-workspace"]);
    w.succeed(1);
    assert!(matches!(w.effect(1), Some(Effect::CreateRuntime { resume: true, .. })));
    w.succeed(1);
    w.tell(1, [started()]);
    // The force of the earlier kill does not outlive it.
    w.succeed(1);
    w.give(kill(1)).unwrap();
    w.brings(1, Ok(Outcome::Done), &["over Killed", "do remove IfSafe"]);
}

#[test]
fn a_restore_without_an_earlier_conversation_gives_the_prompt_again() {
    let mut w = World::working("41");
    w.see(1, RuntimeState::Exited { code: Some(1) });
    let fresh = Input::Restore { session: app(1), fresh: true, env_names: None, by: ana() };
    w.check(fresh, &["is spawning", "queues m-2", "do launch 2"]);
    w.succeed(1);
    w.hears(
        1,
        [started(), turn_started("t9")],
        &["restored", "ready", "is working", "clears i-1 by ana", "resolves i-1 by ana"],
    );
    assert_eq!(w.session(1).next_message(), None, "it has its task, nothing more is said");
}

#[test]
fn done_needs_an_end_a_clean_tree_a_commit_and_somebody_who_says_so() {
    let claim = Told::Completed { text: None };
    // commits, changed files, claims → done?
    for (commits, changed, claims, is_done) in
        [(2, 0, true, true), (0, 0, true, false), (2, 1, true, false), (2, 0, false, false)]
    {
        let mut w = World::working("41");
        if claims {
            w.tell(1, [claim.clone()]);
        }
        w.look(1, work(commits, changed));
        w.tell(1, [turn_ended("t1")]);
        assert!(!w.session(1).is_over() && w.effect(1).is_none(), "looked at before the end");
        w.look(1, work(commits, changed));
        let row = (commits, changed, claims);
        assert_eq!(matches!(w.effect(1), Some(Effect::DestroyRuntime { .. })), is_done, "{row:?}");
        if is_done {
            w.brings(1, Ok(Outcome::Done), &["over Done", "is cleanup", "do remove IfSafe"]);
        }
    }
}

#[test]
fn a_claim_speaks_for_its_own_turn_and_a_waiting_message_comes_first() {
    let mut w = World::working("41");
    w.tell(1, [Told::Completed { text: None }, turn_ended("t1")]);
    w.look(1, work(2, 1));
    w.tell(1, [turn_started("t2"), turn_ended("t2")]);
    w.look(1, work(2, 0));
    assert_eq!(w.effect(1), None, "nobody claimed anything in the second turn");

    let mut w = World::working("41");
    w.give(send(1, "And the changelog")).unwrap();
    w.tell(1, [Told::Completed { text: None }, turn_ended("t1")]);
    w.look(1, work(2, 0));
    assert!(matches!(w.effect(1), Some(Effect::TypeMessage { .. })));
}

#[test]
fn a_closed_issue_says_done_as_well() {
    let mut w = World::idle("41");
    w.look(1, work(2, 0));
    w.check(Input::Issue { session: app(1), completed: true }, &["do end 1"]);
}

#[test]
fn done_that_cannot_end_the_agent_is_tried_again_in_time_and_stands() {
    let mut w = World::idle("41");
    w.look(1, work(2, 0));
    w.check(done(1), &["do end 1"]);
    w.brings(1, Err(failure(ErrorKind::Transient)), &[]);
    w.after(4 * SECOND, &[]);
    w.after(SECOND, &["do end 1"]);
    w.brings(1, Ok(Outcome::Done), &["over Done", "is cleanup", "do remove IfSafe"]);

    // A turn that begins while the agent is ended changes nothing: it was ended because it was done.
    let mut w = World::working("41");
    w.tell(1, [Told::Completed { text: None }, turn_ended("t1")]);
    w.look(1, work(2, 0));
    w.tell(1, [turn_started("t2")]);
    w.brings(1, Ok(Outcome::Done), &["over Done", "is cleanup", "do remove IfSafe"]);
}

#[test]
fn done_by_a_human_needs_a_clean_tree() {
    let mut w = World::idle("41");
    w.look(1, work(2, 1));
    w.refused(done(1), "app-1: 1 file is not committed");
    w.look(1, work(3, 0));
    w.check(done(1), &["do end 1"]);
    w.check(done(1), &[]);
}

#[test]
fn a_clean_exit_is_looked_at_before_anybody_is_called() {
    let exit = RuntimeState::Exited { code: Some(0) };
    // With evidence and a claim: no incident at all.
    let mut w = World::working("41");
    w.tell(1, [Told::Completed { text: None }]);
    w.see(1, exit);
    w.pass(5 * SECOND);
    let from = w.events.len();
    w.look(1, work(2, 0));
    w.concluded(from, &["over Done", "is cleanup", "do remove IfSafe"]);
    assert_eq!(w.pushes(), [""; 0]);

    // With evidence alone: it looks finished.
    let mut w = World::working("41");
    w.see(1, exit);
    w.look(1, work(2, 0));
    w.pass(10 * MINUTE);
    assert_eq!(w.pushes(), ["app-1 looks finished: 2 commits"]);

    // Without: the task looks unfinished.
    let mut w = World::working("41");
    w.see(1, exit);
    w.look(1, work(0, 2));
    w.pass(2 * SECOND);
    assert_eq!(w.pushes(), ["app-1 stopped: ended by itself, the task looks unfinished"]);

    // When nobody can look, a human is called all the same.
    let mut w = World::working("41");
    w.see(1, exit);
    w.after(14 * SECOND, &[]);
    w.pass(4 * SECOND);
    assert_eq!(w.pushes(), ["app-1 stopped: ended by itself, the task looks unfinished"]);
}

#[test]
fn an_agent_that_said_good_bye_and_does_not_end_is_no_secret() {
    let mut w = World::working("41");
    w.hears(1, [Told::Exited], &["is errored"]);
    w.after(14 * SECOND, &[]);
    w.after(4 * SECOND, &["opens agent-exited", "push: app-1 stopped: it said good-bye"]);
}

#[test]
fn a_kept_workspace_is_removed_when_a_human_asks() {
    let mut w = World::working("41");
    w.give(kill(1)).unwrap();
    w.succeed(1);
    let clean_up = Input::Cleanup { session: app(1), force: false, by: ana() };
    w.check(clean_up.clone(), &[]);
    w.fail(1, ErrorKind::Refused);
    assert!(w.session(1).workspace_kept.is_some());
    w.check(clean_up.clone(), &["is cleanup", "do remove IfSafe"]);
    w.fail(1, ErrorKind::Refused);
    let forced = Input::Cleanup { session: app(1), force: true, by: ana() };
    w.check(forced, &["is cleanup", "do remove Forced"]);
    w.succeed(1);
    w.check(clean_up, &[]);
    w.add_working("42");
    w.refused(Input::Cleanup { session: app(2), force: false, by: ana() }, "app-2 is not over");
}

#[test]
fn stale_signals_of_an_earlier_launch_say_nothing() {
    let mut w = World::working("41");
    w.see(1, RuntimeState::Exited { code: Some(1) });
    w.give(restore(1)).unwrap();
    w.succeed(1);
    let told = vec![asked("k1", question("Old?")), turn_started("t1")];
    let stale = Input::Signals {
        session: app(1),
        launch: Launch(1),
        source: Source::Hook,
        started: None,
        told,
    };
    w.check(stale, &[]);
    assert!(w.session(1).requests.is_empty());
}

#[test]
fn killing_what_is_over_says_how_it_ended() {
    let mut w = World::idle("41");
    w.give(done(1)).unwrap();
    while w.effect(1).is_some() {
        w.succeed(1);
    }
    let from = w.events.len();
    let answered = w.give(kill(1)).unwrap();
    assert_eq!(answered.note.as_deref(), Some("app-1 is already over (done)"));
    assert_eq!(w.events.len(), from);
}
