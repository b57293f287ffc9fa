//! Who may answer reads alone, and who promised to keep still meanwhile.
//!
//! Two sides of one deal (thesis, section 6.4.1). A follower that hears its leader
//! promises not to vote for anybody else for a while, counted from the moment it heard.
//! The leader counts the same while, a little shortened, from the moment it *sent* what
//! the follower heard, which was earlier; so the leader always stops before the followers
//! do. While a quorum's promises last nobody else can be elected, so nobody else can have
//! acknowledged a write, so what the leader has applied is current.
//!
//! What could go wrong, and why it doesn't:
//! * Clocks run at different rates: both spans are shortened by the drift allowed.
//! * Nodes are configured differently (trap 15): the follower's reply says how long its
//!   promise is.
//! * A node forgets its promise in a crash (trap 11): after a start it refuses all votes
//!   for as long as it could have promised.
//! * Leadership is handed over (trap 13): the hand-over overrides promises, so the lease
//!   is void before `TimeoutNow` leaves. If the transfer fails the ticket is revoked by
//!   heartbeats, and only promises of nodes that have seen the revocation count again.
//!
//! That is [`LeasePolicy::Promised`]. The promise is kept under every policy, because it also
//! keeps nodes from disturbing a leader that works. [`LeasePolicy::WaitOut`] counts the same
//! rounds of heartbeats, but on what followers *note* (`old_lease.rs`) instead of on what they
//! refuse; [`LeasePolicy::Log`] counts entries (`log_lease.rs`).

use core::time::Duration;

use stdx::{Instant, Term};

use crate::config::Config;
use crate::event::Event;
use crate::message::{LeaseGrant, TransferTicket};
use crate::planted::planted;
use crate::policy::{LeaseClock, LeasePolicy};
use crate::raft::{Raft, Role};
use crate::replication::Leader;
use crate::true_time::TrueTime;

/// A voter's side of the deal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Promise {
    /// No votes before this.
    until: Instant,
    /// No votes before this, whatever a leader permits: a former life's promises.
    restart_until: Instant,
    /// The term of the leader that was promised.
    term: Term,
    /// That leader's tickets up to this number are void.
    revoked: u32,
}

impl Promise {
    /// A node that was never part of anything promised nothing.
    pub(crate) fn at_start(config: &Config, now: Instant, fresh: bool) -> Self {
        let until = if fresh || planted!(config, VoteRightAfterRestart) {
            Instant::EPOCH
        } else {
            now.after(config.election_timeout_min)
        };
        Self {
            until,
            restart_until: until,
            term: Term::ZERO,
            revoked: 0,
        }
    }

    /// The leader of a term was heard. Each leader counts its tickets anew.
    pub(crate) fn renew(&mut self, now: Instant, span: Duration, term: Term, revoked: u32) {
        self.until = self.until.max(now.after(span));
        if term > self.term {
            self.term = term;
            self.revoked = 0;
        }
        self.revoked = self.revoked.max(revoked);
    }

    /// How much of it has passed isn't known any more.
    fn begin_anew(&mut self, now: Instant, span: Duration) {
        if self.until > Instant::EPOCH {
            self.until = now.after(span);
        }
        if self.restart_until > Instant::EPOCH {
            self.restart_until = now.after(span);
        }
    }
}

impl Raft {
    /// Whether a promise forbids to vote now, given the old leader's permission if any.
    pub(crate) fn refuses_votes(&self, ticket: Option<TransferTicket>) -> bool {
        if self.now < self.promise.restart_until {
            return true;
        }
        let (alive, term, revoked) = match &self.role {
            Role::Leader(leader) => (true, self.hard_state.term, leader.tickets_revoked()),
            Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) => {
                let promise = &self.promise;
                (self.now < promise.until, promise.term, promise.revoked)
            }
        };
        alive && !ticket.is_some_and(|ticket| permits(ticket, term, revoked))
    }

    /// Whether a leader's permission wasn't taken back, as far as this node knows.
    pub(crate) fn permits(&self, ticket: TransferTicket) -> bool {
        permits(ticket, self.promise.term, self.promise.revoked)
    }

    /// How long this node promises to keep still when it hears its leader.
    pub(crate) const fn promise_span(&self) -> Duration {
        self.config.election_timeout_min
    }

    /// Until when this leader may answer reads by itself; `None` without a lease.
    ///
    /// May be in the past: compare it with the clock *after* the state machine was
    /// looked at, or while holding it still (trap 12).
    #[must_use]
    pub fn lease_until(&self) -> Option<Instant> {
        let Role::Leader(leader) = &self.role else {
            return None;
        };
        (leader.lease_until > Instant::EPOCH).then_some(leader.lease_until)
    }

    /// Whether a linearizable read may be served at `now` from what is applied here.
    #[must_use]
    pub fn readable_now(&self, now: Instant) -> bool {
        self.lease_until().is_some_and(|until| now < until)
            && self.read_floor().is_some_and(|floor| self.applied >= floor)
    }
}

/// A ticket of a later leader will do as well: it was elected when the one that was promised
/// to keep still for had no lease any more.
fn permits(ticket: TransferTicket, term: Term, revoked: u32) -> bool {
    ticket.term > term || (ticket.term == term && ticket.number > revoked)
}

impl Raft {
    /// How long an answer to a round counts, from when it was sent; `None` if not at all.
    pub(crate) fn granted_span(&self, promise: Duration) -> Option<Duration> {
        match self.settled_policy() {
            LeasePolicy::Promised => {
                let lease = self.config.lease?;
                Some(lease.duration.min(lease.shortened(promise)))
            }
            LeasePolicy::WaitOut(lease) if self.leading()?.granting => {
                Some(lease.shortened(lease.duration))
            }
            LeasePolicy::Off | LeasePolicy::WaitOut(_) | LeasePolicy::Log(..) => None,
        }
    }

