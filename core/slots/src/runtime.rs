//! The runtime slot: where a session executes.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use async_trait::async_trait;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Call, Launch, PluginError, SessionId, call::Answer, process::ProcessId, text};

/// What is started: always `ao launch <file>`, which sets the environment from a private file and executes
/// the agent, so that no secret is ever an argument.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CreateRuntime {
    /// Whose agent it is.
    pub session: SessionId,
    /// Which start of it. Session and launch are the label that finds the process again.
    pub launch: Launch,
    /// Program and arguments, absolute program path.
    pub argv: Vec<String>,
    /// The working directory, absolute.
    pub cwd: PathBuf,
    /// Harmless variables that the runtime itself needs to hand on (`TERM` …); never a secret.
    pub env: BTreeMap<String, String>,
    /// What the agent reads first on its standard input, for runtimes without a screen. With some text, even
    /// an empty one, the input stays open for more; none means that it is at its end from the start.
    pub stdin: Option<String>,
}

/// Finds a running agent again, also after a restart of `ao`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RuntimeHandle {
    /// Whose agent it is.
    pub session: SessionId,
    /// Which start of it.
    pub launch: Launch,
    /// The runtime's own exact id, e.g. the pane `%12`. Never a name that could match another's.
    pub id: String,
    /// The server that gave the id (the tmux server): an id of a dead server says nothing.
    pub server: Option<ProcessId>,
    /// The agent's process, or that of its launcher before it is replaced.
    pub process: Option<ProcessId>,
}

/// One runtime's answer about one handle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RuntimeProbe {
    /// What became of the process.
    pub state: ProbeState,
    /// When it last wrote to its terminal, where the runtime tells.
    pub last_output: Option<Timestamp>,
    /// When a human who is in front of it now last typed there, where the runtime tells; none where nobody is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_input: Option<Timestamp>,
    /// The handle as it is now: a runtime may learn the process late.
    pub process: Option<ProcessId>,
}

/// What became of a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ProbeState {
    /// It runs.
    Alive,
    /// It ended with this code; none when a signal ended it.
    Exited(Option<i32>),
    /// The runtime's own list surely does not have it, and its recorded process is gone.
    Missing,
    /// Nothing can be said, and why.
    Unknown(String),
}

/// A screen as text, escape sequences removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Default)]
#[serde(rename_all = "camelCase")]
pub struct Screen {
    /// Lines from top to bottom, trailing blanks removed.
    pub lines: Vec<String>,
    /// Column of the cursor, from 0, where known.
    pub cursor_x: Option<u32>,
    /// Row of the cursor in `lines`, from 0, where known.
    pub cursor_y: Option<u32>,
}

/// A key that may be pressed. Closed, so that no text can become a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Key {
    /// Return.
    Enter,
    /// Escape.
    Escape,
    /// Cursor up.
    Up,
    /// Cursor down.
    Down,
    /// Tabulator.
    Tab,
    /// Ctrl-C.
    Interrupt,
    /// Ctrl-U: clears a line of input.
    ClearLine,
    /// One digit, 0 to 9.
    Digit(u8),
    /// One ASCII letter.
    Letter(char),
}

/// What a runtime can do. The conformance suite holds it to this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RuntimeCapabilities {
    /// There is a screen to capture and a human can attach.
    pub screen: bool,
    /// Text can be handed to the running agent.
    pub input: bool,
    /// Agents go on when the runtime's own server or this process ends.
    pub survives_restart: bool,
}

/// A file to be read as an agent sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FileRequest {
    /// Beside whose agent it lies.
    pub handle: RuntimeHandle,
    /// Its path, absolute.
    pub path: String,
    /// The byte to begin at.
    pub from: u64,
    /// How it was at an earlier read: it is not read again while it is so.
    pub seen: Option<FileStamp>,
}

/// Tells a file from what it was before it was written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FileStamp {
    /// When it was last changed in any way, in nanoseconds since 1970.
    pub changed_ns: i64,
    /// Its length in bytes.
    pub size: u64,
}

/// What a runtime says about one [`FileRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FileAnswer {
    /// It is as it was.
    Unchanged,
    /// What it holds from the byte asked for, at most 1 MiB. No stamp where it changed so lately that a further
    /// change might not show in one.
    Read {
        /// The bytes.
        bytes: Vec<u8>,
        /// How it was before it was read.
        stamp: Option<FileStamp>,
    },
    /// There is no such file.
    Absent,
    /// It cannot be read, and why.
    Failed(String),
}

/// How a human gets in front of a running agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AttachInfo {
    /// The command that shows it in a terminal; none when there is nothing to show.
    pub argv: Option<Vec<String>>,
    /// A name for a window title.
    pub title: String,
}

