//! What can be asked about connections.

use std::net::SocketAddr;

use crate::connection::{Connection, Stats};
use crate::endpoint::link::Link;
use crate::endpoint::{EndReason, Endpoint, EndpointStats, Handle, Version};
use crate::keys::PublicKey;
use crate::message::ConnId;
use crate::recovery::Path;
use crate::state::Phase;
use crate::v2::state::State;

impl Endpoint {
    fn link(&self, handle: Handle) -> Option<&Link> {
        self.connections.get(&handle).map(|entry| &entry.link)
    }

    /// A connection's id: the same on both sides. Zero before a client knows it.
    #[must_use]
    pub fn id(&self, handle: Handle) -> Option<ConnId> {
        Some(match self.link(handle)? {
            Link::V1(connection) => connection.id(),
            Link::V2(connection) => connection.id(),
        })
    }

    /// Where a connection is in its life.
    #[must_use]
    pub fn phase(&self, handle: Handle) -> Option<Phase> {
        self.link(handle).map(Link::phase)
    }

    /// Which version a connection speaks; `None` while that isn't certain.
    #[must_use]
    pub fn version(&self, handle: Handle) -> Option<Version> {
        match self.link(handle)? {
            Link::V1(_) => Some(Version::V1),
            Link::V2(connection) if connection.state() == State::Connecting => None,
            Link::V2(_) => Some(Version::V2),
        }
    }

    /// What happened on a connection so far. In version 2, what is counted as a message
    /// here is a datagram with data in it.
    #[must_use]
    pub fn connection_stats(&self, handle: Handle) -> Option<Stats> {
        Some(match self.link(handle)? {
            Link::V1(connection) => connection.stats(),
            Link::V2(connection) => connection.stats(),
        })
    }

    /// What a connection knows of its path; `None` if it doesn't measure.
    #[must_use]
    pub fn path(&self, handle: Handle) -> Option<Path> {
        match self.link(handle)? {
            Link::V1(connection) => connection.path(),
            Link::V2(connection) => Some(connection.path()),
        }
    }

    /// How long a datagram a connection's path is known to carry; `None` in version 1, which
    /// doesn't ask.
    #[must_use]
    pub fn datagram_bytes(&self, handle: Handle) -> Option<usize> {
        match self.link(handle)? {
            Link::V1(_) => None,
            Link::V2(connection) => Some(connection.datagram_bytes()),
        }
    }

    /// How often the key of what a connection sends was changed.
    #[must_use]
    pub fn key_generation(&self, handle: Handle) -> Option<u64> {
        match self.link(handle)? {
            Link::V1(_) => None,
            Link::V2(connection) => Some(connection.key_generation()),
        }
    }

    /// How many messages were written to a connection and not yet acknowledged.
    #[must_use]
    pub fn pending(&self, handle: Handle) -> Option<usize> {
        Some(match self.link(handle)? {
            Link::V1(connection) => connection.unsent_or_unacked(),
            Link::V2(connection) => connection.pending(),
        })
    }

    /// Why a connection is over; `None` while it isn't.
    #[must_use]
    pub fn end_reason(&self, handle: Handle) -> Option<EndReason> {
        match self.link(handle)? {
            Link::V1(connection) => {
                (connection.phase() == Phase::Lost).then_some(EndReason::Silent)
            }
            Link::V2(connection) => connection.reason(),
        }
    }

    /// Our identity in version 2: what a client pins.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        self.binary.public_key()
    }

    /// A connection of version 1, to look at.
    #[must_use]
    pub fn connection(&self, handle: Handle) -> Option<&Connection> {
        match self.link(handle)? {
            Link::V1(connection) => Some(connection),
            Link::V2(_) => None,
        }
    }

    /// A connection's peer.
    #[must_use]
    pub fn remote(&self, handle: Handle) -> Option<SocketAddr> {
        self.connections.get(&handle).map(|entry| entry.remote)
    }

    /// All connections that the application was told of, those that were lost and not read
    /// out included.
    pub fn handles(&self) -> impl Iterator<Item = Handle> + '_ {
        let announced = |entry: &(_, &crate::endpoint::Entry)| entry.1.link.is_announced();
        let entries = self.connections.iter();
        entries.filter(announced).map(|(&handle, _)| handle)
    }

    /// Whether there are no connections.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// Bytes that were received and wait to be read, of all connections.
    #[must_use]
    pub const fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// What was dropped so far.
    #[must_use]
    pub const fn stats(&self) -> EndpointStats {
        self.stats
    }
}
