//! A million small messages from one end to the other, in memory.
//!
//! What to notice: the loop in `carry` is all that a shell does, and the state machine with
//! its JSON codec (or, with `2` as argument, version 2 with its cipher) is the only work. So the time that this takes, divided by a million, is
//! what a message costs before any system call:
//!
//! ```text
//! cargo build --release -p lsp-core --example flood && time target/release/examples/flood
//! time target/release/examples/flood 2
//! ```

use core::time::Duration;
use std::net::SocketAddr;

use bytes::Bytes;
use lsp_core::{Config, Endpoint, Handle, Protocol, Seed, SeqNum};
use stdx::Instant;

const MESSAGES: u64 = 1_000_000;

fn main() -> Result<(), Box<dyn core::error::Error>> {
    let protocol = match std::env::args().nth(1).as_deref() {
        Some("2") => Protocol::V2,
        _ => Protocol::V1,
    };
    let config = Config {
        protocol,
        window_size: 1_000,
        max_unacked_messages: 1_000,
        ..Config::adaptive()
    }
    .validate()?;
    let mut server = Endpoint::server_seeded(config.clone(), &Seed::new([1; 32]));
    let mut client = Endpoint::client_seeded(config, &Seed::new([2; 32]));
    let mut now = Instant::EPOCH;
    let handle = client.connect(now, SERVER, SeqNum::new(1))?;
    let (mut written, mut read) = (0, 0);
    while read < MESSAGES {
        now = now.after(Duration::from_micros(100));
        client.on_timeout(now);
        server.on_timeout(now);
        while written < MESSAGES
            && client
                .write(handle, Bytes::from_static(b"sixteen bytes .."))
                .is_ok()
        {
            written += 1;
        }
        carry(&mut client, &mut server, now);
        let accepted: Vec<Handle> = server.handles().collect();
        for handle in accepted {
            while server.read(handle)?.is_some() {
                read += 1;
            }
        }
        carry(&mut client, &mut server, now);
    }
    assert_eq!(written, MESSAGES);
    assert_eq!(read, MESSAGES);
    Ok(())
}

const SERVER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);
const CLIENT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 2);

/// Takes what each end wants to send to the other.
fn carry(client: &mut Endpoint, server: &mut Endpoint, now: Instant) {
    let mut datagram = Vec::new();
    while client.poll_transmit(now, &mut datagram).is_some() {
        server.on_datagram(now, CLIENT, &datagram);
        datagram.clear();
    }
    while server.poll_transmit(now, &mut datagram).is_some() {
        client.on_datagram(now, SERVER, &datagram);
        datagram.clear();
    }
    while client.poll_event().is_some() {}
    while server.poll_event().is_some() {}
}
