//! CMU 15-440, project 2: the six public tests, and what a student guessed of the hidden
//! ones. The course's simulated network delays like MIT's, long delays included.

use core::time::Duration;

use bytes::Bytes;
use raft_sim::{ELECTION_TIMEOUT, Scenario};
use sim::{LongReorder, NetworkOptions};
use stdx::{NodeId, Term};

/// Quick and faithful, but a tenth of the replies take up to two seconds.
const LONG_DELAYS: NetworkOptions = NetworkOptions {
    long_reorder: Some(LongReorder {
        per_mille: 100,
        ..LongReorder::LABRPC
    }),
    ..NetworkOptions::RELIABLE
};

fn story(seed: u64, servers: u64) -> Scenario {
    Scenario::new(seed, servers, LONG_DELAYS)
}

fn command(number: u64) -> Bytes {
    Bytes::copy_from_slice(&number.to_le_bytes())
}

fn cut(
    story: &mut Scenario,
    from: NodeId,
    distances: core::ops::RangeInclusive<usize>,
) -> Vec<NodeId> {
    let lost: Vec<NodeId> = distances
        .map(|distance| story.after(from, distance))
        .collect();
    lost.iter().for_each(|&id| story.disconnect(id));
    lost
}

#[test]
fn test_initial_election_2a() {
    let mut story = story(0x2a01, 3);
    let leader = story.one_leader();
    let term = story.agreed_term();
    assert!(term >= Term::new(1));
    story.run(2 * ELECTION_TIMEOUT);
    assert_eq!(story.one_leader(), leader);
    assert_eq!(story.agreed_term(), term);
}

#[test]
fn test_re_election_2a() {
    let mut story = story(0x2a02, 3);
    let first = story.one_leader();
    story.disconnect(first);
    let second = story.one_leader();
    story.connect(first);
    assert_eq!(story.one_leader(), second);
    let third = cut(&mut story, second, 1..=1)[0];
    story.disconnect(second);
    story.run(2 * ELECTION_TIMEOUT);
    story.no_leader();
    story.connect(third);
    story.one_leader();
    story.connect(second);
    story.one_leader();
}

#[test]
fn test_basic_agree_2b() {
    let mut story = story(0x2b01, 5);
    let mut last = story.one(&command(100), 5);
    for number in 2..=3_u64 {
        assert_eq!(story.committed(last.next()).0, 0);
        let index = story.one(&command(number * 100), 5);
        assert_eq!(index, last.next());
        last = index;
    }
}

#[test]
fn test_fail_agree_2b() {
    let mut story = story(0x2b02, 3);
    story.one(&command(101), 3);
    let leader = story.one_leader();
    let lost = cut(&mut story, leader, 1..=1)[0];
    for number in 102..=105 {
        story.one(&command(number), 2);
    }
    story.connect(lost);
    story.one(&command(106), 3);
    story.run(ELECTION_TIMEOUT);
    story.one(&command(107), 3);
}

#[test]
fn test_fail_no_agree_2b() {
    let mut story = story(0x2b03, 5);
    story.one(&command(10), 5);
    let leader = story.one_leader();
    let lost = cut(&mut story, leader, 1..=3);
    let (index, _) = story.propose(leader, &command(20)).expect("it leads");
    story.run(2 * ELECTION_TIMEOUT);
    assert_eq!(story.committed(index).0, 0, "committed without a majority");
    lost.iter().for_each(|&id| story.connect(id));
    story.one_leader();
    story.one(&command(1_000), 5);
}

#[test]
fn test_concurrent_put_commands_2b() {
    let mut story = story(0x2b04, 3);
    let leader = story.one_leader();
    let proposed: Vec<_> = (0..5)
        .map(|number| story.propose(leader, &command(number)).expect("it leads"))
        .collect();
    assert!(proposed.iter().all(|&(_, term)| term == proposed[0].1));
    story.one(&command(6), 3);
    for (number, &(index, _)) in (0..).zip(&proposed) {
        assert_eq!(story.committed(index).1, Some(command(number)));
    }
}

