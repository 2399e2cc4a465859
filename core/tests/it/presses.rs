//! What a human presses on a channel, through the whole server: done once, or answered where it was pressed.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use ao_conformance::notifier::FarEnd as _;
use ao_core::{
    config::{
        policy::{Person, Policy, Role},
        trigger::Trigger,
    },
    decide::Input,
    event::{About, Text, digest},
    server::{Handle, Pressable},
};
use ao_slots::{
    PluginError, PrNumber, SessionId,
    fact::{Checks, Mergeable, PrFacts, PrState, Priority, Review, WorkFacts},
    notifier::{Action, IncomingAction, Mark, Message, Notifier, Press},
    scm::PrRef,
};

use crate::{
    fakes::Mood,
    harness::{House, pressed_by_ana, question, reaction, turn_ended, turn_started},
};

/// A human presses a button of this message.
fn press(house: &House, message: &Message, button: &str) {
    let press = match button {
        "open" => Press::Open(message.id),
        _ => Press::Button(house.token(message, button)),
    };
    house.fakes.channel.act(pressed_by_ana(press));
}

/// The message as it is shown once it says so.
async fn says(house: &House, words: &str) -> Message {
    let told = house.until_pushed(words, |all| all.iter().any(|m| m.short.contains(words))).await;
    told.into_iter().find(|message| message.short.contains(words)).unwrap()
}

/// The lines that are shown beside the messages.
async fn line(house: &House, words: &str) {
    house
        .patiently(words, async || {
            let shown = house.fakes.channel.shown().await;
            shown
                .iter()
                .any(|shown| shown.title == "ao" && shown.body.contains(words))
                .then_some(())
        })
        .await;
}

async fn asking() -> (House, SessionId, Message) {
    let house = House::open().await;
    let session = house.working("Do it").await;
    house.tell(&session, &[question("Which?")]).await.unwrap();
    let pushed = house.until_pushed("the question", |messages| messages.len() == 1).await;
    (house, session, pushed[0].clone())
}

