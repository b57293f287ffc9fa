//! Log Matching: if two logs contain an entry with the same index and term, then the logs
//! are identical in all entries up through the given index (Ongaro and Ousterhout 2014,
//! figure 3 and section 5.3).
//!
//! Checked as the paper proves it, by induction: whoever writes (index, term) writes the
//! same payload after the same (index - 1, term).

use std::collections::BTreeMap;

use sim::Violation;
use stdx::{LogIndex, Term};

use super::Seen;

const PROPERTY: &str = "log_matching";

#[derive(Debug, Default)]
pub(super) struct LogMatching {
    written: BTreeMap<(LogIndex, Term), (u64, Option<Term>)>,
}

impl LogMatching {
    pub(super) fn observe(&mut self, seen: Seen<'_>) -> Result<(), Violation> {
        for entry in &seen.outputs.appended {
            let (index, term) = (entry.index, entry.term);
            let (hash, previous) = self
                .written
                .entry((index, term))
                .or_insert((entry.hash, entry.previous_term));
            if *hash != entry.hash {
                let detail = format!("{} wrote another payload at {index} {term}", seen.id);
                return Err(Violation::new(PROPERTY, detail));
            }
            match (*previous, entry.previous_term) {
                (Some(one), Some(other)) if one != other => {
                    let id = seen.id;
                    let detail =
                        format!("{id} wrote {index} {term} after {other}, somebody after {one}");
                    return Err(Violation::new(PROPERTY, detail));
                }
                (None, Some(known)) => *previous = Some(known),
                _ => {}
            }
        }
        Ok(())
    }
}
