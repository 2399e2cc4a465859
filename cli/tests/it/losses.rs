//! What is lost and comes back: the tmux server, an agent's process, a server in the middle of starting many.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    process::Stdio,
    time::Duration,
};

use serde_json::Value;

use crate::{
    house::{House, end, text, until},
    receiver::{Push, Receiver},
};

/// Works until it is told otherwise, and says how often it was started.
const WORKER: &str = r#"#!/bin/sh
"$AO_DATA_DIR/run/ao" report working
echo "$AO_LAUNCH" >> starts.txt
while :; do echo step >> progress.txt; sleep 1; done
"#;

fn workers(settle: &str) -> (House, Receiver) {
    let (house, receiver) = (House::new(), Receiver::start());
    let worker = house.script("worker.sh", WORKER);
    house.configure_as(&format!(
        r#"defaults: {{notifiers: [hook], agent: custom}}
notifiers:
  hook: {{plugin: webhook, url: "http://127.0.0.1:{port}/", allowPrivate: true, secret: loss-secret-loss-secret}}
lifecycle:
  sweepInterval: 200ms
  settle: {{urgent: {settle}, action: {settle}, warning: {settle}}}
projects:
  my-app:
    path: .
    defaultBranch: main
    sessionPrefix: app
    agentConfig: {{command: ["{worker}", "{{prompt}}"], resume: ["{worker}", "on"], input: none}}
"#,
        port = receiver.port,
        worker = worker.display(),
    ));
    (house, receiver)
}

fn buzzed(receiver: &Receiver) -> Vec<Push> {
    receiver.pushes().into_iter().filter(Push::buzzes).collect()
}

/// The process in each pane, by session.
pub(crate) fn panes(house: &House) -> BTreeMap<String, i32> {
    let out = house.tmux(&["list-panes", "-a", "-F", "#{window_name} #{pane_pid} #{pane_dead}"]);
    let pane = |line: &str| {
        let mut words = line.split(' ');
        let (name, pid, dead) = (words.next()?, words.next()?.parse().ok()?, words.next()?);
        (dead == "0").then(|| (name.to_owned(), pid))
    };
    String::from_utf8_lossy(&out.stdout).lines().filter_map(pane).collect()
}

#[test]
fn r17_sessions_come_back_when_the_tmux_server_dies_and_nobody_is_called() {
    let (house, receiver) = workers("1s");
    for _ in 0..3 {
        house.ao(&["spawn", "my-app", "--prompt", "work"]).success();
    }
    let starts = |id: &str| house.path(&format!("data/worktrees/my-app/{id}/starts.txt"));
    let ids = ["app-1", "app-2", "app-3"];
    // A pane is there before what runs in it has come to its first words.
    until("each has started", || ids.iter().all(|id| starts(id).exists()).then_some(()));
    let before = panes(&house);
    assert_eq!(before.len(), 3);
    house.tmux(&["kill-server"]);
    for id in ids {
        let doc = house.eventually(&["session", "show", id], |doc| {
            doc["launch"] == 2 && doc["session"]["status"] == "working"
        });
        assert_eq!(doc["restoring"], false);
    }
    let after = panes(&house);
    assert_eq!(after.len(), 3, "each once: {after:?}");
    assert!(before.values().all(|pid| !after.values().any(|other| other == pid)));
    for id in ids {
        until("two starts", || {
            let text = fs::read_to_string(starts(id)).ok()?;
            (text == "1\n2\n").then_some(())
        });
    }
    // Longer than it would settle: silence.
    std::thread::sleep(Duration::from_millis(2_500));
    assert_eq!(buzzed(&receiver).len(), 0, "{:#?}", buzzed(&receiver));

    // Lost again at once: what is not brought back a second time is named, in one message.
    house.tmux(&["kill-server"]);
    let push = until("the push", || buzzed(&receiver).into_iter().next());
    assert_eq!(push.message("kind"), "runtime-lost");
    let whole = push.body["message"].to_string();
    assert!(whole.contains("3 agents did not come back") && whole.contains("app-1…3"), "{whole}");
    std::thread::sleep(Duration::from_millis(2_500));
    assert_eq!(buzzed(&receiver).len(), 1, "one message, not one for each");
    // A kill of what is dead already is a success.
    house.ao(&["session", "kill", "app-1"]).success();
}

#[test]
fn r18_an_agent_that_is_killed_beneath_its_shell_is_told_of() {
    let (house, receiver) = workers("300ms");
    house.ao(&["spawn", "my-app", "--prompt", "work"]).success();
    let pid = panes(&house)["app-1"];
    end(pid);
    let push = until("the push", || buzzed(&receiver).into_iter().next());
    assert_eq!((push.message("kind"), push.message("session")), ("agent-exited", "app-1"));
    let doc = house.json(&["session", "show", "app-1"]);
    assert_eq!(doc["session"]["status"], "errored");
    // The workspace holds what was done; a human brings the agent back into it.
    house.ao(&["session", "restore", "app-1"]).success();
    house.eventually(&["session", "show", "app-1"], |doc| doc["session"]["status"] == "working");
    assert_ne!(panes(&house)["app-1"], pid);
    until("the message is settled", || {
        let settled = |push: &Push| push.body["type"] == "notification.resolved";
        receiver.pushes().iter().any(settled).then_some(())
    });
    assert_eq!(buzzed(&receiver).len(), 1);
}

