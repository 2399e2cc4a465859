//! Opening a journal: what is there, what of it counts, and where to go on.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ao_slots::id::InstanceId;

use super::emergency::Emergency;
use super::line;
use super::reader::Events;
use super::scan::Scan;
use super::segment::Segment;
use super::snapshot::{self, Place, Snapshot};
use super::writer::{Index, Journal, Shared};
use super::{Gap, Identity, JournalError, Limits, Report};
use crate::disk::{Disk, Open};

/// A journal being opened. First take [`snapshot`](Recovery::snapshot), then all events behind it with
/// [`next`](Recovery::next), then [`finish`](Recovery::finish).
pub struct Recovery {
    disk: Arc<dyn Disk>,
    root: PathBuf,
    limits: Limits,
    scan: Scan,
    emergency: Emergency,
    snapshot: Option<Snapshot>,
    /// The last event that the snapshot holds.
    covered: u64,
}

impl Recovery {
    /// Looks at the journal in the data directory `root`, making it if there is none.
    pub fn start(disk: Arc<dyn Disk>, root: &Path, limits: Limits) -> Result<Self, JournalError> {
        let dir = root.join("journal");
        let made = disk.create_dir(&dir).and_then(|()| disk.sync_dir(root));
        made.map_err(JournalError::file(dir.clone()))?;
        tidy(&*disk, root, &dir).map_err(JournalError::file(dir.clone()))?;
        // A process that was killed may have left names that are not durable; on what they say much follows.
        disk.sync_dir(&dir).map_err(JournalError::file(dir))?;
        Self::look(disk, root, limits, true)
    }

    /// Forgets the snapshot, for a caller that cannot read it: all events follow.
    pub fn without_snapshot(self, why: String) -> Result<Self, JournalError> {
        let mut again = Self::look(self.disk, &self.root, self.limits, false)?;
        again.scan.report.snapshot = Some(why);
        Ok(again)
    }

    /// Why the snapshot that is there is not used.
    pub fn unusable_snapshot(&self) -> Option<&str> {
        self.scan.report.snapshot.as_deref()
    }

    /// The first event that the segments hold: 1 until retention has dropped some.
    pub fn first_kept(&self) -> u64 {
        self.scan.segments.first().map_or(1, |segment| segment.first)
    }

    /// The state to begin with.
    pub fn snapshot(&self) -> Option<&Snapshot> {
        self.snapshot.as_ref()
    }

    /// The identity that the segments carry; None for a new journal.
    pub fn instance(&self) -> Option<InstanceId> {
        let dir = self.root.join("journal");
        self.scan.segments.iter().rev().find_map(|segment| {
            segment.header(&*self.disk, &dir).ok().flatten().map(|header| header.instance)
        })
    }

    /// The next event behind the snapshot: its number and its JSON, as it was appended.
    #[expect(clippy::should_implement_trait, reason = "what it returns is borrowed from it")]
    pub fn next(&mut self) -> Result<Option<(u64, &[u8])>, JournalError> {
        Ok(match self.scan.next()? {
            Some((seq, json)) => Some((seq, self.scan.json(json))),
            None => None,
        })
    }

    /// Reads what is left, cuts the torn end, and makes the journal ready for appends. A disk that cannot be
    /// written is no error here: the appends will say so.
    pub fn finish(mut self, identity: Identity) -> Result<(Journal, Report), JournalError> {
        self.scan.drain()?;
        let Self { disk, root, limits, scan, emergency, covered, snapshot } = self;
        drop(snapshot);
        let Scan { segments, header, expected, mut report, .. } = scan;
        if covered >= expected {
            report.gaps.push(Gap { from: expected, to: covered });
        }
        let last = covered.max(expected - 1);
        let in_segments = emergency.held.as_ref().map_or(last, |held| held.after);
        let length = segments
            .last()
            .filter(|end| !end.packed && header.is_some() && end.last == in_segments)
            .map(|end| end.bytes);
        let index = Index {
            segments,
            held: emergency.held.as_ref().map_or_else(Vec::new, |held| held.lines.clone()),
            last,
            synced: last,
            snapshot: covered,
        };
        let shared = Arc::new(Shared::new(disk, &root, index));
        Ok((Journal::new(shared, identity, limits, emergency, in_segments, length), report))
    }

    fn look(
        disk: Arc<dyn Disk>,
        root: &Path,
        limits: Limits,
        use_snapshot: bool,
    ) -> Result<Self, JournalError> {
        let dir = root.join("journal");
        let mut segments = segments(&*disk, &dir).map_err(JournalError::file(dir.clone()))?;
        let (found, why) = match use_snapshot.then(|| snapshot::read(&*disk, root)) {
            Some(Ok(found)) => (found, None),
            Some(Err(why)) => (None, Some(why)),
            None => (None, None),
        };
        let (snapshot, place) = found.map_or((None, None), |(s, place)| (Some(s), place));
        if let Some(place) = place {
            use_place(&*disk, &dir, &mut segments, place);
        }
        let emergency = emergency(&disk, &dir, &segments, limits.emergency_bytes)?;
        let covered = snapshot.as_ref().map_or(0, |snapshot| snapshot.seq);
        let keep = emergency.held.as_ref().map_or(u64::MAX, |held| held.after);
        let mut scan = Scan::new(disk.clone(), dir, segments, covered + 1..=keep, false)?
            .quarantining(root.join("quarantine"));
        if let Some(held) = &emergency.held {
            scan = scan.then(held.lines());
        }
        scan.report.snapshot = why;
        Ok(Self { disk, root: root.to_owned(), limits, scan, emergency, snapshot, covered })
    }
}

