//! Version 2 at the endpoint: routing by connection id, and everything that is answered
//! without keeping anything.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use core::time::Duration;
use stdx::Instant;

use crate::config::{Protocol, ValidConfig, Validation};
use crate::connection::{Connection, Side};
use crate::endpoint::link::Link;
use crate::endpoint::{Endpoint, Handle};
use crate::keys::{KEY_BYTES, PublicKey, Random, SecretKey, Seed};
use crate::message::{ConnId, Message, SeqNum};
use crate::v2::connection::{self, Arrived};
use crate::v2::cookie::Oven;
use crate::v2::crypto;
use crate::v2::packet::{self, Offer, Packet, PathId};
use crate::v2::state::State;

/// Answers to strangers that wait to be sent; one more is dropped.
const STATELESS_MAX: usize = 64;
/// Resets in one second.
const RESETS_MAX: u32 = 200;

/// What an endpoint has of version 2 besides its connections.
#[derive(Debug)]
pub(super) struct Binary {
    /// Whether resets are ours to send: a server's path ids have proofs.
    serves: bool,
    secret: SecretKey,
    reset_key: [u8; KEY_BYTES],
    oven: Oven,
    random: Random,
    /// By what we call them.
    paths: BTreeMap<PathId, Handle>,
    /// Servers' connections by the Connect that they came from.
    offers: BTreeMap<(SocketAddr, PathId), Handle>,
    /// Where each server's connection stands in `offers`.
    origins: BTreeMap<Handle, (SocketAddr, PathId)>,
    stateless: VecDeque<(SocketAddr, Vec<u8>)>,
    /// The second that resets are counted in, and how many there were.
    resets: (Instant, u32),
    /// Where packets are decrypted.
    plain: Vec<u8>,
}

impl Binary {
    pub(super) fn new(config: &ValidConfig, serves: bool, seed: &Seed) -> Self {
        let mut random = Random::new(seed);
        let drawn = SecretKey::new(random.key());
        let secret = config.keys.secret.clone().unwrap_or(drawn);
        Self {
            serves,
            reset_key: crypto::derive(secret.as_bytes(), b"LSP2 reset"),
            secret,
            oven: Oven::new(random.key()),
            random,
            paths: BTreeMap::new(),
            offers: BTreeMap::new(),
            origins: BTreeMap::new(),
            stateless: VecDeque::new(),
            resets: (Instant::EPOCH, 0),
            plain: Vec::new(),
        }
    }

    pub(super) fn public_key(&self) -> PublicKey {
        self.secret.public()
    }

    /// Appends an answer to a stranger.
    pub(super) fn poll_stateless(&mut self, buffer: &mut Vec<u8>) -> Option<SocketAddr> {
        let (to, bytes) = self.stateless.pop_front()?;
        buffer.extend_from_slice(&bytes);
        Some(to)
    }

    fn answer(&mut self, to: SocketAddr, bytes: Vec<u8>) {
        if self.stateless.len() < STATELESS_MAX {
            self.stateless.push_back((to, bytes));
        }
    }

    /// Forgets the routes of a connection.
    pub(super) fn forget(&mut self, link: &Link) {
        let Link::V2(connection) = link else {
            return;
        };
        let Some(handle) = self.paths.remove(&connection.local()) else {
            return;
        };
        if let Some(origin) = self.origins.remove(&handle) {
            self.offers.remove(&origin);
        }
    }

    pub(super) fn check_invariants(&self, connections: usize) {
        assert!(self.paths.len() <= connections, "one path each");
        assert_eq!(self.offers.len(), self.origins.len(), "there and back");
        assert!(self.offers.len() <= self.paths.len(), "one offer each");
        assert!(self.stateless.len() <= STATELESS_MAX, "answers are bounded");
    }
}

