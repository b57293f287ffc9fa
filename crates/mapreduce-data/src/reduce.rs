//! The reduce side: extents in, one file of output out.

use std::fs;

use crate::error::{SourceError, Stopped, TaskError, UserError};
use crate::function::{TaskContext, Values};
use crate::guard;
use crate::map::{check_numbers, disk_error, fan_in};
use crate::progress::{Cancel, Progress};
use crate::reduce::fetch::{Fetcher, Part};
use crate::reduce::output::Lines;
use crate::run::{Cursor, Merge, MergeError, RunError};
use crate::task::{Consumed, ReduceOutput, ReduceTask, ShuffleSource};

mod fetch;
mod output;

pub(crate) fn run(
    task: &ReduceTask,
    source: &mut dyn ShuffleSource,
    progress: &Progress,
    cancel: &Cancel,
) -> Result<ReduceOutput, TaskError> {
    check_numbers(task.partitions, task.memory_bytes)?;
    cancel.check()?;
    fs::create_dir_all(&task.dir).map_err(|error| TaskError::disk(&task.dir, "make", error))?;
    let context = TaskContext {
        task: task.partition,
        partitions: task.partitions,
        dir: task.dir.clone(),
        cancel: cancel.clone(),
    };
    let mut fetcher = Fetcher::new(task, progress, cancel);
    fetcher.fetch_all(source)?;
    let mut consumed = Vec::new();
    let parts = fetcher.reduce_to(fan_in(task.memory_bytes / 4), &mut consumed)?;
    let (parts, cursors): (Vec<Part>, Vec<_>) = parts.into_iter().map(Part::open).unzip();
    let failed = |failed: MergeError| failed_part(&parts[failed.source], failed.error);
    let merge = Merge::new(cursors).map_err(failed)?;
    let mut groups = Groups {
        merge,
        parts: &parts,
        key: Vec::new(),
        head: 0,
        taken: true,
        failure: None,
        keys: 0,
        pairs: 0,
        progress,
        cancel,
    };
    let mut out = Lines::create(task, progress)?;
    let result = reduce_groups(task, &context, &mut groups, &mut out);
    if let Err(source) = result {
        if cancel.is_cancelled() {
            return Err(TaskError::Cancelled);
        }
        let failure = groups.failure.take().or_else(|| out.take_failure());
        return Err(failure.unwrap_or(TaskError::User {
            record: None,
            source,
        }));
    }
    let keys = groups.keys;
    let cursors = groups.merge.into_cursors();
    for (part, cursor) in parts.iter().zip(cursors) {
        consumed.extend(part.consumed(&cursor)?);
    }
    for part in &parts {
        part.remove()?;
    }
    consumed.sort_by_key(|consumed: &Consumed| consumed.map_task);
    let written = out.finish()?;
    Ok(ReduceOutput {
        file: task.output.clone(),
        bytes: written.bytes,
        records: written.records,
        digest: written.digest,
        keys,
        consumed,
        spills: fetcher.spills,
        counters: written.counters,
    })
}

fn reduce_groups(
    task: &ReduceTask,
    context: &TaskContext,
    groups: &mut Groups<'_>,
    out: &mut Lines<'_>,
) -> Result<(), UserError> {
    let mut reducer = task.job.reducer(context)?;
    guard::call(|| {
        let mut key = Vec::new();
        while groups.next_key()? {
            core::mem::swap(&mut key, &mut groups.key);
            // The values compare their keys with `groups.key`.
            groups.key.clone_from(&key);
            reducer.reduce(&key, groups, out)?;
            groups.skip_rest()?;
        }
        reducer.finish(out)
    })
}

/// A part failed: whose fault is it?
fn failed_part(part: &Part, error: RunError) -> TaskError {
    match part {
        Part::Fetched { map_task, .. } => TaskError::Source {
            map_task: *map_task,
            source: match error {
                RunError::Io(error) => SourceError::Io(error),
                RunError::Corrupt(error) => SourceError::Corrupt(error),
            },
        },
        Part::OnDisk { path, .. } | Part::Merged { path, .. } => disk_error(path, error),
    }
}

/// How many pairs pass between two looks at the cancellation.
const PAIRS_UNCHECKED: u64 = 4_096;

/// The merged pairs, key by key.
struct Groups<'a> {
    merge: Merge,
    parts: &'a [Part],
    key: Vec<u8>,
    head: u64,
    /// The pair at the front of `merge` was handed out, or there is none yet.
    taken: bool,
    failure: Option<TaskError>,
    keys: u64,
    pairs: u64,
    progress: &'a Progress,
    cancel: &'a Cancel,
}

impl Groups<'_> {
    /// Goes to the next key; false after the last.
    fn next_key(&mut self) -> Result<bool, Stopped> {
        let Some(cursor) = self.merge.peek() else {
            return Ok(false);
        };
        self.key.clear();
        self.key.extend_from_slice(cursor.key());
        self.head = self.merge.head();
        self.taken = false;
        self.keys += 1;
        Ok(true)
    }

    #[inline]
    fn advance(&mut self) -> Result<(), Stopped> {
        self.pairs += 1;
        if self.pairs.is_multiple_of(PAIRS_UNCHECKED) {
            Progress::add(&self.progress.input_records, PAIRS_UNCHECKED);
            if self.cancel.is_cancelled() {
                return Err(Stopped);
            }
        }
        self.merge.advance().map_err(|failed| {
            let part = &self.parts[failed.source];
            self.failure = Some(failed_part(part, failed.error));
            Stopped
        })
    }

    /// Leaves the values behind that the reducer did not want.
    fn skip_rest(&mut self) -> Result<(), Stopped> {
        if !self.taken && self.merge.at_key(&self.key, self.head) {
            self.taken = true;
        }
        while self.taken {
            self.advance()?;
            self.taken = self.merge.at_key(&self.key, self.head);
        }
        Ok(())
    }
}

impl Values for Groups<'_> {
    #[inline]
    fn next(&mut self) -> Result<Option<&[u8]>, Stopped> {
        if self.taken {
            self.advance()?;
            self.taken = false;
        }
        if !self.merge.at_key(&self.key, self.head) {
            return Ok(None);
        }
        self.taken = true;
        Ok(self.merge.peek().map(Cursor::value))
    }
}
