//! Long messages, long datagrams, slow readers, keys, and what things cost.

use core::time::Duration;

use bytes::Bytes;
use lsp_core::{Config, ConfigError, Event, WriteError};

use crate::v2::net::{Faults, Net, SERVER, ms, v2};

/// Sends messages of given lengths and reads them all.
fn carry(net: &mut Net, lengths: &[usize], config: Config) -> (usize, lsp_core::Handle) {
    let (node, handle) = net.join(config);
    let mut read = 0;
    let mut written = 0;
    let done = net.run(net.now.after(ms(120_000)), |net| {
        while written < lengths.len() {
            let byte = u8::try_from(written % 251).unwrap();
            let payload = Bytes::from(vec![byte; lengths[written]]);
            match net.nodes[node].endpoint.write(Net::HANDLE, payload) {
                Ok(()) => written += 1,
                Err(error) => {
                    assert_eq!(error, WriteError::Full);
                    break;
                }
            }
        }
        net.flush(node);
        while let Some(payload) = net.read(SERVER, handle).unwrap() {
            assert_eq!(payload.len(), lengths[read]);
            let byte = u8::try_from(read % 251).unwrap();
            assert!(payload.iter().all(|&other| other == byte));
            read += 1;
        }
        read == lengths.len()
    });
    assert!(done, "{read} of {}", lengths.len());
    (node, handle)
}

// spec: LSP2-4.2 LSP2-6.1 LSP2-6.2 LSP2-6.3
#[test]
fn messages_of_every_length_arrive() {
    let mut net = Net::new(v2(), 1);
    net.faults = Faults::reference();
    net.faults.loss = [3, 3];
    let mut lengths: Vec<usize> = (0..600).collect();
    lengths.extend([1_000_000, 1 << 20, 0, 0, 65_536, 1, 1 << 20]);
    let (node, _) = carry(&mut net, &lengths, v2());
    let bytes = (1 << 20) + 1;
    let refused = net.nodes[node]
        .endpoint
        .write(Net::HANDLE, Bytes::from(vec![0; bytes]));
    let bytes_max = 1 << 20;
    assert_eq!(refused, Err(WriteError::TooLong { bytes, bytes_max }));
}

/// A window hardly larger than the longest message, so that each message needs all of it.
// spec: LSP2-6.2
#[test]
fn a_small_window_carries_messages_as_long_as_itself() {
    let narrow = Config {
        receive_bytes_max: 10_008,
        send_bytes_max: 25_000,
        message_bytes_max: 10_000,
        ..v2()
    };
    let mut net = Net::new(narrow.clone(), 2);
    net.faults.latency = (ms(5), ms(9));
    net.faults.loss = [5, 5];
    let lengths: Vec<usize> = (0..60)
        .map(|step| [7, 10_000, 9_990, 0][step % 4])
        .collect();
    carry(&mut net, &lengths, narrow);
}

// spec: LSP2-6.1 LSP2-8.1 LSP2-8.2
#[test]
fn a_reader_that_sleeps_stops_the_writer_and_costs_a_window() {
    let small = Config {
        receive_bytes_max: 50_000,
        message_bytes_max: 1_000,
        send_bytes_max: 100_000,
        ..v2()
    };
    let mut net = Net::new(small.clone(), 3);
    let (node, handle) = net.join(small);
    let mut written = 0_u64;
    let mut refused = false;
    net.run(net.now.after(ms(5_000)), |net| {
        let payload = Bytes::from(vec![b'x'; 500]);
        match net.nodes[node].endpoint.write(Net::HANDLE, payload) {
            Ok(()) => written += 1,
            Err(error) => {
                assert_eq!(error, WriteError::Full);
                refused = true;
            }
        }
        net.flush(node);
        let next = net.now.after(ms(1));
        net.wish(next);
        false
    });
    assert!(refused && !net.has(node, Event::Writable));
    let held = net.nodes[SERVER].endpoint.held_bytes();
    assert!(held > 40_000 && held <= 50_000, "{held}");
    let mut read = 0;
    let done = net.run(net.now.after(ms(10_000)), |net| {
        read += u64::from(net.read(SERVER, handle).unwrap().is_some());
        let next = net.now.after(ms(1));
        net.wish(next);
        read == written
    });
    assert!(done, "{read} of {written}");
    assert!(net.has(node, Event::Writable));
}

