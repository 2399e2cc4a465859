//! The few things that `ao` asks of a disk, as a trait: so that full disks, failing disks and lost power are
//! tested without root, and without luck.
//!
//! Only what must survive a crash goes through [`Disk`]: the journal, its snapshot and the blobs.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

#[doc(hidden)]
pub mod testing;

/// A file system, reduced to what a durable log needs. All calls block.
///
/// What is written survives the death of the process at once, and the loss of power only after
/// [`DiskFile::sync`]. A name that was made, renamed or removed survives the loss of power only after
/// [`sync_dir`](Disk::sync_dir) of its folder.
pub trait Disk: Send + Sync + fmt::Debug {
    /// Opens a file. [`Open::Create`] makes it with mode 0600, empty, or empties it.
    fn open(&self, path: &Path, how: Open) -> io::Result<Box<dyn DiskFile>>;

    /// The files and folders in `dir`, in no order. A missing folder is empty.
    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>>;

    /// Makes a folder and those above it, with mode 0700. That it is there already is no error.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;

    /// Renames a file, replacing what bears the name `to`, in one step.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file. That it is gone already is no error.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in `dir` durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Bytes that this user may still write on the file system that holds `dir`.
    fn free(&self, dir: &Path) -> io::Result<u64>;
}

/// How to open a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Open {
    /// An existing file, for reading.
    Read,
    /// An existing file, for reading and writing.
    Write,
    /// A new file, for reading and writing; an existing one is emptied.
    Create,
}

/// An open file. Positions are given with each call, so there is no cursor to get wrong after an error.
pub trait DiskFile: Send + Sync {
    /// Its length, and whether it still has a name.
    fn stat(&self) -> io::Result<Stat>;

    /// Reads at most `buffer.len()` bytes; 0 at the end of the file.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes all of `bytes`. After an error any part of them may have been written.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes content and length durable (fdatasync). After an error the bytes written since the last success
    /// may be lost although a later call succeeds: never call it again and believe it.
    fn sync(&self) -> io::Result<()>;

    /// Cuts or extends the file. Durable after [`sync`](DiskFile::sync).
    fn set_len(&self, length: u64) -> io::Result<()>;
}

/// What [`DiskFile::stat`] answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Length in bytes.
    pub len: u64,
    /// False once the file was removed or another took its name.
    pub linked: bool,
}

/// One name in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name, without the folder. Names that are not UTF-8 are left out: none of ours is like that.
    pub name: String,
    /// Length in bytes.
    pub bytes: u64,
    /// When its content last changed.
    pub modified: SystemTime,
}

/// Reads a whole file.
pub fn read(disk: &dyn Disk, path: &Path) -> io::Result<Vec<u8>> {
    let file = disk.open(path, Open::Read)?;
    let mut bytes = vec![0; usize::try_from(file.stat()?.len).map_err(io::Error::other)?];
    let mut at = 0;
    while at < bytes.len() {
        match file.read_at(at as u64, &mut bytes[at..])? {
            0 => break,
            n => at += n,
        }
    }
    bytes.truncate(at);
    Ok(bytes)
}

/// Fills `buffer` from `offset` on; a file that ends before is an error.
pub(crate) fn read_exact(
    file: &dyn DiskFile,
    mut offset: u64,
    mut buffer: &mut [u8],
) -> io::Result<()> {
    while !buffer.is_empty() {
        let n = file.read_at(offset, buffer)?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        offset += n as u64;
        buffer = &mut buffer[n..];
    }
    Ok(())
}

/// Puts `bytes` at `path` so that a crash leaves either what was there before or all of the new: a file
/// beside it, synced, renamed, the folder synced.
pub fn replace(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".tmp");
    let beside = PathBuf::from(beside);
    let written = || -> io::Result<()> {
        let file = disk.open(&beside, Open::Create)?;
        file.write_at(0, bytes)?;
        file.sync()?;
        disk.rename(&beside, path)
    };
    written().inspect_err(|_| {
        // The error that is reported is the one that matters; a leftover is removed at the next start.
        let _ = disk.remove(&beside);
    })?;
    disk.sync_dir(parent(path))
}

/// The folder that holds `path`.
pub(crate) fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

/// Whether the disk, or the share of it that the user may have, is used up.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// The disk of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Box<dyn DiskFile>> {
        let create = how == Open::Create;
        let file = File::options()
            .read(true)
            .write(how != Open::Read)
            .create(create)
            .truncate(create)
            .mode(0o600)
            .open(path)?;
        Ok(Box::new(RealFile(file)))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        let names = match fs::read_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            names => names?,
        };
        let mut entries = Vec::new();
        for entry in names {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let meta = match entry.metadata() {
                // Removed since the folder was read.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                meta => meta?,
            };
            entries.push(Entry { name, bytes: meta.len(), modified: meta.modified()? });
        }
        Ok(entries)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn free(&self, dir: &Path) -> io::Result<u64> {
        let stat = nix::sys::statvfs::statvfs(dir)?;
        #[allow(clippy::useless_conversion, reason = "these are 32 bits wide on some platforms")]
        Ok(u64::from(stat.blocks_available()).saturating_mul(u64::from(stat.fragment_size())))
    }
}

