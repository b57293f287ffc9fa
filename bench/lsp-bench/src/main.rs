//! LSP, QUIC and TCP over one path: goodput, latency, small messages, idle connections.
//!
//! One process receives and prints what it measured as JSON; another sends. `cargo xtask
//! bench lsp` puts them at the ends of a link. All transports carry the same messages: of one
//! length, each stamped with the time at which it was due. The clock is the machine's
//! monotonic one, which both processes read, so latency is one-way.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::{Args, Parser, Subcommand, ValueEnum};

mod idle;
mod meter;
mod over_lsp;
mod over_quinn;
mod over_tcp;

/// Measures message transports.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Receive from one sender, print what came as JSON, and end.
    Receive(Receive),
    /// Send until killed, or until the receiver is gone.
    Send(Send),
    /// Hold connections that say nothing, until killed.
    IdleServer {
        #[arg(long)]
        bind: SocketAddr,
        #[arg(long, value_enum, default_value_t = Transport::Lsp2)]
        transport: Transport,
        #[arg(long, default_value_t = 10_000)]
        connections: usize,
    },
    /// Open connections that say nothing, print `ready`, and keep them until killed.
    IdleClients {
        #[arg(long)]
        to: SocketAddr,
        #[arg(long, value_enum, default_value_t = Transport::Lsp2)]
        transport: Transport,
        #[arg(long, default_value_t = 10_000)]
        connections: usize,
    },
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Transport {
    /// LSP version 1, window 200, adaptive recovery.
    Lsp1,
    /// LSP version 1 as the specification has it: window 1, epochs of 2 s.
    Lsp1Original,
    /// LSP version 2.
    Lsp2,
    /// QUIC by quinn, with its BBR.
    QuinnBbr,
    /// QUIC by quinn, with its default, CUBIC.
    QuinnCubic,
    /// The kernel's TCP with CUBIC.
    TcpCubic,
    /// The kernel's TCP with BBR.
    TcpBbr,
}

#[derive(Args, Clone, Debug)]
struct Receive {
    #[arg(long, value_enum)]
    transport: Transport,
    #[arg(long)]
    bind: SocketAddr,
    /// How long to count, from the first message on.
    #[arg(long, default_value_t = 8.0)]
    seconds: f64,
    /// Bytes of a message.
    #[arg(long, default_value_t = 1_000)]
    message: usize,
    /// Where a QUIC server leaves its certificate.
    #[arg(long, default_value = "/tmp/lsp-bench.der")]
    certificate: PathBuf,
}

impl Receive {
    fn span(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }
}

#[derive(Args, Clone, Debug)]
struct Send {
    #[arg(long, value_enum)]
    transport: Transport,
    #[arg(long)]
    to: SocketAddr,
    /// Bytes of a message.
    #[arg(long, default_value_t = 1_000)]
    message: usize,
    /// Messages a second; without it, as many as go.
    #[arg(long)]
    rate: Option<f64>,
    /// Print what LSP knows of the connection every second.
    #[arg(long)]
    verbose: bool,
    /// Where a QUIC server leaves its certificate.
    #[arg(long, default_value = "/tmp/lsp-bench.der")]
    certificate: PathBuf,
}

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Receive(args) => {
            let report = match args.transport {
                Transport::Lsp1 | Transport::Lsp1Original | Transport::Lsp2 => {
                    runtime()?.block_on(over_lsp::receive(&args))?
                }
                Transport::QuinnBbr | Transport::QuinnCubic => {
                    runtime()?.block_on(over_quinn::receive(&args))?
                }
                Transport::TcpCubic | Transport::TcpBbr => over_tcp::receive(&args)?,
            };
            println!("{report}");
            Ok(())
        }
        Command::Send(args) => match args.transport {
            Transport::Lsp1 | Transport::Lsp1Original | Transport::Lsp2 => {
                runtime()?.block_on(over_lsp::send(&args))
            }
            Transport::QuinnBbr | Transport::QuinnCubic => {
                runtime()?.block_on(over_quinn::send(&args))
            }
            Transport::TcpCubic | Transport::TcpBbr => over_tcp::send(&args),
        },
        Command::IdleServer {
            bind,
            transport,
            connections,
        } => runtime()?.block_on(idle::serve(bind, transport, connections)),
        Command::IdleClients {
            to,
            transport,
            connections,
        } => runtime()?.block_on(idle::connect(to, transport, connections)),
    }
}

/// One thread a process: two processes have the two cores.
fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start a runtime")
}
