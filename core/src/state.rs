//! What is known: the fold of all events. Facts are stored here, status is computed from them.
//!
//! Only [`State::apply`] changes it, and it never decides anything: the same events give the same state,
//! byte for byte, under every later version of the rules.
//!
//! A snapshot outlives the events before it, so every version reads those of all before: a field that is new
//! has a default (`core/tests/golden/snapshot-1.json`).

mod access;
mod apply;
mod digest;
mod due;
mod follow;
mod heard;
mod lookup;
mod silence;
mod status;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ao_slots::{
    AccessId, ChannelName, IncidentId, InstanceId, Launch, MessageId, NotificationId, ProjectId,
    RequestId, Seq, SessionId, SilenceId,
    agent::{Ask, Decision, Usage},
    fact::{Activity, PrFacts, Priority, RuntimeState, Source, WorkFacts},
    notifier::{ChannelHandle, NotifierCapabilities, Reached},
    runtime::RuntimeHandle,
    workspace::WorkspaceInfo,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use access::Access;
pub use digest::{Account, Digests, Part, ROWS};
pub use due::{Due, Focus};
pub use follow::{Asked, Attempt, Brief, Follow, Merge, Tried, Unopened};
pub use heard::Heard;
pub use silence::{Matchers, Silence};
pub use status::{Status, Zone};

use crate::{
    blob::{BlobRef, sha256},
    config::{policy::Policy, trigger::Trigger},
    decide::Answered,
    event::{About, Actor, Call, Effect, Failure, Held, Over, Settled, Subject, Summary, Text},
};

/// How long an agent may take to confirm a decision that it was given, in awake milliseconds.
pub(crate) const CONFIRM_MS: u64 = 60_000;

/// The two clocks. Limits on agents and machines use `awake`, promises to people use `wall`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Wall time.
    pub wall: Timestamp,
    /// Milliseconds for which the machine was awake, counted on across restarts of the server.
    pub awake: u64,
}

/// When something was seen: by both clocks, and by which event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// Wall time.
    pub at: Timestamp,
    /// Awake time in milliseconds.
    pub awake: u64,
    /// The event.
    pub seq: Seq,
}

/// Something observed, with source and time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact<T> {
    /// What.
    pub value: T,
    /// Who says so.
    pub source: Source,
    /// Since when it is this value.
    pub since: Moment,
}

/// Everything known.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// The data directory's identity; none before the first start.
    pub instance: Option<InstanceId>,
    /// The last event that was applied.
    pub last_seq: Seq,
    /// Its wall time.
    pub last_at: Timestamp,
    /// The greatest awake time of any event.
    pub awake: u64,
    /// The kernel's boot id under which `offset_ms` holds.
    pub boot: String,
    /// Awake time minus the monotonic clock, in milliseconds.
    pub offset_ms: i64,
    /// The last server said good-bye.
    pub stopped_clean: bool,
    /// Nothing is judged by time until everything was looked at once: since the start, a sleep or a clock step.
    pub unswept_since: Option<Moment>,
    /// The last look at everything: since when it was owed, and its end. What it brought up is told together.
    pub looked: Option<(Moment, Moment)>,
    /// The policy that rules.
    pub policy: Arc<Policy>,
    /// The machine's time zone, as the IANA names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Its hash; empty before the first.
    pub policy_hash: String,
    /// Since when it rules.
    pub policy_since: Option<Moment>,
    /// The numbers given last.
    pub given: Given,
    /// All sessions, also those that are over.
    pub sessions: BTreeMap<SessionId, Session>,
    /// Incidents: all open ones, and the resolved ones that are still of interest.
    pub incidents: BTreeMap<IncidentId, Incident>,
    /// Notifications: all unsettled ones, and those that are still of interest.
    pub notifications: BTreeMap<NotificationId, Notification>,
    /// Effects under way or in doubt.
    pub intents: BTreeMap<Seq, Intent>,
    /// What is known of channels beside their settings.
    pub channels: BTreeMap<ChannelName, ChannelState>,
    /// The present round of each project.
    pub rounds: BTreeMap<ProjectId, Round>,
    /// What the next digests tell.
    #[serde(skip_serializing_if = "Digests::is_empty")]
    pub digests: Digests,
    /// Where humans are.
    #[serde(skip_serializing_if = "Present::is_empty")]
    pub present: Present,
    /// What humans do not want to hear of: what holds, and what ended lately.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub silences: BTreeMap<SilenceId, Silence>,
    /// Who may come in by the web: what holds, and what ended lately.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub access: BTreeMap<AccessId, Access>,
    /// Projects whose scm does not answer: why, and since when.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub scm_away: BTreeMap<ProjectId, (Failure, Moment)>,
    /// What is known of `ao` itself.
    pub server: ServerFacts,
    /// The buttons that are out, by their tokens' hashes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tokens: BTreeMap<String, Token>,
    /// The last acts of humans that have a key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub acts: Vec<Act>,
    /// What plugins without a service keep here: by project, plugin and key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub records: BTreeMap<ProjectId, BTreeMap<String, BTreeMap<String, serde_json::Value>>>,
    /// Open incidents by what they are about.
    #[serde(skip)]
    pub(crate) open: BTreeMap<IncidentKey, IncidentId>,
    /// Open incidents by what they have in common.
    #[serde(skip)]
    pub(crate) alike: BTreeMap<(Trigger, String), BTreeSet<IncidentId>>,
    /// Sessions by what rules ask for. Derived from them, never stored.
    #[serde(skip)]
    pub(crate) lookup: lookup::Lookup,
    /// What is due when. Derived from everything above, never stored.
    #[serde(skip)]
    pub(crate) dues: due::Dues,
}

