//! `kontiki miner`: the proof-of-work pool, and a search for Bitcoin headers.

mod block;
mod progress;

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use clap::{Args, Subcommand};
use kv::store::{Location, Store};
use miner::client::{Job, Outcome};
use miner_kernels::{Kernel, Problem};

use crate::address;
use crate::error::Hint;
use crate::serve::Signals;

/// How long a client with a key tries to reach the server again, unless it says so.
const RECONNECT: Duration = Duration::from_mins(1);

/// Arguments of `kontiki miner`.
#[derive(Args, Debug)]
pub(crate) struct MinerArgs {
    #[command(subcommand)]
    command: MinerCommand,
}

#[derive(Debug, Subcommand)]
enum MinerCommand {
    /// Run a pool's server.
    Server(ServerArgs),
    /// Work for a pool until its server is gone.
    Worker(WorkerArgs),
    /// Find the nonce that gives the smallest hash; prints `Result HASH NONCE`, or
    /// `Disconnected`.
    Client(ClientArgs),
    /// Find the nonce of a Bitcoin header.
    Block(block::BlockArgs),
    /// Measure how fast this machine hashes.
    Speed(SpeedArgs),
}

/// How connections are kept alive and given up.
#[derive(Args, Clone, Debug)]
struct LspArgs {
    /// Milliseconds between two signs of life
    #[arg(long, default_value_t = 2_000, value_name = "MS")]
    epoch_ms: u64,
    /// A peer is lost after so many of them without any
    #[arg(long, default_value_t = 5, value_name = "COUNT")]
    epoch_limit: u32,
}

impl LspArgs {
    fn config(&self) -> lsp::Config {
        let mut config = lsp::Config::default();
        config.core.epoch = Duration::from_millis(self.epoch_ms);
        config.core.epoch_limit = self.epoch_limit;
        config
    }
}

#[derive(Args, Debug)]
struct ServerArgs {
    /// Where to listen (UDP): host:port, or a port of this machine
    #[arg(default_value = "127.0.0.1:6060", value_name = "ADDR")]
    listen: String,
    /// Keep jobs that have a key in a database in this directory, or in a cluster
    /// (host:port[,host:port..] of gRPC doors); without it they end with the server
    #[arg(
        long,
        alias = "store",
        env = "KONTIKI_MINER_DATA_DIR",
        value_name = "DIR|ADDR,.."
    )]
    data_dir: Option<Location>,
    /// One result in so many is checked with the server's own kernel
    #[arg(long, default_value_t = 16, value_name = "COUNT")]
    check_one_in: u32,
    /// Listen where other machines can reach it; there is no authentication
    #[arg(long)]
    insecure_listen: bool,
    #[command(flatten)]
    lsp: LspArgs,
}

#[derive(Args, Debug)]
struct WorkerArgs {
    /// The server's host:port
    #[arg(value_name = "ADDR")]
    server: String,
    /// Threads that hash; all processors by default
    #[arg(long)]
    threads: Option<NonZeroUsize>,
    /// portable, avx2, avx512 or sha-ni; by default the one that measures fastest
    #[arg(long)]
    kernel: Option<Kernel>,
    #[command(flatten)]
    lsp: LspArgs,
}

#[derive(Args, Debug)]
struct ClientArgs {
    /// The server's host:port
    #[arg(value_name = "ADDR")]
    server: String,
    /// What is hashed with the nonces
    message: String,
    /// The last nonce to look at; the first is 0
    max_nonce: u64,
    /// Show how far the job is, how fast, and how long it will take, on stderr
    #[arg(long)]
    progress: bool,
    /// A name under which the job survives a lost connection and a restart of the server
    #[arg(long, value_name = "NAME")]
    job_key: Option<String>,
    /// With --job-key: try to reach the server again for so many seconds
    #[arg(long, default_value_t = RECONNECT.as_secs_f64(), value_name = "SECONDS")]
    reconnect: f64,
    #[command(flatten)]
    lsp: LspArgs,
}

#[derive(Args, Debug)]
struct SpeedArgs {
    /// Milliseconds for each kernel
    #[arg(long, default_value_t = 500, value_name = "MS")]
    span_ms: u64,
}

