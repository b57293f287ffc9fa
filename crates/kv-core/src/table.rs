//! What the state machine needs of storage.
//!
//! The state machine decides what every command means; a table only finds, keeps and
//! drops records. A record that has expired may still be in the table until
//! [`Table::expire`] drops it, but the state machine calls that before anything else
//! of an entry, so commands never see one.

use crate::value::Meta;

/// A record as the table lends it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Record<'a> {
    /// Version, type, deadline.
    pub meta: Meta,
    /// The value.
    pub value: &'a [u8],
}

/// Storage of records, one writer.
///
/// An error means that the storage can't be read or written: the entry being applied is
/// neither applied nor not applied, and the replica must stop.
pub trait Table {
    /// A key with whatever the table wants to compute only once (its slot, its hash).
    type Key<'k>: Copy;

    /// Why the storage failed.
    type Error;

    /// Looks at a key once for all that follows.
    fn key<'k>(&self, key: &'k [u8]) -> Self::Key<'k>;

    /// The record of a key.
    ///
    /// # Errors
    ///
    /// When the storage can't be read.
    fn get(&mut self, key: Self::Key<'_>) -> Result<Option<Record<'_>>, Self::Error>;

    /// Writes a record.
    ///
    /// # Errors
    ///
    /// When the storage can't be written.
    fn put(&mut self, key: Self::Key<'_>, meta: Meta, value: &[u8]) -> Result<(), Self::Error>;

    /// Writes a string without deadline whatever was there before, with the version
    /// after the present one: what most commands do, in one look-up.
    ///
    /// # Errors
    ///
    /// When the storage can't be written.
    fn overwrite(&mut self, key: Self::Key<'_>, value: &[u8]) -> Result<(), Self::Error>;

    /// Removes a record; whether there was one.
    ///
    /// # Errors
    ///
    /// When the storage can't be read or written.
    fn remove(&mut self, key: Self::Key<'_>) -> Result<bool, Self::Error>;

    /// Removes all records.
    ///
    /// # Errors
    ///
    /// When the storage can't be written.
    fn clear(&mut self) -> Result<(), Self::Error>;

    /// Removes up to `count_max` records whose deadline is at or before `now_ms`; how
    /// many it removed. Less than `count_max` means that none is left.
    ///
    /// # Errors
    ///
    /// When the storage can't be written.
    fn expire(&mut self, now_ms: u64, count_max: usize) -> Result<usize, Self::Error>;
}
