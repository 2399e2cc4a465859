//! Measures the whole program as a person and an agent meet it: a real git repository, real tmux, a program
//! named `claude` that only sleeps, hooks posted to the socket, messages that arrive over HTTP.
//!
//! Run by `./scripts/bench`; the figures with the command that made them belong in `artifacts/benchmarks/`.

#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::{
    fs,
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use receiver::Receiver;
use serde_json::{Value, json};

mod receiver;

fn main() {
    let sessions: usize = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(100);
    let bench = Bench::begin();
    println!("| what | measured |\n|---|---|");
    bench.row("fdatasync of this disk, 4 KiB, p50 / p99", &spread(&bench.floor(200)));
    bench.row("`ao --version`, p50 / p99 of 200", &spread(&bench.times(200, &["--version"])));
    bench.ao(&["start"]);
    bench.row("server resident memory, empty", &mib(bench.memory()));
    bench.row("`ao status`, no session, p50 / p99 of 100", &spread(&bench.times(100, &["status"])));
    bench.spawn(sessions);
    bench.row(&format!("server resident memory, {sessions} sessions"), &mib(bench.memory()));
    bench.row(
        &format!("`ao status`, {sessions} sessions, p50 / p99 of 100"),
        &spread(&bench.times(100, &["status"])),
    );
    bench.row("`ao hook` reporting, p50 / p99 of 200", &spread(&bench.hooks(200)));
    bench.row(
        "hook posted → webhook request arrives (settle 0), p50 / p99",
        &spread(&bench.pushes(sessions)),
    );
    bench.row("a waiting hook's private memory", &bench.waiting_hook());
    bench.row(&format!("server CPU a sweep of {sessions} sessions"), &bench.sweep_cpu());
    bench.spawn_overhead(20, sessions);
    bench.row("a second server ends, p50 / p99 of 20", &spread(&bench.seconds(20)));
    let began = Instant::now();
    bench.ao(&["stop"]);
    bench.row(&format!("`ao stop`, {sessions} sessions"), &ms(began.elapsed()));
    let began = Instant::now();
    bench.ao(&["start"]);
    bench.row(&format!("`ao start`, {sessions} sessions adopted"), &ms(began.elapsed()));
}

struct Bench {
    root: PathBuf,
    repo: PathBuf,
    data: PathBuf,
    ao: PathBuf,
    receiver: Receiver,
}

impl Bench {
    fn begin() -> Self {
        let root = std::env::temp_dir().join(format!("ao-bench-{}", std::process::id()));
        let (repo, bin) = (root.join("shop"), root.join("bin"));
        fs::create_dir_all(&repo).unwrap();
        fs::create_dir_all(&bin).unwrap();
        let claude = bin.join("claude");
        fs::create_dir_all(root.join("started")).unwrap();
        let marks = root.join("started").display().to_string();
        fs::write(&claude, format!("#!/bin/sh\n: > {marks}/$AO_SESSION\nexec sleep 100000\n"))
            .unwrap();
        run("chmod", &["+x", &claude.to_string_lossy()]);
        fs::write(repo.join("a.txt"), "a\n").unwrap();
        let here = repo.to_string_lossy().into_owned();
        for arguments in [
            vec!["init", "-q", "-b", "main"],
            vec!["config", "user.name", "Bench"],
            vec!["config", "user.email", "bench@example.org"],
            vec!["add", "-A"],
            vec!["commit", "-qm", "a"],
        ] {
            run("git", &[&["-C", here.as_str()], arguments.as_slice()].concat());
        }
        let receiver = Receiver::start();
        let config = format!(
            "defaults: {{notifiers: [bench]}}\nnotifiers:\n  bench: {{plugin: webhook, url: \"http://127.0.0.1:{}/\", \
             allowPrivate: true, secret: bench-secret-bench-secret}}\nlifecycle:\n  settle: {{urgent: 0s}}\n\
             projects:\n  shop: {{path: ., defaultBranch: main, sessionPrefix: shop}}\n",
            receiver.port
        );
        fs::write(repo.join("agent-orchestrator.yaml"), config).unwrap();
        let examples = std::env::current_exe().unwrap();
        let ao = examples.parent().and_then(Path::parent).unwrap().join("ao");
        let bench = Self { repo, data: root.join("data"), root, ao, receiver };
        bench.ao(&["config", "trust", "--yes"]);
        bench
    }

