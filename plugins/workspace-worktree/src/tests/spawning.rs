//! Making: twenty at once, after each kind of crash, beside whatever a human left.

use std::{fs, os::unix::fs::PermissionsExt, sync::Arc, time::Duration};

use ao_slots::{
    Call, ErrorKind,
    call::Answer,
    workspace::{Removal, Workspace},
};

use super::{House, call, make_executable};
use crate::Worktrees;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn r19_twenty_at_once_in_one_repository_all_succeed() {
    let house = Arc::new(House::new());
    // Half of them by another server, which shares nothing but the files.
    let other = Worktrees { reserve: 0, ..Worktrees::new(&super::context::with_git(&house.root)) };
    let other = Arc::new(other);
    let mut making = tokio::task::JoinSet::new();
    for number in 1..=20_u32 {
        let (house, other) = (house.clone(), other.clone());
        making.spawn(async move {
            let plugin = if number.is_multiple_of(2) { &house.plugin } else { &*other };
            let mut request = house.request(number);
            request.branch = "ao/same".into();
            request.fetch_ms = Some(30_000);
            plugin.create(&call(), &request).await
        });
    }
    let mut branches = Vec::new();
    for info in making.join_all().await {
        branches.push(info.unwrap().branch);
    }
    branches.sort();
    branches.dedup();
    assert_eq!(branches.len(), 20, "{branches:?}");
    let listed = house.plugin.list(&call(), &house.repo(), &house.root).await.unwrap();
    assert_eq!(listed.len(), 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r19_fifty_cuts_anywhere_leave_nothing_behind() {
    let house = House::new();
    let fresh =
        || Worktrees { reserve: 0, ..Worktrees::new(&super::context::with_git(&house.root)) };
    for round in 0..25_u32 {
        let number = round + 1;
        let (call, request, handle) = (call(), house.request(number), house.handle(number));
        let wait = Duration::from_millis(u64::from(round * 7 % 90));
        let (first, second, third) = (fresh(), fresh(), fresh());
        let _cut = tokio::time::timeout(wait, first.create(&call, &request)).await;
        // Every second one is given up there, the others are finished by a server that knows nothing.
        if round % 2 == 0 {
            let info = second.create(&call, &request).await.unwrap();
            assert_eq!((info.branch.as_str(), info.branch_created), (handle.branch.as_str(), true));
            assert!(house.facts(number).await.is_clean());
        }
        let _cut = tokio::time::timeout(wait, second.destroy(&call, &handle, Removal::Undo)).await;
        third.destroy(&call, &handle, Removal::Undo).await.unwrap();
    }
    let refs =
        house.git(&house.repo(), &["for-each-ref", "--format=%(refname)", "refs/heads", "refs/ao"]);
    assert_eq!(refs, "refs/heads/main");
    assert_eq!(house.git(&house.repo(), &["worktree", "list"]).lines().count(), 1);
    assert_eq!(fs::read_dir(house.root.join("wt/app")).unwrap().count(), 0);
    let mut folders = vec![house.repo().join(".git")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let name = entry.file_name().into_string().unwrap();
            assert!(!name.ends_with(".lock") || name == "ao-worktree.lock", "{name} was left");
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            }
        }
    }
}

#[tokio::test]
async fn r19_a_repository_that_is_gone_is_not_a_workspace_that_is_gone() {
    let house = House::new();
    let path = house.made(1).await;
    fs::rename(house.repo(), house.root.join("elsewhere")).unwrap();
    for removal in [Removal::IfSafe, Removal::Undo, Removal::Forced] {
        assert_eq!(house.destroy(1, removal).await.unwrap_err().kind, ErrorKind::Refused);
    }
    assert!(path.join("README.md").exists());
    let answer = house.plugin.probe(&call(), &house.handle(1)).await.unwrap();
    assert!(matches!(answer, Answer::Unknown(_)), "{answer:?}");
}

