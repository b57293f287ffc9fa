//! Servers, workers and clients with fast heartbeats.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use kv::store::Store;
use miner::client::{Job, Outcome, ask};
use miner::worker::{self, WorkerConfig};
use miner::{Server, ServerConfig};
use miner_kernels::{Best, Kernel, Message, Problem};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A peer is lost after three tenths of a second.
pub(crate) fn lsp_config() -> lsp::Config {
    let mut config = lsp::Config::default();
    config.core.epoch = Duration::from_millis(50);
    config.core.epoch_limit = 6;
    config
}

pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Running {
    pub(crate) async fn start(store: Option<Store>) -> Self {
        let config = ServerConfig {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            lsp: lsp_config(),
            pool: miner_core::Config::default(),
            store,
            kernel: None,
            seed: 5,
        };
        let server = Server::bind(config).await.unwrap();
        let address = server.local_addr();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            let shutdown = async { stopped.await.unwrap_or(()) };
            server.run(shutdown).await.unwrap();
        });
        Self {
            address,
            stop,
            task,
        }
    }

    /// An orderly end.
    pub(crate) async fn stop(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap();
    }

    pub(crate) fn worker(&self) -> JoinHandle<()> {
        worker_of(self.address)
    }

    pub(crate) fn job(&self, message: &str, upper: u64) -> Job {
        Job {
            server: self.address,
            lsp: lsp_config(),
            problem: Problem::Cmu,
            message: message.to_owned(),
            lower: 0,
            upper,
            key: None,
            progress: miner_core::Progress::Unwanted,
            reconnect_for: Duration::from_secs(20),
        }
    }
}

pub(crate) fn worker_of(server: SocketAddr) -> JoinHandle<()> {
    let config = WorkerConfig {
        server,
        lsp: lsp_config(),
        threads: NonZeroUsize::MIN,
        kernel: None,
    };
    tokio::spawn(async move { worker::run(&config).await.unwrap() })
}

/// What a job's answer must be.
pub(crate) fn expected(message: &str, upper: u64) -> Best {
    let kernel = Kernel::all().last().copied().unwrap();
    let best = Message::new(message.as_bytes()).minimum(kernel, 0..=upper);
    best.unwrap()
}

/// Has a job done and compares the answer.
pub(crate) async fn check(job: &Job) {
    let outcome = ask(job, |_| {}).await.unwrap();
    assert_eq!(outcome, Outcome::Result(expected(&job.message, job.upper)));
}
