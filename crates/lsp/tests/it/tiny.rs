//! A tiny end of LSP of another make: plain JSON over a blocking socket, as a student
//! would write it, sharing no code with ours.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

pub(crate) const CONNECT: u64 = 0;
pub(crate) const DATA: u64 = 1;
pub(crate) const ACK: u64 = 2;
pub(crate) const CACK: u64 = 3;

/// What arrived: the fields that matter.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Heard {
    pub(crate) from: SocketAddr,
    pub(crate) kind: u64,
    pub(crate) id: u64,
    pub(crate) seq: u64,
    pub(crate) payload: Vec<u8>,
    pub(crate) text: String,
}

pub(crate) struct Tiny {
    socket: UdpSocket,
}

impl Tiny {
    pub(crate) fn new(socket: UdpSocket) -> Self {
        socket
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        Self { socket }
    }

    pub(crate) fn local(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    /// The next datagram, whatever it is.
    pub(crate) fn hear(&self) -> Heard {
        let mut buffer = [0; 4_096];
        let (bytes, from) = self.socket.recv_from(&mut buffer).unwrap();
        let text = String::from_utf8(buffer[..bytes].to_vec()).unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        let payload = match &value["Payload"] {
            Value::Null => Vec::new(),
            payload => STANDARD.decode(payload.as_str().unwrap()).unwrap(),
        };
        let number = |field: &str| value[field].as_u64().unwrap();
        let heard = Heard {
            from,
            kind: number("Type"),
            id: number("ConnID"),
            seq: number("SeqNum"),
            payload,
            text,
        };
        if heard.kind == DATA {
            let sum = checksum(heard.id, heard.seq, &heard.payload);
            assert_eq!(number("Checksum"), u64::from(sum), "{}", heard.text);
            assert_eq!(number("Size"), heard.payload.len() as u64);
        }
        heard
    }

    /// The next datagram that isn't a heartbeat.
    pub(crate) fn hear_message(&self) -> Heard {
        loop {
            let heard = self.hear();
            if heard.kind != ACK || heard.seq != 0 {
                return heard;
            }
        }
    }

    pub(crate) fn send(&self, to: SocketAddr, kind: u64, id: u64, seq: u64) {
        let message = json!({
            "Type": kind, "ConnID": id, "SeqNum": seq, "Size": 0, "Checksum": 0, "Payload": null
        });
        self.socket
            .send_to(message.to_string().as_bytes(), to)
            .unwrap();
    }

    pub(crate) fn send_data(&self, to: SocketAddr, id: u64, seq: u64, payload: &[u8]) {
        let message = json!({
            "Type": DATA, "ConnID": id, "SeqNum": seq, "Size": payload.len(),
            "Checksum": checksum(id, seq, payload), "Payload": STANDARD.encode(payload)
        });
        self.socket
            .send_to(message.to_string().as_bytes(), to)
            .unwrap();
    }

    /// Connects as a client; the id that the server gave.
    pub(crate) fn connect(&self, to: SocketAddr, isn: u64) -> u64 {
        self.send(to, CONNECT, 0, isn);
        loop {
            let heard = self.hear();
            if heard.kind == ACK && heard.id != 0 && heard.seq == isn {
                return heard.id;
            }
        }
    }
}

/// The original's checksum, written from its description.
fn checksum(id: u64, seq: u64, payload: &[u8]) -> u16 {
    let halves = |number: u64| {
        let low = u32::try_from(number & 0xffff_ffff).unwrap();
        let (high, low) = (low >> 16, low & 0xffff);
        u32::from(
            u16::try_from(high)
                .unwrap()
                .wrapping_add(u16::try_from(low).unwrap()),
        )
    };
    let mut sum = halves(id) + halves(seq) + halves(payload.len() as u64);
    for pair in payload.chunks(2) {
        let high = pair.get(1).copied().unwrap_or(0);
        sum += u32::from(u16::from_le_bytes([pair[0], high]));
    }
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !u16::try_from(sum).unwrap()
}

#[test]
fn the_published_vectors() {
    assert_eq!(checksum(1, 1, b"hello"), 11_701);
    assert_eq!(checksum(1, 2, b"abc"), 40_245);
    assert_eq!(checksum(3, 123_456_789, b"hello world"), 23_791);
    assert_eq!(checksum(7, 131_071, b""), 65_528);
}
