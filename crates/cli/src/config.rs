//! What a node can be told: by flag, by environment variable, by file. One definition for all.
//!
//! A flag wins over `KONTIKI_*`, that over the file, that over the default. The keys of the
//! file are the long flags.

use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Args, ValueEnum};
use kv::config::{Cluster, Config, LogFormat};
use serde::{Deserialize, Deserializer};
use stdx::{ByteSize, NodeId};

use crate::address;
use crate::error::Hint;

/// Everything that may be chosen; what is absent here and in the file has its default.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Settings {
    /// This node's id: unique in its cluster, never zero, never used again once its data is lost
    /// [default: 1]
    #[arg(long, env = "KONTIKI_NODE_ID", value_name = "ID")]
    node_id: Option<u64>,
    /// Where everything durable lives; made if it isn't there [default: ./kontiki-data]
    #[arg(long, env = "KONTIKI_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The first members of a new cluster, this node included, the same list on all of them: id
    /// and gRPC address of each, as `1=host:port,2=host:port`
    #[arg(
        long,
        env = "KONTIKI_PEERS",
        value_delimiter = ',',
        value_name = "ID=ADDR",
        conflicts_with = "join"
    )]
    #[serde(deserialize_with = "texts")]
    peers: Vec<Peer>,
    /// Become a member of a cluster that runs already: gRPC addresses of some of its nodes
    #[arg(long, env = "KONTIKI_JOIN", value_delimiter = ',', value_name = "ADDR")]
    join: Vec<String>,
    /// The cluster's name, the same on all its first members: nodes of clusters with different
    /// names refuse each other [default: kontiki]
    #[arg(long, env = "KONTIKI_CLUSTER_NAME", value_name = "NAME")]
    cluster_name: Option<String>,
    /// Where Redis clients connect [default: 127.0.0.1:6379]
    #[arg(long, env = "KONTIKI_RESP_LISTEN", value_name = "ADDR")]
    resp_listen: Option<String>,
    /// Where gRPC clients and the other nodes connect [default: 127.0.0.1:7379]
    #[arg(long, env = "KONTIKI_GRPC_LISTEN", value_name = "ADDR")]
    grpc_listen: Option<String>,
    /// Where metrics and health are served [default: 127.0.0.1:8379]
    #[arg(long, env = "KONTIKI_HTTP_LISTEN", value_name = "ADDR")]
    http_listen: Option<String>,
    /// The address under which the other nodes reach --grpc-listen, if it is another
    #[arg(long, env = "KONTIKI_ADVERTISE", value_name = "ADDR")]
    advertise: Option<String>,
    /// Listen where other machines can connect, although nothing asks for a password yet
    #[arg(long, env = "KONTIKI_INSECURE_LISTEN", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    insecure_listen: Option<bool>,
    /// How the log is kept on disk; a directory keeps the format it was made with [default: binary]
    #[arg(long, env = "KONTIKI_LOG_FORMAT", value_name = "FORMAT")]
    log_format: Option<Format>,
    /// Memory for values that are on disk too, such as 4GiB [default: 4 GiB]
    #[arg(long, env = "KONTIKI_ENGINE_MEMORY", value_name = "SIZE")]
    #[serde(deserialize_with = "text")]
    engine_memory: Option<ByteSize>,
    /// Log after which the storage engine is checkpointed and the log cut: a restart replays no
    /// more than that [default: 256 MiB]
    #[arg(long, env = "KONTIKI_CHECKPOINT_LOG", value_name = "SIZE")]
    #[serde(deserialize_with = "text")]
    checkpoint_log: Option<ByteSize>,
    /// Changed data after which the storage engine is checkpointed [default: 64 MiB]
    #[arg(long, env = "KONTIKI_CHECKPOINT_DIRTY", value_name = "SIZE")]
    #[serde(deserialize_with = "text")]
    checkpoint_dirty: Option<ByteSize>,
    /// Log that is kept for nodes that were away, so that they need no snapshot [default: 64 MiB]
    #[arg(long, env = "KONTIKI_LOG_KEEP", value_name = "SIZE")]
    #[serde(deserialize_with = "text")]
    log_keep: Option<ByteSize>,
}

