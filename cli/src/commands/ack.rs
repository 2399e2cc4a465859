//! `ao ack`.

use serde_json::json;

use super::incident::Named;
use crate::{cx::Cx, fail::Fail};

/// Say that you saw an incident and take it; nobody else is called for it
///
/// Examples:
///   ao ack i-142
///
/// Exit codes: 4 there is no such incident, 5 it is settled.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Cmd {
    #[command(flatten)]
    of: Named,
}

impl Cmd {
    pub(crate) async fn run(&self, cx: &Cx) -> Result<u8, Fail> {
        self.of.act(cx, "ack", &json!({}), |incident, _| format!("{incident} is yours")).await
    }
}
