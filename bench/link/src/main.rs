//! A link between two network namespaces with an exact rate, delay, queue and loss.
//!
//! Each end is a TUN device in a namespace of its own; this process carries the packets
//! between them, in user space, so that any protocol can be measured and no kernel
//! module is needed. Loss is drawn from a seed: the n-th packet of a direction is lost or
//! not, whatever else happens. Needs root.
//!
//! ```text
//! link --rate 20mbit --delay 25ms --queue 125kB --loss 1% -- ip netns exec link-a ping 10.99.0.2
//! ```
//!
//! With a command, the link exists while the command runs. Without one, it prints `ready`
//! and stays until its input ends, or it is interrupted. At the end it says on stderr what
//! went through.

use std::io;
use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Parser;
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

mod namespace;
mod pipe;
mod relay;
mod tun;
mod units;

use crate::namespace::Namespace;
use crate::pipe::{Pipe, Shape};
use crate::relay::Relay;

/// The exit code of a run that can't be made here, as test suites know it.
const SKIPPED: u8 = 77;

/// Joins two network namespaces by a link with an exact rate, delay, queue and loss.
#[derive(Clone, Debug, Parser)]
#[command(
    after_help = "Example, a path of 50 ms and 20 Mbit/s that loses 1 % each way:\n  \
    link --rate 20mbit --delay 25ms --queue 125kB --loss 1% -- \
    ip netns exec link-a ping -c 5 10.99.0.2"
)]
struct Args {
    /// The namespace at one end; made, and removed at the end, unless it exists
    #[arg(long, default_value = "link-a", value_name = "NAME")]
    namespace_a: String,
    /// The namespace at the other end
    #[arg(long, default_value = "link-b", value_name = "NAME")]
    namespace_b: String,
    /// The address of the end in namespace A; the network has 24 bits
    #[arg(long, default_value = "10.99.0.1", value_name = "IP")]
    address_a: Ipv4Addr,
    /// The address of the end in namespace B
    #[arg(long, default_value = "10.99.0.2", value_name = "IP")]
    address_b: Ipv4Addr,
    /// The name of both devices
    #[arg(long, default_value = "link0", value_name = "NAME")]
    device: String,
    /// The largest packet
    #[arg(long, default_value_t = 1500, value_name = "BYTES")]
    mtu: u16,
    /// What passes in each direction: bit/s, with kbit, mbit or gbit; unlimited without
    #[arg(long, value_parser = units::rate, value_name = "RATE")]
    rate: Option<u64>,
    /// How long each direction takes, besides the rate: us, ms or s
    #[arg(long, default_value = "0ms", value_parser = units::span, value_name = "TIME")]
    delay: Duration,
    /// What waits for the rate at most, in each direction: B, kB or MB; more is dropped
    #[arg(long, default_value = "1MB", value_parser = units::bytes, value_name = "SIZE")]
    queue: u64,
    /// Share of packets that each direction loses, after they have passed the queue
    #[arg(long, default_value = "0%", value_parser = units::share, value_name = "PERCENT")]
    loss: f64,
    /// The same from B to A, if it differs
    #[arg(long, value_parser = units::share, value_name = "PERCENT")]
    loss_back: Option<f64>,
    /// Which packets are lost
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// What to run while the link exists
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

impl Args {
    fn shape(&self, loss: f64) -> Shape {
        Shape {
            bits_per_second: self.rate,
            delay: self.delay,
            queue_bytes: self.queue,
            loss,
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode> {
    let args = Args::parse();
    if !rustix::process::geteuid().is_root() {
        eprintln!("skip: a link between network namespaces needs root");
        return Ok(ExitCode::from(SKIPPED));
    }
    ensure!(
        args.namespace_a != args.namespace_b,
        "the two namespaces must differ"
    );
    let a = Namespace::open(&args.namespace_a)?;
    let b = Namespace::open(&args.namespace_b)?;
    let (tun_a, tun_b) = (a.tun(&args.device)?, b.tun(&args.device)?);
    a.configure(&args.device, args.address_a, args.mtu)?;
    b.configure(&args.device, args.address_b, args.mtu)?;
    let there = Pipe::new(args.shape(args.loss), args.seed);
    let back = Pipe::new(args.shape(args.loss_back.unwrap_or(args.loss)), !args.seed);
    let relay = Relay::start(tun_a, tun_b, there, back)?;
    let code = hold(&args.command).await;
    let (there, back) = relay.stop()?;
    eprintln!(
        "link: {} to {}: {there}",
        args.namespace_a, args.namespace_b
    );
    eprintln!("link: {} to {}: {back}", args.namespace_b, args.namespace_a);
    code
}

/// Runs the command, or waits to be told to stop.
async fn hold(command: &[String]) -> Result<ExitCode> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen to signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen to signals")?;
    let Some((program, words)) = command.split_first() else {
        println!("ready");
        // A thread of its own, that may go on reading when nobody waits for it any more.
        let (ended, end) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || ended.send(io::copy(&mut io::stdin(), &mut io::sink())));
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = end => {}
        }
        return Ok(ExitCode::SUCCESS);
    };
    let mut child = Command::new(program)
        .args(words)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot run {program}"))?;
    let status = tokio::select! {
        status = child.wait() => status?,
        _ = terminate.recv() => bail!("interrupted"),
        _ = interrupt.recv() => bail!("interrupted"),
    };
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(ExitCode::from(code.unwrap_or(1)))
}
