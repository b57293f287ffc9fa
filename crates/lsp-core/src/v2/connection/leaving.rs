//! What leaves: at most one datagram a call, the most urgent first.

use core::ops::Range;
use std::net::SocketAddr;

use bytes::Bytes;
use stdx::Instant;

use crate::limits::DATAGRAM_BYTES_BASE;
use crate::message::Message;
use crate::v2::connection::{Connection, Hello};
use crate::v2::frame;
use crate::v2::packet::{self, DATA_OVERHEAD, Offer, TAG_BYTES};
use crate::v2::recovery::{Flight, PIECES_MAX};
use crate::v2::state::State;
use crate::wire;

/// Probe timeouts in a row after which packets are short: the path may have become so.
const SHORT_AFTER_PROBES: u32 = 2;
/// A packet with a challenge and a response.
pub(super) const PATH_PACKET_BYTES: usize = DATA_OVERHEAD + 18;

/// A packet that is being written.
struct Draft {
    number: u64,
    start: usize,
    body: usize,
    /// Where the frames must end.
    end: usize,
    flight: Flight,
    eliciting: bool,
    speaks: bool,
}

impl Draft {
    /// What is left for frames.
    const fn room(&self, buffer: &[u8]) -> usize {
        self.end.saturating_sub(buffer.len())
    }
}

impl Connection {
    /// Appends the next datagram to a buffer; where it goes.
    pub(crate) fn poll_transmit(
        &mut self,
        now: Instant,
        buffer: &mut Vec<u8>,
    ) -> Option<SocketAddr> {
        if self.state.is_over() {
            return self.farewell(now, buffer);
        }
        if let Some(hello) = self.hello.as_deref_mut() {
            let (isn, local, epoch) = (self.isn, self.local, self.config.epoch);
            return greet(hello, now, epoch, isn.get(), local, buffer).then_some(self.remote);
        }
        if let Some(to) = self.path_packet(now, buffer) {
            return Some(to);
        }
        let sent = self.main_packet(now, buffer) || self.mtu_probe(now, buffer);
        sent.then_some(self.remote)
    }

    /// Begins a packet of at most so many bytes.
    fn draft(&mut self, now: Instant, bytes: usize, buffer: &mut Vec<u8>) -> Option<Draft> {
        let number = self.recovery.next_number();
        let every = self.config.key_update_packets;
        let (sealer, _) = self.keys.as_mut()?;
        sealer.prepare(number, every);
        self.due.ping |= sealer.asks(number, every) && !self.state.is_over();
        let start = buffer.len();
        packet::put_data_header(buffer, self.peer, number, sealer.is_odd());
        Some(Draft {
            number,
            start,
            body: buffer.len(),
            end: start + bytes - TAG_BYTES,
            flight: Flight::new(now),
            eliciting: false,
            speaks: true,
        })
    }

    /// Ends a packet: encrypts it and takes note of it.
    fn dispatch(&mut self, now: Instant, mut draft: Draft, buffer: &mut Vec<u8>) {
        let (sealer, _) = self.keys.as_ref().expect("a draft was begun with keys");
        sealer.seal(draft.number, buffer, draft.start, draft.body);
        // A lone sign of life isn't speech: there must be another in the next epoch.
        if draft.speaks {
            self.clock.speak();
        }
        self.due.heartbeat = false;
        if draft.eliciting {
            draft.flight.bytes = buffer.len() - draft.start;
            self.recovery.on_sent(now, draft.flight);
        } else {
            self.recovery.on_sent_silent();
        }
    }

    /// What is left to say when all is over: that we know.
    fn farewell(&mut self, now: Instant, buffer: &mut Vec<u8>) -> Option<SocketAddr> {
        if !core::mem::take(&mut self.due.farewell) {
            return None;
        }
        let draft = self.draft(now, DATAGRAM_BYTES_BASE, buffer)?;
        self.received.put(now, draft.room(buffer), buffer);
        if self.reason == Some(crate::endpoint::EndReason::Violation) {
            frame::put_close(buffer, 1);
        }
        self.dispatch(now, draft, buffer);
        self.recovery.clear();
        Some(self.remote)
    }

    /// A challenge or a response. They go where no other packet goes, so they don't count
    /// for the path.
    // spec: LSP2-7.3
    fn path_packet(&mut self, now: Instant, buffer: &mut Vec<u8>) -> Option<SocketAddr> {
        if let Some((to, word)) = self.response.take() {
            let draft = self.draft(now, PATH_PACKET_BYTES, buffer)?;
            frame::put_response(buffer, word);
            self.dispatch(now, draft, buffer);
            return Some(to);
        }
        let factor = self.config.amplification_factor;
        let (to, word) = self.challenge(now, factor)?;
        let draft = self.draft(now, PATH_PACKET_BYTES, buffer)?;
        frame::put_challenge(buffer, word);
        let start = draft.start;
        self.dispatch(now, draft, buffer);
        self.on_challenge_sent(now, buffer.len() - start);
        Some(to)
    }

    /// How long a packet with data may be now.
    pub(super) const fn packet_bytes(&self) -> usize {
        if self.recovery.probes() >= SHORT_AFTER_PROBES {
            DATAGRAM_BYTES_BASE
        } else {
            self.mtu.current()
        }
    }

