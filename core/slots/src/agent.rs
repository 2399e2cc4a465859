//! The agent slot: the coding tool. Mostly pure: an agent plugin plans and reduces, the host acts.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use async_trait::async_trait;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Call, Launch, PluginError, SessionId,
    fact::{Activity, AgentErrorKind},
    process::ProcessId,
    runtime::{Key, Screen},
};

/// What the agent may do without asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Default)]
#[serde(rename_all = "kebab-case")]
pub enum Permissions {
    /// Everything, without asking.
    #[default]
    Skip,
    /// Edits without asking, commands with.
    AcceptEdits,
    /// Asks before each tool that is not allowed already.
    Ask,
    /// Only plans.
    Plan,
}

/// The part of the configuration that an agent plugin reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AgentConfig {
    /// What the agent may do without asking.
    #[serde(default)]
    pub permissions: Permissions,
    /// The model, in the agent's own spelling; none = the agent's default.
    #[serde(default)]
    pub model: Option<String>,
    /// Further arguments, passed as they are.
    #[serde(default)]
    pub args: Vec<String>,
    /// agent-custom: the command with placeholders.
    #[serde(default)]
    pub command: Vec<String>,
    /// agent-custom: how text reaches the agent; none = `paste` where there is a screen, else `stdin`.
    #[serde(default)]
    pub input: Option<InputMode>,
    /// agent-custom: the command that goes on with the earlier conversation; none = start anew.
    #[serde(default)]
    pub resume: Option<Vec<String>>,
    /// agent-custom: regular expressions on the screen that raise a *suspected* question.
    #[serde(default)]
    pub suspect: Vec<String>,
}

/// How text reaches a running agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum InputMode {
    /// Pasted into its screen, when it said that its prompt is empty.
    Paste,
    /// Written to its standard input.
    Stdin,
    /// Not at all: messages wait.
    None,
}

/// What a launch is planned from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LaunchRequest {
    /// The session.
    pub session: SessionId,
    /// Which start of it.
    pub launch: Launch,
    /// Where the agent works: the workspace, or `subdir` in it. Absolute.
    pub cwd: PathBuf,
    /// A private folder for this session's settings and artifacts: `<dataDir>/agents/<session>`.
    pub agent_dir: PathBuf,
    /// The `ao` program that hooks run: `<dataDir>/run/ao`.
    pub ao: PathBuf,
    /// The user's home folder.
    pub home: PathBuf,
    /// The first prompt; none to start with an empty one.
    pub prompt: Option<String>,
    /// Standing rules appended to the agent's own system prompt; empty for none.
    pub rules: String,
    /// The project's agent settings.
    pub config: AgentConfig,
    /// The conversation to go on with; none = a new one.
    pub resume: Option<String>,
    /// How long a request may wait for a human, in seconds; goes into the hook's own timeout.
    pub ask_for_s: u64,
    /// Whether the runtime has a screen.
    pub screen: bool,
    /// The values of `env_names()` that the spawning client had: where an agent keeps its files may hang on them.
    pub env: BTreeMap<String, String>,
}

/// A file to write before the launch. Parents are made 0700, the file 0600.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlannedFile {
    /// Absolute, within the agent folder.
    pub path: PathBuf,
    /// Its whole content.
    pub content: String,
    /// `ao`'s own: restored and reported as tampered when another changes it.
    pub guarded: bool,
}

/// How the first prompt goes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PromptDelivery {
    /// It is part of `argv`; a signal confirms it.
    Argument,
    /// It is queued as the first message and typed when the prompt is empty.
    Typed,
    /// It is the standard input; confirmed by the launch itself.
    Stdin,
}

