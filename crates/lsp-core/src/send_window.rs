//! What the application wrote and the peer hasn't acknowledged.
//!
//! ```text
//!   acknowledged | first                                    |
//!  ------------- | slots: sent, some of them acknowledged   | queue: never sent
//!                | <---------- at most `window` ----------> |
//! ```
//!
//! Two bounds hold at once (the original's tests check both): a message may be sent only
//! within `window` of the oldest unacknowledged one, and only while fewer than
//! `max_unacked` are unacknowledged. Acks are per message, so holes open in the middle of
//! the window: with the first message lost and all others acknowledged, the window binds;
//! with none acknowledged, the smaller of the two.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use stdx::Instant;

use crate::message::SeqNum;

/// One message that was sent at least once.
#[derive(Clone, Debug)]
struct Slot {
    payload: Bytes,
    acked: bool,
    /// Epochs to let pass before it is sent again.
    wait: u32,
    /// The current back-off in epochs: 0, 1, 2, 4, ..., the limit.
    backoff: u32,
    sent: Sent,
}

/// When and how a message was last sent. Only the adaptive recovery reads it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    /// When it was last sent.
    pub(crate) at: Instant,
    /// The place of that transmission among all of the connection.
    pub(crate) order: u64,
    /// How often it was sent.
    pub(crate) transmissions: u32,
    /// Its datagram's length.
    pub(crate) bytes: u64,
    /// The bandwidth model's stamp.
    pub(crate) stamp: Stamp,
}

/// What was known of the flow when a message was sent (delivery rate estimation).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stamp {
    /// Bytes delivered until then.
    pub(crate) delivered: u64,
    /// When the last of them were.
    pub(crate) delivered_at: Instant,
    /// When the newest delivered one of them had been sent.
    pub(crate) first_sent_at: Instant,
    /// Whether the application or the window, not the network, set the pace.
    pub(crate) limited: bool,
}

/// The sending half of a connection.
#[derive(Clone, Debug)]
pub(crate) struct SendWindow {
    /// The number of `slots[0]`, the oldest unacknowledged message; of the first in
    /// `queue` if there is none.
    ///
    /// Invariant: `slots[0]` is unacknowledged.
    first: SeqNum,
    slots: VecDeque<Slot>,
    queue: VecDeque<Bytes>,
    /// Slots that aren't acknowledged.
    unacked: usize,
    /// Bytes in unacknowledged slots and in the queue.
    bytes: usize,
    /// Messages that are due to be sent again, oldest first.
    ///
    /// Invariant: each is an unacknowledged slot.
    resend: BTreeSet<SeqNum>,
}

/// A message that may be sent next.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) seq: SeqNum,
    pub(crate) payload: Bytes,
    pub(crate) first_time: bool,
}

impl SendWindow {
    pub(crate) const fn new(first: SeqNum) -> Self {
        Self {
            first,
            slots: VecDeque::new(),
            queue: VecDeque::new(),
            unacked: 0,
            bytes: 0,
            resend: BTreeSet::new(),
        }
    }

    /// Adds a message to the queue.
    pub(crate) fn push(&mut self, payload: Bytes) {
        self.bytes += payload.len();
        self.queue.push_back(payload);
    }

    /// What may be sent next: a message that is due again, else a new one that both
    /// bounds admit.
    // spec: LSP-4.1 LSP-4.2
    pub(crate) fn candidate(&self, window: usize, max_unacked: usize) -> Option<Candidate> {
        if let Some(&seq) = self.resend.first() {
            let slot = &self.slots[self.index(seq).expect("what is due again is in the window")];
            return Some(Candidate {
                seq,
                payload: slot.payload.clone(),
                first_time: false,
            });
        }
        if self.slots.len() >= window || self.unacked >= max_unacked {
            return None;
        }
        Some(Candidate {
            seq: self.first.plus(self.slots.len() as u64),
            payload: self.queue.front()?.clone(),
            first_time: true,
        })
    }

