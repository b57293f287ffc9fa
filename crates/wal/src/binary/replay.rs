//! Replaying segments: what was in them, and whether an end is torn or damaged.

use std::collections::BTreeMap;

use stdx::GroupId;

use super::index::{GroupIndex, Position};
use super::record::{ALIGNMENT, Body, HEADER_BYTES, Header, Kind};
use super::segment::{Ending, SEGMENT_HEADER_BYTES, Segment};
use crate::error::CorruptError;
use crate::log::{Base, LogEntry, Recovered, Vote};
use crate::shape::{BaseRule, Shape};

/// What is known of one group, apart from the places of its entries.
#[derive(Clone, Debug, Default)]
pub(super) struct Group {
    pub(super) shape: Shape,
    pub(super) vote: Vote,
    pub(super) base: Base,
    /// Segment of the record that last said the vote, and the base.
    pub(super) vote_segment: Option<u64>,
    pub(super) base_segment: Option<u64>,
}

impl Group {
    /// The oldest segment that says something that is not said again later.
    pub(super) fn oldest_segment(&self) -> Option<u64> {
        self.vote_segment.into_iter().chain(self.base_segment).min()
    }
}

/// Everything that replaying has found so far.
#[derive(Debug, Default)]
pub(super) struct Replay {
    pub(super) groups: BTreeMap<GroupId, Group>,
    pub(super) indexes: BTreeMap<GroupId, GroupIndex>,
    special: BTreeMap<GroupId, Vec<LogEntry>>,
    special_kinds: Vec<u8>,
    /// How often the log had been opened before.
    pub(super) openings: u64,
}

/// How the records of a segment end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stop {
    /// Offset after the last good record, and its link.
    pub(super) ending: Ending,
    /// Everything before this was durable, says a good record.
    pub(super) synced: u32,
    /// Bytes of a record that begins here but isn't whole.
    pub(super) torn_bytes: u64,
}

impl Replay {
    pub(super) fn new(special_kinds: &[u8]) -> Self {
        Self {
            special_kinds: special_kinds.to_vec(),
            ..Self::default()
        }
    }

    /// Takes in the records of a segment up to the first that isn't whole or not linked.
    ///
    /// `content` is the segment's file from its start, perhaps only a part of it.
    pub(super) fn segment(
        &mut self,
        segment: &Segment,
        content: &[u8],
    ) -> Result<Stop, CorruptError> {
        let mut at = SEGMENT_HEADER_BYTES as usize;
        let mut link = segment.salt;
        let mut synced = SEGMENT_HEADER_BYTES;
        let mut torn_bytes = 0;
        while let Some(header) = content
            .get(at..)
            .and_then(|rest| Header::parse(rest, segment.salt))
        {
            if header.previous != link {
                break;
            }
            let body_start = at + HEADER_BYTES;
            let body = content.get(body_start..body_start + header.body_bytes as usize);
            let Some(body) = body.filter(|body| crc32c::crc32c(body) == header.body_crc) else {
                torn_bytes = header.record_bytes();
                break;
            };
            synced = synced.max(header.synced);
            if header.kind == Kind::Mark {
                break;
            }
            let position = Position {
                sequence: segment.sequence,
                offset: offset(at),
            };
            self.record(&header, body, position)
                .ok_or_else(|| CorruptError {
                    file: segment.path.clone(),
                    offset: at as u64,
                    expected: "a record that this program can decode".into(),
                    found: "one with the right checksum that it can't (from a newer version?)"
                        .into(),
                })?;
            link = header.link;
            at += usize::try_from(header.record_bytes()).expect("inside the content");
        }
        let ending = Ending {
            end: offset(at),
            link,
        };
        Ok(Stop {
            ending,
            synced,
            torn_bytes,
        })
    }

    fn record(&mut self, header: &Header, body: &[u8], position: Position) -> Option<()> {
        match header.kind {
            Kind::Append => self.append(body, header.record_bytes(), position),
            Kind::Opened => {
                self.openings = u64::from_le_bytes(body.try_into().ok()?);
                Some(())
            }
            Kind::Mark => Some(()),
        }
    }

    fn append(&mut self, body: &[u8], record_bytes: u64, position: Position) -> Option<()> {
        let body = Body::parse(body)?;
        let group = self.groups.entry(body.group).or_default();
        let index = self.indexes.entry(body.group).or_default();
        let special = self.special.entry(body.group).or_default();
        if let Some(vote) = body.vote {
            group.vote = vote;
            group.vote_segment = Some(position.sequence);
        }
        if let Some((base, rule)) = body.base {
            if base.index < group.shape.base() {
                return None;
            }
            group.shape.rebase(base.index, base.term, rule);
            index.rebase(base.index, rule);
            special.retain(|entry| rule == BaseRule::Keep && entry.index > base.index);
            group.base = base;
            group.base_segment = Some(position.sequence);
        }
        let mut entries = body.entries;
        if entries.remaining() > 0 {
            let first = entries.next_index();
            if first <= group.shape.base() {
                return None;
            }
            let last = first.plus(u64::from(entries.remaining()) - 1);
            while special.last().is_some_and(|entry| entry.index >= first) {
                special.pop();
            }
            index.append(first, last, position, record_bytes);
        }
        while let Some(entry) = entries.take_next() {
            let entry = entry.ok()?;
            group.shape.push(entry.index, entry.term);
            if self.special_kinds.contains(&entry.kind) {
                special.push(entry.to_entry());
            }
        }
        entries.is_exhausted().then_some(())
    }

    /// What to hand out for each group. The error is a group whose log has a hole, with the index
    /// that is missing.
    pub(super) fn recovered(&mut self) -> Result<BTreeMap<GroupId, Recovered>, (GroupId, u64)> {
        let mut all = BTreeMap::new();
        for (&id, group) in &self.groups {
            let shape = &group.shape;
            if !shape.is_complete() {
                return Err((id, shape.base().next().get()));
            }
            let mut special = self.special.remove(&id).unwrap_or_default();
            special.retain(|entry| entry.index >= shape.first());
            let recovered = Recovered {
                vote: group.vote,
                base: group.base.clone(),
                last_index: shape.last(),
                terms: shape.terms().to_vec(),
                special,
            };
            all.insert(id, recovered);
        }
        Ok(all)
    }
}

fn offset(at: usize) -> u32 {
    u32::try_from(at).expect("segments are shorter than 4 GiB")
}

/// Looks behind the place where the good records end for a record that says that more than that was
/// durable when it was written. If there is one, the end is no torn write but damage.
///
/// Answers where that record is and what it says was durable.
pub(super) fn find_evidence(segment: &Segment, content: &[u8], end: u32) -> Option<(u32, u32)> {
    let mut at = end as usize + ALIGNMENT;
    while let Some(bytes) = content.get(at..at + HEADER_BYTES) {
        // Cheap to look at, and nearly always enough to go on.
        let synced = u32::from_le_bytes([bytes[12], bytes[13], bytes[14], bytes[15]]);
        if synced > end
            && synced as usize <= at
            && let Some(header) = Header::parse(bytes, segment.salt)
        {
            return Some((offset(at), header.synced));
        }
        at += ALIGNMENT;
    }
    None
}
