//! Who belongs to the group, and the only steps by which that may change.
//!
//! A change of voters goes through a *joint* configuration (paper, section 6): from
//! the moment it is appended, every decision needs a majority of the old voters and
//! one of the new. Picture two clubs that must both approve until the handover is in
//! the minutes. Learners get entries and have no say, so adding or removing them
//! needs no joint step.
//!
//! This file is the pure part: sets, and which set may follow which. When a change
//! may be proposed is `reconfigure.rs`.

use std::collections::BTreeSet;

use stdx::NodeId;

use crate::limits::MEMBERS_MAX;
use crate::policy::{LeasePolicy, LeasePolicyError};

/// The members of a group at one position of its log, and how its leaders serve reads.
///
/// The lease policy lives here because it needs the same care: in effect from when it is
/// appended, gone when truncated, kept beside snapshots, changed one step at a time.
///
/// Joint when `outgoing` isn't empty. A node may be in `outgoing` and in `learners`
/// at once: that is a voter on its way to becoming a learner.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Membership {
    /// Who votes; the incoming half of a joint configuration.
    pub voters: BTreeSet<NodeId>,
    /// The outgoing half of a joint configuration; else empty.
    pub outgoing: BTreeSet<NodeId>,
    /// Who gets entries without a vote.
    pub learners: BTreeSet<NodeId>,
    /// How linearizable reads without a round trip are made possible.
    pub lease: LeasePolicy,
}

impl Membership {
    /// A group of voters only.
    #[must_use]
    pub fn of_voters(voters: impl IntoIterator<Item = NodeId>) -> Self {
        Self {
            voters: voters.into_iter().collect(),
            ..Self::default()
        }
    }

    /// The same members under another lease policy.
    #[must_use]
    pub fn with_lease(self, lease: LeasePolicy) -> Self {
        Self { lease, ..self }
    }

    /// Whether decisions need two majorities.
    #[must_use]
    pub fn is_joint(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Whether the node's vote counts, in either half.
    #[must_use]
    pub fn is_voter(&self, id: NodeId) -> bool {
        self.voters.contains(&id) || self.outgoing.contains(&id)
    }

    /// Whether the node belongs to the group at all.
    #[must_use]
    pub fn contains(&self, id: NodeId) -> bool {
        self.is_voter(id) || self.learners.contains(&id)
    }

    /// Every member once, in order.
    #[must_use]
    pub fn members(&self) -> BTreeSet<NodeId> {
        let mut members = self.voters.clone();
        members.extend(&self.outgoing);
        members.extend(&self.learners);
        members
    }

    /// What follows a joint configuration once it is committed.
    #[must_use]
    pub fn leave_joint(&self) -> Self {
        Self {
            voters: self.voters.clone(),
            outgoing: BTreeSet::new(),
            learners: self.learners.clone(),
            lease: self.lease,
        }
    }

    /// The configuration to append for a change: joint if the voters differ.
    ///
    /// # Errors
    ///
    /// When the change makes no sense for these members; nothing happened.
    pub fn apply(&self, change: &MembershipChange) -> Result<Self, ChangeError> {
        let mut next = self.leave_joint();
        match change {
            MembershipChange::AddLearner(id) => {
                if self.contains(*id) {
                    return Err(ChangeError::AlreadyMember { id: *id });
                }
                next.learners.insert(*id);
            }
            MembershipChange::Promote(id) => {
                if !next.learners.remove(id) {
                    return Err(ChangeError::NotLearner { id: *id });
                }
                next.voters.insert(*id);
            }
            MembershipChange::Demote(id) => {
                if !next.voters.remove(id) {
                    return Err(ChangeError::NotVoter { id: *id });
                }
                next.learners.insert(*id);
            }
            MembershipChange::Remove(id) => {
                if !self.contains(*id) {
                    return Err(ChangeError::NotMember { id: *id });
                }
                next.voters.remove(id);
                next.learners.remove(id);
            }
            MembershipChange::Replace { voters, learners } => {
                next.voters.clone_from(voters);
                next.learners = learners.difference(voters).copied().collect();
            }
            MembershipChange::Lease(policy) => {
                policy.validate()?;
                next.lease = *policy;
            }
        }
        next.check_shape()?;
        if next == *self {
            return Err(ChangeError::Unchanged);
        }
        if next.voters != self.voters {
            next.outgoing.clone_from(&self.voters);
        }
        Ok(next)
    }

    /// Whether the sets are ones a group can live with.
    fn check_shape(&self) -> Result<(), ChangeError> {
        if self.voters.is_empty() {
            return Err(ChangeError::NoVoters);
        }
        if self.contains(NodeId::ZERO) {
            return Err(ChangeError::ZeroId);
        }
        let count = self.members().len();
        if count > MEMBERS_MAX / 2 {
            let count_max = MEMBERS_MAX / 2;
            return Err(ChangeError::TooMany { count, count_max });
        }
        Ok(())
    }
}

/// A wish to change the members.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum MembershipChange {
    /// Send entries to a new node; it gets no vote yet.
    AddLearner(NodeId),
    /// Give a learner that has caught up a vote.
    Promote(NodeId),
    /// Take a voter's vote, and go on sending it entries.
    Demote(NodeId),
    /// Take a node out altogether.
    Remove(NodeId),
    /// Put these members in place, in one joint step.
    Replace {
        /// The voters.
        voters: BTreeSet<NodeId>,
        /// The learners.
        learners: BTreeSet<NodeId>,
    },
    /// Serve reads another way from now on; the members stay.
    Lease(LeasePolicy),
}

