//! What a job does, as a value that travels: names and command lines, no code.

use core::fmt;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::{SpecError, TaskError};
use crate::function::Job;
use crate::progress::Cancel;
use crate::split::Split;

/// Arguments of a job by name.
pub type Args = BTreeMap<String, String>;

/// What a job does.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum FunctionSpec {
    /// One of the jobs that every build has.
    Builtin {
        /// Its name, such as `wordcount`.
        name: String,
        /// Its arguments.
        #[serde(default)]
        args: Args,
    },
    /// Programs that speak Hadoop Streaming's protocol.
    Streaming(StreamingSpec),
    /// Rust code that this binary has registered.
    Native {
        /// Under which name.
        name: String,
        /// Its arguments.
        #[serde(default)]
        args: Args,
    },
}

/// The programs of a streaming job: command lines, split into words like a shell does (quotes and
/// backslashes, no expansion). For a pipeline, write `sh -c '..'`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct StreamingSpec {
    /// Reads records as lines, writes `key`, tab, `value` as lines.
    pub map: String,
    /// Reads sorted `key`, tab, `value` lines, writes output lines. Without one, the sorted lines
    /// are the output.
    #[serde(default)]
    pub reduce: Option<String>,
    /// Like `reduce`, on what one map task has in memory; its output is again pairs.
    #[serde(default)]
    pub combine: Option<String>,
    /// Added to the environment of the programs.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
}

/// Makes a job of its arguments.
pub type JobFactory = Arc<dyn Fn(&Args) -> Result<Arc<dyn Job>, SpecError> + Send + Sync>;

/// The native jobs of a binary, by name.
#[derive(Clone, Default)]
pub struct Registry {
    factories: BTreeMap<String, JobFactory>,
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.factories.keys()).finish()
    }
}

impl Registry {
    /// With no native jobs.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With one more; a name that is there already is replaced.
    #[must_use]
    pub fn with(
        mut self,
        name: &str,
        factory: impl Fn(&Args) -> Result<Arc<dyn Job>, SpecError> + Send + Sync + 'static,
    ) -> Self {
        self.factories.insert(name.to_owned(), Arc::new(factory));
        self
    }

    /// The names of the native jobs.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.factories.keys().map(String::as_str)
    }
}

impl FunctionSpec {
    /// The job that this names.
    ///
    /// # Errors
    ///
    /// When there is none, or it can't have these arguments.
    pub fn resolve(&self, registry: &Registry) -> Result<Arc<dyn Job>, SpecError> {
        match self {
            Self::Builtin { name, args } => crate::builtin::resolve(name, args),
            Self::Streaming(spec) => crate::streaming::resolve(spec),
            Self::Native { name, args } => {
                let factory = registry.factories.get(name).ok_or_else(|| {
                    let known: Vec<&str> = registry.names().collect();
                    SpecError::Unknown {
                        name: name.clone(),
                        known: format!("the native jobs [{}]", known.join(", ")),
                    }
                })?;
                factory(args)
            }
        }
    }

    /// A short name for people.
    #[must_use]
    pub fn label(&self) -> String {
        match self {
            Self::Builtin { name, .. } | Self::Native { name, .. } => name.clone(),
            Self::Streaming(spec) => spec.map.clone(),
        }
    }

    fn with_args(&self, more: Args) -> Self {
        let mut spec = self.clone();
        match &mut spec {
            Self::Builtin { args, .. } | Self::Native { args, .. } => args.extend(more),
            Self::Streaming(_) => {}
        }
        spec
    }
}

/// Lets a job look at its inputs before its first task.
///
/// The result is what the tasks must be given; for most jobs it is what came in. The coordinator
/// calls this once for each job and keeps the result with the job.
///
/// # Errors
///
/// When there is no such job, or its inputs can't be read.
pub fn prepare(
    spec: &FunctionSpec,
    registry: &Registry,
    splits: &[Split],
    partitions: u32,
    cancel: &Cancel,
) -> Result<FunctionSpec, TaskError> {
    let job = spec.resolve(registry)?;
    let more = job.prepare(splits, partitions, cancel)?;
    Ok(spec.with_args(more))
}
