//! Clocks that jump, and machines that sleep: nothing is judged by what was seen before.

use std::{sync::Arc, time::Duration};

use ao_conformance::notifier::Mood as Far;
use ao_core::{config::trigger::Trigger, decide::Input, server::Clock as _};

use crate::{
    fakes::Mood,
    harness::{House, Moved, ana, open, question, reaction},
};

const HOUR: i64 = 3_600_000;
const YEAR: i64 = 365 * 24 * HOUR;

async fn house() -> (House, Arc<Moved>) {
    let clock = Arc::new(Moved::default());
    let house = House::with(|house| house.clock = clock.clone()).await;
    (house, clock)
}

/// The places of the events of a kind.
async fn places(house: &House, kind: &str) -> Vec<u64> {
    let events = house.events().await;
    events.iter().filter(|e| e.kind.name() == kind).map(|e| e.seq.0).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn r10_no_jump_of_the_wall_clock_calls_a_human() {
    let (mut house, clock) = house().await;
    let session = house.working("Do it").await;
    let jumps = [HOUR, -HOUR, 10 * YEAR, -10 * YEAR, 8 * HOUR, -8 * HOUR];
    for (n, by) in jumps.into_iter().enumerate() {
        let swept = house.count("sweep.completed").await;
        clock.set_wall(by);
        house
            .patiently("everything is looked at once", async || {
                (house.count("sweep.completed").await > swept).then_some(())
            })
            .await;
        assert_eq!(house.count("clock.jumped").await, n + 1);
    }
    assert_eq!(open(&house.handle().state(), Trigger::AgentStuck), []);
    assert_eq!(house.fakes.channel.messages(), []);

    // Time that passes while the machine is awake does: one push, however the clock jumps after it.
    clock.pass(11 * 60_000);
    house.until_pushed("that it is stuck", |messages| messages.len() == 1).await;
    for by in jumps {
        clock.set_wall(by);
        house.swept().await;
    }
    let incident = &open(&house.handle().state(), Trigger::AgentStuck)[0];
    assert_eq!(incident.sessions, [session]);
    assert_eq!(house.fakes.channel.messages().len(), 1, "one incident, one message");
    let events = house.events().await;
    assert!(events.windows(2).all(|pair| pair[0].awake <= pair[1].awake), "awake never goes back");
    house.is_rebuilt().await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r10_after_a_sleep_everything_is_looked_at_before_a_limit_is_judged() {
    let (mut house, clock) = house().await;
    house.working("Do it").await;
    house.swept().await;
    // The machine sleeps for eight hours in the middle of a sweep, and is then so busy that a limit passes.
    house.fakes.rig.set("runtime.probe", "", Mood::Slow(Duration::from_millis(400)), 2);
    let asked = house.fakes.rig.calls("runtime.probe", "");
    house
        .patiently("a sweep begins", async || {
            (house.fakes.rig.calls("runtime.probe", "") > asked).then_some(())
        })
        .await;
    clock.set_wall(8 * HOUR);
    clock.pass(11 * 60_000);
    house.until("it is stuck", |state| !open(state, Trigger::AgentStuck).is_empty()).await;
    let jumped = places(&house, "clock.jumped").await[0];
    let swept = places(&house, "sweep.completed").await;
    let swept = *swept.iter().find(|seq| **seq > jumped).expect("a sweep after the sleep");
    let opened = places(&house, "incident.opened").await[0];
    assert!(jumped < swept && swept < opened, "{jumped} {swept} {opened}");
    // The sweep that began before the sleep did not count: another one has asked since.
    assert!(house.fakes.rig.calls("runtime.probe", "") >= asked + 2);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r10_while_a_runtime_does_not_answer_nothing_is_said_to_be_missing() {
    let (mut house, clock) = house().await;
    let session = house.working("Do it").await;
    house.fakes.rig.set("runtime.probe", "", Mood::Hangs, u32::MAX);
    clock.set_wall(8 * HOUR);
    house
        .until("it is unknown", |state| {
            let seen = state.sessions[&session].runtime_state.value;
            seen == ao_slots::fact::RuntimeState::Unknown
        })
        .await;
    assert_eq!(house.fakes.channel.messages(), []);
    house.fakes.rig.heal();
    house
        .until("it is known again", |state| {
            let seen = state.sessions[&session].runtime_state.value;
            seen == ao_slots::fact::RuntimeState::Alive
        })
        .await;
    assert_eq!(house.fakes.channel.messages(), []);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_absence_counts_from_the_last_sign_of_life_not_from_the_last_event() {
    let (mut house, clock) = house().await;
    let session = house.working("Do it").await;
    house.tell(&session, &[question("Which?")]).await.unwrap();
    house.until_pushed("the question", |messages| messages.len() == 1).await;
    house.swept().await;
    // Nothing happens for an hour but signs of life.
    clock.pass(HOUR.cast_unsigned());
    let path = house.data_dir().join("run/alive");
    house
        .patiently("a sign of life", async || {
            let sign: jiff::Timestamp = std::fs::read_to_string(&path).ok()?.trim().parse().ok()?;
            (clock.wall().duration_since(sign).as_secs() < 60).then_some(())
        })
        .await;
    let events = house.events().await;
    let since = clock.wall() - jiff::SignedDuration::from_mins(30);
    assert!(events.iter().all(|event| event.at < since), "the hour leaves no event");
    house.kill().await;
    house.start().await.unwrap();
    let away = |house: &House| house.handle().state().server.away_ms;
    assert!(away(&house).is_none_or(|ms| ms < 60_000), "{:?}", away(&house));
    house.swept().await;
    assert_eq!(house.fakes.channel.messages().len(), 1, "nobody was away");

    house.kill().await;
    clock.pass(12 * 60_000);
    house.start().await.unwrap();
    let told = house.until_pushed("the absence", |messages| messages.len() == 2).await;
    assert_eq!(told[1].title, "ao was away for 12 min and is back; nothing was lost");
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r10_promises_to_people_follow_the_wall_clock_and_limits_the_awake_one() {
    let (mut house, clock) = house().await;
    let session = house.working("Do it").await;
    house.tell(&session, &[question("Which?")]).await.unwrap();
    house.until("it is asked", |state| !open(state, Trigger::AgentNeedsInput).is_empty()).await;
    house.until_pushed("the question", |messages| messages.len() == 1).await;
    let other = house.working("Do more").await;
    // Before it is pushed a human snoozes it for an hour.
    house.policy.lifecycle.settle.urgent_ms = 2_000;
    let policy = house.policy.clone();
    house.handle().apply_policy(policy.clone(), policy.into()).await.unwrap();
    house.tell(&other, &[question("How?")]).await.unwrap();
    let incident = {
        let state = house.handle().state().clone();
        open(&state, Trigger::AgentNeedsInput).last().unwrap().id
    };
    let until = house.handle().now().wall + jiff::SignedDuration::from_hours(1);
    house.handle().submit(Input::Snooze { incident, until, by: ana() }).await.unwrap();
    clock.pass(30 * 60_000);
    house.swept().await;
    assert_eq!(house.fakes.channel.messages().len(), 1, "half an hour is not an hour");
    clock.pass(31 * 60_000);
    house
        .until_pushed("the snoozed one", |messages| {
            messages.iter().any(|m| m.session.as_ref() == Some(&other))
        })
        .await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_after_is_honoured_by_the_wall_clock_and_survives_its_being_set() {
    let (mut house, clock) = house().await;
    let session = house.working("Do it").await;
    // Asks to be left alone for 30 s.
    house.fakes.channel.behave(Far::Busy);
    house.tell(&session, &[question("Which?")]).await.unwrap();
    house
        .patiently("it is tried", async || {
            (house.fakes.rig.calls("channel.send", "") == 1).then_some(())
        })
        .await;
    house.fakes.channel.behave(Far::Well);
    for _ in 0..5 {
        clock.pass(5_000);
        house.swept().await;
    }
    assert_eq!(house.fakes.rig.calls("channel.send", ""), 1, "25 s are not 30 s");
    clock.pass(6_000);
    house.until_pushed("the question", |messages| messages.len() == 1).await;

    // Waits that a clock from the future began end when it is set right.
    clock.set_wall(10 * YEAR);
    house.swept().await;
    house.fakes.channel.behave(Far::Busy);
    let other = house.working("Do more").await;
    let tries = house.fakes.rig.calls("channel.send", "");
    house.tell(&other, &[question("How?")]).await.unwrap();
    house
        .patiently("it is tried", async || {
            (house.fakes.rig.calls("channel.send", "") > tries).then_some(())
        })
        .await;
    house.fakes.channel.behave(Far::Well);
    clock.set_wall(-10 * YEAR);
    house.until_pushed("the other question", |messages| messages.len() == 2).await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r10_no_jump_makes_the_loop_spin() {
    let clock = Arc::new(Moved::default());
    let mut house = House::with(|house| {
        house.clock = clock.clone();
        house.policy.lifecycle.sweep_interval_ms = 3_600_000;
        reaction(&mut house.policy, Trigger::AgentStuck).threshold_ms = Some(60_000);
    })
    .await;
    let session = house.working("Do it").await;
    house.tell(&session, &[question("Which?")]).await.unwrap();
    house.until_pushed("the question", |messages| messages.len() == 1).await;
    for by in [0, HOUR, -HOUR, 10 * YEAR, -10 * YEAR] {
        clock.set_wall(by);
        clock.pass(120_000);
        house.handle().submit(Input::Tick).await.unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
        let before = clock.looks();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let looks = clock.looks() - before;
        assert!(looks < 40, "{looks} looks at the clock in a second after a jump by {by} ms");
    }
    house.stop().await;
}
