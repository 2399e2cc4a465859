//! The plugin against a strict daemon on a real bus, and against a real daemon on a real display.

mod stage;

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use ao_conformance::notifier::{self as suite, Mood, call, message, plain_button};
use ao_slots::{
    Call, ErrorKind, NotificationId,
    call::Answer,
    fact::Priority,
    notifier::{
        Button, ButtonStyle, ChannelHandle, Confirm, IncomingAction, Message, Notifier, Press,
    },
};
use stage::{Bus, Dunst, Strict, desktop, desktop_at, until};
use suite::FarEnd as _;
use tokio::net::UnixListener;

fn short(key: &str) -> Call {
    Call::new(key, Duration::from_millis(200))
}

async fn received(notifier: &Arc<dyn Notifier>) -> IncomingAction {
    tokio::time::timeout(Duration::from_secs(30), notifier.receive()).await.unwrap().unwrap()
}

/// What comes of it when the person does this, again until something comes.
async fn acted(notifier: &Arc<dyn Notifier>, act: impl AsyncFn()) -> IncomingAction {
    let come = async || {
        act().await;
        tokio::time::timeout(Duration::from_millis(500), notifier.receive()).await.ok()
    };
    until("the press comes back", come).await.unwrap()
}

/// Sends, and returns the handle.
async fn sent(notifier: &Arc<dyn Notifier>, key: &str, message: &Message) -> ChannelHandle {
    notifier.send(&call(key), message).await.unwrap().handle.unwrap()
}

fn merge() -> Message {
    let confirm = Confirm {
        question: "Merge #57 into main?".into(),
        yes: "Merge #57".into(),
        no: "Not now".into(),
    };
    Message {
        kind: "approved-and-green".into(),
        priority: Priority::Action,
        title: "PR #57 is ready to merge: Dark mode".into(),
        short: "+48 −12, 6 of 6 checks, approved by ben.".into(),
        buttons: vec![
            Button {
                style: ButtonStyle::Primary,
                confirm: Some(confirm),
                ..plain_button("merge", "Merge")
            },
            plain_button("later", "Not now"),
        ],
        command: Some("ao merge app-1".into()),
        ..message(57)
    }
}

#[tokio::test]
async fn the_contract_holds() {
    suite::all(Strict::start).await;
}

#[tokio::test]
async fn an_urgent_message_stays_with_its_buttons_and_a_click() {
    let far = Strict::start().await;
    sent(&far.notifier(), "k", &message(1)).await;
    let raw = far.newest();
    assert_eq!((raw.urgency, raw.silent, raw.timeout), (2, false, 0));
    let labels: Vec<&str> = raw.actions.iter().map(|action| action.1.as_str()).collect();
    assert_eq!(labels, ["Open", "Items only", "Items and shipping"]);
    far.press_key(&raw, "default").await;
    let action = received(&far.notifier()).await;
    assert_eq!((&action.press, action.who.as_str()), (&Press::Open(NotificationId(1)), "ana"));
}

#[tokio::test]
async fn a_daemon_without_actions_or_markup_gets_the_command_and_raw_text() {
    let far = Strict::start().await;
    far.far().capabilities = vec!["body"];
    let text = Message { short: "a < b & c".into(), ..message(1) };
    sent(&far.notifier(), "k", &text).await;
    assert_eq!(far.newest().body, "a < b & c\nao answer app-3 \"…\"");
    assert_eq!(far.shown().await.len(), 1);
}

#[tokio::test]
async fn what_needs_a_second_look_is_asked_in_the_notifications_place() {
    let far = Strict::start().await;
    let notifier = far.notifier();
    sent(&notifier, "k", &merge()).await;
    far.press("Merge").await;
    let asked = until("the question", async || {
        far.far().shown.last().filter(|raw| raw.title == "Merge #57 into main?").cloned()
    })
    .await;
    assert_eq!(asked.actions[0].1, "Merge #57");
    assert!(asked.silent && asked.timeout == 0, "{asked:?}");
    // Not now: the message comes back, and nothing was done.
    far.press("Not now").await;
    let title = merge().title;
    until("the message again", async || {
        far.far().shown.last().filter(|raw| raw.title == title && raw.silent).cloned()
    })
    .await;
    // Asked again and meant.
    far.press("Merge").await;
    until("the question again", async || {
        far.far().shown.last().filter(|raw| raw.title == "Merge #57 into main?").cloned()
    })
    .await;
    assert_eq!(far.shown().await.len(), 1, "question and message stand side by side");
    far.press("Merge #57").await;
    let action = received(&notifier).await;
    assert_eq!(action.press, Press::Button("merge".to_owned()));
}

