//! The map side: records in, one file of sorted extents out.

use std::fs;

use crate::error::{SpecError, TaskError, UserError};
use crate::function::{Record, TaskContext};
use crate::guard;
use crate::input::{self, Block, Reader};
use crate::limits;
use crate::progress::{Cancel, Progress};
use crate::task::{MapOutput, MapTask};

mod buffer;
mod collector;
mod combine;
mod rerun;

pub(crate) use collector::{disk_error, fan_in};

use crate::map::collector::Collector;

pub(crate) fn run(
    task: &MapTask,
    progress: &Progress,
    cancel: &Cancel,
) -> Result<MapOutput, TaskError> {
    check_numbers(task.partitions, task.memory_bytes)?;
    cancel.check()?;
    fs::create_dir_all(&task.dir).map_err(|error| TaskError::disk(&task.dir, "make", error))?;
    let context = TaskContext {
        task: task.task,
        partitions: task.partitions,
        dir: task.dir.clone(),
        cancel: cancel.clone(),
    };
    let mut reader = Reader::open(&task.split)?;
    Progress::add(&progress.total_bytes, task.split.len);
    let mut collector = Collector::new(task, &context, progress);
    let block_mapper = task
        .job
        .block_mapper(&task.split.format)
        .filter(|_| task.skip.is_empty());
    let mut state = State {
        records: 0,
        bytes: 0,
        skipped: Vec::new(),
        position: None,
    };
    let result = match block_mapper {
        Some(mapper) => by_blocks(
            mapper,
            &mut reader,
            &mut collector,
            &context,
            progress,
            &mut state,
        ),
        None => by_records(
            task,
            &mut reader,
            &mut collector,
            &context,
            progress,
            &mut state,
        ),
    };
    if let Err(error) = result {
        return Err(match error {
            TaskError::User { source, .. } => {
                if cancel.is_cancelled() {
                    return Err(TaskError::Cancelled);
                }
                collector.take_failure().unwrap_or(TaskError::User {
                    record: state.position,
                    source,
                })
            }
            other => other,
        });
    }
    let finished = collector.finish()?;
    Ok(MapOutput {
        file: finished.file,
        extents: finished.extents,
        input_digest: reader.digest(),
        input_records: state.records,
        input_bytes: state.bytes,
        emitted_records: finished.emitted,
        spills: finished.spills,
        counters: finished.counters,
        skipped: state.skipped,
    })
}

/// The numbers that map and reduce tasks share.
pub(crate) fn check_numbers(partitions: u32, memory_bytes: u64) -> Result<(), TaskError> {
    if partitions == 0 || partitions > limits::PARTITIONS_MAX {
        let text = format!(
            "{partitions} partitions: 1 to {} are possible",
            limits::PARTITIONS_MAX
        );
        return Err(SpecError::Task(text).into());
    }
    if memory_bytes < limits::MEMORY_BYTES_MIN {
        let text = format!(
            "{memory_bytes} bytes of memory for a task: it needs {} at least",
            limits::MEMORY_BYTES_MIN
        );
        return Err(SpecError::Task(text).into());
    }
    Ok(())
}

/// What is known of the input so far.
struct State {
    records: u64,
    bytes: u64,
    skipped: Vec<u64>,
    /// Of the record that the user's code has.
    position: Option<u64>,
}

impl State {
    fn after(&mut self, block: &Block<'_>, records: u64, progress: &Progress) {
        self.records += records;
        self.bytes += block.bytes.len() as u64;
        Progress::add(&progress.input_records, records);
        Progress::add(&progress.input_bytes, block.bytes.len() as u64);
    }
}

fn user(source: UserError) -> TaskError {
    TaskError::User {
        record: None,
        source,
    }
}

fn by_blocks(
    mut mapper: Box<dyn crate::function::BlockMapper>,
    reader: &mut Reader,
    collector: &mut Collector<'_>,
    context: &TaskContext,
    progress: &Progress,
    state: &mut State,
) -> Result<(), TaskError> {
    while let Some(block) = reader.next_block()? {
        context.cancel.check()?;
        guard::call(|| mapper.map_block(block.bytes, collector)).map_err(user)?;
        let records = block.count();
        state.after(&block, records, progress);
    }
    guard::call(|| mapper.finish(collector)).map_err(user)
}

fn by_records(
    task: &MapTask,
    reader: &mut Reader,
    collector: &mut Collector<'_>,
    context: &TaskContext,
    progress: &Progress,
    state: &mut State,
) -> Result<(), TaskError> {
    let mut mapper = task.job.mapper(context).map_err(user)?;
    let split = &task.split;
    let mut emitted = 0;
    while let Some(block) = reader.next_block()? {
        context.cancel.check()?;
        let mut records = 0;
        let (position, skipped) = (&mut state.position, &mut state.skipped);
        guard::call(|| {
            for (at, bytes) in block.records() {
                records += 1;
                if !task.skip.is_empty() && task.skip.contains(&at) {
                    skipped.push(at);
                    continue;
                }
                *position = Some(at);
                input::check_record(&split.format, bytes)?;
                let record = Record {
                    input: split.input,
                    location: &split.location,
                    position: at,
                    bytes,
                };
                mapper.map(&record, collector)?;
            }
            Ok(())
        })
        .map_err(user)?;
        state.after(&block, records, progress);
        Progress::add(&progress.output_records, collector.emitted - emitted);
        emitted = collector.emitted;
    }
    state.position = None;
    guard::call(|| mapper.finish(collector)).map_err(user)
}
