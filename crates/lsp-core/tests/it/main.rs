//! Proves that `lsp-core` is the Live Sequence Protocol: the original's 64 named tests in
//! virtual time, the table of a connection's states, soak runs over seeds, the codec
//! against truncation and bit flips, and what the adaptive recovery is for.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test may panic, and says what it ran"
)]

mod net;
mod wires;

mod adaptive;
mod basic;
mod bounds;
mod cack;
mod closing;
mod codec;
mod damage;
mod soak;
mod streaming;
mod transitions;
mod v2;
mod window;
