//! Nodes as processes, for the other tests.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{self, Child, ChildStdout, Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use kv::client::{Client, Options, StatusResponse};
use rustix::process::{Pid, Signal, kill_process};

/// Long enough for a busy machine; reached only when something is broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The binary under test, without the environment's own settings.
pub(crate) fn kontiki() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kontiki"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("KONTIKI_") {
            command.env_remove(name);
        }
    }
    command
}

/// Runs the binary to its end.
pub(crate) fn run(args: &[&str]) -> Output {
    kontiki()
        .args(args)
        .stdin(Stdio::null())
        .output()
        .expect("the binary runs")
}

/// A range of ports that nobody listens on, and that no other caller gets.
pub(crate) fn free_ports(count: u16) -> u16 {
    // Below the ports that the system hands out for outgoing connections; test processes
    // that run at the same time start in different places.
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let offset = u16::try_from(process::id().wrapping_mul(37) % 11_000).expect("below 11,000");
    loop {
        let port = 20_000 + (offset + NEXT.fetch_add(count, Ordering::Relaxed)) % 11_000;
        if (port..port + count).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            return port;
        }
    }
}

/// A running process of ours. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Process {
    /// Starts the binary with its standard error in a file.
    pub(crate) fn start(args: &[String], log: &Path) -> Self {
        let log = File::options()
            .create(true)
            .append(true)
            .open(log)
            .expect("a log file");
        let mut child = kontiki()
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the binary starts");
        let output = child.stdout.take().expect("the output is piped");
        Self {
            child,
            lines: BufReader::new(output).lines(),
        }
    }

    /// Reads what it prints up to a line that begins with `word`; `None` if it ends before.
    pub(crate) fn wait_for_line(&mut self, word: &str) -> Option<String> {
        self.lines
            .by_ref()
            .map_while(Result::ok)
            .find(|line| line.starts_with(word))
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).expect("a pid")).expect("not zero")
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("our own child can be signalled");
    }

    /// The processes that it started.
    pub(crate) fn children(&self) -> Vec<Pid> {
        let pid = self.child.id();
        let path = format!("/proc/{pid}/task/{pid}/children");
        let text = std::fs::read_to_string(path).expect("it runs");
        let pids = text.split_whitespace().filter_map(|word| word.parse().ok());
        pids.filter_map(Pid::from_raw).collect()
    }

    /// Waits for its end; the exit code, or `None` if a signal ended it.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        let mut code = None;
        wait_until("the process ends", || {
            let status = self.child.try_wait().expect("our own child");
            code = status.and_then(|status| status.code());
            status.is_some()
        });
        code
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // An error means that it has ended already. A paused process dies of SIGKILL too.
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

/// Asks until the answer is yes, for what sends no event.
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Nodes that can be killed and started one by one.
#[derive(Debug)]
pub(crate) struct Cluster {
    directory: PathBuf,
    first_port: u16,
    nodes: Vec<Option<Process>>,
}

impl Cluster {
    /// Starts all nodes and waits until each of them serves.
    pub(crate) fn start(directory: &Path, count: u16) -> Self {
        let nodes = (0..count).map(|_| None).collect();
        let first_port = free_ports(3 * count);
        let mut cluster = Self {
            directory: directory.to_path_buf(),
            first_port,
            nodes,
        };
        for at in 0..cluster.nodes.len() {
            cluster.start_node(at);
        }
        for (at, node) in cluster.nodes.iter_mut().flatten().enumerate() {
            let ready = node.wait_for_line("ready");
            assert!(
                ready.is_some(),
                "node {}: {}",
                at + 1,
                log_of(directory, at)
            );
        }
        cluster
    }

    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    fn port(&self, at: usize, door: u16) -> u16 {
        let narrow = |number: usize| u16::try_from(number).expect("a few nodes");
        self.first_port + door * narrow(self.nodes.len()) + narrow(at)
    }

    pub(crate) fn resp_url(&self, at: usize) -> String {
        format!("redis://127.0.0.1:{}/", self.port(at, 0))
    }

