//! What is known, as values of the host's journal. No other store.
//!
//! | key | value |
//! |---|---|
//! | `pull/<n>` | [`Pull`] |
//! | `open/<branch>` | the number of the open one of a branch |
//! | `review/<n>/<count>` | [`Review`](crate::review::Review) |
//! | `check/<n>/<head>/<name>` | [`Check`] |

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use ao_slots::{
    PluginError,
    fact::PrState,
    process::ProcessId,
    scm::{CheckState, Records},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::{
    sync::{Mutex, MutexGuard},
    time::{Instant, timeout_at},
};

/// Values to set or, by none, to remove.
pub(crate) type Changes = BTreeMap<String, Option<Value>>;

/// One pull request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Pull {
    /// The key of the call that opened it.
    pub(crate) key: String,
    pub(crate) title: String,
    pub(crate) body: String,
    pub(crate) branch: String,
    pub(crate) base: String,
    pub(crate) draft: bool,
    pub(crate) stage: PullStage,
    /// Who wrote the commit that was its head when it was opened.
    pub(crate) author: Option<String>,
    pub(crate) opened: Timestamp,
    /// A merge that has begun and may have happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) merging: Option<Merge>,
    /// The merge that happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) merged: Option<Merge>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum PullStage {
    Open,
    Closed,
    Merged,
}

/// One merge.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Merge {
    /// What was merged.
    pub(crate) head: String,
    /// What came of it.
    pub(crate) commit: String,
    pub(crate) at: Timestamp,
}

impl Pull {
    pub(crate) fn is_open(&self) -> bool {
        self.stage == PullStage::Open
    }

    pub(crate) fn state(&self) -> PrState {
        match self.stage {
            PullStage::Open if self.draft => PrState::Draft,
            PullStage::Open => PrState::Open,
            PullStage::Closed => PrState::Closed,
            PullStage::Merged => PrState::Merged,
        }
    }
}

/// One check of one head: its last run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Check {
    pub(crate) stage: CheckStage,
    /// Which run of it, from 1.
    pub(crate) attempt: u32,
    /// Names this run: its worktree, its log, and a variable of its processes.
    pub(crate) mark: String,
    /// The leader of its process group, while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) process: Option<ProcessId>,
    /// None when a signal ended it, or nothing was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) exit: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) started: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ended: Option<Timestamp>,
    /// Why it failed, on one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) summary: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum CheckStage {
    Queued,
    Running,
    Passed,
    Failed,
    /// Ended before it came to a verdict. Where its head still counts, it is run once more.
    Cancelled,
}

impl Check {
    /// A run that waits for its turn, after `before`.
    pub(crate) fn queued(before: Option<&Self>, mark: String) -> Self {
        Self {
            stage: CheckStage::Queued,
            attempt: before.map_or(1, |before| before.attempt.saturating_add(1)),
            mark,
            process: None,
            exit: None,
            started: None,
            ended: None,
            summary: None,
        }
    }

    pub(crate) fn is_under_way(&self) -> bool {
        matches!(self.stage, CheckStage::Queued | CheckStage::Running)
    }

    /// The same, ended without a verdict.
    pub(crate) fn cancelled(&self) -> Self {
        let (stage, ended) = (CheckStage::Cancelled, Some(Timestamp::now()));
        Self { stage, process: None, ended, ..self.clone() }
    }

    pub(crate) fn state(&self) -> CheckState {
        match self.stage {
            CheckStage::Queued => CheckState::Queued,
            CheckStage::Cancelled => CheckState::Skipped,
            CheckStage::Running => CheckState::Running,
            CheckStage::Passed => CheckState::Passed,
            CheckStage::Failed => CheckState::Failed,
        }
    }
}

pub(crate) fn pull_key(number: u64) -> String {
    format!("pull/{number}")
}

pub(crate) fn open_key(branch: &str) -> String {
    format!("open/{branch}")
}

pub(crate) fn reviews_of(number: u64) -> String {
    format!("review/{number}/")
}

pub(crate) fn checks_of(number: u64, head: &str) -> String {
    format!("check/{number}/{head}/")
}

/// Sets a value.
pub(crate) fn put(
    changes: &mut Changes,
    key: String,
    value: &impl Serialize,
) -> Result<(), PluginError> {
    let value = serde_json::to_value(value).map_err(|cause| {
        PluginError::permanent(format!("cannot write the record `{key}`"), cause)
    })?;
    changes.insert(key, Some(value));
    Ok(())
}

/// The records, once the host has given them.
#[derive(Debug, Default)]
pub(crate) struct Book {
    records: OnceLock<Arc<dyn Records>>,
    change: Mutex<()>,
}

impl Book {
    pub(crate) fn keep(&self, records: Arc<dyn Records>) {
        // A second one would be of the same host.
        let _first = self.records.set(records);
    }

    fn records(&self) -> Result<&Arc<dyn Records>, PluginError> {
        self.records.get().ok_or_else(|| {
            PluginError::permanent(
                "pull requests cannot be kept",
                "the host gave no place for them",
            )
        })
    }

    /// The right to read, decide and write.
    pub(crate) async fn hold(&self, until: Instant) -> Result<MutexGuard<'_, ()>, PluginError> {
        timeout_at(until, self.change.lock()).await.map_err(|_| {
            PluginError::transient("the pull requests are busy", "others of them are being changed")
        })
    }

    /// All values below a prefix.
    pub(crate) async fn all<T: DeserializeOwned>(
        &self,
        prefix: &str,
    ) -> Result<BTreeMap<String, T>, PluginError> {
        let read = self.records()?.read(prefix).await?;
        read.into_iter().map(|(key, value)| Ok((key.clone(), parse(&key, value)?))).collect()
    }

    pub(crate) async fn pull(&self, number: u64) -> Result<Option<Pull>, PluginError> {
        let key = pull_key(number);
        let value = self.records()?.read(&key).await?.remove(&key);
        value.map(|value| parse(&key, value)).transpose()
    }

    /// All pull requests there ever were.
    pub(crate) async fn pulls(&self) -> Result<BTreeMap<u64, Pull>, PluginError> {
        let all = self.all::<Pull>("pull/").await?;
        let number = |key: &str| key.strip_prefix("pull/")?.parse().ok();
        Ok(all.into_iter().filter_map(|(key, pull)| Some((number(&key)?, pull))).collect())
    }

    /// The numbers of the open ones, by branch.
    pub(crate) async fn open(&self) -> Result<BTreeMap<String, u64>, PluginError> {
        let all = self.all::<u64>("open/").await?;
        let branch = |key: String| Some(key.strip_prefix("open/")?.to_owned());
        Ok(all.into_iter().filter_map(|(key, number)| Some((branch(key)?, number))).collect())
    }

    /// The checks of one head, by name.
    pub(crate) async fn checks(
        &self,
        number: u64,
        head: &str,
    ) -> Result<BTreeMap<String, Check>, PluginError> {
        let prefix = checks_of(number, head);
        let all = self.all::<Check>(&prefix).await?;
        Ok(all.into_iter().map(|(key, check)| (key[prefix.len()..].to_owned(), check)).collect())
    }

    pub(crate) async fn write(&self, changes: Changes) -> Result<(), PluginError> {
        if changes.is_empty() {
            return Ok(());
        }
        self.records()?.write(changes).await
    }
}

fn parse<T: DeserializeOwned>(key: &str, value: Value) -> Result<T, PluginError> {
    serde_json::from_value(value)
        .map_err(|cause| PluginError::permanent(format!("cannot read the record `{key}`"), cause))
}
