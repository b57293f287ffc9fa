//! Commands on their way to the log, and whoever waits for their replies.

use std::sync::Arc;

use kv_core::{Batch, Reply};
use stdx::GroupId;
use tokio::sync::oneshot;

use crate::node::error::ExecuteError;
use crate::transport::Outbox;

/// What became of a batch of commands.
pub(crate) type Outcome = Result<Vec<Reply>, ExecuteError>;

/// Commands that go into the log together.
#[derive(Debug)]
pub(crate) struct Submission {
    pub(crate) group: GroupId,
    pub(crate) batch: Batch,
    pub(crate) responder: Responder,
}

/// Where the outcome goes.
#[derive(Debug)]
pub(crate) enum Responder {
    /// A front door of this node, which gets the commands back if this node doesn't lead.
    Local {
        answer: oneshot::Sender<Result<Outcome, (ExecuteError, Batch)>>,
    },
    /// Another node, which forwarded the commands over this connection under this number.
    Remote { connection: Arc<Outbox>, id: u64 },
}

impl Responder {
    /// Tells the outcome. Nobody may be waiting any more, which is fine.
    pub(crate) fn answer(self, outcome: Outcome) {
        match self {
            Self::Local { answer } => drop(answer.send(Ok(outcome))),
            Self::Remote { connection, id } => connection.push_outcome(id, &outcome),
        }
    }

    /// Tells that another node leads: the commands were certainly not executed.
    pub(crate) fn not_leader(self, error: ExecuteError, batch: Batch) {
        match self {
            Self::Local { answer } => drop(answer.send(Err((error, batch)))),
            Self::Remote { connection, id } => connection.push_outcome(id, &Err(error)),
        }
    }
}
