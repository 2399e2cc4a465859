//! The main job from `ao init` to the removed workspace, with its pushes; and every exit code on the way.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::Stdio,
};

use serde_json::Value;

use crate::{
    house::{House, text, until},
    receiver::{Push, Receiver},
};

/// Columns of the widest line, without colours.
fn widest(screen: &str) -> usize {
    assert!(!screen.contains('\x1b'), "a pipe has no colours: {screen:?}");
    screen.lines().map(|line| line.chars().count()).max().unwrap_or(0)
}

#[test]
fn from_init_to_the_removed_workspace_with_one_push() {
    let (house, receiver) = (House::new(), Receiver::start());
    house.ao(&["init", "--yes", "--no-test", "--name", "my-app", "--agent", "custom"]).success();
    house.configure_as(&format!(
        r#"defaults: {{notifiers: [hook], agent: custom}}
notifiers:
  hook: {{plugin: webhook, url: "http://127.0.0.1:{port}/", allowPrivate: true, secret: test-secret-test-secret}}
lifecycle: {{sweepInterval: 200ms, settle: {{urgent: 200ms}}}}
projects:
  my-app: {{path: ., defaultBranch: main, sessionPrefix: app, agentConfig: {{command: ["{agent}", "{{prompt}}"]}}}}
"#,
        port = receiver.port,
        agent = house.path("agent.sh").display(),
    ));
    house.ao(&["notify", "test", "hook"]).success();
    house.ao(&["spawn", "my-app", "--prompt", "ask me something"]).success();

    // One push, with the question word for word.
    let push = until("the push", || receiver.of_kind("agent-needs-input").pop());
    assert_eq!(push.message("title"), "app-1 asks: Items only, or shipping too?");
    assert_eq!((push.message("priority"), push.message("session")), ("urgent", "app-1"));
    assert!(push.body["message"]["body"].to_string().contains("Items and shipping"), "{push:?}");

    // The same facts for a wide and a narrow reader, and for a program.
    for columns in [120, 80, 60] {
        let mut command = house.command(&["status"]);
        command.env("COLUMNS", columns.to_string());
        let screen = house.run(command, &["status"]).success().stdout();
        assert!(screen.contains("▲ NEEDS YOU") && screen.contains("app-1"), "{screen}");
        assert!(screen.contains("asks: \"Items only"), "{screen}");
        assert!(widest(&screen) <= columns, "{} columns: {screen}", widest(&screen));
    }
    let plain = house.ao(&["status", "--ascii"]).success().stdout();
    assert!(plain.is_ascii() && plain.contains("! NEEDS YOU"), "{plain}");
    let status = house.json(&["status"]);
    assert_eq!(status["schema"], "ao.status/1");
    assert_eq!(
        (&status["sessions"][0]["status"], &status["wantYou"]),
        (&"needs_input".into(), &1.into())
    );

    // Why, by the numbers of events that are really there.
    let why = house.ao(&["why", "app-1"]).success().stdout();
    let numbers: Vec<&str> = why
        .split_whitespace()
        .filter(|word| word.strip_prefix('e').is_some_and(|n| n.parse::<u64>().is_ok()))
        .collect();
    let events = house.events();
    assert!(!numbers.is_empty(), "{why}");
    for number in numbers {
        assert!(events.iter().any(|event| event["seq"] == number), "{number} is no event: {why}");
    }
    let incident = push.message("incident");
    assert!(house.ao(&["why", incident]).success().stdout().contains("app-1"));

    house.ao(&["answer", "app-1", "items only"]).success();
    house.eventually(&["session", "show", "app-1"], |doc| doc["session"]["status"] == "idle");
    until("the message is settled", || {
        let settled = |push: &Push| push.body["type"] == "notification.resolved";
        receiver.pushes().into_iter().find(settled).map(|settled| {
            assert_eq!(settled.message("id"), push.message("id"));
        })
    });
    let sent = house.ao(&["send", "app-1", "--wait", "60", "and a file"]).success();
    assert!(sent.stdout().starts_with("✓ app-1 got it (typed"), "{}", sent.stdout());
    let heard = house.path("data/worktrees/my-app/app-1/heard.txt");
    until("the message in the workspace", || {
        (fs::read_to_string(&heard).ok()? == "and a file\n").then_some(())
    });

    // What is nowhere else stays until a human says otherwise.
    let killed = house.ao(&["session", "kill", "app-1"]).success().stdout();
    assert!(killed.contains("its workspace stays") && heard.exists(), "{killed}");
    house.ao(&["session", "cleanup", "app-1"]).exits(5);
    assert!(heard.exists());
    house.ao(&["session", "cleanup", "app-1", "--force"]).success();
    assert!(!house.path("data/worktrees/my-app/app-1").exists());
    let branch = "ao/app-1-ask-me-something";
    let committed = house.git(&["log", "--format=%s", &format!("main..{branch}")]);
    assert_eq!(committed, "answer\nwork\n", "the branch stays");
    let kept = house.git(&["ls-tree", "-r", "--name-only", "refs/ao/kept/app-1"]);
    assert!(kept.contains("heard.txt"), "{kept}");
    assert!(!house.git(&["worktree", "list"]).contains("app-1"));
    assert_eq!(receiver.of_kind("agent-needs-input").len(), 1);
    house.ao(&["events", "verify"]).success();
}