#[tokio::test]
async fn a_workspace_starts_from_the_newest_known_state() {
    let house = House::new();
    let newest = house.commit_all(&house.repo());
    assert_eq!(house.create(1).await.unwrap().base_commit, newest, "the local branch is ahead");
    house.git(&house.root, &["clone", "--quiet", "origin.git", "other"]);
    house.git(&house.repo(), &["reset", "--quiet", "--hard", "origin/main"]);
    let newest = house.commit_all(&house.root.join("other"));
    house.git(&house.root.join("other"), &["push", "--quiet"]);
    let mut request = house.request(2);
    request.fetch_ms = Some(30_000);
    let made = house.plugin.create(&call(), &request).await.unwrap();
    assert_eq!((made.base_commit, made.notes.len()), (newest, 0), "the remote is ahead");
    fs::rename(house.root.join("origin.git"), house.root.join("gone.git")).unwrap();
    let mut request = house.request(3);
    request.fetch_ms = Some(30_000);
    let made = house.plugin.create(&call(), &request).await.unwrap();
    assert!(made.notes.len() == 1 && made.notes[0].starts_with("fetch failed"), "{:?}", made.notes);
}

#[tokio::test]
async fn a_remote_that_hangs_is_waited_for_as_long_as_was_asked() {
    let house = House::new();
    house.git(&house.root, &["config", "--file", "gitconfig", "core.sshCommand", "sleep 1000 #"]);
    house.git(&house.repo(), &["remote", "set-url", "origin", "ssh://far.example/repo"]);
    let mut request = house.request(1);
    request.fetch_ms = Some(200);
    // A fetch without its own limit would take all the time of the call, and nothing would be made.
    let made = house.plugin.create(&call(), &request).await.unwrap();
    assert!(made.notes.len() == 1 && made.notes[0].starts_with("fetch failed"), "{:?}", made.notes);
}

#[tokio::test]
async fn r19_a_branch_without_its_worktree_is_taken_up_again() {
    let house = House::new();
    let head = house.git(&house.repo(), &["rev-parse", "main"]);
    // As the crash leaves it: the first transaction is done, nothing else.
    house.git(&house.repo(), &["update-ref", "refs/heads/ao/app-1", &head]);
    let mark = "refs/ao/made/0123456789ABCDEFGHJKMNPQRS/app-1/ao/app-1";
    house.git(&house.repo(), &["update-ref", mark, &head]);
    house.commit_all(&house.repo());
    let info = house.create(1).await.unwrap();
    assert_eq!((info.branch.as_str(), info.branch_created), ("ao/app-1", true));
    assert_eq!(info.base_commit, head, "its base is the one of the first try");
    assert!(house.destroy(1, Removal::Undo).await.unwrap().branch_removed && !house.has(mark));
}

#[tokio::test]
async fn r19_a_branch_of_someone_else_is_left_alone() {
    let house = House::new();
    house.git(&house.repo(), &["branch", "ao/app-1"]);
    house.git(&house.repo(), &["switch", "--quiet", "--create", "ao/app-2"]);
    house.git(&house.repo(), &["push", "--quiet", "origin", "main:refs/heads/ao/app-3"]);
    for number in 1..=3 {
        let info = house.create(number).await.unwrap();
        assert_eq!(info.branch, format!("ao/app-{number}-2"));
        let mut handle = house.handle(number);
        handle.branch = info.branch;
        let removed = house.plugin.destroy(&call(), &handle, Removal::Undo).await.unwrap();
        assert!(removed.branch_removed);
    }
    assert!(house.has("refs/heads/ao/app-1") && house.has("refs/heads/ao/app-2"));
}

#[tokio::test]
async fn r19_a_worktree_that_a_crash_left_empty_is_filled() {
    let house = House::new();
    let path = house.made(1).await;
    // As a checkout that was killed leaves it.
    let admin = house.repo().join(".git/worktrees/app-1");
    fs::remove_file(admin.join("ao-ready")).unwrap();
    fs::remove_file(admin.join("index")).unwrap();
    fs::write(admin.join("index.lock"), "").unwrap();
    fs::remove_file(path.join("README.md")).unwrap();
    let found = house.plugin.find(&call(), &house.handle(1)).await.unwrap();
    assert_eq!(found, Answer::No, "what is not whole is made again, not adopted");
    assert_eq!(house.made(1).await, path);
    assert!(path.join("README.md").exists() && house.facts(1).await.is_clean());
    // Nobody has worked in it, so it may also go.
    fs::remove_file(admin.join("ao-ready")).unwrap();
    fs::remove_file(admin.join("index")).unwrap();
    fs::remove_file(path.join("README.md")).unwrap();
    house.destroy(1, Removal::IfSafe).await.unwrap();
    assert!(!path.exists() && !house.has("refs/heads/ao/app-1"));
}

