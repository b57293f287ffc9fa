//! Numbers in one, two, four or eight bytes, as QUIC writes them (RFC 9000, section 16).
//!
//! The two highest bits of the first byte tell the length; the rest is big-endian.

/// The largest number that can be written.
pub(crate) const MAX: u64 = (1 << 62) - 1;

/// How many bytes a number takes.
pub(crate) const fn len(value: u64) -> usize {
    match value {
        0..0x40 => 1,
        0x40..0x4000 => 2,
        0x4000..0x4000_0000 => 4,
        _ => 8,
    }
}

/// Appends a number.
pub(crate) fn put(buffer: &mut Vec<u8>, value: u64) {
    debug_assert!(value <= MAX, "a number past what eight bytes hold");
    let bytes = value.to_be_bytes();
    let length = len(value);
    let start = buffer.len();
    buffer.extend_from_slice(&bytes[bytes.len() - length..]);
    let log = u8::try_from(length.trailing_zeros()).expect("at most three");
    buffer[start] |= log << 6;
}

/// Takes a number off the front; `None` when it is cut short.
pub(crate) fn take(bytes: &mut &[u8]) -> Option<u64> {
    let (value, length) = peek(bytes)?;
    *bytes = &bytes[length..];
    Some(value)
}

/// The number at the front and how many bytes it takes.
pub(crate) fn peek(bytes: &[u8]) -> Option<(u64, usize)> {
    let &first = bytes.first()?;
    let length = 1 << (first >> 6);
    let rest = bytes.get(1..length)?;
    let mut value = u64::from(first & 0x3f);
    for &byte in rest {
        value = value << 8 | u64::from(byte);
    }
    Some((value, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: u64, length: usize) {
        let mut bytes = Vec::new();
        put(&mut bytes, value);
        assert_eq!(bytes.len(), length);
        assert_eq!(len(value), length);
        for cut in 0..length {
            assert_eq!(take(&mut &bytes[..cut]), None);
        }
        let mut rest: &[u8] = &bytes;
        assert_eq!(take(&mut rest), Some(value));
        assert!(rest.is_empty());
    }

    // spec: LSP2-2.3
    #[test]
    fn every_length_reads_as_it_was_written() {
        for (value, length) in [
            (0, 1),
            (63, 1),
            (64, 2),
            (16_383, 2),
            (16_384, 4),
            (1_073_741_823, 4),
            (1_073_741_824, 8),
            (MAX, 8),
        ] {
            check(value, length);
        }
    }

    // spec: LSP2-2.3
    #[test]
    fn rfc_9000s_examples_read_as_there() {
        let read = |bytes: &[u8]| take(&mut &bytes[..]);
        assert_eq!(read(&[0x25]), Some(37));
        assert_eq!(read(&[0x40, 0x25]), Some(37));
        assert_eq!(read(&[0x7b, 0xbd]), Some(15_293));
        assert_eq!(read(&[0x9d, 0x7f, 0x3e, 0x7d]), Some(494_878_333));
        assert_eq!(
            read(&[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c]),
            Some(151_288_809_941_952_652)
        );
    }
}
