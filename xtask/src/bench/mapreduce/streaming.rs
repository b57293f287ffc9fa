//! Word count by two Python scripts.

use std::fs;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::bench::mapreduce::kontiki::{Job, What};
use crate::bench::mapreduce::{Bench, Pace, System, data, outputs, rate_rows, rounds, timed};
use crate::bench::report::Row;
use crate::sh;

pub(super) const METHOD: &str = "Streaming: word count by two Python scripts, one line a word; the \
peer is `cat | map | sort | reduce`.";

const MAP: &str = r#"import sys
for line in sys.stdin:
    for word in line.split():
        print(f"{word}\t1")
"#;

const REDUCE: &str = r#"import sys
last, count = None, 0
for line in sys.stdin:
    word, _, one = line.rstrip("\n").partition("\t")
    if word != last:
        if last is not None:
            print(f"{last}\t{count}")
        last, count = word, 0
    count += int(one)
if last is not None:
    print(f"{last}\t{count}")
"#;

pub(super) fn rows(bench: &Bench<'_>) -> Result<Vec<Row>> {
    if !sh::have("python3", &["--version"]) {
        eprintln!("skip: no python3: no streaming scripts");
        return Ok(Vec::new());
    }
    let bytes = if bench.args.quick {
        6_300_000
    } else {
        63_000_000
    };
    let input = data::text(&bench.dir, bytes)?;
    let (map, reduce) = (bench.dir.join("map.py"), bench.dir.join("reduce.py"));
    fs::write(&map, MAP)?;
    fs::write(&reduce, REDUCE)?;
    let shown = |path: &std::path::Path| path.display().to_string();
    let (map, reduce) = (
        format!("python3 '{}'", shown(&map)),
        format!("python3 '{}'", shown(&reduce)),
    );
    let pipeline_output = bench.dir.join("streaming-pipeline.txt");
    let pipeline = format!(
        "cat '{}' | {map} | LC_ALL=C sort | {reduce} > '{}'",
        shown(&input),
        shown(&pipeline_output)
    );
    let kontiki_output = bench.dir.join("streaming-Kontiki");
    let systems = vec![
        System {
            name: "Kontiki",
            pace: Pace::EveryRound,
            run: Box::new(|| {
                let output = bench.fresh("streaming-Kontiki")?;
                let job = Job {
                    what: What::Streaming(&map, &reduce),
                    input: &input,
                    output: &output,
                    reduces: 2,
                    memory_mib: 256,
                    split_mib: 16,
                };
                timed(&mut job.command(&bench.kontiki))
            }),
        },
        System {
            name: "shell pipeline",
            pace: Pace::EveryRound,
            run: Box::new(|| timed(Command::new("sh").args(["-c", &pipeline]))),
        },
    ];
    let medians = rounds("streaming", bench.args.rounds, systems)?;
    let mut ours = Vec::new();
    for file in outputs(&kontiki_output, "mr-out-")? {
        ours.extend(fs::read_to_string(file)?.lines().map(str::to_owned));
    }
    ours.sort();
    let theirs = fs::read_to_string(&pipeline_output)?;
    let mut theirs: Vec<&str> = theirs.lines().collect();
    theirs.sort_unstable();
    ensure!(
        ours == theirs,
        "the pipeline counts other words than Kontiki"
    );
    let what = format!("Python scripts, {} MB", bytes / 1_000_000);
    Ok(rate_rows(
        &what,
        bytes,
        &medians,
        &[("shell pipeline", 1.0)],
    ))
}
