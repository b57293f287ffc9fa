//! The four kinds of message, as both sides think of them.
//!
//! A [`Message`] is always well formed: size and checksum exist on the wire only
//! (module [`wire`](crate::wire)), where writing computes them and reading verifies
//! them. So no code behind the codec can forget to check either.

use core::fmt;

use bytes::Bytes;

stdx::id! {
    /// A connection as the server numbers it, from 1. Zero before there is one.
    pub struct ConnId("c");
}

stdx::id! {
    /// A message's place in one direction of a connection.
    ///
    /// The client chooses the first number for both directions; the first Data message
    /// of each carries the one after it.
    pub struct SeqNum("s");
}

impl SeqNum {
    /// The number after this one.
    ///
    /// # Panics
    ///
    /// When the number is `u64::MAX`: the codec admits half of that.
    #[must_use]
    pub const fn next(self) -> Self {
        Self::new(self.get() + 1)
    }

    /// The number before this one; zero stays zero.
    #[must_use]
    pub const fn previous(self) -> Self {
        Self::new(self.get().saturating_sub(1))
    }

    /// The number `count` further on; the last one there is if it is past it.
    #[must_use]
    pub const fn plus(self, count: u64) -> Self {
        Self::new(self.get().saturating_add(count))
    }

    /// How far this number lies behind `earlier`; `None` if it lies before it.
    #[must_use]
    pub fn offset_from(self, earlier: Self) -> Option<usize> {
        let distance = self.get().checked_sub(earlier.get())?;
        usize::try_from(distance).ok()
    }
}

/// One datagram's meaning.
#[derive(Clone, Eq, PartialEq)]
pub enum Message {
    /// A client asks for a connection.
    Connect {
        /// The initial sequence number: data of both directions starts after it.
        isn: SeqNum,
        /// What the client offers beyond version 1. Empty in version 1; an original
        /// server never looks at it, which is where a later version announces itself.
        offer: Bytes,
    },
    /// A piece of the application's data.
    Data {
        /// The connection.
        id: ConnId,
        /// Its place in the sender's direction.
        seq: SeqNum,
        /// The application's bytes.
        payload: Bytes,
    },
    /// Acknowledges one Data message, or the Connect; with number zero, a heartbeat.
    Ack {
        /// The connection.
        id: ConnId,
        /// What is acknowledged.
        seq: SeqNum,
    },
    /// Acknowledges every message up to and including one.
    CAck {
        /// The connection.
        id: ConnId,
        /// The last number that is acknowledged.
        seq: SeqNum,
    },
}

impl Message {
    /// "I am here": an Ack of nothing.
    // spec: LSP-6.3
    #[must_use]
    pub const fn heartbeat(id: ConnId) -> Self {
        Self::Ack {
            id,
            seq: SeqNum::ZERO,
        }
    }

    /// The connection that the message names; zero in a Connect.
    #[must_use]
    pub const fn id(&self) -> ConnId {
        match self {
            Self::Connect { .. } => ConnId::ZERO,
            Self::Data { id, .. } | Self::Ack { id, .. } | Self::CAck { id, .. } => *id,
        }
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect { isn, offer } if offer.is_empty() => write!(f, "Connect {isn}"),
            Self::Connect { isn, offer } => write!(f, "Connect {isn} +{} B", offer.len()),
            Self::Data { id, seq, payload } => write!(f, "Data {id} {seq} {} B", payload.len()),
            Self::Ack { id, seq } if *seq == SeqNum::ZERO => write!(f, "Heartbeat {id}"),
            Self::Ack { id, seq } => write!(f, "Ack {id} {seq}"),
            Self::CAck { id, seq } => write!(f, "CAck {id} {seq}"),
        }
    }
}
