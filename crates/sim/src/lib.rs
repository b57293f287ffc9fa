//! A deterministic world for pure cores: clock, network, disk, processes, faults,
//! traces, checkers.
//!
//! A core that takes its inputs and the time as arguments can be run here a thousand
//! times faster than on real machines, through faults that real machines show once in
//! years, and every run can be repeated from its seed.
//!
//! * [`World`] runs one [`Process`] per node: it moves time ([`EventQueue`]), carries
//!   messages ([`Network`]), keeps files ([`Disk`]) and gives each node a clock of its own
//!   ([`NodeClock`]).
//! * [`fault`] draws a [`Plan`] of faults from a seed by swarm testing; [`shrink()`] drops the
//!   steps of it that a failure doesn't need.
//! * [`Trace`] keeps fixed-width lines and a hash: same seed, same hash.
//! * [`Failure`] tells what didn't hold and the one command that replays it.
//! * [`linear`] checks histories of key/value operations for linearizability.
//!
//! A run has two phases. In the *safety* phase faults happen and checkers look after
//! every step. Then comes *liveness*: a quorum is healed, and the system must
//! converge and serve within a bounded time.

mod clock;
mod disk;
mod failure;
pub mod fault;
pub mod linear;
mod network;
mod process;
mod queue;
mod shrink;
mod trace;
mod world;

pub use clock::NodeClock;
pub use disk::{Disk, DiskError, DiskOptions, SyncId};
pub use failure::{Failure, Violation};
pub use fault::{Fault, FaultEnd, Plan, PlanStep, Weights, Who};
pub use network::{Arrivals, Delay, LinkCounters, LongReorder, Network, NetworkOptions};
pub use process::{Context, Message, Process};
pub use queue::EventQueue;
pub use shrink::shrink;
pub use trace::{Recording, Trace};
pub use world::{Liveness, Step, World, WorldOptions};
