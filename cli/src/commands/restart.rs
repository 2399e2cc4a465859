//! `ao restart`.

use super::unit;
use crate::{client, cx::Cx, fail::Fail, out, paths};

/// Stop the server and start it again; agents go on
///
/// Where systemd runs it, systemd does that: the server stays its unit's.
///
/// Examples:
///   ao restart                      after an update of ao
///   ao restart --data-dir /srv/ao
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Cmd {}

impl Cmd {
    pub(crate) async fn run(&self, cx: &Cx) -> Result<u8, Fail> {
        let _ = std::fs::remove_file(paths::stopped(&cx.data_dir));
        if !unit::restart(cx).await? {
            super::stop::stop(cx, "restart", false).await?;
            client::start(cx).await?;
        }
        let health: ao_web::view::Health = cx.client().get("/api/health").await?;
        if cx.global.json {
            out::json(&health);
        } else {
            out::say(&format!("ao {} serves (process {})", health.version, health.pid));
        }
        Ok(0)
    }
}
