//! A node as a child process.

use std::env;
use std::process::{ExitStatus, Stdio};

use anyhow::{Context as _, Result};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{ChildStdin, Command};
use tokio::sync::{mpsc, oneshot};

use crate::log::LogArgs;
use crate::up::plan::{NodePlan, Plan};

/// What a child did. `node` counts from 0.
#[derive(Debug)]
pub(crate) enum Event {
    /// It printed a line.
    Line { node: usize, text: String },
    /// It has ended, and this is how.
    Ended { node: usize, how: String },
}

/// A running child. Dropping it asks it to stop.
#[derive(Debug)]
pub(crate) struct Child {
    /// Closing it asks the child to stop.
    input: Option<ChildStdin>,
    kill: Option<oneshot::Sender<()>>,
}

impl Child {
    /// Starts a node; what it does arrives in `events`.
    pub(crate) fn start(
        node: &NodePlan,
        plan: &Plan,
        log: &LogArgs,
        events: &mpsc::Sender<Event>,
    ) -> Result<Self> {
        let id = (node.at + 1).to_string();
        let mut command = Command::new(env::current_exe().context("cannot find this program")?);
        command
            .args(["serve", "--as-child", "--node-id", &id, "--data-dir"])
            .arg(&node.data_dir)
            .args(["--resp-listen", &node.resp.to_string()])
            .args(["--grpc-listen", &node.grpc.to_string()])
            .args(["--http-listen", &node.http.to_string()])
            .args([
                "--cluster-name",
                plan.cluster_name(),
                "--peers",
                &plan.peers(),
            ])
            .args(["--log-level", &log.log_level])
            .args(&plan.serve_args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Ctrl-C is for the parent, which then asks the children one way only.
            .process_group(0);
        for name in [
            "KONTIKI_PEERS",
            "KONTIKI_JOIN",
            "KONTIKI_ADVERTISE",
            "KONTIKI_NODE_ID",
        ] {
            command.env_remove(name);
        }
        let mut child = command
            .spawn()
            .with_context(|| format!("cannot start node {id}"))?;
        let input = child.stdin.take();
        let (kill, killed) = oneshot::channel();
        tokio::spawn(watch(usize::from(node.at), child, killed, events.clone()));
        Ok(Self {
            input,
            kill: Some(kill),
        })
    }

    pub(crate) fn ask_to_stop(&mut self) {
        self.input = None;
    }

    pub(crate) fn kill(&mut self) {
        if let Some(kill) = self.kill.take() {
            // The receiver is gone only if the child is.
            let _gone = kill.send(());
        }
    }
}

/// Passes on what a child prints, then how it ended.
async fn watch(
    node: usize,
    mut child: tokio::process::Child,
    mut killed: oneshot::Receiver<()>,
    events: mpsc::Sender<Event>,
) {
    let Some(output) = child.stdout.take() else {
        return;
    };
    let mut lines = BufReader::new(output).lines();
    let mut asked = true;
    loop {
        tokio::select! {
            line = lines.next_line() => match line {
                Ok(Some(text)) => {
                    if events.send(Event::Line { node, text }).await.is_err() {
                        return;
                    }
                }
                Ok(None) | Err(_) => break,
            },
            result = &mut killed, if asked => {
                asked = false;
                if result.is_ok() && let Err(error) = child.start_kill() {
                    tracing::warn!(node, %error, "cannot kill the process");
                }
            }
        }
    }
    let how = match child.wait().await {
        Ok(status) => describe(status),
        Err(error) => format!("its end could not be observed ({error})"),
    };
    // Nobody listens any longer when the parent itself is ending.
    let _ended = events.send(Event::Ended { node, how }).await;
}

fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(0), _) => "it stopped in order".to_owned(),
        (Some(code), _) => format!("exit code {code}, its message is above"),
        (None, Some(9)) => "killed by SIGKILL".to_owned(),
        (None, Some(6)) => "aborted, its message is above".to_owned(),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => status.to_string(),
    }
}
