//! An attempt: one execution of a task by one worker.

use core::time::Duration;

use serde::{Deserialize, Serialize};
use stdx::Instant;

use crate::id::{TaskId, WorkerId};

/// What an attempt is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// To have the result.
    Regular,
    /// To have it sooner than a slow one.
    Backup,
    /// To compare with the result.
    Audit,
}

/// An execution that the coordinator believes to run.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) task: TaskId,
    pub(crate) worker: WorkerId,
    pub(crate) purpose: Purpose,
    pub(crate) started: Instant,
    /// When it was last sent, or mentioned by the worker.
    pub(crate) known: Instant,
    /// 0 to 1.
    pub(crate) progress: f64,
    /// When that last grew.
    pub(crate) progressed: Instant,
}

impl Attempt {
    pub(crate) fn new(task: TaskId, worker: WorkerId, purpose: Purpose, now: Instant) -> Self {
        Self {
            task,
            worker,
            purpose,
            started: now,
            known: now,
            progress: 0.0,
            progressed: now,
        }
    }

    /// The worker mentioned it.
    pub(crate) fn observe(&mut self, progress: f64, now: Instant) {
        self.known = now;
        // What comes from outside may be anything; NaN compares as false.
        if progress > self.progress && progress <= 1.0 {
            self.progress = progress;
            self.progressed = now;
        }
    }

    pub(crate) const fn age(&self, now: Instant) -> Duration {
        now.since(self.started)
    }

    /// The estimated time to its end; `None` while it has not reported any progress.
    pub(crate) fn time_left(&self, now: Instant) -> Option<Duration> {
        // The last progress was made then: a report that is overdue counts against it.
        let age = self.age(now).as_secs_f64();
        (self.progress > 0.0).then(|| {
            let left = age * (1.0 - self.progress) / self.progress;
            Duration::from_secs_f64(left.clamp(0.0, 1e9))
        })
    }
}
