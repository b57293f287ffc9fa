//! Runs seeds: `cargo xtask sim mapreduce [--seed S | --seeds N [--first S]]`.
#![expect(
    clippy::print_stdout,
    reason = "a tool that tells what it found on the terminal"
)]

use std::process::ExitCode;

use mapreduce_sim::{Scenario, run, run_with};

/// After so many runs that failed it ends.
const FAILURES_MAX: u32 = 20;

fn main() -> Result<ExitCode, String> {
    let (mut seed, mut seeds, mut first) = (None, 1_000, 0);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words
            .next()
            .ok_or_else(|| format!("{word} needs a number"))?;
        let value = value.strip_prefix("0x").map_or_else(
            || value.parse::<u64>().map_err(|error| error.to_string()),
            |hex| u64::from_str_radix(hex, 16).map_err(|error| error.to_string()),
        )?;
        match word.as_str() {
            "--seed" => seed = Some(value),
            "--seeds" => seeds = value,
            "--first" => first = value,
            _ => return Err(format!("{word} is not known: use --seed, --seeds, --first")),
        }
    }
    if let Some(seed) = seed {
        (first, seeds) = (seed, 1);
    }
    let (mut succeeded, mut failures, mut batches) = (0, 0, 0);
    let mut found = 0;
    for seed in first..first.saturating_add(seeds) {
        let mut killing = Scenario::draw(seed);
        killing.kill_every_worker();
        for result in [run(seed), run_with(&killing)] {
            match result {
                Ok(summary) => {
                    succeeded += u64::from(summary.succeeded);
                    failures += summary.failures;
                    batches += summary.batches;
                }
                Err(failure) => {
                    found += 1;
                    if found == 1 {
                        println!("{failure}");
                    } else {
                        let sim::Violation { property, detail } = &failure.violation;
                        println!("seed {seed} fails, too: {property}: {detail}");
                    }
                }
            }
        }
        if found >= FAILURES_MAX {
            break;
        }
    }
    if found > 0 {
        return Ok(ExitCode::FAILURE);
    }
    println!(
        "{seeds} seeds pass, twice each (the second time every worker is killed once): \
         {succeeded} jobs had a result, {failures} attempts failed, {batches} batches"
    );
    Ok(ExitCode::SUCCESS)
}
