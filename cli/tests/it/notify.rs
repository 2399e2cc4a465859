//! A channel from its set-up to what is counted of it: through the real program and server, with the vendor's server
//! played strictly.

use std::{fs, process::Command};

use ao_fakes::ntfy::{Options, Server};

use crate::house::{House, until};

const SETUP: &[&str] = &["notify", "setup", "ntfy"];

/// A secret that is kept.
fn kept(house: &House, name: &str) -> Option<String> {
    let all = fs::read_to_string(house.path("data/secrets/channels")).ok()?;
    let line = all.lines().find_map(|line| line.strip_prefix(&format!("{name}=")))?;
    Some(line.to_owned())
}

fn user_file(house: &House) -> String {
    fs::read_to_string(house.path("home/.config/ao/config.yaml")).unwrap_or_default()
}

/// A command with the server's address, and what else it is told.
fn at(house: &House, server: &Server, args: &[&str], more: &[&str]) -> Command {
    let url = server.url();
    house.command(&[args, &["--server", &url], more].concat())
}

#[test]
fn ntfy_is_set_up_tested_and_used_and_what_it_did_is_counted_and_replayed() {
    let (house, server) = (House::new(), Server::start(Options::default()).unwrap());
    let ran = std::thread::scope(|scope| {
        let setup = scope.spawn(|| house.run(at(&house, &server, SETUP, &["--yes"]), SETUP));
        let topic = until("the topic", || kept(&house, "NTFY_TOPIC"));
        until("the test on the phone", || server.press(&topic, "It works"));
        setup.join().unwrap().success()
    });
    assert!(ran.stderr().contains("answers"), "{}", ran.stderr());
    let told = ran.stdout();
    assert!(told.contains("the press of ") && told.contains("Buttons work."), "{told}");
    let topic = kept(&house, "NTFY_TOPIC").unwrap();
    let file = user_file(&house);
    assert!(file.contains("${NTFY_TOPIC}") && !file.contains(&topic), "{file}");

    // Again: what is there is taken up as it is, its server too, and the phone stays subscribed.
    let again = ["notify", "setup", "ntfy", "--no-test", "--yes"];
    let ran = house.ao(&again).success();
    assert!(ran.stderr().contains("its lines stay as they are"), "{}", ran.stderr());
    assert_eq!((kept(&house, "NTFY_TOPIC").unwrap(), user_file(&house)), (topic.clone(), file));

    // It is what agents reach their human by.
    house.configure_as(&format!(
        "projects:\n  my-app:\n    path: .\n    defaultBranch: main\n    sessionPrefix: app\n    agent: custom\n    \
         agentConfig: {{command: [\"{}\", \"{{prompt}}\"]}}\ndefaults: {{notifiers: [ntfy]}}\n\
         lifecycle: {{sweepInterval: 200ms, settle: {{urgent: 50ms}}}}\n",
        house.path("agent.sh").display()
    ));
    house.ao(&["spawn", "my-app", "--prompt", "ask me something"]).success();
    until("the question on the phone", || server.press(&topic, "Items only"));
    let answer = house.path("data/worktrees/my-app/app-1/answer.txt");
    until("the answer", || fs::read_to_string(&answer).ok().filter(|text| !text.is_empty()));

    let log = house.ao(&["notify", "log"]).success().stdout();
    assert!(log.contains("by ntfy") && !log.contains("by ntfy by ntfy"), "{log}");
    assert!(!log.contains("by by"), "{log}");
    let stats = house.json(&["notify", "stats"]);
    assert_eq!((&stats["schema"], &stats["needs"]), (&"ao.stats/1".into(), &1.into()), "{stats:#}");
    assert_eq!((&stats["pushes"], &stats["misses"]), (&1.into(), &0.into()), "{stats:#}");
    assert!(stats["channels"]["ntfy"].is_object(), "{stats:#}");

    // The same past, where nobody is called for that.
    let other = house.path("other.yaml");
    fs::write(&other, "reactions: {agent-needs-input: {priority: info}}\n").unwrap();
    let replayed = house.json(&["notify", "replay", "--config", other.to_str().unwrap()]);
    assert_eq!(replayed["schema"], "ao.replay/1", "{replayed:#}");
    assert_eq!(replayed["old"].as_array().map(Vec::len), Some(1), "{replayed:#}");
    assert_ne!(replayed["new"], replayed["old"], "{replayed:#}");

    let digest = house.ao(&["digest", "now"]).success().stdout();
    assert!(digest.contains("digest"), "{digest}");
}

/// A token that the server refuses is told with what to do, and nothing is kept.
#[test]
fn a_wrong_token_is_told_precisely_and_nothing_is_kept() {
    let options = Options { token: Some("tk_right".into()), ..Options::default() };
    let (house, server) = (House::new(), Server::start(options).unwrap());
    let mut command = at(&house, &server, SETUP, &["--no-test", "--yes"]);
    command.env("NTFY_TOKEN", "tk_wrong");
    let ran = house.run(command, SETUP);
    assert_ne!(ran.code(), 0);
    let told = ran.stderr();
    assert!(told.contains("refused the request") && told.contains("40101"), "{told}");
    assert!(told.contains("check `token`") && !told.contains("tk_wrong"), "{told}");
    assert_eq!((kept(&house, "NTFY_TOKEN"), user_file(&house)), (None, String::new()));
    // One that no header can hold is refused before anybody is asked.
    let mut command = at(&house, &server, SETUP, &["--no-test", "--yes"]);
    command.env("NTFY_TOKEN", "tk\nwrong");
    let ran = house.run(command, SETUP).exits(2);
    assert!(ran.stderr().contains("NTFY_TOKEN has a line break"), "{}", ran.stderr());
}

/// Lines that a human wrote are not what set-up would write: it says so, and replaces no secret.
#[test]
fn a_channel_with_lines_of_its_own_is_not_set_up_past_them() {
    let (house, server) = (House::new(), Server::start(Options::default()).unwrap());
    let folder = house.path("home/.config/ao");
    fs::create_dir_all(&folder).unwrap();
    let mine = format!(
        "notifiers:\n  ntfy: {{plugin: ntfy, server: \"{}\", topic: my-own-topic-of-old}}\n",
        server.url()
    );
    fs::write(folder.join("config.yaml"), &mine).unwrap();
    let args = ["notify", "setup", "ntfy", "--no-test", "--yes"];
    let told = house.ao(&args).exits(5).stderr();
    assert!(told.contains("they do not take NTFY_TOPIC") && told.contains("--name"), "{told}");
    assert_eq!((kept(&house, "NTFY_TOPIC"), user_file(&house)), (None, mine.clone()));
    // Two whose secrets would be one.
    let ours = mine.replace("  ntfy: {", "  team-ntfy: {");
    fs::write(folder.join("config.yaml"), &ours).unwrap();
    let args = [&args[..], &["--name", "team.ntfy"]].concat();
    let told = house.ao(&args).exits(5).stderr();
    assert!(told.contains("those of team-ntfy: both are called TEAM_NTFY_"), "{told}");
}
