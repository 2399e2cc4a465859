//! Followers: what they hear, whatever they do.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use ao_core::event::{Kind, ServerStopped};
use axum::body::Body;
use http_body_util::BodyExt;
use tokio::sync::watch;

use super::*;
use crate::tests::{House, get, me};

/// A message of a stream.
#[derive(Debug, PartialEq)]
struct Told {
    event: String,
    id: Option<Seq>,
    data: String,
}

impl Told {
    fn seq(&self) -> Seq {
        self.id.unwrap()
    }
}

/// The other end of a stream.
struct Client {
    body: Body,
    text: String,
}

impl Client {
    fn of(follower: Follower<impl Fn() -> bool + Send + 'static>) -> Self {
        Self { body: follower.into_response().into_body(), text: String::new() }
    }

    /// The next message; none where the stream is over.
    async fn next(&mut self) -> Option<Told> {
        loop {
            if let Some((message, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| {
                    message.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned)
                };
                let told = Told {
                    event: field("event: ").unwrap_or_else(|| "message".into()),
                    id: field("id: ").map(|id| id.parse().unwrap()),
                    data: field("data: ").unwrap(),
                };
                self.text = rest.to_owned();
                return Some(told);
            }
            let frame = tokio::time::timeout(Duration::from_secs(60), self.body.frame()).await;
            let piece = frame.unwrap()?.unwrap().into_data().unwrap();
            self.text.push_str(std::str::from_utf8(&piece).unwrap());
        }
    }

    async fn expect(&mut self, event: &str) -> Told {
        let told = self.next().await.unwrap();
        assert_eq!(told.event, event, "{told:?}");
        told
    }
}

fn last(house: &House) -> Seq {
    house.api.handle.state().last_seq
}

/// A hub that knows nothing of what was before, as after a restart.
fn fresh_hub(house: &House) -> Arc<Hub> {
    Hub::start(&house.api.handle, house.api.closes())
}

fn follower(
    house: &House,
    hub: &Arc<Hub>,
    begin: Begin,
    filter: Filter,
    reach: u64,
) -> Follower<fn() -> bool> {
    let wish = Wish { begin, filter, reach };
    Follower::new(hub.clone(), house.api.handle.clone(), house.api.closes(), wish, || true)
}

#[tokio::test]
async fn r15_resume_has_no_gap_and_no_duplicate() {
    let house = House::new().await;
    let begin = last(&house);
    for n in 0..40 {
        house.happen(&format!("stored {n}")).await;
    }
    let hub = fresh_hub(&house);
    let (mut heard, mut random) = (vec![], 7_u64);
    let hearing = async {
        let mut after = begin;
        loop {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let filter = Filter { brief: random & (1 << 40) == 0, ..Filter::default() };
            let reach = if random & (1 << 41) == 0 { u64::MAX } else { MOST_BEHIND };
            let mut client = Client::of(follower(&house, &hub, Begin::After(after), filter, reach));
            assert_eq!(client.expect("alive").await.id, None, "it knows its place");
            // It breaks off after so many, in the midst of a piece too.
            for _ in 0..(random >> 33) % 30 {
                after = client.expect("message").await.seq();
                heard.push(after.0);
                if heard.len() >= 200 {
                    return;
                }
            }
        }
    };
    let happening = async {
        for n in 0..200 {
            house.happen(&format!("live {n}")).await;
        }
    };
    tokio::join!(hearing, happening);
    let wanted: Vec<u64> = (begin.0 + 1..).take(heard.len()).collect();
    assert_eq!(heard, wanted);
}

#[tokio::test]
async fn r15_too_old_garbage_and_future_ids_get_a_resync() {
    let house = House::new().await;
    for n in 0..10 {
        house.happen(&format!("stored {n}")).await;
    }
    let hub = fresh_hub(&house);
    let tip = last(&house);
    let old = Begin::After(Seq(tip.0 - 5));
    for (begin, reach) in [(Begin::Nowhere, 50), (Begin::After(Seq(tip.0 + 1_000)), 50), (old, 4)] {
        let mut client = Client::of(follower(&house, &hub, begin, Filter::default(), reach));
        let mut told = client.next().await.unwrap();
        if begin == old {
            told = client.next().await.unwrap();
        }
        assert_eq!((told.event.as_str(), told.id), ("resync", Some(last(&house))), "{begin:?}");
        // From there on, nothing is missed.
        house.happen(&format!("after {begin:?} {reach}")).await;
        assert_eq!(client.expect("message").await.seq().0, told.seq().0 + 1, "{begin:?}");
    }
    let mut client = Client::of(follower(&house, &hub, old, Filter::default(), 50));
    client.expect("alive").await;
    assert_eq!(client.expect("message").await.seq().0, tip.0 - 4, "within reach");
    // The same over the API: never a refusal, after which a browser asks no more.
    for id in ["rubbish", "e99999999", "-1", ""] {
        let mut request = get("/api/events");
        request.headers_mut().insert("accept", "text/event-stream".parse().unwrap());
        request.headers_mut().insert("last-event-id", id.parse().unwrap());
        let answer = house.send(request, me()).await;
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["x-accel-buffering"]),
            (200, &"no".parse().unwrap())
        );
        let mut client = Client { body: answer.into_body(), text: String::new() };
        let told = client.next().await.unwrap();
        assert_eq!((told.event.as_str(), told.id), ("resync", Some(last(&house))), "{id}");
    }
}

