//! The Live Sequence Protocol, versions 1 and 2, as a state machine.
//!
//! LSP carries messages between clients and a server over UDP: in order, exactly once,
//! up to about a thousand bytes each, with a sign of life every epoch, so that both
//! sides know within a stated time that the other is gone. It was set as coursework at
//! Carnegie Mellon (15-440, 2018-2024); this crate speaks it so that an end written
//! for that course can't tell the difference, and does the rest better where the other
//! end can't see it.
//!
//! # How it works
//!
//! ```text
//!   client                                   server
//!     | ---- Connect(0, 7) -------------------> |   a client picks the initial number
//!     | <--- Ack(1, 7) ------------------------ |   the server numbers connections
//!     | ---- Data(1, 8, "hello") -------------> |   both directions start after it
//!     | <--- Ack(1, 8) ------------------------ |   each message has its own Ack
//!     | <--- Data(1, 8, "hello yourself") ----- |
//!     | ---- Ack(1, 8) -----------------------> |
//!     |             ... an epoch passes ...     |
//!     | ---- Ack(1, 0) -----------------------> |   a heartbeat: Ack of nothing
//!     | <--- Ack(1, 0) ------------------------ |
//! ```
//!
//! There is no message that closes a connection: an end that is done falls silent, and
//! the other takes it for lost a few epochs later. The numbered clauses are in
//! `docs/spec/lsp.md`; code and tests cite them.
//!
//! # What drives it
//!
//! The crate has no socket, no clock, no thread and no randomness. An [`Endpoint`] takes
//! datagrams and the time, and gives datagrams, events and the time of its next wish:
//!
//! ```
//! use bytes::Bytes;
//! use lsp_core::{Config, Endpoint, Event, SeqNum};
//! use stdx::Instant;
//!
//! let config = Config::default().validate()?;
//! let now = Instant::EPOCH;
//! let (here, there) = ("10.0.0.1:4000".parse()?, "10.0.0.2:5000".parse()?);
//! let mut server = Endpoint::server(config.clone());
//! let mut client = Endpoint::client(config);
//! let handle = client.connect(now, there, SeqNum::new(7))?;
//!
//! // The shell's loop: carry what each side wants to send until both are quiet.
//! let mut carry = |client: &mut Endpoint, server: &mut Endpoint| loop {
//!     let (mut up, mut down) = (Vec::new(), Vec::new());
//!     let sent = client.poll_transmit(now, &mut up).is_some();
//!     let answered = server.poll_transmit(now, &mut down).is_some();
//!     if sent {
//!         server.on_datagram(now, here, &up);
//!     }
//!     if answered {
//!         client.on_datagram(now, there, &down);
//!     }
//!     if !sent && !answered {
//!         break;
//!     }
//! };
//! carry(&mut client, &mut server);
//! assert_eq!(client.poll_event(), Some((handle, Event::Connected)));
//! let (accepted, _) = server.poll_event().expect("a client connected");
//!
//! client.write(handle, Bytes::from_static(b"hello"))?;
//! carry(&mut client, &mut server);
//! assert_eq!(server.read(accepted)?.as_deref(), Some(&b"hello"[..]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is better than the original, and invisible to it
//!
//! With [`Config::adaptive`] losses are found by round trips instead of two-second epochs
//! (`recovery`), sending is paced by a model of the path (`bandwidth`), and one
//! cumulative acknowledgement stands for many. In every configuration, what an
//! application doesn't read slows the sender instead of growing our memory
//! (`receive_window`), strangers can't use us to flood others (`allowance`), and every
//! queue has a bound. The default timing is the specification's.
//!
//! # Trade-offs
//!
//! * Per-connection windows are sparse maps and deques that allocate when used: an idle
//!   connection is under 1 KB, a busy one pays for what is under way.
//! * One connection per remote address and port: version 1 can't tell two apart, since
//!   a Connect carries no more than an initial number.
//! * A Connect with a new initial number from a known address is ignored until the old
//!   connection is lost. Taking it would let a forged datagram end any connection.
//!
//! # Version 2
//!
//! [`Config::protocol`] turns on version 2, which a client offers within its Connect and
//! which servers of version 1 ignore: encrypted and authenticated, with random connection
//! ids that let a client change its address, messages of any length, an explicit close,
//! and a pace that holds under loss. Its clauses are in `docs/spec/lsp2.md`. The endpoint
//! has the same methods; it only needs a [`Seed`], from the operating system's randomness:
//!
//! ```
//! use lsp_core::{Config, Endpoint, Keys, Protocol, SecretKey, Seed};
//!
//! # let (os_randomness, another, key_file) = ([1; 32], [2; 32], [3; 32]);
//! let secret = SecretKey::new(key_file);
//! let pinned = secret.public();
//! let server = Config {
//!     protocol: Protocol::V2,
//!     keys: Keys { secret: Some(secret), ..Keys::default() },
//!     ..Config::default()
//! };
//! let client = Config {
//!     protocol: Protocol::V2,
//!     keys: Keys { server: Some(pinned), ..Keys::default() },
//!     ..Config::default()
//! };
//! let server = Endpoint::server_seeded(server.validate()?, &Seed::new(os_randomness));
//! let client = Endpoint::client_seeded(client.validate()?, &Seed::new(another));
//! assert_eq!(server.public_key(), pinned);
//! # Ok::<(), lsp_core::ConfigError>(())
//! ```
//!
//! The handshake is Noise (`snow`), over `chacha20poly1305` and `curve25519-dalek`: pure
//! Rust, no C compiler. Small messages share packets, so that the cipher is not the
//! bottleneck.
//!
//! # It is not
//!
//! * in version 1, private or authenticated: the checksum finds accidents, not malice;
//! * free of head-of-line blocking: a connection is one ordered stream.

mod acks;
mod allowance;
mod bandwidth;
pub mod checksum;
mod config;
mod connection;
mod endpoint;
mod epoch;
#[doc(hidden)]
pub mod fuzz;
mod keys;
pub mod limits;
mod message;
mod receive_window;
mod recovery;
mod reordering;
mod rtt;
mod send_window;
mod state;
mod v2;
pub mod wire;

pub use config::{Acks, Config, ConfigError, Keys, Protocol, Recovery, ValidConfig, Validation};
pub use connection::{CloseError, Connection, Event, ReadError, Side, Stats, WriteError};
pub use endpoint::{ConnectError, EndReason, Endpoint, EndpointStats, Handle, Transmit, Version};
pub use keys::{KEY_BYTES, PublicKey, SecretKey, Seed, SharedKey};
pub use message::{ConnId, Message, SeqNum};
pub use recovery::Path;
pub use state::{Phase, TransitionTable, Trigger};
