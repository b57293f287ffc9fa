//! Getting a partition's extents: into memory while they fit, to disk from then on.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read, Write as _};
use std::path::PathBuf;
use std::sync::Arc;

use crate::error::{SourceError, TaskError};
use crate::progress::{Cancel, Progress};
use crate::run::{Check, Cursor, Merge, MergeError, RunError, RunFile, VerifyError, verify};
use crate::task::{Consumed, Extent, Fetched, ReduceTask, ShuffleCompression, ShuffleSource};

/// Something to merge.
#[derive(Debug)]
pub(crate) enum Part {
    /// As it came, in memory; not looked at yet.
    Fetched {
        map_task: u32,
        extent: Extent,
        bytes: Vec<u8>,
    },
    /// As it came, on disk; it was whole when it came.
    OnDisk {
        map_task: u32,
        extent: Extent,
        path: PathBuf,
        file: Arc<File>,
    },
    /// Several neighbours, merged.
    Merged {
        extent: Extent,
        path: PathBuf,
        file: Arc<File>,
    },
}

impl Part {
    fn bytes(&self) -> u64 {
        let (Self::Fetched { extent, .. }
        | Self::OnDisk { extent, .. }
        | Self::Merged { extent, .. }) = self;
        extent.len
    }

    /// The part, without its bytes if it had them, and a cursor over it.
    pub(crate) fn open(mut self) -> (Self, Cursor) {
        let cursor = match &mut self {
            Self::Fetched { bytes, .. } => Cursor::in_memory(core::mem::take(bytes), Check::Digest),
            Self::OnDisk { file, extent, .. } => {
                Cursor::in_file(Arc::clone(file), 0, extent.len, Check::Digest)
            }
            Self::Merged { file, extent, .. } => {
                Cursor::in_file(Arc::clone(file), extent.offset, extent.len, Check::Counts)
            }
        };
        (self, cursor)
    }

    /// What was read of it, which must be what its map task reported.
    pub(crate) fn consumed(&self, cursor: &Cursor) -> Result<Option<Consumed>, TaskError> {
        let (Self::Fetched {
            map_task, extent, ..
        }
        | Self::OnDisk {
            map_task, extent, ..
        }) = self
        else {
            return Ok(None);
        };
        let totals = cursor.totals();
        let consumed = Consumed {
            map_task: *map_task,
            records: totals.records,
            bytes: totals.bytes,
            digest: totals.digest,
        };
        if (totals.records, totals.bytes, totals.digest)
            != (extent.records, extent.bytes, extent.digest)
        {
            let shown = |records: u64, bytes: u64, digest| {
                format!("{records} pairs, {bytes} bytes, digest {digest}")
            };
            return Err(TaskError::Source {
                map_task: *map_task,
                source: SourceError::Differs {
                    expected: shown(extent.records, extent.bytes, extent.digest),
                    found: shown(totals.records, totals.bytes, totals.digest),
                },
            });
        }
        Ok(Some(consumed))
    }

    /// Removes its file, if it has one.
    pub(crate) fn remove(&self) -> Result<(), TaskError> {
        match self {
            Self::Fetched { .. } => Ok(()),
            Self::OnDisk { path, .. } | Self::Merged { path, .. } => {
                fs::remove_file(path).map_err(|error| TaskError::disk(path, "remove", error))
            }
        }
    }
}

/// Collects parts.
pub(crate) struct Fetcher<'a> {
    task: &'a ReduceTask,
    progress: &'a Progress,
    cancel: &'a Cancel,
    parts: Vec<(u32, Part)>,
    seen: BTreeSet<u32>,
    /// What may still be held in memory.
    room: u64,
    files: u64,
    pub(crate) spills: u64,
}

impl<'a> Fetcher<'a> {
    pub(crate) fn new(task: &'a ReduceTask, progress: &'a Progress, cancel: &'a Cancel) -> Self {
        Self {
            task,
            progress,
            cancel,
            parts: Vec::new(),
            seen: BTreeSet::new(),
            // The rest is for the blocks of what is on disk, and for the output.
            room: task.memory_bytes / 4 * 3,
            files: 0,
            spills: 0,
        }
    }

    pub(crate) fn fetch_all(&mut self, source: &mut dyn ShuffleSource) -> Result<(), TaskError> {
        loop {
            self.cancel.check()?;
            let fetched = source
                .next()
                .map_err(|(map_task, source)| TaskError::Source { map_task, source })?;
            let Some(fetched) = fetched else {
                break;
            };
            self.take(fetched)?;
        }
        self.parts.sort_by_key(|(map_task, _)| *map_task);
        Ok(())
    }

