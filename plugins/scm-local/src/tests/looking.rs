//! What is seen of branches, and what is concluded from it.

use ao_slots::fact::{Mergeable, Review};

use super::*;

#[tokio::test]
async fn only_a_branch_with_work_can_be_opened() {
    let bench = Bench::new();
    for (branch, cause) in [("none", "does not exist"), ("a..b", "no name"), ("main", "no commit")]
    {
        let error = bench.create(branch).await.unwrap_err();
        assert!(error.kind == ErrorKind::Refused && error.cause.contains(cause), "{error:?}");
    }
    bench.git(&bench.repo(), &["branch", "empty"]);
    assert!(bench.create("empty").await.unwrap_err().cause.contains("no commit"));
    let tree = bench.git(&bench.repo(), &["rev-parse", "HEAD^{tree}"]);
    let root = bench.git(&bench.repo(), &["commit-tree", "-m", "Elsewhere", &tree]);
    bench.git(&bench.repo(), &["branch", "foreign", &root]);
    assert!(bench.create("foreign").await.unwrap_err().cause.contains("in common"));
    assert!(bench.records.all().is_empty());
}

#[tokio::test]
async fn numbers_are_never_given_twice() {
    let mut bench = Bench::new();
    let (one, _) = bench.opened("ao/one").await;
    let (two, _) = bench.opened("ao/two").await;
    assert_eq!((one.number, two.number), (PrNumber(1), PrNumber(2)));
    // Another data directory of the same repository.
    bench.records.all().clear();
    bench.restart();
    let (three, _) = bench.opened("ao/three").await;
    assert_eq!(three.number, PrNumber(3));
}

#[tokio::test]
async fn a_branch_that_is_gone_keeps_its_last_head() {
    let bench = Bench::new();
    let (pr, head) = bench.opened("ao/one").await;
    let newer = bench.more("ao/one");
    assert_eq!(bench.facts(&pr).await.head, newer);
    let place = bench.work("ao/one");
    bench.git(&bench.repo(), &["worktree", "remove", place.to_str().unwrap()]);
    bench.git(&bench.repo(), &["branch", "-D", "ao/one"]);
    bench.git(&bench.repo(), &["reflog", "expire", "--expire=now", "--all"]);
    bench.git(&bench.repo(), &["gc", "--quiet", "--prune=now"]);
    let facts = bench.facts(&pr).await;
    assert_eq!((facts.head.as_str(), facts.state), (newer.as_str(), PrState::Open));
    assert_ne!(head, newer);
    bench.merge(&pr, &newer, MergeMethod::Merge).await.unwrap();
}

#[tokio::test]
async fn a_merge_by_hand_is_seen_and_a_branch_put_back_is_none() {
    let bench = Bench::new();
    let (merged, head) = bench.opened("ao/merged").await;
    let (rebased, _) = bench.opened("ao/rebased").await;
    let (put_back, _) = bench.opened("ao/back").await;
    let all = [&merged, &rebased, &put_back];
    for pr in all {
        assert_eq!(bench.facts(pr).await.state, PrState::Open);
    }
    bench.git(&bench.repo(), &["merge", "--quiet", "--no-edit", "--no-ff", "ao/merged"]);
    bench.git(&bench.work("ao/rebased"), &["rebase", "--quiet", "main"]);
    bench.git(&bench.repo(), &["merge", "--quiet", "--ff-only", "ao/rebased"]);
    bench.git(&bench.work("ao/back"), &["reset", "--quiet", "--hard", "main"]);
    let mut states = Vec::new();
    for pr in all {
        states.push(bench.facts(pr).await.state);
    }
    assert_eq!(states, [PrState::Merged, PrState::Merged, PrState::Open]);
    assert_eq!(bench.facts(&merged).await.head, head);
    assert_eq!(bench.facts(&put_back).await.mergeable, Mergeable::Unknown);
    assert_eq!(bench.merge(&merged, &head, MergeMethod::Squash).await.unwrap(), head);
    let again = bench.more("ao/back");
    assert_eq!(bench.facts(&put_back).await.head, again);
}

