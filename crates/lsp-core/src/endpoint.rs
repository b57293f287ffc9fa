//! Many connections behind one socket.
//!
//! An endpoint routes each datagram to its connection, makes connections out of Connects,
//! keeps every connection's timer in one queue, and lets connections that have something to
//! send take turns. It is also where the bounds are that no single connection can keep: how
//! many there are, how many from one address, how many that never answered, and how much all
//! of them hold together.
//!
//! Version 1 identifies a connection by the peer's address and port; the id in the message
//! must match too, or the message is a stray. Version 2 goes by a random id in each packet,
//! which is what lets a peer move to another address; its routing is in [`binary`], and what
//! both versions have in common is in [`link`].

mod binary;
mod link;
mod serving;
mod settling;
mod views;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};

use stdx::Instant;
use thiserror::Error;

use crate::config::{Protocol, ValidConfig};
use crate::connection::{Connection, Event};
use crate::endpoint::binary::Binary;
use crate::endpoint::link::Link;
use crate::keys::{KEY_BYTES, Seed};
use crate::message::{ConnId, Message, SeqNum};
use crate::v2;
use crate::wire::{self, DecodeError};

stdx::id! {
    /// A connection of an [`Endpoint`]. Never used again for another.
    pub struct Handle("h");
}

/// Where a datagram goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Transmit {
    /// The peer's address.
    pub to: SocketAddr,
    /// How many bytes were appended to the buffer.
    pub bytes: usize,
}

/// Why a connection can't be asked for.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum ConnectError {
    /// This endpoint has one to that address.
    #[error("a connection to {remote} exists")]
    Exists {
        /// The address.
        remote: SocketAddr,
    },
    /// There are as many connections as may be.
    #[error("{connections} connections are open, the most that the configuration admits")]
    TooMany {
        /// How many there are.
        connections: usize,
    },
}

/// What an endpoint dropped, counted.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct EndpointStats {
    /// Datagrams received.
    pub datagrams: u64,
    /// Datagrams that are no messages.
    pub malformed: u64,
    /// Data cut short on the way.
    pub short: u64,
    /// Data changed on the way.
    pub corrupt: u64,
    /// Messages that belong to no connection.
    pub unrouted: u64,
    /// Connects refused for one of the limits.
    pub refused: u64,
    /// Data dropped because connections together hold as much as may be.
    pub overloaded: u64,
}

/// A version of the protocol.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Version {
    /// `docs/spec/lsp.md`: JSON, as the original.
    V1,
    /// `docs/spec/lsp2.md`: binary, encrypted.
    V2,
}

/// Why a connection is over without our having closed it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum EndReason {
    /// The peer was silent for the limit of epochs.
    Silent,
    /// The peer closed the connection. Version 2 only: in version 1 this is silence.
    PeerClosed,
    /// The peer doesn't know the connection any more: it was started anew.
    Reset,
    /// The peer broke the protocol under its own keys: a bug on one of the sides.
    Violation,
}

#[derive(Debug)]
struct Entry {
    link: Link,
    /// Where datagrams go, and whose limit it counts for.
    remote: SocketAddr,
    /// The connection's place in the queue of timers.
    timer: Option<Instant>,
    /// Whether it is in the queue of those that may have something to send.
    queued: bool,
    /// Datagrams that it sent in this turn.
    turn: u32,
    waiting: Waiting,
    /// What it was last counted with.
    held_bytes: usize,
    unproven: bool,
}

/// Which events of a connection wait to be polled; another of the same kind adds nothing.
#[derive(Clone, Copy, Debug, Default)]
struct Waiting {
    readable: bool,
    writable: bool,
}

/// All connections of one socket.
///
/// The same four kinds of methods as [`Connection`], for all of them at once:
/// [`on_datagram`](Self::on_datagram) and [`on_timeout`](Self::on_timeout) are inputs;
/// [`connect`](Self::connect), [`write`](Self::write), [`read`](Self::read),
/// [`close`](Self::close) and [`shut_down`](Self::shut_down) are commands;
/// [`poll_transmit`](Self::poll_transmit), [`poll_event`](Self::poll_event) and
/// [`poll_timeout`](Self::poll_timeout) are outputs. The shell's loop: wait for a datagram, a
/// command or the timeout; give it in; poll transmissions until `None`, then events until
/// `None`; ask for the timeout.
///
/// A connection that was closed is gone with [`Event::Closed`]. One that was lost stays
/// until `read` has returned what is left of it and then
/// [`ReadError::Lost`](crate::ReadError::Lost), or `close` is called on it.
#[derive(Debug)]
pub struct Endpoint {
    config: ValidConfig,
    /// Whether Connects make connections.
    accepts: bool,
    /// What only version 2 needs.
    binary: Binary,
    connections: BTreeMap<Handle, Entry>,
    routes: BTreeMap<SocketAddr, Handle>,
    addresses: BTreeMap<IpAddr, usize>,
    timers: BTreeSet<(Instant, Handle)>,
    /// Connections that may have something to send, in the order of their turns.
    senders: VecDeque<Handle>,
    events: VecDeque<(Handle, Event)>,
    last_handle: u64,
    last_id: u64,
    held_bytes: usize,
    unproven: usize,
    stats: EndpointStats,
}

