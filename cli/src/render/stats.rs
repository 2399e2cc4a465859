//! `ao notify stats` and `ao notify replay`.

use std::collections::{BTreeMap, VecDeque};

use ao_core::{
    decide::replay::{Call, Compared},
    slots::{
        ChannelName,
        text::{count, duration, duration_short, thousands},
    },
    stats::{Spread, Stats},
};
use jiff::{Timestamp, tz::TimeZone};

use super::clock;
use crate::out::{Style, Tone, pad, width};

/// Most days that are shown.
const DAYS: usize = 14;
/// Most calls that are listed.
const CALLS: usize = 30;

/// What messages cost and brought. `threshold` tells how long a trigger's state lasts before it counts, in
/// milliseconds.
pub(crate) fn stats(
    stats: &Stats,
    threshold: &dyn Fn(&str) -> Option<u64>,
    style: &Style,
) -> String {
    let Stats { pushes, needs, false_alarms, misses, handled, .. } = stats;
    let each = match needs {
        0 => String::new(),
        needs => format!(" ({:.2} each)", f64::from(*pushes) / f64::from(*needs)),
    };
    let share = match pushes {
        0 => String::new(),
        pushes => format!(" ({:.0} %)", 100.0 * f64::from(*false_alarms) / f64::from(*pushes)),
    };
    let mut lines = vec![format!(
        "pushes {} for {}{each} · false alarms {false_alarms}{share} · misses {misses} · handled without you {}",
        thousands(u64::from(*pushes)),
        count(u64::from(*needs), "need", "needs"),
        thousands(u64::from(*handled)),
    )];
    if stats.summaries > 0 {
        let summaries = count(u64::from(stats.summaries), "summary", "summaries");
        lines[0].push_str(&format!(" · {summaries}"));
    }
    let skip = stats.days.len().saturating_sub(DAYS);
    let most = stats.days.iter().map(|day| day.pushes).max().unwrap_or(0);
    let days = stats.days.iter().skip(skip).map(|day| {
        let name = day.day.strftime("%a");
        match style.ascii {
            true => format!("{name} {}", day.pushes),
            false => format!("{name} {} {}", bar(day.pushes, most), day.pushes),
        }
    });
    let days = days.collect::<Vec<_>>().join("   ");
    if !days.is_empty() {
        lines.push(format!("per day   {days}"));
    }
    let human = stats.to_human.map(|Spread { median_ms, p90_ms, .. }| {
        format!("to human  median {}, 90 % under {}", prose(median_ms), prose(p90_ms))
    });
    let channels = stats
        .channels
        .iter()
        .map(|(name, spread)| format!("{name} p99 {:.1} s", spread.p99_ms as f64 / 1_000.0));
    let channels = channels.collect::<Vec<_>>().join("   ");
    let channels = (!channels.is_empty()).then(|| format!("need → provider  {channels}"));
    match (human, channels) {
        (Some(human), Some(channels)) if width(&human) + 6 + width(&channels) <= style.width => {
            lines.push(format!("{human}      {channels}"));
        }
        (human, channels) => lines.extend(human.into_iter().chain(channels)),
    }
    if let Some(loud) = stats.triggers.first() {
        let mut line = format!("loudest   {} {}", loud.trigger, loud.pushes);
        if loud.false_alarms > 0 {
            line.push_str(&format!(", of them {} false", loud.false_alarms));
            if let Some(threshold) = threshold(loud.trigger.as_str()) {
                let more = duration_short(threshold.saturating_mul(3) / 2_000);
                line.push_str(&format!(
                    ": try `threshold: {more}`, then: ao notify replay --config new.yaml"
                ));
            }
        }
        lines.push(line);
    }
    lines.iter().map(|line| style.text(line) + "\n").collect()
}

/// A duration in prose, to the second where it is short.
fn prose(ms: u64) -> String {
    let seconds = ms.div_ceil(1_000);
    match seconds {
        60..600 if !seconds.is_multiple_of(60) => {
            format!("{} min {} s", seconds / 60, seconds % 60)
        }
        _ => duration(seconds),
    }
}

fn bar(n: u32, most: u32) -> char {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let step = (u64::from(n) * 7).checked_div(u64::from(most)).unwrap_or(0);
    BARS.get(usize::try_from(step).unwrap_or(0)).copied().unwrap_or('▁')
}

/// What another configuration would have sent: sums by kind, then what differs, call by call.
pub(crate) fn replay(
    compared: &Compared,
    style: &Style,
    zone: &TimeZone,
    now: Timestamp,
) -> String {
    let Compared { events, old, new } = compared;
    let calls = |calls: &[Call]| count(calls.len() as u64, "message", "messages");
    let mut out = format!("{} events: {} → {}\n", thousands(*events), calls(old), calls(new));
    let mut kinds: BTreeMap<&str, (u32, u32)> = BTreeMap::new();
    for call in old {
        kinds.entry(&call.kind).or_default().0 += 1;
    }
    for call in new {
        kinds.entry(&call.kind).or_default().1 += 1;
    }
    let widest = kinds.keys().map(|kind| width(kind)).max().unwrap_or(0);
    for (kind, (old, new)) in kinds {
        out.push_str(&format!("  {}  {old:>4} → {new}\n", pad(kind, widest)));
    }
    let changes = changes(old, new);
    if changes.is_empty() {
        out.push_str("The same messages on the same channels.\n");
    }
    for change in changes.iter().take(CALLS) {
        let (sign, call, where_to) = match change {
            Change::Gone(call) => ("-", call, names(&call.channels)),
            Change::New(call) => ("+", call, names(&call.channels)),
            Change::Moved(old, new) => {
                ("~", new, format!("{} → {}", names(&old.channels), names(&new.channels)))
            }
        };
        let time = clock(now, call.at, zone, "%H:%M");
        let fixed = 2 + 2 + width(&time) + 2 + 2 + width(&where_to);
        let room = style.width.saturating_sub(fixed).max(24);
        out.push_str(&format!(
            "  {sign} {}  {}  {where_to}\n",
            style.paint(Tone::Muted, &time),
            pad(&style.cut(&call.title, room), room)
        ));
    }
    if changes.len() > CALLS {
        out.push_str(&format!("  and {} more: --json has all\n", changes.len() - CALLS));
    }
    style.text(&out)
}

