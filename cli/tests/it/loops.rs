//! The server is killed with SIGKILL anywhere in the review loop, again and again, while agents open pull requests, mend
//! what fails, rebase and answer reviews, and people press Merge. Each pull request is merged once, each agent gets each
//! message once, and nobody is forgotten.
//!
//! `AO_LOOP_KILLS` says how often (6), `AO_R1_SEED` which points; the seed is printed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use ao_core::event::digest;
use ao_fakes::ntfy;
use serde_json::Value;

use crate::{
    channels::{tellers, told_by},
    house::{House, text, until},
    kills::{Dice, When, kill, number, seed},
    phone::{REPLY, TOPIC, configured},
};

/// How long the last pull requests may take once nobody kills any more: an agent that may have got a message is asked
/// for evidence for up to half a minute before anything else is done with it.
const PATIENCE: Duration = Duration::from_mins(5);

/// The session whose checks nobody can mend.
const STUBBORN: &str = "p-1";

/// The two projects: in one a human presses Merge, in the other nobody has to.
const PROJECTS: [(&str, &str); 2] = [("pressed", "p"), ("alone", "a")];

struct Scene {
    house: House,
    phone: ntfy::Server,
    /// Sessions at work at a time, in each project.
    at_once: usize,
}

impl Scene {
    fn begin(at_once: usize) -> Self {
        let house = House::new();
        let phone = ntfy::Server::start(ntfy::Options::default()).unwrap();
        house.script("bin/claude", include_str!("claude.py"));
        fs::create_dir(house.path("notes")).unwrap();
        let project = |(name, prefix): (&str, &str)| {
            let repo = house.path(name);
            fs::create_dir(&repo).unwrap();
            fs::write(repo.join("last.txt"), "nobody\n").unwrap();
            house.repository(name);
            format!(
                "  {name}: {{path: \"{repo}\", defaultBranch: main, sessionPrefix: {prefix}, agent: claude-code, \
                 env: {{NOTES: \"{notes}\"}},\n    scm: {{plugin: local, autoOpen: true, checks: [{{name: unit, \
                 run: \"! grep -rs broken work\"}}]}},\n    \
                 reactions: {{approved-and-green: {{auto: {alone}, action: {action}}}}}}}\n",
                repo = repo.display(),
                notes = house.path("notes").display(),
                alone = name == "alone",
                action = if name == "alone" { "auto-merge" } else { "notify" },
            )
        };
        let projects = PROJECTS.map(project).concat();
        house.configure_as(&format!("{}projects:\n{projects}", configured(&phone.url())));
        let scene = Self { house, phone, at_once };
        assert!(scene.spawn("pressed", "stubborn").is_some());
        scene
    }

    fn try_ao(&self, args: &[&str]) -> Option<String> {
        let out = self.house.command_with_bin(args).output().unwrap();
        out.status.success().then(|| String::from_utf8_lossy(&out.stdout).into_owned())
    }

    fn try_json(&self, args: &[&str]) -> Option<Value> {
        serde_json::from_str(&self.try_ao(&[args, &["--json"]].concat())?).ok()
    }

    fn spawn(&self, project: &str, prompt: &str) -> Option<String> {
        self.try_ao(&["spawn", project, "--no-wait", "--prompt", prompt])
    }

    /// A person: gives work, asks for changes, approves what came of it, and presses Merge. Ends when all is
    /// merged that can be, once no more work is given.
    fn person(&self, over: &AtomicBool) {
        let (mut pressed, mut reviewed) = (BTreeMap::new(), BTreeMap::<String, String>::new());
        let mut until = None;
        loop {
            thread::sleep(Duration::from_millis(200));
            self.press(&mut pressed);
            self.review(&mut reviewed);
            let Some(all) = self.try_json(&["status", "--all"]) else { continue };
            let sessions = all["sessions"].as_array().unwrap();
            let of = |prefix: &str| {
                let mine = sessions.iter().filter(|s| text(&s["id"]).starts_with(prefix));
                mine.filter(|s| s["status"] != "merged" && s["id"] != STUBBORN).count()
            };
            let at_work = PROJECTS.map(|(name, prefix)| (name, of(&format!("{prefix}-"))));
            if over.load(Ordering::Relaxed) {
                let end = *until.get_or_insert_with(|| Instant::now() + PATIENCE);
                if at_work.iter().all(|(_, count)| *count == 0) {
                    return;
                }
                assert!(Instant::now() < end, "they are never merged: {all:#}");
                continue;
            }
            for (name, _) in at_work.iter().filter(|(_, count)| *count < self.at_once) {
                self.spawn(name, "work");
            }
        }
    }

