//! Removing a workspace without losing work.
//!
//! Proof first; then the folder is renamed aside, which cannot be half done; then git's record, the branch where the
//! rules allow it, and last the files. A call that finds the renamed folder goes on from there.

use std::{fs, io, path::Path};

use ao_sdk::{
    git::{Entry, Git, Repo, is_branch},
    local::remove_folder,
};
use ao_slots::{
    ErrorKind, PluginError, SessionId, text,
    workspace::{Removal, Removed, WorkspaceHandle},
};

use crate::{
    Worktrees,
    checkout::{Checkout, Look},
    make::{Mark, Progress, forget, is_made_for, is_session, lock_reason},
    place::settle,
};

pub(crate) async fn destroy(
    house: &Worktrees,
    git: &Git,
    handle: &WorkspaceHandle,
    removal: Removal,
) -> Result<Removed, PluginError> {
    let path = settle(&handle.path)?.unwrap_or_else(|| handle.path.clone());
    let mut repo = match Repo::open(git, &handle.repo).await {
        Err(error) if error.kind == ErrorKind::NotFound && path.symlink_metadata().is_err() => {
            return Ok(Removed::default());
        }
        repo => repo?,
    };
    let _held = repo.hold(&house.locks).await?;
    let mark = Mark::find(house, &repo, &handle.session).await?;
    let entry = repo.entry(&path).cloned();
    let aside = path.with_file_name(format!(".{}.ao-removing", handle.session));
    let mut removed = Removed::default();
    match fs::symlink_metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => {
            return Err(PluginError::transient(
                format!("cannot look at {}", path.display()),
                error,
            ));
        }
        Ok(meta) if meta.is_symlink() => {
            // Whatever it points to is not ours to empty, nor is git's record of it.
            fs::remove_file(&path).map_err(|error| cannot_remove(&path, error))?;
            return Ok(removed);
        }
        Ok(meta) if meta.is_dir() && entry.is_none() && fs::remove_dir(&path).is_ok() => {}
        Ok(_) => {
            let checkout = Checkout::open(&repo, &path).await?;
            let entry = entry.as_ref().ok_or_else(|| not_ours(&path))?;
            check_lock(entry, handle, removal)?;
            let untouched = Progress::of(&checkout, entry, mark.as_ref()) == Progress::Begun;
            let made = mark.is_some() || is_made_for(house, &checkout, &handle.session);
            if removal == Removal::Undo && !untouched && !made {
                return Err(taken_over(handle));
            }
            if removal != Removal::Undo && !untouched {
                let base = repo.base(&handle.base).await?;
                let merged_head = handle.merged_head.as_deref();
                let look = checkout.look(&repo, &base, merged_head, true).await?;
                if removal == Removal::Forced {
                    removed.kept = keep(&repo, &checkout, &look, &handle.session).await?;
                } else {
                    check_safe(&look, handle)?;
                }
            }
            clear(&aside).await?;
            fs::rename(&path, &aside).map_err(|error| cannot_remove(&path, error))?;
        }
    }
    if let Some(entry) = &entry {
        if removed.kept.is_none() {
            removed.kept = keep_head(&repo, &entry.head, &handle.session).await?;
        }
        forget(&repo, &path, entry.locked.is_some()).await?;
        repo.refresh().await?;
    }
    removed.branch_removed = retire(&repo, handle, removal, mark.as_ref()).await?;
    clear(&aside).await?;
    Ok(removed)
}

fn not_ours(path: &Path) -> PluginError {
    let what = format!("{} is not removed", path.display());
    PluginError::new(ErrorKind::Refused, what, "git does not list it as a worktree")
}

fn cannot_remove(path: &Path, cause: io::Error) -> PluginError {
    PluginError::permanent(format!("cannot remove {}", path.display()), cause)
        .with_remedy(format!("remove it by hand: rm -rf '{}'", path.display()))
}

fn taken_over(handle: &WorkspaceHandle) -> PluginError {
    let what = format!("the workspace of {} was there before it", handle.session);
    let remedy = format!("look at it: cd {}", text::shell_word(&handle.path.to_string_lossy()));
    PluginError::new(ErrorKind::Refused, what, "it is not undone").with_remedy(remedy)
}

