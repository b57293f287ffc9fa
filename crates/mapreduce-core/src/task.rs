//! A task: what is known about its executions.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::{AttemptId, WorkerId};
use crate::message::Report;
use crate::record::{Digest, Tally};

/// The execution whose result was taken.
#[derive(Clone, Debug)]
pub(crate) struct Winner {
    pub(crate) attempt: AttemptId,
    pub(crate) worker: WorkerId,
    pub(crate) report: Report,
}

/// Whether a task is executed once more to compare.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Audit {
    /// It wasn't chosen.
    No,
    /// It was chosen, and failed so often.
    Wanted { failures: u32 },
    /// The result is on its way to the journal.
    Recording,
    /// It is done, or was given up.
    Settled,
}

/// What all executions of a task must agree on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Print(Vec<(u64, Digest)>);

impl Print {
    /// All of it in one number, for messages.
    pub(crate) fn digest(&self) -> Digest {
        let mut sum: u128 = 0;
        for (at, (records, digest)) in self.0.iter().enumerate() {
            // Odd factors, so that parts that change places change the sum.
            let factor = (at as u128) * 2 + 1;
            let part = digest.0.wrapping_add(u128::from(*records) << 64);
            sum = sum.wrapping_add(part.wrapping_mul(factor));
        }
        Digest(sum)
    }
}

impl Report {
    pub(crate) fn print(&self) -> Print {
        let one = |tally: &Tally| (tally.records, tally.digest);
        Print(match self {
            Self::Map(done) => done.extents.iter().map(one).collect(),
            Self::Reduce(done) => vec![one(&done.output)],
        })
    }
}

/// A task of the job.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    /// The commit, durable.
    pub(crate) winner: Option<Winner>,
    /// The one before it, whose output was lost.
    pub(crate) lost: Option<Winner>,
    /// Records about this task that are on their way to the journal.
    pub(crate) in_journal: u32,
    /// Workers on which it failed.
    pub(crate) failed_on: BTreeSet<WorkerId>,
    /// An execution whose commit is on its way to the journal.
    pub(crate) committing: Option<(AttemptId, Print)>,
    /// What the first commit had, and whose it was. It stays when the output is lost.
    pub(crate) print: Option<(AttemptId, Print)>,
    /// Executions that run.
    pub(crate) running: BTreeSet<AttemptId>,
    pub(crate) user_failures: u32,
    pub(crate) failures: u32,
    pub(crate) losses: u32,
    pub(crate) output_losses: u32,
    /// The journal is about to say that the output is lost.
    pub(crate) losing: bool,
    /// Complaints about the present winner.
    pub(crate) fetch_failures: u32,
    pub(crate) skip: BTreeSet<u64>,
    pub(crate) record_failures: BTreeMap<u64, u32>,
    pub(crate) audit: Audit,
}

impl Task {
    pub(crate) const fn new(audit: Audit) -> Self {
        Self {
            winner: None,
            lost: None,
            in_journal: 0,
            failed_on: BTreeSet::new(),
            committing: None,
            print: None,
            running: BTreeSet::new(),
            user_failures: 0,
            failures: 0,
            losses: 0,
            output_losses: 0,
            losing: false,
            fetch_failures: 0,
            skip: BTreeSet::new(),
            record_failures: BTreeMap::new(),
            audit,
        }
    }

    /// Whether it has a result, or is about to.
    pub(crate) const fn has_result(&self) -> bool {
        self.winner.is_some() || self.committing.is_some()
    }

    /// Whether its result is durable, there, and compared if it was to be.
    pub(crate) const fn is_settled(&self) -> bool {
        self.winner.is_some() && !matches!(self.audit, Audit::Wanted { .. } | Audit::Recording)
    }

    /// Whether somebody should execute it.
    pub(crate) fn is_idle(&self) -> bool {
        !self.has_result() && self.running.is_empty() && self.in_journal == 0
    }

    /// What a map wrote for a reduce, also if it is lost by now: a second execution wrote, or
    /// will write, the same.
    pub(crate) fn written(&self, partition: u32) -> Option<Tally> {
        let winner = self.winner.as_ref().or(self.lost.as_ref())?;
        match &winner.report {
            Report::Map(done) => done.extents.get(partition as usize).copied(),
            Report::Reduce(_) => None,
        }
    }
}
