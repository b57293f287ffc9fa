//! The world itself, run with a toy: a counter that must never go back, kept with and
//! without a sync. The second one is the canary: a world that doesn't catch it is broken.

use core::time::Duration;
use std::collections::VecDeque;

use sim::{
    Context, Disk, DiskError, DiskOptions, FaultEnd, Liveness, Message, NetworkOptions, Plan,
    PlanStep, Process, Recording, Step, SyncId, Violation, Weights, World, WorldOptions, fault,
    shrink,
};
use stdx::{Instant, NodeId, Prng};

/// What one node tells the other.
#[derive(Clone, Debug)]
struct Count(u64);

impl Message for Count {
    fn bytes(&self) -> usize {
        8
    }
    fn label(&self) -> &'static str {
        "count"
    }
    fn is_reply(&self) -> bool {
        false
    }
    fn words(&self) -> [u64; 3] {
        [self.0, 0, 0]
    }
}

/// Counts on its disk and tells its peers, after the sync or (the canary) before.
struct Counter {
    syncs_first: bool,
    peers: Vec<NodeId>,
    count: u64,
    syncing: VecDeque<u64>,
    next_at: Instant,
    told: Vec<u64>,
    highest_heard: u64,
}

impl Counter {
    fn tell(&mut self, context: &mut Context<'_, Count>, count: u64) {
        self.told.push(count);
        for &peer in &self.peers {
            context.send(peer, Count(count));
        }
    }
}

fn last_count(disk: &Disk) -> u64 {
    let (_, bytes) = disk.read("counter");
    bytes
        .chunks_exact(8)
        .map(|word| u64::from_le_bytes(word.try_into().expect("chunks of eight")))
        .max()
        .unwrap_or(0)
}

impl Process for Counter {
    type Config = (bool, Vec<NodeId>);
    type Message = Count;

    fn boot(config: &Self::Config, context: &mut Context<'_, Count>) -> Result<Self, String> {
        Ok(Self {
            syncs_first: config.0,
            peers: config.1.clone(),
            count: last_count(context.disk),
            syncing: VecDeque::new(),
            next_at: context.now.after(Duration::from_millis(10)),
            told: Vec::new(),
            highest_heard: 0,
        })
    }

    fn on_message(&mut self, _: &mut Context<'_, Count>, _: NodeId, message: Count) {
        self.highest_heard = self.highest_heard.max(message.0);
    }

    fn on_timeout(&mut self, context: &mut Context<'_, Count>) {
        self.next_at = context.now.after(Duration::from_millis(10));
        self.count += 1;
        let word = self.count.to_le_bytes();
        if context
            .disk
            .write("counter", (self.count - 1) % 4 * 8, &word)
            .is_err()
        {
            context.abort("disk");
            return;
        }
        context.sync();
        self.syncing.push_back(self.count);
        if !self.syncs_first {
            self.tell(context, self.count);
        }
    }

    fn on_synced(
        &mut self,
        context: &mut Context<'_, Count>,
        _: SyncId,
        result: Result<(), DiskError>,
    ) {
        let count = self.syncing.pop_front().expect("it began this sync");
        match result {
            Ok(()) if self.syncs_first => self.tell(context, count),
            Ok(()) => {}
            Err(error) => context.abort(error.to_string()),
        }
    }

    fn timeout(&self) -> Option<Instant> {
        Some(self.next_at)
    }
}

enum Task {
    Fault(PlanStep),
    End(FaultEnd),
}

fn options() -> WorldOptions {
    WorldOptions {
        network: NetworkOptions::UNRELIABLE,
        disk: DiskOptions {
            sync_mean: Duration::from_millis(4),
            ..DiskOptions::QUICK
        },
        drift_ppm_max: 1_000,
        recording: Recording::Off,
    }
}

fn world(seed: u64, syncs_first: bool) -> World<Counter, Task> {
    let mut world = World::new(seed, options());
    let nodes = [NodeId::new(1), NodeId::new(2), NodeId::new(3)];
    for id in nodes {
        let peers = nodes.into_iter().filter(|&peer| peer != id).collect();
        world.add_host(id, (syncs_first, peers));
        world.start(id).expect("an empty disk");
    }
    world
}

