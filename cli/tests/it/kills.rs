//! R1: the server is killed with SIGKILL at random points, again and again, while agents report, ask and end,
//! people answer, and the far ends of all channels count. What was acknowledged is there afterwards, every channel
//! has what is open, and no push came twice without need.
//!
//! `AO_R1_KILLS` says how often (50), `AO_R1_SEED` which points; the seed is printed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use ao_core::slots::process::ProcessId;
use serde_json::{Value, json};

use crate::{
    channels::{self, Channels},
    house::{House, text, until},
    receiver::Push,
};

/// An agent that reports and asks without an end, and writes down what was acknowledged.
const REPORTER: &str = r#"#!/bin/sh
ao="$AO_DATA_DIR/run/ao"
acked="$NOTES/acked.$AO_SESSION"
tried="$NOTES/tried.$AO_SESSION"
n=0
while [ ! -e "$NOTES/over" ]; do
  n=$((n + 1))
  word="$AO_SESSION.$AO_LAUNCH.$n"
  "$ao" report working >/dev/null 2>&1 && echo "turn.started $AO_SESSION" >> "$acked"
  echo "$word" >> "$tried"
  "$ao" report question "q $word" --option yes >/dev/null 2>&1 && echo "request.opened q $word" >> "$acked"
  sleep 0.$((n * 7 % 10))
  "$ao" report completed "c $word" >/dev/null 2>&1 && echo "completion.claimed c $word" >> "$acked"
  if [ "$1" = crash ] && [ $((n % 3)) -eq 0 ]; then exit 7; fi
  sleep 0.$((n * 3 % 10))
done
if [ "$1" = last ]; then
  "$ao" report working >/dev/null 2>&1
  echo "$AO_SESSION.last" >> "$tried"
  until "$ao" report question "q $AO_SESSION.last" >/dev/null 2>&1; do sleep 0.2; done
fi
exec sleep 100000
"#;

/// An agent that speaks by hooks. A hook that ends has told, or left it in the spool.
const HOOKER: &str = r#"#!/bin/sh
ao="$AO_DATA_DIR/run/ao"
acked="$NOTES/acked.$AO_SESSION"
tell() { printf '{"hook_event_name":"%s"%s}' "$1" "$2" | "$ao" hook claude-code "$1"; }
tell SessionStart ',"session_id":"s","source":"startup"'
tell UserPromptSubmit ',"prompt_id":"first","prompt":"begin"'
tell Stop ',"prompt_id":"first"'
n=0
while [ ! -e "$NOTES/over" ]; do
  case "$*" in *feed*) sleep 1; continue ;; esac
  n=$((n + 1))
  word="$AO_SESSION.$n"
  tell UserPromptSubmit ',"prompt_id":"t-'$word'","prompt":"go"' && echo "turn.started t-$word" >> "$acked"
  asked=',"prompt_id":"t-'$word'","tool_name":"Bash","tool_input":{"command":"run w-'$word'"}'
  tell PermissionRequest "$asked" > /dev/null &
  sleep 0.$((n * 7 % 10))
  tell PostToolUse "$asked"
  wait
  tell Stop ',"prompt_id":"t-'$word'"' && echo "turn.ended t-$word" >> "$acked"
  sleep 0.$((n * 3 % 10))
done
exec sleep 100000
"#;

/// Numbers that are the same for the same seed (xorshift64*).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % end
    }
}

pub(crate) fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Which points are drawn; others each time, unless it is said.
pub(crate) fn seed() -> u64 {
    let any = || std::time::UNIX_EPOCH.elapsed().map_or(1, |since| since.subsec_nanos().into());
    number("AO_R1_SEED").unwrap_or_else(any)
}

/// What clients were told is done: `kind words`.
#[derive(Default)]
struct Acked(Mutex<Vec<String>>);

impl Acked {
    fn add(&self, line: String) {
        self.0.lock().unwrap().push(line);
    }
}

/// When a server is killed: after a part of that many milliseconds.
#[derive(Clone, Copy)]
pub(crate) enum When {
    /// After its lock.
    Starts(u64),
    /// After it took a first connection.
    Serves(u64),
}

