//! What is kept of a job across a restart of the server.

use miner_kernels::{Best, Problem};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::limits::{KEY_BYTES_MAX, RECORD_BYTES_MAX};
use crate::nonces::Nonces;
use crate::submission::puzzle;

/// The version of the format.
const VERSION: u32 = 1;
/// That of a header's record. An older program must not take it for that of a message.
const VERSION_OF_HEADER: u32 = 2;

/// A job with a key: what is asked, what is left to do, what was found.
///
/// What is under way with workers counts as left to do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct JobRecord {
    /// The client's name for the job.
    pub key: String,
    /// What `message` is.
    pub problem: Problem,
    /// What is hashed: text, or a header in hexadecimal digits.
    pub message: String,
    /// The whole range.
    pub nonces: Nonces,
    /// What is left, from the smallest; empty when all is done.
    pub todo: Vec<Nonces>,
    /// The best of what is not left.
    pub best: Option<Best>,
}

/// Bytes that are not a record.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RecordError {
    /// Not JSON, or not with these keys.
    #[error("not the record of a job")]
    Json(#[source] serde_json::Error),
    /// A version that this program does not know.
    #[error("a job's record of version {0}; this program knows {VERSION} and {VERSION_OF_HEADER}")]
    Version(u32),
    /// It contradicts itself.
    #[error("the record of a job contradicts itself")]
    Contradiction,
}

#[derive(Deserialize, Serialize)]
struct Wire {
    version: u32,
    key: String,
    message: String,
    nonces: Nonces,
    todo: Vec<Nonces>,
    best: Option<(u64, u64)>,
}

impl JobRecord {
    /// Writes a record: JSON, for people to read.
    ///
    /// # Panics
    ///
    /// Never: a record has nothing that JSON has no form for.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let wire = Wire {
            version: match self.problem {
                Problem::Cmu => VERSION,
                Problem::Bitcoin => VERSION_OF_HEADER,
            },
            key: self.key.clone(),
            message: self.message.clone(),
            nonces: self.nonces,
            todo: self.todo.clone(),
            best: self.best.map(|best| (best.hash, best.nonce)),
        };
        serde_json::to_vec(&wire).expect("numbers and text are always JSON")
    }

    /// Reads a record.
    ///
    /// # Errors
    ///
    /// [`RecordError`] for everything that no [`Self::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let wire: Wire = serde_json::from_slice(bytes).map_err(RecordError::Json)?;
        let record = Self {
            problem: match wire.version {
                VERSION => Problem::Cmu,
                VERSION_OF_HEADER => Problem::Bitcoin,
                other => return Err(RecordError::Version(other)),
            },
            key: wire.key,
            message: wire.message,
            nonces: wire.nonces,
            todo: wire.todo,
            best: wire.best.map(|(hash, nonce)| Best { hash, nonce }),
        };
        if record.is_consistent() && bytes.len() <= RECORD_BYTES_MAX {
            Ok(record)
        } else {
            Err(RecordError::Contradiction)
        }
    }

    fn is_consistent(&self) -> bool {
        let apart = self
            .todo
            .windows(2)
            .all(|pair| pair[0].last() < pair[1].first());
        let inside = |part: &Nonces| {
            self.nonces.first() <= part.first() && part.last() <= self.nonces.last()
        };
        let left: u128 = self.todo.iter().map(|part| part.count()).sum();
        let best_inside = self
            .best
            .is_none_or(|best| self.nonces.contains(best.nonce));
        let is_puzzle = puzzle(self.problem, &self.message, self.nonces).is_ok();
        let any_done = left < self.nonces.count();
        apart
            && is_puzzle
            && self.todo.iter().all(inside)
            && best_inside
            && any_done == self.best.is_some()
            && !self.key.is_empty()
            && self.key.len() <= KEY_BYTES_MAX
    }
}