/// A human's act, remembered so that it is done once however often its client repeats it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Act {
    /// Made by the client.
    pub key: String,
    /// Its first event.
    pub seq: Seq,
    /// The session that was made or meant.
    pub session: Option<SessionId>,
    /// The message that was queued.
    pub message: Option<MessageId>,
    /// The request that was decided.
    pub request: Option<RequestId>,
    /// The silence that was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silence: Option<SilenceId>,
}

impl Act {
    /// What the first caller heard, but for its note.
    pub fn answered(&self) -> Answered {
        Answered {
            session: self.session.clone(),
            message: self.message,
            request: self.request,
            silence: self.silence,
            note: None,
            after: Some(Seq(self.seq.0.saturating_sub(1))),
        }
    }
}

/// The numbers given last; none is given twice.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Given {
    /// Sessions, by prefix.
    pub sessions: BTreeMap<String, u32>,
    /// Incidents.
    pub incident: u64,
    /// Notifications.
    pub notification: u64,
    /// Requests.
    pub request: u64,
    /// Messages.
    pub message: u64,
    /// Silences.
    #[serde(skip_serializing_if = "is_zero")]
    pub silence: u64,
    /// Accesses by the web.
    #[serde(skip_serializing_if = "is_zero")]
    pub access: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// One agent instance at work on one thing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// Its project.
    pub project: ProjectId,
    /// The issue's id in the tracker.
    pub issue: Option<String>,
    /// What it is about.
    #[serde(default)]
    pub title: Text,
    /// What the agent is told first.
    #[serde(default)]
    pub prompt: Text,
    /// What the whole prompt is recognised by.
    #[serde(default)]
    pub prompt_digest: String,
    /// The agent plugin's name.
    #[serde(default)]
    pub agent: String,
    /// The runtime plugin's name.
    #[serde(default)]
    pub runtime: String,
    /// When it was asked for.
    pub created: Moment,
    /// Who asked for it.
    pub by: Actor,
    /// Names of the variables in its private environment file.
    #[serde(default)]
    pub env_names: Vec<String>,
    /// What a human wants of it.
    #[serde(default)]
    pub intent: Want,
    /// Which step of setting up, restoring or ending it is at.
    pub step: Step,
    /// Since when.
    pub step_since: Moment,
    /// Which start of the agent is the present one; 0 before the first.
    #[serde(default)]
    pub launch: Launch,
    /// When it was launched.
    pub launched: Option<Moment>,
    /// Finds the running agent.
    pub handle: Option<RuntimeHandle>,
    /// The workspace, once it is made.
    pub workspace: Option<WorkspaceInfo>,
    /// The workspace was removed.
    #[serde(default)]
    pub workspace_gone: bool,
    /// Why the workspace could not be removed when the session ended.
    pub workspace_kept: Option<Failure>,
    /// The branch that a human named: it holds work to go on with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// The branch that the tracker asks for.
    pub branch_wish: Option<String>,
    /// The set-up commands ran.
    #[serde(default)]
    pub post_created: bool,
    /// The agent's conversation.
    pub native_id: Option<String>,
    /// Where the transcript lies.
    pub transcript: Option<String>,
    /// How far it is read and counted, in bytes.
    #[serde(default)]
    pub transcript_offset: u64,
    /// The agent should signal by hooks.
    #[serde(default)]
    pub signals: bool,
    /// The agent has signalled in this launch.
    #[serde(default)]
    pub signalled: bool,
    /// Which hooks of this launch told what is known.
    #[serde(default, skip_serializing_if = "Heard::is_empty")]
    pub heard: Heard,
    /// The agent's version.
    pub agent_version: Option<String>,
    /// The agent's program, e.g. `claude`.
    #[serde(default)]
    pub program: Option<String>,
    /// Whether the process runs.
    pub runtime_state: Fact<RuntimeState>,
    /// What the agent does.
    pub activity: Fact<Activity>,
    /// In its own words: the question, the error, the dialog.
    pub activity_text: Option<Text>,
    /// Last lines on the screen of an ended agent.
    pub tail: Option<Text>,
    /// The runtime's own server went away, not the agent.
    #[serde(default)]
    pub server_lost: bool,
    /// The pull request.
    pub pr: Option<Fact<PrFacts>>,
    /// The heads that its pull request had, newest last, at most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub heads: Vec<PrHead>,
    /// What is done about it.
    #[serde(default, skip_serializing_if = "Follow::is_nothing")]
    pub follow: Follow,
    /// What lies in the workspace.
    pub work: Option<Fact<WorkFacts>>,
    /// The last look at the workspace that was journalled, changed or not.
    pub work_looked: Option<Moment>,
    /// What the conversation has used.
    #[serde(default)]
    pub usage: Usage,
    /// The agent can go on with an earlier conversation.
    #[serde(default)]
    pub resumable: bool,
    /// When it last came back.
    pub restored: Option<Moment>,
    /// Who brought it back; none when `ao` did.
    pub restored_by: Option<Actor>,
    /// The last sign that something moves.
    pub progress: Moment,
    /// The tool that runs.
    pub tool: Option<RunningTool>,
    /// The tool that ended last, and when.
    #[serde(default)]
    pub ended_tool: Option<(RunningTool, Moment)>,
    /// The turn that runs or ran last.
    pub turn: Option<String>,
    /// When the last turn ended; none while one runs.
    pub turn_ended: Option<Moment>,
    /// What the agent said last.
    pub last_words: Option<Text>,
    /// Busy without a break since then: no end of a turn, no wait for a human or for quota.
    pub busy_since: Option<Moment>,
    /// What the screen suspects.
    pub suspected: Option<(Text, Moment)>,
    /// The agent's claim to have completed.
    pub claimed: Option<Moment>,
    /// The issue is closed.
    #[serde(default)]
    pub issue_closed: bool,
    /// It is over, and its issue is still to be closed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub closes_issue: bool,
    /// It could not be closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issue_unclosed: Option<Tried>,
    /// Requests of this launch and the last few ended ones.
    #[serde(default)]
    pub requests: BTreeMap<RequestId, Request>,
    /// Messages not yet confirmed or withdrawn, and the last few that were.
    #[serde(default)]
    pub messages: BTreeMap<MessageId, QueuedMessage>,
    /// A restore under way.
    pub restore: Option<Restore>,
    /// When it was restored without asking, newest last, at most 8.
    #[serde(default)]
    pub restores: Vec<Moment>,
    /// Why the set-up failed.
    pub failure: Option<(String, Failure)>,
    /// How it ended.
    pub over: Option<(Over, Moment)>,
    /// The removal of the workspace was asked for.
    pub cleanup: Option<bool>,
    /// The kill or cleanup was asked for by name in spite of unsaved work.
    #[serde(default)]
    pub forced: bool,
    /// The status that was journalled last, and since when.
    #[serde(default)]
    pub status: Status,
    /// Since when.
    pub status_since: Moment,
    /// How often a human was called for it.
    #[serde(default)]
    pub asked: u32,
    /// The effect under way.
    pub busy: Option<Seq>,
}

