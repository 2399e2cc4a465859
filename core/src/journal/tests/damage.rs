//! Torn ends, bad bytes, missing files, and people who edit the journal.

use super::*;
use crate::disk::testing::Dice;

/// The whole of the first segment behind `count` events, and where its last line begins.
fn whole(disk: &CrashDisk, count: u64) -> (Vec<u8>, usize) {
    drop(journal_of(disk, count));
    let bytes = content(disk, &segment_path(1));
    let last = memchr::memrchr(b'\n', &bytes[..bytes.len() - 1]).unwrap() + 1;
    (bytes, last)
}

/// After `bytes` were found: `kept` events are left, nothing is damaged, and the next event follows them.
#[track_caller]
fn check_torn(disk: &CrashDisk, bytes: &[u8], kept: u64, what: &str) {
    rewrite(disk, &segment_path(1), bytes);
    let report = verify(Arc::new(disk.clone()), Path::new(ROOT)).unwrap();
    assert!(!report.is_damaged(), "{what}: {report:?}");
    let (mut journal, lines, report) = open(disk);
    assert_eq!(seqs(&lines), (1..=kept).collect::<Vec<_>>(), "{what}");
    assert!(!report.is_damaged(), "{what}: {report:?}");
    commit(&mut journal, &["next"]);
    drop(journal);
    let (_, lines, report) = open(disk);
    assert_eq!(lines.last(), Some(&event(kept + 1, "next")), "{what}");
    assert_eq!(lines.len() as u64, kept + 1, "{what}");
    assert!(!report.is_damaged() && report.torn.is_none(), "{what}: {report:?}");
}

#[test]
fn r4_a_last_record_cut_at_any_byte_loses_only_itself() {
    let disk = CrashDisk::new(1);
    let (bytes, last) = whole(&disk, 5);
    for end in last..bytes.len() {
        check_torn(&disk, &bytes[..end], 4, &format!("cut at {end}"));
    }
    for end in 1..last {
        rewrite(&disk, &segment_path(1), &bytes[..end]);
        let (_, lines, report) = open(&disk);
        assert!(lines.len() <= 4 && !report.is_damaged(), "cut at {end}: {report:?}");
    }
}

#[test]
fn r4_garbage_behind_the_last_record_is_cut() {
    let disk = CrashDisk::new(1);
    let (bytes, last) = whole(&disk, 5);
    let line = &bytes[last..];
    for (what, tail) in [
        ("NULs", vec![0; 5000]),
        ("half a character", "{\"seq\":6,\"a\":\"é".as_bytes()[..14].to_vec()),
        ("the last line again", line.to_vec()),
        ("the last line twice", line.repeat(2)),
        ("a line cut and again", [&line[..30], line].concat()),
        ("an empty line", b"\n".to_vec()),
        ("text", b"hello\nworld\n".to_vec()),
    ] {
        check_torn(&disk, &[&bytes[..], &tail].concat(), 5, what);
        assert!(
            what == "NULs"
                || names(&disk, "quarantine")
                    .contains(&"journal-00000000000000000001.jsonl.bad".into()),
            "{what}"
        );
    }
}

#[test]
fn r4_a_last_batch_with_holes_is_torn_and_not_damage() {
    for hole in 0..3 {
        let disk = CrashDisk::new(1);
        let mut journal = journal_of(&disk, 2);
        let start = content(&disk, &segment_path(1)).len();
        journal.append(&events(2, &["a", "b", "c"]), Durability::Commit).unwrap();
        drop(journal);
        let mut bytes = content(&disk, &segment_path(1));
        let line = memchr::memchr_iter(b'\n', &bytes[start..]).nth(hole).unwrap() + start;
        bytes[line - 30..line].fill(0);
        check_torn(&disk, &bytes, 2 + hole as u64, &format!("hole in line {hole}"));
    }
}

#[test]
fn r5_a_flipped_bit_in_the_middle_is_damage_of_one_event() {
    let mut dice = Dice(5);
    for _ in 0..64 {
        let disk = CrashDisk::new(1);
        let (bytes, last) = whole(&disk, 9);
        let lines: Vec<usize> = memchr::memchr_iter(b'\n', &bytes).collect();
        // One of the events 2 to 8, without its newline: the loss of that joins two lines.
        let victim = 2 + dice.below(7) as usize;
        let at = lines[victim - 1] + 1;
        let bit = dice.below((lines[victim] - at) as u64 * 8) as usize;
        let mut bad = bytes.clone();
        bad[at + bit / 8] ^= 1 << (bit % 8);
        assert!(at < last);
        rewrite(&disk, &segment_path(1), &bad);
        let what = format!("bit {bit} of event {victim}");

        let report = verify(Arc::new(disk.clone()), Path::new(ROOT)).unwrap();
        assert!(report.is_damaged(), "{what}");
        let (mut journal, lines, report) = open(&disk);
        let gap = Gap { from: victim as u64, to: victim as u64 };
        assert_eq!(report.gaps, [gap], "{what}");
        let length = report.bad.iter().map(|bad| bad.bytes).sum::<u64>() as usize;
        assert_eq!(at + length, bytes.len() - bytes[at + length..].len(), "{what}");
        assert_eq!(report.bad[0].offset, at as u64, "{what}");
        assert_eq!(lines.len(), 8, "{what}");
        assert!(lines.iter().all(|line| line.seq != victim as u64), "{what}");
        let quarantined = content(
            &disk,
            &Path::new(ROOT).join("quarantine/journal-00000000000000000001.jsonl.bad"),
        );
        let evidence = &bad[at..at + 10];
        assert!(memchr::memmem::find(&quarantined, evidence).is_some(), "{what}");
        commit(&mut journal, &["event 10"]);
        assert!(journal.reader().verify().unwrap().is_damaged(), "{what}");
        let read = collect(journal.reader().read(1..=10).unwrap());
        assert_eq!(read.len(), 9, "{what}");
        assert_eq!(journal.reader().get(victim as u64).unwrap(), None, "{what}");
    }
}

