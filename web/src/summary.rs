//! What became of a session's work, in a clause, and since when its line in a list holds.

use ao_core::{
    slots::{fact::WorkFacts, text::count},
    state::{Incident, Session, Status},
};
use jiff::Timestamp;

/// Since when what a session's line says is so: the question, the end, the silence, else the status.
pub fn since(session: &Session, open: Option<&Incident>) -> Timestamp {
    match session.status {
        Status::Blocked | Status::NeedsInput => {
            let asked = session.open_requests().find(|request| request.decided.is_none());
            asked.map_or(session.status_since.at, |request| request.opened.at)
        }
        Status::Errored => session.runtime_state.since.at.max(session.activity.since.at),
        Status::Stuck => session.progress.at,
        Status::Spawning => session.step_since.at,
        _ => open.map_or(session.status_since.at, |incident| incident.opened.at),
    }
}

/// `3 commits, 2 changed files`.
pub fn work(work: Option<&WorkFacts>) -> String {
    let Some(work) = work else { return "its work was not looked at yet".to_owned() };
    let commits = count(work.commits.into(), "commit", "commits");
    if work.is_clean() {
        return format!("{commits}, tree clean");
    }
    format!("{commits}, {}", count(work.changed_files.into(), "changed file", "changed files"))
}
