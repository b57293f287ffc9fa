//! Programs that say in lines what they have to say, and end when their input does.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// How long a program may take to be ready.
const READY_MAX: Duration = Duration::from_secs(60);
/// Lines that wait to be read.
const LINES_MAX: usize = 1_024;

/// A running program; killed when dropped.
#[derive(Debug)]
pub(crate) struct Program {
    child: Child,
    name: String,
    lines: Receiver<String>,
}

impl Program {
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let name = format!("{command:?}");
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let output = child.stdout.take().context("the output is piped")?;
        let (sender, lines) = sync_channel(LINES_MAX);
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self { child, name, lines })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Reads up to a line that begins with `word`.
    pub(crate) fn wait_for(&self, word: &str) -> Result<()> {
        let deadline = Instant::now() + READY_MAX;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) if line.starts_with(word) => return Ok(()),
                Ok(_) => {}
                Err(_) => bail!("{} did not say {word}", self.name),
            }
        }
    }

    /// Waits for its end; the last line that it said. `None` when it takes longer.
    pub(crate) fn last_line(&mut self, patience: Duration) -> Result<Option<String>> {
        let deadline = Instant::now() + patience;
        let mut last = None;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => last = Some(line),
                Err(RecvTimeoutError::Timeout) => return Ok(None),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        let status = self.child.wait()?;
        if !status.success() {
            bail!("{}: {status}", self.name);
        }
        Ok(last)
    }

    /// Closes its input and waits for its end.
    pub(crate) fn end_input(mut self) -> Result<()> {
        drop(self.child.stdin.take());
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        let _ended = self.child.kill();
        if let Err(error) = self.child.wait() {
            eprintln!("warning: {}: {error}", self.name);
        }
    }
}
