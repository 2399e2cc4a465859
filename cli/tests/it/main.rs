//! The whole of `ao` on real programs: git, tmux, the server, and a scripted agent.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot be set up has failed, and says what stood there"
)]

mod again;
mod browser;
mod channels;
mod chat;
mod config;
mod dashboard;
mod doctor;
mod environment;
mod figures;
mod forge;
mod hooks;
mod house;
mod init;
mod journey;
mod kills;
mod loops;
mod losses;
mod mail;
mod notify;
mod phone;
mod pr;
#[path = "../../examples/receiver/mod.rs"]
mod receiver;
mod rights;
mod server;
mod trust;
mod verbs;
mod watch;

use house::House;

/// The main job: an agent is spawned, asks, is answered, gets a message, is killed.
#[test]
fn an_agent_is_spawned_asks_is_answered_and_is_killed() {
    let house = House::new();
    house.configure();
    let spawned = house.ao(&["spawn", "my-app", "--prompt", "ask me something"]).success();
    assert!(spawned.stdout().starts_with("Working. "), "{}", spawned.stdout());
    assert!(
        spawned.stderr().contains("workspace  my-app/app-1 on branch ao/app-1-ask-me-something"),
        "{}",
        spawned.stderr()
    );

    let asks = house
        .eventually(&["session", "show", "app-1"], |doc| doc["session"]["status"] == "needs_input");
    assert_eq!(asks["session"]["next"], "ao answer app-1 1");
    let status = house.ao(&["status"]).success().stdout();
    assert!(
        status.contains("▲ NEEDS YOU") && status.contains("asks: \"Items only, or shipping too?\""),
        "{status}"
    );
    assert_eq!(house.ao(&["status", "--short"]).success().stdout(), "▲1\n");
    let why = house.ao(&["why", "app-1"]).success().stdout();
    assert!(why.starts_with("app-1 needs you because"), "{why}");

    // A command of a message, pasted as it is.
    for pasted in [
        &["answer", "app-1", "…"][..],
        &["send", "app-1", "..."],
        &["deny", "app-1", "--reason", "…"],
    ] {
        let refused = house.ao(pasted).exits(2);
        assert!(refused.stderr().contains("your own words"), "{}", refused.stderr());
    }
    house.ao(&["answer", "app-1", "2"]).success();
    let late = house.ao(&["answer", "app-1", "items only"]).exits(5);
    let told = late.stderr();
    let (_, time) = told.split_once(" answered it at ").expect(&told);
    assert!(told.starts_with("error: app-1 asks nothing now; "), "{told}");
    assert!(time.as_bytes()[2] == b':' && time[..2].parse::<u8>().is_ok(), "{told}");
    assert!(told.contains("\n  try: ao send app-1 \"…\" (a message, not an answer)"), "{told}");
    house.eventually(&["session", "show", "app-1"], |doc| doc["session"]["status"] == "idle");
    let answer = house.path("data/worktrees/my-app/app-1/answer.txt");
    assert_eq!(std::fs::read_to_string(answer).unwrap(), "Items and shipping\n");

    house.ao(&["send", "app-1", "--wait", "0", "one more thing"]).success();
    let heard = house.path("data/worktrees/my-app/app-1/heard.txt");
    house.eventually(&["session", "show", "app-1"], |_| heard.exists());
    assert_eq!(std::fs::read_to_string(heard).unwrap(), "one more thing\n");

    let killed = house.ao(&["session", "kill", "app-1"]).success();
    assert!(killed.stdout().contains("app-1 is killed"), "{}", killed.stdout());
    house.ao(&["events", "verify"]).success();
}

/// R20, R27: the server is killed in the middle; nothing is lost and the agent goes on.
#[test]
fn r20_a_killed_server_starts_again_and_finds_its_agents() {
    let house = House::new();
    house.configure();
    house.ao(&["spawn", "my-app", "--prompt", "ask me something"]).success();
    let before = house
        .eventually(&["session", "show", "app-1"], |doc| doc["session"]["status"] == "needs_input");
    let first = house.server();
    house.kill_server();
    let after = house.eventually(&["session", "show", "app-1"], |doc| {
        doc["runtime"]["value"]["state"] == "alive"
    });
    assert_ne!(house.server(), first);
    assert_eq!(after["handle"], before["handle"]);
    assert_eq!(after["requests"][0]["id"], before["requests"][0]["id"]);
    house.ao(&["answer", "app-1", "own words"]).success();
    house.eventually(&["session", "show", "app-1"], |doc| doc["session"]["status"] == "idle");
    house.ao(&["events", "verify"]).success();
}

