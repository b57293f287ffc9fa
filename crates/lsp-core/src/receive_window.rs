//! What arrived from the peer and the application hasn't read.
//!
//! Messages become readable in order and once. One that arrives early waits for those
//! before it, up to a horizon; one beyond the horizon is as good as lost.
//!
//! Version 1 has no way to say "slow down". But the peer may send only so far past its
//! oldest unacknowledged message: so the brake is to *withhold one Ack*. When the
//! application doesn't read and the queue is full, the next message in order is kept but
//! not acknowledged, and the peer can go a window past it and no further. As soon as half
//! of the queue is read, the Ack goes out. Meanwhile the peer sends that one message again
//! now and then, which costs little, and heartbeats keep the connection alive.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::config::Config;
use crate::message::SeqNum;

/// The receiving half of a connection.
#[derive(Clone, Debug)]
pub(crate) struct ReceiveWindow {
    /// The next message in order.
    next: SeqNum,
    /// Messages past a gap.
    ///
    /// Invariant: all are later than `next`.
    early: BTreeMap<SeqNum, Bytes>,
    /// Messages in order, not read.
    ready: VecDeque<Bytes>,
    /// Bytes in `early` and `ready`.
    bytes: usize,
    /// The message whose Ack is withheld.
    ///
    /// Invariant: before `next`.
    withheld: Option<SeqNum>,
    /// Whether payloads are dropped on arrival: nobody will read them.
    discards: bool,
}

/// What became of a message that arrived.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Arrival {
    /// Kept, and to be acknowledged.
    Kept,
    /// Kept, but its Ack must wait.
    Withheld,
    /// Known already, and its Ack must still wait.
    StillWithheld,
    /// Known already, and to be acknowledged again.
    Duplicate,
    /// Dropped: too early, or no room.
    Beyond,
}

impl ReceiveWindow {
    pub(crate) const fn new(next: SeqNum) -> Self {
        Self {
            next,
            early: BTreeMap::new(),
            ready: VecDeque::new(),
            bytes: 0,
            withheld: None,
            discards: false,
        }
    }

    /// Takes a Data message.
    // spec: LSP-3.1 LSP-3.2 LSP-8.2
    pub(crate) fn on_data(&mut self, seq: SeqNum, payload: Bytes, config: &Config) -> Arrival {
        if self.withheld == Some(seq) {
            return Arrival::StillWithheld;
        }
        if seq < self.next || self.early.contains_key(&seq) {
            return Arrival::Duplicate;
        }
        let horizon = self.withheld.unwrap_or(self.next);
        let within = seq
            .offset_from(horizon)
            .is_some_and(|offset| offset < config.reorder_messages_max);
        if !within {
            return Arrival::Beyond;
        }
        let full = !self.discards
            && (self.ready.len() >= config.receive_messages_max
                || self.bytes + payload.len() > config.receive_bytes_max);
        if seq != self.next {
            if full {
                return Arrival::Beyond;
            }
            self.bytes += payload.len();
            self.early.insert(seq, payload);
            return Arrival::Kept;
        }
        self.bytes += payload.len();
        self.make_ready(payload);
        while let Some(payload) = self.early.remove(&self.next) {
            self.make_ready(payload);
        }
        if full && self.withheld.is_none() {
            self.withheld = Some(seq);
            return Arrival::Withheld;
        }
        Arrival::Kept
    }

    fn make_ready(&mut self, payload: Bytes) {
        self.next = self.next.next();
        if self.discards {
            self.bytes -= payload.len();
        } else {
            self.ready.push_back(payload);
        }
    }

    /// Hands over the next message in order.
    pub(crate) fn read(&mut self) -> Option<Bytes> {
        let payload = self.ready.pop_front()?;
        self.bytes -= payload.len();
        Some(payload)
    }

    /// The withheld message, if there is room again: now it is to be acknowledged.
    // spec: LSP-8.2
    pub(crate) fn release(&mut self, config: &Config) -> Option<SeqNum> {
        let roomy = self.ready.len() <= config.receive_messages_max / 2
            && self.bytes <= config.receive_bytes_max / 2;
        if roomy { self.withheld.take() } else { None }
    }

    /// Drops what wasn't read and all that is to come; the withheld message, which is
    /// now to be acknowledged.
    pub(crate) fn discard(&mut self) -> Option<SeqNum> {
        self.discards = true;
        self.bytes -= self
            .ready
            .drain(..)
            .map(|payload| payload.len())
            .sum::<usize>();
        self.withheld.take()
    }

    /// Gives back the memory of busier times, if nothing waits to be read.
    pub(crate) fn shrink(&mut self) {
        if self.ready.is_empty() {
            self.ready = VecDeque::new();
        }
    }

