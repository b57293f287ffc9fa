//! Random runs: proposals, reads, partitions, crashes, slow disks, lost and doubled
//! messages, transfers, compaction and changes of members, with safety checked at every
//! step and a time of peace at the end.

use std::collections::BTreeMap;
use std::time::Duration;

use raft::{Config, Event, MembershipChange, ReadToken, RoleKind};
use stdx::{LogIndex, NodeId, Prng};

use crate::cluster::{Cluster, id};

struct Run {
    cluster: Cluster,
    prng: Prng,
    proposals: u64,
    acknowledged: Vec<String>,
    pending: BTreeMap<(NodeId, raft::Proposed), String>,
    /// Reads under way, with what each must see at least.
    reads: BTreeMap<ReadToken, LogIndex>,
    reads_started: u64,
    reads_served: u64,
    leases_used: u64,
    /// Everything through here was acknowledged to or seen by somebody.
    seen: LogIndex,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut prng = Prng::from_seed(seed);
        let config = if prng.chance(1, 2) {
            Config::swarm(&mut prng)
        } else {
            Config::default()
        };
        let drift = config.lease.map_or(0, |lease| u64::from(lease.drift_ppm));
        let count = 1 + prng.below(5);
        let mut cluster = Cluster::new(count, config, seed);
        for node in cluster.nodes.values_mut() {
            let rate = i64::try_from(prng.below(2 * drift + 1)).unwrap();
            node.rate_ppm = rate - i64::try_from(drift).unwrap();
            node.offset = Duration::from_secs(1_000);
        }
        Self {
            cluster,
            prng,
            reads: BTreeMap::new(),
            reads_started: 0,
            reads_served: 0,
            leases_used: 0,
            seen: LogIndex::ZERO,
            proposals: 0,
            acknowledged: Vec::new(),
            pending: BTreeMap::new(),
        }
    }

    fn any(&mut self) -> NodeId {
        let ids: Vec<_> = self.cluster.nodes.keys().copied().collect();
        *self.prng.choose(&ids).unwrap()
    }

    fn running(&mut self) -> Option<NodeId> {
        let running = self
            .cluster
            .nodes
            .iter()
            .filter(|(_, node)| node.raft.is_some());
        let ids: Vec<_> = running.map(|(&id, _)| id).collect();
        self.prng.choose(&ids).copied()
    }

    fn step(&mut self) {
        match self.prng.below(100) {
            0..40 => self.network(),
            40..60 => {
                let span = self
                    .prng
                    .duration(Duration::ZERO..Duration::from_millis(150));
                self.cluster.skip(span);
                self.fire();
            }
            60..74 => self.propose(),
            74..80 => self.read(),
            80..84 => {
                if let Some(node) = self.running() {
                    let held = self.prng.chance(1, 2);
                    if held {
                        self.cluster.nodes.get_mut(&node).unwrap().disk_held = true;
                    } else {
                        self.cluster.release_disk(node);
                    }
                }
            }
            84..90 => {
                if let Some(node) = self.running() {
                    self.cluster.finish_write(node);
                }
            }
            90..92 => {
                let node = self.any();
                if self.cluster.nodes[&node].raft.is_some() {
                    self.cluster.crash(node);
                } else {
                    self.cluster.start(node);
                }
            }
            92..94 => {
                if self.prng.chance(1, 2) {
                    let (a, b) = (self.any(), self.any());
                    self.cluster.cut.insert((a, b));
                    if self.prng.chance(1, 2) {
                        self.cluster.cut.insert((b, a));
                    }
                } else {
                    self.cluster.heal();
                }
            }
            94..96 => {
                if let Some(node) = self.running() {
                    self.cluster.compact(node);
                }
            }
            96..98 => {
                if let Some(node) = self.running() {
                    let to = self.any();
                    let _refused_or_not = self
                        .cluster
                        .input(node, |raft, now| raft.transfer_leadership(now, Some(to)));
                }
            }
            _ => self.change(),
        }
        self.collect();
    }

    fn network(&mut self) {
        if self.cluster.wire.is_empty() {
            return;
        }
        let at = if self.prng.chance(3, 4) {
            0
        } else {
            self.prng.index(self.cluster.wire.len())
        };
        let flight = self.cluster.wire.remove(at).unwrap();
        match self.prng.below(20) {
            0 => {}
            1 => {
                self.cluster.wire.push_back(flight.clone());
                self.cluster.deliver(flight);
            }
            _ => self.cluster.deliver(flight),
        }
        // Bounded: what waits for too long is lost.
        while self.cluster.wire.len() > 500 {
            self.cluster.wire.pop_front();
        }
    }

    fn fire(&mut self) {
        let ids: Vec<_> = self.cluster.nodes.keys().copied().collect();
        for node in ids {
            let due = self.cluster.nodes[&node].raft.as_ref().is_some_and(|raft| {
                raft.poll_timeout()
                    .is_some_and(|at| at <= self.cluster.clock(node))
            });
            if due {
                self.cluster.input(node, raft::Raft::on_timeout);
            }
        }
    }

    fn propose(&mut self) {
        let Some(node) = self.cluster.leader() else {
            return;
        };
        for _ in 0..=self.prng.below(3) {
            self.proposals += 1;
            let text = format!("v{}", self.proposals);
            if let Ok(proposed) = self.cluster.propose(node, &text) {
                self.pending.insert((node, proposed), text);
            }
        }
    }

    fn change(&mut self) {
        let Some(node) = self.cluster.leader() else {
            return;
        };
        let (a, count) = (self.any(), self.cluster.nodes.len() as u64);
        let change = match self.prng.below(5) {
            0 if count < 6 => {
                let new = id(count + 1);
                self.cluster.add(new, raft::LogBase::default());
                MembershipChange::AddLearner(new)
            }
            0 | 1 => MembershipChange::AddLearner(a),
            2 => MembershipChange::Promote(a),
            3 => MembershipChange::Demote(a),
            _ => MembershipChange::Remove(a),
        };
        let _refused_or_not = self
            .cluster
            .input(node, |raft, now| raft.propose_membership(now, &change));
    }

    /// A proposal is acknowledged when its leader has applied it.
    fn collect(&mut self) {
        let cluster = &self.cluster;
        let acknowledged = &mut self.acknowledged;
        self.pending.retain(|(node, proposed), text| {
            let Some(raft) = &cluster.nodes[node].raft else {
                return false;
            };
            if raft.term() != proposed.term || raft.role() != RoleKind::Leader {
                return false;
            }
            if raft.applied() < proposed.index {
                return true;
            }
            acknowledged.push(text.clone());
            self.seen = self.seen.max(proposed.index);
            false
        });
        for (node, event) in self.cluster.take_events() {
            match event {
                Event::ReadReady { token, .. } => {
                    let Some(floor) = self.reads.remove(&token) else {
                        panic!("{token:?} is answered twice or was never asked");
                    };
                    let applied = self.cluster.raft(node).applied();
                    assert!(
                        applied >= floor,
                        "{node} reads {applied}, {floor} was seen before"
                    );
                    self.seen = self.seen.max(applied);
                    self.reads_served += 1;
                }
                Event::ReadFailed { token, .. } => {
                    self.reads.remove(&token);
                }
                Event::Misbehaved { peer, what } => panic!("{node} says {peer}: {what:?}"),
                _ => {}
            }
        }
    }

    /// A read anywhere, and a look at whoever has a lease.
    fn read(&mut self) {
        let Some(node) = self.running() else {
            return;
        };
        self.reads_started += 1;
        let token = ReadToken(self.reads_started);
        if self
            .cluster
            .input(node, |raft, now| raft.read_index(now, token))
            .is_ok()
        {
            self.reads.insert(token, self.seen);
        }
        let ids: Vec<_> = self.cluster.nodes.keys().copied().collect();
        for node in ids {
            let clock = self.cluster.clock(node);
            let Some(raft) = &self.cluster.nodes[&node].raft else {
                continue;
            };
            if raft.readable_now(clock) {
                let (applied, seen) = (raft.applied(), self.seen);
                assert!(
                    applied >= seen,
                    "{node} leads by lease at {applied}, {seen} was seen"
                );
                self.seen = self.seen.max(applied);
                self.leases_used += 1;
            }
        }
    }

    /// Everything works again: the cluster must agree, and serve.
    fn make_peace(&mut self, seed: u64) {
        self.cluster.heal();
        let ids: Vec<_> = self.cluster.nodes.keys().copied().collect();
        for &node in &ids {
            if self.cluster.nodes[&node].raft.is_none() {
                self.cluster.start(node);
            }
            self.cluster.release_disk(node);
        }
        self.cluster.advance(Duration::from_secs(40));
        let Some(leader) = self.cluster.leader() else {
            panic!("seed {seed}: no leader\n{}", self.cluster.describe());
        };
        self.cluster.propose(leader, "peace").unwrap();
        self.cluster.take_events();
        let token = ReadToken(u64::MAX);
        self.cluster
            .input(leader, |raft, now| raft.read_index(now, token))
            .unwrap();
        self.cluster.advance(Duration::from_secs(5));
        let read = self.cluster.take_events();
        let ready = read
            .iter()
            .any(|(_, event)| matches!(event, Event::ReadReady { .. }));
        assert!(ready, "seed {seed}: a read is served");
        let state = &self.cluster.nodes[&leader].state;
        assert_eq!(
            state.last().map(String::as_str),
            Some("peace"),
            "seed {seed}"
        );
        for text in &self.acknowledged {
            assert!(
                state.contains(text),
                "seed {seed}: {text} was acknowledged and is lost"
            );
        }
        for member in self.cluster.members(leader).members() {
            let other = &self.cluster.nodes[&member];
            assert_eq!(other.state, *state, "seed {seed}: {member} agrees");
        }
    }
}

fn run(seed: u64, steps: u64) -> Run {
    let mut run = Run::new(seed);
    for _ in 0..steps {
        run.step();
    }
    run.make_peace(seed);
    run
}

#[test]
fn random_runs_are_safe_and_end_well() {
    let (mut proposals, mut acknowledged, mut reads, mut leases) = (0, 0, 0, 0);
    for seed in 0..400 {
        let run = run(seed, 1_500);
        proposals += run.proposals;
        acknowledged += run.acknowledged.len();
        reads += run.reads_served;
        leases += run.leases_used;
    }
    println!("{proposals} proposed, {acknowledged} acknowledged, {reads} read, {leases} by lease");
    assert!(proposals > 10_000, "{proposals} proposals are a test");
    assert!(
        acknowledged > 2_000,
        "{acknowledged} acknowledgements are a test"
    );
    assert!(reads > 1_000, "{reads} reads are a test");
    assert!(leases > 1_000, "{leases} reads by lease are a test");
}
