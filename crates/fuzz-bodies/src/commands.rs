//! Commands, batches of them, replies, and what commands do.

use bytes::{Bytes, BytesMut};
use kv_core::{
    AppendReturning, ApplyError, Batch, Command, Condition, Deadline, ExpireCondition, Expiry, Put,
    Reply, ReplyError, Returning, StateMachine, begin_payload, decode_replies, encode_replies,
};

use crate::table::MapTable;

/// A forwarded batch: whatever reads writes as the same bytes, command by command too.
pub(crate) fn run_commands(bytes: &[u8]) {
    let mut rest = bytes;
    if let Ok(command) = Command::decode(&mut rest) {
        let mut written = BytesMut::new();
        command.encode(&mut written);
        let mut again: &[u8] = &written;
        assert_eq!(
            Command::decode(&mut again).as_ref(),
            Ok(&command),
            "a command changed"
        );
        assert!(again.is_empty(), "a command wrote more than it reads");
    }
    if let Ok(batch) = Batch::decode(Bytes::copy_from_slice(bytes)) {
        let mut written = BytesMut::new();
        batch.encode(&mut written);
        let again = Batch::decode(written.freeze());
        assert_eq!(again.as_ref(), Ok(&batch), "a batch changed on its way");
        let _replies = apply(batch.bytes(), batch.len());
    }
}

/// Forwarded replies: whatever reads writes as what reads the same.
pub(crate) fn run_replies(bytes: &[u8]) {
    if let Ok(replies) = decode_replies(Bytes::copy_from_slice(bytes)) {
        let mut written = BytesMut::new();
        encode_replies(&replies, &mut written);
        let again = decode_replies(written.freeze());
        assert_eq!(again.as_ref(), Ok(&replies), "replies changed on their way");
    }
}

/// A log entry: applied or refused, alike on every replica, and no panic.
pub(crate) fn run_apply(bytes: &[u8]) {
    let mut tables = [MapTable::default(), MapTable::default()];
    let mut outcomes = Vec::new();
    for (table, wanted) in tables.iter_mut().zip([true, false]) {
        let mut machine = StateMachine::default();
        let mut replies = Vec::new();
        let result = machine.apply_entry(table, bytes, wanted.then_some(&mut replies));
        match &result {
            Ok(()) | Err(ApplyError::Decode(_)) => outcomes.push((result.is_ok(), machine)),
            Err(ApplyError::Table(never)) => match *never {},
        }
    }
    assert_eq!(
        outcomes[0], outcomes[1],
        "a reply that nobody wants changes the outcome"
    );
    assert_eq!(tables[0], tables[1], "replicas differ");
}

/// Applies commands that were checked; there is a reply for each.
fn apply(commands: &[u8], count: usize) -> Vec<Reply> {
    let mut payload = BytesMut::new();
    begin_payload(&mut payload, 1_000);
    payload.extend_from_slice(commands);
    let mut replies = Vec::new();
    let mut table = MapTable::default();
    let applied = StateMachine::default().apply_entry(&mut table, &payload, Some(&mut replies));
    assert!(
        applied.is_ok(),
        "a batch that was checked can't be applied: {applied:?}"
    );
    assert_eq!(replies.len(), count, "every command has one reply");
    replies
}

fn commands() -> Vec<Command<'static>> {
    let mut commands = puts();
    commands.extend(changes());
    commands.extend(removals());
    commands
}

const KEY: &[u8] = b"key";

fn puts() -> Vec<Command<'static>> {
    let put = |condition, expiry, returning| {
        Command::Put(Put {
            condition,
            expiry,
            returning,
            ..Put::new(KEY, b"12")
        })
    };
    let pairs: Vec<(&[u8], &[u8])> = vec![(b"a", b"1"), (b"b", b"")];
    vec![
        Command::Put(Put::new(KEY, b"value")),
        put(Condition::IfAbsent, Expiry::Keep, Returning::Old),
        put(
            Condition::IfVersion(1),
            Expiry::Set(Deadline::After(500)),
            Returning::Version,
        ),
        put(
            Condition::IfValue(b"12"),
            Expiry::Set(Deadline::At(9_000)),
            Returning::Status,
        ),
        put(Condition::IfPresent, Expiry::Clear, Returning::Status),
        Command::MultiPut {
            pairs,
            only_if_none_exists: true,
        },
    ]
}

fn changes() -> Vec<Command<'static>> {
    let (key, deadline) = (KEY, Deadline::After(10));
    let condition = ExpireCondition::IfSooner;
    vec![
        Command::Get { key },
        Command::Append {
            key,
            value: b"34",
            returning: AppendReturning::OldValue,
        },
        Command::SetRange {
            key,
            offset: 3,
            value: b"x",
        },
        Command::Increment {
            key: b"count",
            by: -5,
        },
        Command::IncrementFloat {
            key: b"float",
            by: b"1.25",
        },
        Command::GetExpire {
            key,
            expiry: Expiry::Keep,
        },
        Command::Expire {
            key,
            deadline,
            condition,
        },
        Command::Persist { key },
    ]
}

fn removals() -> Vec<Command<'static>> {
    vec![
        Command::Rename {
            source: b"a",
            target: b"c",
            only_if_absent: false,
        },
        Command::DeleteIf {
            key: KEY,
            condition: Condition::IfValue(b"no"),
        },
        Command::Delete {
            keys: vec![b"b", b"b", b"missing"],
        },
        Command::GetDelete { key: KEY },
        Command::Tick,
        Command::Clear,
    ]
}

/// Single commands, a batch of all, and log entries.
pub(crate) fn command_samples() -> Vec<Vec<u8>> {
    let mut samples = Vec::new();
    let mut all = Batch::new();
    let mut entry = BytesMut::new();
    begin_payload(&mut entry, 5_000);
    for command in commands() {
        let mut bytes = BytesMut::new();
        command.encode(&mut bytes);
        samples.push(bytes.to_vec());
        all.push(&command);
        let mut alone = entry.clone();
        alone.extend_from_slice(&bytes);
        samples.push(alone.to_vec());
    }
    entry.extend_from_slice(all.bytes());
    samples.push(entry.to_vec());
    let mut batch = BytesMut::new();
    all.encode(&mut batch);
    samples.push(batch.to_vec());
    samples
}

/// The replies to all sample commands, and one of every kind.
pub(crate) fn reply_samples() -> Vec<Vec<u8>> {
    let mut all = Batch::new();
    commands().iter().for_each(|command| all.push(command));
    let kinds = vec![
        Reply::Ok,
        Reply::Nil,
        Reply::Integer(-1),
        Reply::Value(None),
        Reply::Value(Some(Bytes::from_static(b"value"))),
        Reply::Float(Bytes::from_static(b"1.5")),
        Reply::Version(u64::MAX),
        Reply::Error(ReplyError::NotAnInteger),
        Reply::Error(ReplyError::VersionMismatch { current: 3 }),
    ];
    let encoded = |replies: &[Reply]| {
        let mut bytes = BytesMut::new();
        encode_replies(replies, &mut bytes);
        bytes.to_vec()
    };
    vec![encoded(&apply(all.bytes(), all.len())), encoded(&kinds)]
}
