//! The bytes of messages and memberships.
//!
//! Every message is a version byte, a kind byte and fixed-width little-endian fields in the
//! order of the struct. Byte strings have a 32-bit length. There is nothing clever here on
//! purpose: what is decoded comes from outside, so every length is compared with what is
//! left before anything is allocated, and payloads are slices of the input.
//!
//! ```text
//! message     version u8 | kind u8 | term u64 | [version 2: lease u64 | u64] | fields
//! entries     prev_index u64 | prev_term u64 | .. | count u32 | count x entry
//! entry       term u64 | kind u8 (1 no-op, 2 membership, 3 data) | len u32 | payload
//! membership  version u8 | 3 x (count u32 | count x id u64): voters, outgoing, learners
//!             [version 2: policy u8 (1 off, 2 wait out, 3 log) | nanos u64 | ppm u32 | clock u8]
//! base        index u64 | term u64 | len u32 | membership
//! optional    0 u8, or 1 u8 and the value; a ticket that voids a lease has a 2 there
//! ```
//!
//! Version 2 is version 1 and what is said about leases. It is written only where something
//! is, so a group that has no leases of its own is understood by nodes that know none.
//!
//! An entry's index isn't sent: entries follow `prev_index` without gaps.

mod input;

use core::time::Duration;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use stdx::{LogIndex, Term};

use crate::config::Lease;
use crate::entry::{Entries, Entry, LogBase, Payload};
use crate::membership::Membership;
use crate::message::{
    AppendEntries, AppendEntriesReply, AppendOutcome, InstallSnapshot, InstallSnapshotReply,
    LeaseClaim, LeaseGrant, Message, ReadIndex, ReadIndexReply, RequestPreVote,
    RequestPreVoteReply, RequestVote, RequestVoteReply, Round, Session, SnapshotId,
    SnapshotOutcome, TimeoutNow,
};
use crate::policy::{LeaseClock, LeasePolicy};
use input::{Input, as_index};

/// The version of the format.
pub const VERSION: u8 = 1;

/// The version with leases.
const VERSION_LEASES: u8 = 2;

/// Bytes before an entry's payload: term, kind, length.
pub const ENTRY_HEADER_BYTES: usize = 8 + 1 + 4;

/// Bytes of a lease policy: kind, length, drift, clock.
const POLICY_BYTES: usize = 1 + 8 + 4 + 1;

/// Kinds of payloads, in messages and in the log on disk alike; zero is reserved.
pub mod payload_kind {
    /// [`crate::Payload::Noop`].
    pub const NOOP: u8 = 1;
    /// [`crate::Payload::Membership`].
    pub const MEMBERSHIP: u8 = 2;
    /// [`crate::Payload::Data`].
    pub const DATA: u8 = 3;
}

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
    /// A length or number above its limit.
    #[error("{found} exceeds the limit of a {what}")]
    TooLarge {
        /// What it should have been.
        what: &'static str,
        /// The number found.
        found: u64,
    },
    /// Bytes are left over.
    #[error("{count} bytes follow the message")]
    Trailing {
        /// How many.
        count: usize,
    },
}

/// Appends a message's bytes.
///
/// # Panics
///
/// When a payload is larger than [`crate::limits::ENTRY_BYTES_LIMIT`], which no valid
/// configuration allows.
pub fn encode(message: &Message, buffer: &mut BytesMut) {
    let lease = lease_words(message);
    let without = lease == [0, 0];
    buffer.put_u8(if without { VERSION } else { VERSION_LEASES });
    buffer.put_u8(kind_of(message));
    buffer.put_u64_le(message.term().get());
    if !without {
        lease.iter().for_each(|&word| buffer.put_u64_le(word));
    }
    match message {
        Message::RequestPreVote(request) => {
            put_position(buffer, request.last_index, request.last_term);
        }
        Message::RequestPreVoteReply(reply) => buffer.put_u8(reply.granted.into()),
        Message::RequestVote(request) => {
            put_position(buffer, request.last_index, request.last_term);
            let ticket = request.transfer;
            buffer.put_u8(ticket.map_or(0, |ticket| if ticket.void { 2 } else { 1 }));
            if let Some(ticket) = request.transfer {
                buffer.put_u64_le(ticket.term.get());
                buffer.put_u32_le(ticket.number);
            }
        }
        Message::RequestVoteReply(reply) => buffer.put_u8(reply.granted.into()),
        Message::AppendEntries(append) => encode_append(append, buffer),
        Message::AppendEntriesReply(reply) => encode_append_reply(reply, buffer),
        Message::InstallSnapshot(piece) => encode_piece(piece, buffer),
        Message::InstallSnapshotReply(reply) => encode_piece_reply(reply, buffer),
        Message::TimeoutNow(request) => buffer.put_u32_le(request.number),
        Message::ReadIndex(request) => buffer.put_u64_le(request.batch),
        Message::ReadIndexReply(reply) => {
            buffer.put_u64_le(reply.batch);
            buffer.put_u8(reply.index.is_some().into());
            if let Some(index) = reply.index {
                buffer.put_u64_le(index.get());
            }
        }
    }
}

