//! What tasks cost that have nothing to do, and what a worker costs that dies.

use std::fs;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::bench::mapreduce::kontiki::{Job, Runner, What};
use crate::bench::mapreduce::{Bench, Pace, System, data, median_of, outputs, rounds, timed};
use crate::bench::report::{Row, median};

pub(super) const METHOD: &str = "Overhead: a job over files of one line each, its seconds less those of \
a job over one such file, for each\nfurther task. Faults: a worker gets SIGKILL after half of the time \
that the sort takes undisturbed; the\nfigure is what the job then takes longer. One of four workers is \
stopped (SIGSTOP) for 90 of every 100 ms, so\nthat it is ten times slower; the figure is the time over that of \
the undisturbed job with four workers.";

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
    rows.push(slow(bench)?);
    Ok(rows)
}

/// How a sort is disturbed.
#[derive(Clone, Copy, Debug)]
enum Fault {
    None,
    /// A worker is killed after this.
    Kill(Duration),
    /// A worker is stopped for 90 of every 100 ms.
    Slow,
}

/// Sorts, and says how many seconds it took.
fn sort(bench: &Bench<'_>, name: &str, workers: u32, fault: Fault) -> Result<f64> {
    let Runner::Processes(kontiki) = &bench.kontiki else {
        bail!("there are no processes");
    };
    let count = if bench.args.quick {
        1_000_000
    } else {
        10_000_000
    };
    let input = data::records(&bench.dir, count)?;
    let output = bench.fresh(name)?;
    let mut command = Command::new(kontiki);
    command.args(["mr", "run", "sort", "--slots", "1", "--reduces", "8"]);
    command.args(["--memory", "256 MiB", "--split-size", "32 MiB"]);
    command.args(["--workers", &workers.to_string()]);
    command
        .arg("--input")
        .arg(&input)
        .arg("--output")
        .arg(&output);
    let started = Instant::now();
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    match fault {
        Fault::None => {}
        Fault::Kill(pause) => {
            thread::sleep(pause);
            let worker = worker_of(child.id()).context("no worker was found to be killed")?;
            ensure!(signal(worker, "-KILL")?, "the worker was gone already");
        }
        Fault::Slow => {
            let worker = loop {
                ensure!(child.try_wait()?.is_none(), "no worker was found");
                if let Some(worker) = worker_of(child.id()) {
                    break worker;
                }
                thread::sleep(Duration::from_millis(5));
            };
            while child.try_wait()?.is_none() && signal(worker, "-STOP")? {
                thread::sleep(Duration::from_millis(90));
                signal(worker, "-CONT")?;
                thread::sleep(Duration::from_millis(10));
            }
        }
    }
    ensure!(child.wait()?.success(), "the job failed");
    Ok(started.elapsed().as_secs_f64())
}

/// Sends a signal; false if the process is gone.
fn signal(process: u32, name: &str) -> Result<bool> {
    let mut kill = Command::new("kill");
    kill.args([name, &process.to_string()])
        .stderr(Stdio::null());
    Ok(kill.status()?.success())
}

/// The output must not show what happened.
fn same_output(bench: &Bench<'_>, one: &str, other: &str) -> Result<()> {
    let (one, other) = (bench.dir.join(one), bench.dir.join(other));
    let (first, second) = (outputs(&one, "mr-out-")?, outputs(&other, "mr-out-")?);
    ensure!(
        !first.is_empty() && first.len() == second.len(),
        "files are missing"
    );
    for (first, second) in first.iter().zip(&second) {
        ensure!(
            fs::read(first)? == fs::read(second)?,
            "the fault shows in the output"
        );
    }
    Ok(())
}

/// How much longer a job takes with one of four workers ten times slower.
fn slow(bench: &Bench<'_>) -> Result<Row> {
    let (mut quiet, mut slowed) = (Vec::new(), Vec::new());
    for _ in 0..bench.args.rounds {
        quiet.push(sort(bench, "faults-quiet", 4, Fault::None)?);
        slowed.push(sort(bench, "faults-slow", 4, Fault::Slow)?);
        eprintln!("  a slow worker: {quiet:.3?} s undisturbed, {slowed:.3?} s");
        same_output(bench, "faults-quiet", "faults-slow")?;
    }
    let times = median(slowed).zip(median(quiet));
    let times = times.map(|(slowed, quiet)| slowed / quiet);
    Ok(Row {
        what: "sort by four workers, one of them ten times slower".to_owned(),
        kontiki: times,
        unit: "x the undisturbed time".to_owned(),
        aim: "<= 1.3".to_owned(),
        met: times.map(|times| times <= 1.3),
        ..Row::default()
    })
}

/// How much longer a job takes when a worker is killed in its middle.
fn killed(bench: &Bench<'_>) -> Result<Row> {
    let (mut quiet, mut over) = (Vec::new(), Vec::new());
    for _ in 0..bench.args.rounds {
        let undisturbed = sort(bench, "faults-quiet", 2, Fault::None)?;
        let half = Duration::from_secs_f64(undisturbed / 2.0);
        let disturbed = sort(bench, "faults-killed", 2, Fault::Kill(half))?;
        eprintln!("  a worker killed: {undisturbed:.3} s, then {disturbed:.3} s");
        same_output(bench, "faults-quiet", "faults-killed")?;
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
