//! Going on with a branch that holds work: what lies there is taken over, never made anew and never lost.

use std::{fs, path::PathBuf};

use ao_slots::{
    ErrorKind, PluginError,
    call::Answer,
    workspace::{CreateWorkspace, Removal, Workspace, WorkspaceHandle, WorkspaceInfo},
};

use super::{House, call};

impl House {
    /// What `ao spawn --branch` asks for.
    fn existing(&self, number: u32, branch: &str) -> CreateWorkspace {
        CreateWorkspace { branch: branch.into(), existing: true, ..self.request(number) }
    }

    async fn go_on(&self, number: u32, branch: &str) -> Result<WorkspaceInfo, PluginError> {
        self.plugin.create(&call(), &self.existing(number, branch)).await
    }

    /// The handle of a session that works elsewhere than a new one would.
    fn handle_at(&self, number: u32, info: &WorkspaceInfo) -> WorkspaceHandle {
        let (path, branch) = (info.path.clone(), info.branch.clone());
        WorkspaceHandle { path, branch, ..self.handle(number) }
    }

    fn admin(&self, name: &str) -> PathBuf {
        self.repo().join(".git/worktrees").join(name)
    }

    fn lock_of(&self, name: &str) -> String {
        fs::read_to_string(self.admin(name).join("locked")).unwrap_or_default().trim_end().into()
    }

    /// As a server leaves it that was killed between `git worktree add` and the checkout.
    fn cut_off(&self, number: u32) {
        let admin = self.admin(&format!("app-{number}"));
        for name in ["ao-ready", "index"] {
            fs::remove_file(admin.join(name)).unwrap();
        }
        fs::write(admin.join("index.lock"), "").unwrap();
        fs::remove_file(self.place(number).join("README.md")).unwrap();
    }

    /// A worktree that a human made.
    fn by_hand(&self, number: u32, branch: &str) -> PathBuf {
        let path = self.place(number);
        self.git(&self.repo(), &["worktree", "add", "-q", "-b", branch, path.to_str().unwrap()]);
        path
    }
}

#[tokio::test]
async fn r19_an_orphan_is_taken_over_where_it_is_with_its_files() {
    let house = House::new();
    let orphan = house.made(3).await;
    let head = house.commit_all(&orphan);
    fs::write(orphan.join("README.md"), "changed\n").unwrap();
    fs::write(orphan.join("new"), "new\n").unwrap();
    for round in 0..2 {
        let info = house.go_on(9, "ao/app-3").await.unwrap();
        assert_eq!((&info.path, info.branch.as_str()), (&orphan, "ao/app-3"), "round {round}");
        assert!(!info.branch_created && !house.place(9).exists());
        assert_eq!(house.lock_of("app-3"), "ao session app-9");
    }
    assert_eq!(fs::read_to_string(orphan.join("README.md")).unwrap(), "changed\n");
    assert_eq!(fs::read_to_string(orphan.join("new")).unwrap(), "new\n");
    assert_eq!(house.git(&orphan, &["rev-parse", "HEAD"]), head);
    assert!(!house.has("refs/heads/ao/app-3-2"));

    // It is the new session's alone: the old one neither gets it back nor removes it.
    let error = house.plugin.restore(&call(), &house.handle(3)).await.unwrap_err();
    assert!(error.kind == ErrorKind::Refused && error.cause.contains("app-9"), "{error}");
    for removal in [Removal::IfSafe, Removal::Undo, Removal::Forced] {
        assert_eq!(house.destroy(3, removal).await.unwrap_err().kind, ErrorKind::Refused);
    }
    // A failed spawn undoes what it made, and it did not make this one, even where nothing would be lost.
    let handle = house.handle_at(9, &house.go_on(9, "ao/app-3").await.unwrap());
    for _ in 0..2 {
        let undone = house.plugin.destroy(&call(), &handle, Removal::Undo).await;
        assert_eq!(undone.unwrap_err().kind, ErrorKind::Refused);
        house.git(&orphan, &["checkout", "-q", "."]);
        house.git(&orphan, &["clean", "-qfd"]);
        house.git(&orphan, &["push", "-q", "origin", "HEAD"]);
    }
    house.plugin.destroy(&call(), &handle, Removal::IfSafe).await.unwrap();
    assert!(!orphan.exists() && house.has("refs/heads/ao/app-3"));
}

