//! A runtime's server dies with everything in it.

use std::collections::BTreeSet;

use ao_core::{
    config::trigger::Trigger,
    event::Kind,
    state::{State, Step},
};
use ao_slots::{SessionId, agent::Signal};

use crate::harness::{House, open};

/// Spawns sessions, and answers for their agents whenever one is started.
async fn working(house: &House, count: usize) -> Vec<SessionId> {
    let mut sessions = vec![];
    for n in 0..count {
        sessions.push(house.working(&format!("Task {n}")).await);
    }
    sessions
}

/// Answers as the agents of these sessions until they are all set up in their second launch.
async fn come_back(house: &House, sessions: &[SessionId]) -> usize {
    let mut most = 0;
    let mut back = BTreeSet::new();
    let began = tokio::time::Instant::now();
    while back.len() < sessions.len() {
        assert!(began.elapsed().as_secs() < 60, "{} came back", back.len());
        let state = house.handle().state().clone();
        let restoring = |id: &&SessionId| state.sessions[*id].restore.is_some();
        most = most.max(sessions.iter().filter(restoring).count());
        for id in sessions {
            let session = &state.sessions[id];
            if session.launch.0 == 2 && session.handle.is_some() && !session.signalled {
                let started = Signal::Started { native_id: None, transcript: None, version: None };
                house.tell_until_taken(id, &[started]).await;
            }
            if session.launch.0 == 2 && session.step == Step::Ready && session.restore.is_none() {
                back.insert(id.clone());
            }
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    most
}

fn asked(state: &State) -> Vec<String> {
    state.notifications.values().map(|n| n.title.clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn r17_twenty_lost_sessions_come_back_two_at_a_time_and_nobody_is_called() {
    let mut house = House::open().await;
    let sessions = working(&house, 20).await;
    house.fakes.lose_runtime();
    let most = come_back(&house, &sessions).await;
    assert!(most <= 2, "{most} at one time");
    house.until("it is over", |state| open(state, Trigger::RuntimeLost).is_empty()).await;
    assert_eq!(asked(&house.handle().state()), Vec::<String>::new());
    assert_eq!(house.fakes.channel.messages(), []);
    let events = house.events().await;
    let opened = events.iter().filter_map(|event| match &event.kind {
        Kind::IncidentOpened(e) => Some(e.trigger),
        _ => None,
    });
    assert_eq!(opened.collect::<Vec<_>>(), [Trigger::RuntimeLost], "one cause, one incident");
    assert_eq!(house.fakes.runtime.started(), 40);
    house.is_rebuilt().await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r17_those_that_cannot_come_back_are_named_in_one_push() {
    let mut house = House::with(|house| {
        // Such an agent cannot go on with an earlier conversation.
        let mut policy = house.policy.clone();
        let mut forgets = policy.projects[&"my-app".parse().unwrap()].clone();
        forgets.agent_config.model = Some("forgets".into());
        forgets.session_prefix = "gone".parse().unwrap();
        policy.projects.insert("forgets".parse().unwrap(), forgets);
        house.policy = policy;
    })
    .await;
    let hopeful = working(&house, 3).await;
    let mut hopeless = vec![];
    for n in 0..3 {
        let call = ao_core::server::SpawnCall {
            project: "forgets".parse().unwrap(),
            issue: None,
            read: None,
            prompt: Some(format!("Other task {n}")),
            agent: None,
            branch: None,
            force: false,
            env: Default::default(),
        };
        let by = crate::harness::ana();
        let session = house.handle().spawn(call, by).await.unwrap().session.unwrap();
        house.begins(&session, &format!("Other task {n}")).await;
        hopeless.push(session);
    }
    house.fakes.lose_runtime();
    come_back(&house, &hopeful).await;
    let pushed = house.until_pushed("those that did not", |messages| messages.len() == 1).await;
    assert!(pushed[0].title.contains("3 of 6"), "{}", pushed[0].title);
    assert!(pushed[0].short.contains("gone-1…3"), "{}", pushed[0].short);
    house.swept().await;
    assert_eq!(house.fakes.channel.messages().len(), 1);
    let incidents = open(&house.handle().state(), Trigger::RuntimeLost);
    assert_eq!(incidents.len(), 1);
    assert!(hopeless.iter().all(|session| incidents[0].sessions.contains(session)));
    for session in &hopeful {
        assert_eq!(house.session(session).restore, None);
    }
    house.stop().await;
}
