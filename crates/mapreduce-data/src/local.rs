//! A whole job in this process: no coordinator, no workers, no network.
//!
//! This is what distributed runs are compared with, and the quickest way to try a job. With one
//! thread it is the sequential run that defines the result; with more, tasks of a phase run side by
//! side.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::error::{SourceError, TaskError};
use crate::function::Job;
use crate::progress::{Cancel, Progress};
use crate::spec::{FunctionSpec, Registry, prepare};
use crate::split::Split;
use crate::task::{
    Fetched, MapOutput, MapTask, OutputOptions, ReduceOutput, ReduceTask, ShuffleCompression,
    ShuffleSource, run_map, run_reduce,
};

/// How a job is run in this process.
#[derive(Clone, Debug)]
pub struct LocalOptions {
    /// How many output files there are.
    pub partitions: u32,
    /// How many tasks run at once.
    pub threads: usize,
    /// The memory of each of them.
    pub memory_bytes: u64,
    /// For what is temporary; removed at the end.
    pub scratch: PathBuf,
    /// Where the `mr-out-*` files go.
    pub output: PathBuf,
    /// How they are written.
    pub options: OutputOptions,
    /// Whether runs are compressed.
    pub compression: ShuffleCompression,
}

/// What a job made.
#[derive(Clone, Debug)]
pub struct LocalOutput {
    /// By map task.
    pub maps: Vec<MapOutput>,
    /// By partition.
    pub reduces: Vec<ReduceOutput>,
}

/// Runs a job.
///
/// # Errors
///
/// The first failure of a task; nothing is tried twice.
pub fn run(
    spec: &FunctionSpec,
    registry: &Registry,
    splits: &[Split],
    options: &LocalOptions,
    cancel: &Cancel,
) -> Result<LocalOutput, TaskError> {
    let spec = prepare(spec, registry, splits, options.partitions, cancel)?;
    let job = spec.resolve(registry)?;
    fs::create_dir_all(&options.output)
        .map_err(|error| TaskError::disk(&options.output, "make", error))?;
    let maps = side_by_side(splits.len(), options.threads, |index| {
        map(index, &splits[index], &job, options, cancel)
    })?;
    let partitions = options.partitions as usize;
    let reduces = side_by_side(partitions, options.threads, |index| {
        reduce(index, &maps, &job, options, cancel)
    })?;
    fs::remove_dir_all(&options.scratch)
        .map_err(|error| TaskError::disk(&options.scratch, "remove", error))?;
    Ok(LocalOutput { maps, reduces })
}

fn number(index: usize) -> u32 {
    u32::try_from(index).expect("limits bound the number of tasks")
}

fn map(
    index: usize,
    split: &Split,
    job: &Arc<dyn Job>,
    options: &LocalOptions,
    cancel: &Cancel,
) -> Result<MapOutput, TaskError> {
    let task = MapTask {
        task: number(index),
        split: split.clone(),
        job: Arc::clone(job),
        partitions: options.partitions,
        memory_bytes: options.memory_bytes,
        dir: options.scratch.join(format!("map-{index}")),
        skip: BTreeSet::new(),
        compression: options.compression,
    };
    run_map(&task, &Progress::new(), cancel)
}

fn reduce(
    index: usize,
    maps: &[MapOutput],
    job: &Arc<dyn Job>,
    options: &LocalOptions,
    cancel: &Cancel,
) -> Result<ReduceOutput, TaskError> {
    let task = ReduceTask {
        partition: number(index),
        job: Arc::clone(job),
        partitions: options.partitions,
        memory_bytes: options.memory_bytes,
        dir: options.scratch.join(format!("reduce-{index}")),
        output: options.output.join(format!("mr-out-{index}")),
        options: options.options,
    };
    let mut source = LocalSource::new(number(index), maps);
    run_reduce(&task, &mut source, &Progress::new(), cancel)
}

/// A partition's extents straight from the map tasks' files.
#[derive(Debug)]
pub struct LocalSource<'a> {
    partition: u32,
    maps: core::iter::Zip<core::ops::RangeFrom<u32>, core::slice::Iter<'a, MapOutput>>,
}

impl<'a> LocalSource<'a> {
    /// Of a partition; `maps` are all map tasks by number.
    #[must_use]
    pub fn new(partition: u32, maps: &'a [MapOutput]) -> Self {
        Self {
            partition,
            maps: (0..).zip(maps),
        }
    }
}

impl ShuffleSource for LocalSource<'_> {
    fn next(&mut self) -> Result<Option<Fetched<'_>>, (u32, SourceError)> {
        for (map_task, map) in self.maps.by_ref() {
            let extent = map.extents[self.partition as usize];
            if extent.len > 0 {
                let body = open_at(&map.file, extent.offset, extent.len);
                let body = body.map_err(|error| (map_task, SourceError::Io(error)))?;
                return Ok(Some(Fetched {
                    map_task,
                    extent,
                    body: Box::new(body),
                }));
            }
        }
        Ok(None)
    }
}

fn open_at(path: &Path, offset: u64, len: u64) -> std::io::Result<impl Read + use<>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    Ok(file.take(len))
}

/// Runs numbered tasks on some threads and gives their results in the order of their numbers.
fn side_by_side<T: Send>(
    count: usize,
    threads: usize,
    task: impl Fn(usize) -> Result<T, TaskError> + Sync,
) -> Result<Vec<T>, TaskError> {
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<(usize, Result<T, TaskError>)>> = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..threads.clamp(1, count.max(1)) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= count {
                        return;
                    }
                    let result = task(index);
                    if result.is_err() {
                        // The others end with what they have.
                        next.store(count, Ordering::Relaxed);
                    }
                    let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
                    results.push((index, result));
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}
