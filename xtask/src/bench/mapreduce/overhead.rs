//! What tasks cost that have nothing to do, and what a worker costs that dies.

use std::fs;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::bench::mapreduce::kontiki::{Job, Runner, What};
use crate::bench::mapreduce::{Bench, Pace, System, data, median_of, outputs, rounds, timed};
use crate::bench::report::{Row, median};

pub(super) const METHOD: &str = "Overhead: a job over files of one line each, its seconds less those of \
a job over one such file, for each\nfurther task. Faults: a worker gets SIGKILL after half of the time \
that the sort takes undisturbed; the\nfigure is what the job then takes longer.";

const FILES: u32 = 200;

pub(super) fn rows(bench: &Bench<'_>) -> Result<Vec<Row>> {
    if matches!(bench.kontiki, Runner::Threads(_)) {
        eprintln!("skip: without processes there is no overhead of theirs, and none to kill");
        return Ok(Vec::new());
    }
    let many = bench.fresh("tiny")?;
    let one = bench.fresh("tiny-one")?;
    fs::create_dir_all(&many)?;
    fs::create_dir_all(&one)?;
    for file in 0..FILES {
        fs::write(many.join(format!("file-{file:04}")), "a line\n")?;
    }
    fs::write(one.join("file"), "a line\n")?;
    let job = |input: &std::path::Path| -> Result<f64> {
        let output = bench.fresh("overhead-Kontiki")?;
        let job = Job {
            what: What::Builtin("grep", Some("pattern=nothing")),
            input,
            output: &output,
            reduces: 1,
            memory_mib: 16,
            split_mib: 64,
        };
        timed(&mut job.command(&bench.kontiki))
    };
    let systems = vec![
        System {
            name: "many tasks",
            pace: Pace::EveryRound,
            run: Box::new(|| job(&many)),
        },
        System {
            name: "one task",
            pace: Pace::EveryRound,
            run: Box::new(|| job(&one)),
        },
    ];
    let medians = rounds("empty tasks", bench.args.rounds, systems)?;
    let (many, one) = (
        median_of(&medians, "many tasks"),
        median_of(&medians, "one task"),
    );
    let each = many
        .zip(one)
        .map(|(many, one)| (many - one) / f64::from(FILES - 1) * 1e3);
    let mut rows = vec![
        Row {
            what: "overhead of an empty map task".to_owned(),
            kontiki: each,
            unit: "ms".to_owned(),
            aim: "< 5 ms".to_owned(),
            met: each.map(|each| each < 5.0),
            ..Row::default()
        },
        Row {
            what: "whole command of a job with one empty task".to_owned(),
            kontiki: one.map(|one| one * 1e3),
            unit: "ms".to_owned(),
            ..Row::default()
        },
    ];
    rows.push(killed(bench)?);
    Ok(rows)
}

/// How much longer a job takes when a worker is killed in its middle.
fn killed(bench: &Bench<'_>) -> Result<Row> {
    let count = if bench.args.quick {
        1_000_000
    } else {
        10_000_000
    };
    let input = data::records(&bench.dir, count)?;
    let (mut quiet, mut over) = (Vec::new(), Vec::new());
    let run = |name: &str, kill_after: Option<Duration>| -> Result<f64> {
        let output = bench.fresh(name)?;
        let job = Job {
            what: What::Builtin("sort", None),
            input: &input,
            output: &output,
            reduces: 8,
            memory_mib: 256,
            split_mib: 64,
        };
        let started = Instant::now();
        let mut child = job
            .command(&bench.kontiki)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        if let Some(pause) = kill_after {
            thread::sleep(pause);
            let worker = worker_of(child.id()).context("no worker was found to be killed")?;
            let killed = Command::new("kill")
                .args(["-9", &worker.to_string()])
                .status()?;
            ensure!(killed.success(), "the worker was gone already");
        }
        ensure!(child.wait()?.success(), "the job failed");
        Ok(started.elapsed().as_secs_f64())
    };
    for _ in 0..bench.args.rounds {
        let undisturbed = run("faults-quiet", None)?;
        let disturbed = run(
            "faults-killed",
            Some(Duration::from_secs_f64(undisturbed / 2.0)),
        )?;
        eprintln!("  a worker killed: {undisturbed:.3} s, then {disturbed:.3} s");
        let bytes = |name: &str| -> Result<Vec<Vec<u8>>> {
            let files = outputs(&bench.dir.join(name), "mr-out-")?;
            files.iter().map(|file| Ok(fs::read(file)?)).collect()
        };
        ensure!(
            bytes("faults-quiet")? == bytes("faults-killed")?,
            "the killed worker shows in the output"
        );
        quiet.push(undisturbed);
        over.push(disturbed - undisturbed);
    }
    let (quiet, over) = (median(quiet), median(over));
    // It had worked for half of the time at most.
    let limit = quiet.map(|quiet| quiet / 2.0 + 2.0);
    Ok(Row {
        what: "sort with a worker killed half-way: longer by".to_owned(),
        kontiki: over,
        unit: "s".to_owned(),
        aim: "<= lost work + 2 s".to_owned(),
        met: over.zip(limit).map(|(over, limit)| over <= limit),
        ..Row::default()
    })
}

/// A worker process that this process started.
fn worker_of(parent: u32) -> Option<u32> {
    let processes = fs::read_dir("/proc").ok()?;
    let numbers = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    numbers.into_iter().find(|pid: &u32| {
        let read =
            |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
        let stat = read("stat");
        // The name may hold spaces; what follows it doesn't.
        let found = stat
            .rsplit(") ")
            .next()
            .and_then(|rest| rest.split(' ').nth(1)?.parse().ok());
        found == Some(parent) && read("cmdline").split('\0').any(|word| word == "worker")
    })
}
