//! What can come in, and what a caller hears.

use std::collections::{BTreeMap, BTreeSet};

use ao_slots::{
    AccessId, ChannelName, IncidentId, InstanceId, Launch, MessageId, NotificationId, ProjectId,
    RequestId, Seq, SessionId, SilenceId,
    agent::{Ask, Decision, Usage},
    fact::{Activity, AgentErrorKind, PrFacts, RuntimeState, Source, WorkFacts},
    notifier::NotifierCapabilities,
    process::ProcessId,
    scm::{MergeMethod, PrRef},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    blob::BlobRef,
    config::policy::{Policy, Role},
    event::{About, AccessKind, Actor, Failure, Offer, Outcome, PrAct, Text},
    state::Matchers,
};

/// One thing that came in. Serialisable, so that one that breaks a rule can be put aside and looked at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "input", rename_all = "kebab-case")]
pub enum Input {
    /// Time passed: look at what is due.
    Tick,
    /// The server serves.
    Started {
        /// The data directory's identity.
        instance: InstanceId,
        /// The kernel's boot id.
        boot: String,
        /// The monotonic clock in milliseconds.
        monotonic_ms: u64,
        /// The program's version.
        version: String,
        /// Its process.
        pid: i32,
        /// The last sign of life of the server before, where it left one.
        #[serde(default)]
        alive: Option<Timestamp>,
        /// The machine's time zone, as the IANA names it.
        #[serde(default)]
        zone: Option<String>,
    },
    /// Where humans are now, all of it.
    Presence {
        /// Sessions in whose terminal somebody typed in the last minutes.
        sessions: BTreeSet<SessionId>,
        /// A page that shows all sessions is open before somebody.
        page: bool,
    },
    /// The server is about to end.
    Stopping {
        /// Why.
        reason: String,
    },
    /// The clocks disagree.
    ClockJumped {
        /// Wall time beyond awake time, in milliseconds.
        ahead_ms: i64,
    },
    /// A configuration is to rule.
    Config {
        /// Its hash.
        hash: String,
        /// What it says.
        policy: Box<Policy>,
        /// What each channel can do.
        channels: BTreeMap<ChannelName, NotifierCapabilities>,
    },
    /// What a channel can do was found out.
    Learned {
        /// The channel.
        channel: ChannelName,
        /// What it can do.
        can: Box<NotifierCapabilities>,
    },
    /// A human pressed a button of a message: what it asks for is tried, each for itself. What of it is refused
    /// is recorded, and is what the caller hears as [`Answered::note`].
    Press {
        /// What was pressed.
        pressed: Pressed,
        /// What it asks for.
        acts: Vec<Input>,
        /// Who.
        by: Actor,
    },
    /// A human pressed a button of an incident's card on a page: it counts while the card offers it.
    PressCard {
        /// The incident.
        incident: IncidentId,
        /// The button's id, as [`Words::card`](crate::words::Words::card) names it.
        button: String,
        /// What it asks for.
        acts: Vec<Input>,
    },
    /// A press that could not be understood or tried: recorded, and shown where it was pressed.
    PressFailed {
        /// What was pressed.
        pressed: Pressed,
        /// Why.
        failure: Failure,
        /// Who.
        by: Actor,
    },
    /// Buttons are about to leave this machine.
    Offer {
        /// The message that shows them; none = a test of the channel.
        notification: Option<NotificationId>,
        /// On which channel.
        channel: ChannelName,
        /// In which revision of the message.
        revision: u32,
        /// The buttons.
        offers: Vec<Offer>,
    },
    /// The button of a test was pressed.
    TestPressed {
        /// Its token's hash.
        token: String,
        /// Who.
        by: Actor,
    },
    /// A channel was tried with a test message.
    Tried {
        /// On which channel.
        channel: ChannelName,
        /// Why it did not take it.
        failure: Option<Failure>,
    },
    /// A changed configuration cannot be used.
    ConfigRefused {
        /// Which file.
        file: String,
        /// Why.
        reason: Text,
        /// It only waits for a human's trust.
        untrusted: bool,
    },
    /// It can be used again.
    ConfigAccepted {
        /// Which file.
        file: String,
    },
    /// Free space was measured.
    Disk {
        /// Bytes.
        free: u64,
        /// Appends fail.
        failing: bool,
    },
    /// A file of ours was changed by another and restored.
    Tampered {
        /// Which.
        path: String,
        /// Where the changed copy is.
        kept: Option<String>,
    },
    /// A stretch of the journal cannot be read.
    Gap {
        /// First missing place.
        from: u64,
        /// Last missing place.
        to: u64,
    },
    /// An earlier input was put aside.
    Quarantined {
        /// Where.
        file: String,
        /// Why.
        message: Text,
    },
    /// Everything was looked at once.
    Swept {
        /// How many sessions.
        sessions: u32,
    },
    /// The runtime's answer about sessions.
    Runtime {
        /// One entry a session.
        seen: Vec<RuntimeSeen>,
    },
    /// What lies in a workspace.
    Work {
        /// Whose.
        session: SessionId,
        /// What.
        work: WorkFacts,
    },
    /// What the scm says.
    Pr {
        /// Whose.
        session: SessionId,
        /// What.
        pr: PrFacts,
    },
    /// Which pull request a session's is.
    Link {
        /// Whose.
        session: SessionId,
        /// The pull request.
        pr: PrRef,
        /// The human who says so; none = found by its branch.
        by: Option<Actor>,
    },
    /// What the agent is to be told about a trouble.
    Brief {
        /// Whose.
        session: SessionId,
        /// Which trouble, as it stands.
        about: About,
        /// The message.
        text: Text,
        /// Its digest.
        digest: String,
        /// Whose words are in it who may not write to the repository.
        held: Vec<String>,
    },
    /// A human lets what strangers say go to the agent.
    Release {
        /// The incident that waits for it.
        incident: IncidentId,
        /// The digest of what he was shown: nothing else is let go.
        digest: String,
        /// Who.
        by: Actor,
    },
    /// A human has the agent told of a trouble with its pull request once more.
    Retry {
        /// The incident that told him of it.
        incident: IncidentId,
        /// Who.
        by: Actor,
    },
    /// A human wants something done about a session's pull request.
    ActOnPr {
        /// Whose.
        session: SessionId,
        /// What.
        act: PrAct,
        /// Who.
        by: Actor,
    },
    /// A human wants a session's pull request merged.
    Merge {
        /// Whose.
        session: SessionId,
        /// At this head; none = at the present one.
        head: Option<String>,
        /// How; none = as the project says.
        #[serde(default)]
        method: Option<MergeMethod>,
        /// Who.
        by: Actor,
    },
    /// Somebody wants a pull request for a session's branch.
    OpenPr {
        /// Whose.
        session: SessionId,
        /// One line; none = from the task.
        title: Option<Text>,
        /// Its text.
        body: Option<Text>,
        /// Not ready for review.
        draft: bool,
        /// What it goes into; none = the project's default branch.
        base: Option<String>,
    },
    /// A plugin without a service keeps something.
    Record {
        /// Of which project.
        project: ProjectId,
        /// The plugin.
        plugin: String,
        /// The values; none = it is gone.
        values: BTreeMap<String, Option<serde_json::Value>>,
    },
    /// Whether a project's scm answers.
    Scm {
        /// Which project.
        project: ProjectId,
        /// Why it does not; none = it does.
        failure: Option<Failure>,
    },
    /// Whether the issue is closed.
    Issue {
        /// Whose.
        session: SessionId,
        /// Closed.
        completed: bool,
    },
    /// What an agent tells.
    Signals {
        /// Which session.
        session: SessionId,
        /// Which start of it; of another than the present one it is dropped.
        launch: Launch,
        /// Through what.
        source: Source,
        /// When the hook that tells it was started, see [`HookCall::started`](crate::server::HookCall::started).
        #[serde(default)]
        started: Option<u64>,
        /// What, in order.
        told: Vec<Told>,
    },
    /// What became of an effect.
    Effect {
        /// The intent.
        intent: Seq,
        /// What it brought; `Err(kind: InDoubt)` when nobody knows.
        result: Result<Outcome, Failure>,
    },
    /// A human's act that its client repeats where it heard no answer: it is done once.
    Once {
        /// Made by the client, another one for each act.
        key: String,
        /// The act.
        act: Box<Input>,
    },
    /// A human wants a session.
    Spawn(Box<Spawn>),
    /// A human decides a request of a session.
    Decide {
        /// Which session.
        session: SessionId,
        /// Which request; none = the one that is open.
        request: Option<RequestId>,
        /// How.
        decision: Decision,
        /// The whole answer, where `decision` holds only its beginning.
        full: Option<BlobRef>,
        /// Who.
        by: Actor,
    },
    /// A human sends text to an agent.
    Send {
        /// Which session.
        session: SessionId,
        /// What.
        text: Text,
        /// Its digest.
        digest: String,
        /// Who.
        by: Actor,
    },
    /// A human wants a session killed.
    Kill {
        /// Which.
        session: SessionId,
        /// Remove the workspace even with unsaved work.
        force: bool,
        /// Who.
        by: Actor,
    },
    /// A human says that a session is done.
    Done {
        /// Which.
        session: SessionId,
        /// Who.
        by: Actor,
    },
    /// A human wants an ended session back.
    Restore {
        /// Which.
        session: SessionId,
        /// With the first prompt, in a new conversation.
        fresh: bool,
        /// Names of the variables that the client hands over, where the first ones are not kept any more.
        #[serde(default)]
        env_names: Option<Vec<String>>,
        /// Who.
        by: Actor,
    },
    /// A human wants the workspace of a session that is over removed.
    Cleanup {
        /// Which.
        session: SessionId,
        /// Even with unsaved work.
        force: bool,
        /// Who.
        by: Actor,
    },
    /// A human takes an incident.
    Acknowledge {
        /// Which.
        incident: IncidentId,
        /// Who.
        by: Actor,
    },
    /// A human lets a browser or a program in by the web.
    GrantAccess {
        /// What is let in.
        grant: Box<Grant>,
        /// SHA-256 of its secret, lower hex.
        hash: String,
    },
    /// A human takes it back.
    RevokeAccess {
        /// Which.
        access: AccessId,
        /// Who.
        by: Actor,
    },
    /// A human wants the digest now.
    DigestNow {
        /// Who.
        by: Actor,
    },
    /// A human does not want to hear of some things for a while.
    SilenceAdd {
        /// Of what.
        matchers: Matchers,
        /// Until when.
        until: Timestamp,
        /// Why, in his words; may be empty.
        comment: String,
        /// Who.
        by: Actor,
    },
    /// A human wants to hear of it again.
    SilenceEnd {
        /// Which silence.
        silence: SilenceId,
        /// Who.
        by: Actor,
    },
    /// A human wants to hear of it later.
    Snooze {
        /// Which.
        incident: IncidentId,
        /// Until.
        until: Timestamp,
        /// Who.
        by: Actor,
    },
}

