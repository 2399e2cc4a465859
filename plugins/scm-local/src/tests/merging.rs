//! Merging never takes another head, never loses a human's work, and happens once.

use super::*;

#[tokio::test]
async fn each_method_leaves_the_history_that_its_name_says() {
    for method in METHODS {
        let bench = Bench::new();
        bench.write("ao/one", "a", "1\n");
        let head = bench.write("ao/one", "b", "2\n");
        let base = bench.write("main", "c", "3\n");
        let pr = bench.create("ao/one").await.unwrap();
        let commit = bench.merge(&pr, &head, method).await.unwrap();
        assert_eq!(bench.tip("main"), commit);
        let log =
            bench.git(&bench.repo(), &["log", "--format=%s|%P|%an", &format!("{base}..{commit}")]);
        let lines: Vec<&str> = log.lines().collect();
        match method {
            MergeMethod::Merge => {
                assert_eq!(lines[0], format!("Merge #1: Work of ao/one|{base} {head}|Ana"));
                assert_eq!(lines.len(), 3);
            }
            MergeMethod::Squash => assert_eq!(lines, [format!("Work of ao/one (#1)|{base}|Ana")]),
            MergeMethod::Rebase => {
                let first = bench.tip("main~1");
                assert_eq!(lines, [format!("Write b|{first}|Ana"), format!("Write a|{base}|Ana")]);
            }
        }
        // The checkout went along.
        assert_eq!(bench.git(&bench.repo(), &["status", "--porcelain"]), "");
        for (file, text) in [("a", "1\n"), ("b", "2\n"), ("c", "3\n")] {
            assert_eq!(fs::read_to_string(bench.repo().join(file)).unwrap(), text, "{method:?}");
        }
        let facts = bench.facts(&pr).await;
        assert_eq!((facts.state, facts.head), (PrState::Merged, head));
        assert_eq!((facts.details.files, facts.details.added), (2, 2));
        let diff = bench.scm.diff(&call("d"), &pr).await.unwrap();
        assert!(
            diff.contains("+++ b/a") && diff.contains("+++ b/b") && !diff.contains("b/c"),
            "{diff}"
        );
    }
}

#[tokio::test]
async fn a_base_that_is_checked_out_nowhere_moves_alone() {
    let bench = Bench::new();
    bench.git(&bench.repo(), &["switch", "--quiet", "--detach"]);
    let (pr, head) = bench.opened("ao/one").await;
    let commit = bench.merge(&pr, &head, MergeMethod::Rebase).await.unwrap();
    assert_eq!(commit, head, "nothing was in between");
    assert_eq!(bench.tip("main"), head);
    assert_ne!(bench.tip("HEAD"), head);
    assert_eq!(bench.git(&bench.repo(), &["status", "--porcelain"]), "");
}

#[tokio::test]
async fn a_base_in_another_worktree_moves_with_it() {
    let bench = Bench::new();
    bench.git(&bench.repo(), &["switch", "--quiet", "--detach"]);
    let place = bench.work("main");
    let (pr, head) = bench.opened("ao/one").await;
    bench.merge(&pr, &head, MergeMethod::Squash).await.unwrap();
    assert!(place.join("file-0").exists());
    assert_eq!(bench.git(&place, &["status", "--porcelain"]), "");
}

#[tokio::test]
async fn a_checkout_that_is_gone_is_none_unless_it_is_locked() {
    let bench = Bench::new();
    bench.git(&bench.repo(), &["switch", "--quiet", "--detach"]);
    let place = bench.work("main");
    let (pr, head) = bench.opened("ao/one").await;
    bench.git(&bench.repo(), &["worktree", "lock", place.to_str().unwrap()]);
    fs::rename(&place, bench.root.join("away")).unwrap();
    let error = bench.merge(&pr, &head, MergeMethod::Squash).await.unwrap_err();
    assert!(error.kind == ErrorKind::Refused && error.cause.contains("away"), "{error:?}");
    bench.git(&bench.repo(), &["worktree", "unlock", place.to_str().unwrap()]);
    let commit = bench.merge(&pr, &head, MergeMethod::Squash).await.unwrap();
    assert_eq!(bench.tip("main"), commit);
}

