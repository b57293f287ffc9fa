//! k-means as a MapReduce job: input, seeding, processes, plots.
//!
//! A job has a master, mappers and reducers, each a process. The master divides the input into
//! ranges and sends centroids; mappers read their ranges themselves, keep the points, and assign
//! them with `kmeans-kernels`; reducers fetch the sums of their centroids from all mappers, add
//! them up and answer with the new centroids. [`remote::run`] does all of it on this machine; [`local::fit`]
//! does the same work without processes.
//!
//! The result does not depend on the number of mappers, reducers or threads, on the processor's
//! instruction set, or on anything that fails on the way: sums are integers, chance belongs to
//! rows, and ties go to the lowest index. `docs/kmeans.md` has the argument.

mod chance;
pub mod fuzz;
mod input;
mod job;
mod limits;
pub mod local;
mod options;
pub mod output;
mod part;
mod predict;
pub mod remote;

pub use kmeans_kernels::Isa;

pub use input::{Dataset, InputError, read_small};
pub use job::{Event, Iteration, JobError, Outcome};
pub use options::{Init, Options};
pub use predict::{Prediction, predict};
