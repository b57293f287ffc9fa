//! Total-order sort.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::bench::mapreduce::kontiki::{Job, What};
use crate::bench::mapreduce::{
    Bench, Pace, System, data, outputs, python, rate_rows, rounds, timed,
};
use crate::bench::report::Row;
use crate::sh;

pub(super) const METHOD: &str = "Sort: records of 100 bytes with a random key of ten characters in \
the manner of gensort, in the system's cache;\nKontiki has two slots of 256 MiB each, GNU sort \
`--parallel=2 -S 512M` in the C locale, Spark a heap of 2 GiB.\nKontiki syncs its output, the others \
do not.";

const SPARK: &str = r"
import sys, time
from pyspark.sql import SparkSession
spark = (SparkSession.builder.master('local[2]').config('spark.ui.enabled', 'false')
  .config('spark.driver.memory', '2g').config('spark.sql.shuffle.partitions', '8')
  .config('spark.log.level', 'ERROR').getOrCreate())
spark.range(10).count()
started = time.time()
spark.read.text(sys.argv[1]).sort('value').write.text(sys.argv[2])
print(time.time() - started)
";

pub(super) fn rows(bench: &Bench<'_>) -> Result<Vec<Row>> {
    let count = if bench.args.quick {
        1_000_000
    } else {
        10_000_000
    };
    let input = data::records(&bench.dir, count)?;
    let gnu_output = bench.dir.join("sort-gnu.txt");
    let mut systems = vec![System {
        name: "Kontiki",
        pace: Pace::EveryRound,
        run: Box::new(|| {
            let output = bench.fresh("sort-Kontiki")?;
            let job = Job {
                what: What::Builtin("sort", None),
                input: &input,
                output: &output,
                reduces: 8,
                memory_mib: 256,
                split_mib: 128,
            };
            timed(&mut job.command(&bench.kontiki))
        }),
    }];
    if sh::have("sort", &["--version"]) {
        systems.push(System {
            name: "GNU sort",
            pace: Pace::EveryRound,
            run: Box::new(|| {
                let mut sort = Command::new("sort");
                sort.env("LC_ALL", "C")
                    .args(["--parallel=2", "-S", "512M", "-T"]);
                sort.arg(&bench.dir).arg("-o").arg(&gnu_output).arg(&input);
                timed(&mut sort)
            }),
        });
    } else {
        eprintln!("skip: no GNU sort");
    }
    if let Some(python) = python::with(&[("pyspark", "pyspark")])? {
        let input = input.clone();
        systems.push(System {
            name: "Spark",
            pace: Pace::Once,
            run: Box::new(move || {
                let output = bench.fresh("sort-Spark")?;
                python::seconds(&python, SPARK, &[&input, &output])
            }),
        });
    }
    let measured: Vec<&str> = systems.iter().map(|system| system.name).collect();
    let medians = rounds("sort", bench.args.rounds, systems)?;
    compare(bench, &measured)?;
    let bytes = count * data::RECORD_BYTES;
    let what = format!("total-order sort, {} MB", bytes / 1_000_000);
    Ok(rate_rows(
        &what,
        bytes,
        &medians,
        &[("GNU sort", 1.0), ("Spark", 5.0)],
    ))
}

/// All outputs are the same bytes.
fn compare(bench: &Bench<'_>, measured: &[&str]) -> Result<()> {
    let ours = outputs(&bench.dir.join("sort-Kontiki"), "mr-out-")?;
    if measured.contains(&"GNU sort") {
        let theirs = [bench.dir.join("sort-gnu.txt")];
        ensure!(
            same(&ours, &theirs)?,
            "GNU sort's output differs from Kontiki's"
        );
    }
    if measured.contains(&"Spark") {
        let theirs = outputs(&bench.dir.join("sort-Spark"), "part-")?;
        ensure!(
            same(&ours, &theirs)?,
            "Spark's output differs from Kontiki's"
        );
    }
    Ok(())
}

/// Whether the files of both lists hold the same bytes, one behind the other.
fn same(left: &[PathBuf], right: &[PathBuf]) -> Result<bool> {
    let open = |files: &[PathBuf]| -> Result<Box<dyn Read>> {
        let mut all: Box<dyn Read> = Box::new(std::io::empty());
        for file in files {
            all = Box::new(all.chain(File::open(file)?));
        }
        Ok(all)
    };
    let mut left = BufReader::with_capacity(1 << 20, open(left)?);
    let mut right = BufReader::with_capacity(1 << 20, open(right)?);
    loop {
        let (a, b) = (left.fill_buf()?, right.fill_buf()?);
        let len = a.len().min(b.len());
        if len == 0 {
            return Ok(a.is_empty() && b.is_empty());
        }
        if a[..len] != b[..len] {
            return Ok(false);
        }
        left.consume(len);
        right.consume(len);
    }
}
