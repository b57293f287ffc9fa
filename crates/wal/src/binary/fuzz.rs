//! Segments made of a fuzzer's bytes.

use super::record::{ALIGNMENT, Header, Kind};
use super::segment::{Ending, SEGMENT_HEADER_BYTES, SegmentHeader, segment_name};
use crate::disk::MemoryDisk;
use crate::options::Identity;

const SEGMENT_BYTES: u32 = 64 << 10;

fn put_segment(disk: &MemoryDisk, identity: Identity, records: impl FnOnce(u32) -> Vec<u8>) {
    let header = SegmentHeader {
        identity,
        sequence: 1,
        previous: Ending::default(),
        bytes: SEGMENT_BYTES,
    };
    let (bytes, salt) = header.to_bytes();
    let mut content = bytes.to_vec();
    content.extend_from_slice(&records(salt));
    content.resize(SEGMENT_BYTES as usize, 0);
    disk.put(&segment_name(1), &content);
}

/// The bytes are everything behind a segment's header.
pub(crate) fn fuzz_segment(disk: &MemoryDisk, identity: Identity, bytes: &[u8]) {
    put_segment(disk, identity, |_salt| bytes.to_vec());
}

/// The bytes are bodies of records, each with its length before it; the headers are right.
pub(crate) fn fuzz_record(disk: &MemoryDisk, identity: Identity, bytes: &[u8]) {
    put_segment(disk, identity, |salt| {
        let mut records = Vec::new();
        let mut rest = bytes;
        let mut link = salt;
        while let Some((&[low, high], after)) = rest.split_first_chunk() {
            let count = usize::from(u16::from_le_bytes([low, high])).min(after.len());
            let (body, after) = after.split_at(count);
            rest = after;
            let header = Header::seal(Kind::Append, body, link, SEGMENT_HEADER_BYTES, salt);
            link = header.link;
            records.extend_from_slice(&header.to_bytes());
            records.extend_from_slice(body);
            records.resize(records.len().next_multiple_of(ALIGNMENT), 0);
        }
        records
    });
}