    fn take(&mut self, fetched: Fetched<'_>) -> Result<(), TaskError> {
        let Fetched {
            map_task,
            extent,
            mut body,
        } = fetched;
        let failed = |source| TaskError::Source { map_task, source };
        if !self.seen.insert(map_task) {
            return Err(failed(SourceError::Differs {
                expected: "one extent".to_owned(),
                found: "two".to_owned(),
            }));
        }
        if extent.len == 0 {
            return Ok(());
        }
        Progress::add(&self.progress.total_bytes, extent.len);
        let part = if extent.len <= self.room {
            self.room -= extent.len;
            let mut bytes = Vec::new();
            // The room bounds the length.
            bytes.reserve_exact(usize::try_from(extent.len).unwrap_or(0));
            let read = body.by_ref().take(extent.len).read_to_end(&mut bytes);
            read.map_err(|error| failed(SourceError::Io(error)))?;
            Part::Fetched {
                map_task,
                extent,
                bytes,
            }
        } else {
            self.write_down(map_task, extent, &mut *body)?
        };
        Progress::add(&self.progress.input_bytes, extent.len);
        self.parts.push((map_task, part));
        Ok(())
    }

    fn write_down(
        &mut self,
        map_task: u32,
        extent: Extent,
        body: &mut dyn Read,
    ) -> Result<Part, TaskError> {
        let path = self.path("fetched");
        let failed = |error| TaskError::disk(&path, "write", error);
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)
            .map_err(|error| TaskError::disk(&path, "create", error))?;
        let mut writer = std::io::BufWriter::with_capacity(1 << 20, &file);
        let verified = verify(body, extent.len, &mut |bytes| writer.write_all(bytes));
        verified.map_err(|error| match error {
            VerifyError::Sink(error) => failed(error),
            VerifyError::Run(RunError::Io(error)) => TaskError::Source {
                map_task,
                source: SourceError::Io(error),
            },
            VerifyError::Run(RunError::Corrupt(error)) => TaskError::Source {
                map_task,
                source: SourceError::Corrupt(error),
            },
        })?;
        writer.flush().map_err(failed)?;
        drop(writer);
        self.spills += 1;
        Progress::add(&self.progress.spills, 1);
        Ok(Part::OnDisk {
            map_task,
            extent,
            path,
            file: Arc::new(file),
        })
    }

    fn path(&mut self, name: &str) -> PathBuf {
        self.files += 1;
        self.task.dir.join(format!("{name}-{}.run", self.files))
    }

    /// Merges neighbours until at most `fan_in` parts are left, in their order; what was consumed
    /// on the way is added to `consumed`.
    pub(crate) fn reduce_to(
        &mut self,
        fan_in: usize,
        consumed: &mut Vec<Consumed>,
    ) -> Result<Vec<Part>, TaskError> {
        let parts = core::mem::take(&mut self.parts);
        let mut parts: Vec<Part> = parts.into_iter().map(|(_, part)| part).collect();
        while parts.len() > fan_in {
            let count = fan_in.min(parts.len() - fan_in + 1);
            let at = lightest(&parts, count);
            let chosen: Vec<Part> = parts.drain(at..at + count).collect();
            let merged = self.merge(chosen, consumed)?;
            parts.insert(at, merged);
        }
        Ok(parts)
    }

    fn merge(&mut self, parts: Vec<Part>, consumed: &mut Vec<Consumed>) -> Result<Part, TaskError> {
        let path = self.path("merged");
        let mut file = RunFile::create(&path, ShuffleCompression::Auto, false)?;
        let (parts, cursors): (Vec<Part>, Vec<Cursor>) = parts.into_iter().map(Part::open).unzip();
        let failed = |failed: MergeError| super::failed_part(&parts[failed.source], failed.error);
        let mut merge = Merge::new(cursors).map_err(failed)?;
        let mut count = 0_u32;
        while let Some(cursor) = merge.peek() {
            file.push(cursor.key(), cursor.value())?;
            merge.advance().map_err(failed)?;
            count = count.wrapping_add(1);
            if count.is_multiple_of(65_536) {
                self.cancel.check()?;
            }
        }
        for (part, cursor) in parts.iter().zip(merge.into_cursors()) {
            consumed.extend(part.consumed(&cursor)?);
            part.remove()?;
        }
        let extent = file.end_extent()?;
        let file = Arc::new(file.finish()?);
        self.spills += 1;
        Progress::add(&self.progress.spills, 1);
        Ok(Part::Merged { extent, path, file })
    }
}

/// Where `count` neighbours with the fewest bytes start.
fn lightest(parts: &[Part], count: usize) -> usize {
    let weight = |window: &[Part]| window.iter().map(Part::bytes).sum::<u64>();
    let windows = parts.windows(count).enumerate();
    windows
        .min_by_key(|(_, window)| weight(window))
        .map_or(0, |(at, _)| at)
}