/// Events that nobody recorded, for a hub alone.
fn made_up(from: u64, count: u64) -> Vec<Arc<Event>> {
    let event = |seq| Event {
        seq: Seq(seq),
        at: "2026-11-22T09:00:00Z".parse().unwrap(),
        awake: 0,
        session: None,
        project: None,
        hook: None,
        act: None,
        because: vec![],
        rule: None,
        kind: Kind::from(ServerStopped { reason: "made up".into() }),
    };
    (from..from + count).map(event).map(Arc::new).collect()
}

#[tokio::test]
async fn r15_a_client_that_never_reads_holds_nothing_and_is_told() {
    let house = House::new().await;
    // It gathers nothing by itself: its end of the line is gone.
    let hub = Hub::start(&house.api.handle, watch::channel(false).1);
    let tip = last(&house).0;
    let mut slow = Client::of(follower(&house, &hub, Begin::Now, Filter::default(), MOST_BEHIND));
    slow.expect("alive").await;
    // As many as are kept: it still gets each.
    hub.show(made_up(tip + 1, hub::KEPT as u64));
    for n in 0..1_000 {
        assert_eq!(slow.expect("message").await.seq().0, tip + 1 + n);
    }
    hub.show(made_up(tip + 1 + hub::KEPT as u64, hub::KEPT as u64));
    let newest = tip + 2 * hub::KEPT as u64;
    // What lay in its socket comes first.
    let told = loop {
        let told = slow.next().await.unwrap();
        if told.event != "message" {
            break told;
        }
        assert!(told.seq().0 < tip + hub::KEPT as u64, "a socket holds no thousand events");
    };
    assert_eq!((told.event.as_str(), told.seq().0), ("resync", newest));
    hub.show(made_up(newest + 1, 1));
    assert_eq!(slow.expect("message").await.seq().0, newest + 1);
    // Nor does a hole in the hub pass unseen.
    hub.show(made_up(newest + 10, 2));
    assert_eq!(slow.expect("resync").await.seq().0, newest + 11);
}

#[tokio::test]
async fn r15_filters_move_the_last_event_id() {
    let house = House::new().await;
    let hub = fresh_hub(&house);
    let begin = last(&house);
    let filter = Filter { session: Some("app-9".parse().unwrap()), ..Filter::default() };
    let mut follower = follower(&house, &hub, Begin::After(begin), filter, MOST_BEHIND);
    assert!(follower.next().await.is_some());
    house.happen("somewhere else").await;
    let end = last(&house);
    hub.tip().wait_for(|tip| *tip >= end).await.unwrap();
    tokio::select! {
        biased;
        piece = follower.next() => panic!("nothing is for it: {piece:?}"),
        () = std::future::ready(()) => {}
    }
    assert_eq!(follower.alive(), format!("event: alive\nid: {end}\ndata: {end}\n\n"));
}

#[tokio::test]
async fn s37_a_follower_that_may_no_more_is_cut_off_at_the_next_event() {
    let house = House::new().await;
    let may = Arc::new(AtomicBool::new(true));
    let guard = may.clone();
    let wish = Wish { begin: Begin::Now, filter: Filter::default(), reach: MOST_BEHIND };
    let follower =
        Follower::new(house.api.hub.clone(), house.api.handle.clone(), house.api.closes(), wish, {
            move || guard.load(Ordering::Relaxed)
        });
    let mut client = Client::of(follower);
    client.expect("alive").await;
    house.happen("it may").await;
    client.expect("message").await;
    may.store(false, Ordering::Relaxed);
    house.happen("it may not").await;
    while let Some(told) = client.next().await {
        assert!(!told.data.contains("it may not"), "{told:?}");
    }
}

#[tokio::test]
async fn who_polls_gets_the_same_and_hears_what_was_missed() {
    let house = House::new().await;
    let begin = last(&house);
    house.happen("Line 12: `notifer` is not a setting").await;
    let stream = get(&format!("/api/events?follow=1&brief=1&after={begin}"));
    let body = house.send(stream, me()).await.into_body();
    let mut client = Client { body, text: String::new() };
    client.expect("alive").await;
    let (_, page) = house.ask(get(&format!("/api/events?brief=1&after={begin}")), me()).await;
    let events = page["events"].as_array().unwrap();
    assert_eq!((page["missed"].as_bool(), events.is_empty()), (Some(false), false));
    for event in events {
        assert_eq!(
            &serde_json::from_str::<Value>(&client.expect("message").await.data).unwrap(),
            event
        );
        assert!(event.get("data").is_none(), "{event}");
    }
    assert!(events.iter().any(|event| event["incident"] == "i-1"), "{events:?}");
    let (_, page) = house.ask(get("/api/events?brief=1&after=e99999999"), me()).await;
    assert_eq!(page["missed"], true);
    let (status, _) = house.ask(get("/api/events?after=rubbish"), me()).await;
    assert_eq!(status.as_u16(), 400);
}
