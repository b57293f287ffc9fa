//! How connections end, and where they go.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

use bytes::Bytes;
use lsp_core::{
    Config, EndReason, Endpoint, Event, Handle, Keys, ReadError, SecretKey, Seed, WriteError,
};

use crate::v2::net::{Faults, Net, Packet, SERVER, ms, v2};

fn reason(net: &Net, node: usize, handle: Handle) -> Option<EndReason> {
    net.nodes[node].endpoint.end_reason(handle)
}

// spec: LSP2-7.2
#[test]
fn a_close_delivers_what_was_written_and_tells_the_peer_at_once() {
    let mut net = Net::new(v2(), 1);
    net.faults = Faults::reference();
    let (node, handle) = net.join(v2());
    for number in 0..100 {
        net.write(node, Net::HANDLE, format!("{number}"));
    }
    let start = net.now;
    net.close(node, Net::HANDLE);
    assert_eq!(
        net.nodes[node].endpoint.write(Net::HANDLE, Bytes::new()),
        Err(WriteError::Closed)
    );
    let over = net.run(start.after(ms(1_000)), |net| {
        net.has(SERVER, Event::Lost) && net.has(node, Event::Closed)
    });
    assert!(over);
    let took = net.now.since(start);
    assert!(took < ms(250), "not an epoch of 2 s: {took:?}");
    assert_eq!(reason(&net, SERVER, handle), Some(EndReason::PeerClosed));
    for number in 0..100 {
        let text = net.read(SERVER, handle).unwrap().unwrap();
        assert_eq!(text, number.to_string());
    }
    assert_eq!(net.read(SERVER, handle), Err(ReadError::Lost));
    net.pass(ms(1_000));
    for node in &net.nodes {
        assert!(node.endpoint.is_empty());
        assert_eq!(node.endpoint.poll_timeout(), None);
    }
}

// spec: LSP2-7.1 LSP2-7.2
#[test]
fn both_ends_may_close_at_once() {
    for seed in 0..30 {
        let mut net = Net::new(v2(), 10 + seed);
        net.faults.latency = (ms(5), ms(30));
        let (node, handle) = net.join(v2());
        net.faults.loss = [20, 20];
        net.write(node, Net::HANDLE, "last words");
        net.write(SERVER, handle, "last words, too");
        net.close(node, Net::HANDLE);
        net.close(SERVER, handle);
        let start = net.now;
        let over = net.run(start.after(ms(20_000)), |net| {
            let ended = |node| net.has(node, Event::Closed) || net.has(node, Event::Lost);
            ended(node) && ended(SERVER)
        });
        assert!(over, "seed {seed}");
    }
}

// spec: LSP2-7.4
#[test]
fn a_server_started_anew_resets_its_old_connections() {
    let server = Config {
        keys: Keys {
            secret: Some(SecretKey::new([7; 32])),
            ..Keys::default()
        },
        ..v2()
    };
    let mut net = Net::new(server.clone(), 2);
    let (node, _) = net.join(v2());
    net.pass(ms(100));
    let seed = Seed::new([9; 32]);
    net.nodes[SERVER].endpoint = Endpoint::server_seeded(server.validate().unwrap(), &seed);
    // A forged reset first: another proof.
    let mut bytes = vec![0xb0];
    bytes.extend([0; 24]);
    let (from, to) = (net.nodes[SERVER].address, net.nodes[node].address);
    net.send(Packet { from, to, bytes });
    net.pass(ms(10));
    assert!(!net.has(node, Event::Lost));
    net.write(node, Net::HANDLE, "are you there?");
    net.pass(ms(10));
    assert!(net.has(node, Event::Lost));
    assert_eq!(reason(&net, node, Net::HANDLE), Some(EndReason::Reset));
}

// spec: LSP2-8.4 LSP2-8.5
#[test]
fn a_silent_peer_is_lost_in_time_and_heartbeats_keep_an_idle_one() {
    let mut net = Net::new(v2(), 3);
    let (node, handle) = net.join(v2());
    let before = net.nodes[node].written.0;
    net.pass(ms(60_000));
    assert!(!net.has(node, Event::Lost) && !net.has(SERVER, Event::Lost));
    let heartbeats = net.nodes[node].written.0 - before;
    assert!(
        (28..=36).contains(&heartbeats),
        "one an epoch: {heartbeats}"
    );
    net.faults.loss = [100, 100];
    let heard = net.nodes[node].heard_at;
    net.write(node, Net::HANDLE, "into the void");
    net.pass(ms(60_000));
    for (place, handle) in [(node, Net::HANDLE), (SERVER, handle)] {
        let lost = net.nodes[place]
            .events
            .iter()
            .find(|event| event.2 == Event::Lost);
        let silence = lost.expect("lost").0.since(heard);
        // A little less than the limit is possible, since both hear at other times.
        assert!(silence >= ms(7_900) && silence <= ms(14_100), "{silence:?}");
        assert_eq!(reason(&net, place, handle), Some(EndReason::Silent));
        assert_eq!(net.nodes[place].endpoint.poll_timeout(), None);
    }
}

