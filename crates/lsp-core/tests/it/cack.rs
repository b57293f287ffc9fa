//! A middlebox that turns runs of Acks into one `CAck`. `TestCAckServer1`-`4`.
//!
//! Whoever sent the data must understand: in the 12 epochs after, it sends none again.

use std::collections::BTreeMap;

use lsp_core::{Config, ConnId, Message, SeqNum};
use stdx::Prng;

use crate::net::{Net, SERVER, Sniffed, ms, params};

/// How many messages each client writes, and which Acks the middlebox drops.
#[derive(Clone, Copy)]
struct Draw {
    random_count: bool,
    random_drops: bool,
}

fn cack_server(config: Config, draw: Draw) {
    let unacked = config.max_unacked_messages;
    let mut net = Net::new(config, 8);
    net.dial_all(5, |prng| 1 + prng.below(256));
    let count = if draw.random_count {
        1 + net.prng.index(unacked)
    } else {
        unacked
    };
    let mut last: BTreeMap<ConnId, SeqNum> = BTreeMap::new();
    for client in net.clients() {
        let connection = net.nodes[client].endpoint.connection(Net::HANDLE).unwrap();
        last.insert(connection.id(), connection.isn().plus(count as u64));
    }
    let mut prng = Prng::from_seed(9);
    net.middlebox = Some(Box::new(move |message| {
        let Message::Ack { id, seq } = *message else {
            return true;
        };
        if seq == SeqNum::ZERO {
            return true;
        }
        if seq < last[&id] {
            return draw.random_drops && prng.chance(1, 2);
        }
        assert_eq!(seq, last[&id], "an Ack of what was never sent");
        *message = Message::CAck { id, seq };
        true
    }));
    for client in net.clients() {
        for _ in 0..count {
            net.client_write(client, "TestMessage");
        }
    }
    let reads = |net: &mut Net| {
        while let Some((_, outcome)) = net.read(SERVER) {
            outcome.unwrap();
        }
        false
    };
    net.run(net.now.after(ms(2_000)), reads);
    net.middlebox = None;
    net.sniffed = Some(Sniffed::default());
    net.run(net.now.after(ms(12_000)), reads);
    let sniffed = net.sniffed.take().unwrap();
    assert_eq!(sniffed.data, 0, "no data after everything was acknowledged");
    assert!(sniffed.sent.len() >= 5 * 12, "heartbeats went on");
}

const ALL: Draw = Draw {
    random_count: false,
    random_drops: false,
};

// spec: LSP-5.2
#[test]
fn c_ack_server1() {
    cack_server(params(5, 1_000, 1, 0, 1), ALL);
}

#[test]
fn c_ack_server2() {
    cack_server(params(5, 1_000, 100, 0, 50), ALL);
}

#[test]
fn c_ack_server3() {
    let draw = Draw {
        random_count: true,
        ..ALL
    };
    cack_server(params(5, 1_000, 100, 0, 100), draw);
}

#[test]
fn c_ack_server4() {
    let draw = Draw {
        random_count: true,
        random_drops: true,
    };
    cack_server(params(5, 1_000, 100, 0, 100), draw);
}
