//! The body of a fuzz target, which the ordinary tests run too.

use core::pin::pin;
use core::task::{Context, Poll, Waker};

use bytes::{BufMut as _, Bytes, BytesMut};
use kv_core::Reply;
use stdx::{GroupId, LogIndex, Term};

use crate::node::error::ExecuteError;
use crate::transport::Book;
use crate::transport::frame::{
    FrameBuilder, FrameError, HEADER_BYTES, ItemBuilder, ItemReader, Kind, decode_outcome,
    decode_raft, encode_outcome, seal, take_chunk, take_u8, take_u64,
};
use crate::transport::join::decode_answer;
use crate::transport::link::decode_forward;

/// What another node might send, or somebody who pretends to be one. Twice: as it is, and with
/// the length and checksum made right, so that the bodies behind them are reached.
///
/// # Panics
///
/// When anything but an error comes of bytes that aren't understood: that is the finding.
pub fn fuzz_frames(data: &[u8]) {
    read(data);
    if data.len() >= HEADER_BYTES {
        let mut sealed = BytesMut::from(data);
        seal(&mut sealed);
        read(&sealed);
    }
}

/// One item of every kind that can be made without a node.
#[must_use]
pub fn fuzz_frames_samples() -> Vec<Vec<u8>> {
    let mut hello = ItemBuilder::new(Kind::Hello);
    for number in [7, 1, 2] {
        hello.body().put_u64_le(number);
    }
    Book::default().encode(hello.body());
    let mut raft = FrameBuilder::default();
    let request = raft::RequestPreVote {
        term: Term::new(3),
        last_index: LogIndex::new(9),
        last_term: Term::new(2),
    };
    let full = raft.push(GroupId::new(1), &request.into());
    let raft = full.or_else(|| raft.finish()).unwrap_or_default();
    let outcome = encode_outcome(5, &Ok(vec![Reply::Ok, Reply::Integer(-7)]));
    let refused = encode_outcome(6, &Err(ExecuteError::Unknown));
    [hello.finish(), raft, outcome, refused]
        .map(|item| item.to_vec())
        .to_vec()
}

/// Reads items until something is wrong or nothing is left.
fn read(data: &[u8]) {
    let mut reader = ItemReader::new(data);
    loop {
        // Bytes in memory are always there, so the future never waits.
        let next = pin!(reader.next()).poll(&mut Context::from_waker(Waker::noop()));
        let Poll::Ready(item) = next else {
            panic!("reading from memory waited");
        };
        let Ok((kind, body)) = item else {
            return;
        };
        // Errors are what most bytes deserve.
        let _understood = decode(kind, body);
    }
}

fn decode(kind: Kind, mut body: Bytes) -> Result<(), FrameError> {
    match kind {
        Kind::Hello => {
            for _ in 0..3 {
                take_u64(&mut body)?;
            }
            Book::decode(&mut body)?;
        }
        Kind::Refusal => drop(String::from_utf8_lossy(&body)),
        Kind::Raft => drop(decode_raft(body)?),
        Kind::Forward => drop(decode_forward(body)?),
        Kind::Outcome => drop(decode_outcome(body)?),
        Kind::Book => drop(Book::decode(&mut body)?),
        Kind::Ask => {
            take_u64(&mut body)?;
            take_u8(&mut body)?;
            take_u64(&mut body)?;
            take_chunk(&mut body)?;
        }
        Kind::Answer => drop(decode_answer(body)?),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::fuzz_frames;
    use stdx::Prng;

    #[test]
    fn random_items_never_panic() {
        let mut prng = Prng::from_seed(0x00f0_0d04);
        for _ in 0..100_000 {
            let mut bytes = vec![0; 9 + prng.index(120)];
            prng.fill(&mut bytes);
            bytes[8] = u8::try_from(1 + prng.below(8)).expect("a kind");
            // Small numbers are lengths and kinds that make sense more often.
            for byte in &mut bytes[9..] {
                if prng.chance(2, 3) {
                    *byte %= 6;
                }
            }
            fuzz_frames(&bytes);
        }
    }
}
