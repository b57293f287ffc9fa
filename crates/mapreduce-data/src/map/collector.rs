//! Takes the pairs that a mapper emits, and turns them into the map task's output.

use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::Arc;

use crate::counters::Counters;
use crate::error::{Stopped, TaskError, UserError};
use crate::function::{Combiner, Emit, Partitioner, TaskContext};
use crate::limits;
use crate::map::buffer::SortBuffer;
use crate::map::combine::{CombineTable, Taken};
use crate::map::rerun;
use crate::progress::Progress;
use crate::run::{Check, Cursor, Merge, MergeError, RunError, RunFile, decode_record};
use crate::task::{Extent, MapTask};

/// A run that was written because memory was full.
#[derive(Debug)]
struct Spill {
    path: PathBuf,
    file: Arc<File>,
    extents: Vec<Extent>,
}

/// The pairs of one map task.
pub(crate) struct Collector<'a> {
    task: &'a MapTask,
    context: &'a TaskContext,
    progress: &'a Progress,
    partitioner: Box<dyn Partitioner>,
    combiner: Option<Box<dyn Combiner>>,
    table: Option<CombineTable>,
    buffer: SortBuffer,
    spills: Vec<Spill>,
    files: u64,
    pub(crate) spilled: u64,
    pub(crate) emitted: u64,
    pub(crate) counters: Counters,
    /// Why the mapper was told to stop.
    failure: Option<TaskError>,
}

impl<'a> Collector<'a> {
    pub(crate) fn new(task: &'a MapTask, context: &'a TaskContext, progress: &'a Progress) -> Self {
        let limit = memory(task, context);
        let combiner = task.job.combiner();
        Self {
            task,
            context,
            progress,
            partitioner: task.job.partitioner(),
            table: combiner.is_some().then(|| CombineTable::new(limit)),
            combiner,
            buffer: SortBuffer::new(limit),
            spills: Vec::new(),
            files: 0,
            spilled: 0,
            emitted: 0,
            counters: Counters::default(),
            failure: None,
        }
    }

