//! The pool: who works for whom on what.
//!
//! This file has the state and the comings and goings. What a worker claims is judged in
//! `results`, who gets what next is decided in `schedule`.

mod job;
mod results;
mod schedule;
mod worker;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use miner_kernels::{Best, Problem, Puzzle};
use stdx::{Instant, Prng};
use thiserror::Error;

use crate::config::Config;
use crate::message::Takes;
use crate::nonces::{NonceSet, Nonces};
use crate::planted::planted;
use crate::record::JobRecord;
use crate::submission::{Submission, SubmitError, puzzle};
use job::{Job, Owner};
use results::Held;
use worker::{Range, Worker};

stdx::id! {
    /// A job, in the life of one server.
    pub struct JobId("j");
}

stdx::id! {
    /// A range in the hands of one worker. Never used again.
    pub struct RangeId("r");
}

stdx::id! {
    /// A check by the server's own kernel.
    pub struct CheckId("k");
}

stdx::id! {
    /// A worker's connection.
    pub struct WorkerId("w");
}

stdx::id! {
    /// A client's connection.
    pub struct ClientId("c");
}

/// What a worker says it found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Claim {
    /// Of which range; an original worker doesn't say.
    pub range: Option<RangeId>,
    /// The smallest hash.
    pub best: Best,
    /// The smallest hash of each sixteenth; empty from an original worker and for ranges of
    /// less than sixteen nonces.
    pub minima: Vec<u64>,
}

/// Something for the shell to do, in this order.
#[derive(Clone, Debug)]
pub enum Action {
    /// Send a range to a worker.
    Assign {
        /// To whom.
        worker: WorkerId,
        /// The range's id, which only workers of ours are told.
        range: RangeId,
        /// Whether it is one of ours.
        extended: bool,
        /// What `message` is.
        problem: Problem,
        /// What is hashed with the nonces, as the client sent it.
        message: Arc<str>,
        /// The range.
        nonces: Nonces,
    },
    /// Tell a worker of ours that a range isn't needed any more.
    Cancel {
        /// Whom.
        worker: WorkerId,
        /// Which range.
        range: RangeId,
    },
    /// Close a worker's connection.
    Drop {
        /// Whose.
        worker: WorkerId,
        /// Why.
        reason: DropReason,
    },
    /// Send a client the answer.
    Answer {
        /// To whom.
        client: ClientId,
        /// The answer.
        best: Best,
    },
    /// Tell a client how far its job is.
    Progress {
        /// Whom.
        client: ClientId,
        /// Nonces that are done.
        done: u128,
        /// Of so many.
        total: u128,
    },
    /// Hash a range with the server's own kernel and report to [`Pool::on_checked`].
    Check {
        /// The check's id.
        check: CheckId,
        /// What is hashed with the nonces.
        puzzle: Arc<Puzzle>,
        /// The range.
        nonces: Nonces,
    },
    /// Keep this record of a job in place of the one with the same key.
    Save(JobRecord),
    /// Drop the record of a job.
    Forget {
        /// The job's key.
        key: String,
    },
}

/// Why a worker's connection is closed.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum DropReason {
    /// The claimed nonce does not have the claimed hash.
    #[error("the claimed hash is not that of the claimed nonce")]
    FalseHash,
    /// The claimed nonce is not in the range.
    #[error("the claimed nonce is outside the range")]
    OutsideRange,
    /// The minima of the pieces contradict the total.
    #[error("the pieces contradict the total")]
    Contradiction,
    /// A check found a smaller hash, or another one than claimed.
    #[error("a check of the range found another minimum")]
    FailedCheck,
    /// A result that nobody asked for.
    #[error("a result without a request")]
    Unasked,
}

/// There are too many workers.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("too many workers, or this one joined before")]
pub struct PoolFull;

