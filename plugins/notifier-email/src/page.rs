//! What a mail says: pure text, made harmless, cut to what a mailbox shows. The text part and the HTML part are made
//! of the same pieces in the same order.

use ao_sdk::{body, log};
use ao_slots::{
    IncidentId,
    fact::Priority,
    notifier::{Block, Button, ButtonStyle, Mark, Message},
    text::{count, cut, length, one_line, plain},
};
use askama::Template;
use unicode_segmentation::UnicodeSegmentation;

/// Most characters of a subject.
pub(crate) const SUBJECT: usize = 70;
/// Most characters of the line that an inbox shows beside the subject.
const PREHEADER: usize = 90;
/// Most bytes of a single mail's HTML: a mobile client clips near 20 KB.
const SINGLE: usize = 18 * 1024;
/// Most bytes of a digest's HTML: well below the 100 KB where others clip.
pub(crate) const DIGEST: usize = 60 * 1024;
/// The kind of message that is a digest.
const DIGEST_KIND: &str = "digest";
/// Most characters and bytes of the title in the mail itself.
const TITLE: (usize, usize) = (300, 600);
/// Most characters of a button.
const LABEL: usize = 24;
/// Most buttons; the least likely ones come last.
const BUTTONS: usize = 8;
/// Most blocks of the body and of the details each.
const BLOCKS: usize = 60;
/// A block with fewer bytes is not worth keeping a piece of.
const LEAST: usize = 60;

/// How loudly a mailbox may announce it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loudness {
    High,
    Normal,
    Low,
}

/// The sign and the word of a zone, and the class that colours them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Zone {
    sign: &'static str,
    word: &'static str,
    class: &'static str,
    colour: &'static str,
}

/// A piece of the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    Quote(String),
    Code(String),
    Text(String),
    /// A line that names what follows.
    Heading(String),
    /// Lines that begin with one word and a colon, as two columns.
    Facts(Vec<(String, String)>),
    List(Vec<String>),
}

/// A button that leads to a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Choice {
    label: String,
    link: String,
    style: ButtonStyle,
}

/// One mail.
#[derive(Debug, Clone, Template)]
#[template(path = "mail.html")]
pub(crate) struct Page {
    pub(crate) subject: String,
    pub(crate) project: Option<String>,
    pub(crate) incident: Option<IncidentId>,
    pub(crate) loudness: Loudness,
    preheader: String,
    zone: Option<Zone>,
    title: String,
    link: Option<String>,
    pieces: Vec<Piece>,
    choices: Vec<Choice>,
    more: Vec<Choice>,
    command: Option<String>,
    details: Vec<Piece>,
    meta: String,
    why: String,
    quieter: Option<String>,
}

impl Page {
    /// The mail of a message.
    pub(crate) fn of(message: &Message) -> Self {
        let title = one_line(&message.title);
        let mut pieces = pieces(&message.body);
        if message.may_repeat {
            pieces.push(Piece::Text("This may be a repetition.".to_owned()));
        }
        let first = match message.short.trim() {
            "" => message.body.first().map(words).unwrap_or_default(),
            short => short.to_owned(),
        };
        let (more, choices): (Vec<_>, Vec<_>) = choices(&message.buttons);
        let project = message.project.as_ref().map(ToString::to_string);
        let limit = if message.kind == DIGEST_KIND { DIGEST } else { SINGLE };
        Self {
            subject: subject(&title, project.as_deref()),
            incident: message.incident,
            loudness: match message.priority {
                _ if message.quiet => Loudness::Low,
                Priority::Urgent => Loudness::High,
                _ => Loudness::Normal,
            },
            preheader: clip(&cut(&one_line(&first), PREHEADER), 4 * PREHEADER),
            zone: Some(zone(message.mark)),
            title: clip(&cut(&title, TITLE.0), TITLE.1),
            link: message.link.as_deref().and_then(link),
            pieces,
            choices,
            more,
            command: message.command.as_deref().map(|command| clip(&one_line(command), 500)),
            details: self::pieces(&message.details),
            meta: clip(&one_line(&message.meta.join(" · ")), 500),
            why: why(message),
            quieter: quieter(message),
            project,
        }
        .within(limit)
    }

