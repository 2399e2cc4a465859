//! `ao session show` and `ao session ls`.

use ao_core::{
    slots::{agent::Ask, text::one_line},
    why::{mark_of, source},
};
use ao_web::{
    summary,
    view::{FactView, Row, SessionDoc},
};
use jiff::{Timestamp, tz::TimeZone};
use serde_json::Value;

use super::{age, ago, clock, status::task};
use crate::out::{Style, Tone, pad, pad_left, width};

/// Everything about a session.
pub(crate) fn show(doc: &SessionDoc, style: &Style, zone: &TimeZone, now: Timestamp) -> String {
    let row = &doc.session;
    let mark = mark_of(row.zone);
    let zone_words = match row.zone {
        ao_core::state::Zone::Red => "needs you",
        ao_core::state::Zone::Orange => "decide",
        ao_core::state::Zone::Yellow => "not going well",
        ao_core::state::Zone::Green => "works",
        ao_core::state::Zone::Grey if row.status == ao_core::state::Status::NotStarted => {
            "not started"
        }
        ao_core::state::Zone::Grey => "finished",
    };
    let mut head = vec![
        format!(
            "{}  {} {zone_words}",
            style.paint(Tone::Accent, row.id.as_str()),
            style.painted_mark(mark)
        ),
        row.agent.clone(),
        row.project.to_string(),
        ago(row.over.unwrap_or(now), doc.created),
    ];
    if let Some(micros) = doc.usage.cost_micros {
        head.push(format!("${:.2}", micros as f64 / 1e6));
    }
    head.push(match doc.asked {
        0 => "did not ask you".to_owned(),
        1 => "asked you once".to_owned(),
        n => format!("asked you {n} times"),
    });
    let mut out = vec![head.join(style.dot())];
    let mut line = |name: &str, words: String| {
        if !words.is_empty() {
            let words = style.cut(&words, style.width.saturating_sub(13));
            out.push(format!("  {} {words}", style.paint(Tone::Muted, &pad(name, 10))));
        }
    };
    line("task", task(row));
    line("state", row.words.clone());
    line("branch", branch(doc));
    line("workspace", workspace(doc));
    let since = |fact: &FactView| format!("since {}", clock(now, fact.since, zone, "%H:%M"));
    let handle = doc.handle.as_deref().map(|handle| format!("{} {handle}, ", doc.runtime_name));
    line(
        "runtime",
        format!(
            "{} {}{}",
            pad(&state(&doc.runtime), 12),
            handle.unwrap_or_default(),
            since(&doc.runtime)
        ),
    );
    let asked = doc.requests.iter().find(|request| request.ended.is_none());
    let kind = match (state(&doc.activity).as_str(), asked.map(|request| &request.ask)) {
        ("waiting_input", Some(Ask::Question { .. })) => " question",
        ("blocked", Some(Ask::Permission { .. })) => " permission",
        _ => "",
    };
    line("activity", format!("{}{kind}, {}", state(&doc.activity), since(&doc.activity)));
    let seen = clock(now, doc.activity.since, zone, "%H:%M:%S");
    let ago = ago(now, doc.activity.since);
    line("source", format!("{}, seen {seen} ({ago} ago)", source(doc.activity.source)));
    line(
        "pr",
        doc.pr.as_ref().map_or_else(
            || "none".to_owned(),
            |pr| format!("{} {}", pr.number, one_line(&pr.title)),
        ),
    );
    for request in doc.requests.iter().filter(|request| request.ended.is_none()) {
        match &request.ask {
            Ask::Question { text, options, .. } => {
                let text = request.full.as_ref().unwrap_or(text);
                let (question, options) = (one_line(text), numbered(options));
                let all = format!("{question}   {}", options.join("   "));
                match width(&all) <= style.width.saturating_sub(13) {
                    true => line("question", all.trim_end().to_owned()),
                    false => {
                        line("question", question);
                        options.into_iter().for_each(|option| line("", option));
                    }
                }
            }
            Ask::Permission { verb, subject, place, reason, careful } => {
                line(
                    "permission",
                    format!("{verb}: {}", one_line(request.full.as_ref().unwrap_or(subject))),
                );
                line("", place.as_ref().map(|place| format!("in {place}")).unwrap_or_default());
                line(
                    "",
                    reason
                        .as_ref()
                        .map(|reason| format!("the agent says: \"{}\"", one_line(reason)))
                        .unwrap_or_default(),
                );
                for careful in careful {
                    line("", format!("careful: {careful}"));
                }
            }
        }
        if let (Some(by), Some(at)) = (&request.by, request.decided) {
            let state = match &request.failed {
                Some(failure) => format!("could not be delivered: {}", failure.message),
                None if request.handed => "delivered".to_owned(),
                None => "on its way".to_owned(),
            };
            line("decided", format!("by {by} at {}; {state}", clock(now, at, zone, "%H:%M:%S")));
        }
    }
    for message in doc
        .messages
        .iter()
        .filter(|message| message.fate == "waiting" || message.fate == "undelivered")
    {
        line(
            "message",
            format!("{} {}: \"{}\"", message.id, message.fate, one_line(&message.text)),
        );
    }
    line("last words", doc.last_words.as_deref().map(one_line).unwrap_or_default());
    if let Some(tail) = doc.tail.as_ref().filter(|tail| !tail.is_empty()) {
        line("output", String::from("last lines before it ended:"));
        for text in tail.lines().rev().take(6).collect::<Vec<_>>().into_iter().rev() {
            line("", text.to_owned());
        }
    }
    if let Some((step, failure)) = &doc.failed {
        line("failed", format!("{step}: {}", one_line(&failure.message)));
    }
    if let Some(kept) = &doc.workspace_kept {
        line("kept", format!("the workspace stays: {}", one_line(&kept.message)));
    }
    let next = row
        .next
        .as_ref()
        .map(|next| format!("Next: {}", style.paint(Tone::Accent, &style.text(next))));
    out.extend(next);
    format!("{}\n", out.join("\n"))
}