/// How an agent is started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LaunchPlan {
    /// Program and arguments. The program is looked up in the session's own `PATH`.
    pub argv: Vec<String>,
    /// Variables to set beside the session's environment.
    pub env: BTreeMap<String, String>,
    /// Files to write first.
    pub files: Vec<PlannedFile>,
    /// How the first prompt goes in.
    pub prompt: PromptDelivery,
    /// The id of the conversation, where the plan fixes it.
    pub native_id: Option<String>,
    /// Where the transcript will lie, where that is known before the first signal.
    pub transcript: Option<PathBuf>,
    /// The agent signals by hooks: silence after the launch is `no_signal`.
    pub signals: bool,
    /// Goes on with the earlier conversation. False when a resume was asked for and starts anew.
    pub resumes: bool,
}

/// What an agent waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentRequest {
    /// Identity within the launch: turn, tool and a hash of the input. The same request told twice has the same key.
    pub key: String,
    /// The turn in which it was asked, in the agent's own words, where it tells.
    pub turn: Option<String>,
    /// The tool that waits.
    pub tool: String,
    /// What is asked.
    pub ask: Ask,
    /// Whether a decision can be handed over through the waiting hook.
    pub answerable: bool,
}

/// Why a human looks twice at a permission of which not all is told: it was too long.
pub const LONGER: &str = "it is longer than what is shown";

/// Why a human looks twice at a permission in which something has the shape of a secret.
pub const HIDES: &str = "a part is hidden, it looks like a secret";

/// A permission or a question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Ask {
    /// May it use a tool?
    Permission {
        /// `run`, `edit`, `open` or `use`.
        verb: String,
        /// The command, path or address, verbatim; at most 4 KiB.
        subject: String,
        /// Where, when it is not the working directory.
        place: Option<String>,
        /// Why the agent says it wants it, verbatim.
        reason: Option<String>,
        /// Why a human should look twice, e.g. `it sends data to the network`; empty for a plain one.
        careful: Vec<String>,
    },
    /// Which of these, or what?
    Question {
        /// The question, verbatim; at most 4 KiB.
        text: String,
        /// The choices that the agent offers.
        options: Vec<String>,
        /// Several may be chosen.
        many: bool,
    },
}

/// A human's decision on a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "decision", rename_all = "kebab-case")]
pub enum Decision {
    /// Approved this once.
    Approve,
    /// Denied.
    Deny {
        /// Told to the agent.
        reason: Option<String>,
    },
    /// Answered, with one of the options or own words.
    Answer {
        /// The answer, verbatim.
        text: String,
    },
}

/// What a hook, a transcript line or a status file says, reduced to what the core decides on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "signal", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Signal {
    /// The agent runs and can be talked to.
    Started {
        /// The conversation's own id.
        native_id: Option<String>,
        /// Where the transcript lies.
        transcript: Option<PathBuf>,
        /// The agent's version.
        version: Option<String>,
    },
    /// A turn began. Confirms the delivery of the message that it began with.
    TurnStarted {
        /// The turn's own id.
        turn: Option<String>,
        /// What it began with, verbatim; none when not told.
        prompt: Option<String>,
    },
    /// A tool begins.
    ToolStarted {
        /// The use's own id.
        id: Option<String>,
        /// The tool.
        tool: String,
        /// The command it runs, at most 200 characters; none for other tools.
        command: Option<String>,
    },
    /// A tool ended; ends the request for exactly this tool and input.
    ToolEnded {
        /// The use's own id.
        id: Option<String>,
        /// The tool.
        tool: String,
        /// The key of the request that it could have been, see [`AgentRequest::key`].
        request: Option<String>,
    },
    /// The agent waits for a human.
    Asked(AgentRequest),
    /// The request is over without a decision of ours, e.g. answered in the terminal.
    RequestEnded {
        /// Its key.
        request: String,
    },
    /// The turn ended. Not the same as done.
    TurnEnded {
        /// The turn's own id.
        turn: Option<String>,
        /// The first 300 characters of its last words.
        last_words: Option<String>,
        /// Work goes on in the background: not idle.
        background: bool,
    },
    /// The provider refuses for now.
    RateLimited {
        /// When it says the quota is back.
        until: Option<Timestamp>,
    },
    /// The agent cannot go on.
    Failed {
        /// What kind of obstacle.
        kind: AgentErrorKind,
        /// Its words, at most 1 KiB.
        message: String,
    },
    /// A trust, login, billing or update dialog is open; nothing may type into it.
    Setup {
        /// Its words, at most 8 lines.
        text: String,
    },
    /// The agent said good-bye; `reason` in its own words.
    Exited {
        /// Why.
        reason: String,
    },
    /// A sign of life in the main turn that says nothing else.
    Alive,
    /// The screen looks like a question. Raises a suspicion; clears nothing and allows no typing.
    Suspected {
        /// The line that looks so.
        text: String,
    },
    /// The agent claims to have completed its task. Counts only with evidence.
    Completed {
        /// Its words.
        text: Option<String>,
    },
    /// What the transcript or the status file says the agent is doing.
    Observed {
        /// The activity.
        activity: Activity,
    },
    /// Figures from the transcript.
    Usage(Usage),
}

