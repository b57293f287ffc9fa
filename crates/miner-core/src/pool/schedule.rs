//! Who gets what next.

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use miner_kernels::Problem;
use stdx::Instant;

use crate::limits::OUTSTANDING_MAX;
use crate::planted::planted;
use crate::pool::job::{Chunk, Owner, weight};
use crate::pool::worker::{Range, Worker, as_number, hashes_in};
use crate::pool::{Action, JobId, Pool, RangeId, WorkerId};

/// How many workers may hold the same chunk when one after the other is late.
const HOLDERS_MAX: usize = 4;

impl Pool {
    /// Hands out ranges until every worker has enough or nothing is left.
    pub(crate) fn schedule(&mut self, now: Instant) {
        if self.workers.is_empty() || self.jobs.is_empty() {
            return;
        }
        let order = self.order();
        self.hedge(now, &order);
        let mut order = order.into_iter().peekable();
        let mut nobody_takes_headers = false;
        while let Some(job) = order.peek().copied() {
            let problem = self.jobs[&job].puzzle.problem();
            let is_left_out = nobody_takes_headers && problem == Problem::Bitcoin;
            if is_left_out || self.jobs[&job].todo.is_empty() {
                order.next();
                continue;
            }
            let Some(worker) = self.hungriest(now, problem) else {
                if problem == Problem::Cmu {
                    // Who takes headers takes messages too.
                    return;
                }
                nobody_takes_headers = true;
                continue;
            };
            let count = self.chunk_nonces(worker, job);
            let job_state = self.jobs.get_mut(&job).expect("it was looked up before");
            let nonces = job_state.todo.take(count).expect("it is not empty");
            let chunk = job_state.next_chunk;
            job_state.next_chunk += 1;
            let holders = Vec::new();
            job_state.chunks.insert(chunk, Chunk { nonces, holders });
            self.assign(now, worker, job, chunk);
        }
    }

    /// The active jobs, the most urgent first.
    fn order(&self) -> Vec<JobId> {
        let speed = self.speed();
        let mut queues: BTreeMap<(u8, u64), Vec<(f64, JobId)>> = BTreeMap::new();
        for (id, job) in self.jobs.iter().filter(|(_, job)| job.is_active()) {
            let queue = match job.owner {
                Owner::Client(client) => (0, client.get()),
                Owner::Away { .. } | Owner::Restored { .. } => (1, id.get()),
            };
            let seconds = as_number(job.left() * job.weight()) / speed;
            queues.entry(queue).or_default().push((seconds, *id));
        }
        let mut ranked = Vec::new();
        for mut queue in queues.into_values() {
            queue.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            let mut before = 0.0;
            for (seconds, id) in queue {
                before += seconds;
                // A job that comes a second later must be shorter by `ageing` to be equal,
                // whenever they are compared: what is late never catches up by waiting.
                let arrived = self.jobs[&id].arrived.since(Instant::EPOCH).as_secs_f64();
                ranked.push((arrived.mul_add(self.config.ageing, before), id));
            }
        }
        ranked.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        ranked.into_iter().map(|(_, id)| id).collect()
    }

    /// Hashes per second of all workers.
    fn speed(&self) -> f64 {
        let speeds = self
            .workers
            .values()
            .map(|worker| worker.speed_or(&self.config));
        speeds.sum::<f64>().max(1.0)
    }

    /// How many nonces of a job to give to a worker: what takes it the chosen time, but less
    /// near the end of the job, so that all workers come to it together.
    fn chunk_nonces(&self, worker: WorkerId, job: JobId) -> u128 {
        let weight = self.jobs[&job].weight();
        let todo = self.jobs[&job].todo.count();
        let Some(speed) = self.workers[&worker].speed else {
            let share = todo / self.workers.len() as u128;
            return u128::from(self.config.first_range_nonces).min(share.max(1));
        };
        let end = as_number(todo * weight) / self.speed() / 2.0;
        let (min, max) = (self.config.range_span_min, self.config.range_span);
        let hashes = hashes_in(speed, end.clamp(min.as_secs_f64(), max.as_secs_f64()));
        hashes.div_ceil(weight)
    }

    /// The worker that runs out of work first, among those that have too little.
    fn hungriest(&self, now: Instant, problem: Problem) -> Option<WorkerId> {
        let hungry = self
            .workers
            .iter()
            .filter(|(_, worker)| self.takes(worker, problem) && self.is_hungry(worker));
        let left = |worker: &Worker| self.seconds_held(worker) - self.seconds_at_it(now, worker);
        let first = hungry.min_by(|a, b| left(a.1).total_cmp(&left(b.1)));
        first.map(|(id, _)| *id)
    }