#[tokio::test]
async fn r19_a_worktree_deleted_by_hand_is_made_again_with_its_commits() {
    let house = House::new();
    let path = house.made(1).await;
    let head = house.commit_all(&path);
    fs::remove_dir_all(&path).unwrap();
    let answer = house.plugin.probe(&call(), &house.handle(1)).await.unwrap();
    assert_eq!(answer, Answer::No);
    let info = house.create(1).await.unwrap();
    assert_eq!(info.branch, "ao/app-1");
    assert_eq!(house.facts(1).await.head, head);
    fs::remove_dir_all(&path).unwrap();
    house.plugin.restore(&call(), &house.handle(1)).await.unwrap();
    assert_eq!(house.facts(1).await.head, head);
    fs::remove_dir_all(&path).unwrap();
    house.destroy(1, Removal::IfSafe).await.unwrap();
    assert!(house.has("refs/heads/ao/app-1"), "its commit is nowhere else");
    assert!(!house.git(&house.repo(), &["worktree", "list"]).contains("app-1"));
}

#[tokio::test]
async fn r19_what_a_human_put_at_the_path_is_not_touched() {
    let house = House::new();
    fs::create_dir_all(house.place(1)).unwrap();
    house.create(1).await.unwrap(); // an empty folder is nobody's
    fs::create_dir_all(house.place(2)).unwrap();
    fs::write(house.place(2).join("mine"), "mine").unwrap();
    fs::write(house.place(3), "mine").unwrap();
    std::os::unix::fs::symlink(house.repo(), house.place(4)).unwrap();
    let other = house.place(5);
    let add = ["worktree", "add", "--quiet", "-b", "mine", other.to_str().unwrap()];
    house.git(&house.repo(), &add);
    for number in 2..=5 {
        let error = house.create(number).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Refused, "{error}");
        assert!(!house.has(&format!("refs/heads/ao/app-{number}")));
    }
    assert_eq!(fs::read_to_string(house.place(2).join("mine")).unwrap(), "mine");
    // By hand, but on the branch that was meant: adopted as it is.
    let theirs = house.place(6);
    let add = ["worktree", "add", "--quiet", "-b", "ao/app-6", theirs.to_str().unwrap()];
    house.git(&house.repo(), &add);
    fs::write(theirs.join("README.md"), "changed").unwrap();
    let info = house.create(6).await.unwrap();
    assert_eq!((info.branch.as_str(), info.branch_created), ("ao/app-6", false));
    assert_eq!(house.facts(6).await.changed_files, 1);
    assert!(house.destroy(6, Removal::Undo).await.is_err(), "it is not ours to undo");
}

#[tokio::test]
async fn r19_live_worktrees_are_locked_with_their_session() {
    let house = House::new();
    let path = house.made(1).await;
    let listed = house.git(&house.repo(), &["worktree", "list", "--porcelain"]);
    assert!(listed.contains("locked ao session app-1"), "{listed}");
    house.git(&house.repo(), &["worktree", "unlock", path.to_str().unwrap()]);
    house.create(1).await.unwrap();
    assert!(house.git(&house.repo(), &["worktree", "list", "--porcelain"]).contains("locked ao"));
    // A human's own lock counts.
    house.git(&house.repo(), &["worktree", "unlock", path.to_str().unwrap()]);
    house.git(
        &house.repo(),
        &["worktree", "lock", "--reason", "on a stick", path.to_str().unwrap()],
    );
    let error = house.destroy(1, Removal::IfSafe).await.unwrap_err();
    assert!(error.kind == ErrorKind::Refused && error.cause == "on a stick", "{error}");
    house.destroy(1, Removal::Forced).await.unwrap();
    assert!(!path.exists());
}

#[tokio::test]
async fn restore_needs_the_branch_to_itself() {
    let house = House::new();
    let path = house.made(1).await;
    let head = house.commit_all(&path);
    house.git(&path, &["push", "--quiet", "origin", "HEAD"]);
    house.destroy(1, Removal::IfSafe).await.unwrap();
    house.git(&house.repo(), &["switch", "--quiet", "ao/app-1"]);
    let error = house.plugin.restore(&call(), &house.handle(1)).await.unwrap_err();
    assert!(error.kind == ErrorKind::Refused && error.what.contains("checked out"), "{error}");
    house.git(&house.repo(), &["switch", "--quiet", "main"]);
    house.git(&house.repo(), &["branch", "-D", "--quiet", "ao/app-1"]);
    house.plugin.restore(&call(), &house.handle(1)).await.unwrap();
    assert_eq!(house.facts(1).await.head, head, "the remote had it");
}

