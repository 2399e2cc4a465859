//! The main job, shown and checked on real input: a real git repository, real tmux, real agent processes, and
//! messages that arrive over HTTP. Run it by `./scripts/demo`; with `--check` it asserts exactly the pushes
//! expected, none twice, all in time, and exits non-zero otherwise. Without it that is only said.

#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use ao_fakes::ntfy;
use receiver::{Push, Receiver};
use serde_json::Value;

mod receiver;

/// Nothing here should take longer; most takes a second.
const PATIENCE: Duration = Duration::from_secs(60);
/// From what happens to its push on a busy machine: the agent's own seconds, a sweep, the settle time.
const SOON: Duration = Duration::from_secs(15);
/// The same where the limit of 8 s for a silence comes first.
const AFTER_SILENCE: Duration = Duration::from_secs(25);

/// Where the phone listens, and where its buttons report.
const TOPIC: &str = "demo-0123456789abcdef0123456789";
const REPLIES: &str = "taps-0123456789abcdef0123456789";

/// Set by Ctrl-C and SIGTERM: the demo ends, and clears away what it made.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

async fn hear_signals() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut term) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = term.recv() => {}
    }
    INTERRUPTED.store(true, Ordering::Relaxed);
    Ok(())
}

fn main() -> ExitCode {
    let check = std::env::args().any(|argument| argument == "--check");
    let began = Instant::now();
    let mut demo = Demo::begin(check);
    demo.receiver.also(hear_signals());
    match demo.run() {
        Ok(()) => {
            println!(
                "\nThat was it, in {} s. Now in your own repository: ao init",
                began.elapsed().as_secs()
            );
            if check {
                println!("demo: every push came once, in time, and nothing else buzzed");
            }
            ExitCode::SUCCESS
        }
        Err(problem) => {
            println!("\ndemo: FAILED: {problem}");
            demo.show_log();
            ExitCode::FAILURE
        }
    }
}

struct Demo {
    /// What is not as expected of the pushes ends it.
    check: bool,
    root: PathBuf,
    repo: PathBuf,
    data: PathBuf,
    ao: PathBuf,
    receiver: Receiver,
    /// The server behind a phone, played by its vendor's rules.
    phone: ntfy::Server,
    shown: usize,
    /// Pushes that a person is expected to get: kind and session.
    expected: Vec<(&'static str, &'static str)>,
}

impl Demo {
    fn begin(check: bool) -> Self {
        let root = std::env::temp_dir().join(format!("ao-demo-{}", std::process::id()));
        fs::create_dir_all(&root).expect("a temporary folder");
        let ao = std::env::current_exe().expect("this program's path");
        // Examples are built into `examples/` beside the program.
        let ao = ao.parent().and_then(Path::parent).expect("a target folder").join("ao");
        Self {
            check,
            repo: root.join("shop"),
            data: root.join("data"),
            root,
            ao,
            receiver: Receiver::start(),
            phone: ntfy::Server::start(ntfy::Options::default()).expect("a port for the phone"),
            shown: 0,
            expected: vec![],
        }
    }