#[tokio::test]
async fn only_the_daemon_that_shows_it_can_press_a_button_and_only_one_that_is_offered() {
    let far = Strict::start().await;
    let notifier = far.notifier();
    sent(&notifier, "k", &message(1)).await;
    let raw = far.newest();
    // Another program on the bus, and a button of an earlier state.
    let other = Strict::on(far.bus.clone()).await;
    other.signal(&raw.sender, "ActionInvoked", &(raw.id, "ao:one")).await;
    far.signal(&raw.sender, "ActionInvoked", &(raw.id, "ao:gone")).await;
    far.signal(&raw.sender, "ActionInvoked", &(raw.id + 1, "ao:one")).await;
    far.signal(&raw.sender, "ActionInvoked", &("nonsense",)).await;
    far.press("Items and shipping").await;
    assert_eq!(received(&notifier).await.press, Press::Button("two".to_owned()));
}

#[tokio::test]
async fn what_a_human_took_away_stays_away_until_a_pressed_button_did_not_work() {
    let far = Strict::start().await;
    let notifier = far.notifier();
    let handle = sent(&notifier, "k", &message(1)).await;
    far.dismiss(&far.newest()).await;
    let edited = Message { revision: 2, ..message(1) };
    // The signal travels beside the call; once it is known, edits show nothing.
    until("an edit leaves the screen alone", async || {
        notifier.update(&call("u"), &handle, &edited).await.unwrap();
        let mut far = far.far();
        let empty = far.shown.is_empty();
        far.shown.clear();
        far.faults().clear();
        empty.then_some(())
    })
    .await;
    let handle = sent(&notifier, "k2", &message(2)).await;
    far.press("Items only").await;
    received(&notifier).await;
    let waiting = Message { revision: 2, buttons: Vec::new(), ..message(2) };
    until("being done is not shown", async || {
        notifier.update(&call("u2"), &handle, &waiting).await.unwrap();
        let mut far = far.far();
        far.faults().clear();
        let shown = std::mem::take(&mut far.shown);
        shown.is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_button_that_did_not_work_comes_back_quietly() {
    let far = Strict::start().await;
    let notifier = far.notifier();
    let handle = sent(&notifier, "k", &message(1)).await;
    far.press("Items only").await;
    received(&notifier).await;
    let failed =
        Message { revision: 3, title: "app-3 did not take the answer".into(), ..message(1) };
    let receipt = notifier.update(&call("u"), &handle, &failed).await.unwrap();
    let raw = far.newest();
    assert_eq!((raw.title.as_str(), raw.silent, raw.urgency), (failed.title.as_str(), true, 0));
    let handle = receipt.handle.unwrap();
    notifier.resolve(&call("r"), &handle, &failed).await.unwrap();
    assert!(far.far().shown.is_empty());
}

#[tokio::test]
async fn what_was_pressed_comes_back_whenever_the_daemon_closes_it() {
    #[derive(Debug, PartialEq)]
    enum Closes {
        AtOnce,
        Late,
        Never,
    }
    // A press on the card itself is a press, too.
    for action in ["ao:one", "default"] {
        for closes in [Closes::AtOnce, Closes::Late, Closes::Never] {
            let far = Strict::start().await;
            let notifier = far.notifier();
            let handle = sent(&notifier, "k", &message(1)).await;
            let raw = far.newest();
            far.signal(&raw.sender, "ActionInvoked", &(raw.id, action)).await;
            received(&notifier).await;
            if closes == Closes::AtOnce {
                far.dismiss(&raw).await;
            }
            let refused = Message { short: "It was refused.".into(), ..message(1) };
            notifier.update(&call("u"), &handle, &refused).await.unwrap();
            if closes == Closes::Late {
                far.dismiss(&raw).await;
            }
            let shown = far.shown().await;
            assert_eq!(shown.len(), 1, "{action} {closes:?}");
            assert_eq!(shown[0].body, "It was refused.", "{action} {closes:?}");
            assert_eq!(far.buzzes().await, 1, "whoever pressed looks at it");
            far.press("Items only").await;
            assert_eq!(received(&notifier).await.press, Press::Button("one".to_owned()));
        }
    }
}

#[tokio::test]
async fn a_line_that_answers_a_press_is_shown_without_sound() {
    let far = Strict::start().await;
    far.notifier().post(&call("k"), "app-3 works again; nothing was done.").await.unwrap();
    let raw = far.newest();
    assert_eq!((raw.body.as_str(), raw.silent), ("app-3 works again; nothing was done.", true));
}

#[tokio::test]
async fn what_an_earlier_server_showed_is_closed_and_shown_once_again() {
    let far = Strict::start().await;
    let old = sent(&far.notifier(), "k", &message(1)).await;
    let restarted = desktop_at(&far.bus.address());
    assert!(matches!(restarted.find(&call("f"), "k").await, Ok(Answer::Unknown(_))));
    let again = Message { quiet: true, ..message(1) };
    let handle = restarted.update(&call("u"), &old, &again).await.unwrap().handle.unwrap();
    assert_ne!(handle, old);
    assert_eq!(far.shown().await.len(), 1);
    assert_eq!(far.buzzes().await, 1, "only the first time called for attention");
    // The new handle may have been lost: the old one still leads to the same message.
    let same = restarted.update(&call("u"), &old, &again).await.unwrap().handle.unwrap();
    restarted.update(&call("u"), &same, &again).await.unwrap();
    assert_eq!(far.shown().await.len(), 1);
    far.press("Items only").await;
    assert_eq!(received(&restarted).await.press, Press::Button("one".to_owned()));
    restarted.resolve(&call("r"), &old, &again).await.unwrap();
    assert!(far.shown().await.is_empty());
}

#[tokio::test]
async fn after_a_restart_of_the_daemon_no_foreign_notification_is_touched() {
    let first = Strict::start().await;
    let bus = first.bus.clone();
    let notifier = desktop_at(&bus.address());
    let old = sent(&notifier, "k", &message(1)).await;
    first.end().await;
    let second = Strict::on(bus.clone()).await;
    // Another program's notification gets the same number.
    sent(&desktop_at(&bus.address()), "other", &message(9)).await;
    assert!(old.0.ends_with("/1") && second.newest().id == 1);
    notifier.resolve(&call("r"), &old, &message(1)).await.unwrap();
    desktop_at(&bus.address()).resolve(&call("r"), &old, &message(1)).await.unwrap();
    assert_eq!(second.shown().await.len(), 1);
}

#[tokio::test]
async fn r11_a_daemon_that_shows_and_does_not_answer_leaves_a_doubt() {
    let far = Strict::start().await;
    let notifier = far.notifier();
    far.far().mute = true;
    // Under load the limit may pass before anything was written.
    for key in ["k1", "k2"] {
        let error = notifier.send(&short(key), &message(1)).await.unwrap_err();
        assert!(matches!(error.kind, ErrorKind::InDoubt | ErrorKind::Transient), "{error:?}");
    }
    assert!(matches!(notifier.find(&short("f"), "k1").await, Ok(Answer::Unknown(_))));
}

#[tokio::test]
async fn a_late_answer_to_a_dropped_send_settles_the_doubt() {
    let far = Strict::start().await;
    let notifier = far.notifier();
    far.far().mute = true;
    let (long, text) = (call("k"), message(1));
    tokio::select! {
        _ = notifier.send(&long, &text) => panic!("answered by nobody"),
        () = until("it is shown", async || (far.tries().await == 1).then_some(())) => {}
    }
    far.answer_late().await;
    far.far().mute = false;
    let Ok(Answer::Yes(handle)) = notifier.find(&long, "k").await else { panic!("not found") };
    assert_eq!(sent(&notifier, "k", &text).await, handle, "a repetition is the same message");
    assert_eq!(far.shown().await.len(), 1);
}

#[tokio::test]
async fn r11_a_bus_that_never_speaks_is_waited_for_no_longer_than_the_limit() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("bus");
    let _listener = UnixListener::bind(&socket).unwrap();
    let notifier = desktop_at(&format!("unix:path={}", socket.display()));
    let error = notifier.send(&short("k"), &message(1)).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Transient, "{error:?}");
    assert!(matches!(notifier.find(&short("f"), "k").await, Ok(Answer::Unknown(_))));
}

#[tokio::test]
async fn without_a_desktop_the_channel_is_missing_and_says_what_to_do() {
    for env in [vec![], vec![("XDG_RUNTIME_DIR", "/nonexistent")]] {
        let notifier = desktop(PathBuf::from("/nonexistent"), &env);
        let error = notifier.send(&call("k"), &message(1)).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Missing, "{error:?}");
        assert!(error.remedy.unwrap().contains("ao notify test desktop"));
    }
    // A bus, but nobody on it who shows notifications: nothing is shown, and that is certain.
    let bus = Bus::start().await;
    let notifier = desktop_at(&bus.address());
    let error = notifier.send(&call("k"), &message(1)).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Missing, "{error:?}");
    assert!(error.remedy.unwrap().contains("notification service"));
    assert_eq!(notifier.find(&call("f"), "k").await, Ok(Answer::No));
    let looked = notifier.check(&call("c")).await.unwrap_err();
    assert_eq!(looked.what, "cannot reach the notification daemon");
}

