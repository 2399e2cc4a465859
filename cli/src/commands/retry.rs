//! `ao retry`.

use serde_json::json;

use super::incident::Named;
use crate::{cx::Cx, fail::Fail};

/// Tell an agent once more of a trouble with its pull request
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
    #[command(flatten)]
    of: Named,
}

impl Cmd {
    pub(crate) async fn run(&self, cx: &Cx) -> Result<u8, Fail> {
        let said = |incident, agent: &str| format!("{agent} is told of {incident} once more");
        self.of.act(cx, "retry", &json!({}), said).await
    }
}
