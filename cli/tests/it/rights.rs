//! What verbs take, refuse and say.

use std::fs;

use crate::house::{House, until};

/// An agent that asks whether it may publish, as often as it is let.
const PUBLISHES: &str = r#"#!/bin/sh
tell() {
  printf '{"hook_event_name":"%s","session_id":"s","source":"startup"%s}' "$1" "$2" |
    "$AO_DATA_DIR/run/ao" hook claude-code "$1"
}
tell SessionStart
tell UserPromptSubmit ',"prompt_id":"t1","prompt":"begin"'
for n in 1 2; do
  asked=',"prompt_id":"t1","tool_name":"Bash","tool_input":{"command":"npm publish --tag v'$n'"}'
  tell PermissionRequest "$asked" > /dev/null
  tell PostToolUse "$asked"
done
exec sleep 100000
"#;

#[test]
fn what_needs_care_is_approved_by_its_id_or_by_a_human_who_saw_it() {
    let house = House::with_claude(PUBLISHES);
    house.spawn_claude();
    let waits = |id: &str| {
        let next = format!("ao approve app-1 {id}");
        house.eventually(&["session", "show", "app-1"], |doc| doc["session"]["next"] == *next);
    };
    waits("r-1");
    let refused = house.ao(&["approve", "app-1"]).exits(8);
    for words in ["npm publish --tag v1", "it needs care", "ao approve app-1 r-1"] {
        assert!(refused.stderr().contains(words), "{words}: {}", refused.stderr());
    }
    let approved = house.ao(&["approve", "app-1", "r-1"]).success().stdout();
    assert!(
        approved.contains("Approved once for app-1: npm publish --tag v1 (confirmed"),
        "{approved}"
    );
    // What was read as r-1 is not the one that is open by now.
    waits("r-2");
    let late = house.ao(&["approve", "app-1", "r-1"]).exits(5);
    assert!(late.stderr().contains("app-1 asks nothing now"), "{}", late.stderr());
    let approved = house.ao(&["approve", "app-1", "--yes"]).success().stdout();
    assert!(approved.contains("npm publish --tag v2"), "{approved}");
    house.ao(&["approve", "app-1"]).exits(5);
}

#[test]
fn an_answer_is_said_by_its_words_and_a_kill_of_what_is_over_as_such() {
    let house = House::new();
    house.configure();
    let spawned = house.ao(&["spawn", "my-app", "--prompt", "ask me something"]).success();
    assert_eq!(spawned.stdout(), "Working. Look in: ao session attach app-1\n");
    assert!(
        spawned.stderr().contains("No channel: run ao status to look."),
        "{}",
        spawned.stderr()
    );
    house
        .eventually(&["session", "show", "app-1"], |doc| doc["session"]["status"] == "needs_input");
    let answered = house.ao(&["answer", "app-1", "2"]).success().stdout();
    assert!(answered.contains("app-1 got \"Items and shipping\" (confirmed"), "{answered}");
    house.ao(&["session", "kill", "app-1"]).success();
    let again = house.ao(&["session", "kill", "app-1"]).success().stdout();
    assert!(again.starts_with("app-1 is already over (killed)"), "{again}");
}

/// An answer is for the question that its giver saw, as an approval is.
#[test]
fn an_answer_without_an_id_is_taken_where_one_question_waits() {
    let house = House::new();
    house.configure();
    house.ao(&["spawn", "my-app", "--prompt", "wait"]).success();
    house.eventually(&["session", "show", "app-1"], |doc| doc["session"]["status"] == "idle");
    for text in ["Which one?", "And when?"] {
        let args = ["report", "question", text];
        house.run(house.within("app-1", &args), &args).success();
    }
    let refused = house.ao(&["answer", "app-1", "this one"]).exits(5).stderr();
    assert!(refused.contains("app-1 waits for 2 decisions: r-1, r-2"), "{refused}");
    let answered = house.ao(&["answer", "app-1", "--request", "r-2", "now"]).stdout();
    assert!(answered.contains("app-1"), "{answered}");
    let doc = house.json(&["session", "show", "app-1"]);
    let decided = |n: usize| doc["requests"][n]["decision"].clone();
    assert!(decided(0).is_null() && decided(1)["text"] == "now", "{doc:#}");
}

#[test]
fn an_agent_that_is_not_there_is_missed_before_anything_is_launched() {
    let house = House::new();
    house.configure_as(
        "projects: {my-app: {path: ., defaultBranch: main, sessionPrefix: app}}\n\
         notifiers: {}\ndefaults: {notifiers: []}\n",
    );
    let args = ["spawn", "my-app", "--prompt", "begin"];
    let mut command = house.command(&args);
    // The programs that a spawn needs, and no agent.
    command.env("PATH", house.only("few", &["git", "tmux", "sh"]));
    let missed = house.run(command, &args).exits(7).stderr();
    for words in ["claude-code is not installed", "npm install -g @anthropic-ai/claude-code"] {
        assert!(missed.contains(words), "{words}: {missed}");
    }
    let kinds: Vec<_> = house.events().iter().map(|e| e["kind"].clone()).collect();
    assert!(!kinds.iter().any(|kind| kind == "incident.opened"), "{kinds:?}");
    assert!(!house.path("data/worktrees/my-app/app-1").exists());
}

/// S23: a repository's own set-up commands have the rights of the session that they run for.
#[test]
fn s23_set_up_commands_decide_nothing() {
    let house = House::new();
    let log = house.path("refused.log");
    let tool = env!("CARGO_BIN_EXE_ao");
    let kill = "session kill app-1 --force --yes";
    let script = house.script(
        "set-up.sh",
        &format!(
            "#!/bin/sh\nexport AO_DATA_DIR={data}\n{{ {tool} {kill}; echo $?; env -u AO_SESSION {tool} {kill}; echo $?; }} >> {log} 2>&1\n",
            data = house.path("data").display(),
            log = log.display(),
        ),
    );
    house.configure_as(&format!(
        "projects:\n  my-app:\n    path: .\n    defaultBranch: main\n    sessionPrefix: app\n    agent: custom\n    \
         agentConfig: {{command: [\"{}\", \"{{prompt}}\"]}}\n    postCreate: [\"case $PWD in *app-2) {} ;; esac\"]\n\
         notifiers: {{}}\ndefaults: {{notifiers: []}}\nlifecycle: {{sweepInterval: 200ms}}\n",
        house.path("agent.sh").display(),
        script.display()
    ));
    house.ao(&["spawn", "my-app", "--prompt", "wait"]).success();
    house.ao(&["spawn", "my-app", "--prompt", "wait"]).success();
    let tried = until("both tries", || {
        let text = fs::read_to_string(&log).ok()?;
        (text.lines().filter(|line| line.len() <= 3).count() == 2).then_some(text)
    });
    let codes: Vec<_> = tried.lines().filter(|line| line.len() <= 3).collect();
    assert_eq!(codes, ["5", "5"], "{tried}");
    assert_eq!(tried.matches("an agent may not kill").count(), 2, "{tried}");
    let doc = house.json(&["session", "show", "app-1"]);
    assert!(doc["over"].is_null(), "{doc:#}");
}
