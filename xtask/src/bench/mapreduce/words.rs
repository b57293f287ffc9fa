//! Word count.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use crate::bench::mapreduce::kontiki::{Job, What};
use crate::bench::mapreduce::{
    Bench, Pace, System, data, outputs, python, rate_rows, rounds, timed,
};
use crate::bench::report::Row;

pub(super) const METHOD: &str = "Word count: lines of words whose frequencies follow Zipf's law, \
50,000 different ones; the text is in the\nsystem's cache. Every system writes the words with their \
counts to files.";

const DUCKDB: &str = r"
import sys, time, duckdb
started = time.time()
db = duckdb.connect(config={'threads': 2})
db.execute(f'''copy (select word, count(*) as n from (select unnest(string_split(line, ' ')) as word
  from read_csv('{sys.argv[1]}', columns={{'line': 'VARCHAR'}}, delim='\x01', quote='', escape='',
  header=false, auto_detect=false)) where word <> '' group by word)
  to '{sys.argv[2]}' (header false, delimiter '\t')''')
print(time.time() - started)
";

const POLARS: &str = r"
import sys, time, os
os.environ['POLARS_MAX_THREADS'] = '2'
import polars as pl
started = time.time()
lines = pl.scan_csv(sys.argv[1], has_header=False, separator='\x01', quote_char=None,
  new_columns=['line'], schema={'line': pl.String})
counts = lines.select(pl.col('line').str.split(' ').explode().alias('word')).group_by('word').len()
counts.collect(engine='streaming').write_csv(sys.argv[2], include_header=False, separator='\t')
print(time.time() - started)
";

const SPARK: &str = r"
import sys, time
from pyspark.sql import SparkSession, functions as f
spark = (SparkSession.builder.master('local[2]').config('spark.ui.enabled', 'false')
  .config('spark.driver.memory', '4g').config('spark.sql.shuffle.partitions', '2')
  .config('spark.log.level', 'ERROR').getOrCreate())
spark.range(10).count()
started = time.time()
words = spark.read.text(sys.argv[1]).select(f.explode(f.split('value', ' ')).alias('word'))
words.groupBy('word').count().write.option('sep', '\t').csv(sys.argv[2])
print(time.time() - started)
";

/// A peer's package, and the script that counts words with it.
const PEERS: [(&str, &str, &str); 3] = [
    ("DuckDB", "duckdb", DUCKDB),
    ("Polars", "polars", POLARS),
    ("Spark", "pyspark", SPARK),
];

pub(super) fn rows(bench: &Bench<'_>) -> Result<Vec<Row>> {
    let bytes = if bench.args.quick {
        63_000_000
    } else {
        630_000_000
    };
    let input = data::text(&bench.dir, bytes)?;
    let output = |name: &str| bench.dir.join(format!("words-{name}"));
    let mut systems = vec![System {
        name: "Kontiki",
        pace: Pace::EveryRound,
        run: Box::new(|| {
            let output = bench.fresh("words-Kontiki")?;
            let job = Job {
                what: What::Builtin("wordcount", None),
                input: &input,
                output: &output,
                reduces: 2,
                memory_mib: 256,
                split_mib: 80,
            };
            timed(&mut job.command(&bench.kontiki))
        }),
    }];
    for (name, package, script) in PEERS {
        let Some(python) = python::with(&[(package, package)])? else {
            continue;
        };
        let input = input.clone();
        systems.push(System {
            name,
            pace: Pace::of(name),
            run: Box::new(move || {
                let output = bench.fresh(&format!("words-{name}"))?;
                python::seconds(&python, script, &[&input, &output])
            }),
        });
    }
    let measured: Vec<&str> = systems.iter().map(|system| system.name).collect();
    let medians = rounds("word count", bench.args.rounds, systems)?;
    let ours = counts(&outputs(&output("Kontiki"), "mr-out-")?)?;
    for name in measured {
        let path = output(name);
        let files = if path.is_dir() {
            let part = if name == "Kontiki" {
                "mr-out-"
            } else {
                "part-"
            };
            outputs(&path, part)?
        } else {
            vec![path]
        };
        ensure!(
            counts(&files)? == ours,
            "{name} counts other words than Kontiki"
        );
    }
    let what = format!("word count, {} MB", bytes / 1_000_000);
    let aims = [("DuckDB", 1.5), ("Polars", 1.5), ("Spark", 10.0)];
    Ok(rate_rows(&what, bytes, &medians, &aims))
}

/// The lines of all files, sorted.
fn counts(files: &[PathBuf]) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    for file in files {
        lines.extend(lines_of(file)?);
    }
    lines.sort();
    Ok(lines)
}

fn lines_of(file: &Path) -> Result<Vec<String>> {
    Ok(fs::read_to_string(file)?
        .lines()
        .map(str::to_owned)
        .collect())
}
