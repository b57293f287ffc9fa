//! `kontiki miner block`: the nonce of a Bitcoin header, found by this machine or by a pool.

use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use miner::block::{Hashed, search};
use miner::client::{Job, Outcome};
use miner_kernels::{Header, Kernel, Problem, Target};

use crate::error::Hint;
use crate::miner::LspArgs;
use crate::miner::progress::Bar;

#[derive(Args, Debug)]
pub(crate) struct BlockArgs {
    /// The header: 160 hexadecimal digits; its nonce is what is looked for
    header: Header,
    /// The first nonce to look at
    #[arg(long, default_value_t = 0, value_name = "NONCE")]
    from: u32,
    /// The last nonce to look at
    #[arg(long, default_value_t = u32::MAX, value_name = "NONCE")]
    to: u32,
    /// Have it found by the pool of this server (host:port) instead of this machine
    #[arg(long, value_name = "ADDR", conflicts_with_all = ["threads", "kernel"])]
    server: Option<String>,
    /// With --server: a name under which the job survives a lost connection and a restart of the server
    #[arg(long, value_name = "NAME", requires = "server")]
    job_key: Option<String>,
    /// Threads that hash; all processors by default
    #[arg(long)]
    threads: Option<NonZeroUsize>,
    /// portable, avx2, avx512 or sha-ni; by default the one that measures fastest
    #[arg(long)]
    kernel: Option<Kernel>,
    /// Show how far it is, on stderr
    #[arg(long)]
    progress: bool,
    #[command(flatten)]
    lsp: LspArgs,
}

pub(super) async fn run(args: BlockArgs) -> Result<ExitCode> {
    let (header, from, to) = (args.header, args.from, args.to);
    let target = header.target().with_context(|| {
        Hint::new(
            "the header can't be mined",
            "its bits are digits 145 to 152 of the header",
        )
    })?;
    if from > to {
        bail!(Hint::new(
            format!("--from {from} is beyond --to {to}"),
            "nonces are looked at from the smaller to the larger"
        ));
    }
    let found = match &args.server {
        Some(server) => match ask(&args, server).await? {
            Outcome::Result(best) => u32::try_from(best.nonce).ok(),
            Outcome::Disconnected => {
                println!("Disconnected");
                return Ok(ExitCode::from(1));
            }
        },
        None => search_here(&args, target).await?,
    };
    // The nearest miss of a pool is none either.
    let found = found.filter(|nonce| target.is_met_by(header.with_nonce(*nonce).hash()));
    let Some(nonce) = found else {
        println!("no nonce from {from} to {to} meets the target {target}");
        return Ok(ExitCode::from(1));
    };
    let header = header.with_nonce(nonce);
    println!("nonce  {nonce}\nhash   {}\nheader {header}", header.hash());
    Ok(ExitCode::SUCCESS)
}

/// Has a pool look for it.
async fn ask(args: &BlockArgs, server: &str) -> Result<Outcome> {
    let job = Job {
        server: super::resolve(server)?,
        lsp: args.lsp.config(),
        problem: Problem::Bitcoin,
        message: args.header.to_string(),
        lower: args.from.into(),
        upper: args.to.into(),
        key: args.job_key.clone(),
        progress: if args.progress {
            miner_core::Progress::Wanted
        } else {
            miner_core::Progress::Unwanted
        },
        reconnect_for: super::RECONNECT,
    };
    let mut bar = args.progress.then(Bar::new);
    let outcome = miner::client::ask(&job, |done| {
        if let Some(bar) = &mut bar {
            bar.show(done.done, done.total);
        }
    });
    let outcome = outcome.await;
    if let Some(bar) = bar {
        bar.end();
    }
    Ok(outcome?)
}

/// Looks for it with this machine's processors.
async fn search_here(args: &BlockArgs, target: Target) -> Result<Option<u32>> {
    let (header, from, to, threads) = (args.header, args.from, args.to, args.threads);
    let (kernel, progress) = (args.kernel, args.progress);
    let kernel = kernel.unwrap_or_else(|| Kernel::fastest(Problem::Bitcoin));
    let threads = threads.unwrap_or_else(super::threads);
    let hashed = Arc::new(Hashed::default());
    let mut bar = progress.then(Bar::new);
    let total = u64::from(to).saturating_sub(u64::from(from)) + 1;
    let counter = Arc::clone(&hashed);
    let mut searching = tokio::task::spawn_blocking(move || {
        search(header, target, from..=to, kernel, threads, &counter)
    });
    let found: Option<u32> = loop {
        let tick = tokio::time::sleep(Duration::from_millis(200));
        tokio::select! {
            found = &mut searching => break found.context("the search failed")?,
            () = tick => if let Some(bar) = &mut bar {
                bar.show(hashed.get(), total);
            },
        }
    };
    if let Some(bar) = bar {
        bar.end();
    }
    Ok(found)
}
