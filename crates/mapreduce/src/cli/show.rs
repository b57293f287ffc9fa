//! Commands that look: status, list, logs, verify; and `kill`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use indicatif::{HumanBytes, HumanCount};
use mapreduce_core::{Outcome, check_receipt};

use crate::cli::To;
use crate::coordinator::publish;
use crate::error::Error;
use crate::spec::{State, Status};
use crate::verify;

/// Arguments of `status`.
#[derive(Args, Clone, Debug)]
pub(crate) struct StatusArgs {
    /// The job; see `list`
    job: String,
    #[command(flatten)]
    to: To,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Arguments of `list`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    to: To,
    /// As JSON, a line each
    #[arg(long)]
    json: bool,
}

/// Arguments of `kill`.
#[derive(Args, Clone, Debug)]
pub(crate) struct KillArgs {
    /// The job; see `list`
    job: String,
    #[command(flatten)]
    to: To,
    /// Why, for the history
    #[arg(long, default_value = "somebody asked for it")]
    reason: String,
}

/// Arguments of `logs`.
#[derive(Args, Clone, Debug)]
pub(crate) struct LogsArgs {
    /// The job; see `list`
    job: String,
    #[command(flatten)]
    to: To,
}

/// Arguments of `verify`.
#[derive(Args, Clone, Debug)]
pub(crate) struct VerifyArgs {
    /// The output directory
    dir: PathBuf,
}

pub(crate) async fn status(args: StatusArgs) -> Result<ExitCode, Error> {
    let status = args.to.client().status(&args.job).await?;
    if args.json {
        print_json(&status);
        return Ok(ExitCode::SUCCESS);
    }
    println!(
        "{} {} {}",
        status.summary.id,
        status.summary.name,
        state_words(&status.summary.state)
    );
    if let Some(error) = &status.summary.error {
        println!("  because: {error}");
    }
    println!("  output {}", status.summary.output.display());
    if let Some(view) = &status.view {
        println!(
            "  map {}/{}, reduce {}/{}, {} failures, {} records skipped, epoch {}",
            view.maps.done,
            view.maps.total,
            view.reduces.done,
            view.reduces.total,
            view.failures,
            view.skipped,
            view.epoch.0
        );
        for worker in &view.workers {
            let slots = format!("{}/{} slots", worker.running, worker.slots);
            println!("  {:<20} {:<10} {slots}", worker.worker, worker.state);
        }
        for attempt in &view.attempts {
            println!(
                "  {:<6} {:<8} {:>3.0}% {:>8.1} s on {} ({:?})",
                attempt.task,
                attempt.attempt,
                attempt.progress * 100.0,
                attempt.age.as_secs_f64(),
                attempt.worker,
                attempt.purpose
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn list(args: ListArgs) -> Result<ExitCode, Error> {
    for job in args.to.client().list().await? {
        if args.json {
            print_json(&job);
        } else {
            let state = state_words(&job.state);
            println!(
                "{:<14} {:<10} {:<20} {}",
                job.id,
                state,
                job.name,
                job.output.display()
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn kill(args: KillArgs) -> Result<ExitCode, Error> {
    args.to.client().kill(&args.job, &args.reason).await?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn logs(args: LogsArgs) -> Result<ExitCode, Error> {
    let mut client = args.to.client();
    client.logs(&args.job, |line| println!("{line}")).await?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn verify(args: &VerifyArgs) -> Result<ExitCode, Error> {
    let found = verify::verify(&args.dir)?;
    println!("{} holds what job {} made:", args.dir.display(), found.job);
    println!(
        "  {} records in; {} records over {} edges of the shuffle, each as sent; {} records out \
         in {} files",
        HumanCount(found.verdict.input.records),
        HumanCount(found.verdict.shuffled.records),
        HumanCount(found.verdict.edges),
        HumanCount(found.verdict.output.records),
        found.files
    );
    println!(
        "  {} tasks were executed twice and gave the same",
        found.verdict.audits
    );
    Ok(ExitCode::SUCCESS)
}

/// What a job that succeeded did.
pub(crate) fn conclusion(status: &Status, output: &Path, took: Duration) {
    println!(
        "job {} ({}) succeeded in {:.2} s",
        status.summary.id,
        status.summary.name,
        took.as_secs_f64()
    );
    let meta = publish::meta_dir(output);
    // On another machine the output may be out of reach: then this is all.
    let Ok(receipt) = verify::read_receipt(output) else {
        return;
    };
    if let Ok(verdict) = check_receipt(&receipt) {
        let line = |what: &str, tally: &mapreduce_core::Tally, more: String| {
            let records = HumanCount(tally.records);
            println!(
                "  {what:<9} {records} records, {}{more}",
                HumanBytes(tally.bytes)
            );
        };
        line(
            "input",
            &verdict.input,
            format!(", {} maps", receipt.plan.maps),
        );
        line("shuffled", &verdict.shuffled, String::new());
        let reduces = format!(", {} files in {}", receipt.plan.reduces, output.display());
        line("output", &verdict.output, reduces);
        println!(
            "  {} attempts failed, {} records skipped, {} tasks audited",
            receipt.failures, receipt.skipped, verdict.audits
        );
    }
    for (name, value) in &receipt.counters {
        println!("  {name}: {value}");
    }
    println!("  receipt {}", meta.join("receipt.json").display());
    println!("  timeline {}", meta.join("timeline.svg").display());
}

fn state_words(state: &State) -> &'static str {
    match state {
        State::Queued => "queued",
        State::Running => "running",
        State::Ended(Outcome::Succeeded) => "succeeded",
        State::Ended(Outcome::Failed(_)) => "failed",
    }
}

fn print_json<T: serde::Serialize>(value: &T) {
    match serde_json::to_string(value) {
        Ok(text) => println!("{text}"),
        Err(error) => eprintln!("cannot write JSON: {error}"),
    }
}
