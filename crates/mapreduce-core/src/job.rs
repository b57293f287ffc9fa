//! The job: what goes in, what comes out, and the order in which things happen.

use std::collections::{BTreeMap, VecDeque};

use core::time::Duration;

use stdx::Instant;

use crate::attempt::{Attempt, Purpose};
use crate::config::{Config, Plan};
use crate::failure::JobError;
use crate::id::{AttemptId, Epoch, Stage, TaskId, WorkerId};
use crate::message::{Action, FromWorker, Held};
use crate::record::{Batch, Outcome, Record};
use crate::task::{Audit, Task};
use crate::worker::Worker;

/// Numbers of extents in one batch of the journal; each is about a hundred bytes.
const BATCH_WEIGHT_MAX: usize = 4_000;

/// Where a job stands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Phase {
    /// The journal doesn't have this coordinator's epoch yet: nothing may be done.
    Opening,
    /// Tasks are executed.
    Running,
    /// The output is being published.
    Publishing,
    /// The end is on its way to the journal.
    Ending,
    /// It is over.
    Ended(Outcome),
    /// Another coordinator took over: this one must not do anything.
    Fenced,
}

/// What became of a worker's message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Heard {
    /// It was taken in.
    Yes,
    /// The coordinator's epoch is not durable yet: a registration is kept, and answered when
    /// it is. Until then nothing may be said to anybody.
    Early,
    /// It belongs to another coordinator's reign: nothing was done.
    Stale,
    /// The worker is lost or unknown: it has to register first.
    Unregistered,
}

/// The place of a batch in the journal was taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Taken {
    /// Before this coordinator had opened the journal: read it again, and recover anew.
    RecoverAgain,
    /// Another coordinator took over.
    Fenced,
}

/// One job. See the crate's documentation.
#[derive(Debug)]
pub struct Job {
    pub(crate) config: Config,
    pub(crate) plan: Plan,
    pub(crate) epoch: Epoch,
    pub(crate) owner: u64,
    pub(crate) now: Instant,
    pub(crate) started: Instant,
    pub(crate) phase: Phase,
    pub(crate) maps: Vec<Task>,
    pub(crate) reduces: Vec<Task>,
    pub(crate) workers: BTreeMap<WorkerId, Worker>,
    pub(crate) attempts: BTreeMap<AttemptId, Attempt>,
    /// Attempts of this or earlier epochs that were given up: they never come back.
    pub(crate) retired: BTreeMap<AttemptId, TaskId>,
    pub(crate) next_attempt: u64,
    /// Records that wait for their batch.
    pub(crate) queue: Vec<Record>,
    /// The batch that is on its way, and its place.
    pub(crate) writing: Option<(u64, Vec<Record>)>,
    pub(crate) next_seq: u64,
    pub(crate) actions: VecDeque<Action>,
    pub(crate) no_worker_since: Option<Instant>,
    pub(crate) skipped: u32,
    /// Attempts that failed or were lost.
    pub(crate) failures: u64,
    /// How long winners took, sorted, for each stage.
    pub(crate) times: [Vec<Duration>; 2],
    pub(crate) audits: Vec<crate::receipt::AuditNote>,
    pub(crate) ended: Option<Outcome>,
    /// The journal is being applied: nothing that follows from it is done again.
    pub(crate) replaying: bool,
    /// Nothing is given out before this, after a takeover.
    pub(crate) settles_at: Instant,
    /// Workers that registered before the journal was open.
    pub(crate) early: BTreeMap<WorkerId, (u32, Vec<Held>)>,
    /// Counters of every report that came, for the planted bug that counts losers.
    #[cfg(feature = "planted")]
    pub(crate) all_counters: BTreeMap<String, i64>,
}

impl Job {
    /// A worker said something in the reign of `epoch`.
    pub fn on_message(
        &mut self,
        now: Instant,
        worker: WorkerId,
        epoch: Epoch,
        message: FromWorker,
    ) -> Heard {
        self.now = now;
        if epoch > self.epoch {
            // The worker has seen our successor.
            self.fence();
            return Heard::Stale;
        }
        let registers = matches!(message, FromWorker::Register { .. });
        if matches!(self.phase, Phase::Fenced) {
            return Heard::Stale;
        }
        if epoch < self.epoch && !registers {
            return Heard::Stale;
        }
        match self.phase {
            Phase::Ended(_) => {
                self.send(worker, crate::message::ToWorker::Close);
                return Heard::Yes;
            }
            // Not yet in office: nothing may be said to anybody.
            Phase::Opening => {
                if crate::planted::planted!(self.config, SpeaksEarly) {
                    self.send(worker, crate::message::ToWorker::Welcome);
                }
                if let FromWorker::Register { slots, held } = message {
                    self.early.insert(worker, (slots, held));
                }
                return Heard::Early;
            }
            // What workers have must stay until the end is durable.
            Phase::Ending | Phase::Publishing => {
                let known = registers || self.hear(worker);
                return if known {
                    Heard::Yes
                } else {
                    Heard::Unregistered
                };
            }
            _ => {}
        }
        if !registers && !self.hear(worker) {
            return Heard::Unregistered;
        }
        self.hear_out(worker, message);
        self.step();
        Heard::Yes
    }

