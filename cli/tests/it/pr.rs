//! Pull requests on a plain repository: opened by an agent, reviewed and merged by a human.

use crate::house::{House, text};

/// A house whose project has a check, and a session whose agent has committed its work.
fn house() -> House {
    let house = House::new();
    let yaml = format!(
        "projects:\n  my-app:\n    path: .\n    defaultBranch: main\n    sessionPrefix: app\n    agent: custom\n    \
         agentConfig: {{command: [\"{}\", \"{{prompt}}\"]}}\n    \
         scm: {{plugin: local, checks: [{{name: unit, run: \"test -f work.txt && echo fine\"}}]}}\n\
         notifiers: {{}}\ndefaults: {{notifiers: []}}\nlifecycle: {{sweepInterval: 200ms, scmInterval: 300ms}}\n",
        house.path("agent.sh").display()
    );
    house.configure_as(&yaml);
    house.ao(&["spawn", "my-app", "--prompt", "work on it"]).success();
    house.eventually(&["session", "show", "app-1"], |doc| {
        doc["activity"]["value"]["state"] == "idle" && doc["work"]["commits"] == 1
    });
    house
}

#[test]
fn an_agents_pull_request_is_opened_looked_at_reviewed_and_merged() {
    let house = house();
    // As the agent, in its own session; a second time it is told of the first.
    let create = ["pr", "create", "--title", "Do the work"];
    let opened = house.run(house.within("app-1", &create), &create).success().stdout();
    assert!(opened.contains("my-app#1 is open"), "{opened}");
    let again = house.run(house.within("app-1", &create), &create).exits(5);
    assert!(again.stderr().contains("app-1 has pull request #1 already"), "{}", again.stderr());
    let show = ["pr", "show"];
    let shown = house.run(house.within("app-1", &show), &show).success().stdout();
    assert!(shown.contains("Do the work"), "{shown}");
    house.eventually(&["pr", "checks", "app-1"], |doc| doc["facts"]["checks"] == "passing");
    for refused in [&["pr", "merge"][..], &["pr", "review", "--approve"], &["pr", "close", "1"]] {
        let ran = house.run(house.within("app-1", refused), refused).exits(5);
        assert!(!ran.stderr().is_empty(), "{ran:?}");
    }

    // As a human.
    let list = house.json(&["pr", "ls"]);
    assert_eq!(text(&list["prs"][0]["session"]), "app-1", "{list:#}");
    assert_eq!(list["prs"][0]["facts"]["title"], "Do the work");
    let checks = house.ao(&["pr", "checks", "1"]).success().stdout();
    assert!(checks.contains("unit") && checks.contains("passed"), "{checks}");
    let diff = house.ao(&["pr", "diff", "my-app#1"]).success().stdout();
    assert!(diff.contains("+done"), "{diff}");
    let seen = house.json(&["review-check", "--dry-run"]);
    assert_eq!(seen["sessions"][0]["facts"]["number"], 1, "{seen:#}");
    let round = house.ao(&["review-check"]).success().stdout();
    assert!(round.contains("app-1  #1 at "), "{round}");

    let comment =
        ["pr", "review", "app-1", "--request-changes", "-m", "Say why", "--at", "work.txt:1"];
    house.ao(&comment).success();
    let refused = house.ao(&["pr", "merge", "app-1"]).exits(8);
    assert!(refused.stderr().contains("changes requested"), "{}", refused.stderr());
    house.ao(&["pr", "review", "app-1", "--comment"]).exits(2);
    let nowhere = house.ao(&[&comment[..6], &["--at", "work.txt:9"]].concat()).exits(5);
    assert!(nowhere.stderr().contains("`work.txt` has 1 line"), "{}", nowhere.stderr());
    house.ao(&["pr", "review", "app-1", "--approve"]).success();
    let merged = house.ao(&["pr", "merge", "app-1", "--merge"]).success().stdout();
    assert!(merged.contains("my-app#1 is merged into main as "), "{merged}");
    assert_eq!(house.git(&["show", "main:work.txt"]).trim(), "done");
    let all = house.json(&["pr", "ls", "my-app", "--all"]);
    assert_eq!(all["prs"][0]["facts"]["state"], "merged", "{all:#}");
    assert!(house.ao(&["quota"]).success().stdout().starts_with("Nothing is counted"));
}

#[test]
fn a_closed_pull_request_is_opened_again_and_what_is_not_there_is_said() {
    let house = house();
    let none = house.ao(&["pr", "show", "app-1"]).exits(4);
    assert!(none.stderr().contains("ao pr create app-1"), "{}", none.stderr());
    house.ao(&["pr", "create", "app-1", "--draft", "--body", "Words"]).success();
    assert!(house.ao(&["pr", "show", "1"]).success().stdout().contains("draft"));
    let draft = house.ao(&["pr", "merge", "1", "--yes"]).exits(5);
    assert!(draft.stderr().contains("draft"), "{}", draft.stderr());
    house.ao(&["pr", "close", "1"]).success();
    house.eventually(&["pr", "show", "1"], |doc| doc["facts"]["state"] == "closed");
    let rerun = house.ao(&["pr", "checks", "1", "--rerun"]).exits(5);
    assert!(rerun.stderr().contains("ao pr reopen my-app#1"), "{}", rerun.stderr());
    house.ao(&["pr", "reopen", "1"]).success();
    house.eventually(&["pr", "show", "1"], |doc| doc["facts"]["state"] != "closed");
    house.ao(&["pr", "show", "my-app#9"]).exits(4);
    house.ao(&["pr", "show", "other#1"]).exits(4);
    house.ao(&["session", "claim-pr", "app-1", "9"]).exits(4);
    // An agent takes for its session what is at its own commit, and nothing else.
    let (own, other) =
        (["session", "claim-pr", "app-1", "1"], ["session", "claim-pr", "app-1", "9"]);
    house.run(house.within("app-1", &own), &own).success();
    house.run(house.within("app-1", &other), &other).exits(4);
    house.ao(&["release", "i-1"]).exits(5);
    house.ao(&["retry", "i-99"]).exits(4);
    house.ao(&["pr", "show"]).exits(2);
    // One that is over opens none before it is back.
    house.ao(&["spawn", "my-app", "--prompt", "wait"]).success();
    let (own, elsewhere) =
        (["session", "claim-pr", "app-1", "1"], ["session", "claim-pr", "app-2", "1"]);
    let refused = house.run(house.within("app-2", &elsewhere), &elsewhere).exits(5);
    assert!(refused.stderr().contains("which is not app-2's commit"), "{}", refused.stderr());
    let refused = house.run(house.within("app-2", &own), &own).exits(5);
    assert!(refused.stderr().contains("for its own session only"), "{}", refused.stderr());
    house.ao(&["session", "kill", "app-2"]).success();
    let over = house.ao(&["pr", "show", "app-2"]).exits(4);
    assert!(
        over.stderr().contains("ao session restore app-2, then ao pr create app-2"),
        "{over:?}"
    );
}