impl Endpoint {
    /// An endpoint that takes connections from clients, version 1 only.
    ///
    /// # Panics
    ///
    /// When the configuration asks for version 2, which needs a seed: see
    /// [`server_seeded`](Self::server_seeded).
    #[must_use]
    pub fn server(config: ValidConfig) -> Self {
        assert_eq!(config.protocol, Protocol::V1, "version 2 needs a seed");
        Self::new(config, true, &Seed::new([0; KEY_BYTES]))
    }

    /// An endpoint that only makes connections, version 1 only.
    ///
    /// # Panics
    ///
    /// When the configuration asks for version 2, which needs a seed: see
    /// [`client_seeded`](Self::client_seeded).
    #[must_use]
    pub fn client(config: ValidConfig) -> Self {
        assert_eq!(config.protocol, Protocol::V1, "version 2 needs a seed");
        Self::new(config, false, &Seed::new([0; KEY_BYTES]))
    }

    /// An endpoint that takes connections from clients, of any version.
    #[must_use]
    pub fn server_seeded(config: ValidConfig, seed: &Seed) -> Self {
        Self::new(config, true, seed)
    }

    /// An endpoint that only makes connections, of any version.
    #[must_use]
    pub fn client_seeded(config: ValidConfig, seed: &Seed) -> Self {
        Self::new(config, false, seed)
    }

    fn new(config: ValidConfig, accepts: bool, seed: &Seed) -> Self {
        Self {
            binary: Binary::new(&config, accepts, seed),
            config,
            accepts,
            connections: BTreeMap::new(),
            routes: BTreeMap::new(),
            addresses: BTreeMap::new(),
            timers: BTreeSet::new(),
            senders: VecDeque::new(),
            events: VecDeque::new(),
            last_handle: 0,
            last_id: 0,
            held_bytes: 0,
            unproven: 0,
            stats: EndpointStats {
                datagrams: 0,
                malformed: 0,
                short: 0,
                corrupt: 0,
                unrouted: 0,
                refused: 0,
                overloaded: 0,
            },
        }
    }

    /// Takes a datagram. Whatever it is, it is never an error: what can't be used is
    /// counted and dropped.
    pub fn on_datagram(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) {
        self.stats.datagrams += 1;
        if self.config.protocol != Protocol::V1 && v2::packet::is_binary(datagram) {
            self.on_binary(now, from, datagram);
            return;
        }
        let handle = self.routes.get(&from).copied();
        if let Some(entry) = handle.and_then(|handle| self.connections.get_mut(&handle)) {
            entry.link.on_received_bytes(datagram.len());
        }
        let decoded = wire::decode(datagram);
        match (handle, decoded) {
            (_, Err(error)) => self.count(error),
            (_, Ok(Message::Connect { isn, offer })) if self.takes(&offer) => {
                self.on_offer(now, from, isn, &offer, datagram.len());
                return;
            }
            (Some(handle), Ok(message)) => self.deliver(now, handle, message),
            (None, Ok(Message::Connect { isn, .. })) if self.accepts => {
                self.accept(now, from, isn, datagram.len());
            }
            (None, Ok(_)) => self.stats.unrouted += 1,
        }
        if let Some(handle) = handle {
            self.enqueue(handle);
            self.settle(now, handle);
        }
    }

    // spec: LSP-8.1
    fn deliver(&mut self, now: Instant, handle: Handle, message: Message) {
        let full = self.held_bytes >= self.config.endpoint_bytes_max;
        if full && matches!(message, Message::Data { .. }) {
            self.stats.overloaded += 1;
            return;
        }
        let Some(entry) = self.connections.get_mut(&handle) else {
            return;
        };
        match &mut entry.link {
            Link::V1(connection) => connection.on_message(now, message),
            Link::V2(_) => self.on_answer_of_v1(now, handle, message),
        }
    }

