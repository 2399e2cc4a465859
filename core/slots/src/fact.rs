//! Facts: what was observed, by whom and when. Facts are stored; a session's status is computed from them.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::PrNumber;

/// Who observed a fact. Shown as the evidence of every status.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The agent's own hook, or `ao report`.
    Hook,
    /// The agent's transcript or its status file.
    Transcript,
    /// The agent's screen. May only raise a suspicion, never clear one.
    Screen,
    /// The runtime's own list of what runs.
    Runtime,
    /// The workspace: commits, changed files.
    Workspace,
    /// The scm: pull requests, checks, reviews.
    Scm,
    /// The tracker: issues.
    Tracker,
    /// A human, by CLI, button or page.
    Human,
    /// `ao` itself: an effect's outcome or a limit that passed.
    Server,
}

/// Whether the agent's process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Default)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum RuntimeState {
    /// Being made; nothing is known of a process yet.
    #[default]
    Starting,
    /// The process runs.
    Alive,
    /// The process ended. `code` is none when a signal ended it or when nobody saw the code.
    Exited {
        /// The exit code, 0 to 255.
        code: Option<i32>,
    },
    /// The runtime's own list does not have it any more.
    Missing,
    /// The probe did not answer. Never read as missing or dead.
    Unknown,
}

/// What the agent is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Default)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Activity {
    /// Launched, has not signalled yet.
    #[default]
    Starting,
    /// A turn runs.
    Active,
    /// A turn ended; the prompt is empty.
    Idle,
    /// The agent asked a question.
    WaitingInput,
    /// The agent waits for a permission, or shows a dialog. A machine must never type into it.
    Blocked,
    /// The model's provider refuses until `until`; none when it did not say.
    RateLimited {
        /// When the provider says the quota is back.
        until: Option<Timestamp>,
    },
    /// The agent says that it cannot go on.
    Errored {
        /// What kind of obstacle it is; decides the remedy that a human is told.
        kind: AgentErrorKind,
    },
    /// The agent said good-bye.
    Exited,
    /// The agent should signal and does not: what it does is unknown.
    NoSignal,
}

/// What stops an agent from going on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AgentErrorKind {
    /// The login to the model's provider is missing or expired.
    Login,
    /// The provider refuses for lack of payment.
    Billing,
    /// The provider refused the request itself.
    RequestRefused,
    /// The provider does not answer or fails.
    ProviderDown,
    /// The agent reported an error of its own words.
    Reported,
}

/// Where a pull request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Default)]
#[serde(rename_all = "snake_case")]
pub enum PrState {
    /// There is none.
    #[default]
    None,
    /// Open as a draft.
    Draft,
    /// Open.
    Open,
    /// Merged.
    Merged,
    /// Closed without a merge.
    Closed,
}

/// The roll-up of a pull request's checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Default)]
#[serde(rename_all = "snake_case")]
pub enum Checks {
    /// No check is configured.
    #[default]
    None,
    /// At least one has not finished and none failed.
    Pending,
    /// All required ones passed.
    Passing,
    /// At least one required one failed.
    Failing,
    /// The scm did not answer.
    Unknown,
}

/// The roll-up of a pull request's reviews.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Default)]
#[serde(rename_all = "snake_case")]
pub enum Review {
    /// Nobody is asked.
    #[default]
    None,
    /// Asked for, not given.
    Pending,
    /// Approved by as many as are required.
    Approved,
    /// One change request blocks.
    ChangesRequested,
}

/// Whether a pull request merges cleanly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Default)]
#[serde(rename_all = "snake_case")]
pub enum Mergeable {
    /// Without a conflict.
    Yes,
    /// Without a conflict, but the rules of the base do not let it be merged yet.
    Blocked,
    /// Without a conflict, but the base has moved, and its rules demand that the branch holds it.
    Behind,
    /// With conflicts.
    Conflicting,
    /// Not computed yet, or the scm did not answer. Never read as either.
    #[default]
    Unknown,
}

