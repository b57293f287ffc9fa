//! Bugs on purpose are found by looking at answers alone.

use miner_core::PlantedBug;

use crate::world::{at, draw, run};

/// How many of the first seeds show it.
///
/// The worlds have more restarts, and more jobs that go on after them, than usual.
fn found(bug: Option<PlantedBug>) -> usize {
    let is_found = |seed: &u64| {
        let mut scenario = draw(*seed);
        if seed.is_multiple_of(2) {
            scenario.restarts = (0..20).map(|number| at(4.0 * f64::from(number))).collect();
            for job in &mut scenario.jobs {
                job.keyed = true;
            }
        }
        scenario.config.planted = bug;
        scenario.looks_inside = false;
        run(&scenario).is_err()
    };
    (0..80).filter(is_found).count()
}

#[test]
fn without_a_bug_nothing_is_found() {
    assert_eq!(found(None), 0);
}

#[test]
fn the_last_nonce_skipped_is_found() {
    assert!(found(Some(PlantedBug::LastNonceSkipped)) > 0);
}

#[test]
fn a_late_result_credited_is_found() {
    assert!(found(Some(PlantedBug::LateResultCredited)) > 0);
}

#[test]
fn claims_that_are_not_hashed_again_are_found() {
    assert!(found(Some(PlantedBug::NoRehash)) > 0);
}

#[test]
fn forgotten_ranges_of_lost_workers_are_found() {
    assert!(found(Some(PlantedBug::LostRangesForgotten)) > 0);
}

#[test]
fn a_restart_that_takes_work_for_done_is_found() {
    assert!(found(Some(PlantedBug::OutstandingSavedAsDone)) > 0);
}
