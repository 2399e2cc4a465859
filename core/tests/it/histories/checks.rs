//! Checks: what goes back to the agent, how often, and when a human hears.

use ao_core::{config::trigger::Trigger, state::Status};
use ao_slots::fact::{Checks, PrState};

use super::{End, FAILING, History, MERGEABLE, MERGED, READY, REMOVED, STILL_FAILS, play::Play};

/// Two tries that do not help.
fn fails_twice_more(p: &mut Play) {
    p.opens_red("a");
    for next in ["b", "c"] {
        p.minutes(3);
        p.pushes(next);
        p.minutes(2);
        p.fails("unit");
    }
    p.minutes(3);
}

pub(super) const ALL: &[History] = &[
    History {
        name: "green at once",
        script: |p| {
            p.opens("a");
            p.minutes(3);
            p.passes();
            p.minutes(1);
            p.merges("a");
        },
        deeds: &[READY, "app-1: merge a", REMOVED],
        ends: MERGED,
    },
    History {
        name: "red once, and mended",
        script: |p| {
            p.opens_red("a");
            p.minutes(3);
            p.pushes("b");
            p.minutes(2);
            p.passes();
        },
        deeds: &["app-1 is told: ci-failed a unit", READY],
        ends: MERGEABLE,
    },
    History {
        name: "two tries do not help",
        script: fails_twice_more,
        deeds: &["app-1 is told: ci-failed a unit", "app-1 is told: ci-failed b unit", STILL_FAILS],
        ends: FAILING,
    },
    History {
        name: "a hint after two tries helps",
        script: |p| {
            fails_twice_more(p);
            p.sends("Look at the fixture.");
            p.minutes(3);
            p.pushes("d");
            p.minutes(2);
            p.passes();
        },
        deeds: &[
            "app-1 is told: ci-failed a unit",
            "app-1 is told: ci-failed b unit",
            STILL_FAILS,
            "app-1 is told: Look at the fixture.",
            READY,
        ],
        ends: MERGEABLE,
    },
    History {
        name: "more fails while it mends, and its push is seen late",
        script: |p| {
            p.opens("a");
            p.fails("lint");
            p.minutes(2);
            p.fails("lint unit");
            p.minutes(1);
            p.waiting(1);
            p.pushes_unseen("b");
            p.minutes(2);
            p.passes();
        },
        deeds: &["app-1 is told: ci-failed a lint", READY],
        ends: MERGEABLE,
    },
    History {
        name: "passes and fails on one head: run again, and it passes",
        script: |p| {
            p.opens_green("a");
            p.seconds(5);
            p.fails("e2e");
            p.minutes(2);
            p.passes();
        },
        deeds: &["app-1: rerun a", READY],
        ends: MERGEABLE,
    },
    History {
        name: "passes and fails on one head: run again, and it fails for good",
        script: |p| {
            p.opens_green("a");
            p.seconds(5);
            p.fails("e2e");
            p.minutes(2);
            p.fails("e2e");
            p.minutes(3);
            p.pushes_green("b");
        },
        deeds: &["app-1: rerun a", "app-1 is told: ci-failed a e2e", READY],
        ends: MERGEABLE,
    },
    History {
        name: "tries are not forgotten while it flaps",
        script: |p| {
            p.opens_red("a");
            p.minutes(3);
            p.pushes_red("b");
            p.minutes(1);
            p.passes();
            p.seconds(5);
            p.fails("unit");
            p.minutes(1);
            p.fails("unit");
            p.minutes(1);
            p.pushes("c");
            p.minutes(2);
            p.fails("unit");
        },
        deeds: &[
            "app-1 is told: ci-failed a unit",
            "app-1 is told: ci-failed b unit",
            "app-1: rerun b",
            STILL_FAILS,
        ],
        ends: FAILING,
    },
    History {
        name: "the same failure run again by a human is no news",
        script: |p| {
            p.opens_red("a");
            p.minutes(1);
            for _ in 0..3 {
                p.runs_checks();
                p.minutes(1);
                p.fails("unit");
                p.minutes(1);
            }
            p.pushes_green("b");
        },
        deeds: &["app-1 is told: ci-failed a unit", READY],
        ends: MERGEABLE,
    },
    History {
        name: "two turns that bring nothing",
        script: |p| {
            p.opens_red("a");
            p.minutes(3);
            p.gives_up();
            p.minutes(3);
            p.gives_up();
            p.minutes(3);
        },
        deeds: &["app-1 is told: ci-failed a unit", "app-1 is told: ci-failed a unit", STILL_FAILS],
        ends: FAILING,
    },
    History {
        name: "mended, and not pushed",
        script: |p| {
            p.opens_red("a");
            p.minutes(3);
            p.forgets_to_push("b");
            p.minutes(15);
            p.pushes_green("b");
        },
        deeds: &["app-1 is told: ci-failed a unit", "app-1 is told: ci-failed a unit", READY],
        ends: MERGEABLE,
    },
    History {
        name: "each try mends one check and breaks another",
        script: |p| {
            p.opens("a");
            for (check, next) in [("unit", "b"), ("lint", "c"), ("docs", "d")] {
                p.fails(check);
                p.minutes(3);
                p.pushes(next);
                p.minutes(4);
            }
            p.passes();
        },
        deeds: &[
            "app-1 is told: ci-failed a unit",
            "app-1 is told: ci-failed b lint",
            "app-1 is told: ci-failed c docs",
            READY,
        ],
        ends: MERGEABLE,
    },
    History {
        name: "two checks fail by turns",
        script: |p| {
            p.opens("a");
            for (check, next) in [("unit", "b"), ("lint", "c"), ("unit", "d"), ("lint", "e")] {
                p.fails(check);
                p.minutes(3);
                p.pushes(next);
                p.minutes(1);
            }
            p.fails("unit");
        },
        deeds: &[
            "app-1 is told: ci-failed a unit",
            "app-1 is told: ci-failed b lint",
            "app-1 is told: ci-failed c unit",
            "app-1 is told: ci-failed d lint",
            STILL_FAILS,
        ],
        ends: FAILING,
    },
    History {
        name: "an optional check fails",
        script: |p| {
            p.opens("a");
            p.forge(|pr| {
                (pr.checks, pr.details.passed, pr.details.checks) = (Checks::Passing, 3, 4);
            });
        },
        deeds: &[READY],
        ends: MERGEABLE,
    },
    History {
        name: "checks that never end",
        script: |p| {
            p.opens("a");
            p.minutes(12 * 60);
        },
        deeds: &["push ci-failed: PR #1: checks have not ended for 2 h"],
        ends: End { status: &[Status::PrOpen], open: &[Trigger::CiFailed] },
    },
    History {
        name: "a draft fails, is mended, and is ready",
        script: |p| {
            p.opens_as("a", PrState::Draft);
            p.fails("unit");
            p.minutes(3);
            p.pushes_green("b");
            p.minutes(10);
            p.stands(PrState::Open);
        },
        deeds: &["app-1 is told: ci-failed a unit", READY],
        ends: MERGEABLE,
    },
    History {
        name: "the agent ends while it is red",
        script: |p| {
            p.opens_red("a");
            p.minutes(1);
            p.exits(1);
            p.minutes(1);
            p.restores();
            p.minutes(3);
            p.pushes_green("b");
        },
        deeds: &[
            "app-1 is told: ci-failed a unit",
            "push agent-exited: app-1 stopped: exited with code 1",
            "app-1 is told: You were interrupted. Go on where you stopped.",
            READY,
        ],
        ends: MERGEABLE,
    },
    History {
        name: "the agent is dead when it turns red",
        script: |p| {
            p.opens("a");
            p.exits(1);
            p.minutes(1);
            p.fails("unit");
            p.minutes(1);
            p.restores();
            p.minutes(3);
            p.pushes_green("b");
        },
        deeds: &[
            "push agent-exited: app-1 stopped: exited with code 1",
            "app-1 is told: ci-failed a unit",
            READY,
        ],
        ends: MERGEABLE,
    },
    History {
        name: "it asks while it mends",
        script: |p| {
            p.opens_red("a");
            p.minutes(1);
            p.asks();
            p.minutes(1);
            p.fails("lint unit");
            p.minutes(1);
            p.waiting(1);
            p.is_answered();
            p.pushes_green("b");
        },
        deeds: &[
            "app-1 is told: ci-failed a unit",
            "push agent-needs-input: app-1 asks: Does the coupon cover shipping?",
            READY,
        ],
        ends: MERGEABLE,
    },
];
