//! A repository: where it is, its worktrees, its default branch, and why no agent could work in it.

use std::{
    ffi::OsStr,
    io::Read,
    os::unix::{ffi::OsStrExt, fs::OpenOptionsExt},
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use ao_slots::{ErrorKind, PluginError};
use nix::fcntl::OFlag;

use super::{
    Git, GitError,
    lock::{Held, Locks},
    refs::{Ref, is_branch},
};

/// One entry of `git worktree list --porcelain -z`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Entry {
    /// Where it is.
    pub path: PathBuf,
    /// The object name of what is checked out; empty for a bare repository.
    pub head: String,
    /// None when detached.
    pub branch: Option<String>,
    /// There is no checkout.
    pub bare: bool,
    /// The reason, when it is locked.
    pub locked: Option<String>,
}

/// A repository, found from any folder in it.
#[derive(Debug)]
pub struct Repo {
    /// Git on the common folder.
    pub git: Git,
    /// The folder that all worktrees share.
    pub common: PathBuf,
    /// The main checkout first.
    pub worktrees: Vec<Entry>,
    /// The folder that it was found from.
    pub given: PathBuf,
    linked: bool,
}

/// Where the default branch stands, locally and at the remote.
#[derive(Debug)]
pub struct Base {
    /// The newest known state; new work starts here.
    pub newest: Ref,
    /// All known states: at least one.
    pub tips: Vec<Ref>,
}

impl Repo {
    /// Finds the repository of a folder: a checkout, a subfolder, a linked worktree or a bare one.
    pub async fn open(git: &Git, path: &Path) -> Result<Self, PluginError> {
        let given = path.canonicalize().map_err(|cause| {
            PluginError::new(
                ErrorKind::NotFound,
                format!("no repository at {}", path.display()),
                cause,
            )
        })?;
        Ok(Self::find(git, given).await?)
    }

    /// The same from a canonical folder.
    pub async fn find(git: &Git, given: PathBuf) -> Result<Self, GitError> {
        let dirs = git
            .at(&given)
            .cmd("rev-parse")
            .args(["--path-format=absolute", "--git-dir", "--git-common-dir"])
            .run()
            .await?;
        let mut lines =
            dirs.split(|byte| *byte == b'\n').map(|line| Path::new(OsStr::from_bytes(line)));
        let (own, common) = (lines.next().unwrap_or(&given), lines.next().unwrap_or(&given));
        let mut repo = Self {
            git: git.on(common, None).guarded().await?,
            common: common.canonicalize().unwrap_or_else(|_| common.to_owned()),
            worktrees: Vec::new(),
            linked: own != common,
            given,
        };
        repo.refresh().await?;
        Ok(repo)
    }

    /// Waits until nobody else changes the repository, then looks at it again.
    pub async fn hold(&mut self, locks: &Locks) -> Result<Arc<Held>, PluginError> {
        let held = locks.hold(&self.common, self.git.until()).await?;
        self.git = self.git.holding(&held);
        self.refresh().await?;
        Ok(held)
    }

    /// Lists the worktrees again.
    pub async fn refresh(&mut self) -> Result<(), GitError> {
        let list = || self.git.cmd("worktree").args(["list", "--porcelain", "-z"]).run();
        let listed = match list().await {
            // Git fails on one that goes while it reads. Whoever does not hold the repository reads once more.
            Err(GitError::Failed { .. }) => list().await?,
            listed => listed?,
        };
        self.worktrees = parse_worktrees(&listed);
        Ok(())
    }

    /// Whether there is no main checkout.
    pub fn is_bare(&self) -> bool {
        self.worktrees.first().is_none_or(|main| main.bare)
    }

    /// The main checkout, or the folder itself for a bare repository.
    pub async fn root(&self) -> Result<PathBuf, GitError> {
        let of_git = self.common.file_name() == Some(OsStr::new(".git"));
        if self.is_bare() {
            return Ok(self.common.clone());
        }
        // A submodule's folder lies apart from its checkout, and the list of worktrees does not know it.
        if !self.linked && (!of_git || self.git.config().get("core.worktree").is_some()) {
            let git = self.git.at(&self.given);
            let top =
                git.cmd("rev-parse").args(["--path-format=absolute", "--show-toplevel"]).run();
            return Ok(PathBuf::from(OsStr::from_bytes(top.await?.trim_ascii_end())));
        }
        let main = self.worktrees.first().map(|main| main.path.clone());
        Ok(main.unwrap_or_else(|| self.common.clone()))
    }

