//! Negotiation and the handshake: who gets which version, and what strangers can do.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

use bytes::Bytes;
use lsp_core::{
    Config, ConnId, Event, Keys, Message, Protocol, PublicKey, SecretKey, SharedKey, Validation,
    Version, WriteError, wire,
};

use crate::v2::net::{Net, Packet, SERVER, ms, v2};

fn auto() -> Config {
    Config {
        protocol: Protocol::Auto,
        ..Config::default()
    }
}

fn with_keys(keys: Keys) -> Config {
    Config { keys, ..v2() }
}

/// Connects and talks; the versions that both sides see.
fn talk(server: Config, client: Config) -> [Option<Version>; 2] {
    let mut net = Net::new(server, 1);
    let (node, handle) = net.join(client);
    net.write(node, Net::HANDLE, "there");
    net.write(SERVER, handle, "back");
    net.pass(ms(10_000));
    assert_eq!(net.read(SERVER, handle).unwrap().unwrap(), "there");
    assert_eq!(net.read(node, Net::HANDLE).unwrap().unwrap(), "back");
    let (here, there) = (&net.nodes[node].endpoint, &net.nodes[SERVER].endpoint);
    assert_eq!(here.id(Net::HANDLE), there.id(handle));
    [here.version(Net::HANDLE), there.version(handle)]
}

/// Whether a client is still alone after a minute; it must be lost by then.
fn fails(net: &mut Net, node: usize) {
    net.pass(ms(60_000));
    assert!(!net.has(node, Event::Connected));
    assert!(net.has(node, Event::Lost));
    assert!(
        net.nodes[SERVER].events.is_empty(),
        "the server knows nothing"
    );
    assert!(net.nodes[SERVER].endpoint.is_empty(), "and keeps nothing");
}

// spec: LSP2-1.1 LSP2-1.3 LSP2-1.4
#[test]
fn every_pair_of_versions_agrees_on_the_best_it_may() {
    let (one, two) = ([Some(Version::V1); 2], [Some(Version::V2); 2]);
    let v1 = Config::default;
    assert_eq!(talk(v1(), v1()), one);
    assert_eq!(talk(v1(), auto()), one);
    assert_eq!(talk(auto(), v1()), one);
    assert_eq!(talk(auto(), auto()), two);
    assert_eq!(talk(v2(), auto()), two);
    assert_eq!(talk(auto(), v2()), two);
    assert_eq!(talk(v2(), v2()), two);
}

// spec: LSP2-1.3 LSP2-1.4
#[test]
fn who_requires_version_2_gets_no_other() {
    let mut net = Net::new(Config::default(), 2);
    let node = net.dial(v2());
    net.pass(ms(60_000));
    assert!(net.has(node, Event::Lost) && !net.has(node, Event::Connected));
    let mut net = Net::new(v2(), 3);
    let node = net.dial(Config::default());
    fails(&mut net, node);
}

/// An original sees a Connect like any other but for its payload, and afterwards nothing that
/// isn't version 1.
// spec: LSP2-1.1
#[test]
fn an_old_server_sees_version_1_only() {
    let mut net = Net::new(Config::default(), 4);
    let seen = Rc::new(RefCell::new(Vec::new()));
    let log = Rc::clone(&seen);
    net.tap = Some(Box::new(move |_, packet| {
        log.borrow_mut()
            .push(wire::decode(&packet.bytes).expect("version 1"));
        true
    }));
    let (node, handle) = net.join(auto());
    net.write(node, Net::HANDLE, "hello");
    net.pass(ms(5_000));
    assert_eq!(net.read(SERVER, handle).unwrap().unwrap(), "hello");
    let seen = seen.borrow();
    let Message::Connect { isn, offer } = &seen[0] else {
        panic!("{:?}", seen[0]);
    };
    assert!(offer.starts_with(b"LSP2"));
    let id = ConnId::new(1);
    assert_eq!(seen[1], Message::Ack { id, seq: *isn });
    let payload = Bytes::from_static(b"hello");
    let seq = isn.next();
    assert_eq!(seen[2], Message::Data { id, seq, payload });
}

