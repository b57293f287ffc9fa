//! What is inside data packets: a row of frames.
//!
//! ```text
//!   0 padding
//!   1 ping
//!   2 ack          largest, delay in microseconds, count, first length, (gap, length)..
//!   3 stream       offset, length, bytes
//!   4 stream       offset, bytes up to the end of the packet
//!   5 limit        how far the stream may go
//!   6 challenge    8 bytes
//!   7 response     8 bytes
//!   8 close        reason
//! ```
//!
//! Lengths in an ack are one less than the count they stand for, as none is zero.

use core::ops::Range;

use crate::v2::ranges::Ranges;
use crate::v2::varint;

const PADDING: u8 = 0;
const PING: u8 = 1;
const ACK: u8 = 2;
const STREAM: u8 = 3;
const STREAM_TO_END: u8 = 4;
const LIMIT: u8 = 5;
const CHALLENGE: u8 = 6;
const RESPONSE: u8 = 7;
const CLOSE: u8 = 8;

/// The most ranges that one ack tells of; older ones were told before.
pub(crate) const ACK_RANGES_MAX: usize = 64;
/// The most bytes of an ack that tells of so many.
const ACK_RANGE_BYTES_MAX: usize = 16;

/// One frame, borrowed from its packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Frame<'a> {
    Padding,
    Ping,
    Ack(Ack<'a>),
    Stream { offset: u64, bytes: &'a [u8] },
    Limit(u64),
    Challenge(u64),
    Response(u64),
    Close { reason: u64 },
}

/// Which packets arrived.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Ack<'a> {
    pub(crate) largest: u64,
    pub(crate) delay_micros: u64,
    first_length: u64,
    /// Pairs of gap and length; checked.
    rest: &'a [u8],
    count: u64,
}

impl Ack<'_> {
    /// The ranges from the highest down.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        let mut rest = self.rest;
        let mut start = self.largest - self.first_length;
        let first = start..self.largest + 1;
        let more = (0..self.count).map(move |_| {
            let gap = varint::take(&mut rest).expect("checked when it was read");
            let length = varint::take(&mut rest).expect("checked when it was read");
            let end = start - gap - 1;
            start = end - length - 1;
            start..end
        });
        core::iter::once(first).chain(more)
    }
}

/// The packet isn't a row of frames.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Malformed;

/// Takes a frame off the front.
// spec: LSP2-4.1
pub(crate) fn take<'a>(bytes: &mut &'a [u8]) -> Result<Frame<'a>, Malformed> {
    read(bytes).ok_or(Malformed)
}

fn read<'a>(bytes: &mut &'a [u8]) -> Option<Frame<'a>> {
    let (&kind, rest) = bytes.split_first()?;
    *bytes = rest;
    match kind {
        PADDING => {
            let zeros = bytes.iter().take_while(|&&byte| byte == PADDING).count();
            *bytes = &bytes[zeros..];
            Some(Frame::Padding)
        }
        PING => Some(Frame::Ping),
        ACK => read_ack(bytes).map(Frame::Ack),
        STREAM => {
            let offset = varint::take(bytes)?;
            let length = usize::try_from(varint::take(bytes)?).ok()?;
            let (content, rest) = bytes.split_at_checked(length)?;
            *bytes = rest;
            stream(offset, content)
        }
        STREAM_TO_END => {
            let offset = varint::take(bytes)?;
            stream(offset, core::mem::take(bytes))
        }
        LIMIT => varint::take(bytes).map(Frame::Limit),
        CHALLENGE => word(bytes).map(Frame::Challenge),
        RESPONSE => word(bytes).map(Frame::Response),
        CLOSE => varint::take(bytes).map(|reason| Frame::Close { reason }),
        _ => None,
    }
}

fn stream(offset: u64, bytes: &[u8]) -> Option<Frame<'_>> {
    let end = offset.checked_add(bytes.len() as u64)?;
    (end <= varint::MAX).then_some(Frame::Stream { offset, bytes })
}

fn word(bytes: &mut &[u8]) -> Option<u64> {
    let (word, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(u64::from_be_bytes(*word))
}

fn read_ack<'a>(bytes: &mut &'a [u8]) -> Option<Ack<'a>> {
    let largest = varint::take(bytes)?;
    let delay_micros = varint::take(bytes)?;
    let count = varint::take(bytes)?;
    let first_length = varint::take(bytes)?;
    if count > ACK_RANGES_MAX as u64 {
        return None;
    }
    let mut start = largest.checked_sub(first_length)?;
    let rest = *bytes;
    for _ in 0..count {
        let gap = varint::take(bytes)?;
        let length = varint::take(bytes)?;
        let end = start.checked_sub(gap)?.checked_sub(1)?;
        start = end.checked_sub(length)?.checked_sub(1)?;
    }
    Some(Ack {
        largest,
        delay_micros,
        first_length,
        rest: &rest[..rest.len() - bytes.len()],
        count,
    })
}