    /// The registered worktree at this path; never the main checkout.
    pub fn entry(&self, path: &Path) -> Option<&Entry> {
        self.worktrees.iter().skip(1).find(|entry| entry.path == path)
    }

    /// The worktree, the main checkout among them, that has this branch checked out.
    pub fn holder(&self, branch: &str) -> Option<&Entry> {
        self.worktrees.iter().find(|entry| entry.branch.as_deref() == Some(branch))
    }

    /// The folder in which git keeps the state of the worktree at this path. Looked up from the repository's
    /// side, since the `.git` file in a worktree can be changed to name another.
    pub fn admin(&self, path: &Path) -> Option<PathBuf> {
        let is_its = |admin: &PathBuf| {
            let Ok(text) = read_small(&admin.join("gitdir")) else { return false };
            let file = admin.join(OsStr::from_bytes(text.trim_ascii_end()));
            file.parent().is_some_and(|at| at == path || normal(at) == path)
        };
        let all = self.common.join("worktrees");
        // Called like the worktree, unless that name was taken.
        let named = all.join(path.file_name()?);
        if is_its(&named) {
            return Some(named);
        }
        std::fs::read_dir(all).ok()?.filter_map(|folder| Some(folder.ok()?.path())).find(is_its)
    }

    /// The remote that counts: `origin`, else the only one.
    pub fn remote(&self) -> Option<String> {
        let mut names = self.git.config().remotes();
        match names.iter().position(|name| name == "origin") {
            Some(at) => Some(names.swap_remove(at)),
            None if names.len() == 1 => names.pop(),
            None => None,
        }
    }

    /// Refs that match the patterns of `for-each-ref`, by name.
    pub async fn refs(&self, patterns: &[&str]) -> Result<Vec<Ref>, GitError> {
        self.git.refs(patterns).await
    }

    /// One ref by its full name.
    pub async fn one_ref(&self, name: &str) -> Result<Option<Ref>, GitError> {
        Ok(self.refs(&[name]).await?.into_iter().find(|found| found.name == name))
    }

    /// Whether `older` is part of `newer`'s history.
    pub async fn contains(&self, newer: &str, older: &str) -> Result<bool, GitError> {
        let args = ["--is-ancestor", "--end-of-options", older, newer];
        self.git.cmd("merge-base").args(args).holds().await
    }

    /// The states of the default branch.
    pub async fn base(&self, name: &str) -> Result<Base, PluginError> {
        if !is_branch(name) {
            let what = format!("`{}` is not the name of a branch", name.escape_debug());
            return Err(
                PluginError::permanent(what, "").with_remedy("set `defaultBranch:` of the project")
            );
        }
        let local = self.one_ref(&format!("refs/heads/{name}")).await?;
        let remote = match self.remote() {
            Some(remote) => self.one_ref(&format!("refs/remotes/{remote}/{name}")).await?,
            None => None,
        };
        match (local, remote) {
            (Some(local), Some(remote)) => {
                let ahead =
                    local.oid != remote.oid && self.contains(&local.oid, &remote.oid).await?;
                let newest = if ahead { local.clone() } else { remote.clone() };
                Ok(Base { newest, tips: vec![local, remote] })
            }
            (Some(tip), None) | (None, Some(tip)) => {
                Ok(Base { newest: tip.clone(), tips: vec![tip] })
            }
            (None, None) if !self.has_commit().await? => Err(no_commit(&self.given)),
            (None, None) => Err(PluginError::new(
                ErrorKind::NotFound,
                format!("the default branch `{name}` does not exist in {}", self.given.display()),
                "",
            )
            .with_remedy("set `defaultBranch:` of the project")),
        }
    }

