//! What happened to a session, as its page tells it.

use ao_core::{
    decide::Refusal,
    event::Event,
    server::Handle,
    slots::{Seq, SessionId},
    state::Now,
    why,
};
use jiff::{Timestamp, tz::TimeZone};

use super::part::{Sign, When};

/// Events of the session that are shown.
const MOST: usize = 200;
/// Events of all sessions that are looked through for them, from the newest on: a page does not read a whole journal.
const BACK: u64 = 4_096;
/// Events read at once.
const PAGE: u64 = 512;

/// Some of what happened, the newest first.
#[derive(Debug)]
pub(crate) enum Row {
    /// The day of what follows, where it is another than before.
    Day(String),
    /// One event.
    One(Happened),
    /// Some in a row that nobody has to read.
    Quiet(Vec<Happened>),
}

#[derive(Debug)]
pub(crate) struct Happened {
    pub(crate) at: When,
    pub(crate) sign: Option<Sign>,
    pub(crate) says: String,
    pub(crate) seq: Seq,
}

/// What is told of a session.
#[derive(Debug, Default)]
pub(crate) struct Timeline {
    pub(crate) rows: Vec<Row>,
    /// It began before what is shown.
    pub(crate) older: bool,
}

/// The newest events of a session that began with `first`.
pub(crate) async fn events(
    handle: &Handle,
    session: &SessionId,
    first: Seq,
) -> Result<(Vec<Event>, bool), Refusal> {
    let last = handle.state().last_seq.0;
    let end = last.saturating_sub(BACK).max(first.0.saturating_sub(1));
    let (mut found, mut before) = (vec![], last);
    while before > end && found.len() < MOST {
        let from = before.saturating_sub(PAGE).max(end);
        let page = handle.events(Seq(from), usize::try_from(before - from).unwrap_or(0)).await?;
        let mine = |event: &Event| event.session.as_ref() == Some(session);
        found.extend(page.into_iter().rev().filter(|event| event.seq.0 <= before && mine(event)));
        before = from;
    }
    let older = before >= first.0 || found.len() > MOST;
    found.truncate(MOST);
    Ok((found, older))
}

impl Timeline {
    pub(crate) fn of(events: &[Event], older: bool, now: Now, zone: &TimeZone) -> Self {
        let mut rows: Vec<Row> = vec![];
        let date = |at: Timestamp| at.to_zoned(zone.clone()).date();
        let mut day = date(now.wall);
        for event in events {
            if date(event.at) != day {
                day = date(event.at);
                rows.push(Row::Day(day.strftime("%a %-d %b").to_string()));
            }
            let told = why::describe(event);
            let happened = Happened {
                at: When::clock(event.at, zone),
                sign: told.mark.map(Sign::from),
                says: told.line(),
                seq: event.seq,
            };
            match (is_quiet(event), rows.last_mut()) {
                (true, Some(Row::Quiet(quiet))) => quiet.push(happened),
                (true, _) => rows.push(Row::Quiet(vec![happened])),
                (false, _) => rows.push(Row::One(happened)),
            }
        }
        Self { rows, older }
    }
}

/// What `ao` itself does in between, and what an agent does all the time.
fn is_quiet(event: &Event) -> bool {
    let group = event.kind.name().split('.').next().unwrap_or_default();
    matches!(
        group,
        "effect"
            | "delivery"
            | "usage"
            | "tool"
            | "sweep"
            | "progress"
            | "status"
            | "work"
            | "signal"
    )
}
