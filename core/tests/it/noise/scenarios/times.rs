//! Servers that die, clocks that jump, nights, and people who take their time.

use ao_core::{config::trigger::Trigger, decide::Input, event::Text, state::Matchers};
use ao_slots::{SessionId, fact::Priority::*};
use jiff::SignedDuration;

use super::super::{
    channels::Mood,
    people::Habit,
    sim::{HOUR, MINUTE, SECOND, Sim, ana, question},
};

/// The server is killed again and again while an agent waits.
pub(super) fn server_dies_ten_times(s: &mut Sim) {
    let apps = s.agents(5);
    s.asks(&apps[0], question());
    s.need(&apps[0], Trigger::AgentNeedsInput, Urgent);
    s.people.ana().habit = Habit::Late;
    // It is told before the first death: what a dead server cannot say is no rule's fault.
    s.pass(3 * SECOND);
    for _ in 0..10 {
        let (lives, stays_away) = (s.some(50..40 * SECOND), s.some(SECOND..20 * SECOND));
        s.pass(lives);
        s.server_dies();
        s.pass(stays_away);
        s.server_starts();
    }
    s.pass(HOUR);
}

/// An agent asks while nobody serves, half an hour before the server is back.
pub(super) fn asked_while_the_server_was_away(s: &mut Sim) {
    let apps = s.agents(3);
    s.server_dies();
    let wait = s.some(MINUTE..10 * MINUTE);
    s.pass(wait);
    s.asks(&apps[0], question());
    s.pass(30 * MINUTE);
    s.server_starts();
    // From the server's return on: a sweep, then the settle time.
    s.need(&apps[0], Trigger::AgentNeedsInput, Urgent);
    s.judge.allowed.insert(Trigger::ServerWasAway);
    s.pass(HOUR);
}

/// The lid is closed for a night, with nothing open.
pub(super) fn machine_sleeps(s: &mut Sim) {
    let apps = s.agents(5);
    s.machine_sleeps(8 * HOUR);
    s.pass(20 * MINUTE);
    s.machine_sleeps(10 * MINUTE);
    s.pass(5 * MINUTE);
    assert!(!s.state.sessions[&apps[0]].is_over());
}

/// The lid is closed right after a question: once it is open again it is told, once.
pub(super) fn machine_sleeps_on_a_question(s: &mut Sim) {
    let app = s.agent();
    s.asks(&app, question());
    let quick = s.some(0..1_900);
    s.pass(quick);
    s.machine_sleeps(8 * HOUR);
    s.need(&app, Trigger::AgentNeedsInput, Urgent);
    s.pass(HOUR);
}

/// The clock is set by hours, years and back, with an agent at work and one that hangs.
pub(super) fn clock_is_set(s: &mut Sim) {
    let apps = s.agents(2);
    let hour = 3_600_000_i64;
    for by in [hour, -hour, 10 * 365 * 24 * hour, -10 * 365 * 24 * hour, 8 * hour, -8 * hour] {
        s.clock_jumps(by);
        let wait = s.some(MINUTE..4 * MINUTE);
        s.pass(wait);
    }
    s.asks(&apps[0], question());
    s.need(&apps[0], Trigger::AgentNeedsInput, Urgent);
    s.clock_jumps(hour);
    s.pass(30 * MINUTE);
}

/// Nobody says anything for a quarter of an hour.
pub(super) fn human_is_late(s: &mut Sim) {
    s.people.ana().habit = Habit::Late;
    let app = s.agent();
    s.asks(&app, question());
    s.need(&app, Trigger::AgentNeedsInput, Urgent);
    s.pass(2 * HOUR);
}

/// Nobody ever does.
pub(super) fn human_never_answers(s: &mut Sim) {
    s.people.ana().habit = Habit::Never;
    let app = s.agent();
    s.asks(&app, question());
    s.need(&app, Trigger::AgentNeedsInput, Urgent);
    s.pass(8 * HOUR);
}

/// Not now, in an hour.
pub(super) fn human_snoozes(s: &mut Sim) {
    s.people.ana().habit = Habit::Snoozes;
    let app = s.agent();
    s.asks(&app, question());
    s.need(&app, Trigger::AgentNeedsInput, Urgent);
    s.pass(3 * HOUR);
}

/// The chat is down when it matters: the others carry it.
pub(super) fn chat_is_down(s: &mut Sim) {
    let app = s.agent();
    s.channels.is("slack", Mood::Down);
    s.judge.allowed.insert(Trigger::ChannelFailing);
    s.asks(&app, question());
    s.need(&app, Trigger::AgentNeedsInput, Urgent);
    s.pass(10 * MINUTE);
    s.channels.is("slack", Mood::Well);
    s.pass(20 * MINUTE);
}

