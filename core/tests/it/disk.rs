//! Disks that are full, or fail: nothing that was taken is lost, and a human hears of it.

use std::sync::Arc;

use ao_core::{
    config::trigger::Trigger,
    decide::RefusalKind,
    disk::{
        RealDisk,
        testing::{FailingDisk, Op},
    },
    journal::Durability,
};
use ao_slots::{fact::Priority, notifier::Press};
use nix::errno::Errno;

use crate::harness::{House, open, pressed_by_ana, question, replayed, turn_ended};

async fn house() -> (House, FailingDisk) {
    let disk = FailingDisk::new(Arc::new(RealDisk));
    let house = House::with(|house| house.disk = Arc::new(disk.clone())).await;
    (house, disk)
}

#[tokio::test(flavor = "multi_thread")]
async fn r6_on_a_full_disk_senders_are_told_to_repeat_and_one_push_goes_out() {
    let (mut house, disk) = house().await;
    let session = house.working("Do it").await;
    disk.faults.fail_always(Op::Grow, Errno::ENOSPC);
    let refused = house.tell(&session, &[question("Full?")]).await.unwrap_err();
    assert_eq!(refused.kind, RefusalKind::Unavailable);
    house.is_rebuilt().await;

    let pushed = house.until_pushed("the full disk", |messages| messages.len() == 1).await;
    assert_eq!(pushed[0].priority, Priority::Urgent);
    assert!(pushed[0].title.to_lowercase().contains("disk"), "{}", pushed[0].title);
    // Others are refused as before, and the agent was not touched.
    for _ in 0..20 {
        let refused = house.tell(&session, &[question("Full?")]).await.unwrap_err();
        assert_eq!(refused.kind, RefusalKind::Unavailable);
    }
    assert!(house.session(&session).open_requests().next().is_none());
    assert_eq!(house.fakes.runtime.processes().len(), 1);
    house.is_rebuilt().await;

    disk.faults.heal();
    house.tell_until_taken(&session, &[question("Full?")]).await;
    house.until("it is over", |state| open(state, Trigger::DiskLow).is_empty()).await;
    house.until_pushed("the question", |messages| messages.len() == 2).await;
    assert_eq!(house.fakes.channel.messages().len(), 2, "one for the disk, one for the question");
    assert_eq!(house.session(&session).open_requests().count(), 1);
    house.is_rebuilt().await;
    house.stop().await;
    let state = replayed(house.disk.clone(), house.data_dir());
    assert_eq!(state.sessions[&session].open_requests().count(), 1);
}

