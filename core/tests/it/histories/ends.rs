//! How it ends: merged by whom, closed, opened again; and what is left of the session.

use ao_core::{
    config::{
        policy::{Policy, ReactionAction},
        trigger::Trigger,
    },
    state::Status,
};
use ao_slots::fact::PrState;

use super::History;

const READY: &str = "push approved-and-green: PR #1 is ready to merge: Dark mode";

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
        deeds: &["app-1: merge a", "app-1: workspace removed"],
        status: &[Status::Merged],
        open: &[],
    },
    History {
        name: "it does not merge by itself after words of others",
        script: |p| {
            p.rules(merge_alone);
            p.opens("a");
            p.fails("unit");
            p.minutes(2);
            p.pushes("b");
            p.passes();
            p.minutes(10);
            p.merges("b");
        },
        deeds: &[
            "app-1 is told: ci-failed a unit",
            READY,
            "app-1: merge b",
            "app-1: workspace removed",
        ],
        status: &[Status::Merged],
        open: &[],
    },
    History {
        name: "it merges by itself again once a human has looked",
        script: |p| {
            p.rules(merge_alone);
            p.opens("a");
            p.fails("unit");
            p.minutes(2);
            p.pushes("b");
            p.sends("Name it better.");
            p.minutes(2);
            p.pushes("c");
            p.passes();
        },
        deeds: &[
            "app-1 is told: ci-failed a unit",
            "app-1 is told: Name it better.",
            "app-1: merge c",
            "app-1: workspace removed",
        ],
        status: &[Status::Merged],
        open: &[],
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
            "app-1: workspace removed",
        ],
        status: &[Status::Merged],
        open: &[],
    },
    History {
        name: "somebody merges at the forge at once",
        script: |p| {
            p.opens("a");
            p.passes();
            p.seconds(5);
            p.stands(PrState::Merged);
        },
        deeds: &["app-1: workspace removed"],
        status: &[Status::Merged],
        open: &[],
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
        deeds: &["app-1: workspace removed"],
        status: &[Status::Merged],
        open: &[],
    },
    History {
        name: "merged, and files are left in its workspace",
        script: |p| {
            p.leaves_files();
            p.opens("a");
            p.passes();
            p.minutes(1);
            p.merges("a");
        },
        deeds: &[READY, "app-1: merge a", "app-1: workspace kept"],
        status: &[Status::Merged],
        open: &[],
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
        deeds: &[
            "push pr-closed: PR #1 was closed without a merge",
            "push pr-closed: PR #1 was closed without a merge",
            "app-1: workspace removed",
        ],
        status: &[Status::Killed],
        open: &[],
    },
    History {
        name: "closed, and opened again",
        script: |p| {
            p.opens("a");
            p.fails("unit");
            p.minutes(2);
            p.stands(PrState::Closed);
            p.minutes(5);
            p.stands(PrState::Open);
            p.minutes(1);
            p.pushes("b");
            p.passes();
        },
        deeds: &[
            "app-1 is told: ci-failed a unit",
            "push pr-closed: PR #1 was closed without a merge",
            READY,
        ],
        status: &[Status::Mergeable],
        open: &[Trigger::ApprovedAndGreen],
    },
    History {
        name: "Merge is pressed twice",
        script: |p| {
            p.opens("a");
            p.passes();
            p.minutes(1);
            p.merges_twice("a");
        },
        deeds: &[READY, "app-1: merge a", "app-1: workspace removed"],
        status: &[Status::Merged],
        open: &[],
    },
];
