//! What is kept of a job across a restart of the server.

use miner_kernels::Best;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::limits::{KEY_BYTES_MAX, MESSAGE_BYTES_MAX, RECORD_BYTES_MAX};
use crate::nonces::Nonces;

/// The version of the format.
const VERSION: u32 = 1;

/// A job with a key: what is asked, what is left to do, what was found.
///
/// What is under way with workers counts as left to do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct JobRecord {
    /// The client's name for the job.
    pub key: String,
    /// What is hashed.
    pub message: String,
    /// The whole range.
    pub nonces: Nonces,
    /// What is left, from the smallest; empty when the job is done.
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
    #[error("a job's record of version {0}; this program knows {VERSION}")]
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
            version: VERSION,
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
        if wire.version != VERSION {
            return Err(RecordError::Version(wire.version));
        }
        let record = Self {
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
        let any_done = left < self.nonces.count();
        apart
            && self.todo.iter().all(inside)
            && best_inside
            && any_done == self.best.is_some()
            && !self.key.is_empty()
            && self.key.len() <= KEY_BYTES_MAX
            && self.message.len() <= MESSAGE_BYTES_MAX
    }
}
