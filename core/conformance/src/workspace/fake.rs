//! A workspace plugin that keeps everything in memory; nothing is on disk and no process runs.

#![expect(clippy::expect_used, reason = "a bench fails by a panic")]

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ao_slots::{
    Call, ErrorKind, PluginError, SessionId,
    call::Answer,
    fact::WorkFacts,
    text,
    workspace::{
        CreateWorkspace, FoundWorkspace, PostCreate, PostCreateDone, Removal, Removed, RepoInfo,
        Workspace, WorkspaceHandle, WorkspaceInfo,
    },
};
use async_trait::async_trait;

use super::Bench;

/// One repository at `/repo` with the default branch `main`, and its workspaces.
///
/// Set-up commands are not run but read: `echo`, `exit` and `sleep` do what they say, others succeed.
#[derive(Debug, Default)]
pub struct Memory {
    state: Mutex<State>,
    running: Arc<Mutex<Vec<String>>>,
}

#[derive(Debug, Default)]
struct State {
    broken: bool,
    commits: u64,
    branches: BTreeMap<String, Branch>,
    places: BTreeMap<PathBuf, Place>,
}

#[derive(Debug, Clone)]
struct Branch {
    made_for: SessionId,
    commits: Vec<String>,
    pushed: bool,
}

#[derive(Debug, Clone)]
struct Place {
    session: SessionId,
    branch: String,
    files: Vec<String>,
    /// It was there before its session.
    taken_over: bool,
}

impl Place {
    fn new(session: &SessionId, branch: &str) -> Self {
        let (session, branch) = (session.clone(), branch.to_owned());
        Self { session, branch, files: Vec::new(), taken_over: false }
    }
}

fn oid(number: u64) -> String {
    format!("{number:040x}")
}

fn refused(work: &str) -> PluginError {
    PluginError::new(ErrorKind::Refused, "the workspace holds work", work)
}

impl State {
    fn look(&self) -> Result<(), PluginError> {
        if self.broken {
            return Err(PluginError::transient("the repository cannot be read", ""));
        }
        Ok(())
    }

    fn facts(&self, place: &Place) -> WorkFacts {
        let branch = &self.branches[&place.branch];
        let commits = u32::try_from(branch.commits.len()).unwrap_or(u32::MAX);
        let head = branch.commits.last().cloned().unwrap_or_else(|| oid(0));
        WorkFacts {
            fingerprint: format!("{head} {}", place.files.join(" ")),
            head,
            branch: Some(place.branch.clone()),
            commits,
            changed_files: u32::try_from(place.files.len()).unwrap_or(u32::MAX),
            added: commits,
            removed: 0,
            files: commits,
            pushed: commits == 0 || branch.pushed,
        }
    }

    fn info(&self, path: &Path, place: &Place) -> WorkspaceInfo {
        WorkspaceInfo {
            path: path.to_owned(),
            branch: place.branch.clone(),
            base_commit: oid(0),
            branch_created: self.branches[&place.branch].made_for == place.session,
            notes: Vec::new(),
        }
    }

    /// Takes over the workspace that has the branch, or makes one for it.
    fn go_on(&mut self, request: &CreateWorkspace) -> Result<WorkspaceInfo, PluginError> {
        if !self.branches.contains_key(&request.branch) {
            return Err(PluginError::new(ErrorKind::NotFound, "no such branch", ""));
        }
        let held = self.places.iter_mut().find(|(_, place)| place.branch == request.branch);
        let path = match held {
            Some((path, _)) if path.parent() != request.path.parent() => {
                return Err(PluginError::new(ErrorKind::Refused, "the branch is in use", ""));
            }
            Some((path, place)) => {
                place.taken_over |= place.session != request.session;
                place.session = request.session.clone();
                path.clone()
            }
            None => {
                let place = Place::new(&request.session, &request.branch);
                self.places.insert(request.path.clone(), place);
                request.path.clone()
            }
        };
        let info = self.info(&path, &self.places[&path]);
        Ok(WorkspaceInfo { branch_created: false, ..info })
    }
}

