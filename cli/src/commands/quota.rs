//! `ao quota`.

use ao_web::prs::QuotaDoc;
use jiff::{Timestamp, tz::TimeZone};

use crate::{cx::Cx, fail::Fail, out, render};

/// Show how many requests GitHub and others still take from ao, and until when
///
/// Examples:
///   ao quota
///   ao quota --json
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Cmd {}

impl Cmd {
    pub(crate) async fn run(&self, cx: &Cx) -> Result<u8, Fail> {
        let doc: QuotaDoc = cx.client().get("/api/quota").await?;
        let now = Timestamp::now();
        match cx.global.json {
            true => out::json(&doc),
            false => out::say(&render::pr::quota(&doc, &cx.style, &TimeZone::system(), now)),
        }
        Ok(0)
    }
}
