//! The knobs of a node, and which combinations of them make sense.
//!
//! Parse, don't validate: [`Config::validate`] returns a [`Valid`] configuration, and
//! only that can make a node. All nodes of a group should use the same timeouts; the
//! lease doesn't rely on it, because followers say what they promise.

use core::ops::Deref;
use core::time::Duration;

use stdx::Prng;

use crate::limits::{DRIFT_PPM_MAX, ENTRY_BYTES_LIMIT, SNAPSHOT_CHUNK_BYTES_LIMIT};
#[cfg(feature = "planted")]
use crate::planted::PlantedBug;

/// How a node behaves; see each field.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The shortest time without a leader after which a follower campaigns, and how
    /// long it refuses votes to others after hearing from one.
    ///
    /// Default 1 s: ten heartbeats may be lost, and a failure is noticed at once by
    /// people's standards. Below a few round trips of the network elections start for
    /// no reason; at many seconds every crash of a leader is an outage of that length.
    pub election_timeout_min: Duration,
    /// The longest such time; each wait is drawn between the two, so that candidates
    /// don't collide. Also how long a leader goes on without hearing from a quorum,
    /// and how long a leadership transfer may take.
    ///
    /// Default 2 s. Too close to the minimum, votes split again and again.
    pub election_timeout_max: Duration,
    /// How often a leader tells every follower that it is there.
    ///
    /// Default 100 ms. Must be at most a third of `election_timeout_min`. Shorter
    /// costs messages when idle; longer costs false alarms when messages are lost.
    pub heartbeat_interval: Duration,
    /// Lets the leader answer reads on its own while a quorum promised not to elect
    /// another. `None`: every read costs a round of heartbeats.
    pub lease: Option<Lease>,
    /// How long one disk write may take before the node counts its disk as stalled,
    /// hands leadership over and doesn't campaign.
    ///
    /// Default 4 s. A leader that can't write is worse than none: it keeps others
    /// from being elected (trap 17).
    pub disk_stall_timeout: Duration,
    /// Appends that may be under way to one follower.
    ///
    /// Default 256. One means stop and wait; more than the link's bandwidth times its
    /// delay only adds latency when it is slow.
    pub inflight_messages_max: usize,
    /// Bytes of entries that may be under way to one follower. At least one message
    /// always may be, whatever its size.
    ///
    /// Default 16 MiB: what 1 Gbit/s carries in 130 ms. Less than the link's bandwidth times
    /// its delay leaves it idle; more makes a slow follower's backlog the network's.
    pub inflight_bytes_max: usize,
    /// Bytes of entries in one message; one larger entry goes alone.
    ///
    /// Default 1 MiB. Small values cost messages; large ones make the first byte wait
    /// for the last.
    pub append_bytes_max: usize,
    /// Bytes of entries in one [`crate::Committed`]; one larger entry goes alone.
    ///
    /// Default 4 MiB. Small values cost calls; with large ones a node that has much to catch
    /// up with answers nothing else for long.
    pub apply_bytes_max: usize,
    /// The largest payload [`crate::Raft::propose`] accepts.
    ///
    /// Default 32 MiB: twice the largest value of the store, for the rest of its batch. One
    /// entry is one message, so it must fit what the transport carries.
    pub entry_bytes_max: usize,
    /// Bytes of proposed entries that aren't committed yet; more are refused with
    /// [`crate::ProposeError::Overloaded`]. At least one entry is always let in.
    ///
    /// Default 64 MiB: without a quorum a leader's memory must not grow for ever.
    pub uncommitted_bytes_max: usize,
    /// Bytes of entries kept in memory for followers that lag a little; older ones
    /// are fetched from disk. Entries that aren't both durable and committed stay in
    /// memory whatever this says.
    ///
    /// Default 64 MiB per group. At zero every hiccup of a follower costs the leader a read.
    pub log_cache_bytes: usize,
    /// Bytes of one piece of a snapshot.
    ///
    /// Default 1 MiB. One piece is under way to a follower at a time.
    pub snapshot_chunk_bytes: usize,
    /// Entries a learner may lack and still be promoted.
    ///
    /// Default 1,000. A voter that lags holds up commits as soon as another fails.
    pub promote_lag_max: u64,
    /// The bug to show, in builds for testing the tests.
    #[cfg(feature = "planted")]
    pub planted: Option<PlantedBug>,
}

