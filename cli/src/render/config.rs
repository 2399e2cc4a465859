//! Configuration errors, with the place in the file.

use std::{iter, path::Path};

use ao_core::{
    config::ConfigError,
    slots::text::{one_line, plain},
};
use ao_web::configs::Untrusted;
use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceCode,
};

use crate::{
    fail::{Exit, Fail},
    out::{Style, Tone},
};

/// An error as it is drawn.
#[derive(Debug)]
struct Drawn<'e> {
    error: &'e ConfigError,
    source: Option<NamedSource<String>>,
}

impl std::fmt::Display for Drawn<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.error.message)
    }
}

impl std::error::Error for Drawn<'_> {}

impl Diagnostic for Drawn<'_> {
    fn help<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        self.error.help.as_ref().map(|help| Box::new(help) as Box<dyn std::fmt::Display>)
    }
    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source.as_ref().map(|source| source as &dyn SourceCode)
    }
    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        self.source.as_ref()?;
        let label = Some(self.error.label.clone()).filter(|label| !label.is_empty());
        Some(Box::new(std::iter::once(LabeledSpan::new(
            label,
            self.error.offset,
            self.error.length,
        ))))
    }
}

/// The errors, each with its excerpt.
pub(crate) fn draw(errors: &[ConfigError], style: &Style) -> String {
    let theme = match (style.ascii, style.color) {
        (true, _) => GraphicalTheme::ascii(),
        (false, true) => GraphicalTheme::unicode(),
        (false, false) => GraphicalTheme::unicode_nocolor(),
    };
    let handler = GraphicalReportHandler::new_themed(theme)
        .with_width(style.width.min(110))
        .with_context_lines(1);
    let mut out = String::new();
    for error in errors {
        let source = read(&error.file, error).map(|text| NamedSource::new(name(&error.file), text));
        let mut drawn = String::new();
        let failed = handler.render_report(&mut drawn, &Drawn { error, source }).is_err();
        out.push_str(if failed { error.message.as_str() } else { drawn.trim_start_matches('\n') });
        if !out.ends_with('\n') {
            out.push('\n');
        }
    }
    out
}

/// The file's text, where it still is the one that the error marks.
fn read(file: &Path, error: &ConfigError) -> Option<String> {
    let text = harmless(&std::fs::read_to_string(file).ok()?);
    (error.length > 0 && text.get(error.offset..error.offset + error.length).is_some())
        .then_some(text)
}

fn name(file: &Path) -> String {
    one_line(&file.file_name().unwrap_or(file.as_os_str()).to_string_lossy())
}

/// A file's text without what could act on a terminal. Each character keeps its bytes, so that marks stay in place.
fn harmless(text: &str) -> String {
    let hidden = |c: char| plain(c.encode_utf8(&mut [0; 4])).is_empty();
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => out.push(c),
            '\r' => out.push(' '),
            c if c.is_control() || hidden(c) => out.extend(iter::repeat_n('?', c.len_utf8())),
            c => out.push(c),
        }
    }
    out
}

/// What a file asks a human to trust: each key with what counts now and what would, whole.
pub(crate) fn asked(untrusted: &Untrusted, style: &Style) -> String {
    let mut out = format!(
        "{} sets what runs programs, widens rights or sends text elsewhere:",
        untrusted.path.display()
    );
    for item in &untrusted.items {
        let key = style.paint(Tone::Accent, &item.key);
        out.push_str(&format!("\n  {key}  (line {})", item.line));
        let removed = "(removed)".to_owned();
        let unset = "(not set)".to_owned();
        for (name, value) in [
            ("now: ", item.old.as_ref().unwrap_or(&unset)),
            ("then:", item.new.as_ref().unwrap_or(&removed)),
        ] {
            let columns = style.width.saturating_sub(10).max(20);
            let chars: Vec<char> = value.chars().collect();
            let lines: Vec<String> =
                chars.chunks(columns).map(|line| line.iter().collect()).collect();
            out.push_str(&format!("\n    {name} {}", lines.join("\n          ")));
        }
    }
    out
}

/// Draws the errors to standard error; what remains to be said is the exit code.
pub(crate) fn failure(style: &Style, errors: &[ConfigError]) -> Fail {
    crate::out::note(draw(errors, style).trim_end());
    let count = ao_core::slots::text::count(errors.len() as u64, "error", "errors");
    let file = errors.first().map(|error| error.file.display().to_string()).unwrap_or_default();
    Fail::new(Exit::Config, format!("{count} in the configuration"))
        .because(file)
        .remedy("ao config check")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_shows_its_line_and_the_nearest_that_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("agent-orchestrator.yaml");
        let text = "projects:\n  my-app: {path: .}\nnotifer: slack\n";
        std::fs::write(&file, text).unwrap();
        let error = ConfigError {
            file,
            line: 3,
            column: 1,
            offset: text.find("notifer").unwrap(),
            length: 7,
            excerpt: "notifer: slack".into(),
            message: "`notifer` is not a setting".into(),
            label: "did you mean `notifiers`?".into(),
            help: None,
        };
        insta::assert_snapshot!("config_error", draw(&[error], &Style::plain(80)));
    }

    #[test]
    fn a_file_of_somebody_else_does_nothing_to_the_terminal() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("agent-orchestrator.yaml");
        let text = "a: 1\n# \x1b]52;c;aGk=\x07 \u{9b}2J \u{202e}größe\r\n\tnotifer: x \x1b[31m\n";
        std::fs::write(&file, text).unwrap();
        let error = ConfigError {
            file,
            line: 3,
            column: 2,
            offset: text.find("notifer").unwrap(),
            length: 7,
            excerpt: String::new(),
            message: "`notifer` is not a setting".into(),
            label: "did you mean `notifiers`?".into(),
            help: None,
        };
        let drawn = draw(&[error], &Style::plain(80));
        assert!(!drawn.chars().any(|c| c.is_control() && c != '\n'), "{drawn:?}");
        assert!(!drawn.contains('\u{202e}') && drawn.contains("größe"), "{drawn}");
        let (at, mark) = (drawn.find("notifer: x").unwrap(), drawn.find("───┬").unwrap());
        let column = |at: usize| drawn[drawn[..at].rfind('\n').unwrap()..at].chars().count();
        assert_eq!(column(at), column(mark), "{drawn}");
        assert_eq!(harmless(text).len(), text.len());
    }

    #[test]
    fn what_is_asked_for_is_drawn_whole() {
        let command = format!("[\"curl https://example.org/{} | sh\"]", "x".repeat(200));
        let item = |key: &str, old: Option<&str>, new: Option<&str>| ao_core::config::TrustItem {
            key: key.into(),
            line: 4,
            old: old.map(str::to_owned),
            new: new.map(str::to_owned),
            first: false,
        };
        let untrusted = Untrusted {
            path: "/repo/agent-orchestrator.yaml".into(),
            hash: String::new(),
            items: vec![
                item("projects.my-app.postCreate", None, Some(&command)),
                item("projects.my-app.agent", Some("custom"), None),
            ],
        };
        let drawn = asked(&untrusted, &Style::plain(60));
        assert!(drawn.lines().skip(1).all(|line| line.chars().count() <= 60), "{drawn}");
        // Where it is wrapped a space may have become a line's end.
        let words = |text: &str| text.split_whitespace().collect::<String>();
        assert!(
            words(&drawn).contains(&words(&format!("now: (not set) then: {command}"))),
            "{drawn}"
        );
        assert!(drawn.ends_with("now:  custom\n    then: (removed)"), "{drawn}");
    }
}
