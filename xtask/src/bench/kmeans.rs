//! k-means beside scikit-learn, faiss and Spark: same points, same start, same iterations.
//!
//! The peers come from `PyPI` into a virtual environment under target/bench; without it their
//! rows are left out, with a message.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::bench::mapreduce::python;
use crate::bench::report::{Row, Table, median};
use crate::bench::{BenchArgs, build_kontiki, directory, version_of};

/// The peers' side of it.
const SCRIPT: &str = include_str!("kmeans_peers.py");
/// As pip names them, and as `import` does.
const PACKAGES: [(&str, &str); 3] = [
    ("numpy", "numpy"),
    ("scikit-learn", "sklearn"),
    ("faiss-cpu", "faiss"),
];
/// Sums of squares in `f32` differ by this much between libraries.
const INERTIA_ERROR_MAX: f64 = 1e-4;

/// Points to cluster.
struct Shape {
    name: &'static str,
    rows: usize,
    dimension: usize,
    k: usize,
    /// The standard deviation of a blob in a box of side 20; 0 for uniform points.
    spread: f64,
    iterations: u32,
    /// How much faster than the faster library the iterations should be.
    aim: Option<f64>,
    /// Also the whole command, and Spark.
    whole: bool,
}

const SHAPES: [Shape; 4] = [
    Shape {
        name: "1 M x 16, k = 64, blobs",
        rows: 1_000_000,
        dimension: 16,
        k: 64,
        spread: 1.0,
        iterations: 20,
        aim: Some(2.0),
        whole: true,
    },
    Shape {
        name: "1 M x 16, k = 64, overlapping blobs",
        rows: 1_000_000,
        dimension: 16,
        k: 64,
        spread: 5.0,
        iterations: 20,
        aim: Some(2.0),
        whole: false,
    },
    Shape {
        name: "1 M x 32, k = 100, blobs",
        rows: 1_000_000,
        dimension: 32,
        k: 100,
        spread: 1.0,
        iterations: 10,
        aim: Some(1.8),
        whole: false,
    },
    Shape {
        name: "1 M x 32, k = 100, uniform (no structure)",
        rows: 1_000_000,
        dimension: 32,
        k: 100,
        spread: 0.0,
        iterations: 10,
        aim: Some(1.8),
        whole: false,
    },
];

/// One system's figures for a shape, a value for each round.
#[derive(Default)]
struct Times {
    /// Seconds for an iteration.
    iteration: Vec<f64>,
    /// Seconds for the whole command.
    whole: Vec<f64>,
    whole_csv: Vec<f64>,
}

struct Bench {
    kontiki: PathBuf,
    python: Option<PathBuf>,
    place: PathBuf,
}

pub(crate) fn run(args: &BenchArgs) -> Result<Table> {
    let place = directory()?.join("kmeans");
    fs::create_dir_all(&place)?;
    fs::write(place.join("peers.py"), SCRIPT)?;
    let bench = Bench {
        kontiki: build_kontiki()?,
        python: python::with(&PACKAGES)?,
        place,
    };
    let mut rows = Vec::new();
    for (at, shape) in SHAPES.iter().enumerate() {
        bench.shape(at, shape, args, &mut rows)?;
    }
    let versions = bench.versions();
    let method = format!(
        "The same `f32` points from the same initial centroids, tolerance 0, two threads for each library\n\
         (two mapper processes for Kontiki). *Iterations*: what the master of Kontiki's processes measures for\n\
         all iterations, the first (without bounds) and all messages included, divided by their number; for the\n\
         libraries (T(many) - T(2)) / (many - 2) of two fits in one warm process, so without their validation\n\
         and copies. *Whole command*: from the file to results, start of the processes or of Python and its\n\
         imports included; Kontiki also writes assignments and pictures. Inertia is compared in every round and\n\
         agrees to 1e-4. Peers: {versions}."
    );
    Ok(Table {
        name: "kmeans",
        title: "k-means",
        method,
        rows,
        command: format!("cargo xtask bench kmeans --rounds {}", args.rounds),
    })
}

