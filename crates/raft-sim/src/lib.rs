//! The raft core in the simulated world: cluster harness, safety and liveness checkers.
//!
//! * [`RaftNode`] drives one core as the real driver does, on a simulated disk.
//! * [`Cluster`] is a world of them with clients and [`checkers`] that look after every step.
//! * [`run_seed`] draws a run from a seed: what `cargo xtask sim raft` calls.
//! * [`Scenario`] is for tests that tell a story of their own.
//!
//! `docs/internals/simulation.md` tells how to read what this prints.

pub mod checkers;
mod clients;
mod cluster;
mod coverage;
mod explore;
mod machine;
mod node;
pub mod operations;
mod options;
mod run;
mod scenario;
mod snapshots;
mod storage;
mod wire;

pub use clients::{Clients, Served};
pub use cluster::{Cluster, Task, node_id};
pub use coverage::Coverage;
pub use explore::{Exploration, ExploreOptions, explore};
pub use machine::{Command, Machine};
pub use node::{Appended, Applied, NodeConfig, Outputs, RaftNode, WriteEnd, is_data};
pub use options::{Options, SYSTEM_KINDS, draw_policy};
pub use run::{RunOptions, Summary, draw_plan, run, run_plan, run_seed};
pub use scenario::{ELECTION_TIMEOUT, Scenario};
pub use snapshots::Snapshots;
pub use storage::LogStore;
pub use wire::Packet;
