//! How records lie in the storage engine.
//!
//! | part of a key | bytes | why |
//! | --- | --- | --- |
//! | group | u32 BE | a group's data is one range |
//! | slot | u16 BE | so is a hash slot's: what moves between groups |
//! | kind | u8 | 0 reserved, 1 records, 255 the group's own state |
//! | key | the rest | ordered within a slot |
//!
//! | part of a value | bytes |
//! | --- | --- |
//! | header version | u8, 1 |
//! | type | u8, [`Kind`] |
//! | version | LEB128 |
//! | deadline in ms, 0 = never | LEB128 |
//! | value | the rest |
//!
//! The group's own state lies at slot 65,535, behind all records.

use bytes::BufMut;

use crate::value::{Kind, Meta};

/// The bytes before the user's key.
pub const PREFIX_BYTES: usize = 7;

/// The kind of a record's key.
pub const KIND_RECORD: u8 = 1;

/// The kind of the group's own state.
pub const KIND_STATE: u8 = 255;

/// The slot under which the group's own state lies.
pub const STATE_SLOT: u16 = u16::MAX;

/// The version of the value header.
pub const HEADER_VERSION: u8 = 1;

/// The longest header.
pub const HEADER_BYTES_MAX: usize = 2 + 2 * 10;

/// The first bytes of every key of a slot.
#[must_use]
pub fn prefix(group: u32, slot: u16, kind: u8) -> [u8; PREFIX_BYTES] {
    let [a, b, c, d] = group.to_be_bytes();
    let [e, f] = slot.to_be_bytes();
    [a, b, c, d, e, f, kind]
}

/// Splits a stored key into group, slot, kind and the user's key.
#[must_use]
pub fn split_key(stored: &[u8]) -> Option<(u32, u16, u8, &[u8])> {
    let ([a, b, c, d, e, f, kind], key) = stored.split_first_chunk::<PREFIX_BYTES>()?;
    Some((
        u32::from_be_bytes([*a, *b, *c, *d]),
        u16::from_be_bytes([*e, *f]),
        *kind,
        key,
    ))
}

/// Appends a value's header.
pub fn put_header(buf: &mut impl BufMut, meta: Meta) {
    buf.put_u8(HEADER_VERSION);
    buf.put_u8(meta.kind as u8);
    put_varint(buf, meta.version);
    put_varint(buf, meta.expires_ms);
}

/// The length of a value's header.
#[must_use]
pub fn header_len(meta: Meta) -> usize {
    2 + varint_len(meta.version) + varint_len(meta.expires_ms)
}

/// Splits a stored value into its header and the user's value; `None` if the header is
/// malformed or of a newer version.
#[inline]
#[must_use]
pub fn split_value(stored: &[u8]) -> Option<(Meta, &[u8])> {
    let [HEADER_VERSION, kind, rest @ ..] = stored else {
        return None;
    };
    let kind = Kind::from_u8(*kind)?;
    let (version, rest) = split_varint(rest)?;
    let (expires_ms, value) = split_varint(rest)?;
    Some((
        Meta {
            kind,
            version,
            expires_ms,
        },
        value,
    ))
}

fn put_varint(buf: &mut impl BufMut, mut number: u64) {
    while number >= 0x80 {
        buf.put_u8(0x80 | number.to_le_bytes()[0] & 0x7f);
        number >>= 7;
    }
    buf.put_u8(number.to_le_bytes()[0]);
}

fn varint_len(number: u64) -> usize {
    let bits = 64 - (number | 1).leading_zeros();
    usize::try_from(bits.div_ceil(7)).expect("at most ten bytes")
}

#[inline]
fn split_varint(input: &[u8]) -> Option<(u64, &[u8])> {
    let (&first, rest) = input.split_first()?;
    if first < 0x80 {
        return Some((u64::from(first), rest));
    }
    split_long_varint(input)
}

fn split_long_varint(input: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0_u64;
    for (position, &byte) in input.iter().enumerate().take(10) {
        let bits = u64::from(byte & 0x7f);
        if position == 9 && bits > 1 {
            return None;
        }
        number |= bits << (7 * position);
        if byte < 0x80 {
            return Some((number, &input[position + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_round_trip_and_their_headers_say_their_length() {
        for version in [1, 127, 128, 16_384, u64::MAX] {
            for expires_ms in [0, 1, 1_700_000_000_000, u64::MAX] {
                let meta = Meta {
                    kind: Kind::String,
                    version,
                    expires_ms,
                };
                let mut stored = Vec::new();
                put_header(&mut stored, meta);
                assert_eq!(stored.len(), header_len(meta));
                assert!(stored.len() <= HEADER_BYTES_MAX);
                for end in 0..stored.len() {
                    assert_eq!(split_value(&stored[..end]), None);
                }
                stored.extend_from_slice(b"value");
                assert_eq!(split_value(&stored), Some((meta, &b"value"[..])));
            }
        }
    }

    #[test]
    fn keys_sort_by_group_then_slot_then_key() {
        let key =
            |group, slot, key: &str| [&prefix(group, slot, KIND_RECORD), key.as_bytes()].concat();
        let sorted = [
            key(0, 1, "b"),
            key(0, 2, "a"),
            key(0, 256, ""),
            key(1, 0, "a"),
        ];
        assert!(sorted.is_sorted());
        assert_eq!(split_key(&sorted[0]), Some((0, 1, KIND_RECORD, &b"b"[..])));
        assert_eq!(split_key(b"short"), None);
        assert!(prefix(0, STATE_SLOT, KIND_STATE) > prefix(0, 16_383, KIND_RECORD));
    }
}
