//! The consensus core beside raft-rs and openraft, in one in-memory harness.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::bench::report::{Row, Table, median};
use crate::bench::{BenchArgs, build_peer};

/// What the harness measures: name, arguments of the program.
const SHAPES: [(&str, &[&str]); 2] = [
    ("256 in flight", &["--window", "256"]),
    ("4,096 in flight", &["--window", "4096"]),
];
const PEERS: [(&str, &str, f64); 2] = [("raft-rs", "raft-rs", 2.0), ("openraft", "openraft", 1.0)];

pub(crate) fn run(args: &BenchArgs) -> Result<Table> {
    let program = build_peer("raft-bench")?;
    let proposals = if args.quick { "200000" } else { "1000000" };
    let mut rows = Vec::new();
    for (what, shape) in SHAPES {
        let mut results: [Vec<f64>; 3] = [Vec::new(), Vec::new(), Vec::new()];
        for _ in 0..args.rounds {
            for (at, core) in ["kontiki", "raft-rs", "openraft"].into_iter().enumerate() {
                let output = Command::new(&program)
                    .args(["--core", core, "--proposals", proposals])
                    .args(shape)
                    .output()?;
                let text = String::from_utf8_lossy(&output.stdout).into_owned();
                ensure!(
                    output.status.success(),
                    "{core}: {}",
                    String::from_utf8_lossy(&output.stderr)
                );
                let json: serde_json::Value = serde_json::from_str(text.trim())?;
                let speed = json.get("per_second").and_then(serde_json::Value::as_f64);
                let speed = speed.with_context(|| text.clone())?;
                eprintln!("  {core}, {what}: {speed:.0}/s");
                results[at].push(speed);
            }
        }
        let [ours, theirs @ ..] = results.map(median);
        for ((name, _, aim), peer) in PEERS.into_iter().zip(theirs) {
            let what = format!("proposals applied, {what}");
            rows.push(Row::at_least(&what, (ours, peer), name, aim));
        }
    }
    let method = "Three members of one group in one process, without network or disk: a message is a value in a\n\
                  queue, storage is a vector. Entries hold 64 B. A proposal counts when the leader has applied it.\n\
                  The first two cores are stepped by one thread and one loop; openraft brings its own tasks and\n\
                  runs on a current-thread tokio runtime."
        .to_owned();
    let command = format!("cargo xtask bench raft --rounds {}", args.rounds);
    Ok(Table {
        name: "raft",
        title: "The consensus core",
        method,
        rows,
        command,
    })
}
