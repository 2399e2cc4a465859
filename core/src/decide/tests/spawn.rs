//! From being asked for to being set up, and what is undone when that fails.

use super::*;

#[test]
fn each_outcome_leads_to_the_next_step_until_the_agent_has_its_task() {
    let mut w = World::new();
    w.check(spawn_of("41"), &["do fetch"]);
    for step in [["do workspace"], ["do post-create"]] {
        let effect = w.effect(1).unwrap();
        w.brings(1, Ok(usual(&effect)), &step);
    }
    let effect = w.effect(1).unwrap();
    w.brings(1, Ok(usual(&effect)), &["queues m-1", "do launch 1"]);
    let effect = w.effect(1).unwrap();
    w.brings(1, Ok(usual(&effect)), &[]);
    assert_eq!(w.session(1).step, crate::state::Step::Launching);
    w.hears(1, [started()], &[]);
    assert_eq!(w.session(1).step, crate::state::Step::Prompting);
    w.hears(1, [turn_started("t1")], &["ready", "is working"]);
    let at = w.session(1).workspace.as_ref().unwrap();
    assert_eq!(at.branch, "ao/41-coupon-is-applied-twice");
    assert_eq!(at.path.to_str(), Some("/worktrees/my-app/app-1"));
    assert_eq!(w.pushes(), [""; 0]);
}

#[test]
fn a_prompt_needs_no_issue() {
    let mut w = World::new();
    w.check(spawn_prompt("Fix the flaky login test"), &["do workspace"]);
    assert!(matches!(
        w.effect(1),
        Some(Effect::CreateWorkspace { branch, base, .. })
            if branch == "ao/app-1-fix-the-flaky-login-test" && base == "main"
    ));
}

/// A spawn that goes on with a branch.
fn spawn_on(branch: &str, issue: Option<&str>) -> Input {
    let Input::Spawn(mut spawn) = spawn_prompt("Go on") else { unreachable!() };
    spawn.issue = issue.map(str::to_owned);
    spawn.branch = Some(branch.into());
    Input::Spawn(spawn)
}

#[test]
fn the_branch_that_a_human_names_is_gone_on_with_whatever_the_tracker_wishes() {
    for (named, expected, existing) in
        [(Some("ana/fix"), "ana/fix", true), (None, "tracker/41", false)]
    {
        let mut w = World::new();
        let spawn = named.map_or_else(|| spawn_of("41"), |named| spawn_on(named, Some("41")));
        w.give(spawn).unwrap();
        let Outcome::Issue { title, prompt, digest, .. } = usual(&Effect::FetchIssue) else {
            unreachable!()
        };
        let branch = Some("tracker/41".to_owned());
        w.settle(1, Ok(Outcome::Issue { title, prompt, digest, branch }));
        let effect = w.effect(1).unwrap();
        let Effect::CreateWorkspace { branch, existing: goes_on, .. } = &effect else {
            panic!("{effect:?}")
        };
        assert_eq!((branch.as_str(), *goes_on), (expected, existing));
        let written = serde_json::to_value(&effect).unwrap();
        assert_eq!(written.get("existing").is_some(), existing, "logs of before stay as they are");
    }
}

