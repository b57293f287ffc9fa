//! The store that services keep their state in: a directory of their own, or a cluster.

use std::sync::Arc;

use bytes::Bytes;
use kv::grpc::{self, GrpcMetrics};
use kv::store::{Conflict, Expected, Location, Store, StoreError};
use kv_core::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::cluster::{TestCluster, n, read, within, write};

async fn open(location: &Location) -> Store {
    within("opening a store", Store::open(location))
        .await
        .unwrap()
}

fn directory(dir: &TempDir) -> Location {
    Location::Directory(dir.path().join("state"))
}

/// What every store does, wherever it is.
async fn exercise(store: &Store) {
    assert_eq!(store.get(b"t/a").await.unwrap(), None);
    assert_eq!(store.put(b"t/a", b"1").await.unwrap(), 1);
    assert_eq!(store.put(b"t/a", b"2").await.unwrap(), 2);
    let found = store.get(b"t/a").await.unwrap().unwrap();
    assert_eq!((&*found.value, found.version), (&b"2"[..], 2));

    let put_if = |key: &'static [u8], expected| store.put_if(key, b"new", expected);
    let conflict = |current| Ok(Err(Conflict { current }));
    let told = |result: Result<Result<u64, Conflict>, StoreError>| result.map_err(drop);
    assert_eq!(
        told(put_if(b"t/a", Expected::Absent).await),
        conflict(Some(2))
    );
    assert_eq!(
        told(put_if(b"t/a", Expected::Version(1)).await),
        conflict(Some(2))
    );
    assert_eq!(
        told(put_if(b"t/b", Expected::Version(1)).await),
        conflict(None)
    );
    assert_eq!(
        store.get(b"t/b").await.unwrap(),
        None,
        "a conflict changes nothing"
    );
    assert_eq!(told(put_if(b"t/a", Expected::Version(2)).await), Ok(Ok(3)));
    assert_eq!(told(put_if(b"t/b", Expected::Absent).await), Ok(Ok(1)));
    // As after an unknown outcome that was a success: the repetition takes no effect, and reading
    // tells whose value stands.
    assert_eq!(
        told(put_if(b"t/b", Expected::Absent).await),
        conflict(Some(1))
    );
    assert_eq!(&*store.get(b"t/b").await.unwrap().unwrap().value, b"new");

    assert!(store.delete(b"t/b").await.unwrap());
    assert!(!store.delete(b"t/b").await.unwrap());
    assert_eq!(
        told(put_if(b"t/b", Expected::Absent).await),
        Ok(Ok(1)),
        "versions start again"
    );

    // More than one page.
    let mut puts = JoinSet::new();
    for number in 0..2_345 {
        let store = store.clone();
        puts.spawn(async move {
            let key = format!("list/{number:04}");
            store.put(key.as_bytes(), b"v").await.unwrap()
        });
    }
    let versions = within("many puts", puts.join_all()).await;
    assert!(versions.into_iter().all(|version| version == 1));
    let keys = store.list(b"list/").await.unwrap().into_iter();
    let keys: Vec<Bytes> = keys.map(|(key, _)| key).collect();
    let expected: Vec<Bytes> = (0..2_345)
        .map(|it| format!("list/{it:04}").into())
        .collect();
    assert_eq!(keys, expected);
    let empty = store.list(b"nothing/").await.unwrap();
    assert!(empty.is_empty());

    let long = vec![0; KEY_BYTES_MAX + 1];
    let large = vec![0; VALUE_BYTES_MAX + 1];
    for (key, value) in [(&b""[..], &b""[..]), (&long, b""), (b"k", &large)] {
        let error = store.put(key, value).await.unwrap_err();
        assert!(matches!(error, StoreError::Invalid { .. }), "{error}");
    }
    let large = vec![7; 1 << 20];
    store.put(b"t/large", &large).await.unwrap();
    assert_eq!(store.get(b"t/large").await.unwrap().unwrap().value, large);
}

#[tokio::test]
async fn a_directory_does_what_a_store_promises() {
    let dir = TempDir::new().unwrap();
    let store = open(&directory(&dir)).await;
    exercise(&store).await;
    within("closing", store.close()).await.unwrap();
}

#[tokio::test]
async fn a_directory_keeps_everything_over_a_close_and_over_a_crash() {
    let dir = TempDir::new().unwrap();
    let location = directory(&dir);
    for round in 0..4_u64 {
        let store = open(&location).await;
        for number in 0..round {
            let key = format!("k/{number}");
            let found = store.get(key.as_bytes()).await.unwrap().unwrap();
            assert_eq!(found.version, 1);
        }
        store
            .put(format!("k/{round}").as_bytes(), b"v")
            .await
            .unwrap();
        assert_eq!(store.put(b"count", b"").await.unwrap(), round + 1);
        if round % 2 == 0 {
            within("closing", store.close()).await.unwrap();
        } else {
            // Dropping ends the node where it is.
            drop(store);
        }
    }
}

#[tokio::test]
async fn a_closed_store_refuses_and_its_directory_is_free_at_once() {
    let dir = TempDir::new().unwrap();
    let location = directory(&dir);
    let store = open(&location).await;
    let clone = store.clone();
    within("closing", store.close()).await.unwrap();
    let error = clone.put(b"k", b"v").await.unwrap_err();
    assert!(matches!(error, StoreError::Closed), "{error}");
    let error = clone.get(b"k").await.unwrap_err();
    assert!(matches!(error, StoreError::Closed), "{error}");
    // No second attempt: the clone that is left holds nothing.
    let again = open(&location).await;
    assert_eq!(again.get(b"k").await.unwrap(), None);
    within("closing again", clone.close()).await.unwrap();
    within("closing", again.close()).await.unwrap();
}

