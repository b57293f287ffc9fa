//! The wire, byte for byte, and everything that isn't it.

use bytes::Bytes;
use expect_test::expect;
use lsp_core::limits::{DATAGRAM_BYTES_MAX, ENVELOPE_BYTES_MAX, PAYLOAD_BYTES_MAX};
use lsp_core::wire::{DecodeError, decode, encode, encoded_len};
use lsp_core::{ConnId, Message, SeqNum, fuzz};
use stdx::Prng;

fn written(message: &Message) -> String {
    let mut buffer = Vec::new();
    encode(message, &mut buffer);
    assert_eq!(buffer.len(), encoded_len(message), "{message:?}");
    String::from_utf8(buffer).expect("JSON is text")
}

fn data(id: u64, seq: u64, payload: &[u8]) -> Message {
    Message::Data {
        id: ConnId::new(id),
        seq: SeqNum::new(seq),
        payload: Bytes::copy_from_slice(payload),
    }
}

fn ack(id: u64, seq: u64) -> Message {
    Message::Ack {
        id: ConnId::new(id),
        seq: SeqNum::new(seq),
    }
}

fn random(prng: &mut Prng) -> Message {
    let id = ConnId::new(prng.next_u64() >> prng.range(1..64));
    let seq = SeqNum::new(prng.next_u64() >> prng.range(1..64));
    match prng.below(4) {
        0 => Message::Connect {
            isn: seq,
            offer: Bytes::new(),
        },
        1 => {
            let mut payload = vec![0; prng.index(PAYLOAD_BYTES_MAX + 1)];
            prng.fill(&mut payload);
            Message::Data {
                id,
                seq,
                payload: payload.into(),
            }
        }
        2 => Message::Ack { id, seq },
        _ => Message::CAck { id, seq },
    }
}

