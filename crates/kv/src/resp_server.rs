//! The door for Redis clients: RESP2 and RESP3 over TCP.
//!
//! The door has threads of its own, each with a single-threaded runtime: a connection lives on
//! one of them for good, so serving it wakes no other thread. One more thread accepts, and hands
//! each connection to whichever has the fewest.
//!
//! See [`connection`] for how a pipeline runs and [`table`] for the commands.

mod arguments;
mod clients;
mod commands;
mod connection;
mod error;
mod fuzz;
mod limits;
mod random;
mod serve;
mod session;
mod stats;
mod table;

pub use fuzz::fuzz_commands;
pub use serve::{Options, RespError, RespServer};
pub(crate) use session::Door as RespDoor;
pub(crate) use stats::{BUCKETS, HistogramTotals};
