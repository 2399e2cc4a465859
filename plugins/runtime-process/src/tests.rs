//! With real processes.

use std::{fs, os::unix::process::ExitStatusExt};

use ao_conformance::runtime::{self as conformance, Behaviour, Harness, Scripts};

use super::*;

struct House {
    folder: tempfile::TempDir,
    scripts: Scripts,
    context: BuildContext,
}

impl House {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let context = context(folder.path());
        fs::create_dir(folder.path().join("work")).unwrap();
        Self { scripts: Scripts::new(folder.path().join("started")), folder, context }
    }

    fn runtime(&self) -> Process {
        Process::new(Settings { output_bytes: 64 * 1024 }, &self.context)
    }

    fn request(&self, session: &str, argv: &[&str]) -> CreateRuntime {
        CreateRuntime {
            session: session.parse().unwrap(),
            launch: Launch(1),
            argv: argv.iter().map(|word| (*word).to_owned()).collect(),
            cwd: self.cwd(),
            env: BTreeMap::new(),
            stdin: Some(String::new()),
        }
    }

    async fn sh(&self, session: &str, script: &str) -> RuntimeHandle {
        let request = self.request(session, &["/bin/sh", "-c", script]);
        self.runtime().create(&call(), &request).await.unwrap()
    }

    async fn state(&self, handle: &RuntimeHandle) -> ProbeState {
        let handles = std::slice::from_ref(handle);
        self.runtime().probe(&call(), handles).await.unwrap().remove(0).state
    }

    async fn ends(&self, handle: &RuntimeHandle) -> Option<i32> {
        let mut state = ProbeState::Missing;
        until("it ends", async || {
            state = self.state(handle).await;
            matches!(state, ProbeState::Exited(_))
        })
        .await;
        let ProbeState::Exited(code) = state else { unreachable!() };
        code
    }

    fn file(&self, name: &str) -> PathBuf {
        self.cwd().join(name)
    }

    async fn content(&self, name: &str, length: usize) -> String {
        let path = self.file(name);
        until("the file is written", async || {
            fs::metadata(&path).is_ok_and(|about| about.len() >= length as u64)
        })
        .await;
        fs::read_to_string(path).unwrap()
    }
}

fn context(folder: &std::path::Path) -> BuildContext {
    BuildContext {
        data_dir: folder.to_owned(),
        run_dir: folder.join("run"),
        instance: "01ARZ3NDEKTSV4RRFFQ69G5FAV".parse().unwrap(),
        ao: folder.join("run/ao"),
        home: folder.to_owned(),
        env: BTreeMap::from([("PATH".to_owned(), "/usr/local/bin:/usr/bin:/bin".to_owned())]),
    }
}

