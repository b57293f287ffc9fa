//! The sending half: messages as one stream of bytes, each after its length.
//!
//! Many small messages share a packet and a large one spreads over many, without anything
//! being counted per message but where it ends. What is sent stays until it is
//! acknowledged; what a lost packet carried is sent again in other packets.

use core::ops::Range;
use std::collections::VecDeque;

use crate::v2::ranges::Ranges;
use crate::v2::varint;

/// The bytes that we send.
#[derive(Debug)]
pub(crate) struct SendStream {
    /// Everything that isn't acknowledged, from `base` on.
    buffer: VecDeque<u8>,
    base: u64,
    /// Where what was never sent begins.
    fresh: u64,
    /// How far the peer lets us go.
    limit: u64,
    /// Acknowledged, past `base`.
    acked: Ranges,
    /// To be sent again.
    lost: Ranges,
    /// Where each message ends that isn't acknowledged.
    ends: VecDeque<u64>,
}

impl SendStream {
    pub(crate) const fn new() -> Self {
        Self {
            buffer: VecDeque::new(),
            base: 0,
            fresh: 0,
            limit: 0,
            acked: Ranges::new(),
            lost: Ranges::new(),
            ends: VecDeque::new(),
        }
    }

    /// Queues a message.
    pub(crate) fn write(&mut self, payload: &[u8]) {
        let mut head = [0; 8];
        let head = length_head(payload.len() as u64, &mut head);
        self.buffer.extend(head);
        self.buffer.extend(payload);
        self.ends.push_back(self.end());
    }

    fn end(&self) -> u64 {
        self.base + self.buffer.len() as u64
    }

    /// Lets the stream go further; a peer can't take back what it allowed.
    // spec: LSP2-6.1
    pub(crate) fn allow(&mut self, limit: u64) {
        self.limit = self.limit.max(limit);
    }

    /// What to send next, at most `room` bytes: what was lost first. Whether it is sent for
    /// the first time.
    ///
    /// While no more than `repeat` bytes are unacknowledged in all, they go along with the
    /// new ones, so that a loss is repaired by the next packet instead of by a timer.
    // spec: LSP2-10.4
    pub(crate) fn next(&self, room: usize, repeat: usize) -> Option<(Range<u64>, bool)> {
        let room = room as u64;
        let end = self.end().min(self.limit);
        if self.buffer.len() <= repeat && self.wants() {
            let range = self.base..end.min(self.base + room);
            let news = range.end > self.fresh;
            if news || !self.lost.is_empty() {
                return (!range.is_empty()).then_some((range, news));
            }
        }
        if let Some(lost) = self.lost.first() {
            let end = lost.end.min(lost.start + room);
            return (room > 0).then_some((lost.start..end, false));
        }
        let end = end.min(self.fresh + room);
        (self.fresh < end).then_some((self.fresh..end, true))
    }

    /// Whether [`next`](Self::next) has something.
    pub(crate) fn wants(&self) -> bool {
        !self.lost.is_empty() || self.fresh < self.end().min(self.limit)
    }

    /// Notes that a range of [`next`](Self::next) was sent.
    pub(crate) fn on_sent(&mut self, range: Range<u64>) {
        self.fresh = self.fresh.max(range.end);
        self.lost.remove(range);
    }

    /// Appends a range to a packet.
    pub(crate) fn copy(&self, range: &Range<u64>, packet: &mut Vec<u8>) {
        let place = |offset: u64| usize::try_from(offset - self.base).expect("within the buffer");
        let (start, end) = (place(range.start), place(range.end));
        let (front, back) = self.buffer.as_slices();
        if start < front.len() {
            packet.extend_from_slice(&front[start..end.min(front.len())]);
        }
        if end > front.len() {
            let from = start.max(front.len()) - front.len();
            packet.extend_from_slice(&back[from..end - front.len()]);
        }
    }

    /// Takes the acknowledgement of a range.
    pub(crate) fn on_acked(&mut self, range: Range<u64>) {
        let range = range.start.max(self.base)..range.end;
        if range.is_empty() {
            return;
        }
        self.lost.remove(range.clone());
        if range.start > self.base {
            self.acked.insert(range);
            return;
        }
        let mut base = range.end;
        while let Some(next) = self.acked.first() {
            if next.start > base {
                break;
            }
            base = base.max(next.end);
            self.acked.pop_first();
        }
        let count = usize::try_from(base - self.base).expect("within the buffer");
        self.buffer.drain(..count);
        self.base = base;
        while self.ends.front().is_some_and(|&end| end <= base) {
            self.ends.pop_front();
        }
    }

    /// Takes the loss of a range: what of it isn't acknowledged is due again.
    pub(crate) fn on_lost(&mut self, range: Range<u64>) {
        let mut start = range.start.max(self.base);
        for acked in self.acked.ascending() {
            if acked.start >= range.end {
                break;
            }
            if acked.end <= start {
                continue;
            }
            self.lost.insert(start..acked.start.max(start));
            start = acked.end;
        }
        self.lost.insert(start..range.end.max(start));
    }

