//! The documents of the API: what `--json` prints and what the CLI reads.
//!
//! Names and types are a promise within `/1`: fields are added, never renamed or retyped. Ids are strings,
//! times RFC 3339 in UTC, durations milliseconds.

mod access;
mod event;
mod incident;
mod notification;
mod project;
mod session;
mod status;

use ao_core::{
    decide::Answered,
    slots::{MessageId, RequestId, Seq, SessionId, SilenceId},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::{
    access::*, event::*, incident::*, notification::*, project::*, session::*, status::*,
};

/// Says that the server serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// `ao.health/1`.
    pub schema: String,
    /// The program's version.
    pub version: String,
    /// Its process.
    pub pid: u32,
}

impl Health {
    /// This process.
    pub fn new(version: &str) -> Self {
        Self { schema: "ao.health/1".into(), version: version.to_owned(), pid: std::process::id() }
    }
}

/// A way in for one browser.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TicketDoc {
    /// `ao.ticket/1`.
    pub schema: String,
    /// Where the dashboard is.
    pub base: String,
    /// The address that lets a browser of this machine in, once.
    pub url: String,
    /// It does so until then.
    pub until: Timestamp,
}

/// An act was taken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Taken {
    /// `ao.taken/1`.
    pub schema: String,
    /// The session that was made or meant.
    pub session: Option<SessionId>,
    /// The message that was queued.
    pub message: Option<MessageId>,
    /// The request that was decided.
    pub request: Option<RequestId>,
    /// The silence that was made or ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silence: Option<SilenceId>,
    /// Something a human should know.
    pub note: Option<String>,
    /// The newest event before the act: what follows from it comes after.
    pub after: Seq,
}

impl Taken {
    pub(crate) fn new(answered: Answered, after: Seq) -> Self {
        let Answered { session, message, request, silence, note, after: before } = answered;
        let after = before.unwrap_or(after);
        Self { schema: "ao.taken/1".into(), session, message, request, silence, note, after }
    }
}

fn millis(later: Timestamp, earlier: Timestamp) -> u64 {
    u64::try_from(later.duration_since(earlier).as_millis()).unwrap_or(0)
}
