//! How the pool behaves.

use core::time::Duration;

use thiserror::Error;

#[cfg(feature = "planted")]
use crate::planted::PlantedBug;

/// What can be chosen about a pool.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// How long a worker should work on a range. Longer wastes less on messages; shorter
    /// lets a small job start sooner, because what a worker has is not taken back. Together
    /// with the ranges that wait it should be well above a round trip.
    pub range_span: Duration,
    /// No range is made smaller than this much work, however little is left of a job.
    pub range_span_min: Duration,
    /// Nonces of the first range for a worker that did not say how fast it is.
    pub first_range_nonces: u64,
    /// How much less work a job must have for each second that it came later, to be served
    /// first. Zero is pure shortest-remaining-work-first, which can starve a large job; one
    /// is nearly first come, first served. A job of a minute's work that waits for
    /// 60 s / `ageing` is served before everything that arrives from then on.
    pub ageing: f64,
    /// A range is handed to a second worker, if one is idle, when it takes this many times
    /// as long as expected.
    pub hedge_after: f64,
    /// And never before this much time is lost.
    pub hedge_span_min: Duration,
    /// One result in this many is checked with the server's own kernel, besides those
    /// of a worker that is not proven yet. Zero checks none but those; one checks all.
    pub check_one_in: u32,
    /// A worker is proven by a result that passed its check and was of at least this many
    /// nonces: what it says of a single nonce is right even if it never looks at a second.
    pub proof_nonces: u64,
    /// A range of up to this many nonces is checked as a whole: a sample of it would say
    /// little, and 65,536 are a millisecond.
    pub check_whole_nonces: u64,
    /// Nonces that a check hashes at most.
    pub check_nonces_max: u64,
    /// How long a job with a key is kept after its client went, or after it was done.
    pub retention: Duration,
    /// How often the progress of a job is saved, at most.
    pub save_interval: Duration,
    /// How often a client that asked is told of its job's progress.
    pub progress_interval: Duration,
    /// Jobs that are held at most, finished ones that wait for their clients included.
    pub jobs_max: usize,
    /// Unfinished jobs of one client.
    pub client_jobs_max: usize,
    /// Workers.
    pub workers_max: usize,
    /// A bug to show.
    #[cfg(feature = "planted")]
    pub planted: Option<PlantedBug>,
}

/// A configuration that makes no sense.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("{0}")]
pub struct ConfigError(&'static str);

impl Default for Config {
    fn default() -> Self {
        Self {
            range_span: Duration::from_millis(600),
            range_span_min: Duration::from_millis(20),
            first_range_nonces: 10_000,
            ageing: 0.02,
            hedge_after: 2.0,
            hedge_span_min: Duration::from_millis(500),
            check_one_in: 16,
            proof_nonces: 1_000,
            check_whole_nonces: 1 << 16,
            check_nonces_max: 4_000_000,
            retention: Duration::from_mins(10),
            save_interval: Duration::from_secs(1),
            progress_interval: Duration::from_millis(500),
            jobs_max: 1_000,
            client_jobs_max: 64,
            workers_max: 1_000,
            #[cfg(feature = "planted")]
            planted: None,
        }
    }
}

impl Config {
    /// Turns down what makes no sense.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] says which rule is broken.
    pub fn validate(self) -> Result<Self, ConfigError> {
        let rules = [
            (
                !self.range_span_min.is_zero(),
                "range_span_min must not be zero",
            ),
            (
                self.range_span_min <= self.range_span,
                "range_span must be at least range_span_min",
            ),
            (
                self.first_range_nonces > 0,
                "first_range_nonces must not be zero",
            ),
            (
                self.ageing.is_finite() && self.ageing >= 0.0,
                "ageing must be a number and not negative",
            ),
            (
                self.hedge_after.is_finite() && self.hedge_after >= 1.0,
                "hedge_after must be at least 1",
            ),
            (
                self.check_nonces_max > 0,
                "check_nonces_max must not be zero",
            ),
            (
                !self.save_interval.is_zero() && !self.progress_interval.is_zero(),
                "intervals must not be zero",
            ),
            (
                self.jobs_max > 0 && self.client_jobs_max > 0 && self.workers_max > 0,
                "a pool needs room for a job and a worker",
            ),
        ];
        match rules.into_iter().find(|(holds, _)| !holds) {
            Some((_, rule)) => Err(ConfigError(rule)),
            None => Ok(self),
        }
    }
}
