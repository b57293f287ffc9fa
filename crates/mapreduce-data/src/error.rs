//! What can go wrong, by whose fault it is: the input's, the user's code, this machine's disk, the
//! other end of the shuffle.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// The inputs can't be planned or read.
#[derive(Debug, Error)]
pub enum InputError {
    /// A path or pattern names nothing.
    #[error("the input {location} matches no file: check the path or the pattern")]
    Missing {
        /// As it was given.
        location: String,
    },
    /// It names something that can't be read.
    #[error("cannot read {location}")]
    Io {
        /// Which file or object.
        location: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It isn't in the format that was named.
    #[error("{location} at byte {offset}: {reason}")]
    Malformed {
        /// Which file or object.
        location: String,
        /// Where, counted in decompressed bytes.
        offset: u64,
        /// What is wrong.
        reason: String,
    },
    /// A record is longer than [`crate::limits::RECORD_BYTES_MAX`].
    #[error("{location} at byte {offset}: a record is longer than {limit} bytes")]
    RecordTooLong {
        /// Which file or object.
        location: String,
        /// Where it starts.
        offset: u64,
        /// The limit.
        limit: usize,
    },
    /// This build or this format can't do it.
    #[error("{location}: {reason}")]
    Unsupported {
        /// Which input.
        location: String,
        /// What can't be done, and what could be instead.
        reason: String,
    },
    /// More splits than [`crate::limits::SPLITS_MAX`].
    #[error("the inputs make more than {limit} splits: use larger splits")]
    TooManySplits {
        /// The limit.
        limit: usize,
    },
}

impl InputError {
    pub(crate) fn io(location: &str, source: io::Error) -> Self {
        Self::Io {
            location: location.to_owned(),
            source,
        }
    }
}

/// The user's code failed.
#[derive(Debug, Error)]
pub enum UserError {
    /// A function returned an error.
    #[error("{0}")]
    Failed(String),
    /// A function panicked.
    #[error("panicked: {0}")]
    Panicked(String),
    /// A program could not be started.
    #[error("cannot start `{command}`")]
    Start {
        /// The command line.
        command: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A program ended with a failure.
    #[error("`{command}` ended with {status}; the end of its standard error:\n{stderr}")]
    Exit {
        /// The command line.
        command: String,
        /// Exit code or signal.
        status: String,
        /// The last of what it wrote to standard error.
        stderr: String,
    },
    /// The engine stopped the function; it has the reason itself.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

impl UserError {
    /// An error with this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self::Failed(text.into())
    }
}

/// What [`crate::Emit`], [`crate::Values`] and [`crate::Output`] answer when the task can't go on:
/// return it. The task ends with the real reason, which the engine kept.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("the task was stopped")]
pub struct Stopped;

/// A run file, or an extent of one, is not what was written.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("a run of the shuffle is corrupt at byte {offset}: {reason}")]
pub struct CorruptError {
    /// Where, counted from the start of the extent.
    pub offset: u64,
    /// What is wrong.
    pub reason: String,
}

/// Why a map task's output can't be had.
#[derive(Debug, Error)]
pub enum SourceError {
    /// It can't be fetched.
    #[error("cannot fetch it")]
    Io(#[source] io::Error),
    /// It came damaged.
    #[error(transparent)]
    Corrupt(#[from] CorruptError),
    /// It came whole, but it isn't what the map task reported.
    #[error("it has {found}, but the map task reported {expected}")]
    Differs {
        /// Records and digest as reported.
        expected: String,
        /// Records and digest as read.
        found: String,
    },
}

/// Why a task failed.
#[derive(Debug, Error)]
pub enum TaskError {
    /// The input can't be read. Trying elsewhere helps only if it is local there.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The user's code failed.
    #[error("the user's code failed{}", at(*record))]
    User {
        /// The position of the record (in its split's decompressed bytes, as in
        /// [`crate::Record::position`]) that it was given, where that is known: what
        /// [`crate::MapTask::skip`] takes.
        record: Option<u64>,
        /// How.
        #[source]
        source: UserError,
    },
    /// A local file can't be written or read.
    #[error("cannot {action} {}", path.display())]
    Disk {
        /// Which file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A spilled run is not what was written.
    #[error("{}", path.display())]
    Corrupt {
        /// Which file.
        path: PathBuf,
        /// Where and how.
        #[source]
        source: CorruptError,
    },
    /// The output of a map task can't be had: fetch it again, or run that task again.
    #[error("the output of map task {map_task}")]
    Source {
        /// Whose output.
        map_task: u32,
        /// Why.
        #[source]
        source: SourceError,
    },
    /// Something is larger than a limit.
    #[error("{what} has {size} bytes, and the limit is {limit}")]
    Limit {
        /// What is too large.
        what: &'static str,
        /// How large it is.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// The task can't run as it was described.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// [`crate::Cancel`] was called.
    #[error("cancelled")]
    Cancelled,
}

fn at(record: Option<u64>) -> String {
    record.map_or_else(String::new, |record| {
        format!(" on the record at byte {record}")
    })
}

impl TaskError {
    pub(crate) fn disk(path: &Path, action: &'static str, source: io::Error) -> Self {
        Self::Disk {
            path: path.to_path_buf(),
            action,
            source,
        }
    }
}

/// A job can't be what was asked for.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum SpecError {
    /// There is no such job.
    #[error("there is no job named `{name}`; there are {known}")]
    Unknown {
        /// As asked for.
        name: String,
        /// Those that exist.
        known: String,
    },
    /// An argument is missing, unknown, or has a value that it can't have.
    #[error("the job `{job}` with `{argument}`: {reason}")]
    Argument {
        /// Which job.
        job: String,
        /// Which argument.
        argument: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A command line can't be split into words.
    #[error("the command line `{command}`: {reason}")]
    CommandLine {
        /// As given.
        command: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A number of a task is out of its bounds.
    #[error("{0}")]
    Task(String),
}