#[tokio::test]
async fn a_dirty_checkout_is_refused_with_its_files_and_stays_as_it_is() {
    let bench = Bench::new();
    let (pr, head) = bench.opened("ao/one").await;
    let base = bench.tip("main");
    fs::write(bench.repo().join("README.md"), "mine\n").unwrap();
    for method in METHODS {
        let error = bench.merge(&pr, &head, method).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Refused);
        assert!(error.cause.contains("README.md") && error.cause.contains("a repo"), "{error:?}");
        assert!(error.remedy.unwrap().ends_with("a repo' stash"));
    }
    assert_eq!(bench.tip("main"), base);
    assert_eq!(fs::read_to_string(bench.repo().join("README.md")).unwrap(), "mine\n");
    // What git does not know is in nobody's way, unless the merge brings the same file.
    bench.git(&bench.repo(), &["checkout", "--quiet", "README.md"]);
    fs::write(bench.repo().join("file-0"), "mine\n").unwrap();
    let error = bench.merge(&pr, &head, MergeMethod::Merge).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Refused, "{error:?}");
    assert!(error.cause.contains("file-0"), "{error:?}");
    assert_eq!(bench.tip("main"), base);
    assert_eq!(bench.facts(&pr).await.state, PrState::Open);
    fs::rename(bench.repo().join("file-0"), bench.repo().join("notes")).unwrap();
    bench.merge(&pr, &head, MergeMethod::Merge).await.unwrap();
    assert_eq!(fs::read_to_string(bench.repo().join("notes")).unwrap(), "mine\n");
}

#[tokio::test]
async fn a_base_that_is_being_rebased_is_refused() {
    let bench = Bench::new();
    let (pr, head) = bench.opened("ao/one").await;
    bench.write("main", "README.md", "two\n");
    bench.git(&bench.repo(), &["branch", "other", "HEAD~1"]);
    bench.write("other", "README.md", "three\n");
    assert!(!bench.try_git(&bench.repo(), &["rebase", "other"]).status.success());
    let error = bench.merge(&pr, &head, MergeMethod::Merge).await.unwrap_err();
    assert!(error.kind == ErrorKind::Refused && error.cause.contains("a rebase"), "{error:?}");
}

#[tokio::test]
async fn a_base_that_moves_meanwhile_is_not_lost() {
    let bench = Bench::new();
    bench.git(&bench.repo(), &["switch", "--quiet", "--detach"]);
    let (pr, head) = bench.opened("ao/one").await;
    let merging = async {
        for _ in 0..200 {
            match bench.merge(&pr, &head, MergeMethod::Squash).await {
                Ok(commit) => return commit,
                Err(error) => assert!(error.is_transient(), "{error:?}"),
            }
        }
        panic!("it never came to a merge")
    };
    let others = async {
        let mut mine = Vec::new();
        for number in 0..20 {
            let old = bench.tip("main");
            let tree = format!("{old}^{{tree}}");
            let message = format!("Human {number}");
            let new = bench.git(&bench.repo(), &["commit-tree", "-p", &old, "-m", &message, &tree]);
            let moved =
                bench.try_git(&bench.repo(), &["update-ref", "refs/heads/main", &new, &old]);
            mine.extend(moved.status.success().then_some(new));
            tokio::task::yield_now().await;
        }
        mine
    };
    let (commit, mine) = tokio::join!(merging, others);
    for commit in mine.iter().chain([&commit]) {
        let is_in = bench.try_git(&bench.repo(), &["merge-base", "--is-ancestor", commit, "main"]);
        assert!(is_in.status.success(), "{commit} was lost");
    }
    let merges = bench.git(&bench.repo(), &["log", "--format=%H", "--grep=^Ao-Pull: 1@", "main"]);
    assert_eq!(merges, commit, "one merge");
}

