//! What a human reads: titles, messages, summaries, as ux.md words them. Pure functions of the state.

use ao_slots::SessionId;

use crate::{
    event::Summary,
    state::{Incident, State},
};

/// The title of an incident's message.
pub fn title(_state: &State, incident: &Incident) -> String {
    format!("{} {}", incident.subject, incident.trigger)
}

/// The title and text of a round's summary.
pub fn all_complete(_state: &State, sessions: &[SessionId]) -> (String, Summary) {
    (format!("All done: {}", sessions.len()), Summary { kind: "all-complete".into(), short: String::new(), lines: vec![] })
}
