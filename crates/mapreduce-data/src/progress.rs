//! How far a task is, and how to stop it: atomics that any thread may look at.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::TaskError;
use crate::limits;

/// How far a task is. One for each attempt, shared by reference or in an [`Arc`].
#[derive(Debug, Default)]
pub struct Progress {
    pub(crate) input_records: AtomicU64,
    pub(crate) input_bytes: AtomicU64,
    pub(crate) total_bytes: AtomicU64,
    pub(crate) output_records: AtomicU64,
    pub(crate) output_bytes: AtomicU64,
    pub(crate) spills: AtomicU64,
    status: Mutex<String>,
}

/// What [`Progress`] said at one moment.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ProgressSnapshot {
    /// Records read so far.
    pub input_records: u64,
    /// Bytes read so far, of `total_bytes`.
    pub input_bytes: u64,
    /// Bytes that will be read as far as is known; 0 where it isn't.
    pub total_bytes: u64,
    /// Records emitted (map) or written (reduce) so far.
    pub output_records: u64,
    /// Bytes written so far.
    pub output_bytes: u64,
    /// Runs written because memory was full.
    pub spills: u64,
    /// What a streaming program last said of itself (`reporter:status:`).
    pub status: String,
}

impl Progress {
    /// Nothing done yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What it says now.
    #[must_use]
    pub fn snapshot(&self) -> ProgressSnapshot {
        ProgressSnapshot {
            input_records: self.input_records.load(Ordering::Relaxed),
            input_bytes: self.input_bytes.load(Ordering::Relaxed),
            total_bytes: self.total_bytes.load(Ordering::Relaxed),
            output_records: self.output_records.load(Ordering::Relaxed),
            output_bytes: self.output_bytes.load(Ordering::Relaxed),
            spills: self.spills.load(Ordering::Relaxed),
            status: self
                .status
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
        }
    }

    pub(crate) fn add(counter: &AtomicU64, amount: u64) {
        counter.fetch_add(amount, Ordering::Relaxed);
    }

    pub(crate) fn set_status(&self, text: &str) {
        let end = text.floor_char_boundary(limits::NAME_BYTES_MAX);
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        text[..end].clone_into(&mut status);
    }
}

/// Stops a task: the task looks at it at every block of input and output, and ends with
/// [`TaskError::Cancelled`].
#[derive(Clone, Debug, Default)]
pub struct Cancel {
    flag: Arc<AtomicBool>,
}

impl Cancel {
    /// Not cancelled.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Stops every task that holds a clone.
    pub fn cancel(&self) {
        self.flag.store(true, Ordering::Relaxed);
    }

    /// Whether it was called.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.flag.load(Ordering::Relaxed)
    }

    pub(crate) fn check(&self) -> Result<(), TaskError> {
        if self.is_cancelled() {
            return Err(TaskError::Cancelled);
        }
        Ok(())
    }
}
