//! Many connections behind one socket.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use lsp_core::{ConnId, Endpoint, EndpointStats, PublicKey};

use crate::config::Config;
use crate::driver::Driver;
use crate::error::{BindError, CloseError, ConnError, ServerClosed, WriteError};
use crate::shared::{Found, Shared, Stats, random_seed};
use crate::socket::Socket;

/// What a server reads: of which connection, and a message or how the connection ended.
pub type Incoming = (ConnId, Result<Bytes, ConnError>);

/// A server, to which clients connect.
///
/// All methods take `&self`: share it in an `Arc`. Several tasks may read; each message goes
/// to one of them. Dropping it closes it in the background; see the
/// [crate's documentation](crate).
#[derive(Debug)]
pub struct Server {
    shared: Arc<Shared>,
}

impl Server {
    /// Binds a socket and takes connections from now on.
    ///
    /// On a machine with several addresses bind one of them: answers leave by the one that
    /// the system prefers, and a client doesn't listen to another than it asked.
    ///
    /// # Errors
    ///
    /// [`BindError`] when the configuration isn't valid or the address can't be had.
    #[expect(
        clippy::unused_async,
        reason = "it starts a task, and so must run within a runtime"
    )]
    pub async fn bind(local: SocketAddr, config: Config) -> Result<Self, BindError> {
        let core = config.validate()?;
        let socket = Socket::bind(local, config.socket())
            .map_err(|source| BindError::Socket { local, source })?;
        let shared = Shared::new(
            Endpoint::server_seeded(core, &random_seed()?),
            socket.local(),
        );
        Driver::spawn(Arc::clone(&shared), socket);
        Ok(Self { shared })
    }

    /// The address that it listens on.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.shared.lock().local
    }

    /// The server's identity in version 2: what a client pins.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        self.shared.lock().endpoint.public_key()
    }

    /// The next message of any connection, or how one ended; waits for it.
    ///
    /// Connections that have messages take turns, one message each. A connection that was
    /// lost, or that [`close_conn`](Self::close_conn) closed, is reported once, after its
    /// last message; nothing comes of it afterwards.
    ///
    /// # Errors
    ///
    /// [`ServerClosed`] when there never will be one.
    pub async fn read(&self) -> Result<Incoming, ServerClosed> {
        loop {
            let news = self.shared.news.notified();
            if let Some(found) = self.try_read()? {
                return Ok(found);
            }
            news.await;
        }
    }

    /// As [`read`](Self::read), if there is something.
    ///
    /// # Errors
    ///
    /// [`ServerClosed`] when there never will be anything.
    pub fn try_read(&self) -> Result<Option<Incoming>, ServerClosed> {
        let mut state = self.shared.lock();
        if state.closing {
            return Err(ServerClosed::Closed);
        }
        let found = state.read_next();
        let failure = state.failure.clone();
        if state.take_owes() {
            self.shared.ask_driver(state);
        }
        match (found, failure) {
            (Found::Message(id, payload), _) => Ok(Some((id, Ok(payload)))),
            (Found::End(id, end), _) => Ok(Some((id, Err(end)))),
            (Found::Nothing, Some(error)) => Err(ServerClosed::Socket(error)),
            (Found::Nothing, None) => Ok(None),
        }
    }

    /// Queues a message for a client; waits only while that connection's queue is full.
    ///
    /// # Errors
    ///
    /// [`WriteError`], and the message isn't queued.
    pub async fn write(&self, id: ConnId, payload: Bytes) -> Result<(), WriteError> {
        let handle = self.shared.lock().ids.get(&id).copied();
        let handle = handle.ok_or(WriteError::Unknown { id })?;
        self.shared.write(handle, id, payload).await
    }

    /// Closes one connection: nothing of it is read or written any more. What was written
    /// before is still delivered, in the background.
    ///
    /// # Errors
    ///
    /// [`CloseError::Unknown`] when there is no such connection.
    pub fn close_conn(&self, id: ConnId) -> Result<(), CloseError> {
        let mut state = self.shared.lock();
        if !state.close_conn(self.shared.clock.now(), id) {
            return Err(CloseError::Unknown { id });
        }
        self.shared.ask_driver(state);
        self.shared.news.notify_waiters();
        Ok(())
    }

    /// Closes all connections and the socket. Returns when everything that was written is
    /// acknowledged.
    ///
    /// # Errors
    ///
    /// [`CloseError::Lost`] when clients were lost meanwhile.
    pub async fn close(&self) -> Result<(), CloseError> {
        self.shared.shut_down();
        match self.shared.end().await {
            Ok(0) => Ok(()),
            Ok(connections) => Err(CloseError::Lost { connections }),
            Err(error) => Err(CloseError::Socket(error)),
        }
    }

    /// What arrived and what was dropped on the socket.
    #[must_use]
    pub fn endpoint_stats(&self) -> EndpointStats {
        self.shared.lock().endpoint.stats()
    }

    /// What happened on one connection; `None` when there is none, or no longer.
    #[must_use]
    pub fn stats(&self, id: ConnId) -> Option<Stats> {
        let state = self.shared.lock();
        let handle = *state.ids.get(&id)?;
        state.stats(handle)
    }

    /// A client's address; `None` when there is no such connection, or no longer.
    #[must_use]
    pub fn remote_addr(&self, id: ConnId) -> Option<SocketAddr> {
        let state = self.shared.lock();
        let handle = *state.ids.get(&id)?;
        state.endpoint.remote(handle)
    }

    /// How many connections there are.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.lock().ids.len()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.shut_down();
    }
}
