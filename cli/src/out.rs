//! What is printed, and how: colour by meaning, marks with words, measured widths.

use std::io::{self, IsTerminal, Write};

use ao_core::slots::notifier::Mark;
use ratatui::style::{Color, Modifier, Style as Look};
use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

/// What a colour means. The terminal's own theme decides how it looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Ids and commands.
    Accent,
    /// Needs you, and errors.
    Need,
    /// Decide.
    Decide,
    /// Not going well.
    Slow,
    /// Good.
    Ok,
    /// Times and hints.
    Muted,
}

/// When colours are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum ColorChoice {
    /// On a terminal.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// How to print for one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Style {
    /// With colours.
    pub color: bool,
    /// Only ASCII.
    pub ascii: bool,
    /// Columns.
    pub width: usize,
    /// A person reads it.
    pub terminal: bool,
}

/// What of the environment decides how is printed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Surroundings {
    pub no_color: bool,
    pub force_color: bool,
    pub dumb: bool,
    pub plain_locale: bool,
    pub columns: Option<usize>,
}

impl Surroundings {
    pub(crate) fn look() -> Self {
        let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let locale = set("LC_ALL").or_else(|| set("LC_CTYPE")).or_else(|| set("LANG"));
        Self {
            no_color: set("NO_COLOR").is_some(),
            force_color: set("CLICOLOR_FORCE").is_some_and(|value| value != "0"),
            dumb: set("TERM").is_some_and(|term| term == "dumb"),
            plain_locale: locale.is_some_and(|locale| locale == "C" || locale == "POSIX"),
            columns: set("COLUMNS").and_then(|columns| columns.parse().ok()),
        }
    }
}

impl Style {
    /// The style of a stream.
    pub(crate) fn of(
        terminal: bool,
        around: &Surroundings,
        color: ColorChoice,
        ascii: bool,
    ) -> Self {
        let color = match color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => {
                around.force_color || (terminal && !around.no_color && !around.dumb)
            }
        };
        let measured = || terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
        let width =
            around.columns.or_else(measured).unwrap_or(if terminal { 80 } else { 120 }).max(40);
        Self { color, ascii: ascii || around.dumb || around.plain_locale, width, terminal }
    }

    /// No colour, this width: for tests and files.
    #[cfg(test)]
    pub(crate) fn plain(width: usize) -> Self {
        Self { color: false, ascii: false, width, terminal: false }
    }

    /// Text in a tone.
    pub(crate) fn paint(&self, tone: Tone, text: &str) -> String {
        if !self.color || text.is_empty() {
            return text.to_owned();
        }
        let code = match tone {
            Tone::Accent => "34",
            Tone::Need => "1;31",
            Tone::Decide => "1;33",
            Tone::Slow => "33",
            Tone::Ok => "36",
            Tone::Muted => "2",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    /// A tone where lines are not printed but drawn: what [`Style::paint`] says, for a full screen.
    pub(crate) fn look(&self, tone: Tone) -> Look {
        let look = Look::new();
        if !self.color {
            return look;
        }
        match tone {
            Tone::Accent => look.fg(Color::Blue),
            Tone::Need => look.fg(Color::Red).add_modifier(Modifier::BOLD),
            Tone::Decide => look.fg(Color::Yellow).add_modifier(Modifier::BOLD),
            Tone::Slow => look.fg(Color::Yellow),
            Tone::Ok => look.fg(Color::Cyan),
            Tone::Muted => look.add_modifier(Modifier::DIM),
        }
    }

    /// A mark as this terminal can show it.
    pub(crate) fn mark(&self, mark: Mark) -> &'static str {
        if !self.ascii {
            return mark.sign();
        }
        match mark {
            Mark::Need => "!",
            Mark::Decide => "?",
            Mark::Slow => "~",
            Mark::Working => "*",
            Mark::Finished => "-",
            Mark::Settled => "ok",
            Mark::Failed => "x",
        }
    }

    /// A mark in its tone.
    pub(crate) fn painted_mark(&self, mark: Mark) -> String {
        self.paint(tone(mark), self.mark(mark))
    }

    /// Text with only characters that this terminal can show.
    pub(crate) fn text(&self, text: &str) -> String {
        if !self.ascii {
            return text.to_owned();
        }
        let mut out = String::with_capacity(text.len());
        for c in text.chars() {
            match c {
                '…' => out.push_str("..."),
                '·' => out.push(','),
                '–' | '—' | '−' => out.push('-'),
                '“' | '”' => out.push('"'),
                '’' => out.push('\''),
                '→' => out.push_str("->"),
                '✓' => out.push_str("ok"),
                '✗' => out.push('x'),
                '⏎' => out.push_str("enter"),
                c if c.is_ascii() => out.push(c),
                _ => out.push('?'),
            }
        }
        out
    }

    /// What stands between facts.
    pub(crate) fn dot(&self) -> &'static str {
        if self.ascii { ", " } else { " · " }
    }

    /// At most `width` columns, cut with `…`.
    pub(crate) fn cut(&self, text: &str, width: usize) -> String {
        let text = self.text(text);
        if text.width() <= width {
            return text;
        }
        let end = if self.ascii { "..." } else { "…" };
        let room = width.saturating_sub(end.width());
        let mut out = String::new();
        let mut used = 0;
        for grapheme in text.graphemes(true) {
            used += grapheme.width();
            if used > room {
                break;
            }
            out.push_str(grapheme);
        }
        out.truncate(out.trim_end().len());
        out.push_str(end);
        out
    }
}

