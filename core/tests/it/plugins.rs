//! Plugins that never return, return late, panic or fail: one session's trouble is no other's.

use std::{sync::mpsc, time::Duration};

use ao_core::{
    config::{policy::PluginChoice, trigger::Trigger},
    decide::Input,
    event::Kind,
    server::SpawnCall,
    state::{Progress, Status, Step},
};
use ao_slots::{
    ErrorKind, PluginError, SessionId,
    agent::Decision,
    fact::{RuntimeState, WorkFacts},
    notifier::Press,
};

use crate::{
    fakes::Mood,
    harness::{
        House, ana, channels, open, policy, pressed_by_ana, question, reaction, spawn_call,
        turn_ended,
    },
};

/// A house whose calls may take half a second.
async fn hasty(channel: &str) -> House {
    House::with(|house| {
        channels(&mut house.policy, &[channel]);
        let limits = &mut house.policy.lifecycle.limits;
        (limits.notify_ms, limits.runtime_create_ms) = (500, 500);
        (limits.worktree_ms, limits.fetch_ms) = (300, 200);
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn r11_a_send_that_never_returns_is_looked_for_and_made_once() {
    for (mood, sends) in [(Mood::Hangs, 2), (Mood::DoesAndHangs, 1), (Mood::Panics, 2)] {
        let mut house = hasty("desktop").await;
        let session = house.working("Do it").await;
        house.fakes.rig.set("channel.send", "", mood.clone(), 1);
        house.tell(&session, &[question("Which?")]).await.unwrap();
        house
            .until("it is sent", |state| {
                let mut all = state.notifications.values().flat_map(|n| n.deliveries.values());
                all.any(|delivery| delivery.progress == Progress::Sent)
            })
            .await;
        assert_eq!(house.count("effect.doubted").await, 1, "{mood:?}");
        assert_eq!(house.fakes.rig.calls("channel.send", ""), sends, "{mood:?}");
        assert_eq!(house.fakes.channel.messages().len(), 1, "{mood:?}");
        house.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r11_the_host_gives_a_call_its_limit_and_a_second() {
    let mut house = hasty("desktop").await;
    let session = house.working("Do it").await;
    house.fakes.rig.set("channel.send", "", Mood::Hangs, 1);
    house.tell(&session, &[question("Which?")]).await.unwrap();
    house.until_pushed("the question", |messages| messages.len() == 1).await;
    let events = house.events().await;
    let doubted = events.iter().find_map(|event| match &event.kind {
        Kind::EffectDoubted(e) => Some((e.intent, event.awake)),
        _ => None,
    });
    let (intent, doubted) = doubted.unwrap();
    let intended = events.iter().find(|event| event.seq == intent).unwrap().awake;
    assert!(doubted - intended >= 1_490, "{} ms", doubted - intended);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r11_a_channel_that_cannot_look_repeats_what_is_urgent_and_says_so() {
    let mut house = hasty("letters").await;
    let session = house.working("Do it").await;
    house.fakes.letters.rig.set("send", "", Mood::DoesAndHangs, 1);
    house.tell(&session, &[question("Which?")]).await.unwrap();
    let letters = house
        .patiently("a second letter", async || {
            Some(house.fakes.letters.taken()).filter(|taken| taken.len() == 2)
        })
        .await;
    assert_eq!(letters[0].0, letters[1].0, "one message has one key");
    assert!(!letters[0].1.may_repeat && letters[1].1.may_repeat);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r11_a_channel_that_cannot_look_does_not_repeat_what_can_wait() {
    let mut house = hasty("letters").await;
    reaction(&mut house.policy, Trigger::AgentIdle).threshold_ms = Some(10);
    let policy = house.policy.clone();
    house.handle().apply_policy(policy.clone(), policy.into()).await.unwrap();
    let session = house.working("Do it").await;
    house.fakes.letters.rig.set("send", "", Mood::DoesAndHangs, 1);
    house.tell(&session, &[turn_ended("t1")]).await.unwrap();
    house
        .until("it is given up", |state| {
            let mut all = state.notifications.values().flat_map(|n| n.deliveries.values());
            all.any(|delivery| delivery.progress == Progress::Dropped)
        })
        .await;
    assert_eq!(house.fakes.letters.taken().len(), 1);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r11_a_look_that_never_returns_ends_too() {
    let mut house = hasty("desktop").await;
    let session = house.working("Do it").await;
    house.fakes.rig.set("channel.send", "", Mood::Hangs, 1);
    house.fakes.rig.set("channel.find", "", Mood::Hangs, 1);
    house.tell(&session, &[question("Which?")]).await.unwrap();
    house.until_pushed("the question all the same", |messages| messages.len() == 1).await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r11_a_channel_that_fails_is_tried_again_later_and_later_one_at_a_time() {
    let mut house = hasty("letters").await;
    let away = Mood::Fails(PluginError::transient("the channel", "away"));
    house.fakes.letters.rig.set("send", "", away, 3);
    let mut sessions = vec![];
    for n in 0..4 {
        sessions.push(house.working(&format!("Task {n}")).await);
    }
    for session in &sessions {
        house.tell(session, &[question("Which?")]).await.unwrap();
    }
    let letters = house
        .patiently("all letters", async || {
            Some(house.fakes.letters.taken()).filter(|taken| taken.len() == sessions.len())
        })
        .await;
    // What was tried least goes first, so that no letter holds up another.
    let told: Vec<SessionId> = letters.iter().filter_map(|(_, m)| m.session.clone()).collect();
    sessions.rotate_right(1);
    assert_eq!(told, sessions);
    let crossed = house.fakes.letters.crossed.load(std::sync::atomic::Ordering::SeqCst);
    assert_eq!(crossed, 0, "one at a time");
    let events = house.events().await;
    let failed: Vec<u64> = events
        .iter()
        .filter(|event| matches!(event.kind, Kind::EffectFailed(_)))
        .map(|event| event.awake)
        .collect();
    assert_eq!(failed.len(), 3);
    assert!(failed[2] - failed[1] > failed[1] - failed[0], "{failed:?}");
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r11_what_one_session_waits_for_holds_up_no_other() {
    let mut house = House::open().await;
    let id = |n: u32| SessionId::compose(&"app".parse().unwrap(), n);
    for (n, op) in ["workspace.create", "workspace.setup", "runtime.create"].iter().enumerate() {
        house.fakes.rig.set(op, id(n as u32 + 1).as_str(), Mood::Hangs, u32::MAX);
    }
    for n in 0..3 {
        assert_eq!(house.spawn(&format!("Hang {n}")).await.unwrap(), id(n + 1));
    }
    let session = house.working("Do it").await;
    house.tell(&session, &[question("Which?")]).await.unwrap();
    house.until_pushed("the question", |messages| messages.len() == 1).await;
    for n in 1..=3 {
        assert!(house.session(&id(n)).handle.is_none());
        assert!(house.session(&id(n)).busy.is_some());
    }
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r11_an_agent_whose_start_is_in_doubt_is_started_once() {
    for mood in [Mood::Hangs, Mood::DoesAndHangs, Mood::Panics] {
        let mut house = hasty("desktop").await;
        house.fakes.rig.set("runtime.create", "app-1", mood.clone(), 1);
        let session = house.working("Do it").await;
        assert_eq!(session.as_str(), "app-1");
        assert_eq!(house.fakes.runtime.started(), 1, "{mood:?}");
        assert_eq!(house.count("effect.doubted").await, 1, "{mood:?}");
        house.stop().await;
    }
}

fn spawn_on(branch: &str) -> SpawnCall {
    SpawnCall { branch: Some(branch.into()), ..spawn_call("Go on") }
}

/// A workspace that the spawn made is made anew; one that it took over, which the plugin does not undo, stays.
#[tokio::test(flavor = "multi_thread")]
async fn r19_set_up_commands_in_doubt_run_again_on_the_branch_that_is_gone_on_with() {
    for (taken_over, made) in [(false, 2), (true, 1)] {
        let mut house = House::with(|house| {
            house.policy.lifecycle.limits.post_create_ms = 300;
        })
        .await;
        let rig = &house.fakes.rig;
        rig.set("workspace.setup", "app-1", Mood::DoesAndHangs, 1);
        if taken_over {
            let refused = PluginError::new(ErrorKind::Refused, "it was there before", "");
            rig.set("workspace.destroy", "app-1", Mood::Fails(refused), 1);
        }
        let spawned = house.handle().spawn(spawn_on("ana/fix"), ana()).await.unwrap();
        house.begins(&spawned.session.unwrap(), "Go on").await;
        assert_eq!(house.fakes.rig.calls("workspace.setup", "app-1"), 2);
        let asked = house.fakes.workspace.asked.lock().unwrap().clone();
        assert_eq!(asked.len(), made, "taken over: {taken_over}");
        assert!(asked.iter().all(|asked| asked.existing && asked.branch == "ana/fix"), "{asked:?}");
        house.stop().await;
    }
}

/// What is known of a workspace may be old: it is looked at once more before it is taken over.
#[tokio::test(flavor = "multi_thread")]
async fn a_branch_that_an_agent_has_gone_to_meanwhile_is_not_taken_from_it() {
    let mut house = House::open().await;
    let first = house.working("Do it").await;
    let blind = Mood::Fails(PluginError::transient("cannot look", ""));
    house.fakes.rig.set("workspace.probe", "", blind, u32::MAX);
    let gone_to = WorkFacts { branch: Some("ana/fix".into()), ..WorkFacts::default() };
    house.fakes.workspace.set(&first, gone_to);
    let spawned = house.handle().spawn(spawn_on("ana/fix"), ana()).await.unwrap();
    let second = spawned.session.unwrap();
    house.until("the second ends", |state| state.sessions[&second].is_over()).await;
    let (step, failure) = house.session(&second).failure.unwrap();
    assert_eq!((step.as_str(), failure.kind), ("workspace", ErrorKind::Refused));
    assert_eq!(failure.message, "app-1 works on ana/fix");
    assert_eq!(failure.remedy.as_deref(), Some("ao session attach app-1"));
    assert_eq!(house.fakes.rig.calls("workspace.create", second.as_str()), 0);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r11_a_runtime_that_hangs_or_panics_blinds_only_its_own_sessions() {
    let mut house = House::closed(|house| {
        let mut policy = policy();
        let mut other = policy.projects[&"my-app".parse().unwrap()].clone();
        other.runtime = PluginChoice::of("process");
        other.session_prefix = "oth".parse().unwrap();
        policy.projects.insert("other".parse().unwrap(), other);
        house.policy = policy;
    });
    house.start().await.unwrap();
    let here = house.working("Do it").await;
    let there = {
        let call = ao_core::server::SpawnCall {
            project: "other".parse().unwrap(),
            issue: None,
            read: None,
            prompt: Some("Do that".into()),
            agent: None,
            branch: None,
            force: false,
            env: Default::default(),
        };
        house.handle().spawn(call, ana()).await.unwrap().session.unwrap()
    };
    house.begins(&there, "Do that").await;
    house.fakes.rig.set("runtime.probe", "", Mood::Panics, 3);
    house.fakes.rig.set("runtime.probe", "", Mood::Hangs, u32::MAX);
    house
        .until("its own are unknown", |state| {
            state.sessions[&here].runtime_state.value == RuntimeState::Unknown
        })
        .await;
    house.fakes.other_runtime.end(&there, Some(3));
    house.until_pushed("the end of the other", |messages| messages.len() == 1).await;
    let ended = open(&house.handle().state(), Trigger::AgentExited);
    assert_eq!(ended.iter().map(|i| i.sessions.clone()).collect::<Vec<_>>(), [vec![there]]);
    assert_eq!(house.session(&here).status, Status::Unknown);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_is_built_beside_the_server_and_once_for_all_that_still_need_it() {
    let mut house = House::open().await;
    let session = house.working("Do it").await;
    let (teller, call) = (house.handle(), house.call(&session, &[turn_ended("t1")]));
    let release = house.fakes.rig.hold_build("process");
    let mut policy = house.policy.clone();
    policy.projects.values_mut().for_each(|p| p.runtime = PluginChoice::of("process"));
    let (handle, here) = (house.handle(), tokio::runtime::Handle::current());
    let applied = tokio::task::spawn_blocking(move || {
        here.block_on(handle.apply_policy(policy.clone(), policy.into()))
    });
    let built = |plugin: &str| house.fakes.rig.calls(&format!("{plugin}.build"), "");
    house.patiently("it is being built", async || (built("process") == 1).then_some(())).await;
    // Waited for by this thread alone: what holds the state holds up all others.
    let (done, told) = mpsc::channel();
    tokio::spawn(async move { done.send(teller.hook(call).await) });
    told.recv_timeout(Duration::from_secs(30)).expect("nobody waits for the build").unwrap();
    drop(release);
    applied.await.unwrap().unwrap();

    // The session stays in the runtime in which it was started.
    house.swept().await;
    house.swept().await;
    assert_eq!((built("runtime"), built("process")), (2, 1));
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r11_a_channel_that_panics_while_listening_is_listened_to_again() {
    let mut house = House::closed(|_| {});
    house.fakes.rig.set("channel.receive", "", Mood::Panics, 1);
    house.start().await.unwrap();
    let session = house.working("Do it").await;
    house.tell(&session, &[question("Which?")]).await.unwrap();
    let pushed = house.until_pushed("the question", |messages| messages.len() == 1).await;
    let token = house.token(&pushed[0], "answer:1");
    house.fakes.channel.act(pressed_by_ana(Press::Button(token)));
    house
        .until("it is answered", |state| {
            let request = state.sessions[&session].requests.values().next();
            let decided = request.and_then(|request| request.decided.as_ref());
            decided.is_some_and(|d| d.decision == Decision::Answer { text: "yes".into() })
        })
        .await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_does_not_wait_for_what_it_ends() {
    let mut house = House::open().await;
    let session = house.working("Do it").await;
    house.fakes.rig.set(
        "runtime.destroy",
        session.as_str(),
        Mood::Slow(Duration::from_millis(300)),
        1,
    );
    let kill = || Input::Kill { session: session.clone(), force: false, by: ana() };
    house.handle().submit(kill()).await.unwrap();
    // A second one changes nothing, and does not interrupt the first.
    house.handle().submit(kill()).await.unwrap();
    house.until("killed", |state| state.sessions[&session].status == Status::Killed).await;
    assert_eq!(house.fakes.rig.calls("runtime.destroy", session.as_str()), 1);
    assert_eq!(house.session(&session).step, Step::Over);
    assert_eq!(house.fakes.runtime.processes().len(), 0);
    house.stop().await;
}
