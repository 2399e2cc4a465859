//! Runs agents in panes of ao's own tmux server.
//!
//! Needs tmux 3.2a or newer. The server listens at `<run_dir>/tmux.sock`, reads no configuration and starts
//! from an empty environment; the user's own tmux is never touched. Each launch is one detached tmux session of
//! one pane, which keeps its last screen when the agent ends. A pane is addressed by its exact id and the
//! identity of the server that gave it, never by a name that could match another's.

mod commands;
mod panes;
mod server;

use std::{
    cell::RefCell,
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use ao_sdk::local;
use ao_slots::{
    Call, InstanceId, Launch, PluginError, SessionId,
    call::{Answer, ErrorKind},
    plugin::{self, BuildContext, Registration},
    process::{self, Ending, ProcessId},
    runtime::{
        AttachInfo, CreateRuntime, ExecOutput, FileAnswer, FileRequest, Key, Reach, Runtime,
        RuntimeCapabilities, RuntimeHandle, RuntimeMetrics, RuntimeProbe, Screen,
    },
    text,
};
use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use crate::{
    commands::{Needs, condition, key_name, new_session, pane_id, screen},
    panes::{End, Pane},
    server::{Fault, Server, word},
};

/// The plugin's name in the config.
pub const NAME: &str = "tmux";

/// The most text that is typed at once, in bytes.
const LONGEST_TEXT: usize = 1024 * 1024;

/// How long an agent may take to end by itself when it is destroyed.
const GRACE: Duration = Duration::from_secs(5);

/// How often a launch is begun where the server ends at the same moment.
const ATTEMPTS: usize = 3;

/// How often the panes are looked at again where tmux has not heard how a process ended.
const LOOKS: usize = 3;

/// How soon tmux knows what the kernel already knows.
const SOON: Duration = Duration::from_millis(50);

/// Whether another look may tell how this pane's process ended. A server that is busy with clients can miss the
/// signal of a child's end (seen in 3.3a) and then asks only when the next one ends: it gets the signal once more.
fn hear(pane: &Pane, first_look: bool) -> bool {
    if !ProcessId::is_zombie(pane.process) {
        return first_look && ProcessId::of(pane.process).is_none();
    }
    ProcessId::of(pane.server).is_some_and(|server| server.signal(process::Signal::SIGCHLD))
}

/// How the core finds this plugin.
pub fn registration() -> Registration<dyn Runtime> {
    Registration {
        name: NAME,
        about: "Runs agents in panes of ao's own tmux server",
        schema: || schemars::schema_for!(Settings),
        check: |value| plugin::settings::<Settings>(NAME, value)?.check(),
        build: |value, context| {
            let settings: Settings = plugin::settings(NAME, value)?;
            settings.check()?;
            Ok(Arc::new(Tmux::new(settings, context)))
        },
    }
}

/// The settings of the tmux runtime.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Settings {
    /// Columns of a screen that nobody is attached to, 20 to 1000.
    pub columns: u16,
    /// Rows of a screen that nobody is attached to, 5 to 1000.
    pub rows: u16,
    /// Lines that are kept after they left the screen, at most 1,000,000.
    pub history: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { columns: 120, rows: 40, history: 20_000 }
    }
}

impl Settings {
    fn check(&self) -> Result<(), PluginError> {
        let wrong = if !(20..=1000).contains(&self.columns) {
            "`columns` is not between 20 and 1000"
        } else if !(5..=1000).contains(&self.rows) {
            "`rows` is not between 5 and 1000"
        } else if self.history > 1_000_000 {
            "`history` is more than 1,000,000"
        } else {
            return Ok(());
        };
        Err(PluginError::permanent(format!("the settings of `{NAME}` are not valid"), wrong))
    }
}

/// The runtime.
#[derive(Debug)]
pub struct Tmux {
    settings: Settings,
    instance: InstanceId,
    server: Server,
    /// How many paste buffers were named so far: no two calls share one.
    buffers: AtomicU64,
}

