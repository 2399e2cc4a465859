//! Pull requests: what goes back to the agent, and what is left for a human.

use ao_core::{config::trigger::Trigger, event::Failure};
use ao_slots::{
    ErrorKind, SessionId,
    fact::{Checks, Mergeable, Priority::*, Review},
};

use super::super::sim::{HOUR, MINUTE, SECOND, Sim};

/// An agent with an open pull request that waits for checks.
fn open(s: &mut Sim, count: usize) -> Vec<SessionId> {
    let apps = s.agents(count);
    for app in &apps {
        s.pushes(app);
        s.review(app, Review::Pending, 0);
    }
    s.pass(MINUTE);
    apps
}

/// Checks fail and pass by turns; each time the next push mends it.
pub(super) fn ci_flaps(s: &mut Sim) {
    let app = &open(s, 1)[0];
    for _ in 0..8 {
        s.ci(app, Checks::Failing);
        let wait = s.some(3 * MINUTE..8 * MINUTE);
        s.pass(wait);
        s.pushes(app);
        let wait = s.some(MINUTE..4 * MINUTE);
        s.pass(wait);
        s.ci(app, Checks::Passing);
        s.pass(2 * MINUTE);
    }
    s.pass(20 * MINUTE);
}

/// A flaky job: red, and green again within a minute without a push.
pub(super) fn ci_is_flaky(s: &mut Sim) {
    let app = &open(s, 1)[0];
    for _ in 0..15 {
        s.ci(app, Checks::Failing);
        let wait = s.some(5 * SECOND..50 * SECOND);
        s.pass(wait);
        s.ci(app, Checks::Passing);
        s.pass(MINUTE);
    }
    s.pass(20 * MINUTE);
}

/// Two more commits, and still red.
pub(super) fn ci_stays_red(s: &mut Sim) {
    let app = &open(s, 1)[0];
    s.ci(app, Checks::Failing);
    for attempt in 0..2 {
        let wait = s.some(4 * MINUTE..8 * MINUTE);
        s.pass(wait);
        s.pushes(app);
        let wait = s.some(MINUTE..4 * MINUTE);
        s.pass(wait);
        s.ci(app, Checks::Failing);
        if attempt == 1 {
            s.need(app, Trigger::CiFailed, Warning);
        }
    }
    s.pass(HOUR);
}

/// Reviewers ask, the agent answers, within minutes, five times; then it can be merged.
pub(super) fn review_ping_pong(s: &mut Sim) {
    let app = &open(s, 1)[0];
    s.ci(app, Checks::Passing);
    for _ in 0..5 {
        s.review(app, Review::ChangesRequested, 2);
        let wait = s.some(4 * MINUTE..20 * MINUTE);
        s.pass(wait);
        s.pushes(app);
        s.review(app, Review::Pending, 0);
        s.pass(2 * MINUTE);
        s.ci(app, Checks::Passing);
        let wait = s.some(2 * MINUTE..10 * MINUTE);
        s.pass(wait);
    }
    s.need(app, Trigger::ApprovedAndGreen, Action);
    s.review(app, Review::Approved, 0);
    s.pass(HOUR);
}

/// The comments are still there after half an hour.
pub(super) fn review_is_not_answered(s: &mut Sim) {
    let app = &open(s, 1)[0];
    s.ci(app, Checks::Passing);
    s.review(app, Review::ChangesRequested, 2);
    s.need_in(30 * MINUTE, app, Trigger::ChangesRequested, Warning);
    s.pass(2 * HOUR);
}

/// A linter comments on each push, and is satisfied by the next.
pub(super) fn bots_comment(s: &mut Sim) {
    let app = &open(s, 1)[0];
    s.ci(app, Checks::Passing);
    for _ in 0..5 {
        s.pr(app, |pr| pr.bot_threads = 3);
        let wait = s.some(2 * MINUTE..15 * MINUTE);
        s.pass(wait);
        s.pushes(app);
        s.pr(app, |pr| (pr.bot_threads, pr.checks) = (0, Checks::Passing));
        s.pass(2 * MINUTE);
    }
    s.pass(20 * MINUTE);
}

