//! `ao`'s own files of each session, above all the settings that make an agent signal: looked at each sweep,
//! restored when another changed them, and a human is told.

use std::{
    collections::BTreeMap,
    fs::Metadata,
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use ao_slots::{Launch, PluginError, SessionId, agent::LaunchPlan};

use super::{
    handle::Handle,
    lane::{Shell, lock},
    run::chain,
};
use crate::{
    blob::sha256,
    decide::{Input, RefusalKind},
    disk,
};

/// One file as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Guarded {
    session: SessionId,
    /// The start for which it was written.
    launch: Launch,
    /// SHA-256 of its content.
    hash: String,
    /// How it was when it last was as it should be; so a sweep reads none that nobody wrote.
    seen: Option<Stamp>,
    /// The last sweep could not read it.
    doubted: bool,
}

/// When a file was last changed in any way, which nobody can set, and its size.
type Stamp = (i64, i64, u64);

fn stamp(meta: &Metadata) -> Stamp {
    (meta.ctime(), meta.ctime_nsec(), meta.len())
}

/// What is in the place of a file that is not as it should be.
#[derive(Debug)]
enum Found {
    Nothing,
    File(Vec<u8>),
    /// A link, a folder, or what cannot be read.
    Other,
}

impl Shell {
    /// Writes the files that a launch needs.
    pub(super) fn place_files(
        &self,
        session: &SessionId,
        launch: Launch,
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
        self.watch(session, launch, hashes);
        Ok(())
    }

    /// Goes on watching the files of sessions that an earlier server started.
    pub(super) fn watch_again(&self) {
        let live: Vec<(SessionId, Launch)> = {
            let state = self.state();
            let live = state.sessions.values().filter(|session| !session.is_over());
            live.map(|session| (session.id.clone(), session.launch)).collect()
        };
        for (session, launch) in live {
            let json = disk::read(self.disk(), &self.hashes(&session));
            if let Some(hashes) = json.ok().and_then(|json| serde_json::from_slice(&json).ok()) {
                self.watch(&session, launch, hashes);
            }
        }
    }

    fn watch(&self, session: &SessionId, launch: Launch, hashes: BTreeMap<PathBuf, String>) {
        let session = || session.clone();
        let entry = |hash| Guarded { session: session(), launch, hash, seen: None, doubted: false };
        lock(&self.guarded).extend(hashes.into_iter().map(|(path, hash)| (path, entry(hash))));
    }

    pub(super) fn unwatch(&self, session: &SessionId) {
        lock(&self.guarded).retain(|_, guarded| guarded.session != *session);
    }

    fn hashes(&self, session: &SessionId) -> PathBuf {
        self.agent_dir(session).join("guarded.json")
    }

    /// The files that are not as they should be, each with what is there.
    fn changed(&self) -> Vec<(PathBuf, Guarded, Found)> {
        let mut changed = vec![];
        let all = lock(&self.guarded).clone();
        for (path, guarded) in all {
            let meta = std::fs::symlink_metadata(&path).ok();
            let now = meta.as_ref().map(stamp);
            if now.is_some() && now == guarded.seen {
                continue;
            }
            let found = match meta {
                Some(meta) if !meta.is_file() => Found::Other,
                _ => match disk::read(self.disk(), &path) {
                    Ok(content) => Found::File(content),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Found::Nothing,
                    Err(_) if guarded.doubted => Found::Other,
                    // It may be the disk: it is looked at once more.
                    Err(_) => {
                        self.accept(&path, &guarded, |known| known.doubted = true);
                        continue;
                    }
                },
            };
            match found {
                Found::File(content) if sha256(&content) == guarded.hash => {
                    self.accept(&path, &guarded, |known| {
                        (known.seen, known.doubted) = (now, false)
                    });
                }
                found => changed.push((path, guarded, found)),
            }
        }
        changed
    }

    /// Changes what is known of a file, unless it was written anew meanwhile.
    fn accept(&self, path: &Path, guarded: &Guarded, change: impl FnOnce(&mut Guarded)) {
        if let Some(known) = lock(&self.guarded).get_mut(path).filter(|known| *known == guarded) {
            change(known);
        }
    }

    /// Nobody has written the file since it was looked at, and nobody is about to.
    fn stands(&self, path: &Path, guarded: &Guarded) -> bool {
        let same = lock(&self.guarded).get(path) == Some(guarded);
        let state = self.state();
        let session = state.sessions.get(&guarded.session).filter(|session| !session.is_over());
        same && session.is_some_and(|s| s.launch == guarded.launch && s.busy.is_none())
    }
}

/// Looks at all of them once.
pub(super) async fn look(handle: &Handle) {
    let shell = handle.shell.clone();
    let changed = tokio::task::spawn_blocking(move || shell.changed()).await;
    for (path, guarded, found) in changed.unwrap_or_default() {
        restore(handle, &path, &guarded, found).await;
    }
}

async fn restore(handle: &Handle, path: &Path, guarded: &Guarded, found: Found) {
    let shell = &handle.shell;
    let Some(work) = shell.work_of(&guarded.session) else { return };
    let request = shell.launch_request(&work, guarded.launch, false).await;
    let plan = request.and_then(|request| work.plugins.agent.plan_launch(&request));
    let planned =
        plan.as_ref().ok().and_then(|plan| plan.files.iter().find(|file| file.path == path));
    // A start that writes it anew is nobody's tampering.
    if !shell.stands(path, guarded) {
        return;
    }
    let beside = |name: &str| path.with_extension(format!("changed-{name}"));
    let kept = match &found {
        Found::Nothing => None,
        Found::File(content) => {
            let kept = beside(&sha256(content)[..8]);
            shell.write_private(&kept, content).ok().map(|()| kept)
        }
        Found::Other => Some(beside(&ulid::Ulid::generate().to_string())),
    };
    let told = kept.as_ref().map(|kept| kept.to_string_lossy().into_owned());
    let input = Input::Tampered { path: path.to_string_lossy().into_owned(), kept: told };
    // What cannot be recorded is left as it is, and seen again by the next sweep.
    if handle.submit(input).await.is_err_and(|refusal| refusal.kind == RefusalKind::Unavailable) {
        return;
    }
    if !shell.stands(path, guarded) {
        return;
    }
    let moved = match (&found, kept) {
        (Found::Other, Some(kept)) => shell.disk().rename(path, &kept),
        _ => Ok(()),
    };
    let failed =
        |error| PluginError::permanent(format!("could not move `{}` aside", path.display()), error);
    let restored = moved.map_err(failed).and_then(|()| match planned {
        Some(file) => shell.write_private(path, file.content.as_bytes()).map(|()| &file.content),
        None => {
            Err(PluginError::permanent(path.display().to_string(), "nothing plans it any more"))
        }
    });
    let accept = |content: &[u8]| {
        shell.accept(path, guarded, |known| {
            (known.hash, known.seen, known.doubted) = (sha256(content), None, false);
        });
    };
    match (restored, found) {
        (Ok(content), _) => accept(content.as_bytes()),
        (Err(error), found) => {
            tracing::error!(error = %chain(&error), "a changed file could not be restored");
            // Told once is enough.
            match found {
                Found::File(content) => accept(&content),
                Found::Nothing | Found::Other => _ = lock(&shell.guarded).remove(path),
            }
        }
    }
}
