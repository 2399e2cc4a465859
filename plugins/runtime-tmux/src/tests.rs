//! Against the real tmux, each test with a server of its own.

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt, path::PathBuf};

use ao_conformance::runtime::{self as conformance, Behaviour, Harness, Scripts};
use ao_slots::{process::Signal, runtime::ProbeState};

use super::*;

struct House {
    folder: tempfile::TempDir,
    scripts: Scripts,
    context: BuildContext,
}

impl House {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["bin", "work"] {
            fs::create_dir(at(name)).unwrap();
        }
        // Counts the clients that are started.
        let real = std::env::split_paths(&std::env::var_os("PATH").unwrap())
            .map(|folder| folder.join("tmux"))
            .find(|path| path.exists())
            .expect("tmux is installed");
        let count = format!(
            "#!/bin/sh\necho x >>'{}'\nexec '{}' \"$@\"\n",
            at("clients").display(),
            real.display()
        );
        fs::write(at("script"), count).unwrap();
        // Made by another process: a program that we have open for writing cannot be started (ETXTBSY), nor
        // can it while a child that another test is just forking has inherited it.
        let mut install = std::process::Command::new("install");
        let status = install.args(["-m", "755"]).args([at("script"), at("bin/tmux")]).status();
        assert!(status.unwrap().success());
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin", at("bin").display());
        let context = BuildContext {
            data_dir: folder.path().to_owned(),
            run_dir: at("run"),
            instance: "01ARZ3NDEKTSV4RRFFQ69G5FAV".parse().unwrap(),
            ao: at("run/ao"),
            home: folder.path().to_owned(),
            env: BTreeMap::from([("PATH".to_owned(), path)]),
        };
        Self { scripts: Scripts::new(at("started")), folder, context }
    }

    fn tmux(&self) -> Tmux {
        Tmux::new(Settings::default(), &self.context)
    }

    fn clients(&self) -> usize {
        fs::read_to_string(self.folder.path().join("clients")).unwrap_or_default().lines().count()
    }

    fn server(&self) -> ProcessId {
        self.tmux().server.find_process().expect("the server runs")
    }

    fn request(&self, session: &str, argv: &[&str]) -> CreateRuntime {
        CreateRuntime {
            session: session.parse().unwrap(),
            launch: Launch(1),
            argv: argv.iter().map(|word| (*word).to_owned()).collect(),
            cwd: self.cwd(),
            env: BTreeMap::new(),
            stdin: None,
        }
    }

    async fn create(&self, session: &str, argv: &[&str]) -> RuntimeHandle {
        self.tmux().create(&call(), &self.request(session, argv)).await.unwrap()
    }

    async fn echo(&self, session: &str) -> RuntimeHandle {
        let argv = self.argv(Behaviour::Echo);
        let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
        self.create(session, &argv).await
    }

    async fn state(&self, handle: &RuntimeHandle) -> ProbeState {
        let handles = std::slice::from_ref(handle);
        self.tmux().probe(&call(), handles).await.unwrap().remove(0).state
    }

    /// Starts `cat` in a raw terminal that writes what arrives to a file; with brackets if asked for.
    async fn recorder(&self, session: &str, brackets: bool) -> (RuntimeHandle, PathBuf) {
        let file = self.cwd().join(format!("{session}.txt"));
        let script = format!(
            "stty raw -echo; {} : >\"$0\"; printf ready; exec cat >>\"$0\"",
            if brackets { r"printf '\033[?2004h';" } else { "" }
        );
        let handle = self.create(session, &["sh", "-c", &script, file.to_str().unwrap()]).await;
        until("the recorder is ready", async || {
            let screen = self.tmux().capture(&call(), &handle, 5).await.unwrap();
            screen.lines.iter().any(|line| line.contains("ready"))
        })
        .await;
        (handle, file)
    }
}

