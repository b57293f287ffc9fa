//! A bounded exhaustive exploration: three real cores, every order of what may happen next.
//!
//! The simulator draws runs; here all runs of a small world are made, up to a number of steps
//! from a state in which one node leads and serves. The model is the code: a core is cloned,
//! given one input, and the result is looked at. States that were seen with as many steps left
//! are not looked at again.
//!
//! A step delivers one message, or everything between two nodes; lets a timer fire; lets time
//! pass to the last moment at which somebody may serve; loses what is under way; stops and
//! starts a node; asks for a write or a hand-over. Time passes only by such a step, so a node
//! that isn't chosen is one that is slow. Clocks run at different rates, up to what the policy
//! allows. After every step every node is asked to read every key.

use core::fmt;
use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;

use bytes::Bytes;
use raft::{
    Config, Entry, HardState, Inherited, LeasePolicy, LimboIndex, LogBase, Membership, Message,
    Payload, Raft, Restored, RoleKind,
};
use stdx::{Instant, LogIndex, NodeId, Term};

const NODES: usize = 3;
const KEYS: u8 = 2;

/// What is explored.
#[derive(Clone, Debug)]
pub struct ExploreOptions {
    /// The group's policy.
    pub policy: LeasePolicy,
    /// The core's knobs; elections should be quicker than leases.
    pub config: Config,
    /// How much faster than true each clock runs, in millionths.
    pub rates_ppm: [i64; NODES],
    /// Steps from the state in which one leads.
    pub depth: usize,
    /// How often a node may be stopped and started, what is under way be lost, leadership be
    /// handed over, and a write be asked for.
    pub budget: [u8; 4],
}

/// What was seen.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Exploration {
    /// States, each counted once.
    pub states: u64,
    /// Steps taken.
    pub steps: u64,
    /// Reads served by a leader that had committed something.
    pub reads: u64,
    /// Reads served by one that hadn't.
    pub inherited: u64,
    /// Steps after which a leader had to wait before it may commit.
    pub waiting: u64,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Step {
    Deliver(usize, usize),
    Settle(usize, usize),
    Fire(usize),
    /// To the last moment at which this node may serve.
    Edge(usize),
    /// To the moment from which this leader may commit.
    Wake(usize),
    Restart(usize),
    Lose(usize),
    Transfer(usize, usize),
    Write(usize, u8),
}

#[derive(Clone, Debug)]
struct Node {
    raft: Raft,
    hard_state: HardState,
    entries: Vec<Entry>,
    /// The index of the newest write to each key.
    keys: [u64; KEYS as usize],
    /// Who waits for an entry.
    waiting: BTreeMap<LogIndex, (Term, u8)>,
    limbo: Option<(Inherited, LimboIndex)>,
    starts: u64,
}

#[derive(Clone, Debug)]
struct World {
    /// True time in nanoseconds.
    now: u64,
    nodes: Vec<Node>,
    links: [[VecDeque<Message>; NODES]; NODES],
    /// The newest write to each key that a client knows of, by its answer or by a read.
    known: [u64; KEYS as usize],
    /// Left of [`ExploreOptions::budget`].
    budget: [u8; 4],
}

struct Explorer<'a> {
    options: &'a ExploreOptions,
    seen: BTreeMap<u64, usize>,
    path: Vec<Step>,
    counts: Exploration,
}

/// Explores.
///
/// # Errors
///
/// The steps to a read that is older than what was known.
///
/// # Panics
///
/// When the cores don't elect the first node, or one contradicts itself.
pub fn explore(options: &ExploreOptions) -> Result<Exploration, String> {
    let mut world = World::new(options);
    world.begin(options);
    let mut explorer = Explorer {
        options,
        seen: BTreeMap::new(),
        path: Vec::new(),
        counts: Exploration::default(),
    };
    explorer.visit(&world, options.depth)?;
    explorer.counts.states = explorer.seen.len() as u64;
    Ok(explorer.counts)
}

impl Explorer<'_> {
    fn visit(&mut self, world: &World, left: usize) -> Result<(), String> {
        let hash = world.hash();
        match self.seen.get(&hash) {
            Some(&seen) if seen >= left => return Ok(()),
            _ => self.seen.insert(hash, left),
        };
        if left == 0 {
            return Ok(());
        }
        for step in world.steps() {
            let mut next = world.clone();
            if !next.take(self.options, step) {
                continue;
            }
            self.path.push(step);
            self.counts.steps += 1;
            if let Err(detail) = next.read_everywhere(self.options, &mut self.counts) {
                return Err(format!("{detail} after {:?}", self.path));
            }
            self.visit(&next, left - 1)?;
            self.path.pop();
        }
        Ok(())
    }
}

