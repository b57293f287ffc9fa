//! `kontiki lsp echo`: the other end for every first try.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use lsp::{ConnError, Server, WriteError};

use super::{ListenArgs, ProtocolArgs, interrupted, version_name};

/// Send every message back to where it came from, until interrupted.
#[derive(Args, Clone, Debug)]
pub(crate) struct EchoArgs {
    #[command(flatten)]
    listen: ListenArgs,
    /// Say nothing of clients that come and go
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    protocol: ProtocolArgs,
}

pub(crate) async fn run(args: EchoArgs) -> Result<ExitCode> {
    let server = args.listen.bind(args.protocol.config()).await?;
    tokio::select! {
        ended = echo(&server, args.quiet) => ended?,
        interrupted = interrupted() => interrupted?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Answers until the server is closed.
///
/// A client that writes and doesn't read holds up the others once its queue is full: this
/// is a tool to try things with.
pub(super) async fn echo(server: &Server, quiet: bool) -> Result<()> {
    let mut known = std::collections::BTreeSet::new();
    loop {
        let (id, message) = server.read().await?;
        match message {
            Ok(message) => {
                if !quiet && known.insert(id) {
                    let address = server.remote_addr(id);
                    let address = address.map_or_else(String::new, |a| format!(" from {a}"));
                    let version = server.stats(id).and_then(|stats| stats.version);
                    eprintln!("{id}: connected{address}, {}", version_name(version));
                }
                match server.write(id, message).await {
                    // One that is gone has its end reported by a read.
                    Ok(()) | Err(WriteError::Lost | WriteError::Unknown { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            Err(end) => {
                known.remove(&id);
                if !quiet {
                    let how = match end {
                        ConnError::ClosedByPeer => "closed",
                        ConnError::Lost => "gone",
                        ConnError::Closed => "closed by this end",
                    };
                    eprintln!("{id}: {how}");
                }
            }
        }
    }
}
