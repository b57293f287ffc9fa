//! The data path of MapReduce: what happens inside one task.
//!
//! This crate knows nothing of coordinators and workers. It plans the splits of a job's inputs
//! ([`plan_splits`]), runs one map task ([`run_map`]) and one reduce task ([`run_reduce`]), on the
//! caller's thread, within the memory that the task names. It reports progress through atomics
//! ([`Progress`]) and stops when told ([`Cancel`]).
//!
//! A [`FunctionSpec`] names what a job does in one of three ways: a built-in job, any executable
//! that speaks Hadoop Streaming's protocol, or Rust code in a [`Registry`]. All three become a
//! [`Job`], and from there on the engine can't tell them apart. A fourth, WebAssembly, would be one
//! more variant of [`FunctionSpec`] and one more implementation of [`Job`].
//!
//! # What is promised
//!
//! * Within a partition, keys come in increasing order of their bytes.
//! * The values of one key come in the order of map tasks, and within a map task in the order in
//!   which they were emitted. So results do not depend on how many workers ran the job or which
//!   attempts failed.
//! * A run file that was torn or altered is a typed error, never a wrong result. What goes into
//!   the shuffle and what comes out has an order-independent [`Digest`].
//! * Memory is bounded by the task's limit, whatever the amount of data: more of it means more
//!   runs on disk.
//!
//! The formats, and how memory is accounted for, are in `docs/internals/mapreduce-data.md`.

mod builtin;
mod counters;
mod digest;
mod error;
mod fields;
mod function;
pub mod fuzz;
mod guard;
mod input;
pub mod limits;
pub mod local;
mod map;
mod prefetch;
mod progress;
mod reduce;
mod run;
mod spec;
mod split;
mod streaming;
mod task;
pub mod typed;

pub use builtin::builtin_jobs;
pub use counters::Counters;
pub use digest::{Digest, StreamDigest, key_hash};
pub use error::{CorruptError, InputError, SourceError, SpecError, Stopped, TaskError, UserError};
pub use function::{
    BlockMapper, Combiner, Emit, HashPartitioner, Job, Mapper, Output, Partitioner, Record,
    Reducer, TaskContext, Values,
};
pub use input::{Block, Found, NumberGroup, NumberTable, Reader, find_inputs, open_range};
pub use progress::{Cancel, Progress, ProgressSnapshot};
pub use spec::{Args, FunctionSpec, JobFactory, Registry, StreamingSpec, prepare};
pub use split::{Compression, CsvOptions, Format, InputOptions, Split, plan_splits};
pub use task::{
    Consumed, Durability, Extent, Fetched, MapOutput, MapTask, OutputOptions, ReduceOutput,
    ReduceTask, ShuffleCompression, ShuffleSource, run_map, run_reduce,
};
