//! What is typed at an agent's screen: only where it shows an empty prompt, and entered only where our draft
//! stands there.

use ao_conformance::runtime::fake::FakeProcess;
use ao_core::state::Fate;
use ao_slots::{SessionId, agent::Signal, runtime::Key};

use crate::harness::{House, ana, turn_ended};

const TEXT: &str = "use the helper";

/// An agent with a screen whose turn has ended.
async fn standing() -> (House, SessionId) {
    let change = |house: &mut House| {
        let project = house.policy.projects.values_mut().next().unwrap();
        project.agent_config.model = Some("screen".into());
    };
    let house = House::with(change).await;
    let session = house.working("Do it").await;
    house.tell(&session, &[turn_ended("t1")]).await.unwrap();
    (house, session)
}

fn process(house: &House, session: &SessionId) -> FakeProcess {
    let processes = house.fakes.runtime.processes();
    processes.into_iter().find(|process| process.request.session == *session).unwrap()
}

fn shows(house: &House, session: &SessionId, line: &str) {
    house.fakes.runtime.print(session, &[line]);
}

async fn send(house: &House, session: &SessionId) {
    house.handle().send(session.clone(), TEXT, ana()).await.unwrap();
}

async fn until(house: &House, what: &str, holds: impl Fn(&House) -> bool) {
    house.patiently(what, async || holds(house).then_some(())).await;
}

async fn until_confirmed(house: &House, session: &SessionId) {
    let turn = Signal::TurnStarted { turn: Some("t2".into()), prompt: Some(TEXT.into()) };
    house.tell_until_taken(session, &[turn]).await;
    house
        .until("it is confirmed", |state| {
            let mut messages = state.sessions[session].messages.values();
            messages.all(|message| matches!(message.fate, Fate::Confirmed { .. }))
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_screen_may_show_the_end_of_a_turn_later_than_it_is_told() {
    let (mut house, session) = standing().await;
    shows(&house, &session, "busy");
    send(&house, &session).await;
    until(&house, "it is being handed over", |house| house.session(&session).busy.is_some()).await;
    shows(&house, &session, "prompt");
    until(&house, "it is typed", |house| process(house, &session).typed == [TEXT]).await;
    shows(&house, &session, &format!("prompt {TEXT}"));
    until(&house, "it is entered", |house| process(house, &session).keys.contains(&Key::Enter))
        .await;
    until_confirmed(&house, &session).await;
    assert_eq!(house.count("effect.failed").await, 0, "the first try waits for the screen");
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_typed_into_a_dialog_or_behind_somebodys_draft() {
    for line in ["dialog", "prompt a draft of ana's"] {
        let (mut house, session) = standing().await;
        shows(&house, &session, line);
        send(&house, &session).await;
        house
            .patiently("it was tried", async || {
                (house.count("effect.failed").await > 0).then_some(())
            })
            .await;
        let seen = process(&house, &session);
        assert!(seen.typed.is_empty() && seen.keys.is_empty(), "{line}: {seen:?}");
        house.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r1_a_draft_that_a_killed_server_left_is_entered_and_not_typed_again() {
    let (mut house, session) = standing().await;
    shows(&house, &session, "prompt");
    send(&house, &session).await;
    until(&house, "it is typed", |house| process(house, &session).typed == [TEXT]).await;
    house.kill().await;
    let before = process(&house, &session).keys.len();
    shows(&house, &session, &format!("prompt {TEXT}"));
    house.start().await.unwrap();
    until(&house, "it is entered", |house| process(house, &session).keys.len() > before).await;
    until_confirmed(&house, &session).await;
    assert_eq!(process(&house, &session).typed, [TEXT]);
    house.stop().await;
}