#[tokio::test]
async fn a_base_that_is_gone_is_unknown_and_a_repository_that_is_gone_too() {
    let bench = Bench::new();
    bench.git(&bench.repo(), &["branch", "develop"]);
    let head = bench.more("ao/one");
    let request = CreatePr {
        repo: String::new(),
        title: "One".into(),
        body: String::new(),
        head: "ao/one".into(),
        base: "develop".into(),
        draft: false,
    };
    let pr = bench.scm.create(&call("k"), &request).await.unwrap();
    bench.git(&bench.repo(), &["branch", "-D", "develop"]);
    let facts = bench.facts(&pr).await;
    assert_eq!((facts.head, facts.mergeable), (head.clone(), Mergeable::Unknown));
    let error = bench.merge(&pr, &head, MergeMethod::Merge).await.unwrap_err();
    assert!(error.kind == ErrorKind::Refused && error.cause.contains("develop"));
    fs::rename(bench.repo(), bench.root.join("away")).unwrap();
    let absent = PrRef { number: PrNumber(9), ..pr.clone() };
    let answer = bench.scm.observe(&call("o"), &[pr]).await;
    assert!(answer.is_err_and(|error| error.is_transient()));
    assert!(bench.scm.show(&call("s"), &absent).await.unwrap_err().is_transient());
}

#[tokio::test]
async fn reviews_roll_up_and_are_of_a_head() {
    let bench = Bench::of(json!({"requiredApprovals": 1}));
    let (pr, _) = bench.opened("ao/one").await;
    fs::create_dir(bench.work("ao/one").join("src")).unwrap();
    let head = bench.write("ao/one", "src/a b.rs", &"line\n".repeat(12));
    assert_eq!(bench.facts(&pr).await.review, Review::Pending);
    let error = bench.review(&pr, "ana", Verdict::RequestChanges, " ").await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Refused);
    let at = Some(("src/a b.rs".to_owned(), 12));
    let text = "no \u{1b}[31msuch\u{1b}[0m thing".to_owned();
    let given = GiveReview {
        head: Some(head.clone()),
        verdict: Verdict::RequestChanges,
        text,
        at,
        by: "ana".into(),
    };
    for _ in 0..2 {
        bench.scm.review(&call("once"), &pr, &given).await.unwrap();
    }
    let facts = bench.facts(&pr).await;
    assert_eq!((facts.review, facts.human_threads), (Review::ChangesRequested, 1));
    assert_eq!(facts.details.comments[0].place.as_deref(), Some("src/a b.rs:12"));
    assert_eq!(facts.details.comments[0].text, "no such thing");
    bench.more("ao/one");
    let moved = bench.scm.review(&call("late"), &pr, &given).await.unwrap_err();
    assert_eq!(moved.kind, ErrorKind::Refused);
    let threads = bench.scm.threads(&call("t"), &pr).await.unwrap();
    assert!(threads.len() == 1 && threads[0].outdated && !threads[0].resolved);
    bench.review(&pr, "ana", Verdict::Approve, "").await.unwrap();
    let facts = bench.facts(&pr).await;
    assert_eq!((facts.review, facts.human_threads), (Review::Approved, 0));
    assert_eq!(facts.details.approved_by, ["ana"]);
    bench.more("ao/one");
    assert_eq!(bench.facts(&pr).await.review, Review::Pending, "an approval is of its head");
    bench.scm.close(&call("c"), &pr).await.unwrap();
    assert!(bench.review(&pr, "ben", Verdict::Approve, "").await.is_err());
}

#[tokio::test]
async fn words_stand_at_a_line_that_the_head_has() {
    let bench = Bench::new();
    let (pr, _) = bench.opened("ao/one").await;
    fs::create_dir(bench.work("ao/one").join("src")).unwrap();
    bench.write("ao/one", "src/a.rs", "one\ntwo\nno end");
    let place = async |path: &str, line| {
        let given = GiveReview {
            head: None,
            verdict: Verdict::Comment,
            text: "Why?".into(),
            at: Some((path.into(), line)),
            by: "ana".into(),
        };
        let refused = bench.scm.review(&call(&format!("{path}:{line}")), &pr, &given).await.err();
        refused.map(|error| {
            assert_eq!(error.kind, ErrorKind::Refused);
            assert_eq!(error.remedy.as_deref(), Some("ao pr diff 1"));
            error.cause
        })
    };
    assert_eq!(place("src/a.rs", 3).await, None);
    assert_eq!(place("src/a.rs", 4).await.as_deref(), Some("`src/a.rs` has 3 lines"));
    // Neither a pattern nor a folder, and nothing that git would take for an option or a rule.
    for path in ["src/b.rs", "src/*.rs", "src", "src/", ":(top)src/a.rs", "-r", "../src/a.rs", ""] {
        let told = format!("`{path}` is no file of its head");
        assert_eq!(place(path, 1).await, Some(told));
    }
    assert_eq!(bench.facts(&pr).await.human_threads, 1);
}

