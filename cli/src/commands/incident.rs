//! What the commands about one incident share.

use ao_core::slots::{IncidentId, notifier::Mark};
use ao_web::view::Taken;
use serde::Serialize;

use crate::{cx::Cx, fail::Fail, out};

#[derive(Debug, clap::Args)]
pub(crate) struct Named {
    /// The incident, e.g. i-142
    pub(crate) incident: IncidentId,
}

impl Named {
    /// Has the server do it. What came of it is `said` of the incident and of whose it is.
    pub(crate) async fn act(
        &self,
        cx: &Cx,
        verb: &str,
        body: &impl Serialize,
        said: impl FnOnce(IncidentId, &str) -> String,
    ) -> Result<u8, Fail> {
        let path = format!("/api/incidents/{}/{verb}", self.incident);
        let taken: Taken = cx.client().act(&path, body).await?;
        if cx.global.json {
            out::json(&taken);
        } else {
            let whose = taken.session.as_ref().map_or("the agent", |session| session.as_str());
            let mark = cx.style.painted_mark(Mark::Settled);
            out::say(&format!("{mark} {}", said(self.incident, whose)));
        }
        Ok(0)
    }
}