#[tokio::test]
async fn writes_under_way_while_a_store_closes_are_answered() {
    let dir = TempDir::new().unwrap();
    let location = directory(&dir);
    let store = open(&location).await;
    let mut puts = JoinSet::new();
    for number in 0..500 {
        let store = store.clone();
        puts.spawn(async move {
            let key = format!("k/{number:03}");
            (key.clone(), store.put(key.as_bytes(), b"v").await)
        });
    }
    store.put(b"first", b"v").await.unwrap();
    within("closing", store.close()).await.unwrap();
    let answers = within("all answers", puts.join_all()).await;
    let store = open(&location).await;
    for (key, answer) in answers {
        let found = store.get(key.as_bytes()).await.unwrap();
        match answer {
            Ok(_) => assert!(found.is_some(), "{key} was acknowledged"),
            Err(StoreError::Closed) => assert!(found.is_none(), "{key} was refused"),
            Err(StoreError::Unknown { .. }) => {}
            Err(error) => panic!("{key}: {error}"),
        }
    }
    within("closing", store.close()).await.unwrap();
}

#[tokio::test]
async fn a_directory_in_use_is_refused_and_can_become_a_node_later() {
    let mut cluster = TestCluster::new(1);
    let location = Location::Directory(cluster.data_dir(n(1)));
    let store = open(&location).await;
    store.put(b"key", b"value").await.unwrap();
    let text = Store::open(&location).await.unwrap_err().to_string();
    assert!(text.contains("is in use by another process"), "{text}");
    within("closing", store.close()).await.unwrap();

    cluster.start(n(1)).await;
    let handle = cluster.handle(n(1));
    assert_eq!(read(&handle, "key").await.as_deref(), Some("value"));
    let text = Store::open(&location).await.unwrap_err().to_string();
    assert!(text.contains("is in use by another process"), "{text}");
    write(&handle, "key", "changed").await;
    drop(handle);
    cluster.shut_down(n(1)).await;
    let store = within("the end of the node", async {
        loop {
            // In one process, the tasks of the node may need a moment to let go of its files.
            match Store::open(&location).await {
                Ok(store) => return store,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    })
    .await;
    assert_eq!(store.get(b"key").await.unwrap().unwrap().version, 2);
    within("closing", store.close()).await.unwrap();
}

#[tokio::test]
async fn the_directory_of_a_cluster_is_refused() {
    let mut cluster = TestCluster::started(3).await;
    cluster.leader().await;
    cluster.kill(n(1));
    let location = Location::Directory(cluster.data_dir(n(1)));
    let error = Store::open(&location).await.unwrap_err().to_string();
    assert!(error.contains("cluster of several nodes"), "{error}");
}

/// The gRPC doors of a cluster's nodes.
fn open_doors(cluster: &mut TestCluster) -> JoinSet<()> {
    let mut doors = JoinSet::new();
    for node in cluster.nodes.values_mut() {
        let (handle, incoming) = (node.handle(), node.grpc_incoming().unwrap());
        doors.spawn(async move {
            let never = std::future::pending();
            let _ = grpc::serve(handle, incoming, GrpcMetrics::default(), never).await;
        });
    }
    doors
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_does_what_a_store_promises_and_survives_its_leader() {
    let mut cluster = TestCluster::started(3).await;
    let _doors = open_doors(&mut cluster);
    let addresses = [n(1), n(2), n(3)].map(|id| cluster.address(id).to_owned());
    let location: Location = addresses.join(",").parse().unwrap();
    let store = open(&location).await;
    exercise(&store).await;
    let leader = cluster.leader().await;
    cluster.kill(leader);
    // What is certainly not executed is tried again inside; the rest says that it is unknown, and
    // a put of a key with one writer may simply be repeated.
    let version = within("a put without the old leader", async {
        loop {
            match store.put(b"after", b"v").await {
                Ok(version) => return version,
                Err(StoreError::Unknown { .. } | StoreError::Unavailable { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
    })
    .await;
    assert!(version >= 1);
    let found = within("a read", store.get(b"after")).await.unwrap();
    assert_eq!(found.unwrap().version, version);
    within("closing", store.close()).await.unwrap();
}

#[tokio::test]
async fn concurrent_puts_of_one_key_have_one_winner_each_time() {
    let dir = TempDir::new().unwrap();
    let store = open(&directory(&dir)).await;
    store.put(b"counter", b"0").await.unwrap();
    let mut adders = JoinSet::new();
    for _ in 0..8 {
        let store = store.clone();
        adders.spawn(async move {
            for _ in 0..25 {
                loop {
                    let found = store.get(b"counter").await.unwrap().unwrap();
                    let count: u64 = String::from_utf8_lossy(&found.value).parse().unwrap();
                    let next = (count + 1).to_string();
                    let expected = Expected::Version(found.version);
                    let put = store.put_if(b"counter", next.as_bytes(), expected).await;
                    if put.unwrap().is_ok() {
                        break;
                    }
                }
            }
        });
    }
    within("all additions", adders.join_all()).await;
    let found = store.get(b"counter").await.unwrap().unwrap();
    assert_eq!((&*found.value, found.version), (&b"200"[..], 201));
    within("closing", store.close()).await.unwrap();
}

#[tokio::test]
async fn nobody_at_the_addresses_is_said_at_once_and_clearly() {
    let location: Location = crate::cluster::free_address().parse().unwrap();
    let error = within("the refusal", Store::open(&location))
        .await
        .unwrap_err();
    let text = Arc::<str>::from(error.to_string());
    assert!(text.contains("no node serves at 127.0.0.1:"), "{text}");
    assert!(error.is_retryable());
}
