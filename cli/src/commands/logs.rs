//! `ao logs`.

use ao_core::slots::SessionId;
use ao_web::view::Lines;
use jiff::{Timestamp, tz::TimeZone};

use super::parse_session;
use crate::{client::last_lines, cx::Cx, fail::Fail, out};

/// Print the last lines of a session's screen, of its set-up, or of the server
///
/// Examples:
///   ao logs app-3 --lines 200
///   ao logs app-4 --step postCreate
///   ao logs --utc                   of the server
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Cmd {
    /// The session; none = the server
    #[arg(value_parser = parse_session)]
    session: Option<SessionId>,
    /// A step of the set-up: postCreate
    #[arg(long, value_name = "STEP", requires = "session")]
    step: Option<String>,
    /// How many lines
    #[arg(long, short = 'n', default_value_t = 50)]
    lines: u32,
    /// Times of the server's log as UTC
    #[arg(long, conflicts_with = "session", help_heading = "Output")]
    utc: bool,
}

impl Cmd {
    pub(crate) async fn run(&self, cx: &Cx) -> Result<u8, Fail> {
        let Some(id) = &self.session else {
            let lines = last_lines(
                &cx.data_dir.join("logs/server.log"),
                usize::try_from(self.lines).unwrap_or(50),
            );
            let zone = if self.utc { TimeZone::UTC } else { TimeZone::system() };
            let lines: Vec<String> = lines.iter().map(|line| timed(line, &zone)).collect();
            out::say(&lines.join("\n"));
            return Ok(0);
        };
        let step = self.step.as_ref().map(|step| format!("&step={step}")).unwrap_or_default();
        let doc: Lines =
            cx.client().get(&format!("/api/sessions/{id}/logs?lines={}{step}", self.lines)).await?;
        if cx.global.json {
            out::json(&doc);
            return Ok(0);
        }
        if doc.omitted > 0 {
            cx.hint(&format!(
                "{} before these",
                ao_core::slots::text::count(doc.omitted, "line", "lines")
            ));
        }
        out::say(&doc.lines.join("\n"));
        Ok(0)
    }
}

/// A line of the server's log with its time in this zone; one that begins with none stays as it is.
fn timed(line: &str, zone: &TimeZone) -> String {
    let parsed = line
        .split_once(' ')
        .and_then(|(time, words)| Some((time.parse::<Timestamp>().ok()?, words)));
    match parsed {
        Some((at, words)) => {
            let at = at.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S");
            format!("{at} {words}")
        }
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_log_tells_the_readers_time() {
        let line = "2026-11-21T18:13:46.644469Z  INFO serving version=\"0.1.0\"";
        let told = |zone: &TimeZone| timed(line, zone);
        let east = TimeZone::fixed(jiff::tz::offset(2));
        assert_eq!(told(&east), "2026-11-21 20:13:46  INFO serving version=\"0.1.0\"");
        assert!(told(&TimeZone::UTC).starts_with("2026-11-21 18:13:46 "));
        assert_eq!(timed("  it goes on", &east), "  it goes on");
    }
}
