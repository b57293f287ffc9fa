//! `cargo xtask bench lsp`: LSP beside QUIC and TCP, on a link whose faults are known.
//!
//! The link is a program of `bench/`: two network namespaces joined by 20 Mbit/s, 50 ms there
//! and back, a queue of 125 kB, and independent loss each way. The kernel's TCP and quinn run
//! in the same rounds. What the original coursework reached on such a link was measured
//! elsewhere and published; it can't be run here, and its rows say so.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use serde_json::Value;

use crate::bench::process::{processor_time, resident_bytes};
use crate::bench::program::Program;
use crate::bench::report::{Row, Table, median};
use crate::bench::{self, BenchArgs};
use crate::sh;

/// Parts of this benchmark, so that each fits a quiet moment.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Part {
    /// Goodput over the link.
    Goodput,
    /// Latency over the link.
    Latency,
    /// Small messages on loopback.
    Loopback,
    /// Ten thousand connections that say nothing.
    Idle,
}

const ALL: [Part; 4] = [Part::Goodput, Part::Latency, Part::Loopback, Part::Idle];
const LOSSES: [u32; 5] = [0, 1, 5, 10, 20];
const ROUND_TRIP_MS: f64 = 50.0;
const PORT: &str = "23110";
const IDLE_CONNECTIONS: u32 = 10_000;
const IDLE_SECONDS: u64 = 10;
/// Goodput of a coursework implementation with a window of 50 and epochs of two seconds, in
/// Mbit/s, by percent of loss: a published measurement on a link of the same rate, delay
/// and queue.
const COURSEWORK: [(u32, f64); 4] = [(0, 3.66), (1, 0.17), (5, 0.09), (10, 0.06)];

/// A transport, its messages, and how the table calls it.
const BULK: [(&str, u32, &str); 5] = [
    ("lsp2", 16_384, "LSP/2"),
    ("quinn-bbr", 16_384, "quinn, BBR"),
    ("tcp-cubic", 16_384, "kernel TCP, cubic"),
    ("tcp-bbr", 16_384, "kernel TCP, bbr"),
    ("lsp1", 500, "LSP/1, window 200"),
];
const STEADY: [(&str, &str); 4] = [
    ("lsp2", "LSP/2"),
    ("quinn-bbr", "quinn, BBR"),
    ("tcp-cubic", "kernel TCP, cubic"),
    ("lsp1", "LSP/1"),
];

/// Everything that was measured: by name, one value a round.
type Samples = BTreeMap<String, Vec<f64>>;

struct Tools {
    link: PathBuf,
    peer: PathBuf,
    quick: bool,
}

pub(crate) fn run(args: &BenchArgs) -> Result<Table> {
    let tools = Tools {
        link: bench::build_peer("link")?,
        peer: bench::build_peer("lsp-bench")?,
        quick: args.quick,
    };
    let path = bench::directory()?.join("lsp-samples.json");
    let mut samples = Samples::new();
    if args.resume
        && let Ok(text) = fs::read_to_string(&path)
    {
        samples = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
    }
    let parts = if args.part.is_empty() {
        &ALL[..]
    } else {
        &args.part
    };
    for round in 1..=args.rounds {
        for part in parts {
            eprintln!("round {round}: {part:?}");
            if matches!(part, Part::Goodput | Part::Latency) && !can_link() {
                continue;
            }
            match part {
                Part::Goodput => tools.goodput(&mut samples),
                Part::Latency => tools.latency(&mut samples),
                Part::Loopback => tools.loopback(&mut samples),
                Part::Idle => {
                    let _said = or_say("idle", tools.idle(&mut samples));
                }
            }
            fs::write(&path, serde_json::to_string_pretty(&samples)? + "\n")?;
        }
    }
    Ok(table(&samples))
}

/// Whether links can be made here; says why not.
fn can_link() -> bool {
    let can = sh::have("test", &["-w", "/dev/net/tun"]) && sh::have("ip", &["netns", "list"]);
    if !can {
        eprintln!("skip: goodput and latency need root, /dev/net/tun and iproute2");
    }
    can
}

impl Tools {
    fn seconds(&self, full: u32) -> u32 {
        if self.quick { full.div_ceil(4) } else { full }
    }

    fn goodput(&self, samples: &mut Samples) {
        for loss in LOSSES {
            for (transport, message, _) in BULK {
                let words = [format!("--message={message}")];
                let name = format!("goodput/{transport}/{loss}");
                let report = self.over_link(transport, loss, self.seconds(8), &words, &[]);
                if let Some(report) = or_say(&name, report) {
                    let value = field(report.as_ref(), "mbit_per_second");
                    note(samples, name, value.unwrap_or(0.0));
                }
            }
        }
    }

