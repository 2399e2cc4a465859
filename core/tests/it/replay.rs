//! A journal decided anew, by its own and by another configuration.

use std::collections::BTreeMap;

use ao_core::{
    config::{
        policy::{Policy, Rules},
        trigger::Trigger,
    },
    decide::replay::{Call, Compared, Replay},
    event::{Event, Kind},
    slots::fact::Priority,
};

const DEMO: &str = include_str!("../golden/demo-1.jsonl");

fn events() -> Vec<Event> {
    DEMO.lines().map(|line| Event::decode(line.as_bytes()).unwrap()).collect()
}

fn ruled(events: &[Event]) -> Policy {
    let applied = events.iter().rev().find_map(|event| match &event.kind {
        Kind::ConfigApplied(e) => Some(Policy::clone(&e.policy)),
        _ => None,
    });
    applied.unwrap()
}

fn replayed(events: &[Event], policy: Policy) -> Compared {
    let mut replay = Replay::new(policy, BTreeMap::new());
    events.iter().for_each(|event| replay.event(event));
    replay.finish()
}

/// What does not hang on how long a provider took, and which words a version has for it.
fn told(calls: &[Call]) -> Vec<String> {
    calls.iter().map(|call| format!("{} {} {:?}", call.kind, call.subject, call.channels)).collect()
}

#[test]
fn a_journal_under_its_own_configuration_calls_as_it_did() {
    let events = events();
    let compared = replayed(&events, ruled(&events));
    assert_eq!(compared.old.len(), 5);
    assert_eq!(told(&compared.new), told(&compared.old));
    for (old, new) in compared.old.iter().zip(&compared.new) {
        let apart = old.at.duration_since(new.at).abs().as_millis();
        assert!(apart <= 1_000, "{old:?} {new:?}");
    }
    assert_eq!(replayed(&events, ruled(&events)), compared);
}

#[test]
fn another_configuration_calls_otherwise() {
    let events = events();
    let mut policy = ruled(&events);
    let rules = policy.projects.values_mut().map(|project| &mut project.rules);
    for rules in rules.chain([&mut policy.rules]) {
        let Rules { reactions, .. } = rules;
        let stuck = reactions.get_mut(&Trigger::AgentStuck).unwrap();
        stuck.threshold_ms = Some(3_600_000);
        stuck.command_threshold_ms = Some(3_600_000);
    }
    let compared = replayed(&events, policy);
    let stuck = |calls: &[Call]| calls.iter().filter(|call| call.kind == "agent-stuck").count();
    assert_eq!((stuck(&compared.old), stuck(&compared.new)), (1, 0), "{:?}", told(&compared.new));
    // What it says for all goes for a project that it does not name too.
    let mut other = ruled(&events);
    other.projects.clear();
    other.rules.reactions.get_mut(&Trigger::AgentNeedsInput).unwrap().priority = Priority::Info;
    let asked = replayed(&events, other).new;
    let asked = asked.iter().find(|call| call.kind == "agent-needs-input");
    assert!(asked.is_none_or(|call| call.priority == Priority::Info), "{asked:?}");
    // Nobody is told that has no channel.
    let mut silent = ruled(&events);
    silent.channels.clear();
    assert_eq!(replayed(&events, silent).new, []);
}

#[test]
fn a_journal_whose_beginning_is_gone_is_read_from_where_it_begins() {
    let events = events();
    for first in [3, 40, 120] {
        let compared = replayed(&events[first..], ruled(&events));
        assert_eq!(compared.events, (events.len() - first) as u64);
        assert!(compared.new.len() <= 5, "{:?}", told(&compared.new));
    }
}
