//! The receiving half: pieces of the peer's stream, put together and cut into messages.
//!
//! Everything lies in one buffer; a message that is read is a slice of it, so that nothing
//! is allocated or copied per message. The buffer is never longer than what we allowed the
//! peer to send, and the ranges of what came early are bounded in number.

use core::ops::Range;

use bytes::{Bytes, BytesMut};

use crate::v2::ranges::Ranges;
use crate::v2::varint;

/// Pieces beyond gaps that are kept.
const PIECES_MAX: usize = 1_024;
/// The buffer's allocation grows from the first to the second.
const CHUNK_BYTES_MIN: usize = 1_024;
const CHUNK_BYTES_MAX: usize = 64 * 1_024;

/// The peer broke a rule.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Broken;

/// What became of a piece.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Piece {
    /// Kept, or had before.
    Taken,
    /// Too many gaps: drop the packet unacknowledged.
    Refused,
}

/// The bytes that we receive.
#[derive(Debug)]
pub(crate) struct ReceiveStream {
    /// From `base` on; has holes where nothing came yet.
    buffer: BytesMut,
    base: u64,
    /// Everything before this came.
    whole: u64,
    /// What came beyond it.
    early: Ranges,
    /// How much may be unread.
    window: u64,
    /// How far the peer may go, as we told it.
    limit: u64,
    message_bytes_max: u64,
    /// How much to allocate next.
    chunk: usize,
    /// Nobody will read it.
    discards: bool,
}

impl ReceiveStream {
    pub(crate) fn new(window: u64, message_bytes_max: u64) -> Self {
        Self {
            buffer: BytesMut::new(),
            base: 0,
            whole: 0,
            early: Ranges::new(),
            window,
            limit: window,
            message_bytes_max,
            chunk: CHUNK_BYTES_MIN,
            discards: false,
        }
    }

    /// Takes a piece.
    // spec: LSP2-6.1 LSP2-8.2
    pub(crate) fn on_piece(&mut self, offset: u64, bytes: &[u8]) -> Result<Piece, Broken> {
        let end = offset + bytes.len() as u64;
        if end > self.limit {
            return Err(Broken);
        }
        if self.discards {
            self.base = self.base.max(end);
            self.whole = self.base;
            return Ok(Piece::Taken);
        }
        if end <= self.whole {
            return Ok(Piece::Taken);
        }
        if offset > self.whole && self.early.len() >= PIECES_MAX {
            return Ok(Piece::Refused);
        }
        let skip = self.whole.saturating_sub(offset);
        let start = offset + skip;
        let fresh = &bytes[usize::try_from(skip).expect("less than a packet")..];
        self.place(start, fresh);
        if start > self.whole {
            self.early.insert(start..end);
            return Ok(Piece::Taken);
        }
        self.whole = end;
        while let Some(next) = self.early.first() {
            if next.start > self.whole {
                break;
            }
            self.whole = self.whole.max(next.end);
            self.early.pop_first();
        }
        Ok(Piece::Taken)
    }

    /// Writes bytes where they belong.
    fn place(&mut self, start: u64, bytes: &[u8]) {
        let at = usize::try_from(start - self.base).expect("within the window");
        let end = at + bytes.len();
        if end > self.buffer.capacity() {
            self.chunk = (self.chunk * 2).min(CHUNK_BYTES_MAX);
            let more = end - self.buffer.len();
            self.buffer.reserve(more.max(self.chunk));
        }
        if at == self.buffer.len() {
            self.buffer.extend_from_slice(bytes);
            return;
        }
        if end > self.buffer.len() {
            self.buffer.resize(end, 0);
        }
        self.buffer[at..end].copy_from_slice(bytes);
    }

    /// The place of the next message in the buffer, if all of it is here.
    fn message(&self) -> Result<Option<Range<usize>>, Broken> {
        let here = usize::try_from(self.whole - self.base).expect("within the window");
        let Some((length, head)) = varint::peek(&self.buffer[..here]) else {
            return Ok(None);
        };
        if length > self.message_bytes_max {
            return Err(Broken);
        }
        let length = usize::try_from(length).expect("no longer than a message");
        let end = head + length;
        Ok((end <= here).then_some(head..end))
    }

    /// Whether a message can be read; an error when the peer writes one that is too long.
    // spec: LSP2-6.3
    pub(crate) fn is_readable(&self) -> Result<bool, Broken> {
        Ok(self.message()?.is_some())
    }

    /// The next message.
    pub(crate) fn read(&mut self) -> Option<Bytes> {
        let place = self.message().ok().flatten()?;
        let mut taken = self.buffer.split_to(place.end);
        self.base += place.end as u64;
        let _length = taken.split_to(place.start);
        Some(taken.freeze())
    }