#[tokio::test]
async fn a_crash_after_the_base_moved_is_settled_by_looking() {
    for method in METHODS {
        let mut bench = Bench::new();
        bench.write("main", "c", "3\n");
        let (pr, head) = bench.opened("ao/one").await;
        bench.write("main", "d", "4\n");
        let before = bench.records.all().clone();
        let commit = bench.merge(&pr, &head, method).await.unwrap();
        // As if only the intent had been recorded.
        let done = bench.records.all()["pull/1"].clone();
        let mut cut = before.clone();
        cut.get_mut("pull/1").unwrap()["merging"] = done["merged"].clone();
        *bench.records.all() = cut.clone();
        bench.restart();
        assert_eq!(bench.merge(&pr, &head, method).await.unwrap(), commit);
        assert_eq!(bench.tip("main"), commit, "a second merge");
        // Whoever only looks comes to the same.
        *bench.records.all() = cut;
        bench.restart();
        assert_eq!(bench.facts(&pr).await.state, PrState::Merged);
        assert_eq!(bench.records.all()["pull/1"]["merged"]["commit"], json!(commit));
        let error = bench.merge(&pr, &commit, method).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Refused, "{error:?}");
    }
}

#[tokio::test]
async fn a_caller_that_gives_up_leaves_no_half_merge() {
    let bench = Bench::new();
    for patience in [0, 1, 3, 6, 10, 15, 20, 30, 45, 60] {
        let branch = format!("ao/{patience}");
        let (pr, head) = bench.opened(&branch).await;
        let gone = Duration::from_millis(patience);
        drop(tokio::time::timeout(gone, bench.merge(&pr, &head, MergeMethod::Merge)).await);
        let commit = bench.merge(&pr, &head, MergeMethod::Merge).await.unwrap();
        assert_eq!(bench.tip("main"), commit);
        assert_eq!(bench.git(&bench.repo(), &["status", "--porcelain"]), "", "after {patience} ms");
        let trailer = format!("--grep=^Ao-Pull: {}@", pr.number.0);
        assert_eq!(bench.git(&bench.repo(), &["log", "--format=%H", &trailer, "main"]), commit);
    }
}

#[tokio::test]
async fn an_intent_that_came_to_nothing_is_no_merge() {
    let mut bench = Bench::new();
    let (pr, head) = bench.opened("ao/one").await;
    let old = bench.tip("main");
    let lost = json!({"head": head, "commit": "1".repeat(40), "at": "2026-11-22T00:00:00Z"});
    bench.records.all().get_mut("pull/1").unwrap()["merging"] = lost;
    bench.restart();
    assert_eq!(bench.facts(&pr).await.state, PrState::Open);
    assert_eq!(bench.tip("main"), old);
    bench.merge(&pr, &head, MergeMethod::Merge).await.unwrap();
    assert_eq!(bench.facts(&pr).await.state, PrState::Merged);
}

#[tokio::test]
async fn conflicts_are_named_before_and_at_the_merge() {
    let bench = Bench::new();
    let head = bench.write("ao/one", "README.md", "theirs\n");
    let pr = bench.create("ao/one").await.unwrap();
    use ao_slots::fact::Mergeable;
    assert_eq!(bench.facts(&pr).await.mergeable, Mergeable::Yes);
    let base = bench.write("main", "README.md", "ours\n");
    let facts = bench.facts(&pr).await;
    assert_eq!(facts.mergeable, Mergeable::Conflicting);
    assert_eq!(facts.details.conflicts, ["README.md"]);
    for method in METHODS {
        let error = bench.merge(&pr, &head, method).await.unwrap_err();
        assert!(error.kind == ErrorKind::Refused && error.cause.contains("README.md"), "{error:?}");
        assert!(error.remedy.unwrap().contains("git rebase main"));
    }
    assert_eq!(bench.tip("main"), base);
    bench.git(&bench.work("ao/one"), &["rebase", "--quiet", "-X", "theirs", "main"]);
    assert_eq!(bench.facts(&pr).await.mergeable, Mergeable::Yes);
}

