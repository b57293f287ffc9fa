//! Bodies of fuzz targets. Public so that a fuzzer's crate outside the workspace and
//! the tests within it run the same code; no part of the interface.

mod v2;

use std::net::SocketAddr;

use core::time::Duration;
use stdx::Instant;

pub use self::v2::{codec_v2, codec_v2_samples, endpoint_v2, endpoint_v2_samples};
use crate::{Config, Endpoint, Message, SeqNum, wire};

/// Whatever reads as a message writes as one that reads the same.
///
/// # Panics
///
/// When it doesn't: that is what a fuzzer looks for.
pub fn codec(bytes: &[u8]) {
    let Ok(message) = wire::decode(bytes) else {
        return;
    };
    let mut written = Vec::new();
    wire::encode(&message, &mut written);
    assert_eq!(written.len(), wire::encoded_len(&message), "{message:?}");
    // A Connect's offer may be anything; only what fits a datagram survives the way back.
    if written.len() <= crate::limits::DATAGRAM_BYTES_MAX {
        assert_eq!(wire::decode(&written), Ok(message));
    }
}

/// An endpoint takes any sequence of datagrams and times, and keeps its promises to
/// itself.
///
/// The input is cut into steps of two bytes of what to do and up to 255 bytes of datagram.
///
/// # Panics
///
/// When an invariant breaks: that is what a fuzzer looks for.
pub fn endpoint(mut bytes: &[u8]) {
    let config = Config::adaptive().validate().expect("the preset is legal");
    let mut endpoint = Endpoint::server(config);
    let mut now = Instant::EPOCH;
    let mut buffer = Vec::new();
    while let [what, length, rest @ ..] = bytes {
        let (datagram, rest) = rest.split_at(rest.len().min(usize::from(*length)));
        bytes = rest;
        let port = 1_000 + u16::from(what & 3);
        let from = SocketAddr::from(([10, 0, 0, 1], port));
        now = now.after(Duration::from_millis(u64::from(what >> 2) * 50));
        endpoint.on_timeout(now);
        match what & 0b1100 {
            0 => endpoint.on_datagram(now, from, datagram),
            4 => endpoint.on_datagram(now, from, &forged(datagram)),
            8 => read_all(&mut endpoint),
            _ => write_all(&mut endpoint, datagram),
        }
        buffer.clear();
        while endpoint.poll_transmit(now, &mut buffer).is_some() {}
        while endpoint.poll_event().is_some() {}
        endpoint.check_invariants();
    }
}

/// A well-formed message with hostile numbers.
fn forged(bytes: &[u8]) -> Vec<u8> {
    let byte = |index: usize| u64::from(bytes.get(index).copied().unwrap_or(0));
    let id = crate::ConnId::new(byte(1) & 3);
    let far = if byte(2) & 0x80 == 0 { 0 } else { 1 << 62 };
    let seq = SeqNum::new(byte(3) + far);
    let message = match byte(0) & 3 {
        0 => Message::Connect {
            isn: seq,
            offer: bytes::Bytes::new(),
        },
        1 => Message::Data {
            id,
            seq,
            payload: bytes::Bytes::copy_from_slice(bytes),
        },
        2 => Message::Ack { id, seq },
        _ => Message::CAck { id, seq },
    };
    let mut datagram = Vec::new();
    wire::encode(&message, &mut datagram);
    datagram
}

fn read_all(endpoint: &mut Endpoint) {
    let handles: Vec<_> = endpoint.handles().collect();
    for handle in handles {
        while let Ok(Some(_)) = endpoint.read(handle) {}
    }
}

fn write_all(endpoint: &mut Endpoint, payload: &[u8]) {
    let handles: Vec<_> = endpoint.handles().collect();
    for handle in handles {
        // A refused write is an answer, not a failure.
        let _refused = endpoint.write(handle, bytes::Bytes::copy_from_slice(payload));
    }
}