    /// The mail of a plain line.
    pub(crate) fn line(text: &str) -> Self {
        let title = one_line(text);
        Self {
            subject: subject(&title, None),
            project: None,
            incident: None,
            loudness: Loudness::Normal,
            preheader: String::new(),
            zone: None,
            title: clip(&cut(&title, TITLE.0), TITLE.1),
            link: None,
            pieces: if length(&title) > TITLE.0 { vec![Piece::Text(title)] } else { Vec::new() },
            choices: Vec::new(),
            more: Vec::new(),
            command: None,
            details: Vec::new(),
            meta: String::new(),
            why: "ao sent this line by itself; nothing needs to be done here.".to_owned(),
            quieter: None,
        }
        .within(SINGLE)
    }

    /// The HTML part.
    pub(crate) fn html(&self) -> Result<String, askama::Error> {
        self.render()
    }

    /// The text part.
    pub(crate) fn text(&self) -> String {
        let mut parts: Vec<String> = Vec::new();
        let head = self.zone.map(|zone| format!("{} {}\n", zone.sign, zone.word));
        let link = self.link.as_ref().map(|link| format!("\n{link}"));
        parts.push(format!(
            "{}{}{}",
            head.unwrap_or_default(),
            self.title,
            link.unwrap_or_default()
        ));
        parts.extend(self.pieces.iter().map(Piece::text));
        for choice in self.choices.iter().chain(&self.more) {
            parts.push(format!("{}\n{}", choice.label, choice.link));
        }
        if let Some(command) = &self.command {
            parts.push(format!("{}\n    {command}", self.at_your_machine()));
        }
        if !self.details.is_empty() {
            parts.push("Details".to_owned());
            parts.extend(self.details.iter().map(Piece::text));
        }
        let footer = [Some(&self.meta).filter(|meta| !meta.is_empty()), Some(&self.why)];
        let mut footer: Vec<String> = footer.into_iter().flatten().cloned().collect();
        footer.extend(self.quieter.iter().map(|command| format!("Less of it: {command}")));
        parts.push(format!("-- \n{}", footer.join("\n")));
        parts.join("\n\n") + "\n"
    }

    fn at_your_machine(&self) -> &'static str {
        if self.choices.is_empty() { "At your machine:" } else { "Or at your machine:" }
    }

    /// Cut until its HTML has at most so many bytes: the details first, then logs, lists, `ao`'s own words, and at last
    /// what somebody else said, whose first sentence stays as long as there is any room for it; of equal ones the last
    /// first, and each from its end.
    fn within(mut self, limit: usize) -> Self {
        let (pieces, details) = (self.pieces.clone(), self.details.clone());
        let count = pieces.len();
        let mut rooms: Vec<usize> = pieces.iter().chain(&details).map(Piece::size).collect();
        let mut order: Vec<usize> = (0..rooms.len()).rev().collect();
        order.sort_by_key(|at| pieces.get(*at).map_or(0, Piece::rank));
        let gently = order.into_iter().map(|at| (at, pieces.get(at).map_or(0, Piece::least)));
        let mut order: Vec<(usize, usize)> = gently.collect();
        // Without mercy, where even the first sentences are too much.
        order.extend(
            order.clone().into_iter().filter(|(_, least)| *least > 0).map(|(at, _)| (at, 0)),
        );
        let mut fits = |rooms: &[usize]| {
            self.pieces = cut_to(&pieces, &rooms[..count]);
            self.details = cut_to(&details, &rooms[count..]);
            // What cannot be rendered is reported when the mail is written.
            self.html().map_or(0, |html| html.len()) <= limit
        };
        for (at, least) in order {
            if fits(&rooms) {
                break;
            }
            let (mut fitting, mut too_much) = (least, std::mem::replace(&mut rooms[at], least));
            if !fits(&rooms) {
                continue;
            }
            while too_much - fitting > 1 {
                rooms[at] = usize::midpoint(fitting, too_much);
                *(if fits(&rooms) { &mut fitting } else { &mut too_much }) = rooms[at];
            }
            rooms[at] = if fitting < LEAST && least == 0 { 0 } else { fitting };
            fits(&rooms);
        }
        self
    }
}