/// A session to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spawn {
    /// In which project.
    pub project: ProjectId,
    /// On which issue; none = on a prompt.
    pub issue: Option<String>,
    /// What it is about.
    pub title: Text,
    /// What the agent is told; empty for an issue.
    pub prompt: Text,
    /// The prompt's digest; for an issue that of the text which a human read, or empty.
    pub digest: String,
    /// Names of the variables that the client hands over.
    pub env_names: Vec<String>,
    /// Another agent than the project's.
    pub agent: Option<String>,
    /// A branch that already holds the work.
    pub branch: Option<String>,
    /// Also when a session works on that issue.
    pub force: bool,
    /// Who.
    pub by: Actor,
}

/// What a runtime says of one session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuntimeSeen {
    /// Which.
    pub session: SessionId,
    /// Which start.
    pub launch: Launch,
    /// What.
    pub state: RuntimeState,
    /// Its process.
    pub process: Option<ProcessId>,
    /// Last lines of its screen.
    pub tail: Option<Text>,
    /// Its runtime's own server is another than it was made in, or gone.
    pub server_lost: bool,
    /// When it last wrote to its terminal, where that says that it moves.
    #[serde(default)]
    pub output: Option<Timestamp>,
}

/// What an agent tells, as the rules read it: a signal with its texts cut and put away.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "told", rename_all = "kebab-case")]
pub enum Told {
    /// It runs and can be talked to.
    Started {
        /// The conversation.
        native_id: Option<String>,
        /// The transcript.
        transcript: Option<String>,
        /// The agent's version.
        version: Option<String>,
    },
    /// A turn began.
    TurnStarted {
        /// Which.
        turn: Option<String>,
        /// Digest of what it began with.
        digest: Option<String>,
    },
    /// Somebody's text stands in the transcript.
    TextSeen {
        /// Its digest.
        digest: String,
    },
    /// A tool begins.
    ToolStarted {
        /// Which.
        tool: String,
        /// Its command.
        command: Option<Text>,
    },
    /// A tool ended.
    ToolEnded {
        /// The key of the request that it could have been.
        request: Option<String>,
    },
    /// It waits for a human.
    Asked {
        /// The agent's own key.
        key: String,
        /// The turn.
        turn: Option<String>,
        /// The tool.
        tool: String,
        /// What, texts cut.
        ask: Ask,
        /// The whole text, where it was cut.
        full: Option<BlobRef>,
        /// A waiting hook can carry the decision.
        answerable: bool,
    },
    /// It waits no more.
    RequestEnded {
        /// The agent's own key.
        key: String,
    },
    /// The turn ended.
    TurnEnded {
        /// Which.
        turn: Option<String>,
        /// Last words.
        last_words: Option<Text>,
        /// Work goes on in the background.
        background: bool,
    },
    /// The hook that told of this turn's end waits for what the agent is to do next: a message can be its answer.
    TakesMessage {
        /// The turn that ends, unless it is prolonged.
        turn: Option<String>,
    },
    /// The provider refuses for now.
    RateLimited {
        /// Until.
        until: Option<Timestamp>,
    },
    /// It cannot go on.
    Failed {
        /// What kind.
        kind: AgentErrorKind,
        /// Its words.
        text: Text,
    },
    /// A set-up dialog is open.
    Setup {
        /// Its words.
        text: Text,
    },
    /// It said good-bye.
    Exited,
    /// Something moves.
    Alive,
    /// It should signal and does not.
    NoSignal,
    /// The screen looks like a question.
    Suspected {
        /// The line.
        text: Text,
    },
    /// It claims to have completed.
    Completed {
        /// Its words.
        text: Option<Text>,
    },
    /// What its transcript or status file says.
    Observed {
        /// What.
        activity: Activity,
    },
    /// Figures of a stretch of transcript.
    Usage {
        /// Which.
        usage: Usage,
        /// How far the transcript is read with them, in bytes; what was told before is not told again.
        offset: u64,
    },
}