/// What happened so far.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counters {
    /// Ranges handed out.
    pub assigned: u64,
    /// Results that counted.
    pub accepted: u64,
    /// Results that came after their range was taken back, or under an unknown id.
    pub late: u64,
    /// Ranges that were handed to one more worker because they were late.
    pub hedged: u64,
    /// Ranges that were taken back from waiting, for a smaller job.
    pub preempted: u64,
    /// Checks that passed.
    pub checked: u64,
    /// Workers that were caught.
    pub caught: u64,
    /// Jobs that were answered.
    pub answered: u64,
    /// Those of them that ended with a nonce that meets the target of a header.
    pub solved: u64,
}

/// A worker, for those who watch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WorkerStatus {
    /// Which.
    pub id: WorkerId,
    /// Nonces per second as measured; `None` before its first result.
    pub speed: Option<f64>,
    /// Ranges it holds.
    pub ranges: usize,
}

/// The miner pool.
///
/// * Inputs: [`Self::on_worker_joined`], [`Self::on_worker_lost`], [`Self::on_result`],
///   [`Self::on_client_lost`], [`Self::on_checked`], [`Self::on_timeout`].
/// * Verbs: [`Self::submit`], [`Self::restore`].
/// * Outputs: [`Self::poll_action`], to be called until it is empty after every input.
/// * Time: [`Self::poll_timeout`] says when to call [`Self::on_timeout`]; calling it at other
///   times does no harm. Times never decrease.
///
/// Nothing must be durable before anything is sent: a record that is lost costs work, not
/// correctness, because a client that finds its key unknown asks anew. It never panics on
/// what clients and workers send.
#[derive(Debug)]
pub struct Pool {
    config: Config,
    prng: Prng,
    jobs: BTreeMap<JobId, Job>,
    workers: BTreeMap<WorkerId, Worker>,
    /// What workers hold. Invariant: a live range's chunk names it as a holder.
    ranges: BTreeMap<RangeId, Range>,
    checks: BTreeMap<CheckId, Held>,
    actions: VecDeque<Action>,
    counters: Counters,
    next_id: u64,
}

impl Pool {
    /// A pool without jobs and workers. The seed decides what is checked: take a random one.
    #[must_use]
    pub fn new(config: Config, seed: u64) -> Self {
        let mut prng = Prng::from_seed(seed);
        // Ids start anywhere, so that those of an earlier server don't come again.
        let next_id = prng.next_u64() >> 16;
        Self {
            config,
            prng,
            jobs: BTreeMap::new(),
            workers: BTreeMap::new(),
            ranges: BTreeMap::new(),
            checks: BTreeMap::new(),
            actions: VecDeque::new(),
            counters: Counters::default(),
            next_id,
        }
    }

    /// Takes up a job that was saved. It is worked on, although its client is not there yet.
    ///
    /// # Errors
    ///
    /// [`SubmitError::Header`] for a header that is none, which no decoded record has.
    pub fn restore(&mut self, now: Instant, record: JobRecord) -> Result<(), SubmitError> {
        let puzzle = puzzle(record.problem, &record.message, record.nonces)?;
        let owner = Owner::Restored {
            until: now.after(self.config.retention),
        };
        let mut job = Job::new(now, &record.message, puzzle, record.nonces, owner);
        job.key = Some(record.key);
        let mut rest = record.nonces.first();
        job.todo = NonceSet::default();
        for todo in record.todo {
            job.todo.insert(todo);
            if let Some(done) = todo
                .first()
                .checked_sub(1)
                .and_then(|last| Nonces::new(rest, last))
            {
                job.settled.done.insert(done);
            }
            rest = todo.last().wrapping_add(1);
        }
        // After a last part that ends with the last of all nonces `rest` is 0 again.
        let ends_open = job
            .todo
            .ranges()
            .last()
            .is_none_or(|t| t.last() < record.nonces.last());
        if ends_open && let Some(done) = Nonces::new(rest, record.nonces.last()) {
            job.settled.done.insert(done);
        }
        job.settled.best = record.best;
        job.answer = record
            .best
            .filter(|best| job.todo.is_empty() || job.puzzle.is_solved_by(best.nonce));
        let id = JobId::new(self.fresh_id());
        self.jobs.insert(id, job);
        self.schedule(now);
        Ok(())
    }

