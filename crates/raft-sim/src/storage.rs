//! The node's log on the simulated disk: one file of chained, checksummed records.
//!
//! It stands for the real log in what matters to the core: a write may tear, what wasn't
//! synced may vanish, and recovery either finds exactly the durable prefix (and perhaps
//! more) or refuses. Every record tells up to where the file was durable when it was
//! written, which is how damage in the middle is told from a torn end.

use core::time::Duration;
use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{BufMut, Bytes};
use raft::{
    Entry, HardState, Lease, LeaseClock, LeasePolicy, LogBase, Membership, Payload, Persist,
};
use sim::{Disk, DiskError};
use stdx::{LogIndex, NodeId, Term};

use crate::machine::Cursor;

const FILE: &str = "log";
const MAGIC: u8 = 0xa7;
/// Magic, length, checksum of the record before, checksum.
const HEADER_BYTES: usize = 1 + 4 + 4 + 4;

const HARD_STATE: u8 = 1;
const ENTRY: u8 = 2;
/// The log begins here; entries after it stay.
const COMPACTED: u8 = 3;
/// The log begins here; all entries are dropped.
const REPLACED: u8 = 4;

#[derive(Clone, Copy, Debug)]
struct Slot {
    offset: u64,
    end: u64,
    term: Term,
    is_membership: bool,
}

/// What is on the disk, and where.
#[derive(Debug)]
pub struct LogStore {
    base: LogBase,
    base_offset: u64,
    hard_state: HardState,
    /// The entries after the base.
    slots: VecDeque<Slot>,
    /// Checksum of the last record.
    chain: u32,
    /// The file is durable up to this offset.
    synced: u64,
    buffer: Vec<u8>,
}

impl LogStore {
    /// Finds what survived on a disk. `bootstrap` is where a log begins that has no base
    /// of its own.
    ///
    /// # Errors
    ///
    /// When the file is damaged where it was durable.
    pub fn recover(disk: &mut Disk, bootstrap: &LogBase) -> Result<Self, String> {
        let (start, bytes) = disk.read(FILE);
        let mut store = Self {
            base: bootstrap.clone(),
            base_offset: start,
            hard_state: HardState::default(),
            slots: VecDeque::new(),
            chain: 0,
            synced: start,
            buffer: Vec::new(),
        };
        let mut at = 0;
        let mut chained = None;
        while let Some(record) = Record::parse(&bytes[at..]) {
            if chained.is_some_and(|chain| chain != record.previous) {
                break;
            }
            chained = Some(record.crc);
            let end = at + record.len;
            store.replay(&record, (start + at as u64, start + end as u64));
            at = end;
        }
        let torn_at = start + at as u64;
        let evidence = (at..bytes.len())
            .filter_map(|offset| Record::parse(&bytes[offset..]))
            .find(|record| record.synced > torn_at);
        if evidence.is_some() {
            return Err(format!(
                "the log is damaged at offset {torn_at}, where it was durable"
            ));
        }
        store.chain = chained.unwrap_or(0);
        store.synced = torn_at;
        disk.truncate(FILE, torn_at);
        Ok(store)
    }

    /// Writes what the core wants persisted, without a sync.
    ///
    /// # Errors
    ///
    /// When the disk is full; the store is of no use then.
    ///
    /// # Panics
    ///
    /// When the core skips an index.
    pub fn write(&mut self, disk: &mut Disk, persist: &Persist) -> Result<(), DiskError> {
        let start = disk.len(FILE);
        if let Some(hard_state) = persist.hard_state() {
            self.hard_state = hard_state;
        }
        if let Some(base) = persist.base() {
            self.put_base(start, REPLACED, base);
            self.slots.clear();
        } else if persist.hard_state().is_some() {
            let body = hard_state_bytes(self.hard_state);
            self.put(HARD_STATE, &body);
        }
        for entry in persist.entries() {
            let kept = entry.index.distance_from(self.base.index.next());
            assert!(kept <= self.slots.len() as u64, "the core skipped an index");
            self.slots
                .truncate(usize::try_from(kept).expect("fewer than 2^32 entries"));
            let offset = start + self.buffer.len() as u64;
            self.put(ENTRY, &entry_bytes(entry));
            self.slots.push_back(Slot {
                offset,
                end: start + self.buffer.len() as u64,
                term: entry.term,
                is_membership: matches!(entry.payload, Payload::Membership(_)),
            });
        }
        let bytes = core::mem::take(&mut self.buffer);
        disk.append(FILE, &bytes)?;
        Ok(())
    }