/// A provider hears that a press was taken once it is on the disk, so that it shows an error or sends it again.
#[tokio::test(flavor = "multi_thread")]
async fn r6_on_a_full_disk_no_press_is_said_to_be_taken() {
    let (mut house, disk) = house().await;
    let session = house.working("Do it").await;
    house.tell(&session, &[question("Which?")]).await.unwrap();
    let pushed = house.until_pushed("the question", |messages| messages.len() == 1).await;
    let press = Press::Button(house.token(&pushed[0], "answer:1"));
    let taken = |how| house.fakes.rig.calls("channel.taken", how);
    disk.faults.fail_always(Op::Grow, Errno::ENOSPC);
    house.fakes.channel.act(pressed_by_ana(press.clone()));
    house.patiently("it is not taken", async || (taken("lost") == 1).then_some(())).await;
    assert_eq!(house.count("request.decided").await, 0);
    disk.faults.heal();
    house
        .patiently("it is taken", async || {
            house.fakes.channel.act(pressed_by_ana(press.clone()));
            (taken("recorded") > 0).then_some(())
        })
        .await;
    assert_eq!(house.count("request.decided").await, 1);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r6_a_server_stops_and_starts_on_a_full_disk() {
    let (mut house, disk) = house().await;
    let session = house.working("Do it").await;
    disk.faults.fail_always(Op::Grow, Errno::ENOSPC);
    house.tell(&session, &[question("Full?")]).await.unwrap_err();
    house.until_pushed("the full disk", |messages| messages.len() == 1).await;
    house.stop().await;
    house.start().await.unwrap();
    house.tell(&session, &[question("Full?")]).await.unwrap_err();
    disk.faults.heal();
    house.tell_until_taken(&session, &[question("Full?")]).await;
    house
        .until_pushed("the question", |messages| {
            messages.iter().any(|message| message.session.as_ref() == Some(&session))
        })
        .await;
    assert_eq!(house.fakes.runtime.started(), 1, "the agent was adopted");
    house.is_rebuilt().await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r7_one_failed_sync_costs_a_repetition_and_nothing_else() {
    let (mut house, disk) = house().await;
    let session = house.working("Do it").await;
    for n in 0..5 {
        disk.faults.fail(Op::Sync, 1, Errno::EIO);
        let text = format!("Question {n}?");
        let refused = house.tell(&session, &[question(&text)]).await;
        if let Err(refused) = refused {
            assert_eq!(refused.kind, RefusalKind::Unavailable);
            house.is_rebuilt().await;
            house.tell_until_taken(&session, &[question(&text)]).await;
        }
    }
    assert_eq!(house.session(&session).open_requests().count(), 5);
    assert_eq!(house.handle().state().server.disk_low, None, "nobody need hear of it");
    house.is_rebuilt().await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r7_while_no_sync_succeeds_nothing_leaves_and_then_all_goes_on() {
    let (mut house, disk) = house().await;
    let session = house.working("Do it").await;
    disk.faults.fail_always(Op::Sync, Errno::EIO);
    for _ in 0..10 {
        house.tell(&session, &[question("Lost?")]).await.unwrap_err();
    }
    house.is_rebuilt().await;
    assert_eq!(house.fakes.channel.messages(), [], "what is not durable is not told");
    disk.faults.heal();
    house.tell_until_taken(&session, &[question("Lost?")]).await;
    house
        .until_pushed("the question", |messages| {
            messages.iter().any(|message| message.session.as_ref() == Some(&session))
        })
        .await;
    house.is_rebuilt().await;
    house.stop().await;
    let state = replayed(house.disk.clone(), house.data_dir());
    assert_eq!(state.sessions[&session].open_requests().count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_shown_before_it_was_durable_is_taken_back_with_it() {
    let disk = FailingDisk::new(Arc::new(RealDisk));
    let mut house = House::with(|house| {
        house.disk = Arc::new(disk.clone());
        house.durability = Durability::Batch;
        house.policy.lifecycle.sweep_interval_ms = 60_000;
    })
    .await;
    let session = house.working("Do it").await;
    let mut refused = 0;
    for n in 0..20 {
        disk.faults.fail(Op::Sync, 1, Errno::EIO);
        let turn = format!("turn-{n}");
        let told = [crate::harness::turn_started(&turn), turn_ended(&turn)];
        refused += u32::from(house.tell(&session, &told).await.is_err());
        tokio::time::sleep(std::time::Duration::from_millis(30)).await;
        // Syncs happen beside the test: only where both stand still they can be compared.
        if n % 5 == 4 {
            disk.faults.heal();
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
            house.is_rebuilt().await;
        }
    }
    disk.faults.heal();
    house.tell_until_taken(&session, &[turn_ended("turn-last")]).await;
    house.is_rebuilt().await;
    assert!(refused < 20, "a server that waits for the next sync takes hooks meanwhile");
    house.stop().await;
    let state = replayed(house.disk.clone(), house.data_dir());
    assert!(state.stopped_clean);
}

#[tokio::test(flavor = "multi_thread")]
async fn r8_a_snapshot_and_what_came_after_it_is_all_there_was() {
    let mut house = House::open().await;
    let mut sessions = vec![];
    for n in 0..5 {
        sessions.push(house.working(&format!("Task {n}")).await);
        house.tell(&sessions[n], &[question("Go on?")]).await.unwrap();
        house.until_pushed("the question", |messages| messages.len() == n + 1).await;
        if n == 2 {
            // Writes a snapshot at its end.
            house.stop().await;
            assert!(house.data_dir().join("snapshot.json").exists());
            house.start().await.unwrap();
        }
    }
    // Without saying good-bye: what is read is that snapshot and the events after it.
    house.kill().await;
    let whole = replayed(house.disk.clone(), house.data_dir());
    house.start().await.unwrap();
    let first = house.handle().state().sessions.len();
    assert_eq!(first, 5);
    for session in &sessions {
        let (before, now) = (&whole.sessions[session], house.session(session));
        assert_eq!(before.requests, now.requests);
        assert_eq!(before.native_id, now.native_id);
    }
    house.is_rebuilt().await;
    house.stop().await;
}
