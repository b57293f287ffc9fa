//! One run of a seed: faults and checks, then healing and convergence.

use core::fmt;
use core::time::Duration;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use raft::RoleKind;
use sim::{Failure, Liveness, Plan, Recording, Violation, shrink};
use stdx::{Instant, NodeId, Prng};

use crate::checkers::check_history;
use crate::clients::Served;
use crate::cluster::{Cluster, Task, node_id};
use crate::coverage::Coverage;
use crate::options::Options;

/// Runs that shrinking may cost.
const SHRINK_RUNS_MAX: usize = 80;
/// Lines of the trace that a failure shows.
const TRACE_LINES: usize = 60;

/// What a run that passed was.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Summary {
    /// Hash of everything that happened.
    pub hash: u64,
    /// Events in the trace.
    pub events: u64,
    /// The world's time at the end.
    pub ended: Instant,
    /// What clients were told.
    pub served: Served,
    /// What happened.
    pub coverage: Coverage,
    /// How long the healed cluster took to converge and serve.
    pub healed_in: Duration,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "hash {:#018x}, {} events, {} virtual, healed in {:?}\n{}\n{}",
            self.hash, self.events, self.ended, self.healed_in, self.served, self.coverage
        )
    }
}

/// What a caller may choose besides the seed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct RunOptions {
    /// Stop after so many steps of the world, without a liveness phase.
    pub steps_max: Option<u64>,
    /// Draw options for leases that belong to the group.
    pub leases: bool,
}

/// Runs a seed with the options drawn from it. A failure is shrunk, and comes with the end
/// of its trace.
///
/// # Errors
///
/// What didn't hold, and how to see it again.
pub fn run_seed(seed: u64, run_options: RunOptions) -> Result<Summary, Box<Failure>> {
    let mut options = if run_options.leases {
        Options::draw_leases(seed)
    } else {
        Options::draw(seed)
    };
    options.steps_max = run_options.steps_max;
    let plan = draw_plan(seed, &options);
    let named = |mut failure: Box<Failure>| {
        if run_options.leases {
            failure.system = "leases";
        }
        failure
    };
    let failure = match run_plan(seed, &options, &plan, Recording::Off) {
        Ok(summary) => return Ok(summary),
        Err(failure) => failure,
    };
    let property = failure.violation.property;
    let shrunk = shrink(&plan, SHRINK_RUNS_MAX, |candidate| {
        let again = run_plan(seed, &options, candidate, Recording::Off);
        again.is_err_and(|again| again.violation.property == property)
    });
    let told = run_plan(seed, &options, &shrunk, Recording::Last(TRACE_LINES));
    Err(named(told.err().unwrap_or(failure)))
}

/// Runs a seed with given options.
///
/// # Errors
///
/// What didn't hold.
pub fn run(seed: u64, options: &Options) -> Result<Summary, Box<Failure>> {
    let plan = draw_plan(seed, options);
    run_plan(seed, options, &plan, Recording::Off)
}

/// The faults of a seed.
#[must_use]
pub fn draw_plan(seed: u64, options: &Options) -> Plan {
    let mut prng = Prng::from_seed(seed ^ 0x0009_1a17);
    Plan::draw(
        &mut prng,
        &options.weights,
        options.safety,
        options.fault_gap,
    )
}

/// Runs a seed with given options and faults.
///
/// # Errors
///
/// What didn't hold.
pub fn run_plan(
    seed: u64,
    options: &Options,
    plan: &Plan,
    recording: Recording,
) -> Result<Summary, Box<Failure>> {
    let mut cluster = Cluster::new(seed, options, recording);
    for step in &plan.steps {
        cluster.world.schedule(step.at, Task::Fault(*step));
    }
    // An assertion of the core that doesn't hold is a finding like any other.
    let result = catch_unwind(AssertUnwindSafe(|| drive(&mut cluster)));
    let violation = match result {
        Ok(Ok(healed_in)) => {
            return Ok(Summary {
                hash: cluster.world.trace().hash(),
                events: cluster.world.trace().events(),
                ended: cluster.world.now(),
                served: cluster.clients.served(),
                coverage: cluster.coverage,
                healed_in,
            });
        }
        Ok(Err(violation)) => violation,
        Err(panic) => Violation::new("assertion", panic_text(panic.as_ref())),
    };
    let arguments = options
        .steps_max
        .map_or_else(String::new, |steps| format!(" --steps {steps}"));
    Err(Box::new(Failure {
        system: "raft",
        seed,
        arguments,
        violation,
        at: cluster.world.now(),
        hash: cluster.world.trace().hash(),
        options: options.to_string(),
        plan: plan.clone(),
        trace: cluster.world.trace().lines().map(str::to_owned).collect(),
    }))
}