    /// Time has passed.
    pub fn on_timeout(&mut self, now: Instant) {
        self.now = now;
        self.step();
    }

    /// When the job wants to look at its clocks again.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let asleep = self.is_over() || matches!(self.phase, Phase::Fenced);
        (!asleep).then(|| self.now.after(self.config.tick))
    }

    /// The batch at `seq` is durable.
    pub fn on_journaled(&mut self, now: Instant, seq: u64) {
        self.now = now;
        let Some((_, records)) = self.writing.take_if(|(writing, _)| *writing == seq) else {
            return;
        };
        self.next_seq = seq + 1;
        for record in records {
            if !crate::planted::planted!(self.config, EarlyVisibility) {
                self.apply(record);
            }
        }
        self.step();
    }

    /// The place of the batch at `seq` holds somebody else's.
    pub fn on_journal_taken(&mut self, now: Instant, seq: u64) -> Taken {
        self.now = now;
        if crate::planted::planted!(self.config, ConflictIgnored) {
            self.on_journaled(now, seq);
            return Taken::Fenced;
        }
        let opening = matches!(self.phase, Phase::Opening);
        self.fence();
        if opening {
            Taken::RecoverAgain
        } else {
            Taken::Fenced
        }
    }

    /// The output is published.
    pub fn on_published(&mut self, now: Instant, result: Result<(), String>) {
        self.now = now;
        if matches!(self.phase, Phase::Publishing) {
            let outcome = match result {
                Ok(()) => Outcome::Succeeded,
                Err(message) => Outcome::Failed(JobError::Publish { message }),
            };
            self.end(outcome);
        }
        self.step();
    }

    /// Somebody wants the job to end.
    pub fn kill(&mut self, now: Instant, reason: impl Into<String>) {
        self.now = now;
        if matches!(self.phase, Phase::Opening | Phase::Running) {
            let reason = reason.into();
            self.end(Outcome::Failed(JobError::Killed { reason }));
        }
        self.step();
    }

    /// What is to be done next, in order.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// How it ended, once that is durable.
    #[must_use]
    pub const fn outcome(&self) -> Option<&Outcome> {
        match &self.phase {
            Phase::Ended(outcome) => Some(outcome),
            _ => None,
        }
    }

    /// Whether another coordinator took over.
    #[must_use]
    pub const fn is_fenced(&self) -> bool {
        matches!(self.phase, Phase::Fenced)
    }

    /// This coordinator's epoch.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The shape of the job.
    #[must_use]
    pub const fn plan(&self) -> Plan {
        self.plan
    }

    pub(crate) const fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Ending | Phase::Ended(_))
    }

    /// Does everything that can be done now.
    pub(crate) fn step(&mut self) {
        if matches!(self.phase, Phase::Running) {
            self.expire_workers();
            self.expire_attempts();
            self.check_limits();
        }
        if matches!(self.phase, Phase::Running) {
            self.schedule();
            self.release_drained();
            if self.is_complete() {
                self.phase = Phase::Publishing;
                let receipt = self.receipt();
                self.actions.push_back(Action::Publish(Box::new(receipt)));
            }
        }
        self.write_journal();
    }

    /// Writes what waits, unless a batch is on its way: two at once could become durable in
    /// the wrong order, or one without the other.
    fn write_journal(&mut self) {
        if self.writing.is_some() || self.queue.is_empty() || self.is_fenced() {
            return;
        }
        // A batch is one value of the store, whose size is limited.
        let mut weight = 0;
        let mut fits = |record: &Record| {
            weight += record.weight();
            weight <= BATCH_WEIGHT_MAX
        };
        let count = self.queue.iter().take_while(|r| fits(r)).count();
        let records: Vec<Record> = self.queue.drain(..count.max(1)).collect();
        let seq = self.next_seq;
        if crate::planted::planted!(self.config, EarlyVisibility) {
            for record in records.clone() {
                self.apply(record);
            }
        }
        self.writing = Some((seq, records.clone()));
        let batch = Batch {
            epoch: self.epoch,
            owner: self.owner,
            records,
        };
        self.actions.push_back(Action::Journal { seq, batch });
    }

    /// Ends the job as soon as the journal says so.
    pub(crate) fn end(&mut self, outcome: Outcome) {
        if self.is_over() || self.is_fenced() || self.replaying {
            return;
        }
        self.phase = Phase::Ending;
        self.queue.push(Record::Ended(outcome));
    }

    pub(crate) fn fence(&mut self) {
        self.phase = Phase::Fenced;
        self.actions.clear();
        self.queue.clear();
        self.writing = None;
    }

    fn is_complete(&self) -> bool {
        let durable = self.queue.is_empty() && self.writing.is_none();
        self.outputs_are_consumed()
            && (durable || crate::planted::planted!(self.config, EarlyVisibility))
    }

    fn check_limits(&mut self) {
        let now = self.now;
        if let Some(limit) = self.config.deadline
            && now >= self.started.after(limit)
        {
            let seconds = limit.as_secs();
            return self.end(Outcome::Failed(JobError::Deadline { seconds }));
        }
        if self.workers.values().any(Worker::is_of_use) {
            self.no_worker_since = None;
            return;
        }
        let since = *self.no_worker_since.get_or_insert(now);
        if now >= since.after(self.config.no_worker) {
            let seconds = self.config.no_worker.as_secs();
            self.end(Outcome::Failed(JobError::NoWorkers { seconds }));
        }
    }

    pub(crate) fn has_task(&self, id: TaskId) -> bool {
        let count = match id.stage {
            Stage::Map => self.plan.maps,
            Stage::Reduce => self.plan.reduces,
        };
        id.index < count
    }

    pub(crate) fn task(&self, id: TaskId) -> &Task {
        match id.stage {
            Stage::Map => &self.maps[id.index as usize],
            Stage::Reduce => &self.reduces[id.index as usize],
        }
    }

    pub(crate) fn task_mut(&mut self, id: TaskId) -> &mut Task {
        match id.stage {
            Stage::Map => &mut self.maps[id.index as usize],
            Stage::Reduce => &mut self.reduces[id.index as usize],
        }
    }

    pub(crate) fn is_committing(&self, attempt: AttemptId) -> bool {
        // What is being committed doesn't run any more: it was retired.
        self.retired.get(&attempt).is_some_and(|task| {
            let committing = self.task(*task).committing.as_ref();
            committing.is_some_and(|(committing, _)| *committing == attempt)
        })
    }

    /// Whether this attempt is its task's result, durably.
    pub(crate) fn is_winner(&self, attempt: AttemptId) -> bool {
        self.retired.get(&attempt).is_some_and(|task| {
            let winner = self.task(*task).winner.as_ref();
            winner.is_some_and(|winner| winner.attempt == attempt)
        })
    }

    /// Whether every map's output is there: only then is a reduce told where they are, so that
    /// each reduce knows a source for every map, and can ask when that one fails.
    pub(crate) fn maps_are_readable(&self) -> bool {
        self.maps.iter().all(|task| task.winner.is_some())
    }

    /// Notes that a worker executes an attempt.
    pub(crate) fn enlist(
        &mut self,
        attempt: AttemptId,
        task: TaskId,
        worker: WorkerId,
        purpose: Purpose,
    ) {
        let entry = Attempt::new(task, worker, purpose, self.now);
        self.attempts.insert(attempt, entry);
        self.task_mut(task).running.insert(attempt);
        if let Some(worker) = self.workers.get_mut(&worker) {
            worker.running.insert(attempt);
        }
        self.tell(crate::message::Event::Started {
            attempt,
            task,
            worker,
            purpose,
        });
    }

    /// Forgets a running attempt.
    pub(crate) fn delist(&mut self, id: AttemptId) -> Option<Attempt> {
        let attempt = self.attempts.remove(&id)?;
        self.task_mut(attempt.task).running.remove(&id);
        if let Some(worker) = self.workers.get_mut(&attempt.worker) {
            worker.running.remove(&id);
        }
        self.retired.insert(id, attempt.task);
        Some(attempt)
    }

    pub(crate) const fn audits_open(task: &Task) -> bool {
        matches!(task.audit, Audit::Wanted { .. } | Audit::Recording)
    }
}