/// The chat asks to be left alone for half a minute, again and again.
pub(super) fn chat_asks_for_rest(s: &mut Sim) {
    let apps = s.agents(6);
    s.channels.is("slack", Mood::Busy(30_000));
    s.judge.allowed.insert(Trigger::ChannelFailing);
    for app in &apps {
        s.asks(app, question());
        s.need(app, Trigger::AgentNeedsInput, Urgent);
        let wait = s.some(10 * SECOND..50 * SECOND);
        s.pass(wait);
    }
    s.channels.is("slack", Mood::Well);
    s.pass(30 * MINUTE);
}

/// The chat takes four seconds for each message.
pub(super) fn chat_is_slow(s: &mut Sim) {
    let apps = s.agents(8);
    s.channels.is("slack", Mood::Slow(4_000));
    for app in &apps {
        s.asks(app, question());
        s.need(app, Trigger::AgentNeedsInput, Urgent);
        let wait = s.some(SECOND..10 * SECOND);
        s.pass(wait);
    }
    s.pass(30 * MINUTE);
}

/// It takes messages and never says so: nothing is shown twice where that can be known.
pub(super) fn chat_does_not_answer(s: &mut Sim) {
    let app = s.agent();
    s.channels.is("slack", Mood::Mute);
    s.judge.allowed.insert(Trigger::ChannelFailing);
    s.asks(&app, question());
    s.need(&app, Trigger::AgentNeedsInput, Urgent);
    s.pass(30 * MINUTE);
}

/// Its token was withdrawn.
pub(super) fn chat_is_locked(s: &mut Sim) {
    let apps = s.agents(2);
    s.channels.is("slack", Mood::Locked);
    s.judge.allowed.insert(Trigger::ChannelFailing);
    for app in &apps {
        s.asks(app, question());
        s.need(app, Trigger::AgentNeedsInput, Urgent);
        s.pass(15 * MINUTE);
    }
    s.pass(30 * MINUTE);
}

/// A file is saved three times before it is right.
pub(super) fn config_is_refused(s: &mut Sim) {
    s.agents(2);
    s.need_of(&[], Trigger::ConfigRefused, Warning);
    for n in 0..3 {
        let file = "ao.yaml".into();
        let reason = Text::short(&format!("line {n}: unknown key"));
        s.give(Input::ConfigRefused { file, reason, untrusted: false });
        let wait = s.some(5 * SECOND..15 * SECOND);
        s.pass(wait);
    }
    s.pass(30 * MINUTE);
}

/// It is right again before anybody could look.
pub(super) fn config_is_mended_at_once(s: &mut Sim) {
    s.agents(2);
    for _ in 0..3 {
        let (file, reason) = ("ao.yaml".to_owned(), Text::short("line 3: unknown key"));
        s.give(Input::ConfigRefused { file: file.clone(), reason, untrusted: false });
        let wait = s.some(5 * SECOND..50 * SECOND);
        s.pass(wait);
        s.give(Input::ConfigAccepted { file });
        s.pass(2 * MINUTE);
    }
}

pub(super) fn own_files_are_changed(s: &mut Sim) {
    s.agents(2);
    s.need_of(&[], Trigger::Tampered, Urgent);
    s.give(Input::Tampered { path: "/data/run/ao".into(), kept: None });
    s.pass(30 * MINUTE);
}

/// One session is silenced for an hour. What it needs then, and still does after that, is told at its end.
pub(super) fn silenced_and_still_there(s: &mut Sim) {
    let apps = s.agents(2);
    silence(s, &apps[0], 60);
    let wait = s.some(MINUTE..40 * MINUTE);
    s.pass(wait);
    s.asks(&apps[0], question());
    s.need_in(HOUR - wait, &apps[0], Trigger::AgentNeedsInput, Urgent);
    // The other one is not meant.
    s.asks(&apps[1], question());
    s.need(&apps[1], Trigger::AgentNeedsInput, Urgent);
    s.pass(2 * HOUR);
}

/// What is over before that is never told.
pub(super) fn silenced_and_over(s: &mut Sim) {
    let app = s.agent();
    silence(s, &app, 60);
    for _ in 0..5 {
        s.pass(5 * MINUTE);
        s.asks(&app, question());
        let wait = s.some(10 * SECOND..4 * MINUTE);
        s.pass(wait);
        s.goes_on(&app);
    }
    s.pass(HOUR);
}

fn silence(s: &mut Sim, app: &SessionId, minutes: i64) {
    let until = s.now.wall + SignedDuration::from_mins(minutes);
    let (matchers, comment) = (Matchers::session(app), "a demonstration".into());
    s.give(Input::SilenceAdd { matchers, until, comment, by: ana() });
}
