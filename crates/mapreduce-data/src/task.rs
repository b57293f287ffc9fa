//! Tasks: what goes in, what comes out.

use core::fmt::Debug;
use std::collections::BTreeSet;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::counters::Counters;
use crate::digest::Digest;
use crate::error::{SourceError, TaskError};
use crate::function::Job;
use crate::progress::{Cancel, Progress};
use crate::split::Split;

/// One attempt of a map task.
#[derive(Clone, Debug)]
pub struct MapTask {
    /// Its number, from 0: the place of its split in the plan.
    pub task: u32,
    /// What it reads.
    pub split: Split,
    /// What it does.
    pub job: Arc<dyn Job>,
    /// Of the job.
    pub partitions: u32,
    /// How much memory it may use for the data it holds.
    pub memory_bytes: u64,
    /// The attempt's own directory; made if it isn't there.
    pub dir: PathBuf,
    /// Positions of records to leave out.
    pub skip: BTreeSet<u64>,
    /// Whether runs are compressed.
    pub compression: ShuffleCompression,
}

/// Whether blocks of run files are compressed (with LZ4).
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ShuffleCompression {
    /// Where it saves half or more; looked at again now and then.
    #[default]
    Auto,
    /// All that get smaller.
    Always,
    /// None.
    Never,
}

/// What a map task made: one file with an extent for each partition.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct MapOutput {
    /// In the attempt's directory.
    pub file: PathBuf,
    /// By partition; an empty one has a length of 0.
    pub extents: Vec<Extent>,
    /// Of the bytes of the split's records, in their order.
    pub input_digest: Digest,
    /// How many records were read.
    pub input_records: u64,
    /// How many bytes they have, decompressed.
    pub input_bytes: u64,
    /// How many pairs were emitted, before combining.
    pub emitted_records: u64,
    /// Runs that were written because memory was full.
    pub spills: u64,
    /// What the user's code counted.
    pub counters: Counters,
    /// Positions of the records that were left out.
    pub skipped: Vec<u64>,
}

/// A part of a run file: what one map task has for one partition.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Extent {
    /// In the file.
    pub offset: u64,
    /// In bytes of the file.
    pub len: u64,
    /// How many pairs.
    pub records: u64,
    /// How many bytes their keys and values have.
    pub bytes: u64,
    /// Of the pairs.
    pub digest: Digest,
}

/// One attempt of a reduce task.
#[derive(Clone, Debug)]
pub struct ReduceTask {
    /// Its number, from 0.
    pub partition: u32,
    /// What it does.
    pub job: Arc<dyn Job>,
    /// Of the job.
    pub partitions: u32,
    /// How much memory it may use for the data it holds.
    pub memory_bytes: u64,
    /// The attempt's own directory, for runs that do not fit in memory; made if it isn't there.
    pub dir: PathBuf,
    /// Where the result goes: a file that only this attempt writes, replaced if it is there.
    pub output: PathBuf,
    /// How the result is written.
    pub options: OutputOptions,
}

/// How a result is written.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct OutputOptions {
    /// Between key and value.
    pub separator: u8,
    /// Whether the result is on disk, not only in the system's cache, when the task returns.
    pub durability: Durability,
}

impl Default for OutputOptions {
    fn default() -> Self {
        Self {
            separator: b'\t',
            durability: Durability::Synced,
        }
    }
}

/// Whether a file is synced.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// With `fdatasync` before the task returns. The directory is the caller's matter.
    Synced,
    /// When the system gets to it.
    Cached,
}

/// Where a reduce task gets its partition's extents from.
pub trait ShuffleSource {
    /// The next extent, in any order of map tasks, each map task that has pairs for the partition
    /// exactly once; `None` after the last. It may be read until the next call.
    ///
    /// # Errors
    ///
    /// The map task whose output can't be had, and why. Errors of the reader end the task likewise.
    fn next(&mut self) -> Result<Option<Fetched<'_>>, (u32, SourceError)>;
}

/// The output of one map task for one partition.
pub struct Fetched<'a> {
    /// Which map task.
    pub map_task: u32,
    /// As the map task reported it; it is checked against what comes.
    pub extent: Extent,
    /// `extent.len` bytes.
    pub body: Box<dyn Read + 'a>,
}

impl Debug for Fetched<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Fetched")
            .field("map_task", &self.map_task)
            .field("extent", &self.extent)
            .finish_non_exhaustive()
    }
}

/// What a reduce task made.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct ReduceOutput {
    /// As the task named it.
    pub file: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// Its lines.
    pub records: u64,
    /// Of its lines, as records with an empty value.
    pub digest: Digest,
    /// How many different keys there were.
    pub keys: u64,
    /// What was consumed, by map task.
    pub consumed: Vec<Consumed>,
    /// Runs that were written because memory was full.
    pub spills: u64,
    /// What the user's code counted.
    pub counters: Counters,
}

/// What a reduce task consumed of one map task's output: to be compared with its [`Extent`].
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Consumed {
    /// Which map task.
    pub map_task: u32,
    /// How many pairs.
    pub records: u64,
    /// How many bytes their keys and values have.
    pub bytes: u64,
    /// Of the pairs.
    pub digest: Digest,
}

/// Runs a map task on this thread.
///
/// # Errors
///
/// See [`TaskError`]. The attempt's directory may then hold files; they are worth nothing.
pub fn run_map(
    task: &MapTask,
    progress: &Progress,
    cancel: &Cancel,
) -> Result<MapOutput, TaskError> {
    crate::map::run(task, progress, cancel)
}

/// Runs a reduce task on this thread.
///
/// # Errors
///
/// See [`TaskError`]. The attempt's files may then be there; they are worth nothing.
pub fn run_reduce(
    task: &ReduceTask,
    source: &mut dyn ShuffleSource,
    progress: &Progress,
    cancel: &Cancel,
) -> Result<ReduceOutput, TaskError> {
    crate::reduce::run(task, source, progress, cancel)
}
