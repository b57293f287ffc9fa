//! A client: has one job done.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use miner_core::{Message, Progress, RequestExtension};
use miner_kernels::{Best, Header, Problem, Puzzle};
use thiserror::Error;
use tracing::info;

/// What a client asks for, and of whom.
#[derive(Clone, Debug)]
pub struct Job {
    /// The server.
    pub server: SocketAddr,
    /// How to talk to it.
    pub lsp: lsp::Config,
    /// What `message` is.
    pub problem: Problem,
    /// What is hashed with the nonces: text, or a header in hexadecimal digits.
    pub message: String,
    /// The first nonce.
    pub lower: u64,
    /// The last nonce, included.
    pub upper: u64,
    /// The name under which the job survives a lost connection.
    pub key: Option<String>,
    /// Whether to be told of progress.
    pub progress: Progress,
    /// How long to try to reach the server again when the connection is lost, if the job has
    /// a key. From the loss on.
    pub reconnect_for: Duration,
}

/// How a job ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// With the answer. For a header that is a nonce that meets its target, or if there is
    /// none in the range the one that comes nearest.
    Result(Best),
    /// The server is gone, or turned the job away.
    Disconnected,
}

/// Why there is no outcome.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AskError {
    /// The socket can't be made, or the configuration makes no sense.
    #[error("cannot connect")]
    Connect(#[source] lsp::ConnectError),
    /// The request is too long.
    #[error("cannot send the request")]
    Request(#[source] lsp::WriteError),
    /// The message is no header with a target.
    #[error("not a header with a target")]
    Header,
    /// The server answered another question.
    #[error("the server does not know headers: its answer is not the hash of one")]
    NotAHash,
}

/// How far a job is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Done {
    /// Nonces that are done.
    pub done: u64,
    /// Of so many.
    pub total: u64,
}

impl Job {
    /// What a header's answer is compared with. A server that knows only messages answers as if
    /// the header were one.
    fn puzzle(&self) -> Result<Option<Puzzle>, AskError> {
        if self.problem == Problem::Cmu {
            return Ok(None);
        }
        let header: Header = self.message.parse().map_err(|_| AskError::Header)?;
        let puzzle = Puzzle::header(header).map_err(|_| AskError::Header)?;
        Ok(Some(puzzle))
    }
}

/// Has a job done; `on_progress` is called now and then if that is wanted and the server can.
///
/// # Errors
///
/// [`AskError`] for what the caller did wrong; a lost server is an [`Outcome`].
pub async fn ask(job: &Job, mut on_progress: impl FnMut(Done)) -> Result<Outcome, AskError> {
    let mut lost: Option<Instant> = None;
    let puzzle = job.puzzle()?;
    loop {
        let outcome = ask_once(job, &mut lost, &mut on_progress).await?;
        if let (Outcome::Result(best), Some(puzzle)) = (outcome, &puzzle)
            && puzzle.hash(best.nonce) != best.hash
        {
            return Err(AskError::NotAHash);
        }
        let since = *lost.get_or_insert_with(Instant::now);
        let may_retry = job.key.is_some() && since.elapsed() < job.reconnect_for;
        if outcome != Outcome::Disconnected || !may_retry {
            return Ok(outcome);
        }
        info!("connection lost, trying again");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// One connection; `lost` is cleared once the server is heard of.
async fn ask_once(
    job: &Job,
    lost: &mut Option<Instant>,
    on_progress: &mut impl FnMut(Done),
) -> Result<Outcome, AskError> {
    let client = match lsp::Client::connect(job.server, job.lsp.clone()).await {
        Ok(client) => client,
        Err(lsp::ConnectError::NoAnswer { .. }) => return Ok(Outcome::Disconnected),
        Err(error) => return Err(AskError::Connect(error)),
    };
    *lost = None;
    let wants_progress = job.progress == Progress::Wanted;
    let extension = if job.key.is_some() || wants_progress || job.problem != Problem::Cmu {
        RequestExtension::Client {
            key: job.key.clone(),
            progress: job.progress,
            problem: job.problem,
        }
    } else {
        RequestExtension::None
    };
    let request = Message::Request {
        data: job.message.clone(),
        lower: job.lower,
        upper: job.upper,
        extension,
    };
    match client.write(Bytes::from(request.encode())).await {
        Ok(()) => {}
        Err(error @ lsp::WriteError::TooLong { .. }) => return Err(AskError::Request(error)),
        Err(_) => return Ok(Outcome::Disconnected),
    }
    let outcome = answer(&client, on_progress).await;
    if let Err(error) = client.close().await {
        info!(%error, "the connection ended before the answer was acknowledged");
    }
    Ok(outcome)
}

async fn answer(client: &lsp::Client, on_progress: &mut impl FnMut(Done)) -> Outcome {
    loop {
        let Ok(bytes) = client.read().await else {
            return Outcome::Disconnected;
        };
        match Message::decode(&bytes) {
            Ok(Message::Result { best, .. }) => return Outcome::Result(best),
            Ok(Message::Progress { done, total }) => on_progress(Done { done, total }),
            // What a later version may send.
            other => info!(?other, "message ignored"),
        }
    }
}
