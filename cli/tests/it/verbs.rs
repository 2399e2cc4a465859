//! What each verb says of a name that is none, and of what it cannot take.

use std::{ffi::OsStr, fs, os::unix::ffi::OsStrExt};

use crate::{
    house::House,
    init::{in_terminal, typed_in_terminal},
};

#[test]
fn an_id_that_is_none_ends_with_4_whatever_the_verb() {
    let house = House::new();
    house.configure();
    for args in [
        &["session", "show", "app-99"][..],
        &["session", "attach", "app-99"],
        &["session", "kill", "app-99"],
        &["session", "restore", "app-99"],
        &["session", "done", "app-99"],
        &["session", "cleanup", "app-99"],
        &["open", "app-99"],
        &["logs", "app-99"],
        &["why", "app-99"],
        &["why", "i-99"],
        &["why", "n-99"],
        &["send", "app-99", "hello"],
        &["answer", "app-99", "1"],
        &["approve", "app-99"],
        &["deny", "app-99"],
        &["ack", "i-99"],
        &["snooze", "i-99"],
        &["notify", "test", "nowhere"],
        &["spawn", "nowhere", "--prompt", "x"],
    ] {
        let said = house.ao(args).exits(4).stderr();
        assert!(said.contains("99") || said.contains("nowhere"), "{args:?}: {said}");
        assert!(said.contains("try: "), "{args:?} names no remedy: {said}");
    }
}

/// What was to be removed and could not be is no success, and `--no-input` asks nothing of what a flag says.
#[test]
fn a_forced_end_that_keeps_the_workspace_is_told_by_its_code() {
    let house = House::new();
    house.configure();
    house.ao(&["spawn", "my-app", "--prompt", "wait"]).success();
    // Git does not know it any more: nothing of it is removed.
    std::fs::remove_dir_all(house.path("repo/.git/worktrees/app-1")).unwrap();
    let kill = in_terminal(&house, "\"$AO\" session kill app-1 --force --no-input");
    let said = String::from_utf8_lossy(&kill.stdout);
    assert_eq!(kill.status.code(), Some(5), "{said}");
    assert!(said.contains("the workspace was not removed: "), "{said}");
    assert!(house.path("data/worktrees/my-app/app-1/main.txt").exists());
    assert_eq!(house.json(&["session", "show", "app-1"])["session"]["status"], "killed");
}

#[test]
fn the_nearest_session_is_named_in_place_of_one_that_is_none() {
    let house = House::new();
    house.configure();
    house.ao(&["spawn", "my-app", "--no-wait", "--prompt", "wait"]).success();
    for args in [
        &["session", "show", "ap-1"][..],
        &["logs", "app-11"],
        &["why", "app-2"],
        &["send", "app-2", "x"],
    ] {
        let said = house.ao(args).exits(4).stderr();
        assert!(said.contains("(did you mean app-1?)"), "{args:?}: {said}");
    }
}

#[test]
fn a_text_that_is_too_long_is_refused_whole_with_its_size() {
    let house = House::new();
    let sent = house.ao_with(house.command(&["send", "app-1", "-"]), &"x".repeat(2 << 20));
    let said = String::from_utf8_lossy(&sent.stderr);
    assert_eq!(sent.status.code(), Some(2), "{said}");
    assert!(said.contains("the text is too long: 2049 KiB"), "{said}");
    assert!(!house.path("data/run/ao.sock").exists(), "nobody was asked");
}

/// JSON has no word for such a folder: what needs its file fails, and says so; the rest goes on.
#[test]
fn a_folder_whose_name_is_no_utf_8_is_said_and_breaks_nothing() {
    let house = House::new();
    let folder = house.path("home").join(OsStr::from_bytes(b"caf\xe9"));
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("agent-orchestrator.yaml"), "projects: {my-app: {path: .}}\n").unwrap();
    let there = |args: &[&str]| {
        let mut command = house.command(args);
        command.current_dir(&folder);
        house.run(command, args)
    };
    let warned = there(&["status"]).success().stderr();
    assert!(warned.contains("the request cannot be written"), "{warned}");
    there(&["spawn", "my-app", "--prompt", "x"]).exits(1);
}

#[test]
fn each_command_prints_one_document() {
    let house = House::new();
    house.configure_as(
        "notifiers:\n  one: {plugin: webhook, url: \"http://127.0.0.1:1/\", allowPrivate: true}\n  \
         two: {plugin: webhook, url: \"http://127.0.0.1:1/\", allowPrivate: true}\n",
    );
    let tests = house.json(&["notify", "test"]);
    assert_eq!(tests["schema"], "ao.tests/1");
    let test = tests["tests"].as_array().unwrap().iter().find(|test| test["channel"] == "two");
    assert_eq!(test.unwrap()["error"]["schema"], "ao.error/1", "{tests}");
    assert_eq!(house.json(&["restart"])["schema"], "ao.health/1");
    assert_eq!(house.json(&["stop"])["ran"], true);
    assert_eq!(house.json(&["stop"])["ran"], false);
}