    /// Presses each Merge that the phone shows, every other one twice; again where nothing came of it. A channel takes
    /// sixty presses a minute, and a server that is killed reads the last ones anew.
    fn press(&self, pressed: &mut BTreeMap<String, Instant>) {
        let events = self.phone.events(TOPIC);
        let shown: BTreeMap<&str, &Value> =
            events.iter().map(|event| (text(&event["sequence_id"]), event)).collect();
        for action in shown.values().flat_map(|event| event["actions"].as_array()).flatten() {
            let token = text(&action["body"]);
            let last = pressed.get(token);
            let now = action["label"] == "Merge"
                && last.is_none_or(|last| last.elapsed() > Duration::from_secs(30));
            if now {
                let twice = last.is_none() && token < "8";
                (0..=u8::from(twice)).for_each(|_| self.phone.write(REPLY, token));
                pressed.insert(token.to_owned(), Instant::now());
            }
        }
    }

    /// Requests changes of every fourth pull request, and approves what its agent made of them.
    fn review(&self, reviewed: &mut BTreeMap<String, String>) {
        let Some(list) = self.try_json(&["pr", "ls", "pressed"]) else { return };
        for pr in list["prs"].as_array().into_iter().flatten() {
            let (session, head) = (text(&pr["session"]), text(&pr["facts"]["head"]));
            let n: u64 = session.rsplit('-').next().and_then(|n| n.parse().ok()).unwrap_or(1);
            match reviewed.get(session) {
                None if n % 4 == 2 => {
                    let args = ["pr", "review", session, "--request-changes", "-m", "Say why"];
                    if self.try_ao(&args).is_some() {
                        reviewed.insert(session.to_owned(), head.to_owned());
                    }
                }
                Some(before) if before != head && pr["facts"]["review"] != "approved" => {
                    self.try_ao(&["pr", "review", session, "--approve"]);
                }
                _ => {}
            }
        }
    }
}

/// Each pull request of a project is in its history once, whole, and green; how many there are.
fn check_merges(house: &House, repo: &str, events: &[Value], prefix: &str) -> usize {
    let trailers = house.git_in(
        repo,
        &["log", "--first-parent", "--format=%(trailers:key=Ao-Pull,valueonly)", "main"],
    );
    let mut merged = BTreeMap::<&str, usize>::new();
    for trailer in trailers.lines().filter(|line| !line.is_empty()) {
        *merged.entry(trailer.split('@').next().unwrap()).or_default() += 1;
    }
    let twice: Vec<_> = merged.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "merged twice: {twice:?}");
    let over = |event: &&Value| {
        event["kind"] == "session.ended" && text(&event["session"]).starts_with(prefix)
    };
    let ended: Vec<&Value> = events.iter().filter(over).collect();
    assert!(ended.iter().all(|event| event["data"]["how"] == "merged"), "{ended:?}");
    let files: BTreeSet<String> =
        ended.iter().map(|event| format!("work/{}.txt", text(&event["session"]))).collect();
    let there = house.git_in(repo, &["ls-tree", "-r", "--name-only", "main", "work/"]);
    assert_eq!(there.lines().map(str::to_owned).collect::<BTreeSet<_>>(), files);
    assert_eq!((merged.len(), ended.len()), (files.len(), files.len()));
    assert_eq!(house.git_in(repo, &["status", "--porcelain"]), "", "its checkout was left behind");
    assert!(!house.git_in(repo, &["grep", "-c", "fine", "main", "--", "work"]).contains("broken"));
    files.len()
}

/// What the agents say that they got against what the journal says that they were to get.
fn check_messages(notes: &Path, events: &[Value]) -> usize {
    // By session and what the text is recognised by: how often it was queued, and had.
    let mut messages = BTreeMap::<(&str, String), (usize, usize)>::new();
    let mut told = BTreeMap::<&str, (&str, &Value)>::new();
    let mut withdrawn = BTreeSet::new();
    for event in events {
        let (data, session) = (&event["data"], text(&event["session"]));
        match text(&event["kind"]) {
            "message.queued" => {
                let key = (session, text(&data["digest"]).to_owned());
                messages.entry(key).or_default().0 += 1;
                told.insert(text(&data["message"]), (session, &data["about"]));
            }
            "message.withdrawn" => {
                withdrawn.insert(text(&data["message"]));
            }
            _ => {}
        }
    }
    let mut count = 0;
    for session in told.values().map(|(session, _)| *session).collect::<BTreeSet<_>>() {
        let got = fs::read_to_string(notes.join(format!("received.{session}"))).unwrap();
        for line in got.lines() {
            let words: String = serde_json::from_str(line).unwrap();
            messages.entry((session, digest(&words))).or_default().1 += 1;
            count += 1;
        }
    }
    for ((session, digest), (queued, had)) in &messages {
        assert!(had <= queued, "{session} got {digest} {had} times, it was sent {queued} times");
    }
    // Nothing is told under another name either.
    let mut abouts = BTreeSet::new();
    for (message, (session, about)) in told.iter().filter(|(id, _)| !withdrawn.contains(*id)) {
        let news = about.is_null() || abouts.insert((*session, about.to_string()));
        assert!(news, "{session} is told again by {message}: {about}");
    }
    count
}

