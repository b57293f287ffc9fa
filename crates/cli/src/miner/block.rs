//! `kontiki miner block`: the nonce of a Bitcoin header.

use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use miner::block::{Hashed, search};
use miner_kernels::{Header, Kernel, Problem};

use crate::error::Hint;
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
    /// Threads that hash; all processors by default
    #[arg(long)]
    threads: Option<NonZeroUsize>,
    /// portable, avx2, avx512 or sha-ni; by default the one that measures fastest
    #[arg(long)]
    kernel: Option<Kernel>,
    /// Show how far it is, on stderr
    #[arg(long)]
    progress: bool,
}

pub(super) async fn run(args: BlockArgs) -> Result<ExitCode> {
    let BlockArgs {
        header,
        from,
        to,
        threads,
        kernel,
        progress,
    } = args;
    let target = header.target().with_context(|| {
        Hint::new(
            "the header can't be mined",
            "its bits are digits 145 to 152 of the header",
        )
    })?;
    let kernel = kernel.unwrap_or_else(|| Kernel::fastest(Problem::Bitcoin));
    let threads = threads.unwrap_or_else(super::threads);
    let hashed = Arc::new(Hashed::default());
    let mut bar = progress.then(Bar::new);
    let total = u64::from(to).saturating_sub(u64::from(from)) + 1;
    let counter = Arc::clone(&hashed);
    let mut searching = tokio::task::spawn_blocking(move || {
        search(header, target, from..=to, kernel, threads, &counter)
    });
    let found = loop {
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
    let Some(nonce) = found else {
        println!("no nonce from {from} to {to} meets the target {target}");
        return Ok(ExitCode::from(1));
    };
    let header = header.with_nonce(nonce);
    println!("nonce  {nonce}\nhash   {}\nheader {header}", header.hash());
    Ok(ExitCode::SUCCESS)
}
