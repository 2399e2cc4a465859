//! `ao status`.

use ao_web::view::StatusDoc;
use jiff::tz::TimeZone;

use crate::{cx::Cx, fail::Fail, out, render};

/// Show what needs you, what works, what is finished
///
/// Examples:
///   ao status
///   ao status --watch
///   ao status --short          ▲2 ◆1 ●4, for a prompt
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Cmd {
    /// Stay and redraw as things change
    #[arg(long, short, conflicts_with_all = ["short", "json"])]
    watch: bool,
    /// Print counts only
    #[arg(long, short)]
    short: bool,
    /// Also sessions that ended long ago
    #[arg(long, short)]
    all: bool,
}

impl Cmd {
    pub(crate) async fn run(&self, cx: &Cx) -> Result<u8, Fail> {
        let client = cx.client();
        if !self.short {
            super::register(cx, client, None).await?;
        }
        if self.watch {
            return crate::watch::run(cx, client).await;
        }
        let doc: StatusDoc =
            client.get(if self.all { "/api/status?all=1" } else { "/api/status" }).await?;
        if cx.global.json {
            out::json(&doc);
        } else if self.short {
            out::say(&render::status::short(&doc, &cx.style));
        } else {
            out::say(&render::status::screen(&doc, &cx.style, &TimeZone::system()));
            newer(cx, &doc);
        }
        Ok(0)
    }
}

/// A program that was updated beside a running server says so.
fn newer(cx: &Cx, doc: &StatusDoc) {
    if doc.version != crate::VERSION {
        cx.hint(&format!(
            "The server is ao {}, this program {}. Agents stay: ao restart",
            doc.version,
            crate::VERSION
        ));
    }
}
