//! What must hold, one file per property.
//!
//! Each checker sees every node right after it handled an input: its core, its disk and
//! what it put out. They use the world's omniscience where a real node could not.

mod election_safety;
mod leader_completeness;
mod linearizable;
mod log_matching;
mod membership;
mod reads;
mod replication;
mod state_machine_safety;

use sim::Violation;
use stdx::{LogIndex, NodeId};

use crate::node::{Outputs, RaftNode};

pub use linearizable::check_history;
pub use membership::ChangeCheck;
pub use reads::ReadCheck;
pub use state_machine_safety::AppliedEntry;

/// All nodes that run, with their cores; what a checker may look at.
pub trait Nodes {
    /// A node that runs or is paused.
    fn node(&self, id: NodeId) -> Option<&RaftNode>;
}

/// One node right after it handled an input.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Which node.
    pub id: NodeId,
    /// Its driver and core.
    pub node: &'a RaftNode,
    /// What it put out.
    pub outputs: &'a Outputs,
}

/// The checkers that look after every step.
#[derive(Debug, Default)]
pub struct Checkers {
    election_safety: election_safety::ElectionSafety,
    log_matching: log_matching::LogMatching,
    leader_completeness: leader_completeness::LeaderCompleteness,
    state_machine_safety: state_machine_safety::StateMachineSafety,
    replication: replication::Replication,
    membership: membership::MembershipSteps,
}

impl Checkers {
    /// Looks at a node.
    ///
    /// # Errors
    ///
    /// The first property that doesn't hold.
    pub fn observe(&mut self, seen: Seen<'_>, nodes: &impl Nodes) -> Result<(), Violation> {
        self.election_safety.observe(seen)?;
        self.log_matching.observe(seen)?;
        self.state_machine_safety.observe(seen)?;
        self.leader_completeness.observe(seen)?;
        self.replication.observe(seen, nodes)?;
        self.membership.observe(seen)
    }

    /// A node's process ended: what was remembered of it for comparing ends too. Says
    /// whether there was anything.
    pub fn forget(&mut self, id: NodeId) -> bool {
        self.state_machine_safety.forget(id);
        self.replication.forget(id)
    }

    /// What was applied at an index, by whichever node was first.
    #[must_use]
    pub fn applied(&self, index: LogIndex) -> Option<&AppliedEntry> {
        self.state_machine_safety.applied(index)
    }

    /// The last index that any node applied.
    #[must_use]
    pub fn last_applied(&self) -> LogIndex {
        self.state_machine_safety.last_applied()
    }
}
