//! Drawn options and drawn faults: some seeds always, and every seed that ever failed.

use raft_sim::{RunOptions, Served, run_seed};

/// Seeds that run in every test.
const SEEDS: core::ops::Range<u64> = 0x5eed_0000..0x5eed_0010;

#[track_caller]
fn passes(seed: u64) -> Served {
    match run_seed(seed, RunOptions::default()) {
        Ok(summary) => summary.served,
        Err(failure) => panic!("{failure}"),
    }
}

#[test]
fn sixteen_seeds_pass() {
    let mut total = Served::default();
    for seed in SEEDS {
        let served = passes(seed);
        total.writes += served.writes;
        total.lease_reads += served.lease_reads;
        total.quorum_reads += served.quorum_reads;
        total.unknown += served.unknown;
    }
    // A run in which nothing is served proves nothing.
    assert!(total.writes > 500, "{total:?}");
    assert!(total.lease_reads > 100, "{total:?}");
    assert!(total.quorum_reads > 100, "{total:?}");
    assert!(total.unknown > 10, "{total:?}");
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
