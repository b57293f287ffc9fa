//! A network in virtual time: one server, any number of clients, and everything that the
//! original's harness could do to their datagrams.
//!
//! Nothing waits: time jumps to the next arrival, timer or wish of the test. Faults apply
//! when a datagram is *written*, per side, as in the original: dropping, delaying by 500 ms,
//! cutting, lengthening or changing payloads, and a middlebox that sees messages. On top
//! of that, the soak has latencies that reorder, duplication and silence.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use lsp_core::{Config, ConnId, Endpoint, Event, Handle, Message, ReadError, SeqNum, wire};
use stdx::{Instant, Prng};

use crate::wires::{self, Direction, Link, Wires, World};

/// The server's place among the nodes.
pub(crate) const SERVER: usize = 0;

/// What happens to datagrams on their way.
#[derive(Clone, Debug)]
pub(crate) struct Faults {
    /// Percent of what the server and the clients write that is dropped.
    pub(crate) server_drop: u64,
    pub(crate) client_drop: u64,
    /// Percent that is delayed by 500 ms.
    pub(crate) delay: u64,
    /// Percent that arrives twice.
    pub(crate) duplicate: u64,
    /// Percent of Data whose payload is changed.
    pub(crate) corrupt: u64,
    pub(crate) shorten: bool,
    pub(crate) lengthen: bool,
    /// One way, at least and at most.
    pub(crate) latency: (Duration, Duration),
    /// What each direction carries, if it has a limit.
    pub(crate) link: Option<Link>,
}

impl Faults {
    /// A loopback interface.
    pub(crate) fn none() -> Self {
        Self {
            server_drop: 0,
            client_drop: 0,
            delay: 0,
            duplicate: 0,
            corrupt: 0,
            shorten: false,
            lengthen: false,
            latency: (Duration::from_micros(50), Duration::from_micros(51)),
            link: None,
        }
    }
}

/// What was written to the network, as the original's sniffer counts it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sniffed {
    /// Data messages that were sent and not dropped.
    pub(crate) data: usize,
    /// All messages that were sent and not dropped, with their sender.
    pub(crate) sent: Vec<(usize, Message)>,
}

/// One program with one socket.
pub(crate) struct Node {
    pub(crate) endpoint: Endpoint,
    pub(crate) address: SocketAddr,
    /// Whether it runs; one that doesn't is as good as no program at all.
    pub(crate) up: bool,
    /// Connections that have something to tell the reader.
    reader: VecDeque<Handle>,
    ids: BTreeMap<Handle, ConnId>,
    pub(crate) events: Vec<(Instant, Handle, Event)>,
    /// When a datagram that could be read last arrived.
    pub(crate) heard_at: Instant,
}

/// What a blocking read would have returned.
pub(crate) type Read = (ConnId, Result<Bytes, ReadError>);

struct Packet {
    from: usize,
    to: usize,
    bytes: Vec<u8>,
}

