//! A job with a journal that never fails, and workers that are closures.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use mapreduce_core::{
    Action, Assignment, AttemptId, Config, Consumed, Digest, Epoch, FromWorker, Job, MapDone,
    Outcome, Plan, Receipt, ReduceDone, Report, Stage, Tally, ToWorker, WorkerId,
};
use stdx::Instant;

pub(crate) const PLAN: Plan = Plan {
    maps: 3,
    reduces: 2,
    seed: 1,
};

/// The job, and what it sent.
pub(crate) struct Bench {
    pub(crate) job: Job,
    pub(crate) now: Instant,
    pub(crate) sent: VecDeque<(WorkerId, ToWorker)>,
    pub(crate) receipt: Option<Receipt>,
    /// What each worker executes.
    pub(crate) running: BTreeMap<WorkerId, BTreeSet<AttemptId>>,
}

impl Bench {
    pub(crate) fn new(config: Config) -> Self {
        let now = Instant::from_nanos(1_000_000_000);
        let mut bench = Self {
            job: Job::open(config, PLAN, &[], 7, now),
            now,
            sent: VecDeque::new(),
            receipt: None,
            running: BTreeMap::new(),
        };
        bench.settle();
        bench
    }

    /// Does what the job asks for.
    pub(crate) fn settle(&mut self) {
        while let Some(action) = self.job.poll_action() {
            match action {
                Action::Send { worker, message } => self.sent.push_back((worker, message)),
                Action::Journal { seq, .. } => self.job.on_journaled(self.now, seq),
                Action::Publish(receipt) => {
                    self.receipt = Some(*receipt);
                    self.job.on_published(self.now, Ok(()));
                }
                Action::Remove { .. } | Action::Tell(_) | Action::Ended(_) => {}
            }
        }
    }

    pub(crate) fn say(&mut self, worker: u64, message: FromWorker) {
        let epoch = self.job.epoch();
        assert_eq!(epoch, Epoch(1));
        self.job
            .on_message(self.now, WorkerId(worker), epoch, message);
        self.settle();
    }

    pub(crate) fn register(&mut self, worker: u64, slots: u32) {
        let held = Vec::new();
        self.say(worker, FromWorker::Register { slots, held });
    }

    pub(crate) fn wait(&mut self, time: Duration) {
        self.now = self.now.after(time);
        self.job.on_timeout(self.now);
        self.settle();
    }

    /// The assignments that were sent since the last time.
    pub(crate) fn assigned(&mut self) -> Vec<(u64, Assignment)> {
        let sent = core::mem::take(&mut self.sent);
        let assigned = sent
            .into_iter()
            .filter_map(|(worker, message)| match message {
                ToWorker::Assign(assignment) => Some((worker.0, assignment)),
                _ => None,
            });
        assigned.collect()
    }

    /// Runs until the job ends: every second each worker is alive, then hears what was sent.
    pub(crate) fn run(
        &mut self,
        workers: &[u64],
        mut hear: impl FnMut(&mut Self, u64, ToWorker),
    ) -> Outcome {
        let most = Duration::from_secs(24 * 3600);
        let start = self.now;
        while self.job.outcome().is_none() {
            assert!(
                self.now.since(start) < most,
                "it never ends: {:#?}",
                self.job.view()
            );
            self.wait(Duration::from_secs(1));
            for worker in workers {
                let running = self.running.entry(WorkerId(*worker)).or_default();
                let running = running.iter().map(|attempt| (*attempt, 0.0)).collect();
                self.say(*worker, FromWorker::Status { running });
            }
            // Not what is sent in answer to this: time must pass.
            for (worker, message) in core::mem::take(&mut self.sent) {
                let running = self.running.entry(worker).or_default();
                match &message {
                    ToWorker::Assign(assignment) => _ = running.insert(assignment.attempt),
                    ToWorker::Cancel { attempt } | ToWorker::Discard { attempt } => {
                        running.remove(attempt);
                    }
                    _ => {}
                }
                hear(self, worker.0, message);
            }
        }
        self.job.outcome().unwrap().clone()
    }

    /// A worker says that it has done what it was told to.
    pub(crate) fn finish(&mut self, worker: u64, assignment: &Assignment) {
        let attempt = assignment.attempt;
        let running = self.running.entry(WorkerId(worker)).or_default();
        running.remove(&attempt);
        let report = report(assignment);
        self.say(worker, FromWorker::Finished { attempt, report });
    }
}

/// An honest report.
pub(crate) fn report(assignment: &Assignment) -> Report {
    let tally = Tally {
        records: 1,
        bytes: 1,
        digest: Digest(u128::from(assignment.task.index) + 1),
    };
    match assignment.task.stage {
        Stage::Map => Report::Map(MapDone {
            input: tally,
            extents: vec![tally; PLAN.reduces as usize],
            ..MapDone::default()
        }),
        Stage::Reduce => Report::Reduce(ReduceDone {
            output: tally,
            file: assignment.attempt.to_string(),
            consumed: assignment
                .sources
                .iter()
                .map(|source| Consumed {
                    map: source.map,
                    records: source.tally.records,
                    digest: source.tally.digest,
                })
                .collect(),
            ..ReduceDone::default()
        }),
    }
}