    /// A worker connected. `speed` is what a worker of ours says it does per second, to start
    /// from; an original one says nothing, and takes messages only.
    ///
    /// # Errors
    ///
    /// [`PoolFull`] if there are too many, or if it joined before.
    pub fn on_worker_joined(
        &mut self,
        now: Instant,
        worker: WorkerId,
        speed: Option<f64>,
        takes: Takes,
    ) -> Result<(), PoolFull> {
        if self.workers.len() >= self.config.workers_max || self.workers.contains_key(&worker) {
            return Err(PoolFull);
        }
        self.workers.insert(worker, Worker::new(now, speed, takes));
        self.schedule(now);
        Ok(())
    }

    /// A worker's connection is gone: others get its ranges. What it did before counts.
    pub fn on_worker_lost(&mut self, now: Instant, worker: WorkerId) {
        if self.remove_worker(worker).is_none() {
            return;
        }
        for (id, job) in &mut self.jobs {
            let held = self
                .checks
                .values()
                .any(|held| held.worker == worker && held.job == *id);
            if !held {
                job.settle(worker);
            }
        }
        self.schedule(now);
    }

    /// Takes a worker away and frees what it holds.
    fn remove_worker(&mut self, worker: WorkerId) -> Option<Worker> {
        let found = self.workers.remove(&worker)?;
        for range in &found.queue {
            if let Some(range) = self.ranges.remove(range) {
                self.release(&range);
            }
        }
        Some(found)
    }

    /// A client asks for a job, or for the one that it asked for before under the same key.
    ///
    /// # Errors
    ///
    /// [`SubmitError`]; nothing changes.
    pub fn submit(
        &mut self,
        now: Instant,
        client: ClientId,
        submission: Submission,
    ) -> Result<(), SubmitError> {
        let (nonces, puzzle) = submission.prepare()?;
        let Submission {
            problem,
            message,
            key,
            progress,
            ..
        } = submission;
        let known = key.as_ref().and_then(|key| {
            self.jobs
                .iter_mut()
                .find(|(_, job)| job.key.as_ref() == Some(key))
        });
        if let Some((id, job)) = known {
            if *job.message != *message || job.nonces != nonces || job.puzzle.problem() != problem {
                return Err(SubmitError::KeyTaken);
            }
            let id = *id;
            job.owner = Owner::Client(client);
            job.progress = progress;
            job.progress_at = now;
            if let Some(best) = job.answer {
                self.deliver(now, id, best);
            }
            self.schedule(now);
            return Ok(());
        }
        let of_client = self
            .jobs
            .values()
            .filter(|job| job.is_waited_for_by(client));
        if self.jobs.len() >= self.config.jobs_max
            || of_client.count() >= self.config.client_jobs_max
        {
            return Err(SubmitError::Full);
        }
        let id = JobId::new(self.fresh_id());
        let mut job = Job::new(now, &message, puzzle, nonces, Owner::Client(client));
        if planted!(self.config, LastNonceSkipped) {
            job.todo = Nonces::new(nonces.first(), nonces.last().saturating_sub(1))
                .into_iter()
                .collect();
        }
        job.key = key;
        job.progress = progress;
        job.is_dirty = job.key.is_some();
        self.jobs.insert(id, job);
        self.save_due(now);
        self.preempt_for(now, id);
        self.schedule(now);
        Ok(())
    }

    /// A client's connection is gone. Its jobs end, but those with a key wait for it a while,
    /// without being worked on.
    pub fn on_client_lost(&mut self, now: Instant, client: ClientId) {
        let lost = self
            .jobs
            .iter()
            .filter(|(_, job)| job.owner == Owner::Client(client));
        let lost: Vec<JobId> = lost.map(|(id, _)| *id).collect();
        for id in lost {
            self.take_back(now, id);
            let until = now.after(self.config.retention);
            match self.jobs.get_mut(&id) {
                Some(job) if job.key.is_some() => job.owner = Owner::Away { until },
                _ => drop(self.remove_job(id)),
            }
        }
        self.schedule(now);
    }

