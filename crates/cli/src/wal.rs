//! `kontiki wal`: a node's log on disk, for a person to read.

use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use kv::log_text::{Extent, LogText};

use crate::error::Hint;

#[derive(Args, Clone, Debug)]
pub(crate) struct WalArgs {
    #[command(subcommand)]
    look: Look,
}

#[derive(Clone, Debug, Subcommand)]
enum Look {
    /// Print every record: votes, entries, and the commands in them.
    ///
    /// Nothing is locked or changed, so it works beside a running node, whose newest writes may
    /// then look unfinished. Damage is shown where it stands.
    Dump {
        /// A node's data directory, or the log's directory in it.
        dir: PathBuf,
        /// Show all commands of an entry, and whole keys and values.
        #[arg(long)]
        full: bool,
    },
    /// Read the whole log as a start would, and say what it holds or where it is damaged.
    ///
    /// Nothing is locked or changed. It takes as much memory as the log is long. Exit code 0: the
    /// log is sound; 2: it is not.
    Check {
        /// A node's data directory, or the log's directory in it.
        dir: PathBuf,
    },
}

pub(crate) fn run(args: WalArgs) -> Result<ExitCode> {
    match args.look {
        Look::Dump { dir, full } => {
            let extent = if full { Extent::Full } else { Extent::Brief };
            let dir = log_dir(&dir)?;
            let mut out = BufWriter::new(io::stdout().lock());
            wal::dump(&dir, &LogText { extent }, &mut out)?;
            out.flush().context("could not print")?;
        }
        Look::Check { dir } => check(&log_dir(&dir)?)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn check(dir: &Path) -> Result<()> {
    let wal::Checked {
        identity,
        format,
        bytes,
        torn_bytes,
        groups,
    } = wal::check(dir)?;
    let mut out = BufWriter::new(io::stdout().lock());
    writeln!(
        out,
        "log of {identity}, {format} format, {bytes} bytes: sound"
    )?;
    if torn_bytes > 0 {
        writeln!(
            out,
            "the last {torn_bytes} bytes are of a write that was never completed or acknowledged; \
             a start drops them"
        )?;
    }
    for group in groups {
        let wal::CheckedGroup {
            group,
            vote,
            base,
            last,
        } = group;
        write!(out, "{group}: term {}", vote.term)?;
        if let Some(node) = vote.vote {
            write!(out, ", voted for {node}")?;
        }
        writeln!(out, ", entries after {base} through {last}")?;
    }
    out.flush().context("could not print")
}

/// The directory of the log, given that or the node's.
fn log_dir(dir: &Path) -> Result<PathBuf> {
    let inner = dir.join("wal");
    if inner.is_dir() {
        return Ok(inner);
    }
    if dir.is_dir() {
        return Ok(dir.to_path_buf());
    }
    Err(Hint::new(
        format!("there is no directory {}", dir.display()),
        "give a node's data directory; `kontiki up` keeps one for each node in its own",
    )
    .into())
}
