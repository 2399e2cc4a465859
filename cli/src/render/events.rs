//! `ao events`: one line an event.

use ao_web::view::EventView;
use jiff::{Timestamp, tz::TimeZone};

use super::clock;
use crate::out::{Style, Tone, pad};

/// `14:28:03  e4817  app-3  ▲ question           Should a coupon also apply to shipping?`
pub(crate) fn line(event: &EventView, style: &Style, zone: &TimeZone, now: Timestamp) -> String {
    let time = clock(now, event.at, zone, "%H:%M:%S");
    let seq = pad(&event.seq.to_string(), 6);
    let who = event.session.as_ref().map(ToString::to_string);
    let who =
        who.or(event.project.as_ref().map(ToString::to_string)).unwrap_or_else(|| "ao".into());
    let mark =
        event.told.mark.map_or_else(|| " ".to_owned(), |mark| pad(&style.painted_mark(mark), 1));
    let label = pad(&style.cut(&event.told.label, 28), 20);
    let used = time.len() + 2 + 6 + 2 + who.len().max(6) + 2 + 2 + 20 + 1;
    let text = style.cut(&event.told.text, style.width.saturating_sub(used).max(20));
    let line = format!(
        "{}  {}  {}  {mark} {label} {text}",
        style.paint(Tone::Muted, &time),
        style.paint(Tone::Muted, &seq),
        style.paint(Tone::Accent, &pad(&who, 6)),
    );
    line.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line() {
        let event: EventView = serde_json::from_value(serde_json::json!({
            "schema": "ao.event/1", "seq": "e4817", "at": "2026-11-21T14:28:03Z", "class": "obs", "kind": "request.opened",
            "session": "app-3", "project": "my-app", "because": [], "rule": null,
            "told": {"mark": "need", "label": "question", "text": "Should a coupon also apply to shipping?"}, "data": {},
        }))
        .unwrap();
        let now = "2026-11-21T14:32:00Z".parse().unwrap();
        assert_eq!(
            line(&event, &Style::plain(100), &TimeZone::UTC, now),
            "14:28:03  e4817   app-3   ▲ question             Should a coupon also apply to shipping?"
        );
    }
}
