//! Everything at once, over seeds: configurations drawn for each side, loss, delay that
//! reorders, duplication, damage, slow readers, and half of the time a silence.
//!
//! A run has a bad phase and a good one. Four checkers watch:
//!
//! * **in order, exactly once**: each side reads what the other wrote, from the first on;
//! * **window bound**: an observer on the wire, which knows only the messages, keeps its
//!   own count of what is sent and acknowledged;
//! * **lost in time**: a connection is lost after at least the limit of epochs without a
//!   message from its peer, and at most one epoch later;
//! * **nothing left**: after everybody closed, no connection, no timer, and no datagram.
//!
//! A failure prints its seed; `LSP_SOAK_SEED` runs that one alone, and
//! `LSP_SOAK_SEEDS` sets how many run.

use core::cell::RefCell;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use bytes::Bytes;
use lsp_core::{Config, ConnId, Event, Handle, Message, Phase, ReadError, SeqNum};
use stdx::{Instant, Prng};

use crate::net::{Faults, Net, Observed, SERVER, ms};

/// One direction of one connection, as seen on the wire.
#[derive(Default)]
struct Flow {
    sent: BTreeSet<SeqNum>,
    acked: BTreeSet<SeqNum>,
    /// The first number that isn't acknowledged.
    oldest: SeqNum,
}

impl Flow {
    fn on_data(&mut self, seq: SeqNum, config: &Config) {
        if self.sent.is_empty() {
            self.oldest = seq;
        }
        let offset = seq.offset_from(self.oldest).unwrap_or(0);
        assert!(
            offset < config.window_size,
            "{seq} is past the window at {}",
            self.oldest
        );
        self.sent.insert(seq);
        let unacked = self.sent.difference(&self.acked).count();
        assert!(
            unacked <= config.max_unacked_messages,
            "{unacked} unacknowledged"
        );
    }

    fn on_acked(&mut self, through: SeqNum, one: bool) {
        let from = if one { through } else { SeqNum::ZERO };
        let acked: Vec<SeqNum> = self.sent.range(from..=through).copied().collect();
        self.acked.extend(acked);
        while self.acked.contains(&self.oldest) {
            self.oldest = self.oldest.next();
        }
        // Keeps the sets as small as the window.
        self.sent = self.sent.split_off(&self.oldest);
        self.acked = self.acked.split_off(&self.oldest);
        if self.sent.is_empty() {
            self.sent.insert(self.oldest.previous());
            self.acked.insert(self.oldest.previous());
        }
    }
}

/// What the observer on the wire knows.
struct Wire {
    configs: Vec<Config>,
    flows: BTreeMap<(usize, ConnId), Flow>,
    /// When a node heard of a connection from another node; id zero for Connects.
    heard: BTreeMap<(usize, usize, ConnId), Vec<Instant>>,
}

impl Wire {
    fn observe(&mut self, now: Instant, observed: &Observed<'_>) {
        match *observed {
            Observed::Written(node, Message::Data { id, seq, .. }) => {
                let flow = self.flows.entry((node, *id)).or_default();
                flow.on_data(*seq, &self.configs[node]);
            }
            Observed::Written(..) => {}
            Observed::Arrived(node, from, message) => {
                let key = (node, from, message.id());
                self.heard.entry(key).or_default().push(now);
                let Some(flow) = self.flows.get_mut(&(node, message.id())) else {
                    return;
                };
                match message {
                    Message::Ack { seq, .. } => flow.on_acked(*seq, true),
                    Message::CAck { seq, .. } => flow.on_acked(*seq, false),
                    Message::Connect { .. } | Message::Data { .. } => {}
                }
            }
        }
    }
}

/// One direction of one connection, as its applications see it.
#[derive(Clone, Copy, Debug, Default)]
struct Stream {
    written: u64,
    read: u64,
}

struct Soak {
    net: Net,
    wire: Rc<RefCell<Wire>>,
    prng: Prng,
    /// Towards the server and from it, by client.
    up: Vec<Stream>,
    down: Vec<Stream>,
    /// Clients whose connection was lost on either side.
    lost: BTreeSet<usize>,
    accepted: BTreeMap<Handle, (Instant, usize)>,
    checked_events: Vec<usize>,
    /// Readers that sleep until then.
    naps: Vec<Instant>,
}

