//! Appending: one write and one sync a batch, and what happens when they fail.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::emergency::Emergency;
use super::line;
use super::reader::Reader;
use super::segment::{After, FORMAT, Header, Segment};
use super::{Identity, JournalError, Limits, Line};
use crate::disk::{self, Disk, DiskFile, Open};

/// When a batch must be durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// When the append returns.
    Commit,
    /// When the next commit, or [`Journal::sync`], returns. It survives the death of the process at once.
    Batch,
}

/// Someone else changed the segment that is being written. It was finished and a new one begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tampered {
    /// The segment.
    pub path: PathBuf,
    /// What differs, in words for a human, e.g. `it was shortened by 312 bytes`.
    pub what: String,
}

/// The one writer of a journal. All calls block; see [`Recovery`](super::Recovery) for how to open one.
pub struct Journal {
    shared: Arc<Shared>,
    identity: Identity,
    limits: Limits,
    /// The segment being written. None: the next append begins one.
    active: Option<Active>,
    /// The last events in the segments: written, and durable.
    written: u64,
    synced: u64,
    emergency: Emergency,
    buffer: Vec<u8>,
}

/// What the writer shares with readers.
pub(super) struct Shared {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) root: PathBuf,
    /// `journal/` in it.
    pub(super) dir: PathBuf,
    index: Mutex<Index>,
}

#[derive(Default)]
pub(super) struct Index {
    pub(super) segments: Vec<Segment>,
    /// Lines of the emergency segment.
    pub(super) held: Vec<u8>,
    /// The last event, and the last durable one.
    pub(super) last: u64,
    pub(super) synced: u64,
    /// The last event that the snapshot on the disk holds.
    pub(super) snapshot: u64,
}

impl Shared {
    pub(super) fn new(disk: Arc<dyn Disk>, root: &Path, index: Index) -> Self {
        Self { disk, root: root.to_owned(), dir: root.join("journal"), index: Mutex::new(index) }
    }

    pub(super) fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The last bytes of a segment: the seal of its last line.
type Seal = [u8; line::SEAL + 1];

struct Active {
    file: Box<dyn DiskFile>,
    path: PathBuf,
    /// Its length: written, and durable.
    len: u64,
    synced: u64,
    seal: Seal,
}

impl Active {
    fn new(file: Box<dyn DiskFile>, path: PathBuf, len: u64) -> io::Result<Self> {
        let mut seal = [0; line::SEAL + 1];
        disk::read_exact(&*file, len.saturating_sub(seal.len() as u64), &mut seal)?;
        Ok(Self { file, path, len, synced: len, seal })
    }

    /// How the file differs from what was written.
    fn difference(&self) -> io::Result<Option<String>> {
        let stat = self.file.stat()?;
        if !stat.linked {
            return Ok(Some("it was removed or replaced".to_owned()));
        }
        if stat.len < self.len {
            return Ok(Some(format!("it was shortened by {} bytes", self.len - stat.len)));
        }
        if stat.len > self.len {
            return Ok(Some(format!("{} bytes were appended", stat.len - self.len)));
        }
        let mut seal = self.seal;
        disk::read_exact(&*self.file, self.len - seal.len() as u64, &mut seal)?;
        Ok((seal != self.seal).then(|| "its last line was changed".to_owned()))
    }

    fn written(&mut self, bytes: &[u8]) {
        self.len += bytes.len() as u64;
        if let Some(seal) = bytes.last_chunk() {
            self.seal = *seal;
        }
    }
}

impl Journal {
    /// A journal whose last event is `last`. `length`: its last segment may be continued behind so many bytes.
    pub(super) fn new(
        shared: Arc<Shared>,
        identity: Identity,
        limits: Limits,
        emergency: Emergency,
        last: u64,
        length: Option<u64>,
    ) -> Self {
        let mut journal = Self {
            shared,
            identity,
            limits,
            active: None,
            written: last,
            synced: last,
            emergency,
            buffer: Vec::new(),
        };
        if let Some(length) = length
            && let Err(error) = journal.resume(length)
        {
            tracing::warn!(%error, "could not continue the last segment; a new one will be begun");
        }
        if let Err(error) = journal.emergency.arm().and_then(|()| journal.emergency.clear()) {
            tracing::warn!(%error, "could not keep space for an emergency");
        }
        journal
    }

