//! `ao init` and the first spawn on machines that lack something.

use std::{
    os::unix::fs::symlink,
    process::{Command, Output},
};

use crate::house::{House, Ran};

/// The programs that are always there, and nothing else: no agent, no desktop.
fn bare(house: &House, args: &[&str], without: &str) -> Ran {
    let mut programs = vec!["git", "tmux", "sh", "env"];
    programs.retain(|name| *name != without);
    let mut command = house.command(args);
    command.env("PATH", house.only(&format!("bin-without-{without}"), &programs));
    house.run(command, args)
}

/// A command line on a terminal, where Enter is pressed again and again.
pub(crate) fn in_terminal(house: &House, script: &str) -> Output {
    typed_in_terminal(house, script, "\n\n\n\n\n\n")
}

/// The same, with these keys.
pub(crate) fn typed_in_terminal(house: &House, script: &str, keys: &str) -> Output {
    let mut command = house.command(&[]);
    let program = command.get_program().to_owned();
    let mut shell = Command::new("script");
    shell.env_clear().envs(command.get_envs().filter_map(|(k, v)| Some((k, v?))));
    shell.env("AO", program).current_dir(house.path("repo"));
    command = shell;
    command.args(["-qec", script, "/dev/null"]);
    house.ao_with(command, keys)
}

/// ux §5: without an agent the first spawn says what init said, with its own exit code.
#[test]
fn without_an_agent_init_and_spawn_say_how_to_get_one() {
    let house = House::new();
    let init = bare(&house, &["init"], "").success();
    let said = init.stderr();
    assert!(said.contains("– agent           none found. Install one:"), "{said}");
    assert!(said.contains("npm install -g @anthropic-ai/claude-code"), "{said}");
    assert!(said.contains("– push            no desktop here (no address"), "{said}");
    assert!(said.contains("only `ao status` tells"), "{said}");
    let spawn = bare(&house, &["spawn", "my-app", "--prompt", "x"], "").exits(4);
    assert!(
        spawn.stderr().contains("repo"),
        "the project has its folder's name: {}",
        spawn.stderr()
    );
    let spawn = bare(&house, &["spawn", "repo", "--prompt", "x"], "").exits(7);
    let said = spawn.stderr();
    assert!(said.contains("claude-code is not installed"), "{said}");
    assert!(said.contains("npm install -g @anthropic-ai/claude-code"), "{said}");
}

#[test]
fn without_tmux_agents_run_as_processes_and_init_says_so() {
    let house = House::new();
    let init = bare(&house, &["init", "--agent", "custom"], "tmux").success();
    assert!(init.stderr().contains("– terminal        tmux is missing. Install: "), "{init:?}");
    assert!(init.stdout().contains("Next: put your agent's program into"), "{init:?}");
    let text = std::fs::read_to_string(house.path("repo/agent-orchestrator.yaml")).unwrap();
    assert!(text.contains("    runtime: process"), "{text}");
    house.ao(&["config", "check"]).success();
}

/// The first push comes even where no agent is installed.
#[test]
fn the_demo_agent_asks_is_answered_and_is_done() {
    let house = House::new();
    house.ao(&["init", "--demo-agent", "--name", "my-app", "--prefix", "app"]).success();
    house.ao(&["spawn", "my-app", "--prompt", "Fix the flaky login test"]).success();
    house
        .eventually(&["session", "show", "app-1"], |doc| doc["session"]["status"] == "needs_input");
    house.ao(&["answer", "app-1", "2"]).success();
    // Its pull request opens by itself, and is merged.
    house.eventually(&["session", "show", "app-1"], |doc| doc["session"]["status"] == "mergeable");
    house.ao(&["pr", "merge", "app-1"]).success();
    house.eventually(&["session", "show", "app-1"], |doc| doc["session"]["status"] == "merged");
    let made = house.git(&["show", "main:ao-demo.md"]);
    assert!(
        made.contains("- told: Fix the flaky login test\n- answered: Items and shipping\n"),
        "{made}"
    );
}

#[test]
fn a_webhook_is_written_where_it_is_named_and_refused_where_it_is_none() {
    let house = House::new();
    house.ao(&["init", "--webhook", "hooks.example.com", "--agent", "custom"]).exits(1);
    assert!(!house.path("repo/agent-orchestrator.yaml").exists());
    house.ao(&["init", "--webhook", "http://127.0.0.1:9/hook", "--agent", "custom"]).exits(1);
    assert!(!house.path("repo/agent-orchestrator.yaml").exists());
    let url = "https://hooks.example.com/T0";
    house.ao(&["init", "--webhook", url, "--agent", "custom"]).success();
    let channels = house.json(&["notify", "channels"]);
    let names: Vec<_> =
        channels["channels"].as_array().unwrap().iter().map(|c| &c["name"]).collect();
    assert_eq!(names, ["desktop", "hook"]);
}

