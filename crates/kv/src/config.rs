//! How a node is configured: one plain struct, checked once.

use core::ops::Deref;
use core::time::Duration;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use stdx::{ByteSize, NodeId};
use thiserror::Error;

/// Everything that can be chosen about a node.
#[derive(Clone, Debug)]
pub struct Config {
    /// This node's id: unique in its cluster, never zero, never used again after the node's data
    /// was lost. Default 1.
    pub node_id: NodeId,
    /// Where everything durable lives. Made if it isn't there. Default `./kontiki-data`.
    pub data_dir: PathBuf,
    /// Where the gRPC door and the other nodes connect, `host:port`; port 0 takes a free one.
    /// Default `127.0.0.1:7379`.
    pub listen: String,
    /// The address under which the other nodes reach `listen`. Default: `listen` itself, which is
    /// wrong when it is a wildcard such as `0.0.0.0`.
    pub advertise: Option<String>,
    /// What cluster the node belongs to. Default: one of its own.
    pub cluster: Cluster,
    /// How the log is kept on disk. A directory keeps the format it was made with. Default binary.
    pub log_format: LogFormat,
    /// Size of one file of the binary log. Default 64 MiB.
    pub log_segment: ByteSize,
    /// Log that is kept behind the state machine's last persisted state, so that a follower which
    /// was away for a while needs no snapshot. Default 64 MiB.
    pub log_keep: ByteSize,
    /// Memory that the storage engine may use for values that are on disk too. Values that are not
    /// yet written there come on top (`checkpoint_dirty`). Default 4 GiB.
    pub engine_memory: ByteSize,
    /// Changed data after which the engine is checkpointed. Default 64 MiB.
    pub checkpoint_dirty: ByteSize,
    /// Log written since the last checkpoint after which the engine is checkpointed and the log
    /// cut. It bounds what a restart replays. Default 256 MiB.
    pub checkpoint_log: ByteSize,
    /// How the consensus core behaves.
    pub raft: raft::Config,
    /// Commands packed into one log entry stop growing here; a larger single submission still goes
    /// through, alone. Default 1 MiB.
    pub entry_target: ByteSize,
    /// How long commands may wait for the entry before theirs, so that entries under load become
    /// fewer and larger. Default 1 ms; zero makes an entry of whatever is there.
    pub entry_delay: Duration,
    /// Submitted commands that wait for the Raft thread, in bytes; more are refused as
    /// overloaded. Default 64 MiB.
    pub submissions_bytes_max: ByteSize,
    /// Submissions that wait for the Raft thread; more are refused as overloaded. Default 65,536.
    pub submissions_max: usize,
    /// Messages from other nodes that wait for the Raft thread, in bytes; more are dropped, and
    /// sent again by Raft. Default 256 MiB.
    pub received_bytes_max: ByteSize,
    /// Bytes that wait to be sent to one other node; the oldest Raft messages are dropped for
    /// newer ones. Default 64 MiB.
    pub peer_queue_max: ByteSize,
    /// After so long an unfinished write is answered with "unknown". Default 5 s.
    pub execute_timeout: Duration,
    /// How long writes and reads wait for a leader to be known before they are refused. Default
    /// 2 s: long enough for an ordinary election.
    pub leader_wait: Duration,
    /// How long a linearizable read may wait for its confirmation. Default 5 s.
    pub read_timeout: Duration,
    /// How long a shutdown may take, hand-over and checkpoint included. Default 10 s.
    pub shutdown_timeout: Duration,
    /// Free space on the disk below which writes are refused, so that there is room to run and to
    /// clean up. Default 128 MiB; zero turns the check off.
    pub disk_reserve: ByteSize,
    /// What happens when the node can't go on (failed disk, a bug). Default: abort the process.
    pub on_fatal: OnFatal,
    /// Keeps the log here rather than in files of the data directory: for tests of disks that
    /// fail. Default none.
    pub log_disk: Option<Arc<dyn wal::disk::Disk>>,
}

/// What cluster a node belongs to.
#[derive(Clone, Debug, Default)]
pub enum Cluster {
    /// A cluster of this node alone, with an id drawn at random at the first start. It can grow.
    #[default]
    Single,
    /// As `Single`, for this process alone: no port is opened, so nobody can join or connect. The
    /// same directory may be opened as `Single` another time.
    Embedded,
    /// A cluster whose first members all start with the same name and list.
    Static {
        /// The name, which the cluster's id is computed from. Clusters with different names refuse
        /// to talk to each other, so give each one of its own.
        name: String,
        /// The first members, this node included: id and `host:port` of the gRPC door.
        peers: BTreeMap<NodeId, String>,
    },
    /// A cluster that runs already: this node asks to become a member.
    Join {
        /// Addresses of some members' gRPC doors; one that answers is enough.
        members: Vec<String>,
    },
}

/// How the log is kept on disk.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum LogFormat {
    /// Checksummed binary records in segments: fast.
    #[default]
    Binary,
    /// Lines that a person can read: for learning and for small data.
    Text,
}

