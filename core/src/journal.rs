//! The journal: what happened, in order, durable.
//!
//! It knows nothing of kinds of events. An event is a number and a JSON object that begins with it; the
//! journal adds a checksum, writes many at once with one sync, and gives them back in order after whatever
//! befell the machine. What it promises:
//!
//! - An append that returned is durable, unless it asked for less ([`Durability::Batch`]).
//! - An append that failed has left nothing: the same numbers are used again by the next one.
//! - A tail torn by a crash is cut before anything is appended behind it.
//! - A sync that failed is never believed later: its segment is finished and a new one begun.
//! - Damage is reported with the numbers that are missing, its bytes are put aside, and all else is read.
//!
//! # Files
//! `journal/<first number, 20 digits>.jsonl` are the segments; closed ones are compressed to `.jsonl.zst`.
//! The first line of each, `journal.segment`, is no event and has no number; it names the end of the segment
//! before, and what lies behind that end there was never acknowledged. `journal/emergency.jsonl` is
//! preallocated, so that something can be written on a full disk; see [`Journal::append_emergency`].
//! `snapshot.json` stands for all events up to its number. `quarantine/` takes bad bytes.

mod emergency;
mod keep;
mod line;
mod reader;
mod recovery;
mod scan;
mod segment;
mod snapshot;
#[cfg(test)]
mod tests;
mod writer;

use std::io;
use std::path::PathBuf;

use ao_slots::id::InstanceId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use keep::Retention;
pub use reader::{Events, Reader};
pub use recovery::{Recovery, read, verify};
pub use segment::FORMAT;
pub use snapshot::Snapshot;
pub use writer::{Durability, Journal, Tampered};

/// An event as the journal sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its number: one more than that of the event before.
    pub seq: u64,
    /// A JSON object on one line whose first member is `"seq"`, e.g. `{"seq":7,"kind":"session.spawned"}`.
    pub json: Vec<u8>,
}

/// Sizes, small in tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes after which a new segment is begun.
    pub segment_bytes: u64,
    /// Bytes kept for [`Journal::append_emergency`].
    pub emergency_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { segment_bytes: 64 << 20, emergency_bytes: 1 << 20 }
    }
}

/// Who writes: it stands in the header of each segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The data directory's identity.
    pub instance: InstanceId,
    /// The boot of the machine, e.g. `/proc/sys/kernel/random/boot_id`.
    pub boot: String,
}

/// Events that are missing, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Gap {
    /// The first missing number.
    pub from: u64,
    /// The last missing number.
    pub to: u64,
}

/// Bytes in a segment that are no events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Bytes {
    /// The file's name in `journal/`.
    pub segment: String,
    /// Where they begin, counted in the uncompressed content.
    pub offset: u64,
    /// How many they are.
    pub bytes: u64,
}

/// What reading the journal found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Segments read. With a snapshot those it covers are left out.
    pub segments: u64,
    /// Good events read.
    pub events: u64,
    /// The first and the last good event.
    pub first: Option<u64>,
    /// The last good event.
    pub last: Option<u64>,
    /// Events that are missing. The same gap is found by every reading that passes it.
    pub gaps: Vec<Gap>,
    /// Damage: bad bytes with durable ones behind them. They are copied to `quarantine/` at a start.
    pub bad: Vec<Bytes>,
    /// The end of the last segment, torn by a crash and never acknowledged. It is no damage.
    pub torn: Option<Bytes>,
    /// Why the snapshot was not used, if it was there and could not be.
    pub snapshot: Option<String>,
}

impl Report {
    /// Whether something that was durable is lost or changed.
    pub fn is_damaged(&self) -> bool {
        !self.gaps.is_empty() || !self.bad.is_empty() || self.snapshot.is_some()
    }
}

/// Why the journal could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The append left nothing and may be repeated.
    #[error(
        "events from {from} on were not recorded: could not write `{path}` (free space on that disk, or check it)"
    )]
    Refused {
        /// The first event that was refused.
        from: u64,
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The emergency segment has no room for this batch.
    #[error(
        "events from {from} on were not recorded: the emergency segment is full (free space on the disk)"
    )]
    EmergencySpent {
        /// The first event that was refused.
        from: u64,
    },
    /// A mistake of the caller.
    #[error("event {seq} cannot be recorded: {why}")]
    Malformed {
        /// Its number.
        seq: u64,
        /// The rule it breaks.
        why: &'static str,
    },
    /// A file could not be read or made.
    #[error("could not use `{path}`")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// Written by a newer version, in a layout that this one does not know.
    #[error(
        "`{path}` has journal format {found}, and this version reads up to {FORMAT} (install a newer ao)"
    )]
    TooNew {
        /// The segment.
        path: PathBuf,
        /// The oldest format that could read it.
        found: u32,
    },
}

impl JournalError {
    /// Whether the disk, or the user's share of it, is used up.
    pub fn is_disk_full(&self) -> bool {
        match self {
            Self::Refused { source, .. } | Self::File { source, .. } => {
                crate::disk::is_full(source)
            }
            Self::EmergencySpent { .. } => true,
            Self::Malformed { .. } | Self::TooNew { .. } => false,
        }
    }

    fn file(path: PathBuf) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::File { path, source }
    }
}
