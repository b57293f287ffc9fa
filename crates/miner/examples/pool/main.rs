//! What a pool with distant workers gets out of their processors, and how it answers.
//!
//! `pool SECONDS ROUNDS` prints lines of JSON, which `cargo xtask bench miner` reads:
//!
//! * `efficiency`: two workers of one thread each do a job through a server that is 50 ms away (a
//!   relay in this process holds every datagram back for 25 ms each way, in order). The same
//!   number of nonces is hashed by two threads that call the kernel and nothing else. A line for
//!   each round.
//! * `latency`: how long small jobs take when the pool has nothing else to do, and when it has a
//!   huge one.
//! * `fairness`: how long a job takes when another client has twenty like it in the pool.
//! * `killed`: how long a job takes when a worker, or the server, is killed halfway (processes of
//!   their own, without the relay), and what it would take if that cost nothing.
#![expect(clippy::print_stdout, reason = "it prints what it measured")]

mod processes;
mod relay;

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use bytes::Bytes;
use miner::client::{Job, Outcome, ask};
use miner::worker::{self, WorkerConfig};
use miner::{Server, ServerConfig};
use miner_core::{Message as PoolMessage, Progress, RequestExtension};
use miner_kernels::{Kernel, Message, Problem};
use tokio::task::JoinHandle;

const WORKERS: u64 = 2;
const MESSAGE: &str = "what does the distance cost";
/// Small jobs that are measured, and the part of a second that one takes both workers.
const SMALL_JOBS: usize = 15;
const SMALL_PART: u64 = 5;
/// Jobs of the client that has many.
const MANY_JOBS: u64 = 20;

pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (seconds, rounds) = match words[..] {
        ["server", listen, dir] => return processes::serve(listen.parse()?, dir.to_owned()).await,
        ["worker", server] => return processes::work(server.parse()?).await,
        [seconds, rounds] => (seconds.parse()?, rounds.parse()?),
        _ => (8, 2),
    };
    let (pool, tasks) = start().await?;
    for _ in 0..rounds {
        pool.efficiency(seconds).await?;
    }
    pool.fairness().await?;
    pool.latency().await?;
    for task in tasks {
        task.abort();
    }
    processes::kills(seconds).await
}

/// A pool, as its clients see it.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    pub(crate) server: SocketAddr,
    pub(crate) lsp: lsp::Config,
}

impl Pool {
    #[expect(clippy::unused_self, reason = "all workers choose alike")]
    pub(crate) fn kernel(&self) -> Kernel {
        Kernel::fastest(Problem::Cmu)
    }

    /// Has a job of so many nonces done, and says how long it took.
    pub(crate) async fn job(&self, nonces: u64, key: Option<String>) -> Result<Duration, Failure> {
        let job = Job {
            server: self.server,
            lsp: self.lsp.clone(),
            problem: Problem::Cmu,
            message: MESSAGE.to_owned(),
            lower: 0,
            upper: nonces - 1,
            key,
            progress: Progress::Unwanted,
            reconnect_for: Duration::from_mins(1),
        };
        let start = Instant::now();
        match ask(&job, |_| {}).await? {
            Outcome::Result(_) => Ok(start.elapsed()),
            Outcome::Disconnected => Err("the pool was lost".into()),
        }
    }

    pub(crate) async fn owned_job(
        self,
        nonces: u64,
        key: &'static str,
    ) -> Result<Duration, Failure> {
        self.job(nonces, Some(key.to_owned())).await
    }

    async fn efficiency(&self, seconds: u64) -> Result<(), Failure> {
        let kernel = self.kernel();
        // Not round, so that the last range is an ordinary one.
        let nonces = raw_speed(kernel) * WORKERS * seconds + 12_345;
        // Before and after: the machine's speed is not always the same.
        let before = tokio::task::spawn_blocking(move || raw(kernel, nonces)).await?;
        let pool = self.job(nonces, None).await?.as_secs_f64();
        let after = tokio::task::spawn_blocking(move || raw(kernel, nonces)).await?;
        let raw = ((before + after) / 2).as_secs_f64();
        println!(
            r#"{{"what": "efficiency", "pool": {pool:.3}, "raw": {raw:.3}, "nonces": {nonces}}}"#
        );
        Ok(())
    }

