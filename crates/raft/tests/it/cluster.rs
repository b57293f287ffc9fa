//! A cluster in one thread: nodes with disks, a network that does what it is told, and
//! checks after every step.
//!
//! The state machine is a list of the applied texts; a snapshot is that list, a line each.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use raft::{
    ChunkRead, Config, Entry, Envelope, Event, Fetched, HardState, LogBase, Membership, Message,
    Payload, Persist, Raft, Restored, RoleKind, SnapshotAction, SnapshotId,
};
use stdx::{Instant, LogIndex, NodeId, Term};

/// What survives a crash.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    pub(crate) hard_state: HardState,
    pub(crate) base: LogBase,
    pub(crate) entries: Vec<Entry>,
    /// The state machine, durable at `applied`, as of its last checkpoint.
    pub(crate) state: Vec<String>,
    pub(crate) applied: LogIndex,
    /// What the state was installed with, if it came as a snapshot.
    pub(crate) installed: Option<LogBase>,
    /// Snapshots that were taken here, to go on sending them.
    pub(crate) taken: BTreeMap<SnapshotId, (LogIndex, Bytes)>,
    /// Pieces received.
    pub(crate) received: BTreeMap<SnapshotId, Vec<u8>>,
}

impl Disk {
    fn write(&mut self, persist: &Persist) {
        if let Some(hard_state) = persist.hard_state() {
            self.hard_state = hard_state;
        }
        if let Some(base) = persist.base() {
            self.entries.clear();
            self.base = base.clone();
        }
        if let Some(first) = persist.entries().first() {
            let kept = first.index.get() - self.base.index.get() - 1;
            self.entries.truncate(usize::try_from(kept).unwrap());
            assert_eq!(self.entries.len() as u64, kept, "no gap on disk");
        }
        self.entries.extend(persist.entries().iter().cloned());
    }

    /// Where a crash came between an installation and the write of its base, the log gets
    /// the base now.
    fn repair(&mut self) {
        let Some(base) = self.installed.take() else {
            return;
        };
        let last = self
            .entries
            .last()
            .map_or(self.base.index, |entry| entry.index);
        if base.index > last {
            self.entries.clear();
            self.base = base;
        } else if base.index > self.base.index {
            let fits = |entry: &Entry| (entry.index, entry.term) == (base.index, base.term);
            if !self.entries.iter().any(fits) {
                self.entries.clear();
            }
            self.compact(&base);
        }
    }

    fn compact(&mut self, base: &LogBase) {
        self.entries.retain(|entry| entry.index > base.index);
        self.base = base.clone();
    }

    pub(crate) fn restored(&self) -> Restored {
        let mut terms: Vec<(LogIndex, Term)> = Vec::new();
        let mut memberships = Vec::new();
        for entry in &self.entries {
            if terms.last().is_none_or(|last| last.1 != entry.term) {
                terms.push((entry.index, entry.term));
            }
            if let Payload::Membership(membership) = &entry.payload {
                memberships.push((entry.index, Arc::clone(membership)));
            }
        }
        let last_index = self
            .entries
            .last()
            .map_or(self.base.index, |entry| entry.index);
        Restored {
            hard_state: self.hard_state,
            base: self.base.clone(),
            last_index,
            terms,
            memberships,
            applied: self.applied,
            committed: self.applied,
        }
    }
}

/// A process and its disk.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) raft: Option<Raft>,
    pub(crate) disk: Disk,
    /// What is applied in memory.
    pub(crate) state: Vec<String>,
    /// Added to the cluster's clock.
    pub(crate) offset: Duration,
    /// How much faster than the cluster's its clock runs, in millionths.
    pub(crate) rate_ppm: i64,
    /// Disk writes wait until told.
    pub(crate) disk_held: bool,
    pub(crate) writes: VecDeque<Persist>,
    /// Installing snapshots waits until told.
    pub(crate) install_held: bool,
    pub(crate) installs: Vec<(SnapshotId, LogBase)>,
    pub(crate) config: Config,
    starts: u64,
    snapshots: u64,
}