/// How long a leader may answer reads alone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Lease {
    /// Counted from the moment a round of heartbeats was *sent*.
    ///
    /// Default 900 ms. Must be shorter than `election_timeout_min` by the drift on
    /// both sides, so that it ends before any voter's promise.
    pub duration: Duration,
    /// How far a clock's rate may be off, in millionths. Default 500, ten times what
    /// a bad quartz does. Clocks needn't agree about the time of day; they must not
    /// stop while the process runs.
    pub drift_ppm: u32,
}

impl Default for Lease {
    fn default() -> Self {
        Self {
            duration: Duration::from_millis(900),
            drift_ppm: 500,
        }
    }
}

impl Lease {
    /// A span that certainly is over on this clock before `span` is over on another.
    #[must_use]
    pub fn shortened(self, span: Duration) -> Duration {
        // Two clocks, one fast and one slow: twice the drift.
        let kept = 1_000_000 - u128::from(2 * self.drift_ppm).min(1_000_000);
        let nanos = span.as_nanos() * kept / 1_000_000;
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            election_timeout_min: Duration::from_secs(1),
            election_timeout_max: Duration::from_secs(2),
            heartbeat_interval: Duration::from_millis(100),
            lease: Some(Lease::default()),
            disk_stall_timeout: Duration::from_secs(4),
            inflight_messages_max: 256,
            inflight_bytes_max: 16 << 20,
            append_bytes_max: 1 << 20,
            apply_bytes_max: 4 << 20,
            entry_bytes_max: 32 << 20,
            uncommitted_bytes_max: 64 << 20,
            log_cache_bytes: 64 << 20,
            snapshot_chunk_bytes: 1 << 20,
            promote_lag_max: 1_000,
            #[cfg(feature = "planted")]
            planted: None,
        }
    }
}

impl Config {
    /// Checks that the fields make sense together.
    ///
    /// # Errors
    ///
    /// Says which relation doesn't hold.
    pub fn validate(self) -> Result<Valid<Self>, ConfigError> {
        let third = self.election_timeout_min / 3;
        if self.heartbeat_interval.is_zero() || self.heartbeat_interval > third {
            return Err(ConfigError::HeartbeatInterval);
        }
        if self.election_timeout_max <= self.election_timeout_min {
            return Err(ConfigError::ElectionTimeout);
        }
        if self.disk_stall_timeout.is_zero() {
            return Err(ConfigError::Zero {
                field: "disk_stall_timeout",
            });
        }
        if let Some(lease) = self.lease {
            if lease.drift_ppm > DRIFT_PPM_MAX {
                return Err(ConfigError::Drift);
            }
            if lease.duration > lease.shortened(self.election_timeout_min) {
                return Err(ConfigError::LeaseTooLong);
            }
        }
        let counts = [
            ("inflight_messages_max", self.inflight_messages_max),
            ("inflight_bytes_max", self.inflight_bytes_max),
            ("append_bytes_max", self.append_bytes_max),
            ("apply_bytes_max", self.apply_bytes_max),
            ("entry_bytes_max", self.entry_bytes_max),
            ("uncommitted_bytes_max", self.uncommitted_bytes_max),
            ("snapshot_chunk_bytes", self.snapshot_chunk_bytes),
        ];
        for (field, value) in counts {
            if value == 0 {
                return Err(ConfigError::Zero { field });
            }
        }
        if self.entry_bytes_max > ENTRY_BYTES_LIMIT || self.append_bytes_max > ENTRY_BYTES_LIMIT {
            return Err(ConfigError::EntryTooLarge);
        }
        if self.snapshot_chunk_bytes > SNAPSHOT_CHUNK_BYTES_LIMIT {
            return Err(ConfigError::ChunkTooLarge);
        }
        Ok(Valid(self))
    }

