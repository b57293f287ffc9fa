//! The records of one group: memory first, disk behind.
//!
//! What memory has for a key counts: a record, or a tombstone. What it doesn't have is
//! as the last checkpoint left it on disk, and while `complete` holds (nothing was ever
//! dropped from memory) that means: it doesn't exist, and nobody asks the disk.
//!
//! **Epochs.** A checkpoint writes the records as they are at its *cut*, while entries
//! go on being applied. At the cut the epoch's parity changes. An entry carries the
//! parity of the epoch that changed it; one of the old parity is *pending*: whoever
//! changes it first puts the old image aside in `images`, where the checkpoint finds
//! it. When the checkpoint ends, no entry of the old parity is left.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kv_core::layout::split_value;
use kv_core::{Kind, Meta, Record, Table};

use crate::disk::{Disk, Saved};
use crate::entry::{DIRTY_EVEN, DIRTY_ODD, Entry, ON_DISK, TOMBSTONE};
use crate::error::EngineError;
use crate::slots::{Located, Slots};

/// Where to find an entry that changed: slot and hash, ten bytes without padding.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Changed {
    slot: [u8; 2],
    hash: [u8; 8],
}

impl Changed {
    #[inline]
    pub(crate) fn new(slot: u16, hash: u64) -> Self {
        Self {
            slot: slot.to_le_bytes(),
            hash: hash.to_le_bytes(),
        }
    }

    pub(crate) fn slot(self) -> u16 {
        u16::from_le_bytes(self.slot)
    }

    pub(crate) fn hash(self) -> u64 {
        u64::from_le_bytes(self.hash)
    }
}

/// All that changed in an epoch, in pieces: one vector would at times copy millions of
/// elements while readers wait, and have room for twice as many as it holds.
pub(crate) type ChangedList = Vec<Vec<Changed>>;

/// The length of a piece.
const CHANGED_PIECE: usize = 8_192;

/// Where a checkpoint stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Checkpoint {
    /// None is being written.
    Idle,
    /// Between its cut and its end.
    Running,
    /// The same, but what it was to write was cleared.
    Overtaken,
}

/// The records of one group.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) slots: Slots,
    pub(crate) disk: Arc<Disk>,
    /// Deadline and key of every key that has a deadline.
    pub(crate) deadlines: BTreeSet<(u64, Box<[u8]>)>,
    /// Whether a key that isn't in memory doesn't exist.
    pub(crate) complete: bool,
    /// Whether what is on disk counts for nothing: everything was cleared since.
    pub(crate) replaces_disk: bool,
    /// Keys that exist, in memory or not.
    pub(crate) keys: u64,
    /// Bytes of their keys and values.
    pub(crate) data_bytes: u64,
    /// Entries in memory and what they take.
    pub(crate) resident_keys: u64,
    pub(crate) resident_bytes: u64,
    /// The bit of the present epoch.
    epoch: u8,
    /// What changed in the present epoch: at least every entry that carries its bit.
    changed: ChangedList,
    pub(crate) dirty_bytes: u64,
    /// Old images of pending entries that were changed after the cut, by slot.
    images: BTreeMap<u16, Vec<Entry>>,
    pub(crate) checkpoint: Checkpoint,
}

impl Store {
    /// A store of what is on disk, of which `slots` holds all or a part.
    pub(crate) fn new(disk: Arc<Disk>, slots: Slots, saved: Saved, complete: bool) -> Self {
        let (mut resident_keys, mut resident_bytes) = (0, 0);
        for entry in slots.iter().flat_map(crate::slots::Slot::iter) {
            resident_keys += 1;
            resident_bytes += entry.memory_bytes();
        }
        Self {
            slots,
            disk,
            deadlines: BTreeSet::new(),
            complete,
            replaces_disk: false,
            keys: saved.keys,
            data_bytes: saved.data_bytes,
            resident_keys,
            resident_bytes,
            epoch: DIRTY_EVEN,
            changed: Vec::new(),
            dirty_bytes: 0,
            images: BTreeMap::new(),
            checkpoint: Checkpoint::Idle,
        }
    }

