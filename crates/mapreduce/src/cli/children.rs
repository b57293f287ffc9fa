//! Processes of `run`: a coordinator and workers, started again when they die.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::cli::Program;
use crate::cli::serve::READY;
use crate::error::{Context as _, Error};
use crate::limits;

/// A process that is kept alive until it is told to stop.
#[derive(Debug)]
pub(crate) struct Kept {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Kept {
    /// Asks it to stop, and waits.
    pub(crate) async fn stop(self) {
        self.stop.send_replace(true);
        if let Err(error) = self.task.await {
            tracing::warn!(%error, "a process was not watched to its end");
        }
    }

    /// Asks it to stop.
    pub(crate) fn ask_to_stop(&self) {
        self.stop.send_replace(true);
    }
}

/// A command of this very program.
fn command(program: &Program, words: &[String]) -> Result<Command, Error> {
    let exe = std::env::current_exe().context("cannot find this program")?;
    let mut command = Command::new(exe);
    command
        .args(&program.prefix)
        .args(words)
        .args(["--as-child", "--log-level", &program.log_level])
        .stdin(Stdio::piped())
        // Ctrl-C is for the parent, which asks the children one way only.
        .process_group(0)
        .kill_on_drop(true);
    Ok(command)
}

/// Starts a coordinator; returns its address as soon as it listens.
pub(crate) async fn coordinator(program: &Program, store: &Path) -> Result<(Kept, String), Error> {
    let words = |listen: &str| -> Vec<String> {
        let store = store.to_string_lossy();
        ["coordinator", "--listen", listen, "--store", &store]
            .map(str::to_owned)
            .into()
    };
    let mut first = command(program, &words("127.0.0.1:0"))?;
    let mut child = first
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start the coordinator")?;
    let output = child.stdout.take().ok_or_else(|| Error::new("no output"))?;
    let mut lines = BufReader::new(output).lines();
    let line = lines
        .next_line()
        .await
        .context("the coordinator is silent")?;
    let address = line
        .as_deref()
        .and_then(|line| line.strip_prefix(READY))
        .map(|rest| rest.trim().to_owned())
        .ok_or_else(|| Error::new("the coordinator did not start: see its message above"))?;
    // Where it listened, so that workers find it again.
    let again = words(&address);
    let program = program.clone();
    let start = move || {
        let mut command = command(&program, &again)?;
        command.stdout(Stdio::null());
        command
            .spawn()
            .context("cannot start the coordinator again")
    };
    Ok((keep("the coordinator".to_owned(), child, start), address))
}

/// Starts a worker.
pub(crate) fn worker(
    program: &Program,
    number: u32,
    slots: u32,
    coordinator: &str,
    dir: &Path,
) -> Result<Kept, Error> {
    let words: Vec<String> = vec![
        "worker".to_owned(),
        "--coordinator".to_owned(),
        coordinator.to_owned(),
        "--slots".to_owned(),
        slots.to_string(),
        "--name".to_owned(),
        format!("worker {number}"),
        "--dir".to_owned(),
        dir.to_string_lossy().into_owned(),
    ];
    let program = program.clone();
    let start = move || {
        let mut command = command(&program, &words)?;
        command.spawn().context("cannot start a worker")
    };
    let child = start()?;
    Ok(keep(format!("worker {number}"), child, start))
}

fn keep(
    name: String,
    child: Child,
    start: impl Fn() -> Result<Child, Error> + Send + 'static,
) -> Kept {
    let (stop, asked) = watch::channel(false);
    let task = tokio::spawn(attend(name, child, start, asked));
    Kept { stop, task }
}

/// Waits for a process to end, and starts it again unless it was asked to stop.
async fn attend(
    name: String,
    mut child: Child,
    start: impl Fn() -> Result<Child, Error>,
    mut asked: watch::Receiver<bool>,
) {
    for restarts in 0..=limits::RESTARTS_MAX {
        let input: Option<ChildStdin> = child.stdin.take();
        let state = asked.clone();
        tokio::select! {
            ended = child.wait() => {
                let how = ended.map_or_else(|e| e.to_string(), |status| status.to_string());
                if *state.borrow() {
                    return;
                }
                tracing::info!(name, how, "a process ended: it is started again");
            }
            () = told(&mut asked) => {
                // Its standard input closes: that is the request.
                drop(input);
                if timeout(Duration::from_secs(2), child.wait()).await.is_err()
                    && let Err(error) = child.kill().await
                {
                    tracing::warn!(name, %error, "cannot kill a process");
                }
                return;
            }
        }
        // At once the first times; a process that can't start must not spin.
        sleep(Duration::from_millis(u64::from(restarts.min(50)) * 20)).await;
        child = match start() {
            Ok(child) => child,
            Err(error) => {
                tracing::error!(name, "{}", error.line());
                return;
            }
        };
    }
    tracing::error!(name, "it ended too often and is not started again");
}

/// Waits until the process is to stop.
async fn told(asked: &mut watch::Receiver<bool>) {
    // An error means that whoever could ask is gone: that is a request too.
    let _request = asked.wait_for(|asked| *asked).await.is_ok();
}

/// Removes a directory of `run`'s own.
pub(crate) fn remove(dir: &PathBuf) {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!(%error, dir = %dir.display(), "cannot remove files");
        }
        _ => {}
    }
}
