//! Every state of a connection against everything that can happen to it.
//!
//! A real connection is put into each state, with real keys; each thing happens to it, and
//! what it answers, says, sends and becomes is printed: the whole behaviour on a few pages.
//! The other end is played by hand, so that it can also break the rules.

use expect_test::expect_file;

use super::*;
use crate::config::{Config, Protocol};
use crate::keys::{KEY_BYTES, Random, Seed};
use crate::message::Message;
use crate::v2::crypto;
use crate::v2::frame::{self, Frame};
use crate::v2::packet::{self, Offer, Packet};
use crate::v2::ranges::Ranges;
use crate::wire;

const ID: ConnId = ConnId::new(1);
const ISN: SeqNum = SeqNum::new(7);
const RESET_KEY: [u8; KEY_BYTES] = [8; KEY_BYTES];
const EPOCH: Duration = Duration::from_secs(2);
const HALF_SECOND: Duration = Duration::from_millis(500);

fn client_address() -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], 1))
}

fn server_address() -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 2], 2))
}

fn elsewhere() -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 3], 3))
}

/// A connection, and what its peer would have.
struct Subject {
    connection: Connection,
    now: Instant,
    random: Random,
    sealer: Sealer,
    opener: Opener,
    /// The peer's next packet, and one past the subject's latest.
    next: u64,
    seen: u64,
    /// The server's datagram that ends the handshake.
    accept: Vec<u8>,
    /// The peer's latest packet.
    latest: Vec<u8>,
}

impl Subject {
    /// A quiet connection in a state: all that was due is sent. Where that is possible one
    /// message is under way and one can be read.
    fn in_state(state: State) -> Self {
        let side = if state == State::Accepting {
            Side::Server
        } else {
            Side::Client
        };
        let mut subject = Self::new(side);
        if matches!(state, State::Connecting | State::Accepting) {
            return subject;
        }
        subject.take_accept();
        subject.drain();
        subject.receive(|buffer| put_message(buffer, 0));
        subject.connection.write(b"written").unwrap();
        subject.drain();
        match state {
            State::Connecting | State::Accepting | State::Open => {}
            State::Draining => subject.connection.close().unwrap(),
            State::Closing => subject.close(),
            State::Closed => {
                subject.close();
                subject.acknowledge_all();
            }
            State::Lost => {
                while subject.connection.state() != State::Lost {
                    subject.pass(EPOCH);
                    subject.drain();
                }
            }
        }
        subject.drain();
        assert_eq!(subject.connection.state(), state);
        subject
    }

    fn new(side: Side) -> Self {
        let config = Config {
            protocol: Protocol::V2,
            epoch: EPOCH,
            epoch_limit: 2,
            datagram_bytes_max: crate::limits::DATAGRAM_BYTES_BASE,
            ..Config::default()
        };
        let config = config.validate().unwrap();
        let now = Instant::EPOCH;
        let mut random = Random::new(&Seed::new([1; KEY_BYTES]));
        let address = server_address();
        let mut client = Connection::connect(config.clone(), &mut random, ISN, address, now);
        let mut connect = Vec::new();
        assert_eq!(client.poll_transmit(now, &mut connect), Some(address));
        let Ok(Message::Connect { offer, .. }) = wire::decode(&connect) else {
            panic!("a client speaks first");
        };
        let offer = Offer::decode(&offer).unwrap();
        let (secret, address) = ([7; KEY_BYTES], client_address());
        let accepted = accept(
            &config,
            &secret,
            &RESET_KEY,
            &mut random,
            ID,
            ISN,
            address,
            &offer,
            now,
        );
        let mut server = accepted.unwrap();
        let mut accept = Vec::new();
        assert_eq!(server.poll_transmit(now, &mut accept), Some(address));
        let (connection, mut peer) = match side {
            Side::Client => (client, server),
            Side::Server => {
                client.on_accept(now, server_address(), handshake(&accept));
                (server, client)
            }
        };
        let (sealer, opener) = peer.keys.take().unwrap();
        Self {
            connection,
            now,
            random,
            sealer,
            opener,
            next: 0,
            seen: 0,
            accept,
            latest: Vec::new(),
        }
    }

    fn take_accept(&mut self) {
        let message = handshake(&self.accept).to_vec();
        self.connection
            .on_accept(self.now, server_address(), &message);
    }

    /// Closes, and acknowledges what was under way.
    fn close(&mut self) {
        self.connection.close().unwrap();
        self.drain();
        self.acknowledge_all();
        self.drain();
    }

    fn acknowledge_all(&mut self) {
        let seen = self.seen;
        self.receive(|buffer| put_ack(buffer, seen));
    }

    fn pass(&mut self, span: Duration) {
        self.now = self.now.after(span);
        self.connection.on_timeout(self.now);
    }

    /// Lets a packet of the peer arrive.
    fn receive(&mut self, frames: impl FnOnce(&mut Vec<u8>)) {
        let from = self.connection.remote();
        self.receive_from(from, frames);
    }