/// Kills whatever server the lock names, `kills` times, each time at one of these moments.
pub(crate) fn kill(house: &House, kills: u64, moments: &[When], dice: &mut Dice) {
    let serves = || UnixStream::connect(house.path("data/run/ao.sock")).is_ok();
    let start = || {
        let mut command = house.command_with_bin(&["start"]);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let mut killed = 0;
    let (mut last, mut starting) = (0, Vec::<Child>::new());
    let alive = |last: i32| {
        let pid = house.lock_owner().filter(|pid| *pid != last);
        pid.and_then(ProcessId::of)
    };
    while killed < kills {
        // A third of the starts is left to hooks and to people.
        let patience = if dice.below(3) == 0 { 700 } else { 0 };
        let end = Instant::now() + Duration::from_millis(patience);
        while alive(last).is_none() && Instant::now() < end {
            thread::sleep(Duration::from_millis(5));
        }
        if alive(last).is_none() {
            starting.push(start());
        }
        let server = until("a server", || alive(last));
        let longest = match moments[dice.below(moments.len() as u64) as usize] {
            When::Starts(longest) => longest,
            When::Serves(longest) => {
                while ProcessId::of(server.pid).is_some() && !serves() {
                    thread::sleep(Duration::from_millis(5));
                }
                longest
            }
        };
        thread::sleep(Duration::from_millis(dice.below(longest)));
        killed += u64::from(server.signal(nix::sys::signal::Signal::SIGKILL));
        last = server.pid;
        starting.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
    }
    for mut child in starting {
        child.wait().unwrap();
    }
}

struct Scene {
    house: House,
    notes: PathBuf,
    channels: Channels,
}

impl Scene {
    fn begin() -> Self {
        let house = House::new();
        let channels = Channels::start();
        let reporter = house.script("reporter.sh", REPORTER);
        house.script("bin/claude", HOOKER);
        let notes = house.path("notes");
        fs::create_dir(&notes).unwrap();
        let config = format!(
            r#"{channels}lifecycle:
  sweepInterval: 300ms
  settle: {{urgent: 200ms, action: 300ms, warning: 500ms}}
projects:
  reports: {{path: ., defaultBranch: main, sessionPrefix: r, agent: custom, env: {{NOTES: "{notes}"}},
    agentConfig: {{command: ["{reporter}", "{{prompt}}"], input: none}}}}
  hooks: {{path: ., defaultBranch: main, sessionPrefix: h, agent: claude-code, env: {{NOTES: "{notes}"}}}}
"#,
            channels = channels.config(),
            notes = notes.display(),
            reporter = reporter.display(),
        );
        house.configure_as(&config);
        let scene = Self { house, notes, channels };
        for (project, part) in [
            ("reports", "last"),
            ("reports", "last"),
            ("reports", "last"),
            ("reports", "last"),
            ("reports", "crash"),
            ("reports", "crash"),
            ("hooks", "turns"),
            ("hooks", "turns"),
            ("hooks", "feed"),
            ("hooks", "feed"),
        ] {
            let args = ["spawn", project, "--no-wait", "--prompt", part];
            scene.house.run(scene.house.command_with_bin(&args), &args).success();
        }
        until("ten agents", || (scene.panes().len() == 10).then_some(()));
        // Their own words come first: the end of an earlier turn says nothing about a later one.
        for id in ["h-3", "h-4"] {
            scene
                .house
                .eventually(&["session", "show", id], |doc| doc["session"]["status"] == "idle");
        }
        scene
    }

    /// The process of each agent, by session.
    fn panes(&self) -> BTreeMap<String, ProcessId> {
        let out = self.house.tmux(&["list-panes", "-a", "-F", "#{window_name} #{pane_pid}"]);
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        let pane = |line: &str| {
            let (name, pid) = line.split_once(' ')?;
            Some((name.to_owned(), ProcessId::of(pid.parse().ok()?)?))
        };
        text.lines().filter_map(pane).collect()
    }

    /// The program's output, when it came to a good end.
    fn try_ao(&self, args: &[&str]) -> Option<String> {
        let out = self.house.command_with_bin(args).output().unwrap();
        // 10 is: recorded, and not confirmed by the agent.
        matches!(out.status.code(), Some(0 | 10))
            .then(|| String::from_utf8_lossy(&out.stdout).into_owned())
    }

    /// A person: answers, allows, sends and restores what there is to answer, allow and restore.
    fn person(&self, over: &AtomicBool, acked: &Acked) {
        let mut n = 0_u32;
        while !over.load(Ordering::Relaxed) {
            n += 1;
            thread::sleep(Duration::from_millis(250));
            let Some(status) = self.try_ao(&["status", "--json"]) else { continue };
            let status: Value = serde_json::from_str(&status).unwrap();
            let sessions = status["sessions"].as_array().unwrap();
            for session in sessions.iter().filter(|s| s["status"] == "errored") {
                let id = text(&session["id"]);
                if self.try_ao(&["session", "restore", id]).is_some() {
                    acked.add(format!("restore.requested {id}"));
                }
            }
            for session in sessions.iter().filter(|s| s["status"] == "blocked") {
                // The agent may have gone on meanwhile.
                self.try_ao(&["approve", text(&session["id"])]);
            }
            let word = format!("word {n}.");
            if n.is_multiple_of(4) && self.try_ao(&["send", "r-1", "--wait", "0", &word]).is_some()
            {
                acked.add(format!("message.requested {word}"));
            }
        }
    }

    /// Answers questions in the words that the journal must then hold.
    fn answerer(&self, over: &AtomicBool, acked: &Acked) {
        let mut n = 0;
        while !over.load(Ordering::Relaxed) {
            n += 1;
            thread::sleep(Duration::from_millis(400));
            let id = format!("r-{}", n % 4 + 1);
            let word = format!("answer {n}.");
            let body = json!({ "text": word }).to_string();
            let path = format!("/api/sessions/{id}/answer");
            if self.post(&path, &[], &body).is_some_and(|status| status == 200) {
                acked.add(format!("request.decided {word}"));
            }
        }
    }

    /// Tells the hooks of a session whose own agent is silent, as fast as the server takes them.
    fn feed(&self, session: &str, over: &AtomicBool, acked: &Acked) {
        let token =
            fs::read_to_string(self.house.path("data/secrets/token").join(session)).unwrap();
        let headers = [
            ("x-ao-session", session.to_owned()),
            ("x-ao-launch", "1".to_owned()),
            ("authorization", format!("Bearer {token}")),
        ];
        let mut n = 0;
        while !over.load(Ordering::Relaxed) {
            n += 1;
            for (event, kind) in [("UserPromptSubmit", "turn.started"), ("Stop", "turn.ended")] {
                let turn = format!("f-{session}.{n}");
                let body = json!({ "hook_event_name": event, "prompt_id": turn, "prompt": "go" });
                let path = format!("/api/hooks/claude-code/{event}");
                if self.post(&path, &headers, &body.to_string()) == Some(200) {
                    acked.add(format!("{kind} {turn}"));
                } else {
                    // An end whose beginning was not taken says nothing.
                    thread::sleep(Duration::from_millis(50));
                    break;
                }
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// The status of one request; none when the server did not answer it.
    fn post(&self, path: &str, headers: &[(&str, String)], body: &str) -> Option<u16> {
        let mut stream = UnixStream::connect(self.house.path("data/run/ao.sock")).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
        let mut head = format!(
            "POST {path} HTTP/1.1\r\nhost: ao\r\nconnection: close\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n",
            body.len()
        );
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        stream.write_all(format!("{head}\r\n{body}").as_bytes()).ok()?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply).ok()?;
        reply.split(' ').nth(1)?.parse().ok()
    }

    fn written(&self, name: &str) -> Vec<String> {
        let of_name = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with(name);
        let files = fs::read_dir(&self.notes).unwrap().flatten().filter(of_name);
        let read = |path: &Path| fs::read_to_string(path).unwrap_or_default();
        files.flat_map(|f| read(&f.path()).lines().map(str::to_owned).collect::<Vec<_>>()).collect()
    }
}

/// What an event says, in the words of the acknowledgements; none for other events.
fn said(event: &Value) -> Option<String> {
    let (kind, data) = (text(&event["kind"]), &event["data"]);
    let excerpt = |value: &Value| text(&value["excerpt"]).to_owned();
    let words = match kind {
        "turn.started" | "turn.ended" => match data["turn"].as_str() {
            Some(turn) => turn.to_owned(),
            None => text(&event["session"]).to_owned(),
        },
        "request.opened" => text(&data["ask"]["text"]).to_owned(),
        "completion.claimed" => excerpt(&data["text"]),
        "message.requested" => excerpt(&data["text"]),
        "request.decided" => text(&data["decision"]["text"]).to_owned(),
        "restore.requested" => text(&event["session"]).to_owned(),
        _ => return None,
    };
    Some(format!("{kind} {words}"))
}

/// How often each line is there.
fn counted(lines: impl IntoIterator<Item = String>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for line in lines {
        *counts.entry(line).or_default() += 1;
    }
    counts
}

#[test]
fn r1_sigkill_at_random_points_loses_nothing_acknowledged_and_doubles_no_push() {
    let kills = number("AO_R1_KILLS").unwrap_or(50);
    let seed = seed();
    println!("r1: AO_R1_KILLS={kills} AO_R1_SEED={seed}");
    let began = Instant::now();
    let scene = Scene::begin();
    let before = scene.panes();

    let (acked, over) = (Acked::default(), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| scene.person(&over, &acked));
        scope.spawn(|| scene.answerer(&over, &acked));
        scope.spawn(|| scene.feed("h-3", &over, &acked));
        scope.spawn(|| scene.feed("h-4", &over, &acked));
        // While it starts, while it serves, and now and then when it had time for everything.
        let moments =
            [60, 400].map(When::Starts).into_iter().chain([300, 300, 1_200].map(When::Serves));
        let moments: Vec<When> = moments.collect();
        kill(&scene.house, kills, &moments, &mut Dice(seed | 1));
        over.store(true, Ordering::Relaxed);
    });
    let churned = began.elapsed();

    // The last questions stay open: each must reach its human, once.
    fs::write(scene.notes.join("over"), "").unwrap();
    scene.house.ao(&["start"]).success();
    for id in ["r-1", "r-2", "r-3", "r-4"] {
        let question = format!("q {id}.last");
        until(&format!("the push of {question}"), || {
            let asked = |push: &&Push| {
                push.body["type"] == "notification.sent"
                    && push.body["message"].to_string().contains(&question)
            };
            (scene.channels.hook.pushes().iter().filter(asked).count() == 1).then_some(())
        });
    }
    until("an empty spool", || {
        let spool = fs::read_dir(scene.house.path("data/run/spool"));
        spool.map_or(0, Iterator::count).eq(&0).then_some(())
    });
    // The outbox is at rest: each delivery came to its end.
    scene.house.eventually(&["notify", "log"], |log| {
        let ends = |delivery: &Value| matches!(text(&delivery["progress"]), "sent" | "dropped");
        let rows = log["notifications"].as_array().into_iter().flatten();
        rows.flat_map(|row| row["deliveries"].as_array().into_iter().flatten()).all(ends)
    });
    let events = until("effects at rest", || {
        let events = scene.house.events();
        let of = |kind: &str| -> BTreeSet<String> {
            let these = events.iter().filter(|event| event["kind"] == kind);
            these.map(|event| text(&event["data"]["intent"]).to_owned()).collect()
        };
        let ended: BTreeSet<_> =
            of("effect.succeeded").union(&of("effect.failed")).cloned().collect();
        let open = events.iter().any(|event| {
            let effect = &event["data"]["effect"];
            event["kind"] == "effect.intended"
                && text(&effect["do"]).ends_with("notification")
                && !ended.contains(text(&event["seq"]))
        });
        (!open).then_some(events)
    });

    // Nothing acknowledged is lost.
    let mut promised = counted(acked.0.into_inner().unwrap());
    for (line, times) in counted(scene.written("acked")) {
        *promised.entry(line).or_default() += times;
    }
    let there = counted(events.iter().filter_map(said));
    let lost: Vec<_> = promised
        .iter()
        .filter(|(line, times)| there.get(*line).is_none_or(|found| found < *times))
        .collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    // Nothing is invented.
    let tried: BTreeSet<String> = scene.written("tried").into_iter().collect();
    for asked in there.keys().filter_map(|line| line.strip_prefix("request.opened q ")) {
        assert!(tried.contains(asked), "nobody asked: {asked}");
    }
    // Agents were never touched.
    let after = scene.panes();
    for (session, process) in before.iter().filter(|(id, _)| !matches!(id.as_str(), "r-5" | "r-6"))
    {
        assert_eq!(after.get(session), Some(process), "{session} is another process");
    }
    let verified = scene.house.json(&["events", "verify"]);
    assert_eq!(verified["sound"], true, "{verified:#}");
    println!(
        "r1: {kills} kills in {:.0} s, {} of servers that had begun to serve, {} events, {} acknowledgements kept",
        churned.as_secs_f64(),
        events.iter().filter(|event| event["kind"] == "server.started").count() - 1,
        events.len(),
        promised.values().sum::<usize>(),
    );
    channels::check_news(&events);
    let repeated = channels::check_requests(&scene.channels.hook.pushes(), &events);
    println!("r1: hook: {repeated} requests were repeated");
    for name in channels::NAMES {
        let account = channels::judge(name, &scene.channels.arrived(name), &events, kills);
        println!("r1: {name}: {account}");
    }
}
