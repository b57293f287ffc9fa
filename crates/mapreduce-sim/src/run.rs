//! One run: the world, the faults, the end.

use core::time::Duration;
use std::collections::BTreeMap;

use mapreduce_core::{Epoch, Outcome};
use sim::{
    Delay, DiskOptions, Failure, NetworkOptions, Plan, Recording, Step, Violation, World,
    WorldOptions,
};
use stdx::{Instant, NodeId};

use crate::checks::check;
use crate::node::{Kind, Node, Start};
use crate::scenario::{COORDINATORS, DEADLINE, FAULTS_END, STORE, Scenario, worker_node};

/// What the harness does at a time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Task {
    Crash(NodeId),
    Pause(NodeId),
    Start(NodeId),
    Resume(NodeId),
    Calm,
}

/// What a run was.
#[derive(Clone, Copy, Debug, Default)]
pub struct Summary {
    /// Batches that arrived at the journal.
    pub batches: u64,
    /// Attempts that failed or were lost.
    pub failures: u64,
    /// The epoch of the coordinator that published.
    pub epoch: u64,
    /// Whether the job had a result.
    pub succeeded: bool,
    /// Tasks that were executed twice and compared.
    pub audits: u64,
    /// Seconds until the end, in the world's time.
    pub seconds: u64,
    /// Of everything that happened: the same for the same seed.
    pub hash: u64,
}

/// Runs a seed.
///
/// # Errors
///
/// The property that didn't hold, and how to see it again.
pub fn run(seed: u64) -> Result<Summary, Box<Failure>> {
    run_with(&Scenario::draw(seed))
}

/// Runs a scenario.
///
/// # Errors
///
/// The property that didn't hold.
///
/// # Panics
///
/// When the core breaks an assertion of its own.
pub fn run_with(scenario: &Scenario) -> Result<Summary, Box<Failure>> {
    let mut world = build(scenario);
    let mut outcome = None;
    let mut died = false;
    let mut reigns = BTreeMap::new();
    let end = Instant::EPOCH.after(DEADLINE);
    let mut linger = None;
    while let Some(step) = world.step(linger.unwrap_or(end)) {
        match step {
            Step::Task(task) => perform(&mut world, scenario, task),
            Step::Stopped(node, why) => {
                return fail(
                    scenario,
                    &world,
                    Violation::new("no process gives up", format!("{node}: {why}")),
                );
            }
            Step::Node(node) => {
                if let Some(Node::Coordinator(coordinator)) = world.process(node) {
                    outcome = coordinator.outcome.clone().or(outcome);
                }
                if node == STORE {
                    die_at_batch(&mut world, scenario, &mut died);
                }
                if let Err(violation) = check_reign(&world, node, &mut reigns) {
                    return fail(scenario, &world, violation);
                }
            }
            Step::Nothing => {}
        }
        if outcome.is_some() && linger.is_none() {
            // Zombies get time to do harm.
            let after = world.now().after(Duration::from_secs(30));
            linger = Some(after.max(Instant::EPOCH.after(FAULTS_END)).min(end));
        }
    }
    conclude(scenario, &world, outcome.as_ref())
}

fn build(scenario: &Scenario) -> World<Node, Task> {
    let network = NetworkOptions {
        delay: Delay::Tail {
            min: Duration::from_micros(200),
            mean: Duration::from_millis(3),
        },
        loss_per_mille: scenario.loss_per_mille,
        duplicate_per_mille: scenario.duplicate_per_mille,
        long_reorder: None,
        ordered: scenario.ordered,
        outruns_cuts: true,
    };
    let options = WorldOptions {
        network,
        disk: DiskOptions::QUICK,
        drift_ppm_max: 500,
        recording: Recording::Last(80),
    };
    let mut world = World::new(scenario.seed, options);
    let start = |kind| Start {
        scenario: scenario.clone(),
        kind,
    };
    world.add_host(STORE, start(Kind::Store));
    for node in COORDINATORS {
        world.add_host(node, start(Kind::Coordinator));
    }
    for at in 0..scenario.workers {
        world.add_host(worker_node(at), start(Kind::Worker(at)));
        world.schedule(Duration::ZERO, Task::Start(worker_node(at)));
    }
    world.schedule(Duration::ZERO, Task::Start(STORE));
    world.schedule(Duration::ZERO, Task::Start(COORDINATORS[0]));
    if let Some(at) = scenario.second {
        world.schedule(at, Task::Start(COORDINATORS[1]));
    }
    for crash in &scenario.crashes {
        let (stop, go) = if crash.paused {
            (Task::Pause(crash.node), Task::Resume(crash.node))
        } else {
            (Task::Crash(crash.node), Task::Start(crash.node))
        };
        world.schedule(crash.at, stop);
        world.schedule(crash.at + crash.down, go);
    }
    world.schedule(FAULTS_END, Task::Calm);
    world
}

