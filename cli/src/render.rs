//! How answers look on a terminal: pure functions of the documents, tested as text.

pub(crate) mod access;
pub(crate) mod config;
pub(crate) mod events;
pub(crate) mod notifications;
pub(crate) mod pr;
pub(crate) mod session;
pub(crate) mod silences;
pub(crate) mod stats;
pub(crate) mod status;
pub(crate) mod watch;
pub(crate) mod why;

use ao_core::slots::text::{duration, duration_short};
use jiff::{Timestamp, tz::TimeZone};

/// How long ago, for a table: `4m`.
pub(crate) fn age(now: Timestamp, at: Timestamp) -> String {
    duration_short(seconds(now, at))
}

/// How long ago, in prose: `4 min`.
pub(crate) fn ago(now: Timestamp, at: Timestamp) -> String {
    duration(seconds(now, at))
}

pub(crate) fn seconds(now: Timestamp, at: Timestamp) -> u64 {
    u64::try_from(now.duration_since(at).as_secs()).unwrap_or(0)
}

/// The time of day, with the date where it is another.
pub(crate) fn clock(now: Timestamp, at: Timestamp, zone: &TimeZone, format: &str) -> String {
    let (now, then) = (now.to_zoned(zone.clone()), at.to_zoned(zone.clone()));
    let time = then.strftime(format).to_string();
    if now.date() == then.date() { time } else { format!("{} {time}", then.strftime("%a %d %b")) }
}
