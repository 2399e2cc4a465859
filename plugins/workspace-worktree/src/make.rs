//! Making a workspace: each step can be cut off by a crash, and the next call goes on from what is there.
//!
//! What is ours is marked by a ref, `refs/ao/made/<instance>/<session>/<branch>`, which holds the commit that the
//! branch started from and is made in one transaction with the branch. That everything is in place is marked by
//! the file [`READY`] beside the worktree's index; until then nobody has worked in it.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use ao_slots::{
    ErrorKind, PluginError, SessionId, text,
    workspace::{CreateWorkspace, WorkspaceHandle, WorkspaceInfo},
};
use tokio::time::Instant;

use crate::{
    Worktrees,
    branch::{self, Ref},
    checkout::Checkout,
    git::Git,
    link,
    lock::Held,
    place::{Place, look_at, make_folder, make_place, occupied, settle, size},
    repo::{Base, Repo},
};

/// The mark of a finished workspace, in git's folder for the worktree.
pub(crate) const READY: &str = "ao-ready";
/// How long a fetch may take.
const FETCH_LIMIT: Duration = Duration::from_secs(30);

/// Makes the workspace of a new session, or finishes what an earlier call began.
pub(crate) async fn create(
    house: &Worktrees,
    git: &Git,
    request: &CreateWorkspace,
) -> Result<WorkspaceInfo, PluginError> {
    let session = &request.session;
    let mut notes = Vec::new();
    let wanted = branch::sanitise(&request.branch, session);
    if wanted != request.branch {
        let name = text::one_line(&request.branch);
        notes.push(format!("the branch is called `{wanted}`: `{name}` is no safe name"));
    }
    link::check(&request.symlinks)?;
    let mut repo = Repo::open(git, &request.repo).await?;
    repo.base(&request.base).await?;
    let links = match request.symlinks.as_slice() {
        [] => Vec::new(),
        _ if repo.is_bare() => {
            notes.push("nothing was linked: the repository has no main checkout".into());
            Vec::new()
        }
        places => link::find(&repo.root().await?, places, &mut notes)?,
    };
    notes.extend(peculiarities(&repo));
    if request.fetch {
        notes.extend(fetch(house, &repo, &request.base).await);
    }
    let path = make_place(request)?;

    let held = repo.hold(&house.locks).await?;
    let base = repo.base(&request.base).await?;
    let ours = Mark::find(house, &repo, session).await?;
    let entry = repo.entry(&path).cloned();
    let branch = match (look_at(&path)?, entry) {
        (Place::Folder { .. }, Some(entry)) => {
            let is_wanted = entry.branch.as_ref() == Some(&wanted);
            if ours.is_none() && !is_wanted {
                return Err(occupied(&path, "it is a worktree on another branch"));
            }
            let checkout = Checkout::open(&repo, &path).await?;
            let branch = entry.branch.clone().unwrap_or(wanted);
            if ours.is_none() || checkout.admin.join(READY).exists() {
                keep_locked(&repo, &path, session, entry.locked.as_deref()).await?;
                return info(&repo, &base, path, branch, ours, &entry.head, notes).await;
            }
            branch
        }
        (Place::Folder { empty: false }, None) => {
            return Err(occupied(&path, "it is a folder that git does not know"));
        }
        (_, entry) => {
            if let Some(entry) = entry {
                forget(&repo, &path, entry.locked.is_some()).await?;
                repo.refresh().await?;
            }
            house.check_space(&path, held.last_size())?;
            let branch = claim(house, &repo, &base, session, &wanted, ours.as_ref()).await?;
            add(&repo, &path, session, &branch).await?;
            branch
        }
    };
    repo.refresh().await?;
    let checkout = Checkout::open(&repo, &path).await?;
    fill(&checkout, &request.sparse, request.submodules).await?;
    link::make(&checkout, &repo.common, &links, &mut notes).await?;
    finish(&checkout, &held).await?;
    let head = repo.entry(&path).map(|entry| entry.head.clone()).unwrap_or_default();
    let ours = Mark::find(house, &repo, session).await?;
    info(&repo, &base, path, branch, ours, &head, notes).await
}