/// What happens when a node can't go on.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum OnFatal {
    /// Log one line and abort the process: half a node must never look alive.
    #[default]
    Abort,
    /// Log one line, stop all of the node's threads and report through
    /// [`crate::node::Node::failed`]. For several nodes in one process, as in tests.
    Stop,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            node_id: NodeId::new(1),
            data_dir: PathBuf::from("kontiki-data"),
            listen: "127.0.0.1:7379".to_owned(),
            advertise: None,
            cluster: Cluster::default(),
            log_format: LogFormat::default(),
            log_segment: ByteSize::mib(64),
            log_keep: ByteSize::mib(64),
            engine_memory: ByteSize::mib(4 << 10),
            checkpoint_dirty: ByteSize::mib(64),
            checkpoint_log: ByteSize::mib(256),
            raft: raft::Config::default(),
            entry_target: ByteSize::mib(1),
            entry_delay: Duration::from_millis(1),
            submissions_bytes_max: ByteSize::mib(64),
            submissions_max: 65_536,
            received_bytes_max: ByteSize::mib(256),
            peer_queue_max: ByteSize::mib(64),
            execute_timeout: Duration::from_secs(5),
            leader_wait: Duration::from_secs(2),
            read_timeout: Duration::from_secs(5),
            shutdown_timeout: Duration::from_secs(10),
            disk_reserve: ByteSize::mib(128),
            on_fatal: OnFatal::default(),
            log_disk: None,
        }
    }
}

impl Config {
    /// Checks that the fields make sense, each and together.
    ///
    /// # Errors
    ///
    /// Says which field is wrong and what it must be.
    pub fn validate(self) -> Result<Valid<Self>, ConfigError> {
        if self.node_id == NodeId::ZERO {
            return Err(ConfigError::NodeId);
        }
        check_address("listen", &self.listen)?;
        if let Some(address) = &self.advertise {
            check_address("advertise", address)?;
        }
        self.check_cluster()?;
        let sizes = [
            ("log_segment", self.log_segment),
            ("checkpoint_dirty", self.checkpoint_dirty),
            ("checkpoint_log", self.checkpoint_log),
            ("entry_target", self.entry_target),
            ("submissions_bytes_max", self.submissions_bytes_max),
            ("received_bytes_max", self.received_bytes_max),
            ("peer_queue_max", self.peer_queue_max),
        ];
        for (field, size) in sizes {
            if size.get() == 0 {
                return Err(ConfigError::Zero { field });
            }
        }
        if self.submissions_max == 0 {
            return Err(ConfigError::Zero {
                field: "submissions_max",
            });
        }
        self.raft.clone().validate()?;
        Ok(Valid(self))
    }

    fn check_cluster(&self) -> Result<(), ConfigError> {
        match &self.cluster {
            Cluster::Single | Cluster::Embedded => {}
            Cluster::Static { name, peers } => {
                if name.is_empty() {
                    return Err(ConfigError::NoName);
                }
                if !peers.contains_key(&self.node_id) {
                    return Err(ConfigError::NotInPeers { node: self.node_id });
                }
                if peers.contains_key(&NodeId::ZERO) {
                    return Err(ConfigError::NodeId);
                }
                for address in peers.values() {
                    check_address("peers", address)?;
                }
            }
            Cluster::Join { members } => {
                if members.is_empty() {
                    return Err(ConfigError::NobodyToJoin);
                }
                for address in members {
                    check_address("join", address)?;
                }
            }
        }
        Ok(())
    }
}

/// Whether a text looks like `host:port`; names are resolved when they are used.
fn check_address(field: &'static str, address: &str) -> Result<(), ConfigError> {
    let valid = address
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    if valid {
        Ok(())
    } else {
        Err(ConfigError::Address {
            field,
            address: address.into(),
        })
    }
}

/// A configuration that was checked.
#[derive(Clone, Debug)]
pub struct Valid<T>(T);

impl<T> Valid<T> {
    /// The configuration, to be changed and checked again.
    #[must_use]
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> Deref for Valid<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// What is wrong with a configuration.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum ConfigError {
    /// Zero is no node.
    #[error("a node id must be 1 or more")]
    NodeId,
    /// Not an address.
    #[error("{field}: {address:?} is not an address; write host:port")]
    Address {
        /// Which field.
        field: &'static str,
        /// What it holds.
        address: Box<str>,
    },
    /// The cluster has no name.
    #[error("a cluster of several nodes needs a name, the same on every node")]
    NoName,
    /// The list of peers lacks this node.
    #[error("the list of peers must contain this node, {node}")]
    NotInPeers {
        /// This node.
        node: NodeId,
    },
    /// No address to join.
    #[error("joining a cluster needs the address of at least one member")]
    NobodyToJoin,
    /// Nothing would ever get through.
    #[error("{field} must be above zero")]
    Zero {
        /// Which field.
        field: &'static str,
    },
    /// The consensus core's part is wrong.
    #[error("raft: {0}")]
    Raft(#[from] raft::ConfigError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_legal() {
        Config::default().validate().unwrap();
    }

    #[test]
    fn each_mistake_has_its_own_message() {
        let default = Config::default;
        let cases = [
            (
                Config {
                    node_id: NodeId::ZERO,
                    ..default()
                },
                "a node id must be 1 or more",
            ),
            (
                Config {
                    listen: "nonsense".to_owned(),
                    ..default()
                },
                "listen: \"nonsense\" is not an address; write host:port",
            ),
            (
                Config {
                    cluster: Cluster::Static {
                        name: "a".to_owned(),
                        peers: BTreeMap::from([(NodeId::new(2), "h:1".to_owned())]),
                    },
                    ..default()
                },
                "the list of peers must contain this node, n1",
            ),
            (
                Config {
                    cluster: Cluster::Join {
                        members: Vec::new(),
                    },
                    ..default()
                },
                "joining a cluster needs the address of at least one member",
            ),
            (
                Config {
                    entry_target: ByteSize::bytes(0),
                    ..default()
                },
                "entry_target must be above zero",
            ),
        ];
        for (config, message) in cases {
            assert_eq!(config.validate().unwrap_err().to_string(), message);
        }
    }
}
