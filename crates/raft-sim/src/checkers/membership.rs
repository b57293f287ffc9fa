//! Members change one step at a time: through a joint configuration when voters differ
//! (Ongaro and Ousterhout 2014, section 6), never two uncommitted changes at once, and not
//! before the leader has committed an entry of its own term (Ongaro, "bug in single-server
//! membership changes", raft-dev, 2015).

use raft::{Membership, Payload, Raft};
use sim::Violation;
use stdx::LogIndex;

use super::Seen;

const PROPERTY: &str = "membership";

/// What a leader knew right before a change of members was proposed to it.
#[derive(Clone, Copy, Debug)]
pub struct ChangeCheck {
    own_term_committed: bool,
    last_change_committed: bool,
    committed: LogIndex,
}

impl ChangeCheck {
    /// To be made before the proposal. `last_change` is the index of the newest membership
    /// entry in the leader's log.
    #[must_use]
    pub fn before(raft: &Raft, last_change: LogIndex) -> Self {
        let committed = raft.committed();
        Self {
            own_term_committed: raft.term_at(committed) == Some(raft.term()),
            last_change_committed: last_change <= committed,
            committed,
        }
    }

    /// To be asked when the leader took the proposal.
    ///
    /// # Errors
    ///
    /// When it shouldn't have.
    pub fn accepted(self) -> Result<(), Violation> {
        let committed = self.committed;
        if !self.own_term_committed {
            let detail = format!("a change before the own term's entry, committed {committed}");
            return Err(Violation::new(PROPERTY, detail));
        }
        if !self.last_change_committed {
            let detail = format!("a second change at once, committed {committed}");
            return Err(Violation::new(PROPERTY, detail));
        }
        Ok(())
    }
}

/// The committed configurations, each against the one before.
#[derive(Debug, Default)]
pub(super) struct MembershipSteps {
    last: Option<(LogIndex, Membership)>,
}

impl MembershipSteps {
    pub(super) fn observe(&mut self, seen: Seen<'_>) -> Result<(), Violation> {
        for applied in &seen.outputs.applied {
            let entry = &applied.entry;
            let Payload::Membership(next) = &entry.payload else {
                continue;
            };
            if let Some((index, last)) = &self.last {
                if entry.index <= *index {
                    continue;
                }
                if !may_follow(last, next) {
                    let detail = format!("{next:?} at {} follows {last:?}", entry.index);
                    return Err(Violation::new(PROPERTY, detail));
                }
            }
            self.last = Some((entry.index, Membership::clone(next)));
        }
        Ok(())
    }
}

fn may_follow(last: &Membership, next: &Membership) -> bool {
    if last.is_joint() {
        !next.is_joint() && next.voters == last.voters
    } else {
        next.voters == last.voters && !next.is_joint() || next.outgoing == last.voters
    }
}
