//! One end of one connection.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use lsp_core::{ConnId, EndReason, Endpoint, Handle, Phase, Version};

use crate::config::{Config, SocketOptions};
use crate::driver::Driver;
use crate::error::{BindError, CloseError, ConnectError, ReadError, RebindError, WriteError};
use crate::shared::{Shared, Stats, random_isn, random_seed};
use crate::socket::Socket;

/// A connection to a server.
///
/// All methods take `&self`: share it in an `Arc` to read in one task and write in another.
/// Dropping it closes it in the background; see the [crate's documentation](crate).
#[derive(Debug)]
pub struct Client {
    shared: Arc<Shared>,
    handle: Handle,
    id: ConnId,
    remote: SocketAddr,
    options: SocketOptions,
}

impl Client {
    /// Connects, and waits for the server's answer: at most about `epoch_limit` epochs.
    ///
    /// # Errors
    ///
    /// [`ConnectError::NoAnswer`] when nobody answered; others when there is no socket to
    /// ask from.
    pub async fn connect(remote: SocketAddr, config: Config) -> Result<Self, ConnectError> {
        let core = config.validate().map_err(BindError::from)?;
        let local = unspecified(remote);
        let options = config.socket();
        let socket =
            Socket::bind(local, options).map_err(|source| BindError::Socket { local, source })?;
        let shared = Shared::new(
            Endpoint::client_seeded(core, &random_seed()?),
            socket.local(),
        );
        let now = shared.clock.now();
        let handle = shared.lock().endpoint.connect(now, remote, random_isn()?)?;
        Driver::spawn(Arc::clone(&shared), socket);
        // From here on the guard closes what was begun, also if this future is dropped.
        let mut client = Self {
            shared,
            handle,
            id: ConnId::ZERO,
            remote,
            options,
        };
        client.id = client.connected().await?;
        Ok(client)
    }

    async fn connected(&self) -> Result<ConnId, ConnectError> {
        loop {
            let news = self.shared.news.notified();
            {
                let state = self.shared.lock();
                if let Some(error) = &state.failure {
                    return Err(ConnectError::Socket(Arc::clone(error)));
                }
                if let Some(peer) = state.peers.get(&self.handle) {
                    return Ok(peer.id);
                }
                let phase = state.endpoint.phase(self.handle);
                if phase.is_none_or(Phase::is_over) {
                    let remote = self.remote;
                    return Err(ConnectError::NoAnswer { remote });
                }
            }
            news.await;
        }
    }

    /// The connection's id, which the server gave it.
    #[must_use]
    pub const fn conn_id(&self) -> ConnId {
        self.id
    }

    /// The server's address.
    #[must_use]
    pub const fn remote_addr(&self) -> SocketAddr {
        self.remote
    }

    /// The address of this end.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.shared.lock().local
    }

    /// Moves the connection to a new socket, and the server with it: for a program that
    /// hears of another network before its packets fail. Messages are neither lost nor
    /// repeated by it. Returns when the new socket is there; the server follows within
    /// about a round trip.
    ///
    /// A server follows a client of version 2 also when nobody calls this: when the system
    /// sends from another address, or a router on the way gives the client another one.
    ///
    /// # Errors
    ///
    /// [`RebindError`], and the connection is where it was.
    pub async fn rebind(&self) -> Result<(), RebindError> {
        let local = unspecified(self.remote);
        let socket = Socket::bind(local, self.options)
            .map_err(|source| RebindError::Socket { local, source })?;
        let address = socket.local();
        {
            let mut state = self.shared.lock();
            let phase = state.endpoint.phase(self.handle);
            if state.closing || phase.is_none_or(Phase::is_over) {
                return Err(RebindError::Over);
            }
            if state.endpoint.version(self.handle) != Some(Version::V2) {
                return Err(RebindError::Unable);
            }
            state.rebound = Some(Box::new(socket));
            self.shared.ask_driver(state);
        }
        loop {
            let news = self.shared.news.notified();
            {
                let state = self.shared.lock();
                if state.local == address {
                    return Ok(());
                }
                if state.over {
                    return Err(RebindError::Over);
                }
                let waiting = state.rebound.as_ref().map(|socket| socket.local());
                if waiting != Some(address) {
                    return Err(RebindError::Overtaken);
                }
            }
            news.await;
        }
    }

    /// The next message; waits for it.
    ///
    /// # Errors
    ///
    /// [`ReadError`] when there never will be one: at once after `close`, and after a loss
    /// when everything that arrived was read.
    pub async fn read(&self) -> Result<Bytes, ReadError> {
        loop {
            let news = self.shared.news.notified();
            if let Some(outcome) = self.read_now() {
                return outcome;
            }
            news.await;
        }
    }

    /// The next message, if it is there.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn try_read(&self) -> Result<Option<Bytes>, ReadError> {
        self.read_now().transpose()
    }

    fn read_now(&self) -> Option<Result<Bytes, ReadError>> {
        let mut state = self.shared.lock();
        if state.closing {
            return Some(Err(ReadError::Closed));
        }
        let outcome = match state.read(self.handle) {
            Ok(Some(payload)) => Some(Ok(payload)),
            Ok(None) => {
                let failure = state.failure.as_ref();
                failure.map(|error| Err(ReadError::Socket(Arc::clone(error))))
            }
            Err(_over) => Some(Err(match state.reason(self.handle) {
                Some(EndReason::PeerClosed) => ReadError::ClosedByPeer,
                _ => ReadError::Lost,
            })),
        };
        if state.take_owes() {
            self.shared.ask_driver(state);
        }
        outcome
    }

    /// Queues a message; waits only while the queue is full.
    ///
    /// # Errors
    ///
    /// [`WriteError`], and the message isn't queued.
    pub async fn write(&self, payload: Bytes) -> Result<(), WriteError> {
        self.shared.write(self.handle, self.id, payload).await
    }

    /// Closes the connection: nothing can be read or written any more. Returns when
    /// everything that was written is acknowledged.
    ///
    /// # Errors
    ///
    /// [`CloseError::Lost`] when the server was lost before.
    pub async fn close(&self) -> Result<(), CloseError> {
        {
            let mut state = self.shared.lock();
            let phase = state.endpoint.phase(self.handle);
            if phase.is_none_or(Phase::is_over) && !state.closing {
                state.undelivered = 1;
            }
        }
        self.shared.shut_down();
        match self.shared.end().await {
            Ok(0) => Ok(()),
            Ok(connections) => Err(CloseError::Lost { connections }),
            Err(error) => Err(CloseError::Socket(error)),
        }
    }

    /// What happened so far; `None` when the connection is over.
    #[must_use]
    pub fn stats(&self) -> Option<Stats> {
        self.shared.lock().stats(self.handle)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.shared.shut_down();
    }
}

/// Any address and port that can reach `remote`.
const fn unspecified(remote: SocketAddr) -> SocketAddr {
    match remote {
        SocketAddr::V4(_) => SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
        SocketAddr::V6(_) => SocketAddr::new(std::net::IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0),
    }
}
