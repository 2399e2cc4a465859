//! A tracker that keeps its issues in memory.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use ao_slots::{
    Call, ErrorKind, PluginError, text,
    tracker::{Issue, IssueChange, IssueFilter, Tracker, blockers},
};
use async_trait::async_trait;
use tokio::{sync::watch, time::timeout};

use super::Bench;

/// The issues, by number.
#[derive(Debug, Default)]
pub struct Memory {
    state: Mutex<State>,
    held: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct State {
    broken: bool,
    issues: BTreeMap<u64, Stored>,
}

#[derive(Debug)]
struct Stored {
    issue: Issue,
    key: String,
    revision: u64,
    comments: Vec<String>,
}

impl Memory {
    fn state(&self) -> Result<MutexGuard<'_, State>, PluginError> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.broken {
            return Err(PluginError::transient("the tracker does not answer", ""));
        }
        Ok(state)
    }

    async fn wait(&self, call: &Call) -> Result<(), PluginError> {
        let mut held = self.held.subscribe();
        match timeout(call.limit(), held.wait_for(|held| !held)).await {
            Ok(_) => Ok(()),
            Err(_) => Err(PluginError::transient("the tracker is busy", "")),
        }
    }
}

/// The number that an id is; an error for what is none.
fn number(id: &str) -> Result<u64, PluginError> {
    id.parse().map_err(|error| PluginError::permanent("it is no issue's id", error))
}

fn missing() -> PluginError {
    PluginError::new(ErrorKind::NotFound, "there is no such issue", "")
}

fn bounded(body: &str) -> String {
    let mut body = body.to_owned();
    body.truncate(body.floor_char_boundary(64 << 10));
    body
}

#[async_trait]
impl Bench for Memory {
    fn plugin(&self) -> &dyn Tracker {
        self
    }
    async fn break_tracker(&self, broken: bool) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).broken = broken;
    }
    async fn hold(&self, held: bool) {
        self.held.send_replace(held);
    }
    async fn revision(&self, id: &str) -> String {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let stored = id.parse().ok().and_then(|number: u64| state.issues.get(&number));
        stored.map(|stored| stored.revision.to_string()).unwrap_or_default()
    }
    async fn comments(&self, id: &str) -> Option<usize> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.issues.get(&id.parse().ok()?).map(|stored| stored.comments.len())
    }
    fn somebody(&self) -> Option<&'static str> {
        Some("ben")
    }
}

#[async_trait]
impl Tracker for Memory {
    async fn get(&self, _: &Call, id: &str) -> Result<Issue, PluginError> {
        let state = self.state()?;
        Ok(state.issues.get(&number(id)?).ok_or_else(missing)?.issue.clone())
    }

    async fn list(&self, _: &Call, filter: &IssueFilter) -> Result<Vec<Issue>, PluginError> {
        let state = self.state()?;
        let issues = state.issues.values().map(|stored| &stored.issue);
        let wanted = |issue: &&Issue| {
            (issue.open || filter.closed)
                && filter.labels.iter().all(|label| issue.labels.contains(label))
                && filter.assignee.iter().all(|one| issue.assignees.contains(one))
        };
        Ok(issues.filter(wanted).cloned().collect())
    }

    async fn create(
        &self,
        call: &Call,
        title: &str,
        body: &str,
        labels: &[String],
    ) -> Result<Issue, PluginError> {
        self.wait(call).await?;
        let mut state = self.state()?;
        if let Some(stored) = state.issues.values().find(|stored| stored.key == call.key) {
            return Ok(stored.issue.clone());
        }
        let number = state.issues.last_key_value().map_or(1, |(last, _)| last + 1);
        let issue = Issue {
            id: number.to_string(),
            title: text::one_line(title),
            body: bounded(body),
            open: true,
            labels: labels.to_vec(),
            url: None,
            branch: None,
            author: None,
            assignees: Vec::new(),
            blocked_by: blockers(body),
        };
        let (key, comments) = (call.key.clone(), Vec::new());
        let stored = Stored { issue: issue.clone(), key, revision: 1, comments };
        state.issues.insert(number, stored);
        Ok(issue)
    }

    async fn update(
        &self,
        call: &Call,
        id: &str,
        change: &IssueChange,
    ) -> Result<Issue, PluginError> {
        let number = number(id)?;
        self.wait(call).await?;
        let mut state = self.state()?;
        let stored = state.issues.get_mut(&number).ok_or_else(missing)?;
        let before = stored.issue.clone();
        let issue = &mut stored.issue;
        if let Some(title) = &change.title {
            issue.title = text::one_line(title);
        }
        if let Some(body) = &change.body {
            issue.body = bounded(body);
            issue.blocked_by = blockers(body);
        }
        if let Some(assignees) = &change.assignees {
            issue.assignees.clone_from(assignees);
        }
        issue.open = change.open.unwrap_or(issue.open);
        if let Some(labels) = &change.labels {
            issue.labels.clone_from(labels);
        }
        stored.revision += u64::from(*issue != before);
        Ok(stored.issue.clone())
    }

    async fn comment(&self, call: &Call, id: &str, _: &str) -> Result<(), PluginError> {
        let number = number(id)?;
        self.wait(call).await?;
        let mut state = self.state()?;
        let stored = state.issues.get_mut(&number).ok_or_else(missing)?;
        if !stored.comments.contains(&call.key) {
            stored.comments.push(call.key.clone());
        }
        Ok(())
    }

    fn url(&self, _: &str) -> Option<String> {
        None
    }
}