    async fn latency(&self) -> Result<(), Failure> {
        let kernel = self.kernel();
        let nonces = raw_speed(kernel) * WORKERS / SMALL_PART;
        let raw = tokio::task::spawn_blocking(move || raw(kernel, nonces)).await?;
        let alone = self.small_jobs(nonces).await?;
        let huge = tokio::spawn(self.clone().owned_job(u64::MAX, "huge"));
        let behind = self.small_jobs(nonces).await?;
        huge.abort();
        let raw = raw.as_secs_f64();
        println!(
            r#"{{"what": "latency", "raw": {raw:.3}, "alone": {alone:.3}, "behind": {behind:.3}}}"#
        );
        Ok(())
    }

    /// The median of some small jobs, one after the other.
    async fn small_jobs(&self, nonces: u64) -> Result<f64, Failure> {
        let mut times = Vec::new();
        for _ in 0..SMALL_JOBS {
            times.push(self.job(nonces, None).await?);
        }
        times.sort_unstable();
        Ok(times[SMALL_JOBS / 2].as_secs_f64())
    }

    /// One client asks for many jobs over one connection, then another for one.
    async fn fairness(&self) -> Result<(), Failure> {
        let nonces = raw_speed(self.kernel()) * WORKERS / SMALL_PART;
        let alone = self.job(nonces, None).await?.as_secs_f64();
        let many = lsp::Client::connect(self.server, self.lsp.clone()).await?;
        let start = Instant::now();
        for number in 0..MANY_JOBS {
            let request = PoolMessage::Request {
                data: format!("{MESSAGE} {number}"),
                lower: 0,
                upper: nonces - 1,
                extension: RequestExtension::None,
            };
            many.write(Bytes::from(request.encode())).await?;
        }
        let beside = self.job(nonces, None).await?.as_secs_f64();
        for _ in 0..MANY_JOBS {
            many.read().await?;
        }
        let all = start.elapsed().as_secs_f64();
        println!(
            r#"{{"what": "fairness", "alone": {alone:.3}, "beside": {beside:.3}, "all": {all:.3}}}"#
        );
        Ok(())
    }
}

/// Starts a server and, behind a relay each, the workers.
async fn start() -> Result<(Pool, Vec<JoinHandle<()>>), Failure> {
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
    let run = async { server.run(std::future::pending()).await.expect("a socket") };
    let mut tasks = vec![tokio::spawn(run)];
    for _ in 0..WORKERS {
        let config = WorkerConfig {
            server: relay::relay(address).await?,
            lsp: lsp::Config::default(),
            threads: NonZeroUsize::MIN,
            kernel: None,
        };
        let run = async move { worker::run(&config).await.expect("a server") };
        tasks.push(tokio::spawn(run));
    }
    let pool = Pool {
        server: address,
        lsp: lsp::Config::default(),
    };
    // A short job is answered when the workers are there.
    pool.job(raw_speed(Kernel::PORTABLE), None).await?;
    Ok((pool, tasks))
}

/// Nonces per second of one thread, roughly.
pub(crate) fn raw_speed(kernel: Kernel) -> u64 {
    let nonces = 5_000_000;
    let start = Instant::now();
    std::hint::black_box(Message::new(MESSAGE.as_bytes()).minimum(kernel, 1..=nonces));
    let micros = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
    nonces * 1_000_000 / micros.max(1)
}

/// How long threads take that do nothing but hash.
pub(crate) fn raw(kernel: Kernel, nonces: u64) -> Duration {
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