#[tokio::test]
async fn r19_an_orphan_at_the_very_place_of_its_heir_is_not_undone() {
    let house = House::new();
    // The journal was lost: numbers begin anew, and the data directory has another name.
    let orphan = house.made(1).await;
    fs::write(orphan.join("new"), "new\n").unwrap();
    let mut heir = crate::Worktrees::new(&super::context::with_git(&house.root));
    heir.reserve = 0;
    heir.instance = "01BX5ZZKBKACTAV9WEVGEMMVRZ".parse().unwrap();
    let info = heir.create(&call(), &house.existing(1, "ao/app-1")).await.unwrap();
    assert_eq!(info.path, orphan);
    let handle = house.handle_at(1, &info);
    let undone = heir.destroy(&call(), &handle, Removal::Undo).await;
    assert_eq!(undone.unwrap_err().kind, ErrorKind::Refused);
    assert!(orphan.join("new").exists());
}

#[tokio::test]
async fn r19_a_worktree_of_a_human_is_taken_over_and_never_reset() {
    let house = House::new();
    let path = house.by_hand(3, "mine");
    fs::write(path.join("README.md"), "mine\n").unwrap();
    house.go_on(9, "mine").await.unwrap();
    assert_eq!(house.lock_of("app-3"), "ao session app-9");
    assert!(house.admin("app-3").join("ao-ready").exists(), "the mark comes with the lock");
    // Even if the mark were lost: an index says that somebody has checked it out.
    fs::remove_file(house.admin("app-3").join("ao-ready")).unwrap();
    let info = house.go_on(9, "mine").await.unwrap();
    let handle = house.handle_at(9, &info);
    house.plugin.restore(&call(), &handle).await.unwrap();
    assert_eq!(fs::read_to_string(path.join("README.md")).unwrap(), "mine\n");
    for removal in [Removal::IfSafe, Removal::Undo] {
        let removed = house.plugin.destroy(&call(), &handle, removal).await;
        assert_eq!(removed.unwrap_err().kind, ErrorKind::Refused);
    }

    // A lock of a human's own stays.
    let path = house.by_hand(4, "stick");
    house.git(
        &house.repo(),
        &["worktree", "lock", "--reason", "on a stick", path.to_str().unwrap()],
    );
    house.go_on(10, "stick").await.unwrap();
    assert_eq!(house.lock_of("app-4"), "on a stick");
    // A stick that is away is not forgotten.
    fs::rename(&path, house.root.join("away")).unwrap();
    let error = house.go_on(11, "stick").await.unwrap_err();
    assert!(error.kind == ErrorKind::Refused && error.what.contains("checked out"), "{error}");
    assert_eq!(house.lock_of("app-4"), "on a stick");
}

#[tokio::test]
async fn r19_a_branch_without_a_worktree_gets_a_fresh_one_and_outlives_its_undo() {
    let house = House::new();
    house.git(&house.repo(), &["branch", "mine"]);
    let info = house.go_on(1, "mine").await.unwrap();
    assert_eq!((&info.path, info.branch.as_str()), (&house.place(1), "mine"));
    assert_eq!(house.git(&house.repo(), &["for-each-ref", "refs/ao"]), "");
    // What set-up commands left is the spawn's own.
    fs::write(info.path.join("left"), "").unwrap();
    let handle = house.handle_at(1, &info);
    let removed = house.plugin.destroy(&call(), &handle, Removal::Undo).await.unwrap();
    assert!(!removed.branch_removed && house.has("refs/heads/mine") && !info.path.exists());

    // Only the remote has it, and newer than what was fetched.
    house.git(&house.root, &["clone", "-q", "origin.git", "other"]);
    let other = house.root.join("other");
    house.git(&other, &["switch", "-q", "-c", "theirs"]);
    let head = house.commit_all(&other);
    house.git(&other, &["push", "-q", "origin", "theirs"]);
    assert_eq!(house.go_on(2, "theirs").await.unwrap_err().kind, ErrorKind::NotFound);
    let request = CreateWorkspace { fetch_ms: Some(30_000), ..house.existing(2, "theirs") };
    let info = house.plugin.create(&call(), &request).await.unwrap();
    assert_eq!(house.git(&info.path, &["rev-parse", "HEAD"]), head);
    // One whose worktree was deleted by hand.
    fs::remove_dir_all(&info.path).unwrap();
    assert_eq!(house.go_on(3, "theirs").await.unwrap().path, house.place(3));
}