/// A head of a pull request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrHead {
    /// The full object name.
    pub head: String,
    /// When it was seen first.
    pub since: Moment,
    /// Which checks failed on it, and since when, as long as the incident stands that they led to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub red: Option<(Vec<String>, Moment)>,
}

/// What a human wants of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum Want {
    /// Go on.
    #[default]
    Run,
    /// End it.
    Kill(Actor),
    /// It is done.
    Done(Actor),
}

/// Where a session is in being set up or ended. `decide` advances it, one effect a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// The issue is read.
    Fetching,
    /// The workspace is made.
    MakingWorkspace,
    /// The set-up commands run.
    PostCreate,
    /// The agent is started.
    CreatingRuntime,
    /// Started; waits for its first sign of life.
    Launching,
    /// Gets its task.
    Prompting,
    /// Set up.
    Ready,
    /// The set-up failed: what it made is removed.
    Undoing,
    /// Ended; nothing is left to do but cleaning up.
    Over,
}

/// A restore under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restore {
    /// Who asked; none when `ao` does it by itself.
    pub by: Option<Actor>,
    /// The first prompt is given again.
    #[serde(default)]
    pub fresh: bool,
    /// A turn was running when the agent went away: it is told to go on.
    #[serde(default)]
    pub was_active: bool,
    /// When it began.
    pub since: Moment,
}

