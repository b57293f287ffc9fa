//! The state machine by itself: every job ends, whatever its workers say; a leader that lives
//! is left alone.
#![expect(
    clippy::unwrap_used,
    reason = "tests: helpers are not recognised as such"
)]

mod bench;
mod bounds;
mod leader;
mod reports;
