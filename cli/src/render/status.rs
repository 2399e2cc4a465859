//! `ao status`.

use ao_core::{
    slots::{notifier::Mark, text::count},
    state::{Status, Zone},
    why::mark_of,
};
use ao_web::view::{Row, StatusDoc};
use jiff::{Timestamp, tz::TimeZone};

use super::{age, ago, clock, watch::Item};
use crate::out::{Style, Tone, pad, pad_left, tone, width};

/// The zones in which something is asked of a human, with their headings.
pub(super) const ZONES: [(Zone, &str); 3] =
    [(Zone::Red, "NEEDS YOU"), (Zone::Orange, "DECIDE"), (Zone::Yellow, "NOT GOING WELL")];

/// A line of a zone: a session, or what concerns none.
#[derive(Clone)]
pub(super) struct Entry<'a> {
    pub(super) item: Item,
    pub(super) id: String,
    task: String,
    pub(super) words: &'a str,
    pub(super) since: Timestamp,
    next: Option<&'a str>,
}

impl<'a> Entry<'a> {
    pub(super) fn of(row: &'a Row) -> Self {
        Self {
            item: Item::Session(row.id.clone()),
            id: row.id.to_string(),
            task: task(row),
            words: &row.words,
            since: row.since,
            next: row.next.as_deref(),
        }
    }
}

/// The whole screen.
pub(crate) fn screen(doc: &StatusDoc, style: &Style, zone: &TimeZone) -> String {
    let mut out = vec![head(doc, style, zone)];
    if doc.sessions.is_empty() && doc.notices.is_empty() {
        let project = doc.any_project.as_ref().map(|id| format!("ao spawn {id} <issue>"));
        let next = style.paint(Tone::Accent, &project.unwrap_or_else(|| "ao init".into()));
        return format!("No sessions. Start one: {next}\n");
    }
    let zones = ZONES.map(|(zone, heading)| (zone, heading, entries(doc, zone)));
    let all: Vec<Entry<'_>> =
        zones.iter().flat_map(|(.., entries)| entries.iter().cloned()).collect();
    let columns = Columns::of(&all, doc, style);
    for (zone, heading, entries) in zones.iter().filter(|(.., entries)| !entries.is_empty()) {
        let mark = mark_of(*zone);
        out.push(style.paint(tone(mark), &format!("{} {heading}", style.mark(mark))));
        out.extend(columns.rows(entries, doc, style));
    }
    let working: Vec<&Row> =
        doc.sessions.iter().filter(|row| row.zone == Zone::Green && row.over.is_none()).collect();
    let finished: Vec<&Row> =
        doc.sessions.iter().filter(|row| finished_today(row, doc, zone)).collect();
    if all.is_empty() {
        out.push(nothing(working.len()));
    }
    let not_started: Vec<&Row> =
        doc.sessions.iter().filter(|row| not_started_today(row, doc, zone)).collect();
    out.extend(tail(&working, &finished, &not_started, style));
    if !doc.reachable {
        out.push(
            style.paint(Tone::Muted, "No channel: nobody would be called. See: ao notify channels"),
        );
    }
    let mut text = out.join("\n");
    text.push('\n');
    text
}

fn head(doc: &StatusDoc, style: &Style, zone: &TimeZone) -> String {
    let [all, want] = summary(doc);
    let all = match style.width {
        70.. => format!("{all} in {}", count(doc.projects.into(), "project", "projects")),
        _ => all,
    };
    let mut facts = vec![all, want];
    if let Some(push) = doc.last_push {
        facts.push(format!("last push {} ago", ago(doc.at, push)));
    }
    if style.width >= 100 {
        facts.push(format!("server up {}", ao_core::slots::text::duration(doc.up_ms / 1_000)));
    }
    let time = clock(doc.at, doc.at, zone, "%H:%M");
    let left = style.cut(&facts.join(style.dot()), style.width.saturating_sub(time.len() + 1));
    let gap = style.width.saturating_sub(width(&left) + time.len());
    format!("{left}{}{}", " ".repeat(gap), style.paint(Tone::Muted, &time))
}