    /// Forgets what arrived early: it will never be in order.
    pub(crate) fn drop_early(&mut self) {
        let early = core::mem::take(&mut self.early);
        self.bytes -= early.values().map(Bytes::len).sum::<usize>();
        self.withheld = None;
    }

    /// The last message up to which all may be acknowledged; the one before the first
    /// if none may.
    pub(crate) fn cumulative(&self) -> SeqNum {
        self.withheld.unwrap_or(self.next).previous()
    }

    /// Whether a message can be read.
    pub(crate) fn is_readable(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Bytes that are held.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether an Ack is withheld.
    pub(crate) const fn is_withholding(&self) -> bool {
        self.withheld.is_some()
    }

    /// Asserts what always holds.
    pub(crate) fn check_invariants(&self) {
        if let Some(&first) = self.early.keys().next() {
            assert!(first > self.next, "early messages lie past a gap");
        }
        if let Some(withheld) = self.withheld {
            assert!(withheld < self.next, "only a message in order is withheld");
        }
        let early: usize = self.early.values().map(Bytes::len).sum();
        let ready: usize = self.ready.iter().map(Bytes::len).sum();
        assert_eq!(early + ready, self.bytes, "the count of bytes");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrive(window: &mut ReceiveWindow, seq: u64, config: &Config) -> Arrival {
        let payload = Bytes::from(seq.to_string());
        let arrival = window.on_data(SeqNum::new(seq), payload, config);
        window.check_invariants();
        arrival
    }

    fn read_all(window: &mut ReceiveWindow) -> Vec<String> {
        std::iter::from_fn(|| window.read())
            .map(|payload| String::from_utf8(payload.to_vec()).unwrap())
            .collect()
    }

    // spec: LSP-3.1
    #[test]
    fn messages_are_read_in_order_and_once() {
        let config = Config::default();
        let mut window = ReceiveWindow::new(SeqNum::new(1));
        assert_eq!(arrive(&mut window, 3, &config), Arrival::Kept);
        assert_eq!(arrive(&mut window, 2, &config), Arrival::Kept);
        assert_eq!(arrive(&mut window, 3, &config), Arrival::Duplicate);
        assert_eq!(read_all(&mut window), [""; 0]);
        assert_eq!(arrive(&mut window, 1, &config), Arrival::Kept);
        assert_eq!(arrive(&mut window, 1, &config), Arrival::Duplicate);
        assert_eq!(read_all(&mut window), ["1", "2", "3"]);
        assert_eq!(window.cumulative(), SeqNum::new(3));
    }

    #[test]
    fn what_lies_beyond_the_horizon_is_dropped() {
        let config = Config {
            reorder_messages_max: 4,
            ..Config::default()
        };
        let mut window = ReceiveWindow::new(SeqNum::new(1));
        assert_eq!(arrive(&mut window, 4, &config), Arrival::Kept);
        assert_eq!(arrive(&mut window, 5, &config), Arrival::Beyond);
        assert_eq!(arrive(&mut window, u64::MAX, &config), Arrival::Beyond);
    }

    // spec: LSP-8.2
    #[test]
    fn a_full_queue_withholds_one_ack_until_half_of_it_is_read() {
        let config = Config {
            receive_messages_max: 4,
            reorder_messages_max: 3,
            ..Config::default()
        };
        let mut window = ReceiveWindow::new(SeqNum::new(1));
        for seq in 1..=4 {
            assert_eq!(arrive(&mut window, seq, &config), Arrival::Kept);
        }
        assert_eq!(arrive(&mut window, 5, &config), Arrival::Withheld);
        assert_eq!(arrive(&mut window, 5, &config), Arrival::StillWithheld);
        assert_eq!(arrive(&mut window, 6, &config), Arrival::Kept);
        assert_eq!(arrive(&mut window, 7, &config), Arrival::Kept);
        assert_eq!(
            arrive(&mut window, 8, &config),
            Arrival::Beyond,
            "counted from 5"
        );
        assert_eq!(window.cumulative(), SeqNum::new(4));

        for _ in 0..4 {
            window.read().unwrap();
            assert_eq!(window.release(&config), None);
        }
        window.read().unwrap();
        assert_eq!(window.release(&config), Some(SeqNum::new(5)));
        assert_eq!(window.cumulative(), SeqNum::new(7));
    }

    #[test]
    fn after_discard_messages_count_but_are_not_kept() {
        let config = Config::default();
        let mut window = ReceiveWindow::new(SeqNum::new(1));
        arrive(&mut window, 1, &config);
        arrive(&mut window, 3, &config);
        assert_eq!(window.discard(), None);
        assert_eq!(arrive(&mut window, 2, &config), Arrival::Kept);
        assert_eq!(window.cumulative(), SeqNum::new(3));
        assert_eq!(window.bytes(), 0);
        assert_eq!(read_all(&mut window), [""; 0]);
    }
}
