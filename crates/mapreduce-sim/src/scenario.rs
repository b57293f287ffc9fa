//! What a seed means: the job, the faults, their times.

use core::time::Duration;

use mapreduce_core::{Config, LeaderTimes};
use stdx::{Instant, NodeId, Prng};

use crate::job::{Input, Word};

pub(crate) const STORE: NodeId = NodeId::new(1);
pub(crate) const COORDINATORS: [NodeId; 2] = [NodeId::new(2), NodeId::new(3)];
/// After this no more faults.
pub(crate) const FAULTS_END: Duration = Duration::from_secs(60);
/// By then every job has ended.
pub(crate) const DEADLINE: Duration = Duration::from_secs(1_800);

/// A process dies, or is paused, for a while.
#[derive(Clone, Copy, Debug)]
pub struct Crash {
    /// Which.
    pub node: NodeId,
    /// When.
    pub at: Duration,
    /// For how long.
    pub down: Duration,
    /// Stopped like by SIGSTOP, rather than killed.
    pub paused: bool,
}

/// Everything that is drawn from a seed.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The seed.
    pub seed: u64,
    pub(crate) input: Input,
    /// Limits and the planted bug.
    pub config: Config,
    /// How many workers.
    pub workers: u32,
    /// What each executes at once.
    pub slots: u32,
    /// How much slower than others each worker is.
    pub(crate) slowness: Vec<u32>,
    /// Executions in a thousand that fail for no reason.
    pub(crate) fail_per_mille: u64,
    /// Extents in a thousand that are altered on their way.
    pub(crate) alter_per_mille: u64,
    /// Connections that break are noticed at once, in a thousand.
    pub(crate) notice_per_mille: u64,
    /// The usual time of an execution.
    pub(crate) task_time: Duration,
    /// Messages in a thousand that are lost.
    pub loss_per_mille: u64,
    /// And that arrive twice.
    pub duplicate_per_mille: u64,
    /// Whether what one node sends to another arrives in order.
    pub ordered: bool,
    /// Crashes and pauses.
    pub crashes: Vec<Crash>,
    /// When the second coordinator begins, if it does.
    pub second: Option<Duration>,
    /// The coordinator dies when this batch arrives at the store: whether it is written first.
    pub die_at_batch: Option<(u64, bool)>,
    /// While there are faults, coordinators replace one another at the slightest silence.
    pub hasty: bool,
    /// While there are faults, a coordinator that was replaced goes on until its journal stops
    /// it: what would happen if there were no key.
    pub deaf: bool,
}

impl Scenario {
    /// What `seed` means.
    #[must_use]
    pub fn draw(seed: u64) -> Self {
        let mut prng = Prng::from_seed(seed);
        let input = draw_input(&mut prng);
        let workers = small(&mut prng, 2, 5);
        let mut scenario = Self {
            seed,
            input,
            config: draw_config(&mut prng),
            workers,
            slots: small(&mut prng, 1, 3),
            slowness: Vec::new(),
            fail_per_mille: *prng_pick(&mut prng, &[0, 0, 50, 300]),
            alter_per_mille: *prng_pick(&mut prng, &[0, 0, 0, 30]),
            notice_per_mille: *prng_pick(&mut prng, &[0, 500, 1000]),
            task_time: Duration::from_millis(50 + prng.below(3_000)),
            loss_per_mille: *prng_pick(&mut prng, &[0, 20, 100]),
            duplicate_per_mille: *prng_pick(&mut prng, &[0, 50, 200]),
            ordered: prng.below(2) == 0,
            crashes: Vec::new(),
            second: None,
            die_at_batch: None,
            hasty: false,
            deaf: false,
        };
        for _ in 0..workers {
            let slow = prng.below(4) == 0;
            scenario.slowness.push(if slow { 10 } else { 1 });
        }
        scenario.draw_crashes(&mut prng);
        if prng.below(3) > 0 {
            scenario.second = Some(Duration::from_millis(prng.below(40_000)));
        }
        scenario.hasty = prng.below(2) == 0;
        scenario
    }