/// Makes the worktree of a branch that exists, here or at the remote, again.
pub(crate) async fn restore(
    house: &Worktrees,
    git: &Git,
    handle: &WorkspaceHandle,
) -> Result<WorkspaceInfo, PluginError> {
    let mut repo = Repo::open(git, &handle.repo).await?;
    let base = repo.base(&handle.base).await?;
    let gone = || {
        let what =
            format!("the branch `{}` does not exist any more", text::one_line(&handle.branch));
        PluginError::new(ErrorKind::NotFound, what, "").with_remedy("spawn a new session")
    };
    if !branch::is_valid(&handle.branch) {
        return Err(gone());
    }
    if let Some(parent) = handle.path.parent() {
        make_folder(parent)?;
    }
    let path = settle(&handle.path)?.ok_or_else(gone)?;

    let held = repo.hold(&house.locks).await?;
    let session = &handle.session;
    let mut notes = Vec::new();
    let kept = format!("refs/ao/kept/{session}");
    if repo.one_ref(&kept).await?.is_some() {
        notes.push(format!("uncommitted work is kept: git restore --source {kept} -- ."));
    }
    let entry = repo.entry(&path).cloned();
    match (look_at(&path)?, entry) {
        (Place::Folder { .. }, Some(entry)) => {
            let checkout = Checkout::open(&repo, &path).await?;
            let ready = checkout.admin.join(READY).exists();
            let marked = Mark::find(house, &repo, session).await?.is_some();
            if entry.branch.as_ref() == Some(&handle.branch) && marked && !ready {
                fill(&checkout, &[], false).await?;
                finish(&checkout, &held).await?;
            }
            keep_locked(&repo, &path, session, entry.locked.as_deref()).await?;
            let branch = entry.branch.clone().unwrap_or_else(|| handle.branch.clone());
            return info(&repo, &base, path, branch, None, &entry.head, notes).await;
        }
        (Place::Folder { empty: false }, None) => {
            return Err(occupied(&path, "it is a folder that git does not know"));
        }
        (_, Some(entry)) => {
            forget(&repo, &path, entry.locked.is_some()).await?;
            repo.refresh().await?;
        }
        (_, None) => {}
    }
    if let Some(other) =
        repo.worktrees.iter().find(|entry| entry.branch.as_ref() == Some(&handle.branch))
    {
        let what =
            format!("the branch `{}` is checked out at {}", handle.branch, other.path.display());
        let remedy = format!("git -C '{}' switch --detach", other.path.display());
        return Err(PluginError::new(ErrorKind::Refused, what, "").with_remedy(remedy));
    }
    house.check_space(&path, held.last_size())?;
    let name = format!("refs/heads/{}", handle.branch);
    let tip = match repo.one_ref(&name).await? {
        Some(tip) => tip,
        None => {
            let remote = repo.remote().ok_or_else(gone)?;
            let tracked = format!("refs/remotes/{remote}/{}", handle.branch);
            let tip = repo.one_ref(&tracked).await?.ok_or_else(gone)?;
            transact(&repo, &[format!("create {name} {}", tip.oid)]).await?;
            tip
        }
    };
    add(&repo, &path, session, &handle.branch).await?;
    repo.refresh().await?;
    let checkout = Checkout::open(&repo, &path).await?;
    fill(&checkout, &[], false).await?;
    finish(&checkout, &held).await?;
    info(&repo, &base, path, handle.branch.clone(), None, &tip.oid, notes).await
}

/// The mark that a branch was made for a session by this data directory.
#[derive(Debug, Clone)]
pub(crate) struct Mark {
    /// The branch.
    pub(crate) branch: String,
    /// The ref; its object is the commit that the branch started from.
    pub(crate) at: Ref,
}

impl Mark {
    pub(crate) async fn find(
        house: &Worktrees,
        repo: &Repo,
        session: &SessionId,
    ) -> Result<Option<Self>, PluginError> {
        let folder = format!("refs/ao/made/{}/{session}", house.instance);
        Ok(repo.refs(&[&folder]).await?.into_iter().find_map(|at| {
            let branch = at.name.strip_prefix(&folder)?.strip_prefix('/')?.to_owned();
            Some(Self { branch, at })
        }))
    }
}

