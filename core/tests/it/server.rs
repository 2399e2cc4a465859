//! The life of a session, from being asked for to being over, as a human and an agent see it.

use std::{fs, io::Write};

use ao_core::{
    config::policy::Role,
    decide::{Grant, Input},
    event::{AccessKind, Over},
    state::{State, Status},
};
use ao_slots::{
    Seq,
    agent::{Decision, Signal},
    fact::WorkFacts,
};

use crate::harness::{House, ana, question};

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_pushed_once_answered_by_a_human_and_settled() {
    let mut house = House::open().await;
    let session = house.working("Fix the coupon").await;
    let asked = house.tell(&session, &[question("Also shipping?")]).await.unwrap();
    let request = asked.wait.expect("the hook is told to wait");

    let pushed = house.until_pushed("the question", |messages| messages.len() == 1).await;
    assert!(pushed[0].title.contains(session.as_str()), "{}", pushed[0].title);

    // The hook waits over a restart of the server: it asks again with the same payload.
    house.stop().await;
    house.start().await.unwrap();
    let again = house.tell(&session, &[question("Also shipping?")]).await.unwrap();
    assert_eq!(again.wait, Some(request));
    let (handle, call) = (house.handle(), house.call(&session, &[question("Also shipping?")]));
    let waiting = tokio::spawn(async move { handle.wait(call, request).await });
    let decision = Decision::Answer { text: "yes".into() };
    house.handle().decide(session.clone(), None, decision, ana()).await.unwrap();
    let printed = waiting.await.unwrap().unwrap().expect("the decision is handed over");
    assert!(printed.contains("yes"), "{printed}");

    let ended = Signal::ToolEnded {
        id: None,
        tool: "Ask".into(),
        request: Some("q-Also shipping?".into()),
    };
    house.tell(&session, &[ended]).await.unwrap();
    house.until("settled", |s| s.notifications.values().all(|n| n.settled)).await;
    house
        .until("shown as settled", |s| {
            s.notifications.values().all(|n| n.deliveries.values().all(|d| d.shown == n.revision))
        })
        .await;
    assert_eq!(house.fakes.channel.messages().len(), 1, "one need, one message");

    // A second answer is too late, and says so.
    let late =
        house.handle().decide(session, None, Decision::Answer { text: "no".into() }, ana()).await;
    assert!(late.unwrap_err().message.contains("asks nothing now"));
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn done_needs_evidence_and_ends_the_round() {
    let mut house = House::open().await;
    let session = house.working("Do it").await;
    house.tell(&session, &[Signal::Completed { text: Some("done!".into()) }]).await.unwrap();
    house
        .tell(
            &session,
            &[Signal::TurnEnded { turn: Some("t1".into()), last_words: None, background: false }],
        )
        .await
        .unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert!(
        !house.handle().state().sessions[&session].is_over(),
        "a claim without a commit changes nothing"
    );

    let facts = WorkFacts {
        head: "c1".into(),
        commits: 1,
        pushed: true,
        fingerprint: "f1".into(),
        ..WorkFacts::default()
    };
    house.fakes.workspace.set(&session, facts);
    house
        .tell(&session, &[Signal::TurnStarted { turn: Some("t2".into()), prompt: None }])
        .await
        .unwrap();
    // The claim of an earlier turn is void: it is made again.
    house.tell(&session, &[Signal::Completed { text: None }]).await.unwrap();
    house
        .tell(
            &session,
            &[Signal::TurnEnded { turn: Some("t2".into()), last_words: None, background: false }],
        )
        .await
        .unwrap();
    house
        .until("done", |s| s.sessions[&session].over.is_some_and(|(how, _)| how == Over::Done))
        .await;
    house.until_pushed("the summary", |m| m.iter().any(|m| m.title.starts_with("All done"))).await;
    house.until("cleaned up", |s| s.sessions[&session].status == Status::Done).await;
    assert!(!house.fakes.workspace.has(&session));
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transcript_that_was_replaced_is_read_on_and_nothing_counts_twice() {
    let mut house = House::open().await;
    let session = house.working("Do it").await;
    let path = house.data_dir().join("talk.jsonl");
    let append = |lines: usize| {
        let mut file = fs::OpenOptions::new().append(true).create(true).open(&path).unwrap();
        file.write_all("line\n".repeat(lines).as_bytes()).unwrap();
    };
    append(10);
    let transcript = Some(path.clone());
    let started = Signal::Started { native_id: None, transcript, version: None };
    house.tell(&session, &[started]).await.unwrap();
    let counted = async |house: &House, tokens| {
        let counted = |s: &State| s.sessions[&session].usage.output_tokens == Some(tokens);
        house.until(&format!("{tokens} are counted"), counted).await;
    };
    counted(&house, 10).await;
    let other = house.data_dir().join("other.jsonl");
    fs::write(&other, "line\n".repeat(3)).unwrap();
    fs::rename(&other, &path).unwrap();
    house.swept().await;
    append(2);
    counted(&house, 12).await;
    house.stop().await;
    house.start().await.unwrap();
    house.swept().await;
    append(1);
    counted(&house, 13).await;
    house.is_rebuilt().await;
    house.stop().await;
}

#[tokio::test]
async fn nothing_follows_the_last_event_that_there_could_be() {
    let mut house = House::open().await;
    assert_eq!(house.handle().events(Seq(u64::MAX), 10).await.unwrap(), []);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r4_the_same_events_give_the_same_state_after_every_restart() {
    let mut house = House::open().await;
    let session = house.working("Do it").await;
    house.fakes.runtime.end(&session, Some(1));
    house.until_pushed("the exit", |m| m.len() == 1).await;
    house
        .handle()
        .submit(Input::Kill { session: session.clone(), force: false, by: ana() })
        .await
        .unwrap();
    house.until("killed", |s| s.sessions[&session].status == Status::Killed).await;
    house.stop().await;
    house.start().await.unwrap();
    house.is_rebuilt().await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn access_survives_a_restart_and_a_revocation_too() {
    let mut house = House::open().await;
    let grant = |name: &str| Grant {
        kind: AccessKind::Browser,
        name: name.to_owned(),
        person: "ana".into(),
        role: Role::Admin,
        until: None,
        by: ana(),
    };
    let (id, secret) = house.handle().grant(grant("Firefox")).await.unwrap();
    let (gone, other) = house.handle().grant(grant("Chromium")).await.unwrap();
    assert_ne!(secret, other);
    house.handle().revoke(gone, ana()).await.unwrap();
    house.stop().await;
    house.start().await.unwrap();
    let handle = house.handle();
    assert_eq!(handle.access(&secret).map(|access| access.id), Some(id));
    assert!(handle.access_holds(id) && !handle.access_holds(gone));
    let forged = secret.to_uppercase();
    for wrong in [other.as_str(), "", "aok_", &secret[4..], forged.as_str()] {
        assert_eq!(handle.access(wrong), None, "{wrong}");
    }
    // Neither the state nor the journal lets anybody in.
    let hash = handle.state().access[&id].hash.clone();
    assert_eq!(handle.access(&hash), None);
    house.stop().await;
    for file in walk(house.data_dir()) {
        let bytes = fs::read(&file).unwrap();
        let told = |secret: &str| bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
        assert!(!told(&secret) && !told(&secret[4..]), "{} tells a secret", file.display());
    }
}

/// All files below a folder.
fn walk(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let files = entries.flat_map(|entry| match entry.file_type().unwrap() {
        kind if kind.is_dir() => walk(&entry.path()),
        kind if kind.is_file() => vec![entry.path()],
        _ => vec![],
    });
    files.collect()
}
