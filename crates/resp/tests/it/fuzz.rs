//! The bodies of the fuzz targets under a seeded generator.

use bytes::BytesMut;
use resp::fuzz;
use resp::{Encoder, Protocol, Value, encode_request};
use stdx::Prng;

/// Inputs per target: a second or two.
const ROUNDS: u32 = 300_000;

fn byte(prng: &mut Prng) -> u8 {
    let mut byte = [0];
    prng.fill(&mut byte);
    byte[0]
}

/// Pieces that make a random input look like the protocol.
const PIECES: [&str; 24] = [
    "*1\r\n",
    "*2\r\n",
    "*3\r\n",
    "$1\r\nx\r\n",
    "$3\r\nGET\r\n",
    "$0\r\n\r\n",
    "$-1\r\n",
    "*-1\r\n",
    "*0\r\n",
    ":1\r\n",
    "+OK\r\n",
    "-ERR x\r\n",
    "_\r\n",
    "#t\r\n",
    ",1.5\r\n",
    ",nan\r\n",
    "%1\r\n",
    "~1\r\n",
    ">1\r\n",
    "|1\r\n",
    "=5\r\ntxt:a\r\n",
    "(12\r\n",
    "ping \"a b\"\r\n",
    "\r\n",
];

/// Protocol-like pieces, bent by bit flips, cuts and noise.
fn input(prng: &mut Prng) -> Vec<u8> {
    let mut bytes = vec![byte(prng)];
    for _ in 0..prng.below(12) {
        bytes.extend_from_slice(PIECES[prng.index(PIECES.len())].as_bytes());
        if prng.below(8) == 0 {
            bytes.push(byte(prng));
        }
    }
    for _ in 0..prng.below(4) {
        let at = prng.index(bytes.len());
        bytes[at] ^= 1 << prng.below(8);
    }
    bytes.truncate(prng.index(bytes.len()) + 1);
    bytes
}

#[test]
fn requests_are_the_same_however_they_are_cut() {
    let mut prng = Prng::from_seed(0x00f0_0d01);
    for _ in 0..ROUNDS {
        fuzz::requests(&input(&mut prng));
    }
}

#[test]
fn replies_print_as_what_was_read() {
    let mut prng = Prng::from_seed(0x00f0_0d02);
    for _ in 0..ROUNDS {
        fuzz::replies(&input(&mut prng)[1..]);
    }
}

#[test]
fn every_bit_flip_of_a_request_is_survived() {
    let mut out = BytesMut::new();
    encode_request(&mut out, &["SET", "key", "value", "EX", "100"]);
    encode_request(&mut out, &["GET", "key"]);
    for bit in 0..out.len() * 8 {
        let mut flipped = vec![3];
        flipped.extend_from_slice(&out);
        flipped[1 + bit / 8] ^= 1 << (bit % 8);
        fuzz::requests(&flipped);
    }
}

#[test]
fn every_bit_flip_of_a_reply_is_survived() {
    let mut out = BytesMut::new();
    Encoder::new(&mut out, Protocol::Resp3).value(&Value::Map(vec![
        (
            Value::Integer(12),
            Value::Array(vec![Value::Null, Value::Double(0.5)]),
        ),
        (Value::Bulk("bulk".into()), Value::Error("ERR no".into())),
    ]));
    for bit in 0..out.len() * 8 {
        let mut flipped = out.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        fuzz::replies(&flipped);
    }
}