/// A button of a message, as it was pressed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pressed {
    /// Of which message.
    pub notification: NotificationId,
    /// On which channel.
    pub channel: ChannelName,
    /// Which button.
    pub button: String,
    /// The hash of its token; none = words in answer to the message, or a look at it.
    pub token: Option<String>,
    /// The account that pressed it, where the channel tells them apart.
    pub identity: Option<String>,
}

/// What comes in by the web, and as whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// A browser or a program.
    pub kind: AccessKind,
    /// By what its owner will know it.
    pub name: String,
    /// Whose acts its acts are.
    pub person: String,
    /// What it may do.
    pub role: Role,
    /// Worth nothing after this; none = until it is revoked.
    pub until: Option<Timestamp>,
    /// Who lets it in.
    pub by: Actor,
}

/// What a caller hears when its input was taken.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answered {
    /// The session that was made or meant.
    pub session: Option<SessionId>,
    /// The message that was queued, or that is the answer to a hook which takes one.
    pub message: Option<MessageId>,
    /// The request that was opened or decided.
    pub request: Option<RequestId>,
    /// The silence that was made or ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silence: Option<SilenceId>,
    /// Something a human should know, e.g. that the message waits.
    pub note: Option<String>,
    /// The act was done before, after this event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Seq>,
}

/// Why an input was not taken. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    /// What kind of refusal; decides the exit code and the HTTP status.
    pub kind: RefusalKind,
    /// What was refused and why: a sentence without full stop.
    pub message: String,
    /// When what `message` ends with happened; who has a zone says it.
    pub at: Option<Timestamp>,
    /// What to do instead: a command that works if pasted.
    pub remedy: Option<String>,
}

/// Kinds of refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusalKind {
    /// No such project, session, incident or request.
    NotFound,
    /// It would lose work or contradict a newer state.
    Conflict,
    /// It makes no sense.
    Invalid,
    /// Not by this caller.
    Forbidden,
    /// Not before a human said yes.
    Unconfirmed,
    /// The journal cannot take it now; repeat it.
    Unavailable,
}

impl Refusal {
    /// A refusal without remedy.
    pub fn new(kind: RefusalKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), at: None, remedy: None }
    }

    /// The same with the time of what its message ends with.
    #[must_use]
    pub fn at(mut self, at: Option<Timestamp>) -> Self {
        self.at = at;
        self
    }

    /// The same with a remedy.
    #[must_use]
    pub fn with_remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}
