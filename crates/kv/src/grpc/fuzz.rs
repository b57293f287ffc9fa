//! The body of a fuzz target, which the ordinary tests run too.

use bytes::{Bytes, BytesMut};
use kv_core::Batch;
use kv_proto::kv::v1 as pb;
use pb::operation::Operation;
use prost::Message as _;

use super::kv_service::encode;

/// Messages from anywhere: the first byte chooses which call they are for. Whatever is accepted
/// must become exactly one command, which every replica can decode.
///
/// # Panics
///
/// When it doesn't: that is the finding.
pub fn fuzz_requests(data: &[u8]) {
    let Some((&kind, body)) = data.split_first() else {
        return;
    };
    let operation = match kind % 5 {
        0 => pb::PutRequest::decode(body).map(Operation::Put),
        1 => pb::AppendRequest::decode(body).map(Operation::Append),
        2 => pb::DeleteRequest::decode(body).map(Operation::Delete),
        3 => pb::CompareAndSetRequest::decode(body).map(Operation::CompareAndSet),
        _ => {
            if let Ok(batch) = pb::BatchRequest::decode(body) {
                let operations = batch.operations.into_iter();
                operations
                    .filter_map(|operation| operation.operation)
                    .for_each(|it| check(&it));
            }
            return;
        }
    };
    if let Ok(operation) = operation {
        check(&operation);
    }
}

fn check(operation: &Operation) {
    let mut batch = Batch::new();
    let accepted = encode(operation, &mut batch).is_ok();
    assert_eq!(batch.len(), usize::from(accepted), "{operation:?}");
    let mut encoded = BytesMut::new();
    batch.encode(&mut encoded);
    let decoded = Batch::decode(Bytes::from(encoded));
    assert_eq!(decoded.as_ref(), Ok(&batch), "{operation:?}");
}

#[cfg(test)]
mod tests {
    use stdx::Prng;

    use super::*;

    /// A random operation with everything that can be strange about it.
    fn operation(prng: &mut Prng) -> Operation {
        let mut bytes = |most: u64| {
            let mut bytes = vec![0; usize::try_from(prng.below(most)).unwrap()];
            prng.fill(&mut bytes);
            Bytes::from(bytes)
        };
        let (key, value, other) = (bytes(4), bytes(20), bytes(4));
        let number = prng.below(u64::MAX) >> prng.below(64);
        match prng.below(4) {
            0 => Operation::Put(pb::PutRequest {
                key,
                value,
                expiry: match prng.below(3) {
                    0 => None,
                    1 => Some(pb::put_request::Expiry::KeepExpiry(prng.chance(1, 2))),
                    _ => Some(pb::put_request::Expiry::ExpireAfterMs(number)),
                },
                return_version: prng.chance(1, 2),
            }),
            1 => Operation::Append(pb::AppendRequest { key, value }),
            2 => Operation::Delete(pb::DeleteRequest {
                keys: vec![key, other],
            }),
            _ => Operation::CompareAndSet(pb::CompareAndSetRequest {
                key,
                value,
                expected: match prng.below(3) {
                    0 => None,
                    1 => Some(pb::compare_and_set_request::Expected::Version(number)),
                    _ => Some(pb::compare_and_set_request::Expected::ExpectedValue(other)),
                },
            }),
        }
    }

    #[test]
    fn every_request_becomes_one_command_or_none() {
        let mut prng = Prng::from_seed(0x00f0_0d04);
        for _ in 0..50_000 {
            let (kind, mut body) = match operation(&mut prng) {
                Operation::Put(put) => (0, put.encode_to_vec()),
                Operation::Append(append) => (1, append.encode_to_vec()),
                Operation::Delete(delete) => (2, delete.encode_to_vec()),
                Operation::CompareAndSet(set) => (3, set.encode_to_vec()),
                other @ Operation::Get(_) => {
                    let operations = vec![pb::Operation {
                        operation: Some(other),
                    }];
                    (4, pb::BatchRequest { operations }.encode_to_vec())
                }
            };
            body.insert(0, kind);
            for _ in 0..prng.below(3) {
                let at = prng.index(body.len());
                body[at] ^= 1 << prng.below(8);
            }
            fuzz_requests(&body);
        }
    }
}
