//! The project's own tools: `cargo xtask <command>`.
//!
//! Everything that a developer or a machine runs on this repository is a command here, so
//! that both run the same thing: CI is `cargo xtask ci <job>` and nothing else. The tool
//! needs only a Rust toolchain; whatever else it can use (cargo-nextest, redis-server,
//! etcd, perf) is optional, and what is skipped without it is said.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line tool owns the terminal"
)]

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod bench;
mod ci;
mod reference;
mod sh;
mod suite;
mod tidy;

/// The project's own tools.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run every test: cargo-nextest where it is installed, else cargo test; then the doctests.
    Test {
        /// Arguments for the test runner, e.g. `-p raft` or a filter.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Run what CI runs: one job, or smoke, test and deny when none is named.
    Ci {
        /// Which jobs.
        #[arg(value_enum)]
        jobs: Vec<ci::Job>,
    },
    /// Check what no compiler checks: manifests, layers, sizes, words, links.
    Tidy,
    /// Run a system in the deterministic simulator.
    Sim(suite::SimArgs),
    /// Compare with Redis, etcd and other consensus cores; writes docs/benchmarks.md.
    Bench(bench::BenchArgs),
    /// Show the main job on real input, at full size.
    Demo(suite::DemoArgs),
    /// Rewrite expected test output; commit the difference only if you can explain it.
    Bless {
        /// Arguments for the test runner, e.g. `-p raft`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Regenerate what is generated under docs/, and build the API documentation.
    Docs {
        /// Fail when a generated page is stale instead of rewriting it.
        #[arg(long)]
        check: bool,
    },
}

fn main() -> ExitCode {
    let result = match Args::parse().command {
        Command::Test { args } => suite::test(&args),
        Command::Ci { jobs } => ci::run(&jobs),
        Command::Tidy => tidy::run(),
        Command::Sim(args) => suite::sim(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Demo(args) => suite::demo(&args),
        Command::Bless { args } => suite::bless(&args),
        Command::Docs { check } => suite::docs(check),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
