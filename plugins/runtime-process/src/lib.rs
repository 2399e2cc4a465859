//! Runs agents as plain processes, without a screen.
//!
//! Needs nothing but `/bin/sh`. Each agent is a kernel session of its own that neither a terminal nor `ao`
//! takes with it when it ends. It writes its output to a file and reads its input from a FIFO, both in
//! `<data_dir>/process/<session>~<launch>`, so that the next `ao` finds all of it again.

mod folder;

use std::{
    collections::BTreeMap,
    io::{self, Write},
    path::PathBuf,
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use ao_sdk::local;
use ao_slots::{
    Call, Launch, PluginError, SessionId,
    call::{Answer, ErrorKind},
    plugin::{self, BuildContext, Registration},
    process::{self, Ending, ProcessId, Signal, Stat},
    runtime::{
        AttachInfo, CreateRuntime, ExecOutput, FileAnswer, FileRequest, Key, ProbeState, Reach,
        Runtime, RuntimeCapabilities, RuntimeHandle, RuntimeMetrics, RuntimeProbe, Screen,
    },
    text,
};
use async_trait::async_trait;
use process_wrap::tokio::{CommandWrap, ProcessSession};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::{
    process::Command,
    time::{Instant, sleep, timeout_at},
};

use crate::folder::{Ends, Folder, Found, INPUT_CAPACITY, LAUNCHER, line};

/// The plugin's name in the config.
pub const NAME: &str = "process";

/// The shell that runs the launcher, and the answer to a machine without it.
const SHELL: &str = "/bin/sh";

/// How long an agent may take to end by itself when it is destroyed.
const GRACE: Duration = Duration::from_secs(5);

/// How long to wait before looking again.
const SOON: Duration = Duration::from_millis(10);

/// How the core finds this plugin.
pub fn registration() -> Registration<dyn Runtime> {
    Registration {
        name: NAME,
        about: "Runs agents as plain processes, without a screen",
        schema: || schemars::schema_for!(Settings),
        check: |value| plugin::settings::<Settings>(NAME, value)?.check(),
        build: |value, context| {
            let settings: Settings = plugin::settings(NAME, value)?;
            settings.check()?;
            Ok(Arc::new(Process::new(settings, context)))
        },
    }
}

/// The settings of the process runtime.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Settings {
    /// How much of an agent's output is kept, in bytes: 64 KiB to 1 GiB. The disk may hold twice as much.
    pub output_bytes: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { output_bytes: 1024 * 1024 }
    }
}

impl Settings {
    fn check(&self) -> Result<(), PluginError> {
        if (64 * 1024..=1024 * 1024 * 1024).contains(&self.output_bytes) {
            return Ok(());
        }
        let what = format!("the settings of `{NAME}` are not valid");
        Err(PluginError::permanent(what, "`outputBytes` is not between 65536 and 1073741824"))
    }
}

/// The runtime.
#[derive(Debug)]
pub struct Process {
    settings: Settings,
    folders: PathBuf,
    env: BTreeMap<&'static str, String>,
}

impl Process {
    /// Looks at nothing and starts nothing.
    pub fn new(settings: Settings, context: &BuildContext) -> Self {
        const PATH: &str = "/usr/local/bin:/usr/bin:/bin";
        let path = context.env.get("PATH").map_or(PATH, String::as_str);
        let env = BTreeMap::from([
            ("PATH", path.to_owned()),
            ("HOME", context.home.to_string_lossy().into_owned()),
            ("LC_ALL", "C.UTF-8".to_owned()),
        ]);
        Self { settings, folders: context.data_dir.join("process"), env }
    }

    fn folder(&self, session: &SessionId, launch: Launch) -> Folder {
        Folder::new(self.folders.join(format!("{session}~{launch}")))
    }

    fn folder_of(&self, handle: &RuntimeHandle) -> Folder {
        self.folder(&handle.session, handle.launch)
    }

    /// Starts the launcher as the leader of a kernel session that outlives us.
    fn spawn(&self, request: &CreateRuntime, folder: &Folder, ends: Ends) -> io::Result<()> {
        let error_end = ends.output.try_clone()?;
        let mut command = Command::new(SHELL);
        command.args(["-c", LAUNCHER, SHELL]).arg(folder.path()).args(&request.argv);
        command.env_clear().envs(&self.env).envs(&request.env).current_dir(&request.cwd);
        command.stdin(ends.input.map_or_else(Stdio::null, Stdio::from));
        command.stdout(Stdio::from(ends.output)).stderr(Stdio::from(error_end));
        // Dropped, it runs on; tokio reaps it when it ends.
        CommandWrap::from(command).wrap(ProcessSession).spawn().map(drop)
    }
}

