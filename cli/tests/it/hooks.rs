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
    let token = fs::read_to_string(house.path("data/secrets/token/app-1")).unwrap();
    let mut command = house.command(&["hook", "claude-code", "UserPromptSubmit"]);
    command.env("AO_SESSION", "app-1").env("AO_LAUNCH", "1").env("AO_TOKEN", token);
    command.env("AO_SOCKET", house.path("data/run/ao.sock"));
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
    let house = House::new();
    house.script(
        "bin/claude",
        "#!/bin/sh\nprintf '{\"hook_event_name\":\"SessionStart\",\"session_id\":\"s\",\"source\":\"startup\"}' \
         | \"$AO_DATA_DIR/run/ao\" hook claude-code SessionStart\n\
         printf '{\"hook_event_name\":\"UserPromptSubmit\",\"prompt_id\":\"t0\",\"prompt\":\"begin\"}' \
         | \"$AO_DATA_DIR/run/ao\" hook claude-code UserPromptSubmit\nexec sleep 100000\n",
    );
    house.configure_as(
        "defaults: {notifiers: []}\nnotifiers: {}\nlifecycle: {sweepInterval: 200ms}\n\
         projects: {my-app: {path: ., defaultBranch: main, sessionPrefix: app}}\n",
    );
    let args = ["spawn", "my-app", "--prompt", "begin"];
    let mut command = house.command(&args);
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}", house.path("bin").display()));
    house.run(command, &args).success();

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
