//! What is wrong with a configuration, and where. Plain data: whoever shows it draws the frame.

use std::{
    fmt,
    ops::Range,
    path::{Path, PathBuf},
};

use ao_slots::text;
use serde::{Deserialize, Serialize};

/// One thing that is wrong, or in a warning: that is not as it seems.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigError {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// Where the marked text begins, in bytes from the start of the file.
    pub offset: usize,
    /// How many bytes are marked; at least 1 unless the file is empty.
    pub length: usize,
    /// The line's text without secrets and control characters, for places that do not have the file.
    pub excerpt: String,
    /// What is wrong, with the name of the thing: lower case, no full stop.
    pub message: String,
    /// What stands at the marked text; may be empty.
    pub label: String,
    /// What to do, where that is not plain from the label.
    pub help: Option<String>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, column, message, label, .. } = self;
        write!(f, "{}:{line}:{column}: {message}", self.file.display())?;
        if !label.is_empty() {
            write!(f, " ({label})")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// Most findings that are told of one file.
const MOST: usize = 50;

/// Collects what is wrong with one file.
#[derive(Debug)]
pub(super) struct Report<'a> {
    file: &'a Path,
    text: &'a str,
    /// Values of variables: they may be secrets and are never told.
    hidden: Vec<String>,
    found: Vec<ConfigError>,
}

/// Where something stands: bytes of the file.
pub(super) type Place = Range<usize>;

impl<'a> Report<'a> {
    pub(super) fn new(file: &'a Path, text: &'a str) -> Self {
        Self { file, text, hidden: Vec::new(), found: Vec::new() }
    }

    /// Never tells these values from now on. Those of up to 3 characters hide nothing and are in any text.
    pub(super) fn hide(&mut self, values: &[String]) {
        self.hidden.extend(values.iter().filter(|value| value.len() > 3).cloned());
        // What holds another value goes first.
        self.hidden.sort_by_key(|value| std::cmp::Reverse(value.len()));
    }

    fn without_hidden(&self, mut text: String) -> String {
        for value in &self.hidden {
            if text.contains(value.as_str()) {
                text = text.replace(value.as_str(), "[hidden]");
            }
        }
        text
    }

    /// A value as it may stand in a message: on one line, short, without what is hidden.
    pub(super) fn shown(&self, value: &str) -> String {
        text::cut(&text::one_line(&self.without_hidden(value.to_owned())), 60)
    }

    /// An empty report on the same file.
    pub(super) fn like(other: &Self) -> Self {
        Self { hidden: other.hidden.clone(), ..Self::new(other.file, other.text) }
    }

    /// Takes over what another report on the same file found.
    pub(super) fn take(&mut self, other: Self) {
        self.found.extend(other.found);
    }

    /// Whether more findings would help nobody.
    pub(super) fn is_full(&self) -> bool {
        self.found.len() >= MOST
    }

    /// Adds a finding, up to [`MOST`].
    pub(super) fn add(
        &mut self,
        at: &Place,
        message: impl Into<String>,
        label: impl Into<String>,
        help: Option<String>,
    ) {
        if self.is_full() {
            return;
        }
        let start = floor(self.text, at.start);
        let end = floor(self.text, at.end.max(start));
        let before = &self.text[..start];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line_end = self.text[start..].find('\n').map_or(self.text.len(), |at| start + at);
        // A mark stays on its line, and shows where it is even when it marks nothing.
        let next = self.text[start..line_end].chars().next().map_or(0, char::len_utf8);
        let length = (end.min(line_end) - start.min(line_end)).max(next);
        let line = text::redact(&self.text[line_start..line_end]);
        // Names and values of the file stand in them, whoever wrote it.
        let told = |words: String| text::plain(&self.without_hidden(words));
        self.found.push(ConfigError {
            file: self.file.to_owned(),
            line: before.matches('\n').count() + 1,
            column: self.text[line_start..start].chars().count() + 1,
            offset: start,
            length,
            excerpt: text::cut(text::plain(&line).trim_end(), 200),
            message: told(message.into()),
            label: told(label.into()),
            help: help.map(told),
        });
    }

    /// Whether nothing was found.
    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// What was found, in the order of the file.
    pub(super) fn into_errors(mut self) -> Vec<ConfigError> {
        self.found.sort_by_key(|error| error.offset);
        self.found
    }

    pub(super) fn text(&self) -> &'a str {
        self.text
    }
}

/// The nearest character border at or before `at`.
fn floor(text: &str, at: usize) -> usize {
    text.floor_char_boundary(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_told_in_lines_columns_and_bytes() {
        let text = "a: 1\nname: \"größe 💥\"  # x\n\nb: API_KEY=abcdef\n";
        for (marked, line, column, length) in
            [("a:", 1, 1, 2), ("💥", 2, 14, 4), ("# x", 2, 18, 3), ("b: API", 4, 1, 6)]
        {
            let mut report = Report::new(Path::new("x.yaml"), text);
            let start = text.find(marked).unwrap();
            report.add(&(start..start + marked.len()), "m", "l", None);
            let error = report.into_errors().remove(0);
            assert_eq!(
                (error.line, error.column, error.length),
                (line, column, length),
                "{marked}"
            );
            assert_eq!(&text[error.offset..error.offset + error.length], marked);
        }
        let mut report = Report::new(Path::new("x.yaml"), text);
        let escape = |words: &str| format!("{words}\x1b]0;x\x07\u{202e}");
        report.add(&(0..1), escape("m"), escape("l"), Some(escape("h")));
        let error = report.into_errors().remove(0);
        assert_eq!((&*error.message, &*error.label, error.help.as_deref()), ("m", "l", Some("h")));
        let mut report = Report::new(Path::new("x.yaml"), text);
        report.add(&(text.find("b:").unwrap()..usize::MAX), "m", "", None);
        report.add(&(usize::MAX..usize::MAX), "past the end", "", None);
        let errors = report.into_errors();
        assert_eq!(errors[0].excerpt, "b: API_KEY=[hidden]");
        assert_eq!(errors[0].to_string(), "x.yaml:4:1: m");
        assert_eq!((errors[1].line, errors[1].column, errors[1].length), (5, 1, 0));
    }
}