/// A member: its id and the address of its gRPC door.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Peer {
    id: NodeId,
    address: String,
}

impl FromStr for Peer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (id, address) = text
            .split_once('=')
            .ok_or_else(|| format!("{text:?}: write ID=HOST:PORT"))?;
        let id = id
            .trim()
            .parse()
            .map_err(|_| format!("{id:?} is no node id: write 1 or more"))?;
        Ok(Self {
            id: NodeId::new(id),
            address: address.trim().to_owned(),
        })
    }
}

/// How the log is kept on disk.
#[derive(Clone, Copy, Debug, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
enum Format {
    /// Checksummed binary records: fast
    Binary,
    /// Lines that a person can read: for learning and for small data
    Text,
}

fn text<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: Display>,
{
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(serde::de::Error::custom)
}

fn texts<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: Display>,
{
    let texts = Vec::<String>::deserialize(deserializer)?;
    texts
        .iter()
        .map(|text| text.parse().map_err(serde::de::Error::custom))
        .collect()
}

/// What was chosen, complete and checked as far as it can be without starting.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) config: Config,
    pub(crate) resp_listen: String,
    pub(crate) http_listen: String,
}

impl Settings {
    /// Reads the file's settings and lets these win over them.
    pub(crate) fn over_file(self, path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| {
            Hint::new(
                format!("cannot read {}", path.display()),
                "--config names a TOML file",
            )
        })?;
        let file: Self = toml::from_str(&text).with_context(|| {
            Hint::new(
                format!("{} is not a configuration", path.display()),
                "its keys are the long flags of `kontiki serve --help`, e.g. node-id = 1",
            )
        })?;
        Ok(self.over(file))
    }

    fn over(self, file: Self) -> Self {
        // Naming one way into a cluster overrides the file's other way.
        let named = !self.peers.is_empty() || !self.join.is_empty();
        let (peers, join) = if named {
            (self.peers, self.join)
        } else {
            (file.peers, file.join)
        };
        Self {
            node_id: self.node_id.or(file.node_id),
            data_dir: self.data_dir.or(file.data_dir),
            peers,
            join,
            cluster_name: self.cluster_name.or(file.cluster_name),
            resp_listen: self.resp_listen.or(file.resp_listen),
            grpc_listen: self.grpc_listen.or(file.grpc_listen),
            http_listen: self.http_listen.or(file.http_listen),
            advertise: self.advertise.or(file.advertise),
            insecure_listen: self.insecure_listen.or(file.insecure_listen),
            log_format: self.log_format.or(file.log_format),
            engine_memory: self.engine_memory.or(file.engine_memory),
            checkpoint_log: self.checkpoint_log.or(file.checkpoint_log),
            checkpoint_dirty: self.checkpoint_dirty.or(file.checkpoint_dirty),
            log_keep: self.log_keep.or(file.log_keep),
        }
    }

    /// Fills in the defaults.
    pub(crate) fn into_node(self) -> Result<Node> {
        let listener = |chosen: Option<String>, port: u16| {
            chosen.unwrap_or_else(|| format!("127.0.0.1:{port}"))
        };
        let default = Config::default();
        let resp_listen = listener(self.resp_listen, 6379);
        let http_listen = listener(self.http_listen, 8379);
        let listen = listener(self.grpc_listen, 7379);
        let insecure = self.insecure_listen.unwrap_or(false);
        address::refuse_open(&[&resp_listen, &listen, &http_listen], insecure)?;
        let cluster = cluster(self.peers, self.join, self.cluster_name)?;
        let config = Config {
            node_id: self.node_id.map_or(default.node_id, NodeId::new),
            data_dir: self.data_dir.unwrap_or_else(|| default.data_dir.clone()),
            listen,
            advertise: self.advertise,
            cluster,
            log_format: match self.log_format {
                Some(Format::Text) => LogFormat::Text,
                Some(Format::Binary) | None => LogFormat::Binary,
            },
            engine_memory: self.engine_memory.unwrap_or(default.engine_memory),
            checkpoint_log: self.checkpoint_log.unwrap_or(default.checkpoint_log),
            checkpoint_dirty: self.checkpoint_dirty.unwrap_or(default.checkpoint_dirty),
            log_keep: self.log_keep.unwrap_or(default.log_keep),
            ..default
        };
        Ok(Node {
            config,
            resp_listen,
            http_listen,
        })
    }
}

