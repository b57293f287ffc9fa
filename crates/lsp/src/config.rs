//! What can be chosen: the protocol's parameters, and the socket's.

use lsp_core::{ConfigError, Protocol, ValidConfig};

/// How an endpoint behaves.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Config {
    /// The protocol's parameters and the bounds of its queues. Default
    /// [`lsp_core::Config::adaptive`], which an end of the original takes for a fast one
    /// of its own kind; [`Config::original`] keeps the specification's timing.
    pub core: lsp_core::Config,
    /// The kernel's receive and send buffers. Default 4 MiB each; the kernel may grant
    /// less (`net.core.rmem_max`), which costs datagrams when many arrive at once.
    pub socket_buffer_bytes: usize,
}

/// What of the configuration concerns the socket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SocketOptions {
    pub(crate) buffer_bytes: usize,
    /// Whether a datagram that is too long for the path may travel in pieces.
    pub(crate) fragments: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            core: lsp_core::Config::adaptive(),
            socket_buffer_bytes: 4 << 20,
        }
    }
}

impl Config {
    /// The original's parameters to the letter: a window of one message, epochs of two
    /// seconds, retransmissions on epochs.
    #[must_use]
    pub fn original() -> Self {
        Self {
            core: lsp_core::Config::default(),
            ..Self::default()
        }
    }

    /// What a socket needs to know.
    pub(crate) const fn socket(&self) -> SocketOptions {
        SocketOptions {
            buffer_bytes: self.socket_buffer_bytes,
            fragments: !matches!(self.core.protocol, Protocol::V2),
        }
    }

    /// Checks every field against its bounds.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the first field that is out of bounds.
    pub fn validate(&self) -> Result<ValidConfig, ConfigError> {
        let (bytes, min, max) = (self.socket_buffer_bytes as u64, 4_096, 1 << 30);
        if bytes < min || bytes > max {
            return Err(ConfigError::OutOfBounds {
                field: "socket_buffer_bytes",
                value: bytes,
                min,
                max,
            });
        }
        self.core.clone().validate()
    }
}
