//! What is typed at an agent's screen: only where it shows an empty prompt, and entered only where our draft
//! stands there.

use ao_conformance::runtime::fake::FakeProcess;
use ao_core::{
    event::{Effect, Kind},
    server::HookCall,
    state::Fate,
};
use ao_slots::{SessionId, agent::Signal, runtime::Key};

use crate::harness::{House, ana, turn_ended};

const TEXT: &str = "use the helper";

/// An agent with a screen whose turn has ended.
async fn standing() -> (House, SessionId) {
    let (house, session) = busy().await;
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

/// The agent's hook says that the turn ends, and hears what it is to print.
async fn stops(house: &House, session: &SessionId, hook: u64) -> Option<String> {
    let call = HookCall {
        event: "Stop".into(),
        started: Some(hook),
        ..house.call(session, &[turn_ended("t1")])
    };
    house.handle().hook(call).await.unwrap().stdout
}

/// An agent with a screen that works.
async fn busy() -> (House, SessionId) {
    let change = |house: &mut House| {
        let project = house.policy.projects.values_mut().next().unwrap();
        project.agent_config.model = Some("screen".into());
    };
    let house = House::with(change).await;
    let session = house.working("Do it").await;
    shows(&house, &session, "busy");
    (house, session)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_for_a_working_agent_is_the_answer_to_the_hook_that_ends_its_turn() {
    let (mut house, session) = busy().await;
    send(&house, &session).await;
    assert_eq!(stops(&house, &session, 1).await.unwrap(), format!("go on: {TEXT}"));
    let intended = house.events().await.into_iter().any(|event| {
        matches!(event.kind, Kind::EffectIntended(e) if matches!(e.effect, Effect::HandOverMessage { .. }))
    });
    assert!(intended, "recorded before it is told");
    assert_eq!(stops(&house, &session, 2).await, None, "one delivery at a time");
    until_confirmed(&house, &session).await;
    let seen = process(&house, &session);
    assert!(seen.typed.is_empty() && seen.keys.is_empty(), "{seen:?}");
    house.is_rebuilt().await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_cannot_be_read_whole_is_undelivered_and_its_beginning_is_not_typed() {
    let (mut house, session) = busy().await;
    let text = "use the helper ".repeat(60);
    house.handle().send(session.clone(), &text, ana()).await.unwrap();
    for blob in std::fs::read_dir(house.data_dir().join("blobs")).unwrap() {
        std::fs::remove_file(blob.unwrap().path()).unwrap();
    }
    shows(&house, &session, "prompt");
    house.tell(&session, &[turn_ended("t1")]).await.unwrap();
    let told = house.until_pushed("a human hears of it", |messages| !messages.is_empty()).await;
    let failed = house.session(&session).undelivered().unwrap().fate.clone();
    let Fate::Undelivered { failure } = failed else { panic!("{failed:?} {told:?}") };
    assert!(failure.message.contains("blobs/"), "{}", failure.message);
    assert!(process(&house, &session).typed.is_empty());
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r1_a_hook_whose_server_was_killed_asks_again_and_is_told_the_same() {
    let (mut house, session) = busy().await;
    send(&house, &session).await;
    assert!(stops(&house, &session, 1).await.is_some());
    house.kill().await;
    house.start().await.unwrap();
    assert_eq!(stops(&house, &session, 2).await, None, "another hook was told nothing of it");
    assert_eq!(stops(&house, &session, 1).await.unwrap(), format!("go on: {TEXT}"));
    until_confirmed(&house, &session).await;
    assert!(process(&house, &session).typed.is_empty());
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lay_in_the_spool_is_given_no_message_and_the_message_is_typed() {
    let (mut house, session) = busy().await;
    send(&house, &session).await;
    let call = HookCall {
        event: "Stop".into(),
        waits: false,
        ..house.call(&session, &[turn_ended("t1")])
    };
    assert_eq!(house.handle().hook(call).await.unwrap().stdout, None);
    shows(&house, &session, "prompt");
    until(&house, "it is typed", |house| process(house, &session).typed == [TEXT]).await;
    until_confirmed(&house, &session).await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_gets_every_word_and_no_event_holds_what_looks_like_a_secret() {
    const SECRET: &str = "hunter2-hunter2-hunter2";
    let text = format!("Use the test account: password={SECRET}");
    let (mut house, session) = standing().await;
    shows(&house, &session, "prompt");
    house.handle().send(session.clone(), &text, ana()).await.unwrap();
    until(&house, "it is typed", |house| process(house, &session).typed == [text.clone()]).await;
    shows(&house, &session, &format!("prompt {text}"));
    until(&house, "it is entered", |house| process(house, &session).keys.contains(&Key::Enter))
        .await;
    let turn = Signal::TurnStarted { turn: Some("t2".into()), prompt: Some(text) };
    house.tell_until_taken(&session, &[turn]).await;
    house
        .until("it is confirmed", |state| {
            let mut messages = state.sessions[&session].messages.values();
            messages.all(|message| matches!(message.fate, Fate::Confirmed { .. }))
        })
        .await;
    let encoded = |event: &ao_core::event::Event| String::from_utf8(event.encode().unwrap());
    let journal: Vec<String> =
        house.events().await.iter().map(|event| encoded(event).unwrap()).collect();
    assert!(journal.iter().any(|line| line.contains("Use the test account")));
    assert!(!journal.iter().any(|line| line.contains(SECRET)));
    house.stop().await;
}
