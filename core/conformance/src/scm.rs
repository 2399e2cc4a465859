//! The contract of the scm slot as cases. A plugin's tests stand up the vendor's side, real or faked at its
//! wire, describe it as a [`Forge`], and call [`all`].

use std::{future::Future, sync::Arc, time::Duration};

use ao_slots::{
    Call, ErrorKind, PluginError, PrNumber,
    call::Answer,
    fact::{Checks, PrFacts, PrState},
    scm::{BranchRef, CreatePr, MergeMethod, PrRef, Scm},
};
use async_trait::async_trait;

/// How the vendor behaves from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// As it should.
    Well,
    /// Takes what comes, does it, and never answers.
    Silent,
    /// Cannot be reached.
    Away,
    /// Answers questions with a part only: the first page, half of a batch, an empty list with an error.
    Partial,
}

/// A webhook's headers, in order.
pub type Headers = Vec<(String, String)>;

/// The vendor's side: one repository with the branch `main`, and hands to change it.
#[async_trait]
pub trait Forge: Send + Sync {
    /// The plugin under test, always the same one.
    fn scm(&self) -> Arc<dyn Scm>;

    /// The repository, in the scm's own spelling.
    fn repo(&self) -> String;

    /// Changes how the vendor behaves; false when it has no such mood.
    async fn set(&self, mood: Mood) -> bool;

    /// Pushes a new commit to a branch, making it where it is not there; returns its full object name.
    async fn push(&self, branch: &str) -> String;

    /// Every pull request there ever was, oldest first.
    async fn prs(&self) -> Vec<(PrRef, PrState)>;

    /// Begins this many review threads, each with one comment of its own text.
    async fn discuss(&self, pr: &PrRef, threads: usize);

    /// Lets a required check of this name fail with this log.
    async fn fail_check(&self, pr: &PrRef, check: &str, log: &str);

    /// A signed webhook about this pull request; without one, of an event that concerns nobody.
    async fn webhook(&self, pr: Option<PrNumber>) -> (Headers, Vec<u8>);
}

/// Runs every case, each against a fresh vendor.
pub async fn all<F: Forge>(fresh: impl AsyncFn() -> F) {
    creating_twice_is_one_pull_request(&fresh().await).await;
    merging_twice_is_one_merge(&fresh().await).await;
    another_head_than_expected_is_refused(&fresh().await).await;
    a_dropped_call_is_settled_by_calling_again(&fresh().await).await;
    every_call_ends_within_its_limit(&fresh().await).await;
    no_answer_is_never_none(&fresh().await).await;
    a_partial_answer_is_never_less(&fresh().await).await;
    only_the_open_one_of_a_branch_is_detected(&fresh().await).await;
    facts_come_in_the_order_asked_and_follow_the_vendor(&fresh().await).await;
    a_log_is_trimmed_around_its_error(&fresh().await).await;
    all_threads_are_read(&fresh().await).await;
    only_a_signed_webhook_is_believed(&fresh().await).await;
}

/// Looks for one branch's pull request.
async fn detect(
    scm: &dyn Scm,
    call: &Call,
    repo: &str,
    branch: &str,
) -> Result<Answer<PrRef>, PluginError> {
    let branch = BranchRef { repo: repo.to_owned(), branch: branch.to_owned() };
    let mut answers = scm.detect(call, &[branch]).await?;
    assert_eq!(answers.len(), 1, "`detect`: not one answer for one branch");
    Ok(answers.remove(0))
}

/// Idempotency: `create` finds the one with its own key, and the one that its head branch has already.
pub async fn creating_twice_is_one_pull_request(forge: &dyn Forge) {
    let scm = forge.scm();
    let request = work(forge, "ao/one").await;
    let first = answered("create", scm.create(&call("k1"), &request)).await;
    let again = answered("create", scm.create(&call("k1"), &request)).await;
    assert_eq!(first, again, "Idempotency: `create` with a used key names another pull request");
    let other = answered("create", scm.create(&call("k2"), &request)).await;
    assert_eq!(first, other, "Idempotency: `create` for an open head branch names another one");
    let count = forge.prs().await.len();
    assert_eq!(count, 1, "Idempotency: {count} pull requests after a repeated `create`");
}

