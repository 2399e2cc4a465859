//! One file of the journal: its name, its header, and the lines in it.

use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use ao_slots::id::InstanceId;
use serde::{Deserialize, Serialize};

use super::line;
use crate::disk::{Disk, DiskFile, Open};

/// The layout that this version writes, and the newest that it reads.
pub const FORMAT: u32 = 1;

/// A place to start reading every so many bytes.
const MARK_EVERY: u64 = 256 << 10;

/// What is known of one segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segment {
    /// The number in its name: its first event's, unless that one is damaged.
    pub(super) first: u64,
    /// Its last event; below `first` while it has none.
    pub(super) last: u64,
    /// Bytes of it that count; what follows was never acknowledged. 0 while it was not read.
    pub(super) bytes: u64,
    /// Whether it is compressed.
    pub(super) packed: bool,
    /// Some of its events with the places of their lines, in order.
    pub(super) marks: Vec<(u64, u64)>,
}

impl Segment {
    pub(super) fn new(first: u64, packed: bool) -> Self {
        Self { first, last: first.saturating_sub(1), bytes: 0, packed, marks: Vec::new() }
    }

    /// Reads a file's name. Others than segments are None.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        let (digits, packed) = match name.strip_suffix(".jsonl.zst") {
            Some(digits) => (digits, true),
            None => (name.strip_suffix(".jsonl")?, false),
        };
        let plain = digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit());
        plain.then(|| digits.parse().ok()).flatten().map(|first| Self::new(first, packed))
    }

    pub(super) fn name(&self) -> String {
        let Self { first, packed, .. } = self;
        format!("{first:020}.jsonl{}", if *packed { ".zst" } else { "" })
    }

    pub(super) fn path(&self, dir: &Path) -> PathBuf {
        dir.join(self.name())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.last < self.first
    }

    /// Notes the event whose line is at `start..end`.
    pub(super) fn add(&mut self, seq: u64, start: u64, end: u64) {
        if self.marks.last().is_none_or(|(_, at)| start >= at + MARK_EVERY) {
            self.marks.push((seq, start));
        }
        self.last = seq;
        self.bytes = end;
    }

    /// A place at or before the line of `seq`, with the event that begins there if one does.
    pub(super) fn mark(&self, seq: u64) -> (Option<u64>, u64) {
        let behind = self.marks.partition_point(|(mark, _)| *mark <= seq);
        match behind.checked_sub(1).map(|at| self.marks[at]) {
            Some((seq, offset)) => (Some(seq), offset),
            None => (None, 0),
        }
    }

    /// Its lines from `offset` on, up to `limit` bytes from its start.
    pub(super) fn lines(
        &self,
        disk: &dyn Disk,
        dir: &Path,
        offset: u64,
        limit: u64,
    ) -> io::Result<Lines> {
        let file = match disk.open(&self.path(dir), Open::Read) {
            // Compressed since the list was made.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !self.packed => {
                return Self::new(self.first, true).lines(disk, dir, offset, limit);
            }
            file => file?,
        };
        if !self.packed {
            let limit = limit.saturating_sub(offset);
            return Ok(Lines::new(Box::new(Source { file, at: offset }.take(limit)), offset));
        }
        let mut plain = zstd::stream::read::Decoder::new(Source { file, at: 0 })?;
        io::copy(&mut plain.by_ref().take(offset), &mut io::sink())?;
        Ok(Lines::new(Box::new(plain.take(limit.saturating_sub(offset))), offset))
    }

    /// Its header; None if that is damaged or unreadable.
    pub(super) fn header(&self, disk: &dyn Disk, dir: &Path) -> io::Result<Option<Header>> {
        let mut lines = self.lines(disk, dir, 0, line::LONGEST as u64)?;
        Ok(match lines.next() {
            Ok(Some(Piece { kind: Kind::Other, json, .. })) => Header::parse(lines.bytes(json)),
            _ => None,
        })
    }
}

/// The first line of a segment. It is no event and has no number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Header {
    pub(super) instance: InstanceId,
    /// The boot of the machine in which the segment was begun.
    pub(super) boot: String,
    /// The version of the layout, and the oldest that can read it.
    pub(super) format: u32,
    pub(super) min_reader: u32,
    /// The end of the segment before; what lies behind it there was never acknowledged.
    pub(super) after: Option<After>,
}

/// The end of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct After {
    /// Its last event.
    pub(super) seq: u64,
    /// Its length, uncompressed.
    pub(super) bytes: u64,
}

const HEADER_KIND: &str = "journal.segment";

#[derive(Serialize, Deserialize)]
struct HeaderLine<T> {
    kind: String,
    v: u32,
    data: T,
}

impl Header {
    pub(super) fn json(&self) -> Vec<u8> {
        let line = HeaderLine { kind: HEADER_KIND.to_owned(), v: 1, data: self };
        // A struct of texts and numbers has no value that JSON cannot say.
        serde_json::to_vec(&line).unwrap_or_default()
    }

    pub(super) fn parse(json: &[u8]) -> Option<Self> {
        let line: HeaderLine<Self> = serde_json::from_slice(json).ok()?;
        (line.kind == HEADER_KIND).then_some(line.data)
    }
}

struct Source {
    file: Box<dyn DiskFile>,
    at: u64,
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read_at(self.at, buffer)?;
        self.at += n as u64;
        Ok(n)
    }
}

/// Splits a segment into lines and checks each. Nothing is copied: a line is looked at where it was read.
pub(super) struct Lines {
    source: Box<dyn Read + Send>,
    buffer: Vec<u8>,
    /// The unread part of `buffer`, and up to where it is known to hold no newline.
    unread: Range<usize>,
    searched: usize,
    /// The place of `unread.start` in the segment.
    offset: u64,
    at_end: bool,
}

