//! Stories told by hand: the helpers that the scenario tests share.
//!
//! They mean what the helpers of the original tests mean: "one leader" is looked for ten
//! times, half a second apart; "one" agreement has ten seconds, two per attempt. All time
//! is virtual.

use core::time::Duration;
use std::collections::BTreeSet;

use bytes::Bytes;
use raft::{Config, Lease, RoleKind};
use sim::{DiskOptions, LinkCounters, Liveness, NetworkOptions, Recording, Violation, Weights};
use stdx::{LogIndex, NodeId, Prng, Term};

use crate::cluster::{Cluster, node_id};
use crate::options::{Options, SYSTEM_KINDS};

/// The original tests' idea of a generous election timeout.
pub const ELECTION_TIMEOUT: Duration = Duration::from_secs(1);
/// How long one agreement may take.
const AGREEMENT_MAX: Duration = Duration::from_secs(10);
/// How long one attempt at it may take.
const ATTEMPT_MAX: Duration = Duration::from_secs(2);
/// Lines of the trace that a broken story shows.
const TRACE_LINES: usize = 100;
/// How often progress is looked at.
const POLL: Duration = Duration::from_millis(20);

/// A cluster whose links and processes a test cuts, kills and mends by hand.
///
/// Every helper panics when a checker finds something, and says what.
#[derive(Debug)]
pub struct Scenario {
    /// The cluster.
    pub cluster: Cluster,
    /// Randomness for the story's own choices.
    pub prng: Prng,
    nodes: Vec<NodeId>,
    connected: BTreeSet<NodeId>,
}

impl Scenario {
    /// The options of scenarios: ten heartbeats a second, elections after 0.4 to 0.8 s.
    #[must_use]
    pub fn options(servers: u64, network: NetworkOptions) -> Options {
        let raft = Config {
            election_timeout_min: Duration::from_millis(400),
            election_timeout_max: Duration::from_millis(800),
            heartbeat_interval: Duration::from_millis(100),
            lease: Some(Lease {
                duration: Duration::from_millis(300),
                drift_ppm: 500,
            }),
            ..Config::default()
        };
        let base = Options::draw(0);
        Options {
            voters: servers,
            spares: 0,
            raft,
            network,
            disk: DiskOptions::QUICK,
            drift_ppm_max: 500,
            clients: 0,
            snapshot_every: None,
            lag_max: Duration::ZERO,
            weights: Weights::none(&SYSTEM_KINDS),
            steps_max: None,
            ..base
        }
    }

    /// Starts a cluster of so many servers.
    #[must_use]
    pub fn new(seed: u64, servers: u64, network: NetworkOptions) -> Self {
        Self::with_options(seed, &Self::options(servers, network))
    }

    /// Starts a cluster with options of the test's own.
    #[must_use]
    pub fn with_options(seed: u64, options: &Options) -> Self {
        let nodes: Vec<NodeId> = (0..options.voters).map(node_id).collect();
        Self {
            cluster: Cluster::new(seed, options, Recording::Last(TRACE_LINES)),
            prng: Prng::from_seed(seed),
            connected: nodes.iter().copied().collect(),
            nodes,
        }
    }

    /// Lets time pass.
    ///
    /// # Panics
    ///
    /// When a checker finds something.
    pub fn run(&mut self, span: Duration) {
        let result = self.cluster.run_for(span);
        self.must_hold(result);
    }

    /// All servers.
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeId> {
        self.nodes.clone()
    }

    /// The server `distance` after another, counted round.
    ///
    /// # Panics
    ///
    /// When there is no such server.
    #[must_use]
    pub fn after(&self, id: NodeId, distance: usize) -> NodeId {
        let position = self.nodes.iter().position(|&node| node == id);
        let position = position.expect("a server of this cluster");
        self.nodes[(position + distance) % self.nodes.len()]
    }

    /// Some server.
    pub fn random(&mut self) -> NodeId {
        self.nodes[self.prng.index(self.nodes.len())]
    }

    /// The only leader of the newest term among the connected servers.
    ///
    /// # Panics
    ///
    /// When there is none for five seconds.
    pub fn one_leader(&mut self) -> NodeId {
        for _ in 0..10 {
            let wait = self.prng.range(450..550);
            self.run(Duration::from_millis(wait));
            let leaders = self.leaders();
            if let Some(&(_, leader)) = leaders.iter().max() {
                return leader;
            }
        }
        panic!("no leader for five seconds");
    }

    /// Nobody who is connected leads.
    ///
    /// # Panics
    ///
    /// When somebody does.
    pub fn no_leader(&mut self) {
        let leaders = self.leaders();
        assert!(leaders.is_empty(), "{leaders:?} lead without a quorum");
    }