    /// Messages that aren't acknowledged.
    pub(crate) fn messages(&self) -> usize {
        self.ends.len()
    }

    /// Bytes that aren't acknowledged.
    pub(crate) fn bytes(&self) -> usize {
        self.buffer.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Forgets everything: the connection is over.
    pub(crate) fn clear(&mut self) {
        *self = Self {
            base: self.end(),
            ..Self::new()
        };
        self.fresh = self.base;
    }

    /// Gives back the memory of busier times.
    pub(crate) fn shrink(&mut self) {
        if self.buffer.is_empty() {
            self.buffer = VecDeque::new();
            self.ends = VecDeque::new();
            self.acked.clear();
            self.lost.clear();
        }
    }

    pub(crate) fn check_invariants(&self) {
        self.acked.check_invariants();
        self.lost.check_invariants();
        assert!(
            self.base <= self.fresh && self.fresh <= self.end(),
            "what was sent is kept"
        );
        assert!(
            self.acked
                .first()
                .is_none_or(|range| range.start > self.base),
            "the front isn't acknowledged"
        );
        for range in self.lost.ascending() {
            assert!(
                range.start >= self.base && range.end <= self.fresh,
                "only what was sent is lost"
            );
        }
        assert_eq!(self.ends.is_empty(), self.buffer.is_empty());
    }
}

/// A message's length as it stands before it.
fn length_head(length: u64, head: &mut [u8; 8]) -> &[u8] {
    let count = varint::len(length);
    let bytes = length.to_be_bytes();
    head[..count].copy_from_slice(&bytes[bytes.len() - count..]);
    let log = u8::try_from(count.trailing_zeros()).expect("at most three");
    head[0] |= log << 6;
    &head[..count]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(messages: &[&[u8]]) -> SendStream {
        let mut stream = SendStream::new();
        stream.allow(1_000);
        for message in messages {
            stream.write(message);
        }
        stream
    }

    fn send(stream: &mut SendStream, room: usize) -> Option<(Range<u64>, Vec<u8>)> {
        let (range, _) = stream.next(room, 0)?;
        let mut bytes = Vec::new();
        stream.copy(&range, &mut bytes);
        stream.on_sent(range.clone());
        stream.check_invariants();
        Some((range, bytes))
    }

    #[test]
    fn lost_bytes_go_again_before_new_ones() {
        let mut stream = stream(&[b"one", b"two", b"three"]);
        assert_eq!(send(&mut stream, 4), Some((0..4, b"\x03one".to_vec())));
        assert_eq!(send(&mut stream, 4), Some((4..8, b"\x03two".to_vec())));
        stream.on_lost(0..4);
        assert_eq!(send(&mut stream, 9), Some((0..4, b"\x03one".to_vec())));
        stream.on_acked(4..8);
        assert_eq!(stream.messages(), 3, "the first isn't acknowledged");
        stream.on_lost(0..8);
        assert_eq!(send(&mut stream, 9), Some((0..4, b"\x03one".to_vec())));
        stream.on_acked(0..4);
        assert_eq!(stream.messages(), 1);
        assert_eq!(send(&mut stream, 99), Some((8..14, b"\x05three".to_vec())));
        stream.on_acked(8..14);
        stream.on_acked(0..14);
        assert!(stream.is_empty());
        stream.check_invariants();
    }

    // spec: LSP2-10.4
    #[test]
    fn what_is_little_goes_again_with_what_is_new() {
        let mut stream = stream(&[b"one"]);
        send(&mut stream, 99);
        stream.write(b"two");
        assert_eq!(stream.next(99, 8), Some((0..8, true)));
        assert_eq!(stream.next(99, 7), Some((4..8, true)), "too much for that");
        assert_eq!(stream.next(3, 8), Some((4..7, true)), "no room for news");
        stream.on_sent(0..8);
        assert_eq!(stream.next(99, 8), None, "nothing is new");
        stream.on_lost(0..4);
        assert_eq!(stream.next(99, 8), Some((0..8, false)));
        stream.on_sent(0..8);
        assert_eq!(stream.next(99, 8), None);
    }

    // spec: LSP2-6.1
    #[test]
    fn nothing_passes_the_peers_limit() {
        let mut stream = SendStream::new();
        stream.write(&[7; 100]);
        assert_eq!(send(&mut stream, 50), None);
        stream.allow(10);
        assert_eq!(send(&mut stream, 50).unwrap().0, 0..10);
        assert_eq!(send(&mut stream, 50), None);
        stream.allow(5);
        stream.allow(20);
        assert_eq!(send(&mut stream, 50).unwrap().0, 10..20);
    }
}
