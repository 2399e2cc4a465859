//! `ao stop`.

use std::time::{Duration, Instant};

use crate::{
    cx::Cx,
    fail::{Exit, Fail},
    out, paths,
};

/// Stop the server; agents go on
///
/// Nothing starts it by itself until the next command that needs it: what running agents have
/// to say is kept.
///
/// Examples:
///   ao stop
///   ao stop && ao start
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Cmd {}

impl Cmd {
    pub(crate) async fn run(&self, cx: &Cx) -> Result<u8, Fail> {
        let ran = stop(cx, "stop", true).await?;
        if cx.global.json {
            out::json(&serde_json::json!({ "schema": "ao.stop/1", "ran": ran }));
        } else if ran {
            out::say("ao is stopped; agents go on");
            cx.hint("Nobody calls you until it runs again: ao start");
        } else {
            out::say("ao does not run; nothing to stop");
        }
        Ok(0)
    }
}

/// Ends the server; false when none runs. With `rest` hooks do not start it again.
pub(crate) async fn stop(cx: &Cx, reason: &str, rest: bool) -> Result<bool, Fail> {
    let client = cx.client().that_runs();
    if !client.is_up().await {
        return Ok(false);
    }
    let health: ao_web::view::Health =
        client.post("/api/server/stop", &serde_json::json!({ "reason": reason })).await?;
    // Not before the server agreed: no agent takes away what wakes it.
    if rest {
        std::fs::write(paths::stopped(&cx.data_dir), "")?;
    }
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