    /// Why it stopped the mapper, if it did.
    pub(crate) fn take_failure(&mut self) -> Option<TaskError> {
        self.failure.take()
    }

    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), TaskError> {
        let longest = key.len().max(value.len());
        if longest > limits::RECORD_BYTES_MAX {
            return Err(TaskError::Limit {
                what: "an emitted key or value",
                size: longest as u64,
                limit: limits::RECORD_BYTES_MAX as u64,
            });
        }
        self.emitted += 1;
        if self.table.is_some() && self.take_combining(key, value)? {
            return Ok(());
        }
        let partition = self.partition(key)?;
        if !self.buffer.push(partition, key, value) {
            self.spill()?;
            self.buffer.push(partition, key, value);
        }
        Ok(())
    }

    #[inline]
    fn partition(&self, key: &[u8]) -> Result<u32, TaskError> {
        let partition = self.partitioner.partition(key, self.task.partitions);
        if partition >= self.task.partitions {
            let text = format!(
                "the partitioner chose {partition} of {} partitions",
                self.task.partitions
            );
            return Err(user(UserError::Failed(text)));
        }
        Ok(partition)
    }

    /// False when the table was given up.
    fn take_combining(&mut self, key: &[u8], value: &[u8]) -> Result<bool, TaskError> {
        let partition = self.partition(key)?;
        for _ in 0..2 {
            let (Some(table), Some(combiner)) = (&mut self.table, &mut self.combiner) else {
                return Ok(false);
            };
            let taken = table
                .push(key, value, &mut **combiner, || partition)
                .map_err(user)?;
            if taken == Taken::Yes {
                return Ok(true);
            }
            let pays = table.pays();
            self.spill()?;
            if !pays {
                self.table = None;
            }
        }
        Ok(false)
    }

    fn run_file(&mut self, name: &str) -> Result<RunFile, TaskError> {
        self.files += 1;
        let path = self.task.dir.join(format!("{name}-{}.run", self.files));
        // What stays within the task is compressed like what leaves it, but needs no digest.
        RunFile::create(&path, self.task.compression, false)
    }

    /// Writes what is in memory as a run.
    fn spill(&mut self) -> Result<(), TaskError> {
        self.context.cancel.check()?;
        let mut file = self.run_file("spill")?;
        let extents = self.write_memory(&mut file)?;
        let path = file.path().to_path_buf();
        let file = Arc::new(file.finish()?);
        self.spills.push(Spill {
            path,
            file,
            extents,
        });
        self.spilled += 1;
        Progress::add(&self.progress.spills, 1);
        let fan_in = fan_in(self.task.memory_bytes);
        if self.spills.len() >= 2 * fan_in {
            self.merge_oldest(fan_in)?;
        }
        Ok(())
    }

    /// Writes what is in memory, sorted and combined, one extent for each partition.
    fn write_memory(&mut self, file: &mut RunFile) -> Result<Vec<Extent>, TaskError> {
        if let Some(table) = self.table.as_mut().filter(|table| !table.is_empty()) {
            table.sort();
            let mut extents = Extents::new(file, None, self.task.partitions);
            for index in 0..table.len() {
                let (partition, key, value) = table.pair(index);
                extents.push(partition, key, value)?;
            }
            let extents = extents.finish()?;
            table.clear();
            return Ok(extents);
        }
        if let Some(reducer) = self.task.job.run_combiner(self.context).map_err(user)? {
            self.rerun(reducer)?;
        }
        self.buffer.sort();
        let mut extents = Extents::new(file, self.combiner.as_deref_mut(), self.task.partitions);
        for index in 0..self.buffer.len() {
            let (partition, pair) = self.buffer.pair(index);
            extents.push_encoded(partition, pair)?;
        }
        let extents = extents.finish()?;
        self.buffer.clear();
        Ok(extents)
    }

    /// Sends the buffer through a combiner that works like a reducer.
    fn rerun(&mut self, reducer: Box<dyn crate::function::Reducer>) -> Result<(), TaskError> {
        self.buffer.sort();
        let mut combined = SortBuffer::new(memory(self.task, self.context));
        let mut take = |key: &[u8], value: &[u8]| {
            let partition = self.partitioner.partition(key, self.task.partitions);
            if partition >= self.task.partitions || !combined.push(partition, key, value) {
                let text = "the combiner made more than it was given, or keys of no partition";
                return Err(UserError::new(text));
            }
            Ok(())
        };
        rerun::run(
            &self.buffer,
            reducer,
            &mut self.counters,
            self.progress,
            &mut take,
        )?;
        self.buffer = combined;
        Ok(())
    }

    /// Makes one run of the oldest ones.
    fn merge_oldest(&mut self, count: usize) -> Result<(), TaskError> {
        let mut file = self.run_file("merge")?;
        let oldest: Vec<Spill> = self.spills.drain(..count).collect();
        let extents = self.merge_into(&mut file, &oldest)?;
        let path = file.path().to_path_buf();
        let file = Arc::new(file.finish()?);
        remove(&oldest)?;
        self.spills.insert(
            0,
            Spill {
                path,
                file,
                extents,
            },
        );
        Ok(())
    }

    fn merge_into(
        &mut self,
        file: &mut RunFile,
        spills: &[Spill],
    ) -> Result<Vec<Extent>, TaskError> {
        let combiner = self.combiner.as_deref_mut();
        let mut extents = Extents::new(file, combiner, self.task.partitions);
        for partition in 0..self.task.partitions {
            self.context.cancel.check()?;
            let mut paths = Vec::new();
            let mut cursors = Vec::new();
            for spill in spills {
                let extent = spill.extents[partition as usize];
                if extent.len > 0 {
                    let file = Arc::clone(&spill.file);
                    paths.push(&spill.path);
                    let Extent { offset, len, .. } = extent;
                    cursors.push(Cursor::in_file(file, offset, len, Check::Counts));
                }
            }
            let failed = |failed: MergeError| disk_error(paths[failed.source], failed.error);
            let mut merge = Merge::new(cursors).map_err(failed)?;
            while let Some(cursor) = merge.peek() {
                extents.push(partition, cursor.key(), cursor.value())?;
                merge.advance().map_err(failed)?;
            }
        }
        extents.finish()
    }

    /// Writes the output of the task.
    pub(crate) fn finish(mut self) -> Result<Finished, TaskError> {
        let path = self.task.dir.join("map.run");
        let mut file = RunFile::create(&path, self.task.compression, true)?;
        let extents = if self.spills.is_empty() {
            self.write_memory(&mut file)?
        } else {
            if !self.buffer.is_empty() || self.table.as_ref().is_some_and(|table| !table.is_empty())
            {
                self.spill()?;
            }
            // Its memory is for the blocks of the runs now.
            self.buffer = SortBuffer::new(0);
            self.table = None;
            let fan_in = fan_in(self.task.memory_bytes);
            while self.spills.len() > fan_in {
                self.merge_oldest(fan_in)?;
            }
            let spills = core::mem::take(&mut self.spills);
            let extents = self.merge_into(&mut file, &spills)?;
            remove(&spills)?;
            extents
        };
        file.finish()?;
        Ok(Finished {
            file: path,
            extents,
            spills: self.spilled,
            emitted: self.emitted,
            counters: self.counters,
        })
    }
}

