//! `ao deny`.

use ao_core::slots::SessionId;

use super::{answer::no_ellipsis, parse_session};
use crate::{cx::Cx, fail::Fail};

/// Deny what an agent asked for
///
/// Example: ao deny app-3 --reason "Use the staging registry"
#[derive(Debug, clap::Args)]
pub(crate) struct Cmd {
    /// The session
    #[arg(value_parser = parse_session)]
    session: SessionId,
    /// Told to the agent
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

impl Cmd {
    pub(crate) async fn run(&self, cx: &Cx) -> Result<u8, Fail> {
        no_ellipsis(self.reason.as_deref().unwrap_or_default())?;
        let body = serde_json::json!({ "reason": self.reason });
        super::answer::decide(cx, &self.session, "deny", body, |id| format!("{id}: denied")).await
    }
}
