//! Version 2 under hostile bytes: raw ones, and ones under the right keys.

use core::time::Duration;
use std::net::SocketAddr;

use bytes::Bytes;
use stdx::Instant;

use crate::fuzz::{read_all, write_all};
use crate::v2::crypto::Sealer;
use crate::v2::frame::{self, Frame};
use crate::v2::noise::Initiator;
use crate::v2::packet::{self, Offer, Packet, Params, PathId};
use crate::{Config, Endpoint, Message, Protocol, Seed, SeqNum, wire};

/// Whatever reads as a packet, an offer, promises or frames does so without a panic, and
/// what can be written again reads the same.
///
/// # Panics
///
/// When it doesn't: that is what a fuzzer looks for.
pub fn codec_v2(bytes: &[u8]) {
    if let Some(Packet::Data { header, sealed, .. }) = packet::decode(bytes) {
        assert_eq!(
            header.len() + sealed.len(),
            bytes.len(),
            "all of it is used"
        );
    }
    if let Some(offer) = Offer::decode(bytes) {
        assert_eq!(offer.encode(), bytes, "an offer has one form");
    }
    if let Some(params) = Params::decode(bytes) {
        assert_eq!(Params::decode(&params.encode()), Some(params));
    }
    let mut rest = bytes;
    while !rest.is_empty() {
        let before = rest.len();
        match frame::take(&mut rest) {
            Ok(Frame::Ack(ack)) => {
                let mut below = ack.largest + 1;
                for range in ack.ranges() {
                    assert!(range.start < range.end && range.end <= below, "{range:?}");
                    below = range.start;
                }
            }
            Ok(_) => {}
            Err(frame::Malformed) => break,
        }
        assert!(rest.len() < before, "a frame has a length");
    }
}

/// A client that knows the keys and writes what it likes.
struct Rogue {
    sealer: Sealer,
    path: PathId,
    number: u64,
}

impl Rogue {
    /// Shakes hands with a server.
    fn connect(server: &mut Endpoint, now: Instant, from: SocketAddr, draw: u8) -> Option<Self> {
        let client = PathId::from(draw);
        let isn = SeqNum::new(7);
        let params = Params {
            window: 1 << 16,
            message_bytes_max: 1 << 16,
            ack_delay_micros: 5_000,
            datagram_bytes_max: 1_472,
            server: None,
        };
        let prologue = Offer::prologue(client, isn.get());
        let mut message = Vec::new();
        let payload = params.encode();
        let mut initiator =
            Initiator::start([draw; 32], None, &prologue, &payload, &mut message).ok()?;
        let offer = Offer {
            client,
            cookie: &[],
            message: &message,
        };
        let offer = Bytes::from(offer.encode());
        let mut datagram = Vec::new();
        wire::encode(&Message::Connect { isn, offer }, &mut datagram);
        server.on_datagram(now, from, &datagram);
        let mut buffer = Vec::new();
        while server.poll_transmit(now, &mut buffer).is_some() {
            if let Some(Packet::Accept { message, .. }) = packet::decode(&buffer) {
                let (payload, split) = initiator.finish(None, message).ok()?;
                let path = Params::decode(&payload)?.server?.path;
                return Some(Self {
                    sealer: Sealer::new(split.to_server),
                    path,
                    number: 0,
                });
            }
            buffer.clear();
        }
        None
    }

    /// A packet with any frames.
    fn seal(&mut self, skip: u8, frames: &[u8]) -> Vec<u8> {
        self.number += 1 + u64::from(skip);
        let mut packet = Vec::new();
        packet::put_data_header(&mut packet, self.path, self.number, self.sealer.is_odd());
        let body = packet.len();
        packet.extend_from_slice(frames);
        self.sealer.seal(self.number, &mut packet, 0, body);
        packet
    }
}

