//! `kontiki up`: a cluster of processes on this machine.
//!
//! The parent only watches. Each node is a child that runs `kontiki serve`; it learns that it
//! should stop when its standard input closes, which also happens when the parent is killed,
//! so no orphan keeps a port. Children tell on standard output when they listen and when
//! they serve: nothing here waits by the clock.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use crate::error::Hint;
use crate::log::LogArgs;
use crate::serve::{self, READY};

mod child;
mod plan;

use child::{Child, Event};
use plan::Plan;
pub(crate) use plan::SHAPE_FILE;

/// Once a leader serves, the slowest node gets so long before the cluster is called ready.
const STRAGGLER: Duration = Duration::from_secs(3);
/// A node that takes longer to stop is killed: its data is safe, as after a crash.
const STOP_MAX: Duration = Duration::from_secs(20);
/// Events of children that wait to be printed.
const EVENTS_MAX: usize = 64;

/// Runs a cluster of processes on this machine.
///
/// Node i, counted from 0, listens on each port + i. The data stays: the same command
/// starts the same cluster again. Ctrl-C stops it.
#[derive(Args, Clone, Debug)]
pub(crate) struct UpArgs {
    /// How many nodes; three survive the loss of one [default: 3, or what the directory has]
    #[arg(long, env = "KONTIKI_NODES", value_name = "N")]
    nodes: Option<u16>,
    /// Where the nodes' data lives
    #[arg(
        long,
        env = "KONTIKI_DATA_DIR",
        default_value = "./kontiki-data",
        value_name = "DIR"
    )]
    data_dir: std::path::PathBuf,
    /// Where Redis clients connect
    #[arg(
        long,
        env = "KONTIKI_RESP_PORT",
        default_value_t = 6379,
        value_name = "PORT"
    )]
    resp_port: u16,
    /// Where gRPC clients and the other nodes connect
    #[arg(
        long,
        env = "KONTIKI_GRPC_PORT",
        default_value_t = 7379,
        value_name = "PORT"
    )]
    grpc_port: u16,
    /// Where metrics and health are served
    #[arg(
        long,
        env = "KONTIKI_HTTP_PORT",
        default_value_t = 8379,
        value_name = "PORT"
    )]
    http_port: u16,
    /// Arguments for every node, after `--`: see `kontiki serve --help`
    #[arg(last = true, value_name = "SERVE_ARGS")]
    serve_args: Vec<String>,
}

pub(crate) async fn run(args: UpArgs, log: &LogArgs) -> Result<ExitCode> {
    let plan = Plan::new(&args)?;
    let mut signals = serve::Signals::new()?;
    let (sender, mut events) = mpsc::channel(EVENTS_MAX);
    let mut cluster = Cluster::default();
    for node in plan.nodes() {
        cluster
            .children
            .push(Some(Child::start(&node, &plan, log, &sender)?));
    }
    drop(sender);
    println!("{}", plan.greeting());
    let deadline = cluster.run(&plan, &mut events, &mut signals).await;
    match deadline {
        Ended::Asked => cluster.stop(&mut events, &mut signals).await,
        Ended::AllGone => bail!(Hint::new(
            "every node has ended",
            "the reasons are above; the data is in the data directory, unharmed by this"
        )),
    }
}

/// Why the cluster is not watched any longer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Ended {
    Asked,
    AllGone,
}

/// The children, and what is known about them.
#[derive(Debug, Default)]
struct Cluster {
    /// `None` once it has ended.
    children: Vec<Option<Child>>,
    /// What each child said when it was ready.
    ready: Vec<(usize, String)>,
    announced: bool,
}

impl Cluster {
    /// Reports what the children do until a signal comes or all of them have ended.
    async fn run(
        &mut self,
        plan: &Plan,
        events: &mut mpsc::Receiver<Event>,
        signals: &mut serve::Signals,
    ) -> Ended {
        // Far away until the first node is ready.
        let mut straggler = None;
        loop {
            tokio::select! {
                () = signals.asked() => return Ended::Asked,
                () = wait_for(straggler), if straggler.is_some() && !self.announced => {
                    self.announce(plan);
                }
                event = events.recv() => match event {
                    Some(Event::Line { node, text }) if text.starts_with(READY) => {
                        self.ready.push((node, text));
                        straggler.get_or_insert_with(|| Instant::now() + STRAGGLER);
                    }
                    Some(Event::Line { .. }) => {}
                    Some(Event::Ended { node, how }) => self.on_ended(node, &how),
                    None => return Ended::AllGone,
                }
            }
            let alive = self.children.iter().flatten().count();
            if !self.announced && alive > 0 && self.ready.len() >= alive {
                self.announce(plan);
            }
        }
    }

    fn announce(&mut self, plan: &Plan) {
        self.announced = true;
        // The node that spoke last knows best who leads.
        let text = self
            .ready
            .last()
            .map_or("", |(_, text)| text.trim_start_matches(READY));
        println!(
            "{READY}{text}; {} of {} nodes serve",
            self.ready.len(),
            plan.count()
        );
    }

    fn on_ended(&mut self, node: usize, how: &str) {
        self.children[node] = None;
        self.ready.retain(|(ready, _)| *ready != node);
        let total = self.children.len();
        let alive = self.children.iter().flatten().count();
        let rest = if alive > total / 2 {
            "the others keep serving; start the cluster again to bring it back".to_owned()
        } else {
            format!("{alive} of {total} nodes are no majority: nothing is served until a restart")
        };
        eprintln!("node {} has ended: {how}; {rest}", node + 1);
    }

    /// Asks every child to stop and waits for them.
    async fn stop(
        mut self,
        events: &mut mpsc::Receiver<Event>,
        signals: &mut serve::Signals,
    ) -> Result<ExitCode> {
        println!("stopping");
        for child in self.children.iter_mut().flatten() {
            child.ask_to_stop();
        }
        let orderly = async {
            loop {
                tokio::select! {
                    () = signals.asked() => return false,
                    event = events.recv() => match event {
                        Some(Event::Ended { node, .. }) => self.children[node] = None,
                        Some(Event::Line { .. }) => {}
                        None => return true,
                    }
                }
            }
        };
        if timeout(STOP_MAX, orderly).await.unwrap_or(false) {
            println!("stopped: every node ended in order");
            return Ok(ExitCode::SUCCESS);
        }
        let stuck = self.children.iter().flatten().count();
        for child in self.children.iter_mut().flatten() {
            child.kill();
        }
        while events.recv().await.is_some() {}
        bail!(Hint::new(
            format!("{stuck} nodes did not stop in order and were killed"),
            "their data is safe, as after a crash; --log-level info shows what they wait for"
        ));
    }
}

async fn wait_for(deadline: Option<Instant>) {
    if let Some(deadline) = deadline {
        sleep_until(deadline).await;
    }
}
