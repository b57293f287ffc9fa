//! `kontiki serve`: one node, until it is asked to stop.

use std::future::pending;
use std::io::Read as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use kv::http::Recorder;
use kv::node::Node;
use stdx::NodeId;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use crate::config::{self, Settings};
use crate::error::Hint;
use crate::up::SHAPE_FILE;

mod doors;

use doors::Doors;

/// What a line begins with when a node, or a cluster, serves.
pub(crate) const READY: &str = "ready";

/// Runs one node: alone by default, else as a member of a cluster.
///
/// A cluster of three, each on its own machine:
///
///   kontiki serve --node-id 1 --peers 1=a:7379,2=b:7379,3=c:7379 --grpc-listen a:7379 --insecure-listen
///
/// and the same with --node-id 2 on b and 3 on c. A fourth joins with --join a:7379.
#[derive(Args, Clone, Debug)]
#[command(verbatim_doc_comment)]
pub(crate) struct ServeArgs {
    /// A TOML file with settings: the keys are the long flags, flags win over it
    #[arg(long, env = "KONTIKI_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
    /// Stop when standard input closes; log with the node's name
    #[arg(long, hide = true)]
    as_child: bool,
}

/// A node that is about to start.
#[derive(Clone, Debug)]
pub(crate) struct ServeConfig {
    node: config::Node,
    as_child: bool,
}

impl ServeArgs {
    pub(crate) fn into_config(self) -> Result<ServeConfig> {
        let settings = match &self.config {
            Some(path) => self.settings.over_file(path)?,
            None => self.settings,
        };
        let node = settings.into_node()?;
        let shape = node.config.data_dir.join(SHAPE_FILE);
        ensure!(
            !shape.exists(),
            Hint::new(
                format!(
                    "{} belongs to a cluster of `kontiki up`",
                    node.config.data_dir.display()
                ),
                "start that cluster with `kontiki up`, or choose another --data-dir"
            )
        );
        Ok(ServeConfig {
            node,
            as_child: self.as_child,
        })
    }
}

impl ServeConfig {
    /// What log lines begin with, where several processes share a terminal.
    pub(crate) fn log_prefix(&self) -> Option<String> {
        self.as_child
            .then(|| format!("{} ", self.node.config.node_id))
    }
}

pub(crate) async fn run(serve: ServeConfig) -> Result<ExitCode> {
    let mut signals = Signals::new()?;
    let config::Node {
        config,
        resp_listen,
        http_listen,
    } = serve.node;
    let id = config.node_id;
    let data_dir = config.data_dir.clone();
    let config = config
        .validate()
        .context("the configuration does not make sense")?;
    // Before the node, which counts from its start.
    let recorder = Recorder::install().context("metrics cannot be collected")?;
    let mut node = Node::start(config)
        .await
        .with_context(|| format!("cannot start node {id}"))?;
    let doors = Doors::open(&mut node, recorder, &resp_listen, &http_listen).await?;
    println!("listening: {}", doors.addresses());
    let mut failed = node.failed();
    let handle = node.handle();
    let parent = parent_gone(serve.as_child);
    let watching = async {
        handle.wait_ready().await;
        let status = handle.status();
        let leader = status.leader.map_or(0, NodeId::get);
        println!("{READY}: node {leader} leads cluster {}", status.cluster_id);
        if !serve.as_child {
            println!(
                "Data in {}. Ctrl-C stops the node; the data stays.",
                data_dir.display()
            );
        }
        pending::<()>().await;
    };
    let mut together = false;
    let failure = tokio::select! {
        () = signals.asked() => None,
        () = parent => {
            together = true;
            None
        }
        () = watching => None,
        reason = failed.wait_for(Option::is_some) => Some(reason.ok().and_then(|r| r.clone())),
    };
    if let Some(reason) = failure {
        let reason = reason
            .as_deref()
            .unwrap_or("no reason was given")
            .to_owned();
        bail!(Hint::new(
            format!("node {id} cannot go on: {reason}"),
            "its data is in order up to that point"
        ));
    }
    // Leadership is handed over while the doors still answer.
    tokio::select! {
        () = stop(handle, doors, together) => Ok(ExitCode::SUCCESS),
        () = signals.asked() => {
            bail!(Hint::new("asked twice to stop: ended at once", "nothing is lost, as after a crash"));
        }
    }
}

/// Ends the node. `together`: the parent ends the whole cluster.
async fn stop(handle: kv::node::Handle, doors: Doors, together: bool) {
    if together {
        handle.shutdown_together().await;
    } else {
        handle.shutdown().await;
    }
    doors.close().await;
}

/// The signals that ask a program to stop.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Signals {
    pub(crate) fn new() -> Result<Self> {
        let listen = |kind| signal(kind).context("cannot watch for signals");
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hang_up: listen(SignalKind::hangup())?,
        })
    }

    /// Returns when one has arrived.
    pub(crate) async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hang_up.recv() => {}
        }
    }
}

/// Returns when the parent closed our standard input, by intent or by its death.
async fn parent_gone(as_child: bool) {
    if !as_child {
        return pending().await;
    }
    let (sender, receiver) = oneshot::channel::<()>();
    // A thread of its own: a read of standard input cannot be cancelled, and must not hold
    // up the end of the runtime.
    let reader = thread::Builder::new()
        .name("parent".to_owned())
        .spawn(move || {
            let mut byte = [0];
            while std::io::stdin()
                .read(&mut byte)
                .is_ok_and(|count| count > 0)
            {}
            drop(sender);
        });
    if let Err(error) = reader {
        tracing::error!(%error, "cannot watch the parent: this node outlives it");
        return pending().await;
    }
    // The sender is dropped, never used: an error is the news.
    let _closed = receiver.await;
}