pub(crate) async fn run(args: MinerArgs) -> Result<ExitCode> {
    match args.command {
        MinerCommand::Server(args) => server(args).await,
        MinerCommand::Worker(args) => worker(args).await,
        MinerCommand::Client(args) => client(args).await,
        MinerCommand::Block(args) => block::run(args).await,
        MinerCommand::Speed(args) => speed(&args),
    }
}

/// An address as typed: a port alone is of this machine.
fn resolve(text: &str) -> Result<SocketAddr> {
    let full = if text.parse::<u16>().is_ok() {
        format!("127.0.0.1:{text}")
    } else {
        text.to_owned()
    };
    let hint = || Hint::new(format!("{text} is not an address"), "write host:port");
    let mut found = full.to_socket_addrs().with_context(hint)?;
    found.next().ok_or_else(|| anyhow!(hint()))
}

fn threads() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

async fn server(args: ServerArgs) -> Result<ExitCode> {
    let listen = resolve(&args.listen)?;
    address::refuse_open(&[listen.to_string().as_str()], args.insecure_listen)?;
    let mut signals = Signals::new()?;
    let store = match &args.data_dir {
        None => None,
        Some(location) => Some(
            Store::open(location)
                .await
                .context("cannot open the store")?,
        ),
    };
    let mut random = [0; 8];
    rustix::rand::getrandom(&mut random[..], rustix::rand::GetRandomFlags::empty())?;
    let config = miner::ServerConfig {
        listen,
        lsp: args.lsp.config(),
        pool: miner_core::Config {
            check_one_in: args.check_one_in,
            ..miner_core::Config::default()
        },
        store,
        kernel: None,
        seed: u64::from_ne_bytes(random),
    };
    let server = miner::Server::bind(config).await.context("cannot start")?;
    println!("Server listening on {}", server.local_addr());
    server.run(signals.asked()).await?;
    Ok(ExitCode::SUCCESS)
}

async fn worker(args: WorkerArgs) -> Result<ExitCode> {
    let config = miner::worker::WorkerConfig {
        server: resolve(&args.server)?,
        lsp: args.lsp.config(),
        threads: args.threads.unwrap_or_else(threads),
        kernel: args.kernel,
    };
    let mut signals = Signals::new()?;
    tokio::select! {
        ended = miner::worker::run(&config) => ended?,
        () = signals.asked() => {}
    }
    Ok(ExitCode::SUCCESS)
}

async fn client(args: ClientArgs) -> Result<ExitCode> {
    let job = Job {
        server: resolve(&args.server)?,
        lsp: args.lsp.config(),
        problem: Problem::Cmu,
        message: args.message,
        lower: 0,
        upper: args.max_nonce,
        key: args.job_key,
        progress: if args.progress {
            miner_core::Progress::Wanted
        } else {
            miner_core::Progress::Unwanted
        },
        reconnect_for: Duration::try_from_secs_f64(args.reconnect).with_context(|| {
            Hint::new(
                format!("--reconnect {}", args.reconnect),
                "write seconds, such as 60",
            )
        })?,
    };
    let mut bar = args.progress.then(progress::Bar::new);
    let outcome = miner::client::ask(&job, |done| {
        if let Some(bar) = &mut bar {
            bar.show(done.done, done.total);
        }
    });
    let outcome = outcome.await?;
    if let Some(bar) = bar {
        bar.end();
    }
    Ok(match outcome {
        Outcome::Result(best) => {
            println!("Result {} {}", best.hash, best.nonce);
            ExitCode::SUCCESS
        }
        Outcome::Disconnected => {
            println!("Disconnected");
            ExitCode::from(1)
        }
    })
}

fn speed(args: &SpeedArgs) -> Result<ExitCode> {
    let span = Duration::from_millis(args.span_ms.max(1));
    println!("{:<10} {:<10} {:>12}", "problem", "kernel", "million/s");
    for (problem, name) in [(Problem::Cmu, "cmu"), (Problem::Bitcoin, "bitcoin")] {
        for speed in Kernel::measure(problem, span) {
            println!(
                "{name:<10} {:<10} {:>12.1}",
                speed.kernel,
                speed.per_second / 1e6
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}
