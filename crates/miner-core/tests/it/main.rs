//! The pool in a simulated world: every answer is exact whatever workers and clients do, small
//! jobs don't wait for large ones, and planted bugs are found.
#![expect(
    clippy::unwrap_used,
    reason = "tests: helpers are not recognised as such"
)]

mod codec;
mod fuzz;
mod planted;
mod random;
mod response;
mod scheduling;
mod world;
