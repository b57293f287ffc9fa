//! The world: runs processes, carries messages, moves time, breaks things.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use stdx::{Instant, NodeId, Prng};

use crate::clock::NodeClock;
use crate::disk::{Disk, DiskOptions, SyncId};
use crate::network::{Network, NetworkOptions};
use crate::process::{Context, Message, Process};
use crate::queue::EventQueue;
use crate::trace::{Recording, Trace};

/// Inputs that a paused process may have waiting; more are lost, as a socket's buffer
/// loses them.
const PAUSED_INPUTS_MAX: usize = 4_096;

/// Timers of one node that may fire at one moment before the world calls it a loop.
const TIMERS_PER_MOMENT_MAX: u32 = 1_000;

/// What a world is made of.
#[derive(Clone, Copy, Debug)]
pub struct WorldOptions {
    /// The network at first.
    pub network: NetworkOptions,
    /// Every node's disk at first.
    pub disk: DiskOptions,
    /// Largest drift of a node's clock, either way; each node draws its own.
    pub drift_ppm_max: u32,
    /// How much of the trace is kept.
    pub recording: Recording,
}

/// What one step of the world was.
#[derive(Debug, Eq, PartialEq)]
pub enum Step<T> {
    /// A node handled an input: its state may have changed.
    Node(NodeId),
    /// A node stopped of its own accord, or refused to start.
    Stopped(NodeId, String),
    /// A task of the harness fell due.
    Task(T),
    /// Something was lost or came to nothing.
    Nothing,
}

/// Whether a node's process runs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Liveness {
    /// It runs.
    Up,
    /// It is stopped like by SIGSTOP: inputs wait.
    Paused,
    /// It doesn't run: inputs are lost.
    Down,
}

enum Event<M, T> {
    Deliver {
        from: NodeId,
        to: NodeId,
        message: M,
    },
    Timer {
        node: NodeId,
        generation: u64,
    },
    Synced {
        node: NodeId,
        boot: u64,
        sync: SyncId,
    },
    Task(T),
}

enum Input<M> {
    Message { from: NodeId, message: M },
    Synced { boot: u64, sync: SyncId },
}

struct Host<P: Process> {
    config: P::Config,
    process: Option<P>,
    paused: bool,
    waiting: VecDeque<Input<P::Message>>,
    boot: u64,
    clock: NodeClock,
    disk: Disk,
    prng: Prng,
    armed_at: Option<Instant>,
    generation: u64,
    timers_now: (Instant, u32),
}

/// Processes of type `P`, and a harness that schedules tasks of type `T`.
///
/// Everything that happens follows from the seed, the options and what the harness does.
pub struct World<P: Process, T> {
    now: Instant,
    queue: EventQueue<Event<P::Message, T>>,
    hosts: BTreeMap<NodeId, Host<P>>,
    options: WorldOptions,
    prng: Prng,
    network: Network,
    trace: Trace,
    // Buffers that handlers fill; kept to save allocations.
    outbox: Vec<(NodeId, P::Message)>,
    syncs: Vec<(SyncId, Instant)>,
}

impl<P: Process, T> World<P, T> {
    /// An empty world.
    #[must_use]
    pub fn new(seed: u64, options: WorldOptions) -> Self {
        let mut prng = Prng::from_seed(seed);
        let network = Network::new(options.network, prng.split());
        Self {
            now: Instant::EPOCH,
            queue: EventQueue::new(),
            hosts: BTreeMap::new(),
            options,
            prng,
            network,
            trace: Trace::new(options.recording),
            outbox: Vec::new(),
            syncs: Vec::new(),
        }
    }

    /// Adds a machine with an empty disk and a clock of its own. It isn't running yet.
    ///
    /// # Panics
    ///
    /// When the node exists.
    pub fn add_host(&mut self, id: NodeId, config: P::Config) {
        let mut prng = self.prng.split();
        let range = u64::from(self.options.drift_ppm_max) * 2 + 1;
        let drift = i64::try_from(prng.below(range)).expect("a drift of a few thousand ppm")
            - i64::from(self.options.drift_ppm_max);
        let drift = i32::try_from(drift).expect("a drift of a few thousand ppm");
        let start = Instant::from_nanos(prng.below(1_000_000_000_000));
        let host = Host {
            config,
            process: None,
            paused: false,
            waiting: VecDeque::new(),
            boot: 0,
            clock: NodeClock::new(self.now, start, drift),
            disk: Disk::new(self.options.disk, prng.split()),
            prng,
            armed_at: None,
            generation: 0,
            timers_now: (Instant::EPOCH, 0),
        };
        assert!(
            self.hosts.insert(id, host).is_none(),
            "a node is added once"
        );
    }

