//! A job as it is handed in, kept, and given to workers.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mapreduce_core::{Config, Outcome, Plan, View};
use mapreduce_data::{FunctionSpec, InputOptions, OutputOptions, ShuffleCompression, Split};
use serde::{Deserialize, Serialize};

/// What a client asks for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JobRequest {
    /// For people.
    pub name: String,
    /// What the job does.
    pub function: FunctionSpec,
    /// Files, directories, patterns, URLs.
    pub inputs: Vec<String>,
    /// How they are found and cut.
    pub input: InputOptions,
    /// The directory for the result; absolute, and reachable by every worker.
    pub output: PathBuf,
    /// Whether what is in it may be replaced.
    pub overwrite: bool,
    /// How many reduce tasks.
    pub reduces: u32,
    /// How tasks run.
    pub options: TaskOptions,
    /// Times and budgets.
    pub config: Config,
}

/// How tasks run.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct TaskOptions {
    /// Memory for the data of one task.
    pub memory_bytes: u64,
    /// How results are written.
    pub output: OutputOptions,
    /// Whether the shuffle is compressed.
    pub compression: ShuffleCompression,
}

/// A job as the coordinator keeps it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JobSpec {
    /// Of the JSON.
    pub format: u32,
    /// Its name in commands.
    pub id: String,
    /// What was asked for; the function has been prepared since.
    pub request: JobRequest,
    /// What each map reads.
    pub splits: Vec<Split>,
    /// Its shape.
    pub plan: Plan,
    /// When it was handed in, in milliseconds since 1970.
    pub submitted_ms: u64,
}

/// What a worker needs to execute an attempt, besides the assignment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Details {
    pub(crate) function: FunctionSpec,
    pub(crate) maps: u32,
    pub(crate) reduces: u32,
    pub(crate) options: TaskOptions,
    /// Where results of attempts are written.
    pub(crate) attempts_dir: PathBuf,
    pub(crate) split: Option<Split>,
    /// Of workers, by their number in hexadecimal.
    pub(crate) addresses: BTreeMap<String, String>,
}

/// Where a job is in its life.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It waits for its turn.
    Queued,
    /// It runs.
    Running,
    /// It is over.
    Ended(Outcome),
}

/// A job in a list.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Summary {
    /// Its name in commands.
    pub id: String,
    /// For people.
    pub name: String,
    /// Where it is in its life.
    pub state: State,
    /// When it was handed in, in milliseconds since 1970.
    pub submitted_ms: u64,
    /// Where the result is.
    pub output: PathBuf,
    /// Why it failed, in words.
    pub error: Option<String>,
}

/// How a job stands.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// The job.
    pub summary: Summary,
    /// Its tasks and workers, once it runs.
    pub view: Option<View>,
    /// How long it has run under this coordinator.
    pub elapsed: Duration,
    /// Of all its inputs.
    pub input_bytes: u64,
}

impl JobSpec {
    pub(crate) fn summary(&self, state: State) -> Summary {
        let error = match &state {
            State::Ended(Outcome::Failed(error)) => Some(error.to_string()),
            _ => None,
        };
        Summary {
            id: self.id.clone(),
            name: self.request.name.clone(),
            state,
            submitted_ms: self.submitted_ms,
            output: self.request.output.clone(),
            error,
        }
    }

    pub(crate) fn input_bytes(&self) -> u64 {
        self.splits.iter().map(|split| split.len).sum()
    }
}

/// Milliseconds since 1970, for people only.
pub(crate) fn wall_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}

/// A number that nobody else draws.
pub(crate) fn random() -> u64 {
    use std::collections::hash_map::RandomState;
    use std::hash::BuildHasher as _;
    // Its keys come from the system's source of randomness.
    RandomState::new().hash_one((std::process::id(), wall_ms()))
}
