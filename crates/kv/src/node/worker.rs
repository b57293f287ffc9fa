//! The Raft thread: the loop that everything else waits for.
//!
//! ```text
//! loop {
//!     take everything that has arrived, or sleep until the next timeout
//!     step the cores: completions, messages, timeouts, reads, proposals
//!     until nothing is left to do {
//!         hand all writes to the log thread     one write, one fdatasync, in parallel to what follows
//!         apply what is committed, answer who waits for it
//!         publish the lease and the commit index
//!         send all messages                     what must be durable first comes out only later
//!         deal with fetches, snapshots, events
//!     }
//!     publish role, lease and indexes for readers
//! }
//! ```
//!
//! The thread never waits for a disk, a socket or a lock that is held for long. It owns all groups
//! of the node; another worker would own others.

use core::mem;
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use raft::{Event, RoleKind, SnapshotAction};
use stdx::{GroupId, Instant, NodeId};

use crate::node::clock;
use crate::node::error::ReadError;
use crate::node::fetcher;
use crate::node::group::Group;
use crate::node::handle::Shared;
use crate::node::inbox::{Control, Drained};
use crate::node::keeper::Keeper;
use crate::node::log_writer::{Job, LogQueue, describe};
use crate::node::publish::{Leadership, Published, Snapshot};
use crate::node::status::Role;
use crate::snapshot;
use crate::transport::{FrameBuilder, Transport};

/// How old the published status may be while the worker is busy.
const STATUS_PERIOD: Duration = Duration::from_millis(20);

/// How long an orderly end waits for proposals under way.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// The Raft thread.
pub(crate) struct Worker {
    pub(crate) shared: Arc<Shared>,
    pub(crate) transport: Transport,
    pub(crate) log: Arc<LogQueue>,
    pub(crate) fetches: Arc<fetcher::Queue>,
    pub(crate) snapshots: Arc<snapshot::Queue>,
    pub(crate) keeper: Arc<Keeper>,
    pub(crate) groups: Vec<Group>,
    writes: Vec<Job>,
    frames: BTreeMap<NodeId, FrameBuilder>,
    /// What was last published, per group.
    known: Vec<Known>,
    status_due: Instant,
    /// Something happened that the status should show at once.
    noteworthy: bool,
    stopping: Option<Instant>,
}

/// What was last published of a group.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    leadership: Leadership,
    leading: bool,
}

/// What a worker is made of.
pub(crate) struct Parts {
    pub(crate) shared: Arc<Shared>,
    pub(crate) transport: Transport,
    pub(crate) log: Arc<LogQueue>,
    pub(crate) fetches: Arc<fetcher::Queue>,
    pub(crate) snapshots: Arc<snapshot::Queue>,
    pub(crate) keeper: Arc<Keeper>,
    pub(crate) groups: Vec<Group>,
}

