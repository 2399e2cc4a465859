//! `ao why`.

use ao_web::view::WhyDoc;
use jiff::{Timestamp, tz::TimeZone};

use super::clock;
use crate::out::{Style, Tone, pad, width};

/// The answer, then its evidence, newest first: time, what, event number and who saw or concluded it.
pub(crate) fn screen(doc: &WhyDoc, style: &Style, zone: &TimeZone, now: Timestamp) -> String {
    let why = &doc.why;
    let mut out = vec![style.text(&why.headline)];
    let times: Vec<String> =
        why.lines.iter().map(|line| clock(now, line.at, zone, "%H:%M:%S")).collect();
    let time_width = times.iter().map(|time| width(time)).max().unwrap_or(0);
    let proof =
        |line: &ao_core::why::Line| format!("{} {}", line.seq, line.by).trim_end().to_owned();
    let proof_width = why.lines.iter().map(|line| width(&proof(line))).max().unwrap_or(0).min(28);
    let room = style.width.saturating_sub(2 + time_width + 2 + 2 + proof_width).max(20);
    for (line, time) in why.lines.iter().zip(&times) {
        let row = format!(
            "  {}  {}  {}",
            style.paint(Tone::Muted, &pad(time, time_width)),
            pad(&style.cut(&line.text, room), room),
            style.paint(Tone::Muted, &style.cut(&proof(line), proof_width))
        );
        out.push(row.trim_end().to_owned());
    }
    if why.forgotten > 0 {
        let events =
            ao_core::slots::text::count(why.forgotten.into(), "older event is", "older events are");
        out.push(style.paint(Tone::Muted, &format!("{events} not kept any more.")));
    }
    if !why.not_the_case.is_empty() {
        out.push(style.text(&why.not_the_case));
    }
    format!("{}\n", out.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_stands_first_and_every_line_names_its_event() {
        let doc: WhyDoc = serde_json::from_value(serde_json::json!({
            "schema": "ao.why/1",
            "why": {
                "subject": "app-3",
                "headline": "app-3 needs you because it asked a question at 14:28 and nobody answered yet.",
                "lines": [
                    {"at": "2026-11-21T14:28:05Z", "seq": "e4821", "text": "told: desktop showed it, hook took it", "by": "route urgent"},
                    {"at": "2026-11-21T14:28:03Z", "seq": "e4817", "text": "question: \"Should a coupon also apply to shipping?\"", "by": "agent"},
                    {"at": "2026-11-20T13:21:02Z", "seq": "e4402", "text": "message confirmed by the agent", "by": ""},
                ],
                "notTheCase": "Not the case: it is not stuck (last file change 14:27).",
                "forgotten": 2,
            },
        }))
        .unwrap();
        let now = "2026-11-21T14:32:00Z".parse().unwrap();
        insta::assert_snapshot!("why", screen(&doc, &Style::plain(100), &TimeZone::UTC, now));
        let narrow = screen(&doc, &Style::plain(60), &TimeZone::UTC, now);
        assert!(narrow.lines().skip(1).take(3).all(|line| width(line) <= 80), "{narrow}");
    }
}