// spec: LSP-2.1
#[test]
fn messages_are_written_as_go_writes_them() {
    let isn = SeqNum::new(7);
    let connect = Message::Connect {
        isn,
        offer: Bytes::new(),
    };
    let cack = Message::CAck {
        id: ConnId::new(2),
        seq: SeqNum::new(9),
    };
    let page: Vec<String> = [
        connect,
        data(1, 1, b"hello"),
        data(1, 2, b"<a&b>+/\xff\xfe"),
        data(1, 3, b""),
        ack(1, 7),
        Message::heartbeat(ConnId::new(3)),
        cack,
    ]
    .iter()
    .map(written)
    .collect();
    expect![[r#"
        {"Type":0,"ConnID":0,"SeqNum":7,"Size":0,"Checksum":0,"Payload":null}
        {"Type":1,"ConnID":1,"SeqNum":1,"Size":5,"Checksum":11701,"Payload":"aGVsbG8="}
        {"Type":1,"ConnID":1,"SeqNum":2,"Size":9,"Checksum":4389,"Payload":"PGEmYj4rL//+"}
        {"Type":1,"ConnID":1,"SeqNum":3,"Size":0,"Checksum":65531,"Payload":""}
        {"Type":2,"ConnID":1,"SeqNum":7,"Size":0,"Checksum":0,"Payload":null}
        {"Type":2,"ConnID":3,"SeqNum":0,"Size":0,"Checksum":0,"Payload":null}
        {"Type":3,"ConnID":2,"SeqNum":9,"Size":0,"Checksum":0,"Payload":null}"#]]
    .assert_eq(&page.join("\n"));
}

// spec: LSP-2.2
#[test]
fn a_reader_is_lenient_about_form() {
    let expected = Ok(data(1, 1, b"hello"));
    for text in [
        r#"{"Type":1,"ConnID":1,"SeqNum":1,"Size":5,"Checksum":11701,"Payload":"aGVsbG8="}"#,
        r#" { "Payload" : "aGVsbG8=", "Checksum":11701, "Size":5, "SeqNum":1, "ConnID":1, "Type":1 } "#,
        r#"{"Type":1,"ConnID":1,"SeqNum":1,"Size":5,"Checksum":11701,"Payload":"aGVsbG8=","More":[{}]}"#,
        r#"{"Type":1,"ConnID":1,"SeqNum":1,"Size":5,"Checksum":11701,"Payload":"aGVs\u0062G8="}"#,
    ] {
        assert_eq!(decode(text.as_bytes()), expected, "{text}");
    }
    assert_eq!(decode(br#"{"Type":2,"ConnID":4}"#), Ok(ack(4, 0)));
    let empty = decode(br#"{"Type":1,"ConnID":1,"SeqNum":3,"Checksum":65531,"Payload":null}"#);
    assert_eq!(empty, Ok(data(1, 3, b"")));
}

// spec: LSP-2.2
#[test]
fn what_is_no_message_is_refused() {
    for text in [
        "",
        "null",
        "[]",
        "{",
        "{}x",
        r#"{"Type":"1"}"#,
        r#"{"Type":1.5}"#,
        r#"{"Type":1,"Checksum":65536}"#,
        r#"{"Type":1,"Checksum":-1}"#,
        r#"{"Type":1,"SeqNum":9223372036854775808}"#,
        r#"{"Type":1,"Payload":"a"}"#,
        r#"{"Type":1,"Payload":"aGVsbG8"}"#,
        r#"{"Type":1,"Payload":7}"#,
        "\u{0}\u{1}\u{2}",
    ] {
        assert_eq!(decode(text.as_bytes()), Err(DecodeError::NotJson), "{text}");
    }
    assert_eq!(
        decode(br#"{"Type":4}"#),
        Err(DecodeError::UnknownType { kind: 4 })
    );
    assert_eq!(
        decode(br#"{"Type":-1}"#),
        Err(DecodeError::UnknownType { kind: -1 })
    );
    assert_eq!(
        decode(br#"{"Type":0,"SeqNum":-1}"#),
        Err(DecodeError::Negative)
    );
    assert_eq!(
        decode(br#"{"Type":2,"ConnID":-1}"#),
        Err(DecodeError::Negative)
    );
    assert_eq!(
        decode(br#"{"Type":1,"Size":-1}"#),
        Err(DecodeError::Negative)
    );
    let bytes = DATAGRAM_BYTES_MAX + 1;
    assert_eq!(
        decode(&vec![b' '; bytes]),
        Err(DecodeError::TooLong { bytes })
    );
}

// spec: LSP-2.3 LSP-2.5
#[test]
fn size_cuts_and_the_checksum_guards() {
    let longer =
        r#"{"Type":1,"ConnID":1,"SeqNum":1,"Size":5,"Checksum":11701,"Payload":"aGVsbG8hIQ=="}"#;
    assert_eq!(decode(longer.as_bytes()), Ok(data(1, 1, b"hello")));
    let shorter = longer.replace("aGVsbG8hIQ==", "aGVs");
    assert_eq!(
        decode(shorter.as_bytes()),
        Err(DecodeError::ShortPayload { bytes: 3, size: 5 })
    );
    let changed = longer.replace("aGVsbG8hIQ==", "aGVsbG4=");
    assert!(matches!(
        decode(changed.as_bytes()),
        Err(DecodeError::Checksum { .. })
    ));
    let renumbered = longer.replace(r#""SeqNum":1"#, r#""SeqNum":2"#);
    assert!(matches!(
        decode(renumbered.as_bytes()),
        Err(DecodeError::Checksum { .. })
    ));
}

#[test]
fn what_is_written_reads_the_same() {
    let mut prng = Prng::from_seed(10);
    for _ in 0..5_000 {
        let message = random(&mut prng);
        let text = written(&message);
        assert_eq!(decode(text.as_bytes()), Ok(message));
        // And it is the JSON that serde would write, given the same fields.
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value.as_object().unwrap().len(), 6);
    }
}

#[test]
fn the_longest_message_fits_the_longest_datagram() {
    let text = written(&data(
        i64::MAX as u64,
        i64::MAX as u64,
        &[0xff; PAYLOAD_BYTES_MAX],
    ));
    assert!(text.len() <= DATAGRAM_BYTES_MAX);
    assert!(text.len() - PAYLOAD_BYTES_MAX.div_ceil(3) * 4 <= ENVELOPE_BYTES_MAX);
    // The thousand bytes of the original make one Ethernet frame.
    assert!(written(&data(9_999_999, 9_999_999_999, &[0xff; 1_000])).len() <= 1_472);
}

// spec: LSP-2.2 LSP-2.5
#[test]
fn no_truncation_and_no_bit_flip_panics_or_passes_as_other_data() {
    let mut prng = Prng::from_seed(11);
    for _ in 0..200 {
        let message = random(&mut prng);
        let text = written(&message).into_bytes();
        for length in 0..text.len() {
            assert!(decode(&text[..length]).is_err(), "cut to {length} bytes");
        }
        for _ in 0..400 {
            let mut damaged = text.clone();
            let at = prng.index(damaged.len());
            damaged[at] ^= 1 << prng.below(8);
            if let (
                Ok(Message::Data { payload, .. }),
                Message::Data {
                    payload: original, ..
                },
            ) = (decode(&damaged), &message)
            {
                assert_eq!(payload, original, "a single flip passed the checksum");
            }
        }
    }
}

#[test]
fn random_bytes_and_random_json_never_panic() {
    let mut prng = Prng::from_seed(12);
    for round in 0..20_000 {
        let mut bytes = vec![0; prng.index(300)];
        prng.fill(&mut bytes);
        if round % 2 == 0 {
            let message = random(&mut prng);
            let mut text = written(&message).into_bytes();
            for _ in 0..prng.below(4) {
                let at = prng.index(text.len());
                text[at] = *prng
                    .choose(b"{}[]\",:0123456789-+eE.\\null/=A\x00\xff")
                    .unwrap();
            }
            bytes = text;
        }
        fuzz::codec(&bytes);
    }
}

#[test]
fn an_endpoint_survives_random_datagrams() {
    let mut prng = Prng::from_seed(13);
    for _ in 0..2_000 {
        let mut bytes = vec![0; prng.index(600)];
        prng.fill(&mut bytes);
        fuzz::endpoint(&bytes);
    }
}
