//! Moves a base: with its checkout where it has one, and only from where it was.

use std::path::PathBuf;

use ao_sdk::git::{Entry, Git, GitError, Repo, leads_to, read_small};
use ao_slots::{PluginError, text};

use crate::{
    look::contains,
    merge::{named, refused, short},
};

/// One move of a branch.
#[derive(Debug)]
pub(crate) struct Move<'m> {
    pub(crate) repo: &'m Repo,
    /// The pull request that it is for.
    pub(crate) number: u64,
    /// Without `refs/heads/`.
    pub(crate) branch: &'m str,
    pub(crate) old: &'m str,
    pub(crate) new: &'m str,
}

impl Move<'_> {
    /// Makes it.
    pub(crate) async fn make(&self) -> Result<(), PluginError> {
        if let Some((what, place)) = self.in_progress() {
            let (branch, place) = (self.branch, place.display());
            let cause = format!("a {what} on `{branch}` is not finished in {place}");
            return Err(self.refused(&cause).with_remedy(format!("finish or abort that {what}")));
        }
        let made = match self.holder()? {
            None => {
                let (name, action) = (self.name(), self.action());
                let args = ["-m", &action, "--end-of-options", &name, self.new, self.old];
                self.repo.git.cmd("update-ref").args(args).run().await.map(drop)
            }
            Some(entry) => {
                let (git, path) = self.checkout(entry).await?;
                match self.fast_forward(&git).await {
                    Err(GitError::Failed { message, .. })
                        if message.contains("would be overwritten") =>
                    {
                        let (place, message) = (path.display(), text::one_line(&message));
                        let cause = format!("files in {place} are in the way: {message}");
                        let folder = text::shell_word(&path.to_string_lossy());
                        let remedy = format!("move them away: cd {folder}");
                        return Err(self.refused(&cause).with_remedy(remedy));
                    }
                    Err(error @ GitError::Failed { .. }) => {
                        self.put_back(&git).await;
                        Err(error)
                    }
                    made => made,
                }
            }
        };
        match made {
            Ok(()) => self.settle(None).await,
            Err(error @ GitError::Failed { .. }) => self.settle(Some(error)).await,
            Err(error) => Err(error.into()),
        }
    }

    /// What came of it: it has happened when the base has the commit, whatever git says.
    async fn settle(&self, failed: Option<GitError>) -> Result<(), PluginError> {
        let in_doubt = |cause: String| {
            let what = format!("it is not known whether #{} is merged", self.number);
            PluginError::in_doubt(what, text::one_line(&cause))
        };
        let unknown = |error: GitError| in_doubt(PluginError::from(error).to_string());
        let now = self.repo.one_ref(&self.name()).await.map_err(unknown)?;
        let now = now.as_ref().map_or("gone", |found| &found.oid);
        let is_in = now == self.new || contains(self.repo, now, self.new).await.map_err(unknown)?;
        match failed.map(PluginError::from) {
            _ if is_in => Ok(()),
            None => {
                let branch = self.branch;
                Err(in_doubt(format!("git merged, but `{branch}` is {}", short(now))))
            }
            // Whoever holds a lock lets it go.
            Some(error) if now == self.old && !error.is_transient() => {
                Err(self.refused(&error.cause))
            }
            Some(error) => Err(self.moved(&error.cause)),
        }
    }

    fn name(&self) -> String {
        format!("refs/heads/{}", self.branch)
    }

    fn action(&self) -> String {
        format!("ao: merge #{}", self.number)
    }

    fn refused(&self, cause: &str) -> PluginError {
        refused(self.number, cause)
    }

    /// Somebody else was faster: it did not happen, and may on top of theirs.
    fn moved(&self, why: &str) -> PluginError {
        let cause = format!("`{}` could not be moved: {}", self.branch, text::one_line(why));
        PluginError::transient(format!("#{} is not merged", self.number), cause)
    }

    /// What a human has begun with the branch, and in which worktree. Git lists one that is being rebased as detached.
    fn in_progress(&self) -> Option<(&'static str, PathBuf)> {
        let name = self.name();
        self.repo.worktrees.iter().enumerate().find_map(|(at, entry)| {
            let admin = match at {
                0 => self.repo.common.clone(),
                _ => self.repo.admin(&entry.path)?,
            };
            let is_rebased = |folder: &str| {
                read_small(&admin.join(folder).join("head-name"))
                    .is_ok_and(|text| text.trim_ascii_end() == name.as_bytes())
            };
            let has_it = entry.branch.as_deref() == Some(self.branch);
            let what = match () {
                () if is_rebased("rebase-merge") || is_rebased("rebase-apply") => "rebase",
                () if has_it && admin.join("MERGE_HEAD").exists() => "merge",
                () if has_it && admin.join("CHERRY_PICK_HEAD").exists() => "cherry-pick",
                () => return None,
            };
            Some((what, entry.path.clone()))
        })
    }

    /// The worktree that has the branch. One whose folder is gone is none, unless a lock says that it comes back.
    fn holder(&self) -> Result<Option<&Entry>, PluginError> {
        let has_it = |entry: &&Entry| {
            entry.branch.as_deref() == Some(self.branch)
                && (entry.locked.is_some() || entry.path.exists())
        };
        let holders: Vec<&Entry> = self.repo.worktrees.iter().filter(has_it).collect();
        match holders[..] {
            [] => Ok(None),
            [entry] => Ok(Some(entry)),
            _ => {
                let places: Vec<String> =
                    holders.iter().map(|entry| entry.path.display().to_string()).collect();
                let places = places.join(", ");
                let cause = format!("`{}` is checked out in several places: {places}", self.branch);
                Err(self.refused(&cause))
            }
        }
    }

    /// Git in the worktree, and where that is, once nothing speaks against changing it.
    async fn checkout(&self, entry: &Entry) -> Result<(Git, PathBuf), PluginError> {
        let Self { repo, branch, .. } = self;
        let is_main = repo.worktrees.first() == Some(entry);
        let path = if is_main { repo.root().await? } else { entry.path.clone() };
        let place = path.display();
        if !path.exists() {
            return Err(
                self.refused(&format!("`{branch}` is checked out in {place}, which is away"))
            );
        }
        let admin = if is_main { Some(repo.common.clone()) } else { repo.admin(&path) };
        // Whoever can write to the repository can name any folder there.
        let Some(admin) = admin.filter(|admin| leads_to(&path, admin)) else {
            let cause = format!("`{branch}` is said to be checked out in {place}, which is not so");
            return Err(self.refused(&cause).with_remedy("git worktree repair"));
        };
        let git = repo.git.on(&admin, Some(&path)).guarded().await?;
        let status = ["--porcelain", "-z", "--untracked-files=no", "--ignore-submodules=all"];
        let changed = changed_files(&git.cmd("status").args(status).run().await?);
        if !changed.is_empty() {
            let files = named(&changed);
            let cause = format!(
                "`{branch}` is checked out in {place} and has uncommitted changes: {files}"
            );
            let folder = text::shell_word(&path.to_string_lossy());
            let remedy = format!("commit or stash them: git -C {folder} stash");
            return Err(self.refused(&cause).with_remedy(remedy));
        }
        let head =
            git.cmd("rev-parse").args(["HEAD", "--symbolic-full-name", "HEAD"]).line().await?;
        if head != format!("{}\n{}", self.old, self.name()) {
            return Err(self.moved(&format!("the checkout in {place} has just changed")));
        }
        Ok((git, path))
    }

    async fn fast_forward(&self, git: &Git) -> Result<(), GitError> {
        // Each against a setting that says otherwise, or a default that takes a human's file.
        let args = [
            "--ff-only",
            "--no-squash",
            "--no-overwrite-ignore",
            "--no-autostash",
            "--no-stat",
            "--quiet",
            "--end-of-options",
            self.new,
        ];
        let call = git.cmd("merge").args(args).env("GIT_REFLOG_ACTION", self.action());
        call.run().await.map(drop)
    }

    /// Git changes the files first. Where it failed to move the branch then, they go back: they were as in `old`.
    async fn put_back(&self, git: &Git) {
        let ignored = "--ignore-submodules=all";
        let is_new = ["--cached", "--quiet", "--end-of-options", self.new, "--"];
        let put_back = async {
            if git.cmd("rev-parse").arg("HEAD").line().await? == self.old
                && git.cmd("diff-index").args(is_new).holds().await?
                && git.cmd("diff-files").args(["--quiet", ignored]).holds().await?
            {
                let args = ["-m", "-u", "--end-of-options", self.new, self.old];
                git.cmd("read-tree").args(args).run().await?;
            }
            Ok::<_, GitError>(())
        };
        // Where that fails too, the next merge names the files.
        let _stays = put_back.await;
    }
}

/// The paths of `git status --porcelain -z`.
fn changed_files(listed: &[u8]) -> Vec<String> {
    let mut files = Vec::new();
    let mut fields = listed.split(|byte| *byte == 0);
    while let Some(field) = fields.next() {
        let Some((state, path)) = field.split_at_checked(3) else { continue };
        files.push(text::one_line(&String::from_utf8_lossy(path)));
        if state.starts_with(b"R") || state.starts_with(b"C") {
            fields.next(); // where it came from
        }
    }
    files
}
