//! Where a service keeps its state: a one-node database in its own process, or a cluster.
//!
//! ```text
//! Store::open(&"./pool-data".parse()?)                 a directory: nothing else is needed
//! Store::open(&"10.0.0.1:7379,10.0.0.2:7379".parse()?) a cluster: survives the loss of a machine
//! ```
//!
//! Both keep the same promises: what [`Store::put`] acknowledged is durable, and every read sees
//! it. Many concurrent writes share one sync of the disk, so a service that has much to write
//! writes it concurrently rather than one after the other.
//!
//! # When the outcome is unknown
//!
//! A connection that breaks, or a leader that is replaced, can leave a write of which nobody knows
//! whether it was executed: [`StoreError::Unknown`]. The store never guesses and never repeats such
//! a write by itself. What a caller can do:
//!
//! * `put` and `delete`: do it again. If the key has one writer, doing it twice is doing it once;
//!   only the version counts both.
//! * `put_if`: do it again *with the same expectation*. At most one of the two takes effect,
//!   because the first one to be executed changes the version that both expect. `Ok` means that the
//!   value stands. A [`Conflict`] means that a value was written before this attempt, maybe by the
//!   earlier attempt: read the key and compare. Let the value name its writer (an attempt's
//!   number, a random token), and the comparison is certain.
//! * Never take a read that shows the old value for a proof that the write was not executed: it may
//!   still be on its way. Only the repetition settles it.
//!
//! Versions count the writes of a key since it came into being. A key that is deleted and made
//! again starts at 1, so let a key that is compared by version live on with an empty value, rather
//! than delete it.

mod embedded;
mod error;
mod location;
mod remote;

use std::sync::Arc;

use bytes::Bytes;

use embedded::Embedded;
pub use error::StoreError;
pub use location::{Location, LocationError};
use remote::Remote;

/// Entries that [`Store::list`] returns at most; a longer list is an error, so that it can't be
/// taken for a complete one.
pub const LIST_ENTRIES_MAX: usize = 1 << 20;

/// Bytes of keys and values that [`Store::list`] returns at most.
pub const LIST_BYTES_MAX: usize = 1 << 30;

/// A place for a service's state. Cheap to clone; clones are the same store.
///
/// Keys begin with the service's name: `miner/..`, `mr/..`. Neither of the two kinds does anything
/// by itself when all clones are dropped without [`Self::close`]: an embedded node then ends as in
/// a crash, which loses nothing that was acknowledged.
#[derive(Clone, Debug)]
pub struct Store(Backend);

#[derive(Clone, Debug)]
enum Backend {
    Embedded(Arc<Embedded>),
    Remote(Remote),
}

/// What a key holds.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Found {
    /// The bytes.
    pub value: Bytes,
    /// Counts the key's writes since it came into being, from 1.
    pub version: u64,
}

/// What a key must hold for [`Store::put_if`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Expected {
    /// Nothing: the key must not exist.
    Absent,
    /// The version that a read or a write returned.
    Version(u64),
}

/// A [`Store::put_if`] that changed nothing, because the key holds something else.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Conflict {
    /// The key's version; `None` if it does not exist.
    pub current: Option<u64>,
}

impl Store {
    /// Opens a directory as a database in this process, or connects to a cluster and waits until
    /// it serves.
    ///
    /// Needs a tokio runtime with I/O and time, which must outlive the store.
    ///
    /// # Errors
    ///
    /// When the directory can't be used (another process has it, it belongs to a cluster, it is
    /// damaged), or no node of the cluster answers. The message says what to do.
    pub async fn open(location: &Location) -> Result<Self, StoreError> {
        Ok(Self(match location {
            Location::Directory(dir) => Backend::Embedded(Arc::new(Embedded::open(dir).await?)),
            Location::Cluster(addresses) => Backend::Remote(Remote::open(addresses).await?),
        }))
    }

