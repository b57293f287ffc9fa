//! What a job does: the traits that user code implements, and those that the engine offers it.
//!
//! Keys and values are bytes. Functions must depend on their arguments alone: a task may run more
//! than once, and its attempts must agree.

use core::fmt::Debug;
use std::path::PathBuf;

use crate::digest::key_hash;
use crate::error::{SpecError, Stopped, TaskError, UserError};
use crate::progress::Cancel;
use crate::spec::Args;
use crate::split::{Format, Split};

/// One record of an input.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Which of the job's inputs it came from, counted from 0.
    pub input: u32,
    /// The file or object.
    pub location: &'a str,
    /// Where the record starts in the file's decompressed bytes; in Parquet, in its split's
    /// rows as lines of JSON.
    pub position: u64,
    /// The line without its end, or the row as JSON.
    pub bytes: &'a [u8],
}

/// Makes pairs of records.
pub trait Mapper {
    /// Called once for each record, in the order of the split.
    ///
    /// # Errors
    ///
    /// What the function itself finds wrong, or [`Stopped`] as it came from `out`.
    fn map(&mut self, record: &Record<'_>, out: &mut dyn Emit) -> Result<(), UserError>;

    /// Called after the last record.
    ///
    /// # Errors
    ///
    /// As for [`Mapper::map`].
    fn finish(&mut self, out: &mut dyn Emit) -> Result<(), UserError> {
        let _ = out;
        Ok(())
    }
}

/// A faster way to the same pairs, for mappers that do not care where lines end: it is given large
/// pieces of text that consist of whole lines. See [`Job::block_mapper`].
pub trait BlockMapper {
    /// Called with the next lines.
    ///
    /// # Errors
    ///
    /// As for [`Mapper::map`].
    fn map_block(&mut self, block: &[u8], out: &mut dyn Emit) -> Result<(), UserError>;

    /// Called after the last block.
    ///
    /// # Errors
    ///
    /// As for [`Mapper::map`].
    fn finish(&mut self, out: &mut dyn Emit) -> Result<(), UserError>;
}

/// Takes the pairs of a mapper.
pub trait Emit {
    /// Takes a pair.
    ///
    /// # Errors
    ///
    /// When the task can't go on: return it.
    fn emit(&mut self, key: &[u8], value: &[u8]) -> Result<(), Stopped>;

    /// Adds to a counter of the task.
    fn count(&mut self, group: &str, name: &str, amount: i64);

    /// Says what the task is at, for those who watch it.
    fn status(&mut self, text: &str);
}

/// Makes output of a key and its values.
pub trait Reducer {
    /// Called once for each key, in increasing order.
    ///
    /// # Errors
    ///
    /// What the function itself finds wrong, or [`Stopped`] as it came from `values` or `out`.
    fn reduce(
        &mut self,
        key: &[u8],
        values: &mut dyn Values,
        out: &mut dyn Output,
    ) -> Result<(), UserError>;

    /// Called after the last key.
    ///
    /// # Errors
    ///
    /// As for [`Reducer::reduce`].
    fn finish(&mut self, out: &mut dyn Output) -> Result<(), UserError> {
        let _ = out;
        Ok(())
    }
}

/// The values of one key, by map task and then in the order in which they were emitted. Those that
/// a reducer leaves are skipped.
pub trait Values {
    /// The next value, or `None` after the last.
    ///
    /// # Errors
    ///
    /// When the task can't go on: return it.
    fn next(&mut self) -> Result<Option<&[u8]>, Stopped>;
}

/// Takes the output of a reducer.
pub trait Output {
    /// Writes `key`, the separator, `value` and a line feed; without the separator where the value
    /// is empty.
    ///
    /// # Errors
    ///
    /// When the task can't go on: return it.
    fn write(&mut self, key: &[u8], value: &[u8]) -> Result<(), Stopped>;

    /// Writes a line as it is.
    ///
    /// # Errors
    ///
    /// When the task can't go on: return it.
    fn write_line(&mut self, line: &[u8]) -> Result<(), Stopped>;

