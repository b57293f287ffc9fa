//! `kontiki miner` as real processes: what the original course's client and miner tests look
//! for, and a server that is killed in the middle of a job.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Output, Stdio};

use miner_kernels::{Kernel, Message};

const FAST: [&str; 4] = ["--epoch-ms", "100", "--epoch-limit", "5"];

fn kontiki(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kontiki"));
    command.arg("miner").args(words).args(FAST);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// A process that does not outlive its test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // Fails if it has ended, which is as good.
        let _ended = self.0.kill();
        self.0.wait().unwrap();
    }
}

impl Process {
    fn start(words: &[&str]) -> Self {
        Self(kontiki(words).spawn().unwrap())
    }

    /// A server, once it listens.
    fn server(address: &str, data_dir: Option<&Path>) -> (Self, String) {
        let dir = data_dir.map(|dir| dir.display().to_string());
        let store = dir.iter().flat_map(|dir| ["--data-dir", dir]);
        let words: Vec<&str> = ["server", address].into_iter().chain(store).collect();
        let mut process = Self::start(&words);
        let mut line = String::new();
        BufReader::new(process.0.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line.trim().rsplit(' ').next().unwrap().to_owned();
        assert!(address.contains(':'), "{line}");
        (process, address)
    }

    /// What it prints until it ends by itself.
    fn ended(mut self) -> (String, Option<i32>) {
        let mut text = String::new();
        self.0
            .stdout
            .take()
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        (text, self.0.wait().unwrap().code())
    }
}

fn client(address: &str, message: &str, max_nonce: u64) -> Output {
    kontiki(&["client", address, message, &max_nonce.to_string()])
        .output()
        .unwrap()
}

fn result(message: &str, max_nonce: u64) -> String {
    let kernel = Kernel::all().last().copied().unwrap();
    let best = Message::new(message.as_bytes())
        .minimum(kernel, 0..=max_nonce)
        .unwrap();
    format!("Result {} {}\n", best.hash, best.nonce)
}

/// Reads reports of progress until some of the job is done.
fn wait_for_progress(reports: &mut BufReader<ChildStderr>) {
    loop {
        let mut line = String::new();
        assert!(
            reports.read_line(&mut line).unwrap() > 0,
            "the client ended"
        );
        let done = line.split(' ').next().unwrap().parse::<u64>();
        if done.is_ok_and(|done| done > 0) {
            return;
        }
    }
}

#[test]
fn ctest_the_client_prints_the_result() {
    let (_server, address) = Process::server("127.0.0.1:0", None);
    let _worker = Process::start(&["worker", &address, "--threads", "2"]);
    for (message, max_nonce) in [
        ("msg", 2),
        ("msg", 0),
        ("bradfitz", 9_999),
        ("two words", 3_000_000),
    ] {
        let output = client(&address, message, max_nonce);
        assert_eq!(
            String::from_utf8(output.stdout).unwrap(),
            result(message, max_nonce)
        );
        assert_eq!(output.status.code(), Some(0));
    }
}

#[test]
fn ctest_the_client_prints_disconnected() {
    // Nobody listens, and a server that dies in the middle.
    let nobody = UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let output = client(&nobody.to_string(), "msg", 100);
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "Disconnected\n");
    assert_eq!(output.status.code(), Some(1));

    let (server, address) = Process::server("127.0.0.1:0", None);
    let mut waiting = Process::start(&["client", &address, "msg", "100", "--progress"]);
    let mut reports = BufReader::new(waiting.0.stderr.take().unwrap());
    let mut line = String::new();
    reports.read_line(&mut line).unwrap();
    assert!(line.contains("waiting for workers"), "{line}");
    drop(server);
    assert_eq!(waiting.ended(), ("Disconnected\n".to_owned(), Some(1)));
}

#[test]
fn mtest_a_worker_that_lost_its_server_exits() {
    let (server, address) = Process::server("127.0.0.1:0", None);
    let worker = Process::start(&["worker", &address, "--threads", "1"]);
    assert_eq!(
        client(&address, "is it there", 1_000).status.code(),
        Some(0)
    );
    drop(server);
    assert_eq!(worker.ended(), (String::new(), Some(0)));
}

