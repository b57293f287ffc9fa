//! The `kontiki` binary: flags, configuration, terminal.
//!
//! Every subcommand is a module. What was typed (`*Args`, one definition for each flag, from
//! which `--help`, completions and the environment variables come too) is turned into what
//! it means before anything happens, so that a wrong flag costs nothing.
//!
//! Exit codes are grep's: 0 is yes, 1 is no (an absent key, a comparison that failed), 2 is
//! trouble. A closed pipe is success: whoever read had enough.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the command line owns the terminal"
)]

use std::io;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{CommandFactory as _, Parser, Subcommand};
use mimalloc::MiMalloc;

mod address;
mod client;
mod config;
mod data;
mod error;
mod kmeans;
mod log;
mod lsp;
mod member;
mod miner;
mod serve;
mod status;
mod up;
mod wal;

// Many small values come and go on several threads.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// A durable, linearizable key/value database that Redis clients talk to.
///
/// Start a cluster on this machine with `kontiki up`, then use any Redis client, gRPC, or
/// the commands below. Exit codes: 0 yes, 1 no (an absent key, say), 2 trouble.
#[derive(Debug, Parser)]
#[command(name = "kontiki", version = env!("KONTIKI_VERSION"), propagate_version = true)]
struct Args {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    log: log::LogArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a cluster of processes on this machine.
    Up(up::UpArgs),
    /// Run one node: alone, or as a member of a cluster.
    Serve(Box<serve::ServeArgs>),
    /// Read a key.
    Get(data::GetArgs),
    /// Store a value.
    Put(data::PutArgs),
    /// Add to the end of a value.
    Append(data::AppendArgs),
    /// Delete keys.
    Del(data::DelArgs),
    /// List keys and values by prefix.
    List(data::ListArgs),
    /// Store a value only if the key still holds what you expect.
    Cas(data::CasArgs),
    /// Show every node: role, term, indexes, lag, disk.
    Status(status::StatusArgs),
    /// Change who belongs to the cluster, or who leads it.
    Member(member::MemberArgs),
    /// Send and receive messages over UDP.
    Lsp(lsp::LspArgs),
    /// Find the clusters of points: k-means, with mappers and reducers as processes.
    Kmeans(kmeans::KmeansArgs),
    /// Find proofs of work: a pool's server, its workers and clients, and Bitcoin headers.
    Miner(miner::MinerArgs),
    /// Run MapReduce jobs.
    Mr(mapreduce::cli::MrArgs),
    /// Look into a node's log on disk.
    Wal(wal::WalArgs),
    /// Print a completion script for a shell.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
}

fn main() -> ExitCode {
    let args = Args::parse();
    match run(args) {
        Ok(code) => code,
        Err(error) if error::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            error::print(&error);
            ExitCode::from(2)
        }
    }
}

fn run(args: Args) -> Result<ExitCode> {
    match args.command {
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Args::command(), "kontiki", &mut text);
            io::Write::write_all(&mut io::stdout(), &text)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Up(up) => {
            log::start(&args.log, None)?;
            runtime()?.block_on(up::run(up, &args.log))
        }
        Command::Kmeans(kmeans) => {
            log::start(&args.log, None)?;
            let runtime = runtime()?;
            let code = runtime.block_on(kmeans::run(kmeans));
            // What a worker still computes has nobody to report to.
            runtime.shutdown_background();
            code
        }
        Command::Serve(serve) => {
            let config = serve.into_config()?;
            log::start(&args.log, config.log_prefix())?;
            let runtime = runtime()?;
            let code = runtime.block_on(serve::run(config));
            // A connection that blocks must not keep a node that has stopped.
            runtime.shutdown_timeout(std::time::Duration::from_secs(1));
            code
        }
        Command::Mr(mr) => {
            log::start(&args.log, None)?;
            let program = mapreduce::cli::Program {
                prefix: vec!["mr".to_owned()],
                log_level: args.log.log_level,
                registry: mapreduce::Registry::new(),
            };
            let runtime = runtime()?;
            let code = runtime.block_on(mapreduce::cli::run(mr, program));
            // A thread that waits for the job's code must not keep the process.
            runtime.shutdown_timeout(std::time::Duration::from_millis(200));
            code.map_err(error::of_mapreduce)
        }
        Command::Wal(args) => wal::run(args),
        other => {
            log::start(&args.log, None)?;
            runtime()?.block_on(client(other))
        }
    }
}

/// The commands that talk to a cluster.
async fn client(command: Command) -> Result<ExitCode> {
    match command {
        Command::Get(args) => data::get(args).await,
        Command::Put(args) => data::put(args).await,
        Command::Append(args) => data::append(args).await,
        Command::Del(args) => data::del(args).await,
        Command::List(args) => data::list(args).await,
        Command::Cas(args) => data::cas(args).await,
        Command::Status(args) => status::run(args).await,
        Command::Member(args) => member::run(args).await,
        Command::Lsp(args) => lsp::run(args).await,
        Command::Miner(args) => miner::run(args).await,
        Command::Up(_)
        | Command::Serve(_)
        | Command::Kmeans(_)
        | Command::Mr(_)
        | Command::Wal(_)
        | Command::Completions { .. } => {
            unreachable!("these are handled before")
        }
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the threads that serve connections")
}