/// Each merge makes the others conflict; each rebases within minutes; each is merged in turn.
pub(super) fn conflicts_after_each_merge(s: &mut Sim) {
    let apps = open(s, 5);
    for app in &apps {
        s.ci(app, Checks::Passing);
    }
    for (n, app) in apps.iter().enumerate() {
        s.need(app, Trigger::ApprovedAndGreen, Action);
        s.review(app, Review::Approved, 0);
        s.pass(8 * MINUTE);
        for other in &apps[n + 1..] {
            s.mergeable(other, Mergeable::Conflicting);
        }
        let wait = s.some(3 * MINUTE..10 * MINUTE);
        s.pass(wait);
        for other in &apps[n + 1..] {
            s.pushes(other);
            s.mergeable(other, Mergeable::Yes);
            s.ci(other, Checks::Passing);
        }
        s.pass(2 * MINUTE);
    }
    s.pass(20 * MINUTE);
}

/// Nobody rebases.
pub(super) fn conflict_stays(s: &mut Sim) {
    let app = &open(s, 1)[0];
    s.ci(app, Checks::Passing);
    s.mergeable(app, Mergeable::Conflicting);
    s.need_in(15 * MINUTE, app, Trigger::MergeConflicts, Warning);
    s.pass(HOUR);
}

/// Green, approved, no conflict: a human merges.
pub(super) fn ready_to_merge(s: &mut Sim) {
    let app = &open(s, 1)[0];
    s.ci(app, Checks::Passing);
    s.pass(10 * MINUTE);
    s.need(app, Trigger::ApprovedAndGreen, Action);
    s.review(app, Review::Approved, 0);
    s.pass(HOUR);
}

/// Ready for a moment, and then another commit.
pub(super) fn ready_for_a_moment(s: &mut Sim) {
    let app = &open(s, 1)[0];
    s.review(app, Review::Approved, 0);
    for _ in 0..6 {
        s.ci(app, Checks::Passing);
        let quick = s.some(SECOND..12 * SECOND);
        s.pass(quick);
        s.pushes(app);
        s.pass(3 * MINUTE);
    }
    s.pass(10 * MINUTE);
}

/// Merged by somebody at the forge before a push could have been read.
pub(super) fn merged_at_the_forge(s: &mut Sim) {
    let apps = open(s, 3);
    for app in &apps {
        s.ci(app, Checks::Passing);
        s.review(app, Review::Approved, 0);
        let quick = s.some(SECOND..12 * SECOND);
        s.pass(quick);
        s.merges(app);
        s.pass(5 * MINUTE);
    }
    s.pass(10 * MINUTE);
}

/// The forge answers nothing for ten minutes, with twenty pull requests open, some of them in conflict: one message
/// says so, and nothing is said of what was known and is old by now.
pub(super) fn forge_is_down(s: &mut Sim) {
    let apps = open(s, 20);
    for app in &apps {
        s.ci(app, Checks::Passing);
    }
    let conflicting = &apps[..4];
    for app in conflicting {
        s.mergeable(app, Mergeable::Conflicting);
    }
    // A human would hear of the conflicts while nobody knows whether they are still there.
    s.pass(8 * MINUTE);
    s.forge_answers(Some(Failure { kind: ErrorKind::Transient, ..Failure::permanent("HTTP 502") }));
    s.after(5 * MINUTE, |s| {
        s.need_of(&[], Trigger::ScmUnavailable, Warning);
    });
    s.pass(10 * MINUTE);
    // Meanwhile their agents have resolved them.
    for app in conflicting {
        s.pushes(app);
        s.mergeable(app, Mergeable::Yes);
        s.ci(app, Checks::Passing);
    }
    s.forge_answers(None);
    s.judge.over_ao(Trigger::ScmUnavailable, s.now);
    s.pass(20 * MINUTE);
}
