//! Backups for stragglers, by the estimated time to their end (LATE).

use core::time::Duration;

use stdx::Instant;

use crate::attempt::{Attempt, Purpose};
use crate::id::{Stage, TaskId, WorkerId};
use crate::job::Job;
use crate::worker::Worker;

/// A copy must be expected to take less than this part of what is left.
const GAIN: f64 = 1.5;
/// A worker that is so much slower than others gets no copies, and none is taken as typical.
const SLOW: f64 = 2.0;

impl Job {
    pub(crate) fn schedule_backups(&mut self) {
        if self.config.backup_copies_max == 0 || self.attempts.is_empty() {
            return;
        }
        let running = self
            .attempts
            .values()
            .filter(|a| a.purpose == Purpose::Backup)
            .count();
        let slots = self
            .workers
            .values()
            .filter(|w| w.is_connected())
            .fold(0_usize, |sum, w| sum.saturating_add(w.slots as usize));
        let cap = (slots / 2).max(1);
        if running >= cap || !self.has_room() {
            return;
        }
        let readable = self.maps_are_readable();
        let mut late: Vec<(Duration, TaskId)> = self
            .attempts
            .values()
            .filter(|attempt| readable || attempt.task.stage == Stage::Map)
            .filter_map(|attempt| Some((self.lateness(attempt)?, attempt.task)))
            .collect();
        late.sort_by(|a, b| b.cmp(a));
        for (_, task) in late.into_iter().take(cap - running) {
            let not = self.unfit_for_backup(task);
            self.assign(task, Purpose::Backup, 0, &not);
        }
    }

    fn has_room(&self) -> bool {
        let room =
            |w: &Worker| w.is_connected() && !w.draining && w.running.len() < w.slots as usize;
        self.workers.values().any(room)
    }

    /// How late an attempt is, if it is so late that a copy would be done earlier.
    fn lateness(&self, attempt: &Attempt) -> Option<Duration> {
        let now = self.now;
        let task = self.task(attempt.task);
        let copies = task.running.len().saturating_sub(1);
        let age = attempt.age(now);
        if attempt.purpose == Purpose::Audit
            || task.has_result()
            || copies >= self.config.backup_copies_max as usize
            || age < self.config.backup_min
        {
            return None;
        }
        let typical = self.typical(attempt.task.stage);
        match (attempt.time_left(now), typical) {
            (Some(left), Some(typical)) => {
                let late = left > typical.mul_f64(GAIN) && left > self.config.backup_min;
                late.then_some(left)
            }
            // Nobody of the stage is done: only a worker known to be slow is suspected, or an
            // attempt that is far from its end after a long time.
            (Some(left), None) => {
                let factor = self
                    .workers
                    .get(&attempt.worker)
                    .map_or(1.0, Worker::slow_factor);
                let fresh = (age + left).mul_f64(1.0 / factor.max(1.0));
                let late = left > fresh.mul_f64(GAIN) || age >= self.config.backup_blind;
                (late && left > self.config.backup_min).then_some(left)
            }
            // No progress was ever reported: all that is known is how long it takes.
            (None, typical) => {
                let patience = typical.map_or(Duration::ZERO, |t| t * 3);
                (age >= self.config.backup_blind.max(patience)).then_some(age)
            }
        }
    }

    /// Workers that have an attempt of the task, or are no better than a straggler.
    fn unfit_for_backup(&self, task: TaskId) -> Vec<WorkerId> {
        let mut unfit: Vec<WorkerId> = self
            .task(task)
            .running
            .iter()
            .filter_map(|id| Some(self.attempts.get(id)?.worker))
            .collect();
        let slow = |(id, w): (&WorkerId, &Worker)| {
            (w.slow_factor() >= SLOW || w.is_benched(self.now)).then_some(*id)
        };
        unfit.extend(self.workers.iter().filter_map(slow));
        unfit
    }

    pub(crate) fn note_took(&mut self, stage: Stage, took: Duration) {
        let times = &mut self.times[stage as usize];
        let at = times.partition_point(|other| *other < took);
        times.insert(at, took);
    }

    /// How long an execution in this stage typically takes.
    pub(crate) fn typical(&self, stage: Stage) -> Option<Duration> {
        let times = &self.times[stage as usize];
        times.get(times.len() / 2).copied()
    }

    /// The time of the last input.
    #[must_use]
    pub const fn now(&self) -> Instant {
        self.now
    }
}
