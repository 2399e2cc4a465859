//! What rules while a configuration cannot be used, and what a human trusts.

use std::{
    fs,
    io::{Read, Write},
    os::unix::net::UnixStream,
};

use ao_fakes::github::{By, GitHub, TOKEN};
use serde_json::{Value, json};

use crate::{
    house::{House, text, until},
    receiver::{Push, Receiver},
};

/// One project with the scripted agent, and a receiver that is told all.
fn settings(house: &House, receiver: &Receiver) -> String {
    format!(
        r#"defaults: {{notifiers: [hook]}}
notifiers:
  hook: {{plugin: webhook, url: "http://127.0.0.1:{port}/", allowPrivate: true}}
lifecycle: {{sweepInterval: 200ms, settle: {{urgent: 100ms, warning: 100ms}}}}
projects:
  my-app:
    path: .
    defaultBranch: main
    sessionPrefix: app
    agent: custom
    agentConfig: {{command: ["{agent}", "{{prompt}}"]}}
"#,
        port = receiver.port,
        agent = house.path("agent.sh").display(),
    )
}

fn asking() -> (House, Receiver, String) {
    let (house, receiver) = (House::new(), Receiver::start());
    let text = settings(&house, &receiver);
    house.configure_as(&text);
    house.ao(&["spawn", "my-app", "--prompt", "ask me something"]).success();
    house
        .eventually(&["session", "show", "app-1"], |doc| doc["session"]["status"] == "needs_input");
    until("the push", || receiver.of_kind("agent-needs-input").pop());
    (house, receiver, text)
}

fn write(house: &House, text: &str) {
    fs::write(house.path("repo/agent-orchestrator.yaml"), text).unwrap();
}

/// The server dies and the next one serves.
fn killed(house: &House) {
    house.kill_server();
    house.ao(&["start"]).success();
}

/// The session is looked at, answered, talked to, and ended, whatever became of its file.
fn goes_on(house: &House) {
    house.eventually(&["session", "show", "app-1"], |doc| {
        doc["runtime"]["value"]["state"] == "alive" && doc["session"]["status"] == "needs_input"
    });
    house.ao(&["answer", "app-1", "items only"]).success();
    house.eventually(&["session", "show", "app-1"], |doc| doc["session"]["status"] == "idle");
    house.ao(&["send", "app-1", "--wait", "60", "one more thing"]).success();
    // Probed as before: the end of the agent is seen.
    crate::house::end(crate::losses::panes(house)["app-1"]);
    house.eventually(&["session", "show", "app-1"], |doc| doc["session"]["status"] == "errored");
    house.ao(&["session", "restore", "app-1"]).success();
    house.eventually(&["session", "show", "app-1"], |doc| {
        doc["runtime"]["value"]["state"] == "alive"
    });
    house.ao(&["session", "kill", "app-1"]).success();
}

/// The message about a file that was refused is settled in its place.
fn is_settled(receiver: &Receiver) {
    until("the message is settled", || {
        let settled = |push: &Push| push.body["type"] == "notification.resolved";
        let refused = receiver.of_kind("config-refused");
        let id = refused.first()?.message("id").to_owned();
        receiver.pushes().into_iter().find(|push| settled(push) && push.message("id") == id)
    });
}

#[test]
fn a_change_that_only_waits_for_trust_is_told_with_what_it_changes() {
    let (house, receiver, good) = asking();
    write(&house, &format!("{good}    postCreate: [\"make all\"]\n"));
    let push = until("the push", || receiver.of_kind("config-refused").pop());
    assert!(
        push.message("short").starts_with("It waits for your trust: projects.my-app.postCreate")
    );
    assert!(push.message("command").starts_with("ao config trust /"), "{}", push.body);
    assert!(push.body["message"]["body"].to_string().contains("make all"), "{}", push.body);
    house.ao(&["config", "trust", "--yes"]).success();
    is_settled(&receiver);
}

#[test]
fn r26_a_broken_file_and_a_restart_change_nothing_and_are_told_once() {
    let (house, receiver, good) = asking();
    let applied = || {
        let applied = house.events().into_iter();
        applied.filter(|event| event["kind"] == "config.applied").count()
    };
    let before = applied();
    write(&house, &format!("{good}notifer: slack\n"));
    for _ in 0..2 {
        killed(&house);
    }
    let push = until("the push", || receiver.of_kind("config-refused").pop());
    let said = push.body["message"]["body"].to_string();
    assert!(said.contains("│ notifer: slack"), "the line itself is shown: {said}");
    house.ao(&["config", "check"]).exits(3);
    assert_eq!(applied(), before, "what was applied last rules on");
    goes_on(&house);
    house.ao(&["stop"]).success();
    house.ao(&["start"]).success();

    write(&house, &good);
    house.ao(&["config", "check"]).success();
    is_settled(&receiver);
    assert_eq!(receiver.of_kind("config-refused").len(), 1);
    house.ao(&["spawn", "my-app", "--prompt", "wait"]).success();
    house.ao(&["events", "verify"]).success();
}