    /// Starts a node's process on what its disk holds; nothing if it runs already.
    ///
    /// # Errors
    ///
    /// What the process says when it refuses to start.
    pub fn start(&mut self, id: NodeId) -> Result<(), String> {
        let Some(host) = self.hosts.get_mut(&id) else {
            return Err("there is no such machine".to_owned());
        };
        if host.process.is_some() {
            return Ok(());
        }
        host.boot += 1;
        host.paused = false;
        self.trace.event(self.now, id, "start", &[host.boot], || {
            format!("boot {}", host.boot)
        });
        let mut abort = None;
        let mut context = Context {
            id,
            now: host.clock.local(self.now),
            boot: host.boot,
            disk: &mut host.disk,
            prng: &mut host.prng,
            world_now: self.now,
            trace: &mut self.trace,
            outbox: &mut self.outbox,
            syncs: &mut self.syncs,
            abort: &mut abort,
        };
        let booted = P::boot(&host.config, &mut context);
        match (booted, abort) {
            (Ok(process), None) => {
                host.process = Some(process);
                self.after_input(id);
                Ok(())
            }
            (Err(reason), _) | (_, Some(reason)) => {
                self.outbox.clear();
                self.syncs.clear();
                self.trace
                    .event(self.now, id, "refuse", &[], || reason.clone());
                Err(reason)
            }
        }
    }

    /// Kills a node's process; its disk decides what survives.
    pub fn crash(&mut self, id: NodeId) {
        let Some(host) = self.hosts.get_mut(&id) else {
            return;
        };
        if host.process.take().is_some() {
            host.disk.crash();
            host.waiting.clear();
            host.paused = false;
            host.armed_at = None;
            host.generation += 1;
            self.trace.event(self.now, id, "crash", &[], String::new);
        }
    }

    /// Stops a node's process like SIGSTOP: its clock runs on, its inputs wait.
    pub fn pause(&mut self, id: NodeId) {
        if let Some(host) = self.hosts.get_mut(&id)
            && host.process.is_some()
        {
            host.paused = true;
            self.trace.event(self.now, id, "pause", &[], String::new);
        }
    }

    /// Continues a paused process: it handles what waited, then its timer.
    pub fn resume(&mut self, id: NodeId) {
        let Some(host) = self.hosts.get_mut(&id) else {
            return;
        };
        if !host.paused {
            return;
        }
        host.paused = false;
        self.trace.event(self.now, id, "resume", &[], String::new);
        while let Some(input) = self.hosts.get_mut(&id).and_then(|h| h.waiting.pop_front()) {
            self.handle(id, input);
        }
        self.arm(id);
    }

    /// Lets a node's clock leap forwards.
    pub fn jump_clock(&mut self, id: NodeId, by: Duration) {
        if let Some(host) = self.hosts.get_mut(&id) {
            host.clock.jump(self.now, by);
            let nanos = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
            self.trace
                .event(self.now, id, "jump", &[nanos], || format!("{by:?}"));
            self.arm(id);
        }
    }

    /// Schedules a task of the harness.
    pub fn schedule(&mut self, after: Duration, task: T) {
        self.queue.push(self.now.after(after), Event::Task(task));
    }

