//! What becomes of a report: the commit, the comparison, the failure.

use crate::attempt::{Attempt, Purpose};
use crate::failure::{Failure, JobError};
use crate::id::{AttemptId, Stage, TaskId, WorkerId};
use crate::job::{Job, Phase};
use crate::message::{Action, Event, How, Report, ToWorker};
use crate::planted::planted;
use crate::record::{Outcome, Record};
use crate::task::Print;

impl Job {
    pub(crate) fn on_finished(&mut self, worker: WorkerId, id: AttemptId, report: Report) {
        let live = self.attempts.get(&id).is_some_and(|a| a.worker == worker);
        if !live {
            return self.on_late_report(worker, id, report);
        }
        #[cfg(feature = "planted")]
        self.count_everything(&report);
        let Some(attempt) = self.delist(id) else {
            return;
        };
        if let Err(failure) = self.check_report(attempt.task, &report) {
            return self.record_failure(id, &attempt, failure);
        }
        let took = attempt.age(self.now);
        if let Some(worker) = self.workers.get_mut(&worker) {
            worker.succeeded();
        }
        self.rate(worker, attempt.task.stage, took);
        if attempt.purpose == Purpose::Audit {
            return self.on_audit_report(id, &attempt, &report);
        }
        self.offer(id, attempt.task, worker, report, Some(took));
    }

    /// The first report of a task becomes its result; later ones are compared with it.
    fn offer(
        &mut self,
        id: AttemptId,
        name: TaskId,
        worker: WorkerId,
        report: Report,
        took: Option<core::time::Duration>,
    ) {
        let print = report.print();
        if !self.agrees(name, id, &print) {
            return;
        }
        let has_result = self.task(name).has_result();
        if has_result && !planted!(self.config, DoubleCommit) {
            self.send(worker, ToWorker::Discard { attempt: id });
            if self.task(name).winner.is_some() {
                self.remove_file(id, name);
            }
            return self.tell(Event::Done {
                attempt: id,
                task: name,
                worker,
                how: How::Beaten,
            });
        }
        if let Some(took) = took {
            self.note_took(name.stage, took);
        }
        self.task_mut(name).committing = Some((id, print));
        self.queue.push(Record::Committed {
            task: name,
            attempt: id,
            worker,
            done: report,
        });
    }

    /// Compares with what is known of the task; a difference ends the job.
    pub(crate) fn agrees(&mut self, name: TaskId, id: AttemptId, print: &Print) -> bool {
        if planted!(self.config, MismatchIgnored) {
            return true;
        }
        let task = self.task(name);
        let known = task.print.as_ref().or(task.committing.as_ref());
        let Some((first, expected)) = known.filter(|(_, known)| known != print) else {
            return true;
        };
        let error = JobError::NonDeterministic {
            task: name,
            first: *first,
            first_digest: expected.digest(),
            second: id,
            second_digest: print.digest(),
        };
        self.end(Outcome::Failed(error));
        false
    }

    /// A report of an attempt that was given up, or that won already.
    fn on_late_report(&mut self, worker: WorkerId, id: AttemptId, report: Report) {
        let Some(&name) = self.retired.get(&id) else {
            return self.send(worker, ToWorker::Discard { attempt: id });
        };
        if self.is_committing(id) {
            return;
        }
        if planted!(self.config, ZombieAccepted) {
            return self.offer(id, name, worker, report, None);
        }
        let task = self.task(name);
        if task.winner.as_ref().is_some_and(|w| w.attempt == id) {
            return self.send(worker, ToWorker::Accepted { attempt: id });
        }
        // It is of no use any more, but it is a free comparison.
        let comparable =
            matches!(self.phase, Phase::Running) && self.check_report(name, &report).is_ok();
        if comparable {
            let _ended = self.agrees(name, id, &report.print());
        }
        self.send(worker, ToWorker::Discard { attempt: id });
    }

