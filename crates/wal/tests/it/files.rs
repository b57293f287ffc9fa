//! Locks, identities, full disks, failing disks, lagging groups, readers on other threads.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use bytes::Bytes;
use stdx::{ByteSize, GroupId, LogIndex, NodeId, Term};
use wal::disk::{CrashPlan, MemoryDisk};
use wal::{
    Append, Base, EscapedText, Format, Identity, LogEntry, OpenError, Options, ReadError, Vote,
    WalError,
};

use crate::model::{self, formats};

const IDENTITY: Identity = Identity {
    cluster: 0xfeed,
    node: NodeId::new(3),
};

fn options(format: &Format) -> Options {
    let mut options = Options::new(IDENTITY);
    options.format = format.clone();
    options.segment_bytes = ByteSize::kib(64);
    options
}

fn entry(index: u64, payload: &[u8]) -> LogEntry {
    let payload = Bytes::copy_from_slice(payload);
    LogEntry {
        index: LogIndex::new(index),
        term: Term::new(1),
        kind: 0,
        payload,
    }
}

fn base(index: u64) -> Base {
    Base {
        index: LogIndex::new(index),
        term: Term::new(1),
        data: Bytes::new(),
    }
}

#[test]
fn a_directory_is_opened_by_one_at_a_time() {
    for format in formats() {
        let dir = tempfile::tempdir().unwrap();
        let opened = wal::open(dir.path(), options(&format)).unwrap();
        let error = wal::open(dir.path(), options(&format)).unwrap_err();
        assert!(matches!(error, OpenError::InUse { .. }), "{error}");
        assert!(
            error.to_string().contains("in use by another process"),
            "{error}"
        );
        drop(opened);
        wal::open(dir.path(), options(&format)).unwrap();
    }
}

#[test]
fn a_directory_of_another_node_or_cluster_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("not/yet/there");
    assert_eq!(wal::identity(&path).unwrap(), None);
    drop(wal::open(&path, options(&Format::Binary)).unwrap());
    assert_eq!(wal::identity(&path).unwrap(), Some(IDENTITY));

    for other in [
        Identity {
            cluster: 1,
            ..IDENTITY
        },
        Identity {
            node: NodeId::new(4),
            ..IDENTITY
        },
    ] {
        let error = wal::open(&path, Options::new(other)).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("belongs to node n3 of cluster 000000000000feed"),
            "{text}"
        );
    }
    let error = wal::open(&path, options(&Format::escaped_text()))
        .unwrap_err()
        .to_string();
    assert!(error.contains("is in the binary format"), "{error}");
}

#[test]
fn a_lagging_group_does_not_keep_old_segments() {
    let disk = MemoryDisk::new();
    let mut opened = model::open(&disk, &Format::Binary).unwrap();
    let (busy, lagging, voter) = (GroupId::new(1), GroupId::new(2), GroupId::new(3));
    let vote = Vote {
        term: Term::new(9),
        vote: Some(NodeId::new(2)),
    };
    let few = [entry(1, b"one"), entry(2, b"two")];
    let appends = [
        Append {
            vote: Some(vote),
            ..Append::entries(lagging, &few)
        },
        Append::vote(voter, vote),
    ];
    opened.log.append(&appends).unwrap();
    opened.log.sync().unwrap();
    for index in 1..2_000 {
        let entries = [entry(index, &[7; 300])];
        opened
            .log
            .append(&[Append::entries(busy, &entries)])
            .unwrap();
        opened.log.sync().unwrap();
        if index % 20 == 0 {
            opened.log.compact(busy, base(index - 5)).unwrap();
        }
    }
    opened.log.sync().unwrap();
    let usage = opened.log.usage();
    assert!(
        usage.segments <= 6,
        "600 kB were written in segments of 4 KiB: {usage:?}"
    );
    assert!(usage.allocated_bytes <= 10 * 4_096, "{usage:?}");
    let segments = disk
        .names()
        .iter()
        .filter(|name| name.starts_with("segment"))
        .count();
    assert_eq!(segments as u64, usage.segments);

    drop(opened);
    let opened = model::open(&disk.crash(CrashPlan::LoseUnsynced), &Format::Binary).unwrap();
    assert_eq!(opened.groups[&lagging].vote, vote);
    assert_eq!(opened.groups[&voter].vote, vote);
    let to = LogIndex::new(2);
    let read = opened
        .log
        .reader()
        .entries(lagging, LogIndex::new(1), to, usize::MAX)
        .unwrap();
    assert_eq!(read, few);
}

