//! Many senders at once, on a disk that takes its time.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use ao_slots::agent::Signal;

use crate::{harness::House, slow::SlowDisk};

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