    /// Whether a report has the right shape, and a reduce read what the maps wrote.
    fn check_report(&self, name: TaskId, report: &Report) -> Result<(), Failure> {
        let malformed = |message: &str| Failure::Malformed {
            message: message.to_owned(),
        };
        match (name.stage, report) {
            (Stage::Map, Report::Map(done)) => {
                if done.extents.len() == self.plan.reduces as usize {
                    Ok(())
                } else {
                    Err(malformed("a map has one extent for each reduce"))
                }
            }
            (Stage::Reduce, Report::Reduce(done)) => {
                if done.consumed.len() != self.plan.maps as usize {
                    return Err(malformed("a reduce reads one extent of each map"));
                }
                for (map, consumed) in (0..self.plan.maps).zip(&done.consumed) {
                    let written = self.maps[map as usize].written(name.index);
                    let same = written.is_some_and(|tally| {
                        consumed.map == map
                            && consumed.records == tally.records
                            && consumed.digest == tally.digest
                    });
                    if !same && !planted!(self.config, ConservationUnchecked) {
                        return Err(Failure::Conservation { map });
                    }
                }
                Ok(())
            }
            _ => Err(malformed("a report of the other stage")),
        }
    }

    pub(crate) fn on_failed(&mut self, worker: WorkerId, id: AttemptId, failure: Failure) {
        let live = self.attempts.get(&id).is_some_and(|a| a.worker == worker);
        if live {
            self.fail_attempt(id, failure);
        }
        let wins = self.retired.get(&id).is_some_and(|name| {
            let winner = self.task(*name).winner.as_ref();
            winner.is_some_and(|winner| winner.attempt == id)
        });
        self.send(
            worker,
            if wins {
                ToWorker::Accepted { attempt: id }
            } else {
                ToWorker::Discard { attempt: id }
            },
        );
    }

    /// Gives up an attempt that failed.
    pub(crate) fn fail_attempt(&mut self, id: AttemptId, failure: Failure) {
        if let Some(attempt) = self.delist(id) {
            self.record_failure(id, &attempt, failure);
        }
    }

    fn record_failure(&mut self, id: AttemptId, attempt: &Attempt, failure: Failure) {
        let (name, worker) = (attempt.task, attempt.worker);
        self.tell(Event::Done {
            attempt: id,
            task: name,
            worker,
            how: How::Failed(failure.clone()),
        });
        self.blame(worker, &failure);
        if attempt.purpose == Purpose::Audit {
            return self.on_audit_failed(name);
        }
        let task = self.task_mut(name);
        task.in_journal += 1;
        task.failed_on.insert(worker);
        self.queue.push(Record::Failed {
            task: name,
            attempt: id,
            worker,
            failure,
        });
    }

    fn blame(&mut self, worker: WorkerId, failure: &Failure) {
        if matches!(failure, Failure::WorkerLost | Failure::Conservation { .. }) {
            return;
        }
        let now = self.now;
        let benched = self
            .workers
            .get_mut(&worker)
            .is_some_and(|found| found.failed(&self.config, now));
        if benched {
            self.tell(Event::Benched(worker));
        }
    }

    /// Counts a failure against its budget, durably.
    pub(crate) fn apply_failed(&mut self, name: TaskId, id: AttemptId, failure: Failure) {
        let config = self.config.clone();
        self.retired.insert(id, name);
        self.failures += 1;
        self.remove_file(id, name);
        let task = self.task_mut(name);
        task.in_journal = task.in_journal.saturating_sub(1);
        match failure {
            Failure::WorkerLost => {
                task.losses += 1;
                let times = task.losses;
                if times > config.losses_max {
                    self.end(Outcome::Failed(JobError::TaskLost { task: name, times }));
                }
            }
            Failure::User {
                record: Some(record),
                message,
            } if config.skip_max > 0 && name.stage == Stage::Map => {
                self.apply_bad_record(name, record, message);
            }
            last => {
                let (times, max) = if matches!(last, Failure::User { .. }) {
                    task.user_failures += 1;
                    (task.user_failures, config.user_failures_max)
                } else {
                    task.failures += 1;
                    (task.failures, config.failures_max)
                };
                if times >= max {
                    self.end(Outcome::Failed(JobError::TaskFailed {
                        task: name,
                        times,
                        last,
                    }));
                }
            }
        }
    }