/// The pieces, each cut to its room in bytes; those that have none are counted.
fn cut_to(pieces: &[Piece], rooms: &[usize]) -> Vec<Piece> {
    let shown = pieces.iter().zip(rooms).filter(|(_, room)| **room > 0);
    let mut shown: Vec<Piece> = shown.map(|(piece, room)| piece.cut(*room)).collect();
    if shown.len() < pieces.len() {
        shown.push(Piece::Text(format!("… +{} more", pieces.len() - shown.len())));
    }
    shown
}

impl Piece {
    /// The order in which a body is cut, after the details, which are 0.
    fn rank(&self) -> u8 {
        match self {
            Self::Code(_) => 1,
            Self::List(_) => 2,
            Self::Text(_) | Self::Heading(_) | Self::Facts(_) => 3,
            Self::Quote(_) => 4,
        }
    }

    /// The bytes that are cut last: of the body's quotes their first sentence.
    fn least(&self) -> usize {
        match self {
            Self::Quote(text) => body::first_sentence(text).len(),
            _ => 0,
        }
    }

    /// About how many bytes it has; at least 1.
    fn size(&self) -> usize {
        let size = match self {
            Self::Quote(text) | Self::Code(text) | Self::Text(text) | Self::Heading(text) => {
                text.len()
            }
            Self::Facts(rows) => rows.iter().map(row_size).sum(),
            Self::List(entries) => entries.iter().map(String::len).sum(),
        };
        size.max(1)
    }

    /// The same with about so many bytes.
    fn cut(&self, room: usize) -> Self {
        if self.size() <= room {
            return self.clone();
        }
        match self {
            Self::Quote(text) => Self::Quote(clip(text, room)),
            Self::Text(text) => Self::Text(clip(text, room)),
            Self::Heading(text) => Self::Heading(clip(text, room)),
            Self::Code(text) => Self::Code(ends(text, room)),
            Self::List(entries) => {
                let (mut kept, more) = some(entries, room, String::len);
                kept.push(format!("and {more} more"));
                Self::List(kept)
            }
            Self::Facts(rows) => {
                let (mut kept, more) = some(rows, room, row_size);
                kept.push(("…".to_owned(), format!("+{more} more")));
                Self::Facts(kept)
            }
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Quote(text) | Self::Code(text) | Self::Text(text) | Self::Heading(text) => {
                text.is_empty()
            }
            Self::Facts(rows) => rows.is_empty(),
            Self::List(entries) => entries.is_empty(),
        }
    }

    fn text(&self) -> String {
        let lines = match self {
            Self::Quote(text) => text.lines().map(|line| format!("> {line}")).collect(),
            Self::Code(text) => text.lines().map(|line| format!("    {line}")).collect(),
            Self::Text(text) | Self::Heading(text) => vec![text.clone()],
            Self::Facts(rows) => {
                rows.iter().map(|(label, text)| format!("{label}: {text}")).collect()
            }
            Self::List(entries) => entries.iter().map(|entry| format!("- {entry}")).collect(),
        };
        lines.join("\n")
    }
}

fn row_size(row: &(String, String)) -> usize {
    row.0.len() + row.1.len()
}

/// As many as fit, and how many do not.
fn some<T: Clone>(all: &[T], room: usize, size: impl Fn(&T) -> usize) -> (Vec<T>, usize) {
    let mut used = 0;
    let fits = |one: &&T| {
        used += size(one);
        used <= room
    };
    let kept: Vec<T> = all.iter().take_while(fits).cloned().collect();
    let more = all.len() - kept.len();
    (kept, more)
}