/// A message on its way.
#[derive(Clone, Debug)]
pub(crate) struct Flight {
    pub(crate) from: NodeId,
    pub(crate) to: NodeId,
    pub(crate) message: Message,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) nodes: BTreeMap<NodeId, Node>,
    pub(crate) now: Instant,
    pub(crate) wire: VecDeque<Flight>,
    /// Links, by direction, that lose everything.
    pub(crate) cut: BTreeSet<(NodeId, NodeId)>,
    /// Links, by direction, whose messages wait.
    pub(crate) held: BTreeSet<(NodeId, NodeId)>,
    pub(crate) events: Vec<(NodeId, Event)>,
    config: Config,
    seed: u64,
    /// Every entry that anybody ever applied.
    committed: BTreeMap<LogIndex, Entry>,
    leaders: BTreeMap<Term, NodeId>,
}

#[cfg(feature = "planted")]
thread_local! {
    /// The bug that every configuration of this thread shows.
    pub(crate) static PLANTED: std::cell::Cell<Option<raft::PlantedBug>> =
        const { std::cell::Cell::new(None) };
}

/// The default configuration, with the planted bug if one is being tried.
pub(crate) fn config() -> Config {
    Config {
        #[cfg(feature = "planted")]
        planted: PLANTED.get(),
        ..Config::default()
    }
}

pub(crate) fn id(id: u64) -> NodeId {
    NodeId::new(id)
}

impl Cluster {
    pub(crate) fn new(count: u64, config: Config, seed: u64) -> Self {
        let mut cluster = Self {
            nodes: BTreeMap::new(),
            now: Instant::EPOCH.after(Duration::from_secs(1)),
            wire: VecDeque::new(),
            cut: BTreeSet::new(),
            held: BTreeSet::new(),
            events: Vec::new(),
            config,
            seed,
            committed: BTreeMap::new(),
            leaders: BTreeMap::new(),
        };
        let base = LogBase::bootstrap((1..=count).map(id));
        for node in 1..=count {
            cluster.add(id(node), base.clone());
        }
        cluster
    }

    /// Adds a node with an empty disk but this base.
    pub(crate) fn add(&mut self, node: NodeId, base: LogBase) {
        let disk = Disk {
            base,
            ..Disk::default()
        };
        let config = self.config.clone();
        self.nodes.insert(
            node,
            Node {
                raft: None,
                disk,
                state: Vec::new(),
                offset: Duration::ZERO,
                rate_ppm: 0,
                disk_held: false,
                writes: VecDeque::new(),
                install_held: false,
                installs: Vec::new(),
                config,
                starts: 0,
                snapshots: 0,
            },
        );
        self.start(node);
    }

    pub(crate) fn start(&mut self, id: NodeId) {
        let now = self.clock(id);
        let seed = self.seed;
        let node = self.nodes.get_mut(&id).unwrap();
        assert!(node.raft.is_none(), "{id} runs already");
        node.starts += 1;
        let seed = seed.wrapping_mul(1_000_003) + id.get() * 1_009 + node.starts;
        let config = node.config.clone().validate().unwrap();
        node.disk.repair();
        node.state = node.disk.state.clone();
        node.raft = Some(Raft::new(config, id, node.disk.restored(), now, seed));
        self.poll(id);
    }

    /// Stops a node. What wasn't written is lost.
    pub(crate) fn crash(&mut self, id: NodeId) {
        let node = self.nodes.get_mut(&id).unwrap();
        node.raft = None;
        node.writes.clear();
        node.installs.clear();
        node.disk.received.clear();
    }

    pub(crate) fn clock(&self, id: NodeId) -> Instant {
        self.now.after(
            self.nodes
                .get(&id)
                .map_or(Duration::ZERO, |node| node.offset),
        )
    }

    pub(crate) fn raft(&self, id: NodeId) -> &Raft {
        self.nodes[&id]
            .raft
            .as_ref()
            .unwrap_or_else(|| panic!("{id} runs"))
    }

    /// Gives a node an input and takes its outputs.
    pub(crate) fn input<T>(
        &mut self,
        id: NodeId,
        input: impl FnOnce(&mut Raft, Instant) -> T,
    ) -> T {
        let now = self.clock(id);
        let raft = self.nodes.get_mut(&id).unwrap().raft.as_mut();
        let result = input(raft.unwrap_or_else(|| panic!("{id} runs")), now);
        self.poll(id);
        result
    }

    /// Takes everything a node has to say.
    pub(crate) fn poll(&mut self, id: NodeId) {
        while self.persist(id)
            | self.transmit(id)
            | self.apply(id)
            | self.fetch(id)
            | self.move_snapshots(id)
            | self.hear_events(id)
        {}
    }

