//! `ao stop`.

use std::time::{Duration, Instant};

use crate::{
    cx::Cx,
    fail::{Exit, Fail},
    out,
};

/// Stop the server; agents go on
///
/// Nothing starts it by itself until the next command that needs it: hooks of running agents keep what they
/// have to say.
#[derive(Debug, clap::Args)]
pub(crate) struct Cmd {}

impl Cmd {
    pub(crate) async fn run(&self, cx: &Cx) -> Result<u8, Fail> {
        if !stop(cx, "stop", true).await? {
            out::say("ao does not run; nothing to stop");
            return Ok(0);
        }
        out::say("ao is stopped; agents go on");
        cx.hint("Nobody calls you until it runs again: ao start");
        Ok(0)
    }
}

/// Ends the server; false when none runs. With `rest` hooks do not start it again.
pub(crate) async fn stop(cx: &Cx, reason: &str, rest: bool) -> Result<bool, Fail> {
    let client = cx.client();
    if !client.is_up().await {
        return Ok(false);
    }
    if rest {
        std::fs::write(cx.data_dir.join("run/stopped"), "")?;
    }
    let health: ao_web::view::Health =
        client.post("/api/server/stop", &serde_json::json!({ "reason": reason })).await?;
    let until = Instant::now() + Duration::from_secs(15);
    let process = i32::try_from(health.pid).ok().and_then(ao_core::slots::process::ProcessId::of);
    while Instant::now() < until {
        if !client.is_up().await && process.is_none_or(|process| !process.is_alive()) {
            return Ok(true);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Err(Fail::new(
        Exit::Failed,
        format!("the server (process {}) did not end within 15 s", health.pid),
    )
    .remedy(format!("kill {}   (agents go on, nothing is lost)", health.pid)))
}