    /// What a leader's messages say about its lease.
    pub(crate) fn lease_grant(&self) -> LeaseGrant {
        let Some(leader) = self.leading() else {
            return LeaseGrant::default();
        };
        let duration = match self.settled_policy() {
            LeasePolicy::WaitOut(lease) if leader.granting => lease.duration,
            _ => Duration::ZERO,
        };
        let interval = matches!(
            self.memberships.current().lease,
            LeasePolicy::Log(_, LeaseClock::Interval)
        );
        LeaseGrant {
            duration,
            appended_by: self.appended_by.filter(|_| interval).unwrap_or(0),
        }
    }

    /// Begins or ends granting: with a round of its own, so that no message of it lacks the
    /// grant.
    pub(crate) fn refresh_grants(&mut self) {
        let waits_out = matches!(self.settled_policy(), LeasePolicy::WaitOut(_));
        let (now, config) = (self.now, &self.config);
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        let grants =
            waits_out && now >= leader.commit_from && !leader.transfers.blocks_lease(config);
        if grants == leader.granting {
            return;
        }
        leader.granting = grants;
        if grants {
            let round = leader.rounds.start_next(now);
            leader.lease_from = leader.lease_from.max(round);
            leader.dirty = true;
            for peer in &mut leader.peers {
                peer.heartbeat_due = true;
            }
        }
        self.refresh_lease();
    }

    /// The policy may be another, or may have become safe to rely on.
    pub(crate) fn refresh_lease_mode(&mut self) {
        self.refresh_grants();
        self.refresh_lease();
    }

    /// Works out anew until when this leader may serve.
    pub(crate) fn refresh_lease(&mut self) {
        let policy = self.settled_policy();
        let until = self.log_lease_until(policy);
        let (promised, config) = (self.config.lease.is_some(), &self.config);
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        let before = leader.lease_until;
        let by_rounds = match policy {
            LeasePolicy::Promised => promised,
            LeasePolicy::WaitOut(_) => leader.granting,
            LeasePolicy::Off | LeasePolicy::Log(..) => false,
        };
        if leader.transfers.blocks_lease(config) {
            leader.lease_until = Instant::EPOCH;
        } else if by_rounds {
            let until = leader.quorum(config, u64::MAX, |peer| peer.lease_end.as_nanos());
            leader.lease_until = Instant::from_nanos(until);
        } else {
            for peer in &mut leader.peers {
                peer.lease_end = Instant::EPOCH;
            }
            leader.lease_until = until;
        }
        let after = leader.lease_until;
        if (before == Instant::EPOCH) != (after == Instant::EPOCH) {
            let until = (after > Instant::EPOCH).then_some(after);
            self.emit(Event::LeaseChanged { until });
        }
    }

    /// The wait for old leases is over.
    pub(crate) fn end_lease_wait(&mut self) {
        let now = self.now;
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        if leader.commit_from == Instant::EPOCH || now < leader.commit_from {
            return;
        }
        leader.commit_from = Instant::EPOCH;
        self.refresh_grants();
        self.advance_commit();
    }

    /// Whether a lease that heartbeats should have renewed has ended.
    pub(crate) fn lost_granted_lease(&self) -> bool {
        self.leading().is_some_and(|leader| {
            leader.granting && leader.lease_until > Instant::EPOCH && self.now >= leader.lease_until
        })
    }

    /// When this new leader may commit, if it has to wait for an earlier one's lease.
    #[must_use]
    pub fn commits_from(&self) -> Option<Instant> {
        let leader = self.leading()?;
        (leader.commit_from > self.now).then_some(leader.commit_from)
    }

    /// How this group's leaders serve reads, by the newest of the policies in the log.
    #[must_use]
    pub fn lease_policy(&self) -> LeasePolicy {
        self.memberships.current().lease
    }

    /// This node's clock leapt, stood still or was changed: nothing measured with it until
    /// now is worth anything. To be called before any other input that comes after it.
    ///
    /// A lease is given up, and regained in the normal way. Waiting for others begins anew.
    pub fn on_clock_disrupted(&mut self, now: Instant) {
        self.now = self.now.max(now);
        if planted!(self.config, ClockJumpUnnoticed) {
            return;
        }
        self.forget_old_times();
        self.promise.begin_anew(self.now, self.promise_span());
        let until = self.now.after(self.longest_lease());
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        if leader.commit_from > Instant::EPOCH {
            leader.commit_from = leader.commit_from.max(until);
        }
        leader.void_lease();
        leader.inherit_until = Instant::EPOCH;
        // Only what is sent from now on counts.
        let round = leader.rounds.start_next(now);
        leader.lease_from = leader.lease_from.max(round);
        leader.granting = false;
        leader.dirty = true;
        for peer in &mut leader.peers {
            peer.heartbeat_due = true;
        }
        self.emit(Event::LeaseChanged { until: None });
        self.refresh_grants();
    }

    /// What the driver knows of the true time; `None` when its system isn't sure. Counts only
    /// for [`LeaseClock::Interval`].
    pub fn on_true_time(&mut self, now: Instant, reading: Option<TrueTime>) {
        self.now = self.now.max(now);
        let lease = self.memberships.current().lease.lease();
        let drift_ppm = lease.unwrap_or_default().drift_ppm;
        self.true_clock.set(self.now, reading, drift_ppm);
        self.refresh_lease();
    }
}

impl Leader {
    /// Gives the lease up at once; only rounds sent from `round` on can regain it.
    pub(crate) fn void_lease(&mut self) {
        for peer in &mut self.peers {
            peer.lease_end = Instant::EPOCH;
        }
        self.log_lease.void();
        self.lease_until = Instant::EPOCH;
    }
}
