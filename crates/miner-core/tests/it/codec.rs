//! The messages, byte for byte.

use miner_core::{Message, Progress, RequestExtension, Takes};
use miner_kernels::{Best, Problem};

#[test]
fn originals_are_read_and_written_as_they_are() {
    let join = br#"{"Type":0,"Data":"","Lower":0,"Upper":0,"Hash":0,"Nonce":0}"#;
    let message = Message::decode(join).unwrap();
    let original = Message::Join {
        speed: None,
        takes: Takes::Messages,
    };
    assert_eq!(message, original);
    assert_eq!(message.encode(), join);

    let request = br#"{"Type":1,"Data":"msg","Lower":0,"Upper":9999,"Hash":0,"Nonce":0}"#;
    let message = Message::decode(request).unwrap();
    let expected = Message::Request {
        data: "msg".to_owned(),
        lower: 0,
        upper: 9_999,
        extension: RequestExtension::None,
    };
    assert_eq!(message, expected);
    assert_eq!(message.encode(), request);

    let result =
        br#"{"Type":2,"Data":"","Lower":0,"Upper":0,"Hash":18446744073709551615,"Nonce":7}"#;
    let message = Message::decode(result).unwrap();
    let best = Best {
        hash: u64::MAX,
        nonce: 7,
    };
    assert_eq!(message, Message::Result { best, range: None });
    assert_eq!(message.encode(), result);
}

#[test]
fn ours_survive_the_way() {
    let best = Best {
        hash: 5,
        nonce: u64::MAX,
    };
    let request = |extension| Message::Request {
        data: "a \"message\" with \u{fc}".to_owned(),
        lower: 3,
        upper: u64::MAX,
        extension,
    };
    let messages = [
        Message::Join {
            speed: Some(6.25e7),
            takes: Takes::Messages,
        },
        Message::Join {
            speed: Some(6.25e7),
            takes: Takes::Headers,
        },
        request(RequestExtension::Worker {
            range: 1 << 63,
            problem: Problem::Cmu,
        }),
        request(RequestExtension::Worker {
            range: 5,
            problem: Problem::Bitcoin,
        }),
        request(RequestExtension::Client {
            key: None,
            progress: Progress::Wanted,
            problem: Problem::Bitcoin,
        }),
        request(RequestExtension::Client {
            key: Some("k".to_owned()),
            progress: Progress::Unwanted,
            problem: Problem::Cmu,
        }),
        Message::Result {
            best,
            range: Some((9, vec![5; 16])),
        },
        Message::Progress { done: 1, total: 2 },
        Message::Cancel { range: 77 },
    ];
    for message in messages {
        assert_eq!(Message::decode(&message.encode()).unwrap(), message);
    }
}

#[test]
fn what_is_no_message_is_an_error() {
    let long = format!(
        r#"{{"Type":1,"Data":"{}","Lower":0,"Upper":9}}"#,
        "x".repeat(1_001)
    );
    let key = format!(
        r#"{{"Type":1,"Ext":{{"Version":1,"Key":"{}"}}}}"#,
        "x".repeat(65)
    );
    let bad = [
        "",
        "{",
        "[]",
        r#"{"Type":9}"#,
        r#"{"Type":-1}"#,
        r#"{"Type":1,"Lower":1.5}"#,
        &long,
        &key,
        r#"{"Type":4}"#,
        r#"{"Type":1,"Ext":{"Version":1,"Key":""}}"#,
    ];
    for text in bad {
        assert!(Message::decode(text.as_bytes()).is_err(), "{text}");
    }
    // An unknown version of the extension is as good as none.
    let join = Message::decode(br#"{"Type":0,"Ext":{"Version":2,"Speed":1.0}}"#).unwrap();
    let original = Message::Join {
        speed: None,
        takes: Takes::Messages,
    };
    assert_eq!(join, original);
    // Who names no ids is asked for no header.
    let join = Message::decode(br#"{"Type":0,"Ext":{"Version":1,"Headers":true}}"#).unwrap();
    assert_eq!(join, original);
}
