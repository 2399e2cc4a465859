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

/// The message for a notification at its present revision. `text` gives the whole of a text that was cut.
pub fn message(
    _state: &State,
    notification: &crate::state::Notification,
    _now: crate::state::Now,
    _text: &dyn Fn(&crate::blob::BlobRef) -> Option<String>,
) -> ao_slots::notifier::Message {
    ao_slots::notifier::Message {
        id: notification.id,
        incident: notification.incident,
        revision: notification.revision,
        kind: String::new(),
        priority: notification.priority,
        mark: ao_slots::notifier::Mark::Need,
        title: notification.title.clone(),
        short: String::new(),
        body: vec![],
        buttons: vec![],
        command: None,
        meta: vec![],
        session: None,
        project: notification.project.clone(),
        link: None,
        since: notification.opened.at,
        quiet: false,
        may_repeat: false,
    }
}
