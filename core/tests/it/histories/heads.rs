//! Heads and bases that move.

use ao_core::{config::trigger::Trigger, state::Status};
use ao_slots::fact::{Mergeable, Review};

use super::{End, History, MERGEABLE, MERGED, READY, REMOVED};

pub(super) const ALL: &[History] = &[
    History {
        name: "a conflict is rebased",
        script: |p| {
            p.opens_green("a");
            p.mergeable(Mergeable::Conflicting);
            p.minutes(3);
            p.rebases("b");
            p.passes();
        },
        deeds: &["app-1 is told: merge-conflicts a", READY],
        ends: MERGEABLE,
    },
    History {
        name: "a conflict is not mended",
        script: |p| {
            p.opens_green("a");
            p.mergeable(Mergeable::Conflicting);
            p.minutes(3);
            p.pushes_green("b");
            p.minutes(3);
            p.gives_up();
            p.minutes(10);
        },
        deeds: &[
            "app-1 is told: merge-conflicts a",
            "app-1 is told: merge-conflicts b",
            "push merge-conflicts: PR #1 conflicts with main",
        ],
        ends: End { status: &[Status::Conflicting], open: &[Trigger::MergeConflicts] },
    },
    History {
        name: "the rules want the base in it, and the base moves",
        script: |p| {
            p.opens("a");
            p.review(Review::Approved);
            p.passes();
            p.minutes(1);
            p.mergeable(Mergeable::Behind);
            p.minutes(3);
            p.rebases("b");
            p.mergeable(Mergeable::Unknown);
            p.passes();
            p.mergeable(Mergeable::Yes);
            p.minutes(1);
            p.merges("b");
        },
        deeds: &[
            READY,
            "app-1 is told: merge-conflicts a behind",
            READY,
            "app-1: merge b",
            REMOVED,
        ],
        ends: MERGED,
    },
    History {
        name: "the rules want the base in it, and nobody brings it",
        script: |p| {
            p.opens("a");
            p.review(Review::Approved);
            p.mergeable(Mergeable::Behind);
            p.passes();
            p.minutes(3);
            p.gives_up();
            p.mergeable(Mergeable::Unknown);
            p.minutes(13);
        },
        deeds: &[
            "app-1 is told: merge-conflicts a behind",
            "push merge-conflicts: PR #1 is ready but for main: update its branch",
        ],
        ends: End { status: &[Status::Approved], open: &[Trigger::MergeConflicts] },
    },
    History {
        name: "the base moves while more than that lacks",
        script: |p| {
            p.opens("a");
            p.review(Review::Pending);
            p.mergeable(Mergeable::Behind);
            p.passes();
            p.minutes(40);
            p.begins_turn();
            p.pushes_green("b");
            p.minutes(20);
            p.mergeable(Mergeable::Conflicting);
        },
        deeds: &["app-1 is told: merge-conflicts b"],
        ends: End { status: &[Status::Conflicting], open: &[Trigger::MergeConflicts] },
    },
    History {
        name: "the base moves on and back while the agent works",
        script: |p| {
            p.opens("a");
            p.begins_turn();
            p.mergeable(Mergeable::Conflicting);
            p.minutes(3);
            p.waiting(1);
            p.mergeable(Mergeable::Unknown);
            p.waiting(1);
            p.mergeable(Mergeable::Yes);
            p.waiting(0);
            p.gives_up();
            p.passes();
        },
        deeds: &[READY],
        ends: MERGEABLE,
    },
    History {
        name: "whether it merges is not known for long",
        script: |p| {
            p.opens("a");
            p.mergeable(Mergeable::Unknown);
            p.passes();
            p.minutes(10);
            p.mergeable(Mergeable::Yes);
            p.minutes(2);
            p.mergeable(Mergeable::Unknown);
            p.minutes(2);
            p.mergeable(Mergeable::Yes);
        },
        deeds: &[READY],
        ends: MERGEABLE,
    },
    History {
        name: "two on one repository, and the base moves",
        script: |p| {
            p.opens_green("a");
            p.another();
            p.opens_green("x");
            p.minutes(1);
            p.of(1);
            p.merges("a");
            p.seconds(5);
            p.of(2);
            p.mergeable(Mergeable::Conflicting);
            p.minutes(3);
            p.rebases("y");
            p.minutes(2);
            p.passes();
            p.minutes(1);
            p.merges("y");
        },
        deeds: &[
            READY,
            "push approved-and-green: PR #2 is ready to merge: Dark mode",
            "app-1: merge a",
            REMOVED,
            "app-2 is told: merge-conflicts x",
            "push approved-and-green: PR #2 is ready to merge: Dark mode",
            "app-2: merge y",
            "app-2: workspace removed",
        ],
        ends: End { status: &[Status::Merged, Status::Merged], open: &[] },
    },
    History {
        name: "a human mends it while the message waits",
        script: |p| {
            p.opens("a");
            p.begins_turn();
            p.fails("unit");
            p.minutes(1);
            p.waiting(1);
            p.is_forced_to("b");
            p.waiting(0);
            p.gives_up();
            p.passes();
        },
        deeds: &[READY],
        ends: MERGEABLE,
    },
    History {
        name: "an answer about an older head comes late",
        script: |p| {
            p.opens_red("a");
            p.minutes(3);
            p.pushes("b");
            p.answers_late("a");
            p.passes();
            p.answers_late("a");
            p.minutes(1);
            p.merges("b");
        },
        deeds: &["app-1 is told: ci-failed a unit", READY, "app-1: merge b", REMOVED],
        ends: MERGED,
    },
    History {
        name: "a human sets the branch back",
        script: |p| {
            p.opens_green("a");
            p.minutes(1);
            p.begins_turn();
            p.pushes_red("b");
            p.minutes(3);
            p.gives_up();
            p.is_forced_to("a");
            p.passes();
            p.minutes(5);
            p.passes();
            p.minutes(1);
        },
        deeds: &[READY, "app-1 is told: ci-failed b unit", READY],
        ends: MERGEABLE,
    },
    History {
        name: "Merge is pressed after the head has moved",
        script: |p| {
            p.opens_green("a");
            p.minutes(1);
            p.is_forced_to("b");
            p.merges("a");
            p.minutes(2);
            p.passes();
            p.minutes(1);
            p.merges("b");
        },
        deeds: &[READY, "merge at a is refused", READY, "app-1: merge b", REMOVED],
        ends: MERGED,
    },
];