impl Tmux {
    /// Looks at nothing and starts nothing.
    pub fn new(settings: Settings, context: &BuildContext) -> Self {
        const PATH: &str = "/usr/local/bin:/usr/bin:/bin";
        let path = context.env.get("PATH").map_or(PATH, String::as_str);
        Self {
            settings,
            instance: context.instance.clone(),
            server: Server::new(context.run_dir.join("tmux.sock"), path, &context.home),
            buffers: AtomicU64::new(0),
        }
    }

    /// All panes, by one client process. Asked again where tmux has not yet heard how a process ended, and where
    /// the server was just about to end.
    async fn list(&self, deadline: Instant) -> Result<Vec<Pane>, Fault> {
        let mut answer = self.list_once(deadline).await;
        for n in 0..LOOKS {
            let again = match &answer {
                Ok(list) => {
                    let untold = list.iter().filter(|pane| pane.end == End::Untold);
                    // Each of them, not only the first.
                    untold.filter(|pane| hear(pane, n == 0)).count() > 0
                }
                Err(fault) => matches!(fault, Fault::Ended(_)) && n == 0,
            };
            if !again {
                break;
            }
            sleep(SOON).await;
            answer = self.list_once(deadline).await;
        }
        answer
    }

    async fn list_once(&self, deadline: Instant) -> Result<Vec<Pane>, Fault> {
        let words = ["list-panes", "-a", "-F", panes::FORMAT].map(str::to_owned);
        match self.server.run(&words, b"", deadline).await {
            Ok(printed) => Ok(panes::parse(&printed)),
            // The words of a server that has no session and is about to end.
            Err(Fault::Refused(said)) if said == "no current target" => Ok(Vec::new()),
            Err(fault) => Err(fault),
        }
    }

    fn find(&self, list: &[Pane], session: &SessionId, launch: Launch) -> Option<RuntimeHandle> {
        let pane = panes::find(list, &self.instance, session, launch)?;
        // The number of a server that is just gone still tells its panes from those of the next one.
        let gone = ProcessId { pid: pane.server, start: 0 };
        Some(RuntimeHandle {
            session: session.clone(),
            launch,
            id: pane.id.clone(),
            server: Some(ProcessId::of(pane.server).unwrap_or(gone)),
            process: running(pane),
        })
    }

    /// Runs `commands` if the handle's pane is still the one it was, and returns what they printed. tmux itself
    /// checks that, so nothing can come between. The commands are fixed text: ids, closed names, our formats.
    async fn on_pane(
        &self,
        handle: &RuntimeHandle,
        needs: Needs,
        commands: &str,
        stdin: &[u8],
        deadline: Instant,
    ) -> Result<String, Fault> {
        const GONE: &str = "ao-gone";
        let gone = || Fault::Refused(format!("pane {} is gone", handle.id));
        if handle.server.is_some_and(|server| !server.is_alive()) {
            return Err(Fault::NoServer);
        }
        let id = pane_id(handle).ok_or_else(gone)?;
        let condition = condition(handle, needs);
        let otherwise = format!("display-message -p {GONE}");
        let words = ["if-shell", "-F", "-t", id, &condition, commands, &otherwise];
        let said = self.server.run(&words.map(word), stdin, deadline).await?;
        if said.trim_end() == GONE { Err(gone()) } else { Ok(said) }
    }
}

#[async_trait]
impl Runtime for Tmux {
    fn capabilities(&self) -> RuntimeCapabilities {
        RuntimeCapabilities { screen: true, input: true, survives_restart: true }
    }

