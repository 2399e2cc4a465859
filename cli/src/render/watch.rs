//! The screen of `ao status --watch`: pure, so that every size of it can be read as text.

use ansi_to_tui::IntoText as _;
use ao_core::{
    slots::{IncidentId, RequestId, SessionId, agent::Ask, notifier::Mark, text::one_line},
    state::Zone,
    why::mark_of,
};
use ao_web::view::{
    IncidentView, NotificationView, RequestView, Row, SessionDoc, StatusDoc, WhyDoc,
};
use jiff::{Timestamp, tz::TimeZone};
use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    symbols::border,
    text::{Line, Span, Text},
    widgets::{Block, Padding},
};
use unicode_segmentation::UnicodeSegmentation;

use super::{
    age, clock, notifications, session,
    status::{Entry, ZONES, entries, finished_today, not_started_today, task},
    why,
};
use crate::out::{Style, Tone, fold, pad, tone, width};

/// From this width on the chosen one stands beside the list, else below it.
const TWO_PANES: u16 = 80;

/// What can be chosen in the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Item {
    Session(SessionId),
    /// An incident that concerns no single session.
    Notice(IncidentId),
}

/// All that is known of the chosen one.
#[derive(Debug, Clone)]
pub(crate) struct Detail {
    pub(crate) item: Item,
    /// None for a notice.
    pub(crate) session: Option<SessionDoc>,
    /// None for a session without one.
    pub(crate) incident: Option<IncidentView>,
    pub(crate) why: Option<WhyDoc>,
    /// The message that told of the incident.
    pub(crate) told: Option<NotificationView>,
    /// A terminal can be looked into.
    pub(crate) terminal: bool,
}

impl Detail {
    fn request(&self) -> Option<&RequestView> {
        let session = self.session.as_ref()?;
        session.requests.iter().find(|r| r.ended.is_none() && r.decision.is_none())
    }

    /// What the session waits for and nobody decided yet.
    pub(crate) fn ask(&self) -> Option<(RequestId, &Ask)> {
        self.request().map(|open| (open.id, &open.ask))
    }

    /// All of a permission that is asked for, to be read before it is approved; none where not all of it is known.
    pub(crate) fn permission(&self) -> Option<String> {
        let request = self.request().filter(|request| request.whole)?;
        let Ask::Permission { verb, subject, place, reason, careful } = &request.ask else {
            return None;
        };
        let session = &self.session.as_ref()?.session.id;
        let mut text = format!("{session} wants to {}:\n\n", one_line(verb));
        text.push_str(request.full.as_ref().unwrap_or(subject));
        text.push('\n');
        let place = place.iter().map(|place| format!("\nin {}", one_line(place)));
        let reason = reason.iter().map(|why| format!("\nthe agent says: \"{}\"", one_line(why)));
        let careful = careful.iter().map(|why| format!("\ncareful: {}", one_line(why)));
        text.extend(place.chain(reason).chain(careful));
        Some(text)
    }
}

/// What fills the frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Page {
    /// The list, and what is chosen in it.
    List,
    /// All about the chosen one, from this line on.
    Story(usize),
    /// What the keys mean.
    Help,
}

/// What is being asked of the human in the last line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Prompt {
    /// Words for a question.
    Answer { session: SessionId, request: RequestId, draft: String },
    /// A permission, all of it, from this line on. It is approved where its end stands on the screen.
    Approve { session: SessionId, request: RequestId, text: String, from: usize },
    /// A permission, worded.
    Deny { session: SessionId, request: RequestId, wish: String },
}

/// What is to be drawn.
#[derive(Debug, Clone)]
pub(crate) struct Board<'a> {
    pub(crate) doc: &'a StatusDoc,
    pub(crate) detail: Option<&'a Detail>,
    pub(crate) chosen: Option<&'a Item>,
    /// What works and what is finished is listed, too.
    pub(crate) opened: bool,
    pub(crate) page: Page,
    pub(crate) prompt: Option<&'a Prompt>,
    /// What the last key came to.
    pub(crate) said: &'a str,
    /// It is still being done: keys that act wait.
    pub(crate) busy: bool,
    /// The server is silent since.
    pub(crate) away: Option<Timestamp>,
    pub(crate) now: Timestamp,
}

/// What can be chosen, from top to bottom.
pub(crate) fn items(doc: &StatusDoc, opened: bool, zone: &TimeZone) -> Vec<Item> {
    let urgent = ZONES.iter().flat_map(|(zone, _)| entries(doc, *zone)).map(|entry| entry.item);
    let rest = |rows: Vec<&Row>| -> Vec<Item> {
        rows.into_iter().filter(|_| opened).map(|row| Item::Session(row.id.clone())).collect()
    };
    let rest = [working(doc), finished(doc, zone), not_started(doc, zone)].map(rest);
    urgent.chain(rest.into_iter().flatten()).collect()
}