    /// Adds to a counter of the task.
    fn count(&mut self, group: &str, name: &str, amount: i64);

    /// Says what the task is at, for those who watch it.
    fn status(&mut self, text: &str);
}

/// Merges the values of one key early, on the map side, so that fewer travel.
///
/// It must be associative, and it is called with the values in their order. It may run any number
/// of times, or not at all.
pub trait Combiner {
    /// Merges `value` into `into`, which holds what was merged before (at first: a value).
    ///
    /// # Errors
    ///
    /// What the function itself finds wrong.
    fn merge(&mut self, key: &[u8], into: &mut Vec<u8>, value: &[u8]) -> Result<(), UserError>;
}

/// Chooses the partition of a key.
pub trait Partitioner {
    /// Must be less than `partitions`, and the same in every task of the job.
    fn partition(&self, key: &[u8], partitions: u32) -> u32;
}

/// [`key_hash`] modulo the number of partitions.
#[derive(Clone, Copy, Debug, Default)]
pub struct HashPartitioner;

impl Partitioner for HashPartitioner {
    #[inline]
    fn partition(&self, key: &[u8], partitions: u32) -> u32 {
        key_hash(key) % partitions
    }
}

/// What a task tells the functions that it makes.
#[derive(Clone, Debug)]
pub struct TaskContext {
    /// The number of the map task, or of the partition.
    pub task: u32,
    /// How many reduce partitions the job has.
    pub partitions: u32,
    /// The attempt's own directory.
    pub dir: PathBuf,
    /// Whether the task is to stop: for functions that wait.
    pub cancel: Cancel,
}

/// A job: makes the functions of its tasks.
pub trait Job: Debug + Send + Sync {
    /// The mapper of one map task.
    ///
    /// # Errors
    ///
    /// When it can't be made.
    fn mapper(&self, context: &TaskContext) -> Result<Box<dyn Mapper>, UserError>;

    /// The reducer of one reduce task.
    ///
    /// # Errors
    ///
    /// When it can't be made.
    fn reducer(&self, context: &TaskContext) -> Result<Box<dyn Reducer>, UserError>;

    /// The combiner of one map task, if the job has one.
    fn combiner(&self) -> Option<Box<dyn Combiner>> {
        None
    }

    /// A combiner that takes a sorted run as a reducer does: its output lines, `key`, tab, `value`,
    /// are pairs again and must be of the same partition. Only where there is no
    /// [`Job::combiner`].
    ///
    /// # Errors
    ///
    /// When it can't be made.
    fn run_combiner(&self, context: &TaskContext) -> Result<Option<Box<dyn Reducer>>, UserError> {
        let _ = context;
        Ok(None)
    }

    /// Chooses partitions.
    fn partitioner(&self) -> Box<dyn Partitioner> {
        Box::new(HashPartitioner)
    }

    /// A faster mapper for inputs of this format, where there is one. What it emits must combine to
    /// the same as what [`Job::mapper`] emits. It is not used while records are being skipped.
    fn block_mapper(&self, format: &Format) -> Option<Box<dyn BlockMapper>> {
        let _ = format;
        None
    }

    /// Called once, before the first task, where a job has to look at its inputs (a total order
    /// needs a sample of the keys). What it returns is added to the arguments that all tasks get.
    ///
    /// # Errors
    ///
    /// When the inputs can't be read, or [`SpecError`].
    fn prepare(
        &self,
        splits: &[Split],
        partitions: u32,
        cancel: &Cancel,
    ) -> Result<Args, TaskError> {
        let _ = (splits, partitions, cancel);
        Ok(Args::new())
    }
}

/// For implementations of [`Job`] that check their arguments.
impl SpecError {
    /// An argument that a job can't use.
    #[must_use]
    pub fn argument(job: &str, argument: &str, reason: &str) -> Self {
        Self::Argument {
            job: job.to_owned(),
            argument: argument.to_owned(),
            reason: reason.to_owned(),
        }
    }
}