/// Writes numbered messages while the client changes its address now and then.
// spec: LSP2-7.3
#[test]
fn a_client_that_moves_keeps_its_connection() {
    let mut net = Net::new(v2(), 4);
    net.faults = Faults::reference();
    net.faults.loss = [2, 2];
    let (node, handle) = net.join(v2());
    let start = net.now;
    let (mut written, mut up, mut down) = (0_u64, 0_u64, 0_u64);
    for step in 0..40_u8 {
        let address = match step % 3 {
            0 => SocketAddr::from(([10, 0, 0, 1], 6_000 + u16::from(step))),
            _ => SocketAddr::from(([10, 1, step, 1], 6_000)),
        };
        if step % 4 == 1 {
            net.rebind(node, address);
            if step % 8 == 1 {
                let now = net.now;
                net.nodes[node].endpoint.on_rebound(now);
                net.flush(node);
            }
        }
        for _ in 0..50 {
            net.write(node, Net::HANDLE, format!("{written}"));
            net.write(SERVER, handle, format!("{written}"));
            written += 1;
        }
        net.run(start.after(ms(500 * (u64::from(step) + 1))), |net| {
            while let Some(text) = net.read(SERVER, handle).unwrap() {
                assert_eq!(text, up.to_string());
                up += 1;
            }
            while let Some(text) = net.read(node, Net::HANDLE).unwrap() {
                assert_eq!(text, down.to_string());
                down += 1;
            }
            false
        });
    }
    let done = net.run(net.now.after(ms(5_000)), |net| {
        while net.read(SERVER, handle).unwrap().is_some() {
            up += 1;
        }
        while net.read(node, Net::HANDLE).unwrap().is_some() {
            down += 1;
        }
        up == written && down == written
    });
    assert!(done, "{up} and {down} of {written}");
    let address = net.nodes[node].address;
    assert_eq!(net.nodes[SERVER].endpoint.remote(handle), Some(address));
}

/// Somebody copies packets and sends them from elsewhere, faster than the client's own.
// spec: LSP2-7.3
#[test]
fn a_copied_packet_moves_nothing_and_floods_nobody() {
    let mut net = Net::new(v2(), 5);
    net.faults.latency = (ms(20), ms(21));
    let (node, handle) = net.join(v2());
    let home = net.nodes[node].address;
    let victim = SocketAddr::from(([66, 6, 6, 6], 666));
    let sent = Rc::new(RefCell::new((0_usize, 0_usize)));
    let log = Rc::clone(&sent);
    let server = net.nodes[SERVER].address;
    net.tap = Some(Box::new(move |_, packet| {
        let mut log = log.borrow_mut();
        if packet.from == home {
            // The copy arrives instead of the original.
            packet.from = victim;
            log.0 += packet.bytes.len();
        } else if packet.from == server && packet.to == victim {
            log.1 += packet.bytes.len();
        }
        true
    }));
    for number in 0..20 {
        net.write(node, Net::HANDLE, format!("{number}"));
        net.write(SERVER, handle, format!("{number}"));
        net.pass(ms(100));
    }
    assert_eq!(net.nodes[SERVER].endpoint.remote(handle), Some(home));
    let (from, to) = *sent.borrow();
    assert!(to > 0 && to <= 3 * from, "{to} for {from}");
    for number in 0..20 {
        let text = net.read(node, Net::HANDLE).unwrap().unwrap();
        assert_eq!(text, number.to_string());
    }
}

/// A router forgets a client that only listens, and gives it another address. Nothing tells
/// the client; the server hears its next sign of life from there.
// spec: LSP2-7.3 LSP2-8.4
#[test]
fn a_listener_that_its_router_forgot_is_found_with_its_next_sign_of_life() {
    let mut net = Net::new(v2(), 6);
    net.faults = Faults::reference();
    let (node, handle) = net.join(v2());
    net.pass(ms(1_000));
    let (mut written, mut read) = (0_u64, 0_u64);
    for step in 0..8_u8 {
        // Another port, then another host, and so on.
        net.rebind(
            node,
            SocketAddr::from(([10, 2, step / 2, 1], 7_000 + u16::from(step))),
        );
        let start = net.now;
        for _ in 0..20 {
            net.write(SERVER, handle, format!("{written}"));
            written += 1;
        }
        let done = net.run(start.after(ms(30_000)), |net| {
            while let Some(text) = net.read(node, Net::HANDLE).unwrap() {
                assert_eq!(text, read.to_string());
                read += 1;
            }
            read == written
        });
        let took = net.now.since(start);
        println!("step {step}: {took:?}");
        // It spoke in this epoch, perhaps; then it speaks at the end of the next. After
        // that there and back, and the data once more.
        assert!(done && took <= ms(2 * 2_000 + 500), "{took:?}");
        net.pass(ms(700));
    }
}