    /// A node that runs, checked, and its clock.
    fn running(&mut self, id: NodeId) -> Option<(&mut Raft, &mut Disk, Instant)> {
        let now = self.clock(id);
        let node = self.nodes.get_mut(&id)?;
        let raft = node.raft.as_mut()?;
        raft.check_invariants();
        Some((raft, &mut node.disk, now))
    }

    fn persist(&mut self, id: NodeId) -> bool {
        let mut busy = false;
        while let Some((raft, _, _)) = self.running(id)
            && let Some(persist) = raft.poll_persist()
        {
            busy = true;
            let node = self.nodes.get_mut(&id).unwrap();
            node.writes.push_back(persist);
            if !node.disk_held {
                self.write_oldest(id);
            }
        }
        busy
    }

    fn write_oldest(&mut self, id: NodeId) -> bool {
        let node = self.nodes.get_mut(&id).unwrap();
        let Some(persist) = node.writes.pop_front() else {
            return false;
        };
        let (raft, disk, now) = self.running(id).expect("a crash forgets writes");
        disk.write(&persist);
        raft.on_persisted(now, persist.into_durable());
        true
    }

    fn transmit(&mut self, id: NodeId) -> bool {
        let mut busy = false;
        while let Some((raft, _, _)) = self.running(id)
            && let Some(Envelope { to, message }) = raft.poll_transmit()
        {
            busy = true;
            let mut buffer = bytes::BytesMut::new();
            raft::wire::encode(&message, &mut buffer);
            let message = raft::wire::decode(&mut buffer.freeze()).unwrap();
            if !self.cut.contains(&(id, to)) {
                self.wire.push_back(Flight {
                    from: id,
                    to,
                    message,
                });
            }
        }
        busy
    }

    fn apply(&mut self, id: NodeId) -> bool {
        let mut busy = false;
        while let Some((raft, _, _)) = self.running(id)
            && let Some(committed) = raft.poll_committed()
        {
            busy = true;
            let durable = raft.durable();
            for entry in &committed.entries {
                assert!(entry.index <= durable, "only durable entries are applied");
                let index = entry.index;
                let known = self.committed.entry(index).or_insert_with(|| entry.clone());
                assert_eq!(
                    *known, *entry,
                    "state machine safety: {id} applies the same"
                );
                let node = self.nodes.get_mut(&id).unwrap();
                if let Payload::Data(data) = &entry.payload {
                    node.state.push(String::from_utf8_lossy(data).into_owned());
                }
                node.raft.as_mut().unwrap().on_applied(index);
            }
        }
        busy
    }

    fn fetch(&mut self, id: NodeId) -> bool {
        let mut busy = false;
        while let Some((raft, disk, now)) = self.running(id)
            && let Some(fetch) = raft.poll_fetch()
        {
            busy = true;
            let wanted = fetch.from..=fetch.to;
            let entries = disk
                .entries
                .iter()
                .filter(|entry| wanted.contains(&entry.index));
            let mut bytes = 0;
            let entries: Vec<_> = entries
                .take_while(|entry| {
                    let first = bytes == 0;
                    bytes += entry.encoded_len();
                    first || bytes <= fetch.bytes_max
                })
                .cloned()
                .collect();
            let complete = entries
                .first()
                .is_some_and(|entry| entry.index == fetch.from);
            let entries = complete.then_some(entries);
            raft.on_entries_fetched(
                now,
                Fetched {
                    id: fetch.id,
                    entries,
                },
            );
        }
        busy
    }

    fn move_snapshots(&mut self, id: NodeId) -> bool {
        let now = self.clock(id);
        let node = self.nodes.get_mut(&id).unwrap();
        let Some(raft) = &mut node.raft else {
            return false;
        };
        let mut busy = false;
        while let Some(action) = raft.poll_snapshot() {
            busy = true;
            let state = &node.state;
            let install = snapshot(
                id,
                now,
                raft,
                &mut node.disk,
                state,
                &mut node.snapshots,
                action,
            );
            node.installs.extend(install);
        }
        if !node.install_held
            && let Some((snapshot, base)) = node.installs.pop()
        {
            busy = true;
            install(now, raft, &mut node.disk, &mut node.state, snapshot, &base);
        }
        busy
    }