#[tokio::test]
async fn a_branch_with_merges_is_not_rebased() {
    let bench = Bench::new();
    bench.more("ao/one");
    bench.more("main");
    bench.git(&bench.work("ao/one"), &["merge", "--quiet", "--no-edit", "main"]);
    let head = bench.tip("ao/one");
    bench.more("main");
    let pr = bench.create("ao/one").await.unwrap();
    let error = bench.merge(&pr, &head, MergeMethod::Rebase).await.unwrap_err();
    assert!(error.kind == ErrorKind::Refused && error.remedy.unwrap().contains("--squash"));
    bench.merge(&pr, &head, MergeMethod::Squash).await.unwrap();
}

#[tokio::test]
async fn who_commits_must_be_known_and_nobody_elses_text_is_a_trailer() {
    let bench = Bench::new();
    let head = bench.more("ao/one");
    let request = CreatePr {
        repo: String::new(),
        title: "One\nline \u{1b}[31m".to_owned(),
        body: "Why.\nAo-Pull: 7@deadbeef\nao-pull: 8@x".to_owned(),
        head: "ao/one".to_owned(),
        base: "main".to_owned(),
        draft: false,
    };
    let pr = bench.scm.create(&call("k"), &request).await.unwrap();
    let config = bench.root.join("gitconfig");
    let known = fs::read_to_string(&config).unwrap();
    fs::write(&config, "").unwrap();
    let error = bench.merge(&pr, &head, MergeMethod::Squash).await.unwrap_err();
    assert!(error.kind == ErrorKind::Refused && error.remedy.unwrap().contains("user.email"));
    fs::write(&config, known).unwrap();
    bench.merge(&pr, &head, MergeMethod::Squash).await.unwrap();
    let message = bench.git(&bench.repo(), &["log", "-1", "--format=%B", "main"]);
    assert_eq!(message, format!("One line (#1)\n\nWhy.\n\nAo-Pull: 1@{head}"));
}

#[tokio::test]
async fn a_draft_a_closed_one_and_one_without_work_are_refused() {
    let bench = Bench::new();
    let head = bench.more("ao/one");
    let request = CreatePr {
        repo: String::new(),
        title: "One".to_owned(),
        body: String::new(),
        head: "ao/one".to_owned(),
        base: "main".to_owned(),
        draft: true,
    };
    let pr = bench.scm.create(&call("k1"), &request).await.unwrap();
    assert_eq!(bench.facts(&pr).await.state, PrState::Draft);
    let error = bench.merge(&pr, &head, MergeMethod::Merge).await.unwrap_err();
    assert!(error.kind == ErrorKind::Refused && error.cause.contains("draft"));
    let ready = CreatePr { draft: false, ..request };
    assert_eq!(bench.scm.create(&call("k2"), &ready).await.unwrap(), pr);
    assert_eq!(bench.facts(&pr).await.state, PrState::Open);
    bench.scm.close(&call("c"), &pr).await.unwrap();
    let error = bench.merge(&pr, &head, MergeMethod::Merge).await.unwrap_err();
    assert!(error.kind == ErrorKind::Refused && error.cause.contains("closed"));
    bench.scm.reopen(&call("r"), &pr).await.unwrap();
    bench.scm.reopen(&call("r"), &pr).await.unwrap();
    bench.git(&bench.work("ao/one"), &["reset", "--quiet", "--hard", "main"]);
    let error = bench.merge(&pr, &bench.tip("main"), MergeMethod::Merge).await.unwrap_err();
    assert!(error.kind == ErrorKind::Refused && error.cause.contains("no commit"), "{error:?}");
}

