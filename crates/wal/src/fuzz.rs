//! What a fuzzer does to this crate: recovery of arbitrary bytes.

use std::sync::Arc;

use bytes::Bytes;
use stdx::{ByteSize, GroupId, LogIndex, NodeId, Term};

use crate::binary::{fuzz_record, fuzz_segment, record_bodies};
use crate::disk::{Disk, MemoryDisk};
use crate::error::OpenError;
use crate::log::{Append, Base, LogEntry, Opened, Vote};
use crate::open::open_on;
use crate::options::{Format, Identity, Options};

/// Recovers a log made of these bytes and checks that it either opens to something that can be read
/// back in full, and again after another start, or is refused.
///
/// The first byte says what the rest is: all records of a segment, the body of one record with
/// right checksums, a text log, or its metadata.
///
/// # Panics
///
/// When any of that isn't so.
pub fn fuzz_recover(bytes: &[u8]) {
    if let Some((&what, content)) = bytes.split_first() {
        recover(what, content);
    }
}

/// What was recovered, unless it was refused.
fn recover(what: u8, content: &[u8]) -> Option<Groups> {
    let disk = MemoryDisk::new();
    let options = options(what % 4 < 2);
    let opened = open_fuzzed(&disk, &options).expect("an empty log opens");
    drop(opened);
    match what % 4 {
        0 => fuzz_segment(&disk, options.identity, content),
        1 => fuzz_record(&disk, options.identity, content),
        2 => {
            disk.put("group-1/metadata.txt", metadata().as_bytes());
            disk.put("group-1/logs.txt", content);
        }
        _ => {
            disk.put("group-1/metadata.txt", content);
            disk.put("group-1/logs.txt", b"");
        }
    }
    match open_fuzzed(&disk, &options) {
        Ok(opened) => {
            let recovered = read_back(&opened);
            drop(opened);
            let again = open_fuzzed(&disk, &options).expect("what was opened once opens again");
            assert_eq!(again.groups, recovered, "a restart changes nothing");
            Some(recovered)
        }
        Err(OpenError::Corrupt(_) | OpenError::NewerVersion { .. }) => None,
        Err(other) => panic!("bytes can't cause this: {other:?}"),
    }
}

fn options(binary: bool) -> Options {
    let mut options = Options::new(Identity {
        cluster: 1,
        node: NodeId::new(1),
    });
    options.segment_bytes = ByteSize::kib(8);
    options.special_kinds = vec![2];
    options.format = if binary {
        Format::Binary
    } else {
        Format::escaped_text()
    };
    options
}

/// Good input for [`fuzz_recover`].
///
/// # Panics
///
/// Never: the disk is in memory.
#[must_use]
pub fn fuzz_samples() -> Vec<Vec<u8>> {
    let mut samples = Vec::new();
    for (binary, name, what, skip) in [
        (true, "segment-0000000000000001.wal", 0, SEGMENT_HEADER),
        (false, "group-1/logs.txt", 2, 0),
        (false, "group-1/metadata.txt", 3, 0),
    ] {
        let disk = MemoryDisk::new();
        // The entries of a text log are read beside metadata that know of no compaction.
        let compacted = what != 2;
        write_sample(&disk, &options(binary), compacted).expect("the disk is in memory");
        let content = disk.content(name);
        let used = content.len() - content.iter().rev().take_while(|&&byte| byte == 0).count();
        let mut sample = vec![what];
        sample.extend_from_slice(&content[skip..used]);
        samples.push(sample);
    }
    let mut bodies = vec![1];
    for body in record_bodies() {
        bodies.extend_from_slice(&u16::try_from(body.len()).unwrap_or(0).to_le_bytes());
        bodies.extend_from_slice(&body);
    }
    samples.push(bodies);
    samples
}

/// Bytes of a binary segment before its records, which a sample leaves out.
const SEGMENT_HEADER: usize = 64;

fn sample_entries(first: u64, term: u64) -> Vec<LogEntry> {
    let payloads: [&[u8]; 4] = [b"", b"SET x 1", b"\xff\x00 # . 12\n", b"a membership"];
    let entries = payloads.into_iter().zip([0, 1, 1, 2]).zip(first..);
    let entries = entries.map(|((payload, kind), index)| LogEntry {
        index: LogIndex::new(index),
        term: Term::new(term),
        kind,
        payload: Bytes::from_static(payload),
    });
    entries.collect()
}

fn write_sample(
    disk: &MemoryDisk,
    options: &Options,
    compacted: bool,
) -> Result<(), Box<dyn std::error::Error>> {
    let mut opened = open_fuzzed(disk, options)?;
    let (one, two) = (GroupId::new(1), GroupId::new(2));
    let vote = Some(Vote {
        term: Term::new(2),
        vote: Some(NodeId::new(3)),
    });
    let (entries, again) = (sample_entries(1, 1), sample_entries(3, 2));
    opened.log.append(&[Append {
        vote,
        ..Append::entries(one, &entries)
    }])?;
    opened.log.sync()?;
    opened
        .log
        .append(&[Append::entries(one, &again), Append::entries(two, &entries)])?;
    let base = Base {
        index: LogIndex::new(2),
        term: Term::new(1),
        data: "members".into(),
    };
    if compacted {
        opened.log.compact(one, base)?;
    }
    let base = Base {
        index: LogIndex::new(9),
        term: Term::new(3),
        data: Bytes::new(),
    };
    let append = Append {
        group: two,
        vote,
        entries: &[],
        base: Some(base),
    };
    opened.log.append(&[append])?;
    opened.log.sync()?;
    Ok(())
}

fn open_fuzzed(disk: &MemoryDisk, options: &Options) -> Result<Opened, OpenError> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    open_on(disk, options.clone())
}

fn metadata() -> String {
    let text = "term 1\nvoted for nobody\nbase index 0\nbase term 0\nbase data \n";
    format!("{text}checksum {:08x}\n", crc32c::crc32c(text.as_bytes()))
}

type Groups = std::collections::BTreeMap<GroupId, crate::log::Recovered>;

fn read_back(opened: &Opened) -> Groups {
    let reader = opened.log.reader();
    for (&group, recovered) in &opened.groups {
        let first = recovered.base.index.next();
        if first <= recovered.last_index {
            let read = reader.entries(group, first, recovered.last_index, usize::MAX);
            let entries = read.expect("what was recovered can be read");
            let count = recovered.last_index.distance_from(recovered.base.index);
            assert_eq!(entries.len() as u64, count, "no entry is missing");
        }
    }
    opened.groups.clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_samples_are_good_input() {
        for sample in fuzz_samples() {
            let (&what, content) = sample.split_first().unwrap();
            let groups = recover(what, content).unwrap();
            let found = &groups[&GroupId::new(1)];
            assert!(
                found.vote != Vote::default() || !found.terms.is_empty(),
                "{what}: {found:?}"
            );
        }
    }
}
