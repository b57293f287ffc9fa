//! The commands that run cargo on the project: tests, simulation, documentation.

use std::time::Instant;

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};

use crate::{reference, sh};

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
    /// The same, with leases that belong to the group: in the log, or waited out.
    Leases,
    /// The `MapReduce` core under crashes, losses and two coordinators.
    Mapreduce,
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
        System::Raft | System::Leases => "raft-sim",
        System::Mapreduce => "mapreduce-sim",
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
    if matches!(args.system, System::Leases) {
        words.push("--leases".to_owned());
    }
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

/// Regenerates docs/reference/cli.md from `--help`, and builds the API documentation.
pub(crate) fn docs(check: bool) -> Result<()> {
    reference::run(check)?;
    api_docs()
}

/// Which demonstration.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Demo {
    /// A word list goes into a cluster whose nodes are killed, paused and restarted.
    Words,
    /// Word count and inverted index over the licences and documentation under /usr/share, and
    /// k-means on scikit-learn's digits.
    Files,
}

/// Arguments of `cargo xtask demo`.
#[derive(Args, Debug)]
pub(crate) struct DemoArgs {
    /// The demonstration.
    #[arg(value_enum)]
    demo: Demo,
    /// Of `words`: how many; the list of Debian's package wamerican has 104,334.
    #[arg(long, default_value_t = 104_334)]
    words: u64,
    /// Of `files`: how many packages' copyright files, beside the licences.
    #[arg(long, default_value_t = 1_000)]
    files: u64,
    /// For how long things happen to the nodes.
    #[arg(long, default_value_t = 120)]
    seconds: u64,
    /// What the schedule is drawn from.
    #[arg(long, default_value_t = 7)]
    seed: u64,
}

/// Runs the test of the same content at full size, and shows what it prints.
pub(crate) fn demo(args: &DemoArgs) -> Result<()> {
    let test = match args.demo {
        Demo::Words => "real_input::",
        Demo::Files => "real_files::",
    };
    let words = [
        "test",
        "--quiet",
        "--release",
        "--package",
        "cli",
        "--test",
        "it",
        "--",
    ];
    let env = [
        ("KONTIKI_DEMO_WORDS", args.words.to_string()),
        ("KONTIKI_DEMO_SECONDS", args.seconds.to_string()),
        ("KONTIKI_DEMO_SEED", args.seed.to_string()),
        ("KONTIKI_DEMO_FILES", args.files.to_string()),
    ];
    let env: Vec<_> = env
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    sh::run_cargo(&[&words[..], &[test, "--nocapture"]].concat(), &env)
}