#[async_trait]
impl Runtime for Process {
    fn capabilities(&self) -> RuntimeCapabilities {
        RuntimeCapabilities { screen: false, input: true, survives_restart: true }
    }

    async fn create(
        &self,
        call: &Call,
        request: &CreateRuntime,
    ) -> Result<RuntimeHandle, PluginError> {
        let what = || format!("could not start {}", request.session);
        let deadline = local::deadline(call);
        check(request).map_err(|cause| PluginError::permanent(what(), cause))?;
        let folder = self.folder(&request.session, request.launch);
        let mut spawned = false;
        loop {
            // Another call may be starting it this moment, or a crash have left a folder without a process.
            let looked = {
                let (folder, request) = (folder.clone(), request.clone());
                blocking(deadline, move || match folder.look()? {
                    Found::Nothing if !spawned => {
                        Ok(Err(folder.prepare(&request.cwd, request.stdin.as_deref())?))
                    }
                    found => Ok(Ok(found)),
                })
                .await
            };
            match looked {
                Ok(Ok(Found::Started(stat))) => {
                    return Ok(handle(&request.session, request.launch, &stat));
                }
                Ok(Ok(Found::Nothing)) => {
                    return Err(PluginError::transient(what(), "its launcher ended at once"));
                }
                Ok(Err(Some(ends))) => {
                    self.spawn(request, &folder, ends).map_err(|error| {
                        let kind = match error.kind() {
                            io::ErrorKind::NotFound => ErrorKind::Missing,
                            _ => ErrorKind::Transient,
                        };
                        PluginError::new(kind, what(), format!("{SHELL}: {error}"))
                    })?;
                    spawned = true;
                }
                Ok(Ok(Found::Starting) | Err(None)) => {}
                Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                    let cause = format!("the input is longer than {INPUT_CAPACITY} bytes");
                    return Err(PluginError::permanent(what(), cause));
                }
                Err(error) if spawned => return Err(PluginError::in_doubt(what(), error)),
                Err(error) => return Err(PluginError::transient(what(), error)),
            }
            if Instant::now() >= deadline {
                return Err(PluginError::in_doubt(
                    what(),
                    "its process did not name itself in time",
                ));
            }
            sleep(SOON).await;
        }
    }

    async fn adopt(
        &self,
        call: &Call,
        session: &SessionId,
        launch: Launch,
    ) -> Result<Answer<RuntimeHandle>, PluginError> {
        let deadline = local::deadline(call);
        loop {
            let folder = self.folder(session, launch);
            match blocking(deadline, move || folder.look()).await {
                Ok(Found::Started(stat)) => return Ok(Answer::Yes(handle(session, launch, &stat))),
                Ok(Found::Nothing) => return Ok(Answer::No),
                Ok(Found::Starting) if Instant::now() < deadline => sleep(SOON).await,
                Ok(Found::Starting) => {
                    return Ok(Answer::Unknown("its process has not named itself yet".to_owned()));
                }
                Err(error) => return Ok(Answer::Unknown(error.to_string())),
            }
        }
    }

    async fn destroy(&self, call: &Call, handle: &RuntimeHandle) -> Result<(), PluginError> {
        let what = || format!("could not end {}", handle.session);
        let deadline = local::deadline(call);
        let folder = self.folder_of(handle);
        let looked = {
            let folder = folder.clone();
            blocking(deadline, move || folder.stat()).await
        };
        // An unreadable disk does not keep the agent alive.
        let stat = looked.as_ref().ok().copied().flatten();
        if let Some(root) = handle.process.or_else(|| stat.map(|stat| stat.id)) {
            let ending = Ending::of(root, stat.map(|stat| stat.session));
            end(ending, deadline).await.map_err(|left| {
                PluginError::in_doubt(what(), format!("{left} of its processes still run"))
            })?;
        }
        looked.map_err(|error| PluginError::in_doubt(what(), error))?;
        blocking(deadline, move || folder.remove())
            .await
            .map_err(|error| PluginError::in_doubt(what(), error))
    }

    async fn type_text(
        &self,
        call: &Call,
        handle: &RuntimeHandle,
        text: &str,
    ) -> Result<(), PluginError> {
        let what = || format!("could not write to {}", handle.session);
        let deadline = local::deadline(call);
        let line = line(text);
        let mut left = line.as_bytes();
        let folder = self.folder_of(handle);
        if handle.process.is_some_and(|process| !process.is_alive()) {
            return Err(PluginError::new(ErrorKind::NotFound, what(), "its process ended"));
        }
        let opened = blocking(deadline, {
            let folder = folder.clone();
            move || folder.open_input()
        });
        let mut input = match opened.await {
            Ok(input) => input,
            // ENXIO: nobody has it open for reading.
            Err(error) if error.raw_os_error() == Some(nix::libc::ENXIO) => {
                return Err(PluginError::new(ErrorKind::NotFound, what(), "its process ended"));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let kind = if folder.path().exists() {
                    ErrorKind::Unsupported
                } else {
                    ErrorKind::NotFound
                };
                return Err(PluginError::new(kind, what(), "it has no standard input"));
            }
            Err(error) => return Err(PluginError::transient(what(), error)),
        };
        // The FIFO is opened without blocking: a full one says so.
        while !left.is_empty() {
            match input.write(left) {
                Ok(written) => left = &left[written..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error)
                    if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < deadline =>
                {
                    sleep(SOON).await;
                }
                Err(error) if left.len() < line.len() => {
                    return Err(PluginError::in_doubt(what(), error));
                }
                Err(error) => return Err(PluginError::transient(what(), error)),
            }
        }
        Ok(())
    }

    /// Only the interruption, as a signal: there are no other keys without a screen.
    async fn press(
        &self,
        _call: &Call,
        handle: &RuntimeHandle,
        keys: &[Key],
    ) -> Result<(), PluginError> {
        if keys.iter().any(|key| *key != Key::Interrupt) {
            return Err(PluginError::unsupported("a plain process has no keys but Ctrl-C"));
        }
        let hears = |_: &Key| handle.process.is_some_and(|agent| agent.signal(Signal::SIGINT));
        if keys.iter().all(hears) {
            return Ok(());
        }
        let what = format!("could not interrupt {}", handle.session);
        Err(PluginError::new(ErrorKind::NotFound, what, "its process ended"))
    }

    async fn capture(
        &self,
        call: &Call,
        handle: &RuntimeHandle,
        lines: u32,
    ) -> Result<Screen, PluginError> {
        let what = || format!("could not read the output of {}", handle.session);
        let (folder, keep) = (self.folder_of(handle), self.settings.output_bytes);
        let tail = move || folder.tail(keep, lines as usize);
        match blocking(local::deadline(call), tail).await {
            Ok(Some(lines)) => Ok(Screen { lines, ..Screen::default() }),
            Ok(None) => Err(PluginError::new(ErrorKind::NotFound, what(), "it is gone")),
            Err(error) => Err(PluginError::transient(what(), error)),
        }
    }

    async fn probe(
        &self,
        call: &Call,
        handles: &[RuntimeHandle],
    ) -> Result<Vec<RuntimeProbe>, PluginError> {
        let keep = self.settings.output_bytes;
        let asked: Vec<_> =
            handles.iter().map(|handle| (self.folder_of(handle), handle.clone())).collect();
        let look =
            move || Ok(asked.iter().map(|(folder, handle)| probe(folder, handle, keep)).collect());
        Ok(blocking(local::deadline(call), look).await.unwrap_or_else(|error| {
            let unknown = |handle: &RuntimeHandle| RuntimeProbe {
                state: ProbeState::Unknown(error.to_string()),
                last_output: None,
                last_input: None,
                process: handle.process,
            };
            handles.iter().map(unknown).collect()
        }))
    }

    async fn read(
        &self,
        call: &Call,
        files: &[FileRequest],
    ) -> Result<Vec<FileAnswer>, PluginError> {
        local::read(files, local::deadline(call)).await
    }

    /// In the folder that the agent was started in, with the environment that its launcher had.
    async fn exec(
        &self,
        call: &Call,
        handle: &RuntimeHandle,
        argv: &[String],
    ) -> Result<ExecOutput, PluginError> {
        let what = || format!("could not run a command beside {}", handle.session);
        let Some((program, arguments)) = argv.split_first() else {
            return Err(PluginError::permanent(what(), "the command is empty"));
        };
        let cwd = self.folder_of(handle).cwd();
        if !cwd.is_dir() {
            return Err(PluginError::new(ErrorKind::NotFound, what(), "its folder is gone"));
        }
        let mut command = Command::new(program);
        command.args(arguments).env_clear().envs(&self.env).current_dir(cwd);
        local::run(command, b"", local::deadline(call)).await.map_err(|error| {
            let kind = match error.kind() {
                io::ErrorKind::NotFound => ErrorKind::Missing,
                io::ErrorKind::TimedOut => ErrorKind::InDoubt,
                _ => ErrorKind::Permanent,
            };
            PluginError::new(kind, what(), format!("{}: {error}", text::one_line(program)))
        })
    }

    fn attach_info(&self, handle: &RuntimeHandle) -> AttachInfo {
        AttachInfo { argv: None, title: handle.session.to_string() }
    }

    async fn metrics(
        &self,
        _call: &Call,
        handle: &RuntimeHandle,
    ) -> Result<RuntimeMetrics, PluginError> {
        let cost = handle.process.and_then(|root| {
            let session = self.folder_of(handle).stat().ok().flatten().map(|stat| stat.session);
            process::usage(root, session)
        });
        cost.ok_or_else(|| {
            let what = format!("could not measure {}", handle.session);
            PluginError::new(ErrorKind::NotFound, what, "its process is gone")
        })
    }

    fn reach(&self) -> Reach {
        Reach::Socket
    }
}

