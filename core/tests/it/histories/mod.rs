//! Histories of pull requests: what came of each is told word by word, whenever the server is replaced on the way.
//!
//! Each is played without that, with another server after each step, and with one after a single step. With
//! `AO_HISTORY_SEEDS` set, it is so many seeds and each single step.

mod checks;
mod ends;
mod forge;
mod heads;
mod play;
mod reviews;

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use ao_core::{
    config::{
        policy::{Policy, Reaction, ReactionAction},
        trigger::Trigger,
    },
    state::Status,
};

use play::{Came, Play, Restarts};

/// A script and what has to come of it.
pub(crate) struct History {
    pub(crate) name: &'static str,
    pub(crate) script: fn(&mut Play),
    /// What agents are told, what buzzes, and what is done at the forge: all of it, in this order.
    pub(crate) deeds: &'static [&'static str],
    pub(crate) ends: End,
}

/// How it stands at the end.
pub(crate) struct End {
    /// Of each session.
    pub(crate) status: &'static [Status],
    /// Incidents that still need somebody.
    pub(crate) open: &'static [Trigger],
}

const MERGED: End = End { status: &[Status::Merged], open: &[] };
const MERGEABLE: End = End { status: &[Status::Mergeable], open: &[Trigger::ApprovedAndGreen] };
const COMMENTED: End =
    End { status: &[Status::ChangesRequested], open: &[Trigger::ChangesRequested] };
const FAILING: End = End { status: &[Status::CiFailed], open: &[Trigger::CiFailed] };

// Deeds that many come to.
const READY: &str = "push approved-and-green: PR #1 is ready to merge: Dark mode";
const STILL_FAILS: &str = "push ci-failed: PR #1 still fails after 2 tries by app-1: unit";
const REMOVED: &str = "app-1: workspace removed";

impl History {
    fn play(&self, seed: u64, restarts: Restarts) -> (Came, usize) {
        self.play_by(|_| {}, seed, restarts)
    }

    /// The same where another configuration rules from the first.
    fn play_by(&self, rules: fn(&mut Policy), seed: u64, restarts: Restarts) -> (Came, usize) {
        let mut play = Play::new(seed, restarts);
        play.rules(rules);
        (self.script)(&mut play);
        let steps = play.steps;
        (play.end(), steps)
    }

    fn labelled(&self) -> Came {
        Came {
            deeds: self.deeds.iter().map(ToString::to_string).collect(),
            status: self.ends.status.to_vec(),
            open: self.ends.open.to_vec(),
        }
    }
}

fn all() -> impl Iterator<Item = &'static History> {
    [checks::ALL, reviews::ALL, heads::ALL, forge::ALL, ends::ALL].into_iter().flatten()
}

/// Plays them all, and tells what came otherwise and how many runs it were.
fn judge() -> (Vec<String>, usize) {
    let seeds: Option<u64> =
        std::env::var("AO_HISTORY_SEEDS").ok().and_then(|count| count.parse().ok());
    let jobs: Vec<(&History, u64)> = all()
        .zip(1..)
        .flat_map(|(history, place)| match seeds {
            Some(seeds) => (0..seeds).map(|seed| (history, seed)).collect(),
            None => vec![(history, place)],
        })
        .collect();
    let (next, runs) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let wrong: Mutex<Vec<String>> = Mutex::default();
    let threads = std::thread::available_parallelism().map_or(2, usize::from).min(8);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((history, seed)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let labelled = history.labelled();
                    let check = |restarts| {
                        let (came, steps) = history.play(*seed, restarts);
                        runs.fetch_add(1, Ordering::Relaxed);
                        let wrong_here = came != labelled;
                        if wrong_here {
                            let told = format!("{}, {seed}, {restarts:?}: {came:#?}", history.name);
                            wrong.lock().unwrap().push(told);
                        }
                        (!wrong_here).then_some(steps)
                    };
                    let Some(steps) = check(Restarts::Never) else { continue };
                    check(Restarts::Always);
                    let one = usize::try_from(*seed).unwrap() % steps + 1;
                    let places = if seeds.is_some() { 1..=steps } else { one..=one };
                    for place in places {
                        check(Restarts::After(place));
                    }
                }
            });
        }
    });
    (wrong.into_inner().unwrap(), runs.into_inner())
}

#[test]
fn histories_come_out_as_labelled_wherever_the_server_is_replaced() {
    let (wrong, runs) = judge();
    let pushes = all().flat_map(|history| history.deeds).filter(|deed| deed.starts_with("push "));
    println!("{} histories, {runs} runs, {} pushes", all().count(), pushes.count());
    assert!(wrong.is_empty(), "{} came otherwise:\n{}", wrong.len(), wrong.join("\n"));
    assert!(all().count() >= 30);
}

fn reacts(policy: &mut Policy, trigger: Trigger, change: impl Fn(&mut Reaction)) {
    for project in policy.projects.values_mut() {
        change(project.rules.reactions.get_mut(&trigger).unwrap());
    }
}

fn only_tells(policy: &mut Policy, trigger: Trigger) {
    reacts(policy, trigger, |reaction| reaction.action = ReactionAction::Notify);
}

fn never_escalates(policy: &mut Policy, trigger: Trigger) {
    reacts(policy, trigger, |reaction| reaction.escalate_after_ms = None);
}

/// A label that says anything else is noticed, and so is whatever acts otherwise.
#[test]
fn histories_notice_what_is_not_as_labelled() {
    for history in all().filter(|history| !history.deeds.is_empty()) {
        let labelled = history.labelled();
        let other = |change: fn(&mut Came)| {
            let mut came = labelled.clone();
            change(&mut came);
            assert_ne!(came, labelled, "{}", history.name);
        };
        other(|came| came.deeds.truncate(came.deeds.len() - 1));
        other(|came| came.deeds.push(came.deeds[0].clone()));
        other(|came| came.deeds[0].push('!'));
        other(|came| came.status.clear());
        other(|came| came.open.push(Trigger::AgentIdle));
    }
    type Other = (&'static [History], fn(&mut Policy));
    let others: [Other; 12] = [
        (checks::ALL, |p| only_tells(p, Trigger::CiFailed)),
        (checks::ALL, |p| reacts(p, Trigger::CiFailed, |ci| ci.retries = 1)),
        (checks::ALL, |p| reacts(p, Trigger::CiFailed, |ci| ci.retries = 3)),
        (reviews::ALL, |p| only_tells(p, Trigger::ChangesRequested)),
        (reviews::ALL, |p| only_tells(p, Trigger::BugbotComments)),
        (reviews::ALL, |p| never_escalates(p, Trigger::ChangesRequested)),
        (reviews::ALL, |p| never_escalates(p, Trigger::BugbotComments)),
        (heads::ALL, |p| only_tells(p, Trigger::MergeConflicts)),
        (heads::ALL, |p| never_escalates(p, Trigger::MergeConflicts)),
        (forge::ALL, |p| never_escalates(p, Trigger::ScmUnavailable)),
        (ends::ALL, ends::merge_alone),
        (ends::ALL, |p| p.lifecycle.settle.action_ms = 600_000),
    ];
    for (number, (histories, rules)) in others.into_iter().enumerate() {
        let differs =
            |history: &History| history.play_by(rules, 1, Restarts::Never).0 != history.labelled();
        assert!(histories.iter().any(differs), "nothing notices the other rules {number}");
    }
}
