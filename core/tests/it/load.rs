//! Many senders at once, on a disk that takes its time.

use std::{
    fs,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use ao_slots::agent::Signal;

use crate::{harness::House, slow::SlowDisk};

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_that_lay_in_the_spool_is_told_once_also_by_a_start_that_goes_on_without_it() {
    let mut house = House::open().await;
    let session = house.working("Do it").await;
    let call = house.call(&session, &[Signal::Completed { text: None }]);
    house.stop().await;
    let spool = house.data_dir().join("run/spool");
    fs::create_dir_all(&spool).unwrap();
    for n in 0..4 {
        let hook = serde_json::json!({
            "agent": call.agent,
            "event": call.event,
            "session": session,
            "launch": call.launch,
            "token": call.token,
            "payload": String::from_utf8(call.payload.clone()).unwrap(),
        });
        fs::write(spool.join(format!("{n}-1.json")), hook.to_string()).unwrap();
    }
    // A start waits two seconds for them: less than these need.
    house.disk = Arc::new(SlowDisk::new(Duration::from_millis(700)));
    house.start().await.unwrap();
    house
        .patiently("all are taken", async || {
            (fs::read_dir(&spool).unwrap().count() == 0).then_some(())
        })
        .await;
    assert_eq!(house.count("completion.claimed").await, 4);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn inputs_that_come_while_the_disk_syncs_are_committed_together() {
    const SENDERS: u64 = 64;
    const EACH: u64 = 30;
    let disk = SlowDisk::new(Duration::from_millis(4));
    let mut house = House::with(|house| {
        house.disk = Arc::new(disk.clone());
        house.policy.lifecycle.sweep_interval_ms = 60_000;
    })
    .await;
    let session = house.working("Do it").await;
    let before = disk.syncs.load(Ordering::Relaxed);
    let senders = (0..SENDERS).map(|sender| {
        let (handle, call) = (house.handle(), house.call(&session, &[]));
        tokio::spawn(async move {
            for n in 0..EACH {
                let command = Some(format!("make step-{sender}-{n}"));
                let tool = Signal::ToolStarted { id: None, tool: "Bash".into(), command };
                let mut call = call.clone();
                call.payload = serde_json::to_vec(&[tool]).unwrap();
                handle.hook(call).await.unwrap();
            }
        })
    });
    for sender in senders.collect::<Vec<_>>() {
        sender.await.unwrap();
    }
    let syncs = disk.syncs.load(Ordering::Relaxed) - before;
    let inputs = SENDERS * EACH;
    assert_eq!(house.count("tool.started").await as u64, inputs, "none is lost, none is doubled");
    assert!(syncs * 8 <= inputs, "{inputs} inputs were committed in {syncs} batches");
    house.is_rebuilt().await;
    house.stop().await;
}
