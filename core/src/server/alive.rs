//! The last sign of life, `run/alive`: so that a server that was killed in an hour in which nothing happened is
//! not said to have been away for that hour.

use std::{io, path::Path, time::Duration};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

use super::handle::Handle;
use crate::{
    decide::Input,
    disk::{self, Disk, Open},
};

/// How often a sign is given: what is told of an absence is right to so much.
const EVERY: SignedDuration = SignedDuration::from_secs(10);

/// Gives signs until the server ends.
pub(super) async fn run(handle: Handle, mut stopped: watch::Receiver<bool>) {
    let mut last: Option<Timestamp> = None;
    loop {
        // A loop that hangs does not serve; that its journal fails is no matter here.
        let _ = handle.submit(Input::Tick).await;
        let now = handle.now().wall;
        if last.is_none_or(|last| now.duration_since(last).abs() >= EVERY) {
            last = Some(now);
            let shell = handle.shell.clone();
            let root = handle.data_dir().to_owned();
            let signed = tokio::task::spawn_blocking(move || sign(shell.disk(), &root, now)).await;
            // Without it the last event tells.
            if let Ok(Err(error)) = signed {
                tracing::debug!(%error, "the sign of life could not be written");
            }
        }
        let every = handle.state().policy.lifecycle.sweep_interval_ms.clamp(100, 10_000);
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(every)) => {}
            // Cancel safe: only looks.
            _ = stopped.changed() => return,
        }
    }
}

/// Not synced: what a loss of power takes, the last event replaces. Of one length, so that it is never torn.
fn sign(disk: &dyn Disk, root: &Path, now: Timestamp) -> io::Result<()> {
    let path = root.join("run/alive");
    let file = match disk.open(&path, Open::Write) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            disk.create_dir(disk::parent(&path))?;
            disk.open(&path, Open::Create)?
        }
        file => file?,
    };
    file.write_at(0, now.strftime("%Y-%m-%dT%H:%M:%SZ\n").to_string().as_bytes())
}

/// When the last server lived for certain, as far as it has said so.
pub(super) fn last(disk: &dyn Disk, root: &Path) -> Option<Timestamp> {
    let bytes = disk::read(disk, &root.join("run/alive")).ok()?;
    std::str::from_utf8(&bytes).ok()?.trim().parse().ok()
}
