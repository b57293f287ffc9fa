//! What waits to be written to one connection.

use core::mem;
use std::collections::VecDeque;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::node::submission::Outcome;
use crate::transport::frame::encode_outcome;

/// An item and what may happen to it.
#[derive(Debug)]
struct Waiting {
    bytes: Bytes,
    class: Class,
}

/// How much an item matters.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Class {
    /// Dropped for a newer one when there is no room: Raft sends it again.
    Replaceable,
    /// A forwarded write with its number: refused when there is no room.
    Forward(u64),
    /// Everything else, which is small or bounded by the other side.
    Kept,
}

#[derive(Debug, Default)]
struct Queue {
    items: VecDeque<Waiting>,
    bytes: usize,
    open: bool,
    /// Items dropped since the last look, for the metrics.
    dropped: u64,
}

/// A bounded queue to one connection. Closed until a connection is there.
#[derive(Debug)]
pub(crate) struct Outbox {
    queue: Mutex<Queue>,
    wake: Notify,
    bytes_max: usize,
}

impl Outbox {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            queue: Mutex::default(),
            wake: Notify::new(),
            bytes_max,
        }
    }

    /// A connection is there: take items from now on.
    pub(crate) fn open(&self) {
        self.queue.lock().open = true;
    }

    /// The connection is gone. Returns the forwards that were certainly not sent.
    pub(crate) fn close(&self) -> Vec<u64> {
        let queue = mem::take(&mut *self.queue.lock());
        self.wake.notify_one();
        let forwards = queue.items.iter().filter_map(|item| match item.class {
            Class::Forward(id) => Some(id),
            Class::Replaceable | Class::Kept => None,
        });
        forwards.collect()
    }

    /// Raft messages: the oldest make room for them.
    pub(crate) fn push_raft(&self, bytes: Bytes) {
        let mut queue = self.queue.lock();
        if !queue.open {
            return;
        }
        while queue.bytes + bytes.len() > self.bytes_max {
            let oldest = queue
                .items
                .iter()
                .position(|item| item.class == Class::Replaceable);
            let Some(dropped) = oldest.and_then(|position| queue.items.remove(position)) else {
                break;
            };
            queue.bytes -= dropped.bytes.len();
            queue.dropped += 1;
        }
        self.push(queue, bytes, Class::Replaceable);
    }

    /// A forwarded write. False if it was not taken.
    #[must_use]
    pub(crate) fn push_forward(&self, id: u64, bytes: Bytes) -> bool {
        let queue = self.queue.lock();
        let full = !queue.items.is_empty() && queue.bytes + bytes.len() > self.bytes_max;
        if !queue.open || full {
            return false;
        }
        self.push(queue, bytes, Class::Forward(id));
        true
    }

    /// Something small that must arrive if the connection lasts.
    pub(crate) fn push_kept(&self, bytes: Bytes) {
        let queue = self.queue.lock();
        if queue.open {
            self.push(queue, bytes, Class::Kept);
        }
    }

    /// The outcome of a forwarded write. Bounded by what the other side has under way.
    pub(crate) fn push_outcome(&self, id: u64, outcome: &Outcome) {
        self.push_kept(encode_outcome(id, outcome));
    }

    fn push(&self, mut queue: parking_lot::MutexGuard<'_, Queue>, bytes: Bytes, class: Class) {
        let first = queue.items.is_empty();
        queue.bytes += bytes.len();
        queue.items.push_back(Waiting { bytes, class });
        drop(queue);
        if first {
            self.wake.notify_one();
        }
    }

    /// Waits for items and takes them all; false when the outbox was closed.
    pub(crate) async fn take(&self, into: &mut VecDeque<Bytes>) -> bool {
        loop {
            {
                let mut queue = self.queue.lock();
                if !queue.open {
                    return false;
                }
                if !queue.items.is_empty() {
                    queue.bytes = 0;
                    into.extend(queue.items.drain(..).map(|item| item.bytes));
                    return true;
                }
            }
            self.wake.notified().await;
        }
    }

    /// Bytes that wait, and items dropped since the last call.
    pub(crate) fn measure(&self) -> (usize, u64) {
        let mut queue = self.queue.lock();
        (queue.bytes, mem::take(&mut queue.dropped))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn old_raft_messages_make_room_for_new_ones_and_forwards_stay() {
        let outbox = Outbox::new(10);
        outbox.push_raft(Bytes::from_static(b"lost: no connection"));
        outbox.open();
        outbox.push_raft(Bytes::from_static(b"old.."));
        assert!(outbox.push_forward(1, Bytes::from_static(b"fwd")));
        outbox.push_raft(Bytes::from_static(b"newer.."));
        assert!(!outbox.push_forward(2, Bytes::from_static(b"x")));
        let mut items = VecDeque::new();
        assert!(outbox.take(&mut items).await);
        assert_eq!(
            items,
            [Bytes::from_static(b"fwd"), Bytes::from_static(b"newer..")]
        );
        assert_eq!(outbox.measure(), (0, 1));
    }

    #[tokio::test]
    async fn closing_names_the_forwards_that_were_not_sent() {
        let outbox = Outbox::new(100);
        outbox.open();
        assert!(outbox.push_forward(1, Bytes::from_static(b"sent")));
        let mut items = VecDeque::new();
        assert!(outbox.take(&mut items).await);
        assert!(outbox.push_forward(2, Bytes::from_static(b"not sent")));
        assert_eq!(outbox.close(), [2]);
        assert!(!outbox.take(&mut items).await);
    }
}