    /// Changes refs, all or none.
    pub async fn transact(&self, lines: &[String]) -> Result<(), GitError> {
        let script = format!("start\n{}\nprepare\ncommit\n", lines.join("\n"));
        self.git.cmd("update-ref").args(["-m", "ao", "--stdin"]).stdin(script).run().await?;
        Ok(())
    }

    /// Whether any branch has a commit, or the checkout that it was found from.
    pub async fn has_commit(&self) -> Result<bool, GitError> {
        let refs = ["--count=1", "refs/heads", "refs/remotes"];
        if !self.git.cmd("for-each-ref").args(refs).run().await?.is_empty() {
            return Ok(true);
        }
        let head = ["--verify", "--quiet", "--end-of-options", "HEAD^{commit}"];
        self.git.cmd("rev-parse").args(head).holds().await
    }
}

/// That nothing can start in a repository without a commit.
pub fn no_commit(repo: &Path) -> PluginError {
    PluginError::permanent(format!("the repository {} has no commit", repo.display()), "")
        .with_remedy("git commit --allow-empty -m \"Start\"")
}

/// Reads NUL-separated attributes; an empty one ends an entry.
fn parse_worktrees(listed: &[u8]) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut entry = Entry::default();
    for line in listed.split(|byte| *byte == 0) {
        let end = line.iter().position(|byte| *byte == b' ').unwrap_or(line.len());
        let value = OsStr::from_bytes(line.get(end + 1..).unwrap_or_default());
        let text = || value.to_string_lossy().into_owned();
        match &line[..end] {
            b"worktree" => entry.path = value.into(),
            b"HEAD" => entry.head = text(),
            b"branch" => entry.branch = text().strip_prefix("refs/heads/").map(str::to_owned),
            b"bare" => entry.bare = true,
            b"locked" => entry.locked = Some(text()),
            b"" if entry != Entry::default() => entries.push(std::mem::take(&mut entry)),
            _ => {}
        }
    }
    entries
}

/// A small file of git's own, at most 4 KiB; nothing else is followed or waited for.
pub fn read_small(path: &Path) -> std::io::Result<Vec<u8>> {
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
    let file = std::fs::OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(std::io::ErrorKind::InvalidInput.into());
    }
    let mut bytes = Vec::new();
    file.take(4096).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Whether the `.git` of this checkout is, or names, this folder of git's own. Whoever can write to a repository can
/// make it name any folder as a checkout of its own; whoever can write there needs no git for it.
pub fn leads_to(checkout: &Path, admin: &Path) -> bool {
    let git = checkout.join(".git");
    let named = match read_small(&git) {
        Ok(text) => text
            .strip_prefix(b"gitdir: ")
            .map(|path| checkout.join(OsStr::from_bytes(path.trim_ascii_end()))),
        // A folder, or a link to one.
        Err(_) => Some(git),
    };
    let named = named.and_then(|named| named.canonicalize().ok());
    named.is_some_and(|named| admin.canonicalize().is_ok_and(|admin| admin == named))
}

/// A path without `.` and `..`, by its text alone.
pub fn normal(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                out.pop();
            }
            Component::CurDir => {}
            part => out.push(part),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_worktrees_is_read_as_git_writes_it() {
        let listed = b"worktree /r\0HEAD 11\0branch refs/heads/main\0\0\
            worktree /w a\0HEAD 22\0branch refs/heads/ao/x\0locked ao session app-3\0\0\
            worktree /d\0HEAD 33\0detached\0locked\0prunable gone\0\0worktree /b\0bare\0\0";
        let entry = |path: &str, head: &str, branch: Option<&str>| Entry {
            path: path.into(),
            head: head.into(),
            branch: branch.map(str::to_owned),
            ..Entry::default()
        };
        let expected = [
            entry("/r", "11", Some("main")),
            Entry { locked: Some("ao session app-3".into()), ..entry("/w a", "22", Some("ao/x")) },
            Entry { locked: Some(String::new()), ..entry("/d", "33", None) },
            Entry { bare: true, ..entry("/b", "", None) },
        ];
        assert_eq!(parse_worktrees(listed), expected);
    }
}
