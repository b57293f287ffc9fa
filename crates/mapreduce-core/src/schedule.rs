//! Who gets what: maps, then reduces, then audits and backups on what is left.

use crate::attempt::Purpose;
use crate::failure::Failure;
use crate::id::{AttemptId, Stage, TaskId, WorkerId};
use crate::job::Job;
use crate::message::{Assignment, Source, ToWorker};

impl Job {
    pub(crate) fn schedule(&mut self) {
        if self.now < self.settles_at {
            return;
        }
        self.schedule_maps();
        if self.maps_are_readable() {
            self.schedule_reduces();
        }
        self.schedule_audits();
        self.schedule_backups();
    }

    fn schedule_maps(&mut self) {
        if self.outputs_are_consumed() {
            return;
        }
        // Reduces that wait for a lost map would hold every slot for ever: one more, then.
        let extra = u32::from(
            self.attempts
                .values()
                .any(|attempt| attempt.task.stage == Stage::Reduce),
        );
        for index in 0..self.plan.maps {
            if self.maps[index as usize].is_idle()
                && !self.assign(TaskId::map(index), Purpose::Regular, extra, &[])
            {
                return;
            }
        }
    }

    fn schedule_reduces(&mut self) {
        for index in 0..self.plan.reduces {
            if self.reduces[index as usize].is_idle()
                && !self.assign(TaskId::reduce(index), Purpose::Regular, 0, &[])
            {
                return;
            }
        }
    }

    /// Gives a task to the worker that suits best; false if none has room.
    pub(crate) fn assign(
        &mut self,
        task: TaskId,
        purpose: Purpose,
        extra: u32,
        not: &[WorkerId],
    ) -> bool {
        let Some(worker) = self.room(task, extra, not) else {
            return false;
        };
        let attempt = AttemptId {
            epoch: self.epoch,
            number: self.next_attempt,
        };
        self.next_attempt += 1;
        self.enlist(attempt, task, worker, purpose);
        if let Some(assignment) = self.assignment(attempt) {
            self.send(worker, ToWorker::Assign(assignment));
        }
        true
    }

    /// The worker for a task: one that isn't benched, on which the task didn't fail, with the
    /// most room.
    fn room(&self, task: TaskId, extra: u32, not: &[WorkerId]) -> Option<WorkerId> {
        let failed_on = &self.task(task).failed_on;
        self.workers
            .iter()
            .filter(|(id, w)| w.is_connected() && !w.draining && !not.contains(id))
            .filter_map(|(id, w)| {
                let running = u32::try_from(w.running.len()).unwrap_or(u32::MAX);
                let free = w.slots.saturating_add(extra).saturating_sub(running);
                let key = (
                    w.is_benched(self.now),
                    failed_on.contains(id),
                    u32::MAX - free,
                );
                (free > 0).then_some((key, *id))
            })
            .min()
            .map(|(_, id)| id)
    }

    /// The order to execute an attempt that is enlisted; none for a reduce while the output
    /// of a map is lost.
    fn assignment(&self, id: AttemptId) -> Option<Assignment> {
        let task = self.attempts.get(&id)?.task;
        let sources = match task.stage {
            Stage::Map => Vec::new(),
            Stage::Reduce if !self.maps_are_readable() => return None,
            Stage::Reduce => (0..self.plan.maps)
                .filter_map(|map| self.source(map, task.index))
                .collect(),
        };
        Some(Assignment {
            attempt: id,
            task,
            skip: self.task(task).skip.iter().copied().collect(),
            sources,
        })
    }

    /// Where a reduce finds its part of a map's output.
    pub(crate) fn source(&self, map: u32, partition: u32) -> Option<Source> {
        let (winner, done) = self.map_done(map)?;
        Some(Source {
            map,
            attempt: winner.attempt,
            worker: winner.worker,
            tally: *done.extents.get(partition as usize)?,
        })
    }

    /// Fails attempts that hang, and repeats orders that seem lost.
    pub(crate) fn expire_attempts(&mut self) {
        let (now, config) = (self.now, &self.config);
        let (stall, resend) = (config.stall, config.resend);
        let stalled: Vec<AttemptId> = self
            .attempts
            .iter()
            .filter(|(_, a)| now >= a.progressed.after(stall))
            .map(|(id, _)| *id)
            .collect();
        for attempt in stalled {
            let Some(worker) = self.attempts.get(&attempt).map(|a| a.worker) else {
                continue;
            };
            let seconds = stall.as_secs();
            self.fail_attempt(attempt, Failure::Stalled { seconds });
            self.send(worker, ToWorker::Cancel { attempt });
        }
        let unknown: Vec<AttemptId> = self
            .attempts
            .iter()
            .filter(|(_, a)| now >= a.known.after(resend))
            .map(|(id, _)| *id)
            .collect();
        for id in unknown {
            let Some(assignment) = self.assignment(id) else {
                continue;
            };
            if let Some(attempt) = self.attempts.get_mut(&id) {
                attempt.known = now;
                let worker = attempt.worker;
                self.send(worker, ToWorker::Assign(assignment));
            }
        }
    }
}