    async fn create(
        &self,
        call: &Call,
        request: &CreateRuntime,
    ) -> Result<RuntimeHandle, PluginError> {
        let what = || format!("could not start {} in tmux", request.session);
        let deadline = local::deadline(call);
        check(request).map_err(|(kind, cause)| PluginError::new(kind, what(), cause))?;
        if let Some(folder) = self.server.socket().parent() {
            make_private(folder).map_err(|error| PluginError::transient(what(), error))?;
        }
        let words = new_session(&self.settings, &self.instance, request);
        let mut lost = None;
        for _ in 0..ATTEMPTS {
            match self.list(deadline).await {
                Ok(list) => {
                    if let Some(handle) = self.find(&list, &request.session, request.launch) {
                        return Ok(handle);
                    }
                }
                Err(Fault::NoServer) => {}
                Err(fault) if lost.is_some() => return Err(fault.into_error_of_act(what())),
                // Nothing was started yet, whatever the reason.
                Err(fault) => return Err(fault.into_error(what())),
            }
            let fault = match self.server.run(&words, b"", deadline).await {
                Ok(printed) => {
                    let made = panes::parse(&printed);
                    return self.find(&made, &request.session, request.launch).ok_or_else(|| {
                        PluginError::in_doubt(what(), "tmux did not name the new pane")
                    });
                }
                Err(fault) => fault,
            };
            // Another call for this launch made it, or the server ended with its last session the moment that it
            // was asked: the list tells, and what is not in it was not started.
            let settles = match &fault {
                Fault::Refused(said) => said.starts_with("duplicate session"),
                fault => matches!(fault, Fault::Ended(_)),
            };
            if !settles {
                return Err(fault.into_error_of_act(what()));
            }
            lost = Some(fault);
            sleep(SOON).await;
        }
        let cause = lost.as_ref().and_then(Fault::unknown).unwrap_or_default();
        Err(PluginError::in_doubt(what(), cause))
    }

    async fn adopt(
        &self,
        call: &Call,
        session: &SessionId,
        launch: Launch,
    ) -> Result<Answer<RuntimeHandle>, PluginError> {
        Ok(match self.list(local::deadline(call)).await {
            Ok(list) => self.find(&list, session, launch).map_or(Answer::No, Answer::Yes),
            Err(fault) => fault.unknown().map_or(Answer::No, |why| Answer::Unknown(why.to_owned())),
        })
    }

    async fn destroy(&self, call: &Call, handle: &RuntimeHandle) -> Result<(), PluginError> {
        let what = || format!("could not end {} in tmux", handle.session);
        let deadline = local::deadline(call);
        // Half of the time is for tmux to answer, so that one that hangs does not keep the agent alive.
        let half = Instant::now() + deadline.duration_since(Instant::now()) / 2;
        let list = self.list(half).await;
        let pane = list.as_deref().ok().and_then(|list| panes::of_handle(list, handle));
        let root = handle.process.or_else(|| running(pane?));
        if let Some(root) = root {
            end(root, deadline).await.map_err(|left| {
                PluginError::in_doubt(what(), format!("{left} of its processes still run"))
            })?;
        }
        let close = match (pane, list.as_ref()) {
            (Some(pane), _) if pane.tmux_session == panes::name(&handle.session, handle.launch) => {
                format!("kill-session -t '={}'", pane.tmux_session)
            }
            (Some(pane), _) => format!("kill-pane -t {}", pane.id),
            (None, Ok(_) | Err(Fault::NoServer)) => return Ok(()),
            (None, Err(fault)) => return Err(fault.clone().into_error_of_act(what())),
        };
        match self.on_pane(handle, Needs::Pane, &close, b"", deadline).await {
            // The last session takes the server with it, at times before it could answer.
            Ok(_) | Err(Fault::Ended(_)) => Ok(()),
            Err(fault) => match on_pane_error(fault.into_error_of_act(what())) {
                error if error.kind == ErrorKind::NotFound => Ok(()),
                error => Err(error),
            },
        }
    }

