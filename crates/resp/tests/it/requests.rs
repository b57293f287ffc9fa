//! Requests, whole and in pieces, and every protocol error.

use bytes::BytesMut;
use resp::fuzz::{SMALL, decode_requests};
use resp::{Decoder, Limits, ProtocolError, encode_request};
use stdx::Prng;

fn decode(input: &[u8]) -> (Vec<Vec<Vec<u8>>>, Option<ProtocolError>) {
    decode_requests(input, input.len(), Limits::default())
}

fn check(input: &str, expected: &str) {
    let (requests, error) = decode(input.as_bytes());
    let mut shown: Vec<String> = requests
        .iter()
        .map(|request| {
            let words: Vec<String> = request
                .iter()
                .map(|word| word.escape_ascii().to_string())
                .collect();
            words.join(" ")
        })
        .collect();
    shown.extend(error.map(|error| format!("-ERR {error}")));
    assert_eq!(shown.join(" | "), expected, "{input:?}");
}

#[test]
fn arrays_and_lines_are_requests() {
    check("*1\r\n$4\r\nPING\r\n", "PING");
    check(
        "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*1\r\n$4\r\nPING\r\n",
        "GET k | PING",
    );
    check("*2\r\n$3\r\nGET\r\n$0\r\n\r\n", "GET ");
    check("*2\r\n$3\r\nGET\r\n$4\r\n\r\n\0x\r\n", r"GET \r\n\x00x");
    check("PING\r\n", "PING");
    check("set k \"a b\"\nget k\r\n", "set k a b | get k");
    check("PING\r\n*1\r\n$4\r\nPING\r\nPING\r\n", "PING | PING | PING");
}

#[test]
fn empty_requests_are_skipped_in_silence() {
    check("\r\n\n*0\r\n*-1\r\nPING\r\n", " |  |  |  | PING");
}

#[test]
fn errors_are_the_words_of_redis() {
    check("*x\r\n", "-ERR Protocol error: invalid multibulk length");
    check("*\r\n", "-ERR Protocol error: invalid multibulk length");
    check("*01\r\n", "-ERR Protocol error: invalid multibulk length");
    check(
        "*1048577\r\n",
        "-ERR Protocol error: invalid multibulk length",
    );
    check(
        "*99999999999999999999\r\n",
        "-ERR Protocol error: invalid multibulk length",
    );
    check(
        "*1\r\nPING\r\n",
        "-ERR Protocol error: expected '$', got 'P'",
    );
    check(
        "*1\r\n\r\n\r\n",
        "-ERR Protocol error: expected '$', got ' '",
    );
    check("*1\r\n$x\r\n", "-ERR Protocol error: invalid bulk length");
    check("*1\r\n$-1\r\n", "-ERR Protocol error: invalid bulk length");
    check(
        "*1\r\n$99999999\r\n",
        "-ERR Protocol error: invalid bulk length",
    );
    check(
        "*1\r\n$2000000000\r\n",
        "-ERR Protocol error: invalid bulk length",
    );
    check(
        "set k \"v\r\n",
        "-ERR Protocol error: unbalanced quotes in request",
    );
}

#[test]
fn lines_without_an_end_are_bounded() {
    let long = "1".repeat(65_537);
    for (input, expected) in [
        (format!("*{long}"), ProtocolError::MultibulkLineTooLong),
        (format!("*1\r\n${long}"), ProtocolError::BulkLineTooLong),
        (format!("a{long}"), ProtocolError::InlineTooLong),
    ] {
        assert_eq!(decode(input.as_bytes()).1, Some(expected));
        let (requests, error) = decode_requests(input.as_bytes(), 1_000, Limits::default());
        assert_eq!((requests.len(), error), (0, Some(expected)));
    }
}

#[test]
fn a_request_over_the_limit_is_refused_before_it_arrives() {
    let mut input = b"*4\r\n".to_vec();
    for _ in 0..3 {
        input.extend_from_slice(b"$400\r\n");
        input.extend_from_slice(&[b'x'; 400]);
        input.extend_from_slice(b"\r\n");
    }
    let (requests, error) = decode_requests(&input, 10, SMALL);
    assert!(requests.is_empty());
    assert_eq!(error, Some(ProtocolError::RequestTooLarge));
}

/// A pipeline with everything in it.
fn pipeline() -> (Vec<u8>, usize) {
    let mut out = BytesMut::new();
    encode_request(&mut out, &["SET", "key", "value"]);
    out.extend_from_slice(b"ping \"with quotes\"\r\n");
    encode_request(&mut out, &[b"SET".as_slice(), b"\r\n$*", &[0xff; 300]]);
    out.extend_from_slice(b"*0\r\n\r\n");
    encode_request(&mut out, &[b"".as_slice(), b""]);
    encode_request(&mut out, &["MGET"; 12]);
    (out.to_vec(), 7)
}

#[test]
fn every_truncation_is_only_incomplete() {
    let (input, count) = pipeline();
    let (all, error) = decode(&input);
    assert_eq!((all.len(), error), (count, None));
    for end in 0..input.len() {
        let (requests, error) = decode(&input[..end]);
        assert_eq!(error, None, "cut at {end}");
        assert!(requests.len() < count, "cut at {end}");
        assert_eq!(requests, all[..requests.len()], "cut at {end}");
    }
}

#[test]
fn pieces_of_any_size_decode_as_the_whole() {
    let (input, _) = pipeline();
    let whole = decode(&input);
    for step in 1..input.len() {
        let pieces = decode_requests(&input, step, Limits::default());
        assert_eq!(pieces, whole, "pieces of {step}");
    }
    let mut prng = Prng::from_seed(0x5eed);
    for _ in 0..200 {
        let mut decoder = Decoder::new(Limits::default());
        let (mut done, mut arrived, mut requests) = (0, 0, Vec::new());
        while arrived < input.len() {
            let step = prng.index(40) + 1;
            arrived = (arrived + step).min(input.len());
            while let Some(request) = decoder.decode(&input[done..arrived]).unwrap() {
                requests.push(request.iter().map(<[u8]>::to_vec).collect::<Vec<_>>());
                done += request.consumed();
            }
        }
        assert_eq!(requests, whole.0);
    }
}

#[test]
fn the_decoder_says_how_much_an_argument_lacks() {
    let mut decoder = Decoder::new(Limits::default());
    let input = b"*2\r\n$3\r\nGET\r\n$1000\r\nabc";
    assert!(decoder.decode(input).unwrap().is_none());
    assert_eq!(decoder.bytes_missing(input), 1_000 - 3 + 2);
}