    /// Drops what came and what will come: nobody reads it any more.
    pub(crate) fn discard(&mut self) {
        self.discards = true;
        self.base = self
            .whole
            .max(self.early.last().map_or(0, |range| range.end));
        self.whole = self.base;
        self.drop_early();
        self.buffer = BytesMut::new();
    }

    /// Drops what came beyond a gap: the connection is over.
    pub(crate) fn drop_early(&mut self) {
        self.early.clear();
        let here = usize::try_from(self.whole - self.base).expect("within the window");
        self.buffer.truncate(here);
    }

    /// Whether the peer should be told a new limit: when a quarter of the window was read
    /// since the last, or when the peer may be waiting in the middle of a message of which
    /// we have nothing more to read.
    // spec: LSP2-6.2
    pub(crate) fn wants_limit(&self) -> bool {
        let open = (self.base + self.window).saturating_sub(self.limit);
        let near = self.whole + self.window / 8 >= self.limit;
        open > 0 && (open >= self.window / 4 || near && self.is_readable() == Ok(false))
    }

    /// The limit, which is told now.
    pub(crate) fn tell_limit(&mut self) -> u64 {
        self.limit = self.limit.max(self.base + self.window);
        self.limit
    }

    /// Bytes that are held.
    pub(crate) fn bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Gives back the memory of busier times.
    pub(crate) fn shrink(&mut self) {
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
            self.chunk = CHUNK_BYTES_MIN;
        }
        self.early.shrink();
    }

    pub(crate) fn check_invariants(&self) {
        self.early.check_invariants();
        assert!(self.base <= self.whole, "only what came is read");
        assert!(self.whole <= self.limit, "the peer keeps to its limit");
        assert!(
            self.buffer.len() as u64 <= self.window,
            "the window bounds the buffer"
        );
        assert!(self.early.len() <= PIECES_MAX, "pieces are bounded");
        assert!(
            self.early
                .first()
                .is_none_or(|range| range.start > self.whole),
            "early pieces are beyond a gap"
        );
    }
}

#[cfg(test)]
mod tests {
    use stdx::Prng;

    use super::*;

    #[test]
    fn pieces_in_any_order_give_the_messages_in_order() {
        let mut prng = Prng::from_seed(3);
        for _ in 0..200 {
            let mut sender = crate::v2::send_stream::SendStream::new();
            let lengths: Vec<usize> = (0..20).map(|_| prng.index(300)).collect();
            for &length in &lengths {
                sender.write(&vec![u8::try_from(length % 251).unwrap(); length]);
            }
            let total = sender.bytes();
            let mut pieces: Vec<Range<u64>> = (0..60)
                .map(|_| {
                    let start = prng.index(total);
                    start as u64..(start + prng.index(total - start + 1)) as u64
                })
                .collect();
            pieces.push(0..total as u64);
            prng.shuffle(&mut pieces);
            let mut receiver = ReceiveStream::new(total as u64, 300);
            let mut read = Vec::new();
            for piece in pieces {
                let mut bytes = Vec::new();
                sender.copy(&piece, &mut bytes);
                assert_eq!(receiver.on_piece(piece.start, &bytes), Ok(Piece::Taken));
                receiver.check_invariants();
                while let Some(message) = receiver.read() {
                    read.push(message);
                }
            }
            let found: Vec<usize> = read.iter().map(Bytes::len).collect();
            assert_eq!(found, lengths);
            for message in read {
                let byte = u8::try_from(message.len() % 251).unwrap();
                assert!(message.iter().all(|&other| other == byte));
            }
            assert_eq!(receiver.bytes(), 0);
        }
    }

    // spec: LSP2-6.1 LSP2-6.3
    #[test]
    fn a_peer_that_goes_too_far_is_found_out() {
        let mut receiver = ReceiveStream::new(10, 5);
        assert_eq!(receiver.on_piece(0, &[0; 11]), Err(Broken));
        assert_eq!(receiver.on_piece(10, &[0]), Err(Broken));
        assert_eq!(receiver.on_piece(0, &[6]), Ok(Piece::Taken));
        assert_eq!(receiver.is_readable(), Err(Broken));
        assert_eq!(receiver.read(), None);
    }

    // spec: LSP2-6.2
    #[test]
    fn reading_opens_the_window_again() {
        let mut receiver = ReceiveStream::new(8, 8);
        receiver.on_piece(0, &[1, 7, 1, 7, 1, 7, 1, 7]).unwrap();
        assert!(!receiver.wants_limit());
        assert_eq!(receiver.read().as_deref(), Some(&[7][..]));
        assert!(receiver.wants_limit());
        assert_eq!(receiver.tell_limit(), 10);
        assert!(!receiver.wants_limit());
        receiver.discard();
        assert_eq!(receiver.bytes(), 0);
        assert_eq!(receiver.tell_limit(), 16);
    }
}
