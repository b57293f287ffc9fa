//! Worlds with every kind of trouble: all answers are exact and nobody waits for ever.

use crate::world::{draw, run};

#[test]
fn every_answer_is_exact_whatever_happens() {
    let (mut caught, mut hedged, mut checked, mut late) = (0, 0, 0, 0);
    for seed in 0..300 {
        let scenario = draw(seed);
        let outcome = run(&scenario).unwrap_or_else(|error| panic!("{error}\n{scenario:#?}"));
        caught += outcome.counters.caught;
        hedged += outcome.counters.hedged;
        checked += outcome.counters.checked;
        late += outcome.counters.late;
    }
    // The worlds had what they are drawn for.
    assert!(caught > 20 && hedged > 20 && checked > 100 && late > 20);
}

#[test]
fn a_world_repeats_from_its_seed() {
    for seed in [3, 14, 15] {
        let [one, two] = [(); 2].map(|()| run(&draw(seed)).unwrap());
        assert_eq!(one.answered, two.answered);
        assert_eq!(one.counters, two.counters);
    }
}
