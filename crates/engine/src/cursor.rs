//! The order of `SCAN`, and integer cursors that say where it is.
//!
//! Slots in order; within a slot, keys in the order of 49 bits of their hash. That order
//! depends on nothing but the keys, so a cursor stays good while tables grow, after a
//! restart, on another replica. A step never stops between two keys of equal hash.

use std::hash::{BuildHasher, Hasher};

use foldhash::quality::FixedState;
use kv_core::SLOT_COUNT;

/// Bits of the hash in a cursor; 14 more name the slot, and the sign bit stays clear
/// for clients that read cursors as signed.
pub(crate) const ORDER_BITS: u32 = 49;

/// The seed of the hash. A constant: cursors travel between replicas.
const SEED: u64 = 0x6b6f_6e74_696b_6931;

/// The hash of a key, for tables and for the order of `SCAN`.
#[inline]
pub(crate) fn hash_key(key: &[u8]) -> u64 {
    let mut hasher = FixedState::with_seed(SEED).build_hasher();
    hasher.write(key);
    hasher.finish()
}

/// The part of a hash that orders `SCAN`. Not its seven highest bits: hash tables use
/// those to tell entries of a group apart, and parts of a slot share the order's first.
#[inline]
pub(crate) const fn order_of(hash: u64) -> u64 {
    (hash << 7) >> (64 - ORDER_BITS)
}

/// Where an iteration goes on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Position {
    /// The slot.
    pub(crate) slot: u16,
    /// The first order in it that has not been seen.
    pub(crate) order: u64,
}

impl Position {
    /// The position that a client's cursor names; `None` if there is no such slot.
    pub(crate) fn from_cursor(cursor: u64) -> Option<Self> {
        let slot = u16::try_from(cursor >> ORDER_BITS)
            .ok()
            .filter(|&slot| slot < SLOT_COUNT)?;
        Some(Self {
            slot,
            order: cursor & ((1 << ORDER_BITS) - 1),
        })
    }

    /// The cursor of this position; never 0, which means start and end.
    pub(crate) const fn cursor(self) -> u64 {
        (self.slot as u64) << ORDER_BITS | self.order
    }

    /// The start of the next slot, if there is one.
    pub(crate) fn next_slot(self) -> Option<Self> {
        let slot = self.slot + 1;
        (slot < SLOT_COUNT).then_some(Self { slot, order: 0 })
    }
}

/// Keeps of a slot's keys those of one step: about `count` from `from` on, in order, and
/// where to go on in the slot if any are left.
pub(crate) fn take_step<K>(mut keys: Vec<(u64, K)>, count: usize) -> (Vec<K>, Option<u64>) {
    keys.sort_unstable_by_key(|&(order, _)| order);
    let count = count.max(1);
    let next = keys.get(count - 1).map(|&(last, _)| last + 1);
    let end = next.map_or(keys.len(), |next| {
        keys.partition_point(|&(order, _)| order < next)
    });
    let next = next.filter(|_| end < keys.len());
    keys.truncate(end);
    (keys.into_iter().map(|(_, key)| key).collect(), next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_never_ends_between_equal_hashes() {
        let keys = vec![(3, 'd'), (1, 'a'), (2, 'b'), (2, 'c')];
        let (mut step, next) = take_step(keys, 2);
        step.sort_unstable();
        assert_eq!((step, next), (vec!['a', 'b', 'c'], Some(3)));
        assert_eq!(take_step(vec![(3, 'd')], 5), (vec!['d'], None));
        assert_eq!(take_step(vec![(3, 'd')], 1), (vec!['d'], None));
    }

    #[test]
    fn cursors_round_trip_and_nonsense_is_refused() {
        let position = Position {
            slot: 16_383,
            order: (1 << ORDER_BITS) - 1,
        };
        assert_eq!(Position::from_cursor(position.cursor()), Some(position));
        assert_eq!(position.next_slot(), None);
        assert_eq!(Position::from_cursor(u64::MAX), None);
        assert!(i64::try_from(position.cursor()).is_ok());
    }
}