/// A server of version 2 takes any datagrams, and any frames of clients that have the keys,
/// and keeps its promises to itself.
///
/// The input is cut into steps of two bytes of what to do and up to 255 bytes of content.
///
/// # Panics
///
/// When an invariant breaks: that is what a fuzzer looks for.
pub fn endpoint_v2(mut bytes: &[u8]) {
    let config = Config {
        protocol: Protocol::Auto,
        receive_bytes_max: 4_096,
        message_bytes_max: 1_024,
        unproven_connections_max: 8,
        key_update_packets: 16,
        ..Config::default()
    };
    let config = config.validate().expect("the configuration is legal");
    let mut server = Endpoint::server_seeded(config, &Seed::new([1; 32]));
    let mut now = Instant::EPOCH.after(Duration::from_secs(100));
    let mut rogue = None;
    let mut draw = 0_u8;
    let mut buffer = Vec::new();
    while let [what, length, rest @ ..] = bytes {
        let (content, rest) = rest.split_at(rest.len().min(usize::from(*length)));
        bytes = rest;
        let host = if what & 0b10_0000 == 0 { 1 } else { 2 };
        let from = SocketAddr::from(([10, 0, 0, host], 1_000));
        now = now.after(Duration::from_millis(u64::from(what >> 6) * 40));
        server.on_timeout(now);
        match what & 0b111 {
            0 => server.on_datagram(now, from, content),
            1 => read_all(&mut server),
            2 => write_all(&mut server, content),
            3 => {
                draw = draw.wrapping_add(1);
                rogue = Rogue::connect(&mut server, now, from, draw).or(rogue);
            }
            4 => now = now.after(Duration::from_millis(u64::from(*length) * 50)),
            skip => {
                if let Some(rogue) = &mut rogue {
                    let packet = rogue.seal(skip - 5, content);
                    server.on_datagram(now, from, &packet);
                }
            }
        }
        buffer.clear();
        let mut datagrams = 0;
        while server.poll_transmit(now, &mut buffer).is_some() {
            datagrams += 1;
            assert!(datagrams < 10_000, "it never stops sending");
        }
        while server.poll_event().is_some() {}
        server.check_invariants();
    }
}

/// Good input for [`codec_v2`].
#[must_use]
pub fn codec_v2_samples() -> Vec<Vec<u8>> {
    let offer = Offer {
        client: 7,
        cookie: &[1; 36],
        message: &[2; 40],
    };
    let mut data = Vec::new();
    packet::put_data_header(&mut data, 7, 1, true);
    data.extend([0; 20]);
    vec![offer.encode(), data, frames_sample()]
}

fn frames_sample() -> Vec<u8> {
    let mut frames = vec![2, 9, 0, 1, 2, 1, 1];
    frame::put_stream_head(&mut frames, 0, Some(4));
    frames.extend(b"\x03abc");
    frame::put_limit(&mut frames, 100_000);
    frame::put_challenge(&mut frames, 5);
    frame::put_ping(&mut frames);
    frames
}

/// Good input for [`endpoint_v2`].
#[must_use]
pub fn endpoint_v2_samples() -> Vec<Vec<u8>> {
    let mut stream = Vec::new();
    frame::put_stream_head(&mut stream, 0, None);
    stream.extend(b"\x05hello\x02hi");
    let mut late = Vec::new();
    frame::put_stream_head(&mut late, 9, None);
    late.extend(b"\x01x");
    let mut close = Vec::new();
    frame::put_close(&mut close, 0);
    let ack = [2, 0, 0, 0, 0];
    let frames: [(u8, &[u8]); 9] = [
        (3, &[]),
        (5, &stream),
        (6, &late),
        (2, b"from the server"),
        (5, &ack),
        (0x25, &frames_sample()[7..]),
        (1, &[]),
        (4, &[9; 9]),
        (5, &close),
    ];
    let mut steps = Vec::new();
    for (what, content) in frames {
        steps.push(what);
        steps.push(u8::try_from(content.len()).expect("short"));
        steps.extend_from_slice(content);
    }
    vec![steps]
}