    /// The last event; 0 if there is none.
    pub fn last(&self) -> u64 {
        self.emergency.held.as_ref().map_or(self.written, |held| held.last)
    }

    /// A handle for reading, that may be used from other threads while this one writes.
    pub fn reader(&self) -> Reader {
        Reader::new(self.shared.clone())
    }

    /// Records a batch of events, numbered on from [`last`](Journal::last). After an error nothing of it is
    /// recorded; with [`Durability::Batch`] neither are the earlier batches that were not durable yet, so
    /// `last` is to be asked again. A journal that someone changed is reported once; the batch is recorded.
    pub fn append(
        &mut self,
        lines: &[Line],
        durability: Durability,
    ) -> Result<Option<Tampered>, JournalError> {
        self.check(lines)?;
        let tampered = self.look()?;
        if lines.is_empty() {
            return Ok(tampered);
        }
        self.settle()?;
        self.encode(lines);
        self.rotate()?;
        self.write(self.written + lines.len() as u64)?;
        if durability == Durability::Commit {
            self.sync()?;
        }
        Ok(tampered)
    }

    /// Makes all that was appended durable.
    pub fn sync(&mut self) -> Result<(), JournalError> {
        let Some(active) = self.active.as_mut().filter(|active| active.synced < active.len) else {
            return Ok(());
        };
        if let Err(source) = active.file.sync() {
            let path = active.path.clone();
            self.seal();
            return Err(self.refused(path, source));
        }
        active.synced = active.len;
        self.synced = self.written;
        self.shared.index().synced = self.last();
        Ok(())
    }

    /// Records a batch in the space that was kept for it, for when [`append`](Journal::append) failed on a
    /// full disk. It is durable when this returns, and moves to a segment with the first append that succeeds.
    pub fn append_emergency(&mut self, lines: &[Line]) -> Result<(), JournalError> {
        self.sync()?;
        self.check(lines)?;
        let Some(last) = lines.last() else { return Ok(()) };
        self.encode(lines);
        let buffer = std::mem::take(&mut self.buffer);
        let held = self.hold(&buffer, last.seq);
        self.buffer = buffer;
        match held {
            Ok(Some(())) => Ok(()),
            Ok(None) => Err(JournalError::EmergencySpent { from: self.last() + 1 }),
            Err(source) => Err(self.refused(self.shared.dir.join(super::emergency::NAME), source)),
        }
    }

    /// Whether appends are likely to succeed: finishes what a failed one left to do, and writes a small file.
    pub fn probe(&mut self) -> Result<(), JournalError> {
        self.settle()?;
        let path = self.shared.dir.join("probe.tmp");
        let disk = &*self.shared.disk;
        let written = disk.open(&path, Open::Create).and_then(|file| {
            file.write_at(0, &[0; 64 << 10])?;
            file.sync()
        });
        // A leftover is removed at the next start.
        let _ = disk.remove(&path);
        written.map_err(|source| self.refused(path, source))
    }

    /// Whether refused events are kept out also if the machine stops now.
    #[cfg(test)]
    pub(super) fn is_settled(&self) -> bool {
        (self.active.is_some() || self.emergency.held.is_some()) && self.emergency.stale.is_none()
    }

    fn refused(&self, path: PathBuf, source: io::Error) -> JournalError {
        JournalError::Refused { from: self.last() + 1, path, source }
    }

    /// Refuses what would make the journal unreadable.
    fn check(&self, lines: &[Line]) -> Result<(), JournalError> {
        for (line, expected) in lines.iter().zip(self.last() + 1..) {
            let Line { seq, json } = line;
            let why = if *seq != expected {
                "its number does not follow the last one"
            } else if line::seq_of(json) != Some(*seq) {
                "its JSON does not begin with its number"
            } else if !json.ends_with(b"}") || memchr::memchr(b'\n', json).is_some() {
                "its JSON is not an object on one line"
            } else if json.len() + line::SEAL + 2 > line::LONGEST {
                "it is longer than 1 MiB"
            } else {
                continue;
            };
            return Err(JournalError::Malformed { seq: *seq, why });
        }
        Ok(())
    }