    /// The job's code failed at a record that may be left out.
    fn apply_bad_record(&mut self, name: TaskId, record: u64, message: String) {
        let config = &self.config;
        // Code that fails at another record each time must end, too.
        let most = config.skip_max.saturating_mul(config.skip_after);
        let most = most.saturating_add(config.user_failures_max);
        let (skip_max, skip_after) = (config.skip_max, config.skip_after);
        let skip_left = self.skipped < skip_max;
        let task = self.task_mut(name);
        task.user_failures += 1;
        let times = task.user_failures;
        if times >= most {
            let record = Some(record);
            let last = Failure::User { record, message };
            return self.end(Outcome::Failed(JobError::TaskFailed {
                task: name,
                times,
                last,
            }));
        }
        let at_record = task.record_failures.entry(record).or_insert(0);
        *at_record += 1;
        if *at_record < skip_after || task.skip.contains(&record) {
            return;
        }
        if skip_left {
            task.in_journal += 1;
            let map = name.index;
            self.queue.push(Record::Skip { map, record });
        } else {
            self.end(Outcome::Failed(JobError::TooManyBadRecords {
                allowed: skip_max,
                task: name,
                record,
            }));
        }
    }

    /// Stops an attempt that is of no use any more.
    pub(crate) fn cancel(&mut self, id: AttemptId, how: How) {
        let Some(attempt) = self.delist(id) else {
            return;
        };
        let (task, worker) = (attempt.task, attempt.worker);
        self.send(worker, ToWorker::Cancel { attempt: id });
        self.remove_file(id, task);
        self.tell(Event::Done {
            attempt: id,
            task,
            worker,
            how,
        });
    }

    /// Lets an attempt's file go. Only called when the journal durably says that the attempt
    /// will never be a result: a coordinator that was replaced could otherwise remove what its
    /// successor has adopted.
    pub(crate) fn remove_file(&mut self, attempt: AttemptId, task: TaskId) {
        if task.stage == Stage::Reduce {
            self.actions.push_back(Action::Remove { attempt, task });
        }
    }

    /// A map's output can't be had any more: the map is executed again, if that matters.
    pub(crate) fn lose_output(&mut self, map: u32) {
        if planted!(self.config, LostReexecution) || self.outputs_are_consumed() {
            return;
        }
        let task = &mut self.maps[map as usize];
        if let Some(winner) = &task.winner
            && !task.losing
        {
            task.losing = true;
            self.queue.push(Record::OutputLost {
                map,
                attempt: winner.attempt,
            });
        }
    }

    pub(crate) fn on_fetch_failed(
        &mut self,
        reader: WorkerId,
        id: AttemptId,
        map: u32,
        source: AttemptId,
    ) {
        let Some(partition) = self
            .attempts
            .get(&id)
            .filter(|a| a.worker == reader && a.task.stage == Stage::Reduce)
            .map(|a| a.task.index)
        else {
            return self.send(reader, ToWorker::Cancel { attempt: id });
        };
        if map >= self.plan.maps {
            return;
        }
        let present = self.source(map, partition);
        match present {
            // It asks at the wrong place: the news didn't reach it.
            Some(present) if present.attempt != source => self.send(
                reader,
                ToWorker::Moved {
                    attempt: id,
                    source: present,
                },
            ),
            // It may come back until its lease has ended.
            Some(present) if self.is_awaited(present.worker) => {}
            Some(_) => {
                let max = self.config.fetch_failures_max;
                let task = &mut self.maps[map as usize];
                task.fetch_failures += 1;
                if task.fetch_failures >= max {
                    self.lose_output(map);
                }
            }
            None => {}
        }
    }

    #[cfg(feature = "planted")]
    fn count_everything(&mut self, report: &Report) {
        for (name, value) in report.counters() {
            *self.all_counters.entry(name.clone()).or_insert(0) += value;
        }
    }
}
