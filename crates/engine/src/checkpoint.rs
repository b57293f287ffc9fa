//! Checkpoints: from memory to disk while entries go on being applied.
//!
//! The cut is one instant between two entries. What changed before it is then copied
//! out slot by slot, a few hundred entries at a time under the lock, sorted, and
//! streamed into one atomic change of the disk. Old images (see `store`) stand in for
//! entries that were changed again meanwhile, so the change is exactly the state at
//! the cut.
//!
//! A disk without room for it undoes the checkpoint: the log still holds everything, so
//! the engine goes on as if none had been begun. What the LSM leaves behind when that
//! happens (half a table, or a background thread that gave up) goes away when it is
//! opened again, which the next checkpoint does first.

use std::sync::Arc;

use kv_core::SLOT_COUNT;
use stdx::LogIndex;

use crate::disk::{Disk, Saved, Sink};
use crate::entry::Entry;
use crate::error::EngineError;
use crate::fjall_engine::{CheckpointState, FjallEngine};
use crate::store::{Changed, ChangedList, Checkpoint};

/// Entries copied out under one hold of the lock: some tens of microseconds.
const CHUNK: usize = 256;

/// What a checkpoint takes on disk besides what has changed, at most: blocks, filters, a
/// version of the LSM's manifest.
const ROOM_LEAST: u64 = 1 << 20;

/// What a checkpoint has to write.
struct Cut {
    changed: Vec<Changed>,
    saved: Saved,
    /// Everything was cleared since the last one: a new generation begins.
    replaces_disk: bool,
    disk: Arc<Disk>,
}

impl FjallEngine {
    /// Writes a checkpoint; the caller holds the checkpoint lock.
    pub(crate) fn checkpoint_locked(
        &self,
        state: &mut CheckpointState,
    ) -> Result<LogIndex, EngineError> {
        self.tidy_up(state)?;
        self.check_room()?;
        loop {
            let Some(cut) = self.cut(state) else {
                return Ok(state.index);
            };
            let target = match self.write(&cut) {
                Ok(target) => target,
                Err(error) => {
                    if error.is_disk_full() {
                        state.has_leftovers = true;
                        self.undo(&cut);
                    }
                    return Err(error);
                }
            };
            let is_written = target.is_some();
            self.end(&cut, target);
            if is_written {
                self.checkpointed(state, cut.saved.applied);
                return Ok(state.index);
            }
            // A `Clear` overtook this checkpoint: what it was to write is gone.
        }
    }

    /// Opens the LSM again if that does it good.
    fn tidy_up(&self, state: &mut CheckpointState) -> Result<(), EngineError> {
        let is_lame = self.state.read().store.disk.is_lame();
        if !is_lame && !state.has_leftovers {
            return Ok(());
        }
        let _between_entries = self.apply_lock.lock();
        let mut live = self.state.write();
        // Whoever streams a snapshot from it goes first.
        let Some(disk) = Arc::get_mut(&mut live.store.disk) else {
            return Ok(());
        };
        if is_lame {
            tracing::warn!(
                path = %disk.path.display(),
                "the LSM's background work failed, most likely for want of disk space: starting it again"
            );
        }
        disk.reopen(&self.options).map_err(|error| match error {
            // This is not one to go on after: there is nothing to read from any more.
            EngineError::DiskFull { path, .. } => EngineError::File {
                action: "open the LSM again in",
                path,
                source: std::io::ErrorKind::StorageFull.into(),
            },
            error => error,
        })?;
        state.has_leftovers = false;
        Ok(())
    }

    /// Refuses to begin what there is no room for.
    fn check_room(&self) -> Result<(), EngineError> {
        let dirty = self.state.read().store.dirty_bytes;
        let wanted = dirty + dirty / 8 + ROOM_LEAST;
        // If it can't be found out, writing will tell.
        let Ok(stat) = rustix::fs::statvfs(&self.dir) else {
            return Ok(());
        };
        if stat.f_bavail.saturating_mul(stat.f_frsize) >= wanted {
            return Ok(());
        }
        Err(EngineError::DiskFull {
            action: "write a checkpoint",
            path: self.dir.clone(),
        })
    }

    /// Writes a checkpoint; returns where it is, or `None` if a `Clear` overtook it.
    fn write(&self, cut: &Cut) -> Result<Option<Arc<Disk>>, EngineError> {
        let target = if cut.replaces_disk {
            Arc::new(cut.disk.next_generation(&self.dir, &self.options)?)
        } else {
            Arc::clone(&cut.disk)
        };
        if target.change(|sink| self.write_cut(cut, sink))?.is_none() {
            return Ok(None);
        }
        if cut.replaces_disk {
            target.promote(&self.dir, &cut.disk)?;
        }
        Ok(Some(target))
    }

    /// As if the checkpoint had not been begun.
    fn undo(&self, cut: &Cut) {
        for chunk in cut.changed.chunks(CHUNK) {
            self.state.write().store.take_back(chunk);
        }
        let mut live = self.state.write();
        live.store.replaces_disk |= cut.replaces_disk;
        live.store.abandon_checkpoint();
    }