#[test]
fn r26_a_variable_that_the_next_server_has_not_strands_nobody() {
    let (house, receiver, good) = asking();
    let with = format!("{good}    env: {{TOKEN_OF_IT: \"${{TEST_TOKEN}}\"}}\n");
    write(&house, &with);
    house.ao(&["stop"]).success();
    let mut start = house.command(&["start"]);
    start.env("TEST_TOKEN", "x");
    house.run(start, &["start"]).success();
    house.ao(&["config", "trust", "--yes"]).success();
    house.ao(&["stop"]).success();
    // The next one lacks it.
    house.ao(&["start"]).success();
    // Before it was trusted, that was told.
    until("the push", || {
        let refused = receiver.of_kind("config-refused").into_iter();
        refused
            .map(|push| push.body["message"].to_string())
            .find(|said| said.contains("TEST_TOKEN"))
    });
    goes_on(&house);
}

#[test]
fn r26_a_file_that_is_gone_keeps_its_sessions_usable_and_starts_no_more() {
    for restart in [false, true] {
        let (house, _receiver, good) = asking();
        fs::remove_file(house.path("repo/agent-orchestrator.yaml")).unwrap();
        if restart {
            killed(&house);
        }
        let refused = until("the file is missed", || {
            let ran = house.ao(&["spawn", "my-app", "--prompt", "wait"]);
            (ran.code() == 5).then(|| ran.stderr())
        });
        assert!(refused.contains("my-app takes no new session"), "{refused}");
        goes_on(&house);
        // Back on the branch that has it.
        write(&house, &good);
        house.ao(&["spawn", "my-app", "--prompt", "wait"]).success();
    }
}

#[test]
fn r26_a_file_that_is_forgotten_goes_with_its_last_session() {
    let (house, _receiver, _) = asking();
    house.ao(&["config", "forget"]).success();
    let elsewhere = |args: &[&str]| {
        let mut command = house.command(args);
        command.current_dir(house.path("home"));
        house.run(command, args)
    };
    let refused = elsewhere(&["spawn", "my-app", "--prompt", "wait"]).exits(5).stderr();
    assert!(refused.contains("takes no new session"), "{refused}");
    elsewhere(&["answer", "app-1", "items only"]).success();
    elsewhere(&["session", "kill", "app-1"]).success();
    elsewhere(&["session", "cleanup", "app-1", "--force"]).success();
    until("the project is let go", || {
        (elsewhere(&["spawn", "my-app", "--prompt", "wait"]).code() == 4).then_some(())
    });
}

#[test]
fn what_does_not_load_is_not_trusted_and_what_does_mends_what_was() {
    let house = House::new();
    house.configure();
    let file = house.path("repo/agent-orchestrator.yaml");
    let good = fs::read_to_string(&file).unwrap();
    for bad in [
        good.replace("agent: custom", "agent: no-such"),
        format!("{good}    \n")
            .replace("notifiers: {}", "notifiers: {h: {plugin: webhook, url: \"${NO_SUCH}\"}}"),
    ] {
        write(&house, &bad);
        let check = house.ao(&["config", "check"]).exits(3);
        assert!(check.stderr().contains("waits for your trust"), "{}", check.stderr());
        house.ao(&["config", "trust", "--yes"]).exits(3);
        // What was trusted goes on.
        assert_eq!(house.json(&["config", "ls"])["files"][0]["errors"], serde_json::json!([]));
    }
    // What an earlier server trusted is no obstacle to what is right now.
    house.ao(&["stop"]).success();
    let memory = house.path("data/config.json");
    let mut doc: serde_json::Value = serde_json::from_slice(&fs::read(&memory).unwrap()).unwrap();
    let trusted = &mut doc["trusted"][file.to_str().unwrap()];
    *trusted = text(trusted).replace("agent: custom", "agent: no-such").into();
    fs::write(&memory, doc.to_string()).unwrap();
    write(&house, &good);
    let check = house.ao(&["config", "check"]).exits(3);
    assert!(check.stderr().contains("lets the new one count"), "{}", check.stderr());
    let trust = house.ao(&["config", "trust", "--yes"]).success();
    let asked = trust.stderr();
    assert!(asked.contains("now:  no-such") && asked.contains("then: custom"), "{asked}");
    house.ao(&["config", "check"]).success();
    house.ao(&["spawn", "my-app", "--prompt", "wait"]).success();
}

