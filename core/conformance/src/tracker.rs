//! The conformance suite of the tracker slot.
//!
//! A plugin's tests fill in [`Bench`] and run [`all`]. The cases tell their issues apart by title and label, so they
//! may share one tracker. A case panics with the heading of the contract that is broken.

#![expect(clippy::expect_used, reason = "a suite fails by a panic that names the broken promise")]

pub mod fake;

use std::time::Duration;

use ao_slots::{
    Call, ErrorKind,
    tracker::{Issue, IssueChange, IssueFilter, Tracker},
};
use async_trait::async_trait;

/// Long enough for any machine; only a plugin that hangs meets it.
const LONG: Duration = Duration::from_secs(120);

/// What the suite needs around a plugin: a tracker that it may fill.
#[async_trait]
pub trait Bench: Send + Sync {
    /// The plugin.
    fn plugin(&self) -> &dyn Tracker;
    /// Makes the tracker not answer, or answer again.
    async fn break_tracker(&self, broken: bool);
    /// Makes changes wait, or go on again.
    async fn hold(&self, held: bool);
    /// Something that differs whenever what is stored of an issue was written anew.
    async fn revision(&self, id: &str) -> String;
    /// How many comments an issue has; none where the tracker has no comments.
    async fn comments(&self, _id: &str) -> Option<usize> {
        None
    }
    /// Somebody who may be assigned; none where the tracker knows nobody.
    fn somebody(&self) -> Option<&'static str> {
        None
    }
}

/// Runs every case.
pub async fn all(bench: &dyn Bench) {
    what_is_made_is_there(bench).await;
    create_again_finds_the_same(bench).await;
    create_after_a_dropped_one_finds_it(bench).await;
    update_changes_what_it_names(bench).await;
    update_to_the_same_changes_nothing(bench).await;
    lists_are_filtered_and_in_order(bench).await;
    closed_is_completed(bench).await;
    a_comment_is_made_once(bench).await;
    assigned_issues_are_found(bench).await;
    the_text_names_blockers(bench).await;
    text_from_outside_is_bounded(bench).await;
    unknown_ids_are_told_apart(bench).await;
    no_answer_is_not_no_issues(bench).await;
    a_change_ends_at_its_deadline(bench).await;
}

fn call(key: &str) -> Call {
    Call::new(format!("conformance-{key}"), LONG)
}

async fn made(bench: &dyn Bench, key: &str) -> Issue {
    let labels = [key.to_owned()];
    let made = bench.plugin().create(&call(key), &format!("Case {key}"), "text", &labels).await;
    made.unwrap_or_else(|error| panic!("create: an issue is made: {error}"))
}

async fn with_label(bench: &dyn Bench, label: &str, closed: bool) -> Vec<Issue> {
    let filter = IssueFilter { closed, labels: vec![label.to_owned()], assignee: None };
    bench.plugin().list(&call("list"), &filter).await.expect("list answers")
}

/// A made issue is found by its id and in the list, and both say the same.
pub async fn what_is_made_is_there(bench: &dyn Bench) {
    let labels = ["made".to_owned(), "two words".to_owned()];
    let body = "First line\n\n- a list\n\n```\ncode\n```";
    let made = bench.plugin().create(&call("made"), "Fix: the \"login\"", body, &labels).await;
    let made = made.expect("create succeeds");
    assert_eq!(
        (made.title.as_str(), made.body.as_str(), made.open),
        ("Fix: the \"login\"", body, true),
        "create: the issue is another"
    );
    assert_eq!(made.labels, labels, "create: the labels are others");
    let got = bench.plugin().get(&call("made"), &made.id).await.expect("get finds it");
    assert_eq!(got, made, "get: another issue");
    let listed = with_label(bench, "made", false).await;
    assert_eq!(listed, std::slice::from_ref(&made), "list: another issue");
    let prompt = bench.plugin().prompt(&made);
    assert!(prompt.contains(&made.title) && prompt.contains(body), "prompt: it lacks the issue");
}

/// Idempotency: `create` with the key of an earlier one returns that issue.
pub async fn create_again_finds_the_same(bench: &dyn Bench) {
    let first = made(bench, "again").await;
    let again = made(bench, "again").await;
    assert_eq!(again.id, first.id, "Idempotency: create made a second issue");
    assert_eq!(with_label(bench, "again", true).await.len(), 1, "Idempotency: two issues of a key");
}

