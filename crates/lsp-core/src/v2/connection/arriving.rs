//! What the network brings.
//!
//! A datagram is outer form, then cipher, then frames. Whatever fails before the cipher was
//! passed may be anybody's and changes nothing but a counter. What fails after it is the
//! peer's fault, and ends the connection.

use std::net::SocketAddr;

use stdx::Instant;

use crate::config::ValidConfig;
use crate::connection::{Event, Side};
use crate::endpoint::EndReason;
use crate::keys::{KEY_BYTES, Random};
use crate::message::{ConnId, SeqNum};
use crate::v2::connection::{Connection, Fate, Hello, RETRIES_MAX};
use crate::v2::crypto::{self, Opener, Sealer};
use crate::v2::frame::{self, Ack, Frame};
use crate::v2::noise::{self, Initiator, Refused, Split};
use crate::v2::packet::{self, Offer, PROOF_BYTES, Params, PathId, ServerParams};
use crate::v2::receive_stream::Piece;
use crate::v2::state::{State, Trigger};

/// A data packet before its cipher is passed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrived<'a> {
    pub(crate) from: SocketAddr,
    pub(crate) number: u64,
    pub(crate) odd: bool,
    pub(crate) header: &'a [u8],
    pub(crate) sealed: &'a [u8],
    /// Whether there is room for data in what all connections may hold together.
    pub(crate) room: bool,
}

/// The peer broke the protocol under its own keys.
struct Violation;

/// The server's end: answers an offer. What it keeps is bounded, and the answer is the only
/// thing that it sends before the client came back.
// spec: LSP2-3.1 LSP2-3.4
#[expect(clippy::too_many_arguments, reason = "all that an answer depends on")]
pub(crate) fn accept(
    config: &ValidConfig,
    secret: &[u8; KEY_BYTES],
    reset_key: &[u8; KEY_BYTES],
    random: &mut Random,
    id: ConnId,
    isn: SeqNum,
    remote: SocketAddr,
    offer: &Offer<'_>,
    now: Instant,
) -> Result<Connection, Refused> {
    let local = random.word();
    let mut promises = Connection::promises(config);
    promises.server = Some(ServerParams {
        id: id.get(),
        path: local,
        proof: crypto::reset_proof(reset_key, local),
    });
    let mut accept = Vec::with_capacity(256);
    packet::put_accept(&mut accept, offer.client);
    let (params, split) = noise::respond(
        random.key(),
        secret,
        config.keys.shared.as_ref(),
        &Offer::prologue(offer.client, isn.get()),
        offer.message,
        |payload| Some((Params::decode(payload)?, promises.encode())),
        &mut accept,
    )?;
    let mut connection = Connection::new(
        config.clone(),
        Side::Server,
        State::Accepting,
        id,
        isn,
        remote,
        local,
        now,
    );
    connection.peer = offer.client;
    connection.take_promises(now, &params);
    connection.keys = Some((Sealer::new(split.to_client), Opener::new(split.to_server)));
    connection.hello = Some(Box::new(Hello::Server { accept, due: true }));
    Ok(connection)
}

impl Connection {
    /// The client's end: offers version 2.
    // spec: LSP2-3.1
    pub(crate) fn connect(
        config: ValidConfig,
        random: &mut Random,
        isn: SeqNum,
        remote: SocketAddr,
        now: Instant,
    ) -> Self {
        let local = random.word();
        let mut message = Vec::with_capacity(96);
        let initiator = Initiator::start(
            random.key(),
            config.keys.shared.as_ref(),
            &Offer::prologue(local, isn.get()),
            &Self::promises(&config).encode(),
            &mut message,
        )
        .expect("the patterns are well-formed and the buffer is long enough");
        let wait = (2 * config.initial_rtt).min(config.epoch);
        let id = ConnId::ZERO;
        let (side, state) = (Side::Client, State::Connecting);
        let mut connection = Self::new(config, side, state, id, isn, remote, local, now);
        connection.hello = Some(Box::new(Hello::Client {
            initiator,
            message,
            cookie: Vec::new(),
            retries: 0,
            next_at: now,
            wait,
            sent_at: None,
            sent: 0,
        }));
        connection
    }

    /// Takes a datagram of version 1 from the server while the offer is on its way: no
    /// answer to it, but a sign of life.
    pub(crate) fn hear(&mut self) {
        self.clock.hear();
    }

