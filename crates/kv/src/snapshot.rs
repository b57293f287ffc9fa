//! Snapshots between nodes: one thread that does all of their file work.
//!
//! The sender writes the engine's snapshot to a file first (a *spool*), because a follower reads
//! it piece by piece, with pauses, from its start or from wherever it was interrupted. The receiver
//! collects the pieces in a file of its own, and only a complete one touches the engine. See
//! `receive.rs` for what a crash in between leaves behind.

mod receive;
mod send;

pub(crate) use receive::{clean_up, pending_installation};

use core::mem;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use raft::{LogBase, SnapshotFailure, SnapshotId};
use stdx::{GroupId, LogIndex, NodeId};

use crate::node::handle::Shared;
use crate::node::inbox::Control;
use crate::snapshot::receive::Receiver;
use crate::snapshot::send::Spools;

/// The piece of a snapshot that a follower gets next.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece {
    pub(crate) to: NodeId,
    pub(crate) snapshot: Option<SnapshotId>,
    pub(crate) offset: u64,
    pub(crate) bytes_max: usize,
    /// An older snapshot would not help: the log begins here.
    pub(crate) floor: LogIndex,
}

/// Work for the snapshot thread.
#[derive(Debug)]
pub(crate) enum Job {
    Read {
        group: GroupId,
        piece: Piece,
    },
    Release {
        to: NodeId,
        snapshot: SnapshotId,
    },
    Store {
        group: GroupId,
        snapshot: SnapshotId,
        offset: u64,
        data: Bytes,
    },
    Install {
        group: GroupId,
        snapshot: SnapshotId,
        base: LogBase,
    },
    Discard {
        snapshot: SnapshotId,
    },
    /// The log stands on the installed snapshot: its files are not needed any more.
    Forget,
}

#[derive(Debug, Default)]
struct State {
    jobs: Vec<Job>,
    closed: bool,
}

/// The way to the snapshot thread. Bounded: Raft has one piece per follower under way.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    bell: Condvar,
}

impl Queue {
    pub(crate) fn push(&self, job: Job) {
        self.state.lock().jobs.push(job);
        self.bell.notify_one();
    }

    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.bell.notify_one();
    }

    fn take(&self) -> Option<Vec<Job>> {
        let mut state = self.state.lock();
        loop {
            if state.closed {
                return None;
            }
            if !state.jobs.is_empty() {
                return Some(mem::take(&mut state.jobs));
            }
            self.bell.wait(&mut state);
        }
    }
}

/// The snapshot thread.
pub(crate) struct SnapshotThread {
    pub(crate) queue: Arc<Queue>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) dir: PathBuf,
}

impl SnapshotThread {
    /// Works until the queue is closed.
    pub(crate) fn run(self) -> Result<(), String> {
        let mut spools = Spools::new(self.dir.clone());
        let mut receiver = Receiver::new(self.dir.clone());
        while let Some(jobs) = self.queue.take() {
            for job in jobs {
                self.work(&mut spools, &mut receiver, job)?;
            }
        }
        Ok(())
    }

    fn work(&self, spools: &mut Spools, receiver: &mut Receiver, job: Job) -> Result<(), String> {
        let answer = match job {
            Job::Read { group, piece } => match spools.read(&*self.shared.engine, piece) {
                Ok(chunk) => Control::ChunkRead(group, chunk),
                Err(error) => {
                    let to = piece.to;
                    tracing::warn!("could not read a snapshot for {to}: {error}; trying again");
                    Control::SnapshotFailed(group, SnapshotFailure::Read { to })
                }
            },
            Job::Release { to, snapshot } => {
                spools.release(to, snapshot);
                return Ok(());
            }
            Job::Store {
                group,
                snapshot,
                offset,
                data,
            } => match receiver.store(snapshot, offset, &data) {
                Ok(bytes) => Control::ChunkStored {
                    group,
                    snapshot,
                    bytes,
                },
                Err(error) => {
                    tracing::warn!("could not store a piece of a snapshot: {error}");
                    Control::SnapshotFailed(group, SnapshotFailure::Receive { snapshot })
                }
            },
            Job::Install {
                group,
                snapshot,
                base,
            } => match receiver.install(&*self.shared.engine, group, snapshot, &base)? {
                Ok(()) => Control::Installed {
                    group,
                    snapshot,
                    index: base.index,
                },
                Err(error) => {
                    tracing::warn!("could not install a snapshot: {error}; asking again");
                    Control::SnapshotFailed(group, SnapshotFailure::Receive { snapshot })
                }
            },
            Job::Discard { snapshot } => {
                receiver.discard(snapshot);
                return Ok(());
            }
            Job::Forget => {
                receiver.forget();
                return Ok(());
            }
        };
        self.shared.inbox.control(answer);
        Ok(())
    }
}