/// Reads one message, which must fill `bytes`; payloads are slices of it.
///
/// # Errors
///
/// When the bytes aren't a message.
pub fn decode(bytes: &mut Bytes) -> Result<Message, DecodeError> {
    let input = &mut Input(bytes);
    let with_lease = input.version()? == VERSION_LEASES;
    let kind = input.u8()?;
    let term = input.term()?;
    let words = if with_lease {
        [input.u64()?, input.u64()?]
    } else {
        [0, 0]
    };
    let message = decode_fields(kind, term, words, input)?;
    input.finish()?;
    // One way to write each message.
    if lease_words(&message) != words || with_lease == (words == [0, 0]) {
        return Err(DecodeError::Unknown {
            what: "message with a lease",
            found: kind,
        });
    }
    Ok(message)
}

fn decode_fields(
    kind: u8,
    term: Term,
    words: [u64; 2],
    input: &mut Input<'_>,
) -> Result<Message, DecodeError> {
    let lease = LeaseGrant {
        duration: Duration::from_nanos(words[0]),
        appended_by: words[1],
    };
    Ok(match kind {
        1 => {
            let (last_index, last_term) = input.position()?;
            RequestPreVote {
                term,
                last_index,
                last_term,
            }
            .into()
        }
        2 => RequestPreVoteReply {
            term,
            granted: input.flag()?,
        }
        .into(),
        3 => decode_vote(term, words, input)?.into(),
        4 => RequestVoteReply {
            term,
            granted: input.flag()?,
            old_lease: lease.duration,
        }
        .into(),
        5 => decode_append(term, lease, input)?.into(),
        6 => decode_append_reply(term, input)?.into(),
        7 => decode_piece(term, lease, input)?.into(),
        8 => decode_piece_reply(term, input)?.into(),
        9 => TimeoutNow {
            term,
            number: input.u32()?,
            void_at: as_index(words[0])?,
        }
        .into(),
        10 => ReadIndex {
            term,
            batch: input.u64()?,
        }
        .into(),
        11 => {
            let batch = input.u64()?;
            let index = if input.flag()? {
                Some(input.index()?)
            } else {
                None
            };
            ReadIndexReply { term, batch, index }.into()
        }
        found => {
            return Err(DecodeError::Unknown {
                what: "message",
                found,
            });
        }
    })
}

fn decode_vote(
    term: Term,
    words: [u64; 2],
    input: &mut Input<'_>,
) -> Result<RequestVote, DecodeError> {
    let (last_index, last_term) = input.position()?;
    let transfer = input.ticket()?;
    Ok(RequestVote {
        term,
        last_index,
        last_term,
        transfer,
        lease: LeaseClaim {
            longest: Duration::from_nanos(words[0]),
            inherit: Duration::from_nanos(words[1]),
        },
    })
}

/// What a message says about leases; nothing is two zeros.
fn lease_words(message: &Message) -> [u64; 2] {
    let grant = |lease: &LeaseGrant| [nanos(lease.duration), lease.appended_by];
    match message {
        Message::RequestVote(request) => {
            let lease = request.lease;
            [nanos(lease.longest), nanos(lease.inherit)]
        }
        Message::RequestVoteReply(reply) => [nanos(reply.old_lease), 0],
        Message::AppendEntries(append) => grant(&append.lease),
        Message::InstallSnapshot(piece) => grant(&piece.lease),
        Message::TimeoutNow(request) => [request.void_at.get(), 0],
        _ => [0, 0],
    }
}

