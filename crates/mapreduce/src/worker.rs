//! A worker: executes attempts on threads, keeps map output, serves it to other workers.
//!
//! One connection to the coordinator at a time carries everything; it is opened again when it
//! breaks, with a list of what this worker has. Reports are repeated until they are
//! acknowledged, so that a lost connection or a new coordinator loses none.

mod attempt;
mod fetch;
mod outputs;
mod session;
mod shuffle;

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use mapreduce_core::WorkerId;
use mapreduce_data::Registry;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Channel, Endpoint, Server};

use crate::error::{Context as _, Error};
use crate::limits;
use crate::spec::random;
use crate::wire::v1::coordinator_client::CoordinatorClient;
use crate::wire::v1::shuffle_server::ShuffleServer;
use session::{End, Worker};

/// How a worker runs.
#[derive(Clone, Debug)]
pub struct WorkerConfig {
    /// Where coordinators may be; the first that accepts is the one.
    pub coordinators: Vec<String>,
    /// Attempts that are executed at once.
    pub slots: u32,
    /// Where other workers fetch from this one.
    pub listen: SocketAddr,
    /// That address as others see it; the address that is listened on if there is none.
    pub advertise: Option<String>,
    /// For map output and spills. What this worker makes in it is removed at the end.
    pub dir: PathBuf,
    /// For people.
    pub name: String,
    /// Without a coordinator for so long the worker ends.
    pub patience: Duration,
    /// Jobs in Rust that this binary has.
    pub registry: Registry,
}

/// Runs a worker until `leave` is done and nothing that it has is needed any more.
///
/// # Errors
///
/// When it can't listen, or finds no coordinator for too long.
pub async fn run(config: WorkerConfig, leave: impl Future<Output = ()>) -> Result<(), Error> {
    let listener = TcpListener::bind(config.listen)
        .await
        .context(format!("cannot listen on {}", config.listen))?;
    let local = listener.local_addr().context("cannot listen")?;
    let address = config
        .advertise
        .clone()
        .unwrap_or_else(|| local.to_string());
    let id = WorkerId(random());
    let dir = config.dir.join(format!("worker-{:x}", id.0));
    std::fs::create_dir_all(&dir).context(format!("cannot create {}", dir.display()))?;
    let mut worker = Worker::new(id, address, dir.clone(), config);
    let service = ShuffleServer::new(shuffle::Service::new(Arc::clone(&worker.outputs)));
    let server = tokio::spawn(
        Server::builder()
            .tcp_nodelay(true)
            .add_service(service)
            .serve_with_incoming(TcpListenerStream::new(listener)),
    );
    let result = attend(&mut worker, leave).await;
    server.abort();
    worker.stop_all();
    if let Err(error) = std::fs::remove_dir_all(&dir) {
        tracing::warn!(%error, dir = %dir.display(), "cannot remove the worker's files");
    }
    result
}

/// Connects, works, and connects again.
async fn attend(worker: &mut Worker, leave: impl Future<Output = ()>) -> Result<(), Error> {
    let mut leave = pin!(leave);
    let mut search = Search {
        first: 0,
        since: Instant::now(),
    };
    loop {
        let connected = tokio::select! {
            connected = connect(&worker.config, &mut search) => connected?,
            // Nobody to say goodbye to.
            () = &mut leave, if !worker.draining => return Ok(()),
        };
        let mut client = connected;
        match worker.session(&mut client, leave.as_mut()).await {
            Ok(End::Left) => return Ok(()),
            Ok(End::Disconnected) => tracing::info!("the connection to the coordinator ended"),
            Err(error) => tracing::info!("the connection to the coordinator: {}", error.line()),
        }
        if core::mem::take(&mut worker.was_accepted) {
            search.since = Instant::now();
        } else {
            // It stands by, perhaps.
            search.first += 1;
        }
        sleep(limits::CONNECT_BACKOFF.0).await;
    }
}

/// The search for a coordinator that accepts this worker.
struct Search {
    /// The address to try first; goes round.
    first: usize,
    since: Instant,
}

/// The next coordinator that can be reached. Whether it leads is its own to say.
async fn connect(
    config: &WorkerConfig,
    search: &mut Search,
) -> Result<CoordinatorClient<Channel>, Error> {
    let (mut pause, longest) = limits::CONNECT_BACKOFF;
    let count = config.coordinators.len();
    loop {
        let mut last = None;
        let late = search.since.elapsed() >= config.patience;
        for at in search.first..search.first + count {
            let address = &config.coordinators[at % count];
            match dial(address).await {
                // It was tried for long enough.
                Ok(_) if late => {}
                Ok(channel) => {
                    let client = CoordinatorClient::new(channel)
                        .max_decoding_message_size(limits::MESSAGE_BYTES_MAX)
                        .max_encoding_message_size(limits::MESSAGE_BYTES_MAX);
                    search.first = at % count;
                    return Ok(client);
                }
                Err(error) => last = Some(error),
            }
        }
        if late {
            let error = Error::new(format!(
                "no coordinator at {} accepted this worker for {} s",
                config.coordinators.join(", "),
                config.patience.as_secs()
            ))
            .hint("start one with `kontiki mr coordinator`, or check --coordinator");
            return Err(match last {
                Some(last) => error.because(last),
                None => error,
            });
        }
        sleep(pause).await;
        pause = (pause * 2).min(longest);
    }
}

/// Connects to a server of ours.
pub(crate) async fn dial(address: &str) -> Result<Channel, Error> {
    Endpoint::from_shared(format!("http://{address}"))
        .context(format!("{address} is not an address (host:port)"))?
        .connect_timeout(Duration::from_secs(5))
        .tcp_nodelay(true)
        .http2_keep_alive_interval(Duration::from_secs(5))
        .keep_alive_timeout(Duration::from_secs(5))
        .keep_alive_while_idle(true)
        .initial_stream_window_size(4 << 20)
        .initial_connection_window_size(16 << 20)
        .connect()
        .await
        .context(format!("cannot connect to {address}"))
}