fn perform(world: &mut World<Node, Task>, scenario: &Scenario, task: Task) {
    match task {
        Task::Crash(node) => {
            world.crash(node);
            if notices(scenario, node) {
                for coordinator in COORDINATORS {
                    world.act(coordinator, |process, context| {
                        if let Node::Coordinator(coordinator) = process {
                            coordinator.on_disconnected(context, node);
                        }
                    });
                }
            }
        }
        Task::Pause(node) => world.pause(node),
        Task::Start(node) => start(world, scenario, node),
        Task::Resume(node) => world.resume(node),
        Task::Calm => {
            let mut options = world.network().options();
            options.loss_per_mille = 0;
            options.duplicate_per_mille = 0;
            world.network_mut().set_options(options);
            for at in 0..scenario.workers {
                world.resume(worker_node(at));
                start(world, scenario, worker_node(at));
            }
            world.resume(COORDINATORS[0]);
            start(world, scenario, COORDINATORS[0]);
        }
    }
}

fn notices(scenario: &Scenario, node: NodeId) -> bool {
    (scenario.seed ^ node.get().wrapping_mul(0x9e37_79b9)) % 1000 < scenario.notice_per_mille
}

fn start(world: &mut World<Node, Task>, scenario: &Scenario, node: NodeId) {
    // Nothing of ours refuses to start.
    let started = world.start(node);
    assert!(started.is_ok(), "{node} starts: {started:?}");
    if node == STORE
        && let Some((batch, written)) = scenario.die_at_batch
    {
        world.act(STORE, |process, _| {
            if let Node::Store(store) = process
                && !written
            {
                store.refuse = Some(batch);
            }
        });
    }
}

/// A worker follows only who has opened the journal.
fn check_reign(
    world: &World<Node, Task>,
    node: NodeId,
    reigns: &mut BTreeMap<NodeId, Epoch>,
) -> Result<(), Violation> {
    let (Some(Node::Worker(worker)), Some(Node::Store(store))) =
        (world.process(node), world.process(STORE))
    else {
        return Ok(());
    };
    let epoch = worker.epoch;
    let known = reigns.insert(node, epoch);
    if known == Some(epoch) || epoch == Epoch(0) || store.has_opened(epoch) {
        return Ok(());
    }
    let detail = format!("{node} follows {epoch}, which nobody has opened");
    Err(Violation::new(
        "only who has opened the journal speaks",
        detail,
    ))
}

/// Kills the first coordinator when the chosen batch has arrived, and starts it again.
fn die_at_batch(world: &mut World<Node, Task>, scenario: &Scenario, died: &mut bool) {
    let Some((batch, _)) = scenario.die_at_batch else {
        return;
    };
    let arrived = match world.process(STORE) {
        Some(Node::Store(store)) => store.appends,
        _ => 0,
    };
    if arrived >= batch && !*died {
        *died = true;
        world.crash(COORDINATORS[0]);
        world.schedule(Duration::from_millis(300), Task::Start(COORDINATORS[0]));
    }
}

fn conclude(
    scenario: &Scenario,
    world: &World<Node, Task>,
    outcome: Option<&Outcome>,
) -> Result<Summary, Box<Failure>> {
    let Some(Node::Store(store)) = world.process(STORE) else {
        return fail(
            scenario,
            world,
            Violation::new("the store stays", "it is gone"),
        );
    };
    if let Err(violation) = check(scenario, store, outcome) {
        return fail(scenario, world, violation);
    }
    let published = store.published.as_ref();
    Ok(Summary {
        batches: store.appends,
        failures: published.map_or(0, |(_, receipt, _)| receipt.failures),
        epoch: published.map_or(0, |(epoch, _, _)| epoch.0),
        succeeded: published.is_some(),
        audits: published.map_or(0, |(_, receipt, _)| receipt.audits.len() as u64),
        seconds: world.now().as_nanos() / 1_000_000_000,
        hash: world.trace().hash(),
    })
}

fn fail(
    scenario: &Scenario,
    world: &World<Node, Task>,
    violation: Violation,
) -> Result<Summary, Box<Failure>> {
    let views = world
        .processes()
        .filter_map(|(node, process)| match process {
            Node::Coordinator(coordinator) => Some(format!(
                "{node}: {:#?}",
                coordinator.job.as_ref().map(mapreduce_core::Job::view)
            )),
            _ => None,
        });
    let views: Vec<String> = views.collect();
    Err(Box::new(Failure {
        system: "mapreduce",
        seed: scenario.seed,
        arguments: String::new(),
        violation,
        at: world.now(),
        hash: world.trace().hash(),
        options: format!("{scenario:?}\n{}", views.join("\n")),
        plan: Plan::default(),
        trace: world.trace().lines().map(str::to_owned).collect(),
    }))
}
