//! MIT 6.5840, lab 3B: the log.
//!
//! Our leaders commit an empty entry at the start of their term, which the originals
//! don't: indexes are compared with the first command's, and a new leader costs one.

use core::time::Duration;

use bytes::Bytes;
use raft_sim::{ELECTION_TIMEOUT, Scenario};
use sim::NetworkOptions;
use stdx::{LogIndex, NodeId};

fn reliable(seed: u64, servers: u64) -> Scenario {
    Scenario::new(seed, servers, NetworkOptions::RELIABLE)
}

fn command(number: u64) -> Bytes {
    Bytes::copy_from_slice(&number.to_le_bytes())
}

#[test]
fn test_basic_agree_3b() {
    let mut story = reliable(0x3b01, 3);
    story.one_leader();
    let mut last = None;
    for number in 1..=3_u64 {
        let next = last.map(LogIndex::next);
        if let Some(next) = next {
            assert_eq!(
                story.committed(next).0,
                0,
                "committed before it was proposed"
            );
        }
        let index = story.one(&command(number * 100), 3);
        assert!(next.is_none_or(|next| next == index));
        last = Some(index);
    }
}

#[test]
fn test_rpc_bytes_3b() {
    let mut story = reliable(0x3b02, 3);
    story.one(&command(99), 3);
    let before = story.traffic().bytes;
    let mut sent = 0;
    for _ in 0..10 {
        let bytes = story.draw(5_000);
        sent += bytes.len() as u64;
        story.one(&bytes, 3);
    }
    let carried = story.traffic().bytes - before;
    let allowed = 3 * sent + 50_000;
    assert!(
        carried <= allowed,
        "{carried} bytes carried, {allowed} allowed"
    );
}

#[test]
fn test_follower_failure_3b() {
    let mut story = reliable(0x3b03, 3);
    story.one(&command(101), 3);
    let leader = story.one_leader();
    story.disconnect(story.after(leader, 1));
    story.one(&command(102), 2);
    story.run(ELECTION_TIMEOUT);
    story.one(&command(103), 2);
    let leader = story.one_leader();
    story.disconnect(story.after(leader, 1));
    story.disconnect(story.after(leader, 2));
    let (index, _) = story.propose(leader, &command(104)).expect("it leads");
    story.run(2 * ELECTION_TIMEOUT);
    assert_eq!(story.committed(index).0, 0, "committed without a majority");
}

#[test]
fn test_leader_failure_3b() {
    let mut story = reliable(0x3b04, 3);
    story.one(&command(101), 3);
    let first = story.one_leader();
    story.disconnect(first);
    story.one(&command(102), 2);
    story.run(ELECTION_TIMEOUT);
    let last = story.one(&command(103), 2);
    let second = story.one_leader();
    story.disconnect(second);
    for id in story.nodes() {
        story.propose(id, &command(104));
    }
    story.run(2 * ELECTION_TIMEOUT);
    assert_eq!(
        story.committed(last.next()).0,
        0,
        "committed without a majority"
    );
}

#[test]
fn test_fail_agree_3b() {
    let mut story = reliable(0x3b05, 3);
    story.one(&command(101), 3);
    let leader = story.one_leader();
    let lost = story.after(leader, 1);
    story.disconnect(lost);
    story.one(&command(102), 2);
    story.one(&command(103), 2);
    story.run(ELECTION_TIMEOUT);
    story.one(&command(104), 2);
    story.one(&command(105), 2);
    story.connect(lost);
    story.one(&command(106), 3);
    story.run(ELECTION_TIMEOUT);
    story.one(&command(107), 3);
}

#[test]
fn test_fail_no_agree_3b() {
    let mut story = reliable(0x3b06, 5);
    let first = story.one(&command(10), 5);
    let leader = story.one_leader();
    let lost: Vec<NodeId> = (1..=3)
        .map(|distance| story.after(leader, distance))
        .collect();
    lost.iter().for_each(|&id| story.disconnect(id));
    let (index, _) = story.propose(leader, &command(20)).expect("it leads");
    assert_eq!(index, first.next());
    story.run(2 * ELECTION_TIMEOUT);
    assert_eq!(story.committed(index).0, 0, "committed without a majority");
    lost.iter().for_each(|&id| story.connect(id));
    let second = story.one_leader();
    let (index, _) = story.propose(second, &command(30)).expect("it leads");
    // The original allows 2 or 3; the new term's empty entry makes it 3 or 4.
    let distance = index.distance_from(first);
    assert!((2..=3).contains(&distance), "{distance} after the first");
    story.one(&command(1000), 5);
}

