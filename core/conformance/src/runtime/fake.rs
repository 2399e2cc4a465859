//! A runtime in memory. It keeps the contract, unless it is told which part of it to break.
//!
//! Processes are entries of a list; tests make them end, speak or hang and read what was typed.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ao_slots::{
    Call, Launch, PluginError, SessionId,
    call::{Answer, ErrorKind},
    process::ProcessId,
    runtime::{
        AttachInfo, CreateRuntime, ExecOutput, FileAnswer, FileRequest, FileStamp, Key, ProbeState,
        Reach, Runtime, RuntimeCapabilities, RuntimeHandle, RuntimeMetrics, RuntimeProbe, Screen,
    },
    text,
};
use async_trait::async_trait;
use tokio::time::sleep;

use super::{Behaviour, Harness};

/// A part of the contract that the fake breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say what is wrong")]
pub enum Fault {
    SecondProcess,
    DestroyOfGoneFails,
    LosesDroppedCreate,
    NeverGivesUp,
    HangIsMissing,
    HangIsNo,
    OneGoneFailsAll,
    GoneIsAlive,
    ForgetsOnRestart,
    PrefixMatch,
    LeavesChildren,
    TextIsKeys,
    KeepsControlCharacters,
    AttachWithoutScreen,
    EmptyForAbsent,
    StampsLie,
    CostOfGone,
}

/// The runtime. Clones share one world.
#[derive(Debug, Clone)]
pub struct FakeRuntime {
    world: Arc<Mutex<World>>,
    fault: Option<Fault>,
    capabilities: RuntimeCapabilities,
}

#[derive(Debug, Default)]
struct World {
    processes: Vec<FakeProcess>,
    started: u64,
    frozen: bool,
}

/// One process of the fake.
#[derive(Debug, Clone)]
pub struct FakeProcess {
    /// What it was started for and how its agent is found again.
    pub handle: RuntimeHandle,
    /// What it was started with.
    pub request: CreateRuntime,
    /// What it printed.
    pub output: Vec<String>,
    /// Every text typed into it.
    pub typed: Vec<String>,
    /// Every key pressed.
    pub keys: Vec<Key>,
    /// How it ended: with a code, or by a signal.
    pub ended: Option<Option<i32>>,
    /// No list shows it, as after a crash in the wrong moment.
    lost: bool,
}

impl Default for FakeRuntime {
    fn default() -> Self {
        Self::new(None)
    }
}

impl FakeRuntime {
    /// A runtime with a screen and this fault.
    pub fn new(fault: Option<Fault>) -> Self {
        let screen = fault != Some(Fault::AttachWithoutScreen);
        Self {
            world: Arc::default(),
            fault,
            capabilities: RuntimeCapabilities { screen, input: true, survives_restart: true },
        }
    }

    /// All processes, the oldest first.
    pub fn processes(&self) -> Vec<FakeProcess> {
        self.world().processes.clone()
    }

    /// How many processes were ever started.
    pub fn started(&self) -> u64 {
        self.world().started
    }

    /// Ends the running process of a session with this code, or by a signal.
    pub fn end(&self, session: &SessionId, code: Option<i32>) {
        self.each(session, |process| process.ended = Some(code));
    }

    /// Lets the running process of a session print lines.
    pub fn print(&self, session: &SessionId, lines: &[&str]) {
        self.each(session, |process| process.output.extend(lines.iter().map(|l| (*l).to_owned())));
    }

    /// The runtime's server and all processes are gone, as after `kill-server`.
    pub fn lose_all(&self) {
        self.world().processes.clear();
    }

    /// Makes the runtime's server hang, or go on.
    pub fn freeze(&self, frozen: bool) {
        self.world().frozen = frozen;
    }