    fn run(&mut self) -> Result<(), String> {
        self.make_repository()?;
        say("A small shop: a program, its tests, and five issues as Markdown files.");
        self.ao(&["init", "--yes", "--no-input", "--agent", "custom"])?;
        self.configure()?;
        self.ao(&["config", "trust", "--yes"])?;

        say("Five agents, each in its own worktree and terminal. Then nobody watches.");
        self.ao(&["batch-spawn", "shop", "1", "2", "3", "4", "5"])?;
        let spawned = Instant::now();

        say("Two finish by themselves: no push. One asks, one crashes, one hangs: three pushes.");
        self.expect("agent-needs-input", "shop-3", spawned + SOON)?;
        self.expect("agent-exited", "shop-4", spawned + SOON)?;
        self.expect("agent-stuck", "shop-5", spawned + AFTER_SILENCE)?;
        self.until("shop-1 and shop-2 are done", |demo| {
            Ok(demo.status_of("shop-1")? == "done" && demo.status_of("shop-2")? == "done")
        })?;
        self.ao(&["status"])?;

        say(
            "The server is killed, hard. Agents go on. Meanwhile somebody taps an answer on the phone; the next command starts the server again, which finds the tap: the agent that asked goes on.",
        );
        self.kill_server()?;
        self.tap("Items and shipping")?;
        self.ao(&["status"])?;
        self.until("shop-3 is done", |demo| Ok(demo.status_of("shop-3")? == "done"))?;
        self.committed("shop-3", "Apply coupons: Items and shipping")?;

        say("Another tap restores the crashed one; its half-done change is still there.");
        self.tap("Restore")?;
        self.until("shop-4 works", |demo| Ok(demo.status_of("shop-4")? == "working"))?;

        say(
            "The tmux server dies and takes the two agents that still run with it. They come back by themselves: no push.",
        );
        let before = self.buzzing().len();
        self.kill_tmux()?;
        self.until("shop-4 is done and shop-5 works", |demo| {
            Ok(demo.status_of("shop-4")? == "done" && demo.status_of("shop-5")? == "working")
        })?;
        if self.buzzing().len() != before {
            self.wrong("bringing sessions back by itself pushed something".into())?;
        }

        say(
            "It dies again at once. What cannot be brought back a second time is named, in one push.",
        );
        self.kill_tmux()?;
        self.expect("runtime-lost", "shop-5", Instant::now() + SOON)?;
        self.ao(&["why", "shop-5"])?;
        self.ao(&["session", "restore", "shop-5"])?;

        say("Everything is over: one quiet summary.");
        self.until("the summary", |demo| {
            Ok(demo.pushes().iter().any(|push| push.message("kind") == "all-complete"))
        })?;
        self.ao(&["status"])?;
        self.ao(&["notify", "log"])?;
        self.nothing_else_buzzed().or_else(|problem| self.wrong(problem))
    }

    /// The pushes are not those expected.
    fn wrong(&self, problem: String) -> Result<(), String> {
        if self.check {
            return Err(problem);
        }
        println!("   not as expected: {problem}");
        Ok(())
    }

    fn make_repository(&self) -> Result<(), String> {
        let issues = self.repo.join("issues");
        fs::create_dir_all(&issues).map_err(text)?;
        let files = [
            (
                "price.sh",
                "#!/bin/sh\n# Prints the price list by the rules in rules.txt.\nsort rules.txt\n",
            ),
            (
                "test.sh",
                "#!/bin/sh\n# Every rule is printed exactly once.\ntest \"$(./price.sh | wc -l)\" = \"$(wc -l < rules.txt)\"\n",
            ),
            ("rules.txt", "base 10\n"),
        ];
        for (name, content) in files {
            fs::write(self.repo.join(name), content).map_err(text)?;
        }
        for (number, title) in [
            "Round prices",
            "Show the currency",
            "Coupon is applied twice",
            "Add VAT",
            "Sort the list",
        ]
        .iter()
        .enumerate()
        {
            let number = number + 1;
            let issue = format!(
                "---\ntitle: {title}\nstatus: open\n---\nMake the price list do this, with a test.\n"
            );
            fs::write(issues.join(format!("{number}.md")), issue).map_err(text)?;
        }
        for script in ["price.sh", "test.sh"] {
            make_executable(&self.repo.join(script))?;
        }
        self.git(&["init", "-q", "-b", "main"])?;
        self.git(&["config", "user.name", "Demo"])?;
        self.git(&["config", "user.email", "demo@example.org"])?;
        self.git(&["add", "-A"])?;
        self.git(&["commit", "-qm", "A price list"])
    }

