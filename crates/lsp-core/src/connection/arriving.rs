//! What the network brings: one handler for each kind of message.
//!
//! The order of checks is the same everywhere: is it for this connection, does it make
//! sense in this phase, is it news. Whatever fails is counted and forgotten; there is no
//! message that could say "no" to the peer.

use bytes::Bytes;
use stdx::Instant;

use crate::connection::{Connection, Event, Side};
use crate::message::{ConnId, Message, SeqNum};
use crate::receive_window::Arrival;
use crate::state::{Phase, Trigger};

impl Connection {
    /// Notes the length of a datagram from the peer's address, whatever it held. Call it
    /// before [`on_message`](Self::on_message).
    // spec: LSP-8.3
    pub const fn on_received_bytes(&mut self, bytes: usize) {
        self.allowance.on_received(bytes);
    }

    /// Takes a message from the peer's address.
    pub fn on_message(&mut self, now: Instant, message: Message) {
        if self.phase.is_over() {
            return;
        }
        match message {
            Message::Connect { isn, .. } => self.on_connect(isn),
            Message::Data { id, seq, payload } => self.on_data(id, seq, payload),
            Message::Ack { id, seq } if self.phase == Phase::Connecting => {
                self.on_connect_ack(now, id, seq);
            }
            Message::Ack { id, seq } => self.on_ack(now, id, seq),
            Message::CAck { id, seq } => self.on_cack(now, id, seq),
        }
        if self.phase == Phase::Draining && self.send.is_empty() {
            self.shift(Trigger::Drained);
        }
    }

    /// A Connect again: our acknowledgement was lost. One with another initial number is
    /// from a new process on the same port; it must wait until this connection is lost,
    /// or a forger could end it.
    // spec: LSP-3.5
    fn on_connect(&mut self, isn: SeqNum) {
        if self.side == Side::Client || isn != self.isn {
            self.stats.strays += 1;
            return;
        }
        self.clock.hear();
        self.due.connect_ack = true;
    }

    // spec: LSP-3.3
    fn on_connect_ack(&mut self, now: Instant, id: ConnId, seq: SeqNum) {
        // A server that still holds an older connection from this port answers nothing
        // but its heartbeats. It is alive: keep asking.
        self.clock.hear();
        if id == ConnId::ZERO || seq != self.isn {
            self.stats.strays += 1;
            return;
        }
        self.id = id;
        self.due.connect = false;
        if let Some(recovery) = &mut self.recovery {
            if let Some(sent_at) = self.connect_sent_at {
                recovery.on_handshake(now.since(sent_at));
            }
            // Tells the server at once that we receive, so that it may send more than
            // the little it may send to a stranger.
            self.due.heartbeat = true;
        }
        self.shift(Trigger::Acknowledged);
    }

    /// Whether a message is of this connection; if so, the peer lives.
    fn hears(&mut self, id: ConnId) -> bool {
        if id != self.id || self.phase == Phase::Connecting {
            self.stats.strays += 1;
            return false;
        }
        self.clock.hear();
        true
    }

    // spec: LSP-3.1 LSP-5.1
    fn on_data(&mut self, id: ConnId, seq: SeqNum, payload: Bytes) {
        if !self.hears(id) {
            return;
        }
        let readable = self.receive.is_readable();
        match self.receive.on_data(seq, payload, &self.config) {
            Arrival::Kept => {
                self.stats.data_received += 1;
                self.allowance.prove();
                self.acknowledge(seq);
            }
            Arrival::Withheld => {
                self.stats.data_received += 1;
                self.allowance.prove();
            }
            Arrival::StillWithheld => self.stats.duplicates += 1,
            // The number of the Connect is acknowledged by the Connect's own Ack.
            Arrival::Duplicate if seq > self.isn => {
                self.stats.duplicates += 1;
                self.acknowledge(seq);
            }
            Arrival::Duplicate | Arrival::Beyond => self.stats.data_dropped += 1,
        }
        if !readable && self.receive.is_readable() {
            self.events.push_back(Event::Readable);
        }
    }

    pub(super) fn acknowledge(&mut self, seq: SeqNum) {
        let cumulative = self.receive.cumulative();
        if !self.acks.push(seq, cumulative) {
            self.stats.data_dropped += 1;
        }
    }

    // spec: LSP-5.1 LSP-6.3
    fn on_ack(&mut self, now: Instant, id: ConnId, seq: SeqNum) {
        if !self.hears(id) {
            return;
        }
        // A heartbeat or the Ack of data: both name the id that we sent to this address.
        self.allowance.prove();
        if seq <= self.isn {
            return;
        }
        let Some(sent) = self.send.on_ack(seq) else {
            self.on_ack_again(seq);
            return;
        };
        if let Some(recovery) = &mut self.recovery {
            recovery.on_acked(now, &sent);
        }
        self.after_acks(now);
    }

    /// An Ack that tells nothing new: if the message was sent, it was sent too often.
    fn on_ack_again(&mut self, seq: SeqNum) {
        let (first, span) = self.send.span();
        let was_sent = seq < first.plus(span as u64);
        if let Some(recovery) = &mut self.recovery
            && was_sent
        {
            recovery.on_needless();
        }
    }

    // spec: LSP-5.2
    fn on_cack(&mut self, now: Instant, id: ConnId, seq: SeqNum) {
        if !self.hears(id) {
            return;
        }
        self.allowance.prove();
        if seq <= self.isn {
            return;
        }
        let recovery = &mut self.recovery;
        self.send.on_cack(seq, |sent| {
            if let Some(recovery) = recovery {
                recovery.on_acked(now, &sent);
            }
        });
        self.after_acks(now);
    }

    /// What news of deliveries brings about.
    fn after_acks(&mut self, now: Instant) {
        if let Some(recovery) = &mut self.recovery {
            recovery.on_answer(now);
            self.stats.losses += recovery.detect_losses(now, &mut self.send);
        }
        if self.writer_waits
            && self.phase == Phase::Open
            && self.send.len() <= self.config.send_messages_max / 2
            && self.send.bytes() <= self.config.send_bytes_max / 2
        {
            self.writer_waits = false;
            self.events.push_back(Event::Writable);
        }
    }
}
