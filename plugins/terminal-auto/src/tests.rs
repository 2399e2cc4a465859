//! With terminal programs that only write down what they were told, and with the real tmux.

use std::{fs, path::PathBuf};

use ao_conformance::terminal::{self as conformance, Harness};
use ao_slots::{process::ProcessId, runtime::AttachInfo};

use super::*;

struct House {
    folder: tempfile::TempDir,
    terminal: Arc<Auto>,
    display: bool,
}

impl House {
    fn new(display: bool) -> Self {
        Self::with(display, Settings::default())
    }

    fn with(display: bool, settings: Settings) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("bin")).unwrap();
        let context = BuildContext {
            data_dir: folder.path().to_owned(),
            run_dir: folder.path().join("run"),
            instance: "01ARZ3NDEKTSV4RRFFQ69G5FAV".parse().unwrap(),
            ao: folder.path().join("run/ao"),
            home: folder.path().to_owned(),
            env: BTreeMap::new(),
        };
        Self { terminal: Arc::new(Auto::new(settings, &context)), folder, display }
    }

    /// Installs a terminal program: it writes down its process, its words and its environment, then does `then`.
    fn install(&self, name: &str, then: &str) {
        let path = self.folder.path().join("bin").join(name);
        let log = self.folder.path().display().to_string();
        let script = format!(
            "#!/bin/sh\necho $$ >>'{log}/pids'\necho \"$0 $*\" >>'{log}/opened'\n\
             /usr/bin/env >'{log}/env'\n{then}\n"
        );
        let text = self.folder.path().join("script");
        fs::write(&text, script).unwrap();
        // Made by another process: a program that we have open for writing cannot be started (ETXTBSY), nor
        // can it while a child that another test is just forking has inherited it.
        let mut install = std::process::Command::new("install");
        let status = install.args(["-m", "755"]).args([&text, &path]).status().unwrap();
        assert!(status.success());
    }

    fn opened(&self) -> Vec<String> {
        let log = fs::read_to_string(self.folder.path().join("opened")).unwrap_or_default();
        let bin = format!("{}/", self.folder.path().join("bin").display());
        log.lines().map(|line| line.replace(&bin, "")).collect()
    }

    fn request(&self, foreground: bool) -> OpenRequest {
        OpenRequest {
            session: "app-1".parse().unwrap(),
            attach: AttachInfo {
                argv: Some(["sleep", "1001"].map(str::to_owned).into()),
                title: "app-1".to_owned(),
            },
            env: self.env(),
            foreground,
        }
    }

    async fn open(&self, request: &OpenRequest) -> Result<Opened, PluginError> {
        self.terminal.open(&call(), request).await
    }
}

impl Harness for House {
    fn terminal(&self) -> Arc<dyn Terminal> {
        self.terminal.clone()
    }
    fn env(&self) -> BTreeMap<String, String> {
        let bin = self.folder.path().join("bin").display().to_string();
        let mut env = BTreeMap::from([("PATH".to_owned(), bin)]);
        if self.display {
            env.insert("DISPLAY".to_owned(), ":77".to_owned());
        }
        env
    }
    fn windows(&self) -> usize {
        self.opened().len()
    }
}

/// No window outlives its test.
impl Drop for House {
    fn drop(&mut self) {
        let pids = fs::read_to_string(self.folder.path().join("pids")).unwrap_or_default();
        for process in pids.lines().filter_map(|pid| ProcessId::of(pid.parse().ok()?)) {
            process.signal(process::Signal::SIGKILL);
        }
    }
}

fn call() -> Call {
    Call::new("test", Duration::from_secs(60))
}

#[tokio::test]
async fn it_keeps_the_contract_of_terminals_with_and_without_a_desktop() {
    let desktop = House::new(true);
    desktop.install("xterm", "exec /bin/sleep 1000");
    conformance::all(&desktop).await;
    assert!(!desktop.opened().is_empty());
    let headless = House::new(false);
    headless.install("xterm", "exec /bin/sleep 1000");
    conformance::all(&headless).await;
    assert!(headless.opened().is_empty());
}

#[tokio::test]
async fn a_window_is_opened_and_lives_by_itself() {
    let house = House::new(true);
    house.install("xterm", "shift; PATH=/usr/bin:/bin exec \"$@\"");
    let mut request = house.request(true);
    request.env.insert("TMUX_PANE".to_owned(), "%1".to_owned());
    request.env.insert("AO_SESSION".to_owned(), "app-9".to_owned());
    request.env.insert("LANG".to_owned(), "de_DE.UTF-8".to_owned());
    assert_eq!(house.open(&request).await, Ok(Opened::Window));
    assert_eq!(house.opened(), ["xterm -e sleep 1001"]);
    let env = fs::read_to_string(house.folder.path().join("env")).unwrap();
    assert!(
        env.contains("LANG=de_DE.UTF-8\n") && env.contains("HOME=") && env.contains("DISPLAY=")
    );
    assert!(!env.contains("TMUX") && !env.contains("AO_"), "{env}");
    let pid = fs::read_to_string(house.folder.path().join("pids")).unwrap();
    let pid: i32 = pid.trim().parse().unwrap();
    assert!(ProcessId::of(pid).is_some());
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let group = stat.rsplit_once(')').unwrap().1.split_ascii_whitespace().nth(2).unwrap();
    assert_eq!(group, pid.to_string(), "it is not the leader of its own group");
    assert_eq!(house.terminal.is_open(&call(), &request.session).await, Ok(Answer::Yes(())));
}

