//! A network in virtual time for version 2: datagrams are opaque, links have a rate, a
//! queue, a delay and a longest datagram, and nodes can change their address.

use core::time::Duration;
use std::net::SocketAddr;

use bytes::Bytes;
use lsp_core::{Config, EndReason, Endpoint, Event, Handle, Protocol, ReadError, Seed, SeqNum};
use stdx::{Instant, Prng};

pub(crate) use crate::net::ms;
use crate::wires::{self, Direction, Link, Wires, World};

/// The server's place among the nodes.
pub(crate) const SERVER: usize = 0;

/// What happens to datagrams on their way, towards the server and from it.
#[derive(Clone, Debug)]
pub(crate) struct Faults {
    /// Percent that is lost, towards the server and from it.
    pub(crate) loss: [u64; 2],
    /// Whether losses spare the bottleneck's queue.
    pub(crate) loss_before_queue: bool,
    pub(crate) duplicate: u64,
    /// Percent that has a byte changed.
    pub(crate) corrupt: u64,
    pub(crate) latency: (Duration, Duration),
    pub(crate) link: Option<Link>,
    /// Longer datagrams are dropped.
    pub(crate) mtu: usize,
}

impl Faults {
    pub(crate) fn none() -> Self {
        Self {
            loss: [0, 0],
            loss_before_queue: true,
            duplicate: 0,
            corrupt: 0,
            latency: (Duration::from_micros(50), Duration::from_micros(51)),
            link: None,
            mtu: 65_507,
        }
    }

    /// 20 Mbit/s, 50 ms there and back, a queue of one bandwidth-delay product.
    pub(crate) fn reference() -> Self {
        Self {
            latency: (ms(25), ms(25) + Duration::from_micros(100)),
            link: Some(Link {
                bytes_per_second: 20_000_000 / 8,
                queue_bytes: 125_000,
            }),
            mtu: 1_472,
            ..Self::none()
        }
    }
}

pub(crate) struct Node {
    pub(crate) endpoint: Endpoint,
    pub(crate) address: SocketAddr,
    pub(crate) up: bool,
    pub(crate) events: Vec<(Instant, Handle, Event)>,
    /// When and why connections were lost.
    pub(crate) ends: Vec<(Instant, Handle, Option<EndReason>)>,
    /// When a datagram last arrived.
    pub(crate) heard_at: Instant,
    /// Datagrams and bytes that it wrote.
    pub(crate) written: (u64, u64),
}

/// A datagram under way.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) bytes: Vec<u8>,
}

/// Sees every datagram that is written; whether it goes on.
type Tap = Box<dyn FnMut(Instant, &mut Packet) -> bool>;

pub(crate) struct Net {
    pub(crate) now: Instant,
    pub(crate) nodes: Vec<Node>,
    pub(crate) faults: Faults,
    pub(crate) tap: Option<Tap>,
    pub(crate) prng: Prng,
    wires: Wires<Packet>,
    steps: u64,
}

/// A configuration of version 2.
pub(crate) fn v2() -> Config {
    Config {
        protocol: Protocol::V2,
        ..Config::default()
    }
}

impl Net {
    /// A client's only connection.
    pub(crate) const HANDLE: Handle = Handle::new(1);

    pub(crate) fn new(config: Config, seed: u64) -> Self {
        let mut net = Self {
            now: Instant::EPOCH.after(Duration::from_secs(1_000)),
            nodes: Vec::new(),
            faults: Faults::none(),
            tap: None,
            prng: Prng::from_seed(seed),
            wires: Wires::new(),
            steps: 0,
        };
        let seed = Seed::insecure(&mut net.prng);
        net.add(Endpoint::server_seeded(config.validate().unwrap(), &seed));
        net
    }

    pub(crate) fn add(&mut self, endpoint: Endpoint) -> usize {
        let node = self.nodes.len();
        let host = u8::try_from(node / 200).unwrap();
        let port = 4_000 + u16::try_from(node).unwrap();
        self.nodes.push(Node {
            endpoint,
            address: SocketAddr::from(([10, 0, host, 1], port)),
            up: true,
            events: Vec::new(),
            ends: Vec::new(),
            heard_at: self.now,
            written: (0, 0),
        });
        node
    }

    /// Adds a client that asks for a connection.
    pub(crate) fn dial(&mut self, config: Config) -> usize {
        let seed = Seed::insecure(&mut self.prng);
        let endpoint = Endpoint::client_seeded(config.validate().unwrap(), &seed);
        let node = self.add(endpoint);
        let server = self.nodes[SERVER].address;
        let isn = SeqNum::new(self.prng.below(1 << 32) + 1);
        let connected = self.nodes[node].endpoint.connect(self.now, server, isn);
        assert_eq!(connected, Ok(Self::HANDLE));
        self.flush(node);
        node
    }

    /// Adds a client and waits until both sides know of the connection; the server's handle.
    pub(crate) fn join(&mut self, config: Config) -> (usize, Handle) {
        let before = self.nodes[SERVER].events.len();
        let node = self.dial(config);
        let deadline = self.now.after(Duration::from_secs(60));
        let joined = self.run(deadline, |net| {
            net.has(node, Event::Connected) && net.nodes[SERVER].events.len() > before
        });
        assert!(joined, "the client didn't connect");
        let (_, handle, event) = self.nodes[SERVER].events[before];
        assert_eq!(event, Event::Connected);
        (node, handle)
    }

    pub(crate) fn has(&self, node: usize, event: Event) -> bool {
        self.nodes[node]
            .events
            .iter()
            .any(|&(_, _, seen)| seen == event)
    }

