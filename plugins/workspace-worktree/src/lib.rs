//! Gives each session its own git worktree, and never loses what lies in one.
//!
//! Drives the `git` program (2.36 or newer). Works on checkouts, subfolders of them, linked worktrees and bare
//! repositories. Hooks, the file system monitor, `ext::` addresses and whatever else a repository's own
//! configuration would execute are never run; filters of the user's own configuration are.

mod branch;
mod checkout;
mod inspect;
mod link;
mod make;
mod place;
mod remove;
mod setup;
#[cfg(test)]
mod tests;

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use ao_sdk::git::{Entry, Git, Locks, Repo};
use ao_slots::{
    Call, ErrorKind, InstanceId, PluginError,
    call::Answer,
    fact::WorkFacts,
    plugin::{BuildContext, Registration, settings},
    text,
    workspace::{
        CreateWorkspace, FoundWorkspace, PostCreate, PostCreateDone, Removal, Removed, RepoInfo,
        Workspace, WorkspaceHandle, WorkspaceInfo,
    },
};
use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    checkout::Checkout,
    make::{Mark, Progress},
    place::settle,
};

/// Its name in the config.
pub const NAME: &str = "worktree";

/// How long git may take beside measuring a workspace.
const MEASURE_LIMIT: Duration = Duration::from_secs(60);
/// Free space that a new workspace leaves, in bytes.
const RESERVE: u64 = 1 << 30;

/// The plugin.
pub fn registration() -> Registration<dyn Workspace> {
    Registration {
        name: NAME,
        about: "one git worktree a session",
        schema: || schemars::schema_for!(Settings),
        check: |value| settings::<Settings>(NAME, value).map(|_| ()),
        build: |value, context| {
            let Settings {} = settings(NAME, value)?;
            Ok(Arc::new(Worktrees::new(context)))
        },
    }
}

/// There is nothing to set.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Settings {}

/// Worktrees of all repositories.
#[derive(Debug)]
struct Worktrees {
    env: Arc<Vec<(OsString, OsString)>>,
    instance: InstanceId,
    locks: Arc<Locks>,
    reserve: u64,
}

impl Worktrees {
    fn new(context: &BuildContext) -> Self {
        Self {
            env: Git::environment(context),
            instance: context.instance.clone(),
            locks: Arc::default(),
            reserve: RESERVE,
        }
    }

    fn git(&self, call: &Call) -> Git {
        Git::new(self.env.clone(), Path::new("/"), call.limit())
    }

    /// Refuses when a workspace as large as the last one would leave too little free.
    fn check_space(&self, path: &Path, last: u64) -> Result<(), PluginError> {
        let folder = path.ancestors().find(|folder| folder.exists()).unwrap_or(path);
        let Ok(disk) = nix::sys::statvfs::statvfs(folder) else { return Ok(()) };
        #[expect(clippy::useless_conversion, reason = "narrower on some systems")]
        let free =
            u64::from(disk.blocks_available()).saturating_mul(u64::from(disk.fragment_size()));
        if free >= last.saturating_add(self.reserve) {
            return Ok(());
        }
        let cause = format!(
            "{} free, the last workspace took {} and {} are to stay free",
            text::size(free),
            text::size(last),
            text::size(self.reserve)
        );
        let what = format!("no space for a workspace in {}", folder.display());
        Err(PluginError::new(ErrorKind::Refused, what, cause)
            .with_remedy("ao session cleanup, or free some space"))
    }

    /// The repository, and the workspace when it is there.
    async fn locate(
        &self,
        call: &Call,
        handle: &WorkspaceHandle,
    ) -> Result<Option<(Repo, Checkout)>, PluginError> {
        let repo = Repo::open(&self.git(call), &handle.repo).await?;
        let Some(path) = settle(&handle.path)?.filter(|path| is_there(path)) else {
            return Ok(None);
        };
        let checkout = Checkout::open(&repo, &path).await?;
        Ok(Some((repo, checkout)))
    }
}

/// Keeps the size of the workspace that `path` is in. What set-up commands bring, dependencies above all, is often
/// most of it.
async fn measure(git: Git, locks: Arc<Locks>, path: PathBuf) {
    let Ok(mut repo) = Repo::open(&git, &path).await else { return };
    let inside = |entry: &&Entry| repo.given.starts_with(&entry.path);
    let top = repo.worktrees.iter().skip(1).find(inside).map(|entry| entry.path.clone());
    let Some(top) = top else { return };
    let Ok(bytes) = tokio::task::spawn_blocking(move || place::size(&top)).await else { return };
    if let Ok(held) = repo.hold(&locks).await {
        held.set_last_size(bytes);
    }
}