/// The good news.
pub(super) fn nothing(working: usize) -> String {
    let agents = match working {
        0 => "No agent works.".to_owned(),
        1 => "1 agent works.".to_owned(),
        n => format!("{n} agents work."),
    };
    format!("Nothing needs you. {agents}")
}

/// How many sessions there are, and how many things want a human.
pub(super) fn summary(doc: &StatusDoc) -> [String; 2] {
    let open = doc.sessions.iter().filter(|row| row.over.is_none()).count() as u64;
    let want = match doc.want_you {
        0 => "nothing wants you".to_owned(),
        1 => "1 wants you".to_owned(),
        n => format!("{n} want you"),
    };
    [count(open, "session", "sessions"), want]
}

pub(super) fn entries(doc: &StatusDoc, zone: Zone) -> Vec<Entry<'_>> {
    let notices = doc.notices.iter().filter(|notice| notice.zone == zone).map(|notice| Entry {
        item: Item::Notice(notice.id),
        id: notice.id.to_string(),
        task: String::new(),
        words: &notice.words,
        since: notice.since,
        next: Some(&notice.next),
    });
    let sessions =
        doc.sessions.iter().filter(|row| row.zone == zone && row.over.is_none()).map(Entry::of);
    let mut all: Vec<_> = notices.chain(sessions).collect();
    all.sort_by_key(|entry| entry.since);
    all
}

/// `#41 Coupon is applied twice`.
pub(crate) fn task(row: &Row) -> String {
    match &row.issue {
        Some(issue) if row.title.is_empty() => format!("#{issue}"),
        Some(issue) => format!("#{issue} {}", row.title),
        None => row.title.clone(),
    }
}

/// The widths that all zones share.
struct Columns {
    ids: usize,
    tasks: usize,
    words: usize,
    ages: usize,
}