/// Cancel safety: a dropped `create` may have made the issue; the key finds it.
pub async fn create_after_a_dropped_one_finds_it(bench: &dyn Bench) {
    for wait in [0, 1, 3, 10] {
        let key = format!("dropped{wait}");
        let (call, labels) = (call(&key), [key.clone()]);
        let create = bench.plugin().create(&call, "Dropped", "text", &labels);
        let _dropped = tokio::time::timeout(Duration::from_millis(wait), create).await;
        let again = bench.plugin().create(&call, "Dropped", "text", &labels).await;
        again.unwrap_or_else(|error| panic!("Cancel safety: create again: {error}"));
        let count = with_label(bench, &key, true).await.len();
        assert_eq!(count, 1, "Cancel safety: {count} issues of one key");
    }
}

/// What is none in a change stays.
pub async fn update_changes_what_it_names(bench: &dyn Bench) {
    let before = made(bench, "update").await;
    let labels = vec!["update".to_owned(), "more".to_owned()];
    let mut expected = before.clone();
    for change in [
        IssueChange { title: Some("Another title".into()), ..IssueChange::default() },
        IssueChange { body: Some("Another\n\ntext".into()), ..IssueChange::default() },
        IssueChange { labels: Some(labels), ..IssueChange::default() },
        IssueChange { open: Some(false), ..IssueChange::default() },
        IssueChange { open: Some(true), ..IssueChange::default() },
    ] {
        expected.title = change.title.clone().unwrap_or(expected.title);
        expected.body = change.body.clone().unwrap_or(expected.body);
        expected.labels = change.labels.clone().unwrap_or(expected.labels);
        expected.open = change.open.unwrap_or(expected.open);
        let after = bench.plugin().update(&call("update"), &before.id, &change).await;
        assert_eq!(after.expect("update succeeds"), expected, "update: {change:?}");
        let got = bench.plugin().get(&call("update"), &before.id).await.expect("get finds it");
        assert_eq!(got, expected, "update: it was not kept");
    }
}

/// Idempotency: `update` to what it already is changes nothing.
pub async fn update_to_the_same_changes_nothing(bench: &dyn Bench) {
    let issue = made(bench, "same").await;
    let before = bench.revision(&issue.id).await;
    let change = IssueChange {
        title: Some(issue.title.clone()),
        body: Some(issue.body.clone()),
        open: Some(true),
        labels: Some(issue.labels.clone()),
        assignees: None,
    };
    let after = bench.plugin().update(&call("same"), &issue.id, &change).await;
    assert_eq!(after.expect("update succeeds"), issue, "Idempotency: update changed the issue");
    let revision = bench.revision(&issue.id).await;
    assert_eq!(revision, before, "Idempotency: update wrote what was there already");
}

/// A list has what the filter asks for, always in one order.
pub async fn lists_are_filtered_and_in_order(bench: &dyn Bench) {
    let mut ids = Vec::new();
    for number in 0..12 {
        let labels = ["order".to_owned(), format!("order-{}", number % 2)];
        let key = call(&format!("order-{number}"));
        let issue = bench.plugin().create(&key, &format!("Number {number}"), "", &labels).await;
        ids.push(issue.expect("create succeeds").id);
    }
    let listed = async |label: &str| -> Vec<String> {
        with_label(bench, label, false).await.into_iter().map(|issue| issue.id).collect()
    };
    let first = listed("order").await;
    assert_eq!(first.len(), 12, "list: an issue is missing or too many");
    assert_eq!(listed("order").await, first, "list: the order changes");
    assert_eq!(listed("order-1").await.len(), 6, "list: the label does not count");
    let both = ["order-0".to_owned(), "order-1".to_owned()].to_vec();
    let filter = IssueFilter { closed: true, labels: both, assignee: None };
    let none = bench.plugin().list(&call("list"), &filter).await.expect("list answers");
    assert!(none.is_empty(), "list: an issue needs all of the labels");
}

