//! One connection of version 2, seen from one side.
//!
//! As in version 1 the files beside this one hold its concerns: what arrives
//! ([`arriving`]), what leaves ([`leaving`]), what the application asks for ([`serving`])
//! and where the peer is ([`moving`]). This one holds the state and the clock.

mod arriving;
mod leaving;
mod moving;
mod serving;
#[cfg(test)]
mod transitions;

use core::time::Duration;
use std::collections::VecDeque;
use std::net::SocketAddr;

use stdx::Instant;

use crate::config::ValidConfig;
use crate::connection::{Event, Side, Stats};
use crate::endpoint::EndReason;
use crate::epoch::{EpochClock, Tick};
use crate::message::{ConnId, SeqNum};
use crate::recovery::Path;
use crate::v2::acks::Received;
use crate::v2::connection::moving::Candidate;
use crate::v2::crypto::{Opener, Sealer};
use crate::v2::mtu::MtuSearch;
use crate::v2::noise::Initiator;
use crate::v2::packet::{PROOF_BYTES, Params, PathId};
use crate::v2::receive_stream::ReceiveStream;
use crate::v2::recovery::{Flight, Recovery};
use crate::v2::send_stream::SendStream;
use crate::v2::state::{State, Trigger};

pub(crate) use self::arriving::{Arrived, accept};

/// How often a close is sent at most.
const CLOSES_MAX: u32 = 4;
/// Retries that a client follows; a server sends one.
const RETRIES_MAX: u32 = 4;

/// The handshake, while it lasts.
#[derive(Debug)]
enum Hello {
    /// A client's.
    Client {
        initiator: Initiator,
        /// The handshake's first message.
        message: Vec<u8>,
        cookie: Vec<u8>,
        retries: u32,
        /// When the Connect goes out next, and how long to wait after it.
        next_at: Instant,
        wait: Duration,
        /// When it was sent, if it was sent once.
        sent_at: Option<Instant>,
        sent: u32,
    },
    /// A server's answer, for each Connect that arrives.
    Server { accept: Vec<u8>, due: bool },
}

/// What is due besides data. A set of flags: each is sent once.
#[expect(clippy::struct_excessive_bools, reason = "five flags, each on its own")]
#[derive(Clone, Copy, Debug, Default)]
struct Due {
    ping: bool,
    heartbeat: bool,
    limit: bool,
    close: bool,
    /// One packet after the end, so that the peer needn't guess.
    farewell: bool,
}

/// Version 2 between two ends, as one of them sees it.
#[derive(Debug)]
pub(crate) struct Connection {
    config: ValidConfig,
    side: Side,
    state: State,
    /// Zero until a client knows it.
    id: ConnId,
    isn: SeqNum,
    remote: SocketAddr,
    /// What we call the connection, and what the peer does (zero until known).
    local: PathId,
    peer: PathId,
    clock: EpochClock,
    hello: Option<Box<Hello>>,
    keys: Option<(Sealer, Opener)>,
    send: SendStream,
    receive: ReceiveStream,
    received: Received,
    recovery: Recovery,
    mtu: MtuSearch,
    /// The longest message that may be written.
    message_bytes_max: usize,
    /// What proves the server's reset.
    reset_proof: Option<[u8; PROOF_BYTES]>,
    /// Another address that the peer may be at.
    candidate: Option<Box<Candidate>>,
    /// An answer to a challenge, and where it goes.
    response: Option<(SocketAddr, u64)>,
    due: Due,
    closes: u32,
    events: VecDeque<Event>,
    writer_waits: bool,
    reason: Option<EndReason>,
    stats: Stats,
}