const fn kind_of(message: &Message) -> u8 {
    match message {
        Message::RequestPreVote(_) => 1,
        Message::RequestPreVoteReply(_) => 2,
        Message::RequestVote(_) => 3,
        Message::RequestVoteReply(_) => 4,
        Message::AppendEntries(_) => 5,
        Message::AppendEntriesReply(_) => 6,
        Message::InstallSnapshot(_) => 7,
        Message::InstallSnapshotReply(_) => 8,
        Message::TimeoutNow(_) => 9,
        Message::ReadIndex(_) => 10,
        Message::ReadIndexReply(_) => 11,
    }
}

fn encode_append(append: &AppendEntries, buffer: &mut BytesMut) {
    buffer.reserve(64 + append.entries.encoded_len());
    buffer.put_u64_le(append.session.0);
    put_position(buffer, append.prev_index, append.prev_term);
    buffer.put_u64_le(append.commit.get());
    buffer.put_u64_le(append.round.0);
    buffer.put_u32_le(append.revoked);
    buffer.put_u32_le(length(append.entries.len()));
    for entry in append.entries.iter() {
        buffer.put_u64_le(entry.term.get());
        buffer.put_u8(payload_kind(&entry.payload));
        buffer.put_u32_le(length(entry.payload.encoded_len()));
        encode_payload(&entry.payload, buffer);
    }
}

fn decode_append(
    term: Term,
    lease: LeaseGrant,
    input: &mut Input<'_>,
) -> Result<AppendEntries, DecodeError> {
    let session = Session(input.u64()?);
    let (prev_index, prev_term) = input.position()?;
    let commit = input.index()?;
    let round = Round(input.u64()?);
    let revoked = input.u32()?;
    let count = input.count("batch", ENTRY_HEADER_BYTES, usize::MAX)?;
    let mut entries = Vec::with_capacity(count);
    let mut index = prev_index;
    for _ in 0..count {
        index = index.next();
        let term = input.term()?;
        let kind = input.u8()?;
        let payload = decode_payload(kind, &mut input.byte_string()?)?;
        entries.push(Entry {
            index,
            term,
            payload,
        });
    }
    let entries = Entries::from(entries);
    Ok(AppendEntries {
        term,
        session,
        prev_index,
        prev_term,
        commit,
        round,
        revoked,
        lease,
        entries,
    })
}

fn encode_append_reply(reply: &AppendEntriesReply, buffer: &mut BytesMut) {
    buffer.put_u64_le(reply.session.0);
    buffer.put_u64_le(reply.round.0);
    put_duration(buffer, reply.promise);
    match reply.outcome {
        AppendOutcome::Accepted { matched, received } => {
            buffer.put_u8(1);
            buffer.put_u64_le(matched.get());
            buffer.put_u64_le(received.get());
        }
        AppendOutcome::Rejected {
            prev_index,
            hint_index,
            hint_term,
        } => {
            buffer.put_u8(2);
            buffer.put_u64_le(prev_index.get());
            put_position(buffer, hint_index, hint_term);
        }
    }
}

fn decode_append_reply(
    term: Term,
    input: &mut Input<'_>,
) -> Result<AppendEntriesReply, DecodeError> {
    let session = Session(input.u64()?);
    let round = Round(input.u64()?);
    let promise = Duration::from_nanos(input.u64()?);
    let outcome = match input.u8()? {
        1 => AppendOutcome::Accepted {
            matched: input.index()?,
            received: input.index()?,
        },
        2 => {
            let prev_index = input.index()?;
            let (hint_index, hint_term) = input.position()?;
            AppendOutcome::Rejected {
                prev_index,
                hint_index,
                hint_term,
            }
        }
        found => {
            return Err(DecodeError::Unknown {
                what: "append outcome",
                found,
            });
        }
    };
    Ok(AppendEntriesReply {
        term,
        session,
        round,
        promise,
        outcome,
    })
}