    /// Pasted, in brackets where the agent asked for that: then the whole of it is one text to the agent, line
    /// ends included. An agent that did not ask reads line ends as it reads them from a keyboard.
    async fn type_text(
        &self,
        call: &Call,
        handle: &RuntimeHandle,
        text: &str,
    ) -> Result<(), PluginError> {
        let what = || format!("could not type into {}", handle.session);
        let text = text::plain(text);
        if text.is_empty() {
            return Ok(());
        }
        if text.len() > LONGEST_TEXT {
            return Err(PluginError::permanent(what(), "the text is longer than 1 MiB"));
        }
        let id = &handle.id;
        let n = self.buffers.fetch_add(1, Ordering::Relaxed);
        let buffer = format!("ao-{}-{n}", std::process::id());
        let paste = format!(
            "copy-mode -q -t {id} ; load-buffer -b {buffer} - ; paste-buffer -p -r -d -b {buffer} -t {id}"
        );
        self.on_pane(handle, Needs::Process, &paste, text.as_bytes(), local::deadline(call))
            .await
            .map(drop)
            .map_err(|fault| on_pane_error(fault.into_error_of_act(what())))
    }

    async fn press(
        &self,
        call: &Call,
        handle: &RuntimeHandle,
        keys: &[Key],
    ) -> Result<(), PluginError> {
        let what = || format!("could not press a key in {}", handle.session);
        let names: Option<Vec<String>> = keys.iter().copied().map(key_name).collect();
        let Some(names) = names else {
            return Err(PluginError::permanent(what(), format!("no such key in {keys:?}")));
        };
        if names.is_empty() {
            return Ok(());
        }
        let id = &handle.id;
        // A human who scrolled back left the pane in a mode that would eat the keys.
        let press = format!("copy-mode -q -t {id} ; send-keys -t {id} {}", names.join(" "));
        self.on_pane(handle, Needs::Process, &press, b"", local::deadline(call))
            .await
            .map(drop)
            .map_err(|fault| on_pane_error(fault.into_error_of_act(what())))
    }

    async fn capture(
        &self,
        call: &Call,
        handle: &RuntimeHandle,
        lines: u32,
    ) -> Result<Screen, PluginError> {
        let what = || format!("could not read the screen of {}", handle.session);
        let id = &handle.id;
        let above = lines.min(self.settings.history);
        let capture = format!(
            "display-message -p -t {id} '#{{cursor_x}} #{{cursor_y}} #{{history_size}}' ; \
             capture-pane -p -t {id} -S -{above}"
        );
        let printed = self
            .on_pane(handle, Needs::Pane, &capture, b"", local::deadline(call))
            .await
            .map_err(|fault| on_pane_error(fault.into_error(what())))?;
        Ok(screen(&printed, above, lines))
    }

    async fn probe(
        &self,
        call: &Call,
        handles: &[RuntimeHandle],
    ) -> Result<Vec<RuntimeProbe>, PluginError> {
        let list = self.list(local::deadline(call)).await;
        let by_id: Result<HashMap<&str, &Pane>, &Fault> =
            list.as_ref().map(|list| list.iter().map(|pane| (pane.id.as_str(), pane)).collect());
        // The server stands in every handle; it is looked up once.
        let seen = RefCell::new(HashMap::new());
        let now = |pid| *seen.borrow_mut().entry(pid).or_insert_with(|| ProcessId::of(pid));
        let judge = |handle: &RuntimeHandle| {
            let pane = by_id.as_ref().map(|panes| panes.get(handle.id.as_str()).copied());
            panes::judge(handle, pane.map_err(|fault| *fault), now)
        };
        Ok(handles.iter().map(judge).collect())
    }

    async fn read(
        &self,
        call: &Call,
        files: &[FileRequest],
    ) -> Result<Vec<FileAnswer>, PluginError> {
        local::read(files, local::deadline(call)).await
    }