/// Somebody in between answers as an old server would.
fn forge_an_ack(client: Config) -> (bool, Option<Version>) {
    let mut net = Net::new(auto(), 5);
    let node = net.dial(client);
    let (from, to) = (net.nodes[SERVER].address, net.nodes[node].address);
    // The first isn drawn by the net after its two seeds is not known here: read it.
    let isn = Rc::new(RefCell::new(None));
    let log = Rc::clone(&isn);
    net.tap = Some(Box::new(move |_, packet| {
        if let Ok(Message::Connect { isn, .. }) = wire::decode(&packet.bytes) {
            *log.borrow_mut() = Some(isn);
        }
        // The server's own answers get lost.
        packet.from != from
    }));
    net.pass(ms(1_500));
    let seq = isn.borrow().expect("the Connect is repeated");
    net.tap = None;
    let mut bytes = Vec::new();
    let id = ConnId::new(9);
    wire::encode(&Message::Ack { id, seq }, &mut bytes);
    net.send(Packet { from, to, bytes });
    net.pass(ms(1));
    let version = net.nodes[node].endpoint.version(Net::HANDLE);
    (net.has(node, Event::Connected), version)
}

// spec: LSP2-1.4
#[test]
fn a_forger_can_force_version_1_under_auto_and_not_otherwise() {
    assert_eq!(forge_an_ack(auto()), (true, Some(Version::V1)));
    assert_eq!(forge_an_ack(v2()), (false, None));
}

// spec: LSP2-3.2
#[test]
fn a_client_talks_only_to_the_server_that_it_pinned() {
    let secret = SecretKey::new([7; 32]);
    let public = secret.public();
    let server = with_keys(Keys {
        secret: Some(secret),
        ..Keys::default()
    });
    let pinning = |key: PublicKey| {
        with_keys(Keys {
            server: Some(key),
            ..Keys::default()
        })
    };
    assert_eq!(
        talk(server.clone(), pinning(public)),
        [Some(Version::V2); 2]
    );
    let mut net = Net::new(server, 6);
    let node = net.dial(pinning(SecretKey::new([8; 32]).public()));
    fails(&mut net, node);
}

// spec: LSP2-3.1
#[test]
fn without_the_shared_key_nobody_connects() {
    let sharing = |byte| {
        with_keys(Keys {
            shared: Some(SharedKey::new([byte; 32])),
            ..Keys::default()
        })
    };
    assert_eq!(talk(sharing(1), sharing(1)), [Some(Version::V2); 2]);
    for (server, client) in [
        (sharing(1), sharing(2)),
        (sharing(1), v2()),
        (v2(), sharing(1)),
    ] {
        let mut net = Net::new(server, 7);
        let node = net.dial(client);
        fails(&mut net, node);
    }
}

// spec: LSP2-3.7
#[test]
fn proof_of_address_costs_one_round_trip() {
    let timed = |validation| {
        let mut net = Net::new(Config { validation, ..v2() }, 8);
        net.faults.latency = (ms(10), ms(10) + ms(1) / 10);
        let start = net.now;
        let node = net.dial(v2());
        assert!(net.run(start.after(ms(1_000)), |net| {
            net.has(node, Event::Connected)
        }));
        net.now.since(start)
    };
    assert!(timed(Validation::UnderLoad) < ms(21));
    let proven = timed(Validation::Always);
    assert!(proven > ms(39) && proven < ms(42), "{proven:?}");
}

