//! Proves the consensus core: stories a person can follow, a named test for every trap, the
//! wire format, quorums against their definition, and hundreds of random runs.
#![expect(clippy::unwrap_used, reason = "a test that can't go on stops")]

mod cluster;
mod codec;
mod leases;
#[cfg(feature = "planted")]
mod planted;
mod quorum_brute;
mod random;
mod story;
mod traps;
