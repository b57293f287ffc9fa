//! Load generator: unary calls on Kontiki's and etcd's gRPC doors, and bulk loading.
//!
//! `put` and `get` run either in a closed loop (every client sends its next request when the
//! last one was answered: the throughput that so many clients reach) or, with `--rate`, in
//! an open loop (requests fall due on a schedule whether or not the system keeps up, and
//! latency counts from when a request was due: no coordinated omission). `fill` writes keys
//! in order with deep pipelines. The result is one line of JSON.

use std::time::Duration;

use anyhow::Result;
use clap::{Parser, Subcommand, ValueEnum};
use hdrhistogram::Histogram;

mod calls;
mod fill;
mod run;

/// Load generator for Kontiki and the systems it is compared with.
#[derive(Debug, Parser)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write random keys.
    Put(Load),
    /// Read random keys.
    Get(Load),
    /// Write the keys 0..N in order.
    Fill(Fill),
}

/// Whose protocol is spoken.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum System {
    /// `kontiki.kv.v1.Kv`.
    Kontiki,
    /// `kontiki.kv.v1.Kv/Batch`, 100 operations in each call; each counts as one.
    KontikiBatch,
    /// `kontiki.kv.v1.Kv/Pipeline`: one call a client, one operation in each message.
    KontikiPipeline,
    /// `etcdserverpb.KV`.
    Etcd,
    /// Redis's protocol; for `fill` only.
    Resp,
}

#[derive(clap::Args, Clone, Debug)]
struct Load {
    #[arg(long, value_enum)]
    system: System,
    /// `host:port` of each node; clients are spread over them.
    #[arg(long, value_delimiter = ',', required = true)]
    endpoints: Vec<String>,
    #[arg(long, default_value_t = 256)]
    clients: usize,
    /// Clients share so many connections.
    #[arg(long, default_value_t = 16)]
    connections: usize,
    #[arg(long, default_value_t = 64)]
    value_bytes: usize,
    /// Keys are drawn from 0 to this.
    #[arg(long, default_value_t = 1_000_000)]
    keys: u64,
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Not counted, before.
    #[arg(long, default_value_t = 2.0)]
    warmup: f64,
    /// Open loop at so many requests a second, instead of a closed loop.
    #[arg(long)]
    rate: Option<f64>,
}

#[derive(clap::Args, Clone, Debug)]
struct Fill {
    #[arg(long, value_enum)]
    system: System,
    #[arg(long)]
    endpoint: String,
    #[arg(long, default_value_t = 1_000_000)]
    keys: u64,
    #[arg(long, default_value_t = 64)]
    value_bytes: usize,
    /// Go through all keys so many times.
    #[arg(long, default_value_t = 1)]
    passes: u64,
}

/// The key with this number: as redis-benchmark writes it.
fn key(number: u64) -> Vec<u8> {
    format!("key:{number:012}").into_bytes()
}

/// A value that differs between writes.
fn value(bytes: usize, number: u64) -> Vec<u8> {
    let mut value = format!("{number:016x}").into_bytes();
    value.resize(bytes, b'x');
    value
}

fn report(operations: u64, errors: u64, elapsed: Duration, latency: &Histogram<u64>) {
    let us = |quantile: f64| latency.value_at_quantile(quantile);
    let line = serde_json::json!({
        "operations": operations,
        "errors": errors,
        "seconds": elapsed.as_secs_f64(),
        "per_second": operations as f64 / elapsed.as_secs_f64(),
        "p50_us": us(0.5),
        "p99_us": us(0.99),
        "p999_us": us(0.999),
    });
    println!("{line}");
}

#[tokio::main]
async fn main() -> Result<()> {
    match Args::parse().command {
        Command::Put(load) => run::run(load, run::What::Put).await,
        Command::Get(load) => run::run(load, run::What::Get).await,
        Command::Fill(args) => fill::run(&args).await,
    }
}
