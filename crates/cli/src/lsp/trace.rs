//! `kontiki lsp trace`: a relay that prints what passes.
//!
//! It stands between clients and a server, knows no secrets and keeps no connection: each
//! client's address gets a socket of its own towards the server, so that the server tells
//! clients apart as if they came directly.

use std::collections::HashMap;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context as _, Result};
use clap::Args;
use stdx::Prng;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

use super::{ListenArgs, interrupted, resolve};

mod packet;

use packet::{Direction, Seen};

/// The longest datagram there is.
const DATAGRAM_BYTES_MAX: usize = 1 << 16;
/// Clients at once; more are not relayed.
const CLIENTS_MAX: usize = 256;
/// Loss is drawn in parts of a million.
const PARTS: u64 = 1_000_000;

/// Relay between clients and a server, and print each packet.
///
/// Point the client at the address that this listens on instead of the server's. Each line
/// has the seconds since the first packet, which client (c1 is the first that came), `>`
/// towards the server or `<` back, what the packet says, and what is notable: that it was
/// seen before, or how long after a message its acknowledgement came by. Of version 2 the
/// contents are encrypted, and the kind, the connection and the length remain.
#[derive(Args, Clone, Debug)]
pub(crate) struct TraceArgs {
    /// The server's address
    #[arg(value_name = "ADDRESS")]
    server: String,
    #[command(flatten)]
    listen: ListenArgs,
    /// Lose so many percent of the packets, in each direction
    #[arg(long, default_value_t = 0.0, value_name = "PERCENT")]
    lose: f64,
    /// Which packets are lost
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Leave heartbeats out
    #[arg(long)]
    no_heartbeats: bool,
}

pub(crate) async fn run(args: TraceArgs) -> Result<ExitCode> {
    let server = resolve(&args.server)?;
    let listen = args.listen.address()?;
    let socket = UdpSocket::bind(listen)
        .await
        .with_context(|| format!("cannot listen on {listen}"))?;
    anyhow::ensure!(
        (0.0..=100.0).contains(&args.lose),
        "--lose is between 0 and 100"
    );
    eprintln!("relaying {} to {server}", socket.local_addr()?);
    let mut relay = Relay {
        socket: Arc::new(socket),
        server,
        timeline: Arc::new(Mutex::new(Timeline::new(&args))),
        clients: HashMap::new(),
        back: JoinSet::new(),
    };
    tokio::select! {
        ended = relay.run() => ended?,
        interrupted = interrupted() => interrupted?,
    }
    relay.timeline().summary();
    Ok(ExitCode::SUCCESS)
}

struct Relay {
    socket: Arc<UdpSocket>,
    server: SocketAddr,
    timeline: Arc<Mutex<Timeline>>,
    clients: HashMap<SocketAddr, Upstream>,
    /// One task a client, for what comes back.
    back: JoinSet<Result<()>>,
}

struct Upstream {
    number: usize,
    socket: Arc<UdpSocket>,
}

impl Relay {
    async fn run(&mut self) -> Result<()> {
        let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
        loop {
            tokio::select! {
                received = self.socket.recv_from(&mut buffer) => {
                    let (bytes, from) = received.context("cannot receive")?;
                    self.forward(from, &buffer[..bytes]).await?;
                }
                Some(ended) = self.back.join_next() => ended??,
            }
        }
    }

    async fn forward(&mut self, from: SocketAddr, datagram: &[u8]) -> Result<()> {
        if !self.clients.contains_key(&from) && !self.admit(from).await? {
            return Ok(());
        }
        let Upstream { number, socket } = &self.clients[&from];
        let passes = self.timeline().note(*number, Direction::There, datagram)?;
        if passes {
            // A server that isn't there yet: the client will try again.
            let _refused = socket.send(datagram).await;
        }
        Ok(())
    }

