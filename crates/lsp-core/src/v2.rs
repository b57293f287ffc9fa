//! The Live Sequence Protocol, version 2: encrypted, and made for real networks.
//!
//! A client offers it in the payload of an ordinary Connect, which servers of version 1
//! ignore; a server that knows it answers in binary. From then on the connection has
//! nothing of version 1 but its meaning: messages in order, exactly once, and a sign of life
//! every epoch. The numbered clauses are in `docs/spec/lsp2.md`.
//!
//! * [`packet`], [`frame`], [`varint`]: bytes; [`noise`], [`crypto`], [`cookie`]: secrets;
//! * [`send_stream`], [`receive_stream`]: messages as a stream of bytes;
//! * [`acks`], [`recovery`], [`mtu`]: the path;
//! * [`state`], [`connection`]: one connection. The [`Endpoint`](crate::Endpoint) routes.

mod acks;
pub(crate) mod connection;
pub(crate) mod cookie;
pub(crate) mod crypto;
pub(crate) mod frame;
mod mtu;
pub(crate) mod noise;
pub(crate) mod packet;
mod ranges;
mod receive_stream;
mod recovery;
mod send_stream;
pub(crate) mod state;
mod varint;