#[test]
fn a_branch_on_which_a_session_works_is_not_gone_on_with_by_another() {
    let branch = "ao/41-coupon-is-applied-twice";
    let named = || spawn_on(branch, None);
    let attach = Some(format!("app-1 works on {branch}; ao session attach app-1"));
    let restore = format!("app-1 is over, and keeps its workspace on {branch}");
    let restore = Some(format!("{restore}; ao session restore app-1"));
    let kept = |w: &mut World| {
        w.give(kill(1)).unwrap();
        w.succeed(1);
        w.fail(1, ErrorKind::Refused);
    };
    let fails_to_start = |w: &mut World| {
        w.spawn("41");
        w.succeed(1);
        w.succeed(1);
        w.fail(1, ErrorKind::Permanent);
        w.fail(1, ErrorKind::Refused);
    };
    type Before<'a> = &'a dyn Fn(&mut World);
    let table: [(&str, Before<'_>, Option<String>); 8] = [
        ("nobody", &|_| {}, None),
        ("still makes it", &|w| drop((w.spawn("41"), w.succeed(1))), attach.clone()),
        ("works", &|w| assert_eq!(w.add_working("41"), 1), attach.clone()),
        ("named it too", &|w| drop(w.give(named()).unwrap()), attach.clone()),
        (
            "went to another branch",
            &|w| {
                w.add_working("41");
                w.look(1, WorkFacts { branch: Some("other".into()), ..work(1, 0) });
            },
            None,
        ),
        (
            "is over, its workspace is kept",
            &|w| {
                w.add_working("41");
                kept(w);
            },
            restore,
        ),
        (
            "is over, its workspace is gone",
            &|w| {
                w.add_working("41");
                w.give(kill(1)).unwrap();
                w.succeed(1);
                w.succeed(1);
            },
            None,
        ),
        ("was never started, its workspace is kept", &fails_to_start, None),
    ];
    for (other, before, refused) in table {
        let mut w = World::new();
        before(&mut w);
        let answer = w.give(named()).map_err(|refusal| {
            assert_eq!(refusal.kind, RefusalKind::Conflict);
            format!("{}; {}", refusal.message, refusal.remedy.unwrap_or_default())
        });
        assert_eq!(answer.err(), refused, "the other session {other}");
    }
    // Of another project: its own plugin sees to that.
    let mut w = World::working("41");
    let Input::Spawn(mut elsewhere) = named() else { unreachable!() };
    elsewhere.project = "api".parse().unwrap();
    w.give(Input::Spawn(elsewhere)).unwrap();
    // What cannot be restored says how its work is gone on with.
    let mut w = World::new();
    fails_to_start(&mut w);
    let remedy = w.give(super::restore(1)).unwrap_err().remedy.unwrap();
    assert_eq!(remedy, format!("ao spawn my-app 41 --branch {branch}"));
}

#[test]
fn a_number_whose_place_another_session_has_taken_over_is_not_given() {
    let mut w = World::new();
    w.give(spawn_on("ana/fix", None)).unwrap();
    let Some(Outcome::Workspace(mut info)) = w.effect(1).map(|effect| usual(&effect)) else {
        unreachable!()
    };
    info.path = "/worktrees/my-app/app-2".into();
    w.settle(1, Ok(Outcome::Workspace(info)));
    assert_eq!(w.spawn("41"), app(3));
    assert_eq!(w.spawn("42"), app(4));
}

#[test]
fn a_spawn_that_makes_no_sense_is_refused_with_the_remedy() {
    let mut w = World::working("41");
    w.refused(spawn_of("41"), "app-1 works on #41");
    w.refused(spawn_prompt(""), "neither an issue nor a prompt was given");
    let Input::Spawn(mut other) = spawn_of("7") else { unreachable!() };
    other.project = "nope".parse().unwrap();
    w.refused(Input::Spawn(other), "there is no project nope (known: api, my-app)");
    let Input::Spawn(mut forced) = spawn_of("41") else { unreachable!() };
    forced.force = true;
    let answered = w.give(Input::Spawn(forced)).unwrap();
    assert_eq!(answered.session, Some(app(2)), "numbers go on");
}

#[test]
fn what_a_failed_spawn_made_is_undone_and_nothing_else() {
    // Steps that succeed before the failing one → what is concluded from the failure.
    for (before, expected) in [
        (0, &["spawn fails at task", "over Failed", "is not_started"][..]),
        (1, &["spawn fails at workspace", "over Failed", "is not_started"]),
        (2, &["spawn fails at postCreate", "do remove Undo"]),
        (3, &["spawn fails at agent", "do remove Undo"]),
    ] {
        let mut w = World::new();
        w.spawn("41");
        for _ in 0..before {
            w.succeed(1);
        }
        w.brings(1, Err(failure(ErrorKind::Permanent)), expected);
        if w.effect(1).is_some() {
            w.brings(
                1,
                Ok(Outcome::Removed(Default::default())),
                &["over Failed", "is not_started"],
            );
            assert!(w.session(1).workspace_gone);
        }
        w.after(60 * MINUTE, &[]);
        assert_eq!(w.pushes(), [""; 0], "who asked for it is told by the command");
    }
}

#[test]
fn an_undo_that_fails_leaves_the_workspace_and_says_so() {
    let mut w = World::new();
    w.spawn("41");
    w.succeed(1);
    w.succeed(1);
    w.fail(1, ErrorKind::Permanent);
    w.brings(1, Err(failure(ErrorKind::Refused)), &["over Failed", "is not_started"]);
    assert!(w.session(1).workspace_kept.is_some() && !w.session(1).workspace_gone);
}

#[test]
fn a_launch_that_may_have_happened_leaves_the_workspace_alone() {
    let mut w = World::new();
    w.spawn("41");
    for _ in 0..3 {
        w.succeed(1);
    }
    w.fail(1, ErrorKind::InDoubt);
    assert!(matches!(w.effect(1), Some(Effect::CreateRuntime { .. })), "in doubt: looked for");
    w.brings(
        1,
        Err(failure(ErrorKind::InDoubt)),
        &["spawn fails at agent", "over Failed", "is not_started"],
    );
    assert!(!w.session(1).workspace_gone);
}

#[test]
fn set_up_commands_that_fail_are_not_run_for_ever() {
    let mut w = World::new();
    w.spawn("41");
    w.succeed(1);
    w.succeed(1);
    let failed = Some(("npm ci".to_owned(), Some(1)));
    let outcome = Outcome::PostCreate {
        failed,
        last_line: Text::default(),
        lines: 48,
        commands: vec!["npm ci".into()],
    };
    w.brings(1, Ok(outcome), &["spawn fails at postCreate", "do remove Undo"]);
    let (_, failure) = w.session(1).failure.clone().unwrap();
    assert_eq!(failure.message, "postCreate `npm ci` exited with 1");
}

#[test]
fn an_outcome_of_another_effect_fails_the_step() {
    let mut w = World::new();
    w.spawn("41");
    w.brings(1, Ok(Outcome::Done), &["spawn fails at task", "over Failed", "is not_started"]);
}

#[test]
fn a_project_that_is_no_longer_configured_ends_the_spawn() {
    let mut w = World::new();
    w.spawn("41");
    w.configure(Policy::with_projects(&["api"]), BTreeMap::new());
    let effect = w.effect(1).unwrap();
    w.brings(1, Ok(usual(&effect)), &["spawn fails at workspace", "over Failed", "is not_started"]);
}

#[test]
fn a_kill_at_any_step_ends_in_the_same_place() {
    // Steps that have succeeded → what the kill leads to while the next is under way, and what that one's
    // own end leads to.
    let all_done = ["is killed", "round of 1", "push: All done: 1 killed"];
    let ended = [&["over Killed", "do remove IfSafe"][..], &all_done].concat();
    for (before, killed, then) in [
        (0, vec!["is cleanup", "over Killed", "is killed"], vec![]),
        // The workspace that is being made is removed once it is there.
        (
            1,
            vec!["is cleanup", "over Killed", "is killed"],
            vec!["is cleanup", "do remove Undo", "is killed"],
        ),
        (2, vec!["is cleanup", "over Killed", "do remove Undo"], vec!["is killed"]),
        (3, vec!["is cleanup", "do end 1"], ended.clone()),
        (4, vec!["is cleanup", "do end 1"], ended),
    ] {
        let mut w = World::new();
        w.spawn("41");
        for _ in 0..before {
            w.succeed(1);
        }
        w.check(kill(1), &killed);
        let from = w.events.len();
        while w.effect(1).is_some() {
            w.succeed(1);
        }
        w.concluded(from, &then);
        let gone = w.session(1).workspace.is_none() || w.session(1).workspace_gone;
        assert!(gone, "after {before} steps");
        w.after(60 * MINUTE, &[]);
    }
}

#[test]
fn a_kill_does_not_wait_for_set_up_commands() {
    let mut w = World::new();
    w.spawn("41");
    w.succeed(1);
    w.succeed(1);
    let late = w.state.intent_on(&Lane::Session(app(1))).unwrap().0;
    w.check(kill(1), &["is cleanup", "over Killed", "do remove Undo"]);
    let result = Ok(usual(&Effect::PostCreate));
    w.check(Input::Effect { intent: late, result }, &[]);
    assert!(matches!(w.effect(1), Some(Effect::DestroyWorkspace { .. })));
}

#[test]
fn a_kill_that_failed_is_tried_again_ever_more_seldom_and_never_believed() {
    let mut w = World::working("41");
    w.check(kill(1), &["is cleanup", "do end 1"]);
    w.brings(1, Err(failure(ErrorKind::Transient)), &[]);
    w.after(4 * SECOND, &[]);
    w.after(SECOND, &["do end 1"]);
    for _ in 0..100 {
        w.fail(1, ErrorKind::Transient);
        let wait = w.state.next_due().0.unwrap() - w.now.awake;
        assert!((5 * SECOND..=5 * MINUTE).contains(&wait), "{wait}");
        w.pass(wait);
        assert!(w.effect(1).is_some());
        assert!(!w.session(1).is_over());
    }
    w.brings(1, Ok(Outcome::Done), &["over Killed", "do remove IfSafe"]);
}

#[test]
fn a_kill_asked_twice_is_one_and_by_name_it_is_forced() {
    let mut w = World::working("41");
    w.check(kill(1), &["is cleanup", "do end 1"]);
    w.check(kill(1), &[]);
    w.check(Input::Kill { session: app(1), force: true, by: ana() }, &[]);
    w.brings(1, Ok(Outcome::Done), &["over Killed", "do remove Forced"]);
    w.succeed(1);
    w.check(kill(1), &[]);
}

#[test]
fn an_agent_without_signals_is_ready_with_its_launch() {
    let mut w = World::new();
    w.spawn("41");
    for _ in 0..3 {
        w.succeed(1);
    }
    let effect = w.effect(1).unwrap();
    let Outcome::Runtime { handle, .. } = usual(&effect) else { unreachable!() };
    let outcome = Outcome::Runtime {
        handle,
        native_id: None,
        transcript: None,
        signals: false,
        prompted: true,
        resumed: false,
        resumable: false,
        program: None,
    };
    w.brings(1, Ok(outcome), &["ready", "is working"]);
}

#[test]
fn a_turn_told_of_before_the_launch_has_its_outcome_confirms_the_prompt() {
    let mut w = World::new();
    w.spawn("41");
    for _ in 0..3 {
        w.succeed(1);
    }
    w.tell(1, [started(), turn_started("t1")]);
    let effect = w.effect(1).unwrap();
    w.brings(1, Ok(usual(&effect)), &["ready", "is working"]);
}

#[test]
fn a_prompt_in_the_launch_is_never_typed_a_second_time() {
    let mut w = World::new();
    w.spawn("41");
    while w.effect(1).is_some() {
        w.succeed(1);
    }
    w.hears(1, [started()], &[]);
    w.after(59 * SECOND, &[]);
    w.after(
        3 * SECOND,
        &["opens prompt-undelivered", "push: app-1 has not got its task: 1 try in 60 s"],
    );
    w.hears(1, [turn_started("t1")], &["ready", "is working", "clears i-1 by itself"]);
    w.after(2 * SECOND, &["resolves i-1 by itself", "settles n-1"]);
}
