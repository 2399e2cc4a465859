//! The demo's stage: a small shop in a repository, `ao` with a data directory of its own, a phone, a chat and a webhook
//! that keep what arrives, and the hands that type, press buttons and pull plugs.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use ao_fakes::{
    ntfy,
    slack::{ANA, APP_TOKEN, BOT_TOKEN, CHANNEL, Message, Outcome, Slack},
};
use serde_json::Value;

use crate::receiver::{Push, Receiver};

/// Nothing here should take longer; most takes a second.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where the phone listens, and where its buttons report.
const TOPIC: &str = "demo-0123456789abcdef0123456789";
const REPLIES: &str = "taps-0123456789abcdef0123456789";

/// What the shop's tests are: they say where a rule is wrong, and how.
const TEST: &str = r#"#!/bin/sh
# Every rule is a name and a value, and no name comes twice.
awk 'NF != 2   { print FILENAME ":" FNR ": error: a rule is a name and one value: " $0; bad = 1 }
     seen[$1]++ { print FILENAME ":" FNR ": error: there is a rule for " $1 " already"; bad = 1 }
     END        { exit bad }' rules/*.txt
"#;

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

pub(crate) struct Stage {
    /// What is not as expected of the pushes ends it.
    check: bool,
    root: PathBuf,
    repo: PathBuf,
    data: PathBuf,
    ao: PathBuf,
    receiver: Receiver,
    /// The server behind a phone, played by its vendor's rules.
    phone: ntfy::Server,
    /// A workspace of Slack, played by its vendor's rules.
    chat: Slack,
    /// How many of what arrived were shown.
    shown: usize,
    /// How many rounds should be over.
    rounds: usize,
    /// Pushes that a person is expected to get: kind and session.
    expected: Vec<(&'static str, &'static str)>,
}

impl Stage {
    pub(crate) fn begin(check: bool) -> Self {
        let root = std::env::temp_dir().join(format!("ao-demo-{}", std::process::id()));
        fs::create_dir_all(&root).expect("a temporary folder");
        let ao = std::env::current_exe().expect("this program's path");
        // Examples are built into `examples/` beside the program.
        let ao = ao.parent().and_then(Path::parent).expect("a target folder").join("ao");
        let receiver = Receiver::start();
        receiver.also(hear_signals());
        let chat = receiver.wait(Slack::start());
        Self {
            check,
            repo: root.join("shop"),
            data: root.join("data"),
            root,
            ao,
            receiver,
            chat,
            phone: ntfy::Server::start(ntfy::Options::default()).expect("a port for the phone"),
            shown: 0,
            rounds: 0,
            expected: vec![],
        }
    }

    /// The pushes are not those expected.
    pub(crate) fn wrong(&self, problem: String) -> Result<(), String> {
        if self.check {
            return Err(problem);
        }
        println!("   not as expected: {problem}");
        Ok(())
    }

    pub(crate) fn make_repository(&self) -> Result<(), String> {
        let (issues, rules) = (self.repo.join("issues"), self.repo.join("rules"));
        for folder in [&issues, &rules] {
            fs::create_dir_all(folder).map_err(text)?;
        }
        let price = "#!/bin/sh\n# Prints the rules of the shop.\nsort rules/*.txt\n";
        for (name, content) in [("price.sh", price), ("test.sh", TEST)] {
            fs::write(self.repo.join(name), content).map_err(text)?;
            make_executable(&self.repo.join(name))?;
        }
        for (name, rule) in
            [("prices", "base 10"), ("shipping", "standard 300"), ("taxes", "books 7")]
        {
            fs::write(rules.join(format!("{name}.txt")), format!("{rule}\n")).map_err(text)?;
        }
        let titles = [
            "Round prices",
            "Show the currency",
            "Coupon is applied twice",
            "Add VAT",
            "Sort the list",
            "Add a discount",
            "Add express shipping",
            "Wrap gifts",
            "Raise the tax",
        ];
        for (number, title) in (1..).zip(titles) {
            let issue =
                format!("---\ntitle: {title}\nstatus: open\n---\nMake it a rule of the shop.\n");
            fs::write(issues.join(format!("{number}.md")), issue).map_err(text)?;
        }
        self.git(&["init", "-q", "-b", "main"])?;
        self.git(&["config", "user.name", "Demo"])?;
        self.git(&["config", "user.email", "demo@example.org"])?;
        self.git(&["add", "-A"])?;
        self.git(&["commit", "-qm", "A small shop"]).map(drop)
    }

