//! `ao review-check`.

use ao_core::slots::ProjectId;
use ao_web::prs::{CheckBody, ReviewCheckDoc};

use crate::{
    cx::Cx,
    fail::{Exit, Fail},
    out, render,
};

/// Look at all pull requests now, and do what follows
///
/// Exits with 9 where an scm did not answer for one of them.
///
/// Examples:
///   ao review-check
///   ao review-check my-app --dry-run    only look: what would be sent
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Cmd {
    /// Print only the sessions of this project
    project: Option<ProjectId>,
    /// Only look; send and do nothing
    #[arg(long, help_heading = "Safety")]
    dry_run: bool,
}

impl Cmd {
    pub(crate) async fn run(&self, cx: &Cx) -> Result<u8, Fail> {
        let body = CheckBody { project: self.project.clone(), dry_run: self.dry_run };
        let doc: ReviewCheckDoc = cx.client().post("/api/review-check", &body).await?;
        match cx.global.json {
            true => out::json(&doc),
            false => out::say(&render::pr::review_check(&doc, &cx.style)),
        }
        let known = doc.sessions.iter().all(|looked| looked.unknown.is_none());
        Ok(if known { 0 } else { Exit::Partly as u8 })
    }
}
