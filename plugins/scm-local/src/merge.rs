//! Merges a pull request.
//!
//! The commit is made first, from trees, in nobody's checkout; then it is recorded; then the base moves to it, if it still
//! is where it was. What a crash cuts off is settled by looking whether the base has the recorded commit.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt, path::PathBuf, sync::Arc};

use ao_sdk::git::{Git, GitError, Repo};
use ao_slots::{ErrorKind, PluginError, scm::MergeMethod, text};
use jiff::Timestamp;
use tempfile::TempDir;

use crate::{
    House,
    base::Move,
    book::{Merge, Pull, PullStage},
    look::{contains, merge_base, not_found},
};

/// Most files that an error names.
const NAMED: usize = 10;

/// What a merge of two trees comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Merged {
    /// The tree.
    Clean(String),
    /// The files, sorted.
    Conflicting(Vec<String>),
}

/// Takes the objects that a mere look makes, so that the repository does not fill up with them.
#[derive(Debug)]
pub(crate) struct Scratch {
    folder: TempDir,
    objects: PathBuf,
}

impl Scratch {
    /// None where the repository's path cannot stand in a list of paths, or there is no room.
    pub(crate) fn beside(repo: &Repo) -> Option<Self> {
        let objects = repo.common.join("objects");
        let is_plain = !objects.as_os_str().as_bytes().iter().any(|byte| b":\"\\\n".contains(byte));
        let folder = is_plain.then(|| tempfile::tempdir().ok())??;
        Some(Self { folder, objects })
    }
}

/// Merges `theirs` into `ours`; with `from`, what changed since that commit.
pub(crate) async fn merge_trees(
    git: &Git,
    ours: &str,
    theirs: &str,
    from: Option<&str>,
    scratch: Option<&Scratch>,
) -> Result<Merged, GitError> {
    let mut call =
        git.cmd("merge-tree").args(["--write-tree", "-z", "--name-only", "--no-messages"]);
    if let Some(Scratch { folder, objects }) = scratch {
        call = call.env("GIT_OBJECT_DIRECTORY", folder.path());
        call = call.env("GIT_ALTERNATE_OBJECT_DIRECTORIES", objects);
    }
    let from = from.map(|from| format!("--merge-base={from}"));
    let output = call.args(from).args(["--end-of-options", ours, theirs]).output().await?;
    let conflicting = output.code == Some(1);
    if !conflicting && output.code != Some(0) {
        return output.succeeded("merge-tree").map(|_| Merged::Conflicting(Vec::new()));
    }
    let mut fields = output.stdout.split(|byte| *byte == 0).filter(|field| !field.is_empty());
    let tree = fields.next().map(|tree| String::from_utf8_lossy(tree).trim_end().to_owned());
    if conflicting {
        let mut files: Vec<String> =
            fields.map(|file| text::one_line(&String::from_utf8_lossy(file))).collect();
        files.sort();
        files.dedup();
        return Ok(Merged::Conflicting(files));
    }
    Ok(Merged::Clean(tree.unwrap_or_default()))
}