    /// Notes that a candidate was sent.
    pub(crate) fn on_sent(&mut self, candidate: &Candidate, now: Instant, order: u64, bytes: u64) {
        if candidate.first_time {
            let payload = self.queue.pop_front().expect("the candidate was its front");
            self.unacked += 1;
            self.slots.push_back(Slot {
                payload,
                acked: false,
                wait: 0,
                backoff: 0,
                sent: Sent {
                    at: now,
                    order,
                    transmissions: 1,
                    bytes,
                    stamp: Stamp::default(),
                },
            });
        } else {
            let due = self.resend.remove(&candidate.seq);
            assert!(due, "only what is due is sent again");
            let index = self.index(candidate.seq).expect("it was in the window");
            let sent = &mut self.slots[index].sent;
            sent.at = now;
            sent.order = order;
            sent.transmissions += 1;
        }
    }

    /// Sets the bandwidth model's stamp of a message that was just sent.
    pub(crate) fn set_stamp(&mut self, seq: SeqNum, stamp: Stamp) {
        if let Some(index) = self.index(seq) {
            self.slots[index].sent.stamp = stamp;
        }
    }

    /// Takes the acknowledgement of one message; what was known of its last
    /// transmission if that is news.
    // spec: LSP-5.1
    pub(crate) fn on_ack(&mut self, seq: SeqNum) -> Option<Sent> {
        let index = self.index(seq)?;
        let sent = self.ack_slot(index)?;
        self.advance();
        Some(sent)
    }

    /// Takes the acknowledgement of every message up to one.
    // spec: LSP-5.2
    pub(crate) fn on_cack(&mut self, seq: SeqNum, mut each: impl FnMut(Sent)) {
        let Some(offset) = seq.offset_from(self.first) else {
            return;
        };
        // A peer may name a number that was never sent: it acknowledges what was.
        let through = offset.saturating_add(1).min(self.slots.len());
        for index in 0..through {
            if let Some(sent) = self.ack_slot(index) {
                each(sent);
            }
        }
        self.advance();
    }

    fn ack_slot(&mut self, index: usize) -> Option<Sent> {
        let slot = &mut self.slots[index];
        if slot.acked {
            return None;
        }
        slot.acked = true;
        self.unacked -= 1;
        self.bytes -= slot.payload.len();
        slot.payload = Bytes::new();
        self.resend.remove(&self.first.plus(index as u64));
        Some(slot.sent)
    }

    /// Restores the invariant that the first slot is unacknowledged.
    fn advance(&mut self) {
        while self.slots.front().is_some_and(|slot| slot.acked) {
            self.slots.pop_front();
            self.first = self.first.next();
        }
    }

    /// Ends an epoch: messages whose back-off ran out are due again. Says whether any is.
    // spec: LSP-6.2
    pub(crate) fn on_epoch(&mut self, max_backoff: u32) -> bool {
        for (index, slot) in self.slots.iter_mut().enumerate() {
            if slot.acked {
                continue;
            }
            if slot.wait > 0 {
                slot.wait -= 1;
                continue;
            }
            slot.backoff = (slot.backoff.saturating_mul(2)).clamp(1, max_backoff.max(1));
            slot.wait = slot.backoff.min(max_backoff);
            self.resend.insert(self.first.plus(index as u64));
        }
        !self.resend.is_empty()
    }

    /// Makes a message due again, if it isn't acknowledged.
    pub(crate) fn resend(&mut self, seq: SeqNum) {
        if let Some(index) = self.index(seq)
            && !self.slots[index].acked
        {
            self.resend.insert(seq);
        }
    }

    /// When and how a message in the window was last sent.
    pub(crate) fn sent(&self, seq: SeqNum) -> Option<&Sent> {
        Some(&self.slots[self.index(seq)?].sent)
    }