    fn receive_from(&mut self, from: SocketAddr, frames: impl FnOnce(&mut Vec<u8>)) {
        let mut datagram = Vec::new();
        let odd = self.sealer.is_odd();
        packet::put_data_header(&mut datagram, self.connection.local(), self.next, odd);
        let body = datagram.len();
        frames(&mut datagram);
        self.sealer.seal(self.next, &mut datagram, 0, body);
        self.next += 1;
        self.latest.clone_from(&datagram);
        self.arrive(from, &datagram);
    }

    fn arrive(&mut self, from: SocketAddr, datagram: &[u8]) {
        let Some(Packet::Data {
            number,
            odd,
            header,
            sealed,
            ..
        }) = packet::decode(datagram)
        else {
            panic!("not a data packet");
        };
        let arrived = Arrived {
            from,
            number,
            odd,
            header,
            sealed,
            room: true,
        };
        let mut plain = Vec::new();
        self.connection
            .on_data(self.now, &arrived, &mut self.random, &mut plain);
    }

    /// All that leaves within the longest delay of an acknowledgement, and all that is said.
    fn drain(&mut self) -> Vec<String> {
        self.now = self.now.after(self.connection.config.ack_delay_max);
        let mut seen = Vec::new();
        let mut buffer = Vec::new();
        loop {
            buffer.clear();
            let Some(to) = self.connection.poll_transmit(self.now, &mut buffer) else {
                break;
            };
            let whither = match to {
                to if to == elsewhere() => " elsewhere",
                _ => "",
            };
            seen.push(format!("sends{whither} {}", self.describe(&buffer)));
        }
        while let Some(event) = self.connection.poll_event() {
            seen.push(format!("says {event:?}"));
        }
        seen
    }

    fn describe(&mut self, datagram: &[u8]) -> String {
        if let Ok(message) = wire::decode(datagram) {
            let Message::Connect { .. } = message else {
                panic!("only the offer is of version 1");
            };
            return "Connect".to_owned();
        }
        match packet::decode(datagram).expect("it writes what it reads") {
            Packet::Accept { .. } => "Accept".to_owned(),
            Packet::Data {
                number,
                odd,
                header,
                sealed,
                ..
            } => {
                let mut plain = Vec::new();
                let opened = self.opener.open(number, odd, header, sealed, &mut plain);
                assert!(opened, "under the keys of the connection");
                self.seen = self.seen.max(number + 1);
                format!("[{}]", frames(&plain))
            }
            other @ (Packet::Retry { .. } | Packet::Reset { .. }) => panic!("{other:?}"),
        }
    }
}

/// The handshake's message in an Accept.
fn handshake(accept: &[u8]) -> &[u8] {
    let Some(Packet::Accept { message, .. }) = packet::decode(accept) else {
        panic!("a server answers");
    };
    message
}

fn frames(mut plain: &[u8]) -> String {
    let mut names = Vec::new();
    while !plain.is_empty() {
        names.push(match frame::take(&mut plain).unwrap() {
            Frame::Padding => "padding".to_owned(),
            Frame::Ping => "ping".to_owned(),
            Frame::Ack(ack) => {
                let ranges: Vec<String> = ack.ranges().map(|range| format!("{range:?}")).collect();
                format!("ack {}", ranges.join(" "))
            }
            Frame::Stream { offset, bytes } => format!("stream {offset}+{}", bytes.len()),
            Frame::Limit(_) => "limit".to_owned(),
            Frame::Challenge(_) => "challenge".to_owned(),
            Frame::Response(word) => format!("response {word}"),
            Frame::Close { reason } => format!("close {reason}"),
        });
    }
    names.join(", ")
}

/// A message of four bytes, as the stream carries it.
fn put_message(buffer: &mut Vec<u8>, offset: u64) {
    frame::put_stream_head(buffer, offset, Some(5));
    buffer.extend_from_slice(b"\x04data");
}

fn put_ack(buffer: &mut Vec<u8>, packets: u64) {
    let mut ranges = Ranges::new();
    ranges.insert(0..packets.max(1));
    frame::put_ack(buffer, &ranges, 0, 100);
}

type Input = fn(&mut Subject) -> Option<String>;

fn packet(subject: &mut Subject, frames: fn(&mut Vec<u8>)) -> Option<String> {
    subject.receive(frames);
    None
}

fn outcome<T: core::fmt::Debug, E: core::fmt::Display>(outcome: Result<T, E>) -> Option<String> {
    Some(match outcome {
        Ok(value) => format!("{value:?}"),
        Err(error) => format!("error: {error}"),
    })
}

