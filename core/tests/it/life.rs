//! Sessions begun, ended and brought back, with the server or a human cutting in at every step.

use std::time::Duration;

use ao_core::{
    config::trigger::Trigger,
    decide::Input,
    event::{Kind, Over},
    state::{Fate, Progress, Status, Step},
};
use ao_slots::{
    ErrorKind, PluginError, SessionId,
    agent::{Decision, Signal},
    fact::WorkFacts,
};

use crate::{
    fakes::Mood,
    harness::{House, ana, answered, channels, open, question, reaction, turn_ended, turn_started},
};

fn first() -> SessionId {
    "app-1".parse().unwrap()
}

fn kill(session: &SessionId) -> Input {
    Input::Kill { session: session.clone(), force: false, by: ana() }
}

#[tokio::test(flavor = "multi_thread")]
async fn r19_a_kill_at_any_step_of_a_spawn_leaves_nothing_behind() {
    let first = first();
    for op in ["workspace.create", "workspace.setup", "runtime.create"] {
        for mood in [Mood::Hangs, Mood::DoesAndHangs] {
            let mut house = House::open().await;
            house.fakes.rig.set(op, first.as_str(), mood.clone(), u32::MAX);
            assert_eq!(house.spawn("Do it").await.unwrap(), first);
            house
                .patiently("it hangs", async || {
                    (house.fakes.rig.calls(op, first.as_str()) > 0).then_some(())
                })
                .await;
            house.handle().submit(kill(&first)).await.unwrap();
            let what = format!("{op} {mood:?}: killed and cleaned up");
            house
                .until(&what, |state| {
                    let session = &state.sessions[&first];
                    session.over.is_some_and(|(how, _)| how == Over::Killed)
                        && session.busy.is_none()
                        && session.cleanup.is_none()
                })
                .await;
            assert!(!house.fakes.workspace.has(&first), "{op} {mood:?}");
            assert_eq!(house.fakes.runtime.processes().len(), 0, "{op} {mood:?}");
            assert_eq!(house.fakes.rig.calls(op, first.as_str()), 1, "{op} {mood:?}");
            assert_eq!(house.spawn("Do more").await.unwrap().number(), 2, "no number comes twice");
            house.stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r19_a_kill_after_the_start_ends_the_agent_and_removes_what_is_safe() {
    let mut house = House::open().await;
    let launching = house.spawn("Silent").await.unwrap();
    house.until("it waits for a sign", |s| s.sessions[&launching].step == Step::Launching).await;
    let working = house.working("Do it").await;
    let dirty = house.working("Do more").await;
    let facts = WorkFacts { changed_files: 2, fingerprint: "f".into(), ..WorkFacts::default() };
    house.fakes.workspace.set(&dirty, facts);
    for session in [&launching, &working, &dirty] {
        house.handle().submit(kill(session)).await.unwrap();
    }
    for session in [&launching, &working, &dirty] {
        house.until("killed", |s| s.sessions[session].status == Status::Killed).await;
    }
    assert_eq!(house.fakes.runtime.processes().len(), 0);
    assert!(!house.fakes.workspace.has(&launching) && !house.fakes.workspace.has(&working));
    house.until("kept", |s| s.sessions[&dirty].workspace_kept.is_some()).await;
    assert!(house.fakes.workspace.has(&dirty), "unsaved work is nobody's to remove");

    let clean_up = |force| Input::Cleanup { session: dirty.clone(), force, by: ana() };
    house.handle().submit(clean_up(false)).await.unwrap();
    house.until("kept again", |s| s.sessions[&dirty].workspace_kept.is_some()).await;
    assert!(house.fakes.workspace.has(&dirty));
    house.handle().submit(clean_up(true)).await.unwrap();
    house.until("removed", |s| s.sessions[&dirty].workspace_gone).await;
    assert!(!house.fakes.workspace.has(&dirty));
    house.is_rebuilt().await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r19_a_spawn_that_fails_is_undone() {
    let no = || Mood::Fails(PluginError::permanent("it cannot be done", "no"));
    for op in ["workspace.create", "workspace.setup", "runtime.create"] {
        let mut house = House::open().await;
        house.fakes.rig.set(op, "app-1", no(), u32::MAX);
        let session = house.spawn("Do it").await.unwrap();
        house.until("it failed", |s| s.sessions[&session].status == Status::NotStarted).await;
        house.until("undone", |s| s.sessions[&session].busy.is_none()).await;
        assert!(!house.fakes.workspace.has(&session), "{op}");
        assert_eq!(house.fakes.runtime.processes().len(), 0, "{op}");
        let failure = house.session(&session).failure.unwrap();
        assert!(failure.1.message.contains("it cannot be done"), "{op} {failure:?}");
        assert_eq!(house.spawn("Again").await.unwrap().number(), 2, "no number comes twice");
        house.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_ended_is_brought_back_in_its_conversation() {
    let mut house = House::open().await;
    let session = house.working("Do it").await;
    house.fakes.runtime.end(&session, Some(1));
    house.until_pushed("its end", |messages| messages.len() == 1).await;
    let restore =
        || Input::Restore { session: session.clone(), fresh: false, env_names: None, by: ana() };
    house.handle().submit(restore()).await.unwrap();
    house.until("it runs again", |s| s.sessions[&session].launch.0 == 2).await;
    house.until("it runs again", |s| s.sessions[&session].handle.is_some()).await;
    let started = Signal::Started { native_id: None, transcript: None, version: None };
    house.tell_until_taken(&session, &[started]).await;
    house.until("restored", |s| s.sessions[&session].step == Step::Ready).await;
    let resumed = house.events().await.into_iter().any(|event| match event.kind {
        Kind::EffectSucceeded(e) => {
            matches!(e.outcome, ao_core::event::Outcome::Runtime { resumed: true, .. })
        }
        _ => false,
    });
    assert!(resumed);
    house.until("settled", |s| open(s, Trigger::AgentExited).is_empty()).await;
    assert_eq!(house.fakes.channel.messages().len(), 1);
    // Not twice at a time, and not while it runs.
    assert!(house.handle().submit(restore()).await.is_err());
    house.stop().await;
}

/// Cuts the server off while `op` runs for the first session, and starts it again.
async fn cut(house: &mut House, op: &str, stop: bool) {
    house
        .patiently("the call is made", async || {
            (house.fakes.rig.calls(op, "app-1") > 0).then_some(())
        })
        .await;
    if stop {
        house.stop().await;
    } else {
        house.kill().await;
    }
    house.fakes.rig.heal();
    house.start().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn r27_a_spawn_goes_on_after_the_server_ended_at_any_step() {
    for op in ["workspace.create", "workspace.setup", "runtime.create"] {
        for mood in [Mood::Hangs, Mood::DoesAndHangs] {
            for stop in [true, false] {
                let mut house = House::open().await;
                house.fakes.rig.set(op, "app-1", mood.clone(), u32::MAX);
                let session = house.spawn("Do it").await.unwrap();
                cut(&mut house, op, stop).await;
                house.begins(&session, "Do it").await;
                assert_eq!(house.fakes.runtime.started(), 1, "{op} {mood:?} {stop}");
                assert!(house.fakes.workspace.has(&session), "{op} {mood:?} {stop}");
                house.is_rebuilt().await;
                house.stop().await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r27_a_kill_and_a_clean_up_go_on_after_the_server_ended() {
    for op in ["runtime.destroy", "workspace.destroy"] {
        for mood in [Mood::Hangs, Mood::DoesAndHangs] {
            for stop in [true, false] {
                let mut house = House::open().await;
                let session = house.working("Do it").await;
                house.fakes.rig.set(op, "app-1", mood.clone(), u32::MAX);
                house.handle().submit(kill(&session)).await.unwrap();
                cut(&mut house, op, stop).await;
                house.until("killed", |s| s.sessions[&session].status == Status::Killed).await;
                assert!(!house.fakes.workspace.has(&session), "{op} {mood:?} {stop}");
                assert_eq!(house.fakes.runtime.processes().len(), 0, "{op} {mood:?} {stop}");
                house.stop().await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_may_have_been_typed_is_not_typed_again() {
    for confirmed in [true, false] {
        let mut house = House::open().await;
        let session = house.working("Do it").await;
        house.tell(&session, &[turn_ended("t1")]).await.unwrap();
        house.fakes.rig.set("runtime.type", "app-1", Mood::DoesAndHangs, u32::MAX);
        let sent = house.handle().send(session.clone(), "Also fix the docs.", ana()).await;
        let message = sent.unwrap().message.unwrap();
        cut(&mut house, "runtime.type", false).await;
        if confirmed {
            let turn = Signal::TurnStarted {
                turn: Some("t2".into()),
                prompt: Some("Also fix the docs.".into()),
            };
            house.tell_until_taken(&session, &[turn]).await;
        }
        house
            .until("it is known, or said that it is not", |s| {
                match &s.sessions[&session].messages[&message].fate {
                    Fate::Confirmed { .. } => confirmed,
                    Fate::Undelivered { .. } => !confirmed,
                    Fate::Waiting | Fate::Withdrawn { .. } => false,
                }
            })
            .await;
        let typed = house.fakes.runtime.processes()[0].typed.clone();
        assert_eq!(typed, ["Also fix the docs."]);
        house.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_send_that_was_cut_off_is_repeated_only_when_urgent_and_says_so() {
    for urgent in [true, false] {
        let mut house = House::with(|house| {
            channels(&mut house.policy, &["letters"]);
            reaction(&mut house.policy, Trigger::AgentIdle).threshold_ms = Some(10);
        })
        .await;
        let session = house.working("Do it").await;
        house.fakes.letters.rig.set("send", "", Mood::DoesAndHangs, 1);
        let told = if urgent { question("Which?") } else { turn_ended("t1") };
        house.tell(&session, &[told]).await.unwrap();
        house
            .patiently("a letter", async || (house.fakes.letters.taken().len() == 1).then_some(()))
            .await;
        house.kill().await;
        house.start().await.unwrap();
        house
            .until("it is settled", |state| {
                let mut all = state.notifications.values().flat_map(|n| n.deliveries.values());
                all.all(|d| matches!(d.progress, Progress::Sent | Progress::Dropped))
            })
            .await;
        let letters = house.fakes.letters.taken();
        let marked: Vec<bool> = letters.iter().map(|(_, letter)| letter.may_repeat).collect();
        assert_eq!(marked, if urgent { vec![false, true] } else { vec![false] });
        house.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_at_a_turns_work_that_was_cut_off_is_taken_after_a_restart() {
    let mut house = House::open().await;
    let session = house.working("Do it").await;
    house.fakes.rig.set("workspace.probe", session.as_str(), Mood::Hangs, u32::MAX);
    house.tell(&session, &[turn_ended("t1")]).await.unwrap();
    house
        .patiently("a look", async || {
            (house.fakes.rig.calls("workspace.probe", session.as_str()) > 0).then_some(())
        })
        .await;
    house.kill().await;
    house.fakes.rig.heal();
    house.start().await.unwrap();
    house
        .until("its work is seen", |state| {
            let session = &state.sessions[&session];
            session.work_looked.map(|when| when.seq) > session.turn_ended.map(|when| when.seq)
        })
        .await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_waits_over_restarts_for_the_hook_that_takes_it() {
    let mut house = House::open().await;
    let session = house.working("Do it").await;
    let asked = house.tell(&session, &[question("Which?")]).await.unwrap().wait.unwrap();
    let decision = Decision::Answer { text: "yes".into() };
    house.handle().decide(session.clone(), Some(asked), decision, ana()).await.unwrap();
    house.kill().await;
    house.start().await.unwrap();
    // The hook comes back, as it does when its connection broke.
    let again = house.tell(&session, &[question("Which?")]).await.unwrap();
    assert_eq!(again.wait, Some(asked));
    let call = house.call(&session, &[question("Which?")]);
    let printed = house.handle().wait(call, asked).await.unwrap();
    assert!(printed.unwrap().contains("yes"));
    house.tell(&session, &[answered("Which?")]).await.unwrap();
    house.until("answered", |s| s.sessions[&session].open_requests().next().is_none()).await;
    assert!(open(&house.handle().state(), Trigger::AgentNeedsInput).is_empty());
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r27_a_stop_waits_for_nobody_and_forgets_nothing() {
    let mut house = House::open().await;
    let session = house.working("Do it").await;
    let asked = house.tell(&session, &[question("Which?")]).await.unwrap().wait.unwrap();
    for op in ["channel.send", "runtime.probe", "workspace.probe", "runtime.create"] {
        house.fakes.rig.set(op, "", Mood::Hangs, u32::MAX);
    }
    let hangs = house.spawn("Hang").await.unwrap();
    let (handle, call) = (house.handle(), house.call(&session, &[question("Which?")]));
    let waiting = tokio::spawn(async move { handle.wait(call, asked).await });
    house
        .patiently("it hangs", async || {
            (house.fakes.rig.calls("runtime.create", hangs.as_str()) > 0).then_some(())
        })
        .await;
    // Well below the limits of what hangs: 30 s for an agent's start, 24 h for a hook that waits.
    tokio::time::timeout(Duration::from_secs(10), house.stop()).await.expect("it ends");
    assert!(waiting.await.unwrap().is_err(), "the hook is told to come back");
    house.fakes.rig.heal();
    house.start().await.unwrap();
    house.begins(&hangs, "Hang").await;
    assert_eq!(house.fakes.runtime.started(), 2, "agents are adopted, not started again");
    assert_eq!(house.session(&session).launch.0, 1);
    house.until_pushed("the question", |messages| messages.len() == 1).await;
    let events = house.events().await;
    assert!(events.iter().any(|e| matches!(&e.kind, Kind::ServerStarted(s) if s.clean)));
    house.is_rebuilt().await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_not_tried_for_ever() {
    let mut house = House::open().await;
    let session = house.working("Do it").await;
    let refused = PluginError::new(ErrorKind::Refused, "the channel", "not from here");
    house.fakes.rig.set("channel.send", "", Mood::Fails(refused), u32::MAX);
    house.tell(&session, &[question("Which?")]).await.unwrap();
    house
        .until("given up", |state| {
            let mut all = state.notifications.values().flat_map(|n| n.deliveries.values());
            all.any(|delivery| delivery.progress == Progress::Dropped)
        })
        .await;
    let tries = house.fakes.rig.calls("channel.send", "");
    house
        .tell(&session, &[answered("Which?"), turn_ended("t1"), turn_started("t2")])
        .await
        .unwrap();
    house.swept().await;
    assert_eq!(house.fakes.rig.calls("channel.send", ""), tries);
    house.stop().await;
}