impl World {
    fn new(options: &ExploreOptions) -> Self {
        let mut world = Self {
            now: 1_000_000_000,
            nodes: Vec::new(),
            links: Default::default(),
            known: [0; KEYS as usize],
            budget: options.budget,
        };
        for at in 0..NODES {
            let raft = start(
                options,
                at,
                Restored::default(),
                world.local(options, at),
                0,
            );
            world.nodes.push(Node {
                raft,
                hard_state: HardState::default(),
                entries: Vec::new(),
                keys: [0; KEYS as usize],
                waiting: BTreeMap::new(),
                limbo: None,
                starts: 0,
            });
        }
        world
    }

    /// The first node leads, has a lease, and everybody has what is written.
    fn begin(&mut self, options: &ExploreOptions) {
        self.fire(options, 0);
        self.settle_all(options);
        for _ in 0..3 {
            self.fire(options, 0);
            self.settle_all(options);
        }
        self.budget[3] += 2;
        for key in 0..KEYS {
            assert!(self.take(options, Step::Write(0, key)), "the first leads");
            self.settle_all(options);
        }
        self.fire(options, 0);
        self.settle_all(options);
        let leader = &self.nodes[0].raft;
        assert!(
            leader.readable_now(self.local(options, 0)),
            "it has a lease"
        );
    }

    /// What a node's clock shows.
    fn local(&self, options: &ExploreOptions, at: usize) -> Instant {
        let drift = i128::from(self.now) * i128::from(options.rates_ppm[at]) / 1_000_000;
        let local = i128::from(self.now) + drift + (at as i128) * 7_000_000_000;
        Instant::from_nanos(u64::try_from(local).expect("clocks start above zero"))
    }

    /// Lets time pass until a node's clock shows a moment at least.
    fn pass_to(&mut self, options: &ExploreOptions, at: usize, local: Instant) {
        while self.local(options, at) < local {
            let left = local.since(self.local(options, at));
            let left = u64::try_from(left.as_nanos()).expect("a short while");
            self.now += (left - left / 10).max(1);
        }
    }

    fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        for from in 0..NODES {
            for to in 0..NODES {
                let waits = !self.links[from][to].is_empty();
                if waits {
                    steps.push(Step::Deliver(from, to));
                }
                if from < to && (waits || !self.links[to][from].is_empty()) {
                    steps.push(Step::Settle(from, to));
                }
            }
        }
        for at in 0..NODES {
            let raft = &self.nodes[at].raft;
            steps.push(Step::Fire(at));
            if raft.role() == RoleKind::Leader {
                steps.extend([Step::Edge(at), Step::Wake(at)]);
                steps.extend((0..KEYS).map(|key| Step::Write(at, key)));
                let others = (0..NODES).filter(|&to| to != at);
                steps.extend(others.map(|to| Step::Transfer(at, to)));
            }
            steps.extend([Step::Restart(at), Step::Lose(at)]);
        }
        steps
    }

    /// Takes a step; says whether it could.
    fn take(&mut self, options: &ExploreOptions, step: Step) -> bool {
        match step {
            Step::Deliver(from, to) => {
                if let Some(message) = self.links[from][to].pop_front() {
                    self.deliver(options, from, to, message);
                }
            }
            Step::Settle(one, other) => self.settle(options, &[(one, other), (other, one)]),
            Step::Fire(at) => self.fire(options, at),
            Step::Edge(at) => {
                let raft = &self.nodes[at].raft;
                let inherited = raft.inherited().map(|inherited| inherited.until);
                let until = raft
                    .lease_until()
                    .max(inherited)
                    .map_or(0, Instant::as_nanos);
                let last = Instant::from_nanos(until.saturating_sub(2));
                if self.local(options, at) >= last || until == u64::MAX {
                    return false;
                }
                let before = self.now;
                self.pass_to(options, at, last);
                if self.local(options, at).as_nanos() >= until {
                    self.now = before.max(self.now - 1);
                }
            }
            Step::Wake(at) => {
                let Some(from) = self.nodes[at].raft.commits_from() else {
                    return false;
                };
                self.pass_to(options, at, from);
                self.input(options, at, Raft::on_timeout);
            }
            Step::Restart(at) => return self.spend(0) && self.restart(options, at),
            Step::Lose(at) => {
                let lossy = |world: &Self| {
                    (0..NODES).any(|to| {
                        !world.links[at][to].is_empty() || !world.links[to][at].is_empty()
                    })
                };
                if !lossy(self) || !self.spend(1) {
                    return false;
                }
                for to in 0..NODES {
                    self.links[at][to].clear();
                    self.links[to][at].clear();
                }
            }
            Step::Transfer(at, to) => {
                let target = Some(id(to));
                return self.spend(2)
                    && self
                        .input(options, at, |raft, now| {
                            raft.transfer_leadership(now, target)
                        })
                        .is_ok();
            }
            Step::Write(at, key) => return self.spend(3) && self.write(options, at, key),
        }
        true
    }

    fn spend(&mut self, of: usize) -> bool {
        let left = self.budget[of].checked_sub(1);
        self.budget[of] = left.unwrap_or(0);
        left.is_some()
    }

    fn write(&mut self, options: &ExploreOptions, at: usize, key: u8) -> bool {
        let bytes = Bytes::copy_from_slice(&[key]);
        let local = self.local(options, at);
        let Ok(proposed) = self.nodes[at].raft.propose(local, bytes) else {
            return false;
        };
        let node = &mut self.nodes[at];
        node.waiting.insert(proposed.index, (proposed.term, key));
        self.pump(options, at);
        true
    }

    fn restart(&mut self, options: &ExploreOptions, at: usize) -> bool {
        let local = self.local(options, at);
        let node = &mut self.nodes[at];
        let mut terms: Vec<(LogIndex, Term)> = Vec::new();
        let mut memberships = Vec::new();
        for entry in &node.entries {
            if terms.last().is_none_or(|&(_, term)| term != entry.term) {
                terms.push((entry.index, entry.term));
            }
            if let Payload::Membership(membership) = &entry.payload {
                memberships.push((entry.index, Arc::clone(membership)));
            }
        }
        let restored = Restored {
            hard_state: node.hard_state,
            last_index: node
                .entries
                .last()
                .map_or(LogIndex::ZERO, |entry| entry.index),
            terms,
            memberships,
            ..Restored::default()
        };
        node.starts += 1;
        node.keys = [0; KEYS as usize];
        node.waiting.clear();
        node.limbo = None;
        let starts = node.starts;
        node.raft = start(options, at, restored, local, starts);
        for other in 0..NODES {
            self.links[other][at].clear();
        }
        self.pump(options, at);
        true
    }

    fn fire(&mut self, options: &ExploreOptions, at: usize) {
        if let Some(due) = self.nodes[at].raft.poll_timeout() {
            self.pass_to(options, at, due);
        }
        self.input(options, at, Raft::on_timeout);
    }

    fn deliver(&mut self, options: &ExploreOptions, from: usize, to: usize, message: Message) {
        self.input(options, to, |raft, now| {
            raft.on_message(now, id(from), message);
        });
    }

    fn settle(&mut self, options: &ExploreOptions, links: &[(usize, usize)]) {
        for _ in 0..200 {
            let next = links
                .iter()
                .find_map(|&(from, to)| Some((from, to, self.links[from][to].pop_front()?)));
            let Some((from, to, message)) = next else {
                return;
            };
            self.deliver(options, from, to, message);
        }
        panic!("nodes that talk without end");
    }

    fn settle_all(&mut self, options: &ExploreOptions) {
        let pairs = (0..NODES).flat_map(|from| (0..NODES).map(move |to| (from, to)));
        self.settle(options, &pairs.collect::<Vec<_>>());
    }

    fn input<R>(
        &mut self,
        options: &ExploreOptions,
        at: usize,
        action: impl FnOnce(&mut Raft, Instant) -> R,
    ) -> R {
        let local = self.local(options, at);
        let result = action(&mut self.nodes[at].raft, local);
        self.pump(options, at);
        result
    }

    /// Does what a core asks for: its disk is quick.
    fn pump(&mut self, options: &ExploreOptions, at: usize) {
        let local = self.local(options, at);
        let Self {
            nodes,
            links,
            known,
            ..
        } = self;
        let node = &mut nodes[at];
        let mut busy = true;
        while busy {
            busy = false;
            while let Some(persist) = node.raft.poll_persist() {
                node.hard_state = persist.hard_state().unwrap_or(node.hard_state);
                if let Some(first) = persist.entries().first() {
                    node.entries.retain(|entry| entry.index < first.index);
                    node.entries.extend(persist.entries().iter().cloned());
                }
                node.raft.on_persisted(local, persist.into_durable());
                busy = true;
            }
            while let Some(envelope) = node.raft.poll_transmit() {
                let to = usize::try_from(envelope.to.get()).expect("one of three") - 1;
                links[at][to].push_back(envelope.message);
            }
            while let Some(committed) = node.raft.poll_committed() {
                for entry in &committed.entries {
                    let key = apply(&mut node.keys, entry);
                    if let Some((term, wanted)) = node.waiting.remove(&entry.index)
                        && term == entry.term
                        && key == Some(wanted)
                    {
                        let known = &mut known[usize::from(wanted)];
                        *known = entry.index.get().max(*known);
                    }
                    node.raft.on_applied(entry.index);
                }
                busy = true;
            }
            while let Some(fetch) = node.raft.poll_fetch() {
                let wanted = |entry: &&Entry| entry.index >= fetch.from && entry.index <= fetch.to;
                let entries: Vec<Entry> = node.entries.iter().filter(wanted).cloned().collect();
                let fetched = raft::Fetched {
                    id: fetch.id,
                    entries: (!entries.is_empty()).then_some(entries),
                };
                node.raft.on_entries_fetched(local, fetched);
                busy = true;
            }
            while node.raft.poll_event().is_some() {}
        }
        node.raft.check_invariants();
    }

    /// Reads every key wherever it is served.
    fn read_everywhere(
        &mut self,
        options: &ExploreOptions,
        counts: &mut Exploration,
    ) -> Result<(), String> {
        for at in 0..NODES {
            let local = self.local(options, at);
            let Self { nodes, known, .. } = self;
            let node = &mut nodes[at];
            counts.waiting += u64::from(node.raft.commits_from().is_some());
            let owner = node.raft.readable_now(local);
            let limbo = if owner {
                LimboIndex::default()
            } else if let Some(inherited) = node.raft.inherited_now(local) {
                node.limbo(inherited)
            } else {
                continue;
            };
            for key in 0..KEYS {
                if limbo.holds_key(&[key]) {
                    continue;
                }
                let (found, known) = (node.keys[usize::from(key)], &mut known[usize::from(key)]);
                if found < *known {
                    let how = if owner { "a lease" } else { "inheritance" };
                    return Err(format!(
                        "{} reads {found} of key {key} by {how}, {known} was known",
                        id(at)
                    ));
                }
                *known = found;
                let count = if owner {
                    &mut counts.reads
                } else {
                    &mut counts.inherited
                };
                *count += 1;
            }
        }
        Ok(())
    }

    fn hash(&self) -> u64 {
        struct Sink(DefaultHasher);
        impl fmt::Write for Sink {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                self.0.write(text.as_bytes());
                Ok(())
            }
        }
        let mut sink = Sink(DefaultHasher::new());
        fmt::Write::write_fmt(&mut sink, format_args!("{self:?}")).expect("a hash takes anything");
        sink.0.finish()
    }
}

