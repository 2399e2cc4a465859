//! Projects and their issues.

use std::{sync::Arc, time::Duration};

use ao_core::{
    event::digest,
    slots::{
        Call, ProjectId,
        tracker::{Issue, IssueFilter, Tracker},
    },
};
use axum::{
    Json, Router,
    extract::{Path, State},
    routing::get,
};

use super::{Api, Reply};
use crate::{Code, Problem, caller::Looks, view};

pub(super) fn routes() -> Router<Arc<Api>> {
    Router::new()
        .route("/api/projects", get(projects))
        .route("/api/projects/{id}/issues", get(issues))
        .route("/api/projects/{id}/issues/{issue}", get(issue))
}

async fn projects(State(api): State<Arc<Api>>, _: Looks) -> Json<view::ProjectList> {
    Json(view::projects(&api.handle.state()))
}

async fn issues(
    State(api): State<Arc<Api>>,
    _: Looks,
    Path(id): Path<ProjectId>,
) -> Reply<Vec<Issue>> {
    let (tracker, call) = tracker(&api, &id)?;
    Ok(Json(tracker.list(&call, &IssueFilter::default()).await?))
}

/// Blockers that are looked at.
const BLOCKERS: usize = 10;

async fn issue(
    State(api): State<Arc<Api>>,
    _: Looks,
    Path((id, issue)): Path<(ProjectId, String)>,
) -> Reply<view::IssueDoc> {
    let (tracker, call) = tracker(&api, &id)?;
    let issue = tracker.get(&call, &issue).await?;
    // No answer is not a no.
    let trusted = tracker.is_trusted(&call, &issue).await.ok();
    let mut waits_for = vec![];
    for other in issue.blocked_by.iter().take(BLOCKERS) {
        // One that cannot be looked at, as where it was removed, keeps nobody.
        if matches!(tracker.is_completed(&call, other).await, Ok(false)) {
            waits_for.push(other.clone());
        }
    }
    let text = tracker.prompt(&issue);
    let digest = digest(&text);
    let schema = "ao.issue/1".into();
    Ok(Json(view::IssueDoc { schema, issue, text, digest, trusted, waits_for }))
}

/// The tracker of a project, and a call to it.
fn tracker(api: &Api, id: &ProjectId) -> Result<(Arc<dyn Tracker>, Call), Problem> {
    let plugins = api.handle.plugins();
    let missing =
        || Problem::new(Code::NotFound, format!("there is no project {id}")).with_remedy("ao init");
    let project = plugins.projects.get(id).ok_or_else(missing)?;
    let tracker = project.tracker.clone();
    let tracker =
        tracker.ok_or_else(|| Problem::new(Code::NotFound, format!("{id} has no tracker")))?;
    Ok((tracker, Call::new(format!("issues-{id}"), Duration::from_secs(10))))
}