    /// Thresholds of seconds, so that a silence shows while one watches.
    pub(crate) fn configure(&self) -> Result<(), String> {
        let agent = self.root.join("agent.sh");
        fs::write(&agent, include_str!("../demo-agent.sh")).map_err(text)?;
        make_executable(&agent)?;
        let desktop = std::env::var_os("DBUS_SESSION_BUS_ADDRESS").is_some();
        let notifiers =
            if desktop { "[demo, phone, chat, desktop]" } else { "[demo, phone, chat]" };
        let config = format!(
            r#"defaults: {{agent: custom, notifiers: {notifiers}}}
notifiers:
  demo: {{plugin: webhook, url: "http://127.0.0.1:{port}/", allowPrivate: true, secret: demo-secret-demo-secret}}
  phone: {{plugin: ntfy, server: "{phone}", topic: {TOPIC}, replyTopic: {REPLIES}}}
  chat: {{plugin: slack, channel: {CHANNEL}, botToken: {BOT_TOKEN}, appToken: {APP_TOKEN}, apiUrl: "{chat}"}}
lifecycle:
  sweepInterval: 500ms
  scmInterval: 500ms
  settle: {{urgent: 500ms, action: 1s, warning: 2s}}
reactions:
  agent-stuck: {{threshold: 8s, command-threshold: 8s}}
projects:
  shop:
    path: .
    sessionPrefix: shop
    defaultBranch: main
    requiredApprovals: 1
    scm: {{plugin: local, autoOpen: false, checks: [{{name: test, run: ./test.sh}}]}}
    agentConfig:
      command: ["bash", "{agent}", "{{prompt_file}}"]
      resume: ["bash", "{agent}"]
"#,
            port = self.receiver.port,
            phone = self.phone.url(),
            chat = self.chat.api_url(),
            agent = agent.display(),
        );
        fs::write(self.repo.join("agent-orchestrator.yaml"), config).map_err(text)?;
        // What it says of each setting is long; a human would read it.
        println!("$ ao config trust --yes");
        self.read(&["config", "trust", "--yes"]).map(drop)
    }

    /// Waits for a push about a session, which must have come in time.
    pub(crate) fn expect(
        &mut self,
        kind: &'static str,
        session: &'static str,
        by: Instant,
    ) -> Result<(), String> {
        self.expected.push((kind, session));
        self.until(&format!("a push {kind} about {session}"), |stage| {
            Ok(!stage.about(kind, session).is_empty())
        })?;
        match self.about(kind, session).first().map(|push| push.at.saturating_duration_since(by)) {
            Some(late) if !late.is_zero() => {
                self.wrong(format!("{kind} about {session} came {} s late", late.as_secs_f32()))
            }
            _ => Ok(()),
        }
    }

    /// Presses a button of the newest message on the phone that has it, once there is one.
    pub(crate) fn tap(&mut self, label: &str) -> Result<(), String> {
        self.until(&format!("a button {label} on the phone"), |stage| {
            let shown = stage.phone.phone(TOPIC);
            Ok(shown.iter().any(|note| note.buttons.iter().any(|button| button == label)))
        })?;
        println!("   phone  [{label}]");
        match self.phone.press(TOPIC, label) {
            Some(200) => Ok(()),
            other => Err(format!("the phone's tap was answered {other:?}")),
        }
    }

    /// Presses a button of the card with these words in its title in the chat, once there is one, and says yes where it asks.
    pub(crate) fn press(&mut self, label: &str, title: &str) -> Result<(), String> {
        self.until(&format!("a button {label} under {title} in the chat"), |stage| {
            Ok(stage.card(label, title).is_some())
        })?;
        let Some(card) = self.card(label, title) else {
            return Err(format!("the button {label} under {title} is gone from the chat"));
        };
        println!("   chat   [{label}]");
        match self.receiver.wait(self.chat.press(ANA, &card.ts, label)) {
            Outcome::Taken => Ok(()),
            Outcome::Error => Err("Slack shows an error: the press was not taken".into()),
        }
    }

    fn card(&self, label: &str, title: &str) -> Option<Message> {
        let offers = |card: &Message| {
            card.title.contains(title) && self.chat.press_payload(ANA, &card.ts, label).is_some()
        };
        self.chat.messages().into_iter().rev().find(offers)
    }

    fn about(&self, kind: &str, session: &str) -> Vec<Push> {
        let names = |push: &Push| {
            push.message("kind") == kind && push.body["message"].to_string().contains(session)
        };
        self.buzzing().into_iter().filter(names).collect()
    }

    pub(crate) fn nothing_else_buzzed(&self) -> Result<(), String> {
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
        if self.summaries() != self.rounds {
            return Err(format!("{} rounds had {} summaries", self.rounds, self.summaries()));
        }
        let ids: BTreeSet<_> = sent.iter().map(|push| push.id.clone()).collect();
        if ids.len() != sent.len() {
            return Err("one message was sent twice".into());
        }
        Ok(())
    }

