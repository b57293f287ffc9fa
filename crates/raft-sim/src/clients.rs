//! Clients: each does one operation at a time, and every answer goes into the history
//! that the linearizability checker judges.

use core::fmt;
use core::time::Duration;
use std::collections::BTreeSet;

use bytes::Bytes;
use raft::Event;
use sim::linear::{Call, History, Operation, Outcome};
use sim::{Violation, World};
use stdx::{Instant, LogIndex, NodeId, Prng};

use crate::checkers::ReadCheck;
use crate::cluster::{Cluster, Task};
use crate::machine::Command;
use crate::node::{Outputs, RaftNode, WriteEnd};
use crate::options::Options;

/// How long a client waits that only reads.
const READER_PATIENCE: Duration = Duration::from_millis(40);

type RaftWorld = World<RaftNode, Task>;

/// Counts of what clients were told.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Served {
    /// Writes answered.
    pub writes: u64,
    /// Reads answered by a leader alone.
    pub lease_reads: u64,
    /// Reads answered by a new leader that had committed nothing yet.
    pub inherited_reads: u64,
    /// Reads answered after a round to a quorum.
    pub quorum_reads: u64,
    /// Operations without an answer.
    pub unknown: u64,
    /// Operations that were refused or lost for sure.
    pub refused: u64,
}

impl Served {
    /// Adds another run's counts.
    pub const fn add(&mut self, other: Self) {
        self.writes += other.writes;
        self.lease_reads += other.lease_reads;
        self.inherited_reads += other.inherited_reads;
        self.quorum_reads += other.quorum_reads;
        self.unknown += other.unknown;
        self.refused += other.refused;
    }
}

impl fmt::Display for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            writes,
            lease_reads,
            inherited_reads,
            quorum_reads,
            unknown,
            refused,
        } = self;
        write!(
            f,
            "{writes} writes, {lease_reads} lease reads, {inherited_reads} inherited, {quorum_reads} quorum reads, \
             {unknown} unknown, {refused} refused"
        )
    }
}

#[derive(Clone, Debug)]
struct Pending {
    number: u64,
    key: u8,
    operation: Operation,
    called: Instant,
    floor: LogIndex,
    /// The newest write to this key that anybody was told of.
    key_floor: LogIndex,
}

/// All clients of a run.
#[derive(Debug)]
pub struct Clients {
    pending: Vec<Option<Pending>>,
    prng: Prng,
    next_number: u64,
    /// Clients from here on only read.
    writers: usize,
    keys: u8,
    read_percent: u64,
    think_max: Duration,
    patience: Duration,
    history: History,
    reads: ReadCheck,
    lost: BTreeSet<u64>,
    served: Served,
}

impl Clients {
    /// Clients that are about to begin.
    ///
    /// # Panics
    ///
    /// On a machine whose memory can't hold a handful of clients.
    #[must_use]
    pub fn new(seed: u64, options: &Options) -> Self {
        let writers = usize::try_from(options.clients).expect("a handful of clients");
        let readers = usize::try_from(options.readers).expect("a handful of clients");
        Self {
            pending: vec![None; writers + readers],
            prng: Prng::from_seed(seed ^ 0x00c1_1e47),
            next_number: 1,
            writers,
            keys: options.keys,
            read_percent: options.read_percent,
            think_max: options.think_max,
            patience: options.patience,
            history: History::new(),
            reads: ReadCheck::default(),
            lost: BTreeSet::new(),
            served: Served::default(),
        }
    }

    /// Lets every client begin.
    pub fn begin(&mut self, world: &mut RaftWorld) {
        for client in 0..self.pending.len() {
            self.next(world, client);
        }
    }

    /// What clients were told, in numbers.
    #[must_use]
    pub const fn served(&self) -> Served {
        self.served
    }

    /// Everything that clients were told, once nobody waits any more.
    pub fn end(&mut self, world: &mut RaftWorld) -> &History {
        for client in 0..self.pending.len() {
            if let Some(pending) = self.pending[client].take() {
                self.record(world, client, pending, Outcome::Unknown);
            }
        }
        &self.history
    }

