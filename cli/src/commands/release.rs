//! `ao release`.

use serde_json::json;

use super::incident::Named;
use crate::{cx::Cx, fail::Fail};

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
    #[command(flatten)]
    of: Named,
}

impl Cmd {
    pub(crate) async fn run(&self, cx: &Cx) -> Result<u8, Fail> {
        let said = |incident, agent: &str| format!("{agent} gets the comments of {incident}");
        self.of.act(cx, "release", &json!({}), said).await
    }
}
