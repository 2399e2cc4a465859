//! The folder of issues: every file is reached from its open folder by name, links are not followed, nothing blocks.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use ao_slots::{ErrorKind, PluginError};
use nix::{
    errno::Errno,
    fcntl::{AtFlags, OFlag, openat, renameat},
    sys::stat::{FileStat, Mode, fchmod, fstat, fstatat},
    unistd::{LinkatFlags, UnlinkatFlags, linkat, unlinkat},
};

/// The most that is read of a file.
pub(crate) const FILE_CAP: u64 = 4 << 20;
const POLL: Duration = Duration::from_millis(20);

/// The folder, open.
#[derive(Debug)]
pub(crate) struct Folder {
    file: File,
    path: PathBuf,
}

/// A file's content as it was at one moment.
#[derive(Debug)]
pub(crate) struct Content {
    /// At most [`FILE_CAP`] bytes.
    pub(crate) bytes: Vec<u8>,
    /// What was not read, in bytes.
    pub(crate) beyond: u64,
    stat: FileStat,
}

impl Folder {
    /// Opens the folder; none when it does not exist but the one that it belongs into does.
    pub(crate) fn open(path: &Path) -> Result<Option<Self>, PluginError> {
        let failed = |cause: io::Error| {
            let what = format!("the issues in {} cannot be read", path.display());
            PluginError::transient(what, cause)
                .with_remedy("make the folder, or set `tracker.path`")
        };
        match File::open(path) {
            Ok(file) if file.metadata().is_ok_and(|meta| meta.is_dir()) => {
                Ok(Some(Self { file, path: path.to_owned() }))
            }
            Ok(_) => Err(failed(io::ErrorKind::NotADirectory.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let parent = path.parent().unwrap_or(path);
                if parent.is_dir() && !path.is_symlink() { Ok(None) } else { Err(failed(error)) }
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// Opens the folder, and makes it where there is none.
    pub(crate) fn make(path: &Path) -> Result<Self, PluginError> {
        if let Some(folder) = Self::open(path)? {
            return Ok(folder);
        }
        match fs::create_dir(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(PluginError::permanent(format!("cannot make {}", path.display()), error))
            }
            _ => {
                Self::open(path)?.ok_or_else(|| PluginError::transient("the folder went away", ""))
            }
        }
    }

    /// Waits until nobody else changes issues here. The lock ends with this value.
    pub(crate) fn lock(&self, until: Instant) -> Result<(), PluginError> {
        loop {
            match self.file.try_lock() {
                Ok(()) => return Ok(()),
                Err(fs::TryLockError::WouldBlock) if Instant::now() < until => {
                    std::thread::sleep(POLL);
                }
                Err(error) => {
                    let what = format!("the issues in {} are being changed", self.path.display());
                    return Err(PluginError::transient(what, error));
                }
            }
        }
    }

    /// Names of what lies in it, in no order.
    pub(crate) fn names(&self) -> Result<Vec<String>, PluginError> {
        let failed = |cause: io::Error| {
            PluginError::transient(
                format!("the issues in {} cannot be listed", self.path.display()),
                cause,
            )
        };
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(failed)? {
            // Our names are ASCII, so another is no issue's.
            names.extend(entry.map_err(failed)?.file_name().into_string());
        }
        Ok(names)
    }

    /// Reads a regular file; none when it is gone or is anything else, e.g. a link, a pipe or a device.
    pub(crate) fn read(&self, name: &str) -> io::Result<Option<Content>> {
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let file: OwnedFd = match openat(&self.file, name, flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::ENOENT | Errno::ELOOP | Errno::EMLINK | Errno::ENXIO) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let file = File::from(file);
        let meta = file.metadata()?;
        if !meta.is_file() {
            return Ok(None);
        }
        let stat = fstat(&file)?;
        let mut bytes = Vec::new();
        file.take(FILE_CAP).read_to_end(&mut bytes)?;
        Ok(Some(Content { bytes, beyond: meta.len().saturating_sub(FILE_CAP), stat }))
    }

    /// Makes a file that does not exist yet, whole.
    pub(crate) fn add(&self, name: &str, text: &str) -> io::Result<()> {
        let scratch = self.scratch(text, Mode::from_bits_truncate(0o644), false)?;
        linkat(&self.file, scratch.name.as_str(), &self.file, name, LinkatFlags::empty())?;
        self.sync()
    }

    /// Replaces a file whole and keeps its mode. False when it changed since it was read.
    pub(crate) fn replace(&self, name: &str, was: &Content, text: &str) -> io::Result<bool> {
        let mode = Mode::from_bits_truncate(was.stat.st_mode);
        let mut scratch = self.scratch(text, mode, true)?;
        let now = fstatat(&self.file, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
        let same = |a: &FileStat, b: &FileStat| {
            (a.st_dev, a.st_ino, a.st_size, a.st_mtime, a.st_mtime_nsec)
                == (b.st_dev, b.st_ino, b.st_size, b.st_mtime, b.st_mtime_nsec)
        };
        if !same(&now, &was.stat) {
            return Ok(false);
        }
        renameat(&self.file, scratch.name.as_str(), &self.file, name)?;
        scratch.placed = true;
        self.sync()?;
        Ok(true)
    }

    fn scratch(&self, text: &str, mode: Mode, exact: bool) -> io::Result<Scratch<'_>> {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let name = format!(".ao-{}-{number}.tmp", std::process::id());
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
        // What a killed process with this number left behind.
        let _none = unlinkat(&self.file, name.as_str(), UnlinkatFlags::NoRemoveDir);
        let file = openat(&self.file, name.as_str(), flags, mode)?;
        let scratch = Scratch { folder: self, name, placed: false };
        if exact {
            fchmod(&file, mode)?;
        }
        let mut file = File::from(file);
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        Ok(scratch)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    /// Where a human finds a file.
    pub(crate) fn path_of(&self, name: &str) -> String {
        self.path.join(name).display().to_string()
    }

    /// A failure to read or write a file here.
    pub(crate) fn failed(&self, name: &str, cause: io::Error) -> PluginError {
        let kind = match cause.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                ErrorKind::Permanent
            }
            _ => ErrorKind::Transient,
        };
        PluginError::new(kind, format!("{} failed", self.path_of(name)), cause)
    }
}

/// A file under a name of its own until it is complete.
#[derive(Debug)]
struct Scratch<'a> {
    folder: &'a Folder,
    name: String,
    placed: bool,
}

impl Drop for Scratch<'_> {
    fn drop(&mut self) {
        if !self.placed {
            let _gone = unlinkat(&self.folder.file, self.name.as_str(), UnlinkatFlags::NoRemoveDir);
        }
    }
}
