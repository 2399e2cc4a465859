//! Events: what came in, what was concluded, what was intended, what became of it.
//!
//! One line of the journal is one event. Four classes part observation from decision from effect, so that the
//! fold never needs to decide and a changed rule never changes the past (decision record 001).

use std::{borrow::Cow, collections::BTreeMap, fmt};

use ao_slots::{
    AccessId, ChannelName, IncidentId, InstanceId, Launch, MessageId, NotificationId, ProjectId,
    RequestId, Seq, SessionId, SilenceId,
    agent::{Ask, Decision, Usage},
    call::ErrorKind,
    fact::{Activity, PrFacts, Priority, RuntimeState, Source, WorkFacts},
    notifier::{ChannelHandle, NotifierCapabilities, Reached},
    process::ProcessId,
    runtime::RuntimeHandle,
    scm::{MergeMethod, PrRef},
    workspace::WorkspaceInfo,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::{
    blob::BlobRef,
    config::{
        policy::{DigestEvery, Policy, Role},
        trigger::Trigger,
    },
    state::Matchers,
};

/// What kind of statement an event makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// What came in.
    Obs,
    /// What `decide` concluded.
    Dec,
    /// An effect about to be performed.
    Int,
    /// What became of an effect.
    Out,
}

/// One entry of the journal.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Its place. Places have no holes.
    pub seq: Seq,
    /// Wall time.
    pub at: Timestamp,
    /// Awake time in milliseconds: stands still while the machine sleeps, never goes back (architecture, Time).
    pub awake: u64,
    /// The session it concerns.
    pub session: Option<SessionId>,
    /// The project it concerns.
    pub project: Option<ProjectId>,
    /// When the hook that told it was started, see [`HookCall::started`](crate::server::HookCall::started).
    pub hook: Option<u64>,
    /// The key of the human's act that it is the first event of: an act that comes twice is done once.
    pub act: Option<String>,
    /// Direct causes, all below `seq`, at most 16.
    pub because: Vec<Seq>,
    /// The rule that concluded it: the table row that `ao why` names.
    pub rule: Option<Cow<'static, str>>,
    /// What it says.
    pub kind: Kind,
}

/// A button as it leaves this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// SHA-256 of the token, lower hex. The token itself (128 random bits) is in the message alone.
    pub token: String,
    /// What a press does: the button as the rules know it, with its argument (`answer:2`, `merge:<head>`).
    pub button: String,
    /// The words it is bound to: somebody wrote them, and is asked whether to send them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<Text>,
    /// It went out with a link to its page: the page presses no other, whoever knows the token.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub linked: bool,
    /// Worth nothing after this.
    pub until: Timestamp,
}

/// Text from outside as an event holds it: a short piece, and where the whole lies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Text {
    /// The first 200 characters at most, cleaned and redacted.
    pub excerpt: String,
    /// The whole, when it is longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blob: Option<BlobRef>,
}

impl Text {
    /// Most characters of an excerpt.
    pub const EXCERPT: usize = 200;

    /// Text that is short, or of which only the beginning matters.
    pub fn short(text: &str) -> Self {
        let clean = ao_slots::text::redact(&ao_slots::text::plain(text));
        Self { excerpt: ao_slots::text::cut(&clean, Self::EXCERPT), blob: None }
    }

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.excerpt.is_empty()
    }
}

/// What a text is recognised by when an agent repeats it: SHA-256, 16 hexadecimal digits, of its words with
/// single spaces between, since terminals and agents change white space.
pub fn digest(text: &str) -> String {
    let mut hash = Sha256::new();
    for word in ao_slots::text::plain(text).split_whitespace() {
        hash.update(word);
        hash.update(" ");
    }
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// A trouble with a pull request, at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// Which.
    pub trigger: Trigger,
    /// What it is about, see [`Session::brief_key`](crate::state::Session::brief_key).
    pub key: String,
}

/// Who did something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// The name, e.g. `ana`.
    pub name: String,
    /// Through what: `cli`, `web`, `desktop`, `slack` …
    pub via: String,
}

impl Actor {
    /// `ao` itself, as the configuration says.
    pub fn ao() -> Self {
        Self { name: "ao".into(), via: "ao".into() }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The page and the terminal are one human's own; a channel that knows no names gives its own.
        if matches!(self.via.as_str(), "cli" | "web") || self.name == self.via {
            f.write_str(&self.name)
        } else {
            write!(f, "{} by {}", self.name, self.via)
        }
    }
}

/// What comes in by the web.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AccessKind {
    /// A browser, by its cookie.
    Browser,
    /// A program, by its token.
    Token,
}

/// What an incident is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// One session.
    Session(SessionId),
    /// One project.
    Project(ProjectId),
    /// All sessions of one runtime, e.g. `tmux`.
    Runtime(String),
    /// One channel.
    Channel(ChannelName),
    /// `ao` itself.
    Server,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session(id) => id.fmt(f),
            Self::Project(id) => id.fmt(f),
            Self::Runtime(name) => f.write_str(name),
            Self::Channel(name) => name.fmt(f),
            Self::Server => f.write_str("ao"),
        }
    }
}

/// What became of an effect that did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What may be concluded.
    pub kind: ErrorKind,
    /// What failed and why.
    pub message: String,
    /// The remedy, where one is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// How long the other side asks to be left alone, in milliseconds of wall time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

