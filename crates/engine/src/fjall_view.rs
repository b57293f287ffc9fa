//! Reading from a [`FjallEngine`].

use std::borrow::Cow;
use std::collections::BinaryHeap;
use std::ops::Range;

use bytes::Bytes;
use fjall::Slice;
use kv_core::layout::{split_key, split_value};
use kv_core::{Meta, SLOT_COUNT, hash_slot, slot::hash_tag};
use parking_lot::RwLockReadGuard;
use stdx::LogIndex;

use crate::cursor::{Position, hash_key, order_of, take_step};
use crate::disk::Disk;
use crate::error::EngineError;
use crate::fjall_engine::{FjallEngine, State};
use crate::slots::{Located, WARM_COUNT};
use crate::store::Store;
use crate::view::{Found, ListItem, ListPage, ScanPage};

/// Keys in one step of an iteration that has to look at the disk: each step reads the
/// keys of a whole slot there.
const DISK_STEP_COUNT: usize = 1_024;

/// A view of a [`FjallEngine`].
#[derive(Debug)]
pub(crate) struct FjallView<'a> {
    state: RwLockReadGuard<'a, State>,
    engine: &'a FjallEngine,
}

/// A record while it is being looked at.
struct Seen<'a> {
    key: &'a [u8],
    meta: Meta,
    value: &'a [u8],
}

impl<'a> FjallView<'a> {
    pub(crate) fn new(engine: &'a FjallEngine) -> Self {
        Self {
            state: engine.read_state(),
            engine,
        }
    }

    fn store(&self) -> &Store {
        &self.state.store
    }

    pub(crate) fn applied(&self) -> LogIndex {
        self.state.applied
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.state.machine.now_ms()
    }

    pub(crate) fn len(&self) -> u64 {
        self.store().keys
    }

    pub(crate) fn warm(&self, keys: &[&[u8]]) {
        for chunk in keys.chunks(WARM_COUNT) {
            let mut located = [Located::default(); WARM_COUNT];
            for (located, key) in located.iter_mut().zip(chunk) {
                *located = Located::new(key);
            }
            self.store().slots.warm(&located[..chunk.len()]);
        }
    }

