//! The driver of one simulated node: the core, its log, its state machine.
//!
//! It does what the real driver does, in the same order: drain the core's outputs after
//! every input, write before sending what depends on it, answer clients from what is
//! applied. Work that takes time on a real machine (applying, reading from disk, moving
//! snapshots) may be put off by a drawn span, so that the core meets late answers.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use raft::{
    Committed, Entry, Event, Fetch, Fetched, Inherited, LimboIndex, LogBase, Payload, Persist,
    ProposeError, Proposed, Raft, ReadToken, Restored, TrueTime,
};
use sim::linear::Outcome;
use sim::{Context, DiskError, Process, SyncId};
use stdx::{Instant, LogIndex, NodeId, Term};

use crate::machine::{Command, Machine, payload_hash};
use crate::snapshots::Snapshots;
use crate::storage::LogStore;
use crate::wire::{Packet, granted_vote};

/// What a node is started with.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// The core's knobs.
    pub raft: raft::Config,
    /// Where a brand-new log begins.
    pub bootstrap: LogBase,
    /// Take a snapshot and drop the log's front after so many entries; `None`: never.
    pub snapshot_every: Option<u64>,
    /// How long applying, reading back and snapshot work may wait.
    pub lag_max: Duration,
    /// How wrong the true time may be that the system tells; `None`: it tells none.
    pub true_time: Option<Duration>,
    /// The driver compares its clock with another and notices leaps beyond this drift.
    pub watched_drift_ppm: u32,
}

/// Work that the core asked for and that may wait.
#[derive(Debug)]
enum Work {
    Apply(Committed),
    Fetch(Fetch),
    Snapshot(raft::SnapshotAction),
}

/// What one sync covers.
#[derive(Debug, Default)]
struct Batch {
    persists: Vec<Persist>,
    /// The log file is written up to here.
    log_end: u64,
    /// A base was written: what is before it may go.
    trims: bool,
    /// A snapshot of our own was written, at this index.
    snapshot: Option<LogIndex>,
    /// A received snapshot was written.
    install: Option<(raft::SnapshotId, Box<Machine>)>,
    any: bool,
}

/// An entry that was handed to the disk.
#[derive(Clone, Copy, Debug)]
pub struct Appended {
    /// The term of the entry before.
    pub previous_term: Option<Term>,
    /// Its position.
    pub index: LogIndex,
    /// Its term.
    pub term: Term,
    /// Its contents.
    pub hash: u64,
}

/// An entry that was applied.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The entry.
    pub entry: Entry,
    /// The node's term at that time.
    pub in_term: Term,
}

/// What became of a client's write.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum WriteEnd {
    /// Applied here, at this index.
    Applied(Outcome, LogIndex),
    /// An entry of another term was applied at its place: it never will be.
    Lost,
}

/// What the harness wants to know about the inputs since it last asked.
#[derive(Debug, Default)]
pub struct Outputs {
    /// Entries handed to the disk.
    pub appended: Vec<Appended>,
    /// Entries applied.
    pub applied: Vec<Applied>,
    /// Writes that ended, by number.
    pub writes: Vec<(u64, WriteEnd)>,
    /// Votes granted to others: term and candidate.
    pub votes: Vec<(Term, NodeId)>,
    /// The core's events.
    pub events: Vec<Event>,
    /// Indexes of snapshots that replaced the state.
    pub installed: Vec<LogIndex>,
}

/// One running node.
#[derive(Debug)]
pub struct RaftNode {
    raft: Raft,
    config: NodeConfig,
    store: LogStore,
    machine: Machine,
    snapshots: Snapshots,
    outputs: Outputs,
    batch: Batch,
    syncing: VecDeque<Batch>,
    work: VecDeque<Work>,
    work_at: Option<Instant>,
    waiting: BTreeMap<LogIndex, (Term, u64)>,
    installing: bool,
    /// What this node's clock and the one it is compared with last showed.
    clocks: (Instant, Instant),
    /// The keys in limbo, for as long as this is the same inheritance.
    limbo: Option<(Inherited, LimboIndex)>,
}

type NodeContext<'a> = Context<'a, Packet>;

