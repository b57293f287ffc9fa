//! The wire format: what is written is read, what is damaged is refused, and the bytes of
//! today are the bytes of tomorrow.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use expect_test::expect;
use raft::wire::{DecodeError, decode, decode_membership, encode, encode_membership};
use raft::{
    AppendEntries, AppendEntriesReply, AppendOutcome, Entry, InstallSnapshot, InstallSnapshotReply,
    LogBase, Membership, Message, Payload, ReadIndex, ReadIndexReply, RequestPreVote,
    RequestPreVoteReply, RequestVote, RequestVoteReply, Round, Session, SnapshotId,
    SnapshotOutcome, TimeoutNow, TransferTicket,
};
use stdx::{LogIndex, NodeId, Prng, Term};

fn bytes_of(message: &Message) -> Bytes {
    let mut buffer = BytesMut::new();
    encode(message, &mut buffer);
    buffer.freeze()
}

fn ids(ids: &[u64]) -> BTreeSet<NodeId> {
    ids.iter().copied().map(NodeId::new).collect()
}

const TERM: Term = Term::new(3);
const LAST: (LogIndex, Term) = (LogIndex::new(7), Term::new(2));
const PROMISE: Duration = Duration::from_millis(1_000);

fn membership() -> Arc<Membership> {
    Arc::new(Membership {
        voters: ids(&[1, 2, 4]),
        outgoing: ids(&[1, 2, 3]),
        learners: ids(&[9]),
        ..Membership::default()
    })
}

fn samples() -> Vec<Message> {
    let (term, (last_index, last_term)) = (TERM, LAST);
    let transfer = Some(TransferTicket {
        term: last_term,
        number: 2,
        void: false,
    });
    let mut samples = vec![
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
            transfer: None,
            lease: raft::LeaseClaim::default(),
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
    ];
    samples.extend(append_samples());
    samples.extend(snapshot_samples());
    samples.extend([
        TimeoutNow {
            term,
            number: 2,
            void_at: LogIndex::ZERO,
        }
        .into(),
        ReadIndex { term, batch: 99 }.into(),
        ReadIndexReply {
            term,
            batch: 99,
            index: Some(last_index),
        }
        .into(),
        ReadIndexReply {
            term,
            batch: 99,
            index: None,
        }
        .into(),
    ]);
    samples
}

fn append_samples() -> [Message; 4] {
    let payloads = [
        Payload::Noop,
        Payload::Data(Bytes::from_static(b"SET x 1")),
        Payload::Membership(membership()),
        Payload::Data(Bytes::new()),
    ];
    let entries = payloads.into_iter().enumerate().map(|(at, payload)| Entry {
        index: LogIndex::new(8 + at as u64),
        term: TERM,
        payload,
    });
    let append = AppendEntries {
        term: TERM,
        session: Session(5),
        prev_index: LAST.0,
        prev_term: LAST.1,
        commit: LogIndex::new(6),
        round: Round(6),
        revoked: 1,
        lease: raft::LeaseGrant::default(),
        entries: entries.collect(),
    };
    let heartbeat = AppendEntries {
        entries: Vec::new().into(),
        ..append.clone()
    };
    let accepted = AppendEntriesReply {
        term: TERM,
        session: Session(5),
        round: Round(6),
        promise: PROMISE,
        outcome: AppendOutcome::Accepted {
            matched: LAST.0,
            received: LogIndex::new(9),
        },
    };
    let (hint_index, hint_term) = (LogIndex::new(4), Term::new(1));
    let outcome = AppendOutcome::Rejected {
        prev_index: LAST.0,
        hint_index,
        hint_term,
    };
    let rejected = AppendEntriesReply {
        outcome,
        ..accepted
    };
    [
        append.into(),
        heartbeat.into(),
        accepted.into(),
        rejected.into(),
    ]
}

fn snapshot_samples() -> [Message; 3] {
    let piece = InstallSnapshot {
        term: TERM,
        session: Session(5),
        round: Round(6),
        revoked: 0,
        lease: raft::LeaseGrant::default(),
        base: LogBase {
            index: LAST.0,
            term: LAST.1,
            membership: membership(),
        },
        snapshot: SnapshotId(77),
        offset: 1_024,
        crc: 0x1234_5678,
        done: true,
        data: Bytes::from_static(b"state"),
    };
    let received = InstallSnapshotReply {
        term: TERM,
        session: Session(5),
        round: Round(6),
        promise: PROMISE,
        snapshot: SnapshotId(77),
        outcome: SnapshotOutcome::Received { offset: 1_029 },
    };
    let outcome = SnapshotOutcome::Installed { index: LAST.0 };
    [
        piece.into(),
        received.into(),
        InstallSnapshotReply {
            outcome,
            ..received
        }
        .into(),
    ]
}

#[test]
fn every_message_survives_the_round_trip() {
    for message in samples() {
        assert_eq!(decode(&mut bytes_of(&message)), Ok(message));
    }
}