#[test]
fn a_full_disk_loses_nothing_and_compaction_still_works() {
    let disk = MemoryDisk::new();
    disk.set_capacity(Some(6 * 4_096));
    let mut opened = model::open(&disk, &Format::Binary).unwrap();
    let group = GroupId::new(1);
    let mut last = 0;
    let error = loop {
        let entries = [entry(last + 1, &[1; 200]), entry(last + 2, &[2; 200])];
        match opened.log.append(&[Append::entries(group, &entries)]) {
            Ok(()) => last += 2,
            Err(error) => break error,
        }
        opened.log.sync().unwrap();
    };
    assert!(matches!(error, WalError::DiskFull { .. }), "{error}");
    assert!(
        error
            .to_string()
            .contains("nothing was written and nothing is lost"),
        "{error}"
    );
    assert!(last > 60, "{last}");
    let past_the_end = LogIndex::new(last + 1);
    let reader = opened.log.reader();
    let read = reader.entries(group, past_the_end, past_the_end, 1);
    assert!(
        matches!(read, Err(ReadError::OutOfRange { .. })),
        "{read:?}"
    );
    let all = reader
        .entries(group, LogIndex::new(1), LogIndex::new(last), usize::MAX)
        .unwrap();
    assert_eq!(all.len() as u64, last);

    // Still full, but what is no longer needed can be given back, and then it goes on.
    opened.log.compact(group, base(last - 1)).unwrap();
    opened.log.sync().unwrap();
    let entries = [entry(last + 1, &[3; 3_000])];
    opened
        .log
        .append(&[Append::entries(group, &entries)])
        .unwrap();
    opened.log.sync().unwrap();
    drop(opened);
    let opened = model::open(&disk.crash(CrashPlan::LoseUnsynced), &Format::Binary).unwrap();
    assert_eq!(opened.groups[&group].last_index, past_the_end);
}

#[test]
fn a_full_disk_at_the_first_start_is_named() {
    let disk = MemoryDisk::new();
    disk.set_capacity(Some(1_000));
    let error = model::open(&disk, &Format::Binary).unwrap_err();
    assert!(matches!(error, OpenError::DiskFull { .. }), "{error}");
}

#[test]
fn a_failed_fsync_closes_the_log_for_ever() {
    for format in formats() {
        let disk = MemoryDisk::new();
        let mut opened = model::open(&disk, &format).unwrap();
        let group = GroupId::new(1);
        opened
            .log
            .append(&[Append::entries(group, &[entry(1, b"first")])])
            .unwrap();
        opened.log.sync().unwrap();
        opened
            .log
            .append(&[Append::entries(group, &[entry(2, b"second")])])
            .unwrap();
        disk.fail_at(disk.operations(), io::ErrorKind::Other);
        let error = opened.log.sync().unwrap_err();
        assert!(error.to_string().contains("fsyncgate"), "{error}");
        // The disk works again, which must not make anybody believe that the data is safe.
        for _ in 0..3 {
            let error = opened.log.sync().unwrap_err();
            assert!(matches!(error, WalError::Poisoned(_)), "{error}");
            let entries = [entry(3, b"third")];
            let error = opened
                .log
                .append(&[Append::entries(group, &entries)])
                .unwrap_err();
            assert!(matches!(error, WalError::Poisoned(_)), "{error}");
            let error = opened.log.compact(group, base(1)).unwrap_err();
            assert!(matches!(error, WalError::Poisoned(_)), "{error}");
        }
    }
}