/// A closed issue is completed and is listed only when asked for.
pub async fn closed_is_completed(bench: &dyn Bench) {
    let issue = made(bench, "close").await;
    let completed = async || {
        bench.plugin().is_completed(&call("close"), &issue.id).await.expect("is_completed answers")
    };
    assert!(!completed().await, "is_completed: an open issue is");
    let change = IssueChange { open: Some(false), ..IssueChange::default() };
    bench.plugin().update(&call("close"), &issue.id, &change).await.expect("update succeeds");
    assert!(completed().await, "is_completed: a closed issue is not");
    assert!(with_label(bench, "close", false).await.is_empty(), "list: a closed issue is listed");
    assert_eq!(with_label(bench, "close", true).await.len(), 1, "list: a closed issue is lost");
}

/// Idempotency: `comment` with the key of an earlier one says nothing more. Errors: without comments it is refused.
pub async fn a_comment_is_made_once(bench: &dyn Bench) {
    let issue = made(bench, "comment").await;
    let comment = async |key: &str| bench.plugin().comment(&call(key), &issue.id, "words").await;
    if bench.comments(&issue.id).await.is_none() {
        let kind = comment("comment-1").await.map_err(|error| error.kind);
        assert_eq!(kind, Err(ErrorKind::Unsupported), "Errors: a comment goes nowhere");
        return;
    }
    for key in ["comment-1", "comment-1", "comment-2"] {
        comment(key).await.expect("comment succeeds");
    }
    let count = bench.comments(&issue.id).await;
    assert_eq!(count, Some(2), "Idempotency: two keys made another number of comments");
}

/// Who shall do an issue is kept and can be asked for. Errors: where nobody is known it is refused.
pub async fn assigned_issues_are_found(bench: &dyn Bench) {
    let issue = made(bench, "assign").await;
    let who = bench.somebody().unwrap_or("somebody");
    let change = IssueChange { assignees: Some(vec![who.into()]), ..IssueChange::default() };
    let assigned = bench.plugin().update(&call("assign"), &issue.id, &change).await;
    let filter = IssueFilter { assignee: Some(who.into()), ..IssueFilter::default() };
    let listed = bench.plugin().list(&call("assign"), &filter).await;
    if bench.somebody().is_none() {
        let kinds =
            (assigned.map_err(|error| error.kind).err(), listed.map_err(|error| error.kind).err());
        let unsupported = Some(ErrorKind::Unsupported);
        assert_eq!(kinds, (unsupported, unsupported), "Errors: an assignment goes nowhere");
        return;
    }
    assert_eq!(assigned.expect("update succeeds").assignees, [who], "update: nobody is assigned");
    let ids: Vec<_> = listed.expect("list answers").into_iter().map(|issue| issue.id).collect();
    assert_eq!(ids, [issue.id], "list: the one assigned issue");
}

/// What a text says it waits for is in `blocked_by`.
pub async fn the_text_names_blockers(bench: &dyn Bench) {
    let first = made(bench, "blocker").await;
    let body = format!("Blocked by #{}", first.id);
    let second = bench.plugin().create(&call("blocked"), "Blocked", &body, &[]).await;
    let second = second.expect("create succeeds");
    let got = bench.plugin().get(&call("blocked"), &second.id).await.expect("get finds it");
    assert_eq!(got.blocked_by, [first.id], "Issue: the text names another issue");
}

/// A title is one line, and a text has at most 64 KiB.
pub async fn text_from_outside_is_bounded(bench: &dyn Bench) {
    let title = "two\nlines \u{1b}[31mred\u{202e}";
    let body = "x".repeat(200_000);
    let issue = bench.plugin().create(&call("text"), title, &body, &[]).await;
    let issue = issue.expect("create succeeds");
    assert_eq!(issue.title, "two lines red", "Issue: the title is not one harmless line");
    assert!(issue.body.len() <= 64 << 10, "Issue: the text has {} bytes", issue.body.len());
    assert!(issue.body.starts_with("xxx"), "Issue: the text is another");
}

