//! One worktree on disk: proven to be the repository's, then asked what lies in it.

use std::{
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
};

use ao_sdk::git::{Base, Git, GitError, Repo, read_small};
use ao_slots::{PluginError, fact::WorkFacts};
use sha2::{Digest, Sha256};

/// Status output that is read: about 200,000 files. What is beyond counts as changed all the same.
const STATUS_CAP: usize = 32 << 20;
/// Changed files whose time and size go into the fingerprint.
const STAMPED: usize = 20_000;
/// Repositories within repositories that are followed.
const DEPTH: u32 = 8;

/// A worktree that is there and belongs to the repository.
#[derive(Debug)]
pub(crate) struct Checkout {
    /// Git on exactly this worktree.
    pub(crate) git: Git,
    /// Where it is, canonical.
    pub(crate) path: PathBuf,
    /// Where git keeps its state.
    pub(crate) admin: PathBuf,
}

/// What lies in a worktree.
#[derive(Debug)]
pub(crate) struct Look {
    /// The facts; work inside of repositories within counts as changed files and as not pushed.
    pub(crate) facts: WorkFacts,
    /// Repositories within that hold work of their own, by path.
    pub(crate) nested: Vec<String>,
    /// Files that the index hides from status: assume-unchanged, or skip-worktree and yet there.
    pub(crate) hidden: Vec<Vec<u8>>,
}

impl Checkout {
    /// The worktree at this settled path, which is a folder.
    pub(crate) async fn open(repo: &Repo, path: &Path) -> Result<Self, PluginError> {
        let foreign = |cause: &str| {
            let remedy =
                format!("look at it, then: git -C '{}' worktree repair", repo.common.display());
            PluginError::new(
                ao_slots::ErrorKind::Refused,
                format!("{} is not a worktree of {}", path.display(), repo.common.display()),
                cause,
            )
            .with_remedy(remedy)
        };
        let admin = repo.admin(path).filter(|_| repo.entry(path).is_some());
        let admin = admin.ok_or_else(|| foreign("git does not list it"))?;
        let named = read_small(&path.join(".git"))
            .map_err(|error| foreign(&format!("its .git file: {error}")))?;
        let named = named.trim_ascii_end().strip_prefix(b"gitdir: ").unwrap_or_default();
        let named = path.join(OsStr::from_bytes(named)).canonicalize().ok();
        if named.is_none() || named != admin.canonicalize().ok() {
            return Err(foreign("its .git file names another repository"));
        }
        let git = repo.git.on(&admin, Some(path)).guarded().await?;
        Ok(Self { git, path: path.to_owned(), admin })
    }

    /// Looks at the worktree. `thorough` also looks where only a removal needs to.
    pub(crate) async fn look(
        &self,
        repo: &Repo,
        base: &Base,
        merged_head: Option<&str>,
        thorough: bool,
    ) -> Result<Look, PluginError> {
        let (status, bytes) = status(&self.git).await?;
        let mut facts = WorkFacts {
            head: status.head,
            branch: status.branch,
            changed_files: count(status.paths.len()),
            ..WorkFacts::default()
        };
        let (mut nested, mut hidden) = (Vec::new(), Vec::new());
        if thorough || self.path.join(".gitmodules").symlink_metadata().is_ok() {
            let mut index = index(&self.git, &self.path).await?;
            index.links.extend(status.paths.iter().filter(|path| is_repository(path)).cloned());
            nested = work_within(&self.git, &self.path, index.links, DEPTH).await?;
            hidden = index.hidden;
        }
        facts.changed_files += count(nested.len() + hidden.len());
        facts.fingerprint = fingerprint(&bytes, &self.path, status.paths).await;
        if facts.head.is_empty() {
            return Ok(Look { facts, nested, hidden });
        }
        // Object names from git itself, so none of them can be an option.
        let counted = self.git.cmd("rev-list").args(["--count", &facts.head, "--not"]);
        let counted = counted.args(base.tips.iter().map(|tip| &tip.oid)).line().await?;
        facts.commits = counted.parse().unwrap_or(u32::MAX);
        (facts.files, facts.added, facts.removed) =
            self.git.changes(&base.newest.oid, &facts.head).await?;
        facts.pushed = nested.is_empty()
            && (facts.commits == 0
                || merged_head == Some(&facts.head)
                || self.is_safe_elsewhere(repo, &facts.head).await?);
        Ok(Look { facts, nested, hidden })
    }

