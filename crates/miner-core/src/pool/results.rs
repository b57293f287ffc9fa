//! What workers claim, and whether to believe it.

use std::sync::Arc;

use miner_kernels::Best;
use stdx::Instant;

use crate::limits::{CHECKS_MAX, PIECES};
use crate::nonces::Nonces;
use crate::planted::planted;
use crate::pool::worker::Range;
use crate::pool::{Action, CheckId, Claim, DropReason, JobId, Pool, RangeId, WorkerId};

/// A claim that counts once a check has passed.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) job: JobId,
    pub(crate) worker: WorkerId,
    nonces: Nonces,
    best: Best,
    expected: Expected,
}

/// What a check must come to.
#[derive(Clone, Copy, Debug)]
enum Expected {
    /// Exactly this hash: what the worker claimed for this piece.
    Exactly(u64),
    /// Nothing better than this.
    NothingBelow(Best),
}

impl Pool {
    /// A worker reports the best of a range.
    ///
    /// # Panics
    ///
    /// Never for what a worker sends: only if the pool contradicts itself.
    pub fn on_result(&mut self, now: Instant, worker: WorkerId, claim: &Claim) {
        let Some(found) = self.workers.get_mut(&worker) else {
            return;
        };
        let at = match claim.range {
            Some(id) => found.queue.iter().position(|range| *range == id),
            None if found.queue.is_empty() => {
                self.distrust(now, worker, DropReason::Unasked);
                return;
            }
            None => Some(0),
        };
        let at = if planted!(self.config, LateResultCredited) {
            at.or(Some(0))
        } else {
            at
        };
        let Some(id) = at.and_then(|at| found.queue.remove(at)) else {
            self.counters.late += 1;
            return;
        };
        let range = self.ranges.remove(&id).expect("what is queued is known");
        found.learn(now, &self.config, range.hashes);
        let Some((job, chunk)) = range.work else {
            self.counters.late += 1;
            self.schedule(now);
            return;
        };
        if let Err(reason) = self.judge(&range, job, claim) {
            self.release(&range);
            self.distrust(now, worker, reason);
            return;
        }
        self.finish_chunk(now, id, job, chunk);
        self.counters.accepted += 1;
        let puzzle = &self.jobs[&job].puzzle;
        let is_any_taken = planted!(self.config, UnsolvedAnswered)
            && puzzle.problem() == miner_kernels::Problem::Bitcoin;
        if is_any_taken || puzzle.is_solved_by(claim.best.nonce) {
            self.solve(now, worker, job, range.nonces, claim.best);
        } else {
            self.accept(now, worker, job, range.nonces, claim);
        }
        self.schedule(now);
    }

    /// Answers a job that ends with this nonce, whatever else of it is not done. The nonce
    /// was hashed, so that there is nothing to check.
    fn solve(&mut self, now: Instant, worker: WorkerId, id: JobId, nonces: Nonces, best: Best) {
        let job = self.jobs.get_mut(&id).expect("it was looked up before");
        job.credits.entry(worker).or_default().add(nonces, best);
        self.counters.solved += 1;
        self.take_back(now, id);
        self.answer(now, id, best);
    }

    /// Hashes the claimed nonce again, and looks whether the rest is consistent with it.
    fn judge(&self, range: &Range, job: JobId, claim: &Claim) -> Result<(), DropReason> {
        let Best { hash, nonce } = claim.best;
        if planted!(self.config, NoRehash) {
            return Ok(());
        }
        if !range.nonces.contains(nonce) {
            return Err(DropReason::OutsideRange);
        }
        if self.jobs[&job].puzzle.hash(nonce) != hash {
            return Err(DropReason::FalseHash);
        }
        let minima = &claim.minima;
        let consistent = minima.len() == PIECES && minima.iter().min() == Some(&hash);
        if minima.is_empty() || (consistent && range.nonces.count() >= PIECES as u128) {
            return Ok(());
        }
        Err(DropReason::Contradiction)
    }

    /// Takes a chunk from all who hold it.
    fn finish_chunk(&mut self, now: Instant, winner: RangeId, job: JobId, chunk: u64) {
        let job = self.jobs.get_mut(&job).expect("a live range is of a job");
        let chunk = job
            .chunks
            .remove(&chunk)
            .expect("a live range is of a chunk");
        for holder in chunk.holders {
            if holder != winner {
                self.cancel(now, holder);
            }
        }
    }

    /// Counts a claim that was found true as far as one hash tells, or has it checked first.
    fn accept(&mut self, now: Instant, worker: WorkerId, id: JobId, nonces: Nonces, claim: &Claim) {
        let unproven = self
            .workers
            .get(&worker)
            .is_some_and(|worker| !worker.is_proven);
        let one_in = u64::from(self.config.check_one_in);
        let is_drawn = one_in > 0 && self.prng.chance(1, one_in);
        let is_checked = unproven || (is_drawn && self.checks.len() < CHECKS_MAX);
        if is_checked {
            self.check(worker, id, nonces, claim);
        }
        let job = self.jobs.get_mut(&id).expect("it was looked up before");
        job.is_dirty = job.key.is_some();
        if is_checked {
            job.held.insert(nonces);
        } else {
            job.credits
                .entry(worker)
                .or_default()
                .add(nonces, claim.best);
        }
        self.complete(now, id);
    }

