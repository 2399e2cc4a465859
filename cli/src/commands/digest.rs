//! `ao digest`.

use ao_core::slots::notifier::Mark;
use ao_web::view::Taken;

use crate::{cx::Cx, fail::Fail, out};

/// The roll-up of what is not urgent
///
/// Examples:
///   ao digest now
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Cmd {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Send the digest now; what comes up from here on goes into the next
    ///
    /// Examples:
    ///   ao digest now
    #[command(verbatim_doc_comment)]
    Now,
}

impl Cmd {
    pub(crate) async fn run(&self, cx: &Cx) -> Result<u8, Fail> {
        let What::Now = self.what;
        let taken: Taken = cx.client().act("/api/digest", &serde_json::json!({})).await?;
        if cx.global.json {
            out::json(&taken);
            return Ok(0);
        }
        let words = taken.note.as_deref().unwrap_or("the digest is on its way: ao notify log");
        out::say(&format!("{} {}", cx.style.painted_mark(Mark::Settled), cx.style.text(words)));
        Ok(0)
    }
}
