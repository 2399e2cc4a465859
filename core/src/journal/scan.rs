//! Reads events in order out of the segments, and notes what is wrong with them.

use std::io;
use std::ops::{Range, RangeInclusive};
use std::path::PathBuf;
use std::sync::Arc;

use super::line::LONGEST;
use super::segment::{FORMAT, Header, Kind, Lines, Piece, Segment};
use super::{Bytes, Gap, JournalError, Report};
use crate::disk::{Disk, DiskFile, Open};

/// Noted damages beyond this number are counted by their last.
const MOST_NOTES: usize = 1000;

pub(super) struct Scan {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    /// What is read, completed while reading. A segment whose `bytes` are known ends there.
    pub(super) segments: Vec<Segment>,
    /// The one that is read, or the next.
    at: usize,
    open: Option<Opened>,
    /// Lines that follow the last segment: the emergency segment.
    held: Option<Lines>,
    /// The next event, if none is missing.
    pub(super) expected: u64,
    /// Events below are read, and not returned.
    from: u64,
    /// Events above do not count.
    keep: u64,
    /// Whether the last segment is being written, and its `bytes` are where it ends. Else its end is what a
    /// crash has left.
    live: bool,
    /// Whether the last segment read has a good header.
    pub(super) header: Option<Header>,
    pub(super) report: Report,
    quarantine: Option<Quarantine>,
}

struct Opened {
    lines: Lines,
    /// The last event that counts here, and from where on bad bytes do not.
    until: u64,
    limit: u64,
    /// In the last segment, from the first bad bytes on: where the last batch begins that is known to have
    /// been written after all before it was durable.
    proven: Option<Option<u64>>,
}