impl Columns {
    /// Columns drop from the right: the command goes below the line, then away; the task goes.
    fn of(entries: &[Entry<'_>], doc: &StatusDoc, style: &Style) -> Self {
        let widest =
            |text: &dyn Fn(&Entry<'_>) -> usize| entries.iter().map(text).max().unwrap_or(0);
        let ids = widest(&|entry| width(&entry.id));
        let ages = widest(&|entry| age(doc.at, entry.since).len()).max(4);
        let wide = style.width >= WIDE;
        let tasks = if wide { widest(&|entry| width(&entry.task)).min(28) } else { 0 };
        let nexts = if wide {
            widest(&|entry| width(&style.text(entry.next.unwrap_or_default())))
        } else {
            0
        };
        let gap = |columns: usize| if columns > 0 { columns + 2 } else { 0 };
        let fixed = 2 + ids + 2 + gap(tasks) + 2 + ages + gap(nexts);
        Self { ids, tasks, words: style.width.saturating_sub(fixed).max(16), ages }
    }

    fn rows(&self, entries: &[Entry<'_>], doc: &StatusDoc, style: &Style) -> Vec<String> {
        let Self { ids, tasks, words, ages } = *self;
        let mut lines = vec![];
        for entry in entries {
            let mut line = format!("  {}  ", style.paint(Tone::Accent, &pad(&entry.id, ids)));
            if tasks > 0 {
                line.push_str(&pad(&style.cut(&entry.task, tasks), tasks));
                line.push_str("  ");
            }
            line.push_str(&pad(&style.cut(entry.words, words), words));
            line.push_str("  ");
            line.push_str(&style.paint(Tone::Muted, &pad_left(&age(doc.at, entry.since), ages)));
            let next = entry.next.map(|next| style.paint(Tone::Accent, &style.text(next)));
            match next {
                Some(next) if style.width >= WIDE => lines.push(format!("{line}  {next}")),
                Some(next) if style.width >= 70 => {
                    lines.push(line);
                    lines.push(format!("{}{next}", " ".repeat(2 + ids + 2)));
                }
                _ => lines.push(line),
            }
        }
        lines
    }
}

/// From this width on the task has a column, and the command stands beside.
const WIDE: usize = 100;

fn ended_today(row: &Row, doc: &StatusDoc, zone: &TimeZone) -> bool {
    let day = |at: Timestamp| at.to_zoned(zone.clone()).date();
    row.over.is_some_and(|over| day(over) == day(doc.at))
}

/// What never started has not finished.
pub(super) fn finished_today(row: &Row, doc: &StatusDoc, zone: &TimeZone) -> bool {
    row.status != Status::NotStarted && ended_today(row, doc, zone)
}

pub(super) fn not_started_today(row: &Row, doc: &StatusDoc, zone: &TimeZone) -> bool {
    row.status == Status::NotStarted && ended_today(row, doc, zone)
}

/// What works, what is finished and what never started: names with their issues, as many as fit; on one line
/// where that fits.
fn tail(working: &[&Row], finished: &[&Row], not_started: &[&Row], style: &Style) -> Vec<String> {
    let working_name = |row: &Row| match &row.issue {
        Some(issue) => format!("{} #{issue}", row.id),
        None => row.id.to_string(),
    };
    let finished_name = |row: &Row| format!("{} {}", row.id, style.cut(&row.words, 24));
    let parts: Vec<String> = [
        names(Mark::Working, "WORKING", working, &working_name, style),
        names(Mark::Finished, "FINISHED TODAY", finished, &finished_name, style),
        names(Mark::Failed, "NOT STARTED TODAY", not_started, &working_name, style),
    ]
    .into_iter()
    .flatten()
    .collect();
    let one_line = parts.join("     ");
    if parts.len() == 2 && width(&one_line) <= style.width { vec![one_line] } else { parts }
}

fn names(
    mark: Mark,
    heading: &str,
    rows: &[&Row],
    name: &dyn Fn(&Row) -> String,
    style: &Style,
) -> Option<String> {
    let head = style.paint(tone(mark), &format!("{} {heading} {}", style.mark(mark), rows.len()));
    let mut line = format!("{head}   {}", style.text(&name(rows.first()?)));
    for (at, row) in rows.iter().enumerate().skip(1) {
        let next = style.text(&name(row));
        let more = format!("{}and {} more", style.dot(), rows.len() - at);
        // Room is kept for the count, but for the last one.
        let reserve = if at + 1 == rows.len() { 0 } else { width(&more) };
        if width(&line) + width(style.dot()) + width(&next) + reserve > style.width {
            line.push_str(&more);
            break;
        }
        line.push_str(style.dot());
        line.push_str(&next);
    }
    Some(line)
}

/// `▲2 ◆1 ●4`, for a shell's prompt; nothing when there is nothing.
pub(crate) fn short(doc: &StatusDoc, style: &Style) -> String {
    let number = |zone: Zone| {
        doc.sessions.iter().filter(|row| row.zone == zone && row.over.is_none()).count()
            + doc.notices.iter().filter(|notice| notice.zone == zone).count()
    };
    let parts: Vec<_> = [Zone::Red, Zone::Orange, Zone::Yellow, Zone::Green]
        .into_iter()
        .map(|zone| (mark_of(zone), number(zone)))
        .filter(|(_, number)| *number > 0)
        .map(|(mark, number)| style.paint(tone(mark), &format!("{}{number}", style.mark(mark))))
        .collect();
    parts.join(" ")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn example() -> StatusDoc {
        let row = |id: &str,
                   issue: &str,
                   title: &str,
                   zone: &str,
                   status: &str,
                   words: &str,
                   since: &str,
                   next: Option<&str>,
                   over: Option<&str>| {
            serde_json::json!({
                "id": id, "project": if id.starts_with("api") { "api" } else { "my-app" }, "issue": issue, "title": title,
                "agent": "claude-code", "status": status, "zone": zone, "words": words,
                "since": format!("2026-11-21T{since}Z"), "next": next, "incident": null,
                "over": over.map(|over| format!("2026-11-21T{over}Z")),
            })
        };
        let works = |id: &str, issue: &str| {
            row(id, issue, "x", "green", "working", "working", "13:00:00", None, None)
        };
        serde_json::from_value(serde_json::json!({
            "schema": "ao.status/1", "at": "2026-11-21T14:32:00Z", "version": "0.1.0", "upMs": 11_520_000, "projects": 2,
            "anyProject": "my-app", "wantYou": 3, "lastPush": "2026-11-21T14:28:00Z", "reachable": true, "notices": [],
            "sessions": [
                row("app-1", "44", "Dark mode", "orange", "mergeable", "PR #57 is ready to merge", "14:10:00", Some("ao session show app-1"), None),
                row("app-2", "40", "Login", "grey", "merged", "merged", "09:00:00", None, Some("09:00:00")),
                row("app-3", "41", "Coupon is applied twice", "red", "needs_input",
                    "asks: \"Should a coupon also apply to shipping?\"", "14:28:00", Some("ao answer app-3 \"…\""), None),
                works("app-5", "42"), works("app-6", "43"), works("app-7", "45"), works("api-6", "84"),
                row("api-5", "81", "Pagination", "yellow", "ci_failed", "PR #90 unit fails", "14:01:00", Some("ao why api-5"), None),
                row("api-7", "88", "Retry on 429", "red", "errored", "exited with code 1; work is safe: 3 commits, 2 changed files",
                    "14:31:00", Some("ao session restore api-7"), None),
            ],
        }))
        .unwrap()
    }

    #[test]
    fn the_screen_reads_at_120_80_and_60_columns() {
        for columns in [120, 80, 60] {
            let text = screen(&example(), &Style::plain(columns), &TimeZone::UTC);
            assert!(text.lines().all(|line| width(line) <= columns), "{columns}:\n{text}");
            insta::assert_snapshot!(format!("status_{columns}"), text);
        }
    }

    #[test]
    fn what_never_started_is_not_counted_as_finished() {
        let mut doc = example();
        let app_2 = doc.sessions.iter_mut().find(|row| row.id.as_str() == "app-2").unwrap();
        app_2.status = Status::NotStarted;
        let text = screen(&doc, &Style::plain(80), &TimeZone::UTC);
        assert!(text.contains("✗ NOT STARTED TODAY 1   app-2 #40"), "{text}");
        assert!(!text.contains("FINISHED"), "{text}");
    }

    #[test]
    fn the_same_facts_stand_there_in_ascii() {
        let style = Style { ascii: true, ..Style::plain(80) };
        let text = screen(&example(), &style, &TimeZone::UTC);
        assert!(text.is_ascii(), "{text}");
        insta::assert_snapshot!("status_80_ascii", text);
        assert_eq!(short(&example(), &style), "!2 ?1 ~1 *4");
        assert_eq!(short(&example(), &Style::plain(80)), "▲2 ◆1 ■1 ●4");
    }

    #[test]
    fn an_empty_state_says_the_good_news_and_the_next_command() {
        let mut doc = example();
        doc.sessions.retain(|row| row.zone == Zone::Green);
        doc.want_you = 0;
        assert!(
            screen(&doc, &Style::plain(80), &TimeZone::UTC)
                .contains("Nothing needs you. 4 agents work.")
        );
        doc.sessions.clear();
        assert_eq!(
            screen(&doc, &Style::plain(80), &TimeZone::UTC),
            "No sessions. Start one: ao spawn my-app <issue>\n"
        );
    }
}
