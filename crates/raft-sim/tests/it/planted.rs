//! Bugs that were planted in the core: each must be found within a stated number of seeds,
//! and the same runs without it must pass.
//!
//! Some bugs show in any run. Others need a rare meeting of events, and the test aims: it
//! changes some of the drawn options and leaves the rest to the seed. The table in
//! `docs/internals/simulation.md` is made from what these tests print.

use core::time::Duration;

use raft::{Config, Lease, PlantedBug};
use raft_sim::{Options, SYSTEM_KINDS, Scenario, run};
use sim::{Delay, LongReorder, NetworkOptions, Violation, Weights};

/// Looks for a bug in drawn runs.
fn hunt(bug: PlantedBug, seeds: u64, checkers: &[&str], aim: fn(&mut Options)) {
    hunt_with(bug, seeds, checkers, |seed, planted| {
        let mut options = Options::draw(seed);
        aim(&mut options);
        options.raft.planted = planted;
        let result = run(seed, &options);
        result.map(|_| ()).map_err(|failure| failure.violation)
    });
}

/// Looks for a bug in seeds from 0 on; it must be found within `seeds` of them, by one of
/// the named checkers.
#[expect(clippy::print_stdout, reason = "the rows of the table in the docs")]
fn hunt_with(
    bug: PlantedBug,
    seeds: u64,
    checkers: &[&str],
    story: impl Fn(u64, Option<PlantedBug>) -> Result<(), Violation>,
) {
    let found = (0..seeds).find_map(|seed| Some((seed, story(seed, Some(bug)).err()?)));
    let Some((seed, violation)) = found else {
        panic!("{bug:?} was not found in {seeds} seeds");
    };
    let property = violation.property;
    println!("| `{bug:?}` | {} | {seeds} | `{property}` |", seed + 1);
    assert!(checkers.contains(&property), "{violation:?}");
    for seed in 0..=seed {
        assert_eq!(story(seed, None), Ok(()), "seed {seed} without the bug");
    }
}

fn none() -> Weights {
    Weights::none(&SYSTEM_KINDS)
}

/// Whatever the seed says.
fn anything(_: &mut Options) {}

/// Whatever the seed says, judged from outside: the core's own checks are off.
fn outside(options: &mut Options) {
    options.core_checks = false;
}

fn set_timeouts(options: &mut Options, min_millis: u64, max_millis: u64, heartbeat_millis: u64) {
    options.raft.election_timeout_min = Duration::from_millis(min_millis);
    options.raft.election_timeout_max = Duration::from_millis(max_millis);
    options.raft.heartbeat_interval = Duration::from_millis(heartbeat_millis);
    options.raft.disk_stall_timeout = Duration::from_millis(max_millis * 4);
    options.patience = Duration::from_millis(max_millis * 2);
    options.fault_gap = Duration::from_millis(max_millis);
}

/// Everything as it comes, on three to five nodes, with busy clients.
fn busy(options: &mut Options) {
    options.core_checks = false;
    options.clients = 4;
    options.keys = 1;
    options.read_percent = 60;
    options.think_max = Duration::from_millis(30);
    options.raft = Config {
        planted: None,
        ..Config::default()
    };
    set_timeouts(options, 300, 400, 90);
    options.raft.lease = None;
    options.disk.sync_mean = Duration::from_micros(300);
    options.network = NetworkOptions::RELIABLE;
    options.voters = 3;
    options.spares = 0;
    options.snapshot_every = None;
    options.lag_max = Duration::ZERO;
    options.safety = Duration::from_secs(10);
}

/// The longest lease that is allowed.
fn leased(options: &mut Options) {
    busy(options);
    let mut lease = Lease {
        duration: Duration::ZERO,
        drift_ppm: 500,
    };
    lease.duration = lease.shortened(options.raft.election_timeout_min);
    options.raft.lease = Some(lease);
    options.drift_ppm_max = 500;
}

/// Leaders come and go, each with entries of its own.
fn divided(options: &mut Options) {
    busy(options);
    set_timeouts(options, 150, 300, 45);
    options.voters = 5;
    options.read_percent = 5;
    options.weights = none()
        .with("isolate", 4)
        .with("split", 4)
        .with("crash", 2)
        .with("crash-all", 1);
}

