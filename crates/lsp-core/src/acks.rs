//! Acknowledgements that wait to be sent.
//!
//! The specification answers each Data message with an Ack, duplicates included, since
//! a duplicate means that the first Ack may be lost. Coalesced, one `CAck` stands for all
//! that is in order; it also repeats what earlier lost ones said. It is never held back
//! to wait for more: everything that arrived before the next `poll_transmit` shares it.

use std::collections::{BTreeSet, VecDeque};

use crate::config::Acks;
use crate::limits::ACKS_PENDING_MAX;
use crate::message::{ConnId, Message, SeqNum};

/// What is to be acknowledged on one connection.
#[derive(Clone, Debug)]
pub(crate) struct AckQueue {
    acks: Acks,
    /// In the order of arrival; used by [`Acks::Each`].
    each: VecDeque<SeqNum>,
    /// Beyond a gap when they arrived; used by [`Acks::Coalesced`].
    beyond: BTreeSet<SeqNum>,
    /// Whether something in order is to be acknowledged; used by [`Acks::Coalesced`].
    in_order: bool,
}

impl AckQueue {
    pub(crate) const fn new(acks: Acks) -> Self {
        Self {
            acks,
            each: VecDeque::new(),
            beyond: BTreeSet::new(),
            in_order: false,
        }
    }

    /// Notes a message to acknowledge. False if there is no room: the peer will ask
    /// again by sending it again.
    pub(crate) fn push(&mut self, seq: SeqNum, cumulative: SeqNum) -> bool {
        if self.each.len() + self.beyond.len() >= ACKS_PENDING_MAX {
            return false;
        }
        match self.acks {
            Acks::Each => self.each.push_back(seq),
            Acks::Coalesced if seq <= cumulative => self.in_order = true,
            Acks::Coalesced => {
                self.beyond.insert(seq);
            }
        }
        true
    }

    /// The next acknowledgement to send.
    // spec: LSP-5.1 LSP-5.3
    pub(crate) fn peek(&self, id: ConnId, cumulative: SeqNum) -> Option<Message> {
        if let Some(&seq) = self.each.front() {
            return Some(Message::Ack { id, seq });
        }
        if self.in_order || self.beyond.first().is_some_and(|&seq| seq <= cumulative) {
            return Some(Message::CAck {
                id,
                seq: cumulative,
            });
        }
        let seq = *self.beyond.first()?;
        Some(Message::Ack { id, seq })
    }

    /// Removes what [`peek`](Self::peek) returned.
    pub(crate) fn pop(&mut self, cumulative: SeqNum) {
        if self.each.pop_front().is_some() {
            return;
        }
        if self.in_order || self.beyond.first().is_some_and(|&seq| seq <= cumulative) {
            self.in_order = false;
            self.beyond = self.beyond.split_off(&cumulative.next());
            return;
        }
        self.beyond.pop_first();
    }

    /// Gives back the memory of busier times, if nothing waits to be sent.
    pub(crate) fn shrink(&mut self) {
        if self.each.is_empty() {
            self.each = VecDeque::new();
        }
    }

    /// Forgets everything: the connection is over.
    pub(crate) fn clear(&mut self) {
        *self = Self::new(self.acks);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(queue: &mut AckQueue, cumulative: u64) -> Vec<String> {
        let cumulative = SeqNum::new(cumulative);
        let mut sent = Vec::new();
        while let Some(message) = queue.peek(ConnId::new(1), cumulative) {
            queue.pop(cumulative);
            sent.push(format!("{message:?}"));
        }
        sent
    }

    fn push(queue: &mut AckQueue, seq: u64, cumulative: u64) {
        assert!(queue.push(SeqNum::new(seq), SeqNum::new(cumulative)));
    }

    // spec: LSP-5.1
    #[test]
    fn by_default_every_message_has_its_ack() {
        let mut queue = AckQueue::new(Acks::Each);
        push(&mut queue, 2, 2);
        push(&mut queue, 1, 2);
        push(&mut queue, 1, 2);
        assert_eq!(
            drain(&mut queue, 2),
            ["Ack c1 s2", "Ack c1 s1", "Ack c1 s1"]
        );
    }

    // spec: LSP-5.3
    #[test]
    fn coalesced_acks_share_one_message() {
        let mut queue = AckQueue::new(Acks::Coalesced);
        push(&mut queue, 1, 1);
        push(&mut queue, 4, 1);
        push(&mut queue, 6, 1);
        assert_eq!(
            drain(&mut queue, 1),
            ["CAck c1 s1", "Ack c1 s4", "Ack c1 s6"]
        );
        push(&mut queue, 4, 1);
        push(&mut queue, 7, 1);
        assert_eq!(drain(&mut queue, 5), ["CAck c1 s5", "Ack c1 s7"]);
    }

    #[test]
    fn a_flood_of_duplicates_is_bounded() {
        let mut queue = AckQueue::new(Acks::Each);
        let taken = (0..2 * ACKS_PENDING_MAX)
            .filter(|_| queue.push(SeqNum::new(1), SeqNum::new(1)))
            .count();
        assert_eq!(taken, ACKS_PENDING_MAX);
    }
}
