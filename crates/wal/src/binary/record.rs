//! Records: the unit of writing, checking and chaining. The layout is in `docs/internals/wal.md`.

use bytes::Bytes;
use crc32c::{crc32c, crc32c_append};
use stdx::{GroupId, LogIndex, NodeId, Term};

use crate::log::{Base, LogEntry, Vote};
use crate::shape::BaseRule;

/// Bytes before a record's body.
pub(super) const HEADER_BYTES: usize = 24;
/// Bytes of every entry's own header inside a body.
const ENTRY_HEADER_BYTES: usize = 13;
/// Records start at multiples of this.
pub(super) const ALIGNMENT: usize = 8;

const FLAG_VOTE: u8 = 1;
const FLAG_VOTED_FOR: u8 = 2;
const FLAG_BASE: u8 = 4;
const FLAG_BASE_RESETS: u8 = 8;
const FLAGS_KNOWN: u8 = FLAG_VOTE | FLAG_VOTED_FOR | FLAG_BASE | FLAG_BASE_RESETS;

/// What a record is. Zero is never used, so that a hole in a file is no record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// One group's part of a batch.
    Append = 1,
    /// Not part of the log: says where the log ended when it was last synced. The next record takes
    /// its place.
    Mark = 2,
    /// The log was opened. Makes the chain different from that of what a crash left behind.
    Opened = 3,
}

impl Kind {
    const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Append),
            2 => Some(Self::Mark),
            3 => Some(Self::Opened),
            _ => None,
        }
    }
}

/// The fixed part of a record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Header {
    pub(super) kind: Kind,
    pub(super) body_bytes: u32,
    pub(super) body_crc: u32,
    /// Link of the record before this one; for the first one the segment's own.
    pub(super) previous: u32,
    /// Everything in this segment before this offset was durable when this was written.
    pub(super) synced: u32,
    /// This record's own link: a checksum of everything above and of the segment's identity.
    pub(super) link: u32,
}

impl Header {
    /// A header for a body, linked into its segment.
    pub(super) fn seal(kind: Kind, body: &[u8], previous: u32, synced: u32, salt: u32) -> Self {
        let mut header = Self {
            kind,
            body_bytes: u32::try_from(body.len()).expect("RECORD_BYTES_MAX fits 32 bits"),
            body_crc: crc32c(body),
            previous,
            synced,
            link: 0,
        };
        header.link = crc32c_append(salt, &header.to_bytes()[..HEADER_BYTES - 4]);
        header
    }

    pub(super) fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0..4].copy_from_slice(&self.body_bytes.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.body_crc.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.previous.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.synced.to_le_bytes());
        bytes[16] = self.kind as u8;
        bytes[20..24].copy_from_slice(&self.link.to_le_bytes());
        bytes
    }

    /// The header at the start of `bytes`, if there is one of the segment with this salt.
    pub(super) fn parse(bytes: &[u8], salt: u32) -> Option<Self> {
        let bytes = bytes.get(..HEADER_BYTES)?;
        let kind = Kind::from_byte(bytes[16])?;
        let header = Self {
            kind,
            body_bytes: u32_at(bytes, 0),
            body_crc: u32_at(bytes, 4),
            previous: u32_at(bytes, 8),
            synced: u32_at(bytes, 12),
            link: u32_at(bytes, 20),
        };
        let link = crc32c_append(salt, &bytes[..HEADER_BYTES - 4]);
        (link == header.link && bytes[17..20] == [0; 3]).then_some(header)
    }

    /// Bytes that the whole record takes.
    pub(super) const fn record_bytes(&self) -> u64 {
        record_bytes(self.body_bytes as usize)
    }
}

fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[offset..offset + 4]);
    u32::from_le_bytes(word)
}

/// Bytes that a record with such a body takes.
pub(super) const fn record_bytes(body_bytes: usize) -> u64 {
    (HEADER_BYTES + body_bytes).next_multiple_of(ALIGNMENT) as u64
}

/// What one group wants in one record.
#[derive(Clone, Debug)]
pub(super) struct Part<'a> {
    pub(super) group: GroupId,
    pub(super) vote: Option<Vote>,
    pub(super) base: Option<(&'a Base, BaseRule)>,
    pub(super) entries: &'a [LogEntry],
}

impl Part<'_> {
    /// Bytes of the encoded body.
    pub(super) fn body_bytes(&self) -> usize {
        let vote = if self.vote.is_some() { 16 } else { 0 };
        let base = self.base.map_or(0, |(base, _)| 20 + base.data.len());
        let first = if self.entries.is_empty() { 0 } else { 8 };
        let payloads: usize = self.entries.iter().map(|entry| entry.payload.len()).sum();
        16 + vote + base + first + self.entries.len() * ENTRY_HEADER_BYTES + payloads
    }

    /// Appends the body.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        let mut flags = 0;
        if let Some(vote) = self.vote {
            flags |= FLAG_VOTE;
            flags |= if vote.vote.is_some() {
                FLAG_VOTED_FOR
            } else {
                0
            };
        }
        if let Some((_, rule)) = self.base {
            flags |= FLAG_BASE;
            flags |= if rule == BaseRule::Reset {
                FLAG_BASE_RESETS
            } else {
                0
            };
        }
        out.extend_from_slice(&[flags, 0, 0, 0]);
        put_len(out, self.entries.len());
        put_u64(out, self.group.get());
        if let Some(vote) = self.vote {
            put_u64(out, vote.term.get());
            put_u64(out, vote.vote.unwrap_or_default().get());
        }
        if let Some((base, _)) = self.base {
            put_u64(out, base.index.get());
            put_u64(out, base.term.get());
            put_len(out, base.data.len());
            out.extend_from_slice(&base.data);
        }
        if let Some(first) = self.entries.first() {
            put_u64(out, first.index.get());
        }
        for entry in self.entries {
            put_u64(out, entry.term.get());
            put_len(out, entry.payload.len());
            out.push(entry.kind);
            out.extend_from_slice(&entry.payload);
        }
        debug_assert_eq!(out.len() - start, self.body_bytes(), "the size is exact");
    }
}

fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_len(out: &mut Vec<u8>, len: usize) {
    let len = u32::try_from(len).expect("RECORD_BYTES_MAX fits 32 bits");
    out.extend_from_slice(&len.to_le_bytes());
}

/// The group that a body belongs to, without looking at the rest of it.
pub(super) fn group_of(body: &[u8]) -> Option<GroupId> {
    Reader {
        rest: body.get(8..)?,
    }
    .u64()
    .map(GroupId::new)
}

/// Bytes of a body that [`group_of`] needs.
pub(super) const GROUP_BYTES: usize = 16;

/// A decoded body; the entries are decoded as they are asked for.
#[derive(Clone, Debug)]
pub(super) struct Body<'a> {
    pub(super) group: GroupId,
    pub(super) vote: Option<Vote>,
    pub(super) base: Option<(Base, BaseRule)>,
    pub(super) entries: Entries<'a>,
}

impl<'a> Body<'a> {
    /// Decodes what comes before the entries. `None`: this is no body of a record.
    pub(super) fn parse(body: &'a [u8]) -> Option<Self> {
        let mut reader = Reader { rest: body };
        let [flags, 0, 0, 0] = *reader.take(4)? else {
            return None;
        };
        if flags & !FLAGS_KNOWN != 0 {
            return None;
        }
        let count = reader.u32()?;
        let group = GroupId::new(reader.u64()?);
        let vote = if flags & FLAG_VOTE != 0 {
            let term = Term::new(reader.u64()?);
            let node = NodeId::new(reader.u64()?);
            let vote = (flags & FLAG_VOTED_FOR != 0).then_some(node);
            Some(Vote { term, vote })
        } else {
            None
        };
        let base = if flags & FLAG_BASE != 0 {
            Some(reader.base(flags)?)
        } else {
            None
        };
        let next = LogIndex::new(if count > 0 { reader.u64()? } else { 0 });
        let last = next.get().checked_add(u64::from(count))?;
        if count > 0 && (next == LogIndex::ZERO || last == u64::MAX) {
            return None;
        }
        let entries = Entries {
            reader,
            count,
            next,
        };
        Some(Self {
            group,
            vote,
            base,
            entries,
        })
    }
}

/// The entries of one record.
#[derive(Clone, Debug)]
pub(super) struct Entries<'a> {
    reader: Reader<'a>,
    count: u32,
    next: LogIndex,
}

/// An entry whose payload is still in the buffer that it was read into.
#[derive(Clone, Copy, Debug)]
pub(super) struct EntryRef<'a> {
    pub(super) index: LogIndex,
    pub(super) term: Term,
    pub(super) kind: u8,
    pub(super) payload: &'a [u8],
}

impl EntryRef<'_> {
    pub(super) fn to_entry(self) -> LogEntry {
        LogEntry {
            index: self.index,
            term: self.term,
            kind: self.kind,
            payload: Bytes::copy_from_slice(self.payload),
        }
    }
}

impl<'a> Entries<'a> {
    /// How many entries are left.
    pub(super) const fn remaining(&self) -> u32 {
        self.count
    }

    /// Index of the next entry.
    pub(super) const fn next_index(&self) -> LogIndex {
        self.next
    }

    /// The next entry; `Some(Err)` if the body ends in the middle of it.
    pub(super) fn take_next(&mut self) -> Option<Result<EntryRef<'a>, Malformed>> {
        if self.count == 0 {
            return None;
        }
        let index = self.next;
        self.count -= 1;
        self.next = index.next();
        Some(self.reader.entry(index).ok_or(Malformed))
    }

    /// True if nothing is left over after the last entry.
    pub(super) const fn is_exhausted(&self) -> bool {
        self.count == 0 && self.reader.rest.is_empty()
    }
}

/// A body that can't be decoded although its checksum is right.
#[derive(Clone, Copy, Debug)]
pub(super) struct Malformed;

#[derive(Clone, Debug)]
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take(8)?.try_into().ok().map(u64::from_le_bytes)
    }

    fn sized(&mut self) -> Option<&'a [u8]> {
        let count = self.u32()?;
        self.take(count as usize)
    }

    fn base(&mut self, flags: u8) -> Option<(Base, BaseRule)> {
        let index = LogIndex::new(self.u64()?);
        let term = Term::new(self.u64()?);
        let data = Bytes::copy_from_slice(self.sized()?);
        let rule = if flags & FLAG_BASE_RESETS == 0 {
            BaseRule::Keep
        } else {
            BaseRule::Reset
        };
        (index.get() < u64::MAX).then_some((Base { index, term, data }, rule))
    }

    fn entry(&mut self, index: LogIndex) -> Option<EntryRef<'a>> {
        let term = Term::new(self.u64()?);
        let payload_bytes = self.u32()?;
        let [kind] = *self.take(1)? else {
            return None;
        };
        let payload = self.take(payload_bytes as usize)?;
        Some(EntryRef {
            index,
            term,
            kind,
            payload,
        })
    }
}
