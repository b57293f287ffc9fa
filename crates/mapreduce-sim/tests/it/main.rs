//! Jobs survive what the simulated world does to them, and planted bugs don't: the published
//! result is the sequential run's when the coordinator dies at any step of the journal.

use mapreduce_core::PlantedBug;
use mapreduce_sim::{Scenario, run, run_with};

#[test]
fn sim_the_coordinator_is_killed_at_every_step_of_the_journal() {
    let mut points = 0;
    for seed in 0..12 {
        let quiet = Scenario::quiet(seed);
        let batches = run_with(&quiet)
            .unwrap_or_else(|failure| panic!("{failure}"))
            .batches;
        for batch in 1..=batches {
            for written in [false, true] {
                let mut scenario = quiet.clone();
                scenario.die_at_batch = Some((batch, written));
                let summary = run_with(&scenario).unwrap_or_else(|f| panic!("{batch}: {f}"));
                assert!(summary.succeeded);
                points += 1;
            }
        }
    }
    assert!(points > 100, "{points} points");
}

#[test]
fn sim_a_seed_means_the_same_run() {
    for seed in 0..20 {
        let hash = |seed| run(seed).unwrap_or_else(|failure| panic!("{failure}")).hash;
        assert_eq!(hash(seed), hash(seed));
    }
}

/// Each bug, and how many seeds may pass until it is found.
const SEEDS_MAX: u64 = 400;

#[test]
fn sim_planted_bugs_are_found() {
    for bug in PlantedBug::ALL {
        let found = (0..SEEDS_MAX).find(|seed| {
            let mut scenario = Scenario::draw(*seed);
            scenario.kill_every_worker();
            scenario.config.planted = Some(bug);
            run_with(&scenario).is_err()
        });
        println!("{bug:?} is found by seed {found:?}");
        assert!(
            found.is_some(),
            "{bug:?} is not found within {SEEDS_MAX} seeds"
        );
    }
}
