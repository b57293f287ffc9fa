//! Reads are never stale: a read sees at least what anybody was told before it was asked
//! (Ongaro 2014, thesis section 6.4; the lease variants of section 6.4.1). The
//! linearizability checker implies it; this one says so at once, and by index.

use sim::Violation;
use stdx::{LogIndex, NodeId};

const PROPERTY: &str = "lease_reads";

/// The newest index that any client knows of, by an answered write or read.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReadCheck {
    told: LogIndex,
}

impl ReadCheck {
    /// A client was answered from the state at `index`.
    pub fn tell(&mut self, index: LogIndex) {
        self.told = self.told.max(index);
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
