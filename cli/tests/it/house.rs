//! A data directory, a repository and a server of their own for one test; all of it is gone when it is dropped.

use std::{
    fs,
    io::Write,
    os::unix::{
        ffi::OsStrExt,
        fs::{PermissionsExt, symlink},
    },
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

/// Nothing here should take longer, however busy the machine is; most takes a second.
const PATIENCE: Duration = Duration::from_secs(90);

/// What a scripted agent can be told to do by its prompt: the first word names the part that it plays.
const AGENT: &str = r#"#!/bin/sh
# A scripted agent: really edits and commits, and reports what it does.
ao="$AO_DATA_DIR/run/ao"
commit() { git add -A && git -c user.email=agent@example.com -c user.name=agent commit -qm "$1"; }
"$ao" report working
case "$1" in
ask*)
  echo work >> work.txt && commit work
  answer=$("$ao" report question "Items only, or shipping too?" --option "Items only" --option "Items and shipping" --wait)
  echo "$answer" > answer.txt && commit answer
  "$ao" report ready
  ;;
finish*)
  echo done >> work.txt && commit done
  "$ao" report completed "all of it"
  "$ao" report ready
  ;;
work*)
  echo done >> work.txt && commit done
  "$ao" report ready
  ;;
crash*) echo "out of luck"; exit 3 ;;
*) "$ao" report ready ;;
esac
while read -r line; do
  "$ao" report working
  printf '%s\n' "$line" >> heard.txt
  "$ao" report ready
done
"#;

/// The house.
pub(crate) struct House {
    dir: tempfile::TempDir,
}

