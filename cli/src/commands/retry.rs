//! `ao retry`.

use ao_core::slots::{IncidentId, notifier::Mark};
use ao_web::view::Taken;

use crate::{cx::Cx, fail::Fail, out};

/// Have an agent told of a trouble with its pull request once more
///
/// Failing checks, comments or conflicts that it was told of and did not settle.
/// You hear of it again if that does not help either.
///
/// Examples:
///   ao retry i-142
///
/// Exit code 5: nothing of it can be sent once more (it is settled, held back, or its checks run).
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Cmd {
    /// The incident, e.g. i-142
    incident: IncidentId,
}

impl Cmd {
    pub(crate) async fn run(&self, cx: &Cx) -> Result<u8, Fail> {
        let path = format!("/api/incidents/{}/retry", self.incident);
        let taken: Taken = cx.client().act(&path, &serde_json::json!({})).await?;
        if cx.global.json {
            out::json(&taken);
            return Ok(0);
        }
        let who = taken.session.map_or("the agent".to_owned(), |session| session.to_string());
        let mark = cx.style.painted_mark(Mark::Settled);
        out::say(&format!("{mark} {who} is told of {} once more", self.incident));
        Ok(0)
    }
}
