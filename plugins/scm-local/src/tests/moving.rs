//! The base moves together with its checkout, or not at all; nothing of a human's is lost on the way.

use super::*;

/// What `git status` says of the main checkout.
fn status(bench: &Bench) -> String {
    bench.git(&bench.repo(), &["status", "--porcelain"])
}

#[tokio::test]
async fn an_ignored_file_is_not_overwritten() {
    let bench = Bench::new();
    let (pr, head) = bench.opened("ao/one").await;
    let base = bench.tip("main");
    fs::create_dir_all(bench.repo().join(".git/info")).unwrap();
    fs::write(bench.repo().join(".git/info/exclude"), "file-0\n").unwrap();
    fs::write(bench.repo().join("file-0"), "mine\n").unwrap();
    for method in METHODS {
        let error = bench.merge(&pr, &head, method).await.unwrap_err();
        assert!(error.kind == ErrorKind::Refused && error.cause.contains("file-0"), "{error:?}");
    }
    assert_eq!(fs::read_to_string(bench.repo().join("file-0")).unwrap(), "mine\n");
    assert_eq!((bench.tip("main"), status(&bench)), (base, String::new()));
    assert_eq!(bench.facts(&pr).await.state, PrState::Open);
}

#[tokio::test]
async fn options_for_merges_into_the_base_change_nothing() {
    for options in ["--squash", "--no-ff -s ours", "-s planted", "--no-commit"] {
        let bench = Bench::new();
        let (pr, head) = bench.opened("ao/one").await;
        bench.git(&bench.repo(), &["config", "branch.main.mergeoptions", options]);
        let commit = bench.merge(&pr, &head, MergeMethod::Merge).await.unwrap();
        assert_eq!((bench.tip("main"), status(&bench)), (commit, String::new()), "{options}");
    }
    let bench = Bench::new();
    let (pr, head) = bench.opened("ao/one").await;
    bench.git(&bench.repo(), &["config", "--global", "branch.main.mergeoptions", "--squash"]);
    let commit = bench.merge(&pr, &head, MergeMethod::Merge).await.unwrap();
    assert_eq!((bench.tip("main"), status(&bench)), (commit, String::new()));
}

#[tokio::test]
async fn a_human_who_moves_in_the_last_moment_loses_nothing() {
    let act = |act: &str| format!("(cd \"$REPO\" && \"$GIT\" {act})");
    for (when, does) in [
        ("status", act("switch --quiet --create other")),
        ("status", act("reset --quiet --hard main~1")),
        ("status", act("commit --quiet --allow-empty --message Mine")),
        ("merge", act("switch --quiet --create other")),
    ] {
        let bench = Bench::new();
        bench.more("main");
        let (pr, head) = bench.opened("ao/one").await;
        bench.wrap(&format!("case $SUB in {when}) once && {does};; esac"));
        let error = bench.merge(&pr, &head, MergeMethod::Merge).await.unwrap_err();
        let expected = if when == "merge" { ErrorKind::InDoubt } else { ErrorKind::Transient };
        assert_eq!(error.kind, expected, "{when}: {does}: {error:?}");
        let is_in = ["merge-base", "--is-ancestor", &head, "main"];
        assert!(!bench.try_git(&bench.repo(), &is_in).status.success(), "{when}: {does}");
        assert_eq!(bench.facts(&pr).await.state, PrState::Open, "{when}: {does}");
        assert_eq!(status(&bench), "", "{when}: {does}");
    }
}

#[tokio::test]
async fn what_git_says_of_a_base_that_stays_is_told() {
    let bench = Bench::new();
    let (pr, head) = bench.opened("ao/one").await;
    for (sub, detached) in [("merge", false), ("update-ref", true)] {
        if detached {
            bench.git(&bench.repo(), &["switch", "--quiet", "--detach"]);
        }
        bench.wrap(&format!(
            "case $SUB,$* in {sub},*--end-of-options*) echo 'error: cheese' >&2; exit 1;; esac"
        ));
        let error = bench.merge(&pr, &head, MergeMethod::Merge).await.unwrap_err();
        assert!(error.kind == ErrorKind::Refused && error.cause.contains("cheese"), "{error:?}");
    }
    // Moved all the same: whatever git said, the merge is done.
    bench.git(&bench.repo(), &["switch", "--quiet", "main"]);
    bench.wrap("case $SUB in merge) \"$GIT\" \"$@\"; exit 1;; esac");
    let commit = bench.merge(&pr, &head, MergeMethod::Merge).await.unwrap();
    assert_eq!((bench.tip("main"), status(&bench)), (commit, String::new()));
}

#[tokio::test]
async fn a_branch_that_is_locked_leaves_its_checkout_as_it_was() {
    let bench = Bench::new();
    let (pr, head) = bench.opened("ao/one").await;
    let lock = bench.repo().join(".git/refs/heads/main.lock");
    fs::write(&lock, "").unwrap();
    let error = bench.merge(&pr, &head, MergeMethod::Merge).await.unwrap_err();
    assert!(error.is_transient() && error.cause.contains("main.lock"), "{error:?}");
    assert_eq!(status(&bench), "", "half of a merge is left");
    assert!(!bench.repo().join("file-0").exists());
    fs::remove_file(lock).unwrap();
    bench.merge(&pr, &head, MergeMethod::Merge).await.unwrap();
    assert_eq!(status(&bench), "");
}