    fn each(&self, session: &SessionId, act: impl FnMut(&mut FakeProcess)) {
        let mut world = self.world();
        let running = world.processes.iter_mut();
        running.filter(|p| p.ended.is_none() && p.request.session == *session).for_each(act);
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    /// Waits like for an answer; the error is that none came.
    async fn answer(&self, call: &Call) -> Result<(), PluginError> {
        tokio::task::yield_now().await;
        if !self.world().frozen {
            return Ok(());
        }
        if self.has(Fault::NeverGivesUp) {
            std::future::pending::<()>().await;
        }
        sleep(call.limit() / 10 * 9).await;
        Err(PluginError::in_doubt("the fake runtime", "its server did not answer in time"))
    }

    /// Looks up the running process of a handle.
    fn with<T>(
        &self,
        handle: &RuntimeHandle,
        act: impl FnOnce(&mut FakeProcess) -> T,
    ) -> Result<T, PluginError> {
        let mut world = self.world();
        let found = world.processes.iter_mut().find(|process| process.handle.id == handle.id);
        found.map(act).ok_or_else(|| {
            PluginError::new(ErrorKind::NotFound, handle.session.to_string(), "it is gone")
        })
    }
}

#[async_trait]
impl Runtime for FakeRuntime {
    fn capabilities(&self) -> RuntimeCapabilities {
        self.capabilities
    }

    async fn create(
        &self,
        call: &Call,
        request: &CreateRuntime,
    ) -> Result<RuntimeHandle, PluginError> {
        self.answer(call).await?;
        let launch = |process: &&FakeProcess| {
            process.request.session == request.session && process.request.launch == request.launch
        };
        let existing = self.world().processes.iter().find(launch).cloned();
        if let Some(existing) = existing.filter(|existing| !existing.lost) {
            if self.has(Fault::SecondProcess) {
                self.world().started += 1;
            }
            return Ok(existing.handle);
        }
        let handle = {
            let mut world = self.world();
            world.started += 1;
            let number = world.started;
            let handle = RuntimeHandle {
                session: request.session.clone(),
                launch: request.launch,
                id: format!("fake-{number}"),
                server: None,
                // A start that no real process has, so that nothing of this machine can be meant.
                process: Some(ProcessId { pid: i32::MAX, start: number }),
            };
            let argv: Vec<&str> = request.argv.iter().map(String::as_str).collect();
            let code = match argv[..] {
                ["exit", code] => code.parse().ok(),
                _ => None,
            };
            let said: &[&str] = if code.is_some() { &["ready", "bye"] } else { &["ready"] };
            world.processes.push(FakeProcess {
                handle: handle.clone(),
                request: request.clone(),
                output: said.iter().map(|line| (*line).to_owned()).collect(),
                typed: request.stdin.iter().filter(|text| !text.is_empty()).cloned().collect(),
                keys: Vec::new(),
                ended: code.map(Some),
                lost: self.has(Fault::LosesDroppedCreate),
            });
            handle
        };
        // Dropped from here on, the process is there all the same.
        sleep(Duration::from_millis(5)).await;
        let _ = self.with(&handle, |process| process.lost = false);
        Ok(handle)
    }

    async fn adopt(
        &self,
        call: &Call,
        session: &SessionId,
        launch: Launch,
    ) -> Result<Answer<RuntimeHandle>, PluginError> {
        if let Err(error) = self.answer(call).await {
            let no = self.has(Fault::HangIsNo);
            return Ok(if no { Answer::No } else { Answer::Unknown(error.to_string()) });
        }
        let world = self.world();
        let mut processes = world.processes.iter().filter(|process| !process.lost);
        let found = processes.find(|p| p.request.session == *session && p.request.launch == launch);
        Ok(found.map_or(Answer::No, |process| Answer::Yes(process.handle.clone())))
    }

