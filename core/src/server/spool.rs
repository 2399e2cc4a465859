//! What agents told while nobody listened: `<dataDir>/run/spool/<milliseconds>-<pid>.json`, taken in order.

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use ao_slots::{Launch, SessionId};
use serde::Deserialize;

use super::handle::{Handle, HookCall, ReportCall};
use crate::decide::{Refusal, RefusalKind};

/// A spooled file is no larger than what is told with its envelope; a larger one was not written by `ao`.
const LONGEST: u64 = 512 << 10;

#[derive(Deserialize)]
struct Spooled {
    session: SessionId,
    launch: Launch,
    token: String,
    #[serde(flatten)]
    told: Told,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Told {
    Hook {
        agent: String,
        event: String,
        payload: String,
        #[serde(default)]
        started: Option<u64>,
    },
    Report {
        report: ReportCall,
    },
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
            // One that begins with a dot is being written.
            .filter(|path| path.extension().is_some_and(|e| e == "json") && !is_hidden(path))
            .collect();
        files.sort();
        files
    });
    for path in listed.await.unwrap_or_default() {
        if until.is_some_and(|until| Instant::now() >= until) {
            return;
        }
        let Some(spooled) = read(&path).await else {
            tracing::warn!(path = %path.display(), "what was spooled cannot be read; it is dropped");
            remove(&path).await;
            continue;
        };
        let handle = handle.clone();
        // On its own, since a plugin may break over what it is told.
        match tokio::spawn(async move { spooled.tell(&handle).await }).await {
            Ok(Err(refusal)) if refusal.kind == RefusalKind::Unavailable => return,
            Ok(Err(refusal)) => tracing::info!(%refusal, "what was spooled was refused"),
            Ok(Ok(())) => {}
            Err(error) => tracing::error!(%error, "a spooled hook broke its plugin; it is dropped"),
        }
        remove(&path).await;
    }
}

impl Spooled {
    async fn tell(self, handle: &Handle) -> Result<(), Refusal> {
        let Self { session, launch, token, told } = self;
        match told {
            Told::Hook { agent, event, payload, started } => {
                let payload = payload.into_bytes();
                let waits = false;
                let call =
                    HookCall { agent, event, session, launch, token, payload, started, waits };
                handle.hook(call).await.map(drop)
            }
            Told::Report { report } => {
                handle.report(session, launch, &token, report).await.map(drop)
            }
        }
    }
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

async fn read(path: &PathBuf) -> Option<Spooled> {
    let size = tokio::fs::symlink_metadata(path).await.ok().filter(|meta| meta.is_file())?.len();
    if size > LONGEST {
        return None;
    }
    serde_json::from_slice(&tokio::fs::read(path).await.ok()?).ok()
}

async fn remove(path: &PathBuf) {
    if let Err(error) = tokio::fs::remove_file(path).await {
        tracing::warn!(path = %path.display(), %error, "a spooled file could not be removed");
    }
}
