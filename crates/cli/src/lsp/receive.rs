//! `kontiki lsp recv`: the other end of `send`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use clap::Args;
use indicatif::ProgressBar;
use lsp::{ConnError, ConnId, Server};

use super::send::{Header, Receipt, print_rate, progress};
use super::{ListenArgs, ProtocolArgs, interrupted};

/// Receive a file from `kontiki lsp send`, or print every message as a line.
#[derive(Args, Clone, Debug)]
pub(crate) struct ReceiveArgs {
    #[command(flatten)]
    listen: ListenArgs,
    /// Store one file here and end; without it, messages are printed until interrupted
    #[arg(long, value_name = "FILE")]
    into: Option<PathBuf>,
    #[command(flatten)]
    protocol: ProtocolArgs,
}

pub(crate) async fn run(args: ReceiveArgs) -> Result<ExitCode> {
    let server = args.listen.bind(args.protocol.config()).await?;
    let work = async {
        match &args.into {
            Some(path) => receive_file(&server, path).await,
            None => print_lines(&server).await,
        }
    };
    tokio::select! {
        done = work => done?,
        interrupted = interrupted() => {
            interrupted?;
            ensure!(args.into.is_none(), "interrupted: no file was stored");
            return Ok(ExitCode::SUCCESS);
        }
    }
    server.close().await?;
    Ok(ExitCode::SUCCESS)
}

async fn print_lines(server: &Server) -> Result<()> {
    let mut clients = BTreeMap::new();
    loop {
        let (id, message) = server.read().await?;
        match message {
            Ok(message) => {
                *clients.entry(id).or_insert(0_u64) += 1;
                let mut out = io::stdout().lock();
                out.write_all(&message)?;
                out.write_all(b"\n")?;
                out.flush()?;
            }
            Err(end) => {
                let messages = clients.remove(&id).unwrap_or(0);
                eprintln!("{id}: {end}, after {messages} messages");
            }
        }
    }
}

/// A file that is on its way.
struct Arriving {
    from: ConnId,
    file: File,
    bytes: u64,
    expected: u64,
    bar: ProgressBar,
    started: Instant,
}

/// Receives one file into a new file beside `path`, which it becomes when it is whole.
async fn receive_file(server: &Server, path: &Path) -> Result<()> {
    let temporary = path.with_added_extension("part");
    let stored = receive_into(server, &temporary, path).await;
    if stored.is_err() {
        // What is left of a file that never became whole; it may not even exist.
        let _gone = std::fs::remove_file(&temporary);
    }
    stored
}

async fn receive_into(server: &Server, temporary: &Path, path: &Path) -> Result<()> {
    let mut arriving: Option<Arriving> = None;
    loop {
        let (id, message) = server.read().await?;
        match (&mut arriving, message) {
            (None, Ok(first)) => arriving = Some(begin(id, &first, temporary)?),
            (Some(file), Ok(piece)) if file.from == id => file.take(&piece)?,
            (Some(_), Ok(_)) => refuse(server, id).await?,
            (Some(file), Err(end)) if file.from == id => {
                bail!("after {} of {} bytes: {end}", file.bytes, file.expected)
            }
            (_, Err(ConnError::Closed | ConnError::ClosedByPeer | ConnError::Lost)) => {}
        }
        if let Some(file) = arriving.take_if(|file| file.bytes == file.expected) {
            let (from, bytes) = (file.from, file.bytes);
            let stored = file.finish(temporary, path);
            let receipt = match &stored {
                Ok(()) => Receipt::Stored { bytes },
                Err(error) => Receipt::Failed {
                    why: format!("{error:#}"),
                },
            };
            server
                .write(from, serde_json::to_vec(&receipt)?.into())
                .await?;
            return stored;
        }
    }
}

fn begin(from: ConnId, first: &Bytes, temporary: &Path) -> Result<Arriving> {
    let header: Header = serde_json::from_slice(first)
        .context("the other end is no `kontiki lsp send` with a file")?;
    ensure!(
        header.kontiki_file == 1,
        "the file comes in form {}, and this end knows form 1",
        header.kontiki_file
    );
    Ok(Arriving {
        from,
        file: File::create(temporary).with_context(|| temporary.display().to_string())?,
        bytes: 0,
        expected: header.bytes,
        bar: progress(header.bytes, "receiving")?,
        started: Instant::now(),
    })
}

/// One file at a time.
async fn refuse(server: &Server, id: ConnId) -> Result<()> {
    let why = "another file is on its way".to_owned();
    let receipt = serde_json::to_vec(&Receipt::Failed { why })?;
    // It may be gone already, or have been told with its first message.
    if server.write(id, receipt.into()).await.is_ok() {
        server.close_conn(id)?;
    }
    Ok(())
}

impl Arriving {
    fn take(&mut self, piece: &Bytes) -> Result<()> {
        let bytes = self.bytes + piece.len() as u64;
        ensure!(
            bytes <= self.expected,
            "more than the {} announced bytes came",
            self.expected
        );
        self.file
            .write_all(piece)
            .context("cannot write the file")?;
        self.bytes = bytes;
        self.bar.set_position(bytes);
        Ok(())
    }

    /// Makes the file durable under its name.
    fn finish(self, temporary: &Path, path: &Path) -> Result<()> {
        let took = self.started.elapsed();
        self.file.sync_all().context("cannot write the file")?;
        std::fs::rename(temporary, path).with_context(|| path.display().to_string())?;
        self.bar.finish_and_clear();
        print_rate("received", self.bytes, took);
        Ok(())
    }
}
