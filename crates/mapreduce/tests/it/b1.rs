//! The tests that graded the original, by their names (MIT 6.5840, lab 1).

use std::time::Duration;

use crate::lab::{Lab, count, eventually, succeeded};

#[test]
fn test_wc() {
    let lab = Lab::new(8);
    let output = lab.run("words", &["--workers", "3", "--reduces", "10"]);
    let summary = succeeded(&output);
    assert_eq!(lab.lines(), lab.expected_words());
    assert!(summary.contains("8 maps"), "{summary}");
    assert!(lab.output().join("_SUCCESS").exists());
    assert_eq!(count(&lab.output()), 12, "ten files, _SUCCESS, _kontiki");
}

#[test]
fn test_indexer() {
    let lab = Lab::new(8);
    succeeded(&lab.run("index", &["--workers", "2", "--reduces", "10"]));
    assert_eq!(lab.lines(), lab.expected_index());
}

#[test]
fn test_map_parallelism() {
    let lab = Lab::new(2);
    let meeting = lab.tokens("meeting", 0);
    let argument = format!("map-meet={}", meeting.display());
    let flags = ["--workers", "2", "--arg", &argument, "--no-backups"];
    succeeded(&lab.run("words", &flags));
    assert_eq!(count(&meeting), 2, "both workers saw the other");
    assert_eq!(lab.lines(), lab.expected_words());
}

#[test]
fn test_reduce_parallelism() {
    let lab = Lab::new(2);
    let meeting = lab.tokens("meeting", 0);
    let argument = format!("reduce-meet={}", meeting.display());
    let flags = ["--workers", "2", "--arg", &argument, "--no-backups"];
    succeeded(&lab.run("words", &flags));
    assert_eq!(count(&meeting), 2, "both workers saw the other");
    assert_eq!(lab.lines(), lab.expected_words());
}

/// Backups are on: tasks of unequal length must not be taken for stragglers.
#[test]
fn test_job_count() {
    let lab = Lab::new(8);
    let log = lab.tokens("log", 0);
    let argument = format!("map-log={}", log.display());
    let flags = [
        "--workers",
        "4",
        "--arg",
        &argument,
        "--arg",
        "map-sleep=1000",
    ];
    succeeded(&lab.run("words", &flags));
    assert_eq!(count(&log), 8, "each map ran once");
}

/// Nothing of the output is visible before all of it is final.
#[test]
fn test_early_exit() {
    let lab = Lab::new(3);
    let flags = [
        "--workers",
        "3",
        "--reduces",
        "3",
        "--arg",
        "reduce-sleep=700",
    ];
    let mut run = lab.command("words", &flags).spawn().unwrap();
    let success = lab.output().join("_SUCCESS");
    eventually("success", || {
        let final_before = success.exists();
        let manifest = lab.output().join("_kontiki/manifest.json").exists();
        let visible = lab.output().exists() && !crate::lab::read_lines(&lab.output()).is_empty();
        assert!(!visible || manifest || lab.output().join("_kontiki/manifest.json").exists());
        if final_before {
            assert_eq!(lab.lines(), lab.expected_words());
        }
        final_before
    });
    assert!(run.wait().unwrap().success());
    assert_eq!(lab.lines(), lab.expected_words());
}

/// Workers that crash, and some that stall so long that others take over.
#[test]
fn test_crash() {
    let lab = Lab::new(8);
    let map_exits = lab.tokens("map-exits", 4);
    let reduce_exits = lab.tokens("reduce-exits", 3);
    let stalls = lab.tokens("stalls", 1);
    let arguments = [
        format!("map-exit={}", map_exits.display()),
        format!("reduce-exit={}", reduce_exits.display()),
        format!("map-stall={}", stalls.display()),
    ];
    let mut flags = vec!["--workers", "3", "--reduces", "4", "--task-timeout", "2"];
    for argument in &arguments {
        flags.extend(["--arg", argument]);
    }
    let started = std::time::Instant::now();
    let summary = succeeded(&lab.run("words", &flags));
    assert_eq!(lab.lines(), lab.expected_words());
    for tokens in [map_exits, reduce_exits, stalls] {
        assert_eq!(count(&tokens), 0, "every fault happened");
    }
    assert!(!summary.contains(" 0 attempts failed"), "{summary}");
    assert!(
        started.elapsed() < Duration::from_secs(120),
        "the original's limit"
    );
}