/// A tool that takes its time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunningTool {
    /// The tool.
    pub tool: String,
    /// The command.
    pub command: Option<Text>,
    /// Since when.
    pub since: Moment,
}

/// What an agent waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Its id.
    pub id: RequestId,
    /// Which start of the agent asked.
    #[serde(default)]
    pub launch: Launch,
    /// The agent's own key.
    #[serde(default)]
    pub key: String,
    /// The turn.
    pub turn: Option<String>,
    /// The tool.
    #[serde(default)]
    pub tool: String,
    /// What is asked.
    pub ask: Ask,
    /// The whole text, where `ask` is cut.
    pub full: Option<BlobRef>,
    /// A waiting hook can carry the decision.
    #[serde(default)]
    pub answerable: bool,
    /// When it was asked.
    pub opened: Moment,
    /// When the hook that asked was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook: Option<u64>,
    /// What a human decided.
    pub decided: Option<Decided>,
    /// When it ended, and how.
    pub ended: Option<(String, Moment)>,
}

impl Request {
    /// When a human's decision on it was handed over, which the agent has not confirmed yet.
    pub fn handed(&self) -> Option<Moment> {
        let handed = self.decided.as_ref()?.handed.as_ref()?.as_ref().ok()?;
        self.ended.is_none().then_some(*handed)
    }

    /// From when on the agent has had long enough to confirm it, in awake milliseconds: then a human is told,
    /// and may decide anew.
    pub fn doubted_at(&self) -> Option<u64> {
        Some(self.handed()?.awake.saturating_add(CONFIRM_MS))
    }
}

/// A human's decision on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decided {
    /// What.
    pub decision: Decision,
    /// The whole answer, where it was cut.
    pub full: Option<BlobRef>,
    /// Who.
    pub by: Actor,
    /// When.
    pub when: Moment,
    /// What became of handing it over: none while under way.
    pub handed: Option<Result<Moment, Failure>>,
}

/// A message for an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueuedMessage {
    /// Its id.
    pub id: MessageId,
    /// The text.
    #[serde(default)]
    pub text: Text,
    /// What the whole text is recognised by.
    #[serde(default)]
    pub digest: String,
    /// Who sends it; none when `ao` does.
    pub by: Option<Actor>,
    /// The session's first prompt.
    #[serde(default)]
    pub first: bool,
    /// The trouble with its pull request that it is about: withdrawn when that has passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<About>,
    /// Queued when.
    pub queued: Moment,
    /// When handing it over was first tried in this launch.
    pub tried: Option<Moment>,
    /// When the last try failed in this launch; the next waits from here.
    pub failed: Option<Moment>,
    /// How often it was tried, in all launches.
    #[serde(default)]
    pub tries: u32,
    /// What became of it.
    pub fate: Fate,
}

impl QueuedMessage {
    /// It went in with the launch, and nobody knows yet whether the agent has it. (A message that is being
    /// typed is told from it by the session's lane.)
    pub fn is_in_launch(&self) -> bool {
        self.fate == Fate::Waiting && self.first && self.tried.is_some() && self.failed.is_none()
    }
}

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// It waits.
    Waiting,
    /// There is evidence that the agent has it.
    Confirmed {
        /// By what.
        evidence: String,
        /// When.
        when: Moment,
    },
    /// It was given up.
    Withdrawn {
        /// Why.
        reason: String,
    },
    /// It could not be confirmed; a human is told.
    Undelivered {
        /// Why.
        failure: Failure,
    },
}

/// What an open incident is found by: one at a time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct IncidentKey {
    /// About what.
    pub subject: Subject,
    /// Why.
    pub trigger: Trigger,
    /// The request behind it.
    pub request: Option<RequestId>,
}