#[test]
fn what_a_project_runs_is_never_replaced_by_a_default_before_it_is_trusted() {
    let house = House::new();
    let file = house.path("repo/agent-orchestrator.yaml");
    let command = format!("[\"{}\", \"{{prompt}}\"]", house.path("agent.sh").display());
    let long = format!("true {}", "x".repeat(300));
    fs::write(
        &file,
        format!(
            "projects:\n  my-app: {{path: ., defaultBranch: main, sessionPrefix: app, agent: custom, postCreate: [\"{long}\"],\n    \
             env: {{API_KEY: abcdefgh, OTHER: topmost}}, agentConfig: {{command: {command}}}}}\n"
        ),
    )
    .unwrap();
    house.ao(&["status"]).success();
    for args in [
        &["spawn", "my-app", "--prompt", "wait"][..],
        &["spawn", "my-app", "--prompt", "wait", "--yes"],
        &["batch-spawn", "my-app", "1"],
    ] {
        let refused = house.ao(args).exits(8).stderr();
        assert!(
            refused.contains("projects.my-app.agent") && refused.contains("ao config trust"),
            "{refused}"
        );
        // Nor from anywhere else.
        let mut command = house.command(args);
        command.current_dir(house.path("home"));
        house.run(command, args).exits(8);
    }
    assert!(!house.events().iter().any(|event| event["kind"] == "session.requested"));
    let trust = house.ao(&["config", "trust", "--yes"]).success();
    let asked = trust.stderr();
    let whole: String = asked.lines().map(str::trim).collect();
    assert!(whole.contains(&long), "{asked}");
    let names = "API_KEY, OTHER (values are not shown)";
    assert!(asked.contains(names) && !asked.contains("topmost"), "{asked}");
    let warned = asked.matches("`projects.my-app.env.API_KEY` is written in plain text").count();
    assert!(warned == 1 && asked.contains("write `${NAME}`"), "{asked}");
    let check = house.ao(&["config", "check"]).success().stderr();
    assert_eq!(check.matches("is written in plain text").count(), 1, "{check}");
    assert!(house.ao(&["doctor"]).stdout().contains("API_KEY` is written in plain text"));
    house.ao(&["spawn", "my-app", "--prompt", "wait"]).success();
}

#[test]
fn issues_lie_in_a_folder_named_from_the_file() {
    let house = House::new();
    house.configure_with("tracker: {plugin: plain, path: docs/issues}\n    ");
    fs::create_dir_all(house.path("repo/docs/issues")).unwrap();
    fs::write(house.path("repo/docs/issues/7.md"), "# A coupon\n\nFix it.\n").unwrap();
    let spawned = house.ao(&["spawn", "my-app", "7"]).success();
    assert!(spawned.stderr().contains("A coupon"), "{}", spawned.stderr());
}

#[test]
fn s25_a_strangers_issue_goes_to_an_agent_only_by_a_humans_yes() {
    let (hub, repo) = (GitHub::start().unwrap(), "acme/app");
    hub.repository(repo);
    hub.without_secondary_limits();
    let issue = hub.issue(repo, "Add a login", "Blocked by #2").to_string();
    let other = hub.issue(repo, "Choose a store", "").to_string();
    hub.change(repo, 1, |issue| issue.by = By::person("mallory"));
    let house = House::new();
    house.configure_with(&format!(
        "tracker: {{plugin: github, repo: {repo}, url: \"{}\", token: {TOKEN}}}\n    ",
        hub.url()
    ));
    for refused in
        [&["spawn", "my-app", &issue, "--no-wait"][..], &["batch-spawn", "my-app", &other, &issue]]
    {
        let refused = house.ao(refused).exits(8);
        let said = refused.stderr();
        assert!(said.contains("is by mallory, who may not write to the repository"), "{said}");
    }
    assert_eq!(house.json(&["status", "--all"])["sessions"].as_array().unwrap().len(), 0);
    let spawned = house.ao(&["spawn", "my-app", &issue, "--no-wait", "--yes"]).success();
    let said = spawned.stderr();
    assert!(said.contains("issue 1 waits for #2, not closed yet"), "{said}");
    assert!(spawned.stdout().starts_with("Add a login\n"), "it is shown: {}", spawned.stdout());

    // What was read is what an agent gets: not what its author made of it since, and nothing that nobody read.
    for read in [json!("0011223344556677"), json!(null)] {
        let call = json!({"project": "my-app", "issue": issue, "force": true, "read": read});
        let call = call.to_string();
        let mut socket = UnixStream::connect(house.path("data/run/ao.sock")).unwrap();
        let head = "POST /api/sessions HTTP/1.1\r\nhost: ao\r\nconnection: close\r\n";
        let length =
            format!("content-type: application/json\r\ncontent-length: {}\r\n\r\n", call.len());
        socket.write_all([head, &length, &call].concat().as_bytes()).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        let taken: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
        let session = text(&taken["session"]).to_owned();
        let doc = house.eventually(&["session", "show", &session], |doc| !doc["failed"].is_null());
        let why = doc["failed"].to_string();
        assert!(why.contains("mallory may not write to the repository"), "{why}");
    }

    // One that cannot be looked at keeps the others of its batch from nothing.
    let ran = house.ao(&["batch-spawn", "my-app", "nope", &other]).exits(9);
    assert!(ran.stdout().contains("nope") && ran.stdout().contains("app-4"), "{}", ran.stdout());
}