#[test]
fn r5_damage_in_the_middle_and_a_torn_end_are_told_apart() {
    let disk = CrashDisk::new(1);
    let (bytes, last) = whole(&disk, 9);
    let mut bad = bytes[..bytes.len() - 10].to_vec();
    let third = memchr::memchr_iter(b'\n', &bytes).nth(2).unwrap() + 1;
    bad[third + 10] ^= 1;
    rewrite(&disk, &segment_path(1), &bad);
    let (mut journal, lines, report) = open(&disk);
    assert_eq!(seqs(&lines), [1, 2, 4, 5, 6, 7, 8]);
    assert_eq!(report.gaps, [Gap { from: 3, to: 3 }]);
    assert_eq!(report.bad.len(), 1, "{report:?}");
    assert_eq!(report.torn.unwrap().offset, last as u64);
    commit(&mut journal, &["event 9"]);
    drop(journal);
    let (_, lines, report) = open(&disk);
    assert_eq!((lines.len(), report.gaps.len(), report.torn), (8, 1, None));
}

#[test]
fn an_old_copy_of_the_emergency_segment_does_not_end_the_journal() {
    let disk = CrashDisk::new(1);
    let mut journal = journal_of(&disk, 5);
    let path = Path::new(ROOT).join("journal").join(super::super::emergency::NAME);
    journal.append_emergency(&events(5, &["event 6"])).unwrap();
    let old = content(&disk, &path);
    for text in numbered(7..=60) {
        commit(&mut journal, &[&text]);
    }
    drop(journal);
    rewrite(&disk, &path, &old);
    assert_eq!(verify(Arc::new(disk.clone()), Path::new(ROOT)).unwrap().events, 60);
    let (mut journal, lines, report) = open(&disk);
    assert_eq!((lines.len(), report.is_damaged()), (60, false));
    commit(&mut journal, &["event 61"]);
    drop(journal);
    assert_eq!(open(&disk.lose_power()).1.len(), 61);
}

#[test]
fn r5_a_deleted_line_is_a_gap() {
    let disk = CrashDisk::new(1);
    let (bytes, _) = whole(&disk, 9);
    let ends: Vec<usize> = memchr::memchr_iter(b'\n', &bytes).map(|at| at + 1).collect();
    for victim in 1..=8 {
        let bad = [&bytes[..ends[victim - 1]], &bytes[ends[victim]..]].concat();
        rewrite(&disk, &segment_path(1), &bad);
        let (_, lines, report) = open(&disk);
        assert_eq!(report.gaps, [Gap { from: victim as u64, to: victim as u64 }]);
        assert_eq!(lines.len(), 8);
        assert!(report.bad.is_empty() && report.is_damaged());
    }
}

#[test]
fn r5_a_damaged_header_loses_no_event_and_is_not_written_behind() {
    let disk = CrashDisk::new(1);
    let (bytes, _) = whole(&disk, 3);
    let header = memchr::memchr(b'\n', &bytes).unwrap() + 1;
    let mut bad = bytes.clone();
    bad[20] ^= 1;
    for (what, content_now) in [("flipped", &bad[..]), ("deleted", &bytes[header..])] {
        for name in names(&disk, "journal") {
            disk.remove(&Path::new(ROOT).join("journal").join(name)).unwrap();
        }
        disk.open(&segment_path(1), Open::Create).unwrap();
        rewrite(&disk, &segment_path(1), content_now);
        let (mut journal, lines, report) = open(&disk);
        assert_eq!((lines.len(), report.gaps.len(), report.bad.len()), (3, 0, 1), "{what}");
        commit(&mut journal, &["event 4"]);
        assert!(names(&disk, "journal").contains(&"00000000000000000004.jsonl".into()), "{what}");
        drop(journal);
        assert_eq!(open(&disk).1.len(), 4, "{what}");
    }
}