    fn hear_events(&mut self, id: NodeId) -> bool {
        let mut busy = false;
        while let Some((raft, _, _)) = self.running(id)
            && let Some(event) = raft.poll_event()
        {
            busy = true;
            if let Event::RoleChanged {
                to: RoleKind::Leader,
                term,
                ..
            } = event
            {
                let leader = *self.leaders.entry(term).or_insert(id);
                assert_eq!(leader, id, "election safety: one leader in {term}");
            }
            self.events.push((id, event));
        }
        busy
    }

    /// Lets a slow disk finish its oldest write.
    pub(crate) fn finish_write(&mut self, id: NodeId) -> bool {
        let wrote = self.write_oldest(id);
        self.poll(id);
        wrote
    }

    pub(crate) fn release_disk(&mut self, id: NodeId) {
        while self.finish_write(id) {}
        self.nodes.get_mut(&id).unwrap().disk_held = false;
        self.poll(id);
    }

    /// Drops a node's log through what it has applied.
    pub(crate) fn compact(&mut self, id: NodeId) -> Option<LogBase> {
        let node = self.nodes.get_mut(&id).unwrap();
        let raft = node.raft.as_mut()?;
        let applied = raft.applied();
        let base = raft.compact(applied)?;
        node.disk.state = node.state.clone();
        node.disk.applied = applied;
        node.disk.compact(&base);
        self.poll(id);
        Some(base)
    }

    pub(crate) fn cut_all(&mut self, one: &[NodeId], other: &[NodeId]) {
        for &a in one {
            for &b in other {
                self.cut.insert((a, b));
                self.cut.insert((b, a));
            }
        }
        let cut = &self.cut;
        self.wire
            .retain(|flight| !cut.contains(&(flight.from, flight.to)));
    }

    pub(crate) fn heal(&mut self) {
        self.cut.clear();
    }

    /// Delivers the oldest message that may go.
    pub(crate) fn deliver_one(&mut self) -> Option<Flight> {
        let at = self
            .wire
            .iter()
            .position(|flight| !self.held.contains(&(flight.from, flight.to)))?;
        let flight = self.wire.remove(at).expect("it was just found");
        self.deliver(flight.clone());
        Some(flight)
    }

    pub(crate) fn deliver(&mut self, flight: Flight) {
        let runs = self
            .nodes
            .get(&flight.to)
            .is_some_and(|node| node.raft.is_some());
        if runs {
            self.input(flight.to, |raft, now| {
                raft.on_message(now, flight.from, flight.message);
            });
        }
    }

    /// Delivers until nothing moves.
    pub(crate) fn settle(&mut self) {
        let mut steps = 0;
        while self.deliver_one().is_some() {
            steps += 1;
            assert!(steps < 100_000, "the cluster never gets quiet");
        }
    }

    /// Lets time pass, with every timer firing on time and messages arriving at once.
    pub(crate) fn advance(&mut self, span: Duration) {
        let end = self.now.after(span);
        loop {
            self.settle();
            let next = self.next_timeout();
            let Some((wait, id)) = next.filter(|&(wait, _)| self.now.after(wait) <= end) else {
                break;
            };
            self.now = self.now.after(wait);
            self.input(id, Raft::on_timeout);
        }
        self.now = end;
        self.settle();
    }

    fn next_timeout(&self) -> Option<(Duration, NodeId)> {
        let timers = self.nodes.iter().filter_map(|(&id, node)| {
            let timeout = node.raft.as_ref()?.poll_timeout()?;
            Some((timeout.since(self.clock(id)), id))
        });
        timers.min()
    }

    /// Lets time pass for everybody, by each one's own clock, without firing a timer.
    pub(crate) fn skip(&mut self, span: Duration) {
        self.now = self.now.after(span);
        for node in self.nodes.values_mut() {
            let parts = span / 1_000_000;
            let drift = parts * u32::try_from(node.rate_ppm.unsigned_abs()).unwrap();
            if node.rate_ppm >= 0 {
                node.offset += drift;
            } else {
                node.offset = node.offset.saturating_sub(drift);
            }
        }
    }

    /// Makes a node campaign, once nobody is bound by a promise any more, by moving its
    /// clock to its deadline.
    pub(crate) fn elect(&mut self, id: NodeId) {
        let promise = self.config.election_timeout_min;
        if self.leaders.is_empty() {
            self.skip(Duration::from_nanos(1));
        } else {
            self.skip(promise);
        }
        self.campaign(id);
        self.settle();
    }

