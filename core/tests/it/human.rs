//! Several humans, several questions, and a configuration that changes meanwhile.

use ao_core::{config::policy::PluginChoice, decide::RefusalKind};
use ao_slots::agent::Decision;

use crate::harness::{House, ana, answered, channels, question, spawn_call};

fn answer(text: &str) -> Decision {
    Decision::Answer { text: text.into() }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_fifty_answers_at_once_exactly_one_is_taken() {
    let mut house = House::open().await;
    let session = house.working("Do it").await;
    let asked = house.tell(&session, &[question("Which?")]).await.unwrap().wait.unwrap();
    let (handle, call) = (house.handle(), house.call(&session, &[question("Which?")]));
    let waiting = tokio::spawn(async move { handle.wait(call, asked).await });
    let answers = (0..50).map(|n| {
        let (handle, session) = (house.handle(), session.clone());
        // Half of them name the request, half mean the one that is open.
        let request = (n % 2 == 0).then_some(asked);
        tokio::spawn(async move {
            (n, handle.decide(session, request, answer(&format!("answer {n}")), ana()).await)
        })
    });
    let mut taken = vec![];
    for answer in answers.collect::<Vec<_>>() {
        match answer.await.unwrap() {
            (n, Ok(_)) => taken.push(n),
            (_, Err(refusal)) => assert_eq!(refusal.kind, RefusalKind::Conflict, "{refusal}"),
        }
    }
    assert_eq!(taken.len(), 1, "{taken:?}");
    let printed = waiting.await.unwrap().unwrap().unwrap();
    assert!(printed.contains(&format!("\"answer {}\"", taken[0])), "{printed}");
    assert_eq!(house.count("request.decided").await, 1);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_questions_of_one_session_are_answered_each_on_its_own() {
    let mut house = House::open().await;
    let session = house.working("Do it").await;
    let mut asked = vec![];
    for text in ["Which?", "How?"] {
        asked.push(house.tell(&session, &[question(text)]).await.unwrap().wait.unwrap());
    }
    house.until_pushed("both", |messages| messages.len() == 2).await;
    let waiting = ["Which?", "How?"].iter().zip(&asked).map(|(text, request)| {
        let (handle, call) = (house.handle(), house.call(&session, &[question(text)]));
        let request = *request;
        tokio::spawn(async move { handle.wait(call, request).await.unwrap().unwrap() })
    });
    let waiting: Vec<_> = waiting.collect();
    // In the other order than they were asked.
    for (request, text) in [(asked[1], "like this"), (asked[0], "that one")] {
        let handle = house.handle();
        handle.decide(session.clone(), Some(request), answer(text), ana()).await.unwrap();
    }
    let mut printed = vec![];
    for hook in waiting {
        printed.push(hook.await.unwrap());
    }
    assert!(printed[0].contains("that one") && printed[1].contains("like this"), "{printed:?}");
    house.tell(&session, &[answered("Which?"), answered("How?")]).await.unwrap();
    house.until("both are settled", |s| s.notifications.values().all(|n| n.settled)).await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r26_a_configuration_whose_plugins_cannot_be_built_changes_nothing() {
    let mut house = House::open().await;
    let session = house.working("Do it").await;
    let before = house.handle().state().policy_hash.clone();
    let mut broken = house.policy.clone();
    broken.channels.insert("pager".parse().unwrap(), PluginChoice::of("carrier-pigeon"));
    let refused = house.handle().apply_policy(broken.clone(), broken.into()).await.unwrap_err();
    assert!(refused.what.contains("carrier-pigeon"), "{refused}");
    assert_eq!(house.handle().state().policy_hash, before);
    house.tell(&session, &[question("Which?")]).await.unwrap();
    house.until_pushed("the question", |messages| messages.len() == 1).await;

    // A good one rules from then on.
    let mut good = house.policy.clone();
    channels(&mut good, &["letters"]);
    house.handle().apply_policy(good.clone(), good.into()).await.unwrap();
    house.tell(&session, &[question("How?")]).await.unwrap();
    house
        .patiently("a letter", async || (house.fakes.letters.taken().len() == 1).then_some(()))
        .await;
    assert_eq!(house.fakes.channel.messages().len(), 1);
    house.is_rebuilt().await;
    house.stop().await;
}

/// A client whose server was killed before it answered asks the next one for the same.
#[tokio::test(flavor = "multi_thread")]
async fn r1_an_act_that_is_repeated_with_its_key_is_done_once() {
    let mut house = House::open().await;
    let session = house.working("Do it").await;
    house.tell(&session, &[question("Which?")]).await.unwrap();
    let (text, yes) = ("use the helper", answer("yes"));
    let acts = async |house: &House| {
        let handle = house.handle();
        let sent = handle.once("k-send").send(session.clone(), text, ana()).await.unwrap();
        let spawned = handle.once("k-spawn").spawn(spawn_call("Do more"), ana()).await.unwrap();
        let once = handle.once("k-answer");
        let decided = once.decide(session.clone(), None, yes.clone(), ana()).await.unwrap();
        [sent, spawned, decided]
    };
    let first = acts(&house).await;
    house.kill().await;
    house.start().await.unwrap();
    let again = acts(&house).await;
    for (first, again) in first.iter().zip(&again) {
        assert_eq!(
            (&first.session, first.message, first.request),
            (&again.session, again.message, again.request)
        );
        let (before, after) = (first.after, again.after);
        assert!(before.is_none() && after.is_some(), "who repeats hears where to look from");
    }
    assert_eq!(house.count("session.requested").await, 2);
    assert_eq!(house.count("message.requested").await, 1);
    assert_eq!(house.count("request.decided").await, 1);
    // Another act is another.
    let sent = house.handle().once("k-other").send(session, text, ana()).await.unwrap();
    assert_ne!(sent.message, first[0].message);
    house.is_rebuilt().await;
    house.stop().await;
}
