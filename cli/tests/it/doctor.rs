//! `ao doctor` on real machines, each broken in one way.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::{
        fs::{PermissionsExt, symlink},
        net::UnixListener,
    },
    path::Path,
    process::{Command, Output},
};

use crate::house::{House, text};

/// A house in which all is well, but that no server runs.
fn house() -> House {
    let house = House::new();
    house.configure_as(&format!(
        "projects:\n  my-app:\n    path: .\n    agent: custom\n    agentConfig: {{command: [\"{}\"]}}\n\
         notifiers: {{hook: {{plugin: webhook, url: \"https://hooks.example.com/x\"}}}}\n\
         defaults: {{notifiers: [hook]}}\n",
        house.path("agent.sh").display()
    ));
    house.ao(&["stop"]).success();
    house
}

/// The checks that found something, without what holds for the machine that the tests run on.
fn found(house: &House, path: Option<&str>) -> BTreeSet<String> {
    let args = ["doctor", "--json"];
    let mut command = house.command(&args);
    if let Some(path) = path {
        command.env("PATH", house.path(path));
    }
    let ran = house.run(command, &args);
    let report: serde_json::Value = serde_json::from_str(&ran.stdout()).unwrap();
    let bad = report["findings"].as_array().unwrap().iter().filter(|f| f["severity"] != "good");
    let ids = bad.map(|finding| {
        assert!(finding["fix"].is_string(), "{finding}");
        finding["id"].as_str().unwrap().to_owned()
    });
    let apart = ["root", "isolation", "agent", "agent-login", "disk", "repository-disk"];
    ids.filter(|id| !apart.contains(&id.as_str())).collect()
}

fn write(house: &House, path: &str, text: &str) {
    fs::write(house.path(path), text).unwrap();
}

#[test]
fn each_broken_part_of_a_machine_is_found_by_its_own_check() {
    type Break = fn(&House);
    let breaks: [(&str, Break); 10] = [
        ("data", |h| {
            fs::set_permissions(h.path("data"), fs::Permissions::from_mode(0o755)).unwrap();
        }),
        ("modes", |h| {
            fs::set_permissions(h.path("data/logs"), fs::Permissions::from_mode(0o755)).unwrap();
        }),
        ("journal", |h| {
            let segment = h.path("data/journal/00000000000000000001.jsonl");
            let mut bytes = fs::read(&segment).unwrap();
            // Not the end: what a crash cut off there is no damage.
            bytes[60] ^= 1;
            fs::write(segment, bytes).unwrap();
        }),
        ("config", |h| write(h, "repo/agent-orchestrator.yaml", "notifer: slack\n")),
        ("trust", |h| {
            let file = h.path("repo/agent-orchestrator.yaml");
            let text = fs::read_to_string(&file).unwrap();
            fs::write(file, text.replace("agent: custom", "agent: custom\n    postCreate: [make]"))
                .unwrap();
        }),
        ("link", |h| {
            fs::remove_file(h.path("data/run/ao")).unwrap();
            symlink("/no/such/program", h.path("data/run/ao")).unwrap();
        }),
        ("socket", |h| {
            let socket = h.path("data/run/ao.sock");
            drop(UnixListener::bind(&socket).unwrap());
            fs::set_permissions(socket, fs::Permissions::from_mode(0o600)).unwrap();
        }),
        ("push", |h| {
            h.configure();
            h.ao(&["stop"]).success();
        }),
        ("repository", |h| {
            h.git(&["config", "user.useConfigOnly", "true"]);
            h.git(&["config", "--unset", "user.email"]);
        }),
        ("git", |h| {
            let old = "#!/bin/sh\n[ \"$1\" = --version ] && echo git version 2.20.1 && exit\nexec /usr/bin/git \"$@\"\n";
            h.script("bin/git", old);
            h.only("bin", &["tmux", "sh"]);
        }),
    ];
    // Without a server nobody can tell whose a workspace is.
    let well: BTreeSet<String> = ["server", "worktrees"].map(str::to_owned).into();
    for (id, break_it) in breaks {
        let house = house();
        assert_eq!(found(&house, None), well, "before {id}");
        break_it(&house);
        let path = (id == "git").then_some("bin");
        let mut broken = found(&house, path);
        assert!(broken.remove(id), "{id} is not found: {broken:?}");
        if id == "config" {
            // Its channel went with it.
            broken.remove("push");
        }
        assert!(broken.is_subset(&well), "beside {id}: {broken:?}");
    }
}

#[test]
fn a_running_server_and_a_lost_workspace_are_told_apart() {
    let house = house();
    house.ao(&["start"]).success();
    assert_eq!(found(&house, None), BTreeSet::new());
    let lost = house.path("data/worktrees/my-app/my-app-9");
    house.git(&["worktree", "add", "-q", "-b", "ao/lost", lost.to_str().unwrap()]);
    assert_eq!(found(&house, None), ["worktrees".to_owned()].into());
    // A terminal program that is away.
    house.only("no-tmux", &["git"]);
    assert!(found(&house, Some("no-tmux")).contains("tmux"));
}

/// The worktrees that belong to no session: each path with the line that is printed for it.
fn orphans(house: &House) -> Vec<(String, String)> {
    let report = house.json(&["doctor"]);
    let findings = report["findings"].as_array().unwrap().iter();
    let lost = findings.filter(|finding| finding["id"] == "worktrees");
    let lost = lost.filter(|finding| finding["severity"] != "good");
    lost.map(|finding| (text(&finding["words"]).to_owned(), text(&finding["fix"]).to_owned()))
        .collect()
}