    /// Takes a Connect again: our answer was lost.
    // spec: LSP2-3.3
    pub(crate) fn on_connect_again(&mut self) {
        match self.hello.as_deref_mut() {
            Some(Hello::Server { due, .. }) => *due = true,
            Some(Hello::Client { .. }) | None => self.stats.strays += 1,
        }
    }

    /// Takes the server's demand for proof of our address.
    // spec: LSP2-3.7
    pub(crate) fn on_retry(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) {
        match self.hello.as_deref_mut() {
            Some(Hello::Client {
                cookie,
                retries,
                next_at,
                ..
            }) if from == self.remote && *retries < RETRIES_MAX && cookie != bytes => {
                *retries += 1;
                *next_at = now;
                cookie.clear();
                cookie.extend_from_slice(bytes);
                self.clock.hear();
            }
            _ => self.stats.strays += 1,
        }
    }

    /// Takes the server's half of the handshake.
    // spec: LSP2-3.2
    pub(crate) fn on_accept(&mut self, now: Instant, from: SocketAddr, message: &[u8]) {
        let pinned = self.config.keys.server;
        let Some(Hello::Client {
            initiator, sent_at, ..
        }) = self.hello.as_deref_mut().filter(|_| from == self.remote)
        else {
            self.stats.strays += 1;
            return;
        };
        let agreed = initiator
            .finish(pinned.as_ref(), message)
            .ok()
            .and_then(|(payload, split)| Some((Params::decode(&payload)?, split)));
        let Some((params, split)) = agreed else {
            self.stats.strays += 1;
            return;
        };
        let Some(server) = params.server else {
            self.stats.strays += 1;
            return;
        };
        let rtt = sent_at.map(|at| now.since(at));
        self.establish(now, &params, server, &split, rtt);
    }

    fn establish(
        &mut self,
        now: Instant,
        params: &Params,
        server: ServerParams,
        split: &Split,
        rtt: Option<core::time::Duration>,
    ) {
        self.clock.hear();
        self.id = ConnId::new(server.id);
        self.peer = server.path;
        self.reset_proof = Some(server.proof);
        self.take_promises(now, params);
        self.keys = Some((Sealer::new(split.to_server), Opener::new(split.to_client)));
        self.hello = None;
        if let Some(rtt) = rtt {
            self.recovery.on_handshake(rtt);
        }
        // Tells the server at once that we have the keys.
        self.due.ping = true;
        self.shift(Trigger::Established);
    }

    /// Takes a reset, which must prove that it is the server's.
    // spec: LSP2-7.4
    pub(crate) fn on_reset(&mut self, proof: &[u8; PROOF_BYTES]) {
        let known = self.reset_proof.as_ref();
        if known.is_some_and(|known| crypto::same(known, proof)) {
            self.finish(Trigger::Reset, EndReason::Reset);
        } else {
            self.stats.strays += 1;
        }
    }

    /// Takes a data packet; `plain` is a buffer to decrypt into.
    // spec: LSP2-3.5 LSP2-5.1
    pub(crate) fn on_data(
        &mut self,
        now: Instant,
        arrived: &Arrived<'_>,
        random: &mut Random,
        plain: &mut Vec<u8>,
    ) {
        if self.state.is_over() {
            self.stats.strays += 1;
            return;
        }
        let elsewhere = arrived.from != self.remote;
        // A server doesn't move, and nobody moves before there is a connection.
        if elsewhere && (self.side == Side::Client || self.state == State::Accepting) {
            self.stats.strays += 1;
            return;
        }
        let Some((_, opener)) = &mut self.keys else {
            self.stats.strays += 1;
            return;
        };
        if self.received.is_known(arrived.number) {
            self.stats.duplicates += 1;
            return;
        }
        let Arrived { number, odd, .. } = *arrived;
        if !opener.open(number, odd, arrived.header, arrived.sealed, plain) {
            self.stats.strays += 1;
            return;
        }
        self.clock.hear();
        if self.state == State::Accepting {
            self.hello = None;
            self.shift(Trigger::Established);
        }
        let newest = self.received.largest().is_none_or(|other| number > other);
        match self.take_frames(now, arrived, plain) {
            Ok(Some(eliciting)) => {
                let delay = self.config.ack_delay_max;
                self.received.insert(now, number, eliciting, delay);
            }
            Ok(None) => self.stats.data_dropped += 1,
            Err(Violation) => {
                self.due.farewell = true;
                self.finish(Trigger::Violation, EndReason::Violation);
                return;
            }
        }
        if elsewhere && newest && !self.state.is_over() {
            let bytes = arrived.header.len() + arrived.sealed.len();
            self.on_elsewhere(now, arrived.from, bytes, random);
        }
    }