/// Idempotency: `merge` of what is merged at the expected head is a success, as is `close` of what is closed.
pub async fn merging_twice_is_one_merge(forge: &dyn Forge) {
    let scm = forge.scm();
    let (pr, head) = opened(forge, "ao/one").await;
    let merge = async |key| {
        let call = call(key);
        answered("merge", scm.merge(&call, &pr, &head, Some(MergeMethod::Squash))).await
    };
    let first = merge("m1").await;
    assert_eq!(first, merge("m1").await, "Idempotency: a repeated `merge` names another commit");
    assert_eq!(first, merge("m2").await, "Idempotency: a repeated `merge` names another commit");
    let (pr, _) = opened(forge, "ao/two").await;
    for _ in 0..2 {
        answered("close", scm.close(&call("c"), &pr)).await;
    }
    let states: Vec<PrState> = forge.prs().await.into_iter().map(|pr| pr.1).collect();
    assert_eq!(
        states,
        [PrState::Merged, PrState::Closed],
        "Idempotency: `merge` or `close` did not act"
    );
}

/// Errors: `merge` of another head than expected is `Refused`, and merges nothing.
pub async fn another_head_than_expected_is_refused(forge: &dyn Forge) {
    let scm = forge.scm();
    let (pr, old) = opened(forge, "ao/one").await;
    let new = forge.push("ao/one").await;
    assert_ne!(old, new, "the forge pushed nothing");
    let error = failed("merge", scm.merge(&call("m"), &pr, &old, Some(MergeMethod::Merge))).await;
    assert_eq!(error.kind, ErrorKind::Refused, "Errors: `merge` of a moved head is {error:?}");
    assert_eq!(state(forge).await, PrState::Open, "Errors: a refused `merge` merged");
    answered("merge", scm.merge(&call("m2"), &pr, &new, Some(MergeMethod::Merge))).await;
    // Merged meanwhile, but at another head than this call means.
    let error = failed("merge", scm.merge(&call("m3"), &pr, &old, Some(MergeMethod::Merge))).await;
    assert_eq!(
        error.kind,
        ErrorKind::Refused,
        "Errors: `merge` of what is merged elsewhere is {error:?}"
    );
}

/// Cancel safety: a dropped `create` or `merge` may have happened, and calling again settles it.
pub async fn a_dropped_call_is_settled_by_calling_again(forge: &dyn Forge) {
    let scm = forge.scm();
    let request = work(forge, "ao/one").await;
    let (create, merge) = (call("k"), call("m"));
    for patience in EARLY_AND_LATE {
        dropped(patience, scm.create(&create, &request)).await;
    }
    let pr = answered("create", scm.create(&create, &request)).await;
    let count = forge.prs().await.len();
    assert_eq!(count, 1, "Cancel safety: {count} pull requests after a dropped `create`");
    let head = facts(&*scm, &pr).await.head;
    for patience in EARLY_AND_LATE {
        dropped(patience, scm.merge(&merge, &pr, &head, Some(MergeMethod::Rebase))).await;
    }
    answered("merge", scm.merge(&merge, &pr, &head, Some(MergeMethod::Rebase))).await;
    assert_eq!(
        state(forge).await,
        PrState::Merged,
        "Cancel safety: a repeated `merge` did nothing"
    );
}