#[test]
fn what_a_human_wants_of_a_session_is_done() {
    let house = House::new();
    house.configure();
    house.ao(&["spawn", "my-app", "--no-wait", "--prompt", "ask"]).success();
    let shown = |status: &'static str| {
        house.eventually(&["session", "show", "app-1"], |doc| doc["session"]["status"] == status)
    };
    let happened = |kind: &str| house.events().iter().any(|event| event["kind"] == kind);
    shown("needs_input");
    house.eventually(&["why", "app-1"], |_| happened("incident.opened"));
    house.ao(&["ack", "i-1"]).success();
    assert!(happened("incident.acknowledged"));
    let said = house.ao(&["snooze", "i-1", "--for", "30m"]).success().stdout();
    assert!(said.contains("i-1 is quiet until "), "{said}");
    assert!(happened("incident.snoozed"));
    // Looked into from a terminal of one's own, which is left again by tmux's own key.
    let leave = "export TERM=xterm; (until tmux -S $AO_DATA_DIR/run/tmux.sock detach-client -s app-1~1 2>/dev/null; do sleep 0.1; done) & ";
    let attach = format!("{leave} \"$AO\" session attach app-1");
    let attach = typed_in_terminal(&house, &attach, "");
    let seen = String::from_utf8_lossy(&attach.stdout);
    assert!(attach.status.success() && seen.contains("[detached"), "{seen}");
    house.ao(&["deny", "app-1", "--reason", "not now"]).success();
    shown("idle");
    let place = house.path("data/worktrees/my-app/app-1");
    assert_eq!(fs::read_to_string(place.join("answer.txt")).unwrap(), "denied: not now\n");
    // What lies there is looked at when it is decided by, also where a human changed it by hand.
    fs::write(place.join("main.txt"), "two\n").unwrap();
    let refused = house.ao(&["session", "done", "app-1"]).exits(5).stderr();
    assert!(refused.contains("1 file is not committed"), "{refused}");
    let place = place.to_string_lossy();
    house.git(&["-C", &place, "add", "-A"]);
    house.git(&["-C", &place, "commit", "-qm", "two"]);
    house.ao(&["session", "done", "app-1"]).success();
    shown("done");
    let opened = house.ao(&["open", "app-1"]).exits(5).stderr();
    assert!(opened.contains("app-1 has no running agent (done)"), "{opened}");
}

#[test]
fn what_is_set_and_known_is_shown_and_edited() {
    let house = House::new();
    house.configure();
    let editor = house.script("editor", "#!/bin/sh\necho \"$2\" >> \"$3\"\n");
    let edit = |line: &str| {
        let mut command = house.command(&["config", "edit"]);
        command.env("EDITOR", format!("{} -a {line}", editor.display()));
        house.run(command, &["config", "edit"])
    };
    edit("#seen").success();
    let broken = edit("notifer:").exits(3).stderr();
    assert!(broken.contains("did you mean `notifiers`?"), "{broken}");
    let plugins = house.ao(&["plugin", "ls"]).success().stdout();
    for name in ["tmux", "claude-code", "worktree", "plain", "webhook", "auto"] {
        assert!(plugins.contains(name), "{name}: {plugins}");
    }
    let completed = house.ao(&["completions", "bash"]).success().stdout();
    assert!(completed.contains("batch-spawn") && completed.contains("complete -F"));
}

#[test]
fn a_flag_behind_a_text_is_a_flag_and_no_part_of_it() {
    let house = House::new();
    house.configure();
    house.ao(&["spawn", "my-app", "--no-wait", "--prompt", "ask"]).success();
    let is = |status: &'static str| {
        house.eventually(&["session", "show", "app-1"], |doc| doc["session"]["status"] == status)
    };
    is("needs_input");
    let refused = house.ao(&["answer", "app-1", "use", "-x"]).exits(2).stderr();
    assert!(refused.contains("-x"), "{refused}");
    let answered = house.json(&["answer", "app-1", "1"]);
    assert!(answered["schema"].is_string(), "{answered}");
    is("idle");
    let answer = house.path("data/worktrees/my-app/app-1/answer.txt");
    assert_eq!(fs::read_to_string(answer).unwrap(), "Items only\n");
    house.ao(&["send", "app-1", "--", "-x", "too"]).success();
}
