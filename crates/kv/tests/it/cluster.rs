//! Nodes for tests: short timeouts, a free port, a directory each.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use engine::EngineError;
use kv::config::{Cluster, Config, OnFatal};
use kv::node::{Handle, Node, NodeStatus, Role, StartError};
use kv_core::{Batch, Reply};
use stdx::{ByteSize, NodeId};
use tempfile::TempDir;
use wal::disk::MemoryDisk;

/// Nothing in a test may take longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for something that must happen.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: did not happen within {PATIENCE:?}"),
    }
}

/// Nodes and the directory that they live in.
pub(crate) struct TestCluster {
    dir: TempDir,
    addresses: BTreeMap<NodeId, String>,
    pub(crate) nodes: BTreeMap<NodeId, Node>,
    pub(crate) tune: fn(&mut Config),
    /// Where the logs of some nodes are, if not in files.
    pub(crate) disks: BTreeMap<NodeId, MemoryDisk>,
}

pub(crate) const fn n(id: u64) -> NodeId {
    NodeId::new(id)
}

/// A port that nobody listened on a moment ago.
pub(crate) fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

impl TestCluster {
    pub(crate) fn new(size: u64) -> Self {
        Self::new_in(&std::env::temp_dir(), size)
    }

    /// With all files below a directory.
    pub(crate) fn new_in(dir: &Path, size: u64) -> Self {
        // `RUST_LOG=info` shows what the nodes say; another test may have been first.
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        let _ = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_test_writer()
            .try_init();
        let addresses = (1..=size).map(|id| (n(id), free_address())).collect();
        Self {
            dir: TempDir::new_in(dir).unwrap(),
            addresses,
            nodes: BTreeMap::new(),
            tune: |_| {},
            disks: BTreeMap::new(),
        }
    }

    pub(crate) async fn started(size: u64) -> Self {
        let mut cluster = Self::new(size);
        for id in 1..=size {
            cluster.start(n(id)).await;
        }
        cluster
    }

    pub(crate) fn data_dir(&self, id: NodeId) -> PathBuf {
        self.dir.path().join(id.to_string())
    }

    pub(crate) fn address(&self, id: NodeId) -> &str {
        &self.addresses[&id]
    }

    pub(crate) fn config(&self, id: NodeId) -> Config {
        let cluster = if self.addresses.len() == 1 {
            Cluster::Single
        } else {
            Cluster::Static {
                name: "test".to_owned(),
                peers: self.addresses.clone(),
            }
        };
        let mut config = Config {
            node_id: id,
            data_dir: self.data_dir(id),
            listen: self
                .addresses
                .get(&id)
                .cloned()
                .unwrap_or_else(free_address),
            cluster,
            log_segment: ByteSize::mib(1),
            leader_wait: Duration::from_secs(10),
            execute_timeout: Duration::from_secs(10),
            disk_reserve: ByteSize::bytes(0),
            on_fatal: OnFatal::Stop,
            ..Config::default()
        };
        config.raft.election_timeout_min = Duration::from_millis(300);
        config.raft.election_timeout_max = Duration::from_millis(600);
        config.raft.heartbeat_interval = Duration::from_millis(50);
        let lease = raft::Lease {
            duration: Duration::from_millis(250),
            drift_ppm: 500,
        };
        config.raft.lease = Some(lease);
        if let Some(disk) = self.disks.get(&id) {
            config.log_disk = Some(Arc::new(disk.clone()));
        }
        (self.tune)(&mut config);
        config
    }

    pub(crate) async fn start(&mut self, id: NodeId) {
        let node = self.try_start(id).await.unwrap();
        self.nodes.insert(id, node);
    }

    /// Starts a node. In one process, the tasks of its former life may need a moment to let go of
    /// its port and its files.
    pub(crate) async fn try_start(&self, id: NodeId) -> Result<Node, StartError> {
        self.try_start_with(self.config(id)).await
    }

