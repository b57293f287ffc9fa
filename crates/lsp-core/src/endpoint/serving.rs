//! What the application asks for.

use std::net::SocketAddr;

use bytes::Bytes;
use stdx::Instant;

use crate::config::Protocol;
use crate::connection::{CloseError, Connection, ReadError, WriteError};
use crate::endpoint::link::Link;
use crate::endpoint::{ConnectError, Endpoint, Handle};
use crate::message::SeqNum;
use crate::state::Phase;

impl Endpoint {
    /// Asks a server for a connection.
    ///
    /// # Errors
    ///
    /// [`ConnectError`]: one per remote address, and no more than the configuration admits.
    pub fn connect(
        &mut self,
        now: Instant,
        remote: SocketAddr,
        isn: SeqNum,
    ) -> Result<Handle, ConnectError> {
        if self.routes.contains_key(&remote) {
            return Err(ConnectError::Exists { remote });
        }
        let connections = self.connections.len();
        if connections >= self.config.connections_max {
            return Err(ConnectError::TooMany { connections });
        }
        let link = match self.config.protocol {
            Protocol::V1 => {
                let connection = Connection::connect(self.config.clone(), isn, now);
                Link::V1(Box::new(connection))
            }
            Protocol::V2 | Protocol::Auto => self.offer(now, remote, isn),
        };
        let handle = self.insert(now, remote, link);
        self.routes.insert(remote, handle);
        Ok(handle)
    }

    /// Queues a message for a connection's peer.
    ///
    /// # Errors
    ///
    /// [`WriteError`], and nothing is queued.
    pub fn write(&mut self, handle: Handle, payload: Bytes) -> Result<(), WriteError> {
        let entry = self
            .connections
            .get_mut(&handle)
            .ok_or(WriteError::Unknown)?;
        entry.link.write(payload)?;
        self.enqueue(handle);
        Ok(())
    }

    /// The next message of a connection; `None` if there is none yet.
    ///
    /// # Errors
    ///
    /// [`ReadError`] when there never will be one. With [`ReadError::Lost`] the
    /// connection is gone.
    pub fn read(&mut self, handle: Handle) -> Result<Option<Bytes>, ReadError> {
        let entry = self
            .connections
            .get_mut(&handle)
            .ok_or(ReadError::Unknown)?;
        let outcome = entry.link.read();
        self.recount(handle);
        if outcome == Err(ReadError::Lost) {
            self.remove(handle);
        } else {
            self.enqueue(handle);
        }
        outcome
    }

    /// Closes a connection: see [`Connection::close`]. Of one that was lost, what is left
    /// unread is forgotten.
    ///
    /// # Errors
    ///
    /// [`CloseError`] when there is nothing to close.
    pub fn close(&mut self, now: Instant, handle: Handle) -> Result<(), CloseError> {
        let entry = self
            .connections
            .get_mut(&handle)
            .ok_or(CloseError::Unknown)?;
        if entry.link.phase() == Phase::Lost {
            self.remove(handle);
            return Ok(());
        }
        entry.link.close()?;
        self.enqueue(handle);
        self.settle(now, handle);
        Ok(())
    }

    /// Takes no more connections and closes those that there are. The endpoint is done
    /// when [`is_empty`](Self::is_empty).
    pub fn shut_down(&mut self, now: Instant) {
        self.accepts = false;
        let handles: Vec<Handle> = self.connections.keys().copied().collect();
        for handle in handles {
            // One that is closing already can't be closed again, and needn't.
            let _already_closing = self.close(now, handle);
        }
    }
}