impl Worker {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts {
            shared,
            transport,
            log,
            fetches,
            snapshots,
            keeper,
            groups,
        } = parts;
        Self {
            known: vec![Known::default(); groups.len()],
            shared,
            transport,
            log,
            fetches,
            snapshots,
            keeper,
            groups,
            writes: Vec::new(),
            frames: BTreeMap::new(),
            status_due: Instant::EPOCH,
            noteworthy: true,
            stopping: None,
        }
    }

    /// Works until it is told to stop, or the node is halted.
    pub(crate) fn run(mut self) -> Result<(), String> {
        let mut drained = Drained::default();
        for group in &self.groups {
            self.transport
                .set_members(&group.raft.membership().members());
        }
        self.settle(clock::now())?;
        while !self.is_over() {
            let now = clock::now();
            let enough = self.groups.iter().map(|group| group.enough(now)).min();
            let enough = enough.unwrap_or(1);
            let gather = (enough > 1).then_some(self.shared.config.entry_delay);
            let timeout = self.timeout(now).into_iter().chain(gather).min();
            self.shared.inbox.take(timeout, enough, &mut drained);
            if self.shared.halted.load(Ordering::Acquire) {
                break;
            }
            let now = clock::now();
            self.step(now, &mut drained);
            self.settle(now)?;
        }
        self.shared.inbox.close();
        for group in &mut self.groups {
            group.abandon();
            self.shared.published.set_lease(None);
            self.shared.published.set_leadership(
                Leadership {
                    over: true,
                    ..Leadership::default()
                },
                false,
            );
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.stopping.is_some_and(|until| {
            clock::now() >= until || !self.groups.iter().any(Group::has_proposals)
        })
    }

    /// How long nothing has to be done unless something arrives.
    fn timeout(&self, now: Instant) -> Option<Duration> {
        let deadlines = self.groups.iter().flat_map(|group| {
            [
                group.raft.poll_timeout(),
                group.next_deadline(),
                group.next_tick(now),
            ]
        });
        let earliest = deadlines.chain([self.stopping]).flatten().min()?;
        Some(earliest.since(now))
    }

    fn group(&mut self, id: GroupId) -> Option<&mut Group> {
        self.groups.iter_mut().find(|group| group.id == id)
    }

    /// Everything that arrived goes into the cores.
    fn step(&mut self, now: Instant, drained: &mut Drained) {
        for control in drained.controls.drain(..) {
            self.control(now, control);
        }
        for received in drained.messages.drain(..) {
            for (id, message) in received.messages {
                if let Some(group) = self.group(id) {
                    group.raft.on_message(now, received.from, message);
                }
            }
        }
        for group in &mut self.groups {
            if group.raft.poll_timeout().is_some_and(|due| due <= now) {
                group.raft.on_timeout(now);
            }
            group.expire_proposals(now);
        }
        if !drained.readers.is_empty() {
            for group in &mut self.groups {
                let id = group.id;
                group.read(
                    now,
                    drained.readers.extract_if(.., |reader| reader.group == id),
                );
            }
            // Readers of groups that aren't here learn it by being dropped.
            drained.readers.clear();
        }
        for group in &mut self.groups {
            let id = group.id;
            group.propose(now, drained.submissions.extract_if(.., |it| it.group == id));
            group.propose_tick(now);
        }
        drained.submissions.clear();
    }

    fn control(&mut self, now: Instant, control: Control) {
        let raft = |worker: &mut Self, id, input: &mut dyn FnMut(&mut Group)| {
            if let Some(group) = worker.group(id) {
                input(group);
            }
        };
        match control {
            Control::Persisted(durables) => {
                for (id, durable) in durables {
                    if let Some(group) = self.group(id) {
                        group.raft.on_persisted(now, durable);
                    }
                }
            }
            Control::Admin(id, admin) => {
                if let Some(group) = self.group(id) {
                    group.administrate(now, admin);
                }
            }
            Control::Fetched(id, fetched) => {
                if let Some(group) = self.group(id) {
                    group.raft.on_entries_fetched(now, fetched);
                }
            }
            Control::ChunkRead(id, chunk) => {
                if let Some(group) = self.group(id) {
                    group.raft.on_snapshot_chunk_read(now, chunk);
                }
            }
            Control::ChunkStored {
                group,
                snapshot,
                bytes,
            } => raft(self, group, &mut |group| {
                group.raft.on_snapshot_chunk_stored(now, snapshot, bytes);
            }),
            Control::Installed {
                group,
                snapshot,
                index,
            } => raft(self, group, &mut |group| {
                group.raft.on_snapshot_installed(now, snapshot);
                group.installed(index);
            }),
            Control::SnapshotFailed(group, failure) => raft(self, group, &mut |group| {
                group.raft.on_snapshot_failed(now, failure);
            }),
            Control::Compact { group: id, through } => self.compact(id, through),
            Control::Stop => {
                self.stopping
                    .get_or_insert_with(|| now.after(DRAIN_TIMEOUT));
            }
        }
    }

    fn compact(&mut self, id: GroupId, through: stdx::LogIndex) {
        let base = self.group(id).and_then(|group| {
            let point = group.compaction_point(through)?;
            group.raft.compact(point)
        });
        if let Some(base) = base {
            self.writes.push(Job::Compact(id, base));
        }
    }

    /// Does what the cores want done until they want nothing.
    fn settle(&mut self, now: Instant) -> Result<(), String> {
        let mut groups = mem::take(&mut self.groups);
        let mut busy = true;
        while mem::take(&mut busy) {
            // Writes start first: they take longest.
            for group in &mut groups {
                while let Some(persist) = group.raft.poll_persist() {
                    self.writes.push(Job::Persist(group.id, persist));
                }
            }
            if !self.writes.is_empty() {
                self.log.push(&mut self.writes);
            }
            // Applying before sending: readers here then rarely find themselves behind.
            for (position, group) in groups.iter_mut().enumerate() {
                busy |= self.apply(group)?;
                busy |= group.release(now);
                self.publish(position, group);
            }
            self.send(&mut groups);
            for group in &mut groups {
                busy |= self.storage(group);
                busy |= self.events(group);
            }
        }
        if self.noteworthy || now >= self.status_due {
            for group in &groups {
                self.shared.published.set_snapshot(status_of(group));
            }
            self.noteworthy = false;
            self.status_due = now.after(STATUS_PERIOD);
        }
        self.groups = groups;
        Ok(())
    }

    fn send(&mut self, groups: &mut [Group]) {
        for group in groups.iter_mut() {
            while let Some(envelope) = group.raft.poll_transmit() {
                let frame = self.frames.entry(envelope.to).or_default();
                if let Some(item) = frame.push(group.id, &envelope.message) {
                    self.transport.send(envelope.to, item);
                }
            }
        }
        for (to, frame) in &mut self.frames {
            if let Some(item) = frame.finish() {
                self.transport.send(*to, item);
            }
        }
    }

    fn apply(&self, group: &mut Group) -> Result<bool, String> {
        let mut busy = false;
        while let Some(committed) = group.raft.poll_committed() {
            group.apply(committed).map_err(|error| describe(&error))?;
            busy = true;
        }
        if busy {
            self.keeper.applied(group.applied_bytes);
        }
        Ok(busy)
    }

    /// Passes on what needs a disk.
    fn storage(&self, group: &mut Group) -> bool {
        let mut busy = false;
        while let Some(fetch) = group.raft.poll_fetch() {
            self.fetches.push((group.id, fetch));
            busy = true;
        }
        while let Some(action) = group.raft.poll_snapshot() {
            let id = group.id;
            let floor = group.raft.base().index;
            self.snapshots.push(match action {
                SnapshotAction::ReadChunk {
                    to,
                    snapshot,
                    offset,
                    bytes_max,
                } => {
                    let piece = snapshot::Piece {
                        to,
                        snapshot,
                        offset,
                        bytes_max,
                        floor,
                    };
                    snapshot::Job::Read { group: id, piece }
                }
                SnapshotAction::Release { to, snapshot } => snapshot::Job::Release { to, snapshot },
                SnapshotAction::StoreChunk {
                    from: _,
                    snapshot,
                    offset,
                    data,
                } => snapshot::Job::Store {
                    group: id,
                    snapshot,
                    offset,
                    data,
                },
                SnapshotAction::Install { snapshot, base } => snapshot::Job::Install {
                    group: id,
                    snapshot,
                    base,
                },
                SnapshotAction::Discard { snapshot } => snapshot::Job::Discard { snapshot },
            });
            busy = true;
        }
        busy
    }

    fn events(&mut self, group: &mut Group) -> bool {
        let mut busy = false;
        while let Some(event) = group.raft.poll_event() {
            busy = true;
            self.event(group, event);
        }
        busy
    }

    fn event(&mut self, group: &mut Group, event: Event) {
        let metrics = &self.shared.metrics;
        let own = self.shared.identity.node;
        match event {
            Event::ReadReady { token, .. } => return group.finish_read(token, Ok(())),
            Event::ReadFailed { token, .. } => {
                let leader = group.raft.leader();
                return group.finish_read(token, Err(ReadError::NoLeader { leader }));
            }
            Event::LeaseChanged { .. } | Event::LeaseWait { .. } | Event::Truncated { .. } => {
                return;
            }
            Event::RoleChanged {
                from,
                to,
                term,
                reason,
            } => {
                tracing::info!("{own} {term}: {from:?} -> {to:?} ({reason:?})");
                if to == RoleKind::PreCandidate
                    || (to == RoleKind::Candidate && from == RoleKind::Follower)
                {
                    metrics.elections.increment(1);
                }
                if from == RoleKind::Leader {
                    group.stepped_down();
                }
            }
            Event::LeaderChanged { leader, term } => {
                metrics.leader_changes.increment(1);
                if let Some(leader) = leader {
                    tracing::info!("{leader} leads {term}");
                } else {
                    tracing::info!("nobody is known to lead {term}");
                }
                group.leader_changed(leader);
            }
            Event::TermChanged { term } => metrics.term.set(as_float(term.get())),
            Event::MembershipChanged { index, membership } => {
                tracing::info!("members at {index}: {membership:?}");
                self.transport.set_members(&membership.members());
            }
            Event::MembershipCommitted { index, membership } => {
                if !membership.is_joint() {
                    group.members_committed(index);
                }
            }
            Event::TransferEnded { to, outcome } => {
                tracing::info!("hand-over to {to}: {outcome:?}");
                group.transfer_ended(outcome);
                group.leader_changed(group.raft.leader().filter(|leader| *leader != own));
            }
            Event::SnapshotStarted { .. }
            | Event::SnapshotSent { .. }
            | Event::SnapshotInstalled { .. } => self.snapshot_event(&event),
            Event::DiskStalled { .. } => tracing::warn!("the disk is stalled; others should lead"),
            Event::Misbehaved { peer, what } => {
                tracing::error!(
                    "{peer} sent what no correct node sends ({what:?}); it was ignored"
                );
            }
        }
        self.noteworthy = true;
    }

    fn snapshot_event(&self, event: &Event) {
        let metrics = &self.shared.metrics;
        match event {
            Event::SnapshotStarted { to } => tracing::info!("sending a snapshot to {to}"),
            Event::SnapshotSent { to, index } => {
                metrics.snapshots_sent.increment(1);
                tracing::info!("{to} has installed the snapshot at {index}");
            }
            Event::SnapshotInstalled { index } => {
                metrics.snapshots_installed.increment(1);
                tracing::info!("installed a snapshot at {index}");
            }
            _ => {}
        }
    }

    /// Shows lease, indexes and leadership to readers. Takes back before it gives.
    fn publish(&mut self, position: usize, group: &Group) {
        let raft = &group.raft;
        let published: &Published = &self.shared.published;
        let known = self.known[position];
        let term = raft.term();
        let leads = raft.role() == RoleKind::Leader && !group.transferring;
        let floor = raft.read_floor();
        // Once the term's first entry is applied, this leader serves until it leads no more.
        let served = known.leadership.serves && known.leadership.term == term;
        let serves = leads && (served || floor.is_some_and(|floor| raft.applied() >= floor));
        let leader = if group.transferring {
            None
        } else {
            raft.leader()
        };
        let leadership = Leadership {
            term,
            leader,
            serves,
            over: false,
        };
        if known.leadership.term != term || !serves {
            published.set_lease(None);
        }
        if let Some(floor) = floor {
            published.raise_floor(floor);
        }
        published.set_applied(raft.applied());
        published.set_lease(raft.lease_until().filter(|_| serves));
        if known.leadership != leadership || known.leading != leads {
            published.set_leadership(leadership, leads);
            self.known[position] = Known {
                leadership,
                leading: leads,
            };
            self.noteworthy = true;
            self.shared
                .metrics
                .is_leader
                .set(if leads { 1.0 } else { 0.0 });
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a gauge is a float; terms stay far below 2^53"
)]
const fn as_float(value: u64) -> f64 {
    value as f64
}

/// The state of a group as others may see it.
pub(crate) fn status_of(group: &Group) -> Snapshot {
    let raft = &group.raft;
    let membership = Arc::clone(raft.membership());
    let role = match raft.role() {
        RoleKind::Leader => Role::Leader,
        RoleKind::Candidate => Role::Candidate,
        RoleKind::PreCandidate => Role::PreCandidate,
        RoleKind::Follower if !membership.is_voter(raft.id()) => Role::Learner,
        RoleKind::Follower => Role::Follower,
    };
    Snapshot {
        role,
        term: raft.term(),
        last_index: raft.last_index(),
        durable: raft.durable(),
        committed: raft.committed(),
        applied: raft.applied(),
        first_index: raft.base().index.next(),
        membership,
        progress: raft.progress(),
    }
}
