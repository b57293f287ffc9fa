//! MIT 6.5840, lab 3C: persistence. Every crash loses what wasn't synced.

use core::time::Duration;
use std::collections::BTreeSet;

use bytes::Bytes;
use raft_sim::{ELECTION_TIMEOUT, Scenario};
use sim::{LongReorder, NetworkOptions};
use stdx::{LogIndex, NodeId, Prng};

fn reliable(seed: u64, servers: u64) -> Scenario {
    Scenario::new(seed, servers, NetworkOptions::RELIABLE)
}

fn unreliable(seed: u64, servers: u64) -> Scenario {
    Scenario::new(seed, servers, NetworkOptions::UNRELIABLE)
}

fn command(number: u64) -> Bytes {
    Bytes::copy_from_slice(&number.to_le_bytes())
}

fn random_command(story: &mut Scenario) -> Bytes {
    story.draw(8)
}

#[test]
fn test_persist1_3c() {
    let mut story = reliable(0x3c01, 3);
    story.one(&command(11), 3);
    story.nodes().into_iter().for_each(|id| story.crash(id));
    story.nodes().into_iter().for_each(|id| story.start(id));
    story.one(&command(12), 3);
    let first = story.one_leader();
    story.restart(first);
    story.one(&command(13), 3);
    let second = story.one_leader();
    story.crash(second);
    let index = story.one(&command(14), 2);
    story.start(second);
    while story.committed(index).0 < 3 {
        story.run(Duration::from_millis(10));
    }
    let leader = story.one_leader();
    let third = story.after(leader, 1);
    story.crash(third);
    story.one(&command(15), 2);
    story.start(third);
    story.one(&command(16), 3);
}

#[test]
fn test_persist2_3c() {
    let mut story = reliable(0x3c02, 5);
    let mut number = 0;
    let mut next = || {
        number += 1;
        command(number)
    };
    for _ in 0..5 {
        story.one(&next(), 5);
        let leader = story.one_leader();
        let [one, two, three, four] = [1, 2, 3, 4].map(|distance| story.after(leader, distance));
        story.crash(one);
        story.crash(two);
        story.one(&next(), 3);
        [leader, three, four]
            .into_iter()
            .for_each(|id| story.crash(id));
        story.start(one);
        story.start(two);
        story.run(ELECTION_TIMEOUT);
        story.start(three);
        story.one(&next(), 3);
        story.start(four);
        story.start(leader);
    }
    story.one(&next(), 5);
}

#[test]
fn test_persist3_3c() {
    let mut story = reliable(0x3c03, 3);
    story.one(&command(101), 3);
    let leader = story.one_leader();
    let [one, two] = [1, 2].map(|distance| story.after(leader, distance));
    story.crash(two);
    story.one(&command(102), 2);
    story.crash(leader);
    story.crash(one);
    story.start(two);
    story.start(leader);
    story.one(&command(103), 2);
    story.start(one);
    story.one(&command(104), 3);
}

/// Leaders crash right after they took entries, a thousand times: an entry of an old term
/// must not be committed by counting its replicas (the paper's figure 8).
#[test]
fn test_figure8_3c() {
    let mut story = reliable(0x3c04, 5);
    let first = random_command(&mut story);
    story.one(&first, 1);
    for _ in 0..1_000 {
        let mut leader = None;
        for id in story.running() {
            let bytes = random_command(&mut story);
            leader = story.propose(id, &bytes).map(|_| id).or(leader);
        }
        pause(&mut story);
        if let Some(leader) = leader {
            story.crash(leader);
        }
        if story.running().len() < 3 {
            let id = story.random();
            story.start(id);
        }
    }
    story.nodes().into_iter().for_each(|id| story.start(id));
    let last = random_command(&mut story);
    story.one(&last, 5);
}

/// Mostly a few milliseconds, sometimes half an election timeout.
fn pause(story: &mut Scenario) {
    let millis = if story.prng.chance(1, 10) {
        story.prng.below(500)
    } else {
        story.prng.below(13)
    };
    story.run(Duration::from_millis(millis));
}

