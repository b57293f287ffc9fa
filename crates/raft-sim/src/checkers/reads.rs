//! Reads are never stale: a read sees at least what anybody was told before it was asked
//! (Ongaro 2014, thesis section 6.4; the lease variants of section 6.4.1). The
//! linearizability checker implies it; this one says so at once, and by index.

use std::collections::BTreeMap;

use sim::Violation;
use stdx::{LogIndex, NodeId};

const PROPERTY: &str = "lease_reads";

/// The newest index that any client knows of, by an answered write or read.
#[derive(Clone, Debug, Default)]
pub struct ReadCheck {
    told: LogIndex,
    /// The newest answered write to each key.
    keys: BTreeMap<u8, LogIndex>,
}

impl ReadCheck {
    /// A client was answered from the state at `index`.
    pub fn tell(&mut self, index: LogIndex) {
        self.told = self.told.max(index);
    }

    /// A client's write to a key was answered.
    pub fn tell_key(&mut self, key: Option<u8>, index: LogIndex) {
        if let Some(key) = key {
            let told = self.keys.entry(key).or_default();
            *told = index.max(*told);
        }
    }

    /// The newest write to a key that anybody was told of.
    #[must_use]
    pub fn key_floor(&self, key: u8) -> LogIndex {
        self.keys.get(&key).copied().unwrap_or_default()
    }

    /// A new leader that has committed nothing yet answered a read of one key from the state at
    /// `index`. Other keys may have been written since.
    ///
    /// # Errors
    ///
    /// When this one has.
    pub fn inherited(
        &self,
        node: NodeId,
        index: LogIndex,
        floor: LogIndex,
    ) -> Result<(), Violation> {
        if index < floor {
            let detail =
                format!("{node} inherited a read at {index}, a write at {floor} was known");
            return Err(Violation::new(PROPERTY, detail));
        }
        Ok(())
    }

    /// What a read that is asked for now must at least see.
    #[must_use]
    pub const fn floor(&self) -> LogIndex {
        self.told
    }

    /// A read that had `floor` when it was asked is answered from the state at `index`.
    ///
    /// # Errors
    ///
    /// When that is older.
    pub fn served(
        &mut self,
        node: NodeId,
        how: &str,
        index: LogIndex,
        floor: LogIndex,
    ) -> Result<(), Violation> {
        if index < floor {
            let detail = format!("{node} answered a read ({how}) at {index}, {floor} was known");
            return Err(Violation::new(PROPERTY, detail));
        }
        self.tell(index);
        Ok(())
    }
}
