//! The threads and tasks of a node, and how they end.

use core::panic::AssertUnwindSafe;
use core::time::Duration;
use std::panic::catch_unwind;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};

use parking_lot::Mutex;
use stdx::NodeId;
use tokio::task::{AbortHandle, spawn_blocking};
use tokio::time::timeout;

use crate::config::OnFatal;
use crate::node::disk::DataDir;
use crate::node::fetcher;
use crate::node::handle::{Farewell, Handle, Shared};
use crate::node::inbox::Control;
use crate::node::keeper::Keeper;
use crate::node::log_writer::LogQueue;
use crate::node::status::Role;
use crate::snapshot;
use crate::transport::Transport;

/// Runs a thread of the node. A failure or a panic in any of them is the end of the node.
pub(crate) fn spawn(
    shared: &Arc<Shared>,
    name: &str,
    body: impl FnOnce() -> Result<(), String> + Send + 'static,
) -> std::io::Result<JoinHandle<()>> {
    let shared = Arc::clone(shared);
    let name = format!("n{}-{name}", shared.identity.node.get());
    thread::Builder::new().name(name.clone()).spawn(move || {
        // Nothing of what the body touched is looked at again: the node ends.
        match catch_unwind(AssertUnwindSafe(body)) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => fail(&shared, &error),
            Err(_) => fail(&shared, &format!("the thread {name} panicked")),
        }
    })
}

/// Ends the node, because going on could break its promises.
fn fail(shared: &Shared, reason: &str) {
    let node = shared.identity.node;
    tracing::error!("{node} can't go on: {reason}");
    if shared.config.on_fatal == OnFatal::Abort {
        // The line above may be buffered by whoever collects it, so it is said once more.
        let line = format!("fatal: {node} can't go on: {reason}\n");
        let _ = std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes());
        std::process::abort();
    }
    shared.halted.store(true, Ordering::Release);
    shared.failed.send_replace(Some(reason.into()));
    shared.inbox.close();
}

/// What has to be ended.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) worker: JoinHandle<()>,
    pub(crate) writer: JoinHandle<()>,
    pub(crate) keeper: JoinHandle<()>,
    pub(crate) fetcher: JoinHandle<()>,
    pub(crate) snapshots: JoinHandle<()>,
    pub(crate) tasks: Vec<AbortHandle>,
    /// Last: the directory is free for another process from here.
    pub(crate) data: DataDir,
}

/// The queues that the threads wait at.
#[derive(Debug)]
pub(crate) struct Queues {
    pub(crate) log: Arc<LogQueue>,
    pub(crate) fetches: Arc<fetcher::Queue>,
    pub(crate) snapshots: Arc<snapshot::Queue>,
    pub(crate) keeper: Arc<Keeper>,
}

/// A node's threads, until they are ended in one way or the other.
#[derive(Debug)]
pub(crate) struct Runner {
    pub(crate) shared: Arc<Shared>,
    pub(crate) transport: Transport,
    pub(crate) queues: Queues,
    pub(crate) running: Mutex<Option<Running>>,
}

impl Runner {
    /// Stops everything where it is, as a crash would.
    pub(crate) fn halt(&self) {
        let running = self.running.lock().take();
        let Some(running) = running else { return };
        self.shared.halted.store(true, Ordering::Release);
        self.shared.inbox.close();
        self.queues.log.close(false);
        self.queues.keeper.close(false);
        self.end(running);
        self.shared.stopped.send_replace(true);
    }

    /// Ends the node in order. Leadership first, so that the cluster goes on without a pause.
    pub(crate) async fn shut_down(self: Arc<Self>, farewell: Farewell) {
        let limit = self.shared.config.shutdown_timeout;
        let shared = Arc::clone(&self.shared);
        let handle = Handle {
            shared,
            transport: self.transport.clone(),
        };
        match farewell {
            // A hand-over that takes longer than an election is worth nothing.
            Farewell::HandOver => {
                let election = self.shared.config.raft.election_timeout_max;
                self.hand_over(&handle, election.min(limit / 2)).await;
            }
            Farewell::Together => {}
        }
        self.shared.shutting_down.store(true, Ordering::Release);
        self.shared.inbox.control(Control::Stop);
        let running = self.running.lock().take();
        if let Some(running) = running {
            let runner = Arc::clone(&self);
            let ended = spawn_blocking(move || runner.end_in_order(running));
            if timeout(limit, ended).await.is_err() {
                tracing::warn!("the shutdown took too long: what is not written down is replayed");
            }
        }
        self.shared.stopped.send_replace(true);
    }

    /// Gives leadership to another voter, if this node has it and there is one.
    async fn hand_over(&self, handle: &Handle, limit: Duration) {
        let snapshot = self.shared.published.snapshot();
        let own = self.shared.identity.node;
        let is_other = |voter: &NodeId| *voter != own;
        if snapshot.role != Role::Leader || !snapshot.membership.voters.iter().any(is_other) {
            return;
        }
        match timeout(limit, handle.transfer(None)).await {
            Ok(Ok(leader)) => tracing::info!("handed leadership to {leader}"),
            Ok(Err(error)) => tracing::warn!("could not hand leadership over: {error}"),
            Err(_) => tracing::warn!("could not hand leadership over in time"),
        }
    }

    fn end_in_order(&self, running: Running) {
        let Running {
            worker,
            writer,
            keeper,
            fetcher,
            snapshots,
            tasks,
            data,
        } = running;
        // Proposals under way need the log and the other nodes until the worker is done.
        join(worker);
        self.queues.log.close(true);
        join(writer);
        self.queues.keeper.close(true);
        join(keeper);
        self.finish(fetcher, snapshots, &tasks);
        drop(data);
    }

    fn end(&self, running: Running) {
        let Running {
            worker,
            writer,
            keeper,
            fetcher,
            snapshots,
            tasks,
            data,
        } = running;
        join(worker);
        join(writer);
        join(keeper);
        self.finish(fetcher, snapshots, &tasks);
        drop(data);
    }

    fn finish(&self, fetcher: JoinHandle<()>, snapshots: JoinHandle<()>, tasks: &[AbortHandle]) {
        self.queues.fetches.close();
        self.queues.snapshots.close();
        join(fetcher);
        join(snapshots);
        for task in tasks {
            task.abort();
        }
        self.transport.close();
    }
}

/// Waits for a thread. Panics inside were caught and reported there.
fn join(thread: JoinHandle<()>) {
    drop(thread.join());
}
