//! The state after some event, so that a start need not read all before it.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::line;
use crate::disk::{self, Disk};

/// The state after event `seq`, as the caller wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The last event that the state holds.
    pub seq: u64,
    /// The caller's hash of the state, to be compared after reading. Letters and digits.
    pub state_hash: String,
    /// The state, a JSON value.
    pub state: Vec<u8>,
}

/// Where reading goes on after a snapshot: the line of event `seq` in the segment that begins with `segment`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    pub(super) segment: u64,
    pub(super) seq: u64,
    pub(super) offset: u64,
}

#[derive(Serialize, Deserialize)]
struct Head {
    seq: u64,
    state_hash: String,
    place: Option<Place>,
}

const STATE: &[u8] = b",\"state\":";

pub(super) fn path(root: &Path) -> PathBuf {
    root.join("snapshot.json")
}

/// Puts the snapshot in place of the one before: one JSON object, sealed like an event.
pub(super) fn write(
    disk: &dyn Disk,
    root: &Path,
    snapshot: &Snapshot,
    place: Option<Place>,
) -> io::Result<()> {
    let Snapshot { seq, state_hash, state } = snapshot;
    if !state_hash.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "a state hash is letters and digits",
        ));
    }
    let head = serde_json::to_vec(&Head { seq: *seq, state_hash: state_hash.clone(), place })?;
    let mut json = Vec::with_capacity(head.len() + state.len() + 32);
    json.extend_from_slice(&head[..head.len() - 1]);
    json.extend_from_slice(STATE);
    json.extend_from_slice(state.trim_ascii());
    json.push(b'}');
    let mut sealed = Vec::with_capacity(json.len() + 32);
    line::seal(&json, false, &mut sealed);
    drop(json);
    disk::replace(disk, &path(root), &sealed)
}

/// Reads the snapshot. None: there is none. The error says why the one that is there cannot be used.
pub(super) fn read(
    disk: &dyn Disk,
    root: &Path,
) -> Result<Option<(Snapshot, Option<Place>)>, String> {
    let mut bytes = match disk::read(disk, &path(root)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        bytes => bytes.map_err(|error| error.to_string())?,
    };
    parse(&mut bytes).map(Some).ok_or_else(|| "its checksum is wrong".to_owned())
}

fn parse(bytes: &mut Vec<u8>) -> Option<(Snapshot, Option<Place>)> {
    bytes.pop().filter(|last| *last == b'\n')?;
    let good = line::open(bytes)?;
    let split = memchr::memmem::find(bytes, STATE)?;
    let mut head = bytes[..split].to_vec();
    head.push(b'}');
    let Head { seq, state_hash, place } = serde_json::from_slice(&head).ok()?;
    bytes.truncate(good.json - 1);
    bytes.drain(..split + STATE.len());
    Some((Snapshot { seq, state_hash, state: std::mem::take(bytes) }, place))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::testing::CrashDisk;

    #[test]
    fn a_snapshot_reads_back_and_every_flipped_bit_is_noticed() {
        let disk = CrashDisk::new(1);
        let root = Path::new("/data");
        assert_eq!(read(&disk, root), Ok(None));
        let snapshot = Snapshot {
            seq: 7,
            state_hash: "ab12".into(),
            state: br#"{"a":",\"state\":","b":[1]}"#.to_vec(),
        };
        let place = Some(Place { segment: 1, seq: 8, offset: 300 });
        write(&disk, root, &snapshot, place).unwrap();
        assert_eq!(read(&disk.lose_power(), root), Ok(Some((snapshot, place))));
        let bytes = disk::read(&disk, &path(root)).unwrap();
        serde_json::from_slice::<serde_json::Value>(&bytes).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(parse(&mut bad), None, "bit {bit}");
        }
    }

    #[test]
    fn a_hash_that_could_hide_the_state_is_refused() {
        let disk = CrashDisk::new(1);
        let snapshot =
            Snapshot { seq: 1, state_hash: "\",\"state\":".into(), state: b"{}".to_vec() };
        write(&disk, Path::new("/data"), &snapshot, None).unwrap_err();
    }
}