#[tokio::test]
async fn a_look_says_whether_a_message_could_go_out_and_shows_nothing() {
    let run_dir = tempfile::tempdir().unwrap();
    let nowhere = desktop(run_dir.path().to_owned(), &[]);
    assert_eq!(nowhere.check(&call("c")).await.unwrap_err().what, "cannot reach the desktop");
    let there = Strict::start().await;
    let notifier = desktop_at(&there.bus.address());
    assert_eq!(notifier.check(&call("c")).await, Ok(()));
    assert_eq!(there.shown().await.len(), 0);
}

#[tokio::test]
async fn the_desktop_of_the_last_client_is_used_and_a_dead_bus_is_left() {
    let run_dir = tempfile::tempdir().unwrap();
    let file = run_dir.path().join(crate::ADDRESS_FILE);
    let notifier = desktop(run_dir.path().to_owned(), &[]);
    let first = Strict::start().await;
    fs::write(&file, first.bus.address()).unwrap();
    sent(&notifier, "k1", &message(1)).await;
    assert_eq!(first.shown().await.len(), 1);
    // Logged in anew.
    let second = Strict::start().await;
    fs::write(&file, format!("{}\n", second.bus.address())).unwrap();
    sent(&notifier, "k2", &message(2)).await;
    assert_eq!((first.shown().await.len(), second.shown().await.len()), (1, 1));
    second.press("Items only").await;
    assert_eq!(received(&notifier).await.press, Press::Button("one".to_owned()));
    // The session ends, the connection with it.
    drop(second);
    until("the dead connection is noticed", async || {
        let error = notifier.send(&call("k3"), &message(3)).await.unwrap_err();
        (error.kind == ErrorKind::Missing).then_some(())
    })
    .await;
    fs::write(&file, first.bus.address()).unwrap();
    sent(&notifier, "k4", &message(4)).await;
    assert_eq!(first.shown().await.len(), 2);
}

