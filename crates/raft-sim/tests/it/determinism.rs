//! The same seed gives the same run, event by event.

use raft_sim::{Options, RunOptions, draw_plan, run, run_plan, run_seed};
use sim::Recording;

#[test]
fn the_same_seed_gives_the_same_trace_hash() {
    for seed in 0xde70..0xde74 {
        let summary = |_| run_seed(seed, RunOptions::default()).expect("it passes");
        let [first, second] = [1, 2].map(summary);
        assert_eq!(first, second);
        assert!(first.events > 500, "{first}");
    }
}

#[test]
fn another_seed_gives_another_hash_and_recording_does_not() {
    let options = Options::draw(0xde80);
    let first = run(0xde80, &options).expect("it passes");
    let second = run(0xde81, &options).expect("it passes");
    assert_ne!(first.hash, second.hash);
    let plan = draw_plan(0xde80, &options);
    let recorded = run_plan(0xde80, &options, &plan, Recording::Last(100)).expect("it passes");
    assert_eq!(first, recorded);
}