// spec: LSP2-9.1 LSP2-9.2
#[test]
fn the_longest_datagram_of_the_path_is_found() {
    for (path, ceiling) in [
        (1_472, 1_472),
        (1_472, 9_000),
        (1_350, 1_472),
        (1_200, 1_472),
    ] {
        let config = Config {
            datagram_bytes_max: ceiling,
            ..v2()
        };
        let mut net = Net::new(config.clone(), 4);
        net.faults.latency = (ms(10), ms(12));
        net.faults.mtu = path;
        let (node, _) = net.join(config);
        net.pass(ms(30_000));
        let found = net.nodes[node]
            .endpoint
            .datagram_bytes(Net::HANDLE)
            .unwrap();
        assert!(
            found <= path && found + 16 > path.min(ceiling),
            "{found} of {path}"
        );
    }
}

// spec: LSP2-9.3
#[test]
fn a_path_that_becomes_narrow_is_noticed() {
    let mut net = Net::new(v2(), 5);
    net.faults = Faults::reference();
    let (node, handle) = net.join(v2());
    net.pass(ms(1_000));
    let longest = |net: &Net| {
        net.nodes[node]
            .endpoint
            .datagram_bytes(Net::HANDLE)
            .unwrap()
    };
    assert_eq!(longest(&net), 1_472);
    net.faults.mtu = 1_300;
    let start = net.now;
    net.write(node, Net::HANDLE, vec![b'x'; 500_000]);
    let done = net.run(start.after(ms(8_000)), |net| {
        net.read(SERVER, handle).unwrap().is_some()
    });
    assert!(done, "stuck at {} bytes", longest(&net));
    assert_eq!(longest(&net), 1_200);
    net.pass(ms(61_000));
    net.faults.mtu = 1_472;
    net.pass(ms(700_000));
    assert_eq!(longest(&net), 1_472);
}

// spec: LSP2-3.6
#[test]
fn keys_change_under_way() {
    let config = Config {
        key_update_packets: 50,
        ..v2()
    };
    let mut net = Net::new(config.clone(), 6);
    net.faults = Faults::reference();
    net.faults.loss = [5, 5];
    net.faults.latency = (ms(20), ms(60));
    let lengths = vec![20_000; 100];
    let (node, handle) = carry(&mut net, &lengths, config);
    let ours = net.nodes[node]
        .endpoint
        .key_generation(Net::HANDLE)
        .unwrap();
    let theirs = net.nodes[SERVER].endpoint.key_generation(handle).unwrap();
    assert!(ours >= 10 && theirs >= 5, "{ours} and {theirs} times");
}

// spec: LSP2-6.3
#[test]
fn a_configuration_that_could_stall_is_refused() {
    let config = Config {
        receive_bytes_max: 1 << 20,
        ..v2()
    };
    let error = config.validate().unwrap_err();
    assert!(matches!(
        error,
        ConfigError::OutOfBounds {
            field: "message_bytes_max",
            ..
        }
    ));
}

/// The next timer is found without looking at every connection, so that many idle
/// connections cost their heartbeats and nothing else.
// spec: LSP2-8.5
#[test]
fn two_hundred_idle_connections_cost_their_heartbeats() {
    let mut net = Net::new(v2(), 7);
    for _ in 0..200 {
        net.join(v2());
    }
    net.pass(Duration::from_secs(10));
    let before: u64 = net.nodes.iter().map(|node| node.written.0).sum();
    net.pass(Duration::from_secs(20));
    let after: u64 = net.nodes.iter().map(|node| node.written.0).sum();
    let each = (after - before) / 200;
    assert!(
        (18..=22).contains(&each),
        "{each} datagrams in ten epochs, both ends"
    );
}