/// Exit codes 6 to 10; the others are where their cause is tested.
#[test]
fn what_is_away_missing_unconfirmed_partial_or_in_doubt_has_its_code() {
    let house = House::new();
    house.configure_as(&format!(
        "defaults: {{notifiers: [], agent: custom}}\nnotifiers: {{}}\nlifecycle: {{sweepInterval: 200ms}}\n\
         projects:\n  my-app: {{path: ., defaultBranch: main, sessionPrefix: app, \
         agentConfig: {{command: [\"{}\", \"{{prompt}}\"], input: none}}}}\n",
        house.path("agent.sh").display()
    ));
    for issue in 1..=2 {
        let text = "---\ntitle: wait\nstatus: open\n---\nDo it.\n";
        fs::write(house.path(&format!("repo/issues/{issue}.md")), text).unwrap();
    }
    // 5 and 9: an issue that a session works on, alone and among others.
    house.ao(&["spawn", "my-app", "1"]).success();
    let twice = house.ao(&["spawn", "my-app", "1"]).exits(5);
    assert!(twice.stderr().contains("app-1 works on #1"), "{}", twice.stderr());
    let partly = house.ao(&["batch-spawn", "my-app", "1", "2"]).exits(9).stdout();
    assert!(partly.contains("1 started, 1 skipped in"), "{partly}");
    let none = house.ao(&["batch-spawn", "my-app", "1", "2"]).exits(1).stdout();
    assert!(none.contains("0 started, 2 skipped in"), "{none}");

    // 10: taken, and the agent cannot have confirmed it.
    let queued = house.ao(&["send", "app-1", "--wait", "1", "hello"]).exits(10);
    assert!(queued.stdout().starts_with("queued"), "{}", queued.stdout());

    // 8: a question that nobody may be asked.
    fs::create_dir_all(house.path("other")).unwrap();
    let init = |args: &[&str]| {
        let mut command = house.command(args);
        command.current_dir(house.path("other"));
        house.run(command, args)
    };
    fs::write(house.path("other/a"), "a").unwrap();
    house.repository("other");
    let unasked = init(&["init", "--no-input", "--no-test"]).exits(8);
    assert!(unasked.stderr().contains("say it with --"), "{}", unasked.stderr());
    assert!(!house.path("other/agent-orchestrator.yaml").exists(), "nothing was written");

    // 6: no server can be.
    let mut command = house.command(&["status"]);
    command.env("AO_DATA_DIR", house.path("agent.sh"));
    let away = house.run(command, &["status"]).exits(6);
    assert!(away.stderr().contains("cannot be used"), "{}", away.stderr());

    // 7: what an agent needs is not on this machine.
    house.ao(&["stop"]).success();
    let args = ["spawn", "my-app", "--prompt", "wait"];
    let mut command = house.command(&args);
    command.env("PATH", house.only("few", &["git", "sh"]));
    let missing = house.run(command, &args).exits(7);
    assert!(missing.stderr().contains("tmux"), "{}", missing.stderr());
}

/// Errors are documents too, and 130 is what Ctrl-C is.
#[test]
fn failures_are_documents_and_an_interrupt_is_no_failure() {
    let house = House::new();
    house.configure();
    let failed = house.ao(&["session", "show", "app-7", "--json"]).exits(4);
    assert!(failed.stdout().is_empty(), "stdout is the answer alone");
    let document: Value = serde_json::from_str(failed.stderr().lines().last().unwrap()).unwrap();
    assert_eq!((text(&document["schema"]), &document["exit"]), ("ao.error/1", &4.into()));
    // Also what the parser refuses.
    let failed = house.ao(&["status", "--shrot", "--json"]).exits(2);
    let document: Value = serde_json::from_str(&failed.stderr()).unwrap();
    assert_eq!((text(&document["schema"]), &document["exit"]), ("ao.error/1", &2.into()));
    assert_eq!(document["title"], "unexpected argument '--shrot' found");
    assert!(text(&document["detail"]).contains("--short"), "{document}");

    // It listens once it tells what happened after its start.
    let mut follow = house.command(&["events", "--follow"]);
    let mut child = follow.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    house.ao(&["spawn", "my-app", "--prompt", "wait"]).success();
    let ready = lines.map_while(Result::ok).find(|line| line.contains("set up"));
    assert!(ready.is_some());
    let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    let status = until("its end", || child.try_wait().unwrap());
    assert_eq!(status.code(), Some(130));
}
