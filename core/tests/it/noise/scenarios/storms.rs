//! One cause, many agents.

use ao_core::config::trigger::Trigger;
use ao_core::decide::{Input, Told};
use ao_slots::{
    ErrorKind,
    fact::{AgentErrorKind, Checks, PrState, Priority::*, Review, RuntimeState},
};
use jiff::SignedDuration;

use super::super::sim::{HOUR, MINUTE, SECOND, Sim, work};

/// The machine's memory is gone, and with it every agent within some seconds.
pub(super) fn twenty_exit(s: &mut Sim) {
    let apps = s.agents(20);
    s.need_of(&apps, Trigger::AgentExited, Urgent);
    for app in apps {
        let wait = s.some(0..1_500);
        s.after(wait, move |s| s.exits(&app, 137));
    }
    s.pass(HOUR);
}

/// The provider is down for everybody.
pub(super) fn twenty_errors(s: &mut Sim) {
    let apps = s.agents(20);
    s.need_of(&apps, Trigger::AgentErrored, Urgent);
    for app in apps {
        let wait = s.some(0..1_500);
        s.after(wait, move |s| {
            s.fails(&app, AgentErrorKind::ProviderDown, "529 overloaded");
        });
    }
    s.pass(HOUR);
}

/// A new version asks every agent the same.
pub(super) fn twenty_dialogs(s: &mut Sim) {
    let apps = s.agents(20);
    s.need_of(&apps, Trigger::AgentNeedsInput, Urgent);
    for app in apps {
        let wait = s.some(0..1_500);
        s.after(wait, move |s| s.shows_dialog(&app, "A new version is available"));
    }
    s.pass(HOUR);
}

pub(super) fn tmux_dies_and_all_come_back(s: &mut Sim) {
    let apps = s.agents(20);
    s.tmux_dies(&apps);
    s.pass(HOUR);
    let back = |id| s.agents[id].runtime == RuntimeState::Alive;
    assert!(apps.iter().all(back), "the scenario means them to come back");
}

pub(super) fn tmux_dies_and_some_stay_away(s: &mut Sim) {
    let apps = s.agents(12);
    let gone: Vec<_> = apps.iter().filter(|id| id.number() % 4 == 0).cloned().collect();
    for id in &gone {
        s.agents.get_mut(id).unwrap().restores = Err(ErrorKind::Permanent);
    }
    s.tmux_dies(&apps);
    // Those that failed are known when the last of the others is back.
    s.need_of(&gone, Trigger::RuntimeLost, Urgent).within = 2 * MINUTE;
    s.pass(HOUR);
}

/// The runtime does not answer for some minutes: nothing is known, nobody is dead.
pub(super) fn tmux_does_not_answer(s: &mut Sim) {
    let apps = s.agents(10);
    for _ in 0..3 {
        s.ends(&apps, RuntimeState::Unknown, false);
        let wait = s.some(MINUTE..8 * MINUTE);
        s.pass(wait);
        s.ends(&apps, RuntimeState::Alive, false);
        s.pass(2 * MINUTE);
    }
}

fn runs_out_of_quota(s: &mut Sim, apps: &[ao_slots::SessionId], minutes: i64) {
    let until = Some(s.now.wall + SignedDuration::from_mins(minutes));
    for app in apps {
        let (app, wait) = (app.clone(), s.some(0..20 * SECOND));
        s.after(wait, move |s| {
            s.hangs(&app);
            s.tell(&app, [Told::RateLimited { until }]);
        });
    }
}

/// The quota is back in ten minutes, and all go on by themselves.
pub(super) fn quota_is_short(s: &mut Sim) {
    let apps = s.agents(20);
    runs_out_of_quota(s, &apps, 10);
    s.pass(HOUR);
}

/// It is gone for three hours.
pub(super) fn quota_is_gone(s: &mut Sim) {
    let apps = s.agents(20);
    s.need_of(&apps, Trigger::RateLimited, Warning).within = 2 * MINUTE;
    runs_out_of_quota(s, &apps, 180);
    s.pass(4 * HOUR);
    for app in &apps {
        s.over(app, Trigger::RateLimited);
    }
    s.pass(30 * MINUTE);
}

/// Twenty agents of one round, each done by its own word: one summary.
pub(super) fn round_of_twenty(s: &mut Sim) {
    super::agents::without_forge(s);
    let apps = s.spawns(20);
    for app in apps {
        let wait = s.some(5 * MINUTE..25 * MINUTE);
        s.after(wait, move |s| {
            s.claims_done(&app);
            s.ends_turn(&app);
            s.look(&app, work(1, 0));
        });
    }
    s.pass(HOUR);
}

/// A round in a repository that nobody has trusted yet: each agent shows the same dialog.
pub(super) fn round_meets_a_trust_dialog(s: &mut Sim) {
    let apps = s.spawns(20);
    s.need_of(&apps, Trigger::AgentNeedsInput, Urgent);
    for app in &apps {
        s.shows_dialog(app, "Do you trust the files in this folder?");
    }
    s.pass(25 * MINUTE);
    for app in &apps {
        s.pushes(app);
    }
    s.pass(30 * MINUTE);
}

/// The job that all have in common breaks on the main branch.
pub(super) fn one_job_fails_everywhere(s: &mut Sim) {
    let apps = s.agents(20);
    for app in &apps {
        // Not reviewed yet: a merge of one that is ready would be a need of its own.
        s.pr(app, |pr| (pr.state, pr.checks) = (PrState::Open, Checks::Passing));
        s.review(app, Review::Pending, 0);
    }
    s.pass(10 * MINUTE);
    for app in &apps {
        let (app, wait) = (app.clone(), s.some(0..20 * SECOND));
        s.after(wait, move |s| s.ci(&app, Checks::Failing));
    }
    s.pass(15 * MINUTE);
    for app in &apps {
        s.pushes(app);
        s.ci(app, Checks::Passing);
    }
    s.pass(30 * MINUTE);
}

/// The disk fills up, and is cleaned.
pub(super) fn disk_is_low(s: &mut Sim) {
    s.agents(3);
    s.need_of(&[], Trigger::DiskLow, Action);
    s.give(Input::Disk { free: 500 << 20, failing: false });
    s.pass(HOUR);
}

/// Free space goes up and down around the limit.
pub(super) fn disk_flaps(s: &mut Sim) {
    s.agents(3);
    for _ in 0..20 {
        s.give(Input::Disk { free: (1 << 30) - 1, failing: false });
        let wait = s.some(SECOND..12 * SECOND);
        s.pass(wait);
        s.give(Input::Disk { free: 2 << 30, failing: false });
        s.pass(30 * SECOND);
    }
}

/// Nothing can be written any more.
pub(super) fn disk_is_full(s: &mut Sim) {
    s.agents(3);
    s.need_of(&[], Trigger::DiskLow, Urgent);
    s.give(Input::Disk { free: 0, failing: true });
    s.pass(HOUR);
}
