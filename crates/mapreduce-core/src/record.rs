//! What the journal holds: the facts that can't be found out again.

use std::collections::BTreeMap;

use core::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::failure::{Failure, JobError};
use crate::id::{AttemptId, Epoch, TaskId, WorkerId};

/// A digest of many records that doesn't depend on their order.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Digest(pub u128);

impl Digest {
    /// The digest of both together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.wrapping_add(other.0))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

// As text: readers of JSON in other languages lose the low bits of a number this large.
impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        u128::from_str_radix(&text, 16)
            .map(Self)
            .map_err(|_| de::Error::custom("a digest is 32 hexadecimal digits"))
    }
}

/// How much of something there is, and which.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct Tally {
    /// Records.
    pub records: u64,
    /// Bytes; as stored, so that they are no part of a comparison.
    pub bytes: u64,
    /// Of the records.
    pub digest: Digest,
}

impl Tally {
    /// Whether the records are the same.
    #[must_use]
    pub fn same_records(&self, other: &Self) -> bool {
        self.records == other.records && self.digest == other.digest
    }

    /// Both together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            records: self.records.wrapping_add(other.records),
            bytes: self.bytes.wrapping_add(other.bytes),
            digest: self.digest.plus(other.digest),
        }
    }
}

/// What a completed map says of itself.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct MapDone {
    /// What it read.
    pub input: Tally,
    /// What it has for each reduce.
    pub extents: Vec<Tally>,
    /// Records that were left out because the job allows it.
    pub skipped: Vec<u64>,
    /// The user's counters and ours.
    pub counters: BTreeMap<String, i64>,
}

/// What a reduce took from one map.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Consumed {
    /// Which map.
    pub map: u32,
    /// How many records.
    pub records: u64,
    /// Which.
    pub digest: Digest,
}

/// What a completed reduce says of itself.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct ReduceDone {
    /// What it wrote.
    pub output: Tally,
    /// The file that it wrote, by its name among the attempts' files.
    pub file: String,
    /// What it took from every map.
    pub consumed: Vec<Consumed>,
    /// The user's counters and ours.
    pub counters: BTreeMap<String, i64>,
}

/// How a job ended.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Its output is published.
    Succeeded,
    /// It has no output, and this is why.
    Failed(JobError),
}

/// A fact.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    /// A coordinator begins. `owner` tells two of them that chose one epoch apart.
    Opened {
        /// Its epoch.
        epoch: Epoch,
        /// Drawn at random.
        owner: u64,
    },
    /// This attempt is the task's result. The first one in the journal is the commit.
    Committed {
        /// The task.
        task: TaskId,
        /// The winner.
        attempt: AttemptId,
        /// Who executed it.
        worker: WorkerId,
        /// What it says.
        done: crate::message::Report,
    },
    /// The output of a committed map is gone; the next commit takes its place.
    OutputLost {
        /// The map.
        map: u32,
        /// The winner until now.
        attempt: AttemptId,
    },
    /// An attempt failed: it counts against the budgets.
    Failed {
        /// The task.
        task: TaskId,
        /// The attempt.
        attempt: AttemptId,
        /// Who executed it.
        worker: WorkerId,
        /// How.
        failure: Failure,
    },
    /// A record of a map's input is left out from now on.
    Skip {
        /// The map.
        map: u32,
        /// The record, counted from 0 within the split.
        record: u64,
    },
    /// A task was executed once more and compared.
    Audited {
        /// The task.
        task: TaskId,
        /// The execution that was compared.
        attempt: AttemptId,
        /// Who executed it; the winner's worker if there was no other.
        worker: WorkerId,
        /// Whether the digests were equal.
        same: bool,
    },
    /// An audit could not be carried out.
    AuditGivenUp {
        /// The task.
        task: TaskId,
    },
    /// The end.
    Ended(Outcome),
}

impl Record {
    /// How large it is, in numbers of extents.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Committed { done, .. } => match done {
                crate::message::Report::Map(done) => done.extents.len() + 8,
                crate::message::Report::Reduce(done) => done.consumed.len() + 8,
            },
            _ => 8,
        }
    }
}

/// Records that become durable together, as one value in the journal.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Batch {
    /// Who wrote it.
    pub epoch: Epoch,
    /// Drawn by whoever wrote it.
    pub owner: u64,
    /// In order.
    pub records: Vec<Record>,
}
