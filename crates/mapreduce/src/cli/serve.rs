//! The processes that stay: coordinator and worker.

use std::io::Read as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use kv::store::Location;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use crate::cli::{Program, To};
use crate::coordinator::{self, CoordinatorConfig};
use crate::error::{Context as _, Error};
use crate::worker::{self, WorkerConfig};

/// What a coordinator's line begins with when it listens.
pub(crate) const READY: &str = "ready";

/// Arguments of `coordinator`.
#[derive(Args, Clone, Debug)]
pub(crate) struct CoordinatorArgs {
    /// Where workers and clients connect
    #[arg(long, default_value = "127.0.0.1:7480", value_name = "ADDR")]
    listen: SocketAddr,
    /// Where the state is kept: a directory, or the gRPC addresses of a Kontiki cluster, with
    /// which a second coordinator can stand by
    #[arg(long, default_value = "./kontiki-mr", value_name = "DIR|ADDR,..")]
    store: String,
    /// Stop when standard input closes
    #[arg(long, hide = true)]
    as_child: bool,
}

/// Arguments of `worker`.
#[derive(Args, Clone, Debug)]
pub(crate) struct WorkerArgs {
    #[command(flatten)]
    to: To,
    /// Tasks that are executed at once [default: the number of processors]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    slots: Option<u32>,
    /// Where other workers fetch from this one; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDR")]
    listen: SocketAddr,
    /// That address as other workers see it [default: what is listened on]
    #[arg(long, value_name = "HOST:PORT")]
    advertise: Option<String>,
    /// For map output and what doesn't fit into memory [default: the system's temporary files]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// For people [default: worker and the process's number]
    #[arg(long)]
    name: Option<String>,
    /// Without a coordinator for so many seconds the worker ends
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    patience: u64,
    /// Stop when standard input closes
    #[arg(long, hide = true)]
    as_child: bool,
}

pub(crate) async fn coordinator(
    args: CoordinatorArgs,
    program: Program,
) -> Result<ExitCode, Error> {
    let store: Location = args.store.parse().context(format!(
        "--store {} is neither a directory nor addresses",
        args.store
    ))?;
    let config = CoordinatorConfig {
        listen: args.listen,
        store,
        registry: program.registry,
    };
    let signalled = signalled()?;
    let gone = parent_gone(args.as_child);
    let stop = async {
        tokio::select! {
            () = signalled => {}
            () = gone => {}
        }
    };
    coordinator::run(config, |address| println!("{READY} {address}"), stop).await?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn worker(args: WorkerArgs, program: Program) -> Result<ExitCode, Error> {
    let slots = args.slots.unwrap_or_else(processors);
    let config = WorkerConfig {
        coordinators: args.to.coordinator,
        slots,
        listen: args.listen,
        advertise: args.advertise,
        dir: args
            .dir
            .unwrap_or_else(|| std::env::temp_dir().join("kontiki-mr")),
        name: args
            .name
            .unwrap_or_else(|| format!("worker {}", std::process::id())),
        patience: Duration::from_secs(args.patience),
        registry: program.registry,
    };
    let leave = signalled()?;
    tokio::select! {
        result = worker::run(config, leave) => result?,
        // Nobody is left for whom output should be kept.
        () = parent_gone(args.as_child) => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// How many processors this process may use.
pub(crate) fn processors() -> u32 {
    std::thread::available_parallelism()
        .ok()
        .and_then(|count| u32::try_from(count.get()).ok())
        .unwrap_or(1)
}

/// Waits for SIGTERM or SIGINT.
fn signalled() -> Result<impl Future<Output = ()>, Error> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen to signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen to signals")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Waits until the parent closes our standard input, by intent or by its death.
async fn parent_gone(as_child: bool) {
    if !as_child {
        return std::future::pending().await;
    }
    let (sender, receiver) = oneshot::channel();
    std::thread::spawn(move || {
        let mut sink = [0; 256];
        let mut input = std::io::stdin().lock();
        while input.read(&mut sink).is_ok_and(|read| read > 0) {}
        // The process is ending if nobody waits.
        let _gone = sender.send(());
    });
    if receiver.await.is_err() {
        std::future::pending::<()>().await;
    }
}