/// Deadline: no call outlives its limit. What changes something is in doubt then, unless it surely did not
/// happen; a doubt is settled by calling again.
pub async fn every_call_ends_within_its_limit(forge: &dyn Forge) {
    let scm = forge.scm();
    let (pr, head) = opened(forge, "ao/one").await;
    let request = work(forge, "ao/two").await;
    if !forge.set(Mood::Silent).await {
        return;
    }
    let short = |key: &str| Call::new(key, Duration::from_millis(200));
    let in_doubt = |what: &str, error: PluginError| {
        assert!(
            matches!(error.kind, ErrorKind::InDoubt | ErrorKind::Transient),
            "Deadline: `{what}` without an answer is {error:?}"
        );
    };
    in_doubt("create", failed("create", scm.create(&short("k"), &request)).await);
    let (merge, log) = (short("m"), short("l"));
    let merge = scm.merge(&merge, &pr, &head, Some(MergeMethod::Merge));
    in_doubt("merge", failed("merge", merge).await);
    in_doubt("threads", failed("threads", scm.threads(&short("t"), &pr)).await);
    let log = scm.failing_check_log(&log, &pr, "unit");
    in_doubt("failing_check_log", failed("failing_check_log", log).await);
    nothing_is_known(&*scm, &short("q"), &pr).await;
    let closed = in_time("close", scm.close(&short("c"), &pr)).await;
    forge.set(Mood::Well).await;
    match closed {
        Ok(()) => is_closed(forge).await,
        Err(error) => in_doubt("close", error),
    }
    answered("create", scm.create(&call("k"), &request)).await;
    let count = forge.prs().await.len();
    assert_eq!(count, 2, "Cancel safety: {count} pull requests after a `create` in doubt");
}

/// Errors: no answer is `Unknown` or `Transient`, never "none".
pub async fn no_answer_is_never_none(forge: &dyn Forge) {
    let scm = forge.scm();
    let (pr, head) = opened(forge, "ao/one").await;
    if !forge.set(Mood::Away).await {
        return;
    }
    nothing_is_known(&*scm, &call("q"), &pr).await;
    for (what, error) in [
        ("threads", failed("threads", scm.threads(&call("t"), &pr)).await),
        (
            "merge",
            failed("merge", scm.merge(&call("m"), &pr, &head, Some(MergeMethod::Merge))).await,
        ),
    ] {
        assert_eq!(
            error.kind,
            ErrorKind::Transient,
            "Errors: `{what}` without the vendor is {error:?}"
        );
    }
    let closed = in_time("close", scm.close(&call("c"), &pr)).await;
    forge.set(Mood::Well).await;
    match closed {
        Ok(()) => is_closed(forge).await,
        Err(error) => assert_eq!(
            error.kind,
            ErrorKind::Transient,
            "Errors: `close` without the vendor is {error:?}"
        ),
    }
}

/// What a plugin needs no vendor for, since it keeps it itself, has then happened.
async fn is_closed(forge: &dyn Forge) {
    assert_eq!(state(forge).await, PrState::Closed, "Errors: a `close` that succeeded did nothing");
}

async fn nothing_is_known(scm: &dyn Scm, call: &Call, pr: &PrRef) {
    match in_time("detect", detect(scm, call, &pr.repo, "ao/one")).await {
        Ok(Answer::Unknown(_)) => {}
        // A plugin that keeps it itself needs no vendor.
        Ok(Answer::Yes(found)) if found == *pr => {}
        Ok(answer) => panic!("Errors: `detect` without an answer says {answer:?}"),
        Err(error) => assert!(error.is_transient(), "Errors: `detect` is {error:?}"),
    }
    match in_time("observe", scm.observe(call, std::slice::from_ref(pr))).await {
        Ok(answers) => assert!(
            matches!(answers.as_slice(), [Answer::Unknown(_)]),
            "Errors: `observe` without an answer says {answers:?}"
        ),
        Err(error) => assert!(error.is_transient(), "Errors: `observe` is {error:?}"),
    }
}

