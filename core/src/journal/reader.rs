//! Reading events at will, while the journal is written.

use std::ops::RangeInclusive;
use std::sync::Arc;

use super::scan::Scan;
use super::segment::Lines;
use super::snapshot::{self, Place, Snapshot};
use super::writer::{Index, Shared};
use super::{JournalError, Report};

/// A handle for reading a journal, its snapshot and its archives. Clones share it, and it may be used from
/// any thread.
#[derive(Clone)]
pub struct Reader {
    pub(super) shared: Arc<Shared>,
}

impl Reader {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// The first event that is still kept, and the last. The range is empty while there is none.
    pub fn range(&self) -> RangeInclusive<u64> {
        let index = self.shared.index();
        index.segments.first().map_or(index.last + 1, |segment| segment.first)..=index.last
    }

    /// The events with these numbers, as far as they are kept, in order.
    pub fn read(&self, wanted: RangeInclusive<u64>) -> Result<Events, JournalError> {
        let (from, to) = wanted.into_inner();
        let index = self.shared.index();
        let to = to.min(index.last);
        if from > to {
            return self.scan(Vec::new(), from..=to, Vec::new()).map(Events);
        }
        let behind = index.segments.partition_point(|segment| segment.first <= to);
        let first = index.segments.partition_point(|segment| segment.first <= from);
        let segments = index.segments[first.saturating_sub(1)..behind].to_vec();
        let held = index.held.clone();
        drop(index);
        self.scan(segments, from..=to, held).map(Events)
    }

    /// The last `count` events.
    pub fn tail(&self, count: u64) -> Result<Events, JournalError> {
        let last = self.shared.index().last;
        self.read((last + 1).saturating_sub(count).max(1)..=last)
    }

    /// One event; None if it is not kept.
    pub fn get(&self, seq: u64) -> Result<Option<Vec<u8>>, JournalError> {
        let mut events = self.read(seq..=seq)?;
        Ok(events.next()?.map(|(_, json)| json.to_vec()))
    }

    /// Reads everything and tells what is wrong with it.
    pub fn verify(&self) -> Result<Report, JournalError> {
        let Index { segments, held, last, snapshot, .. } = &*self.shared.index();
        let (segments, held) = (segments.clone(), held.clone());
        let first = segments.first().map_or(1, |segment| segment.first);
        let from = if first <= snapshot + 1 { first } else { 1 };
        let mut scan = self.scan(segments, from..=*last, held)?;
        scan.drain()?;
        Ok(scan.report)
    }

    /// The snapshot, if there is a good one.
    pub fn snapshot(&self) -> Option<Snapshot> {
        snapshot::read(&*self.shared.disk, &self.shared.root).ok().flatten().map(|(found, _)| found)
    }

    /// Puts a snapshot in place of the one before. All its events must be durable.
    pub fn write_snapshot(&self, snapshot: &Snapshot) -> Result<(), JournalError> {
        let seq = snapshot.seq;
        let place = {
            let index = self.shared.index();
            if seq > index.synced {
                let why = "a snapshot holds durable events only";
                return Err(JournalError::Malformed { seq, why });
            }
            place(&index, seq + 1)
        };
        let Shared { disk, root, .. } = &*self.shared;
        snapshot::write(&**disk, root, snapshot, place)
            .map_err(JournalError::file(snapshot::path(root)))?;
        self.shared.index().snapshot = seq;
        Ok(())
    }

    fn scan(
        &self,
        segments: Vec<super::segment::Segment>,
        wanted: RangeInclusive<u64>,
        held: Vec<u8>,
    ) -> Result<Scan, JournalError> {
        let Shared { disk, dir, .. } = &*self.shared;
        let scan = Scan::new(disk.clone(), dir.clone(), segments, wanted, true)?;
        Ok(scan.then(Lines::new(Box::new(std::io::Cursor::new(held)), 0)))
    }
}

/// Where to read on with event `seq`.
fn place(index: &Index, seq: u64) -> Option<Place> {
    let last = index.segments.last()?;
    if seq == last.last + 1 {
        return Some(Place { segment: last.first, seq, offset: last.bytes });
    }
    let behind = index.segments.partition_point(|segment| segment.first <= seq);
    let segment = &index.segments[behind.checked_sub(1)?];
    match segment.mark(seq) {
        (Some(mark), offset) => Some(Place { segment: segment.first, seq: mark, offset }),
        (None, _) => None,
    }
}

/// Events in order, each borrowed until the next is asked for.
pub struct Events(pub(super) Scan);

impl Events {
    /// The next event: its number and its JSON, as it was appended.
    #[expect(clippy::should_implement_trait, reason = "what it returns is borrowed from it")]
    pub fn next(&mut self) -> Result<Option<(u64, &[u8])>, JournalError> {
        Ok(match self.0.next()? {
            Some((seq, json)) => Some((seq, self.0.json(json))),
            None => None,
        })
    }
}
