//! Child processes that lead a process group of their own and end together with it.

use std::{io, process::ExitStatus, sync::Arc, time::Duration};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{
    process::{Child, Command},
    runtime::Handle,
    time::{sleep, timeout},
};

use crate::lock::Held;

/// How long a process may take to remove its lock files after SIGTERM.
const GRACE: Duration = Duration::from_millis(500);

/// A running process group. Dropped, it gets SIGTERM, and SIGKILL after a grace.
#[derive(Debug)]
pub(crate) struct Group {
    child: Option<Child>,
    id: Pid,
    // Whoever drops a call lets go of the repository only when its processes have ended.
    lock: Option<Arc<Held>>,
}

impl Group {
    /// Starts the command as the leader of a new group.
    pub(crate) fn spawn(command: &mut Command, lock: Option<Arc<Held>>) -> io::Result<Self> {
        let child = command.process_group(0).kill_on_drop(true).spawn()?;
        let id = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
        Ok(Self { child: Some(child), id: id.ok_or(io::ErrorKind::NotFound)?, lock })
    }

    /// The leader, to take its pipes.
    pub(crate) fn leader(&mut self) -> Option<&mut Child> {
        self.child.as_mut()
    }

    /// Waits for the leader, then ends what it left running. Cancel safe.
    pub(crate) async fn wait(&mut self) -> io::Result<ExitStatus> {
        let child = self.child.as_mut().ok_or(io::ErrorKind::NotFound)?;
        let status = child.wait().await?;
        self.child = None;
        kill(self.id).await;
        Ok(status)
    }

    /// Ends the group and waits for its leader.
    pub(crate) async fn stop(mut self) {
        if let Some(child) = self.child.take() {
            end(child, self.id).await;
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let Some(child) = self.child.take() else { return };
        match Handle::try_current() {
            // Killed at once, git would leave its lock files to stop the human's next command.
            Ok(runtime) => {
                send(self.id, Signal::SIGTERM);
                let (id, lock) = (self.id, self.lock.take());
                runtime.spawn(async move {
                    end(child, id).await;
                    drop(lock);
                });
            }
            Err(_) => send(self.id, Signal::SIGKILL),
        }
    }
}

async fn end(mut child: Child, id: Pid) {
    send(id, Signal::SIGTERM);
    let _ended = timeout(GRACE, child.wait()).await;
    send(id, Signal::SIGKILL);
    let _reaped = child.wait().await;
    kill(id).await;
}

/// Kills what is left of a group and sees it go. Bounded, since nobody may be there to reap.
async fn kill(group: Pid) {
    for _ in 0..100 {
        if killpg(group, Signal::SIGKILL).is_err() {
            return;
        }
        sleep(Duration::from_millis(5)).await;
    }
}

/// A group that is gone already is no error.
fn send(group: Pid, signal: Signal) {
    let _gone = killpg(group, signal);
}