impl Node {
    fn limbo(&mut self, inherited: Inherited) -> LimboIndex {
        let known = self.limbo.as_ref().filter(|(of, _)| *of == inherited);
        if let Some((_, index)) = known {
            return index.clone();
        }
        let index = self.raft.limbo_index(inherited, |data, limbo| {
            limbo.add_key(data.slice(..1));
        });
        self.limbo = Some((inherited, index.clone()));
        index
    }
}

fn apply(keys: &mut [u64; KEYS as usize], entry: &Entry) -> Option<u8> {
    let Payload::Data(data) = &entry.payload else {
        return None;
    };
    let key = *data.first()?;
    keys[usize::from(key)] = entry.index.get();
    Some(key)
}

fn start(
    options: &ExploreOptions,
    at: usize,
    restored: Restored,
    local: Instant,
    starts: u64,
) -> Raft {
    let members = Membership::of_voters((0..NODES).map(id)).with_lease(options.policy);
    let base = LogBase {
        membership: Arc::new(members),
        ..LogBase::default()
    };
    let config = options
        .config
        .clone()
        .validate()
        .expect("a legal configuration");
    let restored = Restored { base, ..restored };
    Raft::new(config, id(at), restored, local, at as u64 * 1_000 + starts)
}

const fn id(at: usize) -> NodeId {
    NodeId::new(at as u64 + 1)
}

impl ExploreOptions {
    /// A lease of one second, elections after a tenth of that, clocks at the edges of what is
    /// allowed.
    #[must_use]
    pub fn new(policy: LeasePolicy, depth: usize) -> Self {
        let config = Config {
            election_timeout_min: Duration::from_millis(100),
            election_timeout_max: Duration::from_millis(101),
            heartbeat_interval: Duration::from_millis(30),
            lease: None,
            disk_stall_timeout: Duration::from_secs(100),
            ..Config::default()
        };
        let drift = i64::from(policy.lease().unwrap_or_default().drift_ppm);
        Self {
            policy,
            config,
            rates_ppm: [-drift, drift, drift],
            depth,
            budget: [1, 1, 1, 2],
        }
    }
}
