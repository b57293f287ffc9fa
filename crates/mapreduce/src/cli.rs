//! The command line of the compute engine, for `kontiki mr` and for binaries with jobs in Rust.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the command line owns the terminal"
)]

mod children;
mod job;
mod progress;
mod run;
mod serve;
mod show;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use mapreduce_data::Registry;

use crate::client::Client;
use crate::error::{Context as _, Error};

/// How this program starts itself again as a coordinator or worker.
#[derive(Clone, Debug)]
pub struct Program {
    /// Arguments before the subcommand: `mr` for `kontiki`.
    pub prefix: Vec<String>,
    /// What to log, as it was asked for.
    pub log_level: String,
    /// Jobs in Rust that this binary has.
    pub registry: Registry,
}

/// Runs `MapReduce` jobs: on this machine with one command, or on a cluster of workers.
///
///   kontiki mr run wordcount --input '/usr/share/doc/**' --output counts
///   kontiki mr run --map 'python3 m.py' --reduce 'python3 r.py' --input logs --output out
///
/// On several machines: one `coordinator`, a `worker` each, then `submit`.
#[derive(Args, Clone, Debug)]
#[command(verbatim_doc_comment)]
pub struct MrArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    /// Run a job on this machine: starts a coordinator and workers, and stops them at the end.
    Run(Box<run::RunArgs>),
    /// Hand in a job to a running coordinator.
    Submit(Box<run::SubmitArgs>),
    /// Run a coordinator until it is asked to stop.
    Coordinator(serve::CoordinatorArgs),
    /// Run a worker. SIGTERM drains it: what it has is kept until nobody needs it.
    Worker(serve::WorkerArgs),
    /// Show how a job stands.
    Status(show::StatusArgs),
    /// List jobs.
    List(show::ListArgs),
    /// End a job.
    Kill(show::KillArgs),
    /// Print what happened in a job.
    Logs(show::LogsArgs),
    /// Check a job's output again, offline: receipt, manifest, every file.
    Verify(show::VerifyArgs),
}

/// Which coordinator.
#[derive(Args, Clone, Debug)]
struct To {
    /// Where the coordinator listens; several, comma-separated, where one stands by
    #[arg(
        long,
        env = "KONTIKI_MR_COORDINATOR",
        default_value = "127.0.0.1:7480",
        value_name = "ADDR",
        value_delimiter = ','
    )]
    coordinator: Vec<String>,
}

impl To {
    fn client(&self) -> Client {
        Client::new(self.coordinator.clone(), Duration::from_secs(5))
    }
}

/// Runs a subcommand.
///
/// # Errors
///
/// What went wrong, with a hint where one is known.
pub async fn run(args: MrArgs, program: Program) -> Result<ExitCode, Error> {
    match args.command {
        Command::Run(args) => run::run(*args, program).await,
        Command::Submit(args) => run::submit(*args, &program).await,
        Command::Coordinator(args) => serve::coordinator(args, program).await,
        Command::Worker(args) => serve::worker(args, program).await,
        Command::Status(args) => show::status(args).await,
        Command::List(args) => show::list(args).await,
        Command::Kill(args) => show::kill(args).await,
        Command::Logs(args) => show::logs(args).await,
        Command::Verify(args) => show::verify(&args),
    }
}

/// A binary with jobs in Rust: coordinator, worker and client at once.
#[derive(Debug, Parser)]
struct Binary {
    #[command(flatten)]
    mr: MrArgs,
    /// What to log to stderr: error, warn, info, debug, trace, or filters
    #[arg(long, global = true, default_value = "warn", env = "KONTIKI_LOG_LEVEL")]
    log_level: String,
}

/// What [`crate::main!`] calls.
#[must_use]
pub fn main(registry: Registry) -> ExitCode {
    let binary = Binary::parse();
    let program = Program {
        prefix: Vec::new(),
        log_level: binary.log_level,
        registry,
    };
    match start(binary.mr, program) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {}", error.line());
            if let Some(hint) = advice(&error) {
                eprintln!("hint: {hint}");
            }
            ExitCode::from(2)
        }
    }
}

/// The first hint in a chain.
fn advice(error: &Error) -> Option<String> {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(hint) = error.downcast_ref::<Error>().and_then(Error::advice) {
            return Some(hint.to_owned());
        }
        next = error.source();
    }
    None
}

fn start(args: MrArgs, program: Program) -> Result<ExitCode, Error> {
    let filter = tracing_subscriber::EnvFilter::try_new(&program.log_level)
        .context("--log-level is not understood")?;
    tracing_subscriber::fmt()
        .compact()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .try_init()
        .context("cannot start logging")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start threads")?;
    let code = runtime.block_on(run(args, program));
    // A thread that waits for user code must not keep the process.
    runtime.shutdown_timeout(Duration::from_millis(200));
    code
}

/// A path as every process sees it.
fn absolute(path: &std::path::Path) -> Result<PathBuf, Error> {
    std::path::absolute(path).context(format!("{} is not a path", path.display()))
}
