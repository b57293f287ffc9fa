//! Ten thousand connections that were busy once, and have nothing more to say.
//!
//! What to notice: an idle connection is one timer and one heartbeat an epoch, and it keeps
//! no memory of busier times. Peak memory divided by ten thousand is what one costs, and
//! the time of the run divided by the 320 s of the connections' time is the share of a core:
//!
//! ```text
//! cargo build --release -p lsp-core --example idle && command time -v target/release/examples/idle
//! ```

use core::time::Duration;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use bytes::Bytes;
use lsp_core::{Config, ConnId, Endpoint, Message, SeqNum, wire};
use stdx::Instant;

const CONNECTIONS: u16 = 10_000;
/// Connections are busy in so many groups, one group after the other.
const GROUPS: u16 = 50;
/// Two minutes, after the last was busy.
const EPOCHS: u32 = 60;

fn main() -> Result<(), Box<dyn core::error::Error>> {
    let config = Config {
        connections_per_address_max: usize::from(CONNECTIONS),
        unproven_connections_max: usize::from(CONNECTIONS),
        ..Config::adaptive()
    };
    let epoch = config.epoch;
    let mut server = Endpoint::server(config.validate()?);
    let mut now = Instant::EPOCH;
    let mut heartbeats = 0;
    let group = CONNECTIONS / GROUPS;
    for first in (0..CONNECTIONS).step_by(usize::from(group)) {
        for client in first..first + group {
            server.on_datagram(now, address(client), &connect());
            let id = ConnId::new(u64::from(client) + 1);
            burst(&mut server, now, client, id);
        }
        for _ in 0..2 {
            heartbeats += pass_epoch(&mut server, &mut now, epoch, first + group);
        }
    }
    for _ in 0..EPOCHS {
        heartbeats += pass_epoch(&mut server, &mut now, epoch, CONNECTIONS);
    }
    assert_eq!(server.handles().count(), usize::from(CONNECTIONS));
    let expected = u64::from(CONNECTIONS) * u64::from(EPOCHS);
    assert!(heartbeats >= expected, "{heartbeats} heartbeats");
    Ok(())
}

/// One epoch, in which every client says that it lives.
fn pass_epoch(server: &mut Endpoint, now: &mut Instant, epoch: Duration, clients: u16) -> u64 {
    let mut datagrams = 0;
    for client in 0..clients {
        *now = now.after(epoch / u32::from(clients));
        let id = ConnId::new(u64::from(client) + 1);
        server.on_datagram(*now, address(client), &encoded(&Message::heartbeat(id)));
        server.on_timeout(*now);
        datagrams += sent(server, *now);
    }
    datagrams
}

/// A hundred messages from the server, acknowledged; and one from the client, read.
fn burst(server: &mut Endpoint, now: Instant, client: u16, id: ConnId) {
    while let Some((handle, _)) = server.poll_event() {
        for _ in 0..100 {
            server
                .write(handle, Bytes::from_static(b"hello"))
                .expect("the queue is empty");
        }
    }
    let payload = Bytes::from_static(b"hello");
    let (hello, seq) = (SeqNum::new(8), SeqNum::new(107));
    let data = Message::Data {
        id,
        seq: hello,
        payload,
    };
    server.on_datagram(now, address(client), &encoded(&data));
    let mut later = now;
    for _ in 0..100 {
        later = later.after(Duration::from_millis(1));
        sent(server, later);
        server.on_datagram(later, address(client), &encoded(&Message::CAck { id, seq }));
    }
    while let Some((handle, _)) = server.poll_event() {
        while let Ok(Some(_)) = server.read(handle) {}
    }
    sent(server, later);
}

/// Takes what the server wants to send; how many datagrams.
fn sent(server: &mut Endpoint, now: Instant) -> u64 {
    let mut datagrams = 0;
    let mut buffer = Vec::new();
    while server.poll_transmit(now, &mut buffer).is_some() {
        datagrams += 1;
        buffer.clear();
    }
    datagrams
}

fn connect() -> Vec<u8> {
    encoded(&Message::Connect {
        isn: SeqNum::new(7),
        offer: Bytes::new(),
    })
}

fn encoded(message: &Message) -> Vec<u8> {
    let mut datagram = Vec::new();
    wire::encode(message, &mut datagram);
    datagram
}

fn address(client: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 10_000 + client)
}