/// Reads the journal in `root` from its first event, changing nothing, and tells what is wrong with it. For
/// when no server is running; else see [`Reader::verify`](super::Reader::verify).
pub fn verify(disk: Arc<dyn Disk>, root: &Path) -> Result<Report, JournalError> {
    let (mut scan, covered, why) = scan(disk, root)?;
    scan.drain()?;
    if covered >= scan.expected {
        scan.report.gaps.push(Gap { from: scan.expected, to: covered });
    }
    scan.report.snapshot = why;
    Ok(scan.report)
}

/// All events that are kept, read beside a running server; changes nothing.
pub fn read(disk: Arc<dyn Disk>, root: &Path) -> Result<Events, JournalError> {
    Ok(Events(scan(disk, root)?.0))
}

/// Everything that is there, the last event that the snapshot holds, and why that one is not used.
fn scan(disk: Arc<dyn Disk>, root: &Path) -> Result<(Scan, u64, Option<String>), JournalError> {
    let dir = root.join("journal");
    let segments = segments(&*disk, &dir).map_err(JournalError::file(dir.clone()))?;
    let (covered, why) = match snapshot::read(&*disk, root) {
        Ok(found) => (found.map_or(0, |(snapshot, _)| snapshot.seq), None),
        Err(why) => (0, Some(why)),
    };
    let first = segments.first().map_or(covered + 1, |segment| segment.first);
    // What the snapshot holds may have been dropped.
    let from = if first <= covered + 1 { first } else { covered + 1 };
    let held = emergency(&disk, &dir, &segments, 0)?.held;
    let keep = held.as_ref().map_or(u64::MAX, |held| held.after);
    let mut scan = Scan::new(disk, dir, segments, from..=keep, false)?;
    if let Some(held) = &held {
        scan = scan.then(held.lines());
    }
    Ok((scan, covered, why))
}

/// Removes what crashes left behind: files that were never finished, and archives of segments that are still
/// there (they are made again).
fn tidy(disk: &dyn Disk, root: &Path, dir: &Path) -> std::io::Result<()> {
    let names: Vec<String> = disk.list(dir)?.into_iter().map(|entry| entry.name).collect();
    for name in &names {
        let twin = name.strip_suffix(".zst").is_some_and(|raw| names.iter().any(|n| n == raw));
        if name.ends_with(".tmp") || twin {
            disk.remove(&dir.join(name))?;
        }
    }
    disk.remove(&snapshot::path(root).with_extension("json.tmp"))
}

fn segments(disk: &dyn Disk, dir: &Path) -> std::io::Result<Vec<Segment>> {
    let names = disk.list(dir)?.into_iter().map(|entry| entry.name);
    let mut segments: Vec<_> = names.filter_map(|name| Segment::from_name(&name)).collect();
    // Of a segment and its archive the segment is the original.
    segments.sort_by_key(|segment| (segment.first, segment.packed));
    segments.dedup_by_key(|segment| segment.first);
    for at in 1..segments.len() {
        segments[at - 1].last = segments[at].first - 1;
    }
    Ok(segments)
}

/// Reads the emergency segment. While it holds something no segment is begun behind the next event: one that
/// was says that the file is an old copy, from a backup perhaps, and it must not end the journal there.
fn emergency(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    segments: &[Segment],
    size: u64,
) -> Result<Emergency, JournalError> {
    let mut emergency = Emergency::read(disk.clone(), dir, size)
        .map_err(JournalError::file(dir.join(super::emergency::NAME)))?;
    let newest = segments.last().map_or(0, |segment| segment.first);
    if emergency.held.as_ref().is_some_and(|held| newest > held.after + 1) {
        emergency.moved();
    }
    Ok(emergency)
}

/// Notes the snapshot's place, if it is one: a line with that number begins there, or nothing.
fn use_place(disk: &dyn Disk, dir: &Path, segments: &mut [Segment], place: Place) {
    let Some(segment) = segments.iter_mut().find(|s| s.first == place.segment && !s.packed) else {
        return;
    };
    let looked = disk.open(&segment.path(dir), Open::Read).and_then(|file| {
        let mut head = [0; 32];
        let n = file.read_at(place.offset, &mut head)?;
        let ends = file.stat()?.len == place.offset;
        Ok(ends || line::seq_of(&head[..n]) == Some(place.seq))
    });
    if looked.unwrap_or(false) && place.seq > segment.first {
        segment.marks.push((place.seq, place.offset));
    }
}