fn encode_piece(piece: &InstallSnapshot, buffer: &mut BytesMut) {
    buffer.reserve(128 + piece.data.len());
    buffer.put_u64_le(piece.session.0);
    buffer.put_u64_le(piece.round.0);
    buffer.put_u32_le(piece.revoked);
    put_position(buffer, piece.base.index, piece.base.term);
    buffer.put_u32_le(length(membership_len(&piece.base.membership)));
    encode_membership(&piece.base.membership, buffer);
    buffer.put_u64_le(piece.snapshot.0);
    buffer.put_u64_le(piece.offset);
    buffer.put_u32_le(piece.crc);
    buffer.put_u8(piece.done.into());
    buffer.put_u32_le(length(piece.data.len()));
    buffer.put_slice(&piece.data);
}

fn decode_piece(
    term: Term,
    lease: LeaseGrant,
    input: &mut Input<'_>,
) -> Result<InstallSnapshot, DecodeError> {
    let session = Session(input.u64()?);
    let round = Round(input.u64()?);
    let revoked = input.u32()?;
    let (index, base_term) = input.position()?;
    let membership = Arc::new(decode_membership(&mut input.byte_string()?)?);
    let base = LogBase {
        index,
        term: base_term,
        membership,
    };
    let snapshot = SnapshotId(input.u64()?);
    let offset = input.u64()?;
    let crc = input.u32()?;
    let done = input.flag()?;
    let data = input.byte_string()?;
    Ok(InstallSnapshot {
        term,
        session,
        round,
        revoked,
        lease,
        base,
        snapshot,
        offset,
        crc,
        done,
        data,
    })
}

fn encode_piece_reply(reply: &InstallSnapshotReply, buffer: &mut BytesMut) {
    buffer.put_u64_le(reply.session.0);
    buffer.put_u64_le(reply.round.0);
    put_duration(buffer, reply.promise);
    buffer.put_u64_le(reply.snapshot.0);
    match reply.outcome {
        SnapshotOutcome::Received { offset } => {
            buffer.put_u8(1);
            buffer.put_u64_le(offset);
        }
        SnapshotOutcome::Installed { index } => {
            buffer.put_u8(2);
            buffer.put_u64_le(index.get());
        }
    }
}

fn decode_piece_reply(
    term: Term,
    input: &mut Input<'_>,
) -> Result<InstallSnapshotReply, DecodeError> {
    let session = Session(input.u64()?);
    let round = Round(input.u64()?);
    let promise = Duration::from_nanos(input.u64()?);
    let snapshot = SnapshotId(input.u64()?);
    let outcome = match input.u8()? {
        1 => SnapshotOutcome::Received {
            offset: input.u64()?,
        },
        2 => SnapshotOutcome::Installed {
            index: input.index()?,
        },
        found => {
            return Err(DecodeError::Unknown {
                what: "snapshot outcome",
                found,
            });
        }
    };
    Ok(InstallSnapshotReply {
        term,
        session,
        round,
        promise,
        snapshot,
        outcome,
    })
}

/// The number that stands for a kind of payload.
#[must_use]
pub const fn payload_kind(payload: &Payload) -> u8 {
    match payload {
        Payload::Noop => payload_kind::NOOP,
        Payload::Membership(_) => payload_kind::MEMBERSHIP,
        Payload::Data(_) => payload_kind::DATA,
    }
}

/// The bytes of a payload, shared where they are bytes already.
#[must_use]
pub fn payload_bytes(payload: &Payload) -> Bytes {
    match payload {
        Payload::Noop => Bytes::new(),
        Payload::Data(data) => data.clone(),
        Payload::Membership(membership) => {
            let mut buffer = BytesMut::with_capacity(membership_len(membership));
            encode_membership(membership, &mut buffer);
            buffer.freeze()
        }
    }
}

fn encode_payload(payload: &Payload, buffer: &mut BytesMut) {
    match payload {
        Payload::Noop => {}
        Payload::Data(data) => buffer.put_slice(data),
        Payload::Membership(membership) => encode_membership(membership, buffer),
    }
}

