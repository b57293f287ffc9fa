//! Reading everything into memory at the start.
//!
//! Slots are ranges of the LSM, so threads share them out; each builds its slots' tables
//! at their final size. What doesn't fit the memory limit stays on disk, but is counted,
//! and its deadline is kept.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::Arc;
use std::thread;

use kv_core::SLOT_COUNT;
use kv_core::layout::{PREFIX_BYTES, split_key, split_value};

use crate::disk::{Disk, Saved};
use crate::entry::{Entry, ON_DISK};
use crate::error::EngineError;
use crate::options::Options;
use crate::slots::{Slot, Slots};
use crate::store::Store;

/// More threads than this wait for the disk rather than the processor.
const THREADS_MAX: usize = 4;

/// What one thread has read.
struct Loaded {
    slots: Vec<Slot>,
    deadlines: Vec<(u64, Box<[u8]>)>,
    keys: u64,
    data_bytes: u64,
    complete: bool,
}

/// Reads all records of a disk, and checks that they are as many as its state says.
pub(crate) fn load(disk: Arc<Disk>, options: &Options) -> Result<(Store, Saved), EngineError> {
    let saved = disk.saved()?;
    let threads = thread::available_parallelism()
        .map_or(1, NonZeroUsize::get)
        .min(THREADS_MAX);
    let budget = options.memory_bytes_max.get() / threads as u64;
    let parts: Result<Vec<Loaded>, EngineError> = thread::scope(|scope| {
        let handles: Vec<_> = slot_ranges(threads)
            .map(|range| {
                let disk = &disk;
                scope.spawn(move || load_range(disk, range, budget))
            })
            .collect();
        let joined = handles.into_iter().map(thread::ScopedJoinHandle::join);
        joined
            .map(|part| part.expect("loading returns its errors"))
            .collect()
    });
    let parts = parts?;
    let keys: u64 = parts.iter().map(|part| part.keys).sum();
    let data_bytes: u64 = parts.iter().map(|part| part.data_bytes).sum();
    if (keys, data_bytes) != (saved.keys, saved.data_bytes) {
        return Err(disk.corrupt("the number of records differs from its state's"));
    }
    let complete = parts.iter().all(|part| part.complete);
    let (mut slots, mut deadlines) = (Vec::new(), Vec::new());
    for part in parts {
        slots.extend(part.slots);
        deadlines.extend(part.deadlines);
    }
    let mut store = Store::new(disk, Slots::from_slots(slots), saved, complete);
    store.deadlines = deadlines.into_iter().collect();
    Ok((store, saved))
}

/// All slots in as many consecutive ranges.
fn slot_ranges(count: usize) -> impl Iterator<Item = Range<u16>> {
    let bound = move |part: usize| {
        u16::try_from(usize::from(SLOT_COUNT) * part / count).expect("at most SLOT_COUNT")
    };
    (0..count).map(move |part| bound(part)..bound(part + 1))
}

fn load_range(disk: &Disk, range: Range<u16>, budget: u64) -> Result<Loaded, EngineError> {
    let mut loaded = Loaded {
        slots: Vec::with_capacity(range.len()),
        deadlines: Vec::new(),
        keys: 0,
        data_bytes: 0,
        complete: true,
    };
    let first_slot = range.start;
    let (from, to) = (disk.slot_prefix(range.start), disk.slot_prefix(range.end));
    let mut entries: Vec<Entry> = Vec::new();
    let mut resident_bytes = 0;
    for pair in disk.keyspace()?.range::<[u8; PREFIX_BYTES], _>(from..to) {
        let (stored_key, stored) = pair.into_inner().map_err(disk.failed("read all records"))?;
        let key = split_key(&stored_key).filter(|&(_, slot, ..)| range.contains(&slot));
        let (_, slot, _, key) = key.ok_or_else(|| disk.corrupt("a key"))?;
        while loaded.slots.len() < usize::from(slot - first_slot) {
            loaded
                .slots
                .push(Slot::from_entries(std::mem::take(&mut entries)));
        }
        let (meta, value) =
            split_value(&stored).ok_or_else(|| disk.corrupt("a record's header"))?;
        loaded.keys += 1;
        loaded.data_bytes += (key.len() + value.len()) as u64;
        if meta.expires_ms != 0 {
            loaded.deadlines.push((meta.expires_ms, Box::from(key)));
        }
        if resident_bytes >= budget {
            loaded.complete = false;
            continue;
        }
        let entry = Entry::stored(ON_DISK, key, &stored);
        resident_bytes += entry.memory_bytes();
        entries.push(entry);
    }
    while loaded.slots.len() < range.len() {
        loaded
            .slots
            .push(Slot::from_entries(std::mem::take(&mut entries)));
    }
    Ok(loaded)
}
