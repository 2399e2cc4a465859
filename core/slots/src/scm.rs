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

/// One review thread. All its text is untrusted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Thread {
    /// The scm's own id.
    pub id: String,
    /// Who began it.
    pub author: String,
    /// Begun by a bot, told by app identity, not by name.
    pub is_bot: bool,
    /// The author may write to the repository.
    pub trusted: bool,
    /// Settled.
    pub resolved: bool,
    /// The code it stands at has changed since.
    pub outdated: bool,
    /// The file it stands at.
    pub path: Option<String>,
    /// The line it stands at, from 1.
    pub line: Option<u32>,
    /// What was said, in order.
    pub comments: Vec<String>,
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
    /// The open pull request of a branch.
    async fn detect_pr(
        &self,
        call: &Call,
        repo: &str,
        branch: &str,
    ) -> Result<Answer<PrRef>, PluginError>;

    /// The facts of all watched pull requests, in their order, in as few requests as the vendor allows.
    async fn observe(
        &self,
        call: &Call,
        prs: &[PrRef],
    ) -> Result<Vec<Answer<PrFacts>>, PluginError>;

    /// Opens one.
    async fn create(&self, call: &Call, request: &CreatePr) -> Result<PrRef, PluginError>;

    /// Merges it if its head is `expected_head`; returns the resulting commit.
    async fn merge(
        &self,
        call: &Call,
        pr: &PrRef,
        expected_head: &str,
        method: MergeMethod,
    ) -> Result<String, PluginError>;

    /// Closes it without a merge.
    async fn close(&self, call: &Call, pr: &PrRef) -> Result<(), PluginError>;

    /// The log of a failing check, trimmed around the error, at most 64 KiB.
    async fn failing_check_log(
        &self,
        call: &Call,
        pr: &PrRef,
        check: &str,
    ) -> Result<String, PluginError>;

    /// All review threads.
    async fn threads(&self, call: &Call, pr: &PrRef) -> Result<Vec<Thread>, PluginError>;

    /// Checks a webhook's signature over its raw body. Constant in time.
    fn verify_webhook(&self, headers: &[(String, String)], body: &[u8]) -> Result<(), PluginError>;

    /// What a verified webhook says; none for events that concern nobody.
    fn parse_webhook(
        &self,
        headers: &[(String, String)],
        body: &[u8],
    ) -> Result<Option<ScmHint>, PluginError>;
}