impl Harness for House {
    fn runtime(&self) -> Arc<dyn Runtime> {
        Arc::new(self.tmux())
    }
    fn argv(&self, behaviour: Behaviour) -> Vec<String> {
        self.scripts.argv(behaviour)
    }
    fn cwd(&self) -> PathBuf {
        self.folder.path().join("work")
    }
    fn started(&self) -> usize {
        self.scripts.started()
    }
    fn running(&self) -> usize {
        self.scripts.running()
    }
    fn freeze(&self) -> bool {
        assert!(self.server().signal(Signal::SIGSTOP));
        true
    }
    fn thaw(&self) {
        assert!(self.server().signal(Signal::SIGCONT));
    }
}

/// No server outlives its test, also when an assertion fails.
impl Drop for House {
    fn drop(&mut self) {
        while let Some(server) = self.tmux().server.find_process() {
            for process in process::tree(server, None) {
                process.signal(Signal::SIGKILL);
            }
        }
    }
}

fn call() -> Call {
    Call::new("test", Duration::from_secs(60))
}

async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    for _ in 0..1_500 {
        if done().await {
            return;
        }
        sleep(Duration::from_millis(20)).await;
    }
    panic!("this did not happen within 30 s: {what}");
}

#[tokio::test]
async fn it_keeps_the_contract_of_runtimes() {
    conformance::all(&House::new()).await;
}

#[tokio::test]
async fn without_tmux_nothing_is_started_and_the_remedy_is_named() {
    let mut house = House::new();
    house.context.env.insert("PATH".to_owned(), "/nonexistent".to_owned());
    let error = house.tmux().create(&call(), &house.request("app-1", &["/bin/true"])).await;
    let error = error.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Missing);
    assert_eq!(error.remedy.as_deref(), Some("sudo apt install tmux"));
    let adopted = house.tmux().adopt(&call(), &"app-1".parse().unwrap(), Launch(1)).await;
    assert!(matches!(adopted, Ok(Answer::Unknown(_))), "{adopted:?}");
}

#[tokio::test]
async fn what_cannot_work_is_refused_before_anything_starts() {
    let house = House::new();
    let fine = house.request("app-1", &["/bin/true"]);
    for (request, kind) in [
        (CreateRuntime { argv: vec![], ..fine.clone() }, ErrorKind::Permanent),
        (CreateRuntime { cwd: "/nonexistent".into(), ..fine.clone() }, ErrorKind::Permanent),
        (CreateRuntime { cwd: "work".into(), ..fine.clone() }, ErrorKind::Permanent),
        (CreateRuntime { stdin: Some(String::new()), ..fine.clone() }, ErrorKind::Unsupported),
    ] {
        let error = house.tmux().create(&call(), &request).await.unwrap_err();
        assert_eq!(error.kind, kind, "{error}");
    }
    assert_eq!(house.clients(), 0);
}

#[tokio::test]
async fn r18_the_end_of_the_process_in_the_pane_is_told_with_its_code_or_signal() {
    let house = House::new();
    let exits = house.create("app-1", &["sh", "-c", "exit 3"]).await;
    let killed = house.create("app-2", &["sh", "-c", "kill -9 $$"]).await;
    // A child in the pane that outlives the agent is not the agent.
    let leaves = house.create("app-3", &["sh", "-c", "sleep 1000 & exit 4"]).await;
    for (handle, code) in [(&exits, Some(3)), (&killed, None), (&leaves, Some(4))] {
        until("it ends", async || matches!(house.state(handle).await, ProbeState::Exited(_))).await;
        assert_eq!(house.state(handle).await, ProbeState::Exited(code));
        house.tmux().destroy(&call(), handle).await.unwrap();
    }
}

