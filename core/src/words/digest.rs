//! What a digest says.

use ao_slots::{
    fact::Priority,
    text::{count, thousands},
};
use jiff::{Timestamp, tz::TimeZone};

use super::{known_as, phrase::in_title, summary::line, title};
use crate::{
    decide::{cause::muted_by, schedule::wanted_at, silence::silence_of},
    event::{Summary, SummaryPart},
    state::{Account, Incident, Now, Part, ROWS, State},
};

/// The title and text of a digest, from what came up since the one before. `next` is when the one after it comes.
pub(crate) fn digest(
    state: &State,
    account: &Account,
    zone: &TimeZone,
    next: Option<Timestamp>,
) -> (String, Summary) {
    let now = Now { wall: state.last_at, awake: state.awake };
    let wants = |incident: &&Incident| {
        incident.is_open()
            && incident.priority > Priority::Info
            && wanted_at(state, incident).is_some_and(|at| at <= now.awake)
            && muted_by(state, incident).is_none()
            && silence_of(state, incident, now).is_none()
    };
    let mut open: Vec<&Incident> = state.incidents.values().filter(wants).collect();
    open.sort_by_key(|incident| (std::cmp::Reverse(incident.priority), incident.id));
    let open = Part {
        count: open.len() as u64,
        first: open.iter().take(ROWS).map(|incident| title(state, incident)).collect(),
    };
    let finished =
        rows(&account.finished, |id| state.sessions.get(id).map_or_else(|| id.to_string(), line));
    let handled = rows(&account.handled, |id| {
        state.incidents.get(id).map_or_else(|| id.to_string(), |i| known_as(state, i))
    });
    let as_is = |part: &Part<String>| rows(part, Clone::clone);
    let parts = [
        ("Finished", "finished", "finished", account.finished.count, finished),
        ("Wants you", "wants you", "want you", open.count, as_is(&open)),
        (
            "Handled without you",
            "handled without you",
            "handled without you",
            account.handled.count,
            handled,
        ),
        ("To know", "to know", "to know", account.told.count, as_is(&account.told)),
        (
            "Quiet hours held back",
            "held back by quiet hours",
            "held back by quiet hours",
            account.quiet.count,
            as_is(&account.quiet),
        ),
        (
            "Over the day's budget",
            "over the day's budget",
            "over the day's budget",
            account.budget.count,
            as_is(&account.budget),
        ),
        ("Silenced", "silenced", "silenced", account.silenced.count, as_is(&account.silenced)),
    ];
    let said = parts.into_iter().filter(|(_, _, _, n, _)| *n > 0).collect::<Vec<_>>();
    let counts: Vec<String> =
        said.iter().map(|(_, one, many, n, _)| count(*n, one, many)).collect();
    let at = |at: Timestamp| at.to_zoned(zone.clone()).strftime("%a %H:%M").to_string();
    let title = match (counts.is_empty(), account.last) {
        (false, _) => counts.join(", "),
        (true, Some(last)) => format!("Nothing happened since {}. ao is well.", at(last)),
        (true, None) => "Nothing happened. ao is well.".into(),
    };
    // What wants somebody is read first.
    let mut said: Vec<SummaryPart> = said
        .into_iter()
        .map(|(title, _, _, n, lines)| SummaryPart {
            title: format!("{title} ({})", thousands(n)),
            lines,
        })
        .collect();
    said.sort_by_key(|part| !part.title.starts_with("Wants you"));
    let short = said.first().and_then(|part| part.lines.first().cloned()).unwrap_or_default();
    let lines = next.map(|next| format!("Next digest {}", at(next))).into_iter().collect();
    (title, Summary { kind: "digest".into(), short, lines, parts: said })
}

/// The rows of a part, with how many more there are.
fn rows<T>(part: &Part<T>, say: impl Fn(&T) -> String) -> Vec<String> {
    let mut rows: Vec<String> = part.first.iter().map(|row| in_title(&say(row))).collect();
    let more = part.count.saturating_sub(rows.len() as u64);
    if more > 0 {
        rows.push(format!("and {} more", thousands(more)));
    }
    rows
}
