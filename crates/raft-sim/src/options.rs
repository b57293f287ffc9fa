//! What a run is made of, drawn from its seed.

use core::fmt;
use core::time::Duration;

use raft::{Config, Lease, LeaseClock, LeasePolicy};
use sim::{Delay, DiskOptions, LongReorder, NetworkOptions, Weights};
use stdx::Prng;

/// The faults and operations that only Raft knows; see [`crate::operations`].
pub const SYSTEM_KINDS: [&str; 9] = [
    "transfer", "learner", "promote", "demote", "remove", "replace", "snapshot", "wipe", LEASE,
];

/// Changes how the group's leaders serve reads.
const LEASE: &str = "lease";

/// Everything about a run that isn't its seed. Drawn, printed, and changed by tests that
/// aim at something.
#[derive(Clone, Debug)]
pub struct Options {
    /// Voters at the start.
    pub voters: u64,
    /// Further machines that may be made members.
    pub spares: u64,
    /// The core's knobs.
    pub raft: Config,
    /// The network.
    pub network: NetworkOptions,
    /// The disks.
    pub disk: DiskOptions,
    /// How the group's leaders serve reads, at first.
    pub lease_policy: LeasePolicy,
    /// How wrong the true time may be that systems tell; `None`: they tell none.
    pub true_time: Option<Duration>,
    /// Largest drift of a clock; must be within what the lease allows for.
    pub drift_ppm_max: u32,
    /// Concurrent clients.
    pub clients: u64,
    /// Further clients that only read, and ask again soon when nobody answers.
    pub readers: u64,
    /// Keys they use.
    pub keys: u8,
    /// Of a hundred operations, how many are reads.
    pub read_percent: u64,
    /// How long a client waits after each operation, at most.
    pub think_max: Duration,
    /// How long a client waits for an answer.
    pub patience: Duration,
    /// Entries between snapshots; `None`: never.
    pub snapshot_every: Option<u64>,
    /// How long applying and reading back may take.
    pub lag_max: Duration,
    /// What breaks how often.
    pub weights: Weights,
    /// Mean time between faults.
    pub fault_gap: Duration,
    /// How long faults go on.
    pub safety: Duration,
    /// How long the healed cluster may take to converge and serve.
    pub liveness: Duration,
    /// Whether a minority stays down when the rest is healed.
    pub heal_quorum_only: bool,
    /// Whether the core's own check of its state counts as a checker.
    pub core_checks: bool,
    /// Stop after so many steps of the world.
    pub steps_max: Option<u64>,
}

impl Options {
    /// Draws the options of a seed (swarm testing).
    ///
    /// # Panics
    ///
    /// Never: what is drawn is legal.
    #[must_use]
    pub fn draw(seed: u64) -> Self {
        let mut prng = Prng::from_seed(seed ^ 0x0b71_0415);
        let raft = Config::swarm(&mut prng);
        let (_, old_kinds) = SYSTEM_KINDS.split_last().expect("there are some");
        let mut weights = Weights::swarm(&mut prng, old_kinds).and(LEASE, 0);
        let changes_members = prng.chance(1, 2);
        for kind in ["learner", "promote", "demote", "remove", "replace"] {
            if !changes_members {
                weights = weights.with(kind, 0);
            }
        }
        // Coming back under the old name without the old data is against the rules.
        weights = weights.with("wipe", 0);
        // A rotten log is a machine lost for good: not while members change too.
        if changes_members || prng.chance(1, 2) {
            weights = weights.with("bit-flip", 0);
        }
        // Leases rely on clocks that run at about the same speed and never leap.
        let drift_ppm_max = match raft.lease {
            Some(lease) => {
                weights = weights.with("clock-jump", 0);
                lease.drift_ppm
            }
            None => u32::try_from(prng.below(100_000)).expect("below 2^32"),
        };
        let voters = *prng
            .choose(&[1, 2, 3, 3, 3, 4, 5, 5, 5, 7])
            .expect("not empty");
        let timeout = raft.election_timeout_max;
        let mut options = Self {
            voters,
            spares: if changes_members {
                1 + prng.below(3)
            } else {
                0
            },
            network: draw_network(&mut prng),
            disk: draw_disk(&mut prng),
            lease_policy: LeasePolicy::Promised,
            true_time: None,
            drift_ppm_max,
            clients: 1 + prng.below(6),
            readers: 0,
            keys: 1 + u8::try_from(prng.below(5)).expect("below 5"),
            read_percent: prng.range(10..80),
            think_max: prng.duration(Duration::from_millis(5)..Duration::from_millis(300)),
            patience: prng.duration(timeout..timeout * 4),
            snapshot_every: prng.chance(2, 3).then(|| prng.range(3..120)),
            lag_max: if prng.chance(1, 2) {
                prng.duration(Duration::from_millis(1)..Duration::from_millis(40))
            } else {
                Duration::ZERO
            },
            weights,
            fault_gap: prng.duration(timeout / 8..timeout * 3),
            safety: Duration::from_secs(20),
            liveness: timeout * 20 + Duration::from_secs(20),
            heal_quorum_only: !changes_members && prng.chance(1, 2),
            core_checks: true,
            steps_max: None,
            raft,
        };
        match prng.below(8) {
            0 => options.divide(&mut prng),
            1 => options.lease_to_the_limit(&mut prng),
            2 if changes_members => options.change_all_the_time(&mut prng),
            _ => {}
        }
        options
    }

