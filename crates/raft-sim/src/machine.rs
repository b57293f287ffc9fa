//! The replicated state machine of the simulation: a small key/value store.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use raft::{LogBase, Membership};
use sim::linear::{Operation, Outcome};
use stdx::{LogIndex, NodeId, Term};

use crate::storage::{put_policy, take_policy};

/// A write of a client; its number is never used twice.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Command {
    /// Unique in a run.
    pub number: u64,
    /// Which key.
    pub key: u8,
    /// What to do.
    pub operation: Operation,
}

const OPAQUE: u8 = 0;
const PUT: u8 = 1;
const APPEND: u8 = 2;
const DELETE: u8 = 3;
const COMPARE_ABSENT: u8 = 4;
const COMPARE: u8 = 5;
const HEADER_BYTES: usize = 8 + 1 + 1 + 4;

impl Command {
    /// The command as an entry's payload.
    ///
    /// # Panics
    ///
    /// When a value exceeds 4 GiB.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let empty = Bytes::new();
        let (kind, expected, value) = match &self.operation {
            Operation::Get => (OPAQUE, &empty, &empty),
            Operation::Put(value) => (PUT, &empty, value),
            Operation::Append(value) => (APPEND, &empty, value),
            Operation::Delete => (DELETE, &empty, &empty),
            Operation::CompareAndSet {
                expected: None,
                value,
            } => (COMPARE_ABSENT, &empty, value),
            Operation::CompareAndSet {
                expected: Some(expected),
                value,
            } => (COMPARE, expected, value),
        };
        let mut bytes = BytesMut::with_capacity(HEADER_BYTES + expected.len() + value.len());
        bytes.put_u64_le(self.number);
        bytes.put_u8(kind);
        bytes.put_u8(self.key);
        bytes.put_u32_le(u32::try_from(expected.len()).expect("a small value"));
        bytes.put_slice(expected);
        bytes.put_slice(value);
        bytes.freeze()
    }

    /// The command in a payload; `None` for bytes that a scenario made up.
    pub(crate) fn decode(payload: &Bytes) -> Option<Self> {
        let header = payload.first_chunk::<HEADER_BYTES>()?;
        let number = u64::from_le_bytes(header[..8].try_into().ok()?);
        let expected_len = u32::from_le_bytes(header[10..].try_into().ok()?);
        let rest = payload.slice(HEADER_BYTES..);
        let middle = usize::try_from(expected_len).ok()?;
        if middle > rest.len() {
            return None;
        }
        let expected = rest.slice(..middle);
        let value = rest.slice(middle..);
        let operation = match header[8] {
            PUT => Operation::Put(value),
            APPEND => Operation::Append(value),
            DELETE => Operation::Delete,
            COMPARE_ABSENT => Operation::CompareAndSet {
                expected: None,
                value,
            },
            COMPARE => Operation::CompareAndSet {
                expected: Some(expected),
                value,
            },
            _ => return None,
        };
        Some(Self {
            number,
            key: header[9],
            operation,
        })
    }

    /// The number in a payload that a client made.
    #[must_use]
    pub fn number_of(payload: &[u8]) -> Option<u64> {
        payload.first_chunk().map(|word| u64::from_le_bytes(*word))
    }
}

/// The state: keys, and the point of the log they stand at.
#[derive(Clone, Debug)]
pub struct Machine {
    /// What is applied: index, term and the members there.
    pub base: LogBase,
    /// Hash of everything applied, in order.
    pub chain: u64,
    keys: BTreeMap<u8, Bytes>,
}

impl Machine {
    /// The state before anything was applied.
    #[must_use]
    pub const fn new(base: LogBase) -> Self {
        Self {
            base,
            chain: 0,
            keys: BTreeMap::new(),
        }
    }

    /// Applies an entry and says what a client is told.
    pub fn apply(&mut self, entry: &raft::Entry) -> Outcome {
        self.base.index = entry.index;
        self.base.term = entry.term;
        self.chain = mix(self.chain, entry.term.get());
        match &entry.payload {
            raft::Payload::Noop => Outcome::Done,
            raft::Payload::Membership(membership) => {
                self.base.membership = Arc::clone(membership);
                Outcome::Done
            }
            raft::Payload::Data(data) => {
                self.chain = mix(self.chain, hash(data));
                match Command::decode(data) {
                    Some(command) => self.execute(&command),
                    None => Outcome::Done,
                }
            }
        }
    }

    /// A key's value.
    #[must_use]
    pub fn read(&self, key: u8) -> Option<Bytes> {
        self.keys.get(&key).cloned()
    }

