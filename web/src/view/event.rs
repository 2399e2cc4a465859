//! Events, and explanations of them.

use ao_core::{
    event::Class,
    slots::{ProjectId, Seq, SessionId},
    why::{Described, Why},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// An event with its words.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EventView {
    /// `ao.event/1`.
    pub schema: String,
    /// Its place.
    pub seq: Seq,
    /// When.
    pub at: Timestamp,
    /// What kind of statement it makes.
    pub class: Class,
    /// What it says, e.g. `request.opened`.
    pub kind: String,
    /// The session.
    pub session: Option<SessionId>,
    /// The project.
    pub project: Option<ProjectId>,
    /// Direct causes.
    pub because: Vec<Seq>,
    /// The rule that concluded it.
    pub rule: Option<String>,
    /// The same in words.
    pub told: Described,
    /// The event's own data, as the journal holds it.
    pub data: Value,
}

/// Some events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EventPage {
    /// `ao.events/1`.
    pub schema: String,
    /// In order.
    pub events: Vec<EventView>,
    /// The newest event there is.
    pub last: Seq,
}

impl EventPage {
    pub(crate) fn new(events: Vec<EventView>, last: Seq) -> Self {
        Self { schema: "ao.events/1".into(), events, last }
    }
}

/// An explanation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WhyDoc {
    /// `ao.why/1`.
    pub schema: String,
    /// The explanation.
    pub why: Why,
}
