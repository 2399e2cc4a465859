//! The conformance suite of the workspace slot.
//!
//! A plugin's tests fill in [`Bench`] and run [`all`]. Every case takes session numbers of its own, so the cases may
//! share one repository. A case panics with the heading of the contract that is broken.

#![expect(clippy::expect_used, reason = "a suite fails by a panic that names the broken promise")]

pub mod fake;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use ao_slots::{
    Call, ErrorKind,
    call::Answer,
    workspace::{CreateWorkspace, PostCreate, Removal, Workspace, WorkspaceHandle, WorkspaceInfo},
};
use async_trait::async_trait;

/// Long enough for any machine; only a plugin that hangs meets it.
const LONG: Duration = Duration::from_secs(120);

/// What the suite needs around a plugin: one repository with the default branch `main`, at least one commit and a
/// remote that has it.
#[async_trait]
pub trait Bench: Send + Sync {
    /// The plugin.
    fn plugin(&self) -> &dyn Workspace;
    /// The repository, absolute.
    fn repo(&self) -> PathBuf;
    /// An absolute folder for workspaces and logs.
    fn root(&self) -> PathBuf;
    /// Writes a new file, not committed.
    async fn write(&self, workspace: &Path, name: &str);
    /// Commits everything.
    async fn commit(&self, workspace: &Path);
    /// Makes the head known to the remote.
    async fn push(&self, workspace: &Path);
    /// Makes it impossible to look at the repository, or possible again.
    async fn break_repo(&self, broken: bool);
    /// Whether a process runs whose command line holds this text.
    async fn runs(&self, text: &str) -> bool {
        let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        processes.into_iter().any(|process| {
            let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).replace('\0', " ").contains(text)
        })
    }
}

/// Runs every case.
pub async fn all(bench: &dyn Bench) {
    inspect_tells_what_is_there(bench).await;
    create_again_finds_the_same(bench).await;
    create_gives_each_session_its_own_branch(bench).await;
    create_after_a_dropped_one_adopts(bench).await;
    create_goes_on_with_an_existing_branch(bench).await;
    create_takes_an_orphan_over(bench).await;
    probe_tells_what_changed(bench).await;
    safe_removal_refuses_work(bench).await;
    safe_removal_takes_what_is_safe(bench).await;
    undo_takes_back_what_was_made(bench).await;
    forced_removal_keeps_the_work(bench).await;
    destroy_of_what_is_gone_succeeds(bench).await;
    restore_brings_the_branch_back(bench).await;
    what_cannot_be_seen_is_unknown(bench).await;
    post_create_stops_at_the_first_failure(bench).await;
    post_create_ends_at_its_deadline(bench).await;
    post_create_dropped_ends_its_processes(bench).await;
}

fn call(key: u32) -> Call {
    Call::new(format!("conformance-{key}"), LONG)
}

fn request(bench: &dyn Bench, number: u32) -> CreateWorkspace {
    CreateWorkspace {
        session: format!("conf-{number}").parse().expect("a session id"),
        project: "conf".parse().expect("a project id"),
        repo: bench.repo(),
        path: bench.root().join(format!("conf/conf-{number}")),
        branch: format!("ao/conf-{number}"),
        existing: false,
        base: "main".into(),
        fetch_ms: None,
        symlinks: Vec::new(),
        submodules: false,
        sparse: Vec::new(),
    }
}

fn handle(request: &CreateWorkspace, info: &WorkspaceInfo) -> WorkspaceHandle {
    WorkspaceHandle {
        session: request.session.clone(),
        repo: request.repo.clone(),
        path: info.path.clone(),
        branch: info.branch.clone(),
        base: request.base.clone(),
        merged_head: None,
    }
}

async fn made(bench: &dyn Bench, number: u32) -> WorkspaceHandle {
    let request = request(bench, number);
    let info = bench.plugin().create(&call(number), &request).await;
    handle(&request, &info.unwrap_or_else(|error| panic!("create: a workspace is made: {error}")))
}