#[test]
fn payloads_are_slices_of_the_input() {
    let samples = samples();
    let append = samples
        .iter()
        .find(|message| matches!(message, Message::AppendEntries(_)));
    let bytes = bytes_of(append.unwrap());
    let Ok(Message::AppendEntries(decoded)) = decode(&mut bytes.clone()) else {
        panic!("an append")
    };
    let Payload::Data(data) = &decoded.entries[1].payload else {
        panic!("data")
    };
    assert!(bytes.as_ptr_range().contains(&data.as_ptr()));
}

#[test]
fn every_truncation_is_refused() {
    for message in samples() {
        let bytes = bytes_of(&message);
        for len in 0..bytes.len() {
            let error = decode(&mut bytes.slice(..len));
            assert!(error.is_err(), "{message:?} cut at {len}");
        }
        let mut longer = bytes.to_vec();
        longer.push(0);
        let error = decode(&mut Bytes::from(longer));
        assert_eq!(
            error,
            Err(DecodeError::Trailing { count: 1 }),
            "{message:?}"
        );
    }
}

#[test]
fn no_bit_flip_panics_and_what_decodes_encodes_the_same() {
    for message in samples() {
        let bytes = bytes_of(&message);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let flipped = Bytes::from(flipped);
            if let Ok(other) = decode(&mut flipped.clone()) {
                assert_eq!(bytes_of(&other), flipped, "one way to write each message");
                assert_ne!(other, message);
            }
        }
    }
}

#[test]
fn random_bytes_never_panic() {
    let mut prng = Prng::from_seed(3);
    let samples: Vec<Bytes> = samples().iter().map(bytes_of).collect();
    for _ in 0..50_000 {
        let mut bytes = prng.choose(&samples).unwrap().to_vec();
        for _ in 0..=prng.below(4) {
            let at = prng.index(bytes.len());
            bytes[at] = u8::try_from(prng.below(256)).unwrap();
        }
        bytes.truncate(1 + prng.index(bytes.len()));
        let _error_or_not = decode(&mut Bytes::from(bytes));
    }
}

#[test]
fn memberships_are_written_in_one_way() {
    let membership = Membership {
        voters: ids(&[3, 1]),
        ..Membership::default()
    };
    let mut buffer = BytesMut::new();
    encode_membership(&membership, &mut buffer);
    let bytes = buffer.freeze();
    assert_eq!(decode_membership(&mut bytes.clone()), Ok(membership));
    // Ids out of order, twice, or zero.
    for (first, second) in [(3_u64, 1_u64), (1, 1), (0, 1)] {
        let mut wrong = bytes.to_vec();
        wrong[5..13].copy_from_slice(&first.to_le_bytes());
        wrong[13..21].copy_from_slice(&second.to_le_bytes());
        assert!(decode_membership(&mut Bytes::from(wrong)).is_err());
    }
}

#[test]
fn the_bytes_never_change() {
    let mut golden = String::new();
    for message in samples() {
        let kind = format!("{message:?}");
        let kind = kind.split(['(', ' ']).next().unwrap();
        let hex = bytes_of(&message)
            .iter()
            .fold(String::new(), |mut hex, byte| {
                write!(hex, "{byte:02x}").unwrap();
                hex
            });
        writeln!(golden, "{kind} {hex}").unwrap();
    }
    expect![[r#"
        RequestPreVote 0101030000000000000007000000000000000200000000000000
        RequestPreVoteReply 0102030000000000000001
        RequestVote 010303000000000000000700000000000000020000000000000000
        RequestVote 010303000000000000000700000000000000020000000000000001020000000000000002000000
        RequestVoteReply 0104030000000000000000
        AppendEntries 010503000000000000000500000000000000070000000000000002000000000000000600000000000000060000000000000001000000040000000300000000000000010000000003000000000000000307000000534554207820310300000000000000024500000001030000000100000000000000020000000000000004000000000000000300000001000000000000000200000000000000030000000000000001000000090000000000000003000000000000000300000000
        AppendEntries 01050300000000000000050000000000000007000000000000000200000000000000060000000000000006000000000000000100000000000000
        AppendEntriesReply 010603000000000000000500000000000000060000000000000000ca9a3b000000000107000000000000000900000000000000
        AppendEntriesReply 010603000000000000000500000000000000060000000000000000ca9a3b0000000002070000000000000004000000000000000100000000000000
        InstallSnapshot 01070300000000000000050000000000000006000000000000000000000007000000000000000200000000000000450000000103000000010000000000000002000000000000000400000000000000030000000100000000000000020000000000000003000000000000000100000009000000000000004d0000000000000000040000000000007856341201050000007374617465
        InstallSnapshotReply 010803000000000000000500000000000000060000000000000000ca9a3b000000004d00000000000000010504000000000000
        InstallSnapshotReply 010803000000000000000500000000000000060000000000000000ca9a3b000000004d00000000000000020700000000000000
        TimeoutNow 0109030000000000000002000000
        ReadIndex 010a03000000000000006300000000000000
        ReadIndexReply 010b03000000000000006300000000000000010700000000000000
        ReadIndexReply 010b0300000000000000630000000000000000
    "#]].assert_eq(&golden);
}