/// Everything observed of one pull request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PrFacts {
    /// Its number.
    pub number: PrNumber,
    /// Its title, untrusted.
    pub title: String,
    /// The full object name of its head commit.
    pub head: String,
    /// Where it stands.
    pub state: PrState,
    /// Its checks.
    pub checks: Checks,
    /// Names of the failing required checks, sorted, without URLs or attempt numbers.
    pub failing: Vec<String>,
    /// Required checks that have not ended, whether others failed or not: with some the verdict is not complete.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub pending: u32,
    /// Its reviews.
    pub review: Review,
    /// Unresolved threads begun by people.
    pub human_threads: u32,
    /// What people said that nobody can resolve, below it or with a review that decides nothing, and that still stands. The
    /// agent is told of it; it keeps nothing from a merge once the agent's turn with it has ended.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub remarks: u32,
    /// What tells each of them from others, and an edited one from what it said before. Empty: not told apart.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remark_ids: Vec<String>,
    /// Unresolved threads begun by bots.
    pub bot_threads: u32,
    /// Whether it merges.
    pub mergeable: Mergeable,
    /// Changes whenever an unresolved thread or what is said in it does: a digest, or a count with a time.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub discussion: String,
    /// What no rule reads: it is only told.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub details: Box<PrDetails>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

fn is_nothing(details: &PrDetails) -> bool {
    *details == PrDetails::default()
}

/// What a human is told of a pull request beside what the rules read. All of it is untrusted text or a count; what
/// the scm did not say is empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Default)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct PrDetails {
    /// Its page.
    pub url: Option<String>,
    /// The branch it is to be merged into.
    pub base: Option<String>,
    /// Lines added.
    pub added: u32,
    /// Lines removed.
    pub removed: u32,
    /// Files changed.
    pub files: u32,
    /// Checks that passed.
    pub passed: u32,
    /// Checks in all; 0 where there are none, or nobody counted.
    pub checks: u32,
    /// What the first failing check says, on one line: `2 of 418 tests`.
    pub failure: Option<String>,
    /// People whose approval counts.
    pub approved_by: Vec<String>,
    /// A person whose approval counts has given it to this very head; the one thing here that a rule reads.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub head_approved: bool,
    /// Review threads in all, resolved ones too.
    pub threads: u32,
    /// The first unresolved comments, at most 5.
    pub comments: Vec<PrComment>,
    /// Files in conflict, where the scm names them.
    pub conflicts: Vec<String>,
    /// Who closed it.
    pub closed_by: Option<String>,
    /// The words with which it was closed.
    pub closing: Option<String>,
}

/// One comment in a review.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PrComment {
    /// Who wrote it.
    pub by: String,
    /// File and line: `src/theme.ts:88`.
    pub place: Option<String>,
    /// The words.
    pub text: String,
}

/// What lies in a workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Default)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct WorkFacts {
    /// The full object name of HEAD; empty when there is none.
    pub head: String,
    /// The branch that is checked out; none when detached.
    pub branch: Option<String>,
    /// Commits on HEAD that the base does not have.
    pub commits: u32,
    /// Files that git status lists: changed, staged or untracked and not ignored.
    pub changed_files: u32,
    /// Lines added against the base, committed ones only.
    pub added: u32,
    /// Lines removed against the base, committed ones only.
    pub removed: u32,
    /// Files that differ from the base, committed ones only.
    pub files: u32,
    /// Whether HEAD is known to a remote, or merged into the default branch.
    pub pushed: bool,
    /// Changes whenever the tree or HEAD does: a digest over head and status, for noticing progress.
    pub fingerprint: String,
}

impl WorkFacts {
    /// Nothing uncommitted.
    pub fn is_clean(&self) -> bool {
        self.changed_files == 0
    }
}

/// How urgent an incident is. The order is that of urgency: `Info` is the least.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
    Default,
)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// Rolled up into the next digest.
    Info,
    /// Not going well.
    Warning,
    /// A human decides.
    Action,
    /// A human is needed now. Also what an unknown priority reads as: never nowhere.
    #[default]
    #[serde(alias = "high")]
    Urgent,
}
