//! A worker: how fast it is, and what it holds in which order.

use std::collections::VecDeque;

use stdx::Instant;

use crate::config::Config;
use crate::limits::SPEED_MAX;
use crate::message::Takes;
use crate::nonces::Nonces;
use crate::pool::{JobId, RangeId, WorkerId};

/// A range in a worker's hands.
#[derive(Clone, Debug)]
pub(crate) struct Range {
    pub(crate) worker: WorkerId,
    pub(crate) nonces: Nonces,
    /// What it costs, in hashes of messages.
    pub(crate) hashes: u128,
    /// The job and the chunk of it; `None` if it is no longer needed and an original worker,
    /// which can't be told, still answers it.
    pub(crate) work: Option<(JobId, u64)>,
    pub(crate) assigned: Instant,
    /// Whether it takes much longer than expected.
    pub(crate) is_overdue: bool,
}

/// A worker.
#[derive(Clone, Debug)]
pub(crate) struct Worker {
    /// Whether it is one of ours, which understands ids and cancellation.
    pub(crate) extended: bool,
    pub(crate) takes: Takes,
    /// Hashes of messages per second.
    pub(crate) speed: Option<f64>,
    /// What it holds, in the order in which it works.
    pub(crate) queue: VecDeque<RangeId>,
    /// When it last had nothing to do or finished something.
    pub(crate) last_result: Instant,
    /// The start of a stretch of uninterrupted work, and the hashes done since.
    window: (Instant, u128),
    /// Whether a check of one of its larger results has passed. Until then all are checked.
    pub(crate) is_proven: bool,
}

impl Worker {
    pub(crate) fn new(now: Instant, speed: Option<f64>, takes: Takes) -> Self {
        Self {
            extended: speed.is_some(),
            // An original has no word for a header.
            takes: speed.map_or(Takes::Messages, |_| takes),
            speed: speed
                .map(|speed| if speed.is_finite() { speed } else { 1.0 }.clamp(1.0, SPEED_MAX)),
            queue: VecDeque::new(),
            last_result: now,
            window: (now, 0),
            is_proven: false,
        }
    }

    /// Hashes per second, or a guess before the first result.
    pub(crate) fn speed_or(&self, config: &Config) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a guess")]
        let guess = config.first_range_nonces as f64;
        self.speed.unwrap_or(guess)
    }

    /// It begins to work, or what it worked on was taken from it: its speed is measured from
    /// here.
    pub(crate) const fn begin(&mut self, now: Instant) {
        self.last_result = now;
        self.window = (now, 0);
    }

    /// Learns from a result.
    ///
    /// The time between two results is no measure: results that arrive together would make
    /// a worker look infinitely fast. So results are summed over a stretch of some length.
    pub(crate) fn learn(&mut self, now: Instant, config: &Config, hashes: u128) {
        self.last_result = now;
        let (start, before) = self.window;
        let done = before + hashes;
        self.window.1 = done;
        let elapsed = now.since(start);
        let is_long = elapsed >= config.range_span / 4;
        if elapsed.is_zero() || !(is_long || self.speed.is_none()) {
            return;
        }
        let sample = (as_number(done) / elapsed.as_secs_f64()).clamp(1.0, SPEED_MAX);
        self.speed = Some(
            self.speed
                .map_or(sample, |speed| f64::midpoint(speed, sample)),
        );
        self.window = (now, 0);
    }
}

/// A count as a number to calculate with.
#[expect(clippy::cast_precision_loss, reason = "for estimates")]
pub(crate) fn as_number(count: u128) -> f64 {
    count as f64
}

/// How many hashes a worker of a given speed does in a given time: at least one.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a conversion from a float saturates"
)]
pub(crate) fn hashes_in(speed: f64, seconds: f64) -> u128 {
    ((speed * seconds) as u128).max(1)
}
