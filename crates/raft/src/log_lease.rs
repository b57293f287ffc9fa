//! The log is the lease (Davis, Demirbas and Deng, "`LeaseGuard`: Raft Leases Done Right", 2025),
//! with clocks that only need to run at about the right rate.
//!
//! A leader may serve reads for the lease's length after it *appended* its newest committed
//! entry. A new leader takes writes and replicates them, and commits nothing until every lease
//! that an entry in its log can stand for is over.
//!
//! Why nobody reads stale. Let L serve by an entry e that it appended and that is committed, and
//! let N lead a later term.
//! * N's log holds e, because e is committed (leader completeness). N got e after L appended
//!   it, or N was started after that. So N's [`Raft::appended_at`] comes after it, by N's own
//!   clock, which N may compare with N's own present.
//! * N commits when the whole length has passed since then on N's clock. L stops when the
//!   length, shortened by the drift of two clocks, has passed since e was appended on L's. L
//!   began earlier and counts less, so it stops first.
//! * What N commits before L stops: nothing. So what L has applied is current.
//!
//! No message, no vote and no clock of another node is involved. A disk that hangs, or a
//! leader that is cut off, commits nothing and so renews nothing.
//!
//! Until N may commit, it serves *inherited* reads. Everything that anybody was ever told is
//! committed is in N's log: before what N knows to be committed, or in limbo after it. A read
//! that touches nothing in limbo is right as long as no other leader M commits anything.
//! M needs the vote of somebody who voted for N, after N asked for it, and that voter tells M
//! how long N said it would serve (`old_lease.rs`). So N serves that long, counted from when it
//! began to ask.
//!
//! A leader that hands over has nothing to be waited for. It stops serving, then tells the target
//! where its log ends. If it goes on leading after all, it serves only by entries that it appended
//! later. If one of these is committed, a target that doesn't have it can't win; if a target
//! has it, its log doesn't end where it was told, and it waits like anybody else.

use std::collections::VecDeque;

use stdx::{Instant, LogIndex};

use crate::entry::Payload;
use crate::limits::{LEASE_MARKS_MAX, LEASE_RENEWAL_PART};
use crate::message::LeaseClaim;
use crate::planted::planted;
use crate::policy::{LeaseClock, LeasePolicy};
use crate::raft::{Raft, Role};
use crate::true_time::TrueTime;

/// When a leader appended what it appended.
#[derive(Clone, Debug, Default)]
pub(crate) struct LogLease {
    /// Entries that aren't known to be committed, oldest first; some are left out.
    marks: VecDeque<Mark>,
    /// The newest that is.
    committed: Option<Mark>,
    /// The newest of all.
    newest: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Mark {
    index: LogIndex,
    at: Instant,
    /// A true time before which it wasn't appended.
    true_from: Option<u64>,
}

impl LogLease {
    pub(crate) fn appended(&mut self, index: LogIndex, at: Instant, bounds: Option<TrueTime>) {
        self.newest = at;
        if self.marks.back().is_some_and(|mark| mark.at == at) {
            // The first of them will be committed first.
            return;
        }
        if self.marks.len() >= LEASE_MARKS_MAX {
            // Every other one: what is left is still true.
            let mut keep = false;
            self.marks.retain(|_| {
                keep = !keep;
                keep
            });
        }
        self.marks.push_back(Mark {
            index,
            at,
            true_from: bounds.map(|bounds| bounds.earliest),
        });
    }

    fn commit(&mut self, through: LogIndex) {
        while let Some(mark) = self.marks.pop_front_if(|mark| mark.index <= through) {
            self.committed = Some(mark);
        }
    }

    /// Nothing that was appended until now counts any more.
    pub(crate) fn void(&mut self) {
        self.marks.clear();
        self.committed = None;
    }
}

impl Raft {
    /// The log grew by entries that somebody appended before now, and by a true time if that
    /// isn't zero.
    pub(crate) fn note_appended(&mut self, by: u64) {
        self.appended_at = self.now;
        self.appended_by = (by != 0).then_some(by);
    }

    /// Until when the newest committed entry lets this leader serve.
    pub(crate) fn log_lease_until(&self, policy: LeasePolicy) -> Instant {
        let (Some(leader), LeasePolicy::Log(lease, clock)) = (self.leading(), policy) else {
            return Instant::EPOCH;
        };
        let Some(mark) = leader.log_lease.committed else {
            return Instant::EPOCH;
        };
        let by_drift = mark.at.after(lease.shortened(lease.duration));
        if clock == LeaseClock::Drift {
            return by_drift;
        }
        mark.true_from
            .and_then(|from| self.true_clock.within(from, lease.duration, self.now))
            .map_or(Instant::EPOCH, |by_interval| by_interval.min(by_drift))
    }

    /// Until when a leader may serve inherited reads that it claimed when it asked for votes.
    pub(crate) fn inherited_until(&self, began: Instant, claim: LeaseClaim) -> Instant {
        let LeasePolicy::Log(lease, _) = self.settled_policy() else {
            return Instant::EPOCH;
        };
        if claim.inherit.is_zero() {
            return Instant::EPOCH;
        }
        began.after(lease.shortened(claim.inherit))
    }

    /// A leader committed more: a policy may be settled now, and the lease is longer.
    pub(crate) fn log_lease_committed(&mut self, through: LogIndex) {
        let (now, from_receipt) = (self.now, planted!(self.config, LeaseFromReceipt));
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        leader.log_lease.commit(through);
        if from_receipt && let Some(mark) = &mut leader.log_lease.committed {
            mark.at = now;
        }
        self.refresh_lease_mode();
    }

    /// Appends an entry for the lease's sake when the newest is old.
    pub(crate) fn renew_log_lease(&mut self) {
        let (Some(leader), LeasePolicy::Log(lease, _)) = (self.leading(), self.lease_policy())
        else {
            return;
        };
        let age = self.now.since(leader.log_lease.newest);
        let due = age >= lease.duration / LEASE_RENEWAL_PART;
        if due && leader.transfer_target().is_none() && !self.disk_stalled {
            self.append_own(Payload::Noop);
        }
    }
}
