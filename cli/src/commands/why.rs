//! `ao why`.

use ao_core::why::About;
use ao_web::view::WhyDoc;
use jiff::{Timestamp, tz::TimeZone};

use crate::{cx::Cx, fail::Fail, out, render};

/// Explain a session, an incident or a message by what happened
///
/// Examples:
///   ao why app-3
///   ao why i-142
///   ao why n-12
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Cmd {
    /// A session, incident or message
    #[arg(value_parser = |text: &str| text.parse::<About>().map_err(|_| "neither a session, an incident (i-142) nor a message (n-12)"))]
    subject: About,
}

impl Cmd {
    pub(crate) async fn run(&self, cx: &Cx) -> Result<u8, Fail> {
        let doc: WhyDoc = cx.client().get(&format!("/api/why/{}", self.subject)).await?;
        if cx.global.json {
            out::json(&doc);
        } else {
            out::say(&render::why::screen(&doc, &cx.style, &TimeZone::system(), Timestamp::now()));
        }
        Ok(0)
    }
}
