//! Servers and workers as processes of their own, which can be killed: this program once more,
//! with other arguments.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::process::Stdio;
use std::time::{Duration, Instant};

use kv::store::{Location, Store};
use miner::worker::{self, WorkerConfig};
use miner::{Server, ServerConfig};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::{Failure, Pool, raw, raw_speed};

/// A peer is lost after a second of silence.
fn lsp_config() -> lsp::Config {
    let mut config = lsp::Config::default();
    config.core.epoch = Duration::from_millis(200);
    config.core.epoch_limit = 5;
    config
}

/// What this program does as `pool server ADDR DIR`.
pub(crate) async fn serve(listen: SocketAddr, dir: String) -> Result<(), Failure> {
    let store = Store::open(&Location::Directory(dir.into())).await?;
    let server = Server::bind(ServerConfig {
        listen,
        lsp: lsp_config(),
        pool: miner_core::Config::default(),
        store: Some(store),
        kernel: None,
        seed: 1,
    });
    let server = server.await?;
    println!("{}", server.local_addr());
    Ok(server.run(std::future::pending()).await?)
}

/// What this program does as `pool worker ADDR`.
pub(crate) async fn work(server: SocketAddr) -> Result<(), Failure> {
    let config = WorkerConfig {
        server,
        lsp: lsp_config(),
        threads: NonZeroUsize::MIN,
        kernel: None,
    };
    Ok(worker::run(&config).await?)
}

fn program(words: &[&str]) -> Result<Child, Failure> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(words).stdin(Stdio::null()).kill_on_drop(true);
    Ok(command.stdout(Stdio::piped()).spawn()?)
}

async fn server(listen: &str, dir: &str) -> Result<(Child, SocketAddr), Failure> {
    let mut child = program(&["server", listen, dir])?;
    let output = child.stdout.take().ok_or("the output is piped")?;
    let line = BufReader::new(output).lines().next_line().await?;
    Ok((child, line.ok_or("the server ended")?.parse()?))
}

/// Prints what a job takes longer when one of two workers is killed halfway, and when the
/// server is.
pub(crate) async fn kills(seconds: u64) -> Result<(), Failure> {
    let dir = std::env::temp_dir().join(format!("miner-pool-{}", std::process::id()));
    let result = kills_in(&dir.display().to_string(), seconds).await;
    if dir.exists() {
        std::fs::remove_dir_all(&dir)?;
    }
    result
}

async fn kills_in(dir: &str, seconds: u64) -> Result<(), Failure> {
    let (mut running, address) = server("127.0.0.1:0", dir).await?;
    let text = address.to_string();
    let mut workers = [program(&["worker", &text])?, program(&["worker", &text])?];
    let pool = Pool {
        server: address,
        lsp: lsp_config(),
    };
    pool.job(raw_speed(pool.kernel()), Some("warm-up".to_owned()))
        .await?;
    let kernel = pool.kernel();
    let nonces = raw_speed(kernel) * 2 * seconds;
    let alone = tokio::task::spawn_blocking(move || raw(kernel, nonces)).await?;
    let half = alone / 2;

    // Half of the work is left, for one of them.
    let start = Instant::now();
    let job = tokio::spawn(pool.clone().owned_job(nonces, "worker"));
    tokio::time::sleep(half).await;
    workers[0].kill().await?;
    job.await??;
    print("worker", start.elapsed(), alone + half);

    workers[0] = program(&["worker", &text])?;
    pool.job(raw_speed(kernel), Some("warm-up again".to_owned()))
        .await?;
    let start = Instant::now();
    let job = tokio::spawn(pool.clone().owned_job(nonces, "server"));
    tokio::time::sleep(half).await;
    running.kill().await?;
    let (_running, again) = server(&text, dir).await?;
    assert_eq!(again, address, "the server listens where it did");
    // Workers end when they find their server gone; whoever runs them starts them again.
    for worker in &mut workers {
        worker.wait().await?;
        *worker = program(&["worker", &text])?;
    }
    job.await??;
    print("server", start.elapsed(), alone);
    Ok(())
}

fn print(killed: &str, took: Duration, ideal: Duration) {
    let (took, ideal) = (took.as_secs_f64(), ideal.as_secs_f64());
    println!(r#"{{"what": "killed {killed}", "took": {took:.3}, "ideal": {ideal:.3}}}"#);
}
