//! A machine that loses its power.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use super::{Dice, Faults, Op, lock};
use crate::disk::{Disk, DiskFile, Entry, Open, Stat, parent};

/// A disk in memory that knows what is durable and what is only cached. [`lose_power`](CrashDisk::lose_power)
/// keeps by chance a part of the rest. Clones share it.
#[derive(Clone)]
pub struct CrashDisk {
    world: Arc<Mutex<World>>,
    /// A script of errors beside the crashes.
    pub faults: Faults,
}

#[derive(Clone)]
struct World {
    inodes: Vec<Inode>,
    /// The names as the processes see them, and as they are on the medium.
    names: BTreeMap<PathBuf, Node>,
    kept: BTreeMap<PathBuf, Node>,
    /// Changes of names that no `sync_dir` made durable.
    moves: Vec<Move>,
    dice: Dice,
    steps: u64,
    stop_at: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Node {
    Dir,
    File(usize),
}

#[derive(Clone, Default)]
struct Inode {
    kept: Vec<u8>,
    cache: Vec<u8>,
    pending: Vec<Change>,
}

#[derive(Clone)]
enum Change {
    Write(usize, Vec<u8>),
    SetLen(usize),
}

#[derive(Clone)]
struct Move {
    from: Option<PathBuf>,
    to: Option<PathBuf>,
    node: Node,
}

impl CrashDisk {
    /// An empty disk with one folder, `/data`.
    pub fn new(seed: u64) -> Self {
        let names = BTreeMap::from([("/".into(), Node::Dir), ("/data".into(), Node::Dir)]);
        let world = World {
            inodes: Vec::new(),
            kept: names.clone(),
            names,
            moves: Vec::new(),
            dice: Dice(seed),
            steps: 0,
            stop_at: None,
        };
        Self { world: Arc::new(Mutex::new(world)), faults: Faults::default() }
    }

    /// The number of changing calls so far.
    pub fn steps(&self) -> u64 {
        lock(&self.world).steps
    }

    /// Stops the machine at the `nth` changing call from now (1 is the next): that call may or may not take
    /// effect, and it and all later ones fail.
    pub fn stop_at(&self, nth: u64) {
        let mut world = lock(&self.world);
        world.stop_at = Some(world.steps + nth);
    }

    /// Whether the machine has stopped.
    pub fn stopped(&self) -> bool {
        let world = lock(&self.world);
        world.stop_at.is_some_and(|at| world.steps >= at)
    }

    /// The disk that the next process finds after a kill: all that was written, synced or not.
    pub fn kill(&self) -> Self {
        let mut world = lock(&self.world).clone();
        world.stop_at = None;
        Self { world: Arc::new(Mutex::new(world)), faults: Faults::default() }
    }

    /// The disk that the next process finds after the loss of power: what was durable, and of the rest a
    /// part that chance picks: of the bytes none, all, a prefix or single blocks (the others read as zeros),
    /// of the names a prefix or a subset of the changes.
    pub fn lose_power(&self) -> Self {
        let mut world = lock(&self.world).clone();
        let World { inodes, kept, moves, dice, .. } = &mut world;
        let prefix = dice.one_in(2).then(|| dice.below(moves.len() as u64 + 1) as usize);
        for (at, change) in moves.drain(..).enumerate() {
            if prefix.map_or_else(|| dice.one_in(2), |prefix| at < prefix) {
                change.apply(kept);
            }
        }
        // What lies in a folder that is lost is lost with it.
        let dirs: Vec<_> =
            kept.iter().filter(|(_, n)| **n == Node::Dir).map(|(p, _)| p.clone()).collect();
        kept.retain(|path, _| path.ancestors().skip(1).all(|dir| dirs.iter().any(|d| d == dir)));
        for inode in inodes.iter_mut() {
            let pending = std::mem::take(&mut inode.pending);
            keep_some(pending, &mut inode.kept, dice);
            inode.cache = inode.kept.clone();
        }
        world.names = world.kept.clone();
        world.stop_at = None;
        Self { world: Arc::new(Mutex::new(world)), faults: Faults::default() }
    }

