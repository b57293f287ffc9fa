//! Proves that a log gives back what was made durable, after any crash, and refuses damaged files.

#![expect(
    clippy::unwrap_used,
    reason = "a test may panic where it finds something wrong"
)]

mod crash;
mod files;
mod flip;
mod model;
mod random;