    pub(crate) fn until(
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

    pub(crate) fn buzzing(&self) -> Vec<Push> {
        self.pushes().into_iter().filter(Push::buzzes).collect()
    }

    pub(crate) fn status_of(&self, session: &str) -> Result<String, String> {
        let view = self.json(&["session", "show", session])?;
        Ok(view["session"]["status"].as_str().unwrap_or_default().to_owned())
    }

    /// A session's pull request, as `ao pr show --json` has it.
    pub(crate) fn pr(&self, session: &str) -> Result<Value, String> {
        self.json(&["pr", "show", session])
    }

    /// Waits until a session has a pull request of which this holds.
    pub(crate) fn until_pr(
        &mut self,
        session: &str,
        what: &str,
        holds: impl Fn(&Value) -> bool,
    ) -> Result<(), String> {
        self.until(&format!("the pull request of {session} {what}"), |stage| {
            Ok(stage.pr(session).is_ok_and(|pr| holds(&pr)))
        })
    }

    /// Waits for the summary of the round that is over.
    pub(crate) fn summary(&mut self) -> Result<(), String> {
        self.rounds += 1;
        self.until("the summary", |stage| Ok(stage.summaries() >= stage.rounds))
    }

    fn summaries(&self) -> usize {
        let is_one = |push: &Push| {
            push.body["type"] == "notification.sent" && push.message("kind") == "all-complete"
        };
        self.pushes().iter().filter(|push| is_one(push)).count()
    }

    pub(crate) fn committed(&self, subject: &str) -> Result<(), String> {
        let log = self.git(&["log", "--all", "--format=%s"])?;
        match log.lines().any(|line| line == subject) {
            true => Ok(()),
            false => Err(format!("nobody committed `{subject}`")),
        }
    }

    /// Neither worktree nor branch of a merged session is left.
    pub(crate) fn cleared_away(&mut self, session: &str) -> Result<(), String> {
        let issue = session.rsplit('-').next().unwrap_or_default().to_owned();
        self.until(&format!("the workspace of {session} is away"), |stage| {
            let left = stage.git(&["worktree", "list"])?.contains(&format!("/{session} "))
                || stage.git(&["branch", "--list", &format!("ao/{issue}-*")])?.contains("ao/");
            Ok(!left)
        })
    }

    /// The shop has all rules that were asked for, in a clean checkout whose test passes.
    pub(crate) fn merged(&self) -> Result<(), String> {
        let changed = self.git(&["status", "--porcelain", "--untracked-files=no"])?;
        let tested = Command::new("./test.sh").current_dir(&self.repo).status().map_err(text)?;
        let mut rules = String::new();
        for name in ["prices", "shipping", "taxes"] {
            let file = self.repo.join("rules").join(format!("{name}.txt"));
            rules.push_str(&fs::read_to_string(file).map_err(text)?);
        }
        let wanted = "base 10\ndiscount 5\ngift 3\nstandard 300\nexpress 400\nbooks 7\nvat 19\n";
        match changed.is_empty() && tested.success() && rules == wanted {
            true => Ok(()),
            false => Err(format!("main is not what was merged: {changed}{rules}")),
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
    pub(crate) fn ao(&mut self, arguments: &[&str]) -> Result<(), String> {
        self.show_pushes();
        println!("$ ao {}", shown(arguments));
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
            Err(format!("ao {} exited with {}", shown(arguments), out.status))
        }
    }

    /// Runs `ao` for what it prints.
    pub(crate) fn read(&self, arguments: &[&str]) -> Result<String, String> {
        printed(&mut self.command(arguments))
    }

    fn json(&self, arguments: &[&str]) -> Result<Value, String> {
        let out = self.read(&[arguments, &["--json"]].concat())?;
        serde_json::from_str(&out).map_err(|error| format!("ao {}: {error}", shown(arguments)))
    }

    fn git(&self, arguments: &[&str]) -> Result<String, String> {
        printed(Command::new("git").arg("-C").arg(&self.repo).args(arguments))
    }

    pub(crate) fn kill_server(&self) -> Result<(), String> {
        let pid = fs::read_to_string(self.data.join("run/lock")).map_err(text)?;
        println!("$ kill -9 {}", pid.trim());
        run("kill", &["-9", pid.trim()])
    }

    pub(crate) fn kill_tmux(&self) -> Result<(), String> {
        println!("$ tmux -S …/run/tmux.sock kill-server");
        run("tmux", &["-S", &self.data.join("run/tmux.sock").to_string_lossy(), "kill-server"])
    }

    pub(crate) fn show_log(&self) {
        let log = fs::read_to_string(self.data.join("logs/server.log")).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        for line in &lines[lines.len().saturating_sub(40)..] {
            println!("  | {line}");
        }
    }
}

impl Drop for Stage {
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

pub(crate) fn say(words: &str) {
    println!("\n— {}", words.replace('\n', "\n  "));
}

/// Arguments as one would type them.
fn shown(arguments: &[&str]) -> String {
    let plain = |word: &&str| match word.contains([' ', '#']) {
        true => format!("\"{word}\""),
        false => (*word).to_owned(),
    };
    arguments.iter().map(plain).collect::<Vec<_>>().join(" ")
}

fn printed(command: &mut Command) -> Result<String, String> {
    let out = command.output().map_err(text)?;
    match out.status.success() {
        true => Ok(String::from_utf8_lossy(&out.stdout).into_owned()),
        false => Err(format!("{command:?}: {}", String::from_utf8_lossy(&out.stderr))),
    }
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