    /// Changes one byte of a file on the medium, as a failing disk or a curious person would.
    pub fn damage(&self, path: &Path, at: usize, byte: u8) {
        let mut world = lock(&self.world);
        if let Some(Node::File(inode)) = world.names.get(path).copied() {
            world.inodes[inode].kept[at] = byte;
            world.inodes[inode].cache[at] = byte;
        }
    }
}

/// Applies to `kept` what chance keeps of `pending`.
fn keep_some(pending: Vec<Change>, kept: &mut Vec<u8>, dice: &mut Dice) {
    const BLOCK: usize = 64;
    let mode = dice.below(4);
    let whole = dice.below(pending.len() as u64 + 1) as usize;
    for (at, change) in pending.into_iter().enumerate() {
        match (mode, change) {
            (0, _) => {}
            (1, change) => change.apply(kept),
            (2, change) if at < whole => change.apply(kept),
            (2, Change::Write(offset, mut bytes)) if at == whole => {
                bytes.truncate(dice.below(bytes.len() as u64 + 1) as usize);
                Change::Write(offset, bytes).apply(kept);
            }
            (2, _) => {}
            (_, Change::Write(offset, bytes)) => {
                for (n, block) in bytes.chunks(BLOCK).enumerate() {
                    if dice.one_in(2) {
                        Change::Write(offset + n * BLOCK, block.to_vec()).apply(kept);
                    }
                }
            }
            (_, change) => {
                if dice.one_in(2) {
                    change.apply(kept);
                }
            }
        }
    }
}

impl Change {
    fn apply(self, content: &mut Vec<u8>) {
        match self {
            Change::Write(_, bytes) if bytes.is_empty() => {}
            Change::Write(at, bytes) => {
                let end = at + bytes.len();
                if content.len() < end {
                    content.resize(end, 0);
                }
                content[at..end].copy_from_slice(&bytes);
            }
            Change::SetLen(length) => content.resize(length, 0),
        }
    }
}

impl Move {
    fn apply(self, names: &mut BTreeMap<PathBuf, Node>) {
        if let Some(from) = &self.from {
            names.remove(from);
        }
        if let Some(to) = self.to {
            names.insert(to, self.node);
        }
    }

    fn touches(&self, dir: &Path) -> bool {
        [&self.from, &self.to].into_iter().flatten().any(|path| parent(path) == dir)
    }
}

impl World {
    /// Counts a changing call. `Ok(false)`: the machine stops, and this call has no effect. `Ok(true)`: do
    /// it, then ask [`World::done`].
    fn step(&mut self) -> io::Result<bool> {
        if self.stop_at.is_some_and(|at| self.steps >= at) {
            return Err(io::Error::other("the machine has stopped"));
        }
        self.steps += 1;
        Ok(self.stop_at != Some(self.steps) || self.dice.one_in(2))
    }

    fn done(&self) -> io::Result<()> {
        match self.stop_at == Some(self.steps) {
            true => Err(io::Error::other("the machine has stopped")),
            false => Ok(()),
        }
    }

    fn change(&mut self, change: impl FnOnce(&mut Self)) -> io::Result<()> {
        if self.step()? {
            change(self);
        }
        self.done()
    }

    fn rename(&mut self, from: Option<PathBuf>, to: Option<PathBuf>, node: Node) {
        let change = Move { from, to, node };
        change.clone().apply(&mut self.names);
        self.moves.push(change);
    }

    fn write(&mut self, inode: usize, change: Change) {
        let inode = &mut self.inodes[inode];
        change.clone().apply(&mut inode.cache);
        inode.pending.push(change);
    }
}

fn missing(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, path.display().to_string())
}

impl fmt::Debug for CrashDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let world = lock(&self.world);
        let mut map = f.debug_map();
        for (path, node) in &world.names {
            if let Node::File(inode) = node {
                map.entry(path, &world.inodes[*inode].cache.escape_ascii().to_string());
            }
        }
        map.finish()
    }
}

