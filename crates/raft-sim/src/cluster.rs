//! A simulated cluster: the world, the checkers that watch it, and the tasks it is given.

use core::time::Duration;
use std::sync::Arc;

use raft::{LogBase, Membership, RoleKind};
use sim::{FaultEnd, Liveness, PlanStep, Recording, Step, Violation, World, WorldOptions, fault};
use stdx::{Instant, NodeId};

use crate::checkers::{Checkers, Nodes, Seen};
use crate::clients::Clients;
use crate::coverage::Coverage;
use crate::node::{NodeConfig, RaftNode};
use crate::operations;
use crate::options::Options;

/// What the harness schedules.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Task {
    /// A fault begins.
    Fault(PlanStep),
    /// A fault ends.
    FaultEnd(FaultEnd),
    /// A node that stopped itself is started again, as a supervisor does.
    Start(NodeId),
    /// A client may start its next operation.
    Client(usize),
    /// A client has waited long enough for an operation.
    GiveUp(usize, u64),
}

/// A node's name by its number from 0.
#[must_use]
pub const fn node_id(number: u64) -> NodeId {
    NodeId::new(number + 1)
}

/// The world of a run and everything that watches it.
#[derive(Debug)]
pub struct Cluster {
    /// The world.
    pub world: World<RaftNode, Task>,
    /// The checkers.
    pub checkers: Checkers,
    /// The clients and what they were told.
    pub clients: Clients,
    /// What happened so far.
    pub coverage: Coverage,
    options: Options,
    /// Nodes whose disk rotted: they stay down.
    rotten: Vec<NodeId>,
    faults_on: bool,
    violation: Option<Violation>,
}

struct View<'a>(&'a World<RaftNode, Task>);

impl Nodes for View<'_> {
    fn node(&self, id: NodeId) -> Option<&RaftNode> {
        self.0.process(id)
    }
}

impl Cluster {
    /// Starts the machines of a run.
    ///
    /// # Panics
    ///
    /// When a node refuses to start on an empty disk.
    #[must_use]
    pub fn new(seed: u64, options: &Options, recording: Recording) -> Self {
        let world_options = WorldOptions {
            network: options.network,
            disk: options.disk,
            drift_ppm_max: options.drift_ppm_max,
            recording,
        };
        let mut world = World::new(seed, world_options);
        let members = Membership::of_voters((0..options.voters).map(node_id));
        let base = LogBase {
            membership: Arc::new(members.with_lease(options.lease_policy)),
            ..LogBase::default()
        };
        for number in 0..options.voters + options.spares {
            let bootstrap = if number < options.voters {
                base.clone()
            } else {
                LogBase::default()
            };
            let config = NodeConfig {
                raft: options.raft.clone(),
                bootstrap,
                snapshot_every: options.snapshot_every,
                lag_max: options.lag_max,
                true_time: options.true_time,
                watched_drift_ppm: options.drift_ppm_max,
            };
            world.add_host(node_id(number), config);
            world
                .start(node_id(number))
                .expect("an empty disk is a fine one");
        }
        Self {
            world,
            checkers: Checkers::default(),
            clients: Clients::new(seed, options),
            coverage: Coverage::default(),
            options: options.clone(),
            rotten: Vec::new(),
            faults_on: true,
            violation: None,
        }
    }

    /// Lets one thing happen; `None` when nothing is left before `until`.
    ///
    /// # Errors
    ///
    /// The first property that didn't hold.
    pub fn step(&mut self, until: Instant) -> Result<Option<()>, Violation> {
        let step = self.world.step(until);
        match step {
            None => return self.verdict().map(|()| None),
            Some(Step::Node(id)) => self.observe(id),
            Some(Step::Stopped(id, _)) => {
                self.forget(id);
                let supervised = Duration::from_millis(500);
                self.world.schedule(supervised, Task::Start(id));
            }
            Some(Step::Task(task)) => self.perform(task),
            Some(Step::Nothing) => {}
        }
        self.verdict().map(Some)
    }

    /// Lets everything happen for a span.
    ///
    /// # Errors
    ///
    /// The first property that didn't hold.
    pub fn run_for(&mut self, span: Duration) -> Result<(), Violation> {
        let until = self.world.now().after(span);
        while self.step(until)?.is_some() {}
        Ok(())
    }