impl House {
    /// A repository with one commit, and a configuration whose agent is scripted. Nothing runs yet.
    pub(crate) fn new() -> Self {
        let house = Self { dir: tempfile::tempdir().unwrap() };
        for folder in ["home", "repo/issues", "data"] {
            fs::create_dir_all(house.path(folder)).unwrap();
        }
        fs::set_permissions(house.path("data"), fs::Permissions::from_mode(0o700)).unwrap();
        let agent = house.path("agent.sh");
        fs::write(&agent, AGENT).unwrap();
        fs::set_permissions(&agent, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(house.path("repo/main.txt"), "one\n").unwrap();
        house.repository("repo");
        house
    }

    /// Makes a folder a repository, whose first commit has all that is in it.
    pub(crate) fn repository(&self, folder: &str) {
        for args in [
            &["init", "-q", "-b", "main"][..],
            &["config", "user.email", "ana@example.com"],
            &["config", "user.name", "ana"],
            &["add", "-A"],
            &["commit", "-q", "--allow-empty", "-m", "first"],
        ] {
            self.git_in(folder, args);
        }
    }

    pub(crate) fn path(&self, part: &str) -> PathBuf {
        self.dir.path().join(part)
    }

    /// Writes the configuration: one project `my-app` with the scripted agent.
    pub(crate) fn configure(&self) {
        self.configure_with("");
    }

    /// The same, with more of the project: `key: value` and the beginning of the next line.
    pub(crate) fn configure_with(&self, more: &str) {
        let text = format!(
            "projects:\n  my-app:\n    path: .\n    defaultBranch: main\n    sessionPrefix: app\n    agent: custom\n    \
             {more}agentConfig: {{command: [\"{}\", \"{{prompt}}\"]}}\nnotifiers: {{}}\ndefaults: {{notifiers: []}}\n\
             lifecycle: {{sweepInterval: 200ms}}\n",
            self.path("agent.sh").display()
        );
        self.configure_as(&text);
    }

    /// Writes this configuration and trusts it.
    pub(crate) fn configure_as(&self, text: &str) {
        fs::write(self.path("repo/agent-orchestrator.yaml"), text).unwrap();
        self.ao(&["config", "trust", "--yes"]).success();
    }

    /// An executable file beside the repository.
    pub(crate) fn script(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// A house whose one project `my-app` has the agent `claude`: this script.
    pub(crate) fn with_claude(script: &str) -> Self {
        let house = Self::new();
        house.script("bin/claude", script);
        house.configure_as(
            "defaults: {notifiers: []}\nnotifiers: {}\nlifecycle: {sweepInterval: 200ms}\n\
             projects: {my-app: {path: ., defaultBranch: main, sessionPrefix: app}}\n",
        );
        house
    }

    /// Spawns a session of `my-app` with the `claude` of this house.
    pub(crate) fn spawn_claude(&self) {
        let args = ["spawn", "my-app", "--prompt", "begin"];
        self.run(self.command_with_bin(&args), &args).success();
    }

    /// A command that finds the programs in the house's folder `bin` first.
    pub(crate) fn command_with_bin(&self, args: &[&str]) -> Command {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = self.command(args);
        command.env("PATH", format!("{}:{path}", self.path("bin").display()));
        command
    }

    /// A folder with these programs of the machine alone, for a `PATH` that lacks the others.
    pub(crate) fn only(&self, folder: &str, programs: &[&str]) -> PathBuf {
        let bin = self.path(folder);
        fs::create_dir_all(&bin).unwrap();
        let path = std::env::var_os("PATH").unwrap_or_default();
        for program in programs.iter().filter(|program| !bin.join(program).exists()) {
            let mut places = std::env::split_paths(&path).map(|dir| dir.join(program));
            symlink(places.find(|file| file.is_file()).unwrap(), bin.join(program)).unwrap();
        }
        bin
    }

    /// A command that a session's first agent runs.
    pub(crate) fn within(&self, session: &str, args: &[&str]) -> Command {
        let token = fs::read_to_string(self.path("data/secrets/token").join(session)).unwrap();
        let mut command = self.command(args);
        command.env("AO_SESSION", session).env("AO_LAUNCH", "1").env("AO_TOKEN", token);
        command.env("AO_SOCKET", self.path("data/run/ao.sock"));
        command
    }

    /// What git says of the repository.
    pub(crate) fn git(&self, args: &[&str]) -> String {
        self.git_in("repo", args)
    }

    /// The same in another folder.
    pub(crate) fn git_in(&self, folder: &str, args: &[&str]) -> String {
        let out = Command::new("git")
            .args(args)
            .current_dir(self.path(folder))
            .env("HOME", self.path("home"))
            .output()
            .unwrap();
        assert!(out.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).into_owned()
    }

    /// tmux, on the server that holds this house's agents.
    pub(crate) fn tmux(&self, args: &[&str]) -> Output {
        let socket = self.path("data/run/tmux.sock");
        Command::new("tmux").arg("-S").arg(socket).args(args).output().unwrap()
    }

    /// The whole journal, as the API tells it.
    pub(crate) fn events(&self) -> Vec<Value> {
        let mut all: Vec<Value> = vec![];
        loop {
            let after = all.last().map_or("e0".to_owned(), |event| text(&event["seq"]).to_owned());
            let page = self.json(&["events", "--after", &after, "-n", "5000"]);
            let events = page["events"].as_array().unwrap();
            if events.is_empty() {
                return all;
            }
            all.extend(events.iter().cloned());
        }
    }

    /// A command of the program under test, in the repository, with an environment of its own.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ao"));
        command
            .args(args)
            .current_dir(self.path("repo"))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.path("home"))
            .env("LANG", "C.UTF-8")
            .env("TZ", "UTC")
            .env("AO_DATA_DIR", self.path("data"))
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn ao(&self, args: &[&str]) -> Ran {
        self.run(self.command(args), args)
    }

    pub(crate) fn run(&self, mut command: Command, args: &[&str]) -> Ran {
        Ran { what: args.join(" "), output: command.output().unwrap() }
    }

    /// Runs with text on standard input.
    pub(crate) fn ao_with(&self, mut command: Command, input: &str) -> Output {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let mut all = args.to_vec();
        all.push("--json");
        let ran = self.ao(&all);
        serde_json::from_slice(&ran.output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {ran:?}"))
    }

    /// Looks again until the document is as wanted.
    #[track_caller]
    pub(crate) fn eventually(&self, args: &[&str], wanted: impl Fn(&Value) -> bool) -> Value {
        let until = Instant::now() + PATIENCE;
        loop {
            let document = self.json(args);
            if wanted(&document) {
                return document;
            }
            assert!(
                Instant::now() < until,
                "`ao {}` never came to what was wanted: {document:#}",
                args.join(" ")
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The server's process, from the lock that it holds.
    pub(crate) fn server(&self) -> i32 {
        self.lock_owner().unwrap()
    }

    /// The process that the lock names; none before the first start and while it is being written.
    pub(crate) fn lock_owner(&self) -> Option<i32> {
        fs::read_to_string(self.path("data/run/lock")).ok()?.trim().parse().ok()
    }

    /// What a person would look at first after a failed test.
    fn tell(&self) {
        for file in ["start.log", "server.log"] {
            let log = fs::read_to_string(self.path("data/logs").join(file)).unwrap_or_default();
            let lines: Vec<_> = log.lines().collect();
            println!("--- {file}\n{}", lines[lines.len().saturating_sub(30)..].join("\n"));
        }
        let status = self.command(&["status", "--all"]).output().unwrap();
        println!("--- ao status\n{}", String::from_utf8_lossy(&status.stdout));
    }

    /// Kills the server as a power cut would end it.
    pub(crate) fn kill_server(&self) {
        end(self.server());
    }
}

/// A text of a document.
pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Looks again until there is something.
#[track_caller]
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "never came: {what}");
        std::thread::sleep(Duration::from_millis(30));
    }
}

/// SIGKILL to one process, by number; returns when it is gone.
pub(crate) fn end(pid: i32) {
    let target = nix::unistd::Pid::from_raw(pid);
    let _ = nix::sys::signal::kill(target, nix::sys::signal::Signal::SIGKILL);
    let until = Instant::now() + Duration::from_secs(20);
    // Threads may outlive the first one for a moment, and hold what all of them share, e.g. a socket.
    let threads = || fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
    let runs = || ao_core::slots::process::ProcessId::of(pid).is_some() || threads() > 1;
    while runs() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(5));
    }
}

