//! The raft core in the simulated world: cluster harness, safety and liveness checkers, planted bugs.