/// What a human should know of where the repository lies.
fn peculiarities(repo: &Repo) -> Vec<String> {
    let mut notes = Vec::new();
    if repo.git.config().is_true("core.ignorecase") {
        notes.push("the disk ignores case: files that differ only in case become one".to_owned());
    }
    if let Some(kind) = network_disk(&repo.common) {
        notes.push(format!("the repository is on a network disk ({kind}): a local one is safer"));
    }
    for name in repo.git.config().switched_off() {
        let name = text::one_line(&name);
        notes.push(format!(
            "the filter `{name}` of the repository's own configuration was not run: set it in your own (git config --global)"
        ));
    }
    notes
}

#[cfg(target_os = "linux")]
fn network_disk(path: &Path) -> Option<&'static str> {
    // Numbers of statfs(2).
    match nix::sys::statfs::statfs(path).ok()?.filesystem_type().0 {
        0x6969 => Some("nfs"),
        0x517b | 0xff53_4d42 | 0xfe53_4d42 => Some("smb"),
        _ => None,
    }
}

#[cfg(not(target_os = "linux"))]
fn network_disk(_: &Path) -> Option<&'static str> {
    None
}

/// Fetches the default branch. Calls that wait for each other share one fetch. A failure is a note.
async fn fetch(house: &Worktrees, repo: &Repo, base: &str) -> Option<String> {
    let remote = repo.remote()?;
    if let Some(key) = repo.git.config().runs_on_network() {
        return Some(format!(
            "not fetched: the repository's own configuration sets {key}, which is not run"
        ));
    }
    let asked = Instant::now();
    let lock = house.locks.of(&repo.common);
    let mut fetched = lock.fetched.lock().await;
    if fetched.is_some_and(|began| began >= asked) {
        return None;
    }
    let began = Instant::now();
    let git = repo.git.within(FETCH_LIMIT);
    let quiet = ["--quiet", "--no-tags", "--no-prune", "--no-write-fetch-head"];
    let more = ["--no-recurse-submodules", "--no-auto-maintenance", "--end-of-options", &remote];
    let refspec = format!("+refs/heads/{base}:refs/remotes/{remote}/{base}");
    let mut call = git.cmd("fetch").args(quiet).args(more).arg(refspec);
    if repo.git.config().get("core.sshcommand").is_none() && !git.has_env("GIT_SSH_COMMAND") {
        call = call.env("GIT_SSH_COMMAND", "ssh -o BatchMode=yes");
    }
    match call.run().await {
        Ok(_) => {
            *fetched = Some(began);
            None
        }
        Err(error) => Some(text::one_line(&format!("fetch failed: {}", PluginError::from(error)))),
    }
}

/// The branch for the session: its own from an earlier call, else a new one.
async fn claim(
    house: &Worktrees,
    repo: &Repo,
    base: &Base,
    session: &SessionId,
    wanted: &str,
    ours: Option<&Mark>,
) -> Result<String, PluginError> {
    let local = repo.refs(&["refs/heads"]).await?;
    if let Some(mark) = ours {
        let exists =
            local.iter().any(|found| found.name.strip_prefix("refs/heads/") == Some(&mark.branch));
        let elsewhere =
            repo.worktrees.iter().any(|entry| entry.branch.as_ref() == Some(&mark.branch));
        if exists && !elsewhere {
            return Ok(mark.branch.clone());
        }
        transact(repo, &[format!("delete {} {}", mark.at.name, mark.at.oid)]).await?;
    }
    let prefix =
        repo.remote().map_or("refs/remotes".into(), |remote| format!("refs/remotes/{remote}"));
    let tracked = repo.refs(&[&prefix]).await?;
    // A branch that only the remote has is another's too: work pushed there would collide.
    let names = local.iter().filter_map(|found| found.name.strip_prefix("refs/heads/"));
    let names = names.chain(
        tracked.iter().filter_map(|found| found.name.strip_prefix(&prefix)?.strip_prefix('/')),
    );
    let name = branch::free(wanted, names);
    let from = &base.newest.oid;
    let mark = format!("create refs/ao/made/{}/{session}/{name} {from}", house.instance);
    transact(repo, &[format!("create refs/heads/{name} {from}"), mark]).await?;
    Ok(name)
}

