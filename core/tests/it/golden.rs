//! Logs of released formats: read for ever, and with the same meaning under every later version of the rules.

use std::{collections::BTreeMap, fmt::Write as _};

use ao_core::{
    event::{Effect, Event, Kind},
    slots::Seq,
    state::{Now, State, Status},
    why::{self, About},
};
use jiff::tz::TimeZone;

/// The journal of the demo as the first version wrote it (checksums and segment headers taken off).
const DEMO: &str = include_str!("../golden/demo-1.jsonl");

fn events() -> Vec<Event> {
    DEMO.lines().map(|line| Event::decode(line.as_bytes()).unwrap()).collect()
}

#[test]
fn r25_a_golden_log_is_read_whole_and_written_back_byte_for_byte() {
    for (event, line) in events().iter().zip(DEMO.lines()) {
        assert!(!matches!(event.kind, Kind::Unknown(_)), "a released kind is unknown: {line}");
        assert_eq!(String::from_utf8(event.encode().unwrap()).unwrap(), line);
    }
}

#[test]
fn r25_a_golden_log_folds_to_what_happened_then() {
    let mut state = State::default();
    for event in events() {
        state.replay(&event);
    }
    state.reindex();
    let ended: Vec<_> = state.sessions.values().map(|s| (s.id.to_string(), s.status)).collect();
    let expected =
        ["shop-1", "shop-2", "shop-3", "shop-4", "shop-5"].map(|id| (id.to_owned(), Status::Done));
    assert_eq!(ended, expected);
    assert_eq!(state.sessions.values().map(|s| s.launch.0).collect::<Vec<_>>(), [1, 1, 1, 3, 3]);
    let open: Vec<_> = state.intents.values().map(|intent| &intent.effect).collect();
    assert!(
        matches!(open[..], [] | [Effect::ResolveNotification { .. }]),
        "the server was ended meanwhile: {open:?}"
    );
    let told: Vec<_> = state
        .notifications
        .values()
        .map(|n| n.title.split(' ').next().unwrap_or_default())
        .collect();
    assert_eq!(told.len(), 5, "{told:?}");
    assert!(state.notifications.values().all(|n| n.deliveries.values().all(|d| d.sent.is_some())));
}

/// The explanation as `ao why` gives it, from the events so far alone.
fn why(state: &State, journal: &[Event], about: &str) -> String {
    let about: About = about.parse().unwrap();
    let events: BTreeMap<Seq, &Event> = journal.iter().map(|event| (event.seq, event)).collect();
    let mut wanted = why::roots(state, &about).unwrap();
    let mut found = BTreeMap::new();
    while let Some(seq) = wanted.pop() {
        let Some(event) = events.get(&seq).map(|event| Event::clone(event)) else { continue };
        wanted.extend(event.because.iter().filter(|cause| !found.contains_key(*cause)));
        found.insert(seq, event);
    }
    let now = Now { wall: state.last_at, awake: state.awake };
    let why = why::explain(state, &about, &found, found.len(), now, &TimeZone::UTC).unwrap();
    let mut page = format!("{}\n", why.headline);
    for line in &why.lines {
        let by = if line.by.is_empty() { String::new() } else { format!(" ({})", line.by) };
        let _ =
            writeln!(page, "  {} e{} {}{by}", line.at.strftime("%H:%M:%S"), line.seq.0, line.text);
    }
    let _ = writeln!(page, "{}", why.not_the_case);
    page
}

#[test]
fn every_status_and_push_of_the_demo_is_explained() {
    let mut state = State::default();
    let journal = events();
    let (mut statuses, mut pushes) = (String::new(), String::new());
    for (at, event) in journal.iter().enumerate() {
        state.replay(event);
        let so_far = &journal[..=at];
        match &event.kind {
            Kind::StatusChanged(e) => {
                let session = event.session.as_ref().unwrap().to_string();
                let page = why(&state, so_far, &session);
                let _ =
                    writeln!(statuses, "── {session} {} (e{})\n{page}", e.to.as_str(), event.seq.0);
            }
            Kind::NotificationOpened(e) => {
                let page = why(&state, so_far, &e.notification.to_string());
                let _ = writeln!(pushes, "── {} (e{})\n{page}", e.notification, event.seq.0);
            }
            _ => {}
        }
    }
    insta::assert_snapshot!("demo-statuses", statuses);
    insta::assert_snapshot!("demo-pushes", pushes);
    let mut end = String::new();
    let subjects = state.sessions.keys().map(ToString::to_string);
    let subjects = subjects.chain(state.incidents.keys().map(ToString::to_string));
    for subject in subjects.chain(state.notifications.keys().map(ToString::to_string)) {
        let _ = writeln!(end, "── {subject}\n{}", why(&state, &journal, &subject));
    }
    insta::assert_snapshot!("demo-end", end);
}

/// What was told is told of it ever after.
#[test]
fn an_incident_is_explained_by_what_was_told_of_it() {
    let mut state = State::default();
    for event in events() {
        state.replay(&event);
    }
    for incident in state.incidents.values() {
        let told = &state.notifications[&incident.notification.unwrap()].title;
        let page = why(&state, &events(), &incident.id.to_string());
        assert!(page.starts_with(told.as_str()), "{told}: {page}");
    }
}