/// Why the request cannot be carried out at all.
fn check(request: &CreateRuntime) -> Result<(), String> {
    if request.argv.is_empty() {
        return Err("the command is empty".to_owned());
    }
    if !request.cwd.is_absolute() || !request.cwd.is_dir() {
        let cwd = text::one_line(&request.cwd.to_string_lossy());
        return Err(format!("`{cwd}` is not a folder"));
    }
    Ok(())
}

fn handle(session: &SessionId, launch: Launch, stat: &Stat) -> RuntimeHandle {
    RuntimeHandle {
        session: session.clone(),
        launch,
        id: format!("{session}~{launch}"),
        server: None,
        process: Some(stat.id),
    }
}

/// What became of one launch.
fn probe(folder: &Folder, handle: &RuntimeHandle, keep: u64) -> RuntimeProbe {
    let look = || -> io::Result<RuntimeProbe> {
        let stat = folder.stat()?;
        let process = handle.process.or(stat.map(|stat| stat.id));
        let alive = process.is_some_and(|process| process.is_alive());
        if !folder.path().is_dir() {
            let state = if alive {
                ProbeState::Unknown("its folder is gone, but its process still runs".to_owned())
            } else {
                ProbeState::Missing
            };
            return Ok(RuntimeProbe { state, last_output: None, last_input: None, process });
        }
        let last_output = folder.trim(keep)?;
        let state =
            if alive { ProbeState::Alive } else { ProbeState::Exited(end_of(folder, stat)?) };
        Ok(RuntimeProbe { state, last_output, last_input: None, process })
    };
    look().unwrap_or_else(|error| RuntimeProbe {
        state: ProbeState::Unknown(error.to_string()),
        last_output: None,
        last_input: None,
        process: handle.process,
    })
}

