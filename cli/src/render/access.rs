//! `ao token ls`.

use ao_core::event::AccessKind;
use ao_web::view::{AccessList, AccessView};
use jiff::{Timestamp, tz::TimeZone};

use super::clock;
use crate::out::{Style, Tone, pad, width};

/// One line for each that may come in: what it is, as whom, until when.
pub(crate) fn list(list: &AccessList, style: &Style, zone: &TimeZone, now: Timestamp) -> String {
    if list.access.is_empty() {
        return "No browser and no program may come in. A browser: ao dashboard\n".to_owned();
    }
    let names = |of: fn(&AccessView) -> String| -> Vec<String> {
        let all: Vec<String> = list.access.iter().map(of).collect();
        let widest = all.iter().map(|text| width(text)).max().unwrap_or(0);
        all.iter().map(|text| pad(text, widest)).collect()
    };
    let ids = names(|access| access.id.to_string());
    let kinds = names(|access| match access.kind {
        AccessKind::Browser => "browser".into(),
        AccessKind::Token => "token".into(),
    });
    let called = names(|access| access.name.clone());
    let mut out = String::new();
    for (((access, id), kind), name) in list.access.iter().zip(&ids).zip(&kinds).zip(&called) {
        let time = |at: Timestamp| clock(now, at, zone, "%H:%M");
        let end = match (&access.revoked, access.until) {
            (Some(by), Some(at)) => format!("taken back by {by}, {}", time(at)),
            (None, Some(at)) if access.active => format!("until {}", time(at)),
            (_, Some(at)) => format!("over since {}", time(at)),
            (_, None) => "until it is taken back".into(),
        };
        let line = format!(
            "  {}  {kind}  {name}  {} as {}, {end}",
            style.paint(Tone::Accent, id),
            access.role.as_str(),
            access.person,
        );
        out.push_str(&style.cut(&line, style.width.max(60)));
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_access_says_what_it_is_as_whom_and_until_when() {
        let accesses: AccessList = serde_json::from_value(serde_json::json!({
            "schema": "ao.access/1",
            "access": [
                {"id": "k-12", "kind": "token", "name": "ci-bot", "person": "ana", "role": "viewer", "since": "2026-11-21T14:00:00Z",
                 "until": null, "by": "ana", "revoked": null, "active": true},
                {"id": "k-3", "kind": "browser", "name": "Firefox on Linux", "person": "ana", "role": "admin", "since": "2026-11-21T14:00:00Z",
                 "until": "2026-11-21T14:10:00Z", "by": "ana", "revoked": "ben", "active": false},
                {"id": "k-2", "kind": "token", "name": "x", "person": "ana", "role": "member", "since": "2026-11-21T12:00:00Z",
                 "until": "2026-11-21T14:00:00Z", "by": "ana", "revoked": null, "active": false},
            ],
        }))
        .unwrap();
        let now = "2026-11-21T14:32:00Z".parse().unwrap();
        assert_eq!(
            list(&accesses, &Style::plain(120), &TimeZone::UTC, now),
            "  k-12  token    ci-bot            viewer as ana, until it is taken back\n  \
             k-3   browser  Firefox on Linux  admin as ana, taken back by ben, 14:10\n  \
             k-2   token    x                 member as ana, over since 14:00\n"
        );
        let none = AccessList { access: vec![], ..accesses };
        assert!(list(&none, &Style::plain(80), &TimeZone::UTC, now).starts_with("No browser"));
    }
}
