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
    /// Who wrote it; none where the tracker knows nobody.
    #[serde(default)]
    pub author: Option<String>,
    /// Who shall do it; empty where the tracker knows nobody.
    #[serde(default)]
    pub assignees: Vec<String>,
    /// The ids of the issues that must be closed before, as the tracker and the text say; closed ones too.
    #[serde(default)]
    pub blocked_by: Vec<String>,
}

/// The ids that a text names as what it waits for: `blocked by #12`, `Depends on: #3, #4 and #5`. At most 20.
pub fn blockers(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let lower = text.to_ascii_lowercase();
    for word in ["blocked by", "depends on"] {
        for (at, _) in lower.match_indices(word) {
            let mut rest = lower[at + word.len()..].trim_start_matches([':', '*']);
            loop {
                rest = rest.trim_start_matches([' ', '\t', ',', '&']);
                rest = rest.strip_prefix("and ").unwrap_or(rest).trim_start();
                let Some(id) = rest.strip_prefix('#') else { break };
                let end = id.find(|c: char| !c.is_ascii_digit()).unwrap_or(id.len());
                let (id, after) = id.split_at(end);
                if id.is_empty() {
                    break;
                }
                if !found.iter().any(|known| known == id) && found.len() < 20 {
                    found.push(id.to_owned());
                }
                rest = after;
            }
        }
    }
    found
}

/// Which issues to list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Default)]
#[serde(rename_all = "camelCase")]
pub struct IssueFilter {
    /// Closed ones too.
    pub closed: bool,
    /// Only with all of these labels.
    pub labels: Vec<String>,
    /// Only those that this one shall do.
    #[serde(default)]
    pub assignee: Option<String>,
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
    /// Everybody who shall do it.
    #[serde(default)]
    pub assignees: Option<Vec<String>>,
}

/// Reads and writes issues.
///
/// # Idempotency
/// `create` with the key of an earlier one returns that issue, `comment` with the key of an earlier one says nothing
/// more. `update` to what it already is changes nothing.
/// # Cancel safety
/// A dropped `create` or `comment` may have happened; the key finds it. `update` is whole or not at all.
/// # Deadline
/// Within `call.limit()`.
/// # Errors
/// An id that does not exist is `NotFound`; an id that is no id of this tracker is `Permanent`. A tracker
/// that does not answer is `Transient`, never "no issues". What a tracker does not have (people, comments) is
/// `Unsupported`, never passed over.
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

    /// Says something below an issue.
    async fn comment(&self, _call: &Call, _id: &str, _text: &str) -> Result<(), PluginError> {
        Err(PluginError::unsupported("this tracker has no comments"))
    }

    /// Whether the issue is closed.
    async fn is_completed(&self, call: &Call, id: &str) -> Result<bool, PluginError> {
        Ok(!self.get(call, id).await?.open)
    }

    /// Whether its author may write to the repository: what others wrote goes to an agent only when a human has said so.
    /// Where the tracker knows nobody, who writes issues has the files.
    async fn is_trusted(&self, _call: &Call, _issue: &Issue) -> Result<bool, PluginError> {
        Ok(true)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_names_what_it_waits_for() {
        for (text, expected) in [
            ("", &[][..]),
            ("Blocked by #12", &["12"]),
            ("**Depends on:** #3, #4 and #5.", &["3", "4", "5"]),
            ("blocked by #7\nblocked by #8 & #7", &["7", "8"]),
            ("blocked by the weather, see #9", &[]),
            ("blocked by acme/other#4, #", &[]),
            ("not blocked; depends on\n#2", &["2"]),
        ] {
            assert_eq!(blockers(text), expected, "{text}");
        }
        let many: String = (0..50).map(|id| format!("depends on #{id} ")).collect();
        assert_eq!(blockers(&many).len(), 20);
    }
}