impl Endpoint {
    /// Begins a connection with an offer of version 2.
    pub(super) fn offer(&mut self, now: Instant, remote: SocketAddr, isn: SeqNum) -> Link {
        let config = self.config.clone();
        let random = &mut self.binary.random;
        let connection = connection::Connection::connect(config, random, isn, remote, now);
        // The handle is the next one that `insert` gives.
        let handle = Handle::new(self.last_handle + 1);
        self.binary.paths.insert(connection.local(), handle);
        Link::V2(Box::new(connection))
    }

    /// Whether a Connect's payload is an offer that we take.
    // spec: LSP2-1.2 LSP2-1.3
    pub(super) fn takes(&self, offer: &[u8]) -> bool {
        self.binary.serves && self.config.protocol != Protocol::V1 && Offer::decode(offer).is_some()
    }

    /// Takes a Connect with an offer: a new connection, an answer again, or a demand for
    /// proof.
    // spec: LSP2-3.3 LSP2-3.7 LSP2-8.3
    pub(super) fn on_offer(
        &mut self,
        now: Instant,
        from: SocketAddr,
        isn: SeqNum,
        offer: &[u8],
        bytes: usize,
    ) {
        let Some(offer) = Offer::decode(offer) else {
            return;
        };
        if let Some(&handle) = self.binary.offers.get(&(from, offer.client)) {
            self.on_offer_again(now, handle, isn, offer.client);
            return;
        }
        if !self.accepts {
            self.stats.unrouted += 1;
            return;
        }
        let oven = &self.binary.oven;
        if self.demands_proof() && !oven.accepts(now, offer.cookie, from, offer.client) {
            self.retry(now, from, offer.client);
            return;
        }
        if !self.has_room(from) {
            self.stats.refused += 1;
            return;
        }
        let id = ConnId::new(self.last_id + 1);
        let binary = &mut self.binary;
        let accepted = connection::accept(
            &self.config,
            binary.secret.as_bytes(),
            &binary.reset_key,
            &mut binary.random,
            id,
            isn,
            from,
            &offer,
            now,
        );
        let Some(connection) = accepted
            .ok()
            .filter(|connection| connection.greeting_bytes() <= 3 * bytes)
        else {
            self.stats.malformed += 1;
            return;
        };
        self.last_id += 1;
        let handle = Handle::new(self.last_handle + 1);
        self.binary.paths.insert(connection.local(), handle);
        self.binary.offers.insert((from, offer.client), handle);
        self.binary.origins.insert(handle, (from, offer.client));
        let inserted = self.insert(now, from, Link::V2(Box::new(connection)));
        assert_eq!(inserted, handle, "handles are counted");
    }

    fn on_offer_again(&mut self, now: Instant, handle: Handle, isn: SeqNum, client: PathId) {
        if let Some(entry) = self.connections.get_mut(&handle)
            && let Link::V2(connection) = &mut entry.link
            && connection.is_of(isn, client)
        {
            connection.on_connect_again();
            self.enqueue(handle);
            self.settle(now, handle);
        }
    }

    /// Whether a client must show that it receives before we keep anything of it.
    fn demands_proof(&self) -> bool {
        match self.config.validation {
            Validation::Always => true,
            Validation::UnderLoad => self.unproven >= self.config.unproven_connections_max / 4,
        }
    }

    fn retry(&mut self, now: Instant, to: SocketAddr, client: PathId) {
        let mut nonce = [0; 12];
        self.binary.random.fill(&mut nonce);
        let cookie = self.binary.oven.bake(now, nonce, to, client);
        let mut bytes = Vec::with_capacity(64);
        packet::put_retry(&mut bytes, client, &cookie);
        self.binary.answer(to, bytes);
    }

