//! Segments: files with a header and a chain of records.

use std::path::PathBuf;
use std::sync::Arc;

use crc32c::crc32c;
use stdx::NodeId;

use crate::disk::DiskFile;
use crate::options::Identity;

/// Bytes of a segment's header.
pub(super) const SEGMENT_HEADER_BYTES: u32 = 64;
/// The version of the format that this program writes.
pub(super) const VERSION: u32 = 1;

const MAGIC: [u8; 8] = *b"KONTIWAL";

/// Where the log stood when a segment was begun.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Ending {
    /// Offset after the last record of the segment before; 0 if there is none.
    pub(super) end: u32,
    /// Link of that record.
    pub(super) link: u32,
}

/// The start of a segment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct SegmentHeader {
    pub(super) identity: Identity,
    pub(super) sequence: u64,
    pub(super) previous: Ending,
    /// Length of the file: a shorter one was cut.
    pub(super) bytes: u32,
}

/// Why bytes are no segment header.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum HeaderFault {
    Magic,
    Checksum,
    Version(u32),
}

impl SegmentHeader {
    /// The header's bytes and its checksum, which is the salt of all records in the segment.
    pub(super) fn to_bytes(self) -> ([u8; SEGMENT_HEADER_BYTES as usize], u32) {
        let mut bytes = [0; SEGMENT_HEADER_BYTES as usize];
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&SEGMENT_HEADER_BYTES.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.identity.cluster.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.identity.node.get().to_le_bytes());
        bytes[32..40].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.previous.end.to_le_bytes());
        bytes[44..48].copy_from_slice(&self.previous.link.to_le_bytes());
        bytes[48..52].copy_from_slice(&self.bytes.to_le_bytes());
        let salt = crc32c(&bytes[..60]);
        bytes[60..64].copy_from_slice(&salt.to_le_bytes());
        (bytes, salt)
    }

    /// The header and its salt.
    pub(super) fn parse(
        bytes: &[u8; SEGMENT_HEADER_BYTES as usize],
    ) -> Result<(Self, u32), HeaderFault> {
        if bytes[0..8] != MAGIC {
            return Err(HeaderFault::Magic);
        }
        let salt = u32_at(bytes, 60);
        if crc32c(&bytes[..60]) != salt {
            return Err(HeaderFault::Checksum);
        }
        match u32_at(bytes, 8) {
            VERSION => {}
            other => return Err(HeaderFault::Version(other)),
        }
        let header = Self {
            identity: Identity {
                cluster: u64_at(bytes, 16),
                node: NodeId::new(u64_at(bytes, 24)),
            },
            sequence: u64_at(bytes, 32),
            previous: Ending {
                end: u32_at(bytes, 40),
                link: u32_at(bytes, 44),
            },
            bytes: u32_at(bytes, 48),
        };
        Ok((header, salt))
    }
}

fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[offset..offset + 4]);
    u32::from_le_bytes(word)
}

fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[offset..offset + 8]);
    u64::from_le_bytes(word)
}

/// An open segment.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) sequence: u64,
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) name: String,
    /// Full path, for messages.
    pub(super) path: PathBuf,
    pub(super) salt: u32,
    /// Length of the file: where its records must end at the latest.
    pub(super) bytes: u32,
}

/// The name of the segment with this number. Names sort like numbers.
pub(super) fn segment_name(sequence: u64) -> String {
    format!("segment-{sequence:016x}.wal")
}

/// The number in a segment's name.
pub(super) fn segment_sequence(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("segment-")?.strip_suffix(".wal")?;
    if digits.len() != 16 {
        return None;
    }
    u64::from_str_radix(digits, 16)
        .ok()
        .filter(|&sequence| segment_name(sequence) == name)
}

/// The name of a file kept for a later segment.
pub(super) fn spare_name(number: u64) -> String {
    format!("spare-{number:016x}.wal")
}

/// The number in a spare file's name.
pub(super) fn spare_number(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("spare-")?.strip_suffix(".wal")?;
    u64::from_str_radix(digits, 16).ok()
}
