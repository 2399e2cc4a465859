//! What came of a merge is found out by looking, also by another plugin and after a hand.

use super::*;

/// What the plugin has called git for.
fn calls(bench: &Bench) -> Vec<String> {
    let calls = fs::read_to_string(bench.root.join("calls")).unwrap_or_default();
    calls.lines().map(str::to_owned).collect()
}

fn count_calls(bench: &Bench) {
    let _none_before = fs::remove_file(bench.root.join("calls"));
    bench.wrap(&format!("echo \"$SUB\" >> '{}'", bench.root.join("calls").display()));
}

#[tokio::test]
async fn two_plugins_of_one_repository_merge_once() {
    let bench = Bench::new();
    bench.git(&bench.repo(), &["switch", "--quiet", "--detach"]);
    let (pr, head) = bench.opened("ao/one").await;
    // As across a reload of the configuration: the old one waits for the repository, the new one too.
    count_calls(&bench);
    let other = start(&bench.root, &bench.settings, &bench.records);
    let lock = fs::File::create(bench.repo().join(".git/ao-worktree.lock")).unwrap();
    lock.lock().unwrap();
    let (merge, again) = (call("m1"), call("m2"));
    let first = bench.scm.merge(&merge, &pr, &head, Some(MergeMethod::Squash));
    let second = other.merge(&again, &pr, &head, Some(MergeMethod::Squash));
    let release = async {
        until(|| calls(&bench).iter().filter(|sub| *sub == "worktree").count() == 2).await;
        drop(lock);
    };
    let (first, second, ()) = tokio::join!(first, second, release);
    assert_eq!(first.unwrap(), second.unwrap());
    let merges = bench.git(&bench.repo(), &["rev-list", "--count", "main"]);
    assert_eq!(merges, "2", "a second merge");
}

#[tokio::test]
async fn the_book_is_free_while_a_merge_waits_for_the_repository() {
    let bench = Bench::new();
    let (pr, head) = bench.opened("ao/one").await;
    let other = bench.more("ao/two");
    let lock = fs::File::create(bench.repo().join(".git/ao-worktree.lock")).unwrap();
    lock.lock().unwrap();
    let merge = call("m");
    let waiting = bench.scm.merge(&merge, &pr, &head, Some(MergeMethod::Squash));
    count_calls(&bench);
    let meanwhile = async {
        until(|| calls(&bench).iter().any(|sub| sub == "worktree")).await;
        let two = bench.create("ao/two").await.unwrap();
        assert_eq!(bench.facts(&two).await.head, other);
        drop(lock);
    };
    let (merged, ()) = tokio::join!(waiting, meanwhile);
    assert_eq!(merged.unwrap(), bench.tip("main"));
}

#[tokio::test]
async fn a_squash_by_hand_is_seen_and_never_merged_again() {
    for look in [true, false] {
        let bench = Bench::new();
        bench.write("ao/one", "a", "1\n");
        let head = bench.write("ao/one", "b", "2\n");
        let pr = bench.create("ao/one").await.unwrap();
        bench.git(&bench.repo(), &["merge", "--quiet", "--squash", "ao/one"]);
        let by_hand = bench.commit(&bench.repo(), "Squashed by hand");
        let base = bench.more("main");
        if look {
            assert_eq!(bench.facts(&pr).await.state, PrState::Merged);
        }
        assert_eq!(bench.merge(&pr, &head, MergeMethod::Squash).await.unwrap(), base, "{by_hand}");
        assert_eq!(bench.tip("main"), base, "an empty commit");
        let facts = bench.facts(&pr).await;
        assert_eq!((facts.state, facts.head, facts.details.files), (PrState::Merged, head, 2));
    }
}

#[tokio::test]
async fn what_changes_nothing_was_not_merged_by_hand() {
    let bench = Bench::new();
    // Nothing in it; what the base had before; and taken back.
    let work = bench.work("ao/empty");
    bench.git(&work, &["commit", "--quiet", "--allow-empty", "--message", "Empty"]);
    bench.work("ao/same");
    fs::write(bench.repo().join("a"), "1\n").unwrap();
    bench.commit(&bench.repo(), "The same");
    bench.write("ao/same", "a", "1\n");
    let (back, _) = bench.opened("ao/back").await;
    bench.git(&bench.work("ao/back"), &["revert", "--no-edit", "HEAD"]);
    let empty = bench.create("ao/empty").await.unwrap();
    let same = bench.create("ao/same").await.unwrap();
    bench.more("main");
    for pr in [&empty, &same, &back] {
        assert_eq!(bench.facts(pr).await.state, PrState::Open, "{}", pr.number);
    }
    // The verdict is remembered: the second look asks for the refs alone.
    count_calls(&bench);
    let answers = bench.scm.observe(&call("o"), &[empty, same, back]).await.unwrap();
    assert!(answers.iter().all(|answer| matches!(answer, Answer::Yes(_))), "{answers:?}");
    assert_eq!(calls(&bench), ["for-each-ref"]);
}

