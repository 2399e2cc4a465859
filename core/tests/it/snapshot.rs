//! A snapshot stands for events that are no longer kept: every later version reads it, and none starts without.

use std::{fs, path::PathBuf};

use ao_core::{
    decide::Input,
    journal::{Identity, Limits, Recovery, Snapshot},
    server::StartError,
    state::State,
};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::harness::{House, ana, question};

/// What a first version may not have written, at each level.
const LATER: &[&str] = &[
    // The state and its server.
    "looked",
    "unswept_since",
    "rounds",
    "clean",
    "rebooted",
    "gaps",
    "quarantined",
    "away_ms",
    // Sessions, requests and messages.
    "env_names",
    "usage",
    "restores",
    "forced",
    "asked",
    "heard",
    "transcript_offset",
    "answerable",
    "post_created",
    "workspace_kept",
    "full",
    "tries",
    // Incidents, notifications, deliveries and channels.
    "because",
    "changed",
    "parts",
    "summary",
    "settled",
    "reached",
    "failures",
];

fn strip(value: &mut Value) {
    match value {
        Value::Object(object) => {
            object.retain(|name, _| !LATER.contains(&name.as_str()));
            let fields = object.iter_mut().filter(|(name, _)| *name != "policy");
            fields.for_each(|(_, value)| strip(value));
        }
        Value::Array(list) => list.iter_mut().for_each(strip),
        _ => {}
    }
}

/// A data directory whose first events were dropped: nothing but the snapshot tells of them.
async fn house() -> House {
    let limits = Limits { segment_bytes: 4_096, ..Limits::default() };
    let mut house = House::with(|house| house.limits = limits).await;
    let session = house.working("Do it").await;
    house.tell(&session, &[question("Which?")]).await.unwrap();
    house.until_pushed("the question", |messages| messages.len() == 1).await;
    house.until("it is shown", |state| state.intents.is_empty()).await;
    house.stop().await;
    let mut segments: Vec<PathBuf> = fs::read_dir(house.data_dir().join("journal"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_stem().is_some_and(|name| name != "emergency"))
        .collect();
    segments.sort();
    segments.pop().expect("a segment");
    assert!(!segments.is_empty(), "there are segments to drop");
    segments.iter().for_each(|path| fs::remove_file(path).unwrap());
    house
}

fn recovery(house: &House) -> Recovery {
    Recovery::start(house.disk.clone(), house.data_dir(), house.limits).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_of_an_earlier_version_is_read_where_its_events_are_gone() {
    let mut house = house().await;
    let recovery = recovery(&house);
    let Snapshot { seq, state, .. } = recovery.snapshot().unwrap().clone();
    let instance = recovery.instance().unwrap();
    let (journal, _) = recovery.finish(Identity { instance, boot: "boot".into() }).unwrap();
    let mut state: Value = serde_json::from_slice(&state).unwrap();
    strip(&mut state);
    let state = serde_json::to_vec(&state).unwrap();
    let state_hash = Sha256::digest(&state).iter().map(|byte| format!("{byte:02x}")).collect();
    journal.reader().write_snapshot(&Snapshot { seq, state_hash, state }).unwrap();
    drop(journal);

    house.start().await.unwrap();
    let handle = house.handle();
    {
        let state = handle.state();
        let session = state.sessions.values().next().expect("the session is known");
        assert_eq!(session.open_requests().count(), 1);
        assert_eq!(state.given.request, 1, "no number is given twice");
        assert_eq!((state.incidents.len(), state.notifications.len()), (1, 1));
        assert_eq!(state.server.gaps, []);
    }
    // It lives on, and its own snapshot is read again.
    let session = handle.state().sessions.keys().next().unwrap().clone();
    handle.submit(Input::Kill { session, force: false, by: ana() }).await.unwrap();
    house.until("it is over", |s| s.sessions.values().all(|session| session.is_over())).await;
    house.stop().await;
    house.start().await.unwrap();
    assert!(house.handle().state().sessions.values().all(|session| session.is_over()));
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_server_starts_with_half_a_state() {
    let mut house = house().await;
    let path = house.data_dir().join("snapshot.json");
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let error = house.start().await.unwrap_err();
    assert!(matches!(error, StartError::Snapshot { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains(path.to_str().unwrap()) && text.contains("move the file away"), "{text}");
    assert_eq!(fs::read(&path).unwrap(), bytes, "the file is kept as it is");
    house.start().await.unwrap_err();

    // Who wants to go on without it says so, and is told what is missing.
    fs::rename(&path, path.with_extension("aside")).unwrap();
    house.start().await.unwrap();
    let handle = house.handle();
    assert_eq!(handle.state().server.gaps.len(), 1);
    house.stop().await;
}

/// The state of the golden log as the first version wrote it.
#[test]
fn r25_a_golden_snapshot_is_understood() {
    let state: State = serde_json::from_str(include_str!("../golden/snapshot-1.json")).unwrap();
    assert_eq!(state.sessions.len(), 5);
    assert!(state.sessions.values().all(|session| session.is_over()));
    assert_eq!(state.notifications.len(), 5);
    assert_eq!((state.given.incident, state.given.notification), (4, 5));
}