/// The keys that do something now, with their words: the most needed first.
pub(crate) fn keys(board: &Board<'_>) -> Vec<(&'static str, &'static str)> {
    let mut keys = vec![];
    if board.page == Page::Help {
        return vec![("any key", "back")];
    }
    if matches!(board.page, Page::Story(_)) {
        keys.extend([("j k", "scroll"), ("esc", "back")]);
    } else if board.chosen.is_some() {
        keys.extend([("j k", "move"), ("⏎", "open")]);
    }
    let detail = board.detail.filter(|detail| Some(&detail.item) == board.chosen);
    if let (Some(detail), None, false) = (detail, board.away, board.busy) {
        match detail.ask() {
            Some((_, Ask::Question { .. })) => keys.push(("r", "answer")),
            Some((_, Ask::Permission { .. })) => {
                keys.extend(detail.permission().map(|_| ("y", "approve…")));
                keys.push(("n", "deny"));
            }
            None => {}
        }
        if let Some(incident) = &detail.incident {
            if incident.acknowledged.is_none() {
                keys.push(("a", "ack"));
            }
            if incident.snoozed.is_none_or(|until| until <= board.now) {
                keys.push(("s", "snooze"));
            }
        }
        if detail.terminal {
            keys.push(("t", "terminal"));
        }
    }
    if board.page == Page::List {
        keys.push(("?", "help"));
    }
    keys.push(("q", ""));
    keys
}

const HELP: [(&str, &str); 12] = [
    ("j k  ↑ ↓", "move; in the story: scroll"),
    ("⏎", "open the story of the chosen one; esc leaves it"),
    ("tab", "list what works and what is finished, too"),
    ("r", "answer a question: a number or own words"),
    ("y", "approve once; shows all of it, and asks again"),
    ("n", "deny; shows what, and asks again"),
    ("a", "ack: it is yours, nobody else is called for it"),
    ("s", "snooze for 1 h"),
    ("t", "look into its terminal; Ctrl-b d comes back"),
    ("?", "this page"),
    ("q", "leave; ao and the agents go on"),
    ("", "Only keys that can do something now stand below."),
];

/// Draws the screen: one frame, the list and what is chosen in it, the keys in the lower edge.
pub(crate) fn draw(frame: &mut Frame<'_>, board: &Board<'_>, style: &Style, zone: &TimeZone) {
    let area = frame.area();
    let edge = Block::bordered()
        .border_set(if style.ascii { ASCII } else { border::PLAIN })
        .padding(Padding::horizontal(1))
        .title_top(heading(board, style, area.width.into(), zone))
        .title_top(clock_line(board, style, zone).right_aligned())
        .title_bottom(bottom(board, style, (area.width.into(), area.height.into())));
    let inner = edge.inner(area);
    frame.render_widget(edge, area);
    let columns = usize::from(inner.width);
    let mut said = vec![];
    if !board.said.is_empty() && !matches!(board.prompt, Some(Prompt::Approve { .. })) {
        said = fold(&one_line(board.said), columns).into_iter().take(3).map(Line::raw).collect();
    }
    let [body, below] =
        Layout::vertical([Constraint::Fill(1), Constraint::Length(said.len() as u16)]).areas(inner);
    show(frame, said, style, below);
    let room = usize::from(body.height);
    let lines: Vec<Line<'_>> = match board.page {
        _ if let Some(Prompt::Approve { text, from, .. }) = board.prompt => {
            hard_lines(&style.text(text), columns).into_iter().skip(*from).map(Line::raw).collect()
        }
        Page::Help => HELP.iter().map(|(key, words)| help_line(style, key, words)).collect(),
        Page::Story(from) => {
            let story = story(board, style, columns, zone);
            let from = from.min(story.len().saturating_sub(room));
            story.into_iter().skip(from).map(|line| painted(&line)).collect()
        }
        Page::List if area.width >= TWO_PANES => {
            let [left, between, right] = Layout::horizontal([
                Constraint::Length(inner.width * 11 / 20),
                Constraint::Length(3),
                Constraint::Fill(1),
            ])
            .areas(body);
            let stroke = if style.ascii { "|" } else { "│" };
            let stroke = vec![Line::raw(format!(" {stroke}")); room];
            frame.render_widget(Text::from(stroke), between);
            show(frame, detail(board, style, right.width.into(), zone), style, right);
            show(frame, list(board, style, left.width.into(), room, zone), style, left);
            return;
        }
        Page::List => {
            let detail = detail(board, style, columns, zone);
            if detail.is_empty() {
                list(board, style, columns, room, zone)
            } else {
                // Half of the room is the list's, or what the detail leaves.
                let most = (room / 2).max(room.saturating_sub(detail.len() + 1));
                let list = list(board, style, columns, most, zone);
                let [above, edge, below] = Layout::vertical([
                    Constraint::Length(list.len() as u16),
                    Constraint::Length(1),
                    Constraint::Fill(1),
                ])
                .areas(body);
                frame.render_widget(
                    rule(style, area.width),
                    Rect { x: area.x, width: area.width, ..edge },
                );
                show(frame, list, style, above);
                show(frame, detail, style, below);
                return;
            }
        }
    };
    show(frame, lines, style, body);
}

/// Lines at their place, each cut where the room ends.
fn show(frame: &mut Frame<'_>, lines: Vec<Line<'_>>, style: &Style, area: Rect) {
    let fitted = lines.into_iter().map(|line| fit(line, style, area.width.into()));
    frame.render_widget(Text::from_iter(fitted), area);
}

