//! The scm slot: pull requests, checks, reviews.

use std::fmt;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Call, PluginError, PrNumber, call::Answer, fact::PrFacts};

/// A pull request to watch.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PrRef {
    /// The repository in the scm's own spelling, e.g. `acme/my-app`.
    pub repo: String,
    /// Its number.
    pub number: PrNumber,
    /// The scm's own id of it, which a renamed repository does not change; none = the number is all there is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
}

/// A branch whose pull request is looked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BranchRef {
    /// The repository in the scm's own spelling.
    pub repo: String,
    /// The branch with the work.
    pub branch: String,
}

/// A pull request to open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CreatePr {
    /// The repository.
    pub repo: String,
    /// One line.
    pub title: String,
    /// The text; the plugin adds a hidden marker with the call's key.
    pub body: String,
    /// The branch with the work.
    pub head: String,
    /// The branch it goes into.
    pub base: String,
    /// Not ready for review.
    pub draft: bool,
}

/// How a pull request is merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MergeMethod {
    /// A merge commit.
    Merge,
    /// One new commit.
    Squash,
    /// Each commit on top of the base.
    Rebase,
}

/// One comment. All of it is untrusted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Comment {
    /// The scm's own id.
    pub id: String,
    /// Who wrote it.
    pub author: String,
    /// Written by a bot, told by app identity, not by name.
    pub is_bot: bool,
    /// The author may write to the repository, or is an app that someone who may has installed.
    pub trusted: bool,
    /// Written by whoever opened the pull request: an agent's own answer is no news to it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub own: bool,
    /// The words, at most 64 KiB.
    pub text: String,
}

/// One review thread, or the words that came with a review.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Thread {
    /// The scm's own id.
    pub id: String,
    /// Settled.
    pub resolved: bool,
    /// The code it stands at has changed since.
    pub outdated: bool,
    /// The file it stands at.
    pub path: Option<String>,
    /// The line it stands at, from 1.
    pub line: Option<u32>,
    /// What was said, in order; never empty.
    pub comments: Vec<Comment>,
}

impl Thread {
    /// Begun by a bot.
    pub fn is_bots(&self) -> bool {
        self.comments.first().is_some_and(|first| first.is_bot)
    }
}

/// How one check stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CheckState {
    /// Waits for its turn.
    Queued,
    /// Runs.
    Running,
    /// Passed.
    Passed,
    /// Failed, was cancelled, or took too long.
    Failed,
    /// Ended without a verdict that counts: skipped, neutral.
    Skipped,
}

/// One check of one head.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CheckRun {
    /// Its name, without URL or attempt number.
    pub name: String,
    /// How it stands.
    pub state: CheckState,
    /// Nothing merges without it.
    pub required: bool,
    /// What it says of itself, on one line; untrusted.
    pub summary: Option<String>,
    /// Where a human reads its log.
    pub url: Option<String>,
    /// How long it ran, in milliseconds.
    pub took_ms: Option<u64>,
}

/// All there is to know of one pull request, for a human who asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PrView {
    /// The pull request.
    pub pr: PrRef,
    /// Its facts.
    pub facts: PrFacts,
    /// Its text; untrusted.
    pub body: String,
    /// The branch with the work.
    pub branch: String,
    /// Who opened it.
    pub author: Option<String>,
    /// The checks of its head.
    pub checks: Vec<CheckRun>,
    /// Its threads.
    pub threads: Vec<Thread>,
}

/// What a reviewer decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It may be merged.
    Approve,
    /// It may not, before something changed.
    RequestChanges,
    /// Words alone.
    Comment,
}

/// A review to give.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GiveReview {
    /// The head that was looked at; another head is refused. None = the present one.
    pub head: Option<String>,
    /// The decision.
    pub verdict: Verdict,
    /// The words; needed for anything but an approval.
    pub text: String,
    /// The file and the line, from 1, at which they stand.
    pub at: Option<(String, u32)>,
    /// Who gives it.
    pub by: String,
}

/// How long a pull request at which something moves goes unseen, unless configured, in milliseconds.
pub const EVERY_MS: u64 = 30_000;
/// The longest pause between two looks at a pull request, in milliseconds: a merge that nothing tells of is seen within
/// it.
pub const QUIET_MS: u64 = 300_000;

/// How much of what a vendor allows is left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Quota {
    /// What is counted, in the vendor's word: `graphql`, `core`.
    pub name: String,
    /// Whose: one token's sessions share it. No secret.
    pub account: String,
    /// What may be spent in a window.
    pub limit: u64,
    /// What is left of it.
    pub remaining: u64,
    /// When it is whole again, in seconds since 1970.
    pub resets_at: u64,
    /// What `ao` itself has spent in this window.
    pub spent: u64,
}

impl Quota {
    /// One in so many is kept for what a human asks.
    pub const RESERVE: u64 = 5;

    /// What may be spent on what nobody waits for.
    pub fn free(&self) -> u64 {
        self.remaining.saturating_sub(self.limit.div_ceil(Self::RESERVE))
    }
}

