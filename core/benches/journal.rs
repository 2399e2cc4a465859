//! What the journal costs beyond the disk: run by `scripts/bench`, or `cargo bench -p ao-core --bench journal`.
//!
//! Each figure stands beside the floor of the same disk for the same bytes, measured in the same run: a plain
//! write and fdatasync a batch.
#![expect(clippy::print_stdout, reason = "a benchmark prints")]

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use ao_core::disk::{Disk, DiskFile, Open, RealDisk};
use ao_core::journal::{Durability, Identity, Journal, Limits, Line, Recovery, Snapshot};

type Outcome<T> = Result<T, Box<dyn Error>>;

const MOST: usize = 256;

fn main() -> Outcome<()> {
    // Other tools run benches to list what is in them.
    if !std::env::args().any(|arg| arg == "--bench") {
        return Ok(());
    }
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    println!("batch size: events/s of the journal, of the raw disk, ratio");
    for size in [1, 4, 16, 64, 256, 1000] {
        batches(dir.path(), size)?;
    }
    producers(dir.path(), 64)?;
    recovery(dir.path(), 1_000_000)
}

/// About 290 bytes, as an event of a session is.
fn event(seq: u64) -> Line {
    let json = format!(
        r#"{{"seq":{seq},"at":"2026-11-21T10:{:02}:{:02}.123Z","class":"obs","kind":"agent.tool-finished","v":1,"session":"app-{}","project":"app","corr":"c{seq}","because":[{}],"rule":"agent.progress","data":{{"tool":"Bash","ok":true,"ms":{},"files":["core/src/journal/writer.rs"],"note":"cargo test"}}}}"#,
        seq / 60 % 60,
        seq % 60,
        seq % 100,
        seq.saturating_sub(1),
        seq * 7 % 5000,
    );
    Line { seq, json: json.into_bytes() }
}

fn lines(journal: &Journal, count: usize) -> Vec<Line> {
    (journal.last() + 1..).take(count).map(event).collect()
}

fn open(root: &Path) -> Outcome<Journal> {
    let recovery = Recovery::start(Arc::new(RealDisk), root, Limits::default())?;
    let identity =
        Identity { instance: "01JD0000000000000000000000".parse()?, boot: "bench".to_owned() };
    Ok(recovery.finish(identity)?.0)
}

/// The floor: the same bytes to a plain file.
struct Raw {
    file: Box<dyn DiskFile>,
    at: u64,
}

impl Raw {
    fn new(path: &Path) -> Outcome<Self> {
        Ok(Self { file: RealDisk.open(path, Open::Create)?, at: 0 })
    }

    fn batch(&mut self, bytes: &[u8]) -> Outcome<()> {
        self.file.write_at(self.at, bytes)?;
        self.at += bytes.len() as u64;
        Ok(self.file.sync()?)
    }
}

/// The bytes of one batch in the file: each line grows by its seal and a newline.
fn raw_bytes(lines: &[Line]) -> Vec<u8> {
    let length = lines.iter().map(|line| line.json.len() + 18).sum::<usize>() + 1;
    vec![b'x'; length]
}

fn rate(events: usize, took: Duration) -> f64 {
    events as f64 / took.as_secs_f64()
}

fn report(what: &str, events: usize, journal: Duration, raw: Duration) {
    println!(
        "{what}: {:.0}, {:.0}, {:.1} %",
        rate(events, journal),
        rate(events, raw),
        100.0 * raw.as_secs_f64() / journal.as_secs_f64()
    );
}

/// Batches of one size, the journal's and the floor's in turn.
fn batches(dir: &Path, size: usize) -> Outcome<()> {
    let root = dir.join(format!("batch-{size}"));
    let mut journal = open(&root)?;
    let mut raw = Raw::new(&root.join("raw"))?;
    let (mut in_journal, mut in_raw) = (Duration::ZERO, Duration::ZERO);
    let mut rounds = 0;
    while in_journal + in_raw < Duration::from_secs(3) {
        let lines = lines(&journal, size);
        let bytes = raw_bytes(&lines);
        let start = Instant::now();
        journal.append(&lines, Durability::Commit)?;
        in_journal += start.elapsed();
        let start = Instant::now();
        raw.batch(&bytes)?;
        in_raw += start.elapsed();
        rounds += 1;
    }
    report(&format!("  {size}"), rounds * size, in_journal, in_raw);
    Ok(())
}

