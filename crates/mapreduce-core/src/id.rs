//! Names of things: epochs, workers, tasks, attempts.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

/// The reign of one coordinator over a job. Each one that takes over has a higher epoch.
#[derive(
    Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Epoch(pub u64);

/// A worker process. Drawn at random when it starts, so that a process that was restarted
/// is another worker: what the first one held is gone.
#[derive(
    Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct WorkerId(pub u64);

/// Which of the two halves of a job.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Input to partitions.
    Map,
    /// One partition of every map to output.
    Reduce,
}

/// A task: the `index`-th of its stage, from 0.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct TaskId {
    /// Its stage.
    pub stage: Stage,
    /// Its place in the stage.
    pub index: u32,
}

/// One execution of a task. Unique within a job for ever, because it has the epoch of the
/// coordinator that made it: files are named after it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct AttemptId {
    /// Who made it.
    pub epoch: Epoch,
    /// Counted by that coordinator.
    pub number: u64,
}

impl TaskId {
    /// The `index`-th map.
    #[must_use]
    pub const fn map(index: u32) -> Self {
        Self {
            stage: Stage::Map,
            index,
        }
    }

    /// The `index`-th reduce.
    #[must_use]
    pub const fn reduce(index: u32) -> Self {
        Self {
            stage: Stage::Reduce,
            index,
        }
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "e{}", self.0)
    }
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "w{:x}", self.0)
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Map => "map",
            Self::Reduce => "reduce",
        })
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = match self.stage {
            Stage::Map => 'm',
            Stage::Reduce => 'r',
        };
        write!(f, "{letter}{}", self.index)
    }
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "e{}a{}", self.epoch.0, self.number)
    }
}

/// A text that is not the name of an attempt.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not the name of an attempt: {0:?} (they look like e1a7)")]
pub struct ParseIdError(String);

impl FromStr for AttemptId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let parse = || {
            let (epoch, number) = text.strip_prefix('e')?.split_once('a')?;
            Some(Self {
                epoch: Epoch(epoch.parse().ok()?),
                number: number.parse().ok()?,
            })
        };
        parse().ok_or_else(|| ParseIdError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempts_name_can_be_read_back() {
        let id = AttemptId {
            epoch: Epoch(3),
            number: 17,
        };
        assert_eq!(id.to_string(), "e3a17");
        assert_eq!("e3a17".parse(), Ok(id));
        for text in ["", "e", "e1", "a1", "e1a", "ea1", "e1a1x", "../e1a1"] {
            assert!(text.parse::<AttemptId>().is_err(), "{text}");
        }
    }
}