    /// Whether a remote has the commit; without any remote, whether a branch keeps it.
    async fn is_safe_elsewhere(&self, repo: &Repo, head: &str) -> Result<bool, GitError> {
        let keeps = if repo.git.config().remotes().is_empty() { "--branches" } else { "--remotes" };
        let alone = ["--max-count=1", head, "--not", keeps];
        Ok(self.git.cmd("rev-list").args(alone).run().await?.is_empty())
    }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// What `git status` says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Status {
    head: String,
    branch: Option<String>,
    paths: Vec<PathBuf>,
}

async fn status(git: &Git) -> Result<(Status, Vec<u8>), GitError> {
    let args = ["--porcelain=v2", "--branch", "-z", "--no-ahead-behind", "--no-renames"];
    let more = ["--untracked-files=all", "--ignore-submodules=dirty"];
    let output = git.cmd("status").args(args).args(more).cap(STATUS_CAP).output().await?;
    let bytes = output.succeeded("status")?;
    Ok((parse_status(&bytes), bytes))
}

/// An untracked folder that is a repository is listed as itself, every other one by its files.
fn is_repository(path: &Path) -> bool {
    path.as_os_str().as_bytes().ends_with(b"/")
}

/// Reads porcelain format 2 with `-z`.
fn parse_status(bytes: &[u8]) -> Status {
    let mut status = Status::default();
    let mut records = bytes.split(|byte| *byte == 0);
    while let Some(record) = records.next() {
        // The number of fields before the path.
        let before = match record.first() {
            Some(b'#') => {
                let line = String::from_utf8_lossy(record);
                match line.strip_prefix("# branch.").and_then(|line| line.split_once(' ')) {
                    Some(("oid", oid)) if oid != "(initial)" => status.head = oid.to_owned(),
                    Some(("head", name)) if name != "(detached)" => {
                        status.branch = Some(name.to_owned());
                    }
                    _ => {}
                }
                continue;
            }
            Some(b'1') => 8,
            Some(b'2') => {
                records.next(); // where it was renamed from
                9
            }
            Some(b'u') => 10,
            Some(b'?') => 1,
            _ => continue,
        };
        if let Some(path) = record.splitn(before + 1, |byte| *byte == b' ').nth(before) {
            status.paths.push(PathBuf::from(OsStr::from_bytes(path)));
        }
    }
    status
}

