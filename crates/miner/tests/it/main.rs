//! The pool over real sockets on loopback: our ends with ours, ours with originals, and what
//! happens when either goes away. Real processes with real signals are in `cli`'s tests.
#![expect(
    clippy::unwrap_used,
    reason = "tests: helpers are not recognised as such"
)]

mod header;
mod original;
mod plain_lsp;
mod pool;
mod world;
