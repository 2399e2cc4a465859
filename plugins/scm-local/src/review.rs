//! Reviews: what stands, and what was said.
//!
//! A person's last approval or change request is their verdict. A change request stands until its author approves, or
//! requests other changes; words that came with it, or alone, until their author approves, or speaks of a later head.

use std::collections::{BTreeMap, BTreeSet};

use ao_sdk::digest;
use ao_slots::{
    fact::Review as Roll,
    scm::{Comment, Thread, Verdict},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// One review.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Review {
    /// The key of the call that gave it.
    pub(crate) key: String,
    /// The head that it is about.
    pub(crate) head: String,
    pub(crate) verdict: Verdict,
    pub(crate) text: String,
    pub(crate) path: Option<String>,
    pub(crate) line: Option<u32>,
    pub(crate) by: String,
    pub(crate) at: Timestamp,
}

/// The reviews of a pull request, oldest first.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Reviews(pub(crate) Vec<Review>);

impl Reviews {
    /// How they roll up for this head, and who approves it.
    pub(crate) fn roll(&self, head: &str, required: u32) -> (Roll, Vec<String>) {
        let mut verdicts: BTreeMap<&str, &Review> = BTreeMap::new();
        for review in self.0.iter().filter(|review| review.verdict != Verdict::Comment) {
            verdicts.insert(&review.by, review);
        }
        let approvals = verdicts
            .values()
            .filter(|review| review.verdict == Verdict::Approve && review.head == head);
        let approved_by: Vec<String> = approvals.map(|review| review.by.clone()).collect();
        let blocked = verdicts.values().any(|review| review.verdict == Verdict::RequestChanges);
        let roll = match approved_by.len() {
            _ if blocked => Roll::ChangesRequested,
            0 if required == 0 => Roll::None,
            count if count >= usize::try_from(required).unwrap_or(usize::MAX) => Roll::Approved,
            _ => Roll::Pending,
        };
        (roll, approved_by)
    }

    fn is_settled(&self, at: usize) -> bool {
        let this = &self.0[at];
        let settles = |later: &Review| match (later.verdict, this.verdict) {
            (Verdict::Approve, _) => true,
            (Verdict::Comment, Verdict::RequestChanges) => false,
            _ => later.head != this.head,
        };
        this.verdict == Verdict::Approve
            || self.0[at + 1..].iter().any(|later| later.by == this.by && settles(later))
    }

    /// Which words still stand: how many of threads, which their author began at a line or with a change request; and
    /// the ids of remarks.
    pub(crate) fn open(&self) -> (usize, Vec<String>) {
        let said =
            |(at, review): &(usize, &Review)| !review.text.is_empty() && !self.is_settled(*at);
        let open = self.0.iter().enumerate().filter(said);
        let (remarks, threads): (Vec<_>, Vec<_>) = open
            .partition(|(_, review)| review.verdict == Verdict::Comment && review.path.is_none());
        (threads.len(), remarks.iter().map(|(at, _)| (at + 1).to_string()).collect())
    }

    /// The words that were said, each a thread.
    pub(crate) fn threads(&self, head: &str) -> Vec<Thread> {
        let worded = self.0.iter().enumerate().filter(|(_, review)| !review.text.is_empty());
        worded
            .map(|(at, review)| Thread {
                id: (at + 1).to_string(),
                resolved: self.is_settled(at),
                outdated: review.head != head,
                path: review.path.clone(),
                line: review.line,
                comments: vec![Comment {
                    id: (at + 1).to_string(),
                    author: review.by.clone(),
                    is_bot: false,
                    // Whoever reviews here may write to the repository: it lies on their machine.
                    trusted: true,
                    // An agent gives no review, and the human of this machine opens for it.
                    own: false,
                    text: review.text.clone(),
                }],
            })
            .collect()
    }
}

/// Changes whenever an unresolved thread does; empty when there is none. What was said once never changes.
pub(crate) fn discussion(threads: &[Thread]) -> String {
    let unresolved: BTreeSet<&str> =
        threads.iter().filter(|thread| !thread.resolved).map(|thread| &*thread.id).collect();
    if unresolved.is_empty() {
        return String::new();
    }
    let ids = unresolved.into_iter().collect::<Vec<_>>().join(" ");
    digest(ids, 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reviews(given: &[(&str, &str, Verdict)]) -> Reviews {
        let review = |(by, head, verdict): &(&str, &str, Verdict)| Review {
            key: String::new(),
            head: (*head).to_owned(),
            verdict: *verdict,
            text: "words".to_owned(),
            path: None,
            line: None,
            by: (*by).to_owned(),
            at: Timestamp::UNIX_EPOCH,
        };
        Reviews(given.iter().map(review).collect())
    }

    #[test]
    fn approvals_of_the_present_head_count_and_a_change_request_stands_until_its_author_lifts_it() {
        use Verdict::{Approve, Comment, RequestChanges};
        for (given, required, expected) in [
            (vec![], 0, Roll::None),
            (vec![], 1, Roll::Pending),
            (vec![("ana", "new", Comment)], 0, Roll::None),
            (vec![("ana", "new", Approve)], 0, Roll::Approved),
            (vec![("ana", "old", Approve)], 1, Roll::Pending),
            (vec![("ana", "new", Approve), ("ana", "new", Approve)], 2, Roll::Pending),
            (vec![("ana", "new", Approve), ("ben", "new", Approve)], 2, Roll::Approved),
            (vec![("ana", "new", Approve), ("ana", "new", Comment)], 1, Roll::Approved),
            (vec![("ana", "old", RequestChanges)], 0, Roll::ChangesRequested),
            (
                vec![("ana", "old", RequestChanges), ("ben", "new", Approve)],
                1,
                Roll::ChangesRequested,
            ),
            (
                vec![("ana", "old", RequestChanges), ("ana", "new", Comment)],
                0,
                Roll::ChangesRequested,
            ),
            (vec![("ana", "old", RequestChanges), ("ana", "new", Approve)], 1, Roll::Approved),
            (
                vec![("ana", "new", Approve), ("ana", "new", RequestChanges)],
                1,
                Roll::ChangesRequested,
            ),
        ] {
            assert_eq!(reviews(&given).roll("new", required).0, expected, "{given:?} {required}");
        }
    }

    #[test]
    fn words_are_settled_by_who_said_them() {
        use Verdict::{Approve, Comment, RequestChanges};
        for (given, unresolved) in [
            (vec![("ana", "old", Comment), ("ana", "old", Comment)], vec!["1", "2"]),
            (vec![("ana", "old", Comment), ("ben", "new", Approve)], vec!["1"]),
            (vec![("ana", "old", Comment), ("ana", "new", Comment)], vec!["2"]),
            (vec![("ana", "old", RequestChanges), ("ana", "new", Comment)], vec!["1", "2"]),
            (vec![("ana", "old", RequestChanges), ("ana", "new", RequestChanges)], vec!["2"]),
            (vec![("ana", "old", RequestChanges), ("ana", "old", Approve)], vec![]),
            (vec![("ana", "new", Approve)], vec![]),
        ] {
            let threads = reviews(&given).threads("new");
            let open = threads.iter().filter(|thread| !thread.resolved);
            assert_eq!(open.map(|thread| &*thread.id).collect::<Vec<_>>(), unresolved, "{given:?}");
            assert_eq!(discussion(&threads).is_empty(), unresolved.is_empty());
            assert!(threads.iter().all(|thread| thread.outdated
                == (given[thread.id.parse::<usize>().unwrap() - 1].1 == "old")));
        }
    }
}