    /// Writes that the log begins later, without a sync.
    ///
    /// # Errors
    ///
    /// When the disk is full; the store is of no use then.
    ///
    /// # Panics
    ///
    /// When 2^32 entries are dropped at once.
    pub fn compact(&mut self, disk: &mut Disk, base: &LogBase) -> Result<(), DiskError> {
        let dropped = base.index.distance_from(self.base.index);
        let dropped = usize::try_from(dropped).expect("fewer than 2^32 entries");
        self.slots.drain(..dropped.min(self.slots.len()));
        self.put_base(disk.len(FILE), COMPACTED, base);
        let bytes = core::mem::take(&mut self.buffer);
        disk.append(FILE, &bytes)?;
        Ok(())
    }

    /// The log begins after an installed snapshot that it doesn't contain.
    ///
    /// # Errors
    ///
    /// When the disk is full; the store is of no use then.
    pub fn replace(&mut self, disk: &mut Disk, base: &LogBase) -> Result<(), DiskError> {
        self.slots.clear();
        self.put_base(disk.len(FILE), REPLACED, base);
        let bytes = core::mem::take(&mut self.buffer);
        disk.append(FILE, &bytes)?;
        Ok(())
    }

    /// A sync has ended: the file is durable up to `offset`.
    pub fn synced(&mut self, offset: u64) {
        self.synced = self.synced.max(offset);
    }

    /// Deletes what is before the base; the base must be durable.
    pub fn trim(&self, disk: &mut Disk) {
        let first = self
            .slots
            .front()
            .map_or(self.base_offset, |slot| slot.offset);
        let first = first.min(self.base_offset);
        if self.base_offset < self.synced {
            disk.trim_front(FILE, first);
        }
    }

    /// Reads entries back; `None` if they are gone.
    ///
    /// # Errors
    ///
    /// When the file is damaged: the store is of no use then.
    pub fn fetch(
        &self,
        disk: &Disk,
        (from, to): (LogIndex, LogIndex),
        bytes_max: usize,
    ) -> Result<Option<Vec<Entry>>, String> {
        let mut entries = Vec::new();
        let mut total = 0;
        let mut index = from;
        while index <= to && index <= self.last_index() {
            let Some(slot) = self.slot(index) else {
                return Ok(None);
            };
            let entry = read_entry(disk, slot).ok_or_else(|| format!("{index} is damaged"))?;
            total += entry.encoded_len();
            if total > bytes_max && !entries.is_empty() {
                break;
            }
            entries.push(entry);
            index = index.next();
        }
        Ok((!entries.is_empty()).then_some(entries))
    }

    /// The last persisted term and vote.
    #[must_use]
    pub const fn hard_state(&self) -> HardState {
        self.hard_state
    }

    /// Where the log begins.
    #[must_use]
    pub const fn base(&self) -> &LogBase {
        &self.base
    }

    /// The last entry that was written.
    #[must_use]
    pub fn last_index(&self) -> LogIndex {
        self.base.index.plus(self.slots.len() as u64)
    }

    /// The last entry that a crash certainly leaves: the truth, whatever the core believes.
    #[must_use]
    pub fn durable_last(&self) -> LogIndex {
        let count = self.slots.partition_point(|slot| slot.end <= self.synced);
        self.base.index.plus(count as u64)
    }

    /// The term of an entry that was written.
    #[must_use]
    pub fn term_at(&self, index: LogIndex) -> Option<Term> {
        if index == self.base.index {
            return Some(self.base.term);
        }
        self.slot(index).map(|slot| slot.term)
    }

    /// Runs of equal terms, for [`raft::Restored`].
    #[must_use]
    pub fn terms(&self) -> Vec<(LogIndex, Term)> {
        let mut runs: Vec<(LogIndex, Term)> = Vec::new();
        for (offset, slot) in (1..).zip(&self.slots) {
            if runs.last().is_none_or(|&(_, term)| term != slot.term) {
                runs.push((self.base.index.plus(offset), slot.term));
            }
        }
        runs
    }

    /// The membership entries, for [`raft::Restored`].
    #[must_use]
    pub fn memberships(&self, disk: &Disk) -> Vec<(LogIndex, Arc<Membership>)> {
        let mut found = Vec::new();
        for (offset, slot) in (1..).zip(&self.slots) {
            if !slot.is_membership {
                continue;
            }
            let payload = read_entry(disk, *slot).map(|entry| entry.payload);
            if let Some(Payload::Membership(membership)) = payload {
                found.push((self.base.index.plus(offset), membership));
            }
        }
        found
    }

    /// Bytes of the file.
    #[must_use]
    pub fn bytes(disk: &Disk) -> u64 {
        disk.read(FILE).1.len() as u64
    }