fn panic_text(panic: &(dyn core::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned()));
    text.unwrap_or_else(|| "a panic without a text".to_owned())
}

fn drive(cluster: &mut Cluster) -> Result<Duration, Violation> {
    let options = cluster.options().clone();
    cluster.clients.begin(&mut cluster.world);
    let until = cluster.world.now().after(options.safety);
    let mut steps = 0;
    while cluster.step(until)?.is_some() {
        steps += 1;
        if options.steps_max.is_some_and(|max| steps >= max) {
            check_history(cluster.clients.end(&mut cluster.world))?;
            return Ok(Duration::ZERO);
        }
    }
    let healed_in = heal(cluster, &options)?;
    check_history(cluster.clients.end(&mut cluster.world))?;
    Ok(healed_in)
}

/// Liveness: with a quorum healed, the cluster elects a leader, commits a new write, and
/// every member that runs applies it, in bounded time (the paper's section 5.6, which asks
/// that broadcast times are far below election timeouts).
fn heal(cluster: &mut Cluster, options: &Options) -> Result<Duration, Violation> {
    let lost = cluster.rotten().len() as u64;
    let spare_failures = ((options.voters - 1) / 2).saturating_sub(lost);
    let rotten = cluster.rotten().to_vec();
    let mut left_out: Vec<NodeId> = Vec::new();
    if options.heal_quorum_only {
        let sound = (0..options.voters)
            .map(node_id)
            .filter(|id| !rotten.contains(id));
        left_out.extend(sound.take(usize::try_from(spare_failures).unwrap_or(0)));
    }
    cluster.heal(|id| left_out.contains(&id));
    cluster.verdict()?;
    let start = cluster.world.now();
    let deadline = start.after(options.liveness);
    let mut probe = None;
    while cluster.world.now() < deadline {
        cluster.run_for(Duration::from_millis(50))?;
        if probe.is_none_or(|probe| lost_probe(cluster, probe)) {
            probe = send_probe(cluster);
        } else if converged(cluster, probe) {
            return Ok(cluster.world.now().since(start));
        }
    }
    let states: Vec<String> = cluster
        .world
        .processes()
        .map(|(id, node)| {
            let raft = node.raft();
            format!(
                "{id} {:?} {} last {} committed {} applied {}",
                raft.role(),
                raft.term(),
                raft.last_index(),
                raft.committed(),
                raft.applied()
            )
        })
        .collect();
    let detail = format!(
        "not converged {:?} after healing: {}",
        options.liveness,
        states.join("; ")
    );
    Err(Violation::new("liveness", detail))
}

type Probe = (stdx::LogIndex, stdx::Term);

fn send_probe(cluster: &mut Cluster) -> Option<Probe> {
    let leader = cluster.leader()?;
    let bytes = Bytes::from_static(b"probe");
    let proposed = cluster.act(leader, |node, context| node.propose_bytes(context, bytes));
    let proposed = proposed?.ok()?;
    Some((proposed.index, proposed.term))
}

fn lost_probe(cluster: &Cluster, (index, term): Probe) -> bool {
    let applied = cluster.checkers.applied(index);
    applied.is_some_and(|entry| entry.term != term)
        || applied.is_none()
            && cluster.leader().is_some_and(|id| {
                cluster.world.process(id).is_some_and(|node| {
                    node.raft().term() > term && node.raft().term_at(index) != Some(term)
                })
            })
}

fn converged(cluster: &Cluster, probe: Option<Probe>) -> bool {
    let (Some((index, _)), Some(leader)) = (probe, cluster.leader()) else {
        return false;
    };
    let Some(raft) = cluster
        .world
        .process(leader)
        .map(crate::node::RaftNode::raft)
    else {
        return false;
    };
    let members = raft.membership().members();
    !raft.membership().is_joint()
        && raft.role() == RoleKind::Leader
        && members.iter().all(|&member| {
            cluster.world.liveness(member) == Liveness::Down
                || cluster
                    .world
                    .process(member)
                    .is_some_and(|node| node.raft().applied() >= index)
        })
}
