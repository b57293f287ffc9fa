//! The client commands against a node.

use std::io::Write as _;
use std::process::{Output, Stdio};

use crate::cluster::{Cluster, kontiki};

struct Shell {
    endpoint: String,
}

impl Shell {
    /// Runs a command; returns its exit code and what it printed.
    fn run(&self, words: &[&str]) -> (Option<i32>, String, String) {
        self.run_with_input(words, b"")
    }

    fn run_with_input(&self, words: &[&str], input: &[u8]) -> (Option<i32>, String, String) {
        let mut child = kontiki()
            .args(words)
            .args(["--endpoint", &self.endpoint])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let Output {
            status,
            stdout,
            stderr,
        } = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (status.code(), text(stdout), text(stderr))
    }

    #[track_caller]
    fn check(&self, words: &[&str], code: i32, printed: &str) {
        let (found, out, errors) = self.run(words);
        assert_eq!(
            (found, out.as_str()),
            (Some(code), printed),
            "{words:?}: {errors}"
        );
    }
}

#[test]
fn every_command_does_what_it_says() {
    let directory = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(directory.path(), 1);
    let shell = Shell {
        endpoint: cluster.endpoints(),
    };

    shell.check(&["get", "name"], 1, "");
    shell.check(&["put", "name", "Kon"], 0, "");
    shell.check(&["append", "name", "-Tiki"], 0, "8\n");
    shell.check(&["get", "name"], 0, "Kon-Tiki\n");
    shell.check(&["get", "name", "--raw"], 0, "Kon-Tiki");
    shell.check(&["get", "name", "--stale"], 0, "Kon-Tiki\n");
    let (_, _, errors) = shell.run(&["get", "name", "--verbose"]);
    assert_eq!(errors, "version 2, never expires\n");

    shell.check(&["cas", "name", "raft", "--expect", "boat"], 1, "");
    shell.check(&["cas", "name", "raft", "--expect", "Kon-Tiki"], 0, "");
    shell.check(&["cas", "name", "Ra", "--expect-version", "3"], 0, "");
    shell.check(&["cas", "name", "x", "--expect-absent"], 1, "");
    shell.check(&["cas", "other", "x", "--expect-absent"], 0, "");
    let (code, _, errors) = shell.run(&["cas", "name", "x"]);
    assert_eq!(code, Some(2), "an expectation is required: {errors}");

    let (code, ..) = shell.run_with_input(&["put", "stdin", "-"], b"two\nlines");
    assert_eq!(code, Some(0));
    shell.check(&["list"], 0, "name\tRa\nother\tx\nstdin\ttwo\\nlines\n");
    shell.check(&["list", "--keys-only", "--limit", "2"], 0, "name\nother\n");
    shell.check(
        &["list", "--keys-only", "--after", "name"],
        0,
        "other\nstdin\n",
    );
    shell.check(&["list", "st"], 0, "stdin\ttwo\\nlines\n");
    shell.check(&["del", "name", "other", "missing"], 0, "2\n");
    shell.check(&["del", "missing"], 1, "0\n");
    shell.check(&["put", "soon", "gone", "--expire", "-1"], 2, "");

    let (code, table, errors) = shell.run(&["status"]);
    assert_eq!(code, Some(0), "{errors}");
    assert!(
        table.contains("node 1 leads") && table.contains("leader"),
        "{table}"
    );
    let (_, json, _) = shell.run(&["status", "--json"]);
    assert!(
        json.contains("\"leader\": 1") && json.contains("\"wal_bytes\""),
        "{json}"
    );
    cluster.stop();
}

#[test]
fn a_reader_that_has_had_enough_is_no_error() {
    let directory = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(directory.path(), 1);
    let shell = Shell {
        endpoint: cluster.endpoints(),
    };
    let large = vec![b'x'; 1 << 20];
    assert_eq!(
        shell.run_with_input(&["put", "large", "-"], &large).0,
        Some(0)
    );
    let mut child = kontiki()
        .args(["get", "large", "--endpoint", &shell.endpoint])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // Closed before anything is read.
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    cluster.stop();
}
