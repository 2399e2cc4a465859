//! Fits a message's words into what a channel shows: what matters least is cut first, each cut can be seen, and the
//! line by which one acts stays.

use ao_slots::{
    notifier::{Block, Message},
    text::{cut, cut_counted, length, one_line, plain},
};

use crate::log::error_line;

/// A message's title of at most `limit` characters, and its body for a small screen: what the title could not hold,
/// the short text (or, without one, the long), and that it may be a repetition.
pub fn parts(message: &Message, limit: usize) -> (String, Vec<Part>) {
    let short = lines(&message.short);
    match short.is_empty() {
        true => long_parts(message, limit),
        false => titled(message, limit, vec![Part(Rank::Why, short)]),
    }
}

/// The same with the long text.
pub fn long_parts(message: &Message, limit: usize) -> (String, Vec<Part>) {
    titled(message, limit, message.body.iter().map(part).collect())
}

fn titled(message: &Message, limit: usize, body: Vec<Part>) -> (String, Vec<Part>) {
    let full = one_line(&message.title);
    let title = cut(&full, limit);
    let mut parts = Vec::new();
    if let Some(shown) = title.strip_suffix('…').filter(|_| title != full) {
        let rest = full.strip_prefix(shown).unwrap_or(&full).trim_start();
        parts.push(Part(Rank::Verbatim, format!("…{rest}")));
    }
    parts.extend(body);
    if message.may_repeat {
        parts.push(Part(Rank::Why, "This may be a repetition.".to_owned()));
    }
    (title, parts)
}

/// A block as what it is.
pub fn part(block: &Block) -> Part {
    match block {
        Block::Quote(text) => Part(Rank::Verbatim, one_line(text)),
        Block::Code(text) => Part(Rank::Log, lines(text)),
        Block::Text(text) => Part(Rank::Why, one_line(text)),
        Block::List(entries) => Part(Rank::Tried, lines(&entries.join("\n"))),
    }
}

/// Harmless text without empty lines.
pub fn lines(text: &str) -> String {
    let text = plain(text);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join("\n")
}

/// At most that many bytes, `…` included where something was cut, never within a character as a reader sees it.
pub fn cut_bytes(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let (mut fits, mut too_many) = (0, length(text));
    while fits + 1 < too_many {
        let middle = usize::midpoint(fits, too_many);
        if cut(text, middle).len() <= limit { fits = middle } else { too_many = middle }
    }
    cut(text, fits)
}

/// What a part of a body is: decides when and how it is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rank {
    /// A log: its first error line and its last 3 stay longest. Cut first.
    Log,
    /// What was tried: becomes a count.
    Tried,
    /// Why it came: becomes a clause.
    Why,
    /// Somebody's words: cut from their end.
    Verbatim,
    /// The last line, by which one acts. Never cut.
    Kept,
}

/// Harmless text, and what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part(pub Rank, pub String);

/// Cuts a part's text; `room` is what the other parts leave to it.
type Cut = fn(&str, Room) -> String;

/// In the order in which a body is cut: first as gently as each part allows, then without mercy.
const CUTS: [(Rank, Cut); 9] = [
    (Rank::Log, log_ends),
    (Rank::Log, log_error),
    (Rank::Tried, tally),
    (Rank::Why, clause),
    (Rank::Verbatim, sentence),
    (Rank::Log, nothing),
    (Rank::Tried, nothing),
    (Rank::Why, nothing),
    (Rank::Verbatim, by_force),
];

/// How much of a text there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// As a reader counts them.
    pub characters: usize,
    /// Of UTF-8.
    pub bytes: usize,
    /// Ended by line breaks.
    pub lines: usize,
}

/// The parts as one text within `room`, each a paragraph. What is [`Rank::Kept`] stays whatever its length.
pub fn fit(parts: Vec<Part>, room: Room) -> String {
    fit_parts(parts, room).into_iter().map(|part| part.1).collect::<Vec<_>>().join("\n")
}

/// The parts, cut so that they fit `room` with a character between each two.
pub fn fit_parts(mut parts: Vec<Part>, room: Room) -> Vec<Part> {
    parts.retain(|part| !part.1.is_empty());
    for (rank, cut) in CUTS {
        // The first part matters most, so the last is cut first.
        for at in (0..parts.len()).rev() {
            let room = room.beside(&parts, at);
            let text = &parts[at].1;
            if parts[at].0 == rank && !(room.holds(text)) {
                parts[at].1 = cut(text, room);
            }
        }
        parts.retain(|part| !part.1.is_empty());
    }
    parts
}