impl Failure {
    /// It did not happen, and will not by repeating.
    pub fn permanent(message: impl Into<String>) -> Self {
        let kind = ErrorKind::Permanent;
        Self { kind, message: message.into(), remedy: None, retry_after_ms: None }
    }

    /// The rules are against it.
    pub fn refused(message: impl Into<String>, remedy: Option<String>) -> Self {
        Self { kind: ErrorKind::Refused, remedy, ..Self::permanent(message) }
    }
}

impl From<ao_slots::PluginError> for Failure {
    fn from(error: ao_slots::PluginError) -> Self {
        let clean = ao_slots::text::redact(&ao_slots::text::plain(&error.to_string()));
        Self {
            kind: error.kind,
            message: ao_slots::text::cut(&clean, 600),
            remedy: error.remedy,
            retry_after_ms: error.retry_after_ms,
        }
    }
}

impl From<crate::decide::Refusal> for Failure {
    fn from(refusal: crate::decide::Refusal) -> Self {
        Self::refused(refusal.message, refusal.remedy)
    }
}

/// Something done to the world. Journalled before it is done; its seq is the idempotency key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Effect {
    /// Read the issue from the tracker.
    FetchIssue,
    /// Make the workspace at this path, on this branch or the next free one.
    CreateWorkspace {
        /// The wanted branch.
        branch: String,
        /// Absolute path.
        path: String,
        /// The default branch it starts from.
        base: String,
        /// The branch holds work to go on with.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        existing: bool,
    },
    /// Make the workspace of the session's branch again.
    RestoreWorkspace,
    /// Run the project's set-up commands.
    PostCreate,
    /// Start the agent.
    CreateRuntime {
        /// Which start.
        launch: Launch,
        /// Go on with the earlier conversation.
        resume: bool,
    },
    /// Hand a message to the agent and see it confirmed.
    TypeMessage {
        /// Which.
        message: MessageId,
    },
    /// Give a message to the hook that told of the turn's end: the turn goes on with it.
    HandOverMessage {
        /// Which.
        message: MessageId,
        /// When that hook was started: it alone may be told twice.
        hook: Option<u64>,
    },
    /// Hand a human's decision to the agent.
    DecideRequest {
        /// Which request.
        request: RequestId,
    },
    /// Merge the session's pull request.
    MergePr {
        /// At this head, and at no other.
        head: String,
        /// How; none = as the repository allows.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        method: Option<MergeMethod>,
    },
    /// Run the failed checks of the session's pull request again.
    RerunChecks {
        /// Of this head.
        head: String,
    },
    /// Open a pull request for the session's branch.
    OpenPr {
        /// One line; none = from the task.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        title: Option<Text>,
        /// The text.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        body: Option<Text>,
        /// Not ready for review.
        draft: bool,
        /// What it goes into; none = the project's default branch.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        base: Option<String>,
    },
    /// Open the session's closed pull request again.
    ReopenPr,
    /// Close the session's issue: its pull request was merged.
    CloseIssue,
    /// End the agent.
    DestroyRuntime {
        /// Which start of it.
        launch: Launch,
    },
    /// Remove the workspace.
    DestroyWorkspace {
        /// How.
        removal: ao_slots::workspace::Removal,
    },
    /// Send a new message on a channel.
    SendNotification {
        /// Which.
        notification: NotificationId,
        /// Where.
        channel: ChannelName,
        /// At which revision.
        revision: u32,
        /// Says that it may be a repetition.
        again: bool,
    },
    /// Change a sent message without a buzz.
    UpdateNotification {
        /// Which.
        notification: NotificationId,
        /// Where.
        channel: ChannelName,
        /// At which revision.
        revision: u32,
    },
    /// Show a sent message as settled.
    ResolveNotification {
        /// Which.
        notification: NotificationId,
        /// Where.
        channel: ChannelName,
        /// At which revision.
        revision: u32,
    },
}

impl Effect {
    /// The message that it sends or changes.
    pub fn notification(&self) -> Option<NotificationId> {
        match self {
            Self::SendNotification { notification, .. }
            | Self::UpdateNotification { notification, .. }
            | Self::ResolveNotification { notification, .. } => Some(*notification),
            _ => None,
        }
    }
}

/// What a human can have done about a session's pull request, beside a merge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum PrAct {
    /// One is opened.
    Open,
    /// It is opened again.
    Reopen,
    /// Its failed checks are run again.
    Rerun {
        /// Of this head, and of no other.
        head: String,
    },
}

impl PrAct {
    /// The effect that does it.
    pub fn effect(&self) -> Effect {
        match self {
            Self::Open => Effect::OpenPr { title: None, body: None, draft: false, base: None },
            Self::Reopen => Effect::ReopenPr,
            Self::Rerun { head } => Effect::RerunChecks { head: head.clone() },
        }
    }
}