async fn is_found(bench: &dyn Bench, handle: &WorkspaceHandle) -> bool {
    let found = bench.plugin().find(&call(0), handle).await.expect("find answers");
    let listed = bench.plugin().list(&call(0), &handle.repo, &bench.root()).await;
    let listed = listed.expect("list answers").iter().filter(|at| at.path == handle.path).count();
    match found {
        Answer::Yes(info) => {
            assert_eq!(info.path, handle.path, "find: it tells another path");
            assert_eq!(listed, 1, "list: a workspace that is found is listed once");
            true
        }
        Answer::No => {
            assert_eq!(listed, 0, "list: a workspace that is gone is not listed");
            false
        }
        Answer::Unknown(why) => panic!("find: nothing hinders looking, and yet: {why}"),
    }
}

/// The repository is seen as the bench made it.
pub async fn inspect_tells_what_is_there(bench: &dyn Bench) {
    let info = bench.plugin().inspect(&call(1), &bench.repo()).await.expect("inspect answers");
    assert!(info.has_commit, "inspect: the repository has a commit");
    assert_eq!(info.default_branch.as_deref(), Some("main"), "inspect: the default branch");
    assert!(info.root.is_absolute() && info.common_dir.is_absolute(), "inspect: absolute paths");
    assert_eq!(info.problems, [], "inspect: an agent can work here");
}

/// Idempotency: `create` at a path that already is this session's workspace returns it.
pub async fn create_again_finds_the_same(bench: &dyn Bench) {
    let request = request(bench, 10);
    let create =
        async || bench.plugin().create(&call(10), &request).await.expect("create succeeds");
    let first = create().await;
    assert!(first.branch_created, "create: the branch is new");
    assert!(is_found(bench, &handle(&request, &first)).await, "create: what was made is found");
    bench.write(&first.path, "work.txt").await;
    let again = create().await;
    assert_eq!(
        (&again.path, &again.branch, &again.base_commit),
        (&first.path, &first.branch, &first.base_commit),
        "Idempotency: create made a second workspace"
    );
    let facts = bench.plugin().probe(&call(10), &handle(&request, &first)).await;
    let Ok(Answer::Yes(facts)) = facts else { panic!("probe: the workspace is there: {facts:?}") };
    assert_eq!(
        facts.changed_files, 1,
        "Idempotency: create again changed what lies in the workspace"
    );
}

/// A branch that another session has gets a number.
pub async fn create_gives_each_session_its_own_branch(bench: &dyn Bench) {
    let first = made(bench, 11).await;
    let mut request = request(bench, 12);
    request.branch.clone_from(&first.branch);
    let second = bench.plugin().create(&call(12), &request).await.expect("create succeeds");
    assert_eq!(
        second.branch,
        format!("{}-2", first.branch),
        "create: a taken branch gets a number"
    );
    assert_ne!(second.path, first.path, "create: two sessions share a workspace");
}

/// Cancel safety: a dropped `create` may leave a workspace behind: calling it again adopts it.
pub async fn create_after_a_dropped_one_adopts(bench: &dyn Bench) {
    for (number, wait) in (20..).zip([0, 2, 5, 10, 20, 40, 80]) {
        let request = request(bench, number);
        let first = call(number);
        let create = bench.plugin().create(&first, &request);
        let _dropped = tokio::time::timeout(Duration::from_millis(wait), create).await;
        let again = bench.plugin().create(&call(number), &request).await;
        let info = again.unwrap_or_else(|error| panic!("Cancel safety: create again: {error}"));
        assert_eq!(info.branch, request.branch, "Cancel safety: create again took another branch");
        assert!(info.branch_created, "Cancel safety: a branch of ours is taken for another's");
        let handle = handle(&request, &info);
        assert!(is_found(bench, &handle).await, "Cancel safety: create again made nothing");
        let facts = bench.plugin().probe(&call(number), &handle).await;
        let Ok(Answer::Yes(facts)) = facts else { panic!("probe: it is there: {facts:?}") };
        assert!(facts.is_clean(), "Cancel safety: the workspace is not whole: {facts:?}");
    }
}

