//! What a pool with distant workers gets out of their processors.
//!
//! Two workers of one thread each do a job through a server that is 50 ms away (a relay in this
//! process holds every datagram back for 25 ms each way, in order). The same number of nonces
//! is hashed by two threads that call the kernel and nothing else. Prints a line of JSON for
//! each of some rounds, with the seconds of both: `{"pool", "raw", "nonces"}`.
//! `cargo xtask bench miner` reads it.
#![expect(clippy::print_stdout, reason = "it prints what it measured")]

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use miner::client::{Job, Outcome, ask};
use miner::worker::{self, WorkerConfig};
use miner::{Server, ServerConfig};
use miner_kernels::{Kernel, Message, Problem};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

const WORKERS: u64 = 2;
const ONE_WAY: Duration = Duration::from_millis(25);
const MESSAGE: &str = "what does the distance cost";
/// Datagrams under way in one direction of one connection at most.
const UNDER_WAY_MAX: usize = 10_000;

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default| {
        arguments
            .next()
            .map_or(Ok(default), |text| text.parse::<u64>())
    };
    let (seconds, rounds) = (number(8)?, number(2)?);
    let kernel = Kernel::fastest(Problem::Cmu);
    let address = start().await?;
    // Not round, so that the last range is an ordinary one.
    let nonces = raw_speed(kernel) * WORKERS * seconds + 12_345;
    for _ in 0..rounds {
        let raw = tokio::task::spawn_blocking(move || raw(kernel, nonces)).await?;
        let start = Instant::now();
        let job = Job {
            server: address,
            lsp: lsp::Config::default(),
            message: MESSAGE.to_owned(),
            lower: 0,
            upper: nonces - 1,
            key: None,
            progress: miner_core::Progress::Unwanted,
            reconnect_for: Duration::ZERO,
        };
        let outcome = ask(&job, |_| {}).await?;
        let pool = start.elapsed().as_secs_f64();
        if !matches!(outcome, Outcome::Result(_)) {
            return Err("the pool was lost".into());
        }
        let raw = raw.as_secs_f64();
        println!(r#"{{"pool": {pool:.3}, "raw": {raw:.3}, "nonces": {nonces}}}"#);
    }
    Ok(())
}

/// Starts a server and, behind a relay each, the workers. Returns where clients ask.
async fn start() -> Result<SocketAddr, Failure> {
    let server = Server::bind(ServerConfig {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        lsp: lsp::Config::default(),
        pool: miner_core::Config::default(),
        store: None,
        kernel: None,
        seed: 1,
    });
    let server = server.await?;
    let address = server.local_addr();
    tokio::spawn(server.run(std::future::pending()));
    for _ in 0..WORKERS {
        let config = WorkerConfig {
            server: relay(address).await?,
            lsp: lsp::Config::default(),
            threads: NonZeroUsize::MIN,
            kernel: None,
        };
        tokio::spawn(async move { worker::run(&config).await });
    }
    // A short job is answered when the workers are there.
    let job = Job {
        server: address,
        lsp: lsp::Config::default(),
        message: MESSAGE.to_owned(),
        lower: 0,
        upper: raw_speed(Kernel::PORTABLE),
        key: None,
        progress: miner_core::Progress::Unwanted,
        reconnect_for: Duration::ZERO,
    };
    ask(&job, |_| {}).await?;
    Ok(address)
}

/// A socket that passes datagrams between one client and the server, late.
async fn relay(server: SocketAddr) -> Result<SocketAddr, Failure> {
    let near = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?);
    let far = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?);
    far.connect(server).await?;
    let address = near.local_addr()?;
    let mut buffer = vec![0; 65_536];
    tokio::spawn(async move {
        // The first datagram says where the client is.
        let Ok((length, client)) = near.recv_from(&mut buffer).await else {
            return;
        };
        if near.connect(client).await.is_err() {
            return;
        }
        let (there, queue) = mpsc::channel(UNDER_WAY_MAX);
        tokio::spawn(release(queue, Arc::clone(&far)));
        let first = (Instant::now() + ONE_WAY, buffer[..length].to_vec());
        if there.send(first).await.is_err() {
            return;
        }
        let (back, queue) = mpsc::channel(UNDER_WAY_MAX);
        tokio::spawn(release(queue, Arc::clone(&near)));
        tokio::spawn(hold(far, back));
        hold(near, there).await;
    });
    Ok(address)
}

/// Reads datagrams and says when they may go on.
async fn hold(from: Arc<UdpSocket>, to: mpsc::Sender<(Instant, Vec<u8>)>) {
    let mut buffer = vec![0; 65_536];
    while let Ok(length) = from.recv(&mut buffer).await {
        let held = (Instant::now() + ONE_WAY, buffer[..length].to_vec());
        if to.send(held).await.is_err() {
            return;
        }
    }
}

async fn release(mut from: mpsc::Receiver<(Instant, Vec<u8>)>, to: Arc<UdpSocket>) {
    while let Some((due, datagram)) = from.recv().await {
        tokio::time::sleep_until(due.into()).await;
        // A datagram that can't be sent is lost, as on any network.
        drop(to.send(&datagram).await);
    }
}

/// Nonces per second of one thread, roughly.
fn raw_speed(kernel: Kernel) -> u64 {
    let nonces = 5_000_000;
    let start = Instant::now();
    std::hint::black_box(Message::new(MESSAGE.as_bytes()).minimum(kernel, 1..=nonces));
    let micros = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
    nonces * 1_000_000 / micros.max(1)
}

/// How long threads take that do nothing but hash.
fn raw(kernel: Kernel, nonces: u64) -> Duration {
    let start = Instant::now();
    std::thread::scope(|scope| {
        for worker in 0..WORKERS {
            scope.spawn(move || {
                let share = nonces / WORKERS;
                let part = worker * share..=(worker + 1) * share - 1;
                std::hint::black_box(Message::new(MESSAGE.as_bytes()).minimum(kernel, part))
            });
        }
    });
    start.elapsed()
}
