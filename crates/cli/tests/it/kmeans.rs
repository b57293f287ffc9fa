//! `kontiki kmeans` with real processes: any number of mappers and reducers, workers that fail,
//! are killed, stop, or die between their success and the fetch. The result is the same bytes.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Points in the original's style: 2-D, a blank after the comma, a blank at the end.
fn points(directory: &Path) -> PathBuf {
    let mut text = String::new();
    for at in 0..30u32 {
        let (x, y) = if at % 2 == 0 { (0.4, 7.2) } else { (9.5, 1.0) };
        let (dx, dy) = (f64::from(at * 7 % 11) / 10.0, f64::from(at * 5 % 13) / 10.0);
        text.push_str(&format!("{:.1}, {:.1} \n", x + dx, y + dy));
    }
    let path = directory.join("points.txt");
    fs::write(&path, text).unwrap();
    path
}

/// Enough points for a kill to hit a task: overlapping blobs, so that iterations go on.
fn many_points(directory: &Path) -> PathBuf {
    let mut prng = stdx::Prng::from_seed(11);
    let mut text = String::new();
    for _ in 0..6000 {
        let center = prng.index(9) as f64;
        for coordinate in 0..4 {
            let noise = (0..4).map(|_| prng.below(1000) as f64 / 250.0).sum::<f64>();
            let comma = if coordinate > 0 { "," } else { "" };
            text.push_str(&format!(
                "{comma}{:.3}",
                center * f64::from(coordinate) + noise
            ));
        }
        text.push('\n');
    }
    let path = directory.join("many.csv");
    fs::write(&path, text).unwrap();
    path
}

fn kontiki(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kontiki"));
    command.arg("kmeans").args(arguments).stdin(Stdio::null());
    command
}

/// `kontiki kmeans run` on a file, into a directory.
fn job(input: &Path, output: &Path, k: u32, arguments: &[&str]) -> Command {
    let mut command = kontiki(&["run", "--seed", "5", "--tolerance", "0"]);
    command
        .arg("--input")
        .arg(input)
        .arg("--output")
        .arg(output);
    command.arg("-k").arg(k.to_string()).args(arguments);
    command
}

