//! Bytes in and out.

use bytes::{Bytes, BytesMut};
use kv_core::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use kv_core::{
    AppendReturning, Batch, Command, Condition, Deadline, DecodeError, ExpireCondition, Expiry,
    Put, Reply, ReplyError, Returning, StateMachine, decode_replies, encode_put, encode_replies,
};
use stdx::Prng;

use crate::table::MapTable;

/// One of every kind, with every option.
fn commands() -> Vec<Command<'static>> {
    let (key, value) = (&b"key"[..], &b"value"[..]);
    let mut all = vec![
        Command::Get { key },
        Command::Put(Put::new(key, value)),
        Command::Put(Put::new(b"", b"")),
        Command::SetRange {
            key,
            offset: u64::MAX,
            value,
        },
        Command::Delete {
            keys: vec![key, b"", value],
        },
        Command::DeleteIf {
            key,
            condition: Condition::IfVersion(300),
        },
        Command::Increment { key, by: i64::MIN },
        Command::IncrementFloat { key, by: b"1.5" },
        Command::GetDelete { key },
        Command::GetExpire {
            key,
            expiry: Expiry::Set(Deadline::After(-1)),
        },
        Command::Persist { key },
        Command::MultiPut {
            pairs: vec![(key, value), (value, key)],
            only_if_none_exists: true,
        },
        Command::MultiPut {
            pairs: vec![],
            only_if_none_exists: false,
        },
        Command::Rename {
            source: key,
            target: value,
            only_if_absent: true,
        },
        Command::Clear,
        Command::Tick,
    ];
    all.extend(puts(key, value));
    for returning in [
        AppendReturning::NewLength,
        AppendReturning::OldLength,
        AppendReturning::OldValue,
    ] {
        all.push(Command::Append {
            key,
            value,
            returning,
        });
    }
    for condition in [
        ExpireCondition::Always,
        ExpireCondition::IfNone,
        ExpireCondition::IfSome,
        ExpireCondition::IfLater,
        ExpireCondition::IfSooner,
        ExpireCondition::IfSomeAndSooner,
    ] {
        all.push(Command::Expire {
            key,
            deadline: Deadline::At(-3),
            condition,
        });
    }
    all
}

/// Puts with every combination of options.
fn puts<'a>(key: &'a [u8], value: &'a [u8]) -> Vec<Command<'a>> {
    let mut all = Vec::new();
    let expiries = [
        Expiry::Keep,
        Expiry::Clear,
        Expiry::Set(Deadline::At(i64::MAX)),
        Expiry::Set(Deadline::After(5)),
    ];
    let conditions = [
        Condition::Always,
        Condition::IfAbsent,
        Condition::IfPresent,
        Condition::IfVersion(u64::MAX),
        Condition::IfValue(value),
    ];
    for expiry in expiries {
        for condition in conditions {
            for returning in [Returning::Status, Returning::Old, Returning::Version] {
                all.push(Command::Put(Put {
                    key,
                    value,
                    expiry,
                    condition,
                    returning,
                }));
            }
        }
    }
    all
}

fn replies() -> Vec<Reply> {
    let mut all = vec![
        Reply::Ok,
        Reply::Nil,
        Reply::Integer(-5),
        Reply::Value(None),
        Reply::Value(Some(Bytes::new())),
        Reply::Value(Some(Bytes::from_static(b"value"))),
        Reply::Float(Bytes::from_static(b"1.5")),
        Reply::Version(u64::MAX),
    ];
    let errors = [
        ReplyError::NotAnInteger,
        ReplyError::NotAFloat,
        ReplyError::Overflow,
        ReplyError::NotFinite,
        ReplyError::WrongType,
        ReplyError::VersionMismatch { current: 7 },
        ReplyError::ValueMismatch { current: 300 },
        ReplyError::TooLarge,
        ReplyError::NoSuchKey,
        ReplyError::InvalidExpireTime,
    ];
    all.extend(errors.map(Reply::Error));
    all
}

fn encode(command: &Command<'_>) -> BytesMut {
    let mut bytes = BytesMut::new();
    command.encode(&mut bytes);
    bytes
}

#[test]
fn commands_round_trip_and_no_part_of_one_is_one() {
    for command in commands() {
        let bytes = encode(&command);
        let mut rest = &bytes[..];
        assert_eq!(Command::decode(&mut rest).as_ref(), Ok(&command));
        assert!(rest.is_empty());
        for end in 0..bytes.len() {
            assert!(
                Command::decode(&mut &bytes[..end]).is_err(),
                "{command:?} cut at {end}"
            );
        }
    }
}

#[test]
fn replies_round_trip_and_values_are_not_copied() {
    for reply in replies() {
        let mut bytes = BytesMut::new();
        reply.encode(&mut bytes);
        let bytes = bytes.freeze();
        for end in 0..bytes.len() {
            assert!(
                Reply::decode(&mut bytes.slice(..end)).is_err(),
                "{reply:?} cut at {end}"
            );
        }
        let mut rest = bytes.clone();
        let decoded = Reply::decode(&mut rest).unwrap();
        assert_eq!(decoded, reply);
        assert!(rest.is_empty());
        if let Reply::Value(Some(value)) = decoded {
            assert!(value.is_empty() || bytes.as_ptr_range().contains(&value.as_ptr()));
        }
    }
}