    /// Everything else: acknowledgements, data, and what rides along.
    // spec: LSP2-5.3 LSP2-4.2
    fn main_packet(&mut self, now: Instant, buffer: &mut Vec<u8>) -> bool {
        let bytes = self.packet_bytes();
        let wants_data = self.send.wants();
        if !wants_data {
            self.recovery.on_idle();
        }
        let data = wants_data && self.recovery.permits(now, bytes);
        let limit = self.due.limit || self.receive.wants_limit();
        let small = limit || self.due.close || self.due.ping;
        let ack = self.received.is_due(now);
        if !(data || small || ack || self.due.heartbeat) {
            return false;
        }
        let Some(mut draft) = self.draft(now, bytes, buffer) else {
            return false;
        };
        if ack || self.received.has_news() {
            self.received.put(now, draft.room(buffer), buffer);
        }
        self.put_small(limit, &mut draft, buffer);
        if data {
            self.put_pieces(&mut draft, buffer);
        }
        if self.due.ping && !draft.eliciting {
            frame::put_ping(buffer);
            draft.eliciting = true;
        }
        self.due.ping = false;
        if buffer.len() == draft.body {
            // Nothing but a sign of life.
            buffer.push(0);
            draft.speaks = false;
        }
        self.dispatch(now, draft, buffer);
        true
    }

    fn put_small(&mut self, limit: bool, draft: &mut Draft, buffer: &mut Vec<u8>) {
        if limit {
            self.due.limit = false;
            frame::put_limit(buffer, self.receive.tell_limit());
            draft.flight.limit = true;
            draft.eliciting = true;
        }
        if self.due.close {
            self.due.close = false;
            self.closes += 1;
            frame::put_close(buffer, 0);
            draft.flight.close = true;
            draft.eliciting = true;
        }
    }

    /// Fills a packet with what the stream has.
    fn put_pieces(&mut self, draft: &mut Draft, buffer: &mut Vec<u8>) {
        let mut fresh = false;
        for place in 0..PIECES_MAX {
            let Some((range, first_time)) = self.next_piece(draft.room(buffer)) else {
                break;
            };
            let length = usize::try_from(range.end - range.start).expect("less than a packet");
            let with_length = frame::stream_head(range.start, Some(length)) + length;
            let to_end = with_length >= draft.room(buffer);
            frame::put_stream_head(buffer, range.start, (!to_end).then_some(length));
            self.send.copy(&range, buffer);
            self.send.on_sent(range.clone());
            draft.flight.pieces[place] = range;
            draft.eliciting = true;
            fresh |= first_time;
            if to_end {
                break;
            }
        }
        if draft.eliciting {
            self.stats.data_sent += u64::from(fresh);
            self.stats.data_resent += u64::from(!fresh);
        }
    }

    /// The next piece that fits a packet with its head.
    fn next_piece(&self, room: usize) -> Option<(Range<u64>, bool)> {
        let repeat = self.config.repeat_bytes_max;
        let whole = frame::stream_head(u64::MAX >> 2, None);
        let (range, _) = self.send.next(room.saturating_sub(whole), repeat)?;
        let head = frame::stream_head(range.start, None);
        let room = room.saturating_sub(head);
        let (longer, news) = self.send.next(room, repeat)?;
        // With a little more room it may begin elsewhere; then the first answer stands.
        if longer.start == range.start {
            Some((longer, news))
        } else {
            Some((range, news))
        }
    }

    /// A try of a longer datagram.
    // spec: LSP2-9.2
    fn mtu_probe(&mut self, now: Instant, buffer: &mut Vec<u8>) -> bool {
        if self.state != State::Open {
            return false;
        }
        let Some(bytes) = self.mtu.probe(now) else {
            return false;
        };
        if !self.recovery.permits(now, bytes) {
            return false;
        }
        let Some(mut draft) = self.draft(now, bytes, buffer) else {
            return false;
        };
        frame::put_ping(buffer);
        buffer.resize(draft.end, 0);
        draft.eliciting = true;
        draft.flight.probe = true;
        self.mtu.on_probe_sent(bytes);
        self.dispatch(now, draft, buffer);
        true
    }
}

/// The handshake's datagrams; whether one was appended.
fn greet(
    hello: &mut Hello,
    now: Instant,
    epoch: core::time::Duration,
    isn: u64,
    local: packet::PathId,
    buffer: &mut Vec<u8>,
) -> bool {
    match hello {
        Hello::Server { accept, due } => {
            if core::mem::take(due) {
                buffer.extend_from_slice(accept);
                return true;
            }
            false
        }
        Hello::Client {
            message,
            cookie,
            next_at,
            wait,
            sent_at,
            sent,
            ..
        } => {
            if *next_at > now {
                return false;
            }
            *sent += 1;
            *sent_at = (*sent == 1).then_some(now);
            *next_at = now.after(*wait);
            *wait = (*wait * 2).min(epoch);
            let offer = Offer {
                client: local,
                cookie,
                message,
            };
            let connect = Message::Connect {
                isn: crate::message::SeqNum::new(isn),
                offer: Bytes::from(offer.encode()),
            };
            wire::encode(&connect, buffer);
            true
        }
    }
}