impl RaftNode {
    /// Proposes a client's write; the answer comes in [`Outputs::writes`].
    ///
    /// # Errors
    ///
    /// When the core refuses: the write certainly never happens.
    pub fn propose(
        &mut self,
        context: &mut NodeContext<'_>,
        command: &Command,
    ) -> Result<Proposed, ProposeError> {
        self.watch_clock(context);
        let proposed = self.raft.propose(context.now, command.encode())?;
        self.waiting
            .insert(proposed.index, (proposed.term, command.number));
        self.pump(context);
        Ok(proposed)
    }

    /// Proposes bytes that mean nothing to the state machine.
    ///
    /// # Errors
    ///
    /// When the core refuses.
    pub fn propose_bytes(
        &mut self,
        context: &mut NodeContext<'_>,
        bytes: Bytes,
    ) -> Result<Proposed, ProposeError> {
        self.watch_clock(context);
        let proposed = self.raft.propose(context.now, bytes)?;
        self.pump(context);
        Ok(proposed)
    }

    /// Hands the core any other input, then carries out what it asks for.
    pub fn input<R>(
        &mut self,
        context: &mut NodeContext<'_>,
        action: impl FnOnce(&mut Raft, Instant) -> R,
    ) -> R {
        self.watch_clock(context);
        let result = action(&mut self.raft, context.now);
        self.pump(context);
        result
    }

    /// Asks for a read by quorum; the answer is an event.
    ///
    /// # Errors
    ///
    /// When the core refuses.
    pub fn read_index(
        &mut self,
        context: &mut NodeContext<'_>,
        number: u64,
    ) -> Result<(), raft::ReadError> {
        self.watch_clock(context);
        self.raft.read_index(context.now, ReadToken(number))?;
        self.pump(context);
        Ok(())
    }

    /// A key's value and where the state stands, if this node may answer by itself; and
    /// whether it does so as a new leader that has committed nothing yet.
    pub fn read_alone(
        &mut self,
        context: &mut NodeContext<'_>,
        key: u8,
    ) -> Option<(Option<Bytes>, LogIndex, bool)> {
        if self.watch_clock(context) {
            self.pump(context);
        }
        let inherits = if self.raft.readable_now(context.now) {
            false
        } else {
            let inherited = self.raft.inherited_now(context.now)?;
            if self.limbo.as_ref().map(|(of, _)| *of) != Some(inherited) {
                let index =
                    self.raft
                        .limbo_index(inherited, |data, limbo| match Command::decode(data) {
                            Some(command) => limbo.add_key(Bytes::copy_from_slice(&[command.key])),
                            None => limbo.add_everything(),
                        });
                self.limbo = Some((inherited, index));
            }
            let (_, limbo) = self.limbo.as_ref()?;
            if limbo.holds_key(&[key]) {
                return None;
            }
            true
        };
        Some((self.machine.read(key), self.machine.base.index, inherits))
    }

    /// Compares the node's clock with another one, as a driver does before anything else.
    fn watch_clock(&mut self, context: &NodeContext<'_>) -> bool {
        let (now, reference) = (context.now, context.reference());
        let passed = now.since(self.clocks.0);
        let really = reference.since(self.clocks.1);
        let drift = really * self.config.watched_drift_ppm / 1_000_000;
        let tolerance = drift + Duration::from_micros(2);
        self.clocks = (now, reference);
        let disrupted = passed > really + tolerance || passed + tolerance < really;
        if disrupted {
            self.raft.on_clock_disrupted(now);
        }
        if let Some(error) = self.config.true_time {
            let nanos = reference.as_nanos() + 1_000_000_000;
            let error = u64::try_from(error.as_nanos()).unwrap_or(0);
            // Now and then a system isn't sure, for a second and a half.
            let unsure = (nanos / 1_500_000_000 + context.id.get() * 3).is_multiple_of(7);
            let skewed = error * (nanos / 10_000_000 % 3) / 2;
            let reading = TrueTime {
                earliest: nanos - error + skewed.min(error),
                latest: nanos + skewed,
            };
            self.raft.on_true_time(now, (!unsure).then_some(reading));
        }
        disrupted
    }

