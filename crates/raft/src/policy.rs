//! How a group's leaders serve linearizable reads by themselves: state of the group.
//!
//! A lease is a deal between a leader and whoever comes after it. It must not depend on
//! how a node was started: a successor that waits for a shorter lease than its predecessor
//! has, or for none, breaks it. So mode, length and clock are part of the group's
//! [`crate::Membership`], which is replicated, and changed with
//! [`crate::MembershipChange::Lease`].
//!
//! While a change isn't committed a successor may know the old policy or the new one. A
//! leader then serves by what is safe under both, and whoever waits waits for the longest.

use core::time::Duration;

use crate::config::Lease;
use crate::limits::{DRIFT_PPM_MAX, LEASE_MAX, LEASE_MIN};

/// Who may answer a linearizable read without asking anybody, and who waits for whom.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum LeasePolicy {
    /// Followers promise to elect nobody else for a while, as each is configured
    /// ([`crate::Config::lease`]); they tell how long (thesis, section 6.4.1). Elections wait.
    #[default]
    Promised,
    /// Nobody: each batch of reads costs a round of heartbeats. Needs no clock.
    Off,
    /// Heartbeats carry the lease. Voters tell candidates what they know of old leases, and a
    /// new leader neither serves nor takes writes until those are over.
    WaitOut(Lease),
    /// The log is the lease: a leader serves for as long after it appended its newest
    /// committed entry. A new leader takes writes at once, commits them when the old lease
    /// is over, and until then serves reads of keys that nothing undecided touches.
    Log(Lease, LeaseClock),
}

/// What a lease in the log is measured with.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum LeaseClock {
    /// Each node's own clock, which runs at about the right rate.
    #[default]
    Drift,
    /// In addition, the true time within known bounds ([`crate::Raft::on_true_time`]): a
    /// successor waits for what is really left. Without bounds there is no lease.
    Interval,
}

impl LeasePolicy {
    /// Checks length and drift.
    ///
    /// # Errors
    ///
    /// Says what no group should have.
    pub fn validate(self) -> Result<(), LeasePolicyError> {
        let Some(lease) = self.lease() else {
            return Ok(());
        };
        if lease.drift_ppm > DRIFT_PPM_MAX {
            return Err(LeasePolicyError::Drift);
        }
        if !(LEASE_MIN..=LEASE_MAX).contains(&lease.duration) {
            return Err(LeasePolicyError::Duration);
        }
        Ok(())
    }

    /// Length and drift, where the group has them.
    #[must_use]
    pub const fn lease(self) -> Option<Lease> {
        match self {
            Self::Promised | Self::Off => None,
            Self::WaitOut(lease) | Self::Log(lease, _) => Some(lease),
        }
    }

    /// How long a successor may have to wait for a leader under this policy.
    pub(crate) const fn longest(self) -> Duration {
        match self.lease() {
            Some(lease) => lease.duration,
            None => Duration::ZERO,
        }
    }

    /// What may be served by while it isn't known which of two policies a successor knows.
    pub(crate) fn both(self, other: Self) -> Self {
        match (self, other) {
            (one, other) if one == other => one,
            (Self::Log(one, clock), Self::Log(other, other_clock)) => {
                let lease = Lease {
                    duration: one.duration.min(other.duration),
                    drift_ppm: one.drift_ppm.max(other.drift_ppm),
                };
                let both = clock == other_clock;
                let clock = if both { clock } else { LeaseClock::Interval };
                Self::Log(lease, clock)
            }
            _ => Self::Off,
        }
    }
}

/// Why a policy makes no sense.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum LeasePolicyError {
    /// See [`LEASE_MIN`] and [`LEASE_MAX`].
    #[error("a lease lasts from {LEASE_MIN:?} to {LEASE_MAX:?}")]
    Duration,
    /// See [`Lease::drift_ppm`].
    #[error("drift must be at most {DRIFT_PPM_MAX} millionths")]
    Drift,
}
