//! The coordinator: one loop that owns the jobs' state machine, the journal below it, the gRPC
//! services above it.
//!
//! One job runs at a time; others wait in the order in which they came. All lasting state is in
//! the store: a coordinator that was killed carries on where the journal ends, and where several
//! share a database, one of them leads and the others stand by.

mod driver;
pub(crate) mod history;
mod leader;
pub(crate) mod publish;
mod service;
mod state;

use std::future::Future;
use std::net::SocketAddr;

use kv::store::{Location, Store};
use mapreduce_data::Registry;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;

use crate::error::{Context as _, Error};
use crate::limits;
use crate::spec::random;
use crate::wire::v1::coordinator_server::CoordinatorServer;
use driver::{Driver, Input};

/// How a coordinator runs.
#[derive(Clone, Debug)]
pub struct CoordinatorConfig {
    /// Where workers and clients connect.
    pub listen: SocketAddr,
    /// Where the state is kept.
    pub store: Location,
    /// Jobs in Rust that this binary has.
    pub registry: Registry,
}

/// Runs a coordinator until `stop` is done. `ready` is called with its address as soon as it
/// listens; it accepts work when the store is open.
///
/// # Errors
///
/// When it can't listen or the store can't be used, or another coordinator took over.
pub async fn run(
    config: CoordinatorConfig,
    ready: impl FnOnce(SocketAddr),
    stop: impl Future<Output = ()>,
) -> Result<(), Error> {
    let listener = TcpListener::bind(config.listen)
        .await
        .context(format!("cannot listen on {}", config.listen))?;
    let local = listener.local_addr().context("cannot listen")?;
    ready(local);
    let (inputs, receiver) = mpsc::channel(limits::INPUTS_MAX);
    let (serving, serves) = watch::channel(false);
    let patience = match config.store {
        Location::Directory(_) => limits::STORE_OPENS,
        Location::Cluster(_) => limits::LEADER_RENEW * 2,
    };
    let service = service::Service::new(inputs.clone(), serves, patience);
    let server = CoordinatorServer::new(service)
        .max_decoding_message_size(limits::MESSAGE_BYTES_MAX)
        .max_encoding_message_size(limits::MESSAGE_BYTES_MAX);
    let server = tokio::spawn(
        Server::builder()
            .tcp_nodelay(true)
            .http2_keepalive_interval(Some(std::time::Duration::from_secs(5)))
            .add_service(server)
            .serve_with_incoming(TcpListenerStream::new(listener)),
    );
    let result = tokio::select! {
        result = lead(config, local, inputs, receiver, serving) => result,
        () = stop => Ok(()),
    };
    server.abort();
    result
}

async fn lead(
    config: CoordinatorConfig,
    local: SocketAddr,
    inputs: mpsc::Sender<Input>,
    receiver: mpsc::Receiver<Input>,
    serving: watch::Sender<bool>,
) -> Result<(), Error> {
    let several = matches!(config.store, Location::Cluster(_));
    let store = Store::open(&config.store)
        .await
        .context("the coordinator's store can't be opened")?;
    let owner = random();
    let mut deposed = None;
    if several {
        // An embedded store is one process's alone: nobody else could lead.
        let mut leader = leader::Leader::new(store.clone(), owner, local);
        leader.acquire().await?;
        deposed = Some(leader.keep());
    }
    let driver = Driver::open(store.clone(), config.registry, owner, inputs).await?;
    // Waiting connections learn it; there may be none.
    serving.send_replace(true);
    let lost = async {
        match deposed {
            Some(task) => match task.await {
                Ok(error) => error,
                Err(error) => Error::new("the leadership can't be kept").because(error),
            },
            None => std::future::pending().await,
        }
    };
    let result = tokio::select! {
        result = driver.run(receiver) => result,
        error = lost => Err(error),
    };
    if let Err(error) = store.close().await {
        tracing::warn!(%error, "the store did not close in order");
    }
    result
}