    /// Takes a snapshot now; the log's front goes when it is durable.
    pub fn take_snapshot(&mut self, context: &mut NodeContext<'_>) {
        if self.installing || self.batch.snapshot.is_some() {
            return;
        }
        if self.snapshots.write(context.disk, &self.machine).is_err() {
            context.abort("the disk is full");
            return;
        }
        self.batch.snapshot = Some(self.machine.base.index);
        self.batch.any = true;
        self.pump(context);
    }

    /// Rots the log; see [`LogStore::rot`].
    pub fn rot(&self, context: &mut NodeContext<'_>, draw: u64) -> bool {
        self.store.rot(context.disk, draw)
    }

    /// What happened since the last call.
    pub fn take_outputs(&mut self) -> Outputs {
        core::mem::take(&mut self.outputs)
    }

    /// The core.
    #[must_use]
    pub const fn raft(&self) -> &Raft {
        &self.raft
    }

    /// The log on disk.
    #[must_use]
    pub const fn store(&self) -> &LogStore {
        &self.store
    }

    /// The state machine.
    #[must_use]
    pub const fn machine(&self) -> &Machine {
        &self.machine
    }

    fn pump(&mut self, context: &mut NodeContext<'_>) {
        loop {
            self.pump_core(context);
            let due = self.work_at.is_none_or(|at| at <= context.now);
            let ready = due && !self.work.is_empty() && !self.installing;
            if !ready {
                break;
            }
            self.work_at = None;
            while let Some(work) = self.work.pop_front() {
                self.perform(context, work);
                if self.installing {
                    break;
                }
            }
        }
        if self.batch.any {
            self.batch.log_end = LogStore::end(context.disk);
            self.syncing.push_back(core::mem::take(&mut self.batch));
            context.sync();
        }
    }

    fn pump_core(&mut self, context: &mut NodeContext<'_>) {
        while let Some(persist) = self.raft.poll_persist() {
            self.note_appended(&persist);
            if self.store.write(context.disk, &persist).is_err() {
                context.abort("the disk is full");
                return;
            }
            self.batch.trims |= persist.base().is_some();
            self.batch.persists.push(persist);
            self.batch.any = true;
        }
        while let Some(envelope) = self.raft.poll_transmit() {
            self.outputs
                .votes
                .extend(granted_vote(envelope.to, &envelope.message));
            context.send(envelope.to, Packet::encode(&envelope.message));
        }
        let had_work = !self.work.is_empty();
        while let Some(committed) = self.raft.poll_committed() {
            self.work.push_back(Work::Apply(committed));
        }
        while let Some(fetch) = self.raft.poll_fetch() {
            self.work.push_back(Work::Fetch(fetch));
        }
        while let Some(action) = self.raft.poll_snapshot() {
            self.work.push_back(Work::Snapshot(action));
        }
        if !had_work && !self.work.is_empty() && !self.config.lag_max.is_zero() {
            let lag = context.prng.duration(Duration::ZERO..self.config.lag_max);
            self.work_at = Some(context.now.after(lag));
        }
        while let Some(event) = self.raft.poll_event() {
            self.trace_event(context, &event);
            self.outputs.events.push(event);
        }
    }

    fn perform(&mut self, context: &mut NodeContext<'_>, work: Work) {
        match work {
            Work::Apply(committed) => self.apply(context, committed),
            Work::Fetch(fetch) => {
                let span = (fetch.from, fetch.to);
                match self.store.fetch(context.disk, span, fetch.bytes_max) {
                    Ok(entries) => {
                        let id = fetch.id;
                        let fetched = Fetched { id, entries };
                        self.raft.on_entries_fetched(context.now, fetched);
                    }
                    Err(damage) => context.abort(damage),
                }
            }
            Work::Snapshot(action) => self.on_snapshot_action(context, action),
        }
    }

    fn apply(&mut self, context: &mut NodeContext<'_>, committed: Committed) {
        for entry in committed.entries {
            let outcome = self.machine.apply(&entry);
            if let Some((term, number)) = self.waiting.remove(&entry.index) {
                let end = if term == entry.term {
                    WriteEnd::Applied(outcome, entry.index)
                } else {
                    WriteEnd::Lost
                };
                self.outputs.writes.push((number, end));
            }
            self.outputs.applied.push(Applied {
                entry,
                in_term: self.raft.term(),
            });
        }
        let index = self.machine.base.index;
        let term = self.machine.base.term;
        context.trace(
            "apply",
            &[index.get(), term.get(), self.machine.chain],
            || format!("{index} {term}"),
        );
        self.raft.on_applied(index);
        let since = index.distance_from(self.snapshots.index());
        if self
            .config
            .snapshot_every
            .is_some_and(|every| since >= every)
            && self.batch.snapshot.is_none()
        {
            if self.snapshots.write(context.disk, &self.machine).is_err() {
                context.abort("the disk is full");
                return;
            }
            self.batch.snapshot = Some(index);
            self.batch.any = true;
        }
    }