fn channel(handle: &Handle) -> Arc<dyn Notifier> {
    handle.plugins().channels.values().next().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_that_cannot_be_opened_is_said_on_the_message_with_the_command() {
    let (mut house, session, message) = asking().await;
    press(&house, &message, "open");
    let shown = says(&house, "No terminal can be opened from here").await;
    assert!(shown.short.ends_with(&format!("Instead: ao session attach {session}")), "{shown:?}");
    assert_eq!((shown.mark, shown.buttons.len()), (Mark::Failed, message.buttons.len()));
    house.fakes.rig.set("terminal.open", "", Mood::Fails(PluginError::permanent("no", "why")), 1);
    press(&house, &message, "open");
    let shown = says(&house, "No: why").await;
    assert!(shown.short.ends_with(&format!("Instead: ao why {session}")), "{shown:?}");
    // Open again that works: nothing is said.
    press(&house, &message, "answer:1");
    house
        .until("it is answered", |s| {
            s.sessions[&session].requests.values().all(|request| request.decided.is_some())
        })
        .await;
    press(&house, &message, "answer:2");
    line(&house, "This button was already used, by ana by desktop").await;
    assert_eq!(house.count("request.decided").await, 1);
    house.is_rebuilt().await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_done_and_a_late_one_are_answered_and_do_nothing() {
    let mut house = House::with(|house| {
        reaction(&mut house.policy, Trigger::AgentIdle).threshold_ms = Some(10);
    })
    .await;
    let session = house.working("Do it").await;
    let changed = WorkFacts {
        changed_files: 2,
        ..house.session(&session).work().cloned().unwrap_or_default()
    };
    house.fakes.workspace.set(&session, changed);
    house.tell(&session, &[turn_ended("t1")]).await.unwrap();
    let pushed = house.until_pushed("it is idle", |messages| messages.len() == 1).await;
    press(&house, &pushed[0], "done");
    let shown = says(&house, "2 files are not committed").await;
    assert!(shown.buttons.iter().any(|button| button.action == Action::Done));
    house.tell(&session, &[turn_started("t2")]).await.unwrap();
    house.until("it is settled", |s| s.notifications.values().all(|n| n.settled)).await;
    press(&house, &pushed[0], "done");
    line(&house, &format!("{session} works again since")).await;
    assert!(!house.session(&session).is_over());
    assert_eq!(house.count("done.marked").await, 0);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_configuration_keeps_every_plugin_whose_settings_are_the_same() {
    let (mut house, _, message) = asking().await;
    let (before, project) =
        (channel(&house.handle()), house.policy.projects.keys().next().unwrap().clone());
    let runtime = house.handle().plugins().projects[&project].runtime.clone();
    let mut policy = house.policy.clone();
    policy.lifecycle.sweep_interval_ms = 90;
    house.handle().apply_policy(policy.clone(), policy.clone().into()).await.unwrap();
    assert!(Arc::ptr_eq(&before, &channel(&house.handle())), "its connection is gone");
    assert!(Arc::ptr_eq(&runtime, &house.handle().plugins().projects[&project].runtime));
    // A press that is being done while its channel gets other settings is done to the end, and answered.
    let slow = Mood::Slow(Duration::from_millis(300));
    house.fakes.rig.set("terminal.open", "", slow, 1);
    press(&house, &message, "open");
    house
        .patiently("it is being opened", async || {
            let session = message.session.as_ref().unwrap();
            (house.fakes.rig.calls("terminal.open", session.as_str()) == 1).then_some(())
        })
        .await;
    let choice = policy.channels.values_mut().next().unwrap();
    choice.settings = serde_json::json!({ "address": "elsewhere" });
    house.handle().apply_policy(policy.clone(), policy.into()).await.unwrap();
    assert!(!Arc::ptr_eq(&before, &channel(&house.handle())));
    says(&house, "No terminal can be opened from here").await;
    // And the new one is listened to.
    press(&house, &message, "open");
    house
        .patiently("a second refusal", async || {
            (house.count("press.refused").await == 2).then_some(())
        })
        .await;
    house.stop().await;
}

/// Looks at the channel so far.
fn looks(house: &House) -> u32 {
    house.fakes.rig.calls("channel.check", "")
}

/// A look may be a login, and providers count those: it is made at the start, of other settings, and for whoever asks;
/// by another configuration that leaves the channel as it is, and while the provider wants rest, none.
#[tokio::test(flavor = "multi_thread")]
async fn a_channel_is_looked_at_when_it_is_new_or_somebody_asks_and_never_while_it_rests() {
    let mut house = House::open().await;
    house.patiently("the first look", async || (looks(&house) == 1).then_some(())).await;
    let mut policy = house.policy.clone();
    let applied = async |policy: &Policy| {
        house.handle().apply_policy(policy.clone(), policy.clone().into()).await.unwrap();
    };
    for interval in [90, 80, 70] {
        policy.lifecycle.sweep_interval_ms = interval;
        applied(&policy).await;
    }
    policy.channels.values_mut().next().unwrap().settings = serde_json::json!({"address": "b"});
    applied(&policy).await;
    house.patiently("the look at other settings", async || (looks(&house) > 1).then_some(())).await;
    house.handle().look_at_channels().await;
    assert_eq!(looks(&house), 3, "the start, other settings, and somebody who asked");
    let rest = PluginError::transient("busy", "").with_retry_after(Duration::from_secs(600));
    house.fakes.rig.set("channel.check", "", Mood::Fails(rest), 1);
    for _ in 0..3 {
        house.handle().look_at_channels().await;
    }
    assert_eq!(looks(&house), 4, "the provider said when to come again");
    assert_eq!(house.handle().unable_channels().len(), 1);
    // Other settings are another account, and what a send was told holds for looks too.
    policy.channels.values_mut().next().unwrap().settings = serde_json::json!({"address": "c"});
    applied(&policy).await;
    house.patiently("the look at these", async || (looks(&house) == 5).then_some(())).await;
    let rest = PluginError::transient("busy", "").with_retry_after(Duration::from_secs(600));
    house.fakes.rig.set("channel.send", "", Mood::Fails(rest), 1);
    let session = house.working("Do it").await;
    house.tell(&session, &[question("Which?")]).await.unwrap();
    let name = policy.channels.keys().next().unwrap().clone();
    house.until("it rests", |state| state.channels[&name].not_before.is_some()).await;
    house.handle().look_at_channels().await;
    assert_eq!(looks(&house), 5, "a send was told to wait");
    house.stop().await;
}

/// During a Retry-After nothing is asked of a provider, by a test neither; and what a test is told holds for all.
#[tokio::test(flavor = "multi_thread")]
async fn f16_a_test_waits_while_the_provider_wants_rest() {
    let mut house = House::open().await;
    let name = house.policy.channels.keys().next().unwrap().clone();
    let sends = || house.fakes.rig.calls("channel.send", "");
    let rest = PluginError::transient("busy", "").with_retry_after(Duration::from_secs(600));
    house.fakes.rig.set("channel.send", "", Mood::Fails(rest), 1);
    let test = async || house.handle().test_channel(&name, "x", Priority::Action).await;
    test().await.unwrap_err();
    assert_eq!(sends(), 1);
    let refused = test().await.unwrap_err();
    assert!(refused.cause.starts_with("it asked to be left alone until "), "{refused}");
    let session = house.working("Do it").await;
    house.tell(&session, &[question("Which?")]).await.unwrap();
    house.until("it waits", |state| !state.channels[&name].waiting.is_empty()).await;
    house.swept().await;
    assert_eq!(sends(), 1, "the provider said when to come again");
    assert_eq!(house.count("channel.tried").await, 1, "what was not sent has not failed");
    house.is_rebuilt().await;
    house.stop().await;
}

/// A test of a channel that failed shows whether it works again: only the provider's own wish keeps it back.
#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_failed_is_tested_at_once() {
    let mut house = House::open().await;
    let name = house.policy.channels.keys().next().unwrap().clone();
    let down = PluginError::transient("away", "");
    house.fakes.rig.set("channel.send", "", Mood::Fails(down), 1);
    let session = house.working("Do it").await;
    house.tell(&session, &[question("Which?")]).await.unwrap();
    house.until("it rests", |state| state.channels[&name].not_before.is_some()).await;
    house.handle().test_channel(&name, "x", Priority::Action).await.unwrap();
    house.stop().await;
}

/// What a look finds out of a channel is what the rules go by from then on.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_look_finds_out_of_a_channel_is_recorded() {
    let mut house = House::with(|house| house.fakes.finds_old.store(true, Ordering::SeqCst)).await;
    let can = |state: &ao_core::state::State| {
        let channel = state.channels.values().next().and_then(|it| it.capabilities.clone());
        channel.is_some_and(|can| can.edits || can.idempotent || can.finds)
    };
    house.until("it is recorded", |state| !can(state)).await;
    house.handle().look_at_channels().await;
    assert_eq!(house.count("config.applied").await, 2, "the start, and what was found once");
    house.is_rebuilt().await;
    house.stop().await;
}

/// Ana may act, and ben may look. Both tell themselves by their accounts.
async fn with_ana_and_ben(change: impl FnOnce(&mut House)) -> House {
    House::with(|house| {
        for (name, role, id) in [("ana", Role::Admin, "U1"), ("ben", Role::Viewer, "U2")] {
            let identities = [("desktop".parse().unwrap(), id.to_owned())].into();
            let person = Person { role, identities, ..Person::default() };
            house.policy.people.insert(name.into(), person);
        }
        change(house);
    })
    .await
}

fn by_ben(press: Press) -> IncomingAction {
    IncomingAction { identity: Some("U2".into()), who: "ben".into(), ..pressed_by_ana(press) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_told_also_where_an_earlier_one_stands_on_the_message() {
    let mut house = with_ana_and_ben(|_| {}).await;
    let session = house.working("Do it").await;
    house.tell(&session, &[question("Which?")]).await.unwrap();
    let pushed = house.until_pushed("the question", |messages| messages.len() == 1).await;
    press(&house, &pushed[0], "open");
    let shown = says(&house, "No terminal can be opened from here").await;
    house.fakes.channel.act(by_ben(Press::Button(house.token(&shown, "answer:1"))));
    line(&house, "Only people with the role member can do this. Ask ana.").await;
    assert_eq!(house.count("request.decided").await, 0);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn words_of_who_may_not_act_are_neither_kept_nor_offered_back() {
    let mut house = with_ana_and_ben(|house| {
        reaction(&mut house.policy, Trigger::AgentIdle).threshold_ms = Some(10);
    })
    .await;
    let session = house.working("Do it").await;
    house.tell(&session, &[turn_ended("t1")]).await.unwrap();
    house.until_pushed("it is idle", |messages| messages.len() == 1).await;
    let shown = house
        .patiently("the message is known again", async || {
            let handle = house.handle();
            let state = handle.state();
            let mut told = state.notifications.values();
            told.find_map(|told| told.deliveries.values().find_map(|d| d.handle.clone()))
        })
        .await;
    let offered = house.count("buttons.offered").await;
    let reply = |action: IncomingAction| IncomingAction { text: Some("Go on".into()), ..action };
    house.fakes.channel.act(reply(by_ben(Press::Reply(shown.clone()))));
    line(&house, "Only people with the role member can do this. Ask ana.").await;
    assert_eq!(house.count("buttons.offered").await, offered);
    // Ana is asked.
    let ana = IncomingAction { identity: Some("U1".into()), ..pressed_by_ana(Press::Reply(shown)) };
    house.fakes.channel.act(reply(ana));
    line(&house, &format!("Send this to {session}?")).await;
    assert_eq!(house.count("buttons.offered").await, offered + 1);
    house.stop().await;
}

/// What a channel brings back itself says who pressed it; a page does not know.
#[tokio::test(flavor = "multi_thread")]
async fn s20_the_page_knows_no_button_that_went_out_without_a_link() {
    let (mut house, _, message) = asking().await;
    let token = house.token(&message, "answer:1");
    let handle = house.handle();
    assert!(matches!(handle.pressable(&token), Pressable::Unknown));
    let refusal = handle.press(&token, None, "ana").await.unwrap_err();
    assert_eq!(refusal.message, "this button is not known here; nothing was done");
    assert_eq!(house.count("request.decided").await, 0);
    press(&house, &message, "answer:1");
    house
        .patiently("it is answered", async || {
            (house.count("request.decided").await == 1).then_some(())
        })
        .await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_pull_request_needs_is_done_by_a_button_and_what_did_not_work_is_shown() {
    let mut house = House::with(|house| {
        // Long enough to see what is said in between: so soon it is told anew after a retry too.
        reaction(&mut house.policy, Trigger::ChangesRequested).escalate_after_ms = Some(1_500);
    })
    .await;
    let session = house.working("Do it").await;
    let facts = |state, human_threads| PrFacts {
        number: PrNumber(57),
        title: "Dark mode".into(),
        head: "3f9c2d1".into(),
        state,
        checks: Checks::Pending,
        failing: vec![],
        pending: 0,
        review: Review::Pending,
        human_threads,
        remarks: 0,
        remark_ids: vec![],
        bot_threads: 0,
        mergeable: Mergeable::Yes,
        discussion: "1".into(),
        details: Box::default(),
    };
    let give = async |input| house.handle().submit(input).await.unwrap();
    let pr = PrRef { repo: "acme/my-app".into(), number: PrNumber(57), node: None };
    give(Input::Link { session: session.clone(), pr, by: None }).await;
    give(Input::Pr { session: session.clone(), pr: facts(PrState::Open, 1) }).await;
    let trigger = Trigger::ChangesRequested;
    let key = house.session(&session).brief_key(trigger).unwrap();
    let (about, text) = (About { trigger, key }, "ben: use the helper");
    let (held, digest, text) = (vec![], digest(text), Text::short(text));
    give(Input::Brief { session: session.clone(), about, text, digest, held }).await;
    let asks = "PR #57: 1 review comment open";
    let is = |message: &Message| message.title.starts_with(asks);
    let told = house.until_pushed(asks, |all| all.iter().any(is)).await;
    let queued = house.count("message.queued").await;
    press(&house, told.iter().find(|message| is(message)).unwrap(), "again");
    let shown = says(&house, &format!("Sent to {session} once more, asked by ana")).await;
    assert!(shown.buttons.is_empty());
    assert_eq!(house.count("message.queued").await, queued + 1, "it is told of it again");

    give(Input::Pr { session: session.clone(), pr: facts(PrState::Closed, 0) }).await;
    let closed = "PR #57 was closed without a merge";
    let is = |message: &Message| message.title == closed && message.kind == "pr-closed";
    let told = house.until_pushed(closed, |all| all.iter().any(is)).await;
    press(&house, told.iter().find(|message| is(message)).unwrap(), "pr-reopen");
    let shown = says(&house, "It was not reopened: the project").await;
    assert_eq!(shown.mark, Mark::Failed);
    assert!(shown.buttons.iter().any(|button| button.label == "Reopen PR"));
    house.stop().await;
}