impl Drop for House {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.tell();
        }
        // No hook of an agent starts a server from here on. One that is just starting takes that back, and may
        // bring agents back, so it is looked until nothing is left.
        for _ in 0..50 {
            let _ = fs::write(self.path("data/run/stopped"), "");
            if self.path("data/run/tmux.sock").exists() {
                self.tmux(&["kill-server"]);
            }
            let left = processes_of(self.dir.path());
            if left.is_empty() {
                return;
            }
            left.into_iter().for_each(end);
        }
    }
}

/// The processes that were started for a house: its folder, which no other has, is named in their words or in
/// their environment.
fn processes_of(house: &Path) -> Vec<i32> {
    let name = house.as_os_str().as_bytes();
    let names = |file: PathBuf| {
        fs::read(file).is_ok_and(|text| text.windows(name.len()).any(|part| part == name))
    };
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let of_house = |pid: &i32| {
        let folder = Path::new("/proc").join(pid.to_string());
        names(folder.join("cmdline")) || names(folder.join("environ"))
    };
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(of_house).collect()
}

/// A command that came to its end.
#[derive(Debug)]
pub(crate) struct Ran {
    what: String,
    output: Output,
}

impl Ran {
    pub(crate) fn code(&self) -> i32 {
        self.output.status.code().unwrap_or(-1)
    }

    pub(crate) fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.output.stdout).into_owned()
    }

    pub(crate) fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    #[track_caller]
    pub(crate) fn success(self) -> Self {
        self.exits(0)
    }

    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code(), code, "`ao {}`\n{}{}", self.what, self.stdout(), self.stderr());
        self
    }
}
