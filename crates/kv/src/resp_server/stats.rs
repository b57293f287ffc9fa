//! Counting what the door does, without a shared cache line on the way.
//!
//! Each thread of the door has its own counters and is the only one that writes them: a plain
//! load and store instead of a locked addition. Whoever reads adds them up.

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;

/// A counter with one writer.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    #[inline]
    pub(crate) fn add(&self, count: u64) {
        // One writer: nothing can come in between.
        let now = self.0.load(Ordering::Relaxed);
        self.0.store(now.wrapping_add(count), Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

/// Buckets of a histogram: bucket `i` counts what took less than 2^i microseconds.
pub(crate) const BUCKETS: usize = 24;

/// Durations by powers of two.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    buckets: [Counter; BUCKETS],
    sum_nanos: Counter,
}

impl Histogram {
    #[inline]
    pub(crate) fn record(&self, elapsed: Duration) {
        let nanos = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        let micros = nanos / 1_000;
        let index = (u64::BITS - micros.leading_zeros()) as usize;
        self.buckets[index.min(BUCKETS - 1)].add(1);
        self.sum_nanos.add(nanos);
    }

    fn add_to(&self, totals: &mut HistogramTotals) {
        for (total, bucket) in totals.buckets.iter_mut().zip(&self.buckets) {
            *total += bucket.get();
        }
        totals.sum_nanos += self.sum_nanos.get();
    }

    fn reset(&self) {
        self.buckets.iter().for_each(Counter::reset);
        self.sum_nanos.reset();
    }
}

/// A histogram added up over threads.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct HistogramTotals {
    pub(crate) buckets: [u64; BUCKETS],
    pub(crate) sum_nanos: u64,
}

/// The counters of one thread.
#[derive(Debug)]
pub(crate) struct ThreadStats {
    /// Calls of each command, by its index in the table.
    pub(crate) calls: Box<[Counter]>,
    /// Commands that were answered with an error.
    pub(crate) errors: Counter,
    pub(crate) connections: Counter,
    pub(crate) bytes_in: Counter,
    pub(crate) bytes_out: Counter,
    pub(crate) key_hits: Counter,
    pub(crate) key_misses: Counter,
    /// Reads that shared a view, from the arrival of the input to the end of the view.
    pub(crate) reads: Histogram,
    /// Writes of one pipeline, from proposing to the replies.
    pub(crate) writes: Histogram,
}

impl ThreadStats {
    pub(crate) fn new(commands: usize) -> Self {
        Self {
            calls: (0..commands).map(|_| Counter::default()).collect(),
            errors: Counter::default(),
            connections: Counter::default(),
            bytes_in: Counter::default(),
            bytes_out: Counter::default(),
            key_hits: Counter::default(),
            key_misses: Counter::default(),
            reads: Histogram::default(),
            writes: Histogram::default(),
        }
    }

    fn reset(&self) {
        self.calls.iter().for_each(Counter::reset);
        for counter in [
            &self.errors,
            &self.connections,
            &self.bytes_in,
            &self.bytes_out,
            &self.key_hits,
            &self.key_misses,
        ] {
            counter.reset();
        }
        self.reads.reset();
        self.writes.reset();
    }
}

/// The counters of all threads.
#[derive(Debug)]
pub(crate) struct Stats {
    threads: Box<[ThreadStats]>,
}

/// The counters added up.
#[derive(Clone, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) calls: Vec<u64>,
    pub(crate) commands: u64,
    pub(crate) errors: u64,
    pub(crate) connections: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) key_hits: u64,
    pub(crate) key_misses: u64,
    pub(crate) reads: HistogramTotals,
    pub(crate) writes: HistogramTotals,
}

impl Stats {
    pub(crate) fn new(threads: usize, commands: usize) -> Self {
        Self {
            threads: (0..threads).map(|_| ThreadStats::new(commands)).collect(),
        }
    }

    /// The counters of a thread, which only that thread may write.
    pub(crate) fn thread(&self, index: usize) -> &ThreadStats {
        &self.threads[index]
    }

    /// Starts from zero. A count that races with this may survive it.
    pub(crate) fn reset(&self) {
        self.threads.iter().for_each(ThreadStats::reset);
    }

    pub(crate) fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for thread in &self.threads {
            totals.calls.resize(thread.calls.len(), 0);
            for (total, calls) in totals.calls.iter_mut().zip(&thread.calls) {
                *total += calls.get();
            }
            totals.errors += thread.errors.get();
            totals.connections += thread.connections.get();
            totals.bytes_in += thread.bytes_in.get();
            totals.bytes_out += thread.bytes_out.get();
            totals.key_hits += thread.key_hits.get();
            totals.key_misses += thread.key_misses.get();
            thread.reads.add_to(&mut totals.reads);
            thread.writes.add_to(&mut totals.writes);
        }
        totals.commands = totals.calls.iter().sum();
        totals
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_lands_in_the_bucket_above_it() {
        let histogram = Histogram::default();
        for micros in [0, 1, 2, 3, 1_000, u64::MAX / 1_000] {
            histogram.record(Duration::from_micros(micros));
        }
        let mut totals = HistogramTotals::default();
        histogram.add_to(&mut totals);
        assert_eq!(totals.buckets[0..3], [1, 1, 2]);
        assert_eq!(totals.buckets[10], 1);
        assert_eq!(totals.buckets[BUCKETS - 1], 1);
    }
}