/// What a stretch of transcript says was used and said. Tokens are those of this stretch alone and add up;
/// of the other fields the latest value that is there holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct Usage {
    /// The conversation's own id.
    pub native_id: Option<String>,
    /// The first 200 characters of the last thing the agent said.
    pub summary: Option<String>,
    /// Tokens read, cached ones included.
    pub input_tokens: Option<u64>,
    /// Tokens written.
    pub output_tokens: Option<u64>,
    /// Cost in millionths of a US dollar, as the agent itself reports it; none when it does not.
    pub cost_micros: Option<u64>,
}
impl Eq for Usage {}

/// A hook, reduced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Default)]
#[serde(rename_all = "camelCase")]
pub struct HookReport {
    /// What it says, in order. Empty for events that say nothing about the main turn.
    pub signals: Vec<Signal>,
}

/// What a stretch of transcript says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Default)]
#[serde(rename_all = "camelCase")]
pub struct Introspection {
    /// How many bytes were whole lines; the rest is handed in again with what follows.
    pub consumed: u64,
    /// What they say, in order, [`Signal::Usage`] last.
    pub signals: Vec<Signal>,
    /// What people typed, verbatim: the durable evidence that a message arrived.
    pub user_texts: Vec<String>,
    /// What to know of it when the next stretch is read: e.g. of which message it counted what.
    pub carry: String,
}

/// What the screen shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "screen", rename_all = "kebab-case")]
pub enum Dialog {
    /// An input line and no dialog: text may be typed into it when `draft` is empty and no turn runs.
    Prompt {
        /// What stands in it.
        draft: String,
        /// A turn runs while the input line is shown.
        busy: bool,
    },
    /// A permission dialog.
    Permission {
        /// What it asks about, verbatim.
        text: String,
    },
    /// A question with choices.
    Question {
        /// The question, verbatim.
        text: String,
    },
    /// A trust, login, billing or update dialog.
    Setup {
        /// Its words, at most 8 lines.
        text: String,
    },
    /// Nothing that this plugin knows. Nothing may be typed.
    Unknown,
}

/// What an agent plugin can do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentCapabilities {
    /// Hook events whose process waits for a human's decision, e.g. `PermissionRequest`.
    pub answerable: Vec<String>,
    /// Hook events that can hand over a queued message, e.g. `Stop`.
    pub takes_messages: Vec<String>,
    /// Goes on with an earlier conversation.
    pub resume: bool,
    /// How text reaches the running agent.
    pub input: InputMode,
    /// Recognises its own screen: without this nothing is typed unless the agent reported `ready`.
    pub screen: bool,
    /// A question can be answered in own words.
    pub free_answers: bool,
}

/// Whether the agent can work on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentCheck {
    /// The program that was found, absolute; none when it is not installed.
    pub program: Option<PathBuf>,
    /// Its version, e.g. `2.1.329`.
    pub version: Option<String>,
    /// Whether it is logged in, by what its files tell; none when they do not.
    pub logged_in: Option<bool>,
    /// Whether it trusts the repository; none when that cannot be told or does not matter.
    pub trusts_repo: Option<bool>,
    /// How to install it.
    pub install_hint: String,
}

