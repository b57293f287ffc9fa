//! Drawn options and drawn faults: some seeds always, and every seed that ever failed.

use raft_sim::{Coverage, RunOptions, Served, Summary, run_seed};

/// Seeds that run in every test.
const SEEDS: core::ops::Range<u64> = 0x5eed_0000..0x5eed_0010;

#[track_caller]
fn passes(seed: u64) -> Summary {
    match run_seed(seed, RunOptions::default()) {
        Ok(summary) => summary,
        Err(failure) => panic!("{failure}"),
    }
}

#[test]
fn sixteen_seeds_pass() {
    let mut total = Served::default();
    let mut coverage = Coverage::default();
    for seed in SEEDS {
        let summary = passes(seed);
        total.add(summary.served);
        coverage.add(summary.coverage);
    }
    // A run in which nothing is served proves nothing.
    assert!(total.writes > 500, "{total:?}");
    assert!(total.lease_reads > 100, "{total:?}");
    assert!(total.quorum_reads > 100, "{total:?}");
    assert!(total.unknown > 10, "{total:?}");
    assert!(coverage.elections > 30, "{coverage}");
    assert!(coverage.truncations > 5, "{coverage}");
    assert!(coverage.snapshots > 2, "{coverage}");
    assert!(coverage.changes > 20, "{coverage}");
    assert!(coverage.transfers > 5, "{coverage}");
    assert!(coverage.deaths > 20, "{coverage}");
}

#[test]
fn seeds_that_once_failed_pass() {
    let seeds = include_str!("../testdata/seeds.txt");
    for line in seeds.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let digits = line.strip_prefix("0x").expect("seeds are written as 0x..");
        passes(u64::from_str_radix(digits, 16).expect("a hexadecimal number"));
    }
}
