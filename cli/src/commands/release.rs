//! `ao release`.

use ao_core::slots::text::{one_line, plain};
use ao_web::prs::{HeldDoc, ReleaseBody};

use super::incident::Named;
use crate::{
    cx::Cx,
    fail::{Exit, Fail},
    out,
};

/// Let comments of people who may not write to the repository go to the agent
///
/// Shows them, and asks: what they say is not trusted. --yes passes them on unasked.
///
/// Examples:
///   ao release i-142
///
/// Exit codes: 5 nothing of it waits for a release, or more was written since; 8 not confirmed.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Cmd {
    #[command(flatten)]
    of: Named,
}

impl Cmd {
    pub(crate) async fn run(&self, cx: &Cx) -> Result<u8, Fail> {
        let path = format!("/api/incidents/{}/release", self.of.incident);
        let held: HeldDoc = cx.client().get(&path).await?;
        self.confirm(cx, &held)?;
        let said = |incident, agent: &str| format!("{agent} gets the comments of {incident}");
        self.of.act(cx, "release", &ReleaseBody { digest: held.digest }, said).await
    }

    /// Shows what would be passed on, and asks whether it may be.
    fn confirm(&self, cx: &Cx, held: &HeldDoc) -> Result<(), Fail> {
        if !cx.global.json {
            out::say(&plain(&held.text));
        }
        if cx.global.yes {
            return Ok(());
        }
        let (id, session, by) = (self.of.incident, &held.session, one_line(&held.by.join(", ")));
        if !cx.asks() {
            let what = format!("{id} waits for you: {by} may not write to the repository");
            let remedy = format!("ao release {id} --yes");
            return Err(Fail::new(Exit::NotConfirmed, what).remedy(remedy));
        }
        match cx.ask(&format!("Pass what {by} wrote to {session}?"), false, "--yes")? {
            true => Ok(()),
            false => Err(Fail::new(Exit::NotConfirmed, format!("{id} was not released"))),
        }
    }
}