    /// Begins a checkpoint: what has changed until now is pending from now on.
    pub(crate) fn cut(&mut self) -> ChangedList {
        assert_eq!(self.checkpoint, Checkpoint::Idle);
        assert!(self.images.is_empty());
        self.checkpoint = Checkpoint::Running;
        self.epoch ^= DIRTY_EVEN | DIRTY_ODD;
        self.dirty_bytes = 0;
        std::mem::take(&mut self.changed)
    }

    /// The bit of the epoch before the cut.
    fn pending(&self) -> u8 {
        self.epoch ^ (DIRTY_EVEN | DIRTY_ODD)
    }

    /// Hands over the pending entries among `changed`: to a checkpoint, which will have
    /// them on disk before they may be dropped.
    pub(crate) fn take_pending(&mut self, changed: &[Changed], mut take: impl FnMut(&Entry)) {
        let pending = self.pending();
        for at in changed {
            let table = self.slots.slot_mut(at.slot()).table_mut(at.hash());
            for entry in table.iter_hash_mut(at.hash()) {
                if entry.flags() & pending != 0 {
                    take(entry);
                    entry.set_flags(entry.flags() & !pending | ON_DISK);
                }
            }
        }
    }

    /// Hands over the old images of a slot's entries, once all that were pending in it
    /// are taken.
    pub(crate) fn take_images(&mut self, slot: u16) -> Vec<Entry> {
        self.images.remove(&slot).unwrap_or_default()
    }

    /// Ends a checkpoint.
    pub(crate) fn end_checkpoint(&mut self) {
        assert_ne!(self.checkpoint, Checkpoint::Idle);
        assert!(self.images.is_empty());
        self.checkpoint = Checkpoint::Idle;
    }

    /// Marks the entries among `changed` as changed in the present epoch: a checkpoint that
    /// was to write them failed. Those that are marked `ON_DISK` wrongly only cost a
    /// tombstone too many.
    pub(crate) fn take_back(&mut self, changed: &[Changed]) {
        if self.checkpoint == Checkpoint::Overtaken {
            return;
        }
        let (epoch, pending) = (self.epoch, self.pending());
        for at in changed {
            let mut noted = 0;
            let table = self.slots.slot_mut(at.slot()).table_mut(at.hash());
            for entry in table.iter_hash_mut(at.hash()) {
                let is_meant = crate::cursor::hash_key(entry.key()) == at.hash();
                if is_meant && entry.flags() & epoch == 0 {
                    entry.set_flags(entry.flags() & !pending | epoch);
                    self.dirty_bytes += entry.memory_bytes();
                    noted += 1;
                }
            }
            if noted > 0 {
                self.note_changed(*at);
            }
        }
    }

    /// Ends a checkpoint that wrote nothing, after all its entries were taken back.
    pub(crate) fn abandon_checkpoint(&mut self) {
        // Newer versions of these entries are to be written now.
        self.images.clear();
        self.end_checkpoint();
    }

    /// Forgets tombstones among `changed` that a checkpoint has put on disk.
    pub(crate) fn drop_tombstones(&mut self, changed: &[Changed]) {
        for at in changed {
            let table = self.slots.slot_mut(at.slot()).table_mut(at.hash());
            let found =
                table.find_entry(at.hash(), |entry| entry.is_tombstone() && !entry.is_dirty());
            if let Ok(occupied) = found {
                let (entry, _) = occupied.remove();
                self.resident_keys -= 1;
                self.resident_bytes -= entry.memory_bytes();
            }
        }
    }

