//! What travels between the simulated processes.

use std::collections::BTreeMap;

use mapreduce_core::{
    Answer, Ask, AttemptId, Batch, Epoch, FromWorker, Receipt, ToWorker, WorkerId,
};
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
    /// The coordinator with this epoch lives.
    Alive(Epoch),
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
    // Anybody and the store. What is answered has a number, which the answer repeats.
    Lead {
        ask: u64,
        question: Ask,
    },
    LeadAnswer {
        ask: u64,
        answer: Answer,
    },
    Load {
        ask: u64,
    },
    Loaded {
        ask: u64,
        journal: Vec<Batch>,
    },
    Append {
        ask: u64,
        seq: u64,
        batch: Batch,
    },
    Appended {
        ask: u64,
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
        ask: u64,
        epoch: Epoch,
        receipt: Box<Receipt>,
    },
    Published {
        ask: u64,
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
                ToWorker::Welcome => "welcome",
                ToWorker::Assign(_) => "assign",
                ToWorker::Cancel { .. } => "cancel",
                ToWorker::Accepted { .. } => "accepted",
                ToWorker::Discard { .. } => "discard",
                ToWorker::Moved { .. } => "moved",
                ToWorker::Released => "released",
                ToWorker::Close => "close",
            },
            Self::Alive(_) => "alive",
            Self::RegisterAgain(_) => "register-again",
            Self::Fetch { .. } => "fetch",
            Self::Fetched { .. } => "fetched",
            Self::Lead { .. } => "lead",
            Self::LeadAnswer { .. } => "lead-answer",
            Self::Load { .. } => "load",
            Self::Loaded { .. } => "loaded",
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
                | Self::LeadAnswer { .. }
                | Self::Loaded { .. }
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
                ToWorker::Welcome | ToWorker::Released | ToWorker::Close => [epoch.0, 0, 0],
            },
            Self::Alive(epoch) | Self::RegisterAgain(epoch) => [epoch.0, 0, 0],
            Self::Fetch { map, source, .. } | Self::Fetched { map, source, .. } => {
                [u64::from(*map), source.number, 0]
            }
            Self::Append { ask, seq, batch } => [*ask, *seq, batch.epoch.0],
            Self::Appended { ask, durable } => [*ask, u64::from(*durable), 0],
            Self::Publish { ask, epoch, .. } => [*ask, epoch.0, 0],
            Self::Lead { ask, .. }
            | Self::LeadAnswer { ask, .. }
            | Self::Load { ask }
            | Self::Loaded { ask, .. }
            | Self::Published { ask, .. } => [*ask, 0, 0],
            _ => [0; 3],
        }
    }
}
