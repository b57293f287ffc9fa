//! A worker as the coordinator sees it.

use std::collections::BTreeSet;

use core::time::Duration;

use stdx::Instant;

use crate::config::Config;
use crate::id::{AttemptId, WorkerId};
use crate::job::Job;
use crate::message::{Action, Event, FromWorker, Held, HeldState, ToWorker};

/// Whether a worker can be reached.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Reach {
    /// It was heard of then.
    Connected { heard: Instant },
    /// Its connection broke, or the coordinator is new: it may come back until then.
    Awaited { until: Instant },
    /// It is lost.
    Lost,
}

/// A worker.
#[derive(Clone, Debug)]
pub(crate) struct Worker {
    pub(crate) reach: Reach,
    pub(crate) slots: u32,
    pub(crate) draining: bool,
    pub(crate) released: bool,
    pub(crate) running: BTreeSet<AttemptId>,
    pub(crate) failures_in_row: u32,
    pub(crate) benched_until: Option<Instant>,
    /// Finished attempts and how long they took, over the stage's typical time.
    pub(crate) slowness: (u32, f64),
}

impl Worker {
    pub(crate) const fn awaited(until: Instant) -> Self {
        Self {
            reach: Reach::Awaited { until },
            slots: 0,
            draining: false,
            released: false,
            running: BTreeSet::new(),
            failures_in_row: 0,
            benched_until: None,
            slowness: (0, 0.0),
        }
    }

    pub(crate) const fn is_connected(&self) -> bool {
        matches!(self.reach, Reach::Connected { .. })
    }

    /// Whether anything can come of it: one that leaves takes no new work.
    pub(crate) fn is_of_use(&self) -> bool {
        self.is_connected() && (!self.draining || !self.running.is_empty())
    }

    /// Whether it may hold what it held.
    pub(crate) const fn may_return(&self) -> bool {
        !matches!(self.reach, Reach::Lost)
    }

    pub(crate) fn is_benched(&self, now: Instant) -> bool {
        self.benched_until.is_some_and(|until| now < until)
    }

    /// How many times slower than others it has been; 1 when that isn't known.
    pub(crate) fn slow_factor(&self) -> f64 {
        let (count, sum) = self.slowness;
        if count == 0 {
            1.0
        } else {
            sum / f64::from(count)
        }
    }

    pub(crate) fn failed(&mut self, config: &Config, now: Instant) -> bool {
        self.failures_in_row += 1;
        let benched = self.failures_in_row >= config.bench_after;
        if benched {
            self.failures_in_row = 0;
            self.benched_until = Some(now.after(config.bench_for));
        }
        benched
    }

    pub(crate) const fn succeeded(&mut self) {
        self.failures_in_row = 0;
        self.benched_until = None;
    }
}

impl Job {
    /// A worker's connection broke. It is lost unless it comes back in a moment.
    pub fn on_disconnected(&mut self, now: Instant, worker: WorkerId) {
        self.now = now;
        self.early.remove(&worker);
        let until = now.after(self.config.reconnect_grace);
        if let Some(found) = self.workers.get_mut(&worker)
            && found.is_connected()
        {
            found.reach = Reach::Awaited { until };
        }
        self.step();
    }

    pub(crate) fn register(&mut self, id: WorkerId, slots: u32, held: &[Held]) {
        let now = self.now;
        let worker = self
            .workers
            .entry(id)
            .or_insert_with(|| Worker::awaited(now));
        let is_new = !worker.is_connected();
        worker.reach = Reach::Connected { heard: now };
        // One without any would be waited for in vain.
        worker.slots = slots.max(1);
        self.send(id, ToWorker::Welcome);
        if is_new {
            self.tell(Event::Joined(id));
        }
        for held in held {
            self.adopt(id, held);
        }
        // What it doesn't have any more.
        let has: BTreeSet<AttemptId> = held.iter().map(|h| h.attempt).collect();
        for map in 0..self.plan.maps {
            let task = &self.maps[map as usize];
            let Some(winner) = task.winner.as_ref().filter(|w| w.worker == id) else {
                continue;
            };
            if !has.contains(&winner.attempt) {
                self.lose_output(map);
            } else if is_new {
                // Reduces may have been told of it while nobody knew where it is.
                self.tell_readers(map);
            }
        }
    }

    /// Looks at one attempt that a registering worker has.
    fn adopt(&mut self, id: WorkerId, held: &Held) {
        let Held {
            attempt,
            task: name,
            state,
        } = *held;
        let valid = self.has_task(name);
        let wins = valid
            && self
                .task(name)
                .winner
                .as_ref()
                .is_some_and(|w| w.attempt == attempt && w.worker == id);
        let pending = valid
            && self
                .task(name)
                .committing
                .as_ref()
                .is_some_and(|(committing, _)| *committing == attempt);
        let known = self
            .attempts
            .get(&attempt)
            .is_some_and(|a| a.worker == id && a.task == name);
        if wins {
            self.send(id, ToWorker::Accepted { attempt });
        } else if known {
            let now = self.now;
            if let Some(known) = self.attempts.get_mut(&attempt) {
                known.known = now;
            }
        } else if valid
            && !pending
            && state == HeldState::Running
            && attempt.epoch < self.epoch
            && !self.retired.contains_key(&attempt)
            && !self.task(name).has_result()
            && self.task(name).running.is_empty()
            && self.task(name).in_journal == 0
        {
            // The coordinator before this one gave it out: its work is as good as any.
            self.enlist(attempt, name, id, crate::attempt::Purpose::Regular);
        } else if !pending {
            self.send(id, ToWorker::Discard { attempt });
        }
    }