/// A branch that holds work is checked out as it is; what does not exist is not made.
pub async fn create_goes_on_with_an_existing_branch(bench: &dyn Bench) {
    let before = made(bench, 13).await;
    bench.write(&before.path, "work.txt").await;
    bench.commit(&before.path).await;
    bench.push(&before.path).await;
    let probe = async |handle: &WorkspaceHandle| match bench.plugin().probe(&call(13), handle).await
    {
        Ok(Answer::Yes(facts)) => facts,
        answer => panic!("probe: it is there: {answer:?}"),
    };
    let head = probe(&before).await.head;
    bench.plugin().destroy(&call(13), &before, Removal::IfSafe).await.expect("it is safe");
    let mut wanted = request(bench, 14);
    (wanted.branch, wanted.existing) = (before.branch.clone(), true);
    let mut work = None;
    for round in ["existing", "Idempotency: existing again"] {
        let info = bench.plugin().create(&call(14), &wanted).await;
        let info = info.unwrap_or_else(|error| panic!("{round}: {error}"));
        assert_eq!((&info.branch, &info.path), (&wanted.branch, &wanted.path), "{round}");
        assert!(!info.branch_created, "{round}: the branch was there before");
        work = Some(handle(&wanted, &info));
    }
    let work = work.expect("it was made");
    assert_eq!(probe(&work).await.head, head, "existing: the branch's commits are not there");
    let removed = bench.plugin().destroy(&call(14), &work, Removal::Undo).await;
    let removed = removed.unwrap_or_else(|error| panic!("undo of what the spawn made: {error}"));
    assert!(!removed.branch_removed, "undo: a branch that was there before was removed");
    assert!(!is_found(bench, &work).await, "undo: the workspace was left");

    let mut nowhere = request(bench, 15);
    (nowhere.branch, nowhere.existing) = ("ao/never-was".into(), true);
    let kind = bench.plugin().create(&call(15), &nowhere).await.map_err(|error| error.kind);
    assert_eq!(kind.err(), Some(ErrorKind::NotFound), "Errors: an existing branch that is not");
    let listed = bench.plugin().list(&call(15), &bench.repo(), &bench.root()).await;
    let made = listed.expect("list answers").iter().any(|found| found.path == nowhere.path);
    assert!(!made, "Errors: a workspace was made on a branch that is not");
}

/// The workspace that has an existing branch checked out is taken over with its files, and nothing undoes that.
pub async fn create_takes_an_orphan_over(bench: &dyn Bench) {
    let orphan = made(bench, 16).await;
    bench.write(&orphan.path, "work.txt").await;
    let mut wanted = request(bench, 17);
    (wanted.branch, wanted.existing) = (orphan.branch.clone(), true);
    for round in ["existing", "Idempotency: existing again"] {
        let info = bench.plugin().create(&call(17), &wanted).await;
        let info = info.unwrap_or_else(|error| panic!("{round}: {error}"));
        assert_eq!((&info.branch, &info.path), (&orphan.branch, &orphan.path), "{round}");
    }
    let taken = WorkspaceHandle { session: wanted.session.clone(), ..orphan.clone() };
    let facts = bench.plugin().probe(&call(17), &taken).await;
    let Ok(Answer::Yes(facts)) = facts else { panic!("probe: it is there: {facts:?}") };
    assert_eq!(facts.changed_files, 1, "existing: the uncommitted file is gone");
    let undone = bench.plugin().destroy(&call(17), &taken, Removal::Undo).await;
    let kind = undone.map_err(|error| error.kind);
    assert_eq!(kind, Err(ErrorKind::Refused), "undo: what the spawn did not make is in danger");
    assert!(is_found(bench, &taken).await, "undo: what the spawn did not make is gone");
    // Of another project.
    let mut other = request(bench, 18);
    (other.branch, other.existing) = (orphan.branch, true);
    other.project = "other".parse().expect("a project id");
    other.path = bench.root().join("other/conf-18");
    let kind = bench.plugin().create(&call(18), &other).await.map_err(|error| error.kind);
    assert_eq!(kind.err(), Some(ErrorKind::Refused), "Errors: a branch that is in use elsewhere");
}

/// A probe counts what changed, and its fingerprint moves with every change.
pub async fn probe_tells_what_changed(bench: &dyn Bench) {
    let handle = made(bench, 30).await;
    let probe = async |what: &str| match bench.plugin().probe(&call(30), &handle).await {
        Ok(Answer::Yes(facts)) => facts,
        answer => panic!("probe: {what}: {answer:?}"),
    };
    let fresh = probe("a new workspace").await;
    assert_eq!(
        (fresh.commits, fresh.changed_files, fresh.pushed),
        (0, 0, true),
        "probe: {fresh:?}"
    );
    assert_eq!(fresh.branch.as_ref(), Some(&handle.branch), "probe: the branch");
    bench.write(&handle.path, "a.txt").await;
    let dirty = probe("with a new file").await;
    assert_eq!((dirty.commits, dirty.changed_files), (0, 1), "probe: {dirty:?}");
    bench.commit(&handle.path).await;
    let committed = probe("after a commit").await;
    assert_eq!(
        (committed.commits, committed.changed_files, committed.files, committed.pushed),
        (1, 0, 1, false),
        "probe: {committed:?}"
    );
    bench.push(&handle.path).await;
    assert!(probe("after a push").await.pushed, "probe: what a remote has is pushed");
    let prints = [&fresh.fingerprint, &dirty.fingerprint, &committed.fingerprint];
    assert!(
        prints[0] != prints[1] && prints[1] != prints[2] && prints[0] != prints[2],
        "probe: the fingerprint stands still"
    );
    assert_ne!(fresh.head, committed.head, "probe: the head stands still");
}