impl Scan {
    /// Reads `segments`, in order, from a mark at or before the first event of `wanted`. Events above the
    /// last one do not count.
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        segments: Vec<Segment>,
        wanted: RangeInclusive<u64>,
        live: bool,
    ) -> Result<Self, JournalError> {
        let (from, keep) = wanted.into_inner();
        // Who is going to append must know where the segment before the next event ends.
        let behind = if live { from + 1 } else { from.min(keep.saturating_add(1)) };
        let at = segments.partition_point(|s| s.first < behind).saturating_sub(1);
        let expected = segments.get(at).map_or(1, |s| s.first);
        let mut scan = Self {
            disk,
            dir,
            segments,
            at,
            open: None,
            held: None,
            expected,
            from,
            keep,
            live,
            header: None,
            report: Report::default(),
            quarantine: None,
        };
        if expected > from {
            scan.gap(from, expected - 1);
        }
        scan.open_at_mark()?;
        Ok(scan)
    }

    /// Continues with these lines after the last segment.
    pub(super) fn then(mut self, held: Lines) -> Self {
        self.held = Some(held);
        self
    }

    /// Copies bad bytes to files in `dir`.
    pub(super) fn quarantining(mut self, dir: PathBuf) -> Self {
        self.quarantine = Some(Quarantine { disk: self.disk.clone(), dir, file: None });
        self
    }

    /// The JSON of the event that was returned last.
    pub(super) fn json(&self, range: Range<usize>) -> &[u8] {
        match (&self.open, &self.held) {
            (Some(open), _) => open.lines.bytes(range),
            (None, Some(held)) => held.bytes(range),
            (None, None) => &[],
        }
    }

    /// The next event.
    pub(super) fn next(&mut self) -> Result<Option<(u64, Range<usize>)>, JournalError> {
        loop {
            if self.open.is_none() && !self.open_segment(0)? {
                return self.next_held();
            }
            let Some(open) = &mut self.open else { continue };
            if self.expected > open.until && self.header.is_some() {
                self.close();
                continue;
            }
            let piece = match open.lines.next() {
                Ok(Some(piece)) => piece,
                Ok(None) => {
                    self.close();
                    continue;
                }
                Err(source) => {
                    let segment = &self.segments[self.at];
                    if !segment.packed {
                        return Err(JournalError::file(segment.path(&self.dir))(source));
                    }
                    // What a damaged archive still gives was read; the rest is missing.
                    self.note_bad(&Piece { kind: Kind::Bad, start: 0, end: 0, json: 0..0 });
                    self.close();
                    continue;
                }
            };
            let (until, limit) = (open.until, open.limit);
            match piece.kind {
                Kind::Event { seq, .. } if seq > until => self.close(),
                Kind::Event { seq, .. } if seq >= self.expected => {
                    if piece.start == 0 {
                        self.note_bad(&Piece { json: 0..0, end: 0, ..piece.clone() });
                    }
                    self.take(seq);
                    self.segments[self.at].add(seq, piece.start, piece.end);
                    if seq >= self.from {
                        return Ok(Some((seq, piece.json)));
                    }
                }
                Kind::Other if piece.start == 0 => self.read_header(&piece)?,
                Kind::Bad | Kind::Other | Kind::Event { .. } if piece.start >= limit => {}
                Kind::Bad | Kind::Other | Kind::Event { .. } => self.bad(&piece)?,
            }
        }
    }

    /// Reads what is left.
    pub(super) fn drain(&mut self) -> Result<(), JournalError> {
        while self.next()?.is_some() {}
        Ok(())
    }

    fn next_held(&mut self) -> Result<Option<(u64, Range<usize>)>, JournalError> {
        while let Some(held) = &mut self.held
            && let Ok(Some(piece)) = held.next()
        {
            if let Kind::Event { seq, .. } = piece.kind
                && seq >= self.expected
            {
                self.take(seq);
                if seq >= self.from {
                    return Ok(Some((seq, piece.json)));
                }
            }
        }
        Ok(None)
    }

    fn take(&mut self, seq: u64) {
        if seq > self.expected {
            self.gap(self.expected, seq - 1);
        }
        self.expected = seq + 1;
        self.report.events += 1;
        self.report.first.get_or_insert(seq);
        self.report.last = Some(seq);
    }

    fn gap(&mut self, from: u64, to: u64) {
        let full = self.report.gaps.len() >= MOST_NOTES;
        match self.report.gaps.last_mut() {
            Some(last) if last.to + 1 == from || full => last.to = to,
            _ => self.report.gaps.push(Gap { from, to }),
        }
    }

    fn is_last(&self) -> bool {
        self.at + 1 >= self.segments.len()
    }

    /// Begins with the first segment where its marks, or the snapshot, allow it.
    fn open_at_mark(&mut self) -> Result<(), JournalError> {
        let Some(segment) = self.segments.get(self.at) else { return Ok(()) };
        let (seq, offset) = segment.mark(self.from);
        let Some(seq) = seq.filter(|_| offset > 0) else { return Ok(()) };
        self.segments[self.at].last = seq - 1;
        if !self.live {
            self.segments[self.at].bytes = offset;
        }
        self.expected = seq;
        let header = self.segments[self.at].header(&*self.disk, &self.dir);
        self.header = header.map_err(JournalError::file(self.dir.clone()))?;
        self.check_format()?;
        self.open_segment(offset).map(drop)
    }

    fn open_segment(&mut self, offset: u64) -> Result<bool, JournalError> {
        let Some(segment) = self.segments.get(self.at) else { return Ok(false) };
        let path = segment.path(&self.dir);
        let (mut until, mut limit) = (self.keep, u64::MAX);
        if let Some(next) = self.segments.get(self.at + 1) {
            let header = next.header(&*self.disk, &self.dir);
            let header = header.map_err(JournalError::file(next.path(&self.dir)))?;
            until = until.min(next.first - 1);
            if let Some(after) = header.and_then(|header| header.after) {
                until = until.min(after.seq);
                limit = after.bytes;
            }
        }
        let most = if self.live && segment.bytes > 0 { segment.bytes } else { u64::MAX };
        let lines = segment.lines(&*self.disk, &self.dir, offset, most);
        let lines = lines.map_err(JournalError::file(path))?;
        if offset == 0 {
            self.header = None;
        }
        self.open = Some(Opened { lines, until, limit, proven: None });
        Ok(true)
    }

    fn close(&mut self) {
        self.open = None;
        self.report.segments += 1;
        self.at += 1;
        let next = self.segments.get(self.at).map_or(0, |next| next.first);
        if self.expected < next && self.expected <= self.keep {
            self.gap(self.expected, next - 1);
            self.expected = next;
        }
    }

    fn read_header(&mut self, piece: &Piece) -> Result<(), JournalError> {
        let json = self.json(piece.json.clone());
        self.header = Header::parse(json);
        if self.header.is_none() {
            return self.bad(piece);
        }
        let segment = &mut self.segments[self.at];
        segment.bytes = segment.bytes.max(piece.end);
        self.check_format()
    }

    fn check_format(&self) -> Result<(), JournalError> {
        match &self.header {
            Some(header) if header.min_reader > FORMAT => Err(JournalError::TooNew {
                path: self.segments[self.at].path(&self.dir),
                found: header.min_reader,
            }),
            _ => Ok(()),
        }
    }

    /// Bad bytes, or a line where it does not belong: damage, or the torn end of the last segment.
    fn bad(&mut self, piece: &Piece) -> Result<(), JournalError> {
        if !self.live && self.is_last() && self.proven()?.is_none_or(|proven| piece.start >= proven)
        {
            return self.torn(piece.start);
        }
        self.note_bad(piece);
        Ok(())
    }

    fn note_bad(&mut self, piece: &Piece) {
        let segment = self.segments[self.at].name();
        let bytes = piece.end - piece.start;
        if let Some(quarantine) = &mut self.quarantine
            && let Some(open) = &self.open
        {
            quarantine.put(&segment, piece.start, open.lines.bytes(piece.json.clone()));
        }
        let full = self.report.bad.len() >= MOST_NOTES;
        match self.report.bad.last_mut() {
            Some(last) if last.segment == segment && last.offset + last.bytes == piece.start => {
                last.bytes += bytes;
            }
            Some(last) if full => {
                *last = Bytes { segment, offset: piece.start, bytes };
            }
            _ => self.report.bad.push(Bytes { segment, offset: piece.start, bytes }),
        }
    }

    /// Where the last batch of the last segment begins.
    fn proven(&mut self) -> Result<Option<u64>, JournalError> {
        let Some(open) = &mut self.open else { return Ok(None) };
        if let Some(proven) = open.proven {
            return Ok(proven);
        }
        let segment = &self.segments[self.at];
        let failed = || JournalError::file(segment.path(&self.dir));
        let mut proven = None;
        let mut expected = self.expected;
        let lines = segment.lines(&*self.disk, &self.dir, segment.bytes, u64::MAX);
        let mut lines = lines.map_err(failed())?;
        while let Some(piece) = lines.next().map_err(failed())? {
            if let Kind::Event { seq, begins_batch } = piece.kind
                && seq >= expected
                && seq <= self.keep
            {
                expected = seq + 1;
                if begins_batch {
                    proven = Some(piece.start);
                }
            }
        }
        open.proven = Some(proven);
        Ok(proven)
    }

    /// Ends the last segment at `offset`, and with it the reading.
    fn torn(&mut self, offset: u64) -> Result<(), JournalError> {
        let segment = &self.segments[self.at];
        let failed = || JournalError::file(segment.path(&self.dir));
        let rest = segment.lines(&*self.disk, &self.dir, offset, u64::MAX);
        let mut rest = rest.map_err(failed())?;
        let name = segment.name();
        let mut bytes = 0;
        while let Some(piece) = rest.next().map_err(failed())? {
            bytes += piece.end - piece.start;
            let content = rest.bytes(piece.json);
            if let Some(quarantine) = &mut self.quarantine
                && content.iter().any(|byte| *byte != 0)
            {
                quarantine.put(&name, piece.start, content);
            }
        }
        self.report.torn = Some(Bytes { segment: name, offset, bytes });
        self.close();
        Ok(())
    }
}

/// Copies bad bytes into one file a segment, each piece behind a line that tells where it was. A disk that
/// cannot take them is no reason not to start.
struct Quarantine {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    file: Option<(String, Box<dyn DiskFile>, u64)>,
}

impl Quarantine {
    fn put(&mut self, segment: &str, offset: u64, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        if let Err(error) = self.try_put(segment, offset, bytes) {
            tracing::warn!(%error, segment, offset, "could not put damaged bytes aside");
        }
    }

    fn try_put(&mut self, segment: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if self.file.as_ref().is_none_or(|(name, _, _)| name != segment) {
            self.disk.create_dir(&self.dir)?;
            let path = self.dir.join(format!("journal-{segment}.bad"));
            let file = self.disk.open(&path, Open::Create)?;
            self.file = Some((segment.to_owned(), file, 0));
        }
        let Some((_, file, at)) = &mut self.file else { return Ok(()) };
        let mut text = format!("# {} bytes at {offset}\n", bytes.len()).into_bytes();
        text.extend_from_slice(&bytes[..bytes.len().min(LONGEST)]);
        text.push(b'\n');
        file.write_at(*at, &text)?;
        *at += text.len() as u64;
        Ok(())
    }
}
