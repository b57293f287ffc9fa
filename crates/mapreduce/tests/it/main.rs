//! The engine as real processes: coordinators and workers that are killed, stopped, started late
//! and lied to. Proves that the result is always the sequential program's, and that what goes
//! wrong is said clearly.
//!
//! The processes are the example `mr_jobs`. Faults take tokens (files), so that each test knows
//! that its fault happened.
#![expect(
    clippy::unwrap_used,
    reason = "tests: helpers are not recognised as such"
)]

mod b1;
mod errors;
mod faults;
mod lab;
mod receipts;
