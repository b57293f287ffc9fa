//! `raft` 0.7, as its own examples drive it.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::{Result, anyhow};
use bytes::Bytes;
use raft_rs::eraftpb::Message;
use raft_rs::storage::MemStorage;
use raft_rs::{Config, RawNode, StateRole};

use crate::Group;

const MEMBERS: u64 = 3;
/// What its documentation counts elections in.
const TICK: Duration = Duration::from_millis(100);

struct Member {
    node: RawNode<MemStorage>,
    applied: u64,
}

pub struct RaftRs {
    members: Vec<Member>,
    inboxes: Vec<VecDeque<Message>>,
    leader: Option<usize>,
    ticked: Duration,
}

impl RaftRs {
    pub fn new() -> Result<Self> {
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let mut members = Vec::new();
        for id in 1..=MEMBERS {
            let config = Config {
                id,
                election_tick: 6,
                heartbeat_tick: 1,
                max_inflight_msgs: 256,
                max_size_per_msg: 1 << 20,
                pre_vote: true,
                check_quorum: true,
                // Its fastest: entries that are proposed together travel together.
                batch_append: true,
                ..Config::default()
            };
            let storage = MemStorage::new_with_conf_state((vec![1, 2, 3], vec![]));
            let node = RawNode::new(&config, storage, &logger)?;
            members.push(Member { node, applied: 0 });
        }
        let inboxes = (0..MEMBERS).map(|_| VecDeque::new()).collect();
        Ok(Self {
            members,
            inboxes,
            leader: None,
            ticked: Duration::ZERO,
        })
    }

    fn step_member(&mut self, at: usize) {
        let member = &mut self.members[at];
        while let Some(message) = self.inboxes[at].pop_front() {
            member
                .node
                .step(message)
                .expect("messages of members are fine");
        }
        while member.node.has_ready() {
            let mut ready = member.node.ready();
            send(&mut self.inboxes, ready.take_messages());
            let store = member.node.store().clone();
            if !ready.entries().is_empty() {
                store.wl().append(ready.entries()).expect("a log in memory");
            }
            if let Some(hard_state) = ready.hs() {
                store.wl().set_hardstate(hard_state.clone());
            }
            send(&mut self.inboxes, ready.take_persisted_messages());
            let committed = ready.take_committed_entries();
            member.applied += committed
                .iter()
                .filter(|entry| !entry.data.is_empty())
                .count() as u64;
            let mut light = member.node.advance(ready);
            send(&mut self.inboxes, light.take_messages());
            let committed = light.take_committed_entries();
            member.applied += committed
                .iter()
                .filter(|entry| !entry.data.is_empty())
                .count() as u64;
            member.node.advance_apply();
        }
        if member.node.raft.state == StateRole::Leader {
            self.leader = Some(at);
        }
    }
}

fn send(inboxes: &mut [VecDeque<Message>], messages: Vec<Message>) {
    for message in messages {
        let to = usize::try_from(message.to - 1).expect("a member");
        inboxes[to].push_back(message);
    }
}

impl Group for RaftRs {
    fn propose(&mut self, data: Bytes) -> Result<()> {
        let leader = self.leader.ok_or_else(|| anyhow!("no leader"))?;
        // It wants a vector of its own; ours shares the bytes.
        Ok(self.members[leader]
            .node
            .propose(Vec::new(), data.to_vec())?)
    }

    fn step(&mut self, elapsed: Duration) {
        while elapsed >= self.ticked + TICK {
            self.ticked += TICK;
            for member in &mut self.members {
                member.node.tick();
            }
        }
        let leader = self.leader.unwrap_or(0);
        self.step_member(leader);
        for at in (0..self.members.len()).filter(|at| *at != leader) {
            self.step_member(at);
        }
        self.step_member(leader);
    }

    fn applied(&self) -> u64 {
        self.leader.map_or(0, |leader| self.members[leader].applied)
    }

    fn is_ready(&self) -> bool {
        self.leader.is_some_and(|leader| {
            let raft = &self.members[leader].node.raft;
            raft.state == StateRole::Leader && raft.commit_to_current_term()
        })
    }

    fn applied_everywhere(&self) -> u64 {
        self.members
            .iter()
            .map(|member| member.applied)
            .min()
            .unwrap_or(0)
    }
}