#[track_caller]
fn succeeds(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What must be the same bytes, whatever happened.
fn results(directory: &Path) -> Vec<Vec<u8>> {
    ["centroids.csv", "assignments.csv"]
        .map(|name| fs::read(directory.join(name)).unwrap())
        .to_vec()
}

/// The result with one mapper and one reducer, and nothing going wrong.
fn undisturbed(input: &Path, directory: &Path, k: u32) -> Vec<Vec<u8>> {
    let output = directory.join("undisturbed");
    succeeds(
        &job(input, &output, k, &["--mappers", "1"])
            .output()
            .unwrap(),
    );
    results(&output)
}

#[test]
fn a3_mappers_reducers_clusters_and_iterations_vary() {
    let directory = tempfile::tempdir().unwrap();
    let input = points(directory.path());
    for (k, iterations) in [("2", "10"), ("3", "1"), ("5", "20")] {
        let run = |mappers: &str, reducers: &str| {
            let output = directory.path().join(format!("{k}-{mappers}-{reducers}"));
            let arguments = ["--mappers", mappers, "--reducers", reducers];
            let mut command = job(&input, &output, k.parse().unwrap(), &arguments);
            let output_text = command.args(["--max-iterations", iterations]).output();
            succeeds(&output_text.unwrap());
            results(&output)
        };
        let first = run("1", "1");
        // More reducers than centroids, and more mappers than seem useful.
        assert!(first == run("3", "2"), "k {k}");
        assert!(first == run("4", "6"), "k {k}");
    }
    let text = fs::read_to_string(directory.path().join("2-1-1/centroids.csv")).unwrap();
    let mut firsts: Vec<f64> = text
        .lines()
        .map(|line| line.split(',').next().unwrap().parse().unwrap())
        .collect();
    firsts.sort_by(f64::total_cmp);
    assert!(firsts[0] < 1.5 && firsts[1] > 9.5, "{text}");
}

#[test]
fn a3_workers_that_fail_half_the_time() {
    let directory = tempfile::tempdir().unwrap();
    let input = points(directory.path());
    let expected = undisturbed(&input, directory.path(), 3);
    let output = directory.path().join("failing");
    let compat = directory.path().join("compat");
    let mut command = job(&input, &output, 3, &["--mappers", "3", "--reducers", "2"]);
    command.env("KONTIKI_KMEANS_FAIL_PROBABILITY", "0.5");
    let stdout = succeeds(&command.arg("--compat-dir").arg(&compat).output().unwrap());
    assert!(expected == results(&output));
    let dump = fs::read_to_string(compat.join("dump.txt")).unwrap();
    assert!(
        dump.contains(": FAILURE\n") && dump.contains(": SUCCESS\n"),
        "{dump}"
    );
    assert!(
        dump.contains("run 1: initial centroids\n") && dump.contains("iteration 1: "),
        "{dump}"
    );
    assert!(
        stdout.contains(": FAILURE\n"),
        "it is on the terminal as well"
    );
}

#[test]
fn a3_files_are_laid_out() {
    let directory = tempfile::tempdir().unwrap();
    let input = points(directory.path());
    let (output, compat) = (
        directory.path().join("out"),
        directory.path().join("compat"),
    );
    let mut command = job(&input, &output, 3, &["--mappers", "2", "--reducers", "2"]);
    succeeds(&command.arg("--compat-dir").arg(&compat).output().unwrap());
    let read = |path: &str| fs::read_to_string(compat.join("Data").join(path)).unwrap();
    let assigned = fs::read_to_string(output.join("assignments.csv")).unwrap();
    let mut points = 0;
    for mapper in 1..=2 {
        for partition in 1..=2 {
            let text = read(&format!("Mappers/M{mapper}/partition_{partition}.txt"));
            for line in text.lines() {
                let key: u32 = line.split(',').next().unwrap().parse().unwrap();
                assert_eq!(
                    key % 2,
                    partition - 1,
                    "keys go to reducers by their remainder"
                );
                assert_eq!(line.split(',').count(), 3, "{line}");
                points += 1;
            }
        }
    }
    assert_eq!(points, 30);
    assert_eq!(assigned.lines().count(), 30);
    let mut reduced: Vec<String> = [read("Reducers/R1.txt"), read("Reducers/R2.txt")]
        .concat()
        .lines()
        .map(str::to_owned)
        .collect();
    reduced.sort();
    let centroids: Vec<String> = read("centroids.txt")
        .lines()
        .enumerate()
        .map(|(at, line)| format!("{at},{line}"))
        .collect();
    assert_eq!(reduced, centroids);
}

/// The processes that a process has started.
fn children(of: u32) -> Vec<i32> {
    let text = fs::read_to_string(format!("/proc/{of}/task/{of}/children")).unwrap_or_default();
    // The workers are started by several threads.
    let tasks = fs::read_dir(format!("/proc/{of}/task"))
        .into_iter()
        .flatten()
        .flatten();
    let mut all = text;
    for task in tasks {
        all.push(' ');
        all.push_str(&fs::read_to_string(task.path().join("children")).unwrap_or_default());
    }
    let mut ids: Vec<i32> = all
        .split_whitespace()
        .filter_map(|id| id.parse().ok())
        .collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// Waits until a process has started so many others; `None` if it ended before.
fn wait_for_children(process: &mut Child, count: usize) -> Option<Vec<i32>> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let found = children(process.id());
        if found.len() >= count {
            return Some(found);
        }
        if process.try_wait().unwrap().is_some() {
            return None;
        }
        assert!(Instant::now() < deadline, "only {found:?} after 20 s");
        std::thread::yield_now();
    }
}

fn signal(process: i32, signal: Signal) {
    kill_process(Pid::from_raw(process).unwrap(), signal).unwrap();
}

