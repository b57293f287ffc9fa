//! A record in memory: one allocation.
//!
//! ```text
//! flags u8 | key length u16 | key | stored value (header and value, as on disk)
//! ```
//!
//! With a young record's four-byte header that is 7 bytes beside key and value.

use kv_core::Meta;
use kv_core::layout::{header_len, put_header, split_value};

/// Changed since the last cut, in an epoch of even number; odd epochs use the next bit.
pub(crate) const DIRTY_EVEN: u8 = 1;
/// Changed since the last cut, in an epoch of odd number.
pub(crate) const DIRTY_ODD: u8 = 2;
/// The key does not exist, and the disk may not know it yet.
pub(crate) const TOMBSTONE: u8 = 4;
/// The disk has, or is about to have, something for this key.
pub(crate) const ON_DISK: u8 = 8;

const DIRTY: u8 = DIRTY_EVEN | DIRTY_ODD;
/// The bytes before the key.
const FRONT: usize = 3;

/// What an entry costs beside its own bytes: its place in a hash table that is half to
/// seven eighths full, and the allocator's rounding.
pub(crate) const ENTRY_OVERHEAD_BYTES: usize = 40;

/// A record or tombstone.
#[derive(Debug)]
pub(crate) struct Entry(Box<[u8]>);

impl Entry {
    /// A record.
    #[inline]
    pub(crate) fn record(flags: u8, key: &[u8], meta: Meta, value: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(Self::len_of(key, meta, value));
        put_front(&mut bytes, flags, key);
        put_header(&mut bytes, meta);
        bytes.extend_from_slice(value);
        Self(bytes.into_boxed_slice())
    }

    /// A record whose stored value is given.
    pub(crate) fn stored(flags: u8, key: &[u8], stored: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(FRONT + key.len() + stored.len());
        put_front(&mut bytes, flags, key);
        bytes.extend_from_slice(stored);
        Self(bytes.into_boxed_slice())
    }

    /// A key that does not exist.
    pub(crate) fn tombstone(flags: u8, key: &[u8]) -> Self {
        Self::stored(flags | TOMBSTONE, key, &[])
    }

    /// The length of a record's bytes.
    #[inline]
    fn len_of(key: &[u8], meta: Meta, value: &[u8]) -> usize {
        FRONT + key.len() + header_len(meta) + value.len()
    }

    /// Writes another version over this one if it has the same length.
    #[inline]
    pub(crate) fn replace_in_place(&mut self, flags: u8, meta: Meta, value: &[u8]) -> bool {
        let start = FRONT + self.key_len();
        if self.0.len() != start + header_len(meta) + value.len() {
            return false;
        }
        self.0[0] = flags;
        let (front, back) = self.0.split_at_mut(self.0.len() - value.len());
        put_header(&mut &mut front[start..], meta);
        back.copy_from_slice(value);
        true
    }

    #[inline]
    pub(crate) fn flags(&self) -> u8 {
        self.0[0]
    }

    /// Reads the first and the last byte.
    #[inline]
    pub(crate) fn touch(&self) -> u8 {
        self.0[0].wrapping_add(self.0[self.0.len() - 1])
    }

    pub(crate) fn set_flags(&mut self, flags: u8) {
        self.0[0] = flags;
    }

    /// Whether the disk does not have it as it is.
    pub(crate) fn is_dirty(&self) -> bool {
        self.flags() & DIRTY != 0
    }

    pub(crate) fn is_tombstone(&self) -> bool {
        self.flags() & TOMBSTONE != 0
    }

    #[inline]
    fn key_len(&self) -> usize {
        usize::from(u16::from_le_bytes([self.0[1], self.0[2]]))
    }

    #[inline]
    pub(crate) fn key(&self) -> &[u8] {
        &self.0[FRONT..FRONT + self.key_len()]
    }

    /// Header and value as on disk; empty for a tombstone.
    #[inline]
    pub(crate) fn stored_value(&self) -> &[u8] {
        &self.0[FRONT + self.key_len()..]
    }

    /// The record; `None` for a tombstone.
    #[inline]
    pub(crate) fn value(&self) -> Option<(Meta, &[u8])> {
        if self.is_tombstone() {
            return None;
        }
        Some(split_value(self.stored_value()).expect("entries are made with a valid header"))
    }

    /// Memory that it takes.
    pub(crate) fn memory_bytes(&self) -> u64 {
        (self.0.len() + ENTRY_OVERHEAD_BYTES) as u64
    }
}

fn put_front(bytes: &mut Vec<u8>, flags: u8, key: &[u8]) {
    let length = u16::try_from(key.len()).expect("KEY_BYTES_MAX is below 64 KiB");
    bytes.push(flags);
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(key);
}