/// Each incident is resolved, or it is open and on the phone; how many were opened, and how many of them are open.
fn check_incidents(phone: &ntfy::Server, events: &[Value]) -> (usize, usize) {
    let of = |kind: &str| -> BTreeSet<&str> {
        let these = events.iter().filter(|event| event["kind"] == kind);
        these.map(|event| text(&event["data"]["incident"])).collect()
    };
    let stubborn = of_stubborn(events).unwrap();
    let (opened, resolved) = (of("incident.opened"), of("incident.resolved"));
    assert!(resolved.is_subset(&opened), "resolved and never opened");
    let open: BTreeSet<&str> = opened.difference(&resolved).copied().collect();
    assert!(open.contains(stubborn), "it was given up");
    let tellers = tellers("phone", events);
    let arrived: BTreeSet<String> = phone
        .events(TOPIC)
        .iter()
        .filter_map(|event| told_by(text(&event["sequence_id"])))
        .collect();
    // A conflict with what was merged last is the agent's alone for a quarter of an hour.
    let is_the_agents =
        |incident: &&&str| opening(incident, events)["data"]["trigger"] == "merge-conflicts";
    for incident in open.iter().filter(|incident| !is_the_agents(incident)) {
        let told = tellers.get(incident).cloned().unwrap_or_default();
        assert!(
            told.iter().any(|name| arrived.contains(*name)),
            "{incident} is open, and nobody hears of it: {:#}",
            opening(incident, events)
        );
    }
    (opened.len(), open.len())
}

/// How an incident began.
fn opening<'e>(incident: &str, events: &'e [Value]) -> &'e Value {
    let began = |e: &&Value| e["kind"] == "incident.opened" && e["data"]["incident"] == incident;
    events.iter().find(began).unwrap()
}

/// The incident about the checks that nobody can mend.
fn of_stubborn(events: &[Value]) -> Option<&str> {
    let mut opened = events.iter().filter(|event| event["kind"] == "incident.opened");
    let it = opened.find(|e| e["session"] == STUBBORN && e["data"]["trigger"] == "ci-failed")?;
    Some(text(&it["data"]["incident"]))
}

#[test]
fn loop_sigkill_anywhere_in_it_merges_each_once_and_tells_each_thing_once() {
    let (kills, seed) = (number("AO_LOOP_KILLS").unwrap_or(6), seed());
    println!("loop: AO_LOOP_KILLS={kills} AO_R1_SEED={seed}");
    let began = Instant::now();
    let scene = Scene::begin(if kills < 50 { 1 } else { 3 });
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| scene.person(&over));
        // Some live long enough for a check, some for a whole round.
        let moments = [When::Starts(400)].into_iter();
        let moments: Vec<When> = moments.chain([600, 1_500, 4_000].map(When::Serves)).collect();
        kill(&scene.house, kills, &moments, &mut Dice(seed | 1));
        over.store(true, Ordering::Relaxed);
    });
    until("somebody hears that one cannot mend its checks", || {
        let events = scene.house.events();
        tellers("phone", &events).contains_key(of_stubborn(&events)?).then_some(())
    });
    scene.house.eventually(&["notify", "log"], |log| {
        let rows = log["notifications"].as_array().into_iter().flatten();
        let mut all = rows.flat_map(|row| row["deliveries"].as_array().into_iter().flatten());
        all.all(|delivery| matches!(text(&delivery["progress"]), "sent" | "dropped"))
    });
    let events = scene.house.events();
    let merged: usize = PROJECTS
        .iter()
        .map(|(name, prefix)| check_merges(&scene.house, name, &events, &format!("{prefix}-")))
        .sum();
    let told = check_messages(&scene.house.path("notes"), &events);
    let (incidents, open) = check_incidents(&scene.phone, &events);
    println!(
        "loop: {kills} kills in {:.0} s, {} of servers that had begun to serve, {merged} merged, {told} messages had, \
         {incidents} incidents, each resolved but {open}, which the phone shows",
        began.elapsed().as_secs_f64(),
        events.iter().filter(|event| event["kind"] == "server.started").count() - 1,
    );
}
