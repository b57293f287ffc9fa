//! Faults of processes: killed, stopped, late, leaving.

use std::process::Command;
use std::time::Duration;

use crate::lab::{Lab, Process, count, eventually, program, succeeded};

/// The first of the two faults that A3 tests: a worker that answers "failed".
#[test]
fn half_of_all_answers_are_failures() {
    let lab = Lab::new(6);
    let flags = [
        "--workers",
        "2",
        "--arg",
        "map-coin=",
        "--arg",
        "reduce-coin=",
    ];
    let more = ["--max-failures", "200", "--reduces", "3"];
    succeeded(&lab.run("words", &[&flags[..], &more[..]].concat()));
    assert_eq!(lab.lines(), lab.expected_words());
}

/// The second: a worker that is killed in the middle of a task.
#[test]
fn a_worker_is_killed_mid_task() {
    let lab = Lab::new(4);
    let cluster = Cluster::new(&lab);
    let mut workers = vec![cluster.worker(), cluster.worker()];
    let log = lab.tokens("log", 0);
    let argument = format!("map-log={}", log.display());
    let job = cluster.submit(&["--arg", &argument, "--arg", "map-sleep=400"]);
    eventually("two maps run", || count(&log) >= 2);
    drop(workers.pop());
    cluster.wait(&job);
    assert_eq!(lab.lines(), lab.expected_words());
    assert!(count(&log) > 4, "the lost map ran again");
}

/// A mapper that dies after its success and before its output was fetched.
#[test]
fn a_worker_dies_with_the_output_of_its_maps() {
    let lab = Lab::new(2);
    let cluster = Cluster::new(&lab);
    let (first, second) = (cluster.worker(), cluster.worker());
    let log = lab.tokens("log", 0);
    let map_log = format!("map-log={}", log.display());
    let reduce_log = format!("reduce-sleep={}", 600);
    let job = cluster.submit(&["--reduces", "2", "--arg", &map_log, "--arg", &reduce_log]);
    eventually("a reduce runs", || cluster.status(&job).contains("map 2/2"));
    drop(first);
    cluster.wait(&job);
    drop(second);
    assert_eq!(lab.lines(), lab.expected_words());
}

#[test]
fn the_coordinator_is_killed_again_and_again() {
    let lab = Lab::new(12);
    let mut cluster = Cluster::new(&lab);
    let _workers = [cluster.worker(), cluster.worker()];
    let log = lab.tokens("log", 0);
    let argument = format!("map-log={}", log.display());
    let job = cluster.submit(&[
        "--arg",
        &argument,
        "--arg",
        "map-sleep=150",
        "--arg",
        "reduce-sleep=200",
    ]);
    for round in 0..6 {
        std::thread::sleep(Duration::from_millis(130 + round * 60));
        cluster.restart();
    }
    cluster.wait(&job);
    assert_eq!(lab.lines(), lab.expected_words());
    let receipt = std::fs::read_to_string(lab.output().join("_kontiki/receipt.json")).unwrap();
    assert!(receipt.contains("\"epoch\""));
    let history = std::fs::read_to_string(lab.output().join("_kontiki/history.jsonl")).unwrap();
    assert!(
        history.matches("opened").count() >= 2,
        "a second coordinator carried on"
    );
    assert!(
        count(&log) < 24,
        "what was done is not done again: {}",
        count(&log)
    );
}

#[test]
fn a_stopped_worker_is_replaced_and_its_late_report_is_harmless() {
    let lab = Lab::new(3);
    let cluster = Cluster::new(&lab);
    let zombie = cluster.worker();
    let log = lab.tokens("log", 0);
    let argument = format!("map-log={}", log.display());
    let flags = ["--lease", "1", "--arg", &argument, "--arg", "map-sleep=300"];
    let job = cluster.submit(&flags);
    eventually("a map runs", || count(&log) >= 1);
    zombie.signal("-STOP");
    let _worker = cluster.worker();
    // The reduces are slow enough for the zombie to come back before the end.
    eventually("the zombie is lost", || {
        cluster.logs(&job).contains("is lost")
    });
    zombie.signal("-CONT");
    cluster.wait(&job);
    assert_eq!(lab.lines(), lab.expected_words());
}

#[test]
fn a_worker_that_comes_late_is_used_and_one_that_leaves_is_drained() {
    let lab = Lab::new(4);
    let cluster = Cluster::new(&lab);
    let log = lab.tokens("log", 0);
    let argument = format!("map-log={}", log.display());
    let job = cluster.submit(&["--arg", &argument, "--arg", "map-sleep=200"]);
    let mut leaving = cluster.worker();
    eventually("a map is done", || cluster.logs(&job).contains("done"));
    leaving.signal("-TERM");
    let _late = cluster.worker();
    cluster.wait(&job);
    assert_eq!(lab.lines(), lab.expected_words());
    let logs = cluster.logs(&job);
    assert_eq!(logs.matches("joined").count(), 2, "{logs}");
    // It leaves by itself, and what it had done was not done again.
    eventually("it has left", || leaving.0.try_wait().unwrap().is_some());
    assert!(!logs.contains("the output of"), "{logs}");
}

/// A coordinator with its store, and what is needed to talk to it.
struct Cluster<'a> {
    lab: &'a Lab,
    coordinator: Process,
    address: String,
}

impl<'a> Cluster<'a> {
    fn new(lab: &'a Lab) -> Self {
        let (coordinator, address) = Process::coordinator("127.0.0.1:0", &lab.path("state"));
        Self {
            lab,
            coordinator,
            address,
        }
    }

    fn worker(&self) -> Process {
        Process::worker(&self.address, &self.lab.path("work"))
    }

    /// Kills the coordinator and starts it again on the same state.
    fn restart(&mut self) {
        self.coordinator.0.kill().unwrap();
        self.coordinator.0.wait().unwrap();
        let (coordinator, address) = Process::coordinator(&self.address, &self.lab.path("state"));
        assert_eq!(address, self.address);
        self.coordinator = coordinator;
    }

    fn ask(&self, words: &[&str]) -> String {
        let mut command = Command::new(program());
        command.args(words).args(["--coordinator", &self.address]);
        succeeded(&command.output().unwrap())
    }

    fn submit(&self, more: &[&str]) -> String {
        let input = self.lab.input();
        let output = self.lab.output();
        let (input, output) = (input.to_string_lossy(), output.to_string_lossy());
        let mut words = vec!["submit", "words", "--detach", "--input", &input];
        words.extend(["--output", &output, "--reduces", "2"].iter().filter(|w| {
            // The test may choose itself.
            !(more.contains(&"--reduces") && (**w == "--reduces" || **w == "2"))
        }));
        words.extend(more);
        self.ask(&words).trim().to_owned()
    }

    fn status(&self, job: &str) -> String {
        self.ask(&["status", job])
    }

    fn logs(&self, job: &str) -> String {
        self.ask(&["logs", job])
    }

    fn wait(&self, job: &str) {
        eventually("the job succeeds", || {
            let mut command = Command::new(program());
            command.args(["status", job, "--coordinator", &self.address]);
            let output = command.output().unwrap();
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(!text.contains(" failed\n"), "{text}");
            text.contains(" succeeded")
        });
    }
}
