//! Connections to the nodes, and which of them leads.

use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;
use std::sync::Arc;

use parking_lot::Mutex;
use thiserror::Error;
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint};

use crate::grpc::LEADER_KEY;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A connection whose peer is gone without a word is found out after these two together.
const KEEPALIVE: Duration = Duration::from_secs(5);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(3);
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;

/// Nodes that a client keeps connections to, those it heard of included.
const NODES_MAX: usize = 64;

/// An address that can't be used.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum AddressError {
    /// None was given.
    #[error("no address was given; write host:port of a node's gRPC door")]
    Missing,
    /// Not an address.
    #[error("{0:?} is not an address; write host:port of a node's gRPC door")]
    Malformed(Box<str>),
}

/// A connection to try.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) address: String,
    pub(super) channel: Channel,
    node: usize,
}

#[derive(Debug)]
struct Node {
    address: String,
    channels: Vec<Channel>,
}

#[derive(Debug)]
struct State {
    nodes: Vec<Node>,
    /// The node to ask first: the leader, if it is known.
    preferred: usize,
}

/// Connections to all known nodes. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Channels {
    state: Arc<Mutex<State>>,
    /// Counts calls, to spread them over the connections of a node.
    next: Arc<AtomicUsize>,
    connections: usize,
}

impl Channels {
    pub(super) fn new(addresses: &[String], connections: usize) -> Result<Self, AddressError> {
        if addresses.is_empty() {
            return Err(AddressError::Missing);
        }
        let nodes = addresses
            .iter()
            .map(|address| connect(address, connections))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            state: Arc::new(Mutex::new(State {
                nodes,
                preferred: 0,
            })),
            next: Arc::default(),
            connections,
        })
    }

    /// The connection to use next.
    pub(super) fn preferred(&self) -> Target {
        let state = self.state.lock();
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        target(&state, state.preferred, next)
    }

    /// One connection to each known node.
    pub(super) fn all(&self) -> Vec<Target> {
        let state = self.state.lock();
        (0..state.nodes.len())
            .map(|node| target(&state, node, 0))
            .collect()
    }

    /// Remembers the leader that an answer names. False if it names none, or the same.
    pub(super) fn learn(&self, metadata: &MetadataMap) -> bool {
        let Some(leader) = metadata
            .get(LEADER_KEY)
            .and_then(|value| value.to_str().ok())
        else {
            return false;
        };
        let mut state = self.state.lock();
        let before = state.preferred;
        if let Some(node) = state.nodes.iter().position(|node| node.address == leader) {
            state.preferred = node;
        } else if state.nodes.len() < NODES_MAX
            && let Ok(node) = connect(leader, self.connections)
        {
            state.nodes.push(node);
            state.preferred = state.nodes.len() - 1;
        }
        state.preferred != before
    }

    /// Asks another node than this one next, unless another was found already.
    pub(super) fn avoid(&self, target: &Target) {
        let mut state = self.state.lock();
        if state.preferred == target.node {
            state.preferred = (target.node + 1) % state.nodes.len();
        }
    }
}

fn target(state: &State, node: usize, next: usize) -> Target {
    let Node { address, channels } = &state.nodes[node];
    Target {
        address: address.clone(),
        channel: channels[next % channels.len()].clone(),
        node,
    }
}

/// Connections to a node, made when they are first used.
fn connect(address: &str, connections: usize) -> Result<Node, AddressError> {
    let malformed = || AddressError::Malformed(address.into());
    let is_address = address
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    if !is_address {
        return Err(malformed());
    }
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .map_err(|_| malformed())?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
    let channels = (0..connections.max(1))
        .map(|_| endpoint.connect_lazy())
        .collect();
    Ok(Node {
        address: address.to_owned(),
        channels,
    })
}
