//! The background thread that keeps the log short and watches the disk.
//!
//! A checkpoint writes what changed since the last one; it costs the more the longer it is put
//! off, but overwritten values are written once. So it is due when enough has changed, or after a
//! while. The log may be cut behind a state that was forced to disk, which is due when enough log
//! has been written: that also bounds what a restart replays.

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use crate::node::disk::free_bytes;
use crate::node::full_disk::Finder;
use crate::node::handle::Shared;
use crate::node::inbox::{Admin, Control};
use crate::node::log_writer::describe;
use crate::transport::Transport;

/// How often the disk's free space and the queues are looked at.
const LOOK_PERIOD: Duration = Duration::from_secs(1);

/// Pause after a checkpoint that found the disk full.
const DISK_FULL_PAUSE: Duration = Duration::from_secs(1);

/// A node with a full disk gives leadership away at most so often: the others may be no better.
const HAND_OVER_PERIOD: Duration = Duration::from_secs(30);

/// A change waits at most so long for a checkpoint.
const CHECKPOINT_PERIOD: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
struct State {
    woken: bool,
    closed: bool,
    /// Leave a complete checkpoint behind when closing.
    finish: bool,
}

/// The way to the background thread.
#[derive(Debug)]
pub(crate) struct Keeper {
    state: Mutex<State>,
    bell: Condvar,
    /// Bytes applied since the start.
    applied_bytes: AtomicU64,
    /// The amount of them at which the thread wants to be woken.
    wake_at: AtomicU64,
    step: u64,
}

impl Keeper {
    /// `step` is how many applied bytes make a look worthwhile.
    pub(crate) fn new(step: u64) -> Self {
        Self {
            state: Mutex::default(),
            bell: Condvar::new(),
            applied_bytes: AtomicU64::new(0),
            wake_at: AtomicU64::new(step),
            step,
        }
    }

    /// So many bytes are applied since the start. Cheap; called after every batch.
    pub(crate) fn applied(&self, bytes: u64) {
        self.applied_bytes.store(bytes, Ordering::Relaxed);
        if bytes >= self.wake_at.load(Ordering::Relaxed) {
            self.wake_at.store(bytes + self.step, Ordering::Relaxed);
            self.state.lock().woken = true;
            self.bell.notify_one();
        }
    }

    pub(crate) fn close(&self, finish: bool) {
        let mut state = self.state.lock();
        state.closed = true;
        state.finish = finish;
        drop(state);
        self.bell.notify_one();
    }

    /// Waits for the next look. `Some(finish)` if it is the last.
    fn wait(&self) -> Option<bool> {
        let mut state = self.state.lock();
        if !state.closed && !state.woken {
            // A timeout and a wake-up are dealt with alike.
            let _timed_out = self.bell.wait_for(&mut state, LOOK_PERIOD);
        }
        state.woken = false;
        state.closed.then_some(state.finish)
    }
}

/// The background thread.
pub(crate) struct KeeperThread {
    pub(crate) keeper: Arc<Keeper>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) transport: Transport,
}

/// When what was done last.
struct Past {
    checkpointed: Instant,
    /// The bytes applied when the state was last forced to disk.
    persisted_bytes: u64,
    /// A checkpoint found the disk full.
    failed: Option<Instant>,
    /// Leadership was given away for want of space.
    handed_over: Option<Instant>,
}

impl KeeperThread {
    pub(crate) fn run(self) -> Result<(), String> {
        let mut past = Past {
            checkpointed: Instant::now(),
            persisted_bytes: 0,
            failed: None,
            handed_over: None,
        };
        loop {
            let end = self.keeper.wait();
            self.watch_disk();
            self.measure();
            if let Some(finish) = end {
                if finish && !self.persist()? {
                    tracing::warn!("what is not written down will be replayed from the log");
                }
                return Ok(());
            }
            self.make_room(&mut past);
            if past.failed.is_none_or(|at| at.elapsed() >= DISK_FULL_PAUSE) {
                self.write_down(&mut past)?;
            }
        }
    }

