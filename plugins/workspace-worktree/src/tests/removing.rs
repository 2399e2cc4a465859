//! Removing: whatever is not surely safe stays.

use std::{fs, os::unix::fs::PermissionsExt};

use ao_slots::{
    ErrorKind,
    workspace::{Removal, Workspace},
};

use super::{House, call};

#[tokio::test]
async fn a_refusal_names_the_counts() {
    let house = House::new();
    let path = house.made(1).await;
    house.commit_all(&path);
    house.commit_all(&path);
    for name in ["a", "b", "README.md"] {
        fs::write(path.join(name), "work").unwrap();
    }
    let error = house.destroy(1, Removal::IfSafe).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Refused);
    assert_eq!(error.cause, "3 changed files, 2 commits that nothing else has");
    assert!(path.join("a").exists());
}

#[tokio::test]
async fn ignored_files_go_and_read_only_folders_do_not_stay() {
    let house = House::new();
    let path = house.made(1).await;
    fs::create_dir_all(path.join("ignored/deep")).unwrap();
    fs::write(path.join("ignored/deep/x"), "x").unwrap();
    fs::set_permissions(path.join("ignored/deep"), fs::Permissions::from_mode(0o500)).unwrap();
    std::os::unix::fs::symlink(house.root.join("home"), path.join("ignored/home")).unwrap();
    house.destroy(1, Removal::IfSafe).await.unwrap();
    assert!(!path.exists() && house.root.join("home").exists());
    assert_eq!(
        fs::read_dir(path.parent().unwrap()).unwrap().count(),
        0,
        "nothing is left beside it"
    );
}

#[tokio::test]
async fn what_the_index_hides_is_work() {
    let house = House::new();
    let path = house.made(1).await;
    house.git(&path, &["update-index", "--assume-unchanged", "README.md"]);
    fs::write(path.join("README.md"), "work").unwrap();
    assert!(house.facts(1).await.is_clean(), "git status does not tell");
    assert_eq!(house.destroy(1, Removal::IfSafe).await.unwrap_err().kind, ErrorKind::Refused);
    let kept = house.destroy(1, Removal::Forced).await.unwrap().kept.unwrap();
    assert_eq!(house.git(&house.repo(), &["show", &format!("{kept}:README.md")]), "work");
}

#[tokio::test]
async fn a_configuration_that_hides_untracked_files_hides_no_work() {
    let house = House::new();
    house.git(&house.repo(), &["config", "status.showUntrackedFiles", "no"]);
    let path = house.made(1).await;
    fs::write(path.join("new"), "work").unwrap();
    assert_eq!(house.facts(1).await.changed_files, 1);
    assert_eq!(house.destroy(1, Removal::IfSafe).await.unwrap_err().kind, ErrorKind::Refused);
}

#[tokio::test]
async fn a_forced_removal_keeps_staged_changed_and_new_files() {
    let house = House::new();
    let path = house.made(1).await;
    fs::write(path.join("README.md"), "staged\n").unwrap();
    house.git(&path, &["add", "README.md"]);
    fs::write(path.join("README.md"), "changed\n").unwrap();
    fs::create_dir(path.join("new")).unwrap();
    fs::write(path.join("new/file"), "new\n").unwrap();
    fs::write(path.join(".env"), "secret\n").unwrap();
    let head = house.git(&path, &["rev-parse", "HEAD"]);
    let kept = house.destroy(1, Removal::Forced).await.unwrap().kept.unwrap();
    assert_eq!(kept, "refs/ao/kept/app-1");
    let show = |what: &str| house.git(&house.repo(), &["show", what]);
    assert_eq!(show(&format!("{kept}:README.md")), "changed");
    assert_eq!(show(&format!("{kept}:new/file")), "new");
    assert_eq!(show(&format!("{kept}^2:README.md")), "staged");
    assert_eq!(house.git(&house.repo(), &["rev-parse", &format!("{kept}^")]), head);
    assert!(!house.has(&format!("{kept}:.env")), "ignored files are not kept");
    assert_eq!(house.git(&house.repo(), &["log", "-1", "--format=%an %cn", &kept]), "ao ao");
    assert!(!path.exists() && house.git(&house.repo(), &["status", "--porcelain"]).is_empty());

    // Work of a second life does not replace it.
    house.git(&house.repo(), &["branch", "ao/app-1"]);
    let info = house.plugin.restore(&call(), &house.handle(1)).await.unwrap();
    assert!(info.notes[0].contains("refs/ao/kept/app-1"), "{:?}", info.notes);
    fs::write(path.join("README.md"), "again\n").unwrap();
    let again = house.destroy(1, Removal::Forced).await.unwrap().kept.unwrap();
    assert_eq!(again, "refs/ao/kept/app-1.2");
    assert_eq!(show(&format!("{again}:README.md")), "again");
}