/// The tone of a mark.
pub(crate) fn tone(mark: Mark) -> Tone {
    match mark {
        Mark::Need | Mark::Failed => Tone::Need,
        Mark::Decide => Tone::Decide,
        Mark::Slow => Tone::Slow,
        Mark::Working | Mark::Settled => Tone::Ok,
        Mark::Finished => Tone::Muted,
    }
}

/// Columns that a text takes, without its colours.
pub(crate) fn width(text: &str) -> usize {
    if !text.contains('\x1b') {
        return text.width();
    }
    ao_core::slots::text::plain(text).width()
}

/// Filled up with spaces to `columns`.
pub(crate) fn pad(text: &str, columns: usize) -> String {
    format!("{text}{}", " ".repeat(columns.saturating_sub(width(text))))
}

/// The same, to the right.
pub(crate) fn pad_left(text: &str, columns: usize) -> String {
    format!("{}{text}", " ".repeat(columns.saturating_sub(width(text))))
}

/// Words in lines of at most `columns`; a word that is longer has a line of its own.
pub(crate) fn fold(text: &str, columns: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut();
        match line {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if width(line) + 1 + width(word) <= columns => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Prints to standard output. A reader that went away is no failure.
pub(crate) fn say(text: &str) {
    let mut out = io::stdout().lock();
    let _ = if text.ends_with('\n') || text.is_empty() {
        out.write_all(text.as_bytes())
    } else {
        writeln!(out, "{text}")
    };
}

/// Prints to standard error.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Prints one JSON document.
pub(crate) fn json<T: serde::Serialize>(document: &T) {
    if let Ok(text) = serde_json::to_string(document) {
        say(&text);
    }
}

/// Whether questions can be asked.
pub(crate) fn can_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_follow_the_flags_the_environment_and_the_stream_in_that_order() {
        let quiet = Surroundings { no_color: true, ..Surroundings::default() };
        let forced = Surroundings { force_color: true, ..Surroundings::default() };
        let color = |terminal, around: &Surroundings, choice| {
            Style::of(terminal, around, choice, false).color
        };
        assert!(color(true, &Surroundings::default(), ColorChoice::Auto));
        assert!(!color(false, &Surroundings::default(), ColorChoice::Auto));
        assert!(!color(true, &quiet, ColorChoice::Auto));
        assert!(color(true, &quiet, ColorChoice::Always));
        assert!(color(false, &forced, ColorChoice::Auto));
        assert!(!color(true, &forced, ColorChoice::Never));
    }

    #[test]
    fn texts_are_cut_and_padded_by_the_columns_they_take() {
        let style = Style::plain(80);
        assert_eq!(style.cut("größe 日本語です", 10), "größe 日…");
        assert_eq!(width(&pad("日本", 6)), 6);
        assert_eq!(pad_left("4m", 4), "  4m");
        let ascii = Style { ascii: true, ..style };
        assert_eq!(ascii.text("a · b… “c” → d"), "a , b... \"c\" -> d");
        let color = Style { color: true, ..style };
        assert_eq!(width(&color.paint(Tone::Need, "▲")), 1);
    }

    #[test]
    fn long_texts_are_folded_at_words() {
        assert_eq!(fold("one two three", 7), ["one two", "three"]);
        assert_eq!(fold("a/path/without/end x", 5), ["a/path/without/end", "x"]);
    }
}