impl Connection {
    #[expect(
        clippy::too_many_arguments,
        reason = "the two sides have no more in common"
    )]
    fn new(
        config: ValidConfig,
        side: Side,
        state: State,
        id: ConnId,
        isn: SeqNum,
        remote: SocketAddr,
        local: PathId,
        now: Instant,
    ) -> Self {
        let window = config.receive_bytes_max as u64;
        Self {
            side,
            state,
            id,
            isn,
            remote,
            local,
            peer: 0,
            clock: EpochClock::start(now, config.epoch),
            hello: None,
            keys: None,
            send: SendStream::new(),
            receive: ReceiveStream::new(window, config.message_bytes_max as u64),
            received: Received::new(now),
            recovery: Recovery::new(now, config.initial_rtt, config.epoch),
            mtu: MtuSearch::new(now, crate::limits::DATAGRAM_BYTES_BASE),
            message_bytes_max: config.message_bytes_max,
            reset_proof: None,
            candidate: None,
            response: None,
            due: Due::default(),
            closes: 0,
            events: VecDeque::new(),
            writer_waits: false,
            reason: None,
            stats: Stats::default(),
            config,
        }
    }

    /// What this end promises.
    fn promises(config: &ValidConfig) -> Params {
        let micros = u64::try_from(config.ack_delay_max.as_micros()).unwrap_or(u64::MAX);
        Params {
            window: config.receive_bytes_max as u64,
            message_bytes_max: config.message_bytes_max as u64,
            ack_delay_micros: micros,
            datagram_bytes_max: config.datagram_bytes_max as u64,
            server: None,
        }
    }

    /// Takes what the peer promised.
    // spec: LSP2-3.4
    fn take_promises(&mut self, now: Instant, params: &Params) {
        let small = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
        self.send.allow(params.window);
        self.message_bytes_max = self.message_bytes_max.min(small(params.message_bytes_max));
        let delay = Duration::from_micros(params.ack_delay_micros).min(self.config.epoch);
        self.recovery.set_ack_delay(delay);
        let ceiling = small(params.datagram_bytes_max)
            .min(self.config.datagram_bytes_max)
            .max(crate::limits::DATAGRAM_BYTES_BASE);
        self.mtu = MtuSearch::new(now, ceiling);
    }

    /// Does what is due by the clock. Calling it early, or twice, does nothing.
    pub(crate) fn on_timeout(&mut self, now: Instant) {
        if self.state.is_over() {
            return;
        }
        if let Some(tick) = self.clock.tick(now, self.config.epoch) {
            self.on_epoch(now, tick);
        }
        if self.state.is_over() {
            return;
        }
        let mut fate = Fate::default();
        let (send, mtu) = (&mut self.send, &mut self.mtu);
        self.stats.losses += self
            .recovery
            .on_timeout(now, |flight| fate.lose(now, flight, send, mtu));
        self.suffer(fate);
        self.tend_candidate(now);
    }

    // spec: LSP2-8.4 LSP2-8.5
    fn on_epoch(&mut self, now: Instant, tick: Tick) {
        if tick.silent >= self.config.epoch_limit {
            self.finish(Trigger::SilenceLimit, EndReason::Silent);
            return;
        }
        if !tick.spoke {
            self.due.heartbeat = true;
            self.shrink(now);
        }
    }

    /// Gives back the memory of busier times: an idle connection should cost little.
    fn shrink(&mut self, now: Instant) {
        self.send.shrink();
        self.receive.shrink();
        self.received.shrink();
        self.recovery.shrink(now);
        if self.events.is_empty() {
            self.events = VecDeque::new();
        }
    }

    /// Does what lost packets make due again.
    fn suffer(&mut self, fate: Fate) {
        self.due.limit |= fate.limit;
        if fate.close && self.state == State::Closing {
            if self.closes >= CLOSES_MAX {
                self.shift(Trigger::Told);
            } else {
                self.due.close = true;
            }
        }
        if fate.nothing_else {
            self.due.ping = true;
        }
    }

    /// Ends the connection for a reason.
    fn finish(&mut self, trigger: Trigger, reason: EndReason) {
        if self.state.is_over() {
            return;
        }
        self.reason.get_or_insert(reason);
        self.shift(trigger);
    }

    /// Moves to the state that the table says; the only place that assigns it.
    fn shift(&mut self, trigger: Trigger) {
        let Some(next) = self.state.next(trigger) else {
            return;
        };
        let known = self.state != State::Accepting;
        self.state = next;
        match next {
            State::Connecting | State::Accepting | State::Draining => {}
            State::Open => self.events.push_back(Event::Connected),
            State::Closing => self.due.close = true,
            State::Closed => self.end(known.then_some(Event::Closed)),
            State::Lost => self.end(Some(Event::Lost)),
        }
    }

    /// Forgets all that the end of a connection makes useless.
    // spec: LSP2-7.6
    fn end(&mut self, event: Option<Event>) {
        self.send.clear();
        self.recovery.clear();
        if self.state == State::Closed {
            self.receive.discard();
        } else {
            self.receive.drop_early();
        }
        self.hello = None;
        self.candidate = None;
        self.response = None;
        self.due = Due {
            farewell: self.due.farewell,
            ..Due::default()
        };
        self.events.extend(event);
    }

    /// When [`on_timeout`](Self::on_timeout) or `poll_transmit` has something to do; `None`
    /// when the connection is over.
    pub(crate) fn poll_timeout(&mut self, now: Instant) -> Option<Instant> {
        if self.state.is_over() {
            return None;
        }
        let hello = match self.hello.as_deref() {
            Some(&Hello::Client { next_at, .. }) => Some(next_at),
            Some(Hello::Server { .. }) | None => None,
        };
        let paced = if self.send.wants() {
            self.recovery.paced_until(now, self.packet_bytes())
        } else {
            None
        };
        let probe = match self.state {
            State::Open => self.mtu.next_at().filter(|&at| at > now),
            _ => None,
        };
        let others = [
            hello,
            self.received.due(),
            self.recovery.poll_timeout(),
            paced,
            probe,
            self.candidate.as_deref().map(Candidate::next_at),
        ];
        let next = self.clock.next();
        Some(others.into_iter().flatten().fold(next, Instant::min))
    }

    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    pub(crate) const fn side(&self) -> Side {
        self.side
    }

    pub(crate) const fn state(&self) -> State {
        self.state
    }

    pub(crate) const fn id(&self) -> ConnId {
        self.id
    }

    pub(crate) const fn isn(&self) -> SeqNum {
        self.isn
    }

    pub(crate) const fn remote(&self) -> SocketAddr {
        self.remote
    }

    /// How long the handshake's answer is, while there is one.
    pub(crate) fn greeting_bytes(&self) -> usize {
        match self.hello.as_deref() {
            Some(Hello::Server { accept, .. }) => accept.len(),
            Some(Hello::Client { .. }) | None => 0,
        }
    }

    /// What we call the connection.
    pub(crate) const fn local(&self) -> PathId {
        self.local
    }

    /// What the peer calls it; zero until we know.
    pub(crate) const fn peer(&self) -> PathId {
        self.peer
    }

    pub(crate) const fn reason(&self) -> Option<EndReason> {
        self.reason
    }

    pub(crate) const fn stats(&self) -> Stats {
        self.stats
    }

    pub(crate) fn path(&self) -> Path {
        self.recovery.path()
    }

    /// How long a datagram the path carries.
    pub(crate) const fn datagram_bytes(&self) -> usize {
        self.mtu.current()
    }

    /// How often our key was changed.
    pub(crate) fn key_generation(&self) -> u64 {
        self.keys
            .as_ref()
            .map_or(0, |(sealer, _)| sealer.generation())
    }

    /// Bytes received and not read.
    pub(crate) fn received_bytes(&self) -> usize {
        self.receive.bytes()
    }

    /// Messages written and not acknowledged.
    pub(crate) fn pending(&self) -> usize {
        self.send.messages()
    }

    /// Whether something is left to send although the connection is over.
    pub(crate) const fn has_farewell(&self) -> bool {
        self.due.farewell
    }

    /// Asserts what always holds; tests call it after every input.
    pub(crate) fn check_invariants(&self) {
        self.send.check_invariants();
        self.receive.check_invariants();
        self.received.check_invariants();
        self.recovery.check_invariants();
        if self.state == State::Draining {
            assert!(!self.send.is_empty(), "a drained connection says goodbye");
        }
        if self.state.is_over() {
            assert!(self.send.is_empty(), "what is over sends nothing");
        }
        let greets = matches!(self.state, State::Connecting | State::Accepting);
        assert_eq!(greets, self.hello.is_some(), "a handshake while it lasts");
        assert!(greets || self.keys.is_some() || self.state.is_over());
    }
}

/// What lost packets make due again, collected over several of them.
#[derive(Clone, Copy, Debug, Default)]
struct Fate {
    limit: bool,
    close: bool,
    /// A packet got lost that carried nothing which is repeated.
    nothing_else: bool,
}

impl Fate {
    fn lose(&mut self, now: Instant, flight: &Flight, send: &mut SendStream, mtu: &mut MtuSearch) {
        if flight.probe {
            mtu.on_probe_lost(now, flight.bytes);
            return;
        }
        mtu.on_lost(now, flight.at, flight.bytes);
        let mut empty = true;
        for piece in &flight.pieces {
            if !piece.is_empty() {
                empty = false;
                send.on_lost(piece.clone());
            }
        }
        self.limit |= flight.limit;
        self.close |= flight.close;
        self.nothing_else |= empty && !flight.limit && !flight.close;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an idle connection holds is this and its places in the endpoint's maps: all its
    /// queues give their memory back (`shrink`).
    #[test]
    fn a_connection_is_small() {
        let bytes = size_of::<Connection>();
        assert!(bytes <= 2_048, "{bytes} bytes");
    }
}
