//! The systems under test: how each is started on a fresh directory, and where it listens.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use clap::ValueEnum;

use crate::bench::process::{Server, wait_until};
use crate::sh;

/// How many ports a system may use, from its first.
const PORTS: u16 = 30;

/// A system with its number of nodes.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, ValueEnum)]
pub(crate) enum System {
    /// Kontiki, three nodes.
    #[value(name = "kontiki3")]
    Kontiki3,
    /// Kontiki, one node.
    #[value(name = "kontiki1")]
    Kontiki1,
    /// Redis, one process, every write synced before it is acknowledged.
    Redis,
    /// etcd, three nodes.
    #[value(name = "etcd3")]
    Etcd3,
}

impl System {
    pub(crate) const ALL: [Self; 4] = [Self::Redis, Self::Kontiki3, Self::Kontiki1, Self::Etcd3];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kontiki3 => "Kontiki, 3 nodes",
            Self::Kontiki1 => "Kontiki, 1 node",
            Self::Redis => "Redis, appendfsync always",
            Self::Etcd3 => "etcd, 3 nodes",
        }
    }

    /// Whether it can run here; says what is skipped if not.
    pub(crate) fn is_available(self) -> bool {
        let (program, packages) = match self {
            Self::Redis => ("redis-server", "redis-server"),
            Self::Etcd3 => ("etcd", "etcd-server etcd-client"),
            Self::Kontiki1 | Self::Kontiki3 => return true,
        };
        let have = sh::have(program, &["--version"]);
        if !have {
            eprintln!(
                "skip: {}: install {packages} to compare with it",
                self.name()
            );
        }
        have
    }
}

/// A system that runs.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) system: System,
    /// The first of the ports that it may use.
    base_port: u16,
    servers: Vec<Server>,
    /// Where the node that answers writes listens for RESP.
    pub(crate) resp_port: Option<u16>,
    /// `host:port` of the leader's gRPC door.
    pub(crate) grpc: Option<String>,
    directory: PathBuf,
    /// For every node of Kontiki.
    serve_args: Vec<String>,
}

impl Running {
    pub(crate) fn pids(&self) -> Vec<u32> {
        let mut pids: Vec<u32> = self.servers.iter().flat_map(Server::pids).collect();
        if matches!(self.system, System::Kontiki1 | System::Kontiki3) {
            // The first is `kontiki up`, which only watches.
            pids.remove(0);
        }
        pids
    }

    /// Kills every process as a crash would, and leaves the data. Returns when none listens any
    /// more: the nodes of `kontiki up` end after it.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.servers.clear();
        let base = self.base_port;
        wait_until("the end of what was killed", || Ok(are_free(base)))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            eprintln!("warning: {error:#}");
        }
        if let Err(error) = fs::remove_dir_all(&self.directory) {
            eprintln!("warning: {}: {error}", self.directory.display());
        }
    }
}

/// Programs to start.
#[derive(Debug)]
pub(crate) struct Programs {
    pub(crate) kontiki: PathBuf,
    pub(crate) loader: PathBuf,
    pub(crate) directory: PathBuf,
}

impl Programs {
    /// Starts a system on an empty directory and waits until it serves.
    pub(crate) fn start(&self, system: System) -> Result<Running> {
        self.start_with(system, &[])
    }

    /// The same, with arguments for every node of Kontiki.
    pub(crate) fn start_with(&self, system: System, serve_args: &[&str]) -> Result<Running> {
        let directory = self.directory.join(format!("{system:?}").to_lowercase());
        if directory.exists() {
            fs::remove_dir_all(&directory).with_context(|| directory.display().to_string())?;
        }
        fs::create_dir_all(&directory)?;
        let servers = Vec::new();
        let mut running = Running {
            system,
            base_port: free_ports()?,
            servers,
            resp_port: None,
            grpc: None,
            directory,
            serve_args: serve_args.iter().map(|arg| (*arg).to_owned()).collect(),
        };
        self.start_again(&mut running)?;
        Ok(running)
    }

    /// Starts the processes of a system that was killed, on the data it has.
    pub(crate) fn start_again(&self, running: &mut Running) -> Result<()> {
        match running.system {
            System::Redis => start_redis(running),
            System::Etcd3 => start_etcd(running),
            System::Kontiki1 => self.start_kontiki(running, 1),
            System::Kontiki3 => self.start_kontiki(running, 3),
        }
    }

    fn start_kontiki(&self, running: &mut Running, nodes: u16) -> Result<()> {
        let base = running.base_port;
        let [resp, grpc, http] = [base, base + 10, base + 20];
        let mut command = Command::new(&self.kontiki);
        command
            .args(["up", "--nodes", &nodes.to_string(), "--data-dir"])
            .arg(running.directory.join("data"))
            .args([
                "--resp-port",
                &resp.to_string(),
                "--grpc-port",
                &grpc.to_string(),
            ])
            .args(["--http-port", &http.to_string()])
            .arg("--")
            .args(&running.serve_args);
        let log = running.directory.join("log");
        running
            .servers
            .push(Server::start_until(&mut command, &log, "ready")?);
        let endpoints: Vec<String> = (0..nodes)
            .map(|i| format!("127.0.0.1:{}", grpc + i))
            .collect();
        let leader = self.kontiki_leader(&endpoints)?;
        running.resp_port = Some(resp + leader);
        running.grpc = Some(format!("127.0.0.1:{}", grpc + leader));
        Ok(())
    }

