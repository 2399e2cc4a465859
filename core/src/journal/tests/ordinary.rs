//! When nothing fails.

use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, SystemTime};

use super::*;
use crate::disk::RealDisk;

#[test]
fn events_come_back_in_order_on_the_real_disk() {
    let dir = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let root = dir.path().join("ao");
    let limits = Limits { segment_bytes: 4096, emergency_bytes: 8192 };
    let start = || Recovery::start(disk.clone(), &root, limits).unwrap();
    let (mut journal, lines, report) = finish(start());
    assert_eq!((lines.len(), report.is_damaged(), journal.last()), (0, false, 0));
    let mut expected = Vec::new();
    for batch in numbered(1..=120).chunks(7) {
        let lines = events(journal.last(), batch);
        journal.append(&lines, Durability::Commit).unwrap();
        expected.extend(lines);
    }
    drop(journal);
    let recovery = start();
    assert_eq!(recovery.instance(), Some(identity().instance));
    let (journal, lines, report) = finish(recovery);
    assert_eq!(lines, expected);
    assert_eq!(journal.last(), 120);
    assert_eq!((report.events, report.first, report.last), (120, Some(1), Some(120)));
    assert!(report.segments > 2 && !report.is_damaged() && report.torn.is_none(), "{report:?}");
    for entry in std::fs::read_dir(root.join("journal")).unwrap() {
        assert_eq!(entry.unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert!(!verify(disk.clone(), &root).unwrap().is_damaged());
}

#[test]
fn each_line_is_json_with_the_checksum_last_and_a_segment_begins_with_its_header() {
    let disk = CrashDisk::new(1);
    drop(journal_of(&disk, 30));
    let second = names(&disk, "journal")[1].clone();
    let text = content(&disk, &Path::new(ROOT).join("journal").join(&second));
    let text = String::from_utf8(text).unwrap();
    let values: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let first = values[1]["seq"].as_u64().unwrap();
    assert_eq!(second, format!("{first:020}.jsonl"));
    let header = &values[0];
    assert_eq!(header["kind"], "journal.segment");
    assert_eq!(header["data"]["instance"], "01JD0000000000000000000000");
    assert_eq!(header["data"]["boot"], "boot-1");
    assert_eq!(header["data"]["after"]["seq"], first - 1);
    assert_eq!(header["data"]["after"]["bytes"], content(&disk, &segment_path(1)).len());
    for line in text.lines() {
        assert!(line[line.len() - 18..].starts_with(r#","crc":""#), "{line}");
    }
}

#[test]
fn any_range_can_be_read_while_the_journal_grows_and_from_archives() {
    let disk = CrashDisk::new(1);
    let mut journal = journal_of(&disk, 60);
    let reader = journal.reader();
    for packed in [false, true] {
        if packed {
            assert!(reader.compact().unwrap() >= 2);
            assert_eq!(reader.compact().unwrap(), 0);
        }
        for from in 0..=62 {
            for to in [from, from + 1, from + 25, 100] {
                let lines = collect(reader.read(from..=to).unwrap());
                let expected: Vec<u64> = (from.max(1)..=to.min(60)).collect();
                assert_eq!(seqs(&lines), expected, "{from}..={to}");
            }
        }
        assert_eq!(seqs(&collect(reader.tail(3).unwrap())), [58, 59, 60]);
        assert_eq!(reader.tail(100).map(collect).unwrap().len(), 60);
        assert_eq!(reader.get(17).unwrap().unwrap(), event(17, "event 17").json);
        assert_eq!(reader.get(61).unwrap(), None);
        assert_eq!(reader.range(), 1..=60);
    }
    commit(&mut journal, &["event 61"]);
    assert_eq!(reader.get(61).unwrap().unwrap(), event(61, "event 61").json);
    let report = reader.verify().unwrap();
    assert_eq!((report.events, report.is_damaged(), report.torn), (61, false, None));
    drop(journal);
    let (_, lines, report) = open(&disk);
    assert_eq!(seqs(&lines), (1..=61).collect::<Vec<_>>());
    assert!(!report.is_damaged(), "{report:?}");
}

#[test]
fn a_snapshot_spares_reading_what_it_holds() {
    let disk = CrashDisk::new(1);
    let mut journal = journal_of(&disk, 40);
    let snapshot = Snapshot { seq: 40, state_hash: "abc".into(), state: b"{\"n\":40}".to_vec() };
    journal.reader().write_snapshot(&snapshot).unwrap();
    let ahead = Snapshot { seq: 41, ..snapshot.clone() };
    assert!(matches!(
        journal.reader().write_snapshot(&ahead),
        Err(JournalError::Malformed { seq: 41, .. })
    ));
    commit(&mut journal, &["event 41", "event 42"]);
    drop(journal);
    let recovery = start(&disk);
    assert_eq!(recovery.snapshot(), Some(&snapshot));
    let (mut journal, lines, report) = finish(recovery);
    assert_eq!(seqs(&lines), [41, 42]);
    assert_eq!((report.events, report.segments), (2, 1), "only the tail was read");
    commit(&mut journal, &["event 43"]);
    // Also what was not read at the start can be read.
    assert_eq!(
        seqs(&collect(journal.reader().read(1..=43).unwrap())),
        (1..=43).collect::<Vec<_>>()
    );
    assert_eq!(journal.reader().snapshot(), Some(snapshot));
    drop(journal);
    let (_, lines, _) = finish(start(&disk).without_snapshot("test".into()).unwrap());
    assert_eq!(lines.len(), 43);
}

#[test]
fn a_snapshot_in_the_middle_of_a_segment_leads_to_the_next_event() {
    for seq in 1..=40 {
        let disk = CrashDisk::new(1);
        let journal = journal_of(&disk, 40);
        let snapshot = Snapshot { seq, state_hash: "a".into(), state: b"{}".to_vec() };
        journal.reader().write_snapshot(&snapshot).unwrap();
        drop(journal);
        let (mut journal, lines, report) = open(&disk);
        assert_eq!(seqs(&lines), (seq + 1..=40).collect::<Vec<_>>());
        assert!(!report.is_damaged() && report.torn.is_none(), "{report:?}");
        commit(&mut journal, &["event 41"]);
        drop(journal);
        assert_eq!(open(&disk).1.len() as u64, 41 - seq);
    }
}

#[test]
fn old_segments_are_dropped_only_if_the_snapshot_holds_them() {
    let disk = CrashDisk::new(1);
    let mut journal = journal_of(&disk, 60);
    let reader = journal.reader();
    reader.compact().unwrap();
    let nothing = Retention { age: Duration::ZERO, bytes: 0 };
    let far = SystemTime::now();
    assert_eq!(reader.retain(nothing, far).unwrap(), 0, "there is no snapshot");
    let snapshot = Snapshot { seq: 40, state_hash: "a".into(), state: b"{}".to_vec() };
    reader.write_snapshot(&snapshot).unwrap();
    assert_eq!(reader.retain(Retention::default(), SystemTime::UNIX_EPOCH).unwrap(), 0);
    assert!(reader.retain(nothing, far).unwrap() > 0);
    let kept = *reader.range().start();
    assert!((2..=41).contains(&kept), "{kept}");
    assert_eq!(seqs(&collect(reader.read(1..=60).unwrap())), (kept..=60).collect::<Vec<_>>());
    assert!(!reader.verify().unwrap().is_damaged());
    commit(&mut journal, &["event 61"]);
    drop(journal);
    let (_, lines, report) = open(&disk);
    assert_eq!(seqs(&lines), (41..=61).collect::<Vec<_>>());
    assert!(!report.is_damaged(), "{report:?}");
    assert!(!verify(Arc::new(disk.clone()), Path::new(ROOT)).unwrap().is_damaged());
    // Without the snapshot the dropped events are missed.
    disk.remove(&Path::new(ROOT).join("snapshot.json")).unwrap();
    let (_, lines, report) = open(&disk);
    assert_eq!(report.gaps, [Gap { from: 1, to: kept - 1 }]);
    assert_eq!(seqs(&lines), (kept..=61).collect::<Vec<_>>());
}

#[test]
fn what_would_make_the_journal_unreadable_is_refused() {
    let disk = CrashDisk::new(1);
    let mut journal = journal_of(&disk, 2);
    let json = |json: &str| Line { seq: 3, json: json.as_bytes().to_vec() };
    for bad in [
        event(2, "again"),
        event(4, "too far"),
        json(r#"{"seq":4,"kind":"x"}"#),
        json(r#"{"kind":"x","seq":3}"#),
        json("{\"seq\":3,\n\"kind\":\"x\"}"),
        json(r#"{"seq":3,"kind":"x""#),
        event(3, &"x".repeat(1 << 20)),
    ] {
        let error = journal.append(std::slice::from_ref(&bad), Durability::Commit).unwrap_err();
        assert!(matches!(error, JournalError::Malformed { .. }), "{error}");
    }
    commit(&mut journal, &[&"x".repeat((1 << 20) - 200)]);
    assert_eq!(journal.append(&[], Durability::Commit).unwrap(), None);
    drop(journal);
    assert_eq!(open(&disk).1.len(), 3);
}

#[test]
fn a_batch_that_may_wait_survives_a_kill_at_once_and_a_power_loss_after_the_next_sync() {
    let mut lost = 0;
    for seed in 0..100 {
        let disk = CrashDisk::new(seed);
        let mut journal = journal_of(&disk, 1);
        journal.append(&events(1, &["a", "b"]), Durability::Batch).unwrap();
        journal.append(&events(3, &["c"]), Durability::Batch).unwrap();
        assert_eq!(journal.last(), 4);
        assert_eq!(journal.reader().tail(9).map(collect).unwrap().len(), 4);
        assert_eq!(open(&disk.kill()).1.len(), 4);
        let (_, lines, report) = open(&disk.lose_power());
        assert!(!report.is_damaged(), "seed {seed}: {report:?}");
        assert_eq!(seqs(&lines), (1..=lines.len() as u64).collect::<Vec<_>>(), "seed {seed}");
        lost += usize::from(lines.len() < 4);
        journal.sync().unwrap();
        assert_eq!(open(&disk.lose_power()).1.len(), 4, "seed {seed}");
    }
    assert!(lost > 10);
}

/// A journal as the first version wrote it. It must be readable for ever.
#[test]
fn r25_the_first_format_is_read_and_a_newer_one_is_refused_with_the_remedy() {
    let golden = concat!(
        r#"{"kind":"journal.segment","v":1,"data":{"instance":"01JD0000000000000000000000","boot":"boot-1","#,
        r#""format":1,"min_reader":1,"after":null},"crc":"HEADER"}"#,
        "\n",
        r#"{"seq":1,"kind":"session.spawned","v":1,"data":{"a":1} ,"crc":"FIRST"}"#,
        "\n",
        r#"{"seq":2,"kind":"future.kind","v":9,"data":{"unknown":[true]},"crc":"SECOND"}"#,
        "\n",
    )
    .replace("HEADER", "874435ad")
    .replace("FIRST", "8946f3f4")
    .replace("SECOND", "1ce013a0");
    let disk = CrashDisk::new(1);
    disk.create_dir(&Path::new(ROOT).join("journal")).unwrap();
    disk.open(&segment_path(1), Open::Create).unwrap();
    rewrite(&disk, &segment_path(1), golden.as_bytes());
    let (journal, lines, report) = open(&disk);
    assert!(!report.is_damaged() && report.torn.is_none(), "{report:?}");
    let texts: Vec<_> = lines.iter().map(|line| std::str::from_utf8(&line.json).unwrap()).collect();
    assert_eq!(
        texts,
        [
            r#"{"seq":1,"kind":"session.spawned","v":1,"data":{"a":1}}"#,
            r#"{"seq":2,"kind":"future.kind","v":9,"data":{"unknown":[true]}}"#
        ]
    );
    drop(journal);
    assert_eq!(content(&disk, &segment_path(1)), golden.as_bytes());

    let header = r#"{"kind":"journal.segment","v":1,"data":{"instance":"01JD0000000000000000000000","boot":"","format":3,"min_reader":2,"after":null}}"#;
    let mut newer = Vec::new();
    line::seal(header.as_bytes(), false, &mut newer);
    rewrite(&disk, &segment_path(1), &newer);
    let mut recovery = start(&disk);
    let error = recovery.next().unwrap_err();
    assert!(matches!(error, JournalError::TooNew { found: 2, .. }), "{error}");
    assert!(error.to_string().contains("install a newer ao"), "{error}");
}