/// A lock with another reason is a human's, who may also force it; or that of the session that took the workspace
/// over, which goes on working in it.
fn check_lock(
    entry: &Entry,
    handle: &WorkspaceHandle,
    removal: Removal,
) -> Result<(), PluginError> {
    match entry.locked.as_deref() {
        None | Some("initializing") => Ok(()),
        Some(reason) if reason == lock_reason(&handle.session) => Ok(()),
        Some(reason) if removal == Removal::Forced && !is_session(reason) => Ok(()),
        Some(reason) => {
            let remedy = format!("git -C '{0}' worktree unlock '{0}'", entry.path.display());
            let what = format!("the workspace of {} is locked", handle.session);
            Err(PluginError::new(ErrorKind::Refused, what, text::one_line(reason))
                .with_remedy(remedy))
        }
    }
}

fn check_safe(look: &Look, handle: &WorkspaceHandle) -> Result<(), PluginError> {
    let facts = &look.facts;
    let mut work = Vec::new();
    if !facts.is_clean() {
        work.push(text::count(facts.changed_files.into(), "changed file", "changed files"));
    }
    if !facts.pushed {
        let commits = text::count(facts.commits.into(), "commit", "commits");
        work.push(format!("{commits} that nothing else has"));
    }
    if work.is_empty() {
        return Ok(());
    }
    let what = format!("the workspace of {} holds work", handle.session);
    let mut cause = work.join(", ");
    if !look.nested.is_empty() {
        cause = format!("{cause}, also in {}", text::cut(&look.nested.join(", "), 200));
    }
    let remedy = format!("look at it: cd '{}'", handle.path.display());
    Err(PluginError::new(ErrorKind::Refused, what, cause).with_remedy(remedy))
}

/// Keeps everything that is not committed in one commit, whose ref is returned. The user's index is not touched.
async fn keep(
    repo: &Repo,
    checkout: &Checkout,
    look: &Look,
    session: &SessionId,
) -> Result<Option<String>, PluginError> {
    if let [first, ..] = look.nested.as_slice() {
        let place = checkout.path.join(first);
        let what = format!("{} is a repository of its own and holds work", place.display());
        return Err(PluginError::new(
            ErrorKind::Refused,
            what,
            "a commit of the workspace cannot keep it",
        )
        .with_remedy("push it, or move it away"));
    }
    if look.facts.is_clean() {
        return Ok(None);
    }
    let head = &look.facts.head;
    let index = checkout.admin.join("ao-kept-index");
    let cmd = |name| checkout.git.cmd(name).env("GIT_INDEX_FILE", &index);
    let source = checkout.admin.join("index");
    match copy_index(&source, &index) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound && !head.is_empty() => {
            cmd("read-tree").arg(head).run().await?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(PluginError::transient("the index could not be copied", error)),
    }
    // What is staged, unless there are conflicts; it may differ from what lies in the files.
    let staged = cmd("write-tree").line().await.ok();
    if !look.hidden.is_empty() {
        let paths: Vec<u8> = look.hidden.join(&0);
        for option in ["--no-assume-unchanged", "--no-skip-worktree"] {
            let call = cmd("update-index").args([option, "-z", "--stdin"]);
            call.stdin(paths.clone()).run().await?;
        }
    }
    cmd("add").args(["--all", "--sparse"]).run().await?;
    let tree = cmd("write-tree").line().await?;
    let _scratch = fs::remove_file(&index);

    let commit = async |tree: &str, parents: &[&str], what: &str| {
        let message = format!("{what} of {session}, kept by ao");
        let mut call = repo.git.cmd("commit-tree").args(["--no-gpg-sign", "-m", &message]);
        for parent in parents.iter().filter(|parent| !parent.is_empty()) {
            call = call.args(["-p", parent]);
        }
        for role in ["AUTHOR", "COMMITTER"] {
            call = call.env(&format!("GIT_{role}_NAME"), "ao");
            call = call.env(&format!("GIT_{role}_EMAIL"), "ao@localhost");
        }
        call.arg(tree).line().await
    };
    let before = if head.is_empty() { None } else { Some(tree_of(repo, head).await?) };
    let staged = staged.filter(|staged| *staged != tree && Some(staged) != before.as_ref());
    let staged = match staged {
        Some(staged) => commit(&staged, &[head], "Staged work").await?,
        None => String::new(),
    };
    if before.as_ref() == Some(&tree) && staged.is_empty() {
        return Ok(None);
    }
    let kept = commit(&tree, &[head, &staged], "Uncommitted work").await?;
    Ok(Some(place_kept(repo, session, &kept).await?))
}

/// Copies an index with its time: by that git knows which files may have changed in the same second.
fn copy_index(from: &Path, to: &Path) -> io::Result<()> {
    fs::copy(from, to)?;
    let modified = fs::metadata(from)?.modified()?;
    fs::File::options().write(true).open(to)?.set_modified(modified)
}

