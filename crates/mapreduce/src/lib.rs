//! The compute engine's shell: coordinator, workers, shuffle, client.
//!
//! `mapreduce-core` decides, `mapreduce-data` does what happens inside a task, and this crate
//! brings processes, sockets and files. [`cli`] is the command line of all of it, for the
//! `kontiki` binary and for binaries of users: [`main!`] makes one that is coordinator, worker
//! and client at once, with jobs in Rust.
//!
//! ```text
//! mapreduce::main!(mapreduce::Registry::new().with("my-job", my_job));
//! ```
//!
//! `examples/mr_jobs.rs` is such a binary.

pub mod cli;
pub mod client;
pub mod coordinator;
mod error;
#[doc(hidden)]
pub mod fuzz;
pub mod limits;
mod spec;
mod timeline;
pub mod verify;
mod wire;
pub mod worker;

pub use error::Error;
pub use mapreduce_core as core;
pub use mapreduce_data as data;
pub use mapreduce_data::Registry;
pub use spec::{JobRequest, JobSpec, State, Status, Summary, TaskOptions};

/// The main function of a binary with jobs in Rust: coordinator, worker and client at once.
///
/// The argument is a [`Registry`]. Try `./your-binary --help`.
#[macro_export]
macro_rules! main {
    ($registry:expr) => {
        fn main() -> ::std::process::ExitCode {
            $crate::cli::main($registry)
        }
    };
}