fn names(channels: &[ChannelName]) -> String {
    channels.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[derive(Debug, PartialEq)]
enum Change<'c> {
    Gone(&'c Call),
    New(&'c Call),
    Moved(&'c Call, &'c Call),
}

/// What differs, in the order of time. The first call about something is the first one there, and so on.
fn changes<'c>(old: &'c [Call], new: &'c [Call]) -> Vec<Change<'c>> {
    let mut waiting: BTreeMap<(&str, &str), VecDeque<&Call>> = BTreeMap::new();
    for call in old {
        waiting.entry((&call.kind, &call.subject)).or_default().push_back(call);
    }
    let mut changes = vec![];
    for call in new {
        let same = waiting.get_mut(&(call.kind.as_str(), call.subject.as_str()));
        match same.and_then(VecDeque::pop_front) {
            None => changes.push((call.at, Change::New(call))),
            Some(before) if sorted(before) != sorted(call) => {
                changes.push((call.at, Change::Moved(before, call)));
            }
            Some(_) => {}
        }
    }
    changes.extend(waiting.into_values().flatten().map(|call| (call.at, Change::Gone(call))));
    changes.sort_by_key(|(at, _)| *at);
    changes.into_iter().map(|(_, change)| change).collect()
}

fn sorted(call: &Call) -> Vec<&ChannelName> {
    let mut channels: Vec<_> = call.channels.iter().collect();
    channels.sort();
    channels
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(loud: &serde_json::Value) -> Stats {
        serde_json::from_value(serde_json::json!({
            "since": "2026-11-16T00:00:00Z", "until": "2026-11-21T14:32:00Z",
            "pushes": 41, "needs": 38, "falseAlarms": 2, "misses": 0, "handled": 1212,
            "days": [{"day": "2026-11-16", "pushes": 4}, {"day": "2026-11-17", "pushes": 0}, {"day": "2026-11-18", "pushes": 11}],
            "toHuman": {"count": 30, "medianMs": 220_000, "p90Ms": 840_000, "p99Ms": 900_000},
            "channels": {"slack": {"count": 41, "medianMs": 300, "p90Ms": 500, "p99Ms": 900}},
            "triggers": loud,
        }))
        .unwrap()
    }

    #[test]
    fn a_weeks_figures_fit_on_a_screen() {
        let of = counted(
            &serde_json::json!([{"trigger": "agent-stuck", "pushes": 12, "falseAlarms": 2}]),
        );
        let shown = stats(&of, &|_| Some(600_000), &Style::plain(100));
        assert_eq!(
            shown,
            "pushes 41 for 38 needs (1.08 each) · false alarms 2 (5 %) · misses 0 · handled without you 1,212\n\
             per day   Mon ▃ 4   Tue ▁ 0   Wed █ 11\n\
             to human  median 3 min 40 s, 90 % under 14 min      need → provider  slack p99 0.9 s\n\
             loudest   agent-stuck 12, of them 2 false: try `threshold: 15m`, then: ao notify replay --config new.yaml\n"
        );
        let none = Stats {
            pushes: 0,
            needs: 0,
            false_alarms: 0,
            handled: 0,
            days: vec![],
            to_human: None,
            channels: BTreeMap::new(),
            ..counted(&serde_json::json!([]))
        };
        assert_eq!(
            stats(&none, &|_| None, &Style::plain(80)),
            "pushes 0 for 0 needs · false alarms 0 · misses 0 · handled without you 0\n"
        );
    }

    #[test]
    fn a_replay_shows_what_would_come_go_and_go_elsewhere() {
        let call = |kind: &str, subject: &str, channels: &[&str]| Call {
            at: "2026-11-21T14:28:00Z".parse().unwrap(),
            kind: kind.into(),
            priority: ao_core::slots::fact::Priority::Urgent,
            title: format!("{subject} is stuck"),
            channels: channels.iter().map(|name| name.parse().unwrap()).collect(),
            subject: subject.into(),
        };
        let stuck = |subject, channels| call("agent-stuck", subject, channels);
        let compared = Compared {
            events: 12_345,
            old: vec![
                stuck("app-1", &["desk"]),
                stuck("app-2", &["desk"]),
                stuck("app-1", &["desk"]),
            ],
            new: vec![
                stuck("app-1", &["desk"]),
                stuck("app-2", &["desk", "team"]),
                call("agent-idle", "app-4", &["desk"]),
            ],
        };
        let now = "2026-11-21T15:00:00Z".parse().unwrap();
        assert_eq!(
            replay(&compared, &Style::plain(60), &TimeZone::UTC, now),
            "12,345 events: 3 messages → 3 messages\n  \
             agent-idle      0 → 1\n  \
             agent-stuck     3 → 2\n  \
             ~ 14:28  app-2 is stuck                  desk → desk, team\n  \
             + 14:28  app-4 is stuck                               desk\n  \
             - 14:28  app-1 is stuck                               desk\n"
        );
        let same = Compared { new: compared.old.clone(), ..compared };
        assert!(
            replay(&same, &Style::plain(60), &TimeZone::UTC, now)
                .ends_with("The same messages on the same channels.\n")
        );
    }
}