fn fit(line: Line<'_>, style: &Style, columns: usize) -> Line<'static> {
    let mut left = columns;
    let pieces = line.spans.into_iter().map(|piece| {
        let text = style.cut(&piece.content, left);
        left = left.saturating_sub(width(&text));
        Span::styled(text, piece.style)
    });
    Line::from_iter(pieces)
}

/// How many lines of a permission stand on the screen, and how far it can be scrolled.
pub(crate) fn approve_end(
    text: &str,
    style: &Style,
    (columns, rows): (usize, usize),
) -> (usize, usize) {
    let room = rows.saturating_sub(2);
    let lines = hard_lines(&style.text(text), columns.saturating_sub(4)).len();
    (room, lines.saturating_sub(room))
}

/// All of a text in lines of at most `columns`, whatever its words: nothing of it is cut.
fn hard_lines(text: &str, columns: usize) -> Vec<String> {
    let mut lines = vec![];
    for line in ao_core::slots::text::plain(text).replace('\t', "    ").lines() {
        let mut part = String::new();
        for piece in line.graphemes(true) {
            // As the whole is measured when it is drawn: a sign may be wider with what follows it.
            if width(&format!("{part}{piece}")) > columns && !part.is_empty() {
                lines.push(std::mem::take(&mut part));
            }
            part.push_str(piece);
        }
        lines.push(part);
    }
    lines
}

/// How far the story can be scrolled.
pub(crate) fn story_end(
    board: &Board<'_>,
    style: &Style,
    (columns, rows): (usize, usize),
    zone: &TimeZone,
) -> usize {
    let lines = story(board, style, columns.saturating_sub(4), zone).len();
    lines.saturating_sub(rows.saturating_sub(2))
}

fn toned(style: &Style, tone: Tone, text: impl Into<String>) -> Line<'static> {
    Line::from(piece(style, tone, text))
}

fn piece(style: &Style, tone: Tone, text: impl Into<String>) -> Span<'static> {
    Span::styled(text.into(), style.look(tone))
}

/// What was painted to be printed.
fn painted(text: &str) -> Line<'static> {
    let lines = text.into_text().map(|text| text.lines).unwrap_or_default();
    lines.into_iter().next().unwrap_or_else(|| Line::raw(ao_core::slots::text::plain(text)))
}

fn help_line(style: &Style, key: &str, words: &str) -> Line<'static> {
    Line::from_iter([piece(style, Tone::Accent, format!("{key:10}")), Span::raw(words.to_owned())])
}

const ASCII: border::Set<'_> = border::Set {
    top_left: "+",
    top_right: "+",
    bottom_left: "+",
    bottom_right: "+",
    vertical_left: "|",
    vertical_right: "|",
    horizontal_top: "-",
    horizontal_bottom: "-",
};

fn rule(style: &Style, columns: u16) -> Line<'static> {
    let (left, between, right) = if style.ascii { ("+", "-", "+") } else { ("├", "─", "┤") };
    Line::raw(format!("{left}{}{right}", between.repeat(usize::from(columns).saturating_sub(2))))
}

