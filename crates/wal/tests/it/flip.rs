//! Every bit of a small log is flipped: it is read exactly, or refused.

use bytes::Bytes;
use stdx::{GroupId, LogIndex, NodeId, Prng, Term};
use wal::disk::{CrashPlan, MemoryDisk};
use wal::{Append, Base, Format, LogEntry, OpenError, Vote};

use crate::model::{
    Generator, Operation, State, apply_compact, formats, open, state_of, without_empty,
};

/// A log of a few segments in which everything is durable.
fn small_log(format: &Format, steps: usize) -> (MemoryDisk, State) {
    let disk = MemoryDisk::new();
    let mut opened = open(&disk, format).unwrap();
    let prng = Prng::from_seed(9);
    let mut generator = Generator {
        prng,
        groups: 3,
        payload_bytes_max: 60,
    };
    let mut state = State::new();
    for _ in 0..steps {
        match generator.operation(&state) {
            Operation::Append(parts) => {
                let batch: Vec<_> = parts.iter().map(|part| part.borrow()).collect();
                opened.log.append(&batch).unwrap();
                parts.iter().for_each(|part| part.apply(&mut state));
            }
            Operation::Sync => opened.log.sync().unwrap(),
            Operation::Compact(group, base) => {
                opened.log.compact(group, base.clone()).unwrap();
                apply_compact(&mut state, group, &base);
            }
        }
    }
    opened.log.sync().unwrap();
    (disk, without_empty(state))
}

/// Opens a damaged log: true if it was refused.
fn open_damaged(disk: &MemoryDisk, format: &Format, state: &State, context: &str) -> bool {
    match open(disk, format) {
        Ok(opened) => {
            assert!(
                &without_empty(state_of(&opened)) == state,
                "{context}: something is gone"
            );
            false
        }
        Err(OpenError::Corrupt(error)) => {
            assert!(error.to_string().contains("is corrupt at byte"), "{error}");
            true
        }
        Err(other) => panic!("{context}: {other:?}"),
    }
}

#[test]
fn no_flipped_bit_loses_anything_silently() {
    for format in formats() {
        let (disk, state) = small_log(&format, 90);
        let mut refused = 0_u64;
        for name in disk
            .names()
            .iter()
            .filter(|name| !name.starts_with("spare"))
        {
            for offset in 0..disk.content(name).len() {
                for bit in 0..8 {
                    let damaged = disk.crash(CrashPlan::KeepUnsynced);
                    damaged.flip(name, offset, 1 << bit);
                    let context = format!("{}: {name} byte {offset} bit {bit}", format.name());
                    refused += u64::from(open_damaged(&damaged, &format, &state, &context));
                }
            }
        }
        assert!(refused > 10_000, "most of the bits matter: {refused}");
    }
}

/// Where marks stand in a segment: empty records that say that all before them is durable.
fn marks(content: &[u8]) -> Vec<usize> {
    let is_mark = |at: &usize| {
        let word = |from: usize| content.get(at + from..at + from + 4);
        let synced = u32::try_from(*at).unwrap().to_le_bytes();
        word(0) == Some(&[0; 4]) && word(12) == Some(&synced) && word(16) == Some(&[2, 0, 0, 0])
    };
    (0..content.len()).step_by(8).filter(is_mark).collect()
}

