//! What a job is, from the command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use mapreduce_core::Config;
use mapreduce_data::{
    CsvOptions, Durability, Format, FunctionSpec, InputOptions, OutputOptions, Registry,
    ShuffleCompression, StreamingSpec,
};
use stdx::ByteSize;

use crate::cli::absolute;
use crate::error::{Context as _, Error};
use crate::spec::{JobRequest, TaskOptions};

/// What to run, on what, with which limits.
#[derive(Args, Clone, Debug)]
pub(crate) struct JobArgs {
    /// A built-in job (wordcount, grep, inverted-index, sort, distinct, join), or one of this
    /// binary
    #[arg(required_unless_present = "map", conflicts_with = "map")]
    job: Option<String>,
    /// A program that maps: lines on its input, `key<TAB>value` lines on its output
    #[arg(long, value_name = "COMMAND")]
    map: Option<String>,
    /// A program that reduces: sorted `key<TAB>value` lines on its input
    #[arg(long, value_name = "COMMAND", requires = "map")]
    reduce: Option<String>,
    /// A program that reduces what one map has, before it is sent
    #[arg(long, value_name = "COMMAND", requires = "map")]
    combine: Option<String>,
    /// For the programs' environment
    #[arg(long, value_name = "NAME=VALUE", requires = "map")]
    env: Vec<String>,
    /// An argument of the job, such as --arg pattern=error
    #[arg(long = "arg", value_name = "NAME=VALUE", conflicts_with = "map")]
    arguments: Vec<String>,
    /// Files, directories, patterns; may be repeated
    #[arg(long, short, required = true, num_args = 1.., value_name = "PATH")]
    input: Vec<String>,
    /// A directory for the result, which must not exist or be empty
    #[arg(long, short, value_name = "DIR")]
    output: PathBuf,
    /// Replace the output of an earlier job
    #[arg(long)]
    overwrite: bool,
    /// How many reduce tasks, and files of output [default: as many as slots]
    #[arg(long, short, value_name = "N")]
    reduces: Option<u32>,
    /// What the input consists of [default: by name: .csv, .jsonl, .parquet, else text]
    #[arg(long, value_name = "FORMAT")]
    format: Option<FormatName>,
    /// How large a map's part of the input is
    #[arg(long, default_value = "64 MiB", value_name = "SIZE")]
    split_size: ByteSize,
    /// Memory for the data of one task; what exceeds it goes to disk
    #[arg(long, default_value = "256 MiB", value_name = "SIZE")]
    memory: ByteSize,
    /// Between key and value in the output: one character, or `tab`
    #[arg(long, default_value = "tab", value_name = "CHAR")]
    separator: String,
    /// Don't wait for the output to be on disk
    #[arg(long)]
    no_sync: bool,
    /// For people [default: the job's name]
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    limits: LimitArgs,
}

/// How failures are handled.
#[derive(Args, Clone, Debug)]
struct LimitArgs {
    /// Leave out up to so many records on which the job's code fails twice
    #[arg(long, default_value_t = 0, value_name = "N")]
    skip_bad_records: u32,
    /// Errors of the job's code in one task, until the job fails
    #[arg(long, default_value_t = 4, value_name = "N")]
    max_failures: u32,
    /// Other failures in one task, until the job fails
    #[arg(long, default_value_t = 16, value_name = "N")]
    max_worker_failures: u32,
    /// Execute this part of the tasks twice, on two workers, and compare: 0 to 1
    #[arg(long, default_value_t = 0.02, value_name = "PART")]
    audit: f64,
    /// Start no second copies of slow tasks
    #[arg(long)]
    no_backups: bool,
    /// A worker that is silent for so many seconds is lost
    #[arg(long, default_value_t = 10.0, value_name = "SECONDS")]
    lease: f64,
    /// A task without progress for so many seconds has failed
    #[arg(long, default_value_t = 600.0, value_name = "SECONDS")]
    task_timeout: f64,
    /// End the job if there is no worker for so many seconds
    #[arg(long, default_value_t = 60.0, value_name = "SECONDS")]
    no_worker_timeout: f64,
    /// End the job after so many seconds
    #[arg(long, value_name = "SECONDS")]
    deadline: Option<f64>,
}