fn payload(number: u64, prng: &mut Prng) -> Bytes {
    let mut text = format!("{number}:").into_bytes();
    let padding = if prng.chance(1, 8) {
        prng.index(900)
    } else {
        prng.index(40)
    };
    text.resize(text.len() + padding, b'.');
    text.into()
}

fn number(payload: &Bytes) -> u64 {
    let text = core::str::from_utf8(payload).unwrap();
    text.split_once(':').unwrap().0.parse().unwrap()
}

fn swarm_faults(prng: &mut Prng) -> Faults {
    let mut percent = |most: u64| {
        if prng.chance(1, 2) {
            prng.below(most)
        } else {
            0
        }
    };
    let mut faults = Faults {
        server_drop: percent(40),
        client_drop: percent(40),
        delay: percent(20),
        duplicate: percent(30),
        corrupt: percent(30),
        ..Faults::none()
    };
    let min = ms(prng.below(100));
    faults.latency = (min, min + ms(1 + prng.below(200)));
    faults
}

impl Soak {
    fn new(seed: u64) -> Self {
        let mut prng = Prng::from_seed(seed);
        let base = Config::swarm(&mut prng);
        let mut net = Net::new(base.clone(), prng.next_u64());
        let clients = 1 + prng.index(3);
        let mut configs = vec![base.clone()];
        for _ in 0..clients {
            // Windows and methods may differ between the sides; what decides when the
            // other is lost may not, or a short limit meets a long epoch.
            let config = Config {
                epoch: base.epoch,
                epoch_limit: base.epoch_limit,
                ..Config::swarm(&mut prng)
            };
            configs.push(config.clone());
            let isn = prng.below(1 << 20) + 1;
            net.dial_with(config, isn);
        }
        net.faults = swarm_faults(&mut prng);
        let wire = Rc::new(RefCell::new(Wire {
            configs,
            flows: BTreeMap::new(),
            heard: BTreeMap::new(),
        }));
        let observer = Rc::clone(&wire);
        net.observer = Some(Box::new(move |now, observed| {
            observer.borrow_mut().observe(now, &observed);
        }));
        Self {
            net,
            wire,
            prng,
            up: vec![Stream::default(); clients + 1],
            down: vec![Stream::default(); clients + 1],
            lost: BTreeSet::new(),
            accepted: BTreeMap::new(),
            checked_events: vec![0; clients + 1],
            naps: vec![Instant::EPOCH; clients + 1],
        }
    }

    fn client_of(&self, address: std::net::SocketAddr) -> usize {
        let nodes = &self.net.nodes;
        nodes
            .iter()
            .position(|node| node.address == address)
            .expect("a known client")
    }

    /// Looks at what happened since the last call.
    fn check_events(&mut self) {
        for node in 0..self.net.nodes.len() {
            let from = self.checked_events[node];
            let events: Vec<_> = self.net.nodes[node].events[from..].to_vec();
            self.checked_events[node] += events.len();
            for (at, handle, event) in events {
                match event {
                    Event::Connected if node == SERVER => {
                        let remote = self.net.nodes[SERVER].endpoint.remote(handle).unwrap();
                        let client = self.client_of(remote);
                        self.accepted.insert(handle, (at, client));
                    }
                    Event::Lost => self.check_loss(node, at, handle),
                    Event::Connected | Event::Closed | Event::Readable | Event::Writable => {}
                }
            }
        }
    }

    /// Lost within the limit of epochs, and never sooner.
    // spec: LSP-6.4
    fn check_loss(&mut self, node: usize, at: Instant, handle: Handle) {
        let (since, peer) = match node {
            SERVER => self.accepted[&handle],
            client => {
                self.lost.insert(client);
                (Instant::EPOCH, SERVER)
            }
        };
        self.lost.insert(node.max(peer));
        let wire = self.wire.borrow();
        let connection = self.net.nodes[node].endpoint.connection(handle);
        let id = connection.map_or(ConnId::ZERO, lsp_core::Connection::id);
        // A client that asks for a connection hears anything; a connection its own id.
        let heard = wire
            .heard
            .iter()
            .filter(|&(&(to, from, heard), _)| {
                let counts = heard == id || heard == ConnId::ZERO || id == ConnId::ZERO;
                to == node && from == peer && counts
            })
            .flat_map(|(_, heard)| heard)
            .copied()
            .filter(|&heard| heard < at)
            .max()
            .unwrap_or(since)
            .max(since);
        let config = &wire.configs[node];
        let silence = at.since(heard);
        assert!(
            silence >= config.epoch * config.epoch_limit,
            "node {node} gave up after {silence:?} of silence"
        );
        assert!(
            silence <= config.epoch * (config.epoch_limit + 1),
            "node {node} gave up only after {silence:?} of silence, {:?} an epoch, {} of them",
            config.epoch,
            config.epoch_limit
        );
    }

