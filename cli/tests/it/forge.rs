//! One pull request on GitHub, from a red check to the clean-up, with the real server, a real terminal and a phone.

use std::fs;

use ao_fakes::{
    github::{By, GitHub, TOKEN},
    ntfy::{Options, Server},
};

use crate::{
    house::{House, text, until},
    phone::{TOPIC, configured},
};

const REPO: &str = "acme/app";

/// An agent that writes what it is told, and takes a turn for each error.
const AGENT: &str = r#"#!/bin/sh
ao="$AO_DATA_DIR/run/ao"
"$ao" report ready
while read -r line; do
  echo "$line" >> "$TOLD"
  case "$line" in
  *"the total is wrong"*) "$ao" report working && "$ao" report ready ;;
  esac
done
"#;

#[test]
fn a_pull_request_on_github_goes_from_red_to_merged_by_one_press() {
    let (hub, phone) = (GitHub::start().unwrap(), Server::start(Options::default()).unwrap());
    hub.repository(REPO);
    hub.without_secondary_limits();
    hub.require(REPO, "main", &["unit"], 1);
    // Where nobody says how, it is merged as the repository allows.
    hub.change_repo(REPO, |repo| repo.methods = vec!["REBASE"]);
    let house = House::new();
    let (agent, told) = (house.script("agent-of-hub.sh", AGENT), house.path("told.txt"));
    house.configure_as(&format!(
        r#"{phone}projects:
  my-app:
    path: .
    repo: {REPO}
    defaultBranch: main
    sessionPrefix: app
    agent: custom
    agentConfig: {{command: ["{agent}"]}}
    env: {{TOLD: "{told}"}}
    scm: {{plugin: github, url: "{hub}", token: {TOKEN}}}
"#,
        agent = agent.display(),
        told = told.display(),
        hub = hub.url(),
        phone = configured(&phone.url()),
    ));
    house.ao(&["spawn", "my-app", "--prompt", "Round the total"]).success();
    let show = ["session", "show", "app-1"];
    let shown = house.eventually(&show, |doc| doc["branch"].is_string());
    let branch = text(&shown["branch"]).to_owned();
    let workspace = house.path("data/worktrees/my-app/app-1");
    assert!(workspace.is_dir());

    // Red: the agent is told why, and nobody else.
    let red = hub.push(REPO, &branch);
    let number = hub.open(REPO, &branch);
    let check = hub.check(REPO, &red, "unit", Some("FAILURE"));
    hub.change_check(check, |check| check.log = "error: the total is wrong\n".to_owned());
    let heard = || fs::read_to_string(&told).ok().filter(|text| text.contains("total is wrong"));
    let words = until("the agent is told", heard);
    assert!(words.contains("unit"), "{words}");
    house.eventually(&show, |doc| doc["session"]["status"] == "ci_failed");

    // Mended, green and approved: a human is asked, with the head that the button is for.
    let green = hub.push(REPO, &branch);
    hub.check(REPO, &green, "unit", Some("SUCCESS"));
    house.eventually(&show, |doc| doc["session"]["status"] == "review_pending");
    let offers =
        || phone.phone(TOPIC).into_iter().find(|note| note.title.contains("ready to merge"));
    assert_eq!(offers(), None, "nobody has approved it");
    hub.review(REPO, number, By::person("ben"), "APPROVED", "");
    let note = until("it is offered", offers);
    assert!(note.buttons.contains(&"Merge".to_owned()), "{note:?}");

    // Pressed: merged once, and nothing is left of it but the branch's history.
    assert_eq!(phone.press(TOPIC, "Merge"), Some(200));
    house.eventually(&show, |doc| doc["session"]["status"] == "merged");
    until("the workspace is removed", || (!workspace.exists()).then_some(()));
    let pull = hub.issue_at(REPO, number).unwrap().pull.unwrap();
    assert_eq!(pull.sha, green);
    assert!(pull.merged.is_some());
    let merges: Vec<_> =
        hub.requests().into_iter().filter(|request| request.method == "PUT").collect();
    assert_eq!(merges.len(), 1, "{merges:?}");
    assert_eq!(
        (merges[0].status, &merges[0].body["sha"], &merges[0].body["merge_method"]),
        (200, &green.clone().into(), &"rebase".into())
    );
    let told = fs::read_to_string(&told).unwrap();
    assert_eq!(told.matches("the total is wrong").count(), 1, "told once: {told}");
    // Nothing is open.
    house.eventually(&["status"], |doc| {
        doc["wantYou"] == 0 && doc["sessions"][0]["status"] == "merged"
    });
}
