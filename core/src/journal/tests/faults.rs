//! Disks that are full or failing.

use nix::errno::Errno;

use super::*;
use crate::disk::RealDisk;
use crate::disk::testing::{FailingDisk, Op};

fn append(journal: &mut Journal, text: &str) -> Result<Option<Tampered>, JournalError> {
    let lines = events(journal.last(), &[text]);
    journal.append(&lines, Durability::Commit)
}

fn texts(lines: &[Line]) -> Vec<String> {
    let value = |line: &Line| serde_json::from_slice::<serde_json::Value>(&line.json).unwrap();
    lines.iter().map(|line| value(line)["data"]["text"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn r6_a_failed_write_leaves_nothing_and_the_next_one_succeeds() {
    for errno in [Errno::ENOSPC, Errno::EDQUOT, Errno::EIO] {
        for op in [Op::Write, Op::Grow] {
            let disk = CrashDisk::new(1);
            let mut journal = journal_of(&disk, 3);
            let before = content(&disk, &segment_path(1));
            disk.faults.fail_always(op, errno);
            for _ in 0..3 {
                let error = append(&mut journal, "refused").unwrap_err();
                assert!(matches!(error, JournalError::Refused { from: 4, .. }), "{error}");
                assert_eq!(error.is_disk_full(), errno != Errno::EIO);
                assert_eq!(content(&disk, &segment_path(1)), before);
                assert_eq!(journal.last(), 3);
                journal.probe().unwrap_err();
            }
            disk.faults.heal();
            journal.probe().unwrap();
            append(&mut journal, "event 4").unwrap();
            drop(journal);
            let (_, lines, report) = open(&disk);
            assert_eq!(texts(&lines), numbered(1..=4));
            assert!(!report.is_damaged() && report.torn.is_none(), "{report:?}");
            assert!(!names(&disk, "journal").iter().any(|name| name.ends_with(".tmp")));
        }
    }
}

#[test]
fn r6_on_the_real_file_system_a_failed_write_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FailingDisk::new(Arc::new(RealDisk));
    let start = || Recovery::start(Arc::new(disk.clone()), dir.path(), LIMITS).unwrap();
    let (mut journal, _, _) = finish(start());
    append(&mut journal, "event 1").unwrap();
    for (op, errno) in
        [(Op::Write, Errno::ENOSPC), (Op::Grow, Errno::EDQUOT), (Op::Sync, Errno::EIO)]
    {
        disk.faults.fail(op, 1, errno);
        append(&mut journal, "refused").unwrap_err();
    }
    append(&mut journal, "event 2").unwrap();
    drop(journal);
    let (_, lines, report) = finish(start());
    assert_eq!(texts(&lines), numbered(1..=2));
    assert!(!report.is_damaged(), "{report:?}");
}

#[test]
fn r6_a_partial_line_that_cannot_be_cut_ends_its_segment() {
    for op in [Op::SetLen, Op::Sync] {
        let disk = CrashDisk::new(1);
        let mut journal = journal_of(&disk, 3);
        disk.faults.fail(Op::Write, 1, Errno::EIO);
        disk.faults.fail(op, 1, Errno::EIO);
        append(&mut journal, "refused").unwrap_err();
        append(&mut journal, "event 4").unwrap();
        assert!(names(&disk, "journal").contains(&"00000000000000000004.jsonl".into()));
        for disk in [disk.kill(), disk.lose_power()] {
            let (_, lines, report) = open(&disk);
            assert_eq!(texts(&lines), numbered(1..=4));
            assert!(!report.is_damaged(), "{report:?}");
        }
    }
}

#[test]
fn r6_one_batch_is_recorded_on_a_full_disk_and_moves_when_there_is_space() {
    for seed in 0..50 {
        let disk = CrashDisk::new(seed);
        let mut journal = journal_of(&disk, 3);
        disk.faults.fail_always(Op::Grow, Errno::ENOSPC);
        append(&mut journal, "refused").unwrap_err();
        journal.append_emergency(&events(3, &["event 4", "event 5"])).unwrap();
        append(&mut journal, "refused").unwrap_err();
        journal.append_emergency(&events(5, &["event 6"])).unwrap();
        assert_eq!(journal.last(), 6);
        assert_eq!(texts(&collect(journal.reader().read(2..=6).unwrap())), numbered(2..=6));
        assert!(matches!(
            journal.append_emergency(&events(6, &["x".repeat(4096)])),
            Err(JournalError::EmergencySpent { from: 7 })
        ));
        // A restart on the full disk finds them.
        let after = if seed % 2 == 0 { disk.lose_power() } else { disk.kill() };
        after.faults.fail_always(Op::Grow, Errno::ENOSPC);
        let (mut journal, lines, report) = open(&after);
        assert_eq!(texts(&lines), numbered(1..=6), "seed {seed}");
        assert!(!report.is_damaged(), "{report:?}");
        append(&mut journal, "refused").unwrap_err();
        journal.append_emergency(&events(6, &["event 7"])).unwrap();
        after.faults.heal();
        append(&mut journal, "event 8").unwrap();
        assert_eq!(texts(&collect(journal.reader().read(1..=8).unwrap())), numbered(1..=8));
        drop(journal);
        let (mut journal, lines, report) = open(&after.lose_power());
        assert_eq!(texts(&lines), numbered(1..=8), "seed {seed}");
        assert!(!report.is_damaged(), "{report:?}");
        // And there is room again.
        journal.append_emergency(&events(8, &["event 9"])).unwrap();
    }
}

#[test]
fn r6_a_full_disk_at_the_first_start_is_survived() {
    let disk = CrashDisk::new(1);
    disk.create_dir(&Path::new(ROOT).join("journal")).unwrap();
    disk.faults.fail_always(Op::Grow, Errno::ENOSPC);
    let (mut journal, _, _) = open(&disk);
    append(&mut journal, "refused").unwrap_err();
    let error = journal.append_emergency(&events(0, &["refused"])).unwrap_err();
    assert!(error.is_disk_full(), "{error}");
    disk.faults.heal();
    append(&mut journal, "event 1").unwrap();
    assert_eq!(texts(&open(&disk).1), ["event 1"]);
}

#[test]
fn r6_a_segment_that_cannot_be_begun_does_not_stop_the_old_one() {
    let disk = CrashDisk::new(1);
    let (mut journal, _, _) = open(&disk);
    append(&mut journal, "event 1").unwrap();
    disk.faults.fail_always(Op::Create, Errno::ENOSPC);
    for text in numbered(2..=40) {
        append(&mut journal, &text).unwrap();
    }
    assert!(content(&disk, &segment_path(1)).len() > LIMITS.segment_bytes as usize);
    disk.faults.heal();
    append(&mut journal, "event 41").unwrap();
    assert!(names(&disk, "journal").contains(&"00000000000000000041.jsonl".into()));
    assert_eq!(texts(&open(&disk.lose_power()).1), numbered(1..=41));
}

#[test]
fn r7_after_a_failed_sync_a_new_segment_is_used_and_the_refused_never_return() {
    for seed in 0..200 {
        let disk = CrashDisk::new(seed);
        let mut journal = journal_of(&disk, 3);
        disk.faults.fail(Op::Sync, 1, Errno::EIO);
        let lines = events(3, &["refused", "refused", "refused"]);
        journal.append(&lines, Durability::Commit).unwrap_err();
        assert_eq!(journal.last(), 3);
        for after in [disk.kill(), disk.lose_power(), disk.kill().lose_power()] {
            let (_, lines, report) = open(&after);
            assert_eq!(texts(&lines), numbered(1..=3), "seed {seed}");
            assert!(!report.is_damaged(), "seed {seed}: {report:?}");
        }
        append(&mut journal, "event 4").unwrap();
        let path = segment_path(4);
        assert!(content(&disk, &path).len() > 100);
        for after in [disk.kill(), disk.lose_power(), disk.kill().lose_power()] {
            let (_, lines, report) = open(&after);
            assert_eq!(texts(&lines), numbered(1..=4), "seed {seed}");
            assert!(!report.is_damaged(), "seed {seed}: {report:?}");
        }
    }
}

#[test]
fn r7_where_no_segment_can_be_begun_either_the_emergency_segment_keeps_the_refused_out() {
    for seed in 0..200 {
        let disk = CrashDisk::new(seed);
        let mut journal = journal_of(&disk, 3);
        disk.faults.fail(Op::Sync, 1, Errno::EIO);
        disk.faults.fail_always(Op::Create, Errno::ENOSPC);
        append(&mut journal, "refused").unwrap_err();
        append(&mut journal, "refused").unwrap_err();
        assert!(journal.is_settled());
        for after in [disk.kill(), disk.lose_power()] {
            let (mut journal, lines, report) = open(&after);
            assert_eq!(texts(&lines), numbered(1..=3), "seed {seed}");
            assert!(!report.is_damaged(), "seed {seed}: {report:?}");
            append(&mut journal, "event 4").unwrap();
            let (_, lines, _) = open(&after.lose_power());
            assert_eq!(texts(&lines), numbered(1..=4), "seed {seed}");
        }
        disk.faults.heal();
        append(&mut journal, "event 4").unwrap();
        assert_eq!(texts(&open(&disk.lose_power()).1), numbered(1..=4), "seed {seed}");
    }
}

#[test]
fn r7_a_batch_that_waited_is_refused_with_the_sync_that_failed() {
    let disk = CrashDisk::new(1);
    let mut journal = journal_of(&disk, 3);
    journal.append(&events(3, &["waits"]), Durability::Batch).unwrap();
    disk.faults.fail(Op::Sync, 1, Errno::EIO);
    let error = append(&mut journal, "refused").unwrap_err();
    assert!(matches!(error, JournalError::Refused { from: 4, .. }), "{error}");
    assert_eq!(journal.last(), 3);
    append(&mut journal, "event 4").unwrap();
    assert_eq!(texts(&collect(journal.reader().read(1..=9).unwrap())), numbered(1..=4));
    assert_eq!(texts(&open(&disk.lose_power()).1), numbered(1..=4));
}

#[test]
fn r7_a_sync_that_failed_in_an_earlier_process_is_not_believed_by_the_next() {
    for seed in 0..200 {
        let disk = CrashDisk::new(seed);
        let mut journal = journal_of(&disk, 3);
        // The process is killed before it could say anything about the failure.
        journal.append(&events(3, &["event 4"]), Durability::Batch).unwrap();
        let file = disk.open(&segment_path(1), Open::Write).unwrap();
        disk.faults.fail(Op::Sync, 1, Errno::EIO);
        file.sync().unwrap_err();
        let disk = disk.kill();
        let (mut journal, lines, _) = open(&disk);
        assert_eq!(lines.len(), 4);
        append(&mut journal, "event 5").unwrap();
        let (_, lines, report) = open(&disk.lose_power());
        assert_eq!(texts(&lines), numbered(1..=5), "seed {seed}");
        assert!(!report.is_damaged(), "seed {seed}: {report:?}");
    }
}