#[tokio::test]
async fn r18_an_agent_that_closed_its_terminal_is_alive() {
    let house = House::new();
    // tmux hangs up what closed its terminal; this one does not listen.
    let script = "trap '' HUP; exec sleep 1000 </dev/null >/dev/null 2>&1";
    let handle = house.create("app-1", &["sh", "-c", script]).await;
    until("tmux sees the closed terminal", async || {
        let list = house.tmux().list(Instant::now() + Duration::from_secs(60)).await.unwrap();
        list[0].end == End::Untold
    })
    .await;
    assert_eq!(house.state(&handle).await, ProbeState::Alive);
    house.tmux().destroy(&call(), &handle).await.unwrap();
    assert!(!handle.process.unwrap().is_alive());
}

#[tokio::test]
async fn r17_a_killed_server_makes_agents_missing_and_creates_anew() {
    let house = House::new();
    let one = house.echo("app-1").await;
    let two = house.create("app-2", &["sh", "-c", "trap '' HUP; sleep 1000"]).await;
    let survivor = two.process.unwrap();
    until("the trap is set", async || process::tree(survivor, None).len() > 1).await;
    assert!(house.server().signal(Signal::SIGKILL));
    until("the kernel hangs the first one up", async || !one.process.unwrap().is_alive()).await;
    assert_eq!(house.state(&one).await, ProbeState::Missing);
    let state = house.state(&two).await;
    assert!(matches!(state, ProbeState::Unknown(_)), "its process lives, yet it is {state:?}");
    let adopted = house.tmux().adopt(&call(), &one.session, Launch(1)).await;
    assert_eq!(adopted, Ok(Answer::No));

    // A new server gives the same pane ids again; the old handles do not mean them.
    let three = house.echo("app-3").await;
    assert_eq!((&three.id, three.server == one.server), (&one.id, false));
    assert_eq!(house.state(&one).await, ProbeState::Missing);
    assert!(matches!(house.state(&two).await, ProbeState::Unknown(_)));
    let lost = house.tmux().type_text(&call(), &one, "for nobody").await.unwrap_err();
    assert_eq!(lost.kind, ErrorKind::NotFound);
    // Destroying the old ones ends what is left of them and nothing of the new one.
    house.tmux().destroy(&call(), &one).await.unwrap();
    house.tmux().destroy(&call(), &two).await.unwrap();
    assert!(!survivor.is_alive());
    assert_eq!(house.state(&three).await, ProbeState::Alive);
}

#[tokio::test]
async fn r17_a_deleted_socket_is_made_anew_by_the_server_that_lives() {
    let house = House::new();
    let handle = house.echo("app-1").await;
    let (socket, server) = (house.context.run_dir.join("tmux.sock"), house.server());
    fs::remove_file(&socket).unwrap();
    assert_eq!(house.state(&handle).await, ProbeState::Alive);
    assert!(socket.exists());
    // So no second server comes to be beside it.
    fs::remove_file(&socket).unwrap();
    let other = house.echo("app-2").await;
    assert_eq!(other.server, Some(server));
    // Something else in the place of the socket is replaced as well.
    fs::remove_file(&socket).unwrap();
    fs::write(&socket, "").unwrap();
    assert_eq!(house.state(&handle).await, ProbeState::Alive);
}

#[tokio::test]
async fn r17_a_lost_socket_of_a_server_that_hangs_is_no_death() {
    let house = House::new();
    let handle = house.echo("app-1").await;
    fs::remove_file(house.context.run_dir.join("tmux.sock")).unwrap();
    house.freeze();
    let short = Call::new("test", Duration::from_millis(500));
    let probe = house.tmux().probe(&short, std::slice::from_ref(&handle)).await.unwrap().remove(0);
    assert!(matches!(probe.state, ProbeState::Unknown(_)), "{:?}", probe.state);
    let second = house.request("app-2", &["sleep", "1000"]);
    let error = house.tmux().create(&short, &second).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Transient, "nothing was started: {error}");
    house.thaw();
    until("it answers again", async || house.state(&handle).await == ProbeState::Alive).await;
}