    /// Turns a bit round at a place where recovery is bound to notice; says whether there
    /// is such a place yet.
    ///
    /// # Panics
    ///
    /// Never: three bits fit.
    pub fn rot(&self, disk: &mut Disk, draw: u64) -> bool {
        let (start, bytes) = disk.read(FILE);
        let mut provable = start;
        let mut at = 0;
        while let Some(record) = Record::parse(&bytes[at..]) {
            at += record.len;
            // A record proves nothing after a crash that it may not survive.
            if start + at as u64 <= self.synced {
                provable = provable.max(record.synced);
            }
        }
        let span = provable.saturating_sub(start);
        if span == 0 {
            return false;
        }
        let bit = u8::try_from(draw >> 61).expect("three bits");
        disk.flip_bit(FILE, start + draw % span, bit);
        true
    }

    /// Where the file ends: what the next sync makes durable.
    #[must_use]
    pub fn end(disk: &Disk) -> u64 {
        disk.len(FILE)
    }

    fn slot(&self, index: LogIndex) -> Option<Slot> {
        let offset = index.distance_from(self.base.index).checked_sub(1)?;
        self.slots.get(usize::try_from(offset).ok()?).copied()
    }

    fn put_base(&mut self, file_end: u64, kind: u8, base: &LogBase) {
        self.base = base.clone();
        self.base_offset = file_end + self.buffer.len() as u64;
        let mut body = hard_state_bytes(self.hard_state);
        body.put_u64_le(base.index.get());
        body.put_u64_le(base.term.get());
        put_membership(&mut body, &base.membership);
        self.put(kind, &body);
    }

    fn put(&mut self, kind: u8, body: &[u8]) {
        let mut checked = Vec::with_capacity(13 + body.len());
        checked.put_u32_le(self.chain);
        checked.put_u64_le(self.synced);
        checked.put_u8(kind);
        checked.put_slice(body);
        let crc = crc32c::crc32c(&checked);
        let len = u32::try_from(checked.len() - 4).expect("a small record");
        self.buffer.put_u8(MAGIC);
        self.buffer.put_u32_le(len);
        self.buffer.put_u32_le(crc);
        self.buffer.put_slice(&checked);
        self.chain = crc;
    }

    fn replay(&mut self, record: &Record<'_>, span: (u64, u64)) {
        match record.kind {
            HARD_STATE => {
                if let Some(hard_state) = decode_hard_state(&mut Cursor(record.body)) {
                    self.hard_state = hard_state;
                }
            }
            ENTRY => {
                if let Some(entry) = decode_entry(record.body) {
                    self.replay_entry(&entry, span);
                }
            }
            _ => {
                let mut cursor = Cursor(record.body);
                let hard_state = decode_hard_state(&mut cursor);
                let base = decode_base(&mut cursor);
                if let (Some(hard_state), Some(base)) = (hard_state, base) {
                    self.hard_state = hard_state;
                    self.replay_base(record.kind, base, span.0);
                }
            }
        }
    }

    fn replay_entry(&mut self, entry: &Entry, span: (u64, u64)) {
        // A trimmed file begins with the entry after its base; the base itself follows.
        if self.slots.is_empty() && entry.index > self.base.index.next() {
            self.base.index = entry.index.previous();
        }
        let kept = entry.index.distance_from(self.base.index.next());
        self.slots
            .truncate(usize::try_from(kept).unwrap_or(usize::MAX));
        self.slots.push_back(Slot {
            offset: span.0,
            end: span.1,
            term: entry.term,
            is_membership: matches!(entry.payload, Payload::Membership(_)),
        });
    }

    fn replay_base(&mut self, kind: u8, base: LogBase, offset: u64) {
        if kind == REPLACED {
            self.slots.clear();
        } else if base.index < self.base.index {
            // The file was trimmed for a later base, which follows.
            return;
        } else {
            let dropped = base.index.distance_from(self.base.index);
            let dropped = usize::try_from(dropped).unwrap_or(usize::MAX);
            self.slots.drain(..dropped.min(self.slots.len()));
        }
        self.base = base;
        self.base_offset = offset;
    }
}

struct Record<'a> {
    kind: u8,
    previous: u32,
    crc: u32,
    synced: u64,
    body: &'a [u8],
    /// Bytes in the file.
    len: usize,
}

impl<'a> Record<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        if *bytes.first()? != MAGIC {
            return None;
        }
        let mut cursor = Cursor(&bytes[1..]);
        let len = usize::try_from(take_u32(&mut cursor)?).ok()?;
        let crc = take_u32(&mut cursor)?;
        let checked = cursor.take(len.checked_add(4)?)?;
        if crc32c::crc32c(checked) != crc {
            return None;
        }
        let mut cursor = Cursor(checked);
        let previous = take_u32(&mut cursor)?;
        let synced = cursor.word()?;
        let kind = cursor.byte()?;
        Some(Self {
            kind,
            previous,
            crc,
            synced,
            body: cursor.0,
            len: HEADER_BYTES + len,
        })
    }
}