    fn latency(&self, samples: &mut Samples) {
        let (words, rate) = (["--message=200".to_owned()], ["--rate=50".to_owned()]);
        for (transport, _) in STEADY {
            let name = format!("latency/{transport}");
            let report = self.over_link(transport, 10, self.seconds(20), &words, &rate);
            let report = or_say(&name, report).flatten();
            if let Some(p99) = field(report.as_ref(), "latency_ms_p99") {
                note(samples, name, p99 / ROUND_TRIP_MS);
            }
        }
    }

    fn loopback(&self, samples: &mut Samples) {
        let seconds = self.seconds(5);
        for transport in ["lsp2", "lsp1", "quinn-bbr"] {
            let words = ["--message=64".to_owned()];
            let name = format!("small/{transport}");
            let report = self.flow(&[], &[], "127.0.0.1", transport, seconds, &words, &[]);
            let report = or_say(&name, report).flatten();
            if let Some(value) = field(report.as_ref(), "messages_per_second") {
                note(samples, name, value);
            }
        }
    }

    fn idle(&self, samples: &mut Samples) -> Result<()> {
        let address = format!("127.0.0.1:{PORT}");
        let transport = "--transport=lsp2";
        let count = format!("--connections={IDLE_CONNECTIONS}");
        let mut server = Command::new(&self.peer);
        server.args(["idle-server", "--bind", &address, transport, &count]);
        let server = Program::start(&mut server)?;
        server.wait_for("ready")?;
        let pids = [server.id()];
        let empty = resident_bytes(&pids);
        let mut clients = Command::new(&self.peer);
        clients.args(["idle-clients", "--to", &address, transport, &count]);
        let clients = Program::start(&mut clients)?;
        clients.wait_for("ready")?;
        sleep(Duration::from_secs(3));
        let before = processor_time(&pids);
        sleep(Duration::from_secs(IDLE_SECONDS));
        let used = processor_time(&pids).saturating_sub(before).as_secs_f64();
        let held = resident_bytes(&pids).saturating_sub(empty);
        note(samples, "idle/cores".to_owned(), used / IDLE_SECONDS as f64);
        let each = held as f64 / f64::from(IDLE_CONNECTIONS);
        note(samples, "idle/bytes".to_owned(), each);
        Ok(())
    }

    /// One flow over a link of its own; `None` where nothing could be measured.
    fn over_link(
        &self,
        transport: &str,
        loss: u32,
        seconds: u32,
        both: &[String],
        sender: &[String],
    ) -> Result<Option<Value>> {
        let mut link = Command::new(&self.link);
        link.args(["--rate", "20mbit", "--delay", "25ms", "--queue", "125kB"]);
        link.args(["--namespace-a", "kontiki-a", "--namespace-b", "kontiki-b"]);
        link.args(["--loss", &format!("{loss}%")]);
        let link = Program::start(&mut link)?;
        link.wait_for("ready")?;
        let (here, there) = (
            ["ip", "netns", "exec", "kontiki-a"],
            ["ip", "netns", "exec", "kontiki-b"],
        );
        let report = self.flow(&here, &there, "10.99.0.2", transport, seconds, both, sender);
        link.end_input()?;
        report
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "one flow, and where its two ends run"
    )]
    fn flow(
        &self,
        here: &[&str],
        there: &[&str],
        address: &str,
        transport: &str,
        seconds: u32,
        both: &[String],
        sender: &[String],
    ) -> Result<Option<Value>> {
        let certificate = bench::directory()?.join("lsp-bench.der");
        let certificate = format!("--certificate={}", certificate.display());
        let (address, transport) = (
            format!("{address}:{PORT}"),
            format!("--transport={transport}"),
        );
        let program = |before: &[&str], words: &[&str]| {
            let peer = self.peer.display().to_string();
            let all: Vec<String> = before
                .iter()
                .chain([&peer.as_str()])
                .map(|w| (*w).to_owned())
                .collect();
            let mut command = Command::new(&all[0]);
            command
                .args(&all[1..])
                .args(words)
                .args([&transport, &certificate])
                .args(both);
            command
        };
        let seconds_word = format!("--seconds={seconds}");
        let mut receiver = program(there, &["receive", "--bind", &address, &seconds_word]);
        let mut receiver = Program::start(&mut receiver)?;
        receiver.wait_for("ready")?;
        let mut sending = program(here, &["send", "--to", &address]);
        let sending = Program::start(sending.args(sender))?;
        // A connection may take long to make, or never be made.
        let report = receiver.last_line(Duration::from_secs(u64::from(seconds) + 15))?;
        drop(sending);
        report
            .map(|text| serde_json::from_str(&text).context(text.clone()))
            .transpose()
    }
}

/// Says what failed and goes on: the others can still be compared.
fn or_say<T>(name: &str, outcome: Result<T>) -> Option<T> {
    outcome
        .inspect_err(|error| eprintln!("  {name}: {error:#}"))
        .ok()
}

fn field(report: Option<&Value>, name: &str) -> Option<f64> {
    report?.get(name)?.as_f64()
}

