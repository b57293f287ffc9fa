//! Bodies of the fuzz targets, which the ordinary tests run too.

use bytes::BytesMut;

use crate::limits::Limits;
use crate::reply::{Encoder, Protocol};
use crate::request::{Decoder, ProtocolError};
use crate::value::ValueDecoder;

/// Small limits, so that short inputs reach them.
pub const SMALL: Limits = Limits {
    bulk_bytes_max: 512,
    arguments_max: 16,
    line_bytes_max: 64,
    request_bytes_max: 1_024,
};

/// Decodes everything in `input`, `step` bytes at a time, as a server would.
///
/// Returns the requests, and the error that ended them if one did.
///
/// # Panics
///
/// When the decoder breaks a promise: takes more than there is, or nothing.
#[must_use]
pub fn decode_requests(
    input: &[u8],
    step: usize,
    limits: Limits,
) -> (Vec<Vec<Vec<u8>>>, Option<ProtocolError>) {
    let mut decoder = Decoder::new(limits);
    let mut requests = Vec::new();
    let (mut done, mut arrived) = (0, 0);
    while arrived < input.len() {
        arrived = (arrived + step.max(1)).min(input.len());
        loop {
            match decoder.decode(&input[done..arrived]) {
                Err(error) => return (requests, Some(error)),
                Ok(None) => break,
                Ok(Some(request)) => {
                    assert!(request.consumed() > 0, "a request takes bytes");
                    done += request.consumed();
                    assert!(done <= arrived, "a request takes no more than there is");
                    requests.push(request.iter().map(<[u8]>::to_vec).collect());
                }
            }
        }
    }
    (requests, None)
}

/// Requests: the first byte chooses how the rest is cut into pieces. However it is cut,
/// the requests and the error must be the same.
///
/// # Panics
///
/// When they differ: that is the finding.
pub fn requests(data: &[u8]) {
    let Some((&step, input)) = data.split_first() else {
        return;
    };
    let whole = decode_requests(input, input.len().max(1), SMALL);
    let pieces = decode_requests(input, usize::from(step) + 1, SMALL);
    // In pieces a limit on unfinished input can strike that a whole input never meets.
    if !matches!(pieces.1, Some(ProtocolError::RequestTooLarge)) {
        assert_eq!(whole, pieces, "cutting the input changed the requests");
    }
}

/// Replies: whatever can be read prints and reads back as the same value.
///
/// # Panics
///
/// When it doesn't: that is the finding.
pub fn replies(data: &[u8]) {
    let mut input = BytesMut::from(data);
    let mut decoder = ValueDecoder::new();
    while let Ok(Some(value)) = decoder.decode(&mut input) {
        let mut encoded = BytesMut::new();
        Encoder::new(&mut encoded, Protocol::Resp3).value(&value);
        let printed = encoded.clone();
        let again = ValueDecoder::new()
            .decode(&mut encoded)
            .expect("what was written can be read")
            .expect("what was written is complete");
        let mut reprinted = BytesMut::new();
        Encoder::new(&mut reprinted, Protocol::Resp3).value(&again);
        // Compared as text: a not-a-number does not equal itself.
        assert_eq!(printed, reprinted, "{value:?} became {again:?}");
    }
}
