//! The gRPC door through the client library, and with what the library would not send.

use std::time::Duration;

use bytes::Bytes;
use kv::client::{
    Client, Consistency, Expected, Expiry, Listing, Operation, Options, Outcome, Swap, operation,
    operation_result,
};
use kv_proto::kv::v1 as pb;
use kv_proto::kv::v1::kv_client::KvClient;
use tonic::Code;
use tonic::transport::Channel;

use crate::doors::Doors;

fn client(doors: &Doors) -> Client {
    Client::new(&Options::new([doors.grpc.to_string()])).unwrap()
}

async fn get(client: &Client, key: &'static str) -> Option<String> {
    let found = client.get(key, Consistency::Linearizable).await.unwrap();
    found.map(|value| String::from_utf8(value.value.to_vec()).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_does_what_it_says() {
    let doors = Doors::open().await;
    let client = client(&doors);
    assert_eq!(get(&client, "k").await, None);
    assert_eq!(
        client.put("k", "v", Expiry::Never).await,
        Outcome::Committed(())
    );
    assert_eq!(client.append("k", "w").await, Outcome::Committed(2));
    assert_eq!(get(&client, "k").await.as_deref(), Some("vw"));
    let value = client.get("k", Consistency::Stale).await.unwrap().unwrap();
    assert_eq!((value.version, value.expires_at_ms), (2, 0));
    let set = |expected, value| client.compare_and_set("k", expected, value);
    let cases = [
        (Expected::Absent, "x", Swap::Refused(2)),
        (Expected::Version(1), "x", Swap::Refused(2)),
        (Expected::Version(2), "x", Swap::Stored(3)),
        (Expected::Value("nope".into()), "y", Swap::Refused(3)),
        (Expected::Value("x".into()), "y", Swap::Stored(4)),
    ];
    for (expected, value, swap) in cases {
        assert_eq!(set(expected, value).await, Outcome::Committed(swap));
    }
    let versioned = client.put_versioned("k", "y", Expiry::Never);
    assert_eq!(versioned.await, Outcome::Committed(5));
    assert_eq!(get(&client, "k").await.as_deref(), Some("y"));
    let keys = vec![Bytes::from("k"), Bytes::from("missing")];
    assert_eq!(client.delete(keys).await, Outcome::Committed(1));
    let soon = Expiry::After(Duration::from_secs(100));
    assert_eq!(client.put("e", "v", soon).await, Outcome::Committed(()));
    let value = client
        .get("e", Consistency::Linearizable)
        .await
        .unwrap()
        .unwrap();
    assert!(value.expires_at_ms > 0);
    assert_eq!(
        client.put("e", "w", Expiry::Keep).await,
        Outcome::Committed(())
    );
    let kept = client
        .get("e", Consistency::Linearizable)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(kept.expires_at_ms, value.expires_at_ms);
    doors.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn listing_goes_page_by_page_in_order() {
    let doors = Doors::open().await;
    let client = client(&doors);
    for index in 0..25 {
        let done = client
            .put(format!("list/{index:02}"), "v", Expiry::Never)
            .await;
        assert_eq!(done, Outcome::Committed(()));
    }
    assert_eq!(
        client.put("other", "v", Expiry::Never).await,
        Outcome::Committed(())
    );
    let mut listing = Listing {
        prefix: "list/".into(),
        limit: Some(10),
        keys_only: true,
        ..Listing::default()
    };
    let (mut keys, mut pages) = (Vec::new(), 0);
    loop {
        let page = client.list(&listing).await.unwrap();
        pages += 1;
        assert!(page.entries.iter().all(|(_, value)| value.is_none()));
        keys.extend(page.entries.into_iter().map(|(key, _)| key));
        match page.next {
            Some(next) => listing.after = Some(next),
            None => break,
        }
    }
    let expected: Vec<_> = (0..25).map(|index| format!("list/{index:02}")).collect();
    assert_eq!(
        (keys, pages),
        (expected.into_iter().map(Bytes::from).collect(), 3)
    );
    doors.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_runs_in_order_and_fails_one_by_one() {
    let doors = Doors::open().await;
    let client = client(&doors);
    let put = |key: &'static str, value: &'static str| {
        operation::Operation::Put(pb::PutRequest {
            key: key.into(),
            value: value.into(),
            expiry: None,
            return_version: false,
        })
    };
    let get = |key: &'static str| {
        operation::Operation::Get(pb::GetRequest {
            key: key.into(),
            consistency: 0,
        })
    };
    let operations = [
        put("a", "1"),
        get("a"),
        put("a", "2"),
        put("", "x"),
        put("b", "3"),
        get("a"),
        get("c"),
    ]
    .into_iter()
    .map(|operation| Operation {
        operation: Some(operation),
    })
    .chain([Operation { operation: None }])
    .collect();
    let results = client.batch(operations).await.committed().unwrap();
    let shown: Vec<String> = results
        .into_iter()
        .map(|result| match result.result.unwrap() {
            operation_result::Result::Put(_) => "put".to_owned(),
            operation_result::Result::Get(get) => match get.value {
                Some(value) => String::from_utf8(value.value.to_vec()).unwrap(),
                None => "none".to_owned(),
            },
            operation_result::Result::Failure(failure) => failure.message,
            other => format!("{other:?}"),
        })
        .collect();
    assert_eq!(
        shown,
        [
            "put",
            "1",
            "put",
            "the key is empty",
            "put",
            "2",
            "none",
            "an operation is missing"
        ]
    );
    doors.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_get_a_code_that_says_so() {
    let doors = Doors::open().await;
    let endpoint = Channel::from_shared(format!("http://{}", doors.grpc)).unwrap();
    let mut raw = KvClient::new(endpoint.connect().await.unwrap());
    let put = |key: Bytes, value: Bytes| pb::PutRequest {
        key,
        value,
        expiry: None,
        return_version: false,
    };
    for (request, message) in [
        (put(Bytes::new(), Bytes::new()), "the key is empty"),
        (
            put(vec![b'k'; 70_000].into(), Bytes::new()),
            "the key of 70000 bytes exceeds the limit of 65472",
        ),
    ] {
        let status = raw.put(request).await.unwrap_err();
        assert_eq!(
            (status.code(), status.message()),
            (Code::InvalidArgument, message)
        );
    }
    let get = pb::GetRequest {
        key: "k".into(),
        consistency: 9,
    };
    assert_eq!(
        raw.get(get).await.unwrap_err().code(),
        Code::InvalidArgument
    );
    let mut hurried = tonic::Request::new(pb::GetRequest {
        key: "k".into(),
        consistency: 0,
    });
    hurried
        .metadata_mut()
        .insert("grpc-timeout", "1n".parse().unwrap());
    let status = raw.get(hurried).await;
    // So short a time may be over before the service is even asked.
    assert!(
        status.is_ok()
            || matches!(
                status.unwrap_err().code(),
                Code::DeadlineExceeded | Code::Cancelled
            )
    );
    doors.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_reflection_are_served() {
    let doors = Doors::open().await;
    let channel = Channel::from_shared(format!("http://{}", doors.grpc)).unwrap();
    let channel = channel.connect().await.unwrap();
    let mut health = tonic_health::pb::health_client::HealthClient::new(channel.clone());
    for service in ["", "kontiki.kv.v1.Kv", "kontiki.admin.v1.Admin"] {
        let request = tonic_health::pb::HealthCheckRequest {
            service: service.to_owned(),
        };
        let answer = health.check(request).await.unwrap().into_inner();
        let serving = tonic_health::pb::health_check_response::ServingStatus::Serving;
        assert_eq!(answer.status, i32::from(serving), "{service:?}");
    }
    let mut reflection =
        tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient::new(channel);
    let ask = tonic_reflection::pb::v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(
            tonic_reflection::pb::v1::server_reflection_request::MessageRequest::ListServices(
                String::new(),
            ),
        ),
    };
    let mut answers = reflection
        .server_reflection_info(tokio_stream::iter([ask]))
        .await
        .unwrap()
        .into_inner();
    let answer = format!("{:?}", answers.message().await.unwrap().unwrap());
    for service in [
        "kontiki.kv.v1.Kv",
        "kontiki.admin.v1.Admin",
        "grpc.health.v1.Health",
    ] {
        assert!(answer.contains(service), "{service} is not in {answer}");
    }
    doors.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn status_names_the_leader_and_its_members() {
    let doors = Doors::open().await;
    let client = client(&doors);
    let all = client.status_of_all().await;
    let [(_, Ok(status))] = all.as_slice() else {
        panic!("{all:?}")
    };
    assert_eq!(
        (status.node_id, status.leader, status.members.len()),
        (1, 1, 1)
    );
    assert!(status.has_lease);
    let refused = client.remove_member(7).await;
    assert!(matches!(refused, Outcome::Rejected(_)), "{refused:?}");
    doors.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there_is_a_rejection_that_names_the_address() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let options = Options {
        timeout: Duration::from_millis(300),
        ..Options::new([address])
    };
    let client = Client::new(&options).unwrap();
    let outcome = client.put("k", "v", Expiry::Never).await;
    assert!(matches!(outcome, Outcome::Rejected(_)), "{outcome:?}");
    assert!(Client::new(&Options::new(["nonsense"])).is_err());
    assert!(Client::new(&Options::new(Vec::<String>::new())).is_err());
}