impl House {
    /// Merges it; returns the resulting commit.
    pub(crate) async fn merge(
        self: &Arc<Self>,
        git: &Git,
        number: u64,
        expected: &str,
        method: MergeMethod,
    ) -> Result<String, PluginError> {
        self.recover(git).await?;
        let mut repo = self.open(git).await?;
        // Others may hold the repository for long: until it is ours, the book is everybody's. What was read before then,
        // another plugin of this repository may have changed.
        let _held = repo.hold(&self.locks).await?;
        let _change = self.book.hold(git.until()).await?;
        let mut pull = self.book.pull(number).await?.ok_or_else(|| not_found(number))?;
        if let Some(merged) = &pull.merged {
            return already(number, merged, expected);
        }
        if pull.stage == PullStage::Closed {
            return Err(
                refused(number, "it is closed").with_remedy(format!("ao pr reopen {number}"))
            );
        }
        let refs = self.refs(&repo.git).await?;
        let Some(base) = refs.branch(&pull.base).cloned() else {
            let cause = format!("the branch `{}` does not exist", text::one_line(&pull.base));
            return Err(refused(number, &cause));
        };
        if let Some(begun) = pull.merging.clone()
            && contains(&repo, &base, &begun.commit).await?
        {
            let answer = already(number, &begun, expected);
            self.merged(number, pull, begun).await?;
            return answer;
        }
        if let Some(meant) = refs.meant_by(&pull.base) {
            let remedy = format!("ao pr close {number}, then ao pr create with --base {meant}");
            return Err(refused(number, &symbolic(&pull.base, meant)).with_remedy(remedy));
        }
        let head = refs.branch(&pull.branch).or(refs.pin(number, "head"));
        if head.is_none_or(|head| head != expected) {
            let now = head.map_or("gone", |head| short(head));
            return Err(refused(number, &format!("its head is {now}, not {}", short(expected))));
        }
        if pull.draft {
            let remedy = "ao pr create on its branch, without --draft";
            return Err(refused(number, "it is a draft").with_remedy(remedy));
        }
        let commit = self.commit(&repo, number, &pull, &base, expected, method).await?;
        self.keep(&repo, &refs, number, expected, Some(&base)).await?;
        let merge = Merge { head: expected.to_owned(), commit, at: Timestamp::now() };
        if merge.commit != base {
            pull.merging = Some(merge.clone());
            self.write_pull(number, &pull).await?;
            let (branch, new) = (&pull.base, &merge.commit);
            let step = Move { repo: &repo, number, branch, old: &base, new };
            if let Err(error) = step.make().await {
                if error.kind != ErrorKind::InDoubt {
                    pull.merging = None;
                    self.write_pull(number, &pull).await?;
                }
                return Err(error);
            }
        }
        self.merged(number, pull, merge.clone()).await?;
        Ok(merge.commit)
    }

    /// Makes the commit that the base is to move to; the base itself, where it has all of it.
    async fn commit(
        &self,
        repo: &Repo,
        number: u64,
        pull: &Pull,
        base: &str,
        head: &str,
        method: MergeMethod,
    ) -> Result<String, PluginError> {
        let git = &repo.git;
        let config = |key: &str, other: &str| git.config().get(key).or(git.config().get(other));
        if config("committer.name", "user.name").is_none()
            || config("committer.email", "user.email").is_none()
        {
            let remedy = "git config --global user.name \"<name>\" && git config --global user.email <address>";
            return Err(refused(number, "git does not know who commits").with_remedy(remedy));
        }
        match merge_base(git, base, head).await? {
            None => return Err(refused(number, "its history has nothing in common with its base")),
            Some(common) if common == head => {
                return Err(refused(
                    number,
                    &format!("it has no commit that `{}` lacks", pull.base),
                ));
            }
            Some(common) if common == base && method == MergeMethod::Rebase => {
                return Ok(head.to_owned());
            }
            Some(_) => {}
        }
        let conflicting = |files: Vec<String>| {
            let remedy = format!("git rebase {}", text::shell_word(&pull.base));
            refused(number, &format!("conflicts with `{}` in {}", pull.base, named(&files)))
                .with_remedy(format!("on {}: {remedy}", text::shell_word(&pull.branch)))
        };
        let tree = match merge_trees(git, base, head, None, None).await? {
            Merged::Clean(tree) => tree,
            Merged::Conflicting(files) => return Err(conflicting(files)),
        };
        if tree == tree_of(git, base).await? {
            return Ok(base.to_owned());
        }
        if method == MergeMethod::Rebase {
            return replay(repo, number, base, head).await?.map_err(conflicting);
        }
        let title = match method {
            MergeMethod::Squash => format!("{} (#{number})", pull.title),
            _ => format!("Merge #{number}: {}", pull.title),
        };
        // Whoever writes the text does not write our trailer.
        let body: Vec<&str> = pull.body.lines().filter(|line| !is_trailer(line)).collect();
        let body = match body.join("\n").trim() {
            "" => String::new(),
            body => format!("{body}\n\n"),
        };
        let message = format!("{title}\n\n{body}{TRAILER} {number}@{head}\n");
        let mut parents = vec!["-p", base];
        if method == MergeMethod::Merge {
            parents.extend(["-p", head]);
        }
        let call = git.cmd("commit-tree").args(parents).args(["-F", "-", &tree]);
        Ok(call.stdin(message).line().await?)
    }
}

/// Why a base is none: a merge would move the other branch, and not its checkout.
pub(crate) fn symbolic(base: &str, meant: &str) -> String {
    format!("`{base}` only stands for the branch `{meant}`")
}

/// Names the pull request and the head that a commit merged.
const TRAILER: &str = "Ao-Pull:";