#[tokio::test]
async fn a_merge_that_a_human_has_not_ended_is_named() {
    let bench = Bench::new();
    let (pr, head) = bench.opened("ao/one").await;
    bench.git(&bench.repo(), &["switch", "--quiet", "--create", "side"]);
    bench.git(&bench.repo(), &["commit", "--quiet", "--allow-empty", "--message", "Side"]);
    bench.git(&bench.repo(), &["switch", "--quiet", "main"]);
    bench.git(&bench.repo(), &["merge", "--quiet", "--no-ff", "--no-commit", "side"]);
    assert_eq!(status(&bench), "", "nothing but MERGE_HEAD tells of it");
    let error = bench.merge(&pr, &head, MergeMethod::Merge).await.unwrap_err();
    assert!(error.kind == ErrorKind::Refused && error.cause.contains("a merge"), "{error:?}");
    bench.git(&bench.repo(), &["merge", "--abort"]);
    bench.merge(&pr, &head, MergeMethod::Merge).await.unwrap();
}

#[tokio::test]
async fn a_base_that_only_stands_for_another_branch_is_refused_and_not_watched() {
    let bench = Bench::new();
    let (pr, head) = bench.opened("ao/one").await;
    bench.git(&bench.repo(), &["branch", "--move", "main", "trunk"]);
    bench.git(&bench.repo(), &["symbolic-ref", "refs/heads/main", "refs/heads/trunk"]);
    let base = bench.tip("trunk");
    let error = bench.merge(&pr, &head, MergeMethod::Merge).await.unwrap_err();
    assert!(error.kind == ErrorKind::Refused && error.cause.contains("`trunk`"), "{error:?}");
    assert!(error.remedy.unwrap().contains("--base trunk"));
    assert_eq!((bench.tip("trunk"), status(&bench)), (base, String::new()));
    bench.more("ao/two");
    let error = bench.create("ao/two").await.unwrap_err();
    assert!(error.kind == ErrorKind::Refused && error.remedy.unwrap().contains("--base trunk"));
    bench.facts(&pr).await;
    assert_eq!(bench.house().moved(), None);
}

#[tokio::test]
async fn a_submodule_that_lags_behind_is_in_nobodys_way() {
    let bench = Bench::new();
    bench.git(&bench.root, &["init", "--quiet", "part"]);
    let part = bench.root.join("part");
    fs::write(part.join("f"), "1\n").unwrap();
    bench.commit(&part, "Part");
    let add = ["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", "../part", "sub"];
    bench.git(&bench.repo(), &add);
    bench.commit(&bench.repo(), "Add a part");
    fs::write(part.join("f"), "2\n").unwrap();
    let newer = bench.commit(&part, "Newer");
    let work = bench.work("ao/one");
    let entry = format!("160000,{newer},sub");
    bench.git(&work, &["update-index", "--cacheinfo", &entry]);
    bench.git(&work, &["commit", "--quiet", "--message", "Take the newer part"]);
    let head = bench.tip("ao/one");
    let pr = bench.create("ao/one").await.unwrap();
    bench.merge(&pr, &head, MergeMethod::Merge).await.unwrap();
    assert!(status(&bench).contains("sub"), "the submodule stays where it is");
    let (pr, head) = bench.opened("ao/two").await;
    bench.merge(&pr, &head, MergeMethod::Merge).await.unwrap();
}

#[tokio::test]
async fn s28_a_planted_worktree_leads_to_no_folder() {
    let bench = Bench::new();
    bench.git(&bench.repo(), &["switch", "--quiet", "--detach"]);
    let head = bench.write("ao/one", ".bashrc", "planted\n");
    let pr = bench.create("ao/one").await.unwrap();
    let (home, base) = (bench.root.join("home"), bench.tip("main"));
    let admin = bench.repo().join(".git/worktrees/x");
    fs::create_dir_all(&admin).unwrap();
    for (file, text) in [
        ("gitdir", format!("{}/.git\n", home.display())),
        ("HEAD", "ref: refs/heads/main\n".to_owned()),
        ("commondir", "../..\n".to_owned()),
        ("locked", String::new()),
    ] {
        fs::write(admin.join(file), text).unwrap();
    }
    bench.git(&bench.repo(), &[&format!("--git-dir={}", admin.display()), "read-tree", "main"]);
    let entries = |folder: &Path| fs::read_dir(folder).unwrap().count();
    fs::write(home.join("README.md"), "one\n").unwrap();
    let error = bench.merge(&pr, &head, MergeMethod::Merge).await.unwrap_err();
    assert_eq!((error.kind, entries(&home)), (ErrorKind::Refused, 1), "{error:?}");
    // The main checkout can be led away too.
    fs::remove_dir_all(&admin).unwrap();
    bench.git(&bench.repo(), &["switch", "--quiet", "main"]);
    bench.git(&bench.repo(), &["config", "core.worktree", home.to_str().unwrap()]);
    let error = bench.merge(&pr, &head, MergeMethod::Merge).await.unwrap_err();
    assert_eq!((error.kind, entries(&home)), (ErrorKind::Refused, 1), "{error:?}");
    bench.git(&bench.repo(), &["config", "--unset", "core.worktree"]);
    assert_eq!(bench.tip("main"), base);
    bench.merge(&pr, &head, MergeMethod::Merge).await.unwrap();
}

#[tokio::test]
async fn a_checkout_with_its_repository_elsewhere_moves_too() {
    let mut bench = Bench::new();
    let aside = bench.root.join("aside.git");
    bench.git(&bench.repo(), &["init", "--quiet", "--separate-git-dir", aside.to_str().unwrap()]);
    bench.restart();
    let (pr, head) = bench.opened("ao/one").await;
    bench.merge(&pr, &head, MergeMethod::Squash).await.unwrap();
    assert_eq!(status(&bench), "");
    assert!(bench.repo().join("file-0").exists());
}
