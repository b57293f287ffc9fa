//! What goes between the job, its workers, and whoever drives it.

use serde::{Deserialize, Serialize};

use crate::attempt::Purpose;
use crate::failure::Failure;
use crate::id::{AttemptId, TaskId, WorkerId};
use crate::receipt::Receipt;
use crate::record::{Batch, MapDone, Outcome, ReduceDone, Tally};

/// What a completed attempt says of itself.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// A map.
    Map(MapDone),
    /// A reduce.
    Reduce(ReduceDone),
}

/// An attempt that a worker has when it registers.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Held {
    /// The attempt.
    pub attempt: AttemptId,
    /// Its task.
    pub task: TaskId,
    /// What the worker has of it.
    pub state: HeldState,
}

/// What a worker has of an attempt.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeldState {
    /// It runs, or its report is not acknowledged yet.
    Running,
    /// Its output.
    Output,
}

/// What a worker says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromWorker {
    /// It is here; also after its connection broke, or the coordinator was replaced.
    Register {
        /// Attempts that it executes at once.
        slots: u32,
        /// What it has.
        held: Vec<Held>,
    },
    /// It is alive, and this is what it executes: how far each attempt is, 0 to 1.
    Status {
        /// All that it executes.
        running: Vec<(AttemptId, f64)>,
    },
    /// An attempt is done. Repeated until it is acknowledged.
    Finished {
        /// Which.
        attempt: AttemptId,
        /// What it says.
        report: Report,
    },
    /// An attempt failed. Repeated until it is acknowledged.
    Failed {
        /// Which.
        attempt: AttemptId,
        /// Why.
        failure: Failure,
    },
    /// A reduce can't get a map's output; it waits for another source.
    FetchFailed {
        /// The reduce.
        attempt: AttemptId,
        /// The map.
        map: u32,
        /// Which execution of the map was asked for.
        source: AttemptId,
    },
    /// It wants to leave: no more work, please.
    Draining,
}

/// Where a map's output is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// The map.
    pub map: u32,
    /// The winner.
    pub attempt: AttemptId,
    /// Who has it.
    pub worker: WorkerId,
    /// What it has for this reduce.
    pub tally: Tally,
}

/// An order to execute a task.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Assignment {
    /// The name of this execution.
    pub attempt: AttemptId,
    /// What to execute.
    pub task: TaskId,
    /// Records of the input to leave out.
    pub skip: Vec<u64>,
    /// For a reduce: where the maps' outputs are.
    pub sources: Vec<Source>,
}

/// What the job says to a worker.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToWorker {
    /// The worker is registered, in the reign that the message is from.
    Welcome,
    /// Execute this. May be repeated.
    Assign(Assignment),
    /// Stop this; its files can go.
    Cancel {
        /// Which.
        attempt: AttemptId,
    },
    /// The report arrived and this attempt is the task's result: keep what it wrote.
    Accepted {
        /// Which.
        attempt: AttemptId,
    },
    /// The report arrived and is not needed, or the output isn't any more: its files can go.
    Discard {
        /// Which.
        attempt: AttemptId,
    },
    /// A map's output is to be had elsewhere.
    Moved {
        /// The reduce that wants to know.
        attempt: AttemptId,
        /// Where.
        source: Source,
    },
    /// Nothing that this worker has is needed: a draining worker can leave.
    Released,
    /// The job is over: everything can go.
    Close,
}

/// What the driver is to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Send a message. It may get lost.
    Send {
        /// To whom.
        worker: WorkerId,
        /// What.
        message: ToWorker,
    },
    /// Make a batch durable at this place of the journal if nothing is there, then call
    /// [`Job::on_journaled`](crate::Job::on_journaled). There is one at a time.
    Journal {
        /// The place.
        seq: u64,
        /// What.
        batch: Batch,
    },
    /// Publish the output that the receipt names, once and for all, then call
    /// [`Job::on_published`](crate::Job::on_published).
    Publish(Box<Receipt>),
    /// This attempt of a reduce will never be a result: its file can go.
    Remove {
        /// Which.
        attempt: AttemptId,
        /// Of which task.
        task: TaskId,
    },
    /// Something to tell people.
    Tell(Event),
    /// The job is over, durably.
    Ended(Outcome),
}

/// How an attempt ended.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// Its result was taken.
    Won,
    /// Another's result was taken.
    Beaten,
    /// It was an audit.
    Audited {
        /// Whether it gave the same.
        same: bool,
    },
    /// It failed.
    Failed(Failure),
}

/// Something that people want to know.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A worker is here.
    Joined(WorkerId),
    /// A worker is gone.
    Lost(WorkerId),
    /// A worker failed so often that others are preferred.
    Benched(WorkerId),
    /// An attempt was given to a worker.
    Started {
        /// Which.
        attempt: AttemptId,
        /// Of which task.
        task: TaskId,
        /// To whom.
        worker: WorkerId,
        /// What for.
        purpose: Purpose,
    },
    /// An attempt is over.
    Done {
        /// Which.
        attempt: AttemptId,
        /// Of which task.
        task: TaskId,
        /// Who had it.
        worker: WorkerId,
        /// How.
        how: How,
    },
    /// The output of a completed map was lost.
    OutputLost {
        /// Which.
        map: u32,
    },
    /// A bad record is skipped.
    Skipped {
        /// In which map's input.
        map: u32,
        /// Which.
        record: u64,
    },
}
