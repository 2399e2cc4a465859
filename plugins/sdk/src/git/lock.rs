//! One change at a time in each repository, among all sessions and all servers.

use std::{
    collections::HashMap,
    fs::{File, OpenOptions, TryLockError},
    io::{Read, Seek, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use ao_slots::PluginError;
use nix::fcntl::OFlag;
use tokio::{
    sync::OwnedMutexGuard,
    time::{Instant, sleep, timeout_at},
};

/// The lock file in a repository's common folder. It also keeps the size of the last worktree, in bytes.
const FILE: &str = "ao-worktree.lock";
/// How often another server's lock is looked at.
const POLL: Duration = Duration::from_millis(50);

/// The locks of all repositories.
#[derive(Debug, Default)]
pub struct Locks(Mutex<HashMap<PathBuf, Arc<RepoLock>>>);

/// What calls into one repository share.
#[derive(Debug, Default)]
pub struct RepoLock {
    change: Arc<tokio::sync::Mutex<()>>,
    /// When the last fetch that succeeded began.
    pub fetched: tokio::sync::Mutex<Option<Instant>>,
}

/// The right to change a repository.
#[derive(Debug)]
pub struct Held {
    // Waiters of this process queue here in order; the file is for other processes.
    _queue: OwnedMutexGuard<()>,
    file: File,
}

impl Locks {
    /// What is shared for the repository with this common folder.
    pub fn of(&self, common: &Path) -> Arc<RepoLock> {
        let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        locks.entry(common.to_owned()).or_default().clone()
    }

    /// Waits until nobody else changes the repository.
    pub async fn hold(&self, common: &Path, until: Instant) -> Result<Arc<Held>, PluginError> {
        let busy = |cause: &str| {
            PluginError::transient(format!("the repository {} is busy", common.display()), cause)
        };
        let queue = timeout_at(until, self.of(common).change.clone().lock_owned())
            .await
            .map_err(|_| busy("other workspaces of it are being made or removed"))?;
        let file = open(&common.join(FILE)).map_err(|cause| {
            PluginError::permanent(format!("cannot lock {}", common.display()), cause)
        })?;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Arc::new(Held { _queue: queue, file })),
                Err(TryLockError::WouldBlock) if Instant::now() < until => sleep(POLL).await,
                Err(TryLockError::WouldBlock) => return Err(busy("another server works in it")),
                Err(TryLockError::Error(cause)) => {
                    return Err(PluginError::permanent(
                        format!("cannot lock {}", common.display()),
                        cause,
                    ));
                }
            }
        }
    }
}

fn open(path: &Path) -> std::io::Result<File> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let file = options.custom_flags(flags.bits()).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(std::io::ErrorKind::InvalidInput.into()) }
}

impl Held {
    /// The size of the last worktree that was made here; 0 when none was.
    pub fn last_size(&self) -> u64 {
        let mut text = String::new();
        let mut file = &self.file;
        let read = file.rewind().and_then(|()| file.take(32).read_to_string(&mut text));
        read.ok().and_then(|_| text.trim().parse().ok()).unwrap_or(0)
    }

    /// Keeps it. Only an estimate is lost when that fails.
    pub fn set_last_size(&self, bytes: u64) {
        let mut file = &self.file;
        let _estimate = file
            .rewind()
            .and_then(|()| file.set_len(0))
            .and_then(|()| file.write_all(bytes.to_string().as_bytes()));
    }

    /// The lock as a process's standard input: it stays locked until that process has ended, even when this one
    /// is killed.
    pub(super) fn stdin(&self) -> Stdio {
        self.file.try_clone().map_or_else(|_| Stdio::null(), Stdio::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(200)
    }

    #[tokio::test]
    async fn one_holder_at_a_time_in_and_between_processes() {
        let folder = tempfile::tempdir().unwrap();
        let (locks, other) = (Locks::default(), Locks::default());
        let held = locks.hold(folder.path(), soon()).await.unwrap();
        assert!(locks.hold(folder.path(), soon()).await.unwrap_err().is_transient());
        assert!(other.hold(folder.path(), soon()).await.unwrap_err().is_transient());
        held.set_last_size(4096);
        held.set_last_size(12);
        drop(held);
        assert_eq!(other.hold(folder.path(), soon()).await.unwrap().last_size(), 12);
    }

    #[tokio::test]
    async fn r19_a_process_that_outlives_us_keeps_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        let locks = Locks::default();
        let held = locks.hold(folder.path(), soon()).await.unwrap();
        let mut command = std::process::Command::new("sleep");
        let mut sleeper = command.arg("86464.25").stdin(held.stdin()).spawn().unwrap();
        drop(command);
        drop(held); // as when this process is killed
        let while_it_runs = Locks::default().hold(folder.path(), soon()).await.map(|_| ());
        sleeper.kill().unwrap();
        sleeper.wait().unwrap();
        assert!(while_it_runs.unwrap_err().is_transient());
        Locks::default().hold(folder.path(), soon()).await.unwrap();
    }

    #[tokio::test]
    async fn s28_a_planted_lock_file_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("target");
        std::fs::write(&target, "mine").unwrap();
        std::os::unix::fs::symlink(&target, folder.path().join(FILE)).unwrap();
        assert!(Locks::default().hold(folder.path(), soon()).await.is_err());
        std::fs::remove_file(folder.path().join(FILE)).unwrap();
        nix::unistd::mkfifo(&folder.path().join(FILE), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(Locks::default().hold(folder.path(), soon()).await.is_err());
        assert_eq!(std::fs::read_to_string(target).unwrap(), "mine");
    }
}