/// R26: what is broken in one repository is said in another, and stops nothing there.
#[test]
fn r26_a_broken_file_stops_its_own_projects_alone() {
    let house = House::new();
    house.configure();
    let other = house.path("other");
    fs::create_dir(&other).unwrap();
    let ao = |args: &[&str]| {
        let mut command = house.command(args);
        command.current_dir(&other);
        house.run(command, args)
    };
    house.repository("other");
    let good = fs::read_to_string(house.path("repo/agent-orchestrator.yaml")).unwrap();
    let theirs = |prefix: &str| {
        let text = good.replace("my-app", "api").replace(": app\n", &format!(": {prefix}\n"));
        text.replace("notifiers: {}\n", "").replace("defaults: {notifiers: []}\n", "")
    };
    write(&house, &format!("{good}notifer: slack\n"));
    // New here, and changed later: both count.
    for prefix in ["api", "net"] {
        let text = theirs(prefix).replace("lifecycle: {sweepInterval: 200ms}\n", "");
        fs::write(other.join("agent-orchestrator.yaml"), text).unwrap();
        let trust = ao(&["config", "trust", "--yes"]).success();
        assert!(trust.stdout().contains("counts as it is now"), "{}", trust.stdout());
        let spawned = ao(&["spawn", "api", "--prompt", "wait"]).success();
        assert!(spawned.stdout().contains(&format!("attach {prefix}-1")), "{}", spawned.stdout());
        assert!(spawned.stderr().contains("`notifer` is not a setting"), "{}", spawned.stderr());
    }
    for place in [house.path("repo"), other] {
        let mut command = house.command(&["spawn", "my-app", "--prompt", "wait"]);
        command.current_dir(place);
        house.run(command, &["spawn"]).exits(3);
    }
}

#[test]
fn the_settings_in_use_are_those_that_are_shown() {
    let house = House::new();
    house.configure();
    let elsewhere = |args: &[&str]| {
        let mut command = house.command(args);
        command.current_dir(house.path("home"));
        house.run(command, args)
    };
    let shown = || {
        let shown = elsewhere(&["config", "show", "--json"]).success().stdout();
        serde_json::from_str::<serde_json::Value>(&shown).unwrap()
    };
    let file = house.path("repo/agent-orchestrator.yaml");
    let doc = shown();
    assert_eq!(doc["files"], serde_json::json!([file]));
    let project = &doc["policy"]["projects"]["my-app"];
    // What was trusted, and what was found out.
    assert_eq!(project["agent"]["plugin"], "custom", "{project}");
    assert_eq!(project["tracker"]["plugin"], "plain", "{project}");
    // What waits for trust is not in use.
    let good = fs::read_to_string(&file).unwrap();
    fs::write(&file, good.replace("    agent: custom\n", "    agent: claude-code\n")).unwrap();
    assert_eq!(shown()["policy"]["projects"]["my-app"]["agent"]["plugin"], "custom");
    let warned = elsewhere(&["config", "show"]).success().stderr();
    assert!(warned.contains("waits for your trust: projects.my-app.agent"), "{warned}");
    fs::write(&file, "notifer: slack\n").unwrap();
    elsewhere(&["config", "show"]).exits(3);

    fs::remove_file(&file).unwrap();
    let listed = elsewhere(&["config", "ls"]).success().stdout();
    let path = file.display();
    assert!(listed.contains(&format!("{path}  no project  (registered)  is gone")), "{listed}");
    assert!(listed.contains(&format!("ao config forget {path}")), "{listed}");
}
