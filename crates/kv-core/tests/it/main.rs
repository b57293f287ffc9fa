//! What every command means, step by step and readable; that the codec takes back
//! what it gave and nothing else; that expiry depends on the log alone.

#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod codec;
mod semantics;
mod table;
