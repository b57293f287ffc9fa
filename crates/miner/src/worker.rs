//! A worker: hashes what the server hands out.

mod hashers;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use bytes::Bytes;
use miner_core::{Message, Nonces, RequestExtension, Takes};
use miner_kernels::{Header, Kernel, Message as Text, Problem, Puzzle};
use thiserror::Error;
use tracing::{debug, info, warn};

use hashers::{Hashers, Work};

/// How a worker runs.
#[derive(Clone, Debug)]
pub struct WorkerConfig {
    /// The server.
    pub server: SocketAddr,
    /// How to talk to it.
    pub lsp: lsp::Config,
    /// How many threads hash.
    pub threads: NonZeroUsize,
    /// What they hash with; the fastest if there is none.
    pub kernel: Option<Kernel>,
}

/// Why a worker doesn't work.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WorkerError {
    /// The server can't be reached.
    #[error("cannot reach the server")]
    Connect(#[from] lsp::ConnectError),
    /// A thread can't be started.
    #[error("cannot start a thread")]
    Thread(#[source] std::io::Error),
}

/// Works until the server is gone.
///
/// # Errors
///
/// [`WorkerError`] if it never came to work; the loss of the server is its normal end.
pub async fn run(config: &WorkerConfig) -> Result<(), WorkerError> {
    let (kernel, speed) = choose(config);
    let client = lsp::Client::connect(config.server, config.lsp.clone()).await?;
    let (hashers, mut found) =
        Hashers::start(kernel, config.threads).map_err(WorkerError::Thread)?;
    info!(server = %config.server, %kernel, threads = config.threads, speed, "joined");
    let join = Message::Join {
        speed: Some(speed),
        takes: Takes::Headers,
    };
    let mut sent = client.write(Bytes::from(join.encode())).await;
    while sent.is_ok() {
        tokio::select! {
            incoming = client.read() => match incoming {
                Ok(bytes) => on_message(&hashers, &bytes),
                Err(error) => {
                    info!(%error, "server lost");
                    break;
                }
            },
            Some(result) = found.recv() => {
                let range = result.id.map(|id| (id, result.minima));
                let message = Message::Result { best: result.best, range };
                sent = client.write(Bytes::from(message.encode())).await;
            }
        }
    }
    Ok(())
}

/// The kernel, and how many nonces all threads do with it per second.
fn choose(config: &WorkerConfig) -> (Kernel, f64) {
    let speeds = Kernel::measure(Problem::Cmu, Duration::from_millis(25));
    let chosen = match config.kernel {
        Some(kernel) => speeds.iter().find(|speed| speed.kernel == kernel),
        None => speeds.first(),
    };
    let chosen = chosen.expect("there is always a kernel");
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    let threads = config.threads.get() as f64;
    (chosen.kernel, chosen.per_second * threads)
}

fn on_message(hashers: &Hashers, bytes: &[u8]) {
    match Message::decode(bytes) {
        Ok(Message::Request {
            data,
            lower,
            upper,
            extension,
        }) => {
            let (id, problem) = match extension {
                RequestExtension::Worker { range, problem } => (Some(range), problem),
                RequestExtension::None | RequestExtension::Client { .. } => (None, Problem::Cmu),
            };
            if let (Some(puzzle), Some(nonces)) =
                (puzzle(problem, &data), Nonces::new(lower, upper))
            {
                hashers.push(Work::new(id, puzzle, nonces));
            } else {
                warn!(lower, upper, data, "request ignored: nothing to search");
            }
        }
        Ok(Message::Cancel { range }) => hashers.cancel(range),
        other => debug!(?other, "message ignored"),
    }
}

/// What is to be hashed; nothing if the data is no header where it should be one.
fn puzzle(problem: Problem, data: &str) -> Option<Puzzle> {
    match problem {
        Problem::Cmu => Some(Puzzle::Message(Text::new(data.as_bytes()))),
        Problem::Bitcoin => {
            let header: Header = data.parse().ok()?;
            Puzzle::header(header).ok()
        }
    }
}
