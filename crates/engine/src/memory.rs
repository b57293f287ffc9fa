//! The engine of the simulator, and the model that the real one is tested against:
//! ordered maps under a lock, nothing on disk.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use bytes::Bytes;
use kv_core::{Kind, Meta, Record, Reply, StateMachine, Table, hash_slot};
use parking_lot::{RwLock, RwLockReadGuard};
use stdx::{LogIndex, Term};

use crate::cursor::{Position, hash_key, order_of, take_step};
use crate::engine::{Engine, EngineStats, SnapshotSource};
use crate::error::EngineError;
use crate::snapshot::{self, Header, Writer};
use crate::view::{Found, ListItem, ListPage, ReadView, ScanPage, Source};

/// A storage engine without a disk.
#[derive(Debug, Default)]
pub struct MemoryEngine {
    state: RwLock<State>,
}

#[derive(Clone, Debug, Default)]
struct State {
    applied: LogIndex,
    applied_term: Term,
    machine: StateMachine,
    records: Records,
}

/// A record beside its key.
type Value = (Meta, Box<[u8]>);

#[derive(Clone, Debug, Default)]
struct Records {
    by_key: BTreeMap<(u16, Box<[u8]>), Value>,
    deadlines: BTreeSet<(u64, Box<[u8]>)>,
    data_bytes: u64,
}

impl MemoryEngine {
    /// An engine without keys, before the first entry.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl Engine for MemoryEngine {
    fn applied(&self) -> LogIndex {
        self.state.read().applied
    }

    fn applied_term(&self) -> Term {
        self.state.read().applied_term
    }

    fn apply(
        &self,
        index: LogIndex,
        term: Term,
        payload: &[u8],
        replies: Option<&mut Vec<Reply>>,
    ) -> Result<(), EngineError> {
        let mut state = self.state.write();
        let state = &mut *state;
        if index <= state.applied {
            return Ok(());
        }
        if index != state.applied.next() {
            let (index, applied) = (index.get(), state.applied.get());
            return Err(EngineError::Gap { index, applied });
        }
        state
            .machine
            .apply_entry(&mut state.records, payload, replies)?;
        (state.applied, state.applied_term) = (index, term);
        Ok(())
    }

    fn view(&self) -> ReadView<'_> {
        ReadView(Source::Memory(MemoryView {
            state: self.state.read(),
        }))
    }

    fn checkpoint(&self) -> Result<LogIndex, EngineError> {
        Ok(self.applied())
    }

    fn persist(&self) -> Result<LogIndex, EngineError> {
        Ok(self.applied())
    }

    fn snapshot(&self) -> Result<Box<dyn SnapshotSource>, EngineError> {
        let state = self.state.read();
        let header = Header {
            index: state.applied,
            term: state.applied_term,
            now_ms: state.machine.now_ms(),
        };
        let mut writer = Writer::new(header);
        for ((_, key), (meta, value)) in &state.records.by_key {
            writer.record(key, *meta, value);
        }
        Ok(Box::new(snapshot::Buffered::new(header, writer.finish())))
    }

    fn install(&self, source: &mut dyn Read) -> Result<(LogIndex, Term), EngineError> {
        let mut records = Records::default();
        let header = snapshot::read(source, |key, meta, value| {
            let key = records.key(key);
            records.put(key, meta, value)
        })?;
        let mut state = self.state.write();
        *state = State {
            applied: header.index,
            applied_term: header.term,
            machine: StateMachine::new(header.now_ms),
            records,
        };
        Ok((header.index, header.term))
    }

    fn next_deadline(&self) -> Option<u64> {
        self.state
            .read()
            .records
            .deadlines
            .first()
            .map(|(deadline, _)| *deadline)
    }

    fn stats(&self) -> EngineStats {
        let state = self.state.read();
        let keys = state.records.by_key.len() as u64;
        EngineStats {
            keys,
            data_bytes: state.records.data_bytes,
            resident_keys: keys,
            resident_bytes: state.records.data_bytes,
            checkpoint_index: state.applied.get(),
            ..EngineStats::default()
        }
    }
}

impl Records {
    fn forget(&mut self, key: &[u8], meta: Meta, value_len: usize) {
        self.data_bytes -= (key.len() + value_len) as u64;
        if meta.expires_ms != 0 {
            self.deadlines.remove(&(meta.expires_ms, Box::from(key)));
        }
    }
}