impl AttachInfo {
    /// The command as a line that a human can paste into a shell.
    pub fn command_line(&self) -> Option<String> {
        let words = self.argv.as_ref()?.iter().map(|word| text::shell_word(word));
        Some(words.collect::<Vec<_>>().join(" "))
    }
}

/// What a process costs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Default)]
#[serde(rename_all = "camelCase")]
pub struct RuntimeMetrics {
    /// CPU time of the process and its living descendants, in milliseconds since their start.
    pub cpu_ms: u64,
    /// Their resident memory in bytes.
    pub rss_bytes: u64,
    /// How many processes.
    pub processes: u32,
}

/// How `ao hook` inside the runtime gets home.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Reach {
    /// The server's unix socket is visible at its own path.
    Socket,
    /// Over TLS to this address, with the session's token.
    Https(String),
}

/// The output of a command run beside the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExecOutput {
    /// Exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// Standard output, at most 1 MiB.
    pub stdout: Vec<u8>,
    /// Standard error, at most 1 MiB.
    pub stderr: Vec<u8>,
}

/// Keeps agent processes alive and reachable.
///
/// The host calls in from many sessions at once and may drop any of these futures.
///
/// # Idempotency
/// `create` with the session and launch of a process that exists returns that one; it never makes a second.
/// `destroy` of what is gone is a success.
/// # Cancel safety
/// A dropped `create` may leave a process behind; `adopt` finds it. Every other call may be dropped freely.
/// # Deadline
/// The plugin ends in good order within `call.limit()`: it kills what it started for the call.
/// # Errors
/// A probe that gets no answer is `Unknown`, never `Missing` and never an error for one handle alone.
/// [`PluginError::is_transient`] tells the host whether to try again.
#[async_trait]
pub trait Runtime: fmt::Debug + Send + Sync {
    /// What this runtime can do.
    fn capabilities(&self) -> RuntimeCapabilities;

    /// Starts the command and returns the handle that finds it again.
    async fn create(
        &self,
        call: &Call,
        request: &CreateRuntime,
    ) -> Result<RuntimeHandle, PluginError>;

    /// Looks in the runtime's own list for this session's launch.
    async fn adopt(
        &self,
        call: &Call,
        session: &SessionId,
        launch: Launch,
    ) -> Result<Answer<RuntimeHandle>, PluginError>;

    /// Ends the agent and everything it started; returns when the recorded process is gone.
    async fn destroy(&self, call: &Call, handle: &RuntimeHandle) -> Result<(), PluginError>;

    /// Hands text to the agent's input without submitting it: *typed*, never *delivered*. The text is
    /// literal: no part of it is a key, a format or a command, and it cannot end a bracketed paste. A
    /// runtime without a screen writes the text and a newline.
    async fn type_text(
        &self,
        call: &Call,
        handle: &RuntimeHandle,
        text: &str,
    ) -> Result<(), PluginError>;

    /// Presses keys, in order.
    async fn press(
        &self,
        call: &Call,
        handle: &RuntimeHandle,
        keys: &[Key],
    ) -> Result<(), PluginError>;

    /// The last `lines` lines of screen (or output, where there is no screen), also of an ended agent.
    async fn capture(
        &self,
        call: &Call,
        handle: &RuntimeHandle,
        lines: u32,
    ) -> Result<Screen, PluginError>;

    /// One answer for all handles, in their order, at a cost that does not grow by a process per handle.
    async fn probe(
        &self,
        call: &Call,
        handles: &[RuntimeHandle],
    ) -> Result<Vec<RuntimeProbe>, PluginError>;

    /// Reads files as their agents see them: one answer for each, in their order, at a cost that does not grow
    /// by a process or a round trip a file.
    async fn read(
        &self,
        call: &Call,
        files: &[FileRequest],
    ) -> Result<Vec<FileAnswer>, PluginError>;

    /// Runs a command beside the agent.
    async fn exec(
        &self,
        call: &Call,
        handle: &RuntimeHandle,
        argv: &[String],
    ) -> Result<ExecOutput, PluginError>;

    /// How a human looks in. Asks nothing of the world.
    fn attach_info(&self, handle: &RuntimeHandle) -> AttachInfo;

    /// What the agent costs now.
    async fn metrics(
        &self,
        call: &Call,
        handle: &RuntimeHandle,
    ) -> Result<RuntimeMetrics, PluginError>;

    /// How `ao hook` gets home.
    fn reach(&self) -> Reach;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s14_an_attach_command_is_quoted_for_the_shell_it_is_pasted_into() {
        let argv = ["tmux", "-S", "/tmp/it's $(here)/s", "attach", "=app-3~1", "~", ""];
        let attach =
            AttachInfo { argv: Some(argv.map(str::to_owned).into()), title: String::new() };
        assert_eq!(
            attach.command_line().unwrap(),
            r"tmux -S '/tmp/it'\''s $(here)/s' attach '=app-3~1' '~' ''"
        );
    }
}