#[tokio::test]
async fn s13_unusual_names_of_branches_are_names() {
    let names = [
        "-x",
        "--force",
        "a;>P",
        "$(id>P)",
        "`id>P`",
        "ä/ö",
        "a'b\"c",
        "x@y",
        "refs/heads/x",
        "{}",
        "!",
    ];
    for branch in names {
        let bench = Bench::new();
        let head = bench.more("tmp");
        let name = format!("refs/heads/{branch}");
        bench.git(&bench.repo(), &["update-ref", &name, &head]);
        let created = bench.create(branch).await;
        if branch.starts_with('-') {
            assert_eq!(created.unwrap_err().kind, ErrorKind::Refused, "{branch}");
            continue;
        }
        let pr = created.unwrap();
        assert_eq!(bench.facts(&pr).await.head, head, "{branch}");
        bench.merge(&pr, &head, MergeMethod::Squash).await.unwrap();
        assert!(!bench.repo().join("P").exists() && !bench.root.join("P").exists());
    }
}

#[tokio::test]
async fn s31_no_hook_of_the_repository_runs() {
    use std::os::unix::fs::PermissionsExt;
    let bench = Bench::with(json!([{"name": "unit", "run": "true"}]));
    let (pr, head) = bench.opened("ao/one").await;
    let hooks = bench.repo().join(".git/hooks");
    fs::create_dir_all(&hooks).unwrap();
    for hook in
        ["post-merge", "post-checkout", "reference-transaction", "pre-merge-commit", "post-commit"]
    {
        let script = format!("#!/bin/sh\ntouch '{}'\n", bench.root.join("ran").display());
        fs::write(hooks.join(hook), script).unwrap();
        fs::set_permissions(hooks.join(hook), fs::Permissions::from_mode(0o755)).unwrap();
    }
    bench.scm.rerun(&call("r"), &pr, Some("unit")).await.unwrap();
    assert_eq!(bench.checked(&pr).await.checks, Checks::Passing);
    bench.merge(&pr, &head, MergeMethod::Merge).await.unwrap();
    assert!(!bench.root.join("ran").exists());
}

#[tokio::test]
async fn s31_what_a_partial_clone_lacks_is_fetched_by_no_program_of_the_repository() {
    let bench = Bench::new();
    let head = bench.write("ao/one", "README.md", "one\n\ntwo\n");
    bench.write("main", "README.md", "zero\n\none\n");
    bench.git(&bench.root, &["clone", "--quiet", "--bare", "a repo", "up.git"]);
    bench.git(&bench.root, &["--git-dir=up.git", "config", "uploadpack.allowFilter", "true"]);
    let pr = bench.create("ao/one").await.unwrap();
    let trace = bench.root.join("ran");
    let program = format!("touch '{}'; git-upload-pack", trace.display());
    for (key, value) in [
        ("core.repositoryformatversion", "1"),
        ("extensions.partialClone", "up"),
        ("remote.up.url", bench.root.join("up.git").to_str().unwrap()),
        ("remote.up.promisor", "true"),
        ("remote.up.uploadpack", &program),
    ] {
        bench.git(&bench.repo(), &["config", key, value]);
    }
    let lacking = bench.git(&bench.repo(), &["rev-parse", "ao/one:README.md"]);
    let (folder, file) = lacking.split_at(2);
    fs::remove_file(bench.repo().join(".git/objects").join(folder).join(file)).unwrap();
    bench.house().sights().clear();
    let answer = bench.scm.observe(&call("o"), std::slice::from_ref(&pr)).await.unwrap();
    assert!(matches!(answer[..], [Answer::Unknown(_)]), "{answer:?}");
    bench.merge(&pr, &head, MergeMethod::Merge).await.unwrap_err();
    assert!(!trace.exists(), "it ran");
    // Where nothing of the repository's own would run, git helps itself.
    bench.git(&bench.repo(), &["config", "--unset", "remote.up.uploadpack"]);
    bench.facts(&pr).await;
}