/// S23 and architecture §9: what runs within a session may look at itself and report; it decides nothing.
#[test]
fn s23_an_agent_decides_nothing_and_sees_no_other_session() {
    let house = House::new();
    house.configure();
    house.ao(&["spawn", "my-app", "--prompt", "ask me something"]).success();
    house.ao(&["spawn", "my-app", "--prompt", "wait"]).success();
    house
        .eventually(&["session", "show", "app-1"], |doc| doc["session"]["status"] == "needs_input");
    let within = |args: &[&str]| {
        let mut command = house.command(args);
        command.env("AO_SESSION", "app-1");
        house.run(command, args)
    };
    for refused in [
        &["approve", "app-1"][..],
        &["answer", "app-1", "1"],
        &["session", "kill", "app-2"],
        &["session", "show", "app-2"],
        &["send", "app-2", "hello"],
        &["spawn", "my-app", "--prompt", "more"],
        &["config", "forget", "agent-orchestrator.yaml"],
        &["events"],
        &["stop"],
    ] {
        let ran = within(refused).exits(5);
        assert!(ran.stderr().contains("an agent may"), "{refused:?}: {}", ran.stderr());
    }
    assert!(!house.path("data/run/stopped").exists(), "nothing would wake a server that crashes");
    assert!(within(&["session", "show", "app-1"]).success().stdout().starts_with("app-1"));
    assert_eq!(within(&["session", "ls"]).success().stdout().lines().count(), 1);
    // A hook with another session's name and a guessed token says nothing.
    let mut command = house.command(&["hook", "custom", "Stop"]);
    command.env("AO_SESSION", "app-1").env("AO_LAUNCH", "1").env("AO_TOKEN", "guessed");
    command.env("AO_SOCKET", house.path("data/run/ao.sock"));
    let hooked = house.ao_with(command, "{}");
    assert!(hooked.status.success() && hooked.stdout.is_empty() && hooked.stderr.is_empty());
    let still = house.json(&["session", "show", "app-1"]);
    assert_eq!(still["session"]["status"], "needs_input");
    assert!(!house.path("data/run/spool").exists());
}

/// A hook never breaks its agent: outside a session it does nothing, and with the server stopped it keeps what
/// it has to say, privately, and starts nothing.
#[test]
fn a_hook_is_silent_and_a_stopped_server_stays_stopped() {
    let house = House::new();
    house.configure();
    let outside = house.ao_with(house.command(&["hook", "claude-code", "Stop"]), "{}");
    assert!(outside.status.success() && outside.stdout.is_empty());
    house.ao(&["stop"]).success();
    let mut command = house.command(&["hook", "claude-code", "Stop"]);
    command.env("AO_SESSION", "app-1").env("AO_LAUNCH", "1").env("AO_TOKEN", "t");
    command.env("AO_SOCKET", house.path("data/run/ao.sock"));
    let hooked = house.ao_with(command, "{\"x\":1}");
    assert!(hooked.status.success() && hooked.stdout.is_empty() && hooked.stderr.is_empty());
    assert_eq!(std::fs::read_dir(house.path("data/run/spool")).unwrap().count(), 1);
    assert!(!house.path("data/run/ao.sock").exists());
    // The next command of a human starts the server; it takes what was left.
    house.ao(&["status"]).success();
    let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while std::fs::read_dir(house.path("data/run/spool")).unwrap().count() > 0 {
        assert!(std::time::Instant::now() < until, "the spool was not taken");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// `ao init` on a fresh repository, without a single question.
#[test]
fn a_fresh_repository_is_set_up_without_a_question() {
    let house = House::new();
    let init = house
        .ao(&["init", "--yes", "--no-test", "--name", "my-app", "--agent", "custom"])
        .success();
    assert!(
        init.stdout()
            .contains("Wrote agent-orchestrator.yaml (14 lines). Nothing else was changed."),
        "{}",
        init.stdout()
    );
    let files = house.json(&["config", "ls"]);
    assert_eq!(files["files"][0]["projects"][0], "my-app");
    assert_eq!(files["files"][0]["needsTrust"], false);
    house.ao(&["init", "--yes", "--no-test"]).success();
}

/// Exit codes as `ao help exit-codes` lists them.
#[test]
fn failures_have_the_codes_that_scripts_read() {
    let house = House::new();
    house.configure();
    house.ao(&["spawn", "my-app"]).exits(2);
    house.ao(&["session", "show", "../../x-1"]).exits(2);
    house.ao(&["session", "show", "app-99"]).exits(4);
    house.ao(&["spawn", "no-such", "--prompt", "x"]).exits(4);
    house.ao(&["ack", "i-99"]).exits(4);
    let failed = house.ao(&["spawn", "my-app", "no-such-issue", "--json"]);
    assert_ne!(failed.code(), 0);
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(failed.stderr().lines().last().unwrap()).unwrap()
            ["schema"],
        "ao.error/1"
    );
    std::fs::write(house.path("repo/agent-orchestrator.yaml"), "projects: {}\nnotifer: slack\n")
        .unwrap();
    let check = house.ao(&["config", "check"]).exits(3);
    assert!(check.stderr().contains("did you mean `notifiers`?"), "{}", check.stderr());
    let kept = check.stdout();
    assert!(kept.starts_with("1 error. The server keeps the last good config ("), "{kept}");
    house.ao(&["spawn", "my-app", "--prompt", "x"]).exits(3);
}
