//! The miner pool over LSP: a server, workers and clients.
//!
//! * [`Server`] drives `miner_core::Pool`: it turns messages into its inputs and its actions
//!   into messages, checks samples with its own kernel, and keeps jobs in a
//!   [`kv::store::Store`].
//! * [`worker::run`] hashes what the server hands out, on several threads.
//! * [`client::ask`] has one job done.
//! * [`block::search`] looks for the nonce of a Bitcoin header, on several threads, without
//!   a pool.
//!
//! An original client or miner of the course works with our server, and ours with an
//! original server: see `miner_core::Message`.
//!
//! # Trade-offs
//!
//! The server's state machine is one task. What it may wait for is done elsewhere: a peer
//! whose queue is full is disconnected rather than waited for, records are written by a task
//! that always writes the newest, and checks run on blocking threads.

pub mod block;
pub mod client;
mod saver;
mod server;
pub mod worker;

pub use server::{ServeError, Server, ServerConfig};

/// Bytes of a message that every peer takes: the payload that the original asks for.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 1_000;
