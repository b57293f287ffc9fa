//! What goes wrong by the user's fault, and what is said about it.

use std::fs;

use crate::lab::{Lab, count, failed, succeeded};

#[test]
fn output_that_exists_is_not_touched() {
    let lab = Lab::new(1);
    fs::create_dir(lab.output()).unwrap();
    fs::write(lab.output().join("mine"), "precious").unwrap();
    let text = failed(&lab.run("words", &["--workers", "1"]));
    assert!(text.contains("is not empty"), "{text}");
    assert!(text.contains("hint: choose another --output"), "{text}");
    let text = failed(&lab.run("words", &["--workers", "1", "--overwrite"]));
    assert!(text.contains("is not of a job"), "{text}");
    assert_eq!(
        fs::read_to_string(lab.output().join("mine")).unwrap(),
        "precious"
    );
}

#[test]
fn output_of_an_earlier_job_can_be_replaced() {
    let lab = Lab::new(1);
    succeeded(&lab.run("words", &["--workers", "1", "--reduces", "5"]));
    succeeded(&lab.run(
        "words",
        &["--workers", "1", "--reduces", "2", "--overwrite"],
    ));
    assert_eq!(lab.lines(), lab.expected_words());
    assert_eq!(count(&lab.output()), 4, "two files, _SUCCESS, _kontiki");
}

#[test]
fn missing_input_is_named() {
    let lab = Lab::new(1);
    fs::remove_dir_all(lab.input()).unwrap();
    let text = failed(&lab.run("words", &["--workers", "1"]));
    assert!(text.contains("matches no file"), "{text}");
    assert!(!lab.output().exists(), "nothing is left behind");
}

#[test]
fn unknown_jobs_are_named() {
    let lab = Lab::new(1);
    let text = failed(&lab.run("nonsense", &["--workers", "1"]));
    assert!(text.contains("no job named `nonsense`"), "{text}");
}

#[test]
fn code_that_always_fails_ends_the_job_with_what_it_said() {
    let lab = Lab::new(2);
    let tokens = lab.tokens("panics", 100);
    let argument = format!("map-panic={}", tokens.display());
    let text = failed(&lab.run("words", &["--workers", "2", "--arg", &argument]));
    assert!(text.contains("a token said so"), "{text}");
    assert!(text.contains("failed 4 times"), "{text}");
    assert!(!lab.output().join("_SUCCESS").exists());
}

#[test]
fn workers_that_die_again_and_again_end_the_job() {
    let lab = Lab::new(1);
    let tokens = lab.tokens("exits", 1_000);
    let argument = format!("map-exit={}", tokens.display());
    let text = failed(&lab.run(
        "words",
        &[
            "--workers",
            "1",
            "--arg",
            &argument,
            "--no-worker-timeout",
            "5",
        ],
    ));
    let known = text.contains("workers were lost") || text.contains("no worker for");
    assert!(known, "{text}");
}

#[test]
fn limits_that_make_no_sense_are_refused_at_once() {
    let lab = Lab::new(1);
    let text = failed(&lab.run("words", &["--workers", "0"]));
    assert!(text.contains("--workers"), "{text}");
    let text = failed(&lab.run("words", &["--workers", "1", "--memory", "1 KiB"]));
    assert!(text.contains("--memory must be 4 MiB or more"), "{text}");
    assert!(!lab.output().exists(), "nothing is left behind");
    fs::write(lab.output(), "mine").unwrap();
    let text = failed(&lab.run("words", &["--workers", "1"]));
    assert!(text.contains("is not a directory"), "{text}");
    assert!(!text.contains("cannot remove"), "{text}");
}
