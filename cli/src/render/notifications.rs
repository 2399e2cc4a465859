//! `ao notify log` and `ao notify channels`.

use ao_core::{
    config::policy::DigestEvery,
    event::Held,
    slots::notifier::{ChannelKind, Mark, NotifierCapabilities, Reached},
    state::Progress,
};
use ao_web::view::{AckView, ChannelList, ChannelView, DeliveryView, HoldView, NotificationList};
use jiff::{Timestamp, tz::TimeZone};

use super::{age, clock};
use crate::out::{Style, Tone, pad, width};

/// One line a message, newest first: when, what, where it went, what became of it.
pub(crate) fn log(
    list: &NotificationList,
    style: &Style,
    zone: &TimeZone,
    now: Timestamp,
) -> String {
    if list.notifications.is_empty() {
        return "Nothing was sent.\n".to_owned();
    }
    let mut out = String::new();
    for notification in &list.notifications {
        let time = clock(now, notification.opened, zone, "%H:%M");
        let parts = notification.deliveries.iter();
        let channels: Vec<_> = parts.map(|d| delivery(d, style, zone, now)).collect();
        let channels =
            if channels.is_empty() { "no channel".to_owned() } else { channels.join("  ") };
        let end = match (&notification.settled, &notification.how) {
            (Some(settled), how) => {
                let how = how.as_deref().unwrap_or("settled");
                format!("{how}, {}", age(*settled, notification.opened))
            }
            (None, _) if notification.incident.is_none() => String::new(),
            (None, _) => {
                let open = format!("open {}", age(now, notification.opened));
                match &notification.acknowledged {
                    Some(taken) => format!("{open}, {}", taken_by(taken, zone, now)),
                    None => open,
                }
            }
        };
        let fixed = width(&time) + 2 + 2 + 2 + width(&channels) + 2 + width(&end);
        let room = style.width.saturating_sub(fixed).max(24);
        let line = format!(
            "{}  {} {}  {channels}  {end}",
            style.paint(Tone::Muted, &time),
            style.painted_mark(notification.mark),
            pad(&style.cut(&notification.title, room), room),
        );
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// `taken by ana by slack 14:31`
fn taken_by(taken: &AckView, zone: &TimeZone, now: Timestamp) -> String {
    format!("taken by {} by {} {}", taken.by, taken.via, clock(now, taken.at, zone, "%H:%M"))
}

/// `quiet until 07:00`
fn hold(hold: &HoldView, zone: &TimeZone, now: Timestamp) -> String {
    let until = hold.until.map(|until| format!(" until {}", clock(now, until, zone, "%H:%M")));
    let why = match hold.why {
        Held::Silence { .. } => "silenced",
        Held::Quiet => "quiet",
        Held::Present => "waits: you are there",
        Held::Budget => "over the budget: in the digest",
        Held::Digest => "in the digest",
    };
    format!("{why}{}", until.unwrap_or_default())
}

/// `slack ✓ 0.2s`, `phone – quiet until 07:00`
pub(super) fn delivery(
    delivery: &DeliveryView,
    style: &Style,
    zone: &TimeZone,
    now: Timestamp,
) -> String {
    let took =
        delivery.took_ms.map(|ms| format!(" {:.1}s", ms as f64 / 1_000.0)).unwrap_or_default();
    match (delivery.progress, delivery.reached) {
        (_, Some(Reached::Seen | Reached::Delivered | Reached::Accepted)) => {
            format!("{} {}{took}", delivery.channel, style.painted_mark(Mark::Settled))
        }
        (_, None) if let Some(held) = &delivery.held => {
            let none = if style.ascii { "-" } else { "–" };
            format!("{} {none} {}", delivery.channel, hold(held, zone, now))
        }
        (Progress::Dropped, None) if delivery.error.is_some() => {
            format!("{} {}", delivery.channel, style.painted_mark(Mark::Failed))
        }
        (Progress::Dropped, None) => {
            format!("{} {}", delivery.channel, if style.ascii { "-" } else { "–" })
        }
        (Progress::Again, None) => {
            format!("{} {} tries again", delivery.channel, style.painted_mark(Mark::Failed))
        }
        (_, None) => {
            format!("{} …", delivery.channel).replace('…', if style.ascii { "..." } else { "…" })
        }
    }
}

/// One line a channel: what its last message came to, and since when that is so.
pub(crate) fn channels(
    list: &ChannelList,
    style: &Style,
    zone: &TimeZone,
    now: Timestamp,
) -> String {
    if list.channels.is_empty() {
        return "No channel is configured: nobody would be called.\n".to_owned();
    }
    let names = list.channels.iter().map(|channel| width(channel.name.as_str())).max().unwrap_or(0);
    let mut out = String::new();
    for channel in &list.channels {
        let name = style.paint(Tone::Accent, &pad(channel.name.as_str(), names));
        let since = channel.since.map(|since| clock(now, since, zone, "%H:%M"));
        let (mark, mut words) = match (&channel.error, since) {
            (Some(error), Some(since)) => (Mark::Failed, format!("fails since {since}: {error}")),
            (Some(error), None) => (Mark::Failed, error.clone()),
            (None, Some(since)) => (Mark::Settled, format!("works since {since}")),
            (None, None) => (Mark::Slow, "never tried".to_owned()),
        };
        if channel.waiting > 0 && channel.error.is_none() {
            words.push_str(&format!("; {} waiting", channel.waiting));
        }
        let untried = (mark == Mark::Slow).then(|| format!("ao notify test {}", channel.name));
        let room = style.width.saturating_sub(2 + 2 + names + 2 + 12).max(20);
        out.push_str(&format!(
            "  {} {name}  {}  {}\n",
            style.painted_mark(mark),
            pad(&channel.plugin, 8),
            style.cut(&words, room)
        ));
        if let Some(can) = &channel.capabilities {
            let text = abilities(can, channel);
            out.push_str(&format!("      {}\n", style.paint(Tone::Muted, &style.text(&text))));
        }
        if let Some(remedy) = channel.remedy.as_ref().or(untried.as_ref()) {
            out.push_str(&format!("      fix: {}\n", style.text(remedy)));
        }
    }
    out
}

/// What a channel can do, in words, and whose it is.
fn abilities(can: &NotifierCapabilities, channel: &ChannelView) -> String {
    let kind = match can.kind {
        ChannelKind::Desktop => "desktop",
        ChannelKind::Chat => "chat",
        ChannelKind::Phone => "phone",
        ChannelKind::Mail => "mail",
        ChannelKind::Webhook => "webhook",
    };
    let able = [
        (can.buttons, "buttons"),
        (can.replies, "replies"),
        (can.edits, "edits"),
        (can.threads, "threads"),
        (can.idempotent || can.finds, "safe to repeat"),
    ];
    let able: Vec<_> = able.into_iter().filter(|(able, _)| *able).map(|(_, word)| word).collect();
    let able = if able.is_empty() { "shows messages only".to_owned() } else { able.join(", ") };
    let mut text = format!("{kind}: {able}");
    let digest = match channel.digest {
        DigestEvery::Off => Some("no digest"),
        DigestEvery::Hourly => Some("digest every hour"),
        DigestEvery::Daily => None,
    };
    let people = (!channel.people.is_empty()).then(|| channel.people.join(", "));
    for part in digest.map(str::to_owned).into_iter().chain(people) {
        text.push_str(" · ");
        text.push_str(&part);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_tells_where_each_message_went_and_what_became_of_it() {
        let list: NotificationList = serde_json::from_value(serde_json::json!({
            "schema": "ao.notifications/1",
            "notifications": [
                {"id": "n-3", "incident": "i-9", "mark": "need", "title": "app-3 asks: Should a coupon also apply to shipping?",
                 "priority": "urgent", "project": "my-app", "opened": "2026-11-21T14:28:00Z", "settled": null, "how": null,
                 "deliveries": [
                    {"channel": "desktop", "progress": "sent", "reached": "delivered", "tookMs": 40, "tries": 0, "error": null},
                    {"channel": "hook", "progress": "dropped", "reached": null, "tookMs": null, "tries": 3, "error": "503"}]},
                {"id": "n-4", "incident": "i-7", "mark": "need", "title": "app-4 seems to hang", "priority": "action",
                 "project": "my-app", "opened": "2026-11-21T14:20:00Z", "settled": null, "how": null,
                 "acknowledged": {"by": "ana", "via": "slack", "at": "2026-11-21T14:31:00Z"},
                 "deliveries": [
                    {"channel": "slack", "progress": "sent", "reached": "accepted", "tookMs": 210, "tries": 0, "error": null},
                    {"channel": "desktop", "progress": "queued", "reached": null, "tookMs": null, "tries": 0, "error": null,
                     "held": {"why": {"by": "present"}, "until": null}},
                    {"channel": "ntfy", "progress": "queued", "reached": null, "tookMs": null, "tries": 0, "error": null,
                     "held": {"why": {"by": "quiet"}, "until": "2026-11-22T07:00:00Z"}},
                    {"channel": "team", "progress": "queued", "reached": null, "tookMs": null, "tries": 0, "error": null,
                     "held": {"why": {"by": "silence", "silence": "s-1"}, "until": "2026-11-21T15:30:00Z"}},
                    {"channel": "mail", "progress": "dropped", "reached": null, "tookMs": null, "tries": 0, "error": null,
                     "held": {"why": {"by": "budget"}, "until": null}}]},
                {"id": "n-2", "incident": "i-8", "mark": "settled", "title": "api-2 has not got its task", "priority": "urgent",
                 "project": "api", "opened": "2026-11-21T13:58:00Z", "settled": "2026-11-21T14:04:00Z", "how": "by ana", "deliveries": []},
            ],
        }))
        .unwrap();
        let now = "2026-11-21T14:32:00Z".parse().unwrap();
        insta::assert_snapshot!("notify_log", log(&list, &Style::plain(100), &TimeZone::UTC, now));
    }

    #[test]
    fn a_channel_that_was_never_tried_is_not_said_to_work() {
        let channel = |name: &str, since: Option<&str>, error: Option<&str>, waiting: u32| {
            serde_json::json!({
                "name": name, "plugin": "desktop", "kind": "desktop", "since": since,
                "error": error, "remedy": null, "notBefore": null, "waiting": waiting,
            })
        };
        let at = Some("2026-11-21T14:02:00Z");
        let list: ChannelList = serde_json::from_value(serde_json::json!({
            "schema": "ao.channels/1",
            "channels": [
                channel("desk", None, None, 0), channel("team", at, None, 2),
                channel("hook", at, Some("503"), 1),
            ],
        }))
        .unwrap();
        let now = "2026-11-21T14:32:00Z".parse().unwrap();
        let shown = channels(&list, &Style::plain(100), &TimeZone::UTC, now);
        let lines: Vec<&str> = shown.lines().collect();
        assert!(lines[0].ends_with("never tried"), "{shown}");
        assert_eq!(lines[1].trim(), "fix: ao notify test desk");
        assert!(lines[2].ends_with("works since 14:02; 2 waiting"), "{shown}");
        assert!(lines[3].ends_with("fails since 14:02: 503"), "{shown}");
    }
}