fn cluster(peers: Vec<Peer>, join: Vec<String>, name: Option<String>) -> Result<Cluster> {
    ensure!(
        peers.is_empty() || join.is_empty(),
        Hint::new(
            "both peers and join are given",
            "peers start a new cluster, join enters an old one"
        )
    );
    if !join.is_empty() {
        return Ok(Cluster::Join { members: join });
    }
    if peers.is_empty() {
        return Ok(Cluster::Single);
    }
    let name = name.unwrap_or_else(|| "kontiki".to_owned());
    let mut members = std::collections::BTreeMap::new();
    for Peer { id, address } in peers {
        if members.insert(id, address).is_some() {
            bail!(Hint::new(
                format!("node {id} stands twice in the list of peers"),
                "every id once"
            ));
        }
    }
    Ok(Cluster::Static {
        name,
        peers: members,
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Typed {
        #[command(flatten)]
        settings: Settings,
    }

    fn typed(words: &str) -> Settings {
        Typed::parse_from(["serve"].into_iter().chain(words.split_whitespace())).settings
    }

    fn file(text: &str) -> Result<Settings> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("kontiki.toml");
        fs::write(&path, text).unwrap();
        typed("").over_file(&path)
    }

    #[test]
    fn nothing_said_is_a_single_node_on_loopback() {
        let node = typed("").into_node().unwrap();
        assert_eq!(node.config.node_id, NodeId::new(1));
        assert_eq!(node.resp_listen, "127.0.0.1:6379");
        assert_eq!(node.config.listen, "127.0.0.1:7379");
        assert!(matches!(node.config.cluster, Cluster::Single));
        node.config.validate().unwrap();
    }

    #[test]
    fn flags_win_over_the_file() {
        let file =
            file("node-id = 2\npeers = [\"1=a:1\", \"2=b:2\"]\nengine-memory = \"1 GiB\"").unwrap();
        let node = typed("--node-id 1").over(file).into_node().unwrap();
        assert_eq!(node.config.node_id, NodeId::new(1));
        assert_eq!(node.config.engine_memory, ByteSize::mib(1024));
        let Cluster::Static { name, peers } = node.config.cluster else {
            panic!("a list of peers")
        };
        assert_eq!(name, "kontiki");
        assert_eq!(peers[&NodeId::new(2)], "b:2");
    }

    #[test]
    fn joining_on_the_command_line_wins_over_peers_in_the_file() {
        let file = file("peers = [\"1=a:1\"]").unwrap();
        let node = typed("--join c:3").over(file).into_node().unwrap();
        assert!(matches!(node.config.cluster, Cluster::Join { .. }));
    }

    #[test]
    fn a_file_with_an_unknown_key_is_refused_with_the_key() {
        let error = file("node_id = 2").unwrap_err();
        assert!(format!("{error:#}").contains("node_id"), "{error:#}");
        let error = file("engine-memory = \"many\"").unwrap_err();
        assert!(format!("{error:#}").contains("not a size"), "{error:#}");
    }

    #[test]
    fn open_listeners_need_to_be_asked_for() {
        assert!(typed("--resp-listen 0.0.0.0:6379").into_node().is_err());
        typed("--resp-listen 0.0.0.0:6379 --insecure-listen")
            .into_node()
            .unwrap();
    }

    #[test]
    fn a_node_stands_once_in_the_list() {
        assert!(typed("--peers 1=a:1,1=b:2").into_node().is_err());
        assert!(Typed::try_parse_from(["serve", "--peers", "a:1"]).is_err());
    }
}
