//! `sessions/<id>.json`: what scripts read, and `ao` never does.

use std::{collections::BTreeMap, fs, time::Duration};

use ao_slots::SessionId;
use serde_json::Value;

use crate::harness::{House, question, turn_ended, turn_started};

fn read(house: &House, session: &SessionId) -> Option<Value> {
    let path = house.data_dir().join(format!("sessions/{session}.json"));
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_read_each_sessions_status_from_its_file() {
    let mut house = House::open().await;
    let session = house.working("Fix the coupon").await;
    let shows = async |status: &'static str| {
        house
            .patiently(status, async || {
                read(&house, &session).filter(|json| json["status"] == status)
            })
            .await
    };
    let json = shows("working").await;
    assert_eq!(json["session"], session.as_str());
    assert_eq!(json["title"], "Fix the coupon");
    assert_eq!(json["asks"], 0);
    house.tell(&session, &[question("Which?")]).await.unwrap();
    assert_eq!(shows("needs_input").await["asks"], 1);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_session_is_written_once_a_second() {
    let mut house = House::open().await;
    let session = house.working("Do it").await;
    let mut writes = BTreeMap::new();
    let began = tokio::time::Instant::now();
    while began.elapsed() < Duration::from_millis(2_500) {
        house.tell(&session, &[turn_ended("t1"), turn_started("t1")]).await.unwrap();
        if let Some(json) = read(&house, &session) {
            writes.insert(json["seq"].as_u64().unwrap(), ());
        }
    }
    let most = began.elapsed().as_secs() as usize + 2;
    assert!((2..=most).contains(&writes.len()), "{} writes in {:?}", writes.len(), began.elapsed());
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_files_a_server_starts_with_the_same_state_and_writes_them_anew() {
    let mut house = House::open().await;
    let sessions = [house.working("One").await, house.working("Two").await];
    for session in &sessions {
        house.patiently("its file", async || read(&house, session)).await;
    }
    house.stop().await;
    fs::remove_dir_all(house.data_dir().join("sessions")).unwrap();
    house.start().await.unwrap();
    house.is_rebuilt().await;
    for session in &sessions {
        assert_eq!(house.session(session).handle.unwrap().session, *session);
        let json = house.patiently("its file", async || read(&house, session)).await;
        assert_eq!(json["status"], "working");
    }
    house.stop().await;
}
