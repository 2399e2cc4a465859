//! `ao silence ls`.

use ao_core::state::Matchers;
use ao_web::view::SilenceList;
use jiff::{Timestamp, tz::TimeZone};

use super::clock;
use crate::out::{Style, Tone, pad, width};

/// One line a silence: what it is about, until when, by whom, what it has held back.
pub(crate) fn list(list: &SilenceList, style: &Style, zone: &TimeZone, now: Timestamp) -> String {
    if list.silences.is_empty() {
        return "No silence: you are called for everything.\n".to_owned();
    }
    let ids: Vec<String> = list.silences.iter().map(|silence| silence.id.to_string()).collect();
    let widest = ids.iter().map(|id| width(id)).max().unwrap_or(0);
    let mut out = String::new();
    for (silence, id) in list.silences.iter().zip(&ids) {
        let until = clock(now, silence.until, zone, "%H:%M");
        let end = if silence.active { format!("until {until}") } else { "over".to_owned() };
        let held = match silence.held {
            0 => "held nothing back".to_owned(),
            1 => "held 1 message back".to_owned(),
            more => format!("held {more} messages back"),
        };
        let comment = if silence.comment.is_empty() {
            String::new()
        } else {
            format!("  \"{}\"", silence.comment)
        };
        let line = format!(
            "  {}  {}  {end}, by {}; {held}{comment}",
            style.paint(Tone::Accent, &pad(id, widest)),
            words(&silence.matchers),
            silence.by,
        );
        out.push_str(&style.cut(&line, style.width.max(60)));
        out.push('\n');
    }
    out
}

/// As it is written on the command line.
fn words(matchers: &Matchers) -> String {
    let Matchers { session, project, trigger, priority, incident } = matchers;
    let said = [
        session.as_ref().map(|session| format!("session={session}")),
        project.as_ref().map(|project| format!("project={project}")),
        trigger.map(|trigger| format!("trigger={trigger}")),
        priority.map(|priority| {
            format!("priority<={}", serde_json::json!(priority).as_str().unwrap_or_default())
        }),
        incident.map(|incident| format!("incident={incident}")),
    ];
    said.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_silence_says_what_until_when_by_whom_and_how_often() {
        let silences: SilenceList = serde_json::from_value(serde_json::json!({
            "schema": "ao.silences/1",
            "silences": [
                {"id": "s-1", "matchers": {"session": "app-*", "priority": "warning"}, "until": "2026-11-21T16:00:00Z",
                 "by": "ana", "comment": "load test", "since": "2026-11-21T14:00:00Z", "active": true, "held": 3},
                {"id": "s-12", "matchers": {"trigger": "agent-idle"}, "until": "2026-11-21T13:00:00Z",
                 "by": "ben", "comment": "", "since": "2026-11-21T12:00:00Z", "active": false, "held": 1},
            ],
        }))
        .unwrap();
        let now = "2026-11-21T14:32:00Z".parse().unwrap();
        assert_eq!(
            list(&silences, &Style::plain(120), &TimeZone::UTC, now),
            "  s-1   session=app-* priority<=warning  until 16:00, by ana; held 3 messages back  \"load test\"\n  \
             s-12  trigger=agent-idle  over, by ben; held 1 message back\n"
        );
        let none = SilenceList { silences: vec![], ..silences };
        assert!(list(&none, &Style::plain(80), &TimeZone::UTC, now).starts_with("No silence"));
    }
}
