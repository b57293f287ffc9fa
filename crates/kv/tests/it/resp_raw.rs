//! The RESP door against raw sockets: order, cuts, malformed input, limits, slow and many clients.

use std::io::{ErrorKind, Write as _};
use std::time::Duration;

use bytes::BytesMut;
use kv::resp_server::Options;
use resp::{Value, encode_request};

use crate::doors::{Doors, show};

/// Requests of every kind, and what they answer together.
fn pipeline() -> (Vec<u8>, usize) {
    let mut out = BytesMut::new();
    let mut count = 0;
    for request in [
        &["SET", "k", "1"][..],
        &["GET", "k"],
        &["INCR", "k"],
        &["INCR", "k"],
        &["NOSUCH", "a"],
        &["GET"],
        &["APPEND", "k", "x"],
        &["INCR", "k"],
        &["PING"],
        &["MGET", "k", "missing"],
        &["DEL", "k"],
        &["GET", "k"],
        &["ECHO", "end"],
    ] {
        encode_request(&mut out, request);
        count += 1;
    }
    (out.to_vec(), count)
}

const PIPELINE_REPLIES: &str = "+OK | $1 1 | :2 | :3 | -ERR unknown command 'NOSUCH', with args \
    beginning with: 'a'  | -ERR wrong number of arguments for 'get' command | :2 | -ERR value is \
    not an integer or out of range | +PONG | *2 $2 3x _ | :1 | _ | $3 end";

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_cut_anywhere_is_answered_in_order() {
    let doors = Doors::open().await;
    let (bytes, count) = pipeline();
    for cut in 0..bytes.len() {
        let mut client = doors.connect();
        client.send(&bytes[..cut]);
        if cut % 3 == 0 {
            // Let the server see the first part alone.
            std::thread::yield_now();
        }
        client.send(&bytes[cut..]);
        let replies: Vec<String> = (0..count).map(|_| show(&client.receive())).collect();
        assert_eq!(replies.join(" | "), PIPELINE_REPLIES, "cut at {cut}");
    }
    doors.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_input_gets_the_words_of_redis_and_a_closed_connection() {
    let doors = Doors::open().await;
    let too_long = "x".repeat(70_000);
    for (input, expected) in [
        (
            "*x\r\n".to_owned(),
            r"-ERR Protocol error: invalid multibulk length\r\n",
        ),
        (
            "*9999999\r\n".to_owned(),
            r"-ERR Protocol error: invalid multibulk length\r\n",
        ),
        (
            "*1\r\nPING\r\n".to_owned(),
            r"-ERR Protocol error: expected '$', got 'P'\r\n",
        ),
        (
            "*1\r\n$-5\r\n".to_owned(),
            r"-ERR Protocol error: invalid bulk length\r\n",
        ),
        (
            "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$999999999\r\n".to_owned(),
            r"-ERR Protocol error: invalid bulk length\r\n",
        ),
        (
            "GET \"x\r\n".to_owned(),
            r"-ERR Protocol error: unbalanced quotes in request\r\n",
        ),
        (
            format!("*{}", "1".repeat(70_000)),
            r"-ERR Protocol error: too big mbulk count string\r\n",
        ),
        (too_long, r"-ERR Protocol error: too big inline request\r\n"),
        // What came before an error is answered before it.
        (
            "SET a 1\r\nGET a\r\n*x\r\n".to_owned(),
            r"+OK\r\n$1\r\n1\r\n-ERR Protocol error: invalid multibulk length\r\n",
        ),
        (
            "SET a 1\r\n*x\r\nGET a\r\n".to_owned(),
            r"+OK\r\n-ERR Protocol error: invalid multibulk length\r\n",
        ),
        // A browser in the hands of somebody else.
        (
            "POST / HTTP/1.1\r\nHost: x\r\n\r\nSET a 2\r\n".to_owned(),
            "",
        ),
        ("QUIT\r\nSET a 3\r\n".to_owned(), r"+OK\r\n"),
    ] {
        let mut client = doors.connect();
        client.send(input.as_bytes());
        let shown = &input[..input.len().min(60)];
        assert_eq!(client.receive_all(), expected, "{shown:?}");
    }
    assert_eq!(doors.connect().line("GET a"), "$1 1");
    doors.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_command_does_nothing() {
    let doors = Doors::open().await;
    let (bytes, _) = pipeline();
    for cut in [1, 5, 10, 20, 27] {
        let mut client = doors.connect();
        client.send(&bytes[..cut]);
        drop(client);
    }
    assert_eq!(doors.connect().line("DBSIZE"), ":0");
    doors.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_too_many_is_told_so() {
    let doors = Doors::open_with(Options {
        clients_max: 3,
        ..Options::default()
    })
    .await;
    let mut taken: Vec<_> = (0..3).map(|_| doors.connect()).collect();
    for client in &mut taken {
        assert_eq!(client.line("PING"), "+PONG");
    }
    assert_eq!(
        doors.connect().receive_all(),
        r"-ERR max number of clients reached\r\n"
    );
    assert_eq!(taken[0].line("CONFIG SET maxclients 4"), "+OK");
    assert_eq!(doors.connect().line("PING"), "+PONG");
    doors.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_read_replies_is_not_read_from() {
    let doors = Doors::open().await;
    let mut slow = doors.connect();
    let value = "v".repeat(1 << 20);
    assert_eq!(show(&slow.call(&["SET", "big", &value])), "+OK");
    slow.stream
        .set_write_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    // Asks for terabytes, and reads nothing: the server must stop taking requests long before
    // they are all sent.
    let mut requests = BytesMut::new();
    for _ in 0..10_000 {
        encode_request(&mut requests, &["GET", "big"]);
    }
    let mut sent = 0;
    let refused = loop {
        match slow.stream.write(&requests) {
            Ok(count) => sent += count,
            Err(error) => break error,
        }
        assert!(sent < 1 << 30, "the server takes requests without end");
    };
    assert!(
        matches!(refused.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        "{refused}"
    );
    // Others are served meanwhile, and the slow one can be ended.
    let mut other = doors.connect();
    assert_eq!(show(&other.call(&["STRLEN", "big"])), ":1048576");
    let (Value::Verbatim { text, .. } | Value::Bulk(text)) = other.call(&["CLIENT", "LIST"]) else {
        panic!("CLIENT LIST answers with text");
    };
    let text = String::from_utf8(text.to_vec()).unwrap();
    let slow_address = slow.stream.local_addr().unwrap().to_string();
    assert!(text.contains(&slow_address), "{text}");
    assert_eq!(
        other.line(&format!("CLIENT KILL ADDR {slow_address}")),
        ":1"
    );
    doors.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_value_and_many_small_ones_survive_the_way() {
    let doors = Doors::open().await;
    let mut client = doors.connect();
    let large = "x".repeat((16 << 20) - (128 << 10));
    assert_eq!(show(&client.call(&["SET", "large", &large])), "+OK");
    assert_eq!(client.call(&["GET", "large"]), Value::Bulk(large.into()));
    let mut requests = BytesMut::new();
    for index in 0..2_000 {
        let key = format!("k{index}");
        encode_request(&mut requests, &["SET", key.as_str(), key.as_str()]);
        encode_request(&mut requests, &["GET", key.as_str()]);
    }
    let mut writer = client.stream.try_clone().unwrap();
    let sender = std::thread::spawn(move || writer.write_all(&requests).unwrap());
    for index in 0..2_000 {
        assert_eq!(show(&client.receive()), "+OK");
        assert_eq!(client.receive(), Value::Bulk(format!("k{index}").into()));
    }
    sender.join().unwrap();
    doors.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_and_commands_over_the_limit_are_refused_and_the_connection_lives() {
    let doors = Doors::open().await;
    let mut client = doors.connect();
    let key = "k".repeat(70_000);
    let refused = "-ERR key is longer than 65472 bytes";
    assert_eq!(show(&client.call(&["SET", &key, "v"])), refused);
    assert_eq!(show(&client.call(&["MSET", "a", "1", &key, "v"])), refused);
    assert_eq!(show(&client.call(&["GET", &key])), "_");
    assert_eq!(show(&client.call(&["DEL", &key, "a"])), ":0");
    let value = "v".repeat(9 << 20);
    assert_eq!(
        show(&client.call(&["MSET", "a", &value, "b", &value])),
        "-ERR the command exceeds 16 MiB; split it"
    );
    assert_eq!(
        client.line("SETRANGE a 536870911 x"),
        "-ERR string exceeds maximum allowed size (proto-max-bulk-len)"
    );
    assert_eq!(client.line("DBSIZE"), ":0");
    doors.close().await;
}