#[tokio::test]
async fn r17_an_agent_is_ended_although_its_server_hangs() {
    let house = House::new();
    let handle = house.echo("app-1").await;
    house.freeze();
    let short = Call::new("test", Duration::from_secs(8));
    let error = house.tmux().destroy(&short, &handle).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::InDoubt, "the pane is still there: {error}");
    // Its parent cannot reap it, but it runs no more.
    assert!(!handle.process.unwrap().is_alive());
    house.thaw();
    house.tmux().destroy(&call(), &handle).await.unwrap();
    assert_eq!(house.state(&handle).await, ProbeState::Missing);
}

#[tokio::test]
async fn r17_fifty_panes_are_probed_by_one_process() {
    let house = House::new();
    let mut handles = Vec::new();
    for n in 1..=50 {
        handles.push(house.create(&format!("app-{n}"), &["sleep", "1000"]).await);
    }
    let before = house.clients();
    let probes = house.tmux().probe(&call(), &handles).await.unwrap();
    assert_eq!(house.clients() - before, 1);
    assert!(probes.iter().all(|probe| probe.state == ProbeState::Alive));
    assert!(probes.iter().all(|probe| probe.last_output.is_some()));
}

#[tokio::test]
async fn r17_a_server_that_ends_with_its_last_session_is_no_obstacle() {
    let house = House::new();
    for n in 1..=20 {
        let handle = house.create(&format!("app-{n}"), &["sleep", "1000"]).await;
        house.tmux().destroy(&call(), &handle).await.unwrap();
        let state = house.state(&handle).await;
        assert_eq!(state, ProbeState::Missing, "{n}");
    }
}

#[tokio::test]
async fn r19_a_crash_before_the_label_leaves_no_orphan() {
    let house = House::new();
    let first = house.echo("app-1").await;
    let words = ["new-session", "-d", "-s", "app-2~1", "sleep", "1000"].map(str::to_owned);
    let deadline = Instant::now() + Duration::from_secs(60);
    house.tmux().server.run(&words, b"", deadline).await.unwrap();
    let found = house.tmux().adopt(&call(), &"app-2".parse().unwrap(), Launch(1)).await;
    let Ok(Answer::Yes(found)) = found else { panic!("not adopted: {found:?}") };
    assert_ne!(found.id, first.id);
    // A pane that a human split off in a labelled session is not the agent's.
    let words = ["split-window", "-d", "-b", "-t", "=app-1~1:", "sleep", "1000"].map(str::to_owned);
    house.tmux().server.run(&words, b"", deadline).await.unwrap();
    let again = house.tmux().adopt(&call(), &first.session, Launch(1)).await;
    assert_eq!(again, Ok(Answer::Yes(first.clone())));
    // What carries another data directory's label is left alone.
    let mut other = House::new();
    other.context.run_dir.clone_from(&house.context.run_dir);
    other.context.instance = "01ARZ3NDEKTSV4RRFFQ69G5FAW".parse().unwrap();
    let foreign = other.tmux().adopt(&call(), &first.session, Launch(1)).await;
    assert_eq!(foreign, Ok(Answer::No));
}

