//! Jobs survive what the simulated world does to them, and planted bugs don't: the published
//! result is always the sequential run's, under crashes of every worker, at every step of the
//! journal, with lost and repeated messages, zombies and two coordinators.
#![expect(
    clippy::print_stdout,
    reason = "tests tell how soon a planted bug was found"
)]

mod planted;

use mapreduce_sim::{Scenario, run, run_with};

#[test]
fn sim_seeds_give_the_sequential_result() {
    let (mut succeeded, mut failures, mut epochs) = (0_u32, 0, 0);
    for seed in 0..400 {
        let summary = run(seed).unwrap_or_else(|failure| panic!("{failure}"));
        succeeded += u32::from(summary.succeeded);
        failures += summary.failures;
        epochs += summary.epoch;
    }
    // The faults happened, and nearly all jobs have a result all the same.
    assert!(succeeded > 350, "{succeeded}");
    assert!(failures > 400, "{failures}");
    assert!(epochs > 500, "{epochs}");
}

#[test]
fn sim_every_worker_is_killed_once() {
    for seed in 0..200 {
        let mut scenario = Scenario::draw(seed);
        scenario.kill_every_worker();
        run_with(&scenario).unwrap_or_else(|failure| panic!("{failure}"));
    }
}

/// Safety is not the key's doing: coordinators that were replaced go on as if there were none.
#[test]
fn sim_replaced_coordinators_do_no_harm() {
    for seed in 0..100 {
        let mut scenario = Scenario::draw(seed);
        (scenario.hasty, scenario.deaf) = (true, true);
        run_with(&scenario).unwrap_or_else(|failure| panic!("{failure}"));
    }
}

/// Kills the coordinator when each batch of the journal arrives, before and after it is
/// written; returns how many runs that was.
fn kill_at_every_step(scenario: &Scenario) -> u32 {
    let undisturbed = run_with(scenario).unwrap_or_else(|failure| panic!("{failure}"));
    let mut runs = 0;
    for batch in 1..=undisturbed.batches {
        for written in [false, true] {
            let mut scenario = scenario.clone();
            scenario.die_at_batch = Some((batch, written));
            let summary = run_with(&scenario).unwrap_or_else(|f| panic!("{batch}: {f}"));
            assert_eq!(summary.succeeded, undisturbed.succeeded, "batch {batch}");
            runs += 1;
        }
    }
    runs
}

#[test]
fn sim_the_coordinator_is_killed_at_every_step_of_the_journal() {
    let runs: u32 = (0..12)
        .map(|seed| kill_at_every_step(&Scenario::quiet(seed)))
        .sum();
    assert!(runs > 100, "{runs} runs");
}

#[test]
fn sim_the_coordinator_is_killed_at_every_step_with_messages_lost_and_repeated() {
    let mut runs = 0;
    for seed in 0..6 {
        let mut scenario = Scenario::quiet(seed);
        scenario.loss_per_mille = 100;
        scenario.duplicate_per_mille = 200;
        scenario.ordered = false;
        runs += kill_at_every_step(&scenario);
    }
    assert!(runs > 50, "{runs} runs");
}

#[test]
fn sim_a_seed_means_the_same_run() {
    for seed in 0..20 {
        let hash = |seed| run(seed).unwrap_or_else(|failure| panic!("{failure}")).hash;
        assert_eq!(hash(seed), hash(seed));
    }
}
