//! Who comes in by the web: for how long, and no longer.

use ao_slots::AccessId;
use jiff::SignedDuration;

use super::*;
use crate::{config::policy::Role, event::AccessKind};

const DAY: SignedDuration = SignedDuration::from_hours(24);

fn grant(w: &World, name: &str, lasts: Option<SignedDuration>) -> Box<Grant> {
    Box::new(Grant {
        kind: AccessKind::Browser,
        name: name.to_owned(),
        person: "ana".into(),
        role: Role::Admin,
        until: lasts.map(|lasts| w.now.wall + lasts),
        by: ana(),
    })
}

fn let_in(w: &mut World, name: &str, lasts: Option<SignedDuration>) -> AccessId {
    let grant = grant(w, name, lasts);
    w.give(Input::GrantAccess { grant, hash: format!("hash of {name}") }).unwrap();
    *w.state.access.keys().next_back().unwrap()
}

fn holds(w: &World, id: AccessId) -> bool {
    w.state.access[&id].holds(w.now.wall)
}

#[test]
fn an_access_ends_with_its_time_or_when_it_is_taken_back() {
    let mut w = World::new();
    let (brief, long) = (let_in(&mut w, "Firefox", Some(DAY)), let_in(&mut w, "script", None));
    assert!(holds(&w, brief) && holds(&w, long) && brief != long);
    w.now.wall += DAY;
    assert!(!holds(&w, brief) && holds(&w, long));
    w.give(Input::RevokeAccess { access: long, by: ana() }).unwrap();
    assert!(!holds(&w, long));
    // Twice is once, and what is over stays over whatever a clock says.
    let before = w.state.last_seq;
    w.give(Input::RevokeAccess { access: long, by: ana() }).unwrap();
    w.give(Input::RevokeAccess { access: brief, by: ana() }).unwrap();
    assert_eq!(w.state.last_seq, before);
    w.now.wall -= DAY + DAY;
    assert!(!holds(&w, long));
    let none = w.give(Input::RevokeAccess { access: AccessId(99), by: ana() }).unwrap_err();
    assert_eq!(none.kind, RefusalKind::NotFound);
}

#[test]
fn a_clock_that_is_set_back_lengthens_no_access() {
    let mut w = World::new();
    let year = DAY * 365;
    w.now.wall += year;
    let id = let_in(&mut w, "Firefox", Some(DAY));
    w.now.wall -= year;
    let ahead_ms = i64::try_from(-year.as_millis()).unwrap();
    w.give(Input::ClockJumped { ahead_ms }).unwrap();
    assert!(holds(&w, id));
    w.now.wall += DAY;
    assert!(!holds(&w, id));
}

#[test]
fn what_ended_is_listed_for_a_month_and_its_number_is_given_once() {
    let mut w = World::new();
    let first = let_in(&mut w, "a", Some(DAY));
    w.now.wall += DAY * 30;
    let second = let_in(&mut w, "b", Some(DAY));
    assert!(w.state.access.contains_key(&first));
    w.now.wall += DAY * 32;
    let third = let_in(&mut w, "c", Some(DAY));
    assert_eq!(w.state.access.keys().copied().collect::<Vec<_>>(), [third]);
    assert_eq!([first.0, second.0, third.0], [1, 2, 3]);
}

#[test]
fn an_access_needs_a_name_and_a_time_to_come() {
    let mut w = World::new();
    for (name, lasts) in [(" \u{7}", Some(DAY)), ("x", Some(SignedDuration::ZERO))] {
        let grant = grant(&w, name, lasts);
        let refused = w.give(Input::GrantAccess { grant, hash: "h".into() }).unwrap_err();
        assert_eq!(refused.kind, RefusalKind::Invalid);
    }
    let id = let_in(&mut w, "a\nb\u{1b}[31m", None);
    assert_eq!(w.state.access[&id].name, "a b");
}
