//! The receipt: what was read, shuffled and written, in numbers that can be checked again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::config::Plan;
use crate::id::{AttemptId, TaskId, WorkerId};
use crate::job::Job;
use crate::message::Report;
use crate::record::{MapDone, ReduceDone, Tally};

/// A task that was executed once more, and whether it gave the same.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct AuditNote {
    /// The task.
    pub task: TaskId,
    /// The execution that was compared.
    pub attempt: AttemptId,
    /// Who executed it.
    pub worker: WorkerId,
    /// Whether the digests were equal.
    pub same: bool,
}

/// The winner of a task, and what it says.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct TaskReceipt<D> {
    /// The winner.
    pub attempt: AttemptId,
    /// Who executed it.
    pub worker: WorkerId,
    /// What it says.
    pub done: D,
}

/// What a job did, in numbers.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    /// The version of this format: 1.
    pub version: u32,
    /// The shape of the job.
    pub plan: Plan,
    /// Each map, in order.
    pub maps: Vec<TaskReceipt<MapDone>>,
    /// Each reduce, in order.
    pub reduces: Vec<TaskReceipt<ReduceDone>>,
    /// Counters of the winners, added up.
    pub counters: BTreeMap<String, i64>,
    /// The determinism audit.
    pub audits: Vec<AuditNote>,
    /// Records that were skipped.
    pub skipped: u64,
    /// Executions that failed or were lost.
    pub failures: u64,
}

/// What the check of a receipt found.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Verdict {
    /// All that was read.
    pub input: Tally,
    /// All that went from maps to reduces.
    pub shuffled: Tally,
    /// All that was written.
    pub output: Tally,
    /// Pairs of a map and a reduce that were compared.
    pub edges: u64,
    /// Audits, each with equal digests.
    pub audits: u64,
}

/// Checks that a receipt is consistent: everything that a map wrote was read by the reduce
/// that it was for, the counters add up, no audit failed.
///
/// # Errors
///
/// What doesn't hold.
pub fn check(receipt: &Receipt) -> Result<Verdict, String> {
    let Receipt { plan, .. } = receipt;
    if receipt.version != 1 {
        return Err(format!("unknown version {}", receipt.version));
    }
    if receipt.maps.len() != plan.maps as usize || receipt.reduces.len() != plan.reduces as usize {
        return Err("the number of tasks is not the plan's".to_owned());
    }
    let mut verdict = Verdict::default();
    for map in &receipt.maps {
        verdict.input = verdict.input.plus(map.done.input);
    }
    for (reduce, at) in receipt.reduces.iter().zip(0..) {
        verdict.output = verdict.output.plus(reduce.done.output);
        check_edges(receipt, at, &reduce.done, &mut verdict)?;
    }
    let mut counters = BTreeMap::new();
    let maps = receipt.maps.iter().map(|map| &map.done.counters);
    let reduces = receipt.reduces.iter().map(|reduce| &reduce.done.counters);
    maps.chain(reduces).for_each(|one| add(&mut counters, one));
    if counters != receipt.counters {
        return Err("the counters are not the sum of the tasks' counters".to_owned());
    }
    let skipped: usize = receipt.maps.iter().map(|map| map.done.skipped.len()).sum();
    if skipped as u64 != receipt.skipped {
        return Err("the skipped records are not the sum of the maps'".to_owned());
    }
    if let Some(audit) = receipt.audits.iter().find(|audit| !audit.same) {
        return Err(format!("task {} is not deterministic", audit.task));
    }
    verdict.audits = receipt.audits.len() as u64;
    Ok(verdict)
}

fn check_edges(
    receipt: &Receipt,
    reduce: usize,
    done: &ReduceDone,
    verdict: &mut Verdict,
) -> Result<(), String> {
    if done.consumed.len() != receipt.maps.len() {
        return Err(format!("r{reduce} did not read one extent of each map"));
    }
    for (at, (map, consumed)) in receipt.maps.iter().zip(&done.consumed).enumerate() {
        let Some(written) = map.done.extents.get(reduce) else {
            return Err(format!("m{at} has no extent for r{reduce}"));
        };
        if consumed.records != written.records || consumed.digest != written.digest {
            return Err(format!(
                "r{reduce} read other records than m{at} wrote for it"
            ));
        }
        verdict.shuffled = verdict.shuffled.plus(*written);
        verdict.edges += 1;
    }
    Ok(())
}

fn add(sum: &mut BTreeMap<String, i64>, counters: &BTreeMap<String, i64>) {
    for (name, value) in counters {
        let total = sum.entry(name.clone()).or_insert(0);
        *total = total.saturating_add(*value);
    }
}

impl Report {
    pub(crate) const fn counters(&self) -> &BTreeMap<String, i64> {
        match self {
            Self::Map(done) => &done.counters,
            Self::Reduce(done) => &done.counters,
        }
    }
}

impl Job {
    /// What is known by now; complete once every task is committed.
    #[must_use]
    pub fn receipt(&self) -> Receipt {
        let mut receipt = Receipt {
            version: 1,
            plan: self.plan,
            maps: Vec::new(),
            reduces: Vec::new(),
            counters: BTreeMap::new(),
            audits: self.audits.clone(),
            skipped: 0,
            failures: self.failures,
        };
        for task in self.maps.iter().chain(&self.reduces) {
            // A map whose output was lost when nobody needed it any more still counts.
            let Some(winner) = task.winner.as_ref().or(task.lost.as_ref()) else {
                continue;
            };
            add(&mut receipt.counters, winner.report.counters());
            let (attempt, worker) = (winner.attempt, winner.worker);
            match winner.report.clone() {
                Report::Map(done) => {
                    receipt.skipped += done.skipped.len() as u64;
                    receipt.maps.push(TaskReceipt {
                        attempt,
                        worker,
                        done,
                    });
                }
                Report::Reduce(done) => receipt.reduces.push(TaskReceipt {
                    attempt,
                    worker,
                    done,
                }),
            }
        }
        #[cfg(feature = "planted")]
        if crate::planted::planted!(self.config, LoserCounters) {
            receipt.counters = self.all_counters.clone();
        }
        receipt
    }
}
