//! Raft as a state machine: elections, replication, leases, reads, membership, snapshots; no IO, no clock.