#[tokio::test]
async fn looking_is_cheap_after_a_refused_merge_and_a_branch_put_back() {
    let mut bench = Bench::new();
    let (pr, head) = bench.opened("ao/one").await;
    let (back, _) = bench.opened("ao/back").await;
    bench.facts(&back).await;
    bench.git(&bench.work("ao/back"), &["reset", "--quiet", "--hard", "main"]);
    fs::write(bench.repo().join("README.md"), "mine\n").unwrap();
    bench.merge(&pr, &head, MergeMethod::Merge).await.unwrap_err();
    assert_eq!(bench.records.all()["pull/1"].get("merging"), None);
    // Also what an older server left.
    let lost = json!({"head": head, "commit": "1".repeat(40), "at": "2026-11-22T00:00:00Z"});
    bench.records.all().get_mut("pull/1").unwrap()["merging"] = lost;
    bench.restart();
    let prs = [pr, back];
    bench.scm.observe(&call("o"), &prs).await.unwrap();
    count_calls(&bench);
    let answers = bench.scm.observe(&call("o"), &prs).await.unwrap();
    assert!(answers.iter().all(|answer| matches!(answer, Answer::Yes(_))), "{answers:?}");
    assert_eq!(calls(&bench), ["for-each-ref"]);
    assert_eq!(bench.records.all()["pull/1"].get("merging"), None);
}

#[tokio::test]
async fn a_merge_that_outlives_its_call_is_found_by_the_next_look() {
    let bench = Bench::new();
    let (pr, head) = bench.opened("ao/one").await;
    let (gate, far) = (bench.root.join("gate"), bench.root.join("far"));
    nix::unistd::mkfifo(&gate, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let wait = format!(
        "case $SUB in merge) : > '{}'; read -r _ < '{}';; esac",
        far.display(),
        gate.display()
    );
    bench.wrap(&wait);
    let short = Call::new("m", Duration::from_millis(1_500));
    let error = bench.scm.merge(&short, &pr, &head, Some(MergeMethod::Squash)).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::InDoubt, "{error:?}");
    until(|| far.exists()).await;
    let open = tokio::task::spawn_blocking(move || fs::write(gate, "go\n").unwrap());
    open.await.unwrap();
    // Its own record comes once git has ended; whoever looks meanwhile comes to the same, or to nothing yet.
    while bench.records.all()["pull/1"]["stage"] != json!("merged") {
        drop(bench.scm.observe(&call("o"), std::slice::from_ref(&pr)).await);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(bench.facts(&pr).await.state, PrState::Merged);
    assert_eq!(bench.merge(&pr, &head, MergeMethod::Squash).await.unwrap(), bench.tip("main"));
}

#[tokio::test]
async fn a_number_is_taken_once_whoever_takes_it() {
    let bench = Bench::new();
    for number in ["18446744073709551615", "99999999999999999999999", "4294967296", "x"] {
        let name = format!("refs/ao/pull/{number}/head");
        bench.git(&bench.repo(), &["update-ref", &name, "main"]);
    }
    bench.more("ao/one");
    // Another project of this repository, with records of its own, takes the same number in the last moment.
    let take = "case $SUB in update-ref) once && (cd \"$REPO\" && \"$GIT\" update-ref refs/ao/pull/1/head main);; esac";
    bench.wrap(take);
    let pr = bench.create("ao/one").await.unwrap();
    assert_eq!(pr.number, PrNumber(2));
    assert_eq!(bench.tip("refs/ao/pull/1/head"), bench.tip("main"));
}

#[tokio::test]
async fn ended_ones_are_listed_from_the_record_when_their_commits_are_gone() {
    let mut bench = Bench::new();
    let (merged, head) = bench.opened("ao/merged").await;
    bench.merge(&merged, &head, MergeMethod::Squash).await.unwrap();
    let (closed, _) = bench.opened("ao/closed").await;
    bench.scm.close(&call("c"), &closed).await.unwrap();
    let (open, _) = bench.opened("ao/open").await;
    // Another clone at the same path.
    fs::rename(bench.repo(), bench.root.join("before")).unwrap();
    bench.git(
        &bench.root,
        &["clone", "--quiet", "--no-local", "--single-branch", "before", "a repo"],
    );
    bench.restart();
    let views = bench.scm.list(&call("l"), "", true).await.unwrap();
    let states: Vec<PrState> = views.iter().map(|view| view.facts.state).collect();
    assert_eq!(states, [PrState::Open, PrState::Closed, PrState::Merged]);
    assert_eq!((views[2].facts.head.as_str(), views[1].facts.head.as_str()), (&*head, ""));
    assert_eq!(bench.scm.show(&call("s"), &closed).await.unwrap().branch, "ao/closed");
    // Of an open one nothing is known.
    let answers = bench.scm.observe(&call("o"), std::slice::from_ref(&open)).await.unwrap();
    assert!(matches!(answers[..], [Answer::Unknown(_)]), "{answers:?}");
    assert!(bench.scm.diff(&call("d"), &open).await.is_err());
    assert!(bench.review(&open, "ana", Verdict::Approve, "").await.is_err());
}

#[tokio::test]
async fn a_rebase_keeps_the_encoding_of_a_message() {
    let bench = Bench::new();
    let work = bench.work("ao/one");
    fs::write(work.join("a"), "1\n").unwrap();
    fs::write(bench.root.join("message"), b"\xf0\xd2\xc9\xd7\xc5\xd4\n").unwrap();
    bench.git(&work, &["add", "--all"]);
    let message = format!("--file={}", bench.root.join("message").display());
    let encoding = "i18n.commitEncoding=KOI8-R";
    bench.git(&work, &["-c", encoding, "commit", "--quiet", &message]);
    let head = bench.tip("ao/one");
    bench.more("main");
    let pr = bench.create("ao/one").await.unwrap();
    bench.merge(&pr, &head, MergeMethod::Rebase).await.unwrap();
    assert_eq!(bench.git(&bench.repo(), &["log", "-1", "--format=%s", "main"]), "Привет");
}