/// What an effect brought.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "got", rename_all = "kebab-case")]
pub enum Outcome {
    /// Nothing but success.
    Done,
    /// The issue, as far as the session needs it.
    Issue {
        /// One line.
        title: Text,
        /// What the agent will be told.
        prompt: Text,
        /// The prompt's digest.
        digest: String,
        /// The branch that the tracker asks for.
        branch: Option<String>,
    },
    /// The workspace.
    Workspace(WorkspaceInfo),
    /// The set-up commands ran.
    PostCreate {
        /// The failed command and its exit code.
        failed: Option<(String, Option<i32>)>,
        /// The last line that says something.
        last_line: Text,
        /// Lines in the log.
        lines: u64,
        /// The commands, as the configuration writes them.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        commands: Vec<String>,
    },
    /// The agent runs.
    Runtime {
        /// Finds it again.
        handle: RuntimeHandle,
        /// The conversation's id, where the plan fixes it.
        native_id: Option<String>,
        /// Where the transcript will lie.
        transcript: Option<String>,
        /// The agent signals by hooks.
        signals: bool,
        /// The first prompt went in with the launch.
        prompted: bool,
        /// It goes on with the earlier conversation.
        resumed: bool,
        /// It could go on with this conversation another time.
        resumable: bool,
        /// The program's name, e.g. `claude`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        program: Option<String>,
    },
    /// The pull request was merged.
    Merged {
        /// The resulting commit.
        commit: String,
    },
    /// The pull request is open.
    PrOpened(PrRef),
    /// The workspace is gone.
    Removed(ao_slots::workspace::Removed),
    /// The provider took the message.
    Sent {
        /// What edits it later.
        handle: Option<ChannelHandle>,
        /// How far it came.
        reached: Reached,
    },
}

/// Why a session is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Over {
    /// Its pull request was merged.
    Merged,
    /// Done by evidence, or a human said so.
    Done,
    /// A human ended it.
    Killed,
    /// It was never started: the set-up failed and was undone.
    Failed,
}

/// What keeps a human from being called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "kebab-case")]
pub enum Held {
    /// A human does not want to hear of it.
    Silence {
        /// Which silence.
        silence: SilenceId,
    },
    /// Whoever would be told wants quiet at this hour.
    Quiet,
    /// Whoever would be told sees it anyway.
    Present,
    /// As many messages as are wanted in a day were sent: it goes into the digest.
    Budget,
    /// It is not urgent: it goes into the digest.
    Digest,
}

/// Whom a message calls, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Call {
    /// The people it is for, the one who was called last at the end; empty = whoever there is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub people: Vec<String>,
    /// It stands beside the earlier messages about the same, and takes their place only on its own channels.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub beside: bool,
    /// As loud as a channel can be.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub emergency: bool,
    /// It tells what quiet hours held back.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub held: bool,
    /// The how-manieth reminder it is.
    #[serde(skip_serializing_if = "is_none")]
    pub reminder: u32,
    /// How many steps of the escalation were taken.
    #[serde(skip_serializing_if = "is_none")]
    pub raised: u32,
    /// When the last of them was taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stepped: Option<Timestamp>,
    /// When they were called for it first; none = with this message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_none(count: &u32) -> bool {
    *count == 0
}

impl Call {
    /// The first about its matter, for whoever there is.
    fn is_first(&self) -> bool {
        *self == Self::default()
    }
}

/// How an incident ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Settled {
    /// Its cause went away by itself.
    ByItself,
    /// `ao` handled it.
    Handled,
    /// A human acted.
    By(Actor),
    /// The session is over.
    Over,
}