    /// Makes a socket for a new client; false if there are too many.
    async fn admit(&mut self, client: SocketAddr) -> Result<bool> {
        let number = self.clients.len() + 1;
        if number > CLIENTS_MAX {
            return Ok(false);
        }
        let local = if self.server.is_ipv4() {
            "0.0.0.0:0"
        } else {
            "[::]:0"
        };
        let socket = UdpSocket::bind(local)
            .await
            .context("cannot make a socket")?;
        socket
            .connect(self.server)
            .await
            .context("cannot reach the server")?;
        let socket = Arc::new(socket);
        eprintln!("c{number} is {client}");
        self.back.spawn(back(
            Arc::clone(&socket),
            Arc::clone(&self.socket),
            (number, client),
            Arc::clone(&self.timeline),
        ));
        self.clients.insert(client, Upstream { number, socket });
        Ok(true)
    }

    fn timeline(&self) -> std::sync::MutexGuard<'_, Timeline> {
        lock(&self.timeline)
    }
}

/// Carries a server's packets to one client.
async fn back(
    from: Arc<UdpSocket>,
    to: Arc<UdpSocket>,
    (number, client): (usize, SocketAddr),
    timeline: Arc<Mutex<Timeline>>,
) -> Result<()> {
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        match from.recv(&mut buffer).await {
            Ok(bytes) => {
                let datagram = &buffer[..bytes];
                let passes = lock(&timeline).note(number, Direction::Back, datagram)?;
                if passes {
                    let _refused = to.send_to(datagram, client).await;
                }
            }
            // Nobody listens at the server's port: worth a line, not an end.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                lock(&timeline).say(number, "the server's port is closed")?;
            }
            Err(error) => return Err(error).context("cannot receive from the server"),
        }
    }
}

fn lock(timeline: &Mutex<Timeline>) -> std::sync::MutexGuard<'_, Timeline> {
    // What it holds is a view; half a line more or less is no reason to stop.
    timeline.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What was printed so far, and what is remembered of it.
struct Timeline {
    started: Option<Instant>,
    seen: HashMap<usize, Seen>,
    prng: Prng,
    lose_parts: u64,
    no_heartbeats: bool,
    packets: [u64; 2],
    bytes: [u64; 2],
    lost: [u64; 2],
}

impl Timeline {
    fn new(args: &TraceArgs) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a share between 0 and 100 was checked"
        )]
        let lose_parts = (args.lose / 100.0 * PARTS as f64) as u64;
        Self {
            started: None,
            seen: HashMap::new(),
            prng: Prng::from_seed(args.seed),
            lose_parts,
            no_heartbeats: args.no_heartbeats,
            packets: [0; 2],
            bytes: [0; 2],
            lost: [0; 2],
        }
    }

    /// Prints a packet; whether it passes.
    fn note(&mut self, client: usize, direction: Direction, datagram: &[u8]) -> io::Result<bool> {
        let now = Instant::now();
        let seen = self.seen.entry(client).or_default();
        let described = seen.describe(now, direction, datagram);
        let passes = !self.prng.chance(self.lose_parts, PARTS);
        self.packets[direction.index()] += 1;
        self.bytes[direction.index()] += datagram.len() as u64;
        self.lost[direction.index()] += u64::from(!passes);
        if described.is_heartbeat && self.no_heartbeats {
            return Ok(passes);
        }
        let arrow = match direction {
            Direction::There => '>',
            Direction::Back => '<',
        };
        let fate = if passes { "" } else { "  LOST HERE" };
        self.line(now, client, &format!("{arrow} {}{fate}", described.text))?;
        Ok(passes)
    }

    fn say(&mut self, client: usize, what: &str) -> io::Result<()> {
        self.line(Instant::now(), client, &format!("! {what}"))
    }

    fn line(&mut self, now: Instant, client: usize, text: &str) -> io::Result<()> {
        let started = *self.started.get_or_insert(now);
        let seconds = now.saturating_duration_since(started).as_secs_f64();
        let mut out = io::stdout().lock();
        writeln!(out, "{seconds:11.6}  c{client} {text}")
    }

    fn summary(&self) {
        for (at, way) in ["to the server", "to clients"].into_iter().enumerate() {
            eprintln!(
                "{way}: {} packets, {} bytes, {} lost here",
                self.packets[at], self.bytes[at], self.lost[at]
            );
        }
    }
}