/// Drives one coding tool.
///
/// All methods but `check` are pure: they read their arguments and nothing else, and may be called at any
/// time, in any order, any number of times.
///
/// # Idempotency
/// Equal arguments give equal answers; `reduce_hook` of the same payload gives the same request key.
/// # Cancel safety
/// `check` changes nothing and may be dropped.
/// # Deadline
/// Pure methods return within milliseconds for inputs up to 1 MiB.
/// # Errors
/// Input that cannot be read is an error (dropped and logged by the host): never read as a turn's end.
/// Events of subagents give no signal about the main turn.
#[async_trait]
pub trait Agent: fmt::Debug + Send + Sync {
    /// What this agent can do under `config`.
    fn capabilities(&self, config: &AgentConfig) -> AgentCapabilities;

    /// Names of variables that this agent reads, to be taken from the client that spawns it.
    fn env_names(&self) -> Vec<String>;

    /// Plans the start, or with `request.resume` the restart.
    fn plan_launch(&self, request: &LaunchRequest) -> Result<LaunchPlan, PluginError>;

    /// Reduces one hook event to signals.
    fn reduce_hook(&self, event: &str, payload: &[u8]) -> Result<HookReport, PluginError>;

    /// What the waiting hook of `event` prints to hand over the decision.
    fn hook_reply(
        &self,
        event: &str,
        payload: &[u8],
        decision: &Decision,
    ) -> Result<String, PluginError>;

    /// What the hook of `event` prints to hand over a queued message (see [`AgentCapabilities::takes_messages`]).
    fn message_reply(&self, event: &str, payload: &[u8], text: &str) -> Option<String>;

    /// Reads a stretch of transcript that begins at a line's start. `carry` is what the stretch before it left,
    /// empty for the first.
    fn introspect(&self, bytes: &[u8], carry: &str) -> Introspection;

    /// Where the running agent keeps a file that says what it does; none when it has none.
    fn status_file(&self, request: &LaunchRequest, process: ProcessId) -> Option<PathBuf>;

    /// Reads that file; none when it says nothing that is known.
    fn read_status(&self, bytes: &[u8]) -> Option<Signal>;

    /// Tells what the screen shows.
    fn match_dialog(&self, screen: &Screen) -> Dialog;

    /// `text` as it has to be typed so that the agent reads it as a message: where the input line takes
    /// commands, a message must not become one because of how it begins. The first prompt of a plan is
    /// already in this form. Signals and transcripts tell the text without what this added.
    fn as_message(&self, text: &str) -> String {
        text.to_owned()
    }

    /// Whether `draft`, as [`Dialog::Prompt`] tells it, is `text` that was just typed: screens wrap lines,
    /// and agents abbreviate long texts.
    fn is_draft_of(&self, draft: &str, text: &str) -> bool {
        draft
            .split_whitespace()
            .flat_map(str::chars)
            .eq(text.split_whitespace().flat_map(str::chars))
    }

    /// The line of the screen that looks like a question by the project's own expressions
    /// ([`AgentConfig::suspect`]). It raises [`Signal::Suspected`] and nothing else.
    fn suspect(&self, config: &AgentConfig, screen: &Screen) -> Option<String> {
        let (_, _) = (config, screen);
        None
    }

    /// The keys that give `decision`, when the screen *proves* that the dialog of exactly this request is
    /// shown; none otherwise.
    fn answer_keys(
        &self,
        request: &AgentRequest,
        decision: &Decision,
        screen: &Screen,
    ) -> Option<Vec<Key>>;

    /// Looks whether the agent is installed, logged in and trusts `repo`. `env` holds the client's `PATH`
    /// and the variables of `env_names`.
    async fn check(
        &self,
        call: &Call,
        env: &BTreeMap<String, String>,
        repo: Option<&std::path::Path>,
    ) -> Result<AgentCheck, PluginError>;
}