    async fn destroy(&self, call: &Call, handle: &RuntimeHandle) -> Result<(), PluginError> {
        self.answer(call).await?;
        if self.has(Fault::DestroyOfGoneFails) {
            self.with(handle, |_| ())?;
        }
        let prefix = self.has(Fault::PrefixMatch);
        let name = |session: &SessionId, launch: Launch| format!("{session}~{launch}");
        let meant = name(&handle.session, handle.launch);
        let keep = self.has(Fault::LeavesChildren);
        self.world().processes.retain(|process| {
            let this = name(&process.request.session, process.request.launch);
            let hit = process.handle.id == handle.id || (prefix && this.starts_with(&meant));
            !hit || (keep && process.request.argv[..] == ["deaf"])
        });
        Ok(())
    }

    async fn type_text(
        &self,
        call: &Call,
        handle: &RuntimeHandle,
        text: &str,
    ) -> Result<(), PluginError> {
        self.answer(call).await?;
        let keep = self.has(Fault::KeepsControlCharacters);
        let text = if keep { text.to_owned() } else { text::plain(text) };
        let is_key = self.has(Fault::TextIsKeys) && text == "Enter";
        let echo = self.with(handle, |process| {
            if process.ended.is_some() {
                let what = handle.session.to_string();
                return Err(PluginError::new(ErrorKind::NotFound, what, "it ended"));
            }
            process.typed.push(text.clone());
            Ok(process.request.argv[..] == ["echo"])
        })??;
        if echo && !is_key {
            self.with(handle, |process| process.output.push(text))?;
        }
        Ok(())
    }

    async fn press(
        &self,
        call: &Call,
        handle: &RuntimeHandle,
        keys: &[Key],
    ) -> Result<(), PluginError> {
        self.answer(call).await?;
        let valid = |key: &Key| match key {
            Key::Digit(digit) => *digit <= 9,
            Key::Letter(letter) => letter.is_ascii_alphabetic(),
            _ => true,
        };
        if !self.capabilities.screen {
            return Err(PluginError::unsupported("a key without a screen"));
        }
        if !keys.iter().all(valid) {
            return Err(PluginError::permanent("could not press", "no such key"));
        }
        self.with(handle, |process| process.keys.extend(keys))
    }

    async fn capture(
        &self,
        call: &Call,
        handle: &RuntimeHandle,
        lines: u32,
    ) -> Result<Screen, PluginError> {
        self.answer(call).await?;
        self.with(handle, |process| {
            let skip = process.output.len().saturating_sub(lines as usize);
            Screen { lines: process.output[skip..].to_vec(), ..Screen::default() }
        })
    }

    async fn probe(
        &self,
        call: &Call,
        handles: &[RuntimeHandle],
    ) -> Result<Vec<RuntimeProbe>, PluginError> {
        let silent = self.answer(call).await.err();
        let one = |handle: &RuntimeHandle| {
            let known = self.with(handle, |process| process.ended);
            let state = match (&silent, known) {
                (Some(_), _) if self.has(Fault::HangIsMissing) => ProbeState::Missing,
                (Some(error), _) => ProbeState::Unknown(error.to_string()),
                (None, Ok(None)) => ProbeState::Alive,
                (None, Ok(Some(code))) => ProbeState::Exited(code),
                (None, Err(error)) if self.has(Fault::OneGoneFailsAll) => return Err(error),
                (None, Err(_)) if self.has(Fault::GoneIsAlive) => ProbeState::Alive,
                (None, Err(_)) => ProbeState::Missing,
            };
            Ok(RuntimeProbe { state, last_output: None, last_input: None, process: handle.process })
        };
        handles.iter().map(one).collect()
    }

    async fn read(
        &self,
        call: &Call,
        files: &[FileRequest],
    ) -> Result<Vec<FileAnswer>, PluginError> {
        self.answer(call).await?;
        let read = |file: &FileRequest| {
            let Ok(bytes) = std::fs::read(&file.path) else {
                let empty = FileAnswer::Read { bytes: Vec::new(), stamp: None };
                return if self.has(Fault::EmptyForAbsent) { empty } else { FileAnswer::Absent };
            };
            // Its clock is the length alone.
            let stamp = FileStamp { changed_ns: 0, size: bytes.len() as u64 };
            if file.seen == Some(stamp) || self.has(Fault::StampsLie) && file.seen.is_some() {
                return FileAnswer::Unchanged;
            }
            let from = usize::try_from(file.from).unwrap_or(usize::MAX);
            let bytes = bytes.get(from..).unwrap_or_default().to_vec();
            FileAnswer::Read { bytes, stamp: Some(stamp) }
        };
        Ok(files.iter().map(read).collect())
    }

