//! Why an operation failed, one type for each operation.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use lsp_core::ConfigError;
use thiserror::Error;

use crate::ConnId;

/// Why a server can't be had.
#[derive(Debug, Error)]
pub enum BindError {
    /// A parameter makes no sense.
    #[error("configuration is not valid")]
    Config(#[from] ConfigError),
    /// The socket couldn't be made.
    #[error("cannot bind a UDP socket to {local}")]
    Socket {
        /// The address asked for.
        local: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The system gave no randomness.
    #[error("cannot read the system's random numbers")]
    Randomness(#[source] io::Error),
}

/// Why a client has no connection.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// There is no socket to connect from.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// Nobody answered within the epoch limit.
    #[error("{remote} did not answer")]
    NoAnswer {
        /// The server's address.
        remote: SocketAddr,
    },
    /// The core refused.
    #[error("cannot connect")]
    Refused(#[from] lsp_core::ConnectError),
    /// The socket failed.
    #[error("socket failed")]
    Socket(#[source] Arc<io::Error>),
}

/// Why a client can't move to another socket.
#[derive(Debug, Error)]
pub enum RebindError {
    /// The connection is closed or lost.
    #[error("connection is over")]
    Over,
    /// The connection speaks version 1, in which an address is what a server knows a
    /// client by.
    #[error("a connection of version 1 cannot move")]
    Unable,
    /// Another call asked for another socket meanwhile.
    #[error("another call moved the connection")]
    Overtaken,
    /// The socket couldn't be made.
    #[error("cannot bind a UDP socket to {local}")]
    Socket {
        /// The address asked for.
        local: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Why there is nothing more to read on a client.
#[derive(Clone, Debug, Error)]
pub enum ReadError {
    /// This end closed the connection.
    #[error("connection is closed")]
    Closed,
    /// The other end closed it, and everything that it sent was read. Only version 2 tells;
    /// in version 1 an end that closes falls silent.
    #[error("connection was closed by the other end")]
    ClosedByPeer,
    /// The other end is gone, and everything that it sent was read.
    #[error("connection was lost")]
    Lost,
    /// The socket failed.
    #[error("socket failed")]
    Socket(#[source] Arc<io::Error>),
}

/// How one of a server's connections ended.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum ConnError {
    /// The server closed it.
    #[error("connection is closed")]
    Closed,
    /// The client closed it, and everything that it sent was read. Only version 2 tells;
    /// in version 1 an end that closes falls silent.
    #[error("connection was closed by the other end")]
    ClosedByPeer,
    /// The client is gone, and everything that it sent was read.
    #[error("connection was lost")]
    Lost,
}

/// Why a server reads nothing more.
#[derive(Clone, Debug, Error)]
pub enum ServerClosed {
    /// It was closed.
    #[error("server is closed")]
    Closed,
    /// The socket failed.
    #[error("socket failed")]
    Socket(#[source] Arc<io::Error>),
}

/// Why a message wasn't taken.
#[derive(Clone, Debug, Error)]
pub enum WriteError {
    /// This end closed the connection.
    #[error("connection is closed")]
    Closed,
    /// The other end is gone.
    #[error("connection was lost")]
    Lost,
    /// A server has no such connection, or no longer.
    #[error("no connection {id}")]
    Unknown {
        /// The id.
        id: ConnId,
    },
    /// Longer than a message may be.
    #[error("message of {bytes} bytes exceeds {bytes_max}")]
    TooLong {
        /// The message's length.
        bytes: usize,
        /// The most that the configuration admits.
        bytes_max: usize,
    },
    /// The socket failed.
    #[error("socket failed")]
    Socket(#[source] Arc<io::Error>),
}

/// Why closing can't promise that everything arrived.
#[derive(Clone, Debug, Error)]
pub enum CloseError {
    /// So many peers were lost before they had acknowledged everything.
    #[error("{connections} connections were lost before everything was acknowledged")]
    Lost {
        /// How many.
        connections: usize,
    },
    /// A server has no such connection, or no longer.
    #[error("no connection {id}")]
    Unknown {
        /// The id.
        id: ConnId,
    },
    /// The socket failed.
    #[error("socket failed")]
    Socket(#[source] Arc<io::Error>),
}