impl Table for Records {
    type Key<'k> = (u16, &'k [u8]);
    type Error = EngineError;

    fn key<'k>(&self, key: &'k [u8]) -> Self::Key<'k> {
        (hash_slot(key), key)
    }

    fn get(&mut self, (slot, key): Self::Key<'_>) -> Result<Option<Record<'_>>, EngineError> {
        Ok(self
            .by_key
            .get(&(slot, Box::from(key)))
            .map(|(meta, value)| Record { meta: *meta, value }))
    }

    fn put(
        &mut self,
        (slot, key): Self::Key<'_>,
        meta: Meta,
        value: &[u8],
    ) -> Result<(), EngineError> {
        let old = self
            .by_key
            .insert((slot, Box::from(key)), (meta, Box::from(value)));
        if let Some((meta, value)) = old {
            self.forget(key, meta, value.len());
        }
        self.data_bytes += (key.len() + value.len()) as u64;
        if meta.expires_ms != 0 {
            self.deadlines.insert((meta.expires_ms, Box::from(key)));
        }
        Ok(())
    }

    fn overwrite(&mut self, key: Self::Key<'_>, value: &[u8]) -> Result<(), EngineError> {
        let version = self.get(key)?.map_or(0, |record| record.meta.version) + 1;
        self.put(
            key,
            Meta {
                kind: Kind::String,
                version,
                expires_ms: 0,
            },
            value,
        )
    }

    fn remove(&mut self, (slot, key): Self::Key<'_>) -> Result<bool, EngineError> {
        let old = self.by_key.remove(&(slot, Box::from(key)));
        if let Some((meta, value)) = &old {
            self.forget(key, *meta, value.len());
        }
        Ok(old.is_some())
    }

    fn clear(&mut self) -> Result<(), EngineError> {
        *self = Self::default();
        Ok(())
    }

    fn expire(&mut self, now_ms: u64, count_max: usize) -> Result<usize, EngineError> {
        for count in 0..count_max {
            match self.deadlines.first() {
                Some((deadline, _)) if *deadline <= now_ms => {}
                _ => return Ok(count),
            }
            let (_, key) = self.deadlines.pop_first().expect("the first was just seen");
            let key = self.key(&key);
            self.remove(key)?;
        }
        Ok(count_max)
    }
}

/// A view of a [`MemoryEngine`].
#[derive(Debug)]
pub(crate) struct MemoryView<'a> {
    state: RwLockReadGuard<'a, State>,
}

impl MemoryView<'_> {
    pub(crate) fn applied(&self) -> LogIndex {
        self.state.applied
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.state.machine.now_ms()
    }

    pub(crate) fn len(&self) -> u64 {
        self.state.records.by_key.len() as u64
    }

    #[expect(
        clippy::unnecessary_wraps,
        reason = "the same signature as the other engine's"
    )]
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Found<'_>>, EngineError> {
        let found = self
            .state
            .records
            .by_key
            .get(&(hash_slot(key), Box::from(key)));
        Ok(found.map(|(meta, value)| Found {
            meta: *meta,
            value: Cow::Borrowed(value),
        }))
    }

    #[expect(
        clippy::unnecessary_wraps,
        reason = "the same signature as the other engine's"
    )]
    pub(crate) fn scan(
        &self,
        cursor: u64,
        count: usize,
        filter: &dyn Fn(&[u8]) -> bool,
    ) -> Result<ScanPage, EngineError> {
        let mut page = ScanPage::default();
        let mut at = Position::from_cursor(cursor);
        let mut left = count.max(1);
        while let Some(position) = at {
            let keys = self
                .slot(position.slot)
                .map(|key| (order_of(hash_key(key)), key))
                .filter(|&(order, _)| order >= position.order)
                .collect();
            let (step, next) = take_step(keys, left);
            left = left.saturating_sub(step.len());
            let passing = step.into_iter().filter(|key| filter(key));
            page.keys.extend(passing.map(Bytes::copy_from_slice));
            at = match next {
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

    #[expect(
        clippy::unnecessary_wraps,
        reason = "the same signature as the other engine's"
    )]
    pub(crate) fn keys(
        &self,
        count_max: usize,
        filter: &dyn Fn(&[u8]) -> bool,
    ) -> Result<Vec<Bytes>, EngineError> {
        let keys = self.state.records.by_key.keys().map(|(_, key)| key);
        let passing = keys.filter(|key| filter(key)).take(count_max);
        Ok(passing.map(|key| Bytes::copy_from_slice(key)).collect())
    }

    #[expect(
        clippy::unnecessary_wraps,
        reason = "the same signature as the other engine's"
    )]
    pub(crate) fn list(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<ListPage, EngineError> {
        let records = self.state.records.by_key.iter();
        let mut found: Vec<_> = records
            .map(|((_, key), (meta, value))| (key, meta, value))
            .filter(|(key, ..)| {
                key.starts_with(prefix) && after.is_none_or(|after| ***key > *after)
            })
            .collect();
        found.sort_unstable_by_key(|&(key, ..)| key);
        let more = found.len() > limit;
        found.truncate(limit);
        let items = found.into_iter().map(|(key, meta, value)| ListItem {
            key: Bytes::copy_from_slice(key),
            meta: *meta,
            value: Bytes::copy_from_slice(value),
        });
        Ok(ListPage {
            items: items.collect(),
            more,
        })
    }

    #[expect(
        clippy::unnecessary_wraps,
        reason = "the same signature as the other engine's"
    )]
    pub(crate) fn keys_in_slot(
        &self,
        slot: u16,
        count_max: usize,
    ) -> Result<Vec<Bytes>, EngineError> {
        Ok(self
            .slot(slot)
            .take(count_max)
            .map(Bytes::copy_from_slice)
            .collect())
    }

    #[expect(
        clippy::unnecessary_wraps,
        reason = "the same signature as the other engine's"
    )]
    pub(crate) fn count_in_slot(&self, slot: u16) -> Result<u64, EngineError> {
        Ok(self.slot(slot).count() as u64)
    }

    fn slot(&self, slot: u16) -> impl Iterator<Item = &[u8]> {
        let from = (slot, Box::from(&[][..]));
        self.state
            .records
            .by_key
            .range(from..)
            .take_while(move |((at, _), _)| *at == slot)
            .map(|((_, key), _)| &**key)
    }
}