/// Keeps a head that no branch, tag or remote has: git forgets it with the worktree.
async fn keep_head(
    repo: &Repo,
    head: &str,
    session: &SessionId,
) -> Result<Option<String>, PluginError> {
    if head.is_empty() || head.bytes().all(|byte| byte == b'0') {
        return Ok(None);
    }
    let call = repo.git.cmd("for-each-ref").args(["--count=1", "--contains", head]);
    if !call
        .args(["refs/heads", "refs/remotes", "refs/tags", "refs/ao/kept"])
        .run()
        .await?
        .is_empty()
    {
        return Ok(None);
    }
    Ok(Some(place_kept(repo, session, head).await?))
}

/// Points `refs/ao/kept/<session>` at a commit; a number follows where that name keeps something else.
async fn place_kept(repo: &Repo, session: &SessionId, commit: &str) -> Result<String, PluginError> {
    let tree = tree_of(repo, commit).await?;
    let mut name = format!("refs/ao/kept/{session}");
    let mut number = 2_u32;
    while let Some(other) = repo.one_ref(&name).await? {
        // The same work, kept by a call that was cut off after it.
        if tree_of(repo, &other.oid).await? == tree
            && repo.contains(&other.oid, &parent(repo, commit).await?).await?
        {
            return Ok(name);
        }
        // A full stop is in no session's id, so this is not another session's.
        name = format!("refs/ao/kept/{session}.{number}");
        number += 1;
    }
    repo.transact(&[format!("create {name} {commit}")]).await?;
    Ok(name)
}

async fn tree_of(repo: &Repo, commit: &str) -> Result<String, PluginError> {
    let tree = format!("{commit}^{{tree}}");
    let args = ["--verify", "--quiet", "--end-of-options", &tree];
    Ok(repo.git.cmd("rev-parse").args(args).line().await?)
}

/// The first parent; the commit itself when it has none.
async fn parent(repo: &Repo, commit: &str) -> Result<String, PluginError> {
    let name = format!("{commit}^");
    let args = ["--verify", "--quiet", "--end-of-options", &name];
    let output = repo.git.cmd("rev-parse").args(args).output().await?;
    let found = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
    Ok(if found.is_empty() { commit.to_owned() } else { found })
}

/// Removes the branch where the rules allow it, and the mark. A branch in use, or the default one, stays.
async fn retire(
    repo: &Repo,
    handle: &WorkspaceHandle,
    removal: Removal,
    mark: Option<&Mark>,
) -> Result<bool, PluginError> {
    // The host may not have learned which name the workspace got.
    let name = match (removal, mark) {
        (Removal::Undo, Some(mark)) => &mark.branch,
        _ => &handle.branch,
    };
    let mut lines = Vec::new();
    let used = repo.holder(name).is_some();
    let may_go = !used && *name != handle.base && is_branch(name);
    let tip = if may_go { repo.one_ref(&format!("refs/heads/{name}")).await? } else { None };
    if let Some(tip) = tip {
        let spare = match (removal, mark) {
            (Removal::Undo, Some(mark)) => mark.at.oid == tip.oid,
            (Removal::Undo, None) => false,
            (Removal::IfSafe | Removal::Forced, _) => is_merged(repo, handle, &tip.oid).await?,
        };
        if spare {
            lines.push(format!("delete {} {}", tip.name, tip.oid));
        }
    }
    let branch_removed = !lines.is_empty();
    lines.extend(mark.map(|mark| format!("delete {} {}", mark.at.name, mark.at.oid)));
    if !lines.is_empty() {
        repo.transact(&lines).await?;
    }
    if branch_removed {
        let section = format!("branch.{name}");
        let call = repo.git.cmd("config").args(["--local", "--remove-section", &section]);
        let _none = call.output().await?;
    }
    Ok(branch_removed)
}

/// The base has it, or got it by a pull request that was merged at exactly this commit.
async fn is_merged(repo: &Repo, handle: &WorkspaceHandle, tip: &str) -> Result<bool, PluginError> {
    if handle.merged_head.as_deref() == Some(tip) {
        return Ok(true);
    }
    let base = match repo.base(&handle.base).await {
        Ok(base) => base,
        Err(error) if matches!(error.kind, ErrorKind::NotFound | ErrorKind::Permanent) => {
            return Ok(false);
        }
        Err(error) => return Err(error),
    };
    for known in &base.tips {
        if repo.contains(&known.oid, tip).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Deletes a folder that was renamed aside. Links in it are removed, not followed.
async fn clear(aside: &Path) -> Result<(), PluginError> {
    remove_folder(aside.to_owned()).await.map_err(|error| cannot_remove(aside, error))
}
