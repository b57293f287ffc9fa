//! Leases that belong to the group: drawn runs, and bugs that must be found.

use core::time::Duration;

use raft::{Config, Lease, LeaseClock, LeasePolicy, PlantedBug};
use raft_sim::{Coverage, Options, RunOptions, SYSTEM_KINDS, Served, run, run_seed};
use sim::{NetworkOptions, Violation, Weights};

const STALE: [&str; 2] = ["lease_reads", "linearizable"];

#[test]
fn sixteen_seeds_pass() {
    let mut total = Served::default();
    let mut coverage = Coverage::default();
    let options = RunOptions {
        leases: true,
        ..RunOptions::default()
    };
    for seed in 0x1ea5_0000..0x1ea5_0010 {
        match run_seed(seed, options) {
            Ok(summary) => {
                total.add(summary.served);
                coverage.add(summary.coverage);
            }
            Err(failure) => panic!("{failure}"),
        }
    }
    assert!(total.writes > 500, "{total}");
    assert!(total.lease_reads > 500, "{total}");
    assert!(total.inherited_reads > 20, "{total}");
    assert!(coverage.elections > 50, "{coverage}");
    assert!(coverage.lease_waits > 10, "{coverage}");
}

/// Looks for a bug in drawn runs: it must be found within `seeds` of them, and the same runs
/// without it must pass.
#[expect(clippy::print_stdout, reason = "the rows of the table in the docs")]
fn hunt(bug: PlantedBug, name: &str, seeds: u64, aim: impl Fn(&mut Options)) {
    let story = |seed, planted| {
        let mut options = Options::draw_leases(seed);
        aim(&mut options);
        options.raft.planted = planted;
        let result = run(seed, &options);
        result.map(|_| ()).map_err(|failure| failure.violation)
    };
    let found: Option<(u64, Violation)> =
        (0..seeds).find_map(|seed| Some((seed, story(seed, Some(bug)).err()?)));
    let Some((seed, violation)) = found else {
        panic!("{bug:?} {name} was not found in {seeds} seeds");
    };
    let property = violation.property;
    println!(
        "| `{bug:?}` {name} | {} | {seeds} | `{property}` |",
        seed + 1
    );
    assert!(STALE.contains(&property), "{violation:?}");
    for seed in 0..=seed {
        assert_eq!(story(seed, None), Ok(()), "seed {seed} without the bug");
    }
}

fn lease(millis: u64) -> Lease {
    Lease {
        duration: Duration::from_millis(millis),
        drift_ppm: 500,
    }
}

/// Three to five nodes whose leaders are cut off again and again, and clients that mostly read.
fn aimed(options: &mut Options, policy: LeasePolicy) {
    options.raft = Config {
        election_timeout_min: Duration::from_millis(150),
        election_timeout_max: Duration::from_millis(250),
        heartbeat_interval: Duration::from_millis(40),
        lease: None,
        ..Config::default()
    };
    options.lease_policy = policy;
    options.true_time = None;
    options.drift_ppm_max = 500;
    options.core_checks = false;
    options.voters = 3;
    options.spares = 0;
    options.clients = 6;
    options.keys = 2;
    options.read_percent = 60;
    options.think_max = Duration::from_millis(20);
    options.patience = Duration::from_secs(3);
    options.readers = 3;
    options.network = NetworkOptions::RELIABLE;
    options.disk.sync_mean = Duration::from_micros(300);
    options.snapshot_every = None;
    options.lag_max = Duration::ZERO;
    options.fault_gap = Duration::from_millis(700);
    options.weights = none().with("isolate", 4);
}

fn none() -> Weights {
    Weights::none(&SYSTEM_KINDS)
}

const LOG: LeasePolicy = LeasePolicy::Log(
    Lease {
        duration: Duration::from_millis(1_500),
        drift_ppm: 500,
    },
    LeaseClock::Drift,
);

#[test]
fn commit_not_deferred() {
    hunt(PlantedBug::CommitNotDeferred, "in the log", 8, |options| {
        aimed(options, LOG);
    });
    hunt(PlantedBug::CommitNotDeferred, "waited out", 8, |options| {
        aimed(options, LeasePolicy::WaitOut(lease(1_500)));
    });
}

#[test]
fn limbo_ignored() {
    hunt(PlantedBug::LimboIgnored, "", 30, |options| {
        aimed(options, LOG);
        options.read_percent = 40;
        options.think_max = Duration::from_millis(8);
        options.network = NetworkOptions::UNRELIABLE;
        options.weights = none().with("isolate", 4).with("crash", 4);
    });
}

#[test]
fn mixed_lease_lengths() {
    hunt(PlantedBug::MixedLeaseLengths, "in the log", 30, |options| {
        aimed(options, LOG);
    });
    hunt(PlantedBug::MixedLeaseLengths, "waited out", 30, |options| {
        aimed(options, LeasePolicy::WaitOut(lease(1_500)));
    });
}

#[test]
fn lease_from_receipt() {
    hunt(PlantedBug::LeaseFromReceipt, "in the log", 30, |options| {
        aimed(options, LOG);
        slow_answers(options);
    });
    hunt(PlantedBug::LeaseFromReceipt, "waited out", 30, |options| {
        aimed(options, LeasePolicy::WaitOut(lease(700)));
        slow_answers(options);
    });
}

/// Answers take seconds, and outrun the cut that their sender is behind.
fn slow_answers(options: &mut Options) {
    options.readers = 0;
    options.network.outruns_cuts = true;
    options.network.long_reorder = Some(sim::LongReorder {
        per_mille: 600,
        ..sim::LongReorder::LABRPC
    });
}

#[test]
fn lease_kept_on_transfer() {
    for (name, policy) in [
        ("in the log", LOG),
        ("waited out", LeasePolicy::WaitOut(lease(1_500))),
    ] {
        hunt(PlantedBug::LeaseKeptOnTransfer, name, 12, |options| {
            aimed(options, policy);
            options.read_percent = 96;
            options.think_max = Duration::from_millis(30);
            options.weights = none().with("transfer", 8).with("deafen", 8);
            options.fault_gap = Duration::from_millis(100);
        });
    }
}

#[test]
fn clock_jump_unnoticed() {
    hunt(PlantedBug::ClockJumpUnnoticed, "", 20, |options| {
        aimed(options, LOG);
        options.weights = none().with("isolate", 4).with("clock-jump", 8);
        options.fault_gap = Duration::from_millis(400);
    });
}

#[test]
fn reads_before_the_first_entry() {
    hunt(PlantedBug::ReadBeforeNoop, "waited out", 20, |options| {
        aimed(options, LeasePolicy::WaitOut(lease(400)));
        options.weights = none().with("isolate", 4).with("crash", 4);
    });
}

#[test]
fn only_the_last_leader_s_lease_is_remembered() {
    hunt(PlantedBug::OldLeaseOneDeep, "waited out", 60, |options| {
        // The third of three leaders within one lease, with voters who heard of both.
        aimed(options, LeasePolicy::WaitOut(lease(4_000)));
        options.voters = 5;
        options.weights = none().with("isolate", 6).with("crash", 6);
        options.fault_gap = Duration::from_millis(400);
    });
}

#[test]
fn old_leases_are_forgotten_in_a_restart() {
    hunt(PlantedBug::OldLeaseForgotten, "waited out", 60, |options| {
        aimed(options, LeasePolicy::WaitOut(lease(3_000)));
        options.weights = none().with("isolate", 4).with("crash", 8);
        options.fault_gap = Duration::from_millis(250);
    });
}
