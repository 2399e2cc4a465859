//! What hooks told while nobody listened: `<dataDir>/run/spool/<milliseconds>-<pid>.json`, taken in order.

use std::{path::PathBuf, time::Instant};

use ao_slots::{Launch, SessionId};
use serde::Deserialize;

use super::handle::{Handle, HookCall};
use crate::decide::RefusalKind;

/// A spooled file is no larger than an event with its envelope; a larger one was not written by `ao hook`.
const LONGEST: u64 = 512 << 10;

#[derive(Deserialize)]
struct Spooled {
    agent: String,
    event: String,
    session: SessionId,
    launch: Launch,
    token: String,
    payload: String,
    #[serde(default)]
    started: Option<u64>,
}

/// Takes what lies in the spool, oldest first. What the journal cannot take yet stays; what cannot be read or
/// is refused is dropped, as if it had come by the socket. None is begun after `until`, and none that is begun is
/// left: it would be told again.
pub(super) async fn drain(handle: &Handle, until: Option<Instant>) {
    let spool = handle.data_dir().join("run").join("spool");
    let listed = tokio::task::spawn_blocking(move || {
        let entries = std::fs::read_dir(&spool).into_iter().flatten().flatten();
        let mut files: Vec<PathBuf> = entries
            .map(|e| e.path())
            .filter(|path| path.extension().is_some_and(|e| e == "json"))
            .collect();
        files.sort();
        files
    });
    for path in listed.await.unwrap_or_default() {
        if until.is_some_and(|until| Instant::now() >= until) {
            return;
        }
        let Some(call) = read(&path).await else {
            tracing::warn!(path = %path.display(), "a spooled hook cannot be read; it is dropped");
            remove(&path).await;
            continue;
        };
        let hooking = handle.clone();
        // On its own, since a plugin may break over what it is told.
        match tokio::spawn(async move { hooking.hook(call).await }).await {
            Ok(Err(refusal)) if refusal.kind == RefusalKind::Unavailable => return,
            Ok(Err(refusal)) => tracing::info!(%refusal, "a spooled hook was refused"),
            Ok(Ok(_)) => {}
            Err(error) => tracing::error!(%error, "a spooled hook broke its plugin; it is dropped"),
        }
        remove(&path).await;
    }
}

async fn read(path: &PathBuf) -> Option<HookCall> {
    let size = tokio::fs::symlink_metadata(path).await.ok().filter(|meta| meta.is_file())?.len();
    if size > LONGEST {
        return None;
    }
    let spooled: Spooled = serde_json::from_slice(&tokio::fs::read(path).await.ok()?).ok()?;
    Some(HookCall {
        agent: spooled.agent,
        event: spooled.event,
        session: spooled.session,
        launch: spooled.launch,
        token: spooled.token,
        payload: spooled.payload.into_bytes(),
        started: spooled.started,
        waits: false,
    })
}

async fn remove(path: &PathBuf) {
    if let Err(error) = tokio::fs::remove_file(path).await {
        tracing::warn!(path = %path.display(), %error, "a spooled hook could not be removed");
    }
}
