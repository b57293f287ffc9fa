//! Worlds with every kind of trouble: all answers are exact and nobody waits for ever.
//!
//! `MINER_SOAK_SEEDS=3000 cargo test -p miner-core --test it random -- --nocapture` runs so many;
//! `MINER_SOAK_SEED` runs one alone.

use miner_core::Counters;

use crate::world::{draw, run};

/// Worlds in the ordinary run.
const SEEDS: u64 = 60;

#[expect(
    clippy::disallowed_methods,
    reason = "a test's own switch, not the core's"
)]
fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn every_answer_is_exact_whatever_happens() {
    let seeds = match variable("MINER_SOAK_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..variable("MINER_SOAK_SEEDS").unwrap_or(SEEDS),
    };
    let count = seeds.end - seeds.start;
    let mut sum = Counters::default();
    for seed in seeds {
        let scenario = draw(seed);
        let outcome = run(&scenario).unwrap_or_else(|error| panic!("{error}\n{scenario:#?}"));
        sum.caught += outcome.counters.caught;
        sum.hedged += outcome.counters.hedged;
        sum.checked += outcome.counters.checked;
        sum.late += outcome.counters.late;
        sum.solved += outcome.counters.solved;
    }
    println!("{count} worlds: {sum:?}");
    if count >= SEEDS {
        // The worlds had what they are drawn for.
        assert!(sum.caught > 5 && sum.hedged > 5 && sum.checked > 30 && sum.late > 5);
        assert!(sum.solved > 5, "{sum:?}");
    }
}

#[test]
fn a_world_repeats_from_its_seed() {
    for seed in [3, 14] {
        let [one, two] = [(); 2].map(|()| run(&draw(seed)).unwrap());
        assert_eq!(one.answered, two.answered);
        assert_eq!(one.counters, two.counters);
    }
}