impl Memory {
    /// The path of its one repository.
    pub const REPO: &str = "/repo";

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with_place(&self, path: &Path, change: impl FnOnce(&mut Place, &mut Branch, String)) {
        let mut state = self.state();
        state.commits += 1;
        let commit = oid(state.commits);
        let state = &mut *state;
        let place = state.places.get_mut(path).expect("a workspace of the bench");
        let branch = state.branches.get_mut(&place.branch).expect("its branch");
        change(place, branch, commit);
    }
}

#[async_trait]
impl Bench for Memory {
    fn plugin(&self) -> &dyn Workspace {
        self
    }
    fn repo(&self) -> PathBuf {
        Self::REPO.into()
    }
    fn root(&self) -> PathBuf {
        "/worktrees".into()
    }
    async fn write(&self, workspace: &Path, name: &str) {
        self.with_place(workspace, |place, _, _| place.files.push(name.to_owned()));
    }
    async fn commit(&self, workspace: &Path) {
        self.with_place(workspace, |place, branch, commit| {
            place.files.clear();
            branch.commits.push(commit);
            branch.pushed = false;
        });
    }
    async fn push(&self, workspace: &Path) {
        self.with_place(workspace, |_, branch, _| branch.pushed = true);
    }
    async fn break_repo(&self, broken: bool) {
        self.state().broken = broken;
    }
    async fn runs(&self, text: &str) -> bool {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.iter().any(|line| line.contains(text))
    }
}

/// A command that runs until this is dropped.
struct Running(Arc<Mutex<Vec<String>>>, String);

impl Running {
    fn start(memory: &Memory, line: &str) -> Self {
        memory.running.lock().unwrap_or_else(PoisonError::into_inner).push(line.to_owned());
        Self(memory.running.clone(), line.to_owned())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|line| *line != self.1);
    }
}

#[async_trait]
impl Workspace for Memory {
    async fn inspect(&self, _: &Call, repo: &Path) -> Result<RepoInfo, PluginError> {
        self.state().look()?;
        if repo != Path::new(Self::REPO) {
            return Err(PluginError::new(ErrorKind::NotFound, "no repository", repo.display()));
        }
        Ok(RepoInfo {
            root: repo.to_owned(),
            common_dir: repo.join(".git"),
            origin: None,
            default_branch: Some("main".into()),
            clean: true,
            has_commit: true,
            problems: Vec::new(),
        })
    }

    async fn create(
        &self,
        _: &Call,
        request: &CreateWorkspace,
    ) -> Result<WorkspaceInfo, PluginError> {
        let mut state = self.state();
        state.look()?;
        if request.existing {
            return state.go_on(request);
        }
        if let Some(place) = state.places.get(&request.path) {
            if place.session == request.session {
                return Ok(state.info(&request.path, place));
            }
            return Err(PluginError::new(ErrorKind::Refused, "the path is taken", ""));
        }
        let mut branch = request.branch.clone();
        let mut number = 2;
        while state.branches.contains_key(&branch) {
            branch = format!("{}-{number}", request.branch);
            number += 1;
        }
        let made = Branch { made_for: request.session.clone(), commits: Vec::new(), pushed: false };
        state.branches.insert(branch.clone(), made);
        let place = Place::new(&request.session, &branch);
        let info = state.info(&request.path, &place);
        state.places.insert(request.path.clone(), place);
        Ok(info)
    }

    async fn find(
        &self,
        _: &Call,
        handle: &WorkspaceHandle,
    ) -> Result<Answer<WorkspaceInfo>, PluginError> {
        let state = self.state();
        Ok(match (state.look(), state.places.get(&handle.path)) {
            (Err(error), _) => Answer::Unknown(error.to_string()),
            (Ok(()), Some(place)) => Answer::Yes(state.info(&handle.path, place)),
            (Ok(()), None) => Answer::No,
        })
    }