    /// Draws options for leases that belong to the group: elections are quicker than leases,
    /// clocks leap, and everything else happens too.
    ///
    /// # Panics
    ///
    /// Never: what is drawn is legal.
    #[must_use]
    pub fn draw_leases(seed: u64) -> Self {
        let mut options = Self::draw(seed);
        let mut prng = Prng::from_seed(seed ^ 0x001e_a5e5);
        let min = prng.duration(Duration::from_millis(100)..Duration::from_millis(500));
        options.set_timeouts(min, min * 3 / 2 + Duration::from_millis(20));
        let drift_ppm = u32::try_from(prng.below(20_000)).expect("below 2^32");
        options.drift_ppm_max = drift_ppm;
        let promise = Lease {
            duration: min,
            drift_ppm,
        };
        options.raft.lease = prng.chance(1, 2).then(|| Lease {
            duration: promise.shortened(min),
            drift_ppm,
        });
        options.lease_policy = draw_policy(prng.next_u64(), min, drift_ppm);
        options.true_time = prng
            .chance(1, 3)
            .then(|| prng.duration(Duration::ZERO..Duration::from_millis(30)));
        options.voters = *prng
            .choose(&[1, 2, 3, 3, 3, 3, 4, 5, 5])
            .expect("not empty");
        options.clients = 2 + prng.below(5);
        options.readers = 1 + prng.below(3);
        options.keys = 1 + u8::try_from(prng.below(5)).expect("below 5");
        options.read_percent = prng.range(20..90);
        options.think_max = prng.duration(Duration::from_millis(2)..Duration::from_millis(60));
        options.fault_gap = prng.duration(min / 4..min * 3);
        options.safety = Duration::from_secs(8);
        options.liveness += Duration::from_secs(40);
        let mut weights = options.weights.clone().with("bit-flip", 0);
        for (kind, of) in [("transfer", 2), ("isolate", 2), ("crash", 3), ("pause", 3)] {
            if prng.chance(1, of) {
                weights = weights.with(kind, 1 << prng.below(4));
            }
        }
        let sometimes = |prng: &mut Prng, of| {
            if prng.chance(1, of) {
                1 << prng.below(3)
            } else {
                0
            }
        };
        weights = weights.with("clock-jump", sometimes(&mut prng, 3));
        options.weights = weights.with(LEASE, sometimes(&mut prng, 3));
        options
    }

    /// Leaders come and go quickly, each with entries of its own.
    fn divide(&mut self, prng: &mut Prng) {
        let min = prng.duration(Duration::from_millis(100)..Duration::from_millis(300));
        self.raft.lease = None;
        self.set_timeouts(min, min * 2);
        self.voters = prng.range(3..6);
        self.read_percent = prng.below(30);
        self.fault_gap = min * 2;
        let weights = self.weights.clone();
        self.weights = weights.with("isolate", 8).with("split", 4).with("crash", 4);
    }

    /// The longest lease that is allowed, and few writes, so that it is leaned on.
    fn lease_to_the_limit(&mut self, prng: &mut Prng) {
        let min = prng.duration(Duration::from_millis(200)..Duration::from_secs(1));
        let mut lease = Lease {
            duration: min,
            drift_ppm: u32::try_from(prng.below(5_000)).expect("below 2^32"),
        };
        lease.duration = lease.shortened(min);
        self.raft.lease = Some(lease);
        self.drift_ppm_max = lease.drift_ppm;
        self.set_timeouts(min, min * 5 / 4);
        self.voters = prng.range(3..6);
        self.read_percent = prng.range(80..100);
        self.fault_gap = min / 2;
        let weights = self.weights.clone().with("clock-jump", 0);
        self.weights = weights
            .with("transfer", 4)
            .with("deafen", 4)
            .with("bridge", 2)
            .with("crash", 2);
    }

