//! Closed and open loops of many clients, with a histogram of latencies.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use hdrhistogram::Histogram;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::calls::Client;
use crate::{Load, report};

#[derive(Clone, Copy, Debug)]
pub enum What {
    Put,
    Get,
}

/// What one client saw.
struct Seen {
    operations: u64,
    errors: u64,
    first_error: Option<String>,
    latency: Histogram<u64>,
}

pub async fn run(load: Load, what: What) -> Result<()> {
    let mut connections = Vec::new();
    for i in 0..load.connections.clamp(1, load.clients.max(1)) {
        let endpoint = &load.endpoints[i % load.endpoints.len()];
        let client = Client::connect(load.system, endpoint).await;
        connections.push(client.with_context(|| format!("cannot connect to {endpoint}"))?);
    }
    let start = Instant::now() + Duration::from_secs_f64(load.warmup);
    let end = start + Duration::from_secs_f64(load.seconds);
    let mut clients = JoinSet::new();
    for number in 0..load.clients {
        let client = connections[number % connections.len()].another().await?;
        clients.spawn(one_client(
            client,
            load.clone(),
            what,
            number as u64,
            start,
            end,
        ));
    }
    let mut total = Seen {
        operations: 0,
        errors: 0,
        first_error: None,
        latency: histogram()?,
    };
    while let Some(seen) = clients.join_next().await {
        let seen = seen??;
        total.operations += seen.operations;
        total.errors += seen.errors;
        total.first_error = total.first_error.or(seen.first_error);
        total.latency.add(&seen.latency)?;
    }
    if let Some(error) = &total.first_error {
        eprintln!("{} calls failed, one of them with: {error}", total.errors);
    }
    if total.operations == 0 {
        bail!("nothing was answered");
    }
    report(total.operations, total.errors, end - start, &total.latency);
    Ok(())
}

fn histogram() -> Result<Histogram<u64>> {
    // 1 us to 60 s, three significant digits.
    Ok(Histogram::new_with_bounds(1, 60_000_000, 3)?)
}

async fn one_client(
    mut client: Client,
    load: Load,
    what: What,
    number: u64,
    start: Instant,
    end: Instant,
) -> Result<Seen> {
    let mut seen = Seen {
        operations: 0,
        errors: 0,
        first_error: None,
        latency: histogram()?,
    };
    let mut random = Random(number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    // In the open loop every client has its own share of the schedule.
    let interval = load
        .rate
        .map(|rate| Duration::from_secs_f64(load.clients as f64 * client.weight() as f64 / rate));
    let mut due = Instant::now()
        + interval
            .unwrap_or_default()
            .mul_f64(number as f64 / load.clients as f64);
    loop {
        if let Some(interval) = interval {
            sleep_until(due).await;
            due += interval;
        }
        let began = interval.map_or_else(Instant::now, |interval| due - interval);
        if began >= end {
            return Ok(seen);
        }
        let key = random.next() % load.keys;
        let result = match what {
            What::Put => client.put(key, load.keys, load.value_bytes).await,
            What::Get => client.get(key, load.keys).await,
        };
        let ended = Instant::now();
        match result {
            // In the closed loop, what ends inside the window counts.
            Ok(()) if ended >= start && (interval.is_some() && began >= start || ended < end) => {
                seen.operations += client.weight();
                seen.latency
                    .saturating_record((ended - began).as_micros().max(1) as u64);
            }
            Ok(()) => {}
            Err(status) => {
                seen.errors += 1;
                seen.first_error.get_or_insert_with(|| status.to_string());
                // A refused call must not become a busy loop.
                sleep_until(Instant::now() + Duration::from_millis(1)).await;
            }
        }
    }
}

/// xorshift64: keys need no better.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}
