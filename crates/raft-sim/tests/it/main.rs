//! The raft core in the simulated world: the original courses' scenarios by name, seeds
//! with drawn faults, bugs that were planted and must be found.

mod determinism;
mod explore;
mod leases;
mod planted;
mod raft_3a;
mod raft_3b;
mod raft_3c;
mod raft_3d;
mod raft_c2;
mod reads;
mod swarm;