fn note(samples: &mut Samples, name: String, value: f64) {
    eprintln!("  {name}: {value:.3}");
    samples.entry(name).or_default().push(value);
}

fn table(samples: &Samples) -> Table {
    let of = |name: String| median(samples.get(&name).cloned().unwrap_or_default());
    let mut rows = Vec::new();
    for loss in LOSSES {
        rows.extend(goodput_rows(loss, &|name| {
            of(format!("goodput/{name}/{loss}"))
        }));
    }
    rows.extend(latency_rows(&|name| of(format!("latency/{name}"))));
    rows.extend(local_rows(&|name| of(name.to_owned())));
    // What was not measured in this run, or in those that it resumes, has no row.
    rows.retain(|row| row.kontiki.is_some());
    let rounds = samples.values().map(Vec::len).max().unwrap_or(0);
    Table {
        name: "lsp",
        title: "LSP beside QUIC and TCP",
        method: format!(
            "A link of 20 Mbit/s, 50 ms there and back, a queue of 125 kB and independent random loss \
             each way, made by `bench/link` between two network namespaces; each end is a process with \
             one thread, and counting begins with the first message that arrives. Goodput is what the \
             receiving application got in 8 s, slow start included. Messages of 16 KiB, with LSP/1 500 \
             bytes. LSP/2 and QUIC encrypt, the others don't. Medians of up to {rounds} rounds, \
             interleaved. Rows of the coursework compare with figures that were published for a link \
             of the same kind (window 50, epochs of 2 s) and were not measured here."
        ),
        rows,
        command: "cargo xtask bench lsp".to_owned(),
    }
}

fn goodput_rows(loss: u32, of: &dyn Fn(&str) -> Option<f64>) -> Vec<Row> {
    let mut rows = Vec::new();
    for (peer, _, name) in &BULK[1..4] {
        let what = format!("goodput at {loss} % loss, LSP/2");
        let pair = (of("lsp2"), of(peer));
        let row = match *peer {
            "quinn-bbr" => Row::at_least(&what, pair, name, 0.9),
            "tcp-cubic" if loss > 0 => Row::at_least(&what, pair, name, 1.0),
            _ => Row::at_least(&what, pair, name, 1.0).reported(),
        };
        rows.push(row);
    }
    let coursework = COURSEWORK.iter().find(|(at, _)| *at == loss);
    let what = format!("goodput at {loss} % loss, LSP/1");
    let pair = (of("lsp1"), coursework.map(|(_, mbit)| *mbit));
    let peer = if coursework.is_some() {
        "coursework, published measurement"
    } else {
        ""
    };
    let row = Row::at_least(&what, pair, peer, 20.0);
    rows.push(if (1..=10).contains(&loss) {
        row
    } else {
        row.reported()
    });
    for row in &mut rows {
        "Mbit/s".clone_into(&mut row.unit);
    }
    rows
}

fn latency_rows(of: &dyn Fn(&str) -> Option<f64>) -> Vec<Row> {
    let what = "p99 of 50 messages/s at 10 % loss, one way";
    let mut rows = Vec::new();
    for (peer, name) in &STEADY[1..3] {
        rows.push(Row::at_least(
            &format!("{what}, LSP/2"),
            (of("lsp2"), of(peer)),
            name,
            1.0,
        ));
    }
    rows.push(Row::at_least(
        &format!("{what}, LSP/1"),
        (of("lsp1"), None),
        "",
        1.0,
    ));
    for row in &mut rows {
        "round trips".clone_into(&mut row.unit);
        "<= 3".clone_into(&mut row.aim);
        row.met = row.kontiki.map(|trips| trips <= 3.0);
    }
    rows
}

fn local_rows(of: &dyn Fn(&str) -> Option<f64>) -> Vec<Row> {
    let small = "messages of 64 bytes on loopback";
    let mut rows = vec![
        Row::at_least(
            &format!("{small}, LSP/2"),
            (of("small/lsp2"), of("small/quinn-bbr")),
            "quinn, one stream",
            1.0,
        ),
        Row::at_least(
            &format!("{small}, LSP/1"),
            (of("small/lsp1"), None),
            "",
            1.0,
        )
        .reported(),
    ];
    ">= 500,000".clone_into(&mut rows[0].aim);
    rows[0].met = rows[0].kontiki.map(|rate| rate >= 500_000.0);
    let idle = [
        (
            "processor of a server with 10,000 idle connections",
            "idle/cores",
            "cores",
            "< 1",
            1.0,
        ),
        (
            "memory of an idle connection",
            "idle/bytes",
            "bytes",
            "< 4,096",
            4_096.0,
        ),
    ];
    for (what, name, unit, aim, bound) in idle {
        let mut row = Row::at_least(what, (of(name), None), "", 1.0);
        unit.clone_into(&mut row.unit);
        aim.clone_into(&mut row.aim);
        row.met = row.kontiki.map(|value| value < bound);
        rows.push(row);
    }
    rows
}
