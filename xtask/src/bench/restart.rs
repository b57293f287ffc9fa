//! How long a cluster that crashed takes until it serves again.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

use crate::bench::process::wait_until;
use crate::bench::systems::{Programs, Running, System};

/// What a restart took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Restarted {
    pub(crate) seconds: f64,
    /// Of the leader's log, before the crash.
    pub(crate) log_bytes: u64,
}

/// Fills a cluster until its log is large, kills every node, and starts them again.
///
/// The nodes are told to keep 1 GiB of log behind the last checkpoint; what comes after it,
/// up to the default of `--checkpoint-log`, is replayed.
pub(crate) fn run(programs: &Programs, quick: bool) -> Result<Restarted> {
    eprintln!("restart: {}", System::Kontiki3.name());
    let aim = if quick { 100_000_000 } else { 1_000_000_000 };
    let mut running = programs.start_with(System::Kontiki3, &["--log-keep", "1GiB"])?;
    let mut log_bytes = 0;
    // About 100 MB of log for each pass; a log that is cut earlier never gets there.
    for _ in 0..20 {
        let port = running.resp_port.context("Kontiki speaks RESP")?;
        programs.fill(&[
            "--system",
            "resp",
            "--endpoint",
            &format!("127.0.0.1:{port}"),
        ])?;
        log_bytes = log_size(programs, &running)?;
        if log_bytes >= aim {
            break;
        }
    }
    if log_bytes < aim {
        eprintln!(
            "  note: the log stays at {log_bytes} bytes: the node cuts it before it is larger"
        );
    }
    running.kill()?;
    let began = Instant::now();
    programs.start_again(&mut running)?;
    let port = running
        .resp_port
        .context("Kontiki speaks RESP")?
        .to_string();
    wait_until("kontiki", || {
        let read = Command::new("redis-cli")
            .args(["-p", &port, "get", "key:000000000042"])
            .output()?;
        Ok(read.stdout.starts_with(b"000000000000002a"))
    })?;
    let seconds = began.elapsed().as_secs_f64();
    let size = Command::new("redis-cli")
        .args(["-p", &port, "dbsize"])
        .output()?;
    let size = String::from_utf8_lossy(&size.stdout).trim().to_owned();
    ensure!(
        size == "1000000",
        "after the restart there are {size} keys, not 1000000"
    );
    eprintln!("  serving after {seconds:.2} s, log of {log_bytes} bytes");
    Ok(Restarted { seconds, log_bytes })
}

fn log_size(programs: &Programs, running: &Running) -> Result<u64> {
    let status =
        programs.kontiki_status(running.grpc.as_deref().context("Kontiki speaks gRPC")?)?;
    let nodes = status
        .pointer("/nodes")
        .and_then(serde_json::Value::as_array);
    let bytes = nodes
        .into_iter()
        .flatten()
        .filter_map(|node| node.pointer("/disk/wal_bytes")?.as_u64());
    bytes
        .max()
        .with_context(|| format!("`kontiki status --json` has no log size: {status}"))
}