impl Harness for House {
    fn runtime(&self) -> Arc<dyn Runtime> {
        Arc::new(self.runtime())
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
}

/// No process outlives its test, also when an assertion fails.
impl Drop for House {
    fn drop(&mut self) {
        for entry in fs::read_dir(self.folder.path().join("process")).into_iter().flatten() {
            let Ok(Some(stat)) = Folder::new(entry.unwrap().path()).stat() else { continue };
            for process in process::tree(stat.id, Some(stat.session)) {
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

/// The test runs itself once more, in a process of its own: an `ao` that starts an agent and is killed.
#[tokio::test]
async fn r20_an_agent_outlives_a_killed_ao_and_its_end_is_learnt_later() {
    const FOLDER: &str = "AO_TEST_FOLDER";
    if let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) {
        let script = "read -r code; echo \"got $code\"; exit \"$code\"";
        let request = CreateRuntime {
            session: "app-1".parse().unwrap(),
            launch: Launch(1),
            argv: ["/bin/sh", "-c", script].map(str::to_owned).into(),
            cwd: folder.join("work"),
            env: BTreeMap::new(),
            stdin: Some(String::new()),
        };
        let process = Process::new(Settings::default(), &context(&folder));
        process.create(&call(), &request).await.unwrap();
        let me = ProcessId::of(std::process::id().cast_signed()).unwrap();
        me.signal(Signal::SIGKILL);
    }
    let house = House::new();
    let test = "tests::r20_an_agent_outlives_a_killed_ao_and_its_end_is_learnt_later";
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test])
        .env(FOLDER, house.folder.path())
        .stdout(Stdio::null())
        .status()
        .await
        .unwrap();
    assert_eq!(status.signal(), Some(9));
    let found = house.runtime().adopt(&call(), &"app-1".parse().unwrap(), Launch(1)).await;
    let Ok(Answer::Yes(handle)) = found else { panic!("not adopted: {found:?}") };
    assert_eq!(house.state(&handle).await, ProbeState::Alive);
    house.runtime().type_text(&call(), &handle, "3").await.unwrap();
    assert_eq!(house.ends(&handle).await, Some(3));
    let screen = house.runtime().capture(&call(), &handle, 10).await.unwrap();
    assert_eq!(screen.lines, ["got 3"]);
}

#[tokio::test]
async fn r18_each_way_to_end_is_told() {
    let house = House::new();
    for (n, (script, code)) in [
        ("exit 0", Some(0)),
        ("exit 3", Some(3)),
        ("kill -9 $$", None),
        // A signal to the whole group reaches the launcher too; it still tells.
        ("kill -TERM 0; sleep 1000", None),
        ("exec /nonexistent/program", Some(127)),
        // A child that outlives the agent is not the agent.
        ("sleep 1000 & exit 4", Some(4)),
    ]
    .into_iter()
    .enumerate()
    {
        let handle = house.sh(&format!("app-{}", n + 1), script).await;
        assert_eq!(house.ends(&handle).await, code, "{script}");
        house.runtime().destroy(&call(), &handle).await.unwrap();
        assert_eq!(house.state(&handle).await, ProbeState::Missing);
    }
    let handle = house.sh("app-9", "exec sleep 1000").await;
    let stat = house.runtime().folder_of(&handle).stat().unwrap().unwrap();
    // The launcher is killed: the agent goes on, and its end has no code.
    assert!(ProcessId::of(stat.session).unwrap().signal(Signal::SIGKILL));
    assert_eq!(house.state(&handle).await, ProbeState::Alive);
    assert!(handle.process.unwrap().signal(Signal::SIGKILL));
    assert_eq!(house.ends(&handle).await, None);
}

#[tokio::test]
async fn a_vanished_folder_is_no_death() {
    let house = House::new();
    let handle = house.sh("app-1", "exec sleep 1000").await;
    fs::remove_dir_all(house.runtime().folder_of(&handle).path()).unwrap();
    let state = house.state(&handle).await;
    assert!(matches!(state, ProbeState::Unknown(_)), "{state:?}");
    house.runtime().destroy(&call(), &handle).await.unwrap();
    assert_eq!(house.state(&handle).await, ProbeState::Missing);
}

#[tokio::test]
async fn s14_text_arrives_as_lines_and_is_nothing_else() {
    let house = House::new();
    let long = "wide 日本 é; \\; #{pid} $(touch canary)\t".repeat(3000);
    let flood = format!("{}end", "\n".repeat(500));
    let mut request = house.request("app-1", &["/bin/sh", "-c", "exec cat >seen"]);
    request.stdin = Some(long.clone());
    let mut expected = format!("{long}\n");
    let handle = house.runtime().create(&call(), &request).await.unwrap();
    for text in ["C-c", r"\;", "`touch canary`", "a\nb\n", &flood, "\x1b[201~out\x03\x04", &long] {
        house.runtime().type_text(&call(), &handle, text).await.unwrap();
        expected.push_str(&line(text));
    }
    assert_eq!(house.content("seen", expected.len()).await, expected);
    assert_eq!(house.state(&handle).await, ProbeState::Alive);
    assert!(!house.file("canary").exists());
}

#[tokio::test]
async fn s14_arguments_reach_the_program_as_they_are() {
    let house = House::new();
    let arguments = ["$(touch canary)", "`touch canary`", ";", "a\nb", "'\"", "-c", "", "日本"];
    let script = "printf '<%s>' \"$@\" >seen.tmp; mv seen.tmp seen";
    let mut argv = vec!["/bin/sh", "-c", script, "sh"];
    argv.extend(arguments);
    let request = house.request("app-1", &argv);
    let handle = house.runtime().create(&call(), &request).await.unwrap();
    assert_eq!(house.ends(&handle).await, Some(0));
    let expected: String = arguments.iter().map(|argument| format!("<{argument}>")).collect();
    assert_eq!(fs::read_to_string(house.file("seen")).unwrap(), expected);
    assert!(!house.file("canary").exists());
}

#[tokio::test]
async fn without_input_an_agent_reads_the_end_at_once() {
    let house = House::new();
    let mut request = house.request("app-1", &["cat"]);
    request.stdin = None;
    let ends = house.runtime().create(&call(), &request).await.unwrap();
    assert_eq!(house.ends(&ends).await, Some(0));
    let mut request = house.request("app-2", &["sleep", "1000"]);
    request.stdin = None;
    let deaf = house.runtime().create(&call(), &request).await.unwrap();
    let error = house.runtime().type_text(&call(), &deaf, "x").await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unsupported, "{error}");
}

#[tokio::test]
async fn input_that_nobody_reads_ends_in_time() {
    let house = House::new();
    let mut request = house.request("app-1", &["sleep", "1000"]);
    request.stdin = Some("x".repeat(2 * INPUT_CAPACITY));
    let error = house.runtime().create(&call(), &request).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Permanent, "{error}");
    let nothing = house.runtime().adopt(&call(), &request.session, Launch(1)).await;
    assert_eq!(nothing, Ok(Answer::No), "what was refused was started");