/// Errors: `destroy` with `IfSafe` answers `Refused` when work would be lost.
pub async fn safe_removal_refuses_work(bench: &dyn Bench) {
    for (number, commit) in [(40, false), (41, true)] {
        let handle = made(bench, number).await;
        bench.write(&handle.path, "work.txt").await;
        if commit {
            bench.commit(&handle.path).await;
        }
        let kind = bench.plugin().destroy(&call(number), &handle, Removal::IfSafe).await;
        let kind = kind.map_err(|error| error.kind);
        assert_eq!(
            kind,
            Err(ErrorKind::Refused),
            "Errors: work (committed: {commit}) is in danger"
        );
        assert!(is_found(bench, &handle).await, "Errors: a refused removal removed");
    }
}

/// What is clean and pushed goes; its branch stays, since it is not merged.
pub async fn safe_removal_takes_what_is_safe(bench: &dyn Bench) {
    let handle = made(bench, 42).await;
    bench.write(&handle.path, "work.txt").await;
    bench.commit(&handle.path).await;
    bench.push(&handle.path).await;
    let removed = bench.plugin().destroy(&call(42), &handle, Removal::IfSafe).await;
    let removed = removed.unwrap_or_else(|error| panic!("destroy: it is safe: {error}"));
    assert!(!removed.branch_removed, "destroy: a branch that is not merged was removed");
    assert!(!is_found(bench, &handle).await, "destroy: the workspace is still there");
    // Without a commit of its own a branch is merged.
    let empty = made(bench, 43).await;
    let removed = bench.plugin().destroy(&call(43), &empty, Removal::IfSafe).await;
    assert!(removed.expect("it is safe").branch_removed, "destroy: a merged branch was left");
}

/// An undo removes what the spawn made, and nothing else.
pub async fn undo_takes_back_what_was_made(bench: &dyn Bench) {
    let other = made(bench, 44).await;
    let mut request = request(bench, 45);
    request.branch.clone_from(&other.branch);
    let info = bench.plugin().create(&call(45), &request).await.expect("create succeeds");
    let ours = handle(&request, &info);
    let removed = bench.plugin().destroy(&call(45), &ours, Removal::Undo).await;
    assert!(removed.expect("undo succeeds").branch_removed, "undo: the branch was left");
    assert!(!is_found(bench, &ours).await, "undo: the workspace was left");
    assert!(is_found(bench, &other).await, "undo: another session's workspace is gone");
    assert!(
        bench.plugin().destroy(&call(45), &ours, Removal::Undo).await.is_ok(),
        "Idempotency: undo"
    );
}

/// A forced removal keeps uncommitted work under a ref.
pub async fn forced_removal_keeps_the_work(bench: &dyn Bench) {
    let handle = made(bench, 46).await;
    bench.write(&handle.path, "work.txt").await;
    let removed = bench.plugin().destroy(&call(46), &handle, Removal::Forced).await;
    let kept = removed.expect("a human's word counts").kept;
    assert_eq!(kept.as_deref(), Some("refs/ao/kept/conf-46"), "destroy: the work was not kept");
    assert!(!is_found(bench, &handle).await, "destroy: the workspace is still there");
    let clean = made(bench, 47).await;
    let removed = bench.plugin().destroy(&call(47), &clean, Removal::Forced).await;
    assert_eq!(removed.expect("forced").kept, None, "destroy: there was nothing to keep");
}

