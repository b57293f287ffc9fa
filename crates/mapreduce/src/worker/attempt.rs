//! One attempt on its thread.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;

use mapreduce_core::{
    Assignment, Consumed, Digest, Failure, MapDone, ReduceDone, Report, Stage, Tally,
};
use mapreduce_data::{
    Cancel, Job, MapOutput, MapTask, Progress, ReduceOutput, ReduceTask, TaskError, run_map,
    run_reduce,
};

use crate::error::chain;
use crate::spec::Details;
use crate::worker::fetch::Extents;
use crate::worker::outputs::Output;

/// What an attempt needs.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) job_id: String,
    pub(crate) job: Arc<dyn Job>,
    pub(crate) assignment: Assignment,
    pub(crate) details: Details,
    /// Of maps, as far as sources are known.
    pub(crate) maps: u32,
    pub(crate) dir: PathBuf,
    pub(crate) progress: Arc<Progress>,
    pub(crate) cancel: Cancel,
    /// For a reduce.
    pub(crate) extents: Option<Extents>,
}

/// How an attempt ended.
#[derive(Debug)]
pub(crate) enum Ended {
    Done(Report, Option<Output>),
    Failed(Failure),
    Cancelled,
}

/// Executes an attempt. Whatever the job's code does, this returns.
pub(crate) fn execute(work: Work) -> Ended {
    let outcome = catch_unwind(AssertUnwindSafe(|| match work.assignment.task.stage {
        Stage::Map => map(&work),
        Stage::Reduce => reduce(work),
    }));
    match outcome {
        Ok(Ok((report, output))) => Ended::Done(report, output),
        Ok(Err(TaskError::Cancelled)) => Ended::Cancelled,
        Ok(Err(error)) => Ended::Failed(failure(&error)),
        Err(panic) => Ended::Failed(Failure::User {
            record: None,
            message: panic_text(panic.as_ref()),
        }),
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned());
    format!("panicked: {}", text.unwrap_or_default())
}

fn failure(error: &TaskError) -> Failure {
    let message = chain(error);
    match error {
        TaskError::User { record, .. } => Failure::User {
            record: *record,
            message,
        },
        TaskError::Source {
            map_task,
            source:
                mapreduce_data::SourceError::Corrupt(_) | mapreduce_data::SourceError::Differs { .. },
        } => Failure::Conservation { map: *map_task },
        TaskError::Limit { .. } | TaskError::Spec(_) => Failure::User {
            record: None,
            message,
        },
        _ => Failure::Worker { message },
    }
}

fn map(work: &Work) -> Result<(Report, Option<Output>), TaskError> {
    let Some(split) = work.details.split.clone() else {
        unreachable!("the session refuses a map without a split");
    };
    let task = MapTask {
        task: work.assignment.task.index,
        split,
        job: Arc::clone(&work.job),
        partitions: work.details.reduces,
        memory_bytes: work.details.options.memory_bytes,
        dir: work.dir.clone(),
        skip: work
            .assignment
            .skip
            .iter()
            .copied()
            .collect::<BTreeSet<_>>(),
        compression: work.details.options.compression,
    };
    let output = run_map(&task, &work.progress, &work.cancel)?;
    let report = Report::Map(map_done(&output));
    Ok((
        report,
        Some(Output {
            file: output.file,
            extents: output.extents,
        }),
    ))
}

fn map_done(output: &MapOutput) -> MapDone {
    let extents = output.extents.iter().map(|extent| Tally {
        records: extent.records,
        bytes: extent.bytes,
        digest: Digest(extent.digest.to_u128()),
    });
    let mut counters: std::collections::BTreeMap<String, i64> = output
        .counters
        .iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    let emitted = i64::try_from(output.emitted_records).unwrap_or(i64::MAX);
    counters.insert("engine:map records emitted".to_owned(), emitted);
    let spills = i64::try_from(output.spills).unwrap_or(i64::MAX);
    counters.insert("engine:map spills".to_owned(), spills);
    MapDone {
        input: Tally {
            records: output.input_records,
            bytes: output.input_bytes,
            digest: Digest(output.input_digest.to_u128()),
        },
        extents: extents.collect(),
        skipped: output.skipped.clone(),
        counters,
    }
}

fn reduce(mut work: Work) -> Result<(Report, Option<Output>), TaskError> {
    let Some(mut extents) = work.extents.take() else {
        unreachable!("the session gives every reduce its extents");
    };
    let attempt = work.assignment.attempt;
    let file = format!("{}-{}-{attempt}", work.job_id, work.assignment.task);
    let task = ReduceTask {
        partition: work.assignment.task.index,
        job: Arc::clone(&work.job),
        partitions: work.details.reduces,
        memory_bytes: work.details.options.memory_bytes,
        dir: work.dir.clone(),
        output: work.details.attempts_dir.join(&file),
        options: work.details.options.output,
    };
    let output = run_reduce(&task, &mut extents, &work.progress, &work.cancel)?;
    Ok((Report::Reduce(reduce_done(&output, file, work.maps)), None))
}

fn reduce_done(output: &ReduceOutput, file: String, maps: u32) -> ReduceDone {
    // Maps that had nothing for this reduce were not fetched, and are not mentioned.
    let mut consumed: Vec<Consumed> = (0..maps)
        .map(|map| Consumed {
            map,
            records: 0,
            digest: Digest(0),
        })
        .collect();
    for one in &output.consumed {
        if let Some(place) = consumed.get_mut(one.map_task as usize) {
            place.records = one.records;
            place.digest = Digest(one.digest.to_u128());
        }
    }
    let mut counters: std::collections::BTreeMap<String, i64> = output
        .counters
        .iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    let keys = i64::try_from(output.keys).unwrap_or(i64::MAX);
    counters.insert("engine:reduce keys".to_owned(), keys);
    let spills = i64::try_from(output.spills).unwrap_or(i64::MAX);
    counters.insert("engine:reduce spills".to_owned(), spills);
    ReduceDone {
        output: Tally {
            records: output.records,
            bytes: output.bytes,
            digest: Digest(output.digest.to_u128()),
        },
        file,
        consumed,
        counters,
    }
}