/// Errors: an id that does not exist is `NotFound`; one that is no id of this tracker is `Permanent`.
pub async fn unknown_ids_are_told_apart(bench: &dyn Bench) {
    let close = IssueChange { open: Some(false), ..IssueChange::default() };
    for (id, expected) in [
        ("999999", ErrorKind::NotFound),
        ("../x", ErrorKind::Permanent),
        ("/etc/passwd", ErrorKind::Permanent),
        ("", ErrorKind::Permanent),
        (".", ErrorKind::Permanent),
        ("a\0b", ErrorKind::Permanent),
        ("--help", ErrorKind::Permanent),
    ] {
        let get = bench.plugin().get(&call("id"), id).await.map_err(|error| error.kind);
        assert_eq!(get.err(), Some(expected), "Errors: get {id:?}");
        let update =
            bench.plugin().update(&call("id"), id, &close).await.map_err(|error| error.kind);
        assert_eq!(update.err(), Some(expected), "Errors: update {id:?}");
    }
}

/// Errors: a tracker that does not answer is `Transient`, never "no issues".
pub async fn no_answer_is_not_no_issues(bench: &dyn Bench) {
    let issue = made(bench, "answer").await;
    bench.break_tracker(true).await;
    let list = bench.plugin().list(&call("answer"), &IssueFilter::default()).await;
    let get = bench.plugin().get(&call("answer"), &issue.id).await;
    let completed = bench.plugin().is_completed(&call("answer"), &issue.id).await;
    let create = bench.plugin().create(&call("unanswered"), "Unanswered", "", &[]).await;
    bench.break_tracker(false).await;
    for (what, kind) in [
        ("list", list.map(|_| ()).map_err(|error| error.kind)),
        ("get", get.map(|_| ()).map_err(|error| error.kind)),
        ("is_completed", completed.map(|_| ()).map_err(|error| error.kind)),
        ("create", create.map(|_| ()).map_err(|error| error.kind)),
    ] {
        assert_eq!(kind, Err(ErrorKind::Transient), "Errors: {what} without an answer");
    }
    bench.plugin().get(&call("answer"), &issue.id).await.expect("it is there again");
}