    pub(crate) async fn try_start_with(&self, config: Config) -> Result<Node, StartError> {
        let config = config.validate().unwrap();
        within("the end of the former life", async {
            loop {
                match Node::start(config.clone()).await {
                    Err(
                        StartError::PortInUse { .. }
                        | StartError::Engine {
                            source: EngineError::InUse { .. },
                            ..
                        },
                    ) => tokio::time::sleep(Duration::from_millis(5)).await,
                    result => return result,
                }
            }
        })
        .await
    }

    /// As `kill -9`.
    pub(crate) fn kill(&mut self, id: NodeId) {
        assert!(self.nodes.remove(&id).is_some(), "{id} does not run");
    }

    pub(crate) async fn shut_down(&mut self, id: NodeId) {
        let node = self.nodes.remove(&id).unwrap();
        within("a shutdown", node.handle().shutdown()).await;
    }

    pub(crate) fn handle(&self, id: NodeId) -> Handle {
        self.nodes[&id].handle()
    }

    /// Waits until one node leads and all running ones know it.
    pub(crate) async fn leader(&self) -> NodeId {
        let mut found = None;
        self.until("a leader that everybody knows", |statuses| {
            let leaders: Vec<_> = statuses
                .iter()
                .filter(|it| it.role == Role::Leader && it.has_lease)
                .collect();
            let [leader] = leaders.as_slice() else {
                return false;
            };
            found = Some(leader.node_id);
            statuses
                .iter()
                .all(|it| it.leader == found && it.term == leader.term)
        })
        .await;
        found.unwrap()
    }

    /// Waits until the status of all running nodes is as wanted.
    pub(crate) async fn until(&self, what: &str, mut wanted: impl FnMut(&[NodeStatus]) -> bool) {
        let mut last = Vec::new();
        let looked = tokio::time::timeout(PATIENCE, async {
            loop {
                last = self
                    .nodes
                    .values()
                    .map(|node| node.handle().status())
                    .collect();
                if wanted(&last) {
                    return;
                }
                // A status has no event to wait for; the deadline is what bounds this.
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        assert!(
            looked.await.is_ok(),
            "{what}: did not happen within {PATIENCE:?}: {last:#?}"
        );
    }

    /// Waits until all running nodes have applied the same entries, and compares their data.
    pub(crate) async fn assert_agreement(&self) {
        self.until("agreement", |statuses| {
            let furthest = statuses.iter().map(|it| it.last_index).max();
            statuses
                .iter()
                .all(|it| Some(it.applied) == furthest && it.committed == it.applied)
        })
        .await;
        let mut contents = self.nodes.values().map(|node| contents(&node.handle()));
        let first = contents.next().unwrap();
        assert!(
            contents.all(|other| other == first),
            "the nodes hold different data"
        );
    }
}

pub(crate) fn contents(handle: &Handle) -> Vec<(Vec<u8>, Vec<u8>)> {
    let view = handle.view();
    let page = view.list(b"", None, 1 << 20).unwrap();
    assert!(!page.more);
    page.items
        .into_iter()
        .map(|item| (item.key.to_vec(), item.value.to_vec()))
        .collect()
}

pub(crate) fn put(key: &str, value: &str) -> Batch {
    let mut batch = Batch::new();
    batch.put(key.as_bytes(), value.as_bytes());
    batch
}

/// Writes one key; it must succeed.
pub(crate) async fn write(handle: &Handle, key: &str, value: &str) {
    let replies = within("a write", handle.execute(put(key, value)))
        .await
        .unwrap();
    assert_eq!(replies, [Reply::Ok]);
}

/// Reads one key, linearizably.
pub(crate) async fn read(handle: &Handle, key: &str) -> Option<String> {
    within("a read", handle.read_barrier()).await.unwrap();
    let view = handle.view();
    let found = view.get(key.as_bytes()).unwrap();
    found.map(|found| String::from_utf8(found.value.into_owned()).unwrap())
}
