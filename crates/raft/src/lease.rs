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
//! Everything about leases is here, so that a log-carried lease can take its place.

use core::time::Duration;

use stdx::{Instant, Term};

use crate::config::Config;
use crate::message::{Round, TransferTicket};
use crate::planted::planted;
use crate::progress::Peer;
use crate::raft::{Raft, Role};
use crate::replication::{Leader, Rounds};

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
        // A ticket of a later leader will do as well: it was elected when the one that was
        // promised to keep still for had no lease any more.
        let permitted = ticket.is_some_and(|ticket| {
            ticket.term > term || (ticket.term == term && ticket.number > revoked)
        });
        alive && !permitted
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

impl Leader {
    /// A follower answered a round: its promise counts from when the round was sent.
    pub(crate) fn extend_lease(
        config: &Config,
        rounds: &Rounds,
        peer: &mut Peer,
        round: Round,
        promise: Duration,
        now: Instant,
    ) {
        let (Some(lease), Some(sent)) = (config.lease, rounds.sent_at(round)) else {
            return;
        };
        let anchor = if planted!(config, LeaseFromReceipt) {
            now
        } else {
            sent
        };
        let span = lease.duration.min(lease.shortened(promise));
        peer.lease_end = peer.lease_end.max(anchor.after(span));
    }

    /// Gives the lease up at once; only rounds sent from `round` on can regain it.
    pub(crate) fn void_lease(&mut self) {
        for peer in &mut self.peers {
            peer.lease_end = Instant::EPOCH;
        }
        self.lease_until = Instant::EPOCH;
    }
}