    /// The time has come that [`Self::poll_timeout`] named, or any other.
    pub fn on_timeout(&mut self, now: Instant) {
        let expired = self
            .jobs
            .iter()
            .filter(|(_, job)| job.expires().is_some_and(|at| at <= now));
        let expired: Vec<JobId> = expired.map(|(id, _)| *id).collect();
        for id in expired {
            self.take_back(now, id);
            if let Some(key) = self.remove_job(id).and_then(|job| job.key) {
                self.actions.push_back(Action::Forget { key });
            }
        }
        self.mark_overdue(now);
        self.report_progress(now);
        self.save_due(now);
        self.schedule(now);
    }

    /// When [`Self::on_timeout`] is to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let jobs = self.jobs.values().flat_map(|job| {
            let save = job.is_dirty.then(|| job.save_at(&self.config));
            [job.expires(), save, job.next_progress()]
        });
        let overdue = self
            .workers
            .values()
            .flat_map(|worker| self.overdue_times(worker));
        jobs.flatten().chain(overdue.map(|(_, at)| at)).min()
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// What happened so far.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// The workers.
    pub fn workers(&self) -> impl Iterator<Item = WorkerStatus> + '_ {
        self.workers.iter().map(|(id, worker)| WorkerStatus {
            id: *id,
            speed: worker.speed,
            ranges: worker.queue.len(),
        })
    }

    /// How many jobs are not answered yet.
    #[must_use]
    pub fn unanswered(&self) -> usize {
        self.jobs
            .values()
            .filter(|job| job.answer.is_none())
            .count()
    }

    fn fresh_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// Gives a client its answer; a job with a key stays for a while, in case it did not
    /// arrive.
    fn deliver(&mut self, now: Instant, id: JobId, best: Best) {
        let until = now.after(self.config.retention);
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        if let Owner::Client(client) = job.owner {
            self.actions.push_back(Action::Answer { client, best });
            if job.key.is_none() {
                self.remove_job(id);
                return;
            }
        }
        job.owner = Owner::Away { until };
    }

    fn remove_job(&mut self, id: JobId) -> Option<Job> {
        self.checks.retain(|_, held| held.job != id);
        self.jobs.remove(&id)
    }

    fn report_progress(&mut self, now: Instant) {
        for job in self.jobs.values_mut() {
            let due = job.next_progress().is_some_and(|at| at <= now);
            if let (true, Owner::Client(client)) = (due, job.owner) {
                job.progress_at = now.after(self.config.progress_interval);
                let (done, total) = (job.done(), job.nonces.count());
                self.actions.push_back(Action::Progress {
                    client,
                    done,
                    total,
                });
            }
        }
    }

    /// Emits the records of jobs that changed, each at most once in a while.
    fn save_due(&mut self, now: Instant) {
        for job in self.jobs.values_mut() {
            if job.is_dirty && job.save_at(&self.config) <= now {
                job.is_dirty = false;
                job.saved = Some(now);
                let record = job.record(&self.config);
                self.actions.extend(record.map(Action::Save));
            }
        }
    }

    /// Panics if the state contradicts itself. For tests.
    ///
    /// # Panics
    ///
    /// When something doesn't hold; the message says what.
    #[doc(hidden)]
    pub fn check_invariants(&self) {
        for (id, job) in &self.jobs {
            job.check_invariants(*id);
        }
        for (id, range) in &self.ranges {
            let worker = &self.workers[&range.worker];
            assert!(worker.queue.contains(id), "{id} is in its worker's queue");
            if let Some((job, chunk)) = range.work {
                let chunk = &self.jobs[&job].chunks[&chunk];
                assert!(chunk.holders.contains(id), "{id} holds its chunk");
                assert_eq!(chunk.nonces, range.nonces, "{id} is the whole chunk");
            }
        }
        let queued: usize = self.workers.values().map(|worker| worker.queue.len()).sum();
        assert_eq!(queued, self.ranges.len(), "every queued range is known");
        for held in self.checks.values() {
            assert!(self.jobs.contains_key(&held.job), "a check is of a job");
        }
    }
}