impl Choice {
    fn is_primary(&self) -> bool {
        self.style == ButtonStyle::Primary
    }

    fn is_danger(&self) -> bool {
        self.style == ButtonStyle::Danger
    }
}

fn zone(mark: Mark) -> Zone {
    let (word, class, colour) = match mark {
        Mark::Need => ("Needs you", "red", "#9b0f1b"),
        Mark::Decide => ("Decide", "orange", "#9c4a16"),
        Mark::Slow => ("Not going well", "yellow", "#876d0c"),
        Mark::Working => ("Working", "green", "#046d52"),
        Mark::Finished => ("Finished", "muted", "#555b65"),
        Mark::Settled => ("Settled", "green", "#046d52"),
        Mark::Failed => ("Did not work", "red", "#9b0f1b"),
    };
    Zone { sign: mark.sign(), word, class, colour }
}

/// The title, as much of it as the project leaves room for.
fn subject(title: &str, project: Option<&str>) -> String {
    let project = project.map(|project| format!(" · {project}")).unwrap_or_default();
    let title = clip(&cut(title, SUBJECT.saturating_sub(length(&project))), 4 * SUBJECT);
    format!("{title}{project}")
}

fn pieces(blocks: &[Block]) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    for (at, block) in blocks.iter().take(BLOCKS).enumerate() {
        match block {
            Block::Quote(text) => pieces.push(Piece::Quote(lines(text))),
            Block::Code(text) => pieces.push(Piece::Code(lines(text))),
            Block::List(entries) => {
                pieces.push(Piece::List(entries.iter().map(|entry| one_line(entry)).collect()));
            }
            Block::Text(text) => {
                let text = one_line(text);
                let names = matches!(blocks.get(at + 1), Some(Block::List(_) | Block::Code(_)));
                if names && length(&text) <= 40 && !text.ends_with('.') {
                    pieces.push(Piece::Heading(text));
                } else if let Some((before, tried)) = text.rsplit_once(". Tried: ") {
                    say(&mut pieces, &format!("{before}."));
                    say(&mut pieces, &format!("Tried: {tried}"));
                } else {
                    say(&mut pieces, &text);
                }
            }
        }
    }
    if blocks.len() > BLOCKS {
        pieces.push(Piece::Text(format!("… +{} more", blocks.len() - BLOCKS)));
    }
    pieces.retain(|piece| !piece.is_empty());
    pieces
}

/// Adds a line of `ao`'s own words: a fact where it begins with a label.
fn say(pieces: &mut Vec<Piece>, text: &str) {
    let fact = text.split_once(": ").filter(|(label, _)| is_label(label));
    match (fact, pieces.last_mut()) {
        (Some((label, text)), Some(Piece::Facts(rows))) => {
            rows.push((label.to_owned(), text.to_owned()));
        }
        (Some((label, text)), _) => {
            pieces.push(Piece::Facts(vec![(label.to_owned(), text.to_owned())]));
        }
        (None, _) => pieces.push(Piece::Text(text.to_owned())),
    }
}

/// One short word, as in `Tried: nothing`.
fn is_label(text: &str) -> bool {
    !text.is_empty() && text.len() <= 12 && !text.contains(char::is_whitespace)
}

fn words(block: &Block) -> String {
    match block {
        Block::Quote(text) | Block::Code(text) | Block::Text(text) => text.clone(),
        Block::List(entries) => entries.join(" · "),
    }
}

/// Harmless text without empty lines at its ends.
fn lines(text: &str) -> String {
    let text = plain(text).replace('\t', "    ");
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    let from = lines.iter().position(|line| !line.is_empty()).unwrap_or(lines.len());
    let to = lines.iter().rposition(|line| !line.is_empty()).map_or(from, |last| last + 1);
    lines[from..to].join("\n")
}

