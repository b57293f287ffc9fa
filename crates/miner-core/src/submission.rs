//! What clients ask for, and what of it is not taken.

use miner_kernels::{Header, Message, Problem, Puzzle};
use thiserror::Error;

use crate::limits::{KEY_BYTES_MAX, MESSAGE_BYTES_MAX};
use crate::message::Progress;
use crate::nonces::Nonces;

/// What a client asks for.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Submission {
    /// What `message` is.
    pub problem: Problem,
    /// What is hashed with the nonces: text, or a header in hexadecimal digits.
    pub message: String,
    /// The first nonce.
    pub lower: u64,
    /// The last nonce, included.
    pub upper: u64,
    /// A name under which the job survives the connection and the server.
    pub key: Option<String>,
    /// Whether the client wants to be told of progress.
    pub progress: Progress,
}

/// Why a job was not taken.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum SubmitError {
    /// The range ends before it begins.
    #[error("the range ends before it begins")]
    Empty,
    /// The message or the key is too long.
    #[error("the message or the key is too long")]
    TooLong,
    /// A header that is none, has no target, or a range that its nonces don't reach.
    #[error("not a header with a target, or a range beyond its nonces")]
    Header,
    /// Another job has this key.
    #[error("the key belongs to a job with another message or range")]
    KeyTaken,
    /// Too many jobs in the pool, or of this client.
    #[error("too many jobs; try again later")]
    Full,
}

impl Submission {
    /// The range and what it is hashed with.
    pub(crate) fn prepare(&self) -> Result<(Nonces, Puzzle), SubmitError> {
        let nonces = Nonces::new(self.lower, self.upper).ok_or(SubmitError::Empty)?;
        let key_bytes = self.key.as_ref().map_or(1, String::len);
        if !(1..=KEY_BYTES_MAX).contains(&key_bytes) {
            return Err(SubmitError::TooLong);
        }
        Ok((nonces, puzzle(self.problem, &self.message, nonces)?))
    }
}

/// What nonces are hashed with, if a message is one of the problem.
pub(crate) fn puzzle(
    problem: Problem,
    message: &str,
    nonces: Nonces,
) -> Result<Puzzle, SubmitError> {
    if message.len() > MESSAGE_BYTES_MAX {
        return Err(SubmitError::TooLong);
    }
    match problem {
        Problem::Cmu => Ok(Puzzle::Message(Message::new(message.as_bytes()))),
        Problem::Bitcoin if nonces.last() > u64::from(u32::MAX) => Err(SubmitError::Header),
        Problem::Bitcoin => {
            let header: Header = message.parse().map_err(|_| SubmitError::Header)?;
            Puzzle::header(header).map_err(|_| SubmitError::Header)
        }
    }
}