    /// One client starts an operation.
    ///
    /// # Errors
    ///
    /// When a read is answered from an old state.
    ///
    /// # Panics
    ///
    /// When there are more than 255 keys.
    pub fn act(
        cluster: &mut Cluster,
        client: usize,
        leader: Option<NodeId>,
    ) -> Result<(), Violation> {
        let hosts: Vec<NodeId> = cluster.world.hosts().collect();
        let stale = cluster.stale_leader();
        let clients = &mut cluster.clients;
        if clients.pending[client].is_some() {
            return Ok(());
        }
        let number = clients.next_number;
        clients.next_number += 1;
        let random = hosts[clients.prng.index(hosts.len())];
        // Most clients know the leader; some still talk to one that was replaced.
        let target = match (clients.prng.below(10), leader) {
            (0..6, Some(leader)) => leader,
            (6..8, _) => stale.unwrap_or(random),
            _ => random,
        };
        let key = u8::try_from(clients.prng.below(u64::from(clients.keys))).expect("few keys");
        let pending = Pending {
            number,
            key,
            operation: if client < clients.writers {
                clients.draw_operation(number)
            } else {
                Operation::Get
            },
            called: cluster.world.now(),
            floor: clients.reads.floor(),
            key_floor: clients.reads.key_floor(key),
        };
        if pending.operation == Operation::Get {
            Self::read(cluster, client, target, pending)
        } else {
            Self::write(cluster, client, target, pending);
            Ok(())
        }
    }

