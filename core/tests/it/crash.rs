//! The process is killed, or the machine loses power, at a random moment, again and again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use ao_core::{
    disk::testing::{CrashDisk, Dice},
    event::Kind,
    journal::Limits,
};
use ao_slots::{IncidentId, NotificationId, SessionId, agent::Decision};

use crate::harness::{House, ana, answered, channels, question};

/// What the world outside knows to be true.
#[derive(Debug, Default)]
struct Oracle {
    /// Questions whose hook was answered.
    asked: BTreeSet<String>,
    /// Sessions that were spawned.
    spawned: BTreeSet<SessionId>,
    /// Decisions that a human was told to be taken: the request's key and the answer.
    decided: BTreeMap<String, String>,
}

/// An agent that asks, is answered and goes on, until its server is gone.
async fn ask(house: &House, session: SessionId, mut dice: Dice, oracle: Arc<Mutex<Oracle>>) {
    loop {
        let text = format!("{session} {}", dice.roll());
        let told = house.tell(&session, &[question(&text)]).await;
        let Some(request) = told.ok().and_then(|told| told.wait) else { return };
        oracle.lock().unwrap().asked.insert(format!("q-{text}"));
        tokio::time::sleep(Duration::from_millis(20 + dice.below(200))).await;
        if dice.one_in(2) {
            let answer = format!("answer {}", dice.roll());
            let decision = Decision::Answer { text: answer.clone() };
            let handle = house.handle();
            let decided = handle.decide(session.clone(), Some(request), decision, ana()).await;
            if decided.is_err() {
                return;
            }
            oracle.lock().unwrap().decided.insert(format!("q-{text}"), answer);
        }
        if house.tell(&session, &[answered(&text)]).await.is_err() {
            return;
        }
    }
}

async fn crash(seed: u64, crashes: usize, power: bool) {
    let mut dice = Dice(seed);
    let mut disk = CrashDisk::new(seed);
    let mut house = House::closed(|house| {
        channels(&mut house.policy, &["desktop", "letters"]);
        house.on(disk.clone());
        house.limits = Limits { segment_bytes: 256 << 10, emergency_bytes: 16 << 10 };
    });
    house.start().await.unwrap();
    let mut sessions = vec![];
    for n in 0..10 {
        sessions.push(house.working(&format!("Task {n}")).await);
    }
    let oracle = Arc::new(Mutex::new(Oracle::default()));
    let mut letters = 0;
    for _ in 0..crashes {
        if dice.one_in(2) {
            disk.stop_at(1 + dice.below(120));
        }
        let wait = Duration::from_millis(10 + dice.below(110));
        let began = tokio::time::Instant::now();
        {
            let agents = sessions
                .iter()
                .map(|session| ask(&house, session.clone(), Dice(dice.roll()), oracle.clone()));
            let mut agents: Vec<_> = agents.map(Box::pin).collect();
            let mut spawns = Dice(dice.roll());
            let all = std::future::poll_fn(|cx| {
                agents.retain_mut(|agent| agent.as_mut().poll(cx).is_pending());
                std::task::Poll::<()>::Pending
            });
            let spawning = async {
                while spawns.one_in(2) {
                    let Ok(session) = house.spawn("More").await else { break };
                    oracle.lock().unwrap().spawned.insert(session);
                }
                std::future::pending::<()>().await
            };
            let ended = async {
                while began.elapsed() < wait && !disk.stopped() {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            };
            tokio::select! {
                () = all => {}
                () = spawning => {}
                () = ended => {}
            }
        }
        // From here on nothing reaches the disk, whatever the old process still does.
        if !disk.stopped() {
            disk.stop_at(1);
        }
        house.kill().await;
        disk = if power && dice.one_in(2) { disk.lose_power() } else { disk.kill() };
        let taken = house.fakes.letters.taken();
        let mut once = BTreeSet::new();
        for (_, letter) in &taken[letters..] {
            assert!(
                once.insert(letter.id),
                "seed {seed}: {} came twice without a crash",
                letter.id
            );
        }
        letters = taken.len();
        house.on(disk.clone());
        house.start().await.unwrap();
        if dice.one_in(4) {
            // In good order, with a snapshot.
            house.stop().await;
            house.start().await.unwrap();
            letters = house.fakes.letters.taken().len();
        }
    }

    // Everything that was taken is in the journal, and nothing was told that is not.
    house
        .until("all is settled", |state| {
            state.intents.values().all(|intent| intent.doubt.is_none())
        })
        .await;
    let events = house.events().await;
    let mut keys = BTreeMap::new();
    let mut decided = BTreeMap::new();
    let mut notified: BTreeMap<IncidentId, NotificationId> = BTreeMap::new();
    let mut covers: BTreeMap<NotificationId, Vec<IncidentId>> = BTreeMap::new();
    let mut spawned = BTreeSet::new();
    for event in &events {
        match &event.kind {
            Kind::RequestOpened(e) => _ = keys.insert(e.request, e.key.clone()),
            Kind::RequestDecided(e) => {
                let Decision::Answer { text } = &e.decision else { continue };
                let before = decided.insert(keys[&e.request].clone(), text.clone());
                assert_eq!(before, None, "seed {seed}: {} is decided twice", e.request);
            }
            Kind::SessionRequested(_) => _ = spawned.insert(event.session.clone().unwrap()),
            Kind::NotificationOpened(e) => {
                let Some(incident) = e.incident else { continue };
                let before = notified.insert(incident, e.notification);
                assert_eq!(before, None, "seed {seed}: {incident} has two messages");
                covers.insert(e.notification, e.covers.clone());
            }
            _ => {}
        }
    }
    let oracle = std::mem::take(&mut *oracle.lock().unwrap());
    let recorded: BTreeSet<String> = keys.values().cloned().collect();
    let lost: Vec<_> = oracle.asked.difference(&recorded).collect();
    assert!(lost.is_empty(), "seed {seed}: lost {lost:?}");
    assert!(oracle.spawned.is_subset(&spawned), "seed {seed}: {:?}", oracle.spawned);
    for (key, answer) in &oracle.decided {
        assert_eq!(decided.get(key), Some(answer), "seed {seed}: {key}");
    }
    assert!(oracle.asked.len() > crashes / 2, "seed {seed}: too little happened: {oracle:?}");
    let mut counts: BTreeMap<NotificationId, usize> = BTreeMap::new();
    for (_, letter) in house.fakes.letters.taken() {
        *counts.entry(letter.id).or_default() += 1;
        let incident = letter.incident.unwrap();
        // Its own failing is told by the other channels, so a channel may carry a part of a message.
        let told = covers.get(&letter.id).is_some_and(|covers| covers.contains(&incident));
        assert!(told, "seed {seed}: {incident} in {}", letter.id);
    }
    let doubled = counts.values().filter(|count| **count > 1).count();
    assert!(doubled <= crashes, "seed {seed}: {doubled} letters were doubled by {crashes} crashes");
    // On a channel that knows keys nothing is doubled at all.
    let shown: Vec<_> = house.fakes.channel.messages().iter().map(|m| m.id).collect();
    assert_eq!(shown.iter().collect::<BTreeSet<_>>().len(), shown.len(), "seed {seed}");
    house.is_rebuilt().await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r1_nothing_that_was_taken_is_lost_by_a_hundred_kills() {
    crash(1, 100, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r2_nothing_that_was_taken_is_lost_when_the_power_goes() {
    crash(2, 40, true).await;
}
