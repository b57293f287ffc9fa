//! What a fuzzer does to this crate: recovery of arbitrary bytes.

use std::sync::Arc;

use stdx::{ByteSize, NodeId};

use crate::binary::{fuzz_record, fuzz_segment};
use crate::disk::{Disk, MemoryDisk};
use crate::error::OpenError;
use crate::log::Opened;
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
    let Some((&what, content)) = bytes.split_first() else {
        return;
    };
    let disk = MemoryDisk::new();
    let binary = what % 4 < 2;
    let mut options = Options::new(Identity {
        cluster: 1,
        node: NodeId::new(1),
    });
    options.segment_bytes = ByteSize::kib(64);
    options.special_kinds = vec![2];
    options.format = if binary {
        Format::Binary
    } else {
        Format::escaped_text()
    };
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
        }
        Err(OpenError::Corrupt(_) | OpenError::NewerVersion { .. }) => {}
        Err(other) => panic!("bytes can't cause this: {other:?}"),
    }
}

fn open_fuzzed(disk: &MemoryDisk, options: &Options) -> Result<Opened, OpenError> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    open_on(disk, options.clone())
}

fn metadata() -> String {
    let text = "term 1\nvoted for nobody\nbase index 0\nbase term 0\nbase data \n";
    format!("{text}checksum {:08x}\n", crc32c::crc32c(text.as_bytes()))
}

type Groups = std::collections::BTreeMap<stdx::GroupId, crate::log::Recovered>;

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
