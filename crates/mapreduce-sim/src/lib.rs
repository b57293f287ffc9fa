//! The `MapReduce` core in the simulated world.
//!
//! Two coordinators, a few workers and a store run in [`sim::World`]: messages are lost,
//! repeated and reordered, processes crash and are paused, disks of map output die with their
//! workers, coordinators take over from each other while the old one still runs. Whatever
//! happens, the published result must be the sequential run's, published once, from commits
//! that were durable, with counters of winners only; and every job must end.
//!
//! [`run()`] runs one seed. What is drawn from it is in [`Scenario`].

mod checks;
mod coordinator;
mod job;
mod message;
mod node;
mod run;
mod scenario;
mod store;
mod worker;

pub use run::{Summary, run, run_with};
pub use scenario::{Crash, Scenario};