#[tokio::test]
async fn s14_text_arrives_byte_for_byte_and_cannot_leave_its_brackets() {
    let house = House::new();
    let long: String = "wide 日本 👩‍👩‍👧 é; \\; #{pid} ".repeat(300).chars().take(6000).collect();
    assert!(long.len() > 8 * 1024);
    let flood = format!("{}end", "\n".repeat(500));
    let texts = [
        "C-c",
        ";",
        r"\;",
        r"ends in \;",
        "#{pane_id}",
        "#(touch canary)",
        "$(touch canary)",
        "\ttab and\nline",
        flood.as_str(),
        long.as_str(),
        "break\x1b[201~out\u{9b}201~ of\x03 it\x1b",
    ];
    for brackets in [false, true] {
        let session = if brackets { "app-2" } else { "app-1" };
        let (handle, file) = house.recorder(session, brackets).await;
        let mut expected = String::new();
        for text in texts {
            house.tmux().type_text(&call(), &handle, text).await.unwrap();
            let clean = text::plain(text);
            assert!(!clean.contains('\x1b'));
            if brackets {
                expected.push_str(&format!("\x1b[200~{clean}\x1b[201~"));
            } else {
                expected.push_str(&clean);
            }
            until("the text arrives", async || fs::read(&file).unwrap().len() >= expected.len())
                .await;
            assert_eq!(fs::read_to_string(&file).unwrap(), expected, "{text:?}");
        }
        house.tmux().type_text(&call(), &handle, "\x1b[31m\x07").await.unwrap();
        house.tmux().press(&call(), &handle, &[Key::Letter('y'), Key::Escape]).await.unwrap();
        expected.push_str("y\x1b");
        until("the keys arrive", async || fs::read(&file).unwrap().len() >= expected.len()).await;
        assert_eq!(fs::read_to_string(&file).unwrap(), expected);
        assert_eq!(house.state(&handle).await, ProbeState::Alive);
    }
    assert!(!house.cwd().join("canary").exists());
    let words = ["list-buffers"].map(str::to_owned);
    let left = house.tmux().server.run(&words, b"", Instant::now() + GRACE * 10).await.unwrap();
    assert_eq!(left, "", "a paste buffer was left behind");
}

#[tokio::test]
async fn s14_paths_and_arguments_are_never_formats() {
    let house = House::new();
    let cwd = house.cwd().join("w#{pid} #(touch canary) #[fg=red]'\";");
    fs::create_dir(&cwd).unwrap();
    let script = "pwd >seen; printf '%s\\n' \"$@\" >>seen; echo \"$X\" >>seen; exec sleep 1000";
    let mut request =
        house.request("app-1", &["sh", "-c", script, "sh", "#{pid}", r"\;", ";", "%1", "~"]);
    request.cwd.clone_from(&cwd);
    request.env.insert("X".to_owned(), "#(touch canary);".to_owned());
    let handle = house.tmux().create(&call(), &request).await.unwrap();
    let expected =
        format!("{}\n#{{pid}}\n\\;\n;\n%1\n~\n#(touch canary);\n", cwd.to_str().unwrap());
    until("the script wrote what it saw", async || {
        fs::read_to_string(cwd.join("seen")).is_ok_and(|seen| seen.len() >= expected.len())
    })
    .await;
    assert_eq!(fs::read_to_string(cwd.join("seen")).unwrap(), expected);
    let argv = ["pwd"].map(str::to_owned);
    let output = house.tmux().exec(&call(), &handle, &argv).await.unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim_end(), cwd.to_str().unwrap());
    for folder in [&cwd, &house.cwd(), &house.folder.path().to_owned()] {
        assert!(!folder.join("canary").exists(), "a format was run");
    }
}

#[tokio::test]
async fn s40_a_screen_is_text_and_what_it_shows_changes_nothing() {
    let house = House::new();
    let script = r"printf '\033]0;#(touch canary)\007\033]52;c;ZXZpbA==\007\033]8;;http://x\033\\link\033]8;;\033\\\033[31m red\033[0m\nprompt> '; exec sleep 1000";
    let handle = house.create("app-1", &["sh", "-c", script]).await;
    let mut screen = Screen::default();
    until("the screen is drawn", async || {
        screen = house.tmux().capture(&call(), &handle, 10).await.unwrap();
        screen.lines.len() > 1
    })
    .await;
    assert_eq!(screen.lines, ["link red", "prompt>"]);
    assert_eq!((screen.cursor_x, screen.cursor_y), (Some(8), Some(1)));
    assert_eq!(house.state(&handle).await, ProbeState::Alive);
    let words = ["list-buffers"].map(str::to_owned);
    let buffers = house.tmux().server.run(&words, b"", Instant::now() + GRACE * 10).await;
    assert_eq!(buffers.unwrap(), "", "an agent reached the clipboard");
    assert!(!house.cwd().join("canary").exists());
}