macro_rules! kinds {
    ($( $(#[$doc:meta])* $class:ident $name:literal $variant:ident { $( $(#[$fdoc:meta])* $field:ident : $ty:ty ),* $(,)? } )*) => {
        /// What an event says, by kind. A kind that this version does not know survives as it is.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Kind {
            $( $(#[$doc])* $variant($variant), )*
            /// A kind of a newer version: kept, not understood.
            Unknown(UnknownKind),
        }

        $( $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        pub struct $variant { $( $(#[$fdoc])* pub $field: $ty, )* }

        impl From<$variant> for Kind {
            fn from(data: $variant) -> Self {
                Self::$variant(data)
            }
        } )*

        impl Kind {
            /// Its name in the journal.
            pub fn name(&self) -> &str {
                match self {
                    $( Self::$variant(_) => $name, )*
                    Self::Unknown(unknown) => &unknown.kind,
                }
            }

            /// Its class.
            pub fn class(&self) -> Class {
                match self {
                    $( Self::$variant(_) => Class::$class, )*
                    Self::Unknown(unknown) => unknown.class,
                }
            }

            fn write_data(&self, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
                match self {
                    $( Self::$variant(data) => serde_json::to_writer(out, data), )*
                    Self::Unknown(unknown) => {
                        out.extend_from_slice(unknown.data.as_bytes());
                        Ok(())
                    }
                }
            }

            fn read(class: Class, kind: &str, version: u16, data: &RawValue) -> Result<Self, serde_json::Error> {
                match kind {
                    $( $name if version == 1 => read_data(data).map(Self::$variant), )*
                    _ => Ok(Self::Unknown(UnknownKind {
                        class, kind: kind.to_owned(), version, data: data.get().to_owned(),
                    })),
                }
            }

            /// All names, for documentation and tests.
            pub const NAMES: &'static [(Class, &'static str)] = &[ $( (Class::$class, $name), )* ];
        }
    };
}

fn read_data<T: DeserializeOwned>(data: &RawValue) -> Result<T, serde_json::Error> {
    serde_json::from_str(data.get())
}

/// An event of a kind that this version does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownKind {
    /// Its class.
    pub class: Class,
    /// Its name.
    pub kind: String,
    /// Its version.
    pub version: u16,
    /// Its data, byte for byte.
    pub data: String,
}

kinds! {
    /// The server began to serve.
    Obs "server.started" ServerStarted {
        /// The data directory's identity.
        instance: InstanceId,
        /// The kernel's boot id.
        boot: String,
        /// What awake time minus the monotonic clock is from now on, in milliseconds.
        offset_ms: i64,
        /// The program's version.
        version: String,
        /// Its process.
        pid: i32,
        /// How long nothing served, in milliseconds of wall time; none at the very first start.
        away_ms: Option<u64>,
        /// The last server said good-bye.
        clean: bool,
        /// The machine's time zone, as the IANA names it; none where it has no such name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        zone: Option<String>,
    }
    /// The server said good-bye; agents go on.
    Obs "server.stopped" ServerStopped {
        /// Why, and by whom where that is known: `stop by ana`, `restart by ana`, `signal`.
        reason: String,
    }
    /// The wall clock and the awake clock disagree by more than a few seconds: a sleep or a set clock.
    Obs "clock.jumped" ClockJumped {
        /// Wall time that passed beyond the awake time, in milliseconds; negative when the clock was set back.
        ahead_ms: i64,
    }
    /// Everything was looked at once since the start, sleep or jump: limits may be judged again.
    Obs "sweep.completed" SweepCompleted {
        /// Sessions looked at.
        sessions: u32,
    }
    /// A configuration rules from here on.
    Obs "config.applied" ConfigApplied {
        /// SHA-256 of the resolved policy.
        hash: String,
        /// The policy, secrets as references.
        policy: Box<Policy>,
        /// What each channel can do.
        channels: BTreeMap<ChannelName, NotifierCapabilities>,
    }
    /// A changed configuration is not used.
    Obs "config.refused" ConfigRefused {
        /// Which file.
        file: String,
        /// Why: the first error, or the keys that wait for trust.
        reason: Text,
        /// It has no error: all that is missing is a human's trust in what it changes.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        untrusted: bool,
    }
    /// The configuration that was refused is good again, or gone.
    Obs "config.accepted" ConfigAccepted {
        /// Which file.
        file: String,
    }
    /// A human asked for a session.
    Obs "session.requested" SessionRequested {
        /// Who.
        by: Actor,
        /// The issue's id in the tracker; none for a prompt.
        issue: Option<String>,
        /// What it is about, for a prompt its first words.
        title: Text,
        /// What the agent will be told; empty until an issue is read.
        prompt: Text,
        /// The prompt's digest; for an issue that of the text which a human read, or empty.
        digest: String,
        /// Names of the variables that the client handed over.
        env_names: Vec<String>,
        /// Plugin names that differ from the project's: agent.
        agent: Option<String>,
        /// Names the branch that already holds the work.
        branch: Option<String>,
    }
    /// What the runtime says of a session's process.
    Obs "runtime.observed" RuntimeObserved {
        /// Which start.
        launch: Launch,
        /// What it is.
        state: RuntimeState,
        /// The process.
        process: Option<ProcessId>,
        /// The last lines on its screen, where it ended.
        tail: Option<Text>,
        /// The runtime's own server is another or gone: not the agent's own end.
        server_lost: bool,
    }
    /// What an agent does.
    Obs "activity.observed" ActivityObserved {
        /// Which start.
        launch: Launch,
        /// What.
        activity: Activity,
        /// Who says so.
        source: Source,
        /// In its own words.
        text: Option<Text>,
    }
    /// The agent can be talked to.
    Obs "agent.started" AgentStarted {
        /// Which start.
        launch: Launch,
        /// The conversation.
        native_id: Option<String>,
        /// Where the transcript lies.
        transcript: Option<String>,
        /// The agent's version.
        version: Option<String>,
    }
    /// A turn began.
    Obs "turn.started" TurnStarted {
        /// Which start.
        launch: Launch,
        /// The turn.
        turn: Option<String>,
        /// The queued message that it began with.
        confirms: Option<MessageId>,
    }
    /// A turn ended.
    Obs "turn.ended" TurnEnded {
        /// Which start.
        launch: Launch,
        /// The turn.
        turn: Option<String>,
        /// What the agent said last.
        last_words: Option<Text>,
        /// Work goes on in the background.
        background: bool,
    }
    /// A tool runs that takes its time.
    Obs "tool.started" ToolStarted {
        /// Which start.
        launch: Launch,
        /// The tool.
        tool: String,
        /// The command.
        command: Option<Text>,
    }
    /// The tool ended.
    Obs "tool.ended" ToolEnded {
        /// Which start.
        launch: Launch,
        /// The key of the request that it could have been, where none such was open.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request: Option<String>,
    }
    /// The agent moved: transcript growth, output. Journalled now and then only: enough for the limits.
    Obs "progress.observed" ProgressObserved {
        /// Which start.
        launch: Launch,
        /// It wrote to its terminal then; none when it moved now, by another sign.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        output: Option<Timestamp>,
    }
    /// The screen looks like a question that no hook told of.
    Obs "question.suspected" QuestionSuspected {
        /// Which start.
        launch: Launch,
        /// The line.
        text: Text,
    }
    /// The agent says that it has completed its task.
    Obs "completion.claimed" CompletionClaimed {
        /// Which start.
        launch: Launch,
        /// Its words.
        text: Option<Text>,
    }
    /// What lies in the workspace.
    Obs "work.observed" WorkObserved {
        /// What.
        work: WorkFacts,
    }
    /// Which pull request is the session's.
    Obs "pr.linked" PrLinked {
        /// The pull request.
        pr: PrRef,
        /// The human who says so; none = found by its branch, or opened by the agent.
        by: Option<Actor>,
    }
    /// What the agent is to be told about a trouble with its pull request.
    Obs "brief.prepared" BriefPrepared {
        /// Which trouble.
        trigger: Trigger,
        /// What it is about; of another it says nothing.
        key: String,
        /// The message.
        text: Text,
        /// Its digest.
        digest: String,
        /// Whose words are in it who may not write to the repository: a human releases it first.
        held: Vec<String>,
    }
    /// A human lets a brief with words of strangers go to the agent.
    Obs "brief.released" BriefReleased {
        /// Which trouble.
        trigger: Trigger,
        /// What it was about when he looked.
        key: String,
        /// Who.
        by: Actor,
    }
    /// A human has the agent told of a trouble once more.
    Obs "retry.requested" RetryRequested {
        /// The incident that told him of it.
        incident: IncidentId,
        /// The trouble.
        trigger: Trigger,
        /// Who.
        by: Actor,
    }
    /// A human wants something done about a session's pull request.
    Obs "pr.act-requested" PrActRequested {
        /// What.
        act: PrAct,
        /// Who.
        by: Actor,
    }
    /// A human wants the pull request merged.
    Obs "merge.requested" MergeRequested {
        /// At this head.
        head: String,
        /// How; none = as the project says.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        method: Option<MergeMethod>,
        /// Who.
        by: Actor,
    }
    /// A plugin without a service keeps something here.
    Obs "record.written" RecordWritten {
        /// The plugin.
        plugin: String,
        /// The values; none = it is gone.
        values: BTreeMap<String, Option<serde_json::Value>>,
    }
    /// What the scm says of the session's pull request.
    Obs "pr.observed" PrObserved {
        /// What.
        pr: PrFacts,
    }
    /// Whether a project's scm answers.
    Obs "scm.observed" ScmObserved {
        /// Why it does not; none = it does.
        failure: Option<Failure>,
    }
    /// What a stretch of the conversation used and said.
    Obs "usage.observed" UsageObserved {
        /// Figures: tokens of this stretch alone, of the rest the latest.
        usage: Usage,
        /// How far the transcript is read with it, in bytes.
        offset: u64,
    }
    /// Whether the tracker says that the issue is closed.
    Obs "issue.observed" IssueObserved {
        /// Closed.
        completed: bool,
    }
    /// The agent waits for a human.
    Obs "request.opened" RequestOpened {
        /// Its id.
        request: RequestId,
        /// Which start.
        launch: Launch,
        /// The agent's own key.
        key: String,
        /// The turn.
        turn: Option<String>,
        /// The tool.
        tool: String,
        /// What, texts cut to the excerpt.
        ask: Ask,
        /// The whole text, where it was cut.
        full: Option<BlobRef>,
        /// Whether a waiting hook can carry the decision.
        answerable: bool,
    }
    /// The agent waits no more.
    Obs "request.ended" RequestEnded {
        /// Which.
        request: RequestId,
        /// How: `confirmed`, `in-terminal`, `turn-ended`, `new-turn`, `restarted`, `over`.
        how: String,
    }
    /// A human decided a request.
    Obs "request.decided" RequestDecided {
        /// Which.
        request: RequestId,
        /// How; an answer's text is cut to the excerpt.
        decision: Decision,
        /// The whole answer, where it was cut.
        full: Option<BlobRef>,
        /// Who.
        by: Actor,
    }
    /// Somebody sends text to an agent.
    Obs "message.requested" MessageRequested {
        /// Its id.
        message: MessageId,
        /// The text.
        text: Text,
        /// What the whole text is recognised by when the agent repeats it, see [`digest`].
        digest: String,
        /// Who.
        by: Actor,
    }
    /// There is evidence that the agent has the message.
    Obs "message.confirmed" MessageConfirmed {
        /// Which.
        message: MessageId,
        /// By what: `hook`, `transcript`, `stdin`, `launch`.
        evidence: String,
    }
    /// A human wants the session killed.
    Obs "kill.requested" KillRequested {
        /// Who.
        by: Actor,
        /// Remove the workspace even with unsaved work (it is kept in a ref).
        force: bool,
    }
    /// A human says that the session is done.
    Obs "done.marked" DoneMarked {
        /// Who.
        by: Actor,
    }
    /// A human wants an ended session back.
    Obs "restore.requested" RestoreRequested {
        /// Who.
        by: Actor,
        /// Starts anew: gives the first prompt again.
        fresh: bool,
        /// Names of the variables that the client handed over, where the first ones were not kept any more.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        env_names: Option<Vec<String>>,
    }
    /// A human wants the workspace of a session that is over removed.
    Obs "cleanup.requested" CleanupRequested {
        /// Who.
        by: Actor,
        /// Even with unsaved work (it is kept in a ref).
        force: bool,
    }
    /// A human saw an incident and takes it.
    Obs "incident.acknowledged" IncidentAcknowledged {
        /// Which.
        incident: IncidentId,
        /// Who.
        by: Actor,
    }
    /// A human wants to hear of an incident later.
    Obs "incident.snoozed" IncidentSnoozed {
        /// Which.
        incident: IncidentId,
        /// Until when.
        until: Timestamp,
        /// Who.
        by: Actor,
    }
    /// A human does not want to hear of some things for a while.
    Obs "silence.added" SilenceAdded {
        /// Its id.
        silence: SilenceId,
        /// Of what.
        matchers: Matchers,
        /// Until when.
        until: Timestamp,
        /// Who.
        by: Actor,
        /// Why, in his words; may be empty.
        comment: String,
    }
    /// A human wants to hear of it again before that.
    Obs "silence.ended" SilenceEnded {
        /// Which.
        silence: SilenceId,
        /// Who.
        by: Actor,
    }
    /// A browser or a program may come in by the web.
    Obs "access.granted" AccessGranted {
        /// Its id.
        access: AccessId,
        /// Which of them.
        kind: AccessKind,
        /// By what its owner knows it.
        name: String,
        /// SHA-256 of its secret, lower hex. The secret itself (128 random bits) is told once and kept nowhere.
        hash: String,
        /// Whose acts its acts are.
        person: String,
        /// What it may do.
        role: Role,
        /// Worth nothing after this; none = until it is revoked.
        until: Option<Timestamp>,
        /// Who let it in.
        by: Actor,
    }
    /// It may come in no more.
    Obs "access.revoked" AccessRevoked {
        /// Which.
        access: AccessId,
        /// Who.
        by: Actor,
    }
    /// A human wants the digest now.
    Obs "digest.requested" DigestRequested {
        /// Who.
        by: Actor,
    }
    /// A human types in a session's terminal, or a page about all of them is open before him; or no longer.
    Obs "presence.observed" PresenceObserved {
        /// He does.
        here: bool,
    }
    /// A channel was tried with a test message.
    Obs "channel.tried" ChannelTried {
        /// Which channel.
        channel: ChannelName,
        /// Why it did not take the message; none = it did.
        failure: Option<Failure>,
    }
    /// Buttons are about to leave this machine, each with a token that is good for one press.
    Obs "buttons.offered" ButtonsOffered {
        /// The message that shows them; none = a test of the channel.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        notification: Option<NotificationId>,
        /// On which channel.
        channel: ChannelName,
        /// In which revision of the message.
        revision: u32,
        /// The buttons.
        offers: Vec<Offer>,
    }
    /// A token was used: what its button asks for was taken up.
    Obs "token.spent" TokenSpent {
        /// The token's hash, see [`Offer::token`].
        token: String,
        /// By whom.
        by: Actor,
    }
    /// A human pressed a button of a message, and nothing came of it, or not all.
    Obs "press.refused" PressRefused {
        /// Of which message.
        notification: NotificationId,
        /// On which channel.
        channel: ChannelName,
        /// Which button.
        button: String,
        /// Who.
        by: Actor,
        /// Why, and the remedy.
        failure: Failure,
    }
    /// Free space where the data directory lies.
    Obs "disk.observed" DiskObserved {
        /// Bytes.
        free: u64,
        /// Below the limit.
        low: bool,
        /// Appends fail.
        failing: bool,
    }
    /// A file of `ao`'s own was changed by another, and restored.
    Obs "file.tampered" FileTampered {
        /// Which.
        path: String,
        /// Where the changed copy is kept.
        kept: Option<String>,
    }
    /// A stretch of the journal cannot be read.
    Obs "journal.gap" JournalGap {
        /// The first missing place.
        from: u64,
        /// The last missing place.
        to: u64,
    }
    /// An input that made `decide` panic was put aside.
    Obs "input.quarantined" InputQuarantined {
        /// Where it lies.
        file: String,
        /// The panic's message.
        message: Text,
    }

    /// A session's status is another.
    Dec "status.changed" StatusChanged {
        /// What it was.
        from: crate::state::Status,
        /// What it is.
        to: crate::state::Status,
    }
    /// A session is over.
    Dec "session.ended" SessionEnded {
        /// How.
        how: Over,
        /// Who, where a human said so.
        by: Option<Actor>,
        /// Its workspace stays until a human removes it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        keep: bool,
        /// Its issue is to be closed with it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        closes: bool,
    }
    /// The set-up failed and what it made is being undone.
    Dec "spawn.failed" SpawnFailed {
        /// Which step.
        step: String,
        /// Why.
        failure: Failure,
    }
    /// The set-up is finished: the agent runs and has its task.
    Dec "session.ready" SessionReady {}
    /// A session is brought back without asking.
    Dec "restore.decided" RestoreDecided {
        /// Why, e.g. `runtime-lost`.
        cause: Trigger,
    }
    /// `ao` ends a session by itself.
    Dec "kill.decided" KillDecided {
        /// Why.
        cause: Trigger,
    }
    /// A restore that was asked for came to its end.
    Dec "restore.settled" RestoreSettled {
        /// The agent runs again.
        ok: bool,
        /// Why not.
        failure: Option<Failure>,
    }
    /// A message waits for the agent.
    Dec "message.queued" MessageQueued {
        /// Its id.
        message: MessageId,
        /// The text.
        text: Text,
        /// What the whole text is recognised by when the agent repeats it, see [`digest`].
        digest: String,
        /// The session's first prompt.
        first: bool,
        /// The incident it answers.
        incident: Option<IncidentId>,
        /// The trouble with the pull request that it is about.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        about: Option<About>,
    }
    /// Nothing came of what the agent was told: its turn ended without another head.
    Dec "attempt.failed" AttemptFailed {
        /// The message.
        message: MessageId,
    }
    /// The configuration has the pull request merged.
    Dec "merge.decided" MergeDecided {
        /// At this head.
        head: String,
    }
    /// A message is given up.
    Dec "message.withdrawn" MessageWithdrawn {
        /// Which.
        message: MessageId,
        /// Why.
        reason: String,
    }
    /// Something may need a human.
    Dec "incident.opened" IncidentOpened {
        /// Its id.
        incident: IncidentId,
        /// About what.
        subject: Subject,
        /// Why.
        trigger: Trigger,
        /// How urgent.
        priority: Priority,
        /// The request behind it.
        request: Option<RequestId>,
        /// A finer kind of the trigger: `question`, `permission`, `setup`, `no-signal`, `suspected`, `late` ….
        detail: Option<String>,
        /// Sessions it names, for one about more than one.
        sessions: Vec<SessionId>,
        /// What it has in common with others of its trigger that come of one cause: a host, an account, failing jobs.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        common: Option<String>,
    }
    /// An open incident names other sessions, or is more urgent.
    Dec "incident.changed" IncidentChanged {
        /// Which.
        incident: IncidentId,
        /// How urgent now.
        priority: Priority,
        /// Sessions it names now.
        sessions: Vec<SessionId>,
        /// The detail now.
        detail: Option<String>,
    }
    /// Its cause is gone; resolved when that holds for the settle time.
    Dec "incident.cleared" IncidentCleared {
        /// Which.
        incident: IncidentId,
        /// How.
        how: Settled,
    }
    /// Its cause is back before it was resolved: the same incident.
    Dec "incident.reopened" IncidentReopened {
        /// Which.
        incident: IncidentId,
    }
    /// It is over.
    Dec "incident.resolved" IncidentResolved {
        /// Which.
        incident: IncidentId,
        /// How.
        how: Settled,
    }
    /// A human will be told.
    Dec "notification.opened" NotificationOpened {
        /// Its id.
        notification: NotificationId,
        /// About what; none for a summary.
        incident: Option<IncidentId>,
        /// All incidents that the message covers, the most urgent first.
        covers: Vec<IncidentId>,
        /// Where.
        channels: Vec<ChannelName>,
        /// The channels that carry only some of them.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        parts: BTreeMap<ChannelName, Vec<IncidentId>>,
        /// The title, for logs.
        title: String,
        /// The summary's own text, for one without an incident.
        summary: Option<Summary>,
        /// Whom it calls, and how.
        #[serde(default, skip_serializing_if = "Call::is_first")]
        call: Call,
    }
    /// Nobody reacted to a message: further channels or people are called.
    Dec "notification.escalated" NotificationEscalated {
        /// Which message nobody reacted to.
        notification: NotificationId,
        /// How many such steps were taken for it with this one.
        step: u32,
        /// Who is called now.
        people: Vec<String>,
        /// Where.
        channels: Vec<ChannelName>,
    }
    /// An incident is due, and no human is called for it now.
    Dec "notification.held" NotificationHeld {
        /// Which.
        incident: IncidentId,
        /// What would have been said.
        title: String,
        /// What holds it back.
        why: Held,
    }
    /// What a human sees is to be changed in place.
    Dec "notification.changed" NotificationChanged {
        /// Which.
        notification: NotificationId,
        /// Counts up.
        revision: u32,
        /// No more than an edit remains: it is settled.
        settled: bool,
    }
    /// A message names one more incident of the same cause: an edit, nobody is called again.
    Dec "notification.joined" NotificationJoined {
        /// Which.
        notification: NotificationId,
        /// What it covers beside the others.
        incident: IncidentId,
        /// The channels that carry it there.
        channels: Vec<ChannelName>,
        /// Counts up.
        revision: u32,
    }
    /// A delivery is given up.
    Dec "delivery.dropped" DeliveryDropped {
        /// Which.
        notification: NotificationId,
        /// Where.
        channel: ChannelName,
        /// Why.
        reason: String,
    }
    /// A message may not go out on a channel for now.
    Dec "delivery.held" DeliveryHeld {
        /// Which.
        notification: NotificationId,
        /// Where.
        channel: ChannelName,
        /// What holds it back.
        why: Held,
        /// Until when; none = until something happens, or for good.
        until: Option<Timestamp>,
    }
    /// An urgent message goes to a further channel: the one that it went to has not taken it.
    Dec "delivery.added" DeliveryAdded {
        /// Which.
        notification: NotificationId,
        /// Where it goes too.
        channel: ChannelName,
        /// Which channel has not taken it.
        instead_of: ChannelName,
    }
    /// A digest was put together; what comes up from here on goes into the next.
    Dec "digest.completed" DigestCompleted {
        /// For the channels with this rhythm.
        every: DigestEvery,
    }
    /// Every session of a round is over or only waits for a merge.
    Dec "round.completed" RoundCompleted {
        /// Its sessions.
        sessions: Vec<SessionId>,
    }

    /// An effect is about to be performed.
    Int "effect.intended" EffectIntended {
        /// What.
        effect: Effect,
    }
    /// It succeeded.
    Out "effect.succeeded" EffectSucceeded {
        /// The intent.
        intent: Seq,
        /// What it brought.
        outcome: Outcome,
    }
    /// It surely did not happen.
    Out "effect.failed" EffectFailed {
        /// The intent.
        intent: Seq,
        /// Why.
        failure: Failure,
        /// A message is not tried again on this channel before; none where it may be at once.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        not_before: Option<Timestamp>,
        /// Nothing goes out on the whole channel before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        channel_not_before: Option<Timestamp>,
    }
    /// Nobody knows whether it happened: to be settled by looking.
    Out "effect.doubted" EffectDoubted {
        /// The intent.
        intent: Seq,
        /// Why.
        reason: String,
    }
}

/// A message that is not about one incident.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// What it is, e.g. `all-complete`.
    pub kind: String,
    /// One or two sentences.
    pub short: String,
    /// Lines of the body, behind its parts.
    pub lines: Vec<String>,
    /// Parts of the body.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<SummaryPart>,
}

/// A part of a summary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SummaryPart {
    /// What it is about, and how many.
    pub title: String,
    /// A line each.
    pub lines: Vec<String>,
}

#[derive(Deserialize)]
struct Wire<'a> {
    seq: u64,
    at: Timestamp,
    #[serde(default)]
    awake: u64,
    class: Class,
    #[serde(borrow)]
    kind: Cow<'a, str>,
    v: u16,
    #[serde(default)]
    session: Option<SessionId>,
    #[serde(default)]
    project: Option<ProjectId>,
    #[serde(default)]
    hook: Option<u64>,
    #[serde(default)]
    act: Option<String>,
    #[serde(default)]
    because: Vec<u64>,
    #[serde(default)]
    rule: Option<String>,
    #[serde(borrow)]
    data: &'a RawValue,
}

