//! Server processes: started with their output in a file, watched through /proc, always killed.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// Ticks in a second of processor time: fixed by Linux for what /proc shows.
const TICKS_PER_SECOND: u64 = 100;

/// A running server. Dropping it kills it, and what it started.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
}

impl Server {
    /// Starts a server whose output goes to `log`.
    pub(crate) fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let output = File::create(log).with_context(|| log.display().to_string())?;
        let errors = output.try_clone()?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        Ok(Self { child })
    }

    /// Starts a server and reads its output up to a line that begins with `word`.
    pub(crate) fn start_until(command: &mut Command, log: &Path, word: &str) -> Result<Self> {
        let errors = File::create(log).with_context(|| log.display().to_string())?;
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn();
        let mut child =
            child.with_context(|| format!("cannot start {}", command.get_program().display()))?;
        let output = child.stdout.take().context("the output is piped")?;
        let mut server = Self { child };
        for line in BufReader::new(output).lines() {
            if line?.starts_with(word) {
                return Ok(server);
            }
        }
        let status = server.child.wait()?;
        let said = fs::read_to_string(log).unwrap_or_default();
        bail!("ended before it was ready ({status}): {}", said.trim());
    }

    pub(crate) fn has_ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// The process and its children.
    pub(crate) fn pids(&self) -> Vec<u32> {
        let pid = self.child.id();
        let mut pids = vec![pid];
        pids.extend(children(pid));
        pids
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let children = children(self.child.id());
        // The parent first: it might start again what it misses. Failing means that it has
        // ended already.
        if self.child.kill().is_ok() && self.child.wait().is_err() {
            eprintln!(
                "warning: process {} could not be waited for",
                self.child.id()
            );
        }
        for pid in &children {
            if Path::new(&format!("/proc/{pid}")).exists()
                && let Err(error) = Command::new("kill").args(["-9", &pid.to_string()]).output()
            {
                eprintln!("warning: cannot kill process {pid}: {error}");
            }
        }
        // Their ports are free when they are gone.
        let gone = wait_until("killed processes", || {
            Ok(children
                .iter()
                .all(|pid| !Path::new(&format!("/proc/{pid}/fd/0")).exists()))
        });
        if let Err(error) = gone {
            eprintln!("warning: {error:#}");
        }
    }
}

fn children(pid: u32) -> Vec<u32> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect()
}

/// Processor time that these processes have used so far.
pub(crate) fn processor_time(pids: &[u32]) -> Duration {
    let ticks = |pid: &u32| -> u64 {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // The name may hold spaces; what follows it does not. utime and stime are the 12th
        // and 13th fields after it.
        let fields = text
            .rsplit_once(')')
            .map_or("", |(_, rest)| rest)
            .split_whitespace();
        fields
            .skip(11)
            .take(2)
            .filter_map(|field| field.parse::<u64>().ok())
            .sum()
    };
    Duration::from_millis(pids.iter().map(ticks).sum::<u64>() * (1000 / TICKS_PER_SECOND))
}

/// Memory that these processes hold now, in bytes.
pub(crate) fn resident_bytes(pids: &[u32]) -> u64 {
    let of = |pid: &u32| -> u64 {
        let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
        kib.unwrap_or(0) * 1024
    };
    pids.iter().map(of).sum()
}

/// Asks again and again until the answer is yes: for servers that don't say when they are ready.
pub(crate) fn wait_until(what: &str, mut ready: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !ready()? {
        if Instant::now() > deadline {
            bail!("{what}: not ready within 60 s");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}