/// Something that may need a human.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    /// Its id.
    pub id: IncidentId,
    /// About what.
    pub subject: Subject,
    /// Its project, for one about a session or project.
    pub project: Option<ProjectId>,
    /// Why.
    pub trigger: Trigger,
    /// A finer kind of the trigger.
    pub detail: Option<String>,
    /// How urgent.
    pub priority: Priority,
    /// When it became that urgent; none = it was from the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raised: Option<Moment>,
    /// The request behind it.
    pub request: Option<RequestId>,
    /// Sessions it names.
    #[serde(default)]
    pub sessions: Vec<SessionId>,
    /// What it has in common with others of its trigger that come of one cause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub common: Option<String>,
    /// Since when.
    pub opened: Moment,
    /// Since when its cause stands without a break; the settle window counts from here.
    pub stands: Moment,
    /// The cause is gone since, and how; it is resolved when that holds for the settle time.
    pub cleared: Option<(Settled, Moment)>,
    /// Over, and how.
    pub resolved: Option<(Settled, Moment)>,
    /// When what a human should see of it changed last.
    pub changed: Option<Moment>,
    /// Who has taken it.
    pub acknowledged: Option<(Actor, Moment)>,
    /// Quiet until.
    pub snoozed: Option<Timestamp>,
    /// Who had the agent told of it once more since it was last told to a human: he hears of it again if that fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub again: Option<(Actor, Moment)>,
    /// The message that tells of it.
    pub notification: Option<NotificationId>,
    /// Further messages that stand beside it: other channels or people were called since.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<NotificationId>,
    /// What kept a human from being called for it when it was due last, since then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<(Held, Moment)>,
    /// The events that it rests on.
    #[serde(default)]
    pub because: Vec<Seq>,
}

impl Incident {
    /// All messages that tell of it now.
    pub fn messages(&self) -> impl Iterator<Item = NotificationId> + '_ {
        self.notification.into_iter().chain(self.also.iter().copied())
    }

    /// Not over, and its cause holds.
    pub fn is_open(&self) -> bool {
        self.resolved.is_none() && self.cleared.is_none()
    }

    /// Somebody has taken it as urgent as it is now.
    pub fn is_taken(&self) -> bool {
        let (taken, raised) = (self.acknowledged.as_ref(), self.raised.map(|when| when.seq));
        taken.is_some_and(|(_, when)| Some(when.seq) > raised)
    }

    /// Somebody has taken it since a message about it was opened, or put it off.
    pub fn is_off(&self, told: &Notification) -> bool {
        let taken = self.acknowledged.as_ref();
        self.snoozed.is_some() || taken.is_some_and(|(_, when)| when.seq > told.opened.seq)
    }
}

/// The projection of an incident or a summary onto channels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notification {
    /// Its id.
    pub id: NotificationId,
    /// The incident, of several the most urgent; none for a summary.
    pub incident: Option<IncidentId>,
    /// All incidents it covers, the most urgent first.
    #[serde(default)]
    pub covers: Vec<IncidentId>,
    /// The channels that carry only some of them.
    #[serde(default)]
    pub parts: BTreeMap<ChannelName, Vec<IncidentId>>,
    /// The title it was opened with.
    #[serde(default)]
    pub title: String,
    /// How urgent.
    pub priority: Priority,
    /// A summary's own text.
    pub summary: Option<Summary>,
    /// The project, where it has one.
    pub project: Option<ProjectId>,
    /// Whom it calls, and how; what has followed from it since.
    #[serde(default)]
    pub call: Call,
    /// When it was opened.
    pub opened: Moment,
    /// Counts up with each change.
    #[serde(default)]
    pub revision: u32,
    /// When it changed last.
    pub revised: Moment,
    /// Only an edit remains.
    #[serde(default)]
    pub settled: bool,
    /// Each channel's part.
    #[serde(default)]
    pub deliveries: BTreeMap<ChannelName, Delivery>,
}

impl Notification {
    /// The incidents that its message on a channel is about, the most urgent first.
    pub fn covers_on(&self, channel: &ChannelName) -> &[IncidentId] {
        self.parts.get(channel).unwrap_or(&self.covers)
    }
}

/// One message on one channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Delivery {
    /// How far it is.
    pub progress: Progress,
    /// The revision that the human can see, and press where it has buttons; 0 for none.
    pub shown: u32,
    /// What edits it.
    pub handle: Option<ChannelHandle>,
    /// How far it is known to have come.
    pub reached: Option<Reached>,
    /// Failed tries of the present step.
    pub tries: u32,
    /// Sends that were not answered, so that nobody knows whether they arrived. Those that the server's own end
    /// interrupted are not among them: they tell nothing of the receiver.
    #[serde(skip_serializing_if = "is_none_yet")]
    pub doubts: u32,
    /// Not before this wall time.
    pub not_before: Option<Timestamp>,
    /// When the provider took it.
    pub sent: Option<Moment>,
    /// The last error.
    pub error: Option<Failure>,
    /// When that was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<Moment>,
    /// The last press on it of which nothing came, since its last revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<(Failure, Moment)>,
    /// It was added because this channel had not taken the message then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instead: Option<(ChannelName, Moment)>,
    /// What keeps it from going out now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Hold>,
    /// The newer message on this channel that took its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded: Option<NotificationId>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_none_yet(count: &u32) -> bool {
    *count == 0
}