#[test]
fn no_lost_or_zeroed_sector_loses_anything_silently() {
    for format in formats() {
        let (disk, state) = small_log(&format, 400);
        let mut refused = 0_u64;
        for name in disk
            .names()
            .iter()
            .filter(|name| !name.starts_with("spare"))
        {
            let content = disk.content(name);
            for start in (0..content.len()).step_by(64) {
                let damaged = disk.crash(CrashPlan::KeepUnsynced);
                let mut zeroed = content.clone();
                let end = (start + 512).min(content.len());
                zeroed[start..end].fill(0);
                damaged.put(name, &zeroed);
                let context = format!("{}: {name} zeroed at {start}", format.name());
                // If the end of the log and the mark behind it are both gone, nothing in the world
                // says that they were ever there: see docs/internals/wal.md.
                let mark_bytes = ". 1234\n".len();
                if matches!(format, Format::Text(_)) && end + mark_bytes > content.len() {
                    continue;
                }
                if marks(&content)
                    .iter()
                    .any(|mark| (start..end).contains(mark))
                {
                    continue;
                }
                refused += u64::from(open_damaged(&damaged, &format, &state, &context));
            }
        }
        assert!(refused > 20, "{refused}");
    }
}

#[test]
fn a_missing_or_shortened_segment_is_named() {
    let format = Format::Binary;
    let (disk, _) = small_log(&format, 400);
    let names: Vec<_> = disk
        .names()
        .into_iter()
        .filter(|name| name.starts_with("segment"))
        .collect();
    assert!(names.len() >= 3, "{names:?}");

    let content = disk.content(&names[1]);
    let damaged = disk.crash(CrashPlan::KeepUnsynced);
    damaged.put(&names[1], &content[..1_000]);
    let error = open(&damaged, &format).unwrap_err().to_string();
    assert!(
        error.contains(&names[1]) && error.contains("byte 1000"),
        "{error}"
    );

    let damaged = disk.crash(CrashPlan::KeepUnsynced);
    wal::disk::Disk::remove(&damaged, &names[1]).unwrap();
    let error = open(&damaged, &format).unwrap_err().to_string();
    assert!(
        error.contains(&names[1]) && error.contains("no such file"),
        "{error}"
    );

    let damaged = disk.crash(CrashPlan::KeepUnsynced);
    wal::disk::Disk::remove(&damaged, "identity.txt").unwrap();
    let error = open(&damaged, &format).unwrap_err().to_string();
    assert!(error.contains("identity.txt"), "{error}");
}

#[test]
fn a_damaged_record_is_told_from_a_torn_one_by_what_follows() {
    let format = Format::Binary;
    let disk = MemoryDisk::new();
    let mut opened = open(&disk, &format).unwrap();
    let group = GroupId::new(1);
    let entry = |index: u64| LogEntry {
        index: LogIndex::new(index),
        term: Term::new(1),
        kind: 0,
        payload: Bytes::from_static(b"a payload of some length, so that a sector has few records"),
    };
    let vote = Vote {
        term: Term::new(1),
        vote: Some(NodeId::new(2)),
    };
    let first = [entry(1), entry(2)];
    let append = Append {
        vote: Some(vote),
        ..Append::entries(group, &first)
    };
    opened.log.append(&[append]).unwrap();
    opened.log.sync().unwrap();
    opened
        .log
        .append(&[Append::entries(group, &[entry(3)])])
        .unwrap();

    // The unsynced record is damaged: nothing says that it was ever durable, so it is torn.
    let name = "segment-0000000000000001.wal";
    let content = disk.content(name);
    let third = content
        .windows(9)
        .rposition(|window| window == b"a payload")
        .unwrap();
    let torn = disk.crash(CrashPlan::KeepUnsynced);
    torn.flip(name, third, 1);
    let found = open(&torn, &format).unwrap();
    assert_eq!(found.groups[&group].last_index, LogIndex::new(2));
    assert!(found.torn_bytes > 0);

    // The same damage after a sync: the mark behind the record says that it was durable.
    opened.log.sync().unwrap();
    let damaged = disk.crash(CrashPlan::KeepUnsynced);
    damaged.flip(name, third, 1);
    let error = open(&damaged, &format).unwrap_err();
    assert!(matches!(error, OpenError::Corrupt(_)), "{error}");

    // What a crash left behind the end can't come back, even if the same bytes are written again.
    let base = Base::default();
    assert_eq!(found.groups[&group].base, base);
}