#[test]
fn mtest_a_lost_worker_s_job_goes_to_another() {
    let (_server, address) = Process::server("127.0.0.1:0", None);
    let slow = ["worker", &address, "--threads", "1", "--kernel", "portable"];
    let first = Process::start(&slow);
    let words = ["client", &address, "handed on", "20000000", "--progress"];
    let mut asking = Process::start(&words);
    let mut reports = BufReader::new(asking.0.stderr.take().unwrap());
    wait_for_progress(&mut reports);
    drop(first);
    let _second = Process::start(&["worker", &address, "--threads", "1"]);
    assert_eq!(asking.ended(), (result("handed on", 20_000_000), Some(0)));
}

#[test]
fn a_job_goes_on_after_its_server_was_killed() {
    let dir = tempfile::tempdir().unwrap();
    let (server, address) = Process::server("127.0.0.1:0", Some(dir.path()));
    let slow = ["worker", &address, "--threads", "1", "--kernel", "portable"];
    let _first = Process::start(&slow);
    let words = [
        "client",
        &address,
        "survivor",
        "30000000",
        "--progress",
        "--job-key",
        "mine",
    ];
    let mut asking = Process::start(&words);
    let mut reports = BufReader::new(asking.0.stderr.take().unwrap());
    wait_for_progress(&mut reports);
    // Dropping it is SIGKILL.
    drop(server);
    let (_server, again) = Process::server(&address, Some(dir.path()));
    assert_eq!(again, address);
    let _second = Process::start(&["worker", &address, "--threads", "1"]);
    assert_eq!(asking.ended(), (result("survivor", 30_000_000), Some(0)));
}

#[test]
fn blocks_are_mined() {
    let genesis = "0100000000000000000000000000000000000000000000000000000000000000000000003ba3ed\
                   fd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4a29ab5f49ffff001d00000000";
    let block = |words: &[&str]| {
        let command = ["miner", "block"].iter().chain(words);
        let mut kontiki = Command::new(env!("CARGO_BIN_EXE_kontiki"));
        let output = kontiki.args(command).output().unwrap();
        (
            String::from_utf8(output.stdout).unwrap(),
            output.status.code(),
        )
    };
    let (text, code) = block(&[genesis, "--from", "2083000000", "--threads", "2"]);
    assert!(text.starts_with("nonce  2083236893\n"), "{text}");
    let hash = "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f";
    assert!(text.contains(hash), "{text}");
    assert_eq!(code, Some(0));
    let (text, code) = block(&[genesis, "--to", "1000000"]);
    assert!(text.starts_with("no nonce from 0 to 1000000"), "{text}");
    assert_eq!(code, Some(1));
    assert_eq!(block(&["00"]).1, Some(2));
}

#[test]
fn a_pool_mines_a_block() {
    let genesis = "0100000000000000000000000000000000000000000000000000000000000000000000003ba3ed\
                   fd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4a29ab5f49ffff001d00000000";
    let (server, address) = Process::server("127.0.0.1:0", None);
    let _workers = [
        Process::start(&["worker", &address, "--threads", "1"]),
        Process::start(&["worker", &address, "--threads", "1"]),
    ];
    let block = |words: &[&str]| {
        let words: Vec<&str> = ["block", genesis].iter().chain(words).copied().collect();
        let output = kontiki(&words).output().unwrap();
        (
            String::from_utf8(output.stdout).unwrap(),
            output.status.code(),
        )
    };
    let (text, code) = block(&["--server", &address, "--from", "2083000000"]);
    assert!(text.starts_with("nonce  2083236893\n"), "{text}");
    assert_eq!(code, Some(0));
    let (text, code) = block(&["--server", &address, "--to", "100000"]);
    assert!(text.starts_with("no nonce from 0 to 100000"), "{text}");
    assert_eq!(code, Some(1));
    assert_eq!(block(&["--from", "2", "--to", "1"]).1, Some(2));
    assert_eq!(block(&["--server", &address, "--threads", "1"]).1, Some(2));
    drop(server);
    let (text, code) = block(&["--server", &address]);
    assert_eq!((text.as_str(), code), ("Disconnected\n", Some(1)));
}

#[test]
fn a_client_that_disappears_leaves_the_pool_to_others() {
    let (_server, address) = Process::server("127.0.0.1:0", None);
    let _worker = Process::start(&["worker", &address, "--threads", "1"]);
    let huge = u64::MAX.to_string();
    let mut gone = Process::start(&["client", &address, "gone", &huge, "--progress"]);
    let mut reports = BufReader::new(gone.0.stderr.take().unwrap());
    wait_for_progress(&mut reports);
    // Dropping it is SIGKILL.
    drop(gone);
    let output = client(&address, "still here", 2_000_000);
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        result("still here", 2_000_000)
    );
}
