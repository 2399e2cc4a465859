//! A repository: where it is, its worktrees, its default branch, and why no agent could work in it.

use std::{
    ffi::OsStr,
    io::Read,
    os::unix::{ffi::OsStrExt, fs::OpenOptionsExt},
    path::{Component, Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use ao_slots::{ErrorKind, PluginError, workspace::RepoInfo};
use nix::fcntl::OFlag;

use crate::{
    branch::{self, Ref},
    git::{Git, GitError},
    lock::{Held, Locks},
};

/// `git worktree list -z` appeared in it.
const OLDEST_GIT: (u32, u32) = (2, 36);
/// How long a signature may take that asks nobody.
const SIGN_LIMIT: Duration = Duration::from_secs(5);

/// One entry of `git worktree list --porcelain -z`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Entry {
    pub(crate) path: PathBuf,
    pub(crate) head: String,
    /// None when detached.
    pub(crate) branch: Option<String>,
    pub(crate) bare: bool,
    /// The reason, when it is locked.
    pub(crate) locked: Option<String>,
}

/// A repository, found from any folder in it.
#[derive(Debug)]
pub(crate) struct Repo {
    /// Git on the common folder.
    pub(crate) git: Git,
    /// The folder that all worktrees share.
    pub(crate) common: PathBuf,
    /// The main checkout first.
    pub(crate) worktrees: Vec<Entry>,
    given: PathBuf,
    linked: bool,
}

/// Where the default branch stands, locally and at the remote.
#[derive(Debug)]
pub(crate) struct Base {
    /// The newest known state; new work starts here.
    pub(crate) newest: Ref,
    /// All known states: at least one.
    pub(crate) tips: Vec<Ref>,
}

impl Repo {
    /// Finds the repository of a folder: a checkout, a subfolder, a linked worktree or a bare one.
    pub(crate) async fn open(git: &Git, path: &Path) -> Result<Self, PluginError> {
        let given = path.canonicalize().map_err(|cause| {
            PluginError::new(
                ErrorKind::NotFound,
                format!("no repository at {}", path.display()),
                cause,
            )
        })?;
        Ok(Self::find(git, given).await?)
    }

    async fn find(git: &Git, given: PathBuf) -> Result<Self, GitError> {
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
    pub(crate) async fn hold(&mut self, locks: &Locks) -> Result<Arc<Held>, PluginError> {
        let held = locks.hold(&self.common, self.git.until()).await?;
        self.git = self.git.holding(&held);
        self.refresh().await?;
        Ok(held)
    }

    /// Lists the worktrees again.
    pub(crate) async fn refresh(&mut self) -> Result<(), GitError> {
        let listed = self.git.cmd("worktree").args(["list", "--porcelain", "-z"]).run().await?;
        self.worktrees = parse_worktrees(&listed);
        Ok(())
    }

    /// Whether there is no main checkout.
    pub(crate) fn is_bare(&self) -> bool {
        self.worktrees.first().is_none_or(|main| main.bare)
    }

    /// The main checkout, or the folder itself for a bare repository.
    pub(crate) async fn root(&self) -> Result<PathBuf, GitError> {
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
    pub(crate) fn entry(&self, path: &Path) -> Option<&Entry> {
        self.worktrees.iter().skip(1).find(|entry| entry.path == path)
    }

    /// The folder in which git keeps the state of the worktree at this path. Looked up from the repository's
    /// side, since the `.git` file in a worktree can be changed to name another.
    pub(crate) fn admin(&self, path: &Path) -> Option<PathBuf> {
        let folders = std::fs::read_dir(self.common.join("worktrees")).ok()?;
        folders.filter_map(|folder| Some(folder.ok()?.path())).find(|admin| {
            let Ok(text) = read_small(&admin.join("gitdir")) else { return false };
            let file = admin.join(OsStr::from_bytes(text.trim_ascii_end()));
            file.parent().is_some_and(|at| at == path || normal(at) == path)
        })
    }

    /// The remote that counts: `origin`, else the only one.
    pub(crate) fn remote(&self) -> Option<String> {
        let mut names = self.git.config().remotes();
        match names.iter().position(|name| name == "origin") {
            Some(at) => Some(names.swap_remove(at)),
            None if names.len() == 1 => names.pop(),
            None => None,
        }
    }

    /// Refs that match the patterns of `for-each-ref`, by name.
    pub(crate) async fn refs(&self, patterns: &[&str]) -> Result<Vec<Ref>, GitError> {
        let format = "--format=%(refname) %(objectname)";
        let call = self.git.cmd("for-each-ref").args([format, "--end-of-options"]).args(patterns);
        Ok(branch::parse_refs(&call.cap(64 << 20).run().await?))
    }

    /// One ref by its full name.
    pub(crate) async fn one_ref(&self, name: &str) -> Result<Option<Ref>, GitError> {
        Ok(self.refs(&[name]).await?.into_iter().find(|found| found.name == name))
    }

    /// Whether `older` is part of `newer`'s history.
    pub(crate) async fn contains(&self, newer: &str, older: &str) -> Result<bool, GitError> {
        let args = ["--is-ancestor", "--end-of-options", older, newer];
        self.git.cmd("merge-base").args(args).holds().await
    }

    /// The states of the default branch.
    pub(crate) async fn base(&self, name: &str) -> Result<Base, PluginError> {
        if !branch::is_valid(name) {
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

    async fn has_commit(&self) -> Result<bool, GitError> {
        let refs = ["--count=1", "refs/heads", "refs/remotes"];
        if !self.git.cmd("for-each-ref").args(refs).run().await?.is_empty() {
            return Ok(true);
        }
        let head = ["--verify", "--quiet", "--end-of-options", "HEAD^{commit}"];
        self.git.cmd("rev-parse").args(head).holds().await
    }

    /// origin/HEAD, else init.defaultBranch where it exists, else the current branch.
    async fn default_branch(&self) -> Result<Option<String>, GitError> {
        let remote = self.remote().unwrap_or_else(|| "origin".into());
        let prefix = format!("refs/remotes/{remote}/");
        let exists = async |name: &str| -> Result<bool, GitError> {
            let (local, tracked) = (format!("refs/heads/{name}"), format!("{prefix}{name}"));
            let found = self.refs(&[&local, &tracked]).await?;
            Ok(branch::is_valid(name)
                && found.iter().any(|found| found.name == local || found.name == tracked))
        };
        let target = async |name: &str| -> Result<String, GitError> {
            let output =
                self.git.cmd("symbolic-ref").args(["--quiet", "--", name]).output().await?;
            Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
        };
        let candidates = [
            target(&format!("{prefix}HEAD")).await?.strip_prefix(&prefix).map(str::to_owned),
            self.git.config().get("init.defaultbranch"),
            target("HEAD").await?.strip_prefix("refs/heads/").map(str::to_owned),
        ];
        for name in candidates.into_iter().flatten() {
            if exists(&name).await? {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }

    async fn is_clean(&self, root: &Path) -> Result<bool, GitError> {
        let git = self.git.at(root).guarded().await?;
        let status = ["--porcelain", "-z", "--untracked-files=normal", "--ignore-submodules=dirty"];
        Ok(git.cmd("status").args(status).run().await?.is_empty())
    }

    async fn problems(&self) -> Result<Vec<PluginError>, GitError> {
        let mut problems = Vec::new();
        if !self.has_commit().await? {
            problems.push(no_commit(&self.given));
        }
        if let Err(GitError::Failed { message, .. }) =
            self.git.cmd("var").arg("GIT_COMMITTER_IDENT").run().await
        {
            let remedy = "git config --global user.name \"<name>\" && git config --global user.email <address>";
            problems.push(
                PluginError::permanent("git does not know who commits", message)
                    .with_remedy(remedy),
            );
        }
        problems.extend(self.signing().await?);
        Ok(problems)
    }

    /// Tries a signature where commits are signed: an agent has nobody to type a passphrase.
    async fn signing(&self) -> Result<Option<PluginError>, GitError> {
        if !self.git.config().is_true("commit.gpgsign") {
            return Ok(None);
        }
        // Objects go to a folder of their own, so that the try leaves nothing behind.
        let scratch = tempfile::tempdir().map_err(GitError::NotStarted)?;
        let git = self.git.within(SIGN_LIMIT);
        let tree = git.cmd("hash-object").args(["-t", "tree", "/dev/null"]).line().await?;
        let signed = git
            .cmd("commit-tree")
            .args(["--gpg-sign", "-m", "Try a signature", &tree])
            .env("GIT_OBJECT_DIRECTORY", scratch.path())
            .env("GIT_ALTERNATE_OBJECT_DIRECTORIES", self.common.join("objects"))
            .run()
            .await;
        Ok(signed.err().map(|error| {
            PluginError::permanent("commits are signed, and signing asks or fails", PluginError::from(error))
                .with_remedy("git config commit.gpgsign false in this repository, or a key that an agent program holds")
        }))
    }
}

/// Everything that [`RepoInfo`] tells.
pub(crate) async fn inspect(git: &Git, path: &Path) -> Result<RepoInfo, PluginError> {
    let given = path.canonicalize().map_err(|cause| {
        PluginError::new(ErrorKind::NotFound, format!("no folder at {}", path.display()), cause)
    })?;
    let version = git.at(&given).cmd("version").line().await?;
    let repo = match Repo::find(git, given.clone()).await {
        Ok(repo) => repo,
        // Git looks at nothing there, and neither do we.
        Err(error) if error.other_owner().is_some() => {
            return Ok(RepoInfo {
                common_dir: given.join(".git"),
                root: given,
                origin: None,
                default_branch: None,
                clean: false,
                has_commit: false,
                problems: vec![error.into()],
            });
        }
        Err(error) => return Err(error.into()),
    };
    let root = repo.root().await?;
    let mut problems = repo.problems().await?;
    if parse_version(&version).is_some_and(|version| version < OLDEST_GIT) {
        let what = format!("git is too old: {version}");
        let old = PluginError::new(ErrorKind::Missing, what, "worktrees need git 2.36");
        problems.push(old.with_remedy("install a newer git"));
    }
    let origin = repo.git.config().get("remote.origin.url");
    Ok(RepoInfo {
        origin: origin.map(|url| without_credentials(&url)),
        default_branch: repo.default_branch().await?,
        clean: repo.is_bare() || repo.is_clean(&root).await?,
        has_commit: repo.has_commit().await?,
        common_dir: repo.common,
        root,
        problems,
    })
}

fn no_commit(repo: &Path) -> PluginError {
    PluginError::permanent(format!("the repository {} has no commit", repo.display()), "")
        .with_remedy("git commit --allow-empty -m \"Start\"")
}

fn parse_version(line: &str) -> Option<(u32, u32)> {
    let mut numbers = line.split_ascii_whitespace().nth(2)?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// An address without what lets one in. A lone name before an ssh host is not secret, and needed.
fn without_credentials(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let end = rest.find('/').unwrap_or(rest.len());
    let Some(at) = rest[..end].rfind('@') else { return url.to_owned() };
    let user = rest[..at].split(':').next().unwrap_or_default();
    let kept = if scheme.starts_with("http") { String::new() } else { format!("{user}@") };
    format!("{scheme}://{kept}{}", &rest[at + 1..])
}

/// Reads NUL-separated attributes; an empty one ends an entry.
pub(crate) fn parse_worktrees(listed: &[u8]) -> Vec<Entry> {
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
pub(crate) fn read_small(path: &Path) -> std::io::Result<Vec<u8>> {
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
    let file = std::fs::OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(std::io::ErrorKind::InvalidInput.into());
    }
    let mut bytes = Vec::new();
    file.take(4096).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A path without `.` and `..`, by its text alone.
pub(crate) fn normal(path: &Path) -> PathBuf {
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

    #[test]
    fn s32_an_address_carries_no_credentials() {
        for (url, expected) in [
            ("https://ana:ghp_x@host/o/r.git", "https://host/o/r.git"),
            ("https://token@host/o/r", "https://host/o/r"),
            ("ssh://git:pw@host:22/o/r", "ssh://git@host:22/o/r"),
            ("git@host:o/r.git", "git@host:o/r.git"),
            ("https://host/a@b", "https://host/a@b"),
            ("/srv/r.git", "/srv/r.git"),
        ] {
            assert_eq!(without_credentials(url), expected);
        }
    }

    #[test]
    fn git_says_its_version_in_several_ways() {
        for (line, expected) in [
            ("git version 2.47.3", Some((2, 47))),
            ("git version 2.39.5 (Apple Git-154)", Some((2, 39))),
            ("garbage", None),
        ] {
            assert_eq!(parse_version(line), expected);
        }
    }
}