/// Errors: a part of an answer is never taken for the whole.
pub async fn a_partial_answer_is_never_less(forge: &dyn Forge) {
    let scm = forge.scm();
    let mut prs = Vec::new();
    for number in 0..4 {
        prs.push(opened(forge, &format!("ao/b{number}")).await.0);
    }
    forge.discuss(&prs[0], 3).await;
    if !forge.set(Mood::Partial).await {
        return;
    }
    match in_time("observe", scm.observe(&call("o"), &prs)).await {
        Ok(answers) => {
            assert_eq!(answers.len(), prs.len(), "Errors: `observe` left some out");
            for (answer, pr) in answers.iter().zip(&prs) {
                match answer {
                    Answer::No => {
                        panic!("Errors: a part of an answer says that {pr:?} is not there")
                    }
                    Answer::Yes(facts) => {
                        assert_eq!(facts.number, pr.number, "`observe`: wrong order")
                    }
                    Answer::Unknown(_) => {}
                }
            }
        }
        Err(error) => assert!(error.is_transient(), "Errors: a partial `observe` is {error:?}"),
    }
    match in_time("detect", detect(&*scm, &call("d"), &prs[3].repo, "ao/b3")).await {
        Ok(Answer::No) => panic!("Errors: a part of an answer says that there is no pull request"),
        Ok(Answer::Yes(pr)) => assert_eq!(pr, prs[3], "`detect`: another branch's"),
        Ok(Answer::Unknown(_)) => {}
        Err(error) => assert!(error.is_transient(), "Errors: a partial `detect` is {error:?}"),
    }
    match in_time("threads", scm.threads(&call("t"), &prs[0])).await {
        Ok(threads) => {
            assert_eq!(threads.len(), 3, "Errors: a part of the threads is taken for all");
        }
        Err(error) => assert!(error.is_transient(), "Errors: partial `threads` are {error:?}"),
    }
}

/// `detect` finds the open pull request of exactly this branch.
pub async fn only_the_open_one_of_a_branch_is_detected(forge: &dyn Forge) {
    let scm = forge.scm();
    let detect = async |branch: &str| {
        answered("detect", detect(&*scm, &call("d"), &forge.repo(), branch)).await
    };
    forge.push("ao/one").await;
    assert_eq!(detect("ao/one").await, Answer::No, "`detect`: found one where there is none");
    let (pr, _) = opened(forge, "ao/one").await;
    forge.push("ao/on").await;
    assert_eq!(detect("ao/one").await, Answer::Yes(pr.clone()), "`detect`: missed the open one");
    assert_eq!(detect("ao/on").await, Answer::No, "`detect`: took another branch's");
    answered("close", scm.close(&call("c"), &pr)).await;
    assert_eq!(detect("ao/one").await, Answer::No, "`detect`: found a closed one");
}

