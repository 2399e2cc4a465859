//! A disk that takes its time.

use std::{
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use ao_core::disk::{Disk, DiskFile, Entry, Open, RealDisk, Stat};

/// A disk whose syncs take as long as they are told, and are counted.
#[derive(Debug, Clone, Default)]
pub(crate) struct SlowDisk {
    sync: Duration,
    pub(crate) syncs: Arc<AtomicU64>,
}

impl SlowDisk {
    pub(crate) fn new(sync: Duration) -> Self {
        Self { sync, syncs: Arc::default() }
    }
}

struct SlowFile {
    inner: Box<dyn DiskFile>,
    disk: SlowDisk,
}

impl Disk for SlowDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Box<dyn DiskFile>> {
        let inner = RealDisk.open(path, how)?;
        Ok(Box::new(SlowFile { inner, disk: self.clone() }))
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        RealDisk.list(dir)
    }
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        RealDisk.create_dir(dir)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove(path)
    }
    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
    fn free(&self, _: &Path) -> io::Result<u64> {
        Ok(u64::MAX)
    }
}

impl DiskFile for SlowFile {
    fn stat(&self) -> io::Result<Stat> {
        self.inner.stat()
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read_at(offset, buffer)
    }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.inner.write_at(offset, bytes)
    }
    fn sync(&self) -> io::Result<()> {
        self.disk.syncs.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(self.disk.sync);
        Ok(())
    }
    fn set_len(&self, length: u64) -> io::Result<()> {
        self.inner.set_len(length)
    }
}
