//! Starting a job, and starting it again from its journal.

use std::collections::{BTreeMap, VecDeque};

use stdx::{Instant, Prng};

use crate::audit;
use crate::config::{Config, Plan};
use crate::id::{Epoch, Stage, TaskId, WorkerId};
use crate::job::{Job, Phase};
use crate::message::{Action, Event, How, Report, ToWorker};
use crate::receipt::AuditNote;
use crate::record::{Batch, Outcome, Record};
use crate::task::{Audit, Task, Winner};
use crate::worker::{Reach, Worker};

impl Job {
    /// A job whose journal holds `journal`, in order from place 0; a new one if that is empty.
    ///
    /// Nothing happens before the journal has this coordinator's first batch. `owner` is
    /// drawn at random by each process that wants to be the coordinator.
    #[must_use]
    pub fn open(config: Config, plan: Plan, journal: &[Batch], owner: u64, now: Instant) -> Self {
        let mut prng = Prng::from_seed(plan.seed);
        let maps = audit::choose(plan.maps, config.audit_permille, &mut prng);
        let reduces = audit::choose(plan.reduces, config.audit_permille, &mut prng);
        let mut job = Self {
            plan,
            epoch: Epoch(0),
            owner,
            now,
            started: now,
            phase: Phase::Opening,
            maps: maps.into_iter().map(Task::new).collect(),
            reduces: reduces.into_iter().map(Task::new).collect(),
            workers: BTreeMap::new(),
            attempts: BTreeMap::new(),
            retired: BTreeMap::new(),
            next_attempt: 1,
            queue: Vec::new(),
            writing: None,
            next_seq: journal.len() as u64,
            actions: VecDeque::new(),
            no_worker_since: None,
            skipped: 0,
            failures: 0,
            times: [Vec::new(), Vec::new()],
            audits: Vec::new(),
            ended: None,
            replaying: true,
            settles_at: now,
            early: BTreeMap::new(),
            #[cfg(feature = "planted")]
            all_counters: BTreeMap::new(),
            config,
        };
        for record in journal.iter().flat_map(|batch| &batch.records) {
            job.apply(record.clone());
        }
        // Of what was, only lasting state counts.
        job.actions.clear();
        job.queue.clear();
        job.replaying = false;
        for task in job.maps.iter_mut().chain(&mut job.reduces) {
            // Of records that never made it into the journal.
            task.in_journal = 0;
            task.losing = false;
        }
        job.await_workers();
        let epoch = Epoch(job.epoch.0.saturating_add(1));
        job.epoch = epoch;
        job.queue.push(Record::Opened { epoch, owner });
        job.step();
        job
    }

    /// Those whose maps were committed may come back and still have the output.
    fn await_workers(&mut self) {
        let until = self.now.after(self.config.lease);
        for worker in self.workers.values_mut() {
            worker.reach = Reach::Awaited { until };
            worker.running.clear();
        }
    }

    /// Lasting state changes here and nowhere else.
    pub(crate) fn apply(&mut self, record: Record) {
        match record {
            Record::Opened { epoch, owner } => self.apply_opened(epoch, owner),
            Record::Committed {
                task,
                attempt,
                worker,
                done,
            } => {
                if self.has_task(task) {
                    let winner = Winner {
                        attempt,
                        worker,
                        report: done,
                    };
                    self.apply_committed(task, winner);
                }
            }
            Record::OutputLost { map, attempt } => self.apply_output_lost(map, attempt),
            Record::Failed {
                task,
                attempt,
                failure,
                ..
            } => {
                if self.has_task(task) {
                    self.apply_failed(task, attempt, failure);
                }
            }
            Record::Skip { map, record } => {
                if self.has_task(TaskId::map(map)) {
                    let task = &mut self.maps[map as usize];
                    task.skip.insert(record);
                    task.in_journal = task.in_journal.saturating_sub(1);
                    self.skipped += 1;
                    self.tell(Event::Skipped { map, record });
                }
            }
            Record::Audited {
                task,
                attempt,
                worker,
                same,
            } => self.apply_audited(AuditNote {
                task,
                attempt,
                worker,
                same,
            }),
            Record::AuditGivenUp { task } => {
                if self.has_task(task) {
                    self.task_mut(task).audit = Audit::Settled;
                }
            }
            Record::Ended(outcome) => self.apply_ended(outcome),
        }
    }

