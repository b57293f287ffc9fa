//! State Machine Safety: if a server has applied a log entry at a given index to its state
//! machine, no other server will ever apply a different log entry for the same index
//! (Ongaro and Ousterhout 2014, figure 3 and section 5.4.3). And each applies every entry
//! once, in order, and snapshots stand for what was applied.

use std::collections::BTreeMap;

use bytes::Bytes;
use raft::Payload;
use sim::Violation;
use stdx::{LogIndex, NodeId, Term};

use super::Seen;
use crate::machine::{hash, mix, payload_hash};

const PROPERTY: &str = "state_machine_safety";

/// What stands at an index, for ever.
#[derive(Clone, Debug)]
pub struct AppliedEntry {
    /// The entry's term.
    pub term: Term,
    /// A client's bytes, if it holds such.
    pub data: Option<Bytes>,
    payload: u64,
    /// The state machine's chain after it.
    chain: u64,
}

#[derive(Debug, Default)]
pub(super) struct StateMachineSafety {
    log: BTreeMap<LogIndex, AppliedEntry>,
    at: BTreeMap<NodeId, LogIndex>,
}

impl StateMachineSafety {
    pub(super) fn observe(&mut self, seen: Seen<'_>) -> Result<(), Violation> {
        let id = seen.id;
        for &index in &seen.outputs.installed {
            self.at.insert(id, index);
        }
        for applied in &seen.outputs.applied {
            let entry = &applied.entry;
            let index = entry.index;
            let previous = self.at.insert(id, index);
            if previous.is_some_and(|previous| previous.next() != index) {
                let detail = format!("{id} applied {index} after {previous:?}");
                return Err(Violation::new(PROPERTY, detail));
            }
            let payload = payload_hash(&entry.payload);
            let data = match &entry.payload {
                Payload::Data(data) => Some(data.clone()),
                Payload::Noop | Payload::Membership(_) => None,
            };
            let chain = self.chain_after(index.previous(), entry.term, data.as_deref());
            let first = self.log.entry(index).or_insert(AppliedEntry {
                term: entry.term,
                data,
                payload,
                chain,
            });
            if (first.term, first.payload) != (entry.term, payload) {
                let detail = format!(
                    "{id} applied {index} of {}, somebody else one of {}",
                    entry.term, first.term
                );
                return Err(Violation::new(PROPERTY, detail));
            }
        }
        self.check_state(seen)
    }

    pub(super) fn forget(&mut self, id: NodeId) {
        self.at.remove(&id);
    }

    pub(super) fn applied(&self, index: LogIndex) -> Option<&AppliedEntry> {
        self.log.get(&index)
    }

    pub(super) fn last_applied(&self) -> LogIndex {
        self.log.keys().next_back().copied().unwrap_or_default()
    }

    fn check_state(&self, seen: Seen<'_>) -> Result<(), Violation> {
        if seen.outputs.installed.is_empty() && seen.outputs.applied.is_empty() {
            return Ok(());
        }
        let machine = seen.node.machine();
        let expected = self.log.get(&machine.base.index).map(|entry| entry.chain);
        if expected != Some(machine.chain) {
            let detail = format!("{}'s state at {} is another", seen.id, machine.base.index);
            return Err(Violation::new(PROPERTY, detail));
        }
        Ok(())
    }

    fn chain_after(&self, previous: LogIndex, term: Term, data: Option<&[u8]>) -> u64 {
        let before = self.log.get(&previous).map_or(0, |entry| entry.chain);
        let chain = mix(before, term.get());
        data.map_or(chain, |data| mix(chain, hash(data)))
    }
}