/// `observe` answers each in order, also for what does not exist, and says what the vendor says.
pub async fn facts_come_in_the_order_asked_and_follow_the_vendor(forge: &dyn Forge) {
    let scm = forge.scm();
    let none = answered("observe", scm.observe(&call("o"), &[])).await;
    assert!(none.is_empty(), "`observe`: an answer to no question");
    let (one, _) = opened(forge, "ao/one").await;
    let (two, head) = opened(forge, "ao/two").await;
    let draft = CreatePr { draft: true, ..work(forge, "ao/three").await };
    let three = answered("create", scm.create(&call("k-draft"), &draft)).await;
    assert_eq!(facts(&*scm, &three).await.state, PrState::Draft, "`create`: no draft");
    let ready = CreatePr { draft: false, ..draft };
    let same = answered("create", scm.create(&call("k-ready"), &ready)).await;
    assert_eq!(same.number, three.number, "`create`: a second one of the branch");
    assert_eq!(facts(&*scm, &three).await.state, PrState::Open, "`create`: a draft still");
    let absent = PrRef { number: PrNumber(999_999), ..one.clone() };
    forge.fail_check(&two, "unit", "error: no").await;
    answered("close", scm.close(&call("c"), &three)).await;
    let asked = [two.clone(), absent, one.clone(), three.clone()];
    let answers = answered("observe", scm.observe(&call("o"), &asked)).await;
    assert_eq!(answers.len(), asked.len(), "`observe`: {} answers to 4", answers.len());
    let [Answer::Yes(second), Answer::No, Answer::Yes(first), Answer::Yes(third)] = &answers[..]
    else {
        panic!("`observe`: {answers:?} for open, absent, open and closed");
    };
    let numbers = [second.number, first.number, third.number];
    assert_eq!(numbers, [two.number, one.number, three.number], "`observe`: wrong order");
    assert_eq!(second.head, head, "`observe`: another head");
    assert_eq!(
        (second.state, second.checks),
        (PrState::Open, Checks::Failing),
        "`observe`: wrong facts"
    );
    assert_eq!(second.failing, ["unit"], "`observe`: other failing checks");
    assert_ne!(first.checks, Checks::Failing, "`observe`: another pull request's checks");
    assert_eq!(third.state, PrState::Closed, "`observe`: a closed one is {:?}", third.state);
    let moved = forge.push("ao/one").await;
    assert_eq!(facts(&*scm, &one).await.head, moved, "`observe`: an old head");
}

/// `failing_check_log` is at most 64 KiB and keeps the error.
pub async fn a_log_is_trimmed_around_its_error(forge: &dyn Forge) {
    let scm = forge.scm();
    let (pr, _) = opened(forge, "ao/one").await;
    let noise = "compiling a crate of this name\n".repeat(10_000);
    forge
        .fail_check(&pr, "unit", &format!("{noise}error: expected `;`, found `}}`\n{noise}"))
        .await;
    let log = answered("failing_check_log", scm.failing_check_log(&call("l"), &pr, "unit")).await;
    assert!(log.len() <= 64 * 1024, "`failing_check_log`: {} bytes", log.len());
    assert!(log.contains("error: expected `;`"), "`failing_check_log`: the error is not in it");
    let error = failed("failing_check_log", scm.failing_check_log(&call("l"), &pr, "none")).await;
    assert_eq!(error.kind, ErrorKind::NotFound, "Errors: the log of no check is {error:?}");
}

/// `threads` reads every page.
pub async fn all_threads_are_read(forge: &dyn Forge) {
    let scm = forge.scm();
    let (pr, _) = opened(forge, "ao/one").await;
    forge.discuss(&pr, 130).await;
    match in_time("threads", scm.threads(&call("t"), &pr)).await {
        Ok(threads) => {
            let ids: std::collections::BTreeSet<&str> =
                threads.iter().map(|thread| thread.id.as_str()).collect();
            assert_eq!(ids.len(), 130, "Errors: {} of 130 threads are taken for all", ids.len());
            assert!(
                threads.iter().all(|thread| !thread.comments.is_empty()),
                "`threads`: a thread without its words"
            );
        }
        Err(error) => assert!(error.is_transient(), "Errors: too many threads are {error:?}"),
    }
}

