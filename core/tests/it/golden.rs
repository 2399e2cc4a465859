//! Logs of released formats: read for ever, and with the same meaning under every later version of the rules.

use ao_core::{
    event::{Effect, Event, Kind},
    state::{State, Status},
};

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
