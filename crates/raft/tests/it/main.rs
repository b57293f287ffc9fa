//! Proves the consensus core: stories a person can follow, a named test for every trap, the
//! wire format, quorums against their definition, and thousands of random runs.

mod cluster;
mod random;
mod story;
