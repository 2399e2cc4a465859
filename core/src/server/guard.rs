//! `ao`'s own files of each session, above all the settings that make an agent signal: looked at each sweep,
//! restored when another changed them, and a human is told.

use std::{
    collections::BTreeMap,
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use ao_slots::{PluginError, SessionId, agent::LaunchPlan};

use super::{
    handle::Handle,
    lane::{Shell, lock},
    run::chain,
};
use crate::{
    blob::sha256,
    decide::{Input, RefusalKind},
    disk,
    state::Session,
};

/// One file as it should be.
#[derive(Debug, Clone)]
pub(super) struct Guarded {
    session: SessionId,
    /// SHA-256 of its content.
    hash: String,
    /// How it was when it last was as it should be; so a sweep reads none that nobody wrote.
    seen: Option<Stamp>,
}

/// When a file was last changed in any way, which nobody can set, and its size.
type Stamp = (i64, i64, u64);

fn stamp(path: &Path) -> Option<Stamp> {
    let meta = std::fs::symlink_metadata(path).ok()?;
    Some((meta.ctime(), meta.ctime_nsec(), meta.len()))
}

impl Shell {
    /// Writes the files that a launch needs.
    pub(super) fn place_files(
        &self,
        session: &SessionId,
        plan: &LaunchPlan,
    ) -> Result<(), PluginError> {
        // Nobody is to be accused of what happens here.
        lock(&self.guarded).retain(|_, guarded| guarded.session != *session);
        for file in &plan.files {
            self.write_private(&file.path, file.content.as_bytes())?;
        }
        let hashes: BTreeMap<PathBuf, String> = plan
            .files
            .iter()
            .filter(|file| file.guarded)
            .map(|file| (file.path.clone(), sha256(file.content.as_bytes())))
            .collect();
        let json = serde_json::to_vec(&hashes).unwrap_or_default();
        self.write_private(&self.hashes(session), &json)?;
        self.watch(session, hashes);
        Ok(())
    }

    /// Goes on watching the files of sessions that an earlier server started.
    pub(super) fn watch_again(&self) {
        let live: Vec<SessionId> = {
            let state = self.state();
            let live = state.sessions.values().filter(|session| !session.is_over());
            live.map(|session| session.id.clone()).collect()
        };
        for session in live {
            let json = disk::read(self.disk(), &self.hashes(&session));
            if let Some(hashes) = json.ok().and_then(|json| serde_json::from_slice(&json).ok()) {
                self.watch(&session, hashes);
            }
        }
    }

    fn watch(&self, session: &SessionId, hashes: BTreeMap<PathBuf, String>) {
        let entry = |hash| Guarded { session: session.clone(), hash, seen: None };
        lock(&self.guarded).extend(hashes.into_iter().map(|(path, hash)| (path, entry(hash))));
    }

    pub(super) fn unwatch(&self, session: &SessionId) {
        lock(&self.guarded).retain(|_, guarded| guarded.session != *session);
    }

    fn hashes(&self, session: &SessionId) -> PathBuf {
        self.agent_dir(session).join("guarded.json")
    }

    /// The files that are not as they should be, each with what it holds; none where it is gone.
    fn changed(&self) -> Vec<(PathBuf, Guarded, Option<Vec<u8>>)> {
        let mut changed = vec![];
        let all = lock(&self.guarded).clone();
        for (path, guarded) in all {
            let now = stamp(&path);
            if now.is_some() && now == guarded.seen {
                continue;
            }
            let content = match disk::read(self.disk(), &path) {
                Ok(content) => Some(content),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                // What cannot be read now is looked at again.
                Err(_) => continue,
            };
            if content.as_deref().is_some_and(|content| sha256(content) == guarded.hash) {
                self.accept(&path, &guarded.session, guarded.hash, now);
            } else {
                changed.push((path, guarded, content));
            }
        }
        changed
    }

    /// From now on this is how it should be. Not for a session that was started anew meanwhile.
    fn accept(&self, path: &Path, session: &SessionId, hash: String, seen: Option<Stamp>) {
        let mut all = lock(&self.guarded);
        if let Some(guarded) = all.get_mut(path).filter(|guarded| guarded.session == *session) {
            (guarded.hash, guarded.seen) = (hash, seen);
        }
    }
}

/// Looks at all of them once.
pub(super) async fn look(handle: &Handle) {
    let shell = handle.shell.clone();
    let changed = tokio::task::spawn_blocking(move || shell.changed()).await;
    for (path, guarded, content) in changed.unwrap_or_default() {
        restore(handle, &path, guarded, content).await;
    }
}

async fn restore(handle: &Handle, path: &Path, guarded: Guarded, content: Option<Vec<u8>>) {
    let Guarded { session, .. } = guarded;
    let shell = &handle.shell;
    let known = shell.work_of(&session).filter(|work| !Session::is_over(&work.session));
    let Some(work) = known else { return };
    let request = shell.launch_request(&work, work.session.launch, false).await;
    let plan = request.and_then(|request| work.plugins.agent.plan_launch(&request));
    let planned =
        plan.as_ref().ok().and_then(|plan| plan.files.iter().find(|file| file.path == path));
    // A start that has written it anew meanwhile is nobody's tampering.
    if work.session.busy.is_some() {
        return;
    }
    let kept = content.as_deref().and_then(|content| {
        let kept = path.with_extension(format!("changed-{}", &sha256(content)[..8]));
        shell.write_private(&kept, content).ok()?;
        Some(kept.to_string_lossy().into_owned())
    });
    let input = Input::Tampered { path: path.to_string_lossy().into_owned(), kept };
    // What cannot be recorded is left as it is, and seen again by the next sweep.
    if handle.submit(input).await.is_err_and(|refusal| refusal.kind == RefusalKind::Unavailable) {
        return;
    }
    let restored = match planned {
        Some(file) => shell.write_private(path, file.content.as_bytes()).map(|()| &file.content),
        None => {
            Err(PluginError::permanent(path.display().to_string(), "nothing plans it any more"))
        }
    };
    match restored {
        Ok(content) => shell.accept(path, &session, sha256(content.as_bytes()), None),
        Err(error) => {
            tracing::error!(error = %chain(&error), "a changed file could not be restored");
            // Told once is enough.
            match content {
                Some(content) => shell.accept(path, &session, sha256(&content), None),
                None => _ = lock(&shell.guarded).remove(path),
            }
        }
    }
}