#[tokio::test]
async fn history_is_kept_and_read_from_the_end() {
    let house = House::new();
    let handle = house.create("app-1", &["sh", "-c", "seq 1 500; exec sleep 1000"]).await;
    let mut screen = Screen::default();
    until("all lines are there", async || {
        screen = house.tmux().capture(&call(), &handle, 301).await.unwrap();
        screen.lines.iter().any(|line| line == "500")
    })
    .await;
    let expected: Vec<String> = (201..=500).map(|n| n.to_string()).chain([String::new()]).collect();
    assert_eq!(screen.lines, expected);
    assert_eq!((screen.cursor_x, screen.cursor_y), (Some(0), Some(300)));
}

#[tokio::test]
async fn keys_reach_the_agent_although_a_human_scrolled_back() {
    let house = House::new();
    let (handle, file) = house.recorder("app-1", false).await;
    let words = ["copy-mode", "-t", &handle.id].map(str::to_owned);
    house.tmux().server.run(&words, b"", Instant::now() + GRACE * 10).await.unwrap();
    house.tmux().press(&call(), &handle, &[Key::Digit(1), Key::Enter]).await.unwrap();
    until("the keys arrive", async || fs::read(&file).unwrap().len() >= 2).await;
    assert_eq!(fs::read(&file).unwrap(), b"1\r");
}

#[tokio::test]
async fn s34_the_server_and_its_panes_start_from_an_empty_environment() {
    let house = House::new();
    let script = "env >seen.tmp; mv seen.tmp seen; exec sleep 1000";
    let mut request = house.request("app-1", &["sh", "-c", script]);
    request.env.insert("AO_TEST".to_owned(), "yes".to_owned());
    house.tmux().create(&call(), &request).await.unwrap();
    let seen = house.cwd().join("seen");
    until("it wrote its environment", async || seen.exists()).await;
    let seen = fs::read_to_string(seen).unwrap();
    let mut names: Vec<&str> =
        seen.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    names.sort_unstable();
    let known = [
        "AO_TEST",
        "HOME",
        "LC_ALL",
        "OLDPWD",
        "PATH",
        "PWD",
        "SHELL",
        "SHLVL",
        "TERM",
        "TERM_PROGRAM",
        "TERM_PROGRAM_VERSION",
        "TMUX",
        "TMUX_PANE",
        "_",
    ];
    assert!(names.iter().all(|name| known.contains(name)), "{names:?}");
    assert!(seen.contains("AO_TEST=yes\n"));
    // The server keeps no workspace busy.
    let server = house.server().pid;
    assert_eq!(fs::read_link(format!("/proc/{server}/cwd")).unwrap(), PathBuf::from("/"));
    let mode = fs::metadata(&house.context.run_dir).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[tokio::test]
async fn a_human_attaches_to_exactly_this_session() {
    let house = House::new();
    let handle = house.echo("app-1").await;
    let socket = house.context.run_dir.join("tmux.sock");
    let attach = house.tmux().attach_info(&handle);
    let expected = ["env", "-u", "TMUX", "tmux", "-u", "-S", socket.to_str().unwrap()];
    let argv = attach.argv.unwrap();
    assert_eq!(argv[..7], expected);
    assert_eq!(argv[7..], ["attach-session", "-t", "=app-1~1"]);
    assert_eq!(attach.title, "app-1");
}

#[test]
fn settings_are_checked() {
    let registration = registration();
    for good in [serde_json::json!(null), serde_json::json!({"columns": 200, "history": 0})] {
        (registration.check)(&good).unwrap();
    }
    for bad in [
        serde_json::json!({"columns": 3}),
        serde_json::json!({"rows": 4000}),
        serde_json::json!({"history": 2_000_000}),
        serde_json::json!({"colums": 80}),
    ] {
        assert!((registration.check)(&bad).is_err(), "{bad}");
    }
}