/// The bytes of the formats: they are in logs and on wires.
#[test]
fn the_formats_do_not_change() {
    let mut bytes = BytesMut::new();
    encode_put(&mut bytes, b"k", b"vv");
    assert_eq!(&bytes[..], b"\x01\x01k\x02vv");
    let mut batch = Batch::new();
    batch.put(b"k", b"v");
    batch.push(&Command::Increment { key: b"n", by: 1 });
    let mut wire = BytesMut::new();
    batch.encode(&mut wire);
    let expected = b"\x01\x02\0\0\0\x01\x01k\x01v\x07\x01n\x01\0\0\0\0\0\0\0";
    assert_eq!(&wire[..], expected);
    assert_eq!(Batch::decode(wire.freeze()), Ok(batch));
    let mut wire = BytesMut::new();
    encode_replies(&[Reply::Ok, Reply::Integer(1)], &mut wire);
    assert_eq!(&wire[..], b"\x01\x02\0\0\0\x01\x03\x01\0\0\0\0\0\0\0");
    assert_eq!(
        decode_replies(wire.freeze()),
        Ok(vec![Reply::Ok, Reply::Integer(1)])
    );
}

#[test]
fn batches_from_outside_are_checked() {
    let decode = |bytes: &'static [u8]| Batch::decode(Bytes::from_static(bytes)).unwrap_err();
    assert!(matches!(decode(b"\x01\0"), DecodeError::Truncated { .. }));
    assert!(matches!(
        decode(b"\x02\0\0\0\0"),
        DecodeError::Unknown { value: 2, .. }
    ));
    assert!(matches!(
        decode(b"\x01\0\0\0\0x"),
        DecodeError::Trailing { count: 1 }
    ));
    assert!(matches!(
        decode(b"\x01\x01\0\0\0"),
        DecodeError::Truncated { .. }
    ));
    assert!(matches!(
        decode(b"\x01\xff\xff\xff\xff"),
        DecodeError::TooLong { .. }
    ));
    assert!(matches!(
        decode(b"\x01\x01\0\0\0\x63"),
        DecodeError::Unknown { value: 0x63, .. }
    ));
}

#[test]
fn lengths_beyond_their_limits_are_refused() {
    let long = vec![0; VALUE_BYTES_MAX + 1];
    for command in [
        Command::Put(Put::new(&long[..=KEY_BYTES_MAX], b"")),
        Command::Put(Put::new(b"", &long)),
        Command::Persist {
            key: &long[..=KEY_BYTES_MAX],
        },
    ] {
        let decoded = Command::decode(&mut &encode(&command)[..]).map(|_| ());
        assert!(
            matches!(decoded, Err(DecodeError::TooLong { .. })),
            "{decoded:?}"
        );
    }
    let largest = Command::Put(Put::new(&long[..KEY_BYTES_MAX], &long[..VALUE_BYTES_MAX]));
    assert_eq!(Command::decode(&mut &encode(&largest)[..]), Ok(largest));
    // A count that promises more than there is allocates nothing.
    assert!(Command::decode(&mut &b"\x05\xff\xff\x3f"[..]).is_err());
}

/// Flipped, cut and random bytes: an error or a command, never a panic; and what is
/// decoded encodes to what decodes to itself.
#[test]
fn damaged_bytes_never_panic() {
    let mut prng = Prng::from_seed(5);
    let all = commands();
    let mut batch = Batch::new();
    all.iter().for_each(|command| batch.push(command));
    let mut wire = BytesMut::new();
    batch.encode(&mut wire);
    for bit in 0..wire.len() * 8 {
        let mut damaged = wire.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        if let Ok(batch) = Batch::decode(damaged.freeze()) {
            apply_all(batch.bytes());
        }
    }
    for _ in 0..100_000 {
        let mut noise = vec![0; prng.index(40) + 1];
        prng.fill(&mut noise);
        noise[0] %= 20;
        if let Ok(command) = Command::decode(&mut &noise[..]) {
            let again = encode(&command);
            assert_eq!(Command::decode(&mut &again[..]), Ok(command));
            apply_all(&again);
        }
        let _ = Reply::decode(&mut Bytes::from(noise.clone()));
        let _ = decode_replies(Bytes::from(noise));
    }
}

/// Applies encoded commands; whatever they are, the state machine takes them.
fn apply_all(commands: &[u8]) {
    let mut payload = BytesMut::new();
    kv_core::begin_payload(&mut payload, 1_000);
    payload.extend_from_slice(commands);
    let mut table = MapTable::default();
    StateMachine::default()
        .apply_entry(&mut table, &payload, Some(&mut Vec::new()))
        .unwrap();
}
