//! Making a workspace: each step can be cut off by a crash, and the next call goes on from what is there.
//!
//! What is ours is marked by a ref, `refs/ao/made/<instance>/<session>/<branch>`, which holds the commit that the
//! branch started from and is made in one transaction with the branch. A worktree of ours is locked with its session's
//! name from its first moment on. That everything is in place is marked by the file [`READY`] beside the worktree's
//! index; until then nobody has worked in it.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use ao_sdk::git::{Base, Entry, Git, Held, Ref, Repo, is_branch, read_small};
use ao_slots::{
    ErrorKind, PluginError, SessionId, text,
    workspace::{CreateWorkspace, WorkspaceHandle, WorkspaceInfo},
};
use tokio::time::Instant;

use crate::{
    Worktrees, branch,
    checkout::Checkout,
    is_there, link,
    place::{Place, look_at, make_folder, make_place, occupied, settle, size},
};

/// The mark of a finished workspace, in git's folder for the worktree. It holds the name of whom it was made for,
/// and nothing where the worktree was there before.
pub(crate) const READY: &str = "ao-ready";
/// What to do where the branch to go on with does not exist.
const WITHOUT: &str = "leave out --branch: a new one is made";

/// Makes the workspace of a new session, or finishes what an earlier call began.
pub(crate) async fn create(
    house: &Worktrees,
    git: &Git,
    request: &CreateWorkspace,
) -> Result<WorkspaceInfo, PluginError> {
    let session = &request.session;
    let mut notes = Vec::new();
    let wanted = match request.existing {
        true if !is_branch(&request.branch) => {
            return Err(no_branch(&request.branch, WITHOUT));
        }
        true => request.branch.clone(),
        false => branch::sanitise(&request.branch, session),
    };
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
    if let Some(limit) = request.fetch_ms.map(Duration::from_millis) {
        // Of a branch that is only at the remote, the newest state is wanted.
        let away = request.existing && repo.one_ref(&local(&wanted)).await?.is_none();
        let name = if away { &wanted } else { &request.base };
        notes.extend(fetch(house, &repo, name, limit, !away).await);
    }
    let mut path = make_place(request)?;

    let held = repo.hold(&house.locks).await?;
    let base = repo.base(&request.base).await?;
    let ours = Mark::find(house, &repo, session).await?;
    if request.existing {
        path = whereabouts(&mut repo, path, &wanted).await?;
    }
    let entry = repo.entry(&path).cloned();
    let branch = match (look_at(&path)?, entry) {
        (Place::Folder { .. }, Some(entry)) => {
            let is_wanted = entry.branch.as_ref() == Some(&wanted);
            if ours.is_none() && !is_wanted {
                check_owner(&entry, session)?;
                let error = occupied(&path, "it is a worktree on another branch");
                return Err(match &entry.branch {
                    Some(branch) => error.with_remedy(format!(
                        "ao spawn {} --branch {} --prompt \"…\"   or move it away",
                        request.project,
                        text::shell_word(branch)
                    )),
                    None => error,
                });
            }
            let checkout = Checkout::open(&repo, &path).await?;
            let branch = entry.branch.clone().unwrap_or(wanted);
            if Progress::of(&checkout, &entry, ours.as_ref()) == Progress::Whole {
                if !request.existing {
                    check_owner(&entry, session)?;
                }
                keep_locked(&repo, &checkout, session, entry.locked.as_deref()).await?;
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
            let branch = if request.existing {
                have_branch(&repo, &wanted, WITHOUT).await?;
                wanted
            } else {
                claim(house, &repo, &base, session, &wanted, ours.as_ref()).await?
            };
            add(&repo, &path, session, &branch).await?;
            branch
        }
    };
    repo.refresh().await?;
    let checkout = Checkout::open(&repo, &path).await?;
    let fresh = fill(&checkout, &request.sparse, request.submodules).await?;
    link::make(&checkout, &repo.common, &links, &mut notes).await?;
    finish(house, &checkout, session, &held, fresh).await?;
    let entry = repo.entry(&path).cloned().unwrap_or_default();
    keep_locked(&repo, &checkout, session, entry.locked.as_deref()).await?;
    let ours = Mark::find(house, &repo, session).await?;
    info(&repo, &base, path, branch, ours, &entry.head, notes).await
}

/// Makes the worktree of a branch that exists, here or at the remote, again.
pub(crate) async fn restore(
    house: &Worktrees,
    git: &Git,
    handle: &WorkspaceHandle,
) -> Result<WorkspaceInfo, PluginError> {
    let mut repo = Repo::open(git, &handle.repo).await?;
    let base = repo.base(&handle.base).await?;
    let anew = "spawn a new session";
    let gone = || no_branch(&handle.branch, anew);
    if !is_branch(&handle.branch) {
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
            check_owner(&entry, session)?;
            let mark = Mark::find(house, &repo, session).await?;
            if Progress::of(&checkout, &entry, mark.as_ref()) != Progress::Whole {
                let fresh = fill(&checkout, &[], false).await?;
                finish(house, &checkout, session, &held, fresh).await?;
            }
            keep_locked(&repo, &checkout, session, entry.locked.as_deref()).await?;
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
    if let Some(other) = repo.holder(&handle.branch) {
        return Err(checked_out(&handle.branch, other));
    }
    house.check_space(&path, held.last_size())?;
    let head = have_branch(&repo, &handle.branch, anew).await?;
    add(&repo, &path, session, &handle.branch).await?;
    repo.refresh().await?;
    let checkout = Checkout::open(&repo, &path).await?;
    let fresh = fill(&checkout, &[], false).await?;
    finish(house, &checkout, session, &held, fresh).await?;
    info(&repo, &base, path, handle.branch.clone(), None, &head, notes).await
}

/// Where to go on with a branch: in the workspace beside `path` that has it checked out, else at `path`.
async fn whereabouts(repo: &mut Repo, path: PathBuf, branch: &str) -> Result<PathBuf, PluginError> {
    let Some(holder) = repo.holder(branch).cloned() else { return Ok(path) };
    let beside = holder.path.parent() == path.parent() && repo.entry(&holder.path).is_some();
    if beside && is_there(&holder.path) {
        return Ok(holder.path);
    }
    // A folder that is away may come back, when a human's lock says so.
    if !beside || holder.locked.as_deref().is_some_and(|reason| !is_session(reason)) {
        return Err(checked_out(branch, &holder));
    }
    forget(repo, &holder.path, holder.locked.is_some()).await?;
    repo.refresh().await?;
    Ok(path)
}

fn checked_out(branch: &str, other: &Entry) -> PluginError {
    let what = format!("the branch `{branch}` is checked out at {}", other.path.display());
    let at = text::shell_word(&other.path.to_string_lossy());
    let remedy = format!("git -C {at} switch --detach");
    PluginError::new(ErrorKind::Refused, what, "").with_remedy(remedy)
}

fn no_branch(name: &str, remedy: &str) -> PluginError {
    let what = format!("the branch `{}` does not exist", text::one_line(name));
    PluginError::new(ErrorKind::NotFound, what, "").with_remedy(remedy)
}

fn local(branch: &str) -> String {
    format!("refs/heads/{branch}")
}

/// The head of a branch that holds work. One that only the remote has is made as it is there.
async fn have_branch(repo: &Repo, branch: &str, remedy: &str) -> Result<String, PluginError> {
    let name = local(branch);
    if let Some(tip) = repo.one_ref(&name).await? {
        return Ok(tip.oid);
    }
    let gone = || no_branch(branch, remedy);
    let remote = repo.remote().ok_or_else(gone)?;
    let tracked = format!("refs/remotes/{remote}/{branch}");
    let tip = repo.one_ref(&tracked).await?.ok_or_else(gone)?;
    repo.transact(&[format!("create {name} {}", tip.oid)]).await?;
    Ok(tip.oid)
}

/// How far the making of a worktree has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Cut off before the checkout was whole: nobody can have worked in it.
    Begun,
    /// Cut off after that.
    CheckedOut,
    /// Nothing is left to do, or it was not made here.
    Whole,
}

impl Progress {
    pub(crate) fn of(checkout: &Checkout, entry: &Entry, mark: Option<&Mark>) -> Self {
        let ours = mark.is_some() || entry.locked.as_deref().is_some_and(is_session);
        let is_there = |name: &str| checkout.admin.join(name).exists();
        match ours && !is_there(READY) {
            false => Self::Whole,
            // Git writes it last.
            true if is_there("index") => Self::CheckedOut,
            true => Self::Begun,
        }
    }
}

/// Whether the worktree was made for this session, and not taken over by it.
pub(crate) fn is_made_for(house: &Worktrees, checkout: &Checkout, session: &SessionId) -> bool {
    let ready = read_small(&checkout.admin.join(READY)).unwrap_or_default();
    ready == made_for(house, session).into_bytes()
}

/// No other session ever has this name: the data directory's is part of it.
fn made_for(house: &Worktrees, session: &SessionId) -> String {
    format!("{}/{session}", house.instance)
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

/// Fetches a branch. Calls that wait for each other share one fetch, where they want the same. A failure is a note.
async fn fetch(
    house: &Worktrees,
    repo: &Repo,
    name: &str,
    limit: Duration,
    shared: bool,
) -> Option<String> {
    let remote = repo.remote()?;
    if let Some(key) = repo.git.config().runs_on_network() {
        return Some(format!(
            "not fetched: the repository's own configuration sets {key}, which is not run"
        ));
    }
    let asked = Instant::now();
    let lock = house.locks.of(&repo.common);
    let mut fetched = lock.fetched.lock().await;
    if shared && fetched.is_some_and(|began| began >= asked) {
        return None;
    }
    let began = Instant::now();
    let git = repo.git.within(limit);
    let quiet = ["--quiet", "--no-tags", "--no-prune", "--no-write-fetch-head"];
    let more = ["--no-recurse-submodules", "--no-auto-maintenance", "--end-of-options", &remote];
    let refspec = format!("+refs/heads/{name}:refs/remotes/{remote}/{name}");
    let mut call = git.cmd("fetch").args(quiet).args(more).arg(refspec);
    if repo.git.config().get("core.sshcommand").is_none() && !git.has_env("GIT_SSH_COMMAND") {
        call = call.env("GIT_SSH_COMMAND", "ssh -o BatchMode=yes");
    }
    match call.run().await {
        Ok(_) => {
            if shared {
                *fetched = Some(began);
            }
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
        if exists && repo.holder(&mark.branch).is_none() {
            return Ok(mark.branch.clone());
        }
        repo.transact(&[format!("delete {} {}", mark.at.name, mark.at.oid)]).await?;
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
    repo.transact(&[format!("create refs/heads/{name} {from}"), mark]).await?;
    Ok(name)
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

/// What the reason of each lock of ours begins with.
const SESSION: &str = "ao session ";

pub(crate) fn lock_reason(session: &SessionId) -> String {
    format!("{SESSION}{session}")
}

/// Whether a worktree is locked for a session. Every other lock is a human's.
pub(crate) fn is_session(reason: &str) -> bool {
    reason.starts_with(SESSION)
}

/// Two sessions never share a worktree: one that another has taken over is that one's.
fn check_owner(entry: &Entry, session: &SessionId) -> Result<(), PluginError> {
    match entry.locked.as_deref().and_then(|reason| reason.strip_prefix(SESSION)) {
        Some(other) if other != session.as_str() => {
            let cause = format!("it is the workspace of {}", text::one_line(other));
            Err(occupied(&entry.path, &cause).with_remedy("ao status --all"))
        }
        _ => Ok(()),
    }
}

/// Locks what was found with the session's name; a human's lock stays. A worktree that carries such a lock but not the
/// mark of being finished would be taken for one that was cut off, so the mark comes first.
async fn keep_locked(
    repo: &Repo,
    checkout: &Checkout,
    session: &SessionId,
    locked: Option<&str>,
) -> Result<(), PluginError> {
    let reason = lock_reason(session);
    if locked.is_some_and(|now| now == reason || !is_session(now)) {
        return Ok(());
    }
    if !checkout.admin.join(READY).exists() {
        make_ready(checkout, "")?;
    }
    if locked.is_some() {
        let args = ["unlock", "--end-of-options"];
        repo.git.cmd("worktree").args(args).arg(&checkout.path).run().await?;
    }
    let args = ["lock", "--reason", &reason, "--end-of-options"];
    repo.git.cmd("worktree").args(args).arg(&checkout.path).run().await?;
    Ok(())
}

fn make_ready(checkout: &Checkout, made_for: &str) -> Result<(), PluginError> {
    fs::write(checkout.admin.join(READY), made_for).map_err(|cause| {
        PluginError::transient(format!("cannot write to {}", checkout.admin.display()), cause)
    })
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

/// Checks the files out, unless git has done it already; returns whether it did. Only for a worktree that nobody
/// has worked in.
async fn fill(
    checkout: &Checkout,
    sparse: &[String],
    submodules: bool,
) -> Result<bool, PluginError> {
    // What a checkout that was cut off left behind.
    for lock in ["index.lock", "HEAD.lock"] {
        let _none = fs::remove_file(checkout.admin.join(lock));
    }
    let checked_out = checkout.admin.join("index").exists();
    if !sparse.is_empty() && !checked_out {
        if sparse.iter().any(|folder| folder.contains(char::is_control)) {
            return Err(PluginError::permanent("a folder of `sparse` is not a path", ""));
        }
        let args = ["set", "--cone", "--stdin"];
        let folders = sparse.join("\n") + "\n";
        checkout.git.cmd("sparse-checkout").args(args).stdin(folders).run().await?;
    }
    if !checked_out {
        let args = ["--hard", "--quiet", "--no-recurse-submodules"];
        checkout.git.cmd("reset").args(args).run().await?;
    }
    if submodules {
        let args = ["update", "--init", "--recursive", "--checkout", "--quiet"];
        checkout.git.cmd("submodule").args(args).run().await?;
    }
    Ok(!checked_out)
}

async fn finish(
    house: &Worktrees,
    checkout: &Checkout,
    session: &SessionId,
    held: &Held,
    fresh: bool,
) -> Result<(), PluginError> {
    let made_for = if fresh { made_for(house, session) } else { String::new() };
    make_ready(checkout, &made_for)?;
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
