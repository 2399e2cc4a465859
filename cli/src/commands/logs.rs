//! `ao logs`.

use ao_core::slots::SessionId;
use ao_web::view::Lines;

use super::parse_session;
use crate::{client::last_lines, cx::Cx, fail::Fail, out};

/// Print the last lines of a session's screen, of its set-up, or of the server
///
/// Examples: ao logs app-3 --lines 200, ao logs app-4 --step postCreate, ao logs
#[derive(Debug, clap::Args)]
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
}

impl Cmd {
    pub(crate) async fn run(&self, cx: &Cx) -> Result<u8, Fail> {
        let Some(id) = &self.session else {
            let lines = last_lines(
                &cx.data_dir.join("logs/server.log"),
                usize::try_from(self.lines).unwrap_or(50),
            );
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
