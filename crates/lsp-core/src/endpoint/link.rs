//! A connection of either version, as the endpoint handles it.

use std::net::SocketAddr;

use bytes::Bytes;
use stdx::Instant;

use crate::connection::{CloseError, Connection, Event, ReadError, Side, WriteError};
use crate::state::Phase;
use crate::v2;
use crate::v2::state::State;
use crate::wire;

/// Datagrams of one connection in a row.
const TURN_V1: u32 = 1;
const TURN_V2: u32 = 16;

#[derive(Debug)]
pub(super) enum Link {
    V1(Box<Connection>),
    V2(Box<v2::connection::Connection>),
}

impl Link {
    pub(super) fn on_received_bytes(&mut self, bytes: usize) {
        if let Self::V1(connection) = self {
            connection.on_received_bytes(bytes);
        }
    }

    pub(super) fn on_timeout(&mut self, now: Instant) {
        match self {
            Self::V1(connection) => connection.on_timeout(now),
            Self::V2(connection) => connection.on_timeout(now),
        }
    }

    pub(super) fn write(&mut self, payload: Bytes) -> Result<(), WriteError> {
        match self {
            Self::V1(connection) => connection.write(payload),
            Self::V2(connection) => connection.write(&payload),
        }
    }

    pub(super) fn read(&mut self) -> Result<Option<Bytes>, ReadError> {
        match self {
            Self::V1(connection) => connection.read(),
            Self::V2(connection) => connection.read(),
        }
    }

    pub(super) fn close(&mut self) -> Result<(), CloseError> {
        match self {
            Self::V1(connection) => connection.close(),
            Self::V2(connection) => connection.close(),
        }
    }

    /// Appends the next datagram; where it goes.
    pub(super) fn poll_transmit(
        &mut self,
        now: Instant,
        remote: SocketAddr,
        buffer: &mut Vec<u8>,
    ) -> Option<SocketAddr> {
        match self {
            Self::V1(connection) => {
                let message = connection.poll_transmit(now)?;
                wire::encode(&message, buffer);
                Some(remote)
            }
            Self::V2(connection) => connection.poll_transmit(now, buffer),
        }
    }

    pub(super) const fn turn(&self) -> u32 {
        match self {
            Self::V1(_) => TURN_V1,
            Self::V2(_) => TURN_V2,
        }
    }

    pub(super) fn poll_event(&mut self) -> Option<Event> {
        match self {
            Self::V1(connection) => connection.poll_event(),
            Self::V2(connection) => connection.poll_event(),
        }
    }

    pub(super) fn poll_timeout(&mut self, now: Instant) -> Option<Instant> {
        match self {
            Self::V1(connection) => connection.poll_timeout(now),
            Self::V2(connection) => connection.poll_timeout(now),
        }
    }

    pub(super) fn phase(&self) -> Phase {
        match self {
            Self::V1(connection) => connection.phase(),
            Self::V2(connection) => connection.state().phase(),
        }
    }

    /// Whether the application knows of it.
    pub(super) fn is_announced(&self) -> bool {
        match self {
            Self::V1(_) => true,
            Self::V2(connection) => connection.state() != State::Accepting,
        }
    }

    pub(super) fn may_send(&self) -> bool {
        match self {
            Self::V1(connection) => !connection.phase().is_over(),
            Self::V2(connection) => !connection.state().is_over() || connection.has_farewell(),
        }
    }

    /// Whether it is of a client that has proved nothing.
    pub(super) fn is_unproven(&self) -> bool {
        match self {
            Self::V1(connection) => {
                connection.side() == Side::Server
                    && !connection.is_proven()
                    && !connection.phase().is_over()
            }
            Self::V2(connection) => connection.state() == State::Accepting,
        }
    }

    pub(super) fn received_bytes(&self) -> usize {
        match self {
            Self::V1(connection) => connection.received_bytes(),
            Self::V2(connection) => connection.received_bytes(),
        }
    }

    pub(super) fn check_invariants(&self) {
        match self {
            Self::V1(connection) => connection.check_invariants(),
            Self::V2(connection) => connection.check_invariants(),
        }
    }
}