/// Everything that can happen to a connection.
const INPUTS: [(&str, Input); 29] = [
    ("Accept", |s| {
        s.take_accept();
        None
    }),
    ("Accept, damaged", |s| {
        let from = server_address();
        s.connection.on_accept(s.now, from, &[9; 96]);
        None
    }),
    ("Retry", |s| {
        s.connection.on_retry(s.now, server_address(), b"cookie");
        None
    }),
    ("the offer again", |s| {
        s.connection.on_connect_again();
        None
    }),
    ("Reset", |s| {
        let proof = crypto::reset_proof(&RESET_KEY, s.connection.peer());
        s.connection.on_reset(&proof);
        None
    }),
    ("Reset, forged", |s| {
        s.connection.on_reset(&[9; PROOF_BYTES]);
        None
    }),
    ("a sign of life", |s| packet(s, |buffer| buffer.push(0))),
    ("ping", |s| packet(s, frame::put_ping)),
    ("ack of all", |s| {
        s.acknowledge_all();
        None
    }),
    ("ack of what wasn't sent", |s| {
        packet(s, |buffer| put_ack(buffer, 99))
    }),
    ("stream, next in order", |s| {
        packet(s, |buffer| put_message(buffer, 5))
    }),
    ("stream, early", |s| {
        packet(s, |buffer| put_message(buffer, 15))
    }),
    ("stream, again", |s| {
        packet(s, |buffer| put_message(buffer, 0))
    }),
    ("stream past the limit", |s| {
        packet(s, |buffer| put_message(buffer, 1 << 30))
    }),
    ("stream, too long a message", |s| {
        packet(s, |buffer| {
            frame::put_stream_head(buffer, 5, Some(8));
            buffer.extend_from_slice(&[0xff; 8]);
        })
    }),
    ("limit", |s| {
        packet(s, |buffer| frame::put_limit(buffer, 1 << 30))
    }),
    ("challenge", |s| {
        packet(s, |buffer| frame::put_challenge(buffer, 5))
    }),
    ("response, not asked for", |s| {
        packet(s, |buffer| frame::put_response(buffer, 5))
    }),
    ("close", |s| packet(s, |buffer| frame::put_close(buffer, 0))),
    ("close for a violation", |s| {
        packet(s, |buffer| frame::put_close(buffer, 1))
    }),
    ("no frame", |s| packet(s, |buffer| buffer.push(99))),
    ("another key", |s| {
        let key = Sealer::new([9; KEY_BYTES]);
        let ours = core::mem::replace(&mut s.sealer, key);
        s.receive(frame::put_ping);
        s.sealer = ours;
        None
    }),
    ("the latest packet again", |s| {
        if !s.latest.is_empty() {
            let datagram = s.latest.clone();
            s.arrive(s.connection.remote(), &datagram);
        }
        None
    }),
    ("ping from elsewhere", |s| {
        s.receive_from(elsewhere(), frame::put_ping);
        None
    }),
    ("half a second", |s| {
        s.pass(HALF_SECOND);
        None
    }),
    ("an epoch", |s| {
        s.pass(EPOCH);
        None
    }),
    ("write", |s| outcome(s.connection.write(b"more"))),
    ("read", |s| outcome(s.connection.read())),
    ("close by the application", |s| {
        outcome(s.connection.close())
    }),
];

fn print(title: &str, make: impl Fn() -> Subject) -> String {
    let state = make().connection.state();
    let mut page = format!("{title}\n");
    for (name, input) in INPUTS {
        let mut subject = make();
        let answer = input(&mut subject);
        subject.connection.check_invariants();
        let mut seen: Vec<String> = answer.into_iter().collect();
        seen.extend(subject.drain());
        subject.connection.check_invariants();
        let after = subject.connection.state();
        if after != state {
            seen.push(format!("becomes {after:?}"));
        }
        if let Some(reason) = subject.connection.reason()
            && state != State::Lost
        {
            seen.push(format!("because {reason:?}"));
        }
        let seen = if seen.is_empty() {
            "-".to_owned()
        } else {
            seen.join("; ")
        };
        page += &format!("  {name:26} {seen}\n");
    }
    page
}

/// A server's connection, with a message under way and one that can be read.
fn served() -> Subject {
    let mut subject = Subject::in_state(State::Accepting);
    subject.receive(|buffer| put_message(buffer, 0));
    subject.drain();
    subject.connection.write(b"written").unwrap();
    subject.drain();
    subject
}

/// After a change on purpose: `UPDATE_EXPECT=1 cargo test -p lsp-core --lib`, and read the
/// difference.
// spec: LSP2-3.2 LSP2-3.3 LSP2-3.5 LSP2-3.7 LSP2-4.1 LSP2-5.1 LSP2-5.4 LSP2-7.1 LSP2-7.2
// spec: LSP2-7.3 LSP2-7.4 LSP2-7.6
#[test]
fn everything_that_can_happen_in_every_state() {
    let mut pages = Vec::new();
    for state in State::ALL {
        pages.push(print(&format!("{state:?}"), || Subject::in_state(state)));
        if state == State::Open {
            pages.push(print("Open, a server's", served));
        }
    }
    expect_file!["transitions.txt"].assert_eq(&pages.join("\n"));
}