/// What keeps a message from going out on a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// What.
    pub why: Held,
    /// Until when; none = until something happens, or for good.
    pub until: Option<Timestamp>,
    /// Since when.
    pub since: Moment,
}

/// Where humans are: what they see there needs no desktop message.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Present {
    /// Sessions in whose terminal somebody types, and since when.
    pub sessions: BTreeMap<SessionId, Moment>,
    /// A page that shows all sessions is open before somebody, since when.
    pub page: Option<Moment>,
}

impl Present {
    /// Nobody is anywhere.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty() && self.page.is_none()
    }

    /// Somebody types in this session's terminal.
    pub fn types_in(&self, session: &SessionId) -> bool {
        self.sessions.contains_key(session)
    }
}

/// A button that is out: good for one press, on one channel, for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// The message that shows it; none = a test of the channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notification: Option<NotificationId>,
    /// The only channel on which it counts.
    pub channel: ChannelName,
    /// In which revision of the message it was shown.
    pub revision: u32,
    /// What a press does, with its argument.
    pub button: String,
    /// The words it is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<Text>,
    /// It went out with a link to its page.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub linked: bool,
    /// Worth nothing after this.
    pub until: Timestamp,
    /// Who used it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spent: Option<(Actor, Moment)>,
}

/// How far a delivery is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Progress {
    /// To be sent.
    Queued,
    /// To be sent again, and said so: an earlier send is in doubt and the channel cannot tell.
    Again,
    /// Sent; edits follow.
    Sent,
    /// Given up.
    Dropped,
}

/// An effect under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// What.
    pub effect: Effect,
    /// Whose lane it is on.
    pub lane: Lane,
    /// Since when.
    pub since: Moment,
    /// Nobody knows whether it happened.
    pub doubt: Option<String>,
    /// The server ended before it could know; nothing was slow.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub interrupted: bool,
}

/// One effect at a time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lane {
    /// A session's.
    Session(SessionId),
    /// A channel's.
    Channel(ChannelName),
}

/// What is known of a channel beside its settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct ChannelState {
    /// What it can do; none until its plugin was built once.
    pub capabilities: Option<NotifierCapabilities>,
    /// The effect under way.
    pub intent: Option<Seq>,
    /// Nothing goes out before this wall time: its provider asked for it, or it failed.
    pub not_before: Option<Timestamp>,
    /// The last request to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requested: Option<Timestamp>,
    /// Failures in a row.
    pub failures: u32,
    /// The last error.
    pub error: Option<Failure>,
    /// Since when it takes messages, or fails; none = it was never tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Moment>,
    /// Deliveries that have something to do.
    pub waiting: BTreeSet<NotificationId>,
}

/// A project's sessions since all were last over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct Round {
    /// Its sessions.
    pub sessions: BTreeSet<SessionId>,
    /// Since when.
    pub since: Option<Moment>,
}

/// What is known of `ao` itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct ServerFacts {
    /// The last start.
    pub started: Option<Moment>,
    /// How long nothing served before it, in milliseconds of wall time.
    pub away_ms: Option<u64>,
    /// The server before said good-bye.
    pub clean: bool,
    /// Why it did, when it did last: `stop by ana`.
    #[serde(default)]
    pub stopped: String,
    /// The machine was started anew since.
    pub rebooted: bool,
    /// Free bytes where the data directory lies.
    pub disk_free: Option<u64>,
    /// Too few.
    pub disk_low: Option<Moment>,
    /// Appends failed.
    pub disk_failing: bool,
    /// Configuration files that are not used: file → why.
    pub refused: BTreeMap<String, (Text, Moment)>,
    /// Those of them that only wait for a human's trust.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub untrusted: BTreeSet<String>,
    /// The last file of `ao`'s own that was changed by another.
    pub tampered: Option<(String, Option<String>, Moment)>,
    /// Unreadable stretches of the journal, the last 8.
    pub gaps: Vec<(u64, u64)>,
    /// Inputs put aside, the last 8.
    pub quarantined: Vec<String>,
    /// So many of the last gaps no human has been told of.
    pub gaps_new: u32,
    /// So many of the last inputs put aside no human has been told of.
    pub quarantined_new: u32,
}