    let handle = house.sh("app-2", "exec sleep 1000").await;
    let short = Call::new("test", Duration::from_secs(3));
    let much = "x".repeat(2 * INPUT_CAPACITY);
    let error = house.runtime().type_text(&short, &handle, &much).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::InDoubt, "a part of it was written: {error}");
    let error = house.runtime().type_text(&short, &handle, "y").await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Transient, "nothing of it was written: {error}");
}

#[tokio::test]
async fn an_agent_can_be_interrupted() {
    let house = House::new();
    let script = "trap 'echo interrupted; exit 5' INT; echo ready; while :; do sleep 0.05; done";
    let handle = house.sh("app-1", script).await;
    until("it is ready", async || {
        house.runtime().capture(&call(), &handle, 1).await.unwrap().lines == ["ready"]
    })
    .await;
    house.runtime().press(&call(), &handle, &[Key::Interrupt]).await.unwrap();
    assert_eq!(house.ends(&handle).await, Some(5));
    let error = house.runtime().press(&call(), &handle, &[Key::Interrupt]).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound);
}

#[tokio::test]
async fn r11_a_flood_of_output_is_bounded_on_the_disk() {
    let house = House::new();
    let script = "yes 'a line of output' | head -n 300000; echo last; exec sleep 1000";
    let handle = house.sh("app-1", script).await;
    until("it wrote all", async || {
        let screen = house.runtime().capture(&call(), &handle, 1).await.unwrap();
        screen.lines == ["last"]
    })
    .await;
    let out = house.runtime().folder_of(&handle).path().join("out");
    until("the disk is given back", async || {
        assert_eq!(house.state(&handle).await, ProbeState::Alive);
        let about = fs::metadata(&out).unwrap();
        std::os::unix::fs::MetadataExt::blocks(&about) * 512 <= 2 * 64 * 1024
    })
    .await;
    let screen = house.runtime().capture(&call(), &handle, 100).await.unwrap();
    assert_eq!((screen.lines.len(), screen.lines[99].as_str()), (100, "last"));
    assert!(screen.lines[..99].iter().all(|line| line == "a line of output"));
}

#[tokio::test]
async fn s34_an_agent_starts_from_an_empty_environment_in_its_own_session() {
    let house = House::new();
    let script = "env >seen.tmp; mv seen.tmp seen; exec sleep 1000";
    let mut request = house.request("app-1", &["/bin/sh", "-c", script]);
    request.env.insert("AO_TEST".to_owned(), "$(touch canary)".to_owned());
    let handle = house.runtime().create(&call(), &request).await.unwrap();
    let seen = house.content("seen", 1).await;
    let mut names: Vec<&str> = seen.lines().filter_map(|l| Some(l.split_once('=')?.0)).collect();
    names.sort_unstable();
    let known = ["AO_TEST", "HOME", "LC_ALL", "OLDPWD", "PATH", "PWD", "SHLVL", "_"];
    assert!(names.iter().all(|name| known.contains(name)), "{names:?}");
    assert!(seen.contains("AO_TEST=$(touch canary)\n"));
    let mine = Stat::parse(&fs::read_to_string("/proc/self/stat").unwrap()).unwrap();
    let its = house.runtime().folder_of(&handle).stat().unwrap().unwrap();
    assert_ne!(mine.session, its.session);
    for name in ["", "out", "in"] {
        let about = fs::metadata(house.runtime().folder_of(&handle).path().join(name)).unwrap();
        assert_eq!(
            std::os::unix::fs::MetadataExt::mode(&about) & 0o077,
            0,
            "{name} is open to others"
        );
    }
}

#[test]
fn settings_are_checked() {
    let registration = registration();
    (registration.check)(&serde_json::json!(null)).unwrap();
    (registration.check)(&serde_json::json!({"outputBytes": 65536})).unwrap();
    for bad in [serde_json::json!({"outputBytes": 0}), serde_json::json!({"output": 65536})] {
        assert!((registration.check)(&bad).is_err(), "{bad}");
    }
}