/// A file that leads elsewhere is not written through.
#[test]
fn a_link_in_the_place_of_the_file_is_not_followed() {
    let house = House::new();
    symlink(house.path("home/elsewhere"), house.path("repo/agent-orchestrator.yaml")).unwrap();
    let init = house.ao(&["init", "--yes", "--no-test", "--agent", "custom"]).exits(1);
    assert!(init.stderr().contains("could not be written"), "{}", init.stderr());
    assert!(!house.path("home/elsewhere").exists());
}

#[test]
fn a_folder_of_a_monorepo_is_what_the_agent_works_in_and_a_bare_repository_has_its_own_name() {
    let house = House::new();
    let within = house.path("repo/web/shop");
    std::fs::create_dir_all(&within).unwrap();
    let init = ["init", "--yes", "--no-test", "--agent", "custom"];
    let mut command = house.command(&init);
    command.current_dir(&within);
    house.run(command, &init).success();
    let text = std::fs::read_to_string(house.path("repo/agent-orchestrator.yaml")).unwrap();
    assert!(text.contains("    path: .\n    subdir: web/shop\n"), "{text}");
    house.ao(&["config", "check"]).success();

    let bare = house.path("thing.git");
    house.git(&["clone", "-q", "--bare", ".", bare.to_str().unwrap()]);
    for (key, value) in [("user.name", "ana"), ("user.email", "ana@example.com")] {
        house.git(&["-C", bare.to_str().unwrap(), "config", key, value]);
    }
    let mut command = house.command(&init);
    command.current_dir(bare.join("refs"));
    house.run(command, &init).success();
    let text = std::fs::read_to_string(bare.join("agent-orchestrator.yaml")).unwrap();
    assert!(text.contains("\n  thing:\n    path: .\n    defaultBranch: main\n"), "{text}");
}

#[test]
fn a_folder_without_a_repository_is_refused_with_the_remedy() {
    let house = House::new();
    let home = house.path("home");
    let ran = house.ao(&["init", home.to_str().unwrap()]).exits(4);
    assert!(ran.stderr().contains("is in no git repository") && ran.stderr().contains("git init"));
}

/// On a terminal each question shows its default, and Enter takes it.
#[test]
fn on_a_terminal_enter_takes_each_default() {
    let house = House::new();
    std::fs::write(house.path("repo/Cargo.toml"), "").unwrap();
    let out = in_terminal(&house, "\"$AO\" init --agent custom --name my-app");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.success(), "{text}");
    assert!(text.contains("Session prefix [app]  → app-1, app-2 …"), "{text}");
    assert!(text.contains("Command that checks your code [cargo test]"), "{text}");
    assert!(text.contains("How shall ao reach you? The address of a webhook, or [none]"), "{text}");
    assert!(
        text.contains("Wrote agent-orchestrator.yaml (14 lines). Nothing else was changed."),
        "{text}"
    );
    let text = std::fs::read_to_string(house.path("repo/agent-orchestrator.yaml")).unwrap();
    assert!(text.contains("      checks: [{name: test, run: \"cargo test\"}]"), "{text}");
}

/// Nobody is asked: what is only likely stands there as a comment.
#[test]
fn without_a_forge_pull_requests_are_kept_here_and_no_check_is_guessed() {
    let house = House::new();
    std::fs::write(house.path("repo/Makefile"), "test:\n\ttrue\n").unwrap();
    house.git(&["remote", "add", "origin", "git@github.com:acme/my-app.git"]);
    let init = bare(&house, &["init", "--yes", "--no-test", "--agent", "custom"], "").success();
    let said = init.stderr();
    assert!(said.contains("github.com/acme/my-app, not signed in: issues from ./issues"), "{said}");
    assert!(said.contains("gh auth login, then write `repo: acme/my-app`"), "{said}");
    let text = std::fs::read_to_string(house.path("repo/agent-orchestrator.yaml")).unwrap();
    assert!(text.contains("      plugin: local\n      autoOpen: true"), "{text}");
    assert!(text.contains("      # checks: [{name: test, run: \"make test\"}]"), "{text}");

    let house = House::new();
    house
        .ao(&["init", "--yes", "--no-test", "--agent", "custom", "--check", "./test.sh"])
        .success();
    let text = std::fs::read_to_string(house.path("repo/agent-orchestrator.yaml")).unwrap();
    assert!(text.contains("      checks: [{name: test, run: \"./test.sh\"}]"), "{text}");
    house.ao(&["config", "check"]).success();
}
