//! The node: Raft driver, log thread, reads, membership, shutdown.
//!
//! See `docs/internals/node.md` for the threads, the loop and what is durable when.

pub(crate) mod clock;
pub(crate) mod disk;
pub(crate) mod error;
mod fetcher;
pub(crate) mod full_disk;
mod group;
pub(crate) mod handle;
pub(crate) mod inbox;
mod keeper;
pub(crate) mod log_writer;
mod publish;
mod recovery;
mod runner;
mod start;
mod status;
pub(crate) mod submission;
mod telemetry;
mod worker;

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};

use crate::config::{Config, Valid};
pub use error::{AdminError, ExecuteError, ReadError, StartError};
pub use handle::{Handle, ReadGuard};
pub use status::{DataStatus, DiskStatus, MemberStatus, NodeStatus, Role};

/// A running node.
///
/// Dropping it without [`Handle::shutdown`] is a crash: its threads stop where they are.
#[derive(Debug)]
pub struct Node {
    handle: Handle,
    listen_address: Option<SocketAddr>,
    grpc: Option<mpsc::Receiver<TcpStream>>,
    runner: Arc<runner::Runner>,
}

impl Node {
    /// Locks and recovers the data directory, listens, and starts the node's threads.
    ///
    /// # Errors
    ///
    /// See [`StartError`]: each message says what to do.
    pub async fn start(config: Valid<Config>) -> Result<Self, StartError> {
        start::start(config).await
    }

    /// A reference for front doors.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Where gRPC clients and other nodes connect; nowhere to an embedded node.
    #[must_use]
    pub const fn listen_address(&self) -> Option<SocketAddr> {
        self.listen_address
    }

    /// The connections of gRPC clients, once: for `tonic`'s `serve_with_incoming`. None come to an
    /// embedded node.
    pub const fn grpc_incoming(&mut self) -> Option<mpsc::Receiver<TcpStream>> {
        self.grpc.take()
    }

    /// Becomes `Some` when the node can't go on, with the reason.
    #[must_use]
    pub fn failed(&self) -> watch::Receiver<Option<Arc<str>>> {
        self.handle.shared.failed.subscribe()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.runner.halt();
    }
}