    /// The state as bytes, with a checksum at the end.
    ///
    /// # Panics
    ///
    /// When a value exceeds 4 GiB, or a group 255 members.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::new();
        bytes.put_u64_le(self.base.index.get());
        bytes.put_u64_le(self.base.term.get());
        bytes.put_u64_le(self.chain);
        let membership = &self.base.membership;
        for set in [
            &membership.voters,
            &membership.outgoing,
            &membership.learners,
        ] {
            bytes.put_u8(u8::try_from(set.len()).expect("a small group"));
            set.iter().for_each(|id| bytes.put_u64_le(id.get()));
        }
        put_policy(&mut bytes, membership.lease);
        for (&key, value) in &self.keys {
            bytes.put_u8(key);
            bytes.put_u32_le(u32::try_from(value.len()).expect("a small value"));
            bytes.put_slice(value);
        }
        bytes.put_u32_le(crc32c::crc32c(&bytes));
        bytes.freeze()
    }

    /// The state in bytes; `None` if they are damaged.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (body, crc) = bytes.split_last_chunk::<4>()?;
        if crc32c::crc32c(body) != u32::from_le_bytes(*crc) {
            return None;
        }
        let mut cursor = Cursor(body);
        let index = LogIndex::new(cursor.word()?);
        let term = Term::new(cursor.word()?);
        let chain = cursor.word()?;
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
        membership.lease = take_policy(&mut cursor)?;
        let mut keys = BTreeMap::new();
        while !cursor.0.is_empty() {
            let key = cursor.byte()?;
            let len = u32::from_le_bytes(cursor.take(4)?.try_into().ok()?);
            let value = cursor.take(usize::try_from(len).ok()?)?;
            keys.insert(key, Bytes::copy_from_slice(value));
        }
        let membership = Arc::new(membership);
        let base = LogBase {
            index,
            term,
            membership,
        };
        Some(Self { base, chain, keys })
    }

    fn execute(&mut self, command: &Command) -> Outcome {
        let old = self.keys.get(&command.key);
        let new = match &command.operation {
            Operation::Get => return Outcome::Found(old.cloned()),
            Operation::Put(value) => Some(value.clone()),
            Operation::Append(more) => {
                let old = old.map_or(&[][..], |old| old);
                Some([old, more].concat().into())
            }
            Operation::Delete => None,
            Operation::CompareAndSet { expected, value } => {
                if old != expected.as_ref() {
                    return Outcome::Refused;
                }
                Some(value.clone())
            }
        };
        match new {
            Some(value) => self.keys.insert(command.key, value),
            None => self.keys.remove(&command.key),
        };
        Outcome::Done
    }
}

/// Reads fields from the front of bytes.
pub(crate) struct Cursor<'a>(pub(crate) &'a [u8]);

impl<'a> Cursor<'a> {
    pub(crate) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        Some(self.take(1)?[0])
    }

    pub(crate) fn word(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }
}

/// FNV-1a.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Folds a word into a hash.
pub(crate) const fn mix(hash: u64, word: u64) -> u64 {
    let hash = (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash ^ (hash >> 32)
}

/// A payload's hash: kind and bytes.
pub(crate) fn payload_hash(payload: &raft::Payload) -> u64 {
    match payload {
        raft::Payload::Noop => 1,
        raft::Payload::Membership(membership) => {
            let sets = [
                &membership.voters,
                &membership.outgoing,
                &membership.learners,
            ];
            let lease = membership.lease.lease();
            let length = lease.map_or(0, |lease| u64::from(lease.duration.subsec_nanos()));
            let seed = if membership.lease == raft::LeasePolicy::Promised {
                2
            } else {
                mix(5, length)
            };
            sets.iter().fold(seed, |outer, set| {
                set.iter()
                    .fold(mix(outer, 3), |inner, id| mix(inner, id.get()))
            })
        }
        raft::Payload::Data(data) => mix(4, hash(data)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_and_states_survive_their_encoding() {
        let mut machine = Machine::new(LogBase::bootstrap([NodeId::new(1), NodeId::new(2)]));
        let operations = [
            Operation::Put(Bytes::from_static(b"a")),
            Operation::Append(Bytes::from_static(b"b")),
            Operation::CompareAndSet {
                expected: Some(Bytes::from_static(b"ab")),
                value: Bytes::from_static(b"c"),
            },
        ];
        for (number, operation) in (1..).zip(operations) {
            let command = Command {
                number,
                key: 7,
                operation,
            };
            let payload = command.encode();
            assert_eq!(Command::decode(&payload), Some(command));
            let entry = raft::Entry {
                index: LogIndex::new(number),
                term: Term::new(1),
                payload: raft::Payload::Data(payload),
            };
            assert_eq!(machine.apply(&entry), Outcome::Done);
        }
        assert_eq!(machine.read(7).as_deref(), Some(&b"c"[..]));
        let encoded = machine.encode();
        let decoded = Machine::decode(&encoded).unwrap();
        assert_eq!(decoded.encode(), encoded);
        assert_eq!(decoded.base, machine.base);
        let mut damaged = encoded.to_vec();
        damaged[9] ^= 1;
        assert!(Machine::decode(&damaged).is_none());
    }
}
