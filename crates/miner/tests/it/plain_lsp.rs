//! An original client down to the datagrams: version 1 of LSP and the miner's JSON, written here
//! anew, so that nothing of ours stands on both sides.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use crate::world::{Running, expected};

/// The original's checksum: sixteen-bit words, added with the carry at the end.
fn checksum(conn: u32, number: u32, size: u32, payload: &[u8]) -> u16 {
    let mut sum: u32 = 0;
    for field in [conn, number, size] {
        let [a, b, c, d] = field.to_le_bytes();
        let halves = u16::from_le_bytes([a, b]).wrapping_add(u16::from_le_bytes([c, d]));
        sum += u32::from(halves);
    }
    for pair in payload.chunks(2) {
        let high = pair.get(1).copied().unwrap_or(0);
        sum += u32::from(u16::from_le_bytes([pair[0], high]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap()
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let byte = |at: usize| u32::from(three.get(at).copied().unwrap_or(0));
        let word = (byte(0) << 16) | (byte(1) << 8) | byte(2);
        for place in 0..4_usize {
            let digit = DIGITS[(word >> (18 - 6 * place)) as usize & 63];
            text.push(if place <= three.len() {
                digit.into()
            } else {
                '='
            });
        }
    }
    text
}

fn from_base64(text: &str) -> Vec<u8> {
    let value = |digit: u8| match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let digits: Vec<u8> = text.trim_end_matches('=').bytes().map(value).collect();
    let bits = |four: &[u8]| {
        let word = four
            .iter()
            .fold(0_u32, |word, six| (word << 6) | u32::from(*six));
        let word = word << (6 * (4 - four.len()));
        word.to_be_bytes()[1..four.len()].to_vec()
    };
    digits.chunks(4).flat_map(bits).collect()
}

/// The value of a key in JSON without blanks.
fn field<'a>(datagram: &'a str, key: &str) -> &'a str {
    let rest = datagram.split_once(&format!("\"{key}\":")).unwrap().1;
    rest.split([',', '}']).next().unwrap().trim_matches('"')
}

struct Client {
    socket: UdpSocket,
    conn: u32,
    next: u32,
}

impl Client {
    fn connect(server: SocketAddr, first: u32) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(server).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        let mut client = Self {
            socket,
            conn: 0,
            next: first,
        };
        client.send(0, first, "null");
        let answer = client.receive();
        assert_eq!(
            (field(&answer, "Type"), field(&answer, "SeqNum")),
            ("2", &*first.to_string())
        );
        client.conn = field(&answer, "ConnID").parse().unwrap();
        client
    }

    fn send(&self, kind: u8, number: u32, rest: &str) {
        let conn = self.conn;
        let datagram = format!(
            r#"{{"Type":{kind},"ConnID":{conn},"SeqNum":{number},"Size":0,"Checksum":0,"Payload":{rest}}}"#
        );
        self.socket.send(datagram.as_bytes()).unwrap();
    }

    fn send_data(&mut self, payload: &str) {
        self.next += 1;
        let (conn, number, size) = (self.conn, self.next, payload.len());
        let sum = checksum(
            conn,
            number,
            u32::try_from(size).unwrap(),
            payload.as_bytes(),
        );
        let text = base64(payload.as_bytes());
        let datagram = format!(
            r#"{{"Type":1,"ConnID":{conn},"SeqNum":{number},"Size":{size},"Checksum":{sum},"Payload":"{text}"}}"#
        );
        self.socket.send(datagram.as_bytes()).unwrap();
    }

    fn receive(&self) -> String {
        let mut buffer = [0; 2_000];
        let length = self.socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    /// The next message, acknowledged; signs of life are answered with one.
    fn receive_data(&self) -> String {
        loop {
            let datagram = self.receive();
            match field(&datagram, "Type") {
                "1" => {
                    let number: u32 = field(&datagram, "SeqNum").parse().unwrap();
                    let payload = from_base64(field(&datagram, "Payload"));
                    let size = u32::try_from(payload.len()).unwrap();
                    assert_eq!(field(&datagram, "Size"), size.to_string());
                    let sum = checksum(self.conn, number, size, &payload);
                    assert_eq!(field(&datagram, "Checksum"), sum.to_string());
                    self.send(2, number, "null");
                    return String::from_utf8(payload).unwrap();
                }
                "2" | "3" => self.send(2, 0, "null"),
                other => panic!("{other}: {datagram}"),
            }
        }
    }
}

#[test]
fn the_checksum_is_the_original_s() {
    assert_eq!(checksum(1, 1, 5, b"hello"), 11_701);
    assert_eq!(checksum(3, 123_456_789, 11, b"hello world"), 23_791);
    assert_eq!(base64(b"hello"), "aGVsbG8=");
    assert_eq!(from_base64("aGVsbG8="), b"hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_original_client_down_to_the_datagrams() {
    let server = Running::start(None).await;
    let _workers = [server.worker(), server.worker()];
    let address = server.address;
    let asking = tokio::task::spawn_blocking(move || {
        let mut client = Client::connect(address, 41);
        client
            .send_data(r#"{"Type":1,"Data":"plain","Lower":0,"Upper":700000,"Hash":0,"Nonce":0}"#);
        client.receive_data()
    });
    let best = expected("plain", 700_000);
    let (hash, nonce) = (best.hash, best.nonce);
    let plain =
        format!(r#"{{"Type":2,"Data":"","Lower":0,"Upper":0,"Hash":{hash},"Nonce":{nonce}}}"#);
    assert_eq!(asking.await.unwrap(), plain);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_original_miner_down_to_the_datagrams() {
    let server = Running::start(None).await;
    let address = server.address;
    let mining = tokio::task::spawn_blocking(move || {
        let mut miner = Client::connect(address, 200);
        miner.send_data(r#"{"Type":0,"Data":"","Lower":0,"Upper":0,"Hash":0,"Nonce":0}"#);
        let request = miner.receive_data();
        assert_eq!(field(&request, "Type"), "1");
        assert!(!request.contains("Ext"), "{request}");
        let lower: u64 = field(&request, "Lower").parse().unwrap();
        let upper: u64 = field(&request, "Upper").parse().unwrap();
        let message = miner_kernels::Message::new(b"mined");
        let best = message
            .minimum(miner_kernels::Kernel::PORTABLE, lower..=upper)
            .unwrap();
        let (hash, nonce) = (best.hash, best.nonce);
        miner.send_data(&format!(
            r#"{{"Type":2,"Data":"","Lower":0,"Upper":0,"Hash":{hash},"Nonce":{nonce}}}"#
        ));
    });
    crate::world::check(&server.job("mined", 5_000)).await;
    mining.await.unwrap();
    server.stop().await;
}