/// Reads a payload of a known kind, which must fill `bytes`.
///
/// # Errors
///
/// When the bytes aren't such a payload.
pub fn decode_payload(kind: u8, bytes: &mut Bytes) -> Result<Payload, DecodeError> {
    match kind {
        payload_kind::NOOP if bytes.is_empty() => Ok(Payload::Noop),
        payload_kind::NOOP => Err(DecodeError::Trailing { count: bytes.len() }),
        payload_kind::MEMBERSHIP => Ok(Payload::Membership(Arc::new(decode_membership(bytes)?))),
        payload_kind::DATA => Ok(Payload::Data(bytes.split_to(bytes.len()))),
        found => Err(DecodeError::Unknown {
            what: "payload",
            found,
        }),
    }
}

pub(crate) fn membership_len(membership: &Membership) -> usize {
    let ids = membership.voters.len() + membership.outgoing.len() + membership.learners.len();
    let policy = if membership.lease == LeasePolicy::Promised {
        0
    } else {
        POLICY_BYTES
    };
    1 + 3 * 4 + 8 * ids + policy
}

/// Appends a membership's bytes, as in an entry or beside a snapshot.
pub fn encode_membership(membership: &Membership, buffer: &mut BytesMut) {
    let with_lease = membership.lease != LeasePolicy::Promised;
    buffer.put_u8(if with_lease { VERSION_LEASES } else { VERSION });
    for ids in [
        &membership.voters,
        &membership.outgoing,
        &membership.learners,
    ] {
        buffer.put_u32_le(length(ids.len()));
        for id in ids {
            buffer.put_u64_le(id.get());
        }
    }
    if with_lease {
        encode_policy(membership.lease, buffer);
    }
}

fn encode_policy(policy: LeasePolicy, buffer: &mut BytesMut) {
    let (kind, clock) = match policy {
        LeasePolicy::Promised => (0, 0),
        LeasePolicy::Off => (1, 0),
        LeasePolicy::WaitOut(_) => (2, 0),
        LeasePolicy::Log(_, LeaseClock::Drift) => (3, 0),
        LeasePolicy::Log(_, LeaseClock::Interval) => (3, 1),
    };
    let lease = policy.lease();
    buffer.put_u8(kind);
    put_duration(buffer, lease.map_or(Duration::ZERO, |lease| lease.duration));
    buffer.put_u32_le(lease.map_or(0, |lease| lease.drift_ppm));
    buffer.put_u8(clock);
}

fn decode_policy(input: &mut Input<'_>) -> Result<LeasePolicy, DecodeError> {
    let kind = input.u8()?;
    let duration = Duration::from_nanos(input.u64()?);
    let drift_ppm = input.u32()?;
    let clock = input.u8()?;
    let lease = Lease {
        duration,
        drift_ppm,
    };
    let unknown = DecodeError::Unknown {
        what: "lease policy",
        found: kind,
    };
    let policy = match (kind, clock) {
        (1, 0) if duration.is_zero() && drift_ppm == 0 => LeasePolicy::Off,
        (2, 0) => LeasePolicy::WaitOut(lease),
        (3, 0) => LeasePolicy::Log(lease, LeaseClock::Drift),
        (3, 1) => LeasePolicy::Log(lease, LeaseClock::Interval),
        _ => return Err(unknown),
    };
    policy.validate().map_err(|_| unknown)?;
    Ok(policy)
}

/// Reads a membership, which must fill `bytes`.
///
/// # Errors
///
/// When the bytes aren't a membership.
pub fn decode_membership(bytes: &mut Bytes) -> Result<Membership, DecodeError> {
    let input = &mut Input(bytes);
    let with_lease = input.version()? == VERSION_LEASES;
    let voters = input.ids()?;
    let outgoing = input.ids()?;
    let learners = input.ids()?;
    let lease = if with_lease {
        decode_policy(input)?
    } else {
        LeasePolicy::Promised
    };
    input.finish()?;
    Ok(Membership {
        voters,
        outgoing,
        learners,
        lease,
    })
}

fn put_position(buffer: &mut BytesMut, index: LogIndex, term: Term) {
    buffer.put_u64_le(index.get());
    buffer.put_u64_le(term.get());
}

fn put_duration(buffer: &mut BytesMut, span: Duration) {
    buffer.put_u64_le(nanos(span));
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

fn length(len: usize) -> u32 {
    u32::try_from(len).expect("limits.rs keeps lengths far below 32 bits")
}
