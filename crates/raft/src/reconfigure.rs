//! When members may change, and what a change does to a leader.
//!
//! Members are in effect from the moment they are appended. Three rules keep two majorities
//! that don't overlap from ever existing: a leader starts a change only once it committed an
//! entry of its own term (or it might not know of a change it is about to overtake: Ongaro's
//! bug of 2015, trap 3); only when the last change is committed and left; and a change of
//! voters goes through a joint configuration, which the leader leaves by itself.

use std::sync::Arc;

use stdx::{Instant, LogIndex};

use crate::entry::Payload;
use crate::error::MembershipError;
use crate::event::{Event, RoleReason};
use crate::membership::{Membership, MembershipChange};
use crate::message::Session;
use crate::planted::planted;
use crate::progress::{Flow, Peer, Seat};
use crate::raft::{Proposed, Raft, Role};

impl Raft {
    /// Starts a change of members, if this node leads. A change of voters is through when
    /// a second entry, appended by the leader itself, is committed: see
    /// [`Event::MembershipCommitted`].
    ///
    /// # Errors
    ///
    /// When the change isn't allowed now, or never. Nothing happened.
    pub fn propose_membership(
        &mut self,
        now: Instant,
        change: &MembershipChange,
    ) -> Result<Proposed, MembershipError> {
        self.now = self.now.max(now);
        let hint = self.leader();
        let Role::Leader(leader) = &self.role else {
            return Err(MembershipError::NotLeader { hint });
        };
        if let Some(to) = leader.transfer_target() {
            return Err(MembershipError::Transferring { to });
        }
        let own_term = self.commit >= leader.term_start;
        if !own_term && !planted!(self.config, ChangeBeforeOwnTerm) {
            return Err(MembershipError::TermNotCommitted);
        }
        let under_way =
            self.memberships.current().is_joint() || self.memberships.index() > self.commit;
        if under_way && !planted!(self.config, TwoChangesAtOnce) {
            return Err(MembershipError::InProgress);
        }
        let next = self.memberships.current().apply(change)?;
        if let MembershipChange::Promote(id) = change {
            let lag_max = self.config.promote_lag_max;
            let matched = leader.peer(*id).map_or(LogIndex::ZERO, |peer| peer.matched);
            let lag = self.log.last_index().distance_from(matched);
            if lag > lag_max {
                return Err(MembershipError::LearnerBehind {
                    id: *id,
                    lag,
                    lag_max,
                });
            }
        }
        Ok(self.append_own(Payload::Membership(Arc::new(next))))
    }

    /// Members that were appended are in effect at once.
    pub(crate) fn adopt_membership(&mut self, index: LogIndex, membership: Arc<Membership>) {
        self.memberships.push(index, Arc::clone(&membership));
        self.emit(Event::MembershipChanged { index, membership });
        self.seat_peers();
        self.refresh_lease_mode();
    }

    /// Makes a leader's followers those of the members in effect.
    pub(crate) fn seat_peers(&mut self) {
        let members = Arc::clone(self.memberships.current());
        let seat = |id| Seat {
            incoming: members.voters.contains(&id),
            outgoing: members.outgoing.contains(&id),
        };
        let next = self.log.last_index().next();
        let index = self.memberships.index();
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        // Whoever was here when the term began belongs to it; whoever comes later belongs
        // to the entry that added it.
        let session = Session(index.max(leader.term_start).get());
        let mut old = core::mem::take(&mut leader.peers);
        leader.seat = seat(self.id);
        leader.dirty = true;
        for id in members.members() {
            if id == self.id {
                continue;
            }
            let mut peer = match old.iter().position(|peer| peer.id == id) {
                Some(at) => old.remove(at),
                None => Peer::new(
                    id,
                    session,
                    next.min(index.max(leader.term_start)),
                    self.now,
                ),
            };
            peer.seat = seat(id);
            leader.peers.push(peer);
        }
        for peer in old {
            self.release_snapshot(peer.id, &peer.flow);
        }
    }

    /// What a leader does about members when more is committed.
    pub(crate) fn after_commit(&mut self) {
        let Role::Leader(leader) = &self.role else {
            return;
        };
        let settled = self.memberships.index() <= self.commit && self.commit >= leader.term_start;
        let members = self.memberships.current();
        if settled && members.is_joint() {
            let next = Arc::new(members.leave_joint());
            self.append_own(Payload::Membership(next));
        } else if self.is_leader_removed() && leader.transfer_target().is_none() {
            // Hands over first: the group needn't notice.
            if self.transfer_leadership(self.now, None).is_err() {
                self.become_follower(self.hard_state.term, None, RoleReason::Removed);
            }
        }
    }

    /// Whether this leader took itself out, and that is committed.
    pub(crate) fn is_leader_removed(&self) -> bool {
        self.is_leader()
            && self.memberships.index() <= self.commit
            && !self.memberships.current().is_voter(self.id)
    }

    pub(crate) fn release_snapshot(&mut self, to: stdx::NodeId, flow: &Flow) {
        if let Flow::Snapshot(sending) = flow
            && let Some((snapshot, _)) = &sending.snapshot
        {
            let snapshot = *snapshot;
            self.snapshot_actions
                .push_back(crate::SnapshotAction::Release { to, snapshot });
        }
    }
}