    fn apply_opened(&mut self, epoch: Epoch, owner: u64) {
        if !self.replaying && epoch == self.epoch && owner == self.owner {
            // Our own: from now on things are done.
            match self.ended.take() {
                Some(outcome) => {
                    self.phase = Phase::Ended(outcome.clone());
                    self.actions.push_back(Action::Ended(outcome));
                }
                None if matches!(self.phase, Phase::Opening) => {
                    self.phase = Phase::Running;
                    if self.epoch > Epoch(1) {
                        self.settles_at = self.now.after(self.config.takeover_grace);
                    }
                    for (worker, (slots, held)) in core::mem::take(&mut self.early) {
                        self.register(worker, slots, &held);
                    }
                }
                None => {}
            }
        } else {
            self.epoch = self.epoch.max(epoch);
        }
    }

    fn apply_committed(&mut self, id: TaskId, winner: Winner) {
        let now = self.now;
        let (attempt, worker) = (winner.attempt, winner.worker);
        self.workers
            .entry(worker)
            .or_insert_with(|| Worker::awaited(now));
        let print = winner.report.print();
        let beaten: Vec<_> = {
            let task = self.task_mut(id);
            if task.committing.as_ref().is_some_and(|(a, _)| *a == attempt) {
                task.committing = None;
            }
            task.fetch_failures = 0;
            task.print.get_or_insert((attempt, print));
            task.winner = Some(winner);
            task.lost = None;
            task.running.iter().copied().collect()
        };
        self.retired.insert(attempt, id);
        self.send(worker, ToWorker::Accepted { attempt });
        self.tell(Event::Done {
            attempt,
            task: id,
            worker,
            how: How::Won,
        });
        for other in beaten {
            self.cancel(other, How::Beaten);
        }
        if id.stage == Stage::Map {
            self.after_map_committed(id.index, worker);
        }
    }

    /// The output of a map is there, unless it is lost already.
    fn after_map_committed(&mut self, map: u32, worker: WorkerId) {
        if self.workers.get(&worker).is_some_and(|w| !w.may_return()) {
            return self.lose_output(map);
        }
        self.tell_readers(map);
    }

    /// Tells the reduces that run where a map's output is.
    pub(crate) fn tell_readers(&mut self, map: u32) {
        let readers: Vec<_> = self
            .attempts
            .iter()
            .filter(|(_, attempt)| attempt.task.stage == Stage::Reduce)
            .map(|(id, attempt)| (*id, attempt.worker, attempt.task.index))
            .collect();
        for (attempt, reader, partition) in readers {
            if let Some(source) = self.source(map, partition) {
                self.send(reader, ToWorker::Moved { attempt, source });
            }
        }
    }

    fn apply_output_lost(&mut self, map: u32, attempt: crate::id::AttemptId) {
        if !self.has_task(TaskId::map(map)) {
            return;
        }
        let task = &mut self.maps[map as usize];
        task.losing = false;
        if let Some(winner) = task.winner.take_if(|w| w.attempt == attempt) {
            task.output_losses += 1;
            task.fetch_failures = 0;
            let times = task.output_losses;
            self.tell(Event::OutputLost { map });
            self.send(winner.worker, ToWorker::Discard { attempt });
            self.maps[map as usize].lost = Some(winner);
            if times > self.config.reruns_max {
                let task = TaskId::map(map);
                self.end(Outcome::Failed(crate::failure::JobError::OutputLost {
                    task,
                    times,
                }));
            }
        }
    }

    fn apply_ended(&mut self, outcome: Outcome) {
        if matches!(self.phase, Phase::Ending) {
            self.phase = Phase::Ended(outcome.clone());
            let ids: Vec<_> = self.attempts.keys().copied().collect();
            for id in ids {
                self.cancel(id, How::Beaten);
            }
            self.close_workers();
            self.actions.push_back(Action::Ended(outcome));
        } else {
            self.ended = Some(outcome);
        }
    }

    /// What a map said, where it is committed.
    pub(crate) fn map_done(&self, map: u32) -> Option<(&Winner, &crate::record::MapDone)> {
        let winner = self.maps.get(map as usize)?.winner.as_ref()?;
        match &winner.report {
            Report::Map(done) => Some((winner, done)),
            Report::Reduce(_) => None,
        }
    }
}
