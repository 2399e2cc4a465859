//! What a repository is before anything is made in it, and why no agent could work there.

use std::{path::Path, time::Duration};

use ao_sdk::git::{Git, GitError, Repo, is_branch, no_commit};
use ao_slots::{ErrorKind, PluginError, workspace::RepoInfo};

/// `git worktree list -z` appeared in it.
const OLDEST_GIT: (u32, u32) = (2, 36);
/// How long a signature may take that asks nobody.
const SIGN_LIMIT: Duration = Duration::from_secs(5);

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
    let mut problems = problems(&repo).await?;
    if parse_version(&version).is_some_and(|version| version < OLDEST_GIT) {
        let what = format!("git is too old: {version}");
        let old = PluginError::new(ErrorKind::Missing, what, "worktrees need git 2.36");
        problems.push(old.with_remedy("install a newer git"));
    }
    let origin = repo.git.config().get("remote.origin.url");
    Ok(RepoInfo {
        origin: origin.map(|url| without_credentials(&url)),
        default_branch: default_branch(&repo).await?,
        clean: repo.is_bare() || is_clean(&repo, &root).await?,
        has_commit: repo.has_commit().await?,
        common_dir: repo.common,
        root,
        problems,
    })
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

/// origin/HEAD, else init.defaultBranch where it exists, else the current branch.
async fn default_branch(repo: &Repo) -> Result<Option<String>, GitError> {
    let remote = repo.remote().unwrap_or_else(|| "origin".into());
    let prefix = format!("refs/remotes/{remote}/");
    let exists = async |name: &str| -> Result<bool, GitError> {
        let (local, tracked) = (format!("refs/heads/{name}"), format!("{prefix}{name}"));
        let found = repo.refs(&[&local, &tracked]).await?;
        Ok(is_branch(name)
            && found.iter().any(|found| found.name == local || found.name == tracked))
    };
    let target = async |name: &str| -> Result<String, GitError> {
        let output = repo.git.cmd("symbolic-ref").args(["--quiet", "--", name]).output().await?;
        Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
    };
    let candidates = [
        target(&format!("{prefix}HEAD")).await?.strip_prefix(&prefix).map(str::to_owned),
        repo.git.config().get("init.defaultbranch"),
        target("HEAD").await?.strip_prefix("refs/heads/").map(str::to_owned),
    ];
    for name in candidates.into_iter().flatten() {
        if exists(&name).await? {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

async fn is_clean(repo: &Repo, root: &Path) -> Result<bool, GitError> {
    let git = repo.git.at(root).guarded().await?;
    let status = ["--porcelain", "-z", "--untracked-files=normal", "--ignore-submodules=dirty"];
    Ok(git.cmd("status").args(status).run().await?.is_empty())
}

async fn problems(repo: &Repo) -> Result<Vec<PluginError>, GitError> {
    let mut problems = Vec::new();
    if !repo.has_commit().await? {
        problems.push(no_commit(&repo.given));
    }
    if let Err(GitError::Failed { message, .. }) =
        repo.git.cmd("var").arg("GIT_COMMITTER_IDENT").run().await
    {
        let remedy =
            "git config --global user.name \"<name>\" && git config --global user.email <address>";
        problems.push(
            PluginError::permanent("git does not know who commits", message).with_remedy(remedy),
        );
    }
    problems.extend(signing(repo).await?);
    Ok(problems)
}

/// Tries a signature where commits are signed: an agent has nobody to type a passphrase.
async fn signing(repo: &Repo) -> Result<Option<PluginError>, GitError> {
    if !repo.git.config().is_true("commit.gpgsign") {
        return Ok(None);
    }
    // Objects go to a folder of their own, so that the try leaves nothing behind.
    let scratch = tempfile::tempdir().map_err(GitError::NotStarted)?;
    let git = repo.git.within(SIGN_LIMIT);
    let tree = git.cmd("hash-object").args(["-t", "tree", "/dev/null"]).line().await?;
    let signed = git
        .cmd("commit-tree")
        .args(["--gpg-sign", "-m", "Try a signature", &tree])
        .env("GIT_OBJECT_DIRECTORY", scratch.path())
        .env("GIT_ALTERNATE_OBJECT_DIRECTORIES", repo.common.join("objects"))
        .run()
        .await;
    Ok(signed.err().map(|error| {
        PluginError::permanent("commits are signed, and signing asks or fails", PluginError::from(error))
            .with_remedy("git config commit.gpgsign false in this repository, or a key that an agent program holds")
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

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