impl Room {
    /// What the other parts leave to one.
    fn beside(self, parts: &[Part], at: usize) -> Self {
        let others =
            || parts.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, p)| &p.1);
        Self {
            characters: self.characters.saturating_sub(others().map(|text| length(text) + 1).sum()),
            bytes: self.bytes.saturating_sub(others().map(|text| text.len() + 1).sum()),
            lines: self.lines.saturating_sub(others().map(|text| text.lines().count()).sum()),
        }
    }

    fn holds(self, text: &str) -> bool {
        length(text) <= self.characters
            && text.len() <= self.bytes
            && text.lines().count() <= self.lines
    }
}

/// The first error line and the last 3.
fn log_ends(log: &str, room: Room) -> String {
    let all: Vec<&str> = log.lines().collect();
    let first = error_line(all.iter().copied()).unwrap_or(0);
    let from = all.len().saturating_sub(3).max(first + 1);
    let gap = if from > first + 1 { "…" } else { "" };
    let last = all[from..].join("\n");
    let ends = lines(&format!("{}{gap}\n{last}", all[first]));
    if room.holds(&ends) { ends } else { log.to_owned() }
}

fn log_error(log: &str, room: Room) -> String {
    let all: Vec<&str> = log.lines().collect();
    let first = error_line(all.iter().copied()).unwrap_or(0);
    let more = if all.len() > 1 { " …" } else { "" };
    format!("{}{more}", cut(all[first], room.characters.saturating_sub(2).max(40)))
}

/// The first entry, and how many there are besides.
fn tally(list: &str, _: Room) -> String {
    match list.split_once('\n') {
        Some((first, more)) => format!("{} · and {} more", cut(first, 80), more.lines().count()),
        None => cut(list, 80),
    }
}

/// As many sentences as there is room for, else the first clause.
fn clause(text: &str, room: Room) -> String {
    let text = one_line(text);
    if room.holds(&text) {
        return text;
    }
    let cut = cut(&text, room.characters.max(40));
    let ends = [". ", "; ", " · ", ": ", ", "].iter().filter_map(|end| cut.find(end));
    match ends.min().filter(|end| *end >= 8) {
        Some(_) if room.holds(&cut) => cut,
        Some(end) => format!("{}…", &cut[..end]),
        None => cut,
    }
}

/// Cut from its end, the first sentence stays.
fn sentence(text: &str, room: Room) -> String {
    let text = one_line(text);
    if room.holds(&text) {
        return text;
    }
    // `… +1,000 characters` at most.
    let keep = room.characters.saturating_sub(20).max(length(first_sentence(&text)));
    cut_counted(&text, keep)
}

fn by_force(text: &str, room: Room) -> String {
    if room.lines == 0 {
        return String::new();
    }
    cut_bytes(&cut(&one_line(text), room.characters), room.bytes)
}

fn nothing(_: &str, _: Room) -> String {
    String::new()
}

/// A text up to the end of its first sentence.
pub fn first_sentence(text: &str) -> &str {
    let end = text.char_indices().find(|(at, c)| {
        matches!(c, '?' | '.' | '!')
            && text[at + c.len_utf8()..].starts_with([' ', '"', '\n'])
            && *at > 0
    });
    end.map_or(text, |(at, c)| &text[..at + c.len_utf8()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_counted_where_a_vendor_counts_them() {
        assert_eq!(cut_bytes("short", 5), "short");
        assert_eq!(cut_bytes("äöüäöü", 9), "äöü…");
        assert_eq!(cut_bytes("👩‍👩‍👧👩‍👩‍👧", 20), "…");
        assert_eq!(cut_bytes("👩‍👩‍👧👩‍👩‍👧", 2), "");
        let parts = vec![
            Part(Rank::Verbatim, "ä".repeat(50)),
            Part(Rank::Why, "why".to_owned()),
            Part(Rank::Kept, "ao why app-3".to_owned()),
        ];
        let room = Room { characters: 350, bytes: 40, lines: 4 };
        assert_eq!(fit(parts, room), format!("{}…\nao why app-3", "ä".repeat(12)));
    }

    proptest::proptest! {
        #[test]
        fn no_cut_is_longer_than_asked_for(text in ".*", limit in 0usize..200) {
            let cut = cut_bytes(&text, limit);
            proptest::prop_assert!(cut.len() <= limit);
            let whole = cut.strip_suffix('…').filter(|_| cut != text).unwrap_or(&cut);
            proptest::prop_assert!(text.starts_with(whole));
        }
    }
}