    /// Starts a check of one of the sixteen pieces of a range.
    fn check(&mut self, worker: WorkerId, job: JobId, nonces: Nonces, claim: &Claim) {
        let at = self.prng.index(PIECES);
        let is_small = nonces.count() <= u128::from(self.config.check_whole_nonces);
        let piece = nonces
            .piece(at, PIECES)
            .filter(|_| !is_small)
            .unwrap_or(nonces);
        let max = u128::from(self.config.check_nonces_max);
        let is_whole = piece.count() <= max;
        let (piece, _) = piece.split(max);
        let expected = match claim.minima.get(at) {
            Some(hash) if is_whole && !is_small => Expected::Exactly(*hash),
            _ => Expected::NothingBelow(claim.best),
        };
        let check = CheckId::new(self.fresh_id());
        let held = Held {
            job,
            worker,
            nonces,
            best: claim.best,
            expected,
        };
        self.checks.insert(check, held);
        let puzzle = Arc::clone(&self.jobs[&job].puzzle);
        self.actions.push_back(Action::Check {
            check,
            puzzle,
            nonces: piece,
        });
    }

    /// The server's own kernel found this.
    ///
    /// # Panics
    ///
    /// Only if the pool contradicts itself.
    pub fn on_checked(&mut self, now: Instant, check: CheckId, found: Best) {
        // A check whose job or worker is gone is no longer known.
        let Some(held) = self.checks.remove(&check) else {
            return;
        };
        let Held {
            job: id,
            worker,
            nonces,
            best,
            expected,
        } = held;
        let passed = match expected {
            Expected::Exactly(hash) => found.hash == hash,
            Expected::NothingBelow(best) => found >= best,
        };
        let job = self.jobs.get_mut(&id).expect("a check is of a job");
        let rest = job.held.ranges().collect::<Vec<_>>();
        job.held = without(&rest, nonces);
        if !passed {
            job.todo.insert(nonces);
            self.distrust(now, worker, DropReason::FailedCheck);
            return;
        }
        self.counters.checked += 1;
        let is_proof = nonces.count() >= u128::from(self.config.proof_nonces);
        if let Some(worker) = self.workers.get_mut(&worker) {
            worker.is_proven |= is_proof;
        }
        job.credits.entry(worker).or_default().add(nonces, best);
        let is_held = self
            .checks
            .values()
            .any(|held| held.job == id && held.worker == worker);
        if !self.workers.contains_key(&worker) && !is_held {
            job.settle(worker);
        }
        self.complete(now, id);
        self.schedule(now);
    }

    /// Ends a worker's work and takes back all credit that it has in unfinished jobs.
    fn distrust(&mut self, now: Instant, worker: WorkerId, reason: DropReason) {
        self.counters.caught += 1;
        if self.remove_worker(worker).is_some() {
            self.actions.push_back(Action::Drop { worker, reason });
        }
        let suspended = self.checks.extract_if(.., |_, held| held.worker == worker);
        for (_, held) in suspended.collect::<Vec<_>>() {
            let job = self.jobs.get_mut(&held.job).expect("a check is of a job");
            let rest = job.held.ranges().collect::<Vec<_>>();
            job.held = without(&rest, held.nonces);
            job.todo.insert(held.nonces);
        }
        for job in self.jobs.values_mut() {
            if planted!(self.config, LiarKeepsCredit) || job.answer.is_some() {
                job.settle(worker);
            } else if let Some(credit) = job.credits.remove(&worker) {
                job.todo.absorb(&credit.done);
                job.is_dirty = job.key.is_some();
            }
        }
        let ids: Vec<JobId> = self.jobs.keys().copied().collect();
        for id in ids {
            self.complete(now, id);
        }
        self.schedule(now);
    }

    /// Answers a job if all of it is done.
    fn complete(&mut self, now: Instant, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        if job.answer.is_some() || !job.is_complete() {
            return;
        }
        let best = job.best().expect("a job has at least one nonce");
        self.answer(now, id, best);
    }

    fn answer(&mut self, now: Instant, id: JobId, best: Best) {
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        job.answer = Some(best);
        self.counters.answered += 1;
        if job.key.is_some() {
            job.is_dirty = false;
            let record = job.record(&self.config);
            self.actions.extend(record.map(Action::Save));
        }
        self.deliver(now, id, best);
    }
}

/// A set of ranges without one that lies in it.
fn without(ranges: &[Nonces], gone: Nonces) -> crate::nonces::NonceSet {
    let mut parts = Vec::new();
    for range in ranges {
        if !range.contains(gone.first()) {
            parts.push(*range);
            continue;
        }
        parts.extend(
            gone.first()
                .checked_sub(1)
                .and_then(|last| Nonces::new(range.first(), last)),
        );
        parts.extend(
            gone.last()
                .checked_add(1)
                .and_then(|first| Nonces::new(first, range.last())),
        );
    }
    parts.into_iter().collect()
}
