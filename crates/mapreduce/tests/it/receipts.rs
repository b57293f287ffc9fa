//! Receipts, audits, skipped records.

use std::fs;
use std::process::Command;

use crate::lab::{Lab, failed, program, succeeded};

#[test]
fn a_receipt_is_checked_again_offline() {
    let lab = Lab::new(3);
    succeeded(&lab.run(
        "words",
        &["--workers", "2", "--reduces", "3", "--audit", "1"],
    ));
    let verify = || {
        let mut command = Command::new(program());
        command.arg("verify").arg(lab.output());
        command.output().unwrap()
    };
    let text = succeeded(&verify());
    assert!(text.contains("9 edges of the shuffle"), "{text}");
    assert!(
        text.contains("6 tasks were executed twice and gave the same"),
        "{text}"
    );
    let svg = fs::read_to_string(lab.output().join("_kontiki/timeline.svg")).unwrap();
    assert!(svg.contains("audited, the same"));
    let file = lab.output().join("mr-out-1");
    let altered = fs::read_to_string(&file).unwrap().replacen('1', "2", 1);
    fs::write(&file, altered).unwrap();
    let text = failed(&verify());
    assert!(text.contains("mr-out-1 was altered"), "{text}");
}

#[test]
fn a_job_that_is_not_deterministic_is_reported() {
    let lab = Lab::new(2);
    let text = failed(&lab.run("random", &["--workers", "2", "--audit", "1"]));
    assert!(text.contains("is not deterministic"), "{text}");
    assert!(!lab.output().join("_SUCCESS").exists());
}

#[test]
fn bad_records_are_skipped_and_counted() {
    let lab = Lab::new(2);
    fs::write(lab.input().join("pg-bad.txt"), "good\npoison\nbetter\n").unwrap();
    let poison = ["--workers", "2", "--arg", "poison=poison"];
    failed(&lab.run("words", &poison));
    let skip = [&poison[..], &["--skip-bad-records", "1", "--overwrite"]].concat();
    let summary = succeeded(&lab.run("words", &skip));
    assert!(summary.contains("1 records skipped"), "{summary}");
    let expected: Vec<String> = lab.expected_words();
    let expected: Vec<String> = expected
        .into_iter()
        .filter(|line| !line.starts_with("poison"))
        .collect();
    assert_eq!(lab.lines(), expected);
}