#[test]
fn r5_a_lost_or_shortened_segment_in_the_middle_is_a_gap() {
    let disk = CrashDisk::new(1);
    drop(journal_of(&disk, 60));
    let all: Vec<u64> = names(&disk, "journal")
        .iter()
        .filter_map(|name| name.strip_suffix(".jsonl")?.parse().ok())
        .collect();
    let (second, third) = (all[1], all[2]);
    let bytes = content(&disk, &segment_path(second));
    rewrite(&disk, &segment_path(second), &bytes[..bytes.len() - 5]);
    let (_, lines, report) = open(&disk);
    assert_eq!(report.gaps, [Gap { from: third - 1, to: third - 1 }]);
    assert_eq!(lines.len(), 59);
    disk.remove(&segment_path(second)).unwrap();
    let (mut journal, lines, report) = open(&disk);
    assert_eq!(report.gaps, [Gap { from: second, to: third - 1 }]);
    assert_eq!(lines.len() as u64, 60 - (third - second));
    commit(&mut journal, &["event 61"]);
}

#[test]
fn r5_a_damaged_archive_gives_what_it_still_can() {
    let disk = CrashDisk::new(1);
    let journal = journal_of(&disk, 60);
    journal.reader().compact().unwrap();
    drop(journal);
    let archive = segment_path(1).with_extension("jsonl.zst");
    let bytes = content(&disk, &archive);
    for end in [0, 3, bytes.len() / 2] {
        rewrite(&disk, &archive, &bytes[..end]);
        let (_, lines, report) = open(&disk);
        assert!(report.is_damaged(), "cut at {end}");
        assert!(lines.len() > 30 && lines.last().unwrap().seq == 60, "cut at {end}");
    }
}

#[test]
fn a_damaged_snapshot_means_a_full_replay_that_says_so() {
    let disk = CrashDisk::new(1);
    let journal = journal_of(&disk, 20);
    let snapshot = Snapshot { seq: 20, state_hash: "a".into(), state: b"{\"n\":20}".to_vec() };
    journal.reader().write_snapshot(&snapshot).unwrap();
    drop(journal);
    let path = Path::new(ROOT).join("snapshot.json");
    let mut bytes = content(&disk, &path);
    let at = bytes.len() / 2;
    bytes[at] ^= 4;
    rewrite(&disk, &path, &bytes);
    assert!(verify(Arc::new(disk.clone()), Path::new(ROOT)).unwrap().snapshot.is_some());
    let recovery = start(&disk);
    assert_eq!(recovery.snapshot(), None);
    let (_, lines, report) = finish(recovery);
    assert_eq!(lines.len(), 20);
    assert!(report.is_damaged() && report.snapshot.is_some(), "{report:?}");
}

#[test]
fn a_snapshot_ahead_of_the_journal_is_believed_and_the_loss_reported() {
    let disk = CrashDisk::new(1);
    let journal = journal_of(&disk, 20);
    let early = content(&disk, &segment_path(1));
    let snapshot = Snapshot { seq: 20, state_hash: "a".into(), state: b"{}".to_vec() };
    journal.reader().write_snapshot(&snapshot).unwrap();
    drop(journal);
    for name in names(&disk, "journal") {
        disk.remove(&Path::new(ROOT).join("journal").join(name)).unwrap();
    }
    let (mut journal, lines, report) = open(&disk);
    assert!(lines.is_empty() && report.is_damaged());
    assert_eq!(report.gaps.last().unwrap().to, 20);
    commit(&mut journal, &["event 21"]);
    drop(journal);
    disk.open(&segment_path(1), Open::Create).unwrap();
    rewrite(&disk, &segment_path(1), &early[..early.len() - 100]);
    let (journal, lines, _) = open(&disk);
    assert_eq!((seqs(&lines), journal.last()), (vec![21], 21));
}

#[test]
fn a_journal_that_someone_changed_is_reported_once_and_left_alone() {
    type Change = fn(&CrashDisk, &Path, &[u8]);
    let changes: [(&str, Change, u64); 4] = [
        ("bytes were appended", |disk, path, old| rewrite(disk, path, &[old, b"x\n"].concat()), 5),
        ("shortened by 7 bytes", |disk, path, old| rewrite(disk, path, &old[..old.len() - 7]), 4),
        (
            "last line was changed",
            |disk, path, old| disk.damage(path, old.len() - 5, old[old.len() - 5] ^ 1),
            4,
        ),
        ("removed or replaced", |disk, path, _| disk.remove(path).unwrap(), 0),
    ];
    for (what, change, left) in changes {
        let disk = CrashDisk::new(1);
        let mut journal = journal_of(&disk, 5);
        let path = segment_path(1);
        change(&disk, &path, &content(&disk, &path));
        let tampered = journal.append(&events(5, &["event 6"]), Durability::Commit).unwrap();
        let tampered = tampered.unwrap_or_else(|| panic!("not noticed: {what}"));
        assert!(tampered.what.contains(what) && tampered.path == path, "{tampered:?}");
        commit(&mut journal, &["event 7"]);
        drop(journal);
        let (_, lines, report) = open(&disk);
        assert_eq!(report.is_damaged(), left < 5, "{what}: {report:?}");
        assert_eq!(seqs(&lines), (1..=left).chain([6, 7]).collect::<Vec<_>>(), "{what}");
    }
}
