//! What an agent is started with: the SSH agent of whoever is there, an environment that nobody else can read, and
//! nothing of it left behind.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, net::UnixListener, net::UnixStream},
    path::{Path, PathBuf},
};

use crate::house::{House, until};

/// Writes down what it was started with, and stays.
const NOTES: &str = r#"#!/bin/sh
echo "$SSH_AUTH_SOCK $XDG_MARK" >> started.txt
"$AO_DATA_DIR/run/ao" report ready
while read -r line; do :; done
"#;

fn house() -> House {
    let house = House::new();
    let agent = house.script("notes.sh", NOTES);
    house.configure_as(&format!(
        "projects:\n  my-app:\n    path: .\n    defaultBranch: main\n    sessionPrefix: app\n    agent: custom\n    \
         agentConfig: {{command: [\"{}\", \"{{prompt}}\"]}}\nnotifiers: {{}}\ndefaults: {{notifiers: []}}\n\
         lifecycle: {{sweepInterval: 200ms}}\n",
        agent.display()
    ));
    house
}

/// A command of somebody whose SSH agent listens at `socket`.
fn with_agent(house: &House, socket: &Path, mark: &str, more: &[(&str, &str)], args: &[&str]) {
    let mut command = house.command(args);
    command.env("SSH_AUTH_SOCK", socket).env("XDG_MARK", mark).envs(more.iter().copied());
    house.run(command, args).success();
}

/// What the agent was started with: the path of its SSH agent, and the mark; one line a start.
fn starts(house: &House, count: usize) -> Vec<(PathBuf, String)> {
    let file = house.path("data/worktrees/my-app/app-1/started.txt");
    until("the agent's start", || {
        let text = fs::read_to_string(&file).ok()?;
        let lines: Vec<_> = text
            .lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(socket, mark)| (socket.into(), mark.to_owned()))
            .collect();
        (lines.len() == count).then_some(lines)
    })
}

/// Files of the session that hold its environment or its token.
fn kept(house: &House) -> Vec<PathBuf> {
    let entries = |dir: &str| fs::read_dir(house.path(dir)).into_iter().flatten().flatten();
    let folders = ["data/secrets/env", "data/secrets/token", "data/agents/app-1"];
    let files = folders.into_iter().flat_map(entries).map(|entry| entry.path());
    let private = |path: &PathBuf| {
        path.starts_with(house.path("data/secrets")) || path.to_string_lossy().contains("launch-")
    };
    files.filter(private).collect()
}

#[test]
fn an_agent_reaches_the_ssh_agent_of_the_last_human_who_had_one() {
    let house = house();
    let (first, second, third) = (house.path("first"), house.path("second"), house.path("third"));
    let listeners = [&first, &second, &third].map(|path| UnixListener::bind(path).unwrap());
    with_agent(&house, &first, "one", &[], &["spawn", "my-app", "--prompt", "x", "--no-wait"]);
    let (link, _) = starts(&house, 1).remove(0);
    assert_eq!(fs::read_link(&link).unwrap(), first);
    UnixStream::connect(&link).unwrap();

    with_agent(&house, &second, "one", &[], &["status"]);
    assert_eq!(fs::read_link(&link).unwrap(), second);
    // Neither an agent's command nor somebody whose SSH agent has gone.
    with_agent(&house, &third, "one", &[("AO_SESSION", "app-1")], &["session", "show", "app-1"]);
    with_agent(&house, &house.path("gone"), "one", &[], &["status"]);
    with_agent(&house, &link, "one", &[], &["status"]);
    assert_eq!(fs::read_link(&link).unwrap(), second);
    drop(listeners);
}

#[test]
fn nothing_of_an_environment_outlives_its_session_and_a_restore_brings_its_own() {
    let house = house();
    let socket = house.path("none");
    with_agent(&house, &socket, "one", &[], &["spawn", "my-app", "--prompt", "x"]);
    assert_eq!(starts(&house, 1)[0].1, "one");
    let names = |files: Vec<PathBuf>| -> Vec<String> {
        files
            .iter()
            .map(|path| path.strip_prefix(house.path("data")).unwrap().display().to_string())
            .collect()
    };
    // What the launch read is gone; what the next start needs is private.
    assert_eq!(names(kept(&house)), ["secrets/env/app-1", "secrets/token/app-1"]);
    for file in kept(&house) {
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600, "{file:?}");
    }
    house.ao(&["session", "kill", "app-1"]).success();
    until("nothing is left", || kept(&house).is_empty().then_some(()));

    with_agent(&house, &socket, "two", &[], &["session", "restore", "app-1"]);
    assert_eq!(starts(&house, 2)[1].1, "two");

    // A server that is killed before it could tidy up does so at its next start.
    house.ao(&["session", "kill", "app-1"]).success();
    until("nothing is left", || kept(&house).is_empty().then_some(()));
    house.kill_server();
    fs::write(house.path("data/secrets/env/app-1"), "{}").unwrap();
    fs::write(house.path("data/agents/app-1/launch-2.json"), "{}").unwrap();
    house.ao(&["status"]).success();
    until("nothing is left", || kept(&house).is_empty().then_some(()));
}
