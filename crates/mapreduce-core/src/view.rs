//! How a job stands, for people.

use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::attempt::Purpose;
use crate::id::{AttemptId, Epoch, Stage, TaskId, WorkerId};
use crate::job::{Job, Phase};
use crate::task::Task;
use crate::worker::Reach;

/// How a stage stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StageView {
    /// Tasks.
    pub total: u32,
    /// Tasks whose result is taken.
    pub done: u32,
    /// Executions that run.
    pub running: u32,
    /// All of them, in tasks: those done and parts of those that run.
    pub progress: f64,
}

/// An execution that runs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttemptView {
    /// Its name.
    pub attempt: AttemptId,
    /// Its task.
    pub task: TaskId,
    /// Who executes it.
    pub worker: WorkerId,
    /// What for.
    pub purpose: Purpose,
    /// 0 to 1.
    pub progress: f64,
    /// Since when.
    pub age: Duration,
}

/// A worker.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct WorkerView {
    /// Which.
    pub worker: WorkerId,
    /// `connected`, `awaited`, `draining`, `benched` or `lost`.
    pub state: String,
    /// How many attempts it executes at once.
    pub slots: u32,
    /// How many it does.
    pub running: u32,
}

/// How a job stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct View {
    /// The coordinator's reign.
    pub epoch: Epoch,
    /// `opening`, `running`, `publishing`, `ending`, `ended` or `fenced`.
    pub phase: String,
    /// The maps.
    pub maps: StageView,
    /// The reduces.
    pub reduces: StageView,
    /// All that runs.
    pub attempts: Vec<AttemptView>,
    /// All workers that were ever there.
    pub workers: Vec<WorkerView>,
    /// Executions that failed or were lost.
    pub failures: u64,
    /// Records that are skipped.
    pub skipped: u32,
}

impl Job {
    /// How the job stands.
    #[must_use]
    pub fn view(&self) -> View {
        let phase = match self.phase {
            Phase::Opening => "opening",
            Phase::Running => "running",
            Phase::Publishing => "publishing",
            Phase::Ending => "ending",
            Phase::Ended(_) => "ended",
            Phase::Fenced => "fenced",
        };
        let attempts = self.attempts.iter().map(|(id, attempt)| AttemptView {
            attempt: *id,
            task: attempt.task,
            worker: attempt.worker,
            purpose: attempt.purpose,
            progress: attempt.progress,
            age: attempt.age(self.now),
        });
        View {
            epoch: self.epoch,
            phase: phase.to_owned(),
            maps: self.stage_view(Stage::Map, &self.maps),
            reduces: self.stage_view(Stage::Reduce, &self.reduces),
            attempts: attempts.collect(),
            workers: self.worker_views(),
            failures: self.failures,
            skipped: self.skipped,
        }
    }

    fn stage_view(&self, stage: Stage, tasks: &[Task]) -> StageView {
        let mut view = StageView {
            total: u32::try_from(tasks.len()).unwrap_or(u32::MAX),
            ..StageView::default()
        };
        for task in tasks {
            if task.winner.is_some() || task.lost.is_some() && self.outputs_are_consumed() {
                view.done += 1;
                view.progress += 1.0;
            } else {
                let best = task
                    .running
                    .iter()
                    .filter_map(|id| self.attempts.get(id))
                    .fold(0.0, |best: f64, attempt| best.max(attempt.progress));
                view.progress += best;
            }
        }
        let running = self.attempts.values().filter(|a| a.task.stage == stage);
        view.running = u32::try_from(running.count()).unwrap_or(u32::MAX);
        view
    }

    fn worker_views(&self) -> Vec<WorkerView> {
        let state = |w: &crate::worker::Worker| match w.reach {
            Reach::Lost => "lost",
            Reach::Awaited { .. } => "awaited",
            Reach::Connected { .. } if w.draining => "draining",
            Reach::Connected { .. } if w.is_benched(self.now) => "benched",
            Reach::Connected { .. } => "connected",
        };
        let one = |(id, w): (&WorkerId, &crate::worker::Worker)| WorkerView {
            worker: *id,
            state: state(w).to_owned(),
            slots: w.slots,
            running: u32::try_from(w.running.len()).unwrap_or(u32::MAX),
        };
        self.workers.iter().map(one).collect()
    }
}