/// Deadline: a change that cannot be made ends within the limit, and says whether it may have happened.
pub async fn a_change_ends_at_its_deadline(bench: &dyn Bench) {
    let issue = made(bench, "deadline").await;
    let short = Call::new("conformance-deadline-2", Duration::from_millis(300));
    let close = IssueChange { open: Some(false), ..IssueChange::default() };
    bench.hold(true).await;
    let update = tokio::time::timeout(LONG, bench.plugin().update(&short, &issue.id, &close)).await;
    let create = tokio::time::timeout(LONG, bench.plugin().create(&short, "Late", "", &[])).await;
    bench.hold(false).await;
    for (what, result) in [("update", update), ("create", create)] {
        let result = result.unwrap_or_else(|_| panic!("Deadline: {what} goes on after its limit"));
        let kind = result.map_err(|error| error.kind).err();
        let honest = matches!(kind, Some(ErrorKind::Transient | ErrorKind::InDoubt));
        assert!(honest, "Deadline: {what} that was late ended as {kind:?}");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ao_slots::PluginError;

    use super::{fake::Memory, *};

    #[tokio::test]
    async fn a_correct_plugin_passes() {
        all(&Memory::default()).await;
    }

    /// One way to be wrong.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Fault {
        LosesLabels,
        ForgetsKeys,
        ChangesMore,
        WritesTheSame,
        IgnoresTheFilter,
        KeepsOpen,
        PassesText,
        TakesAnyId,
        RepeatsComments,
        AssignsNobody,
        ReadsNoText,
        SaysNone,
        WaitsForever,
    }

    #[derive(Debug)]
    struct Wrong(Memory, Fault);

    #[async_trait]
    impl Bench for Wrong {
        fn plugin(&self) -> &dyn Tracker {
            self
        }
        async fn break_tracker(&self, broken: bool) {
            self.0.break_tracker(broken).await;
        }
        async fn hold(&self, held: bool) {
            self.0.hold(held).await;
        }
        async fn revision(&self, id: &str) -> String {
            self.0.revision(id).await
        }
        async fn comments(&self, id: &str) -> Option<usize> {
            self.0.comments(id).await
        }
        fn somebody(&self) -> Option<&'static str> {
            self.0.somebody()
        }
    }

    #[async_trait]
    impl Tracker for Wrong {
        async fn get(&self, call: &Call, id: &str) -> Result<Issue, PluginError> {
            match self.0.get(call, id).await {
                Err(error) if self.1 == Fault::TakesAnyId => {
                    Err(PluginError { kind: ErrorKind::NotFound, ..error })
                }
                Ok(issue) if self.1 == Fault::ReadsNoText => {
                    Ok(Issue { blocked_by: Vec::new(), ..issue })
                }
                result => result,
            }
        }

        async fn comment(&self, call: &Call, id: &str, words: &str) -> Result<(), PluginError> {
            let mut call = call.clone();
            if self.1 == Fault::RepeatsComments {
                call.key = ulid();
            }
            self.0.comment(&call, id, words).await
        }

        async fn list(&self, call: &Call, filter: &IssueFilter) -> Result<Vec<Issue>, PluginError> {
            let mut filter = filter.clone();
            if self.1 == Fault::IgnoresTheFilter {
                filter.labels.truncate(1);
            }
            match self.0.list(call, &filter).await {
                Err(_) if self.1 == Fault::SaysNone => Ok(Vec::new()),
                result => result,
            }
        }

        async fn create(
            &self,
            call: &Call,
            title: &str,
            body: &str,
            labels: &[String],
        ) -> Result<Issue, PluginError> {
            let mut call = call.clone();
            match self.1 {
                Fault::ForgetsKeys => call.key = ulid(),
                Fault::WaitsForever => call.limit_ms = u64::MAX / 4,
                _ => {}
            }
            let labels = if self.1 == Fault::LosesLabels { &[] } else { labels };
            let mut issue = self.0.create(&call, title, body, labels).await?;
            if self.1 == Fault::PassesText {
                issue.body = body.to_owned();
            }
            Ok(issue)
        }

        async fn update(
            &self,
            call: &Call,
            id: &str,
            change: &IssueChange,
        ) -> Result<Issue, PluginError> {
            let (mut call, mut change) = (call.clone(), change.clone());
            match self.1 {
                Fault::ChangesMore => change.labels = Some(Vec::new()),
                Fault::KeepsOpen => change.open = None,
                Fault::AssignsNobody => change.assignees = None,
                Fault::WaitsForever => call.limit_ms = u64::MAX / 4,
                Fault::WritesTheSame => {
                    let other = IssueChange { title: Some("Other".into()), ..change.clone() };
                    self.0.update(&call, id, &other).await?;
                }
                _ => {}
            }
            self.0.update(&call, id, &change).await
        }

        fn url(&self, id: &str) -> Option<String> {
            self.0.url(id)
        }
    }

    /// A key that was not used before.
    fn ulid() -> String {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        format!("other-{}", NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// Time stands still but where everything waits, so that what waits in vain ends at once.
    #[tokio::test(start_paused = true)]
    async fn each_fault_is_caught_by_its_case() {
        macro_rules! caught {
            ($($fault:ident => $case:ident),+ $(,)?) => {
                [$((Fault::$fault, stringify!($case), tokio::spawn(async {
                    $case(&*Arc::new(Wrong(Memory::default(), Fault::$fault))).await;
                }))),+]
            };
        }
        for (fault, name, case) in caught! {
            LosesLabels => what_is_made_is_there,
            ForgetsKeys => create_again_finds_the_same,
            ForgetsKeys => create_after_a_dropped_one_finds_it,
            ChangesMore => update_changes_what_it_names,
            WritesTheSame => update_to_the_same_changes_nothing,
            IgnoresTheFilter => lists_are_filtered_and_in_order,
            KeepsOpen => closed_is_completed,
            PassesText => text_from_outside_is_bounded,
            TakesAnyId => unknown_ids_are_told_apart,
            RepeatsComments => a_comment_is_made_once,
            AssignsNobody => assigned_issues_are_found,
            ReadsNoText => the_text_names_blockers,
            SaysNone => no_answer_is_not_no_issues,
            WaitsForever => a_change_ends_at_its_deadline,
        } {
            let caught = case.await.is_err_and(|error| error.is_panic());
            assert!(caught, "{fault:?} was not caught by {name}");
        }
    }
}
