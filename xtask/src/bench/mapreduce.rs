//! MapReduce beside DuckDB, Polars, Spark and GNU sort, and k-means beside its libraries.
//!
//! Every system gets the same input, which is generated once and kept, and must give the same
//! output, which is compared. Peers come from PyPI into an environment under `target/bench`; one
//! that is absent is skipped with a message.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;

use crate::bench::report::{Row, Table, median};
use crate::bench::{BenchArgs, directory};

pub(crate) mod data;
mod kontiki;
mod overhead;
pub(crate) mod python;
mod sort;
mod streaming;
mod words;

/// A group of rows.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Part {
    /// Word count by the built-in job.
    Words,
    /// Word count by two Python scripts.
    Streaming,
    /// Total-order sort of 100-byte records.
    Sort,
    /// Empty tasks, and a worker that is killed.
    Overhead,
}

/// What the parts share.
#[derive(Debug)]
pub(crate) struct Bench<'a> {
    pub(crate) args: &'a BenchArgs,
    /// Where generated inputs are kept, and outputs are written.
    pub(crate) dir: PathBuf,
    /// Runs jobs.
    pub(crate) kontiki: kontiki::Runner,
}

impl Bench<'_> {
    /// Whether a part was asked for.
    fn wants(&self, part: Part) -> bool {
        self.args.parts.is_empty() || self.args.parts.contains(&part)
    }

    /// A place for one run's output, a file or a directory, where nothing is.
    pub(crate) fn fresh(&self, name: &str) -> Result<PathBuf> {
        let output = self.dir.join(name);
        let removed = if output.is_dir() {
            fs::remove_dir_all(&output)
        } else if output.exists() {
            fs::remove_file(&output)
        } else {
            Ok(())
        };
        removed.with_context(|| output.display().to_string())?;
        Ok(output)
    }
}

/// Measures a part.
type Measure = fn(&Bench<'_>) -> Result<Vec<Row>>;

const METHOD: &str = "Seconds from the start of the command to its end for Kontiki (with starting its \
processes and writing its receipt)\nand GNU sort; for DuckDB, Polars and Spark without starting Python \
and the session. Two processors for each.\nSpark runs in the first round only: it takes a minute. All \
outputs were compared.";

/// One section of docs/benchmarks.md: it is written when all its parts were measured.
struct Section {
    name: &'static str,
    title: &'static str,
    method: &'static str,
    parts: &'static [(Part, Measure, &'static str)],
}

const SECTIONS: [Section; 2] = [
    Section {
        name: "mapreduce",
        title: "MapReduce",
        method: METHOD,
        parts: &[
            (Part::Words, words::rows, words::METHOD),
            (Part::Streaming, streaming::rows, streaming::METHOD),
            (Part::Sort, sort::rows, sort::METHOD),
        ],
    },
    Section {
        name: "mapreduce-faults",
        title: "MapReduce: overhead and faults",
        method: "Seconds from the start of the command to its end.",
        parts: &[(Part::Overhead, overhead::rows, overhead::METHOD)],
    },
];

pub(crate) fn run(args: &BenchArgs) -> Result<Vec<Table>> {
    let dir = directory()?.join("mapreduce");
    fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
    let bench = Bench {
        args,
        dir,
        kontiki: kontiki::build()?,
    };
    let how = match &bench.kontiki {
        kontiki::Runner::Processes(_) => "Kontiki runs a coordinator and two workers.",
        kontiki::Runner::Threads(_) => "Kontiki runs on two threads of one process.",
    };
    let mut tables = Vec::new();
    for section in SECTIONS {
        let wanted = section.parts.iter().filter(|(part, ..)| bench.wants(*part));
        let wanted: Vec<_> = wanted.collect();
        let (mut rows, mut method) = (Vec::new(), vec![how, section.method]);
        for (_, measure, how) in &wanted {
            rows.extend(measure(&bench)?);
            method.push(how);
        }
        let table = Table {
            name: section.name,
            title: section.title,
            method: method.join("\n"),
            rows,
            command: format!("cargo xtask bench mapreduce --rounds {}", args.rounds),
        };
        if wanted.len() == section.parts.len() {
            tables.push(table);
        } else if !wanted.is_empty() {
            print!("{}", table.markdown());
            eprintln!("not written: only some of this section's parts were measured");
        }
    }
    Ok(tables)
}

/// A system to be measured: its name, and a run that gives seconds.
pub(crate) struct System<'a> {
    pub(crate) name: &'static str,
    pub(crate) pace: Pace,
    pub(crate) run: Box<dyn FnMut() -> Result<f64> + 'a>,
}

/// How often a system is run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Pace {
    EveryRound,
    /// It takes so long that the machine's noise hardly matters.
    Once,
}

impl Pace {
    /// Of a peer, by its name.
    pub(crate) fn of(name: &str) -> Self {
        if name == "Spark" {
            Self::Once
        } else {
            Self::EveryRound
        }
    }
}

/// Runs all systems once a round, and gives the median seconds of each.
pub(crate) fn rounds(
    what: &str,
    rounds: usize,
    mut systems: Vec<System<'_>>,
) -> Result<Vec<(&'static str, Option<f64>)>> {
    let mut seconds = vec![Vec::new(); systems.len()];
    for round in 0..rounds {
        for (system, seconds) in systems.iter_mut().zip(&mut seconds) {
            if round > 0 && system.pace == Pace::Once {
                continue;
            }
            let took = (system.run)().with_context(|| format!("{what}, {}", system.name))?;
            eprintln!("  {what}, {}: {took:.3} s", system.name);
            seconds.push(took);
        }
    }
    let names = systems.iter().map(|system| system.name);
    Ok(names.zip(seconds.into_iter().map(median)).collect())
}

/// The median of one of them.
pub(crate) fn median_of(medians: &[(&'static str, Option<f64>)], name: &str) -> Option<f64> {
    let found = medians.iter().find(|(known, _)| *known == name);
    found.and_then(|(_, seconds)| *seconds)
}

/// A row in MB/s for each peer with its aim.
pub(crate) fn rate_rows(
    what: &str,
    bytes: u64,
    medians: &[(&'static str, Option<f64>)],
    peers: &[(&'static str, f64)],
) -> Vec<Row> {
    let rate = |name: &str| {
        let seconds = median_of(medians, name);
        seconds.map(|seconds| bytes as f64 / 1e6 / seconds)
    };
    let row = |(peer, aim): &(&'static str, f64)| Row {
        unit: "MB/s".to_owned(),
        ..Row::at_least(what, (rate("Kontiki"), rate(peer)), peer, *aim)
    };
    peers.iter().map(row).collect()
}

/// Runs a command to its end and says how many seconds it took.
pub(crate) fn timed(command: &mut Command) -> Result<f64> {
    let started = Instant::now();
    let output = command.output();
    let seconds = started.elapsed().as_secs_f64();
    let output =
        output.with_context(|| format!("cannot run {}", command.get_program().display()))?;
    if !output.status.success() {
        bail!(
            "{}: {}: {}",
            command.get_program().display(),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(seconds)
}

/// The output files of a directory in the order of their numbers, one behind the other.
pub(crate) fn outputs(dir: &Path, prefix: &str) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let path = entry?.path();
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        let number = name.and_then(|name| {
            let digits = name.strip_prefix(prefix)?;
            let end = digits
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(digits.len());
            digits[..end].parse::<u64>().ok()
        });
        if let Some(number) = number {
            files.push((number, path));
        }
    }
    files.sort();
    Ok(files.into_iter().map(|(_, path)| path).collect())
}
