//! Ten thousand connections of version 2, both ends of each, busy once and idle since.
//!
//! What to notice: peak memory divided by the twenty thousand ends is what one costs (peak of
//! a run with `1` instead is what the program itself takes), and the time of the run divided
//! by the 120 s of the connections' time is the share of a core for both ends:
//!
//! ```text
//! cargo build --release -p lsp-core --example idle_v2
//! command time -v target/release/examples/idle_v2 10000
//! ```
//!
//! On 2 cores, 24 GB, shared, on 2026-11-21: a peak of 69.0 MB with 10,000 and 2.6 MB with
//! one, so 3.3 KB an end; 11.4 s of processor time, the ten thousand handshakes included.

use core::time::Duration;
use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use lsp_core::{Config, Endpoint, Event, Protocol, Seed, SeqNum};
use stdx::{Instant, Prng};

/// Two minutes of idling, in steps of a millisecond.
const STEPS: u32 = 120_000;

fn main() -> Result<(), Box<dyn core::error::Error>> {
    let connections: u16 = match std::env::args().nth(1) {
        Some(text) => text.parse()?,
        None => 10_000,
    };
    let config = Config {
        protocol: Protocol::V2,
        connections_per_address_max: usize::from(connections),
        ..Config::default()
    };
    let config = config.validate()?;
    let mut prng = Prng::from_seed(1);
    let mut server = Endpoint::server_seeded(config.clone(), &Seed::insecure(&mut prng));
    let mut client = Endpoint::client_seeded(config, &Seed::insecure(&mut prng));
    let mut now = Instant::EPOCH;
    let mut carried = 0_u64;
    let mut greeted = 0;
    for number in 0..connections {
        let handle = client.connect(now, address(number), SeqNum::new(u64::from(number) + 1))?;
        carry(&mut client, &mut server, now);
        client.write(handle, Bytes::from_static(b"hello"))?;
        carried += carry(&mut client, &mut server, now);
        now = now.after(Duration::from_micros(200));
    }
    while let Some((handle, event)) = server.poll_event() {
        if event == Event::Readable {
            greeted += usize::from(server.read(handle)?.is_some());
        }
    }
    assert_eq!(greeted, usize::from(connections), "each was busy once");
    while client.poll_event().is_some() {}
    for _ in 0..STEPS {
        now = now.after(Duration::from_millis(1));
        client.on_timeout(now);
        server.on_timeout(now);
        carried += carry(&mut client, &mut server, now);
    }
    assert_eq!(server.handles().count(), usize::from(connections));
    assert!(carried > u64::from(connections), "heartbeats were sent");
    Ok(())
}

/// Each connection has an address of its own, the same seen from both ends.
fn address(number: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(10, 0, 0, 1), 1_000 + number))
}

/// Carries what both ends want to send until they are quiet; how many datagrams.
fn carry(client: &mut Endpoint, server: &mut Endpoint, now: Instant) -> u64 {
    let mut buffer = Vec::new();
    let mut carried = 0;
    loop {
        buffer.clear();
        if let Some(transmit) = client.poll_transmit(now, &mut buffer) {
            server.on_datagram(now, transmit.to, &buffer);
        } else if let Some(transmit) = server.poll_transmit(now, &mut buffer) {
            client.on_datagram(now, transmit.to, &buffer);
        } else {
            return carried;
        }
        carried += 1;
    }
}
