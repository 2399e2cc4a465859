//! How fast it is, printed and not judged: a few times each, or `AO_FIGURES` times:
//! `AO_FIGURES=60 cargo test -p ao --test it figures -- --nocapture`.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use ao_fakes::{
    github::{By, GitHub, TOKEN},
    ntfy::{Options, Server},
};

use crate::house::{House, text, until};

/// An agent that asks as often as its prompt says, and writes when it asked and when it had each answer.
const AGENT: &str = r#"#!/bin/sh
ao="$AO_DATA_DIR/run/ao"
"$ao" report working
for n in $(seq "$1"); do
  date +%s%N >> asked.txt
  "$ao" report question "Question $n." --option Left --option Right --wait > answer.txt
  date +%s%N >> answered.txt
done
"$ao" report ready
read -r line
"#;

/// A house with these phones, of which the first is told and the next stands in for it.
fn asking(phones: &[&Server], times: usize) -> House {
    let house = House::new();
    let agent = house.script("asks.sh", AGENT);
    let phone = |(n, server): (usize, &&Server)| {
        format!(
            "  phone-{n}: {{plugin: ntfy, server: \"{}\", topic: {}, replyTopic: reply-{:032}}}\n",
            server.url(),
            topic(n),
            n
        )
    };
    let channels: String = phones.iter().enumerate().map(phone).collect();
    let names: Vec<String> = (0..phones.len()).map(|n| format!("phone-{n}")).collect();
    house.configure_as(&format!(
        "projects:\n  my-app:\n    path: .\n    defaultBranch: main\n    sessionPrefix: app\n    agent: custom\n    \
         agentConfig: {{command: [\"{}\", \"{{prompt}}\"]}}\nnotifiers:\n{channels}\
         defaults: {{notifiers: [{}]}}\nnotifications: {{routing: {{urgent: [phone-0]}}}}\n\
         lifecycle: {{sweepInterval: 200ms}}\n",
        agent.display(),
        names.join(", ")
    ));
    house.ao(&["spawn", "my-app", "--prompt", &times.to_string()]).success();
    house
}

fn topic(n: usize) -> String {
    format!("topic-{n:032}")
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

/// The moment of the `n`th line that the agent wrote.
fn moment(house: &House, file: &str, n: usize) -> Option<Duration> {
    let path: PathBuf = house.path("data/worktrees/my-app/app-1").join(file);
    let text = fs::read_to_string(path).ok()?;
    text.lines().nth(n - 1)?.trim().parse().ok().map(Duration::from_nanos)
}

/// Waits until the phone shows this question.
fn shown(server: &Server, topic: &str, n: usize) {
    let words = format!("Question {n}.");
    until(&words, || {
        let asks =
            |note: ao_fakes::ntfy::Note| note.title.contains(&words) && !note.buttons.is_empty();
        server.phone(topic).into_iter().any(asks).then_some(())
    });
}

fn told(what: &str, mut took: Vec<Duration>) {
    took.sort();
    let at = |share: usize| took[(took.len() * share).div_ceil(100) - 1].as_millis();
    println!("{what}: n={} p50={} p95={} p99={} ms", took.len(), at(50), at(95), at(99));
}

/// How often it is measured.
fn times() -> usize {
    std::env::var("AO_FIGURES").ok().and_then(|times| times.parse().ok()).unwrap_or(3)
}

#[test]
fn from_a_tap_to_the_agent() {
    let server = Server::start(Options::default()).unwrap();
    let house = asking(&[&server], times());
    let tap = |n| {
        shown(&server, &topic(0), n);
        let tapped = now();
        assert_eq!(server.press(&topic(0), "Left"), Some(200));
        until("the answer", || moment(&house, "answered.txt", n)).saturating_sub(tapped)
    };
    told("tap to agent", (1..=times()).map(tap).collect());
}

#[test]
fn from_a_question_to_the_next_channel_while_the_first_is_down() {
    let fall = |_| {
        let servers = [(), ()].map(|()| Server::start(Options::default()).unwrap());
        let house = asking(&[&servers[0], &servers[1]], 2);
        shown(&servers[0], &topic(0), 1);
        servers[0].away();
        house.ao(&["answer", "app-1", "1"]).success();
        shown(&servers[1], &topic(1), 2);
        let took = now().saturating_sub(until("the question", || moment(&house, "asked.txt", 2)));
        assert_eq!(servers[1].press(&topic(1), "Left"), Some(200));
        until("the answer", || moment(&house, "answered.txt", 2));
        took
    };
    // Each waits for nothing but the clock, so as many at once as there are.
    let all = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..times()).map(|n| scope.spawn(move || fall(n))).collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    told("the next channel has it", all);
}