    /// In the folder that the agent was started in, with the environment that the tmux server has.
    async fn exec(
        &self,
        call: &Call,
        handle: &RuntimeHandle,
        argv: &[String],
    ) -> Result<ExecOutput, PluginError> {
        let what = || format!("could not run a command beside {}", handle.session);
        let deadline = local::deadline(call);
        let Some((program, arguments)) = argv.split_first() else {
            return Err(PluginError::permanent(what(), "the command is empty"));
        };
        let ask = format!("display-message -p -t {} '#{{@ao_cwd}}'", handle.id);
        let cwd = self
            .on_pane(handle, Needs::Pane, &ask, b"", deadline)
            .await
            .map_err(|fault| on_pane_error(fault.into_error(what())))?;
        let mut command = self.server.command(program);
        command.args(arguments).current_dir(cwd.strip_suffix('\n').unwrap_or(&cwd));
        local::run(command, b"", deadline).await.map_err(|error| {
            let kind = match error.kind() {
                std::io::ErrorKind::NotFound => ErrorKind::Missing,
                std::io::ErrorKind::TimedOut => ErrorKind::InDoubt,
                _ => ErrorKind::Permanent,
            };
            PluginError::new(kind, what(), format!("{}: {error}", text::one_line(program)))
        })
    }

    fn attach_info(&self, handle: &RuntimeHandle) -> AttachInfo {
        let socket = self.server.socket().to_string_lossy().into_owned();
        let target = format!("={}", panes::name(&handle.session, handle.launch));
        // From within another tmux the client would refuse to nest.
        let argv =
            ["env", "-u", "TMUX", "tmux", "-u", "-S", &socket, "attach-session", "-t", &target];
        AttachInfo {
            argv: Some(argv.map(str::to_owned).to_vec()),
            title: handle.session.to_string(),
        }
    }

    async fn metrics(
        &self,
        _call: &Call,
        handle: &RuntimeHandle,
    ) -> Result<RuntimeMetrics, PluginError> {
        handle.process.and_then(|root| process::usage(root, None)).ok_or_else(|| {
            let what = format!("could not measure {}", handle.session);
            PluginError::new(ErrorKind::NotFound, what, "its process is gone")
        })
    }

    fn reach(&self) -> Reach {
        Reach::Socket
    }
}

/// Whether the request can be carried out at all. tmux would start in the home folder where the working
/// directory is missing, and has no standard input beside the screen.
fn check(request: &CreateRuntime) -> Result<(), (ErrorKind, String)> {
    let cwd = &request.cwd;
    if request.argv.is_empty() {
        return Err((ErrorKind::Permanent, "the command is empty".to_owned()));
    }
    if !cwd.is_absolute() || !cwd.is_dir() {
        let cwd = text::one_line(&cwd.to_string_lossy());
        return Err((ErrorKind::Permanent, format!("`{cwd}` is not a folder")));
    }
    if cwd.to_str().is_none() {
        return Err((ErrorKind::Permanent, "the working directory is not UTF-8".to_owned()));
    }
    if request.stdin.is_some() {
        let cause = "tmux gives an agent a screen and no standard input; use `input: paste`";
        return Err((ErrorKind::Unsupported, cause.to_owned()));
    }
    Ok(())
}

/// The process of a pane that has not ended.
fn running(pane: &Pane) -> Option<ProcessId> {
    if matches!(pane.end, End::Code(_)) { None } else { ProcessId::of(pane.process) }
}

/// A folder that only this user may enter, with its parents.
fn make_private(folder: &std::path::Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// A pane that is gone is not to be tried again.
fn on_pane_error(mut error: PluginError) -> PluginError {
    let gone = ["pane %", "can't find pane", "target pane has exited"]
        .iter()
        .any(|start| error.cause.starts_with(start));
    if error.kind == ErrorKind::Transient && gone {
        error.kind = ErrorKind::NotFound;
    }
    error
}

/// Ends a process and what it started: asked first, then forced. The error is how many still run.
async fn end(root: ProcessId, deadline: Instant) -> Result<(), usize> {
    let begin = Instant::now();
    let force_at = begin + GRACE.min(deadline.duration_since(begin) / 2);
    let mut ending = Ending::of(root, None);
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

#[cfg(test)]
mod tests;