/// Producers that each wait for their event before they send the next, as hooks do: first alone, for what
/// they get in all, then with each batch written raw beside it, for the ratio.
fn producers(dir: &Path, count: usize) -> Outcome<()> {
    let root = dir.join("producers");
    let mut journal = open(&root)?;
    let mut raw = Raw::new(&root.join("raw"))?;
    let seconds = Duration::from_secs(5);
    let start = Instant::now();
    let alone = produce(&mut journal, None, count, seconds)?;
    let took = start.elapsed();
    println!(
        "{count} producers that wait, durable: {:.0} events/s, {:.1} a batch",
        rate(alone.events, took),
        alone.events as f64 / alone.batches as f64
    );
    let beside = produce(&mut journal, Some(&mut raw), count, seconds)?;
    report("  their appends", beside.events, beside.journal, beside.raw);
    Ok(())
}

#[derive(Default)]
struct Commits {
    events: usize,
    batches: usize,
    journal: Duration,
    raw: Duration,
}

fn produce(
    journal: &mut Journal,
    raw: Option<&mut Raw>,
    count: usize,
    time: Duration,
) -> Outcome<Commits> {
    let (send, receive) = sync_channel::<SyncSender<()>>(MOST);
    let until = Instant::now() + time;
    std::thread::scope(|scope| {
        for _ in 0..count {
            let send = send.clone();
            scope.spawn(move || {
                let (done, wait) = sync_channel(1);
                while Instant::now() < until
                    && send.send(done.clone()).is_ok()
                    && wait.recv().is_ok()
                {}
            });
        }
        drop(send);
        commit(journal, raw, receive)
    })
}

/// The loop's part: drains what waits, appends it at once, and then releases it.
fn commit(
    journal: &mut Journal,
    mut raw: Option<&mut Raw>,
    inputs: Receiver<SyncSender<()>>,
) -> Outcome<Commits> {
    let mut commits = Commits::default();
    while let Ok(first) = inputs.recv() {
        let mut waiters = vec![first];
        waiters.extend(inputs.try_iter().take(MOST - 1));
        let lines = lines(journal, waiters.len());
        let start = Instant::now();
        journal.append(&lines, Durability::Commit)?;
        commits.journal += start.elapsed();
        commits.events += lines.len();
        commits.batches += 1;
        if let Some(raw) = &mut raw {
            let bytes = raw_bytes(&lines);
            let start = Instant::now();
            raw.batch(&bytes)?;
            commits.raw += start.elapsed();
        }
        for waiter in waiters {
            // A producer whose time is up is gone.
            let _ = waiter.send(());
        }
    }
    Ok(commits)
}

fn recovery(dir: &Path, count: u64) -> Outcome<()> {
    let root = dir.join("recovery");
    let mut journal = open(&root)?;
    let start = Instant::now();
    while journal.last() < count {
        journal.append(&lines(&journal, 1000), Durability::Batch)?;
    }
    journal.sync()?;
    println!(
        "{count} events without a sync each: {:.0} events/s",
        rate(count as usize, start.elapsed())
    );
    let reader = journal.reader();
    drop(journal);
    let bytes: u64 = RealDisk.list(&root.join("journal"))?.iter().map(|entry| entry.bytes).sum();
    println!("recovery of {count} events, {} MB, from the cache:", bytes / 1_000_000);
    timed("  raw, checked and in order", &root, count)?;
    let state = vec![b'1'; 4 << 20];
    let snapshot = |seq| Snapshot { seq, state_hash: "0".to_owned(), state: state.clone() };
    reader.write_snapshot(&snapshot(count - 10_000))?;
    timed("  with a snapshot of 4 MiB and 10,000 events behind it", &root, 10_000)?;
    reader.write_snapshot(&snapshot(count))?;
    timed("  with a snapshot of 4 MiB and nothing behind it", &root, 0)?;
    let start = Instant::now();
    let packed = reader.compact()?;
    println!("compression of {packed} segments: {:.2} s", start.elapsed().as_secs_f64());
    let bytes: u64 = RealDisk.list(&root.join("journal"))?.iter().map(|entry| entry.bytes).sum();
    println!("  {} MB are left", bytes / 1_000_000);
    let start = Instant::now();
    let report = reader.verify()?;
    println!("  verified: {} events in {:.2} s", report.events, start.elapsed().as_secs_f64());
    Ok(())
}

fn timed(what: &str, root: &Path, expected: u64) -> Outcome<()> {
    let mut best = Duration::MAX;
    for _ in 0..5 {
        let start = Instant::now();
        let mut recovery = Recovery::start(Arc::new(RealDisk), root, Limits::default())?;
        let (mut events, mut bytes) = (0, 0);
        while let Some((_, json)) = recovery.next()? {
            events += 1;
            bytes += json.len();
        }
        std::hint::black_box(bytes);
        best = best.min(start.elapsed());
        if events != expected {
            return Err(format!("{events} events were recovered instead of {expected}").into());
        }
    }
    println!("{what}: {:.3} s", best.as_secs_f64());
    Ok(())
}