/// Members change all the time, leaders often, and disks are slow.
fn changing(options: &mut Options) {
    busy(options);
    options.spares = 2;
    options.disk.sync_min = Duration::from_millis(30);
    options.weights = none()
        .with("learner", 4)
        .with("remove", 4)
        .with("replace", 8)
        .with("crash", 1)
        .with("isolate", 2);
    options.fault_gap = Duration::from_millis(100);
}

#[test]
fn vote_before_durable() {
    hunt(
        PlantedBug::VoteBeforeDurable,
        40,
        &["election_safety"],
        |options| {
            busy(options);
            options.clients = 1;
            set_timeouts(options, 150, 400, 40);
            options.disk.power_loss_per_mille = 1_000;
            options.disk.sync_min = Duration::from_millis(40);
            options.weights = none().with("crash", 4).with("sync-failure", 4);
            options.fault_gap = Duration::from_millis(200);
        },
    );
}

#[test]
fn ack_before_durable() {
    hunt(PlantedBug::AckBeforeDurable, 4, &["replication"], anything);
}

#[test]
fn commit_old_term() {
    hunt(PlantedBug::CommitOldTerm, 20, &["replication"], anything);
}

#[test]
fn stale_completion() {
    hunt(
        PlantedBug::StaleCompletion,
        60,
        &["assertion", "replication"],
        anything,
    );
}

#[test]
fn lease_kept_on_transfer() {
    // The leader is deaf, hands over, and doesn't hear that it was heard.
    let checkers = ["lease_reads", "linearizable"];
    hunt(PlantedBug::LeaseKeptOnTransfer, 12, &checkers, |options| {
        leased(options);
        options.read_percent = 95;
        options.weights = none().with("transfer", 8).with("deafen", 8);
        options.fault_gap = Duration::from_millis(100);
    });
}

#[test]
fn lease_from_receipt() {
    // Replies that took two seconds arrive at a leader that was cut off meanwhile.
    let checkers = ["lease_reads", "linearizable"];
    hunt(PlantedBug::LeaseFromReceipt, 12, &checkers, |options| {
        leased(options);
        options.network.outruns_cuts = true;
        options.network.long_reorder = Some(LongReorder {
            per_mille: 600,
            ..LongReorder::LABRPC
        });
        options.weights = none().with("isolate", 4);
        options.fault_gap = Duration::from_secs(1);
    });
}

#[test]
fn vote_right_after_restart() {
    let checkers = ["lease_reads", "linearizable"];
    hunt_with(PlantedBug::VoteRightAfterRestart, 30, &checkers, restarts);
}

/// One voter hears the leader, and the other doesn't and campaigns. The first restarts
/// again and again: whatever it promised the leader still binds it.
fn restarts(seed: u64, planted: Option<PlantedBug>) -> Result<(), Violation> {
    let mut options = Scenario::options(3, NetworkOptions::RELIABLE);
    set_timeouts(&mut options, 3_000, 3_300, 1_000);
    options.raft.lease = Some(Lease {
        duration: Duration::from_millis(2_900),
        drift_ppm: 500,
    });
    options.raft.planted = planted;
    options.clients = 4;
    options.read_percent = 100;
    options.think_max = Duration::from_millis(60);
    let mut story = Scenario::with_options(seed, &options);
    let cluster = &mut story.cluster;
    cluster.clients.begin(&mut cluster.world);
    let leader = story.one_leader();
    let [restarting, campaigning] = [1, 2].map(|distance| story.after(leader, distance));
    story.cluster.run_for(Duration::from_secs(5))?;
    story.cluster.world.network_mut().cut(leader, campaigning);
    for _ in 0..6 {
        let millis = story.prng.range(3_300..5_000);
        story.cluster.run_for(Duration::from_millis(millis))?;
        story.crash(restarting);
        story.cluster.run_for(Duration::from_millis(50))?;
        story.start(restarting);
        story.cluster.run_for(Duration::from_millis(1_200))?;
    }
    Ok(())
}