const REPO: &str = "acme/app";
const SECRET: &str = "It's a Secret to Everybody";

/// An agent that writes when it heard each word of a review.
const HEARS: &str = r#"#!/bin/sh
ao="$AO_DATA_DIR/run/ao"
"$ao" report ready
while read -r line; do
  case "$line" in
  *"Please look at "*) echo "$(date +%s%N) $line" >> heard.txt && "$ao" report working && "$ao" report ready ;;
  esac
done
"#;

#[test]
fn from_a_webhook_to_the_agents_terminal() {
    let hub = GitHub::start().unwrap();
    hub.repository(REPO);
    hub.without_secondary_limits();
    let house = House::new();
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    fs::create_dir_all(house.path("home/.config/ao")).unwrap();
    fs::write(house.path("home/.config/ao/config.yaml"), format!("port: {port}\n")).unwrap();
    let agent = house.script("hears.sh", HEARS);
    house.configure_as(&format!(
        "projects:\n  my-app:\n    path: .\n    repo: {REPO}\n    defaultBranch: main\n    sessionPrefix: app\n    \
         agent: custom\n    agentConfig: {{command: [\"{}\"]}}\n    \
         scm: {{plugin: github, url: \"{}\", token: {TOKEN}, webhookSecret: \"{SECRET}\"}}\n\
         notifiers: {{}}\ndefaults: {{notifiers: []}}\nlifecycle: {{sweepInterval: 200ms}}\n",
        agent.display(),
        hub.url()
    ));
    house.ao(&["spawn", "my-app", "--prompt", "begin"]).success();
    let shown = house.eventually(&["session", "show", "app-1"], |doc| doc["branch"].is_string());
    let branch = text(&shown["branch"]).to_owned();
    hub.push(REPO, &branch);
    let number = hub.open(REPO, &branch);
    house.ao(&["review-check"]).success();
    house.eventually(&["session", "show", "app-1"], |doc| {
        doc["pr"]["number"] == number && doc["activity"]["value"]["state"] == "idle"
    });
    let heard = |n| {
        let words = format!("Please look at {n}.");
        hub.push(REPO, &branch);
        let thread = hub.thread(REPO, number, By::person("ben"), "main.txt", 1, &words);
        let sent = now();
        let delivery = hub.delivery("pull_request_review_comment.created", REPO, number, SECRET);
        post(port, "/api/webhooks/github", &delivery.headers, &delivery.body);
        let first = || {
            let path = house.path("data/worktrees/my-app/app-1/heard.txt");
            let heard = fs::read_to_string(path).ok()?;
            let line = heard.lines().find(|line| line.contains(&words))?;
            line.split(' ').next()?.parse().ok().map(Duration::from_nanos)
        };
        let took = until("the agent", first).saturating_sub(sent);
        hub.change_thread(&thread, |thread| thread.resolved = Some(By::person("ben")));
        house.eventually(&["session", "show", "app-1"], |doc| {
            doc["activity"]["value"]["state"] == "idle"
        });
        took
    };
    told("webhook to terminal", (1..=times()).map(heard).collect());
}

/// Posts as a forge does; it has to be taken.
fn post(port: u16, path: &str, headers: &[(String, String)], body: &[u8]) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let lines = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n"));
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nhost: localhost:{port}\r\nconnection: close\r\n{}content-length: {}\r\n\r\n",
        lines.collect::<String>(),
        body.len()
    )
    .unwrap();
    stream.write_all(body).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
}