    fn row(&self, what: &str, measured: &str) {
        println!("| {what} | {measured} |");
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let path = format!(
            "{}:{}",
            self.root.join("bin").display(),
            std::env::var("PATH").unwrap_or_default()
        );
        let mut command = Command::new(&self.ao);
        command
            .args(arguments)
            .current_dir(&self.repo)
            .env("AO_DATA_DIR", &self.data)
            .env("XDG_CONFIG_HOME", self.root.join("config"))
            .env("PATH", path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        command
    }

    fn ao(&self, arguments: &[&str]) {
        let out = self.command(arguments).output().unwrap();
        assert!(out.status.success(), "ao {arguments:?}: {}", String::from_utf8_lossy(&out.stderr));
    }

    fn floor(&self, times: usize) -> Vec<Duration> {
        let mut file = fs::File::create(self.root.join("floor")).unwrap();
        let page = [7_u8; 4096];
        (0..times)
            .map(|_| {
                let began = Instant::now();
                file.write_all(&page).unwrap();
                file.sync_data().unwrap();
                began.elapsed()
            })
            .collect()
    }

    fn times(&self, times: usize, arguments: &[&str]) -> Vec<Duration> {
        (0..times)
            .map(|_| {
                let began = Instant::now();
                self.ao(arguments);
                began.elapsed()
            })
            .collect()
    }

    fn wait_for(&self, mark: &str) {
        let began = Instant::now();
        while !self.root.join("started").join(mark).exists() {
            assert!(began.elapsed() < Duration::from_secs(60), "{mark} did not start");
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    /// One spawn at a time, from the command to the agent's first line, beside what git and tmux take alone.
    fn spawn_overhead(&self, times: usize, before: usize) {
        let socket = self.root.join("floor.sock").to_string_lossy().into_owned();
        let claude = self.root.join("bin/claude").to_string_lossy().into_owned();
        let tmux =
            |words: &[&str]| run("tmux", &[&["-S", &socket, "-f", "/dev/null"], words].concat());
        tmux(&["new-session", "-d", "sleep", "1000"]);
        let alone: Vec<_> = (0..times)
            .map(|n| {
                let (mark, folder) = (format!("floor-{n}"), self.root.join(format!("floor-{n}")));
                let folder = folder.to_string_lossy().into_owned();
                let repo = self.repo.to_string_lossy().into_owned();
                let began = Instant::now();
                run("git", &["-C", &repo, "worktree", "add", "-q", "-b", &mark, &folder]);
                let session = format!("AO_SESSION={mark}");
                tmux(&["new-session", "-d", "-c", &folder, "-e", &session, &claude]);
                self.wait_for(&mark);
                began.elapsed()
            })
            .collect();
        tmux(&["kill-server"]);
        let through: Vec<_> = (before + 1..=before + times)
            .map(|n| {
                let began = Instant::now();
                self.ao(&["spawn", "shop", "--no-wait", "--prompt", &format!("first {n}")]);
                self.wait_for(&format!("shop-{n}"));
                began.elapsed()
            })
            .collect();
        self.row("`git worktree add` + `tmux new-session`, p50 / p99", &spread(&alone));
        self.row("`ao spawn` to the agent's first line, p50 / p99", &spread(&through));
    }

    fn seconds(&self, times: usize) -> Vec<Duration> {
        (0..times)
            .map(|_| {
                let began = Instant::now();
                let status = self.command(&["start", "--foreground"]).status().unwrap();
                assert!(!status.success(), "a second server serves");
                began.elapsed()
            })
            .collect()
    }

    /// Spawns sessions and lets their agents report that they work.
    fn spawn(&self, sessions: usize) {
        let began = Instant::now();
        let mut running: Vec<Child> = vec![];
        for n in 1..=sessions {
            let mut command = self.command(&["spawn", "shop", "--no-wait", "--prompt"]);
            running.push(command.arg(format!("task {n}")).spawn().unwrap());
            if running.len() >= 4 {
                assert!(running.remove(0).wait().unwrap().success(), "a spawn failed");
            }
        }
        for mut child in running {
            child.wait().unwrap();
        }
        for n in 1..=sessions {
            let token = self.data.join("secrets/token").join(format!("shop-{n}"));
            let waited = Instant::now();
            while !token.exists() && waited.elapsed() < Duration::from_secs(60) {
                std::thread::sleep(Duration::from_millis(20));
            }
            std::thread::sleep(Duration::from_millis(10));
            self.post(n, "SessionStart", &json!({"source": "startup"}));
            self.post(n, "UserPromptSubmit", &json!({"prompt": format!("task {n}")}));
        }
        let each = began.elapsed() / u32::try_from(sessions).unwrap();
        self.row(&format!("spawn to working, {sessions} sessions, 4 at a time, each"), &ms(each));
    }

    fn token(&self, n: usize) -> String {
        fs::read_to_string(self.data.join("secrets/token").join(format!("shop-{n}")))
            .unwrap_or_default()
    }

    fn payload(&self, n: usize, event: &str, own: &Value) -> Vec<u8> {
        let mut payload = json!({
            "session_id": format!("00000000-0000-4000-8000-{n:012}"),
            "transcript_path": self.root.join(format!("t-{n}.jsonl")),
            "cwd": self.repo, "hook_event_name": event, "prompt_id": "p1", "permission_mode": "default",
        });
        for (key, value) in own.as_object().unwrap() {
            payload[key] = value.clone();
        }
        payload.to_string().into_bytes()
    }

    /// Posts a hook event straight to the socket, as `ao hook` does.
    fn post(&self, n: usize, event: &str, own: &Value) {
        let body = self.payload(n, event, own);
        let head = format!(
            "POST /api/hooks/claude-code/{event} HTTP/1.1\r\nhost: ao\r\nconnection: close\r\ncontent-length: {}\r\n\
             x-ao-session: shop-{n}\r\nx-ao-launch: 1\r\nauthorization: Bearer {}\r\n\r\n",
            body.len(),
            self.token(n)
        );
        let mut stream = UnixStream::connect(self.data.join("run/ao.sock")).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&body).unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
    }

    fn hook(&self, n: usize, event: &str, own: &Value) -> Child {
        let mut child = self
            .command(&["hook", "claude-code", event])
            .env("AO_SESSION", format!("shop-{n}"))
            .env("AO_LAUNCH", "1")
            .env("AO_TOKEN", self.token(n))
            .env("AO_SOCKET", self.data.join("run/ao.sock"))
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(&self.payload(n, event, own)).unwrap();
        child
    }

    fn hooks(&self, times: usize) -> Vec<Duration> {
        let own =
            json!({"tool_name": "Bash", "tool_input": {"command": "ls"}, "tool_use_id": "u1"});
        (0..times)
            .map(|_| {
                let began = Instant::now();
                self.hook(1, "PreToolUse", &own).wait().unwrap();
                began.elapsed()
            })
            .collect()
    }

    /// One permission request a session; from the post to the arrival of its message.
    fn pushes(&self, sessions: usize) -> Vec<Duration> {
        (1..=sessions)
            .map(|n| {
                let before = self.receiver.count();
                let own =
                    json!({"tool_name": "Bash", "tool_input": {"command": format!("make {n}")}});
                let began = Instant::now();
                self.post(n, "PermissionRequest", &own);
                loop {
                    let session = format!("shop-{n}");
                    let called = self.receiver.called("agent-needs-input", &session, before);
                    if let Some(at) = called {
                        return at.duration_since(began);
                    }
                    assert!(began.elapsed() < Duration::from_secs(20), "no push for shop-{n}");
                    std::thread::sleep(Duration::from_micros(200));
                }
            })
            .collect()
    }

    fn waiting_hook(&self) -> String {
        let own = json!({"tool_name": "Bash", "tool_input": {"command": "make 1"}});
        let mut child = self.hook(1, "PermissionRequest", &own);
        std::thread::sleep(Duration::from_millis(500));
        let smaps =
            fs::read_to_string(format!("/proc/{}/smaps_rollup", child.id())).unwrap_or_default();
        let kib: u64 = smaps
            .lines()
            .filter(|line| line.starts_with("Private_"))
            .filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok())
            .sum();
        child.kill().unwrap();
        child.wait().unwrap();
        format!("{kib} KiB")
    }

    fn pid(&self) -> String {
        fs::read_to_string(self.data.join("run/lock")).unwrap().trim().to_owned()
    }

    fn memory(&self) -> u64 {
        std::thread::sleep(Duration::from_secs(6));
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// CPU of the server over six sweeps of 5 s, its children (one `tmux list-panes` a sweep) not counted.
    fn sweep_cpu(&self) -> String {
        let ticks = || -> u64 {
            let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
            let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
            fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
        };
        let before = ticks();
        std::thread::sleep(Duration::from_secs(30));
        // proc(5): a tick is 10 ms on every Linux that this runs on (`getconf CLK_TCK`).
        format!("{:.1} ms", (ticks() - before) as f64 * 10.0 / 6.0)
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = self.command(&["stop"]).status();
        let socket = self.data.join("run/tmux.sock");
        let _ = Command::new("tmux")
            .arg("-S")
            .arg(socket)
            .arg("kill-server")
            .stderr(Stdio::null())
            .status();
        let _ = fs::remove_dir_all(&self.root);
    }
}

fn run(program: &str, arguments: &[&str]) {
    assert!(
        Command::new(program).args(arguments).status().unwrap().success(),
        "{program} {arguments:?}"
    );
}

fn spread(times: &[Duration]) -> String {
    let mut sorted = times.to_vec();
    sorted.sort();
    let at = |part: f64| sorted[((sorted.len() - 1) as f64 * part) as usize];
    format!("{} / {}", ms(at(0.5)), ms(at(0.99)))
}

fn ms(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1_000.0)
}

fn mib(kib: u64) -> String {
    format!("{:.1} MiB", kib as f64 / 1024.0)
}