#[tokio::test]
async fn what_is_over_says_how_to_open_it_again() {
    let bench = for_the_suite();
    let (pr, head) = bench.opened("ao/one").await;
    bench.checked(&pr).await;
    bench.scm.close(&call("c"), &pr).await.unwrap();
    let told = |error: PluginError| (error.kind, error.cause, error.remedy);
    let reopen = Some("ao pr reopen 1".to_owned());
    let closed = (ErrorKind::Refused, "it is closed".to_owned(), reopen);
    assert_eq!(told(bench.scm.rerun(&call("r"), &pr, None).await.unwrap_err()), closed);
    let review = bench.review(&pr, "ben", Verdict::Approve, "").await;
    assert_eq!(told(review.unwrap_err()), closed);
    bench.scm.reopen(&call("o"), &pr).await.unwrap();
    bench.merge(&pr, &head, MergeMethod::Squash).await.unwrap();
    let merged = (ErrorKind::Refused, "it is merged".to_owned(), None);
    assert_eq!(told(bench.scm.rerun(&call("r2"), &pr, None).await.unwrap_err()), merged);
}

#[tokio::test]
async fn lists_and_views_tell_what_is_there() {
    let bench = Bench::new();
    let (one, _) = bench.opened("ao/one").await;
    let (two, _) = bench.opened("ao/two").await;
    bench.scm.close(&call("c"), &one).await.unwrap();
    let numbers = async |all| {
        let views = bench.scm.list(&call("l"), "", all).await.unwrap();
        views.into_iter().map(|view| view.pr.number.0).collect::<Vec<_>>()
    };
    assert_eq!((numbers(false).await, numbers(true).await), (vec![2], vec![2, 1]));
    let view = bench.scm.show(&call("s"), &two).await.unwrap();
    assert_eq!((view.branch.as_str(), view.body.as_str()), ("ao/two", "What was done."));
    assert_eq!(view.author.as_deref(), Some("Ana"));
    assert_eq!(
        (view.facts.details.files, view.facts.details.added, view.facts.details.removed),
        (1, 1, 0)
    );
    let absent = PrRef { number: PrNumber(9), ..two };
    assert_eq!(bench.scm.show(&call("s"), &absent).await.unwrap_err().kind, ErrorKind::NotFound);
}

#[tokio::test]
async fn a_large_diff_is_cut_and_says_so() {
    let bench = Bench::new();
    bench.write("ao/one", "large", &"ä line of some length\n".repeat(100_000));
    let pr = bench.create("ao/one").await.unwrap();
    let diff = bench.scm.diff(&call("d"), &pr).await.unwrap();
    assert!(diff.len() <= 1 << 20 && diff.contains("it goes on: git diff"), "{}", diff.len());
}

#[tokio::test]
async fn looking_again_starts_one_process_and_a_move_is_told() {
    let bench = Bench::new();
    let mut prs = Vec::new();
    for number in 0..5 {
        prs.push(bench.opened(&format!("ao/{number}")).await.0);
    }
    bench.scm.observe(&call("o"), &prs).await.unwrap();
    let sights = bench.house().sights().clone();
    let made = bench.git(&bench.repo(), &["count-objects"]);
    bench.house().sights().clear();
    bench.scm.observe(&call("o"), &prs).await.unwrap();
    assert_eq!(bench.git(&bench.repo(), &["count-objects"]), made, "a look leaves objects");
    // Nothing that would need another process can answer now.
    let objects = bench.repo().join(".git/objects");
    fs::rename(&objects, bench.root.join("objects")).unwrap();
    fs::create_dir(&objects).unwrap();
    let again = bench.scm.observe(&call("o"), &prs).await.unwrap();
    assert!(again.iter().all(|answer| matches!(answer, Answer::Yes(_))), "{again:?}");
    assert_eq!(*bench.house().sights(), sights);
    fs::remove_dir_all(&objects).unwrap();
    fs::rename(bench.root.join("objects"), &objects).unwrap();
    bench.more("ao/3");
    let hint = bench.scm.changed().await;
    assert_eq!(hint.pr, Some(prs[3].number));
    bench.more("main");
    assert_eq!(bench.scm.changed().await.pr, None);
}
