//! Power that goes and processes that die, at every step. A failure names its seed.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use nix::errno::Errno;

use super::*;
use crate::disk::testing::{Dice, Op};

/// What a client of the journal knows, and so what a recovery must show.
#[derive(Default)]
struct Oracle {
    /// Acknowledged as durable, in order.
    durable: Vec<String>,
    /// Acknowledged as written; lost only with the power.
    written: Vec<String>,
    /// Appended when the machine stopped: never acknowledged, never refused.
    open: Vec<String>,
    refused: HashSet<String>,
    /// Whether the disk may fail a call: one that was under way may have cost what was `written`.
    faulty: bool,
    /// Whether a refusal could not be written down anywhere.
    unsettled: bool,
    made: u64,
}

impl Oracle {
    fn texts(&mut self, dice: &mut Dice) -> Vec<String> {
        let count = 1 + dice.below(5);
        let text = |_| {
            self.made += 1;
            format!("{}-{}", self.made, "x".repeat(dice.below(200) as usize))
        };
        (0..count).map(text).collect()
    }

    fn all(&self) -> impl Iterator<Item = &String> {
        self.durable.iter().chain(&self.written).chain(&self.open)
    }

    #[track_caller]
    fn check(&self, found: &[String], lost_power: bool, what: &str) {
        let settled = !self.unsettled;
        let kept = !lost_power && !self.faulty;
        let least = self.durable.len() + if kept { self.written.len() } else { 0 };
        assert!(found.len() >= least, "{what}: {} of {least} acknowledged found", found.len());
        // Where nothing at all could be written after a refusal, the refused may be there.
        let must: Vec<_> = self.all().take(if settled { usize::MAX } else { least }).collect();
        for (at, text) in found.iter().enumerate() {
            match must.get(at) {
                Some(expected) => assert_eq!(&text, expected, "{what}: event {}", at + 1),
                None => assert!(!settled, "{what}: event {} was never sent", at + 1),
            }
            let back = self.refused.contains(text);
            assert!(!settled || !back, "{what}: event {} was refused and is back", at + 1);
        }
    }
}

/// One life of a server: what it appends, until the machine stops.
fn live(disk: &CrashDisk, journal: &mut Journal, oracle: &mut Oracle, dice: &mut Dice) {
    while !disk.stopped() {
        match dice.below(100) {
            0..70 => append(disk, journal, oracle, dice, false),
            70..76 => append(disk, journal, oracle, dice, true),
            76..80 => {
                let synced = journal.sync();
                settle(disk, journal, oracle, Vec::new(), synced.is_ok());
            }
            80..88 => snapshot(journal, oracle),
            88..92 => drop(journal.reader().compact()),
            92..94 => {
                let probed = journal.probe().is_ok();
                oracle.unsettled &= !probed;
            }
            94..96 => {
                disk.faults.heal();
                oracle.faulty = false;
            }
            96 => {
                disk.faults.fail_always(Op::Grow, Errno::ENOSPC);
                oracle.faulty = true;
            }
            _ => {
                let ops = [
                    Op::Write,
                    Op::Grow,
                    Op::Sync,
                    Op::Create,
                    Op::Rename,
                    Op::SyncDir,
                    Op::SetLen,
                ];
                for _ in 0..=dice.below(3) {
                    let op = ops[dice.below(ops.len() as u64) as usize];
                    disk.faults.fail(op, 1 + dice.below(4), Errno::EIO);
                }
                oracle.faulty = true;
            }
        }
    }
}

fn append(
    disk: &CrashDisk,
    journal: &mut Journal,
    oracle: &mut Oracle,
    dice: &mut Dice,
    emergency: bool,
) {
    let texts = oracle.texts(dice);
    let lines = events(journal.last(), &texts);
    if !emergency && dice.one_in(3) {
        let done = journal.append(&lines, Durability::Batch);
        if done.is_ok() {
            oracle.written.extend(texts);
        } else {
            settle(disk, journal, oracle, texts, false);
        }
        return;
    }
    let done = match emergency {
        false => journal.append(&lines, Durability::Commit).map(drop),
        true => journal.append_emergency(&lines),
    };
    settle(disk, journal, oracle, texts, done.is_ok());
}

