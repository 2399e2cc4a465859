//! `ao restart`.

use crate::{client, cx::Cx, fail::Fail, out};

/// Stop the server and start it again; agents go on
#[derive(Debug, clap::Args)]
pub(crate) struct Cmd {}

impl Cmd {
    pub(crate) async fn run(&self, cx: &Cx) -> Result<u8, Fail> {
        super::stop::stop(cx, "restart", false).await?;
        let _ = std::fs::remove_file(cx.data_dir.join("run/stopped"));
        client::start(cx).await?;
        let health: ao_web::view::Health = cx.client().get("/api/health").await?;
        out::say(&format!("ao {} serves (process {})", health.version, health.pid));
        Ok(0)
    }
}