    /// Takes a packet's frames; whether it wants an answer, or `None` when it is dropped for
    /// want of room.
    fn take_frames(
        &mut self,
        now: Instant,
        arrived: &Arrived<'_>,
        plain: &[u8],
    ) -> Result<Option<bool>, Violation> {
        let mut rest = plain;
        let mut eliciting = false;
        let mut data = false;
        while !rest.is_empty() {
            let frame = frame::take(&mut rest).map_err(|_| Violation)?;
            match frame {
                Frame::Padding => {}
                Frame::Ping => eliciting = true,
                Frame::Ack(ack) => self.on_ack(now, &ack)?,
                Frame::Stream { offset, bytes } => {
                    if !arrived.room || !self.on_piece(offset, bytes)? {
                        return Ok(None);
                    }
                    eliciting = true;
                    data = true;
                }
                Frame::Limit(limit) => {
                    eliciting = true;
                    self.send.allow(limit);
                }
                Frame::Challenge(word) => {
                    eliciting = true;
                    self.response = Some((arrived.from, word));
                }
                Frame::Response(word) => self.on_response(now, arrived.from, word),
                Frame::Close { reason } => {
                    eliciting = true;
                    self.on_close(reason);
                }
            }
        }
        self.stats.data_received += u64::from(data);
        Ok(Some(eliciting))
    }

    /// Takes a piece of the stream; whether it was taken.
    fn on_piece(&mut self, offset: u64, bytes: &[u8]) -> Result<bool, Violation> {
        if self.state.is_over() {
            return Ok(true);
        }
        let readable = self.receive.is_readable() == Ok(true);
        let piece = self
            .receive
            .on_piece(offset, bytes)
            .map_err(|_| Violation)?;
        let readable_now = self.receive.is_readable().map_err(|_| Violation)?;
        if !readable && readable_now {
            self.events.push_back(Event::Readable);
        }
        Ok(piece == Piece::Taken)
    }

    fn on_ack(&mut self, now: Instant, ack: &Ack<'_>) -> Result<(), Violation> {
        if self.state.is_over() {
            return Ok(());
        }
        let mut told = false;
        let (send, mtu) = (&mut self.send, &mut self.mtu);
        let sealer = self.keys.as_mut().map(|(sealer, _)| sealer);
        let sealer = sealer.expect("an open connection has keys");
        self.recovery
            .on_ack(now, ack, |number, flight| {
                sealer.on_acked(number);
                for piece in &flight.pieces {
                    send.on_acked(piece.clone());
                }
                if flight.probe {
                    mtu.on_probe_acked(now, flight.at, flight.bytes);
                } else {
                    mtu.on_acked(now, flight.at, flight.bytes);
                }
                told |= flight.close;
            })
            .ok_or(Violation)?;
        let mut fate = Fate::default();
        self.stats.losses += self
            .recovery
            .detect_losses(now, |flight| fate.lose(now, flight, send, mtu));
        self.suffer(fate);
        if told {
            self.shift(Trigger::Told);
        }
        if self.state == State::Draining && self.send.is_empty() {
            self.shift(Trigger::Drained);
        }
        self.wake_writer();
        Ok(())
    }

    fn wake_writer(&mut self) {
        if self.writer_waits
            && self.state == State::Open
            && self.send.messages() <= self.config.send_messages_max / 2
            && self.send.bytes() <= self.config.send_bytes_max / 2
        {
            self.writer_waits = false;
            self.events.push_back(Event::Writable);
        }
    }

    // spec: LSP2-7.2
    fn on_close(&mut self, reason: u64) {
        let reason = match reason {
            0 => EndReason::PeerClosed,
            _ => EndReason::Violation,
        };
        self.due.farewell = !self.state.is_over();
        self.finish(Trigger::PeerClosed, reason);
    }

    /// Whether a Connect is the one that this connection came from.
    pub(crate) fn is_of(&self, isn: SeqNum, client: PathId) -> bool {
        self.side == Side::Server && self.isn == isn && self.peer == client
    }
}