    fn encode(&mut self, lines: &[Line]) {
        // Only a line behind durable ones may say that all before it is durable.
        let mut begins_batch = self.written == self.synced;
        self.buffer.clear();
        for line in lines {
            line::seal(&line.json, begins_batch, &mut self.buffer);
            begins_batch = false;
        }
    }

    /// Looks whether someone else wrote to the segment, and leaves it in that case.
    fn look(&mut self) -> Result<Option<Tampered>, JournalError> {
        let Some(active) = &self.active else { return Ok(None) };
        let what = match active.difference() {
            Ok(None) => return Ok(None),
            Ok(Some(what)) => what,
            Err(error) => format!("it cannot be read back: {error}"),
        };
        let path = active.path.clone();
        self.sync()?;
        self.seal();
        Ok(Some(Tampered { path, what }))
    }

    /// Finishes what an earlier failure left: begins a segment if there is none, and moves the emergency
    /// segment's lines to it. They lie in both for a moment, but never in neither.
    fn settle(&mut self) -> Result<(), JournalError> {
        if self.active.is_none() {
            self.begin_segment().map_err(|source| self.refused(self.next_path(), source))?;
        }
        if let Some(held) = &self.emergency.held {
            let last = held.last;
            // The buffer is free: nothing is encoded yet.
            self.buffer.clone_from(&held.lines);
            self.write(last)?;
            self.sync()?;
            self.emergency.moved();
            self.shared.index().held.clear();
        }
        self.emergency
            .clear()
            .map_err(|source| self.refused(self.shared.dir.join(super::emergency::NAME), source))?;
        if let Err(error) = self.emergency.arm() {
            tracing::warn!(%error, "could not keep space for an emergency");
        }
        Ok(())
    }

    /// Begins a new segment if the batch in `buffer` would make this one too long.
    fn rotate(&mut self) -> Result<(), JournalError> {
        let full = self.active.as_ref().is_some_and(|active| {
            active.len + self.buffer.len() as u64 > self.limits.segment_bytes
        });
        let empty = self.shared.index().segments.last().is_none_or(Segment::is_empty);
        if !full || empty {
            return Ok(());
        }
        self.sync()?;
        match self.begin_segment() {
            Ok(()) => Ok(()),
            // A long segment is better than a lost event.
            Err(error) if self.active.is_some() => {
                tracing::warn!(%error, "could not begin a new segment; continuing the old one");
                Ok(())
            }
            Err(source) => Err(self.refused(self.next_path(), source)),
        }
    }

    /// Writes the lines in `buffer`, the last of which is event `last`.
    fn write(&mut self, last: u64) -> Result<(), JournalError> {
        let Some(active) = &mut self.active else { return Ok(()) };
        if let Err(source) = active.file.write_at(active.len, &self.buffer) {
            let path = active.path.clone();
            self.roll_back();
            return Err(self.refused(path, source));
        }
        let start = active.len;
        active.written(&self.buffer);
        let mut index = self.shared.index();
        note(&mut index, &self.buffer, start, self.written + 1);
        self.written = last;
        index.last = last;
        Ok(())
    }

    /// Cuts what a failed write left. Where that fails too, the segment is finished at its last good line.
    fn roll_back(&mut self) {
        let Some(active) = &mut self.active else { return };
        match active.file.set_len(active.len).and_then(|()| active.file.sync()) {
            Ok(()) => {
                active.synced = active.len;
                self.synced = self.written;
                self.shared.index().synced = self.last();
            }
            Err(error) => {
                tracing::warn!(%error, path = %active.path.display(), "could not cut a partial line");
                self.seal();
            }
        }
    }