    /// Draws a legal configuration, extremes included, for simulations.
    pub fn swarm(prng: &mut Prng) -> Self {
        let min = prng.duration(Duration::from_millis(150)..Duration::from_secs(2));
        let max = min + prng.duration(min / 10..min * 2);
        let drift_ppm = u32::try_from(prng.below(20_000)).unwrap_or(0);
        let mut lease = Lease {
            duration: min,
            drift_ppm,
        };
        let longest = lease.shortened(min);
        lease.duration = prng.duration(longest / 10..longest);
        let small = |prng: &mut Prng, large: usize| {
            if prng.chance(1, 3) {
                1 + prng.index(200)
            } else {
                large
            }
        };
        Self {
            election_timeout_min: min,
            election_timeout_max: max,
            heartbeat_interval: prng.duration(min / 30..min / 3),
            lease: prng.chance(3, 4).then_some(lease),
            disk_stall_timeout: max * 2,
            inflight_messages_max: if prng.chance(1, 3) {
                1 + prng.index(4)
            } else {
                256
            },
            inflight_bytes_max: small(prng, 16 << 20),
            append_bytes_max: small(prng, 1 << 20),
            apply_bytes_max: small(prng, 4 << 20),
            entry_bytes_max: 32 << 20,
            uncommitted_bytes_max: if prng.chance(1, 4) { 4 << 10 } else { 64 << 20 },
            log_cache_bytes: if prng.chance(1, 3) {
                prng.index(500)
            } else {
                64 << 20
            },
            snapshot_chunk_bytes: 1 + small(prng, 64 << 10),
            promote_lag_max: 1 + prng.below(1_000),
            #[cfg(feature = "planted")]
            planted: None,
        }
    }
}

/// A value that was checked; made by its type's `validate`.
#[derive(Clone, Debug, PartialEq)]
pub struct Valid<T>(T);

impl<T> Valid<T> {
    /// The value itself.
    #[must_use]
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> Deref for Valid<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// Which relation between the fields of a [`Config`] doesn't hold.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ConfigError {
    /// See [`Config::heartbeat_interval`].
    #[error("heartbeat_interval must be above zero and at most a third of election_timeout_min")]
    HeartbeatInterval,
    /// See [`Config::election_timeout_max`].
    #[error("election_timeout_max must be longer than election_timeout_min")]
    ElectionTimeout,
    /// See [`Lease::duration`].
    #[error("lease.duration must end before election_timeout_min, less the drift of two clocks")]
    LeaseTooLong,
    /// See [`Lease::drift_ppm`].
    #[error("lease.drift_ppm must be at most {DRIFT_PPM_MAX}")]
    Drift,
    /// Nothing would ever get through.
    #[error("{field} must be above zero")]
    Zero {
        /// Which field.
        field: &'static str,
    },
    /// See [`Config::entry_bytes_max`].
    #[error("entry_bytes_max and append_bytes_max must be at most {ENTRY_BYTES_LIMIT}")]
    EntryTooLarge,
    /// See [`Config::snapshot_chunk_bytes`].
    #[error("snapshot_chunk_bytes must be at most {SNAPSHOT_CHUNK_BYTES_LIMIT}")]
    ChunkTooLarge,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_and_every_swarm_draw_are_legal() {
        Config::default().validate().unwrap();
        let mut prng = Prng::from_seed(1);
        for _ in 0..1_000 {
            let config = Config::swarm(&mut prng);
            assert!(config.clone().validate().is_ok(), "{config:?}");
        }
    }

    #[test]
    fn a_lease_as_long_as_the_promise_is_refused() {
        let config = Config {
            lease: Some(Lease {
                duration: Duration::from_secs(1),
                drift_ppm: 500,
            }),
            ..Config::default()
        };
        assert_eq!(config.validate(), Err(ConfigError::LeaseTooLong));
    }

    #[test]
    fn a_limit_of_zero_is_refused() {
        let config = Config {
            append_bytes_max: 0,
            ..Config::default()
        };
        let zero = ConfigError::Zero {
            field: "append_bytes_max",
        };
        assert_eq!(config.validate(), Err(zero));
    }
}
