//! Bugs on purpose are found by looking at answers alone.

use miner_core::PlantedBug;

use crate::world::{at, draw, run};

/// Seeds that are tried until one shows the bug.
const SEEDS: u64 = 80;

/// Whether a world of this seed shows it.
///
/// The worlds have more restarts, and more jobs that go on after them, than usual.
fn shows(seed: u64, bug: Option<PlantedBug>) -> bool {
    let mut scenario = draw(seed);
    if seed.is_multiple_of(2) {
        scenario.restarts = (0..20).map(|number| at(4.0 * f64::from(number))).collect();
        for job in &mut scenario.jobs {
            job.keyed = true;
        }
    }
    scenario.config.planted = bug;
    scenario.looks_inside = false;
    run(&scenario).is_err()
}

fn is_found(bug: PlantedBug) -> bool {
    let first = (0..SEEDS).find(|seed| shows(*seed, Some(bug)));
    // It is the bug that the seed shows.
    first.is_some_and(|seed| !shows(seed, None))
}

#[test]
fn the_last_nonce_skipped_is_found() {
    assert!(is_found(PlantedBug::LastNonceSkipped));
}

#[test]
fn a_late_result_credited_is_found() {
    assert!(is_found(PlantedBug::LateResultCredited));
}

#[test]
fn claims_that_are_not_hashed_again_are_found() {
    assert!(is_found(PlantedBug::NoRehash));
}

#[test]
fn forgotten_ranges_of_lost_workers_are_found() {
    assert!(is_found(PlantedBug::LostRangesForgotten));
}

#[test]
fn a_restart_that_takes_work_for_done_is_found() {
    assert!(is_found(PlantedBug::OutstandingSavedAsDone));
}

#[test]
fn headers_for_workers_that_do_not_know_them_are_found() {
    assert!(is_found(PlantedBug::HeadersToAll));
}

#[test]
fn a_header_that_is_given_up_too_early_is_found() {
    assert!(is_found(PlantedBug::UnsolvedAnswered));
}
