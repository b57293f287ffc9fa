//! The body of a fuzz target, which the ordinary tests run too.

use bytes::{Bytes, BytesMut};
use kv_core::Batch;
use resp::Decoder;

use super::limits;
use super::table::{CommandTable, Handler, Lookup};

/// Requests from anywhere: whatever a write accepts must become exactly one command, which every
/// replica can decode. What it refuses must leave no trace.
///
/// # Panics
///
/// When it doesn't: that is the finding.
pub fn fuzz_commands(data: &[u8]) {
    let table = CommandTable::new();
    let mut decoder = Decoder::new(limits::REQUEST);
    let mut rest = data;
    while let Ok(Some(request)) = decoder.decode(rest) {
        let consumed = request.consumed();
        if !request.is_empty()
            && let Lookup::Known(command) = table.lookup(&request)
            && command.spec.accepts(request.len())
            && let Handler::Write(write) = command.spec.handler
        {
            let mut batch = Batch::new();
            let accepted = write(&request, &mut batch).is_ok();
            assert_eq!(batch.len(), usize::from(accepted), "{request:?}");
            let mut encoded = BytesMut::new();
            batch.encode(&mut encoded);
            let decoded = Batch::decode(Bytes::from(encoded));
            assert_eq!(decoded.as_ref(), Ok(&batch), "{request:?}");
        }
        rest = &rest[consumed..];
    }
}

#[cfg(test)]
mod tests {
    use resp::encode_request;
    use stdx::Prng;

    use super::*;

    const WORDS: [&str; 40] = [
        "",
        "k",
        "key",
        "0",
        "1",
        "-1",
        "10",
        "1.5",
        "-0",
        "x",
        "9223372036854775807",
        "-9223372036854775808",
        "NX",
        "XX",
        "GT",
        "LT",
        "EX",
        "PX",
        "EXAT",
        "PXAT",
        "KEEPTTL",
        "PERSIST",
        "GET",
        "inf",
        "nan",
        "1e400",
        "0x1p4",
        "ASYNC",
        "SYNC",
        "3",
        "100",
        "1000000",
        "16000000",
        "17000000",
        "v",
        "vv",
        "nx",
        "ex",
        "*",
        "LEN",
    ];

    #[test]
    fn every_write_becomes_one_command_or_none() {
        let table = CommandTable::new();
        let mut prng = Prng::from_seed(0x00f0_0d03);
        for _ in 0..100_000 {
            let name = table.top()[prng.index(table.top().len())].name;
            let mut words = vec![name];
            for _ in 0..prng.below(7) {
                words.push(WORDS[prng.index(WORDS.len())]);
            }
            let mut request = BytesMut::new();
            encode_request(&mut request, &words);
            if prng.chance(1, 4) {
                let at = prng.index(request.len());
                request[at] ^= 1 << prng.below(8);
            }
            fuzz_commands(&request);
        }
    }
}