/// A leader that lost its followers and came back doesn't lead beside the new one.
#[test]
fn test_leader_consistency_hidden() {
    let mut story = story(0x2c01, 5);
    for _ in 0..5 {
        let leader = story.one_leader();
        story.disconnect(leader);
        let next = story.one_leader();
        assert_ne!(next, leader);
        story.connect(leader);
        assert_eq!(story.one_leader(), next);
    }
}

#[test]
fn test_small_partition_no_consensus() {
    no_consensus(story(0x2c02, 3), 2);
}

#[test]
fn test_large_partition_no_consensus() {
    no_consensus(story(0x2c03, 11), 6);
}

fn no_consensus(mut story: Scenario, lost: usize) {
    let servers = story.nodes().len();
    story.one(&command(1), servers);
    let leader = story.one_leader();
    let lost = cut(&mut story, leader, 1..=lost);
    let (index, _) = story.propose(leader, &command(2)).expect("it leads");
    story.run(3 * ELECTION_TIMEOUT);
    story.no_leader();
    assert_eq!(story.committed(index).0, 0, "committed without a majority");
    lost.iter().for_each(|&id| story.connect(id));
    story.one(&command(3), servers);
}

#[test]
fn test_re_election_hidden() {
    let mut story = story(0x2c04, 7);
    for _ in 0..8 {
        let leader = story.one_leader();
        let lost = cut(&mut story, leader, 0..=2);
        let next = story.one_leader();
        assert!(!lost.contains(&next));
        lost.iter().for_each(|&id| story.connect(id));
    }
    story.one_leader();
}

#[test]
fn test_rejoin_hidden_2b() {
    let mut story = story(0x2c05, 3);
    story.one(&command(101), 3);
    let first = story.one_leader();
    story.disconnect(first);
    for number in 102..105 {
        story
            .propose(first, &command(number))
            .expect("it believes that it leads");
    }
    story.one(&command(103), 2);
    let second = story.one_leader();
    story.disconnect(second);
    story.connect(first);
    story.one(&command(104), 2);
    story.connect(second);
    story.one(&command(105), 3);
}

/// Both sides of a partition take entries; one side's survive, on all servers.
#[test]
fn test_partition_rejoin_hidden_2b() {
    let mut story = story(0x2c06, 5);
    story.one(&command(1), 5);
    let leader = story.one_leader();
    let nodes = story.nodes();
    let minority = [leader, story.after(leader, 1)];
    let majority: Vec<NodeId> = nodes
        .iter()
        .copied()
        .filter(|id| !minority.contains(id))
        .collect();
    story
        .cluster
        .world
        .network_mut()
        .partition(&[&minority, &majority], &nodes);
    for number in 0..10 {
        story
            .propose(leader, &command(100 + number))
            .expect("it believes that it leads");
    }
    story.run(2 * ELECTION_TIMEOUT);
    for number in 0..10 {
        story.one(&command(200 + number), 3);
    }
    story.cluster.world.network_mut().heal();
    story.run(Duration::from_secs(1));
    let last = story.one(&command(300), 5);
    let found: Vec<_> = (1..=last.get())
        .filter_map(|index| story.committed(stdx::LogIndex::new(index)).1)
        .collect();
    assert!(found.contains(&command(205)));
    assert!(!found.contains(&command(105)));
}

#[test]
fn test_backup_hidden_2b() {
    let mut story = story(0x2c07, 5);
    story.one(&command(1), 5);
    for round in 0..3 {
        let leader = story.one_leader();
        let lost = cut(&mut story, leader, 2..=4);
        for number in 0..50 {
            story
                .propose(leader, &command(1_000 * (round + 1) + number))
                .expect("it believes that it leads");
        }
        story.run(ELECTION_TIMEOUT / 2);
        let minority = cut(&mut story, leader, 0..=1);
        lost.iter().for_each(|&id| story.connect(id));
        for number in 0..50 {
            story.one(&command(10_000 * (round + 1) + number), 3);
        }
        minority.iter().for_each(|&id| story.connect(id));
        story.one(&command(round + 2), 5);
    }
}
