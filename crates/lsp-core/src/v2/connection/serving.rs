//! What the application asks for. An error changes nothing.

use bytes::Bytes;

use crate::connection::{CloseError, ReadError, WriteError};
use crate::endpoint::EndReason;
use crate::limits::LENGTH_BYTES_MAX;
use crate::v2::connection::Connection;
use crate::v2::state::{State, Trigger};

impl Connection {
    /// Queues a message for the peer.
    // spec: LSP2-6.3 LSP2-8.1
    pub(crate) fn write(&mut self, payload: &[u8]) -> Result<(), WriteError> {
        match self.state {
            State::Connecting | State::Accepting => return Err(WriteError::Connecting),
            State::Draining | State::Closing | State::Closed => return Err(WriteError::Closed),
            State::Lost => return Err(WriteError::Lost),
            State::Open => {}
        }
        let (bytes, bytes_max) = (payload.len(), self.message_bytes_max);
        if bytes > bytes_max {
            return Err(WriteError::TooLong { bytes, bytes_max });
        }
        let full = self.send.messages() >= self.config.send_messages_max
            || self.send.bytes() + bytes + LENGTH_BYTES_MAX > self.config.send_bytes_max;
        if full {
            self.writer_waits = true;
            return Err(WriteError::Full);
        }
        self.send.write(payload);
        Ok(())
    }

    /// The next message from the peer, in order; `None` if there is none yet.
    // spec: LSP2-6.2
    pub(crate) fn read(&mut self) -> Result<Option<Bytes>, ReadError> {
        if matches!(self.state, State::Draining | State::Closing | State::Closed) {
            return Err(ReadError::Closed);
        }
        let payload = self.receive.read();
        if payload.is_none() && self.state == State::Lost {
            return Err(ReadError::Lost);
        }
        if self.receive.is_readable().is_err() && !self.state.is_over() {
            self.due.farewell = true;
            self.finish(Trigger::Violation, EndReason::Violation);
        }
        Ok(payload)
    }

    /// Closes the connection: nothing can be read or written any more. What was written is
    /// delivered, then the peer is told.
    // spec: LSP2-7.1 LSP2-7.2
    pub(crate) fn close(&mut self) -> Result<(), CloseError> {
        if self.state.next(Trigger::CloseRequested).is_none() {
            return Err(CloseError::Closed);
        }
        self.shift(Trigger::CloseRequested);
        if self.state == State::Draining {
            self.receive.discard();
            if self.send.is_empty() {
                self.shift(Trigger::Drained);
            }
        }
        Ok(())
    }

    /// Our own address may have changed: tells the server at once, so that it follows.
    // spec: LSP2-7.3
    pub(crate) const fn on_rebound(&mut self) {
        if matches!(self.state, State::Open | State::Draining | State::Closing) {
            self.due.ping = true;
        }
    }
}