    fn on_snapshot_action(&mut self, context: &mut NodeContext<'_>, action: raft::SnapshotAction) {
        let now = context.now;
        match action {
            raft::SnapshotAction::ReadChunk {
                to,
                snapshot,
                offset,
                bytes_max,
            } => {
                let wanted = (snapshot, offset, bytes_max);
                if let Some(chunk) = self.snapshots.read(context, &self.machine, to, wanted) {
                    self.raft.on_snapshot_chunk_read(now, chunk);
                } else {
                    let failure = raft::SnapshotFailure::Read { to };
                    self.raft.on_snapshot_failed(now, failure);
                }
            }
            raft::SnapshotAction::Release { to, snapshot } => self.snapshots.release(to, snapshot),
            raft::SnapshotAction::StoreChunk {
                snapshot,
                offset,
                data,
                ..
            } => {
                if let Some(held) = self.snapshots.store(snapshot, offset, &data) {
                    self.raft.on_snapshot_chunk_stored(now, snapshot, held);
                } else {
                    let failure = raft::SnapshotFailure::Receive { snapshot };
                    self.raft.on_snapshot_failed(now, failure);
                }
            }
            raft::SnapshotAction::Install { snapshot, base } => {
                self.install(context, snapshot, &base);
            }
            raft::SnapshotAction::Discard { snapshot } => self.snapshots.discard(snapshot),
        }
    }

    fn install(
        &mut self,
        context: &mut NodeContext<'_>,
        snapshot: raft::SnapshotId,
        base: &LogBase,
    ) {
        let machine = self.snapshots.received(snapshot);
        let Some(machine) = machine.filter(|machine| machine.base == *base) else {
            let failure = raft::SnapshotFailure::Receive { snapshot };
            self.raft.on_snapshot_failed(context.now, failure);
            return;
        };
        if self.snapshots.write(context.disk, &machine).is_err() {
            context.abort("the disk is full");
            return;
        }
        self.batch.install = Some((snapshot, Box::new(machine)));
        self.batch.any = true;
        self.installing = true;
    }

    fn end_batch(&mut self, context: &mut NodeContext<'_>, batch: Batch) {
        self.store.synced(batch.log_end);
        if batch.trims {
            self.store.trim(context.disk);
        }
        for persist in batch.persists {
            self.raft.on_persisted(context.now, persist.into_durable());
        }
        if let Some((snapshot, machine)) = batch.install {
            self.installing = false;
            let index = machine.base.index;
            self.outputs.installed.push(index);
            self.waiting = self.waiting.split_off(&index.next());
            self.machine = *machine;
            self.raft.on_snapshot_installed(context.now, snapshot);
        }
        if let Some(index) = batch.snapshot
            && let Some(base) = self.raft.compact(index)
        {
            // The core's log may still be waiting for an earlier write to end; the file
            // is written in the same order.
            self.pump_core(context);
            if self.store.compact(context.disk, &base).is_err() {
                context.abort("the disk is full");
                return;
            }
            let (index, term) = (base.index, base.term);
            context.trace("compact", &[index.get(), term.get()], || {
                format!("{index} {term}")
            });
            self.batch.trims = true;
            self.batch.any = true;
        }
    }

    fn note_appended(&mut self, persist: &Persist) {
        let mut previous: Option<(LogIndex, Term)> = None;
        for entry in persist.entries() {
            let before = entry.index.previous();
            let previous_term = match previous {
                Some((index, term)) if index == before => Some(term),
                _ if persist.base().is_some_and(|base| base.index == before) => {
                    persist.base().map(|base| base.term)
                }
                _ => self.store.term_at(before),
            };
            previous = Some((entry.index, entry.term));
            self.outputs.appended.push(Appended {
                previous_term,
                index: entry.index,
                term: entry.term,
                hash: payload_hash(&entry.payload),
            });
        }
    }