    pub(crate) fn hear(&mut self, id: WorkerId) -> bool {
        let now = self.now;
        match self.workers.get_mut(&id) {
            Some(worker) if worker.is_connected() => {
                worker.reach = Reach::Connected { heard: now };
                true
            }
            // Lost, or never seen: it has to register first. Its connection is closed so
            // that it finds out.
            _ => false,
        }
    }

    /// Declares those lost that were silent for too long.
    pub(crate) fn expire_workers(&mut self) {
        let (now, lease) = (self.now, self.config.lease);
        let due = |worker: &Worker| match worker.reach {
            Reach::Connected { heard } => now >= heard.after(lease),
            Reach::Awaited { until } => now >= until,
            Reach::Lost => false,
        };
        let lost: Vec<WorkerId> = self
            .workers
            .iter()
            .filter(|(_, worker)| due(worker))
            .map(|(id, _)| *id)
            .collect();
        for id in lost {
            self.lose_worker(id);
        }
    }

    fn lose_worker(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        worker.reach = Reach::Lost;
        worker.released = false;
        let running = core::mem::take(&mut worker.running);
        self.tell(Event::Lost(id));
        for attempt in running {
            self.fail_attempt(attempt, crate::failure::Failure::WorkerLost);
        }
        for map in 0..self.plan.maps {
            let held = self.maps[map as usize]
                .winner
                .as_ref()
                .is_some_and(|w| w.worker == id);
            if held {
                self.lose_output(map);
            }
        }
    }

    /// Lets a draining worker go once nothing that it has is needed.
    pub(crate) fn release_drained(&mut self) {
        let outputs_needed = !self.outputs_are_consumed();
        let holds = |id: WorkerId| {
            self.maps
                .iter()
                .any(|task| task.winner.as_ref().is_some_and(|w| w.worker == id))
        };
        let ready: Vec<WorkerId> = self
            .workers
            .iter()
            .filter(|(_, w)| w.draining && !w.released && w.is_connected() && w.running.is_empty())
            .filter(|(id, _)| !(outputs_needed && holds(**id)))
            .map(|(id, _)| *id)
            .collect();
        for id in ready {
            if let Some(worker) = self.workers.get_mut(&id) {
                worker.released = true;
            }
            self.send(id, ToWorker::Released);
        }
    }

    pub(crate) fn close_workers(&mut self) {
        let ids: Vec<WorkerId> = self.workers.keys().copied().collect();
        for id in ids {
            self.send(id, ToWorker::Close);
        }
    }

    /// Learns how fast a worker is from an attempt that took `took`.
    pub(crate) fn rate(&mut self, id: WorkerId, stage: crate::id::Stage, took: Duration) {
        let Some(typical) = self.typical(stage).filter(|t| !t.is_zero()) else {
            return;
        };
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.slowness.0 += 1;
            worker.slowness.1 += took.as_secs_f64() / typical.as_secs_f64();
        }
    }

    pub(crate) fn is_awaited(&self, id: WorkerId) -> bool {
        let found = self.workers.get(&id);
        found.is_some_and(|w| matches!(w.reach, Reach::Awaited { .. }))
    }

    /// Whether every reduce is committed and compared: then no map's output is read again.
    pub(crate) fn outputs_are_consumed(&self) -> bool {
        self.reduces.iter().all(crate::task::Task::is_settled)
            && self.maps.iter().all(|task| !Self::audits_open(task))
    }

    pub(crate) fn send(&mut self, worker: WorkerId, message: ToWorker) {
        self.actions.push_back(Action::Send { worker, message });
    }

    pub(crate) fn tell(&mut self, event: Event) {
        self.actions.push_back(Action::Tell(event));
    }

    pub(crate) fn hear_out(&mut self, id: WorkerId, message: FromWorker) {
        match message {
            FromWorker::Register { slots, held } => self.register(id, slots, &held),
            FromWorker::Status { running } => self.on_status(id, &running),
            FromWorker::Finished { attempt, report } => self.on_finished(id, attempt, report),
            FromWorker::Failed { attempt, failure } => self.on_failed(id, attempt, failure),
            FromWorker::FetchFailed {
                attempt,
                map,
                source,
            } => self.on_fetch_failed(id, attempt, map, source),
            FromWorker::Draining => {
                if let Some(worker) = self.workers.get_mut(&id) {
                    worker.draining = true;
                }
            }
        }
    }

    fn on_status(&mut self, id: WorkerId, running: &[(AttemptId, f64)]) {
        let now = self.now;
        for (attempt, progress) in running {
            if let Some(found) = self.attempts.get_mut(attempt)
                && found.worker == id
            {
                found.observe(*progress, now);
            } else if self.is_winner(*attempt) {
                // It was committed while this was on its way: what it wrote must stay.
                self.send(id, ToWorker::Accepted { attempt: *attempt });
            } else if !self.is_committing(*attempt) {
                // It was given to others since, or the task is done.
                self.send(id, ToWorker::Cancel { attempt: *attempt });
            }
        }
    }
}
