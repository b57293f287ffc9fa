//! The miner: its kernels beside plain code, and a pool beside its workers' bare processors.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::bench::BenchArgs;
use crate::bench::report::{Row, Table, median};
use crate::sh;

/// Million hashes per second on one core that are aimed for: problem, its name, the plain
/// code that it is compared with, the aim.
const PROBLEMS: [(&str, &str, [&str; 2], f64); 2] = [
    (
        "cmu",
        "CMU hashes, one core",
        ["sha2, digits in place", "format! and sha2"],
        60.0,
    ),
    ("bitcoin", "headers, one core", ["sha2 twice", ""], 30.0),
];
const KERNELS: [&str; 4] = ["sha-ni", "avx512", "avx2", "portable"];
/// What a pool should make of its workers.
const EFFICIENCY: f64 = 0.97;

pub(crate) fn run(args: &BenchArgs) -> Result<Table> {
    let (span, seconds) = if args.quick {
        ("200", "3")
    } else {
        ("1500", "10")
    };
    let mut rows = kernel_rows(&lines("miner-kernels", "speeds", &[span])?)?;
    let rounds = args.rounds.to_string();
    rows.extend(pool_rows(&lines("miner", "pool", &[seconds, &rounds])?)?);
    let method = "Kernels: one thread, best of five rounds each, every kernel that this processor has and\n\
                  plain code with the crate `sha2` (which uses the processor's SHA instructions itself), all in one\n\
                  process. The first figure of an aim's row is the fastest kernel, which is the one that is chosen.\n\
                  Pool: two workers of one thread each do a job of some seconds over LSP, each through a relay in\n\
                  the same process that delays every datagram by 25 ms each way (50 ms round trip, no loss); the\n\
                  same nonces are hashed by two bare threads, before and after. The server and its checks run on the\n\
                  same two cores. Medians of the rounds. A small job is a fifth of a second of both workers' time, and\n\
                  its time includes connecting, from this machine; the peer is two bare threads. Twenty jobs: of one\n\
                  client, over one connection, as large as the other client's single one. Killed: server and workers are\n\
                  processes without the relay, which give a peer up after a second of silence (`--epoch-ms 200`); SIGKILL\n\
                  halfway through a job, and a new server on the same data directory at once, new workers when the old\n\
                  ones have ended. The peer is what the job would take if that cost nothing."
        .to_owned();
    Ok(Table {
        name: "miner",
        title: "The miner",
        method,
        rows,
        command: format!("cargo xtask bench miner --rounds {}", args.rounds),
    })
}

/// The JSON that an example prints.
fn lines(package: &str, example: &str, args: &[&str]) -> Result<Vec<Value>> {
    let build = [
        "build",
        "--quiet",
        "--release",
        "--package",
        package,
        "--example",
        example,
    ];
    sh::run_cargo(&build, &[])?;
    let program = sh::root().join("target/release/examples").join(example);
    let output = Command::new(&program).args(args).output();
    let output = output.with_context(|| program.display().to_string())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let trouble = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{example}: {trouble}");
    eprint!("{text}");
    let values = text.lines().map(serde_json::from_str);
    Ok(values.collect::<Result<_, _>>()?)
}

fn kernel_rows(lines: &[Value]) -> Result<Vec<Row>> {
    let speed = |problem: &str, name: &str| {
        let line = lines
            .iter()
            .find(|line| line["problem"] == problem && line["name"] == name);
        line.and_then(|line| line["per_second"].as_f64())
            .map(|speed| speed / 1e6)
    };
    let mut rows = Vec::new();
    for (problem, what, peers, aim) in PROBLEMS {
        let speeds = KERNELS.map(|kernel| speed(problem, kernel));
        let best = speeds.into_iter().flatten().max_by(f64::total_cmp);
        let best = best.with_context(|| format!("no kernel did {problem}"))?;
        for (number, peer) in peers
            .into_iter()
            .enumerate()
            .filter(|(_, peer)| !peer.is_empty())
        {
            let pair = (Some(best), speed(problem, peer));
            let mut row = Row::at_least(what, pair, peer, 1.0).reported();
            row.unit = "M/s".to_owned();
            if number == 0 {
                row.aim = format!(">= {aim:.0} M/s");
                row.met = Some(best >= aim);
            }
            rows.push(row);
        }
        for (kernel, speed) in KERNELS.into_iter().zip(speeds).filter(|(_, s)| s.is_some()) {
            let what = format!("{what}, {kernel}");
            let mut row = Row::at_least(&what, (speed, None), "", 1.0).reported();
            row.unit = "M/s".to_owned();
            rows.push(row);
        }
    }
    Ok(rows)
}

fn pool_rows(lines: &[Value]) -> Result<Vec<Row>> {
    let of = |what: &str| {
        let found = lines.iter().find(|line| line["what"] == what);
        found.with_context(|| format!("the pool said nothing of {what}"))
    };
    let (latency, fairness) = (of("latency")?, of("fairness")?);
    let (worker, server) = (of("killed worker")?, of("killed server")?);
    let seconds = |what: &str, kontiki: &Value, peer: &Value, name: &str| {
        let pair = (kontiki.as_f64(), peer.as_f64());
        let mut row = Row::at_most(what, pair, name, "s").reported();
        row.unit = "s".to_owned();
        row
    };
    let (bare, free) = ("two bare threads", "if it cost nothing");
    Ok(vec![
        efficiency_row(lines),
        seconds(
            "a small job, the pool idle",
            &latency["alone"],
            &latency["raw"],
            bare,
        ),
        seconds(
            "a small job, behind a huge one",
            &latency["behind"],
            &latency["raw"],
            bare,
        ),
        seconds(
            "a job beside 20 of another client",
            &fairness["beside"],
            &fairness["alone"],
            "the pool idle",
        ),
        seconds(
            "a job, one of two workers killed halfway",
            &worker["took"],
            &worker["ideal"],
            free,
        ),
        seconds(
            "a job, the server killed halfway",
            &server["took"],
            &server["ideal"],
            free,
        ),
    ])
}

fn efficiency_row(lines: &[Value]) -> Row {
    let rate = |what: &str| {
        let rates = lines
            .iter()
            .filter(|line| line["what"] == "efficiency")
            .filter_map(|line| Some(line["nonces"].as_f64()? / line[what].as_f64()? / 1e6));
        median(rates.collect())
    };
    let pair = (rate("pool"), rate("raw"));
    let mut row = Row::at_least(
        "a pool of two workers, 50 ms away",
        pair,
        "two bare threads",
        1.0,
    );
    row.unit = "M/s".to_owned();
    row.aim = format!(">= {EFFICIENCY} x");
    row.met = row.ratio.map(|ratio| ratio >= EFFICIENCY);
    row
}