    pub(crate) fn grpc(&self, at: usize) -> String {
        format!("127.0.0.1:{}", self.port(at, 1))
    }

    /// What `--endpoint` takes.
    pub(crate) fn endpoints(&self) -> String {
        (0..self.len())
            .map(|at| self.grpc(at))
            .collect::<Vec<_>>()
            .join(",")
    }

    /// Starts a node that does not run, and does not wait for it.
    pub(crate) fn start_node(&mut self, at: usize) {
        assert!(self.nodes[at].is_none(), "node {at} runs already");
        let peers: Vec<_> = (0..self.nodes.len())
            .map(|at| format!("{}={}", at + 1, self.grpc(at)))
            .collect();
        let local = |door| format!("127.0.0.1:{}", self.port(at, door));
        let data = self.directory.join(format!("node-{}", at + 1));
        let args = [
            "serve".to_owned(),
            format!("--node-id={}", at + 1),
            format!("--peers={}", peers.join(",")),
            format!("--data-dir={}", data.display()),
            format!("--resp-listen={}", local(0)),
            format!("--grpc-listen={}", local(1)),
            format!("--http-listen={}", local(2)),
            "--log-level=info".to_owned(),
        ];
        self.nodes[at] = Some(Process::start(&args, &log_path(&self.directory, at)));
    }

    /// Kills a node with SIGKILL.
    pub(crate) fn kill_node(&mut self, at: usize) {
        self.nodes[at] = None;
    }

    pub(crate) fn runs(&self, at: usize) -> bool {
        self.nodes[at].is_some()
    }

    pub(crate) fn signal(&self, at: usize, signal: Signal) {
        self.nodes[at]
            .as_ref()
            .expect("the node runs")
            .signal(signal);
    }

    /// Asks every node to stop; each must end with exit code 0.
    pub(crate) fn stop(mut self) {
        for node in self.nodes.iter().flatten() {
            node.signal(Signal::TERM);
        }
        for (at, node) in self.nodes.iter_mut().enumerate() {
            let code = node.as_mut().expect("every node runs").wait();
            let log = log_of(&self.directory, at);
            assert_eq!(code, Some(0), "node {} stops in order: {log}", at + 1);
        }
    }

    /// What each node says of itself, by position; `None` if it does not answer.
    pub(crate) async fn statuses(&self) -> Vec<Option<StatusResponse>> {
        let mut statuses = Vec::new();
        for at in 0..self.len() {
            let answers = match self.runs(at) {
                true => client_of([self.grpc(at)]).status_of_all().await,
                false => Vec::new(),
            };
            let own = answers.into_iter().filter_map(|(_, answer)| answer.ok());
            statuses.push(own.into_iter().find(|s| s.node_id == at as u64 + 1));
        }
        statuses
    }

    /// The position of the node that leads, as the newest term has it.
    pub(crate) async fn leader(&self) -> Option<usize> {
        let statuses = self.statuses().await;
        let newest = statuses
            .iter()
            .flatten()
            .max_by_key(|status| (status.term, status.leader))?;
        usize::try_from(newest.leader).ok()?.checked_sub(1)
    }

    /// Waits until every node has applied everything that the leader has in its log.
    pub(crate) async fn settle(&self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let statuses = self.statuses().await;
            let all = statuses.iter().flatten();
            let last = all.clone().map(|status| status.last_index).max();
            let applied = all
                .clone()
                .filter(|status| Some(status.applied) == last)
                .count();
            if applied == self.len() && all.clone().any(|s| s.leader == s.node_id) {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "the nodes do not converge: {statuses:#?}"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

fn log_path(directory: &Path, at: usize) -> PathBuf {
    directory.join(format!("node-{}.log", at + 1))
}

fn log_of(directory: &Path, at: usize) -> String {
    std::fs::read_to_string(log_path(directory, at)).unwrap_or_default()
}

pub(crate) fn client_of(addresses: impl IntoIterator<Item = String>) -> Client {
    let options = Options {
        timeout: PATIENCE,
        ..Options::new(addresses)
    };
    Client::new(&options).expect("the addresses are fine")
}