    fn trace_event(&self, context: &mut NodeContext<'_>, event: &Event) {
        let code = match event {
            Event::RoleChanged { .. } => "role",
            Event::LeaderChanged { .. } => "leader",
            Event::TermChanged { .. } => "term",
            Event::ReadReady { .. } | Event::ReadFailed { .. } => "read",
            Event::LeaseChanged { .. } => "lease",
            Event::MembershipChanged { .. } | Event::MembershipCommitted { .. } => "members",
            Event::TransferEnded { .. } => "transfer",
            Event::Truncated { .. } => "truncate",
            Event::SnapshotStarted { .. }
            | Event::SnapshotSent { .. }
            | Event::SnapshotInstalled { .. } => "snapshot",
            Event::LeaseWait { .. } => "lease-wait",
            Event::DiskStalled { .. } => "stalled",
            Event::Misbehaved { .. } => "misbehave",
        };
        let words = [self.raft.term().get(), self.raft.last_index().get()];
        context.trace(code, &words, || format!("{event:?}"));
    }
}

impl Process for RaftNode {
    type Config = NodeConfig;
    type Message = Packet;

    fn boot(config: &NodeConfig, context: &mut NodeContext<'_>) -> Result<Self, String> {
        let mut store = LogStore::recover(context.disk, &config.bootstrap)?;
        let snapshots = Snapshots::recover(context, &config.bootstrap)?;
        let machine = snapshots.machine(&config.bootstrap)?;
        if machine.base.index < store.base().index {
            let (log, snapshot) = (store.base().index, machine.base.index);
            return Err(format!(
                "the log begins at {log}, the snapshot ends at {snapshot}"
            ));
        }
        let mut batch = Batch::default();
        if store.term_at(machine.base.index) != Some(machine.base.term) {
            // A crash between the installation of a snapshot and the log's new base.
            store
                .replace(context.disk, &machine.base)
                .map_err(|error| error.to_string())?;
            batch.trims = true;
            batch.any = true;
        }
        let restored = Restored {
            hard_state: store.hard_state(),
            base: store.base().clone(),
            last_index: store.last_index(),
            terms: store.terms(),
            memberships: store.memberships(context.disk),
            applied: machine.base.index,
            committed: machine.base.index,
        };
        let valid = config
            .raft
            .clone()
            .validate()
            .map_err(|error| error.to_string())?;
        let seed = context.prng.next_u64();
        let mut node = Self {
            raft: Raft::new(valid, context.id, restored, context.now, seed),
            config: config.clone(),
            store,
            machine,
            snapshots,
            outputs: Outputs::default(),
            batch,
            syncing: VecDeque::new(),
            work: VecDeque::new(),
            work_at: None,
            waiting: BTreeMap::new(),
            installing: false,
            clocks: (context.now, context.reference()),
            limbo: None,
        };
        node.pump(context);
        Ok(node)
    }

    fn on_message(&mut self, context: &mut NodeContext<'_>, from: NodeId, packet: Packet) {
        self.watch_clock(context);
        self.raft.on_message(context.now, from, packet.decode());
        self.pump(context);
    }

    fn on_timeout(&mut self, context: &mut NodeContext<'_>) {
        self.watch_clock(context);
        self.raft.on_timeout(context.now);
        self.pump(context);
    }

    fn on_synced(
        &mut self,
        context: &mut NodeContext<'_>,
        _sync: SyncId,
        result: Result<(), DiskError>,
    ) {
        if let Err(error) = result {
            context.abort(error.to_string());
            return;
        }
        self.watch_clock(context);
        let batch = self.syncing.pop_front();
        self.end_batch(context, batch.expect("each sync has its batch"));
        self.pump(context);
    }

    fn timeout(&self) -> Option<Instant> {
        let work = self
            .work_at
            .filter(|_| !self.work.is_empty() && !self.installing);
        [self.raft.poll_timeout(), work].into_iter().flatten().min()
    }
}

/// Whether a payload is a client's bytes.
#[must_use]
pub fn is_data(entry: &Entry) -> bool {
    matches!(entry.payload, Payload::Data(_))
}