/// Idempotency: `destroy` of what is gone is a success.
pub async fn destroy_of_what_is_gone_succeeds(bench: &dyn Bench) {
    let handle = made(bench, 48).await;
    for round in ["first", "second"] {
        for removal in [Removal::IfSafe, Removal::Forced] {
            let removed = bench.plugin().destroy(&call(48), &handle, removal).await;
            assert!(removed.is_ok(), "Idempotency: destroy, {round} round: {removed:?}");
        }
    }
}

/// A branch that outlived its workspace gets one again.
pub async fn restore_brings_the_branch_back(bench: &dyn Bench) {
    let handle = made(bench, 50).await;
    bench.write(&handle.path, "work.txt").await;
    bench.commit(&handle.path).await;
    bench.push(&handle.path).await;
    let Ok(Answer::Yes(before)) = bench.plugin().probe(&call(50), &handle).await else {
        panic!("probe: it is there")
    };
    bench.plugin().destroy(&call(50), &handle, Removal::IfSafe).await.expect("it is safe");
    for round in ["restore", "Idempotency: restore again"] {
        let info = bench.plugin().restore(&call(51), &handle).await;
        let info = info.unwrap_or_else(|error| panic!("{round}: {error}"));
        assert_eq!((&info.branch, &info.path), (&handle.branch, &handle.path), "{round}");
        assert!(!info.branch_created, "{round}: the branch was there before");
    }
    let Ok(Answer::Yes(after)) = bench.plugin().probe(&call(51), &handle).await else {
        panic!("restore: it is there")
    };
    assert_eq!(
        (after.head, after.changed_files),
        (before.head, 0),
        "restore: the commits are back"
    );
    let mut gone = handle;
    gone.branch = "ao/never-was".into();
    gone.path.set_file_name("conf-52");
    gone.session = "conf-52".parse().expect("a session id");
    let kind = bench.plugin().restore(&call(52), &gone).await.map_err(|error| error.kind);
    assert_eq!(kind.err(), Some(ErrorKind::NotFound), "Errors: restore of a branch that is gone");
}

/// Errors: a probe that cannot look is `Unknown`, and what cannot be seen is not removed.
pub async fn what_cannot_be_seen_is_unknown(bench: &dyn Bench) {
    let handle = made(bench, 53).await;
    bench.write(&handle.path, "work.txt").await;
    bench.break_repo(true).await;
    let probe = bench.plugin().probe(&call(53), &handle).await;
    let found = bench.plugin().find(&call(53), &handle).await;
    let removed = bench.plugin().destroy(&call(53), &handle, Removal::IfSafe).await;
    bench.break_repo(false).await;
    assert!(matches!(probe, Ok(Answer::Unknown(_))), "Errors: probe read it as {probe:?}");
    assert!(matches!(found, Ok(Answer::Unknown(_))), "Errors: find read it as {found:?}");
    assert!(removed.is_err(), "Errors: destroy of what it cannot see");
    assert!(is_found(bench, &handle).await, "Errors: destroy removed what it cannot see");
}

fn set_up(bench: &dyn Bench, handle: &WorkspaceHandle, commands: &[&str]) -> PostCreate {
    PostCreate {
        path: handle.path.clone(),
        commands: commands.iter().map(|line| (*line).to_owned()).collect(),
        env: BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]),
        log: bench.root().join(format!("logs/{}.log", handle.session)),
    }
}

/// Commands run one after another; the failing one is named.
pub async fn post_create_stops_at_the_first_failure(bench: &dyn Bench) {
    let handle = made(bench, 60).await;
    let run = async |commands: &[&str]| {
        let done = bench.plugin().post_create(&call(60), &set_up(bench, &handle, commands)).await;
        done.expect("post_create ends")
    };
    let done = run(&["echo one", "echo two"]).await;
    assert_eq!((done.failed, done.last_line.as_str(), done.lines), (None, "two", 2), "post_create");
    let done = run(&["echo one", "exit 3", "echo two"]).await;
    assert_eq!(done.failed, Some(("exit 3".into(), Some(3))), "post_create: the failure is named");
    assert_eq!(done.last_line, "one", "post_create: it went on after a failure");
}

/// Deadline: within the limit every process started for the call has ended.
pub async fn post_create_ends_at_its_deadline(bench: &dyn Bench) {
    let handle = made(bench, 61).await;
    let request = set_up(bench, &handle, &["sleep 86461.25"]);
    let short = Call::new("conformance-61", Duration::from_millis(500));
    let done = tokio::time::timeout(LONG, bench.plugin().post_create(&short, &request)).await;
    let done = done.expect("Deadline: post_create goes on after its limit");
    assert!(done.is_err(), "Deadline: a command that was stopped counts as done");
    assert!(!bench.runs("sleep 86461.25").await, "Deadline: the command runs on");
}