    /// The term that all connected servers agree on.
    ///
    /// # Panics
    ///
    /// When they don't.
    pub fn agreed_term(&mut self) -> Term {
        let terms: BTreeSet<Term> = self
            .running()
            .into_iter()
            .filter_map(|id| Some(self.cluster.world.process(id)?.raft().term()))
            .collect();
        assert_eq!(
            terms.len(),
            1,
            "the servers are in several terms: {terms:?}"
        );
        terms.first().copied().unwrap_or_default()
    }

    /// Cuts a server off.
    pub fn disconnect(&mut self, id: NodeId) {
        self.connected.remove(&id);
        let nodes = self.nodes.clone();
        self.cluster.world.network_mut().isolate(id, &nodes);
    }

    /// Connects a server with the others that are connected.
    pub fn connect(&mut self, id: NodeId) {
        self.connected.insert(id);
        for &other in &self.connected {
            if other != id {
                self.cluster.world.network_mut().mend(id, other);
            }
        }
    }

    /// Whether a server is connected.
    #[must_use]
    pub fn is_connected(&self, id: NodeId) -> bool {
        self.connected.contains(&id)
    }

    /// Kills a server.
    pub fn crash(&mut self, id: NodeId) {
        self.cluster.crash(id);
    }

    /// Starts a server.
    ///
    /// # Panics
    ///
    /// When it refuses.
    pub fn start(&mut self, id: NodeId) {
        self.cluster.start(id);
        self.must_hold(self.cluster.verdict());
    }

    /// Kills and starts a server.
    pub fn restart(&mut self, id: NodeId) {
        self.crash(id);
        self.start(id);
    }

    /// Whether a server runs.
    #[must_use]
    pub fn is_up(&self, id: NodeId) -> bool {
        self.cluster.world.liveness(id) == Liveness::Up
    }

    /// Asks a server to replicate bytes: where they stand, if it leads.
    pub fn propose(&mut self, id: NodeId, bytes: &Bytes) -> Option<(LogIndex, Term)> {
        let bytes = bytes.clone();
        let proposed = self
            .cluster
            .act(id, |node, context| node.propose_bytes(context, bytes))?;
        proposed
            .ok()
            .map(|proposed| (proposed.index, proposed.term))
    }

    /// How many servers have applied an index, and the bytes there.
    #[must_use]
    pub fn committed(&self, index: LogIndex) -> (usize, Option<Bytes>) {
        let applied = self
            .cluster
            .world
            .processes()
            .filter(|(_, node)| node.machine().base.index >= index);
        let entry = self.cluster.checkers.applied(index);
        (applied.count(), entry.and_then(|entry| entry.data.clone()))
    }

    /// Gets bytes committed on so many servers, whoever leads; says where they stand.
    ///
    /// # Panics
    ///
    /// When that takes more than ten seconds.
    pub fn one(&mut self, bytes: &Bytes, servers: usize) -> LogIndex {
        let deadline = self.cluster.world.now().after(AGREEMENT_MAX);
        while self.cluster.world.now() < deadline {
            let proposed = self.propose_anywhere(bytes);
            if let Some((index, _)) = proposed {
                let attempt = self.cluster.world.now().after(ATTEMPT_MAX);
                while self.cluster.world.now() < attempt {
                    let (count, found) = self.committed(index);
                    if count >= servers && found.as_ref() == Some(bytes) {
                        return index;
                    }
                    self.run(POLL);
                }
            } else {
                self.run(POLL);
            }
        }
        panic!("no agreement on {bytes:?} by {servers} servers in {AGREEMENT_MAX:?}");
    }

    /// Bytes of the story's own randomness, never the same twice.
    pub fn draw(&mut self, len: usize) -> Bytes {
        let mut bytes = vec![0; len];
        self.prng.fill(&mut bytes);
        bytes.into()
    }

    /// Proposes to every connected server; the last one that takes it counts.
    pub fn propose_anywhere(&mut self, bytes: &Bytes) -> Option<(LogIndex, Term)> {
        let running = self.running();
        running.into_iter().find_map(|id| self.propose(id, bytes))
    }

    /// What the network carried so far.
    #[must_use]
    pub fn traffic(&self) -> LinkCounters {
        self.cluster.world.network().total()
    }

    /// Connected servers that run.
    #[must_use]
    pub fn running(&self) -> Vec<NodeId> {
        let up = self.connected.iter().copied();
        up.filter(|&id| self.is_up(id)).collect()
    }

    fn must_hold(&self, result: Result<(), Violation>) {
        if let Err(Violation { property, detail }) = result {
            let trace: Vec<&str> = self.cluster.world.trace().lines().collect();
            panic!("{property}: {detail}\n{}", trace.join("\n"));
        }
    }

    fn leaders(&self) -> Vec<(Term, NodeId)> {
        let nodes = self.running().into_iter();
        nodes
            .filter_map(|id| {
                let raft = self.cluster.world.process(id)?.raft();
                (raft.role() == RoleKind::Leader).then(|| (raft.term(), id))
            })
            .collect()
    }
}
