//! `ao ack`.

use ao_core::slots::{IncidentId, notifier::Mark};
use ao_web::view::Taken;

use crate::{cx::Cx, fail::Fail, out};

/// Say that you saw an incident and take it; nobody else is called for it
///
/// Examples:
///   ao ack i-142
///
/// Exit codes: 4 there is no such incident, 5 it is settled.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Cmd {
    /// The incident, e.g. i-142
    incident: IncidentId,
}

impl Cmd {
    pub(crate) async fn run(&self, cx: &Cx) -> Result<u8, Fail> {
        let taken: Taken = cx
            .client()
            .act(&format!("/api/incidents/{}/ack", self.incident), &serde_json::json!({}))
            .await?;
        if cx.global.json {
            out::json(&taken);
        } else {
            out::say(&format!(
                "{} {} is yours",
                cx.style.painted_mark(Mark::Settled),
                self.incident
            ));
        }
        Ok(0)
    }
}
