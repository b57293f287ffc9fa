//! What a sender stamps, and what a receiver counts.

use std::time::Duration;

use anyhow::{Context as _, Result};
use hdrhistogram::Histogram;
use serde_json::json;

/// Bytes of the stamp at the start of each message.
pub(crate) const STAMP_BYTES: usize = 8;
/// A minute, in microseconds.
const LATENCY_US_MAX: u64 = 60_000_000;

/// The machine's monotonic clock: one for all processes.
pub(crate) fn monotonic() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Duration::try_from(now).expect("the monotonic clock is not negative")
}

/// Fills messages: the stamp, then zeros.
#[derive(Debug)]
pub(crate) struct Stamper {
    message: Vec<u8>,
    begun: Duration,
    interval: Option<Duration>,
    number: u32,
}

impl Stamper {
    pub(crate) fn new(bytes: usize, rate: Option<f64>) -> Result<Self> {
        anyhow::ensure!(
            bytes >= STAMP_BYTES,
            "a message has at least {STAMP_BYTES} bytes"
        );
        Ok(Self {
            message: vec![0; bytes],
            begun: monotonic(),
            interval: rate.map(|rate| Duration::from_secs_f64(1.0 / rate)),
            number: 0,
        })
    }

    /// The next message, and how long to wait until it is due.
    pub(crate) fn next(&mut self) -> (&[u8], Option<Duration>) {
        let now = monotonic();
        let due = self
            .interval
            .map_or(now, |interval| self.begun + interval * self.number);
        self.number += 1;
        let nanos = u64::try_from(due.as_nanos()).expect("uptime of less than centuries");
        self.message[..STAMP_BYTES].copy_from_slice(&nanos.to_le_bytes());
        (
            &self.message,
            self.interval.map(|_| due.saturating_sub(now)),
        )
    }
}

/// Counts messages from the first on.
#[derive(Debug)]
pub(crate) struct Meter {
    span: Duration,
    first: Option<Duration>,
    latest: Duration,
    messages: u64,
    bytes: u64,
    latencies: Histogram<u64>,
}

impl Meter {
    pub(crate) fn new(span: Duration) -> Result<Self> {
        Ok(Self {
            span,
            first: None,
            latest: Duration::ZERO,
            messages: 0,
            bytes: 0,
            latencies: Histogram::new_with_bounds(1, LATENCY_US_MAX, 3)?,
        })
    }

    /// Takes a message; whether the time is over.
    pub(crate) fn take(&mut self, message: &[u8]) -> Result<bool> {
        let now = monotonic();
        let stamp = message.first_chunk().copied().map(u64::from_le_bytes);
        let due = Duration::from_nanos(stamp.context("a message without a stamp")?);
        let first = *self.first.get_or_insert(now);
        if now - first > self.span {
            return Ok(true);
        }
        self.latest = now;
        self.messages += 1;
        self.bytes += message.len() as u64;
        let micros = u64::try_from(now.saturating_sub(due).as_micros())?;
        self.latencies.saturating_record(micros.max(1));
        Ok(false)
    }

    /// When to stop, if nothing more comes.
    pub(crate) fn left(&self) -> Option<Duration> {
        let first = self.first?;
        Some((first + self.span).saturating_sub(monotonic()))
    }

    pub(crate) fn report(&self) -> serde_json::Value {
        // Over the whole span, also if nothing came towards its end.
        let seconds = self.span.as_secs_f64();
        json!({
            "messages": self.messages,
            "bytes": self.bytes,
            "seconds": seconds,
            "messages_per_second": self.messages as f64 / seconds,
            "mbit_per_second": self.bytes as f64 * 8.0 / 1e6 / seconds,
            "latency_ms_p50": self.latencies.value_at_quantile(0.5) as f64 / 1e3,
            "latency_ms_p99": self.latencies.value_at_quantile(0.99) as f64 / 1e3,
            "latency_ms_max": self.latencies.max() as f64 / 1e3,
        })
    }
}