    /// Members change as fast as they can, leaders often.
    fn change_all_the_time(&mut self, prng: &mut Prng) {
        self.fault_gap = prng.duration(Duration::from_millis(50)..Duration::from_millis(400));
        self.spares = prng.range(2..4);
        self.weights = Weights::none(&SYSTEM_KINDS)
            .with("learner", 4)
            .with("promote", 4)
            .with("demote", 2)
            .with("remove", 4)
            .with("replace", 4)
            .with("transfer", prng.below(4))
            .with("crash", prng.below(4))
            .with("isolate", prng.below(4))
            .with("snapshot", prng.below(4));
    }

    fn set_timeouts(&mut self, min: Duration, max: Duration) {
        self.raft.election_timeout_min = min;
        self.raft.election_timeout_max = max;
        self.raft.heartbeat_interval = min / 4;
        self.raft.disk_stall_timeout = max * 2;
        self.patience = max * 2;
        self.liveness = max * 20 + Duration::from_secs(20);
    }
}

fn draw_network(prng: &mut Prng) -> NetworkOptions {
    let delay = match prng.below(3) {
        0 => NetworkOptions::RELIABLE.delay,
        1 => NetworkOptions::UNRELIABLE.delay,
        _ => Delay::Tail {
            min: Duration::from_micros(100),
            mean: prng.duration(Duration::from_micros(100)..Duration::from_millis(15)),
        },
    };
    let mut maybe = |chance: u64, max: u64| {
        if prng.chance(chance, 10) {
            1 + prng.below(max)
        } else {
            0
        }
    };
    let loss_per_mille = maybe(5, 120);
    let duplicate_per_mille = maybe(4, 100);
    let long_reorder = prng.chance(1, 8).then_some(LongReorder {
        per_mille: 1 + prng.below(LongReorder::LABRPC.per_mille),
        ..LongReorder::LABRPC
    });
    NetworkOptions {
        delay,
        loss_per_mille,
        duplicate_per_mille,
        long_reorder,
        ordered: prng.chance(1, 2),
        outruns_cuts: prng.chance(1, 2),
    }
}

fn draw_disk(prng: &mut Prng) -> DiskOptions {
    DiskOptions {
        sync_min: prng.duration(Duration::from_micros(10)..Duration::from_millis(2)),
        sync_mean: prng.duration(Duration::from_micros(10)..Duration::from_millis(10)),
        power_loss_per_mille: *prng.choose(&[0, 500, 1_000]).expect("not empty"),
        torn_writes: prng.chance(1, 2),
        capacity_bytes: u64::MAX,
    }
}

/// A lease policy, mostly of those that are the group's own.
#[must_use]
pub fn draw_policy(draw: u64, election: Duration, drift_ppm: u32) -> LeasePolicy {
    let mut prng = Prng::from_seed(draw);
    let duration = prng.duration(election / 2..election * 8);
    let duration = duration.max(Duration::from_millis(10));
    let lease = Lease {
        duration,
        drift_ppm,
    };
    match prng.below(12) {
        0 => LeasePolicy::Promised,
        1 => LeasePolicy::Off,
        2..5 => LeasePolicy::WaitOut(lease),
        5..7 => LeasePolicy::Log(lease, LeaseClock::Interval),
        _ => LeasePolicy::Log(lease, LeaseClock::Drift),
    }
}

impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            voters,
            spares,
            clients,
            keys,
            read_percent,
            snapshot_every,
            lag_max,
            weights,
            fault_gap,
            ..
        } = self;
        writeln!(
            f,
            "{voters} voters, {spares} spares, {clients} clients, {keys} keys, {read_percent} % reads"
        )?;
        writeln!(f, "  faults every {fault_gap:?}: {weights}")?;
        writeln!(f, "  snapshot every {snapshot_every:?}, lag {lag_max:?}")?;
        writeln!(f, "  network {:?}", self.network)?;
        writeln!(
            f,
            "  disk {:?}, drift {} ppm",
            self.disk, self.drift_ppm_max
        )?;
        writeln!(
            f,
            "  {:?}, true time {:?}",
            self.lease_policy, self.true_time
        )?;
        write!(f, "  {:?}", self.raft)
    }
}
