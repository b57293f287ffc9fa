//! The output file of a reduce task.

use std::fs::File;
use std::io::Write as _;

use crate::counters::Counters;
use crate::digest::Digest;
use crate::error::{Stopped, TaskError};
use crate::function::Output;
use crate::progress::Progress;
use crate::task::{Durability, ReduceTask};

/// What is gathered before it is written.
const WRITE_BYTES: usize = 512 << 10;

/// Writes lines.
#[derive(Debug)]
pub(crate) struct Lines<'a> {
    task: &'a ReduceTask,
    progress: &'a Progress,
    file: File,
    buffer: Vec<u8>,
    written: Written,
    failure: Option<TaskError>,
}

/// What was written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Written {
    pub(crate) bytes: u64,
    pub(crate) records: u64,
    pub(crate) digest: Digest,
    pub(crate) counters: Counters,
}

impl<'a> Lines<'a> {
    pub(crate) fn create(task: &'a ReduceTask, progress: &'a Progress) -> Result<Self, TaskError> {
        let file = File::create(&task.output)
            .map_err(|error| TaskError::disk(&task.output, "create", error))?;
        Ok(Self {
            task,
            progress,
            file,
            buffer: Vec::with_capacity(WRITE_BYTES + 4_096),
            written: Written::default(),
            failure: None,
        })
    }

    /// Why it stopped the reducer, if it did.
    pub(crate) fn take_failure(&mut self) -> Option<TaskError> {
        self.failure.take()
    }

    /// Counts the line that starts at `start` in the buffer.
    #[inline]
    fn end_line(&mut self, start: usize) -> Result<(), Stopped> {
        let line = &self.buffer[start..];
        self.written.digest.add(Digest::of_joined(line, line.len()));
        self.written.records += 1;
        self.buffer.push(b'\n');
        if self.buffer.len() >= WRITE_BYTES {
            self.write_out().map_err(|error| {
                self.failure.get_or_insert(error);
                Stopped
            })?;
        }
        Ok(())
    }

    fn write_out(&mut self) -> Result<(), TaskError> {
        self.file
            .write_all(&self.buffer)
            .map_err(|error| TaskError::disk(&self.task.output, "write", error))?;
        let len = self.buffer.len() as u64;
        self.written.bytes += len;
        Progress::add(&self.progress.output_bytes, len);
        self.buffer.clear();
        Ok(())
    }

    pub(crate) fn finish(mut self) -> Result<Written, TaskError> {
        if let Some(failure) = self.failure {
            // A reducer that did not return what it was told.
            return Err(failure);
        }
        self.write_out()?;
        Progress::add(&self.progress.output_records, self.written.records);
        if self.task.options.durability == Durability::Synced {
            self.file
                .sync_data()
                .map_err(|error| TaskError::disk(&self.task.output, "sync", error))?;
        }
        Ok(self.written)
    }
}

impl Output for Lines<'_> {
    #[inline]
    fn write(&mut self, key: &[u8], value: &[u8]) -> Result<(), Stopped> {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(key);
        if !value.is_empty() {
            self.buffer.push(self.task.options.separator);
            self.buffer.extend_from_slice(value);
        }
        self.end_line(start)
    }

    fn write_line(&mut self, line: &[u8]) -> Result<(), Stopped> {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(line);
        self.end_line(start)
    }

    fn count(&mut self, group: &str, name: &str, amount: i64) {
        self.written.counters.add(group, name, amount);
    }

    fn status(&mut self, text: &str) {
        self.progress.set_status(text);
    }
}
