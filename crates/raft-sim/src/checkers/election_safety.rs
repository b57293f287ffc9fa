//! Election Safety: at most one leader can be elected in a given term (Ongaro and
//! Ousterhout 2014, section 5.2 and figure 3), and how that comes about: each node votes
//! for one candidate per term, and a leader has the votes of a quorum.

use std::collections::{BTreeMap, BTreeSet};

use raft::RoleKind;
use sim::Violation;
use stdx::{NodeId, Term};

use super::Seen;

const PROPERTY: &str = "election_safety";

#[derive(Debug, Default)]
pub(super) struct ElectionSafety {
    leaders: BTreeMap<Term, NodeId>,
    votes: BTreeMap<(Term, NodeId), NodeId>,
}

impl ElectionSafety {
    pub(super) fn observe(&mut self, seen: Seen<'_>) -> Result<(), Violation> {
        for &(term, candidate) in &seen.outputs.votes {
            self.vote(term, seen.id, candidate)?;
        }
        let raft = seen.node.raft();
        // A candidate's own vote isn't counted before it is durable: only a leader's was.
        if raft.role() == RoleKind::Leader {
            self.leader(seen)?;
        }
        Ok(())
    }

    fn vote(&mut self, term: Term, voter: NodeId, candidate: NodeId) -> Result<(), Violation> {
        let first = *self.votes.entry((term, voter)).or_insert(candidate);
        if first != candidate {
            let detail = format!("{voter} voted for {first} and for {candidate} in {term}");
            return Err(Violation::new(PROPERTY, detail));
        }
        Ok(())
    }

    fn leader(&mut self, seen: Seen<'_>) -> Result<(), Violation> {
        let term = seen.node.raft().term();
        match self.leaders.get(&term) {
            Some(&leader) if leader == seen.id => return Ok(()),
            Some(leader) => {
                let detail = format!("{leader} and {} lead {term}", seen.id);
                return Err(Violation::new(PROPERTY, detail));
            }
            None => {}
        }
        self.leaders.insert(term, seen.id);
        self.vote(term, seen.id, seen.id)?;
        let membership = seen.node.raft().membership();
        for half in [&membership.voters, &membership.outgoing] {
            if !half.is_empty() && !self.has_quorum(term, seen.id, half) {
                let detail = format!("{} leads {term} without the votes of {half:?}", seen.id);
                return Err(Violation::new(PROPERTY, detail));
            }
        }
        Ok(())
    }

    fn has_quorum(&self, term: Term, candidate: NodeId, voters: &BTreeSet<NodeId>) -> bool {
        let votes = voters
            .iter()
            .filter(|&&voter| self.votes.get(&(term, voter)) == Some(&candidate));
        votes.count() > voters.len() / 2
    }
}
