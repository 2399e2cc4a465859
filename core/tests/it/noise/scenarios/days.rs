//! Ordinary work: much happens, and little of it needs anybody.

use ao_core::config::trigger::Trigger;
use ao_slots::{
    SessionId,
    fact::{Checks, Priority::*, Review, RuntimeState},
};

use super::super::sim::{HOUR, MINUTE, SECOND, Sim, permission, question};

/// Five agents for three hours.
pub(super) fn an_ordinary_afternoon(s: &mut Sim) {
    works(s, 5, 3 * HOUR, 45);
}

/// So many agents with pull requests, for so long. Turns end and begin, checks turn red and green, reviewers ask and
/// are answered, somebody is quick in the terminal; and once in
/// `needs` times that something happens an agent truly needs a human.
pub(crate) fn works(s: &mut Sim, count: usize, time: u64, needs: u64) {
    let end = s.now.awake + time;
    for app in s.agents(count) {
        s.pushes(&app);
        s.review(&app, Review::Pending, 0);
        goes_on(s, app, end, needs);
    }
    s.pass(time + 40 * MINUTE);
}

fn goes_on(s: &mut Sim, app: SessionId, end: u64, needs: u64) {
    let wait = s.some(2 * MINUTE..8 * MINUTE);
    s.after(wait, move |s| {
        if s.now.awake > end {
            return;
        }
        let free = s.is_at_work(&app);
        if free && s.some(0..needs) == 0 {
            calls_for_somebody(s, &app);
        } else if free {
            does_something(s, &app);
        }
        goes_on(s, app, end, needs);
    });
}

fn calls_for_somebody(s: &mut Sim, app: &SessionId) {
    match s.some(0..4) {
        0 => {
            s.exits(app, 1);
            s.need(app, Trigger::AgentExited, Urgent);
        }
        1 => {
            s.asks(app, permission());
            s.need(app, Trigger::AgentNeedsInput, Urgent);
        }
        _ => {
            s.asks(app, question());
            s.need(app, Trigger::AgentNeedsInput, Urgent);
        }
    }
}

fn does_something(s: &mut Sim, app: &SessionId) {
    let later = s.some(MINUTE..4 * MINUTE);
    let id = app.clone();
    match s.some(0..6) {
        // A turn ends, and its human says what is next.
        0 | 1 => {
            s.ends_turn(app);
            s.after(later, move |s| {
                if s.agents[&id].runtime == RuntimeState::Alive {
                    s.begins_turn(&id, None);
                }
            });
        }
        // A check fails, and the agent mends it.
        2 | 3 => {
            s.ci(app, Checks::Failing);
            s.after(later, move |s| {
                s.pushes(&id);
                s.after(MINUTE, move |s| s.ci(&id, Checks::Passing));
            });
        }
        4 => {
            s.review(app, Review::ChangesRequested, 1);
            s.after(later, move |s| {
                s.pushes(&id);
                s.review(&id, Review::Pending, 0);
            });
        }
        _ => {
            s.asks(app, permission());
            let quick = s.some(300..1_700).min(2 * SECOND);
            s.after(quick, move |s| s.goes_on(&id));
        }
    }
}