/// A digest over head, status, and time and size of what changed: edits of one file go on changing it.
async fn fingerprint(status: &[u8], root: &Path, paths: Vec<PathBuf>) -> String {
    let mut hash = Sha256::new();
    hash.update(status);
    let root = root.to_owned();
    let stamp = move || {
        for path in paths.into_iter().take(STAMPED) {
            if let Ok(meta) = fs::symlink_metadata(root.join(path)) {
                for part in [meta.mtime(), meta.mtime_nsec(), meta.size().cast_signed()] {
                    hash.update(part.to_le_bytes());
                }
            }
        }
        hash.finalize()
    };
    let digest = tokio::task::spawn_blocking(stamp).await.unwrap_or_default();
    digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// What the index knows and status does not tell.
#[derive(Debug, Default, PartialEq, Eq)]
struct Index {
    /// Places of repositories within (mode 160000).
    links: Vec<PathBuf>,
    /// Files whose changes status does not show.
    hidden: Vec<Vec<u8>>,
}

async fn index(git: &Git, root: &Path) -> Result<Index, GitError> {
    let listed = git.cmd("ls-files").args(["-v", "-s", "-z"]).cap(256 << 20).run().await?;
    let mut index = parse_index(&listed);
    // A file left out by a sparse checkout is not there; one that is there was put back by someone.
    index.hidden.retain(|(tag, path)| {
        *tag != b'S' || root.join(OsStr::from_bytes(path)).symlink_metadata().is_ok()
    });
    let hidden = index.hidden.into_iter().map(|(_, path)| path).collect();
    Ok(Index { links: index.links, hidden })
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Listed {
    links: Vec<PathBuf>,
    hidden: Vec<(u8, Vec<u8>)>,
}

/// Reads `<tag> <mode> <object> <stage> TAB <path> NUL`. A lower-case tag is assume-unchanged, `S` skip-worktree.
fn parse_index(bytes: &[u8]) -> Listed {
    let mut listed = Listed::default();
    for record in bytes.split(|byte| *byte == 0) {
        let Some(tab) = record.iter().position(|byte| *byte == b'\t') else { continue };
        let (tag, path) = (record[0], &record[tab + 1..]);
        if record[2..].starts_with(b"160000 ") {
            listed.links.push(PathBuf::from(OsStr::from_bytes(path)));
        }
        if tag == b'S' || tag.is_ascii_lowercase() {
            listed.hidden.push((tag, path.to_vec()));
        }
    }
    listed
}

/// Which of the repositories within hold work that would go with them: changes, or commits and stashes that
/// no remote has. One that cannot be looked at counts.
async fn work_within(
    git: &Git,
    root: &Path,
    links: Vec<PathBuf>,
    depth: u32,
) -> Result<Vec<String>, GitError> {
    let mut found = Vec::new();
    for link in links {
        let path: PathBuf = root.join(&link).components().collect();
        if path.join(".git").symlink_metadata().is_err() {
            continue; // not initialised: nothing is in it
        }
        let inside = path.canonicalize().is_ok_and(|real| real == path);
        let clean = inside && depth > 0 && Box::pin(is_spare(git, &path, depth - 1)).await?;
        if !clean {
            found.push(link.to_string_lossy().into_owned());
        }
    }
    Ok(found)
}

async fn is_spare(git: &Git, path: &Path, depth: u32) -> Result<bool, GitError> {
    let looked = async {
        let git = git.at(path).guarded().await?;
        let top =
            git.cmd("rev-parse").args(["--path-format=absolute", "--show-toplevel"]).run().await?;
        if Path::new(OsStr::from_bytes(top.trim_ascii_end())) != path {
            return Ok(false);
        }
        let (status, _) = status(&git).await?;
        let index = index(&git, path).await?;
        let alone =
            ["--max-count=1", "HEAD", "--branches", "--glob=refs/stash", "--not", "--remotes"];
        let alone = git.cmd("rev-list").args(alone).run().await?;
        Ok(status.paths.is_empty()
            && index.hidden.is_empty()
            && alone.is_empty()
            && work_within(&git, path, index.links, depth).await?.is_empty())
    };
    match looked.await {
        Err(GitError::Failed { .. }) => Ok(false),
        answer => answer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_is_read_as_git_writes_it() {
        let bytes = b"# branch.oid 11aa\0# branch.head ao/x\0\
            1 .M N... 100644 100644 100644 7 7 a file\0? new/\xff.txt\0\
            2 R. N... 100644 100644 100644 7 7 R100 to\0from\0\
            u UU N... 100644 100644 100644 100644 1 2 3 both sides\0! ignored\0";
        let paths = [b"a file".as_slice(), b"new/\xff.txt", b"to", b"both sides"];
        let expected = Status {
            head: "11aa".into(),
            branch: Some("ao/x".into()),
            paths: paths.iter().map(|path| OsStr::from_bytes(path).into()).collect(),
        };
        assert_eq!(parse_status(bytes), expected);
        let unborn = parse_status(b"# branch.oid (initial)\0# branch.head (detached)\0");
        assert_eq!(unborn, Status::default());
        assert_eq!(parse_status(b"1 .M cut off").paths, Vec::<PathBuf>::new());
    }

    #[test]
    fn the_index_tells_what_status_hides() {
        let listed = parse_index(
            b"H 100644 aa 0\tplain\0h 100644 aa 0\tassumed\0S 100644 aa 0\tskipped\0H 160000 aa 0\tsub dir\0",
        );
        let hidden = vec![(b'h', b"assumed".to_vec()), (b'S', b"skipped".to_vec())];
        assert_eq!(listed, Listed { links: vec!["sub dir".into()], hidden });
    }
}
