//! One server a data directory, and what its start and its end leave alone: the agents.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::Stdio,
};

use crate::house::{House, end, text, until};

/// The agents' processes, by session, as the runtime knows them.
fn agents(house: &House) -> Vec<String> {
    let panes = house.tmux(&["list-panes", "-a", "-F", "#{window_name} #{pane_pid} #{pane_dead}"]);
    let mut lines: Vec<_> =
        String::from_utf8_lossy(&panes.stdout).lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

fn two_agents() -> House {
    let house = House::new();
    house.configure();
    house.ao(&["spawn", "my-app", "--prompt", "wait"]).success();
    house.ao(&["spawn", "my-app", "--prompt", "ask me something"]).success();
    house
        .eventually(&["session", "show", "app-2"], |doc| doc["session"]["status"] == "needs_input");
    house
}

#[test]
fn r20_a_second_server_ends_at_once_and_names_the_first() {
    let house = House::new();
    house.configure();
    let owner = house.server();
    let second = house.ao(&["start", "--foreground"]).exits(1);
    assert!(second.stderr().contains(&format!("process {owner}")), "{}", second.stderr());
    let beside = house.ao(&["start"]).success();
    assert!(
        beside.stdout().contains(&format!("already serves (process {owner})")),
        "{}",
        beside.stdout()
    );
    assert_eq!(house.server(), owner);
    // The port is another's matter: it drifts nowhere, and the first goes on.
    house.ao(&["status"]).success();
}

#[test]
fn r20_a_lock_and_a_socket_of_a_dead_server_hold_nobody_up() {
    let house = House::new();
    house.configure();
    house.kill_server();
    assert!(house.path("data/run/ao.sock").exists(), "the dead server left its socket");
    // A number that runs something else by now: this very test.
    fs::write(house.path("data/run/lock"), format!("{}\n", std::process::id())).unwrap();
    house.ao(&["status"]).success();
    assert_ne!(house.server(), std::process::id().cast_signed());
}

#[test]
fn r20_of_many_that_start_at_once_one_serves_and_all_are_answered() {
    let house = House::new();
    house.configure();
    house.kill_server();
    let asking: Vec<_> = (0..8)
        .map(|_| {
            let mut command = house.command(&["status", "--json"]);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for child in asking {
        let out = child.wait_with_output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    }
}

#[test]
fn r27_a_server_that_is_told_to_end_leaves_its_agents_and_the_next_adopts_them() {
    let house = two_agents();
    let before = agents(&house);
    assert_eq!(before.len(), 2, "{before:?}");
    let server = house.server();
    let pid = nix::unistd::Pid::from_raw(server);
    // Else the agent that waits for its answer starts the next one.
    fs::write(house.path("data/run/stopped"), "").unwrap();
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    until("the end of the server", || {
        ao_core::slots::process::ProcessId::of(server).is_none().then_some(())
    });
    assert!(!house.path("data/run/ao.sock").exists(), "it took its socket away");
    assert_eq!(agents(&house), before);

    house.ao(&["start"]).success();
    assert_ne!(house.server(), server);
    for id in ["app-1", "app-2"] {
        let doc = house.eventually(&["session", "show", id], |doc| {
            doc["runtime"]["value"]["state"] == "alive"
        });
        assert_eq!(doc["launch"], 1, "{doc:#}");
    }
    assert_eq!(agents(&house), before);
    let events = house.events();
    let ended = events.iter().filter(|event| event["kind"] == "server.stopped").count();
    assert_eq!(ended, 1, "it said good-bye");
    let started = events.iter().rfind(|event| event["kind"] == "server.started").unwrap();
    assert_eq!(started["data"]["clean"], true);
    // The question survives and is still answered by the process that waits for it.
    house.ao(&["answer", "app-2", "1"]).success();
    house.ao(&["events", "verify"]).success();
}

#[test]
fn a_stop_is_respected_by_agents_and_ended_by_people() {
    let house = two_agents();
    house.ao(&["stop"]).success();
    assert!(house.path("data/run/stopped").exists());
    // The agent that waits for its answer comes back to the socket again and again; it starts nothing.
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert!(!house.path("data/run/ao.sock").exists());
    house.ao(&["stop"]).success();
    house.ao(&["restart"]).success();
    assert!(!house.path("data/run/stopped").exists());
    house.ao(&["answer", "app-2", "1"]).success();
    let answer = house.path("data/worktrees/my-app/app-2/answer.txt");
    until("the answer in the workspace", || answer.exists().then_some(()));
}

/// Who waits for something says that the server was stopped, and starts nothing.
#[test]
fn a_stop_ends_who_waits_and_a_follower_goes_on_with_the_next_server() {
    let house = two_agents();
    let mut follow = house.command(&["events", "--follow", "--json"]);
    let mut follow = follow.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // It is not told before the turn ends, and that waits for an answer.
    let mut send = house.command(&["send", "app-2", "--wait", "1000", "hello"]);
    let send = send.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let queued = |event: &serde_json::Value| event["kind"] == "message.requested";
    until("the message", || house.events().iter().any(queued).then_some(()));
    house.ao(&["stop"]).success();
    let sent = send.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&sent.stderr).into_owned();
    assert_eq!(sent.status.code(), Some(10), "{said}");
    assert!(said.contains("the server was stopped meanwhile: what was asked of app-2"), "{said}");
    let mut told = BufReader::new(follow.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(told.any(|line| line.starts_with("the server was stopped")));
    assert!(!house.path("data/run/ao.sock").exists() && house.path("data/run/stopped").exists());
    house.ao(&["start"]).success();
    let mut lines = BufReader::new(follow.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut ended = lines.by_ref().skip_while(|line| !line.contains("server.stopped"));
    assert!(ended.any(|line| line.contains("server.started")));
    follow.kill().unwrap();
    follow.wait().unwrap();
}

/// What systemd cannot do is done without it.
#[test]
fn a_scope_that_cannot_be_had_keeps_no_server_from_starting() {
    let house = House::new();
    let tried = house.path("tried");
    house.script("bin/systemd-run", &format!("#!/bin/sh\ntouch {}\nexit 1\n", tried.display()));
    fs::create_dir_all(house.path("xdg/systemd")).unwrap();
    fs::write(house.path("xdg/systemd/private"), "").unwrap();
    let mut command = house.command_with_bin(&["status"]);
    command.env("XDG_RUNTIME_DIR", house.path("xdg"));
    house.run(command, &["status"]).success();
    assert!(tried.exists());
}

/// What an earlier server knew is known again, whatever of its caches is gone.
#[test]
fn readable_copies_are_never_read_back() {
    let house = two_agents();
    let before = house.json(&["session", "show", "app-2"]);
    end(house.server());
    let _ = fs::remove_dir_all(house.path("data/sessions"));
    let _ = fs::remove_file(house.path("data/snapshot.json"));
    let after = house.eventually(&["session", "show", "app-2"], |doc| {
        doc["runtime"]["value"]["state"] == "alive"
    });
    for part in ["first", "created", "requests", "branch", "workspace", "handle"] {
        assert_eq!(after[part], before[part], "{part}");
    }
    assert_eq!(text(&after["session"]["status"]), "needs_input");
}

/// What stands for systemd here: it knows whether a unit is active, and runs its command line.
const SYSTEMCTL: &str = r#"#!/bin/sh
echo "$*" >> "$HOME/systemctl.log"
active="$HOME/active"
run() {
    sed -n 's/^ExecStart=/exec /p' "$HOME/.config/systemd/user/$1" > "$HOME/line"
    sh "$HOME/line" < /dev/null > /dev/null 2>&1 &
    echo $! > "$active"
}
case "$2" in
is-active) test -f "$active" && kill -0 "$(cat "$active")" ;;
start) run "$3" ;;
restart) kill "$(cat "$active")"; while test -e "$AO_DATA_DIR/run/ao.sock"; do sleep 0.05; done; run "$3" ;;
esac
"#;

#[test]
fn a_server_that_systemd_runs_stays_its_units() {
    let house = House::new();
    house.configure();
    house.script("bin/systemctl", SYSTEMCTL);
    // No scope is asked for of what only looks like systemd.
    house.script(
        "bin/systemd-run",
        "#!/bin/sh\nwhile [ \"$1\" != -- ]; do shift; done; shift; exec \"$@\"\n",
    );
    fs::create_dir_all(house.path("run/systemd")).unwrap();
    fs::write(house.path("run/systemd/private"), "").unwrap();
    let ao = |args: &[&str]| {
        let mut command = house.command(args);
        let path = std::env::var("PATH").unwrap();
        command.env("PATH", format!("{}:{path}", house.path("bin").display()));
        command.env("XDG_RUNTIME_DIR", house.path("run"));
        house.run(command, args)
    };
    let log = || fs::read_to_string(house.path("home/systemctl.log")).unwrap_or_default();
    // None is asked while no unit was installed.
    ao(&["restart"]).success();
    assert_eq!(log(), "");
    let file = house.path("repo/agent-orchestrator.yaml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("# ${{TOKEN}}\n{text}")).unwrap();
    let init = ao(&["init", "--systemd", "--yes", "--no-test"]).success().stderr();
    assert!(init.contains("systemd starts the server"), "{init}");
    assert!(init.contains("agent-orchestrator.yaml takes values from variables"), "{init}");
    // Of a data directory of its own.
    let units: Vec<_> = fs::read_dir(house.path("home/.config/systemd/user")).unwrap().collect();
    let unit = units[0].as_ref().unwrap().path();
    let name = unit.file_name().unwrap().to_str().unwrap().to_owned();
    assert!(
        units.len() == 1 && name.starts_with("ao-") && name.ends_with("data.service"),
        "{name}"
    );
    let before = house.server();
    ao(&["restart"]).success();
    assert!(log().contains(&format!("--user restart {name}\n")), "{}", log());
    assert_ne!(house.server(), before);

    // Somebody's own unit stays.
    fs::write(&unit, "[Service]\nExecStart=/bin/true\n").unwrap();
    let refused = ao(&["init", "--systemd", "--yes", "--no-test"]).exits(5).stderr();
    assert!(refused.contains("says something else") && refused.contains(&name), "{refused}");
    assert!(fs::read_to_string(&unit).unwrap().contains("/bin/true"));
    // One whose server does not come up is not said to run it.
    fs::remove_file(&unit).unwrap();
    house.script("bin/systemctl", &SYSTEMCTL.replace("start) run \"$3\" ;;", "start) ;;"));
    fs::remove_file(house.path("home/active")).unwrap();
    let failed = ao(&["init", "--systemd", "--yes", "--no-test"]).exits(6).stderr();
    assert!(!failed.contains("systemd starts the server"), "{failed}");
    assert!(failed.contains("journalctl --user -u ao-"), "{failed}");
}
