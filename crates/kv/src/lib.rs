//! The database node: Raft driver, peer transport, RESP, gRPC and HTTP front doors, client library.

pub mod client;
pub mod config;
pub mod grpc;
pub mod http;
pub mod log_text;
pub mod node;
mod readiness;
pub mod resp_server;
mod snapshot;
pub mod store;
mod transport;

#[doc(hidden)]
pub use transport::{fuzz_frames, fuzz_frames_samples};
