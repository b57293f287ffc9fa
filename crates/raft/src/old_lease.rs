//! What a node knows of leases that leaders before the next one may still have, and how a
//! new leader learns how long to wait.
//!
//! Two things bind a successor besides the entries in its own log:
//!
//! * In [`LeasePolicy::WaitOut`] a follower that hears a leader notes how long that leader may
//!   count on it.
//! * In [`LeasePolicy::Log`] a candidate says how long it would serve reads before it commits
//!   anything ([`LeaseClaim::inherit`]); whoever votes for it notes that.
//!
//! Both are noted as one moment on the node's own clock, the latest of all that it was ever
//! told: of three leaders in quick succession the third must wait for the first, too (trap 14).
//! Every vote carries what is left of it. A majority voted for the earlier leader and a majority
//! votes for the later one, so somebody tells. What is sent is a span, and it is counted
//! again from when it arrives: no two clocks are ever compared, and delays only prolong.
//!
//! A restart forgets what was noted. Until the longest lease that the candidate knows of
//! could have passed since the start, the vote says so instead (trap 11).

use core::time::Duration;

use stdx::{Instant, NodeId, Term};

use crate::config::Config;
use crate::election::Candidate;
use crate::limits::LEASE_MAX;
use crate::message::{LeaseClaim, LeaseGrant, TransferTicket};
use crate::planted::planted;
use crate::policy::{LeaseClock, LeasePolicy};
use crate::raft::{Raft, Role};

/// The latest end of a lease that this node was told of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OldLeases {
    until: Instant,
    /// No lease that counts here is of a later leader or candidate.
    term: Term,
    /// When this process started: what was noted before is forgotten. `None` for a node that
    /// never was part of anything.
    started: Option<Instant>,
}

impl OldLeases {
    pub(crate) fn at_start(config: &Config, now: Instant, fresh: bool, term: Term) -> Self {
        let forgets_nothing = fresh || planted!(config, OldLeaseForgotten);
        Self {
            until: Instant::EPOCH,
            term,
            started: (!forgets_nothing).then_some(now),
        }
    }

    fn note(&mut self, until: Instant, term: Term) {
        self.until = self.until.max(until);
        self.term = self.term.max(term);
    }

    /// What may be left. `longest` is the longest lease that somebody knows of.
    fn remaining(&self, now: Instant, longest: Duration) -> Duration {
        let forgotten = self
            .started
            .map_or(Duration::ZERO, |started| started.after(longest).since(now));
        self.until.since(now).max(forgotten)
    }

    fn may_have_forgotten(&self, now: Instant, longest: Duration) -> bool {
        self.started
            .is_some_and(|started| now < started.after(longest))
    }
}

impl Raft {
    /// The policies that leaders which this node may follow know: the one in effect where the
    /// log is committed, and those after it.
    fn policies(&self) -> impl Iterator<Item = LeasePolicy> {
        let (commit, last) = (self.commit, self.log.last_index());
        let before = self.memberships.at(commit).lease;
        let after = self.memberships.between(commit, last);
        core::iter::once(before).chain(after.map(|(_, membership)| membership.lease))
    }

    /// What reads may be served by at a leader: safe whichever of its policies a successor
    /// knows.
    pub(crate) fn settled_policy(&self) -> LeasePolicy {
        let newest = self.memberships.current().lease;
        self.policies().fold(newest, LeasePolicy::both)
    }

    /// The longest lease that anybody may have under any of them.
    pub(crate) fn longest_lease(&self) -> Duration {
        let longest = self.policies().map(LeasePolicy::longest).max();
        self.own_length(longest.unwrap_or_default())
    }

    /// A lease's length as this node believes it to be; it believes what the group says.
    fn own_length(&self, length: Duration) -> Duration {
        if planted!(self.config, MixedLeaseLengths) {
            return length / u32::try_from(self.id.get()).unwrap_or(1).max(1);
        }
        length
    }

    /// A leader said that it counts on this node for a while.
    pub(crate) fn note_grant(&mut self, term: Term, grant: LeaseGrant) {
        if planted!(self.config, OldLeaseOneDeep) && term > self.old.term {
            self.old.until = Instant::EPOCH;
            self.old.term = term;
        }
        if !grant.duration.is_zero() {
            let until = self
                .now
                .after(self.own_length(grant.duration).min(LEASE_MAX));
            self.old.note(until, term);
        }
    }

