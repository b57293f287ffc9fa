//! Bugs on purpose: each is found within a stated number of seeds, and by the checker that is
//! there for it.

use mapreduce_core::PlantedBug;
use mapreduce_sim::{Scenario, run_with};

/// What may be found: a property, and words of what was seen.
type Found = (&'static str, &'static str);

/// The first failure that a bug leads to must be one of these, and be there within so many
/// seeds.
#[track_caller]
fn finds(bug: PlantedBug, expected: &[Found], seeds: u64) {
    finds_in(bug, expected, seeds, |_| {});
}

#[track_caller]
fn finds_in(bug: PlantedBug, expected: &[Found], seeds: u64, change: fn(&mut Scenario)) {
    for seed in 0..seeds {
        let mut scenario = Scenario::draw(seed);
        scenario.kill_every_worker();
        change(&mut scenario);
        scenario.config.planted = Some(bug);
        if let Err(failure) = run_with(&scenario) {
            let sim::Violation { property, detail } = &failure.violation;
            let right = expected
                .iter()
                .any(|(name, words)| name == property && detail.contains(words));
            assert!(right, "seed {seed} fails for another reason: {failure}");
            println!("{bug:?} is found by seed {seed}: {property}: {detail}");
            return;
        }
    }
    panic!("{bug:?} is not found within {seeds} seeds");
}

const COMMITS: &str = "one commit for each task";
const DURABLE: &str = "commits are durable before they are seen";
const SPEAKS: &str = "only who has opened the journal speaks";
const RECEIPT: &str = "the receipt adds up";

#[test]
fn sim_finds_a_double_commit() {
    finds(PlantedBug::DoubleCommit, &[(COMMITS, ", then ")], 50);
}

#[test]
fn sim_finds_a_lost_reexecution() {
    let expected = [("every job ends", "no coordinator saw the end")];
    finds(PlantedBug::LostReexecution, &expected, 20);
}

#[test]
fn sim_finds_early_visibility() {
    // Of commits, or of the very epoch.
    let expected = [
        (DURABLE, "is published and not in the journal"),
        (SPEAKS, "which nobody has opened"),
    ];
    finds(PlantedBug::EarlyVisibility, &expected, 20);
}

#[test]
fn sim_finds_a_zombie_that_is_believed() {
    let expected = [
        ("winners' files exist", "is not there"),
        (COMMITS, ", then "),
    ];
    finds_in(PlantedBug::ZombieAccepted, &expected, 50, |scenario| {
        scenario.hasty = false;
    });
}

#[test]
fn sim_finds_counters_of_losers() {
    let expected = [(RECEIPT, "the counters are not the sum")];
    finds(PlantedBug::LoserCounters, &expected, 50);
}

#[test]
fn sim_finds_a_fenced_coordinator_that_goes_on() {
    let expected = [
        ("a journal without gaps", "was written"),
        (DURABLE, "is published and not in the journal"),
        (COMMITS, ", then "),
        ("one output", "publishes another"),
    ];
    // The key alone would stop it before it does harm.
    finds_in(PlantedBug::ConflictIgnored, &expected, 400, |scenario| {
        scenario.hasty = true;
        scenario.deaf = true;
    });
}

#[test]
fn sim_finds_a_mismatch_that_is_ignored() {
    let expected = [
        (RECEIPT, "read other records"),
        (RECEIPT, "is not deterministic"),
    ];
    finds(PlantedBug::MismatchIgnored, &expected, 400);
}

#[test]
fn sim_finds_a_reduce_that_read_something_else() {
    let expected = [(RECEIPT, "read other records")];
    finds(PlantedBug::ConservationUnchecked, &expected, 100);
}

#[test]
fn sim_finds_a_coordinator_that_speaks_early() {
    let expected = [(SPEAKS, "which nobody has opened")];
    finds(PlantedBug::SpeaksEarly, &expected, 20);
}

#[test]
fn sim_finds_an_impatient_standby() {
    let expected = [("a leader that lives is left alone", "it was replaced")];
    finds(PlantedBug::ImpatientStandby, &expected, 20);
}