#[tokio::test]
async fn r19_a_branch_that_cannot_be_gone_on_with_is_told_and_nothing_is_made() {
    let house = House::new();
    let elsewhere = house.root.join("elsewhere");
    house.git(&house.repo(), &["worktree", "add", "-q", "-b", "far", elsewhere.to_str().unwrap()]);
    house.by_hand(5, "mine");
    for (number, branch, kind, word) in [
        (1, "far", ErrorKind::Refused, "elsewhere"),
        (2, "main", ErrorKind::Refused, "repo"),
        (3, "none", ErrorKind::NotFound, "`none` does not exist"),
        (4, "--upload-pack=x", ErrorKind::NotFound, "does not exist"),
        (5, "main", ErrorKind::Refused, "repo"),
    ] {
        let error = house.go_on(number, branch).await.unwrap_err();
        assert!(error.kind == kind && error.what.contains(word), "{branch}: {error}");
        assert!(error.remedy.is_some() && (number == 5 || !house.place(number).exists()));
    }
    // A worktree in the way says how it is gone on with.
    let error = house.create(5).await.unwrap_err();
    let remedy = error.remedy.unwrap();
    assert!(remedy.starts_with("ao spawn app --branch mine --prompt"), "{remedy}");
    // Unless a session works in it.
    house.go_on(9, "mine").await.unwrap();
    let error = house.create(5).await.unwrap_err();
    assert_eq!(error.cause, "it is the workspace of app-9");
}

#[tokio::test]
async fn r19_a_checkout_that_was_cut_off_is_whole_after_the_next_try() {
    let house = House::new();
    house.git(&house.repo(), &["branch", "mine"]);
    let whole = async |number: u32| {
        let facts = house.facts(number).await;
        assert!(facts.is_clean() && house.place(number).join("README.md").exists(), "{facts:?}");
    };
    // Of an existing branch; then by another session than the one that began.
    let info = house.go_on(1, "mine").await.unwrap();
    house.cut_off(1);
    let found = house.plugin.find(&call(), &house.handle_at(1, &info)).await.unwrap();
    assert_eq!(found, Answer::No, "what is not whole is made again");
    house.go_on(1, "mine").await.unwrap();
    whole(1).await;
    house.cut_off(1);
    assert_eq!(house.go_on(2, "mine").await.unwrap().path, house.place(1));
    whole(1).await;
    assert_eq!(house.lock_of("app-1"), "ao session app-2");

    // Of a workspace that was removed and is restored: nothing marks its branch any more.
    let path = house.made(3).await;
    house.commit_all(&path);
    house.git(&path, &["push", "-q", "origin", "HEAD"]);
    house.destroy(3, Removal::IfSafe).await.unwrap();
    house.plugin.restore(&call(), &house.handle(3)).await.unwrap();
    house.cut_off(3);
    house.plugin.restore(&call(), &house.handle(3)).await.unwrap();
    whole(3).await;
    // It may also go, unseen.
    house.cut_off(3);
    house.destroy(3, Removal::IfSafe).await.unwrap();
    assert!(!path.exists() && house.has("refs/heads/ao/app-3"));
}

#[tokio::test]
async fn a_list_tells_which_worktrees_are_locked() {
    let house = House::new();
    house.made(1).await;
    house.by_hand(2, "mine");
    let found = house.plugin.list(&call(), &house.repo(), &house.root).await.unwrap();
    let locked: Vec<_> = found.iter().map(|found| found.locked).collect();
    assert_eq!(locked, [true, false]);
}