/// Learns from the outcome of a call that made everything durable, or said that it did not.
fn settle(
    disk: &CrashDisk,
    journal: &Journal,
    oracle: &mut Oracle,
    texts: Vec<String>,
    done: bool,
) {
    let Oracle { durable, written, open, refused, unsettled, .. } = oracle;
    if disk.stopped() {
        open.extend(texts);
    } else if done {
        durable.append(written);
        durable.extend(texts);
    } else {
        // An append that failed may have cost batches before it that waited for their sync.
        let left = journal.last() as usize - durable.len();
        refused.extend(written.drain(left..));
        refused.extend(texts);
    }
    if !disk.stopped() {
        *unsettled = !journal.is_settled();
    }
}

fn snapshot(journal: &mut Journal, oracle: &Oracle) {
    let seq = oracle.durable.len() as u64;
    let state = serde_json::to_vec(&oracle.durable).unwrap();
    drop(journal.reader().write_snapshot(&Snapshot { seq, state_hash: "none".into(), state }));
}

fn texts_of(lines: &[Line]) -> Vec<String> {
    let value = |line: &Line| serde_json::from_slice::<serde_json::Value>(&line.json).unwrap();
    lines.iter().map(|line| value(line)["data"]["text"].as_str().unwrap().to_owned()).collect()
}

/// Opens what a crash left, and reads all events: those in the snapshot and those behind it.
fn recover(disk: &CrashDisk) -> (Journal, Vec<String>, Report) {
    let recovery = start(disk);
    let mut found: Vec<String> = match recovery.snapshot() {
        Some(snapshot) => serde_json::from_slice(&snapshot.state).unwrap(),
        None => Vec::new(),
    };
    let (journal, lines, report) = finish(recovery);
    found.extend(texts_of(&lines));
    (journal, found, report)
}

/// 2,000 in the tests; `scripts/soak` asks for more.
fn states() -> u64 {
    std::env::var("AO_CRASH_STATES").ok().and_then(|text| text.parse().ok()).unwrap_or(2000)
}

#[test]
fn r2_acknowledged_events_survive_every_crash_and_refused_ones_none() {
    let lives = 4;
    let (mut torn, mut unsettled) = (0, 0);
    let first: u64 =
        std::env::var("AO_CRASH_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    for seed in (first..).take((states() / lives) as usize) {
        let mut dice = Dice(seed);
        let mut disk = CrashDisk::new(seed);
        let mut oracle = Oracle::default();
        for life in 0..lives {
            let what = format!("seed {seed}, life {life}");
            disk.stop_at(1 + dice.below(150));
            let opened = Recovery::start(Arc::new(disk.clone()), Path::new(ROOT), LIMITS)
                .and_then(|recovery| recovery.finish(identity()));
            if let Ok((mut journal, _)) = opened {
                live(&disk, &mut journal, &mut oracle, &mut dice);
            }
            let lost_power = dice.one_in(2);
            disk = if lost_power { disk.lose_power() } else { disk.kill() };
            let offline = verify(Arc::new(disk.clone()), Path::new(ROOT)).unwrap();
            assert!(!offline.is_damaged(), "{what}: {offline:?}");
            let (journal, found, report) = recover(&disk);
            torn += u64::from(report.torn.is_some());
            unsettled += u64::from(oracle.unsettled);
            assert!(!report.is_damaged(), "{what}: {report:?}");
            oracle.check(&found, lost_power, &what);
            // Whatever the start showed is durable from then on.
            drop(journal);
            disk = disk.lose_power();
            let (_, again, report) = finish_full(&disk);
            assert!(again == found, "{what}: {} events, then {}", found.len(), again.len());
            assert!(!report.is_damaged() && report.torn.is_none(), "{what}: {report:?}");
            oracle.refused.retain(|text| !found.contains(text));
            oracle.durable = found;
            oracle.written.clear();
            oracle.open.clear();
            (oracle.faulty, oracle.unsettled) = (false, false);
        }
    }
    println!("torn ends {torn}, lives that ended with a disk that took nothing {unsettled}");
    assert!(torn > states() / 50, "the disk is too kind: {torn}");
    assert!(unsettled < states() / 5, "the oracle is too kind: {unsettled}");
}

