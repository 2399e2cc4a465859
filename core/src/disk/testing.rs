//! Disks that fail on command and disks that lose power, for tests. Both are stricter than a real one.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;

use super::{Disk, DiskFile, Entry, Open, Stat};

mod crash;

pub use crash::CrashDisk;

/// What can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// Any write. Half of the bytes are written before it fails.
    Write,
    /// A write beyond the end of its file, or the making of a file or folder: what needs space.
    Grow,
    /// fdatasync. What was not synced before is then lost or kept by chance, and a later sync succeeds
    /// without writing it.
    Sync,
    /// The making or emptying of a file.
    Create,
    /// A rename.
    Rename,
    /// A removal.
    Remove,
    /// The sync of a folder.
    SyncDir,
    /// A change of length.
    SetLen,
    /// A read.
    Read,
}

/// A script of errors. Clones share it.
#[derive(Clone, Default)]
pub struct Faults(Arc<Mutex<Vec<Rule>>>);

struct Rule {
    op: Op,
    skip: u64,
    times: u64,
    errno: Errno,
}

impl Faults {
    /// Lets the `nth` such call from now fail, once; 1 is the next.
    pub fn fail(&self, op: Op, nth: u64, errno: Errno) {
        self.push(Rule { op, skip: nth.saturating_sub(1), times: 1, errno });
    }

    /// Lets all such calls fail until [`heal`](Faults::heal).
    pub fn fail_always(&self, op: Op, errno: Errno) {
        self.push(Rule { op, skip: 0, times: u64::MAX, errno });
    }

    /// Ends all faults.
    pub fn heal(&self) {
        lock(&self.0).clear();
    }

    fn push(&self, rule: Rule) {
        lock(&self.0).push(rule);
    }

    fn hit(&self, op: Op) -> Option<io::Error> {
        let mut hit = None;
        for rule in lock(&self.0).iter_mut().filter(|rule| rule.op == op) {
            if rule.skip > 0 {
                rule.skip -= 1;
            } else if rule.times > 0 {
                rule.times -= 1;
                hit = Some(rule.errno.into());
            }
        }
        hit
    }

    fn check(&self, op: Op) -> io::Result<()> {
        self.hit(op).map_or(Ok(()), Err)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Another disk, with a script of errors.
#[derive(Clone)]
pub struct FailingDisk {
    inner: Arc<dyn Disk>,
    /// The script.
    pub faults: Faults,
}

impl FailingDisk {
    /// Wraps `inner`, which does all the work that does not fail.
    pub fn new(inner: Arc<dyn Disk>) -> Self {
        Self { inner, faults: Faults::default() }
    }
}

impl fmt::Debug for FailingDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FailingDisk({:?})", self.inner)
    }
}

impl Disk for FailingDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Box<dyn DiskFile>> {
        if how == Open::Create {
            self.faults.check(Op::Create)?;
            self.faults.check(Op::Grow)?;
        }
        let inner = self.inner.open(path, how)?;
        Ok(Box::new(FailingFile { inner, faults: self.faults.clone() }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        self.faults.check(Op::Read)?;
        self.inner.list(dir)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.inner.create_dir(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.faults.check(Op::Rename)?;
        self.inner.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.faults.check(Op::Remove)?;
        self.inner.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.faults.check(Op::SyncDir)?;
        self.inner.sync_dir(dir)
    }

    fn free(&self, dir: &Path) -> io::Result<u64> {
        self.inner.free(dir)
    }
}

struct FailingFile {
    inner: Box<dyn DiskFile>,
    faults: Faults,
}

impl DiskFile for FailingFile {
    fn stat(&self) -> io::Result<Stat> {
        self.inner.stat()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.faults.check(Op::Read)?;
        self.inner.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let grows = offset + bytes.len() as u64 > self.inner.stat()?.len;
        let fault = self.faults.hit(Op::Write);
        let fault = fault.or_else(|| grows.then(|| self.faults.hit(Op::Grow)).flatten());
        if let Some(error) = fault {
            self.inner.write_at(offset, &bytes[..bytes.len() / 2])?;
            return Err(error);
        }
        self.inner.write_at(offset, bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.faults.check(Op::Sync)?;
        self.inner.sync()
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.faults.check(Op::SetLen)?;
        self.inner.set_len(length)
    }
}

/// Repeatable chance (SplitMix64).
#[derive(Debug, Clone)]
pub struct Dice(pub u64);

impl Dice {
    /// The next number.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`, 0 if that is 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.roll().checked_rem(limit).unwrap_or(0)
    }

    /// True in one of `n` cases.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::super::{RealDisk, is_full};
    use super::*;

    #[test]
    fn a_script_fails_the_call_it_names_and_a_failed_write_leaves_half() {
        let dir = tempfile::tempdir().unwrap();
        let disk = FailingDisk::new(Arc::new(RealDisk));
        let path = dir.path().join("x");
        let file = disk.open(&path, Open::Create).unwrap();
        disk.faults.fail(Op::Write, 2, Errno::EDQUOT);
        file.write_at(0, b"1234").unwrap();
        let error = file.write_at(4, b"5678").unwrap_err();
        assert!(is_full(&error), "{error}");
        assert_eq!(file.stat().unwrap().len, 6);
        disk.faults.fail_always(Op::Grow, Errno::ENOSPC);
        file.write_at(0, b"in place").unwrap_err();
        file.write_at(0, b"ok").unwrap();
        disk.faults.heal();
        file.write_at(0, b"in place").unwrap();
    }
}