#[tokio::test]
async fn links_are_made_and_never_committed() {
    let house = House::new();
    fs::create_dir_all(house.repo().join("ignored")).unwrap();
    fs::write(house.repo().join(".env"), "A=b").unwrap();
    fs::write(house.repo().join("notes [1].txt"), "mine").unwrap();
    let mut request = house.request(1);
    request.symlinks =
        [".env", "ignored", "notes [1].txt", "README.md", "none"].map(str::to_owned).into();
    let info = house.plugin.create(&call(), &request).await.unwrap();
    assert_eq!(fs::read_to_string(info.path.join(".env")).unwrap(), "A=b");
    assert_eq!(fs::read_link(info.path.join("ignored")).unwrap(), house.repo().join("ignored"));
    assert!(!info.path.join("README.md").is_symlink(), "a tracked file is not replaced");
    assert_eq!(info.notes.len(), 4, "{:?}", info.notes);
    assert!(house.facts(1).await.is_clean(), "git does not see them");
    house.destroy(1, Removal::IfSafe).await.unwrap();
    assert_eq!(fs::read_to_string(house.repo().join(".env")).unwrap(), "A=b");

    for bad in ["../x", "/etc/passwd", ".git/config"] {
        let mut request = house.request(2);
        request.symlinks = vec![bad.into()];
        let error = house.plugin.create(&call(), &request).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Refused, "{bad}");
    }
    assert!(!house.place(2).exists() && !house.has("refs/heads/ao/app-2"));
}

#[tokio::test]
async fn s13_names_from_outside_reach_neither_shell_nor_options() {
    let house = House::new();
    for (number, name) in (1..).zip([
        "$(touch P)",
        "`touch P`",
        ";touch P",
        "a\nb",
        "--upload-pack=touch P",
        "-oProxyCommand=x",
        "a\u{3000}b",
        "a\u{202e}b",
        "a@{1}",
        "x.lock",
        "🎉",
        "../../x",
        "HEAD",
    ]) {
        let mut request = house.request(number);
        request.branch = name.into();
        let info = house.plugin.create(&call(), &request).await.unwrap();
        let safe = |c: char| c.is_ascii_alphanumeric() || "-/".contains(c);
        assert!(
            info.branch.chars().all(safe) && !info.branch.starts_with('-'),
            "{:?}",
            info.branch
        );
        assert_eq!(info.notes.len(), 1, "{:?}", info.notes);
    }
    let mut long = house.request(90);
    long.branch = "x".repeat(300);
    assert!(house.plugin.create(&call(), &long).await.unwrap().branch.len() <= 120);
    assert!(!house.repo().join("P").exists() && !house.root.join("P").exists());
}

#[tokio::test]
async fn a_checkout_that_does_not_end_is_stopped_and_taken_up_again() {
    let house = House::new();
    let slow = house.root.join("slow.sh");
    fs::write(&slow, "#!/bin/sh\nsleep 86463.25\ncat\n").unwrap();
    make_executable(&slow);
    let config = house.root.join("gitconfig");
    let set = |value: &str| {
        let args = ["config", "--file", config.to_str().unwrap(), "filter.slow.smudge", value];
        house.git(&house.root, &args);
    };
    set(slow.to_str().unwrap());
    fs::write(house.repo().join(".gitattributes"), "*.slow filter=slow\n").unwrap();
    fs::write(house.repo().join("x.slow"), "x").unwrap();
    house.commit_all(&house.repo());
    let short = Call::new("short", Duration::from_secs(3));
    let error = house.plugin.create(&short, &house.request(1)).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::InDoubt, "{error}");
    use ao_conformance::workspace::Bench;
    assert!(!house.runs("sleep 86463.25").await, "a process was left");
    set("cat");
    let path = house.made(1).await;
    assert!(path.join("x.slow").exists() && house.facts(1).await.is_clean());
    assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o022, 0);
}