/// ` ao ── 9 sessions · 3 want you `
fn heading(board: &Board<'_>, style: &Style, columns: usize, zone: &TimeZone) -> Line<'static> {
    let dashes = if style.ascii { "--" } else { "──" };
    let facts = match board.away {
        Some(since) => {
            let since = clock(board.now, since, zone, "%H:%M:%S");
            piece(style, Tone::Need, format!("no connection to ao since {since}"))
        }
        None => Span::raw(super::status::summary(board.doc).join(style.dot())),
    };
    // What surrounds the facts, and the time at the right.
    let room = columns.saturating_sub(clock_line(board, style, zone).width() + 12);
    let mut line = fit(Line::from(facts), style, room);
    line.spans.insert(0, Span::raw(format!(" ao {dashes} ")));
    line.spans.push(Span::raw(" "));
    line
}

fn clock_line(board: &Board<'_>, style: &Style, zone: &TimeZone) -> Line<'static> {
    toned(style, Tone::Muted, format!(" {} ", clock(board.now, board.now, zone, "%H:%M:%S")))
}

/// The keys, or what is asked.
fn bottom(board: &Board<'_>, style: &Style, size: (usize, usize)) -> Line<'static> {
    let room = size.0.saturating_sub(6);
    let mut line = match board.prompt {
        Some(prompt) => asked(prompt, style, room, size),
        None => toned(style, Tone::Muted, key_line(&keys(board), style, room)),
    };
    line.spans.insert(0, Span::raw(" "));
    line.spans.push(Span::raw(" "));
    line
}

fn asked(prompt: &Prompt, style: &Style, room: usize, size: (usize, usize)) -> Line<'static> {
    let decide = |question: String, keys: &str| {
        let left = room.saturating_sub(width(keys) + 2);
        let words = format!("{}  ", style.cut(&question, left));
        Line::from_iter([piece(style, Tone::Decide, words), piece(style, Tone::Muted, keys)])
    };
    match prompt {
        Prompt::Answer { session, draft, .. } => {
            let head = format!("Answer {session}: ");
            let tail = if style.width < 70 { "  ⏎ send" } else { "  ⏎ send  esc leave" };
            let left = room.saturating_sub(width(&head) + width(tail) + 1);
            // What is being written stays in sight.
            let mut shown = style.text(draft);
            while width(&shown) > left && !shown.is_empty() {
                shown.remove(0);
            }
            shown.push_str(if style.ascii { "_" } else { "▏" });
            let tail = piece(style, Tone::Muted, style.text(tail));
            Line::from_iter([piece(style, Tone::Accent, head), Span::raw(shown), tail])
        }
        Prompt::Approve { session, text, from, .. } => {
            let keys = match *from < approve_end(text, style, size).1 {
                true => "y goes on  j k scroll  esc leave",
                false => "y approve  esc leave",
            };
            decide(format!("Approve once? {session}"), keys)
        }
        Prompt::Deny { session, wish, .. } => {
            decide(format!("Deny? {session} {}", one_line(wish)), "n deny  esc leave")
        }
    }
}

/// As many keys as fit; help and the way out always do.
fn key_line(keys: &[(&str, &str)], style: &Style, room: usize) -> String {
    let mut words: Vec<String> = keys
        .iter()
        .map(|(key, words)| style.text(&format!("{key} {words}")).trim_end().to_owned())
        .collect();
    let long = |words: &[String]| words.iter().map(|w| width(w) + 2).sum::<usize>();
    while words.len() > 2 && long(&words) > room + 2 {
        words.remove(words.len() - 3);
    }
    words.join("  ")
}

fn working(doc: &StatusDoc) -> Vec<&Row> {
    doc.sessions.iter().filter(|row| row.zone == Zone::Green && row.over.is_none()).collect()
}

fn finished<'a>(doc: &'a StatusDoc, zone: &TimeZone) -> Vec<&'a Row> {
    doc.sessions.iter().filter(|row| finished_today(row, doc, zone)).collect()
}

fn not_started<'a>(doc: &'a StatusDoc, zone: &TimeZone) -> Vec<&'a Row> {
    doc.sessions.iter().filter(|row| not_started_today(row, doc, zone)).collect()
}

/// The list, at most `rows` lines around the chosen one.
fn list(
    board: &Board<'_>,
    style: &Style,
    columns: usize,
    rows: usize,
    zone: &TimeZone,
) -> Vec<Line<'static>> {
    let doc = board.doc;
    let mut lines: Vec<(Option<Item>, Line<'static>)> = vec![];
    let groups: Vec<_> = ZONES
        .iter()
        .map(|(zone, heading)| (mark_of(*zone), *heading, entries(doc, *zone)))
        .filter(|(.., entries)| !entries.is_empty())
        .collect();
    let (working, finished) = (working(doc), finished(doc, zone));
    let not_started = not_started(doc, zone);
    if doc.sessions.is_empty() && doc.notices.is_empty() {
        let next = doc.any_project.as_ref().map(|id| format!("ao spawn {id} <issue>"));
        lines.push((None, Line::raw("No sessions. Start one:")));
        lines.push((None, toned(style, Tone::Accent, next.unwrap_or_else(|| "ao init".into()))));
    } else if groups.is_empty() {
        lines.push((None, Line::raw(super::status::nothing(working.len()))));
    }
    let row = |entry: &Entry<'_>, ids: usize| {
        let chosen = board.chosen == Some(&entry.item);
        let age = age(board.now, entry.since);
        let pointer = match (chosen, style.ascii) {
            (true, true) => "> ",
            (true, false) => "▸ ",
            (false, _) => "  ",
        };
        let room = columns.saturating_sub(2 + ids + 2 + 2 + age.len());
        let words = pad(&style.cut(entry.words, room), room);
        Line::from_iter([
            if chosen { piece(style, Tone::Decide, pointer) } else { Span::raw(pointer) },
            piece(style, Tone::Accent, format!("{}  ", pad(&entry.id, ids))),
            Span::raw(format!("{words}  ")),
            piece(style, Tone::Muted, age),
        ])
    };
    let rest = [
        (Mark::Working, "WORKING", &working),
        (Mark::Finished, "FINISHED", &finished),
        (Mark::Failed, "NOT STARTED", &not_started),
    ];
    let rest = rest.map(|(mark, heading, rows)| {
        (mark, format!("{heading} {}", rows.len()), rows.iter().map(|row| Entry::of(row)))
    });
    let all = groups.iter().flat_map(|(.., entries)| entries);
    let ids = all
        .map(|entry| width(&entry.id))
        .chain(
            board
                .opened
                .then(|| rest.clone())
                .into_iter()
                .flatten()
                .flat_map(|(.., rows)| rows.map(|entry| width(&entry.id))),
        )
        .max()
        .unwrap_or(0);
    for (mark, heading, entries) in &groups {
        lines.push((None, toned(style, tone(*mark), format!("{} {heading}", style.mark(*mark)))));
        lines.extend(entries.iter().map(|entry| (Some(entry.item.clone()), row(entry, ids))));
    }
    if board.opened {
        for (mark, heading, rows) in rest.clone().into_iter().filter(|(.., r)| r.len() > 0) {
            lines.push((None, toned(style, tone(mark), format!("{} {heading}", style.mark(mark)))));
            lines.extend(rows.map(|entry| (Some(entry.item.clone()), row(&entry, ids))));
        }
    } else {
        let mut pieces = vec![];
        for (mark, heading, _) in rest.clone().into_iter().filter(|(.., r)| r.len() > 0) {
            if !pieces.is_empty() {
                pieces.push(Span::raw("   "));
            }
            pieces.push(piece(style, tone(mark), format!("{} {heading}", style.mark(mark))));
        }
        if !pieces.is_empty() {
            pieces.push(piece(style, Tone::Muted, "  (tab opens)"));
            lines.push((None, Line::from(pieces)));
        }
    }
    window(lines, board.chosen, style, rows)
}

