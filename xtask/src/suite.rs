//! The commands that run cargo on the project: tests, simulation, documentation.

use std::time::Instant;

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};

use crate::sh;

/// Programs that some tests use when they are there: name, how to ask, what is skipped.
const OPTIONAL: &[(&str, &[&str], &str)] = &[
    (
        "redis-cli",
        &["--version"],
        "the tests that drive a node with redis-cli",
    ),
    (
        "redis-benchmark",
        &["--version"],
        "the test that drives a node with redis-benchmark",
    ),
];

/// Runs every test of the workspace, then the doctests.
pub(crate) fn test(args: &[String]) -> Result<()> {
    let started = Instant::now();
    for (program, ask, what) in OPTIONAL {
        if !sh::have(program, ask) {
            eprintln!("skip: {program} is not installed: {what} will pass without checking");
        }
    }
    let nextest = sh::have(&sh::cargo(), &["nextest", "--version"]);
    // Without a filter the whole workspace is tested; `-p raft` narrows it.
    let narrowed = args
        .iter()
        .any(|arg| arg == "-p" || arg.starts_with("--package"));
    let scope: &[&str] = if narrowed { &[] } else { &["--workspace"] };
    let rest: Vec<&str> = args.iter().map(String::as_str).collect();
    let runner = if nextest {
        sh::run_cargo(&[&["nextest", "run"], scope, &rest].concat(), &[])?;
        "cargo nextest"
    } else {
        eprintln!("note: cargo-nextest is not installed: running cargo test, which is slower");
        let targets = ["--lib", "--bins", "--tests", "--examples"];
        sh::run_cargo(&[&["test"], scope, &targets, &rest].concat(), &[])?;
        "cargo test"
    };
    if args.is_empty() {
        sh::run_cargo(&["test", "--quiet", "--workspace", "--doc"], &[])?;
    } else {
        eprintln!("note: arguments were given: doctests are left out");
    }
    println!(
        "all tests passed ({runner}, {:.0} s)",
        started.elapsed().as_secs_f64()
    );
    Ok(())
}

/// Rewrites the expected output that tests hold.
pub(crate) fn bless(args: &[String]) -> Result<()> {
    let scope: &[&str] = if args.is_empty() {
        &["--workspace"]
    } else {
        &[]
    };
    let rest: Vec<&str> = args.iter().map(String::as_str).collect();
    let env = [("UPDATE_EXPECT", "1"), ("REWRITE", "1")];
    sh::run_cargo(&[&["test"], scope, &rest].concat(), &env)
}

/// Which system to simulate.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum System {
    /// The consensus core under crashes, partitions, bad disks and bad clocks.
    Raft,
}

/// Arguments of `cargo xtask sim`.
#[derive(Args, Debug)]
pub(crate) struct SimArgs {
    /// The system to simulate.
    #[arg(value_enum)]
    system: System,
    /// Run this one seed (decimal or 0x hexadecimal), as a failure prints it.
    #[arg(long, conflicts_with = "seeds")]
    seed: Option<String>,
    /// Run this many seeds, counted up from the first.
    #[arg(long)]
    seeds: Option<u64>,
    /// The first of several seeds.
    #[arg(long, requires = "seeds")]
    first: Option<String>,
    /// End each run after this many steps.
    #[arg(long)]
    steps: Option<u64>,
}

/// Runs the simulator, optimised and with its assertions on.
pub(crate) fn sim(args: &SimArgs) -> Result<()> {
    let package = match args.system {
        System::Raft => "raft-sim",
    };
    let mut words: Vec<String> = [
        "run",
        "--quiet",
        "--profile",
        "sim",
        "--package",
        package,
        "--",
    ]
    .map(str::to_owned)
    .into();
    let mut push = |flag: &str, value: Option<String>| {
        if let Some(value) = value {
            words.extend([flag.to_owned(), value]);
        }
    };
    push("--seed", args.seed.clone());
    push("--seeds", args.seeds.map(|n| n.to_string()));
    push("--first", args.first.clone());
    push("--steps", args.steps.map(|n| n.to_string()));
    sh::run_cargo(&words, &[]).context("the simulation found a fault, or could not run")
}

/// Builds the API documentation with every warning an error.
pub(crate) fn api_docs() -> Result<()> {
    let words = [
        "doc",
        "--quiet",
        "--workspace",
        "--no-deps",
        "--document-private-items",
    ];
    sh::run_cargo(&words, &[("RUSTDOCFLAGS", "-D warnings")])
}

/// Regenerates docs/ and builds the API documentation.
pub(crate) fn docs(_check: bool) -> Result<()> {
    api_docs()
}
