//! Projects and their issues.

use std::path::PathBuf;

use ao_core::{
    slots::{ProjectId, tracker::Issue},
    state::State,
};
use serde::{Deserialize, Serialize};

/// `ao.issue/1`: an issue, and what keeps an agent from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IssueDoc {
    /// `ao.issue/1`.
    pub schema: String,
    /// The issue; all its text is untrusted.
    pub issue: Issue,
    /// What an agent would be given of it; untrusted.
    pub text: String,
    /// That text's digest: what a human has read goes to an agent as it was read.
    pub digest: String,
    /// Its author may write to the repository; none = the tracker did not say.
    pub trusted: Option<bool>,
    /// Issues that are open and must be closed before.
    pub waits_for: Vec<String>,
}

/// A project.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProjectView {
    /// Its id.
    pub id: ProjectId,
    /// What people call it.
    pub name: String,
    /// The repository.
    pub path: PathBuf,
    /// The first part of its sessions' ids.
    pub session_prefix: String,
    /// Its plugins: agent, runtime, workspace, terminal, tracker, scm.
    pub agent: String,
    /// Where sessions execute.
    pub runtime: String,
    /// Issues; none = by the repository.
    pub tracker: Option<String>,
    /// Sessions that are not over.
    pub sessions: u32,
}

/// A list of projects.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProjectList {
    /// `ao.projects/1`.
    pub schema: String,
    /// By id.
    pub projects: Vec<ProjectView>,
}

/// Builds the list of projects.
pub fn projects(state: &State) -> ProjectList {
    let open = |id: &ProjectId| {
        state.sessions.values().filter(|s| !s.is_over() && s.project == *id).count()
    };
    let projects = state.policy.projects.iter().map(|(id, project)| ProjectView {
        id: id.clone(),
        name: project.name.clone(),
        path: project.path.clone(),
        session_prefix: project.session_prefix.to_string(),
        agent: project.agent.plugin.clone(),
        runtime: project.runtime.plugin.clone(),
        tracker: project.tracker.as_ref().map(|tracker| tracker.plugin.clone()),
        sessions: u32::try_from(open(id)).unwrap_or(u32::MAX),
    });
    ProjectList { schema: "ao.projects/1".into(), projects: projects.collect() }
}
