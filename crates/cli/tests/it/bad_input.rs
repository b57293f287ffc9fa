//! Trouble gets one clear message that says what to do, and the right exit code.

use std::fs;
use std::net::TcpListener;
use std::process::Output;

use crate::cluster::{free_ports, run};

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[track_caller]
fn check_trouble(args: &[&str], parts: &[&str]) {
    let output = run(args);
    let text = errors(&output);
    assert_eq!(output.status.code(), Some(2), "{args:?}: {text}");
    for part in parts {
        assert!(text.contains(part), "{args:?}: {part:?} is not in:\n{text}");
    }
}

#[test]
fn a_wrong_flag_is_explained() {
    check_trouble(&["up", "--node", "3"], &["--node", "--nodes"]);
    check_trouble(
        &["up", "--nodes", "99"],
        &["error: --nodes 99", "hint: choose 1 to 9"],
    );
    check_trouble(&["frobnicate"], &["unrecognized subcommand"]);
    check_trouble(
        &["--log-level", "loud=loud=loud", "get", "a"],
        &["--log-level", "hint: "],
    );
}

#[test]
fn a_cluster_that_is_not_there_is_said_so() {
    let endpoint = format!("127.0.0.1:{}", free_ports(1));
    let client = ["--endpoint", &endpoint, "--timeout", "0.5"];
    for command in [
        &["get", "a"][..],
        &["put", "a", "b"],
        &["list"],
        &["member", "transfer"],
    ] {
        check_trouble(
            &[command, &client].concat(),
            &["error: ", "hint: ", "kontiki up"],
        );
    }
    check_trouble(
        &["status", "--endpoint", &endpoint],
        &["no node answers", "kontiki up"],
    );
    check_trouble(&["get", "a", "--endpoint", "nonsense"], &["host:port"]);
}

#[test]
fn a_port_in_use_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data").display().to_string();
    let port = free_ports(9);
    let _other = TcpListener::bind(("127.0.0.1", port + 1)).unwrap();
    let ports = [port, port + 3, port + 6].map(|port| port.to_string());
    let flags = [
        "--resp-port",
        &ports[0],
        "--grpc-port",
        &ports[1],
        "--http-port",
        &ports[2],
    ];
    let taken = format!("port {} is in use", port + 1);
    check_trouble(
        &[&["up", "--data-dir", &data][..], &flags].concat(),
        &[&taken, "--resp-port"],
    );

    let [resp, grpc, http] = [port + 1, port + 3, port + 6].map(|port| format!("127.0.0.1:{port}"));
    let flags = [
        "--resp-listen",
        &resp,
        "--grpc-listen",
        &grpc,
        "--http-listen",
        &http,
    ];
    let serve = [&["serve", "--data-dir", &data][..], &flags].concat();
    check_trouble(&serve, &["port in use", &resp]);
}

#[test]
fn a_directory_of_something_else_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("letter.txt"), "dear reader").unwrap();
    let data = directory.path().display().to_string();
    let ports = free_ports(9).to_string();
    let output = run(&["up", "--data-dir", &data, "--resp-port", &ports]);
    assert!(
        errors(&output).contains("is not empty"),
        "{}",
        errors(&output)
    );
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn a_node_is_not_started_in_the_directory_of_a_cluster() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("cluster.toml"), "").unwrap();
    let data = directory.path().display().to_string();
    check_trouble(
        &["serve", "--data-dir", &data],
        &["belongs to a cluster", "kontiki up"],
    );
}

#[test]
fn an_open_listener_must_be_asked_for() {
    let open = ["serve", "--resp-listen", "0.0.0.0:1"];
    check_trouble(&open, &["no authentication", "hint: ", "--insecure-listen"]);
}

#[test]
fn a_wrong_configuration_file_is_named_with_its_line() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("kontiki.toml");
    fs::write(&path, "node-id = 1\nfrobnicate = true\n").unwrap();
    let path = path.display().to_string();
    check_trouble(
        &["serve", "--config", &path],
        &[&path, "line 2", "frobnicate", "hint: "],
    );
    check_trouble(
        &["serve", "--config", "/nonexistent"],
        &["cannot read /nonexistent"],
    );
}

#[test]
fn help_and_version_are_answers() {
    for args in [
        &["--help"][..],
        &["up", "--help"],
        &["serve", "--help"],
        &["cas", "--help"],
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        assert!(output.stdout.len() > 200, "{args:?}");
    }
    let version = run(&["--version"]);
    assert!(version.stdout.starts_with(b"kontiki "), "{version:?}");
    let completions = run(&["completions", "bash"]);
    assert!(String::from_utf8_lossy(&completions.stdout).contains("kontiki"));
}
