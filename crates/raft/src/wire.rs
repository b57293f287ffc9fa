//! The bytes of messages and memberships: little-endian, versioned, bounded.

use bytes::{Bytes, BytesMut};

use crate::membership::Membership;
use crate::message::Message;

/// Bytes before an entry's payload: term, kind, length.
pub(crate) const ENTRY_HEADER_BYTES: usize = 8 + 1 + 4;

/// Why bytes aren't a message. They came from outside: drop them, count them.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end too early.
    #[error("the message ends too early")]
    Truncated,
    /// Another version of the format.
    #[error("format version {found} is not known")]
    Version {
        /// The version found.
        found: u8,
    },
    /// A number that stands for nothing.
    #[error("{found} is not a known {what}")]
    Unknown {
        /// What it should have been.
        what: &'static str,
        /// The number found.
        found: u8,
    },
    /// A length above its limit.
    #[error("a length of {found} exceeds the limit")]
    TooLong {
        /// The length found.
        found: u64,
    },
    /// Bytes are left over.
    #[error("{count} bytes follow the message")]
    Trailing {
        /// How many.
        count: usize,
    },
}

pub(crate) fn membership_len(membership: &Membership) -> usize {
    let ids = membership.voters.len() + membership.outgoing.len() + membership.learners.len();
    1 + 3 + 8 * ids
}

/// Appends a message's bytes.
pub fn encode(message: &Message, buffer: &mut BytesMut) {
    let _ = (message, buffer);
}

/// Reads one message, which must fill `bytes`; payloads are slices of it.
///
/// # Errors
///
/// When the bytes aren't a message.
pub fn decode(bytes: &mut Bytes) -> Result<Message, DecodeError> {
    let _ = bytes;
    Err(DecodeError::Truncated)
}

/// Appends a membership's bytes, as in an entry or beside a snapshot.
pub fn encode_membership(membership: &Membership, buffer: &mut BytesMut) {
    let _ = (membership, buffer);
}

/// Reads a membership, which must fill `bytes`.
///
/// # Errors
///
/// When the bytes aren't a membership.
pub fn decode_membership(bytes: &mut Bytes) -> Result<Membership, DecodeError> {
    let _ = bytes;
    Err(DecodeError::Truncated)
}