/// What a collector leaves.
pub(crate) struct Finished {
    pub(crate) file: PathBuf,
    pub(crate) extents: Vec<Extent>,
    pub(crate) spills: u64,
    pub(crate) emitted: u64,
    pub(crate) counters: Counters,
}

impl Emit for Collector<'_> {
    #[inline]
    fn emit(&mut self, key: &[u8], value: &[u8]) -> Result<(), Stopped> {
        self.take(key, value).map_err(|error| {
            self.failure.get_or_insert(error);
            Stopped
        })
    }

    fn count(&mut self, group: &str, name: &str, amount: i64) {
        self.counters.add(group, name, amount);
    }

    fn status(&mut self, text: &str) {
        self.progress.set_status(text);
    }
}

fn user(source: UserError) -> TaskError {
    TaskError::User {
        record: None,
        source,
    }
}

/// How much memory one buffer of a task may take: half where there is a second one, for what a
/// combiner makes of the first.
fn memory(task: &MapTask, context: &TaskContext) -> usize {
    let two = task.job.combiner().is_none()
        && task
            .job
            .run_combiner(context)
            .is_ok_and(|combiner| combiner.is_some());
    let limit = usize::try_from(task.memory_bytes).unwrap_or(usize::MAX);
    if two { limit / 2 } else { limit }
}

/// How many runs can be merged at once: each may need a block as stored and one unpacked.
pub(crate) fn fan_in(memory_bytes: u64) -> usize {
    let room = usize::try_from(memory_bytes / (2 * limits::BLOCK_BYTES as u64));
    room.unwrap_or(usize::MAX).clamp(2, limits::FAN_IN_MAX)
}

pub(crate) fn disk_error(path: &std::path::Path, error: RunError) -> TaskError {
    match error {
        RunError::Io(error) => TaskError::disk(path, "read", error),
        RunError::Corrupt(source) => TaskError::Corrupt {
            path: path.to_path_buf(),
            source,
        },
    }
}

fn remove(spills: &[Spill]) -> Result<(), TaskError> {
    for spill in spills {
        fs::remove_file(&spill.path)
            .map_err(|error| TaskError::disk(&spill.path, "remove", error))?;
    }
    Ok(())
}

/// Cuts sorted pairs into extents and merges neighbours with equal keys.
struct Extents<'a> {
    file: &'a mut RunFile,
    combiner: Option<&'a mut dyn Combiner>,
    partitions: u32,
    extents: Vec<Extent>,
    key: Vec<u8>,
    value: Vec<u8>,
    pending: bool,
}

impl<'a> Extents<'a> {
    fn new(
        file: &'a mut RunFile,
        combiner: Option<&'a mut (dyn Combiner + 'static)>,
        partitions: u32,
    ) -> Self {
        Self {
            file,
            combiner: combiner.map(|combiner| combiner as &mut dyn Combiner),
            partitions,
            extents: Vec::with_capacity(partitions as usize),
            key: Vec::new(),
            value: Vec::new(),
            pending: false,
        }
    }

    fn go_to(&mut self, partition: u32) -> Result<(), TaskError> {
        if (self.extents.len() as u64) < u64::from(partition) {
            self.flush()?;
            while (self.extents.len() as u64) < u64::from(partition) {
                self.extents.push(self.file.end_extent()?);
            }
        }
        Ok(())
    }

    #[inline]
    fn push_encoded(&mut self, partition: u32, pair: &[u8]) -> Result<(), TaskError> {
        if self.combiner.is_some() {
            let (key, value, end) = decode_record(pair, 0).expect("this process encoded the pair");
            return self.push(partition, &pair[key..value], &pair[value..end]);
        }
        self.go_to(partition)?;
        self.file.push_encoded(pair)
    }

    #[inline]
    fn push(&mut self, partition: u32, key: &[u8], value: &[u8]) -> Result<(), TaskError> {
        self.go_to(partition)?;
        let Some(combiner) = &mut self.combiner else {
            return self.file.push(key, value);
        };
        if self.pending && self.key == key {
            return combiner.merge(key, &mut self.value, value).map_err(user);
        }
        self.flush()?;
        self.key.extend_from_slice(key);
        self.value.extend_from_slice(value);
        self.pending = true;
        Ok(())
    }

    fn flush(&mut self) -> Result<(), TaskError> {
        if self.pending {
            self.file.push(&self.key, &self.value)?;
            self.pending = false;
        }
        self.key.clear();
        self.value.clear();
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<Extent>, TaskError> {
        self.go_to(self.partitions)?;
        Ok(self.extents)
    }
}
