//! What runs in the world: one process per node, and what it may touch.

use stdx::{Instant, NodeId, Prng};

use crate::disk::{Disk, DiskError, SyncId};
use crate::trace::Trace;

/// What travels between processes.
pub trait Message: Clone + core::fmt::Debug {
    /// Its size on the wire, for the byte counters.
    fn bytes(&self) -> usize;
    /// A short name for the trace.
    fn label(&self) -> &'static str;
    /// Whether it answers another one: not counted as a request, and what "long
    /// reordering" holds back.
    fn is_reply(&self) -> bool;
    /// Numbers that tell it from others of its kind, for the trace's hash.
    fn words(&self) -> [u64; 3];
}

/// A process of one node: a shell around a pure core that knows no world but this one.
pub trait Process: Sized {
    /// What it needs besides its disk to start.
    type Config;
    /// What it sends and receives.
    type Message: Message;

    /// Starts on what the disk holds.
    ///
    /// # Errors
    ///
    /// A text, when it refuses to start (a corrupt file). It stays down.
    fn boot(
        config: &Self::Config,
        context: &mut Context<'_, Self::Message>,
    ) -> Result<Self, String>;
    /// A message arrived.
    fn on_message(
        &mut self,
        context: &mut Context<'_, Self::Message>,
        from: NodeId,
        message: Self::Message,
    );
    /// The time that [`Process::timeout`] named has come.
    fn on_timeout(&mut self, context: &mut Context<'_, Self::Message>);
    /// A sync that this process began has ended.
    fn on_synced(
        &mut self,
        context: &mut Context<'_, Self::Message>,
        sync: SyncId,
        result: Result<(), DiskError>,
    );
    /// When it wants to be woken, on its own clock.
    fn timeout(&self) -> Option<Instant>;
}

/// What a process may touch while it handles one input.
#[derive(Debug)]
pub struct Context<'a, M> {
    /// This node.
    pub id: NodeId,
    /// This node's clock.
    pub now: Instant,
    /// How often this node has started, from 1.
    pub boot: u64,
    /// This node's disk.
    pub disk: &'a mut Disk,
    /// This node's randomness.
    pub prng: &'a mut Prng,
    pub(crate) world_now: Instant,
    pub(crate) trace: &'a mut Trace,
    pub(crate) outbox: &'a mut Vec<(NodeId, M)>,
    pub(crate) syncs: &'a mut Vec<(SyncId, Instant)>,
    pub(crate) abort: &'a mut Option<String>,
}

impl<M> Context<'_, M> {
    /// Sends a message when the handler has returned.
    pub fn send(&mut self, to: NodeId, message: M) {
        self.outbox.push((to, message));
    }

    /// The world's time: what a clock that is never wrong shows. For what stands for the
    /// system's clock synchronisation, and for nothing else.
    #[must_use]
    pub const fn reference(&self) -> Instant {
        self.world_now
    }

    /// Begins to make durable what was written to the disk; [`Process::on_synced`] follows.
    pub fn sync(&mut self) -> SyncId {
        let (sync, end) = self.disk.begin_sync(self.world_now);
        self.syncs.push((sync, end));
        sync
    }

    /// Ends this process as a crash does, when the handler has returned: a poisoned log.
    pub fn abort(&mut self, reason: impl Into<String>) {
        self.abort.get_or_insert_with(|| reason.into());
    }

    /// Writes a line of the trace; see [`Trace::event`].
    pub fn trace(&mut self, code: &'static str, words: &[u64], detail: impl FnOnce() -> String) {
        self.trace
            .event(self.world_now, self.id, code, words, detail);
    }
}