fn finish_full(disk: &CrashDisk) -> (Journal, Vec<String>, Report) {
    let (journal, lines, mut report) = finish(start(disk).without_snapshot("test".into()).unwrap());
    report.snapshot = None;
    (journal, texts_of(&lines), report)
}

#[test]
fn r8_a_new_segments_name_is_durable_before_anything_is_acknowledged_in_it() {
    for seed in 0..100 {
        let disk = CrashDisk::new(seed);
        let (mut journal, _, _) = open(&disk);
        commit(&mut journal, &[&"x".repeat(1900)]);
        // The next append begins a segment; the process dies at one of the steps of that.
        disk.stop_at(1 + seed % 6);
        let lines = events(1, &["event 2"]);
        let died = journal.append(&lines, Durability::Commit).is_err();
        let disk = disk.kill();
        let (mut journal, found, _) = open(&disk);
        assert!(found.len() == 2 || died, "seed {seed}");
        commit(&mut journal, &["last"]);
        let (_, lines, report) = open(&disk.lose_power());
        assert_eq!(lines.len(), found.len() + 1, "seed {seed}");
        assert!(!report.is_damaged(), "seed {seed}: {report:?}");
    }
}

#[test]
fn r8_a_crash_at_any_step_of_rotation_compaction_snapshot_and_retention_changes_nothing() {
    // A machine at rest, on which each step is then a crash.
    let before = CrashDisk::new(8);
    drop(journal_of(&before, 50));
    let upkeep = |disk: &CrashDisk| -> Result<(), JournalError> {
        let (journal, _) =
            Recovery::start(Arc::new(disk.clone()), Path::new(ROOT), LIMITS)?.finish(identity())?;
        let mut journal = journal;
        let reader = journal.reader();
        reader.compact()?;
        let texts = &numbered(1..=50);
        let state = serde_json::to_vec(texts).unwrap();
        reader.write_snapshot(&Snapshot {
            seq: 50,
            state_hash: "a".into(),
            state: state.clone(),
        })?;
        reader.write_snapshot(&Snapshot { seq: 50, state_hash: "b".into(), state })?;
        let retention = Retention { age: Duration::MAX, bytes: 1024 };
        reader.retain(retention, SystemTime::UNIX_EPOCH)?;
        for text in numbered(51..=75) {
            let lines = events(journal.last(), &[text]);
            journal.append(&lines, Durability::Commit)?;
        }
        reader.compact()?;
        Ok(())
    };
    let calm = before.kill();
    let steps = calm.steps();
    upkeep(&calm).unwrap();
    let steps = calm.steps() - steps;
    assert!(steps > 60, "{steps}");
    assert!(names(&calm, "journal").iter().any(|name| name.ends_with(".zst")));

    let live_bytes: u64 =
        before.list(&Path::new(ROOT).join("journal")).unwrap().iter().map(|e| e.bytes).sum();
    for kill in 0..200 {
        let disk = before.kill();
        let step = 1 + kill % steps;
        disk.stop_at(step);
        upkeep(&disk).unwrap_err();
        let what = format!("kill {kill} at step {step}");
        let disk = if kill % 2 == 0 { disk.kill() } else { disk.lose_power() };
        let (mut journal, found, report) = recover(&disk);
        assert!(!report.is_damaged(), "{what}: {report:?}");
        assert!(found.len() >= 50, "{what}");
        assert_eq!(found, numbered(1..=found.len() as u64), "{what}");
        let bytes: u64 =
            disk.list(&Path::new(ROOT).join("journal")).unwrap().iter().map(|e| e.bytes).sum();
        assert!(bytes <= 2 * live_bytes + LIMITS.segment_bytes, "{what}: {bytes}");
        let next = format!("event {}", found.len() + 1);
        commit(&mut journal, &[&next]);
        drop(journal);
        let (_, found, _) = recover(&disk.lose_power());
        assert_eq!(found.last(), Some(&next), "{what}");
    }
}