    // spec: LSP-3.4 LSP-8.4
    fn accept(&mut self, now: Instant, from: SocketAddr, isn: SeqNum, bytes: usize) {
        if self.config.protocol == Protocol::V2 || !self.has_room(from) {
            self.stats.refused += 1;
            return;
        }
        self.last_id += 1;
        let id = ConnId::new(self.last_id);
        let mut connection = Connection::accept(self.config.clone(), id, isn, now);
        connection.on_received_bytes(bytes);
        let handle = self.insert(now, from, Link::V1(Box::new(connection)));
        self.routes.insert(from, handle);
    }

    /// Whether another client may connect from an address.
    // spec: LSP-8.4
    fn has_room(&self, from: SocketAddr) -> bool {
        let same = self.addresses.get(&from.ip()).copied().unwrap_or(0);
        self.connections.len() < self.config.connections_max
            && same < self.config.connections_per_address_max
            && self.unproven < self.config.unproven_connections_max
    }

    fn insert(&mut self, now: Instant, remote: SocketAddr, link: Link) -> Handle {
        self.last_handle += 1;
        let handle = Handle::new(self.last_handle);
        let entry = Entry {
            link,
            remote,
            timer: None,
            queued: false,
            turn: 0,
            waiting: Waiting::default(),
            held_bytes: 0,
            unproven: false,
        };
        self.connections.insert(handle, entry);
        *self.addresses.entry(remote.ip()).or_insert(0) += 1;
        self.enqueue(handle);
        self.settle(now, handle);
        handle
    }

    fn count(&mut self, error: DecodeError) {
        match error {
            DecodeError::ShortPayload { .. } => self.stats.short += 1,
            DecodeError::Checksum { .. } => self.stats.corrupt += 1,
            DecodeError::TooLong { .. }
            | DecodeError::NotJson
            | DecodeError::UnknownType { .. }
            | DecodeError::Negative => self.stats.malformed += 1,
        }
    }

    /// Does what is due by the clock. Calling it early, or twice, does nothing.
    pub fn on_timeout(&mut self, now: Instant) {
        // A timer may stay due until the connection had its turn to send, so each is looked
        // at once.
        let mut due = Vec::new();
        while let Some(&(at, handle)) = self.timers.first() {
            if at > now {
                break;
            }
            self.timers.pop_first();
            due.push(handle);
        }
        for handle in due {
            if let Some(entry) = self.connections.get_mut(&handle) {
                entry.timer = None;
                entry.link.on_timeout(now);
            }
            self.enqueue(handle);
            self.settle(now, handle);
        }
    }

    /// Appends the next datagram to a buffer, and says where it goes. Connections take
    /// turns: of one datagram in version 1, of up to 16 in version 2, which a shell can
    /// hand to the kernel together where they are of one length.
    pub fn poll_transmit(&mut self, now: Instant, buffer: &mut Vec<u8>) -> Option<Transmit> {
        let start = buffer.len();
        if let Some(to) = self.binary.poll_stateless(buffer) {
            let bytes = buffer.len() - start;
            return Some(Transmit { to, bytes });
        }
        while let Some(handle) = self.senders.pop_front() {
            let Some(entry) = self.connections.get_mut(&handle) else {
                continue;
            };
            let Some(to) = entry.link.poll_transmit(now, entry.remote, buffer) else {
                entry.queued = false;
                entry.turn = 0;
                self.settle(now, handle);
                continue;
            };
            entry.turn += 1;
            if entry.turn < entry.link.turn() {
                self.senders.push_front(handle);
            } else {
                entry.turn = 0;
                self.senders.push_back(handle);
            }
            let bytes = buffer.len() - start;
            return Some(Transmit { to, bytes });
        }
        None
    }

    /// The next thing that the application should know, and of which connection.
    pub fn poll_event(&mut self) -> Option<(Handle, Event)> {
        let (handle, event) = self.events.pop_front()?;
        if let Some(entry) = self.connections.get_mut(&handle) {
            match event {
                Event::Readable => entry.waiting.readable = false,
                Event::Writable => entry.waiting.writable = false,
                Event::Connected | Event::Closed | Event::Lost => {}
            }
        }
        Some((handle, event))
    }

    /// When to call [`on_timeout`](Self::on_timeout) and then
    /// [`poll_transmit`](Self::poll_transmit). May have changed after any call.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.first().map(|&(at, _)| at)
    }
}
