//! `ao approve`.

use ao_core::slots::SessionId;

use super::parse_session;
use crate::{cx::Cx, fail::Fail};

/// Approve, this once, what an agent asked for
///
/// Exit codes: 5 it asks nothing any more, 10 sent but not confirmed by the agent.
#[derive(Debug, clap::Args)]
pub(crate) struct Cmd {
    /// The session
    #[arg(value_parser = parse_session)]
    session: SessionId,
}

impl Cmd {
    pub(crate) async fn run(&self, cx: &Cx) -> Result<u8, Fail> {
        super::answer::decide(cx, &self.session, "approve", serde_json::json!({}), |id| {
            format!("{id}: approved once")
        })
        .await
    }
}