#[tokio::test]
async fn a_forced_removal_keeps_both_sides_of_a_conflict() {
    let house = House::new();
    let path = house.made(1).await;
    fs::write(path.join("README.md"), "theirs\n").unwrap();
    house.commit_all(&path);
    fs::write(house.repo().join("README.md"), "ours\n").unwrap();
    house.commit_all(&house.repo());
    assert!(!house.try_git(&path, &["merge", "main"]).status.success());
    assert_eq!(house.facts(1).await.changed_files, 1);
    let kept = house.destroy(1, Removal::Forced).await.unwrap().kept.unwrap();
    let text = house.git(&house.repo(), &["show", &format!("{kept}:README.md")]);
    assert!(text.contains("ours") && text.contains("theirs"), "{text}");
}

#[tokio::test]
async fn a_repository_within_that_holds_work_is_never_removed() {
    let house = House::new();
    let path = house.made(1).await;
    house.git(&path, &["init", "--quiet", "inner"]);
    fs::write(path.join("inner/x"), "work").unwrap();
    for removal in [Removal::IfSafe, Removal::Forced] {
        assert_eq!(house.destroy(1, removal).await.unwrap_err().kind, ErrorKind::Refused);
    }
    house.commit_all(&path.join("inner"));
    let error = house.destroy(1, Removal::Forced).await.unwrap_err();
    assert!(error.what.contains("inner") && error.remedy.is_some(), "{error}");
    fs::remove_dir_all(path.join("inner")).unwrap();
    house.destroy(1, Removal::IfSafe).await.unwrap();
}

#[tokio::test]
async fn r19_a_removal_that_was_cut_off_is_finished() {
    let house = House::new();
    let path = house.made(1).await;
    // As a crash leaves it: proven, renamed aside, nothing else.
    let aside = path.with_file_name(".app-1.ao-removing");
    fs::rename(&path, &aside).unwrap();
    house.destroy(1, Removal::IfSafe).await.unwrap();
    assert!(!aside.exists() && !house.has("refs/heads/ao/app-1"));
    assert!(!house.repo().join(".git/worktrees/app-1").exists());
    assert_eq!(house.git(&house.repo(), &["for-each-ref", "refs/ao"]), "");
}

#[tokio::test]
async fn s30_a_path_that_is_a_link_is_only_unlinked() {
    let house = House::new();
    let path = house.made(1).await;
    let moved = house.root.join("moved");
    fs::write(path.join("work"), "work").unwrap();
    fs::rename(&path, &moved).unwrap();
    std::os::unix::fs::symlink(&moved, &path).unwrap();
    for removal in [Removal::IfSafe, Removal::Forced] {
        house.destroy(1, removal).await.unwrap();
        assert!(!path.is_symlink() && moved.join("work").exists() && moved.join(".git").exists());
        std::os::unix::fs::symlink(house.root.join("home"), &path).unwrap();
    }
    assert!(house.root.join("home").exists());
}

#[tokio::test]
async fn only_worktrees_that_git_lists_are_removed() {
    let house = House::new();
    let main = house.repo();
    fs::create_dir_all(house.place(1)).unwrap();
    fs::write(house.place(1).join("mine"), "mine").unwrap();
    let other = House::new();
    let foreign = other.made(2).await;
    for path in [house.place(1), main.clone(), foreign.clone(), house.root.join("home")] {
        let mut handle = house.handle(1);
        handle.path.clone_from(&path);
        for removal in [Removal::IfSafe, Removal::Undo, Removal::Forced] {
            if path.ends_with("home") {
                fs::write(path.join("x"), "").unwrap();
            }
            let error = house.plugin.destroy(&call(), &handle, removal).await.unwrap_err();
            assert_eq!(error.kind, ErrorKind::Refused, "{}: {error}", path.display());
        }
        assert!(path.exists());
    }
    assert!(foreign.join("README.md").exists() && main.join("README.md").exists());
}