    /// The same job without any fault.
    #[must_use]
    pub fn quiet(seed: u64) -> Self {
        let mut scenario = Self::draw(seed);
        scenario.crashes.clear();
        scenario.second = None;
        scenario.hasty = false;
        scenario.fail_per_mille = 0;
        scenario.alter_per_mille = 0;
        scenario.loss_per_mille = 0;
        scenario.duplicate_per_mille = 0;
        scenario.slowness.fill(1);
        scenario.input.bad.clear();
        scenario.input.unsteady = None;
        scenario
    }

    pub(crate) fn is_deaf(&self, now: Instant) -> bool {
        self.deaf && now < Instant::EPOCH.after(FAULTS_END)
    }

    pub(crate) fn is_hasty(&self, now: Instant) -> bool {
        self.hasty && now < Instant::EPOCH.after(FAULTS_END)
    }

    /// How long coordinators wait for one another, at this time.
    pub(crate) fn leader_times(&self, now: Instant) -> LeaderTimes {
        let times = if self.is_hasty(now) {
            LeaderTimes::new(Duration::from_millis(200), Duration::from_millis(300))
        } else {
            LeaderTimes::new(Duration::from_secs(1), Duration::from_secs(5))
        };
        times.planted_like(&self.config)
    }

    /// Every worker is killed once, on top of what was drawn.
    pub fn kill_every_worker(&mut self) {
        let mut prng = Prng::from_seed(self.seed ^ 0x6b69_6c6c);
        for at in 0..self.workers {
            self.crashes.push(Crash {
                node: worker_node(at),
                at: Duration::from_millis(500 + prng.below(20_000)),
                down: Duration::from_millis(500 + prng.below(15_000)),
                paused: false,
            });
        }
    }

    fn draw_crashes(&mut self, prng: &mut Prng) {
        for _ in 0..prng.below(8) {
            let node = match prng.below(3) {
                0 => COORDINATORS[prng.index(2)],
                _ => worker_node(small(prng, 0, self.workers - 1)),
            };
            self.crashes.push(Crash {
                node,
                at: Duration::from_millis(prng.below(45_000)),
                down: Duration::from_millis(100 + prng.below(14_000)),
                paused: prng.below(3) == 0,
            });
        }
    }
}

fn draw_input(prng: &mut Prng) -> Input {
    let maps = small(prng, 0, 6).max(small(prng, 0, 1));
    let reduces = small(prng, 1, 4);
    let mut splits = Vec::new();
    for _ in 0..maps {
        let words: Vec<Word> = (0..prng.below(30)).map(|_| small(prng, 0, 20)).collect();
        splits.push(words);
    }
    let mut bad = Vec::new();
    let mut unsteady = None;
    if maps > 0 && prng.below(6) == 0 {
        let map = small(prng, 0, maps - 1);
        let len = splits[map as usize].len() as u64;
        if len > 0 {
            bad.push((map, prng.below(len)));
        }
    }
    if maps > 0 && prng.below(10) == 0 {
        unsteady = Some(small(prng, 0, maps - 1));
    }
    Input {
        splits,
        reduces,
        bad,
        unsteady,
    }
}

fn draw_config(prng: &mut Prng) -> Config {
    Config {
        // Budgets that chance does not exhaust: these runs must succeed.
        user_failures_max: 1_000,
        failures_max: 1_000,
        losses_max: 1_000,
        reruns_max: 1_000,
        no_worker: Duration::from_secs(600),
        skip_max: 2,
        audit_permille: *prng_pick(prng, &[0, 200, 1000]),
        backup_copies_max: *prng_pick(prng, &[0, 1, 1, 2]),
        backup_blind: Duration::from_secs(3),
        ..Config::default()
    }
}

fn prng_pick<'a, T>(prng: &mut Prng, of: &'a [T]) -> &'a T {
    &of[prng.index(of.len())]
}

fn small(prng: &mut Prng, least: u32, most: u32) -> u32 {
    let span = u64::from(most.saturating_sub(least)) + 1;
    least + u32::try_from(prng.below(span)).unwrap_or(0)
}

pub(crate) fn worker_node(at: u32) -> NodeId {
    NodeId::new(10 + u64::from(at))
}
