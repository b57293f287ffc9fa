//! What a job consists of, and the limits within which it is run.

use core::time::Duration;

use serde::{Deserialize, Serialize};

/// The shape of a job.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// How many map tasks; 0 for empty input.
    pub maps: u32,
    /// How many reduce tasks, at least 1.
    pub reduces: u32,
    /// From which the tasks to audit are drawn.
    pub seed: u64,
}

/// Times and budgets. Every limit that a job can run into is here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// A worker that is silent for so long is lost.
    pub lease: Duration,
    /// A worker whose connection broke may come back within this.
    pub reconnect_grace: Duration,
    /// A coordinator that takes over gives workers so long to say what they execute, before it
    /// gives out what nobody claims.
    pub takeover_grace: Duration,
    /// An attempt that makes no progress for so long has failed.
    pub stall: Duration,
    /// An assignment that a worker doesn't mention for so long is sent again.
    pub resend: Duration,
    /// How often the job looks at its clocks.
    pub tick: Duration,
    /// A job without any worker ends after this.
    pub no_worker: Duration,
    /// The whole job ends after this.
    pub deadline: Option<Duration>,
    /// Errors of the user's functions before a task, and the job, fails.
    pub user_failures_max: u32,
    /// Other failures that workers report for one task before the job fails.
    pub failures_max: u32,
    /// Executions of one task that may be lost with their worker.
    pub losses_max: u32,
    /// Times that one map's output may be lost.
    pub reruns_max: u32,
    /// Reports of readers who can't get a map's output, until it counts as lost.
    pub fetch_failures_max: u32,
    /// Bad records that may be skipped in the whole job; 0 turns skipping off.
    pub skip_max: u32,
    /// Failures at one record until it is skipped.
    pub skip_after: u32,
    /// Copies of a straggler besides the first; 0 turns backups off.
    pub backup_copies_max: u32,
    /// An attempt younger than this gets no backup.
    pub backup_min: Duration,
    /// One that never reported progress gets none before this.
    pub backup_blind: Duration,
    /// Failures in a row until a worker is used only when no other is there.
    pub bench_after: u32,
    /// For how long.
    pub bench_for: Duration,
    /// How many of 1,000 tasks are executed once more and compared.
    pub audit_permille: u32,
    /// Executions of one audit that may fail before it is given up.
    pub audit_tries: u32,
    /// The bug to show, for the simulator.
    #[cfg(feature = "planted")]
    #[serde(skip)]
    pub planted: Option<crate::planted::PlantedBug>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(10),
            reconnect_grace: Duration::from_millis(500),
            takeover_grace: Duration::from_secs(1),
            stall: Duration::from_secs(600),
            resend: Duration::from_secs(1),
            tick: Duration::from_millis(100),
            no_worker: Duration::from_secs(60),
            deadline: None,
            user_failures_max: 4,
            failures_max: 16,
            losses_max: 20,
            reruns_max: 20,
            fetch_failures_max: 3,
            skip_max: 0,
            skip_after: 2,
            backup_copies_max: 1,
            backup_min: Duration::from_millis(500),
            backup_blind: Duration::from_secs(10),
            bench_after: 4,
            bench_for: Duration::from_secs(30),
            audit_permille: 20,
            audit_tries: 3,
            #[cfg(feature = "planted")]
            planted: None,
        }
    }
}
