//! A preallocated file, so that the one event that a human must hear of can be written on a full disk.
//!
//! `journal/emergency.jsonl` is written in place: a header that says after which event its lines follow, and
//! the lines. A first byte that is no `{` means that it is empty. Nothing is recorded anywhere else until its
//! lines were moved into a segment and that first byte was cleared; so while it holds something, what the
//! segments hold beyond `after` is either a copy of it or was refused, and does not count. A header without
//! lines says just that: it keeps refused events out when not even a new segment could be begun.
//!
//! One byte is cleared first, and durably, since a crash may leave any part of a longer write. What is then
//! left of an earlier use is wiped before the next one: half of a new header could otherwise complete an old.

use std::io::{self, Cursor};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::line;
use super::segment::{After, Header, Kind, Lines};
use crate::disk::{self, Disk, DiskFile, Open};

pub(super) const NAME: &str = "emergency.jsonl";

pub(super) struct Emergency {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    size: u64,
    file: Option<Box<dyn DiskFile>>,
    pub(super) held: Option<Held>,
    /// From where on the file may hold what does not count: it was moved, or refused.
    pub(super) stale: Option<u64>,
    /// Whether all behind what it holds is known to be NULs.
    wiped: bool,
}

/// What the file holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Held {
    /// The last event that counts in the segments.
    pub(super) after: u64,
    /// Its last event, or `after`.
    pub(super) last: u64,
    /// Its lines.
    pub(super) lines: Vec<u8>,
    /// Bytes used in the file.
    used: u64,
}

impl Held {
    pub(super) fn lines(&self) -> Lines {
        Lines::new(Box::new(Cursor::new(self.lines.clone())), 0)
    }
}

impl Emergency {
    /// Reads what it holds. A missing file holds nothing.
    pub(super) fn read(disk: Arc<dyn Disk>, dir: &Path, size: u64) -> io::Result<Self> {
        let path = dir.join(NAME);
        let (held, stale) = match disk::read(&*disk, &path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => (None, None),
            bytes => {
                let held = parse(bytes?);
                // That nothing follows may be known to the system's cache only.
                let end = held.as_ref().map_or(0, |held| held.used);
                (held, Some(end))
            }
        };
        Ok(Self { disk, path, size, file: None, held, stale, wiped: false })
    }

    /// Makes sure that the space is there.
    pub(super) fn arm(&mut self) -> io::Result<()> {
        if self.file.is_some() {
            return Ok(());
        }
        match self.disk.open(&self.path, Open::Write) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            file => {
                let file = file?;
                if let Some(held) = &self.held {
                    // What an earlier process left may be in the system's cache only.
                    let mut bytes = vec![0; held.used as usize];
                    disk::read_exact(&*file, 0, &mut bytes)?;
                    file.write_at(0, &bytes)?;
                    file.sync()?;
                }
                if self.held.is_some() || file.stat()?.len >= self.size {
                    self.file = Some(file);
                    return Ok(());
                }
            }
        }
        self.make()
    }

    fn make(&mut self) -> io::Result<()> {
        self.file = None;
        disk::replace(&*self.disk, &self.path, &vec![0; self.size as usize])?;
        self.file = Some(self.disk.open(&self.path, Open::Write)?);
        (self.stale, self.wiped) = (None, true);
        Ok(())
    }

    /// Writes `lines` durably, the last of which is event `last`. None: there is no room.
    pub(super) fn hold(
        &mut self,
        header: impl FnOnce() -> Header,
        lines: &[u8],
        last: u64,
    ) -> io::Result<Option<()>> {
        self.arm()?;
        self.clear()?;
        let Some(file) = &self.file else { return Ok(None) };
        let mut held = self.held.clone().unwrap_or_default();
        let size = file.stat()?.len;
        if !self.wiped {
            file.write_at(held.used, &vec![0; size.saturating_sub(held.used) as usize])?;
            file.sync()?;
            self.wiped = true;
        }
        let mut bytes = Vec::with_capacity(lines.len() + 512);
        if self.held.is_none() {
            let header = header();
            held.after = header.after.map_or(0, |after| after.seq);
            line::seal(&header.json(), false, &mut bytes);
        }
        let at = held.used;
        bytes.extend_from_slice(lines);
        held.used += bytes.len() as u64;
        if held.used > size {
            return Ok(None);
        }
        if let Err(error) = file.write_at(at, &bytes).and_then(|()| file.sync()) {
            // Refused is refused: what was written must not be found later.
            (self.stale, self.wiped) = (Some(at), false);
            if let Err(error) = self.clear() {
                tracing::warn!(%error, "could not clear the emergency segment");
            }
            return Err(error);
        }
        held.lines.extend_from_slice(lines);
        held.last = last;
        self.held = Some(held);
        Ok(Some(()))
    }

    /// What it held is in a segment now. Before anything else is recorded there it must be
    /// [cleared](Emergency::clear).
    pub(super) fn moved(&mut self) {
        self.held = None;
        (self.stale, self.wiped) = (Some(0), false);
    }

    /// Takes out of the file what does not count.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        let Some(at) = self.stale else { return Ok(()) };
        let cleared = match &self.file {
            Some(file) if file.stat()?.len == at => Ok(()),
            Some(file) => file.write_at(at, &[0]).and_then(|()| file.sync()),
            None => Err(io::ErrorKind::NotFound.into()),
        };
        match cleared {
            Err(_) if self.held.is_none() => self.make()?,
            cleared => cleared?,
        }
        self.stale = None;
        Ok(())
    }
}

fn parse(bytes: Vec<u8>) -> Option<Held> {
    if bytes.first() != Some(&b'{') {
        return None;
    }
    let mut lines = Lines::new(Box::new(Cursor::new(bytes.clone())), 0);
    let first = lines.next().ok().flatten().filter(|piece| piece.kind == Kind::Other)?;
    let header = Header::parse(lines.bytes(first.json))?;
    let after = header.after.map_or(0, |After { seq, .. }| seq);
    let mut end = first.end;
    let mut last = after;
    while let Ok(Some(piece)) = lines.next() {
        match piece.kind {
            Kind::Event { seq, .. } if seq == last + 1 => {
                last = seq;
                end = piece.end;
            }
            _ => break,
        }
    }
    let lines = bytes[first.end as usize..end as usize].to_vec();
    Some(Held { after, last, lines, used: end })
}
