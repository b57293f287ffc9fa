//! Replies in both versions, and reading them back.

use bytes::{Bytes, BytesMut};
use resp::{Encoder, Protocol, Value, ValueDecoder, ValueError};

fn write(protocol: Protocol, body: impl Fn(&mut Encoder<'_>)) -> String {
    let mut out = BytesMut::new();
    body(&mut Encoder::new(&mut out, protocol));
    out.escape_ascii().to_string()
}

fn check(body: impl Fn(&mut Encoder<'_>), resp2: &str, resp3: &str) {
    assert_eq!(write(Protocol::Resp2, &body), resp2);
    assert_eq!(write(Protocol::Resp3, &body), resp3);
}

#[test]
fn both_versions_are_written_as_redis_does() {
    check(
        |e| {
            e.ok();
        },
        r"+OK\r\n",
        r"+OK\r\n",
    );
    check(
        |e| e.error("ERR a\r\nb"),
        r"-ERR a  b\r\n",
        r"-ERR a  b\r\n",
    );
    check(
        |e| e.integer(i64::MIN),
        r":-9223372036854775808\r\n",
        r":-9223372036854775808\r\n",
    );
    check(|e| e.count(0), r":0\r\n", r":0\r\n");
    check(|e| e.bulk(b"a\r\n"), r"$3\r\na\r\n\r\n", r"$3\r\na\r\n\r\n");
    check(|e| e.bulk(b""), r"$0\r\n\r\n", r"$0\r\n\r\n");
    check(
        |e| {
            e.null();
        },
        r"$-1\r\n",
        r"_\r\n",
    );
    check(
        |e| {
            e.null_array();
        },
        r"*-1\r\n",
        r"_\r\n",
    );
    check(|e| e.map(2), r"*4\r\n", r"%2\r\n");
    check(|e| e.set(2), r"*2\r\n", r"~2\r\n");
    check(|e| e.push(2), r"*2\r\n", r">2\r\n");
    check(|e| e.boolean(true), r":1\r\n", r"#t\r\n");
    check(|e| e.big_number("123"), r"$3\r\n123\r\n", r"(123\r\n");
    check(
        |e| e.verbatim(*b"txt", b"hi"),
        r"$2\r\nhi\r\n",
        r"=6\r\ntxt:hi\r\n",
    );
}

#[test]
fn doubles_are_short_and_exact() {
    for (number, text) in [
        (0.0, "0"),
        (3.0, "3"),
        (-1.5, "-1.5"),
        (0.1, "0.1"),
        (1e16, "10000000000000000"),
        (1e20, "1e+20"),
        (1e-7, "1e-7"),
        (f64::INFINITY, "inf"),
        (f64::NEG_INFINITY, "-inf"),
        (f64::NAN, "nan"),
    ] {
        assert_eq!(
            write(Protocol::Resp3, |e| e.double(number)),
            format!(r",{text}\r\n")
        );
    }
}

/// A value of every type, nested.
fn sample() -> Value {
    let bulk = |text: &'static str| Value::Bulk(Bytes::from_static(text.as_bytes()));
    Value::Map(vec![
        (
            bulk("array"),
            Value::Array(vec![Value::Integer(-7), Value::Null]),
        ),
        (
            Value::Simple(Bytes::from_static(b"set")),
            Value::Set(vec![bulk("")]),
        ),
        (Value::Boolean(false), Value::Double(2.5)),
        (
            Value::BigNumber(Bytes::from_static(b"123456789012345678901234567890")),
            Value::Push(vec![Value::Error(Bytes::from_static(b"ERR no"))]),
        ),
        (
            Value::Verbatim {
                format: *b"txt",
                text: Bytes::from_static(b"a\r\nb"),
            },
            Value::Array(vec![]),
        ),
    ])
}

#[test]
fn values_survive_a_round_trip_in_pieces() {
    let mut out = BytesMut::new();
    Encoder::new(&mut out, Protocol::Resp3).value(&sample());
    for step in 1..=out.len() {
        let mut decoder = ValueDecoder::new();
        let mut input = BytesMut::new();
        let mut found = None;
        for piece in out.chunks(step) {
            assert!(found.is_none(), "complete before its end");
            input.extend_from_slice(piece);
            found = decoder.decode(&mut input).unwrap();
        }
        assert_eq!(found, Some(sample()));
        assert!(input.is_empty());
    }
}

#[test]
fn an_attribute_is_not_the_reply() {
    let mut input =
        BytesMut::from("|1\r\n+ttl\r\n:9\r\n*2\r\n|1\r\n+a\r\n|0\r\n:1\r\n:2\r\n:3\r\n");
    let value = ValueDecoder::new().decode(&mut input).unwrap();
    assert_eq!(
        value,
        Some(Value::Array(vec![Value::Integer(2), Value::Integer(3)]))
    );
}

#[test]
fn malformed_replies_are_errors() {
    for (input, expected) in [
        ("!x\r\n", ValueError::UnknownType(b'!')),
        (":x\r\n", ValueError::Malformed("integer")),
        ("$x\r\n", ValueError::Malformed("length")),
        ("$1\r\nabc", ValueError::Malformed("string end")),
        ("*99999999999\r\n", ValueError::TooLarge("elements")),
        ("$99999999999\r\n", ValueError::TooLarge("bytes")),
        ("=2\r\nab\r\n", ValueError::Malformed("verbatim string")),
        ("#x\r\n", ValueError::Malformed("null or boolean")),
        (",x\r\n", ValueError::Malformed("double")),
    ] {
        let found = ValueDecoder::new().decode(&mut BytesMut::from(input));
        assert_eq!(found, Err(expected), "{input:?}");
    }
    let deep = "*1\r\n".repeat(33);
    let found = ValueDecoder::new().decode(&mut BytesMut::from(deep.as_str()));
    assert_eq!(found, Err(ValueError::TooLarge("depth")));
}