    /// Drops entries of a slot that the disk has and that `keep` doesn't want; how many.
    pub(crate) fn evict(&mut self, slot: u16, keep: impl Fn(u64) -> bool) -> u64 {
        assert_eq!(
            self.checkpoint,
            Checkpoint::Idle,
            "an entry handed over may not be on disk yet"
        );
        let (mut keys, mut bytes, mut records) = (0, 0, 0);
        self.slots.slot_mut(slot).retain(|entry| {
            let stays = entry.is_dirty() || keep(crate::cursor::hash_key(entry.key()));
            if !stays {
                keys += 1;
                records += u64::from(!entry.is_tombstone());
                bytes += entry.memory_bytes();
            }
            stays
        });
        self.resident_keys -= keys;
        self.resident_bytes -= bytes;
        self.complete &= records == 0;
        records
    }

    /// Brings a record into memory that is only on disk.
    #[inline]
    fn load(&mut self, key: Located<'_>) -> Result<(), EngineError> {
        if self.complete || self.slots.find(key).is_some() {
            return Ok(());
        }
        let Some(stored) = self.disk.get(key.slot, key.bytes)? else {
            return Ok(());
        };
        split_value(&stored).ok_or_else(|| self.disk.corrupt("a record's header"))?;
        self.insert(key, Entry::stored(ON_DISK, key.bytes, &stored));
        Ok(())
    }

    fn insert(&mut self, key: Located<'_>, entry: Entry) {
        self.resident_keys += 1;
        self.resident_bytes += entry.memory_bytes();
        self.slots.slot_mut(key.slot).insert(key.hash, entry);
    }

    /// Writes a record whose old version, if any, is in memory.
    #[inline]
    fn write(&mut self, key: Located<'_>, value: &[u8], next: impl FnOnce(Option<Meta>) -> Meta) {
        let (epoch, pending) = (self.epoch, self.pending());
        let Some(entry) = self.slots.find_mut(key) else {
            let meta = next(None);
            let entry = Entry::record(epoch, key.bytes, meta, value);
            self.dirty_bytes += entry.memory_bytes();
            self.insert(key, entry);
            self.note_changed(Changed::new(key.slot, key.hash));
            self.account_new(key, meta, value);
            return;
        };
        let flags = entry.flags();
        let old = entry.value().map(|(meta, value)| (meta, value.len()));
        let meta = next(old.map(|(meta, _)| meta));
        let is_record = flags & TOMBSTONE == 0;
        let flags_new = epoch | flags & ON_DISK;
        let in_place =
            is_record && flags & pending == 0 && entry.replace_in_place(flags_new, meta, value);
        if !in_place {
            let on_disk = if flags & pending == 0 {
                flags_new
            } else {
                epoch | ON_DISK
            };
            let record = Entry::record(on_disk, key.bytes, meta, value);
            let new_bytes = record.memory_bytes();
            let image = std::mem::replace(entry, record);
            self.resident_bytes = self.resident_bytes + new_bytes - image.memory_bytes();
            if flags & pending != 0 {
                self.images.entry(key.slot).or_default().push(image);
            }
        }
        if flags & epoch == 0 {
            self.dirty_bytes += (key.bytes.len() + value.len()) as u64;
            self.note_changed(Changed::new(key.slot, key.hash));
        }
        match old {
            Some((old, old_len)) => {
                self.data_bytes = self.data_bytes + value.len() as u64 - old_len as u64;
                if old.expires_ms != meta.expires_ms {
                    self.move_deadline(key.bytes, old.expires_ms, meta.expires_ms);
                }
            }
            None => self.account_new(key, meta, value),
        }
    }

    #[inline]
    fn note_changed(&mut self, changed: Changed) {
        match self.changed.last_mut() {
            Some(piece) if piece.len() < CHANGED_PIECE => piece.push(changed),
            _ => {
                let mut piece = Vec::with_capacity(CHANGED_PIECE);
                piece.push(changed);
                self.changed.push(piece);
            }
        }
    }

    fn account_new(&mut self, key: Located<'_>, meta: Meta, value: &[u8]) {
        self.keys += 1;
        self.data_bytes += (key.bytes.len() + value.len()) as u64;
        self.move_deadline(key.bytes, 0, meta.expires_ms);
    }