/// What stands in the world, and what the journal says stands there.
struct Found {
    worktrees: BTreeSet<PathBuf>,
    branches: BTreeSet<String>,
    sessions: BTreeSet<String>,
}

impl Found {
    fn look(house: &House) -> Self {
        let listed = house.git(&["worktree", "list", "--porcelain"]);
        let ours = house.path("data/worktrees").canonicalize().unwrap_or_default();
        let worktrees = listed
            .lines()
            .filter_map(|line| line.strip_prefix("worktree "))
            .map(PathBuf::from)
            .filter(|path| path.starts_with(&ours))
            .collect();
        let branches = house.git(&["for-each-ref", "--format=%(refname:short)", "refs/heads/ao"]);
        Self {
            worktrees,
            branches: branches.lines().map(str::to_owned).collect(),
            sessions: panes(house).into_keys().collect(),
        }
    }

    /// What the sessions' own documents name.
    fn recorded(docs: &[Value]) -> Self {
        let mut recorded = Self {
            worktrees: BTreeSet::new(),
            branches: BTreeSet::new(),
            sessions: BTreeSet::new(),
        };
        for doc in docs {
            if let (Some(path), false) = (doc["workspace"].as_str(), doc["workspaceGone"] == true) {
                recorded.worktrees.insert(path.into());
            }
            recorded.branches.extend(doc["branch"].as_str().map(str::to_owned));
            if doc["runtime"]["value"]["state"] == "alive" {
                recorded.sessions.insert(text(&doc["session"]["id"]).to_owned());
            }
        }
        recorded
    }
}

#[test]
fn r19_a_server_killed_among_eight_starts_leaves_nothing_that_is_not_recorded() {
    let (house, _receiver) = workers("60s");
    for issue in 1..=8 {
        let text = format!("---\ntitle: Task {issue}\nstatus: open\n---\nDo it.\n");
        fs::write(house.path(&format!("repo/issues/{issue}.md")), text).unwrap();
    }
    let batch: Vec<String> = ["batch-spawn", "my-app"]
        .map(str::to_owned)
        .into_iter()
        .chain((1..=8).map(|n| n.to_string()))
        .collect();
    let batch: Vec<&str> = batch.iter().map(String::as_str).collect();
    let mut given: Vec<String> = vec![];
    for round in 0..4_u64 {
        let mut command = house.command(&batch);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // At another step each time; the next command starts the server, which goes on with what was begun.
        for kill in 0..4_u64 {
            std::thread::sleep(Duration::from_millis(20 + (round * 4 + kill) * 37 % 330));
            house.kill_server();
            house.ao(&["start"]).success();
        }
        child.wait().unwrap();
        // All that could not be asked for while nobody listened is asked for now.
        let again = house.ao(&batch);
        // 1: nothing was left to be asked for.
        assert!(matches!(again.code(), 0 | 1 | 9), "{again:?}");
        let list = house.eventually(&["session", "ls"], |list| {
            let rows = list["sessions"].as_array().unwrap();
            let works = |row: &&Value| row["status"] == "working";
            rows.iter().filter(works).count() == 8
        });
        let ids: Vec<String> = list["sessions"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|row| row["status"] == "working")
            .map(|row| text(&row["id"]).to_owned())
            .collect();
        let docs: Vec<Value> = ids.iter().map(|id| house.json(&["session", "show", id])).collect();
        let (found, recorded) = (Found::look(&house), Found::recorded(&docs));
        assert_eq!(found.worktrees, recorded.worktrees, "worktrees, round {round}");
        assert_eq!(found.branches, recorded.branches, "branches, round {round}");
        assert_eq!(found.sessions, recorded.sessions, "tmux sessions, round {round}");
        for doc in &docs {
            assert_eq!(doc["launch"], 1, "started once: {doc:#}");
        }
        given.extend(ids.iter().cloned());
        for id in &ids {
            house.ao(&["session", "kill", id, "--force"]).success();
        }
        let found = Found::look(&house);
        assert_eq!((found.worktrees.len(), found.sessions.len()), (0, 0), "round {round}");
        for branch in found.branches {
            house.git(&["branch", "-q", "-D", &branch]);
        }
    }
    let once: BTreeSet<&String> = given.iter().collect();
    assert_eq!(once.len(), given.len(), "an id was given twice: {given:?}");
    let requested: Vec<String> = house
        .events()
        .iter()
        .filter(|event| event["kind"] == "session.requested")
        .map(|event| text(&event["session"]).to_owned())
        .collect();
    let expected: Vec<String> = (1..=requested.len()).map(|n| format!("app-{n}")).collect();
    assert_eq!(requested, expected);
    house.ao(&["events", "verify"]).success();
}
