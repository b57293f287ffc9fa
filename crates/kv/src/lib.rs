//! The database node: Raft driver, peer transport, RESP, gRPC and HTTP front doors, client library.

pub mod config;
pub mod node;
mod transport;
