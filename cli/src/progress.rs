//! Steps on standard error: one line each with its time, kept as the record.

use std::time::{Duration, Instant};

use ao_core::slots::notifier::Mark;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{
    cx::Cx,
    out::{self, Tone},
};

/// Prints steps as they end, and on a terminal the one that runs.
#[derive(Debug)]
pub(crate) struct Steps<'a> {
    cx: &'a Cx,
    bar: Option<ProgressBar>,
    begun: Instant,
}

impl<'a> Steps<'a> {
    pub(crate) fn new(cx: &'a Cx) -> Self {
        let bar = (cx.err.terminal && !cx.global.json).then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template("  {spinner} {msg} {elapsed}");
            bar.set_style(
                style.unwrap_or_else(|_| ProgressStyle::default_spinner()).tick_chars("-\\|/ "),
            );
            bar
        });
        Self { cx, bar, begun: Instant::now() }
    }

    /// A step begins.
    pub(crate) fn begin(&mut self, words: &str) {
        self.begun = Instant::now();
        if let Some(bar) = &self.bar {
            bar.reset_elapsed();
            bar.set_message(self.cx.err.text(words));
            bar.enable_steady_tick(Duration::from_millis(300));
        }
    }

    /// A step ended: its line stays.
    pub(crate) fn end(&mut self, mark: Mark, name: &str, words: &str, took: Option<Duration>) {
        if self.cx.global.json {
            return;
        }
        let style = &self.cx.err;
        let time = took.map(|took| format!("{:.1} s", took.as_secs_f64())).unwrap_or_default();
        let room = style.width.min(78).saturating_sub(2 + 2 + 11 + 8);
        let line = format!(
            "  {} {} {} {}",
            style.painted_mark(mark),
            out::pad(name, 10),
            out::pad(&style.cut(words, room), room),
            style.paint(Tone::Muted, &time)
        );
        self.line(line.trim_end());
    }

    /// A line of its own.
    pub(crate) fn line(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.println(line),
            // With `--json` standard error has nothing but an error's document.
            None if self.cx.global.json => {}
            None => out::note(line),
        }
    }

    /// Nothing runs any more.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    /// How long the present step runs.
    pub(crate) fn running(&self) -> Duration {
        self.begun.elapsed()
    }
}

impl Drop for Steps<'_> {
    fn drop(&mut self) {
        self.finish();
    }
}