impl Disk for CrashDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Box<dyn DiskFile>> {
        let mut world = lock(&self.world);
        let found = match world.names.get(path).copied() {
            Some(Node::Dir) => return Err(io::Error::from(io::ErrorKind::IsADirectory)),
            Some(Node::File(inode)) => Some(inode),
            None => None,
        };
        let inode = match (how, found) {
            (Open::Read | Open::Write, found) => found.ok_or_else(|| missing(path))?,
            (Open::Create, found) => {
                self.faults.check(Op::Create)?;
                self.faults.check(Op::Grow)?;
                if world.names.get(parent(path)) != Some(&Node::Dir) {
                    return Err(missing(parent(path)));
                }
                let inode = found.unwrap_or(world.inodes.len());
                world.change(|world| match found {
                    Some(inode) => world.write(inode, Change::SetLen(0)),
                    None => {
                        world.inodes.push(Inode::default());
                        world.rename(None, Some(path.to_owned()), Node::File(inode));
                    }
                })?;
                inode
            }
        };
        Ok(Box::new(CrashFile { disk: self.clone(), inode }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        let world = lock(&self.world);
        let inside = world.names.iter().filter(|(path, _)| path.parent() == Some(dir));
        Ok(inside
            .map(|(path, node)| Entry {
                name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
                bytes: match node {
                    Node::Dir => 0,
                    Node::File(inode) => world.inodes[*inode].cache.len() as u64,
                },
                modified: SystemTime::UNIX_EPOCH + Duration::from_secs(world.steps),
            })
            .collect())
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let mut world = lock(&self.world);
        let above: Vec<_> = dir.ancestors().collect();
        for dir in above.into_iter().rev() {
            if !world.names.contains_key(dir) {
                self.faults.check(Op::Grow)?;
                world.change(|world| world.rename(None, Some(dir.to_owned()), Node::Dir))?;
            }
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.faults.check(Op::Rename)?;
        let mut world = lock(&self.world);
        let node = *world.names.get(from).ok_or_else(|| missing(from))?;
        if world.names.get(parent(to)) != Some(&Node::Dir) {
            return Err(missing(parent(to)));
        }
        world.change(|world| world.rename(Some(from.to_owned()), Some(to.to_owned()), node))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.faults.check(Op::Remove)?;
        let mut world = lock(&self.world);
        let Some(node) = world.names.get(path).copied() else { return Ok(()) };
        world.change(|world| world.rename(Some(path.to_owned()), None, node))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.faults.check(Op::SyncDir)?;
        let mut world = lock(&self.world);
        if world.names.get(dir) != Some(&Node::Dir) {
            return Err(missing(dir));
        }
        world.change(|world| {
            let moves = std::mem::take(&mut world.moves);
            let (now, later): (Vec<_>, _) = moves.into_iter().partition(|m| m.touches(dir));
            world.moves = later;
            for change in now {
                change.apply(&mut world.kept);
            }
        })
    }

    fn free(&self, _: &Path) -> io::Result<u64> {
        Ok(u64::MAX)
    }
}

struct CrashFile {
    disk: CrashDisk,
    inode: usize,
}

impl DiskFile for CrashFile {
    fn stat(&self) -> io::Result<Stat> {
        let world = lock(&self.disk.world);
        let linked = world.names.values().any(|node| *node == Node::File(self.inode));
        Ok(Stat { len: world.inodes[self.inode].cache.len() as u64, linked })
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.disk.faults.check(Op::Read)?;
        let world = lock(&self.disk.world);
        let rest = world.inodes[self.inode].cache.get(offset as usize..).unwrap_or_default();
        let n = rest.len().min(buffer.len());
        buffer[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut world = lock(&self.disk.world);
        let grows = offset as usize + bytes.len() > world.inodes[self.inode].cache.len();
        let fault = self.disk.faults.hit(Op::Write);
        let fault = fault.or_else(|| grows.then(|| self.disk.faults.hit(Op::Grow)).flatten());
        let written = if fault.is_some() { &bytes[..bytes.len() / 2] } else { bytes };
        world.change(|world| {
            world.write(self.inode, Change::Write(offset as usize, written.to_vec()));
        })?;
        fault.map_or(Ok(()), Err)
    }

    fn sync(&self) -> io::Result<()> {
        let mut world = lock(&self.disk.world);
        let fault = self.disk.faults.hit(Op::Sync);
        world.change(|world| {
            let World { inodes, dice, .. } = world;
            let inode = &mut inodes[self.inode];
            let pending = std::mem::take(&mut inode.pending);
            if fault.is_some() {
                keep_some(pending, &mut inode.kept, dice);
            } else {
                for change in pending {
                    change.apply(&mut inode.kept);
                }
            }
        })?;
        fault.map_or(Ok(()), Err)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.disk.faults.check(Op::SetLen)?;
        let mut world = lock(&self.disk.world);
        world.change(|world| world.write(self.inode, Change::SetLen(length as usize)))
    }
}

#[cfg(test)]
mod tests {
    use crate::disk::{read, replace};
    use nix::errno::Errno;

    use super::*;

    #[test]
    fn what_was_not_synced_may_be_lost_and_what_was_synced_never_is() {
        let (mut lost, mut kept, mut torn) = (0, 0, 0);
        for seed in 0..200 {
            let disk = CrashDisk::new(seed);
            let path = Path::new("/data/x");
            let file = disk.open(path, Open::Create).unwrap();
            file.write_at(0, &[b'a'; 200]).unwrap();
            file.sync().unwrap();
            disk.sync_dir(Path::new("/data")).unwrap();
            file.write_at(200, &[b'b'; 200]).unwrap();
            let after = read(&disk.lose_power(), path).unwrap();
            assert_eq!(after[..200], [b'a'; 200], "seed {seed}");
            match after.len() {
                200 => lost += 1,
                400 if after[200..] == [b'b'; 200] => kept += 1,
                _ => torn += 1,
            }
            assert_eq!(read(&disk.kill(), path).unwrap().len(), 400);
        }
        assert!(lost > 10 && kept > 10 && torn > 10, "{lost} {kept} {torn}");
    }

    #[test]
    fn a_name_is_durable_only_after_its_folder_was_synced() {
        let path = Path::new("/data/x");
        let without = (0..100).filter(|seed| {
            let disk = CrashDisk::new(*seed);
            let file = disk.open(path, Open::Create).unwrap();
            file.sync().unwrap();
            disk.lose_power().open(path, Open::Read).is_err()
        });
        assert!((10..90).contains(&without.count()));
        for seed in 0..100 {
            let disk = CrashDisk::new(seed);
            replace(&disk, path, b"whole").unwrap();
            assert_eq!(read(&disk.lose_power(), path).unwrap(), b"whole");
        }
    }

    #[test]
    fn r7_a_sync_that_succeeds_after_one_that_failed_has_written_nothing() {
        let lost = (0..100).filter(|seed| {
            let disk = CrashDisk::new(*seed);
            let path = Path::new("/data/x");
            let file = disk.open(path, Open::Create).unwrap();
            disk.sync_dir(Path::new("/data")).unwrap();
            file.write_at(0, b"abc").unwrap();
            disk.faults.fail(Op::Sync, 1, Errno::EIO);
            file.sync().unwrap_err();
            file.sync().unwrap();
            read(&disk.lose_power(), path).unwrap() != b"abc"
        });
        assert!(lost.count() > 10);
    }

    #[test]
    fn a_stopped_machine_does_nothing_more() {
        let disk = CrashDisk::new(1);
        disk.stop_at(2);
        disk.open(Path::new("/data/a"), Open::Create).unwrap();
        assert!(!disk.stopped());
        assert!(disk.open(Path::new("/data/b"), Open::Create).is_err());
        assert!(disk.stopped());
        assert!(disk.open(Path::new("/data/c"), Open::Create).is_err());
        assert!(disk.kill().open(Path::new("/data/c"), Open::Create).is_ok());
    }
}
