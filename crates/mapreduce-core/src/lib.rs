//! One `MapReduce` job as a state machine: tasks, attempts, commits, recovery.
//!
//! [`Job`] is the coordinator's brain and does no input or output. Reports of workers, the
//! time, and the news that a journal batch is durable go in; [`Action`]s come out: send this,
//! journal that, publish. A shell drives it over gRPC with a database below; the simulator
//! drives the same code through crashes, losses and two coordinators at once.
//!
//! What it promises, and how:
//!
//! * **Each task's result is taken exactly once.** An attempt writes files of its own; the first
//!   [`Record::Committed`] of a task in the journal *is* the commit, and only what is durable in
//!   the journal is acted on: every change of lasting state is [`Record`]s applied, in a run and
//!   in a recovery alike.
//! * **Lost work is done again, and only that.** A worker that is silent for a lease, or whose
//!   connection stays broken for a moment, is lost; its running attempts are given to others,
//!   and so are the completed maps whose output died with it and is still needed.
//! * **Stragglers get a backup** when the estimated time to their end is longer than a fresh copy
//!   would take, on another worker, with bounded copies.
//! * **A job ends.** Every kind of failure has a budget; what exceeds it ends the job with a
//!   [`JobError`] that says why.
//! * **Results are never mixed.** Whenever a task was executed twice (a backup, a re-execution, an
//!   audit) the digests are compared; a difference ends the job as non-deterministic.
//! * **A coordinator that was replaced can do nothing.** Each coordinator opens the journal with
//!   an epoch; a batch is written only where nothing is yet, so the older one's next batch finds
//!   its place taken. Workers ignore what comes from a lower epoch. Where several share a store,
//!   [`Leadership`] leaves one that lives alone.

mod attempt;
mod audit;
mod backup;
mod commit;
mod config;
mod failure;
mod id;
mod job;
mod leader;
mod message;
mod planted;
mod receipt;
mod record;
mod recover;
mod schedule;
mod task;
mod view;
mod worker;

pub use attempt::Purpose;
pub use config::{Config, Plan};
pub use failure::{Failure, JobError};
pub use id::{AttemptId, Epoch, ParseIdError, Stage, TaskId, WorkerId};
pub use job::{Heard, Job, Taken};
pub use leader::{Answer, Ask, LeaderTimes, Leadership, Standing, Term};
pub use message::{
    Action, Assignment, Event, FromWorker, Held, HeldState, How, Report, Source, ToWorker,
};
#[cfg(feature = "planted")]
pub use planted::PlantedBug;
pub use receipt::{AuditNote, Receipt, TaskReceipt, Verdict, check as check_receipt};
pub use record::{Batch, Consumed, Digest, MapDone, Outcome, Record, ReduceDone, Tally};
pub use view::{AttemptView, StageView, View, WorkerView};