    /// Which node leads, counted from 0.
    fn kontiki_leader(&self, endpoints: &[String]) -> Result<u16> {
        let status = self.kontiki_status(&endpoints.join(","))?;
        let leader = status
            .pointer("/leader")
            .and_then(serde_json::Value::as_u64)
            .unwrap_or(0);
        ensure!(
            leader > 0,
            "no leader although `kontiki up` said that it is ready: {status}"
        );
        Ok(u16::try_from(leader - 1)?)
    }

    /// `kontiki status --json`.
    pub(crate) fn kontiki_status(&self, endpoints: &str) -> Result<serde_json::Value> {
        let output = Command::new(&self.kontiki)
            .args(["status", "--json", "--endpoint", endpoints])
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        serde_json::from_str(&text).with_context(|| {
            format!(
                "kontiki status: {text}{}",
                String::from_utf8_lossy(&output.stderr)
            )
        })
    }

    /// Runs the loader for its effect, such as filling.
    pub(crate) fn fill(&self, words: &[&str]) -> Result<()> {
        let output = Command::new(&self.loader)
            .arg("fill")
            .args(words)
            .output()?;
        ensure!(
            output.status.success(),
            "loader fill {}: {}",
            words.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }
}

/// The first of a block of ports that nobody listens on now: other programs may run here, too.
fn free_ports() -> Result<u16> {
    (24_100..32_000)
        .step_by(100)
        .find(|&base| are_free(base))
        .context("no block of free ports between 24100 and 32000")
}

/// Whether nobody listens on a system's ports.
fn are_free(base: u16) -> bool {
    (base..base + PORTS).all(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok())
}

fn start_etcd(running: &mut Running) -> Result<()> {
    let base = running.base_port;
    let url = |port: u16| format!("http://127.0.0.1:{port}");
    let peers: Vec<String> = (0..3)
        .map(|i| format!("n{i}={}", url(base + 10 + i)))
        .collect();
    for i in 0..3 {
        let mut command = Command::new("etcd");
        command
            .args([
                "--name",
                &format!("n{i}"),
                "--log-level",
                "error",
                "--data-dir",
            ])
            .arg(running.directory.join(format!("n{i}")))
            .args(["--listen-client-urls", &url(base + i)])
            .args(["--advertise-client-urls", &url(base + i)])
            .args(["--listen-peer-urls", &url(base + 10 + i)])
            .args(["--initial-advertise-peer-urls", &url(base + 10 + i)])
            .args(["--initial-cluster", &peers.join(",")])
            .args([
                "--initial-cluster-state",
                "new",
                "--quota-backend-bytes",
                "8000000000",
            ]);
        let log = running.directory.join(format!("n{i}.log"));
        running.servers.push(Server::start(&mut command, &log)?);
    }
    let endpoints: Vec<String> = (0..3).map(|i| format!("127.0.0.1:{}", base + i)).collect();
    let mut leader = None;
    wait_until("etcd", || {
        for server in &mut running.servers {
            ensure!(
                !server.has_ended()?,
                "etcd ended: see its log in target/bench"
            );
        }
        leader = etcd_leader(&endpoints)?;
        Ok(leader.is_some())
    })?;
    running.grpc = leader;
    Ok(())
}

fn start_redis(running: &mut Running) -> Result<()> {
    let port = running.base_port;
    let mut command = Command::new("redis-server");
    command
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--dir"])
        .arg(&running.directory)
        .args([
            "--appendonly",
            "yes",
            "--appendfsync",
            "always",
            "--save",
            "",
        ])
        .args(["--auto-aof-rewrite-percentage", "0"]);
    let log = running.directory.join("log");
    running.servers.push(Server::start(&mut command, &log)?);
    wait_until("redis", || {
        ensure!(
            !running.servers[0].has_ended()?,
            "redis-server ended: see its log"
        );
        let ping = Command::new("redis-cli")
            .args(["-p", &port.to_string(), "ping"])
            .output()?;
        Ok(ping.stdout.starts_with(b"PONG"))
    })?;
    running.resp_port = Some(port);
    Ok(())
}

/// The client address of etcd's leader, once all members answer and agree that there is one.
fn etcd_leader(endpoints: &[String]) -> Result<Option<String>> {
    let output = Command::new("etcdctl")
        .env("ETCDCTL_API", "3")
        .args([
            "--endpoints",
            &endpoints.join(","),
            "endpoint",
            "status",
            "-w",
            "json",
        ])
        .output()
        .context("cannot run etcdctl: install etcd-client")?;
    let Ok(members) = serde_json::from_slice::<Vec<serde_json::Value>>(&output.stdout) else {
        return Ok(None);
    };
    let id = |member: &serde_json::Value, path: &str| {
        member
            .pointer(path)
            .and_then(serde_json::Value::as_u64)
            .filter(|id| *id != 0)
    };
    let leads = |member: &&serde_json::Value| {
        let leader = id(member, "/Status/leader");
        leader.is_some() && leader == id(member, "/Status/header/member_id")
    };
    let leader = members
        .iter()
        .find(leads)
        .filter(|_| members.len() == endpoints.len());
    let address = leader.and_then(|member| member.pointer("/Endpoint")?.as_str());
    Ok(address.map(str::to_owned))
}

/// Removes what earlier runs left.
pub(crate) fn clean(directory: &Path) -> Result<()> {
    if directory.exists() {
        fs::remove_dir_all(directory).with_context(|| directory.display().to_string())?;
    }
    Ok(())
}