    /// Whether a worker can be asked for this.
    fn takes(&self, worker: &Worker, problem: Problem) -> bool {
        planted!(self.config, HeadersToAll) || worker.takes.includes(problem)
    }

    /// Whether a worker has less than two ranges, or two that are over soon.
    fn is_hungry(&self, worker: &Worker) -> bool {
        let ranges = worker.queue.len();
        let span = self.config.range_span.as_secs_f64();
        ranges < 2
            || (ranges < OUTSTANDING_MAX
                && worker.speed.is_some()
                && self.seconds_held(worker) < span)
    }

    /// How long a worker needs for all that it holds.
    fn seconds_held(&self, worker: &Worker) -> f64 {
        let counts = worker.queue.iter().map(|range| self.ranges[range].hashes);
        as_number(counts.sum()) / worker.speed_or(&self.config)
    }

    /// Since when a worker works on its first range.
    fn started(&self, worker: &Worker) -> Option<Instant> {
        let front = worker.queue.front()?;
        Some(self.ranges[front].assigned.max(worker.last_result))
    }

    fn seconds_at_it(&self, now: Instant, worker: &Worker) -> f64 {
        let started = self.started(worker);
        started.map_or(0.0, |started| now.since(started).as_secs_f64())
    }

    /// Gives a chunk to a worker.
    fn assign(&mut self, now: Instant, worker: WorkerId, job: JobId, chunk: u64) {
        let id = RangeId::new(self.fresh_id());
        let job_state = self.jobs.get_mut(&job).expect("the caller has it");
        let part = job_state.chunks.get_mut(&chunk).expect("the caller has it");
        part.holders.push(id);
        let range = Range {
            worker,
            nonces: part.nonces,
            hashes: part.nonces.count() * weight(job_state.puzzle.problem()),
            work: Some((job, chunk)),
            assigned: now,
            is_overdue: false,
        };
        let holder = self.workers.get_mut(&worker).expect("the caller has it");
        if holder.queue.is_empty() {
            holder.begin(now);
        }
        holder.queue.push_back(id);
        self.actions.push_back(Action::Assign {
            worker,
            range: id,
            extended: holder.extended,
            problem: job_state.puzzle.problem(),
            message: Arc::clone(&job_state.message),
            nonces: range.nonces,
        });
        self.ranges.insert(id, range);
        self.counters.assigned += 1;
    }

    /// Takes a range back from a worker, because its work is done or not wanted any more.
    /// The caller sees to the chunk.
    pub(crate) fn cancel(&mut self, now: Instant, id: RangeId) {
        let Some(range) = self.ranges.get_mut(&id) else {
            return;
        };
        let worker = range.worker;
        let holder = self
            .workers
            .get_mut(&worker)
            .expect("a range is of a worker");
        if holder.extended {
            if holder.queue.front() == Some(&id) {
                holder.begin(now);
            }
            holder.queue.retain(|held| *held != id);
            self.ranges.remove(&id);
            self.actions.push_back(Action::Cancel { worker, range: id });
        } else {
            // It can't be told: its result will come, in its turn, and be ignored.
            range.work = None;
        }
    }

    /// A worker doesn't hold a range any more: its chunk is free if nobody else has it.
    pub(crate) fn release(&mut self, range: &Range) {
        let Some((job, chunk)) = range.work else {
            return;
        };
        let ranges = &self.ranges;
        let job = self.jobs.get_mut(&job).expect("a live range is of a job");
        let part = job
            .chunks
            .get_mut(&chunk)
            .expect("a live range is of a chunk");
        part.holders.retain(|holder| ranges.contains_key(holder));
        if part.holders.is_empty() {
            let nonces = part.nonces;
            job.chunks.remove(&chunk);
            if planted!(self.config, LostRangesForgotten) {
                let hash = job.puzzle.hash(nonces.first());
                let nonce = nonces.first();
                job.settled.add(nonces, miner_kernels::Best { hash, nonce });
            } else {
                job.todo.insert(nonces);
            }
        }
    }

