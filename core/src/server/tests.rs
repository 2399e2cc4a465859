//! An input that no rule can take. Only here, since such a one is not known: the rules are tested for it.

use std::{collections::BTreeMap, sync::Arc};

use ao_slots::plugin::BuildContext;

use super::{Options, Server, SystemClock};
use crate::{
    config::{policy::Policy, trigger::Trigger},
    decide::{Input, RefusalKind},
    disk::RealDisk,
    event::{Event, Kind, Text},
    journal::{Durability, Limits},
    registry::Registry,
    state::{Focus, State},
};

/// In this policy a configuration that is not used breaks a rule when it has lasted.
const POISONED: u16 = 1;

/// Called for each input before it is decided.
pub(super) fn break_on(input: &Input) {
    if let Input::ConfigRefused { file, .. } = input {
        assert_ne!(file, "poison", "no rule takes it");
    }
}

/// Called with all that followed: the rule that breaks is one that looks at what another has concluded.
pub(super) fn break_at(state: &State, events: &[Event]) {
    let told = events.iter().filter_map(|event| match &event.kind {
        Kind::NotificationOpened(e) if state.policy.port == POISONED => Some(&e.covers),
        _ => None,
    });
    for incident in told.flatten() {
        assert_ne!(state.incidents[incident].trigger, Trigger::ConfigRefused, "no rule takes it");
    }
}

fn refused(file: &str) -> Input {
    Input::ConfigRefused { file: file.into(), reason: Text::short("why"), untrusted: false }
}

async fn start(root: &std::path::Path, port: u16) -> Server {
    let mut policy = Policy { port, ..Policy::default() };
    policy.channels.clear();
    policy.lifecycle.settle.urgent_ms = 50;
    policy.lifecycle.settle.warning_ms = 10;
    let context = BuildContext {
        data_dir: root.to_owned(),
        run_dir: root.join("run"),
        instance: "01ARZ3NDEKTSV4RRFFQ69G5FAV".parse().unwrap(),
        ao: "/bin/true".into(),
        home: root.to_owned(),
        env: BTreeMap::new(),
    };
    let options = Options {
        disk: Arc::new(RealDisk),
        limits: Limits::default(),
        durability: Durability::Commit,
        clock: Arc::new(SystemClock),
        boot: "boot".into(),
        version: "test".into(),
        zone: jiff::tz::TimeZone::UTC,
        registry: Registry::default(),
        context,
        policy: policy.clone(),
        live: policy.into(),
        refused: false,
    };
    Server::start(options).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_input_that_breaks_a_rule_is_put_aside_and_the_others_go_on() {
    let root = tempfile::tempdir().unwrap();
    let server = start(root.path(), 3000).await;
    let handle = server.handle();
    // In one batch with it: what came before and after is taken, in whatever order they come.
    let batch = (0..20).map(|n| {
        let (handle, poison) = (handle.clone(), n % 5 == 2);
        let file = if poison { "poison".to_owned() } else { format!("file-{n}") };
        tokio::spawn(async move { (poison, handle.submit(refused(&file)).await) })
    });
    for answer in batch.collect::<Vec<_>>() {
        let (poison, answer) = answer.await.unwrap();
        assert_eq!(answer.is_err(), poison, "{answer:?}");
        if let Err(refusal) = answer {
            assert_eq!(refusal.kind, RefusalKind::Invalid);
        }
    }
    let kept: Vec<_> = std::fs::read_dir(root.path().join("quarantine")).unwrap().collect();
    assert_eq!(kept.len(), 1, "one rule that breaks is kept once a minute");
    let kept = std::fs::read_to_string(kept[0].as_ref().unwrap().path()).unwrap();
    assert!(kept.contains("poison"), "{kept}");
    let incidents = || {
        let state = handle.state();
        let put_aside = |i: &&crate::state::Incident| i.trigger == Trigger::ServerWasAway;
        (state.incidents.values().filter(put_aside).count(), state.server.refused.len())
    };
    for _ in 0..250 {
        if incidents() == (1, 16) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(incidents(), (1, 16), "one incident, and everything else was taken");

    // The state that is served is the one that the journal has.
    handle.stop("test").await;
    server.wait().await;
    let hash = { handle.state().hash() };
    std::fs::remove_file(root.path().join("snapshot.json")).unwrap();
    let mut replayed = State::default();
    let recovery =
        crate::journal::Recovery::start(Arc::new(RealDisk), root.path(), Limits::default());
    let mut recovery = recovery.unwrap();
    while let Some((seq, json)) = recovery.next().unwrap() {
        super::run::fold(&mut replayed, seq, json);
    }
    assert_eq!(replayed.hash(), hash);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_a_rule_whenever_it_is_due_holds_up_nothing_else() {
    let root = tempfile::tempdir().unwrap();
    let server = start(root.path(), POISONED).await;
    let handle = server.handle();
    handle.submit(refused("a")).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    handle.submit(Input::Tampered { path: "x".into(), kept: None }).await.unwrap();
    let told = |trigger| {
        let state = handle.state();
        state.incidents.values().any(|i| i.trigger == trigger && i.notification.is_some())
    };
    let is_due = || {
        let (now, state) = (handle.now(), handle.state());
        let poisoned = |focus: &Focus| matches!(focus, Focus::Incident(id) if state.incidents[id].trigger == Trigger::ConfigRefused);
        state.due(now).iter().any(poisoned)
    };
    // Each panic writes where it was, which takes its time.
    for _ in 0..1_500 {
        if told(Trigger::Tampered) && told(Trigger::ServerWasAway) && !is_due() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(told(Trigger::Tampered), "others are told in time");
    assert!(!told(Trigger::ConfigRefused));
    assert!(!is_due(), "it is passed over");
    assert_eq!(std::fs::read_dir(root.path().join("quarantine")).unwrap().count(), 1);
    handle.stop("test").await;
    server.wait().await;
}
