//! What `kontiki up` is going to start: checked against the ports and the directory first.

use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::{BuildHasher as _, Hasher as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::address;
use crate::error::Hint;
use crate::up::UpArgs;

/// The file that makes a directory a cluster's.
pub(crate) const SHAPE_FILE: &str = "cluster.toml";
const SHAPE_VERSION: u32 = 1;
/// More on one machine helps nobody.
const NODES_MAX: u16 = 9;

/// What a directory holds; written once.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
struct Shape {
    /// Of this file.
    version: u32,
    nodes: u16,
    /// Nodes of other clusters are refused by it.
    cluster_name: String,
}

/// A cluster that can be started.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    shape: Shape,
    directory: PathBuf,
    resp_port: u16,
    grpc_port: u16,
    http_port: u16,
    pub(crate) serve_args: Vec<String>,
}

/// One node of the plan.
#[derive(Clone, Debug)]
pub(crate) struct NodePlan {
    /// Counted from 0.
    pub(crate) at: u16,
    pub(crate) data_dir: PathBuf,
    pub(crate) resp: SocketAddr,
    pub(crate) grpc: SocketAddr,
    pub(crate) http: SocketAddr,
}

impl Plan {
    /// Checks the directory and the ports, and makes the directory if it is new.
    pub(crate) fn new(args: &UpArgs) -> Result<Self> {
        let wanted = args.nodes.unwrap_or(3);
        ensure!(
            (1..=NODES_MAX).contains(&wanted),
            Hint::new(
                format!("--nodes {wanted}"),
                format!("choose 1 to {NODES_MAX}; odd numbers make sense")
            )
        );
        let old = read_shape(&args.data_dir)?;
        if let (Some(old), Some(nodes)) = (&old, args.nodes) {
            ensure!(
                old.nodes == nodes,
                Hint::new(
                    format!(
                        "{} holds a cluster of {} nodes, not {nodes}",
                        args.data_dir.display(),
                        old.nodes
                    ),
                    format!(
                        "leave --nodes out, or say --nodes {}, or choose another --data-dir",
                        old.nodes
                    )
                )
            );
        }
        let is_new = old.is_none();
        let shape = old.unwrap_or_else(|| Shape {
            version: SHAPE_VERSION,
            nodes: wanted,
            cluster_name: format!("local-{:016x}", RandomState::new().build_hasher().finish()),
        });
        let UpArgs {
            resp_port,
            grpc_port,
            http_port,
            ..
        } = *args;
        let (directory, serve_args) = (args.data_dir.clone(), args.serve_args.clone());
        let plan = Self {
            shape,
            directory,
            resp_port,
            grpc_port,
            http_port,
            serve_args,
        };
        plan.check_ports()?;
        if is_new {
            plan.write_shape()?;
        }
        Ok(plan)
    }

    pub(crate) fn count(&self) -> u16 {
        self.shape.nodes
    }

    pub(crate) fn cluster_name(&self) -> &str {
        &self.shape.cluster_name
    }

    pub(crate) fn nodes(&self) -> Vec<NodePlan> {
        // `check_ports` has seen that no port is past the last one.
        let local =
            |port: u16, at: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port.saturating_add(at)));
        let node = |at| NodePlan {
            at,
            data_dir: self.directory.join(format!("node-{}", at + 1)),
            resp: local(self.resp_port, at),
            grpc: local(self.grpc_port, at),
            http: local(self.http_port, at),
        };
        (0..self.count()).map(node).collect()
    }

    /// The members as `--peers` takes them.
    pub(crate) fn peers(&self) -> String {
        let peers: Vec<_> = self
            .nodes()
            .iter()
            .map(|node| format!("{}={}", node.at + 1, node.grpc))
            .collect();
        peers.join(",")
    }

    fn check_ports(&self) -> Result<()> {
        let mut seen = std::collections::BTreeSet::new();
        for (flag, port) in [
            ("--resp-port", self.resp_port),
            ("--grpc-port", self.grpc_port),
            ("--http-port", self.http_port),
        ] {
            ensure!(
                port > 0 && port.checked_add(self.count() - 1).is_some(),
                Hint::new(
                    format!(
                        "{flag} {port}: there are no {} ports from there",
                        self.count()
                    ),
                    "choose a lower one, above 0"
                )
            );
            for port in port..port + self.count() {
                ensure!(
                    seen.insert(port),
                    Hint::new(
                        format!("port {port} would be used twice"),
                        "--resp-port, --grpc-port and --http-port each need a free port for every node"
                    )
                );
                let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
                let taken = address::is_taken(address)
                    .with_context(|| format!("cannot listen on {address}"))?;
                ensure!(
                    !taken,
                    Hint::new(
                        format!("port {port} is in use by another program"),
                        format!("is a cluster running already? Else choose another {flag}")
                    )
                );
            }
        }
        Ok(())
    }

    fn write_shape(&self) -> Result<()> {
        let path = self.directory.join(SHAPE_FILE);
        let text = format!(
            "# Written by `kontiki up`. The nodes of this cluster have their data beside this file.\n{}",
            toml::to_string(&self.shape)?
        );
        fs::create_dir_all(&self.directory)
            .and_then(|()| write_durably(&path, &text))
            .with_context(|| {
                Hint::new(
                    format!("cannot make {}", self.directory.display()),
                    "choose a --data-dir that you may write to",
                )
            })
    }

    /// How to talk to the cluster.
    pub(crate) fn greeting(&self) -> String {
        let ports = |first: u16| {
            let ports: Vec<_> = (0..self.count())
                .map(|at| (first + at).to_string())
                .collect();
            ports.join(", ")
        };
        let endpoints: Vec<_> = self
            .nodes()
            .iter()
            .map(|node| node.grpc.to_string())
            .collect();
        let endpoint = if self.grpc_port == 7379 {
            String::new()
        } else {
            format!(" --endpoint {}", endpoints.join(","))
        };
        format!(
            "Kontiki, {} nodes on 127.0.0.1, data in {}\n  \
             Redis protocol  {:<20}  redis-cli -p {}\n  \
             gRPC            {:<20}  kontiki status{endpoint}\n  \
             HTTP            {:<20}  curl http://127.0.0.1:{}/metrics\n\
             Any node takes any request. Ctrl-C stops the cluster; the data stays.",
            self.count(),
            self.directory.display(),
            ports(self.resp_port),
            self.resp_port,
            ports(self.grpc_port),
            ports(self.http_port),
            self.http_port,
        )
    }
}

