//! The journal against torn files, bad bytes, failing disks and lost power.

mod crash;
mod damage;
mod faults;
mod ordinary;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::*;
use crate::disk::testing::CrashDisk;
use crate::disk::{self, Disk, Open};

const ROOT: &str = "/data";

const LIMITS: Limits = Limits { segment_bytes: 2048, emergency_bytes: 4096 };

fn identity() -> Identity {
    let instance = "01JD0000000000000000000000".parse().unwrap();
    Identity { instance, boot: "boot-1".into() }
}

fn event(seq: u64, text: &str) -> Line {
    let json = format!(r#"{{"seq":{seq},"kind":"test.happened","data":{{"text":"{text}"}}}}"#);
    Line { seq, json: json.into_bytes() }
}

/// The events that `texts` make behind `last`.
fn events<T: AsRef<str>>(last: u64, texts: &[T]) -> Vec<Line> {
    (last + 1..).zip(texts).map(|(seq, text)| event(seq, text.as_ref())).collect()
}

/// One commit a text.
fn commit(journal: &mut Journal, texts: &[&str]) {
    for text in texts {
        let lines = events(journal.last(), &[text]);
        assert_eq!(journal.append(&lines, Durability::Commit).unwrap(), None);
    }
}

fn numbered(range: std::ops::RangeInclusive<u64>) -> Vec<String> {
    range.map(|n| format!("event {n}")).collect()
}

/// A journal of `count` events, one batch each.
fn journal_of(disk: &CrashDisk, count: u64) -> Journal {
    let (mut journal, _, _) = open(disk);
    for text in numbered(1..=count) {
        commit(&mut journal, &[&text]);
    }
    journal
}

fn start(disk: &CrashDisk) -> Recovery {
    Recovery::start(Arc::new(disk.clone()), Path::new(ROOT), LIMITS).unwrap()
}

/// Opens the journal: it, the events behind the snapshot, and the report.
fn open(disk: &CrashDisk) -> (Journal, Vec<Line>, Report) {
    finish(start(disk))
}

fn finish(mut recovery: Recovery) -> (Journal, Vec<Line>, Report) {
    let mut lines = Vec::new();
    while let Some((seq, json)) = recovery.next().unwrap() {
        lines.push(Line { seq, json: json.to_vec() });
    }
    let (journal, report) = recovery.finish(identity()).unwrap();
    (journal, lines, report)
}

fn collect(mut events: Events) -> Vec<Line> {
    let mut lines = Vec::new();
    while let Some((seq, json)) = events.next().unwrap() {
        lines.push(Line { seq, json: json.to_vec() });
    }
    lines
}

fn seqs(lines: &[Line]) -> Vec<u64> {
    lines.iter().map(|line| line.seq).collect()
}

fn segment_path(first: u64) -> PathBuf {
    Path::new(ROOT).join(format!("journal/{first:020}.jsonl"))
}

fn names(disk: &CrashDisk, dir: &str) -> Vec<String> {
    let entries = disk.list(&Path::new(ROOT).join(dir)).unwrap();
    entries.into_iter().map(|entry| entry.name).collect()
}

fn content(disk: &CrashDisk, path: &Path) -> Vec<u8> {
    disk::read(disk, path).unwrap()
}

/// Puts `bytes` in the place of a file's content, durably.
fn rewrite(disk: &CrashDisk, path: &Path, bytes: &[u8]) {
    let file = disk.open(path, Open::Write).unwrap();
    file.set_len(0).unwrap();
    file.write_at(0, bytes).unwrap();
    file.sync().unwrap();
}