    /// Moves a node's clock to its deadline.
    pub(crate) fn campaign(&mut self, id: NodeId) {
        let deadline = self.raft(id).poll_timeout().unwrap();
        let ahead = deadline.since(self.clock(id));
        self.nodes.get_mut(&id).unwrap().offset += ahead;
        self.input(id, Raft::on_timeout);
    }

    /// The one that leads the newest term.
    pub(crate) fn leader(&self) -> Option<NodeId> {
        let running = self
            .nodes
            .iter()
            .filter_map(|(&id, node)| Some((id, node.raft.as_ref()?)));
        let leaders = running.filter(|(_, raft)| raft.role() == RoleKind::Leader);
        leaders
            .max_by_key(|(_, raft)| raft.term())
            .map(|(id, _)| id)
    }

    pub(crate) fn propose(
        &mut self,
        id: NodeId,
        text: &str,
    ) -> Result<raft::Proposed, raft::ProposeError> {
        let data = Bytes::copy_from_slice(text.as_bytes());
        self.input(id, |raft, now| raft.propose(now, data))
    }

    /// Every node in a line, for failures.
    pub(crate) fn describe(&self) -> String {
        let line = |(id, node): (&NodeId, &Node)| match &node.raft {
            None => format!("{id} down\n"),
            Some(raft) => format!(
                "{id} {:?} {} leader {:?} last {} committed {} applied {} durable {} {:?} {:?}\n",
                raft.role(),
                raft.term(),
                raft.leader(),
                raft.last_index(),
                raft.committed(),
                raft.applied(),
                raft.durable(),
                raft.membership(),
                raft.progress(),
            ),
        };
        self.nodes.iter().map(line).collect()
    }

    pub(crate) fn take_events(&mut self) -> Vec<(NodeId, Event)> {
        std::mem::take(&mut self.events)
    }

    pub(crate) fn members(&self, id: NodeId) -> Membership {
        (**self.raft(id).membership()).clone()
    }
}

fn snapshot(
    id: NodeId,
    now: Instant,
    raft: &mut Raft,
    disk: &mut Disk,
    state: &[String],
    count: &mut u64,
    action: SnapshotAction,
) -> Option<(SnapshotId, LogBase)> {
    match action {
        SnapshotAction::ReadChunk {
            to,
            snapshot,
            offset,
            bytes_max,
        } => {
            let snapshot = snapshot.filter(|known| disk.taken.contains_key(known));
            let snapshot = snapshot.unwrap_or_else(|| {
                *count += 1;
                let new = SnapshotId(id.get() * 1_000_000 + *count);
                let bytes: String = state.iter().map(|line| format!("{line}\n")).collect();
                disk.taken.insert(new, (raft.applied(), bytes.into()));
                new
            });
            let (index, bytes) = &disk.taken[&snapshot];
            let start = usize::try_from(offset).unwrap().min(bytes.len());
            let end = (start + bytes_max).min(bytes.len());
            let data = bytes.slice(start..end);
            let done = end == bytes.len();
            let chunk = ChunkRead {
                to,
                snapshot,
                index: *index,
                offset,
                data,
                done,
            };
            raft.on_snapshot_chunk_read(now, chunk);
            None
        }
        SnapshotAction::Release { .. } => None,
        SnapshotAction::StoreChunk {
            snapshot,
            offset,
            data,
            ..
        } => {
            let held = disk.received.entry(snapshot).or_default();
            held.truncate(usize::try_from(offset).unwrap());
            held.extend_from_slice(&data);
            let bytes = held.len() as u64;
            raft.on_snapshot_chunk_stored(now, snapshot, bytes);
            None
        }
        SnapshotAction::Install { snapshot, base } => Some((snapshot, base)),
        SnapshotAction::Discard { snapshot } => {
            disk.received.remove(&snapshot);
            None
        }
    }
}

fn install(
    now: Instant,
    raft: &mut Raft,
    disk: &mut Disk,
    state: &mut Vec<String>,
    snapshot: SnapshotId,
    base: &LogBase,
) {
    let bytes = disk
        .received
        .remove(&snapshot)
        .expect("all pieces were stored");
    let text = String::from_utf8(bytes).unwrap();
    *state = text.lines().map(str::to_owned).collect();
    disk.state.clone_from(state);
    disk.applied = base.index;
    raft.on_snapshot_installed(now, snapshot);
    disk.installed = Some(base.clone());
}
