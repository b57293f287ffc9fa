//! What the application asks for.
//!
//! An error changes nothing. `write` never waits: when the queue is full it says so, and
//! [`Event::Writable`](crate::Event::Writable) says when to try again.

use bytes::Bytes;
use thiserror::Error;

use crate::connection::Connection;
use crate::state::{Phase, Trigger};

/// Why a message wasn't taken.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum WriteError {
    /// The server hasn't answered yet.
    #[error("connection is not open yet")]
    Connecting,
    /// The application closed the connection.
    #[error("connection is closed")]
    Closed,
    /// The peer was silent for too long.
    #[error("connection was lost")]
    Lost,
    /// As much is queued as may be.
    #[error("send queue is full")]
    Full,
    /// Longer than a message may be.
    #[error("message of {bytes} bytes exceeds {bytes_max}")]
    TooLong {
        /// The message's length.
        bytes: usize,
        /// The most that the configuration admits.
        bytes_max: usize,
    },
    /// There is no such connection.
    #[error("no such connection")]
    Unknown,
}

/// Why nothing can be read, now or ever.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum ReadError {
    /// The application closed the connection.
    #[error("connection is closed")]
    Closed,
    /// The peer was silent for too long, and everything that it sent was read.
    #[error("connection was lost")]
    Lost,
    /// There is no such connection.
    #[error("no such connection")]
    Unknown,
}

/// Why a connection can't be closed.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum CloseError {
    /// It is closed, or closing, or lost.
    #[error("connection is closed")]
    Closed,
    /// There is no such connection.
    #[error("no such connection")]
    Unknown,
}

impl Connection {
    /// Queues a message for the peer.
    ///
    /// # Errors
    ///
    /// [`WriteError`], and nothing is queued.
    // spec: LSP-7.2 LSP-8.1
    pub fn write(&mut self, payload: Bytes) -> Result<(), WriteError> {
        match self.phase {
            Phase::Connecting => return Err(WriteError::Connecting),
            Phase::Draining | Phase::Closed => return Err(WriteError::Closed),
            Phase::Lost => return Err(WriteError::Lost),
            Phase::Open => {}
        }
        let (bytes, bytes_max) = (payload.len(), self.config.payload_bytes_max);
        if bytes > bytes_max {
            return Err(WriteError::TooLong { bytes, bytes_max });
        }
        let full = self.send.len() >= self.config.send_messages_max
            || self.send.bytes() + bytes > self.config.send_bytes_max;
        if full {
            self.writer_waits = true;
            return Err(WriteError::Full);
        }
        self.send.push(payload);
        Ok(())
    }

    /// The next message from the peer, in order; `None` if there is none yet.
    ///
    /// # Errors
    ///
    /// [`ReadError`] when there never will be one: after `close` at once, after a loss
    /// when everything was read.
    // spec: LSP-7.3 LSP-8.2
    pub fn read(&mut self) -> Result<Option<Bytes>, ReadError> {
        if matches!(self.phase, Phase::Draining | Phase::Closed) {
            return Err(ReadError::Closed);
        }
        let payload = self.receive.read();
        if payload.is_none() && self.phase == Phase::Lost {
            return Err(ReadError::Lost);
        }
        if let Some(seq) = self.receive.release(&self.config)
            && !self.phase.is_over()
        {
            self.acknowledge(seq);
        }
        Ok(payload)
    }

    /// Closes the connection: nothing can be read or written any more, and it ends when
    /// all that was written is acknowledged, or the peer is lost. One that isn't open yet
    /// ends at once.
    ///
    /// Until it ends, what the peer sends is still acknowledged, though nobody reads it:
    /// two ends that close at once would wait for each other otherwise.
    ///
    /// # Errors
    ///
    /// [`CloseError::Closed`] when there is nothing to close.
    // spec: LSP-7.2
    pub fn close(&mut self) -> Result<(), CloseError> {
        if self.phase.next(Trigger::CloseRequested).is_none() {
            return Err(CloseError::Closed);
        }
        self.shift(Trigger::CloseRequested);
        if self.phase == Phase::Draining {
            if let Some(seq) = self.receive.discard() {
                self.acknowledge(seq);
            }
            if self.send.is_empty() {
                self.shift(Trigger::Drained);
            }
        }
        Ok(())
    }
}