/// So that a crash of the machine leaves the whole file or none.
fn write_durably(path: &Path, text: &str) -> std::io::Result<()> {
    let temporary = path.with_extension("tmp");
    fs::write(&temporary, text)?;
    fs::File::open(&temporary)?.sync_all()?;
    fs::rename(&temporary, path)?;
    path.parent()
        .map_or(Ok(()), |parent| fs::File::open(parent)?.sync_all())
}

/// The shape of a directory that `kontiki up` has used; `None` if it is new or empty.
fn read_shape(directory: &Path) -> Result<Option<Shape>> {
    let path = directory.join(SHAPE_FILE);
    if path.exists() {
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let shape: Shape = toml::from_str(&text).with_context(|| {
            Hint::new(
                format!("{} is damaged", path.display()),
                "restore it: version, nodes, cluster_name",
            )
        })?;
        ensure!(
            shape.version == SHAPE_VERSION && (1..=NODES_MAX).contains(&shape.nodes),
            Hint::new(
                format!(
                    "{} is of a version that this program does not know",
                    path.display()
                ),
                "use the version of kontiki that wrote it"
            )
        );
        return Ok(Some(shape));
    }
    let mut entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(error).with_context(|| {
                Hint::new(
                    format!("cannot read {}", directory.display()),
                    "choose another --data-dir",
                )
            });
        }
    };
    ensure!(
        entries.next().is_none(),
        Hint::new(
            format!(
                "{} is not empty and no cluster of `kontiki up`",
                directory.display()
            ),
            "choose another --data-dir; a single node's directory is for `kontiki serve`"
        )
    );
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn args(directory: &Path) -> UpArgs {
        // A range of ports that is free as a whole is found by looking.
        let free = |count: u16| {
            (0..50).find_map(|_| {
                let port = TcpListener::bind("127.0.0.1:0")
                    .ok()?
                    .local_addr()
                    .ok()?
                    .port();
                let all = (port..port.checked_add(count)?)
                    .all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok());
                all.then_some(port)
            })
        };
        let port = free(9).unwrap();
        UpArgs {
            nodes: None,
            data_dir: directory.to_path_buf(),
            resp_port: port,
            grpc_port: port + 3,
            http_port: port + 6,
            serve_args: Vec::new(),
        }
    }

    #[test]
    fn a_directory_keeps_its_shape_and_its_name() {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("data");
        let first = Plan::new(&UpArgs {
            nodes: Some(1),
            ..args(&data)
        })
        .unwrap();
        let second = Plan::new(&args(&data)).unwrap();
        assert_eq!((first.count(), second.count()), (1, 1));
        assert_eq!(first.cluster_name(), second.cluster_name());
        let error = Plan::new(&UpArgs {
            nodes: Some(3),
            ..args(&data)
        })
        .unwrap_err();
        assert!(
            error
                .to_string()
                .ends_with("holds a cluster of 1 nodes, not 3"),
            "{error}"
        );
    }

    #[test]
    fn a_directory_with_something_else_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("letter.txt"), "hello").unwrap();
        let error = Plan::new(&args(directory.path())).unwrap_err();
        assert!(error.to_string().contains("is not empty"), "{error}");
    }

    #[test]
    fn a_port_in_use_is_named_and_nothing_is_made() {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("data");
        let args = args(&data);
        let _other = TcpListener::bind(("127.0.0.1", args.grpc_port + 1)).unwrap();
        let error = Plan::new(&args).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("port {} is in use by another program", args.grpc_port + 1)
        );
        assert!(!data.exists());
    }

    #[test]
    fn overlapping_ports_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let mut args = args(directory.path());
        args.http_port = args.resp_port + 1;
        let error = Plan::new(&args).unwrap_err();
        assert!(error.to_string().contains("used twice"), "{error}");
        args.http_port = 65_534;
        let error = Plan::new(&args).unwrap_err();
        assert!(error.to_string().contains("no 3 ports"), "{error}");
    }

    #[test]
    fn the_peers_are_the_grpc_doors() {
        let directory = tempfile::tempdir().unwrap();
        let args = args(directory.path());
        let (plan, port) = (Plan::new(&args).unwrap(), args.grpc_port);
        let expected = format!(
            "1=127.0.0.1:{port},2=127.0.0.1:{},3=127.0.0.1:{}",
            port + 1,
            port + 2
        );
        assert_eq!(plan.peers(), expected);
    }
}