impl Bench {
    fn shape(&self, at: usize, shape: &Shape, args: &BenchArgs, rows: &mut Vec<Row>) -> Result<()> {
        let divisor = if args.quick { 5 } else { 1 };
        let count = shape.rows / divisor;
        let file = |suffix: &str| {
            let name = format!("{at}-{count}-{suffix}");
            self.place.join(name).display().to_string()
        };
        let (points, csv, start) = (file("points.npy"), file("points.csv"), file("start.npy"));
        let Some(python) = &self.python else {
            eprintln!("  skipped {}: numpy makes its points", shape.name);
            return Ok(());
        };
        if !Path::new(&start).exists() {
            let numbers = [count, shape.dimension, shape.k].map(|number| number.to_string());
            let spread = shape.spread.to_string();
            let [count, dimension, k] = &numbers;
            let text = if shape.whole { "csv" } else { "-" };
            let words = ["make", &points, &start, count, dimension, k, &spread, text];
            self.peer(python, &words)?;
        }
        let mut kontiki = Times::default();
        let mut peers = [Times::default(), Times::default()];
        for _ in 0..args.rounds {
            let (inertia, done) = self.kontiki(shape, &points, &start, &mut kontiki)?;
            for (name, times) in ["faiss", "sklearn"].into_iter().zip(&mut peers) {
                // As many as Kontiki needed: it may have converged.
                let words = [name, &points, &start, &done.to_string()];
                let line = self.peer(python, &words)?;
                let other = number(&line, "inertia")?;
                let error = (inertia / other - 1.0).abs();
                ensure!(
                    error < INERTIA_ERROR_MAX,
                    "{name}: inertia {other}, ours {inertia}"
                );
                times.iteration.push(number(&line, "marginal")?);
                if shape.whole {
                    let words = [&format!("{name}-whole"), words[1], words[2], words[3]];
                    let begun = Instant::now();
                    self.peer(python, &words)?;
                    times.whole.push(begun.elapsed().as_secs_f64());
                }
            }
            if shape.whole {
                let mut ignored = Times::default();
                self.kontiki(shape, &csv, &start, &mut ignored)?;
                kontiki.whole_csv.append(&mut ignored.whole);
            }
        }
        add_rows(shape, &kontiki, &peers, rows);
        let pyspark = [("pyspark", "pyspark")];
        if shape.whole && !args.quick && python::with(&pyspark)?.is_some() {
            let k = shape.k.to_string();
            match self.peer(python, &["spark", &csv, &k, "6"]) {
                Ok(line) => {
                    let spark = rate(&[number(&line, "marginal")?]);
                    let what = format!("{}: iterations", shape.name);
                    rows.push(Row {
                        unit: "iterations/s".to_owned(),
                        ..Row::at_least(
                            &what,
                            (rate(&kontiki.iteration), spark),
                            "Spark MLlib",
                            20.0,
                        )
                    });
                }
                Err(error) => eprintln!("  skipped Spark: {error:#}"),
            }
        }
        Ok(())
    }

    /// Runs the command; answers with the inertia and how many iterations there were.
    fn kontiki(
        &self,
        shape: &Shape,
        points: &str,
        start: &str,
        times: &mut Times,
    ) -> Result<(f64, u64)> {
        let output = self.place.join("out");
        let numbers = [shape.k.to_string(), shape.iterations.to_string()];
        let [k, iterations] = &numbers;
        let mut command = Command::new(&self.kontiki);
        command.args(["kmeans", "run", "--input", points, "--init", start, "-k", k]);
        command.args(["--max-iterations", iterations, "--tolerance", "0"]);
        command
            .args(["--mappers", "2", "--reducers", "1", "--output"])
            .arg(&output);
        let begun = Instant::now();
        let ended = command.output()?;
        times.whole.push(begun.elapsed().as_secs_f64());
        ensure!(
            ended.status.success(),
            "{}",
            String::from_utf8_lossy(&ended.stderr)
        );
        let summary: Value =
            serde_json::from_str(&fs::read_to_string(output.join("summary.json"))?)?;
        let done = summary["iterations"].as_u64().context("no iterations")?;
        let milliseconds = number(&summary, "milliseconds_iterating")?;
        times.iteration.push(milliseconds / 1e3 / done as f64);
        eprintln!(
            "  kontiki, {}: {done} iterations in {milliseconds:.0} ms",
            shape.name
        );
        Ok((number(&summary, "inertia")?, done))
    }

    /// Runs the script of the peers.
    fn peer(&self, python: &Path, words: &[&str]) -> Result<Value> {
        let output = Command::new(python)
            .arg(self.place.join("peers.py"))
            .args(words)
            .env("OMP_NUM_THREADS", "2")
            .env("OPENBLAS_NUM_THREADS", "2")
            .output()?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{}: {stderr}", words[0]);
        let text = String::from_utf8(output.stdout)?;
        eprintln!("  {}: {}", words[0], text.trim());
        let last = text.lines().last().context("no answer")?;
        Ok(serde_json::from_str(last)?)
    }

    fn versions(&self) -> String {
        let Some(python) = &self.python else {
            return "none".to_owned();
        };
        let script = "from importlib.metadata import version as v; \
                      print(', '.join(f'{n} {v(n)}' for n in ['scikit-learn', 'faiss-cpu']))";
        version_of(&python.display().to_string(), &["-c", script])
    }
}

fn number(line: &Value, key: &str) -> Result<f64> {
    line[key]
        .as_f64()
        .with_context(|| format!("no {key} in {line}"))
}

/// So many a second.
fn rate(seconds: &[f64]) -> Option<f64> {
    median(seconds.to_vec()).map(|seconds| 1.0 / seconds)
}

fn add_rows(shape: &Shape, kontiki: &Times, peers: &[Times; 2], rows: &mut Vec<Row>) {
    for (name, times) in ["faiss", "scikit-learn"].into_iter().zip(peers) {
        let what = format!("{}: iterations", shape.name);
        let pair = (rate(&kontiki.iteration), rate(&times.iteration));
        let row = Row::at_least(&what, pair, name, shape.aim.unwrap_or(1.0));
        rows.push(Row {
            unit: "iterations/s".to_owned(),
            ..if shape.aim.is_some() {
                row
            } else {
                row.reported()
            }
        });
        if !shape.whole {
            continue;
        }
        let what = format!("{}: whole command, .npy to results", shape.name);
        rows.push(Row {
            unit: "runs/s".to_owned(),
            ..Row::at_least(&what, (rate(&kontiki.whole), rate(&times.whole)), name, 3.0)
        });
    }
    if shape.whole {
        let what = format!("{}: whole command, CSV to results", shape.name);
        let row = Row::at_least(&what, (rate(&kontiki.whole_csv), None), "", 1.0);
        rows.push(Row {
            unit: "runs/s".to_owned(),
            ..row.reported()
        });
    }
}
