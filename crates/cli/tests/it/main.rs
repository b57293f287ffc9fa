//! The `kontiki` binary as a user meets it: real processes, real files, real signals, real
//! clients. Proves that the commands work, that trouble gets one clear message, and that no
//! acknowledged write is lost while leaders are killed, paused and restarted.
//!
//! `real_input` loads a word list, `real_files` counts the words of licences; `cargo xtask demo words`
//! and `cargo xtask demo files` run them at full size.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "tests: helpers are not recognised as such, and the demo tells what it does"
)]

mod bad_input;
mod cluster;
mod commands;
mod faults;
mod kmeans;
mod lsp;
mod miner;
#[cfg(feature = "objects")]
mod objects;
mod real_files;
mod real_input;
mod up;
mod wal;
mod writers;