/// Cancel safety: a dropped `post_create` ends its process group.
pub async fn post_create_dropped_ends_its_processes(bench: &dyn Bench) {
    let handle = made(bench, 62).await;
    let request = set_up(bench, &handle, &["sleep 86462.25"]);
    let until = tokio::time::Instant::now() + LONG;
    let call = call(62);
    {
        let mut run = std::pin::pin!(bench.plugin().post_create(&call, &request));
        let started = async {
            while !bench.runs("sleep 86462.25").await {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::select! {
            done = &mut run => panic!("post_create: the command did not run: {done:?}"),
            () = started => {}
            () = tokio::time::sleep_until(until) => panic!("post_create: the command did not start"),
        }
    }
    while bench.runs("sleep 86462.25").await {
        assert!(tokio::time::Instant::now() < until, "Cancel safety: the command runs on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ao_slots::{
        PluginError,
        fact::WorkFacts,
        workspace::{FoundWorkspace, PostCreateDone, Removed, RepoInfo},
    };

    use super::{fake::Memory, *};

    #[tokio::test]
    async fn a_correct_plugin_passes() {
        all(&Memory::default()).await;
    }

    /// One way to be wrong.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Fault {
        SaysProblems,
        MakesASecond,
        ForgetsWhatItMade,
        SharesBranches,
        StartsAnew,
        UndoesWhatWasThere,
        CountsNothing,
        NeverRefuses,
        DropsBranches,
        LeavesTheBranch,
        KeepsNothing,
        FailsTwice,
        RestoresAnything,
        ReadsUnknownAsNo,
        GoesOnAfterFailure,
        IgnoresTheLimit,
        LeavesProcesses,
    }

    #[derive(Debug)]
    struct Wrong {
        right: Memory,
        fault: Fault,
        calls: std::sync::atomic::AtomicU32,
        left: std::sync::Mutex<Vec<String>>,
    }

    #[async_trait]
    impl Bench for Wrong {
        fn plugin(&self) -> &dyn Workspace {
            self
        }
        fn repo(&self) -> PathBuf {
            self.right.repo()
        }
        fn root(&self) -> PathBuf {
            self.right.root()
        }
        async fn write(&self, workspace: &Path, name: &str) {
            self.right.write(workspace, name).await;
        }
        async fn commit(&self, workspace: &Path) {
            self.right.commit(workspace).await;
        }
        async fn push(&self, workspace: &Path) {
            self.right.push(workspace).await;
        }
        async fn break_repo(&self, broken: bool) {
            self.right.break_repo(broken).await;
        }
        async fn runs(&self, text: &str) -> bool {
            let left = self.left.lock().unwrap().iter().any(|line| line.contains(text));
            left || self.right.runs(text).await
        }
    }

    #[async_trait]
    impl Workspace for Wrong {
        async fn inspect(&self, call: &Call, repo: &Path) -> Result<RepoInfo, PluginError> {
            let mut info = self.right.inspect(call, repo).await?;
            if self.fault == Fault::SaysProblems {
                info.problems.push(PluginError::permanent("no", ""));
            }
            Ok(info)
        }

        async fn create(
            &self,
            call: &Call,
            request: &CreateWorkspace,
        ) -> Result<WorkspaceInfo, PluginError> {
            let existing = request.existing && self.fault != Fault::StartsAnew;
            let request = &CreateWorkspace { existing, ..request.clone() };
            let mut info = self.right.create(call, request).await?;
            let again = self.calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed) > 0;
            match self.fault {
                Fault::MakesASecond if again => info.base_commit = "another".into(),
                Fault::ForgetsWhatItMade if again => info.branch_created = false,
                Fault::SharesBranches => info.branch.clone_from(&request.branch),
                _ => {}
            }
            Ok(info)
        }

        async fn find(
            &self,
            call: &Call,
            handle: &WorkspaceHandle,
        ) -> Result<Answer<WorkspaceInfo>, PluginError> {
            self.right.find(call, handle).await
        }

        async fn restore(
            &self,
            call: &Call,
            handle: &WorkspaceHandle,
        ) -> Result<WorkspaceInfo, PluginError> {
            match self.right.restore(call, handle).await {
                Err(error) if self.fault == Fault::RestoresAnything => {
                    Err(PluginError { kind: ErrorKind::Transient, ..error })
                }
                result => result,
            }
        }

        async fn probe(
            &self,
            call: &Call,
            handle: &WorkspaceHandle,
        ) -> Result<Answer<WorkFacts>, PluginError> {
            Ok(match self.right.probe(call, handle).await? {
                Answer::Yes(facts) if self.fault == Fault::CountsNothing => {
                    Answer::Yes(WorkFacts { changed_files: 0, ..facts })
                }
                Answer::Unknown(_) if self.fault == Fault::ReadsUnknownAsNo => Answer::No,
                answer => answer,
            })
        }

        async fn destroy(
            &self,
            call: &Call,
            handle: &WorkspaceHandle,
            removal: Removal,
        ) -> Result<Removed, PluginError> {
            let was_there = matches!(self.right.find(call, handle).await?, Answer::Yes(_));
            let removal = match self.fault {
                Fault::NeverRefuses if removal == Removal::IfSafe => Removal::Forced,
                Fault::UndoesWhatWasThere if removal == Removal::Undo => Removal::Forced,
                _ => removal,
            };
            let mut removed = self.right.destroy(call, handle, removal).await?;
            match self.fault {
                Fault::DropsBranches => removed.branch_removed = true,
                Fault::LeavesTheBranch => removed.branch_removed = false,
                Fault::KeepsNothing => removed.kept = None,
                Fault::FailsTwice if !was_there => {
                    return Err(PluginError::new(ErrorKind::NotFound, "gone", ""));
                }
                _ => {}
            }
            Ok(removed)
        }

        async fn list(
            &self,
            call: &Call,
            repo: &Path,
            root: &Path,
        ) -> Result<Vec<FoundWorkspace>, PluginError> {
            self.right.list(call, repo, root).await
        }

        async fn post_create(
            &self,
            call: &Call,
            request: &PostCreate,
        ) -> Result<PostCreateDone, PluginError> {
            let mut request = request.clone();
            match self.fault {
                Fault::GoesOnAfterFailure => request.commands.retain(|line| line != "exit 3"),
                Fault::IgnoresTheLimit => request.commands.clear(),
                Fault::LeavesProcesses => {
                    self.left.lock().unwrap().extend(request.commands.iter().cloned());
                }
                _ => {}
            }
            self.right.post_create(call, &request).await
        }
    }

    /// Time stands still but where everything waits, so that the case which waits in vain ends at once.
    #[tokio::test(start_paused = true)]
    async fn each_fault_is_caught_by_its_case() {
        macro_rules! caught {
            ($($fault:ident => $case:ident),+ $(,)?) => {
                [$((Fault::$fault, tokio::spawn(async {
                    let (calls, left) = Default::default();
                    let right = Memory::default();
                    let wrong = Arc::new(Wrong { right, fault: Fault::$fault, calls, left });
                    $case(&*wrong).await;
                }))),+]
            };
        }
        for (fault, case) in caught! {
            SaysProblems => inspect_tells_what_is_there,
            MakesASecond => create_again_finds_the_same,
            SharesBranches => create_gives_each_session_its_own_branch,
            ForgetsWhatItMade => create_after_a_dropped_one_adopts,
            StartsAnew => create_goes_on_with_an_existing_branch,
            UndoesWhatWasThere => create_takes_an_orphan_over,
            CountsNothing => probe_tells_what_changed,
            NeverRefuses => safe_removal_refuses_work,
            DropsBranches => safe_removal_takes_what_is_safe,
            LeavesTheBranch => undo_takes_back_what_was_made,
            KeepsNothing => forced_removal_keeps_the_work,
            FailsTwice => destroy_of_what_is_gone_succeeds,
            RestoresAnything => restore_brings_the_branch_back,
            ReadsUnknownAsNo => what_cannot_be_seen_is_unknown,
            GoesOnAfterFailure => post_create_stops_at_the_first_failure,
            IgnoresTheLimit => post_create_ends_at_its_deadline,
            LeavesProcesses => post_create_dropped_ends_its_processes,
        } {
            assert!(case.await.is_err_and(|error| error.is_panic()), "{fault:?} was not caught");
        }
    }
}