#[test]
fn test_unreliable_agree_3c() {
    let mut story = unreliable(0x3c05, 5);
    for round in 1..50_u64 {
        let mut missing: BTreeSet<Bytes> = (0..4).map(|n| command(100 * round + n)).collect();
        // Five at once; each is proposed again until it is there.
        story.one(&command(round), 1);
        while !missing.is_empty() {
            let proposed: Vec<_> = missing
                .iter()
                .filter_map(|bytes| Some((bytes.clone(), story.propose_anywhere(bytes)?.0)))
                .collect();
            story.run(Duration::from_millis(200));
            for (bytes, index) in proposed {
                if story.committed(index).1.as_ref() == Some(&bytes) {
                    missing.remove(&bytes);
                }
            }
        }
    }
    story
        .cluster
        .world
        .network_mut()
        .set_options(NetworkOptions::RELIABLE);
    story.one(&command(100_000), 5);
}

#[test]
fn test_figure8_unreliable_3c() {
    let mut story = Scenario::new(
        0x3c06,
        5,
        NetworkOptions {
            ordered: false,
            ..NetworkOptions::UNRELIABLE
        },
    );
    let first = random_command(&mut story);
    story.one(&first, 1);
    for round in 0..1_000 {
        if round == 200 {
            story
                .cluster
                .world
                .network_mut()
                .set_options(NetworkOptions {
                    long_reorder: Some(LongReorder::LABRPC),
                    ..NetworkOptions::UNRELIABLE
                });
        }
        let mut leader = None;
        for id in story.nodes() {
            let bytes = random_command(&mut story);
            let taken = story.propose(id, &bytes).is_some();
            if taken && story.is_connected(id) {
                leader = Some(id);
            }
        }
        pause(&mut story);
        if let Some(leader) = leader
            && story.prng.chance(1, 2)
        {
            story.disconnect(leader);
        }
        if story.running().len() < 3 {
            let id = story.random();
            story.connect(id);
        }
    }
    story.nodes().into_iter().for_each(|id| story.connect(id));
    let last = random_command(&mut story);
    story.one(&last, 5);
}

#[test]
fn test_reliable_churn_3c() {
    churn(reliable(0x3c07, 5));
}

#[test]
fn test_unreliable_churn_3c() {
    churn(unreliable(0x3c08, 5));
}

/// A client of the churn: proposes, looks for its entry for a while, proposes again.
struct Churner {
    prng: Prng,
    proposed: Option<(LogIndex, Bytes)>,
    patience: u32,
    acknowledged: Vec<(LogIndex, Bytes)>,
}

impl Churner {
    fn new(seed: u64) -> Self {
        Self {
            prng: Prng::from_seed(seed),
            proposed: None,
            patience: 0,
            acknowledged: Vec::new(),
        }
    }

    /// Acts every ten milliseconds.
    fn act(&mut self, story: &mut Scenario) {
        if let Some((index, bytes)) = self.proposed.take() {
            match story.committed(index) {
                (1.., Some(found)) if found == bytes => {
                    self.acknowledged.push((index, bytes));
                    return;
                }
                (0, _) if self.patience > 0 => {
                    self.patience -= 1;
                    self.proposed = Some((index, bytes));
                    return;
                }
                _ => {}
            }
        }
        let mut word = [0; 8];
        self.prng.fill(&mut word);
        let bytes = Bytes::copy_from_slice(&word);
        for id in story.nodes() {
            if let Some((index, _)) = story.propose(id, &bytes) {
                self.proposed = Some((index, bytes.clone()));
                self.patience = 20;
            }
        }
    }
}

fn churn(mut story: Scenario) {
    let mut clients = [1, 2, 3].map(Churner::new);
    for _ in 0..20 {
        if story.prng.below(1_000) < 200 {
            let id = story.random();
            story.disconnect(id);
        }
        if story.prng.below(1_000) < 500 {
            let id = story.random();
            story.start(id);
            story.connect(id);
        }
        if story.prng.below(1_000) < 200 {
            let id = story.random();
            story.crash(id);
        }
        for _ in 0..70 {
            clients.iter_mut().for_each(|client| client.act(&mut story));
            story.run(Duration::from_millis(10));
        }
    }
    story.run(ELECTION_TIMEOUT);
    let nodes: Vec<NodeId> = story.nodes();
    for id in nodes {
        story.start(id);
        story.connect(id);
    }
    let last = random_command(&mut story);
    let end = story.one(&last, 5);
    let mut count = 0;
    for (index, bytes) in clients.iter().flat_map(|client| &client.acknowledged) {
        count += 1;
        assert!(*index < end);
        assert_eq!(
            story.committed(*index),
            (5, Some(bytes.clone())),
            "an acknowledged value"
        );
    }
    assert!(count > 20, "only {count} values were acknowledged");
}