    /// What a vote says about old leases; the candidate's own claim is noted after.
    pub(crate) fn vote_lease(
        &mut self,
        term: Term,
        claim: LeaseClaim,
        ticket: Option<TransferTicket>,
    ) -> Duration {
        let remaining = self.old_lease(claim.longest.min(LEASE_MAX), ticket);
        if !claim.inherit.is_zero() {
            let until = self.now.after(claim.inherit.min(LEASE_MAX));
            self.old.note(until, term);
        }
        remaining
    }

    /// What may be left of old leases, as far as this node was told.
    fn old_lease(&self, longest: Duration, ticket: Option<TransferTicket>) -> Duration {
        let longest = self.own_length(longest).max(self.longest_lease());
        let void = ticket.is_some_and(|ticket| {
            // Everything that may be noted or forgotten here is of the leader that gave its
            // lease up, or of one before it, whose lease it has waited out.
            ticket.void
                && ticket.term >= self.old.term
                && self.permits(ticket)
                // A restart forgets, too, which tickets were taken back. In the log that does
                // not matter: the ticket names the end of a log that can't win any more then.
                && (!self.old.may_have_forgotten(self.now, longest) || self.leases_in_log())
        });
        if void {
            return Duration::ZERO;
        }
        self.old.remaining(self.now, longest)
    }

    fn leases_in_log(&self) -> bool {
        self.policies()
            .all(|policy| matches!(policy, LeasePolicy::Log(..)))
    }

    /// What a candidate says about leases. To be asked when the campaign begins.
    pub(crate) fn lease_claim(&self, void: bool) -> LeaseClaim {
        let longest = self.longest_lease();
        let LeasePolicy::Log(lease, _) = self.settled_policy() else {
            return LeaseClaim {
                longest,
                inherit: Duration::ZERO,
            };
        };
        // As long as it might have to wait; nobody after it has to wait for longer.
        let own = self.old.remaining(self.now, longest);
        let wait = self.log_lease_end().since(self.now).max(own);
        let inherit = if void {
            Duration::ZERO
        } else {
            wait.min(lease.duration)
        };
        LeaseClaim { longest, inherit }
    }

    /// When leases that entries in this log stand for are over: each was appended before it
    /// came here.
    fn log_lease_end(&self) -> Instant {
        let mut longest = Duration::ZERO;
        let mut bounded = true;
        for policy in self.policies() {
            if let LeasePolicy::Log(lease, clock) = policy {
                longest = longest.max(self.own_length(lease.duration));
                bounded &= clock == LeaseClock::Interval;
            } else if !matches!(policy, LeasePolicy::Promised | LeasePolicy::Off) {
                bounded = false;
            }
        }
        if longest.is_zero() {
            return Instant::EPOCH;
        }
        let by_drift = self.appended_at.after(longest);
        if !bounded {
            return by_drift;
        }
        // Nobody holds a lease longer than either clock says.
        self.appended_by
            .and_then(|by| self.true_clock.passes(by, longest, self.now))
            .map_or(by_drift, |by_interval| by_drift.min(by_interval))
    }

    /// When a leader that was just elected may commit; a moment in the past or now if at once.
    pub(crate) fn old_leases_end(&self, candidate: &Candidate) -> Instant {
        let longest = self.longest_lease();
        let own = self.now.after(self.old_lease(longest, candidate.ticket));
        let told = candidate.old_lease_until.max(own);
        if candidate.void() {
            told
        } else {
            told.max(self.log_lease_end())
        }
    }

    /// A voter told a candidate what is left of old leases.
    pub(crate) fn hear_old_lease(&mut self, from: NodeId, remaining: Duration) {
        let until = self.now.after(remaining.min(LEASE_MAX));
        if let Role::Candidate(candidate) = &mut self.role
            && !remaining.is_zero()
            && !candidate.votes.iter().any(|&(id, _)| id == from)
        {
            candidate.old_lease_until = candidate.old_lease_until.max(until);
        }
    }

    /// Nothing that was measured until now is worth anything: everything that others may have
    /// begins now, at the latest.
    pub(crate) fn forget_old_times(&mut self) {
        let longest = self.longest_lease();
        let until = self.now.after(longest);
        self.old.until = self.old.until.max(until);
        if self.old.started.is_some() {
            self.old.started = Some(self.now);
        }
        self.appended_at = self.now;
        self.appended_by = None;
    }
}
