//! MIT 6.5840, lab 3D: snapshots every ten entries, and a log that stays small.

use raft_sim::{LogStore, Scenario};
use sim::NetworkOptions;
use stdx::LogIndex;

/// Entries between snapshots.
const SNAPSHOT_INTERVAL: u64 = 10;
/// Bytes that the persisted log may reach.
const LOG_BYTES_MAX: u64 = 2_000;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Victim {
    Nobody,
    Disconnected,
    Crashed,
}

fn story(seed: u64, network: NetworkOptions) -> Scenario {
    let mut options = Scenario::options(3, network);
    options.snapshot_every = Some(SNAPSHOT_INTERVAL);
    Scenario::with_options(seed, &options)
}

fn one(story: &mut Scenario, servers: usize) -> LogIndex {
    let bytes = story.draw(8);
    story.one(&bytes, servers)
}

fn check_log_bytes(story: &mut Scenario) {
    for id in story.nodes() {
        let disk = story
            .cluster
            .world
            .disk(id)
            .expect("every server has a disk");
        let bytes = LogStore::bytes(disk);
        assert!(bytes < LOG_BYTES_MAX, "{id}'s log has {bytes} bytes");
    }
}

/// Thirty rounds; in each a server misses so many entries that it needs a snapshot.
fn rounds(seed: u64, network: NetworkOptions, fate: Victim) {
    let mut story = story(seed, network);
    one(&mut story, 3);
    let mut leader = story.one_leader();
    let mut installed = 0;
    for round in 0..30 {
        let mut victim = story.after(leader, 1);
        let mut sender = leader;
        if round % 3 == 1 {
            (sender, victim) = (victim, sender);
        }
        match fate {
            Victim::Nobody => {}
            Victim::Disconnected => story.disconnect(victim),
            Victim::Crashed => story.crash(victim),
        }
        if fate != Victim::Nobody {
            one(&mut story, 2);
        }
        let count = SNAPSHOT_INTERVAL / 2 + story.prng.below(SNAPSHOT_INTERVAL);
        for _ in 0..count {
            let bytes = story.draw(8);
            story.propose(sender, &bytes);
        }
        one(&mut story, if fate == Victim::Nobody { 3 } else { 2 });
        check_log_bytes(&mut story);
        match fate {
            Victim::Nobody => {}
            Victim::Disconnected => story.connect(victim),
            Victim::Crashed => story.start(victim),
        }
        one(&mut story, 3);
        leader = story.one_leader();
        let victim = story.cluster.world.process(victim).expect("it runs");
        installed += u64::from(victim.raft().base().index > LogIndex::ZERO);
    }
    check_log_bytes(&mut story);
    assert!(
        installed > 20,
        "snapshots were taken or installed {installed} times"
    );
}

#[test]
fn test_snapshot_basic_3d() {
    rounds(0x3d01, NetworkOptions::RELIABLE, Victim::Nobody);
}

#[test]
fn test_snapshot_install_3d() {
    rounds(0x3d02, NetworkOptions::RELIABLE, Victim::Disconnected);
}

#[test]
fn test_snapshot_install_unreliable_3d() {
    rounds(0x3d03, NetworkOptions::UNRELIABLE, Victim::Disconnected);
}

#[test]
fn test_snapshot_install_crash_3d() {
    rounds(0x3d04, NetworkOptions::RELIABLE, Victim::Crashed);
}

#[test]
fn test_snapshot_install_un_crash_3d() {
    rounds(0x3d05, NetworkOptions::UNRELIABLE, Victim::Crashed);
}

#[test]
fn test_snapshot_all_crash_3d() {
    let mut story = story(0x3d06, NetworkOptions::UNRELIABLE);
    one(&mut story, 3);
    for _ in 0..5 {
        let count = SNAPSHOT_INTERVAL / 2 + story.prng.below(SNAPSHOT_INTERVAL);
        for _ in 0..count {
            one(&mut story, 3);
        }
        let before = one(&mut story, 3);
        story.nodes().into_iter().for_each(|id| story.crash(id));
        story.nodes().into_iter().for_each(|id| story.start(id));
        let after = one(&mut story, 3);
        assert!(after > before, "the log went back from {before} to {after}");
    }
}

/// A snapshot is still there after a second restart, though nothing was snapshotted
/// between the two.
#[test]
fn test_snapshot_init_3d() {
    let mut story = story(0x3d07, NetworkOptions::UNRELIABLE);
    one(&mut story, 3);
    for _ in 0..=SNAPSHOT_INTERVAL {
        one(&mut story, 3);
    }
    let mut last = one(&mut story, 3);
    for _ in 0..2 {
        story.nodes().into_iter().for_each(|id| story.crash(id));
        story.nodes().into_iter().for_each(|id| story.start(id));
        let next = one(&mut story, 3);
        assert!(next > last);
        last = next;
    }
}
