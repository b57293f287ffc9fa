//! Consensus cores side by side in one in-memory harness.
//!
//! Three members of one group in one process, no network and no disk: a message is a value
//! in a queue, storage is a vector. What is left is the core's own work. A proposal counts
//! once the leader has handed it out as committed and has been told that it is applied; a
//! window bounds how many are under way.
//!
//! `kontiki` and `raft-rs` are stepped by one thread and the same loop. `openraft` brings its
//! own tasks and channels; it runs on a tokio runtime with one thread, which is its fastest
//! here, and its clients use the call that doesn't wait for the answer before the next one.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use bytes::Bytes;
use clap::{Parser, ValueEnum};

mod kontiki;
mod openraft_core;
mod raft_rs_core;

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Core {
    Kontiki,
    RaftRs,
    Openraft,
}

/// Measures one core.
#[derive(Debug, Parser)]
struct Args {
    #[arg(long, value_enum)]
    core: Core,
    #[arg(long, default_value_t = 1_000_000)]
    proposals: u64,
    /// Proposals under way at most.
    #[arg(long, default_value_t = 256)]
    window: u64,
    #[arg(long, default_value_t = 64)]
    bytes: usize,
}

/// A group of three whose leader takes proposals.
trait Group {
    /// Proposes at the leader.
    fn propose(&mut self, data: Bytes) -> Result<()>;
    /// Lets every member do what it has to do, and delivers what they said.
    fn step(&mut self, elapsed: Duration);
    /// Proposals that the leader has applied.
    fn applied(&self) -> u64;
    /// Whether there is a leader that takes proposals.
    fn is_ready(&self) -> bool;
    /// Proposals that every member has applied.
    fn applied_everywhere(&self) -> u64;
}

fn measure(group: &mut impl Group, args: &Args) -> Result<Duration> {
    let start = Instant::now();
    while !group.is_ready() {
        ensure!(
            start.elapsed() < Duration::from_secs(30),
            "no leader within 30 s"
        );
        group.step(start.elapsed());
    }
    let data = Bytes::from(vec![7; args.bytes]);
    let began = Instant::now();
    let mut proposed = 0;
    while group.applied() < args.proposals {
        while proposed < args.proposals && proposed - group.applied() < args.window {
            group.propose(data.clone())?;
            proposed += 1;
        }
        let before = group.applied();
        group.step(start.elapsed());
        if group.applied() == before && began.elapsed() > Duration::from_secs(120) {
            bail!("stuck at {before} of {} proposals", args.proposals);
        }
    }
    let taken = began.elapsed();
    // Not counted, but it must come to pass.
    let deadline = Instant::now() + Duration::from_secs(10);
    while group.applied_everywhere() < args.proposals {
        ensure!(
            Instant::now() < deadline,
            "a follower has not applied everything"
        );
        group.step(start.elapsed());
    }
    Ok(taken)
}

fn main() -> Result<()> {
    let args = Args::parse();
    let taken = match args.core {
        Core::Kontiki => measure(&mut kontiki::Kontiki::new()?, &args)?,
        Core::RaftRs => measure(&mut raft_rs_core::RaftRs::new()?, &args)?,
        Core::Openraft => openraft_core::measure(args.proposals, args.window, args.bytes)?,
    };
    let line = serde_json::json!({
        "core": format!("{:?}", args.core),
        "proposals": args.proposals,
        "window": args.window,
        "bytes": args.bytes,
        "seconds": taken.as_secs_f64(),
        "per_second": args.proposals as f64 / taken.as_secs_f64(),
    });
    println!("{line}");
    Ok(())
}