    /// Whether everything that was written is acknowledged.
    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty() && self.queue.is_empty()
    }

    /// Messages that were written and aren't acknowledged.
    pub(crate) fn len(&self) -> usize {
        self.unacked + self.queue.len()
    }

    /// Messages that were sent and aren't acknowledged.
    pub(crate) const fn unacked(&self) -> usize {
        self.unacked
    }

    /// The oldest unacknowledged message and how many numbers from it were sent.
    pub(crate) fn span(&self) -> (SeqNum, usize) {
        (self.first, self.slots.len())
    }

    /// Bytes that were written and aren't acknowledged.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Gives back the memory of busier times. Only when there is nothing to send.
    pub(crate) fn shrink(&mut self) {
        assert!(self.is_empty(), "only an idle window shrinks");
        self.slots = VecDeque::new();
        self.queue = VecDeque::new();
    }

    /// Forgets everything: the connection is over.
    pub(crate) fn clear(&mut self) {
        *self = Self::new(self.first);
    }

    fn index(&self, seq: SeqNum) -> Option<usize> {
        let index = seq.offset_from(self.first)?;
        (index < self.slots.len()).then_some(index)
    }

    /// Asserts what always holds.
    pub(crate) fn check_invariants(&self) {
        if let Some(slot) = self.slots.front() {
            assert!(
                !slot.acked,
                "the window starts at an unacknowledged message"
            );
        }
        let unacked = self.slots.iter().filter(|slot| !slot.acked).count();
        assert_eq!(unacked, self.unacked, "the count of unacknowledged slots");
        for &seq in &self.resend {
            let index = self.index(seq).expect("what is due again is in the window");
            assert!(
                !self.slots[index].acked,
                "what is due again is unacknowledged"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seq(number: u64) -> SeqNum {
        SeqNum::new(number)
    }

    /// Sends all that the bounds admit; the numbers that were sent.
    fn send_all(window: &mut SendWindow, size: usize, max_unacked: usize) -> Vec<u64> {
        let mut sent = Vec::new();
        while let Some(candidate) = window.candidate(size, max_unacked) {
            window.on_sent(&candidate, Instant::EPOCH, 0, 100);
            window.check_invariants();
            sent.push(candidate.seq.get());
        }
        sent
    }

    fn filled(messages: usize) -> SendWindow {
        let mut window = SendWindow::new(seq(1));
        for _ in 0..messages {
            window.push(Bytes::from_static(b"x"));
        }
        window
    }

    // spec: LSP-4.1
    #[test]
    fn the_window_counts_from_the_oldest_unacknowledged_message() {
        let mut window = filled(10);
        assert_eq!(send_all(&mut window, 3, 99), [1, 2, 3]);
        window.on_ack(seq(2)).unwrap();
        window.on_ack(seq(3)).unwrap();
        assert_eq!(send_all(&mut window, 3, 99), [0; 0]);
        window.on_ack(seq(1)).unwrap();
        assert_eq!(send_all(&mut window, 3, 99), [4, 5, 6]);
    }

    // spec: LSP-4.2
    #[test]
    fn unacknowledged_messages_are_counted_apart_from_the_window() {
        let mut window = filled(10);
        assert_eq!(send_all(&mut window, 5, 2), [1, 2]);
        window.on_ack(seq(2)).unwrap();
        assert_eq!(send_all(&mut window, 5, 2), [3]);
        window.on_ack(seq(3)).unwrap();
        assert_eq!(send_all(&mut window, 5, 2), [4]);
        window.on_ack(seq(4)).unwrap();
        assert_eq!(send_all(&mut window, 5, 2), [5]);
        window.on_ack(seq(5)).unwrap();
        assert_eq!(send_all(&mut window, 5, 2), [0; 0], "now the window binds");
    }

    // spec: LSP-5.2
    #[test]
    fn a_cumulative_ack_frees_everything_up_to_it() {
        let mut window = filled(5);
        send_all(&mut window, 5, 5);
        window.on_ack(seq(2)).unwrap();
        let mut freed = 0;
        window.on_cack(seq(3), |_| freed += 1);
        assert_eq!(freed, 2);
        assert_eq!(window.span(), (seq(4), 2));
        window.on_cack(seq(1_000), |_| freed += 1);
        assert!(window.is_empty());
        assert_eq!(freed, 4);
    }

    /// The epochs in which an unacknowledged message is sent, the first being 0.
    fn epochs_of(max_backoff: u32) -> Vec<u32> {
        let mut window = filled(1);
        let mut epochs = Vec::new();
        for epoch in 0..28 {
            if epoch > 0 {
                window.on_epoch(max_backoff);
            }
            if !send_all(&mut window, 1, 1).is_empty() {
                epochs.push(epoch);
            }
        }
        epochs
    }

    // spec: LSP-6.2
    #[test]
    fn each_message_backs_off_by_itself() {
        assert_eq!(epochs_of(0), (0..28).collect::<Vec<_>>());
        assert_eq!(
            epochs_of(1),
            [0, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27]
        );
        assert_eq!(epochs_of(4), [0, 1, 3, 6, 11, 16, 21, 26]);
        assert_eq!(epochs_of(8), [0, 1, 3, 6, 11, 20]);
    }
}