    /// Begins a checkpoint, if there is anything to write.
    fn cut(&self, state: &CheckpointState) -> Option<Cut> {
        // No entry is half applied while this lock is held.
        let between_entries = self.apply_lock.lock();
        let mut live = self.state.write();
        if live.applied == state.index && !live.store.replaces_disk {
            return None;
        }
        let saved = Saved {
            applied: live.applied,
            term: live.term,
            now_ms: live.machine.now_ms(),
            keys: live.store.keys,
            data_bytes: live.store.data_bytes,
        };
        let replaces_disk = std::mem::take(&mut live.store.replaces_disk);
        let disk = Arc::clone(&live.store.disk);
        let changed = live.store.cut();
        drop(live);
        drop(between_entries);
        Some(Cut {
            changed: sorted_by_slot(changed),
            saved,
            replaces_disk,
            disk,
        })
    }

    /// Writes all that was pending at the cut; `None` if a `Clear` overtook it.
    fn write_cut(&self, cut: &Cut, sink: &mut Sink<'_>) -> Result<Option<Saved>, EngineError> {
        let mut copies = Copies::default();
        for changed in cut.changed.chunk_by(|one, two| one.slot() == two.slot()) {
            let slot = changed[0].slot();
            copies.clear();
            for chunk in changed.chunks(CHUNK) {
                let mut live = self.state.write();
                if live.store.checkpoint == Checkpoint::Overtaken {
                    return Ok(None);
                }
                live.store.take_pending(chunk, |entry| copies.push(entry));
            }
            let mut live = self.state.write();
            if live.store.checkpoint == Checkpoint::Overtaken {
                return Ok(None);
            }
            let images = live.store.take_images(slot);
            drop(live);
            images.iter().for_each(|image| copies.push(image));
            copies.sort();
            for (key, stored) in copies.iter() {
                sink.put(slot, key, stored)?;
            }
        }
        Ok(Some(cut.saved))
    }

    /// Ends a checkpoint, on a new disk if it made one.
    fn end(&self, cut: &Cut, target: Option<Arc<Disk>>) {
        let mut live = self.state.write();
        live.store.end_checkpoint();
        let Some(target) = target else {
            return;
        };
        let replaced = std::mem::replace(&mut live.store.disk, target);
        drop(live);
        // Perhaps the last user of an old generation: closing it takes a while.
        drop(replaced);
        for chunk in cut.changed.chunks(CHUNK) {
            self.state.write().store.drop_tombstones(chunk);
        }
    }
}

/// Copies of one slot's entries.
#[derive(Default)]
struct Copies {
    bytes: Vec<u8>,
    /// Where in `bytes` each begins, where its stored value begins, where it ends, and
    /// whether there is a stored value.
    parts: Vec<(usize, usize, usize, bool)>,
}

impl Copies {
    fn clear(&mut self) {
        self.bytes.clear();
        self.parts.clear();
    }

    fn push(&mut self, entry: &Entry) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(entry.key());
        let middle = self.bytes.len();
        self.bytes.extend_from_slice(entry.stored_value());
        self.parts
            .push((start, middle, self.bytes.len(), !entry.is_tombstone()));
    }

    fn sort(&mut self) {
        let bytes = &self.bytes;
        self.parts
            .sort_unstable_by_key(|&(start, middle, ..)| &bytes[start..middle]);
    }

    fn iter(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        self.parts.iter().map(|&(start, middle, end, exists)| {
            (
                &self.bytes[start..middle],
                exists.then(|| &self.bytes[middle..end]),
            )
        })
    }
}

/// Sorts by slot in linear time.
fn sorted_by_slot(pieces: ChangedList) -> Vec<Changed> {
    let mut starts = vec![0_usize; usize::from(SLOT_COUNT) + 1];
    for at in pieces.iter().flatten() {
        starts[usize::from(at.slot()) + 1] += 1;
    }
    for slot in 1..starts.len() {
        starts[slot] += starts[slot - 1];
    }
    let mut sorted = vec![Changed::default(); starts[starts.len() - 1]];
    for piece in pieces {
        for at in piece {
            let place = &mut starts[usize::from(at.slot())];
            sorted[*place] = at;
            *place += 1;
        }
    }
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorting_by_slot_keeps_everything() {
        let mut prng = stdx::Prng::from_seed(3);
        let mut draw = |hash| Changed::new(u16::try_from(prng.below(50)).unwrap(), hash);
        let pieces = vec![
            (0..600).map(&mut draw).collect(),
            (600..1_000).map(draw).collect(),
        ];
        let sorted = sorted_by_slot(pieces);
        assert!(sorted.is_sorted_by_key(|at| at.slot()));
        let mut hashes: Vec<_> = sorted.iter().map(|at| at.hash()).collect();
        hashes.sort_unstable();
        assert_eq!(hashes, (0..1_000).collect::<Vec<_>>());
    }
}
