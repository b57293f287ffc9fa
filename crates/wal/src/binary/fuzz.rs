//! Segments made of a fuzzer's bytes.

use stdx::{GroupId, LogIndex, NodeId, Term};

use super::record::{ALIGNMENT, Header, Kind, Part};
use super::segment::{Ending, SEGMENT_HEADER_BYTES, SegmentHeader, segment_name};
use crate::disk::MemoryDisk;
use crate::log::{Base, LogEntry, Vote};
use crate::options::Identity;
use crate::shape::BaseRule;

const SEGMENT_BYTES: u32 = 8 << 10;

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

/// Bodies of records to start from: a vote, entries, a base that keeps, a base that resets.
pub(crate) fn record_bodies() -> Vec<Vec<u8>> {
    let group = GroupId::new(1);
    let entries = [1, 2].map(|index| LogEntry {
        index: LogIndex::new(index),
        term: Term::new(1),
        kind: 2,
        payload: "payload".into(),
    });
    let vote = Some(Vote {
        term: Term::new(1),
        vote: Some(NodeId::new(1)),
    });
    let base = Base {
        index: LogIndex::new(2),
        term: Term::new(1),
        data: "data".into(),
    };
    let parts = [
        Part {
            group,
            vote,
            base: None,
            entries: &entries,
        },
        Part {
            group,
            vote: None,
            base: Some((&base, BaseRule::Keep)),
            entries: &[],
        },
        Part {
            group,
            vote: None,
            base: Some((&base, BaseRule::Reset)),
            entries: &[],
        },
    ];
    let encode = |part: &Part<'_>| {
        let mut body = Vec::new();
        part.encode(&mut body);
        body
    };
    parts.iter().map(encode).collect()
}
