//! `kontiki lsp send`: a file, or lines.

use std::io::{self, BufRead as _, Read as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use lsp::{Client, Version};
use serde::{Deserialize, Serialize};

use super::{ProtocolArgs, ServerArgs, version_name};

/// A piece of a file in version 2: many datagrams, little overhead.
const CHUNK_BYTES_V2: usize = 16 << 10;
/// What is queued at most, so that the bar shows what has left.
const QUEUE_BYTES: usize = 256 << 10;
/// How often the bar moves.
const REDRAWS_PER_SECOND: u8 = 10;

/// Send a file to `kontiki lsp recv --into`, or each line of standard input as a message.
///
/// With a file, returns when the other end has stored it.
#[derive(Args, Clone, Debug)]
pub(crate) struct SendArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// The file; without it, lines come from standard input
    file: Option<PathBuf>,
    #[command(flatten)]
    protocol: ProtocolArgs,
}

/// The first message of a file: what follows it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) struct Header {
    /// The form of what follows; 1: pieces of the file, in order, and nothing else.
    pub(super) kontiki_file: u32,
    pub(super) bytes: u64,
}

/// The answer to a file.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Receipt {
    Stored { bytes: u64 },
    Failed { why: String },
}

pub(crate) async fn run(args: SendArgs) -> Result<ExitCode> {
    let mut config = args.protocol.config();
    config.core.send_bytes_max = config.core.send_bytes_max.min(QUEUE_BYTES);
    // A message must fit the queue.
    config.core.message_bytes_max = config.core.message_bytes_max.min(QUEUE_BYTES / 2);
    let client = args.server.connect(config).await?;
    match &args.file {
        Some(path) => send_file(&client, path).await?,
        None => send_lines(&client).await?,
    }
    client.close().await?;
    Ok(ExitCode::SUCCESS)
}

async fn send_file(client: &Client, path: &PathBuf) -> Result<()> {
    let mut file = std::fs::File::open(path).with_context(|| path.display().to_string())?;
    let bytes = file
        .metadata()
        .with_context(|| path.display().to_string())?
        .len();
    let header = Header {
        kontiki_file: 1,
        bytes,
    };
    let version = client.stats().and_then(|stats| stats.version);
    let bar = progress(bytes, version_name(version))?;
    let started = Instant::now();
    client.write(serde_json::to_vec(&header)?.into()).await?;
    let chunk = match version {
        Some(Version::V2) => CHUNK_BYTES_V2,
        Some(Version::V1) | None => 1_000,
    };
    let mut left = bytes;
    while left > 0 {
        let wanted = usize::try_from(left).unwrap_or(chunk).min(chunk);
        let mut piece = vec![0; wanted];
        file.read_exact(&mut piece)
            .with_context(|| format!("{} became shorter", path.display()))?;
        client.write(piece.into()).await?;
        left -= wanted as u64;
        bar.inc(wanted as u64);
    }
    let receipt = client.read().await.context("no receipt came")?;
    bar.finish_and_clear();
    match serde_json::from_slice(&receipt).context("the other end is no `kontiki lsp recv`")? {
        Receipt::Failed { why } => bail!("the other end could not store it: {why}"),
        Receipt::Stored { bytes: stored } => {
            ensure!(stored == bytes, "{stored} of {bytes} bytes were stored");
        }
    }
    print_rate("sent", bytes, started.elapsed());
    Ok(())
}

/// A bar on stderr, for eyes only.
pub(super) fn progress(bytes: u64, what: &str) -> Result<ProgressBar> {
    let target = ProgressDrawTarget::stderr_with_hz(REDRAWS_PER_SECOND);
    let bar = ProgressBar::with_draw_target(Some(bytes), target);
    let style = "{msg}  {wide_bar} {bytes}/{total_bytes}  {binary_bytes_per_sec}  {eta} left";
    bar.set_style(ProgressStyle::with_template(style)?);
    bar.set_message(what.to_owned());
    Ok(bar)
}

pub(super) fn print_rate(did: &str, bytes: u64, took: Duration) {
    let seconds = took.as_secs_f64().max(1e-9);
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let megabits = bytes as f64 * 8.0 / 1e6 / seconds;
    eprintln!("{did} {bytes} bytes in {seconds:.2} s: goodput {megabits:.2} Mbit/s");
}

async fn send_lines(client: &Client) -> Result<()> {
    // A thread of its own reads: it may wait for a person, and must not hold up heartbeats.
    let (lines, mut queue) = tokio::sync::mpsc::channel::<io::Result<Vec<u8>>>(64);
    std::thread::spawn(move || {
        for line in io::stdin().lock().split(b'\n') {
            if lines.blocking_send(line).is_err() {
                return;
            }
        }
    });
    let mut lost = std::pin::pin!(client.read());
    loop {
        tokio::select! {
            line = queue.recv() => match line {
                Some(line) => {
                    let line = line.context("cannot read standard input")?;
                    client.write(Bytes::from(line)).await?;
                }
                None => return Ok(()),
            },
            // What the other end says is not asked for; that it is gone is.
            answer = &mut lost => {
                answer?;
                lost.set(client.read());
            }
        }
    }
}
