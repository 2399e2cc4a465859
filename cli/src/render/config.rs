//! Configuration errors, with the place in the file.

use std::path::Path;

use ao_core::config::ConfigError;
use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceCode,
};

use crate::{
    fail::{Exit, Fail},
    out::Style,
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
    let text = std::fs::read_to_string(file).ok()?;
    (error.length > 0 && text.get(error.offset..error.offset + error.length).is_some())
        .then_some(text)
}

fn name(file: &Path) -> String {
    file.file_name().unwrap_or(file.as_os_str()).to_string_lossy().into_owned()
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
}
