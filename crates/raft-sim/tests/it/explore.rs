//! Every order of what may happen to three cores within a few steps.

use core::time::Duration;

use raft::{Lease, LeaseClock, LeasePolicy, PlantedBug};
use raft_sim::{Exploration, ExploreOptions, explore};

const LEASE: Lease = Lease {
    duration: Duration::from_secs(1),
    drift_ppm: 500,
};
const LOG: LeasePolicy = LeasePolicy::Log(LEASE, LeaseClock::Drift);
const WAIT_OUT: LeasePolicy = LeasePolicy::WaitOut(LEASE);

/// Steps that every test run explores.
const DEPTH: usize = 4;

#[expect(clippy::print_stdout, reason = "what a longer exploration has seen")]
fn nothing_is_stale(policy: LeasePolicy) -> Exploration {
    let options = ExploreOptions::new(policy, DEPTH);
    let seen = explore(&options).expect("no read is stale");
    println!("{policy:?} to depth {}: {seen:?}", options.depth);
    assert!(
        seen.states > 1_000 && seen.reads > 1_000 && seen.waiting > 100,
        "{seen:?}"
    );
    seen
}

#[test]
fn a_lease_in_the_log_lets_nobody_read_stale() {
    let seen = nothing_is_stale(LOG);
    assert!(seen.inherited > 100, "{seen:?}");
}

#[test]
fn a_lease_that_is_waited_out_lets_nobody_read_stale() {
    assert_eq!(nothing_is_stale(WAIT_OUT).inherited, 0);
}

/// A bug that a few steps are enough for is found.
fn finds(bug: PlantedBug, policy: LeasePolicy, depth: usize) {
    let mut options = ExploreOptions::new(policy, depth);
    options.config.planted = Some(bug);
    let found = explore(&options);
    assert!(found.is_err(), "{bug:?}: {found:?}");
}

#[test]
fn a_commit_that_does_not_wait_is_found() {
    finds(PlantedBug::CommitNotDeferred, LOG, 5);
}

#[test]
fn a_limbo_that_is_ignored_is_found() {
    finds(PlantedBug::LimboIgnored, LOG, 5);
}