#[derive(Serialize)]
struct WireHead<'a> {
    seq: u64,
    at: Timestamp,
    awake: u64,
    class: Class,
    kind: &'a str,
    v: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<&'a SessionId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    project: Option<&'a ProjectId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hook: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    act: Option<&'a str>,
    #[serde(skip_serializing_if = "<[u64]>::is_empty")]
    because: &'a [u64],
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<&'a str>,
}

impl Event {
    /// The event as one JSON object, without checksum and newline.
    pub fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        let because: Vec<u64> = self.because.iter().map(|seq| seq.0).collect();
        let version = match &self.kind {
            Kind::Unknown(unknown) => unknown.version,
            _ => 1,
        };
        let mut out = serde_json::to_vec(&WireHead {
            seq: self.seq.0,
            at: self.at,
            awake: self.awake,
            class: self.kind.class(),
            kind: self.kind.name(),
            v: version,
            session: self.session.as_ref(),
            project: self.project.as_ref(),
            hook: self.hook,
            act: self.act.as_deref(),
            because: &because,
            rule: self.rule.as_deref(),
        })?;
        out.pop();
        out.extend_from_slice(b",\"data\":");
        self.kind.write_data(&mut out)?;
        out.push(b'}');
        Ok(out)
    }

    /// Reads what [`Event::encode`] wrote, with or without further members such as the checksum.
    pub fn decode(json: &[u8]) -> Result<Self, serde_json::Error> {
        let wire: Wire<'_> = serde_json::from_slice(json)?;
        Ok(Self {
            seq: Seq(wire.seq),
            at: wire.at,
            awake: wire.awake,
            session: wire.session,
            project: wire.project,
            hook: wire.hook,
            act: wire.act,
            because: wire.because.into_iter().map(Seq).collect(),
            rule: wire.rule.map(Cow::Owned),
            kind: Kind::read(wire.class, &wire.kind, wire.v, wire.data)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: Kind) -> Event {
        Event {
            seq: Seq(7),
            at: "2026-11-21T14:28:03Z".parse().unwrap(),
            awake: 12,
            session: Some("app-3".parse().unwrap()),
            project: None,
            hook: Some(9),
            act: Some("k1".into()),
            because: vec![Seq(3)],
            rule: Some("settle-window".into()),
            kind,
        }
    }

    #[test]
    fn an_event_reads_back_what_it_wrote() {
        let kinds: Vec<Kind> = vec![
            SessionReady {}.into(),
            EffectIntended { effect: Effect::CreateRuntime { launch: Launch(2), resume: true } }
                .into(),
            EffectSucceeded { intent: Seq(4), outcome: Outcome::Done }.into(),
            EffectSucceeded { intent: Seq(4), outcome: Outcome::Removed(Default::default()) }
                .into(),
            IncidentCleared {
                incident: IncidentId(1),
                how: Settled::By(Actor { name: "ana".into(), via: "cli".into() }),
            }
            .into(),
        ];
        for kind in kinds {
            let event = event(kind);
            assert_eq!(Event::decode(&event.encode().unwrap()).unwrap(), event);
        }
    }

    #[test]
    fn r25_a_kind_of_a_newer_version_survives_byte_for_byte() {
        let line = br#"{"seq":7,"at":"2026-11-21T14:28:03Z","awake":12,"class":"obs","kind":"moon.risen","v":3,"data":{"b":1, "a":[2]}}"#;
        let event = Event::decode(line).unwrap();
        assert!(
            matches!(&event.kind, Kind::Unknown(u) if u.kind == "moon.risen" && u.version == 3)
        );
        assert_eq!(event.encode().unwrap(), line);
    }

    #[test]
    fn kind_names_are_a_noun_and_a_past_tense_and_unique() {
        let mut names: Vec<_> = Kind::NAMES.iter().map(|(_, name)| *name).collect();
        assert!(names.iter().all(|name| {
            name.split_once('.').is_some_and(|(noun, verb)| !noun.is_empty() && !verb.is_empty())
        }));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Kind::NAMES.len());
    }
}