fn branch(doc: &SessionDoc) -> String {
    let Some(branch) = &doc.branch else { return String::new() };
    match &doc.work {
        None => branch.clone(),
        Some(work) => {
            let pushed = if work.pushed { "" } else { ", not pushed" };
            format!("{branch}, {}{pushed}", summary::work(Some(work)))
        }
    }
}

fn workspace(doc: &SessionDoc) -> String {
    match (&doc.workspace, doc.workspace_gone) {
        (None, _) => String::new(),
        (Some(_), true) => "removed".to_owned(),
        (Some(path), false) => path.display().to_string(),
    }
}

/// `waiting_input`, `exited with code 1`.
fn state(fact: &FactView) -> String {
    let state = fact.value.get("state").and_then(Value::as_str).unwrap_or_default();
    match fact.value.get("code") {
        Some(Value::Number(code)) => format!("{state} with code {code}"),
        _ => state.to_owned(),
    }
}

/// `1 Items only`, `2 Items and shipping`.
fn numbered(options: &[String]) -> Vec<String> {
    (1..).zip(options).map(|(n, option)| format!("{n} {}", one_line(option))).collect()
}

/// The sessions as a table.
pub(crate) fn list(rows: &[Row], style: &Style, now: Timestamp) -> String {
    if rows.is_empty() {
        return "No sessions. Start one: ao spawn <project> <issue>\n".to_owned();
    }
    let widest = |text: &dyn Fn(&Row) -> usize| rows.iter().map(text).max().unwrap_or(0);
    let ids = widest(&|row| row.id.as_str().len());
    let statuses = widest(&|row| row.status.as_str().len());
    let ages = widest(&|row| age(now, row.since).len());
    let room = style.width.saturating_sub(2 + ids + 2 + statuses + 2 + ages + 2);
    let tasks = if style.width >= 100 { widest(&|row| width(&task(row))).min(room / 2) } else { 0 };
    let words = room.saturating_sub(if tasks > 0 { tasks + 2 } else { 0 });
    let mut out = String::new();
    for row in rows {
        let status = pad(&row.status.as_str().replace('_', " "), statuses);
        let mut line = format!(
            "{} {}  {status}  {}  ",
            style.painted_mark(mark_of(row.zone)),
            style.paint(Tone::Accent, &pad(row.id.as_str(), ids)),
            style.paint(Tone::Muted, &pad_left(&age(now, row.since), ages)),
        );
        if tasks > 0 {
            line.push_str(&pad(&style.cut(&task(row), tasks), tasks));
            line.push_str("  ");
        }
        line.push_str(&style.cut(&row.words, words));
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_shows_each_fact_with_its_source_and_time() {
        let doc = crate::render::watch::tests::detail().session.unwrap();
        let now = "2026-11-21T14:32:00Z".parse().unwrap();
        let shown = show(&doc, &Style::plain(100), &TimeZone::UTC, now);
        insta::assert_snapshot!("session_show", shown);
    }
}
