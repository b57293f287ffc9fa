//! Messages between members of a Raft group.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use raft::{
    AppendEntries, AppendEntriesReply, AppendOutcome, Entry, InstallSnapshot, InstallSnapshotReply,
    LogBase, Membership, Message, Payload, ReadIndex, ReadIndexReply, RequestPreVote,
    RequestPreVoteReply, RequestVote, RequestVoteReply, Round, Session, SnapshotId,
    SnapshotOutcome, TimeoutNow, TransferTicket, wire,
};
use stdx::{LogIndex, NodeId, Term};

/// A message, or the payload of an entry: whatever reads writes as what reads the same.
pub(crate) fn run(bytes: &[u8]) {
    if let Ok(message) = wire::decode(&mut Bytes::copy_from_slice(bytes)) {
        let mut written = BytesMut::new();
        wire::encode(&message, &mut written);
        let again = wire::decode(&mut written.freeze());
        assert_eq!(again.as_ref(), Ok(&message), "a message changed on its way");
    }
    let Some((&kind, payload)) = bytes.split_first() else {
        return;
    };
    if let Ok(payload) = wire::decode_payload(kind, &mut Bytes::copy_from_slice(payload)) {
        let again = wire::decode_payload(kind, &mut wire::payload_bytes(&payload));
        assert_eq!(again.as_ref(), Ok(&payload), "a payload changed on its way");
    }
}

/// One message of every kind, and a membership.
pub(crate) fn samples() -> Vec<Vec<u8>> {
    let mut messages = votes();
    messages.extend(replication());
    messages.extend(snapshots());
    let mut samples: Vec<Vec<u8>> = messages.iter().map(encoded).collect();
    let mut payload = BytesMut::from(&[0][..]);
    wire::encode_membership(&membership(), &mut payload);
    for kind in 1..4 {
        payload[0] = kind;
        samples.push(payload.to_vec());
    }
    samples
}

const TERM: Term = Term::new(7);
const LAST_TERM: Term = Term::new(6);
const INDEX: LogIndex = LogIndex::new(41);
const SESSION: Session = Session(4);
const ROUND: Round = Round(9);
const PROMISE: Duration = Duration::from_millis(700);

fn votes() -> Vec<Message> {
    let (term, last_index, last_term) = (TERM, INDEX, LAST_TERM);
    let transfer = Some(TransferTicket {
        term: last_term,
        number: 2,
        void: false,
    });
    vec![
        RequestPreVote {
            term,
            last_index,
            last_term,
        }
        .into(),
        RequestPreVoteReply {
            term,
            granted: true,
        }
        .into(),
        RequestVote {
            term,
            last_index,
            last_term,
            transfer,
            lease: raft::LeaseClaim::default(),
        }
        .into(),
        RequestVoteReply {
            term,
            granted: false,
            old_lease: Duration::ZERO,
        }
        .into(),
        TimeoutNow {
            term,
            number: 2,
            void_at: LogIndex::ZERO,
        }
        .into(),
        ReadIndex { term, batch: 5 }.into(),
        ReadIndexReply {
            term,
            batch: 5,
            index: Some(INDEX),
        }
        .into(),
    ]
}

fn replication() -> Vec<Message> {
    let accepted = AppendOutcome::Accepted {
        matched: INDEX,
        received: INDEX.next(),
    };
    let rejected = AppendOutcome::Rejected {
        prev_index: INDEX,
        hint_index: INDEX,
        hint_term: LAST_TERM,
    };
    let reply = |outcome| AppendEntriesReply {
        term: TERM,
        session: SESSION,
        round: ROUND,
        promise: PROMISE,
        outcome,
    };
    vec![
        append(&[]).into(),
        append(&entries()).into(),
        reply(accepted).into(),
        reply(rejected).into(),
    ]
}

fn snapshots() -> Vec<Message> {
    let reply = |outcome| InstallSnapshotReply {
        term: TERM,
        session: SESSION,
        round: ROUND,
        promise: PROMISE,
        snapshot: SnapshotId(3),
        outcome,
    };
    vec![
        piece().into(),
        reply(SnapshotOutcome::Received { offset: 99 }).into(),
        reply(SnapshotOutcome::Installed { index: INDEX }).into(),
    ]
}

fn encoded(message: &Message) -> Vec<u8> {
    let mut buffer = BytesMut::new();
    wire::encode(message, &mut buffer);
    buffer.to_vec()
}

fn membership() -> Membership {
    let mut membership = Membership::of_voters([1, 2, 3].map(NodeId::new));
    membership.outgoing.insert(NodeId::new(4));
    membership.learners.insert(NodeId::new(5));
    membership
}

fn entries() -> Vec<Entry> {
    let payloads = [
        Payload::Noop,
        Payload::Data(Bytes::from_static(b"data")),
        Payload::Membership(Arc::new(membership())),
        Payload::Data(Bytes::new()),
    ];
    let entries = payloads
        .into_iter()
        .zip(42..)
        .map(|(payload, index)| Entry {
            index: LogIndex::new(index),
            term: TERM,
            payload,
        });
    entries.collect()
}

fn append(entries: &[Entry]) -> AppendEntries {
    AppendEntries {
        term: TERM,
        session: SESSION,
        prev_index: INDEX,
        prev_term: LAST_TERM,
        commit: LogIndex::new(40),
        round: ROUND,
        revoked: 0,
        lease: raft::LeaseGrant::default(),
        entries: entries.to_vec().into(),
    }
}

fn piece() -> InstallSnapshot {
    InstallSnapshot {
        term: TERM,
        session: SESSION,
        round: ROUND,
        revoked: 1,
        lease: raft::LeaseGrant::default(),
        base: LogBase {
            index: LogIndex::new(1_000),
            term: TERM,
            membership: Arc::new(membership()),
        },
        snapshot: SnapshotId(3),
        offset: 99,
        crc: 0x1234_5678,
        done: true,
        data: Bytes::from_static(b"a piece"),
    }
}
