//! How it ends: merged by whom, closed, opened again; and what is left of the session.

use ao_core::{
    config::{
        policy::{Policy, ReactionAction},
        trigger::Trigger,
    },
    state::Status,
};
use ao_slots::fact::{PrState, Review};

use super::{End, History, MERGEABLE, MERGED, READY, REMOVED};

const CLOSED: &str = "push pr-closed: PR #1 was closed without a merge";

/// `ao` merges by itself.
pub(super) fn merge_alone(policy: &mut Policy) {
    for project in policy.projects.values_mut() {
        let reaction = project.rules.reactions.get_mut(&Trigger::ApprovedAndGreen).unwrap();
        (reaction.auto, reaction.action) = (true, ReactionAction::AutoMerge);
    }
}

pub(super) const ALL: &[History] = &[
    History {
        name: "it merges by itself",
        script: |p| {
            p.rules(merge_alone);
            p.opens("a");
            p.minutes(2);
            p.passes();
        },
        deeds: &["app-1: merge a", REMOVED],
        ends: MERGED,
    },
    History {
        name: "it does not merge by itself after words of others",
        script: |p| {
            p.rules(merge_alone);
            p.opens_red("a");
            p.minutes(2);
            p.pushes_green("b");
            p.minutes(10);
            p.merges("b");
        },
        deeds: &["app-1 is told: ci-failed a unit", READY, "app-1: merge b", REMOVED],
        ends: MERGED,
    },
    History {
        name: "it merges by itself once a human has approved what came of words of others",
        script: |p| {
            p.rules(merge_alone);
            p.opens_red("a");
            p.minutes(2);
            p.pushes("b");
            p.sends("Name it better.");
            p.minutes(2);
            p.pushes_green("c");
            p.minutes(2);
            p.forge(|pr| {
                (pr.review, pr.details.head_approved) = (Review::Approved, true);
            });
        },
        deeds: &[
            "app-1 is told: ci-failed a unit",
            "app-1 is told: Name it better.",
            READY,
            "app-1: merge c",
            REMOVED,
        ],
        ends: MERGED,
    },
    History {
        name: "the forge refuses the merge that nobody pressed",
        script: |p| {
            p.rules(merge_alone);
            p.opens("a");
            p.at_forge(|forge| forge.locked = true);
            p.passes();
            p.minutes(5);
            p.at_forge(|forge| forge.locked = false);
            p.merges("a");
        },
        deeds: &[
            "app-1: merge of a refused: the branch is protected",
            READY,
            "app-1: merge a",
            REMOVED,
        ],
        ends: MERGED,
    },
    History {
        name: "somebody merges at the forge at once",
        script: |p| {
            p.opens_green("a");
            p.seconds(5);
            p.stands(PrState::Merged);
        },
        deeds: &[REMOVED],
        ends: MERGED,
    },
    History {
        name: "somebody merges at the forge what is red and commented",
        script: |p| {
            p.opens("a");
            p.begins_turn();
            p.fails("unit");
            p.comments(2, "1");
            p.minutes(2);
            p.stands(PrState::Merged);
        },
        deeds: &[REMOVED],
        ends: MERGED,
    },
    History {
        name: "merged, and files are left in its workspace",
        script: |p| {
            p.leaves_files();
            p.opens_green("a");
            p.minutes(1);
            p.merges("a");
        },
        deeds: &[READY, "app-1: merge a", "app-1: workspace kept"],
        ends: MERGED,
    },
    History {
        name: "closed without a merge",
        script: |p| {
            p.opens("a");
            p.begins_turn();
            p.fails("unit");
            p.stands(PrState::Closed);
            p.waiting(0);
            p.gives_up();
            p.minutes(40);
            p.kills();
        },
        // The second reminds of it.
        deeds: &[CLOSED, CLOSED, REMOVED],
        ends: End { status: &[Status::Killed], open: &[] },
    },
    History {
        name: "closed, and opened again",
        script: |p| {
            p.opens_red("a");
            p.minutes(2);
            p.stands(PrState::Closed);
            p.minutes(5);
            p.stands(PrState::Open);
            p.minutes(1);
            p.pushes_green("b");
        },
        deeds: &["app-1 is told: ci-failed a unit", CLOSED, READY],
        ends: MERGEABLE,
    },
    History {
        name: "Merge is pressed twice",
        script: |p| {
            p.opens_green("a");
            p.minutes(1);
            p.merges_twice("a");
        },
        deeds: &[READY, "app-1: merge a", REMOVED],
        ends: MERGED,
    },
];
