//! What scripts read: `sessions/<id>.json`, written after the fact, at most once a second each, never read back.

use std::{
    collections::{BTreeSet, HashMap},
    io,
    path::Path,
    time::Duration,
};

use ao_slots::SessionId;
use jiff::Timestamp;
use serde::Serialize;
use tokio::{
    sync::{broadcast::error::RecvError, watch},
    time::Instant,
};

use super::handle::Handle;
use crate::{
    disk::{Disk, Open},
    state::{Session, State, Status, Zone},
};

/// A session's file is written no more often than that.
const EVERY: Duration = Duration::from_secs(1);

/// A session as scripts see it. Fields are added, never renamed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Projection<'s> {
    session: &'s SessionId,
    project: &'s str,
    issue: Option<&'s str>,
    title: &'s str,
    status: Status,
    zone: Zone,
    since: Timestamp,
    agent: &'s str,
    runtime: &'s str,
    branch: Option<&'s str>,
    /// None once it was removed.
    workspace: Option<&'s Path>,
    pr: Option<u64>,
    /// Requests that wait for a human.
    asks: usize,
    created: Timestamp,
    /// The last event that it holds.
    seq: u64,
}

/// Writes until the server ends.
pub(super) async fn run(handle: Handle, mut stopped: watch::Receiver<bool>) {
    let mut events = handle.subscribe();
    let mut dirty = all(&handle);
    let mut written: HashMap<SessionId, Instant> = HashMap::new();
    loop {
        written.retain(|_, at| at.elapsed() < EVERY);
        let ready: Vec<SessionId> =
            dirty.iter().filter(|id| !written.contains_key(*id)).cloned().collect();
        if !ready.is_empty() {
            let now = Instant::now();
            written.extend(ready.iter().map(|id| (id.clone(), now)));
            dirty.retain(|id| !written.contains_key(id));
            write(&handle, ready).await;
            continue;
        }
        let wait = written.values().map(|at| EVERY.saturating_sub(at.elapsed())).min();
        tokio::select! {
            // Cancel safe: an event that is not taken stays.
            event = events.recv() => match event {
                Ok(event) => dirty.extend(event.session.clone()),
                Err(RecvError::Lagged(_)) => dirty.extend(all(&handle)),
                Err(RecvError::Closed) => return,
            },
            () = tokio::time::sleep(wait.unwrap_or(EVERY)), if !dirty.is_empty() => {}
            // Cancel safe: only looks.
            _ = stopped.changed() => return,
        }
    }
}

fn all(handle: &Handle) -> BTreeSet<SessionId> {
    handle.state().sessions.keys().cloned().collect()
}

async fn write(handle: &Handle, sessions: Vec<SessionId>) {
    let files: Vec<(SessionId, Vec<u8>)> = {
        let state = handle.state();
        let known = sessions.iter().filter_map(|id| state.sessions.get(id));
        known.map(|session| (session.id.clone(), json(&state, session))).collect()
    };
    let shell = handle.shell.clone();
    let folder = handle.data_dir().join("sessions");
    let done = tokio::task::spawn_blocking(move || {
        shell.disk().create_dir(&folder)?;
        files.iter().try_for_each(|(id, json)| replace(shell.disk(), &folder, id, json))
    });
    match done.await {
        Ok(Ok(())) => {}
        // It is written again with the next change; nothing depends on it.
        Ok(Err(error)) => tracing::debug!(%error, "a session's file could not be written"),
        Err(error) => tracing::debug!(%error, "a session's file could not be written"),
    }
}

/// Whole or not at all, but not synced: the journal is what must survive.
fn replace(disk: &dyn Disk, folder: &Path, id: &SessionId, json: &[u8]) -> io::Result<()> {
    let beside = folder.join(format!("{id}.json.tmp"));
    disk.open(&beside, Open::Create)?.write_at(0, json)?;
    disk.rename(&beside, &folder.join(format!("{id}.json")))
}

fn json(state: &State, session: &Session) -> Vec<u8> {
    let workspace = session.workspace.as_ref();
    let projection = Projection {
        session: &session.id,
        project: session.project.as_str(),
        issue: session.issue.as_deref(),
        title: &session.title.excerpt,
        status: session.status,
        zone: state.zone_of(session),
        since: session.status_since.at,
        agent: &session.agent,
        runtime: &session.runtime,
        branch: workspace.map(|workspace| workspace.branch.as_str()),
        workspace: workspace
            .filter(|_| !session.workspace_gone)
            .map(|workspace| workspace.path.as_path()),
        pr: session.pr().map(|pr| pr.number.0),
        asks: session.open_requests().count(),
        created: session.created.at,
        seq: state.last_seq.0,
    };
    let mut json = serde_json::to_vec_pretty(&projection).unwrap_or_default();
    json.push(b'\n');
    json
}