    /// Reads what there is, in order and once.
    // spec: LSP-3.1
    fn read(&mut self, node: usize) {
        while let Some((id, outcome)) = self.net.read(node) {
            let client = if node == SERVER {
                let client = self
                    .net
                    .clients()
                    .find(|&client| self.id_of(client) == Some(id));
                let Some(client) = client else {
                    continue;
                };
                client
            } else {
                node
            };
            let streams = if node == SERVER {
                &mut self.up
            } else {
                &mut self.down
            };
            match outcome {
                Ok(payload) => {
                    assert_eq!(number(&payload), streams[client].read, "client {client}");
                    streams[client].read += 1;
                    assert!(streams[client].read <= streams[client].written);
                }
                Err(ReadError::Lost | ReadError::Closed) => {}
                Err(ReadError::Unknown) => panic!("a connection that never was"),
            }
        }
    }

    fn id_of(&self, client: usize) -> Option<ConnId> {
        self.net.is_connected(client).then(|| self.net.id(client))
    }

    /// Readers read unless they sleep, and sometimes fall asleep.
    fn read_lazily(&mut self) {
        for node in 0..self.net.nodes.len() {
            if self.naps[node] > self.net.now {
                continue;
            }
            self.read(node);
            if self.prng.chance(1, 20) {
                let nap = self.prng.duration(ms(1)..ms(3_000));
                self.naps[node] = self.net.now.after(nap);
                self.net.wish(self.naps[node]);
            }
        }
    }

    fn write_some(&mut self) {
        let client = 1 + self.prng.index(self.net.nodes.len() - 1);
        let Some(id) = self.id_of(client) else {
            return;
        };
        for _ in 0..self.prng.below(30) {
            let from_server = self.prng.chance(1, 2);
            let (node, handle) = if from_server {
                (SERVER, self.net.server_handle(id))
            } else {
                (client, Some(Net::HANDLE))
            };
            let Some(handle) = handle else {
                continue;
            };
            let streams = if from_server {
                &mut self.down
            } else {
                &mut self.up
            };
            let payload = payload(streams[client].written, &mut self.prng);
            if self.net.nodes[node].endpoint.write(handle, payload).is_ok() {
                streams[client].written += 1;
            }
            self.net.flush(node);
        }
    }

    /// Lets time pass, writing and reading now and then.
    fn rage(&mut self, span: Duration) {
        let deadline = self.net.now.after(span);
        while self.net.now < deadline {
            let pause = self.prng.duration(ms(1)..ms(200));
            self.pass(pause, false);
            self.write_some();
        }
    }

    fn pass(&mut self, span: Duration, eager: bool) {
        let deadline = self.net.now.after(span);
        while self.net.now < deadline {
            let step = self.net.now.after(ms(20)).min(deadline);
            self.net.run(step, |_| false);
            self.check_events();
            if eager {
                (0..self.net.nodes.len()).for_each(|node| self.read(node));
            } else {
                self.read_lazily();
            }
        }
    }

    fn delivered(&self) -> bool {
        self.net.clients().all(|client| {
            let whole = |stream: &Stream| stream.read == stream.written;
            self.lost.contains(&client) || (whole(&self.up[client]) && whole(&self.down[client]))
        })
    }

    /// Where everybody stands.
    fn report(&self) -> String {
        let mut page = String::new();
        for client in self.net.clients() {
            let (up, down) = (self.up[client], self.down[client]);
            page += &format!("client {client}: up {up:?}, down {down:?}\n");
        }
        for (number, node) in self.net.nodes.iter().enumerate() {
            page += &format!("node {number}: {:?}\n", self.wire.borrow().configs[number]);
            for handle in node.endpoint.handles() {
                let connection = node.endpoint.connection(handle).unwrap();
                page += &format!("  {handle} {connection:?}\n");
            }
        }
        page
    }