/// Appends an ack of as many of the highest ranges as fit `room` bytes.
// spec: LSP2-5.2
pub(crate) fn put_ack(buffer: &mut Vec<u8>, received: &Ranges, delay_micros: u64, room: usize) {
    let mut ranges = received.descending();
    let Some(first) = ranges.next() else {
        return;
    };
    let fits = room.saturating_sub(4 * 8 + 1) / ACK_RANGE_BYTES_MAX;
    let count = (received.len() - 1).min(ACK_RANGES_MAX).min(fits);
    buffer.push(ACK);
    varint::put(buffer, first.end - 1);
    varint::put(buffer, delay_micros.min(varint::MAX));
    varint::put(buffer, count as u64);
    varint::put(buffer, first.end - first.start - 1);
    let mut below = first.start;
    for range in ranges.take(count) {
        varint::put(buffer, below - range.end - 1);
        varint::put(buffer, range.end - range.start - 1);
        below = range.start;
    }
}

/// How long a stream frame's head is, with its length or without.
pub(crate) const fn stream_head(offset: u64, length: Option<usize>) -> usize {
    let length = match length {
        Some(length) => varint::len(length as u64),
        None => 0,
    };
    1 + varint::len(offset) + length
}

/// Appends the head of a stream frame; without a length it goes to the packet's end.
pub(crate) fn put_stream_head(buffer: &mut Vec<u8>, offset: u64, length: Option<usize>) {
    buffer.push(if length.is_some() {
        STREAM
    } else {
        STREAM_TO_END
    });
    varint::put(buffer, offset);
    if let Some(length) = length {
        varint::put(buffer, length as u64);
    }
}

pub(crate) fn put_ping(buffer: &mut Vec<u8>) {
    buffer.push(PING);
}

pub(crate) fn put_limit(buffer: &mut Vec<u8>, limit: u64) {
    buffer.push(LIMIT);
    varint::put(buffer, limit);
}

pub(crate) fn put_challenge(buffer: &mut Vec<u8>, word: u64) {
    buffer.push(CHALLENGE);
    buffer.extend_from_slice(&word.to_be_bytes());
}

pub(crate) fn put_response(buffer: &mut Vec<u8>, word: u64) {
    buffer.push(RESPONSE);
    buffer.extend_from_slice(&word.to_be_bytes());
}

pub(crate) fn put_close(buffer: &mut Vec<u8>, reason: u64) {
    buffer.push(CLOSE);
    varint::put(buffer, reason);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(mut bytes: &[u8]) -> Result<Vec<Frame<'_>>, Malformed> {
        let mut frames = Vec::new();
        while !bytes.is_empty() {
            frames.push(take(&mut bytes)?);
        }
        Ok(frames)
    }

    // spec: LSP2-4.1
    #[test]
    fn every_frame_reads_as_it_was_written() {
        let mut bytes = Vec::new();
        put_ping(&mut bytes);
        put_limit(&mut bytes, 1 << 40);
        put_challenge(&mut bytes, 7);
        put_response(&mut bytes, 8);
        put_close(&mut bytes, 300);
        bytes.extend([0, 0, 0]);
        put_stream_head(&mut bytes, 5, Some(3));
        bytes.extend(b"abc");
        put_stream_head(&mut bytes, 1 << 20, None);
        bytes.extend(b"rest");
        assert_eq!(
            all(&bytes).unwrap(),
            [
                Frame::Ping,
                Frame::Limit(1 << 40),
                Frame::Challenge(7),
                Frame::Response(8),
                Frame::Close { reason: 300 },
                Frame::Padding,
                Frame::Stream {
                    offset: 5,
                    bytes: b"abc"
                },
                Frame::Stream {
                    offset: 1 << 20,
                    bytes: b"rest"
                },
            ]
        );
        assert_eq!(all(&[9]), Err(Malformed));
        assert_eq!(all(&[3, 0, 5, 1]), Err(Malformed));
    }

    // spec: LSP2-5.2
    #[test]
    fn an_ack_tells_the_ranges_from_the_highest_down() {
        let mut received = Ranges::new();
        for range in [0..3, 5..6, 10..20] {
            received.insert(range);
        }
        let mut bytes = Vec::new();
        put_ack(&mut bytes, &received, 250, 1_000);
        let Ok(Frame::Ack(ack)) = take(&mut &bytes[..]) else {
            panic!("not an ack");
        };
        assert_eq!((ack.largest, ack.delay_micros), (19, 250));
        let ranges: Vec<_> = ack.ranges().collect();
        assert_eq!(ranges, [10..20, 5..6, 0..3]);
        for cut in 0..bytes.len() {
            assert_eq!(take(&mut &bytes[..cut]), Err(Malformed), "{cut}");
        }
        // Below zero, or a count without its ranges.
        assert_eq!(all(&[ACK, 3, 0, 0, 4]), Err(Malformed));
        assert_eq!(all(&[ACK, 9, 0, 1, 0, 9, 0]), Err(Malformed));
    }

    #[test]
    fn an_ack_is_cut_to_the_room_there_is() {
        let mut received = Ranges::new();
        for number in 0..1_000 {
            received.insert(2 * number..2 * number + 1);
        }
        for room in [40, 100, 400, 2_000] {
            let mut bytes = Vec::new();
            put_ack(&mut bytes, &received, 0, room);
            assert!(bytes.len() <= room, "{} in {room}", bytes.len());
            assert!(matches!(take(&mut &bytes[..]), Ok(Frame::Ack(_))));
        }
    }
}
