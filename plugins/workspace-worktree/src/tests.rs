//! With the real git, in folders of their own: no configuration of this machine counts.

mod existing;
mod hostile;
mod removing;
mod repositories;
mod spawning;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use ao_conformance::{context, workspace::Bench};
use ao_slots::{
    Call, PluginError,
    call::Answer,
    fact::WorkFacts,
    workspace::{CreateWorkspace, Removal, Removed, Workspace, WorkspaceHandle, WorkspaceInfo},
};
use async_trait::async_trait;
use tempfile::TempDir;

use crate::Worktrees;

/// A repository, its remote, and a plugin beside them.
#[derive(Debug)]
struct House {
    _folder: TempDir,
    /// Canonical.
    root: PathBuf,
    plugin: Worktrees,
}

impl House {
    /// No repository yet.
    fn empty() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        fs::create_dir(root.join("home")).unwrap();
        let config = "[user]\nname = Ana\nemail = ana@example.org\nuseConfigOnly = true\n\
            [init]\ndefaultBranch = main\n[advice]\ndetachedHead = false\n";
        fs::write(root.join("gitconfig"), config).unwrap();
        let plugin = Worktrees { reserve: 0, ..Worktrees::new(&context::with_git(&root)) };
        Self { _folder: folder, root, plugin }
    }

    /// `repo` with one commit on `main` and no remote.
    fn alone() -> Self {
        let house = Self::empty();
        house.git(&house.root, &["init", "--quiet", "repo"]);
        fs::write(house.repo().join("README.md"), "one\n").unwrap();
        fs::write(house.repo().join(".gitignore"), "ignored/\n.env\n").unwrap();
        house.commit_all(&house.repo());
        house
    }

    /// The same, known to the remote `origin`.
    fn new() -> Self {
        let house = Self::alone();
        house.git(&house.root, &["clone", "--quiet", "--bare", "repo", "origin.git"]);
        let origin = house.root.join("origin.git");
        house.git(&house.repo(), &["remote", "add", "origin", origin.to_str().unwrap()]);
        house.git(&house.repo(), &["fetch", "--quiet", "origin"]);
        house.git(&house.repo(), &["remote", "set-head", "origin", "main"]);
        house
    }

    fn repo(&self) -> PathBuf {
        self.root.join("repo")
    }

    fn place(&self, number: u32) -> PathBuf {
        self.root.join(format!("wt/app/app-{number}"))
    }

    fn try_git(&self, dir: &Path, args: &[&str]) -> std::process::Output {
        let mut command = Command::new("git");
        command.args(args).current_dir(dir).env_clear().env("LC_ALL", "C");
        for (name, value) in
            context::with_git(&self.root).env.iter().filter(|(name, _)| *name != "GIT_DIR")
        {
            command.env(name, value);
        }
        command.env("HOME", self.root.join("home")).output().unwrap()
    }

    /// What a human or an agent does with git.
    fn git(&self, dir: &Path, args: &[&str]) -> String {
        let output = self.try_git(dir, args);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "git {args:?} in {}: {error}", dir.display());
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    fn commit_all(&self, dir: &Path) -> String {
        self.git(dir, &["add", "--all"]);
        // The same work on the same base in the same second is the same commit, and safe where the other is.
        let message = format!("Work in {}", dir.display());
        self.git(dir, &["commit", "--quiet", "--allow-empty", "--message", &message]);
        self.git(dir, &["rev-parse", "HEAD"])
    }

    fn has(&self, name: &str) -> bool {
        self.try_git(&self.repo(), &["rev-parse", "--verify", "--quiet", name]).status.success()
    }

    fn request(&self, number: u32) -> CreateWorkspace {
        CreateWorkspace {
            session: format!("app-{number}").parse().unwrap(),
            project: "app".parse().unwrap(),
            repo: self.repo(),
            path: self.place(number),
            branch: format!("ao/app-{number}"),
            existing: false,
            base: "main".into(),
            fetch_ms: None,
            symlinks: Vec::new(),
            submodules: false,
            sparse: Vec::new(),
        }
    }

    fn handle(&self, number: u32) -> WorkspaceHandle {
        let request = self.request(number);
        WorkspaceHandle {
            session: request.session,
            repo: request.repo,
            path: request.path,
            branch: request.branch,
            base: request.base,
            merged_head: None,
        }
    }

    async fn create(&self, number: u32) -> Result<WorkspaceInfo, PluginError> {
        self.plugin.create(&call(), &self.request(number)).await
    }

    async fn made(&self, number: u32) -> PathBuf {
        self.create(number).await.unwrap().path
    }

    async fn facts(&self, number: u32) -> WorkFacts {
        match self.plugin.probe(&call(), &self.handle(number)).await.unwrap() {
            Answer::Yes(facts) => facts,
            answer => panic!("{answer:?}"),
        }
    }

    async fn destroy(&self, number: u32, removal: Removal) -> Result<Removed, PluginError> {
        self.plugin.destroy(&call(), &self.handle(number), removal).await
    }

    /// A program that leaves a trace when it is run; returns its path and the trace's.
    fn canary(&self, name: &str) -> (String, PathBuf) {
        let (program, trace) =
            (self.root.join(format!("{name}.sh")), self.root.join(format!("{name}.ran")));
        fs::write(&program, format!("#!/bin/sh\ntouch '{}'\nexec cat\n", trace.display())).unwrap();
        make_executable(&program);
        (program.display().to_string(), trace)
    }
}

fn make_executable(program: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(program, fs::Permissions::from_mode(0o755)).unwrap();
}

fn call() -> Call {
    Call::new("test", Duration::from_secs(120))
}

#[async_trait]
impl Bench for House {
    fn plugin(&self) -> &dyn Workspace {
        &self.plugin
    }
    fn repo(&self) -> PathBuf {
        House::repo(self)
    }
    fn root(&self) -> PathBuf {
        self.root.join("wt")
    }
    async fn write(&self, workspace: &Path, name: &str) {
        fs::write(workspace.join(name), "work\n").unwrap();
    }
    async fn commit(&self, workspace: &Path) {
        self.commit_all(workspace);
    }
    async fn push(&self, workspace: &Path) {
        self.git(workspace, &["push", "--quiet", "origin", "HEAD"]);
    }
    async fn break_repo(&self, broken: bool) {
        let (config, aside) = (self.repo().join(".git/config"), self.root.join("config"));
        if broken {
            fs::rename(&config, &aside).unwrap();
            fs::write(config, "[broken").unwrap();
        } else {
            fs::rename(aside, config).unwrap();
        }
    }
}

#[tokio::test]
async fn it_keeps_the_contract_of_its_slot() {
    ao_conformance::workspace::all(&House::new()).await;
}

#[test]
fn it_takes_no_settings() {
    let registration = crate::registration();
    (registration.check)(&serde_json::Value::Null).unwrap();
    let error = (registration.check)(&serde_json::json!({"sparse": []})).unwrap_err();
    assert!(error.to_string().contains("worktree"), "{error}");
    let folder = tempfile::tempdir().unwrap();
    (registration.build)(&serde_json::json!({}), &context::with_git(folder.path())).unwrap();
}