/// Why a change makes no sense for the members there are.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ChangeError {
    /// It is a member already.
    #[error("{id} is a member already")]
    AlreadyMember {
        /// The node.
        id: NodeId,
    },
    /// Only learners can be promoted.
    #[error("{id} is not a learner")]
    NotLearner {
        /// The node.
        id: NodeId,
    },
    /// Only voters can be demoted.
    #[error("{id} is not a voter")]
    NotVoter {
        /// The node.
        id: NodeId,
    },
    /// It isn't a member.
    #[error("{id} is not a member")]
    NotMember {
        /// The node.
        id: NodeId,
    },
    /// Nobody would be left to vote.
    #[error("a group needs at least one voter")]
    NoVoters,
    /// Zero is no node.
    #[error("node id 0 is reserved")]
    ZeroId,
    /// Too many members.
    #[error("{count} members are more than the {count_max} a group may have")]
    TooMany {
        /// How many there would be.
        count: usize,
        /// How many there may be.
        count_max: usize,
    },
    /// Nothing would change.
    #[error("nothing would change")]
    Unchanged,
    /// A lease that no group should have.
    #[error(transparent)]
    Lease(#[from] LeasePolicyError),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(ids: &[u64]) -> BTreeSet<NodeId> {
        ids.iter().copied().map(NodeId::new).collect()
    }

    fn three() -> Membership {
        Membership::of_voters(ids(&[1, 2, 3]))
    }

    #[test]
    fn learners_come_and_go_without_a_joint_step() {
        let n4 = NodeId::new(4);
        let with = three().apply(&MembershipChange::AddLearner(n4)).unwrap();
        assert!(!with.is_joint());
        assert!(with.contains(n4));
        assert!(!with.is_voter(n4));
        let without = with.apply(&MembershipChange::Remove(n4)).unwrap();
        assert_eq!(without, three());
    }

    #[test]
    fn a_change_of_voters_is_joint_until_left() {
        let n4 = NodeId::new(4);
        let learner = three().apply(&MembershipChange::AddLearner(n4)).unwrap();
        let joint = learner.apply(&MembershipChange::Promote(n4)).unwrap();
        assert_eq!(joint.voters, ids(&[1, 2, 3, 4]));
        assert_eq!(joint.outgoing, ids(&[1, 2, 3]));
        assert!(joint.learners.is_empty());
        assert_eq!(
            joint.leave_joint(),
            Membership::of_voters(ids(&[1, 2, 3, 4]))
        );
    }

    #[test]
    fn a_demoted_voter_keeps_its_old_vote_until_the_joint_state_ends() {
        let n3 = NodeId::new(3);
        let joint = three().apply(&MembershipChange::Demote(n3)).unwrap();
        assert!(joint.is_voter(n3));
        assert!(!joint.leave_joint().is_voter(n3));
        assert!(joint.leave_joint().contains(n3));
    }

    #[test]
    fn nonsense_is_refused() {
        let n1 = NodeId::new(1);
        let one = Membership::of_voters(ids(&[1]));
        for (change, error) in [
            (
                MembershipChange::AddLearner(n1),
                ChangeError::AlreadyMember { id: n1 },
            ),
            (
                MembershipChange::Promote(n1),
                ChangeError::NotLearner { id: n1 },
            ),
            (MembershipChange::Remove(n1), ChangeError::NoVoters),
            (MembershipChange::Demote(n1), ChangeError::NoVoters),
            (
                MembershipChange::AddLearner(NodeId::ZERO),
                ChangeError::ZeroId,
            ),
            (
                MembershipChange::Replace {
                    voters: ids(&[1]),
                    learners: ids(&[1]),
                },
                ChangeError::Unchanged,
            ),
        ] {
            assert_eq!(one.apply(&change), Err(error), "{change:?}");
        }
    }
}