    fn move_deadline(&mut self, key: &[u8], old_ms: u64, new_ms: u64) {
        if old_ms != 0 {
            self.deadlines.remove(&(old_ms, Box::from(key)));
        }
        if new_ms != 0 {
            self.deadlines.insert((new_ms, Box::from(key)));
        }
    }
}

impl Table for Store {
    type Key<'k> = Located<'k>;
    type Error = EngineError;

    #[inline]
    fn key<'k>(&self, key: &'k [u8]) -> Located<'k> {
        Located::new(key)
    }

    fn get(&mut self, key: Located<'_>) -> Result<Option<Record<'_>>, EngineError> {
        self.load(key)?;
        let found = self.slots.find(key).and_then(Entry::value);
        Ok(found.map(|(meta, value)| Record { meta, value }))
    }

    fn put(&mut self, key: Located<'_>, meta: Meta, value: &[u8]) -> Result<(), EngineError> {
        self.load(key)?;
        self.write(key, value, |_| meta);
        Ok(())
    }

    #[inline]
    fn overwrite(&mut self, key: Located<'_>, value: &[u8]) -> Result<(), EngineError> {
        if !self.complete {
            self.load(key)?;
        }
        self.write(key, value, |old| Meta {
            kind: Kind::String,
            version: old.map_or(0, |meta| meta.version) + 1,
            expires_ms: 0,
        });
        Ok(())
    }

    fn remove(&mut self, key: Located<'_>) -> Result<bool, EngineError> {
        self.load(key)?;
        let (epoch, pending) = (self.epoch, self.pending());
        let Some(entry) = self.slots.find_mut(key) else {
            return Ok(false);
        };
        let Some((meta, value)) = entry.value() else {
            return Ok(false);
        };
        let (flags, value_len) = (entry.flags(), value.len());
        if flags & (ON_DISK | pending) == 0 {
            let removed = self.slots.slot_mut(key.slot).remove(key.hash, key.bytes);
            let removed = removed.expect("it was just found");
            self.resident_keys -= 1;
            self.resident_bytes -= removed.memory_bytes();
        } else {
            let tombstone = Entry::tombstone(epoch | ON_DISK, key.bytes);
            let new_bytes = tombstone.memory_bytes();
            let removed = std::mem::replace(entry, tombstone);
            self.resident_bytes = self.resident_bytes + new_bytes - removed.memory_bytes();
            if flags & epoch == 0 {
                self.dirty_bytes += new_bytes;
                self.note_changed(Changed::new(key.slot, key.hash));
            }
            if flags & pending != 0 {
                self.images.entry(key.slot).or_default().push(removed);
            }
        }
        self.keys -= 1;
        self.data_bytes -= (key.bytes.len() + value_len) as u64;
        self.move_deadline(key.bytes, meta.expires_ms, 0);
        Ok(true)
    }

    fn clear(&mut self) -> Result<(), EngineError> {
        self.slots = Slots::default();
        self.deadlines = BTreeSet::new();
        self.complete = true;
        self.replaces_disk = true;
        (self.keys, self.data_bytes) = (0, 0);
        (self.resident_keys, self.resident_bytes) = (0, 0);
        self.changed = Vec::new();
        self.dirty_bytes = 0;
        self.images = BTreeMap::new();
        if self.checkpoint == Checkpoint::Running {
            self.checkpoint = Checkpoint::Overtaken;
        }
        Ok(())
    }

    fn expire(&mut self, now_ms: u64, count_max: usize) -> Result<usize, EngineError> {
        for count in 0..count_max {
            match self.deadlines.first() {
                Some((deadline, _)) if *deadline <= now_ms => {}
                _ => return Ok(count),
            }
            let (_, key) = self.deadlines.pop_first().expect("the first was just seen");
            self.remove(Located::new(&key))?;
        }
        Ok(count_max)
    }
}
