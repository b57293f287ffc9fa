//! Runs seeds: `cargo xtask sim raft [--seed S | --seeds N [--first S]] [--steps N]`, or the same
//! with `leases` for runs about leases that belong to the group.
//!
//! Without arguments, a hundred seeds from 0 on. The first failure is shrunk, told, written
//! to `target/sim/<seed>/`, and ends the run with status 1.

#![expect(
    clippy::print_stdout,
    reason = "a tool that tells what it found on the terminal"
)]

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use raft_sim::{Coverage, RunOptions, Served, run_seed};
use sim::Failure;

/// Seeds that are run when nothing is said.
const SEEDS: u64 = 100;

#[derive(Debug, Default)]
struct Arguments {
    seed: Option<u64>,
    seeds: Option<u64>,
    first: Option<u64>,
    steps: Option<u64>,
    leases: bool,
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments = parse(std::env::args().skip(1))?;
    // A failed assertion of the core is reported with its seed; one line of it is enough.
    std::panic::set_hook(Box::new(|panic| println!("{panic}")));
    let first = arguments.seed.or(arguments.first).unwrap_or(0);
    let count = arguments
        .seed
        .map_or_else(|| arguments.seeds.unwrap_or(SEEDS), |_| 1);
    let options = RunOptions {
        steps_max: arguments.steps,
        leases: arguments.leases,
    };
    let mut served = Served::default();
    let mut coverage = Coverage::default();
    for seed in first..first.saturating_add(count) {
        match run_seed(seed, options) {
            Ok(summary) if count == 1 => println!("{seed:#x} passes: {summary}"),
            Ok(summary) => {
                served.add(summary.served);
                coverage.add(summary.coverage);
            }
            Err(failure) => {
                println!("{failure}");
                println!("written to {}", keep(&failure)?.display());
                return Ok(ExitCode::FAILURE);
            }
        }
    }
    if count != 1 {
        let last = first.saturating_add(count).saturating_sub(1);
        println!("{count} seeds pass, {first:#x} to {last:#x}\n{served}\n{coverage}");
    }
    Ok(ExitCode::SUCCESS)
}

fn parse(words: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut arguments = Arguments::default();
    let mut words = words;
    while let Some(word) = words.next() {
        let slot = match word.as_str() {
            "--seed" => &mut arguments.seed,
            "--seeds" => &mut arguments.seeds,
            "--first" => &mut arguments.first,
            "--steps" => &mut arguments.steps,
            "--leases" => {
                arguments.leases = true;
                continue;
            }
            _ => {
                return Err(format!(
                    "{word} is not known: use --seed, --seeds, --first, --steps, --leases"
                ));
            }
        };
        let value = words
            .next()
            .ok_or_else(|| format!("{word} needs a number"))?;
        let number = match value.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16),
            None => value.parse(),
        };
        *slot = Some(number.map_err(|error| format!("{word} {value}: {error}"))?);
    }
    Ok(arguments)
}

/// Writes what is known of a failure beside the build's other results.
fn keep(failure: &Failure) -> Result<PathBuf, std::io::Error> {
    let directory = PathBuf::from(format!("target/sim/{:#x}", failure.seed));
    fs::create_dir_all(&directory)?;
    fs::write(directory.join("options.txt"), &failure.options)?;
    fs::write(directory.join("plan.txt"), failure.plan.to_string())?;
    fs::write(directory.join("trace.txt"), failure.trace.join("\n"))?;
    fs::write(directory.join("report.txt"), failure.to_string())?;
    Ok(directory)
}
