//! `ao hook`: never in the agent's way, and nothing that it told is lost.

use std::{
    fs,
    process::{Command, Output, Stdio},
};

use crate::house::{House, until};

/// The program through a shell that closes its standard streams, with nothing in its environment.
fn closed(words: &str) -> Output {
    let line = format!("exec \"$0\" {words} <&-");
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &line, env!("CARGO_BIN_EXE_ao")]).env_clear().current_dir("/");
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap()
}

#[test]
fn a_hook_is_silent_whatever_it_is_given() {
    for words in [
        "hook",
        "hook claude-code",
        "hook claude-code Stop",
        "hook claude-code Stop and more",
        "hook --no-such-flag",
        "hook claude-code Stop --json -x",
        "hook -- -",
        "hook ../../etc '$(touch x)'",
        "hook \"$(printf '\\377')\" Stop",
    ] {
        let out = closed(words);
        assert_eq!(out.status.code(), Some(0), "ao {words}: {out:?}");
        assert!(out.stdout.is_empty() && out.stderr.is_empty(), "ao {words}: {out:?}");
    }
    let version = closed("--version");
    assert!(version.status.success() && version.stdout.starts_with(b"ao "), "{version:?}");
    let help = closed("hook --help");
    assert!(help.status.success() && !help.stdout.is_empty(), "{help:?}");
}

#[test]
fn a_hook_of_a_session_is_silent_when_its_surroundings_are_nonsense() {
    let house = House::new();
    let (nowhere, file) = (house.path("no/such/run/ao.sock"), house.script("file", "x"));
    let good = [
        ("AO_SESSION", "app-1".to_owned()),
        ("AO_LAUNCH", "1".to_owned()),
        ("AO_TOKEN", "t".to_owned()),
        ("AO_SOCKET", nowhere.display().to_string()),
        ("AO_DATA_DIR", file.display().to_string()),
    ];
    for (name, value) in [
        ("AO_SESSION", "../../x"),
        ("AO_SESSION", ""),
        ("AO_LAUNCH", "-1"),
        ("AO_LAUNCH", "99999999999"),
        ("AO_TOKEN", "a\r\nb: c"),
        ("AO_SOCKET", "/dev/null"),
        ("AO_ASK_FOR", "soon"),
    ] {
        let mut command = house.command(&["hook", "claude-code", "Stop"]);
        command.envs(good.iter().cloned()).env(name, value);
        let out = house.ao_with(command, "\u{0}{{{");
        assert_eq!(out.status.code(), Some(0), "{name}={value:?}: {out:?}");
        assert!(out.stdout.is_empty() && out.stderr.is_empty(), "{name}={value:?}: {out:?}");
    }
}

/// Runs a hook of the session's own, with its own token.
fn tell(house: &House, turn: &str) {
    let command = house.within("app-1", &["hook", "claude-code", "UserPromptSubmit"]);
    let payload = format!(
        r#"{{"hook_event_name":"UserPromptSubmit","prompt_id":"{turn}","prompt":"go on"}}"#
    );
    let out = house.ao_with(command, &payload);
    assert!(out.status.success() && out.stdout.is_empty() && out.stderr.is_empty(), "{out:?}");
}

fn turns(house: &House) -> Vec<String> {
    let events = house.events();
    let started = events.iter().filter(|event| event["kind"] == "turn.started");
    started.filter_map(|event| event["data"]["turn"].as_str().map(str::to_owned)).collect()
}

#[test]
fn a_hook_starts_a_dead_server_and_keeps_what_it_has_to_say_from_one_that_rests() {
    let house = House::with_claude(
        "#!/bin/sh\nprintf '{\"hook_event_name\":\"SessionStart\",\"session_id\":\"s\",\"source\":\"startup\"}' \
         | \"$AO_DATA_DIR/run/ao\" hook claude-code SessionStart\n\
         printf '{\"hook_event_name\":\"UserPromptSubmit\",\"prompt_id\":\"t0\",\"prompt\":\"begin\"}' \
         | \"$AO_DATA_DIR/run/ao\" hook claude-code UserPromptSubmit\nexec sleep 100000\n",
    );
    house.spawn_claude();

    // Dead, not at rest: the hook starts it, and it knows of the turn.
    let killed = house.server();
    house.kill_server();
    tell(&house, "t1");
    until("a server that nobody else asked for", || {
        house.lock_owner().filter(|pid| *pid != killed).map(drop)
    });
    until("the turn", || turns(&house).contains(&"t1".to_owned()).then_some(()));

    // At rest: kept, in order, and taken before anything that is told later.
    house.ao(&["stop"]).success();
    for turn in ["t2", "t3", "t4"] {
        tell(&house, turn);
    }
    assert!(!house.path("data/run/ao.sock").exists(), "a hook started what was told to rest");
    assert_eq!(fs::read_dir(house.path("data/run/spool")).unwrap().count(), 3);
    house.ao(&["start"]).success();
    tell(&house, "t5");
    until("all turns", || (turns(&house).last()? == "t5").then_some(()));
    assert_eq!(turns(&house), ["t0", "t1", "t2", "t3", "t4", "t5"]);
    until("an empty spool", || {
        fs::read_dir(house.path("data/run/spool")).unwrap().next().is_none().then_some(())
    });
}

/// A script with `set -e` outlives the server, and what it reported meanwhile is not lost.
#[test]
fn reports_of_a_custom_agent_are_kept_from_a_server_that_rests_and_wake_a_dead_one() {
    let house = House::new();
    house.configure();
    house.ao(&["spawn", "my-app", "--prompt", "wait"]).success();
    let status = |wanted: &str| {
        house.eventually(&["session", "show", "app-1"], |doc| doc["session"]["status"] == wanted);
    };
    status("idle");
    let report = |args: &[&str]| house.run(house.within("app-1", args), args);
    house.ao(&["stop"]).success();
    report(&["report", "working"]).success();
    report(&["report", "question", "Which one?"]).success();
    assert!(!house.path("data/run/ao.sock").exists(), "a report started what was told to rest");
    assert_eq!(fs::read_dir(house.path("data/run/spool")).unwrap().count(), 2);
    house.ao(&["start"]).success();
    status("needs_input");

    house.kill_server();
    report(&["report", "error", "all is lost"]).success();
    until("a server that nobody else asked for", || {
        house.path("data/run/ao.sock").exists().then_some(())
    });
    status("errored");
    // What it takes at most is said before a word is lost.
    let long = "x".repeat(70 << 10);
    let refused = report(&["report", "blocked", &long]).exits(2).stderr();
    assert!(refused.contains("the text is too long: 71 KiB"), "{refused}");
}
