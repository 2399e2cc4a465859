//! The forge itself: away, half there, renamed; forks and claims.

use ao_core::{config::trigger::Trigger, state::Status};
use ao_slots::fact::{Checks, Mergeable, PrState};

use super::{
    End, FAILING, History, MERGEABLE, MERGED, READY, REMOVED, STILL_FAILS, ends::merge_alone,
};

const AWAY: &str = "push scm-unavailable: GitHub has not answered for 5 min";

pub(super) const ALL: &[History] = &[
    History {
        name: "the forge is away while the agent mends",
        script: |p| {
            p.opens_red("a");
            p.minutes(1);
            p.forge_goes_away();
            p.minutes(1);
            p.pushes("b");
            p.minutes(8);
            p.passes();
            p.forge_comes_back();
        },
        deeds: &["app-1 is told: ci-failed a unit", AWAY, READY],
        ends: MERGEABLE,
    },
    History {
        name: "the forge is away for a moment",
        script: |p| {
            p.opens("a");
            p.mergeable(Mergeable::Conflicting);
            p.minutes(2);
            for _ in 0..5 {
                p.forge_goes_away();
                p.minutes(1);
                p.forge_comes_back();
                p.minutes(1);
            }
            p.rebases("b");
            p.passes();
        },
        deeds: &["app-1 is told: merge-conflicts a", READY],
        ends: MERGEABLE,
    },
    History {
        name: "what a human would have heard of is over when the forge is back",
        script: |p| {
            p.opens("a");
            p.mergeable(Mergeable::Conflicting);
            p.minutes(12);
            p.forge_goes_away();
            p.minutes(3);
            p.rebases("b");
            p.minutes(3);
            p.passes();
            p.forge_comes_back();
        },
        deeds: &["app-1 is told: merge-conflicts a", AWAY, READY],
        ends: MERGEABLE,
    },
    History {
        name: "nothing merges by itself while the forge is away",
        script: |p| {
            p.rules(merge_alone);
            p.opens_green("a");
            p.seconds(3);
            p.forge_goes_away();
            p.minutes(2);
            p.forge_comes_back();
            p.minutes(1);
        },
        deeds: &["app-1: merge a", REMOVED],
        ends: MERGED,
    },
    History {
        name: "half an answer is none",
        script: |p| {
            p.opens_red("a");
            p.minutes(2);
            p.at_forge(|forge| forge.partial = true);
            p.pushes("b");
            p.minutes(3);
            p.at_forge(|forge| forge.partial = false);
            p.forge(|pr| (pr.checks, pr.mergeable) = (Checks::Unknown, Mergeable::Unknown));
            p.minutes(30);
            p.fails("unit");
            p.minutes(2);
            p.forge(|pr| pr.checks = Checks::Unknown);
            p.minutes(2);
            p.fails("unit");
            p.pushes("c");
            p.forge(|pr| (pr.checks, pr.mergeable) = (Checks::Passing, Mergeable::Unknown));
            p.minutes(2);
            p.mergeable(Mergeable::Yes);
        },
        deeds: &["app-1 is told: ci-failed a unit", "app-1 is told: ci-failed b unit", READY],
        ends: MERGEABLE,
    },
    History {
        name: "the repository is renamed between two tries",
        script: |p| {
            p.opens_red("a");
            p.minutes(3);
            p.pushes_red("b");
            p.minutes(2);
            p.at_forge(|forge| forge.repo = "acme/shop".into());
            p.pushes("c");
            p.minutes(1);
            p.fails("unit");
        },
        deeds: &["app-1 is told: ci-failed a unit", "app-1 is told: ci-failed b unit", STILL_FAILS],
        ends: FAILING,
    },
    History {
        name: "a stranger's fork is claimed: its words wait, and it does not merge by itself",
        script: |p| {
            p.rules(merge_alone);
            p.strangers_write("eve");
            p.claims(57);
            p.gives_up();
            p.forge(|pr| {
                (pr.state, pr.head, pr.checks) = (PrState::Open, "a".into(), Checks::Pending)
            });
            p.comments(1, "1");
            p.minutes(2);
            p.releases(Trigger::ChangesRequested);
            p.minutes(3);
            p.pushes("b");
            p.resolves();
            p.passes();
            p.minutes(2);
            p.merges("b");
        },
        deeds: &[
            "push changes-requested: PR #57: 1 review comment open, held back",
            "app-1 is told: changes-requested 1 1",
            "push approved-and-green: PR #57 is ready to merge: Dark mode",
            "app-1: merge b",
            REMOVED,
        ],
        ends: MERGED,
    },
    History {
        name: "a pull request has one owner",
        script: |p| {
            p.claims(57);
            p.gives_up();
            p.forge(|pr| (pr.state, pr.head) = (PrState::Open, "a".into()));
            p.another();
            p.claims(57);
            p.of(1);
            p.fails("unit");
            p.minutes(2);
            p.pushes_green("b");
        },
        deeds: &[
            "claim is refused",
            "app-1 is told: ci-failed a unit",
            "push approved-and-green: PR #57 is ready to merge: Dark mode",
        ],
        ends: End {
            status: &[Status::Mergeable, Status::Working],
            open: &[Trigger::ApprovedAndGreen],
        },
    },
];
