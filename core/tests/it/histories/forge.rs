//! The forge itself: away, half there, renamed; forks and claims.

use ao_core::{config::trigger::Trigger, state::Status};
use ao_slots::fact::{Checks, Mergeable, PrState};

use super::{History, ends::merge_alone};

const READY: &str = "push approved-and-green: PR #1 is ready to merge: Dark mode";
const AWAY: &str = "push scm-unavailable: GitHub has not answered for 5 min";

pub(super) const ALL: &[History] = &[
    History {
        name: "the forge is away while the agent mends",
        script: |p| {
            p.opens("a");
            p.fails("unit");
            p.minutes(1);
            p.forge_goes_away();
            p.minutes(1);
            p.pushes("b");
            p.minutes(8);
            p.passes();
            p.forge_comes_back();
        },
        deeds: &["app-1 is told: ci-failed a unit", AWAY, READY],
        status: &[Status::Mergeable],
        open: &[Trigger::ApprovedAndGreen],
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
        status: &[Status::Mergeable],
        open: &[Trigger::ApprovedAndGreen],
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
        status: &[Status::Mergeable],
        open: &[Trigger::ApprovedAndGreen],
    },
    History {
        name: "nothing merges by itself while the forge is away",
        script: |p| {
            p.rules(merge_alone);
            p.opens("a");
            p.passes();
            p.seconds(3);
            p.forge_goes_away();
            p.minutes(2);
            p.forge_comes_back();
            p.minutes(1);
        },
        deeds: &["app-1: merge a", "app-1: workspace removed"],
        status: &[Status::Merged],
        open: &[],
    },
    History {
        name: "half an answer is none",
        script: |p| {
            p.opens("a");
            p.fails("unit");
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
        status: &[Status::Mergeable],
        open: &[Trigger::ApprovedAndGreen],
    },
    History {
        name: "the repository is renamed between two tries",
        script: |p| {
            p.opens("a");
            p.fails("unit");
            p.minutes(3);
            p.pushes("b");
            p.fails("unit");
            p.minutes(2);
            p.at_forge(|forge| forge.repo = "acme/shop".into());
            p.pushes("c");
            p.minutes(1);
            p.fails("unit");
        },
        deeds: &[
            "app-1 is told: ci-failed a unit",
            "app-1 is told: ci-failed b unit",
            "push ci-failed: PR #1 still fails after 2 tries by app-1: unit",
        ],
        status: &[Status::CiFailed],
        open: &[Trigger::CiFailed],
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
            "app-1: workspace removed",
        ],
        status: &[Status::Merged],
        open: &[],
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
            p.pushes("b");
            p.passes();
        },
        deeds: &[
            "claim is refused",
            "app-1 is told: ci-failed a unit",
            "push approved-and-green: PR #57 is ready to merge: Dark mode",
        ],
        status: &[Status::Mergeable, Status::Working],
        open: &[Trigger::ApprovedAndGreen],
    },
];
