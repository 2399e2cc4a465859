//! `ao deny`.

use ao_core::slots::{RequestId, SessionId};

use super::{
    answer::{decide, meant, no_ellipsis, wish},
    parse_session,
};
use crate::{cx::Cx, fail::Fail};

/// Deny what an agent asked for
///
/// Examples:
///   ao deny app-3 r-7 --reason "Use the staging registry"
///   ao deny app-3                   the only one that waits
///
/// Exit codes: 5 it asks nothing any more, 10 sent but not confirmed by the agent.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Cmd {
    /// The session
    #[arg(value_parser = parse_session)]
    session: SessionId,
    /// Which request; none = the only one that waits
    request: Option<RequestId>,
    /// Told to the agent
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

impl Cmd {
    pub(crate) async fn run(&self, cx: &Cx) -> Result<u8, Fail> {
        no_ellipsis(self.reason.as_deref().unwrap_or_default())?;
        let session = &self.session;
        let (request, shown) = meant(cx, session, self.request, |_| true).await?;
        let body = serde_json::json!({ "reason": self.reason, "request": request });
        decide(cx, session, "deny", body, |request| {
            let what = request.or(shown.as_ref()).map(wish).unwrap_or_default();
            format!("Denied for {session}: {what}")
        })
        .await
    }
}
