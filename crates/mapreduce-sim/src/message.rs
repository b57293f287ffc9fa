//! What travels between the simulated processes.

use std::collections::BTreeMap;

use mapreduce_core::{AttemptId, Batch, Epoch, FromWorker, Receipt, ToWorker, WorkerId};
use stdx::NodeId;

use crate::job::{Counts, Word};

/// A message.
#[derive(Clone, Debug)]
pub(crate) enum Message {
    // Worker and coordinator.
    Say {
        worker: WorkerId,
        epoch: Epoch,
        body: FromWorker,
    },
    Order {
        epoch: Epoch,
        body: ToWorker,
        /// Where workers are.
        nodes: BTreeMap<WorkerId, NodeId>,
    },
    /// A coordinator's epoch; sent when a worker registers.
    Reign(Epoch),
    /// The worker is unknown there, or was given up.
    RegisterAgain(Epoch),
    // Worker and worker.
    Fetch {
        reduce: AttemptId,
        map: u32,
        source: AttemptId,
        partition: u32,
    },
    Fetched {
        reduce: AttemptId,
        map: u32,
        source: AttemptId,
        words: Option<Vec<Word>>,
    },
    // Anybody and the store.
    Load,
    Loaded(Vec<Batch>),
    Append {
        seq: u64,
        batch: Batch,
    },
    Appended {
        seq: u64,
        durable: bool,
    },
    WriteFile {
        name: String,
        counts: Counts,
    },
    FileWritten {
        name: String,
    },
    RemoveFile {
        name: String,
    },
    Publish {
        epoch: Epoch,
        receipt: Box<Receipt>,
    },
    Published {
        epoch: Epoch,
        result: Result<(), String>,
    },
}

impl sim::Message for Message {
    fn bytes(&self) -> usize {
        100
    }

    fn label(&self) -> &'static str {
        match self {
            Self::Say { body, .. } => match body {
                FromWorker::Register { .. } => "register",
                FromWorker::Status { .. } => "status",
                FromWorker::Finished { .. } => "finished",
                FromWorker::Failed { .. } => "failed",
                FromWorker::FetchFailed { .. } => "fetch-failed",
                FromWorker::Draining => "draining",
            },
            Self::Order { body, .. } => match body {
                ToWorker::Assign(_) => "assign",
                ToWorker::Cancel { .. } => "cancel",
                ToWorker::Accepted { .. } => "accepted",
                ToWorker::Discard { .. } => "discard",
                ToWorker::Moved { .. } => "moved",
                ToWorker::Released => "released",
                ToWorker::Close => "close",
            },
            Self::Reign(_) => "reign",
            Self::RegisterAgain(_) => "register-again",
            Self::Fetch { .. } => "fetch",
            Self::Fetched { .. } => "fetched",
            Self::Load => "load",
            Self::Loaded(_) => "loaded",
            Self::Append { .. } => "append",
            Self::Appended { .. } => "appended",
            Self::WriteFile { .. } => "write-file",
            Self::FileWritten { .. } => "file-written",
            Self::RemoveFile { .. } => "remove-file",
            Self::Publish { .. } => "publish",
            Self::Published { .. } => "published",
        }
    }

    fn is_reply(&self) -> bool {
        matches!(
            self,
            Self::Fetched { .. }
                | Self::Loaded(_)
                | Self::Appended { .. }
                | Self::FileWritten { .. }
                | Self::Published { .. }
        )
    }

    fn words(&self) -> [u64; 3] {
        match self {
            Self::Say { epoch, body, .. } => {
                let attempt = match body {
                    FromWorker::Finished { attempt, .. }
                    | FromWorker::Failed { attempt, .. }
                    | FromWorker::FetchFailed { attempt, .. } => attempt.number,
                    _ => 0,
                };
                [epoch.0, attempt, 0]
            }
            Self::Order { epoch, body, .. } => match body {
                ToWorker::Assign(a) => [epoch.0, a.attempt.number, u64::from(a.task.index)],
                ToWorker::Cancel { attempt }
                | ToWorker::Accepted { attempt }
                | ToWorker::Discard { attempt }
                | ToWorker::Moved { attempt, .. } => [epoch.0, attempt.number, 0],
                ToWorker::Released | ToWorker::Close => [epoch.0, 0, 0],
            },
            Self::Reign(epoch) | Self::RegisterAgain(epoch) => [epoch.0, 0, 0],
            Self::Fetch { map, source, .. } | Self::Fetched { map, source, .. } => {
                [u64::from(*map), source.number, 0]
            }
            Self::Append { seq, batch } => [*seq, batch.epoch.0, batch.records.len() as u64],
            Self::Appended { seq, durable } => [*seq, u64::from(*durable), 0],
            Self::Publish { epoch, .. } | Self::Published { epoch, .. } => [epoch.0, 0, 0],
            _ => [0; 3],
        }
    }
}
