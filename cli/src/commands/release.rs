//! `ao release`.

use ao_core::slots::{IncidentId, notifier::Mark};
use ao_web::view::Taken;

use crate::{cx::Cx, fail::Fail, out};

/// Let comments of people who may not write to the repository go to the agent
///
/// What they say is not trusted: read it first (ao pr show).
///
/// Examples:
///   ao release i-142
///
/// Exit code 5: nothing of it waits for a release.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Cmd {
    /// The incident, e.g. i-142
    incident: IncidentId,
}

impl Cmd {
    pub(crate) async fn run(&self, cx: &Cx) -> Result<u8, Fail> {
        let path = format!("/api/incidents/{}/release", self.incident);
        let taken: Taken = cx.client().act(&path, &serde_json::json!({})).await?;
        if cx.global.json {
            out::json(&taken);
            return Ok(0);
        }
        let to = taken.session.map_or("the agent".to_owned(), |session| session.to_string());
        let mark = cx.style.painted_mark(Mark::Settled);
        out::say(&format!("{mark} {to} gets the comments of {}", self.incident));
        Ok(0)
    }
}