    /// Lets everything arrive. A window larger than what the receiver keeps beyond a gap
    /// is slow, but something must be read every few epochs.
    fn deliver(&mut self) {
        let patience = self.wire.borrow().configs[SERVER].epoch * 8;
        let mut deadline = self.net.now.after(patience);
        let mut read = self.read_count();
        while !self.delivered() {
            assert!(self.net.now < deadline, "no progress:\n{}", self.report());
            self.pass(ms(100), true);
            if self.read_count() > read {
                read = self.read_count();
                deadline = self.net.now.after(patience);
            }
        }
    }

    fn read_count(&self) -> u64 {
        self.up
            .iter()
            .chain(&self.down)
            .map(|stream| stream.read)
            .sum()
    }

    /// Messages read, connections lost, connections tried.
    fn run(mut self) -> (u64, usize, usize) {
        let bad = self.prng.duration(ms(2_000)..ms(15_000));
        self.rage(bad);
        if self.prng.chance(1, 2) {
            let faults = self.net.faults.clone();
            self.net.cut(true);
            let silence = self.prng.duration(ms(100)..ms(6_000));
            self.rage(silence);
            self.net.faults = faults;
            self.rage(ms(1_000));
        }
        // From here on the network is good, and everybody reads.
        self.net.faults = Faults::none();
        self.deliver();
        let lost = self.lost.len();
        self.close();
        (self.read_count(), lost, self.net.clients().len())
    }

    /// Everybody closes; nothing may be left.
    // spec: LSP-7.4
    fn close(&mut self) {
        for client in self.net.clients() {
            let handle = Net::HANDLE;
            let node = &mut self.net.nodes[client];
            let open = node
                .endpoint
                .connection(handle)
                .is_some_and(|connection| connection.phase() != Phase::Lost);
            if open {
                node.endpoint.close(self.net.now, handle).unwrap();
                self.net.flush(client);
            }
        }
        if self.prng.chance(1, 2) {
            let now = self.net.now;
            self.net.nodes[SERVER].endpoint.shut_down(now);
            self.net.flush(SERVER);
        }
        let (epoch, limit) = {
            let wire = self.wire.borrow();
            (wire.configs[SERVER].epoch, wire.configs[SERVER].epoch_limit)
        };
        // A Connect that was under way may have made one more connection, which is lost.
        self.pass(epoch * (2 * limit + 4), true);
        self.check_events();
        for (node, here) in self.net.nodes.iter().enumerate() {
            assert!(here.endpoint.is_empty(), "node {node} holds a connection");
            assert_eq!(
                here.endpoint.poll_timeout(),
                None,
                "node {node} has a timer"
            );
            assert_eq!(here.endpoint.held_bytes(), 0, "node {node} holds bytes");
        }
        assert!(self.net.is_quiet(), "a datagram is still under way");
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long to soak is the caller's choice"
)]
fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn soak(first: u64, count: u64) {
    if let Some(seed) = variable("LSP_SOAK_SEED") {
        Soak::new(seed).run();
        return;
    }
    let count = variable("LSP_SOAK_SEEDS").map_or(count, |seeds| seeds / 4);
    let first = first * 1_000_000;
    let (mut read, mut lost, mut tried) = (0, 0, 0);
    for seed in first..first + count {
        let outcome = std::panic::catch_unwind(|| Soak::new(seed).run());
        let Ok((messages, losses, connections)) = outcome else {
            panic!("LSP_SOAK_SEED={seed} fails");
        };
        read += messages;
        lost += losses;
        tried += connections;
    }
    println!("{count} seeds: {read} messages, {lost} of {tried} connections lost");
    assert!(read > 0, "messages got through");
    if count >= 50 {
        assert!(lost > 0, "some connections were lost");
        assert!(lost * 2 < tried, "most were not");
    }
}

// spec: LSP-4.1 LSP-4.2 LSP-6.4
#[test]
fn soak_1() {
    soak(1, 60);
}

#[test]
fn soak_2() {
    soak(2, 60);
}

#[test]
fn soak_3() {
    soak(3, 60);
}

#[test]
fn soak_4() {
    soak(4, 60);
}