/// Runs under a plan; the property: no node ever tells a number a second time.
fn run(seed: u64, syncs_first: bool, plan: &Plan) -> (u64, Result<(), Violation>) {
    let mut world = world(seed, syncs_first);
    for step in &plan.steps {
        world.schedule(step.at, Task::Fault(*step));
    }
    let end = Instant::EPOCH.after(Duration::from_secs(10));
    let mut told = [0; 4];
    while let Some(step) = world.step(end) {
        match step {
            Step::Task(Task::Fault(step)) => {
                if let Some(ends) = fault::begin(&mut world, &step, None) {
                    world.schedule(step.lasts, Task::End(ends));
                }
            }
            Step::Task(Task::End(ends)) => {
                fault::end(&mut world, ends);
            }
            Step::Node(id) => {
                let slot = usize::try_from(id.get()).expect("three nodes");
                let news = world.act(id, |counter, _| core::mem::take(&mut counter.told));
                for count in news.unwrap_or_default() {
                    if count <= told[slot] {
                        let violation =
                            Violation::new("counts_up", format!("{id} told {count} again"));
                        return (world.trace().hash(), Err(violation));
                    }
                    told[slot] = count;
                }
            }
            Step::Stopped(..) | Step::Nothing => {}
        }
    }
    (world.trace().hash(), Ok(()))
}

fn plan(seed: u64) -> Plan {
    let mut prng = Prng::from_seed(seed);
    let weights = Weights::swarm(&mut prng, &[]).with("crash", 4);
    Plan::draw(
        &mut prng,
        &weights,
        Duration::from_secs(10),
        Duration::from_millis(200),
    )
}

#[test]
fn the_same_seed_gives_the_same_trace_and_another_seed_another() {
    let hash = |seed| run(seed, true, &plan(seed)).0;
    for seed in 0..10 {
        assert_eq!(hash(seed), hash(seed));
        assert_ne!(hash(seed), hash(seed + 1));
    }
}

#[test]
fn syncing_before_telling_survives_every_seed() {
    for seed in 0..100 {
        assert_eq!(run(seed, true, &plan(seed)).1, Ok(()), "seed {seed}");
    }
}

#[test]
fn the_canary_is_caught_and_shrinks_to_one_fault() {
    let seed = (0..20).find(|&seed| run(seed, false, &plan(seed)).1.is_err());
    let seed = seed.expect("a world that never loses an unsynced write proves nothing");
    let shrunk = shrink(&plan(seed), 200, |candidate| {
        run(seed, false, candidate).1.is_err()
    });
    assert_eq!(shrunk.steps.len(), 1, "{shrunk}");
    let again = run(seed, false, &shrunk).1.unwrap_err();
    assert_eq!(again.property, "counts_up");
}

#[test]
fn a_paused_process_hears_everything_when_it_continues() {
    let mut world = world(1, true);
    let (one, two) = (NodeId::new(1), NodeId::new(2));
    world.pause(one);
    let second = Instant::EPOCH.after(Duration::from_secs(1));
    while world.step(second).is_some() {}
    assert_eq!(world.liveness(one), Liveness::Paused);
    assert_eq!(world.process(one).unwrap().highest_heard, 0);
    let count_of_two = world.process(two).unwrap().count;
    assert!(count_of_two > 50);
    world.resume(one);
    assert!(world.process(one).unwrap().highest_heard > count_of_two - 10);
    let then = second.after(Duration::from_secs(1));
    while world.step(then).is_some() {}
    assert!(
        world.process(one).unwrap().count > 50,
        "its timer runs again"
    );
}

#[test]
fn a_crashed_process_starts_on_what_its_disk_kept() {
    let mut world = world(2, true);
    let one = NodeId::new(1);
    let second = Instant::EPOCH.after(Duration::from_secs(1));
    while world.step(second).is_some() {}
    let told = world.process(one).unwrap().told.last().copied().unwrap();
    world.crash(one);
    assert_eq!(world.liveness(one), Liveness::Down);
    world.start(one).unwrap();
    assert!(world.process(one).unwrap().count >= told);
    assert!(world.local_now(one).is_some());
}

#[test]
fn a_process_on_a_full_disk_stops_itself() {
    let mut world = world(3, true);
    let two = NodeId::new(2);
    world.disk(two).unwrap().set_full(true);
    let second = Instant::EPOCH.after(Duration::from_secs(1));
    let mut stopped = false;
    while let Some(step) = world.step(second) {
        stopped |= matches!(step, Step::Stopped(node, _) if node == two);
    }
    assert!(stopped);
    assert_eq!(world.liveness(two), Liveness::Down);
}