    /// What a node put out: answers.
    ///
    /// # Errors
    ///
    /// When a read is answered from an old state, or a lost write happens after all.
    pub fn hear(
        &mut self,
        world: &mut RaftWorld,
        id: NodeId,
        outputs: &Outputs,
    ) -> Result<(), Violation> {
        for (number, end) in &outputs.writes {
            match end {
                WriteEnd::Applied(outcome, index) => {
                    let waits = self.client_of(*number);
                    let key = waits.and_then(|client| Some(self.pending[client].as_ref()?.key));
                    self.reads.tell(*index);
                    self.reads.tell_key(key, *index);
                    self.served.writes += 1;
                    self.finish(world, *number, outcome.clone());
                }
                WriteEnd::Lost => {
                    self.lost.insert(*number);
                    self.served.refused += 1;
                    self.drop_pending(world, *number);
                }
            }
        }
        for applied in &outputs.applied {
            if let raft::Payload::Data(data) = &applied.entry.payload
                && let Some(number) = Command::number_of(data)
                && self.lost.contains(&number)
            {
                let detail = format!("write {number} was lost for good, and {id} applied it");
                return Err(Violation::new("lost_writes", detail));
            }
        }
        for event in &outputs.events {
            match event {
                Event::ReadReady { token, .. } => self.on_read_ready(world, id, token.0)?,
                Event::ReadFailed { token, .. } => {
                    self.served.refused += 1;
                    self.drop_pending(world, token.0);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// A client has waited long enough.
    pub fn give_up(&mut self, world: &mut RaftWorld, client: usize, number: u64) {
        let slot = &mut self.pending[client];
        if let Some(pending) = slot.take_if(|pending| pending.number == number) {
            self.served.unknown += 1;
            self.record(world, client, pending, Outcome::Unknown);
            self.next(world, client);
        }
    }

    fn read(
        cluster: &mut Cluster,
        client: usize,
        target: NodeId,
        pending: Pending,
    ) -> Result<(), Violation> {
        let key = pending.key;
        let alone = cluster.act(target, |node, context| node.read_alone(context, key));
        let Cluster { world, clients, .. } = cluster;
        if let Some(Some((value, index, inherits))) = alone {
            if inherits {
                let floor = pending.key_floor;
                clients.reads.inherited(target, index, floor)?;
                clients.served.inherited_reads += 1;
            } else {
                let floor = pending.floor;
                clients.reads.served(target, "lease", index, floor)?;
                clients.served.lease_reads += 1;
            }
            clients.record(world, client, pending, Outcome::Found(value));
            clients.next(world, client);
            return Ok(());
        }
        let number = pending.number;
        clients.wait(world, client, pending);
        let asked = cluster.act(target, |node, context| node.read_index(context, number));
        if !matches!(asked, Some(Ok(()))) {
            cluster.clients.served.refused += 1;
            cluster.clients.drop_pending(&mut cluster.world, number);
        }
        Ok(())
    }

    fn write(cluster: &mut Cluster, client: usize, target: NodeId, pending: Pending) {
        let command = Command {
            number: pending.number,
            key: pending.key,
            operation: pending.operation.clone(),
        };
        cluster.clients.wait(&mut cluster.world, client, pending);
        let proposed = cluster.act(target, |node, context| node.propose(context, &command));
        if !matches!(proposed, Some(Ok(_))) {
            // A refusal means that it certainly never happens.
            cluster.clients.served.refused += 1;
            cluster.clients.lost.insert(command.number);
            cluster
                .clients
                .drop_pending(&mut cluster.world, command.number);
        }
    }

    fn wait(&mut self, world: &mut RaftWorld, client: usize, pending: Pending) {
        let patience = if client < self.writers {
            self.patience
        } else {
            self.patience.min(READER_PATIENCE)
        };
        world.schedule(patience, Task::GiveUp(client, pending.number));
        self.pending[client] = Some(pending);
    }

    fn on_read_ready(
        &mut self,
        world: &mut RaftWorld,
        id: NodeId,
        number: u64,
    ) -> Result<(), Violation> {
        let Some(client) = self.client_of(number) else {
            return Ok(());
        };
        let pending = self.pending[client]
            .clone()
            .expect("its number was found there");
        let node = world.process(id).expect("it spoke just now");
        let index = node.machine().base.index;
        let value = node.machine().read(pending.key);
        self.reads.served(id, "quorum", index, pending.floor)?;
        self.served.quorum_reads += 1;
        self.finish(world, number, Outcome::Found(value));
        Ok(())
    }

    fn finish(&mut self, world: &mut RaftWorld, number: u64, outcome: Outcome) {
        let Some(client) = self.client_of(number) else {
            return;
        };
        if let Some(pending) = self.pending[client].take() {
            self.record(world, client, pending, outcome);
            self.next(world, client);
        }
    }

    fn drop_pending(&mut self, world: &mut RaftWorld, number: u64) {
        if let Some(client) = self.client_of(number) {
            self.pending[client] = None;
            self.next(world, client);
        }
    }

    fn record(&mut self, world: &mut RaftWorld, client: usize, pending: Pending, outcome: Outcome) {
        let now = world.now();
        let known = u64::from(outcome != Outcome::Unknown);
        let words = [pending.number, u64::from(pending.key), known];
        world.note(NodeId::ZERO, "client", &words, || {
            format!(
                "{client} k{} {:?}: {outcome:?}",
                pending.key, pending.operation
            )
        });
        if pending.operation == Operation::Get && outcome == Outcome::Unknown {
            // It changed nothing and told nobody anything.
            return;
        }
        let call = Call {
            client: client as u64,
            operation: pending.operation,
            outcome,
            called: pending.called,
            returned: now,
        };
        self.history
            .push(Bytes::copy_from_slice(&[b'k', pending.key]), call);
    }

    fn next(&mut self, world: &mut RaftWorld, client: usize) {
        let think = self
            .prng
            .duration(Duration::from_micros(10)..self.think_max);
        world.schedule(think, Task::Client(client));
    }

    fn client_of(&self, number: u64) -> Option<usize> {
        let waits = |slot: &Option<Pending>| slot.as_ref().is_some_and(|p| p.number == number);
        self.pending.iter().position(waits)
    }

    fn draw_operation(&mut self, number: u64) -> Operation {
        if self.prng.below(100) < self.read_percent {
            return Operation::Get;
        }
        let value = Bytes::from(format!("{number}."));
        match self.prng.below(12) {
            0..7 => Operation::Put(value),
            7..9 => Operation::Append(value),
            9 => Operation::Delete,
            10 => Operation::CompareAndSet {
                expected: None,
                value,
            },
            _ => {
                let guess = number.saturating_sub(1 + self.prng.below(8));
                let expected = Some(Bytes::from(format!("{guess}.")));
                Operation::CompareAndSet { expected, value }
            }
        }
    }
}
