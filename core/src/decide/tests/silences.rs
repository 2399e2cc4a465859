//! What a human does not want to hear of: not told, counted, and told when it ends and still stands.

use ao_slots::{SilenceId, fact::Priority};
use jiff::SignedDuration;

use super::*;
use crate::{event::Held, state::Matchers};

fn silence(w: &World, matchers: Matchers, minutes: i64) -> Input {
    let until = w.now.wall + SignedDuration::from_mins(minutes);
    Input::SilenceAdd { matchers, until, comment: "a spike".into(), by: ana() }
}

fn of_session(session: &str) -> Matchers {
    Matchers { session: Some(session.into()), ..Matchers::default() }
}

#[test]
fn f9_what_is_silenced_is_not_told_counted_and_told_when_it_ends_and_still_stands() {
    let mut w = World::working("41");
    let made = w.give(silence(&w, of_session("app-*"), 60)).unwrap();
    assert_eq!(made.silence, Some(SilenceId(1)));
    w.tell(1, [asked("k1", question("A?"))]);
    w.after(2 * SECOND, &["holds i-1: app-1 asks: A?"]);
    w.after(57 * MINUTE, &[]);
    assert_eq!(w.state.silences[&SilenceId(1)].held, 1);
    let (held, _) = w.state.incidents.values().next().unwrap().held.clone().unwrap();
    assert_eq!(held, Held::Silence { silence: SilenceId(1) });
    w.after(3 * MINUTE, &["push: app-1 asks: A?"]);
    w.after(8 * MINUTE, &[]);
}

#[test]
fn what_ended_under_a_silence_is_never_told() {
    let mut w = World::working("41");
    w.give(silence(&w, of_session("app-1"), 60)).unwrap();
    w.tell(1, [asked("k1", question("A?"))]);
    w.pass(MINUTE);
    w.give(answer(1, "1")).unwrap();
    w.tell(1, [Told::ToolEnded { request: Some("k1".into()) }, turn_ended("t1")]);
    w.look(1, work(0, 0));
    w.give(kill(1)).unwrap();
    w.pass(2 * 60 * MINUTE);
    assert_eq!(w.pushes(), [""; 0]);
}

#[test]
fn a_silence_that_is_ended_tells_at_once_what_stands() {
    let mut w = World::working("41");
    w.give(silence(&w, of_session("app-1"), 60)).unwrap();
    w.tell(1, [asked("k1", question("A?"))]);
    w.pass(MINUTE);
    let end = Input::SilenceEnd { silence: SilenceId(1), by: ana() };
    w.check(end.clone(), &["push: app-1 asks: A?"]);
    w.check(end, &[]);
    w.refused(Input::SilenceEnd { silence: SilenceId(7), by: ana() }, "there is no silence s-7");
}

#[test]
fn of_two_silences_the_later_counts_and_each_counts_what_it_held() {
    let mut w = World::working("41");
    w.give(silence(&w, of_session("app-1"), 10)).unwrap();
    w.tell(1, [asked("k1", question("A?"))]);
    w.pass(5 * MINUTE);
    w.give(silence(&w, of_session("app-1"), 30)).unwrap();
    w.after(29 * MINUTE, &["holds i-1: app-1 asks: A?"]);
    w.after(MINUTE, &["push: app-1 asks: A?"]);
    let held: Vec<_> = w.state.silences.values().map(|silence| silence.held).collect();
    assert_eq!(held, [1, 1]);
}

#[test]
fn only_what_matches_in_all_is_silenced() {
    let some = |change: fn(&mut Matchers)| {
        let mut matchers = of_session("app-1");
        change(&mut matchers);
        matchers
    };
    for (matchers, silenced) in [
        (some(|m| m.priority = Some(Priority::Urgent)), true),
        (some(|m| m.priority = Some(Priority::Action)), false),
        (some(|m| m.project = Some("my-app".parse().unwrap())), true),
        (some(|m| m.project = Some("api".parse().unwrap())), false),
        (some(|m| m.trigger = Some(Trigger::AgentNeedsInput)), true),
        (some(|m| m.trigger = Some(Trigger::AgentStuck)), false),
        (some(|m| m.incident = Some("i-1".parse().unwrap())), true),
        (some(|m| m.session = Some("app-2".into())), false),
    ] {
        let mut w = World::working("41");
        w.give(silence(&w, matchers.clone(), 60)).unwrap();
        w.tell(1, [asked("k1", question("A?"))]);
        w.pass(MINUTE);
        assert_eq!(w.pushes().is_empty(), silenced, "{matchers:?}");
    }
}

#[test]
fn a_silence_needs_something_to_match_and_an_end_in_sight() {
    let mut w = World::new();
    let add = |w: &World, minutes| silence(w, of_session("app-1"), minutes);
    let nothing = silence(&w, Matchers::default(), 60);
    w.refused(nothing, "a silence needs something to match");
    let (past, ever) = (add(&w, 0), add(&w, 60 * 24 * 400));
    w.refused(past, "that time has passed");
    w.refused(ever, "a silence lasts 366 days at most");
    let (key, act) = ("k".to_owned(), Box::new(add(&w, 60)));
    let once = Input::Once { key, act };
    let first = w.give(once.clone()).unwrap().silence;
    assert_eq!((first, w.give(once).unwrap().silence), (Some(SilenceId(1)), Some(SilenceId(1))));
}

#[test]
fn a_silence_outlives_a_restart() {
    let mut w = World::working("41");
    w.give(silence(&w, of_session("app-1"), 60)).unwrap();
    w.tell(1, [asked("k1", question("A?"))]);
    w.pass(MINUTE);
    let json = serde_json::to_string(&w.state).unwrap();
    w.state = serde_json::from_str(&json).unwrap();
    w.state.reindex();
    w.start("boot-1");
    w.give(Input::Swept { sessions: 1 }).unwrap();
    w.after(58 * MINUTE, &[]);
    w.after(MINUTE, &["push: app-1 asks: A?"]);
}
