//! Handing leadership over on purpose.
//!
//! The leader stops taking proposals, brings the chosen voter up to date and tells it to
//! campaign at once. Its voters let go of their promise to the old leader because the
//! request for votes carries the old leader's ticket. That makes the ticket dangerous: it
//! may be used at any time until somebody is in a newer term. So the lease is void from
//! the moment a transfer starts; if the target doesn't take over in time the ticket is
//! revoked with every message from then on, and only followers who answer such a message
//! count towards a new lease (trap 13).

use stdx::{Instant, LogIndex, NodeId};

use crate::config::Config;
use crate::error::TransferError;
use crate::event::{Event, RoleReason, TransferOutcome};
use crate::message::{Round, TimeoutNow, TransferTicket};
use crate::planted::planted;
use crate::raft::{Raft, Role};
use crate::replication::Leader;

/// The transfers of one leader in one term.
#[derive(Clone, Debug, Default)]
pub(crate) struct Transfers {
    /// Tickets given out; each has the next number.
    number: u32,
    revoked: u32,
    under_way: Option<Transfer>,
}

#[derive(Clone, Copy, Debug)]
struct Transfer {
    to: NodeId,
    deadline: Instant,
}

impl Transfers {
    pub(crate) fn blocks_lease(&self, config: &Config) -> bool {
        self.under_way.is_some() && !planted!(config, LeaseKeptOnTransfer)
    }
}

impl Leader {
    pub(crate) fn transfer_target(&self) -> Option<NodeId> {
        self.transfers.under_way.map(|transfer| transfer.to)
    }

    pub(crate) const fn tickets_revoked(&self) -> u32 {
        self.transfers.revoked
    }
}

impl Raft {
    /// Hands leadership over; `None` chooses the voter that lacks least among those that
    /// were heard lately.
    ///
    /// # Errors
    ///
    /// When it can't be started.
    pub fn transfer_leadership(
        &mut self,
        now: Instant,
        to: Option<NodeId>,
    ) -> Result<(), TransferError> {
        self.now = self.now.max(now);
        let hint = self.leader();
        let Role::Leader(leader) = &self.role else {
            return Err(TransferError::NotLeader { hint });
        };
        if let Some(to) = leader.transfer_target() {
            return Err(TransferError::InProgress { to });
        }
        // Only voters of the newest configuration: one on its way out can't stay.
        let to = match to {
            Some(to) if leader.peer(to).is_some_and(|peer| peer.seat.incoming) => to,
            Some(to) => return Err(TransferError::NotVoter { to }),
            None => self.best_successor().ok_or(TransferError::NoTarget)?,
        };
        self.start_transfer(to);
        Ok(())
    }

    fn best_successor(&self) -> Option<NodeId> {
        let Role::Leader(leader) = &self.role else {
            return None;
        };
        let lately = self.config.election_timeout_min;
        let heard = leader
            .peers
            .iter()
            .filter(|peer| peer.seat.incoming && self.now.since(peer.last_heard) < lately);
        heard
            .max_by_key(|peer| (peer.matched, core::cmp::Reverse(peer.id)))
            .map(|peer| peer.id)
    }

    fn start_transfer(&mut self, to: NodeId) {
        let deadline = self.now.after(self.config.election_timeout_max);
        let keep_lease = planted!(self.config, LeaseKeptOnTransfer);
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        leader.transfers.under_way = Some(Transfer { to, deadline });
        leader.transfers.number += 1;
        let held = leader.lease_until > Instant::EPOCH;
        if !keep_lease {
            leader.void_lease();
            leader.inherit_until = Instant::EPOCH;
        }
        if held && !keep_lease {
            self.emit(Event::LeaseChanged { until: None });
        }
        self.continue_transfer(to);
    }

    /// Tells the target to campaign if it has everything.
    pub(crate) fn continue_transfer(&mut self, from: NodeId) {
        let last = self.log.last_index();
        let Role::Leader(leader) = &self.role else {
            return;
        };
        let ready = leader.transfer_target() == Some(from)
            && leader.peer(from).is_some_and(|peer| peer.matched == last);
        if ready {
            let number = leader.transfers.number;
            // Whoever was before this leader has no lease: it has committed something. Nothing is
            // said where there is nothing to wait for, so that nodes without leases understand it.
            let leases = !self.longest_lease().is_zero();
            let void_at = if leases && self.commit >= leader.term_start {
                last
            } else {
                LogIndex::ZERO
            };
            self.outbox.send(
                from,
                TimeoutNow {
                    term: self.hard_state.term,
                    number,
                    void_at,
                },
            );
        }
    }

    /// Gives up a transfer that takes too long; asks again where the request may be lost.
    pub(crate) fn tick_transfer(&mut self) {
        let Role::Leader(leader) = &self.role else {
            return;
        };
        let Some(transfer) = leader.transfers.under_way else {
            return;
        };
        let incoming = leader
            .peer(transfer.to)
            .is_some_and(|peer| peer.seat.incoming);
        if self.now < transfer.deadline && incoming {
            self.continue_transfer(transfer.to);
            return;
        }
        let outcome = if incoming {
            TransferOutcome::TimedOut
        } else {
            TransferOutcome::TargetRemoved
        };
        self.abort_transfer(outcome);
        if self.disk_stalled {
            self.become_follower(self.hard_state.term, None, RoleReason::DiskStalled);
        } else if self.is_leader_removed() {
            self.become_follower(self.hard_state.term, None, RoleReason::Removed);
        }
    }

    fn abort_transfer(&mut self, outcome: TransferOutcome) {
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        let Some(transfer) = leader.transfers.under_way.take() else {
            return;
        };
        leader.transfers.revoked = leader.transfers.number;
        // A lease in the log begins anew with what is appended from now on: whoever still
        // uses the ticket has a log that ends before.
        if !planted!(self.config, LeaseKeptOnTransfer) {
            leader.log_lease.void();
        }
        // Messages of the current round may have left without the revocation.
        leader.lease_from = Round(leader.rounds.current().0 + 1);
        leader.dirty = true;
        self.emit(Event::TransferEnded {
            to: transfer.to,
            outcome,
        });
    }

    pub(crate) fn end_transfer_by_stepping_down(&mut self, leader: &Leader) {
        if let Some(transfer) = leader.transfers.under_way {
            let outcome = TransferOutcome::SteppedDown;
            self.emit(Event::TransferEnded {
                to: transfer.to,
                outcome,
            });
        }
    }

    pub(crate) fn on_timeout_now(&mut self, from: NodeId, request: TimeoutNow) {
        // A request that was delayed into another term is nobody's wish any more.
        if request.term != self.hard_state.term || self.leader() != Some(from) {
            return;
        }
        if !self.may_campaign() || self.is_leader() {
            return;
        }
        let here = request.void_at == self.log.last_index();
        let ticket = TransferTicket {
            term: request.term,
            number: request.number,
            void: request.void_at > LogIndex::ZERO
                && (here || planted!(self.config, VoidLeaseAnywhere)),
        };
        self.become_candidate(Some(ticket), RoleReason::TransferReceived);
    }
}
