//! The jobs of CI. `.ci/run` and the hosted workflow only call these.

use anyhow::Result;
use clap::ValueEnum;

use crate::{sh, suite, tidy};

/// One job.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Job {
    /// Format, tidy, clippy and the API documentation, with warnings denied.
    Smoke,
    /// Every test, as `cargo xtask test`.
    Test,
    /// A few hundred simulated runs whose seeds come from the commit.
    Sim,
    /// Licences, advisories and sources of dependencies, where cargo-deny is installed.
    Deny,
}

/// Runs the named jobs in order, or the default ones.
pub(crate) fn run(jobs: &[Job]) -> Result<()> {
    let default = [Job::Smoke, Job::Test, Job::Deny];
    for job in if jobs.is_empty() { &default } else { jobs } {
        match job {
            Job::Smoke => smoke()?,
            Job::Test => suite::test(&[])?,
            Job::Sim => sim()?,
            Job::Deny => deny()?,
        }
    }
    Ok(())
}

fn smoke() -> Result<()> {
    sh::run_cargo(&["fmt", "--all", "--", "--check"], &[])?;
    tidy::run()?;
    let clippy = [
        "clippy",
        "--quiet",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ];
    sh::run_cargo(&clippy, &[])?;
    suite::api_docs()
}

/// Seeds differ with each commit and can be run again from it.
fn sim() -> Result<()> {
    let first = sh::commit_seed().unwrap_or(1);
    let (first, seeds) = (first.to_string(), "300");
    let words = [
        "run",
        "--quiet",
        "--profile",
        "sim",
        "--package",
        "raft-sim",
        "--",
    ];
    sh::run_cargo(
        &[&words[..], &["--first", &first, "--seeds", seeds]].concat(),
        &[],
    )
}

fn deny() -> Result<()> {
    if !sh::have(&sh::cargo(), &["deny", "--version"]) {
        eprintln!("skip: cargo-deny is not installed: licences and advisories are not checked");
        return Ok(());
    }
    sh::run_cargo(&["deny", "check"], &[])
}