impl Default for State {
    fn default() -> Self {
        Self {
            instance: None,
            last_seq: Seq(0),
            last_at: Timestamp::UNIX_EPOCH,
            awake: 0,
            boot: String::new(),
            offset_ms: 0,
            stopped_clean: true,
            unswept_since: None,
            looked: None,
            policy: Arc::default(),
            zone: None,
            policy_hash: String::new(),
            policy_since: None,
            given: Given::default(),
            sessions: BTreeMap::new(),
            incidents: BTreeMap::new(),
            notifications: BTreeMap::new(),
            intents: BTreeMap::new(),
            channels: BTreeMap::new(),
            rounds: BTreeMap::new(),
            digests: Digests::default(),
            present: Present::default(),
            silences: BTreeMap::new(),
            access: BTreeMap::new(),
            scm_away: BTreeMap::new(),
            server: ServerFacts::default(),
            tokens: BTreeMap::new(),
            acts: vec![],
            records: BTreeMap::new(),
            open: BTreeMap::new(),
            alike: BTreeMap::new(),
            lookup: lookup::Lookup::default(),
            dues: due::Dues::default(),
        }
    }
}

impl State {
    /// SHA-256 of the state's canonical JSON: maps are ordered, indices are left out.
    pub fn hash(&self) -> String {
        sha256(&serde_json::to_vec(self).unwrap_or_default())
    }

    /// The projects without which a session would be stranded: it is not over, or its workspace stands.
    pub fn needed_projects(&self) -> BTreeSet<ProjectId> {
        let stands = |s: &Session| s.workspace.is_some() && !s.workspace_gone;
        let needs = self.sessions.values().filter(|s| !s.is_over() || stands(s));
        needs.map(|session| session.project.clone()).collect()
    }

    /// The open incident with this key.
    pub fn open_incident(
        &self,
        subject: &Subject,
        trigger: Trigger,
        request: Option<RequestId>,
    ) -> Option<&Incident> {
        let key = IncidentKey { subject: subject.clone(), trigger, request };
        self.open.get(&key).and_then(|id| self.incidents.get(id))
    }

    /// Unresolved incidents about a subject.
    pub fn incidents_of(&self, subject: &Subject) -> impl Iterator<Item = &Incident> {
        let from =
            IncidentKey { subject: subject.clone(), trigger: Trigger::ALL[0], request: None };
        let subject = subject.clone();
        self.open
            .range(from..)
            .take_while(move |(key, _)| key.subject == subject)
            .filter_map(|(_, id)| self.incidents.get(id))
    }

    /// Unresolved incidents of the same cause, itself among them, the oldest first.
    pub fn alike(&self, incident: &Incident) -> impl Iterator<Item = &Incident> {
        let found = incident.cause().and_then(|cause| self.alike.get(&cause));
        found.into_iter().flatten().filter_map(|id| self.incidents.get(id))
    }

    /// Its cause seems to be gone: a call that has not gone out waits until that is sure.
    pub fn is_held(&self, notification: &Notification) -> bool {
        let covered = || notification.covers.iter().filter_map(|id| self.incidents.get(id));
        // That `ao` was away is news, and goes with what needs a human.
        let needs = || covered().filter(|incident| incident.trigger != Trigger::ServerWasAway);
        !needs().any(Incident::is_open) && needs().any(|incident| incident.resolved.is_none())
    }

    /// The channels of the same account, itself among them: they rest together.
    pub fn same_account<'s>(
        &'s self,
        name: &'s ChannelName,
    ) -> impl Iterator<Item = (&'s ChannelName, &'s ChannelState)> {
        let account = |channel: &'s ChannelState| {
            let can = channel.capabilities.as_ref();
            can.map(|can| can.account.as_str()).filter(|account| !account.is_empty())
        };
        let mine = self.channels.get(name).and_then(account);
        let same = move |other: &'s ChannelState| mine.is_some() && account(other) == mine;
        self.channels.iter().filter(move |(other, channel)| *other == name || same(channel))
    }

    /// Until when nothing is asked of a channel, by what its provider and its failures say.
    pub fn account_rests(&self, name: &ChannelName) -> Option<Timestamp> {
        self.same_account(name).filter_map(|(_, channel)| channel.not_before).max()
    }

    /// Until when a channel's provider asked to be left alone; that it failed beside that is no reason to ask nothing.
    pub fn asked_to_rest(&self, name: &ChannelName) -> Option<Timestamp> {
        let asked = |channel: &ChannelState| {
            channel.error.as_ref().is_some_and(|error| error.retry_after_ms.is_some())
        };
        let resting = self.same_account(name).filter(|(_, channel)| asked(channel));
        resting.filter_map(|(_, channel)| channel.not_before).max()
    }

    /// The effect that a lane is busy with.
    pub fn intent_on(&self, lane: &Lane) -> Option<(Seq, &Intent)> {
        let seq = match lane {
            Lane::Channel(name) => self.channels.get(name)?.intent?,
            Lane::Session(id) => self.sessions.get(id)?.busy?,
        };
        Some((seq, self.intents.get(&seq)?))
    }

    /// Derives the indices anew, after a snapshot was read.
    pub fn reindex(&mut self) {
        self.open = self
            .incidents
            .values()
            .filter(|incident| incident.resolved.is_none())
            .map(|incident| (incident.key(), incident.id))
            .collect();
        self.alike = BTreeMap::new();
        for incident in self.incidents.values().filter(|incident| incident.resolved.is_none()) {
            if let Some(cause) = incident.cause() {
                self.alike.entry(cause).or_default().insert(incident.id);
            }
        }
        self.mark_all();
        self.dues = due::Dues::default();
        for focus in self.all_foci() {
            self.refresh_due(&focus);
        }
    }
}