#[tokio::test]
async fn a_program_that_cannot_open_its_window_is_replaced_by_the_next_way() {
    let house = House::new(true);
    house.install("x-terminal-emulator", "exit 1");
    house.install("xterm", "exit 0");
    assert_eq!(house.open(&house.request(true)).await, Ok(Opened::Window));
    assert_eq!(house.opened(), ["x-terminal-emulator -e sleep 1001", "xterm -e sleep 1001"]);

    house.install("xterm", "exit 1");
    let here = house.open(&house.request(true)).await;
    assert_eq!(here, Ok(Opened::RunHere(["sleep", "1001"].map(str::to_owned).into())));
    let hint = house.open(&house.request(false)).await;
    assert_eq!(hint, Ok(Opened::Hint("sleep 1001".to_owned())));
}

#[tokio::test]
async fn a_desktop_without_a_terminal_program_is_told_what_to_install() {
    let house = House::new(true);
    let error = house.open(&house.request(false)).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Missing);
    assert_eq!(error.remedy.as_deref(), Some("sudo apt install xterm"));
    let here = house.open(&house.request(true)).await;
    assert!(matches!(here, Ok(Opened::RunHere(_))));
}

#[tokio::test]
async fn the_program_of_the_settings_is_taken_and_its_absence_named() {
    let command = ["myterm", "--run"].map(str::to_owned).to_vec();
    let house = House::with(false, Settings { command });
    house.install("myterm", "exit 0");
    assert_eq!(house.open(&house.request(true)).await, Ok(Opened::Window));
    assert_eq!(house.opened(), ["myterm --run sleep 1001"]);
    fs::remove_file(house.folder.path().join("bin/myterm")).unwrap();
    let error = house.open(&house.request(true)).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Missing, "{error}");
    assert!(error.remedy.is_some_and(|remedy| remedy.contains("myterm")));
}

/// A tmux of the user, killed with what runs in it.
struct UsersTmux {
    socket: PathBuf,
}

impl UsersTmux {
    fn run(&self, words: &[&str]) -> String {
        let output = std::process::Command::new("tmux")
            .args(["-u", "-f", "/dev/null", "-S"])
            .arg(&self.socket)
            .args(words)
            .env_remove("TMUX")
            .output()
            .unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }
}

impl Drop for UsersTmux {
    fn drop(&mut self) {
        let mut kill = std::process::Command::new("tmux");
        let _ = kill.arg("-S").arg(&self.socket).arg("kill-server").output();
    }
}

#[tokio::test]
async fn s14_within_tmux_a_window_is_opened_beside_the_client() {
    let house = House::new(true);
    house.install("xterm", "exit 0");
    let users = UsersTmux { socket: house.folder.path().join("user, tmux") };
    let start = ["new-session", "-d", "-s", "mine", "-P", "-F", "#{pane_id}", "sleep", "1000"];
    let pane = users.run(&start);
    // A session that was used later is not the client's.
    users.run(&["new-session", "-d", "-s", "other", "sleep", "1000"]);
    let server = users.run(&["display-message", "-p", "#{pid}"]);
    let mut request = house.request(true);
    let script = "printf '<%s>' \"$@\" >seen.tmp; mv seen.tmp seen; exec sleep 1000";
    request.attach.argv = Some(
        ["sh", "-c", script, "sh", "#{pid}", "#(touch canary)", r"\;", ";"]
            .map(str::to_owned)
            .into(),
    );
    request.env.insert("TMUX".to_owned(), format!("{},{server},0", users.socket.display()));
    request.env.insert("TMUX_PANE".to_owned(), pane);
    request.env.insert("PATH".to_owned(), std::env::var("PATH").unwrap());
    assert_eq!(house.open(&request).await, Ok(Opened::Window));
    let windows = users.run(&["list-windows", "-a", "-F", "#{session_name} #{window_name}"]);
    assert!(windows.lines().any(|line| line == "mine app-1"), "{windows}");
    assert!(house.opened().is_empty(), "a window of the desktop was opened as well");
    let seen = house.folder.path().join("seen");
    for _ in 0..1_000 {
        if seen.exists() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(fs::read_to_string(seen).unwrap(), r"<#{pid}><#(touch canary)><\;><;>");
    assert!(!house.folder.path().join("canary").exists());

    // A tmux that is gone is no obstacle.
    users.run(&["kill-server"]);
    request.env.extend(house.env());
    assert_eq!(house.open(&request).await, Ok(Opened::Window));
    assert_eq!(house.opened().len(), 1);
}

#[test]
fn settings_are_checked() {
    let check = registration().check;
    check(&serde_json::json!(null)).unwrap();
    check(&serde_json::json!({"command": ["xterm", "-e"]})).unwrap();
    assert!(check(&serde_json::json!({"command": "xterm"})).is_err());
    assert!(check(&serde_json::json!({"comand": []})).is_err());
}