/// Pastes a line into a shell.
fn paste(house: &House, line: &str) -> Output {
    let bin = house.path("paste");
    let _there = fs::create_dir(&bin);
    let _there = symlink(env!("CARGO_BIN_EXE_ao"), bin.join("ao"));
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let ao = house.command(&[]);
    let mut shell = Command::new("sh");
    shell.env_clear().envs(ao.get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell.args(["-c", line]).env("PATH", path).current_dir(house.path("repo")).output().unwrap()
}

/// R19: the journal is lost, and nothing that two agents have made. What is printed is what helps.
#[test]
fn r19_orphans_are_found_listed_and_taken_over_with_their_uncommitted_files() {
    let house = House::new();
    house.configure();
    for id in ["app-1", "app-2"] {
        house.ao(&["spawn", "my-app", "--prompt", "ask me"]).success();
        house.eventually(&["session", "show", id], |doc| doc["session"]["status"] == "needs_input");
    }
    assert_eq!(orphans(&house), []);
    let at = |id: &str| house.path("data/worktrees/my-app").join(id).canonicalize().unwrap();
    let (first, second) = (at("app-1"), at("app-2"));
    fs::write(second.join("notes.txt"), "not committed\n").unwrap();
    fs::write(second.join("main.txt"), "changed\n").unwrap();
    house.ao(&["stop"]).success();
    house.tmux(&["kill-server"]);
    fs::remove_dir_all(house.path("data/journal")).unwrap();
    fs::remove_file(house.path("data/snapshot.json")).unwrap();

    house.ao(&["start"]).success();
    let found = orphans(&house);
    let lost = |found: &[(String, String)], path: &Path, branch: &str| {
        let words = format!("{} on {branch} belongs to no session", path.display());
        found.iter().find(|(said, _)| *said == words).map(|(_, fix)| fix.clone())
    };
    assert_eq!(found.len(), 2, "{found:?}");
    let fix = lost(&found, &second, "ao/app-2-ask-me").unwrap();
    let (take_over, _) = fix.split_once("   or: ").unwrap();
    let as_it_is = paste(&house, take_over);
    assert_eq!(as_it_is.status.code(), Some(2), "{as_it_is:?}");
    let spawned = paste(&house, &take_over.replace('…', "wait"));
    assert!(spawned.status.success(), "{spawned:?}");
    let doc = house.json(&["session", "show", "app-1"]);
    assert_eq!(
        (text(&doc["branch"]), doc["workspaceGone"].as_bool()),
        ("ao/app-2-ask-me", Some(false))
    );
    assert_eq!(Path::new(text(&doc["workspace"])), second);
    for (name, expected) in
        [("notes.txt", "not committed\n"), ("main.txt", "changed\n"), ("work.txt", "work\n")]
    {
        assert_eq!(fs::read_to_string(second.join(name)).unwrap(), expected);
    }
    assert!(!house.git(&["branch"]).contains("-2-ask-me-2"));
    let heard = second.join("heard.txt");
    house.ao(&["send", "app-1", "--wait", "0", "here?"]).success();
    house.eventually(&["session", "show", "app-1"], |_| heard.exists());

    // It is taken; the other is still nobody's, though its folder has the new session's name.
    let again = ["spawn", "my-app", "--branch", "ao/app-2-ask-me", "--prompt", "wait"];
    let refused = house.ao(&again).exits(5).stderr();
    assert!(refused.contains("app-1 works on ao/app-2-ask-me"), "{refused}");
    assert!(refused.contains("ao session attach app-1"), "{refused}");
    let found = orphans(&house);
    assert_eq!(found.len(), 1, "{found:?}");
    let fix = lost(&found, &first, "ao/app-1-ask-me").unwrap();
    let (_, remove) = fix.split_once("   or: ").unwrap();
    let (remove, _) = remove.split_once("   (").unwrap();
    fs::write(first.join("notes.txt"), "").unwrap();
    assert!(!paste(&house, remove).status.success(), "it holds work");
    fs::remove_file(first.join("notes.txt")).unwrap();
    // The first try has unlocked it.
    let (_, fix) = orphans(&house).pop().unwrap();
    let (_, remove) = fix.split_once("   or: ").unwrap();
    let (remove, _) = remove.split_once("   (").unwrap();
    let removed = paste(&house, remove);
    assert!(removed.status.success() && !first.exists(), "{removed:?}");
    assert!(house.git(&["branch"]).contains("ao/app-1-ask-me"));
    assert_eq!(orphans(&house), []);

    house.ao(&["spawn", "my-app", "--branch", "never-was", "--prompt", "wait"]).exits(4);
    house.ao(&["session", "kill", "app-1"]).success();
    let refused = house.ao(&again).exits(5).stderr();
    assert!(refused.contains("ao session restore app-1") && heard.exists(), "{refused}");
}

/// Where no desktop is, nothing says that one works.
#[test]
fn an_agent_is_not_told_to_remove_the_worktrees_of_others() {
    let house = house();
    for _ in 0..2 {
        house.ao(&["spawn", "my-app", "--prompt", "wait"]).success();
    }
    let args = ["doctor"];
    let mut command = house.command(&args);
    command.env("AO_SESSION", "app-1");
    let ran = house.run(command, &args);
    let said = format!("{}{}", ran.stdout(), ran.stderr());
    assert!(said.contains("no server told of all of them"), "{said}");
    assert!(!said.contains("worktree remove"), "{said}");
}

#[test]
fn a_desktop_that_is_away_is_said_before_the_first_message() {
    let house = House::new();
    house.configure_as("projects:\n  my-app:\n    path: .\n");
    let channels = house.json(&["notify", "channels"]);
    let error = channels["channels"][0]["error"].as_str().unwrap();
    assert!(error.contains("cannot reach the desktop"), "{channels}");
    let status = house.json(&["status"]);
    assert_eq!(status["reachable"], false);
    house.ao(&["doctor"]).exits(1);
}