/// The part of the list around what is chosen; what lies outside is counted.
fn window(
    lines: Vec<(Option<Item>, Line<'static>)>,
    chosen: Option<&Item>,
    style: &Style,
    rows: usize,
) -> Vec<Line<'static>> {
    if lines.len() <= rows || rows < 3 {
        return lines.into_iter().take(rows).map(|(_, line)| line).collect();
    }
    let at = lines.iter().position(|(item, _)| item.as_ref() == chosen && chosen.is_some());
    let first = at.unwrap_or(0).saturating_sub(rows / 2).min(lines.len() - rows);
    let count =
        |lines: &[(Option<Item>, Line<'_>)]| lines.iter().filter(|(i, _)| i.is_some()).count();
    let (mut above, mut below) = (0, 0);
    if first > 0 {
        above = count(lines.get(..=first).unwrap_or_default());
    }
    if first + rows < lines.len() {
        below = count(lines.get(first + rows - 1..).unwrap_or_default());
    }
    let mut shown: Vec<Line<'static>> =
        lines.into_iter().skip(first).take(rows).map(|(_, line)| line).collect();
    let more = |count: usize, way: &str| toned(style, Tone::Muted, format!("  {count} more {way}"));
    if let (true, Some(line)) = (above > 0, shown.first_mut()) {
        *line = more(above, "above");
    }
    if let (true, Some(line)) = (below > 0, shown.last_mut()) {
        *line = more(below, "below");
    }
    shown
}

/// What is chosen: the wish first, then the facts, then what led to it.
fn detail(board: &Board<'_>, style: &Style, columns: usize, zone: &TimeZone) -> Vec<Line<'static>> {
    let Some(chosen) = board.chosen else { return vec![] };
    let doc = board.doc;
    let mut lines = vec![];
    let (words, next) = match chosen {
        Item::Session(id) => {
            let Some(row) = doc.sessions.iter().find(|row| row.id == *id) else { return vec![] };
            lines.push(Line::from_iter([
                piece(style, Tone::Accent, id.to_string()),
                Span::raw(format!("{}{}", style.dot(), task(row))),
            ]));
            (row.words.as_str(), row.next.as_deref())
        }
        Item::Notice(id) => {
            let Some(notice) = doc.notices.iter().find(|n| n.id == *id) else { return vec![] };
            lines.push(toned(style, Tone::Accent, id.to_string()));
            (notice.words.as_str(), Some(notice.next.as_str()))
        }
    };
    let wrap = |text: &str, most: usize| -> Vec<Line<'static>> {
        let text = one_line(text);
        let mut folded = fold(&style.text(&text), columns);
        if folded.len() > most {
            let rest = folded.split_off(most.saturating_sub(1)).join(" ");
            folded.push(style.cut(&rest, columns));
        }
        folded.into_iter().map(Line::raw).collect()
    };
    let known = board.detail.filter(|detail| detail.item == *chosen);
    match known.and_then(Detail::ask) {
        Some((_, Ask::Question { text, options, .. })) => {
            lines.extend(wrap(&format!("\"{}\"", one_line(text)), 6));
            let options: Vec<String> = options
                .iter()
                .enumerate()
                .map(|(at, option)| format!("{} {}", at + 1, one_line(option)))
                .collect();
            let beside = format!(" {}", options.join("   "));
            if width(&beside) <= columns {
                lines.extend((!options.is_empty()).then(|| Line::raw(beside)));
            } else {
                lines.extend(options.into_iter().map(|option| Line::raw(format!(" {option}"))));
            }
        }
        Some((_, Ask::Permission { verb, subject, place, reason, careful })) => {
            lines.extend(wrap(&format!("wants to {verb}: {}", one_line(subject)), 6));
            lines.extend(place.as_ref().map(|place| Line::raw(format!("in {}", one_line(place)))));
            if let Some(reason) = reason {
                lines.extend(wrap(&format!("the agent says: \"{}\"", one_line(reason)), 3));
            }
            for careful in careful {
                lines.push(toned(style, Tone::Slow, format!("careful: {}", one_line(careful))));
            }
        }
        None => lines.extend(wrap(words, 4)),
    }
    if let Some(session) = known.and_then(|detail| detail.session.as_ref()) {
        let mut facts = vec![];
        facts.extend(session.branch.as_ref().map(|branch| format!("branch {branch}")));
        facts.extend(session.work.as_ref().map(|work| ao_web::summary::work(Some(work))));
        facts.extend(session.usage.cost_micros.map(|cost| format!("${:.2}", cost as f64 / 1e6)));
        if !facts.is_empty() {
            lines.extend(wrap(&facts.join(style.dot()), 3));
        }
        let tail = session.tail.as_deref().filter(|_| session.session.zone == Zone::Red);
        let tail: Vec<_> =
            tail.unwrap_or_default().lines().filter(|l| !l.trim().is_empty()).collect();
        for line in tail.iter().skip(tail.len().saturating_sub(3)) {
            lines.push(toned(style, Tone::Muted, format!("  {}", one_line(line))));
        }
    }
    if let Some(why) = known.and_then(|detail| detail.why.as_ref()) {
        // What was told stands below, as it is by now.
        let told = known.is_some_and(|detail| detail.told.is_some());
        let lines_of = why.why.lines.iter().filter(|line| !told || !line.text.starts_with("told:"));
        for line in lines_of.take(6) {
            let time = clock(board.now, line.at, zone, "%H:%M");
            lines.push(Line::from_iter([
                piece(style, Tone::Muted, format!("{time} ")),
                Span::raw(one_line(&line.text)),
            ]));
        }
    }
    if let Some(incident) = known.and_then(|detail| detail.incident.as_ref()) {
        if let Some(by) = &incident.acknowledged {
            lines.push(Line::raw(format!("seen by {by}")));
        }
        if let Some(until) = incident.snoozed.filter(|until| *until > board.now) {
            lines
                .push(Line::raw(format!("quiet until {}", clock(board.now, until, zone, "%H:%M"))));
        }
    }
    if let Some(told) = known.and_then(|detail| detail.told.as_ref()) {
        let told: Vec<_> = told
            .deliveries
            .iter()
            .map(|d| notifications::delivery(d, style, zone, board.now))
            .collect();
        let words = if told.is_empty() { "nobody".to_owned() } else { told.join("  ") };
        lines.push(painted(&format!("told: {words}")));
    }
    if let Some(next) = next {
        lines.push(toned(style, Tone::Accent, next));
    }
    lines
}

/// All about the chosen one: what `ao session show` and `ao why` print.
fn story(board: &Board<'_>, style: &Style, columns: usize, zone: &TimeZone) -> Vec<String> {
    let style = Style { width: columns, ..*style };
    let Some(detail) = board.detail.filter(|detail| Some(&detail.item) == board.chosen) else {
        return vec![];
    };
    let mut text = String::new();
    if let Some(doc) = &detail.session {
        text.push_str(&session::show(doc, &style, zone, board.now));
        text.push('\n');
    }
    if let Some(doc) = &detail.why {
        text.push_str(&why::screen(doc, &style, zone, board.now));
    }
    text.lines().map(str::to_owned).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use ratatui::{Terminal, backend::TestBackend};

    use super::{super::status::tests::example, *};

    pub(crate) fn detail() -> Detail {
        let doc = example();
        let row = doc.sessions.iter().find(|row| row.id.as_str() == "app-3").unwrap();
        let at = |time: &str| format!("2026-11-21T{time}Z");
        let fact = |value| serde_json::json!({"value": {"state": value}, "source": "hook", "since": at("14:28:03"), "seq": "e4817"});
        let incident = serde_json::json!({
            "schema": "ao.incident/1", "id": "i-142", "subject": "app-3", "project": "my-app", "trigger": "agent-needs-input",
            "detail": "question", "priority": "urgent", "title": "app-3 asks", "sessions": ["app-3"], "request": "r-7",
            "opened": at("14:28:03"), "cleared": null, "resolved": null, "how": null, "acknowledged": null, "snoozed": null,
            "notification": "n-3",
        });
        let session = serde_json::json!({
            "schema": "ao.session/1", "session": row, "first": "e4400", "created": at("13:20:00"), "by": "ana", "prompt": "",
            "runtimeName": "tmux", "step": "ready", "stepSince": at("13:21:00"), "launch": 1, "handle": "%12",
            "branch": "ao/41-coupon", "workspace": "/w/my-app/app-3", "workspaceGone": false, "workspaceKept": null,
            "work": null, "runtime": fact("alive"), "activity": fact("waiting_input"), "activityText": null, "pr": null,
            "usage": {"costMicros": 1_840_000}, "asked": 1,
            "requests": [{
                "id": "r-7", "full": null, "whole": true, "opened": at("14:28:03"), "decision": null, "by": null, "decided": null,
                "failed": null, "handed": false, "ended": null,
                "ask": {"kind": "question", "text": "Should a coupon also apply to shipping?", "options": ["Items only", "Items and shipping"], "many": false},
            }],
            "messages": [], "incidents": [incident.clone()], "lastWords": null, "tail": null, "restoring": false, "failed": null, "over": null,
        });
        let why = serde_json::json!({
            "schema": "ao.why/1",
            "why": {
                "subject": "app-3", "headline": "app-3 needs you because it asked a question at 14:28.", "notTheCase": "", "forgotten": 0,
                "lines": [
                    {"at": at("14:28:05"), "seq": "e4821", "text": "told: desktop showed it", "by": "route urgent"},
                    {"at": at("14:28:03"), "seq": "e4817", "text": "question: \"Should a coupon also apply to shipping?\"", "by": "agent"},
                    {"at": at("13:21:02"), "seq": "e4402", "text": "prompt confirmed by the agent", "by": ""},
                ],
            },
        });
        let told = serde_json::json!({
            "id": "n-3", "incident": "i-142", "mark": "need", "title": "app-3 asks", "priority": "urgent", "project": "my-app",
            "opened": at("14:28:03"), "settled": null, "how": null, "deliveries": [
                {"channel": "desktop", "progress": "sent", "reached": "delivered", "tookMs": 40, "tries": 0, "error": null},
                {"channel": "hook", "progress": "again", "reached": null, "tookMs": null, "tries": 3, "error": "503"}],
        });
        Detail {
            item: Item::Session("app-3".parse().unwrap()),
            session: Some(serde_json::from_value(session).unwrap()),
            incident: Some(serde_json::from_value(incident).unwrap()),
            why: Some(serde_json::from_value(why).unwrap()),
            told: Some(serde_json::from_value(told).unwrap()),
            terminal: true,
        }
    }

    fn board<'a>(doc: &'a StatusDoc, detail: Option<&'a Detail>) -> Board<'a> {
        Board {
            doc,
            detail,
            chosen: detail.map(|detail| &detail.item),
            opened: false,
            page: Page::List,
            prompt: None,
            said: "",
            busy: false,
            away: None,
            now: doc.at,
        }
    }

    /// The screen as text; every line has exactly the width of the terminal.
    #[track_caller]
    fn drawn(board: &Board<'_>, style: &Style, columns: usize, rows: usize) -> String {
        let style = Style { width: columns, ..*style };
        let backend = TestBackend::new(columns as u16, rows as u16);
        let mut terminal = Terminal::new(backend).unwrap();
        terminal.draw(|frame| draw(frame, board, &style, &TimeZone::UTC)).unwrap();
        let buffer = terminal.backend().buffer();
        let line = |row: usize| {
            let (mut line, mut at) = (String::new(), 0);
            while at < columns {
                let symbol = buffer[(at as u16, row as u16)].symbol();
                line.push_str(symbol);
                at += width(symbol).max(1);
            }
            assert_eq!(width(&line), columns, "{line}");
            line
        };
        (0..rows).map(line).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_watch_reads_at_120_80_and_60_columns() {
        let (doc, detail) = (example(), detail());
        for (columns, rows) in [(120, 40), (80, 24), (60, 20)] {
            let text = drawn(&board(&doc, Some(&detail)), &Style::plain(80), columns, rows);
            insta::assert_snapshot!(format!("watch_{columns}"), text);
        }
        let ascii = Style { ascii: true, ..Style::plain(80) };
        let text = drawn(&board(&doc, Some(&detail)), &ascii, 80, 24);
        assert!(text.is_ascii(), "{text}");
        insta::assert_snapshot!("watch_80_ascii", text);
        // Nothing is too small to be drawn, with colours either.
        let color = Style { color: true, ..Style::plain(80) };
        for (columns, rows) in [(40, 6), (80, 2), (200, 70)] {
            drawn(&board(&doc, Some(&detail)), &color, columns, rows);
        }
    }

    #[test]
    fn the_story_the_help_and_what_is_asked_stand_in_the_same_frame() {
        let (doc, detail) = (example(), detail());
        let story = Board { page: Page::Story(0), ..board(&doc, Some(&detail)) };
        insta::assert_snapshot!("watch_story", drawn(&story, &Style::plain(80), 80, 24));
        assert_eq!(story_end(&story, &Style::plain(80), (80, 12), &TimeZone::UTC), 8);
        let end = Board { page: Page::Story(1_000), ..story };
        assert!(drawn(&end, &Style::plain(80), 80, 12).contains("prompt confirmed"));
        let help = Board { page: Page::Help, ..board(&doc, None) };
        insta::assert_snapshot!("watch_help", drawn(&help, &Style::plain(80), 80, 16));

        let (session, request) = ("app-3".parse().unwrap(), "r-7".parse().unwrap());
        let draft = "only the items, and tell me how long that takes: ".repeat(2);
        let answer = Prompt::Answer { session, request, draft };
        let asked =
            Board { prompt: Some(&answer), said: "✗ too late", ..board(&doc, Some(&detail)) };
        let text = drawn(&asked, &Style::plain(60), 60, 12);
        assert!(text.lines().nth(10).unwrap().starts_with("│ ✗ too late"), "{text}");
        let last = text.lines().last().unwrap();
        assert!(
            last.starts_with("└ Answer app-3: ") && last.contains("takes: ▏  ⏎ send"),
            "{last}"
        );
    }

    #[test]
    fn only_keys_that_do_something_are_shown() {
        let (doc, detail) = (example(), detail());
        let shown = |board: &Board<'_>| -> String {
            keys(board).iter().map(|(key, _)| key.replace(' ', "")).collect()
        };
        let all = board(&doc, Some(&detail));
        assert_eq!(shown(&all), "jk⏎rast?q");
        // A server that is away takes nothing.
        assert_eq!(shown(&Board { away: Some(doc.at), ..all.clone() }), "jk⏎?q");
        // One act after the other.
        assert_eq!(shown(&Board { busy: true, ..all.clone() }), "jk⏎?q");
        let mut taken = detail.clone();
        let incident = taken.incident.as_mut().unwrap();
        incident.acknowledged = Some("ana".into());
        incident.snoozed = Some("2026-11-21T15:00:00Z".parse().unwrap());
        taken.session.as_mut().unwrap().requests[0].ended = Some("answered".into());
        taken.terminal = false;
        assert_eq!(shown(&board(&doc, Some(&taken))), "jk⏎?q");
        let ask = serde_json::json!({"kind": "permission", "verb": "run", "subject": "npm publish", "place": null, "reason": null, "careful": []});
        let mut wants = detail.clone();
        wants.session.as_mut().unwrap().requests[0].ask = serde_json::from_value(ask).unwrap();
        assert_eq!(shown(&board(&doc, Some(&wants))), "jk⏎ynast?q");
        // Nobody approves what he cannot see.
        wants.session.as_mut().unwrap().requests[0].whole = false;
        assert_eq!(shown(&board(&doc, Some(&wants))), "jk⏎nast?q");
        // Nothing is chosen, or not known yet.
        assert_eq!(shown(&board(&doc, None)), "?q");
        let other = Item::Session("api-7".parse().unwrap());
        assert_eq!(shown(&Board { chosen: Some(&other), ..all }), "jk⏎?q");
    }

    #[test]
    fn a_permission_is_shown_whole_before_it_is_approved() {
        let (doc, mut detail) = (example(), detail());
        let ask = serde_json::json!({
            "kind": "permission", "verb": "run", "subject": "echo the beginning", "place": "/w/my app", "reason": "to test",
            "careful": ["it sends data to the network"],
        });
        let word = "https://example.org/".to_owned() + &"x".repeat(300);
        let whole = format!(
            "echo the beginning &&\n\tcurl {word} |\n{}sh",
            "# 日本 ☁️☁️\n".repeat(20) + &"☁️".repeat(60) + "\n"
        );
        let request = &mut detail.session.as_mut().unwrap().requests[0];
        request.ask = serde_json::from_value(ask).unwrap();
        request.full = Some(whole.clone());
        let text = detail.permission().unwrap();
        let (session, request) = ("app-3".parse().unwrap(), "r-7".parse().unwrap());
        for (columns, rows) in [(80, 24), (60, 12), (40, 6)] {
            let style = Style { width: columns, ..Style::plain(80) };
            let (room, end) = approve_end(&text, &style, (columns, rows));
            let (mut seen, mut from) = (vec![], 0);
            loop {
                let text = text.clone();
                let prompt =
                    Prompt::Approve { session: SessionId::clone(&session), request, text, from };
                let board =
                    Board { prompt: Some(&prompt), said: "…", ..board(&doc, Some(&detail)) };
                let drawn = drawn(&board, &Style::plain(80), columns, rows);
                let lines: Vec<_> = drawn.lines().collect();
                let last = lines.last().unwrap();
                let pane = &lines[1..lines.len() - 1];
                let pane = pane.iter().map(|line| line.trim_matches(['│', ' ']).to_owned());
                seen.truncate(from);
                seen.extend(pane);
                if columns == 80 {
                    assert_eq!(last.contains("y approve"), from == end, "{drawn}");
                }
                if from == end {
                    break;
                }
                from = (from + room).min(end);
            }
            let words = |text: &str| text.split_whitespace().collect::<String>();
            assert_eq!(words(&seen.concat()), words(&text), "{columns}");
        }
        assert!(text.ends_with(
            "in /w/my app\nthe agent says: \"to test\"\ncareful: it sends data to the network"
        ));
    }

    #[test]
    fn a_list_that_is_too_long_keeps_the_chosen_one_in_sight() {
        let mut doc = example();
        let row = doc.sessions[2].clone();
        doc.sessions = (1..=40)
            .map(|n| Row { id: format!("app-{n}").parse().unwrap(), ..row.clone() })
            .collect();
        let all = items(&doc, false, &TimeZone::UTC);
        assert_eq!(all.len(), 40);
        for chosen in &all {
            let board = Board { chosen: Some(chosen), ..board(&doc, None) };
            let text = drawn(&board, &Style::plain(80), 80, 12);
            let Item::Session(id) = chosen else { continue };
            assert!(text.contains(&format!("▸ {id} ")), "{id}:\n{text}");
            let number = |way: &str| -> usize {
                let line = text.lines().find(|line| line.contains(way));
                line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
            };
            assert_eq!(
                number("more above") + number("more below") + text.matches("  asks:").count(),
                40,
                "{text}"
            );
        }
        doc.sessions.clear();
        let empty = drawn(&board(&doc, None), &Style::plain(80), 80, 12);
        assert!(empty.contains("ao spawn my-app <issue>"), "{empty}");
    }
}