#[test]
fn a_gap_is_refused_and_nothing_of_its_batch_is_written() {
    for format in formats() {
        let disk = MemoryDisk::new();
        let mut opened = model::open(&disk, &format).unwrap();
        let (one, two) = (GroupId::new(1), GroupId::new(2));
        let first = [entry(1, b"a")];
        let gap = [entry(2, b"b"), entry(4, b"c")];
        let batch = [Append::entries(one, &first), Append::entries(two, &gap)];
        let error = opened.log.append(&batch).unwrap_err();
        assert!(matches!(error, WalError::Gap { .. }), "{error}");
        // The same first entry again: it was not taken.
        let late = [entry(2, b"late")];
        let error = opened
            .log
            .append(&[Append::entries(one, &late)])
            .unwrap_err();
        assert!(matches!(error, WalError::Gap { .. }), "{error}");
        opened.log.append(&[Append::entries(one, &first)]).unwrap();
        opened.log.sync().unwrap();
        drop(opened);
        let opened = model::open(&disk, &format).unwrap();
        assert_eq!(opened.groups.keys().collect::<Vec<_>>(), [&one]);
    }
}

#[test]
fn readers_see_whole_entries_while_the_log_is_written_and_compacted() {
    const READS: u32 = 150;
    for format in formats() {
        let dir = tempfile::tempdir().unwrap();
        let mut opened = wal::open(dir.path(), options(&format)).unwrap();
        let group = GroupId::new(5);
        let written = AtomicU64::new(0);
        thread::scope(|scope| {
            let reader = opened.log.reader();
            let written = &written;
            let reading = scope.spawn(move || {
                for _ in 0..READS {
                    let last = LogIndex::new(written.load(Ordering::Acquire));
                    let from = LogIndex::new(last.get().saturating_sub(90).max(1));
                    match reader.entries(group, from, last, usize::MAX) {
                        Ok(entries) => {
                            assert_eq!(entries.first().unwrap().index, from);
                            assert_eq!(entries.last().unwrap().index, last);
                            for entry in entries {
                                let byte = entry.index.get().to_le_bytes()[0];
                                assert!(entry.payload.iter().all(|&found| found == byte));
                            }
                        }
                        Err(ReadError::Compacted { .. } | ReadError::OutOfRange { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            });
            let mut index = 0;
            while !reading.is_finished() {
                index += 1;
                let entries = [entry(index, &[index.to_le_bytes()[0]; 500])];
                let append = Append::entries(group, &entries);
                opened.log.append(&[append]).unwrap();
                written.store(index, Ordering::Release);
                if index % 100 == 0 {
                    opened.log.compact(group, base(index - 60)).unwrap();
                    opened.log.sync().unwrap();
                }
            }
            reading.join().unwrap();
        });
    }
}

/// Where the child process of the next test writes.
const CHILD_DIR: &str = "WAL_TEST_CHILD_DIR";

/// Not a test by itself: it does nothing unless the next test starts it in a process of its own.
#[test]
fn child_that_writes_until_it_is_killed() {
    let Ok(dir) = std::env::var(CHILD_DIR) else {
        return;
    };
    let format = if dir.ends_with("text") {
        Format::escaped_text()
    } else {
        Format::Binary
    };
    let mut opened = wal::open(Path::new(&dir), options(&format)).unwrap();
    for index in 1.. {
        let entries = [entry(index, format!("entry {index}").as_bytes())];
        opened
            .log
            .append(&[Append::entries(GroupId::new(1), &entries)])
            .unwrap();
        opened.log.sync().unwrap();
        println!("\ndurable {index}");
    }
}

#[test]
fn a_killed_process_has_lost_nothing_that_it_reported_as_durable() {
    use std::io::{BufRead as _, BufReader};
    use std::process::{Command, Stdio};

    for (format, name) in [(Format::Binary, "binary"), (Format::escaped_text(), "text")] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "files::child_that_writes_until_it_is_killed",
                "--nocapture",
            ])
            .env(CHILD_DIR, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut reported = 0;
        while reported < 300 {
            let line = lines.next().unwrap().unwrap();
            reported = line
                .strip_prefix("durable ")
                .map_or(reported, |index| index.parse().unwrap());
        }
        child.kill().unwrap();
        child.wait().unwrap();
        for line in lines.map_while(Result::ok) {
            reported = line
                .strip_prefix("durable ")
                .and_then(|it| it.parse().ok())
                .unwrap_or(reported);
        }
        let opened = wal::open(&path, options(&format)).unwrap();
        let last = opened.groups[&GroupId::new(1)].last_index;
        assert!(last.get() >= reported, "{last} is before {reported}");
        let reader = opened.log.reader();
        let all = reader
            .entries(GroupId::new(1), LogIndex::new(1), last, usize::MAX)
            .unwrap();
        for entry in all {
            assert_eq!(entry.payload, format!("entry {}", entry.index.get()));
        }
    }
}

/// Shows commands as the original systems do: `SET name1 Jaggu`.
#[derive(Debug)]
struct Commands;

impl wal::PayloadText for Commands {
    fn kind_name(&self, kind: u8) -> Option<std::borrow::Cow<'static, str>> {
        match kind {
            0 => Some("NO-OP".into()),
            1 => Some("SET".into()),
            _ => None,
        }
    }

    fn kind_named(&self, name: &str) -> Option<u8> {
        ["NO-OP", "SET"]
            .iter()
            .zip(0..)
            .find(|(known, _)| **known == name)
            .map(|(_, kind)| kind)
    }

    fn render(&self, _kind: u8, payload: &[u8]) -> Option<String> {
        String::from_utf8(payload.to_vec()).ok()
    }

    fn parse(&self, _kind: u8, text: &str) -> Option<Bytes> {
        Some(Bytes::copy_from_slice(text.as_bytes()))
    }
}

fn commands() -> Vec<LogEntry> {
    let kinds: [(u8, &[u8]); 6] = [
        (0, b""),
        (1, b"name1 Jaggu"),
        (1, "name2 \u{930}\u{93e}\u{91c}\u{942}".as_bytes()),
        (1, b"two\nlines # . 12"),
        (1, b"not text: \xff "),
        (7, b" "),
    ];
    let entries = kinds
        .iter()
        .zip(1..)
        .map(|(&(kind, payload), index)| LogEntry {
            kind,
            ..entry(index, payload)
        });
    entries.collect()
}

#[test]
fn the_text_format_is_readable_and_lossless() {
    let disk = MemoryDisk::new();
    let format = Format::Text(Arc::new(Commands));
    let group = GroupId::new(0);
    let mut opened = model::open(&disk, &format).unwrap();
    let vote = Vote {
        term: Term::new(1),
        vote: Some(NodeId::new(1)),
    };
    let entries = commands();
    let append = Append {
        vote: Some(vote),
        ..Append::entries(group, &entries)
    };
    opened.log.append(&[append]).unwrap();
    opened.log.sync().unwrap();
    drop(opened);
    let log = String::from_utf8(disk.content("group-0/logs.txt")).unwrap();
    let shown: Vec<_> = log
        .lines()
        .map(|line| line.rsplit_once(" #").map_or(line, |it| it.0))
        .collect();
    assert_eq!(
        shown,
        [
            "1 1 NO-OP",
            "2 1 SET name1 Jaggu",
            "3 1 SET name2 \u{930}\u{93e}\u{91c}\u{942}",
            "4 1 1! two\\nlines # . 12",
            "5 1 1! not text: \\xff ",
            "6 1 7  ",
            &format!(". {}", log.len() - 6),
        ]
    );
    let metadata = String::from_utf8(disk.content("group-0/metadata.txt")).unwrap();
    let begin = "term 1\nvoted for 1\nbase index 0\nbase term 0\nbase data \nchecksum ";
    assert!(metadata.starts_with(begin), "{metadata}");

    let opened = model::open(&disk, &format).unwrap();
    let to = LogIndex::new(6);
    let read = opened
        .log
        .reader()
        .entries(group, LogIndex::new(1), to, usize::MAX)
        .unwrap();
    assert_eq!(read, commands());
}

#[test]
fn a_log_can_be_checked_without_being_changed() {
    let dir = tempfile::tempdir().unwrap();
    for format in [Format::Binary, Format::escaped_text()] {
        let dir = dir.path().join(format.name());
        let missing = wal::check(&dir).unwrap_err().to_string();
        assert!(missing.contains("there is no log in"), "{missing}");
        let mut opened = wal::open(&dir, options(&format)).unwrap();
        let group = GroupId::new(4);
        let entries = commands();
        opened
            .log
            .append(&[Append::entries(group, &entries)])
            .unwrap();
        opened.log.sync().unwrap();
        // Beside the running process, too.
        for _ in 0..2 {
            let checked = wal::check(&dir).unwrap();
            assert_eq!(&*checked.format, format.name());
            assert_eq!((checked.identity, checked.torn_bytes), (IDENTITY, 0));
            let [found] = checked.groups.as_slice() else {
                panic!("one group: {checked:?}");
            };
            assert_eq!((found.group, found.base), (group, LogIndex::ZERO));
            assert_eq!(found.last, entries.last().unwrap().index);
        }
        drop(opened);
        let file = match format {
            Format::Binary => dir.join("segment-0000000000000001.wal"),
            Format::Text(_) => dir.join("group-4/logs.txt"),
        };
        let mut content = fs::read(&file).unwrap();
        let middle = match format {
            Format::Binary => 110,
            Format::Text(_) => content.len() / 2,
        };
        content[middle] ^= 2;
        fs::write(&file, &content).unwrap();
        let error = wal::check(&dir).unwrap_err().to_string();
        assert!(error.contains(file.to_str().unwrap()), "{error}");
        assert!(error.contains("corrupt at byte"), "{error}");
        assert_eq!(fs::read(&file).unwrap(), content);
    }
}

#[test]
fn a_log_can_be_printed() {
    let disk = MemoryDisk::new();
    let mut opened = model::open(&disk, &Format::Binary).unwrap();
    let group = GroupId::new(4);
    let vote = Vote {
        term: Term::new(1),
        vote: Some(NodeId::new(2)),
    };
    let entries = commands();
    let append = Append {
        vote: Some(vote),
        ..Append::entries(group, &entries[..2])
    };
    opened.log.append(&[append]).unwrap();
    opened.log.compact(group, base(1)).unwrap();
    opened.log.sync().unwrap();
    let mut out = Vec::new();
    wal::dump_on(&disk, &Commands, &mut out).unwrap();
    let expected = "\
log of node n1 of cluster 00000000000000c1, binary format
segment-0000000000000001.wal: 4096 bytes, follows on a segment that ends at byte 0
  64: opened
  96: g4 term t1 voted for n2
    i1 t1 NO-OP 
    i2 t1 SET name1 Jaggu
  200: g4 base i1 t1
  264: everything before is durable
spare-0000000000000001.wal: kept for later
";
    assert_eq!(String::from_utf8(out).unwrap(), expected);

    let text = MemoryDisk::new();
    drop(opened);
    let mut opened = model::open(&text, &Format::escaped_text()).unwrap();
    opened
        .log
        .append(&[Append::entries(group, &commands())])
        .unwrap();
    let mut out = Vec::new();
    wal::dump_on(&text, &EscapedText, &mut out).unwrap();
    let out = String::from_utf8(out).unwrap();
    assert!(out.contains("group-4/logs.txt:\n  1 1 0 #"), "{out}");
}