/// A line, or bytes that are none.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    pub(super) kind: Kind,
    /// Its place in the segment, newline included.
    pub(super) start: u64,
    pub(super) end: u64,
    /// Its JSON, or the bad bytes, for [`Lines::bytes`], until the next call of [`Lines::next`].
    pub(super) json: Range<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Event { seq: u64, begins_batch: bool },
    Other,
    Bad,
}

impl Lines {
    const CHUNK: usize = 256 << 10;

    pub(super) fn new(source: Box<dyn Read + Send>, offset: u64) -> Self {
        Self { source, buffer: Vec::new(), unread: 0..0, searched: 0, offset, at_end: false }
    }

    /// The bytes of the piece that was returned last.
    pub(super) fn bytes(&self, range: Range<usize>) -> &[u8] {
        &self.buffer[range]
    }

    /// The next line; what has no newline is bad.
    pub(super) fn next(&mut self) -> io::Result<Option<Piece>> {
        loop {
            let found = memchr::memchr(b'\n', &self.buffer[self.searched..self.unread.end]);
            if let Some(at) = found {
                let start = self.unread.start;
                let end = self.searched + at;
                let good = line::open(&mut self.buffer[start..end]);
                return Ok(Some(self.take(end + 1, good)));
            }
            self.searched = self.unread.end;
            if self.unread.len() >= line::LONGEST || (self.at_end && !self.unread.is_empty()) {
                return Ok(Some(self.take(self.unread.end, None)));
            }
            if self.at_end {
                return Ok(None);
            }
            self.fill()?;
        }
    }

    fn take(&mut self, end: usize, good: Option<line::Good>) -> Piece {
        let start = self.unread.start;
        self.unread.start = end;
        self.searched = end;
        let place = self.offset;
        self.offset += (end - start) as u64;
        let (kind, json) = match good {
            Some(line::Good { seq: Some(seq), begins_batch, json }) => {
                (Kind::Event { seq, begins_batch }, start..start + json)
            }
            Some(good) => (Kind::Other, start..start + good.json),
            None => (Kind::Bad, start..end),
        };
        Piece { kind, start: place, end: self.offset, json }
    }

    fn fill(&mut self) -> io::Result<()> {
        let kept = self.unread.len();
        if self.buffer.len() < kept + Self::CHUNK {
            let mut longer = vec![0; kept + Self::CHUNK];
            longer[..kept].copy_from_slice(&self.buffer[self.unread.clone()]);
            self.buffer = longer;
        } else {
            self.buffer.copy_within(self.unread.clone(), 0);
        }
        self.searched -= self.unread.start;
        self.unread = 0..kept;
        let n = self.source.read(&mut self.buffer[self.unread.end..])?;
        self.unread.end += n;
        self.at_end = n == 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(bytes: &[u8]) -> Vec<(Kind, String)> {
        // One byte a read: no boundary is left out.
        struct Slow(Vec<u8>, usize);
        impl Read for Slow {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let n = usize::from(self.1 < self.0.len());
                buffer[..n].copy_from_slice(&self.0[self.1..self.1 + n]);
                self.1 += n;
                Ok(n)
            }
        }
        let mut lines = Lines::new(Box::new(Slow(bytes.to_vec(), 0)), 0);
        let mut out = Vec::new();
        let mut at = 0;
        while let Some(piece) = lines.next().unwrap() {
            assert_eq!(piece.start, at);
            at = piece.end;
            out.push((piece.kind, String::from_utf8_lossy(lines.bytes(piece.json)).into_owned()));
        }
        assert_eq!(at, bytes.len() as u64);
        out
    }

    #[test]
    fn lines_are_split_checked_and_placed() {
        let mut bytes = Vec::new();
        line::seal(br#"{"kind":"x"}"#, false, &mut bytes);
        line::seal(br#"{"seq":1}"#, true, &mut bytes);
        bytes.extend_from_slice(b"\nnoise\n");
        line::seal(br#"{"seq":2}"#, false, &mut bytes);
        bytes.extend_from_slice(b"{\"seq\":3,");
        let event = |seq, begins_batch| Kind::Event { seq, begins_batch };
        assert_eq!(
            pieces(&bytes),
            [
                (Kind::Other, r#"{"kind":"x"}"#.to_owned()),
                (event(1, true), r#"{"seq":1}"#.to_owned()),
                (Kind::Bad, "\n".to_owned()),
                (Kind::Bad, "noise\n".to_owned()),
                (event(2, false), r#"{"seq":2}"#.to_owned()),
                (Kind::Bad, "{\"seq\":3,".to_owned()),
            ]
        );
    }

    #[test]
    fn a_file_without_newlines_is_read_in_bounded_pieces() {
        let mut lines = Lines::new(Box::new(io::repeat(0).take(5 << 20)), 0);
        let mut total = 0;
        while let Some(piece) = lines.next().unwrap() {
            assert_eq!(piece.kind, Kind::Bad);
            assert!(piece.json.len() <= 2 << 20);
            total += piece.json.len();
        }
        assert_eq!(total, 5 << 20);
        assert!(lines.buffer.len() <= 3 << 20);
    }

    #[test]
    fn names_read_back_and_others_are_left_alone() {
        for name in ["00000000000000000001.jsonl", "00000000000004194304.jsonl.zst"] {
            assert_eq!(Segment::from_name(name).unwrap().name(), name);
        }
        for name in [
            "emergency.jsonl",
            "1.jsonl",
            "0000000000000000000a.jsonl",
            "00000000000000000001.jsonl.tmp",
            "99999999999999999999.jsonl",
        ] {
            assert_eq!(Segment::from_name(name), None, "{name}");
        }
    }
}