    /// Gives a node's process an input, and looks at what came of it.
    pub fn act<R>(
        &mut self,
        id: NodeId,
        action: impl FnOnce(&mut RaftNode, &mut sim::Context<'_, crate::wire::Packet>) -> R,
    ) -> Option<R> {
        let result = self.world.act(id, action);
        self.observe(id);
        result
    }

    /// The running node that leads the newest term.
    #[must_use]
    pub fn leader(&self) -> Option<NodeId> {
        let leaders = self.world.processes().filter(|&(id, node)| {
            node.raft().role() == RoleKind::Leader && self.world.liveness(id) == Liveness::Up
        });
        leaders
            .max_by_key(|(_, node)| node.raft().term())
            .map(|(id, _)| id)
    }

    /// A running node that believes that it leads, of the oldest term.
    #[must_use]
    pub fn stale_leader(&self) -> Option<NodeId> {
        let leaders = self.world.processes().filter(|&(id, node)| {
            node.raft().role() == RoleKind::Leader && self.world.liveness(id) == Liveness::Up
        });
        leaders
            .min_by_key(|(_, node)| node.raft().term())
            .map(|(id, _)| id)
    }

    /// What the run is made of.
    #[must_use]
    pub const fn options(&self) -> &Options {
        &self.options
    }

    /// Kills a node.
    pub fn crash(&mut self, id: NodeId) {
        self.world.crash(id);
        self.forget(id);
    }

    /// Starts a node; one that refuses to is out for good, which is right only if its log
    /// was made to rot.
    pub fn start(&mut self, id: NodeId) {
        if self.world.liveness(id) != Liveness::Down {
            return;
        }
        match self.world.start(id) {
            Ok(()) => self.observe(id),
            Err(_) if self.rotten.contains(&id) => {}
            Err(reason) => {
                let detail = format!("{id} doesn't start: {reason}");
                self.fail(Violation::new("recovery", detail));
            }
        }
    }

    /// Faults end: links are mended, disks have room, and whoever `stays_down` doesn't
    /// choose runs.
    pub fn heal(&mut self, stays_down: impl Fn(NodeId) -> bool) {
        self.faults_on = false;
        self.world.network_mut().heal();
        let mut network = self.options.network;
        network.loss_per_mille = 0;
        network.long_reorder = None;
        self.world.network_mut().set_options(network);
        for id in self.world.hosts().collect::<Vec<_>>() {
            if let Some(disk) = self.world.disk(id) {
                disk.heal();
            }
            if stays_down(id) {
                self.crash(id);
                continue;
            }
            self.world.resume(id);
            self.observe(id);
            self.start(id);
        }
    }

    /// Machines that are lost for good.
    #[must_use]
    pub fn rotten(&self) -> &[NodeId] {
        &self.rotten
    }

    /// Records the first violation.
    pub fn fail(&mut self, violation: Violation) {
        self.violation.get_or_insert(violation);
    }

    /// The first violation, if any.
    ///
    /// # Errors
    ///
    /// That one.
    pub fn verdict(&self) -> Result<(), Violation> {
        self.violation.clone().map_or(Ok(()), Err)
    }

    /// Looks at a node that may have changed.
    pub fn observe(&mut self, id: NodeId) {
        if self.world.liveness(id) == Liveness::Down {
            self.forget(id);
            return;
        }
        let Some(outputs) = self.world.act(id, |node, _| node.take_outputs()) else {
            return;
        };
        let Some(node) = self.world.process(id) else {
            return;
        };
        if self.options.core_checks {
            node.raft().check_invariants();
        }
        self.coverage.hear(&outputs);
        let seen = Seen {
            id,
            node,
            outputs: &outputs,
        };
        let checked = self.checkers.observe(seen, &View(&self.world));
        let checked = checked.and_then(|()| self.clients.hear(&mut self.world, id, &outputs));
        if let Err(violation) = checked {
            self.fail(violation);
        }
    }

    fn perform(&mut self, task: Task) {
        match task {
            Task::Fault(step) if self.faults_on => {
                let leader = self.leader();
                if operations::begin(self, &step, leader) {
                    return;
                }
                if let Some(end) = fault::begin(&mut self.world, &step, leader) {
                    self.world.schedule(step.lasts, Task::FaultEnd(end));
                }
                self.observe_all();
            }
            Task::Fault(_) => {}
            Task::FaultEnd(FaultEnd::Restart(id)) if self.faults_on => self.start(id),
            Task::FaultEnd(FaultEnd::RestartAll) if self.faults_on => {
                for id in self.world.hosts().collect::<Vec<_>>() {
                    self.start(id);
                }
            }
            Task::FaultEnd(end) if self.faults_on => {
                fault::end(&mut self.world, end);
                self.observe_all();
            }
            Task::FaultEnd(_) => {}
            Task::Start(id) => self.start(id),
            Task::Client(client) => {
                let leader = self.leader();
                let acted = Clients::act(self, client, leader);
                if let Err(violation) = acted {
                    self.fail(violation);
                }
            }
            Task::GiveUp(client, number) => self.clients.give_up(&mut self.world, client, number),
        }
    }

    fn forget(&mut self, id: NodeId) {
        self.coverage.deaths += u64::from(self.checkers.forget(id));
    }

    fn observe_all(&mut self) {
        for id in self.world.hosts().collect::<Vec<_>>() {
            self.observe(id);
        }
    }

    /// Marks a machine as lost for good.
    pub fn lose(&mut self, id: NodeId) {
        self.rotten.push(id);
    }
}
