//! The workspace slot: an isolated copy of the code.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Call, PluginError, ProjectId, SessionId, call::Answer, fact::WorkFacts};

/// What a workspace is made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CreateWorkspace {
    /// The session that works in it.
    pub session: SessionId,
    /// Its project.
    pub project: ProjectId,
    /// The repository, absolute: a checkout, a bare repository or a worktree itself.
    pub repo: PathBuf,
    /// Where the workspace goes, absolute: `<worktreeDir>/<project>/<session>`.
    pub path: PathBuf,
    /// The wanted branch; taken by another workspace or holding other work: `-2`, `-3` … is added.
    pub branch: String,
    /// The branch holds work to go on with: it is checked out as it is, under no other name. A workspace beside
    /// `path` that has it checked out is taken over where it is, with its uncommitted files.
    #[serde(default)]
    pub existing: bool,
    /// The default branch, e.g. `main`: new work starts from its newest known state.
    pub base: String,
    /// Fetch the base from its remote first, where there is one, for at most that many milliseconds; none = do
    /// not. A failed fetch is not an error.
    pub fetch_ms: Option<u64>,
    /// Paths to link from the main checkout, relative to the repository's root.
    pub symlinks: Vec<String>,
    /// Initialise submodules (only for a trusted project).
    pub submodules: bool,
    /// Sparse checkout patterns (cone mode); empty = everything.
    pub sparse: Vec<String>,
}

/// A made workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkspaceInfo {
    /// Where it is.
    pub path: PathBuf,
    /// The branch that was checked out.
    pub branch: String,
    /// The full object name that the branch started from.
    pub base_commit: String,
    /// Whether this call made the branch: only then may an undo remove it.
    pub branch_created: bool,
    /// What a human should know but that stops nothing, e.g. `fetch failed: …`.
    pub notes: Vec<String>,
}

/// Which workspace, as it was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkspaceHandle {
    /// The session that works in it.
    pub session: SessionId,
    /// The repository.
    pub repo: PathBuf,
    /// Where it is.
    pub path: PathBuf,
    /// Its branch.
    pub branch: String,
    /// What its commits are counted from: the default branch.
    pub base: String,
    /// Head of a merged pull request of this branch: counts as pushed (squash merges leave no ancestor).
    pub merged_head: Option<String>,
}

/// How a workspace is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Removal {
    /// Only when clean and with nothing that is not safe elsewhere. The branch stays unless it is merged into the base: its
    /// commits are there, or it is at [`merged_head`](WorkspaceHandle::merged_head).
    IfSafe,
    /// Undo of a spawn before the agent's first launch: the workspace goes when this spawn made it; one that it
    /// took over is refused. The branch goes when this spawn made it and it has no commit.
    Undo,
    /// A human said so, by name. Uncommitted work is first kept in a commit under `refs/ao/kept/<session>`.
    Forced,
}

/// What a removal did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Default)]
#[serde(rename_all = "camelCase")]
pub struct Removed {
    /// The branch was removed too.
    pub branch_removed: bool,
    /// Where uncommitted work was kept, as a ref; none when there was none.
    pub kept: Option<String>,
}

/// A workspace found below a worktree folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FoundWorkspace {
    /// Where it is.
    pub path: PathBuf,
    /// Its branch; none when detached.
    pub branch: Option<String>,
    /// Its head, full object name.
    pub head: String,
    /// It is locked against removal by hand.
    #[serde(default)]
    pub locked: bool,
}

/// A command to run once in a new workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PostCreate {
    /// The workspace.
    pub path: PathBuf,
    /// Shell command lines from the project's trusted configuration, run one after another by `sh -c`.
    pub commands: Vec<String>,
    /// The whole environment of the commands.
    pub env: std::collections::BTreeMap<String, String>,
    /// Where standard output and error go, absolute.
    pub log: PathBuf,
}

/// How the commands ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PostCreateDone {
    /// The command that failed and its exit code (none for a signal); none when all succeeded.
    pub failed: Option<(String, Option<i32>)>,
    /// The last line that says something, at most 200 characters.
    pub last_line: String,
    /// Lines written.
    pub lines: u64,
}

/// What a repository is, before anything is made in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RepoInfo {
    /// Its root (of the main checkout; the folder itself for a bare one), absolute.
    pub root: PathBuf,
    /// The folder that all its worktrees share, absolute: what is locked.
    pub common_dir: PathBuf,
    /// `origin`'s address, without credentials.
    pub origin: Option<String>,
    /// From origin/HEAD, else init.defaultBranch where it exists, else the current branch; none = ask.
    pub default_branch: Option<String>,
    /// Nothing uncommitted in the main checkout; true for a bare one.
    pub clean: bool,
    /// Has at least one commit.
    pub has_commit: bool,
    /// Why no agent can work here, each with its remedy; empty = it can.
    pub problems: Vec<PluginError>,
}

/// Makes isolated copies of code, and never loses a human's work.
///
/// # Idempotency
/// `create` at a path that already is this session's workspace returns it, as does one that took another over.
/// `destroy` of what is gone is a success.
/// # Cancel safety
/// A dropped `create` may leave a workspace behind: calling it again adopts it. A dropped `post_create` ends
/// its process group. The rest changes nothing.
/// # Deadline
/// Within `call.limit()` every process started for the call has ended.
/// # Errors
/// `destroy` with [`Removal::IfSafe`] answers `Refused` with the counts when work would be lost, and
/// anything that it cannot see for sure counts as work. A probe that cannot look is `Unknown`. `create` on an
/// [`existing`](CreateWorkspace::existing) branch makes nothing and answers `NotFound` when there is none, `Refused`
/// when it is checked out anywhere else.
#[async_trait]
pub trait Workspace: fmt::Debug + Send + Sync {
    /// Looks at a repository. Used by `ao init`, `ao doctor` and before a spawn.
    async fn inspect(&self, call: &Call, repo: &Path) -> Result<RepoInfo, PluginError>;

    /// Makes the workspace, or finds the one that a broken earlier call made.
    async fn create(
        &self,
        call: &Call,
        request: &CreateWorkspace,
    ) -> Result<WorkspaceInfo, PluginError>;

    /// Whether the workspace of this session exists as it was made.
    async fn find(
        &self,
        call: &Call,
        handle: &WorkspaceHandle,
    ) -> Result<Answer<WorkspaceInfo>, PluginError>;

    /// Makes the workspace of an existing branch again.
    async fn restore(
        &self,
        call: &Call,
        handle: &WorkspaceHandle,
    ) -> Result<WorkspaceInfo, PluginError>;

    /// What lies in it.
    async fn probe(
        &self,
        call: &Call,
        handle: &WorkspaceHandle,
    ) -> Result<Answer<WorkFacts>, PluginError>;

    /// Removes it as `removal` allows.
    async fn destroy(
        &self,
        call: &Call,
        handle: &WorkspaceHandle,
        removal: Removal,
    ) -> Result<Removed, PluginError>;

    /// The workspaces of `repo` below `root`: what is there, ours or not.
    async fn list(
        &self,
        call: &Call,
        repo: &Path,
        root: &Path,
    ) -> Result<Vec<FoundWorkspace>, PluginError>;

    /// Runs the project's set-up commands.
    async fn post_create(
        &self,
        call: &Call,
        request: &PostCreate,
    ) -> Result<PostCreateDone, PluginError>;
}