#[test]
fn test_concurrent_starts_3b() {
    let mut story = reliable(0x3b07, 3);
    let leader = story.one_leader();
    let proposed: Vec<_> = (0..5)
        .map(|number| {
            story
                .propose(leader, &command(100 + number))
                .expect("it leads")
        })
        .collect();
    let term = proposed[0].1;
    assert!(proposed.iter().all(|&(_, other)| other == term));
    story.run(Duration::from_millis(500));
    assert_eq!(
        story.agreed_term(),
        term,
        "nothing failed, so nothing changed"
    );
    for (number, &(index, _)) in (0..).zip(&proposed) {
        assert_eq!(story.committed(index), (3, Some(command(100 + number))));
    }
}

#[test]
fn test_rejoin_3b() {
    let mut story = reliable(0x3b08, 3);
    story.one(&command(101), 3);
    let first = story.one_leader();
    story.disconnect(first);
    // Entries that will be discarded.
    for number in 102..105 {
        story
            .propose(first, &command(number))
            .expect("it believes that it leads");
    }
    let index = story.one(&command(103), 2);
    let second = story.one_leader();
    story.disconnect(second);
    story.connect(first);
    story.one(&command(104), 2);
    story.connect(second);
    story.one(&command(105), 3);
    assert_eq!(story.committed(index).1, Some(command(103)));
}

#[test]
fn test_backup_3b() {
    let mut story = reliable(0x3b09, 5);
    let first = story.draw(8);
    story.one(&first, 5);
    let leader = story.one_leader();
    let [next, others @ ..] = [1, 2, 3, 4].map(|distance| story.after(leader, distance));
    // Fifty entries in a minority.
    others.iter().for_each(|&id| story.disconnect(id));
    propose_many(&mut story, leader);
    story.run(ELECTION_TIMEOUT / 2);
    story.disconnect(leader);
    story.disconnect(next);
    // Fifty others in a majority.
    others.iter().for_each(|&id| story.connect(id));
    agree_many(&mut story, 3);
    // And fifty more in a minority of that.
    let second = story.one_leader();
    let other = if others[0] == second {
        others[1]
    } else {
        others[0]
    };
    story.disconnect(other);
    propose_many(&mut story, second);
    story.run(ELECTION_TIMEOUT / 2);
    // The first minority and one of the majority, which must win.
    story
        .nodes()
        .into_iter()
        .for_each(|id| story.disconnect(id));
    [leader, next, other]
        .into_iter()
        .for_each(|id| story.connect(id));
    agree_many(&mut story, 3);
    story.nodes().into_iter().for_each(|id| story.connect(id));
    let last = story.draw(8);
    story.one(&last, 5);
}

fn propose_many(story: &mut Scenario, leader: NodeId) {
    for _ in 0..50 {
        let bytes = story.draw(8);
        story
            .propose(leader, &bytes)
            .expect("it believes that it leads");
    }
}

fn agree_many(story: &mut Scenario, servers: usize) {
    for _ in 0..50 {
        let bytes = story.draw(8);
        story.one(&bytes, servers);
    }
}

#[test]
fn test_count_3b() {
    let mut story = reliable(0x3b0a, 3);
    story.one_leader();
    let elected = story.traffic().requests;
    assert!(
        (1..=30).contains(&elected),
        "{elected} requests to elect a leader"
    );
    let leader = story.one_leader();
    story.one(&command(1), 3);
    let before = story.traffic().requests;
    let proposed: Vec<_> = (0..10)
        .map(|number| story.propose(leader, &command(number)).expect("it leads"))
        .collect();
    while story.committed(proposed[9].0).0 < 3 {
        story.run(Duration::from_millis(5));
    }
    for (number, &(index, _)) in (0..).zip(&proposed) {
        assert_eq!(story.committed(index).1, Some(command(number)));
    }
    let agreed = story.traffic().requests - before;
    assert!(
        agreed <= (10 + 1 + 3) * 3,
        "{agreed} requests for ten entries"
    );
    let before = story.traffic().requests;
    story.run(Duration::from_secs(1));
    let idle = story.traffic().requests - before;
    assert!(idle <= 3 * 20, "{idle} requests in an idle second");
}
