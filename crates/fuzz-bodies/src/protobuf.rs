//! Requests at the protobuf door.

use std::fmt::Debug;

use kv_proto::admin::v1::{
    AddMemberRequest, PromoteRequest, RemoveMemberRequest, TransferLeadershipRequest,
};
use kv_proto::kv::v1::{
    AppendRequest, BatchRequest, CompareAndSetRequest, DeleteRequest, GetRequest, ListRequest,
    Operation, PutRequest, compare_and_set_request, operation, put_request,
};
use prost::Message;

/// The first byte chooses the request, the rest is it: whatever reads writes as what reads the
/// same.
pub(crate) fn run(bytes: &[u8]) {
    let Some((&what, bytes)) = bytes.split_first() else {
        return;
    };
    match what % 11 {
        0 => round_trip::<PutRequest>(bytes),
        1 => round_trip::<GetRequest>(bytes),
        2 => round_trip::<AppendRequest>(bytes),
        3 => round_trip::<DeleteRequest>(bytes),
        4 => round_trip::<CompareAndSetRequest>(bytes),
        5 => round_trip::<ListRequest>(bytes),
        6 => round_trip::<BatchRequest>(bytes),
        7 => round_trip::<AddMemberRequest>(bytes),
        8 => round_trip::<RemoveMemberRequest>(bytes),
        9 => round_trip::<PromoteRequest>(bytes),
        _ => round_trip::<TransferLeadershipRequest>(bytes),
    }
}

fn round_trip<M: Message + Default + PartialEq + Debug>(bytes: &[u8]) {
    if let Ok(message) = M::decode(bytes) {
        let written = message.encode_to_vec();
        let again = M::decode(&*written).expect("what was written can be read");
        assert_eq!(message, again, "a request changed on its way");
    }
}

/// One request of every kind.
pub(crate) fn samples() -> Vec<Vec<u8>> {
    let put = PutRequest {
        key: "key".into(),
        value: "value".into(),
        expiry: Some(put_request::Expiry::ExpireAfterMs(1_000)),
        return_version: true,
    };
    let get = GetRequest {
        key: "key".into(),
        consistency: 1,
    };
    let append = AppendRequest {
        key: "key".into(),
        value: "more".into(),
    };
    let delete = DeleteRequest {
        keys: vec!["a".into(), "b".into()],
    };
    let compare_and_set = CompareAndSetRequest {
        key: "key".into(),
        expected: Some(compare_and_set_request::Expected::Version(3)),
        value: "new".into(),
    };
    let list = ListRequest {
        prefix: "k".into(),
        after: "kea".into(),
        limit: 10,
        keys_only: true,
        consistency: 2,
    };
    let operations = [
        operation::Operation::Put(put.clone()),
        operation::Operation::Get(get.clone()),
        operation::Operation::Append(append.clone()),
        operation::Operation::Delete(delete.clone()),
        operation::Operation::CompareAndSet(compare_and_set.clone()),
    ];
    let operations = operations.map(|operation| Operation {
        operation: Some(operation),
    });
    let batch = BatchRequest {
        operations: operations.to_vec(),
    };
    vec![
        encoded(0, &put),
        encoded(1, &get),
        encoded(2, &append),
        encoded(3, &delete),
        encoded(4, &compare_and_set),
        encoded(5, &list),
        encoded(6, &batch),
        encoded(
            7,
            &AddMemberRequest {
                node_id: 4,
                address: "127.0.0.1:7382".into(),
            },
        ),
        encoded(10, &TransferLeadershipRequest { to: 2 }),
    ]
}

/// The requests that write, behind the first byte by which `kv::grpc::fuzz_requests` knows them.
pub(crate) fn write_samples() -> Vec<Vec<u8>> {
    let kinds = [(0, 0), (2, 1), (3, 2), (4, 3), (6, 4)];
    let samples = samples();
    kinds
        .map(|(sample, kind)| {
            let mut bytes: Vec<u8> = samples[sample].clone();
            bytes[0] = kind;
            bytes
        })
        .to_vec()
}

fn encoded(what: u8, message: &impl Message) -> Vec<u8> {
    let mut bytes = vec![what];
    bytes.extend_from_slice(&message.encode_to_vec());
    bytes
}
