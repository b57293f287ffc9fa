//! Nodes with real files and real connections, in one process: what a single node keeps over a
//! restart, what three of them keep when one is lost, and what the front doors answer.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cluster;
mod differential;
mod doors;
mod faults;
mod gathering;
mod grpc;
mod http;
mod members;
mod pipeline;
mod resp_clients;
mod resp_raw;
mod resp_transcript;
mod single;
mod store;
mod three;