    /// Takes all ranges of a job back.
    pub(crate) fn take_back(&mut self, now: Instant, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        for (_, chunk) in core::mem::take(&mut job.chunks) {
            if let Some(job) = self.jobs.get_mut(&id) {
                job.todo.insert(chunk.nonces);
            }
            for holder in chunk.holders {
                self.cancel(now, holder);
            }
        }
    }

    /// Takes back what waits at workers of ours behind what they work on, as far as a new job
    /// is more urgent.
    pub(crate) fn preempt_for(&mut self, now: Instant, job: JobId) {
        let order = self.order();
        let place = |id: JobId| order.iter().position(|other| *other == id);
        let Some(new) = place(job) else {
            return;
        };
        let problem = self.jobs[&job].puzzle.problem();
        let ours = self
            .workers
            .values()
            .filter(|worker| worker.extended && self.takes(worker, problem));
        let waiting = ours.flat_map(|worker| worker.queue.iter().skip(1));
        let waiting: Vec<RangeId> = waiting.copied().collect();
        for id in waiting {
            let range = self.ranges[&id].clone();
            let is_later = |job| place(job).is_none_or(|at| at > new);
            // What was sent just now may have been: it is not worth the messages again.
            let is_fresh = now.since(range.assigned) < self.config.range_span_min;
            if !is_fresh && range.work.is_some_and(|(job, _)| is_later(job)) {
                self.cancel(now, id);
                self.release(&range);
                self.counters.preempted += 1;
            }
        }
    }

    /// When the ranges of a worker become overdue that are not yet.
    pub(crate) fn overdue_times<'a>(
        &'a self,
        worker: &'a Worker,
    ) -> impl Iterator<Item = (RangeId, Instant)> + 'a {
        let started = self.started(worker).unwrap_or(worker.last_result);
        let speed = worker.speed_or(&self.config);
        let mut seconds = 0.0;
        worker.queue.iter().filter_map(move |id| {
            let range = &self.ranges[id];
            seconds += as_number(range.hashes) / speed;
            let late = (seconds * self.config.hedge_after)
                .max(seconds + self.config.hedge_span_min.as_secs_f64());
            let at = started.after(Duration::from_secs_f64(late.min(1e9)));
            (!range.is_overdue && range.work.is_some()).then_some((*id, at))
        })
    }

    /// Marks the ranges that take too long, and thinks less of their workers.
    pub(crate) fn mark_overdue(&mut self, now: Instant) {
        let all = self
            .workers
            .values()
            .flat_map(|worker| self.overdue_times(worker));
        let late: Vec<RangeId> = all.filter(|(_, at)| *at <= now).map(|(id, _)| id).collect();
        for id in late {
            let range = self.ranges.get_mut(&id).expect("it was listed");
            range.is_overdue = true;
            let (worker, count) = (range.worker, range.hashes);
            let elapsed = self.seconds_at_it(now, &self.workers[&worker]);
            let worker = self
                .workers
                .get_mut(&worker)
                .expect("a range is of a worker");
            if worker.queue.front() == Some(&id) && elapsed > 0.0 {
                let at_most = (as_number(count) / elapsed).max(1.0);
                worker.speed = worker.speed.map(|speed| speed.min(at_most));
            }
        }
    }

    /// Hands chunks whose holders are all late to one more worker.
    fn hedge(&mut self, now: Instant, order: &[JobId]) {
        let mut late = Vec::new();
        for job in order {
            for (chunk, part) in &self.jobs[job].chunks {
                let all_late = part.holders.iter().all(|id| self.ranges[id].is_overdue);
                if all_late && part.holders.len() < HOLDERS_MAX {
                    late.push((*job, *chunk));
                }
            }
        }
        for (job, chunk) in late {
            let problem = self.jobs[&job].puzzle.problem();
            let holders = &self.jobs[&job].chunks[&chunk].holders;
            let holders: Vec<WorkerId> = holders.iter().map(|id| self.ranges[id].worker).collect();
            let free = self.workers.iter().filter(|(id, worker)| {
                let front_late = worker
                    .queue
                    .front()
                    .is_some_and(|id| self.ranges[id].is_overdue);
                !holders.contains(id)
                    && self.takes(worker, problem)
                    && self.is_hungry(worker)
                    && !front_late
            });
            let held = |worker: &Worker| self.seconds_held(worker);
            let least = free.min_by(|a, b| held(a.1).total_cmp(&held(b.1)));
            if let Some(worker) = least.map(|(id, _)| *id) {
                self.counters.hedged += 1;
                self.assign(now, worker, job, chunk);
            }
        }
    }
}