    /// Thresholds of seconds, so that a silence shows while one watches.
    fn configure(&self) -> Result<(), String> {
        let agent = self.root.join("agent.sh");
        fs::write(&agent, include_str!("demo-agent.sh")).map_err(text)?;
        make_executable(&agent)?;
        let desktop = std::env::var_os("DBUS_SESSION_BUS_ADDRESS").is_some();
        let notifiers = if desktop { "[demo, phone, desktop]" } else { "[demo, phone]" };
        let config = format!(
            r#"defaults: {{agent: custom, notifiers: {notifiers}}}
notifiers:
  demo: {{plugin: webhook, url: "http://127.0.0.1:{port}/", allowPrivate: true, secret: demo-secret-demo-secret}}
  phone: {{plugin: ntfy, server: "{phone}", topic: {TOPIC}, replyTopic: {REPLIES}}}
lifecycle:
  sweepInterval: 500ms
  settle: {{urgent: 500ms, action: 1s, warning: 2s}}
reactions:
  agent-stuck: {{threshold: 8s, command-threshold: 8s}}
projects:
  shop:
    path: .
    sessionPrefix: shop
    defaultBranch: main
    agentConfig:
      command: ["bash", "{agent}", "{{prompt_file}}"]
      resume: ["bash", "{agent}"]
      input: none
"#,
            port = self.receiver.port,
            phone = self.phone.url(),
            agent = agent.display(),
        );
        fs::write(self.repo.join("agent-orchestrator.yaml"), config).map_err(text)
    }

    /// Waits for a push about a session, which must have come in time.
    fn expect(
        &mut self,
        kind: &'static str,
        session: &'static str,
        by: Instant,
    ) -> Result<(), String> {
        self.expected.push((kind, session));
        self.until(&format!("a push {kind} about {session}"), |demo| {
            Ok(!demo.about(kind, session).is_empty())
        })?;
        match self.about(kind, session).first().map(|push| push.at.saturating_duration_since(by)) {
            Some(late) if !late.is_zero() => {
                self.wrong(format!("{kind} about {session} came {} s late", late.as_secs_f32()))
            }
            _ => Ok(()),
        }
    }

    /// Presses a button of the newest message on the phone that has it.
    fn tap(&self, label: &str) -> Result<(), String> {
        println!("   phone  [{label}]");
        let none = || format!("the phone shows no button {label}: {:#?}", self.phone.phone(TOPIC));
        match self.phone.press(TOPIC, label).ok_or_else(none)? {
            200 => Ok(()),
            status => Err(format!("the phone's tap was answered {status}")),
        }
    }

    fn about(&self, kind: &str, session: &str) -> Vec<Push> {
        let names = |push: &Push| {
            push.message("kind") == kind && push.body["message"].to_string().contains(session)
        };
        self.buzzing().into_iter().filter(names).collect()
    }

    fn nothing_else_buzzed(&self) -> Result<(), String> {
        let buzzing = self.buzzing();
        for (kind, session) in &self.expected {
            match self.about(kind, session).len() {
                1 => {}
                n => return Err(format!("{kind} about {session} came {n} times")),
            }
        }
        if buzzing.len() != self.expected.len() {
            let kinds: Vec<_> =
                buzzing.iter().map(|push| push.message("title").to_owned()).collect();
            return Err(format!(
                "expected {} pushes, got {}: {kinds:#?}",
                self.expected.len(),
                kinds.len()
            ));
        }
        let sent: Vec<_> =
            self.pushes().into_iter().filter(|p| p.body["type"] == "notification.sent").collect();
        let summaries = sent.iter().filter(|push| push.message("kind") == "all-complete").count();
        if summaries != 1 {
            return Err(format!("the summary came {summaries} times"));
        }
        let ids: BTreeSet<_> = sent.iter().map(|push| push.id.clone()).collect();
        if ids.len() != sent.len() {
            return Err("one message was sent twice".into());
        }
        Ok(())
    }