type Middlebox = Box<dyn FnMut(&mut Message) -> bool>;
type Observer = Box<dyn FnMut(Instant, Observed<'_>)>;

/// What an observer is told.
pub(crate) enum Observed<'a> {
    /// A node writes a message, whatever becomes of it.
    Written(usize, &'a Message),
    /// A node receives a message from another.
    Arrived(usize, usize, &'a Message),
}

pub(crate) struct Net {
    pub(crate) now: Instant,
    pub(crate) nodes: Vec<Node>,
    pub(crate) faults: Faults,
    pub(crate) middlebox: Option<Middlebox>,
    pub(crate) observer: Option<Observer>,
    pub(crate) sniffed: Option<Sniffed>,
    pub(crate) prng: Prng,
    config: Config,
    wires: Wires<Packet>,
    steps: u64,
}

impl Net {
    /// A client's only connection.
    pub(crate) const HANDLE: Handle = Handle::new(1);

    /// A server that runs, and no clients.
    pub(crate) fn new(config: Config, seed: u64) -> Self {
        let mut net = Self {
            now: Instant::EPOCH,
            nodes: Vec::new(),
            faults: Faults::none(),
            middlebox: None,
            observer: None,
            sniffed: None,
            prng: Prng::from_seed(seed),
            config: config.clone(),
            wires: Wires::new(),
            steps: 0,
        };
        let server = Endpoint::server(config.validate().unwrap());
        net.add(server);
        net
    }

    fn add(&mut self, endpoint: Endpoint) -> usize {
        let node = self.nodes.len();
        let host = u8::try_from(node / 200).unwrap();
        let port = 4_000 + u16::try_from(node).unwrap();
        self.nodes.push(Node {
            endpoint,
            address: SocketAddr::from(([10, 0, host, 1], port)),
            up: true,
            reader: VecDeque::new(),
            ids: BTreeMap::new(),
            events: Vec::new(),
            heard_at: self.now,
        });
        node
    }

    /// Adds a client that asks for a connection.
    pub(crate) fn dial(&mut self, isn: u64) -> (usize, Handle) {
        let config = self.config.clone();
        self.dial_with(config, isn)
    }

    pub(crate) fn dial_with(&mut self, config: Config, isn: u64) -> (usize, Handle) {
        let node = self.add(Endpoint::client(config.validate().unwrap()));
        let server = self.nodes[SERVER].address;
        let handle = self.nodes[node]
            .endpoint
            .connect(self.now, server, SeqNum::new(isn))
            .unwrap();
        self.flush(node);
        (node, handle)
    }

    /// Adds clients and waits until all are connected.
    pub(crate) fn dial_all(&mut self, clients: usize, mut isn: impl FnMut(&mut Prng) -> u64) {
        let mut dialled = Vec::new();
        for _ in 0..clients {
            let isn = isn(&mut self.prng);
            dialled.push(self.dial(isn));
            let last = *dialled.last().unwrap();
            let deadline = self.now.after(Duration::from_secs(60));
            let connected = self.run(deadline, |net| net.is_connected(last.0));
            assert!(connected, "client {} didn't connect", last.0);
        }
    }

    /// The clients' nodes.
    pub(crate) fn clients(&self) -> core::ops::Range<usize> {
        1..self.nodes.len()
    }

    pub(crate) fn is_connected(&self, node: usize) -> bool {
        self.has_event(node, Event::Connected)
    }

    pub(crate) fn has_event(&self, node: usize, event: Event) -> bool {
        self.nodes[node]
            .events
            .iter()
            .any(|&(_, _, seen)| seen == event)
    }

    /// A client's connection id.
    pub(crate) fn id(&self, client: usize) -> ConnId {
        self.nodes[client].ids[&Self::HANDLE]
    }

    /// The server's handle of a connection.
    pub(crate) fn server_handle(&self, id: ConnId) -> Option<Handle> {
        let ids = &self.nodes[SERVER].ids;
        ids.iter()
            .find(|&(_, &other)| other == id)
            .map(|(&handle, _)| handle)
    }

    pub(crate) fn client_write(&mut self, client: usize, text: impl Into<Bytes>) {
        let handle = Self::HANDLE;
        self.nodes[client]
            .endpoint
            .write(handle, text.into())
            .unwrap();
        self.flush(client);
    }

    pub(crate) fn server_write(&mut self, id: ConnId, text: impl Into<Bytes>) {
        let handle = self.server_handle(id).expect("a known connection");
        self.nodes[SERVER]
            .endpoint
            .write(handle, text.into())
            .unwrap();
        self.flush(SERVER);
    }

    pub(crate) fn close(&mut self, node: usize, handle: Handle) {
        self.nodes[node].endpoint.close(self.now, handle).unwrap();
        self.flush(node);
    }

    /// What a blocking Read would return now, if it returned.
    pub(crate) fn read(&mut self, node: usize) -> Option<Read> {
        loop {
            let here = &mut self.nodes[node];
            let &handle = here.reader.front()?;
            let id = here.ids.get(&handle).copied().unwrap_or_default();
            match here.endpoint.read(handle) {
                Ok(Some(payload)) => {
                    self.flush(node);
                    return Some((id, Ok(payload)));
                }
                Ok(None) => {
                    here.reader.pop_front();
                }
                Err(error) => {
                    here.reader.pop_front();
                    let error = if error == ReadError::Unknown {
                        ReadError::Closed
                    } else {
                        error
                    };
                    return Some((id, Err(error)));
                }
            }
        }
    }

    /// Asks to be run again at a moment.
    pub(crate) fn wish(&mut self, at: Instant) {
        self.wires.wish(at);
    }

    /// Lets time pass until the test is satisfied or the deadline is reached; whether it
    /// was satisfied. The test runs after everything that happens.
    pub(crate) fn run(
        &mut self,
        deadline: Instant,
        satisfied: impl FnMut(&mut Self) -> bool,
    ) -> bool {
        wires::run(self, deadline, satisfied)
    }

    /// Lets time pass.
    pub(crate) fn pass(&mut self, span: Duration) {
        let deadline = self.now.after(span);
        self.run(deadline, |_| false);
    }

    /// Whether no datagram is under way.
    pub(crate) fn is_quiet(&self) -> bool {
        self.wires.is_quiet()
    }

    fn arrive(&mut self, packet: &Packet) {
        let now = self.now;
        let from = self.nodes[packet.from].address;
        let here = &mut self.nodes[packet.to];
        if !here.up {
            return;
        }
        if let Ok(message) = wire::decode(&packet.bytes) {
            here.heard_at = now;
            if let Some(observer) = &mut self.observer {
                observer(now, Observed::Arrived(packet.to, packet.from, &message));
            }
        }
        here.endpoint.on_datagram(now, from, &packet.bytes);
        self.flush(packet.to);
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
            self.write(node, transmit.to, &buffer);
        }
        let now = self.now;
        let here = &mut self.nodes[node];
        while let Some((handle, event)) = here.endpoint.poll_event() {
            here.events.push((now, handle, event));
            if let Some(connection) = here.endpoint.connection(handle) {
                here.ids.insert(handle, connection.id());
            }
            if event != Event::Connected && event != Event::Writable {
                here.reader.push_back(handle);
            }
        }
        self.steps += 1;
        if self.steps.is_multiple_of(8) {
            here.endpoint.check_invariants();
        }
    }

    fn write(&mut self, node: usize, to: SocketAddr, bytes: &[u8]) {
        let mut message = wire::decode(bytes).expect("a node writes well-formed messages");
        if let Some(observer) = &mut self.observer {
            observer(self.now, Observed::Written(node, &message));
        }
        let late = self.chance(self.faults.delay);
        let drop = if node == SERVER {
            self.faults.server_drop
        } else {
            self.faults.client_drop
        };
        if self.chance(drop) {
            return;
        }
        if let Some(sniffed) = &mut self.sniffed {
            sniffed.data += usize::from(matches!(message, Message::Data { .. }));
            sniffed.sent.push((node, message.clone()));
        }
        let mut datagram = bytes.to_vec();
        if let Some(middlebox) = &mut self.middlebox {
            if !middlebox(&mut message) {
                return;
            }
            datagram.clear();
            wire::encode(&message, &mut datagram);
        }
        if let Message::Data { payload, .. } = &message {
            self.damage(&mut datagram, payload);
        }
        let copies = 1 + usize::from(self.chance(self.faults.duplicate));
        let Some(to) = self.nodes.iter().position(|other| other.address == to) else {
            return;
        };
        for _ in 0..copies {
            let (min, max) = self.faults.latency;
            let direction = if node == SERVER {
                Direction::FromServer
            } else {
                Direction::ToServer
            };
            let (link, bytes) = (self.faults.link, datagram.len() as u64);
            let Some(queueing) = self.wires.queue(self.now, link, direction, bytes) else {
                return;
            };
            let mut latency = queueing + self.prng.duration(min..max);
            if late {
                latency += Duration::from_millis(500);
            }
            let packet = Packet {
                from: node,
                to,
                bytes: datagram.clone(),
            };
            self.wires.send(self.now.after(latency), packet);
        }
    }

    fn damage(&mut self, datagram: &mut Vec<u8>, payload: &Bytes) {
        let mut payload = payload.to_vec();
        if self.faults.shorten {
            payload.truncate(payload.len() / 2);
        } else if self.faults.lengthen {
            payload.extend([2, 3, 4]);
        } else if self.chance(self.faults.corrupt) {
            match payload.first_mut() {
                Some(first) => *first = !*first,
                None => return,
            }
        } else {
            return;
        }
        let mut value: serde_json::Value = serde_json::from_slice(datagram).unwrap();
        value["Payload"] = STANDARD.encode(payload).into();
        *datagram = serde_json::to_vec(&value).unwrap();
    }

    fn chance(&mut self, percent: u64) -> bool {
        percent > 0 && self.prng.chance(percent, 100)
    }

    /// Drops everything that the server writes, or nothing.
    pub(crate) fn mute_server(&mut self, muted: bool) {
        self.faults.server_drop = if muted { 100 } else { 0 };
    }

    /// Drops everything that clients write, or nothing.
    pub(crate) fn mute_clients(&mut self, muted: bool) {
        self.faults.client_drop = if muted { 100 } else { 0 };
    }

    /// Drops everything, or nothing.
    pub(crate) fn cut(&mut self, cut: bool) {
        self.mute_server(cut);
        self.mute_clients(cut);
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

/// The original's five parameters: limit, epoch in milliseconds, window, most back-off,
/// most unacknowledged.
pub(crate) fn params(
    epoch_limit: u32,
    epoch_millis: u64,
    window_size: usize,
    max_backoff_interval: u32,
    max_unacked_messages: usize,
) -> Config {
    Config {
        epoch_limit,
        epoch: Duration::from_millis(epoch_millis),
        window_size,
        max_backoff_interval,
        max_unacked_messages,
        ..Config::default()
    }
}

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