/// When workers are disturbed.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Since {
    /// As soon as there are any.
    TheStart,
    /// While tasks are given out.
    TheSecondIteration,
}

/// Sends a signal to one worker after the other while a job runs; the result must not change.
fn disturb(what: Signal, since: Since, arguments: &[&str], hits: usize) {
    let directory = tempfile::tempdir().unwrap();
    let input = many_points(directory.path());
    let expected = undisturbed(&input, directory.path(), 12);
    let output = directory.path().join("disturbed");
    let fixed = ["--mappers", "2", "--reducers", "1"];
    let mut command = job(&input, &output, 12, &fixed);
    // Held back answers: a signal hits a task, not a pause between tasks.
    command.env("KONTIKI_KMEANS_DELAY_MS", "20").args(arguments);
    if since == Since::TheSecondIteration {
        let compat = directory.path().join("compat");
        command.arg("--compat-dir").arg(compat);
    }
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut master = command.spawn().unwrap();
    let mut lines = BufReader::new(master.stdout.take().unwrap()).lines();
    if since == Since::TheSecondIteration {
        let second = |line: &String| line.starts_with("iteration 2");
        assert!(
            lines
                .by_ref()
                .map_while(Result::ok)
                .any(|line| second(&line))
        );
    }
    // Read to the end: the master must not wait for a reader.
    let reader = std::thread::spawn(move || lines.count());
    let mut known = Vec::new();
    for hit in 0..hits {
        let Some(workers) = wait_for_children(&mut master, 3) else {
            assert!(hit > 0, "the job ended before anything could happen");
            break;
        };
        let fresh = workers.iter().copied().filter(|id| !known.contains(id));
        let fresh: Vec<i32> = fresh.collect();
        let target = fresh[hit % fresh.len()];
        signal(target, what);
        known.push(target);
        // The next one only after it was replaced.
        let deadline = Instant::now() + Duration::from_secs(60);
        while master.try_wait().unwrap().is_none()
            && children(master.id()).iter().all(|id| workers.contains(id))
        {
            assert!(Instant::now() < deadline, "the worker was not replaced");
            std::thread::yield_now();
        }
    }
    succeeds(&master.wait_with_output().unwrap());
    reader.join().unwrap();
    assert!(expected == results(&output));
}

#[test]
fn a3_workers_killed_mid_task() {
    disturb(Signal::KILL, Since::TheStart, &[], 4);
    disturb(Signal::KILL, Since::TheSecondIteration, &[], 2);
}

#[test]
fn a_worker_that_stops_answering_is_replaced() {
    let timeout = ["--worker-timeout", "1"];
    disturb(Signal::STOP, Since::TheSecondIteration, &timeout, 1);
}

#[test]
fn a_mapper_that_dies_before_its_sums_are_fetched_is_run_again() {
    let directory = tempfile::tempdir().unwrap();
    let input = many_points(directory.path());
    let expected = undisturbed(&input, directory.path(), 6);
    let output = directory.path().join("dying");
    let mut command = job(&input, &output, 6, &["--mappers", "2", "--reducers", "2"]);
    // Every mapper dies when its seventh partition is fetched.
    command.args(["--die-at-fetch", "7", "--log-level", "warn"]);
    let ended = command.output().unwrap();
    succeeds(&ended);
    assert!(expected == results(&output));
    let log = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(log.contains("fetch failed"), "{log}");
}

