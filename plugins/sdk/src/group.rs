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

use crate::git::Held;

/// How long a call that changes a repository may go on to end by itself. A signal that comes while git makes a lock
/// file ends it before it knows of the file, and the file then stops every later command, the human's too.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long a process may take after SIGTERM.
const GRACE: Duration = Duration::from_millis(500);
const POLL: Duration = Duration::from_millis(5);

/// A running process group. Dropped, it is ended.
#[derive(Debug)]
pub struct Group {
    child: Option<Child>,
    id: Pid,
    // Whoever drops a call lets go of the repository only when its processes have ended.
    lock: Option<Arc<Held>>,
}

impl Group {
    /// Starts the command as the leader of a new group.
    pub fn spawn(command: &mut Command, lock: Option<Arc<Held>>) -> io::Result<Self> {
        let child = command.process_group(0).kill_on_drop(true).spawn()?;
        let id = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
        Ok(Self { child: Some(child), id: id.ok_or(io::ErrorKind::NotFound)?, lock })
    }

    /// The leader, to take its pipes.
    pub fn leader(&mut self) -> Option<&mut Child> {
        self.child.as_mut()
    }

    /// Waits for the leader, then ends what it left running. Cancel safe.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        let child = self.child.as_mut().ok_or(io::ErrorKind::NotFound)?;
        let status = child.wait().await?;
        kill(self.id).await;
        // Not before: a wait that is begun anew asks it again.
        self.child = None;
        Ok(status)
    }

    /// Ends the group and waits until it is gone.
    pub async fn stop(mut self) {
        if let Some(child) = self.child.take() {
            end(child, Left(Some(self.id)), self.lock.take()).await;
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let Some(child) = self.child.take() else { return };
        match Handle::try_current() {
            Ok(runtime) => {
                runtime.spawn(end(child, Left(Some(self.id)), self.lock.take()));
            }
            Err(_) => send(self.id, Signal::SIGKILL),
        }
    }
}

/// A group that is being ended. Dropped, as by a runtime that shuts down, it is killed.
struct Left(Option<Pid>);

impl Drop for Left {
    fn drop(&mut self) {
        if let Some(id) = self.0 {
            send(id, Signal::SIGKILL);
        }
    }
}

async fn end(child: Child, mut left: Left, lock: Option<Arc<Held>>) {
    if let Some(id) = left.0 {
        end_group(child, id, lock).await;
    }
    left.0 = None;
}

async fn end_group(mut child: Child, id: Pid, lock: Option<Arc<Held>>) {
    if lock.is_some() && timeout(PATIENCE, child.wait()).await.is_ok() {
        return kill(id).await;
    }
    send(id, Signal::SIGTERM);
    // Also what the leader started gets the time: a git within git has lock files of its own.
    let gone = async {
        let _reaped = child.wait().await;
        while killpg(id, None).is_ok() {
            sleep(POLL).await;
        }
    };
    if timeout(GRACE, gone).await.is_err() {
        send(id, Signal::SIGKILL);
        let _reaped = child.wait().await;
        kill(id).await;
    }
    drop(lock);
}

/// Kills what is left of a group and sees it go. Bounded, since nobody may be there to reap.
async fn kill(group: Pid) {
    for _ in 0..100 {
        if killpg(group, Signal::SIGKILL).is_err() {
            return;
        }
        sleep(POLL).await;
    }
}

/// A group that is gone already is no error.
fn send(group: Pid, signal: Signal) {
    let _gone = killpg(group, signal);
}

#[cfg(test)]
mod tests {
    use std::{fs::File, io::Read, process::Stdio};

    use super::*;

    #[tokio::test]
    async fn a_wait_that_is_cut_off_anywhere_is_begun_anew() {
        // What it leaves running takes a moment to go.
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 86464.5 & exit 7"]);
        let mut group = Group::spawn(&mut command, None).unwrap();
        let status = loop {
            match timeout(Duration::ZERO, group.wait()).await {
                Ok(status) => break status,
                Err(_) => sleep(Duration::from_millis(1)).await,
            }
        };
        assert_eq!(status.unwrap().code(), Some(7));
    }

    #[test]
    fn a_runtime_that_shuts_down_leaves_no_group() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let out = runtime.block_on(async {
            let mut command = Command::new("sh");
            command.args(["-c", "sleep 86464.75 & echo; wait"]).stdout(Stdio::piped());
            let mut group = Group::spawn(&mut command, None).unwrap();
            let out = group.leader().unwrap().stdout.take().unwrap().into_owned_fd().unwrap();
            tokio::spawn(async move {
                let _group = group;
                std::future::pending::<()>().await;
            });
            tokio::task::yield_now().await;
            out
        });
        let mut out = File::from(out);
        out.read_exact(&mut [0]).unwrap();
        drop(runtime);
        // The pipe ends with the last process that has it.
        assert_eq!(out.read(&mut [0]).unwrap(), 0);
    }
}