    fn until(
        &mut self,
        what: &str,
        holds: impl Fn(&Self) -> Result<bool, String>,
    ) -> Result<(), String> {
        let began = Instant::now();
        loop {
            self.show_pushes();
            if INTERRUPTED.load(Ordering::Relaxed) {
                return Err("interrupted".into());
            }
            if holds(self)? {
                self.show_pushes();
                return Ok(());
            }
            if began.elapsed() > PATIENCE {
                return Err(format!("never came: {what}"));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn show_pushes(&mut self) {
        let pushes = self.pushes();
        for push in &pushes[self.shown..] {
            let what = match push.body["type"].as_str().unwrap_or_default() {
                "notification.sent" => "push",
                "notification.updated" => "edit",
                _ => "settled",
            };
            println!("   [{what}] {} {}", push.message("sign"), push.message("title"));
            if what == "push" && !push.message("short").is_empty() {
                println!("          {}", push.message("short"));
            }
        }
        self.shown = pushes.len();
    }

    fn pushes(&self) -> Vec<Push> {
        self.receiver.pushes()
    }

    fn buzzing(&self) -> Vec<Push> {
        self.pushes().into_iter().filter(Push::buzzes).collect()
    }

    fn status_of(&self, session: &str) -> Result<String, String> {
        let out = self.command(&["session", "show", session, "--json"]).output().map_err(text)?;
        let view: Value = serde_json::from_slice(&out.stdout).map_err(|error| {
            format!(
                "ao session show {session} --json: {error}: {}",
                String::from_utf8_lossy(&out.stderr)
            )
        })?;
        Ok(view["session"]["status"].as_str().unwrap_or_default().to_owned())
    }

    fn committed(&self, session: &str, subject: &str) -> Result<(), String> {
        let out = Command::new("git")
            .arg("-C")
            .arg(&self.repo)
            .args(["log", "--all", "--format=%s"])
            .output()
            .map_err(text)?;
        let log = String::from_utf8_lossy(&out.stdout).into_owned();
        if log.lines().any(|line| line == subject) {
            Ok(())
        } else {
            Err(format!("{session} did not commit `{subject}`"))
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.ao);
        command
            .args(arguments)
            .current_dir(&self.repo)
            .env("AO_DATA_DIR", &self.data)
            .env("XDG_CONFIG_HOME", self.root.join("config"))
            .stdin(Stdio::null());
        command
    }

    /// Runs `ao` and shows what it says.
    fn ao(&mut self, arguments: &[&str]) -> Result<(), String> {
        self.show_pushes();
        println!("$ ao {}", arguments.join(" "));
        let out = self.command(arguments).output().map_err(text)?;
        for line in String::from_utf8_lossy(&out.stdout)
            .lines()
            .chain(String::from_utf8_lossy(&out.stderr).lines())
        {
            println!("  {line}");
        }
        if out.status.success() {
            Ok(())
        } else {
            Err(format!("ao {} exited with {}", arguments.join(" "), out.status))
        }
    }

    fn git(&self, arguments: &[&str]) -> Result<(), String> {
        let out =
            Command::new("git").arg("-C").arg(&self.repo).args(arguments).output().map_err(text)?;
        if out.status.success() {
            Ok(())
        } else {
            Err(String::from_utf8_lossy(&out.stderr).into_owned())
        }
    }

    fn kill_server(&self) -> Result<(), String> {
        let pid = fs::read_to_string(self.data.join("run/lock")).map_err(text)?;
        println!("$ kill -9 {}", pid.trim());
        run("kill", &["-9", pid.trim()])
    }

    fn kill_tmux(&self) -> Result<(), String> {
        println!("$ tmux -S …/run/tmux.sock kill-server");
        run("tmux", &["-S", &self.data.join("run/tmux.sock").to_string_lossy(), "kill-server"])
    }

    fn show_log(&self) {
        let log = fs::read_to_string(self.data.join("logs/server.log")).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        for line in &lines[lines.len().saturating_sub(40)..] {
            println!("  | {line}");
        }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // Whatever happened: nothing stays behind.
        let _ = self.command(&["stop"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
        let socket = self.data.join("run/tmux.sock");
        let _ = Command::new("tmux")
            .arg("-S")
            .arg(socket)
            .arg("kill-server")
            .stderr(Stdio::null())
            .status();
        if std::env::var_os("AO_DEMO_KEEP").is_none() {
            let _ = fs::remove_dir_all(&self.root);
        }
    }
}

fn say(words: &str) {
    println!("\n— {words}");
}

fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let status = Command::new(program).args(arguments).status().map_err(text)?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{program} {}: {status}", arguments.join(" ")))
    }
}

fn make_executable(path: &Path) -> Result<(), String> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).map_err(text)
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
