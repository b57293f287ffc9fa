//! `kontiki lsp bench`: how fast, how late.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use bytes::{BufMut as _, Bytes, BytesMut};
use clap::Args;
use hdrhistogram::Histogram;
use lsp::{Client, Server};
use serde::Serialize;
use tokio::sync::Semaphore;

use super::{ProtocolArgs, ServerArgs, echo, version_name};

/// A message begins with its number and the time at which it was due.
const STAMP_BYTES: usize = 16;
/// The longest latency that is told apart, in microseconds: a minute.
const LATENCY_US_MAX: u64 = 60_000_000;

/// Measure messages a second and round trips against `kontiki lsp echo`.
///
/// Without an address, the echo server runs in this process, on loopback. Latency is that
/// of the echo: there and back. With --rate, it counts from when a message was due, so
/// that a stall is not hidden by what wasn't sent meanwhile.
#[derive(Args, Clone, Debug)]
pub(crate) struct BenchArgs {
    /// The echo server's address; without it, one is started in this process
    #[arg(value_name = "ADDRESS")]
    server: Option<String>,
    /// Bytes of a message
    #[arg(long, default_value_t = 64, value_name = "N")]
    bytes: usize,
    /// How long to send
    #[arg(long, default_value_t = 5.0, value_name = "SECONDS")]
    seconds: f64,
    /// Messages a second; without it, as many as --in-flight admits
    #[arg(long, value_name = "N")]
    rate: Option<f64>,
    /// Messages that wait for their echo at most
    #[arg(long, default_value_t = 1_000, value_name = "N")]
    in_flight: usize,
    /// Print JSON, for programs
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    protocol: ProtocolArgs,
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
struct Outcome {
    version: &'static str,
    messages: u64,
    seconds: f64,
    per_second: f64,
    megabits_per_second: f64,
    p50_us: u64,
    p90_us: u64,
    p99_us: u64,
    p999_us: u64,
    max_us: u64,
    resent: u64,
}

pub(crate) async fn run(args: BenchArgs) -> Result<ExitCode> {
    ensure!(
        args.bytes >= STAMP_BYTES,
        "--bytes {}: a message has at least {STAMP_BYTES}",
        args.bytes
    );
    ensure!(args.in_flight > 0, "--in-flight must be at least 1");
    let length = Duration::try_from_secs_f64(args.seconds).context("--seconds")?;
    if args
        .rate
        .is_some_and(|rate| !rate.is_finite() || rate <= 0.0)
    {
        bail!("--rate must be above 0");
    }
    let config = args.protocol.config();
    let (address, local) = if let Some(address) = &args.server {
        (address.clone(), None)
    } else {
        let server = Server::bind("127.0.0.1:0".parse()?, config.clone()).await?;
        let address = server.local_addr().to_string();
        let echo = tokio::spawn(async move { echo::echo(&server, true).await });
        (address, Some(echo))
    };
    let target = ServerArgs {
        server: address,
        server_key: None,
    };
    let client = target.connect(config).await?;
    let outcome = measure(Arc::new(client), &args, length).await;
    if let Some(echo) = local {
        echo.abort();
    }
    print(&outcome?, args.json)?;
    Ok(ExitCode::SUCCESS)
}

async fn measure(client: Arc<Client>, args: &BenchArgs, length: Duration) -> Result<Outcome> {
    let room = Arc::new(Semaphore::new(args.in_flight));
    let begun = Instant::now();
    let sender = Sender {
        client: Arc::clone(&client),
        room: Arc::clone(&room),
        begun,
        length,
        bytes: args.bytes,
        rate: args.rate,
    };
    let sending = tokio::spawn(sender.run());
    let mut latencies = Histogram::<u64>::new_with_bounds(1, LATENCY_US_MAX, 3)?;
    let mut sent = None;
    let mut echoed = 0;
    let mut sending = std::pin::pin!(sending);
    while sent != Some(echoed) {
        tokio::select! {
            biased;
            message = client.read() => {
                let (number, due) = read_stamp(&message?)?;
                ensure!(number == echoed, "message {number} came where {echoed} should");
                let latency = begun.elapsed().saturating_sub(due).as_micros();
                latencies.saturating_record(u64::try_from(latency)?.max(1));
                echoed += 1;
                room.add_permits(1);
            }
            count = &mut sending, if sent.is_none() => sent = Some(count??),
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    let stats = client.stats();
    client.close().await?;
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let per_second = echoed as f64 / seconds;
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let bits = args.bytes as f64 * 8.0;
    Ok(Outcome {
        version: version_name(stats.and_then(|stats| stats.version)),
        messages: echoed,
        seconds,
        per_second,
        megabits_per_second: per_second * bits / 1e6,
        p50_us: latencies.value_at_quantile(0.5),
        p90_us: latencies.value_at_quantile(0.9),
        p99_us: latencies.value_at_quantile(0.99),
        p999_us: latencies.value_at_quantile(0.999),
        max_us: latencies.max(),
        resent: stats.map_or(0, |stats| stats.connection.data_resent),
    })
}

/// The half that writes.
struct Sender {
    client: Arc<Client>,
    room: Arc<Semaphore>,
    begun: Instant,
    length: Duration,
    bytes: usize,
    rate: Option<f64>,
}

impl Sender {
    /// Sends until the time is over; how many messages.
    async fn run(self) -> Result<u64> {
        let mut number = 0;
        loop {
            let due = match self.rate {
                None => self.begun.elapsed(),
                #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 messages")]
                Some(rate) => Duration::from_secs_f64(number as f64 / rate),
            };
            if due >= self.length {
                return Ok(number);
            }
            if self.rate.is_some() {
                tokio::time::sleep_until((self.begun + due).into()).await;
            }
            self.room.acquire().await?.forget();
            let message = write_stamp(number, due, self.bytes);
            self.client.write(message).await?;
            number += 1;
        }
    }
}

fn write_stamp(number: u64, due: Duration, bytes: usize) -> Bytes {
    let mut message = BytesMut::with_capacity(bytes);
    message.put_u64_le(number);
    message.put_u64_le(u64::try_from(due.as_nanos()).unwrap_or(u64::MAX));
    message.resize(bytes, 0);
    message.freeze()
}

fn read_stamp(message: &[u8]) -> Result<(u64, Duration)> {
    let number = message.first_chunk().copied().map(u64::from_le_bytes);
    let due = message.get(8..).and_then(|rest| rest.first_chunk());
    let due = due.copied().map(u64::from_le_bytes);
    let (number, due) = number.zip(due).context("the other end is no echo server")?;
    Ok((number, Duration::from_nanos(due)))
}

fn print(outcome: &Outcome, json: bool) -> Result<()> {
    let mut out = io::stdout().lock();
    if json {
        writeln!(out, "{}", serde_json::to_string(outcome)?)?;
        return Ok(());
    }
    let Outcome {
        version,
        messages,
        seconds,
        per_second,
        megabits_per_second,
        resent,
        ..
    } = outcome;
    writeln!(out, "{version}: {messages} echoes in {seconds:.2} s")?;
    writeln!(
        out,
        "{per_second:.0} messages/s each way, {megabits_per_second:.2} Mbit/s, {resent} sent again"
    )?;
    writeln!(
        out,
        "round trip: p50 {}  p90 {}  p99 {}  p99.9 {}  max {}",
        span(outcome.p50_us),
        span(outcome.p90_us),
        span(outcome.p99_us),
        span(outcome.p999_us),
        span(outcome.max_us)
    )?;
    Ok(())
}

fn span(microseconds: u64) -> String {
    format!("{:.1?}", Duration::from_micros(microseconds))
}
