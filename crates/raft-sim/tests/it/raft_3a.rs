//! MIT 6.5840, lab 3A: elections.

use core::time::Duration;

use raft_sim::{ELECTION_TIMEOUT, Scenario};
use sim::NetworkOptions;
use stdx::Term;

#[test]
fn test_initial_election_3a() {
    let mut story = Scenario::new(0x3a01, 3, NetworkOptions::RELIABLE);
    let leader = story.one_leader();
    story.run(Duration::from_millis(50));
    let term = story.agreed_term();
    assert!(term >= Term::new(1));
    // Nothing fails, so nothing changes.
    story.run(2 * ELECTION_TIMEOUT);
    assert_eq!(story.agreed_term(), term);
    assert_eq!(story.one_leader(), leader);
}

#[test]
fn test_re_election_3a() {
    let mut story = Scenario::new(0x3a02, 3, NetworkOptions::RELIABLE);
    let first = story.one_leader();
    story.disconnect(first);
    let second = story.one_leader();
    assert_ne!(first, second);
    // The old leader comes back and disturbs nobody.
    let term = story.agreed_term();
    story.connect(first);
    assert_eq!(story.one_leader(), second);
    assert_eq!(story.agreed_term(), term);
    // No quorum, no leader.
    let third = story.after(second, 1);
    story.disconnect(second);
    story.disconnect(third);
    story.run(2 * ELECTION_TIMEOUT);
    story.no_leader();
    // A quorum, a leader.
    story.connect(third);
    story.one_leader();
    // The last one comes back: still exactly one.
    story.connect(second);
    story.one_leader();
}

#[test]
fn test_many_elections_3a() {
    let mut story = Scenario::new(0x3a03, 7, NetworkOptions::RELIABLE);
    story.one_leader();
    for _ in 0..9 {
        let mut nodes = story.nodes();
        story.prng.shuffle(&mut nodes);
        for &id in &nodes[..3] {
            story.disconnect(id);
        }
        // Either the leader is still there, or the other four elect one.
        story.one_leader();
        for &id in &nodes[..3] {
            story.connect(id);
        }
    }
    story.one_leader();
}