fn is_trailer(line: &str) -> bool {
    line.trim_start().get(..TRAILER.len()).is_some_and(|start| start.eq_ignore_ascii_case(TRAILER))
}

/// Puts each commit on top of the base; the files in conflict where one cannot be.
async fn replay(
    repo: &Repo,
    number: u64,
    base: &str,
    head: &str,
) -> Result<Result<String, Vec<String>>, PluginError> {
    let git = &repo.git;
    let range = format!("{base}...{head}");
    let list = |more: &'static [&'static str]| {
        let call = git.cmd("rev-list").args(["--right-only"]).args(more);
        call.args(["--end-of-options", &range]).line()
    };
    if !list(&["--min-parents=2", "--max-count=1"]).await?.is_empty() {
        let error = refused(number, "it has merge commits, which cannot be rebased");
        return Err(error.with_remedy(format!("ao pr merge {number} --squash")));
    }
    let commits = list(&["--reverse", "--topo-order", "--cherry-pick"]).await?;
    let mut onto = base.to_owned();
    let mut tree = tree_of(git, base).await?;
    for commit in commits.lines() {
        let raw = git.cmd("cat-file").args(["commit", commit]).run().await?;
        let parent =
            header(&raw, b"parent ").map(|parent| String::from_utf8_lossy(parent).into_owned());
        let merged = merge_trees(git, &onto, commit, parent.as_deref(), None).await?;
        let new = match merged {
            Merged::Clean(new) => new,
            Merged::Conflicting(files) => return Ok(Err(files)),
        };
        // The base has it already.
        if new == tree {
            continue;
        }
        let end = raw.windows(2).position(|two| two == b"\n\n").map_or(raw.len(), |at| at + 2);
        let mut call = git.cmd("commit-tree").args(["-p", &onto, "-F", "-", &new]);
        // The words are copied byte by byte.
        if let Some(encoding) = header(&raw, b"encoding ") {
            let encoding = String::from_utf8_lossy(encoding);
            call = call.set(format!("i18n.commitEncoding={encoding}"));
        }
        let (name, email, date) = author(&raw).unwrap_or_default();
        let call = call
            .env("GIT_AUTHOR_NAME", OsStr::from_bytes(&name))
            .env("GIT_AUTHOR_EMAIL", OsStr::from_bytes(&email))
            .env("GIT_AUTHOR_DATE", OsStr::from_bytes(&date));
        onto = call.stdin(&raw[end..]).line().await?;
        tree = new;
    }
    Ok(Ok(onto))
}

pub(crate) async fn tree_of(git: &Git, commit: &str) -> Result<String, GitError> {
    let name = format!("{commit}^{{tree}}");
    git.cmd("rev-parse").args(["--verify", "--end-of-options", &name]).line().await
}

fn header<'r>(raw: &'r [u8], name: &[u8]) -> Option<&'r [u8]> {
    raw.split(|byte| *byte == b'\n')
        .take_while(|line| !line.is_empty())
        .find_map(|line| line.strip_prefix(name))
}

type Author = (Vec<u8>, Vec<u8>, Vec<u8>);

/// `author <name> <<address>> <seconds> <zone>`.
fn author(raw: &[u8]) -> Option<Author> {
    let line = header(raw, b"author ")?;
    let open = line.iter().position(|byte| *byte == b'<')?;
    let close = line.iter().rposition(|byte| *byte == b'>')?;
    let date = [b"@", line[close + 1..].trim_ascii()].concat();
    Some((line[..open].trim_ascii().to_vec(), line.get(open + 1..close)?.to_vec(), date))
}

pub(crate) fn named(files: &[String]) -> String {
    let shown = files.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    match files.len().saturating_sub(NAMED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

pub(crate) fn short(commit: &str) -> &str {
    commit.get(..10).unwrap_or(commit)
}

/// The commit of a merge that has happened, if it was of this head.
fn already(number: u64, merge: &Merge, expected: &str) -> Result<String, PluginError> {
    if merge.head == expected {
        return Ok(merge.commit.clone());
    }
    let cause = format!("it was merged at {}, not {}", short(&merge.head), short(expected));
    Err(refused(number, &cause))
}

pub(crate) fn refused(number: u64, cause: &str) -> PluginError {
    PluginError::new(ErrorKind::Refused, format!("#{number} is not merged"), text::one_line(cause))
}