/// A worker that was started by hand, and its address.
fn worker() -> (Child, String) {
    let mut command = kontiki(&["worker", "--listen", "127.0.0.1:0"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    (
        child,
        line.trim()
            .strip_prefix("listening on ")
            .unwrap()
            .to_owned(),
    )
}

#[test]
fn workers_started_by_hand_serve_job_after_job() {
    let directory = tempfile::tempdir().unwrap();
    let input = many_points(directory.path());
    let expected = undisturbed(&input, directory.path(), 9);
    let mut workers: Vec<(Child, String)> = (0..3).map(|_| worker()).collect();
    let mappers = format!("{},{}", workers[0].1, workers[1].1);
    let reducer = workers[2].1.clone();
    let run = |name: &str| {
        let output = directory.path().join(name);
        let arguments = [
            "--mapper-at",
            &mappers,
            "--reducer-at",
            &reducer,
            "--mappers",
            "3",
        ];
        succeeds(&job(&input, &output, 9, &arguments).output().unwrap());
        assert!(expected == results(&output), "{name}");
    };
    run("first");
    run("second");
    // The other one takes the parts of a mapper that is gone.
    workers[0].0.kill().unwrap();
    workers[0].0.wait().unwrap();
    run("third");
    for (worker, _) in &mut workers[1..] {
        worker.kill().unwrap();
        worker.wait().unwrap();
    }
    let output = directory.path().join("fourth");
    let arguments = ["--mapper-at", &mappers, "--reducer-at", &reducer];
    let ended = job(&input, &output, 9, &arguments).output().unwrap();
    let stderr = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(2));
    assert!(
        stderr.contains("error: no mapper is left") || stderr.contains("no reducer is left"),
        "{stderr}"
    );
}

#[test]
fn bad_input_is_one_clear_message() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bad.csv");
    fs::write(&path, "1,2\n3,4\n5,x\n6,7\n").unwrap();
    let output = job(&path, &directory.path().join("out"), 2, &[])
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr.contains("bad.csv, line 3: field 2: `x` is not a number"),
        "{stderr}"
    );
    let output = job(&path, &directory.path().join("out"), 0, &[])
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        stderr.contains("error: --k is 0; it must be from 1 to"),
        "{stderr}"
    );
}

#[test]
fn predict_gives_the_assignments_of_the_run() {
    let directory = tempfile::tempdir().unwrap();
    let input = many_points(directory.path());
    let output = directory.path().join("out");
    succeeds(&job(&input, &output, 9, &[]).output().unwrap());
    let mut command = kontiki(&["predict"]);
    command
        .arg("--centroids")
        .arg(output.join("centroids.csv"))
        .arg("--input")
        .arg(&input);
    let lines = succeeds(&command.output().unwrap());
    assert_eq!(
        lines.as_bytes(),
        fs::read(output.join("assignments.csv")).unwrap()
    );
}

/// The same data and start through scikit-learn, if Python has it.
#[test]
fn scikit_learn_agrees_if_it_is_here() {
    const SCRIPT: &str = "
import sys, numpy as np
from sklearn.cluster import KMeans
points = np.loadtxt(sys.argv[1], delimiter=',')
start = points[:9]
found = KMeans(9, init=start, n_init=1, tol=0, max_iter=300).fit(points)
print(found.inertia_, found.n_iter_)
";
    let python = std::env::var("KONTIKI_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let directory = tempfile::tempdir().unwrap();
    let input = many_points(directory.path());
    let script = Command::new(&python)
        .args(["-c", SCRIPT])
        .arg(&input)
        .output();
    let text = match script {
        Ok(output) if output.status.success() => String::from_utf8(output.stdout).unwrap(),
        _ => {
            println!("skipped: `{python}` has no scikit-learn; KONTIKI_PYTHON names another");
            return;
        }
    };
    let mut words = text.split_whitespace();
    let inertia: f64 = words.next().unwrap().parse().unwrap();
    let iterations: u64 = words.next().unwrap().parse().unwrap();
    let output = directory.path().join("out");
    succeeds(
        &job(&input, &output, 9, &["--init", "first", "--mappers", "3"])
            .output()
            .unwrap(),
    );
    let summary = fs::read_to_string(output.join("summary.json")).unwrap();
    let summary: serde_json::Value = serde_json::from_str(&summary).unwrap();
    let ours = summary["inertia"].as_f64().unwrap();
    assert!((ours / inertia - 1.0).abs() < 1e-6, "{ours} but {inertia}");
    assert_eq!(summary["iterations"], iterations);
}