    async fn restore(
        &self,
        _: &Call,
        handle: &WorkspaceHandle,
    ) -> Result<WorkspaceInfo, PluginError> {
        let mut state = self.state();
        state.look()?;
        if !state.branches.contains_key(&handle.branch) {
            return Err(PluginError::new(ErrorKind::NotFound, "no such branch", ""));
        }
        let place = Place::new(&handle.session, &handle.branch);
        state.places.entry(handle.path.clone()).or_insert(place);
        let info = state.info(&handle.path, &state.places[&handle.path]);
        Ok(WorkspaceInfo { branch_created: false, ..info })
    }

    async fn probe(
        &self,
        _: &Call,
        handle: &WorkspaceHandle,
    ) -> Result<Answer<WorkFacts>, PluginError> {
        let state = self.state();
        Ok(match (state.look(), state.places.get(&handle.path)) {
            (Err(error), _) => Answer::Unknown(error.to_string()),
            (Ok(()), Some(place)) => {
                let mut facts = state.facts(place);
                facts.pushed |= handle.merged_head.as_ref() == Some(&facts.head);
                Answer::Yes(facts)
            }
            (Ok(()), None) => Answer::No,
        })
    }

    async fn destroy(
        &self,
        _: &Call,
        handle: &WorkspaceHandle,
        removal: Removal,
    ) -> Result<Removed, PluginError> {
        let mut state = self.state();
        state.look()?;
        let Some(place) = state.places.get(&handle.path) else { return Ok(Removed::default()) };
        let facts = state.facts(place);
        let safe =
            facts.is_clean() && (facts.pushed || handle.merged_head.as_ref() == Some(&facts.head));
        if removal == Removal::IfSafe && !safe {
            let files = text::count(facts.changed_files.into(), "changed file", "changed files");
            let commits = text::count(facts.commits.into(), "commit", "commits");
            return Err(refused(&format!("{files}, {commits}")));
        }
        if removal == Removal::Undo && place.taken_over {
            return Err(refused("it was there before"));
        }
        let keeps = removal == Removal::Forced && !facts.is_clean();
        let made = state.branches[&place.branch].made_for == handle.session;
        let merged = facts.commits == 0 || handle.merged_head.as_ref() == Some(&facts.head);
        let branch_removed = merged && (removal != Removal::Undo || made);
        state.places.remove(&handle.path);
        if branch_removed {
            state.branches.remove(&handle.branch);
        }
        let kept = keeps.then(|| format!("refs/ao/kept/{}", handle.session));
        Ok(Removed { branch_removed, kept })
    }

    async fn list(
        &self,
        _: &Call,
        _: &Path,
        root: &Path,
    ) -> Result<Vec<FoundWorkspace>, PluginError> {
        let state = self.state();
        state.look()?;
        let below = state.places.iter().filter(|(path, _)| path.starts_with(root));
        Ok(below
            .map(|(path, place)| FoundWorkspace {
                path: path.clone(),
                branch: Some(place.branch.clone()),
                head: state.facts(place).head,
                locked: false,
            })
            .collect())
    }

    async fn post_create(
        &self,
        call: &Call,
        request: &PostCreate,
    ) -> Result<PostCreateDone, PluginError> {
        let mut done = PostCreateDone { failed: None, last_line: String::new(), lines: 0 };
        for line in &request.commands {
            let _running = Running::start(self, line);
            match line.split_once(' ') {
                Some(("echo", words)) => {
                    done.last_line = words.to_owned();
                    done.lines += 1;
                }
                Some(("exit", code)) if code != "0" => {
                    done.failed = Some((line.clone(), code.parse().ok()));
                    break;
                }
                Some(("sleep", seconds)) => {
                    let nap = Duration::from_secs_f64(seconds.parse().unwrap_or(0.0));
                    if tokio::time::timeout(call.limit(), tokio::time::sleep(nap)).await.is_err() {
                        return Err(PluginError::in_doubt("it did not end in time", line));
                    }
                }
                _ => {}
            }
        }
        Ok(done)
    }
}
