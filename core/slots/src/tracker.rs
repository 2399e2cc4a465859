//! The tracker slot: issues.

use std::fmt;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Call, PluginError};

/// One issue. All its text is untrusted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Issue {
    /// The tracker's own id, e.g. `41` or `fix-login`.
    pub id: String,
    /// One line.
    pub title: String,
    /// The text, at most 64 KiB.
    pub body: String,
    /// Not closed.
    pub open: bool,
    /// Its labels.
    pub labels: Vec<String>,
    /// Where a human reads it; none when there is no such place.
    pub url: Option<String>,
    /// A branch name that the tracker or the issue asks for.
    pub branch: Option<String>,
}

/// Which issues to list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Default)]
#[serde(rename_all = "camelCase")]
pub struct IssueFilter {
    /// Closed ones too.
    pub closed: bool,
    /// Only with all of these labels.
    pub labels: Vec<String>,
}

/// What to change in an issue; what is none stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Default)]
#[serde(rename_all = "camelCase")]
pub struct IssueChange {
    /// A new title.
    pub title: Option<String>,
    /// A new text.
    pub body: Option<String>,
    /// Open or close it.
    pub open: Option<bool>,
    /// All its labels.
    pub labels: Option<Vec<String>>,
}

/// Reads and writes issues.
///
/// # Idempotency
/// `create` with the key of an earlier one returns that issue. `update` to what it already is changes nothing.
/// # Cancel safety
/// A dropped `create` may have made the issue; the key finds it. `update` is whole or not at all.
/// # Deadline
/// Within `call.limit()`.
/// # Errors
/// An id that does not exist is `NotFound`; an id that is no id of this tracker is `Permanent`. A tracker
/// that does not answer is `Transient`, never "no issues".
#[async_trait]
pub trait Tracker: fmt::Debug + Send + Sync {
    /// One issue.
    async fn get(&self, call: &Call, id: &str) -> Result<Issue, PluginError>;

    /// Issues in the tracker's own order.
    async fn list(&self, call: &Call, filter: &IssueFilter) -> Result<Vec<Issue>, PluginError>;

    /// Makes an issue.
    async fn create(
        &self,
        call: &Call,
        title: &str,
        body: &str,
        labels: &[String],
    ) -> Result<Issue, PluginError>;

    /// Changes an issue and returns it as it is then.
    async fn update(
        &self,
        call: &Call,
        id: &str,
        change: &IssueChange,
    ) -> Result<Issue, PluginError>;

    /// Whether the issue is closed.
    async fn is_completed(&self, call: &Call, id: &str) -> Result<bool, PluginError> {
        Ok(!self.get(call, id).await?.open)
    }

    /// Where a human reads it.
    fn url(&self, id: &str) -> Option<String>;

    /// The branch for work on it; none = the host's own rule.
    fn branch_name(&self, issue: &Issue) -> Option<String> {
        issue.branch.clone()
    }

    /// What the agent is told to do: the issue's text as the tracker words it. The host fences it as data.
    fn prompt(&self, issue: &Issue) -> String {
        format!("{}\n\n{}", issue.title, issue.body)
    }
}
