//! What leaves: at most one message a call, the most urgent first.
//!
//! The Connect and its acknowledgement come first, then acknowledgements (the peer's
//! timers run), then data that is due again, then new data, then the heartbeat. Nothing
//! is taken off a queue before it is certain that it may be sent.

use stdx::Instant;

use crate::connection::Connection;
use crate::message::Message;
use crate::recovery::Recovery;
use crate::wire;

impl Connection {
    /// The next message to send, or `None` when there is none now.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Message> {
        if self.phase.is_over() {
            return None;
        }
        if let Some(message) = self.urgent() {
            let bytes = wire::encoded_len(&message);
            if !self.allowance.permits(bytes) {
                return None;
            }
            self.allowance.on_sent(bytes);
            self.sent_urgent(&message, now);
            return Some(message);
        }
        self.poll_data(now).or_else(|| self.poll_heartbeat())
    }

    /// What goes before data.
    fn urgent(&self) -> Option<Message> {
        if self.due.connect {
            return Some(Message::Connect {
                isn: self.isn,
                offer: bytes::Bytes::new(),
            });
        }
        if self.due.connect_ack {
            return Some(Message::Ack {
                id: self.id,
                seq: self.isn,
            });
        }
        self.acks.peek(self.id, self.receive.cumulative())
    }

    fn sent_urgent(&mut self, message: &Message, now: Instant) {
        if matches!(message, Message::Connect { .. }) {
            self.due.connect = false;
            let first = self.transmissions == 0;
            self.connect_sent_at = first.then_some(now);
            self.transmissions += 1;
        } else if self.due.connect_ack {
            self.due.connect_ack = false;
        } else {
            self.acks.pop(self.receive.cumulative());
        }
    }

    // spec: LSP-4.1 LSP-4.2 LSP-8.3 LSP-9.5
    fn poll_data(&mut self, now: Instant) -> Option<Message> {
        let (window, unacked) = (self.config.window_size, self.config.max_unacked_messages);
        let Some(candidate) = self.send.candidate(window, unacked) else {
            if let Some(recovery) = &mut self.recovery {
                recovery.on_idle();
            }
            return None;
        };
        let message = Message::Data {
            id: self.id,
            seq: candidate.seq,
            payload: candidate.payload.clone(),
        };
        let length = wire::encoded_len(&message);
        let bytes = length as u64;
        if !self.allowance.permits(length) {
            return None;
        }
        if let Some(recovery) = &self.recovery
            && !recovery.permits(now, bytes)
        {
            return None;
        }
        self.allowance.on_sent(length);
        self.transmissions += 1;
        self.send
            .on_sent(&candidate, now, self.transmissions, bytes);
        if let Some(recovery) = &mut self.recovery {
            recovery.on_sent(now, candidate.seq, &mut self.send);
        }
        if candidate.first_time {
            self.clock.speak();
            self.stats.data_sent += 1;
        } else {
            self.stats.data_resent += 1;
        }
        Some(message)
    }

    // spec: LSP-6.3
    fn poll_heartbeat(&mut self) -> Option<Message> {
        let message = Message::heartbeat(self.id);
        let bytes = wire::encoded_len(&message);
        if !self.due.heartbeat || !self.allowance.permits(bytes) {
            return None;
        }
        self.due.heartbeat = false;
        self.allowance.on_sent(bytes);
        Some(message)
    }

    /// When the pacer lets the next message go, if there is one and only it is in the way.
    pub(super) fn paced_until(&self, recovery: &Recovery, now: Instant) -> Option<Instant> {
        let (window, unacked) = (self.config.window_size, self.config.max_unacked_messages);
        let candidate = self.send.candidate(window, unacked)?;
        let bytes = candidate.payload.len().div_ceil(3) * 4 + crate::limits::ENVELOPE_BYTES_MAX;
        if !self.allowance.permits(bytes) {
            return None;
        }
        recovery.paced_until(now, bytes as u64)
    }
}