/// Where an scm that has no service of its own keeps what it knows: the host's journal. Values of one project and
/// plugin, by key.
#[async_trait]
pub trait Records: fmt::Debug + Send + Sync {
    /// All values whose key begins with `prefix`, by key.
    async fn read(
        &self,
        prefix: &str,
    ) -> Result<std::collections::BTreeMap<String, serde_json::Value>, PluginError>;

    /// Sets or, by none, removes values, all or none of them; durable once it returns.
    async fn write(
        &self,
        values: std::collections::BTreeMap<String, Option<serde_json::Value>>,
    ) -> Result<(), PluginError>;
}

/// What a webhook says has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScmHint {
    /// The repository.
    pub repo: String,
    /// The pull request, where the event names one.
    pub pr: Option<PrNumber>,
    /// The vendor's delivery id: seen twice = the same event.
    pub delivery: String,
}

/// Follows and changes pull requests.
///
/// # Idempotency
/// `create` finds the one with this call's marker or this open head branch. `merge` of what is merged at the
/// expected head is a success.
/// # Cancel safety
/// A dropped `create` or `merge` may have happened; calling again settles it. The rest changes nothing.
/// # Deadline
/// Within `call.limit()`.
/// # Errors
/// No answer, a partial one or more pages than read is `Unknown` or `Transient`, never "none". `merge` of
/// another head than expected is `Refused`.
#[async_trait]
pub trait Scm: fmt::Debug + Send + Sync {
    /// Gives an scm without a service the place where it keeps what it knows, before any other call.
    fn keep(&self, _records: std::sync::Arc<dyn Records>) {}

    /// Ends when something has changed that nobody asked for: a check ended, a branch moved. It makes the host look
    /// earlier, no more: what nobody tells is seen by the next sweep.
    async fn changed(&self) -> ScmHint {
        std::future::pending().await
    }

    /// The open pull requests of branches, in their order.
    async fn detect(
        &self,
        call: &Call,
        branches: &[BranchRef],
    ) -> Result<Vec<Answer<PrRef>>, PluginError>;

    /// The facts of all these pull requests, in their order, in as few requests as the vendor allows.
    async fn observe(
        &self,
        call: &Call,
        prs: &[PrRef],
    ) -> Result<Vec<Answer<PrFacts>>, PluginError>;

    /// The open pull requests of a repository, or all of them, the newest first, at most 100.
    async fn list(&self, call: &Call, repo: &str, all: bool) -> Result<Vec<PrView>, PluginError>;

    /// All there is to know of one.
    async fn show(&self, call: &Call, pr: &PrRef) -> Result<PrView, PluginError>;

    /// What it changes, as `git diff` writes it, at most 1 MiB.
    async fn diff(&self, call: &Call, pr: &PrRef) -> Result<String, PluginError>;

    /// Opens one, or returns the open one of the branch: a draft is made ready unless one is asked for.
    async fn create(&self, call: &Call, request: &CreatePr) -> Result<PrRef, PluginError>;

    /// Merges it if its head is `expected_head`; returns the resulting commit. None = by the first of squash, merge and
    /// rebase that the repository allows.
    async fn merge(
        &self,
        call: &Call,
        pr: &PrRef,
        expected_head: &str,
        method: Option<MergeMethod>,
    ) -> Result<String, PluginError>;

    /// Closes it without a merge.
    async fn close(&self, call: &Call, pr: &PrRef) -> Result<(), PluginError>;

    /// Opens it again.
    async fn reopen(&self, call: &Call, pr: &PrRef) -> Result<(), PluginError>;

    /// Reviews it.
    async fn review(
        &self,
        _call: &Call,
        _pr: &PrRef,
        _review: &GiveReview,
    ) -> Result<(), PluginError> {
        Err(PluginError::unsupported("reviews are given at the scm itself"))
    }

    /// Has a check of its head run once more; none = all that failed.
    async fn rerun(&self, call: &Call, pr: &PrRef, check: Option<&str>) -> Result<(), PluginError>;

    /// The log of a failing check, trimmed around the error, at most 64 KiB.
    async fn failing_check_log(
        &self,
        call: &Call,
        pr: &PrRef,
        check: &str,
    ) -> Result<String, PluginError>;

    /// All review threads, and the words of reviews that have any.
    async fn threads(&self, call: &Call, pr: &PrRef) -> Result<Vec<Thread>, PluginError>;

    /// What is left to spend, as the last answers told; empty where nothing is counted.
    fn quota(&self) -> Vec<Quota> {
        vec![]
    }

    /// Checks a webhook's signature over its raw body. Constant in time; `Refused` where it is not the vendor's.
    fn verify_webhook(&self, headers: &[(String, String)], body: &[u8]) -> Result<(), PluginError>;

    /// What a verified webhook says; none for events that concern nobody.
    fn parse_webhook(
        &self,
        headers: &[(String, String)],
        body: &[u8],
    ) -> Result<Option<ScmHint>, PluginError>;
}