/// A webhook is believed as its vendor signed it and in no other form.
pub async fn only_a_signed_webhook_is_believed(forge: &dyn Forge) {
    let scm = forge.scm();
    let (pr, _) = opened(forge, "ao/one").await;
    let (headers, body) = forge.webhook(Some(pr.number)).await;
    if let Err(error) = scm.verify_webhook(&headers, &body) {
        panic!("`verify_webhook`: a good signature is {error:?}");
    }
    let mut altered = body.clone();
    altered.push(b' ');
    let Err(error) = scm.verify_webhook(&headers, &altered) else {
        panic!("`verify_webhook`: believed another body")
    };
    assert_eq!(error.kind, ErrorKind::Refused, "`verify_webhook`: another body is {error:?}");
    assert!(scm.verify_webhook(&headers, b"").is_err(), "`verify_webhook`: believed an empty body");
    assert!(
        scm.verify_webhook(&[], &body).is_err(),
        "`verify_webhook`: believed without a signature"
    );
    let (other, _) = forge.webhook(None).await;
    assert!(
        scm.verify_webhook(&other, &body).is_err(),
        "`verify_webhook`: believed another's signature"
    );
    // Names of headers are spelled in any case.
    let upper: Headers =
        headers.iter().map(|(name, value)| (name.to_uppercase(), value.clone())).collect();
    assert!(scm.verify_webhook(&upper, &body).is_ok(), "`verify_webhook`: headers in upper case");
    let parse = |headers: &Headers, body: &[u8]| match scm.parse_webhook(headers, body) {
        Ok(hint) => hint,
        Err(error) => panic!("`parse_webhook`: a good webhook is {error:?}"),
    };
    let hint = parse(&headers, &body);
    let named = hint.as_ref().map(|hint| (hint.repo.clone(), hint.pr));
    assert_eq!(named, Some((forge.repo(), Some(pr.number))), "`parse_webhook`: names another one");
    assert_eq!(hint, parse(&upper, &body), "`parse_webhook`: one event with two delivery ids");
    let (headers, body) = forge.webhook(None).await;
    assert_eq!(parse(&headers, &body), None, "`parse_webhook`: an event that concerns nobody");
}

const PATIENCE: Duration = Duration::from_secs(30);

fn call(key: &str) -> Call {
    Call::new(key, PATIENCE)
}

/// A request for a branch with new work.
async fn work(forge: &dyn Forge, branch: &str) -> CreatePr {
    forge.push(branch).await;
    CreatePr {
        repo: forge.repo(),
        title: format!("Work of {branch}"),
        body: "What was done.".to_owned(),
        head: branch.to_owned(),
        base: "main".to_owned(),
        draft: false,
    }
}

/// An open pull request and its head.
async fn opened(forge: &dyn Forge, branch: &str) -> (PrRef, String) {
    let mut request = work(forge, branch).await;
    let head = forge.push(branch).await;
    request.title.push_str(", opened");
    let key = format!("open-{branch}");
    (answered("create", forge.scm().create(&call(&key), &request)).await, head)
}

async fn facts(scm: &dyn Scm, pr: &PrRef) -> PrFacts {
    let answers = answered("observe", scm.observe(&call("o"), std::slice::from_ref(pr))).await;
    match answers.as_slice() {
        [Answer::Yes(facts)] => facts.clone(),
        answers => panic!("`observe`: {answers:?} for one that is there"),
    }
}

/// The state of the only pull request.
async fn state(forge: &dyn Forge) -> PrState {
    forge.prs().await.first().map(|pr| pr.1).unwrap_or_default()
}

/// Before anything is sent, and somewhere on the way.
const EARLY_AND_LATE: [Duration; 2] = [Duration::ZERO, Duration::from_millis(5)];

/// Drops a call that has not ended after this time.
async fn dropped<T>(patience: Duration, call: impl Future<Output = T>) {
    drop(tokio::time::timeout(patience, call).await);
}

async fn in_time<T>(what: &str, call: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, call).await {
        Ok(answer) => answer,
        Err(_) => panic!("Deadline: `{what}` did not end by itself"),
    }
}

async fn answered<T>(what: &str, call: impl Future<Output = Result<T, PluginError>>) -> T {
    match in_time(what, call).await {
        Ok(answer) => answer,
        Err(error) => panic!("Errors: `{what}` failed on a vendor that is well: {error:?}"),
    }
}

async fn failed<T>(what: &str, call: impl Future<Output = Result<T, PluginError>>) -> PluginError {
    match in_time(what, call).await {
        Ok(_) => panic!("Errors: `{what}` reports a success that was none"),
        Err(error) => error,
    }
}

pub mod fake;
pub mod records;

#[cfg(test)]
mod tests;