    /// Lets a node's process handle an input of the harness; `None` unless it is up.
    pub fn act<R>(
        &mut self,
        id: NodeId,
        action: impl FnOnce(&mut P, &mut Context<'_, P::Message>) -> R,
    ) -> Option<R> {
        let host = self.hosts.get_mut(&id).filter(|host| !host.paused)?;
        let process = host.process.as_mut()?;
        let mut abort = None;
        let mut context = Context {
            id,
            now: host.clock.local(self.now),
            boot: host.boot,
            disk: &mut host.disk,
            prng: &mut host.prng,
            world_now: self.now,
            trace: &mut self.trace,
            outbox: &mut self.outbox,
            syncs: &mut self.syncs,
            abort: &mut abort,
        };
        let result = action(process, &mut context);
        if let Some(reason) = abort {
            // It died before anything that it asked for was done.
            self.outbox.clear();
            self.syncs.clear();
            self.stop(id, &reason);
        } else {
            self.after_input(id);
        }
        Some(result)
    }

    /// Lets the next event happen; `None` when there is none before `until`, and then the
    /// world's time is `until`.
    ///
    /// # Panics
    ///
    /// When time would run backwards, or a process names a past timeout for ever.
    pub fn step(&mut self, until: Instant) -> Option<Step<T>> {
        if self.queue.next_at().is_none_or(|at| at > until) {
            self.now = self.now.max(until);
            return None;
        }
        let (at, event) = self.queue.pop()?;
        assert!(at >= self.now, "time doesn't run backwards");
        self.now = at;
        Some(match event {
            Event::Deliver { from, to, message } => self.deliver(from, to, message),
            Event::Timer { node, generation } => self.fire(node, generation),
            Event::Synced { node, boot, sync } => self.handle(node, Input::Synced { boot, sync }),
            Event::Task(task) => Step::Task(task),
        })
    }

    /// What the world was made of.
    #[must_use]
    pub const fn options(&self) -> &WorldOptions {
        &self.options
    }

    /// The world's time.
    #[must_use]
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// A node's own time.
    #[must_use]
    pub fn local_now(&self, id: NodeId) -> Option<Instant> {
        self.hosts.get(&id).map(|host| host.clock.local(self.now))
    }

    /// Every machine there is.
    pub fn hosts(&self) -> impl Iterator<Item = NodeId> {
        self.hosts.keys().copied()
    }

    /// A node's process, paused ones too.
    #[must_use]
    pub fn process(&self, id: NodeId) -> Option<&P> {
        self.hosts.get(&id)?.process.as_ref()
    }

    /// The processes that run or are paused.
    pub fn processes(&self) -> impl Iterator<Item = (NodeId, &P)> {
        self.hosts
            .iter()
            .filter_map(|(&id, host)| Some((id, host.process.as_ref()?)))
    }

    /// Whether a node's process runs.
    #[must_use]
    pub fn liveness(&self, id: NodeId) -> Liveness {
        match self.hosts.get(&id) {
            Some(host) if host.process.is_some() && host.paused => Liveness::Paused,
            Some(host) if host.process.is_some() => Liveness::Up,
            _ => Liveness::Down,
        }
    }

    /// A node's disk.
    pub fn disk(&mut self, id: NodeId) -> Option<&mut Disk> {
        self.hosts.get_mut(&id).map(|host| &mut host.disk)
    }

    /// What a node's next process will be started with.
    pub fn config(&mut self, id: NodeId) -> Option<&mut P::Config> {
        self.hosts.get_mut(&id).map(|host| &mut host.config)
    }

    /// The network, to look at.
    #[must_use]
    pub const fn network(&self) -> &Network {
        &self.network
    }

    /// The network, to change.
    pub const fn network_mut(&mut self) -> &mut Network {
        &mut self.network
    }

    /// The trace.
    #[must_use]
    pub const fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Writes a line of the harness into the trace.
    pub fn note(
        &mut self,
        node: NodeId,
        code: &'static str,
        words: &[u64],
        detail: impl FnOnce() -> String,
    ) {
        self.trace.event(self.now, node, code, words, detail);
    }

    fn deliver(&mut self, from: NodeId, to: NodeId, message: P::Message) -> Step<T> {
        if !self.network.arrives(from, to) || self.liveness(to) == Liveness::Down {
            return Step::Nothing;
        }
        self.handle(to, Input::Message { from, message })
    }

    fn handle(&mut self, id: NodeId, input: Input<P::Message>) -> Step<T> {
        let Some(host) = self.hosts.get_mut(&id) else {
            return Step::Nothing;
        };
        if host.paused {
            if host.waiting.len() < PAUSED_INPUTS_MAX || matches!(input, Input::Synced { .. }) {
                host.waiting.push_back(input);
            }
            return Step::Nothing;
        }
        let current_boot = host.boot;
        match input {
            Input::Message { from, message } => {
                let [a, b, c] = message.words();
                let words = [from.get(), a, b, c];
                self.trace.event(self.now, id, "recv", &words, || {
                    format!("{from} {} {a} {b} {c}", message.label())
                });
                self.step_process(id, |process, context| {
                    process.on_message(context, from, message);
                })
            }
            Input::Synced { boot, sync } if boot == current_boot && host.process.is_some() => {
                let result = host.disk.end_sync(sync);
                self.trace
                    .event(self.now, id, "synced", &[u64::from(result.is_ok())], || {
                        format!("{result:?}")
                    });
                self.step_process(id, |process, context| {
                    process.on_synced(context, sync, result);
                })
            }
            Input::Synced { .. } => Step::Nothing,
        }
    }

    fn fire(&mut self, id: NodeId, generation: u64) -> Step<T> {
        let now = self.now;
        let Some(host) = self.hosts.get_mut(&id) else {
            return Step::Nothing;
        };
        if host.generation != generation {
            return Step::Nothing;
        }
        host.armed_at = None;
        if host.paused {
            return Step::Nothing;
        }
        let local = host.clock.local(now);
        let due = host
            .process
            .as_ref()
            .and_then(P::timeout)
            .is_some_and(|at| at <= local);
        if !due {
            self.arm(id);
            return Step::Nothing;
        }
        if host.timers_now.0 == now {
            host.timers_now.1 += 1;
            assert!(
                host.timers_now.1 < TIMERS_PER_MOMENT_MAX,
                "{id} names a past timeout again and again"
            );
        } else {
            host.timers_now = (now, 1);
        }
        self.step_process(id, P::on_timeout)
    }

    fn step_process(
        &mut self,
        id: NodeId,
        action: impl FnOnce(&mut P, &mut Context<'_, P::Message>),
    ) -> Step<T> {
        let boot = self.hosts.get(&id).map(|host| host.boot);
        if self.act(id, action).is_none() {
            return Step::Nothing;
        }
        match self.hosts.get(&id) {
            Some(host) if host.process.is_none() && Some(host.boot) == boot => {
                Step::Stopped(id, "it stopped itself".to_owned())
            }
            _ => Step::Node(id),
        }
    }

    fn stop(&mut self, id: NodeId, reason: &str) {
        self.trace
            .event(self.now, id, "abort", &[], || reason.to_owned());
        self.crash(id);
    }

    /// Carries out what a handler asked for.
    fn after_input(&mut self, id: NodeId) {
        let boot = self.hosts.get(&id).map_or(0, |host| host.boot);
        for (sync, end) in core::mem::take(&mut self.syncs) {
            let node = id;
            self.queue.push(end, Event::Synced { node, boot, sync });
        }
        let mut outbox = core::mem::take(&mut self.outbox);
        for (to, message) in outbox.drain(..) {
            let link = (id, to);
            let arrivals = self
                .network
                .send(self.now, link, message.bytes(), message.is_reply());
            if let Some(at) = arrivals.second {
                let message = message.clone();
                self.queue.push(
                    at,
                    Event::Deliver {
                        from: id,
                        to,
                        message,
                    },
                );
            }
            if let Some(at) = arrivals.first {
                self.queue.push(
                    at,
                    Event::Deliver {
                        from: id,
                        to,
                        message,
                    },
                );
            }
        }
        self.outbox = outbox;
        self.arm(id);
    }

    /// Makes sure that the world wakes a node no later than it wants.
    fn arm(&mut self, id: NodeId) {
        let Some(host) = self.hosts.get_mut(&id) else {
            return;
        };
        let Some(wanted) = host.process.as_ref().and_then(P::timeout) else {
            return;
        };
        let at = host.clock.world(wanted, self.now);
        if host.armed_at.is_some_and(|armed| armed <= at) {
            return;
        }
        host.armed_at = Some(at);
        host.generation += 1;
        let generation = host.generation;
        self.queue.push(
            at,
            Event::Timer {
                node: id,
                generation,
            },
        );
    }
}

impl<P: Process, T> core::fmt::Debug for World<P, T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("World")
            .field("now", &self.now)
            .field("hosts", &self.hosts.keys())
            .field("events", &self.queue.len())
            .finish_non_exhaustive()
    }
}
