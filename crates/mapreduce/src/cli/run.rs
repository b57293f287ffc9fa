//! `run` and `submit`.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use mapreduce_core::{JobError, Outcome};

use crate::cli::children::{self, Kept};
use crate::cli::job::JobArgs;
use crate::cli::progress::Display;
use crate::cli::serve::processors;
use crate::cli::{Program, To, show};
use crate::client::Client;
use crate::coordinator::publish;
use crate::error::{Context as _, Error};
use crate::spec::{JobRequest, State, Status};

/// Arguments of `run`.
#[derive(Args, Clone, Debug)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    job: JobArgs,
    /// How many worker processes [default: the number of processors]
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    workers: Option<u32>,
    /// Tasks that each of them executes at once
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    slots: u32,
}

/// Arguments of `submit`.
#[derive(Args, Clone, Debug)]
pub(crate) struct SubmitArgs {
    #[command(flatten)]
    job: JobArgs,
    #[command(flatten)]
    to: To,
    /// Print the job's name and don't wait for its end
    #[arg(long)]
    detach: bool,
}

pub(crate) async fn submit(args: SubmitArgs, program: &Program) -> Result<ExitCode, Error> {
    let request = args.job.into_request(&program.registry, processors())?;
    let mut client = args.to.client();
    let job = client.submit(&request).await?;
    if args.detach {
        println!("{job}");
        return Ok(ExitCode::SUCCESS);
    }
    let started = Instant::now();
    let status = watch(&mut client, &job).await?;
    conclude(&status, &request, started.elapsed())
}

pub(crate) async fn run(args: RunArgs, program: Program) -> Result<ExitCode, Error> {
    let started = Instant::now();
    let workers = args.workers.unwrap_or_else(processors);
    let slots = args.slots;
    let request = args
        .job
        .into_request(&program.registry, workers.saturating_mul(slots))?;
    if request.output.exists() && !request.output.is_dir() {
        let output = request.output.display();
        return Err(Error::new(format!(
            "the output {output} is not a directory"
        )));
    }
    let meta = publish::meta_dir(&request.output);
    let made = !request.output.exists();
    let (state, work) = (meta.join("state"), meta.join("work"));
    children::remove(&state);
    std::fs::create_dir_all(&work).context(format!("cannot create {}", work.display()))?;
    let result = tokio::select! {
        result = with_children(&program, &request, workers, slots, &state, &work) => result,
        _ = tokio::signal::ctrl_c() => Err(Error::new("interrupted: the job was given up")),
    };
    children::remove(&state);
    children::remove(&work);
    if result.is_err() {
        // Only what is empty goes: a failed job's history stays.
        let _kept = std::fs::remove_dir(&meta);
        if made {
            let _kept = std::fs::remove_dir(&request.output);
        }
    }
    conclude(&result?, &request, started.elapsed())
}

/// Starts the processes, runs the job, stops the processes.
async fn with_children(
    program: &Program,
    request: &JobRequest,
    workers: u32,
    slots: u32,
    state: &Path,
    work: &Path,
) -> Result<Status, Error> {
    let (coordinator, address) = children::coordinator(program, state).await?;
    tracing::info!(address, "the coordinator listens");
    let mut kept: Vec<Kept> = Vec::new();
    for number in 1..=workers {
        kept.push(children::worker(program, number, slots, &address, work)?);
    }
    let mut client = Client::new(vec![address], Duration::from_secs(30));
    let result = match client.submit(request).await {
        Ok(job) => watch(&mut client, &job).await,
        Err(error) => Err(error),
    };
    for worker in &kept {
        worker.ask_to_stop();
    }
    coordinator.stop().await;
    for worker in kept {
        worker.stop().await;
    }
    result
}

async fn watch(client: &mut Client, job: &str) -> Result<Status, Error> {
    let mut display = Display::new();
    let status = client.watch(job, |status| display.show(status)).await;
    display.finish();
    status
}

/// Says how it went.
fn conclude(status: &Status, request: &JobRequest, took: Duration) -> Result<ExitCode, Error> {
    match &status.summary.state {
        State::Ended(Outcome::Succeeded) => {
            show::conclusion(status, &request.output, took);
            Ok(ExitCode::SUCCESS)
        }
        State::Ended(Outcome::Failed(why)) => {
            let error = Error::new(format!("job {} failed", status.summary.id))
                .because(Error::new(why.to_string()));
            let meta = publish::meta_dir(&request.output);
            Err(error.hint(match why {
                JobError::NoWorkers { .. } => {
                    "start workers with `kontiki mr worker`, or see why they ended".to_owned()
                }
                JobError::NonDeterministic { .. } => {
                    "the job's code gives different results for the same input: look for \
                     randomness, time, or the order of a hash table"
                        .to_owned()
                }
                JobError::TooManyBadRecords { .. } => {
                    "look at the record, or allow more with --skip-bad-records".to_owned()
                }
                _ => format!(
                    "what happened is in {} and {}",
                    meta.join("history.jsonl").display(),
                    meta.join("timeline.svg").display()
                ),
            }))
        }
        State::Queued | State::Running => Err(Error::new("the job did not end")),
    }
}