    async fn exec(
        &self,
        call: &Call,
        handle: &RuntimeHandle,
        argv: &[String],
    ) -> Result<ExecOutput, PluginError> {
        self.answer(call).await?;
        let cwd = self.with(handle, |process| process.request.cwd.clone())?;
        let failed = |error: &dyn std::fmt::Display| PluginError::permanent("could not run", error);
        let (program, arguments) = argv.split_first().ok_or_else(|| failed(&"it is empty"))?;
        let mut command = tokio::process::Command::new(program);
        let output = command.args(arguments).current_dir(cwd).kill_on_drop(true).output().await;
        let output = output.map_err(|error| failed(&error))?;
        Ok(ExecOutput { code: output.status.code(), stdout: output.stdout, stderr: output.stderr })
    }

    fn attach_info(&self, handle: &RuntimeHandle) -> AttachInfo {
        let shown = self.capabilities.screen || self.has(Fault::AttachWithoutScreen);
        let argv = ["fake-attach", &handle.id].map(str::to_owned).to_vec();
        AttachInfo { argv: shown.then_some(argv), title: handle.session.to_string() }
    }

    async fn metrics(
        &self,
        call: &Call,
        handle: &RuntimeHandle,
    ) -> Result<RuntimeMetrics, PluginError> {
        self.answer(call).await?;
        let cost = RuntimeMetrics { cpu_ms: 10, rss_bytes: 1 << 20, processes: 1 };
        let running = self.with(handle, |process| process.ended.is_none());
        match running {
            Ok(true) => Ok(cost),
            _ if self.has(Fault::CostOfGone) => Ok(cost),
            _ => {
                let what = handle.session.to_string();
                Err(PluginError::new(ErrorKind::NotFound, what, "it does not run"))
            }
        }
    }

    fn reach(&self) -> Reach {
        Reach::Socket
    }
}

/// The suite's harness over the fake.
#[derive(Debug)]
pub struct FakeHarness {
    runtime: FakeRuntime,
    folder: tempfile::TempDir,
    asked: std::sync::atomic::AtomicU64,
}

impl FakeHarness {
    /// A harness over a fake with this fault.
    ///
    /// # Panics
    /// If no temporary folder can be made.
    #[expect(clippy::expect_used, reason = "it only serves tests")]
    pub fn new(fault: Option<Fault>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self { runtime: FakeRuntime::new(fault), folder, asked: 0.into() }
    }
}

impl Harness for FakeHarness {
    fn runtime(&self) -> Arc<dyn Runtime> {
        let before = self.asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        if before > 0 && self.runtime.has(Fault::ForgetsOnRestart) {
            return Arc::new(FakeRuntime::new(None));
        }
        Arc::new(self.runtime.clone())
    }

    fn argv(&self, behaviour: Behaviour) -> Vec<String> {
        match behaviour {
            Behaviour::Echo => vec!["echo".to_owned()],
            Behaviour::Exit(code) => vec!["exit".to_owned(), code.to_string()],
            Behaviour::Deaf => vec!["deaf".to_owned()],
        }
    }

    fn cwd(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    fn started(&self) -> usize {
        usize::try_from(self.runtime.started()).unwrap_or(usize::MAX)
    }

    fn running(&self) -> usize {
        self.runtime.processes().iter().filter(|process| process.ended.is_none()).count()
    }

    fn freeze(&self) -> bool {
        self.runtime.freeze(true);
        true
    }

    fn thaw(&self) {
        self.runtime.freeze(false);
    }
}
