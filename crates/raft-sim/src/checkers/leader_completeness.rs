//! Leader Completeness: if a log entry is committed in a given term, then that entry will
//! be present in the logs of the leaders for all higher-numbered terms (Ongaro and
//! Ousterhout 2014, figure 3 and section 5.4).

use std::collections::BTreeMap;

use raft::RoleKind;
use sim::Violation;
use stdx::{LogIndex, Term};

use super::Seen;

const PROPERTY: &str = "leader_completeness";

#[derive(Debug, Default)]
pub(super) struct LeaderCompleteness {
    /// Applied entries: their term, and the lowest term somebody was in who applied them.
    committed: BTreeMap<LogIndex, (Term, Term)>,
    newest: Term,
}

impl LeaderCompleteness {
    pub(super) fn observe(&mut self, seen: Seen<'_>) -> Result<(), Violation> {
        for applied in &seen.outputs.applied {
            let entry = &applied.entry;
            let slot = self.committed.entry(entry.index);
            let slot = slot.or_insert((entry.term, applied.in_term));
            slot.1 = slot.1.min(applied.in_term);
        }
        let raft = seen.node.raft();
        let term = raft.term();
        if raft.role() != RoleKind::Leader || term <= self.newest {
            return Ok(());
        }
        self.newest = term;
        let missing = self
            .committed
            .iter()
            .find(|&(&index, &(entry_term, in_term))| {
                in_term < term
                    && index > raft.base().index
                    && raft.term_at(index) != Some(entry_term)
            });
        if let Some((index, (entry_term, in_term))) = missing {
            let detail = format!(
                "{} leads {term} without {index} {entry_term}, committed by {in_term}",
                seen.id
            );
            return Err(Violation::new(PROPERTY, detail));
        }
        Ok(())
    }
}