fn read_entry(disk: &Disk, slot: Slot) -> Option<Entry> {
    let (start, bytes) = disk.read(FILE);
    let at = usize::try_from(slot.offset.checked_sub(start)?).ok()?;
    decode_entry(Record::parse(bytes.get(at..)?)?.body)
}

fn take_u32(cursor: &mut Cursor<'_>) -> Option<u32> {
    Some(u32::from_le_bytes(cursor.take(4)?.try_into().ok()?))
}

fn hard_state_bytes(hard_state: HardState) -> Vec<u8> {
    let mut body = Vec::with_capacity(16);
    body.put_u64_le(hard_state.term.get());
    body.put_u64_le(hard_state.vote.map_or(0, NodeId::get));
    body
}

fn decode_hard_state(cursor: &mut Cursor<'_>) -> Option<HardState> {
    let term = Term::new(cursor.word()?);
    let vote = NodeId::new(cursor.word()?);
    let vote = (vote != NodeId::ZERO).then_some(vote);
    Some(HardState { term, vote })
}

fn decode_base(cursor: &mut Cursor<'_>) -> Option<LogBase> {
    let index = LogIndex::new(cursor.word()?);
    let term = Term::new(cursor.word()?);
    let membership = Arc::new(decode_membership(cursor)?);
    Some(LogBase {
        index,
        term,
        membership,
    })
}

fn put_membership(body: &mut Vec<u8>, membership: &Membership) {
    for set in [
        &membership.voters,
        &membership.outgoing,
        &membership.learners,
    ] {
        body.put_u8(u8::try_from(set.len()).expect("a small group"));
        set.iter().for_each(|id| body.put_u64_le(id.get()));
    }
    put_policy(body, membership.lease);
}

/// A lease policy, as a fixed number of bytes.
pub(crate) fn put_policy(body: &mut impl BufMut, policy: LeasePolicy) {
    let kind = match policy {
        LeasePolicy::Promised => 0,
        LeasePolicy::Off => 1,
        LeasePolicy::WaitOut(_) => 2,
        LeasePolicy::Log(_, LeaseClock::Drift) => 3,
        LeasePolicy::Log(_, LeaseClock::Interval) => 4,
    };
    let lease = policy.lease();
    let nanos = lease.map_or(0, |lease| lease.duration.as_nanos());
    body.put_u8(kind);
    body.put_u64_le(u64::try_from(nanos).expect("a lease is short"));
    body.put_u64_le(lease.map_or(0, |lease| lease.drift_ppm.into()));
}

pub(crate) fn take_policy(cursor: &mut Cursor<'_>) -> Option<LeasePolicy> {
    let kind = cursor.byte()?;
    let lease = Lease {
        duration: Duration::from_nanos(cursor.word()?),
        drift_ppm: u32::try_from(cursor.word()?).ok()?,
    };
    Some(match kind {
        0 => LeasePolicy::Promised,
        1 => LeasePolicy::Off,
        2 => LeasePolicy::WaitOut(lease),
        3 => LeasePolicy::Log(lease, LeaseClock::Drift),
        4 => LeasePolicy::Log(lease, LeaseClock::Interval),
        _ => return None,
    })
}

fn decode_membership(cursor: &mut Cursor<'_>) -> Option<Membership> {
    let mut membership = Membership::default();
    for set in [
        &mut membership.voters,
        &mut membership.outgoing,
        &mut membership.learners,
    ] {
        for _ in 0..cursor.byte()? {
            set.insert(NodeId::new(cursor.word()?));
        }
    }
    membership.lease = take_policy(cursor)?;
    Some(membership)
}

fn entry_bytes(entry: &Entry) -> Vec<u8> {
    let mut body = Vec::with_capacity(17 + entry.payload.encoded_len());
    body.put_u64_le(entry.index.get());
    body.put_u64_le(entry.term.get());
    match &entry.payload {
        Payload::Noop => body.put_u8(0),
        Payload::Membership(membership) => {
            body.put_u8(1);
            put_membership(&mut body, membership);
        }
        Payload::Data(data) => {
            body.put_u8(2);
            body.put_slice(data);
        }
    }
    body
}

fn decode_entry(body: &[u8]) -> Option<Entry> {
    let mut cursor = Cursor(body);
    let index = LogIndex::new(cursor.word()?);
    let term = Term::new(cursor.word()?);
    let payload = match cursor.byte()? {
        0 => Payload::Noop,
        1 => Payload::Membership(Arc::new(decode_membership(&mut cursor)?)),
        _ => Payload::Data(Bytes::copy_from_slice(cursor.0)),
    };
    Some(Entry {
        index,
        term,
        payload,
    })
}
