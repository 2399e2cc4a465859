//! Old segments: compressed, and dropped when they are too many or too old.

use std::io::{self, Read as _, Write};
use std::time::{Duration, SystemTime};

use super::JournalError;
use super::reader::Reader;
use super::segment::Segment;
use super::writer::Shared;
use crate::disk::{self, DiskFile, Open};

/// How long events are kept. What the snapshot does not hold is always kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// From the last event of a segment, or from its compression.
    pub age: Duration,
    /// Bytes of all segments on the disk.
    pub bytes: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self { age: Duration::from_secs(90 * 24 * 3600), bytes: 2 << 30 }
    }
}

impl Reader {
    /// Compresses the closed segments that are not yet. Returns how many that were. It takes a third of a
    /// second a segment and belongs on a thread of its own; only one call at a time.
    pub fn compact(&self) -> Result<usize, JournalError> {
        let closed: Vec<(Segment, Segment)> = {
            let segments = &self.shared.index().segments;
            let pairs = segments.iter().zip(segments.iter().skip(1));
            pairs
                .filter(|(segment, _)| !segment.packed)
                .map(|(s, n)| (s.clone(), n.clone()))
                .collect()
        };
        for (segment, next) in &closed {
            let path = segment.path(&self.shared.dir);
            self.pack(segment, next).map_err(JournalError::file(path))?;
        }
        Ok(closed.len())
    }

    /// Drops the oldest segments that are beyond `retention` and held by the snapshot. Returns how many.
    pub fn retain(&self, retention: Retention, now: SystemTime) -> Result<usize, JournalError> {
        let Shared { disk, dir, .. } = &*self.shared;
        let failed = || JournalError::file(dir.clone());
        let entries = disk.list(dir).map_err(failed())?;
        let is_segment = |name: &str| Segment::from_name(name).is_some();
        let mut total: u64 = entries.iter().filter(|e| is_segment(&e.name)).map(|e| e.bytes).sum();
        let mut dropped = 0;
        loop {
            let name = {
                let index = self.shared.index();
                match &index.segments[..] {
                    [oldest, next, ..] if next.first <= index.snapshot + 1 => oldest.name(),
                    _ => return Ok(dropped),
                }
            };
            let Some(entry) = entries.iter().find(|entry| entry.name == name) else {
                return Ok(dropped);
            };
            let age = now.duration_since(entry.modified).unwrap_or_default();
            if total <= retention.bytes && age <= retention.age {
                return Ok(dropped);
            }
            disk.remove(&dir.join(&name)).map_err(failed())?;
            self.shared.index().segments.remove(0);
            total -= entry.bytes;
            dropped += 1;
        }
    }

    /// Writes the archive beside the segment, makes it durable under its name, and only then removes the
    /// segment. Bytes that were never acknowledged are left out.
    fn pack(&self, segment: &Segment, next: &Segment) -> io::Result<()> {
        let Shared { disk, dir, .. } = &*self.shared;
        let packed = Segment { packed: true, ..segment.clone() };
        let path = packed.path(dir);
        let beside = path.with_extension("zst.tmp");
        let end = match segment.bytes {
            0 => next.header(&**disk, dir)?.and_then(|header| header.after).map_or(0, |a| a.bytes),
            known => known,
        };
        let source = disk.open(&segment.path(dir), Open::Read)?;
        let end = if end == 0 { source.stat()?.len } else { end };
        let target = Target { file: disk.open(&beside, Open::Create)?, at: 0 };
        let mut encoder = zstd::stream::write::Encoder::new(target, 3)?;
        encoder.include_checksum(true)?;
        let mut plain = ReadAt { file: &*source, at: 0 }.take(end);
        io::copy(&mut plain, &mut io::BufWriter::with_capacity(256 << 10, &mut encoder))?;
        encoder.finish()?.file.sync()?;
        disk.rename(&beside, &path)?;
        disk.sync_dir(disk::parent(&path))?;
        let mut index = self.shared.index();
        if let Some(known) = index.segments.iter_mut().find(|known| known.first == segment.first) {
            known.packed = true;
        }
        drop(index);
        disk.remove(&segment.path(dir))
    }
}

struct ReadAt<'a> {
    file: &'a dyn DiskFile,
    at: u64,
}

impl io::Read for ReadAt<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read_at(self.at, buffer)?;
        self.at += n as u64;
        Ok(n)
    }
}

struct Target {
    file: Box<dyn DiskFile>,
    at: u64,
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_at(self.at, bytes)?;
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