/// Strangers with forged addresses: the server keeps a quarter of what it admits, then
/// nothing; a real client still comes in, and nobody is sent more than three times what
/// came from its address.
// spec: LSP2-3.3 LSP2-3.7 LSP2-8.3
#[test]
fn a_flood_of_offers_is_bounded_and_shuts_nobody_out() {
    let mut net = Net::new(
        Config {
            unproven_connections_max: 40,
            ..v2()
        },
        9,
    );
    let offers = Rc::new(RefCell::new(Vec::new()));
    let log = Rc::clone(&offers);
    net.tap = Some(Box::new(move |_, packet| {
        log.borrow_mut().push(packet.bytes.clone());
        false
    }));
    for _ in 0..500 {
        net.dial(v2());
    }
    net.nodes.truncate(1);
    net.tap = None;
    let server = net.nodes[SERVER].address;
    for (port, bytes) in (10_000..).zip(offers.borrow().iter()) {
        let from = SocketAddr::from(([192, 168, 0, 1], port));
        let before = net.nodes[SERVER].written.1;
        net.send(Packet {
            from,
            to: server,
            bytes: bytes.clone(),
        });
        net.pass(ms(1));
        let answered = net.nodes[SERVER].written.1 - before;
        assert!(
            answered <= 3 * bytes.len() as u64,
            "{answered} for {}",
            bytes.len()
        );
    }
    assert!(net.nodes[SERVER].events.is_empty());
    let (node, handle) = net.join(v2());
    net.write(node, Net::HANDLE, "through");
    net.pass(ms(100));
    assert_eq!(net.read(SERVER, handle).unwrap().unwrap(), "through");
    net.pass(ms(15_000));
    assert_eq!(net.nodes[SERVER].endpoint.handles().count(), 1);
}

// spec: LSP2-1.5 LSP2-3.3
#[test]
fn a_handshake_survives_a_lossy_path() {
    for seed in 0..40 {
        let patient = Config {
            epoch_limit: 30,
            ..auto()
        };
        let mut net = Net::new(patient.clone(), 100 + seed);
        net.faults.latency = (ms(20), ms(40));
        net.faults.loss = [30, 30];
        net.faults.duplicate = 20;
        let (node, handle) = net.join(patient);
        let server = &net.nodes[SERVER];
        assert_eq!(server.events.len(), 1, "one connection");
        assert_eq!(server.endpoint.version(handle), Some(Version::V2));
        assert_eq!(net.nodes[node].events.len(), 1);
    }
}

// spec: LSP2-3.3
#[test]
fn an_application_cannot_write_before_the_handshake() {
    let mut net = Net::new(v2(), 10);
    let node = net.dial(v2());
    let refused = net.nodes[node].endpoint.write(Net::HANDLE, Bytes::new());
    assert_eq!(refused, Err(WriteError::Connecting));
    assert_eq!(net.nodes[node].endpoint.id(Net::HANDLE), Some(ConnId::ZERO));
    assert_eq!(net.nodes[node].endpoint.version(Net::HANDLE), None);
}

/// Any bytes at all, at any time, change nothing.
// spec: LSP2-2.2
#[test]
fn noise_on_the_wire_changes_nothing() {
    let mut net = Net::new(auto(), 11);
    let (node, handle) = net.join(auto());
    let (client, server) = (net.nodes[node].address, net.nodes[SERVER].address);
    let sample = Rc::new(RefCell::new(Vec::new()));
    let log = Rc::clone(&sample);
    net.tap = Some(Box::new(move |_, packet| {
        log.borrow_mut().push(packet.clone());
        true
    }));
    net.write(node, Net::HANDLE, "one");
    net.pass(ms(100));
    net.tap = None;
    let sample: Vec<Packet> = sample.borrow().clone();
    for round in 0..2_000 {
        let mut packet = sample[round % sample.len()].clone();
        let prng = &mut net.prng;
        match prng.below(4) {
            // A replay.
            0 => {}
            1 => {
                let place = prng.index(packet.bytes.len());
                packet.bytes[place] ^= 1 << prng.below(8);
            }
            2 => packet.bytes.truncate(prng.index(packet.bytes.len())),
            _ => {
                prng.fill(&mut packet.bytes);
                packet.bytes[0] |= 0x80;
            }
        }
        if prng.chance(1, 2) {
            (packet.from, packet.to) = (server, client);
        }
        net.send(packet);
        net.pass(ms(1) / 10);
    }
    net.write(node, Net::HANDLE, "two");
    net.pass(ms(100));
    assert_eq!(net.read(SERVER, handle).unwrap().unwrap(), "one");
    assert_eq!(net.read(SERVER, handle).unwrap().unwrap(), "two");
    assert_eq!(net.read(SERVER, handle), Ok(None));
    assert_eq!(
        net.nodes[SERVER]
            .events
            .iter()
            .filter(|event| event.2 == Event::Lost)
            .count(),
        0
    );
    assert_eq!(net.nodes[SERVER].endpoint.remote(handle), Some(client));
}
