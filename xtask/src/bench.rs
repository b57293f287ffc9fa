//! `cargo xtask bench`: Kontiki beside what one would use instead, on this machine.
//!
//! Every system runs on its own fresh directory on loopback, one system at a time, and the
//! rounds are interleaved (A B C, A B C, ..) so that a disturbance hits all of them alike.
//! The table has medians. Throughput on a shared machine says little by itself, so the
//! processor time and the fsyncs of each operation stand beside it: those hardly depend on
//! what else was running.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};

use crate::sh;

mod cores;
mod kmeans;
mod kv;
mod lsp;
mod mapreduce;
mod measure;
mod miner;
mod process;
mod program;
mod report;
mod restart;
mod systems;

/// Which benchmark.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Bench {
    /// The database beside Redis and etcd.
    Kv,
    /// MapReduce beside DuckDB, Polars, Spark and GNU sort.
    Mapreduce,
    /// The consensus core beside raft-rs and openraft.
    Raft,
    /// LSP beside QUIC and TCP on a link with known faults; needs root.
    Lsp,
    /// k-means beside scikit-learn, faiss and Spark.
    Kmeans,
    /// The miner's kernels, and a pool with distant workers.
    Miner,
}

/// Arguments of `cargo xtask bench`.
#[derive(Args, Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(crate) struct BenchArgs {
    /// Which benchmark.
    #[arg(value_enum)]
    bench: Bench,
    /// How often everything is measured; the table has medians.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// A fifth of the requests: to see that it works, not to compare.
    #[arg(long)]
    quick: bool,
    /// Only these systems.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<systems::System>,
    /// Only these parts of `mapreduce`.
    #[arg(long, value_enum, value_delimiter = ',')]
    parts: Vec<mapreduce::Part>,
    /// Leave out the row that restarts a cluster with a log of 1 GB.
    #[arg(long)]
    no_restart: bool,
    /// Of `lsp`: only these parts.
    #[arg(long, value_enum, value_delimiter = ',')]
    part: Vec<lsp::Part>,
    /// Of `lsp`: keep what earlier runs have measured.
    #[arg(long)]
    resume: bool,
    /// Write nothing under docs/.
    #[arg(long)]
    dry: bool,
}

/// Runs a benchmark and writes its table.
pub(crate) fn run(args: &BenchArgs) -> Result<()> {
    if args.rounds == 0 {
        bail!("--rounds must be at least 1");
    }
    let tables = match args.bench {
        Bench::Kv => vec![kv::run(args)?],
        Bench::Mapreduce => mapreduce::run(args)?,
        Bench::Raft => vec![cores::run(args)?],
        Bench::Lsp => vec![lsp::run(args)?],
        Bench::Kmeans => vec![kmeans::run(args)?],
        Bench::Miner => vec![miner::run(args)?],
    };
    for table in tables {
        print!("{}", table.markdown());
        table.save(args.dry)?;
    }
    Ok(())
}

/// Where benchmarks keep data and results.
fn directory() -> Result<PathBuf> {
    let directory = sh::root().join("target/bench");
    fs::create_dir_all(&directory).with_context(|| directory.display().to_string())?;
    Ok(directory)
}

/// Builds a program of the `bench/` workspace and says where it is.
fn build_peer(package: &str) -> Result<PathBuf> {
    let manifest = sh::root().join("bench/Cargo.toml").display().to_string();
    let target = sh::root().join("bench/target").display().to_string();
    let words = ["build", "--quiet", "--release", "--package", package];
    let place = ["--manifest-path", &manifest, "--target-dir", &target];
    sh::run_cargo(&[&words[..], &place].concat(), &[])?;
    Ok(sh::root().join("bench/target/release").join(package))
}

/// Builds the `kontiki` binary as users get it and says where it is.
fn build_kontiki() -> Result<PathBuf> {
    let target = sh::root().join("target").display().to_string();
    sh::run_cargo(
        &[
            "build",
            "--quiet",
            "--release",
            "--package",
            "cli",
            "--target-dir",
            &target,
        ],
        &[],
    )?;
    Ok(sh::root().join("target/release/kontiki"))
}

/// What a program prints about itself, on one line.
fn version_of(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    text.ok()
        .and_then(|text| text.lines().next().map(str::to_owned))
        .unwrap_or_default()
}