/// What input consists of.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum FormatName {
    /// Lines.
    Text,
    /// Lines of fields.
    Csv,
    /// Lines of JSON.
    Jsonl,
    /// Rows of a Parquet file, each as JSON.
    Parquet,
}

impl JobArgs {
    /// What a coordinator is asked for. `slots` is how much runs at once, if that is known.
    pub(crate) fn into_request(self, registry: &Registry, slots: u32) -> Result<JobRequest, Error> {
        let function = self.function(registry)?;
        let output = absolute(&self.output)?;
        let input: Result<Vec<String>, Error> = self.input.iter().map(|i| located(i)).collect();
        let format = self.format.map(|format| match format {
            FormatName::Text => Format::Text,
            FormatName::Csv => Format::Csv(CsvOptions::default()),
            FormatName::Jsonl => Format::JsonLines,
            FormatName::Parquet => Format::Parquet,
        });
        let separator = match self.separator.as_bytes() {
            b"tab" => b'\t',
            [one] => *one,
            _ => return Err(Error::new("--separator must be one character, or tab")),
        };
        let durability = if self.no_sync {
            Durability::Cached
        } else {
            Durability::Synced
        };
        Ok(JobRequest {
            name: self.name.clone().unwrap_or_else(|| function.label()),
            function,
            inputs: input?,
            input: InputOptions {
                format,
                split_bytes: self.split_size.get(),
                splits_min: slots as usize,
            },
            output,
            overwrite: self.overwrite,
            reduces: self.reduces.unwrap_or(slots),
            options: TaskOptions {
                memory_bytes: self.memory.get(),
                output: OutputOptions {
                    separator,
                    durability,
                },
                compression: ShuffleCompression::default(),
            },
            config: self.limits.config()?,
        })
    }

    fn function(&self, registry: &Registry) -> Result<FunctionSpec, Error> {
        if let Some(map) = &self.map {
            return Ok(FunctionSpec::Streaming(StreamingSpec {
                map: map.clone(),
                reduce: self.reduce.clone(),
                combine: self.combine.clone(),
                env: pairs("--env", &self.env)?,
            }));
        }
        let name = self.job.clone().unwrap_or_default();
        let args = pairs("--arg", &self.arguments)?;
        Ok(if registry.names().any(|native| native == name) {
            FunctionSpec::Native { name, args }
        } else {
            FunctionSpec::Builtin { name, args }
        })
    }
}

impl LimitArgs {
    fn config(&self) -> Result<Config, Error> {
        let seconds = |flag: &str, value: f64| {
            Duration::try_from_secs_f64(value).context(format!(
                "{flag} must be a number of seconds, and is {value}"
            ))
        };
        if !(0.0..=1.0).contains(&self.audit) {
            return Err(Error::new("--audit must be from 0 to 1"));
        }
        let deadline = match self.deadline {
            Some(value) => Some(seconds("--deadline", value)?),
            None => None,
        };
        let default = Config::default();
        Ok(Config {
            lease: seconds("--lease", self.lease)?,
            stall: seconds("--task-timeout", self.task_timeout)?,
            no_worker: seconds("--no-worker-timeout", self.no_worker_timeout)?,
            deadline,
            user_failures_max: self.max_failures.max(1),
            failures_max: self.max_worker_failures.max(1),
            skip_max: self.skip_bad_records,
            backup_copies_max: if self.no_backups {
                0
            } else {
                default.backup_copies_max
            },
            audit_permille: permille(self.audit),
            ..default
        })
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked to be from 0 to 1"
)]
fn permille(part: f64) -> u32 {
    (part * 1000.0).round() as u32
}

fn pairs(
    flag: &str,
    words: &[String],
) -> Result<std::collections::BTreeMap<String, String>, Error> {
    let pair = |word: &String| {
        let (name, value) = word
            .split_once('=')
            .ok_or_else(|| Error::new(format!("{flag} {word}: write NAME=VALUE")))?;
        Ok((name.to_owned(), value.to_owned()))
    };
    words.iter().map(pair).collect()
}

/// An input as every process finds it: paths become absolute, URLs stay.
fn located(input: &str) -> Result<String, Error> {
    if input.contains("://") {
        return Ok(input.to_owned());
    }
    let path = absolute(std::path::Path::new(input))?;
    path.into_os_string()
        .into_string()
        .map_err(|_| Error::new(format!("{input} is not UTF-8")))
}
