//! `kontiki up`: ready, restarted with its data, stopped in order, and never an orphan left.

use std::net::TcpStream;
use std::path::Path;

use rustix::process::{Signal, kill_process, test_kill_process};

use crate::cluster::{Process, free_ports, run, wait_until};

struct Up {
    process: Process,
    resp: u16,
    grpc: u16,
}

impl Up {
    fn start(directory: &Path, port: u16, nodes: &str) -> Self {
        let args = [
            "up".to_owned(),
            format!("--nodes={nodes}"),
            format!("--data-dir={}", directory.join("data").display()),
            format!("--resp-port={port}"),
            format!("--grpc-port={}", port + 3),
            format!("--http-port={}", port + 6),
        ];
        let mut process = Process::start(&args, &directory.join("log"));
        let ready = process.wait_for_line("ready");
        let log = std::fs::read_to_string(directory.join("log")).unwrap_or_default();
        let ready = ready.unwrap_or_else(|| panic!("it gets ready: {log}"));
        assert!(
            ready.contains(&format!("{nodes} of {nodes} nodes serve")),
            "{ready}"
        );
        Self {
            process,
            resp: port,
            grpc: port + 3,
        }
    }

    fn redis(&self, node: u16) -> redis::Connection {
        let url = format!("redis://127.0.0.1:{}/", self.resp + node);
        redis::Client::open(url).unwrap().get_connection().unwrap()
    }
}

#[test]
fn a_cluster_keeps_its_data_over_a_restart_and_stops_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let port = free_ports(9);
    let mut up = Up::start(directory.path(), port, "3");
    let pids = up.process.children();
    assert_eq!(pids.len(), 3);
    // Written at one node, read at each of them, over both protocols.
    redis::cmd("SET")
        .arg("a")
        .arg("1")
        .exec(&mut up.redis(0))
        .unwrap();
    for node in 0..3 {
        let value: String = redis::cmd("GET")
            .arg("a")
            .query(&mut up.redis(node))
            .unwrap();
        assert_eq!(value, "1", "node {}", node + 1);
        let endpoint = format!("127.0.0.1:{}", up.grpc + node);
        assert_eq!(run(&["get", "a", "--endpoint", &endpoint]).stdout, b"1\n");
    }
    up.process.signal(Signal::INT);
    assert_eq!(up.process.wait(), Some(0));
    for pid in pids {
        assert!(test_kill_process(pid).is_err(), "no child is left");
    }

    let up = Up::start(directory.path(), port, "3");
    let value: String = redis::cmd("GET").arg("a").query(&mut up.redis(2)).unwrap();
    assert_eq!(value, "1");
    let data = directory.path().join("data").display().to_string();
    let other = run(&["up", "--nodes", "5", "--data-dir", &data]);
    let text = String::from_utf8_lossy(&other.stderr).into_owned();
    assert!(text.contains("holds a cluster of 3 nodes"), "{text}");
}

#[test]
fn a_node_that_dies_is_reported_and_the_others_serve_on() {
    let directory = tempfile::tempdir().unwrap();
    let up = Up::start(directory.path(), free_ports(9), "3");
    redis::cmd("SET")
        .arg("a")
        .arg("1")
        .exec(&mut up.redis(0))
        .unwrap();
    kill_process(up.process.children()[0], Signal::KILL).unwrap();
    let log = directory.path().join("log");
    wait_until("the death is reported", || {
        let text = std::fs::read_to_string(&log).unwrap();
        text.contains("node 1 has ended: killed by SIGKILL; the others keep serving")
    });
    wait_until("a new leader serves", || {
        let set = redis::cmd("SET").arg("a").arg("2").exec(&mut up.redis(1));
        set.is_ok()
    });
    let value: String = redis::cmd("GET").arg("a").query(&mut up.redis(2)).unwrap();
    assert_eq!(value, "2");
}

#[test]
fn children_stop_when_their_parent_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    let up = Up::start(directory.path(), free_ports(9), "3");
    let (pids, resp) = (up.process.children(), up.resp);
    drop(up);
    for pid in pids {
        wait_until("the orphan stops", || test_kill_process(pid).is_err());
    }
    assert!(
        TcpStream::connect(("127.0.0.1", resp)).is_err(),
        "the port is free"
    );
}