/// Changes refs, all or none.
pub(crate) async fn transact(repo: &Repo, lines: &[String]) -> Result<(), PluginError> {
    let script = format!("start\n{}\nprepare\ncommit\n", lines.join("\n"));
    repo.git.cmd("update-ref").args(["-m", "ao", "--stdin"]).stdin(script).run().await?;
    Ok(())
}

/// Registers the worktree, empty and locked: another tool's `worktree prune` and a hasty human leave it alone.
async fn add(
    repo: &Repo,
    path: &Path,
    session: &SessionId,
    branch: &str,
) -> Result<(), PluginError> {
    let reason = lock_reason(session);
    let args =
        ["add", "--quiet", "--no-checkout", "--lock", "--reason", &reason, "--end-of-options"];
    repo.git.cmd("worktree").args(args).arg(path).arg(branch).run().await?;
    Ok(())
}

pub(crate) fn lock_reason(session: &SessionId) -> String {
    format!("ao session {session}")
}

async fn keep_locked(
    repo: &Repo,
    path: &Path,
    session: &SessionId,
    locked: Option<&str>,
) -> Result<(), PluginError> {
    if locked.is_none() {
        let reason = lock_reason(session);
        let args = ["lock", "--reason", &reason, "--end-of-options"];
        repo.git.cmd("worktree").args(args).arg(path).run().await?;
    }
    Ok(())
}

/// Drops git's record of a worktree whose folder is gone.
pub(crate) async fn forget(repo: &Repo, path: &Path, locked: bool) -> Result<(), PluginError> {
    if locked {
        repo.git.cmd("worktree").args(["unlock", "--end-of-options"]).arg(path).run().await?;
    }
    repo.git
        .cmd("worktree")
        .args(["remove", "--force", "--end-of-options"])
        .arg(path)
        .run()
        .await?;
    Ok(())
}

/// Checks the files out. Only for a worktree that nobody has worked in.
async fn fill(checkout: &Checkout, sparse: &[String], submodules: bool) -> Result<(), PluginError> {
    // What a checkout that was cut off left behind.
    for lock in ["index.lock", "HEAD.lock"] {
        let _none = fs::remove_file(checkout.admin.join(lock));
    }
    if !sparse.is_empty() {
        if sparse.iter().any(|folder| folder.contains(char::is_control)) {
            return Err(PluginError::permanent("a folder of `sparse` is not a path", ""));
        }
        let args = ["set", "--cone", "--stdin"];
        let folders = sparse.join("\n") + "\n";
        checkout.git.cmd("sparse-checkout").args(args).stdin(folders).run().await?;
    }
    let args = ["--hard", "--quiet", "--no-recurse-submodules"];
    checkout.git.cmd("reset").args(args).run().await?;
    if submodules {
        let args = ["update", "--init", "--recursive", "--checkout", "--quiet"];
        checkout.git.cmd("submodule").args(args).run().await?;
    }
    Ok(())
}

async fn finish(checkout: &Checkout, held: &Held) -> Result<(), PluginError> {
    fs::write(checkout.admin.join(READY), "").map_err(|cause| {
        PluginError::transient(format!("cannot write to {}", checkout.admin.display()), cause)
    })?;
    let path = checkout.path.clone();
    held.set_last_size(tokio::task::spawn_blocking(move || size(&path)).await.unwrap_or(0));
    Ok(())
}

/// What is told of a workspace. `ours` tells whether its branch was made for it, and where it began.
pub(crate) async fn info(
    repo: &Repo,
    base: &Base,
    path: PathBuf,
    branch: String,
    ours: Option<Mark>,
    head: &str,
    notes: Vec<String>,
) -> Result<WorkspaceInfo, PluginError> {
    let ours = ours.filter(|mark| mark.branch == branch);
    let base_commit = match &ours {
        Some(mark) => mark.at.oid.clone(),
        // Histories may have no common commit; then the branch began by itself.
        None => {
            let call =
                repo.git.cmd("merge-base").args(["--end-of-options", &base.newest.oid, head]);
            call.line().await.unwrap_or_else(|_| head.to_owned())
        }
    };
    Ok(WorkspaceInfo { path, branch, base_commit, branch_created: ours.is_some(), notes })
}