impl Incident {
    /// What it is found by among others of one cause; none for one that stands alone.
    pub(crate) fn cause(&self) -> Option<(Trigger, String)> {
        Some((self.trigger, self.common.clone()?))
    }

    fn key(&self) -> IncidentKey {
        IncidentKey { subject: self.subject.clone(), trigger: self.trigger, request: self.request }
    }
}

impl ServerFacts {
    /// Unreadable stretches that no human has been told of.
    pub fn untold_gaps(&self) -> &[(u64, u64)] {
        &self.gaps[self.gaps.len().saturating_sub(self.gaps_new as usize)..]
    }

    /// Inputs put aside that no human has been told of.
    pub fn untold_quarantined(&self) -> &[String] {
        let told = self.quarantined.len().saturating_sub(self.quarantined_new as usize);
        &self.quarantined[told..]
    }
}

impl Session {
    /// Over: nothing more happens but cleaning up.
    pub fn is_over(&self) -> bool {
        self.over.is_some()
    }

    /// Nobody else goes on with its branch: it works there, or would once it is restored.
    pub fn keeps_branch(&self) -> bool {
        let there = self.workspace.is_some() && !self.workspace_gone;
        match &self.over {
            None => true,
            Some((Over::Merged | Over::Failed, _)) => false,
            Some(_) => there && self.launch.0 > 0,
        }
    }

    /// Requests that nobody has decided or ended.
    pub fn open_requests(&self) -> impl Iterator<Item = &Request> {
        self.requests.values().filter(|request| request.ended.is_none())
    }

    /// The message that the agent has not got: one that failed, else the first that waits.
    pub fn undelivered(&self) -> Option<&QueuedMessage> {
        let failed = |m: &&QueuedMessage| matches!(m.fate, Fate::Undelivered { .. });
        self.messages.values().find(failed).or_else(|| self.next_message())
    }

    /// The first message that waits.
    pub fn next_message(&self) -> Option<&QueuedMessage> {
        self.messages.values().find(|message| message.fate == Fate::Waiting)
    }

    /// Its process ended: it is known to have exited, or surely runs no more.
    pub fn has_ended(&self) -> bool {
        matches!(self.runtime_state.value, RuntimeState::Exited { .. } | RuntimeState::Missing)
    }

    /// Its agent was ended because the work is done: that stands, whatever was told of it meanwhile.
    pub fn was_ended_by_us(&self) -> bool {
        self.step == Step::Ready
            && self.restore.is_none()
            && self.failure.as_ref().is_none_or(|(step, _)| step != "restore")
            && self.handle.is_none()
            && self.runtime_state.value == RuntimeState::Missing
            && self.runtime_state.source == Source::Server
    }

    /// How it can be said that what was made so far is safe.
    pub fn work(&self) -> Option<&WorkFacts> {
        self.work.as_ref().map(|fact| &fact.value)
    }

    /// Its lane.
    pub fn lane(&self) -> Lane {
        Lane::Session(self.id.clone())
    }

    /// Why the last restore of it failed.
    pub fn failed_restore(&self) -> Option<&Failure> {
        self.failure.as_ref().filter(|(step, _)| step == "restore").map(|(_, failure)| failure)
    }

    /// The branch that its work lies on, as far as it is known.
    pub fn works_on(&self) -> Option<&str> {
        let now = self.work().and_then(|work| work.branch.as_deref());
        let made = self.workspace.as_ref().map(|made| made.branch.as_str());
        now.or(made).or(self.branch.as_deref())
    }

    /// The pull request's facts.
    pub fn pr(&self) -> Option<&PrFacts> {
        self.pr.as_ref().map(|fact| &fact.value)
    }
}
