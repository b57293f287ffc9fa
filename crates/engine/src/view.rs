//! Reading: what a front door may ask while it holds a view.

use std::borrow::Cow;

use bytes::Bytes;
use kv_core::Meta;
use stdx::LogIndex;

use crate::error::EngineError;
use crate::fjall_view::FjallView;
use crate::memory::MemoryView;

/// A record found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Found<'a> {
    /// Version, type, deadline.
    pub meta: Meta,
    /// The value: borrowed from memory, or owned if it came from disk.
    pub value: Cow<'a, [u8]>,
}

/// One step of an iteration with an integer cursor.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ScanPage {
    /// Where to go on; 0 when the iteration is complete.
    pub cursor: u64,
    /// The keys of this step; may be none before the end.
    pub keys: Vec<Bytes>,
}

/// One page of an ordered listing.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ListPage {
    /// The records in the order of their keys.
    pub items: Vec<ListItem>,
    /// Whether there are more behind the last one.
    pub more: bool,
}

/// A record of a listing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ListItem {
    /// The key.
    pub key: Bytes,
    /// Version, type, deadline.
    pub meta: Meta,
    /// The value.
    pub value: Bytes,
}

/// A view of an engine that stays the same while it is held.
#[derive(Debug)]
pub struct ReadView<'a>(pub(crate) Source<'a>);

#[derive(Debug)]
pub(crate) enum Source<'a> {
    Memory(MemoryView<'a>),
    Fjall(FjallView<'a>),
}

/// Calls the same method of whichever engine is behind the view.
macro_rules! delegate {
    ($view:expr, $source:ident => $call:expr) => {
        match &$view.0 {
            Source::Memory($source) => $call,
            Source::Fjall($source) => $call,
        }
    };
}

impl ReadView<'_> {
    /// The index of the last entry that this view contains.
    #[must_use]
    pub fn applied(&self) -> LogIndex {
        delegate!(self, source => source.applied())
    }

    /// The replicated time in ms since 1970. A key whose deadline is at or before it
    /// does not exist; a later one does, whatever a local clock says.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        delegate!(self, source => source.now_ms())
    }

    /// The number of keys.
    #[must_use]
    pub fn len(&self) -> u64 {
        delegate!(self, source => source.len())
    }

    /// Whether there are no keys.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The record of a key.
    ///
    /// # Errors
    ///
    /// When the storage can't be read.
    pub fn get(&self, key: &[u8]) -> Result<Option<Found<'_>>, EngineError> {
        delegate!(self, source => source.get(key))
    }

    /// Prepares to look up several keys soon, as a pipeline or `MGET` does: their waits
    /// for memory overlap, which makes the look-ups two to four times as fast.
    pub fn warm(&self, keys: &[&[u8]]) {
        match &self.0 {
            Source::Memory(_) => {}
            Source::Fjall(view) => view.warm(keys),
        }
    }

    /// A key's version, type and deadline.
    ///
    /// # Errors
    ///
    /// When the storage can't be read.
    pub fn meta(&self, key: &[u8]) -> Result<Option<Meta>, EngineError> {
        Ok(self.get(key)?.map(|found| found.meta))
    }

    /// Whether a key exists.
    ///
    /// # Errors
    ///
    /// When the storage can't be read.
    pub fn exists(&self, key: &[u8]) -> Result<bool, EngineError> {
        Ok(self.get(key)?.is_some())
    }

    /// One step of an iteration over all keys that pass the filter, with Redis's
    /// guarantee: what exists from the first step (cursor 0) to the last is returned,
    /// what comes or goes meanwhile may be. `count` is about how many keys are looked
    /// at. Cursors stay valid across restarts and on every replica.
    ///
    /// # Errors
    ///
    /// When the storage can't be read.
    pub fn scan(
        &self,
        cursor: u64,
        count: usize,
        filter: &dyn Fn(&[u8]) -> bool,
    ) -> Result<ScanPage, EngineError> {
        delegate!(self, source => source.scan(cursor, count, filter))
    }

    /// Up to `count_max` keys that pass the filter, in no particular order.
    ///
    /// # Errors
    ///
    /// When the storage can't be read.
    pub fn keys(
        &self,
        count_max: usize,
        filter: &dyn Fn(&[u8]) -> bool,
    ) -> Result<Vec<Bytes>, EngineError> {
        delegate!(self, source => source.keys(count_max, filter))
    }

    /// Up to `limit` records whose keys begin with `prefix` and are greater than
    /// `after`, in the order of their keys.
    ///
    /// # Errors
    ///
    /// When the storage can't be read.
    pub fn list(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<ListPage, EngineError> {
        delegate!(self, source => source.list(prefix, after, limit))
    }

    /// Up to `count_max` keys of a hash slot.
    ///
    /// # Errors
    ///
    /// When the storage can't be read.
    pub fn keys_in_slot(&self, slot: u16, count_max: usize) -> Result<Vec<Bytes>, EngineError> {
        delegate!(self, source => source.keys_in_slot(slot, count_max))
    }

    /// The number of keys in a hash slot.
    ///
    /// # Errors
    ///
    /// When the storage can't be read.
    pub fn count_in_slot(&self, slot: u16) -> Result<u64, EngineError> {
        delegate!(self, source => source.count_in_slot(slot))
    }
}