    #[inline]
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Found<'_>>, EngineError> {
        let key = Located::new(key);
        let store = self.store();
        if !store.complete {
            self.engine.mark_referenced(key.hash);
        }
        if let Some(entry) = store.slots.find(key) {
            let found = entry.value();
            return Ok(found.map(|(meta, value)| Found {
                meta,
                value: Cow::Borrowed(value),
            }));
        }
        if store.complete {
            return Ok(None);
        }
        let Some(stored) = store.disk.get(key.slot, key.bytes)? else {
            return Ok(None);
        };
        let (meta, value) =
            split_value(&stored).ok_or_else(|| store.disk.corrupt("a record's header"))?;
        Ok(Some(Found {
            meta,
            value: Cow::Owned(value.to_vec()),
        }))
    }

    pub(crate) fn scan(
        &self,
        cursor: u64,
        count: usize,
        filter: &dyn Fn(&[u8]) -> bool,
    ) -> Result<ScanPage, EngineError> {
        let store = self.store();
        let mut page = ScanPage::default();
        let Some(start) = Position::from_cursor(cursor) else {
            return Ok(page);
        };
        let (mut disk, mut left) = if store.complete {
            (None, count.max(1))
        } else {
            let disk = DiskKeys::from_slot(&store.disk, start.slot)?;
            (Some(disk), count.max(DISK_STEP_COUNT))
        };
        let mut at = Some(start);
        while let Some(position) = at {
            let (keys, end) = match &mut disk {
                None => self.keys_in_memory(position),
                Some(disk) => (self.keys_anywhere(position, disk)?, None),
            };
            let (step, next) = take_step(keys, left);
            left = left.saturating_sub(step.len());
            let passing = step.into_iter().filter(|key| filter(key));
            page.keys
                .extend(passing.map(|key| Bytes::copy_from_slice(&key)));
            at = match next.or(end) {
                Some(order) => Some(Position { order, ..position }),
                None => position.next_slot(),
            };
            if left == 0 {
                break;
            }
        }
        page.cursor = at.map_or(0, Position::cursor);
        Ok(page)
    }

    /// Some keys of a slot from a position on, and where the next ones begin in it.
    fn keys_in_memory(&self, position: Position) -> (OrderedKeys<'_>, Option<u64>) {
        let (table, next) = self.store().slots.slot(position.slot).range(position.order);
        let keys = table.iter().filter(|entry| !entry.is_tombstone());
        (
            from_order(keys.map(|entry| Cow::Borrowed(entry.key())), position.order),
            next,
        )
    }

    /// All keys of a slot from a position on, in memory or not.
    fn keys_anywhere(
        &self,
        position: Position,
        disk: &mut DiskKeys<'_>,
    ) -> Result<OrderedKeys<'_>, EngineError> {
        let slots = &self.store().slots;
        let entries = slots
            .slot(position.slot)
            .iter()
            .filter(|entry| !entry.is_tombstone());
        let mut keys = from_order(
            entries.map(|entry| Cow::Borrowed(entry.key())),
            position.order,
        );
        while let Some(key) = disk.next_in(position.slot)? {
            if slots.find(Located::new(&key)).is_none() {
                keys.extend(from_order([Cow::Owned(key)], position.order));
            }
        }
        Ok(keys)
    }

    pub(crate) fn keys(
        &self,
        count_max: usize,
        filter: &dyn Fn(&[u8]) -> bool,
    ) -> Result<Vec<Bytes>, EngineError> {
        let mut keys = Vec::new();
        if count_max > 0 {
            self.for_each(0..SLOT_COUNT, &mut |seen| {
                if filter(seen.key) {
                    keys.push(Bytes::copy_from_slice(seen.key));
                }
                keys.len() < count_max
            })?;
        }
        Ok(keys)
    }

    pub(crate) fn list(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<ListPage, EngineError> {
        // The `limit + 1` smallest keys: the largest of them on top.
        let mut smallest: BinaryHeap<ByKey> = BinaryHeap::new();
        let mut see = |seen: Seen<'_>| {
            let passes = seen.key.starts_with(prefix) && after.is_none_or(|after| seen.key > after);
            let is_full = smallest.len() > limit;
            if !passes || is_full && smallest.peek().is_some_and(|last| *last.0.key < *seen.key) {
                return true;
            }
            smallest.push(ByKey(ListItem {
                key: Bytes::copy_from_slice(seen.key),
                meta: seen.meta,
                value: Bytes::copy_from_slice(seen.value),
            }));
            if smallest.len() > limit.saturating_add(1) {
                smallest.pop();
            }
            true
        };
        // A whole hash tag in the prefix means that all its keys are in one slot.
        let tag = hash_tag(prefix);
        if tag.len() < prefix.len() {
            self.for_each_in_slot(hash_slot(prefix), &mut see)?;
        } else {
            self.for_each(0..SLOT_COUNT, &mut see)?;
        }
        let mut items: Vec<_> = smallest
            .into_sorted_vec()
            .into_iter()
            .map(|item| item.0)
            .collect();
        let more = items.len() > limit;
        items.truncate(limit);
        Ok(ListPage { items, more })
    }

    pub(crate) fn keys_in_slot(
        &self,
        slot: u16,
        count_max: usize,
    ) -> Result<Vec<Bytes>, EngineError> {
        let mut keys = Vec::new();
        if slot < SLOT_COUNT {
            self.for_each_in_slot(slot, &mut |seen| {
                if keys.len() < count_max {
                    keys.push(Bytes::copy_from_slice(seen.key));
                }
                keys.len() < count_max
            })?;
        }
        Ok(keys)
    }

    pub(crate) fn count_in_slot(&self, slot: u16) -> Result<u64, EngineError> {
        let mut count = 0;
        if slot < SLOT_COUNT {
            self.for_each_in_slot(slot, &mut |_| {
                count += 1;
                true
            })?;
        }
        Ok(count)
    }

    /// Looks at every record of a slot, in memory or not, until `see` returns false.
    fn for_each_in_slot(
        &self,
        slot: u16,
        see: &mut dyn FnMut(Seen<'_>) -> bool,
    ) -> Result<(), EngineError> {
        self.for_each(slot..slot + 1, see)
    }

    /// Looks at every record of some slots, in memory or not, until `see` returns false.
    fn for_each(
        &self,
        slots: Range<u16>,
        see: &mut dyn FnMut(Seen<'_>) -> bool,
    ) -> Result<(), EngineError> {
        let store = self.store();
        let in_memory = slots.clone().flat_map(|slot| store.slots.slot(slot).iter());
        for entry in in_memory {
            if let Some((meta, value)) = entry.value()
                && !see(Seen {
                    key: entry.key(),
                    meta,
                    value,
                })
            {
                return Ok(());
            }
        }
        if store.complete {
            return Ok(());
        }
        let (from, to) = (
            store.disk.slot_prefix(slots.start),
            store.disk.slot_prefix(slots.end),
        );
        for pair in store.disk.keyspace()?.range(from..to) {
            let (stored_key, stored): (Slice, Slice) = pair
                .into_inner()
                .map_err(store.disk.failed("read a slot"))?;
            let (.., key) = split_key(&stored_key).ok_or_else(|| store.disk.corrupt("a key"))?;
            // What memory has counts, be it a record, seen above, or a tombstone.
            if store.slots.find(Located::new(key)).is_some() {
                continue;
            }
            let (meta, value) =
                split_value(&stored).ok_or_else(|| store.disk.corrupt("a record's header"))?;
            if !see(Seen { key, meta, value }) {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// Keys with their order in the iteration.
type OrderedKeys<'a> = Vec<(u64, Cow<'a, [u8]>)>;

fn from_order<'a>(keys: impl IntoIterator<Item = Cow<'a, [u8]>>, from: u64) -> OrderedKeys<'a> {
    let ordered = keys.into_iter().map(|key| (order_of(hash_key(&key)), key));
    ordered.filter(|&(order, _)| order >= from).collect()
}

/// The keys on disk, slot by slot.
struct DiskKeys<'a> {
    disk: &'a Disk,
    keys: fjall::Iter,
    /// The next one, if it has been looked at.
    next: Option<(u16, Vec<u8>)>,
}

impl<'a> DiskKeys<'a> {
    fn from_slot(disk: &'a Disk, slot: u16) -> Result<Self, EngineError> {
        let (from, to) = (disk.slot_prefix(slot), disk.slot_prefix(SLOT_COUNT));
        Ok(Self {
            disk,
            keys: disk.keyspace()?.range(from..to),
            next: None,
        })
    }

    /// The next key, if it is in this slot. Slots are asked for in ascending order, and
    /// each until there is no more.
    fn next_in(&mut self, slot: u16) -> Result<Option<Vec<u8>>, EngineError> {
        if self.next.is_none()
            && let Some(guard) = self.keys.next()
        {
            let stored = guard.key().map_err(self.disk.failed("read a slot"))?;
            let key = split_key(&stored).ok_or_else(|| self.disk.corrupt("a key"))?;
            self.next = Some((key.1, key.3.to_vec()));
        }
        Ok(match self.next.take() {
            Some((next, key)) if next == slot => Some(key),
            later => {
                self.next = later;
                None
            }
        })
    }
}

/// Orders items by their keys alone.
struct ByKey(ListItem);

impl PartialEq for ByKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.key == other.0.key
    }
}

impl Eq for ByKey {}

impl PartialOrd for ByKey {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ByKey {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.key.cmp(&other.0.key)
    }
}