    /// Reads a key, linearizably.
    ///
    /// # Errors
    ///
    /// When it can't be read now; see [`StoreError`].
    pub async fn get(&self, key: &[u8]) -> Result<Option<Found>, StoreError> {
        match &self.0 {
            Backend::Embedded(store) => store.get(key).await,
            Backend::Remote(store) => store.get(key).await,
        }
    }

    /// Writes a key whatever it holds; returns its new version. It is durable when this returns.
    ///
    /// # Errors
    ///
    /// See [`StoreError`]: which of them say that nothing was changed, and which don't know.
    pub async fn put(&self, key: &[u8], value: &[u8]) -> Result<u64, StoreError> {
        match &self.0 {
            Backend::Embedded(store) => store.put(key, value).await,
            Backend::Remote(store) => store.put(key, value).await,
        }
    }

    /// Writes a key if it holds what is expected; returns its new version, or what was found
    /// instead. It is durable when this returns.
    ///
    /// # Errors
    ///
    /// As [`Self::put`]. After [`StoreError::Unknown`] see the module's documentation.
    pub async fn put_if(
        &self,
        key: &[u8],
        value: &[u8],
        expected: Expected,
    ) -> Result<Result<u64, Conflict>, StoreError> {
        match &self.0 {
            Backend::Embedded(store) => store.put_if(key, value, expected).await,
            Backend::Remote(store) => store.put_if(key, value, expected).await,
        }
    }

    /// Removes a key; returns whether it existed.
    ///
    /// # Errors
    ///
    /// As [`Self::put`].
    pub async fn delete(&self, key: &[u8]) -> Result<bool, StoreError> {
        match &self.0 {
            Backend::Embedded(store) => store.delete(key).await,
            Backend::Remote(store) => store.delete(key).await,
        }
    }

    /// All keys that begin with a prefix, in the order of their bytes. Read page by page: what is
    /// written meanwhile may be there or not, all else is.
    ///
    /// # Errors
    ///
    /// As [`Self::get`], and [`StoreError::Invalid`] when there are more than
    /// [`LIST_ENTRIES_MAX`] entries or [`LIST_BYTES_MAX`] bytes.
    pub async fn list(&self, prefix: &[u8]) -> Result<Vec<(Bytes, Found)>, StoreError> {
        let mut list = List::default();
        match &self.0 {
            Backend::Embedded(store) => store.list(prefix, &mut list).await?,
            Backend::Remote(store) => store.list(prefix, &mut list).await?,
        }
        Ok(list.entries)
    }

    /// Ends the store for all clones. An embedded node writes everything down, so that the next
    /// start is quick, and leaves the directory free for another process when this returns.
    ///
    /// # Errors
    ///
    /// When an embedded node had failed before; what was acknowledged is safe all the same.
    pub async fn close(self) -> Result<(), StoreError> {
        match self.0 {
            Backend::Embedded(store) => store.close().await,
            Backend::Remote(_) => Ok(()),
        }
    }
}

impl Conflict {
    const fn new(version: u64) -> Self {
        let current = if version == 0 { None } else { Some(version) };
        Self { current }
    }
}

/// A list being collected, within its limits.
#[derive(Debug, Default)]
struct List {
    entries: Vec<(Bytes, Found)>,
    bytes: usize,
}

impl List {
    fn push(&mut self, key: Bytes, found: Found) -> Result<(), StoreError> {
        self.bytes += key.len() + found.value.len();
        if self.entries.len() == LIST_ENTRIES_MAX || self.bytes > LIST_BYTES_MAX {
            let what = format!(
                "the list exceeds the limit of {LIST_ENTRIES_MAX} entries or {LIST_BYTES_MAX} bytes: \
                 choose a longer prefix"
            );
            return Err(StoreError::Invalid { what: what.into() });
        }
        self.entries.push((key, found));
        Ok(())
    }

    /// The last key collected, which the next page begins behind.
    fn last(&self) -> Option<Bytes> {
        self.entries.last().map(|(key, _)| key.clone())
    }
}