struct RealFile(File);

impl DiskFile for RealFile {
    fn stat(&self) -> io::Result<Stat> {
        let meta = self.0.metadata()?;
        Ok(Stat { len: meta.len(), linked: meta.nlink() > 0 })
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.0.read_at(buffer, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => return read,
            }
        }
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }
}

/// Why a data directory could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another server has it.
    #[error(
        "another server{} uses this data directory (stop it with `ao stop`, or use another --data-dir)",
        .pid.map(|pid| format!(", process {pid},")).unwrap_or_default()
    )]
    Held {
        /// The process that has it, as far as it is known.
        pid: Option<u32>,
    },
    /// The lock file could not be used.
    #[error("could not lock `{path}`")]
    File {
        /// The lock file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

/// One server per data directory: an exclusive lock on `run/lock`, which the kernel gives back however the
/// process ends. The file holds the owner's pid, only to be shown; a stale one means nothing.
#[derive(Debug)]
pub struct DirLock {
    // Never removed: who unlinks a lock file lets two processes lock two files of one name.
    _file: File,
}

impl DirLock {
    /// Takes the lock of the data directory whose folder `run` this is, making the folder if needed. Answers
    /// within 100 ms.
    pub fn take(run: &Path) -> Result<Self, LockError> {
        let path = run.join("lock");
        let failed = |source| LockError::File { path: path.clone(), source };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(run).map_err(failed)?;
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(LockError::Held { pid: owner(&path) }),
            Err(fs::TryLockError::Error(source)) => return Err(failed(source)),
        }
        let written = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        // On a full disk the lock holds all the same; only its owner's number is not told.
        if let Err(error) = written {
            tracing::warn!(%error, path = %path.display(), "could not write the pid into the lock file");
        }
        Ok(Self { _file: file })
    }
}

/// The pid in a lock file. The owner may have locked it and not written yet, so a few looks are taken.
fn owner(path: &Path) -> Option<u32> {
    let until = Instant::now() + Duration::from_millis(50);
    loop {
        let pid = fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok());
        if pid.is_some() || Instant::now() >= until {
            return pid;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn r20_a_second_lock_is_refused_with_the_owners_pid_and_a_stale_file_is_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path().join("run");
        fs::create_dir(&run).unwrap();
        fs::write(run.join("lock"), "999999\n").unwrap();
        let held = DirLock::take(&run).unwrap();
        let refused = DirLock::take(&run).unwrap_err();
        assert!(
            matches!(refused, LockError::Held { pid: Some(pid) } if pid == std::process::id()),
            "{refused}"
        );
        let text = refused.to_string();
        assert!(text.contains(&format!("process {}", std::process::id())), "{text}");
        drop(held);
        DirLock::take(&run).unwrap();
    }

    #[test]
    fn r20_a_lock_whose_owner_has_not_said_its_pid_is_still_a_lock() {
        let dir = tempfile::tempdir().unwrap();
        let file = File::create(dir.path().join("lock")).unwrap();
        file.lock().unwrap();
        let refused = DirLock::take(dir.path()).unwrap_err();
        assert!(matches!(refused, LockError::Held { pid: None }), "{refused}");
        assert!(refused.to_string().starts_with("another server uses"), "{refused}");
    }

    #[test]
    fn s44_files_are_0600_and_folders_0700() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("a/b");
        RealDisk.create_dir(&inner).unwrap();
        RealDisk.create_dir(&inner).unwrap();
        replace(&RealDisk, &inner.join("x"), b"one").unwrap();
        replace(&RealDisk, &inner.join("x"), b"two").unwrap();
        assert_eq!(read(&RealDisk, &inner.join("x")).unwrap(), b"two");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&inner), 0o700);
        assert_eq!(mode(&inner.join("x")), 0o600);
        let names: Vec<_> =
            RealDisk.list(&inner).unwrap().into_iter().map(|e| (e.name, e.bytes)).collect();
        assert_eq!(names, [("x".to_owned(), 3)]);
        assert_eq!(RealDisk.list(&inner.join("none")).unwrap(), []);
        assert!(RealDisk.free(&inner).unwrap() > 0);
    }

    #[test]
    fn a_file_that_lost_its_name_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let file = RealDisk.open(&path, Open::Create).unwrap();
        assert!(file.stat().unwrap().linked);
        RealDisk.remove(&path).unwrap();
        RealDisk.remove(&path).unwrap();
        assert!(!file.stat().unwrap().linked);
    }
}
