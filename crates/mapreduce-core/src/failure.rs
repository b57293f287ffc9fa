//! Why attempts fail, and why jobs do.

use serde::{Deserialize, Serialize};

use crate::id::{AttemptId, TaskId};
use crate::record::Digest;

/// Why an attempt did not succeed.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// The user's function returned an error, or panicked, or its program failed.
    #[error("the job's own code failed{}: {message}", at_record(*record))]
    User {
        /// The record that it was given, if that is known.
        record: Option<u64>,
        /// What it said.
        message: String,
    },
    /// The worker could not do it: its disk, its memory, its input.
    #[error("the worker failed: {message}")]
    Worker {
        /// What it said.
        message: String,
    },
    /// What it read was not what the maps wrote.
    #[error("it read other records from map {map} than the map wrote")]
    Conservation {
        /// The map.
        map: u32,
    },
    /// The worker disappeared.
    #[error("its worker was lost")]
    WorkerLost,
    /// It made no progress for too long.
    #[error("it made no progress for {seconds} s")]
    Stalled {
        /// How long.
        seconds: u64,
    },
    /// Its report makes no sense.
    #[error("its report is malformed: {message}")]
    Malformed {
        /// What is wrong.
        message: String,
    },
}

fn at_record(record: Option<u64>) -> String {
    record
        .map(|r| format!(" at record {r}"))
        .unwrap_or_default()
}

/// Why a job failed.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum JobError {
    /// A task failed too often.
    #[error("task {task} failed {times} times; the last time: {last}")]
    TaskFailed {
        /// The task.
        task: TaskId,
        /// How often.
        times: u32,
        /// The last failure.
        last: Failure,
    },
    /// The workers that executed a task died, one after the other.
    #[error("{times} workers were lost while they executed task {task}")]
    TaskLost {
        /// The task.
        task: TaskId,
        /// How many.
        times: u32,
    },
    /// A map's output was lost again and again.
    #[error("the output of task {task} was lost {times} times")]
    OutputLost {
        /// The task.
        task: TaskId,
        /// How often.
        times: u32,
    },
    /// More bad records than the job allows.
    #[error("more than {allowed} bad records; the last one is record {record} of task {task}")]
    TooManyBadRecords {
        /// The limit.
        allowed: u32,
        /// Where.
        task: TaskId,
        /// Which.
        record: u64,
    },
    /// Two executions of one task gave different results.
    #[error(
        "task {task} is not deterministic: {first} gave {first_digest}, {second} gave {second_digest}"
    )]
    NonDeterministic {
        /// The task.
        task: TaskId,
        /// One execution.
        first: AttemptId,
        /// Its digest.
        first_digest: Digest,
        /// Another.
        second: AttemptId,
        /// Its digest.
        second_digest: Digest,
    },
    /// There was no worker for too long.
    #[error("no worker for {seconds} s")]
    NoWorkers {
        /// How long.
        seconds: u64,
    },
    /// The job took longer than allowed.
    #[error("the job did not end within {seconds} s")]
    Deadline {
        /// How long.
        seconds: u64,
    },
    /// Somebody asked for it.
    #[error("killed: {reason}")]
    Killed {
        /// What they said.
        reason: String,
    },
    /// The output could not be published.
    #[error("the output could not be published: {message}")]
    Publish {
        /// Why.
        message: String,
    },
}