#[test]
fn read_before_noop() {
    hunt(
        PlantedBug::ReadBeforeNoop,
        20,
        &["lease_reads", "linearizable"],
        |options| {
            leased(options);
            options.weights = none().with("crash", 4).with("isolate", 4);
        },
    );
}

#[test]
fn read_without_round() {
    hunt(
        PlantedBug::ReadWithoutRound,
        20,
        &["lease_reads", "linearizable"],
        |options| {
            busy(options);
            options.weights = none().with("isolate", 4).with("pause", 4).with("mute", 2);
        },
    );
}

#[test]
fn forgotten_vote() {
    hunt(
        PlantedBug::ForgottenVote,
        60,
        &["election_safety"],
        |options| {
            busy(options);
            options.clients = 1;
            options.voters = 5;
            set_timeouts(options, 150, 450, 50);
            options.network.delay = Delay::Tail {
                min: Duration::from_millis(1),
                mean: Duration::from_millis(120),
            };
            options.network.ordered = false;
            options.weights = none().with("crash", 8).with("crash-all", 2);
            options.fault_gap = Duration::from_millis(60);
        },
    );
}

#[test]
fn learner_counted() {
    hunt(PlantedBug::LearnerCounted, 30, &["replication"], anything);
}

#[test]
fn no_prev_check() {
    // Few writes, so that divergent logs are of one length.
    let checkers = ["log_matching", "state_machine_safety", "replication"];
    hunt(PlantedBug::NoPrevCheck, 20, &checkers, |options| {
        divided(options);
        options.clients = 2;
        options.think_max = Duration::from_millis(400);
        options.fault_gap = Duration::from_millis(200);
        options.safety = Duration::from_secs(30);
    });
}

#[test]
fn conflict_kept() {
    let checkers = ["log_matching", "replication", "state_machine_safety"];
    hunt(PlantedBug::ConflictKept, 4, &checkers, outside);
}

#[test]
fn heartbeat_commits_unmatched() {
    let checkers = ["replication", "state_machine_safety"];
    hunt(
        PlantedBug::HeartbeatCommitsUnmatched,
        20,
        &checkers,
        outside,
    );
}

#[test]
fn change_before_own_term() {
    hunt(
        PlantedBug::ChangeBeforeOwnTerm,
        12,
        &["membership"],
        changing,
    );
}

#[test]
fn two_changes_at_once() {
    hunt(PlantedBug::TwoChangesAtOnce, 12, &["membership"], changing);
}

#[test]
fn joint_needs_one_side() {
    let checkers = ["replication", "election_safety"];
    hunt(PlantedBug::JointNeedsOneSide, 40, &checkers, outside);
}

#[test]
fn stale_session() {
    hunt(PlantedBug::StaleSession, 12, &["replication"], |options| {
        busy(options);
        options.spares = 2;
        options.network.long_reorder = Some(LongReorder {
            per_mille: 300,
            ..LongReorder::LABRPC
        });
        options.weights = none()
            .with("remove", 2)
            .with("wipe", 8)
            .with("learner", 4)
            .with("promote", 2);
        options.fault_gap = Duration::from_millis(100);
    });
}

#[test]
fn snapshot_over_newer() {
    let checkers = ["replication", "state_machine_safety", "recovery"];
    hunt(PlantedBug::SnapshotOverNewer, 12, &checkers, |options| {
        divided(options);
        options.network.duplicate_per_mille = 300;
        options.network.ordered = false;
        options.network.delay = NetworkOptions::UNRELIABLE.delay;
        options.snapshot_every = Some(5);
    });
}

#[test]
fn pre_vote_elects() {
    hunt(PlantedBug::PreVoteElects, 4, &["election_safety"], outside);
}

#[test]
fn vote_for_stale_log() {
    let checkers = ["leader_completeness", "log_matching"];
    hunt(PlantedBug::VoteForStaleLog, 20, &checkers, outside);
}

#[test]
fn second_vote() {
    let checkers = ["election_safety", "assertion"];
    hunt(PlantedBug::SecondVote, 40, &checkers, outside);
}