/// What cannot be looked at is taken as there, so that looking closer says why.
fn is_there(path: &Path) -> bool {
    !matches!(path.symlink_metadata(), Err(error) if error.kind() == std::io::ErrorKind::NotFound)
}

fn unknown<T>(error: PluginError) -> Answer<T> {
    Answer::Unknown(error.to_string())
}

/// Looking changes nothing, so a look that did not end may be repeated.
fn looking(mut error: PluginError) -> PluginError {
    if error.kind == ErrorKind::InDoubt {
        error.kind = ErrorKind::Transient;
    }
    error
}

#[async_trait]
impl Workspace for Worktrees {
    async fn inspect(&self, call: &Call, repo: &Path) -> Result<RepoInfo, PluginError> {
        inspect::inspect(&self.git(call), repo).await.map_err(looking)
    }

    async fn create(
        &self,
        call: &Call,
        request: &CreateWorkspace,
    ) -> Result<WorkspaceInfo, PluginError> {
        make::create(self, &self.git(call), request).await
    }

    async fn find(
        &self,
        call: &Call,
        handle: &WorkspaceHandle,
    ) -> Result<Answer<WorkspaceInfo>, PluginError> {
        let found = async {
            let Some((repo, checkout)) = self.locate(call, handle).await? else {
                return Ok(Answer::No);
            };
            let mark = Mark::find(self, &repo, &handle.session).await?;
            let entry = repo.entry(&checkout.path).cloned().unwrap_or_default();
            if Progress::of(&checkout, &entry, mark.as_ref()) != Progress::Whole {
                return Ok(Answer::No); // `create` finishes it
            }
            let base = repo.base(&handle.base).await?;
            let mut notes = Vec::new();
            if entry.branch.as_ref() != Some(&handle.branch) {
                let now = entry.branch.as_deref().unwrap_or("no branch");
                notes.push(format!("it is on {}", text::one_line(now)));
            }
            let branch = entry.branch.unwrap_or_else(|| handle.branch.clone());
            let info = make::info(&repo, &base, checkout.path, branch, mark, &entry.head, notes);
            Ok(Answer::Yes(info.await?))
        };
        Ok(found.await.unwrap_or_else(unknown))
    }

    async fn restore(
        &self,
        call: &Call,
        handle: &WorkspaceHandle,
    ) -> Result<WorkspaceInfo, PluginError> {
        make::restore(self, &self.git(call), handle).await
    }

    async fn probe(
        &self,
        call: &Call,
        handle: &WorkspaceHandle,
    ) -> Result<Answer<WorkFacts>, PluginError> {
        let looked = async {
            let Some((repo, checkout)) = self.locate(call, handle).await? else {
                return Ok(Answer::No);
            };
            let base = repo.base(&handle.base).await?;
            let look = checkout.look(&repo, &base, handle.merged_head.as_deref(), false).await?;
            Ok(Answer::Yes(look.facts))
        };
        Ok(looked.await.unwrap_or_else(unknown))
    }

    async fn destroy(
        &self,
        call: &Call,
        handle: &WorkspaceHandle,
        removal: Removal,
    ) -> Result<Removed, PluginError> {
        let removed = remove::destroy(self, &self.git(call), handle, removal).await;
        // What is gone is a success; "not found" is then about the repository, and must not read as gone.
        removed.map_err(|error| match error.kind {
            ErrorKind::NotFound => PluginError { kind: ErrorKind::Refused, ..error },
            _ => error,
        })
    }

    async fn list(
        &self,
        call: &Call,
        repo: &Path,
        root: &Path,
    ) -> Result<Vec<FoundWorkspace>, PluginError> {
        let repo = Repo::open(&self.git(call), repo).await.map_err(looking)?;
        let root: PathBuf = root.canonicalize().unwrap_or_else(|_| root.to_owned());
        let below = repo.worktrees.into_iter().skip(1);
        Ok(below
            .filter(|entry| entry.path.starts_with(&root) && is_there(&entry.path))
            .map(|entry| FoundWorkspace {
                path: entry.path,
                branch: entry.branch,
                head: entry.head,
                locked: entry.locked.is_some(),
            })
            .collect())
    }

    async fn post_create(
        &self,
        call: &Call,
        request: &PostCreate,
    ) -> Result<PostCreateDone, PluginError> {
        let done = setup::run(request, call.limit()).await?;
        if done.failed.is_none() {
            let git = Git::new(self.env.clone(), Path::new("/"), MEASURE_LIMIT);
            tokio::spawn(measure(git, self.locks.clone(), request.path.clone()));
        }
        Ok(done)
    }
}