    /// Takes a datagram of version 2.
    // spec: LSP2-2.2
    pub(super) fn on_binary(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) {
        let Some(packet) = packet::decode(datagram) else {
            self.stats.malformed += 1;
            return;
        };
        let handle = match packet {
            Packet::Data { to, .. } | Packet::Accept { to, .. } | Packet::Retry { to, .. } => {
                self.binary.paths.get(&to).copied()
            }
            // Names the server's end; a client goes by the server's address.
            Packet::Reset { .. } => self.routes.get(&from).copied(),
        };
        let room = self.held_bytes < self.config.endpoint_bytes_max;
        let Some((handle, connection)) =
            handle.and_then(
                |handle| match &mut self.connections.get_mut(&handle)?.link {
                    Link::V2(connection) if !connection.state().is_over() => {
                        Some((handle, connection))
                    }
                    Link::V1(_) | Link::V2(_) => None,
                },
            )
        else {
            self.stats.unrouted += 1;
            if let Packet::Data { to, .. } = packet {
                self.reset(now, from, to);
            }
            return;
        };
        match packet {
            Packet::Data {
                number,
                odd,
                header,
                sealed,
                ..
            } => {
                let arrived = Arrived {
                    from,
                    number,
                    odd,
                    header,
                    sealed,
                    room,
                };
                let Binary { random, plain, .. } = &mut self.binary;
                connection.on_data(now, &arrived, random, plain);
                self.stats.overloaded += u64::from(!room);
            }
            Packet::Accept { message, .. } => connection.on_accept(now, from, message),
            Packet::Retry { cookie, .. } => connection.on_retry(now, from, cookie),
            Packet::Reset { about, proof } => {
                if connection.side() == Side::Client && connection.peer() == about {
                    connection.on_reset(&proof);
                }
            }
        }
        self.enqueue(handle);
        self.settle(now, handle);
    }

    /// Tells a peer that we don't know the connection that it means. Shorter than what it
    /// answers, so that two ends can't keep each other busy.
    // spec: LSP2-7.4
    fn reset(&mut self, now: Instant, to: SocketAddr, about: PathId) {
        if !self.binary.serves {
            return;
        }
        let (since, count) = &mut self.binary.resets;
        if now.since(*since) >= Duration::from_secs(1) {
            *since = now;
            *count = 0;
        }
        if *count >= RESETS_MAX {
            return;
        }
        *count += 1;
        let proof = crypto::reset_proof(&self.binary.reset_key, about);
        let mut bytes = Vec::with_capacity(25);
        packet::put_reset(&mut bytes, about, &proof);
        self.binary.answer(to, bytes);
    }

    /// Takes a message of version 1 from a server that was offered version 2.
    // spec: LSP2-1.4
    pub(super) fn on_answer_of_v1(&mut self, now: Instant, handle: Handle, message: Message) {
        let config = self.config.clone();
        let Some(entry) = self.connections.get_mut(&handle) else {
            return;
        };
        let Link::V2(connection) = &mut entry.link else {
            return;
        };
        if connection.state() != State::Connecting || config.protocol != Protocol::Auto {
            self.stats.unrouted += 1;
            return;
        }
        let isn = connection.isn();
        match message {
            Message::Ack { id, seq } if id != ConnId::ZERO && seq == isn => {
                self.binary.paths.remove(&connection.local());
                let mut downgraded = Connection::connect(config, isn, now);
                downgraded.on_message(now, message);
                entry.link = Link::V1(Box::new(downgraded));
            }
            _ => connection.hear(),
        }
    }

    /// Our own address may have changed: each connection tells its server, so that the
    /// server follows at once instead of with the next message or heartbeat.
    // spec: LSP2-7.3
    pub fn on_rebound(&mut self, now: Instant) {
        let handles: Vec<Handle> = self.connections.keys().copied().collect();
        for handle in handles {
            if let Some(entry) = self.connections.get_mut(&handle)
                && let Link::V2(connection) = &mut entry.link
            {
                connection.on_rebound();
                self.enqueue(handle);
                self.settle(now, handle);
            }
        }
    }

    /// Takes note of where a connection's peer is now.
    pub(super) fn follow(&mut self, handle: Handle) {
        let Some(entry) = self.connections.get_mut(&handle) else {
            return;
        };
        let Link::V2(connection) = &entry.link else {
            return;
        };
        let (before, after) = (entry.remote, connection.remote());
        if before != after {
            entry.remote = after;
            *self.addresses.entry(after.ip()).or_insert(0) += 1;
            self.discount(before.ip());
        }
    }
}