/// The exit code of a process that is gone. Its launcher writes it the moment after: waits for that as long as
/// the launcher, the leader of the kernel session, lives.
fn end_of(folder: &Folder, stat: Option<Stat>) -> io::Result<Option<i32>> {
    const LONGEST: u32 = 100;
    let launcher = stat.and_then(|stat| {
        let leader = ProcessId::of(stat.session)?;
        (leader.start <= stat.id.start).then_some(leader)
    });
    for _ in 0..LONGEST {
        if let Some(code) = folder.exit()? {
            return Ok(code);
        }
        if launcher.is_none_or(|launcher| !launcher.is_alive()) {
            break;
        }
        std::thread::sleep(SOON);
    }
    Ok(folder.exit()?.flatten())
}

/// Ends a process and what it started: asked first, then forced. The error is how many still run.
async fn end(mut ending: Ending, deadline: Instant) -> Result<(), usize> {
    let begin = Instant::now();
    let force_at = begin + GRACE.min(deadline.duration_since(begin) / 2);
    let mut pause = Duration::from_millis(5);
    loop {
        let now = Instant::now();
        match ending.step(now >= force_at) {
            0 => return Ok(()),
            left if now >= deadline => return Err(left),
            _ => sleep(pause).await,
        }
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}

/// Works on the disk off the loop; a disk that does not answer is an error at the deadline.
async fn blocking<T: Send + 'static>(
    deadline: Instant,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    match timeout_at(deadline, tokio::task::spawn_blocking(work)).await {
        Ok(Ok(result)) => result,
        Ok(Err(error)) => Err(io::Error::other(error)),
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the disk did not answer in time")),
    }
}

#[cfg(test)]
mod tests;
