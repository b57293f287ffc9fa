//! What is true of every node at every moment.
//!
//! Each of these has a reason in the paper or in a bug of somebody's implementation. They
//! are cheap (no walk over the log), so tests and simulations look after every input.

use stdx::{Instant, Term};

use crate::planted::planted;
use crate::policy::LeasePolicy;
use crate::raft::{Raft, Role};

impl Raft {
    /// Panics if this node's state contradicts itself; for tests and simulations.
    ///
    /// # Panics
    ///
    /// When it does: that is a bug here, or a driver that broke the contract.
    pub fn check_invariants(&self) {
        self.log.check_invariants();
        self.persister.check_invariants(&self.log);
        assert!(
            self.log.base().index <= self.applied,
            "what is compacted was applied"
        );
        assert!(
            self.applied <= self.handed,
            "what was applied was handed out"
        );
        assert!(
            self.handed <= self.commit,
            "what was handed out is committed"
        );
        assert!(
            self.commit <= self.log.last_index(),
            "what is committed is in the log"
        );
        assert!(
            self.log.last_term() <= self.hard_state.term,
            "no entry is of a later term"
        );
        assert!(
            self.memberships.index() <= self.log.last_index(),
            "members come from the log"
        );
        if self.hard_state.term == Term::ZERO {
            assert!(
                self.hard_state.vote.is_none(),
                "nobody votes before the first term"
            );
        }
        match &self.role {
            Role::Follower(follower) => {
                assert_ne!(
                    follower.leader,
                    Some(self.id),
                    "a follower follows somebody else"
                );
                if follower.leader.is_some() {
                    assert!(
                        self.commit >= self.log.base().index,
                        "a follower commits no less than its base"
                    );
                }
            }
            Role::PreCandidate(_) => {}
            Role::Candidate(_) => {
                assert_eq!(
                    self.hard_state.vote,
                    Some(self.id),
                    "a candidate votes for itself"
                );
            }
            Role::Leader(_) => self.check_leader_invariants(),
        }
    }

    fn check_leader_invariants(&self) {
        let Role::Leader(leader) = &self.role else {
            return;
        };
        let last = self.log.last_index();
        let term = self.hard_state.term;
        assert_eq!(
            self.hard_state.vote,
            Some(self.id),
            "a leader voted for itself"
        );
        assert!(
            leader.term_start <= last,
            "a leader's first entry is in its log"
        );
        assert_eq!(
            self.log.last_term(),
            term,
            "a leader's log ends in its term"
        );
        let members = self.memberships.current();
        let followers = members.members().len() - usize::from(members.contains(self.id));
        assert_eq!(
            leader.peers.len(),
            followers,
            "every other member is a follower"
        );
        for pair in leader.peers.windows(2) {
            assert!(pair[0].id < pair[1].id, "followers are in order");
        }
        for peer in &leader.peers {
            peer.check_invariants(last);
            assert_eq!(
                (peer.seat.incoming, peer.seat.outgoing),
                (
                    members.voters.contains(&peer.id),
                    members.outgoing.contains(&peer.id)
                ),
                "votes count as the members say"
            );
        }
        if leader.transfer_target().is_some() {
            assert_eq!(
                leader.lease_until,
                Instant::EPOCH,
                "a lease is void during a transfer"
            );
        }
        let promised = self.settled_policy() == LeasePolicy::Promised;
        if self.settled_policy() == LeasePolicy::Off || (promised && self.config.lease.is_none()) {
            assert_eq!(
                leader.lease_until,
                Instant::EPOCH,
                "no lease where there is none to be had"
            );
        }
        if self.commit >= leader.term_start {
            assert!(
                self.now >= leader.commit_from || planted!(self.config, CommitNotDeferred),
                "nothing is committed while an earlier leader may have a lease"
            );
        }
    }
}