/// The buttons that lead to a page: those of the overflow menu, and the others. A button without a page cannot be
/// pressed by mail.
fn choices(buttons: &[Button]) -> (Vec<Choice>, Vec<Choice>) {
    let choice = |button: &Button| {
        let link = button.link.as_deref().and_then(link)?;
        let label = clip(&cut(&one_line(&button.label), LABEL), 3 * LABEL);
        Some((button.more, Choice { label, link, style: button.style }))
    };
    let all: Vec<_> = buttons.iter().filter_map(choice).take(BUTTONS).collect();
    let of = |more: bool| all.iter().filter(|c| c.0 == more).map(|c| c.1.clone()).collect();
    (of(true), of(false))
}

/// An address that a mailbox may offer: a page, nothing that runs, and no white space or quote that could end it.
fn link(text: &str) -> Option<String> {
    let is_page = text.starts_with("https://") || text.starts_with("http://");
    let is_plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\'' | '<' | '>' | '`');
    (is_page && text.len() <= 1000 && text.chars().all(is_plain)).then(|| text.to_owned())
}

fn why(message: &Message) -> String {
    if message.kind == DIGEST_KIND {
        return "You get this because digests go to this address.".to_owned();
    }
    let class = match message.priority {
        Priority::Urgent => "urgent",
        Priority::Action => "action",
        Priority::Warning => "warning",
        Priority::Info => "info",
    };
    format!("You get this because messages of the class {class} go to this address.")
}

fn quieter(message: &Message) -> Option<String> {
    let session = message.session.as_ref().map(|session| format!("session={session}"));
    let what = session.or_else(|| Some(format!("incident={}", message.incident?)))?;
    Some(format!("ao silence add {what} for 2h"))
}

/// At most so many bytes, cut between characters as a reader sees them, and how many of those are missing.
fn clip(text: &str, bytes: usize) -> String {
    if text.len() <= bytes {
        return text.to_owned();
    }
    let mut end = 0;
    for (at, grapheme) in text.grapheme_indices(true) {
        if at + grapheme.len() > bytes {
            break;
        }
        end = at + grapheme.len();
    }
    let missing = count(length(&text[end..]) as u64, "character", "characters");
    format!("{}… +{missing}", text[..end].trim_end())
}

/// A log's first error line and as much of its end as there is room for; what is missing is counted.
fn ends(log: &str, bytes: usize) -> String {
    let all: Vec<&str> = log.lines().collect();
    let fits = |room: usize| {
        let mut used = 0;
        let fits = |line: &&&str| {
            used += line.len() + 1;
            used <= room
        };
        all.iter().rev().take_while(fits).count()
    };
    let error = log::error_line(all.iter().copied()).unwrap_or(0);
    let end = all.len() - fits(bytes);
    // The end alone, where it begins at the error.
    let (head, end) = match end <= error {
        true => (None, end),
        false => {
            let rest = bytes.saturating_sub(all[error].len() + 1);
            (Some(clip(all[error], bytes)), (all.len() - fits(rest)).max(error + 1))
        }
    };
    let missing = end - usize::from(head.is_some());
    let gap = (missing > 0).then(|| format!("… +{}", count(missing as u64, "line", "lines")));
    let end = all[end..].iter().map(|line| (*line).to_owned());
    head.into_iter().chain(gap).chain(end).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_keeps_its_first_error_line_and_its_end() {
        let line = |n: usize| match n {
            7 => "E2BIG: the first error".to_owned(),
            9 => "another error".to_owned(),
            _ => format!("line {n}"),
        };
        let log = (1..=20).map(line).collect::<Vec<_>>().join("\n");
        assert_eq!(
            ends(&log, 50),
            "E2BIG: the first error\n… +16 lines\nline 18\nline 19\nline 20"
        );
        assert_eq!(ends(&log, 10), "E2BIG: the… +12 characters\n… +19 lines");
        assert!(
            ends(&log, 150).starts_with("… +4 lines\nline 5\nline 6\nE2BIG"),
            "{}",
            ends(&log, 150)
        );
        assert_eq!(ends(&log, log.len() + 1), log);
    }
}
