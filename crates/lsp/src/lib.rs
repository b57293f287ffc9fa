//! The Live Sequence Protocol over UDP, for tokio.
//!
//! A [`Client`] has one connection, a [`Server`] many; both carry messages in order and
//! exactly once, and both notice within a stated time that the other end is gone. The
//! protocol itself is [`lsp_core`]; this crate gives it a socket, a clock and randomness.
//!
//! ```
//! use bytes::Bytes;
//! use lsp::{Client, Config, Server};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let server = Server::bind("127.0.0.1:0".parse()?, Config::default()).await?;
//! let client = Client::connect(server.local_addr(), Config::default()).await?;
//! client.write(Bytes::from_static(b"hello")).await?;
//! let (id, message) = server.read().await?;
//! server.write(id, message?).await?;
//! assert_eq!(client.read().await?, "hello");
//! client.close().await?;
//! server.close().await?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What the calls promise
//!
//! * **`write`** queues a message and returns; it waits only while the connection's queue
//!   is full ([`lsp_core::Config::send_messages_max`] and `send_bytes_max`). That it
//!   returned says nothing of delivery.
//! * **`read`** returns messages in order, each once. After a loss it returns what is left
//!   first and then the loss. A server's `read` names the connection, takes turns between
//!   those that have something, and reports the end of each one once.
//! * **`close`** stops reading and writing, waits until the peer has acknowledged what was
//!   written, and fails if a peer was lost before that. When it returns, the socket is
//!   closed and nothing is left running.
//! * **Dropping** a [`Client`] or a [`Server`] does the same as `close`, in the background:
//!   the task goes on until what was written is acknowledged or the peer is lost, at most
//!   about `epoch_limit` epochs of silence later. Nobody hears how that ended; who cares
//!   calls `close`. A runtime that shuts down ends it at once.
//! * Every call may be dropped while it waits. `read` and `write` then have done nothing;
//!   `close` goes on in the background.
//!
//! # How it is driven
//!
//! One task owns the socket. It wakes for a datagram, for something to send or for a
//! timer, gives the core what arrived, and sends what the core has, each in batches: one
//! system call receives up to 32 datagrams, or many more where the kernel joins
//! equal ones (GRO), and one sends up to 64 equal ones (GSO). Applications and the task
//! share the core behind a mutex; a message is not queued anywhere else, so the core's
//! bounds are all the bounds there are. See `docs/internals/lsp.md`.
//!
//! A wake-up costs by what it brings: connections are found by address and timers by
//! time, and connections that have nothing to do are not looked at.

mod client;
mod config;
mod driver;
mod error;
mod server;
mod shared;
mod socket;

pub use client::Client;
pub use config::Config;
pub use error::{
    BindError, CloseError, ConnError, ConnectError, ReadError, RebindError, ServerClosed,
    WriteError,
};
pub use lsp_core::{
    ConfigError, ConnId, EndpointStats, KEY_BYTES, Keys, Path, Protocol, PublicKey, SecretKey,
    SharedKey, Validation, Version,
};
pub use server::{Incoming, Server};
pub use shared::Stats;