    pub(crate) fn write(&mut self, node: usize, handle: Handle, text: impl Into<Bytes>) {
        let written = self.nodes[node].endpoint.write(handle, text.into());
        assert_eq!(written, Ok(()));
        self.flush(node);
    }

    /// What can be read now.
    pub(crate) fn read(&mut self, node: usize, handle: Handle) -> Result<Option<Bytes>, ReadError> {
        let outcome = self.nodes[node].endpoint.read(handle);
        self.flush(node);
        outcome
    }

    pub(crate) fn close(&mut self, node: usize, handle: Handle) {
        let closed = self.nodes[node].endpoint.close(self.now, handle);
        assert_eq!(closed, Ok(()));
        self.flush(node);
    }

    /// Gives a node another address.
    pub(crate) fn rebind(&mut self, node: usize, address: SocketAddr) {
        self.nodes[node].address = address;
    }

    /// Asks to be run again at a moment.
    pub(crate) fn wish(&mut self, at: Instant) {
        self.wires.wish(at);
    }

    /// Lets time pass until the test is satisfied or the deadline is reached; whether it was
    /// satisfied.
    pub(crate) fn run(
        &mut self,
        deadline: Instant,
        satisfied: impl FnMut(&mut Self) -> bool,
    ) -> bool {
        wires::run(self, deadline, satisfied)
    }

    pub(crate) fn pass(&mut self, span: Duration) {
        let deadline = self.now.after(span);
        self.run(deadline, |_| false);
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.wires.is_quiet()
    }

    fn arrive(&mut self, packet: &Packet) {
        let now = self.now;
        let place = self
            .nodes
            .iter()
            .position(|node| node.up && node.address == packet.to);
        let Some(place) = place else {
            return;
        };
        let here = &mut self.nodes[place];
        here.heard_at = now;
        here.endpoint.on_datagram(now, packet.from, &packet.bytes);
        self.flush(place);
    }

    /// Carries away what a node wants to send, and notes its events.
    pub(crate) fn flush(&mut self, node: usize) {
        let mut buffer = Vec::new();
        loop {
            buffer.clear();
            let now = self.now;
            let Some(transmit) = self.nodes[node].endpoint.poll_transmit(now, &mut buffer) else {
                break;
            };
            assert_eq!(transmit.bytes, buffer.len());
            let from = self.nodes[node].address;
            self.nodes[node].written.0 += 1;
            self.nodes[node].written.1 += buffer.len() as u64;
            self.send(Packet {
                from,
                to: transmit.to,
                bytes: buffer.clone(),
            });
        }
        let now = self.now;
        let here = &mut self.nodes[node];
        while let Some((handle, event)) = here.endpoint.poll_event() {
            here.events.push((now, handle, event));
            if event == Event::Lost {
                let reason = here.endpoint.end_reason(handle);
                here.ends.push((now, handle, reason));
            }
        }
        self.steps += 1;
        if self.steps.is_multiple_of(8) {
            here.endpoint.check_invariants();
        }
    }

    /// Puts a datagram on the wire, as if its sender had written it.
    pub(crate) fn send(&mut self, mut packet: Packet) {
        if let Some(tap) = &mut self.tap
            && !tap(self.now, &mut packet)
        {
            return;
        }
        let from_server = packet.from == self.nodes[SERVER].address;
        let direction = if from_server {
            Direction::FromServer
        } else {
            Direction::ToServer
        };
        let lost = self.chance(self.faults.loss[usize::from(from_server)]);
        if packet.bytes.len() > self.faults.mtu || lost && self.faults.loss_before_queue {
            return;
        }
        if self.chance(self.faults.corrupt) {
            let place = self.prng.index(packet.bytes.len());
            packet.bytes[place] ^= 1 << self.prng.below(8);
        }
        let copies = 1 + usize::from(self.chance(self.faults.duplicate));
        for _ in 0..copies {
            let (min, max) = self.faults.latency;
            let (link, bytes) = (self.faults.link, packet.bytes.len() as u64);
            let Some(queueing) = self.wires.queue(self.now, link, direction, bytes) else {
                return;
            };
            if lost {
                return;
            }
            let latency = queueing + self.prng.duration(min..max);
            self.wires.send(self.now.after(latency), packet.clone());
        }
    }

    fn chance(&mut self, percent: u64) -> bool {
        percent > 0 && self.prng.chance(percent, 100)
    }
}

impl World for Net {
    fn now(&mut self) -> &mut Instant {
        &mut self.now
    }

    fn next_at(&self) -> Option<Instant> {
        let up = self.nodes.iter().filter(|node| node.up);
        let timer = up.filter_map(|node| node.endpoint.poll_timeout()).min();
        [self.wires.next_at(), timer].into_iter().flatten().min()
    }

    fn advance(&mut self, at: Instant) {
        assert!(
            at >= self.now || self.steps < 100_000_000,
            "time stands still"
        );
        self.now = self.now.max(at);
        let now = self.now;
        self.wires.fulfil(now);
        for node in 0..self.nodes.len() {
            let here = &mut self.nodes[node];
            if here.up && here.endpoint.poll_timeout().is_some_and(|at| at <= now) {
                here.endpoint.on_timeout(now);
                self.flush(node);
                let next = self.nodes[node].endpoint.poll_timeout();
                assert!(
                    next.is_none_or(|at| at > now),
                    "node {node} wants to be called again at once"
                );
            }
        }
        while let Some(packet) = self.wires.arrived(now) {
            self.arrive(&packet);
        }
    }
}