#[tokio::test]
async fn a_busy_mood_is_no_permanent_failure_of_the_channel() {
    let far = Strict::start().await;
    far.set(Mood::Refusing).await;
    assert!(far.notifier().send(&call("k"), &message(1)).await.is_err());
    far.set(Mood::Well).await;
    sent(&far.notifier(), "k", &message(1)).await;
    assert_eq!(far.shown().await.len(), 1, "a refused send leaves nothing that a repetition hits");
}

#[test]
fn settings_are_checked_by_text_alone() {
    let check = |text: &str| (crate::registration().check)(&serde_json::from_str(text).unwrap());
    assert_eq!(check("null"), Ok(()));
    assert_eq!(check(r#"{"address": "unix:path=/run/user/1000/bus"}"#), Ok(()));
    assert!(check(r#"{"adress": "x"}"#).unwrap_err().cause.contains("adress"));
}

#[tokio::test]
async fn a_real_daemon_shows_takes_presses_and_closes() {
    let dunst = Dunst::start().await;
    let notifier = desktop_at(&dunst.bus.address());
    let question = Message {
        title: "app-3 asks: Should a coupon also apply to the shipping costs of orders abroad?"
            .into(),
        short: "1 Items <only> · 2 Items & shipping. Waits since 14:28.".into(),
        ..message(1)
    };
    let asks = sent(&notifier, "k1", &question).await;
    let merges = sent(&notifier, "k2", &merge()).await;
    until("both are on the screen", async || (dunst.count().await == 2).then_some(())).await;
    dunst.picture("desktop-urgent-and-action").await;
    let action = acted(&notifier, async || dunst.choose(&["Items and shipping"]).await).await;
    assert_eq!(action.press, Press::Button("two".to_owned()));
    notifier.resolve(&call("r1"), &asks, &question).await.unwrap();
    until("one is settled", async || (dunst.count().await == 1).then_some(())).await;

    dunst.choose(&["Merge"]).await;
    dunst.picture("desktop-settled-and-confirm").await;
    // The press, and the answer to the question that then stands in its place: one menu after the other.
    let action = acted(&notifier, async || dunst.choose(&["Merge", "Merge #57"]).await).await;
    assert_eq!(action.press, Press::Button("merge".to_owned()));
    notifier.resolve(&call("r2"), &merges, &merge()).await.unwrap();
    until("the screen is empty", async || (dunst.count().await == 0).then_some(())).await;

    sent(&notifier, "k3", &message(3)).await;
    let action = acted(&notifier, async || dunst.click()).await;
    assert!(matches!(action.press, Press::Open(_)));
}