    /// Finishes the segment at its last durable line. That takes effect with the header of the next one; if
    /// that cannot be written, the emergency segment says it.
    fn seal(&mut self) {
        let Some(active) = self.active.take() else { return };
        self.written = self.synced;
        let mut index = self.shared.index();
        if let Some(segment) = index.segments.last_mut() {
            segment.bytes = active.synced;
            segment.last = self.synced.max(segment.first - 1);
            segment.marks.retain(|(seq, _)| *seq <= self.synced);
        }
        drop(index);
        let last = self.last();
        self.shared.index().last = last;
        let Err(error) = self.begin_segment() else { return };
        tracing::warn!(%error, "could not begin a new segment after a failure");
        if self.emergency.held.is_none()
            && let Err(error) = self.hold(&[], last)
        {
            tracing::warn!(%error, "could not note the end of the journal");
        }
    }

    fn hold(&mut self, lines: &[u8], last: u64) -> io::Result<Option<()>> {
        let header = self.header(Some(After {
            seq: self.synced,
            bytes: self.shared.index().segments.last().map_or(0, |segment| segment.bytes),
        }));
        let held = self.emergency.hold(|| header, lines, last)?;
        if held.is_some() {
            let mut index = self.shared.index();
            index.held.extend_from_slice(lines);
            (index.last, index.synced) = (last, last);
        }
        Ok(held)
    }

    fn header(&self, after: Option<After>) -> Header {
        let Identity { instance, boot } = self.identity.clone();
        Header { instance, boot, format: FORMAT, min_reader: 1, after }
    }

    fn next_path(&self) -> PathBuf {
        Segment::new(self.synced + 1, false).path(&self.shared.dir)
    }

    /// Begins the segment of event `synced + 1`, in the place of one of that name that has no event. After an
    /// error the active segment, if there still is one, may be continued.
    fn begin_segment(&mut self) -> io::Result<()> {
        let Shared { disk, dir, .. } = &*self.shared;
        let mut segment = Segment::new(self.synced + 1, false);
        let path = segment.path(dir);
        let after = {
            let index = self.shared.index();
            let before = index.segments.iter().rfind(|before| before.first < segment.first);
            before.map(|before| After { seq: before.last, bytes: before.bytes })
        };
        let mut bytes = Vec::new();
        line::seal(&self.header(after).json(), false, &mut bytes);
        let beside = path.with_extension("jsonl.tmp");
        let made = disk.open(&beside, Open::Create).and_then(|file| {
            file.write_at(0, &bytes)?;
            file.sync()?;
            Ok(file)
        });
        let file = made.inspect_err(|_| {
            // A leftover is removed at the next start.
            let _ = disk.remove(&beside);
        })?;
        // From here on the disk may know the new segment, whose header says where the old one ends: nothing
        // may be appended there any more, whatever fails.
        self.active = None;
        disk.rename(&beside, &path)?;
        disk.sync_dir(dir)?;
        segment.bytes = bytes.len() as u64;
        let active = Active::new(file, path, segment.bytes)?;
        let mut index = self.shared.index();
        index.segments.retain(|before| before.first < segment.first);
        index.segments.push(segment);
        drop(index);
        self.active = Some(active);
        Ok(())
    }

    /// Opens the last segment to continue it behind `length` bytes: cuts what follows, and writes its end
    /// again. Its length and its end may be known to the system's cache only, after a sync that failed in an
    /// earlier process; a sync alone would then succeed and write nothing.
    fn resume(&mut self, length: u64) -> io::Result<()> {
        const END: u64 = 1 << 20;
        let path = match self.shared.index().segments.last() {
            Some(segment) => segment.path(&self.shared.dir),
            None => return Ok(()),
        };
        let file = self.shared.disk.open(&path, Open::Write)?;
        file.set_len(length + 1)?;
        file.set_len(length)?;
        let start = length.saturating_sub(END);
        let mut end = vec![0; (length - start) as usize];
        disk::read_exact(&*file, start, &mut end)?;
        file.write_at(start, &end)?;
        file.sync()?;
        self.active = Some(Active::new(file, path, length)?);
        Ok(())
    }
}

/// Adds `lines`, written from `start` on and numbered from `seq`, to the last segment of the index.
fn note(index: &mut Index, lines: &[u8], start: u64, seq: u64) {
    let Some(segment) = index.segments.last_mut() else { return };
    let mut from = start;
    for (seq, end) in (seq..).zip(memchr::memchr_iter(b'\n', lines)) {
        let end = start + end as u64 + 1;
        segment.add(seq, from, end);
        from = end;
    }
}