    /// Checkpoints if it is due.
    fn write_down(&self, past: &mut Past) -> Result<(), String> {
        let config = &self.shared.config;
        let applied_bytes = self.keeper.applied_bytes.load(Ordering::Relaxed);
        let dirty = self.shared.engine.stats().dirty_bytes;
        let done = if applied_bytes - past.persisted_bytes >= config.checkpoint_log.get() {
            let done = self.persist()?;
            if done {
                past.persisted_bytes = applied_bytes;
            }
            done
        } else if dirty >= config.checkpoint_dirty.get()
            || (dirty > 0 && past.checkpointed.elapsed() >= CHECKPOINT_PERIOD)
            || past.failed.is_some()
        {
            self.timed(|| self.shared.engine.checkpoint().map(drop))?
        } else {
            return Ok(());
        };
        if done {
            past.checkpointed = Instant::now();
            past.failed = None;
        } else {
            past.failed = Some(Instant::now());
        }
        Ok(())
    }

    /// Forces the state to disk and lets the log be cut behind it. False if the disk is full.
    fn persist(&self) -> Result<bool, String> {
        self.timed(|| {
            let through = self.shared.engine.persist()?;
            let group = self.shared.group;
            self.shared
                .inbox
                .control(Control::Compact { group, through });
            Ok(())
        })
    }

    /// Writes a checkpoint. False if there is no room for it, which loses nothing: the log holds
    /// all of it.
    fn timed(
        &self,
        work: impl FnOnce() -> Result<(), engine::EngineError>,
    ) -> Result<bool, String> {
        let began = Instant::now();
        let full_disk = &self.shared.full_disk;
        match work() {
            Ok(()) => {
                if full_disk.state(Finder::Checkpoint, false) {
                    tracing::info!("the disk has space again: a checkpoint was written");
                }
            }
            Err(error) if error.is_disk_full() => {
                if full_disk.state(Finder::Checkpoint, true) {
                    tracing::error!("{error}; writes are refused until then");
                }
                return Ok(false);
            }
            Err(error) => return Err(describe(&error)),
        }
        let metrics = &self.shared.metrics;
        metrics.checkpoints.increment(1);
        metrics
            .checkpoint_seconds
            .record(began.elapsed().as_secs_f64());
        Ok(true)
    }

    /// Somebody else should lead while this node takes no writes.
    fn make_room(&self, past: &mut Past) {
        let shared = &*self.shared;
        let recently = past
            .handed_over
            .is_some_and(|at| at.elapsed() < HAND_OVER_PERIOD);
        if recently || !shared.full_disk.is_full() || !shared.published.is_leading() {
            return;
        }
        let own = shared.identity.node;
        let snapshot = shared.published.snapshot();
        if !snapshot.membership.voters.iter().any(|voter| *voter != own) {
            return;
        }
        past.handed_over = Some(Instant::now());
        tracing::warn!("{own} gives leadership away, because its disk is full");
        // What comes of it is logged by the Raft thread.
        let (answer, _) = oneshot::channel();
        let transfer = Admin::Transfer { to: None, answer };
        shared.inbox.control(Control::Admin(shared.group, transfer));
    }

    /// Refuses writes before the disk is really full, and takes them again.
    fn watch_disk(&self) {
        let reserve = self.shared.config.disk_reserve.get();
        if reserve == 0 {
            return;
        }
        let dir = &self.shared.config.data_dir;
        // If it can't be found out, the log will say so when it fails.
        let Ok(free) = free_bytes(dir) else { return };
        let full = free < reserve;
        if !self.shared.full_disk.state(Finder::Reserve, full) {
            return;
        }
        if full {
            tracing::error!(
                "the disk of {} is full ({} MiB left): writes are refused until there is space \
                 again; reads go on",
                dir.display(),
                free >> 20
            );
        } else {
            tracing::info!(
                "the disk of {} has space again: writes go on",
                dir.display()
            );
        }
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "gauges are floats; sizes stay below 2^53"
    )]
    fn measure(&self) {
        let index = self.shared.engine.applied().get();
        self.shared.metrics.applied_index.set(index as f64);
        for (peer, bytes, dropped) in self.transport.measure() {
            let peer = peer.get().to_string();
            metrics::gauge!("kontiki_peer_queue_bytes", "peer" => peer.clone()).set(bytes as f64);
            metrics::counter!("kontiki_peer_dropped_total", "peer" => peer).increment(dropped);
        }
    }
}
