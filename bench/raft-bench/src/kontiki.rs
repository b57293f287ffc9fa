//! Our core.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::{Result, anyhow};
use bytes::Bytes;
use raft::{Config, Entry, Fetch, Fetched, LogBase, Message, Payload, Raft, Restored, RoleKind};
use stdx::{Instant, LogIndex, NodeId};

use crate::Group;

const MEMBERS: u64 = 3;

struct Member {
    raft: Raft,
    /// The disk: entry `i` at `i - 1`.
    log: Vec<Entry>,
    applied: u64,
}

pub struct Kontiki {
    members: Vec<Member>,
    inboxes: Vec<VecDeque<(NodeId, Message)>>,
    leader: Option<usize>,
    now: Instant,
}

impl Kontiki {
    pub fn new() -> Result<Self> {
        let ids = (1..=MEMBERS).map(NodeId::new);
        let mut members = Vec::new();
        for id in ids.clone() {
            let config = Config {
                election_timeout_min: Duration::from_millis(300),
                election_timeout_max: Duration::from_millis(600),
                heartbeat_interval: Duration::from_millis(100),
                lease: None,
                ..Config::default()
            };
            let config = config.validate().map_err(|error| anyhow!("{error}"))?;
            let base = LogBase::bootstrap(ids.clone());
            let restored = Restored {
                base,
                ..Restored::default()
            };
            let raft = Raft::new(config, id, restored, Instant::EPOCH, id.get());
            members.push(Member {
                raft,
                log: Vec::new(),
                applied: 0,
            });
        }
        let inboxes = (0..MEMBERS).map(|_| VecDeque::new()).collect();
        Ok(Self {
            members,
            inboxes,
            leader: None,
            now: Instant::EPOCH,
        })
    }

    fn step_member(&mut self, at: usize) {
        let now = self.now;
        let member = &mut self.members[at];
        let raft = &mut member.raft;
        if raft.poll_timeout().is_some_and(|deadline| deadline <= now) {
            raft.on_timeout(now);
        }
        while let Some((from, message)) = self.inboxes[at].pop_front() {
            raft.on_message(now, from, message);
        }
        while let Some(persist) = raft.poll_persist() {
            if let Some(first) = persist.entries().first() {
                let keep = usize::try_from(first.index.get() - 1).expect("a log in memory");
                member.log.truncate(keep);
                member.log.extend_from_slice(persist.entries());
            }
            raft.on_persisted(now, persist.into_durable());
        }
        while let Some(envelope) = raft.poll_transmit() {
            let to = usize::try_from(envelope.to.get() - 1).expect("a member");
            self.inboxes[to].push_back((raft.id(), envelope.message));
        }
        while let Some(committed) = raft.poll_committed() {
            let data = committed
                .entries
                .iter()
                .filter(|e| matches!(e.payload, Payload::Data(_)));
            member.applied += data.count() as u64;
            if let Some(last) = committed.entries.last() {
                raft.on_applied(last.index);
            }
        }
        while let Some(fetch) = raft.poll_fetch() {
            let entries = Some(read(&member.log, &fetch));
            raft.on_entries_fetched(
                now,
                Fetched {
                    id: fetch.id,
                    entries,
                },
            );
        }
        while raft.poll_event().is_some() {}
        if raft.role() == RoleKind::Leader {
            self.leader = Some(at);
        }
    }
}

fn read(log: &[Entry], fetch: &Fetch) -> Vec<Entry> {
    let at = |index: LogIndex| usize::try_from(index.get()).expect("a log in memory");
    let mut bytes = 0;
    let wanted = &log[at(fetch.from) - 1..at(fetch.to)];
    let fits = wanted.iter().take_while(|entry| {
        bytes += entry.encoded_len();
        bytes <= fetch.bytes_max
    });
    let count = fits.count().max(1);
    wanted[..count].to_vec()
}

impl Group for Kontiki {
    fn propose(&mut self, data: Bytes) -> Result<()> {
        let leader = self.leader.ok_or_else(|| anyhow!("no leader"))?;
        let proposed = self.members[leader].raft.propose(self.now, data);
        proposed.map(|_| ()).map_err(|error| anyhow!("{error}"))
    }

    fn step(&mut self, elapsed: Duration) {
        self.now = Instant::EPOCH.after(elapsed);
        // The leader first: what it says is answered within the same round.
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
        self.leader
            .is_some_and(|leader| self.members[leader].raft.read_floor().is_some())
    }

    fn applied_everywhere(&self) -> u64 {
        self.members
            .iter()
            .map(|member| member.applied)
            .min()
            .unwrap_or(0)
    }
}
